//! The gateway's side of the HTTP API: keys, conversations, and news for those who wait.

mod waiters;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_lc_rs::{constant_time, digest};
use futures_util::stream::{self, StreamExt as _};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use super::Gateway;
use super::live::{Live, Model};
use crate::api::{AskError, Caller, Conversation, Desk, Part, Question};
use crate::channel::{Admitted, Descriptor, Sender};
use crate::clock::Timestamp;
use crate::config::{ApiKey, SessionScope};
use crate::id::{API_ENTRY, AgentId, ChannelType, EntryId, OpaqueId, SessionKey, TenantId};
use crate::message::{Author, ChatKind, Identity, Inbound, ReplyAddress};
use crate::provider::{self, Answer, Chunk, Request, Usage};
use crate::route::Reach;
use crate::session::{Address, Body, Field};

use waiters::MAX_UNREAD;
pub(super) use waiters::Waiters;

/// When to ask again what could not be taken.
const RETRY_AFTER: Duration = Duration::from_secs(5);

pub(super) static DESCRIPTOR: Descriptor = Descriptor {
    type_name: API_ENTRY,
    key_tag: API_ENTRY,
    max_text_chars: None,
    has_page: false,
    is_inline: true,
    send_is_idempotent: true,
    sender: Sender::Program,
    ids_are_global: false,
};

impl Desk for Gateway {
    fn caller(&self, key: &str) -> Option<Box<dyn Caller>> {
        let live = self.0.live.load_full();
        let given = digest::digest(&digest::SHA256, key.as_bytes());
        // Digests have one length, so the comparison tells neither the length nor the beginning of a key.
        let is_given = |known: &&ApiKey| {
            let known = digest::digest(&digest::SHA256, known.key.expose().as_bytes());
            constant_time::verify_slices_are_equal(known.as_ref(), given.as_ref()).is_ok()
        };
        let key = live.settings.api_keys.iter().find(is_given)?.clone();
        let identity = identity(&key)?;
        Some(Box::new(Bound { gateway: self.clone(), live, key, identity }))
    }

    fn now(&self) -> Timestamp {
        Gateway::now(self)
    }
}

/// What one API key reaches: the agents it may ask and the sessions of its own tenant.
struct Bound {
    gateway: Gateway,
    live: Arc<Live>,
    key: ApiKey,
    /// Who the key is when no user is named.
    identity: Identity,
}

fn identity(key: &ApiKey) -> Option<Identity> {
    Some(Identity {
        entry: EntryId::new(API_ENTRY).ok()?,
        channel: ChannelType::new(API_ENTRY).ok()?,
        account: None,
        tenant: key.tenant.clone(),
        workspace: None,
        server: None,
        room: None,
        thread: None,
        user: Some(OpaqueId::new(format!("key_{}", key.name)).ok()?),
        kind: ChatKind::Direct,
        parent: ChatKind::Direct,
    })
}

#[async_trait]
impl Caller for Bound {
    fn agents(&self) -> Vec<AgentId> {
        self.live.agents.keys().filter(|agent| self.may_ask(agent)).cloned().collect()
    }

    fn default_agent(&self) -> AgentId {
        if let Some(only) = &self.key.agent {
            return only.clone();
        }
        self.live.router.route(&Address::of(&self.identity), self.key.tenant.as_ref()).agent.clone()
    }

    async fn complete(&self, agent: &AgentId, mut request: Request) -> Result<Answer, provider::Error> {
        let Some(agent) = self.live.agents.get(agent) else {
            let message = format!("there is no agent {agent}");
            return Err(provider::Error { kind: provider::ErrorKind::Permanent, message });
        };
        let agent = self.live.informed(agent, self.key.tenant.as_ref(), self.gateway.now());
        request.system = match request.system.is_empty() {
            true => agent.soul.to_string(),
            false => format!("{}\n\n{}", agent.soul, request.system),
        };
        let turn = self.turn().await.ok_or_else(|| provider::Error {
            kind: provider::ErrorKind::Transient { after: Some(RETRY_AFTER) },
            message: "the gateway stops".to_owned(),
        })?;
        let model = self.live.models.get(&agent.name).cloned();
        let (gateway, tenant) = (self.gateway.clone(), self.key.tenant.clone());
        let asked = Asked { at: gateway.now(), gateway, tenant, model };
        asked.gateway.0.usage.message(asked.tenant.as_ref(), asked.at);
        match agent.provider.stream(&request).await {
            Ok(answer) => Ok(self.pass_on(answer, turn, asked)),
            Err(error) => {
                asked.count(Usage::default(), Ended::Failed);
                Err(error)
            }
        }
    }

