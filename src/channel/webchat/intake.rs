//! One message of a visitor, on its way to the gateway.

use tokio::time::Instant;

use super::routes::Site;
use super::visitor::Visitor;
use super::wire::{Draft, MAX_TEXT_BYTES, Refusal, ToPage};
use crate::channel::{Admitted, Event, History, Host};
use crate::id::OpaqueId;
use crate::message::{Author, ChatKind};

/// Longest message id, in bytes. A UUID has 36.
const MAX_ID_BYTES: usize = 64;
/// Lines that a page gets at once.
const HISTORY_LINES: usize = 200;

/// Files a message and returns what the tab that sent it must hear. The visitor's other tabs are
/// told here. `accepted` means that the gateway has it on disk.
pub(super) async fn take(site: &Site, host: &dyn Host, visitor: &Visitor, draft: Draft) -> ToPage {
    let Draft { id, text } = draft;
    let is_id = id.len() <= MAX_ID_BYTES && id.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_'));
    // A page chooses the id; that of one visitor must not hide the message of another.
    let own_id = format!("{}/{id}", visitor.as_str());
    let Some(message_id) = OpaqueId::new(own_id).ok().filter(|_| is_id && !id.is_empty()) else {
        return ToPage::refused(String::new(), Refusal::Invalid, None);
    };
    if text.trim().is_empty() {
        return ToPage::refused(id, Refusal::Invalid, None);
    }
    if text.len() > MAX_TEXT_BYTES {
        return ToPage::refused(id, Refusal::TooLong, None);
    }
    let now = host.now();
    if let Err(wait) = site.rates.take(visitor, Instant::now()) {
        return ToPage::refused(id, Refusal::TooFast, Some(wait));
    }
    let accepted = ToPage::Accepted { id: id.clone(), text: text.clone(), at: now.0 };
    match host.admit(event(visitor, message_id, text)).await {
        Admitted::Accepted { .. } => {
            site.hub.tell(visitor.as_str(), &accepted);
            accepted
        }
        // The others heard of it the first time.
        Admitted::Duplicate => accepted,
        Admitted::Unavailable { retry_after } => ToPage::refused(id, Refusal::Unavailable, Some(retry_after)),
        Admitted::Limited { retry_after } => ToPage::refused(id, Refusal::TooFast, Some(retry_after)),
        // The reason is for the operator, who finds it with the gateway.
        Admitted::Ignored(_) | Admitted::Refused(_) | Admitted::Unresolvable(_) => {
            ToPage::refused(id, Refusal::Refused, None)
        }
    }
}

/// What a page that has the lines up to `after` must be shown.
pub(super) async fn history(host: &dyn Host, visitor: &Visitor, after: Option<u64>, draft: Option<String>) -> ToPage {
    // The gateway looks at the origin of this event only.
    let Ok(message_id) = OpaqueId::new("history") else { return ToPage::history(History::default(), draft) };
    let event = event(visitor, message_id, String::new());
    ToPage::history(host.history(&event, after, HISTORY_LINES).await, draft)
}

fn event(visitor: &Visitor, message_id: OpaqueId, text: String) -> Event {
    Event {
        kind: ChatKind::Direct,
        parent: ChatKind::Direct,
        account: None,
        server: None,
        room: None,
        thread: None,
        // A visitor's id is never empty, so this is always `Some`.
        user: OpaqueId::new(visitor.as_str()).ok(),
        user_name: None,
        author: Author::Peer,
        mentions_bot: true,
        message_id,
        envelope_id: None,
        text,
        attachments: Vec::new(),
        lacks: None,
        reply_target: visitor.as_str().to_owned(),
    }
}
