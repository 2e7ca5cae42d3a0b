//! Listening: one TCP address for everybody, over HTTP and HTTPS, one socket in the home for the commands.
//!
//! | path | who | what |
//! |---|---|---|
//! | `/healthz` | anybody | 200 while the process lives |
//! | `/readyz` | anybody | 200 when messages can be taken and answered, and commands are heard, else 503 |
//! | `/hooks/<entry id>` | vendors | raw requests for push channels, at most 1 MiB |
//! | `/chat/<entry id>[/…]` | visitors | the pages of page channels |
//! | `/v1/…` | programs with an API key | see `api` |
//! | `/admin/…`, `/api/v1/…` | people and programs with an account | see `page` and `admin`, which [`super::Options`] brings |
//! | `/.well-known/acme-challenge/<token>` | a certificate authority | what it looks for, see `tls` |
//! | `/` | anybody | leads to the web chat, if there is one, else to the local page |
//!
//! The local socket serves what it is given: `/api/v1/…` (see `admin`).

mod connections;
mod refusals;

use std::fs;
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path as UrlPath, Request, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{any, get};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use tokio::net::{TcpListener, TcpSocket, UnixListener};
use tokio_util::sync::{CancellationToken, DropGuard};

use super::Gateway;
use super::host::Bound;
use super::live::LiveEntry;
use super::status::Probe;
use crate::channel::{Admitted, Handled, HookRequest, HookResponse};

use connections::Connections;
pub use connections::Peer;
use refusals::Refusals;

/// Where the local page is.
const PAGES: &str = "/admin/";
/// Longest body of a hook, in bytes.
const MAX_HOOK_BYTES: usize = 1024 * 1024;
/// Connections at the same time, with those that became a WebSocket; each costs some tens of kilobytes.
const MAX_CONNECTIONS: usize = 1_024;
/// Connections that the system holds for us while many come at once.
const BACKLOG: u32 = 1_024;
/// Connections of commands at the same time.
const MAX_LOCAL_CONNECTIONS: usize = 32;
/// How long a client may take to begin, with its handshake; to send its headers; and the body of a hook.
const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// Why nobody can reach the gateway.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Somebody else has the port, or it is not ours to take.
    #[error("cannot listen on {address}: {source}")]
    Tcp {
        /// Address and port.
        address: SocketAddr,
        /// What the system said.
        source: io::Error,
    },
    /// The socket of the commands.
    #[error("cannot listen on {path}: {source}")]
    Local {
        /// Path of the socket.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

impl Error {
    /// Is it the socket of the commands?
    #[must_use]
    pub fn is_of_commands(&self) -> bool {
        matches!(self, Self::Local { .. })
    }

    /// Is it because the disk is full or can only be read?
    pub(super) fn is_for_the_disk(&self) -> bool {
        use io::ErrorKind::{QuotaExceeded, ReadOnlyFilesystem, StorageFull};
        let (Self::Tcp { source, .. } | Self::Local { source, .. }) = self;
        matches!(source.kind(), StorageFull | QuotaExceeded | ReadOnlyFilesystem)
    }
}

/// A listening address. Dropped, it takes no new connections; those that are open end by themselves.
#[derive(Debug)]
pub(super) struct Server {
    address: SocketAddr,
    _listening: DropGuard,
}

impl Server {
    pub(super) fn listen(address: SocketAddr, gateway: Gateway) -> Result<Self, Error> {
        let error = |source| Error::Tcp { address, source };
        let listener = bind(address).map_err(error)?;
        let address = listener.local_addr().map_err(error)?;
        Ok(Self::serve(listener, address, gateway))
    }

    /// Serves a socket that somebody else opened.
    pub(super) fn adopt(socket: std::net::TcpListener, gateway: Gateway) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        let address = socket.local_addr()?;
        Ok(Self::serve(TcpListener::from_std(socket)?, address, gateway))
    }

    fn serve(listener: TcpListener, address: SocketAddr, gateway: Gateway) -> Self {
        let listening = CancellationToken::new();
        let connections =
            Connections::new(router(gateway.clone()), &gateway, MAX_CONNECTIONS, Some(gateway.0.tls.clone()));
        let until = listening.clone();
        gateway.spawn(async move {
            while let Some(slot) = connections.slot(&until).await {
                let accepted = tokio::select! {
                    () = connections.stop.cancelled() => return,
                    () = until.cancelled() => return,
                    accepted = listener.accept() => accepted.map(|(stream, peer)| (stream, Some(peer.ip()))),
                };
                if let Ok((stream, _)) = &accepted {
                    // Streamed words are small; they must not wait for more.
                    let _ = stream.set_nodelay(true);
                }
                connections.serve(accepted, slot).await;
            }
        });
        Self { address, _listening: listening.drop_guard() }
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    // A restart need not wait for the connections of the last run to be forgotten.
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

/// Listens for the commands on a socket that is the owner's alone.
pub(super) fn listen_local(path: &Path, app: Router, gateway: &Gateway) -> Result<(), Error> {
    let error = |source| Error::Local { path: path.display().to_string(), source };
    // The store's lock is ours, so nobody else serves this socket: what lies here is a leftover.
    match fs::remove_file(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => return Err(error(source)),
        _ => {}
    }
    let listener = UnixListener::bind(short_path(path)).map_err(error)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600)).map_err(error)?;
    // Set once: nobody listens twice.
    drop(gateway.0.socket.set(path.to_owned()));
    let connections = Connections::new(app, gateway, MAX_LOCAL_CONNECTIONS, None);
    let until = CancellationToken::new();
    gateway.spawn(async move {
        while let Some(slot) = connections.slot(&until).await {
            let accepted = tokio::select! {
                () = connections.stop.cancelled() => return,
                accepted = listener.accept() => accepted.map(|(stream, _)| (stream, None)),
            };
            connections.serve(accepted, slot).await;
        }
    });
    Ok(())
}

