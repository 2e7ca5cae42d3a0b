//! `import openclaw`: an installation of OpenClaw becomes a configuration and conversations here.
//!
//! Reads the other's directory and never writes to it. The configuration is written by this command, the
//! conversations are handed to the running gateway one by one.

use std::collections::HashSet;
use std::fs;
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::output::{self, line, printable};
use super::{Context, Exit, Failure, client, config};
use crate::channel::registry;
use crate::document::{Document, NoVariables, SystemVariables, Variables as _};
use crate::gateway::check_scope;
use crate::id::{API_ENTRY, ChannelType, EntryId, OpaqueId, TenantId};
use crate::import::{self, Agent, Around, Place, Plan, Report, Said, Session, State, Transcript};
use crate::message::Identity;
use crate::session::{self, Resolver};

/// Beside a configuration that is there already.
const BESIDE: &str = "config.imported.toml";

#[derive(Debug, Subcommand)]
pub(super) enum Import {
    /// Take over channels, agents, routes and conversations of OpenClaw
    Openclaw(Openclaw),
}

#[derive(Debug, Args)]
pub(super) struct Openclaw {
    /// Its directory, usually ~/.openclaw, or its openclaw.json. Stop OpenClaw first
    path: PathBuf,
    /// Say what would be done, and do nothing
    #[arg(long)]
    dry_run: bool,
    /// Make everything this tenant's
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
}

pub(super) fn run(context: &Context, command: Import) -> Result<(), Failure> {
    let Import::Openclaw(openclaw) = command;
    let tenant = openclaw.tenant.map(TenantId::new).transpose().map_err(|error| Exit::Usage.because(error))?;
    let state = State::open(&openclaw.path).map_err(|error| Exit::Usage.because(error))?;
    let variables = context.variables();
    let around =
        Here { state: &state, variables: &variables, home: context.environment.get("HOME").map(PathBuf::from) };
    let text = state.config().map_err(|error| Exit::Usage.because(error))?;
    let plan = Plan::read(&text, tenant.as_ref().map(TenantId::as_str), &around);
    let plan = plan.with_context(|| format!("{} cannot be read", state.config_path().display()));
    let plan = plan.map_err(|error| Exit::Config.because(error))?;
    let loaded = config::load(context, None)?;
    let target = match &loaded.file {
        Some(_) => Target::of_settings(&loaded.settings, tenant),
        None => Target::of_plan(&plan, tenant)?,
    };
    let mut job = Job { context, state: &state, plan: &plan, target, rows: Vec::new() };
    job.print_configuration(loaded.file.is_some());
    job.each_session(&mut |_job, row, _session| {
        let outcome = if row.reason.is_some() { "not carried" } else { "carried" };
        Ok(outcome.to_owned())
    })?;
    job.print_sessions("would become");
    if openclaw.dry_run {
        job.print_json(true);
        return Ok(());
    }
    let is_new = job.write(loaded.file.as_deref())?;
    job.hand_over(is_new)
}

/// What lies around `openclaw.json`.
struct Here<'a> {
    state: &'a State,
    variables: &'a SystemVariables,
    home: Option<PathBuf>,
}

impl Around for Here<'_> {
    fn soul(&self, workspace: &str) -> Option<String> {
        String::from_utf8(self.state.workspace_file(workspace, "SOUL.md", self.home.as_deref())?).ok()
    }

    fn has_memory(&self, workspace: &str) -> bool {
        self.state.workspace_file(workspace, "MEMORY.md", self.home.as_deref()).is_some()
    }

    fn paired(&self, channel: &str) -> Vec<String> {
        self.state.paired(channel)
    }

    fn has_variable(&self, name: &str) -> bool {
        self.variables.get(name).is_some()
    }
}

/// What names conversations, and the entries that they may belong to.
struct Target {
    resolver: Resolver,
    api_resolver: Resolver,
    entries: Vec<Entry>,
    tenant: Option<TenantId>,
}

struct Entry {
    id: EntryId,
    channel: ChannelType,
    account: Option<OpaqueId>,
    workspace: Option<OpaqueId>,
}

