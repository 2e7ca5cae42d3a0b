//! Every table of the file, once.
//!
//! A tenant is written as its id, the owner's own conversations as `""`. Keys are redb tuples, which
//! compare element by element: the rows of a tenant, and of a session in it, lie side by side, and no
//! text can be crafted that sorts into another's range. Values are `versioned`.

use std::ops::{Range, RangeInclusive, RangeTo};

use redb::{Table, TableDefinition, Value, WriteTransaction};

use super::entry::EntryScope;
use super::portable::PortableKey;
use super::scope::Scope;
use super::versioned::Versioned;
use super::{Error, disk};
use crate::clock::Timestamp;
use crate::message::Subject;

/// Format of the file: of keys and tables. Values have versions of their own.
pub(super) const FORMAT: u32 = 2;

/// Tenant, session key.
pub(super) type SessionId = (&'static str, &'static str);
/// Tenant, session key, a position that is never used twice in this session.
pub(super) type Position = (&'static str, &'static str, u64);
/// Tenant, session key, delivery id: 48 bits of milliseconds, 80 bits that are random.
pub(super) type Pending = (&'static str, &'static str, u128);
/// Tenant, channel type, user, session key.
pub(super) type UserIn = (&'static str, &'static str, &'static str, &'static str);
/// Tenant, session key, channel type, user.
pub(super) type PeerIn = (&'static str, &'static str, &'static str, &'static str);
/// Tenant, session key, episode, number of a note.
pub(super) type NoteId = (&'static str, &'static str, u64, u64);
/// Tenant, session key, episode, name of a file.
pub(super) type FileId = (&'static str, &'static str, u64, &'static str);
/// Hours since 1970, tenant, session key.
pub(super) type ActiveIn = (u64, &'static str, &'static str);
/// Tenant, channel entry, the vendor's message id.
pub(super) type Mark = (&'static str, &'static str, &'static str);
/// Milliseconds since 1970, then the mark made at that time.
pub(super) type MarkAt = (u64, &'static str, &'static str, &'static str);
/// Tenant, channel entry, kind of chat, the id of a peer or group.
pub(super) type SubjectOf = (&'static str, &'static str, &'static str, &'static str);
/// Tenant, channel entry, a position.
pub(super) type PositionAt = (&'static str, &'static str, u64);
/// A versioned value.
pub(super) type Bytes = &'static [u8];

/// `"format"` → [`FORMAT`].
pub(super) const META: TableDefinition<&str, u32> = TableDefinition::new("meta");
/// Numbers of the whole file by name, see [`Number`].
pub(super) const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");
/// One row per live conversation → `disk::Session`.
pub(super) const SESSIONS: TableDefinition<SessionId, Bytes> = TableDefinition::new("sessions");
/// Tenant, session key, episode → `disk::Archived`.
pub(super) const ARCHIVE: TableDefinition<Position, Bytes> = TableDefinition::new("archive");
/// The live conversations by the hour of their last message.
pub(super) const ACTIVITY: TableDefinition<ActiveIn, ()> = TableDefinition::new("activity");
/// Lines of all episodes → `disk::Line`.
pub(super) const TRANSCRIPT: TableDefinition<Position, Bytes> = TableDefinition::new("transcript");
/// Messages that wait for a turn → `disk::Waiting`.
pub(super) const INBOX: TableDefinition<Position, Bytes> = TableDefinition::new("inbox");
/// Replies that are not settled → `disk::Delivery`.
pub(super) const OUTBOX: TableDefinition<Pending, Bytes> = TableDefinition::new("outbox");
/// What was set aside → `disk::Parked`.
pub(super) const PARKED: TableDefinition<Position, Bytes> = TableDefinition::new("parked");
/// Who wrote where.
pub(super) const USERS: TableDefinition<UserIn, ()> = TableDefinition::new("users");
/// Who wrote in it: [`USERS`] the other way round.
pub(super) const PEERS: TableDefinition<PeerIn, ()> = TableDefinition::new("peers");
/// What a conversation remembers → `disk::Note`.
pub(super) const NOTES: TableDefinition<NoteId, Bytes> = TableDefinition::new("notes");
/// Working files of a conversation → `disk::File`.
pub(super) const FILES: TableDefinition<FileId, Bytes> = TableDefinition::new("files");
/// Messages that were filed → milliseconds since 1970.
pub(super) const MARKS: TableDefinition<Mark, u64> = TableDefinition::new("marks");
/// The marks by age, for pruning: it and [`ACTIVITY`] do not start with the tenant.
pub(super) const MARKS_BY_TIME: TableDefinition<MarkAt, ()> = TableDefinition::new("marks_by_time");
/// Strangers who wait for approval → `disk::Pairing`.
pub(super) const PAIRINGS: TableDefinition<SubjectOf, Bytes> = TableDefinition::new("pairings");
/// Who was approved → `disk::Approval`.
pub(super) const APPROVALS: TableDefinition<SubjectOf, Bytes> = TableDefinition::new("approvals");
/// Messages without a session key, from 1 without gaps → `disk::Parked`.
pub(super) const UNRESOLVED: TableDefinition<PositionAt, Bytes> = TableDefinition::new("unresolved");

/// The tables that write operations touch, open in one transaction.
pub(super) struct Tables<'t> {
    pub(super) numbers: Table<'t, &'static str, u64>,
    pub(super) sessions: Table<'t, SessionId, Bytes>,
    pub(super) archive: Table<'t, Position, Bytes>,
    pub(super) activity: Table<'t, ActiveIn, ()>,
    pub(super) transcript: Table<'t, Position, Bytes>,
    pub(super) inbox: Table<'t, Position, Bytes>,
    pub(super) outbox: Table<'t, Pending, Bytes>,
    pub(super) parked: Table<'t, Position, Bytes>,
    pub(super) users: Table<'t, UserIn, ()>,
    pub(super) peers: Table<'t, PeerIn, ()>,
    pub(super) notes: Table<'t, NoteId, Bytes>,
    pub(super) files: Table<'t, FileId, Bytes>,
    pub(super) marks: Table<'t, Mark, u64>,
    pub(super) marks_by_time: Table<'t, MarkAt, ()>,
    pub(super) pairings: Table<'t, SubjectOf, Bytes>,
    pub(super) approvals: Table<'t, SubjectOf, Bytes>,
    pub(super) unresolved: Table<'t, PositionAt, Bytes>,
}

/// What an operation wants written, decided before the first byte changes.
#[derive(Debug)]
pub(super) enum Changes {
    /// Nothing: no commit is needed.
    None,
    /// In one conversation.
    Session(Scope, Vec<Change>),
    /// All of these.
    All(Vec<Changes>),
    /// A number of the whole file.
    Number(Number, u64),
    /// Of one channel entry.
    Entry(EntryScope, Vec<EntryChange>),
    /// Marks that nobody needs any more.
    ForgetMarks(Vec<OwnedMark>),
}

/// One row. `None` removes it.
#[derive(Debug)]
pub(super) enum Change {
    /// `from` is what was there: the index by activity follows.
    Session {
        from: Option<u64>,
        to: Option<disk::Session>,
    },
    Archived(u64, Option<disk::Archived>),
    Line(u64, Option<Vec<u8>>),
    Waiting(u64, Option<Vec<u8>>),
    Delivery(u128, Option<Vec<u8>>),
    Parked(u64, Option<Vec<u8>>),
    Note((u64, u64), Option<Vec<u8>>),
    File((u64, String), Option<Vec<u8>>),
    User {
        channel: String,
        user: String,
        is_known: bool,
    },
    Mark {
        entry: String,
        message_id: String,
        at: u64,
    },
    Unmark {
        entry: String,
        message_id: String,
    },
}

/// One row of what is kept for a channel entry. `None` removes it.
#[derive(Debug)]
pub(super) enum EntryChange {
    Pairing(Subject, Option<Vec<u8>>),
    Approval(Subject, Option<Vec<u8>>),
    Unresolved(u64, Option<Vec<u8>>),
    /// A line that the entry says, or a mark.
    Beside(Box<Change>),
}

/// A row of [`MARKS_BY_TIME`].
#[derive(Debug)]
pub(super) struct OwnedMark {
    pub(super) at: u64,
    pub(super) tenant: String,
    pub(super) entry: String,
    pub(super) message_id: String,
}

impl<'t> Tables<'t> {
    /// Opens all of them, and so makes those that are missing.
    pub(super) fn open(transaction: &'t WriteTransaction) -> Result<Self, Error> {
        Ok(Self {
            numbers: transaction.open_table(NUMBERS)?,
            sessions: transaction.open_table(SESSIONS)?,
            archive: transaction.open_table(ARCHIVE)?,
            activity: transaction.open_table(ACTIVITY)?,
            transcript: transaction.open_table(TRANSCRIPT)?,
            inbox: transaction.open_table(INBOX)?,
            outbox: transaction.open_table(OUTBOX)?,
            parked: transaction.open_table(PARKED)?,
            users: transaction.open_table(USERS)?,
            peers: transaction.open_table(PEERS)?,
            notes: transaction.open_table(NOTES)?,
            files: transaction.open_table(FILES)?,
            marks: transaction.open_table(MARKS)?,
            marks_by_time: transaction.open_table(MARKS_BY_TIME)?,
            pairings: transaction.open_table(PAIRINGS)?,
            approvals: transaction.open_table(APPROVALS)?,
            unresolved: transaction.open_table(UNRESOLVED)?,
        })
    }

    /// Writes what was decided. An error leaves the transaction half-written: it must be aborted.
    pub(super) fn apply(&mut self, changes: Changes) -> Result<(), Error> {
        match changes {
            Changes::None => Ok(()),
            Changes::All(all) => all.into_iter().try_for_each(|changes| self.apply(changes)),
            Changes::Number(number, value) => {
                self.numbers.insert(number.name(), value)?;
                Ok(())
            }
            Changes::Session(scope, changes) => {
                changes.into_iter().try_for_each(|change| self.apply_in(&scope, change))
            }
            Changes::Entry(scope, changes) => changes.into_iter().try_for_each(|change| self.apply_at(&scope, change)),
            Changes::ForgetMarks(marks) => marks.iter().try_for_each(|mark| self.forget(mark)),
        }
    }

    fn apply_in(&mut self, scope: &Scope, change: Change) -> Result<(), Error> {
        let (tenant, key) = scope.parts();
        match change {
            Change::Session { from, to } => self.apply_session(scope, from, to.as_ref())?,
            Change::Archived(episode, Some(row)) => {
                self.archive.insert((tenant, key, episode), &*row.encode()?)?;
            }
            Change::Archived(episode, None) => drop(self.archive.remove((tenant, key, episode))?),
            Change::Line(seq, Some(line)) => drop(self.transcript.insert((tenant, key, seq), &*line)?),
            Change::Line(seq, None) => drop(self.transcript.remove((tenant, key, seq))?),
            Change::Waiting(seq, Some(waiting)) => drop(self.inbox.insert((tenant, key, seq), &*waiting)?),
            Change::Waiting(seq, None) => drop(self.inbox.remove((tenant, key, seq))?),
            Change::Delivery(id, Some(delivery)) => drop(self.outbox.insert((tenant, key, id), &*delivery)?),
            Change::Delivery(id, None) => drop(self.outbox.remove((tenant, key, id))?),
            Change::Parked(position, Some(parked)) => drop(self.parked.insert((tenant, key, position), &*parked)?),
            Change::Parked(position, None) => drop(self.parked.remove((tenant, key, position))?),
            Change::Note((episode, number), Some(note)) => {
                self.notes.insert((tenant, key, episode, number), &*note)?;
            }
            Change::Note((episode, number), None) => drop(self.notes.remove((tenant, key, episode, number))?),
            Change::File((episode, name), Some(file)) => {
                self.files.insert((tenant, key, episode, &*name), &*file)?;
            }
            Change::File((episode, name), None) => drop(self.files.remove((tenant, key, episode, &*name))?),
            Change::User { channel, user, is_known: true } => {
                self.users.insert((tenant, &*channel, &*user, key), ())?;
                self.peers.insert((tenant, key, &*channel, &*user), ())?;
            }
            Change::User { channel, user, is_known: false } => {
                self.users.remove((tenant, &*channel, &*user, key))?;
                self.peers.remove((tenant, key, &*channel, &*user))?;
            }
            Change::Mark { entry, message_id, at } => {
                self.marks.insert((tenant, &*entry, &*message_id), at)?;
                self.marks_by_time.insert((at, tenant, &*entry, &*message_id), ())?;
            }
            Change::Unmark { entry, message_id } => {
                let at = self.marks.remove((tenant, &*entry, &*message_id))?.map(|at| at.value());
                if let Some(at) = at {
                    self.marks_by_time.remove((at, tenant, &*entry, &*message_id))?;
                }
            }
        }
        Ok(())
    }

    /// The row, and its place in the index by activity, which moves once an hour at most.
    fn apply_session(&mut self, scope: &Scope, from: Option<u64>, to: Option<&disk::Session>) -> Result<(), Error> {
        let (tenant, key) = scope.parts();
        let (from, hour) = (from.map(hour), to.map(|row| hour(row.last_active_at)));
        if from != hour {
            from.map(|hour| self.activity.remove((hour, tenant, key))).transpose()?;
            hour.map(|hour| self.activity.insert((hour, tenant, key), ())).transpose()?;
        }
        match to {
            Some(row) => drop(self.sessions.insert((tenant, key), &*row.encode()?)?),
            None => drop(self.sessions.remove((tenant, key))?),
        }
        Ok(())
    }

    fn apply_at(&mut self, scope: &EntryScope, change: EntryChange) -> Result<(), Error> {
        let (tenant, entry) = scope.parts();
        match change {
            EntryChange::Pairing(subject, Some(row)) => drop(self.pairings.insert(scope.subject(&subject), &*row)?),
            EntryChange::Pairing(subject, None) => drop(self.pairings.remove(scope.subject(&subject))?),
            EntryChange::Approval(subject, Some(row)) => drop(self.approvals.insert(scope.subject(&subject), &*row)?),
            EntryChange::Approval(subject, None) => drop(self.approvals.remove(scope.subject(&subject))?),
            EntryChange::Unresolved(at, Some(row)) => drop(self.unresolved.insert((tenant, entry, at), &*row)?),
            EntryChange::Unresolved(at, None) => drop(self.unresolved.remove((tenant, entry, at))?),
            EntryChange::Beside(change) => return self.apply_in(&scope.notices(), *change),
        }
        Ok(())
    }

    fn forget(&mut self, mark: &OwnedMark) -> Result<(), Error> {
        let OwnedMark { at, tenant, entry, message_id } = mark;
        self.marks.remove((&**tenant, &**entry, &**message_id))?;
        self.marks_by_time.remove((*at, &**tenant, &**entry, &**message_id))?;
        Ok(())
    }
}

/// Something that is done with every table.
pub(super) trait Visitor {
    /// What goes wrong with it.
    type Error;

    /// With this one. `number` is its name in backups and means this table for ever; `shape` reads a value of it.
    fn table<K: PortableKey, V: Value + 'static>(
        &mut self,
        number: u8,
        table: TableDefinition<K, V>,
        shape: Shape,
    ) -> Result<(), Self::Error>;
}

/// Reads a value: when it was said, if it is something that somebody said.
pub(super) type Shape = fn(&[u8]) -> Result<Option<Timestamp>, Error>;

/// Visits all of them, by their numbers. A number is never given to another table.
pub(super) fn each<V: Visitor>(visitor: &mut V) -> Result<(), V::Error> {
    visitor.table(1, META, plain)?;
    visitor.table(2, NUMBERS, plain)?;
    visitor.table(3, SESSIONS, shape::<disk::Session>)?;
    visitor.table(4, ARCHIVE, shape::<disk::Archived>)?;
    visitor.table(5, ACTIVITY, plain)?;
    visitor.table(6, TRANSCRIPT, line)?;
    visitor.table(7, INBOX, shape::<disk::Waiting>)?;
    visitor.table(8, OUTBOX, shape::<disk::Delivery>)?;
    visitor.table(9, PARKED, shape::<disk::Parked>)?;
    visitor.table(10, USERS, plain)?;
    visitor.table(11, PEERS, plain)?;
    visitor.table(12, NOTES, shape::<disk::Note>)?;
    visitor.table(13, FILES, shape::<disk::File>)?;
    visitor.table(14, MARKS, plain)?;
    visitor.table(15, MARKS_BY_TIME, plain)?;
    visitor.table(16, PAIRINGS, shape::<disk::Pairing>)?;
    visitor.table(17, APPROVALS, shape::<disk::Approval>)?;
    visitor.table(18, UNRESOLVED, shape::<disk::Parked>)
}

/// Its type says it all.
fn plain(_bytes: &[u8]) -> Result<Option<Timestamp>, Error> {
    Ok(None)
}

fn shape<T: Versioned>(bytes: &[u8]) -> Result<Option<Timestamp>, Error> {
    T::decode(bytes).map(|_value| None)
}

fn line(bytes: &[u8]) -> Result<Option<Timestamp>, Error> {
    disk::Line::decode(bytes).map(|line| Some(Timestamp(line.at)))
}

/// A number of the whole file, a row of [`NUMBERS`].
#[derive(Debug, Clone, Copy)]
pub(super) enum Number {
    /// The latest time that was ever seen, in milliseconds since 1970.
    LatestSeen,
    /// Positions up to this one were used under keys of which nothing is left.
    LastPosition,
    /// The same of episodes.
    LastEpisode,
    /// Erasures so far.
    Erasures,
    /// As many of them have left nothing in the file.
    Rewritten,
}

impl Number {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::LatestSeen => "latest_seen",
            Self::LastPosition => "last_position",
            Self::LastEpisode => "last_episode",
            Self::Erasures => "erasures",
            Self::Rewritten => "rewritten",
        }
    }
}

