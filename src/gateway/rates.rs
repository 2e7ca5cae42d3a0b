//! How fast messages may come: a token bucket for each peer and tenant, kept only while it is not full.

use std::collections::HashMap;
use std::num::NonZeroU32;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest;
use tokio::time::Instant;

/// A limit is so many messages at once, and so many more in this time.
const MINUTE: Duration = Duration::from_secs(60);
/// Buckets that are counted at once: a megabyte. Each channel entry has its own, so that a flood of made-up
/// peers closes the door it came through and no other.
const MAX_BUCKETS: usize = 16 * 1024;
/// Looking for full buckets visits all of them.
const SWEEP_PAUSE: Duration = Duration::from_secs(1);

/// Whose bucket: a digest, so that a long id costs no more than a short one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct Holder([u8; 16]);

impl Holder {
    /// The same for the same texts.
    pub(super) fn of(parts: &[Option<&str>]) -> Self {
        let mut context = digest::Context::new(&digest::SHA256);
        for part in parts {
            context.update(&[u8::from(part.is_some())]);
            let part = part.unwrap_or_default().as_bytes();
            context.update(&part.len().to_le_bytes());
            context.update(part);
        }
        Self(context.finish().as_ref().first_chunk().copied().unwrap_or_default())
    }
}

/// Buckets that are not full.
#[derive(Debug, Default)]
pub(super) struct Rates(Mutex<Buckets>);

#[derive(Debug, Default)]
struct Buckets {
    all: HashMap<Holder, Bucket>,
    swept_at: Option<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Bucket {
    full_at: Instant,
    /// Nothing need be said about the limit before.
    told_until: Instant,
}

impl Rates {
    /// Takes one message out of a bucket.
    ///
    /// # Errors
    /// How long to wait until there is one again.
    pub(super) fn take(&self, holder: Holder, per_minute: NonZeroU32, now: Instant) -> Result<(), Duration> {
        let one = MINUTE / per_minute.get();
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bucket) = buckets.get(holder, now) else { return Err(one.max(SWEEP_PAUSE)) };
        let full_at = bucket.full_at.max(now) + one;
        // Of the whole bucket, not of the minute: dividing has lost some nanoseconds.
        let over = full_at.saturating_duration_since(now + one * per_minute.get());
        if over.is_zero() {
            bucket.full_at = full_at;
            return Ok(());
        }
        Err(over)
    }

    /// Notes that a message of this holder was not taken. True when the holder should be told: once, until for a
    /// minute every message was taken.
    pub(super) fn refuse(&self, holder: Holder, now: Instant) -> bool {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(bucket) = buckets.get(holder, now) else { return false };
        let is_news = bucket.told_until <= now;
        bucket.told_until = now + MINUTE;
        is_news
    }

    /// Forgets full buckets.
    pub(super) fn sweep(&self, now: Instant) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).sweep(now);
    }
}

impl Buckets {
    /// `None`: there are too many.
    fn get(&mut self, holder: Holder, now: Instant) -> Option<&mut Bucket> {
        let is_full = self.all.len() >= MAX_BUCKETS && !self.all.contains_key(&holder);
        let pause = if is_full { SWEEP_PAUSE } else { MINUTE };
        if self.swept_at.is_none_or(|at| now.saturating_duration_since(at) >= pause) {
            self.sweep(now);
        }
        if self.all.len() >= MAX_BUCKETS && !self.all.contains_key(&holder) {
            return None;
        }
        Some(self.all.entry(holder).or_insert(Bucket { full_at: now, told_until: now }))
    }

    fn sweep(&mut self, now: Instant) {
        self.swept_at = Some(now);
        self.all.retain(|_, bucket| bucket.full_at > now || bucket.told_until > now);
        if self.all.is_empty() {
            self.all.shrink_to_fit();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holder(name: &str) -> Holder {
        Holder::of(&[Some(name)])
    }

    fn per_minute(n: u32) -> NonZeroU32 {
        NonZeroU32::new(n).unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_burst_then_as_many_in_a_minute() {
        let rates = Rates::default();
        let check = |expected: Result<(), u64>| {
            let taken = rates.take(holder("a"), per_minute(3), Instant::now());
            assert_eq!(taken, expected.map_err(Duration::from_secs));
        };
        for _ in 0..3 {
            check(Ok(()));
        }
        check(Err(20));
        tokio::time::advance(Duration::from_secs(15)).await;
        check(Err(5));
        tokio::time::advance(Duration::from_secs(5)).await;
        check(Ok(()));
        check(Err(20));
        tokio::time::advance(Duration::from_secs(3600)).await;
        for _ in 0..3 {
            check(Ok(()));
        }
        check(Err(20));
    }

    #[tokio::test(start_paused = true)]
    async fn a_limit_that_does_not_divide_the_minute_has_its_whole_burst() {
        let rates = Rates::default();
        for n in [1, 7, 30, 99_999] {
            let taken = (0..n).filter(|_| rates.take(holder(&n.to_string()), per_minute(n), Instant::now()).is_ok());
            assert_eq!(taken.count(), usize::try_from(n).unwrap());
            assert!(rates.take(holder(&n.to_string()), per_minute(n), Instant::now()).is_err());
        }
    }

    #[tokio::test(start_paused = true)]
    async fn one_does_not_slow_another() {
        let rates = Rates::default();
        while rates.take(holder("a"), per_minute(3), Instant::now()).is_ok() {}
        assert_eq!(rates.take(holder("b"), per_minute(3), Instant::now()), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn told_once_until_for_a_minute_nothing_was_refused() {
        let rates = Rates::default();
        let refuse = || rates.refuse(holder("a"), Instant::now());
        assert!(refuse());
        for _ in 0..10 {
            tokio::time::advance(Duration::from_secs(59)).await;
            assert!(!refuse());
        }
        tokio::time::advance(Duration::from_secs(60)).await;
        assert!(refuse());
        assert!(rates.refuse(holder("b"), Instant::now()));
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_idle_costs_nothing() {
        let rates = Rates::default();
        for n in 0..1000 {
            rates.take(holder(&n.to_string()), per_minute(3), Instant::now()).unwrap();
        }
        tokio::time::advance(Duration::from_secs(21)).await;
        rates.sweep(Instant::now());
        assert_eq!(rates.0.lock().unwrap().all.capacity(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_flood_of_peers_is_bounded_and_passes() {
        let rates = Rates::default();
        let take = |name: &str| rates.take(holder(name), per_minute(30), Instant::now());
        take("known").unwrap();
        let n_taken = (0..20_000).filter(|n| take(&n.to_string()).is_ok()).count();
        assert_eq!(n_taken, MAX_BUCKETS - 1);
        assert_eq!(take("known"), Ok(()), "whoever has a bucket keeps it");
        assert!(take("new").is_err() && !rates.refuse(holder("new"), Instant::now()), "not even told");
        tokio::time::advance(Duration::from_secs(4)).await;
        assert_eq!(take("new"), Ok(()));
        assert_eq!(rates.0.lock().unwrap().all.len(), 1);
    }

    #[test]
    fn holders_with_parts_that_read_alike_are_two() {
        assert_ne!(Holder::of(&[Some("ab"), Some("c")]), Holder::of(&[Some("a"), Some("bc")]));
        assert_ne!(Holder::of(&[None]), Holder::of(&[Some("")]));
    }
}
