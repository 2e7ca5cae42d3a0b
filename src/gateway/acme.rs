//! A certificate for the domain of the box is asked for when one is due, and again after a while when it was refused.

use std::sync::PoisonError;
use std::time::Duration;

use super::Gateway;
use crate::clock::Timestamp;
use crate::tls::{AcmeConfig, Certificate, Proof, obtain};

/// How often it is looked at whether one is due.
const LOOK: Duration = Duration::from_secs(60);
const SHORTEST_WAIT: Duration = Duration::from_secs(1);
/// All of it must be over by then.
const PATIENCE: Duration = Duration::from_secs(10 * 60);
/// Wait after the first refusal; each one doubles it. Authorities allow some tries an hour.
const FIRST_WAIT_MS: u64 = 15 * 60 * 1000;
const LONGEST_WAIT_MS: u64 = 12 * 60 * 60 * 1000;

/// How it is with the certificate of an authority.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AcmeStatus {
    /// What it is asked for.
    pub domains: Vec<String>,
    /// The one that is shown.
    pub certificate: Option<Certificate>,
    /// Why the last try came to nothing, and what to do.
    pub problem: Option<String>,
}

/// The last try, if it came to nothing.
#[derive(Debug, Clone)]
pub(super) struct Refusal {
    why: String,
    again: Timestamp,
}

impl Gateway {
    /// How it is with the certificate for the domains. `None`: none is asked for.
    pub(super) fn acme_status(&self) -> Option<AcmeStatus> {
        let acme = self.0.live.load().settings.gateway.acme.clone()?;
        let certificate = self.0.tls.public();
        let refusal = self.0.acme_refusal.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let problem = refusal.map(|refusal| sentence(&acme, certificate.as_ref(), &refusal));
        Some(AcmeStatus { domains: acme.domains, certificate, problem })
    }

    /// Uses what was kept for the domains of the configuration, and asks for what is missing at once.
    pub(super) fn renew_acme(&self) {
        self.0.tls.use_kept(self.0.live.load().settings.gateway.acme.as_ref());
        *self.0.acme_refusal.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.0.acme_now.notify_one();
    }

    pub(super) async fn keep_certified(self) {
        let (mut n_refused, mut proof) = (0, Proof::Handshake);
        loop {
            let refusal = self.0.acme_refusal.lock().unwrap_or_else(PoisonError::into_inner).clone();
            // A reload begins anew.
            if refusal.is_none() {
                n_refused = 0;
            }
            let (due, now) = (refusal.map_or_else(|| self.0.tls.renewed_at(), |refusal| refusal.again), self.now());
            let acme = self.0.live.load().settings.gateway.acme.clone();
            // Clocks are set, so no wait is longer than that.
            let wait =
                acme.as_ref().map_or(LOOK, |_| Duration::from_millis(due.since_ms(now)).clamp(SHORTEST_WAIT, LOOK));
            let Some(acme) = acme.filter(|_| due <= now) else {
                tokio::select! {
                    () = self.0.stop.cancelled() => return,
                    () = self.0.acme_now.notified() => {}
                    () = tokio::time::sleep(wait) => {}
                }
                continue;
            };
            let refused = tokio::select! {
                () = self.0.stop.cancelled() => return,
                refused = self.certify(&acme, proof) => refused,
            };
            // Asked for under settings that are not those of now: what came of it is looked at anew.
            if self.0.live.load().settings.gateway.acme.as_ref() != Some(&acme) {
                self.renew_acme();
                continue;
            }
            match &refused {
                Some(why) => {
                    tracing::warn!(why, "no certificate for the domain of this box; it is tried again");
                    (n_refused, proof) = (n_refused + 1, proof.other());
                }
                None => tracing::info!(domains = ?acme.domains, "a certificate for the domain of this box is in use"),
            }
            let again = self.now().plus_ms(wait_ms(n_refused, random()));
            let refusal = refused.map(|why| Refusal { why, again });
            *self.0.acme_refusal.lock().unwrap_or_else(PoisonError::into_inner) = refusal;
        }
    }

    /// Asks once; says why it came to nothing.
    async fn certify(&self, acme: &AcmeConfig, proof: Proof) -> Option<String> {
        match tokio::time::timeout(PATIENCE, obtain(&self.0.tls, acme, proof, &self.0.http)).await {
            Ok(Ok(())) if self.0.tls.renewed_at() <= self.now() => {
                Some("by the clock of this box, the certificate that was sent has ended already".to_owned())
            }
            Ok(Ok(())) => None,
            Ok(Err(error)) => Some(error.to_string()),
            Err(_elapsed) => Some("the certificate authority did not answer in time".to_owned()),
        }
    }
}

/// How long to wait after so many refusals; `random` makes it up to a quarter longer.
fn wait_ms(n_refused: u32, random: u8) -> u64 {
    let doubled = FIRST_WAIT_MS.saturating_mul(1_u64 << n_refused.saturating_sub(1).min(16)).min(LONGEST_WAIT_MS);
    doubled + doubled / 4 * u64::from(random) / 256
}

fn random() -> u8 {
    let mut random = [0];
    match aws_lc_rs::rand::fill(&mut random) {
        Ok(()) => random.into_iter().sum(),
        // Then all boxes wait alike.
        Err(_unspecified) => 0,
    }
}

fn sentence(acme: &AcmeConfig, certificate: Option<&Certificate>, refusal: &Refusal) -> String {
    let (domains, Refusal { why, again }) = (acme.domains.join(", "), refusal);
    let what = match certificate {
        Some(certificate) => {
            format!("the certificate for {domains} ends at {} and was not renewed: {why}", certificate.ends)
        }
        None => format!("there is no certificate for {domains}: {why}"),
    };
    format!(
        "{what}; see that the name leads to this box from the internet, at port 443 or 80; it is tried again at {again}, and at \
         `gateway reload`"
    )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn each_refusal_doubles_the_wait_to_half_a_day() {
        let minutes = |n_refused| wait_ms(n_refused, 0) / 60_000;
        assert_eq!([1, 2, 3, 4, 5, 6, 7, 100].map(minutes), [15, 30, 60, 120, 240, 480, 720, 720]);
    }

    proptest! {
        #[test]
        fn boxes_do_not_all_come_back_at_once(n_refused in 1_u32.., random: u8) {
            let (least, wait) = (wait_ms(n_refused, 0), wait_ms(n_refused, random));
            prop_assert!(wait >= least && wait < least + least / 4);
        }
    }
}
