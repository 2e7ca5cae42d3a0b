//! What was asked and answered, how long it took and what it cost.

use std::collections::{BTreeMap, BTreeSet};

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use serde::Deserialize;

use super::ACTIVITY;
use super::answer::{self, Problem};
use super::chart::{Chart, Kind, Series};
use super::format::{bytes, number};
use super::layout::{self, Place};
use super::visit::Visit;
use super::words::words;
use crate::admin::usage::{Period, Seen, look};
use crate::admin::{self, Reached};
use crate::browser::Language;
use crate::clock::Timestamp;
use crate::gateway::Gateway;
use crate::id::TenantId;
use crate::store;
use crate::usage::{Amount, Currency, Figures, Step};

/// What the form says.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Wanted {
    /// `day`, `week`, `month` or `year`.
    range: Option<String>,
    /// `*` or nothing: all that are reached.
    tenant: Option<String>,
}

/// For how long, and in which pieces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Range {
    Day,
    Week,
    Month,
    Year,
}

impl Range {
    const ALL: [(&str, Self); 4] =
        [("day", Self::Day), ("week", Self::Week), ("month", Self::Month), ("year", Self::Year)];

    fn of(wanted: &Wanted) -> Self {
        let named = Self::ALL.into_iter().find(|(name, _)| Some(*name) == wanted.range.as_deref());
        named.map_or(Self::Day, |(_, range)| range)
    }

    fn period(self, now: Timestamp, zone: &TimeZone) -> Period {
        let (days, step) = match self {
            Self::Day => (1, Step::Hour),
            Self::Week => (7, Step::Day),
            Self::Month => (30, Step::Day),
            // The month that it is, and eleven before it.
            Self::Year => (335, Step::Month),
        };
        Period::new(now, days, step, zone)
    }

    fn name(self, words: &ActivityWords) -> &'static str {
        match self {
            Self::Day => words.range_day,
            Self::Week => words.range_week,
            Self::Month => words.range_month,
            Self::Year => words.range_year,
        }
    }
}

/// What a page shows.
struct Looked {
    /// The beginnings of the pieces of time.
    starts: Vec<Timestamp>,
    step: Step,
    seen: Seen,
    /// All that may be chosen.
    tenants: Vec<Option<TenantId>>,
}

pub(super) async fn show(State(gateway): State<Gateway>, visit: Visit, Query(wanted): Query<Wanted>) -> Response {
    let reached = Reached::new(gateway, visit.who().clone());
    let (asked, range) = (wanted.clone(), Range::of(&wanted));
    // It may be many rows: not where messages are answered.
    let looked = tokio::task::spawn_blocking(move || see(&reached, range, asked.tenant.as_deref())).await;
    match looked.unwrap_or(Err(store::Error::Closed.into())) {
        Ok(looked) => {
            let words = ActivityWords::of(visit.words);
            let content = view(words, &wanted, range, &looked);
            answer::html(StatusCode::OK, layout::page(&visit, Place::Activity, words.activity, &content))
        }
        Err(error) => Problem::from(error).respond(&visit),
    }
}

fn see(reached: &Reached, range: Range, tenant: Option<&str>) -> Result<Looked, admin::Error> {
    let zone = TimeZone::system();
    let period = range.period(reached.now(), &zone);
    let seen = look(reached, tenant.filter(|tenant| *tenant != "*"), period, &zone)?;
    Ok(Looked { starts: period.starts(&zone), step: period.step, seen, tenants: reached.tenants_with_usage()? })
}

/// Messages and answers of the last day, for the first page.
pub(super) fn last_day(words: &super::words::Words, reached: &Reached) -> Result<Markup, admin::Error> {
    let looked = see(reached, Range::Day, None)?;
    let words = ActivityWords::of(words);
    let sums = sums(&looked);
    Ok(html! {
        section class="card" {
            (messages_chart(words, &looked, &sums, words.last_day))
            p { a href=(ACTIVITY) { (words.more) } }
        }
    })
}

/// Of all tenants together, for each piece of time.
fn sums(looked: &Looked) -> Vec<Figures> {
    let sum = |start: &Timestamp| {
        let mut sum = Figures::default();
        looked.seen.tenants.iter().filter_map(|(_, pieces)| pieces.get(start)).for_each(|figures| sum.add(figures));
        sum
    };
    looked.starts.iter().map(sum).collect()
}

