//! Reads a whole store and says what is wrong with it. Not a byte of it changes.

use std::path::Path;

use redb::{Key, ReadTransaction, ReadableTable as _, TableDefinition, TableHandle as _, Value};

use super::log;
use super::pages::Doubt;
use super::portable::PortableKey;
use super::salvage::{Damaged, Problems, Reach, Row, caught};
use super::scope::Scope;
use super::seal::Keyring;
use super::tables::{
    self, ACTIVITY, ARCHIVE, FILES, FORMAT, INBOX, MARKS, MARKS_BY_TIME, NOTES, OUTBOX, PARKED, PEERS, SESSIONS, TAKEN,
    TRANSCRIPT, Tables, USERS, Visitor, hour,
};
use super::values::{PlainTable, RowKey, ValueTable, Values};
use super::versioned::Versioned;
use super::{Error, disk};
use crate::id::SessionKey;

/// What [`check`] found.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Checked {
    /// Of its keys and tables; `None`: it never became a store, or too little of it can be read.
    pub format: Option<u32>,
    /// Rows that can be read, by table. Empty for a store of an earlier format, which a start brings to this one.
    pub rows: Vec<(String, u64)>,
    /// Batches in the journal that the file has yet to take in, as after a power cut.
    pub n_batches: usize,
    /// What is wrong, the first of it. No word of a conversation.
    pub problems: Vec<String>,
    /// How much is.
    pub n_problems: u64,
}

/// Reads the store at `path`, every page and every row, with a cache of at most `cache_bytes`. Its files stay as they are.
/// `wrapping_key` is the one that it was opened with.
///
/// # Errors
/// [`Error::Locked`] while a gateway has it open; [`Error::Open`] when it is not there or no store; [`Error::TooNew`];
/// [`Error::DataKey`]; [`Error::Storage`].
pub fn check(path: &Path, cache_bytes: usize, wrapping_key: &[u8; 32]) -> Result<Checked, Error> {
    let mut store = Damaged::open(path, cache_bytes, wrapping_key)?;
    if store.format.is_some() {
        take_in(&mut store);
    }
    let n_batches = store.batches.len();
    let mut problems = std::mem::take(&mut store.problems);
    let keyring = &store.keyring;
    let mut rows = Rows { store: &store, transaction: store.transaction(), found: Vec::new() };
    if store.format == Some(FORMAT) || !store.is_whole() {
        match caught(|| tables::show(&mut rows)) {
            Ok(shown) => shown?,
            Err(panic) => problems.note(panic),
        }
    }
    for (name, reach) in rows.found.iter().filter(|(_, reach)| reach.n_lost > 0) {
        problems.note(format!("{} of the table {name} cannot be read", rows_text(reach.n_lost)));
    }
    if store.is_whole() && store.format == Some(FORMAT) {
        let related = caught(|| rows.transaction.as_ref().map(|rows| relations(rows, keyring, &mut problems)));
        match related {
            Ok(related) => related.transpose().map(drop)?,
            Err(panic) => problems.note(panic),
        }
    }
    let found = rows.found.into_iter().map(|(name, reach)| (name, reach.n_read)).collect();
    Ok(Checked { format: store.format, rows: found, n_batches, problems: problems.first, n_problems: problems.n })
}

/// Puts into the file, as it is in memory, what its journal adds.
fn take_in(store: &mut Damaged) {
    let Some(database) = store.database().filter(|_| !store.batches.is_empty()) else { return };
    let taken = caught(|| {
        let transaction = database.begin_write()?;
        replay(&mut Tables::open(&transaction, &store.keyring)?, &store.batches)?;
        Ok::<_, Error>(transaction.commit()?)
    });
    match taken {
        Ok(Ok(())) => {}
        Ok(Err(error)) => store.problems.note(format!("the journal cannot be taken in: {error}")),
        Err(panic) => store.problems.note(format!("the journal cannot be taken in: {panic}")),
    }
}

/// Writes what the batches say, in their order.
pub(super) fn replay(tables: &mut Tables<'_>, batches: &[Vec<u8>]) -> Result<(), Error> {
    for row in batches.iter().flat_map(|batch| log::rows(batch)) {
        tables.replay(row.or(Err(Error::Value { what: "journal" }))?)?;
    }
    Ok(())
}

/// How many, for people.
pub(super) fn rows_text(n: u64) -> String {
    format!("{n} {}", if n == 1 { "row" } else { "rows" })
}

