//! Reading a store that may be damaged: nothing is written, and what cannot be read is said and passed over.
//!
//! redb promises no error on a damaged page, it may panic. So whatever it does here is caught.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use redb::backends::InMemoryBackend;
use redb::{
    AccessGuard, Builder, DatabaseError, Key, ReadTransaction, ReadableDatabase as _, ReadableTable as _,
    ReadableTableMetadata as _, StorageError, TableDefinition, TableError, Value,
};

use super::Error;
use super::database;
use super::journal::{Journal, Unusable};
use super::log;
use super::overlay::Original;
use super::place;
use super::seal::Keyring;
use super::tables::{ERASING, FORMAT, KEYS};

/// Rows of a table that may come before the one in front of them.
const MAX_BACK: u32 = 64;
/// Problems that are kept in full; more are counted.
const MAX_PROBLEMS: usize = 50;

/// What is wrong with a store. No word of a conversation, and no name of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Problems {
    pub(super) first: Vec<String>,
    pub(super) n: u64,
}

impl Problems {
    pub(super) fn note(&mut self, problem: impl Into<String>) {
        self.n += 1;
        if self.first.len() < MAX_PROBLEMS {
            self.first.push(problem.into());
        }
    }
}

/// A store that is open for reading, with its journal.
pub(super) struct Damaged {
    /// `None`: nothing of it can be opened, or while it is dropped.
    database: Option<redb::Database>,
    /// Is every page of it what redb wrote?
    pub(super) is_whole: bool,
    /// `None`: it never became a store.
    pub(super) format: Option<u32>,
    /// Batches of the journal that come behind what is in the file.
    pub(super) batches: Vec<Vec<u8>>,
    pub(super) problems: Problems,
    /// What opens its values.
    pub(super) keyring: Keyring,
    _original: Original,
}

impl Drop for Damaged {
    fn drop(&mut self) {
        let database = self.database.take();
        // It writes while it is closed.
        drop(caught(|| drop(database)));
    }
}

impl Damaged {
    /// Opens what lies there; nobody else can meanwhile.
    pub(super) fn open(path: &Path, cache_bytes: usize, wrapping_key: &[u8; 32]) -> Result<Self, Error> {
        let original = Original::lock(path)?;
        let (mut problems, mut is_whole) = (Problems::default(), true);
        let mut database = open_plainly(&original, cache_bytes)?;
        match database.as_mut().map(|database| caught(|| database.check_integrity())) {
            Ok(Ok(Ok(true))) => {}
            checked => {
                is_whole = false;
                problems.note(match checked {
                    Ok(Ok(Ok(_))) => "the file is damaged: not every page of it is what was written".to_owned(),
                    Ok(Ok(Err(error))) => format!("the file is damaged: {error}"),
                    Ok(Err(panic)) => format!("the file is damaged: {panic}"),
                    Err(why) => format!("the file is damaged: {why}"),
                });
                // The check may have put back what was before; what is there now is read instead, as far as it can be.
                drop(caught(|| drop(database)));
                database = match open_plainly(&original, cache_bytes)? {
                    Ok(database) => Ok(database),
                    Err(_) => open_before(&original, cache_bytes)?,
                };
            }
        }
        let mut damaged = Self {
            database: database.ok(),
            is_whole,
            format: None,
            batches: Vec::new(),
            problems,
            keyring: Keyring::new(wrapping_key)?,
            _original: original,
        };
        damaged.format = damaged.find_format(path)?;
        damaged.read_journal(path)?;
        damaged.read_keys()?;
        Ok(damaged)
    }

    pub(super) fn database(&self) -> Option<&redb::Database> {
        self.database.as_ref()
    }

    /// What was committed last; `None`: that cannot be read.
    pub(super) fn transaction(&self) -> Option<ReadTransaction> {
        caught(|| self.database.as_ref()?.begin_read().ok()).ok().flatten()
    }

    fn find_format(&mut self, path: &Path) -> Result<Option<u32>, Error> {
        let name = path.display().to_string();
        let Some(database) = &self.database else { return Ok(None) };
        match caught(|| database::format(&name, database)) {
            Ok(Ok(Some(found))) if found > FORMAT => Err(Error::TooNew { path: name, found, known: FORMAT }),
            Ok(Ok(format)) => Ok(format),
            Ok(Err(error)) if self.is_whole => Err(error),
            Ok(Err(_)) | Err(_) => Ok(None),
        }
    }

