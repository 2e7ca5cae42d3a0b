//! Makes backups while the gateway runs: by the clock, and when somebody orders one.
//!
//! A backup reads a snapshot of the store, so it stops nothing and nobody waits for it. It counts when it has been read
//! back; only then older ones go, and those only where the clock puts them. How the last one went is kept in the home.

mod kept;

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{Context, SHA256};
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

pub use kept::{BackupKey, Checked, KeptBackup};

use super::Gateway;
use super::home;
use crate::backup::{
    Against, Client, Config, Destination, Due, Error, HomeFile, Id, IndexReader, IndexWriter, Made, Manifest, Name,
    Past, Progress, Schedule, SealWith, due, make, prune,
};
use crate::clock::Timestamp;
use crate::document::{MAX_BYTES, Secret, read_at_most, sync_directory, write_whole};

/// How often the clock is looked at.
const LOOK: Duration = Duration::from_secs(60);
/// How the last one went.
const STATE: &str = "backup.json";
/// What the last full one held.
const INDEX: &str = "backup.index";
const MAX_STATE_BYTES: usize = 64 * 1024;

/// What somebody wants.
#[derive(Debug, Default)]
pub struct BackupOrder {
    /// A file, a directory or `s3://bucket/prefix`; `None`: where the configuration says.
    pub to: Option<String>,
    /// Only what has changed since the last full one.
    pub is_incremental: bool,
    /// Instead of what the configuration says.
    pub passphrase: Option<Secret>,
}

/// Why there is no backup.
#[derive(Debug, thiserror::Error)]
pub enum BackupError {
    /// One at a time.
    #[error("a backup is being made; wait until it is there")]
    Running,
    /// The order cannot be obeyed.
    #[error("{0}")]
    Order(&'static str),
    /// Whoever tries passphrases waits.
    #[error("too many passphrases were tried; try again in {} seconds", .retry_after.as_secs().max(1))]
    TooMany {
        /// When the next one may be tried.
        retry_after: Duration,
    },
    /// It was not made.
    #[error(transparent)]
    Backup(#[from] Error),
}

/// What was made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackedUp {
    /// Where it is.
    pub place: String,
    /// Does it need the full one before it?
    pub is_incremental: bool,
    /// Bytes of it.
    pub n_bytes: u64,
    /// Rows of the store.
    pub n_rows: u64,
    /// Rows that are in it, or are said in it to be gone.
    pub n_written: u64,
    /// Files of the home in it.
    pub n_files: u64,
    /// Older ones that went.
    pub removed: Vec<String>,
}

/// A backup that is being made. It goes on also when nobody waits.
#[derive(Debug)]
pub struct RunningBackup {
    /// How far it is.
    pub progress: Arc<Progress>,
    /// How it ended.
    pub outcome: oneshot::Receiver<Result<BackedUp, BackupError>>,
}

/// How backups go.
#[derive(Debug, Clone, Default)]
pub struct BackupStatus {
    /// When they are made by the clock; `None`: only on order.
    pub schedule: Option<Schedule>,
    /// What clocks show where the box is, if that has a name.
    pub time_zone: Option<String>,
    /// Where the configuration puts them.
    pub to: Option<String>,
    /// Is one being made?
    pub is_running: bool,
    /// When the next one is due.
    pub due: Option<Due>,
    /// The last good one.
    pub last: Option<Last>,
    /// The last one that was not made, if none was made since.
    pub failed: Option<Failed>,
    /// Do they lie on the disk that they should replace?
    pub is_beside_store: bool,
    /// Of the one that is being made: rows that were looked at, bytes that were written.
    pub progress: Option<(u64, u64)>,
    /// Is one being read to the end?
    pub is_checking: bool,
    /// What they are sealed with.
    pub key: BackupKey,
}

impl BackupStatus {
    pub(super) fn warnings(&self, now: Timestamp) -> Vec<String> {
        let mut warnings = Vec::new();
        if let Some(Failed { reason, at_ms }) = &self.failed {
            let ago = now.since_ms(Timestamp(*at_ms)) / 60_000;
            warnings.push(format!("the last backup failed {ago} minutes ago: {reason}"));
        }
        if self.due.is_some_and(|due| due.is_late) {
            warnings.push("no backup was made for more than twice its time; try `backup create`".to_owned());
        }
        if self.is_beside_store && self.schedule.is_some() {
            warnings.push(
                "backups lie on the same disk as the store; a dead disk takes both: set backup.to to another one"
                    .to_owned(),
            );
        }
        warnings
    }
}

/// A good one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Last {
    /// When it was begun, in milliseconds since 1970.
    pub at_ms: u64,
    /// What it is called.
    pub name: String,
    /// Bytes of it.
    pub n_bytes: u64,
    /// Rows of the store.
    pub n_rows: u64,
    /// Does it need the full one before it?
    pub is_incremental: bool,
}

