//! Figures for Prometheus, in the text format of `OpenMetrics`. What each means is in docs/metrics.md.
//!
//! Labels are names that the configuration has, currencies and statuses of HTTP: no key of a conversation, no peer, no text.
//! Whoever is bound to a tenant gets that tenant's alone.

use std::collections::BTreeMap;
use std::fmt::{self, Debug};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::exemplar::Exemplar;
use prometheus_client::registry::{Registry, Unit};

use super::error::Error;
use super::operation::{Operation, READ, Text};
use super::reach::{Reached, Seen};
use crate::clock::Timestamp;
use crate::gateway::ChannelStatus;
use crate::id::TenantId;
use crate::store::Counts;
use crate::usage::{Amount, Figures, LATENCY_BOUNDS_MS};

/// What the answer is, as Prometheus asks for it.
pub(super) const MEDIA_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
/// Tenants, and channels, with series of their own; the others share one. Each series costs memory where it is kept.
const MAX_NAMES: usize = 500;
/// Stands for those others. No tenant and no channel is called so.
const OTHERS: &str = "(others)";

pub(super) fn operations() -> Vec<Operation> {
    vec![Operation::get("/api/v1/metrics", READ, "Figures for Prometheus", show)]
}

pub(crate) async fn show(reached: Reached, (): ()) -> Result<Text, Error> {
    // It looks at files.
    let shown = tokio::task::spawn_blocking(move || text(&reached)).await;
    shown.unwrap_or(Err(crate::store::Error::Closed.into())).map(Text)
}

fn text(reached: &Reached) -> Result<String, Error> {
    let mut registry = Registry::with_prefix("frontdesk");
    registry.register_collector(Box::new(Scrape::of(reached)?));
    let mut text = String::new();
    encode(&mut text, &registry).map_err(|_error| Error::Unavailable("the figures cannot be written".to_owned()))?;
    Ok(text)
}

/// A series: its labels and its value.
type Series<V> = Vec<(Labels, V)>;
type Labels = Vec<(&'static str, String)>;

/// Everything, as it is at one moment.
#[derive(Debug)]
struct Scrape {
    tenants: Vec<(String, Figures)>,
    counts: Counts,
    n_unresolved: u64,
    channels: Vec<ChannelStatus>,
    whole: Option<Whole>,
}

/// What is about the gateway itself.
#[derive(Debug)]
struct Whole {
    models: Vec<(String, Figures)>,
    refusals: BTreeMap<u16, u64>,
    n_lanes: usize,
    store_bytes: u64,
    journal_bytes: u64,
    disk: Option<(u64, u64)>,
    memory_bytes: Option<u64>,
    cpu_seconds: Option<f64>,
    uptime_seconds: f64,
    /// Seconds since the last good backup; `None`: there is none.
    backup_age_seconds: Option<f64>,
    is_safe_mode: bool,
    n_warnings: usize,
}

impl Scrape {
    fn of(reached: &Reached) -> Result<Self, Error> {
        let totals = reached.totals();
        let tenants = totals.tenants.into_iter().map(|(tenant, figures)| (name(tenant.as_ref()), figures)).collect();
        let (counts, n_unresolved, channels, whole) = match reached.status()? {
            Seen::Share { counts, n_unresolved, channels } => (counts, n_unresolved, channels, None),
            Seen::Whole(status) => {
                let machine = reached.machine();
                let age = |at: Timestamp| seconds(reached.now().since_ms(at));
                let whole = Whole {
                    models: totals.models.into_iter().map(|(name, figures)| (name.to_string(), figures)).collect(),
                    refusals: totals.refusals,
                    n_lanes: status.n_lanes,
                    store_bytes: status.store_bytes,
                    journal_bytes: std::fs::metadata(format!("{}.journal", status.store)).map_or(0, |file| file.len()),
                    disk: machine.disk.map(|disk| (disk.free, disk.total)),
                    memory_bytes: machine.resident,
                    cpu_seconds: machine.cpu.map(|cpu| cpu.as_secs_f64()),
                    uptime_seconds: seconds(status.uptime_ms),
                    backup_age_seconds: status.backup.last.as_ref().map(|last| age(Timestamp(last.at_ms))),
                    is_safe_mode: status.safe_mode.is_some(),
                    n_warnings: status.errors.len() + status.warnings.len(),
                };
                (status.counts, status.n_unresolved, status.channels, Some(whole))
            }
        };
        Ok(Self { tenants: bounded(tenants), counts, n_unresolved, channels, whole })
    }
}

fn name(tenant: Option<&TenantId>) -> String {
    tenant.map(ToString::to_string).unwrap_or_default()
}

/// Those with the most messages keep their names.
fn bounded(mut tenants: Vec<(String, Figures)>) -> Vec<(String, Figures)> {
    if tenants.len() > MAX_NAMES {
        tenants.sort_by_key(|(_, figures)| std::cmp::Reverse(figures.messages));
        let mut others = Figures::default();
        tenants.split_off(MAX_NAMES).iter().for_each(|(_, figures)| others.add(figures));
        tenants.push((OTHERS.to_owned(), others));
    }
    tenants
}

#[expect(clippy::cast_precision_loss, reason = "times of a process are far from 2⁵³ ms")]
fn seconds(ms: u64) -> f64 {
    ms as f64 / 1_000.0
}

/// Writes metrics one after the other.
struct Page<'p>(DescriptorEncoder<'p>);