/// Reads all tables.
struct Rows<'r> {
    store: &'r Damaged,
    transaction: Option<ReadTransaction>,
    found: Vec<(String, Reach)>,
}

impl Rows<'_> {
    fn table<K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: TableDefinition<'_, K, V>,
        judge: impl Fn(&[u8], &[u8], Doubt) -> Row,
    ) -> Result<(), Error> {
        let reach = match &self.transaction {
            Some(transaction) => {
                let mut reach = Reach::default();
                let rows = match transaction.open_table(table) {
                    // Of before it was thought of; whoever opens the store to write makes it.
                    Err(redb::TableError::TableDoesNotExist(_)) => {
                        self.found.push((table.name().to_owned(), reach));
                        return Ok(());
                    }
                    rows => rows?,
                };
                for row in rows.iter()? {
                    let (key, value) = row?;
                    let (key, value) = (key.value(), value.value());
                    reach.note(judge(K::as_bytes(&key).as_ref(), V::as_bytes(&value).as_ref(), Doubt::None));
                }
                reach
            }
            None => self.store.read(table.name(), |key, value, doubt| Ok(judge(key, value, doubt)))?,
        };
        self.found.push((table.name().to_owned(), reach));
        Ok(())
    }
}

impl Visitor for Rows<'_> {
    type Error = Error;

    fn values<K: RowKey, T: Versioned>(&mut self, table: &ValueTable<K, T>) -> Result<(), Error> {
        let keyring = &self.store.keyring;
        self.table(table.definition, |key, value, _| table.judge(keyring, key, value))
    }

    fn rows<K: PortableKey, V: Value + 'static>(&mut self, table: &PlainTable<K, V>) -> Result<(), Error> {
        let keyring = &self.store.keyring;
        self.table(table.definition, |key, value, doubt| keyring.judge(table.number, key, value, doubt))
    }
}

/// Do the tables say the same? A row that cannot be read was said before.
pub(super) fn relations(from: &ReadTransaction, keyring: &Keyring, problems: &mut Problems) -> Result<(), Error> {
    sessions(from, keyring, problems)?;
    indexes(from, keyring, problems)?;
    keys(from, keyring, problems)
}

/// Live conversations and what is counted in their rows.
fn sessions(from: &ReadTransaction, keyring: &Keyring, problems: &mut Problems) -> Result<(), Error> {
    let sessions = Values::new(from.open_table(SESSIONS.definition)?, &SESSIONS, keyring);
    let archive = Values::new(from.open_table(ARCHIVE.definition)?, &ARCHIVE, keyring);
    let transcript = Values::new(from.open_table(TRANSCRIPT.definition)?, &TRANSCRIPT, keyring);
    let inbox = Values::new(from.open_table(INBOX.definition)?, &INBOX, keyring);
    let parked = Values::new(from.open_table(PARKED.definition)?, &PARKED, keyring);
    let activity = from.open_table(ACTIVITY.definition)?;
    let n_lines = |tenant: &str, key: &str, session: &disk::Session| {
        let lines = transcript.keys((tenant, key, session.first_line)..=(tenant, key, session.n_lines))?;
        lines.map(|line| line.map(drop)).try_fold(0_u64, |n, line| line.map(|()| n + 1))
    };
    for row in sessions.range::<(&str, &str)>(..)? {
        let Ok((id, session)) = row else { continue };
        let (tenant, key) = id.value();
        if activity.get((hour(session.last_active_at), tenant, key))?.is_none() {
            problems.note("a conversation is not in the index by activity: it would never be archived");
        }
        if n_lines(tenant, key, &session)? != session.n_said() {
            problems.note("a conversation has another number of lines than its row says");
        }
        let last = |keys: Option<Result<redb::AccessGuard<'_, tables::Position>, Error>>| {
            Ok::<_, Error>(keys.transpose()?.map_or(0, |key| key.value().2))
        };
        if last(inbox.keys((tenant, key, 0)..=(tenant, key, u64::MAX))?.next_back())? > session.n_filed
            || last(parked.keys((tenant, key, 0)..=(tenant, key, u64::MAX))?.next_back())? > session.n_parked
            || last(transcript.keys((tenant, key, 0)..=(tenant, key, u64::MAX))?.next_back())? > session.n_lines
        {
            problems.note("a conversation has something behind the last position of its row");
        }
    }
    for id in Values::new(from.open_table(TAKEN.definition)?, &TAKEN, keyring).keys::<(&str, &str)>(..)? {
        let id = id?;
        if !sessions.has(id.value())? {
            problems.note("somebody has taken a conversation that does not live");
        }
    }
    for row in archive.range::<(&str, &str, u64)>(..)? {
        let Ok((id, archived)) = row else { continue };
        let (tenant, key, episode) = id.value();
        if episode != archived.session.episode || n_lines(tenant, key, &archived.session)? != archived.session.n_said()
        {
            problems.note("an archived conversation has another number of lines than its row says");
        }
    }
    Ok(())
}

