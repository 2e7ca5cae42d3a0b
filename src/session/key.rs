//! From an identity to the name of its conversation.

use std::collections::HashMap;
use std::fmt;

use super::config::{Config, DmScope};
use super::encode::{GROUP, Length, Out, Reserved, names_a_user, push_first, push_id, push_segment, push_tag};
use super::format::{Field, KeyFormat};
use crate::id::{EntryId, OpaqueId, SessionKey, TenantId};
use crate::message::{ChatKind, Identity};

/// Which rule gave a key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rule {
    /// A thread: the key of its parent plus the thread.
    Thread,
    /// A group: everything but the user.
    Group,
    /// A direct message under `dmScope: main`.
    Main,
    /// A direct message under `dmScope: per-channel-peer`.
    PerChannelPeer,
    /// A direct message under `dmScope: per-peer`.
    PerPeer,
    /// A direct message under `dmScope: per-peer` from somebody in `session.identityLinks`.
    IdentityLink,
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Thread => "thread",
            Self::Group => "group",
            Self::Main => "direct:main",
            Self::PerChannelPeer => "direct:per-channel-peer",
            Self::PerPeer => "direct:per-peer",
            Self::IdentityLink => "direct:identity-link",
        })
    }
}

/// A key and why it is this one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resolved {
    /// The name of the conversation.
    pub session_key: SessionKey,
    /// The rule that gave it.
    pub rule: Rule,
}

/// Why an identity has no key. The message must be set aside, never filed under another key.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ResolveError {
    /// An id that this kind of chat cannot do without.
    #[error("a {} message needs a {}", kind.as_str(), field.name())]
    Missing {
        /// Direct, group or thread.
        kind: ChatKind,
        /// What is missing.
        field: Field,
    },
    /// A thread id on something that says it is no thread.
    #[error("a {} message has a thread_id; its kind must be thread", kind.as_str())]
    StrayThread {
        /// What it says it is.
        kind: ChatKind,
    },
    /// `keyFormat` names the tenant and the channel entry has none.
    #[error("session.key_format names {{tenant_id}}, but the channel entry has no tenant_id")]
    NoTenant,
}

/// Names conversations under one configuration. Pure: the same identity always gets the same key.
///
/// How a key is put together, after SPEC §3:
///
/// ```text
/// [tenant-<tenant>-][workspace=<workspace>:] body [:group] [:<field>=<id>]… [:thread=<thread>]
///
/// body   main                       every direct message            dmScope main
///        peer:<name>                a linked person                 dmScope per-peer
///        <channel>:<user>           one peer of a channel type      dmScope per-peer
///        keyFormat                  everything else; a group leaves the user out
/// ```
///
/// An id that the channel does not have drops out of `keyFormat` with its separator. So that nobody can
/// take one id for another, only the fields in front of the first id that is there may drop out
/// silently: any other id that is there is written behind the body with its name. A group has its
/// identity written in full, whatever the format leaves out, and `:group` behind it unless all ids of the
/// format are there: `slack:T09ABC123:C04XYZ789` can be no direct chat, because a direct chat without a
/// server ends in an id that says it is a user's (`@…`, `user_…`, Slack's `U…`), or names its room:
/// `webhook:alice:channel=lobby`.
#[derive(Debug, Clone)]
pub struct Resolver {
    pub(super) scope: DmScope,
    pub(super) format: KeyFormat,
    pub(super) per_peer: KeyFormat,
    /// By channel type, then by id.
    links: HashMap<Box<str>, HashMap<Box<str>, Box<str>>>,
    public: Option<EntryId>,
}