impl Page<'_> {
    fn metric<V>(
        &mut self,
        (name, help, unit): (&str, &str, Option<Unit>),
        kind: MetricType,
        series: Series<V>,
        write: impl Fn(&mut MetricEncoder<'_>, &V) -> fmt::Result,
    ) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, unit.as_ref(), kind)?;
        for (labels, value) in &series {
            match labels.is_empty() {
                true => write(&mut metric, value)?,
                false => write(&mut metric.encode_family(labels)?, value)?,
            }
        }
        Ok(())
    }

    fn counters<V: EncodeCounterValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        series: Series<V>,
    ) -> fmt::Result {
        self.metric((name, help, unit), MetricType::Counter, series, |metric, value| {
            metric.encode_counter(value, None::<&Exemplar<NoLabelSet, f64>>)
        })
    }

    fn gauges<V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        unit: Option<Unit>,
        series: Series<V>,
    ) -> fmt::Result {
        self.metric((name, help, unit), MetricType::Gauge, series, |metric, value| metric.encode_gauge(value))
    }

    fn gauge<V: EncodeGaugeValue>(&mut self, name: &str, help: &str, unit: Option<Unit>, value: V) -> fmt::Result {
        self.gauges(name, help, unit, vec![(Vec::new(), value)])
    }
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        page.metric(
            ("build", "Which version this is", None),
            MetricType::Info,
            vec![(Vec::new(), ())],
            |metric, ()| metric.encode_info(&[("version", env!("CARGO_PKG_VERSION"))]),
        )?;
        self.tenants(&mut page)?;
        self.queues(&mut page)?;
        self.channels(&mut page)?;
        match &self.whole {
            Some(whole) => whole.encode(&mut page),
            None => Ok(()),
        }
    }
}

impl Scrape {
    fn of_tenants<V>(&self, value: impl Fn(&Figures) -> V) -> Series<V> {
        let series = self.tenants.iter().map(|(tenant, figures)| (vec![("tenant", tenant.clone())], value(figures)));
        series.collect()
    }

    fn tenants(&self, page: &mut Page<'_>) -> fmt::Result {
        page.counters("messages", "Messages that were taken", None, self.of_tenants(|figures| figures.messages))?;
        page.counters("answers", "Answers that were given", None, self.of_tenants(|figures| figures.answers))?;
        let latency = self.of_tenants(|figures| figures.latency.clone());
        page.metric(
            ("answer_latency", "From a message until its answer was kept to be sent", Some(Unit::Seconds)),
            MetricType::Histogram,
            latency,
            |metric, latency| {
                let bounds = LATENCY_BOUNDS_MS.iter().map(|ms| seconds(*ms)).chain([f64::INFINITY]);
                let buckets: Vec<(f64, u64)> = bounds.zip(latency.buckets).collect();
                metric.encode_histogram::<NoLabelSet>(seconds(latency.sum_ms), latency.count(), &buckets, None)
            },
        )?;
        page.counters(
            "tokens_input",
            "Tokens that models read",
            None,
            self.of_tenants(|figures| figures.input_tokens),
        )?;
        page.counters(
            "tokens_output",
            "Tokens that models wrote",
            None,
            self.of_tenants(|figures| figures.output_tokens),
        )?;
        let errors = self.of_tenants(|figures| figures.model_errors);
        page.counters("model_errors", "Attempts at an answer that a model failed", None, errors)?;
        let costs = self.tenants.iter().flat_map(|(tenant, figures)| {
            let cost = |(currency, amount): (&crate::usage::Currency, &Amount)| {
                (vec![("tenant", tenant.clone()), ("currency", currency.to_string())], units(*amount))
            };
            figures.costs.iter().map(cost).collect::<Vec<_>>()
        });
        page.counters("cost", "What the tokens cost, by the prices in the configuration", None, costs.collect())
    }

    fn queues(&self, page: &mut Page<'_>) -> fmt::Result {
        let counts = &self.counts;
        page.gauge("conversations_active", "Conversations that live", None, counts.sessions)?;
        page.gauge("conversations_archived", "Conversations that are archived", None, counts.archived)?;
        let for_worker = counts.waiting.saturating_sub(counts.for_people);
        page.gauge("conversations_taken", "Conversations that people answer", None, counts.taken)?;
        page.gauge("messages_waiting", "Messages that wait for a turn", None, for_worker)?;
        page.gauge("messages_for_people", "Messages that wait for these people", None, counts.for_people)?;
        page.gauge("deliveries_waiting", "Replies that are not delivered yet", None, counts.undelivered)?;
        page.gauge("parked", "Messages and replies that were set aside", None, counts.parked)?;
        page.gauge("unresolved", "Messages that belong to no conversation", None, self.n_unresolved)
    }

