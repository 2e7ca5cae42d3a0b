//! Changes of the configuration in the words of an agency: rules, workers, tenants, keys of programs. Each becomes a few
//! changes of `config.toml` in place, which are checked whole, kept as a revision and used at once.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::change;
use super::error::Error;
use super::json::Problem;
use super::operation::{Body, MANAGE, Name, Operation, Query, Sent};
use super::reach::Reached;
use super::tenants::Which;
use crate::channel::registry;
use crate::config::edit::{Value, quoted};
use crate::config::{Change, Secrets};
use crate::document::Secret;
use crate::gateway::{Gateway, ReloadError, Shape};
use crate::id::{ChannelType, TenantId};
use crate::session::Address;

/// The channel that needs nothing from anybody else, so that a new tenant can be reached at once.
const OWN_PAGE: &str = "webchat";
/// What keys of programs begin with, so that people and scanners know one when they see it.
const KEY_FRONT: &str = "fdk_";
/// What the names of their secrets begin with.
const SECRET_FRONT: &str = "API_KEY_";
/// Numbers that are tried to find a free name.
const MAX_TRIES: u32 = 1000;

pub(super) fn operations() -> Vec<Operation> {
    let agent = "/api/v1/agents/{name}";
    vec![
        Operation::put("/api/v1/config/routing", MANAGE, "Says anew who answers what", put_rules),
        Operation::post("/api/v1/agents", MANAGE, "Adds an agent", add_agent),
        Operation::put(agent, MANAGE, "Gives an agent another provider, or makes it the default", put_agent),
        Operation::delete(agent, MANAGE, "Removes an agent from the configuration; its files stay", remove_agent),
        Operation::post(
            "/api/v1/tenants/add",
            MANAGE,
            "Adds a tenant with a web chat, and a worker of its own if wanted",
            add_tenant,
        ),
        Operation::post(
            "/api/v1/tenants/remove",
            MANAGE,
            "Takes a tenant's channels, rules and API keys out of the configuration; what is kept of it stays",
            remove_tenant,
        ),
        Operation::post("/api/v1/api_keys", MANAGE, "Makes a key for a program, which is shown once", add_key),
        Operation::delete("/api/v1/api_keys/{name}", MANAGE, "Ends a key of a program", remove_key),
    ]
}

/// The rules to come.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewRules {
    /// `pattern -> agent`, in their order.
    pub(crate) routing: Vec<String>,
    /// Who answers what none of them matches; absent: as it is.
    pub(crate) default_agent: Option<String>,
    /// `base` of the rules that the editor started from; absent: there was no file.
    pub(crate) base: Option<String>,
}

impl Sent for NewRules {
    const MAX_BYTES: usize = 512 * 1024;
}

/// An agent to come.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewAgent {
    pub(crate) name: String,
    /// Absent: the first provider.
    pub(crate) provider: Option<String>,
}

impl Sent for NewAgent {}

/// What is to be different about an agent.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct AgentChange {
    /// Another provider.
    pub(crate) provider: Option<String>,
    /// Does it answer what nobody else does from now on?
    #[serde(default)]
    pub(crate) default: bool,
}

impl Sent for AgentChange {}

/// A tenant to come.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewTenant {
    /// As channels and keys of programs name it.
    pub(crate) id: String,
    /// For people; the title of its web chat.
    pub(crate) name: Option<String>,
    /// Who answers it: an agent, or the name of a new one. Absent: as for everybody.
    pub(crate) agent: Option<String>,
    /// Of a new agent; absent: the first one.
    pub(crate) provider: Option<String>,
}

impl Sent for NewTenant {}

/// A key to come.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewKey {
    pub(crate) name: String,
    /// Whose conversations it reaches; absent: the owner's own.
    pub(crate) tenant: Option<String>,
    /// The only agent that it may ask.
    pub(crate) agent: Option<String>,
    /// May it name every conversation of its tenant, and not only those that the API made?
    #[serde(default)]
    pub(crate) whole_tenant: bool,
}

impl Sent for NewKey {}

/// The configuration was changed and is used.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Arranged {
    /// What was changed.
    pub(crate) changed: String,
    /// About the whole configuration.
    pub(crate) warnings: Vec<Problem>,
}

/// A tenant that was added.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AddedTenant {
    pub(crate) added: String,
    /// Id of its web chat.
    pub(crate) channel: String,
    /// Who answers it.
    pub(crate) agent: String,
}

/// A key that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MadeKey {
    pub(crate) created: String,
    /// It is told this once.
    pub(crate) key: String,
}

