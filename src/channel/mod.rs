//! Channels: the adapters between a vendor's wire and the gateway.
//!
//! An adapter turns what a vendor sends into an [`Event`] and a reply into what the vendor wants. It
//! decides nothing: it does not know tenants, session keys, agents or the store, and it cannot name a
//! conversation other than the one its event came from. The gateway gives it a [`Host`] that is bound
//! to its own entry; whatever the adapter says is stamped there with entry, tenant and workspace.
//!
//! Three kinds of transport fit one trait: *push* ([`Channel::handle_http`], a pure function over raw
//! bytes), *pull* ([`Channel::run`], a connection that we keep) and *page* ([`Channel::serve`]).
//!
//! Called by `gateway/` only. Knows `message`, `id`, `clock`, `document` and an HTTP client.

pub mod form;
pub mod registry;
mod slack;
mod webchat;
mod webhook;

pub use webhook::Keys as SigningKeys;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio_util::sync::CancellationToken;

use crate::clock::Timestamp;
use crate::id::{EntryId, OpaqueId};
use crate::message::{Attachment, Author, ChatKind};

/// What is true of a channel type, whatever its configuration.
#[derive(Debug, Clone, Copy)]
pub struct Descriptor {
    /// The `type` in the configuration, and the first segment of session keys unless `key_tag` differs.
    pub type_name: &'static str,
    /// How keys call it, where the field's short name is customary (`wa`).
    pub key_tag: &'static str,
    /// Longest text of one message, in Unicode scalar values; longer replies are split. `None`: no limit.
    pub max_text_chars: Option<usize>,
    /// Does it serve a page at `/chat/<entry id>`?
    pub has_page: bool,
    /// Does the peer wait on an open request? Then a failed turn is told at once and not tried again.
    pub is_inline: bool,
    /// Does sending the same delivery id twice deliver once? Decides what an ambiguous send means.
    pub send_is_idempotent: bool,
    /// Who hands us its messages.
    pub sender: Sender,
    /// Are the vendor's ids unique over all accounts, so that two entries can never share a key?
    pub ids_are_global: bool,
}

/// Who hands us the messages of a channel, and so who hears what became of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sender {
    /// A vendor: it wants an acknowledgement and tells its peer nothing.
    Vendor,
    /// A program of the operator's: it hears why a message was not taken, and keeps it. Its peers do not.
    Program,
    /// A page of ours: it shows its peer why a message was not taken, and keeps it.
    Page,
}

/// One message as the adapter saw it, before anyone decided anything about it.
///
/// `None` in an id field means the channel has no such thing. An id that should be there and is not must not
/// become `None` alone: say so in [`Event::lacks`], or refuse the message where its sender hears that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Direct, group or thread. Never guessed later.
    pub kind: ChatKind,
    /// For a thread: what it hangs on. Otherwise equal to `kind`.
    pub parent: ChatKind,
    /// Which of the bot's accounts received it, where one entry serves several.
    pub account: Option<OpaqueId>,
    /// Slack team, Discord guild, IRC network …
    pub server: Option<OpaqueId>,
    /// Room, chat or channel.
    pub room: Option<OpaqueId>,
    /// The thread, for [`ChatKind::Thread`] only.
    pub thread: Option<OpaqueId>,
    /// Who wrote it.
    pub user: Option<OpaqueId>,
    /// For display only.
    pub user_name: Option<String>,
    /// A person, ourselves, or another bot.
    pub author: Author,
    /// Was the bot addressed? Always true in a direct chat.
    pub mentions_bot: bool,
    /// The vendor's id of the message; the same id twice is one message.
    pub message_id: OpaqueId,
    /// The id of what carried it, where the vendor repeats that one: the same twice is one message too.
    pub envelope_id: Option<OpaqueId>,
    /// What was written.
    pub text: String,
    /// What was attached.
    pub attachments: Vec<Attachment>,
    /// Where the answer goes, in the adapter's own words. Comes back in [`Reply::target`] unchanged.
    pub reply_target: String,
    /// What every message has and this one has not, as "an author": no conversation is named for it.
    pub lacks: Option<&'static str>,
}

