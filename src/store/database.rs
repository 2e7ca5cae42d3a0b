//! The redb database and the journal before it: how they are opened, and opened again after the disk failed.
//!
//! redb writes to a file that it opens. So it first opens what lies there *aside*, with all that is written kept in memory:
//! what cannot be used stays as it is. Where nothing can be written, what was opened aside is what is read, until it can.

use std::collections::BTreeSet;
use std::fmt;
use std::io;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, Weak};
use std::time::{Duration, Instant};

use redb::{
    DatabaseError, Durability, Key, ReadOnlyTable, ReadTransaction, ReadableDatabase, ReadableTable, StorageBackend,
    StorageError, Value, WriteTransaction,
};

use super::Error;
use super::journal::{Expected, Journal};
use super::log;
use super::place::{Place, Room};
use super::rewrite;
use super::seal::Keyring;
use super::tables::{self, ERASING, FORMAT, KEYS, META, NUMBERS, Number, Tables};
use super::values::{Bytes, PlainTable, RowKey, ValueTable, Values};
use super::versioned::Versioned;

/// A longer file is not read through at every start; `store check` does it. This takes a slow card half a second.
const MAX_VERIFIED_BYTES: u64 = 16 * 1024 * 1024;
/// The room on the disk is looked at again after this time, or when a small part of what is kept free of new messages was
/// written.
const ROOM_KEPT: Duration = Duration::from_secs(1);

/// An open database. After a failed write or sync redb refuses everything, as it must; a disk that was
/// full may have room again, so the writer can ask for a fresh start with [`Self::reopen`].
pub(super) struct Database {
    place: Box<dyn Place>,
    cache_bytes: usize,
    keyring: Keyring,
    /// Why it was never opened.
    why_unusable: Mutex<Option<String>>,
    /// `None` while the disk does not let it be opened.
    current: RwLock<Option<redb::Database>>,
    /// The writer's; `None` while the database is closed, or open to be read only.
    journal: Mutex<Option<Journal>>,
    room: Mutex<Option<Looked>>,
    n_syncs: AtomicU64,
    /// Of those who read for long.
    replaced: Mutex<Weak<Replaced>>,
}

/// How much room there was, and how much may be less.
#[derive(Debug, Clone, Copy)]
struct Looked {
    at: Instant,
    room: Room,
    n_written: u64,
}

/// Databases that were replaced while somebody read them: they are closed when nobody does any more.
#[derive(Default)]
pub(super) struct Replaced(Mutex<Vec<redb::Database>>);

/// Why nothing was written.
#[derive(Debug)]
pub(super) struct Failed {
    pub(super) error: Error,
    /// redb failed, so the database must be opened again. Otherwise it can be read as before, and written when the
    /// disk can be.
    pub(super) must_reopen: bool,
}

impl Failed {
    fn database(error: impl Into<Error>) -> Self {
        Self { error: error.into(), must_reopen: true }
    }

    fn journal(error: impl Into<Error>) -> Self {
        Self { error: error.into(), must_reopen: false }
    }

    pub(super) fn map(self, change: impl FnOnce(Error) -> Error) -> Self {
        Self { error: change(self.error), ..self }
    }
}

/// When must a batch be on the disk?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Durable {
    /// Before anybody is told.
    Now,
    /// With the next one that must, or after a while: it must only survive the end of the process.
    Soon,
}

impl Database {
    /// Opens or creates what lies there. What `keyring` held before does not count.
    pub(super) fn open(place: impl Place + 'static, cache_bytes: usize, keyring: Keyring) -> Result<Self, Error> {
        let database = Self::closed(place, cache_bytes, keyring, None);
        database.reopen()?;
        Ok(database)
    }

    /// One that could not be opened; until [`Self::reopen`], what lies there stays as it is.
    pub(super) fn unusable(place: impl Place + 'static, cache_bytes: usize, keyring: Keyring, why: String) -> Self {
        Self::closed(place, cache_bytes, keyring, Some(why))
    }

    fn closed(place: impl Place + 'static, cache_bytes: usize, keyring: Keyring, why_unusable: Option<String>) -> Self {
        Self {
            place: Box::new(place),
            cache_bytes,
            keyring,
            why_unusable: Mutex::new(why_unusable),
            current: RwLock::new(None),
            journal: Mutex::new(None),
            room: Mutex::new(None),
            n_syncs: AtomicU64::new(0),
            replaced: Mutex::default(),
        }
    }

