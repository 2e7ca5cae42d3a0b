//! What the store takes and gives: plain values, without a word about how they are kept.

use std::borrow::Cow;
use std::net::IpAddr;

use aws_lc_rs::digest::{Context, SHA256};

use crate::clock::Timestamp;
use crate::id::{AgentId, ChannelType, EntryId, FileName, OpaqueId, SessionKey, TenantId};
use crate::message::{ChatKind, Identity, Inbound, ReplyAddress, Subject};

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
    /// What a thread hangs on; equal to `kind` otherwise.
    pub parent: ChatKind,
    /// Entry of its first message.
    pub entry: EntryId,
    /// Type of that entry.
    pub channel: ChannelType,
    /// Which of the bot's own accounts received its first message.
    pub account: Option<OpaqueId>,
    /// Workspace of that entry.
    pub workspace: Option<OpaqueId>,
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
    /// Which conversation under this key it is, from 1.
    pub episode: u64,
    /// Line of the transcript with which it begins.
    pub first_line: u64,
    /// Position of its last line.
    pub last_line: u64,
    /// Lines of this episode.
    pub n_messages: u64,
    /// Has the one before it ended because nobody wrote for long, and the peer was not told yet?
    pub is_news: bool,
    /// First message.
    pub created_at: Timestamp,
    /// Last message, in either direction.
    pub last_active_at: Timestamp,
}

impl SessionRow {
    /// Where its first message came from.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity {
            entry: self.entry.clone(),
            channel: self.channel.clone(),
            account: self.account.clone(),
            tenant: self.tenant.clone(),
            workspace: self.workspace.clone(),
            server: self.server.clone(),
            room: self.room.clone(),
            thread: self.thread.clone(),
            user: self.user.clone(),
            kind: self.kind,
            parent: self.parent,
        }
    }
}

/// How long conversations live.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Life {
    /// A conversation is over when this much time has passed since its last message; `None` is never.
    pub ttl_ms: Option<u64>,
    /// Is the peer told that the next one is a new one?
    pub says_new: bool,
}

/// A conversation that is over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ArchivedRow {
    /// As it was at its end.
    pub session: SessionRow,
    /// When it was archived.
    pub archived_at: Timestamp,
}

/// Conversations of one user.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Conversations {
    /// Those that live.
    pub live: Vec<SessionRow>,
    /// Those that are over, by key, then by episode.
    pub archived: Vec<ArchivedRow>,
}

/// What became of an archived conversation that was asked back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Restored {
    /// The live conversation that it is part of now.
    pub row: SessionRow,
    /// Archived episodes that went into it.
    pub n_episodes: u64,
}

/// What an erasure removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Erased {
    /// Lines of transcripts.
    pub n_lines: u64,
    /// Messages that waited or were set aside.
    pub n_messages: u64,
    /// Replies that were not settled or were set aside.
    pub n_replies: u64,
    /// Notes.
    pub n_notes: u64,
    /// Working files.
    pub n_files: u64,
    /// Archived conversations.
    pub n_archives: u64,
}

/// What moving a conversation to another key moved.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Moved {
    /// Conversations, live or archived.
    pub n_episodes: u64,
    /// Lines of their transcripts.
    pub n_lines: u64,
}

/// One step of archiving what is over.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Expired {
    /// Conversations that were archived.
    pub n_archived: u64,
    /// Rows of conversations that were read for it.
    pub n_read: u64,
    /// Are more due?
    pub has_more: bool,
}

/// What writing the file anew did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Rewritten {
    /// Rows of all tables; none when nothing was erased since the last time.
    pub n_rows: u64,
}

/// What to look for in transcripts.
#[derive(Debug, Clone, Default)]
pub struct Search {
    /// A line must hold all of these words, in any order, in upper or lower case.
    pub words: String,
    /// In conversations that live.
    pub in_live: bool,
    /// In those that are over.
    pub in_archived: bool,
    /// From here on: [`Found::next`] of the page before.
    pub after: Option<SearchCursor>,
    /// At most this many hits.
    pub limit: usize,
}

/// The line up to which a search has looked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SearchCursor {
    /// In this conversation.
    pub key: SessionKey,
    /// Its position.
    pub seq: u64,
}

/// A page of what a search found, in the order of keys and positions. A page may be empty and not the last.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// Lines that hold the words.
    pub hits: Vec<Hit>,
    /// Where to go on; `None` after the last line.
    pub next: Option<SearchCursor>,
}

