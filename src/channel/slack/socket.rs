//! One Socket Mode connection (docs.slack.dev, "Using Socket Mode").
//!
//! Slack sends `hello`, then envelopes; each is acknowledged by its id. Before it ends the connection
//! it says `disconnect`, so that the next one can be opened first.

use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::Url;
use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::protocol::WebSocketConfig;
use tokio_tungstenite::tungstenite::{self, Message, Utf8Bytes};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream, connect_async_tls_with_config};
use tokio_util::sync::CancellationToken;

use super::Slack;
use super::api::{Api, CallError};
use super::wire::{Callback, Frame};
use crate::channel::{Admitted, Host};
use crate::document::Secret;

/// From the ticket to `hello`, each step.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(15);
/// Slack pings every few seconds. After this long without a frame we ping, after twice this long we leave.
const IDLE: Duration = Duration::from_secs(30);
/// To write one frame.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a replaced connection stays for what was already on its way.
const GRACE: Duration = Duration::from_secs(5);
/// Events are a few kilobytes; a message of 40,000 characters comes twice, as text and as blocks.
const MAX_FRAME_BYTES: usize = 4 * 1024 * 1024;

/// A connection that said `hello`.
pub(super) type Socket<S> = Box<WebSocketStream<S>>;

/// Why there is no connection.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum DialError {
    #[error(transparent)]
    Call(#[from] CallError),
    #[error("no Socket Mode connection: {0}")]
    Socket(String),
}

/// How a connection ended.
#[derive(Debug)]
pub(super) enum Ended<S> {
    /// Slack will close it soon; it still works.
    Replace(Socket<S>),
    /// Somebody switched Socket Mode off in the app's settings.
    Disabled,
    /// It broke, or Slack closed it.
    Lost(String),
}

/// Asks for a ticket, connects, waits for `hello`.
pub(super) async fn dial(api: &Api, app_token: &Secret) -> Result<Socket<MaybeTlsStream<TcpStream>>, DialError> {
    let url = api.connections_open(app_token).await?;
    if !may_connect(api, &url) {
        return Err(DialError::Socket("Slack named an address that is not wss".to_owned()));
    }
    let config = WebSocketConfig::default()
        .read_buffer_size(16 * 1024)
        .write_buffer_size(4 * 1024)
        .max_message_size(Some(MAX_FRAME_BYTES))
        .max_frame_size(Some(MAX_FRAME_BYTES));
    let connect = Box::pin(connect_async_tls_with_config(url, Some(config), true, None));
    let (socket, _response) = timeout(CONNECT_TIMEOUT, connect)
        .await
        .map_err(|_elapsed| DialError::Socket("connecting took too long".to_owned()))?
        .map_err(|e| DialError::Socket(describe(&e)))?;
    let mut socket = Box::new(socket);
    timeout(CONNECT_TIMEOUT, wait_for_hello(&mut socket))
        .await
        .map_err(|_elapsed| DialError::Socket("Slack did not say hello".to_owned()))?
        .map_err(DialError::Socket)?;
    Ok(socket)
}

/// The ticket is a secret: it may go in clear only where the token itself may.
fn may_connect(api: &Api, url: &str) -> bool {
    match Url::parse(url).as_ref().map(Url::scheme) {
        Ok("wss") => true,
        Ok("ws") => api.base_url().scheme() == "http",
        _ => false,
    }
}

/// Takes what arrives, one after the other, until the connection ends or is to be replaced.
pub(super) async fn serve<S>(slack: &Slack, host: &dyn Host, mut socket: Socket<S>) -> Ended<S>
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    loop {
        let text = match next_text(&mut socket).await {
            Ok(text) => text,
            Err(reason) => return Ended::Lost(reason),
        };
        let done = match serde_json::from_str(&text) {
            Ok(Frame::Hello | Frame::Other { envelope_id: None }) => None,
            Ok(Frame::Disconnect { reason }) => {
                return match reason.as_deref() {
                    Some("link_disabled") => Ended::Disabled,
                    _ => Ended::Replace(socket),
                };
            }
            Ok(Frame::EventsApi { envelope_id, payload }) => {
                take(slack, host, payload).await.is_final().then_some(envelope_id)
            }
            Ok(Frame::Other { envelope_id }) => envelope_id,
            Err(_) => {
                tracing::warn!(channel.name = %host.entry(), "a frame of Slack cannot be read");
                None
            }
        };
        if let Some(envelope_id) = done {
            let ack = Message::text(json!({ "envelope_id": envelope_id }).to_string());
            if let Err(reason) = write(&mut socket, ack).await {
                return Ended::Lost(reason);
            }
        }
    }
}

