//! Makes a new store of what can be read of a damaged one, and keeps the damaged one.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use redb::{
    Durability, Key, ReadTransaction, ReadableDatabase as _, ReadableTable as _, ReadableTableMetadata as _,
    TableDefinition, TableHandle as _, Value, WriteTransaction,
};

use super::check::{Checked, check, each_key, replay};
use super::database;
use super::pages::Doubt;
use super::place::{InDirectory, Place as _, beside, journal_of, remove};
use super::portable::PortableKey;
use super::rewrite::STEP_BYTES;
use super::salvage::{Damaged, Reach, Row};
use super::scope::restore_tenant;
use super::seal::Keyring;
use super::tables::{
    self, ACTIVITY, FORMAT, KEYS, MARKS, MARKS_BY_TIME, META, Number, PEERS, SESSIONS, Tables, USERS, Visitor, hour,
};
use super::values::{PlainTable, RowKey, ValueTable, Values};
use super::versioned::Versioned;
use super::{Error, disk};

const NOTHING_LEFT: &str = "nothing of it can be read, if it is a store; go back with `frontdesk backup restore`";

/// What [`repair`] did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Repaired {
    /// What was wrong; without a problem nothing was done.
    pub checked: Checked,
    /// Rows that were taken over, by table.
    pub rows: Vec<(String, u64)>,
    /// Rows that were not, or at least so many, by table.
    pub lost: Vec<(String, u64)>,
    /// Rows that could be read, of conversations of which too little could.
    pub n_orphans: u64,
    /// The damaged files, under other names.
    pub kept: Vec<PathBuf>,
}

/// Checks the store at `path`. If something is wrong, copies all that can be read into a new file, with what its journal
/// adds, and puts that in the place of the old one, which is kept under another name. Before that nothing changes.
///
/// # Errors
/// As [`check`]; the store is as it was.
pub fn repair(path: &Path, cache_bytes: usize, wrapping_key: &[u8; 32]) -> Result<Repaired, Error> {
    let checked = check(path, cache_bytes, wrapping_key)?;
    let nothing = Repaired { checked, rows: Vec::new(), lost: Vec::new(), n_orphans: 0, kept: Vec::new() };
    if nothing.checked.n_problems == 0 {
        return Ok(nothing);
    }
    let damaged = Damaged::open(path, cache_bytes, wrapping_key)?;
    let cannot = |source: String| Error::Open { path: path.display().to_string(), source: source.into() };
    if damaged.is_lost() {
        return Err(cannot(NOTHING_LEFT.to_owned()));
    }
    if let Some(format) = damaged.format.filter(|format| *format != FORMAT) {
        return Err(cannot(format!("it is damaged and has format {format}; the version that wrote it must repair it")));
    }
    let (place, mut kept) = (InDirectory::new(path), Vec::new());
    let copy = |new: &redb::Database| {
        let mut salvage =
            Salvage { damaged: &damaged, into: new, rows: Vec::new(), lost: Vec::new(), step: Step::default() };
        tables::show(&mut salvage)?;
        salvage.step.end()?;
        let Salvage { rows, mut lost, .. } = salvage;
        let n_orphans = finish(new, &damaged, &mut lost)?;
        if !lost.is_empty() && !has_values(new)? {
            return Err(cannot(NOTHING_LEFT.to_owned()));
        }
        kept = keep(path)?;
        place.sync()?;
        Ok((rows, lost, n_orphans))
    };
    let copied = database::put_copy(&place, cache_bytes, copy);
    let ((rows, lost, n_orphans), new) = copied.inspect_err(|_| {
        forget_kept(&kept);
        drop(place.discard());
    })?;
    // The old file needs its journal, until it is certain that the new one is there.
    place.sync()?;
    remove(&journal_of(path))?;
    place.sync()?;
    drop(new);
    Ok(Repaired { rows, lost, n_orphans, kept, ..nothing })
}

/// Keeps the files that are there under other names, the first that are free, on the disk when it returns.
fn keep(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let names = |end: &str| (beside(path, end), beside(path, &format!("{end}.journal")));
    let free = (1_u32..)
        .map(|n| names(&format!(".damaged-{n}")))
        .find(|(store, journal)| [store, journal].into_iter().all(|name| name.symlink_metadata().is_err()));
    let (store, journal) = free.unwrap_or_else(|| names(".damaged"));
    let mut kept = Vec::new();
    // A copy, because a gateway may write into the file under its old name, when power goes out before that is removed.
    match File::open(journal_of(path)) {
        Ok(mut from) => {
            let mut to = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&journal)?;
            kept.push(journal);
            io::copy(&mut from, &mut to).and_then(|_| to.sync_all()).inspect_err(|_| forget_kept(&kept))?;
        }
        Err(source) if source.kind() == io::ErrorKind::NotFound => {}
        Err(source) => return Err(source.into()),
    }
    // Another file takes its old name, so nobody writes into it.
    fs::hard_link(path, &store).inspect_err(|_| forget_kept(&kept))?;
    kept.insert(0, store);
    Ok(kept)
}

