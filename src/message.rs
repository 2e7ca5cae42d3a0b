//! What is said, by whom, where, and where the answer goes.
//!
//! Plain values that channels make and everything else reads. They lie under all other folders,
//! beside `id` and `clock`, so that the store can keep them without knowing a channel.

use crate::clock::Timestamp;
use crate::id::{AgentId, ChannelType, EntryId, OpaqueId, TenantId};

/// The kind of place a message was written in. The adapter decides it; nobody guesses later.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ChatKind {
    /// One peer and the bot.
    Direct,
    /// A group, room or channel: everyone in it shares the conversation.
    Group,
    /// A thread inside a group or a direct chat.
    Thread,
}

impl ChatKind {
    /// All kinds, in the order of the documents.
    pub const ALL: [Self; 3] = [Self::Direct, Self::Group, Self::Thread];

    /// `direct`, `group` or `thread`.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Group => "group",
            Self::Thread => "thread",
        }
    }
}

/// Where a message comes from. The session key is a function of this and of the configuration alone.
///
/// A thread hangs on a group when it has no `user` of its own conversation: see [`Self::parent`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Identity {
    /// The channel entry that received it.
    pub entry: EntryId,
    /// The type of that entry.
    pub channel: ChannelType,
    /// Which of the bot's own accounts received it, where the channel tells them apart.
    pub account: Option<OpaqueId>,
    /// From the channel entry.
    pub tenant: Option<TenantId>,
    /// From the channel entry.
    pub workspace: Option<OpaqueId>,
    /// Slack team, Discord guild, IRC network …
    pub server: Option<OpaqueId>,
    /// Room, chat or channel.
    pub room: Option<OpaqueId>,
    /// Set for [`ChatKind::Thread`] only.
    pub thread: Option<OpaqueId>,
    /// Who wrote it.
    pub user: Option<OpaqueId>,
    /// Direct, group or thread.
    pub kind: ChatKind,
    /// What a thread hangs on: [`ChatKind::Direct`] or [`ChatKind::Group`]. Equal to `kind` otherwise.
    pub parent: ChatKind,
}

/// Who is let in or kept out as one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Subject {
    /// Who writes direct messages, as the vendor wrote the id.
    Peer(String),
    /// A group with everybody in it, as `server:room`.
    Group(String),
}

impl Subject {
    /// `direct` or `group`.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Peer(_) => ChatKind::Direct.as_str(),
            Self::Group(_) => ChatKind::Group.as_str(),
        }
    }

    /// Its id, unique among those of its kind.
    #[must_use]
    pub fn id(&self) -> &str {
        match self {
            Self::Peer(id) | Self::Group(id) => id,
        }
    }
}

/// Where the answer to one message goes.
///
/// It is made by the adapter that received the message and read by the same adapter when it sends;
/// everybody in between carries it unopened. There is no way to change one.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ReplyAddress {
    entry: EntryId,
    stamp: u64,
    target: Box<str>,
}

impl ReplyAddress {
    /// `target` is a text in whatever form the adapter of `entry` can read back; `stamp` tells whose entry it
    /// is, so that a reply does not leave through another one that has got the same id meanwhile.
    pub fn new(entry: EntryId, stamp: u64, target: impl Into<Box<str>>) -> Self {
        Self { entry, stamp, target: target.into() }
    }

    /// The channel entry that must send the answer.
    #[must_use]
    pub fn entry(&self) -> &EntryId {
        &self.entry
    }

    /// Of the entry as it was when the message came in.
    #[must_use]
    pub fn stamp(&self) -> u64 {
        self.stamp
    }

    /// The adapter's own text.
    #[must_use]
    pub fn target(&self) -> &str {
        &self.target
    }
}

/// A file that came with a message. Only its description is kept; nothing is fetched yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attachment {
    /// Where the vendor keeps it.
    pub url: String,
    /// Media type, when the vendor says it.
    pub mime: Option<String>,
    /// File name, when the vendor says it.
    pub name: Option<String>,
}

/// Who wrote a message, as far as loops are concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    /// A person, or a program that speaks for one.
    Peer,
    /// This bot: an echo of what we sent.
    Own,
    /// Another bot. Answering it could go on for ever.
    Bot,
}

/// The identity bundle: everything an adapter hands over for one message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Inbound {
    /// Where it comes from.
    pub identity: Identity,
    /// The peer's name as shown by the vendor; for display only, never for identity.
    pub user_name: Option<String>,
    /// Person, ourselves, or another bot.
    pub author: Author,
    /// Was the bot addressed? Always true in a direct chat.
    pub mentions_bot: bool,
    /// The vendor's id of this message. The same id twice from one entry is one message.
    pub message_id: OpaqueId,
    /// The id of what carried it, where that is another: the same twice is one message too. Not kept.
    pub envelope_id: Option<OpaqueId>,
    /// When it was received here.
    pub received_at: Timestamp,
    /// Who was asked for by name; otherwise the routes decide.
    pub agent: Option<AgentId>,
    /// What was written.
    pub text: String,
    /// What was attached.
    pub attachments: Vec<Attachment>,
    /// Where the answer goes.
    pub reply_to: ReplyAddress,
}
