//! How often one visitor may write: a token bucket each, kept only while it is not full.
//!
//! Beside the limit of every entry, which counts what was admitted: anybody may be a visitor, and this one
//! bounds what they make the gateway look up before it knows them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::visitor::Visitor;

/// Messages that may come at once.
const BURST: u32 = 10;
/// One more every three seconds: 20 in a minute.
const REFILL: Duration = Duration::from_secs(3);
/// Visitors that are counted at once. A flood of new cookies finds the door closed, not the memory full.
const MAX_VISITORS: usize = 16 * 1024;

/// The buckets of one entry.
///
/// A bucket is one instant: when it will be full again. It lies in the past for everybody who wrote little, and such
/// buckets are forgotten. Not the time of day: a clock that is set back must not keep anybody waiting.
#[derive(Debug, Default)]
pub(super) struct Rates {
    full_at: Mutex<HashMap<Visitor, Instant>>,
}

impl Rates {
    /// Takes one message out of the visitor's bucket.
    ///
    /// # Errors
    /// How long to wait until there is one again.
    pub(super) fn take(&self, visitor: &Visitor, now: Instant) -> Result<(), Duration> {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if full_at.len() >= MAX_VISITORS && !full_at.contains_key(visitor) {
            full_at.retain(|_, at| *at > now);
            if full_at.len() >= MAX_VISITORS {
                return Err(REFILL);
            }
        }
        let after = full_at.get(visitor).copied().unwrap_or(now).max(now) + REFILL;
        let over = after.duration_since(now).saturating_sub(REFILL.saturating_mul(BURST));
        if !over.is_zero() {
            return Err(over);
        }
        full_at.insert(visitor.clone(), after);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ten_at_once_then_one_every_three_seconds() {
        let (rates, visitor) = (Rates::default(), Visitor::new().unwrap());
        let start = Instant::now();
        let check = |now, expected: Result<(), u64>| {
            let at = start + Duration::from_millis(now);
            assert_eq!(rates.take(&visitor, at), expected.map_err(Duration::from_millis), "at {now}");
        };
        for _ in 0..BURST {
            check(1_000, Ok(()));
        }
        check(1_000, Err(3_000));
        check(3_000, Err(1_000));
        check(4_000, Ok(()));
        check(4_000, Err(3_000));
        check(1_000_000, Ok(()));
    }

    #[test]
    fn one_visitor_does_not_slow_another() {
        let (rates, busy) = (Rates::default(), Visitor::new().unwrap());
        let now = Instant::now();
        while rates.take(&busy, now).is_ok() {}
        assert_eq!(rates.take(&Visitor::new().unwrap(), now), Ok(()));
    }

    #[test]
    fn a_flood_of_visitors_is_bounded_and_passes() {
        let (rates, now) = (Rates::default(), Instant::now());
        for _ in 0..MAX_VISITORS {
            assert_eq!(rates.take(&Visitor::new().unwrap(), now), Ok(()));
        }
        assert!(rates.take(&Visitor::new().unwrap(), now).is_err());
        assert_eq!(rates.take(&Visitor::new().unwrap(), now + REFILL), Ok(()));
        assert_eq!(rates.full_at.lock().unwrap().len(), 1);
    }
}
