//! How often one visitor may write: a token bucket each, kept only while it is not full.
//!
//! Beside the limit of every entry, which counts what was admitted: anybody may be a visitor, and this one
//! bounds what they make the gateway look up before it knows them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::visitor::Visitor;
use crate::clock::Timestamp;

/// Messages that may come at once.
const BURST: u64 = 10;
/// One more every three seconds: 20 in a minute.
const REFILL_MS: u64 = 3_000;
/// Visitors that are counted at once. A flood of new cookies finds the door closed, not the memory full.
const MAX_VISITORS: usize = 16 * 1024;

/// The buckets of one entry.
///
/// A bucket is one number: the time at which it will be full again. That time lies in the past for
/// everybody who wrote little, and such buckets are forgotten.
#[derive(Debug, Default)]
pub(super) struct Rates {
    full_at: Mutex<HashMap<Visitor, Timestamp>>,
}

impl Rates {
    /// Takes one message out of the visitor's bucket.
    ///
    /// # Errors
    /// How long to wait until there is one again.
    pub(super) fn take(&self, visitor: &Visitor, now: Timestamp) -> Result<(), Duration> {
        let mut full_at = self.full_at.lock().unwrap_or_else(PoisonError::into_inner);
        if full_at.len() >= MAX_VISITORS && !full_at.contains_key(visitor) {
            full_at.retain(|_, at| *at > now);
            if full_at.len() >= MAX_VISITORS {
                return Err(Duration::from_millis(REFILL_MS));
            }
        }
        let before = full_at.get(visitor).copied().unwrap_or(now).max(now);
        let after = before.plus_ms(REFILL_MS);
        let over_ms = after.since_ms(now).saturating_sub(BURST * REFILL_MS);
        if over_ms > 0 {
            return Err(Duration::from_millis(over_ms));
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
        let check = |now, expected: Result<(), u64>| {
            assert_eq!(rates.take(&visitor, Timestamp(now)), expected.map_err(Duration::from_millis), "at {now}");
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
        while rates.take(&busy, Timestamp(0)).is_ok() {}
        assert_eq!(rates.take(&Visitor::new().unwrap(), Timestamp(0)), Ok(()));
    }

    #[test]
    fn a_flood_of_visitors_is_bounded_and_passes() {
        let rates = Rates::default();
        for _ in 0..MAX_VISITORS {
            assert_eq!(rates.take(&Visitor::new().unwrap(), Timestamp(0)), Ok(()));
        }
        assert!(rates.take(&Visitor::new().unwrap(), Timestamp(0)).is_err());
        assert_eq!(rates.take(&Visitor::new().unwrap(), Timestamp(REFILL_MS)), Ok(()));
        assert_eq!(rates.full_at.lock().unwrap().len(), 1);
    }
}