pub(crate) async fn put_rules(reached: Reached, Body(new): Body<NewRules>) -> Result<Arranged, Error> {
    let gateway = reached.whole(MANAGE)?;
    // The rules that people saw are those in use: what somebody wrote into the file meanwhile would be lost.
    if gateway.config_digest() != new.base {
        return Err(ReloadError::Changed.into());
    }
    let mut changes = first(gateway);
    let routing = new.routing.iter().map(|route| Value::literal(route)).collect();
    changes.push(Change::set("routing", Value::List(routing)));
    if let Some(agent) = &new.default_agent {
        changes.extend(own_agents(gateway));
        changes.push(Change::set("default_agent", Value::literal(agent)));
    }
    arrange(&reached, new.base.as_deref(), &changes, "routing").await
}

pub(crate) async fn add_agent(reached: Reached, Body(new): Body<NewAgent>) -> Result<Arranged, Error> {
    let gateway = reached.whole(MANAGE)?;
    let mut changes = first(gateway);
    changes.extend(own_agents(gateway));
    changes.push(append_agent(&new.name, new.provider.as_deref()));
    let base = change::base(&reached)?;
    arrange(&reached, base.as_deref(), &changes, &new.name).await
}

pub(crate) async fn put_agent(
    reached: Reached,
    (Name(name), Body(new)): (Name, Body<AgentChange>),
) -> Result<Arranged, Error> {
    let gateway = reached.whole(MANAGE)?;
    check_agent(gateway, &name)?;
    let mut changes = first(gateway);
    changes.extend(own_agents(gateway));
    if let Some(provider) = &new.provider {
        changes.push(Change::set(format!("{}.provider", element("agents", "name", &name)), Value::literal(provider)));
    }
    if new.default {
        changes.push(Change::set("default_agent", Value::literal(&name)));
    }
    let base = change::base(&reached)?;
    arrange(&reached, base.as_deref(), &changes, &name).await
}

pub(crate) async fn remove_agent(reached: Reached, Name(name): Name) -> Result<Arranged, Error> {
    let gateway = reached.whole(MANAGE)?;
    check_agent(gateway, &name)?;
    if !gateway.shape().has_own_agents {
        return Err(Error::Conflict("it is the worker of a box that has no other; add one first".to_owned()));
    }
    let base = change::base(&reached)?;
    let changes = [Change::remove(element("agents", "name", &name))];
    arrange(&reached, base.as_deref(), &changes, &name).await
}

pub(crate) async fn add_tenant(reached: Reached, Body(new): Body<NewTenant>) -> Result<AddedTenant, Error> {
    let gateway = reached.whole(MANAGE)?;
    let tenant = super::parsed("id", TenantId::new(new.id.clone()))?;
    if gateway.configured_tenants().contains_key(&Some(tenant.clone())) {
        return Err(Error::Conflict("there is a tenant of this id already".to_owned()));
    }
    let Shape { has_own_channels, shares_direct_messages, channels, .. } = gateway.shape();
    if shares_direct_messages {
        return Err(Error::Conflict(
            "all direct messages of a tenant share one conversation here; set session.dm_scope to per-channel-peer first"
                .to_owned(),
        ));
    }
    let mut changes = first(gateway);
    let is_new_agent = |agent: &str| !gateway.agents().iter().any(|row| row.config.name.as_str() == agent);
    if let Some(agent) = new.agent.as_deref().filter(|agent| is_new_agent(agent)) {
        changes.extend(own_agents(gateway));
        changes.push(append_agent(agent, new.provider.as_deref()));
    }
    if !has_own_channels {
        // With a channel in the file there is no other that nobody asked for.
        changes.push(append_channel(OWN_PAGE, None, None));
    }
    let id = free_channel(&new.id, &channels)?;
    let title = new.name.clone().filter(|name| !name.trim().is_empty());
    changes.push(append_channel(&id, Some(&new.id), title.as_deref()));
    let entry = Value::table([
        ("id", Some(Value::literal(&new.id))),
        ("name", title.as_deref().map(Value::literal)),
        ("default_agent", new.agent.as_deref().map(Value::literal)),
    ]);
    changes.push(Change::append("tenants", entry));
    let base = change::base(&reached)?;
    if let Some(agent) = &new.agent {
        changes.extend(first_rule(gateway, &tenant, agent)?);
    }
    arrange(&reached, base.as_deref(), &changes, &new.id).await?;
    let agent = gateway.ground().router().default_of(Some(&tenant)).to_string();
    Ok(AddedTenant { added: new.id, channel: id, agent })
}

/// Its own rule in front of others that would take its messages first.
fn first_rule(gateway: &Gateway, tenant: &TenantId, agent: &str) -> Result<Option<Change>, Error> {
    let tag = registry::key_tag(OWN_PAGE);
    let channel = super::parsed("channel", ChannelType::new(tag))?;
    let front = Address::front(Some(tenant), &channel);
    let ground = gateway.ground();
    let routes = &ground.router().routes;
    if !routes.iter().any(|route| route.is_open_to(&front)) {
        return Ok(None);
    }
    let own = format!("{}* -> {agent}", front.tenant_prefix());
    let routing = [own.as_str()].into_iter().chain(routes.iter().map(|route| route.as_str()));
    Ok(Some(Change::set("routing", Value::List(routing.map(Value::literal).collect()))))
}