/// Hours since 1970.
pub(super) fn hour(at_ms: u64) -> u64 {
    at_ms / (60 * 60 * 1000)
}

/// `..end` without `spare`, which may lie anywhere: up to where it begins, and from where it ends.
pub(super) fn around(end: u64, spare: Option<Range<u64>>) -> (RangeTo<u64>, Range<u64>) {
    let Range { start, end: after } = spare.unwrap_or(end..end);
    let first = end.min(start);
    let second = after.max(first);
    (..first, second..end.max(second))
}

/// All positions of one conversation.
pub(super) fn positions(scope: &Scope) -> RangeInclusive<(&str, &str, u64)> {
    let (tenant, key) = scope.parts();
    (tenant, key, 0)..=(tenant, key, u64::MAX)
}

/// All deliveries of one conversation.
pub(super) fn deliveries(scope: &Scope) -> RangeInclusive<(&str, &str, u128)> {
    let (tenant, key) = scope.parts();
    (tenant, key, 0)..=(tenant, key, u128::MAX)
}

/// The least text that is greater than `text`: where the rows of the next one could begin.
pub(super) fn after(text: &str) -> String {
    format!("{text}\0")
}

/// Positions `first..=last` of one conversation; none when `last` comes before `first`.
pub(super) fn between(scope: &Scope, first: u64, last: u64) -> RangeInclusive<(&str, &str, u64)> {
    let (tenant, key) = scope.parts();
    (tenant, key, first)..=(tenant, key, last)
}