/// Tables that say the same in another order.
fn indexes(from: &ReadTransaction, keyring: &Keyring, problems: &mut Problems) -> Result<(), Error> {
    let sessions = Values::new(from.open_table(SESSIONS.definition)?, &SESSIONS, keyring);
    for row in from.open_table(ACTIVITY.definition)?.iter()? {
        let (id, _) = row?;
        let (active_in, tenant, key) = id.value();
        if sessions.get((tenant, key)).ok().flatten().is_some_and(|session| hour(session.last_active_at) != active_in)
            || !sessions.has((tenant, key))?
        {
            problems.note("the index by activity names a conversation that is not there, or another hour");
        }
    }
    let (users, peers) = (from.open_table(USERS.definition)?, from.open_table(PEERS.definition)?);
    for row in users.iter()? {
        let (id, _) = row?;
        let (tenant, channel, user, key) = id.value();
        if peers.get((tenant, key, channel, user))?.is_none() {
            problems.note("somebody wrote to a conversation that does not know it");
        }
    }
    for row in peers.iter()? {
        let (id, _) = row?;
        let (tenant, key, channel, user) = id.value();
        if users.get((tenant, channel, user, key))?.is_none() {
            problems.note("a conversation knows somebody who cannot be found");
        }
    }
    let (marks, by_time) = (from.open_table(MARKS.definition)?, from.open_table(MARKS_BY_TIME.definition)?);
    for row in marks.iter()? {
        let (id, at) = row?;
        let (tenant, entry, message_id) = id.value();
        if by_time.get((at.value(), tenant, entry, message_id))?.is_none() {
            problems.note("a mark of a message is not in the index by time: it would be kept for ever");
        }
    }
    for row in by_time.iter()? {
        let (id, _) = row?;
        let (at, tenant, entry, message_id) = id.value();
        if marks.get((tenant, entry, message_id))?.is_none_or(|mark| mark.value() != at) {
            problems.note("the index by time names a mark that is not there");
        }
    }
    Ok(())
}

/// What lies under keys of which nothing else is known.
fn keys(from: &ReadTransaction, keyring: &Keyring, problems: &mut Problems) -> Result<(), Error> {
    let sessions = Values::new(from.open_table(SESSIONS.definition)?, &SESSIONS, keyring);
    let archive = Values::new(from.open_table(ARCHIVE.definition)?, &ARCHIVE, keyring);
    let mut n = 0;
    each_key(from, keyring, |tenant, key| {
        let is_known = sessions.has((tenant, key))?
            || archive.keys((tenant, key, 0)..=(tenant, key, u64::MAX))?.next().transpose()?.is_some();
        n += u64::from(!is_known);
        Ok(())
    })?;
    if n > 0 {
        problems.note(format!("{} of conversations that are not there", rows_text(n)));
    }
    Ok(())
}

/// Every tenant and key of a row that belongs to a conversation, once for each such row.
pub(super) fn each_key(
    from: &ReadTransaction,
    keyring: &Keyring,
    mut each: impl FnMut(&str, &str) -> Result<(), Error>,
) -> Result<(), Error> {
    macro_rules! keys_of {
        ($($table:ident: $key:ty),+ $(,)?) => {
            $({
                let table = Values::new(from.open_table($table.definition)?, &$table, keyring);
                for key in table.keys::<$key>(..)? {
                    let key = key?;
                    let key = key.value();
                    if !is_of_notices(key.0, key.1) {
                        each(key.0, key.1)?;
                    }
                }
            })+
        };
    }
    keys_of!(
        TRANSCRIPT: (&str, &str, u64),
        INBOX: (&str, &str, u64),
        PARKED: (&str, &str, u64),
        OUTBOX: (&str, &str, u128),
        TAKEN: (&str, &str),
        NOTES: (&str, &str, u64, u64),
        FILES: (&str, &str, u64, &str),
    );
    Ok(())
}

/// Lines that a channel entry says belong to no conversation.
fn is_of_notices(tenant: &str, key: &str) -> bool {
    Scope::restore(tenant, key).is_ok_and(|scope| SessionKey::is_of_notices(&scope.key))
}
