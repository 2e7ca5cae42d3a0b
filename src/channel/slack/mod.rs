//! Slack: events by Socket Mode or by signed HTTP, answers by `chat.postMessage`.
//!
//! | file | holds |
//! |---|---|
//! | `settings` | the keys of an entry |
//! | `signature` | is a request from Slack? |
//! | `wire`, `event`, `text` | from Slack's JSON to an event of ours; pure |
//! | `api` | calls to Slack, and what their failures mean |
//! | `socket` | one Socket Mode connection |
//! | `connection`, `backoff` | keeps such a connection, and asks once who the bot is |
//!
//! What always holds:
//! - An event is acknowledged — HTTP 200, or an ack on the socket — only after the gateway admitted it.
//!   Anything else makes Slack send it again, and channel and `ts` name the message when it does.
//! - `message` and `app_mention` of the same words are one message.
//! - The server of a conversation is the workspace of the installation, so that a channel shared
//!   between companies is one conversation whoever writes.
//! - A message that stands in a channel is answered in the channel, a message in a thread in that
//!   thread. An answer that opened a thread by itself would move the next question, and with it the
//!   conversation, to another session that knows nothing of the first.
//! - `chat.postMessage` has no idempotency key: whatever may have been posted is not posted again.
//!
//! Not here: a typing sign. Slack shows one only for assistant threads, to apps that have that feature.

mod api;
mod backoff;
mod connection;
mod event;
mod form;
#[cfg(test)]
mod fixtures;
mod settings;
mod signature;
mod socket;
#[cfg(test)]
mod testing;
mod text;
mod wire;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use async_trait::async_trait;
use http::{Method, StatusCode};
use serde_json::json;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(super) use self::settings::TYPE;

use self::api::{Api, CallError};
use self::event::{Me, Reading, Target};
use self::settings::SlackSettings;
use self::wire::Callback;
use super::form::Probe;
use super::registry::Setup;
use super::{Channel, Descriptor, Event, Handled, HookRequest, HookResponse, Host, Reply, Sender, Sent};
use crate::id::EntryId;

static DESCRIPTOR: Descriptor = Descriptor {
    type_name: "slack",
    key_tag: "slack",
    // Slack's advice. It cuts at 40,000 characters, which escaping cannot reach from here.
    max_text_chars: Some(4000),
    has_page: false,
    is_inline: false,
    send_is_idempotent: false,
    sender: Sender::Vendor,
    ids_are_global: true,
};

/// The adapter of one Slack app in one workspace.
#[derive(Debug)]
struct Slack {
    entry: EntryId,
    settings: SlackSettings,
    api: Api,
    /// Set when `auth.test` has answered.
    me: OnceLock<Me>,
    /// Why Slack does not let the bot speak, when it said so last.
    refusal: watch::Sender<Option<String>>,
    refusal_was_logged: AtomicBool,
    other_was_logged: AtomicBool,
}

impl Slack {
    fn new(settings: SlackSettings, setup: Setup) -> Self {
        Self {
            entry: setup.entry,
            api: Api::new(setup.http, settings.base_url.clone()),
            settings,
            me: OnceLock::new(),
            refusal: watch::Sender::new(None),
            refusal_was_logged: AtomicBool::new(false),
            other_was_logged: AtomicBool::new(false),
        }
    }

    /// The message in a callback, if there is one.
    fn read(&self, callback: Callback) -> Result<Option<Event>, event::Error> {
        if callback.kind != "event_callback" {
            self.log_other(&callback.kind);
            return Ok(None);
        }
        match event::read(callback, self.me.get())? {
            Reading::Message(event) => Ok(Some(*event)),
            Reading::Other(name) => {
                self.log_other(&name);
                Ok(None)
            }
        }
    }

    /// Remembers whether Slack lets the bot speak, for the health of the channel.
    fn note_refusal(&self, outcome: &Result<(), CallError>) {
        let refusal = match outcome {
            Ok(()) => None,
            Err(error) if error.is_auth() => Some(error.to_string()),
            Err(_) => return,
        };
        self.refusal.send_if_modified(|known| {
            let is_news = *known != refusal;
            *known = refusal;
            is_news
        });
    }

    /// Once: an app that is subscribed to more than messages sends such events all day.
    fn log_other(&self, name: &str) {
        if !self.other_was_logged.swap(true, Ordering::Relaxed) {
            tracing::info!(channel.name = %self.entry, event = name, "Slack sends events that are not messages; they are ignored");
        }
    }

    /// Once as a warning: whoever finds the address could fill the log.
    fn log_refusal(&self, reason: &str) {
        if self.refusal_was_logged.swap(true, Ordering::Relaxed) {
            tracing::debug!(channel.name = %self.entry, reason, "request refused");
        } else {
            tracing::warn!(
                channel.name = %self.entry,
                reason,
                "a request was not signed by Slack; if it came from Slack, check signing_secret and the clock"
            );
        }
    }
}

#[async_trait]
impl Channel for Slack {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn handle_http(&self, request: &HookRequest<'_>) -> Handled {
        let respond = |status, text| Handled::Respond(HookResponse::text(status, text));
        let Some(signing_secret) = &self.settings.signing_secret else {
            return respond(StatusCode::NOT_FOUND, "this channel has no webhook");
        };
        if request.method != Method::POST {
            return respond(StatusCode::METHOD_NOT_ALLOWED, "Slack sends POST");
        }
        if let Err(reason) = signature::verify(signing_secret, request.headers, request.body, request.now) {
            self.log_refusal(reason);
            return respond(StatusCode::UNAUTHORIZED, "not signed by Slack");
        }
        let Ok(callback) = serde_json::from_slice::<Callback>(request.body) else {
            return respond(StatusCode::BAD_REQUEST, "not an event of Slack");
        };
        if callback.kind == "url_verification" {
            return match callback.challenge {
                Some(challenge) => {
                    Handled::Respond(HookResponse::json(StatusCode::OK, &json!({ "challenge": challenge })))
                }
                None => respond(StatusCode::BAD_REQUEST, "no challenge"),
            };
        }
        match self.read(callback) {
            Ok(Some(event)) => Handled::Admit(vec![event]),
            Ok(None) => respond(StatusCode::OK, ""),
            Err(error) => respond(StatusCode::BAD_REQUEST, &error.to_string()),
        }
    }

    async fn run(&self, host: Arc<dyn Host>, shutdown: CancellationToken) {
        connection::keep(self, &*host, &shutdown).await;
    }

    async fn send(&self, reply: &Reply) -> Sent {
        let Ok(target) = serde_json::from_str::<Target>(&reply.target) else {
            return Sent::Never { reason: "the reply address cannot be read".to_owned() };
        };
        let outcome = self.api.post_message(&self.settings.bot_token, &target, &reply.text).await;
        self.note_refusal(&outcome);
        outcome.map_or_else(api::not_sent, |()| Sent::Delivered)
    }

    async fn test(&self) -> Vec<Probe> {
        let me = self.api.auth_test(&self.settings.bot_token).await;
        self.note_refusal(&me.as_ref().map(|_me| ()).map_err(Clone::clone));
        let found = |me: Me| format!("Slack knows the bot as {}", me.user_id);
        let mut probes = vec![Probe { what: "bot token", outcome: me.map(found).map_err(|error| error.to_string()) }];
        if let Some(app_token) = &self.settings.app_token {
            let opened = self.api.connections_open(app_token).await;
            let outcome = opened.map(|_url| "Slack offers a connection".to_owned()).map_err(|error| error.to_string());
            probes.push(Probe { what: "app token", outcome });
        }
        probes
    }
}
