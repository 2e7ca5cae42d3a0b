//! The peer of a webhook entry: signs what it sends and checks what it gets (Standard Webhooks).

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};

use aws_lc_rs::hmac;
use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use frontdesk::clock::Timestamp;
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::{TestGateway, http, serve, soon};

/// Ids of what all peers of a test send: never the same twice.
static N_SENT: AtomicU64 = AtomicU64::new(0);

/// The peer of one entry.
#[derive(Debug)]
pub(crate) struct Hook {
    entry: String,
    url: String,
    /// What replies are answered with.
    status: Arc<AtomicU16>,
    replies: mpsc::UnboundedReceiver<Reply>,
}

/// What arrived at the reply address.
#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) delivery_id: String,
    pub(crate) body: Value,
}

#[derive(Debug, Clone)]
struct Desk {
    entry: String,
    status: Arc<AtomicU16>,
    replies: mpsc::UnboundedSender<Reply>,
}

impl Hook {
    /// For the entry with this id.
    pub(crate) async fn start(entry: &str) -> Self {
        let (sender, replies) = mpsc::unbounded_channel();
        let status = Arc::new(AtomicU16::new(200));
        let desk = Desk { entry: entry.to_owned(), status: Arc::clone(&status), replies: sender };
        let router = Router::new().route("/replies", post(receive)).with_state(desk);
        Self { entry: entry.to_owned(), url: serve(router).await, status, replies }
    }

    /// Its `[[channels]]` entry; more keys may follow.
    pub(crate) fn entry(&self) -> String {
        let Self { entry, url, .. } = self;
        let secret = secret(entry);
        format!(
            "[[channels]]\nid = \"{entry}\"\ntype = \"webhook\"\nsecret = \"{secret}\"\nreply_url = \"{url}/replies\"\n"
        )
    }

    /// From now on, replies are answered with this status.
    pub(crate) fn answer_replies_with(&self, status: StatusCode) {
        self.status.store(status.as_u16(), Ordering::SeqCst);
    }

    /// Sends a message; returns what the gateway answered.
    pub(crate) async fn say(&self, gateway: &TestGateway, message: &Value) -> (StatusCode, Value) {
        self.post(gateway, &self.entry, message).await
    }

    /// The same to another entry, with the secret of its own.
    pub(crate) async fn post(&self, gateway: &TestGateway, entry: &str, message: &Value) -> (StatusCode, Value) {
        let id = format!("msg_{}", N_SENT.fetch_add(1, Ordering::SeqCst));
        let url = gateway.url(&format!("/hooks/{entry}"));
        let request = signed(http().post(url), &self.entry, &id, gateway.now(), message.to_string());
        let response = soon("an answer to a hook", request.send()).await.unwrap();
        (response.status(), response.json().await.unwrap_or_default())
    }

    /// Sends a message, which must be accepted; returns its session key.
    pub(crate) async fn accepted(&self, gateway: &TestGateway, message: &Value) -> String {
        let (status, body) = self.say(gateway, message).await;
        assert_eq!((status, &body["accepted"]), (StatusCode::ACCEPTED, &json!(true)), "{body}");
        body["session_key"].as_str().unwrap().to_owned()
    }

    /// The next reply, with a right signature.
    pub(crate) async fn reply(&mut self) -> Reply {
        soon("a reply", self.replies.recv()).await.unwrap()
    }

    /// Forgets replies that the test has not looked at.
    pub(crate) fn forget_replies(&mut self) {
        while self.replies.try_recv().is_ok() {}
    }

    /// The next reply, which must say this and answer these messages.
    pub(crate) async fn hears(&mut self, text: &str, answers: &[&str]) -> Reply {
        let reply = self.reply().await;
        assert_eq!((&reply.body["text"], &reply.body["answers"]), (&json!(text), &json!(answers)));
        assert_eq!(reply.body["in_reply_to"], json!(answers.last()));
        reply
    }
}

/// What `user` writes to the bot alone; the text is also the message's id.
pub(crate) fn direct(user: &str, text: &str) -> Value {
    json!({ "kind": "direct", "user_id": user, "message_id": text, "text": text })
}

/// What `user` writes in a group.
pub(crate) fn group(room: &str, user: &str, text: &str, mentions_bot: bool) -> Value {
    json!({
        "kind": "group", "server_id": "s1", "channel_id": room, "user_id": user,
        "message_id": text, "text": text, "mentions_bot": mentions_bot,
    })
}

/// What `user` writes in a thread of a group.
pub(crate) fn thread(room: &str, thread: &str, user: &str, text: &str, mentions_bot: bool) -> Value {
    let mut message = group(room, user, text, mentions_bot);
    message["kind"] = json!("thread");
    message["thread_id"] = json!(thread);
    message
}

/// A request with this body, signed with the secret of an entry.
pub(crate) fn signed(request: RequestBuilder, entry: &str, id: &str, now: Timestamp, body: String) -> RequestBuilder {
    let now = now.as_secs().to_string();
    let tag = hmac::sign(&key(&secret(entry)), format!("{id}.{now}.{body}").as_bytes());
    request
        .header("webhook-id", id)
        .header("webhook-timestamp", now)
        .header("webhook-signature", format!("v1,{}", STANDARD.encode(tag)))
        .body(body)
}

/// The delivery id of a reply, if it is signed with the secret of this entry.
pub(crate) fn verified(entry: &str, headers: &HeaderMap, body: &str) -> Option<String> {
    let header = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    let delivery_id = header("webhook-id").to_owned();
    let signed = format!("{delivery_id}.{}.{body}", header("webhook-timestamp"));
    let tag = STANDARD.decode(header("webhook-signature").strip_prefix("v1,")?).ok()?;
    hmac::verify(&key(&secret(entry)), signed.as_bytes(), &tag).ok()?;
    Some(delivery_id)
}

async fn receive(State(desk): State<Desk>, headers: HeaderMap, body: String) -> StatusCode {
    let Some(delivery_id) = verified(&desk.entry, &headers, &body) else { return StatusCode::UNAUTHORIZED };
    let reply = Reply { delivery_id, body: serde_json::from_str(&body).unwrap() };
    match desk.replies.send(reply) {
        Ok(()) => StatusCode::from_u16(desk.status.load(Ordering::SeqCst)).unwrap(),
        Err(_) => StatusCode::GONE,
    }
}

/// Of an entry, as its configuration names it.
pub(crate) fn secret(entry: &str) -> String {
    format!("whsec_{}", STANDARD.encode(format!("the secret of the entry {entry}")))
}

fn key(secret: &str) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(secret.strip_prefix("whsec_").unwrap()).unwrap())
}