/// What became of an [`Event`]. An adapter may acknowledge its vendor only after it has this.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Admitted {
    /// Committed to the store: it will be answered, whatever happens to the power.
    Accepted {
        /// The key of the conversation, for channels that tell their peer.
        session_key: String,
    },
    /// The same message was accepted before.
    Duplicate,
    /// Not for us: an echo, another bot, a group message that does not address the bot.
    Ignored(&'static str),
    /// The channel's policy does not let this peer in.
    Refused(&'static str),
    /// The peer, or its tenant, writes faster than allowed; it was not filed.
    Limited {
        /// When the next one is welcome.
        retry_after: Duration,
    },
    /// No session key could be made, so nothing was filed anywhere. The text says why.
    Unresolvable(String),
    /// The store cannot take it now. The vendor must send it again.
    Unavailable {
        /// When to try again.
        retry_after: Duration,
    },
}

/// A raw HTTP request on `/hooks/<entry id>`. The path is not part of it.
#[derive(Debug)]
pub struct HookRequest<'r> {
    /// Method.
    pub method: &'r http::Method,
    /// Query string without `?`.
    pub query: &'r str,
    /// Headers as they came.
    pub headers: &'r http::HeaderMap,
    /// Body bytes as they came: signatures are over these.
    pub body: &'r [u8],
    /// When it arrived; signatures grow old.
    pub now: Timestamp,
}

/// What to answer on `/hooks/<entry id>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HookResponse {
    /// Status.
    pub status: http::StatusCode,
    /// `Retry-After` in seconds.
    pub retry_after: Option<Duration>,
    /// Media type of the body.
    pub content_type: &'static str,
    /// Body.
    pub body: String,
}

impl HookResponse {
    /// A JSON answer.
    #[must_use]
    pub fn json(status: http::StatusCode, body: &serde_json::Value) -> Self {
        Self { status, retry_after: None, content_type: "application/json", body: body.to_string() }
    }

    /// A plain text answer.
    #[must_use]
    pub fn text(status: http::StatusCode, body: impl Into<String>) -> Self {
        Self { status, retry_after: None, content_type: "text/plain; charset=utf-8", body: body.into() }
    }
}

/// What a push adapter makes of a request.
#[derive(Debug)]
pub enum Handled {
    /// Nothing to admit: refused, a handshake, or an event that is none of ours.
    Respond(HookResponse),
    /// Admit these in order, then answer with [`Channel::hook_response`] for the last outcome.
    Admit(Vec<Event>),
}

/// One message to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reply {
    /// The same on every attempt: the idempotency key for channels that have one.
    pub delivery_id: String,
    /// The [`Event::reply_target`] of the message that caused it.
    pub target: String,
    /// The conversation; `None` for what is said outside of any, such as a pairing code.
    pub session_key: Option<String>,
    /// The last message that it answers.
    pub in_reply_to: OpaqueId,
    /// All messages that it answers, oldest first.
    pub answers: Vec<OpaqueId>,
    /// What to say.
    pub text: String,
    /// Number of its last line in the transcript: a page uses it to show each line once.
    pub seq: u64,
}

/// What became of a send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sent {
    /// The vendor has it.
    Delivered,
    /// The vendor certainly does not have it and may take it later.
    NotYet {
        /// What the vendor asked for, if it did.
        retry_after: Option<Duration>,
        /// For the log and the operator; no secret, no text of the message.
        reason: String,
    },
    /// Nobody can tell whether the vendor has it.
    Unclear {
        /// For the operator.
        reason: String,
    },
    /// The vendor will never take it: the chat is gone, the bot was blocked, the request is wrong.
    Never {
        /// For the operator.
        reason: String,
    },
}

/// Progress of an answer that is still being made. Best effort: nothing depends on it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preview {
    /// The agent works on it.
    Typing,
    /// More of the text.
    Delta(String),
    /// Forget the text so far: the attempt failed and another follows.
    Reset,
    /// There will be no answer. Said to [`Descriptor::is_inline`] channels only.
    Failed {
        /// The same request may work after this long.
        retry_after: Option<Duration>,
    },
}

