//! What was counted: messages, answers, how long they took and what they cost, by tenant and time.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::Error;
use super::json::time;
use super::operation::{Operation, Query, READ};
use super::reach::Reached;
use crate::clock::Timestamp;
use crate::gateway::KEPT_HOURS;
use crate::id::TenantId;
use crate::usage::{Figures, Hour, Step};

/// Days that are shown unless somebody says otherwise.
const DAYS: u64 = 7;
/// Days that may be shown by the hour.
const MAX_DAYS_BY_HOUR: u64 = 31;

pub(super) fn operations() -> Vec<Operation> {
    vec![Operation::get("/api/v1/usage", READ, "What was counted, by tenant and time", show)]
}

#[derive(Debug, Default, Deserialize, IntoParams)]
pub(crate) struct Asked {
    /// Only of this tenant; empty: the owner's own.
    pub(crate) tenant: Option<String>,
    /// Days back from now, at most 400; absent: 7.
    #[param(minimum = 1, maximum = 400)]
    pub(crate) days: Option<u64>,
    /// `hour` (for at most 31 days), `day` or `month`; absent: what suits the number of days.
    pub(crate) by: Option<String>,
}

/// What was counted.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Usage {
    /// How long a piece is: `hour`, `day` or `month`, on the calendar of the box.
    pub(crate) by: &'static str,
    /// When the first piece begins.
    pub(crate) from: String,
    /// By tenant, then by time; pieces in which nothing was counted are left out.
    pub(crate) usage: Vec<Piece>,
    /// The most memory that the program held in each piece; null for those who do not reach the whole gateway.
    pub(crate) memory: Option<Vec<MemoryOfHour>>,
}

/// A tenant in a piece of time.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Piece {
    /// Null: the owner's own.
    pub(crate) tenant: Option<String>,
    /// When the piece begins.
    pub(crate) at: String,
    /// Messages that were taken.
    pub(crate) messages: u64,
    /// Answers that were given.
    pub(crate) answers: u64,
    /// How long peers waited for them, in milliseconds; null: there were none.
    pub(crate) latency_ms: Option<Latency>,
    pub(crate) tokens: ModelTokens,
    /// Attempts at an answer that a model failed.
    pub(crate) model_errors: u64,
    /// What the tokens cost, as far as providers have prices.
    pub(crate) costs: Vec<Cost>,
}

/// How long answers took, in milliseconds. Percentiles are made from a coarse histogram.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Latency {
    pub(crate) mean: u64,
    pub(crate) p50: u64,
    pub(crate) p95: u64,
    pub(crate) max: u64,
}

/// Tokens of models.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelTokens {
    /// That they read.
    pub(crate) input: u64,
    /// That they wrote.
    pub(crate) output: u64,
}

/// An amount of money.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Cost {
    /// Three letters.
    pub(crate) currency: String,
    /// A decimal number.
    pub(crate) amount: String,
}

/// Memory of the program.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MemoryOfHour {
    pub(crate) at: String,
    pub(crate) bytes: u64,
}

impl Piece {
    fn of(tenant: Option<&TenantId>, at: Timestamp, figures: &Figures) -> Self {
        let latency = &figures.latency;
        let latency_ms = latency.mean().map(|mean| Latency {
            mean,
            p50: latency.percentile(50).unwrap_or_default(),
            p95: latency.percentile(95).unwrap_or_default(),
            max: latency.max_ms,
        });
        let cost = |(currency, amount): (&crate::usage::Currency, &crate::usage::Amount)| Cost {
            currency: currency.to_string(),
            amount: amount.to_string(),
        };
        Self {
            tenant: tenant.map(ToString::to_string),
            at: time(at),
            messages: figures.messages,
            answers: figures.answers,
            latency_ms,
            tokens: ModelTokens { input: figures.input_tokens, output: figures.output_tokens },
            model_errors: figures.model_errors,
            costs: figures.costs.iter().map(cost).collect(),
        }
    }
}

/// Which time, and in which pieces.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Period {
    pub(crate) step: Step,
    first: Hour,
    last: Hour,
}

impl Period {
    /// The last `days` days up to now; those of a calendar begin at midnight.
    pub(crate) fn new(now: Timestamp, days: u64, step: Step, zone: &jiff::tz::TimeZone) -> Self {
        let last = Hour::of(now);
        let n_hours = days.clamp(1, KEPT_HOURS / 24) * 24;
        let first = match step {
            Step::Hour => last.before(n_hours - 1),
            Step::Day | Step::Month => Hour::of(step.start(last.before(n_hours - 24), zone)),
        };
        Self { step, first, last }
    }