fn times(words: &ActivityWords, looked: &Looked) -> Vec<String> {
    let form = match (looked.step, words.language) {
        (Step::Hour, _) => "%H:%M",
        (Step::Day, Language::English) => "%-d %b",
        (Step::Day, Language::German) => "%d.%m.",
        (Step::Month, Language::English) => "%b %Y",
        (Step::Month, Language::German) => "%m.%Y",
    };
    let zone = TimeZone::system();
    let time = |at: &Timestamp| {
        let at = i64::try_from(at.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
        at.map(|at| at.to_zoned(zone.clone()).strftime(form).to_string()).unwrap_or_default()
    };
    looked.starts.iter().map(time).collect()
}

fn view(words: &ActivityWords, wanted: &Wanted, range: Range, looked: &Looked) -> Markup {
    let sums = sums(looked);
    html! {
        h1 { (words.activity) }
        (filter(words, wanted, range, looked))
        @if sums.iter().all(Figures::is_empty) {
            section class="card" { (layout::empty(words.nothing, words.nothing_lead)) }
        } @else {
            section class="card" { (messages_chart(words, looked, &sums, words.messages_and_answers)) }
            div class="pair" {
                section class="card" { (latency_chart(words, looked, &sums)) }
                section class="card" { (tokens_chart(words, looked, &sums)) }
            }
            (costs(words, looked, &sums))
            (tenants(words, looked))
        }
        @if let Some(memory) = &looked.seen.memory { section class="card" { (memory_chart(words, looked, memory)) } }
    }
}

fn filter(words: &ActivityWords, wanted: &Wanted, range: Range, looked: &Looked) -> Markup {
    let chosen = wanted.tenant.as_deref().unwrap_or("*");
    html! {
        form class="filter" method="get" action=(ACTIVITY) {
            div {
                label for="range" { (words.range) }
                select id="range" name="range" {
                    @for (name, one) in Range::ALL { option value=(name) selected[one == range] { (one.name(words)) } }
                }
            }
            @if looked.tenants.len() > 1 {
                div {
                    label for="tenant" { (words.tenant) }
                    select id="tenant" name="tenant" {
                        option value="*" selected[chosen == "*"] { (words.all_tenants) }
                        @for tenant in &looked.tenants {
                            @let id = tenant.as_ref().map(TenantId::as_str).unwrap_or_default();
                            option value=(id) selected[chosen == id] { (tenant_name(words, tenant.as_ref())) }
                        }
                    }
                }
            }
            button { (words.show) }
        }
    }
}

fn tenant_name<'t>(words: &ActivityWords, tenant: Option<&'t TenantId>) -> &'t str {
    tenant.map_or(words.own, TenantId::as_str)
}

/// A chart of what is counted of each piece.
fn counted<'c>(name: &'c str, sums: &[Figures], value: impl Fn(&Figures) -> u64) -> Series<'c> {
    Series { name, values: sums.iter().map(|figures| Some(value(figures))).collect() }
}

fn messages_chart(words: &ActivityWords, looked: &Looked, sums: &[Figures], title: &str) -> Markup {
    let series = vec![
        counted(words.messages, sums, |figures| figures.messages),
        counted(words.answers, sums, |figures| figures.answers),
    ];
    let (times, shown) = (times(words, looked), |n| number(words, n));
    let (time, as_table) = (words.time, words.as_table);
    Chart { id: "messages", title, kind: Kind::Bars, times: &times, series, shown: &shown, time, as_table }.draw()
}

fn latency_chart(words: &ActivityWords, looked: &Looked, sums: &[Figures]) -> Markup {
    let measured = |name, percent| Series {
        name,
        values: sums.iter().map(|figures| figures.latency.percentile(percent)).collect(),
    };
    let series = vec![measured(words.p50, 50), measured(words.p95, 95)];
    let (times, shown) = (times(words, looked), |ms| seconds(words, ms));
    let (title, time, as_table) = (words.latency, words.time, words.as_table);
    Chart { id: "latency", title, kind: Kind::Lines, times: &times, series, shown: &shown, time, as_table }.draw()
}

