//! One WebSocket, from the page's hello to its end.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, close_code};
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};

use super::hub::Connection;
use super::intake;
use super::routes::Site;
use super::wire::{FromPage, ToPage};
use crate::channel::Host;

const HELLO: Duration = Duration::from_secs(10);
/// Proxies close what is silent for a minute, and so do we.
const BEAT: Duration = Duration::from_secs(25);
const SILENCE: Duration = Duration::from_secs(60);

/// Serves the socket until either side ends it.
pub(super) async fn run(mut socket: WebSocket, site: Arc<Site>, host: Arc<dyn Host>, connection: Connection) {
    let reason = match serve(&mut socket, &site, &*host, connection).await {
        Some(reason) => reason,
        None => return,
    };
    // The page knows these: it comes back, at once or later.
    let frame = match reason {
        Reason::FellBehind => CloseFrame { code: close_code::AGAIN, reason: Utf8Bytes::from_static("resume") },
        Reason::Protocol => CloseFrame { code: close_code::POLICY, reason: Utf8Bytes::from_static("protocol") },
    };
    // A peer that is gone cannot be told.
    let _ = socket.send(Message::Close(Some(frame))).await;
}

/// Why we end a socket.
enum Reason {
    /// The tab was too slow, or the entry closes.
    FellBehind,
    /// The other side does not speak the protocol, or does not speak at all.
    Protocol,
}

/// `None`: the other side has ended it.
async fn serve(socket: &mut WebSocket, site: &Site, host: &dyn Host, mut connection: Connection) -> Option<Reason> {
    let Ok(first) = timeout(HELLO, socket.recv()).await else { return Some(Reason::Protocol) };
    let Some(FromPage::Hello { after }) = read(&first?.ok()?) else { return Some(Reason::Protocol) };
    let visitor = connection.visitor().clone();
    let history = intake::history(host, &visitor, after, connection.take_draft()).await;
    socket.send(Message::Text(history.encode())).await.ok()?;

    let mut beat = interval_at(Instant::now() + BEAT, BEAT);
    beat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut heard = Instant::now();
    loop {
        tokio::select! {
            event = connection.next() => {
                let Some(event) = event else { return Some(Reason::FellBehind) };
                socket.send(Message::Text(event)).await.ok()?;
            }
            frame = socket.recv() => {
                let frame = frame?.ok()?;
                heard = Instant::now();
                match (&frame, read(&frame)) {
                    (_, Some(FromPage::Message(draft))) => {
                        let answer = intake::take(site, host, &visitor, draft).await;
                        socket.send(Message::Text(answer.encode())).await.ok()?;
                    }
                    (Message::Ping(_) | Message::Pong(_), None) => {}
                    (Message::Close(_), None) => return None,
                    (Message::Text(_) | Message::Binary(_), None) | (_, Some(FromPage::Hello { .. })) => {
                        return Some(Reason::Protocol);
                    }
                }
            }
            _ = beat.tick() => {
                if heard.elapsed() > SILENCE {
                    return Some(Reason::Protocol);
                }
                // The ping makes the browser speak; the beat is what its script can hear.
                socket.send(Message::Ping(axum::body::Bytes::new())).await.ok()?;
                socket.send(Message::Text(ToPage::Beat.encode())).await.ok()?;
            }
        }
    }
}

fn read(frame: &Message) -> Option<FromPage> {
    match frame {
        Message::Text(text) => serde_json::from_str(text).ok(),
        Message::Binary(_) | Message::Ping(_) | Message::Pong(_) | Message::Close(_) => None,
    }
}
