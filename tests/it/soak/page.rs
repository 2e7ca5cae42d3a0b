//! The page of one visitor, as its script speaks: a socket that comes back, drafts that are repeated until they are
//! accepted, lines that are shown once.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use axum::http::{HeaderValue, header};
use frontdesk::clock::Clock as _;
use futures_util::{SinkExt as _, StreamExt as _};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio_tungstenite::tungstenite::{Message, client::IntoClientRequest as _};
use tokio_tungstenite::{MaybeTlsStream, WebSocketStream};

use super::oracle::{address, word};
use super::place::Place;
use super::senders::Street;

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

/// Before it comes back.
const PAUSE: Duration = Duration::from_millis(50);

/// What the page knows.
struct Page {
    street: Arc<Street>,
    place: Place,
    cookie: Option<String>,
    /// Where the last history ended.
    after: Option<u64>,
    /// Written and not accepted, by id.
    drafts: HashMap<String, usize>,
    /// Every message that was written here, by id.
    written: HashMap<String, usize>,
    shown: HashSet<(u64, String)>,
}

/// Keeps the page open; what comes out of `drafts` is written by the visitor.
pub(crate) async fn keep(street: Arc<Street>, place: Place, mut drafts: mpsc::UnboundedReceiver<usize>) {
    let mut page = Page {
        street,
        place,
        cookie: None,
        after: None,
        drafts: HashMap::new(),
        written: HashMap::new(),
        shown: HashSet::new(),
    };
    loop {
        let door = page.street.open().await;
        if let Some(socket) = page.connect(&door).await {
            // It ends when the gateway does, or the entry is opened again.
            page.speak(socket, &mut drafts).await;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

impl Page {
    async fn connect(&mut self, door: &str) -> Option<Socket> {
        let path = format!("{door}/chat/{}", self.place.entry);
        if self.cookie.is_none() {
            let response = self.street.http.get(&path).send().await.ok()?;
            let cookie = response.headers().get(header::SET_COOKIE)?.to_str().ok()?;
            self.cookie = cookie.split(';').next().map(str::to_owned);
        }
        let mut request = format!("{path}/socket").replacen("http", "ws", 1).into_client_request().ok()?;
        let headers = request.headers_mut();
        headers.insert(header::COOKIE, HeaderValue::from_str(self.cookie.as_ref()?).ok()?);
        headers.insert(header::ORIGIN, HeaderValue::from_str(door).ok()?);
        let (mut socket, _) = tokio_tungstenite::connect_async(request).await.ok()?;
        send(&mut socket, &json!({ "type": "hello", "after": self.after })).await?;
        for (id, n) in &self.drafts {
            send(&mut socket, &draft(id, *n)).await?;
        }
        Some(socket)
    }

    async fn speak(&mut self, mut socket: Socket, drafts: &mut mpsc::UnboundedReceiver<usize>) -> Option<()> {
        loop {
            tokio::select! {
                n = drafts.recv() => {
                    // Without anybody who writes, the page stays open.
                    let Some(n) = n else { return std::future::pending().await };
                    let (_, id) = self.street.ledger.message(n);
                    self.drafts.insert(id.clone(), n);
                    self.written.insert(id.clone(), n);
                    send(&mut socket, &draft(&id, n)).await?;
                }
                frame = socket.next() => match frame?.ok()? {
                    Message::Text(text) => self.take(text.as_str(), &mut socket).await?,
                    Message::Close(_) => return None,
                    _ => {}
                },
            }
        }
    }

    async fn take(&mut self, text: &str, socket: &mut Socket) -> Option<()> {
        let ledger = self.street.ledger.clone();
        ledger.seen("the page", &self.place, text);
        let event: Value = serde_json::from_str(text).unwrap();
        match event["type"].as_str().unwrap_or_default() {
            "history" => {
                self.after = event["last"].as_u64();
                for line in event["lines"].as_array().into_iter().flatten() {
                    self.line(line);
                }
            }
            "message" => self.agent_line(event["seq"].as_u64(), event["text"].as_str().unwrap_or_default()),
            "accepted" => {
                let id = event["id"].as_str().unwrap_or_default();
                ledger.shown(&self.place, event["text"].as_str().unwrap_or_default());
                match self.written.get(id) {
                    Some(n) => ledger.accepted(*n, None, self.street.clock.now()),
                    None => ledger.wrong(format!("the page of {} hears of another's message", self.place.user)),
                }
                self.drafts.remove(id);
            }
            "refused" => {
                let id = event["id"].as_str().unwrap_or_default();
                if !matches!(event["reason"].as_str(), Some("unavailable" | "too_fast")) {
                    ledger.wrong(format!("a message of {} was refused: {event}", self.place.user));
                }
                let n = *self.drafts.get(id)?;
                tokio::time::sleep(PAUSE).await;
                send(socket, &draft(id, n)).await?;
            }
            _ => {}
        }
        Some(())
    }

    fn line(&mut self, line: &Value) {
        let text = line["text"].as_str().unwrap_or_default();
        match line["from"].as_str() {
            Some("agent") => self.agent_line(line["seq"].as_u64(), text),
            _ => self.street.ledger.shown(&self.place, text),
        }
    }

    /// A line is known by its number and its text.
    fn agent_line(&mut self, seq: Option<u64>, text: &str) {
        if self.shown.insert((seq.unwrap_or_default(), text.to_owned())) {
            self.street.ledger.heard(&address(&self.place, 0), text);
        }
    }
}

fn draft(id: &str, n: usize) -> Value {
    json!({ "type": "message", "id": id, "text": format!("my word is {}", word(n)) })
}

async fn send(socket: &mut Socket, event: &Value) -> Option<()> {
    socket.send(Message::text(event.to_string())).await.ok()
}
