//! All settings, as one value that is swapped whole.

use std::net::{IpAddr, Ipv4Addr};
use std::num::NonZeroU32;
use std::path::{Path, PathBuf};

use super::check;
use super::entry::Entry;
use crate::agent;
use crate::alert;
use crate::backup;
use crate::business::{Business, Span};
use crate::channel::registry;
use crate::clock::Timestamp;
use crate::document::{Document, Place, Secret, Section, Severity, Variables};
use crate::id::{AgentId, TenantId};
use crate::identity;
use crate::provider;
use crate::route::{Route, Router};
use crate::session::{self, Resolver};
use crate::telemetry;
use crate::tls::AcmeConfig;
use crate::update;

/// The `[gateway]` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Gateway {
    /// Where programs and browsers reach it.
    pub bind: IpAddr,
    /// TCP port.
    pub port: u16,
    /// What it is called in the local network, without `.local`; in lower case.
    pub name: String,
    /// From whom a certificate for its domains is asked. `None`: from nobody.
    pub acme: Option<AcmeConfig>,
    /// Turns that run at the same time, over all conversations.
    pub max_turns: usize,
    /// Names, besides `*.local` and addresses, that the local page is opened by; in lower case.
    pub page_hosts: Vec<String>,
    /// Messages a minute from all peers of one tenant. `None`: any number.
    pub tenant_per_minute: Option<NonZeroU32>,
}

/// A `[[tenants]]` entry. A tenant needs none: an entry's `tenant_id` is enough.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tenant {
    /// As channel entries name it.
    pub id: TenantId,
    /// For people.
    pub name: Option<String>,
    /// Who answers what no route matches.
    pub default_agent: Option<AgentId>,
    /// Messages a minute from all its peers. `None`: any number.
    pub per_minute: Option<NonZeroU32>,
    /// What its workers are told of it.
    pub business: Option<Business>,
    pub(super) place: Place,
    pub(super) entry: Place,
}

/// Which sessions an API key may name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SessionScope {
    /// Those that the API made.
    Api,
    /// Every session of its tenant.
    Tenant,
}

/// An `[[api_keys]]` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiKey {
    /// For logs and lists.
    pub name: String,
    /// What the caller sends as a bearer token.
    pub key: Secret,
    /// Whose sessions it reaches; `None`: those of entries without a tenant.
    pub tenant: Option<TenantId>,
    /// The only agent it may ask; `None`: every one.
    pub agent: Option<AgentId>,
    /// Which sessions it may name.
    pub scope: SessionScope,
    pub(super) place: Place,
}

/// The `[updates]` section: what the owner wants. The updater reads it; the gateway itself installs nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Updates {
    /// May updates be installed without asking?
    pub auto: bool,
    /// When, on the clock of the business; `None`: at any time.
    pub window: Option<Span>,
    /// Where releases are; `None`: where the program was built to look. Whose releases count is not said here.
    pub repository: Option<String>,
}

/// Everything that the configuration says, checked.
#[derive(Debug)]
pub struct Settings {
    /// Address and limits.
    pub gateway: Gateway,
    /// Session keys and their life.
    pub session: session::Config,
    /// Models. Never empty: without any there is the demo.
    pub providers: Vec<provider::Config>,
    /// Never empty.
    pub agents: Vec<agent::Config>,
    /// Channel entries. Never empty: without any there is a web chat.
    pub channels: Vec<Entry>,
    /// In the order of the file.
    pub routes: Vec<Route>,
    /// Who answers what nobody else does.
    pub default_agent: AgentId,
    /// Tenants with settings of their own.
    pub tenants: Vec<Tenant>,
    /// Keys of the HTTP API.
    pub api_keys: Vec<ApiKey>,
    /// Backups.
    pub backup: backup::Config,
    /// The owner's own business. Workers of tenants are told nothing of it.
    pub business: Option<Business>,
    /// Who is told what is wrong.
    pub alerts: alert::Config,
    /// What the owner wants of updates.
    pub updates: Updates,
    /// Does the file say nothing of models, agents, channels, tenants and the business? Then nobody has set this box up.
    pub is_bare: bool,
    /// Who is told of turns, if somebody is.
    pub telemetry: Option<telemetry::Config>,
    /// What the operator should know although nothing is wrong.
    pub notes: Vec<String>,
}

