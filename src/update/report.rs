//! What the updater says of itself, for the page, the API and people, and what they may ask of it.
//!
//! Two small files, because the updater and the gateway are two users: `status.json` is the updater's and everybody reads it,
//! `wanted.json` is the gateway's and the updater believes nothing of it but an id, a wish and a version. Reading either is
//! total: what cannot be understood is left out, and newer words are shown as they are.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, open, openat};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize};
use serde_json::Value;

use super::release::Severity;
use super::{Error, Event, Outcome, Version, Why};
use crate::clock::Timestamp;
use crate::document::{read_at_most, write_whole};

/// A longer file is not read.
const MAX_REPORT_BYTES: usize = 256 * 1024;
const MAX_REQUEST_BYTES: u64 = 4 * 1024;
/// Longest id of a request, in bytes.
const MAX_ID_BYTES: usize = 64;
/// So many ends of updates are kept.
pub const KEPT_OUTCOMES: usize = 10;

/// Where the updater keeps what it knows: `named` (`$FRONTDESK_UPDATE_STATE`) or, beside the home, its name with `-update` behind it
/// where the updater is another user than the gateway's; else in the home.
#[must_use]
pub fn state_directory(home: &Path, named: Option<&str>) -> PathBuf {
    if let Some(named) = named.filter(|path| !path.is_empty()) {
        return PathBuf::from(named);
    }
    let mut beside = home.as_os_str().to_owned();
    beside.push("-update");
    let beside = PathBuf::from(beside);
    if beside.is_dir() { beside } else { home.join("updates") }
}

/// How this version was installed, which says how the next one is.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Installation {
    /// Two slots; systemd-boot chooses.
    SdBoot,
    /// Two slots; a script of U-Boot chooses.
    Uboot,
    /// A program in a directory, which replaces it.
    #[default]
    Program,
    /// A package of the system, which the system updates.
    Package,
    /// What a newer version calls it.
    #[serde(untagged)]
    Other(String),
}

/// What the updater is doing or waiting for.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(tag = "code", rename_all = "snake_case")]
pub enum Doing {
    /// It never looked.
    #[default]
    Unknown,
    /// There is nothing newer for this device.
    UpToDate,
    /// It asks the repository.
    Checking,
    /// A newer version is there and somebody has to say that it is wanted.
    Available {
        /// Which.
        version: Version,
    },
    /// A newer version is handed out to others first.
    Later {
        /// Which.
        version: Version,
        /// This device's turn, in milliseconds since 1970.
        from_ms: u64,
    },
    /// A newer version is there and is installed when the owner's window opens.
    WaitingForWindow {
        /// Which.
        version: Version,
        /// When the window is, as the owner wrote it: `03:00-05:00`.
        window: String,
    },
    /// It comes.
    Downloading {
        /// Which.
        version: Version,
        /// So much is here, in bytes.
        have: u64,
        /// Of so many, in bytes.
        of: u64,
    },
    /// It is put in place.
    Installing {
        /// Which.
        version: Version,
    },
    /// It is in place and starts when the machine restarts.
    RestartPending {
        /// Which.
        version: Version,
    },
    /// It runs and is not yet kept: its health is looked at.
    Trial {
        /// Which.
        version: Version,
        /// What comes back when it is not healthy.
        from: Version,
        /// It keeps what is stored in another shape. Until it is kept it works on a copy and takes no messages.
        on_copy: bool,
    },
    /// Somebody wants the previous version back; it is put in place.
    GoingBack {
        /// To which.
        version: Version,
    },
    /// The last attempt did not work; it is tried again by itself.
    Failed {
        /// What it should have become; `None`: it was not known yet.
        version: Option<Version>,
        /// Why.
        why: Why,
    },
    /// What a newer version calls it.
    Other {
        /// Its word.
        said: String,
    },
}

