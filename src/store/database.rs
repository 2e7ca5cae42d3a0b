//! The redb database: how it is opened, and opened again after the disk failed.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::ops::Deref;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard};

use redb::backends::FileBackend;
use redb::{
    DatabaseError, Durability, ReadTransaction, ReadableDatabase, ReadableTable, StorageBackend, StorageError,
    WriteTransaction,
};

use super::tables::{FORMAT, META, Tables, hour};
use super::versioned::Versioned;
use super::{Error, disk};

/// redb starts its file with a page of its own and zeros elsewhere; it is this long then.
const MAX_UNFINISHED_BYTES: u64 = 16 * 1024 * 1024;
const PAGE_BYTES: usize = 4096;
/// redb writes its mark into the first bytes last.
const MARK_BYTES: usize = 9;

/// An open database. After a failed write or sync redb refuses everything, as it must; a disk that was
/// full may have room again, so the writer can ask for a fresh start with [`Self::reopen`].
pub(super) struct Database {
    open: Box<dyn Fn() -> Result<redb::Database, Error> + Send + Sync>,
    n_bytes: Box<dyn Fn() -> io::Result<u64> + Send + Sync>,
    /// `None` while the disk does not let it be opened.
    current: RwLock<Option<redb::Database>>,
    n_commits: AtomicU64,
}

impl Database {
    /// Opens or creates the file.
    pub(super) fn open_file(path: &Path, cache_bytes: usize) -> Result<Self, Error> {
        let (file, measured) = (path.to_owned(), path.to_owned());
        let backend = move || file_backend(&file);
        Self::open_backend(path.display().to_string(), cache_bytes, backend, move || Ok(fs::metadata(&measured)?.len()))
    }

    /// Opens or creates what the backends hold: all that `backend` makes have the same bytes.
    pub(super) fn open_backend<B: StorageBackend>(
        path: String,
        cache_bytes: usize,
        backend: impl Fn() -> io::Result<B> + Send + Sync + 'static,
        n_bytes: impl Fn() -> io::Result<u64> + Send + Sync + 'static,
    ) -> Result<Self, Error> {
        let open = Box::new(move || open_checked(&path, cache_bytes, &backend));
        let (n_bytes, current, n_commits) = (Box::new(n_bytes), RwLock::new(None), AtomicU64::new(0));
        let database = Self { open, n_bytes, current, n_commits };
        database.reopen()?;
        Ok(database)
    }

    /// A view of what was committed last. Hold it for one short read.
    pub(super) fn read(&self) -> Result<View<'_>, Error> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let transaction = current.as_ref().ok_or_else(not_open)?.begin_read()?;
        Ok(View { transaction, _current: current })
    }

    /// Waits until every view that there is now has been dropped.
    pub(super) fn drain(&self) {
        drop(self.current.write().unwrap_or_else(PoisonError::into_inner));
    }

    /// Length of the file.
    pub(super) fn n_bytes(&self) -> Result<u64, Error> {
        (self.n_bytes)().map_err(|source| Error::Storage(Box::new(source)))
    }

    /// The one write transaction.
    pub(super) fn write(&self) -> Result<WriteTransaction, Error> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let mut transaction = current.as_ref().ok_or_else(not_open)?.begin_write()?;
        transaction.set_durability(Durability::Immediate).map_err(|source| Error::Storage(Box::new(source)))?;
        Ok(transaction)
    }

    /// Makes it durable: redb syncs once before it returns.
    pub(super) fn commit(&self, transaction: WriteTransaction) -> Result<(), Error> {
        transaction.commit()?;
        self.n_commits.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    pub(super) fn n_commits(&self) -> u64 {
        self.n_commits.load(Ordering::Relaxed)
    }

    /// Closes it, opens it and repairs what a failure left.
    pub(super) fn reopen(&self) -> Result<(), Error> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        // First, so that the lock of the file is free.
        *current = None;
        *current = Some((self.open)()?);
        Ok(())
    }
}

/// What was committed last when it was made. Keep it as long as the tables that were opened from it.
pub(super) struct View<'d> {
    transaction: ReadTransaction,
    _current: RwLockReadGuard<'d, Option<redb::Database>>,
}

impl Deref for View<'_> {
    type Target = ReadTransaction;

    fn deref(&self) -> &ReadTransaction {
        &self.transaction
    }
}

impl fmt::Debug for Database {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Database").finish_non_exhaustive()
    }
}

fn not_open() -> Error {
    Error::Storage("the disk failed and the file could not be opened again".into())
}

