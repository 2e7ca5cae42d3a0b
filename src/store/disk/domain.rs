//! From the disk's shapes to domain types, which check what they are made of, and back.

use crate::clock::Timestamp;
use crate::id::{self, AgentId, ChannelType, EntryId, OpaqueId, SessionKey, TenantId};
use crate::message::{self, ChatKind};
use crate::store::scope::Scope;
use crate::store::versioned::Versioned as _;
use crate::store::{Error, delivery_id, record};
use crate::usage::{Amount, Currency, Figures, Latency};

use super::{
    About, Access, Address, Archived, Attachment, Author, Delivery, Identity, Inbound, Kind, Line, Outgoing, Pairing,
    Parked, ParkedItem, Session, Speaker, Taken, Usage, Waiting,
};

impl Session {
    /// The row of a conversation that begins with this message.
    pub(in crate::store) fn beginning_with(inbound: &message::Inbound) -> Self {
        let message::Identity {
            entry,
            channel,
            account,
            tenant: _,
            workspace,
            server,
            room,
            thread,
            user,
            kind,
            parent,
        } = &inbound.identity;
        Self {
            kind: (*kind).into(),
            parent: (*parent).into(),
            entry: entry.to_string(),
            channel: channel.to_string(),
            account: text(account.as_ref()),
            workspace: text(workspace.as_ref()),
            server: text(server.as_ref()),
            room: text(room.as_ref()),
            thread: text(thread.as_ref()),
            user: text(user.as_ref()),
            user_name: None,
            agent: None,
            episode: 1,
            first_line: 1,
            n_missing: 0,
            first_parked: 1,
            is_news: false,
            n_lines: 0,
            n_filed: 0,
            n_parked: 0,
            created_at: inbound.received_at.0,
            last_active_at: inbound.received_at.0,
        }
    }

    pub(in crate::store) fn restore(self, scope: Scope) -> Result<record::SessionRow, id::Error> {
        let n_messages = self.n_said();
        Ok(record::SessionRow {
            tenant: scope.tenant,
            key: scope.key,
            kind: self.kind.into(),
            parent: self.parent.into(),
            entry: EntryId::new(self.entry)?,
            channel: ChannelType::new(self.channel)?,
            account: opaque(self.account)?,
            workspace: opaque(self.workspace)?,
            server: opaque(self.server)?,
            room: opaque(self.room)?,
            thread: opaque(self.thread)?,
            user: opaque(self.user)?,
            user_name: self.user_name,
            agent: self.agent.map(AgentId::new).transpose()?,
            episode: self.episode,
            first_line: self.first_line,
            last_line: self.n_lines,
            n_messages,
            is_news: self.is_news,
            created_at: Timestamp(self.created_at),
            last_active_at: Timestamp(self.last_active_at),
        })
    }
}

impl Session {
    /// Lines of this episode.
    pub(in crate::store) fn n_said(&self) -> u64 {
        (self.n_lines + 1).saturating_sub(self.first_line).saturating_sub(self.n_missing)
    }

    /// The row of the next conversation under the same key, in the same place.
    pub(in crate::store) fn next(&self, at: Timestamp) -> Self {
        let next = Self { agent: None, is_news: false, created_at: at.0, last_active_at: at.0, ..self.clone() };
        next.following(self)
    }

    /// With the positions that come after those of `last`.
    pub(in crate::store) fn following(self, last: &Self) -> Self {
        Self {
            episode: last.episode + 1,
            first_line: last.n_lines + 1,
            n_missing: 0,
            first_parked: last.n_parked + 1,
            n_lines: last.n_lines,
            n_filed: last.n_filed,
            n_parked: last.n_parked,
            ..self
        }
    }
}

impl Archived {
    pub(in crate::store) fn restore(self, scope: Scope) -> Result<record::ArchivedRow, id::Error> {
        Ok(record::ArchivedRow { session: self.session.restore(scope)?, archived_at: Timestamp(self.at) })
    }
}

impl Waiting {
    pub(in crate::store) fn restore(self, seq: u64, tenant: Option<&TenantId>) -> Result<record::Waiting, id::Error> {
        let Self { inbound, n_tries, is_told, unparked_at } = self;
        let unparked_at = unparked_at.map(Timestamp);
        Ok(record::Waiting { seq, inbound: inbound.restore(tenant)?, n_tries, is_told, unparked_at })
    }
}