/// One that was not made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failed {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Why.
    pub reason: String,
}

/// What is kept in the home, of backups to the place that the configuration names.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct State {
    last: Option<Last>,
    failed: Option<Failed>,
    base: Option<Base>,
    #[serde(default)]
    looks: kept::Looks,
}

/// The full one that an incremental one would complete.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Base {
    id: Id,
    /// Where it is.
    to: String,
    /// Incremental ones since.
    n_since: u64,
}

/// The backups of a gateway.
#[derive(Debug)]
pub(super) struct Backups {
    home: PathBuf,
    is_running: Arc<AtomicBool>,
    is_checking: Arc<AtomicBool>,
    /// Of the one that is being made.
    progress: Mutex<Option<Arc<Progress>>>,
    /// Erasures since the start.
    n_erased: AtomicU64,
    state: Mutex<State>,
}

impl Backups {
    pub(super) fn of(home: &Path) -> Self {
        let state = read_at_most(&home.join(STATE), MAX_STATE_BYTES).ok();
        // What cannot be read is as good as none: the next one is a full one, and soon.
        let state = state.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default();
        Self {
            home: home.to_owned(),
            is_running: Arc::default(),
            is_checking: Arc::default(),
            progress: Mutex::default(),
            n_erased: AtomicU64::new(0),
            state: Mutex::new(state),
        }
    }

    fn watch(&self, progress: Option<Arc<Progress>>) {
        *self.progress.lock().unwrap_or_else(PoisonError::into_inner) = progress;
    }

    fn state(&self) -> State {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// The index names every conversation, so it goes when one is erased. The next backup is a full one.
    pub(super) fn forget_index(&self) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        self.n_erased.fetch_add(1, Ordering::Relaxed);
        state.base = None;
        drop(state);
        // Also one that is being written, or was when the power went.
        for path in [self.home.join(INDEX), self.home.join(format!("{INDEX}.new"))] {
            match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    let path = path.display();
                    tracing::error!(%error, "the keys of an erased conversation are still in {path}; remove it");
                }
                _ => {}
            }
        }
    }

    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut state);
        let bytes = serde_json::to_vec(&*state).unwrap_or_default();
        if let Err(error) = write_whole(&self.home.join(STATE), &bytes, 0o600) {
            tracing::warn!(%error, "how the last backup went could not be kept; after a restart nobody knows");
        }
    }
}

/// The one that is being made.
struct Running(Arc<AtomicBool>);

