//! Backups: everything that a home and its store hold, in one encrypted file.
//!
//! A backup is an age file; in it is a zstd stream, and in that are records (`record`): a manifest, the files of the home,
//! the rows of the store, and at the end counts and a digest. What is not complete has no end, and is refused. An
//! incremental backup holds the rows that are not as they were in the full one before it (`index`).
//!
//! Everything streams: no part of it grows with the store. When to make one, what to call it and which to remove is decided
//! by pure functions (`schedule`, `name`). Knows the store's rows and nothing of a gateway. What always holds: nothing is
//! written in clear, nothing half-written has the name of a backup, and only what was read to its last byte is called good.

mod config;
mod destination;
mod index;
mod key;
mod make;
mod name;
mod open;
mod record;
mod s3;
mod schedule;

#[cfg(test)]
mod tests;

pub use config::{Config, S3};
pub use destination::{Destination, Place, Sink};
pub use index::{IndexReader, IndexWriter};
pub use key::{OpenWith, SealWith};
pub use make::{Against, Made, Progress, make};
pub use name::{Name, prune};
pub use open::{Chain, Report};
pub use record::{HomeFile, Id, Manifest};
pub use s3::Client;
pub use schedule::{Due, Past, Schedule, due};

use crate::store;

/// Why there is no backup, or none that can be used. Each says what to do, if something can be done.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum Error {
    /// Nobody could keep it secret.
    #[error(
        "no passphrase and no recipient is set, and nothing is written in clear; set backup.passphrase or backup.recipients"
    )]
    NoKey,
    /// A recipient that is none.
    #[error("{0:?} is no recipient of age; they begin with age1")]
    Recipient(String),
    /// An identity file without an identity.
    #[error("there is no identity of age in the file; it has a line that begins with AGE-SECRET-KEY-")]
    Identity,
    /// Too easy to guess.
    #[error("a passphrase has at least {MIN_PASSPHRASE_CHARS} characters; take several words")]
    ShortPassphrase,
    /// Another passphrase or another identity.
    #[error("it cannot be opened with this passphrase or identity: {0}; name the one that it was made with")]
    Open(String),
    /// No file, or no object.
    #[error("{path} is not there; name a backup that is, and see that the disk it lies on is plugged in")]
    NotThere { path: String },
    /// A directory, a pipe or a device.
    #[error("{path} is no file; name a backup in it")]
    NotAFile { path: String },
    /// Nothing was written, or it was lost.
    #[error("the file is empty, so there is nothing in it to come back from; name another backup")]
    Empty,
    /// Something else wrote it.
    #[error("it is no backup of Frontdesk, or its beginning is damaged; name a file that `backup create` made")]
    NoBackup,
    /// A backup replaces nothing.
    #[error("{path} is there already; choose another name, or a directory, in which it gets a name of its own")]
    Taken { path: String },
    /// It was cut off, changed, or something else wrote it.
    #[error("the backup is damaged or incomplete: {0}; use another one")]
    Damaged(&'static str),
    /// A later version wrote it.
    #[error("the backup was made by a newer version ({0}); install that version or a later one")]
    TooNew(String),
    /// Backups that do not belong together.
    #[error("{0}")]
    Chain(&'static str),
    /// What was compared with is not there or damaged.
    #[error("there is nothing to compare with; make a full backup first")]
    NoBase,
    /// What was written is not what is there.
    #[error("the backup was written, and what can be read back is something else; look at the disk")]
    ReadBack,
    /// The place cannot be used.
    #[error("{path} cannot be used: {source}; see that it is there, that this user may use it and that it has room")]
    Disk { path: String, source: std::io::Error },
    /// The place is no place.
    #[error("{0}")]
    Place(String),
    /// The bucket does not answer, or refuses.
    #[error("the bucket {bucket}: {reason}")]
    Bucket { bucket: String, reason: String },
    /// Somebody ended it.
    #[error("it was ended before it was complete; nothing is left of it, make another one")]
    Stopped,
    /// The stream failed.
    #[error("it cannot be read or written: {0}; look at the disk or the network, and try again")]
    Stream(#[from] std::io::Error),
    /// The store cannot be read, or a new one not be made.
    #[error(transparent)]
    Store(#[from] store::Error),
}

/// Who can do something about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Whoever asked: with another file, place or passphrase it may go.
    Order,
    /// Whoever sets the box up.
    Config,
    /// The same may go at another time.
    Later,
    /// Nobody knows.
    Internal,
}

impl Error {
    /// What may help.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self {
            Self::NoKey => Kind::Config,
            Self::Recipient(_)
            | Self::Identity
            | Self::ShortPassphrase
            | Self::Open(_)
            | Self::NotThere { .. }
            | Self::NotAFile { .. }
            | Self::Empty
            | Self::NoBackup
            | Self::Taken { .. }
            | Self::Damaged(_)
            | Self::TooNew(_)
            | Self::Chain(_)
            | Self::NoBase
            | Self::Place(_) => Kind::Order,
            Self::ReadBack | Self::Disk { .. } | Self::Bucket { .. } | Self::Stopped | Self::Stream(_) => Kind::Later,
            Self::Store(_) => Kind::Internal,
        }
    }

    /// Of rows that come from a backup: what a store would not have written is not the store's fault.
    #[must_use]
    pub fn of_rows(error: store::Error) -> Self {
        match error {
            store::Error::Value { .. } | store::Error::DataKey => Self::Damaged("a row in it is none of a store"),
            error => Self::Store(error),
        }
    }
}

/// The least a passphrase has: whoever has the file may try as often as they like.
const MIN_PASSPHRASE_CHARS: usize = 12;