/// One line of a conversation, as a page shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HistoryLine {
    /// Number in the transcript; `None` while the message waits for its turn.
    pub seq: Option<u64>,
    /// True for the agent's lines.
    pub from_agent: bool,
    /// The peer's message id, for lines of the peer.
    pub message_id: Option<String>,
    /// When.
    pub at: Timestamp,
    /// What.
    pub text: String,
}

/// What a page must show that comes back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct History {
    /// Oldest first.
    pub lines: Vec<HistoryLine>,
    /// Number of the last line that the conversation has, of whoever shares it: where the page asks from the next time.
    pub last: u64,
    /// What the page has is not of this conversation any more: it was erased.
    pub is_fresh: bool,
}

/// What the gateway offers to the adapter of one entry.
#[async_trait]
pub trait Host: Send + Sync + fmt::Debug {
    /// The entry that this handle is bound to.
    fn entry(&self) -> &EntryId;

    /// Files the message and returns when it is safe, or says why not.
    async fn admit(&self, event: Event) -> Admitted;

    /// What was said in the conversation that `event` belongs to, as far as it went to and came from
    /// the event's own reply target: lines of the live conversation, or those after `after_seq` of this and of archived
    /// ones, then messages that still wait.
    /// At most `limit` lines, the newest, oldest first. `text` and `message_id` of the event are not looked at.
    async fn history(&self, event: &Event, after_seq: Option<u64>, limit: usize) -> History;

    /// Says how the connection to the vendor is; `Err` carries the sentence for the operator.
    fn report(&self, health: Result<(), String>);

    /// The time.
    fn now(&self) -> Timestamp;
}

/// An adapter for one entry of the configuration.
#[async_trait]
pub trait Channel: Send + Sync + fmt::Debug {
    /// What is true of the type.
    fn descriptor(&self) -> &'static Descriptor;

    /// Push: decides over one request, without side effects.
    fn handle_http(&self, _request: &HookRequest<'_>) -> Handled {
        Handled::Respond(HookResponse::text(http::StatusCode::NOT_FOUND, "this channel has no webhook"))
    }

    /// Push: the answer to a request whose events were admitted.
    fn hook_response(&self, outcome: &Admitted) -> HookResponse {
        match outcome {
            Admitted::Unavailable { retry_after } => HookResponse {
                retry_after: Some(*retry_after),
                ..HookResponse::text(http::StatusCode::SERVICE_UNAVAILABLE, "try again later")
            },
            _ => HookResponse::text(http::StatusCode::OK, ""),
        }
    }

    /// Pull: keeps the connection to the vendor until `shutdown`. Reconnects by itself.
    async fn run(&self, _host: Arc<dyn Host>, shutdown: CancellationToken) {
        shutdown.cancelled().await;
    }

    /// Page: answers a request under `/chat/<entry id>`; `path` is what follows, without the slash.
    async fn serve(
        &self,
        _path: &str,
        _request: axum::extract::Request,
        _host: Arc<dyn Host>,
    ) -> axum::response::Response {
        axum::response::IntoResponse::into_response(http::StatusCode::NOT_FOUND)
    }

    /// Sends one reply.
    async fn send(&self, reply: &Reply) -> Sent;

    /// Tries whether it works, without a message to anybody: what the vendor says of our tokens, whether an address answers.
    async fn test(&self) -> Vec<form::Probe>;

    /// Shows progress at a [`Reply::target`]; must not block.
    fn preview(&self, _target: &str, _preview: Preview) {}
}

/// How long a vendor asks us to wait: `Retry-After` in seconds or as a date (RFC 9110 §10.2.3).
#[must_use]
pub fn retry_after(headers: &http::HeaderMap, now: Timestamp) -> Option<Duration> {
    let value = headers.get(http::header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = value.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let until = httpdate::parse_http_date(value).ok()?.duration_since(std::time::UNIX_EPOCH).ok()?;
    Some(until.saturating_sub(Duration::from_millis(now.0)))
}
