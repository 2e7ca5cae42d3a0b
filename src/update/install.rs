//! The protocol, a step at a time. What is under way is on the disk before it begins, so that whoever starts after a
//! power cut knows; where that and the boot loader differ, the loader is right.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::boot::TRIES;
use super::disk::write_checked;
use super::record::{Phase, Previous, Record, RecordFile};
use super::{Boot, Cause, Disk, Error, Event, Mode, Sha256, Status, Version, Why};
use crate::clock::Timestamp;

/// A file of a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Payload {
    /// Exactly so many.
    pub bytes: u64,
    /// Of all of them.
    pub sha256: Sha256,
}

/// The two files of a release, for either slot.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Release {
    /// Which.
    pub version: Version,
    /// Kernel, first programs and command line in one file.
    pub kernel: Payload,
    /// The file system with its hash tree.
    pub root: Payload,
    /// The format of what it stores.
    pub store_format: u64,
}

/// What is being tried, or waits to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Tried {
    /// What ran before; `None`: the note of it was lost.
    pub from: Option<Version>,
    /// What is tried.
    pub to: Version,
    /// Must it work on a copy of what is stored?
    pub on_copy: bool,
}

/// What is to be done after a start.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// Nothing: what runs is confirmed.
    Nothing,
    /// What runs is tried: look whether it is healthy, then [`Installer::confirm`] or [`Installer::give_up`].
    CheckHealth,
    /// A new version waits to be started, when it suits.
    Restart,
}

/// Puts releases in place.
#[derive(Debug)]
pub struct Installer<'a> {
    boot: &'a dyn Boot,
    disk: &'a dyn Disk,
    idle_root: PathBuf,
    file: RecordFile<'a>,
    store_format: u64,
}

impl<'a> Installer<'a> {
    /// `idle_root` is the partition of the slot that does not run, `record` a file on the data partition, `store_format` the
    /// format of what the version that runs stores.
    #[must_use]
    pub fn new(boot: &'a dyn Boot, disk: &'a dyn Disk, idle_root: &Path, record: &Path, store_format: u64) -> Self {
        Self { boot, disk, idle_root: idle_root.to_owned(), file: RecordFile::new(disk, record), store_format }
    }

    /// At every start, before anything else: tidies up, and finds out how an update that was under way went.
    ///
    /// # Errors
    /// When a disk fails; then nothing is decided, and it may be called again.
    pub fn start(&self, now: Timestamp) -> Result<Next, Error> {
        self.boot.clean()?;
        let state = self.boot.state()?;
        let mut record = self.file.load()?;
        let (from, to, restarts) = match record.phase {
            // The note is lost. What waits is waited for as if it had just been put in place.
            Phase::Idle => match state.trial {
                None => return Ok(Next::Nothing),
                Some(trial) if trial.version == state.running => return Ok(Next::CheckHealth),
                Some(trial) => (state.running, trial.version, 0),
            },
            Phase::Writing { from, to } => (from, to, 0),
            Phase::Trial { from, to, restarts } => (from, to, restarts),
            Phase::GoingBack { from, to } => {
                let event = if state.running == to { Event::WentBack { from, to } } else { Event::Interrupted { to } };
                record.end(now, event);
                self.file.save(&record)?;
                return Ok(Next::Nothing);
            }
        };
        let trial = state.trial.map(|trial| trial.version);
        let next = if state.running == to && trial == Some(to) {
            record.phase = Phase::Trial { from, to, restarts };
            Next::CheckHealth
        } else if state.running == to {
            record.end(now, Event::Installed { from, to });
            Next::Nothing
        } else if trial == Some(to) && restarts < TRIES {
            record.phase = Phase::Trial { from, to, restarts: restarts + 1 };
            Next::Restart
        } else if trial == Some(to) {
            // It would be waited for without end.
            self.boot.clear_idle()?;
            record.end(now, Event::FellBack { from, to, why: Why::of(Cause::NotLoaded) });
            Next::Nothing
        } else if state.failed == Some(to) {
            let why = record.unhealthy.take().unwrap_or_else(|| Why::of(Cause::DidNotStart));
            record.end(now, Event::FellBack { from, to, why });
            Next::Nothing
        } else {
            record.end(now, Event::Interrupted { to });
            Next::Nothing
        };
        self.file.save(&record)?;
        Ok(next)
    }