/// A path that fits into a socket address (108 bytes), whatever the home is called.
#[must_use]
pub fn short_path(path: &Path) -> PathBuf {
    const MAX_BYTES: usize = 100;
    if path.as_os_str().len() <= MAX_BYTES {
        return path.to_owned();
    }
    let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return path.to_owned() };
    match fs::File::open(directory) {
        Ok(directory) => {
            use std::os::fd::IntoRawFd as _;
            // The number stays valid because the file is never closed: once for each start or command.
            PathBuf::from(format!("/proc/self/fd/{}", directory.into_raw_fd())).join(name)
        }
        Err(_) => path.to_owned(),
    }
}

fn router(gateway: Gateway) -> Router {
    let (probe, refusals) = (Arc::new(Probe::default()), Arc::new(Refusals::default()));
    Router::new()
        .route("/healthz", get(|| async { "ok\n" }))
        .route("/readyz", get(move |State(gateway)| ready(gateway, probe.clone())))
        .route("/", get(front))
        .route("/.well-known/acme-challenge/{token}", get(acme_challenge))
        .route("/hooks/{entry}", any(move |state, entry, request| hook(state, entry, refusals.clone(), request)))
        .route("/chat/{entry}", any(page))
        .route("/chat/{entry}/", any(page))
        .route("/chat/{entry}/{*path}", any(page_path))
        .with_state(gateway.clone())
        .nest("/v1", crate::api::router(Arc::new(gateway.clone())))
        .merge((gateway.0.pages)(&gateway))
        .layer(middleware::from_fn_with_state(gateway.clone(), only_with_a_store))
        .layer(middleware::map_response_with_state(gateway, counted))
}

/// Nobody is told that something was taken, or is not there, while nothing can be looked up.
async fn only_with_a_store(State(gateway): State<Gateway>, request: Request, next: Next) -> Response {
    let is_ours = ["/hooks/", "/chat/", "/v1/"].iter().any(|path| request.uri().path().starts_with(path));
    if is_ours && gateway.0.store.why_unusable().is_some() {
        return unavailable();
    }
    next.run(request).await
}

async fn counted(State(gateway): State<Gateway>, response: Response) -> Response {
    gateway.0.usage.answered(response.status());
    response
}

