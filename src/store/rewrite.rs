//! Writes all rows into a new file and puts it in the place of the old one, after an erasure.
//!
//! redb writes changed pages elsewhere and does not clear the old ones. What was removed is certainly gone only from
//! a file in which it never was. The writer's thread does this, so nothing else is written meanwhile; reads go on. That
//! it must be done is known after a restart by two numbers: erasures, and as many of them as a rewrite has seen.

use redb::{Durability, Key, ReadTransaction, ReadableTable, TableDefinition, TableError, Value};

use super::database::{self, Database, Failed};
use super::log::Log;
use super::portable::PortableKey;
use super::record::Rewritten;
use super::scope::Scope;
use super::seal::Keyring;
use super::tables::{self, FILES, FORMAT, META, NUMBERS, Number, Tables, Visitor, hour};
use super::values::{PlainTable, RowKey, ValueTable};
use super::versioned::Versioned;
use super::{Error, disk};

/// Of keys and values in one transaction of the copy. What it changes is in memory until it is committed.
pub(super) const STEP_BYTES: usize = 4 * 1024 * 1024;

/// Rewrites the file if something was erased since the last time.
///
/// # Errors
/// [`Error::NotOverwritten`]: the old file is in use as before, or the disk failed and it must be opened again.
pub(super) fn if_pending(database: &Database) -> Result<Rewritten, Failed> {
    if !is_pending(database).map_err(|error| Failed { error, must_reopen: false })? {
        return Ok(Rewritten::default());
    }
    let failed = |failed: Failed| failed.map(|source| Error::NotOverwritten(Box::new(source)));
    let n_rows = database.replace(copy).map_err(failed)?;
    tracing::info!(n_rows, "the store's file was written anew: what was erased is not in it");
    Ok(Rewritten { n_rows })
}

/// Was something erased since the last time?
pub(super) fn is_pending(database: &Database) -> Result<bool, Error> {
    let view = database.read()?;
    let numbers = view.rows(&NUMBERS)?;
    let number = |number: Number| Ok::<_, Error>(numbers.get(number.name())?.map_or(0, |value| value.value()));
    Ok(number(Number::Erasures)? > number(Number::Rewritten)?)
}

/// Copies all rows into an empty database, on the disk when it returns. Returns how many they are.
fn copy(from: &ReadTransaction, into: &redb::Database) -> Result<u64, Error> {
    let mut copy = Copy { from, into, seal: None, n_rows: 0 };
    tables::show(&mut copy)?;
    let n_rows = copy.n_rows;
    finish(into)?;
    Ok(n_rows)
}

/// Notes in a new file which format it has, and that nothing erased is in it. It is on the disk then, whole.
pub(super) fn finish(into: &redb::Database) -> Result<(), Error> {
    let transaction = into.begin_write()?;
    {
        transaction.open_table(META)?.insert("format", FORMAT)?;
        let mut numbers = transaction.open_table(NUMBERS.definition)?;
        let n_erasures = numbers.get(Number::Erasures.name())?.map_or(0, |value| value.value());
        numbers.insert(Number::Rewritten.name(), n_erasures)?;
    }
    // What was committed before without a sync is on the disk with this.
    Ok(transaction.commit()?)
}

/// Copies all rows of an earlier format into an empty database, on the disk when it returns. Returns how many they are.
pub(super) fn upgrade(
    from: &ReadTransaction,
    into: &redb::Database,
    format: u32,
    keyring: &Keyring,
) -> Result<u64, Error> {
    let mut copy = Copy { from, into, seal: Some(keyring), n_rows: 0 };
    tables::show(&mut copy)?;
    let n_rows = copy.n_rows;
    let transaction = into.begin_write()?;
    transaction.open_table(META)?.insert("format", FORMAT)?;
    {
        let mut tables = Tables::open(&transaction, keyring)?;
        copy_files(from, &mut tables)?;
        if format == 1 {
            make_indexes(&mut tables)?;
        }
        tables.put_new_keys()?;
        database::begin_epoch(&mut tables, database::first_epoch()?)?;
    }
    transaction.commit()?;
    Ok(n_rows)
}