impl Target {
    fn of_settings(settings: &crate::config::Settings, tenant: Option<TenantId>) -> Self {
        let own = settings.channels.iter().filter(|entry| entry.tenant == tenant);
        let entries = own.map(|entry| Entry {
            id: entry.id.clone(),
            channel: entry.channel.clone(),
            account: entry.account.clone(),
            workspace: entry.workspace.clone(),
        });
        Self { entries: entries.collect(), ..Self::new(settings.resolver(), tenant) }
    }

    fn of_plan(plan: &Plan, tenant: Option<TenantId>) -> Result<Self, Failure> {
        let document = Document::parse_toml(BESIDE, &plan.toml).map_err(crate::config::Error::Invalid)?;
        let mut root = document.root(&NoVariables);
        let section = root.take_section("session");
        let session = section.map_or_else(session::Config::absent, |mut section| session::Config::read(&mut section));
        root.abandon();
        Ok(Self::new(Resolver::new(&session), tenant))
    }

    fn new(resolver: Resolver, tenant: Option<TenantId>) -> Self {
        let api_resolver = Resolver::new(&session::Config::embedded());
        Self { resolver, api_resolver, entries: Vec::new(), tenant }
    }

    /// Where a conversation belongs here, and the key it gets.
    fn name(&self, place: &Place) -> anyhow::Result<(Identity, String)> {
        let tag = registry::key_tag(&place.channel);
        let own = || self.entries.iter().filter(|entry| entry.channel.as_str() == tag);
        let account = place.account.as_deref();
        let is_same = |entry: &&Entry| entry.account.as_ref().map(OpaqueId::as_str) == account;
        // An account that has no entry of its own must not slip into another's.
        let only = || own().next().filter(|_| own().count() == 1 && matches!(account, None | Some("default")));
        let entry = own().find(is_same).or_else(only);
        let id = match entry {
            Some(entry) => entry.id.clone(),
            None => import::entry_id(&place.channel, account).context("the channel has no name")?,
        };
        let mut identity = place.identity(id, self.tenant.clone())?;
        if let Some(entry) = entry {
            identity.workspace.clone_from(&entry.workspace);
            identity.account.clone_from(&entry.account);
        }
        let resolver = if identity.entry.as_str() == API_ENTRY { &self.api_resolver } else { &self.resolver };
        let resolved = resolver.resolve(&identity)?;
        check_scope(place.is_shared, resolver.shares_peers(&identity))?;
        Ok((identity, resolved.session_key.to_string()))
    }
}

/// One session of OpenClaw and what becomes of it.
struct Row {
    agent: String,
    from: String,
    key: Option<String>,
    n_lines: usize,
    notes: Vec<String>,
    /// Why it is not carried.
    reason: Option<String>,
    outcome: String,
}

struct Job<'a> {
    context: &'a Context,
    state: &'a State,
    plan: &'a Plan,
    target: Target,
    rows: Vec<Row>,
}

/// A session that can be handed over.
struct Found<'s> {
    agent: &'s str,
    place: &'s Place,
    identity: Identity,
    transcript: Transcript,
}

type Act<'f> = dyn FnMut(&Job<'_>, &mut Row, Option<Found<'_>>) -> Result<String, Failure> + 'f;

