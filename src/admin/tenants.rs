//! Tenants: of whom something is kept, and its end.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::Error;
use super::json::{Channel, time};
use super::operation::{INSPECT, MANAGE, Operation, Query, READ};
use super::parsed;
use super::reach::Reached;
use crate::account::{Reach, UserRow};
use crate::clock::Timestamp;
use crate::gateway::{AgentRow, ConfiguredTenant};
use crate::id::TenantId;
use crate::store::KeptTenant;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/api/v1/tenants", READ, "Of whom something is kept", list),
        Operation::get(
            "/api/v1/tenants/overview",
            READ,
            "Those that are configured or of whom something is kept, with their figures, page by page",
            overview,
        ),
        Operation::get("/api/v1/tenants/show", INSPECT, "What belongs to a tenant", show),
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

/// Which of them.
#[derive(Debug, Default, Clone, Deserialize, IntoParams)]
pub(crate) struct Wanted {
    /// Those whose id or name holds this, in upper or lower case.
    pub(crate) words: Option<String>,
    /// Goes on behind this one: `next` of the page before.
    pub(crate) after: Option<String>,
    /// Rows of a page, at most 200. Absent: 50.
    pub(crate) limit: Option<usize>,
}

/// A page of tenants, by their ids.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Overview {
    pub(crate) tenants: Vec<TenantRow>,
    /// How many there are on all pages.
    pub(crate) total: usize,
    /// For `after`, if there are more.
    pub(crate) next: Option<String>,
}

/// A tenant and its figures.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TenantRow {
    /// Null: the owner's own.
    pub(crate) tenant: Option<String>,
    /// For people.
    pub(crate) name: Option<String>,
    /// Channel entries.
    pub(crate) channels: usize,
    /// Conversations that live.
    pub(crate) active: u64,
    /// Those that are over.
    pub(crate) archived: u64,
    /// Messages that wait for an answer.
    pub(crate) waiting: u64,
    /// Messages and replies that were set aside.
    pub(crate) parked: u64,
    /// When somebody last said something.
    pub(crate) last_active: Option<String>,
    #[serde(skip)]
    pub(crate) last_at: Option<Timestamp>,
    /// Is what is left of it being removed?
    pub(crate) erasing: bool,
}

/// What belongs to a tenant.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct TenantShown {
    #[serde(flatten)]
    pub(crate) row: TenantRow,
    pub(crate) entries: Vec<Channel>,
    /// Agents that may answer it.
    pub(crate) agents: Vec<String>,
    /// Who answers what no rule matches.
    pub(crate) default_agent: String,
    /// Names of its API keys.
    pub(crate) api_keys: Vec<String>,
    /// Accounts that are bound to it; null for those who may not know of accounts.
    pub(crate) people: Option<Vec<String>>,
}

/// Rows of a page, unless somebody says otherwise.
const ROWS: usize = 50;
const MAX_ROWS: usize = 200;

pub(crate) async fn overview(reached: Reached, Query(wanted): Query<Wanted>) -> Result<Overview, Error> {
    // It counts rows of the store: not where messages are answered.
    let found = tokio::task::spawn_blocking(move || page(&reached, &wanted)).await;
    found.unwrap_or(Err(crate::store::Error::Closed.into()))
}

fn page(reached: &Reached, wanted: &Wanted) -> Result<Overview, Error> {
    let (all, erasing) = reached.all_tenants()?;
    let words = wanted.words.as_deref().map(|words| words.trim().to_lowercase()).unwrap_or_default();
    let holds = |text: &str| text.to_lowercase().contains(&words);
    let matching = |(tenant, configured): &(&Option<TenantId>, &ConfiguredTenant)| {
        words.is_empty()
            || tenant.as_ref().is_some_and(|tenant| holds(tenant.as_str()))
            || configured.name.as_deref().is_some_and(holds)
    };
    let matching: Vec<_> = all.iter().filter(matching).collect();
    let total = matching.len();
    let limit = wanted.limit.unwrap_or(ROWS).clamp(1, MAX_ROWS);
    let after = wanted.after.as_deref();
    let is_behind =
        |tenant: &Option<TenantId>| after.is_none_or(|after| tenant.as_ref().map_or("", TenantId::as_str) > after);
    let mut behind = matching.into_iter().filter(|(tenant, _)| is_behind(tenant));
    let mut rows = Vec::new();
    for (tenant, configured) in behind.by_ref().take(limit) {
        rows.push(row(reached, tenant.as_ref(), configured, erasing.contains(tenant))?);
    }
    let next = behind.next().and_then(|_| rows.last()).map(|row| row.tenant.clone().unwrap_or_default());
    Ok(Overview { tenants: rows, total, next })
}

fn row(
    reached: &Reached,
    tenant: Option<&TenantId>,
    configured: &ConfiguredTenant,
    erasing: bool,
) -> Result<TenantRow, Error> {
    let (counts, last_active) = reached.figures(tenant)?;
    Ok(TenantRow {
        tenant: tenant.map(ToString::to_string),
        name: configured.name.clone(),
        channels: configured.n_channels,
        active: counts.sessions,
        archived: counts.archived,
        waiting: counts.waiting,
        parked: counts.parked,
        last_active: last_active.map(time),
        last_at: last_active,
        erasing,
    })
}

pub(crate) async fn show(reached: Reached, Query(which): Query<Which>) -> Result<TenantShown, Error> {
    let gateway = reached.whole(INSPECT)?;
    let tenant = which.id()?;
    let (all, erasing) = reached.all_tenants()?;
    let configured = all
        .get(&tenant)
        .ok_or_else(|| Error::NotFound("nothing belongs to this tenant, and nothing is kept of it".to_owned()))?;
    let row = row(&reached, tenant.as_ref(), configured, erasing.contains(&tenant))?;
    let id = row.tenant.clone();
    let entries = gateway.channels(reached.who())?;
    let agents = gateway.agents();
    let answers = |agent: &AgentRow| match &tenant {
        Some(tenant) => agent.tenants.contains(tenant),
        None => true,
    };
    let keys = gateway.api_keys();
    let people = reached.whole(MANAGE).ok().map(|gateway| {
        let of_tenant = |user: &UserRow| matches!(&user.reach, Reach::Tenant(own) if Some(own) == tenant.as_ref());
        gateway.accounts().users().into_iter().filter(of_tenant).map(|user| user.name).collect()
    });
    Ok(TenantShown {
        row,
        entries: entries.iter().filter(|entry| entry.tenant == id).map(Channel::of).collect(),
        agents: agents.iter().filter(|agent| answers(agent)).map(|agent| agent.config.name.to_string()).collect(),
        default_agent: gateway.ground().router().default_of(tenant.as_ref()).to_string(),
        api_keys: keys.into_iter().filter(|key| key.tenant == tenant).map(|key| key.name).collect(),
        people,
    })
}

#[derive(Debug, Deserialize, IntoParams)]
pub(crate) struct Which {
    /// Empty: the owner's own.
    pub(crate) tenant: String,
}

impl Which {
    pub(super) fn id(&self) -> Result<Option<TenantId>, Error> {
        match self.tenant.as_str() {
            "" => Ok(None),
            id => Ok(Some(parsed("tenant", TenantId::new(id))?)),
        }
    }
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
    let tenant = which.id()?;
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
