//! How long conversations live, and what the operator does to them.
//!
//! Time is told by two clocks. The wall clock may be set while the process runs, as on a board without a
//! battery that learns the date from the network; the other one only counts. A conversation is over when both
//! say so, as far as the second one saw it.

use std::time::Duration;

use super::Gateway;
use crate::clock::Timestamp;
use crate::id::{SessionKey, TenantId};
use crate::session::lane::LaneId;
use crate::store::{self, Erased, Life, Restored};

/// How often expired conversations are looked for.
const SWEEP: Duration = Duration::from_secs(60 * 60);
/// How soon it is noticed that somebody has set the clock.
const LOOK_AT_CLOCK: Duration = Duration::from_secs(10);
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// How long the file of an earlier format is kept after the upgrade, for whoever wants to go back.
const OLD_FORMAT_KEPT_MS: u64 = 7 * DAY_MS;
/// How far the two clocks may be apart before one is not believed.
const TOLERANCE_MS: u64 = 60 * 1000;

/// What the clocks say.
#[derive(Debug, Clone, Copy)]
pub(super) struct Clocks {
    /// The wall clock.
    pub(super) now: Timestamp,
    /// The same when the process started.
    pub(super) started_at: Timestamp,
    /// Milliseconds since then, counted and not told.
    pub(super) elapsed_ms: u64,
    /// The latest time that a sweep has ever seen.
    pub(super) latest_seen: Option<Timestamp>,
}

/// Which conversations a sweep archives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Bounds {
    /// Those that were last active before this …
    pub(super) before: Timestamp,
    /// … and not from the first of these to the second.
    pub(super) spare: Option<(Timestamp, Timestamp)>,
    /// What it is to remember as the latest time.
    pub(super) seen: Timestamp,
}

impl Clocks {
    /// How far the wall clock was set forward while the process runs; small differences do not count.
    fn jump_ms(self) -> u64 {
        let jump = self.now.since_ms(self.started_at).saturating_sub(self.elapsed_ms);
        if jump > TOLERANCE_MS { jump } else { 0 }
    }

    /// The time it would be if nobody had set the wall clock.
    fn counted(self) -> Timestamp {
        self.started_at.plus_ms(self.elapsed_ms)
    }

    /// Was this stamped since the start and before the wall clock was set forward? What came later is as old as that
    /// clock says.
    fn is_before_jump(self, at: Timestamp) -> bool {
        self.jump_ms() > 0 && (self.started_at..=self.counted()).contains(&at)
    }

    /// How long ago this was stamped.
    fn age_ms(self, at: Timestamp) -> u64 {
        if self.is_before_jump(at) { self.counted() } else { self.now }.since_ms(at)
    }

    /// What is not as old as the wall clock says and must be left although it seems older than `kept_ms`.
    fn spare(self, kept_ms: u64) -> Option<(Timestamp, Timestamp)> {
        let counted = self.counted();
        let first = Timestamp(counted.0.saturating_sub(kept_ms)).max(self.started_at);
        (self.jump_ms() > 0).then_some((first, counted))
    }

    /// Does the wall clock say that it is earlier than it was before?
    fn is_behind(self) -> bool {
        self.latest_seen.is_some_and(|seen| self.now.plus_ms(TOLERANCE_MS) < seen)
    }

    /// What to archive; `None`: nothing, whatever lies there.
    pub(super) fn bounds(self, ttl_ms: Option<u64>) -> Option<Bounds> {
        let ttl_ms = ttl_ms?;
        if self.is_behind() {
            return None;
        }
        let before = Timestamp(self.now.0.saturating_sub(ttl_ms));
        // A time that may be wrong is not kept as the latest: nothing would be archived until it has come.
        let seen = match self.jump_ms() {
            0 => self.now,
            _ => self.latest_seen.map_or(self.counted(), |seen| seen.max(self.counted())),
        };
        Some(Bounds { before, spare: self.spare(ttl_ms), seen })
    }

    /// The time to live of a conversation that was last active at `last_active_at`.
    pub(super) fn ttl_ms(self, ttl_ms: Option<u64>, last_active_at: Option<Timestamp>) -> Option<u64> {
        let seems_older = last_active_at.is_some_and(|at| self.is_before_jump(at));
        ttl_ms.map(|ttl_ms| ttl_ms.saturating_add(if seems_older { self.jump_ms() } else { 0 }))
    }
}