impl Resolver {
    /// Takes what it needs from the settings.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        let mut links: HashMap<Box<str>, HashMap<Box<str>, Box<str>>> = HashMap::new();
        for link in &config.identity_links {
            for (tag, id) in link.ids.iter().filter_map(|id| id.split_once(':')) {
                links.entry(tag.into()).or_default().insert(id.into(), link.name.as_str().into());
            }
        }
        let format = config.key_format.clone();
        Self { scope: config.dm_scope, per_peer: format.per_peer(), format, links, public: None }
    }

    /// The same, but `main` does not hold on this entry: whoever comes by is a stranger, and strangers share nothing.
    #[must_use]
    pub fn with_public(self, entry: EntryId) -> Self {
        Self { public: Some(entry), ..self }
    }

    /// The same for other settings.
    #[must_use]
    pub fn with_settings(&self, config: &Config) -> Self {
        Self { public: self.public.clone(), ..Self::new(config) }
    }

    /// Names the conversation of a message.
    ///
    /// # Errors
    /// When the identity lacks what its kind needs. Fails closed: there is no key to fall back on.
    pub fn resolve(&self, identity: &Identity) -> Result<Resolved, ResolveError> {
        check(identity)?;
        if self.format.has(Field::Tenant) && identity.tenant.is_none() {
            return Err(ResolveError::NoTenant);
        }
        let mut length = Length::default();
        self.push_key(&mut length, identity)?;
        let mut key = String::with_capacity(length.0);
        let rule = self.push_key(&mut key, identity)?;
        Ok(Resolved { session_key: SessionKey::from_resolver(key), rule })
    }

    /// The conversation of all direct messages of a tenant's workspace, under `dmScope: main`.
    #[must_use]
    pub fn main_key(&self, tenant: Option<&TenantId>, workspace: Option<&OpaqueId>) -> Option<SessionKey> {
        if self.scope != DmScope::Main {
            return None;
        }
        let mut key = String::new();
        self.push_prefix(&mut key, tenant, workspace);
        key.push_str("main");
        Some(SessionKey::from_resolver(key))
    }

    fn push_key(&self, key: &mut impl Out, identity: &Identity) -> Result<Rule, ResolveError> {
        self.push_prefix(key, identity.tenant.as_ref(), identity.workspace.as_ref());
        let rule = match identity.parent {
            ChatKind::Direct => self.push_direct(key, identity)?,
            ChatKind::Group | ChatKind::Thread => {
                self.push_format(key, identity)?;
                Rule::Group
            }
        };
        if let Some(thread) = &identity.thread {
            push_named(key, "thread", thread.as_str(), self.format.reserved);
        }
        Ok(if identity.kind == ChatKind::Thread { Rule::Thread } else { rule })
    }

    fn push_tenant(&self, key: &mut impl Out, tenant: Option<&TenantId>) {
        let Some(tenant) = tenant else { return };
        let mut reserved = Reserved::default();
        if !self.format.is_tag_first() {
            reserved.add(b'-');
        }
        key.push_str("tenant-");
        push_id(key, tenant.as_str(), reserved);
        key.push(b'-');
    }

    fn push_prefix(&self, key: &mut impl Out, tenant: Option<&TenantId>, workspace: Option<&OpaqueId>) {
        self.push_tenant(key, tenant);
        if let Some(workspace) = workspace {
            key.push_str("workspace=");
            push_id(key, workspace.as_str(), Reserved::default());
            key.push(b':');
        }
    }

    fn push_direct(&self, key: &mut impl Out, identity: &Identity) -> Result<Rule, ResolveError> {
        match self.scope {
            DmScope::Main if self.public.as_ref() != Some(&identity.entry) => {
                key.push_str("main");
                Ok(Rule::Main)
            }
            DmScope::Main | DmScope::PerChannelPeer => {
                self.push_format(key, identity)?;
                Ok(Rule::PerChannelPeer)
            }
            DmScope::PerPeer => {
                let peer = peer(identity);
                let peer = peer.ok_or(ResolveError::Missing { kind: identity.kind, field: Field::User })?;
                let (tag, reserved) = (identity.channel.as_str(), self.per_peer.reserved);
                if let Some(name) = self.links.get(tag).and_then(|links| links.get(peer.as_str())) {
                    key.push_str("peer:");
                    push_segment(key, name, reserved);
                    return Ok(Rule::IdentityLink);
                }
                push_tag(key, tag, reserved);
                key.push(b':');
                push_segment(key, peer.as_str(), reserved);
                Ok(Rule::PerPeer)
            }
        }
    }

    fn push_format(&self, key: &mut impl Out, identity: &Identity) -> Result<(), ResolveError> {
        let format = &self.format;
        let is_group = identity.parent != ChatKind::Direct;
        let positional = Positional::new(format, identity);
        key.push_str(&format.prefix);
        let (mut is_first, mut is_somebodys) = (true, false);
        for (n, slot) in format.slots.iter().enumerate() {
            let Some(id) = positional.id(n, slot.field, identity) else { continue };
            let is_first = std::mem::take(&mut is_first);
            is_somebodys |= !matches!(slot.field, Field::Tenant | Field::Workspace);
            if !is_first {
                key.push_str(&slot.separator);
            }
            match slot.field {
                Field::Channel => push_tag(key, id, format.reserved),
                _ if is_first && format.prefix.is_empty() => push_first(key, id, format.reserved),
                _ => push_segment(key, id, format.reserved),
            }
        }
        key.push_str(&format.suffix);
        if is_group && !is_plain_group(format, identity) {
            key.push(b':');
            key.push_str(GROUP);
        }
        for field in NAMED {
            let slot = format.slots.iter().position(|slot| slot.field == field);
            let is_written = slot.map_or(!is_group, |n| positional.id(n, field, identity).is_some());
            if !is_written && let Some(id) = id_of(identity, field) {
                push_named(key, short_name(field), id, format.reserved);
                is_somebodys = true;
            }
        }
        // A name without any id would be everybody's.
        match format.slots.first() {
            Some(slot) if !is_somebodys => Err(ResolveError::Missing { kind: identity.kind, field: slot.field }),
            _ => Ok(()),
        }
    }
}

