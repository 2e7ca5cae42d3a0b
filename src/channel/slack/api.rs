//! Slack's Web API: three methods, and what their failures mean.

use std::error::Error as _;
use std::time::Duration;

use http::StatusCode;
use http::header::CONTENT_TYPE;
use reqwest::Url;
use serde::de::{DeserializeOwned, IgnoredAny};
use serde_json::{Value, json};

use super::event::{Me, Target};
use super::text;
use super::wire::{AuthTest, ConnectionsOpen};
use crate::channel::{Sent, retry_after};
use crate::clock::{Clock as _, SystemClock};
use crate::document::Secret;

/// For one call, from the first byte sent to the last byte read.
const CALL_TIMEOUT: Duration = Duration::from_secs(20);
/// Answers are a few hundred bytes; more than this is not Slack.
const MAX_ANSWER_BYTES: usize = 1024 * 1024;

/// Calls Slack.
#[derive(Debug)]
pub(super) struct Api {
    http: reqwest::Client,
    /// Ends with `/`, so that methods can be joined to it.
    base_url: Url,
}

/// Why a call has no result. Says no secret and no text of a message.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum CallError {
    /// No connection was made, so Slack has seen nothing.
    #[error("Slack cannot be reached: {0}")]
    Unreachable(String),
    /// The request was written, fully or in part; the answer did not come.
    #[error("the connection to Slack broke during a call: {0}")]
    Broken(String),
    /// HTTP 429.
    #[error("Slack asks to slow down")]
    Throttled { retry_after: Option<Duration> },
    /// Another status that is not success.
    #[error("Slack answered {status}")]
    Status { status: StatusCode, retry_after: Option<Duration> },
    /// `"ok": false` and Slack's name for the reason.
    #[error("Slack answered {0:?}")]
    Refused(String),
    /// Success, with a body that is no answer of Slack.
    #[error("Slack's answer cannot be read")]
    Unreadable,
}

impl Api {
    pub(super) fn new(http: reqwest::Client, mut base_url: Url) -> Self {
        if !base_url.path().ends_with('/') {
            base_url.set_path(&format!("{}/", base_url.path()));
        }
        Self { http, base_url }
    }

    pub(super) fn base_url(&self) -> &Url {
        &self.base_url
    }

    /// Who the bot is.
    pub(super) async fn auth_test(&self, bot_token: &Secret) -> Result<Me, CallError> {
        let AuthTest { user_id, bot_id } = self.call("auth.test", bot_token, &json!({})).await?;
        Ok(Me { user_id, bot_id })
    }

    /// The address of a new Socket Mode connection.
    pub(super) async fn connections_open(&self, app_token: &Secret) -> Result<String, CallError> {
        let ConnectionsOpen { url } = self.call("apps.connections.open", app_token, &json!({})).await?;
        Ok(url)
    }

    /// Says `text` at `target`.
    pub(super) async fn post_message(&self, bot_token: &Secret, target: &Target, text: &str) -> Result<(), CallError> {
        let mut body = json!({
            "channel": target.channel,
            "text": text::escape(text),
            // Slack would fetch every address in the answer, and so tell its owner what was said here.
            "unfurl_links": false,
            "unfurl_media": false,
        });
        if let (Some(thread_ts), Some(fields)) = (&target.thread_ts, body.as_object_mut()) {
            fields.insert("thread_ts".to_owned(), json!(thread_ts));
        }
        self.call("chat.postMessage", bot_token, &body).await.map(|IgnoredAny| ())
    }

    async fn call<T: DeserializeOwned>(&self, method: &str, token: &Secret, body: &Value) -> Result<T, CallError> {
        let url = self.base_url.join(method).or(Err(CallError::Unreadable))?;
        let request = self
            .http
            .post(url)
            .bearer_auth(token.expose())
            // Without the charset Slack answers with a warning.
            .header(CONTENT_TYPE, "application/json; charset=utf-8")
            .timeout(CALL_TIMEOUT)
            .body(body.to_string());
        let mut response = request.send().await.map_err(|e| {
            if e.is_connect() || e.is_builder() {
                CallError::Unreachable(root_cause(&e))
            } else {
                CallError::Broken(root_cause(&e))
            }
        })?;

        let status = response.status();
        let retry_after = retry_after(response.headers(), SystemClock.now());
        if status == StatusCode::TOO_MANY_REQUESTS {
            return Err(CallError::Throttled { retry_after });
        }
        if !status.is_success() {
            return Err(CallError::Status { status, retry_after });
        }
        let mut bytes = Vec::new();
        while let Some(chunk) = response.chunk().await.map_err(|e| CallError::Broken(root_cause(&e)))? {
            bytes.extend_from_slice(&chunk);
            if bytes.len() > MAX_ANSWER_BYTES {
                return Err(CallError::Unreadable);
            }
        }
        answer(&bytes, retry_after)
    }
}

impl CallError {
    /// Is it the token, the app or its installation? Only the operator can help, and then it works again.
    pub(super) fn is_auth(&self) -> bool {
        let Self::Refused(error) = self else { return false };
        matches!(
            error.as_str(),
            "not_authed"
                | "invalid_auth"
                | "account_inactive"
                | "token_revoked"
                | "token_expired"
                | "not_allowed_token_type"
                | "missing_scope"
                | "no_permission"
                | "access_denied"
                | "accesslimited"
                | "ekm_access_denied"
                | "org_login_required"
                | "team_access_not_granted"
                | "two_factor_setup_required"
                | "user_removed_from_team"
                | "team_disabled"
        )
    }
}

