//! Why an update did not happen: a code that a page can say in any language, and details for whoever mends it.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::Error;

/// Longest detail that is kept, in characters.
const MAX_DETAIL_CHARS: usize = 300;

/// The kind of reason.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Its health check was not content; the detail says with what.
    NotHealthy,
    /// It did not come up at all.
    DidNotStart,
    /// The boot loader never started it.
    NotLoaded,
    /// The program does not run here, or says that it is another version.
    NotThatProgram,
    /// It does not take the configuration that is there.
    Configuration,
    /// It could not bring what is stored into its own shape.
    Migration,
    /// A disk failed, or gave back something else than was written.
    Disk,
    /// There is not enough room on the disk.
    NoRoom,
    /// The repository is not there.
    Unreachable,
    /// The repository is not to be believed.
    Refused,
    /// What was downloaded is not what was signed.
    Payload,
    /// The repository has releases for other boards only.
    NothingForBoard,
    /// Nobody said where releases are, or the address is none.
    NoRepository,
    /// Nobody said whose releases are to be believed.
    NoRoot,
    /// Nobody said how the gateway is restarted.
    NoService,
    /// The release that was asked for is not there, or not for this device yet.
    NoSuchRelease,
    /// There is no previous version to go back to.
    NoWayBack,
    /// What is stored has the shape of this version, which the other one cannot read.
    StoreMovedOn,
    /// Another version is still being tried.
    TrialPending,
    /// Another update is under way.
    Busy,
    /// The system's packages bring new versions.
    Package,
    /// Somebody wanted it.
    ByHand,
    /// The request is old.
    TooLate,
    /// What nobody thought of, or what a newer version calls it.
    #[serde(untagged)]
    Other(String),
}

/// Why, with details. Prints as words that can follow "because".
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Why {
    /// The kind of reason.
    pub code: Cause,
    /// More, in English, for whoever mends it; may be empty. Text of others may be in it: escape it.
    #[serde(default)]
    pub detail: String,
}

impl Why {
    /// With the first line of `detail`, and not all of a long one.
    #[must_use]
    pub fn new(code: Cause, detail: &str) -> Self {
        let line = detail.lines().next().unwrap_or_default();
        let shown = line.chars().filter(|c| !c.is_control()).take(MAX_DETAIL_CHARS);
        Self { code, detail: shown.collect() }
    }

    /// Would the same release fail again?
    pub(super) fn is_of_the_release(&self) -> bool {
        matches!(
            self.code,
            Cause::NotThatProgram
                | Cause::Configuration
                | Cause::Migration
                | Cause::NotHealthy
                | Cause::DidNotStart
                | Cause::NotLoaded
        )
    }

    /// Without details.
    #[must_use]
    pub fn of(code: Cause) -> Self {
        Self { code, detail: String::new() }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.code {
            Cause::NotHealthy => "it was not healthy",
            Cause::DidNotStart => "it did not start",
            Cause::NotLoaded => "the boot loader did not start it",
            Cause::NotThatProgram => "the program does not run on this machine",
            Cause::Configuration => "it does not take the configuration that is there",
            Cause::Migration => "it could not take over what is stored",
            Cause::Disk => "the disk failed",
            Cause::NoRoom => "there is not enough room on the disk",
            Cause::Unreachable => "the repository cannot be reached",
            Cause::Refused => "the repository is not to be believed",
            Cause::Payload => "what was downloaded is not what was signed",
            Cause::NothingForBoard => "there are no releases for this board",
            Cause::NoRepository => "nobody said where releases are",
            Cause::NoRoot => "nobody said whose releases are to be believed",
            Cause::NoService => "nobody said how the gateway is restarted",
            Cause::NoSuchRelease => "that release is not there for this device",
            Cause::NoWayBack => "there is no previous version to go back to",
            Cause::StoreMovedOn => "what is stored has a newer shape, which that version cannot read",
            Cause::TrialPending => "another version is still being tried",
            Cause::Busy => "another update is under way",
            Cause::Package => "the system's packages bring new versions",
            Cause::ByHand => "somebody wanted it",
            Cause::TooLate => "it was asked for long ago",
            Cause::Other(other) => other,
        })?;
        if self.detail.is_empty() { Ok(()) } else { write!(f, " ({})", self.detail) }
    }
}

impl From<&Error> for Why {
    fn from(error: &Error) -> Self {
        let code = match error {
            Error::Disk { .. } | Error::ReadBack { .. } => Cause::Disk,
            Error::Payload { .. } | Error::Endless { .. } => Cause::Payload,
            Error::NotNewer { .. } => Cause::NoSuchRelease,
            Error::TrialPending(_) => Cause::TrialPending,
            Error::NoWayBack(_) | Error::NoPrevious => Cause::NoWayBack,
            Error::StoreMovedOn(_) => Cause::StoreMovedOn,
            Error::Address { .. } => Cause::NoRepository,
            Error::Unreachable { .. } => Cause::Unreachable,
            Error::Refused(refusal) => return Self::new(Cause::Refused, &refusal.to_string()),
            Error::NoRoom { .. } => Cause::NoRoom,
            Error::NothingForBoard(_) => Cause::NothingForBoard,
        };
        Self::new(code, &error.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_of_a_newer_version_is_kept() {
        let read: Why = serde_json::from_str(r#"{"code":"sunspots"}"#).unwrap();
        assert_eq!(read, Why::of(Cause::Other("sunspots".to_owned())));
        assert_eq!(serde_json::from_str::<Why>(&serde_json::to_string(&read).unwrap()).unwrap(), read);
    }

    #[test]
    fn a_detail_is_one_short_line() {
        let why = Why::new(Cause::Disk, &format!("a\u{1b}{}\nb", "x".repeat(400)));
        assert_eq!(why.detail.chars().count(), MAX_DETAIL_CHARS);
        assert!(why.detail.starts_with("ax"), "{}", why.detail);
    }
}
