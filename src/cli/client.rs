//! HTTP over the gateway's local socket.

use std::fs;
use std::io;
use std::time::Duration;

use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::UnixStream;

use super::{Context, Exit, Failure};
use crate::document::Variables as _;
use crate::gateway::{short_path, socket, socket_elsewhere};

/// Longest time for one command: a reload may have to wait for the disk.
const TIMEOUT: Duration = Duration::from_secs(30);

/// What the gateway said.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Value,
}

impl Answer {
    /// The body of a success; otherwise the gateway's own words.
    pub(super) fn success(self) -> Result<Value, Failure> {
        if self.status.is_success() {
            return Ok(self.body);
        }
        let error = self.body.get("error").and_then(Value::as_str).unwrap_or("the gateway gave no reason");
        Err(exit(self.status).say(error))
    }
}

/// How a command ends that the gateway refused so.
pub(super) fn exit(status: StatusCode) -> Exit {
    match status {
        StatusCode::BAD_REQUEST | StatusCode::NOT_FOUND | StatusCode::CONFLICT => Exit::Usage,
        StatusCode::UNPROCESSABLE_ENTITY => Exit::Config,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::TOO_MANY_REQUESTS => Exit::TryAgain,
        _ => Exit::Internal,
    }
}

/// A query string from names and values; those without a value are left out.
pub(super) fn query(pairs: &[(&str, Option<&str>)]) -> String {
    let mut query = String::new();
    for (name, value) in pairs.iter().filter_map(|(name, value)| Some((name, (*value)?))) {
        query.push(if query.is_empty() { '?' } else { '&' });
        query.push_str(name);
        query.push('=');
        query.push_str(&encoded(value));
    }
    query
}

/// A text as a part of a path or a query.
pub(super) fn encoded(value: &str) -> String {
    let mut encoded = String::new();
    for byte in value.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'~') {
            encoded.push(char::from(byte));
        } else {
            encoded.push_str(&format!("%{byte:02X}"));
        }
    }
    encoded
}

/// Asks the running gateway.
pub(super) fn ask(context: &Context, method: Method, path: &str) -> Result<Answer, Failure> {
    ask_with(context, method, path, None)
}

/// The same, with a body.
pub(super) fn ask_with(context: &Context, method: Method, path: &str, body: Option<&Value>) -> Result<Answer, Failure> {
    try_ask_within(context, TIMEOUT, method, path, body)?.ok_or_else(|| not_running(context))
}

/// Asks for something that may take long.
pub(super) fn ask_within(context: &Context, timeout: Duration, method: Method, path: &str) -> Result<Answer, Failure> {
    try_ask_within(context, timeout, method, path, None)?.ok_or_else(|| not_running(context))
}

/// The same, with a body.
pub(super) fn ask_with_within(
    context: &Context,
    timeout: Duration,
    method: Method,
    path: &str,
    body: &Value,
) -> Result<Answer, Failure> {
    try_ask_within(context, timeout, method, path, Some(body))?.ok_or_else(|| not_running(context))
}

/// Asks the gateway; `None` if none is running.
pub(super) fn try_ask(context: &Context, method: Method, path: &str) -> Result<Option<Answer>, Failure> {
    try_ask_within(context, TIMEOUT, method, path, None)
}

fn try_ask_within(
    context: &Context,
    timeout: Duration,
    method: Method,
    path: &str,
    body: Option<&Value>,
) -> Result<Option<Answer>, Failure> {
    let body = body.map(Value::to_string).unwrap_or_default();
    runtime()?.block_on(async {
        let answer = tokio::time::timeout(timeout, exchange(context, method, path, body)).await;
        answer.unwrap_or_else(|_elapsed| {
            Err(Exit::TryAgain.say("the gateway does not answer; try again, or look at its log"))
        })
    })
}

fn not_running(context: &Context) -> Failure {
    let home = context.home.display();
    Exit::TryAgain
        .say(format!("no gateway is running in {home}; start it with `gateway run`, or name its home with --home DIR"))
}

pub(super) fn runtime() -> Result<tokio::runtime::Runtime, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    Ok(runtime.map_err(anyhow::Error::from)?)
}

/// How a long answer ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// With its last byte.
    Whole,
    /// Somebody here had enough of it.
    Stopped,
}

/// Reads a long answer as it comes. Ctrl-C ends it, and so does a false of `on_piece`.
pub(super) fn stream(
    context: &Context,
    path: &str,
    on_piece: impl FnMut(&[u8]) -> Result<bool, Failure>,
) -> Result<End, Failure> {
    stream_of(context, Method::GET, path, None, on_piece)
}

