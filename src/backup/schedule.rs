//! When the next backup is due. Pure.

use jiff::ToSpan as _;
use jiff::civil::Time;
use jiff::tz::TimeZone;

use crate::clock::Timestamp;

/// After a failure it is tried again this soon, or when the next one is due, if that is sooner.
const RETRY_MS: u64 = 60 * 60 * 1000;
const HOUR_MS: u64 = 60 * 60 * 1000;
const DAY_MS: u64 = 24 * HOUR_MS;

/// When backups are made by the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Schedule {
    /// One every so many hours.
    EveryHours(u64),
    /// One every day at this time of the box. Where the clock leaves it out, when as much has passed since midnight;
    /// where it comes twice, the first time.
    DailyAt(Time),
}

impl Schedule {
    /// A time of day, as `03:00`.
    ///
    /// # Errors
    /// What is wrong with it.
    pub fn daily_at(text: &str) -> Result<Self, String> {
        let time =
            Some(text).filter(|text| text.len() == "03:00".len()).and_then(|text| Time::strptime("%H:%M", text).ok());
        time.map(Self::DailyAt).ok_or_else(|| format!("{text:?} is no time of day; write \"03:00\""))
    }

    fn period_ms(self) -> u64 {
        match self {
            Self::EveryHours(hours) => hours.saturating_mul(HOUR_MS),
            Self::DailyAt(_) => DAY_MS,
        }
    }

    /// When one is due whose last one was begun `at`.
    fn after(self, at: Timestamp, zone: &TimeZone) -> Timestamp {
        let regular = at.plus_ms(self.period_ms());
        match self {
            Self::EveryHours(_) => regular,
            // Behind the end of what calendars know, a day is 24 hours.
            Self::DailyAt(time) => next(time, at, zone).unwrap_or(regular),
        }
    }
}

/// The first moment after `at` when it is this time of day.
fn next(time: Time, at: Timestamp, zone: &TimeZone) -> Option<Timestamp> {
    let at_ms = i64::try_from(at.0).ok()?;
    let today = jiff::Timestamp::from_millisecond(at_ms).ok()?.to_zoned(zone.clone()).date();
    let moments = (0..3).map_while(|days| {
        let date = today.checked_add(days.days()).ok()?;
        Some(date.to_datetime(time).to_zoned(zone.clone()).ok()?.timestamp().as_millisecond())
    });
    let next = { moments }.find(|moment| *moment > at_ms)?;
    u64::try_from(next).ok().map(Timestamp)
}

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