fn forget_kept(kept: &[PathBuf]) {
    kept.iter().for_each(|path| drop(remove(path)));
}

/// Rows of one table that go into one transaction.
#[derive(Default)]
struct Step {
    transaction: Option<WriteTransaction>,
    n_bytes: usize,
}

impl Step {
    /// A row that is in doubt does not take the place of another. Returns whether there was none.
    fn put<K: Key + 'static, V: Value + 'static>(
        &mut self,
        into: &redb::Database,
        table: TableDefinition<'_, K, V>,
        (key, value): (&[u8], &[u8]),
        doubt: Doubt,
    ) -> Result<bool, Error> {
        let transaction = match &mut self.transaction {
            Some(transaction) => transaction,
            none => none.insert(into.begin_write()?),
        };
        let is_new = {
            let mut table = transaction.open_table(table)?;
            let is_new = table.get(K::from_bytes(key))?.is_none();
            if is_new || doubt == Doubt::None {
                table.insert(K::from_bytes(key), V::from_bytes(value))?;
            }
            is_new
        };
        self.n_bytes += key.len() + value.len();
        if self.n_bytes >= STEP_BYTES {
            self.end()?;
        }
        Ok(is_new)
    }

    fn end(&mut self) -> Result<(), Error> {
        self.n_bytes = 0;
        let Some(mut transaction) = self.transaction.take() else { return Ok(()) };
        transaction.set_durability(Durability::None).map_err(|source| Error::Storage(Box::new(source)))?;
        Ok(transaction.commit()?)
    }
}

/// On the way from one store into a new one.
struct Salvage<'s> {
    damaged: &'s Damaged,
    into: &'s redb::Database,
    rows: Vec<(String, u64)>,
    lost: Vec<(String, u64)>,
    step: Step,
}

impl Salvage<'_> {
    fn table<K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: TableDefinition<'_, K, V>,
        judge: impl Fn(&[u8], &[u8], Doubt) -> Row,
    ) -> Result<(), Error> {
        let Self { damaged, into, step, .. } = self;
        let reach = damaged.read(table.name(), |key, value, doubt| match judge(key, value, doubt) {
            Row::Good => Ok(if step.put(into, table, (key, value), doubt)? { Row::Good } else { Row::Again }),
            other => Ok(other),
        })?;
        self.note(table.name(), reach);
        Ok(())
    }

    fn note(&mut self, table: &str, reach: Reach) {
        self.rows.push((table.to_owned(), reach.n_read));
        if reach.n_lost > 0 {
            self.lost.push((table.to_owned(), reach.n_lost));
        }
    }
}

impl Visitor for Salvage<'_> {
    type Error = Error;

    fn values<K: RowKey, T: Versioned>(&mut self, table: &ValueTable<K, T>) -> Result<(), Error> {
        let keyring = &self.damaged.keyring;
        self.table(table.definition, |key, value, _| table.judge(keyring, key, value))
    }

    fn rows<K: PortableKey, V: Value + 'static>(&mut self, table: &PlainTable<K, V>) -> Result<(), Error> {
        if table.number == KEYS.number {
            return self.keys();
        }
        let keyring = &self.damaged.keyring;
        self.table(table.definition, |key, value, doubt| keyring.judge(table.number, key, value, doubt))
    }
}

impl Salvage<'_> {
    /// Also those that were found elsewhere.
    fn keys(&mut self) -> Result<(), Error> {
        let Self { damaged, into, step, .. } = self;
        for (tenant, key) in &damaged.keys {
            step.put(into, KEYS.definition, (tenant.as_bytes(), key), Doubt::None)?;
        }
        let (table, n_read) = (KEYS.definition.name(), damaged.keys.len() as u64);
        let in_table =
            damaged.read(table, |tenant, key, doubt| Ok(damaged.keyring.judge(KEYS.number, tenant, key, doubt)))?;
        self.note(
            table,
            Reach { n_read, n_lost: in_table.n_lost.saturating_sub(n_read - in_table.n_read.min(n_read)) },
        );
        Ok(())
    }
}

/// What is sealed and does not open goes.
struct Sweep<'s> {
    transaction: &'s WriteTransaction,
    keyring: &'s Keyring,
    lost: &'s mut Vec<(String, u64)>,
}

