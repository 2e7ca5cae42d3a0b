//! When a business is open, in its own time.

use std::fmt;
use std::str::FromStr;

use jiff::civil::{Date, DateTime, Time, Weekday};

/// Minutes of a day.
const DAY: u16 = 24 * 60;
/// How far ahead is looked for the next opening, in days: beyond a long holiday.
const MAX_DAYS: usize = 60;

/// The days of a week, as they stand in [`Hours`].
pub const WEEK: [Weekday; 7] = [
    Weekday::Monday,
    Weekday::Tuesday,
    Weekday::Wednesday,
    Weekday::Thursday,
    Weekday::Friday,
    Weekday::Saturday,
    Weekday::Sunday,
];

/// A part of a day, `08:00-12:30`: from the first minute to before the second, which is at most 24:00.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    from: u16,
    to: u16,
}

impl Span {
    /// Of minutes since midnight. `None`: it is empty, or longer than the day.
    #[must_use]
    pub fn of_minutes(from: u16, to: u16) -> Option<Self> {
        (from < to && to <= DAY).then_some(Self { from, to })
    }

    /// Is this time of the day in it?
    #[must_use]
    pub fn has_time(self, time: Time) -> bool {
        let minute = |n: i8| u16::try_from(n).unwrap_or_default();
        self.has(minute(time.hour()) * 60 + minute(time.minute()))
    }

    fn has(self, minute: u16) -> bool {
        (self.from..self.to).contains(&minute)
    }
}

impl FromStr for Span {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once(['-', '–']);
        let minutes = parts.and_then(|(from, to)| Some((minute(from.trim())?, minute(to.trim())?)));
        let Some((from, to)) = minutes else {
            return Err(format!("{text:?} is not from one time to another, as in \"08:00-12:30\""));
        };
        Self::of_minutes(from, to).ok_or_else(|| {
            format!("{text:?} does not end after it begins; over midnight, write one until 24:00 and one from 00:00 of the next day")
        })
    }
}

/// Minutes since midnight, of `8:00`, `08:00` or `24:00`.
fn minute(text: &str) -> Option<u16> {
    let (hour, minute) = text.split_once(':')?;
    let number = |text: &str, digits: std::ops::RangeInclusive<usize>| -> Option<u16> {
        (digits.contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit())).then(|| text.parse().ok())?
    };
    let (hour, minute) = (number(hour, 1..=2)?, number(minute, 2..=2)?);
    let minutes = hour * 60 + minute;
    (minute < 60 && minutes <= DAY).then_some(minutes)
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { from, to } = self;
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

/// Days on which a business is closed, `2026-12-24` or `2026-12-24/2027-01-01`, both ends among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Days {
    /// The first.
    pub first: Date,
    /// The last.
    pub last: Date,
}

impl FromStr for Days {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('/').unwrap_or((text, text));
        let date = |text: &str| text.trim().parse::<Date>().ok().filter(|_| text.trim().len() == 10);
        match (date(first), date(last)) {
            (Some(first), Some(last)) if first <= last => Ok(Self { first, last }),
            (Some(_), Some(_)) => Err(format!("{text:?} ends before it begins")),
            _ => Err(format!("{text:?} is no day, as in \"2026-12-24\", and not two, as in \"2026-12-24/2027-01-01\"")),
        }
    }
}

impl fmt::Display for Days {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.first == self.last {
            true => write!(f, "{}", self.first),
            false => write!(f, "{}/{}", self.first, self.last),
        }
    }
}

/// When a business is open: spans for each day of the week, and days on which it is closed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Hours {
    week: [Vec<Span>; 7],
    closed: Vec<Days>,
}

/// Is a business open?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Yes, until then, on its own clock; `None`: always.
    Open(Option<DateTime>),
    /// No, until then; `None`: nobody knows.
    Closed(Option<DateTime>),
}

impl Hours {
    /// Of spans for each day of [`WEEK`]. They are put in order.
    ///
    /// # Errors
    /// The day and the span that overlaps one before it.
    pub fn new(mut week: [Vec<Span>; 7], closed: Vec<Days>) -> Result<Self, (usize, Span)> {
        for (n, day) in week.iter_mut().enumerate() {
            day.sort_unstable();
            let mut end = 0;
            for span in day.iter() {
                if span.from < end {
                    return Err((n, *span));
                }
                end = span.to;
            }
        }
        Ok(Self { week, closed })
    }

