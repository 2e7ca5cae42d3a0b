//! How messages leave the inbox: answered, tried in vain, or set aside.

use crate::clock::Timestamp;

use super::record::{Delivery, NewDelivery, Turn};
use super::scope::Scope;
use super::tables::{self, Change, Changes, Tables};
use super::versioned::Versioned;
use super::writer::Operation;
use super::{Error, context, delivery_id, disk, taking};

/// See `SessionStore::commit_turn`.
#[derive(Debug)]
pub(super) struct CommitTurn {
    pub(super) scope: Scope,
    pub(super) turn: Turn,
}

impl Operation for CommitTurn {
    type Outcome = Vec<Delivery>;

    fn plan(self, tables: &Tables<'_>) -> Result<(Vec<Delivery>, Changes), Error> {
        let Self { scope, turn } = self;
        let mut session = session(tables, &scope)?;
        taking::check_worker(tables, &scope)?;
        if (turn.episode, turn.first_line) != (session.episode, session.first_line) {
            return Err(Error::Gone { what: "conversation" });
        }
        let was_active_at = session.last_active_at;
        let answered = waiting(tables, &scope, turn.answered)?;
        // Without this, a turn over nothing could be committed again and again.
        let Some((_, last)) = answered.last() else { return Err(Error::Gone { what: "message" }) };
        let address = match turn.deliveries.first() {
            Some(delivery) => (&delivery.address).into(),
            None => last.inbound.reply_to.clone(),
        };

        let mut changes = Vec::new();
        for (seq, waiting) in answered {
            session.n_lines += 1;
            changes.push(Change::Waiting(seq, None));
            changes.push(Change::Line(session.n_lines, Some(waiting.inbound.into_line().encode()?)));
        }
        session.n_lines += 1;
        session.is_news = false;
        session.agent = Some(turn.agent.to_string());
        session.last_active_at = session.last_active_at.max(turn.at.0);
        let speaker = disk::Speaker::Agent(turn.agent.to_string());
        let line = disk::Line { at: turn.at.0, speaker, text: turn.text, address };
        changes.push(Change::Line(session.n_lines, Some(line.encode()?)));
        let goes_with = (session.n_lines, Some(&*line.text));
        let deliveries = send(tables, &scope, turn.deliveries, goes_with, turn.at, &mut changes)?;
        changes.extend(context::changes(tables, &scope, session.episode, turn.notes, turn.files, turn.at)?);
        changes.push(Change::Session { from: Some(was_active_at), to: Some(session) });
        Ok((deliveries, Changes::Session(scope, changes)))
    }
}

/// See `SessionStore::postpone`.
#[derive(Debug)]
pub(super) struct Postpone {
    pub(super) scope: Scope,
    pub(super) seqs: Vec<u64>,
    pub(super) notice: Option<NewDelivery>,
    /// Tries that failed: none when the turn still runs.
    pub(super) n_failed: u32,
    pub(super) at: Timestamp,
}

impl Operation for Postpone {
    type Outcome = Vec<Delivery>;

    fn plan(self, tables: &Tables<'_>) -> Result<(Vec<Delivery>, Changes), Error> {
        let Self { scope, seqs, notice, n_failed, at } = self;
        let session = session(tables, &scope)?;
        taking::check_worker(tables, &scope)?;
        let mut changes = Vec::new();
        for (seq, mut waiting) in waiting(tables, &scope, seqs)? {
            waiting.n_tries = waiting.n_tries.saturating_add(n_failed);
            waiting.is_told |= notice.is_some();
            changes.push(Change::Waiting(seq, Some(waiting.encode()?)));
        }
        let deliveries = send(tables, &scope, notice, (session.n_lines, None), at, &mut changes)?;
        Ok((deliveries, Changes::Session(scope, changes)))
    }
}

/// See `SessionStore::park`.
#[derive(Debug)]
pub(super) struct Park {
    pub(super) scope: Scope,
    pub(super) seqs: Vec<u64>,
    pub(super) reason: String,
    pub(super) notice: Option<NewDelivery>,
    /// Also what waits for a person?
    pub(super) even_taken: bool,
    pub(super) at: Timestamp,
}

impl Operation for Park {
    type Outcome = Vec<Delivery>;

    fn plan(self, tables: &Tables<'_>) -> Result<(Vec<Delivery>, Changes), Error> {
        let Self { scope, seqs, reason, notice, even_taken, at } = self;
        let mut session = session(tables, &scope)?;
        if !even_taken {
            taking::check_worker(tables, &scope)?;
        }
        let mut changes = Vec::new();
        for (seq, waiting) in waiting(tables, &scope, seqs)? {
            session.n_parked += 1;
            let what = disk::ParkedItem::Message(Box::new(waiting.inbound));
            let parked = disk::Parked { at: at.0, reason: reason.clone(), what };
            changes.push(Change::Waiting(seq, None));
            changes.push(Change::Parked(session.n_parked, Some(parked.encode()?)));
        }
        let deliveries = send(tables, &scope, notice, (session.n_lines, None), at, &mut changes)?;
        changes.push(Change::Session { from: Some(session.last_active_at), to: Some(session) });
        Ok((deliveries, Changes::Session(scope, changes)))
    }
}

/// The row of the conversation.
pub(super) fn session(tables: &Tables<'_>, scope: &Scope) -> Result<disk::Session, Error> {
    tables.sessions.get(scope.parts())?.ok_or(Error::Gone { what: "conversation" })
}

/// All of these messages, oldest first; one that does not wait any more spoils the whole operation.
pub(super) fn waiting(
    tables: &Tables<'_>,
    scope: &Scope,
    mut seqs: Vec<u64>,
) -> Result<Vec<(u64, disk::Waiting)>, Error> {
    let (tenant, key) = scope.parts();
    seqs.sort_unstable();
    seqs.dedup();
    let get = |seq| Ok((seq, tables.inbox.get((tenant, key, seq))?.ok_or(Error::Gone { what: "message" })?));
    seqs.into_iter().map(get).collect()
}

/// Puts replies into the outbox, in order, after all that wait there for this conversation. They go with a line, of which
/// is known what it says if they may say the same.
pub(super) fn send(
    tables: &Tables<'_>,
    scope: &Scope,
    contents: impl IntoIterator<Item = NewDelivery>,
    (line, said): (u64, Option<&str>),
    at: Timestamp,
    changes: &mut Vec<Change>,
) -> Result<Vec<Delivery>, Error> {
    let newest = tables.outbox.keys(tables::deliveries(scope))?.next_back().transpose()?;
    let mut newest = newest.map(|key| key.value().2);
    let mut deliveries = Vec::new();
    for content in contents {
        let id = delivery_id::next(at, newest)?;
        newest = Some(id);
        changes.push(Change::Delivery(id, Some(disk::Outgoing::new(&content, line, at, said).encode()?)));
        deliveries.push(Delivery {
            id: delivery_id::print(id),
            tenant: scope.tenant.clone(),
            key: scope.key.clone(),
            seq: line,
            created_at: at,
            unparked_at: None,
            is_started: false,
            content,
        });
    }
    Ok(deliveries)
}