/// The first format had no archive and no indexes by activity and by conversation.
fn make_indexes(tables: &mut Tables<'_>) -> Result<(), Error> {
    let Tables { log, sessions, activity, users, peers, .. } = tables;
    for row in sessions.range::<(&str, &str)>(..)? {
        match row {
            Ok((id, session)) => {
                let (tenant, key) = id.value();
                activity.put(log, &(hour(session.last_active_at), tenant, key), Some(&()))?;
            }
            Err(error @ Error::Value { .. }) => tracing::error!(%error, "a conversation is never archived by itself"),
            Err(error) => return Err(error),
        }
    }
    for row in users.range::<(&str, &str, &str, &str)>(..)? {
        let (id, _) = row?;
        let (tenant, channel, user, key) = id.value();
        peers.put(log, &(tenant, key, channel, user), Some(&()))?;
    }
    // Nobody reads it: the transaction is durable by itself.
    *log = Log::default();
    Ok(())
}

/// Names of working files were in the keys of their rows.
fn copy_files(from: &ReadTransaction, tables: &mut Tables<'_>) -> Result<(), Error> {
    let files = match from.open_table(FILES.definition) {
        Err(TableError::TableDoesNotExist(_)) => return Ok(()),
        files => files?,
    };
    for row in files.iter()? {
        let (id, file) = row?;
        let (tenant, key, episode, name) = id.value();
        let scope = Scope::restore(tenant, key)?;
        match disk::File::decode(file.value()) {
            Ok(file) => {
                let (tag, file) = (tables.file_tag(&scope, name)?, disk::File { name: name.to_owned(), ..file });
                tables.files.put(&mut tables.log, &(tenant, key, episode, &*tag), Some(&file.encode()?))?;
                // Nobody reads it: the transaction is durable by itself.
                tables.log = Log::default();
            }
            Err(error) => tracing::error!(%error, "a working file is left out"),
        }
    }
    Ok(())
}

/// On its way from one database into another.
struct Copy<'c> {
    from: &'c ReadTransaction,
    into: &'c redb::Database,
    /// Values are not sealed yet, and are on the way.
    seal: Option<&'c Keyring>,
    n_rows: u64,
}

impl Visitor for Copy<'_> {
    type Error = Error;

    /// All rows of a table, in the order of their keys.
    fn values<K: RowKey, T: Versioned>(&mut self, table: &ValueTable<K, T>) -> Result<(), Error> {
        let Some(keyring) = self.seal else { return self.table(table.definition, |_, _| Ok(None)) };
        if table.number == FILES.number {
            return Ok(());
        }
        self.table(table.definition, |key, value| {
            let row = K::as_bytes(key);
            keyring.seal(K::tenant(key), (table.number, row.as_ref()), value).map(Some)
        })
    }

    /// The same of a table that is never sealed.
    fn rows<K: PortableKey, V: Value + 'static>(&mut self, table: &PlainTable<K, V>) -> Result<(), Error> {
        self.table(table.definition, |_, _| Ok(None))
    }
}

impl Copy<'_> {
    /// `change` makes another value, as redb writes it.
    fn table<K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: TableDefinition<K, V>,
        change: impl for<'r> Fn(&K::SelfType<'r>, &V::SelfType<'r>) -> Result<Option<Vec<u8>>, Error>,
    ) -> Result<(), Error> {
        let from = match self.from.open_table(table) {
            // Of a later format than the one from which it comes.
            Err(TableError::TableDoesNotExist(_)) => return Ok(()),
            from => from?,
        };
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
                    match change(&key, &value)? {
                        Some(changed) => drop(into.insert(key, V::from_bytes(&changed))?),
                        None => drop(into.insert(key, value)?),
                    }
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