    /// The spans of a day of the week, in order.
    #[must_use]
    pub fn of_weekday(&self, day: Weekday) -> &[Span] {
        let n = usize::try_from(day.to_monday_zero_offset()).unwrap_or_default();
        self.week.get(n).map_or(&[], Vec::as_slice)
    }

    /// Days on which it is closed, as they were given.
    #[must_use]
    pub fn closed(&self) -> &[Days] {
        &self.closed
    }

    /// The spans of this very day.
    #[must_use]
    pub fn on(&self, date: Date) -> &[Span] {
        let is_closed = self.closed.iter().any(|days| (days.first..=days.last).contains(&date));
        if is_closed { &[] } else { self.of_weekday(date.weekday()) }
    }

    /// Is it open at this time of its own clock?
    #[must_use]
    pub fn at(&self, at: DateTime) -> State {
        let minute = u16::from(at.hour().unsigned_abs()) * 60 + u16::from(at.minute().unsigned_abs());
        match self.on(at.date()).iter().find(|span| span.has(minute)) {
            Some(span) => State::Open(self.end(at.date(), *span)),
            None => State::Closed(self.opening(at.date(), minute)),
        }
    }

    /// When what begins with this span ends: the next one may follow without a break, also over midnight.
    fn end(&self, date: Date, span: Span) -> Option<DateTime> {
        let (mut date, mut end) = (date, span.to);
        for _day in 0..MAX_DAYS {
            while let Some(next) = self.on(date).iter().find(|next| next.from == end) {
                end = next.to;
            }
            if end < DAY {
                return moment(date, end);
            }
            let tomorrow = date.tomorrow().ok()?;
            if self.on(tomorrow).first().is_none_or(|first| first.from > 0) {
                return moment(tomorrow, 0);
            }
            (date, end) = (tomorrow, 0);
        }
        None
    }

    /// When it opens next.
    fn opening(&self, date: Date, minute: u16) -> Option<DateTime> {
        let mut date = date;
        let mut after = Some(minute);
        for _day in 0..MAX_DAYS {
            let spans = self.on(date).iter();
            if let Some(span) = spans.clone().find(|span| after.is_none_or(|after| span.from > after)) {
                return moment(date, span.from);
            }
            (date, after) = (date.tomorrow().ok()?, None);
        }
        None
    }
}

