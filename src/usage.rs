//! What conversations were in an hour and what their answers cost: figures, never words.
//!
//! Pure: it adds, and says what lies below which share of answers. Who counts is `gateway`, who keeps it is `store`.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::clock::Timestamp;

/// Milliseconds of an hour.
const HOUR_MS: u64 = 60 * 60 * 1000;

/// Up to how many milliseconds an answer took that is counted in each of the [`Latency::buckets`] but the last.
pub const LATENCY_BOUNDS_MS: [u64; 12] =
    [500, 1_000, 2_000, 3_000, 5_000, 10_000, 20_000, 30_000, 60_000, 120_000, 300_000, 900_000];

/// An hour of the world's time, from 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Hour(pub u64);

impl Hour {
    /// The one that this is in.
    #[must_use]
    pub fn of(at: Timestamp) -> Self {
        Self(at.0 / HOUR_MS)
    }

    /// When it begins.
    #[must_use]
    pub fn start(self) -> Timestamp {
        Timestamp(self.0.saturating_mul(HOUR_MS))
    }

    /// So many hours before it.
    #[must_use]
    pub fn before(self, n_hours: u64) -> Self {
        Self(self.0.saturating_sub(n_hours))
    }
}

/// Three letters that name a money, as ISO 4217 writes them.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

/// These are not three letters.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a currency is three capital letters, like \"EUR\"")]
pub struct NoCurrency;

impl Currency {
    /// Its letters.
    #[must_use]
    pub fn as_bytes(self) -> [u8; 3] {
        self.0
    }
}

impl TryFrom<[u8; 3]> for Currency {
    type Error = NoCurrency;

    fn try_from(letters: [u8; 3]) -> Result<Self, NoCurrency> {
        if letters.iter().all(u8::is_ascii_uppercase) { Ok(Self(letters)) } else { Err(NoCurrency) }
    }
}

impl FromStr for Currency {
    type Err = NoCurrency;

    fn from_str(text: &str) -> Result<Self, NoCurrency> {
        <[u8; 3]>::try_from(text.as_bytes()).map_err(|_length| NoCurrency)?.try_into()
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|letter| write!(f, "{}", char::from(*letter)))
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// What a model's tokens cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Price {
    /// In this money.
    pub currency: Currency,
    /// A million tokens read, in millionths of it.
    pub input_micros: u64,
    /// A million tokens written, in millionths of it.
    pub output_micros: u64,
}

/// An amount of money, in 10⁻¹² of its unit: so one token has a whole price.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Amount(pub u64);

impl Price {
    /// Of so many tokens.
    #[must_use]
    pub fn of(&self, input_tokens: u64, output_tokens: u64) -> Amount {
        let read = input_tokens.saturating_mul(self.input_micros);
        Amount(read.saturating_add(output_tokens.saturating_mul(self.output_micros)))
    }
}

impl fmt::Display for Amount {
    /// In units, to the ten-thousandth: `1.0250`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let parts = self.0 / 100_000_000 + u64::from(self.0 % 100_000_000 >= 50_000_000);
        write!(f, "{}.{:04}", parts / 10_000, parts % 10_000)
    }
}

/// How long peers waited for answers.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Latency {
    /// Answers that took no longer than the bound of the same place and longer than the one before it; the last took longer
    /// than all of [`LATENCY_BOUNDS_MS`].
    pub buckets: [u64; LATENCY_BOUNDS_MS.len() + 1],
    /// All of them together, in milliseconds.
    pub sum_ms: u64,
    /// The longest, in milliseconds.
    pub max_ms: u64,
}

impl Latency {
    /// Counts one.
    pub fn note(&mut self, ms: u64) {
        let place = LATENCY_BOUNDS_MS.partition_point(|bound| *bound < ms);
        if let Some(bucket) = self.buckets.get_mut(place) {
            *bucket = bucket.saturating_add(1);
        }
        self.sum_ms = self.sum_ms.saturating_add(ms);
        self.max_ms = self.max_ms.max(ms);
    }

    /// Counts those of another.
    pub fn add(&mut self, other: &Self) {
        for (own, more) in self.buckets.iter_mut().zip(other.buckets) {
            *own = own.saturating_add(more);
        }
        self.sum_ms = self.sum_ms.saturating_add(other.sum_ms);
        self.max_ms = self.max_ms.max(other.max_ms);
    }

