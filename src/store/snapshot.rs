//! Everything that is kept, row by row, as it was at one moment; and a new file made from such rows.
//!
//! What backups are made of and restored to. Rows come by table, the tables by their numbers, and within a table by key; a
//! key is written as `portable` says. Values are opened, so that they compress and another device can seal them: whoever
//! has the rows has the words. First come the data keys, opened too, under a number that is no table's: with them what is
//! made from a key, as the tags of names are, stays what it is. What belongs to a file and not to what is in it is left out.
//! Neither side holds more than a few rows and the data keys in memory.

use std::collections::BTreeSet;
use std::fmt;
use std::fs;
use std::iter::Peekable;
use std::path::Path;
use std::sync::Arc;

use redb::{Durability, ReadableTable, TableDefinition, TableHandle as _, Value};
use serde::{Deserialize, Serialize};
use zeroize::Zeroize as _;

use super::database::{self, Database, LongView};
use super::place::{self, InDirectory, Place as _};
use super::portable::PortableKey;
use super::rewrite::{self, STEP_BYTES};
use super::seal::{EXPORTED_BYTES, Keyring};
use super::tables::{self, KEYS, NUMBERS, Number, TRANSCRIPT, Tables, Visitor};
use super::values::{PlainTable, RowKey, ValueTable};
use super::versioned::Versioned;
use super::{Error, disk};
use crate::clock::Timestamp;

/// Which tables there are, and how their keys are made.
pub const ROWS_FORMAT: u32 = tables::FORMAT;

/// Stands for the table of data keys, whose rows have the keys wrapped: tenant → id of the key (16 bytes), key (32).
const DATA_KEYS: u8 = 0;

/// One row of one table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Row<'r> {
    /// Number of its table, the same in all versions; 0 for a data key.
    pub table: u8,
    /// Its key. Compared as bytes, keys of a table have the order of the table.
    pub key: &'r [u8],
    /// Its value.
    pub value: &'r [u8],
}

/// The same with bytes of its own.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnedRow {
    /// Number of its table, the same in all versions; 0 for a data key.
    pub table: u8,
    /// Its key.
    pub key: Vec<u8>,
    /// Its value.
    pub value: Vec<u8>,
}

impl OwnedRow {
    /// Borrows it.
    #[must_use]
    pub fn as_row(&self) -> Row<'_> {
        Row { table: self.table, key: &self.key, value: &self.value }
    }
}

impl Drop for OwnedRow {
    fn drop(&mut self) {
        if self.table == DATA_KEYS {
            self.value.zeroize();
        }
    }
}

/// Without the bytes: they are what people said.
impl fmt::Debug for Row<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Row").field("table", &self.table).finish_non_exhaustive()
    }
}

impl fmt::Debug for OwnedRow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_row().fmt(f)
    }
}

/// All that is kept as it was at one moment, whatever is written meanwhile.
pub struct Snapshot {
    // First, as it must be gone when the database is closed.
    view: LongView,
    _database: Arc<Database>,
}

impl Snapshot {
    pub(super) fn take(database: Arc<Database>) -> Result<Self, Error> {
        Ok(Self { view: database.read_long()?, _database: database })
    }

