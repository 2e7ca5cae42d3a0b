//! By which names the gateway is reached: what it is called in the local network, and its certificate of HTTPS.

use std::sync::PoisonError;
use std::time::Duration;

use super::Gateway;
use super::acme::AcmeStatus;
use crate::config::{self, Settings};
use crate::first_boot;
use crate::mdns::{self, Announcer, News, State, Wanted};
use crate::tls::{Certificate, Tls, names};

/// How often it is looked at: a clock that was wrong at the start is set at some time, and who holds a port lets go of it.
const LOOK: Duration = Duration::from_secs(60);
/// How long others may take to be told that the name is free.
const GOODBYE: Duration = Duration::from_millis(300);
/// What browsers of services open.
const PAGE: &str = "/admin/";

/// How HTTPS is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HttpsStatus {
    /// The certificate that the box made for itself. `None`: it could make none.
    pub certificate: Option<Certificate>,
    /// That of an authority, if one is asked for.
    pub acme: Option<AcmeStatus>,
}

/// What was asked of the network, and what became of it.
#[derive(Debug)]
pub(super) struct Announced {
    wanted: Wanted,
    announcer: Result<Announcer, String>,
}

impl Announced {
    fn state(&self) -> State {
        match &self.announcer {
            Ok(announcer) => announcer.state(),
            Err(problem) => State { name: None, problem: Some(problem.clone()) },
        }
    }
}

impl Gateway {
    /// The certificates that it shows.
    #[must_use]
    pub fn tls(&self) -> &Tls {
        &self.0.tls
    }

    /// What it is called in the local network, and what is wrong with that.
    #[must_use]
    pub fn local_name(&self) -> State {
        let announced = self.0.announced.lock().unwrap_or_else(PoisonError::into_inner);
        announced.as_ref().map(Announced::state).unwrap_or_default()
    }

    pub(super) fn https_status(&self) -> HttpsStatus {
        HttpsStatus { certificate: self.0.tls.device(), acme: self.acme_status() }
    }

    /// What its settings call it; while they say nothing, what it was told at its first start.
    fn called(&self, settings: &config::Gateway) -> String {
        let usual = Settings::embedded().gateway.name;
        let is_label = |name: &String| {
            let is_inside = |c: char| c.is_ascii_alphanumeric() || c == '-';
            (1..=63).contains(&name.len())
                && name.chars().all(is_inside)
                && !name.starts_with('-')
                && !name.ends_with('-')
        };
        let told = || self.0.variables.get(first_boot::NAME).filter(is_label);
        if settings.name == usual { told().unwrap_or(usual) } else { settings.name.clone() }
    }

    /// Makes the certificate anew if it does not hold for what the box is called now.
    pub(super) async fn keep_certificate(&self) {
        let live = self.0.live.load();
        let settings = &live.settings.gateway;
        let (tls, now) = (self.0.tls.clone(), self.now());
        let machine = rustix::system::uname();
        let called: Vec<String> =
            [Some(format!("{}.local", self.called(settings))), self.local_name().name].into_iter().flatten().collect();
        let names = names(machine.nodename().to_str().ok(), &called, &settings.page_hosts, settings.bind);
        if !tls.is_due(&names, now) {
            return;
        }
        // It writes to the disk. One that fails by a bug leaves the certificate from before.
        let kept = tokio::task::spawn_blocking(move || tls.keep(&names, now)).await;
        if let Err(error) = kept {
            tracing::error!(%error, "the certificate of HTTPS was not renewed; please report the log");
        }
    }

    /// Announces the name, if it is not announced already and others can reach the gateway.
    pub(super) fn announce(&self) {
        let live = self.0.live.load();
        // Both protocols are spoken at every port; people know these two.
        let https = self.adopted().iter().any(|address| address.port() == 443).then_some(443);
        let wanted = self.reachable().map(|address| Wanted {
            name: self.called(&live.settings.gateway),
            address,
            https_port: https.unwrap_or(address.port()),
            page: PAGE,
        });
        let mut announced = self.0.announced.lock().unwrap_or_else(PoisonError::into_inner);
        let is_so = |announced: &Announced| announced.announcer.is_ok() && Some(&announced.wanted) == wanted.as_ref();
        if announced.as_ref().map_or(wanted.is_none(), is_so) {
            return;
        }
        let problem = announced.as_ref().and_then(|announced| announced.state().problem);
        // The old name is given up before the new one is asked for: they may be the same.
        *announced = None;
        *announced = wanted.map(|wanted| {
            let announcer = mdns::announce(&wanted).map(|(announcer, news)| {
                self.spawn(self.clone().follow(news));
                announcer
            });
            if let Err(new) = &announcer
                && problem.as_ref() != Some(new)
            {
                tracing::warn!("{new}");
            }
            Announced { wanted, announcer }
        });
    }

    /// Hears when another machine has the name already.
    async fn follow(self, news: News) {
        loop {
            let state = tokio::select! {
                () = self.0.stop.cancelled() => return,
                state = news.next() => state,
            };
            let Some(state) = state else { return };
            if let Some(problem) = &state.problem {
                tracing::warn!("{problem}");
            }
            self.keep_certificate().await;
        }
    }

    /// Keeps names and certificate as they should be.
    pub(super) async fn keep_reachable(self) {
        loop {
            tokio::select! {
                () = self.0.stop.cancelled() => return,
                () = tokio::time::sleep(LOOK) => {}
            }
            self.announce();
            self.keep_certificate().await;
        }
    }

    /// Gives the name up, so that nobody looks for the box where it is not any more.
    pub(super) async fn say_goodbye(&self) {
        let announced = self.0.announced.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(Announced { announcer: Ok(announcer), .. }) = announced {
            drop(tokio::time::timeout(GOODBYE, announcer.end()).await);
        }
    }
}