/// A line that was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hit {
    /// In this conversation.
    pub key: SessionKey,
    /// Of this number.
    pub episode: u64,
    /// Is it over?
    pub is_archived: bool,
    /// Position of the line.
    pub seq: u64,
    /// When it was said.
    pub at: Timestamp,
    /// By whom.
    pub speaker: Speaker,
    /// The words and a little around them.
    pub excerpt: String,
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
    /// In lists of archived ones, also rows of that key after this episode.
    pub after_episode: Option<u64>,
    /// At most this many rows.
    pub limit: usize,
}

/// Where a list of live conversations by their last message goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecentCursor {
    /// Last message of the row that was shown last.
    pub at: Timestamp,
    /// Its tenant.
    pub tenant: Option<TenantId>,
    /// Its key.
    pub key: SessionKey,
}

/// A page of live conversations, the newest first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recent {
    /// The rows.
    pub rows: Vec<SessionRow>,
    /// Where the next page begins; `None`: this is the last.
    pub next: Option<RecentCursor>,
}

/// Lines of one address; see `SessionStore::lines_with`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addressed {
    /// Oldest first.
    pub lines: Vec<Line>,
    /// Number of the last line under the key, whoever it is of.
    pub last: u64,
    /// False when the line that was asked from is not there any more.
    pub is_known: bool,
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
    /// When the operator put it back, if it was set aside before: its age counts from then.
    pub unparked_at: Option<Timestamp>,
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
    /// A person of the business, by the name of their account.
    Person(String),
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

/// What a line says, and who said it: borrowed, for a model.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Words<'l> {
    /// The business said it, by its agent or a person; otherwise a peer.
    pub by_agent: bool,
    /// The vendor's id of the peer.
    pub user: Option<&'l str>,
    /// The peer's name, for display.
    pub name: Option<&'l str>,
    /// What.
    pub text: &'l str,
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
    /// When the operator last put it back, if it was set aside before: its age counts from then.
    pub unparked_at: Option<Timestamp>,
    /// Was an attempt started whose outcome was never settled? True means the vendor may have it.
    pub is_started: bool,
    /// What and where.
    pub content: NewDelivery,
}

/// Which reply of the outbox, and where it goes: enough to claim it when its time has come.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeliveryName {
    /// [`Delivery::id`].
    pub id: String,
    /// Whose.
    pub tenant: Option<TenantId>,
    /// In which conversation.
    pub key: SessionKey,
    /// Where it goes.
    pub address: ReplyAddress,
}

impl From<Delivery> for DeliveryName {
    fn from(delivery: Delivery) -> Self {
        let Delivery { id, tenant, key, content, .. } = delivery;
        Self { id, tenant, key, address: content.address }
    }
}

/// What was put back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unparked {
    /// A message: it waits for a turn.
    Message,
    /// A reply: it waits to be sent, under the id that it always had.
    Delivery(DeliveryName),
}

impl Parked {
    /// Its name under its key, which it has again when it is put back and set aside once more: of a reply its own id, of a
    /// message `msg_` and twelve digits that its entry and the vendor's id of it give.
    #[must_use]
    pub fn id(&self) -> String {
        match &self.what {
            ParkedItem::Message(inbound) => message_name(inbound),
            ParkedItem::Delivery(delivery) => delivery.id.clone(),
        }
    }

    /// Since when it waits, however often it was put back: when the message was received, or the reply committed.
    #[must_use]
    pub fn since(&self) -> Timestamp {
        match &self.what {
            ParkedItem::Message(inbound) => inbound.received_at,
            ParkedItem::Delivery(delivery) => delivery.created_at,
        }
    }
}

fn message_name(inbound: &Inbound) -> String {
    let mut digest = Context::new(&SHA256);
    // An entry's name holds no NUL.
    for piece in [inbound.identity.entry.as_str(), "\0", inbound.message_id.as_str()] {
        digest.update(piece.as_bytes());
    }
    let digits = digest.finish().as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect::<String>();
    format!("msg_{digits}")
}

/// How a turn ended well.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Turn {
    /// [`SessionRow::episode`] of the row that it began with.
    pub episode: u64,
    /// [`SessionRow::first_line`] of it: an archived conversation may have come back in front.
    pub first_line: u64,
    /// The messages that it answers, by [`Waiting::seq`].
    pub answered: Vec<u64>,
    /// Who answered.
    pub agent: AgentId,
    /// The answer's line in the transcript.
    pub text: String,
    /// What to send: the text, split where the channel needs it.
    pub deliveries: Vec<NewDelivery>,
    /// What it changed in the notes.
    pub notes: Vec<NoteChange>,
    /// What it changed in the working files.
    pub files: Vec<FileChange>,
    /// When.
    pub at: Timestamp,
}

