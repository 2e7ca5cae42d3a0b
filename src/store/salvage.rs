//! Reading a store that may be damaged: nothing is written, and what cannot be read is said and passed over.
//!
//! redb says whether the file is whole, and reads it then. One that is not is read by `pages`. redb promises no error on
//! a damaged page, it may panic. So whatever it does here is caught.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;

use redb::backends::InMemoryBackend;
use redb::{Builder, DatabaseError, ReadTransaction, ReadableDatabase as _, StorageError, TableHandle as _};

use super::Error;
use super::database;
use super::journal::{Expected, Journal, Unusable};
use super::log;
use super::overlay::Original;
use super::pages::{Commit, Doubt, Pages};
use super::place;
use super::seal::Keyring;
use super::tables::{ERASING, FORMAT, KEYS, META, NUMBERS, Number};

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
    /// `None`: not every page of it is what redb wrote, or while it is dropped.
    database: Option<redb::Database>,
    pages: Pages,
    /// `None`: it never became a store, or what says so cannot be read.
    pub(super) format: Option<u32>,
    /// Batches of the journal that come behind what is in the file.
    pub(super) batches: Vec<Vec<u8>>,
    pub(super) problems: Problems,
    /// What opens its values.
    pub(super) keyring: Keyring,
    /// The data keys in the file that can be opened, by tenant.
    pub(super) keys: BTreeMap<String, Vec<u8>>,
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
        let (original, mut problems) = (Original::lock(path)?, Problems::default());
        let database = match open_whole(&original, cache_bytes)? {
            Ok(database) => Some(database),
            Err(why) => {
                problems.note(format!("the file is damaged: {why}"));
                None
            }
        };
        let age = |pages: &Pages| number_in(pages, Number::Epoch).unwrap_or(0);
        let pages = Pages::find(&original, age).unwrap_or_else(|| Pages::none(&original));
        match pages.commit {
            Commit::Before if database.is_none() => {
                problems.note("what was written to the file last cannot be found: it is taken as it was before");
            }
            Commit::Found => problems.note("the file does not say what was written last: what was found is taken"),
            Commit::Before | Commit::Last => {}
        }
        let mut damaged = Self {
            database,
            pages,
            format: None,
            batches: Vec::new(),
            problems,
            keyring: Keyring::new(wrapping_key)?,
            keys: BTreeMap::new(),
        };
        damaged.format = damaged.find_format(path)?;
        damaged.read_journal(path)?;
        damaged.read_keys()?;
        Ok(damaged)
    }

    /// Is every page of it what redb wrote? Then redb has it open.
    pub(super) fn is_whole(&self) -> bool {
        self.database.is_some()
    }

    pub(super) fn database(&self) -> Option<&redb::Database> {
        self.database.as_ref()
    }

    /// Is nothing of it there?
    pub(super) fn is_lost(&self) -> bool {
        self.pages.is_lost() && self.batches.is_empty()
    }

    /// What was committed last; `None`: it is not whole.
    pub(super) fn transaction(&self) -> Option<ReadTransaction> {
        caught(|| self.database.as_ref()?.begin_read().ok()).ok().flatten()
    }

    /// Shows every row of a table that can be read, without what the journal adds, as redb writes keys and values. `judge`
    /// says whether the row is what it should be.
    pub(super) fn read(
        &self,
        table: &str,
        mut judge: impl FnMut(&[u8], &[u8], Doubt) -> Result<Row, Error>,
    ) -> Result<Reach, Error> {
        let mut reach = Reach::default();
        let is_all = self.pages.read(table, |key, value, doubt| {
            reach.note(judge(key, value, doubt)?);
            Ok(())
        })?;
        if !is_all {
            let n_missing = self.pages.n_rows(table).map(|n_rows| n_rows.saturating_sub(reach.n_read));
            reach.n_lost = n_missing.unwrap_or(reach.n_lost.max(1));
        }
        Ok(reach)
    }

    fn find_format(&self, path: &Path) -> Result<Option<u32>, Error> {
        let name = path.display().to_string();
        let format = match &self.database {
            Some(database) => caught(|| database::format(&name, database)).unwrap_or(Ok(None))?,
            None => format_in(&self.pages),
        };
        match format {
            Some(found) if found > FORMAT => Err(Error::TooNew { path: name, found, known: FORMAT }),
            format => Ok(format),
        }
    }

    fn read_journal(&mut self, path: &Path) -> Result<(), Error> {
        let journal = Original::read(&place::journal_of(path))?.map(|journal| journal.overlay()).transpose()?;
        let expected = match self.transaction().filter(|_| self.format.is_some()) {
            Some(transaction) => caught(|| database::expected(&transaction)).ok().and_then(Result::ok),
            None => number_in(&self.pages, Number::Epoch)
                .map(|epoch| Expected { epoch, needed: number_in(&self.pages, Number::Journal).unwrap_or(0) }),
        };
        let expected = match (expected, &journal) {
            (Some(expected), _) => expected,
            (None, None) => return Ok(()),
            (None, Some(journal)) => {
                let Some(epoch) = Journal::first_epoch(journal)? else { return Ok(()) };
                if self.is_whole() {
                    self.problems.note("the file is empty, and its journal is not: it was cut off or removed");
                } else if self.pages.commit != Commit::Last && !self.pages.is_lost() {
                    self.problems.note("what the journal adds is not known: what comes before it is lost");
                    return Ok(());
                } else {
                    // What the file has of it already becomes the same again.
                    self.problems.note("the file does not say which part of the journal is new: all of it is taken");
                }
                Expected { epoch, needed: 0 }
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
            Some(unusable @ Unusable::Damaged { .. }) => {
                let n_taken = self.batches.len();
                self.problems.note(format!(
                    "the journal: {unusable}: what was written with it and after it is lost; the {n_taken} records before it \
                     count"
                ));
            }
            Some(unusable) => self.problems.note(format!("the journal: {unusable}")),
        }
        Ok(())
    }

    /// The data keys, as they are when the journal is taken in.
    fn read_keys(&mut self) -> Result<(), Error> {
        let (mut keys, mut erasing, mut is_all) = (BTreeMap::new(), BTreeSet::new(), true);
        if self.format == Some(FORMAT) || !self.is_whole() {
            let (table, keyring) = (KEYS.definition.name(), &self.keyring);
            is_all &= self.pages.read(table, |tenant, key, doubt| {
                let tenant = text(tenant);
                if doubt == Doubt::None || keyring.opens(&tenant, key) {
                    keys.insert(tenant, key.to_owned());
                }
                Ok(())
            })?;
            let knows_erasing = self.pages.read(ERASING.definition.name(), |tenant, _, doubt| {
                if doubt == Doubt::None {
                    erasing.insert(text(tenant));
                }
                Ok(())
            })?;
            if !is_all && knows_erasing && erasing.is_empty() {
                keys.append(&mut self.find_keys(&keys));
            }
        }
        self.keys = keys.clone();
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
            Err(error @ Error::DataKey) if is_all => Err(error),
            Err(Error::DataKey) => {
                self.problems.note("the keys of the values are lost, or it was sealed on another device");
                Ok(())
            }
            loaded => loaded,
        }?;
        let keyring = &self.keyring;
        self.keys.retain(|tenant, key| keyring.opens(tenant, key));
        Ok(())
    }

    /// Without its key nothing of a tenant can be read. So, if the table is damaged, keys of other tenants are looked for
    /// in all pages: where nobody was erased since the file was written, a key that was there is one that is.
    fn find_keys(&self, known: &BTreeMap<String, Vec<u8>>) -> BTreeMap<String, Vec<u8>> {
        let mut found = BTreeMap::new();
        let [erasures, rewritten] = [Number::Erasures, Number::Rewritten].map(|number| number_in(&self.pages, number));
        let are_known = self.pages.read(NUMBERS.definition.name(), |_, _, _| Ok(())).unwrap_or(false);
        if !are_known || erasures > rewritten {
            return found;
        }
        self.pages.search_rows(|tenant, key| {
            if let Ok(tenant) = str::from_utf8(tenant)
                && !known.contains_key(tenant)
                && self.keyring.opens(tenant, key)
            {
                found.insert(tenant.to_owned(), key.to_owned());
            }
        });
        found
    }
}

