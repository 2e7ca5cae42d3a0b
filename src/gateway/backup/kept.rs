//! Backups that are there: listed, read to the end, taken out, and whether somebody could open them elsewhere.

use std::collections::BTreeMap;
use std::io::Read;
use std::num::NonZeroU32;

use aws_lc_rs::{constant_time, hmac};
use serde::{Deserialize, Serialize};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::Instant;

use super::super::Gateway;
use super::super::rates::Holder;
use super::{BackupError, Running};
use crate::backup::{Chain, Client, Destination, Error, Name, OpenWith, SealWith};
use crate::clock::Timestamp;
use crate::document::Secret;

/// Passphrases that may be tried in a minute.
const TRIES: NonZeroU32 = NonZeroU32::MIN.saturating_add(4);

/// A backup that is where the configuration puts them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeptBackup {
    /// What it is called.
    pub name: String,
    /// When it was made; `None`: its name tells no time that there is.
    pub at: Option<Timestamp>,
    /// Bytes of it.
    pub n_bytes: u64,
    /// The name of the full one that it needs; `None` of an incremental one whose full one is gone.
    pub needs: Option<String>,
    /// Does it need another one?
    pub is_incremental: bool,
    /// Did this box make it?
    pub is_own: bool,
    /// How the last look at it went.
    pub checked: Option<Checked>,
}

/// How a look at a backup went.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// Was it opened and read row by row? Otherwise it was compared with what had been written.
    pub is_opened: bool,
    /// What is wrong with it.
    pub problem: Option<String>,
}

/// What backups are sealed with, as far as that can be told.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum BackupKey {
    /// Nothing: none can be made.
    #[default]
    None,
    /// A passphrase.
    Passphrase {
        /// When somebody last typed it: then it is known to somebody beside this box.
        proven_at: Option<Timestamp>,
    },
    /// For those who have the identities; this box cannot open what it makes.
    Recipients,
}

/// What is kept of this in the home.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Looks {
    /// By name.
    #[serde(default)]
    pub(super) checked: BTreeMap<String, Checked>,
    #[serde(default)]
    proven: Option<Proven>,
}

/// Somebody has typed the passphrase.
#[derive(Debug, Clone, Serialize, Deserialize)]
struct Proven {
    at_ms: u64,
    /// Of that passphrase, with a key of this box.
    mark: String,
}

impl Looks {
    /// It was made, and read back.
    pub(super) fn note_made(&mut self, name: &str, at: Timestamp) {
        self.checked.insert(name.to_owned(), Checked { at_ms: at.0, is_opened: false, problem: None });
    }

    /// Of what is gone nothing is kept.
    fn forget_all_but(&mut self, names: &[Name]) {
        self.checked.retain(|known, _| names.iter().any(|name| name.to_string() == *known));
    }
}

impl Gateway {
    /// The backups where the configuration puts them, newest first. Asks a disk or a bucket: where waiting is allowed.
    ///
    /// # Errors
    /// [`BackupError::Order`] where it names no place, and those of the place.
    pub fn kept_backups(&self) -> Result<Vec<KeptBackup>, BackupError> {
        let destination = self.place_of_backups(&self.client_for_backups())?;
        let there = destination.list_sized()?;
        let own = self.backup_device();
        let looks = self.0.backups.state().looks;
        let full = |base: &str| there.iter().map(|(name, _)| name).find(|name| name.base.is_none() && name.id == *base);
        let kept = there.iter().map(|(name, n_bytes)| KeptBackup {
            name: name.to_string(),
            at: jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", &name.time)
                .ok()
                .and_then(|at| at.to_zoned(jiff::tz::TimeZone::UTC).ok())
                .and_then(|at| u64::try_from(at.timestamp().as_millisecond()).ok())
                .map(Timestamp),
            n_bytes: *n_bytes,
            needs: name.base.as_deref().and_then(full).map(ToString::to_string),
            is_incremental: name.base.is_some(),
            is_own: name.device == own,
            checked: looks.checked.get(&name.to_string()).cloned(),
        });
        let mut kept: Vec<KeptBackup> = kept.collect();
        kept.sort_by(|one, other| (other.at, &other.name).cmp(&(one.at, &one.name)));
        let names: Vec<Name> = there.into_iter().map(|(name, _)| name).collect();
        if looks.checked.keys().any(|known| !names.iter().any(|name| name.to_string() == *known)) {
            self.0.backups.change(|state| state.looks.forget_all_but(&names));
        }
        Ok(kept)
    }

