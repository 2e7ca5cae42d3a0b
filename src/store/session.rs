//! One conversation of one tenant.

use std::sync::Arc;

use redb::{AccessGuard, ReadableTable};

use crate::clock::Timestamp;
use crate::id::SessionKey;
use crate::message::ReplyAddress;

use super::context::ContextStore;
use super::database::View;
use super::episode::EpisodeStore;
use super::erase::Erase;
use super::life::{Archive, BeginAnew, Restore};
use super::outbox::{Progress, Step};
use super::record::{
    Addressed, ArchivedRow, Delivery, DeliveryName, Erased, Line, NewDelivery, Parked, Restored, SessionRow, Turn,
    Waiting, Words,
};
use super::scope::Scope;
use super::search::MAX_LOOKED;
use super::tables::{self, ARCHIVE, INBOX, OUTBOX, PARKED, Pending, Position, SESSIONS, TRANSCRIPT};
use super::turn::{CommitTurn, Park, Postpone};
use super::values::{Bytes, Values};
use super::versioned::Versioned;
use super::{Error, Shared, delivery_id, disk, tenant};

/// One conversation of one tenant.
#[derive(Debug, Clone)]
pub struct SessionStore {
    shared: Arc<Shared>,
    scope: Scope,
}

impl SessionStore {
    pub(super) fn new(shared: Arc<Shared>, scope: Scope) -> Self {
        Self { shared, scope }
    }

