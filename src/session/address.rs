//! The address of a message, which routes are matched against.

use std::fmt;

use smallvec::SmallVec;

use super::encode::{Out, Reserved, push_id, push_segment, push_tag};
use crate::id::{ChannelType, OpaqueId, SessionKey, TenantId};
use crate::message::{ChatKind, Identity};

/// `channel:server:room[:thread]:user`, with ids written as in keys; what is absent drops out.
///
/// It lives for the routing of one message, so it is on the stack unless somebody chose very long ids.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    /// ASCII.
    text: SmallVec<[u8; 160]>,
    n_tenant: usize,
}

impl Address {
    /// What the addresses of all messages of a channel begin with: there is no id in it.
    #[must_use]
    pub fn front(tenant: Option<&TenantId>, channel: &ChannelType) -> Self {
        let mut text = SmallVec::new();
        push_tenant(&mut text, tenant);
        let n_tenant = text.len();
        push_tag(&mut text, channel.as_str(), Reserved::default());
        Self { text, n_tenant }
    }

    /// The address of a message.
    #[must_use]
    pub fn of(identity: &Identity) -> Self {
        let mut text = SmallVec::new();
        push_tenant(&mut text, identity.tenant.as_ref());
        let n_tenant = text.len();
        push_chat(&mut text, identity);
        Self { text, n_tenant }
    }

    /// An address that somebody typed. `None` for characters that ids escape.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        SessionKey::parse(text).ok()?;
        let head = text.split(':').next().unwrap_or_default();
        let n_tenant = match head.strip_prefix("tenant-") {
            // The tag of a channel has no `-`; a tenant's id may.
            Some(rest) => rest.rfind('-').map_or(0, |at| "tenant-".len() + at + 1),
            None => 0,
        };
        Some(Self { text: text.as_bytes().into(), n_tenant })
    }

    /// With the tenant in front, if there is one.
    #[must_use]
    pub fn qualified(&self) -> &str {
        shown(&self.text)
    }

    /// The same, to be compared with many patterns.
    pub(crate) fn qualified_bytes(&self) -> &[u8] {
        &self.text
    }

    /// Without the tenant.
    #[must_use]
    pub fn plain(&self) -> &str {
        shown(self.plain_bytes())
    }

    /// The same, to be compared with many patterns.
    pub(crate) fn plain_bytes(&self) -> &[u8] {
        self.text.get(self.n_tenant..).unwrap_or_default()
    }

    /// `tenant-<id>-`, with the id as keys write it; empty without a tenant.
    #[must_use]
    pub fn tenant_prefix(&self) -> &str {
        shown(self.tenant_prefix_bytes())
    }

    /// The same, to be compared with many patterns.
    pub(crate) fn tenant_prefix_bytes(&self) -> &[u8] {
        self.text.get(..self.n_tenant).unwrap_or_default()
    }

    /// The tag of the channel, as keys write it.
    #[must_use]
    pub fn tag(&self) -> &str {
        self.plain().split(':').next().unwrap_or_default()
    }

    /// The ids behind the tag, in their order. Which of them is which, only the channel knows.
    #[must_use]
    pub fn ids(&self) -> Option<Vec<String>> {
        let mut ids = Vec::new();
        let mut segments = self.plain().split(':').skip(1);
        while let Some(segment) = segments.next() {
            // A federated id shows its own colon: see `push_segment`.
            let id = match segments.clone().next() {
                Some(server) if segment.starts_with(['@', '!']) => {
                    segments.next();
                    format!("{segment}:{server}")
                }
                _ => segment.to_owned(),
            };
            ids.push(super::encode::decode(&id)?);
        }
        Some(ids)
    }

    /// The tenant's own id.
    #[must_use]
    pub fn tenant(&self) -> Option<String> {
        let head = self.tenant_prefix();
        super::encode::decode(head.strip_prefix("tenant-")?.strip_suffix('-')?)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", self.qualified())
    }
}

/// What is written is ASCII.
fn shown(text: &[u8]) -> &str {
    std::str::from_utf8(text).unwrap_or_default()
}

/// A group as addresses write it: `server:room`, or `room` where the channel has no servers.
#[must_use]
pub fn group_name(server: Option<&OpaqueId>, room: &OpaqueId) -> String {
    let mut text = String::new();
    if let Some(server) = server {
        push_segment(&mut text, server.as_str(), Reserved::default());
        text.push(':');
    }
    text + &room_name(room)
}

/// A room alone, as addresses write it.
#[must_use]
pub fn room_name(room: &OpaqueId) -> String {
    let mut text = String::new();
    push_segment(&mut text, room.as_str(), Reserved::default());
    text
}

/// What somebody typed, as addresses write it: what they escape is escaped, but for `:`, `*` and `%`.
#[must_use]
pub fn as_typed(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for byte in text.bytes() {
        if SessionKey::is_safe(byte) || matches!(byte, b':' | b'*' | b'%') {
            escaped.push(char::from(byte));
        } else {
            use std::fmt::Write as _;
            let _ = write!(escaped, "%{byte:02X}");
        }
    }
    escaped
}

fn push_tenant(text: &mut impl Out, tenant: Option<&TenantId>) {
    if let Some(tenant) = tenant {
        text.push_str("tenant-");
        push_id(text, tenant.as_str(), Reserved::default());
        text.push(b'-');
    }
}

fn push_chat(text: &mut impl Out, identity: &Identity) {
    push_tag(text, identity.channel.as_str(), Reserved::default());
    let thread = identity.thread.as_ref().filter(|_| identity.kind == ChatKind::Thread);
    let ids = [identity.server.as_ref(), identity.room.as_ref(), thread, identity.user.as_ref()];
    for id in ids.into_iter().flatten().map(OpaqueId::as_str) {
        text.push(b':');
        push_segment(text, id, Reserved::default());
    }
}
