//! `gateway run|status|reload`.

use std::net::TcpListener;
use std::pin::pin;
use std::sync::Arc;

use clap::Subcommand;
use http::Method;
use serde_json::Value;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::MissedTickBehavior;

use super::output::{field, json, line, paragraph, printable, table, with_causes};
use super::{Context, Exit, Failure, client, keys, log};
use crate::clock::SystemClock;
use crate::gateway::{self, HomeError, Options, StartError};
use crate::service::{self, Manager};
use crate::store;
use crate::{admin, config, doctor, page};

/// Instead of the path of a configuration.
const NO_FILE: &str = "none, the embedded defaults are used";

#[derive(Debug, Subcommand)]
pub(super) enum Gateway {
    /// Run the gateway in the foreground
    Run,
    /// Say how the running gateway is
    Status,
    /// Read the configuration again, without dropping a conversation
    Reload,
}

pub(super) fn run(context: &Context, command: Gateway) -> Result<(), Failure> {
    match command {
        Gateway::Run => start(context),
        Gateway::Status => status(context),
        Gateway::Reload => reload(context),
    }
}

fn start(context: &Context) -> Result<(), Failure> {
    log::start(context)?;
    // While there is one thread.
    let (sockets, problems) = service::sockets();
    problems.iter().for_each(|problem| tracing::error!("{problem}"));
    super::update::before_gateway(context);
    let n_threads = std::thread::available_parallelism().map_or(2, std::num::NonZero::get).clamp(2, 4);
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(n_threads).enable_all().build();
    let runtime = runtime.map_err(anyhow::Error::from)?;
    let ended = runtime.block_on(serve(context, sockets));
    // What did not end in time is taken up at the next start.
    runtime.shutdown_background();
    ended
}

async fn serve(context: &Context, sockets: Vec<TcpListener>) -> Result<(), Failure> {
    let mut terminate = signal(SignalKind::terminate()).map_err(anyhow::Error::from)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(anyhow::Error::from)?;
    let mut hang_up = signal(SignalKind::hangup()).map_err(anyhow::Error::from)?;
    let manager = Arc::new(Manager::of(|name| context.environment.get(name).cloned()));
    let options = Options {
        home: context.home.clone(),
        variables: Arc::new(context.variables()),
        clock: Arc::new(SystemClock),
        device_key: keys::sources(context),
        pages: page::router,
        on_copy: super::update::is_on_copy(context),
    };
    let gateway = gateway::Gateway::start(options).await.map_err(start_failure)?;
    gateway.adopt(sockets);
    admin::listen(&gateway).map_err(start_failure)?;
    doctor::watch(&gateway);
    greet(&gateway);
    manager.ready(&in_a_line(&gateway));
    let mut signs = pin!(signs_of_life(&manager, &gateway));
    loop {
        tokio::select! {
            _ = terminate.recv() => break,
            _ = interrupt.recv() => break,
            () = &mut signs => {}
            _ = hang_up.recv() => {
                manager.reloading();
                if let Err(error) = gateway.reload().await {
                    tracing::error!(%error, "the configuration was not reloaded; the running one stays");
                }
                manager.ready(&in_a_line(&gateway));
            }
        }
    }
    manager.stopping();
    gateway.shut_down().await;
    Ok(())
}

