//! From `openclaw.json` to a `config.toml` of ours. Pure: what lies around it comes through [`Around`].
//!
//! `source` reads OpenClaw's JSON5, `channels` makes entries, `models` providers, `routes` routes; `toml`
//! writes. What an entry needs and does not have makes it a comment, so that the result can always be used.

mod channels;
mod models;
mod routes;
mod source;
mod toml;

use std::collections::BTreeMap;

use serde_json::Value;

use super::{Known, Report};
use crate::document::Secret;
use crate::id::{AgentId, EntryId};
use source::{Source, list, text};
use toml::{Writer, quoted};

/// What lies around a configuration.
pub trait Around {
    /// The persona in a workspace, if there is one.
    fn soul(&self, workspace: &str) -> Option<String>;
    /// Is there a `MEMORY.md` in a workspace?
    fn has_memory(&self, workspace: &str) -> bool;
    /// Who was let in by pairing on a channel.
    fn paired(&self, channel: &str) -> Vec<String>;
    /// Will `${NAME}` have a value?
    fn has_variable(&self, name: &str) -> bool;
}

/// A persona to put into the home.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Soul {
    /// Relative to the home.
    pub file: String,
    /// Its text.
    pub text: String,
}

/// What becomes of an `openclaw.json`.
#[derive(Debug)]
pub struct Plan {
    /// The configuration.
    pub toml: String,
    /// Values for `<home>/secrets/NAME`.
    pub secrets: BTreeMap<String, Secret>,
    /// Personas.
    pub souls: Vec<Soul>,
    /// What session keys are read with.
    pub known: Known,
    /// What is carried and what is not.
    pub report: Report,
}

/// Why there is no plan.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Not JSON5, or no object.
    #[error("it is not what OpenClaw writes: {0}")]
    Syntax(String),
}

/// A plan that is being made.
struct Making<'a> {
    around: &'a dyn Around,
    tenant: Option<&'a str>,
    secrets: BTreeMap<String, Secret>,
    souls: Vec<Soul>,
    report: Report,
}

impl Plan {
    /// Makes a plan. With a tenant everything becomes that tenant's.
    ///
    /// # Errors
    /// When the text is no configuration.
    pub fn read(text: &str, tenant: Option<&str>, around: &dyn Around) -> Result<Self, Error> {
        let source = Source::parse(text)?;
        let mut making =
            Making { around, tenant, secrets: BTreeMap::new(), souls: Vec::new(), report: Report::default() };
        let known = known(&source);
        let agents = making.agents(&source);
        let models = models::read(&source, &agents, &mut making);
        let channels = channels::read(&source, &known, &mut making);
        let routes = routes::read(&source, &agents, &mut making);

        let mut out = Writer::default();
        out.comment("Made by `frontdesk import openclaw`. docs/configuration.md says what every key means;");
        out.comment("what stands behind a # is off, with the reason in front of it.");
        out.blank();
        if let Some(agent) = agents.iter().find(|agent| agent.is_default).or(agents.first()) {
            out.line(&format!("default_agent = {}", quoted(agent.name.as_str())));
        }
        out.list("routing", &routes);
        if !channels.is_any_on() {
            out.comment(
                "No channel of OpenClaw can be used yet; without this line there would be a web chat for everybody.",
            );
            out.comment("Take it away when you switch one on below.");
            out.line("channels = []");
        }
        making.gateway(&source, &mut out);
        making.session(&source, &known, &mut out);
        models.write(&mut out);
        for agent in &agents {
            out.blank();
            out.line("[[agents]]");
            out.line(&format!("name = {}", quoted(agent.name.as_str())));
            if let Some(provider) = models.provider(agent) {
                out.line(&format!("provider = {}", quoted(provider)));
            }
            if let Some(soul) = &agent.soul {
                out.line(&format!("soul = {}", quoted(soul)));
            }
        }
        channels.write(&mut out);
        making.rest(&source);
        let Making { secrets, souls, report, .. } = making;
        Ok(Self { toml: out.finish(), secrets, souls, known, report })
    }
}

/// The id of the entry that serves a channel and an account here.
#[must_use]
pub fn entry_id(channel: &str, account: Option<&str>) -> Option<EntryId> {
    let name = match account {
        None | Some("default") => channel.to_owned(),
        Some(account) => format!("{channel}-{account}"),
    };
    EntryId::new(name_of(&name)).ok()
}

/// How an agent of OpenClaw is called here.
#[must_use]
pub fn agent_name(name: &str) -> String {
    name_of(&name.to_lowercase())
}

/// A name of ours out of any text.
fn name_of(text: &str) -> String {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    text.chars().map(|c| if is_safe(c) { c } else { '-' }).take(100).collect()
}

/// An agent of OpenClaw.
struct Agent {
    name: AgentId,
    is_default: bool,
    model: Option<String>,
    soul: Option<String>,
}