impl Running {
    /// `None`: one is being made already.
    fn begin(is_running: &Arc<AtomicBool>) -> Option<Self> {
        (!is_running.swap(true, Ordering::Relaxed)).then(|| Self(is_running.clone()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// One that is decided on.
struct Job {
    destination: Destination,
    /// As the configuration says it, if this is where it says.
    regular: Option<String>,
    /// Of a file that somebody named.
    name: Option<String>,
    key: SealWith,
    wanted: Wanted,
    config: Config,
    storage_path: Option<String>,
    /// Files that the configuration names.
    named: Vec<String>,
    at: Timestamp,
}

/// Full or incremental?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wanted {
    Full,
    Incremental,
    /// As `full_every` says, and as it can be.
    ByCount,
}

impl Gateway {
    /// Begins one.
    ///
    /// # Errors
    /// [`BackupError`]; nothing was begun.
    pub fn back_up(&self, order: BackupOrder) -> Result<RunningBackup, BackupError> {
        let wanted = if order.is_incremental { Wanted::Incremental } else { Wanted::Full };
        self.begin(order, wanted)
    }

    fn begin(&self, order: BackupOrder, wanted: Wanted) -> Result<RunningBackup, BackupError> {
        let running = Running::begin(&self.0.backups.is_running).ok_or(BackupError::Running)?;
        let job = self.job(order, wanted)?;
        let progress = Arc::new(Progress::default());
        self.0.backups.watch(Some(progress.clone()));
        let (done, outcome) = oneshot::channel();
        let (gateway, watched) = (self.clone(), progress.clone());
        self.spawn(async move {
            let (working, stop) = (gateway.clone(), gateway.0.stop.clone());
            let at = job.at;
            let is_regular = job.regular.is_some();
            let mut work = tokio::task::spawn_blocking({
                let progress = watched.clone();
                move || working.make_backup(job, &progress, running)
            });
            let made = tokio::select! {
                made = &mut work => made,
                () = stop.cancelled() => {
                    watched.is_stopped.store(true, Ordering::Relaxed);
                    work.await
                }
            };
            let made = made.unwrap_or(Err(Error::Stopped)).map_err(BackupError::from);
            gateway.0.backups.watch(None);
            gateway.note_backup(at, is_regular, &made);
            // Whoever ordered it may be gone.
            drop(done.send(made));
        });
        Ok(RunningBackup { progress, outcome })
    }

    /// How backups go.
    #[must_use]
    pub fn backup_status(&self) -> BackupStatus {
        let config = self.0.live.load().settings.backup.clone();
        let State { last, failed, looks, .. } = self.0.backups.state();
        let progress = self.0.backups.progress.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let said = |n: &AtomicU64| n.load(Ordering::Relaxed);
        let past = Past {
            last_good: last.as_ref().map(|last| Timestamp(last.at_ms)),
            failed: failed.as_ref().map(|failed| Timestamp(failed.at_ms)),
        };
        let (schedule, zone) = (config.schedule, time_zone());
        let directory = config.to.as_ref().filter(|to| !to.starts_with("s3://")).map(|to| self.home().join(to));
        let device = |path: &Path| fs::metadata(path).ok().map(|data| data.dev());
        let beside = directory.and_then(|directory| device(&directory)).zip(device(&self.0.store_file));
        BackupStatus {
            schedule,
            time_zone: zone.iana_name().map(str::to_owned),
            to: config.to,
            is_running: self.0.backups.is_running.load(Ordering::Relaxed),
            due: schedule.map(|schedule| due(past, schedule, &zone, self.0.started_at, self.now())),
            last,
            failed,
            is_beside_store: beside.is_some_and(|(one, other)| one == other),
            progress: progress.map(|progress| (said(&progress.n_rows), said(&progress.n_bytes))),
            is_checking: self.is_checking_backup(),
            key: self.backup_key(&looks),
        }
    }

    /// Makes one whenever one is due.
    pub(super) async fn back_up_by_the_clock(self) {
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = self.0.stop.cancelled() => return,
                _ = look.tick() => {}
            }
            if self.backup_status().due.is_none_or(|due| due.at > self.now()) {
                continue;
            }
            match self.begin(BackupOrder::default(), Wanted::ByCount) {
                Ok(running) => drop(running.outcome.await),
                // Somebody ordered one at this moment.
                Err(BackupError::Running) => {}
                Err(error) => self.note_backup(self.now(), true, &Err(error)),
            }
        }
    }

    fn note_backup(&self, at: Timestamp, is_regular: bool, made: &Result<BackedUp, BackupError>) {
        match made {
            Ok(made) => {
                let (place, n_bytes, n_rows) = (&made.place, made.n_bytes, made.n_rows);
                tracing::info!(place, n_bytes, n_rows, is_incremental = made.is_incremental, "a backup was made");
            }
            Err(error) => {
                tracing::error!(%error, "a backup was not made");
                // An order that cannot be obeyed is no failure of what is made by the clock.
                let is_order = matches!(error, BackupError::Backup(Error::NoBase));
                if is_regular && !is_order && !self.0.stop.is_cancelled() {
                    let reason = error.to_string();
                    self.0.backups.change(|state| state.failed = Some(Failed { at_ms: at.0, reason }));
                }
            }
        }
    }

    fn job(&self, order: BackupOrder, wanted: Wanted) -> Result<Job, BackupError> {
        let live = self.0.live.load();
        let config = live.settings.backup.clone();
        let client = Client::new(self.0.http.clone(), Handle::current());
        let key = order.passphrase.map(SealWith::passphrase).transpose()?;
        let key = key.or_else(|| config.key.clone()).ok_or(Error::NoKey)?;
        let (destination, regular, name) = match &order.to {
            None => {
                let to = config.to.clone().ok_or(BackupError::Order(
                    "where it should go is not known; name a place with --to, or set backup.to",
                ))?;
                let destination = config.destination(self.home(), &client)?;
                (destination, Some(to), None)
            }
            Some(to) => {
                if wanted == Wanted::Incremental {
                    return Err(BackupError::Order(
                        "an incremental backup goes where its full one is, to backup.to; leave --to out",
                    ));
                }
                let (to, name) = split(to);
                (Some(Destination::parse(&to, self.home(), config.s3.as_ref(), &client)?), None, name)
            }
        };
        let destination = destination.ok_or(BackupError::Order("where it should go is not known; set backup.to"))?;
        let storage_path = home::storage_path(&live.settings.session).map(str::to_owned);
        let named = live.settings.agents.iter().flat_map(|agent| agent.paths(self.home())).collect();
        Ok(Job { destination, regular, name, key, wanted, config, storage_path, named, at: self.now() })
    }

    /// What the backups of this box have in their names.
    fn backup_device(&self) -> String {
        self.0.home.key_for("backups").iter().take(4).map(|byte| format!("{byte:02x}")).collect()
    }

    /// Waits for disks and buckets, so it runs where waiting is allowed.
    fn make_backup(&self, job: Job, progress: &Progress, _running: Running) -> Result<BackedUp, Error> {
        let Job { destination, regular, name, key, wanted, config, storage_path, named, at } = job;
        let home = self.home();
        let device = self.backup_device();
        destination.remove_unfinished(&device)?;
        let index_key = self.0.home.key_for("index of a backup");
        let base = match (wanted, &regular) {
            (Wanted::Full, _) | (_, None) => None,
            (Wanted::Incremental, Some(to)) => Some(self.base(to, u64::MAX, &destination, &index_key)?),
            (Wanted::ByCount, Some(to)) => match self.base(to, config.full_every, &destination, &index_key) {
                Ok(base) => Some(base),
                Err(Error::NoBase) => None,
                Err(error) => return Err(error),
            },
        };
        let id = Id::random()?;
        let base_id = base.as_ref().map(|base| base.id().clone());
        let new_index = home.join(format!("{INDEX}.new"));
        let is_noting = regular.is_some() && base.is_none() && config.full_every > 1;
        let against = match base {
            Some(index) => Against::Base(index),
            None if is_noting => note(&new_index, &id, &index_key),
            None => Against::Nothing,
        };
        let manifest = Manifest::new(id.clone(), base_id.clone(), at.0, storage_path);
        let name = name.unwrap_or_else(|| Name::new(&device, at, &id, base_id.as_ref()).to_string());
        let files = gather(home, &named, self.0.accounts.to_keep())?;
        let n_erased = self.0.backups.n_erased.load(Ordering::Relaxed);
        let snapshot = self.0.store.snapshot()?;
        let sink = destination.create(&name)?;
        let (sink, made) = make(sink, &key, &manifest, &files, &snapshot, against, progress)?;
        drop(snapshot);
        sink.finish()?;
        read_back(&destination, &name, &made)?;
        let mut removed = Vec::new();
        if let Some(to) = regular {
            let last = Last {
                at_ms: at.0,
                name: name.clone(),
                n_bytes: made.n_bytes,
                n_rows: made.n_rows,
                is_incremental: base_id.is_some(),
            };
            let base = Base { id, to, n_since: 0 };
            self.keep(last, made.is_noted.then_some((base, &*new_index)), n_erased);
            removed = self.remove_old(&destination, &name, config.keep);
        }
        Ok(BackedUp {
            place: destination.show(&name),
            is_incremental: base_id.is_some(),
            n_bytes: made.n_bytes,
            n_rows: made.n_rows,
            n_written: made.n_written,
            n_files: made.n_files,
            removed,
        })
    }

    /// The index to compare with, when the full one is where this one goes and it is not time for the next full one.
    fn base(&self, to: &str, full_every: u64, destination: &Destination, key: &[u8; 32]) -> Result<IndexReader, Error> {
        let base = self.0.backups.state().base.filter(|base| base.to == to);
        let base = base.filter(|base| base.n_since.saturating_add(1) < full_every).ok_or(Error::NoBase)?;
        if !destination.list()?.iter().any(|name| name.base.is_none() && name.id == base.id.short()) {
            return Err(Error::NoBase);
        }
        let index = File::open(self.home().join(INDEX)).map_err(|_error| Error::NoBase)?;
        let index = IndexReader::new(Box::new(index), key)?;
        if *index.id() == base.id { Ok(index) } else { Err(Error::NoBase) }
    }

    /// `noted` is what a full one would be completed from, and its index. It is dropped if something was erased since
    /// there were `n_erased` erasures.
    fn keep(&self, last: Last, noted: Option<(Base, &Path)>, n_erased: u64) {
        let backups = &self.0.backups;
        backups.change(|state| {
            state.failed = None;
            let is_incremental = last.is_incremental;
            state.looks.note_made(&last.name, Timestamp(last.at_ms));
            state.last = Some(last);
            if is_incremental {
                state.base.iter_mut().for_each(|base| base.n_since += 1);
                return;
            }
            // Under the lock that an erasure takes before it removes the index.
            let is_of_now = backups.n_erased.load(Ordering::Relaxed) == n_erased;
            state.base = noted.and_then(|(base, new)| {
                let kept = if is_of_now { keep_index(new, &backups.home.join(INDEX)) } else { fs::remove_file(new) };
                kept.is_ok().then_some(base).filter(|_| is_of_now)
            });
        });
    }

    /// What cannot be removed is no reason to call the new one bad.
    fn remove_old(&self, destination: &Destination, made: &str, keep: usize) -> Vec<String> {
        let Some(made) = Name::parse(made) else { return Vec::new() };
        let there = destination.list().unwrap_or_else(|error| {
            tracing::warn!(%error, "old backups were not removed");
            Vec::new()
        });
        let mut removed = Vec::new();
        for old in prune(&there, &made, keep) {
            match destination.remove(&old) {
                Ok(()) => removed.push(old.to_string()),
                Err(error) => tracing::warn!(%error, "an old backup was not removed"),
            }
        }
        removed
    }
}

/// The box's own: what `TZ` or /etc/localtime says, or else UTC.
fn time_zone() -> TimeZone {
    TimeZone::try_system().unwrap_or(TimeZone::UTC)
}

/// Directory and name, when a path names a file; a directory that is there, or a bucket, has none.
fn split(to: &str) -> (String, Option<String>) {
    if to.starts_with("s3://") || Path::new(to).is_dir() || to.ends_with('/') {
        return (to.to_owned(), None);
    }
    match to.rsplit_once('/') {
        Some(("", name)) => ("/".to_owned(), Some(name.to_owned())),
        Some((directory, name)) => (directory.to_owned(), Some(name.to_owned())),
        None => (".".to_owned(), Some(to.to_owned())),
    }
}

/// Notes what is in the backup, if the home's disk has room for it.
fn note(path: &Path, id: &Id, key: &[u8; 32]) -> Against {
    let noting = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(path);
    match noting.map_err(Error::from).and_then(|file| IndexWriter::new(Box::new(file), id, key)) {
        Ok(index) => Against::Noting(index),
        Err(error) => {
            tracing::warn!(%error, "the next backup will be a full one: what is in this one cannot be noted");
            Against::Nothing
        }
    }
}

fn keep_index(new: &Path, path: &Path) -> io::Result<()> {
    File::open(new)?.sync_all()?;
    fs::rename(new, path)?;
    path.parent().map_or(Ok(()), sync_directory)
}

/// Reads what is there now, all of it.
fn read_back(destination: &Destination, name: &str, made: &Made) -> Result<(), Error> {
    let mut input = destination.read(name)?;
    let (mut digest, mut buffer) = (Context::new(&SHA256), vec![0; 64 * 1024]);
    loop {
        let n = input.read(&mut buffer)?;
        if n == 0 {
            break;
        }
        digest.update(buffer.get(..n).unwrap_or_default());
    }
    if digest.finish().as_ref() == made.digest { Ok(()) } else { Err(Error::ReadBack) }
}

/// The configuration, its revisions, secrets, accounts, and the files that it names, wherever they lie. One that cannot be read is
/// an error: a backup without it would be found out when it is needed.
fn gather(home: &Path, named: &[String], accounts: Option<(&str, Vec<u8>)>) -> Result<Vec<HomeFile>, Error> {
    let mut paths: Vec<String> = names(home)?.into_iter().filter(|name| is_config(name)).collect();
    for directory in ["revisions", "secrets"] {
        paths.extend(names(&home.join(directory))?.into_iter().map(|name| format!("{directory}/{name}")));
    }
    for name in named {
        if !paths.contains(name) {
            paths.push(name.clone());
        }
    }
    let mut files = paths.into_iter().map(|path| read(home, path)).collect::<Result<Vec<_>, _>>()?;
    files.extend(accounts.map(|(name, bytes)| HomeFile { path: name.to_owned(), mode: 0o600, bytes }));
    Ok(files)
}

/// Is it the name of a configuration?
pub(super) fn is_config(name: &str) -> bool {
    matches!(name, "config.toml" | "config.yml" | "config.yaml")
}

/// Names of files in a directory, if it is there.
fn names(directory: &Path) -> Result<Vec<String>, Error> {
    let error = |source| Error::Disk { path: directory.display().to_string(), source };
    let entries = match fs::read_dir(directory) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(error)?,
    };
    let mut names = Vec::new();
    for entry in entries {
        let entry = entry.map_err(error)?;
        let is_file = fs::metadata(entry.path()).is_ok_and(|data| data.is_file());
        names.extend(entry.file_name().into_string().ok().filter(|_| is_file));
    }
    names.sort();
    Ok(names)
}

fn read(home: &Path, path: String) -> Result<HomeFile, Error> {
    let file = home.join(&path);
    let error = |source| Error::Disk { path: file.display().to_string(), source };
    let bytes = read_at_most(&file, MAX_BYTES + 1).map_err(error)?;
    if bytes.len() > MAX_BYTES {
        return Err(error(io::Error::other(format!("it is longer than {MAX_BYTES} bytes"))));
    }
    let mode = fs::metadata(&file).map_err(error)?.permissions().mode() & 0o777;
    Ok(HomeFile { path, mode, bytes })
}
