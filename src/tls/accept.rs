//! The handshake.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{Acceptor, ClientHello};
use tokio_rustls::rustls::sign::{CertifiedKey, SingleCertAndKey};
use tokio_rustls::rustls::{Error, ServerConfig};

use super::Tls;

/// A connection inside TLS.
pub type TlsStream<S> = tokio_rustls::server::TlsStream<S>;

/// What a handshake begins with (RFC 8446 §5.1, `ContentType::handshake`), and nothing of HTTP.
const HANDSHAKE: u8 = 22;
/// What an authority speaks that looks for the box (RFC 8737 §6.2).
pub(super) const ACME_PROTOCOL: &[u8] = b"acme-tls/1";

impl Tls {
    /// Does a connection that begins with this byte want TLS?
    #[must_use]
    pub fn is_wanted(first: u8) -> bool {
        first == HANDSHAKE
    }

    /// Takes part in a handshake to its end. It waits as long as the other side does.
    ///
    /// # Errors
    /// When there is no certificate, or the other side goes away or says what it should not.
    pub async fn accept<S>(&self, stream: S) -> io::Result<TlsStream<S>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let begun = LazyConfigAcceptor::new(Acceptor::default(), stream).await?;
        let config = self.choose(&begun.client_hello());
        let config = config.ok_or_else(|| io::Error::other("there is no certificate of HTTPS"))?;
        begun.into_stream(config).await
    }

    /// An authority that looks for the box gets what it looks for and nothing else; who asks for a domain gets its certificate;
    /// everybody else that of the device.
    fn choose(&self, hello: &ClientHello<'_>) -> Option<Arc<ServerConfig>> {
        let name = hello.server_name();
        if hello.alpn().is_some_and(|mut protocols| protocols.any(|protocol| protocol == ACME_PROTOCOL)) {
            return self.handshake_of(name?);
        }
        let public = self.public.load();
        let public = public.as_ref().filter(|public| name.is_some_and(|name| public.is_named(name)));
        match public {
            Some(public) => Some(public.config.clone()),
            None => self.device.load().as_ref().map(|device| device.config.clone()),
        }
    }
}

/// What is done with a certificate and its key, which must fit.
pub(super) fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<ServerConfig>, Error> {
    let config = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let mut config = config.with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Arc::new(config))
}

/// What an authority is shown that looks for the box. Not compared with its key: it has an extension that nobody else knows.
pub(super) fn acme_config(
    certificate: CertificateDer<'static>,
    key: PrivateKeyDer<'static>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<ServerConfig>, Error> {
    let key = provider.key_provider.load_private_key(key)?;
    let shown = SingleCertAndKey::from(CertifiedKey::new(vec![certificate], key));
    let config = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let mut config = config.with_no_client_auth().with_cert_resolver(Arc::new(shown));
    config.alpn_protocols = vec![ACME_PROTOCOL.to_vec()];
    Ok(Arc::new(config))
}

#[cfg(test)]
mod tests {
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
    use tokio_rustls::rustls::pki_types::{ServerName, UnixTime};
    use tokio_rustls::rustls::{ClientConfig, DigitallySignedStruct, SignatureScheme};

    use super::*;
    use crate::clock::Timestamp;
    use crate::tls::public::Public;

    /// Takes every certificate, to look at it.
    #[derive(Debug)]
    struct Looker(Arc<CryptoProvider>);

    impl ServerCertVerifier for Looker {
        fn verify_server_cert(
            &self,
            _end_entity: &CertificateDer<'_>,
            _intermediates: &[CertificateDer<'_>],
            _name: &ServerName<'_>,
            _ocsp: &[u8],
            _now: UnixTime,
        ) -> Result<ServerCertVerified, Error> {
            Ok(ServerCertVerified::assertion())
        }

        fn verify_tls12_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = &self.0.signature_verification_algorithms;
            tokio_rustls::rustls::crypto::verify_tls12_signature(message, certificate, signed, algorithms)
        }