    pub(super) fn why_unusable(&self) -> Option<String> {
        self.why_unusable.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn not_open(&self) -> Error {
        match self.why_unusable() {
            Some(why) => Error::Unusable { why },
            None => Error::Storage("the disk failed and the file could not be opened again".into()),
        }
    }

    /// A view of what was committed last. Hold it for one short read.
    pub(super) fn read(&self) -> Result<View<'_>, Error> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let transaction = current.as_ref().ok_or_else(|| self.not_open())?.begin_read()?;
        Ok(View { transaction, keyring: &self.keyring, _current: current })
    }

    /// The same to be held for long, with the data keys of this moment: it keeps nobody from putting another file in place.
    /// When the disk fails and this one is opened again, it ends with an error.
    pub(super) fn read_long(&self) -> Result<LongView, Error> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let transaction = current.as_ref().ok_or_else(|| self.not_open())?.begin_read()?;
        let keyring = self.keyring.of_same_device();
        load_keys(&keyring, &transaction)?;
        let mut shared = self.replaced.lock().unwrap_or_else(PoisonError::into_inner);
        let replaced = shared.upgrade().unwrap_or_default();
        *shared = Arc::downgrade(&replaced);
        Ok(LongView { transaction, keyring, _replaced: replaced })
    }

    /// Runs `plan` in the one write transaction, and commits what it changed, if it changed something. After an
    /// error nothing has changed, though what was to be written may turn up after a restart.
    pub(super) fn write(
        &self,
        when: Durable,
        plan: impl FnOnce(&mut Tables<'_>) -> Result<(), Error>,
    ) -> Result<(), Failed> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let database = current.as_ref().ok_or_else(|| self.not_open()).map_err(Failed::database)?;
        let mut journal = self.journal();
        let journal = journal.as_mut().ok_or_else(|| self.not_open()).map_err(Failed::database)?;
        if journal.is_broken() {
            journal.probe().map_err(Failed::journal)?;
        }
        // redb, unlike the journal, is of no use after it failed, and it may write at any time.
        self.may_grow().map_err(Failed::journal)?;
        let written = self.write_in(database, journal, when, plan);
        if written.is_err() {
            // Keys that were made or taken away are not what the store says: what comes next must not be sealed with them.
            let view = database.begin_read().map_err(Failed::database)?;
            load_keys(&self.keyring, &view).map_err(Failed::database)?;
        }
        written
    }

    fn write_in(
        &self,
        database: &redb::Database,
        journal: &mut Journal,
        when: Durable,
        plan: impl FnOnce(&mut Tables<'_>) -> Result<(), Error>,
    ) -> Result<(), Failed> {
        let mut transaction = database.begin_write().map_err(Failed::database)?;
        let mut tables = Tables::open(&transaction, &self.keyring).map_err(Failed::database)?;
        plan(&mut tables).map_err(Failed::database)?;
        if tables.log.is_empty() {
            drop(tables);
            return transaction.abort().map_err(Failed::database);
        }
        tables.put_new_keys().map_err(Failed::database)?;
        self.note_written(tables.log.bytes().len());
        if journal.is_broken() || !journal.is_needed() || !journal.has_room_for(&tables.log) {
            // It writes a lot, and somebody else may have too.
            let room = self.room().map_err(Failed::journal)?;
            may_grow(room).map_err(Failed::journal)?;
            if !journal.is_needed() {
                // From now on it is missed, so it must be there.
                journal.mark().map_err(Failed::journal)?;
            }
            let next = journal.next(false);
            expect(&mut tables, next).map_err(Failed::database)?;
            drop(tables);
            self.commit(transaction).map_err(Failed::database)?;
            journal.restart(next);
            // It is on the disk already. Otherwise the next write comes upon the failure.
            if let Err(error) = journal.mark() {
                tracing::warn!(%error, "the store's journal could not be written");
            }
            return Ok(());
        }
        journal.append(&tables.log).map_err(Failed::journal)?;
        if when == Durable::Now {
            self.sync_journal(journal).map_err(Failed::journal)?;
        }
        drop(tables);
        set_durability(&mut transaction, Durability::None).map_err(Failed::database)?;
        // Nobody reads it before it is where it must be.
        transaction.commit().map_err(Failed::database)
    }

    /// Is there room for what redb writes?
    fn may_grow(&self) -> Result<(), Error> {
        may_grow(self.recent_room()?)
    }

    /// How much room is left where the store lies.
    pub(super) fn room(&self) -> Result<Room, Error> {
        let room = self.place.room()?;
        let looked = Looked { at: Instant::now(), room, n_written: 0 };
        *self.room.lock().unwrap_or_else(PoisonError::into_inner) = Some(looked);
        Ok(room)
    }

    /// As it was a moment ago, and not much was written since; what was too little then is looked at again.
    pub(super) fn recent_room(&self) -> Result<Room, Error> {
        let looked = *self.room.lock().unwrap_or_else(PoisonError::into_inner);
        let is_recent =
            |looked: &Looked| looked.at.elapsed() < ROOM_KEPT && looked.n_written < looked.room.reserve_bytes() / 16;
        match looked.filter(is_recent).map(|looked| looked.room) {
            Some(room) if !room.is_full() && !room.is_read_only => Ok(room),
            _ => self.room(),
        }
    }

    fn note_written(&self, n_bytes: usize) {
        let mut looked = self.room.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(looked) = &mut *looked {
            looked.n_written = looked.n_written.saturating_add(u64::try_from(n_bytes).unwrap_or(u64::MAX));
        }
    }

    /// Removes files of earlier formats that were kept before this time, in milliseconds since 1970.
    pub(super) fn forget_kept(&self, before: u64) -> Result<(), Error> {
        Ok(self.place.forget_kept(before)?)
    }

    /// What was to be synced later is on the disk when this returns.
    pub(super) fn sync(&self) -> Result<(), Error> {
        match self.journal().as_mut().ok_or_else(|| self.not_open())? {
            journal if journal.is_synced() => Ok(()),
            journal => self.sync_journal(journal),
        }
    }

    /// Is all that was written on the disk?
    pub(super) fn is_synced(&self) -> bool {
        self.journal().as_ref().is_none_or(Journal::is_synced)
    }

    /// Brings the database up to the journal, which the file does not need any more when it is closed then.
    pub(super) fn finish(&self) -> Result<(), Error> {
        let is_open = self.journal().is_some();
        // Nothing was written to it since it was opened to be read.
        if is_open { self.checkpoint(true).map_err(|failed| failed.error) } else { Ok(()) }
    }

    fn checkpoint(&self, is_last: bool) -> Result<(), Failed> {
        let mut journal = self.journal();
        let journal = journal.as_mut().ok_or_else(|| self.not_open()).map_err(Failed::database)?;
        if journal.is_empty() && !(is_last && journal.is_needed()) {
            return Ok(());
        }
        may_grow(self.room().map_err(Failed::journal)?).map_err(Failed::journal)?;
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        let database = current.as_ref().ok_or_else(|| self.not_open()).map_err(Failed::database)?;
        let next = journal.next(is_last);
        let commit = || {
            let transaction = database.begin_write()?;
            expect(&mut Tables::open(&transaction, &self.keyring)?, next)?;
            self.commit(transaction)
        };
        commit().map_err(Failed::database)?;
        journal.restart(next);
        Ok(())
    }

    /// Makes the database itself durable.
    fn commit(&self, mut transaction: WriteTransaction) -> Result<(), Error> {
        set_durability(&mut transaction, Durability::Immediate)?;
        // After a crash redb then need not read the whole file. It syncs twice for it.
        transaction.set_quick_repair(true);
        transaction.commit()?;
        self.n_syncs.fetch_add(2, Ordering::Relaxed);
        Ok(())
    }

    fn sync_journal(&self, journal: &mut Journal) -> Result<(), Error> {
        journal.sync()?;
        self.n_syncs.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    fn journal(&self) -> MutexGuard<'_, Option<Journal>> {
        self.journal.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn n_syncs(&self) -> u64 {
        self.n_syncs.load(Ordering::Relaxed)
    }

    /// Closes it, opens it and repairs what a failure left. Where nothing can be written it is open to be read.
    pub(super) fn reopen(&self) -> Result<(), Error> {
        self.reopen_as_it_is().map_err(|error| match error {
            // What redb says is not for people.
            Error::Storage(source) if is_damage(&*source) => damaged(&self.place.name(), &source),
            error => error,
        })
    }

    fn reopen_as_it_is(&self) -> Result<(), Error> {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        let mut journal = self.journal();
        // First, so that the locks of the files are free.
        (*current, *journal) = (None, None);
        let aside = self.open_aside()?;
        // Whoever cannot be asked for room says more when it is opened.
        let cannot_grow = self.room().ok().and_then(|room| may_grow(room).err());
        let aside = match (aside, cannot_grow) {
            (Some(aside), Some(why)) => Some((aside, why)),
            (None, Some(why)) => return Err(why),
            (aside, None) => {
                // It is locked.
                drop(aside);
                match self.open_to_write() {
                    Ok((database, replayed)) => {
                        (*current, *journal) = (Some(database), Some(replayed));
                        None
                    }
                    Err(why) if why.is_for_the_disk() => match self.open_aside()? {
                        Some(aside) => Some((aside, why)),
                        None => return Err(why),
                    },
                    Err(why) => return Err(why),
                }
            }
        };
        if let Some((aside, why)) = aside {
            tracing::warn!(%why, "the store is open to be read only");
            *current = Some(aside);
        }
        *self.why_unusable.lock().unwrap_or_else(PoisonError::into_inner) = None;
        Ok(())
    }

    /// Opens what lies there, with what its journal adds, and writes nothing; `None`: there is nothing, or it is of an
    /// earlier format. What fails here leaves every byte where it is.
    fn open_aside(&self) -> Result<Option<redb::Database>, Error> {
        let place = &*self.place;
        let path = &*place.name();
        let cannot = |source| cannot_open(path, source);
        let n_bytes = place.n_bytes().map_err(cannot)?;
        if n_bytes == 0 {
            refuse_without_file(place)?;
            return Ok(None);
        }
        let mut redb = builder(path, self.cache_bytes);
        redb.set_check_integrity_on_open(n_bytes <= MAX_VERIFIED_BYTES);
        let database = match place.open_aside(&redb) {
            // Perhaps it never became one; whoever opens it to write to it sees to it.
            Err(DatabaseError::Storage(StorageError::Io(source))) if source.kind() == io::ErrorKind::InvalidData => {
                refuse_without_file(place)?;
                return Ok(None);
            }
            database => database.map_err(|source| explain(path, source))?,
        };
        match format(path, &database)? {
            None => refuse_without_file(place).map(|()| None),
            Some(FORMAT) => {
                let journal = place.journal_aside().map_err(cannot)?;
                self.replay(&database, journal, place.journal_bytes())?;
                Ok(Some(database))
            }
            Some(found) if found > FORMAT => Err(Error::TooNew { path: path.to_owned(), found, known: FORMAT }),
            Some(_) => Ok(None),
        }
    }

    fn open_to_write(&self) -> Result<(redb::Database, Journal), Error> {
        // What it had before does not count, also while the format is changed.
        self.keyring.load(Vec::new(), BTreeSet::new())?;
        let database = open_checked(&*self.place, self.cache_bytes, &self.keyring)?;
        let cannot = |source| cannot_open(&self.place.name(), source);
        let journal = self.place.journal().map_err(cannot)?;
        let journal = self.replay(&database, journal, self.place.journal_bytes())?;
        // Its name in the directory must survive too.
        self.place.sync().map_err(cannot)?;
        Ok((database, journal))
    }

    /// Brings the database up to what the journal holds, and the keys with it. Nothing of it is written: it is in the
    /// journal, which gets `n_bytes` if it is new.
    fn replay(
        &self,
        database: &redb::Database,
        file: Box<dyn StorageBackend>,
        n_bytes: usize,
    ) -> Result<Journal, Error> {
        let expected = expected(&database.begin_read()?)?;
        let opened = Journal::open(file, expected, n_bytes);
        let (journal, batches) = opened.map_err(|source| cannot_open(&self.place.name(), source))?;
        self.keyring.load(Vec::new(), BTreeSet::new())?;
        // A store of before a table was thought of has everything else.
        if !batches.is_empty() || tables::is_one_missing(&database.begin_read()?)? {
            let mut transaction = database.begin_write()?;
            {
                let mut tables = Tables::open(&transaction, &self.keyring)?;
                for row in batches.iter().flat_map(|batch| log::rows(batch)) {
                    tables.replay(row.or(Err(Error::Value { what: "journal" }))?)?;
                }
            }
            set_durability(&mut transaction, Durability::None)?;
            transaction.commit()?;
            tracing::debug!(n_batches = batches.len(), "what was written last is taken from the store's journal");
        }
        load_keys(&self.keyring, &database.begin_read()?)?;
        Ok(journal)
    }

    /// Nothing can be read or written until it is opened again.
    pub(super) fn close(&self) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        (*current, *self.journal()) = (None, None);
    }

    /// Is it open? Otherwise it must be opened again.
    pub(super) fn is_open(&self) -> bool {
        self.current.read().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// Is it open to be written to? Otherwise it must be opened again, which is of use once [`Self::may_reopen`].
    pub(super) fn is_open_to_write(&self) -> bool {
        self.journal().is_some()
    }

    /// Is there a reason to believe that it can be opened to be written to?
    pub(super) fn may_reopen(&self) -> Result<(), Error> {
        may_grow(self.room()?)
    }

    /// Puts a new database, into which `copy` writes durably, in the place of this one. Nothing may be written
    /// meanwhile. After an error this one is in use as before, unless the disk failed in the last step. The journal
    /// holds nothing of what was before.
    pub(super) fn replace<T>(
        &self,
        copy: impl FnOnce(&ReadTransaction, &redb::Database) -> Result<T, Error>,
    ) -> Result<T, Failed> {
        self.checkpoint(false)?;
        match self.journal().as_mut() {
            Some(journal) => journal.wipe().map_err(Failed::journal)?,
            None => return Err(Failed::database(self.not_open())),
        }
        self.replace_by(copy).map_err(|error| Failed { error, must_reopen: !self.is_open() })
    }

    fn replace_by<T>(
        &self,
        copy: impl FnOnce(&ReadTransaction, &redb::Database) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let copied = put_copy(&*self.place, self.cache_bytes, |new| {
            let copied = copy(&*self.read()?, new)?;
            // What is to be gone is in the file of an earlier format too.
            self.place.forget_kept(u64::MAX)?;
            Ok(copied)
        });
        let (copied, new) = copied.inspect_err(|_| discard(&*self.place))?;
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
        is_known?;
        Ok(copied)
    }
}

/// Makes a new database beside the one that is there, and puts it in its place.
pub(super) fn put_copy<T>(
    place: &dyn Place,
    cache_bytes: usize,
    copy: impl FnOnce(&redb::Database) -> Result<T, Error>,
) -> Result<(T, redb::Database), Error> {
    let name = place.name();
    let redb = builder(&name, cache_bytes);
    let explain = |source| explain(&name, source);
    let mut new = place.begin(&redb).map_err(explain)?;
    let copied = copy(&new)?;
    // redb leaves room between pages, and cuts off what is free at the end of a file when it is closed.
    new.compact().map_err(|source| Error::Storage(Box::new(source)))?;
    new.close().map_err(explain)?;
    let new = place.open_new(&redb).map_err(explain)?;
    place.replace()?;
    Ok((copied, new))
}

/// What was made and not stored before is forgotten.
fn load_keys(keyring: &Keyring, transaction: &ReadTransaction) -> Result<(), Error> {
    let (keys, erasing) = (transaction.open_table(KEYS.definition)?, transaction.open_table(ERASING.definition)?);
    let stored = keys.iter()?.map(|row| row.map(|(tenant, key)| (tenant.value().to_owned(), key.value().to_vec())));
    let erasing = erasing.iter()?.map(|row| row.map(|(tenant, _)| tenant.value().to_owned()));
    keyring.load(stored.collect::<Result<_, _>>()?, erasing.collect::<Result<_, _>>()?)
}

/// The database begins with this epoch, and needs no journal.
pub(super) fn begin_epoch(tables: &mut Tables<'_>, epoch: u64) -> Result<(), Error> {
    expect(tables, Expected { epoch, needed: 0 })
}

/// The database has all records of the epochs before this one.
fn expect(tables: &mut Tables<'_>, Expected { epoch, needed }: Expected) -> Result<(), Error> {
    tables.numbers.put(&mut tables.log, &Number::Epoch.name(), Some(&epoch))?;
    tables.numbers.put(&mut tables.log, &Number::Journal.name(), Some(&needed))
}

/// What the database says about its journal.
pub(super) fn expected(view: &ReadTransaction) -> Result<Expected, Error> {
    Ok(Expected { epoch: number(view, Number::Epoch)?, needed: number(view, Number::Journal)? })
}

fn may_grow(room: Room) -> Result<(), Error> {
    if room.is_read_only {
        return Err(io::Error::new(io::ErrorKind::ReadOnlyFilesystem, "the file system can only be read").into());
    }
    if room.available_bytes < room.reserve_bytes() / 4 {
        return Err(room.full());
    }
    Ok(())
}

fn number(view: &ReadTransaction, number: Number) -> Result<u64, Error> {
    Ok(view.open_table(NUMBERS.definition)?.get(number.name())?.map_or(0, |value| value.value()))
}

fn set_durability(transaction: &mut WriteTransaction, durability: Durability) -> Result<(), Error> {
    transaction.set_durability(durability).map_err(|source| Error::Storage(Box::new(source)))
}

/// What was committed last when it was made. Keep it as long as the tables that were opened from it.
pub(super) struct View<'d> {
    transaction: ReadTransaction,
    keyring: &'d Keyring,
    _current: RwLockReadGuard<'d, Option<redb::Database>>,
}

