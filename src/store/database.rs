//! The redb database: how it is opened, and opened again after the disk failed.

use std::fmt;
use std::io;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, Weak};

use redb::{
    DatabaseError, Durability, ReadTransaction, ReadableDatabase, ReadableTable, StorageError, WriteTransaction,
};

use super::place::Place;
use super::tables::{FORMAT, META, Tables, hour};
use super::versioned::Versioned;
use super::{Error, disk};

/// An open database. After a failed write or sync redb refuses everything, as it must; a disk that was
/// full may have room again, so the writer can ask for a fresh start with [`Self::reopen`].
pub(super) struct Database {
    place: Box<dyn Place>,
    cache_bytes: usize,
    /// `None` while the disk does not let it be opened.
    current: RwLock<Option<redb::Database>>,
    n_commits: AtomicU64,
    /// Of those who read for long.
    replaced: Mutex<Weak<Replaced>>,
}

/// Databases that were replaced while somebody read them: they are closed when nobody does any more.
#[derive(Default)]
pub(super) struct Replaced(Mutex<Vec<redb::Database>>);

impl Database {
    /// Opens or creates what lies there.
    pub(super) fn open(place: impl Place + 'static, cache_bytes: usize) -> Result<Self, Error> {
        let (current, n_commits) = (RwLock::new(None), AtomicU64::new(0));
        let database = Self { place: Box::new(place), cache_bytes, current, n_commits, replaced: Mutex::default() };
        database.reopen()?;
        Ok(database)
    }

    /// A view of what was committed last. Hold it for one short read.
    pub(super) fn read(&self) -> Result<View<'_>, Error> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let transaction = current.as_ref().ok_or_else(not_open)?.begin_read()?;
        Ok(View { transaction, _current: current })
    }

    /// The same to be held for long: it keeps nobody from putting another file in place. When the disk fails and this one
    /// is opened again, it ends with an error.
    pub(super) fn read_long(&self) -> Result<LongView, Error> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let transaction = current.as_ref().ok_or_else(not_open)?.begin_read()?;
        let mut shared = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        let replaced = shared.upgrade().unwrap_or_default();
        *shared = Arc::downgrade(&replaced);
        Ok(LongView { transaction, _replaced: replaced })
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
        *current = Some(open_checked(&*self.place, self.cache_bytes)?);
        Ok(())
    }

    /// Is it open? Otherwise it must be opened again.
    pub(super) fn is_open(&self) -> bool {
        self.current.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Puts a new database, into which `copy` writes durably, in the place of this one. Nothing may be written
    /// meanwhile. After an error this one is in use as before, unless the disk failed in the last step.
    pub(super) fn replace<T>(
        &self,
        copy: impl FnOnce(&ReadTransaction, &redb::Database) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let (copied, new) = self.put_copy(copy).inspect_err(|_| discard(&*self.place))?;
        let is_known = self.place.sync();
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        // Without the sync a power cut may bring the old one back: nothing may be acknowledged on the new one.
        let old = std::mem::replace(&mut *current, is_known.is_ok().then_some(new));
        let readers = self.replaced.lock().unwrap_or_else(PoisonError::into_inner).upgrade();
        drop(current);
        // Closed under those who read it, it would tell them nothing more.
        match readers {
            Some(readers) => readers.0.lock().unwrap_or_else(PoisonError::into_inner).extend(old),
            None => drop(old),
        }
        is_known.map_err(|source| Error::Storage(Box::new(source)))?;
        Ok(copied)
    }

    fn put_copy<T>(
        &self,
        copy: impl FnOnce(&ReadTransaction, &redb::Database) -> Result<T, Error>,
    ) -> Result<(T, redb::Database), Error> {
        let name = self.place.name();
        let redb = builder(&name, self.cache_bytes);
        let explain = |source| explain(&name, source);
        let mut new = self.place.begin(&redb).map_err(explain)?;
        let copied = copy(&*self.read()?, &new)?;
        // redb leaves room between pages, and cuts off what is free at the end of a file when it is closed.
        new.compact().map_err(|source| Error::Storage(Box::new(source)))?;
        new.close().map_err(explain)?;
        let new = self.place.open_new(&redb).map_err(explain)?;
        self.place.replace().map_err(|source| Error::Storage(Box::new(source)))?;
        Ok((copied, new))
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

/// A view that nobody waits for.
pub(super) struct LongView {
    // First, as it must be gone when what it reads is closed.
    transaction: ReadTransaction,
    _replaced: Arc<Replaced>,
}

impl Deref for LongView {
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

fn open_checked(place: &dyn Place, cache_bytes: usize) -> Result<redb::Database, Error> {
    let path = &*place.name();
    let redb = builder(path, cache_bytes);
    let database = match place.open(&redb) {
        Err(DatabaseError::Storage(StorageError::Io(source))) if source.kind() == io::ErrorKind::InvalidData => {
            place.empty_if_unfinished().map_err(|source| cannot_open(path, source))?;
            place.open(&redb)
        }
        result => result,
    };
    let database = database.map_err(|source| explain(path, source))?;
    // Whoever put another one there, before it was locked here, has that one open.
    if !place.is_in_place().map_err(|source| cannot_open(path, source))? {
        return Err(Error::Locked { path: path.to_owned() });
    }
    discard(place);
    // A new name in a directory survives a power cut only when the directory is synced too.
    place.sync().map_err(|source| cannot_open(path, source))?;
    check_format(path, &database)?;
    Ok(database)
}

/// A copy that did not take the place of the original is of no use.
fn discard(place: &dyn Place) {
    if let Err(error) = place.discard() {
        tracing::warn!(%error, path = place.name(), "an unfinished copy of the store could not be removed");
    }
}

pub(super) fn builder(path: &str, cache_bytes: usize) -> redb::Builder {
    let path = path.to_owned();
    let mut builder = redb::Builder::new();
    builder.set_cache_size(cache_bytes).set_repair_callback(move |repair| {
        tracing::info!(path, done = repair.progress(), "checking the store, which was not closed");
    });
    builder
}

/// Makes the tables of a new file; refuses a file of a newer version or of another program.
pub(super) fn check_format(path: &str, database: &redb::Database) -> Result<(), Error> {
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

pub(super) fn cannot_open(path: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Open { path: path.to_owned(), source: source.into() }
}

pub(super) fn explain(path: &str, error: DatabaseError) -> Error {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            Error::Locked { path: path.to_owned() }
        }
        DatabaseError::Storage(StorageError::Io(source)) => cannot_open(path, source),
        DatabaseError::Storage(source) => source.into(),
        error => cannot_open(path, error),
    }
}