impl Inbound {
    /// The line it becomes in the transcript.
    pub(in crate::store) fn into_line(self) -> Line {
        let speaker = Speaker::Peer { user: self.identity.user, name: self.user_name, message_id: self.message_id };
        Line { at: self.received_at, speaker, text: self.text, address: self.reply_to }
    }

    fn restore(self, tenant: Option<&TenantId>) -> Result<message::Inbound, id::Error> {
        Ok(message::Inbound {
            identity: self.identity.restore(tenant)?,
            user_name: self.user_name,
            author: self.author.into(),
            agent: self.agent.map(AgentId::new).transpose()?,
            mentions_bot: self.mentions_bot,
            message_id: OpaqueId::new(self.message_id)?,
            envelope_id: None,
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
            agent: inbound.agent.as_ref().map(ToString::to_string),
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
        Ok(message::ReplyAddress::new(EntryId::new(self.entry)?, self.stamp, self.target))
    }
}

impl From<&message::ReplyAddress> for Address {
    fn from(address: &message::ReplyAddress) -> Self {
        Self { entry: address.entry().to_string(), stamp: address.stamp(), target: address.target().to_owned() }
    }
}

impl Line {
    pub(in crate::store) fn restore(self, seq: u64) -> Result<record::Line, id::Error> {
        let speaker = match self.speaker {
            Speaker::Peer { user, name, message_id } => {
                record::Speaker::Peer { user: opaque(user)?, name, message_id: OpaqueId::new(message_id)? }
            }
            Speaker::Agent(agent) => record::Speaker::Agent(AgentId::new(agent)?),
            Speaker::Person(name) => record::Speaker::Person(name),
        };
        let address = self.address.restore()?;
        Ok(record::Line { seq, at: Timestamp(self.at), speaker, text: self.text, address })
    }
}

impl<T: AsRef<str>> Line<T> {
    /// Who said what.
    pub(in crate::store) fn words(&self) -> record::Words<'_> {
        let text = self.text.as_ref();
        match &self.speaker {
            Speaker::Peer { user, name, .. } => {
                let [user, name] = [user, name].map(|of| of.as_ref().map(AsRef::as_ref));
                record::Words { by_agent: false, user, name, text }
            }
            Speaker::Agent(_) | Speaker::Person(_) => record::Words { by_agent: true, user: None, name: None, text },
        }
    }
}

impl Outgoing {
    /// Of a reply that goes with line `line`, which says `said`.
    pub(in crate::store) fn new(content: &record::NewDelivery, line: u64, at: Timestamp, said: Option<&str>) -> Self {
        let record::NewDelivery { address, in_reply_to, answers, text } = content;
        // Only what answers something is erased whenever its line is.
        let is_said = !answers.is_empty() && said == Some(text.as_str());
        Self {
            line,
            created_at: at.0,
            unparked_at: None,
            is_started: false,
            address: address.into(),
            in_reply_to: (answers.last() != Some(in_reply_to)).then(|| in_reply_to.to_string()),
            answers: answers.iter().map(ToString::to_string).collect(),
            text: (!is_said).then(|| text.clone()),
        }
    }

    /// With all that it says; its line is read if it must be.
    pub(in crate::store) fn whole(self, said: impl FnOnce() -> Result<Option<Line>, Error>) -> Result<Delivery, Error> {
        let Self { line, created_at, unparked_at, is_started, address, in_reply_to, answers, text } = self;
        let lacking = || Error::Value { what: Self::WHAT };
        let text = match text {
            Some(text) => text,
            None => said()?.ok_or_else(lacking)?.text,
        };
        let in_reply_to = in_reply_to.or_else(|| answers.last().cloned()).ok_or_else(lacking)?;
        Ok(Delivery { line, created_at, unparked_at, is_started, address, in_reply_to, answers, text })
    }

    /// Its name alone.
    pub(in crate::store) fn restore_name(self, id: u128, scope: Scope) -> Result<record::DeliveryName, id::Error> {
        let address = self.address.restore()?;
        Ok(record::DeliveryName { id: delivery_id::print(id), tenant: scope.tenant, key: scope.key, address })
    }
}

impl Delivery {
    pub(in crate::store) fn restore(self, id: u128, scope: Scope) -> Result<record::Delivery, id::Error> {
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
            unparked_at: self.unparked_at.map(Timestamp),
            is_started: self.is_started,
            content,
        })
    }
}