/// Tells whoever runs the service that the gateway lives: that its runtime turns, and that the store's writer answers. Ends
/// never.
async fn signs_of_life(manager: &Manager, gateway: &gateway::Gateway) {
    let Some(every) = manager.alive_every() else { return std::future::pending().await };
    let mut ticks = tokio::time::interval(every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut said = String::new();
    loop {
        ticks.tick().await;
        if !gateway.is_alive(every / 2).await {
            tracing::error!("the store's writer does not answer; systemd ends what stays so");
            continue;
        }
        manager.alive();
        let line = in_a_line(gateway);
        if line != said {
            manager.status(&line);
            said = line;
        }
    }
}

/// How the gateway is, for lists of services: no word of the configuration.
fn in_a_line(gateway: &gateway::Gateway) -> String {
    let Ok(status) = gateway.status() else { return "the store cannot be read; see the log".to_owned() };
    if status.on_copy {
        return "this version is being tried; messages wait until it is kept".to_owned();
    }
    if status.safe_mode.is_some() {
        return "safe mode: messages wait; see the page, or `frontdesk gateway status`".to_owned();
    }
    let addresses = status.adopted.iter().chain([&status.address]).map(String::as_str).collect::<Vec<_>>().join(", ");
    let n_wrong = status.channels.iter().filter(|channel| channel.problem.is_some()).count();
    let n_channels = status.channels.len();
    match n_wrong {
        0 => format!("listening on {addresses}; {n_channels} channels"),
        n_wrong => format!("listening on {addresses}; {n_wrong} of {n_channels} channels do not work"),
    }
}

fn greet(gateway: &gateway::Gateway) {
    let address = gateway.address().map(|address| address.to_string()).unwrap_or_default();
    line(&format!("Frontdesk {} is listening on http://{address}", env!("CARGO_PKG_VERSION")));
    for page in gateway.chat_pages() {
        line(&format!("web chat: http://{address}{page}"));
    }
    line(&format!("admin: http://{address}/admin/"));
    if let (Some(name), Some(address)) = (gateway.local_name().name, gateway.reachable()) {
        let port = if address.port() == 80 { String::new() } else { format!(":{}", address.port()) };
        line(&format!("in the local network: http://{name}{port}/admin/"));
    }
    for address in gateway.adopted() {
        line(&format!("listening at {address} too: the system opened it"));
    }
    if let Some(certificate) = gateway.tls().device() {
        line(&format!("admin over HTTPS: https://{address}/admin/"));
        line(&format!("its certificate has the SHA-256 fingerprint {}", certificate.fingerprint));
    }
    if let Some(code) = gateway.accounts().claim_code() {
        line(&format!("claim code: {}", code.expose()));
    }
    for note in gateway.notes() {
        line(&format!("note: {}", printable(&note)));
    }
    if let Ok(status) = gateway.status() {
        let config = status.config.as_deref().unwrap_or(NO_FILE);
        line(&format!("home: {}, configuration: {config}", gateway.home().display()));
        for warning in status.errors.iter().chain(&status.warnings) {
            line(&format!("warning: {warning}"));
        }
    }
}

fn start_failure(error: StartError) -> Failure {
    // Its sentences say what to do.
    let error = match error {
        StartError::Home(HomeError::DeviceKey(error)) => return error.into(),
        StartError::Home(error @ HomeError::HalfRestored { .. }) => return Exit::Config.because(error),
        error => error,
    };
    let (exit, help) = match &error {
        StartError::Store(store::Error::Locked { .. }) => {
            (Exit::TryAgain, "a gateway is running in this home already; stop it, or choose another with --home DIR")
        }
        StartError::Listen(error) if error.is_of_commands() => {
            (Exit::Config, "see that this user may write there, or choose another home with --home DIR")
        }
        StartError::Listen(_) => (Exit::TryAgain, "stop what listens there, or set gateway.port and gateway.bind"),
        StartError::Home(_) => {
            (Exit::Config, "make it a directory that this user may write, or choose another with --home DIR")
        }
        StartError::Store(store::Error::TooNew { .. }) => (Exit::Config, "install that version again"),
        StartError::Store(store::Error::DataKey) => {
            (Exit::Config, "put the device key of this store back from a copy, or restore a backup")
        }
        StartError::Store(store::Error::Open { .. }) => {
            (Exit::Config, "see that this user may write it and that it is a store of Frontdesk")
        }
        StartError::Store(_) | StartError::Client(_) => (Exit::Internal, "see the log above"),
    };
    exit.say(format!("{}; {help}", with_causes(&error)))
}

fn status(context: &Context) -> Result<(), Failure> {
    let status = client::ask(context, Method::GET, "/api/v1/status")?.success()?;
    if context.json {
        json(&status);
        return Ok(());
    }
    let number = |path: &str| status.pointer(path).and_then(Value::as_u64).unwrap_or(0);
    line(&format!("listening on :{}, {} active sessions", field(&status, "port"), number("/sessions/active")));
    for address in status.get("adopted").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
        line(&format!("listening at {address} too: the system opened it"));
    }
    if let Some(name) = status.get("local_name").and_then(Value::as_str) {
        line(&format!("in the local network: {name}"));
    }
    if let Some(https) = status.get("https").filter(|https| !https.is_null()) {
        line(&format!("https: fingerprint {} (SHA-256), until {}", field(https, "fingerprint"), field(https, "ends")));
    }
    for domain in status.pointer("/https/acme/domains").and_then(Value::as_array).into_iter().flatten() {
        let until = status.pointer("/https/acme/ends").and_then(Value::as_str);
        line(&format!(
            "https://{}: {}",
            printable(domain.as_str().unwrap_or_default()),
            until.map_or("no certificate yet".to_owned(), |until| format!("trusted, until {until}"))
        ));
    }
    match number("/sessions/archived") {
        0 => {}
        n => line(&format!("archived: {n} sessions")),
    }
    line(&format!(
        "queue: {} waiting, {} turns, {} undelivered, {} set aside",
        number("/queue/waiting"),
        number("/queue/turns"),
        number("/queue/undelivered"),
        number("/queue/parked")
    ));
    match number("/sessions/taken") {
        0 => {}
        n => line(&format!("in people's hands: {n} sessions, {} messages wait for them", number("/queue/for_people"))),
    }
    let store = status.get("store").unwrap_or(&Value::Null);
    line(&format!("store: {} ({} KiB)", field(store, "path"), number("/store/bytes") / 1024));
    if let Some(text) = super::backup::sentence(status.get("backup").unwrap_or(&Value::Null)) {
        line(&format!("backup: {text}"));
    }
    if let Some(text) = status.get("updates").and_then(Value::as_str) {
        line(&format!("updates: {}", printable(text)));
    }
    let config = status.get("config").and_then(Value::as_str).unwrap_or(NO_FILE);
    line(&format!("configuration: {}", printable(config)));
    let texts = |name: &str| status.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let columns = ["id", "type", "tenant", "path", "last_in", "last_out", "refused", "limited", "problem"];
    let channels: Vec<Vec<String>> = texts("channels")
        .iter()
        .map(|channel| columns.iter().map(|name| super::channels::cell(channel, name)).collect())
        .collect();
    if !channels.is_empty() {
        line("");
        table(
            &["channel", "type", "tenant", "path", "last in", "last out", "refused", "limited", "problem"],
            &channels,
        );
    }
    for (name, label) in [("notes", "note"), ("warnings", "warning")] {
        for text in texts(name) {
            line(&format!("{label}: {}", paragraph(&text)));
        }
    }
    Ok(())
}

