//! A program that replaces itself: the same protocol as that of the slots, with files in a directory in place of slots.
//!
//! `frontdesk` is what is started. A new one is written beside it as `frontdesk.new`, synced and read back; the one that runs
//! is copied to `frontdesk.previous`, synced and read back; one rename is the commit. At no moment is there no `frontdesk`, and
//! each is whole. What is under way is on the disk before it begins, with the digest of the new one: which of the two lies there
//! says how far it came.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::disk::{payload_of, remove_if_there, write_checked};
use super::record::{Outcome, Phase, Previous, Record, RecordFile};
use super::{Disk, Error, Event, Mode, Payload, Tried, Version, Why};
use crate::clock::Timestamp;

/// What an update that was cut off has to be done about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Pending {
    /// Nothing.
    None,
    /// The new program lies there and nobody looked whether it is healthy, or somebody did and it was not.
    Trial {
        /// Which.
        tried: Tried,
        /// Why it was to be taken back, if it was.
        unhealthy: Option<Why>,
        /// It was let at what is stored: it stays.
        is_opened: bool,
    },
}

/// Puts programs in place.
#[derive(Debug)]
pub struct Program<'a> {
    disk: &'a dyn Disk,
    path: PathBuf,
    running: Version,
    store_format: u64,
    file: RecordFile<'a>,
}

impl<'a> Program<'a> {
    /// `path` is the program that is started, `running` its version when this began, `store_format` the format of what that
    /// one stores, `record` a file on a disk that replaces files in one step, as the one that has `path` must.
    #[must_use]
    pub fn new(disk: &'a dyn Disk, path: &Path, running: Version, store_format: u64, record: &Path) -> Self {
        Self { disk, path: path.to_owned(), running, store_format, file: RecordFile::new(disk, record) }
    }

    /// What is started.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Where the new one is until it is started.
    #[must_use]
    pub fn new_path(&self) -> PathBuf {
        self.beside("new")
    }

    fn previous_path(&self) -> PathBuf {
        self.beside("previous")
    }

    fn beside(&self, end: &str) -> PathBuf {
        let mut name = self.path.file_name().unwrap_or_default().to_owned();
        name.push(".");
        name.push(end);
        self.path.with_file_name(name)
    }

    /// Before anything else, and at every start: finds out how an update that was under way went, and tidies up.
    ///
    /// # Errors
    /// When a disk fails; then nothing is decided, and it may be called again.
    pub fn recover(&self, now: Timestamp) -> Result<Pending, Error> {
        let mut record = self.file.load()?;
        if record.path.as_ref().is_some_and(|path| *path != self.path) {
            return Ok(Pending::None);
        }
        let is_new = |record: &Record| -> Result<bool, Error> {
            let there = payload_of(self.disk, &self.path)?.map(|payload| payload.sha256.to_string());
            Ok(record.program.is_some() && there == record.program)
        };
        let event = match record.phase {
            Phase::Idle => {
                self.tidy()?;
                return Ok(Pending::None);
            }
            Phase::Writing { to, .. } => Event::Interrupted { to },
            Phase::GoingBack { from, to } if is_new(&record)? => Event::WentBack { from, to },
            Phase::GoingBack { to, .. } => Event::Interrupted { to },
            Phase::Trial { from, to, .. } if is_new(&record)? => {
                let tried = Tried { from: Some(from), to, on_copy: record.is_on_copy() };
                let (unhealthy, is_opened) = (record.unhealthy, record.is_opened);
                return Ok(Pending::Trial { tried, unhealthy, is_opened });
            }
            // It was taken back, or it never was put in place.
            Phase::Trial { from, to, .. } => match record.unhealthy.take() {
                Some(why) => Event::FellBack { from, to, why },
                None => Event::Interrupted { to },
            },
        };
        record.end(now, event);
        self.file.save(&record)?;
        self.tidy()?;
        Ok(Pending::None)
    }

    fn tidy(&self) -> Result<(), Error> {
        remove_if_there(self.disk, &self.new_path())?;
        remove_if_there(self.disk, &self.beside("copy"))
    }

    /// Writes a new program beside the one that is started, so that it can be tried whether it runs here at all.
    ///
    /// # Errors
    /// When it is not newer, not what `payload` names, or a disk fails. Nothing has changed then.
    pub fn prepare(
        &self,
        now: Timestamp,
        to: Version,
        store_format: u64,
        payload: &Payload,
        program: &mut dyn Read,
    ) -> Result<(), Error> {
        let from = self.running;
        if to <= from {
            return Err(Error::NotNewer { offered: to, running: from });
        }
        let mut record = self.file.load()?;
        record.begin(Phase::Writing { from, to }, (self.store_format, store_format));
        (record.program, record.path) = (Some(payload.sha256.to_string()), Some(self.path.clone()));
        self.file.save(&record)?;
        let new = self.new_path();
        let written = remove_if_there(self.disk, &new)
            .and_then(|()| write_checked(self.disk, &new, Mode::Program, payload, "program", program))
            .and_then(|()| self.sync());
        written.inspect_err(|error| self.refuse(now, Why::from(error)))
    }