    /// Writes a release into the slot that does not run and has it tried at the next start. Whoever calls restarts then.
    ///
    /// # Errors
    /// When it is not newer than what runs, another is being tried, it is not what the release names, or a disk
    /// fails. What runs stays as it is.
    pub fn install(
        &self,
        now: Timestamp,
        release: &Release,
        kernel: &mut dyn Read,
        root: &mut dyn Read,
    ) -> Result<(), Error> {
        let (from, to) = (self.boot.running(), release.version);
        if to <= from {
            return Err(Error::NotNewer { offered: to, running: from });
        }
        if let Some(trial) = self.boot.state()?.trial {
            return Err(Error::TrialPending(trial.version));
        }
        let mut record = self.file.load()?;
        record.begin(Phase::Writing { from, to }, (self.store_format, release.store_format));
        record.previous = None;
        self.file.save(&record)?;
        match self.put_in_place(release, kernel, root) {
            Ok(()) => {
                record.phase = Phase::Trial { from, to, restarts: 0 };
                // The loader knows already; a record that says less is completed at the next start.
                self.file.save(&record)
            }
            Err(error) => {
                record.end(now, Event::NotInstalled { to, why: Why::from(&error) });
                self.save_if_possible(&record);
                Err(error)
            }
        }
    }

    fn put_in_place(&self, release: &Release, kernel: &mut dyn Read, root: &mut dyn Read) -> Result<(), Error> {
        self.boot.clear_idle()?;
        write_checked(self.disk, &self.idle_root, Mode::InPlace, &release.root, "root", root)?;
        self.boot.stage(release.version, &release.kernel, kernel)
    }

    /// Without it the next start says that the update was cut off, which is not wrong.
    fn save_if_possible(&self, record: &Record) {
        if let Err(error) = self.file.save(record) {
            tracing::warn!(%error, "cannot note how the update went");
        }
    }

    /// What is tried is healthy: it stays.
    ///
    /// # Errors
    /// When a disk fails; then it is still tried.
    pub fn confirm(&self, now: Timestamp) -> Result<(), Error> {
        self.boot.commit_running()?;
        let mut record = self.file.load()?;
        if let Phase::Writing { from, to } | Phase::Trial { from, to, .. } = record.phase
            && to == self.boot.running()
        {
            record.end(now, Event::Installed { from, to });
            self.file.save(&record)?;
        }
        Ok(())
    }

    /// What runs is not healthy, and why. While it is tried, the answer is to
    /// restart: when its tries are used up, the old version runs. What is confirmed keeps running, so that somebody can look.
    ///
    /// # Errors
    /// When a disk fails; restart all the same.
    pub fn give_up(&self, why: Why) -> Result<Next, Error> {
        let running = self.boot.running();
        if self.boot.state()?.trial.is_none_or(|trial| trial.version != running) {
            return Ok(Next::Nothing);
        }
        let mut record = self.file.load()?;
        record.unhealthy = Some(why);
        self.save_if_possible(&record);
        self.boot.count_running()?;
        Ok(Next::Restart)
    }

    /// What is tried, or waits to be.
    ///
    /// # Errors
    /// When a disk cannot be read.
    pub fn tried(&self) -> Result<Option<Tried>, Error> {
        let (state, record) = (self.boot.state()?, self.file.load()?);
        let from = match record.phase {
            Phase::Trial { from, .. } | Phase::Writing { from, .. } => Some(from),
            Phase::Idle | Phase::GoingBack { .. } => None,
        };
        Ok(state.trial.map(|trial| Tried { from, to: trial.version, on_copy: record.is_on_copy() }))
    }

    /// What could be brought back by hand; `None`: nothing, or nobody knows what it can read.
    ///
    /// # Errors
    /// When a disk cannot be read.
    pub fn previous(&self) -> Result<Option<Previous>, Error> {
        let (there, previous) = (self.boot.previous()?, self.file.load()?.previous);
        Ok(previous.filter(|previous| there == Some(previous.version)))
    }

    /// What was tried and did not work, or was not wanted.
    ///
    /// # Errors
    /// When a disk cannot be read.
    pub fn given_up(&self) -> Result<Option<Version>, Error> {
        Ok(self.file.load()?.given_up)
    }

    /// Has the previous version started from now on. Whoever calls restarts then.
    ///
    /// # Errors
    /// [`Error::NoPrevious`], [`Error::StoreMovedOn`], [`Error::TrialPending`]; when a disk fails.
    pub fn go_back(&self) -> Result<Version, Error> {
        if let Some(trial) = self.boot.state()?.trial {
            return Err(Error::TrialPending(trial.version));
        }
        let previous = self.previous()?.ok_or(Error::NoPrevious)?;
        let (from, to) = (self.boot.running(), previous.version);
        if previous.store_format < self.store_format {
            return Err(Error::StoreMovedOn(to));
        }
        let mut record = self.file.load()?;
        record.phase = Phase::GoingBack { from, to };
        self.file.save(&record)?;
        self.boot.go_back()?;
        Ok(to)
    }

    /// What is under way and how the last update went.
    ///
    /// # Errors
    /// When a disk cannot be read.
    pub fn status(&self) -> Result<Status, Error> {
        Ok(Status { boot: self.boot.state()?, last: self.file.load()?.last })
    }
}