    /// The row, if there is a live conversation.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn row(&self) -> Result<Option<SessionRow>, Error> {
        let view = self.shared.database.read()?;
        let row = view.values(&SESSIONS)?.get(self.scope.parts())?;
        row.map(|row| tenant::restore(self.scope.clone(), row)).transpose()
    }

    /// Position of the first line of the live conversation.
    fn first_line(&self, view: &View<'_>) -> Result<Option<u64>, Error> {
        Ok(view.values(&SESSIONS)?.get(self.scope.parts())?.map(|row| row.first_line))
    }

    /// Its name.
    #[must_use]
    pub fn key(&self) -> &SessionKey {
        &self.scope.key
    }

    /// Messages that wait, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn waiting(&self, limit: usize) -> Result<Vec<Waiting>, Error> {
        let view = self.shared.database.read()?;
        let inbox = view.values(&INBOX)?;
        let restore = |row: Row<'_, Position, disk::Waiting>| {
            let (key, waiting) = row?;
            let waiting = waiting.restore(key.value().2, self.scope.tenant.as_ref());
            waiting.or(Err(Error::Value { what: disk::Waiting::WHAT }))
        };
        inbox.range(tables::positions(&self.scope))?.take(limit).map(restore).collect()
    }

    /// The newest lines of the live conversation, oldest first: at most `max_lines`, and at most `max_bytes` of text unless one line alone is longer.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn recent(&self, max_lines: usize, max_bytes: usize) -> Result<Vec<Line>, Error> {
        self.newest(max_lines, max_bytes, |seq, opened| {
            let line = disk::Line::decode(opened)?.restore(seq).or(Err(Error::Value { what: disk::Line::WHAT }))?;
            Ok((line.text.len(), line))
        })
    }

    /// The same, without more of each line than `each` makes of its words.
    ///
    /// # Errors
    /// As [`Self::recent`].
    pub fn recent_words<T>(
        &self,
        max_lines: usize,
        max_bytes: usize,
        each: impl Fn(Words<'_>) -> T,
    ) -> Result<Vec<T>, Error> {
        self.newest(max_lines, max_bytes, |_, opened| match disk::Line::<String>::borrow::<disk::Line<&str>>(opened) {
            Some(line) => Ok((line.text.len(), each(line.words()))),
            None => {
                let line = disk::Line::decode(opened)?;
                Ok((line.text.len(), each(line.words())))
            }
        })
    }

    /// See [`Self::recent`]; `read` says how long the text of a line is too.
    fn newest<T>(
        &self,
        max_lines: usize,
        max_bytes: usize,
        read: impl Fn(u64, &[u8]) -> Result<(usize, T), Error>,
    ) -> Result<Vec<T>, Error> {
        let view = self.shared.database.read()?;
        let transcript = view.values(&TRANSCRIPT)?;
        let mut lines = Vec::new();
        let mut n_bytes = 0_usize;
        let Some(first) = self.first_line(&view)? else { return Ok(lines) };
        let rows = transcript.range(tables::between(&self.scope, first, u64::MAX))?;
        for row in rows.opened().rev().take(max_lines) {
            let (key, opened) = row?;
            let (n_bytes_more, line) = read(key.value().2, &opened)?;
            n_bytes = n_bytes.saturating_add(n_bytes_more);
            if n_bytes > max_bytes && !lines.is_empty() {
                break;
            }
            lines.push(line);
        }
        lines.reverse();
        Ok(lines)
    }

    /// What came from and went to `address`: the newest `limit` lines of the live conversation, or those after `after_seq`,
    /// also of conversations that were archived since. Looks at a few thousand lines of all that share it.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn lines_with(&self, address: &ReplyAddress, after_seq: Option<u64>, limit: usize) -> Result<Addressed, Error> {
        let view = self.shared.database.read()?;
        let live = view.values(&SESSIONS)?.get(self.scope.parts())?;
        let archive = view.values(&ARCHIVE)?;
        let archived = archive.range(tables::positions(&self.scope))?.rev().map(|row| Ok(row?.1.session));
        let mut last = 0;
        // Before the first line there is nothing that can have been erased.
        let mut is_known = after_seq.is_none_or(|after| after == 0);
        for row in live.clone().map(Ok::<_, Error>).into_iter().chain(archived) {
            let row = row?;
            last = last.max(row.n_lines);
            is_known |= after_seq.is_some_and(|after| (row.first_line..=row.n_lines).contains(&after));
            if after_seq.is_none_or(|after| row.first_line <= after) {
                break;
            }
        }
        // A page may know more than there is, after the restore of an older store.
        let first = match after_seq.filter(|after| *after <= last) {
            Some(after) => after.saturating_add(1),
            None => live.map_or(u64::MAX, |live| live.first_line),
        };
        let transcript = view.values(&TRANSCRIPT)?;
        let mut lines = Vec::new();
        for row in transcript.range(tables::between(&self.scope, first, u64::MAX))?.rev().take(MAX_LOOKED) {
            let line = line(row)?;
            if lines.len() >= limit {
                break;
            }
            if line.address == *address {
                lines.push(line);
            }
        }
        lines.reverse();
        Ok(Addressed { lines, last, is_known })
    }

    /// Lines of the live conversation after `after_seq`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn lines_after(&self, after_seq: u64, limit: usize) -> Result<Vec<Line>, Error> {
        let view = self.shared.database.read()?;
        let transcript = view.values(&TRANSCRIPT)?;
        let (Some(first), Some(after)) = (self.first_line(&view)?, after_seq.checked_add(1)) else {
            return Ok(Vec::new());
        };
        transcript.range(tables::between(&self.scope, first.max(after), u64::MAX))?.take(limit).map(line).collect()
    }

    /// Ends a turn in one transaction: the answered messages leave the inbox and enter the transcript,
    /// the answer follows them, and its deliveries enter the outbox. Returns these in order.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`], [`Error::Closed`]; [`Error::Gone`] when one of the messages
    /// does not wait any more, or none is named, the conversation is another one than
    /// [`Turn::episode`] or begins elsewhere than with [`Turn::first_line`], or a note is not what the turn found. On
    /// an error nothing has happened.
    pub async fn commit_turn(&self, turn: Turn) -> Result<Vec<Delivery>, Error> {
        self.shared.writer.write(CommitTurn { scope: self.scope.clone(), turn }).await
    }

    /// Notes that a turn over these messages failed and will be tried again; `notice` is sent to the peer
    /// once, and the messages are marked as told. Not part of the transcript.
    ///
    /// # Errors
    /// As [`Self::commit_turn`].
    pub async fn postpone(
        &self,
        seqs: Vec<u64>,
        notice: Option<NewDelivery>,
        at: Timestamp,
    ) -> Result<Vec<Delivery>, Error> {
        self.shared.writer.write(Postpone { scope: self.scope.clone(), seqs, notice, n_failed: 1, at }).await
    }

    /// Sends `notice` while a turn over these messages still runs, and marks them as told.
    ///
    /// # Errors
    /// As [`Self::commit_turn`].
    pub async fn tell(&self, seqs: Vec<u64>, notice: NewDelivery, at: Timestamp) -> Result<Vec<Delivery>, Error> {
        let notice = Some(notice);
        self.shared.writer.write(Postpone { scope: self.scope.clone(), seqs, notice, n_failed: 0, at }).await
    }

    /// Sets messages aside: they leave the inbox and stay readable under [`Self::parked`].
    ///
    /// # Errors
    /// As [`Self::commit_turn`].
    pub async fn park(
        &self,
        seqs: Vec<u64>,
        reason: String,
        notice: Option<NewDelivery>,
        at: Timestamp,
    ) -> Result<Vec<Delivery>, Error> {
        let (scope, even_taken) = (self.scope.clone(), false);
        self.shared.writer.write(Park { scope, seqs, reason, notice, even_taken, at }).await
    }

    /// The same, without a notice, also while a person has the conversation: for what they cannot answer.
    ///
    /// # Errors
    /// As [`Self::commit_turn`].
    pub async fn park_taken(&self, seqs: Vec<u64>, reason: String, at: Timestamp) -> Result<(), Error> {
        let (scope, notice, even_taken) = (self.scope.clone(), None, true);
        self.shared.writer.write(Park { scope, seqs, reason, notice, even_taken, at }).await.map(drop)
    }

    /// What was set aside under this key, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn parked(&self, limit: usize) -> Result<Vec<Parked>, Error> {
        let view = self.shared.database.read()?;
        let parked = view.values(&PARKED)?;
        let restore = |row: Row<'_, Position, disk::Parked>| {
            let (key, parked) = row?;
            let parked = parked.restore(key.value().2, &self.scope);
            parked.or(Err(Error::Value { what: disk::Parked::WHAT }))
        };
        parked.range(tables::positions(&self.scope))?.take(limit).map(restore).collect()
    }

    /// Ends the live conversation: it is archived, and the next message begins another. What waits in the inbox stays
    /// and begins that one at once. False when there is nothing to archive.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`], [`Error::Closed`].
    pub async fn archive(&self, at: Timestamp) -> Result<bool, Error> {
        self.shared.writer.write(Archive { scope: self.scope.clone(), at }).await
    }

    /// The peer asks for a new conversation with the message `seq`: it leaves the inbox, or stays with the text `rest`;
    /// what was said before is archived, if something was; the reply enters the outbox.
    ///
    /// # Errors
    /// As [`Self::commit_turn`].
    pub async fn begin_anew(
        &self,
        seq: u64,
        rest: Option<String>,
        reply: NewDelivery,
        at: Timestamp,
    ) -> Result<Vec<Delivery>, Error> {
        self.shared.writer.write(BeginAnew { scope: self.scope.clone(), seq, rest, reply, at }).await
    }

    /// Makes an archived conversation, the last one if none is named, and those after it, part of the live one again.
    /// Nobody wrote longer ago than `at`, as far as its life goes.
    ///
    /// # Errors
    /// As [`Self::archive`]; [`Error::Gone`] when there is no such episode.
    pub async fn restore(&self, episode: Option<u64>, at: Timestamp) -> Result<Restored, Error> {
        self.shared.writer.write(Restore { scope: self.scope.clone(), episode, at }).await
    }

    /// Removes one archived conversation, or everything under the key. What it leaves in the file goes with the next
    /// [`super::Store::rewrite`], also after a restart.
    ///
    /// # Errors
    /// As [`Self::archive`]. After [`Error::Storage`] it may have happened: ask again.
    pub async fn erase(&self, episode: Option<u64>) -> Result<Erased, Error> {
        self.shared.writer.write(Erase { scope: self.scope.clone(), episode }).await
    }

    /// Those that are over, oldest first.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn archives(&self) -> Result<Vec<ArchivedRow>, Error> {
        let view = self.shared.database.read()?;
        let archive = view.values(&ARCHIVE)?;
        let restore = |row: Row<'_, Position, disk::Archived>| tenant::restore_archived(self.scope.clone(), row?.1);
        archive.range(tables::positions(&self.scope))?.map(restore).collect()
    }

    /// One that is over.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn episode(&self, episode: u64) -> Result<Option<EpisodeStore>, Error> {
        let view = self.shared.database.read()?;
        let (tenant, key) = self.scope.parts();
        let row = view.values(&ARCHIVE)?.get((tenant, key, episode))?;
        let row = row.map(|row| tenant::restore_archived(self.scope.clone(), row)).transpose()?;
        Ok(row.map(|row| EpisodeStore::new(Arc::clone(&self.shared), self.scope.clone(), row)))
    }

    /// Notes and working files of the conversation that [`SessionRow::episode`] numbers.
    #[must_use]
    pub fn context(&self, episode: u64) -> ContextStore {
        ContextStore::new(Arc::clone(&self.shared), self.scope.clone(), episode)
    }

    /// Replies of this conversation that are not settled, oldest first.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn undelivered(&self) -> Result<Vec<Delivery>, Error> {
        let view = self.shared.database.read()?;
        let (outbox, transcript) = (view.values(&OUTBOX)?, view.values(&TRANSCRIPT)?);
        outbox.range(tables::deliveries(&self.scope))?.map(|row| delivery(row, &transcript)).collect()
    }

    /// The same without what they say, which is not in memory all at once.
    ///
    /// # Errors
    /// As [`Self::undelivered`].
    pub fn undelivered_names(&self) -> Result<Vec<DeliveryName>, Error> {
        let view = self.shared.database.read()?;
        let outbox = view.values(&OUTBOX)?;
        outbox.range(tables::deliveries(&self.scope))?.map(delivery_name).collect()
    }

    /// This reply as it is now, to send it at once; `None` when it is settled, set aside, dropped or erased.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn claim_delivery(&self, id: &str) -> Result<Option<Delivery>, Error> {
        let Some(id) = delivery_id::parse(id) else { return Ok(None) };
        let view = self.shared.database.read()?;
        let (tenant, key) = self.scope.parts();
        let Some(delivery) = view.values(&OUTBOX)?.get((tenant, key, id))? else { return Ok(None) };
        let line = (tenant, key, delivery.line);
        let delivery = delivery.whole(|| view.values(&TRANSCRIPT)?.get(line))?.restore(id, self.scope.clone());
        delivery.map(Some).or(Err(Error::Value { what: disk::Delivery::WHAT }))
    }

    /// Notes, before an attempt on a channel without idempotency, that it starts.
    ///
    /// # Errors
    /// As [`Self::commit_turn`]; [`Error::Gone`] when the reply was settled or set aside.
    pub async fn start_delivery(&self, id: &str) -> Result<(), Error> {
        self.progress(id, Step::Start).await
    }

    /// Notes that the attempt certainly did not reach the vendor.
    ///
    /// # Errors
    /// As [`Self::start_delivery`].
    pub async fn unstart_delivery(&self, id: &str) -> Result<(), Error> {
        self.progress(id, Step::Unstart).await
    }

    /// The vendor has it: it leaves the outbox.
    ///
    /// # Errors
    /// As [`Self::start_delivery`].
    pub async fn settle_delivery(&self, id: &str) -> Result<(), Error> {
        self.progress(id, Step::Settle).await
    }

    /// It will not be sent, or nobody knows whether it was: set aside for the operator.
    ///
    /// # Errors
    /// As [`Self::start_delivery`].
    pub async fn park_delivery(&self, id: &str, reason: String, at: Timestamp) -> Result<(), Error> {
        self.progress(id, Step::Park { reason, at }).await
    }

    /// What all handles share.
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Whose conversation and which.
    pub(super) fn scope(&self) -> &Scope {
        &self.scope
    }

    async fn progress(&self, id: &str, step: Step) -> Result<(), Error> {
        self.shared.writer.write(Progress { scope: self.scope.clone(), id: id.to_owned(), step }).await
    }
}