    /// When its pieces begin.
    pub(crate) fn starts(self, zone: &jiff::tz::TimeZone) -> Vec<Timestamp> {
        self.step.starts(self.first, self.last, zone)
    }
}

/// What was counted in a period.
#[derive(Debug)]
pub(crate) struct Seen {
    /// By tenant, then by the beginnings of pieces.
    pub(crate) tenants: Vec<(Option<TenantId>, BTreeMap<Timestamp, Figures>)>,
    /// The most memory in each piece, for those who reach the whole gateway.
    pub(crate) memory: Option<BTreeMap<Timestamp, u64>>,
}

/// Looks at it.
pub(crate) fn look(
    reached: &Reached,
    tenant: Option<&str>,
    period: Period,
    zone: &jiff::tz::TimeZone,
) -> Result<Seen, Error> {
    let starts = period.starts(zone);
    // The piece that an hour is in, without asking the calendar for each hour.
    let start = |hour: Hour| {
        let n_begun = starts.partition_point(|start| Hour::of(*start) <= hour);
        n_begun.checked_sub(1).and_then(|place| starts.get(place)).copied().unwrap_or_else(|| hour.start())
    };
    let mut tenants = Vec::new();
    for (of, hours) in reached.usage(tenant, period.first)? {
        let mut pieces: BTreeMap<Timestamp, Figures> = BTreeMap::new();
        for (hour, figures) in hours.range(..=period.last) {
            pieces.entry(start(*hour)).or_default().add(figures);
        }
        if !pieces.is_empty() {
            tenants.push((of, pieces));
        }
    }
    let memory = reached.memory(period.first)?.map(|hours| {
        let mut pieces: BTreeMap<Timestamp, u64> = BTreeMap::new();
        for (hour, bytes) in hours.range(..=period.last) {
            let most = pieces.entry(start(*hour)).or_default();
            *most = (*most).max(*bytes);
        }
        pieces
    });
    Ok(Seen { tenants, memory })
}

const STEPS: [(&str, Step); 3] = [("hour", Step::Hour), ("day", Step::Day), ("month", Step::Month)];

pub(crate) async fn show(reached: Reached, Query(asked): Query<Asked>) -> Result<Usage, Error> {
    let days = asked.days.unwrap_or(DAYS);
    if !(1..=KEPT_HOURS / 24).contains(&days) {
        return Err(Error::Query(format!("days: {days} is not between 1 and {}", KEPT_HOURS / 24)));
    }
    let named = |by: &str| STEPS.into_iter().find(|(name, _)| *name == by);
    let (by, step) = match asked.by.as_deref() {
        Some(by) => named(by).ok_or_else(|| Error::Query(format!("by: {by:?} is not one of hour, day, month")))?,
        None => match days {
            ..=2 => ("hour", Step::Hour),
            3..=92 => ("day", Step::Day),
            93.. => ("month", Step::Month),
        },
    };
    if step == Step::Hour && days > MAX_DAYS_BY_HOUR {
        return Err(Error::Query(format!("by: at most {MAX_DAYS_BY_HOUR} days are shown by the hour")));
    }
    let zone = jiff::tz::TimeZone::system();
    let period = Period::new(reached.now(), days, step, &zone);
    // It may be many rows: not where messages are answered.
    let (from, tenant) = (time(period.starts(&zone).first().copied().unwrap_or_default()), asked.tenant);
    let looked = tokio::task::spawn_blocking(move || look(&reached, tenant.as_deref(), period, &zone)).await;
    let seen = looked.unwrap_or(Err(crate::store::Error::Closed.into()))?;
    let pieces = seen.tenants.iter().flat_map(|(tenant, pieces)| {
        pieces.iter().map(|(at, figures)| Piece::of(tenant.as_ref(), *at, figures)).collect::<Vec<_>>()
    });
    let memory =
        seen.memory.map(|memory| memory.into_iter().map(|(at, bytes)| MemoryOfHour { at: time(at), bytes }).collect());
    Ok(Usage { by, from, usage: pieces.collect(), memory })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_period_has_as_many_pieces_as_days_and_ends_now() {
        let zone = jiff::tz::TimeZone::UTC;
        let now = Timestamp(1_700_000_000_000);
        for (days, step, expected) in
            [(1, Step::Hour, 24), (7, Step::Day, 7), (30, Step::Day, 30), (365, Step::Month, 13)]
        {
            let starts = Period::new(now, days, step, &zone).starts(&zone);
            assert_eq!(starts.len(), expected, "{days} {step:?}");
            assert_eq!(starts.last().copied(), Some(step.start(Hour::of(now), &zone)));
        }
    }
}