/// When the next one is due in this time zone; one that was missed, or the first one, is due at once. `started_at` is when
/// the gateway started: a missing backup does not make a box late that was off.
#[must_use]
pub fn due(past: Past, schedule: Schedule, zone: &TimeZone, started_at: Timestamp, now: Timestamp) -> Due {
    let every_ms = schedule.period_ms();
    // A time that has not come was told by a clock that was wrong.
    let told = |at: Option<Timestamp>| at.filter(|at| *at <= now);
    let regular = told(past.last_good).map(|last| schedule.after(last, zone));
    let retry = told(past.failed).map(|failed| failed.plus_ms(RETRY_MS.min(every_ms)));
    let since = told(past.last_good).map_or(started_at, |last| last.max(started_at.min(now)));
    Due { at: regular.max(retry).unwrap_or(now), is_late: now.since_ms(since) > every_ms.saturating_mul(2) }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: u64 = 1_700_000_000_000;

    /// In hours before (or after) now.
    fn check(last_good: Option<i64>, failed: Option<i64>, started: i64, expected: (i64, bool)) {
        let at = |hours: i64| Timestamp(NOW.saturating_add_signed(hours * 3_600_000));
        let past = Past { last_good: last_good.map(at), failed: failed.map(at) };
        let due = due(past, Schedule::EveryHours(24), &TimeZone::UTC, at(started), at(0));
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

    fn zone(text: &str) -> TimeZone {
        TimeZone::posix(text).unwrap()
    }

    /// As Berlin and New York have it, and two that are half an hour off or far away.
    const ZONES: [&str; 5] =
        ["UTC0", "CET-1CEST,M3.5.0,M10.5.0/3", "EST5EDT,M3.2.0,M11.1.0", "IST-5:30", "<+1345>-13:45"];

    fn at(text: &str) -> Timestamp {
        Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond().try_into().unwrap())
    }

    #[test]
    fn a_time_of_day_comes_once_a_day_also_when_the_clock_is_changed() {
        let check = |zone_text: &str, time: &str, last: &str, expected: &str| {
            let schedule = Schedule::daily_at(time).unwrap();
            let found = schedule.after(at(last), &zone(zone_text));
            assert_eq!(found, at(expected), "{zone_text} {time} after {last}");
        };
        let [utc, berlin, new_york, india, _] = ZONES;
        check(utc, "03:00", "2026-11-22T02:59:59.999Z", "2026-11-22T03:00:00Z");
        check(utc, "03:00", "2026-11-22T03:00:00Z", "2026-11-23T03:00:00Z");
        check(berlin, "00:00", "2026-11-22T22:59:00Z", "2026-11-22T23:00:00Z");
        check(berlin, "03:00", "2026-07-01T12:00:00Z", "2026-07-02T01:00:00Z");
        check(india, "23:59", "2026-07-01T18:29:00Z", "2026-07-02T18:29:00Z");
        // There is no half past two in this night, and in that one there are two.
        check(berlin, "02:30", "2026-03-28T12:00:00Z", "2026-03-29T01:30:00Z");
        check(berlin, "02:30", "2026-03-29T01:30:00Z", "2026-03-30T00:30:00Z");
        check(berlin, "02:30", "2026-10-24T12:00:00Z", "2026-10-25T00:30:00Z");
        check(berlin, "02:30", "2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z");
        check(new_york, "01:30", "2026-11-01T05:30:00Z", "2026-11-02T06:30:00Z");
    }

    #[test]
    fn what_was_missed_is_made_up_for_at_once_and_only_once() {
        let (schedule, berlin) = (Schedule::daily_at("03:00").unwrap(), zone(ZONES[1]));
        let due = |last: Option<&str>, failed: Option<&str>, now: &str| {
            let past = Past { last_good: last.map(at), failed: failed.map(at) };
            due(past, schedule, &berlin, at(now), at(now)).at
        };
        let now = "2026-11-22T08:00:00Z";
        assert_eq!(due(None, None, now), at(now));
        assert_eq!(due(Some("2026-11-19T02:00:01Z"), None, now), at("2026-11-20T02:00:00Z"));
        assert_eq!(due(Some(now), None, now), at("2026-11-23T02:00:00Z"));
        assert_eq!(due(Some("2026-11-22T02:00:00Z"), None, now), at("2026-11-23T02:00:00Z"));
        assert_eq!(due(Some("2026-11-20T02:00:00Z"), Some("2026-11-22T07:30:00Z"), now), at("2026-11-22T08:30:00Z"));
    }

    #[test]
    fn what_is_no_time_of_day_is_said() {
        for text in ["", "3:00", "24:00", "03:60", "03:00:00", "0300", "+3:00", "03-00", "at 03"] {
            assert!(Schedule::daily_at(text).unwrap_err().contains("03:00"), "{text}");
        }
        assert!(Schedule::daily_at("23:59").is_ok() && Schedule::daily_at("00:00").is_ok());
    }

    proptest! {
        #[test]
        fn between_two_days_there_is_one_backup_and_none_is_early(
            minutes in 0..24 * 60_u32, last in 0..4_102_444_800_000_u64, place in 0..ZONES.len(),
        ) {
            let (zone, time) = (zone(ZONES[place]), format!("{:02}:{:02}", minutes / 60, minutes % 60));
            let schedule = Schedule::daily_at(&time).unwrap();
            let first = schedule.after(Timestamp(last), &zone);
            let second = schedule.after(first, &zone);
            prop_assert!(first.0 > last && first.0 - last <= DAY_MS + HOUR_MS);
            let days = |at: Timestamp| {
                jiff::Timestamp::from_millisecond(at.0.try_into().unwrap()).unwrap().to_zoned(zone.clone()).date()
            };
            prop_assert_eq!(days(first).tomorrow().unwrap(), days(second));
            // Nothing is due between them, wherever the last one was begun.
            prop_assert_eq!(schedule.after(Timestamp(first.0 - 1), &zone), first);
            prop_assert_eq!(schedule.after(Timestamp(second.0 - 1), &zone), second);
        }
    }
}
