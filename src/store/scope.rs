//! One conversation of one tenant: the first part of every key.

use crate::id::{SessionKey, TenantId};

use super::Error;

/// Whose conversation and which. A handle owns one and has no way to name another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scope {
    pub(super) tenant: Option<TenantId>,
    pub(super) key: SessionKey,
}

impl Scope {
    /// As the tables write it.
    pub(super) fn parts(&self) -> (&str, &str) {
        (tenant_part(self.tenant.as_ref()), self.key.as_str())
    }

    /// From what a table holds.
    pub(super) fn restore(tenant: &str, key: &str) -> Result<Self, Error> {
        let tenant = restore_tenant(tenant)?;
        let key = SessionKey::parse(key).or(Err(Error::Value { what: "session key" }))?;
        Ok(Self { tenant, key })
    }
}

/// A tenant's id is never empty, so the empty text is free for the owner's own conversations.
pub(super) fn tenant_part(tenant: Option<&TenantId>) -> &str {
    tenant.map_or("", TenantId::as_str)
}

/// From what a table holds.
pub(super) fn restore_tenant(text: &str) -> Result<Option<TenantId>, Error> {
    match text {
        "" => Ok(None),
        id => TenantId::new(id).map(Some).or(Err(Error::Value { what: "tenant" })),
    }
}
