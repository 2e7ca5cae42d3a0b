//! The certificate of HTTPS is kept fit to be shown.

use std::time::Duration;

use super::Gateway;
use crate::tls::{Certificate, Tls, names};

/// How often it is looked at: a clock that was wrong at the start is set at some time.
const LOOK: Duration = Duration::from_secs(60);

/// What the box is called in the local network.
const NAME: &str = "frontdesk.local";

/// How HTTPS is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpsStatus {
    /// The certificate that the box made for itself. `None`: it could make none.
    pub certificate: Option<Certificate>,
}

impl Gateway {
    /// The certificates that it shows.
    #[must_use]
    pub fn tls(&self) -> &Tls {
        &self.0.tls
    }

    pub(super) fn https_status(&self) -> HttpsStatus {
        HttpsStatus { certificate: self.0.tls.device() }
    }

    /// Makes the certificate anew if it does not hold for what the box is called now.
    pub(super) async fn keep_certificate(&self) {
        let live = self.0.live.load();
        let settings = &live.settings.gateway;
        let (tls, now) = (self.0.tls.clone(), self.now());
        let machine = rustix::system::uname();
        let names = names(machine.nodename().to_str().ok(), &[NAME.to_owned()], &settings.page_hosts, settings.bind);
        if !tls.is_due(&names, now) {
            return;
        }
        // It writes to the disk. One that fails by a bug leaves the certificate from before.
        let kept = tokio::task::spawn_blocking(move || tls.keep(&names, now)).await;
        if let Err(error) = kept {
            tracing::error!(%error, "the certificate of HTTPS was not renewed; please report the log");
        }
    }

    pub(super) async fn renew_certificate(self) {
        loop {
            tokio::select! {
                () = self.0.stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => self.keep_certificate().await,
            }
        }
    }
}