/// A version that can be had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Offered {
    /// Which.
    pub version: Version,
    /// What is downloaded, in bytes.
    pub bytes: u64,
    /// Does it close a hole?
    #[serde(default, deserialize_with = "lenient")]
    pub severity: Severity,
    /// What is new, as the release says it. Text of others: escape it.
    #[serde(default, deserialize_with = "lenient")]
    pub notes: String,
}

/// The last look into the repository.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checked {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What went wrong; `None`: nothing.
    #[serde(default, deserialize_with = "lenient")]
    pub problem: Option<Why>,
}

/// How far a [`Request`] is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Progress {
    /// It is being done.
    Taken,
    /// It was done; what came of it is in the report.
    Done,
    /// It was not done; [`Answer::why`] says why.
    Refused,
}

/// The answer to the last [`Request`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Answer {
    /// That of the request.
    pub id: String,
    /// What it asked for.
    pub want: Want,
    /// How far it is.
    pub state: Progress,
    /// Why it was refused.
    #[serde(default, deserialize_with = "lenient")]
    pub why: Option<Why>,
}

/// `status.json`: what runs, what there is, what is being done and how the last updates ended.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Report {
    /// The version that runs, as the updater knows; `None`: it never ran.
    #[serde(deserialize_with = "lenient")]
    pub running: Option<Version>,
    /// How it was installed.
    #[serde(deserialize_with = "lenient")]
    pub installation: Installation,
    /// What the updater is doing or waiting for.
    #[serde(deserialize_with = "lenient_state")]
    pub state: Doing,
    /// The newest version that this device can have, if that is not the one that runs.
    #[serde(deserialize_with = "lenient")]
    pub offer: Option<Offered>,
    /// The last look into the repository.
    #[serde(deserialize_with = "lenient")]
    pub checked: Option<Checked>,
    /// How updates ended, the latest first; at most [`KEPT_OUTCOMES`].
    #[serde(deserialize_with = "lenient_outcomes")]
    pub outcomes: Vec<Outcome>,
    /// The answer to the last request.
    #[serde(deserialize_with = "lenient")]
    pub request: Option<Answer>,
    /// The version that must work on a copy of what is stored, and take no messages, until it is kept.
    #[serde(deserialize_with = "lenient")]
    pub on_copy: Option<Version>,
    /// The version that `update rollback` would bring back, as far as is known; `None`: none.
    #[serde(deserialize_with = "lenient")]
    pub way_back: Option<Version>,
}

impl Report {
    fn path(state: &Path) -> PathBuf {
        state.join("status.json")
    }

    /// What the updater with this state directory said last. A report that is not there, or is none, is that of an
    /// updater that never ran.
    #[must_use]
    pub fn read(state: &Path) -> Self {
        let bytes = read_at_most(&Self::path(state), MAX_REPORT_BYTES).unwrap_or_default();
        Self::parse(&bytes)
    }

    /// From the bytes of the file, whatever they are.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Self {
        serde_json::from_slice(bytes).unwrap_or_default()
    }

    /// Puts it in place whole; everybody may read it.
    ///
    /// # Errors
    /// When it cannot be written; then the one before is still there.
    pub fn write(&self, state: &Path) -> Result<(), Error> {
        let path = Self::path(state);
        let bytes = serde_json::to_vec(self).map_err(io::Error::from);
        bytes.and_then(|bytes| write_whole(&path, &bytes, 0o644)).map_err(Error::disk("write", &path))
    }

    /// Adds how an update ended.
    pub fn ended(&mut self, outcome: Outcome) {
        self.outcomes.insert(0, outcome);
        self.outcomes.truncate(KEPT_OUTCOMES);
    }

    /// Nothing is under way: what there is to do is what was found the last time.
    pub(super) fn rest(&mut self) {
        self.state = match (&self.offer, &self.checked) {
            (Some(offer), _) => Doing::Available { version: offer.version },
            (None, Some(Checked { problem: Some(why), .. })) => Doing::Failed { version: None, why: why.clone() },
            (None, Some(_)) => Doing::UpToDate,
            (None, None) => Doing::Unknown,
        };
    }

    /// Is somebody to wait, because it changes by itself in a moment?
    #[must_use]
    pub fn is_busy(&self) -> bool {
        matches!(
            self.state,
            Doing::Checking
                | Doing::Downloading { .. }
                | Doing::Installing { .. }
                | Doing::Trial { .. }
                | Doing::GoingBack { .. }
        ) || self.request.as_ref().is_some_and(|answer| answer.state == Progress::Taken)
    }

    /// Must the gateway of this version work on a copy of what is stored, and take no messages?
    #[must_use]
    pub fn is_on_copy(&self, running: Version) -> bool {
        self.on_copy == Some(running)
    }
}

