//! The command line (SPEC §5). Commands talk to the running gateway over its local socket; they never open
//! the store behind its back. What needs no gateway (`config check`, `route explain`) needs none.
//!
//! Exit codes, after sysexits: 0 ok, 64 usage, 70 internal, 75 try again, 78 bad configuration.

mod alerts;
mod appliance;
mod access;
mod agents;
mod backup;
mod channels;
mod client;
mod config;
mod context;
mod deliveries;
mod doctor;
mod gateway;
mod health;
mod import;
mod keys;
mod log;
mod model;
mod logs;
mod output;
mod pairing;
mod providers;
mod route;
mod secrets;
mod sessions;
mod store;
mod tenants;
mod unresolved;
mod update;
mod usage;
mod users;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use serde_json::{Value, json};

use crate::document::SystemVariables;

/// The AI worker of a small business.
#[derive(Debug, Parser)]
#[command(name = "frontdesk", version, about, max_term_width = 100)]
struct Arguments {
    /// Directory in which the gateway keeps everything
    #[arg(
        long,
        global = true,
        value_name = "DIR",
        help = "Directory in which the gateway keeps everything [default: $FRONTDESK_HOME, else ~/.frontdesk]"
    )]
    home: Option<PathBuf>,
    /// Print JSON
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the gateway, or ask it how it is (without a subcommand: run)
    #[command(subcommand)]
    Gateway(gateway::Gateway),
    /// Look at conversations
    #[command(subcommand)]
    Sessions(sessions::Sessions),
    /// Look at workers, and change what they are told
    #[command(subcommand)]
    Agents(agents::Agents),
    /// Look at tenants, or erase one
    #[command(subcommand)]
    Tenants(tenants::Tenants),
    /// Look at what was not delivered or not answered, and decide on it
    #[command(subcommand)]
    Deliveries(deliveries::Deliveries),
    /// Look at channels, and try whether they work
    #[command(subcommand)]
    Channels(channels::Channels),
    /// Let strangers write, or not
    #[command(subcommand)]
    Pairing(pairing::Pairing),
    /// See why a message goes to an agent
    #[command(subcommand)]
    Route(route::Route),
    /// Look at the configuration
    #[command(subcommand)]
    Config(config::Config),
    /// Keep the values that the configuration calls ${NAME}
    #[command(subcommand)]
    Secrets(secrets::Secrets),
    /// Look after the file that everything is kept in
    #[command(subcommand)]
    Store(store::Store),
    /// Make backups, look at them, and come back from one
    #[command(subcommand)]
    Backup(backup::Backup),
    /// Say what is wrong, worst first, and how to mend it, also when no gateway runs; exit 0: nothing, or only hints; 78: the
    /// configuration cannot be used; 75: anything else
    Doctor,
    /// Say whether the system is as it should be: the gateway, its store, a message of its own, its channels; exit 0 when it is
    Health(health::Health),
    /// Put the file of a model where frontdesk-model.service looks for it
    #[command(subcommand)]
    Model(model::Model),
    /// On the appliance: read frontdesk.toml from the boot partition, before the network
    FirstBoot(appliance::FirstBoot),
    /// On the appliance: remove everything that was kept, if somebody asked for that
    FactoryReset(appliance::FactoryReset),
    /// On the appliance: show on the screen where the page is and what is wrong
    Console,
    /// Look for newer versions, install them, and go back
    #[command(subcommand)]
    Update(update::Update),
    /// Find models, and see whether they answer
    #[command(subcommand)]
    Providers(providers::Providers),
    /// See who is told when something is wrong, and whether it arrives
    #[command(subcommand)]
    Alerts(alerts::Alerts),
    /// Take over what another gateway kept
    #[command(subcommand)]
    Import(import::Import),
    /// Look after the key that everything kept here is sealed with
    #[command(subcommand)]
    Keys(keys::Keys),
    Usage(usage::Usage),
    Logs(logs::Logs),
    /// See who read or changed what
    Access(access::Access),
    /// Say who may use the admin page
    #[command(subcommand)]
    Users(users::Users),
    /// Make tokens for programs that use the admin API
    #[command(subcommand)]
    Tokens(users::Tokens),
}

/// What every command gets.
#[derive(Debug)]
struct Context {
    home: PathBuf,
    environment: BTreeMap<String, String>,
    json: bool,
}

impl Context {
    fn variables(&self) -> SystemVariables {
        SystemVariables::new(self.environment.clone(), &self.home)
    }
}

/// How a command ended badly.
#[derive(Debug)]
struct Failure {
    exit: Exit,
    error: anyhow::Error,
    /// What `--json` prints instead of the sentence.
    json: Option<Value>,
}

/// Exit codes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exit {
    Usage = 64,
    Internal = 70,
    TryAgain = 75,
    Config = 78,
}

