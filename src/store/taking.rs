//! Conversations that a person answers: taken over, spoken in, handed back.
//!
//! While a conversation is taken, its messages wait in the inbox as ever, and no turn of the worker is committed. What is
//! taken has a row in a table of its own, so that those that are not cost nothing and those that are can be counted.
//! The row goes with the live conversation: archived, expired or erased, nobody has it.

use redb::ReadableTable as _;

use crate::clock::Timestamp;
use crate::id::{SessionKey, TenantId};

use super::database::View;
use super::record::{Speech, Spoken, Taken, Taking};
use super::scope::Scope;
use super::session::SessionStore;
use super::tables::{self, Change, Changes, INBOX, TAKEN, Tables};
use super::tenant::TenantStore;
use super::versioned::Versioned;
use super::writer::Operation;
use super::{Error, Store, disk, turn};

/// Where marks of what people said lie. No channel entry is called that.
const SAID: &str = "/said";

impl SessionStore {
    /// Who has taken it; `None`: the worker answers.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn taken(&self) -> Result<Option<Taken>, Error> {
        let view = self.shared().database.read()?;
        Ok(view.values(&TAKEN)?.get(self.scope().parts())?.map(disk::Taken::restore))
    }

    /// A person takes the live conversation over, or says that they still want it. Who has it keeps it unless
    /// `from_others`.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`], [`Error::Closed`]; [`Error::Gone`] when there is no live conversation.
    pub async fn take(&self, by: String, from_others: bool, at: Timestamp) -> Result<Taking, Error> {
        self.shared().writer.write(Take { scope: self.scope().clone(), by, from_others, at }).await
    }

    /// The worker answers again. With `unless_since`, only if nothing was said since that time. False: nobody had it.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Closed`].
    pub async fn hand_back(&self, unless_since: Option<Timestamp>) -> Result<bool, Error> {
        self.shared().writer.write(HandBack { scope: self.scope().clone(), unless_since }).await
    }

    /// A person says something, in one transaction: what it answers leaves the inbox and enters the transcript, their
    /// line follows, and its deliveries enter the outbox.
    ///
    /// # Errors
    /// As [`Self::take`]; [`Error::Gone`] also when a message that it answers does not wait any more.
    pub async fn speak(&self, speech: Speech) -> Result<Spoken, Error> {
        self.shared().writer.write(Speak { scope: self.scope().clone(), speech }).await
    }
}

impl TenantStore {
    /// Conversations of this tenant that people have taken, and how many messages wait for them.
    pub(super) fn in_hands(&self, view: &View<'_>) -> Result<(u64, u64), Error> {
        let (part, next) = (self.part(), tables::after(self.part()));
        let (taken, inbox) = (view.values(&TAKEN)?, view.values(&INBOX)?);
        let (mut n_taken, mut n_waiting) = (0, 0);
        for id in taken.keys((part, "")..(&*next, ""))? {
            let id = id?;
            let (tenant, key) = id.value();
            n_taken += 1;
            for waiting in inbox.keys((tenant, key, 0)..=(tenant, key, u64::MAX))? {
                waiting?;
                n_waiting += 1;
            }
        }
        Ok((n_taken, n_waiting))
    }
}

impl Store {
    /// All conversations that people have taken. One that cannot be read is said in the log and left out.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn taken(&self) -> Result<Vec<(Option<TenantId>, SessionKey, Taken)>, Error> {
        let view = self.shared.database.read()?;
        let taken = view.values(&TAKEN)?;
        let mut found = Vec::new();
        for row in taken.range::<(&str, &str)>(..)? {
            let restored = row.and_then(|(id, row)| {
                let (tenant, key) = id.value();
                let Scope { tenant, key } = Scope::restore(tenant, key)?;
                Ok((tenant, key, row.restore()))
            });
            match restored {
                Ok(row) => found.push(row),
                Err(error @ Error::Storage(_)) => return Err(error),
                Err(error) => tracing::error!(%error, "who has taken a conversation cannot be read"),
            }
        }
        Ok(found)
    }
}

/// May a worker answer there, or tell the peer something? A turn that began before somebody took the conversation ends in
/// nothing.
pub(super) fn check_worker(tables: &Tables<'_>, scope: &Scope) -> Result<(), Error> {
    if is_taken(tables, scope)? { Err(Error::Gone { what: "worker's turn" }) } else { Ok(()) }
}