impl View<'_> {
    pub(super) fn values<K: RowKey, T: Versioned>(
        &self,
        table: &ValueTable<K, T>,
    ) -> Result<Values<'_, ReadOnlyTable<K, Bytes>, K, T>, Error> {
        Ok(Values::new(self.transaction.open_table(table.definition)?, table, self.keyring))
    }

    /// What opens values.
    pub(super) fn keyring(&self) -> &Keyring {
        self.keyring
    }

    pub(super) fn rows<K: Key + 'static, V: Value + 'static>(
        &self,
        table: &PlainTable<K, V>,
    ) -> Result<ReadOnlyTable<K, V>, Error> {
        Ok(self.transaction.open_table(table.definition)?)
    }
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
    keyring: Keyring,
    _replaced: Arc<Replaced>,
}

impl LongView {
    /// What opens values.
    pub(super) fn keyring(&self) -> &Keyring {
        &self.keyring
    }
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

fn open_checked(place: &dyn Place, cache_bytes: usize, keyring: &Keyring) -> Result<redb::Database, Error> {
    let path = &*place.name();
    let database = open_locked(place, cache_bytes)?;
    discard(place);
    // A new name in a directory survives a power cut only when the directory is synced too.
    place.sync().map_err(|source| cannot_open(path, source))?;
    match format(path, &database)? {
        None => {
            refuse_without_file(place)?;
            make_tables(&database, keyring)?;
        }
        Some(FORMAT) => {}
        Some(found) if found > FORMAT => return Err(Error::TooNew { path: path.to_owned(), found, known: FORMAT }),
        Some(found) => return upgrade(place, cache_bytes, database, found, keyring),
    }
    Ok(database)
}

fn open_locked(place: &dyn Place, cache_bytes: usize) -> Result<redb::Database, Error> {
    let path = &*place.name();
    let mut redb = builder(path, cache_bytes);
    let n_bytes = place.n_bytes().map_err(|source| cannot_open(path, source))?;
    // Otherwise redb believes what it reads. It writes a page for it, and a full disk is no reason not to start.
    let has_room = place.room().is_ok_and(|room| !room.is_full());
    redb.set_check_integrity_on_open(has_room && n_bytes <= MAX_VERIFIED_BYTES);
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
        tracing::debug!(path, done = repair.progress(), "checking the store");
    });
    builder
}