    fn read_journal(&mut self, path: &Path) -> Result<(), Error> {
        let journal = Original::read(&place::journal_of(path))?.map(|journal| journal.overlay()).transpose()?;
        let expected = match self.transaction().map(|transaction| caught(|| database::expected(&transaction))) {
            Some(Ok(Ok(expected))) => expected,
            _ if self.format.is_none() && self.is_whole => {
                if journal.is_some_and(|journal| Journal::is_used(&journal).unwrap_or(true)) {
                    self.problems.note("the file is empty, and its journal is not: it was cut off or removed");
                }
                return Ok(());
            }
            _ if journal.is_none() => return Ok(()),
            _ => {
                self.problems.note("what the journal adds is not known: the file does not say which part of it is new");
                return Ok(());
            }
        };
        let (batches, unusable) = match &journal {
            Some(journal) => Journal::salvage(journal, expected, place::JOURNAL_BYTES)?,
            None => Journal::salvage(&InMemoryBackend::new(), expected, place::JOURNAL_BYTES)?,
        };
        self.batches = batches;
        match unusable {
            None => {}
            Some(unusable @ Unusable::Io(_)) => self.problems.note(format!("the journal cannot be read: {unusable}")),
            Some(unusable) => self.problems.note(format!("the journal: {unusable}")),
        }
        Ok(())
    }
}

impl Damaged {
    /// The data keys, as they are when the journal is taken in.
    fn read_keys(&mut self) -> Result<(), Error> {
        let (mut keys, mut erasing) = (BTreeMap::new(), BTreeSet::new());
        if let Some(from) = self.transaction().filter(|_| self.format == Some(FORMAT) || !self.is_whole) {
            read_all(&from, KEYS.definition, |tenant, key| {
                keys.insert(text(tenant), key.to_owned());
                Ok(Row::Good)
            })?;
            read_all(&from, ERASING.definition, |tenant, _| {
                erasing.insert(text(tenant));
                Ok(Row::Good)
            })?;
        }
        for row in self.batches.iter().flat_map(|batch| log::rows(batch)).flatten() {
            match (row.table, row.value) {
                (number, Some(key)) if number == KEYS.number => drop(keys.insert(text(row.key), key.to_owned())),
                (number, None) if number == KEYS.number => drop(keys.remove(&text(row.key))),
                (number, Some(_)) if number == ERASING.number => drop(erasing.insert(text(row.key))),
                (number, None) if number == ERASING.number => drop(erasing.remove(&text(row.key))),
                _ => {}
            }
        }
        match self.keyring.load(keys.into_iter().collect(), erasing) {
            // Another device's: nothing can be said about what is in it.
            Err(error @ Error::DataKey) if self.is_whole => Err(error),
            Err(Error::DataKey) => {
                self.problems.note("the keys of the values are lost, or it was sealed on another device");
                Ok(())
            }
            loaded => loaded,
        }
    }
}

/// As a start does. The inner error says what is wrong with the file.
fn open_plainly(original: &Original, cache_bytes: usize) -> Result<Result<redb::Database, String>, Error> {
    open(original, Builder::new().set_cache_size(cache_bytes))
}

/// As it was before the last commit, if that is whole.
fn open_before(original: &Original, cache_bytes: usize) -> Result<Result<redb::Database, String>, Error> {
    open(original, Builder::new().set_cache_size(cache_bytes).set_check_integrity_on_open(true))
}

fn open(original: &Original, redb: &Builder) -> Result<Result<redb::Database, String>, Error> {
    let overlay = original.overlay()?;
    Ok(match caught(|| redb.create_with_backend(overlay)) {
        Ok(Ok(database)) => Ok(database),
        Ok(Err(DatabaseError::Storage(StorageError::Io(source)))) => Err(source.to_string()),
        Ok(Err(error)) => Err(error.to_string()),
        Err(panic) => Err(panic),
    })
}

/// A panic becomes what it said.
pub(super) fn caught<T>(work: impl FnOnce() -> T) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(work)).map_err(|panic| said(&*panic))
}

fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str).or_else(|| panic.downcast_ref::<&str>().copied());
    // What redb says may be long, and hold a piece of what it read.
    match text.and_then(|text| text.lines().next()) {
        Some(text) if text.len() < 100 && text.is_ascii() => format!("reading it failed ({text})"),
        _ => "reading it failed".to_owned(),
    }
}

impl Keyring {
    /// A row of a table whose values are not sealed. A key that does not open is of no use.
    pub(super) fn judge(&self, table: u8, key: &[u8]) -> Row {
        let is_lost = table == KEYS.number && matches!(self.admit(&text(key)), Err(Error::DataKey));
        if is_lost { Row::Bad } else { Row::Good }
    }
}

