//! The certificate that the box makes for itself.
//!
//! Key and certificate are one file, so that no power cut leaves a key without its certificate: PEM, the key (PKCS #8) first.

use std::io;
use std::path::Path;
use std::sync::Arc;

use aws_lc_rs::rand;
use rcgen::{CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair, KeyUsagePurpose};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::accept::config;
use super::{Certificate, Error};
use crate::clock::Timestamp;
use crate::document::{Secret, read_at_most, write_whole};

/// How long it holds. Apple's systems refuse what holds for more than 825 days.
const HOLDS_MS: u64 = 800 * DAY_MS;
/// Clocks of those who come may be behind.
const BEGINS_BEFORE_MS: u64 = DAY_MS;
const DAY_MS: u64 = 24 * 60 * 60 * 1000;
/// Two keys and a chain would fit.
const MAX_BYTES: usize = 64 * 1024;

/// Key and certificate, ready to be shown.
#[derive(Debug)]
pub(super) struct Device {
    pub(super) certificate: Certificate,
    pub(super) config: Arc<ServerConfig>,
    key: PrivatePkcs8KeyDer<'static>,
    /// What the disk did not take.
    unwritten: Option<Secret>,
}

impl Device {
    /// Must it be made anew, or written again?
    pub(super) fn is_due(&self, names: &[String], now: Timestamp) -> bool {
        self.unwritten.is_some() || self.certificate.is_due(names, now)
    }
}

/// What to show from now on, if it is not `held`, and what is wrong.
pub(super) fn keep(
    file: &Path,
    held: Option<&Device>,
    names: &[String],
    now: Timestamp,
    provider: &Arc<CryptoProvider>,
) -> (Option<Device>, Option<String>) {
    let (read, damaged) = match held {
        Some(_) => (None, None),
        None => read(file, provider),
    };
    let known = held.or(read.as_ref());
    let made = match known {
        Some(known) if !known.is_due(names, now) => return (read, None),
        Some(known) if !known.certificate.is_due(names, now) => known.again(),
        known => make(known.map(|known| &known.key), names, now, provider),
    };
    let mut device = match made {
        Ok(device) => device,
        Err(error) => {
            return (
                read,
                Some(format!("{error}; the page is reached without HTTPS, or with the certificate from before")),
            );
        }
    };
    let written = device.unwritten.as_ref().map_or(Ok(()), |pem| write_whole(file, pem.expose().as_bytes(), 0o600));
    let unwritten = written.err().map(|error| {
        let file = file.display();
        format!("the certificate of HTTPS cannot be kept in {file}: {error}; make room or see that it can be written, or browsers are shown a new one at the next start")
    });
    if unwritten.is_none() {
        device.unwritten = None;
    }
    (Some(device), unwritten.or(damaged))
}

/// What the file has; if there is one that cannot be used, why.
fn read(file: &Path, provider: &Arc<CryptoProvider>) -> (Option<Device>, Option<String>) {
    let device = match read_at_most(file, MAX_BYTES) {
        Ok(pem) => parse(&pem, provider),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return (None, None),
        Err(_) => None,
    };
    let damaged = device.is_none().then(|| {
        format!(
            "{} could not be used, so HTTPS has a new key; browsers warn once more: compare the fingerprint",
            file.display()
        )
    });
    (device, damaged)
}

fn parse(pem: &[u8], provider: &Arc<CryptoProvider>) -> Option<Device> {
    let key = PrivatePkcs8KeyDer::from_pem_slice(pem).ok()?;
    let certificate = CertificateDer::from_pem_slice(pem).ok()?;
    Device::new(key, certificate, None, provider).ok()
}

/// A certificate with this key, or with a new one.
fn make(
    key: Option<&PrivatePkcs8KeyDer<'static>>,
    names: &[String],
    now: Timestamp,
    provider: &Arc<CryptoProvider>,
) -> Result<Device, Error> {
    let key = match key {
        Some(key) => KeyPair::try_from(key)?,
        None => KeyPair::generate()?,
    };
    let mut params = CertificateParams::new(names)?;
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "Frontdesk");
    params.is_ca = IsCa::ExplicitNoCa;
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Firefox refuses two certificates of one issuer with one number.
    let mut serial = [0_u8; 16];
    rand::fill(&mut serial).map_err(|_unspecified| Error::Random)?;
    if let Some(first) = serial.first_mut() {
        // Positive, and as long as it looks.
        *first = *first & 0x7f | 0x40;
    }
    params.serial_number = Some(serial.to_vec().into());
    params.not_before = date(Timestamp(now.0.saturating_sub(BEGINS_BEFORE_MS)))?;
    params.not_after = date(now.plus_ms(HOLDS_MS))?;
    let certificate = params.self_signed(&key)?;
    let pem = Secret::new(format!("{}{}", key.serialize_pem(), certificate.pem()));
    Device::new(PrivatePkcs8KeyDer::from(key.serialize_der()), certificate.der().clone(), Some(pem), provider)
}

