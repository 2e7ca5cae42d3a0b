//! What the store takes and gives: plain values, without a word about how they are kept.

use crate::clock::Timestamp;
use crate::id::{AgentId, ChannelType, EntryId, OpaqueId, SessionKey, TenantId};
use crate::message::{ChatKind, Inbound, ReplyAddress, Subject};

/// What became of a message that was offered to the store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filed {
    /// On the disk, waiting for its turn.
    New,
    /// This entry delivered this message id before; nothing was written.
    Duplicate,
}

/// One conversation, as lists show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionRow {
    /// Whose.
    pub tenant: Option<TenantId>,
    /// Its name.
    pub key: SessionKey,
    /// Kind of the place.
    pub kind: ChatKind,
    /// Entry of its first message.
    pub entry: EntryId,
    /// Type of that entry.
    pub channel: ChannelType,
    /// Ids of its first message, as the vendor wrote them.
    pub server: Option<OpaqueId>,
    /// Room, chat or channel.
    pub room: Option<OpaqueId>,
    /// Thread.
    pub thread: Option<OpaqueId>,
    /// The peer, for direct chats; the first writer otherwise.
    pub user: Option<OpaqueId>,
    /// The peer's name as last shown.
    pub user_name: Option<String>,
    /// The agent of the last turn.
    pub agent: Option<AgentId>,
    /// Lines in the transcript.
    pub n_messages: u64,
    /// First message.
    pub created_at: Timestamp,
    /// Last message, in either direction.
    pub last_active_at: Timestamp,
}

/// Which rows a list holds; `None` is any.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Type of the channel.
    pub channel: Option<ChannelType>,
    /// Agent of the last turn.
    pub agent: Option<AgentId>,
    /// Rows after this key, for the next page.
    pub after: Option<SessionKey>,
    /// At most this many rows.
    pub limit: usize,
}

/// A message that waits for its turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiting {
    /// Position in the inbox of this conversation.
    pub seq: u64,
    /// The message as it was admitted.
    pub inbound: Inbound,
    /// Turns that were tried and failed.
    pub n_tries: u32,
    /// Has the peer been told that the answer takes longer?
    pub is_told: bool,
}

/// Who said a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Speaker {
    /// A peer.
    Peer {
        /// The vendor's id.
        user: Option<OpaqueId>,
        /// For display.
        name: Option<String>,
        /// The vendor's id of the message.
        message_id: OpaqueId,
    },
    /// The agent.
    Agent(AgentId),
}

/// One line of a transcript.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Position, from 1, without gaps.
    pub seq: u64,
    /// When it was received or committed.
    pub at: Timestamp,
    /// Who.
    pub speaker: Speaker,
    /// What.
    pub text: String,
    /// Where it came from or went: a page shows a visitor only their own lines.
    pub address: ReplyAddress,
}

/// A reply to send, or a notice.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewDelivery {
    /// Where, from the message that caused it.
    pub address: ReplyAddress,
    /// The last message that it answers.
    pub in_reply_to: OpaqueId,
    /// All messages that it answers, oldest first.
    pub answers: Vec<OpaqueId>,
    /// What to say.
    pub text: String,
}

/// A reply that is committed and not settled.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The same on every attempt: `dlv_` and 26 characters that sort by time.
    pub id: String,
    /// Whose.
    pub tenant: Option<TenantId>,
    /// In which conversation.
    pub key: SessionKey,
    /// Line of the transcript that it carries; for a notice, the last line at that time.
    pub seq: u64,
    /// When it was committed.
    pub created_at: Timestamp,
    /// Was an attempt started whose outcome was never settled? True means the vendor may have it.
    pub is_started: bool,
    /// What and where.
    pub content: NewDelivery,
}

/// How a turn ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// The messages that it answers, by [`Waiting::seq`].
    pub answered: Vec<u64>,
    /// Who answered.
    pub agent: AgentId,
    /// The answer's line in the transcript.
    pub text: String,
    /// What to send: the text, split where the channel needs it.
    pub deliveries: Vec<NewDelivery>,
    /// When.
    pub at: Timestamp,
}

/// Something set aside for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// When.
    pub at: Timestamp,
    /// Why, in one sentence.
    pub reason: String,
    /// The message that was not answered, or the reply that was not delivered.
    pub what: ParkedItem,
}

/// What was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ParkedItem {
    /// A message.
    Message(Inbound),
    /// A reply.
    Delivery(Delivery),
}

/// A pairing code for a stranger, and the line that says it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Offer {
    /// Who would be let in.
    pub subject: Subject,
    /// For display.
    pub name: Option<String>,
    /// The code.
    pub code: String,
    /// When it ends.
    pub expires_at: Timestamp,
    /// Strangers of the entry who may wait at the same time.
    pub max_pending: usize,
    /// What the stranger is told, and where; the address' stamp is the entry's.
    pub line: NewDelivery,
}

/// What became of an [`Offer`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Offered {
    /// The code is kept; send this.
    New(Vec<Delivery>),
    /// The stranger has a code, and was told.
    Known,
    /// Too many wait; nothing was kept.
    Full,
}

/// A stranger who waits for approval.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pending {
    /// Who.
    pub subject: Subject,
    /// What the stranger was told.
    pub code: String,
    /// For display: of the peer, or of the one in the group who wrote.
    pub name: Option<String>,
    /// When the code ends.
    pub expires_at: Timestamp,
}

/// Somebody whom the operator let in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Approval {
    /// Who.
    pub subject: Subject,
    /// For display, as it was then.
    pub name: Option<String>,
    /// Since when.
    pub at: Timestamp,
}

/// Work that a restart must take up again.
#[derive(Debug, Default)]
pub struct Resume {
    /// Conversations with messages that wait for a turn.
    pub waiting: Vec<(Option<TenantId>, SessionKey)>,
    /// Replies that were committed and not settled, oldest first.
    pub deliveries: Vec<Delivery>,
}

/// Numbers for `status`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Conversations.
    pub sessions: u64,
    /// Messages that wait for a turn.
    pub waiting: u64,
    /// Replies that are not yet delivered.
    pub undelivered: u64,
    /// Messages and replies set aside for the operator.
    pub parked: u64,
}
