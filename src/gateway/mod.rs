//! The gateway: where everything meets.
//!
//! A message comes in through `intake`, waits in the store, is answered in `turns` and leaves through
//! `outbox`; `live` is the configuration in use, swapped whole by `reload`; `server` listens. `life`, `rekey`, `pairing`,
//! `rates`, `deliveries`, `alerts`, `backup`, `import` and `revise` do what operators and the clock ask for. Nothing here
//! derives a key, matches a route or knows a vendor: it asks the pure parts and acts on what they say.
//!
//! What always holds: a channel hears "accepted" only after the commit; an answer goes to the reply
//! address of the message that caused it; a turn that began keeps the configuration it began with.

mod alerts;
mod access;
mod acme;
mod agents;
mod api;
mod backup;
mod channels;
mod deliveries;
pub mod device_key;
mod explain;
mod factory_reset;
mod health;
mod home;
mod host;
mod import;
mod intake;
mod life;
mod live;
pub mod machine;
mod offline;
mod outbox;
mod pairing;
mod rates;
mod reach;
mod rekey;
mod restore;
mod revise;
mod server;
mod setup;
mod status;
mod taking;
mod tenants;
mod turns;
mod usage;

use std::collections::BTreeSet;
use std::fmt;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use futures_util::FutureExt as _;
use tokio::sync::{Notify, Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::account::Accounts;
use crate::clock::{Clock, Timestamp};
use crate::config;
use crate::document::{Problem, Secret, Variables};
use crate::first_boot;
use crate::id::SessionKey;
use crate::provider::probe::{self, Ask, Found};
use crate::session::lane::Lanes;
use crate::store::{self, Resume, Store};
use crate::tls::Tls;

pub use acme::AcmeStatus;
pub use agents::{AgentError, AgentFile, AgentRow, ModelState, tool_name};
pub use alerts::AlertStatus;
pub use backup::{BackedUp, BackupError, BackupKey, BackupOrder, BackupStatus, Checked, KeptBackup, RunningBackup};
pub use channels::ChannelTestError;
pub use deliveries::{DeliveryError, Repeat};
pub use explain::{Admission, Bundle, ExplainError, Explained, Ground, Numbered};
pub use health::Health;
pub use home::{Error as HomeError, Home, find_store, socket, socket_elsewhere};
pub use import::{Import, ImportError, check_scope};
pub use offline::Offline;
pub use pairing::PairingError;
pub use reach::HttpsStatus;
pub use rekey::{Apply, Becomes, RekeyCursor, RekeyRow, Rekeyed};
pub use restore::{RestoreError, Restored, restore};
pub use server::{Peer, short_path};
pub use setup::{Question, SetupState};
pub use status::{ChannelStatus, Status};
pub use taking::{Said, TakeError, Words as PersonsWords, is_of_channel};
pub use tenants::{ApiKeyRow, ConfiguredTenant, Shape};
pub use usage::{KEPT_HOURS, Totals};

use live::Live;
use outbox::Outbox;
use server::Server;

/// How long running turns and sends may take to end when the gateway stops. Whatever is cut off is taken
/// up again at the next start.
const DRAIN: Duration = Duration::from_millis(1_500);
/// Wait before a channel whose adapter panicked is started again.
const RESTART_WAIT: Duration = Duration::from_secs(10);
/// How soon a store that can be opened again is noticed.
const LOOK_AT_STORE: Duration = Duration::from_secs(2);
/// Why messages are not taken.
const ON_COPY: &str = "this version is being tried on a copy of what is stored; messages are taken again when it is kept, \
                       which takes a moment";
/// Dedupe marks are kept this long: longer than any vendor repeats an event.
const MARKS_KEPT_MS: u64 = 7 * 24 * 60 * 60 * 1000;

/// What a gateway is started with.
pub struct Options {
    /// Where it keeps everything.
    pub home: PathBuf,
    /// Where `${NAME}` is looked up.
    pub variables: Arc<dyn Variables + Send + Sync>,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Where, besides the home, the key is that everything kept there is sealed with.
    pub device_key: device_key::Sources,
    /// What people and programs with an account are served beside the channels.
    pub pages: fn(&Gateway) -> axum::Router,
    /// This version is being tried and stores in another shape than the one before: it works on a copy of the store, takes no
    /// messages and answers none, so that nothing is lost when the one before comes back.
    pub on_copy: bool,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("home", &self.home).finish_non_exhaustive()
    }
}

