//! Every table of the file, once.
//!
//! A tenant is written as its id, the owner's own conversations as `""`. Keys are redb tuples, which
//! compare element by element: the rows of a tenant, and of a session in it, lie side by side, and no
//! text can be crafted that sorts into another's range. Values are `versioned`.

use std::ops::RangeInclusive;

use redb::{Table, TableDefinition, WriteTransaction};

use super::Error;
use super::entry::EntryScope;
use super::scope::Scope;
use crate::message::Subject;

/// Format of the file: of keys and tables. Values have versions of their own.
pub(super) const FORMAT: u32 = 1;
/// Tables of a file, [`META`] among them.
pub(super) const N_TABLES: usize = 12;

/// Tenant, session key.
pub(super) type SessionId = (&'static str, &'static str);
/// Tenant, session key, a position that is never used twice in this session.
pub(super) type Position = (&'static str, &'static str, u64);
/// Tenant, session key, delivery id: 48 bits of milliseconds, 80 bits that are random.
pub(super) type Pending = (&'static str, &'static str, u128);
/// Tenant, channel type, user, session key.
pub(super) type UserIn = (&'static str, &'static str, &'static str, &'static str);
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
/// One row per conversation → `disk::Session`.
pub(super) const SESSIONS: TableDefinition<SessionId, Bytes> = TableDefinition::new("sessions");
/// Lines from 1 without gaps → `disk::Line`.
pub(super) const TRANSCRIPT: TableDefinition<Position, Bytes> = TableDefinition::new("transcript");
/// Messages that wait for a turn → `disk::Waiting`.
pub(super) const INBOX: TableDefinition<Position, Bytes> = TableDefinition::new("inbox");
/// Replies that are not settled → `disk::Delivery`.
pub(super) const OUTBOX: TableDefinition<Pending, Bytes> = TableDefinition::new("outbox");
/// What was set aside → `disk::Parked`.
pub(super) const PARKED: TableDefinition<Position, Bytes> = TableDefinition::new("parked");
/// Who wrote where.
pub(super) const USERS: TableDefinition<UserIn, ()> = TableDefinition::new("users");
/// Messages that were filed → milliseconds since 1970.
pub(super) const MARKS: TableDefinition<Mark, u64> = TableDefinition::new("marks");
/// The marks by age, for pruning: the one table that does not start with the tenant.
pub(super) const MARKS_BY_TIME: TableDefinition<MarkAt, ()> = TableDefinition::new("marks_by_time");
/// Strangers who wait for approval → `disk::Pairing`.
pub(super) const PAIRINGS: TableDefinition<SubjectOf, Bytes> = TableDefinition::new("pairings");
/// Who was approved → `disk::Approval`.
pub(super) const APPROVALS: TableDefinition<SubjectOf, Bytes> = TableDefinition::new("approvals");
/// Messages without a session key, from 1 without gaps → `disk::Parked`.
pub(super) const UNRESOLVED: TableDefinition<PositionAt, Bytes> = TableDefinition::new("unresolved");

/// The tables that write operations touch, open in one transaction.
pub(super) struct Tables<'t> {
    pub(super) sessions: Table<'t, SessionId, Bytes>,
    pub(super) transcript: Table<'t, Position, Bytes>,
    pub(super) inbox: Table<'t, Position, Bytes>,
    pub(super) outbox: Table<'t, Pending, Bytes>,
    pub(super) parked: Table<'t, Position, Bytes>,
    pub(super) users: Table<'t, UserIn, ()>,
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
    /// Of one channel entry.
    Entry(EntryScope, Vec<EntryChange>),
    /// Marks that nobody needs any more.
    ForgetMarks(Vec<OwnedMark>),
}

/// One row. `None` removes it.
#[derive(Debug)]
pub(super) enum Change {
    Session(Vec<u8>),
    Line(u64, Vec<u8>),
    Waiting(u64, Option<Vec<u8>>),
    Delivery(u128, Option<Vec<u8>>),
    Parked(u64, Vec<u8>),
    User { channel: String, user: String },
    Mark { entry: String, message_id: String, at: u64 },
}

/// One row of what is kept for a channel entry. `None` removes it.
#[derive(Debug)]
pub(super) enum EntryChange {
    Pairing(Subject, Option<Vec<u8>>),
    Approval(Subject, Option<Vec<u8>>),
    Unresolved(u64, Option<Vec<u8>>),
    /// A line that the entry says, or a mark.
    Beside(Change),
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
            sessions: transaction.open_table(SESSIONS)?,
            transcript: transaction.open_table(TRANSCRIPT)?,
            inbox: transaction.open_table(INBOX)?,
            outbox: transaction.open_table(OUTBOX)?,
            parked: transaction.open_table(PARKED)?,
            users: transaction.open_table(USERS)?,
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
            Change::Session(row) => drop(self.sessions.insert((tenant, key), &*row)?),
            Change::Line(seq, line) => drop(self.transcript.insert((tenant, key, seq), &*line)?),
            Change::Waiting(seq, Some(waiting)) => drop(self.inbox.insert((tenant, key, seq), &*waiting)?),
            Change::Waiting(seq, None) => drop(self.inbox.remove((tenant, key, seq))?),
            Change::Delivery(id, Some(delivery)) => drop(self.outbox.insert((tenant, key, id), &*delivery)?),
            Change::Delivery(id, None) => drop(self.outbox.remove((tenant, key, id))?),
            Change::Parked(position, parked) => drop(self.parked.insert((tenant, key, position), &*parked)?),
            Change::User { channel, user } => drop(self.users.insert((tenant, &*channel, &*user, key), ())?),
            Change::Mark { entry, message_id, at } => {
                self.marks.insert((tenant, &*entry, &*message_id), at)?;
                self.marks_by_time.insert((at, tenant, &*entry, &*message_id), ())?;
            }
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
            EntryChange::Beside(change) => return self.apply_in(&scope.notices(), change),
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