    async fn ask(&self, question: Question) -> Result<mpsc::Receiver<Part>, AskError> {
        let (identity, session_key) = self.place_of(question.conversation)?;
        let session = self.gateway.0.store.tenant(self.key.tenant.as_ref()).session(&session_key);
        match session.taken() {
            Ok(None) => {}
            Ok(Some(_)) => return Err(AskError::Taken),
            Err(error) => {
                tracing::error!(%error, "a conversation cannot be read");
                return Err(AskError::Unavailable { retry_after: RETRY_AFTER });
            }
        }
        let agent = question.agent.or_else(|| self.key.agent.clone());
        let entry = identity.entry.clone();
        let target = crate::id::random().ok_or(AskError::Unavailable { retry_after: RETRY_AFTER })?;
        let message_id = message_id(&self.key.name, question.idempotency_key.as_ref(), &target);
        let inbound = Inbound {
            identity,
            user_name: None,
            author: Author::Peer,
            mentions_bot: true,
            message_id: OpaqueId::new(message_id).map_err(|_error| AskError::OutOfReach)?,
            envelope_id: None,
            received_at: self.gateway.now(),
            agent,
            text: question.text,
            attachments: Vec::new(),
            reply_to: ReplyAddress::new(entry, 0, target.as_str()),
        };
        tracing::debug!(api_key.name = self.key.name, session.key = %session_key, "session resolved");
        let (place, parts) = self.gateway.0.api.wait(target);
        match self.gateway.file(&session_key, inbound).await {
            Admitted::Accepted { .. } => {
                place.keep();
                Ok(parts)
            }
            Admitted::Duplicate => Err(AskError::Duplicate),
            Admitted::Unavailable { retry_after } | Admitted::Limited { retry_after } => {
                Err(AskError::Unavailable { retry_after })
            }
            Admitted::Ignored(_) | Admitted::Refused(_) | Admitted::Unresolvable(_) => Err(AskError::OutOfReach),
        }
    }
}

/// A model that was asked for a program, to be counted.
struct Asked {
    gateway: Gateway,
    tenant: Option<TenantId>,
    model: Option<Model>,
    at: Timestamp,
}

/// How that ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    Answered,
    Failed,
    /// The program went away before the end.
    Left,
}

impl Asked {
    fn count(&self, spent: Usage, ended: Ended) {
        let (counted, now) = (&self.gateway.0.usage, self.gateway.now());
        if let Some(model) = &self.model {
            counted.asked(self.tenant.as_ref(), now, model, spent, ended == Ended::Failed);
        }
        if ended == Ended::Answered {
            counted.answer(self.tenant.as_ref(), now, self.gateway.age_ms(self.at));
        }
    }
}

impl Bound {
    /// A key with an agent asks that one, a key without a tenant asks all. Any other key asks the agents that
    /// answer its tenant, and those that are nobody's in particular: not those that only other tenants name.
    fn may_ask(&self, agent: &AgentId) -> bool {
        if let Some(only) = &self.key.agent {
            return only == agent;
        }
        let Some(tenant) = &self.key.tenant else { return true };
        let keys = self.live.settings.api_keys.iter().filter(|key| key.agent.as_ref() == Some(agent));
        let (own, others): (Vec<_>, Vec<_>) =
            keys.filter_map(|key| key.tenant.as_ref()).partition(|other| *other == tenant);
        match self.live.router.reach(agent, &Address::of(&self.identity), tenant) {
            Reach::Own => true,
            Reach::Shared => !own.is_empty() || others.is_empty(),
            Reach::Others => !own.is_empty(),
        }
    }