impl Job<'_> {
    /// One session at a time, so that only one is in memory.
    fn each_session(&mut self, act: &mut Act<'_>) -> Result<(), Failure> {
        let failed = |error: import::Error| Exit::Usage.because(error);
        self.rows.clear();
        let mut keys = HashSet::new();
        for name in self.state.agents().map_err(failed)? {
            let Some(agent) = self.state.agent(&name).map_err(failed)? else { continue };
            for session in agent.sessions(&self.plan.known).map_err(failed)? {
                let mut row = self.row(&agent, &session);
                let found = self.found(&agent, &session, &mut row, &mut keys).map_err(failed)?;
                row.outcome = act(self, &mut row, found)?;
                self.rows.push(row);
            }
        }
        Ok(())
    }

    fn row(&self, agent: &Agent, session: &Session) -> Row {
        let notes = session.place.as_ref().map_or_else(|_| Vec::new(), |place| place.notes.clone());
        Row {
            agent: agent.name.clone(),
            from: session.key.clone(),
            key: None,
            n_lines: 0,
            notes: notes.into_iter().map(str::to_owned).collect(),
            reason: session.place.as_ref().err().map(|reason| (*reason).to_owned()),
            outcome: String::new(),
        }
    }

    /// The session with its lines; `None` with a reason in the row.
    fn found<'s>(
        &self,
        agent: &'s Agent,
        session: &'s Session,
        row: &mut Row,
        keys: &mut HashSet<String>,
    ) -> Result<Option<Found<'s>>, import::Error> {
        let Ok(place) = &session.place else { return Ok(None) };
        let (identity, key) = match self.target.name(place) {
            Ok(named) => named,
            Err(error) => {
                row.reason = Some(format!("{error:#}"));
                return Ok(None);
            }
        };
        row.key = Some(key.clone());
        let transcript = agent.transcript(session)?;
        row.notes.extend(transcript.report.all_left());
        row.n_lines = transcript.lines.len();
        if transcript.lines.is_empty() {
            row.reason = Some("nothing was said in it".to_owned());
        } else if !keys.insert(key) {
            row.reason = Some("another session that was changed later, or of an agent before, has this key".to_owned());
        } else {
            return Ok(Some(Found { agent: &agent.name, place, identity, transcript }));
        }
        Ok(None)
    }

    fn print_configuration(&self, has_one: bool) {
        if self.context.json {
            return;
        }
        let file = if has_one { BESIDE } else { "config.toml" };
        line(&format!("configuration, for {}:", self.context.home.join(file).display()));
        self.plan.report.all_carried().iter().for_each(|what| line(&format!("  {}", printable(what))));
        self.plan.secrets.keys().for_each(|name| line(&format!("  secret secrets/{name}")));
        print_left(&self.plan.report);
    }

    fn print_sessions(&self, verb: &str) {
        if self.context.json {
            return;
        }
        let n_carried = self.rows.iter().filter(|row| row.reason.is_none()).count();
        line(&format!("conversations: {n_carried} of {}", self.rows.len()));
        let mut left = Report::default();
        for row in &self.rows {
            match (&row.key, &row.reason) {
                (Some(key), None) => {
                    line(&format!("  {} {verb} {key} ({} lines)", printable(&row.from), row.n_lines));
                    row.notes.iter().for_each(|note| line(&format!("      {}", printable(note))));
                }
                (_, Some(reason)) => left.left(format!("{}: {reason}", row.from)),
                (None, None) => {}
            }
        }
        print_left(&left);
    }

    fn print_json(&self, is_dry_run: bool) {
        if !self.context.json {
            return;
        }
        let row = |row: &Row| {
            json!({
                "agent": row.agent, "from": row.from, "key": row.key, "lines": row.n_lines, "notes": row.notes,
                "reason": row.reason, "outcome": row.outcome,
            })
        };
        output::json(&json!({
            "dry_run": is_dry_run,
            "config": {
                "carried": self.plan.report.all_carried(),
                "left": self.plan.report.all_left(),
                "secrets": self.plan.secrets.keys().collect::<Vec<_>>(),
                "text": self.plan.toml,
            },
            "sessions": self.rows.iter().map(row).collect::<Vec<_>>(),
        }));
    }

    /// Writes the configuration and what it refers to. True when it is the one that counts now.
    fn write(&self, existing: Option<&Path>) -> Result<bool, Failure> {
        let home = &self.context.home;
        let failed = |error: io::Error, file: &Path| {
            Exit::Config.because(anyhow!(error).context(format!("{} cannot be written", file.display())))
        };
        if existing.is_some_and(|file| fs::read_to_string(file).is_ok_and(|text| text == self.plan.toml)) {
            self.say("the configuration is the imported one already");
            return Ok(false);
        }
        make_directory(home).map_err(|error| failed(error, home))?;
        for (name, secret) in &self.plan.secrets {
            let file = home.join("secrets").join(name);
            if !put(&file, secret.expose()).map_err(|error| failed(error, &file))? {
                self.say(&format!("secrets/{name} is there already and stays as it is"));
            }
        }
        for soul in &self.plan.souls {
            let file = home.join(&soul.file);
            if !put(&file, &soul.text).map_err(|error| failed(error, &file))? {
                self.say(&format!("{} is there already and stays as it is", soul.file));
            }
        }
        let beside = home.join(BESIDE);
        match fs::remove_file(&beside) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(failed(error, &beside)),
            _ => {}
        }
        put(&beside, &self.plan.toml).map_err(|error| failed(error, &beside))?;
        if existing.is_some() {
            let beside = beside.display();
            self.say(&format!(
                "there is a configuration already; the imported one is {beside}: take over what you want"
            ));
            return Ok(false);
        }
        config::load(self.context, Some(&beside))?;
        let file = home.join("config.toml");
        fs::rename(&beside, &file).map_err(|error| failed(error, &file))?;
        self.say(&format!("{} is written", file.display()));
        Ok(true)
    }

    /// Gives the conversations to the running gateway.
    fn hand_over(&mut self, is_new: bool) -> Result<(), Failure> {
        if !self.rows.iter().any(|row| row.reason.is_none()) {
            self.print_json(false);
            return Ok(());
        }
        if let Err(failure) = client::ask(self.context, Method::GET, "/api/v1/status") {
            let why = "conversations are handed to a running gateway: start it with `gateway run`, then run this again";
            return Err(Failure { error: failure.error.context(why), ..failure });
        }
        if is_new {
            client::ask(self.context, Method::POST, "/api/v1/reload")?.success()?;
        }
        self.each_session(&mut |job, row, found| match found {
            None => Ok("not carried".to_owned()),
            Some(found) => job.hand_over_one(row, &found),
        })?;
        let n = |outcome: &str| self.rows.iter().filter(|row| row.outcome == outcome).count();
        self.say(&format!("{} imported, {} were there already", n("imported"), n("exists")));
        self.print_json(false);
        let refused: Vec<&Row> = self.rows.iter().filter(|row| row.outcome == "refused").collect();
        match refused.first().and_then(|row| row.reason.as_ref()) {
            None => Ok(()),
            Some(reason) => Err(Exit::Config.say(format!("{} were refused: {reason}", refused.len()))),
        }
    }

    fn hand_over_one(&self, row: &mut Row, found: &Found<'_>) -> Result<String, Failure> {
        let answer = client::ask_with(self.context, Method::POST, "/api/v1/import/session", Some(&request(found)))?;
        if answer.status == StatusCode::UNPROCESSABLE_ENTITY || answer.status == StatusCode::BAD_REQUEST {
            row.reason = answer.body.get("error").and_then(Value::as_str).map(str::to_owned);
            return Ok("refused".to_owned());
        }
        let answer = answer.success()?;
        row.key = answer.get("key").and_then(Value::as_str).map(str::to_owned);
        Ok(answer.get("outcome").and_then(Value::as_str).unwrap_or("refused").to_owned())
    }

    fn say(&self, text: &str) {
        if !self.context.json {
            line(text);
        }
    }
}

