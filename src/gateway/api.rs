//! The gateway's side of the HTTP API: keys, conversations, and news for those who wait.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use aws_lc_rs::{constant_time, digest};
use tokio::sync::mpsc;

use super::Gateway;
use super::live::Live;
use crate::api::{AskError, Caller, Conversation, Desk, Part, Question};
use crate::channel::{Admitted, Descriptor, Preview};
use crate::clock::Timestamp;
use crate::config::{ApiKey, SessionScope};
use crate::id::{API_ENTRY, AgentId, ChannelType, EntryId, OpaqueId, SessionKey, TenantId};
use crate::message::{Author, ChatKind, Identity, Inbound, ReplyAddress};
use crate::provider::{self, Answer, Request};
use crate::session::{Address, Body, Field};

pub(super) static DESCRIPTOR: Descriptor = Descriptor {
    type_name: API_ENTRY,
    key_tag: API_ENTRY,
    max_text_chars: None,
    has_page: false,
    is_inline: true,
    send_is_idempotent: true,
    ids_are_global: false,
};

/// News that a slow client may leave unread before it is left behind.
const MAX_UNREAD: usize = 1_024;

/// Clients that wait for the answer of a conversation, by the message they sent.
#[derive(Debug, Default)]
pub(super) struct Waiters(Mutex<HashMap<String, mpsc::Sender<Part>>>);

impl Waiters {
    /// `None`: somebody waits for this very message.
    fn wait(&self, request: &str) -> Option<mpsc::Receiver<Part>> {
        match self.lock().entry(request.to_owned()) {
            Entry::Occupied(_) => None,
            Entry::Vacant(waiter) => {
                let (sender, receiver) = mpsc::channel(MAX_UNREAD);
                waiter.insert(sender);
                Some(receiver)
            }
        }
    }

    fn forget(&self, request: &str) {
        self.lock().remove(request);
    }

    pub(super) fn preview(&self, request: &str, preview: Preview) {
        let (part, is_end) = match preview {
            Preview::Typing => return,
            Preview::Delta(text) => (Part::Delta(text), false),
            Preview::Reset => (Part::Reset, false),
            Preview::Failed { retry_after } => (Part::Failed { retry_after }, true),
        };
        self.tell(request, part, is_end);
    }

    pub(super) fn answer(&self, request: &str, text: &str) {
        self.tell(request, Part::Answer(text.to_owned()), true);
    }

    fn tell(&self, request: &str, part: Part, is_end: bool) {
        let mut waiters = self.lock();
        let is_left_behind = waiters.get(request).is_some_and(|waiter| waiter.try_send(part).is_err());
        if is_end || is_left_behind {
            waiters.remove(request);
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<String, mpsc::Sender<Part>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

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
        Some(Box::new(Bound { gateway: self.clone(), live, key }))
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
}

#[async_trait]
impl Caller for Bound {
    fn agents(&self) -> Vec<AgentId> {
        let may_ask = |name: &&AgentId| self.key.agent.as_ref().is_none_or(|only| only == *name);
        self.live.agents.keys().filter(may_ask).cloned().collect()
    }

    fn default_agent(&self) -> AgentId {
        if let Some(only) = &self.key.agent {
            return only.clone();
        }
        let address = Address::parse(API_ENTRY);
        let routed = address.map(|address| self.live.router.route(&address, self.key.tenant.as_ref()).agent.clone());
        routed.unwrap_or_else(|| self.live.router.default_agent.clone())
    }

    async fn complete(&self, agent: &AgentId, mut request: Request) -> Result<Answer, provider::Error> {
        let Some(agent) = self.live.agents.get(agent) else {
            let message = format!("there is no agent {agent}");
            return Err(provider::Error { kind: provider::ErrorKind::Permanent, message });
        };
        request.system = if request.system.is_empty() {
            agent.soul.to_string()
        } else {
            format!("{}\n\n{}", agent.soul, request.system)
        };
        agent.provider.stream(&request).await
    }

    async fn ask(&self, question: Question) -> Result<mpsc::Receiver<Part>, AskError> {
        let identity = self.identity(&question.conversation).ok_or(AskError::OutOfReach)?;
        let session_key = match question.conversation {
            Conversation::Key(session_key) => session_key,
            Conversation::User(_) => {
                self.live.api_resolver.resolve(&identity).map_err(|_error| AskError::OutOfReach)?.session_key
            }
        };
        let agent = question.agent.or_else(|| self.key.agent.clone());
        let entry = identity.entry.clone();
        // Two callers may choose the same idempotency key and mean two messages.
        let request = format!("{}:{}", self.key.name, question.message_id);
        let message_id = OpaqueId::new(request.as_str()).map_err(|_error| AskError::OutOfReach)?;
        let inbound = Inbound {
            identity,
            user_name: None,
            author: Author::Peer,
            mentions_bot: true,
            message_id,
            envelope_id: None,
            received_at: self.gateway.now(),
            agent,
            text: question.text,
            attachments: Vec::new(),
            reply_to: ReplyAddress::new(entry, 0, request.as_str()),
        };
        tracing::debug!(api_key.name = self.key.name, session.key = %session_key, "session resolved");
        let parts = self.gateway.0.api.wait(&request).ok_or(AskError::Duplicate)?;
        let refusal = match self.gateway.file(&session_key, inbound).await {
            Admitted::Accepted { .. } => return Ok(parts),
            Admitted::Duplicate => AskError::Duplicate,
            Admitted::Unavailable { retry_after } => AskError::Unavailable { retry_after },
            Admitted::Ignored(_) | Admitted::Refused(_) | Admitted::Unresolvable(_) => AskError::OutOfReach,
        };
        self.gateway.0.api.forget(&request);
        Err(refusal)
    }
}

impl Bound {
    /// The identity under which a message is filed; `None` if the key may not name that conversation.
    fn identity(&self, conversation: &Conversation) -> Option<Identity> {
        let user = match conversation {
            Conversation::User(user) => Some(user.clone()),
            Conversation::Key(session_key) => {
                if !self.may_name(session_key) {
                    return None;
                }
                OpaqueId::new(format!("key_{}", self.key.name)).ok()
            }
        };
        Some(Identity {
            entry: EntryId::new(API_ENTRY).ok()?,
            channel: ChannelType::new(API_ENTRY).ok()?,
            account: None,
            tenant: self.key.tenant.clone(),
            workspace: None,
            server: None,
            room: None,
            thread: None,
            user,
            kind: ChatKind::Direct,
            parent: ChatKind::Direct,
        })
    }

    /// Is the conversation one of the key's own tenant, and within its scope?
    fn may_name(&self, session_key: &SessionKey) -> bool {
        let tenant = self.key.tenant.as_ref().map(TenantId::as_str);
        let of_api = self.live.api_resolver.parse(session_key);
        let is_api = of_api.as_ref().is_ok_and(|parsed| {
            let is_api = matches!(&parsed.body, Body::Chat(chat) if chat.id(Field::Channel) == Some(API_ENTRY));
            is_api && parsed.tenant.as_deref() == tenant
        });
        match self.key.scope {
            SessionScope::Api => is_api,
            SessionScope::Tenant => {
                let parsed = self.live.resolver.parse(session_key);
                is_api || parsed.is_ok_and(|parsed| parsed.tenant.as_deref() == tenant)
            }
        }
    }
}