/// A row of a table whose values have a fixed length; `None`: it is not there, or in doubt.
fn row_in<const N: usize>(pages: &Pages, table: &str, key: &[u8]) -> Option<[u8; N]> {
    let mut found = None;
    let read = pages.read(table, |found_key, value, doubt| {
        if found_key == key && doubt == Doubt::None {
            found = <[u8; N]>::try_from(value).ok();
        }
        Ok(())
    });
    read.ok().and(found)
}

pub(super) fn format_in(pages: &Pages) -> Option<u32> {
    row_in(pages, META.name(), b"format").map(u32::from_le_bytes)
}

pub(super) fn number_in(pages: &Pages, number: Number) -> Option<u64> {
    row_in(pages, NUMBERS.definition.name(), number.name().as_bytes()).map(u64::from_le_bytes)
}

/// As a start opens it, if every page is what was written. The inner error says what is wrong with the file.
fn open_whole(original: &Original, cache_bytes: usize) -> Result<Result<redb::Database, String>, Error> {
    let overlay = original.overlay()?;
    let mut database = match caught(|| Builder::new().set_cache_size(cache_bytes).create_with_backend(overlay)) {
        Ok(Ok(database)) => database,
        Ok(Err(DatabaseError::Storage(StorageError::Io(source)))) => return Ok(Err(source.to_string())),
        Ok(Err(error)) => return Ok(Err(error.to_string())),
        Err(panic) => return Ok(Err(panic)),
    };
    let why = match caught(|| database.check_integrity()) {
        Ok(Ok(true)) => return Ok(Ok(database)),
        Ok(Ok(false)) => "not every page of it is what was written".to_owned(),
        Ok(Err(error)) => error.to_string(),
        Err(panic) => panic,
    };
    drop(caught(|| drop(database)));
    Ok(Err(why))
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
    /// A row of a table whose values are not sealed. A key that does not open is of no use, and nothing else is certain
    /// in a page that is not what it should be.
    pub(super) fn judge(&self, table: u8, key: &[u8], value: &[u8], doubt: Doubt) -> Row {
        let is_good = if table == KEYS.number { self.opens(&text(key), value) } else { doubt == Doubt::None };
        if is_good { Row::Good } else { Row::Bad }
    }
}

/// A tenant, as redb writes it.
pub(super) fn text(bytes: &[u8]) -> String {
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
    /// It was shown before.
    Again,
}

/// How far a table could be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Reach {
    /// Rows that were good.
    pub(super) n_read: u64,
    /// Rows that are there, or should be, and could not be read.
    pub(super) n_lost: u64,
}

impl Reach {
    pub(super) fn note(&mut self, row: Row) {
        match row {
            Row::Good | Row::Erasing => self.n_read += 1,
            Row::Bad => self.n_lost += 1,
            Row::Again => {}
        }
    }
}
