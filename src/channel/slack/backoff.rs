//! How long to wait before Slack is tried again.

use std::time::Duration;

use aws_lc_rs::rand;

use super::api::CallError;

/// Between attempts with a token that Slack does not take: only the operator can change that.
pub(super) const AUTH_RETRY: Duration = Duration::from_secs(5 * 60);
const MIN_BACKOFF: Duration = Duration::from_secs(1);
const MAX_BACKOFF: Duration = Duration::from_secs(60);
/// A connection that lived this long was a good one.
const GOOD_LIFE: Duration = Duration::from_secs(10);

/// Doubles from a second to a minute. The upper half of each wait is random, so that many devices that
/// lost Slack together do not come back together.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    n_failures: u32,
}

impl Backoff {
    pub(super) fn after_failure(&mut self) -> Duration {
        let whole = MIN_BACKOFF.saturating_mul(1 << self.n_failures.min(6)).min(MAX_BACKOFF);
        self.n_failures = self.n_failures.saturating_add(1);
        whole.div_f64(2.0).mul_f64(1.0 + random_fraction())
    }

    /// Slack announced the end: no time to lose, unless it does so again and again.
    pub(super) fn after_notice(&mut self) -> Duration {
        if self.n_failures > 0 {
            return self.after_failure();
        }
        self.n_failures = 1;
        Duration::ZERO
    }

    pub(super) fn after_error(&mut self, error: &CallError) -> Duration {
        match error {
            CallError::Throttled { retry_after: Some(wait) } => (*wait).max(MIN_BACKOFF),
            refused if refused.is_auth() => AUTH_RETRY,
            CallError::Unreachable(_)
            | CallError::Broken(_)
            | CallError::Throttled { .. }
            | CallError::Status { .. }
            | CallError::Refused(_)
            | CallError::Unreadable => self.after_failure(),
        }
    }

    pub(super) fn note_life(&mut self, life: Duration) {
        if life >= GOOD_LIFE {
            self.n_failures = 0;
        }
    }
}

/// From 0 to 1.
fn random_fraction() -> f64 {
    let mut bytes = [0; 4];
    match rand::fill(&mut bytes) {
        Ok(()) => f64::from(u32::from_le_bytes(bytes)) / f64::from(u32::MAX),
        Err(_) => 0.5,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_from_a_second_to_a_minute() {
        let mut backoff = Backoff::default();
        for whole in [1, 2, 4, 8, 16, 32, 60, 60] {
            let wait = backoff.after_failure();
            assert!(
                wait >= Duration::from_secs(whole) / 2 && wait <= Duration::from_secs(whole),
                "{wait:?} of {whole} s"
            );
        }
        backoff.note_life(GOOD_LIFE);
        assert!(backoff.after_failure() <= MIN_BACKOFF);
    }
}
