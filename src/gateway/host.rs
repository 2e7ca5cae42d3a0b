//! What the adapter of one entry may ask of the gateway.

use std::sync::Arc;

use async_trait::async_trait;

use super::Gateway;
use super::live::LiveEntry;
use crate::channel::{Admitted, Event, History, HistoryLine, Host};
use crate::clock::Timestamp;
use crate::id::EntryId;
use crate::message::{Identity, Inbound, ReplyAddress};
use crate::store::{self, Speaker};

/// A handle that is bound to one entry: what comes through it is stamped with the entry's tenant, and what
/// goes back is of conversations that the entry's own events belong to.
#[derive(Debug)]
pub(super) struct Bound {
    gateway: Gateway,
    entry: Arc<LiveEntry>,
}

/// Waiting messages that a page is shown at most.
const WAITING_SHOWN: usize = 50;

impl Bound {
    pub(super) fn new(gateway: Gateway, entry: Arc<LiveEntry>) -> Self {
        Self { gateway, entry }
    }

    fn identity(&self, event: &Event) -> Identity {
        let entry = &self.entry;
        Identity {
            entry: entry.id.clone(),
            channel: entry.channel_type.clone(),
            // What the operator says of the entry counts: it keeps this entry's keys apart from another's.
            account: entry.account.clone().or_else(|| event.account.clone()),
            tenant: entry.tenant.clone(),
            workspace: entry.workspace.clone(),
            server: event.server.clone(),
            room: event.room.clone(),
            thread: event.thread.clone(),
            user: event.user.clone(),
            kind: event.kind,
            parent: event.parent,
        }
    }

    fn lines(&self, event: &Event, after_seq: Option<u64>, limit: usize) -> Result<History, store::Error> {
        let identity = self.identity(event);
        let live = self.gateway.0.live.load();
        let Ok(resolved) = live.resolver.resolve(&identity) else { return Ok(History::default()) };
        let session = self.gateway.0.store.tenant(identity.tenant.as_ref()).session(&resolved.session_key);
        let address = ReplyAddress::new(self.entry.id.clone(), self.entry.stamp, event.reply_target.as_str());
        let mut shown = Vec::new();
        // Read first: what a turn moves into the transcript between the two reads is then seen twice, which a
        // page notices, and not left out.
        let waiting = session.waiting(WAITING_SHOWN)?;
        // Others may share the conversation; a page shows its own visitor's lines only. The newest, so
        // that a long absence ends with them and not with the oldest.
        let addressed = session.lines_with(&address, after_seq, limit)?;
        for line in addressed.lines {
            let (from_agent, message_id) = match line.speaker {
                Speaker::Agent(_) | Speaker::Person(_) => (true, None),
                Speaker::Peer { message_id, .. } => (false, Some(message_id.to_string())),
            };
            shown.push(HistoryLine { seq: Some(line.seq), from_agent, message_id, at: line.at, text: line.text });
        }
        for waiting in waiting.into_iter().filter(|waiting| waiting.inbound.reply_to == address) {
            shown.push(HistoryLine {
                seq: None,
                from_agent: false,
                message_id: Some(waiting.inbound.message_id.to_string()),
                at: waiting.inbound.received_at,
                text: waiting.inbound.text,
            });
        }
        Ok(History { lines: shown, last: addressed.last, is_fresh: !addressed.is_known })
    }
}

#[async_trait]
impl Host for Bound {
    fn entry(&self) -> &EntryId {
        &self.entry.id
    }

    async fn admit(&self, event: Event) -> Admitted {
        let identity = self.identity(&event);
        let inbound = Inbound {
            identity,
            user_name: event.user_name,
            author: event.author,
            agent: None,
            mentions_bot: event.mentions_bot,
            message_id: event.message_id,
            envelope_id: event.envelope_id,
            received_at: self.gateway.now(),
            text: event.text,
            attachments: event.attachments,
            reply_to: ReplyAddress::new(self.entry.id.clone(), self.entry.stamp, event.reply_target),
        };
        self.gateway.admit(&self.entry, inbound, event.lacks).await
    }

    async fn history(&self, event: &Event, after_seq: Option<u64>, limit: usize) -> History {
        self.lines(event, after_seq, limit).unwrap_or_else(|error| {
            tracing::error!(channel.name = %self.entry.id, %error, "a history cannot be read");
            // It asks from the same line again.
            History { last: after_seq.unwrap_or(0), ..History::default() }
        })
    }

    fn report(&self, health: Result<(), String>) {
        if let Err(problem) = &health {
            tracing::warn!(channel.name = %self.entry.id, problem, "the channel has a problem");
        }
        self.entry.health.link(health.err());
    }

    fn now(&self) -> Timestamp {
        self.gateway.now()
    }
}