impl Gateway {
    /// How long a conversation lives into which a message is filed now.
    pub(super) fn life(&self, tenant: Option<&TenantId>, session_key: &SessionKey) -> Life {
        let says_new = self.0.live.load().settings.session.says_new;
        let ttl_ms = self.ttl_ms();
        let clocks = self.clocks(None);
        let last_active_at = match clocks.jump_ms() {
            0 => None,
            _ => self.0.store.tenant(tenant).session(session_key).row().ok().flatten().map(|row| row.last_active_at),
        };
        Life { ttl_ms: clocks.ttl_ms(ttl_ms, last_active_at), says_new }
    }

    /// Of the settings in use. In safe mode nobody knows what the operator wants.
    fn ttl_ms(&self) -> Option<u64> {
        let live = self.0.live.load();
        let days = if live.safe_mode.is_some() { 0 } else { live.settings.session.ttl_days };
        (days > 0).then(|| days.saturating_mul(DAY_MS))
    }

    fn clocks(&self, latest_seen: Option<Timestamp>) -> Clocks {
        Clocks {
            now: self.now(),
            started_at: self.0.started_at,
            elapsed_ms: self.0.clock.elapsed_ms().saturating_sub(self.0.started_elapsed_ms),
            latest_seen,
        }
    }

    /// What is wrong with the wall clock, when it was later before.
    pub(super) fn clock_behind(&self, latest_seen: Option<Timestamp>) -> Option<String> {
        let clocks = self.clocks(latest_seen);
        let seen = latest_seen.filter(|_| clocks.is_behind())?;
        Some(format!(
            "the clock says {}, and it was {seen} before: it is behind, and nothing expires until it is right; set the \
             clock, for example with `timedatectl set-ntp true`",
            clocks.now
        ))
    }

    /// How long ago something was stamped, also when the wall clock was set forward since.
    pub(super) fn age_ms(&self, at: Timestamp) -> u64 {
        self.clocks(None).age_ms(at)
    }

    /// Up to which time a stamp is older than `kept_ms`, and which stamps are not although they seem so.
    pub(super) fn older_than(&self, kept_ms: u64) -> (Timestamp, Option<(Timestamp, Timestamp)>) {
        let clocks = self.clocks(None);
        (Timestamp(clocks.now.0.saturating_sub(kept_ms)), clocks.spare(kept_ms))
    }

    /// What was stamped before the clock was set forward is not as old as it looks. While this process runs it knows; for
    /// the next one the stamps are moved on.
    pub(super) async fn redate(&self) {
        let clocks = self.clocks(None);
        // A clock that is set by less than the process has run is set by little.
        if clocks.jump_ms() <= clocks.elapsed_ms {
            return;
        }
        if let Err(error) = self.0.store.redate(clocks.started_at, clocks.counted(), clocks.jump_ms()).await {
            tracing::error!(%error, "conversations from before the clock was set look older than they are");
        }
    }

    /// Archives what is over: at the start, after every reload, and every hour.
    pub(super) async fn sweep(self) {
        // What an erasure left over; a failure is in the log and in the status.
        drop(self.0.store.rewrite().await);
        let (mut hourly, mut often) = (tokio::time::interval(SWEEP), tokio::time::interval(LOOK_AT_CLOCK));
        loop {
            tokio::select! {
                () = self.0.stop.cancelled() => return self.redate().await,
                _ = often.tick() => {
                    self.redate().await;
                    continue;
                }
                _ = hourly.tick() => {}
                () = self.0.sweep_now.notified() => {}
            }
            self.finish_erasing().await;
            // Nothing when nothing was erased since the last time.
            drop(self.0.store.rewrite().await);
            if let Err(error) = self.0.store.forget_kept(self.older_than(OLD_FORMAT_KEPT_MS).0) {
                tracing::warn!(%error, "a store of an earlier format, kept at the upgrade, cannot be removed");
            }
            match self.archive_expired().await {
                Ok(0) => {}
                Ok(n_archived) => tracing::info!(n_archived, "conversations were archived: nobody wrote for long"),
                Err(error) => tracing::error!(%error, "expired conversations could not be archived"),
            }
        }
    }