/// Serves a connection that is being replaced, until Slack closes it or shortly after `replaced`.
pub(super) async fn drain<S>(slack: &Slack, host: &dyn Host, mut socket: Socket<S>, replaced: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let served = async {
        while let Ended::Replace(same) = serve(slack, host, socket).await {
            socket = same;
        }
    };
    let over = async {
        replaced.cancelled().await;
        sleep(GRACE).await;
    };
    tokio::select! {
        () = served => {}
        // What is cut off here was not acknowledged: it comes again, and is known by then.
        () = over => {}
    }
}

/// Is the envelope settled, so that it may be acknowledged?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Taken {
    Finally,
    /// Slack sends it again when nobody acknowledges it.
    NotNow,
}

impl Taken {
    fn is_final(self) -> bool {
        self == Self::Finally
    }
}

async fn take(slack: &Slack, host: &dyn Host, payload: Value) -> Taken {
    let event = match serde_json::from_value::<Callback>(payload).map_err(Into::into).and_then(|c| slack.read(c)) {
        Ok(Some(event)) => event,
        Ok(None) => return Taken::Finally,
        Err(error) => {
            tracing::warn!(channel.name = %host.entry(), %error, "an event of Slack is dropped");
            return Taken::Finally;
        }
    };
    match host.admit(event).await {
        Admitted::Unavailable { .. } => Taken::NotNow,
        Admitted::Accepted { .. }
        | Admitted::Duplicate
        | Admitted::Ignored(_)
        | Admitted::Refused(_)
        | Admitted::Limited { .. }
        | Admitted::Unresolvable(_) => Taken::Finally,
    }
}

async fn wait_for_hello<S>(socket: &mut Socket<S>) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    loop {
        let text = next_text(socket).await?;
        match serde_json::from_str(&text) {
            Ok(Frame::Hello) => return Ok(()),
            Ok(Frame::Disconnect { reason }) => {
                return Err(format!("Slack refuses it: {}", reason.unwrap_or_default()));
            }
            _ => {}
        }
    }
}

/// The next text frame. Pings are answered by the library when the next frame is read.
async fn next_text<S>(socket: &mut Socket<S>) -> Result<Utf8Bytes, String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut is_asked = false;
    loop {
        match timeout(IDLE, socket.next()).await {
            Ok(Some(Ok(Message::Text(text)))) => return Ok(text),
            Ok(Some(Ok(Message::Close(_))) | None) => return Err("Slack closed the connection".to_owned()),
            Ok(Some(Ok(_))) => is_asked = false,
            Ok(Some(Err(e))) => return Err(describe(&e)),
            Err(_elapsed) if is_asked => return Err("Slack went silent".to_owned()),
            Err(_elapsed) => {
                write(socket, Message::Ping(tungstenite::Bytes::new())).await?;
                is_asked = true;
            }
        }
    }
}

async fn write<S>(socket: &mut Socket<S>, message: Message) -> Result<(), String>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    match timeout(WRITE_TIMEOUT, socket.send(message)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(e)) => Err(describe(&e)),
        Err(_elapsed) => Err("the connection takes no more data".to_owned()),
    }
}

/// Without the address, which holds the ticket.
fn describe(error: &tungstenite::Error) -> String {
    match error {
        tungstenite::Error::Url(_) => "the address cannot be used".to_owned(),
        tungstenite::Error::Http(response) => format!("the connection was answered with {}", response.status()),
        other => other.to_string(),
    }
}
