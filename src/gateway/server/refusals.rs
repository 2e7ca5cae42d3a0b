//! Refused hook requests in the log: anybody may send them, and nobody may fill it with them.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use axum::http::StatusCode;
use tokio::time::Instant;

use crate::id::EntryId;

/// How often an entry may be in the log.
const EVERY: Duration = Duration::from_secs(60);

/// When each entry was last in the log, and how many refusals there were since. Only entries that exist.
#[derive(Debug, Default)]
pub(super) struct Refusals(Mutex<HashMap<EntryId, (Instant, u64)>>);

impl Refusals {
    /// Logs a refusal, or counts it.
    pub(super) fn note(&self, entry: &EntryId, status: StatusCode) {
        let status = status.as_u16();
        match self.count(entry) {
            Some(n_before) => {
                tracing::warn!(channel.name = %entry, status, n_before, "a hook request was refused");
            }
            None => tracing::debug!(channel.name = %entry, status, "a hook request was refused"),
        }
    }

    /// `Some` when the log should say so, with the number of those that it was not told.
    fn count(&self, entry: &EntryId) -> Option<u64> {
        let mut refusals = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        match refusals.get_mut(entry) {
            Some((logged, n_since)) if now.duration_since(*logged) < EVERY => {
                *n_since += 1;
                None
            }
            known => {
                let n_since = known.map_or(0, |(_, n_since)| *n_since);
                refusals.insert(entry.clone(), (now, 0));
                Some(n_since)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_entry_is_in_the_log_once_a_minute() {
        let (refusals, entry) = (Refusals::default(), |name: &str| EntryId::new(name).unwrap());
        let (a, b) = (entry("a"), entry("b"));
        assert_eq!([&a, &a, &a, &b].map(|entry| refusals.count(entry)), [Some(0), None, None, Some(0)]);
        tokio::time::advance(EVERY).await;
        assert_eq!([&a, &a, &b].map(|entry| refusals.count(entry)), [Some(2), None, Some(0)]);
    }
}