/// Which placeholders of a format are filled in place: those behind the last one that has no id.
struct Positional {
    n_before: usize,
}

impl Positional {
    fn new(format: &KeyFormat, identity: &Identity) -> Self {
        let is_gap = |field| is_optional(field, identity) && id_of(identity, field).is_none();
        let n_before = format.slots.iter().rposition(|slot| is_gap(slot.field)).map_or(0, |n| n + 1);
        let n_ids = format.slots.iter().skip(n_before).filter(|slot| is_optional(slot.field, identity)).count();
        let looks_like_group = format.n_plain_group() == Some(n_ids);
        match id_of(identity, Field::User) {
            Some(user) if looks_like_group && !names_a_user(user) => Self { n_before: format.slots.len() - 1 },
            _ => Self { n_before },
        }
    }

    fn id<'i>(&self, n: usize, field: Field, identity: &'i Identity) -> Option<&'i str> {
        let is_here = n >= self.n_before || !is_optional(field, identity);
        if is_here { id_of(identity, field) } else { None }
    }
}

/// Does a group need no mark? When all its ids are there and the last is none that a direct chat would end with.
fn is_plain_group(format: &KeyFormat, identity: &Identity) -> bool {
    let slots = format.slots.iter().filter(|slot| is_optional(slot.field, identity));
    let last = slots.map(|slot| id_of(identity, slot.field)).reduce(|before, id| before.and(id)).flatten();
    format.n_plain_group().is_some() && last.is_some_and(|last| !names_a_user(last))
}

/// May the id be absent although this kind of chat has a place for it?
fn is_optional(field: Field, identity: &Identity) -> bool {
    match field {
        Field::Channel | Field::Tenant | Field::Thread => false,
        Field::User => identity.parent == ChatKind::Direct,
        Field::Workspace | Field::Account | Field::Server | Field::Room => true,
    }
}

/// The id as far as keys are concerned: a group has no user, and a chat that is its own peer no room.
fn id_of(identity: &Identity, field: Field) -> Option<&str> {
    match field {
        Field::Channel => Some(identity.channel.as_str()),
        Field::Tenant => identity.tenant.as_ref().map(TenantId::as_str),
        Field::Workspace => identity.workspace.as_ref().map(OpaqueId::as_str),
        Field::Account => identity.account.as_ref().map(OpaqueId::as_str),
        Field::Server => identity.server.as_ref().map(OpaqueId::as_str),
        Field::Room if peer_chat(identity).is_some() => None,
        Field::Room => identity.room.as_ref().map(OpaqueId::as_str),
        Field::User if identity.parent == ChatKind::Direct => peer(identity).map(OpaqueId::as_str),
        Field::User | Field::Thread => None,
    }
}

/// Who writes a direct message.
#[must_use]
pub fn peer(identity: &Identity) -> Option<&OpaqueId> {
    identity.user.as_ref().or_else(|| peer_chat(identity))
}

/// The room of a direct chat that has an id of its own and none for the peer, as Telegram's `chat_5839201`.
fn peer_chat(identity: &Identity) -> Option<&OpaqueId> {
    let is_alone = identity.parent == ChatKind::Direct && identity.user.is_none();
    identity.room.as_ref().filter(|room| is_alone && room.as_str().starts_with("chat_"))
}

fn check(identity: &Identity) -> Result<(), ResolveError> {
    let kind = identity.kind;
    if (kind == ChatKind::Thread) != identity.thread.is_some() {
        return Err(match kind {
            ChatKind::Thread => ResolveError::Missing { kind, field: Field::Thread },
            ChatKind::Direct | ChatKind::Group => ResolveError::StrayThread { kind },
        });
    }
    let (field, is_there) = match identity.parent {
        ChatKind::Direct => (Field::User, identity.user.is_some() || identity.room.is_some()),
        ChatKind::Group | ChatKind::Thread => (Field::Room, identity.room.is_some()),
    };
    if is_there { Ok(()) } else { Err(ResolveError::Missing { kind, field }) }
}

/// The fields that may be written with their names, in this order.
pub(super) const NAMED: [Field; 5] = [Field::Channel, Field::Account, Field::Server, Field::Room, Field::User];

/// What a named segment is called in a key.
pub(super) fn short_name(field: Field) -> &'static str {
    match field {
        Field::Tenant => "tenant",
        Field::Workspace => "workspace",
        Field::Channel => "type",
        Field::Account => "account",
        Field::Server => "server",
        Field::Room => "channel",
        Field::Thread => "thread",
        Field::User => "user",
    }
}

fn push_named(key: &mut impl Out, name: &str, id: &str, reserved: Reserved) {
    key.push(b':');
    key.push_str(name);
    key.push(b'=');
    push_id(key, id, reserved);
}
