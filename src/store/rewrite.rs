//! Writes all rows into a new file and puts it in the place of the old one, after an erasure.
//!
//! redb writes changed pages elsewhere and does not clear the old ones. What was removed is certainly gone only from
//! a file in which it never was. The writer's thread does this, so nothing else is written meanwhile; reads go on. That
//! it must be done is known after a restart by two numbers: erasures, and as many of them as a rewrite has seen.

use redb::{Durability, ReadTransaction, ReadableTable, TableDefinition, Value};

use super::Error;
use super::database::Database;
use super::portable::PortableKey;
use super::record::Rewritten;
use super::tables::{self, NUMBERS, Number, Shape, Visitor};

/// Of keys and values in one transaction of the copy. What it changes is in memory until it is committed.
pub(super) const STEP_BYTES: usize = 4 * 1024 * 1024;

/// Rewrites the file if something was erased since the last time.
///
/// # Errors
/// [`Error::NotOverwritten`]: the old file is in use as before, or the disk failed and it must be opened again.
pub(super) fn if_pending(database: &Database) -> Result<Rewritten, Error> {
    if !is_pending(database)? {
        return Ok(Rewritten::default());
    }
    let n_rows = database.replace(copy).map_err(|source| Error::NotOverwritten(Box::new(source)))?;
    tracing::info!(n_rows, "the store's file was written anew: what was erased is not in it");
    Ok(Rewritten { n_rows })
}

/// Was something erased since the last time?
pub(super) fn is_pending(database: &Database) -> Result<bool, Error> {
    let view = database.read()?;
    let numbers = view.open_table(NUMBERS)?;
    let number = |number: Number| Ok::<_, Error>(numbers.get(number.name())?.map_or(0, |value| value.value()));
    Ok(number(Number::Erasures)? > number(Number::Rewritten)?)
}

/// Copies all rows into an empty database, on the disk when it returns. Returns how many they are.
fn copy(from: &ReadTransaction, into: &redb::Database) -> Result<u64, Error> {
    let mut copy = Copy { from, into, n_rows: 0 };
    tables::each(&mut copy)?;
    let n_rows = copy.n_rows;
    finish(into)?;
    Ok(n_rows)
}

/// Notes in a new file that nothing erased is in it. It is on the disk then, whole.
pub(super) fn finish(into: &redb::Database) -> Result<(), Error> {
    let transaction = into.begin_write()?;
    {
        let mut numbers = transaction.open_table(NUMBERS)?;
        let n_erasures = numbers.get(Number::Erasures.name())?.map_or(0, |value| value.value());
        numbers.insert(Number::Rewritten.name(), n_erasures)?;
    }
    // What was committed before without a sync is on the disk with this.
    Ok(transaction.commit()?)
}

/// On its way from one database into another.
struct Copy<'c> {
    from: &'c ReadTransaction,
    into: &'c redb::Database,
    n_rows: u64,
}

impl Visitor for Copy<'_> {
    type Error = Error;

    /// All rows of a table, in the order of their keys.
    fn table<K: PortableKey, V: Value + 'static>(
        &mut self,
        _number: u8,
        table: TableDefinition<K, V>,
        _shape: Shape,
    ) -> Result<(), Error> {
        let from = self.from.open_table(table)?;
        let mut rows = from.iter()?;
        loop {
            let mut transaction = self.into.begin_write()?;
            let mut n_bytes = 0;
            {
                let mut into = transaction.open_table(table)?;
                while n_bytes < STEP_BYTES
                    && let Some(row) = rows.next()
                {
                    let (key, value) = row?;
                    let (key, value) = (key.value(), value.value());
                    n_bytes += K::as_bytes(&key).as_ref().len() + V::as_bytes(&value).as_ref().len();
                    self.n_rows += 1;
                    into.insert(key, value)?;
                }
            }
            let is_full = n_bytes >= STEP_BYTES;
            // A long one is synced, so that neither redb nor the system keeps much in memory; many short ones share a sync.
            let durability = if is_full { Durability::Immediate } else { Durability::None };
            transaction.set_durability(durability).map_err(|source| Error::Storage(Box::new(source)))?;
            transaction.commit()?;
            if !is_full {
                return Ok(());
            }
        }
    }
}