impl fmt::Display for Report {
    /// One sentence: what runs, and what the updater is doing or waiting for.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.running {
            Some(running) => write!(f, "Version {running} runs")?,
            None => f.write_str("This version runs")?,
        }
        match &self.state {
            Doing::Unknown => f.write_str("; nobody looked for a newer one yet."),
            Doing::UpToDate => f.write_str(", and there is nothing newer for this device."),
            Doing::Checking => f.write_str("; the repository is being asked."),
            Doing::Available { version } => {
                write!(f, "; {version} is there, and is installed with `frontdesk update install`.")
            }
            Doing::Later { version, from_ms } => {
                write!(f, "; {version} is being handed out, and it is this device's turn at {}.", Timestamp(*from_ms))
            }
            Doing::WaitingForWindow { version, window } => {
                write!(f, "; {version} is there, and is installed in the window {window}.")
            }
            Doing::Downloading { version, have, of } => {
                write!(f, "; {version} is being downloaded, {have} of {of} bytes.")
            }
            Doing::Installing { version } => write!(f, "; {version} is being put in place."),
            Doing::RestartPending { version } => write!(f, "; {version} is in place and starts at the next restart."),
            Doing::Trial { version, from, on_copy } if self.running == Some(*version) => {
                write!(f, ", is being tried and is kept if it is healthy; otherwise {from} comes back")?;
                f.write_str(if *on_copy { "; messages are taken again then." } else { "." })
            }
            Doing::Trial { version, .. } => write!(f, "; {version} is being tried and is kept if it is healthy."),
            Doing::GoingBack { version } => write!(f, "; {version} is being brought back."),
            Doing::Failed { version: Some(version), why } => {
                let again = if why.is_of_the_release() { "not tried again by itself" } else { "tried again later" };
                write!(f, "; {version} is not installed because {why}; it is {again}.")
            }
            Doing::Failed { version: None, why } => {
                write!(f, "; whether there is a newer one is not known because {why}; it is tried again later.")
            }
            Doing::Other { said } => write!(f, "; the updater says {said:?}."),
        }
    }
}

/// What somebody asks of the updater.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Want {
    /// Look what there is.
    Check,
    /// Install what there is, now.
    Install,
    /// Bring the previous version back.
    Rollback,
}

/// `wanted.json`: what the gateway asks for. Whoever can write it can have nothing installed that is not signed, but when.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Request {
    /// Random, to find its [`Answer`]: letters, digits and dashes, at most 64.
    pub id: String,
    /// What.
    pub want: Want,
    /// Which version; `None`: the newest, or the previous one.
    #[serde(default)]
    pub version: Option<Version>,
    /// Who asks, for the gateway's own log: the updater does not use it.
    #[serde(default)]
    pub by: String,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

impl Request {
    /// Where the gateway puts it; the name that a path unit watches.
    #[must_use]
    pub fn path(home: &Path) -> PathBuf {
        home.join("updates").join("wanted.json")
    }

