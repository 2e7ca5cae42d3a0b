//! The address of a message, which routes are matched against.

use super::encode::{Length, Out, Reserved, push_id, push_segment, push_tag};
use crate::id::{OpaqueId, SessionKey};
use crate::message::{ChatKind, Identity};

/// `channel:server:room[:thread]:user`, with ids written as in keys; what is absent drops out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    text: String,
    n_tenant: usize,
}

impl Address {
    /// The address of a message.
    #[must_use]
    pub fn of(identity: &Identity) -> Self {
        let mut length = Length::default();
        push_tenant(&mut length, identity);
        push_chat(&mut length, identity);
        let mut text = String::with_capacity(length.0);
        push_tenant(&mut text, identity);
        let n_tenant = text.len();
        push_chat(&mut text, identity);
        Self { text, n_tenant }
    }

    /// An address that somebody typed. `None` for characters that ids escape.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = SessionKey::parse(text).ok()?.to_string();
        let head = text.split(':').next().unwrap_or_default();
        let n_tenant = match head.strip_prefix("tenant-") {
            // The tag of a channel has no `-`; a tenant's id may.
            Some(rest) => rest.rfind('-').map_or(0, |at| "tenant-".len() + at + 1),
            None => 0,
        };
        Some(Self { text, n_tenant })
    }

    /// With the tenant in front, if there is one.
    #[must_use]
    pub fn qualified(&self) -> &str {
        &self.text
    }

    /// Without the tenant.
    #[must_use]
    pub fn plain(&self) -> &str {
        self.text.get(self.n_tenant..).unwrap_or_default()
    }

    /// `tenant-<id>-`, with the id as keys write it; empty without a tenant.
    #[must_use]
    pub fn tenant_prefix(&self) -> &str {
        self.text.get(..self.n_tenant).unwrap_or_default()
    }

    /// The tenant's own id.
    #[must_use]
    pub fn tenant(&self) -> Option<String> {
        let head = self.tenant_prefix();
        super::encode::decode(head.strip_prefix("tenant-")?.strip_suffix('-')?)
    }
}

fn push_tenant(text: &mut impl Out, identity: &Identity) {
    if let Some(tenant) = &identity.tenant {
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