    /// How many there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().fold(0, |n, more| n.saturating_add(*more))
    }

    /// About the time in which this share of them came, in milliseconds: even within a bucket. `None`: there are none.
    #[must_use]
    pub fn percentile(&self, percent: u8) -> Option<u64> {
        let count = self.count();
        // The rank of the one that is asked for, from 1.
        let rank = u128::from(count).saturating_mul(u128::from(percent.min(100))).div_ceil(100).max(1);
        let (mut before, mut low) = (0_u128, 0_u64);
        let bounds = LATENCY_BOUNDS_MS.iter().copied().chain([u64::MAX]);
        for (n, bound) in self.buckets.iter().zip(bounds) {
            let n = u128::from(*n);
            let high = bound.min(self.max_ms);
            if n > 0 && before + n >= rank {
                let share = u128::from(high.saturating_sub(low)).saturating_mul(rank - before) / n;
                return Some(low.saturating_add(u64::try_from(share).unwrap_or(u64::MAX)));
            }
            (before, low) = (before + n, bound);
        }
        None
    }

    /// In milliseconds. `None`: there are none.
    #[must_use]
    pub fn mean(&self) -> Option<u64> {
        self.sum_ms.checked_div(self.count())
    }
}

/// What was counted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Figures {
    /// Messages that were taken.
    pub messages: u64,
    /// Answers that were given; one may answer several messages.
    pub answers: u64,
    /// From the first message that an answer answers until it was kept to be sent.
    pub latency: Latency,
    /// Tokens that models read.
    pub input_tokens: u64,
    /// Tokens that models wrote.
    pub output_tokens: u64,
    /// Attempts at an answer that a model failed.
    pub model_errors: u64,
    /// What the tokens cost by the prices of then.
    pub costs: BTreeMap<Currency, Amount>,
}

impl Figures {
    /// Counts those of another.
    pub fn add(&mut self, other: &Self) {
        let Self { messages, answers, latency, input_tokens, output_tokens, model_errors, costs } = other;
        let sums = [
            (&mut self.messages, messages),
            (&mut self.answers, answers),
            (&mut self.input_tokens, input_tokens),
            (&mut self.output_tokens, output_tokens),
            (&mut self.model_errors, model_errors),
        ];
        for (own, more) in sums {
            *own = own.saturating_add(*more);
        }
        self.latency.add(latency);
        costs.iter().for_each(|(currency, amount)| self.pay(*currency, *amount));
    }

    /// Counts what was paid.
    pub fn pay(&mut self, currency: Currency, amount: Amount) {
        let paid = self.costs.entry(currency).or_default();
        paid.0 = paid.0.saturating_add(amount.0);
    }

    /// Was nothing counted?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// How long a piece of time is that figures are shown for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// An hour.
    Hour,
    /// A day of the box's calendar.
    Day,
    /// A month of it.
    Month,
}

impl Step {
    /// When the piece begins that this hour is in. A day begins at midnight of the zone; where zones are not whole hours
    /// apart, an hour belongs to the day in which it begins.
    #[must_use]
    pub fn start(self, hour: Hour, zone: &jiff::tz::TimeZone) -> Timestamp {
        self.civil(hour, zone).unwrap_or_else(|| hour.start())
    }

    fn civil(self, hour: Hour, zone: &jiff::tz::TimeZone) -> Option<Timestamp> {
        let at = i64::try_from(hour.start().0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok())?;
        let date = at.to_zoned(zone.clone()).date();
        let first = match self {
            Self::Hour => return None,
            Self::Day => date,
            Self::Month => date.first_of_month(),
        };
        let start = first.to_zoned(zone.clone()).ok()?.timestamp().as_millisecond();
        u64::try_from(start).ok().map(Timestamp)
    }