    /// Hands every row to `sink`, until it fails. Rows of a tenant that is being erased, whose key is gone, are left out.
    ///
    /// # Errors
    /// Those of `sink`; [`Error::Value`], [`Error::DataKey`] when one cannot be opened; [`Error::Storage`] when the file cannot
    /// be read, or the disk failed and the store is to be opened again.
    pub fn rows<E: From<Error>>(&self, sink: impl FnMut(Row<'_>) -> Result<(), E>) -> Result<(), E> {
        let mut walk = Walk { view: &self.view, sink, key: Vec::new() };
        walk.data_keys()?;
        tables::show(&mut walk)
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

struct Walk<'s, S> {
    view: &'s LongView,
    sink: S,
    key: Vec<u8>,
}

impl<S> Walk<'_, S> {
    fn give<K: PortableKey, E>(&mut self, table: u8, key: &K::SelfType<'_>, value: &[u8]) -> Result<(), E>
    where
        S: FnMut(Row<'_>) -> Result<(), E>,
    {
        self.key.clear();
        K::write(key, &mut self.key);
        (self.sink)(Row { table, key: &self.key, value })
    }

    fn data_keys<E: From<Error>>(&mut self) -> Result<(), E>
    where
        S: FnMut(Row<'_>) -> Result<(), E>,
    {
        let view = self.view;
        let keys = view.open_table(KEYS.definition).map_err(Error::from)?;
        for row in keys.iter().map_err(Error::from)? {
            let (tenant, wrapped) = row.map_err(Error::from)?;
            let exported = view.keyring().export(tenant.value(), wrapped.value())?;
            self.give::<&str, E>(DATA_KEYS, &tenant.value(), &exported)?;
        }
        Ok(())
    }
}

impl<E: From<Error>, S: FnMut(Row<'_>) -> Result<(), E>> Visitor for Walk<'_, S> {
    type Error = E;

    fn values<K: RowKey, T: Versioned>(&mut self, table: &ValueTable<K, T>) -> Result<(), E> {
        let view = self.view;
        let keyring = view.keyring();
        let rows = view.open_table(table.definition).map_err(Error::from)?;
        for row in rows.iter().map_err(Error::from)? {
            let (key, stored) = row.map_err(Error::from)?;
            let key = key.value();
            if keyring.is_erasing(K::tenant(&key)) {
                continue;
            }
            let opened = keyring.open(K::tenant(&key), (table.number, K::as_bytes(&key).as_ref()), stored.value());
            let value = opened.map_err(|_sealed| Error::Value { what: T::WHAT })?;
            self.give::<K, E>(table.number, &key, &value)?;
        }
        Ok(())
    }

    fn rows<K: PortableKey, V: Value + 'static>(&mut self, table: &PlainTable<K, V>) -> Result<(), E> {
        if table.number == KEYS.number {
            return Ok(());
        }
        let rows = self.view.open_table(table.definition).map_err(Error::from)?;
        for row in rows.iter().map_err(Error::from)? {
            let (key, value) = row.map_err(Error::from)?;
            let (key, value) = (key.value(), value.value());
            if table.number == NUMBERS.number && Number::is_of_file(K::as_bytes(&key).as_ref()) {
                continue;
            }
            self.give::<K, E>(table.number, &key, V::as_bytes(&value).as_ref())?;
        }
        Ok(())
    }
}

/// What rows hold.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Contents {
    /// Rows of each table, by its name.
    pub rows: Vec<(String, u64)>,
    /// When the first and the last line of a transcript was said.
    pub said: Option<(Timestamp, Timestamp)>,
}

impl Contents {
    /// Rows of the table with this name.
    #[must_use]
    pub fn count(&self, table: &str) -> u64 {
        self.rows.iter().find(|(name, _)| *name == table).map_or(0, |(_, n_rows)| *n_rows)
    }
}

/// Reads every row: its key and its value must be what this program writes, and their order that of a [`Snapshot`].
///
/// # Errors
/// Those of `rows`, [`Error::Value`] and [`Error::DataKey`].
pub fn examine<E: From<Error>>(rows: impl Iterator<Item = Result<OwnedRow, E>>) -> Result<Contents, E> {
    let (tenants, contents) = (BTreeSet::new(), Contents::default());
    let mut examined = Examine { rows: Rows(rows.peekable()), tenants, contents };
    examined.data_keys()?;
    tables::show(&mut examined)?;
    examined.rows.end()?;
    Ok(examined.contents)
}

/// What the rows with this number are, if there are such.
#[must_use]
pub fn table_name(number: u8) -> Option<String> {
    struct Find(u8, Option<String>);
    impl Find {
        fn note(&mut self, number: u8, name: &str) {
            if number == self.0 {
                self.1 = Some(name.to_owned());
            }
        }
    }
    impl Visitor for Find {
        type Error = Error;

        fn values<K: RowKey, T: Versioned>(&mut self, table: &ValueTable<K, T>) -> Result<(), Error> {
            self.note(table.number, table.definition.name());
            Ok(())
        }

        fn rows<K: PortableKey, V: Value + 'static>(&mut self, table: &PlainTable<K, V>) -> Result<(), Error> {
            let number = if table.number == KEYS.number { DATA_KEYS } else { table.number };
            self.note(number, table.definition.name());
            Ok(())
        }
    }
    let mut find = Find(number, None);
    tables::show(&mut find).ok()?;
    find.1
}

/// Rows in the order of their tables.
struct Rows<I: Iterator>(Peekable<I>);

impl<E: From<Error>, I: Iterator<Item = Result<OwnedRow, E>>> Rows<I> {
    /// The next one of this table, if that is what comes next.
    fn next_of(&mut self, table: u8) -> Option<Result<OwnedRow, E>> {
        self.0.next_if(|row| row.as_ref().map_or(true, |row| row.table == table))
    }

    /// Nothing may be left: it would be of a table that is not known, or came before.
    fn end(&mut self) -> Result<(), E> {
        match self.0.next() {
            None => Ok(()),
            Some(Err(error)) => Err(error),
            Some(Ok(_)) => Err(Error::Value { what: "row of an unknown table" }.into()),
        }
    }
}

/// A row's key as the table takes it; the keys of a table must rise.
fn read<K: PortableKey>(row: &OwnedRow, before: &[u8]) -> Result<K::Owned, Error> {
    let is_after = before.is_empty() || *before < *row.key;
    K::read(&row.key).filter(|_| is_after).ok_or(Error::Value { what: "row" })
}

fn check_width<V: Value>(value: &[u8]) -> Result<(), Error> {
    let has_width = V::fixed_width().is_none_or(|width| width == value.len());
    if has_width { Ok(()) } else { Err(Error::Value { what: "row" }) }
}

struct Examine<I: Iterator> {
    rows: Rows<I>,
    /// Those that have a data key.
    tenants: BTreeSet<String>,
    contents: Contents,
}

impl<E: From<Error>, I: Iterator<Item = Result<OwnedRow, E>>> Examine<I> {
    fn table<K: PortableKey>(
        &mut self,
        number: u8,
        name: &str,
        mut check: impl FnMut(&mut Self, &K::SelfType<'_>, &[u8]) -> Result<(), Error>,
    ) -> Result<(), E> {
        let (mut n_rows, mut before) = (0, Vec::new());
        while let Some(mut row) = self.rows.next_of(number).transpose()? {
            let key = read::<K>(&row, &before)?;
            check(self, &K::lend(&key), &row.value)?;
            n_rows += 1;
            before = std::mem::take(&mut row.key);
        }
        self.contents.rows.push((name.to_owned(), n_rows));
        Ok(())
    }

    fn data_keys(&mut self) -> Result<(), E> {
        self.table::<&str>(DATA_KEYS, KEYS.definition.name(), |examine, tenant, exported| {
            examine.tenants.insert((*tenant).to_owned());
            if exported.len() == EXPORTED_BYTES { Ok(()) } else { Err(Error::DataKey) }
        })
    }
}

impl<E: From<Error>, I: Iterator<Item = Result<OwnedRow, E>>> Visitor for Examine<I> {
    type Error = E;

    fn values<K: RowKey, T: Versioned>(&mut self, table: &ValueTable<K, T>) -> Result<(), E> {
        self.table::<K>(table.number, table.definition.name(), |examine, key, value| {
            if !examine.tenants.contains(K::tenant(key)) {
                return Err(Error::DataKey);
            }
            if table.number != TRANSCRIPT.number {
                return T::decode(value).map(drop);
            }
            let at = Timestamp(disk::Line::decode(value)?.at);
            let (first, last) = examine.contents.said.unwrap_or((at, at));
            examine.contents.said = Some((first.min(at), last.max(at)));
            Ok(())
        })
    }

    fn rows<K: PortableKey, V: Value + 'static>(&mut self, table: &PlainTable<K, V>) -> Result<(), E> {
        if table.number == KEYS.number {
            return Ok(());
        }
        self.table::<K>(table.number, table.definition.name(), |_, _, value| check_width::<V>(value))
    }
}

/// What becomes of a store that is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existing {
    /// It stays, and nothing is put there.
    Refuse,
    /// It stays beside, as `<name>.before-restore`.
    KeepBeside,
}

/// A whole store beside the place where it will be.
#[derive(Debug)]
pub struct Filled {
    place: InDirectory,
    existing: Existing,
    n_rows: u64,
}

impl Filled {
    pub(super) fn fill<E: From<Error>>(
        path: &Path,
        cache_bytes: usize,
        existing: Existing,
        wrapping_key: impl FnOnce() -> Result<[u8; 32], E>,
        rows: impl Iterator<Item = Result<OwnedRow, E>>,
    ) -> Result<Self, E> {
        let place = InDirectory::new(path);
        let name = place.name();
        let explain = |source| database::explain(&name, source);
        drop(place.hold(existing)?);
        let keyring = Keyring::new(&wrapping_key()?)?;
        let redb = database::builder(&name, cache_bytes);
        let mut new = place.begin(&redb).map_err(explain)?;
        // From here on what is beside goes away with it.
        let mut filled = Self { place, existing, n_rows: 0 };
        let mut fill = Fill { rows: Rows(rows.peekable()), into: &new, keyring: &keyring, n_rows: 0 };
        fill.data_keys()?;
        tables::show(&mut fill)?;
        fill.rows.end()?;
        filled.n_rows = fill.n_rows;
        begin(&new, &keyring)?;
        rewrite::finish(&new)?;
        new.compact().map_err(|source| Error::Storage(Box::new(source)))?;
        new.close().map_err(explain)?;
        Ok(filled)
    }

