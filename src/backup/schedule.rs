//! When the next backup is due. Pure.

use crate::clock::Timestamp;

/// After a failure it is tried again this soon, or when the next one is due, if that is sooner.
const RETRY_MS: u64 = 60 * 60 * 1000;
const HOUR_MS: u64 = 60 * 60 * 1000;

/// How it went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Past {
    /// When the last good one was made.
    pub last_good: Option<Timestamp>,
    /// When one failed since.
    pub failed: Option<Timestamp>,
}

/// When, and whether that is long past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Due {
    /// When.
    pub at: Timestamp,
    /// Two are missing, or the first one is missing for as long.
    pub is_late: bool,
}

/// When the next one is due, one every `every_hours`. `started_at` is when the gateway started: a missing backup does not
/// make a box late that was off.
#[must_use]
pub fn due(past: Past, every_hours: u64, started_at: Timestamp, now: Timestamp) -> Due {
    let every_ms = every_hours.saturating_mul(HOUR_MS);
    // A time that has not come was told by a clock that was wrong.
    let told = |at: Option<Timestamp>| at.filter(|at| *at <= now);
    let regular = told(past.last_good).map(|last| last.plus_ms(every_ms));
    let retry = told(past.failed).map(|failed| failed.plus_ms(RETRY_MS.min(every_ms)));
    let since = told(past.last_good).map_or(started_at, |last| last.max(started_at.min(now)));
    Due { at: regular.max(retry).unwrap_or(now), is_late: now.since_ms(since) > every_ms.saturating_mul(2) }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    /// In hours before (or after) now.
    fn check(last_good: Option<i64>, failed: Option<i64>, started: i64, expected: (i64, bool)) {
        let at = |hours: i64| Timestamp(NOW.saturating_add_signed(hours * 3_600_000));
        let past = Past { last_good: last_good.map(at), failed: failed.map(at) };
        let due = due(past, 24, at(started), at(0));
        assert_eq!(due, Due { at: at(expected.0), is_late: expected.1 }, "{past:?}");
    }

    #[test]
    fn one_is_due_a_day_after_the_last_and_at_once_when_there_is_none() {
        check(None, None, 0, (0, false));
        check(Some(-1), None, -100, (23, false));
        check(Some(-24), None, -100, (0, false));
        check(Some(-30), None, -100, (-6, false));
    }

    #[test]
    fn after_a_failure_it_is_tried_again_within_the_hour() {
        check(Some(-25), Some(0), -100, (1, false));
        check(None, Some(-2), -2, (-1, false));
        check(Some(-1), Some(0), -100, (23, false));
    }

    #[test]
    fn it_is_late_when_two_are_missing_and_the_box_was_on() {
        check(Some(-49), Some(0), -100, (1, true));
        check(Some(-48), None, -100, (-24, false));
        check(Some(-490), None, -1, (-466, false));
        check(None, Some(0), -49, (1, true));
    }

    #[test]
    fn a_time_that_has_not_come_does_not_count() {
        check(Some(900), None, -1, (0, false));
        check(Some(-25), Some(900), -1, (-1, false));
    }
}
