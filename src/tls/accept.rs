//! The handshake.

use std::io;
use std::sync::Arc;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::LazyConfigAcceptor;
use tokio_rustls::rustls::crypto::CryptoProvider;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::server::{Acceptor, ClientHello};
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

/// What is done with a certificate and its key.
pub(super) fn config(
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<ServerConfig>, Error> {
    config_for(b"http/1.1", chain, key, provider)
}

/// The same for another protocol.
pub(super) fn config_for(
    protocol: &[u8],
    chain: Vec<CertificateDer<'static>>,
    key: PrivateKeyDer<'static>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<ServerConfig>, Error> {
    let config = ServerConfig::builder_with_provider(provider.clone()).with_safe_default_protocol_versions()?;
    let mut config = config.with_no_client_auth().with_single_cert(chain, key)?;
    config.alpn_protocols = vec![protocol.to_vec()];
    Ok(Arc::new(config))
}