    /// Rows in it.
    #[must_use]
    pub fn n_rows(&self) -> u64 {
        self.n_rows
    }

    /// Puts it where it should be, in one step; true when another one was there and lies beside now.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Occupied`], [`Error::Storage`]; what was there is there.
    pub fn put(self) -> Result<bool, Error> {
        let held = self.place.hold(self.existing)?;
        self.place.put(&held)?;
        self.place.sync()?;
        Ok(!held.is_empty())
    }
}

/// What of a store lay at its place before another one was put there.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct WasThere {
    store: bool,
    journal: bool,
}

impl WasThere {
    /// What lies there now.
    #[must_use]
    pub fn look(path: &Path) -> Self {
        Self { store: is_there(path), journal: is_there(&place::journal_of(path)) }
    }

    /// See `Store::take_back`. A power cut at any point of [`Filled::put`], or of this, leaves what this can finish.
    pub(super) fn take_back(self, path: &Path) -> Result<(), Error> {
        let place = InDirectory::new(path);
        let before = place::beside(path, BESIDE);
        let (journal, journal_before) = (place::journal_of(path), place::journal_of(&before));
        place.discard()?;
        // Nobody has opened the new one, so a journal that is there is the old one, and its copy is perhaps not whole.
        if !self.journal {
            place::remove(&journal)?;
        } else if is_there(&journal) {
            place::remove(&journal_before)?;
        } else if is_there(&journal_before) {
            fs::rename(&journal_before, &journal)?;
        }
        if !self.store {
            place::remove(path)?;
        } else if is_there(&before) {
            // Both names may still be those of one file, which a rename would leave there.
            fs::rename(&before, path)?;
            place::remove(&before)?;
        }
        Ok(place.sync()?)
    }
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Behind the name of what makes room.
const BESIDE: &str = ".before-restore";

impl Drop for Filled {
    fn drop(&mut self) {
        // After it was put, there is nothing to discard.
        if let Err(error) = self.place.discard() {
            tracing::warn!(%error, path = self.place.name(), "an unfinished copy of the store could not be removed");
        }
    }
}

/// Makes the tables that no row was for, and an epoch in which no journal that lies there counts.
fn begin(new: &redb::Database, keyring: &Keyring) -> Result<(), Error> {
    let transaction = new.begin_write()?;
    database::begin_epoch(&mut Tables::open(&transaction, keyring)?, database::first_epoch()?)?;
    Ok(transaction.commit()?)
}

struct Fill<'f, I: Iterator> {
    rows: Rows<I>,
    into: &'f redb::Database,
    keyring: &'f Keyring,
    n_rows: u64,
}

