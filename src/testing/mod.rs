//! Fakes and short cuts for tests. Not in a build without the feature `testing`.

mod authenticator;

pub use authenticator::{Answer, Authenticator};

use crate::clock::Timestamp;
use crate::id::{ChannelType, EntryId, OpaqueId};
use crate::message::{Author, ChatKind, Identity, Inbound, ReplyAddress};

/// A direct message on a webhook entry.
#[must_use]
#[expect(clippy::expect_used, reason = "only tests call it, with ids that are ids")]
pub fn inbound(entry: &str, user: &str, text: &str) -> Inbound {
    let entry = EntryId::new(entry).expect("an entry id");
    Inbound {
        identity: Identity {
            entry: entry.clone(),
            channel: ChannelType::new("webhook").expect("a type"),
            account: None,
            tenant: None,
            workspace: None,
            server: None,
            room: None,
            thread: None,
            user: OpaqueId::new(user).ok(),
            kind: ChatKind::Direct,
            parent: ChatKind::Direct,
        },
        user_name: None,
        author: Author::Peer,
        mentions_bot: true,
        message_id: OpaqueId::new(format!("{user}-{text:.40}")).expect("an id"),
        envelope_id: None,
        received_at: Timestamp(1_700_000_000_000),
        agent: None,
        text: text.to_owned(),
        attachments: Vec::new(),
        reply_to: ReplyAddress::new(entry, 0, user),
    }
}
