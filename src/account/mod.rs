//! Who may use the admin API and the local page, and how far.
//!
//! Not here: HTTP, conversations, what a page looks like. Called by `gateway/`, which opens it, and by `admin/`, which asks
//! it who a request is from.
//!
//! What always holds: nobody gets a role or a reach but from here, and neither grows on the way.

use crate::id::TenantId;

/// What somebody may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Look, and nothing else.
    Support,
    /// Everything.
    Admin,
}

/// Of whose conversations and entries somebody may know.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Reach {
    /// Of all tenants', and of the gateway itself.
    All,
    /// Of this tenant's; that there are others is not told.
    Tenant(TenantId),
}

/// Who asks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// As the access log calls them: the name of an account, of a token, or `console`.
    pub name: String,
    /// What they may do.
    pub role: Role,
    /// Of whom they may know.
    pub reach: Reach,
}

impl Who {
    /// Whoever holds the admin token of the home: the commands on this machine.
    #[must_use]
    pub fn console() -> Self {
        Self { name: "console".to_owned(), role: Role::Admin, reach: Reach::All }
    }

    /// May they know of this tenant? `None` is the owner's own.
    #[must_use]
    pub fn reaches(&self, tenant: Option<&TenantId>) -> bool {
        match &self.reach {
            Reach::All => true,
            Reach::Tenant(own) => tenant == Some(own),
        }
    }
}