/// Why a gateway does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The home cannot be used.
    #[error(transparent)]
    Home(#[from] home::Error),
    /// The store cannot be used.
    #[error(transparent)]
    Store(#[from] store::Error),
    /// Nobody can reach it.
    #[error(transparent)]
    Listen(#[from] server::Error),
    /// The HTTP client could not be made.
    #[error("the HTTP client cannot be made")]
    Client(#[from] reqwest::Error),
}

/// Why a reload changed nothing.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// The file cannot be used; the running settings stay.
    #[error(transparent)]
    Config(#[from] config::Error),
    /// The new address cannot be used; the running settings stay.
    #[error(transparent)]
    Listen(#[from] server::Error),
    /// There was a file; an editor that is just replacing it must not turn the box into the demo.
    #[error("the configuration file {} is gone; the running one stays. Restart the gateway to use the embedded defaults", .0.display())]
    FileGone(PathBuf),
    /// Two addresses cannot have one port at the same time.
    #[error("gateway.bind has changed and gateway.port has not; restart the gateway, or change the port too")]
    Rebound,
    /// The store cannot be moved while it is open.
    #[error("session.storage_path has changed; restart the gateway to move to another store")]
    StoreMoved,
    /// Nothing can be started without it.
    #[error("the store cannot be used, so nothing is started: {0}")]
    StoreUnusable(String),
    /// There is no such revision, or the disk refuses.
    #[error(transparent)]
    Revision(#[from] config::RevisionError),
    /// Somebody else was faster.
    #[error("the configuration has changed since it was read; read it again and repeat the change")]
    Changed,
    /// The text that somebody wanted back is back, and still cannot be used.
    #[error("revision {number} is in the file again and cannot be used, so the running settings stay: {source}")]
    StillBad {
        /// Its number.
        number: u32,
        /// What is wrong with it.
        source: config::Error,
    },
}

/// What a reload did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Reloaded {
    /// The file that was read, if there is one.
    pub file: Option<PathBuf>,
    /// Entries that were started, by id.
    pub started: Vec<String>,
    /// Entries that were stopped.
    pub stopped: Vec<String>,
    /// Entries that kept their connections.
    pub kept: Vec<String>,
    /// Warnings about the file.
    pub warnings: Vec<Problem>,
    /// Conversations that lie under another key than these settings would give them, if how they name them has changed.
    pub rekeyed: Option<Rekeyed>,
}

/// A running gateway. Clones share it.
#[derive(Debug, Clone)]
pub struct Gateway(Arc<Inner>);

struct Inner {
    home: Home,
    accounts: Accounts,
    variables: Arc<dyn Variables + Send + Sync>,
    clock: Arc<dyn Clock>,
    store: Store,
    store_file: PathBuf,
    http: reqwest::Client,
    live: ArcSwap<Live>,
    lanes: Lanes,
    /// Turns that may run at the same time.
    turns: Arc<Semaphore>,
    outbox: Outbox,
    /// Ends the waits of turns and sends that failed.
    try_again: Notify,
    /// Has expired conversations looked for at once.
    sweep_now: Notify,
    /// Counts changes of transcripts, for those who read along.
    said: watch::Sender<u64>,
    api: api::Waiters,
    usage: usage::Usage,
    pages: fn(&Gateway) -> axum::Router,
    tls: Arc<Tls>,
    announced: Mutex<Option<reach::Announced>>,
    /// Has a certificate for the domains looked at at once.
    acme_now: Notify,
    acme_refusal: Mutex<Option<acme::Refusal>>,
    server: Mutex<Option<Server>>,
    /// Sockets that the system opened.
    adopted: Mutex<Vec<Server>>,
    reloading: tokio::sync::Mutex<()>,
    tasks: TaskTracker,
    stop: CancellationToken,
    on_copy: bool,
    /// Where the commands reach it, once they do.
    socket: OnceLock<PathBuf>,
    started_at: Timestamp,
    /// The same on the clock that nobody sets.
    started_elapsed_ms: u64,
    /// Conversations under old keys, as they were counted last.
    rekeyed: Mutex<Rekeyed>,
    /// Why the store takes nothing, since it last refused.
    store_trouble: Mutex<Option<String>>,
    /// Why the text of the configuration in use could not be kept.
    revision_trouble: Mutex<Option<String>>,
    backups: backup::Backups,
    alerts: alerts::Alerts,
    setup: setup::Setup,
    /// Held while a message of its own is tried.
    answering_itself: tokio::sync::Mutex<()>,
    access: access::AccessLog,
    /// How the models of agents did.
    models: agents::Models,
    /// How fast tenants write.
    tenant_rates: rates::Rates,
    /// How fast codes are tried.
    guesses: rates::Rates,
    /// Of which conversations under `main` it has been said that several people share them: one for each tenant and
    /// workspace that entries have.
    warned_of_main: Mutex<BTreeSet<SessionKey>>,
}

impl fmt::Debug for Inner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gateway").field("home", &self.home).finish_non_exhaustive()
    }
}

impl Gateway {
    /// Opens the home and its store, reads the configuration, listens, connects the channels and takes up
    /// what was left. With a configuration that cannot be used it starts in safe mode: no channels, but
    /// status and reload. With a store that cannot be opened it does too, and says how to mend it; a gateway that ends
    /// would be started again and again. What is only for a disk that is full or cannot be written ends with that.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub async fn start(options: Options) -> Result<Self, StartError> {
        let Options { home, variables, clock, device_key, pages, on_copy } = options;
        let home = home::make(&home)?;
        if let Err(error) = config::Revisions::of(&home).finish_replacing() {
            tracing::error!(%error, "a configuration that was replaced cannot be removed; it does not count");
        }
        let loaded = config::load(&home, &*variables);
        let salvaged = loaded.is_err().then(|| config::salvage(&home, &*variables));
        let session = match (&loaded, &salvaged) {
            (Ok(loaded), _) => Some(&loaded.settings.session),
            (Err(_), salvaged) => salvaged.as_ref().map(|salvaged| &salvaged.session),
        };
        let store_file = home::store_file(&home, session, variables.get("HOME").as_deref());
        let home = Home::open(home, &device_key, &store_file)?;
        let claim = variables.get(first_boot::CLAIM);
        // Whoever gets in by it can mend the rest, and it is no reason to answer nobody.
        let accounts = Accounts::open_with(home.path(), clock.clone(), claim.as_deref()).unwrap_or_else(|error| {
            tracing::error!(%error, "the accounts cannot be used");
            Accounts::shut(home.path(), clock.clone(), &error)
        });
        let cache_bytes = session.map_or_else(|| crate::session::Config::absent().cache_bytes(), |s| s.cache_bytes());
        let store = open_store(&store_file, cache_bytes, &home.wrapping_key(), on_copy)?;
        let http = reqwest::Client::builder()
            .connect_timeout(Duration::from_secs(10))
            // A redirect would carry words, and often a key, to wherever it points.
            .redirect(reqwest::redirect::Policy::none())
            .user_agent(concat!("frontdesk/", env!("CARGO_PKG_VERSION")))
            .build()?;
        let live = match (loaded, store.why_unusable()) {
            (Ok(_), Some(why)) => Live::safe_mode(why, config::salvage(home.path(), &*variables), &http),
            (Ok(_), None) if on_copy => {
                Live::safe_mode(ON_COPY.to_owned(), config::salvage(home.path(), &*variables), &http)
            }
            (Ok(loaded), None) => Live::new(loaded, None, clock.now(), &home, &http),
            (Err(error), why) => {
                tracing::error!(error = %error, "the configuration cannot be used: starting in safe mode");
                let both = why.into_iter().chain([error.to_string()]).collect::<Vec<_>>();
                Live::safe_mode(both.join("\n"), salvaged.unwrap_or_default(), &http)
            }
        };
        // A configuration or a store that cannot be used is what it is tried for.
        let is_tried = live.safe_mode.as_deref() == Some(ON_COPY);
        crate::log::hide(accounts.claim_code().iter().chain([home.token()]));
        let is_usable = store.why_unusable().is_none();
        let max_turns = live.settings.gateway.max_turns;
        let address = SocketAddr::new(live.settings.gateway.bind, live.settings.gateway.port);
        let tls = Arc::new(Tls::new(home.path()));
        let (started_at, started_elapsed_ms) = (clock.now(), clock.elapsed_ms());
        let (backups, alerts) = (backup::Backups::of(home.path()), alerts::Alerts::of(home.path()));
        let setup = setup::Setup::of(home.path());
        let (access, recorded) = access::AccessLog::new();
        let gateway = Self(Arc::new(Inner {
            home,
            accounts,
            variables,
            clock,
            store,
            store_file,
            http,
            live: ArcSwap::from_pointee(live),
            lanes: Lanes::default(),
            turns: Arc::new(Semaphore::new(max_turns)),
            outbox: Outbox::default(),
            try_again: Notify::new(),
            sweep_now: Notify::new(),
            said: watch::Sender::new(0),
            api: api::Waiters::default(),
            usage: usage::Usage::default(),
            pages,
            tls,
            announced: Mutex::new(None),
            acme_now: Notify::new(),
            acme_refusal: Mutex::new(None),
            server: Mutex::new(None),
            adopted: Mutex::default(),
            reloading: tokio::sync::Mutex::new(()),
            tasks: TaskTracker::new(),
            stop: CancellationToken::new(),
            on_copy: is_tried,
            socket: OnceLock::new(),
            started_at,
            started_elapsed_ms,
            rekeyed: Mutex::default(),
            store_trouble: Mutex::new(None),
            revision_trouble: Mutex::new(None),
            backups,
            alerts,
            setup,
            answering_itself: tokio::sync::Mutex::default(),
            access,
            models: agents::Models::default(),
            tenant_rates: rates::Rates::default(),
            guesses: rates::Rates::default(),
            warned_of_main: Mutex::default(),
        }));
        let live = gateway.0.live.load_full();
        if is_usable {
            gateway.finish_erasing().await;
        }
        // What waits must not be answered by whatever stands in for the configuration that is wrong. Read before
        // anything runs: when it cannot be read, nothing is left running.
        let left = if live.safe_mode.is_none() { gateway.0.store.resume()? } else { Resume::default() };
        gateway.0.accounts.set_words(live.names.clone());
        gateway.keep_certificate().await;
        gateway.renew_acme();
        let server = Server::listen(address, gateway.clone())?;
        gateway.keep_revision(&live);
        gateway.replace_server(server);
        gateway.announce();
        gateway.spawn(gateway.clone().keep_reachable());
        gateway.spawn(gateway.clone().keep_certified());
        gateway.start_entries(&live);
        gateway.take_up(left);
        gateway.spawn(gateway.clone().keep_access(recorded));
        if !is_usable {
            gateway.spawn(gateway.clone().await_store());
            return Ok(gateway);
        }
        gateway.start_upkeep();
        let counting = gateway.clone();
        gateway.spawn(async move {
            counting.look_for_old_keys().await;
        });
        Ok(gateway)
    }

    fn start_upkeep(&self) {
        self.spawn(prune_marks(self.clone()));
        self.spawn(self.clone().sweep());
        self.spawn(self.clone().keep_usage());
        self.spawn(self.clone().hand_back_forgotten());
        self.spawn(self.clone().back_up_by_the_clock());
    }

    /// Goes on as a start does, once the store can be opened.
    async fn await_store(self) {
        while self.0.store.why_unusable().is_some() {
            tokio::select! {
                () = self.0.stop.cancelled() => return,
                () = tokio::time::sleep(LOOK_AT_STORE) => {}
            }
        }
        tracing::info!("the store is open: the gateway goes on");
        self.finish_erasing().await;
        let _one_at_a_time = self.0.reloading.lock().await;
        let loaded = config::load(self.home(), &*self.0.variables).map_err(ReloadError::from);
        match loaded.and_then(|loaded| self.prepare(loaded)) {
            Ok(ready) => drop(self.swap(ready).await),
            Err(error) => {
                tracing::error!(%error, "the configuration cannot be used: safe mode goes on");
                let salvaged = config::salvage(self.home(), &*self.0.variables);
                self.0.live.store(Arc::new(Live::safe_mode(error.to_string(), salvaged, &self.0.http)));
            }
        }
        self.start_upkeep();
    }

    /// Serves `app` on the local socket of the home, where the commands reach it; where nothing can be made in the home,
    /// beside other sockets of its user.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn listen_local(&self, app: axum::Router) -> Result<(), StartError> {
        let in_home = self.0.home.socket();
        let error = match server::listen_local(&in_home, app.clone(), self) {
            Err(error) if error.is_for_the_disk() => error,
            result => return Ok(result?),
        };
        let runtime = self.0.variables.get("XDG_RUNTIME_DIR");
        if let Some(elsewhere) = socket_elsewhere(self.home(), runtime.as_deref()) {
            tracing::warn!(%error, socket = %elsewhere.display(), "the commands reach the gateway at another place");
            return Ok(server::listen_local(&elsewhere, app, self)?);
        }
        tracing::error!(%error, "no command reaches the gateway until its home can be written, or it is started with XDG_RUNTIME_DIR");
        let gateway = self.clone();
        self.spawn(async move {
            while server::listen_local(&in_home, app.clone(), &gateway).is_err() {
                tokio::select! {
                    () = gateway.0.stop.cancelled() => return,
                    () = tokio::time::sleep(LOOK_AT_STORE) => {}
                }
            }
        });
        Ok(())
    }

    /// What the commands prove themselves with.
    #[must_use]
    pub fn admin_token(&self) -> &Secret {
        self.0.home.token()
    }

    /// Who may use the admin API and the page.
    #[must_use]
    pub fn accounts(&self) -> &Accounts {
        &self.0.accounts
    }

    /// Serves sockets that the system opened, beside the address of its settings, until it ends. What cannot be used is
    /// in the log.
    pub fn adopt(&self, sockets: Vec<std::net::TcpListener>) {
        for socket in sockets {
            match Server::adopt(socket, self.clone()) {
                Ok(server) => self.0.adopted.lock().unwrap_or_else(PoisonError::into_inner).push(server),
                Err(error) => tracing::error!(%error, "a socket that the system handed over cannot be used"),
            }
        }
        self.announce();
    }

    /// Where it listens besides, at the sockets of [`Self::adopt`].
    #[must_use]
    pub fn adopted(&self) -> Vec<SocketAddr> {
        self.0.adopted.lock().unwrap_or_else(PoisonError::into_inner).iter().map(Server::address).collect()
    }

    /// Where others than this machine reach it, if they do: the sockets of the system come first.
    #[must_use]
    pub fn reachable(&self) -> Option<SocketAddr> {
        self.adopted().into_iter().chain(self.address()).find(|address| !address.ip().is_loopback())
    }

    /// Does the store's writer answer within this time, whatever it says, or is it at something that takes long?
    pub async fn is_alive(&self, within: Duration) -> bool {
        // Also a disk that refuses is an answer.
        let answered = tokio::time::timeout(within, self.0.store.prune_marks(Timestamp(0), None)).await;
        answered.is_ok() || self.0.store.is_at_file()
    }

    /// Where it listens, by its settings.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.server.lock().unwrap_or_else(PoisonError::into_inner).as_ref().map(Server::address)
    }

    /// Its home.
    #[must_use]
    pub fn home(&self) -> &Path {
        self.0.home.path()
    }

    /// The conversations that were kept.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.0.store
    }

    /// The web chats, by entry id, and where they are.
    #[must_use]
    pub fn chat_pages(&self) -> Vec<String> {
        self.0.live.load().chat_pages()
    }

    /// Looks whether a model answers.
    pub async fn probe(&self, ask: &Ask) -> Found {
        probe::probe(ask, &self.0.http).await
    }

    /// What looks whether a configured provider answers. `None`: there is none of this name, or it is the demo worker.
    #[must_use]
    pub fn probe_of(&self, provider: &str, model: Option<String>) -> Option<Ask> {
        let live = self.0.live.load();
        live.settings.providers.iter().find(|known| known.name == provider)?.ask(model)
    }

    /// Names that the local page may be opened by, besides those that only the local network gives.
    #[must_use]
    pub fn page_hosts(&self) -> Vec<String> {
        let gateway = &self.0.live.load().settings.gateway;
        let domains = gateway.acme.iter().flat_map(|acme| &acme.domains);
        gateway.page_hosts.iter().chain(domains).cloned().collect()
    }

    /// What the operator should know about the configuration.
    #[must_use]
    pub fn notes(&self) -> Vec<String> {
        self.0.live.load().notes()
    }

    /// Reads the configuration again and swaps to it: running turns end on the old one, unchanged entries
    /// keep their connections. On an error nothing changes.
    ///
    /// # Errors
    /// [`ReloadError`].
    pub async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let _one_at_a_time = self.0.reloading.lock().await;
        let loaded = config::load(self.home(), &*self.0.variables)?;
        if let (Some(file), None) = (&self.0.live.load().file, &loaded.file) {
            return Err(ReloadError::FileGone(file.clone()));
        }
        let ready = self.prepare(loaded)?;
        Ok(self.swap(ready).await)
    }

    /// Stops: no new work, a moment for what is running, then the end. What was cut off is taken up at the next start.
    pub async fn shut_down(&self) {
        tracing::info!("stopping");
        self.0.stop.cancel();
        self.0.live.load().stop_all();
        self.0.tasks.close();
        self.say_goodbye().await;
        if tokio::time::timeout(DRAIN, self.0.tasks.wait()).await.is_err() {
            let n_tasks = self.0.tasks.len();
            tracing::info!(n_tasks, "some work was cut off; it is taken up at the next start");
        }
        self.keep_last_counted().await;
        if let Some(tracer) = self.0.live.load().tracer.clone() {
            // It waits for a thread of its own.
            drop(tokio::task::spawn_blocking(move || tracer.close()).await);
        }
        if let Some(socket) = self.0.socket.get() {
            // One that stays behind is replaced at the next start.
            drop(std::fs::remove_file(socket));
        }
    }

    /// The time, by its clock.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    fn sweep_rates(&self) {
        let (live, now) = (self.0.live.load(), tokio::time::Instant::now());
        live.entries.values().for_each(|entry| entry.rates.sweep(now));
        self.0.tenant_rates.sweep(now);
        self.0.guesses.sweep(now);
    }

    /// Tells those who read along that a transcript has changed.
    fn note_said(&self) {
        self.0.said.send_modify(|n| *n = n.wrapping_add(1));
    }

    /// Changes whenever some transcript does; ends when the gateway stops.
    #[must_use]
    pub fn said(&self) -> (watch::Receiver<u64>, CancellationToken) {
        (self.0.said.subscribe(), self.0.stop.clone())
    }

    /// Notes whether the store takes what it is given; `status` shows it.
    fn note_store(&self, trouble: Option<&store::Error>) {
        let trouble = trouble.map(|error| match std::error::Error::source(error) {
            Some(source) => format!("{error}: {source}"),
            None => error.to_string(),
        });
        let mut noted = self.0.store_trouble.lock().unwrap_or_else(PoisonError::into_inner);
        // Once for each trouble: the log may lie on the disk that is full.
        if let (None, Some(trouble)) = (&*noted, &trouble) {
            tracing::error!(trouble, "the store takes nothing; messages are refused until it does");
        }
        *noted = trouble;
    }

    /// Does it in a task of its own, which ends also when whoever asked for it goes away: what is committed must be
    /// answered, sent and told.
    async fn to_its_end<T: Send + 'static>(
        &self,
        task: impl Future<Output = Result<T, store::Error>> + Send + 'static,
    ) -> Result<T, store::Error> {
        self.0.tasks.spawn(task).await.unwrap_or(Err(store::Error::Closed))
    }

    /// Starts a task that the shutdown waits for.
    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        self.0.tasks.spawn(task);
    }

    fn replace_server(&self, server: Server) {
        let old = self.0.server.lock().unwrap_or_else(PoisonError::into_inner).replace(server);
        drop(old);
    }

    fn resize_turns(&self, old: usize, new: usize) {
        if new > old {
            self.0.turns.add_permits(new - old);
        }
        if old > new {
            // What is taken now is forgotten when it comes back.
            let turns = self.0.turns.clone();
            let n_less = u32::try_from(old - new).unwrap_or(u32::MAX);
            self.spawn(async move {
                if let Ok(permits) = turns.acquire_many_owned(n_less).await {
                    permits.forget();
                }
            });
        }
    }

    /// Starts the connections of the entries that are not yet running.
    fn start_entries(&self, live: &Live) {
        for entry in live.entries.values() {
            if let Some(stop) = entry.start_once() {
                let (entry, host) = (entry.clone(), host::Bound::new(self.clone(), entry.clone()));
                self.spawn(supervise(entry, Arc::new(host), stop));
            }
        }
    }

    /// Takes up what the last run left: turns that did not end, replies that were not settled.
    fn take_up(&self, resume: Resume) {
        if !resume.waiting.is_empty() || !resume.deliveries.is_empty() {
            let (n_waiting, n_replies) = (resume.waiting.len(), resume.deliveries.len());
            tracing::info!(n_waiting, n_replies, "taking up what was left");
        }
        for name in resume.deliveries {
            self.deliver(name);
        }
        for (tenant, session_key) in resume.waiting {
            self.wake((tenant, session_key));
        }
    }
}