pub(crate) async fn remove_tenant(reached: Reached, Query(which): Query<Which>) -> Result<Arranged, Error> {
    let gateway = reached.whole(MANAGE)?;
    let Some(tenant) = which.id()? else {
        return Err(Error::Query("the owner's own channels are not a tenant's; remove them one by one".to_owned()));
    };
    let base = change::base(&reached)?;
    if gateway.config_digest() != base {
        return Err(ReloadError::Changed.into());
    }
    let id = Some(tenant.to_string());
    let entries = gateway.channels(reached.who())?;
    let (own, others): (Vec<_>, Vec<_>) = entries.iter().partition(|entry| entry.tenant == id);
    let text = gateway.config_text()?.map(|(_, text, _)| text).unwrap_or_default();
    let all: Vec<String> = entries.iter().map(|entry| entry.id.clone()).collect();
    let gone: Vec<&str> = own.iter().map(|entry| entry.id.as_str()).collect();
    let mut changes = if gone.is_empty() { Vec::new() } else { change::removal(&text, &all, &gone) };
    if others.is_empty() && !own.is_empty() {
        // Nothing is on instead that nobody asked for.
        changes.push(Change::set("channels", Value::List(Vec::new())));
    }
    let keys = gateway.api_keys();
    let keys = keys.iter().filter(|key| key.tenant.as_ref() == Some(&tenant));
    changes.extend(keys.map(|key| Change::remove(element("api_keys", "name", &key.name))));
    if gateway.shape().tenants.contains(&tenant) {
        changes.push(Change::remove(element("tenants", "id", tenant.as_str())));
    }
    let ground = gateway.ground();
    let routes = &ground.router().routes;
    let channel = super::parsed("channel", ChannelType::new(registry::key_tag(OWN_PAGE)))?;
    let front = Address::front(Some(&tenant), &channel);
    if routes.iter().any(|route| route.is_only_for_tenant_of(&front)) {
        let left = routes.iter().filter(|route| !route.is_only_for_tenant_of(&front));
        changes.push(Change::set("routing", Value::List(left.map(|route| Value::literal(route.as_str())).collect())));
    }
    if changes.is_empty() {
        return Err(Error::NotFound("nothing in the configuration belongs to this tenant".to_owned()));
    }
    arrange(&reached, base.as_deref(), &changes, tenant.as_str()).await.map_err(|error| match error {
        // Not that there is nothing of it, which is what the other one says.
        Error::NotFound(why) => Error::Conflict(why),
        error => error,
    })
}

pub(crate) async fn add_key(reached: Reached, Body(new): Body<NewKey>) -> Result<MadeKey, Error> {
    let gateway = reached.whole(MANAGE)?;
    if new.name.trim().is_empty() {
        return Err(Error::Query("name: a key needs one, to tell it apart in logs".to_owned()));
    }
    if gateway.api_keys().iter().any(|key| key.name == new.name) {
        return Err(Error::Conflict("there is a key of this name already".to_owned()));
    }
    let (Some(one), Some(two)) = (crate::id::random(), crate::id::random()) else {
        return Err(Error::Unavailable("the system gives no random numbers".to_owned()));
    };
    let key = format!("{KEY_FRONT}{one}{two}");
    let secrets = Secrets::of(gateway.home());
    let name = free_secret(gateway, &secrets, &new.name)?;
    let entry = Value::table([
        ("name", Some(Value::literal(&new.name))),
        ("key", Some(Value::Text(format!("${{{name}}}")))),
        ("tenant_id", new.tenant.as_deref().map(Value::literal)),
        ("agent", new.agent.as_deref().map(Value::literal)),
        ("scope", new.whole_tenant.then(|| Value::literal("tenant"))),
    ]);
    let mut changes = first(gateway);
    changes.push(Change::append("api_keys", entry));
    secrets.set(&name, &Secret::new(key.clone()))?;
    let base = change::base(&reached)?;
    if let Err(error) = arrange(&reached, base.as_deref(), &changes, &new.name).await {
        secrets.remove(&name)?;
        return Err(error);
    }
    reached.note_name("make key", &new.name);
    Ok(MadeKey { created: new.name, key })
}