        fn verify_tls13_signature(
            &self,
            message: &[u8],
            certificate: &CertificateDer<'_>,
            signed: &DigitallySignedStruct,
        ) -> Result<HandshakeSignatureValid, Error> {
            let algorithms = &self.0.signature_verification_algorithms;
            tokio_rustls::rustls::crypto::verify_tls13_signature(message, certificate, signed, algorithms)
        }

        fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
            self.0.signature_verification_algorithms.supported_schemes()
        }
    }

    /// The names of the certificate that is shown to who asks for this name and speaks these protocols.
    async fn shown(tls: &Tls, name: &str, protocols: &[&[u8]]) -> Option<Vec<String>> {
        let provider = tls.provider.clone();
        let config =
            ClientConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions().unwrap();
        let config = config.dangerous().with_custom_certificate_verifier(Arc::new(Looker(provider)));
        let mut config = config.with_no_client_auth();
        config.alpn_protocols = protocols.iter().map(|protocol| protocol.to_vec()).collect();
        let (client, server) = tokio::io::duplex(64 * 1024);
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let client = async move { TlsConnector::from(Arc::new(config)).connect(name, client).await.ok() };
        let (client, _server) = tokio::join!(client, tls.accept(server));
        let client = client?;
        let (_, connection) = client.get_ref();
        let certificate = connection.peer_certificates()?.first()?.clone();
        Some(crate::tls::Certificate::read(&certificate).unwrap().names.to_vec())
    }

    fn pem(name: &str) -> String {
        let key = rcgen::KeyPair::generate().unwrap();
        let made = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap().self_signed(&key).unwrap();
        format!("{}{}", key.serialize_pem(), made.pem())
    }

    #[tokio::test]
    async fn the_name_that_is_asked_for_chooses_the_certificate() {
        let home = tempfile::tempdir().unwrap();
        let tls = Tls::new(home.path());
        assert_eq!(shown(&tls, "box.local", &[]).await, None, "there is none yet");
        tls.keep(&["box.local".to_owned()], Timestamp(1_800_000_000_000));
        let names = |name: &str| Some(vec![name.to_owned()]);
        assert_eq!(shown(&tls, "desk.example.com", &[]).await, names("box.local"));
        let public = Public::parse(pem("desk.example.com").as_bytes(), &tls.provider).unwrap();
        tls.public.store(Some(Arc::new(public)));
        assert_eq!(shown(&tls, "desk.example.com", &[b"h2", b"http/1.1"]).await, names("desk.example.com"));
        assert_eq!(shown(&tls, "DESK.example.com", &[]).await, names("desk.example.com"));
        assert_eq!(shown(&tls, "www.desk.example.com", &[]).await, names("box.local"));
        assert_eq!(shown(&tls, "127.0.0.1", &[]).await, names("box.local"), "an address is no name");
        assert_eq!(shown(&tls, "desk.example.com", &[b"h2"]).await, None, "we do not speak it");
    }

    #[tokio::test]
    async fn an_authority_that_looks_for_the_box_gets_what_it_looks_for_and_nothing_else() {
        let home = tempfile::tempdir().unwrap();
        let tls = Tls::new(home.path());
        tls.keep(&["desk.example.com".to_owned()], Timestamp(1_800_000_000_000));
        let config = crate::tls::acme::handshake("desk.example.com", &[7; 32], &tls.provider).unwrap();
        tls.answer_handshake("desk.example.com", config);
        let names = Some(vec!["desk.example.com".to_owned()]);
        assert_eq!(shown(&tls, "desk.example.com", &[ACME_PROTOCOL]).await, names);
        assert_eq!(shown(&tls, "other.example.com", &[ACME_PROTOCOL]).await, None);
        tls.forget_handshake("desk.example.com");
        assert_eq!(shown(&tls, "desk.example.com", &[ACME_PROTOCOL]).await, None);
        assert_eq!(shown(&tls, "desk.example.com", &[b"http/1.1"]).await, names, "its own");
    }
}