/// Opens the store; one that cannot be opened is stood in for, unless another gateway has it.
fn open_store(path: &Path, cache_bytes: usize, wrapping_key: &[u8; 32], on_copy: bool) -> Result<Store, store::Error> {
    if !on_copy && let Err(error) = Store::forget_copy(path) {
        tracing::warn!(%error, "the copy of the store that a version was tried on is still there");
    }
    let open = if on_copy { Store::open_copy } else { Store::open };
    let error = match open(path, cache_bytes, wrapping_key) {
        Err(error @ store::Error::Locked { .. }) => return Err(error),
        Err(error) => error,
        opened => return opened,
    };
    let causes = std::iter::successors(std::error::Error::source(&error), |cause| cause.source());
    let what = causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"));
    let fix = match &error {
        store::Error::TooNew { .. } => "install that version again, or go back with `frontdesk backup restore`",
        error if error.is_for_the_disk() => {
            "make room on the disk, or see that it can be written; it goes on by itself"
        }
        store::Error::NotUpgraded { .. } => "see the log, and start again",
        error if error.is_denied() => "see that this user may read and write it, and start again",
        store::Error::DataKey => "put the device key of this store back, or restore a backup",
        _ => {
            "stop the gateway, look with `frontdesk store check`, mend it with `frontdesk store repair` or go back with \
             `frontdesk backup restore`, and start again"
        }
    };
    tracing::error!(error = what, "the store cannot be opened: starting in safe mode");
    let why = format!("{what}; {fix}");
    // Awaited, it would be the original.
    if error.is_for_the_disk() && !on_copy {
        return Store::awaited(path, cache_bytes, &why, wrapping_key);
    }
    Store::unusable(path, &why, wrapping_key)
}

/// Keeps an entry's connection, also over a bug of its adapter.
async fn supervise(entry: Arc<live::LiveEntry>, host: Arc<host::Bound>, stop: CancellationToken) {
    loop {
        let run = entry.channel.run(host.clone(), stop.clone());
        let ended = std::panic::AssertUnwindSafe(run).catch_unwind().await;
        if ended.is_ok() || stop.is_cancelled() {
            return;
        }
        entry.health.link(Some("the program failed in this channel; please report the log".to_owned()));
        tokio::select! {
            () = stop.cancelled() => return,
            () = tokio::time::sleep(RESTART_WAIT) => {}
        }
    }
}

/// Forgets old dedupe marks and who wrote a while ago, once an hour.
async fn prune_marks(gateway: Gateway) {
    let mut hourly = tokio::time::interval(Duration::from_secs(60 * 60));
    loop {
        tokio::select! {
            () = gateway.0.stop.cancelled() => return,
            _ = hourly.tick() => {}
        }
        gateway.sweep_rates();
        let (before, spare) = gateway.older_than(MARKS_KEPT_MS);
        while let Ok(true) = gateway.0.store.prune_marks(before, spare).await {}
        gateway.prune_access().await;
    }
}
