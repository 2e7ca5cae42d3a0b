//! What values look like on the disk. Domain types know nothing of it.
//!
//! postcard writes fields in order and without names: never change a released shape, add the next one
//! (see `versioned`). The tenant, the session key and the position of a value are in its key only.

use serde::{Deserialize, Serialize};

use crate::clock::Timestamp;
use crate::id::{self, AgentId, ChannelType, EntryId, OpaqueId, TenantId};
use crate::message::{self, ChatKind};

use super::scope::Scope;
use super::versioned::{Unborn, Versioned};
use super::{delivery_id, record};

macro_rules! first_version {
    ($($shape:ty: $what:literal),+ $(,)?) => {
        $(impl Versioned for $shape {
            const WHAT: &'static str = $what;
            const VERSION: u8 = 1;
            type Previous = Unborn;

            fn migrate(previous: Unborn) -> Self {
                match previous {}
            }
        })+
    };
}

first_version! {
    Session: "conversation",
    Line: "line of a transcript",
    Waiting: "waiting message",
    Delivery: "reply",
    Parked: "item that was set aside",
}

/// A conversation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Session {
    pub(super) kind: Kind,
    pub(super) entry: String,
    pub(super) channel: String,
    pub(super) server: Option<String>,
    pub(super) room: Option<String>,
    pub(super) thread: Option<String>,
    pub(super) user: Option<String>,
    pub(super) user_name: Option<String>,
    pub(super) agent: Option<String>,
    /// Lines in the transcript, so also the position of the last one.
    pub(super) n_lines: u64,
    /// Messages ever filed: the position of the last one in the inbox.
    pub(super) n_filed: u64,
    /// Items ever set aside: the position of the last one.
    pub(super) n_parked: u64,
    pub(super) created_at: u64,
    pub(super) last_active_at: u64,
}

/// The kind of a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Kind {
    Direct,
    Group,
    Thread,
}

/// A message in the inbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Waiting {
    pub(super) inbound: Inbound,
    pub(super) n_tries: u32,
    pub(super) is_told: bool,
}

/// A message as it was admitted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Inbound {
    pub(super) identity: Identity,
    pub(super) user_name: Option<String>,
    pub(super) author: Author,
    pub(super) mentions_bot: bool,
    pub(super) message_id: String,
    pub(super) received_at: u64,
    pub(super) text: String,
    pub(super) attachments: Vec<Attachment>,
    pub(super) reply_to: Address,
}

/// Where a message came from, but for its tenant.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Identity {
    pub(super) entry: String,
    pub(super) channel: String,
    pub(super) account: Option<String>,
    pub(super) workspace: Option<String>,
    pub(super) server: Option<String>,
    pub(super) room: Option<String>,
    pub(super) thread: Option<String>,
    pub(super) user: Option<String>,
    pub(super) kind: Kind,
    pub(super) parent: Kind,
}

/// Who wrote a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Author {
    Peer,
    Own,
    Bot,
}

/// The description of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Attachment {
    pub(super) url: String,
    pub(super) mime: Option<String>,
    pub(super) name: Option<String>,
}

/// Where an answer goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Address {
    pub(super) entry: String,
    pub(super) target: String,
}

/// A line of a transcript.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Line {
    pub(super) at: u64,
    pub(super) speaker: Speaker,
    pub(super) text: String,
    pub(super) address: Address,
}

/// Who said a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum Speaker {
    Peer { user: Option<String>, name: Option<String>, message_id: String },
    Agent(String),
}

/// A reply in the outbox.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Delivery {
    pub(super) line: u64,
    pub(super) created_at: u64,
    pub(super) is_started: bool,
    pub(super) address: Address,
    pub(super) in_reply_to: String,
    pub(super) answers: Vec<String>,
    pub(super) text: String,
}

/// What was set aside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Parked {
    pub(super) at: u64,
    pub(super) reason: String,
    pub(super) what: ParkedItem,
}

/// A message or a reply.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) enum ParkedItem {
    Message(Inbound),
    Delivery(u128, Delivery),
}

