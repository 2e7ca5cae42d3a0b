//! The events of one tab as `text/event-stream`, for networks that break
//! upgraded connections.
//!
//! Format: WHATWG HTML, "Server-sent events". One event is one `data:` line, since JSON has no raw
//! line breaks.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use tokio::time::timeout;

use super::hub::Connection;
use super::intake;
use super::wire::ToPage;
use crate::channel::Host;

const BEAT: Duration = Duration::from_secs(15);
/// Some proxies hold back the first kilobytes.
const PADDING_BYTES: usize = 2048;

/// The answer to `GET events`. It ends when the tab does, or when the tab falls behind.
pub(super) fn respond(host: Arc<dyn Host>, connection: Connection, after: Option<u64>) -> Response {
    let start = stream::once(start(host, connection, after));
    let events = futures_util::StreamExt::flat_map(start, |(first, connection)| {
        let rest = stream::unfold(connection, |mut connection| async move {
            let event = match timeout(BEAT, connection.next()).await {
                Ok(event) => event?,
                Err(_silence) => ToPage::Beat.encode(),
            };
            Some((frame(&event), connection))
        });
        futures_util::StreamExt::chain(stream::iter([first]), rest)
    });
    let body = Body::from_stream(futures_util::StreamExt::map(events, Ok::<_, std::convert::Infallible>));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform")),
        // nginx and its relatives.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, body).into_response()
}

async fn start(host: Arc<dyn Host>, mut connection: Connection, after: Option<u64>) -> (Bytes, Connection) {
    let draft = connection.take_draft();
    let history = intake::history(&*host, connection.visitor(), after, draft).await;
    let padding = format!(":{}\n\n", " ".repeat(PADDING_BYTES));
    (Bytes::from([padding.as_bytes(), &frame(&history.encode())].concat()), connection)
}

fn frame(event: &str) -> Bytes {
    format!("data: {event}\n\n").into()
}