/// Slack answers 200 to most things; `ok` says whether it did them.
fn answer<T: DeserializeOwned>(bytes: &[u8], retry_after: Option<Duration>) -> Result<T, CallError> {
    let answer: Value = serde_json::from_slice(bytes).or(Err(CallError::Unreadable))?;
    match answer.get("ok").and_then(Value::as_bool) {
        Some(true) => T::deserialize(answer).or(Err(CallError::Unreadable)),
        Some(false) => match answer.get("error").and_then(Value::as_str).unwrap_or("no reason") {
            "ratelimited" | "rate_limited" => Err(CallError::Throttled { retry_after }),
            error => Err(CallError::Refused(error.to_owned())),
        },
        None => Err(CallError::Unreadable),
    }
}

/// What a failed `chat.postMessage` means for the message. The method has no idempotency key, so
/// whatever may have been posted is not repeated.
pub(super) fn not_sent(error: CallError) -> Sent {
    let reason = error.to_string();
    let is_auth = error.is_auth();
    match error {
        CallError::Unreachable(_) => Sent::NotYet { retry_after: None, reason },
        CallError::Throttled { retry_after } => Sent::NotYet { retry_after, reason },
        CallError::Broken(_) | CallError::Unreadable => Sent::Unclear { reason },
        CallError::Status { status, retry_after } => match status {
            StatusCode::BAD_REQUEST | StatusCode::PAYLOAD_TOO_LARGE => Sent::Never { reason },
            // Whoever says when to come back has not done it.
            StatusCode::SERVICE_UNAVAILABLE if retry_after.is_some() => Sent::NotYet { retry_after, reason },
            status if status.is_server_error() => Sent::Unclear { reason },
            // A wrong address or a proxy in between; the operator can set it right.
            _ => Sent::NotYet { retry_after, reason },
        },
        CallError::Refused(error) => match error.as_str() {
            // Slack: "some aspect of the operation" may have succeeded.
            "internal_error" | "fatal_error" => Sent::Unclear { reason },
            "service_unavailable" | "request_timeout" | "team_added_to_org" => {
                Sent::NotYet { retry_after: None, reason }
            }
            _ if is_auth => Sent::NotYet { retry_after: None, reason },
            // The channel is gone, archived or closed to the bot, or Slack does not like the message.
            _ => Sent::Never { reason },
        },
    }
}

/// The innermost error: the others repeat the address and say that something failed.
fn root_cause(error: &reqwest::Error) -> String {
    let mut cause = error.source();
    while let Some(inner) = cause.and_then(std::error::Error::source) {
        cause = Some(inner);
    }
    match cause {
        Some(cause) => cause.to_string(),
        None if error.is_timeout() => "it took too long".to_owned(),
        None => "no reason given".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(error: &str) -> CallError {
        answer::<IgnoredAny>(json!({"ok": false, "error": error}).to_string().as_bytes(), None).unwrap_err()
    }

    fn status(code: u16, retry_after: Option<u64>) -> CallError {
        CallError::Status {
            status: StatusCode::from_u16(code).unwrap(),
            retry_after: retry_after.map(Duration::from_secs),
        }
    }

    #[test]
    fn only_what_certainly_was_not_posted_is_tried_again() {
        #[track_caller]
        fn check(error: CallError, expected: &str) {
            let description = format!("{error:?}");
            let actual = match not_sent(error) {
                Sent::Delivered => "delivered",
                Sent::NotYet { .. } => "not yet",
                Sent::Unclear { .. } => "unclear",
                Sent::Never { .. } => "never",
            };
            assert_eq!(actual, expected, "{description}");
        }
        check(CallError::Unreachable("refused".to_owned()), "not yet");
        check(CallError::Broken("reset".to_owned()), "unclear");
        check(CallError::Unreadable, "unclear");
        check(CallError::Throttled { retry_after: None }, "not yet");
        check(status(500, None), "unclear");
        check(status(503, None), "unclear");
        check(status(503, Some(5)), "not yet");
        check(status(404, None), "not yet");
        check(status(407, None), "not yet");
        check(status(413, None), "never");
        for error in ["channel_not_found", "is_archived", "not_in_channel", "msg_too_long", "something_new"] {
            check(refused(error), "never");
        }
        for error in ["invalid_auth", "account_inactive", "token_revoked", "missing_scope", "ratelimited"] {
            check(refused(error), "not yet");
        }
        check(refused("service_unavailable"), "not yet");
        check(refused("internal_error"), "unclear");
    }

    #[test]
    fn the_wait_that_slack_asks_for_is_passed_on() {
        let wait = Some(Duration::from_secs(30));
        let body = br#"{"ok":false,"error":"ratelimited"}"#;
        let error = answer::<IgnoredAny>(body, wait).unwrap_err();
        assert_eq!(error, CallError::Throttled { retry_after: wait });
        assert!(matches!(not_sent(error), Sent::NotYet { retry_after, .. } if retry_after == wait));
    }

    #[test]
    fn a_body_that_is_no_answer_is_told_from_a_refusal() {
        for body in ["", "<html>", "{}", r#"{"ok":"yes"}"#, r#"{"ok":true}"#] {
            assert_eq!(answer::<AuthTest>(body.as_bytes(), None).unwrap_err(), CallError::Unreadable, "{body}");
        }
        assert_eq!(refused("x"), CallError::Refused("x".to_owned()));
        assert!(answer::<IgnoredAny>(br#"{"ok":true,"ts":"1.1"}"#, None).is_ok());
    }

    #[test]
    fn methods_are_joined_to_an_address_with_or_without_a_slash() {
        for base in ["https://slack.com/api", "https://slack.com/api/"] {
            let api = Api::new(reqwest::Client::new(), base.parse().unwrap());
            assert_eq!(api.base_url.join("auth.test").unwrap().as_str(), "https://slack.com/api/auth.test");
        }
    }
}