impl Visitor for Sweep<'_> {
    type Error = Error;

    fn values<K: RowKey, T: Versioned>(&mut self, table: &ValueTable<K, T>) -> Result<(), Error> {
        let (mut rows, mut bad) = (self.transaction.open_table(table.definition)?, Vec::new());
        for row in rows.iter()? {
            let (key, value) = row?;
            let key = K::as_bytes(&key.value()).as_ref().to_owned();
            if table.judge(self.keyring, &key, value.value()) != Row::Good {
                bad.push(key);
            }
        }
        for key in &bad {
            rows.remove(K::from_bytes(key))?;
        }
        if !bad.is_empty() {
            self.lost.push((table.definition.name().to_owned(), bad.len() as u64));
        }
        Ok(())
    }

    fn rows<K: PortableKey, V: Value + 'static>(&mut self, _: &PlainTable<K, V>) -> Result<(), Error> {
        Ok(())
    }
}

/// Is there a row of a conversation?
fn has_values(new: &redb::Database) -> Result<bool, Error> {
    struct Count(ReadTransaction, bool);

    impl Visitor for Count {
        type Error = Error;

        fn values<K: RowKey, T: Versioned>(&mut self, table: &ValueTable<K, T>) -> Result<(), Error> {
            self.1 |= !self.0.open_table(table.definition)?.is_empty()?;
            Ok(())
        }

        fn rows<K: PortableKey, V: Value + 'static>(&mut self, _: &PlainTable<K, V>) -> Result<(), Error> {
            Ok(())
        }
    }

    let mut count = Count(new.begin_read()?, false);
    tables::show(&mut count)?;
    Ok(count.1)
}

/// Takes in the journal and makes the tables agree, on the disk when it returns. Returns how many rows it removed.
fn finish(new: &redb::Database, damaged: &Damaged, lost: &mut Vec<(String, u64)>) -> Result<u64, Error> {
    let Damaged { keyring, batches, .. } = damaged;
    let transaction = new.begin_write()?;
    transaction.open_table(META)?.insert("format", FORMAT)?;
    replay(&mut Tables::open(&transaction, keyring)?, batches)?;
    if !lost.is_empty() {
        // Of the journal, too.
        tables::show(&mut Sweep { transaction: &transaction, keyring, lost })?;
    }
    transaction.commit()?;

    let n_orphans = mend_sessions(new, keyring, !lost.is_empty())?;

    let transaction = new.begin_write()?;
    find_twice(&mut Tables::open(&transaction, keyring)?, lost)?;
    // They say nothing that is not in the others.
    transaction.delete_table(ACTIVITY.definition)?;
    transaction.delete_table(PEERS.definition)?;
    transaction.delete_table(MARKS_BY_TIME.definition)?;
    {
        let mut tables = Tables::open(&transaction, keyring)?;
        let Tables { log, sessions, activity, users, peers, marks, marks_by_time, .. } = &mut tables;
        for row in sessions.range::<(&str, &str)>(..)? {
            let (id, session) = row?;
            let (tenant, key) = id.value();
            activity.put(log, &(hour(session.last_active_at), tenant, key), Some(&()))?;
        }
        for row in users.iter()? {
            let (id, _) = row?;
            let (tenant, channel, user, key) = id.value();
            peers.put(log, &(tenant, key, channel, user), Some(&()))?;
        }
        for row in marks.iter()? {
            let (id, at) = row?;
            let (tenant, entry, message_id) = id.value();
            marks_by_time.put(log, &(at.value(), tenant, entry, message_id), Some(&()))?;
        }
        database::begin_epoch(&mut tables, database::first_epoch()?)?;
    }
    transaction.commit()?;
    Ok(n_orphans)
}

/// Takes what is lost in one table from the one that says the same the other way round.
fn find_twice(tables: &mut Tables<'_>, lost: &mut Vec<(String, u64)>) -> Result<(), Error> {
    let Tables { log, users, peers, marks, marks_by_time, .. } = tables;
    let is_lost = |lost: &[(String, u64)], table: &str| lost.iter().any(|(name, _)| name == table);
    if is_lost(lost, USERS.definition.name()) {
        for row in peers.iter()? {
            let (id, _) = row?;
            let (tenant, key, channel, user) = id.value();
            users.put(log, &(tenant, channel, user, key), Some(&()))?;
        }
    }
    if is_lost(lost, MARKS.definition.name()) {
        for row in marks_by_time.iter()? {
            let (id, _) = row?;
            let (at, tenant, entry, message_id) = id.value();
            marks.put(log, &(tenant, entry, message_id), Some(&at))?;
        }
    }
    for (table, index) in
        [(USERS.definition.name(), PEERS.definition.name()), (MARKS.definition.name(), MARKS_BY_TIME.definition.name())]
    {
        let is_left = is_lost(lost, table) && is_lost(lost, index);
        lost.retain(|(name, _)| name != index && (is_left || name != table));
    }
    lost.retain(|(name, _)| name != ACTIVITY.definition.name());
    Ok(())
}

