//! What a boot loader has to offer: two slots, a try counter, and a way to say that the version which runs is good.

mod sd_boot;
mod uboot_script;

#[cfg(any(test, feature = "testing"))]
mod fake;

use std::fmt;
use std::io::Read;

#[cfg(any(test, feature = "testing"))]
pub use fake::Fake;
pub use sd_boot::SdBoot;
pub use uboot_script::UbootScript;

use super::{Error, Payload, Version};

/// So often a new version is started before the old one comes back.
pub(super) const TRIES: u8 = 3;

/// One of the two places of a root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Slot {
    /// The first.
    A,
    /// The second.
    B,
}

impl Slot {
    /// The one that does not run while this one does.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

impl fmt::Display for Slot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "a",
            Self::B => "b",
        })
    }
}

/// A version that is not confirmed yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trial {
    /// Which.
    pub version: Version,
    /// So many more starts it has.
    pub left: u8,
}

/// What the boot loader will do and did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct State {
    /// The version that runs.
    pub running: Version,
    /// The version that runs, if it is not confirmed; or the one that is started next.
    pub trial: Option<Trial>,
    /// The version that used up its tries.
    pub failed: Option<Version>,
}

/// A boot loader with two slots. Every operation may be cut off by the power at any point; afterwards what runs can be
/// started, and [`Boot::clean`] comes first.
pub trait Boot: fmt::Debug + Send + Sync {
    /// The version that runs.
    fn running(&self) -> Version;

    /// Removes what an interrupted operation left. Called at every start.
    ///
    /// # Errors
    /// When the boot partition cannot be written.
    fn clean(&self) -> Result<(), Error>;

    /// What will be started next, and what failed.
    ///
    /// # Errors
    /// When the boot partition cannot be read.
    fn state(&self) -> Result<State, Error>;

    /// Takes the kernel of the slot that does not run away, for its root will be overwritten.
    ///
    /// # Errors
    /// [`Error::NoWayBack`] when what runs could not be started again; when the boot partition cannot be written.
    fn clear_idle(&self) -> Result<(), Error>;

    /// Puts the kernel of a new version in place, to be tried at the next starts. The root must be there before. This is the
    /// commit: before it returns, the old version is started, afterwards the new one.
    ///
    /// # Errors
    /// When it is not the kernel that `payload` names, or the boot partition cannot be written. Then nothing is tried.
    fn stage(&self, version: Version, payload: &Payload, kernel: &mut dyn Read) -> Result<(), Error>;

    /// What runs is tried and was not healthy: before the restart, makes sure that this try counts.
    ///
    /// # Errors
    /// When the boot partition cannot be written.
    fn count_running(&self) -> Result<(), Error>;

    /// Says that the version which runs is good: it is started from now on, and nothing is counted.
    ///
    /// # Errors
    /// When the boot partition cannot be written.
    fn commit_running(&self) -> Result<(), Error>;

    /// The version of the other slot, if it was confirmed once and can still be started.
    ///
    /// # Errors
    /// When the boot partition cannot be read.
    fn previous(&self) -> Result<Option<Version>, Error>;

    /// Has the version of the other slot started from now on, because somebody wants it.
    ///
    /// # Errors
    /// [`Error::NoPrevious`]; when the boot partition cannot be written.
    fn go_back(&self) -> Result<(), Error>;
}