impl Settings {
    /// The settings of a gateway without a file.
    #[must_use]
    pub fn embedded() -> Self {
        let session = session::Config::embedded();
        let agent = agent::Config::embedded();
        Self {
            gateway: Gateway {
                bind: IpAddr::V4(Ipv4Addr::LOCALHOST),
                port: 18_789,
                name: "frontdesk".to_owned(),
                acme: None,
                max_turns: 16,
                page_hosts: Vec::new(),
                tenant_per_minute: None,
            },
            channels: Entry::embedded(session.dm_scope).into_iter().collect(),
            session,
            providers: vec![provider::Config::demo()],
            default_agent: agent.name.clone(),
            agents: vec![agent],
            routes: Vec::new(),
            tenants: Vec::new(),
            api_keys: Vec::new(),
            backup: backup::Config::absent(),
            business: None,
            alerts: alert::Config::absent(),
            updates: Updates::default(),
            is_bare: true,
            telemetry: None,
            notes: Vec::new(),
        }
    }

    /// Messages a minute from all peers of a tenant; the owner's own conversations count as one.
    #[must_use]
    pub fn tenant_limit(&self, tenant: Option<&TenantId>) -> Option<NonZeroU32> {
        let own = self.tenants.iter().find(|own| Some(&own.id) == tenant);
        own.map_or(self.gateway.tenant_per_minute, |own| own.per_minute)
    }

    /// Does the configuration name any provider? Without one there is the demo worker all the same.
    #[must_use]
    pub fn has_providers(&self) -> bool {
        self.providers != [provider::Config::demo()]
    }

    /// What is known of the business that a tenant is, or the owner.
    #[must_use]
    pub fn business(&self, tenant: Option<&TenantId>) -> Option<&Business> {
        match tenant {
            None => self.business.as_ref(),
            Some(_) => self.tenants.iter().find(|own| Some(&own.id) == tenant)?.business.as_ref(),
        }
    }

    /// What names the conversations under these settings.
    #[must_use]
    pub fn resolver(&self) -> Resolver {
        let resolver = Resolver::new(&self.session);
        match self.channels.iter().find(|entry| entry.is_embedded()) {
            Some(entry) => resolver.with_public(entry.id.clone()),
            None => resolver,
        }
    }

    /// What finds the agents under these settings.
    #[must_use]
    pub fn router(&self) -> Router {
        let tenants = self.tenants.iter();
        let tenants = tenants.filter_map(|tenant| Some((tenant.id.clone(), tenant.default_agent.clone()?)));
        Router { routes: self.routes.clone(), tenants: tenants.collect(), default_agent: self.default_agent.clone() }
    }

    /// Reads a document. Problems are noted there; `None` when no settings could be made at all.
    pub(super) fn read(document: &Document, home: &Path, variables: &dyn Variables) -> Option<Self> {
        let mut root = document.root(variables);
        let embedded = Self::embedded();
        let gateway = root.take_section("gateway").map_or(embedded.gateway, |mut s| Gateway::read(&mut s));
        let mut session = match root.take_section("session") {
            Some(mut section) => session::Config::read(&mut section),
            None => session::Config::absent(),
        };
        name_by_tag(&mut session);
        let providers = read_all(&mut root, "providers", provider::Config::read);
        let agents = read_all(&mut root, "agents", |section| {
            let config = agent::Config::read(section, home)?;
            Some((config, section.place("")))
        });
        let mut channels: Vec<Entry> = Vec::new();
        for mut section in root.take_sections("channels") {
            match Entry::read(&mut section, session.dm_scope, &channels) {
                Some(entry) => channels.push(entry),
                None => section.abandon(),
            }
        }
        if !root.has("channels") {
            channels.extend(Entry::embedded(session.dm_scope));
        }
        let routes = root.take_parsed_list("routing", Route::parse);
        let default_agent = root.take_parsed("default_agent", |text: &str| AgentId::new(text));
        let per_minute = gateway.tenant_per_minute;
        let tenants = read_all(&mut root, "tenants", |section| Tenant::read(section, per_minute));
        let api_keys = read_all(&mut root, "api_keys", ApiKey::read);
        let backup = root.take_section("backup").map_or(embedded.backup, |mut s| backup::Config::read(&mut s));
        let telemetry = root.take_section("telemetry").and_then(|mut s| telemetry::Config::read(&mut s));

        let says = ["providers", "agents", "channels", "tenants", "business", "api_keys"];
        let is_bare = !says.into_iter().any(|key| root.has(key));
        let business = root.take_section("business").map(|mut section| Business::read(&mut section));
        let alerts = root.take_section("alerts").map_or(embedded.alerts, |mut s| alert::Config::read(&mut s));
        let updates = root.take_section("updates").map_or(embedded.updates, |mut s| Updates::read(&mut s));

        check::agents(document, &root, &agents, &providers, default_agent.as_ref(), &routes, &tenants, &api_keys);
        check::tenants(document, &tenants, &channels, &api_keys);
        check::entries(document, &session, &channels);
        check::api_keys(document, &api_keys);
        // What an error leaves out would make right things look odd.
        if document.problems().iter().all(|problem| problem.severity == Severity::Warning) {
            check::lists(document, &session, &channels);
            check::main_scope(document, &root, &session, &channels);
            check::routes(document, &root, &routes, &channels, &api_keys);
        }

        let agents: Vec<agent::Config> = match agents.is_empty() {
            true => vec![agent::Config::embedded_in(home).unwrap_or_else(|error| {
                document.note(&root.place(""), Severity::Error, format!("the agent's persona: {error}"), None);
                agent::Config::embedded()
            })],
            false => agents.into_iter().map(|(agent, _)| agent).collect(),
        };
        let first = || agents.iter().find(|a| a.name.as_str() == "default").or(agents.first()).map(|a| a.name.clone());
        let default_agent = default_agent.or_else(first)?;
        let notes = notes(&session, &channels);
        let providers = if providers.is_empty() { vec![provider::Config::demo()] } else { providers };
        Some(Self {
            gateway,
            session,
            providers,
            agents,
            channels,
            routes,
            default_agent,
            tenants,
            api_keys,
            backup,
            business,
            alerts,
            updates,
            is_bare,
            telemetry,
            notes,
        })
    }
}

