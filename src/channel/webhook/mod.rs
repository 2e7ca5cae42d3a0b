//! The generic webhook channel (SPEC §7.1): for anything without an adapter, for sidecars, for tests.
//!
//! Signatures both ways as the Standard Webhooks specification says (`signature`). Bodies are in `wire`.

mod form;
mod signature;
mod wire;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use http::StatusCode;
use serde_json::json;

use super::form::Probe;
use super::registry::{Settings, Setup, Type};
use super::{Admitted, Channel, Descriptor, Handled, HookRequest, HookResponse, Reply, Sender, Sent, retry_after};
use crate::clock::{Clock, SystemClock};
use crate::document::{Section, Severity};
pub use signature::Keys;

/// The channel type, for the registry.
pub(super) static TYPE: Type = Type { descriptor: &DESCRIPTOR, read, form: &form::FORM };

static DESCRIPTOR: Descriptor = Descriptor {
    type_name: "webhook",
    key_tag: "webhook",
    max_text_chars: None,
    has_page: false,
    is_inline: false,
    send_is_idempotent: true,
    sender: Sender::Program,
    ids_are_global: false,
};

/// How long a peer may take to say that it is there.
const TEST_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a peer may take to answer.
const SEND_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Debug, Clone)]
struct Config {
    keys: Keys,
    reply_url: reqwest::Url,
}

fn read(section: &mut Section<'_>) -> Option<Box<dyn Settings>> {
    let mut keys = Keys::default();
    if let Some(secret) = section.take_secret("secret") {
        keys.add(&secret);
    }
    section.take_secrets("secrets").iter().for_each(|secret| keys.add(secret));
    let reply_url = section.take_parsed("reply_url", |text: &str| match reqwest::Url::parse(text) {
        Ok(url) if matches!(url.scheme(), "http" | "https") && url.has_host() => Ok(url),
        Ok(_) => Err(format!("{text:?} is not an http or https address")),
        Err(error) => Err(format!("{text:?} is not an address: {error}")),
    });
    if keys.is_empty() {
        let help = "secret = \"${HOOK_SECRET}\"; while a secret is rotated, secrets = [\"${NEW}\", \"${OLD}\"]";
        section.missing("secret", help);
        if section.has("secrets") {
            section.problem(Severity::Error, "secrets", "there is no secret in it", Some(help.to_owned()));
        }
    }
    section.missing("reply_url", "reply_url = \"https://example.com/replies\", where answers are posted");
    let reply_url = reply_url.filter(|_| !keys.is_empty())?;
    Some(Box::new(Config { keys, reply_url }))
}

impl Settings for Config {
    fn open(&self, setup: Setup) -> Arc<dyn Channel> {
        Arc::new(Webhook { config: self.clone(), http: setup.http })
    }
}

#[derive(Debug)]
struct Webhook {
    config: Config,
    http: reqwest::Client,
}

#[async_trait]
impl Channel for Webhook {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    fn handle_http(&self, request: &HookRequest<'_>) -> Handled {
        if request.method != http::Method::POST {
            return refuse(StatusCode::METHOD_NOT_ALLOWED, "use POST", None);
        }
        let id = match self.config.keys.verify(request.headers, request.body, request.now) {
            Ok(id) => id,
            Err(error) => return refuse(StatusCode::UNAUTHORIZED, &error.to_string(), None),
        };
        match wire::event(request.body, id) {
            Ok(event) => Handled::Admit(vec![event]),
            Err(error) => refuse(StatusCode::UNPROCESSABLE_ENTITY, &error.message, Some(error.field)),
        }
    }

    fn hook_response(&self, outcome: &Admitted) -> HookResponse {
        match outcome {
            Admitted::Accepted { session_key } => {
                HookResponse::json(StatusCode::ACCEPTED, &json!({ "accepted": true, "session_key": session_key }))
            }
            Admitted::Duplicate => HookResponse::json(StatusCode::OK, &json!({ "duplicate": true })),
            Admitted::Ignored(reason) => {
                HookResponse::json(StatusCode::OK, &json!({ "accepted": false, "reason": reason }))
            }
            Admitted::Refused(reason) => HookResponse::json(StatusCode::FORBIDDEN, &json!({ "error": reason })),
            Admitted::Unresolvable(reason) => {
                HookResponse::json(StatusCode::UNPROCESSABLE_ENTITY, &json!({ "error": reason }))
            }
            Admitted::Limited { retry_after } => HookResponse {
                retry_after: Some(*retry_after),
                ..HookResponse::json(StatusCode::TOO_MANY_REQUESTS, &json!({ "error": "too many messages a minute" }))
            },
            Admitted::Unavailable { retry_after } => HookResponse {
                retry_after: Some(*retry_after),
                ..HookResponse::json(StatusCode::SERVICE_UNAVAILABLE, &json!({ "error": "overloaded; send it again" }))
            },
        }
    }

    async fn send(&self, reply: &Reply) -> Sent {
        let Some(body) = wire::reply(reply) else {
            return Sent::Never { reason: "the reply address was not made by this channel".to_owned() };
        };
        let mut request = self.http.post(self.config.reply_url.clone()).timeout(SEND_TIMEOUT);
        for (name, value) in self.config.keys.sign(&reply.delivery_id, SystemClock.now(), body.as_bytes()) {
            request = request.header(name, value);
        }
        let response = request.header(http::header::CONTENT_TYPE, "application/json").body(body).send().await;
        match response {
            Ok(response) if response.status().is_success() => Sent::Delivered,
            Ok(response) if response.status() == StatusCode::GONE => {
                Sent::Never { reason: "the peer answered 410: it is gone for good".to_owned() }
            }
            Ok(response) => Sent::NotYet {
                retry_after: retry_after(response.headers(), SystemClock.now()),
                reason: format!("the peer answered {}", response.status().as_u16()),
            },
            // The same delivery id goes out again, so that the peer can tell a repeat.
            Err(error) => Sent::NotYet { retry_after: None, reason: error.without_url().to_string() },
        }
    }

    /// A `HEAD` without a signature: whatever is answered below 500 shows that somebody is there, and nobody takes it for a reply.
    async fn test(&self) -> Vec<Probe> {
        let answer = self.http.head(self.config.reply_url.clone()).timeout(TEST_TIMEOUT).send().await;
        let outcome = match answer {
            Ok(answer) if answer.status().is_server_error() => Err(format!("it answers {}", answer.status().as_u16())),
            Ok(answer) => Ok(format!("somebody is there (it answers {} to HEAD)", answer.status().as_u16())),
            Err(error) => Err(error.without_url().to_string()),
        };
        vec![Probe { what: "reply_url", outcome }]
    }
}

fn refuse(status: StatusCode, error: &str, field: Option<String>) -> Handled {
    let body = match field {
        Some(field) => json!({ "error": error, "field": field }),
        None => json!({ "error": error }),
    };
    Handled::Respond(HookResponse::json(status, &body))
}
