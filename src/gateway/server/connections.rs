//! Open connections: how many there may be, and how one is served.

use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::service::Service;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, ReadBuf};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use super::READ_TIMEOUT;
use crate::account::network;
use crate::browser::Scheme;
use crate::gateway::Gateway;
use crate::tls::Tls;

/// Connections of one address at the same time, so that one cannot take them all. The machine's own are
/// not counted: a reverse proxy here carries everybody's.
const MAX_PER_PEER: usize = 256;
/// Wait after the system refused a connection, for example because no file descriptor was left.
const ACCEPT_WAIT: Duration = Duration::from_millis(100);

/// Serves connections, a bounded number at a time.
pub(super) struct Connections {
    app: Router,
    slots: Arc<Semaphore>,
    peers: Peers,
    /// With what they may begin a handshake.
    tls: Option<Arc<Tls>>,
    pub(super) stop: CancellationToken,
}

impl Connections {
    pub(super) fn new(app: Router, gateway: &Gateway, max: usize, tls: Option<Arc<Tls>>) -> Self {
        Self { app, slots: Arc::new(Semaphore::new(max)), peers: Peers::default(), tls, stop: gateway.0.stop.clone() }
    }

    /// Waits until one more connection may be open. `None`: it is over.
    pub(super) async fn slot(&self, until: &CancellationToken) -> Option<OwnedSemaphorePermit> {
        tokio::select! {
            () = self.stop.cancelled() => None,
            () = until.cancelled() => None,
            slot = self.slots.clone().acquire_owned() => slot.ok(),
        }
    }

    /// Serves a connection of this peer; `None`: of this machine.
    pub(super) async fn serve<S>(&self, accepted: io::Result<(S, Option<IpAddr>)>, slot: OwnedSemaphorePermit)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                return tokio::time::sleep(ACCEPT_WAIT).await;
            }
        };
        let address = peer;
        let Some(peer) = self.peers.enter(peer) else {
            return tracing::debug!("a connection was closed: its address has {MAX_PER_PEER} already");
        };
        let stream = Counted { stream: Box::new(stream) as Box<dyn Stream>, first: None, _counts: (slot, peer) };
        let (app, tls, stop) = (self.app.clone(), self.tls.clone(), self.stop.clone());
        // Not one of the tasks that a shutdown waits for: a browser may keep its connection for hours.
        #[expect(clippy::disallowed_methods, reason = "a connection ends with the process")]
        tokio::spawn(async move {
            let opened = tokio::select! {
                opened = tokio::time::timeout(READ_TIMEOUT, open(stream, tls.as_deref())) => opened,
                () = stop.cancelled() => return,
            };
            let (stream, scheme) = match opened {
                Ok(Ok(opened)) => opened,
                Ok(Err(error)) => return tracing::debug!(%error, "a connection did not begin"),
                Err(_elapsed) => return tracing::debug!("a connection did not begin in time"),
            };
            let app = OfConnection { app: TowerToHyperService::new(app), address, scheme };
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(READ_TIMEOUT)
                .serve_connection(TokioIo::new(stream), app)
                .with_upgrades();
            tokio::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                () = stop.cancelled() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended early");
            }
        });
    }
}

/// Whatever bytes go through: one kind, so that HTTP is compiled once.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// Looks at the first byte, which tells TLS from HTTP, and takes the handshake to its end.
async fn open(mut stream: Counted, tls: Option<&Tls>) -> io::Result<(Box<dyn Stream>, Scheme)> {
    let Some(tls) = tls else { return Ok((Box::new(stream), Scheme::Http)) };
    let first = stream.read_u8().await?;
    stream.first = Some(first);
    match Tls::is_wanted(first) {
        true => Ok((Box::new(tls.accept(stream).await?), Scheme::Https)),
        false => Ok((Box::new(stream), Scheme::Http)),
    }
}

/// Where a request comes from, by its connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// Tells every request of a connection what the connection knows.
struct OfConnection {
    app: TowerToHyperService<Router>,
    address: Option<IpAddr>,
    scheme: Scheme,
}

impl Service<Request<Incoming>> for OfConnection {
    type Response = Response;
    type Error = Infallible;
    type Future = <TowerToHyperService<Router> as Service<Request<Incoming>>>::Future;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        if let Some(address) = self.address {
            request.extensions_mut().insert(Peer(address));
        }
        request.extensions_mut().insert(self.scheme);
        self.app.call(request)
    }
}