/// The same of any request.
pub(super) fn stream_of(
    context: &Context,
    method: Method,
    path: &str,
    body: Option<&Value>,
    mut on_piece: impl FnMut(&[u8]) -> Result<bool, Failure>,
) -> Result<End, Failure> {
    let body = body.map(Value::to_string).unwrap_or_default();
    runtime()?.block_on(async {
        let answer = async {
            let (response, mut connection) = tokio::time::timeout(TIMEOUT, open(context, method, path, body))
                .await
                .unwrap_or_else(|_elapsed| Err(Exit::TryAgain.say("the gateway does not answer; try again")))?
                .ok_or_else(|| not_running(context))?;
            let status = response.status();
            let mut refusal = Vec::new();
            let end = read(response.into_body(), &mut connection, |piece| {
                if status.is_success() {
                    return on_piece(piece);
                }
                refusal.extend_from_slice(piece);
                Ok(true)
            });
            let end = end.await?;
            if status.is_success() {
                return Ok(end);
            }
            let body = serde_json::from_slice(&refusal).unwrap_or(Value::Null);
            Answer { status, body }.success().map(|_| end)
        };
        tokio::select! {
            end = answer => end,
            _ = tokio::signal::ctrl_c() => Ok(End::Stopped),
        }
    })
}

fn broke_off(error: hyper::Error) -> Failure {
    Exit::TryAgain.because(anyhow::Error::from(error).context("the gateway broke off"))
}

/// Drives the bytes of an exchange.
type Connection = hyper::client::conn::http1::Connection<TokioIo<UnixStream>, Full<Bytes>>;

/// Sends a request; the body of the answer comes as long as the connection is driven. `None`: no gateway is running.
async fn open(
    context: &Context,
    method: Method,
    path: &str,
    body: String,
) -> Result<Option<(Response<Incoming>, Connection)>, Failure> {
    let Some((token, stream)) = connect(context).await? else { return Ok(None) };
    let (mut sender, mut connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(broke_off)?;
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header(header::HOST, "frontdesk")
        .header(header::AUTHORIZATION, format!("Bearer {}", token.trim_end()))
        .body(Full::<Bytes>::from(body))
        .map_err(anyhow::Error::from)?;
    // The connection must be driven while the answer is waited for.
    let response = tokio::select! {
        response = sender.send_request(request) => response.map_err(broke_off)?,
        ended = &mut connection => {
            ended.map_err(broke_off)?;
            return Err(Exit::TryAgain.say("the gateway broke off; look at its log"));
        }
    };
    Ok(Some((response, connection)))
}

async fn exchange(context: &Context, method: Method, path: &str, body: String) -> Result<Option<Answer>, Failure> {
    let Some((response, mut connection)) = open(context, method, path, body).await? else { return Ok(None) };
    let (status, mut body) = (response.status(), Vec::new());
    let whole = read(response.into_body(), &mut connection, |piece| {
        body.extend_from_slice(piece);
        Ok(true)
    });
    whole.await?;
    Ok(Some(Answer { status, body: serde_json::from_slice(&body).unwrap_or(Value::Null) }))
}

/// The admin token and the gateway's socket; `None` if nobody listens there.
async fn connect(context: &Context) -> Result<Option<(String, UnixStream)>, Failure> {
    let home = &*context.home;
    let connected = match fs::read_to_string(home.join("admin.token")) {
        Ok(token) => reach(context).await.map(|stream| (token, stream)),
        Err(error) => Err(error),
    };
    match connected {
        Ok(connected) => Ok(Some(connected)),
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => {
            let home = home.display();
            Err(Exit::Usage.say(format!("the gateway in {home} belongs to another user; run this as its owner")))
        }
        Err(_) => Ok(None),
    }
}

/// The socket in the home, or where it is when that could not be written.
async fn reach(context: &Context) -> io::Result<UnixStream> {
    let in_home = UnixStream::connect(short_path(&socket(&context.home))).await;
    let runtime = context.variables().get("XDG_RUNTIME_DIR");
    match (in_home, socket_elsewhere(&context.home, runtime.as_deref())) {
        (Err(error), Some(elsewhere)) => UnixStream::connect(short_path(&elsewhere)).await.or(Err(error)),
        (in_home, _) => in_home,
    }
}

/// Hands on each piece of a body, until the last one or a false of `on_piece`. A body that is cut off is an error.
async fn read(
    mut body: Incoming,
    connection: &mut Connection,
    mut on_piece: impl FnMut(&[u8]) -> Result<bool, Failure>,
) -> Result<End, Failure> {
    // The connection may end before its last bytes are read; how it ended, the body tells.
    let mut is_open = true;
    loop {
        let frame = tokio::select! {
            frame = body.frame() => frame,
            _ = &mut *connection, if is_open => {
                is_open = false;
                continue;
            }
        };
        let Some(frame) = frame else { return Ok(End::Whole) };
        let piece = frame.map_err(broke_off)?.into_data().unwrap_or_default();
        if !on_piece(&piece)? {
            return Ok(End::Stopped);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_carries_any_text() {
        let pairs = [("key", Some("a:b %&")), ("none", None), ("user", Some("ü"))];
        assert_eq!(query(&pairs), "?key=a%3Ab%20%25%26&user=%C3%BC");
        assert_eq!(query(&[("none", None)]), "");
    }
}