pub(crate) async fn remove_key(reached: Reached, Name(name): Name) -> Result<Arranged, Error> {
    let gateway = reached.whole(MANAGE)?;
    if !gateway.api_keys().iter().any(|key| key.name == name) {
        return Err(Error::NotFound("there is no key of this name".to_owned()));
    }
    let base = change::base(&reached)?;
    let secret = secret_of(gateway, &name);
    let changes = [Change::remove(element("api_keys", "name", &name))];
    let arranged = arrange(&reached, base.as_deref(), &changes, &name).await?;
    if let Some(secret) = secret {
        Secrets::of(gateway.home()).remove(&secret)?;
    }
    reached.note_name("end key", &name);
    Ok(arranged)
}

/// The secret that we made for a key, if nothing else uses it.
fn secret_of(gateway: &Gateway, name: &str) -> Option<String> {
    let (located, _, _) = gateway.config_text().ok()??;
    let lines = crate::config::redacted(&located, gateway.home(), gateway.variables()).ok()?;
    let wanted = format!(" = {name:?}");
    let at = lines.iter().find_map(|line| {
        let path = line.strip_suffix(&wanted)?.strip_suffix(".name")?;
        path.starts_with("api_keys[").then(|| format!("{path}.key = \"${{"))
    })?;
    let secret = lines.iter().find_map(|line| line.strip_prefix(&at)?.strip_suffix("}\""))?;
    let reference = format!("${{{secret}}}");
    let n_used = lines.iter().filter(|line| line.contains(&reference)).count();
    (secret.starts_with(SECRET_FRONT) && n_used == 1).then(|| secret.to_owned())
}

/// A name for the secret of a key that stands for nothing yet.
fn free_secret(gateway: &Gateway, secrets: &Secrets, name: &str) -> Result<String, Error> {
    let safe = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let name: String = SECRET_FRONT.chars().chain(name.chars().map(safe)).take(80).collect();
    let kept = secrets.names()?;
    let is_free = |name: &String| !kept.contains(name) && gateway.variables().get(name).is_none();
    let numbered = (2..MAX_TRIES).map(|n| format!("{name}_{n}"));
    let mut names = std::iter::once(name.clone()).chain(numbered);
    names.find(is_free).ok_or_else(|| Error::Conflict("there are too many keys of this name".to_owned()))
}

/// An id for a tenant's web chat: made of the tenant's own, as it stands in the address of the page.
fn free_channel(tenant: &str, taken: &[String]) -> Result<String, Error> {
    let safe = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_lowercase() } else { '-' };
    let own: String = tenant.chars().map(safe).take(60).collect();
    let own = own.trim_matches('-');
    let name = if own.is_empty() { OWN_PAGE.to_owned() } else { format!("{OWN_PAGE}-{own}") };
    let numbered = (2..MAX_TRIES).map(|n| format!("{name}-{n}"));
    let mut names = std::iter::once(name.clone()).chain(numbered);
    let free = names.find(|name| !taken.iter().any(|id| id == name));
    free.ok_or_else(|| Error::Conflict("there are too many channels of this name".to_owned()))
}

/// A file that says nothing of sessions means another thing than no file: what holds now is written down first.
fn first(gateway: &Gateway) -> Vec<Change> {
    if gateway.shape().has_file { Vec::new() } else { vec![Change::set("session.dm_scope", "per-channel-peer")] }
}

/// The agent that is there without being configured is configured, before another one takes its place.
fn own_agents(gateway: &Gateway) -> Option<Change> {
    let agents = gateway.agents();
    let own = agents.first().filter(|_| !gateway.shape().has_own_agents)?;
    Some(append_agent(own.config.name.as_str(), None))
}

fn append_agent(name: &str, provider: Option<&str>) -> Change {
    let entry = [("name", Some(Value::literal(name))), ("provider", provider.map(Value::literal))];
    Change::append("agents", Value::table(entry))
}

fn append_channel(id: &str, tenant: Option<&str>, title: Option<&str>) -> Change {
    let entry = [
        ("id", Some(Value::literal(id))),
        ("type", Some(Value::literal(OWN_PAGE))),
        ("tenant_id", tenant.map(Value::literal)),
        ("title", title.map(Value::literal)),
    ];
    Change::append("channels", Value::table(entry))
}

/// The path of the one table of a list that says so.
fn element(list: &str, key: &str, value: &str) -> String {
    format!("{list}[{key}={}]", quoted(value))
}

fn check_agent(gateway: &Gateway, name: &str) -> Result<(), Error> {
    let is_there = gateway.agents().iter().any(|row| row.config.name.as_str() == name);
    is_there.then_some(()).ok_or_else(|| crate::gateway::AgentError::Unknown(name.to_owned()).into())
}

async fn arrange(reached: &Reached, base: Option<&str>, changes: &[Change], what: &str) -> Result<Arranged, Error> {
    let reloaded = change::change(reached, base, changes).await?;
    Ok(Arranged { changed: what.to_owned(), warnings: reloaded.warnings })
}