impl Session {
    /// The row of a conversation that begins with this message.
    pub(super) fn beginning_with(inbound: &message::Inbound) -> Self {
        let message::Identity { entry, channel, server, room, thread, user, kind, .. } = &inbound.identity;
        Self {
            kind: (*kind).into(),
            entry: entry.to_string(),
            channel: channel.to_string(),
            server: text(server.as_ref()),
            room: text(room.as_ref()),
            thread: text(thread.as_ref()),
            user: text(user.as_ref()),
            user_name: None,
            agent: None,
            n_lines: 0,
            n_filed: 0,
            n_parked: 0,
            created_at: inbound.received_at.0,
            last_active_at: inbound.received_at.0,
        }
    }

    pub(super) fn restore(self, scope: Scope) -> Result<record::SessionRow, id::Error> {
        Ok(record::SessionRow {
            tenant: scope.tenant,
            key: scope.key,
            kind: self.kind.into(),
            entry: EntryId::new(self.entry)?,
            channel: ChannelType::new(self.channel)?,
            server: opaque(self.server)?,
            room: opaque(self.room)?,
            thread: opaque(self.thread)?,
            user: opaque(self.user)?,
            user_name: self.user_name,
            agent: self.agent.map(AgentId::new).transpose()?,
            n_messages: self.n_lines,
            created_at: Timestamp(self.created_at),
            last_active_at: Timestamp(self.last_active_at),
        })
    }
}

impl Waiting {
    pub(super) fn restore(self, seq: u64, tenant: Option<&TenantId>) -> Result<record::Waiting, id::Error> {
        let Self { inbound, n_tries, is_told } = self;
        Ok(record::Waiting { seq, inbound: inbound.restore(tenant)?, n_tries, is_told })
    }
}

impl Inbound {
    /// The line it becomes in the transcript.
    pub(super) fn into_line(self) -> Line {
        let speaker = Speaker::Peer { user: self.identity.user, name: self.user_name, message_id: self.message_id };
        Line { at: self.received_at, speaker, text: self.text, address: self.reply_to }
    }

    fn restore(self, tenant: Option<&TenantId>) -> Result<message::Inbound, id::Error> {
        Ok(message::Inbound {
            identity: self.identity.restore(tenant)?,
            user_name: self.user_name,
            author: self.author.into(),
            mentions_bot: self.mentions_bot,
            message_id: OpaqueId::new(self.message_id)?,
            received_at: Timestamp(self.received_at),
            text: self.text,
            attachments: self.attachments.into_iter().map(Into::into).collect(),
            reply_to: self.reply_to.restore()?,
        })
    }
}

impl From<&message::Inbound> for Inbound {
    fn from(inbound: &message::Inbound) -> Self {
        Self {
            identity: (&inbound.identity).into(),
            user_name: inbound.user_name.clone(),
            author: inbound.author.into(),
            mentions_bot: inbound.mentions_bot,
            message_id: inbound.message_id.to_string(),
            received_at: inbound.received_at.0,
            text: inbound.text.clone(),
            attachments: inbound.attachments.iter().map(Into::into).collect(),
            reply_to: (&inbound.reply_to).into(),
        }
    }
}

impl Identity {
    fn restore(self, tenant: Option<&TenantId>) -> Result<message::Identity, id::Error> {
        Ok(message::Identity {
            entry: EntryId::new(self.entry)?,
            channel: ChannelType::new(self.channel)?,
            account: opaque(self.account)?,
            tenant: tenant.cloned(),
            workspace: opaque(self.workspace)?,
            server: opaque(self.server)?,
            room: opaque(self.room)?,
            thread: opaque(self.thread)?,
            user: opaque(self.user)?,
            kind: self.kind.into(),
            parent: self.parent.into(),
        })
    }
}

impl From<&message::Identity> for Identity {
    fn from(identity: &message::Identity) -> Self {
        Self {
            entry: identity.entry.to_string(),
            channel: identity.channel.to_string(),
            account: text(identity.account.as_ref()),
            workspace: text(identity.workspace.as_ref()),
            server: text(identity.server.as_ref()),
            room: text(identity.room.as_ref()),
            thread: text(identity.thread.as_ref()),
            user: text(identity.user.as_ref()),
            kind: identity.kind.into(),
            parent: identity.parent.into(),
        }
    }
}