impl<E: From<Error>, I: Iterator<Item = Result<OwnedRow, E>>> Fill<'_, I> {
    /// Rows of this number go into this table, once `store` has made of a value what is stored.
    fn table<K: PortableKey, V: Value + 'static>(
        &mut self,
        number: u8,
        table: TableDefinition<K, V>,
        store: impl Fn(&Keyring, &K::SelfType<'_>, &mut Vec<u8>) -> Result<(), Error>,
    ) -> Result<(), E> {
        let mut before = Vec::new();
        loop {
            let mut transaction = self.into.begin_write().map_err(Error::from)?;
            let mut n_bytes = 0;
            {
                let mut into = transaction.open_table(table).map_err(Error::from)?;
                while n_bytes < STEP_BYTES
                    && let Some(mut row) = self.rows.next_of(number).transpose()?
                {
                    let key = read::<K>(&row, &before)?;
                    n_bytes += row.key.len() + row.value.len();
                    self.n_rows += 1;
                    store(self.keyring, &K::lend(&key), &mut row.value)?;
                    into.insert(K::lend(&key), V::from_bytes(&row.value)).map_err(Error::from)?;
                    before = std::mem::take(&mut row.key);
                }
            }
            let is_full = n_bytes >= STEP_BYTES;
            // As for a copy: long ones are synced, many short ones share a sync.
            let durability = if is_full { Durability::Immediate } else { Durability::None };
            transaction.set_durability(durability).map_err(|source| Error::Storage(Box::new(source)))?;
            transaction.commit().map_err(Error::from)?;
            if !is_full {
                return Ok(());
            }
        }
    }

    fn data_keys(&mut self) -> Result<(), E> {
        self.table(DATA_KEYS, KEYS.definition, |keyring, tenant, value| {
            let wrapped = keyring.take_over(tenant, value)?;
            value.zeroize();
            *value = wrapped;
            Ok(())
        })
    }
}

impl<E: From<Error>, I: Iterator<Item = Result<OwnedRow, E>>> Visitor for Fill<'_, I> {
    type Error = E;

    fn values<K: RowKey, T: Versioned>(&mut self, table: &ValueTable<K, T>) -> Result<(), E> {
        let number = table.number;
        self.table(number, table.definition, |keyring, key, value| {
            let tenant = K::tenant(key);
            // Otherwise one would be made for it, and what was made from the old one would be of no use.
            if !keyring.has_key(tenant) {
                return Err(Error::DataKey);
            }
            T::decode(value)?;
            *value = keyring.seal(tenant, (number, K::as_bytes(key).as_ref()), value)?;
            Ok(())
        })
    }

    fn rows<K: PortableKey, V: Value + 'static>(&mut self, table: &PlainTable<K, V>) -> Result<(), E> {
        if table.number == KEYS.number {
            return Ok(());
        }
        self.table(table.number, table.definition, |_, _, value| check_width::<V>(value))
    }
}
