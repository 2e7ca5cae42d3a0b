//! Tenants as the configuration has them.

use std::collections::BTreeMap;

use super::Gateway;
use crate::config::{ApiKey, SessionScope};
use crate::id::{AgentId, TenantId};

/// A tenant that something in the configuration belongs to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ConfiguredTenant {
    /// For people.
    pub name: Option<String>,
    /// Who answers what no route matches, if it is another one than for everybody.
    pub default_agent: Option<AgentId>,
    /// Its channel entries.
    pub n_channels: usize,
}

/// A key of the HTTP API, without what opens anything.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKeyRow {
    /// Its name.
    pub name: String,
    /// Whose sessions it reaches; `None`: those of entries without a tenant.
    pub tenant: Option<TenantId>,
    /// The only agent it may ask; `None`: every one.
    pub agent: Option<AgentId>,
    /// May it name every session of its tenant, and not only those that the API made?
    pub reaches_all: bool,
}

impl Gateway {
    /// Tenants that have an entry of their own, a channel or a key. `None` is the owner: only with a channel.
    #[must_use]
    pub fn configured_tenants(&self) -> BTreeMap<Option<TenantId>, ConfiguredTenant> {
        let live = self.0.live.load();
        let mut found: BTreeMap<Option<TenantId>, ConfiguredTenant> = BTreeMap::new();
        for tenant in &live.settings.tenants {
            let row = found.entry(Some(tenant.id.clone())).or_default();
            (row.name, row.default_agent) = (tenant.name.clone(), tenant.default_agent.clone());
        }
        for entry in live.entries.values() {
            found.entry(entry.tenant.clone()).or_default().n_channels += 1;
        }
        for tenant in live.settings.api_keys.iter().filter_map(|key| key.tenant.clone()) {
            found.entry(Some(tenant)).or_default();
        }
        found
    }

    /// The keys of the HTTP API, in the order of the configuration.
    #[must_use]
    pub fn api_keys(&self) -> Vec<ApiKeyRow> {
        let live = self.0.live.load();
        let row = |key: &ApiKey| ApiKeyRow {
            name: key.name.clone(),
            tenant: key.tenant.clone(),
            agent: key.agent.clone(),
            reaches_all: key.scope == SessionScope::Tenant,
        };
        live.settings.api_keys.iter().map(row).collect()
    }
}