/// How many connections each address has.
#[derive(Debug, Clone, Default)]
struct Peers(Arc<Mutex<HashMap<IpAddr, usize>>>);

impl Peers {
    /// Counts one more. `None`: there are too many of this address.
    fn enter(&self, peer: Option<IpAddr>) -> Option<Entered> {
        let peer = peer.filter(|peer| !peer.to_canonical().is_loopback()).map(network);
        if let Some(peer) = peer {
            let mut counts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let count = counts.entry(peer).or_default();
            if *count >= MAX_PER_PEER {
                return None;
            }
            *count += 1;
        }
        Some(Entered { peers: self.clone(), peer })
    }
}

/// A connection that is counted until this is dropped.
#[derive(Debug)]
struct Entered {
    peers: Peers,
    peer: Option<IpAddr>,
}

impl Drop for Entered {
    fn drop(&mut self) {
        let Some(peer) = self.peer else { return };
        let mut counts = self.peers.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = counts.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&peer);
            }
        }
    }
}

/// A stream that is counted as long as it is open, also when a WebSocket has taken it over.
struct Counted {
    stream: Box<dyn Stream>,
    /// What was looked at, and is still to be read.
    first: Option<u8>,
    _counts: (OwnedSemaphorePermit, Entered),
}

impl AsyncRead for Counted {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if buf.remaining() > 0
            && let Some(first) = self.first.take()
        {
            buf.put_slice(&[first]);
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use axum::extract::Request;
    use axum::http::StatusCode;
    use axum::response::IntoResponse as _;
    use axum::routing::any;
    use hyper::upgrade::OnUpgrade;
    use tokio::io::{AsyncWriteExt as _, DuplexStream};
    use tokio::sync::mpsc;
    use tokio_rustls::TlsConnector;
    use tokio_rustls::rustls::crypto::aws_lc_rs::default_provider;
    use tokio_rustls::rustls::pki_types::CertificateDer;
    use tokio_rustls::rustls::pki_types::pem::PemObject as _;
    use tokio_rustls::rustls::{ClientConfig, RootCertStore};

    use super::*;
    use crate::clock::{Clock as _, SystemClock};

    /// Room for one connection, with a certificate for `localhost` if there is a home for it.
    fn connections(app: Router, home: Option<&Path>) -> Connections {
        let tls = home.map(|home| {
            let tls = Tls::new(home);
            tls.keep(&["localhost".to_owned()], SystemClock.now());
            Arc::new(tls)
        });
        let (slots, stop) = (Arc::new(Semaphore::new(1)), CancellationToken::new());
        Connections { app, slots, peers: Peers::default(), tls, stop }
    }

    async fn connect(connections: &Connections) -> DuplexStream {
        let slot = connections.slot(&CancellationToken::new()).await.unwrap();
        let (client, server) = tokio::io::duplex(1024);
        connections.serve(Ok((server, Some([192, 0, 2, 1].into()))), slot).await;
        client
    }

    fn n_open(connections: &Connections) -> (usize, usize) {
        (1 - connections.slots.available_permits(), connections.peers.0.lock().unwrap().len())
    }

    /// Begins a WebSocket of a kind.
    async fn upgrade(connections: &Connections, client: &mut (impl AsyncRead + AsyncWrite + Unpin)) -> String {
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n").await.unwrap();
        let mut answer = [0; 1024];
        let n_bytes = client.read(&mut answer).await.unwrap();
        assert_eq!(n_open(connections), (1, 1));
        String::from_utf8_lossy(&answer[..n_bytes]).into_owned()
    }

    /// Answers with the scheme, and gives what was upgraded.
    fn upgrading() -> (Router, mpsc::UnboundedReceiver<OnUpgrade>) {
        let (send, upgrades) = mpsc::unbounded_channel();
        let upgrade = async move |mut request: Request| {
            send.send(hyper::upgrade::on(&mut request)).unwrap();
            let scheme = format!("{:?}", Scheme::of_connection(request.extensions()));
            (StatusCode::SWITCHING_PROTOCOLS, [("connection", "upgrade"), ("upgrade", "echo"), ("scheme", &scheme)])
                .into_response()
        };
        (Router::new().route("/", any(upgrade)), upgrades)
    }

    #[tokio::test]
    async fn a_connection_that_was_upgraded_keeps_its_slot() {
        let home = tempfile::tempdir().unwrap();
        for home in [None, Some(home.path())] {
            let (app, mut upgrades) = upgrading();
            let connections = connections(app, home);
            let mut client = connect(&connections).await;
            assert!(upgrade(&connections, &mut client).await.contains("scheme: Http\r"));
            let upgraded = upgrades.recv().await.unwrap().await.unwrap();
            assert_eq!(n_open(&connections), (1, 1));
            drop(upgraded);
            assert_eq!(n_open(&connections), (0, 0));
        }
    }

    #[tokio::test]
    async fn a_connection_that_begins_with_a_handshake_is_served_over_tls_and_counted() {
        let home = tempfile::tempdir().unwrap();
        let (app, mut upgrades) = upgrading();
        let connections = connections(app, Some(home.path()));
        let mut client = dial(connect(&connections).await, home.path()).await;
        assert!(upgrade(&connections, &mut client).await.contains("scheme: Https\r"));
        let mut upgraded = TokioIo::new(upgrades.recv().await.unwrap().await.unwrap());
        upgraded.write_all(b"pushed").await.unwrap();
        upgraded.flush().await.unwrap();
        let mut pushed = [0; 6];
        client.read_exact(&mut pushed).await.unwrap();
        assert_eq!(&pushed, b"pushed");
        drop(upgraded);
        assert_eq!(n_open(&connections), (0, 0));
    }

    /// Trusts the certificate of this home and no other.
    async fn dial(stream: DuplexStream, home: &Path) -> tokio_rustls::client::TlsStream<DuplexStream> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(home.join(crate::tls::FILE)).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(default_provider()));
        let config = config.with_safe_default_protocol_versions().unwrap().with_root_certificates(roots);
        let connector = TlsConnector::from(Arc::new(config.with_no_client_auth()));
        connector.connect("localhost".try_into().unwrap(), stream).await.unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_does_not_begin_in_time_loses_the_connection() {
        let home = tempfile::tempdir().unwrap();
        // Nothing at all; a handshake that stalls after its first byte, and after its head.
        for begun in [&[][..], &[22], &[22, 3, 1, 2, 0, 1]] {
            let connections = connections(Router::new(), Some(home.path()));
            let mut client = connect(&connections).await;
            client.write_all(begun).await.unwrap();
            tokio::time::sleep(READ_TIMEOUT / 2).await;
            assert_eq!(n_open(&connections), (1, 1), "{begun:?}");
            assert_eq!(client.read(&mut [0; 1]).await.unwrap(), 0);
            assert_eq!(n_open(&connections), (0, 0), "{begun:?}");
        }
    }