/// A tenant, as redb writes it.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// A row that can be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Row {
    Good,
    /// It is not what it should be.
    Bad,
    /// Of a tenant that is being erased.
    Erasing,
}

/// How far a table could be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Reach {
    /// Rows that were good.
    pub(super) n_read: u64,
    /// Rows that are there, or should be, and could not be read.
    pub(super) n_lost: u64,
}

/// Shows every row that can be read, as redb writes keys and values: from the first on, and where that ends too early from
/// the last back. `judge` says whether the row is what it should be.
pub(super) fn read_all<K: Key + 'static, V: Value + 'static>(
    transaction: &ReadTransaction,
    table: TableDefinition<'_, K, V>,
    mut judge: impl FnMut(&[u8], &[u8]) -> Result<Row, Error>,
) -> Result<Reach, Error> {
    let mut reach = Reach::default();
    let opened = match caught(|| transaction.open_table(table)) {
        Ok(Ok(opened)) => opened,
        Ok(Err(TableError::TableDoesNotExist(_))) => return Ok(reach),
        // How many there were is not known.
        Ok(Err(_)) | Err(_) => return Ok(Reach { n_lost: 1, ..reach }),
    };
    let n_rows = caught(|| opened.len().ok()).ok().flatten();
    let mut last: Option<Vec<u8>> = None;
    let (mut is_cut, mut n_back) = (false, 0);
    match caught(|| opened.iter()) {
        Ok(Ok(mut rows)) => loop {
            match caught(|| rows.next()) {
                Ok(None) => break,
                Ok(Some(Ok(row))) => match caught(|| raw::<K, V>(&row)) {
                    Ok((key, value)) => {
                        // A wrong bit in a key leaves it out of order, and a damaged tree may lead in a circle.
                        n_back += u32::from(last.as_deref().is_some_and(|last| !K::compare(last, &key).is_lt()));
                        if n_back > MAX_BACK {
                            is_cut = true;
                            break;
                        }
                        reach.note(judge(&key, &value)?);
                        last = Some(key);
                    }
                    Err(_) => reach.note(Row::Bad),
                },
                Ok(Some(Err(_))) | Err(_) => {
                    is_cut = true;
                    break;
                }
            }
        },
        Ok(Err(_)) | Err(_) => is_cut = true,
    }
    if is_cut {
        read_back::<K, V>(&opened, last.as_deref(), &mut reach, &mut judge)?;
        let n_missing = n_rows.unwrap_or(0).saturating_sub(reach.n_read);
        reach.n_lost = reach.n_lost.max(n_missing).max(1);
    }
    Ok(reach)
}

/// From the last row back to where the way from the first one ended.
fn read_back<K: Key + 'static, V: Value + 'static>(
    table: &redb::ReadOnlyTable<K, V>,
    until: Option<&[u8]>,
    reach: &mut Reach,
    judge: &mut impl FnMut(&[u8], &[u8]) -> Result<Row, Error>,
) -> Result<(), Error> {
    let from = until.map_or(Bound::Unbounded, |key| Bound::Excluded(K::from_bytes(key)));
    let Ok(Ok(mut rows)) = caught(|| table.range::<K::SelfType<'_>>((from, Bound::Unbounded))) else { return Ok(()) };
    let mut before: Option<Vec<u8>> = None;
    while let Ok(Some(Ok(row))) = caught(|| rows.next_back()) {
        let Ok((key, value)) = caught(|| raw::<K, V>(&row)) else {
            reach.note(Row::Bad);
            continue;
        };
        let is_behind = until.is_none_or(|until| K::compare(until, &key).is_lt());
        let is_ahead = before.as_deref().is_none_or(|before| K::compare(&key, before).is_lt());
        if !(is_behind && is_ahead) {
            break;
        }
        reach.note(judge(&key, &value)?);
        before = Some(key);
    }
    Ok(())
}

impl Reach {
    fn note(&mut self, row: Row) {
        *(if row == Row::Bad { &mut self.n_lost } else { &mut self.n_read }) += 1;
    }
}

/// The bytes of a row. Panics where they are not what the types say.
fn raw<K: Key + 'static, V: Value + 'static>(
    (key, value): &(AccessGuard<'_, K>, AccessGuard<'_, V>),
) -> (Vec<u8>, Vec<u8>) {
    (K::as_bytes(&key.value()).as_ref().to_vec(), V::as_bytes(&value.value()).as_ref().to_vec())
}