/// Makes the rows of conversations agree with what is left of these. Where one is lost it is made again from the archive
/// or from a message that waits; what neither tells about goes.
fn mend_sessions(new: &redb::Database, keyring: &Keyring, is_lossy: bool) -> Result<u64, Error> {
    let view = new.begin_read()?;
    let mut ids: BTreeSet<(String, String)> = BTreeSet::new();
    let mut remember = |tenant: &str, key: &str| {
        // Rows of a conversation lie side by side.
        let is_same = ids.last().is_some_and(|last| (last.0.as_str(), last.1.as_str()) == (tenant, key));
        if !is_same {
            ids.insert((tenant.to_owned(), key.to_owned()));
        }
        Ok(())
    };
    each_key(&view, keyring, &mut remember)?;
    let sessions = Values::new(view.open_table(SESSIONS.definition)?, &SESSIONS, keyring);
    for id in sessions.keys::<(&str, &str)>(..)? {
        let id = id?;
        remember(id.value().0, id.value().1)?;
    }
    drop(view);
    let transaction = new.begin_write()?;
    let mut n_orphans = 0;
    {
        let mut tables = Tables::open(&transaction, keyring)?;
        let (mut position, mut episode) = (0, 0);
        for (tenant, key) in &ids {
            let mended = Mend { tables: &mut tables, tenant, key }.run()?;
            n_orphans += mended.n_orphans;
            (position, episode) = (mended.position.max(position), mended.episode.max(episode));
        }
        if is_lossy {
            // A conversation whose row is lost must not begin again where its lines lie, or lay.
            for (number, least) in [(Number::LastPosition, position), (Number::LastEpisode, episode)] {
                let was = tables.numbers.get(number.name())?.map_or(0, |value| value.value());
                tables.numbers.put(&mut tables.log, &number.name(), Some(&was.max(least)))?;
            }
        }
    }
    transaction.commit()?;
    Ok(n_orphans)
}

/// One key.
struct Mend<'m, 't> {
    tables: &'m mut Tables<'t>,
    tenant: &'m str,
    key: &'m str,
}

#[derive(Debug, Default)]
struct Mended {
    n_orphans: u64,
    /// The last of its positions.
    position: u64,
    episode: u64,
}

impl Mend<'_, '_> {
    fn run(self) -> Result<Mended, Error> {
        let Self { tables, tenant, key } = self;
        let all = || (tenant, key, 0)..=(tenant, key, u64::MAX);
        let mut archived = Vec::new();
        for row in tables.archive.range(all())? {
            archived.push(row?.1);
        }
        let last = |key: Option<Result<redb::AccessGuard<'_, tables::Position>, Error>>| {
            Ok::<_, Error>(key.transpose()?.map_or(0, |key| key.value().2))
        };
        let n_lines = last(tables.transcript.keys(all())?.next_back())?;
        let n_filed = last(tables.inbox.keys(all())?.next_back())?;
        let n_parked = last(tables.parked.keys(all())?.next_back())?;
        let episode = archived.last().map_or(0, |last: &disk::Archived| last.session.episode);
        let mut mended = Mended { n_orphans: 0, position: n_lines.max(n_filed).max(n_parked), episode };