fn read_all<T>(root: &mut Section<'_>, key: &str, mut read: impl FnMut(&mut Section<'_>) -> Option<T>) -> Vec<T> {
    let mut all = Vec::new();
    for mut section in root.take_sections(key) {
        match read(&mut section) {
            Some(one) => all.push(one),
            None => section.abandon(),
        }
    }
    all
}

/// People write the type of a channel; keys and messages call some by a shorter tag.
fn name_by_tag(session: &mut session::Config) {
    let links = session.identity_links.iter_mut().flat_map(|link| &mut link.ids);
    for id in session.owners.iter_mut().chain(links) {
        if let Some((channel, user)) = id.split_once(':') {
            *id = format!("{}:{user}", registry::key_tag(channel));
        }
    }
}

/// What the operator should know although nothing is wrong.
fn notes(session: &session::Config, channels: &[Entry]) -> Vec<String> {
    let mut notes = Vec::new();
    if session.storage == session::Storage::Sqlite {
        notes.push(
            "session.storage is \"sqlite\": accepted; conversations are kept in the embedded redb store".to_owned(),
        );
    }
    if session.dm_scope == session::DmScope::PerChannelPeer && !session.key_format.has(session::Field::User) {
        let ids: Vec<&str> = channels.iter().map(|entry| entry.id.as_str()).collect();
        notes.push(format!(
            "session.key_format leaves out {{user_id}}: the peers of a channel share one conversation ({})",
            ids.join(", ")
        ));
    }
    notes
}

/// What can be used of a configuration that cannot.
#[derive(Debug, Clone)]
pub struct Salvaged {
    /// Where to listen.
    pub gateway: Gateway,
    /// Where the store is.
    pub session: session::Config,
    /// Who is told.
    pub alerts: alert::Config,
    /// In whose words.
    pub business: Option<Business>,
    /// The file, as far as it was found.
    pub file: Option<PathBuf>,
}

impl Default for Salvaged {
    fn default() -> Self {
        Self {
            gateway: Settings::embedded().gateway,
            session: session::Config::absent(),
            alerts: alert::Config::absent(),
            business: None,
            file: None,
        }
    }
}

/// What a file says of updates and of the clock that they go by, whatever else it says.
pub(super) fn updates(document: &Document, variables: &dyn Variables) -> (Updates, Business) {
    let mut root = document.root(variables);
    let updates = root.take_section("updates").map(|mut section| Updates::read(&mut section));
    let business = root.take_section("business").map(|mut section| Business::read(&mut section));
    root.abandon();
    (updates.unwrap_or_default(), business.unwrap_or_default())
}

impl Salvaged {
    pub(super) fn read(document: &Document, variables: &dyn Variables) -> Self {
        let mut root = document.root(variables);
        let unread = Self::default();
        let gateway = root.take_section("gateway").map_or(unread.gateway, |mut section| Gateway::read(&mut section));
        let session = root.take_section("session");
        let session = session.map_or(unread.session, |mut section| session::Config::read(&mut section));
        let alerts = root.take_section("alerts");
        let alerts = alerts.map_or(unread.alerts, |mut section| alert::Config::read(&mut section));
        let business = root.take_section("business").map(|mut section| Business::read(&mut section));
        root.abandon();
        Self { gateway, session, alerts, business, file: None }
    }
}

