//! Agents as people see them: what they are, how their models did lately, and their files.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::live::Live;
use super::{Gateway, ReloadError};
use crate::agent::{self, Earlier, File, FileError, Files, Toolset};
use crate::clock::Timestamp;
use crate::config::{self, Located};
use crate::id::{AgentId, TenantId};
use crate::route::Route;
use crate::session::Address;

/// How a model did lately. Since the start: nothing of it is kept.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ModelState {
    /// When it last answered.
    pub answered_at: Option<Timestamp>,
    /// How long that answer took, from the question to its last word.
    pub took: Option<Duration>,
    /// When it last failed.
    pub failed_at: Option<Timestamp>,
    /// Why, for the operator.
    pub failure: Option<String>,
}

/// What agents did, by name.
#[derive(Debug, Default)]
pub(super) struct Models(Mutex<BTreeMap<AgentId, ModelState>>);

impl Models {
    pub(super) fn answered(&self, agent: &AgentId, at: Timestamp, took: Duration) {
        self.change(agent, |state| (state.answered_at, state.took) = (Some(at), Some(took)));
    }

    pub(super) fn failed(&self, agent: &AgentId, at: Timestamp, why: &str) {
        self.change(agent, |state| (state.failed_at, state.failure) = (Some(at), Some(why.to_owned())));
    }

    fn change(&self, agent: &AgentId, change: impl FnOnce(&mut ModelState)) {
        change(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(agent.clone()).or_default());
    }

    fn of(&self, agent: &AgentId) -> ModelState {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(agent).cloned().unwrap_or_default()
    }

    pub(super) fn forget_all_but(&self, agents: &BTreeMap<AgentId, agent::Agent>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|agent, _| agents.contains_key(agent));
    }
}

/// An agent in use.
#[derive(Debug, Clone)]
pub struct AgentRow {
    /// Its configuration, with what was read for it.
    pub config: agent::Config,
    /// What it thinks with.
    pub provider: String,
    /// The model that is asked; `None`: the demo worker's rules.
    pub model: Option<String>,
    /// Does it answer what no route and no tenant gives to another one?
    pub is_default: bool,
    /// Tenants whose default it is.
    pub default_of: Vec<TenantId>,
    /// Tenants that routes or their settings name together with it. What it knows, it tells to all of them.
    pub tenants: BTreeSet<TenantId>,
    /// How its model did lately.
    pub state: ModelState,
}

