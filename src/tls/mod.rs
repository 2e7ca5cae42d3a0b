//! HTTPS: which certificate is shown to whom, and where it comes from.
//!
//! The box makes a certificate of its own (`device`), signed by nobody else: whoever meets it the first time compares its
//! fingerprint with the one that the console shows. For a domain it may ask an authority (`acme`). Nothing here listens, and
//! nothing repeats by itself: the gateway's server asks [`Tls::accept`] for every connection that begins with a handshake, and
//! its tasks ask what is due.
//!
//! What always holds: the key of the device certificate stays the same as long as its file does, and leaves it for nothing
//! but handshakes; a file that cannot be used is replaced and said, and never keeps the gateway from starting.

mod accept;
mod acme;
mod certificate;
mod client;
mod config;
mod device;
mod public;

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwapOption;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::{self, ServerConfig};

use crate::clock::Timestamp;

pub use accept::TlsStream;
pub use acme::{ACCOUNT_FILE, AcmeError, Proof, obtain};
pub use certificate::Certificate;
pub use config::AcmeConfig;
pub use public::FILE as ACME_FILE;

use device::Device;
use public::Public;

/// The name of the file in the home that has key and certificate.
pub const FILE: &str = "tls.pem";

/// Why there is no certificate.
#[derive(Debug, thiserror::Error)]
enum Error {
    /// It could not be made.
    #[error("the certificate of HTTPS cannot be made: {0}")]
    Make(#[from] rcgen::Error),
    /// It cannot be used.
    #[error("the certificate of HTTPS cannot be used: {0}")]
    Use(#[from] rustls::Error),
    /// It says something that it cannot say.
    #[error("the certificate of HTTPS cannot be read")]
    Read,
    /// The clock says something that no calendar has.
    #[error("the certificate of HTTPS cannot be made: the clock is wrong")]
    Clock,
    /// The system gives no random numbers.
    #[error("the certificate of HTTPS cannot be made: the system gives no random numbers")]
    Random,
}

/// The certificates of a gateway.
#[derive(Debug)]
pub struct Tls {
    home: PathBuf,
    provider: Arc<CryptoProvider>,
    device: ArcSwapOption<Device>,
    /// For the domains.
    public: ArcSwapOption<Public>,
    /// What an authority finds that looks for a domain: in a handshake, by domain.
    handshakes: Mutex<HashMap<String, Arc<ServerConfig>>>,
    /// The same as a page, by token.
    pages: Mutex<HashMap<String, String>>,
    /// What is wrong with the device certificate or its file. Held while it is renewed.
    problem: Mutex<Option<String>>,
}

impl Tls {
    /// Those of this home. There is none before the first [`Self::keep`].
    #[must_use]
    pub fn new(home: &Path) -> Self {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        Self {
            home: home.to_owned(),
            provider,
            device: ArcSwapOption::empty(),
            public: ArcSwapOption::empty(),
            handshakes: Mutex::default(),
            pages: Mutex::default(),
            problem: Mutex::default(),
        }
    }

    /// Must the device certificate be made anew, to hold now and for these names?
    #[must_use]
    pub fn is_due(&self, names: &[String], now: Timestamp) -> bool {
        self.device.load().as_ref().is_none_or(|device| device.is_due(names, now))
    }

    /// Sees that there is a device certificate that holds now and for these names; what must be made anew keeps its key.
    /// Writes to the disk.
    pub fn keep(&self, names: &[String], now: Timestamp) {
        let mut problem = self.problem.lock().unwrap_or_else(PoisonError::into_inner);
        let held = self.device.load_full();
        let (device, trouble) = device::keep(&self.home.join(FILE), held.as_deref(), names, now, &self.provider);
        if let Some(trouble) = &trouble {
            tracing::warn!("{trouble}");
        }
        *problem = trouble;
        if let Some(device) = device {
            self.device.store(Some(Arc::new(device)));
        }
    }

    /// The device certificate.
    #[must_use]
    pub fn device(&self) -> Option<Certificate> {
        self.device.load().as_ref().map(|device| device.certificate.clone())
    }

    /// Shows the certificate that was kept for these domains from now on. `None`: none is shown any more.
    pub fn use_kept(&self, acme: Option<&AcmeConfig>) {
        let kept = acme.and_then(|acme| {
            let file = self.home.join(public::FILE);
            let is_from_there = acme::is_from(&self.home.join(ACCOUNT_FILE), &acme.directory);
            Public::read(&file, &self.provider).filter(|public| is_from_there && public.is_for(&acme.domains))
        });
        self.public.store(kept.map(Arc::new));
    }

    /// The certificate for the domains.
    #[must_use]
    pub fn public(&self) -> Option<Certificate> {
        self.public.load().as_ref().map(|public| public.certificate.clone())
    }

    /// When one must be asked for. At once, if there is none.
    #[must_use]
    pub fn renewed_at(&self) -> Timestamp {
        self.public.load().as_ref().map_or(Timestamp(0), |public| public::renewed_at(&public.certificate))
    }

    /// What the authority finds at `/.well-known/acme-challenge/<token>`.
    #[must_use]
    pub fn page(&self, token: &str) -> Option<String> {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).get(token).cloned()
    }

    fn answer_page(&self, token: &str, text: &str) {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).insert(token.to_owned(), text.to_owned());
    }