impl Gateway {
    fn read(section: &mut Section<'_>) -> Self {
        let embedded = Settings::embedded().gateway;
        let number = |n: u64| u16::try_from(n).ok();
        Self {
            bind: section.take_parsed("bind", address).unwrap_or(embedded.bind),
            port: section.take_integer("port", 0..=65_535).and_then(number).unwrap_or(embedded.port),
            name: section.take_parsed("name", label).unwrap_or(embedded.name),
            acme: section.take_section("acme").and_then(|mut section| AcmeConfig::read(&mut section)),
            max_turns: section
                .take_integer("max_turns", 1..=1_024)
                .and_then(|n| usize::try_from(n).ok())
                .unwrap_or(embedded.max_turns),
            page_hosts: section.take_parsed_list("page_hosts", host_name),
            tenant_per_minute: identity::take_limit(section, "tenant_messages_per_minute", embedded.tenant_per_minute),
        }
    }
}

fn host_name(text: &str) -> Result<String, String> {
    let is_name = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-');
    if text.is_empty() || text.starts_with('.') || text.ends_with('.') || !text.chars().all(is_name) {
        return Err(format!("{text:?} is no host name; write it without scheme and port, as in \"desk.example.com\""));
    }
    Ok(text.to_ascii_lowercase())
}

fn label(text: &str) -> Result<String, String> {
    let is_inside = |c: char| c.is_ascii_alphanumeric() || c == '-';
    let is_label = (1..=63).contains(&text.len()) && text.chars().all(is_inside);
    if !is_label || text.starts_with('-') || text.ends_with('-') {
        return Err(format!("{text:?} is no name of a machine; write letters, digits and dashes, as in \"frontdesk\""));
    }
    Ok(text.to_ascii_lowercase())
}

fn address(text: &str) -> Result<IpAddr, String> {
    text.parse().map_err(|_error| {
        format!("{text:?} is no IP address; write \"127.0.0.1\" for this machine alone, or \"0.0.0.0\" for the network")
    })
}

impl Updates {
    fn read(section: &mut Section<'_>) -> Self {
        let window = section.take_parsed("window", |text: &str| text.parse::<Span>());
        let address = |text: &str| update::parse_address(text).map(|_| text.to_owned());
        let repository = section.take_parsed("repository", address);
        Self { auto: section.take_bool("auto").unwrap_or_default(), window, repository }
    }

    /// May something be installed by itself now, as far as the time goes?
    #[must_use]
    pub fn is_open(&self, business: &Business, now: Timestamp) -> bool {
        self.window.is_none_or(|window| window.has_time(business.local(now).time()))
    }
}

impl Tenant {
    fn read(section: &mut Section<'_>, per_minute: Option<NonZeroU32>) -> Option<Self> {
        let id = section.take_parsed("id", |text: &str| TenantId::new(text));
        let name = section.take_string("name");
        let default_agent = section.take_parsed("default_agent", |text: &str| AgentId::new(text));
        if id.is_none() {
            section.missing("id", "id = \"42\", as channel entries name it in tenant_id");
        }
        let per_minute = identity::take_limit(section, "messages_per_minute", per_minute);
        let business = section.take_section("business").map(|mut section| Business::read(&mut section));
        let (place, entry) = (section.place("default_agent"), section.place(""));
        Some(Self { id: id?, name, default_agent, per_minute, business, place, entry })
    }
}

impl ApiKey {
    fn read(section: &mut Section<'_>) -> Option<Self> {
        let name = section.take_string("name");
        let key = section.take_secret("key");
        let tenant = section.take_parsed("tenant_id", |text: &str| TenantId::new(text));
        let agent = section.take_parsed("agent", |text: &str| AgentId::new(text));
        let scope = section.take_choice("scope", &[("api", SessionScope::Api), ("tenant", SessionScope::Tenant)]);
        if name.is_none() {
            section.missing("name", "name = \"crm\", to tell keys apart in logs");
        }
        if key.is_none() {
            section.missing("key", "key = \"${CRM_KEY}\", what the caller sends as bearer token");
        }
        let scope = scope.unwrap_or(SessionScope::Api);
        Some(Self { name: name?, key: key?, tenant, agent, scope, place: section.place("") })
    }
}