    /// Puts it in place whole, instead of one that is there.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, home: &Path) -> Result<(), Error> {
        let path = Self::path(home);
        let bytes = serde_json::to_vec(self).map_err(io::Error::from);
        let directory = std::fs::create_dir_all(home.join("updates"));
        let written = directory.and(bytes).and_then(|bytes| write_whole(&path, &bytes, 0o644));
        written.map_err(Error::disk("write", &path))
    }

    /// The one that is there; `None`: none, or none that can be understood. It may have been put there by anybody who has
    /// the gateway's rights: links are not followed, what is no file is not opened, and no more than 4 KiB are read.
    #[must_use]
    pub fn read(home: &Path) -> Option<Self> {
        let no_links = OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let directory =
            open(home.join("updates"), OFlags::RDONLY | OFlags::DIRECTORY | no_links, Mode::empty()).ok()?;
        // A pipe would wait for somebody to write into it.
        let flags = OFlags::RDONLY | OFlags::NONBLOCK | no_links;
        let file = File::from(openat(&directory, "wanted.json", flags, Mode::empty()).ok()?);
        if !file.metadata().ok()?.is_file() {
            return None;
        }
        let mut bytes = Vec::new();
        file.take(MAX_REQUEST_BYTES).read_to_end(&mut bytes).ok()?;
        Self::parse(&bytes)
    }

    /// From the bytes of the file, whatever they are.
    #[must_use]
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let request: Self = serde_json::from_slice(bytes).ok()?;
        let is_plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
        let is_id = (1..=MAX_ID_BYTES).contains(&request.id.len()) && request.id.chars().all(is_plain);
        is_id.then_some(request)
    }
}

/// What cannot be understood is as if it were not there, and nothing else is lost for it.
fn lenient<'de, D: Deserializer<'de>, T: DeserializeOwned + Default>(from: D) -> Result<T, D::Error> {
    let value = Value::deserialize(from)?;
    Ok(T::deserialize(value).unwrap_or_default())
}

/// The word of a newer version, as it is.
fn code(value: &Value) -> Option<String> {
    Some(value.get("code")?.as_str()?.chars().take(64).collect())
}

fn lenient_state<'de, D: Deserializer<'de>>(from: D) -> Result<Doing, D::Error> {
    let value = Value::deserialize(from)?;
    let other = || code(&value).map_or(Doing::Unknown, |said| Doing::Other { said });
    Ok(Doing::deserialize(&value).unwrap_or_else(|_error| other()))
}