/// A live conversation is in the hands of a person: the worker does not answer it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Taken {
    /// Name of the account.
    pub by: String,
    /// Since when.
    pub since: Timestamp,
    /// When they last took it or said something in it.
    pub spoke_at: Timestamp,
}

/// What became of a wish to take a conversation over.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Taking {
    /// It is theirs.
    Theirs(Taken),
    /// Somebody else has it, and keeps it.
    Others(Taken),
}

/// What a person says in a conversation that they have taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Speech {
    /// Name of the account.
    pub by: String,
    /// The messages that it answers, by [`Waiting::seq`]; none: nothing waits, or it is no answer.
    pub answered: Vec<u64>,
    /// Its line in the transcript.
    pub text: String,
    /// What to send: the text, split where the channel needs it. At least one.
    pub deliveries: Vec<NewDelivery>,
    /// The same twice is said once.
    pub once: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// What became of a [`Speech`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Spoken {
    /// It is in the transcript and in the outbox.
    New(Vec<Delivery>),
    /// It was said before.
    Repeat,
    /// The conversation is not theirs; whose it is, if anybody's.
    NotTheirs(Option<Taken>),
}

/// What somebody did, for the access log. Never what was said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewAccess {
    /// When.
    pub at: Timestamp,
    /// Name of the account or token, or `console`.
    pub who: String,
    /// From which address; `None`: from this machine, or by itself.
    pub from: Option<IpAddr>,
    /// In a word or two.
    pub what: Cow<'static, str>,
    /// To what.
    pub about: About,
}

/// What something was done to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum About {
    /// Nothing with a name.
    Nothing,
    /// A conversation.
    Key(SessionKey),
    /// A conversation that was erased since: a digest stands for its key, see `TenantStore::erased_as`.
    Erased(String),
    /// An account, an entry, a file: what it is called.
    Name(String),
}

/// A record of the access log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Access {
    /// Its number in the log of its tenant; later ones have greater ones.
    pub position: u64,
    /// What.
    pub access: NewAccess,
}

/// Which records of the access log somebody wants; `None` is any.
#[derive(Debug, Clone, Default)]
pub struct AccessFilter {
    /// Who did it.
    pub who: Option<String>,
    /// What was done.
    pub what: Option<String>,
    /// With which conversation, also after it was erased.
    pub key: Option<SessionKey>,
    /// Only those before this position.
    pub before: Option<u64>,
    /// At most this many.
    pub limit: usize,
}

/// A new, other or removed note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoteChange {
    /// Which.
    pub number: u64,
    /// What the turn found there.
    pub was: Option<String>,
    /// What it leaves there.
    pub text: Option<String>,
}

/// A new, other or removed working file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileChange {
    /// Which.
    pub name: FileName,
    /// All that is in it from now on; `None` removes it.
    pub text: Option<String>,
}

/// Something that the agent noted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Note {
    /// Which, from 1, in the order of their making. There are gaps.
    pub number: u64,
    /// When it was written.
    pub at: Timestamp,
    /// What.
    pub text: String,
}

/// A working file, without what is in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileRow {
    /// Its name.
    pub name: FileName,
    /// When it was written.
    pub at: Timestamp,
    /// Its length.
    pub size_bytes: usize,
}

/// Something set aside for the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parked {
    /// Position among what was set aside under its key; never used twice there.
    pub position: u64,
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
    /// Replies that were committed and not settled, oldest first, without what they say.
    pub deliveries: Vec<DeliveryName>,
}

/// A tenant of whom something is kept.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptTenant {
    /// `None`: the owner's own.
    pub tenant: Option<TenantId>,
    /// Conversations that live.
    pub n_live: u64,
    /// Those that are archived.
    pub n_archived: u64,
    /// Is what is left of it being removed?
    pub is_erasing: bool,
}

/// Numbers for `status`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Live conversations.
    pub sessions: u64,
    /// Archived ones.
    pub archived: u64,
    /// Messages that wait for a turn, or for the person who has taken their conversation.
    pub waiting: u64,
    /// Live conversations that a person has taken.
    pub taken: u64,
    /// Of the messages that wait, those that wait for these people.
    pub for_people: u64,
    /// Replies that are not yet delivered.
    pub undelivered: u64,
    /// Messages and replies set aside for the operator.
    pub parked: u64,
}
