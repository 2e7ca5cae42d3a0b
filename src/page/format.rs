//! Numbers and times as people read them.

use jiff::tz::TimeZone;

use super::words::{Words, fill};
use crate::browser::Language;
use crate::clock::Timestamp;

/// `1,234` or `1.234`.
pub(super) fn number(words: &Words, n: u64) -> String {
    let separator = match words.language {
        Language::English => ',',
        Language::German => '.',
    };
    let digits = n.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3 + 1);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(separator);
        }
        text.push(digit);
    }
    text
}

/// `640 MB`, in units of 1000, to two digits.
pub(super) fn bytes(words: &Words, n: u64) -> String {
    const UNITS: [&str; 5] = ["B", "kB", "MB", "GB", "TB"];
    let mut unit = 0;
    let (mut whole, mut rest) = (n, 0);
    while whole >= 1000 && unit + 1 < UNITS.len() {
        (whole, rest) = (whole / 1000, whole % 1000);
        unit += 1;
    }
    let point = match words.language {
        Language::English => '.',
        Language::German => ',',
    };
    let name = UNITS.get(unit).copied().unwrap_or_default();
    match (unit, whole) {
        (0, _) | (_, 10..) => format!("{whole}\u{a0}{name}"),
        (_, whole) => format!("{whole}{point}{}\u{a0}{name}", rest / 100),
    }
}

/// How long ago it was, in one word or two.
pub(super) fn ago(words: &Words, at: Timestamp, now: Timestamp) -> String {
    const MINUTE: u64 = 60;
    const HOUR: u64 = 60 * MINUTE;
    const DAY: u64 = 24 * HOUR;
    let seconds = now.since_ms(at) / 1000;
    let (template, n) = match seconds {
        ..MINUTE => (words.just_now, 0),
        MINUTE..HOUR => (words.minutes_ago, seconds / MINUTE),
        HOUR..DAY => (words.hours_ago, seconds / HOUR),
        DAY.. => (words.days_ago, seconds / DAY),
    };
    fill(template, &[("n", &n.to_string())])
}

/// `3 d 4 h`, `4 h 12 min`, `12 min`.
pub(super) fn duration(words: &Words, ms: u64) -> String {
    let minutes = ms / 60_000;
    let (days, hours, minutes) = (minutes / 1440, minutes / 60 % 24, minutes % 60);
    let day = match words.language {
        Language::English => "d",
        Language::German => "T",
    };
    match (days, hours) {
        (0, 0) => format!("{minutes}\u{a0}min"),
        (0, hours) => format!("{hours}\u{a0}h {minutes}\u{a0}min"),
        (days, hours) => format!("{days}\u{a0}{day} {hours}\u{a0}h"),
    }
}

/// The day and time, on the clock of this machine.
pub(super) fn time(words: &Words, at: Timestamp) -> String {
    let seconds = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
    let Ok(time) = jiff::Timestamp::from_second(seconds) else { return at.to_string() };
    let form = match words.language {
        Language::English => "%-d %b %Y, %H:%M",
        Language::German => "%d.%m.%Y, %H:%M",
    };
    time.to_zoned(TimeZone::system()).strftime(form).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_grouped_as_people_write_them() {
        let (english, german) = (Words::in_language(Language::English), Words::in_language(Language::German));
        for (n, expected) in [(0, "0"), (999, "999"), (1_000, "1,000"), (1_234_567, "1,234,567")] {
            assert_eq!(number(english, n), expected);
            assert_eq!(number(german, n), expected.replace(',', "."));
        }
        for (n, expected) in [(0, "0\u{a0}B"), (999, "999\u{a0}B"), (1_500, "1.5\u{a0}kB"), (64_000_000, "64\u{a0}MB")]
        {
            assert_eq!(bytes(english, n), expected);
        }
        assert_eq!(bytes(german, u64::MAX), "18446744\u{a0}TB");
    }

    #[test]
    fn times_are_told_from_now() {
        let words = Words::in_language(Language::English);
        let check = |seconds: u64, expected| assert_eq!(ago(words, Timestamp(0), Timestamp(seconds * 1000)), expected);
        check(0, "just now");
        check(59, "just now");
        check(60, "1 min ago");
        check(3_600, "1 h ago");
        check(86_400, "1 d ago");
        assert_eq!(ago(words, Timestamp(5_000), Timestamp(0)), "just now", "a clock was set back");
        assert_eq!(duration(words, 59_000), "0\u{a0}min");
        assert_eq!(duration(words, 100_000_000), "1\u{a0}d 3\u{a0}h");
    }
}