/// The format of the file, `None` for a new one; refuses the file of another program.
pub(super) fn format(path: &str, database: &redb::Database) -> Result<Option<u32>, Error> {
    let transaction = database.begin_read()?;
    if transaction.list_tables()?.next().is_none() {
        return Ok(None);
    }
    let found = match transaction.open_table(META) {
        Ok(meta) => meta.get("format")?.map(|format| format.value()),
        Err(redb::TableError::Storage(source)) => return Err(source.into()),
        Err(_) => None,
    };
    match found {
        Some(1..) => Ok(found),
        _ => Err(cannot_open(path, "the file is a database of another program")),
    }
}

/// Copies the rows of an earlier format into a new file of this one. Until that takes its place nothing has changed, and
/// the file as it was is kept beside it.
fn upgrade(
    place: &dyn Place,
    cache_bytes: usize,
    old: redb::Database,
    format: u32,
    keyring: &Keyring,
) -> Result<redb::Database, Error> {
    let path = &*place.name();
    tracing::info!(path, from = format, to = FORMAT, "the store is brought to this version's format, in a copy");
    let failed = |source: Error| Error::NotUpgraded { path: path.to_owned(), format, source: Box::new(source) };
    let copy = |new: &redb::Database| {
        place.keep(format)?;
        rewrite::upgrade(&old.begin_read()?, new, format, keyring)
    };
    let (n_rows, new) = put_copy(place, cache_bytes, copy).inspect_err(|_| discard(place)).map_err(failed)?;
    place.sync().map_err(|source| cannot_open(path, source))?;
    tracing::info!(path, n_rows, "the store has this version's format");
    Ok(new)
}

