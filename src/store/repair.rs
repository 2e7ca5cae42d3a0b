//! Makes a new store of what can be read of a damaged one, and keeps the damaged one.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use redb::{
    Durability, Key, ReadTransaction, ReadableDatabase as _, ReadableTable as _, TableDefinition, TableHandle as _,
    Value, WriteTransaction,
};

use super::check::{Checked, check, each_key, replay};
use super::database;
use super::place::{InDirectory, Place as _, beside, journal_of, remove};
use super::portable::PortableKey;
use super::rewrite::STEP_BYTES;
use super::salvage::{Damaged, Row, read_all};
use super::scope::restore_tenant;
use super::seal::Keyring;
use super::tables::{self, ACTIVITY, FORMAT, MARKS_BY_TIME, META, Number, PEERS, SESSIONS, Tables, Visitor, hour};
use super::values::{PlainTable, RowKey, ValueTable, Values};
use super::versioned::Versioned;
use super::{Error, disk};

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
    if damaged.database().is_none() {
        let source = "nothing of it can be read, if it is a store; go back with `frontdesk backup restore`";
        return Err(Error::Open { path: path.display().to_string(), source: source.into() });
    }
    if let Some(format) = damaged.format.filter(|format| *format != FORMAT) {
        let source = format!("it is damaged and has format {format}; the version that wrote it must repair it");
        return Err(Error::Open { path: path.display().to_string(), source: source.into() });
    }
    let place = InDirectory::new(path);
    let copy = |new: &redb::Database| {
        let mut salvage = Salvage {
            from: damaged.transaction(),
            into: new,
            keyring: &damaged.keyring,
            rows: Vec::new(),
            lost: Vec::new(),
            step: Step::default(),
        };
        tables::show(&mut salvage)?;
        salvage.step.end()?;
        let n_orphans = finish(new, &damaged, !salvage.lost.is_empty())?;
        Ok((salvage.rows, salvage.lost, n_orphans, keep(path)?))
    };
    let ((rows, lost, n_orphans, kept), new) =
        database::put_copy(&place, cache_bytes, copy).inspect_err(|_| drop(place.discard()))?;
    // The old file needs its journal, until it is certain that the new one is there.
    place.sync()?;
    remove(&journal_of(path))?;
    place.sync()?;
    drop(new);
    Ok(Repaired { rows, lost, n_orphans, kept, ..nothing })
}

/// Gives the files that are there a second name, the first that is free.
fn keep(path: &Path) -> Result<Vec<PathBuf>, Error> {
    let free = (1_u32..).map(|n| format!(".damaged-{n}")).find(|end| !beside(path, end).exists());
    let end = free.unwrap_or_default();
    let files = [(path.to_owned(), beside(path, &end)), (journal_of(path), beside(path, &format!("{end}.journal")))];
    let mut kept = Vec::new();
    for (from, to) in files {
        match fs::hard_link(from, &to) {
            Ok(()) => kept.push(to),
            Err(source) if source.kind() == std::io::ErrorKind::NotFound => {}
            Err(source) => return Err(source.into()),
        }
    }
    Ok(kept)
}

/// Rows of one table that go into one transaction.
#[derive(Default)]
struct Step {
    transaction: Option<WriteTransaction>,
    n_bytes: usize,
}

impl Step {
    fn put<K: Key + 'static, V: Value + 'static>(
        &mut self,
        into: &redb::Database,
        table: TableDefinition<'_, K, V>,
        key: &[u8],
        value: &[u8],
    ) -> Result<(), Error> {
        let transaction = match &mut self.transaction {
            Some(transaction) => transaction,
            none => none.insert(into.begin_write()?),
        };
        transaction.open_table(table)?.insert(K::from_bytes(key), V::from_bytes(value))?;
        self.n_bytes += key.len() + value.len();
        if self.n_bytes >= STEP_BYTES { self.end() } else { Ok(()) }
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
    from: Option<ReadTransaction>,
    into: &'s redb::Database,
    keyring: &'s Keyring,
    rows: Vec<(String, u64)>,
    lost: Vec<(String, u64)>,
    step: Step,
}

impl Salvage<'_> {
    fn table<K: Key + 'static, V: Value + 'static>(
        &mut self,
        table: TableDefinition<'_, K, V>,
        judge: impl Fn(&[u8], &[u8]) -> Row,
    ) -> Result<(), Error> {
        let Self { from, into, step, .. } = self;
        let Some(from) = from else {
            self.lost.push((table.name().to_owned(), 1));
            return Ok(());
        };
        let reach = read_all(from, table, |key, value| {
            let row = judge(key, value);
            if row == Row::Good {
                step.put(into, table, key, value)?;
            }
            Ok(row)
        })?;
        self.rows.push((table.name().to_owned(), reach.n_read));
        if reach.n_lost > 0 {
            self.lost.push((table.name().to_owned(), reach.n_lost));
        }
        Ok(())
    }
}

impl Visitor for Salvage<'_> {
    type Error = Error;

    fn values<K: RowKey, T: Versioned>(&mut self, table: &ValueTable<K, T>) -> Result<(), Error> {
        let keyring = self.keyring;
        self.table(table.definition, |key, value| table.judge(keyring, key, value))
    }

    fn rows<K: PortableKey, V: Value + 'static>(&mut self, table: &PlainTable<K, V>) -> Result<(), Error> {
        let keyring = self.keyring;
        self.table(table.definition, |key, _| keyring.judge(table.number, key))
    }
}

/// Takes in the journal and makes the tables agree, on the disk when it returns. Returns how many rows it removed.
fn finish(new: &redb::Database, damaged: &Damaged, is_lossy: bool) -> Result<u64, Error> {
    let Damaged { keyring, batches, .. } = damaged;
    let transaction = new.begin_write()?;
    transaction.open_table(META)?.insert("format", FORMAT)?;
    replay(&mut Tables::open(&transaction, keyring)?, batches)?;
    transaction.commit()?;

    let n_orphans = mend_sessions(new, keyring, is_lossy)?;

    let transaction = new.begin_write()?;
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