fn lenient_outcomes<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<Outcome>, D::Error> {
    let value = Value::deserialize(from)?;
    let outcome = |value: &Value| {
        let at_ms = value.get("at_ms")?.as_u64()?;
        let event = value.get("event")?;
        let event = Event::deserialize(event).ok().or_else(|| Some(Event::Other { said: code(event)? }))?;
        Some(Outcome { at_ms, event })
    };
    Ok(value.as_array().into_iter().flatten().filter_map(outcome).take(KEPT_OUTCOMES).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::Cause;
    use super::*;

    const ONE: Version = Version::new(1, 0, 0);
    const TWO: Version = Version::new(2, 0, 0);

    #[test]
    fn the_updater_is_found_in_the_home_beside_it_or_where_it_is_named() {
        let directory = tempfile::tempdir().unwrap();
        let (home, beside) = (directory.path().join("frontdesk"), directory.path().join("frontdesk-update"));
        assert_eq!(state_directory(&home, None), home.join("updates"));
        std::fs::create_dir(&beside).unwrap();
        assert_eq!(state_directory(&home, Some("")), beside);
        assert_eq!(state_directory(&home, Some("/state")), Path::new("/state"));
    }

    fn full() -> Report {
        let why = || Why::new(Cause::NotHealthy, "the gateway did not answer");
        Report {
            running: Some(ONE),
            installation: Installation::Uboot,
            state: Doing::Failed { version: Some(TWO), why: why() },
            offer: Some(Offered { version: TWO, bytes: 7, severity: Severity::Security, notes: "A hole.".to_owned() }),
            checked: Some(Checked { at_ms: 5, problem: Some(why()) }),
            outcomes: vec![Outcome { at_ms: 4, event: Event::FellBack { from: ONE, to: TWO, why: why() } }],
            request: Some(Answer {
                id: "a-1".to_owned(),
                want: Want::Install,
                state: Progress::Refused,
                why: Some(why()),
            }),
            on_copy: Some(TWO),
            way_back: Some(ONE),
        }
    }

    #[test]
    fn a_report_reads_as_it_was_written() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Report::read(directory.path()), Report::default());
        full().write(directory.path()).unwrap();
        assert_eq!(Report::read(directory.path()), full());
    }

    #[test]
    fn one_word_that_is_not_known_loses_nothing_else() {
        let mut value = serde_json::to_value(full()).unwrap();
        value["state"] = serde_json::json!({ "code": "resting", "until": 5 });
        value["installation"] = "coreboot".into();
        value["offer"] = "soon".into();
        value["outcomes"][0]["event"] = serde_json::json!({ "code": "teleported" });
        value["news"] = 1.into();
        let report = Report::parse(value.to_string().as_bytes());
        let expected = Report {
            state: Doing::Other { said: "resting".to_owned() },
            installation: Installation::Other("coreboot".to_owned()),
            offer: None,
            outcomes: vec![Outcome { at_ms: 4, event: Event::Other { said: "teleported".to_owned() } }],
            ..full()
        };
        assert_eq!(report, expected);
    }

    #[test]
    fn only_so_many_ends_are_kept_the_latest_first() {
        let mut report = Report::default();
        for at_ms in 0..20 {
            report.ended(Outcome { at_ms, event: Event::Interrupted { to: TWO } });
        }
        assert_eq!(report.outcomes.len(), KEPT_OUTCOMES);
        assert_eq!(report.outcomes[0].at_ms, 19);
    }

    fn request() -> Request {
        Request { id: "r-1".to_owned(), want: Want::Install, version: Some(TWO), by: "anna".to_owned(), at_ms: 3 }
    }

    #[test]
    fn a_request_reads_as_it_was_written() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(Request::read(home.path()), None);
        request().write(home.path()).unwrap();
        assert_eq!(Request::read(home.path()), Some(request()));
    }

    #[test]
    fn a_request_is_a_small_file_and_no_link() {
        let home = tempfile::tempdir().unwrap();
        request().write(home.path()).unwrap();
        let (path, elsewhere) = (Request::path(home.path()), home.path().join("elsewhere"));
        std::fs::rename(&path, &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, &path).unwrap();
        assert_eq!(Request::read(home.path()), None);
        std::fs::remove_file(&path).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, Mode::RUSR, 0).unwrap();
        assert_eq!(Request::read(home.path()), None);
        std::fs::remove_file(&path).unwrap();
        let mut long = serde_json::to_value(request()).unwrap();
        long["by"] = "a".repeat(5_000).into();
        std::fs::write(&path, long.to_string()).unwrap();
        assert_eq!(Request::read(home.path()), None);
    }

    #[test]
    fn a_request_has_a_plain_id() {
        for id in ["", "a/b", "../x", "a b", "ä", &"a".repeat(65)] {
            let bytes = serde_json::to_vec(&Request { id: id.to_owned(), ..request() }).unwrap();
            assert_eq!(Request::parse(&bytes), None, "{id:?}");
        }
    }

    proptest! {
        #[test]
        fn anything_can_be_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Report::parse(&bytes);
            let _ = Request::parse(&bytes);
        }

        /// Whatever one member becomes, the others stay.
        #[test]
        fn what_is_wrong_in_one_member_stays_there(
            n in 0usize..9,
            wrong in prop_oneof![
                Just(Value::Null), Just(Value::from("x")), Just(Value::from(-1)),
                Just(serde_json::json!([])), Just(serde_json::json!({"code": "x"})), Just(serde_json::json!([{}])),
            ],
        ) {
            let mut value = serde_json::to_value(full()).unwrap();
            let names: Vec<String> = value.as_object().unwrap().keys().cloned().collect();
            value[names[n].as_str()] = wrong;
            let read = serde_json::to_value(Report::parse(value.to_string().as_bytes())).unwrap();
            let before = serde_json::to_value(full()).unwrap();
            for name in names.iter().filter(|name| **name != names[n]) {
                prop_assert_eq!(&read[name.as_str()], &before[name.as_str()]);
            }
        }
    }
}