/// A journal with something in it belonged to a store that was here.
fn refuse_without_file(place: &dyn Place) -> Result<(), Error> {
    let name = place.name();
    let cannot = |source| cannot_open(&name, source);
    let file = place.journal_aside().map_err(cannot)?;
    if Journal::is_used(&*file).map_err(cannot)? {
        return Err(cannot_open(
            &name,
            "it is empty, and its journal is not: the file was cut off or removed; put it back from a backup, or move \
             the journal away too to begin anew",
        ));
    }
    Ok(())
}

fn make_tables(database: &redb::Database, keyring: &Keyring) -> Result<(), Error> {
    let transaction = database.begin_write()?;
    transaction.open_table(META)?.insert("format", FORMAT)?;
    begin_epoch(&mut Tables::open(&transaction, keyring)?, first_epoch()?)?;
    Ok(transaction.commit()?)
}

/// Of no other store, so that its journal is not taken for one of this.
pub(super) fn first_epoch() -> Result<u64, Error> {
    let mut bytes = [0; 8];
    aws_lc_rs::rand::fill(&mut bytes).or(Err(Error::Storage("there are no random numbers".into())))?;
    Ok(u64::from_le_bytes(bytes))
}

fn cannot_open(path: &str, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
    Error::Open { path: path.to_owned(), source: source.into() }
}