    /// What was prepared is not put in place after all, and why.
    pub fn refuse(&self, now: Timestamp, why: Why) {
        let noted = self.file.load().and_then(|mut record| {
            if let Phase::Writing { to, .. } = record.phase {
                record.end(now, Event::NotInstalled { to, why });
                self.file.save(&record)?;
            }
            self.tidy()
        });
        // Without it the next start says that the update was cut off, which is not wrong.
        if let Err(error) = noted {
            tracing::warn!(%error, "cannot note how the update went");
        }
    }

    /// Puts what was prepared in place of the program that is started, which is kept beside it. Whoever calls restarts the
    /// gateway then, and looks whether it is healthy.
    ///
    /// # Errors
    /// When a disk fails. Until the last step nothing has changed; [`Self::recover`] knows how far it came.
    pub fn swap(&self) -> Result<(), Error> {
        let mut record = self.file.load()?;
        let Phase::Writing { from, to } = record.phase else { return Err(Error::NoPrevious) };
        self.copy(&self.path, &self.previous_path())?;
        record.phase = Phase::Trial { from, to, restarts: 0 };
        self.file.save(&record)?;
        self.replace(&self.new_path(), &self.path)
    }

    /// What is tried is healthy on a copy, and may work on what is stored from now on. There is no way back by itself then.
    ///
    /// # Errors
    /// When a disk fails.
    pub fn open(&self) -> Result<(), Error> {
        let mut record = self.file.load()?;
        record.is_opened = true;
        self.file.save(&record)
    }

    /// What is tried is healthy: it stays.
    ///
    /// # Errors
    /// When a disk fails; then it is still tried.
    pub fn confirm(&self, now: Timestamp) -> Result<(), Error> {
        let mut record = self.file.load()?;
        if let Phase::Trial { from, to, .. } = record.phase {
            record.end(now, Event::Installed { from, to });
            self.file.save(&record)?;
        }
        Ok(())
    }

    /// What is tried is not healthy: puts the old one back. Whoever calls restarts the gateway then.
    ///
    /// # Errors
    /// When a disk fails; it may be called again.
    pub fn fall_back(&self, now: Timestamp, why: Why) -> Result<(), Error> {
        let mut record = self.file.load()?;
        let Phase::Trial { from, to, .. } = record.phase else { return Ok(()) };
        if record.is_opened {
            return Err(Error::StoreMovedOn(from));
        }
        if record.unhealthy.is_none() {
            record.unhealthy = Some(why.clone());
            self.file.save(&record)?;
        }
        self.copy(&self.previous_path(), &self.path)?;
        let why = record.unhealthy.take().unwrap_or(why);
        record.end(now, Event::FellBack { from, to, why });
        self.file.save(&record)
    }

    /// What could be brought back by hand; `None`: nothing.
    ///
    /// # Errors
    /// When a disk cannot be read.
    pub fn previous(&self) -> Result<Option<Previous>, Error> {
        let Some(previous) = self.file.load()?.previous else { return Ok(None) };
        let is_there = payload_of(self.disk, &self.previous_path())?.is_some();
        Ok(is_there.then_some(previous))
    }

    /// Puts the previous program back, because somebody wants it. Whoever calls restarts the gateway then.
    ///
    /// # Errors
    /// [`Error::NoPrevious`], [`Error::StoreMovedOn`]; when a disk fails.
    pub fn go_back(&self, now: Timestamp) -> Result<Version, Error> {
        let mut record = self.file.load()?;
        let previous = self.previous()?.ok_or(Error::NoPrevious)?;
        let (from, to) = (self.running, previous.version);
        if previous.store_format < self.store_format {
            return Err(Error::StoreMovedOn(to));
        }
        let there = payload_of(self.disk, &self.previous_path())?.ok_or(Error::NoPrevious)?;
        record.begin(Phase::GoingBack { from, to }, record.formats);
        record.program = Some(there.sha256.to_string());
        self.file.save(&record)?;
        self.copy(&self.previous_path(), &self.path)?;
        record.end(now, Event::WentBack { from, to });
        self.file.save(&record)?;
        Ok(to)
    }

    /// What was tried and did not work, or was not wanted.
    ///
    /// # Errors
    /// When a disk cannot be read.
    pub fn given_up(&self) -> Result<Option<Version>, Error> {
        Ok(self.file.load()?.given_up)
    }

    /// How the last update ended.
    ///
    /// # Errors
    /// When a disk cannot be read.
    pub fn last(&self) -> Result<Option<Outcome>, Error> {
        Ok(self.file.load()?.last)
    }

    /// Whole and read back under its name, or not at all.
    fn copy(&self, from: &Path, to: &Path) -> Result<(), Error> {
        let payload = payload_of(self.disk, from)?.ok_or(Error::NoPrevious)?;
        let mut program = self.disk.read(from).map_err(Error::disk("read", from))?;
        let beside = self.beside("copy");
        write_checked(self.disk, &beside, Mode::Program, &payload, "program", &mut *program)?;
        self.replace(&beside, to)
    }

    fn replace(&self, from: &Path, to: &Path) -> Result<(), Error> {
        self.disk.replace(from, to).map_err(Error::disk("put in place", to))?;
        self.sync()
    }

    fn sync(&self) -> Result<(), Error> {
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        self.disk.sync_directory(directory).map_err(Error::disk("write", directory))
    }
}