    fn forget_page(&self, token: &str) {
        self.pages.lock().unwrap_or_else(PoisonError::into_inner).remove(token);
    }

    fn handshake_of(&self, domain: &str) -> Option<Arc<ServerConfig>> {
        let handshakes = self.handshakes.lock().unwrap_or_else(PoisonError::into_inner);
        handshakes.get(&domain.to_ascii_lowercase()).cloned()
    }

    fn answer_handshake(&self, domain: &str, config: Arc<ServerConfig>) {
        self.handshakes.lock().unwrap_or_else(PoisonError::into_inner).insert(domain.to_ascii_lowercase(), config);
    }

    fn forget_handshake(&self, domain: &str) {
        self.handshakes.lock().unwrap_or_else(PoisonError::into_inner).remove(&domain.to_ascii_lowercase());
    }

    /// What is wrong, and what to do about it.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.problem.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// What the device certificate is for: names that every box has, that of the machine, those that the operator gave it, and
/// the address that it listens on if it is one.
#[must_use]
pub fn names(machine: Option<&str>, announced: &[String], page_hosts: &[String], bind: IpAddr) -> Vec<String> {
    let machine = machine.map(str::to_ascii_lowercase).filter(|machine| is_label(machine) && machine != "localhost");
    let fixed = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let bind = Some(bind).filter(|bind| !bind.is_unspecified() && !bind.is_loopback()).map(|bind| bind.to_string());
    let machine = machine.map(|machine| format!("{machine}.local"));
    let page_hosts = page_hosts.iter().filter(|host| host.split('.').all(is_label));
    let mut names = Vec::new();
    for name in fixed.into_iter().chain(announced.iter().cloned()).chain(machine).chain(page_hosts.cloned()).chain(bind)
    {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// Is it a part of a host name (RFC 1123)?
fn is_label(text: &str) -> bool {
    let is_inside = |c: char| c.is_ascii_alphanumeric() || c == '-';
    (1..=63).contains(&text.len()) && text.chars().all(is_inside) && !text.starts_with('-') && !text.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_certificate_names_what_the_box_is_called() {
        let check = |machine: Option<&str>, hosts: &[&str], bind: &str, expected: &[&str]| {
            let hosts: Vec<String> = hosts.iter().map(|host| (*host).to_owned()).collect();
            let announced = ["frontdesk.local".to_owned()];
            let names = names(machine, &announced, &hosts, bind.parse().unwrap());
            let always = ["localhost", "127.0.0.1", "::1", "frontdesk.local"];
            assert_eq!(names, [&always[..], expected].concat());
        };
        check(None, &[], "0.0.0.0", &[]);
        check(Some("Desk-7"), &["desk.example.com"], "192.0.2.7", &["desk-7.local", "desk.example.com", "192.0.2.7"]);
        check(Some("frontdesk"), &["localhost"], "127.0.0.1", &[]);
        for odd in ["", "localhost", "my_machine", "a b", "-a", "münchen"] {
            check(Some(odd), &["a..b", "under_score"], "::", &[]);
        }
    }
}