impl Pairing {
    /// Can it still be approved, for the entry with this stamp?
    pub(in crate::store) fn is_alive(&self, stamp: u64, now: Timestamp) -> bool {
        self.stamp == stamp && self.expires_at > now.0
    }

    /// A line to whoever waits.
    pub(in crate::store) fn line(self, text: String) -> Result<record::NewDelivery, id::Error> {
        let (address, in_reply_to) = (self.address.restore()?, OpaqueId::new(self.message_id)?);
        Ok(record::NewDelivery { address, in_reply_to, answers: Vec::new(), text })
    }
}

impl Parked {
    pub(in crate::store) fn restore(self, position: u64, scope: &Scope) -> Result<record::Parked, id::Error> {
        let what = match self.what {
            ParkedItem::Message(inbound) => record::ParkedItem::Message(inbound.restore(scope.tenant.as_ref())?),
            ParkedItem::Delivery(id, delivery) => record::ParkedItem::Delivery(delivery.restore(id, scope.clone())?),
        };
        Ok(record::Parked { position, at: Timestamp(self.at), reason: self.reason, what })
    }
}

impl Taken {
    pub(in crate::store) fn restore(self) -> record::Taken {
        record::Taken { by: self.by, since: Timestamp(self.since), spoke_at: Timestamp(self.spoke_at) }
    }
}

impl From<&record::NewAccess> for Access {
    fn from(access: &record::NewAccess) -> Self {
        let record::NewAccess { at, who, from, what, about } = access.clone();
        let about = match about {
            record::About::Nothing => About::Nothing,
            record::About::Key(key) => About::Key(key.to_string()),
            record::About::Erased(digest) => About::Erased(digest),
            record::About::Name(name) => About::Name(name),
        };
        Self { at: at.0, who, from: from.map(|from| from.to_string()), what: what.into_owned(), about }
    }
}

impl Access {
    pub(in crate::store) fn restore(self, position: u64) -> Result<record::Access, Error> {
        let about = match self.about {
            About::Nothing => record::About::Nothing,
            About::Key(key) => record::About::Key(SessionKey::parse(&key).or(Err(Error::Value { what: Self::WHAT }))?),
            About::Erased(digest) => record::About::Erased(digest),
            About::Name(name) => record::About::Name(name),
        };
        // Only addresses are written there.
        let from = self.from.and_then(|from| from.parse().ok());
        let access = record::NewAccess { at: Timestamp(self.at), who: self.who, from, what: self.what.into(), about };
        Ok(record::Access { position, access })
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

impl From<&Figures> for Usage {
    fn from(figures: &Figures) -> Self {
        let Latency { buckets, sum_ms, max_ms } = &figures.latency;
        let n_used = buckets.iter().rposition(|n| *n > 0).map_or(0, |last| last + 1);
        Self {
            messages: figures.messages,
            answers: figures.answers,
            latency: buckets.iter().copied().take(n_used).collect(),
            latency_sum_ms: *sum_ms,
            latency_max_ms: *max_ms,
            input_tokens: figures.input_tokens,
            output_tokens: figures.output_tokens,
            model_errors: figures.model_errors,
            costs: figures.costs.iter().map(|(currency, amount)| (currency.as_bytes(), amount.0)).collect(),
        }
    }
}

impl Usage {
    pub(in crate::store) fn restore(self) -> Result<Figures, Error> {
        let mut latency = Latency { sum_ms: self.latency_sum_ms, max_ms: self.latency_max_ms, ..Latency::default() };
        latency.buckets.iter_mut().zip(self.latency).for_each(|(bucket, n)| *bucket = n);
        let cost = |(letters, amount)| {
            let currency = Currency::try_from(letters).or(Err(Error::Value { what: Self::WHAT }))?;
            Ok((currency, Amount(amount)))
        };
        Ok(Figures {
            messages: self.messages,
            answers: self.answers,
            latency,
            input_tokens: self.input_tokens,
            output_tokens: self.output_tokens,
            model_errors: self.model_errors,
            costs: self.costs.into_iter().map(cost).collect::<Result<_, Error>>()?,
        })
    }
}
