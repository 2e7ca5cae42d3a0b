//! Everything that is kept, row by row, as it was at one moment; and a new file made from such rows.
//!
//! What backups are made of and restored to. Rows come by table, the tables by their numbers (`tables::each`), and within
//! a table by key; a key is written as `portable` says. Neither side holds more than a few rows in memory.

use std::fmt;
use std::iter::Peekable;
use std::path::Path;
use std::sync::Arc;

use redb::{Durability, ReadableTable, TableDefinition, TableHandle as _, Value};

use super::Error;
use super::database::{self, Database, LongView};
use super::place::{InDirectory, Place as _};
use super::portable::PortableKey;
use super::rewrite::{self, STEP_BYTES};
use super::tables::{self, Shape, Tables, Visitor};
use crate::clock::Timestamp;

/// One row of one table.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Row<'r> {
    /// Number of its table, the same in all versions.
    pub table: u8,
    /// Its key. Compared as bytes, keys of a table have the order of the table.
    pub key: &'r [u8],
    /// Its value.
    pub value: &'r [u8],
}

/// The same with bytes of its own.
#[derive(Clone, PartialEq, Eq)]
pub struct OwnedRow {
    /// Number of its table, the same in all versions.
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

    /// Hands every row to `sink`, until it fails.
    ///
    /// # Errors
    /// Those of `sink`; [`Error::Storage`] when the file cannot be read, or the disk failed and the store is to be opened again.
    pub fn rows<E: From<Error>>(&self, sink: impl FnMut(Row<'_>) -> Result<(), E>) -> Result<(), E> {
        tables::each(&mut Walk { snapshot: self, sink, key: Vec::new() })
    }
}

impl fmt::Debug for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Snapshot").finish_non_exhaustive()
    }
}

struct Walk<'s, S> {
    snapshot: &'s Snapshot,
    sink: S,
    key: Vec<u8>,
}

impl<E: From<Error>, S: FnMut(Row<'_>) -> Result<(), E>> Visitor for Walk<'_, S> {
    type Error = E;

    fn table<K: PortableKey, V: Value + 'static>(
        &mut self,
        number: u8,
        table: TableDefinition<K, V>,
        _shape: Shape,
    ) -> Result<(), E> {
        let table = self.snapshot.view.open_table(table).map_err(Error::from)?;
        for row in table.iter().map_err(Error::from)? {
            let (key, value) = row.map_err(Error::from)?;
            self.key.clear();
            K::write(&key.value(), &mut self.key);
            let value = value.value();
            (self.sink)(Row { table: number, key: &self.key, value: V::as_bytes(&value).as_ref() })?;
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
/// Those of `rows`, and [`Error::Value`].
pub fn examine<E: From<Error>>(rows: impl Iterator<Item = Result<OwnedRow, E>>) -> Result<Contents, E> {
    let mut examined = Examine { rows: Rows(rows.peekable()), contents: Contents::default() };
    tables::each(&mut examined)?;
    examined.rows.end()?;
    Ok(examined.contents)
}

/// The name of the table with this number, if there is one.
#[must_use]
pub fn table_name(number: u8) -> Option<String> {
    struct Find(u8, Option<String>);
    impl Visitor for Find {
        type Error = std::convert::Infallible;

        fn table<K: PortableKey, V: Value + 'static>(
            &mut self,
            number: u8,
            table: TableDefinition<K, V>,
            _shape: Shape,
        ) -> Result<(), Self::Error> {
            if number == self.0 {
                self.1 = Some(table.name().to_owned());
            }
            Ok(())
        }
    }
    let mut find = Find(number, None);
    let Ok(()) = tables::each(&mut find);
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

/// A row's key and value as the table takes them; the keys of a table must rise.
fn read<K: PortableKey, V: Value + 'static>(
    row: &OwnedRow,
    before: &[u8],
    shape: Shape,
) -> Result<(K::Owned, Option<Timestamp>), Error> {
    let is_after = before.is_empty() || *before < *row.key;
    let has_width = V::fixed_width().is_none_or(|width| width == row.value.len());
    match K::read(&row.key) {
        Some(key) if is_after && has_width => Ok((key, shape(&row.value)?)),
        _ => Err(Error::Value { what: "row" }),
    }
}

struct Examine<I: Iterator> {
    rows: Rows<I>,
    contents: Contents,
}

impl<E: From<Error>, I: Iterator<Item = Result<OwnedRow, E>>> Visitor for Examine<I> {
    type Error = E;

    fn table<K: PortableKey, V: Value + 'static>(
        &mut self,
        number: u8,
        table: TableDefinition<K, V>,
        shape: Shape,
    ) -> Result<(), E> {
        let (mut n_rows, mut before) = (0, Vec::new());
        while let Some(row) = self.rows.next_of(number).transpose()? {
            let (_, at) = read::<K, V>(&row, &before, shape)?;
            n_rows += 1;
            if let Some(at) = at {
                let (first, last) = self.contents.said.unwrap_or((at, at));
                self.contents.said = Some((first.min(at), last.max(at)));
            }
            before = row.key;
        }
        self.contents.rows.push((table.name().to_owned(), n_rows));
        Ok(())
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
        rows: impl Iterator<Item = Result<OwnedRow, E>>,
    ) -> Result<Self, E> {
        let place = InDirectory::new(path);
        let name = place.name();
        let explain = |source| database::explain(&name, source);
        drop(place.hold(existing)?);
        let redb = database::builder(&name, cache_bytes);
        let mut new = place.begin(&redb).map_err(explain)?;
        // From here on what is beside goes away with it.
        let mut filled = Self { place, existing, n_rows: 0 };
        let mut fill = Fill { rows: Rows(rows.peekable()), into: &new, n_rows: 0 };
        tables::each(&mut fill)?;
        fill.rows.end()?;
        filled.n_rows = fill.n_rows;
        let transaction = new.begin_write().map_err(Error::from)?;
        drop(Tables::open(&transaction)?);
        transaction.commit().map_err(Error::from)?;
        rewrite::finish(&new)?;
        database::check_format(&name, &new)?;
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
        let was_there = held.is_some();
        self.place.put(held)?;
        self.place.sync().map_err(|source| Error::Storage(Box::new(source)))?;
        Ok(was_there)
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        // After it was put, there is nothing to discard.
        if let Err(error) = self.place.discard() {
            tracing::warn!(%error, path = self.place.name(), "an unfinished copy of the store could not be removed");
        }
    }
}

struct Fill<'f, I: Iterator> {
    rows: Rows<I>,
    into: &'f redb::Database,
    n_rows: u64,
}

impl<E: From<Error>, I: Iterator<Item = Result<OwnedRow, E>>> Visitor for Fill<'_, I> {
    type Error = E;

    fn table<K: PortableKey, V: Value + 'static>(
        &mut self,
        number: u8,
        table: TableDefinition<K, V>,
        shape: Shape,
    ) -> Result<(), E> {
        let mut before = Vec::new();
        loop {
            let mut transaction = self.into.begin_write().map_err(Error::from)?;
            let mut n_bytes = 0;
            {
                let mut into = transaction.open_table(table).map_err(Error::from)?;
                while n_bytes < STEP_BYTES
                    && let Some(row) = self.rows.next_of(number).transpose()?
                {
                    let (key, _) = read::<K, V>(&row, &before, shape)?;
                    n_bytes += row.key.len() + row.value.len();
                    self.n_rows += 1;
                    into.insert(K::lend(&key), V::from_bytes(&row.value)).map_err(Error::from)?;
                    before = row.key;
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
}