    async fn archive_expired(&self) -> Result<u64, store::Error> {
        let mut n_archived = 0;
        loop {
            let latest_seen = self.0.store.latest_seen()?;
            let Some(Bounds { before, spare, seen }) = self.clocks(latest_seen).bounds(self.ttl_ms()) else {
                return Ok(n_archived);
            };
            let expired = self.0.store.expire(before, seen, spare).await?;
            n_archived += expired.n_archived;
            if !expired.has_more || self.0.stop.is_cancelled() {
                return Ok(n_archived);
            }
        }
    }

    /// Ends the live conversation under a key; what waits there begins the next one. False: there is none.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn archive(&self, tenant: Option<&TenantId>, session_key: &SessionKey) -> Result<bool, store::Error> {
        let session = self.0.store.tenant(tenant).session(session_key);
        let is_archived = session.archive(self.now()).await?;
        self.interrupt((tenant.cloned(), session_key.clone()));
        Ok(is_archived)
    }

    /// Makes an archived conversation live again: the last one, if none is named.
    ///
    /// # Errors
    /// [`store::Error::Gone`] when there is none, or when the store does not take it.
    pub async fn restore(
        &self,
        tenant: Option<&TenantId>,
        session_key: &SessionKey,
        episode: Option<u64>,
    ) -> Result<Restored, store::Error> {
        let restored = self.0.store.tenant(tenant).session(session_key).restore(episode, self.now()).await?;
        // It knows nothing of what came back.
        self.interrupt((tenant.cloned(), session_key.clone()));
        Ok(restored)
    }

    /// Removes all that is under a key, or one archived conversation of it. Nothing of it is sent afterwards, unless it
    /// was being sent at this moment. Returns when the words are not in the file any more.
    ///
    /// # Errors
    /// [`store::Error::NotOverwritten`] when they still are, though out of reach. Otherwise, when the store does not take
    /// it; it may have happened all the same: ask again.
    pub async fn erase(
        &self,
        tenant: Option<&TenantId>,
        session_key: &SessionKey,
        episode: Option<u64>,
    ) -> Result<Erased, store::Error> {
        let lane: LaneId = (tenant.cloned(), session_key.clone());
        let (gateway, erased) = (self.clone(), lane.clone());
        let erasing = async move {
            let session = gateway.0.store.tenant(erased.0.as_ref()).session(&erased.1);
            // Digests take the places of its key in the access log: in all records, so none may come later.
            gateway.access_is_written().await;
            let outcome = session.erase(episode).await;
            // Replies that waited are passed over when their turn comes: they are not in the store any more.
            if episode.is_none() {
                gateway.forget_looks(erased.0.as_ref(), &erased.1);
                gateway.interrupt(erased);
            }
            gateway.note_said();
            gateway.0.backups.forget_index();
            let erased = outcome?;
            gateway.0.store.rewrite().await?;
            Ok(erased)
        };
        self.to_its_end(erasing).await
    }

    /// Removes all that is kept of a tenant, with the key it is sealed with. Nothing of it is sent afterwards, unless it
    /// was being sent at this moment. Its entries stay, and begin again with nothing. Returns how many conversations there
    /// were, when the rest of them is not in the file any more; `None`: nothing is kept of it.
    ///
    /// # Errors
    /// As [`Self::erase`]. While it is not finished, what is left is out of reach and nothing new is taken for the tenant;
    /// it is tried again every hour and at every start.
    pub async fn erase_tenant(&self, tenant: Option<&TenantId>) -> Result<Option<u64>, store::Error> {
        let (gateway, tenant) = (self.clone(), tenant.cloned());
        let erasing = async move {
            let begun = || {
                gateway.0.lanes.interrupt_tenant(tenant.as_ref());
                gateway.0.usage.forget(tenant.as_ref());
                gateway.0.backups.forget_index();
            };
            let erased = gateway.0.store.erase_tenant(tenant.as_ref(), begun).await;
            gateway.note_said();
            // Who found the tenant being erased need not wait longer.
            gateway.0.try_again.notify_waiters();
            let erased = erased?;
            if erased.is_some() {
                // A backup that began meanwhile has noted what was left.
                gateway.0.backups.forget_index();
                gateway.0.store.rewrite().await?;
            }
            Ok(erased)
        };
        self.to_its_end(erasing).await
    }

    /// Tenants whose erasing was interrupted.
    pub(super) async fn finish_erasing(&self) {
        let finished = self.0.store.finish_erasing().await;
        if !matches!(finished, Ok(false)) {
            self.0.backups.forget_index();
        }
        if let Err(error) = finished {
            tracing::error!(%error, "a tenant is not erased to the end; nothing of it can be read, and nothing is taken for it");
        }
    }

    /// Ends the turn that runs in this conversation, if one does, and has its worker look again.
    pub(super) fn interrupt(&self, lane: LaneId) {
        self.0.lanes.interrupt(&lane);
        self.wake(lane);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const START: u64 = 1_700_000_000_000;
    const TTL: u64 = 30 * DAY_MS;

    /// Days after the start: what the wall clock says, what has passed, the latest time seen.
    fn clocks(now: i64, elapsed: u64, latest_seen: Option<i64>) -> Clocks {
        let at = |days: i64| Timestamp(START.saturating_add_signed(days * 86_400_000));
        Clocks { now: at(now), started_at: at(0), elapsed_ms: elapsed * DAY_MS, latest_seen: latest_seen.map(at) }
    }

    /// In days after the start: archived before, spared from and to, seen.
    type InDays = (i64, Option<(i64, i64)>, i64);

    fn check(clocks: Clocks, expected: Option<InDays>) {
        let days = |at: Timestamp| (at.0.cast_signed() - START.cast_signed()) / 86_400_000;
        let bounds = clocks.bounds(Some(TTL));
        let found = bounds.map(|Bounds { before, spare, seen }| {
            (days(before), spare.map(|(first, last)| (days(first), days(last))), days(seen))
        });
        assert_eq!(found, expected, "{clocks:?}");
    }

    #[test]
    fn a_conversation_is_over_after_its_time() {
        check(clocks(0, 0, None), Some((-30, None, 0)));
        check(clocks(40, 40, Some(39)), Some((10, None, 40)));
    }

    #[test]
    fn a_clock_that_is_behind_archives_nothing() {
        check(clocks(-1, 0, Some(0)), None);
        check(clocks(5, 5, Some(400)), None);
        let almost = Clocks { latest_seen: Some(Timestamp(START + TOLERANCE_MS)), ..clocks(0, 0, None) };
        check(almost, Some((-30, None, 0)));
        check(Clocks { latest_seen: Some(Timestamp(START + TOLERANCE_MS + 1)), ..almost }, None);
    }

    #[test]
    fn a_clock_that_jumps_forward_spares_what_was_active_between_the_start_and_the_jump() {
        check(clocks(700, 1, Some(0)), Some((670, Some((0, 1)), 1)));
        check(clocks(700, 40, Some(0)), Some((670, Some((10, 40)), 40)));
        check(clocks(700, 1, Some(600)), Some((670, Some((0, 1)), 600)));
    }

    #[test]
    fn without_a_time_to_live_nothing_is_ever_over() {
        assert_eq!(clocks(700, 700, None).bounds(None), None);
        assert_eq!(clocks(700, 1, None).ttl_ms(None, Some(Timestamp(START))), None);
    }

    #[test]
    fn a_jump_is_added_to_the_time_of_what_was_active_between_the_start_and_the_jump() {
        let check = |clocks: Clocks, last_active_at: Option<u64>, expected: u64| {
            assert_eq!(clocks.ttl_ms(Some(TTL), last_active_at.map(Timestamp)), Some(expected), "{clocks:?}");
        };
        check(clocks(700, 1, None), Some(START), TTL + 699 * DAY_MS);
        check(clocks(700, 1, None), Some(START + DAY_MS), TTL + 699 * DAY_MS);
        check(clocks(700, 1, None), Some(START - 1), TTL);
        check(clocks(740, 40, None), Some(START + 701 * DAY_MS), TTL);
        check(clocks(700, 1, None), None, TTL);
        check(clocks(700, 700, None), Some(START), TTL);
    }

    #[test]
    fn a_jump_makes_nothing_older_that_was_stamped_before_it() {
        let check = |clocks: Clocks, at: i64, expected: u64| {
            let at = Timestamp(START.saturating_add_signed(at * 86_400_000));
            assert_eq!(clocks.age_ms(at), expected * DAY_MS, "{clocks:?} {at}");
        };
        check(clocks(5, 5, None), 1, 4);
        check(clocks(5, 5, None), -1, 6);
        check(clocks(701, 1, None), 0, 1);
        check(clocks(701, 1, None), 1, 0);
        check(clocks(701, 1, None), -1, 702);
        check(clocks(740, 40, None), 701, 39);
        check(clocks(-60, 40, None), 0, 0);
    }
}