/// Is the file not what redb wrote?
fn is_damage(error: &(dyn std::error::Error + 'static)) -> bool {
    match error.downcast_ref() {
        Some(redb::Error::Io(source)) => source.kind() == io::ErrorKind::UnexpectedEof,
        Some(redb::Error::PreviousIo | redb::Error::DatabaseClosed | redb::Error::LockPoisoned(_)) | None => false,
        Some(_) => true,
    }
}

/// One that cannot be opened for what is in it. `detail` is for whoever looks into redb.
pub(super) fn damaged(path: &str, detail: &dyn fmt::Display) -> Error {
    tracing::error!(path, %detail, "what is in the store's file cannot be read");
    cannot_open(path, "the file is damaged or cut off: not all of it is what was written")
}

pub(super) fn explain(path: &str, error: DatabaseError) -> Error {
    match error {
        DatabaseError::DatabaseAlreadyOpen | DatabaseError::LockProtocolMismatch => {
            Error::Locked { path: path.to_owned() }
        }
        DatabaseError::Storage(StorageError::Io(source)) if source.kind() == io::ErrorKind::UnexpectedEof => {
            damaged(path, &source)
        }
        DatabaseError::Storage(StorageError::Io(source)) => cannot_open(path, source),
        DatabaseError::Storage(source @ StorageError::Corrupted(_)) => damaged(path, &source),
        DatabaseError::Storage(source) => source.into(),
        error => damaged(path, &error),
    }
}