fn reload(context: &Context) -> Result<(), Failure> {
    let answer = client::ask(context, Method::POST, "/api/v1/reload")?;
    let body = answer.body.clone();
    let reloaded = answer.success().map_err(|failure| {
        let error = failure.error.context("the configuration was not reloaded; the running one stays");
        Failure { error, json: Some(body), ..failure }
    })?;
    if context.json {
        json(&reloaded);
    }
    if !context.json {
        let n = |name: &str| reloaded.get(name).and_then(Value::as_array).map_or(0, Vec::len);
        let (started, stopped, kept) = (n("started"), n("stopped"), n("kept"));
        line(&format!("reloaded: channels {started} started, {stopped} stopped, {kept} unchanged"));
        if let Some(text) = reloaded.pointer("/rekey/text").and_then(Value::as_str) {
            line(&format!(
                "note: {}; they stay readable under their old keys, and `sessions rekey --dry-run` lists them",
                printable(text)
            ));
        }
        for warning in reloaded.get("warnings").and_then(Value::as_array).into_iter().flatten() {
            line(&format!(
                "warning: {}:{}: {}: {}",
                field(warning, "file"),
                field(warning, "line"),
                field(warning, "path"),
                field(warning, "message")
            ));
        }
    }
    Ok(())
}

impl From<config::Error> for Failure {
    fn from(error: config::Error) -> Self {
        Exit::Config.because(error)
    }
}