impl Exit {
    fn because(self, error: impl Into<anyhow::Error>) -> Failure {
        Failure { exit: self, error: error.into(), json: None }
    }

    fn say(self, sentence: impl std::fmt::Display) -> Failure {
        Failure { exit: self, error: anyhow::anyhow!("{sentence}"), json: None }
    }
}

impl From<anyhow::Error> for Failure {
    fn from(error: anyhow::Error) -> Self {
        Self { exit: Exit::Internal, error, json: None }
    }
}

/// Runs the program.
pub fn main(
    arguments: impl Iterator<Item = OsString>,
    environment: impl Iterator<Item = (OsString, OsString)>,
) -> ExitCode {
    let arguments: Vec<OsString> = arguments.collect();
    let environment: BTreeMap<OsString, OsString> = environment.collect();
    let is_openclaw =
        arguments.first().is_some_and(|name| Path::new(name).file_stem().is_some_and(|n| n == "openclaw"));
    let parsed = match Arguments::try_parse_from(&arguments) {
        Ok(parsed) => parsed,
        Err(error) => {
            let is_wanted = !error.use_stderr();
            if !is_wanted && arguments.iter().any(|argument| argument == "--json") {
                let text = error.to_string();
                let what = text.lines().next().unwrap_or_default().trim_start_matches("error: ").to_owned();
                output::json(&json!({ "error": what }));
            }
            // Nobody is left to tell when the terminal is gone.
            let _ = error.print();
            return if is_wanted { ExitCode::SUCCESS } else { ExitCode::from(Exit::Usage as u8) };
        }
    };
    let wants_json = parsed.json;
    match run(parsed, environment, is_openclaw) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if wants_json {
                output::json(&failure.json.unwrap_or_else(|| json!({ "error": format!("{:#}", failure.error) })));
            }
            output::error(&failure.error);
            ExitCode::from(failure.exit as u8)
        }
    }
}

fn run(arguments: Arguments, environment: BTreeMap<OsString, OsString>, is_openclaw: bool) -> Result<(), Failure> {
    let home = home(arguments.home, &environment, is_openclaw)?;
    // A path may be any bytes; what `${NAME}` stands for must be text, and what is not is as good as absent.
    let text = |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
    let environment = environment.into_iter().filter_map(text).collect();
    let context = Context { home, environment, json: arguments.json };
    match arguments.command.unwrap_or(Command::Gateway(gateway::Gateway::Run)) {
        Command::Gateway(command) => gateway::run(&context, command),
        Command::Sessions(command) => sessions::run(&context, command),
        Command::Agents(command) => agents::run(&context, command),
        Command::Tenants(command) => tenants::run(&context, command),
        Command::Deliveries(command) => deliveries::run(&context, command),
        Command::Channels(command) => channels::run(&context, command),
        Command::Pairing(command) => pairing::run(&context, command),
        Command::Route(command) => route::run(&context, command),
        Command::Config(command) => config::run(&context, command),
        Command::Secrets(command) => secrets::run(&context, command),
        Command::Store(command) => store::run(&context, &command),
        Command::Backup(command) => backup::run(&context, command),
        Command::Doctor => doctor::run(&context),
        Command::Model(command) => model::run(&context, &command),
        Command::FirstBoot(wanted) => appliance::first_boot(&context, &wanted),
        Command::FactoryReset(wanted) => appliance::factory_reset(&wanted),
        Command::Console => appliance::console(&context),
        Command::Health(wanted) => health::run(&context, &wanted),
        Command::Providers(command) => providers::run(&context, command),
        Command::Alerts(command) => alerts::run(&context, &command),
        Command::Import(command) => import::run(&context, command),
        Command::Update(command) => update::run(&context, &command),
        Command::Keys(command) => keys::run(&context, command),
        Command::Usage(command) => usage::run(&context, &command),
        Command::Logs(command) => logs::run(&context, &command),
        Command::Access(command) => access::run(&context, &command),
        Command::Users(command) => users::run(&context, command),
        Command::Tokens(command) => users::run_tokens(&context, command),
    }
}

fn home(
    given: Option<PathBuf>,
    environment: &BTreeMap<OsString, OsString>,
    is_openclaw: bool,
) -> Result<PathBuf, Failure> {
    let set = |name: &str| environment.get(OsStr::new(name)).filter(|value| !value.is_empty());
    if let Some(home) = given.or_else(|| set("FRONTDESK_HOME").map(PathBuf::from)) {
        return Ok(home);
    }
    let name = if is_openclaw { ".openclaw" } else { ".frontdesk" };
    let user = set("HOME").ok_or_else(|| {
        Exit::Usage.say("there is no home directory: HOME is not set; say where to keep everything with --home DIR")
    })?;
    Ok(Path::new(user).join(name))
}