impl Making<'_> {
    fn agents(&mut self, source: &Source) -> Vec<Agent> {
        let defaults = source.at(&["agents", "defaults"]);
        let default_model = model(defaults.get("model"));
        let default_workspace = text(defaults, "workspace").unwrap_or("~/.openclaw/workspace");
        let mut found: Vec<(String, &Value)> = Vec::new();
        for agent in list(source.at(&["agents", "list"])) {
            found.extend(text(agent, "id").map(|id| (id.to_owned(), agent)));
        }
        if let Some(entries) = source.at(&["agents", "entries"]).as_object() {
            found.extend(entries.iter().map(|(id, agent)| (id.clone(), agent)));
        }
        if found.is_empty() {
            found.push(("main".to_owned(), &Value::Null));
        }
        let mut agents: Vec<Agent> = Vec::new();
        for (id, agent) in found {
            let Ok(name) = AgentId::new(agent_name(&id)) else {
                self.report.left("agents without a name are not carried");
                continue;
            };
            if agents.iter().any(|other| other.name == name) {
                self.report.left(format!("a second agent {name:?} is not carried"));
                continue;
            }
            // Only the first agent falls back on the common workspace itself; the others have folders of their own.
            let own = text(agent, "workspace").map(str::to_owned);
            let workspace = own.unwrap_or_else(|| match agents.is_empty() {
                true => default_workspace.to_owned(),
                false => format!("{default_workspace}-{name}"),
            });
            let soul = self.around.soul(&workspace).map(|text| {
                let file = format!("{name}/SOUL.md");
                self.souls.push(Soul { file: file.clone(), text });
                file
            });
            if self.around.has_memory(&workspace) {
                self.report.left(format!(
                    "MEMORY.md of {name:?} is not carried: a persona is shown to everybody, and OpenClaw's memory is \
                     for private chats only; put what all may know into {name}/SOUL.md"
                ));
            }
            self.report.carried(format!("agent {name:?}{}", if soul.is_some() { " with its SOUL.md" } else { "" }));
            let is_default = agent.get("default").and_then(Value::as_bool).unwrap_or(false);
            let model = model(agent.get("model")).or_else(|| default_model.clone());
            agents.push(Agent { name, is_default, model, soul });
        }
        agents
    }

    fn gateway(&mut self, source: &Source, out: &mut Writer) {
        let gateway = source.at(&["gateway"]);
        if let Some(port) =
            gateway.get("port").and_then(Value::as_u64).filter(|port| *port != 18_789 && *port <= 65_535)
        {
            out.blank();
            out.line("[gateway]");
            out.line(&format!("port = {port}"));
            self.report.carried(format!("gateway.port {port}: stop OpenClaw before Frontdesk starts"));
        }
        if !matches!(text(gateway, "bind"), None | Some("loopback" | "auto")) {
            self.report
                .left("gateway.bind is not carried: Frontdesk listens on this machine; set gateway.bind to change it");
        }
        if gateway.get("auth").is_some() {
            self.report.left(
                "gateway.auth is not carried: commands use the admin token, programs need a key under [[api_keys]]",
            );
        }
    }

    fn session(&mut self, source: &Source, known: &Known, out: &mut Writer) {
        let session = source.at(&["session"]);
        out.blank();
        out.line("[session]");
        let scope = text(session, "dmScope").unwrap_or("main");
        let written = match scope {
            "per-channel-peer" | "per-peer" | "main" => scope,
            _ => "per-channel-peer",
        };
        if scope == "per-peer" {
            out.comment("OpenClaw lets one id of two channels be one person; here the channel type counts too.");
        }
        out.line(&format!("dm_scope = {}", quoted(written)));
        if scope == written {
            self.report.carried(format!("session.dmScope {scope:?}"));
        } else if known.with_accounts.is_empty() {
            self.report.carried(format!("session.dmScope {scope:?} as {written:?}: no channel has two accounts"));
        } else {
            out.line("key_format = \"{channel}:{account}:{server_id}:{channel_id}:{user_id}\"");
            self.report.carried(format!("session.dmScope {scope:?} as {written:?} with {{account}} in key_format"));
        }
        let links: Vec<(String, Vec<String>)> =
            known.links.iter().map(|(name, ids)| (name.clone(), written_links(ids))).collect();
        if !links.is_empty() && written == "per-peer" {
            out.blank();
            out.line("[session.identity_links]");
            for (name, ids) in &links {
                out.list(&toml::key(name), ids);
            }
            self.report.carried("session.identityLinks");
        } else if !links.is_empty() {
            self.report.left(format!(
                "session.identityLinks are not carried: under {written:?} they join nothing here; sessions of linked \
                 people go to the id that wrote"
            ));
        }
        if session.get("reset").is_some()
            || session.get("resetByType").is_some()
            || session.get("resetByChannel").is_some()
        {
            self.report.left("session.reset is not carried: a conversation is archived after ttl_days of silence, see docs/configuration.md");
        }
        if text(session, "groupScope").is_some_and(|scope| scope != "per-group") {
            self.report.left("session.groupScope is not carried: every group has its own conversation here");
        }
        if session.get("store").is_some() {
            self.report.left("session.store is not carried: sessions are looked for in agents/ only");
        }
    }

    /// Sections that have no counterpart.
    fn rest(&mut self, source: &Source) {
        const HANDLED: [&str; 8] = ["agents", "bindings", "channels", "env", "gateway", "meta", "models", "session"];
        const OF_THE_TOOL: [&str; 4] = ["wizard", "$schema", "update", "ui"];
        for name in source.sections().filter(|name| !HANDLED.contains(name) && !OF_THE_TOOL.contains(name)) {
            let why = match name {
                "$include" => "other files are not read; put them into one and import again",
                "tools" | "skills" | "plugins" | "browser" | "mcp" | "canvasHost" | "approvals" | "acp" => {
                    "agents have no tools here but notes and working files: see `tools` of an agent"
                }
                "cron" | "hooks" => "there are no jobs here yet",
                "talk" | "audio" | "media" | "tts" => "there are no voices here",
                "memory" => "an agent's notes belong to one conversation here: see `tools = [\"memory\"]`",
                "secrets" => "put the values into the environment or into <home>/secrets",
                _ => "it has no counterpart",
            };
            self.report.left(format!("{name} is not carried: {why}"));
        }
    }

    /// Keeps a secret and gives what the configuration says in its place; `None` when there is no value, and
    /// never will be by itself.
    fn secret(&mut self, name: &str, value: Option<&Value>) -> Option<String> {
        match value? {
            Value::String(text) => match source::variable(text) {
                Some(variable) if self.secrets.contains_key(variable) || self.around.has_variable(variable) => {
                    Some(format!("${{{variable}}}"))
                }
                Some(variable) => {
                    self.report.left(format!("${{{variable}}} has no value: put it into <home>/secrets/{variable}"));
                    None
                }
                None if text.is_empty() => None,
                None => {
                    self.secrets.insert(name.to_owned(), Secret::new(text.as_str()));
                    Some(format!("${{{name}}}"))
                }
            },
            reference @ Value::Object(_) => {
                let id = text(reference, "id").filter(|id| source::is_variable(id));
                match (text(reference, "source"), id) {
                    (Some("env"), Some(id)) if self.around.has_variable(id) => Some(format!("${{{id}}}")),
                    (Some("env"), Some(id)) => {
                        self.report.left(format!("${{{id}}} has no value: put it into <home>/secrets/{id}"));
                        None
                    }
                    _ => {
                        self.report.left(format!(
                            "a secret that OpenClaw fetches from elsewhere is not carried: put it into <home>/secrets/{name}"
                        ));
                        None
                    }
                }
            }
            _ => None,
        }
    }
}