        let live = tables.sessions.get((tenant, key))?;
        let is_lost = live.is_none()
            && (n_filed > 0
                || archived
                    .last()
                    .is_none_or(|last| last.session.n_lines < n_lines || last.session.n_parked < n_parked));
        let live = match (live, is_lost) {
            (live, false) => live,
            (_, true) => made_again(tables, (tenant, key), archived.last().map(|last| &last.session))?,
        };
        // Whoever had it has nothing any more.
        if live.is_none() && tables.taken.has((tenant, key))? {
            tables.taken.put(&mut tables.log, &(tenant, key), None)?;
        }
        if live.is_none() && archived.is_empty() {
            mended.n_orphans = forget(tables, (tenant, key))?;
            return Ok(mended);
        }
        if live.is_none() {
            // Of what came after the archive only lines or items that were set aside are left.
            let behind = archived.last().map_or(0, |last| last.session.n_lines);
            mended.n_orphans = forget_lines(tables, (tenant, key), behind.saturating_add(1))?;
        }
        for mut row in archived {
            let said = n_said(tables, (tenant, key), &row.session)?;
            if row.session.n_said() != said {
                let all = row.session.n_said() + row.session.n_missing;
                row.session.n_missing = all.saturating_sub(said);
                let stored = row.encode()?;
                tables.archive.put(&mut tables.log, &(tenant, key, row.session.episode), Some(&stored))?;
            }
        }
        if let Some(was) = live {
            let mut row = was.clone();
            (row.n_lines, row.n_filed) = (row.n_lines.max(n_lines), row.n_filed.max(n_filed));
            row.n_parked = row.n_parked.max(n_parked);
            let said = n_said(tables, (tenant, key), &row)?;
            row.n_missing = (row.n_said() + row.n_missing).saturating_sub(said);
            mended.episode = mended.episode.max(row.episode);
            if is_lost || row != was {
                tables.sessions.put(&mut tables.log, &(tenant, key), Some(&row.encode()?))?;
            }
        }
        Ok(mended)
    }
}

/// The row of a conversation whose own is lost.
fn made_again(
    tables: &Tables<'_>,
    (tenant, key): (&str, &str),
    archived: Option<&disk::Session>,
) -> Result<Option<disk::Session>, Error> {
    let waiting = tables.inbox.range((tenant, key, 0)..=(tenant, key, u64::MAX))?.next().transpose()?;
    let restored = waiting.and_then(|(id, waiting)| {
        let (at, tenant) = (id.value().2, restore_tenant(tenant).ok()?);
        waiting.restore(at, tenant.as_ref()).ok()
    });
    let of_message = restored.map(|waiting| disk::Session::beginning_with(&waiting.inbound));
    Ok(match (of_message, archived) {
        (Some(session), Some(archived)) => Some(session.following(archived)),
        (Some(session), None) => Some(session),
        (None, _) => None,
    })
}

/// Lines that are there of a conversation.
fn n_said(tables: &Tables<'_>, (tenant, key): (&str, &str), session: &disk::Session) -> Result<u64, Error> {
    let lines = tables.transcript.keys((tenant, key, session.first_line)..=(tenant, key, session.n_lines))?;
    lines.map(|line| line.map(drop)).try_fold(0, |n, line| line.map(|()| n + 1))
}

/// Removes all rows of a conversation of which nothing tells where it was.
fn forget(tables: &mut Tables<'_>, (tenant, key): (&str, &str)) -> Result<u64, Error> {
    let mut n = forget_lines(tables, (tenant, key), 0)?;
    macro_rules! forget {
        ($($table:ident: $range:expr => $id:expr;)+) => {
            $({
                let mut ids = Vec::new();
                for row in tables.$table.keys($range)? {
                    ids.push($id(row?.value()));
                }
                n += ids.len() as u64;
                for id in &ids {
                    tables.$table.put(&mut tables.log, &(tenant, key, *id), None)?;
                }
            })+
        };
    }
    forget! {
        inbox: (tenant, key, 0)..=(tenant, key, u64::MAX) => |id: (&str, &str, u64)| id.2;
        parked: (tenant, key, 0)..=(tenant, key, u64::MAX) => |id: (&str, &str, u64)| id.2;
        outbox: (tenant, key, 0)..=(tenant, key, u128::MAX) => |id: (&str, &str, u128)| id.2;
    }
    let mut notes = Vec::new();
    for row in tables.notes.keys((tenant, key, 0, 0)..=(tenant, key, u64::MAX, u64::MAX))? {
        let id = row?;
        notes.push((id.value().2, id.value().3));
    }
    let mut files = Vec::new();
    for row in tables.files.keys((tenant, key, 0, "")..(tenant, &*tables::after(key), 0, ""))? {
        let id = row?;
        files.push((id.value().2, id.value().3.to_owned()));
    }
    n += (notes.len() + files.len()) as u64;
    for (episode, number) in notes {
        tables.notes.put(&mut tables.log, &(tenant, key, episode, number), None)?;
    }
    for (episode, name) in files {
        tables.files.put(&mut tables.log, &(tenant, key, episode, &*name), None)?;
    }
    Ok(n)
}

fn forget_lines(tables: &mut Tables<'_>, (tenant, key): (&str, &str), first: u64) -> Result<u64, Error> {
    let mut lines = Vec::new();
    for row in tables.transcript.keys((tenant, key, first)..=(tenant, key, u64::MAX))? {
        lines.push(row?.value().2);
    }
    for line in &lines {
        tables.transcript.put(&mut tables.log, &(tenant, key, *line), None)?;
    }
    Ok(lines.len() as u64)
}
