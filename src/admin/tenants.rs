//! Tenants: of whom something is kept, and its end.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::Error;
use super::operation::{MANAGE, Operation, Query, READ};
use super::parsed;
use super::reach::Reached;
use crate::id::TenantId;
use crate::store::KeptTenant;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/api/v1/tenants", READ, "Of whom something is kept", list),
        Operation::post("/api/v1/tenants/erase", MANAGE, "Removes all that is kept of a tenant, and its key", erase),
    ]
}

/// Of whom something is kept.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tenants {
    pub(crate) tenants: Vec<Tenant>,
}

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tenant {
    /// Null: the owner's own.
    pub(crate) tenant: Option<String>,
    /// Conversations that live.
    pub(crate) active: u64,
    /// Those that are over.
    pub(crate) archived: u64,
    /// Is what is left of it being removed?
    pub(crate) erasing: bool,
}

pub(crate) async fn list(reached: Reached, (): ()) -> Result<Tenants, Error> {
    let shown = |kept: &KeptTenant| Tenant {
        tenant: kept.tenant.as_ref().map(ToString::to_string),
        active: kept.n_live,
        archived: kept.n_archived,
        erasing: kept.is_erasing,
    };
    Ok(Tenants { tenants: reached.kept_tenants()?.iter().map(shown).collect() })
}

#[derive(Debug, Deserialize, IntoParams)]
pub(crate) struct Which {
    /// Empty: the owner's own.
    pub(crate) tenant: String,
}

/// What was removed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErasedTenant {
    /// Null: the owner's own.
    pub(crate) tenant: Option<String>,
    /// How many there were.
    pub(crate) conversations: u64,
}

pub(crate) async fn erase(reached: Reached, Query(which): Query<Which>) -> Result<ErasedTenant, Error> {
    let tenant = match which.tenant.as_str() {
        "" => None,
        id => Some(parsed("tenant", TenantId::new(id))?),
    };
    let gateway = reached.whole(MANAGE)?;
    // In the log of the gateway: the tenant's own goes too.
    reached.note_name("erase tenant", &which.tenant);
    match gateway.erase_tenant(tenant.as_ref()).await? {
        Some(conversations) => Ok(ErasedTenant { tenant: tenant.map(|id| id.to_string()), conversations }),
        None => Err(Error::NotFound(
            "nothing is kept of this tenant; `tenants list` shows those of whom something is".to_owned(),
        )),
    }
}
