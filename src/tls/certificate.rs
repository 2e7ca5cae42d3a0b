//! What a certificate says.

use std::net::IpAddr;
use std::sync::Arc;

use aws_lc_rs::digest;
use x509_cert::der::Decode as _;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

use crate::clock::Timestamp;

/// It is renewed so long before it ends.
pub(super) const RENEWED_BEFORE_MS: u64 = 30 * 24 * 60 * 60 * 1000;

/// Names and dates of a certificate, and how browsers show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The SHA-256 of all of it, as browsers show it: 32 bytes in upper case, with colons.
    pub fingerprint: String,
    /// Host names and addresses that it is for.
    pub names: Arc<[String]>,
    /// From when it holds.
    pub begins: Timestamp,
    /// Until when.
    pub ends: Timestamp,
}

impl Certificate {
    /// Reads one. `None`: it is none, or says none of this.
    #[must_use]
    pub fn read(der: &[u8]) -> Option<Self> {
        let certificate = x509_cert::Certificate::from_der(der).ok()?;
        let certificate = certificate.tbs_certificate();
        let (_, names) = certificate.get_extension::<SubjectAltName>().ok()??;
        let names = names.0.iter().filter_map(name).collect();
        let time =
            |time: x509_cert::time::Time| Some(Timestamp(u64::try_from(time.to_unix_duration().as_millis()).ok()?));
        let validity = certificate.validity();
        let (begins, ends) = (time(validity.not_before)?, time(validity.not_after)?);
        Some(Self { fingerprint: fingerprint(der), names, begins, ends })
    }

    /// Does it not hold now, or not for long, or not for one of these?
    #[must_use]
    pub fn is_due(&self, names: &[String], now: Timestamp) -> bool {
        now < self.begins
            || now.plus_ms(RENEWED_BEFORE_MS) > self.ends
            || names.iter().any(|name| !self.names.contains(name))
    }
}

fn name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(name.as_str().to_owned()),
        GeneralName::IpAddress(bytes) => {
            let bytes = bytes.as_bytes();
            let v4 = <[u8; 4]>::try_from(bytes).ok().map(IpAddr::from);
            let address = v4.or_else(|| <[u8; 16]>::try_from(bytes).ok().map(IpAddr::from));
            address.map(|address| address.to_string())
        }
        _ => None,
    }
}

fn fingerprint(der: &[u8]) -> String {
    let bytes = digest::digest(&digest::SHA256, der);
    bytes.as_ref().iter().map(|byte| format!("{byte:02X}")).collect::<Vec<_>>().join(":")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_certificate_is_renewed_in_time_and_for_new_names() {
        let names = |names: &[&str]| -> Vec<String> { names.iter().map(|name| (*name).to_owned()).collect() };
        let begins = Timestamp(1_000_000_000_000);
        let ends = begins.plus_ms(3 * RENEWED_BEFORE_MS);
        let held = Certificate { fingerprint: String::new(), names: names(&["a", "b"]).into(), begins, ends };
        let check = |wanted: &[&str], now: Timestamp, expected| assert_eq!(held.is_due(&names(wanted), now), expected);
        check(&["a", "b"], begins, false);
        check(&["b"], begins.plus_ms(2 * RENEWED_BEFORE_MS), false);
        check(&["a"], begins.plus_ms(2 * RENEWED_BEFORE_MS + 1), true);
        check(&["a"], Timestamp(begins.0 - 1), true);
        check(&["c"], begins, true);
    }

    proptest! {
        #[test]
        fn whatever_bytes_come_are_read_or_refused(bytes: Vec<u8>) {
            prop_assert_eq!(Certificate::read(&bytes), None);
        }

        #[test]
        fn a_certificate_that_was_changed_or_cut_off_is_read_or_refused(at: proptest::sample::Index, to: u8, cut: bool) {
            let key = rcgen::KeyPair::generate().unwrap();
            let made = rcgen::CertificateParams::new(vec!["a".to_owned()]).unwrap().self_signed(&key).unwrap();
            let mut der = made.der().to_vec();
            let at = at.index(der.len());
            if cut { der.truncate(at) } else { der[at] = to }
            if let Some(read) = Certificate::read(&der) {
                prop_assert_ne!(cut, true);
                prop_assert_eq!(read.fingerprint, fingerprint(&der));
            }
        }
    }
}