    /// The beginnings of all pieces from the one that `first` is in to the one that `last` is in.
    #[must_use]
    pub fn starts(self, first: Hour, last: Hour, zone: &jiff::tz::TimeZone) -> Vec<Timestamp> {
        // Short enough to step over none.
        let stride = match self {
            Self::Hour => 1,
            Self::Day => 12,
            Self::Month => 24 * 20,
        };
        let hours = (first.0..=last.0).step_by(stride).chain([last.0]);
        let mut starts: Vec<Timestamp> = hours.map(|hour| self.start(Hour(hour), zone)).collect();
        starts.dedup();
        starts
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn latency(answers: &[u64]) -> Latency {
        let mut latency = Latency::default();
        answers.iter().for_each(|ms| latency.note(*ms));
        latency
    }

    #[test]
    fn an_answer_is_counted_up_to_its_bound() {
        for (place, bound) in LATENCY_BOUNDS_MS.into_iter().enumerate() {
            assert_eq!(latency(&[bound]).buckets[place], 1, "{bound}");
            assert_eq!(latency(&[bound + 1]).buckets[place + 1], 1, "{bound}");
        }
    }

    #[test]
    fn a_share_of_nothing_is_nothing() {
        assert_eq!((latency(&[]).percentile(50), latency(&[]).mean()), (None, None));
        assert_eq!((latency(&[0]).percentile(50), latency(&[0]).mean()), (Some(0), Some(0)));
    }

    proptest! {
        #[test]
        fn a_percentile_lies_in_the_bucket_of_the_answer_that_has_its_rank(
            mut answers in proptest::collection::vec(0_u64..2_000_000, 1..60),
            percent in 1_u8..=100,
        ) {
            let found = latency(&answers).percentile(percent).unwrap();
            answers.sort_unstable();
            let exact = answers[(answers.len() * usize::from(percent)).div_ceil(100) - 1];
            let place = LATENCY_BOUNDS_MS.partition_point(|bound| *bound < exact);
            let low = if place == 0 { 0 } else { LATENCY_BOUNDS_MS[place - 1] };
            let high = LATENCY_BOUNDS_MS.get(place).copied().unwrap_or(u64::MAX);
            prop_assert!((low..=high).contains(&found), "{found} for {exact}");
            prop_assert!(found <= *answers.last().unwrap());
        }

        #[test]
        fn it_does_not_matter_in_how_many_parts_something_is_counted(
            answers in proptest::collection::vec(0_u64..2_000_000, 0..40),
            at in 0_usize..40,
        ) {
            let (one, other) = answers.split_at(at.min(answers.len()));
            let mut sum = latency(one);
            sum.add(&latency(other));
            prop_assert_eq!(sum, latency(&answers));
        }

        #[test]
        fn a_currency_is_three_capital_letters(text in ".{0,5}|[A-Z]{2,4}") {
            let is_one = text.len() == 3 && text.bytes().all(|letter| letter.is_ascii_uppercase());
            let parsed = text.parse::<Currency>();
            prop_assert_eq!(parsed.is_ok(), is_one);
            if let Ok(currency) = parsed {
                prop_assert_eq!(currency.to_string(), text);
            }
        }
    }

    #[test]
    fn one_token_has_a_price_and_a_million_have_the_one_that_was_written() {
        let price = Price { currency: "EUR".parse().unwrap(), input_micros: 37_500, output_micros: 15_000_000 };
        assert_eq!(price.of(1, 0), Amount(37_500));
        assert_eq!(price.of(1_000_000, 0).to_string(), "0.0375");
        assert_eq!(price.of(1_000_000, 1_000_000).to_string(), "15.0375");
        assert_eq!(price.of(u64::MAX, 1), Amount(u64::MAX));
    }

    #[test]
    fn amounts_are_rounded() {
        for (amount, shown) in [(49_999_999, "0.0000"), (50_000_000, "0.0001"), (999_950_000_000, "1.0000")] {
            assert_eq!(Amount(amount).to_string(), shown);
        }
    }

    #[test]
    fn days_and_months_are_those_of_the_calendar() {
        let zone = jiff::tz::TimeZone::posix("CET-1CEST,M3.5.0,M10.5.0/3").unwrap();
        let hour = |text: &str| Hour::of(Timestamp(text.parse::<jiff::Timestamp>().unwrap().as_millisecond() as u64));
        // The clocks go forward in the night to the 30th of March, and the days are those of the wall.
        let check = |step: Step, text: &str, expected: &str| {
            assert_eq!(step.start(hour(text), &zone).to_string(), expected, "{text}");
        };
        check(Step::Hour, "2025-03-29T23:59:00Z", "2025-03-29T23:00:00Z");
        check(Step::Day, "2025-03-29T22:59:00Z", "2025-03-28T23:00:00Z");
        check(Step::Day, "2025-03-29T23:00:00Z", "2025-03-29T23:00:00Z");
        check(Step::Day, "2025-03-30T21:59:00Z", "2025-03-29T23:00:00Z");
        check(Step::Day, "2025-03-30T22:00:00Z", "2025-03-30T22:00:00Z");
        check(Step::Month, "2025-03-30T22:00:00Z", "2025-02-28T23:00:00Z");
        let days = Step::Day.starts(hour("2025-03-29T00:00:00Z"), hour("2025-03-31T00:00:00Z"), &zone);
        assert_eq!(days.len(), 3);
    }
}
