//! How people write: each kind of channel by its real door, again and again until the gateway says that it has it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use aws_lc_rs::hmac;
use axum::http::StatusCode;
use frontdesk::clock::{Clock as _, ManualClock};
use reqwest::RequestBuilder;
use serde_json::{Value, json};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;

use super::config::{api_key, slack_secret};
use super::ledger::Ledger;
use super::oracle::{address, word};
use super::page;
use super::place::{Kind, Place};
use super::vendors::SLACK_BOT;
use crate::peers::hook::signed;

/// Before something is sent again.
const PAUSE: Duration = Duration::from_millis(20);
/// Longest time for one request.
const TIMEOUT: Duration = Duration::from_secs(60);

/// What everybody who writes needs.
#[derive(Debug)]
pub(crate) struct Street {
    pub(crate) ledger: Arc<Ledger>,
    pub(crate) clock: Arc<ManualClock>,
    /// Where the gateway is; `None` while it has no power.
    pub(crate) door: watch::Sender<Option<String>>,
    pub(crate) http: reqwest::Client,
    /// The visitors' open pages.
    pages: Mutex<Pages>,
}

#[derive(Debug, Default)]
struct Pages {
    by_visitor: HashMap<(String, String), mpsc::UnboundedSender<usize>>,
    tasks: JoinSet<()>,
}

/// How one attempt ended.
enum Attempt {
    Done,
    Again,
}

impl Street {
    pub(crate) fn new(ledger: Arc<Ledger>, clock: Arc<ManualClock>) -> Arc<Self> {
        let http = reqwest::Client::builder().no_proxy().timeout(TIMEOUT).build().unwrap();
        Arc::new(Self { ledger, clock, door: watch::Sender::new(None), http, pages: Mutex::default() })
    }

    /// Waits until the gateway has power; returns its address.
    pub(crate) async fn open(&self) -> String {
        self.door.subscribe().wait_for(Option::is_some).await.unwrap().clone().unwrap()
    }

    /// Closes all pages.
    pub(crate) fn close_pages(&self) {
        *self.pages.lock().unwrap() = Pages::default();
    }

    /// Writes message `n` and comes back when the gateway has it.
    pub(crate) async fn send(self: &Arc<Self>, n: usize) {
        let (place, id) = self.ledger.message(n);
        if place.kind == Kind::Chat {
            return self.send_by_page(n, &place);
        }
        let mut is_first = true;
        loop {
            let door = self.open().await;
            let attempt = match place.kind {
                Kind::HookDirect | Kind::HookGroup | Kind::HookThread => {
                    self.send_hook(n, &place, &id, &door, is_first).await
                }
                Kind::Slack => self.send_slack(n, &place, &door).await,
                Kind::Api => self.send_api(n, &place, &id, &door, is_first).await,
                Kind::Chat => Attempt::Done,
            };
            if matches!(attempt, Attempt::Done) {
                return;
            }
            is_first = false;
            tokio::time::sleep(PAUSE).await;
        }
    }

    async fn send_hook(&self, n: usize, place: &Place, id: &str, door: &str, is_first: bool) -> Attempt {
        let kind = match place.kind {
            Kind::HookThread => "thread",
            Kind::HookGroup => "group",
            _ => "direct",
        };
        let mut body = json!({
            "kind": kind, "server_id": place.server, "channel_id": place.room, "user_id": place.user,
            "message_id": id, "text": self.ledger.text(n, is_first), "mentions_bot": true,
        });
        if place.kind == Kind::HookThread {
            body["thread_id"] = json!(place.thread);
        }
        if place.is_group {
            // The names of those in a group are in its prompts.
            body["user_name"] = json!(format!("{} {}", place.user.chars().take(10).collect::<String>(), word(n)));
        }
        let request = self.http.post(format!("{door}/hooks/{}", place.entry));
        let request =
            signed(request, &place.entry, &format!("{}-{id}", place.entry), self.clock.now(), body.to_string());
        match answer(request).await {
            Some((StatusCode::ACCEPTED, body)) => {
                self.ledger.accepted(n, body["session_key"].as_str(), self.clock.now());
                Attempt::Done
            }
            Some((StatusCode::OK, body)) if body["duplicate"] == true && !is_first => {
                self.ledger.accepted(n, None, self.clock.now());
                Attempt::Done
            }
            other => self.again(n, other),
        }
    }

