//! Updates: which version runs, which one is tried, and how a new one is put in place so that nothing in between bricks the box.
//!
//! A release of the appliance is two files, a kernel and a root. The root goes into the slot that does not run, then the kernel beside
//! the one that runs, and one rename is the commit. The boot loader tries the new version a few times; a health check
//! confirms it, or the old version comes back by itself. `Boot` is what the loader has to offer, `Disk` what files have to
//! offer; both have fakes, and tests cut the power at every operation. Releases come from a `Repository`: plain files, signed as The
//! Update Framework says. Not here: whether what runs is healthy, which the gateway knows.
//!
//! What always holds: the files of the version that runs are never written; the kernel of the other slot is gone
//! before its root is touched; no name that can be booted is written before its content was read back; and tries are counted
//! only while one is pending.

mod boot;
mod digest;
mod disk;
mod engine;
mod install;
mod known;
mod program;
mod record;
mod release;
mod report;
mod repository;
mod system;
mod transport;
mod version;
mod why;

#[cfg(test)]
mod tests;

#[cfg(any(test, feature = "testing"))]
pub use boot::Fake;
pub use boot::{Boot, SdBoot, Slot, State, Trial, UbootScript};
pub use digest::Sha256;
pub use disk::{Disk, Mode, Sink, SystemDisk};
pub use engine::{Done, Order, Place, Updater, Wishes, lock, make_state_directory};
pub use install::{Installer, Next, Payload, Release, Tried};
pub use known::{Known, STATE_VARIABLE};
pub use program::{Pending, Program};
pub use record::{Event, Outcome, Previous, Status};
pub use release::{About, Board, Bundle, Choice, Device, Kind, Offer, Severity, Wave, choose};
pub use report::{
    Answer, Checked, Doing, Installation, KEPT_OUTCOMES, Offered, Progress, Report, Request, Want, state_directory,
};
pub use repository::{BUILT_IN_REPOSITORY, BUILT_IN_ROOT, Refusal, Repository, Verified, parse_address};
pub use system::{Machine, Service, System};
pub use transport::Limits;
pub use version::Version;
pub use why::{Cause, Why};

use std::io;
use std::path::{Path, PathBuf};

/// Why an update did not go on. Each says what to do, if something can be done.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum Error {
    /// A disk said no, or the power went.
    #[error("cannot {doing} {path}: {source}")]
    Disk { doing: &'static str, path: PathBuf, source: io::Error },
    /// The disk took it and gives back something else.
    #[error("{path} was written and reads differently: the disk is failing; replace it")]
    ReadBack { path: PathBuf },
    /// What was downloaded is not what was signed.
    #[error("the {what} is not the one that the release names; download it again")]
    Payload { what: &'static str },
    /// The loader would start the newer one.
    #[error("version {offered} is not newer than {running}, which runs; only newer versions are installed")]
    NotNewer { offered: Version, running: Version },
    /// One at a time.
    #[error("version {0} is still being tried; wait until it is confirmed or the old one is back")]
    TrialPending(Version),
    /// There would be nothing to fall back to.
    #[error(
        "the kernel of version {0}, which runs, is not on the boot partition; nothing is installed without a way back"
    )]
    NoWayBack(Version),
    /// There is nothing to go back to.
    #[error("there is no previous version to go back to")]
    NoPrevious,
    /// It could not read what this one stores.
    #[error("what is stored has a newer shape than version {0} can read; there is no way back to it")]
    StoreMovedOn(Version),
    /// Nobody can look there.
    #[error("{address:?} is no address of a repository: {why}")]
    Address { address: String, why: String },
    /// The network, the server, or the stick that is not plugged in.
    #[error("{url} cannot be had: {why}; it is tried again later")]
    Unreachable { url: String, why: String },
    /// An attack, or a mistake of whoever keeps it. Nothing of it is used.
    #[error("the repository is not believed: {0}")]
    Refused(Refusal),
    /// More bytes than were signed.
    #[error("{url} sends more than the {bytes} bytes that were signed; nothing of it is used")]
    Endless { url: String, bytes: u64 },
    /// It would fill the disk.
    #[error("{directory} has {free} bytes free and {needed} are needed; remove something")]
    NoRoom { directory: PathBuf, needed: u64, free: u64 },
    /// Releases for others.
    #[error("the repository has releases, and none for {0}; check updates.repository")]
    NothingForBoard(Board),
}

impl Error {
    fn disk(doing: &'static str, path: &Path) -> impl FnOnce(io::Error) -> Self {
        move |source| Self::Disk { doing, path: path.to_owned(), source }
    }
}
