//! Every table of the file, once.
//!
//! A tenant is written as its id, the owner's own conversations as `""`. Keys are redb tuples, which
//! compare element by element: the rows of a tenant, and of a session in it, lie side by side, and no
//! text can be crafted that sorts into another's range. Values are `versioned`.

use std::ops::{Range, RangeInclusive, RangeTo};

use redb::{ReadTransaction, ReadableTable, TableDefinition, TableError, Value, WriteTransaction};

use super::entry::EntryScope;
use super::log::{Log, LoggedRow};
use super::portable::PortableKey;
use super::scope::Scope;
use super::seal::Keyring;
use super::values::{PlainTable, RowKey, ValueTable, WrittenRows, WrittenValues};
use super::versioned::Versioned;
use super::{Error, disk};
use crate::message::Subject;

/// Format of the file: of keys and tables. Values have versions of their own.
pub(super) const FORMAT: u32 = 3;

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
/// Tenant, session key, episode, what stands for the name of a file: a model chooses it from what was said.
pub(super) type FileId = (&'static str, &'static str, u64, &'static str);
/// Tenant, hours since 1970.
pub(super) type HourOf = (&'static str, u64);
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
/// Tenant, a position.
pub(super) type AccessAt = (&'static str, u64);
/// `"format"` → [`FORMAT`].
pub(super) const META: TableDefinition<&str, u32> = TableDefinition::new("meta");

/// Whoever looks at all tables, one after the other.
pub(super) trait Visitor {
    type Error: From<Error>;

    fn values<K: RowKey, T: Versioned>(&mut self, table: &ValueTable<K, T>) -> Result<(), Self::Error>;

    fn rows<K: PortableKey, V: Value + 'static>(&mut self, table: &PlainTable<K, V>) -> Result<(), Self::Error>;
}

macro_rules! tables {
    (
        values { $($(#[$value_doc:meta])* $values:ident, $value_field:ident: $value_key:ty => $shape:ty, $value_number:literal;)+ }
        plain { $($(#[$row_doc:meta])* $rows:ident, $row_field:ident: $row_key:ty => $row:ty, $row_number:literal;)+ }
    ) => {
        $($(#[$value_doc])* pub(super) const $values: ValueTable<$value_key, $shape> =
            ValueTable::new($value_number, stringify!($value_field));)+
        $($(#[$row_doc])* pub(super) const $rows: PlainTable<$row_key, $row> =
            PlainTable::new($row_number, stringify!($row_field));)+

        /// All tables, open in one write transaction.
        pub(super) struct Tables<'t> {
            pub(super) log: Log,
            pub(super) keyring: &'t Keyring,
            $(pub(super) $value_field: WrittenValues<'t, $value_key, $shape>,)+
            $(pub(super) $row_field: WrittenRows<'t, $row_key, $row>,)+
        }

        impl<'t> Tables<'t> {
            /// Opens all of them, and so makes those that are missing.
            pub(super) fn open(transaction: &'t WriteTransaction, keyring: &'t Keyring) -> Result<Self, Error> {
                Ok(Self {
                    log: Log::default(),
                    keyring,
                    $($value_field: WrittenValues::new(
                        transaction.open_table($values.definition)?, &$values, keyring
                    ),)+
                    $($row_field: WrittenRows::new(transaction.open_table($rows.definition)?, &$rows),)+
                })
            }

            /// Values of a tenant, some of them if they are more than `limit`.
            fn values_of(
                &self,
                tenant: &str,
                limit: usize,
                found: &mut Vec<(u8, Vec<u8>)>,
            ) -> Result<(), Error> {
                $(self.$value_field.rows_of(tenant, limit, found)?;)+
                Ok(())
            }

            /// Writes a row that a log holds.
            pub(super) fn replay(&mut self, row: LoggedRow<'_>) -> Result<(), Error> {
                match row.table {
                    $($value_number => self.$value_field.replay(row.key, row.value),)+
                    $($row_number => self.$row_field.replay(row.key, row.value),)+
                    _ => Err(Error::Value { what: "table" }),
                }
            }
        }

        /// Grows whenever a version stores something that the one before it cannot read: a format of the file, a table, or a
        /// shape of a value.
        pub(super) const SHAPE: u64 = (FORMAT as u64) * 1_000
            $(+ <$shape as Versioned>::VERSION as u64)+
            $(+ { let _ = $row_number; 1 })+;

        /// Shows all of them but [`META`].
        pub(super) fn show<V: Visitor>(to: &mut V) -> Result<(), V::Error> {
            $(to.values(&$values)?;)+
            $(to.rows(&$rows)?;)+
            Ok(())
        }
    };
}

tables! {
    values {
        /// One row per live conversation.
        SESSIONS, sessions: SessionId => disk::Session, 1;
        /// Tenant, session key, episode.
        ARCHIVE, archive: Position => disk::Archived, 2;
        /// Lines of all episodes.
        TRANSCRIPT, transcript: Position => disk::Line, 3;
        /// Messages that wait for a turn.
        INBOX, inbox: Position => disk::Waiting, 4;
        /// Replies that are not settled.
        OUTBOX, outbox: Pending => disk::Outgoing, 5;
        /// What was set aside.
        PARKED, parked: Position => disk::Parked, 6;
        /// What a conversation remembers.
        NOTES, notes: NoteId => disk::Note, 7;
        /// Working files of a conversation.
        FILES, files: FileId => disk::File, 8;
        /// Strangers who wait for approval.
        PAIRINGS, pairings: SubjectOf => disk::Pairing, 9;
        /// Who was approved.
        APPROVALS, approvals: SubjectOf => disk::Approval, 10;
        /// Messages without a session key, from 1 without gaps.
        UNRESOLVED, unresolved: PositionAt => disk::Parked, 11;
        /// What was counted of a tenant in an hour.
        USAGE, usage: HourOf => disk::Usage, 12;
        /// Live conversations that a person answers.
        TAKEN, taken: SessionId => disk::Taken, 13;
        /// Who did what, from 1 without gaps.
        ACCESS, access: AccessAt => disk::Access, 14;
    }
    plain {
        /// Numbers of the whole file by name, see [`Number`].
        NUMBERS, numbers: &'static str => u64, 32;
        /// The live conversations by the hour of their last message.
        ACTIVITY, activity: ActiveIn => (), 33;
        /// Who wrote where.
        USERS, users: UserIn => (), 34;
        /// Who wrote in it: [`USERS`] the other way round.
        PEERS, peers: PeerIn => (), 35;
        /// Messages that were filed → milliseconds since 1970.
        MARKS, marks: Mark => u64, 36;
        /// The marks by age, for pruning: it and [`ACTIVITY`] do not start with the tenant.
        MARKS_BY_TIME, marks_by_time: MarkAt => (), 37;
        /// Tenant → its data key, wrapped; see `seal`.
        KEYS, keys: &'static str => &'static [u8], 38;
        /// Tenants whose rows are being removed.
        ERASING, erasing: &'static str => (), 39;
        /// Hours since 1970 → bytes of memory that the process held at most.
        MEMORY, memory: u64 => u64, 40;
    }
}

/// Is one of them not in the file yet?
pub(super) fn is_one_missing(from: &ReadTransaction) -> Result<bool, Error> {
    struct Look<'l>(&'l ReadTransaction, bool);

    impl Look<'_> {
        fn note<T>(&mut self, opened: Result<T, TableError>) -> Result<(), Error> {
            match opened {
                Err(TableError::TableDoesNotExist(_)) => self.1 = true,
                opened => drop(opened?),
            }
            Ok(())
        }
    }

    impl Visitor for Look<'_> {
        type Error = Error;

        fn values<K: RowKey, T: Versioned>(&mut self, table: &ValueTable<K, T>) -> Result<(), Error> {
            self.note(self.0.open_table(table.definition))
        }

        fn rows<K: PortableKey, V: Value + 'static>(&mut self, table: &PlainTable<K, V>) -> Result<(), Error> {
            self.note(self.0.open_table(table.definition))
        }
    }

    let mut look = Look(from, false);
    show(&mut look)?;
    Ok(look.1)
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
    /// Of an hour of a tenant. `None` removes it.
    Usage(String, u64, Option<Vec<u8>>),
    /// Of an hour. `None` removes it.
    Memory(u64, Option<u64>),
    /// Of a tenant's access log. `None` removes.
    Access(String, Vec<(u64, Option<Vec<u8>>)>),
    /// Marks that nobody needs any more.
    ForgetMarks(Vec<OwnedMark>),
    /// The first step of erasing a tenant: its data key goes.
    BeginErasing(String),
    /// Rows of a tenant that is being erased: number of the table, key as redb writes it.
    RemoveRows(Vec<(u8, Vec<u8>)>),
    /// The last step.
    EndErasing(String),
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
    Taken(Option<Vec<u8>>),
    /// The episode, and the tag of its name.
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

impl Tables<'_> {
    /// Writes what was decided. An error leaves the transaction half-written: it must be aborted.
    pub(super) fn apply(&mut self, changes: Changes) -> Result<(), Error> {
        match changes {
            Changes::None => Ok(()),
            Changes::All(all) => all.into_iter().try_for_each(|changes| self.apply(changes)),
            Changes::Number(number, value) => self.numbers.put(&mut self.log, &number.name(), Some(&value)),
            Changes::Session(scope, changes) => {
                changes.into_iter().try_for_each(|change| self.apply_in(&scope, change))
            }
            Changes::Entry(scope, changes) => changes.into_iter().try_for_each(|change| self.apply_at(&scope, change)),
            Changes::Usage(tenant, hour, row) => self.usage.put(&mut self.log, &(&*tenant, hour), row.as_deref()),
            Changes::Memory(hour, bytes) => self.memory.put(&mut self.log, &hour, bytes.as_ref()),
            Changes::Access(tenant, rows) => rows
                .iter()
                .try_for_each(|(position, row)| self.access.put(&mut self.log, &(&*tenant, *position), row.as_deref())),
            Changes::ForgetMarks(marks) => marks.iter().try_for_each(|mark| self.forget(mark)),
            Changes::BeginErasing(tenant) => {
                self.keyring.begin_erasing(&tenant);
                self.erasing.put(&mut self.log, &&*tenant, Some(&()))?;
                self.keys.put(&mut self.log, &&*tenant, None)
            }
            Changes::RemoveRows(rows) => rows.iter().try_for_each(|(table, key)| {
                self.log.remove(*table, key);
                self.replay(LoggedRow { table: *table, key, value: None })
            }),
            Changes::EndErasing(tenant) => {
                self.keyring.end_erasing(&tenant);
                self.erasing.put(&mut self.log, &&*tenant, None)
            }
        }
    }

    /// Rows whose keys begin with a tenant, some of them if they are more than `limit`: number of the table, key as redb
    /// writes it. What waits comes first, so that it is not taken up any more.
    pub(super) fn rows_of(&self, tenant: &str, limit: usize) -> Result<Vec<(u8, Vec<u8>)>, Error> {
        let mut found = Vec::new();
        self.inbox.rows_of(tenant, limit, &mut found)?;
        self.outbox.rows_of(tenant, limit, &mut found)?;
        if found.is_empty() {
            self.values_of(tenant, limit, &mut found)?;
            self.users.rows_of(tenant, limit, &mut found)?;
            self.peers.rows_of(tenant, limit, &mut found)?;
            self.marks.rows_of(tenant, limit, &mut found)?;
        }
        Ok(found)
    }

    /// May this be written? Asked before the first byte changes.
    ///
    /// # Errors
    /// As [`Keyring::admit`].
    pub(super) fn admit(&self, changes: &Changes) -> Result<(), Error> {
        match changes {
            Changes::All(all) => all.iter().try_for_each(|changes| self.admit(changes)),
            Changes::Session(scope, _) => self.keyring.admit(scope.parts().0),
            Changes::Entry(scope, _) => self.keyring.admit(scope.parts().0),
            Changes::Usage(tenant, ..) => self.keyring.admit(tenant),
            Changes::Access(tenant, _) => self.keyring.admit(tenant),
            Changes::None
            | Changes::Number(..)
            | Changes::Memory(..)
            | Changes::ForgetMarks(_)
            | Changes::BeginErasing(_)
            | Changes::RemoveRows(_)
            | Changes::EndErasing(_) => Ok(()),
        }
    }

    /// What stands for the name of a file of this conversation in the key of its row.
    ///
    /// # Errors
    /// As [`Keyring::new_name_tag`].
    pub(super) fn file_tag(&self, scope: &Scope, name: &str) -> Result<String, Error> {
        let (tenant, key) = scope.parts();
        self.keyring.new_name_tag(tenant, key, name)
    }

    /// Keys that were made for what was written: in the same transaction.
    pub(super) fn put_new_keys(&mut self) -> Result<(), Error> {
        for (tenant, wrapped) in self.keyring.take_new() {
            self.keys.put(&mut self.log, &&*tenant, Some(&&*wrapped))?;
        }
        Ok(())
    }

    fn apply_in(&mut self, scope: &Scope, change: Change) -> Result<(), Error> {
        let (tenant, key) = scope.parts();
        let log = &mut self.log;
        match change {
            Change::Session { from, to } => self.apply_session(scope, from, to.as_ref()),
            Change::Archived(episode, row) => {
                let row = row.map(|row| row.encode()).transpose()?;
                self.archive.put(log, &(tenant, key, episode), row.as_deref())
            }
            Change::Line(seq, line) => self.transcript.put(log, &(tenant, key, seq), line.as_deref()),
            Change::Waiting(seq, waiting) => self.inbox.put(log, &(tenant, key, seq), waiting.as_deref()),
            Change::Delivery(id, delivery) => self.outbox.put(log, &(tenant, key, id), delivery.as_deref()),
            Change::Parked(position, parked) => self.parked.put(log, &(tenant, key, position), parked.as_deref()),
            Change::Note((episode, number), note) => {
                self.notes.put(log, &(tenant, key, episode, number), note.as_deref())
            }
            Change::Taken(row) => self.taken.put(log, &(tenant, key), row.as_deref()),
            Change::File((episode, tag), file) => self.files.put(log, &(tenant, key, episode, &*tag), file.as_deref()),
            Change::User { channel, user, is_known } => {
                let row = is_known.then_some(&());
                self.users.put(log, &(tenant, &*channel, &*user, key), row)?;
                self.peers.put(log, &(tenant, key, &*channel, &*user), row)
            }
            Change::Mark { entry, message_id, at } => {
                self.marks.put(log, &(tenant, &*entry, &*message_id), Some(&at))?;
                self.marks_by_time.put(log, &(at, tenant, &*entry, &*message_id), Some(&()))
            }
            Change::Unmark { entry, message_id } => {
                let mark = (tenant, &*entry, &*message_id);
                let Some(at) = self.marks.get(mark)?.map(|at| at.value()) else { return Ok(()) };
                self.marks.put(log, &mark, None)?;
                self.marks_by_time.put(log, &(at, tenant, &*entry, &*message_id), None)
            }
        }
    }

    /// The row, and its place in the index by activity, which moves once an hour at most.
    fn apply_session(&mut self, scope: &Scope, from: Option<u64>, to: Option<&disk::Session>) -> Result<(), Error> {
        let (tenant, key) = scope.parts();
        let log = &mut self.log;
        let (from, hour) = (from.map(hour), to.map(|row| hour(row.last_active_at)));
        if from != hour {
            from.map(|hour| self.activity.put(log, &(hour, tenant, key), None)).transpose()?;
            hour.map(|hour| self.activity.put(log, &(hour, tenant, key), Some(&()))).transpose()?;
        }
        let row = to.map(Versioned::encode).transpose()?;
        self.sessions.put(log, &(tenant, key), row.as_deref())
    }

    fn apply_at(&mut self, scope: &EntryScope, change: EntryChange) -> Result<(), Error> {
        let (tenant, entry) = scope.parts();
        let log = &mut self.log;
        match change {
            EntryChange::Pairing(subject, row) => self.pairings.put(log, &scope.subject(&subject), row.as_deref()),
            EntryChange::Approval(subject, row) => self.approvals.put(log, &scope.subject(&subject), row.as_deref()),
            EntryChange::Unresolved(at, row) => self.unresolved.put(log, &(tenant, entry, at), row.as_deref()),
            EntryChange::Beside(change) => self.apply_in(&scope.notices(), *change),
        }
    }

    fn forget(&mut self, mark: &OwnedMark) -> Result<(), Error> {
        let OwnedMark { at, tenant, entry, message_id } = mark;
        self.marks.put(&mut self.log, &(&**tenant, &**entry, &**message_id), None)?;
        self.marks_by_time.put(&mut self.log, &(*at, &**tenant, &**entry, &**message_id), None)
    }
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
    /// Of the journal's records that are not in the database.
    Epoch,
    /// From this epoch on the journal has a record; 0 or none: the file is whole without it.
    Journal,
}

impl Number {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::LatestSeen => "latest_seen",
            Self::LastPosition => "last_position",
            Self::LastEpisode => "last_episode",
            Self::Erasures => "erasures",
            Self::Rewritten => "rewritten",
            Self::Epoch => "epoch",
            Self::Journal => "journal",
        }
    }

    /// Is this the name of one that tells about the file, and not about what is in it?
    pub(super) fn is_of_file(name: &[u8]) -> bool {
        [Self::Epoch, Self::Journal].iter().any(|number| number.name().as_bytes() == name)
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
