//! Counts what conversations are and what their answers cost; hands it to the store now and then.
//!
//! Nothing is written for a message: what was counted since the last time waits in memory, and a power cut may cost a few
//! minutes of figures. What `/api/v1/metrics` shows is counted since the start and never kept.

use std::collections::BTreeMap;
use std::collections::btree_map;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;

use super::live::Model;
use super::{Gateway, machine};
use crate::clock::Timestamp;
use crate::id::TenantId;
use crate::provider::Usage as Spent;
use crate::store::{self, Counted};
use crate::usage::{Figures, Hour};

/// How often it is handed to the store.
const KEEP_EVERY: Duration = Duration::from_secs(5 * 60);
/// Hours that figures are kept for.
pub const KEPT_HOURS: u64 = 400 * 24;
/// How long the end of the process waits for the store to take them.
const LAST_WAIT: Duration = Duration::from_secs(2);

/// What is counted.
#[derive(Debug, Default)]
pub(super) struct Usage {
    counts: Mutex<Counts>,
    refusals: Refusals,
}

#[derive(Debug, Default)]
struct Counts {
    /// Not kept yet.
    waiting: BTreeMap<(Option<TenantId>, Hour), Figures>,
    /// Since the start.
    tenants: BTreeMap<Option<TenantId>, Figures>,
    /// The same by provider: tokens and errors alone.
    models: BTreeMap<Arc<str>, Figures>,
}

/// Answers of the HTTP server that were refusals, by status, from 400 on.
#[derive(Debug)]
struct Refusals(Box<[AtomicU64; 200]>);

impl Default for Refusals {
    fn default() -> Self {
        Self(Box::new([const { AtomicU64::new(0) }; 200]))
    }
}

impl Usage {
    /// A message was taken.
    pub(super) fn message(&self, tenant: Option<&TenantId>, at: Timestamp) {
        let one = Figures { messages: 1, ..Figures::default() };
        self.lock().add(tenant, at, &one);
    }

    /// An answer was given, so long after the first message that it answers.
    pub(super) fn answer(&self, tenant: Option<&TenantId>, at: Timestamp, after_ms: u64) {
        let mut one = Figures { answers: 1, ..Figures::default() };
        one.latency.note(after_ms);
        self.lock().add(tenant, at, &one);
    }

    /// A model was asked.
    pub(super) fn asked(&self, tenant: Option<&TenantId>, at: Timestamp, model: &Model, spent: Spent, failed: bool) {
        let Spent { input_tokens, output_tokens, .. } = spent;
        let mut one = Figures { input_tokens, output_tokens, model_errors: u64::from(failed), ..Figures::default() };
        let mut counts = self.lock();
        // A provider that was never heard of costs its name, which the configuration has.
        counts.models.entry(model.provider.clone()).or_default().add(&one);
        if let Some(price) = model.price.filter(|_| input_tokens + output_tokens > 0) {
            one.pay(price.currency, price.of(input_tokens, output_tokens));
        }
        if !one.is_empty() {
            counts.add(tenant, at, &one);
        }
    }

    /// The HTTP server answered.
    pub(super) fn answered(&self, status: StatusCode) {
        let place = usize::from(status.as_u16()).checked_sub(400);
        if let Some(count) = place.and_then(|place| self.refusals.0.get(place)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Forgets what was counted of a tenant.
    pub(super) fn forget(&self, tenant: Option<&TenantId>) {
        let mut counts = self.lock();
        counts.waiting.retain(|(of, _), _| of.as_ref() != tenant);
        counts.tenants.retain(|of, _| of.as_ref() != tenant);
    }

    fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Counts {
    fn add(&mut self, tenant: Option<&TenantId>, at: Timestamp, more: &Figures) {
        self.waiting.entry((tenant.cloned(), Hour::of(at))).or_default().add(more);
        self.tenants.entry(tenant.cloned()).or_default().add(more);
    }
}

/// What was counted since the start.
#[derive(Debug, Clone, Default)]
pub struct Totals {
    /// Of each tenant.
    pub tenants: BTreeMap<Option<TenantId>, Figures>,
    /// Of each provider: tokens and errors alone.
    pub models: BTreeMap<Arc<str>, Figures>,
    /// Refusals of the HTTP server, by status.
    pub refusals: BTreeMap<u16, u64>,
}

impl Gateway {
    /// What was counted since the start.
    #[must_use]
    pub fn totals(&self) -> Totals {
        let usage = &self.0.usage;
        let refusals = (400..).zip(usage.refusals.0.iter());
        let refusals = refusals.map(|(status, n)| (status, n.load(Ordering::Relaxed))).filter(|(_, n)| *n > 0);
        let counts = usage.lock();
        Totals { tenants: counts.tenants.clone(), models: counts.models.clone(), refusals: refusals.collect() }
    }

    /// What was counted of a tenant in each hour from this one on: what is kept, and what is not yet.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn usage(&self, tenant: Option<&TenantId>, from: Hour) -> Result<BTreeMap<Hour, Figures>, store::Error> {
        let mut found = self.0.store.tenant(tenant).usage(from)?;
        let counts = self.0.usage.lock();
        let hours = (tenant.cloned(), from)..=(tenant.cloned(), Hour(u64::MAX));
        for ((_, hour), figures) in counts.waiting.range(hours) {
            found.entry(*hour).or_default().add(figures);
        }
        Ok(found)
    }

    /// The tenants of whom something was counted.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn tenants_with_usage(&self) -> Result<Vec<Option<TenantId>>, store::Error> {
        let mut found = self.0.store.tenants_with_usage()?;
        found.extend(self.0.usage.lock().waiting.keys().map(|(tenant, _)| tenant.clone()));
        found.sort_unstable();
        found.dedup();
        Ok(found)
    }

    /// Hands what was counted to the store, now and then.
    pub(super) async fn keep_usage(self) {
        let mut often = tokio::time::interval(KEEP_EVERY);
        let mut pruned = None;
        loop {
            tokio::select! {
                () = self.0.stop.cancelled() => return,
                _ = often.tick() => {}
            }
            self.keep_counted().await;
            let hour = Hour::of(self.now());
            // Once an hour is often enough. A clock that is behind forgets nothing, one that jumped ahead nothing for a while.
            if pruned != Some(hour) {
                pruned = Some(hour);
                let (before, spare) = self.older_than(KEPT_HOURS * 60 * 60 * 1000);
                let before = spare.map_or(before, |(first, _)| before.min(first));
                while let Ok(true) = self.0.store.prune_usage(Hour::of(before)).await {}
            }
        }
    }

    /// Hands what was counted to the store; what it does not take waits on.
    async fn keep_counted(&self) {
        let memory = machine::memory().map(|bytes| (Hour::of(self.now()), bytes));
        let figures = std::mem::take(&mut self.0.usage.lock().waiting);
        if let Err(error) = self.0.store.count(Counted { figures: figures.clone(), memory }).await {
            tracing::warn!(%error, "what was counted could not be kept; it is tried again");
            let mut counts = self.0.usage.lock();
            for (of, figures) in figures {
                match counts.waiting.entry(of) {
                    btree_map::Entry::Occupied(mut waiting) => waiting.get_mut().add(&figures),
                    btree_map::Entry::Vacant(place) => drop(place.insert(figures)),
                }
            }
        }
    }

    /// The same at the end.
    pub(super) async fn keep_last_counted(&self) {
        if self.0.store.why_unusable().is_none() {
            drop(tokio::time::timeout(LAST_WAIT, self.keep_counted()).await);
        }
    }
}