impl Device {
    fn new(
        key: PrivatePkcs8KeyDer<'static>,
        certificate: CertificateDer<'static>,
        unwritten: Option<Secret>,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, Error> {
        let facts = Certificate::read(&certificate).ok_or(Error::Read)?;
        let config = config(vec![certificate], PrivateKeyDer::Pkcs8(key.clone_key()), provider)?;
        Ok(Self { certificate: facts, config, key, unwritten })
    }

    fn again(&self) -> Result<Self, Error> {
        let Self { certificate, config, key, unwritten } = self;
        let (certificate, unwritten) = (certificate.clone(), unwritten.clone());
        Ok(Self { certificate, config: config.clone(), key: key.clone_key(), unwritten })
    }
}

/// The day of it, in UTC.
fn date(at: Timestamp) -> Result<time::OffsetDateTime, Error> {
    let seconds = i64::try_from(at.as_secs()).map_err(|_error| Error::Clock)?;
    time::OffsetDateTime::from_unix_timestamp(seconds).map_err(|_error| Error::Clock)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use proptest::prelude::*;
    use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;

    use super::*;

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    struct Home {
        directory: tempfile::TempDir,
        provider: Arc<CryptoProvider>,
    }

    impl Home {
        fn new() -> Self {
            Self { directory: tempfile::tempdir().unwrap(), provider: Arc::new(default_provider()) }
        }

        fn file(&self) -> std::path::PathBuf {
            self.directory.path().join("tls.pem")
        }

        fn keep(&self, held: Option<&Device>, names: &[&str], now: Timestamp) -> (Option<Device>, Option<String>) {
            let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
            keep(&self.file(), held, &names, now, &self.provider)
        }
    }

    #[test]
    fn a_certificate_is_made_once_and_found_again() {
        let home = Home::new();
        let (made, trouble) = home.keep(None, &["localhost", "127.0.0.1", "::1", "desk.local"], NOW);
        let made = made.unwrap();
        assert_eq!(trouble, None);
        assert_eq!(*made.certificate.names, ["localhost", "127.0.0.1", "::1", "desk.local"]);
        assert!(made.certificate.ends.since_ms(made.certificate.begins) <= 825 * DAY_MS, "Apple refuses more");
        assert!(made.certificate.begins < NOW);
        assert_eq!(fs::metadata(home.file()).unwrap().permissions().mode() & 0o777, 0o600);
        let (found, trouble) = home.keep(None, &["localhost"], NOW);
        assert_eq!((found.unwrap().certificate, trouble), (made.certificate.clone(), None));
        assert!(home.keep(Some(&made), &["localhost"], NOW).0.is_none(), "nothing is due");
    }

    #[test]
    fn a_new_name_or_the_end_makes_a_new_certificate_with_the_same_key() {
        let home = Home::new();
        let first = home.keep(None, &["a.local"], NOW).0.unwrap();
        let named = home.keep(Some(&first), &["a.local", "b.local"], NOW).0.unwrap();
        let renewed = home.keep(Some(&named), &["b.local"], named.certificate.ends).0.unwrap();
        assert_eq!([&named.key, &renewed.key], [&first.key, &first.key]);
        assert_ne!(named.certificate.fingerprint, renewed.certificate.fingerprint);
        assert_eq!(renewed.certificate.ends, named.certificate.ends.plus_ms(HOLDS_MS));
        let found = home.keep(None, &["b.local"], named.certificate.ends).0.unwrap();
        assert_eq!((found.certificate, found.key), (renewed.certificate, first.key));
    }

    #[test]
    fn a_clock_that_was_wrong_at_the_first_start_is_made_good() {
        let home = Home::new();
        let first = home.keep(None, &["a.local"], Timestamp(0)).0.unwrap();
        assert!(first.is_due(&["a.local".to_owned()], NOW));
        let second = home.keep(Some(&first), &["a.local"], NOW).0.unwrap();
        assert_eq!(first.key, second.key);
        assert!(!second.is_due(&["a.local".to_owned()], NOW));
        assert!(home.keep(Some(&second), &["a.local"], Timestamp(u64::MAX)).1.unwrap().contains("clock"));
    }

    #[test]
    fn a_damaged_file_is_replaced_and_said() {
        let home = Home::new();
        let first = home.keep(None, &["a.local"], NOW).0.unwrap();
        let other = Home::new();
        other.keep(None, &["a.local"], NOW);
        let (own, foreign) = (fs::read_to_string(home.file()).unwrap(), fs::read_to_string(other.file()).unwrap());
        let certificate = &foreign[foreign.find("-----BEGIN CERTIFICATE").unwrap()..];
        let key = &own[..own.find("-----BEGIN CERTIFICATE").unwrap()];
        for damaged in ["", "no PEM", &own[..own.len() / 2], key, certificate, &format!("{key}{certificate}")] {
            fs::write(home.file(), damaged).unwrap();
            let (made, trouble) = home.keep(None, &["a.local"], NOW);
            assert_ne!(made.unwrap().key, first.key);
            assert!(trouble.unwrap().contains("new key"), "{damaged}");
        }
    }

    #[test]
    fn what_the_disk_does_not_take_is_shown_and_written_later() {
        let home = Home::new();
        let names = ["a.local".to_owned()];
        fs::create_dir(home.file()).unwrap();
        let (made, trouble) = home.keep(None, &["a.local"], NOW);
        let made = made.unwrap();
        assert!(trouble.unwrap().contains("cannot be kept"));
        assert!(made.is_due(&names, NOW));
        fs::remove_dir(home.file()).unwrap();
        let (written, trouble) = home.keep(Some(&made), &["a.local"], NOW);
        let written = written.unwrap();
        assert_eq!((&written.certificate, trouble), (&made.certificate, None));
        assert!(!written.is_due(&names, NOW));
        assert_eq!(home.keep(None, &["a.local"], NOW).0.unwrap().certificate, made.certificate);
    }

    proptest! {
        #[test]
        fn whatever_the_file_holds_is_read_or_refused(bytes: Vec<u8>) {
            prop_assert!(parse(&bytes, &Arc::new(default_provider())).is_none());
        }
    }
}