fn print_left(report: &Report) {
    let left = report.all_left();
    if !left.is_empty() {
        line("not carried:");
        left.iter().for_each(|what| line(&format!("  {}", printable(what))));
    }
    line("");
}

fn request(found: &Found<'_>) -> Value {
    let Found { agent, place, identity, transcript } = found;
    let id = |id: &Option<OpaqueId>| id.as_ref().map(OpaqueId::as_str).map(str::to_owned);
    let agent = import::agent_name(agent);
    let line = |said: &import::Line| match &said.said {
        Said::Agent => json!({ "at_ms": said.at.0, "agent": agent, "text": said.text }),
        Said::Peer { user, name } => json!({
            "at_ms": said.at.0,
            "user_id": place.user(user.as_deref()),
            "user_name": name,
            "message_id": said.message_id,
            "text": said.text,
        }),
    };
    json!({
        "entry": identity.entry.as_str(),
        "channel": identity.channel.as_str(),
        "account": id(&identity.account),
        "tenant_id": identity.tenant.as_ref().map(TenantId::as_str),
        "kind": identity.kind.as_str(),
        "parent_kind": identity.parent.as_str(),
        "server_id": id(&identity.server),
        "channel_id": id(&identity.room),
        "thread_id": id(&identity.thread),
        "user_id": id(&identity.user),
        "user_name": place.name,
        "agent": agent,
        "shared": place.is_shared,
        "lines": transcript.lines.iter().map(line).collect::<Vec<_>>(),
    })
}

fn make_directory(path: &Path) -> io::Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Writes a file that only its owner can read; false when there is one already.
fn put(file: &Path, text: &str) -> io::Result<bool> {
    if let Some(parent) = file.parent() {
        make_directory(parent)?;
    }
    match fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Ok(mut opened) => {
            opened.write_all(text.as_bytes())?;
            opened.sync_all()?;
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}