fn tokens_chart(words: &ActivityWords, looked: &Looked, sums: &[Figures]) -> Markup {
    let series = vec![
        counted(words.tokens_in, sums, |figures| figures.input_tokens),
        counted(words.tokens_out, sums, |figures| figures.output_tokens),
    ];
    let (times, shown) = (times(words, looked), |n| short(words, n));
    let (title, time, as_table) = (words.tokens, words.time, words.as_table);
    Chart { id: "tokens", title, kind: Kind::Bars, times: &times, series, shown: &shown, time, as_table }.draw()
}

fn costs(words: &ActivityWords, looked: &Looked, sums: &[Figures]) -> Markup {
    let currencies: BTreeSet<Currency> = sums.iter().flat_map(|figures| figures.costs.keys().copied()).collect();
    let times = times(words, looked);
    html! {
        @for currency in currencies {
            @let paid = |figures: &Figures| figures.costs.get(&currency).map_or(0, |amount| amount.0);
            @let (title, id) = (format!("{} ({currency})", words.cost), format!("cost-{currency}"));
            @let shown = |amount| money(words, Amount(amount));
            @let series = vec![counted(words.cost, sums, paid)];
            section class="card" {
                (Chart {
                    id: &id, title: &title, kind: Kind::Bars, times: &times, series, shown: &shown,
                    time: words.time, as_table: words.as_table,
                }.draw())
            }
        }
    }
}

fn memory_chart(words: &ActivityWords, looked: &Looked, memory: &BTreeMap<Timestamp, u64>) -> Markup {
    let values = looked.starts.iter().map(|start| memory.get(start).copied()).collect();
    let (series, shown) = (vec![Series { name: words.memory, values }], |n| bytes(words, n));
    let (times, title, time, as_table) = (times(words, looked), words.memory, words.time, words.as_table);
    Chart { id: "memory", title, kind: Kind::Lines, times: &times, series, shown: &shown, time, as_table }.draw()
}

/// Everything of each tenant in the whole time.
fn tenants(words: &ActivityWords, looked: &Looked) -> Markup {
    let columns = [
        words.messages,
        words.answers,
        words.p50,
        words.p95,
        words.tokens_in,
        words.tokens_out,
        words.model_errors,
        words.cost,
    ];
    html! {
        section class="card" {
            h2 { (words.by_tenant) }
            div class="scroll" tabindex="0" role="group" aria-label=(words.by_tenant) {
                table {
                    thead { tr {
                        th scope="col" { (words.tenant) }
                        @for column in columns { th scope="col" class="number" { (column) } }
                    } }
                    tbody { @for (tenant, pieces) in &looked.seen.tenants { (tenant_row(words, tenant.as_ref(), pieces)) } }
                }
            }
        }
    }
}

fn tenant_row(words: &ActivityWords, tenant: Option<&TenantId>, pieces: &BTreeMap<Timestamp, Figures>) -> Markup {
    let mut sum = Figures::default();
    pieces.values().for_each(|figures| sum.add(figures));
    let latency = |percent| sum.latency.percentile(percent).map_or_else(|| "–".to_owned(), |ms| seconds(words, ms));
    let paid = |(currency, amount): (&Currency, &Amount)| format!("{}\u{a0}{currency}", money(words, *amount));
    let costs: Vec<String> = sum.costs.iter().map(paid).collect();
    let cells = [
        number(words, sum.messages),
        number(words, sum.answers),
        latency(50),
        latency(95),
        number(words, sum.input_tokens),
        number(words, sum.output_tokens),
        number(words, sum.model_errors),
        if costs.is_empty() { "–".to_owned() } else { costs.join(", ") },
    ];
    html! {
        tr {
            th scope="row" { (tenant_name(words, tenant)) }
            @for cell in cells { td class="number" { (cell) } }
        }
    }
}

fn point(words: &ActivityWords) -> char {
    match words.language {
        Language::English => '.',
        Language::German => ',',
    }
}

/// `0.8 s`, `12 s`, `3 min`.
fn seconds(words: &ActivityWords, ms: u64) -> String {
    match ms {
        ..10_000 => format!("{}{}{}\u{a0}s", ms / 1_000, point(words), ms % 1_000 / 100),
        10_000..180_000 => format!("{}\u{a0}s", ms / 1_000),
        180_000.. => format!("{}\u{a0}min", ms / 60_000),
    }
}

