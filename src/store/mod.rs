//! The store: the only place that knows redb.
//!
//! Conversations are reached through a tenant and a key: [`Store::tenant`], then
//! [`TenantStore::session`]. There is no handle that reads more than its own. What crosses tenants is
//! work to resume and numbers to show, and holds no words: [`Store::resume`], [`Store::counts`].
//!
//! Reads are synchronous and short. Writes go to one writer, which puts what waits into one
//! transaction and syncs once; a write returns when it is on the disk. Values carry a version and old
//! versions stay readable (`versioned`).
//!
//! Called by `gateway/`. Knows `id`, `clock` and `message`.

use std::path::Path;

use crate::clock::Timestamp;
use crate::id::{AgentId, ChannelType, EntryId, OpaqueId, SessionKey, TenantId};
use crate::message::{ChatKind, Inbound, ReplyAddress};

/// What went wrong, and so what the caller should do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Another process has the file open: stop it, or use another home.
    #[error("the store {path} is in use by another process")]
    Locked { path: String },
    /// The file or its directory cannot be read or written.
    #[error("the store {path} cannot be opened")]
    Open {
        path: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// A later version of Frontdesk wrote it.
    #[error("the store {path} was written by a newer version (format {found}, this program knows {known})")]
    TooNew { path: String, found: u32, known: u32 },
    /// The disk failed, is full, or the file is damaged.
    #[error("the store failed")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A stored value is not what this program writes.
    #[error("a stored {what} cannot be read")]
    Value { what: &'static str },
    /// Too many writes wait: say so to whoever sent the message.
    #[error("the store has too much to write")]
    Busy,
    /// The writer is gone; the process is shutting down.
    #[error("the store is closed")]
    Closed,
}

/// The open store file. Clones share it.
#[derive(Debug, Clone)]
pub struct Store {
    _todo: (),
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

impl Store {
    /// Opens or creates the file and starts its writer. `cache_bytes` bounds redb's cache.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Open`], [`Error::TooNew`], [`Error::Storage`].
    pub fn open(_path: &Path, _cache_bytes: usize) -> Result<Self, Error> {
        unimplemented!()
    }

    /// The conversations of one tenant; `None` is the owner's own, of entries without a tenant.
    #[must_use]
    pub fn tenant(&self, _tenant: Option<&TenantId>) -> TenantStore {
        unimplemented!()
    }

    /// What must be taken up again.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn resume(&self) -> Result<Resume, Error> {
        unimplemented!()
    }

    /// Numbers, without reading values.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn counts(&self) -> Result<Counts, Error> {
        unimplemented!()
    }

    /// Forgets dedupe marks made before `before`, a bounded number per call. True when more are left.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Closed`].
    pub async fn prune_marks(&self, _before: Timestamp) -> Result<bool, Error> {
        unimplemented!()
    }
}

/// The conversations of one tenant.
#[derive(Debug, Clone)]
pub struct TenantStore {
    _todo: (),
}

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

impl TenantStore {
    /// Files a message under `key` in one transaction: the inbox entry, the dedupe mark of
    /// `(entry, message id)`, the session row (made if absent) and the index of who wrote where.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Storage`], [`Error::Closed`]. On an error nothing is filed.
    pub async fn file(&self, _key: &SessionKey, _inbound: &Inbound) -> Result<Filed, Error> {
        unimplemented!()
    }

    /// Is there such a conversation?
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn has_session(&self, _key: &SessionKey) -> Result<bool, Error> {
        unimplemented!()
    }

    /// A page of this tenant's conversations in key order.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn sessions(&self, _filter: &Filter) -> Result<Vec<SessionRow>, Error> {
        unimplemented!()
    }

    /// The conversations in which `user` of `channel` wrote, by an index.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn find(&self, _channel: &ChannelType, _user: &OpaqueId) -> Result<Vec<SessionRow>, Error> {
        unimplemented!()
    }

    /// One conversation.
    #[must_use]
    pub fn session(&self, _key: &SessionKey) -> SessionStore {
        unimplemented!()
    }
}

/// One conversation of one tenant.
#[derive(Debug, Clone)]
pub struct SessionStore {
    _todo: (),
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

impl SessionStore {
    /// The row, if the conversation exists.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn row(&self) -> Result<Option<SessionRow>, Error> {
        unimplemented!()
    }

    /// Messages that wait, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn waiting(&self, _limit: usize) -> Result<Vec<Waiting>, Error> {
        unimplemented!()
    }

    /// The newest lines, oldest first: at most `max_lines`, and at most `max_bytes` of text unless one line alone is longer.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn recent(&self, _max_lines: usize, _max_bytes: usize) -> Result<Vec<Line>, Error> {
        unimplemented!()
    }

    /// Lines after `after_seq`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn lines_after(&self, _after_seq: u64, _limit: usize) -> Result<Vec<Line>, Error> {
        unimplemented!()
    }

    /// Ends a turn in one transaction: the answered messages leave the inbox and enter the transcript,
    /// the answer follows them, and its deliveries enter the outbox. Returns these in order.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`], [`Error::Closed`]. On an error nothing has happened.
    pub async fn commit_turn(&self, _turn: Turn) -> Result<Vec<Delivery>, Error> {
        unimplemented!()
    }

    /// Notes that a turn over these messages failed and will be tried again; `notice` is sent to the peer
    /// once, and the messages are marked as told. Not part of the transcript.
    ///
    /// # Errors
    /// As [`Self::commit_turn`].
    pub async fn postpone(
        &self,
        _seqs: Vec<u64>,
        _notice: Option<NewDelivery>,
        _at: Timestamp,
    ) -> Result<Vec<Delivery>, Error> {
        unimplemented!()
    }

    /// Sets messages aside: they leave the inbox and stay readable under [`Self::parked`].
    ///
    /// # Errors
    /// As [`Self::commit_turn`].
    pub async fn park(
        &self,
        _seqs: Vec<u64>,
        _reason: String,
        _notice: Option<NewDelivery>,
        _at: Timestamp,
    ) -> Result<Vec<Delivery>, Error> {
        unimplemented!()
    }

    /// What was set aside in this conversation, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn parked(&self, _limit: usize) -> Result<Vec<Parked>, Error> {
        unimplemented!()
    }

    /// Replies of this conversation that are not settled, oldest first.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn undelivered(&self) -> Result<Vec<Delivery>, Error> {
        unimplemented!()
    }

    /// Notes, before an attempt on a channel without idempotency, that it starts.
    ///
    /// # Errors
    /// As [`Self::commit_turn`].
    pub async fn start_delivery(&self, _id: &str) -> Result<(), Error> {
        unimplemented!()
    }

    /// Notes that the attempt certainly did not reach the vendor.
    ///
    /// # Errors
    /// As [`Self::commit_turn`].
    pub async fn unstart_delivery(&self, _id: &str) -> Result<(), Error> {
        unimplemented!()
    }

    /// The vendor has it: it leaves the outbox.
    ///
    /// # Errors
    /// As [`Self::commit_turn`].
    pub async fn settle_delivery(&self, _id: &str) -> Result<(), Error> {
        unimplemented!()
    }

    /// It will not be sent, or nobody knows whether it was: set aside for the operator.
    ///
    /// # Errors
    /// As [`Self::commit_turn`].
    pub async fn park_delivery(&self, _id: &str, _reason: String, _at: Timestamp) -> Result<(), Error> {
        unimplemented!()
    }
}