fn unavailable() -> Response {
    let body = "this gateway takes nothing until it is mended; come again later\n";
    (StatusCode::SERVICE_UNAVAILABLE, [(header::RETRY_AFTER, "60")], body).into_response()
}

async fn ready(gateway: Gateway, probe: Arc<Probe>) -> Response {
    match gateway.readiness(&probe).await {
        Ok(()) => (StatusCode::OK, "ready\n").into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

/// For a certificate authority that looks whether the box is at its domain (RFC 8555 §8.3).
async fn acme_challenge(State(gateway): State<Gateway>, UrlPath(token): UrlPath<String>) -> Response {
    match gateway.tls().page(&token) {
        Some(text) => ([(header::CONTENT_TYPE, "application/octet-stream")], text).into_response(),
        None => StatusCode::NOT_FOUND.into_response(),
    }
}

async fn front(State(gateway): State<Gateway>) -> Response {
    match gateway.chat_pages().as_slice() {
        // With several, nobody should learn here which businesses there are.
        [page] => Redirect::temporary(page).into_response(),
        _ => Redirect::temporary(PAGES).into_response(),
    }
}

async fn page(State(gateway): State<Gateway>, UrlPath(entry): UrlPath<String>, request: Request) -> Response {
    serve_page(gateway, &entry, "", request).await
}

async fn page_path(
    State(gateway): State<Gateway>,
    UrlPath((entry, path)): UrlPath<(String, String)>,
    request: Request,
) -> Response {
    serve_page(gateway, &entry, &path, request).await
}

async fn serve_page(gateway: Gateway, entry: &str, path: &str, request: Request) -> Response {
    let Some(entry) = find(&gateway, entry) else { return not_found(&gateway) };
    let host = Arc::new(Bound::new(gateway, entry.clone()));
    entry.channel.serve(path, request, host).await
}

async fn hook(
    State(gateway): State<Gateway>,
    UrlPath(entry): UrlPath<String>,
    refusals: Arc<Refusals>,
    request: Request,
) -> Response {
    let Some(entry) = find(&gateway, &entry) else { return not_found(&gateway) };
    let (head, body) = request.into_parts();
    let body = tokio::time::timeout(READ_TIMEOUT, Limited::new(body, MAX_HOOK_BYTES).collect()).await;
    let body = match body {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(error)) if error.is::<LengthLimitError>() => return StatusCode::PAYLOAD_TOO_LARGE.into_response(),
        Ok(Err(_)) => return StatusCode::BAD_REQUEST.into_response(),
        Err(_) => return StatusCode::REQUEST_TIMEOUT.into_response(),
    };
    let request = HookRequest {
        method: &head.method,
        query: head.uri.query().unwrap_or_default(),
        headers: &head.headers,
        body: &body,
        now: gateway.now(),
    };
    let response = match entry.channel.handle_http(&request) {
        Handled::Respond(response) => {
            if response.status.is_client_error() {
                refusals.note(&entry.id, response.status);
            }
            response
        }
        Handled::Admit(events) => {
            let host = Bound::new(gateway, entry.clone());
            let mut outcome = Admitted::Ignored("there is nothing in it");
            for event in events {
                outcome = crate::channel::Host::admit(&host, event).await;
                if matches!(outcome, Admitted::Unavailable { .. }) {
                    break;
                }
            }
            entry.channel.hook_response(&outcome)
        }
    };
    into_response(response)
}

fn find(gateway: &Gateway, entry: &str) -> Option<Arc<LiveEntry>> {
    let entry = crate::id::EntryId::new(entry).ok()?;
    gateway.0.live.load().entries.get(&entry).cloned()
}

/// In safe mode nobody can tell what there is: vendors should come again.
fn not_found(gateway: &Gateway) -> Response {
    match gateway.0.live.load().safe_mode {
        None => StatusCode::NOT_FOUND.into_response(),
        Some(_) => unavailable(),
    }
}

fn into_response(hook: HookResponse) -> Response {
    let mut response = (hook.status, hook.body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(hook.content_type));
    if let Some(wait) = hook.retry_after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from(wait.as_secs().max(1)));
    }
    response
}