    /// Waits for one of the turns that may run at the same time. `None`: the gateway stops.
    async fn turn(&self) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            () = self.gateway.0.stop.cancelled() => None,
            turn = self.gateway.0.turns.clone().acquire_owned() => turn.ok(),
        }
    }

    /// Reads the answer as fast as the model writes it: a client that does not read must not keep the turn.
    /// It ends when the client goes, or leaves too much unread.
    fn pass_on(&self, mut answer: Answer, turn: OwnedSemaphorePermit, asked: Asked) -> Answer {
        let (sender, receiver) = mpsc::channel(MAX_UNREAD);
        self.gateway.spawn(async move {
            let (mut usage, mut ended) = (Usage::default(), Ended::Left);
            loop {
                let chunk = tokio::select! {
                    () = sender.closed() => break,
                    chunk = answer.next() => chunk,
                };
                match &chunk {
                    Some(Ok(Chunk::Usage(so_far))) => usage = *so_far,
                    Some(Ok(Chunk::Stop(_))) => ended = Ended::Answered,
                    Some(Ok(Chunk::Text(_) | Chunk::ToolUse { .. })) => {}
                    Some(Err(_)) => ended = Ended::Failed,
                    None if ended == Ended::Left => ended = Ended::Failed,
                    None => {}
                }
                let Some(chunk) = chunk else { break };
                if sender.try_send(chunk).is_err() {
                    break;
                }
            }
            asked.count(usage, ended);
            drop((answer, turn));
        });
        stream::unfold(receiver, |mut chunks| async move { Some((chunks.recv().await?, chunks)) }).boxed()
    }

    /// The identity under which a message is filed, and where.
    fn place_of(&self, conversation: Conversation) -> Result<(Identity, SessionKey), AskError> {
        match conversation {
            Conversation::User(user) => {
                let identity = Identity { user: Some(user), ..self.identity.clone() };
                let resolved = self.live.api_resolver.resolve(&identity).map_err(|_error| AskError::OutOfReach)?;
                let is_ours = self.is_of_api(&resolved.session_key)?;
                if is_ours { Ok((identity, resolved.session_key)) } else { Err(AskError::OutOfReach) }
            }
            Conversation::Key(session_key) => {
                let may_name = self.may_name(&session_key)?;
                if may_name { Ok((self.identity.clone(), session_key)) } else { Err(AskError::OutOfReach) }
            }
        }
    }

    /// Is the conversation one of the key's own tenant, and within its scope?
    fn may_name(&self, session_key: &SessionKey) -> Result<bool, AskError> {
        let tenant = self.key.tenant.as_ref().map(TenantId::as_str);
        let of_api = self.live.api_resolver.parse(session_key);
        let is_api = of_api.as_ref().is_ok_and(|parsed| {
            let is_api = matches!(&parsed.body, Body::Chat(chat) if chat.id(Field::Channel) == Some(API_ENTRY));
            is_api && parsed.tenant.as_deref() == tenant
        });
        match self.key.scope {
            SessionScope::Api => Ok(is_api && self.is_of_api(session_key)?),
            SessionScope::Tenant => {
                let parsed = self.live.resolver.parse(session_key);
                Ok(is_api || parsed.is_ok_and(|parsed| parsed.tenant.as_deref() == tenant))
            }
        }
    }

    /// Did the conversation begin here, or does it not exist yet? Under some key formats the key of a chat
    /// reads like one of ours; it is that chat's when it is archived, too.
    fn is_of_api(&self, session_key: &SessionKey) -> Result<bool, AskError> {
        let session = self.gateway.0.store.tenant(self.key.tenant.as_ref()).session(session_key);
        let row = session.row().and_then(|row| match row {
            Some(row) => Ok(Some(row)),
            None => Ok(session.archives()?.pop().map(|archived| archived.session)),
        });
        match row {
            Ok(row) => Ok(row.is_none_or(|row| row.channel == self.identity.channel)),
            Err(error) => {
                tracing::error!(%error, "a conversation cannot be read");
                Err(AskError::Unavailable { retry_after: RETRY_AFTER })
            }
        }
    }
}

/// The id under which a message is known. Two callers may choose the same idempotency key and mean two
/// messages; with the length of the name in front, no two names and keys give one text.
fn message_id(name: &str, idempotency_key: Option<&OpaqueId>, random: &str) -> String {
    match idempotency_key {
        Some(key) => format!("{}:{name}:{key}", name.len()),
        None => random.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_ids(a: (&str, Option<&str>), b: (&str, Option<&str>)) {
        let id = |(name, key): (&str, Option<&str>), random| {
            message_id(name, key.map(|key| OpaqueId::new(key).unwrap()).as_ref(), random)
        };
        assert_ne!(id(a, "0a"), id(b, "0b"));
        assert_eq!(id(a, "0a") == id(a, "0b"), a.1.is_some(), "the same idempotency key is the same message");
    }

    #[test]
    fn messages_of_two_callers_are_two() {
        check_ids(("crm", Some("1")), ("shop", Some("1")));
        check_ids(("a", Some("b:c")), ("a:b", Some("c")));
        check_ids(("a", Some("1:b:c")), ("1:a", Some("b:c")));
        check_ids(("crm", None), ("crm", None));
        check_ids(("crm", Some("1")), ("crm", None));
    }
}
