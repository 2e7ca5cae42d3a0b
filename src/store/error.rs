//! What can go wrong in the store, and how redb's errors become it.

use std::io::{self, ErrorKind};
use std::iter::successors;
use std::sync::Arc;

/// What went wrong, and so what the caller should do.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum Error {
    /// Another process has the file open: stop it, or use another home.
    #[error("the store {path} is in use by another process")]
    Locked { path: String },
    /// The file or its directory cannot be read or written.
    #[error("the store {path} cannot be opened")]
    Open {
        path: String,
        #[source]
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// There is something already where a new one should be put.
    #[error("{path} is there already")]
    Occupied { path: String },
    /// A later version of Frontdesk wrote it.
    #[error("the store {path} was written by a newer version (format {found}, this program knows {known})")]
    TooNew { path: String, found: u32, known: u32 },
    /// The copy in this version's format could not be made: the file is as it was.
    #[error(
        "the store {path} (format {format}) could not be brought to this version's format; it is as it was, and the \
         version before this one can use it"
    )]
    NotUpgraded {
        path: String,
        format: u32,
        #[source]
        source: Box<Error>,
    },
    /// The disk failed, is full, or the file is damaged. What was to be written may still turn up after a
    /// restart, when it was the last sync that failed: offer it again, repeats are recognised.
    #[error("the store failed")]
    Storage(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// What was erased is out of reach, and its words are still in the file: there was no room for a copy without
    /// them, or the disk failed. The store works on; make room for the copy, and it is made at the next erasure or start.
    #[error(
        "what was erased is out of reach, but its words are still in the store's file; make room for a copy of it; it \
         is tried again at the next erasure and at every start"
    )]
    NotOverwritten(#[source] Box<Error>),
    /// A stored value is not what this program writes.
    #[error("a stored {what} cannot be read")]
    Value { what: &'static str },
    /// A data key was wrapped on another device, or is damaged: put the device key of this store back, or restore a backup.
    #[error("a data key in the store does not open with the device key of this home")]
    DataKey,
    /// What the write is about has been answered, set aside or settled before, or never was there.
    /// Whoever did that has the last word: drop the attempt.
    #[error("the {what} is not there any more")]
    Gone { what: &'static str },
    /// Messages or replies of the conversation wait: try again when they are answered and delivered.
    #[error("messages or replies of the conversation still wait")]
    InUse,
    /// The message belongs to another tenant than the handle: a mistake of the caller, nothing was written.
    #[error("the message belongs to another tenant")]
    OtherTenant,
    /// Only the room is left that is kept for answers, for erasing and for the end: nothing new is taken. Make room on
    /// the disk; it goes on by itself.
    #[error(
        "the disk is full: {} MB are left, and new messages are refused below {} MB; make room on it",
        available_bytes / 1_000_000,
        reserve_bytes / 1_000_000
    )]
    Full { available_bytes: u64, reserve_bytes: u64 },
    /// The file could not be opened when the gateway started: mend it, and start again, unless it is for the disk.
    #[error("the store cannot be used: {why}")]
    Unusable { why: String },
    /// Too many writes wait, or the tenant is just being erased: say so to whoever sent the message.
    #[error("the store has too much to do")]
    Busy,
    /// The writer is gone; the process is shutting down.
    #[error("the store is closed")]
    Closed,
}

type Shared = Arc<dyn std::error::Error + Send + Sync>;

impl Error {
    /// Is it because the disk is full or can only be read? Then it goes away by itself, once somebody sees to the disk.
    #[must_use]
    pub fn is_for_the_disk(&self) -> bool {
        use ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        self.causes().any(|cause| matches!(cause.downcast_ref(), Some(Self::Full { .. })))
            || self.kinds().any(|kind| matches!(kind, StorageFull | QuotaExceeded | ReadOnlyFilesystem))
    }

    /// Is it because this user may not?
    #[must_use]
    pub fn is_denied(&self) -> bool {
        self.kinds().any(|kind| kind == ErrorKind::PermissionDenied)
    }

    fn causes(&self) -> impl Iterator<Item = &(dyn std::error::Error + 'static)> {
        let causes = successors(Some(self as &(dyn std::error::Error + 'static)), |error| error.source());
        // Who waited for the same batch share it.
        causes.map(|cause| cause.downcast_ref::<Shared>().map_or(cause, |shared| &**shared))
    }

    fn kinds(&self) -> impl Iterator<Item = ErrorKind> {
        self.causes().filter_map(|cause| match (cause.downcast_ref::<io::Error>(), cause.downcast_ref()) {
            (Some(io), _) | (_, Some(redb::Error::Io(io))) => Some(io.kind()),
            _ => None,
        })
    }
}

macro_rules! storage_from {
    ($($source:ty),+) => {
        $(impl From<$source> for Error {
            fn from(source: $source) -> Self {
                Self::Storage(Box::new(redb::Error::from(source)))
            }
        })+
    };
}

impl From<io::Error> for Error {
    fn from(source: io::Error) -> Self {
        Self::Storage(Box::new(source))
    }
}

storage_from!(redb::StorageError, redb::TableError, redb::TransactionError, redb::CommitError);