fn moment(date: Date, minute: u16) -> Option<DateTime> {
    let number = |n: u16| i8::try_from(n).ok();
    Some(date.to_datetime(Time::new(number(minute / 60)?, number(minute % 60)?, 0, 0).ok()?))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hours(week: &[(usize, &str)], closed: &[&str]) -> Hours {
        let mut days: [Vec<Span>; 7] = Default::default();
        for (n, spans) in week {
            days[*n] = spans.split_whitespace().map(|span| span.parse().unwrap()).collect();
        }
        Hours::new(days, closed.iter().map(|days| days.parse().unwrap()).collect()).unwrap()
    }

    fn at(hours: &Hours, text: &str) -> State {
        hours.at(text.parse().unwrap())
    }

    fn open(until: &str) -> State {
        State::Open(Some(until.parse().unwrap()))
    }

    fn closed(until: &str) -> State {
        State::Closed(Some(until.parse().unwrap()))
    }

    #[test]
    fn spans_and_days_are_read_and_printed() {
        for (text, printed) in
            [("08:00-12:30", "08:00-12:30"), ("8:00 – 9:05", "08:00-09:05"), ("0:00-24:00", "00:00-24:00")]
        {
            assert_eq!(text.parse::<Span>().unwrap().to_string(), printed);
        }
        for text in [
            "",
            "8-12",
            "08:00",
            "12:00-08:00",
            "08:00-08:00",
            "08:00-24:01",
            "08:60-09:00",
            "+8:00-9:00",
            "08:00-12:00-13:00",
        ] {
            assert!(text.parse::<Span>().is_err(), "{text}");
        }
        for text in ["2026-12-24", "2026-12-24/2027-01-01"] {
            assert_eq!(text.parse::<Days>().unwrap().to_string(), text);
        }
        for text in ["", "2026-02-30", "24.12.2026", "2027-01-01/2026-12-24", "2026-12-24T10:00"] {
            assert!(text.parse::<Days>().is_err(), "{text}");
        }
    }

    #[test]
    fn it_is_open_within_a_span_and_closed_until_the_next() {
        // The 23rd of November 2026 is a Monday.
        let hours = hours(&[(0, "08:00-12:00 14:00-18:00"), (1, "08:00-12:00")], &["2026-12-01"]);
        assert_eq!(at(&hours, "2026-11-23T07:59"), closed("2026-11-23T08:00"));
        assert_eq!(at(&hours, "2026-11-23T08:00"), open("2026-11-23T12:00"));
        assert_eq!(at(&hours, "2026-11-23T12:00"), closed("2026-11-23T14:00"));
        assert_eq!(at(&hours, "2026-11-23T17:59:59"), open("2026-11-23T18:00"));
        assert_eq!(at(&hours, "2026-11-24T12:00"), closed("2026-11-30T08:00"));
        assert_eq!(at(&hours, "2026-12-01T09:00"), closed("2026-12-07T08:00"), "a holiday");
        assert_eq!(at(&Hours::default(), "2026-12-01T09:00"), State::Closed(None));
    }

    #[test]
    fn what_follows_without_a_break_is_one_opening() {
        let late = hours(&[(4, "18:00-24:00"), (5, "00:00-02:00 02:00-03:00")], &[]);
        assert_eq!(at(&late, "2026-11-27T20:00"), open("2026-11-28T03:00"));
        let always: Vec<(usize, &str)> = (0..7).map(|n| (n, "00:00-24:00")).collect();
        assert_eq!(at(&hours(&always, &[]), "2026-11-27T20:00"), State::Open(None));
        assert_eq!(at(&hours(&always, &["2026-12-24"]), "2026-12-20T20:00"), open("2026-12-24T00:00"));
        let overlapping = [vec!["08:00-12:00".parse().unwrap(), "11:00-13:00".parse().unwrap()]];
        let mut week: [Vec<Span>; 7] = Default::default();
        week[3] = overlapping[0].clone();
        assert_eq!(Hours::new(week, vec![]), Err((3, "11:00-13:00".parse().unwrap())));
    }

    fn any_hours() -> impl Strategy<Value = Hours> {
        let day = prop::collection::btree_set(0..=DAY, 0..6).prop_map(|minutes| {
            let minutes: Vec<u16> = minutes.into_iter().collect();
            minutes.chunks_exact(2).map(|pair| Span::of_minutes(pair[0], pair[1]).unwrap()).collect::<Vec<_>>()
        });
        let first: Date = "2026-11-01".parse().unwrap();
        let closed = prop::collection::vec((0..40_i32, 0..5_i32), 0..3).prop_map(move |days| {
            let later = |n: i32| first.checked_add(jiff::Span::new().days(n)).unwrap();
            days.into_iter().map(|(from, n)| Days { first: later(from), last: later(from + n) }).collect()
        });
        (prop::array::uniform7(day), closed).prop_map(|(week, closed)| Hours::new(week, closed).unwrap())
    }

    proptest! {
        /// Minute by minute: nothing changes before the moment that is named, and it does at that moment.
        #[test]
        fn the_moment_that_is_named_is_the_next_change(hours in any_hours(), start in 0..30 * i64::from(DAY)) {
            let first: DateTime = "2026-11-01T00:00".parse().unwrap();
            let start = first.checked_add(jiff::Span::new().minutes(start)).unwrap();
            let is_open = |at: DateTime| {
                let minute = u16::from(at.hour().unsigned_abs()) * 60 + u16::from(at.minute().unsigned_abs());
                hours.on(at.date()).iter().any(|span| span.from <= minute && minute < span.to)
            };
            let (now, change) = match hours.at(start) {
                State::Open(until) => (true, until),
                State::Closed(until) => (false, until),
            };
            prop_assert_eq!(is_open(start), now);
            let mut moment = start;
            let horizon = start.checked_add(jiff::Span::new().days(7)).unwrap();
            while moment < change.unwrap_or(horizon).min(horizon) {
                prop_assert_eq!(is_open(moment), now, "{}", moment);
                moment = moment.checked_add(jiff::Span::new().minutes(1)).unwrap();
            }
            if let Some(change) = change {
                prop_assert_ne!(is_open(change), now);
            }
        }

        #[test]
        fn printing_and_reading_come_back(from in 0..DAY, length in 1..DAY) {
            if let Some(span) = Span::of_minutes(from, from + length) {
                prop_assert_eq!(span.to_string().parse(), Ok(span));
            }
        }
    }
}
