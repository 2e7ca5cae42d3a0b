//! What is remembered of updates over restarts, and how it is told in one sentence.

use std::fmt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::disk::{Disk, Mode, read_small};
use super::{Error, State, Version, Why};
use crate::clock::Timestamp;

/// How far an update is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    /// None is under way.
    #[default]
    Idle,
    /// The other slot is written. It holds nothing that could be started.
    Writing { from: Version, to: Version },
    /// The loader was told to try the new one. We restarted so often for it and still run the old one.
    Trial { from: Version, to: Version, restarts: u8 },
    /// Somebody wants the previous one back. It has everything that it needs.
    GoingBack { from: Version, to: Version },
}

/// A version that ran before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Previous {
    /// Which.
    pub version: Version,
    /// The newest format of what is stored that it can read.
    pub store_format: u64,
}

/// How an update ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Event {
    /// It runs, and was healthy.
    Installed {
        /// What ran before.
        from: Version,
        /// What runs now.
        to: Version,
    },
    /// It was tried and given up by itself.
    FellBack {
        /// What runs again.
        from: Version,
        /// What was tried.
        to: Version,
        /// Why.
        why: Why,
    },
    /// The machine was cut off before it could be tried.
    Interrupted {
        /// What it should have become.
        to: Version,
    },
    /// It could not be put in place.
    NotInstalled {
        /// What it should have become.
        to: Version,
        /// Why.
        why: Why,
    },
    /// Somebody brought the previous version back.
    WentBack {
        /// What ran before.
        from: Version,
        /// What runs again.
        to: Version,
    },
    /// What a newer version calls it.
    Other {
        /// Its word.
        said: String,
    },
}

/// How the last update ended, and when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcome {
    /// When it was noticed, in milliseconds since 1970.
    pub at_ms: u64,
    /// How.
    pub event: Event,
}

/// The file.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) phase: Phase,
    /// Why the health check of the one that is tried was not content, the last time.
    #[serde(default)]
    pub(super) unhealthy: Option<Why>,
    pub(super) last: Option<Outcome>,
    /// Formats of what is stored: of the version that ran when the last update began, and of the one that it brings.
    #[serde(default)]
    pub(super) formats: (u64, u64),
    /// What ran before what is confirmed.
    #[serde(default)]
    pub(super) previous: Option<Previous>,
    /// What was tried and did not work, or was not wanted: it is not taken again by itself.
    #[serde(default)]
    pub(super) given_up: Option<Version>,
    /// It was healthy on a copy and was let at what is stored: there is no way back.
    #[serde(default)]
    pub(super) is_opened: bool,
    /// Of a program alone: the SHA-256 of the one that is put in place.
    #[serde(default)]
    pub(super) program: Option<String>,
    /// Of a program alone: where it lies. Another program that is started over the same home has no part in it.
    #[serde(default)]
    pub(super) path: Option<PathBuf>,
}

/// The file that keeps it, on a disk that replaces files in one step.
#[derive(Debug)]
pub(super) struct RecordFile<'a> {
    disk: &'a dyn Disk,
    path: PathBuf,
}

impl<'a> RecordFile<'a> {
    pub(super) fn new(disk: &'a dyn Disk, path: &Path) -> Self {
        Self { disk, path: path.to_owned() }
    }

    /// One that is not there or cannot be understood is none: the boot loader knows what matters.
    pub(super) fn load(&self) -> Result<Record, Error> {
        let bytes = read_small(self.disk, &self.path)?;
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    pub(super) fn save(&self, record: &Record) -> Result<(), Error> {
        let beside = self.path.with_extension("new");
        let directory = self.path.parent().unwrap_or(Path::new("/"));
        let saved = serde_json::to_vec(record).map_err(std::io::Error::from).and_then(|bytes| {
            let mut sink = self.disk.write(&beside, Mode::Anew)?;
            sink.write_all(&bytes)?;
            sink.sync()?;
            drop(sink);
            self.disk.replace(&beside, &self.path)?;
            self.disk.sync_directory(directory)
        });
        saved.map_err(Error::disk("write", &self.path))
    }
}

impl Record {
    /// Begins an update between versions whose stores have these formats.
    pub(super) fn begin(&mut self, phase: Phase, formats: (u64, u64)) {
        (self.phase, self.formats) = (phase, formats);
        (self.unhealthy, self.is_opened, self.program) = (None, false, None);
    }

    /// Must the version that is tried work on a copy of what is stored? Nobody knows it when the note was lost.
    pub(super) fn is_on_copy(&self) -> bool {
        !self.is_opened && (self.phase == Phase::Idle || self.formats.0 != self.formats.1)
    }

    pub(super) fn end(&mut self, now: Timestamp, event: Event) {
        match event {
            Event::Installed { from, .. } => {
                self.previous = Some(Previous { version: from, store_format: self.formats.0 });
                self.given_up = None;
            }
            Event::FellBack { to, .. } => self.given_up = Some(to),
            Event::WentBack { from, .. } => (self.previous, self.given_up) = (None, Some(from)),
            Event::NotInstalled { to, ref why } if why.is_of_the_release() => self.given_up = Some(to),
            Event::Interrupted { .. } | Event::NotInstalled { .. } | Event::Other { .. } => {}
        }
        self.phase = Phase::Idle;
        (self.unhealthy, self.is_opened, self.program) = (None, false, None);
        self.last = Some(Outcome { at_ms: now.0, event });
    }
}

/// What is under way and how the last update went. Prints as one sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// What the boot loader says.
    pub boot: State,
    /// How the last update ended, unless one is under way.
    pub last: Option<Outcome>,
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let running = self.boot.running;
        match (&self.boot.trial, &self.last) {
            (Some(trial), _) if trial.version == running => {
                write!(f, "Version {running} is being tried and is kept if it is healthy.")
            }
            (Some(trial), _) => {
                write!(
                    f,
                    "Version {running} runs; version {} is in place and starts at the next restart.",
                    trial.version
                )
            }
            (None, None) => write!(f, "Version {running} runs; no update was installed yet."),
            (None, Some(outcome)) => match &outcome.event {
                Event::Installed { .. } | Event::FellBack { .. } | Event::WentBack { .. } => write!(f, "{outcome}"),
                _ => write!(f, "Version {running} runs. {outcome}"),
            },
        }
    }
}

impl fmt::Display for Outcome {
    /// One sentence.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = Timestamp(self.at_ms);
        match &self.event {
            Event::Installed { from, to } => write!(f, "Version {to} runs since {at}, updated from {from}."),
            Event::FellBack { from, to, why } => {
                write!(f, "Version {from} runs: {to} was tried and given up at {at} because {why}.")
            }
            Event::Interrupted { to } => {
                write!(f, "The update to {to} was cut off before {at} and begins anew by itself.")
            }
            Event::NotInstalled { to, why } => write!(f, "Version {to} was not installed at {at} because {why}."),
            Event::WentBack { from, to } => {
                write!(f, "Version {to} runs since {at}: somebody brought it back, in place of {from}.")
            }
            Event::Other { said } => write!(f, "At {at} the updater said {said:?}."),
        }
    }
}