/// Why a file of an agent was not given or changed.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// No agent has this name.
    #[error("there is no worker {0}")]
    Unknown(String),
    /// The file.
    #[error(transparent)]
    File(#[from] FileError),
    /// Somebody else was faster.
    #[error("{0} has changed since it was read; read it again and repeat the change")]
    Changed(String),
    /// Nobody knows which agents there are.
    #[error("the configuration cannot be used; mend it first")]
    SafeMode,
    /// The text is in place, and the running gateway goes on with the old one.
    #[error("it is saved, and not used yet: {0}")]
    NotUsed(#[source] ReloadError),
}

/// What a file says, and what it said.
#[derive(Debug, Clone)]
pub struct AgentFile {
    /// `None`: there is no file, or none any more; without one the persona is the one of the program.
    pub text: Option<String>,
    /// What the agent has then.
    pub built_in: Option<String>,
    /// What it said before, the latest first.
    pub earlier: Vec<Earlier>,
}

impl AgentFile {
    /// For the next change: the digest of what it says.
    #[must_use]
    pub fn digest(&self) -> Option<String> {
        self.text.as_ref().map(|text| config::digest(text.as_bytes()))
    }
}

impl Gateway {
    /// The agents in use, in the order of the configuration.
    #[must_use]
    pub fn agents(&self) -> Vec<AgentRow> {
        let live = self.0.live.load();
        let fronts = fronts(&live);
        live.settings.agents.iter().map(|config| self.agent_row(&live, &fronts, config)).collect()
    }

    fn agent_row(&self, live: &Live, fronts: &BTreeMap<TenantId, Vec<Address>>, config: &agent::Config) -> AgentRow {
        let mut providers = live.settings.providers.iter();
        let provider = match &config.provider {
            Some(name) => providers.find(|provider| provider.name == *name),
            None => providers.next(),
        };
        let tenants = live.router.tenants.iter().filter(|(_, agent)| **agent == config.name);
        let default_of: Vec<TenantId> = tenants.map(|(tenant, _)| tenant.clone()).collect();
        let routes: Vec<&Route> = live.router.routes.iter().filter(|route| *route.agent() == config.name).collect();
        let is_routed =
            |fronts: &[Address]| routes.iter().any(|route| fronts.iter().any(|front| route.is_open_to(front)));
        let answers = |tenant: &TenantId, fronts: &[Address]| {
            *live.router.default_of(Some(tenant)) == config.name || is_routed(fronts)
        };
        let routed = fronts.iter().filter(|(tenant, fronts)| answers(tenant, fronts));
        let keys = live.settings.api_keys.iter().filter(|key| key.agent.as_ref() == Some(&config.name));
        let tenants =
            routed.map(|(tenant, _)| tenant.clone()).chain(keys.filter_map(|key| key.tenant.clone())).collect();
        AgentRow {
            config: config.clone(),
            provider: provider.map(|provider| provider.name.clone()).unwrap_or_default(),
            model: provider.and_then(|provider| provider.model()).map(str::to_owned),
            is_default: live.settings.default_agent == config.name,
            default_of,
            tenants,
            state: self.0.models.of(&config.name),
        }
    }

    /// What a file of an agent says.
    ///
    /// # Errors
    /// [`AgentError`].
    pub fn agent_file(&self, agent: &str, file: &File) -> Result<AgentFile, AgentError> {
        let config = self.agent_config(agent)?;
        let files = Files::of(self.home(), &config.name, config.soul_file.as_deref());
        let earlier = files.earlier(file)?;
        let text = match files.read(file) {
            // It was removed, and can be had back.
            Err(FileError::NoFile(_)) if !earlier.is_empty() => None,
            text => text?,
        };
        let built_in = (text.is_none() && *file == File::Soul).then(|| config.soul.to_string());
        Ok(AgentFile { text, built_in, earlier })
    }

    /// What a file of an agent said once.
    ///
    /// # Errors
    /// [`AgentError`].
    pub fn earlier_agent_file(&self, agent: &str, file: &File, number: u32) -> Result<String, AgentError> {
        let config = self.agent_config(agent)?;
        let files = Files::of(self.home(), &config.name, config.soul_file.as_deref());
        Ok(files.read_earlier(file, number)?)
    }

    /// Changes a file of an agent; `None` removes it. The next turn of that agent uses it. `base` is the digest of what the
    /// editor started from, `Some(None)`: there was no file, `None`: whatever is there.
    ///
    /// # Errors
    /// [`AgentError`].
    pub async fn put_agent_file(
        &self,
        agent: &str,
        file: &File,
        text: Option<&str>,
        base: Option<Option<&str>>,
    ) -> Result<(), AgentError> {
        let _one_at_a_time = self.0.reloading.lock().await;
        let config = self.agent_config(agent)?;
        let files = Files::of(self.home(), &config.name, config.soul_file.as_deref());
        if let Some(base) = base {
            let now = match files.read(file) {
                Err(FileError::NoFile(_)) => None,
                text => text?,
            };
            if now.map(|text| config::digest(text.as_bytes())).as_deref() != base {
                return Err(AgentError::Changed(file.as_str().to_owned()));
            }
        }
        match text {
            Some(text) => files.write(file, text)?,
            None => files.remove(file)?,
        }
        self.read_agents_again().await.map_err(AgentError::NotUsed)
    }

    fn agent_config(&self, agent: &str) -> Result<agent::Config, AgentError> {
        let live = self.0.live.load();
        if live.safe_mode.is_some() {
            return Err(AgentError::SafeMode);
        }
        let config = live.settings.agents.iter().find(|config| config.name.as_str() == agent);
        config.cloned().ok_or_else(|| AgentError::Unknown(agent.to_owned()))
    }

    /// Uses the configuration that is in use again, with the files of agents as they are now. What its own file says
    /// meanwhile is for a reload.
    async fn read_agents_again(&self) -> Result<(), ReloadError> {
        let live = self.0.live.load_full();
        let loaded = match (&live.file, &live.text) {
            (Some(file), Some(text)) => {
                let located = Located::at(file).map_err(config::Error::from)?;
                config::load_text(&located, text.expose(), self.home(), self.variables())?
            }
            _ => config::embedded(self.home()),
        };
        let ready = self.prepare(loaded)?;
        self.swap(ready).await;
        Ok(())
    }
}

/// What the addresses of each tenant's channels begin with.
fn fronts(live: &Live) -> BTreeMap<TenantId, Vec<Address>> {
    let mut fronts: BTreeMap<TenantId, Vec<Address>> = BTreeMap::new();
    for entry in live.entries.values() {
        if let Some(tenant) = &entry.tenant {
            let front = Address::front(Some(tenant), &entry.channel_type);
            fronts.entry(tenant.clone()).or_default().push(front);
        }
    }
    fronts
}

/// Its name in the configuration.
#[must_use]
pub fn tool_name(tool: Toolset) -> &'static str {
    Toolset::ALL.iter().find(|(_, set)| *set == tool).map_or("", |(name, _)| *name)
}
