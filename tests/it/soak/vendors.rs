//! The servers that the gateway calls: the model, the webhooks' reply address, and Slack's Web API.
//!
//! Slack's two methods as its documents have them: <https://docs.slack.dev/reference/methods/chat.postMessage>
//! and `auth.test`. The token says which installation speaks.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde_json::{Value, json};

use super::ledger::{Ledger, Told};
use super::oracle::Address;
use crate::peers::hook::verified;
use crate::peers::model::completion;
use crate::peers::serve;

/// The user that Slack knows the bot as.
pub(crate) const SLACK_BOT: &str = "U0FRONTBOT";

/// Starts them all; returns their address.
pub(crate) async fn start(ledger: Arc<Ledger>) -> String {
    let router = Router::new()
        .route("/v1/chat/completions", post(complete))
        .route("/replies/{entry}", post(reply))
        .route("/slack/{method}", post(slack))
        .with_state(ledger);
    serve(router).await
}

async fn complete(State(ledger): State<Arc<Ledger>>, body: String) -> Response {
    match ledger.asked(&body) {
        Told::Says(text, thinks) => {
            tokio::time::sleep(thinks).await;
            completion(&text, None)
        }
        Told::Fails => StatusCode::SERVICE_UNAVAILABLE.into_response(),
    }
}

async fn reply(
    State(ledger): State<Arc<Ledger>>,
    Path(entry): Path<String>,
    headers: HeaderMap,
    body: String,
) -> StatusCode {
    let Some(delivery) = verified(&entry, &headers, &body) else {
        ledger.wrong(format!("a reply of {entry} has no right signature"));
        return StatusCode::UNAUTHORIZED;
    };
    ledger.hook_reply(&entry, &delivery, &body);
    // It has it, and says that it has not: the same reply comes again.
    if ledger.one_in(100) { StatusCode::BAD_GATEWAY } else { StatusCode::OK }
}

async fn slack(
    State(ledger): State<Arc<Ledger>>,
    Path(method): Path<String>,
    headers: HeaderMap,
    body: String,
) -> Response {
    let body: Value = serde_json::from_str(&body).unwrap();
    let ok = |body: Value| ([(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response();
    let token = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let Some(entry) = token.and_then(|value| value.strip_prefix("Bearer xoxb-")) else {
        return ok(json!({ "ok": false, "error": "not_authed" }));
    };
    if method == "auth.test" {
        return ok(json!({ "ok": true, "user_id": SLACK_BOT, "bot_id": "B0FRONTBOT", "team_id": "T" }));
    }
    if ledger.one_in(100) {
        return (StatusCode::TOO_MANY_REQUESTS, [(header::RETRY_AFTER, "1")]).into_response();
    }
    let text = |name: &str| body[name].as_str().map(str::to_owned);
    let at = Address(vec![Some(entry.to_owned()), text("channel"), text("thread_ts")]);
    ledger.heard(&at, &text("text").unwrap_or_default());
    ok(json!({ "ok": true, "channel": body["channel"], "ts": "1700000000.000100" }))
}