/// A row of a table whose values are versioned.
type Row<'a, K, T> = Result<(AccessGuard<'a, K>, T), Error>;

pub(super) fn line(row: Row<'_, Position, disk::Line>) -> Result<Line, Error> {
    let (key, line) = row?;
    line.restore(key.value().2).or(Err(Error::Value { what: disk::Line::WHAT }))
}

/// A row of the outbox, with all that it says.
pub(super) fn delivery(
    row: Row<'_, Pending, disk::Outgoing>,
    transcript: &Values<'_, impl ReadableTable<Position, Bytes>, Position, disk::Line>,
) -> Result<Delivery, Error> {
    let (key, delivery) = row?;
    let (tenant, key, id) = key.value();
    let line = (tenant, key, delivery.line);
    let delivery = delivery.whole(|| transcript.get(line))?.restore(id, Scope::restore(tenant, key)?);
    delivery.or(Err(Error::Value { what: disk::Delivery::WHAT }))
}

/// A row of the outbox, without what it says.
pub(super) fn delivery_name(row: Row<'_, Pending, disk::Outgoing>) -> Result<DeliveryName, Error> {
    let (key, delivery) = row?;
    let (tenant, key, id) = key.value();
    let name = delivery.restore_name(id, Scope::restore(tenant, key)?);
    name.or(Err(Error::Value { what: disk::Delivery::WHAT }))
}
