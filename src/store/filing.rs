//! Filing a message, and forgetting that it was filed.

use redb::ReadableTable;

use crate::clock::Timestamp;
use crate::message::Inbound;

use super::record::{Filed, Life};
use super::scope::Scope;
use super::tables::{Change, Changes, OwnedMark, Tables, around};
use super::versioned::Versioned;
use super::writer::Operation;
use super::{Error, disk, episodes, taking};

/// Marks that one call forgets.
const MAX_PRUNED: usize = 1000;

/// A message that was admitted, for its conversation.
#[derive(Debug)]
pub(super) struct File {
    pub(super) scope: Scope,
    pub(super) inbound: Inbound,
    pub(super) life: Life,
}

impl Operation for File {
    type Outcome = Filed;

    fn is_new(&self) -> bool {
        true
    }

    fn plan(self, tables: &Tables<'_>) -> Result<(Filed, Changes), Error> {
        let Self { scope, inbound, life } = self;
        let identity = &inbound.identity;
        let (tenant, _) = scope.parts();
        let (entry, message_id) = (identity.entry.as_str(), inbound.message_id.as_str());
        // A name of an entry holds no `/`: what carried the messages has marks of its own.
        let envelope = inbound.envelope_id.as_ref().map(|id| (format!("{entry}/envelope"), id.as_str()));
        for (entry, id) in [Some((entry, message_id)), envelope.as_ref().map(|(entry, id)| (entry.as_str(), *id))]
            .into_iter()
            .flatten()
        {
            if tables.marks.get((tenant, entry, id))?.is_some() {
                return Ok((Filed::Duplicate, Changes::None));
            }
        }

        let at = inbound.received_at.0;
        let mut changes = put(tables, &scope, &inbound, None, life)?;
        changes.push(Change::Mark { entry: entry.to_owned(), message_id: message_id.to_owned(), at });
        if let Some((entry, id)) = envelope {
            changes.push(Change::Mark { entry, message_id: id.to_owned(), at });
        }
        Ok((Filed::New, Changes::Session(scope, changes)))
    }
}

/// Puts a message behind those that wait, in the conversation that lives or in the one that it begins. Its time is when
/// it was received, or later put back.
pub(super) fn put(
    tables: &Tables<'_>,
    scope: &Scope,
    inbound: &Inbound,
    unparked_at: Option<Timestamp>,
    life: Life,
) -> Result<Vec<Change>, Error> {
    let at = unparked_at.unwrap_or(inbound.received_at);
    let begin = || disk::Session { created_at: at.0, last_active_at: at.0, ..disk::Session::beginning_with(inbound) };
    let mut changes = Vec::new();
    let live = episodes::live(tables, scope)?;
    let was_active_at = live.as_ref().map(|session| session.last_active_at);
    let mut session = match live {
        Some(session)
            if life.is_over(&session, at) && !episodes::waits(tables, scope)? && !taking::is_taken(tables, scope)? =>
        {
            let next = begin().following(&session);
            changes.push(episodes::archive(session, at, true));
            disk::Session { is_news: life.says_new, ..next }
        }
        Some(session) => session,
        None => {
            let is_expired = episodes::last_archived(tables, scope)?.is_some_and(|last| last.is_expired);
            let first = episodes::begin(tables, scope, begin())?;
            disk::Session { is_news: is_expired && life.says_new, ..first }
        }
    };
    session.n_filed += 1;
    // A clock that is set back makes nothing older.
    session.last_active_at = session.last_active_at.max(at.0);
    // Of a name that was heard long ago and one that is shown now, the latter is newer.
    if inbound.user_name.is_some() && (unparked_at.is_none() || session.user_name.is_none()) {
        session.user_name.clone_from(&inbound.user_name);
    }
    let unparked_at = unparked_at.map(|at| at.0);
    let waiting = disk::Waiting { inbound: inbound.into(), n_tries: 0, is_told: false, unparked_at };
    changes.push(Change::Waiting(session.n_filed, Some(waiting.encode()?)));
    changes.push(Change::Session { from: was_active_at, to: Some(session) });
    if let Some(user) = &inbound.identity.user {
        let (tenant, key) = scope.parts();
        let channel = inbound.identity.channel.as_str();
        if tables.users.get((tenant, channel, user.as_str(), key))?.is_none() {
            changes.push(Change::User { channel: channel.to_owned(), user: user.to_string(), is_known: true });
        }
    }
    Ok(changes)
}

impl Life {
    /// Is it too long ago that somebody said something?
    fn is_over(self, session: &disk::Session, now: Timestamp) -> bool {
        self.ttl_ms.is_some_and(|ttl_ms| now.since_ms(Timestamp(session.last_active_at)) > ttl_ms)
    }
}

/// Dedupe marks that are old enough to go.
#[derive(Debug)]
pub(super) struct PruneMarks {
    pub(super) before: Timestamp,
    /// From, up to and including.
    pub(super) spare: Option<(Timestamp, Timestamp)>,
}

impl Operation for PruneMarks {
    /// Are more left?
    type Outcome = bool;

    fn plan(self, tables: &Tables<'_>) -> Result<(bool, Changes), Error> {
        let mut marks = Vec::new();
        let spare = self.spare.map(|(first, last)| first.0..last.0.saturating_add(1));
        let (older, newer) = around(self.before.0, spare);
        let older = tables.marks_by_time.range(..(older.end, "", "", ""))?;
        for row in older.chain(tables.marks_by_time.range((newer.start, "", "", "")..(newer.end, "", "", ""))?) {
            if marks.len() == MAX_PRUNED {
                return Ok((true, Changes::ForgetMarks(marks)));
            }
            let (mark, ()) = row.map(|(mark, unit)| (mark, unit.value()))?;
            let (at, tenant, entry, message_id) = mark.value();
            let [tenant, entry, message_id] = [tenant, entry, message_id].map(str::to_owned);
            marks.push(OwnedMark { at, tenant, entry, message_id });
        }
        Ok((false, if marks.is_empty() { Changes::None } else { Changes::ForgetMarks(marks) }))
    }
}