/// `950`, `12k`, `3.4M`.
fn short(words: &ActivityWords, n: u64) -> String {
    let with_point = |unit: u64, name: &str| match n / unit {
        whole @ ..10 => format!("{whole}{}{}\u{a0}{name}", point(words), n % unit / (unit / 10)),
        whole => format!("{}\u{a0}{name}", number(words, whole)),
    };
    match n {
        ..10_000 => number(words, n),
        10_000..1_000_000 => with_point(1_000, words.thousand),
        1_000_000.. => with_point(1_000_000, words.million),
    }
}

/// In units of a currency: to the hundredth, and further where it is little.
fn money(words: &ActivityWords, amount: Amount) -> String {
    let text = amount.to_string();
    let (whole, parts) = text.split_once('.').unwrap_or((&text, ""));
    let n_digits = if whole == "0" { 4 } else { 2 };
    let whole = whole.parse().map_or_else(|_error| whole.to_owned(), |whole| number(words, whole));
    format!("{whole}{}{}", point(words), parts.get(..n_digits).unwrap_or(parts))
}

words! {
    /// What the page of figures says.
    ActivityWords;
    last_day: "Messages and answers, last 24 hours", "Nachrichten und Antworten, letzte 24 Stunden";
    more: "All activity", "Alle Aktivität";
    range: "Time", "Zeitraum";
    range_day: "Last 24 hours", "Letzte 24 Stunden";
    range_week: "Last 7 days", "Letzte 7 Tage";
    range_month: "Last 30 days", "Letzte 30 Tage";
    range_year: "Last 12 months", "Letzte 12 Monate";
    tenant: "Tenant", "Mandant";
    all_tenants: "All", "Alle";
    own: "Your own", "Ihre eigenen";
    show: "Show", "Anzeigen";
    nothing: "Nothing happened in this time", "In dieser Zeit ist nichts passiert";
    nothing_lead: "As soon as somebody writes, you see here how much is asked, how fast it is answered and what it costs.",
        "Sobald jemand schreibt, sehen Sie hier, wie viel gefragt wird, wie schnell geantwortet wird und was es kostet.";
    messages_and_answers: "Messages and answers", "Nachrichten und Antworten";
    answers: "Answers", "Antworten";
    latency: "How long people wait for an answer", "Wie lange man auf Antwort wartet";
    p50: "Half of them at most", "Die Hälfte höchstens";
    p95: "95 of 100 at most", "95 von 100 höchstens";
    tokens: "Words read and written by the model, in tokens", "Vom Modell gelesen und geschrieben, in Tokens";
    tokens_in: "Read", "Gelesen";
    tokens_out: "Written", "Geschrieben";
    model_errors: "Failed attempts", "Fehlversuche";
    cost: "Cost", "Kosten";
    by_tenant: "By tenant", "Nach Mandant";
    memory: "Memory", "Arbeitsspeicher";
    time: "Time", "Zeit";
    as_table: "As a table", "Als Tabelle";
    thousand: "thsd.", "Tsd.";
    million: "mil.", "Mio.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_short_where_they_stand_at_a_scale() {
        let words = ActivityWords::in_language(Language::English);
        let german = ActivityWords::in_language(Language::German);
        for (n, expected) in [(9_999, "9,999"), (12_345, "12\u{a0}thsd."), (3_456_789, "3.4\u{a0}mil.")] {
            assert_eq!(short(words, n), expected);
        }
        for (ms, expected) in [(849, "0,8\u{a0}s"), (12_345, "12\u{a0}s"), (185_000, "3\u{a0}min")] {
            assert_eq!(seconds(german, ms), expected);
        }
        for (amount, expected) in [(12_300_000_000, "0.0123"), (1_234_567_000_000_000, "1,234.56")] {
            assert_eq!(money(words, Amount(amount)), expected);
        }
    }

    #[test]
    fn a_year_is_twelve_months() {
        let zone = TimeZone::UTC;
        for day in 0..400 {
            let now = Timestamp(1_700_000_000_000 + day * 86_400_000);
            let n_months = Range::Year.period(now, &zone).starts(&zone).len();
            assert!((11..=12).contains(&n_months), "{n_months} on {now}");
        }
    }
}