/// `model` is a text, or a table with `primary`.
fn model(value: Option<&Value>) -> Option<String> {
    let value = value?;
    value.as_str().or_else(|| text(value, "primary")).map(str::to_owned)
}

fn known(source: &Source) -> Known {
    let session = source.at(&["session"]);
    let texts = |value: &Value| list(value).filter_map(source::id).collect::<Vec<_>>();
    let links = session.get("identityLinks").and_then(Value::as_object).into_iter().flatten();
    let mut servers: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for binding in list(source.at(&["bindings"])) {
        let matched = binding.get("match").unwrap_or(&Value::Null);
        let server = text(matched, "teamId").or_else(|| text(matched, "guildId"));
        if let (Some(channel), Some(server)) = (text(matched, "channel"), server) {
            let known = servers.entry(channel.to_owned()).or_default();
            if !known.iter().any(|other| other == server) {
                known.push(server.to_owned());
            }
        }
    }
    let by_account = text(session, "dmScope") == Some("per-account-channel-peer");
    let has_accounts =
        |channel: &&Value| channel.get("accounts").and_then(Value::as_object).is_some_and(|a| a.len() > 1);
    let channels = source.at(&["channels"]).as_object().into_iter().flatten();
    let with_accounts =
        channels.filter(|(_, channel)| by_account && has_accounts(channel)).map(|(name, _)| name.clone());
    Known {
        main_key: text(session, "mainKey").unwrap_or("main").to_lowercase(),
        links: links.map(|(name, ids)| (name.clone(), texts(ids))).collect(),
        servers,
        with_accounts: with_accounts.collect(),
    }
}

/// Ids of a person as our keys write them. A bare one could be anybody's in any channel.
fn written_links(ids: &[String]) -> Vec<String> {
    let write = |id: &String| {
        let (channel, peer) = id.split_once(':')?;
        let tag = crate::channel::registry::key_tag(channel);
        Some(format!("{tag}:{}", super::place::written_peer(channel, peer)?))
    };
    ids.iter().filter_map(write).collect()
}

#[cfg(test)]
mod tests;