    async fn send_slack(&self, n: usize, place: &Place, door: &str) -> Attempt {
        let (channel_type, kind) = if place.is_group { ("channel", "app_mention") } else { ("im", "message") };
        let mut event = json!({
            "type": kind, "channel": place.room, "channel_type": channel_type, "user": place.user,
            "text": format!("<@{SLACK_BOT}> my word is {}", word(n)), "ts": format!("1700000000.{n:06}"),
        });
        if let Some(thread) = &place.thread {
            event["thread_ts"] = json!(thread);
        }
        let team = &place.server;
        let callback = json!({
            "type": "event_callback", "team_id": team, "api_app_id": "A0FRONT", "event": event,
            "authorizations": [{
                "enterprise_id": null, "team_id": team, "user_id": SLACK_BOT, "is_bot": true, "is_enterprise_install": false,
            }],
        });
        // An app that is subscribed to both hears of a mention twice, and Slack repeats what it is not sure of.
        let mut callbacks = vec![callback.clone()];
        if place.is_group && n.is_multiple_of(2) {
            callbacks.push(callback.clone());
            callbacks[1]["event"]["type"] = json!("message");
        }
        if n.is_multiple_of(5) {
            callbacks.push(callback);
        }
        for (n_sent, callback) in callbacks.into_iter().enumerate() {
            let request = self.http.post(format!("{door}/hooks/{}", place.entry));
            let request = self.signed_by_slack(request, &place.entry, callback.to_string());
            match answer(request).await {
                Some((StatusCode::OK, _)) => self.ledger.accepted(n, None, self.clock.now()),
                // Accepted is accepted, whatever becomes of a repeat.
                _ if n_sent > 0 => break,
                other => return self.again(n, other),
            }
        }
        Attempt::Done
    }

    fn signed_by_slack(&self, request: RequestBuilder, entry: &str, body: String) -> RequestBuilder {
        let now = self.clock.now().as_secs();
        let key = hmac::Key::new(hmac::HMAC_SHA256, slack_secret(entry).as_bytes());
        let tag = hmac::sign(&key, format!("v0:{now}:{body}").as_bytes());
        let hex: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        request
            .header("x-slack-request-timestamp", now.to_string())
            .header("x-slack-signature", format!("v0={hex}"))
            .header("content-type", "application/json")
            .body(body)
    }

    async fn send_api(&self, n: usize, place: &Place, id: &str, door: &str, is_first: bool) -> Attempt {
        let text = format!("my word is {}", word(n));
        let body = json!({ "model": "default", "user": place.user, "messages": [{ "role": "user", "content": text }] });
        let request = self.http.post(format!("{door}/v1/chat/completions")).bearer_auth(api_key(place.tenant));
        let request = request.header("idempotency-key", id).body(body.to_string());
        match answer(request).await {
            Some((StatusCode::OK, body)) => {
                self.ledger.accepted(n, None, self.clock.now());
                let text = body["choices"][0]["message"]["content"].as_str().unwrap_or_default();
                self.ledger.heard(&address(place, n), text);
                Attempt::Done
            }
            Some((StatusCode::UNPROCESSABLE_ENTITY, body))
                if body["error"]["code"] == "idempotency_key_reused" && !is_first =>
            {
                self.ledger.unheard(n);
                self.ledger.accepted(n, None, self.clock.now());
                Attempt::Done
            }
            other => self.again(n, other),
        }
    }

    /// What may happen while the gateway restarts, is reloaded, or its clock jumps.
    fn again(&self, n: usize, answer: Option<(StatusCode, Value)>) -> Attempt {
        match answer {
            None => Attempt::Again,
            Some((StatusCode::NOT_FOUND | StatusCode::UNAUTHORIZED | StatusCode::SERVICE_UNAVAILABLE, _)) => {
                Attempt::Again
            }
            Some((status, body)) => {
                self.ledger.wrong(format!("message {n} was answered with {status}: {body:.300}"));
                Attempt::Done
            }
        }
    }

    fn send_by_page(self: &Arc<Self>, n: usize, place: &Place) {
        let mut pages = self.pages.lock().unwrap();
        let visitor = (place.entry.clone(), place.user.clone());
        let Pages { by_visitor, tasks } = &mut *pages;
        let page = by_visitor.entry(visitor).or_insert_with(|| {
            let (sender, drafts) = mpsc::unbounded_channel();
            tasks.spawn(page::keep(self.clone(), place.clone(), drafts));
            sender
        });
        page.send(n).unwrap();
    }
}

/// Status and body; `None`: the connection broke.
async fn answer(request: RequestBuilder) -> Option<(StatusCode, Value)> {
    let response = request.send().await.ok()?;
    let status = response.status();
    let text = response.text().await.ok()?;
    Some((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
}
