//! The certificate of an authority, for the domains of the box.
//!
//! Key and chain are one file, as PEM, the key first.

use std::io;
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::Certificate;
use super::accept::config;
use crate::clock::Timestamp;
use crate::document::read_at_most;

/// The name of the file in the home that has key and chain.
pub const FILE: &str = "acme.pem";
/// A key and a long chain.
const MAX_BYTES: usize = 256 * 1024;

/// Key and chain, ready to be shown.
#[derive(Debug)]
pub(super) struct Public {
    pub(super) certificate: Certificate,
    pub(super) config: Arc<ServerConfig>,
}

impl Public {
    /// That of the file. `None`: there is none that can be used.
    pub(super) fn read(file: &Path, provider: &Arc<CryptoProvider>) -> Option<Self> {
        match read_at_most(file, MAX_BYTES) {
            Ok(pem) => Self::parse(&pem, provider),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(error) => {
                tracing::warn!(%error, "{} cannot be read; another certificate is asked for", file.display());
                None
            }
        }
    }

    pub(super) fn parse(pem: &[u8], provider: &Arc<CryptoProvider>) -> Option<Self> {
        let key = PrivateKeyDer::from_pem_slice(pem).ok()?;
        let chain: Vec<_> = CertificateDer::pem_slice_iter(pem).collect::<Result<_, _>>().ok()?;
        let certificate = Certificate::read(chain.first()?)?;
        let config = config(chain, key, provider).ok()?;
        Some(Self { certificate, config })
    }

    /// Is it for all of these?
    pub(super) fn is_for(&self, domains: &[String]) -> bool {
        domains.iter().all(|domain| self.certificate.names.contains(domain))
    }

    /// Is it to be shown to who asks for this name?
    pub(super) fn is_named(&self, name: &str) -> bool {
        self.certificate.names.iter().any(|own| own.eq_ignore_ascii_case(name))
    }
}

/// When the next one is asked for: a third of its life before it ends, and up to a twelfth earlier, so that not all boxes
/// come at once. The same at every start.
pub(super) fn renewed_at(certificate: &Certificate) -> Timestamp {
    let life_ms = certificate.ends.since_ms(certificate.begins);
    let digits = certificate.fingerprint.split(':').take(2).collect::<String>();
    let part = u64::from_str_radix(&digits, 16).unwrap_or(0);
    let earlier_ms = (life_ms / 12).saturating_mul(part) / 0x1_0000;
    Timestamp(certificate.ends.0.saturating_sub(life_ms / 3).saturating_sub(earlier_ms))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;

    use super::*;

    #[test]
    fn the_first_of_the_chain_counts_and_must_fit_the_key() {
        let provider = Arc::new(default_provider());
        let make = |name: &str| {
            let key = rcgen::KeyPair::generate().unwrap();
            let certificate = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
            (key.serialize_pem(), certificate.pem())
        };
        let ((key, leaf), (_, above)) = (make("desk.example.com"), make("authority"));
        let public = Public::parse(format!("{key}{leaf}{above}").as_bytes(), &provider).unwrap();
        assert_eq!(*public.certificate.names, ["desk.example.com"]);
        assert!(public.is_named("Desk.example.com") && !public.is_named("authority"));
        let domains = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
        assert!(public.is_for(&domains(&["desk.example.com"])));
        assert!(!public.is_for(&domains(&["desk.example.com", "www.example.com"])));
        for bad in [format!("{key}{above}{leaf}"), leaf, key, String::new()] {
            assert!(Public::parse(bad.as_bytes(), &provider).is_none(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn a_certificate_is_renewed_in_the_last_part_of_its_life(begins: u32, life: u32, random: [u8; 32]) {
            let begins = Timestamp(u64::from(begins) * 1000);
            let ends = begins.plus_ms(u64::from(life));
            let fingerprint = random.iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":");
            let at = renewed_at(&Certificate { fingerprint, names: Vec::new().into(), begins, ends });
            let left = ends.since_ms(at);
            let life = u64::from(life);
            prop_assert!(at >= begins && left >= life / 3 && left <= life / 3 + life / 12, "{left} of {life}");
        }

        #[test]
        fn whatever_the_file_holds_is_read_or_refused(bytes: Vec<u8>) {
            prop_assert!(Public::parse(&bytes, &Arc::new(default_provider())).is_none());
        }
    }
}