impl Address {
    fn restore(self) -> Result<message::ReplyAddress, id::Error> {
        Ok(message::ReplyAddress::new(EntryId::new(self.entry)?, self.target))
    }
}

impl From<&message::ReplyAddress> for Address {
    fn from(address: &message::ReplyAddress) -> Self {
        Self { entry: address.entry().to_string(), target: address.target().to_owned() }
    }
}

impl Line {
    pub(super) fn restore(self, seq: u64) -> Result<record::Line, id::Error> {
        let speaker = match self.speaker {
            Speaker::Peer { user, name, message_id } => {
                record::Speaker::Peer { user: opaque(user)?, name, message_id: OpaqueId::new(message_id)? }
            }
            Speaker::Agent(agent) => record::Speaker::Agent(AgentId::new(agent)?),
        };
        let address = self.address.restore()?;
        Ok(record::Line { seq, at: Timestamp(self.at), speaker, text: self.text, address })
    }
}

impl Delivery {
    /// Of a reply that goes with line `line`.
    pub(super) fn new(content: &record::NewDelivery, line: u64, at: Timestamp) -> Self {
        let record::NewDelivery { address, in_reply_to, answers, text } = content;
        Self {
            line,
            created_at: at.0,
            is_started: false,
            address: address.into(),
            in_reply_to: in_reply_to.to_string(),
            answers: answers.iter().map(ToString::to_string).collect(),
            text: text.clone(),
        }
    }

    pub(super) fn restore(self, id: u128, scope: Scope) -> Result<record::Delivery, id::Error> {
        let content = record::NewDelivery {
            address: self.address.restore()?,
            in_reply_to: OpaqueId::new(self.in_reply_to)?,
            answers: self.answers.into_iter().map(OpaqueId::new).collect::<Result<_, _>>()?,
            text: self.text,
        };
        Ok(record::Delivery {
            id: delivery_id::print(id),
            tenant: scope.tenant,
            key: scope.key,
            seq: self.line,
            created_at: Timestamp(self.created_at),
            is_started: self.is_started,
            content,
        })
    }
}

impl Parked {
    pub(super) fn restore(self, scope: &Scope) -> Result<record::Parked, id::Error> {
        let what = match self.what {
            ParkedItem::Message(inbound) => record::ParkedItem::Message(inbound.restore(scope.tenant.as_ref())?),
            ParkedItem::Delivery(id, delivery) => record::ParkedItem::Delivery(delivery.restore(id, scope.clone())?),
        };
        Ok(record::Parked { at: Timestamp(self.at), reason: self.reason, what })
    }
}

impl From<ChatKind> for Kind {
    fn from(kind: ChatKind) -> Self {
        match kind {
            ChatKind::Direct => Self::Direct,
            ChatKind::Group => Self::Group,
            ChatKind::Thread => Self::Thread,
        }
    }
}

impl From<Kind> for ChatKind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Direct => Self::Direct,
            Kind::Group => Self::Group,
            Kind::Thread => Self::Thread,
        }
    }
}

impl From<message::Author> for Author {
    fn from(author: message::Author) -> Self {
        match author {
            message::Author::Peer => Self::Peer,
            message::Author::Own => Self::Own,
            message::Author::Bot => Self::Bot,
        }
    }
}

impl From<Author> for message::Author {
    fn from(author: Author) -> Self {
        match author {
            Author::Peer => Self::Peer,
            Author::Own => Self::Own,
            Author::Bot => Self::Bot,
        }
    }
}

impl From<&message::Attachment> for Attachment {
    fn from(attachment: &message::Attachment) -> Self {
        let message::Attachment { url, mime, name } = attachment.clone();
        Self { url, mime, name }
    }
}

impl From<Attachment> for message::Attachment {
    fn from(attachment: Attachment) -> Self {
        let Attachment { url, mime, name } = attachment;
        Self { url, mime, name }
    }
}

fn text(id: Option<&OpaqueId>) -> Option<String> {
    id.map(ToString::to_string)
}

fn opaque(text: Option<String>) -> Result<Option<OpaqueId>, id::Error> {
    text.map(OpaqueId::new).transpose()
}