/// The file, made for its owner's eyes only when it is not there.
fn file_backend(path: &Path) -> io::Result<FileBackend> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).mode(0o600).open(path)?;
    if file.metadata()?.len() == 0 {
        // A new name in a directory survives a power cut only when the directory is synced too.
        let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()?;
    }
    FileBackend::new(file).map_err(io::Error::other)
}

fn open_checked<B: StorageBackend>(
    path: &str,
    cache_bytes: usize,
    backend: &impl Fn() -> io::Result<B>,
) -> Result<redb::Database, Error> {
    let database = match open_redb(path, cache_bytes, backend) {
        Err(DatabaseError::Storage(StorageError::Io(source))) if source.kind() == io::ErrorKind::InvalidData => {
            empty_if_unfinished(backend).map_err(|source| cannot_open(path, source))?;
            open_redb(path, cache_bytes, backend)
        }
        result => result,
    };
    let database = database.map_err(|source| explain(path, source))?;
    check_format(path, &database)?;
    Ok(database)
}

fn open_redb<B: StorageBackend>(
    path: &str,
    cache_bytes: usize,
    backend: &impl Fn() -> io::Result<B>,
) -> Result<redb::Database, DatabaseError> {
    let owned_path = path.to_owned();
    redb::Builder::new()
        .set_cache_size(cache_bytes)
        .set_repair_callback(move |repair| {
            tracing::info!(path = owned_path, done = repair.progress(), "checking the store, which was not closed");
        })
        .create_with_backend(backend()?)
}

/// A power cut while redb lays out a new file leaves one that redb refuses for ever. It never held a
/// row, so it may be started again; any other file that redb refuses is left alone.
fn empty_if_unfinished<B: StorageBackend>(backend: &impl Fn() -> io::Result<B>) -> io::Result<()> {
    let backend = backend()?;
    let not_ours = || io::Error::new(io::ErrorKind::InvalidData, "the file is not a store of Frontdesk");
    let len = backend.len()?;
    if len > MAX_UNFINISHED_BYTES {
        return Err(not_ours());
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    backend.read(0, &mut bytes)?;
    let is_zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    match (bytes.get(..MARK_BYTES), bytes.get(PAGE_BYTES..)) {
        (Some(mark), Some(pages)) if is_zero(mark) && is_zero(pages) => backend.set_len(0),
        _ => Err(not_ours()),
    }
}

/// Makes the tables of a new file; refuses a file of a newer version or of another program.
fn check_format(path: &str, database: &redb::Database) -> Result<(), Error> {
    let transaction = database.begin_read()?;
    if transaction.list_tables()?.next().is_none() {
        drop(transaction);
        return make_tables(database);
    }
    let found = match transaction.open_table(META) {
        Ok(meta) => meta.get("format")?.map(|format| format.value()),
        Err(redb::TableError::Storage(source)) => return Err(source.into()),
        Err(_) => None,
    };
    match found {
        Some(FORMAT) => Ok(()),
        Some(1) => upgrade_from_1(database),
        Some(found) if found > FORMAT => Err(Error::TooNew { path: path.to_owned(), found, known: FORMAT }),
        _ => Err(cannot_open(path, "the file is a database of another program")),
    }
}

/// The first format had no archive and no indexes by activity and by conversation.
fn upgrade_from_1(database: &redb::Database) -> Result<(), Error> {
    let transaction = database.begin_write()?;
    {
        let mut tables = Tables::open(&transaction)?;
        let Tables { sessions, activity, users, peers, .. } = &mut tables;
        for row in sessions.range::<(&str, &str)>(..)? {
            let (id, row) = row?;
            let (tenant, key) = id.value();
            match disk::Session::decode(row.value()) {
                Ok(session) => drop(activity.insert((hour(session.last_active_at), tenant, key), ())?),
                Err(error) => tracing::error!(%error, "a conversation is never archived by itself"),
            }
        }
        for row in users.range::<(&str, &str, &str, &str)>(..)? {
            let (id, _) = row?;
            let (tenant, channel, user, key) = id.value();
            peers.insert((tenant, key, channel, user), ())?;
        }
    }
    transaction.open_table(META)?.insert("format", FORMAT)?;
    Ok(transaction.commit()?)
}

fn make_tables(database: &redb::Database) -> Result<(), Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(META)?.insert("format", FORMAT)?;
    drop(Tables::open(&transaction)?);
    Ok(transaction.commit()?)
}

fn cannot_open(path: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Open { path: path.to_owned(), source: source.into() }
}

fn explain(path: &str, error: DatabaseError) -> Error {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            Error::Locked { path: path.to_owned() }
        }
        DatabaseError::Storage(StorageError::Io(source)) => cannot_open(path, source),
        DatabaseError::Storage(source) => source.into(),
        error => cannot_open(path, error),
    }
}