pub(super) fn is_taken(tables: &Tables<'_>, scope: &Scope) -> Result<bool, Error> {
    tables.taken.has(scope.parts())
}

/// Nobody has it any more; nothing if nobody had.
pub(super) fn end(tables: &Tables<'_>, scope: &Scope) -> Result<Option<Change>, Error> {
    Ok(is_taken(tables, scope)?.then_some(Change::Taken(None)))
}

/// See [`SessionStore::take`].
#[derive(Debug)]
struct Take {
    scope: Scope,
    by: String,
    from_others: bool,
    at: Timestamp,
}

impl Operation for Take {
    type Outcome = Taking;

    fn plan(self, tables: &Tables<'_>) -> Result<(Taking, Changes), Error> {
        let Self { scope, by, from_others, at } = self;
        turn::session(tables, &scope)?;
        let since = match tables.taken.get(scope.parts())? {
            Some(other) if other.by != by && !from_others => {
                return Ok((Taking::Others(other.restore()), Changes::None));
            }
            Some(own) if own.by == by => own.since,
            _ => at.0,
        };
        let row = disk::Taken { by, since, spoke_at: at.0 };
        let change = Change::Taken(Some(row.encode()?));
        Ok((Taking::Theirs(row.restore()), Changes::Session(scope, vec![change])))
    }
}

/// See [`SessionStore::hand_back`].
#[derive(Debug)]
struct HandBack {
    scope: Scope,
    unless_since: Option<Timestamp>,
}

impl Operation for HandBack {
    /// Had somebody taken it?
    type Outcome = bool;

    fn plan(self, tables: &Tables<'_>) -> Result<(bool, Changes), Error> {
        let Self { scope, unless_since } = self;
        let taken = tables.taken.get(scope.parts())?;
        if taken.is_none_or(|taken| unless_since.is_some_and(|since| taken.spoke_at > since.0)) {
            return Ok((false, Changes::None));
        }
        Ok((true, Changes::Session(scope, vec![Change::Taken(None)])))
    }
}

/// See [`SessionStore::speak`].
#[derive(Debug)]
struct Speak {
    scope: Scope,
    speech: Speech,
}

impl Operation for Speak {
    type Outcome = Spoken;

    fn plan(self, tables: &Tables<'_>) -> Result<(Spoken, Changes), Error> {
        let Self { scope, speech: Speech { by, answered, text, deliveries, once, at } } = self;
        let mut session = turn::session(tables, &scope)?;
        let mut taken = match tables.taken.get(scope.parts())? {
            Some(taken) if taken.by == by => taken,
            other => return Ok((Spoken::NotTheirs(other.map(disk::Taken::restore)), Changes::None)),
        };
        let (tenant, _) = scope.parts();
        if let Some(once) = &once
            && tables.marks.get((tenant, SAID, once.as_str()))?.is_some()
        {
            return Ok((Spoken::Repeat, Changes::None));
        }
        let answered = turn::waiting(tables, &scope, answered)?;
        let Some(first) = deliveries.first() else { return Err(Error::Gone { what: "reply" }) };
        let address = (&first.address).into();
        let was_active_at = session.last_active_at;
        let mut changes = Vec::new();
        for (seq, waiting) in answered {
            session.n_lines += 1;
            changes.push(Change::Waiting(seq, None));
            changes.push(Change::Line(session.n_lines, Some(waiting.inbound.into_line().encode()?)));
        }
        session.n_lines += 1;
        session.is_news = false;
        session.last_active_at = session.last_active_at.max(at.0);
        let line = disk::Line { at: at.0, speaker: disk::Speaker::Person(by), text, address };
        changes.push(Change::Line(session.n_lines, Some(line.encode()?)));
        let goes_with = (session.n_lines, Some(&*line.text));
        let deliveries = turn::send(tables, &scope, deliveries, goes_with, at, &mut changes)?;
        taken.spoke_at = taken.spoke_at.max(at.0);
        changes.push(Change::Taken(Some(taken.encode()?)));
        if let Some(message_id) = once {
            changes.push(Change::Mark { entry: SAID.to_owned(), message_id, at: at.0 });
        }
        changes.push(Change::Session { from: Some(was_active_at), to: Some(session) });
        Ok((Spoken::New(deliveries), Changes::Session(scope, changes)))
    }
}
