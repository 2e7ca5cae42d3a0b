//! Tenants as the configuration has them.

use std::collections::BTreeMap;

use super::Gateway;
use crate::config::{ApiKey, SessionScope};
use crate::id::{AgentId, TenantId};
use crate::session::DmScope;

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

/// What a configuration says itself, and what stands in where it says nothing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shape {
    /// Is there a file?
    pub has_file: bool,
    /// Does it name agents, or is there the one of a box without any?
    pub has_own_agents: bool,
    /// Does it name channels, or is there the web chat of a box without any?
    pub has_own_channels: bool,
    /// Do all direct messages of a tenant share one conversation?
    pub shares_direct_messages: bool,
    /// Ids of the channel entries.
    pub channels: Vec<String>,
    /// Tenants with an entry of their own.
    pub tenants: Vec<TenantId>,
    /// Names of the providers.
    pub providers: Vec<String>,
}

impl Gateway {
    /// What the configuration in use says itself.
    #[must_use]
    pub fn shape(&self) -> Shape {
        let live = self.0.live.load();
        Shape {
            has_file: live.file.is_some(),
            has_own_agents: live.settings.agents.iter().all(|agent| !agent.is_embedded),
            has_own_channels: live.has_own_channels,
            shares_direct_messages: live.settings.session.dm_scope == DmScope::Main,
            channels: live.entries.keys().map(ToString::to_string).collect(),
            tenants: live.settings.tenants.iter().map(|tenant| tenant.id.clone()).collect(),
            providers: live.settings.providers.iter().map(|provider| provider.name.clone()).collect(),
        }
    }

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