    /// Reads one of them to its last byte, and the full one that it needs: every row as the store would. Goes on also when
    /// nobody waits.
    ///
    /// # Errors
    /// [`BackupError::Running`], [`BackupError::Order`]; nothing was begun.
    pub fn check_backup(&self, name: &str) -> Result<oneshot::Receiver<Result<Checked, BackupError>>, BackupError> {
        let name = Name::parse(name).ok_or(BackupError::Order("that is no name of a backup"))?;
        let key = match self.0.live.load().settings.backup.key.clone() {
            Some(SealWith::Passphrase(passphrase)) => OpenWith::Passphrase(passphrase),
            Some(SealWith::Recipients(_)) => {
                return Err(BackupError::Order(
                    "this box cannot open what it makes for recipients; use `frontdesk backup verify --identity FILE`",
                ));
            }
            None => return Err(Error::NoKey.into()),
        };
        let checking = Running::begin(&self.0.backups.is_checking).ok_or(BackupError::Running)?;
        let client = self.client_for_backups();
        let (done, outcome) = oneshot::channel();
        let gateway = self.clone();
        let stop = self.0.stop.clone();
        self.spawn(async move {
            let (working, shown) = (gateway.clone(), name.clone());
            let work = tokio::task::spawn_blocking(move || {
                let _one_at_a_time = checking;
                working.read_whole(&working.place_of_backups(&client)?, &name, &key)
            });
            let read = tokio::select! {
                read = work => read.unwrap_or(Err(Error::Stopped.into())),
                // It only reads: what is left of it ends with the process.
                () = stop.cancelled() => return,
            };
            let problem = match read {
                Ok(()) => None,
                Err(BackupError::Backup(error)) if is_its_fault(&error) => Some(error.to_string()),
                // The stick is not plugged in: that says nothing about the backup.
                Err(error) => {
                    tracing::warn!(%error, "a backup could not be read");
                    let _is_heard = done.send(Err(error));
                    return;
                }
            };
            let checked = Checked { at_ms: gateway.now().0, is_opened: true, problem };
            let kept = checked.clone();
            gateway.0.backups.change(|state| {
                state.looks.checked.insert(shown.to_string(), kept);
            });
            // Whoever asked may be gone.
            let _is_heard = done.send(Ok(checked));
        });
        Ok(outcome)
    }

    /// Is one being read?
    pub(super) fn is_checking_backup(&self) -> bool {
        self.0.backups.is_checking.load(std::sync::atomic::Ordering::Relaxed)
    }

    fn read_whole(&self, destination: &Destination, name: &Name, key: &OpenWith) -> Result<(), BackupError> {
        let this = destination.read(&name.to_string())?;
        let chain = match &name.base {
            None => Chain::open(this, None, key)?,
            Some(base) => {
                let there = destination.list()?;
                let full = there.iter().find(|full| full.base.is_none() && full.id == *base);
                let full = full.ok_or(Error::Chain("the full backup that it needs is gone"))?;
                Chain::open(destination.read(&full.to_string())?, Some(this), key)?
            }
        };
        chain.verify()?;
        Ok(())
    }

    /// One of them, as it is there: sealed. Asks a disk or a bucket: where waiting is allowed.
    ///
    /// # Errors
    /// [`BackupError::Order`] when it is no name of one, and those of the place.
    pub fn open_backup(&self, name: &str, client: &Client) -> Result<Box<dyn Read + Send>, BackupError> {
        let name = Name::parse(name).ok_or(BackupError::Order("that is no name of a backup"))?;
        Ok(self.place_of_backups(client)?.read(&name.to_string())?)
    }

    /// What sends to buckets; made where there is a runtime, for where waiting is allowed.
    #[must_use]
    pub fn client_for_backups(&self) -> Client {
        Client::new(self.0.http.clone(), Handle::current())
    }

    /// Somebody types the passphrase, to be sure that they have it. Returns whether it is that one.
    ///
    /// # Errors
    /// [`BackupError::TooMany`], [`BackupError::Order`].
    pub fn prove_passphrase(&self, given: &Secret) -> Result<bool, BackupError> {
        let Some(SealWith::Passphrase(passphrase)) = self.0.live.load().settings.backup.key.clone() else {
            return Err(BackupError::Order("backups are sealed with no passphrase"));
        };
        let tries = self.0.guesses.take(Holder::of(&[Some("/backup")]), TRIES, Instant::now());
        tries.map_err(|retry_after| BackupError::TooMany { retry_after })?;
        let (known, given) = (self.passphrase_mark(&passphrase), self.passphrase_mark(given));
        let is_it = constant_time::verify_slices_are_equal(known.as_bytes(), given.as_bytes()).is_ok();
        if is_it {
            let proven = Proven { at_ms: self.now().0, mark: known };
            self.0.backups.change(|state| state.looks.proven = Some(proven));
        }
        Ok(is_it)
    }

    /// What backups are sealed with.
    pub(super) fn backup_key(&self, looks: &Looks) -> BackupKey {
        match &self.0.live.load().settings.backup.key {
            None => BackupKey::None,
            Some(SealWith::Recipients(_)) => BackupKey::Recipients,
            Some(SealWith::Passphrase(passphrase)) => {
                let mark = self.passphrase_mark(passphrase);
                let proven = looks.proven.as_ref().filter(|proven| proven.mark == mark);
                BackupKey::Passphrase { proven_at: proven.map(|proven| Timestamp(proven.at_ms)) }
            }
        }
    }

    /// Tells two passphrases apart, and nothing to whoever has not this box.
    fn passphrase_mark(&self, passphrase: &Secret) -> String {
        let key = hmac::Key::new(hmac::HMAC_SHA256, &self.0.home.key_for("passphrase of backups"));
        let mark = hmac::sign(&key, passphrase.expose().as_bytes());
        mark.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn place_of_backups(&self, client: &Client) -> Result<Destination, BackupError> {
        let destination = self.0.live.load().settings.backup.destination(self.home(), client)?;
        destination.ok_or(BackupError::Order("where backups go is not known; set backup.to"))
    }
}

/// Is it the backup that is wrong, and not the way to it?
fn is_its_fault(error: &Error) -> bool {
    matches!(
        error,
        Error::Open(_) | Error::Empty | Error::NoBackup | Error::Damaged(_) | Error::TooNew(_) | Error::Chain(_)
    )
}