    #[tokio::test]
    async fn what_is_no_handshake_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let connections = connections(Router::new(), Some(home.path()));
        let mut client = connect(&connections).await;
        client.write_all(&[22, 3, 1, 0, 4, 9, 9, 9, 9]).await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert!(answer.first().is_none_or(|first| *first == 21), "nothing but an alert (RFC 8446 §5.1)");
        assert_eq!(n_open(&connections), (0, 0));
    }

    #[test]
    fn an_address_has_a_share_and_the_machine_itself_none() {
        let check = |peer: &str, same: &str, expected: bool| {
            let (peers, ip) = (Peers::default(), |text: &str| Some(text.parse::<IpAddr>().unwrap()));
            let mut open: Vec<_> = (0..MAX_PER_PEER).map(|_| peers.enter(ip(peer)).unwrap()).collect();
            assert!(peers.enter(ip("198.51.100.7")).is_some(), "others have their own share");
            assert_eq!(peers.enter(ip(same)).is_some(), expected, "{peer} and {same}");
            open.pop();
            assert!(peers.enter(ip(same)).is_some(), "one has gone");
            drop(open);
            assert!(peers.0.lock().unwrap().is_empty());
        };
        check("192.0.2.1", "192.0.2.1", false);
        check("192.0.2.1", "192.0.2.2", true);
        check("192.0.2.1", "::ffff:192.0.2.1", false);
        check("2001:db8::1", "2001:db8::2", false);
        check("2001:db8::1", "2001:db8:0:1::1", true);
        check("127.0.0.1", "127.0.0.1", true);
        check("::1", "::1", true);
    }
}