    fn of_channels<V>(&self, value: impl Fn(&ChannelStatus) -> Option<V>) -> Series<V> {
        let series = self.channels.iter().take(MAX_NAMES).filter_map(|channel| {
            let labels = vec![
                ("channel", channel.id.clone()),
                ("type", channel.channel.clone()),
                ("tenant", channel.tenant.clone().unwrap_or_default()),
            ];
            Some((labels, value(channel)?))
        });
        series.collect()
    }

    fn channels(&self, page: &mut Page<'_>) -> fmt::Result {
        let at = |at: Option<Timestamp>| at.map(|at| seconds(at.0));
        let last_in = self.of_channels(|channel| at(channel.last_in));
        let unit = || Some(Unit::Seconds);
        page.gauges("channel_last_in_timestamp", "When a message last came in, since 1970", unit(), last_in)?;
        let last_out = self.of_channels(|channel| at(channel.last_out));
        page.gauges("channel_last_out_timestamp", "When a reply last went through, since 1970", unit(), last_out)?;
        let up = self.of_channels(|channel| Some(u64::from(channel.problem.is_none())));
        page.gauges("channel_up", "1 while nothing is known to be wrong with the channel", None, up)?;
        let refused = self.of_channels(|channel| Some(channel.n_refused));
        page.counters("channel_refused", "Messages that the policy kept out", None, refused)?;
        let limited = self.of_channels(|channel| Some(channel.n_limited));
        page.counters("channel_limited", "Messages over the limit", None, limited)
    }
}

/// In units of its currency.
#[expect(clippy::cast_precision_loss, reason = "a billionth more or less")]
fn units(amount: Amount) -> f64 {
    amount.0 as f64 / 1e12
}

impl Whole {
    fn encode(&self, page: &mut Page<'_>) -> fmt::Result {
        let of_models = |value: fn(&Figures) -> u64| {
            let series = self.models.iter().map(|(name, figures)| (vec![("provider", name.clone())], value(figures)));
            series.collect::<Series<u64>>()
        };
        page.counters(
            "provider_errors",
            "Attempts that a provider failed",
            None,
            of_models(|figures| figures.model_errors),
        )?;
        let read = of_models(|figures| figures.input_tokens);
        page.counters("provider_tokens_input", "Tokens that a provider's models read", None, read)?;
        let written = of_models(|figures| figures.output_tokens);
        page.counters("provider_tokens_output", "Tokens that a provider's models wrote", None, written)?;
        let refusals = self.refusals.iter().map(|(status, n)| (vec![("status", status.to_string())], *n));
        page.counters("http_refusals", "Requests that were answered with an error", None, refusals.collect())?;
        page.gauge("lanes_busy", "Conversations with something to do", None, self.n_lanes)?;
        page.gauge("store", "Size of the store's file", Some(Unit::Bytes), self.store_bytes)?;
        page.gauge("journal", "Size of the store's journal", Some(Unit::Bytes), self.journal_bytes)?;
        if let Some((free, total)) = self.disk {
            page.gauge("disk_free", "Room where everything is kept", Some(Unit::Bytes), free)?;
            page.gauge("disk_size", "All room where everything is kept", Some(Unit::Bytes), total)?;
        }
        if let Some(memory) = self.memory_bytes {
            page.gauge("memory", "Memory that the program holds", Some(Unit::Bytes), memory)?;
        }
        if let Some(cpu) = self.cpu_seconds {
            let series = vec![(Vec::new(), cpu)];
            page.counters("cpu", "Time of processors that the program has used", Some(Unit::Seconds), series)?;
        }
        page.gauge("uptime", "Time since the start", Some(Unit::Seconds), self.uptime_seconds)?;
        if let Some(age) = self.backup_age_seconds {
            page.gauge("backup_age", "Time since the last good backup", Some(Unit::Seconds), age)?;
        }
        page.gauge("safe_mode", "1 while only status and reload work", None, u64::from(self.is_safe_mode))?;
        page.gauge("warnings", "Things that the operator should do something about", None, self.n_warnings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn beyond_so_many_tenants_the_smallest_share_a_series_and_nothing_is_lost() {
        let figures = |messages| Figures { messages, ..Figures::default() };
        let tenants: Vec<_> = (0..MAX_NAMES as u64 + 3).map(|n| (format!("t{n}"), figures(n + 1))).collect();
        let sum = |tenants: &[(String, Figures)]| tenants.iter().map(|(_, figures)| figures.messages).sum::<u64>();
        let all = sum(&tenants);
        let bounded = bounded(tenants);
        assert_eq!((bounded.len(), sum(&bounded)), (MAX_NAMES + 1, all));
        assert_eq!(bounded.last().map(|(name, figures)| (&**name, figures.messages)), Some((OTHERS, 1 + 2 + 3)));
        assert!(TenantId::new(OTHERS).is_err());
    }
}
