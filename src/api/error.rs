//! Errors in the shape that OpenAI's clients read.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::AskError;
use crate::provider::{self, ErrorKind};

/// Why a request was not answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum ApiError {
    NoKey,
    WrongKey,
    TooLarge,
    TooSlow,
    Method,
    /// No such agent, or none that this key may ask: a key learns of its own only.
    Model(String),
    NotFound(String),
    Invalid {
        message: String,
        param: Option<String>,
    },
    Forbidden(&'static str),
    /// Not 409: the official clients would send the same request again.
    KeyReused,
    /// Not 409 either.
    Taken,
    Unavailable {
        retry_after: Option<Duration>,
    },
    Upstream,
}

impl ApiError {
    pub(super) fn invalid(message: impl Into<String>, param: &str) -> Self {
        Self::Invalid { message: message.into(), param: Some(param.to_owned()) }
    }

    fn parts(&self) -> (StatusCode, &'static str, &'static str, String) {
        match self {
            Self::NoKey => (
                StatusCode::UNAUTHORIZED,
                "invalid_request_error",
                "missing_api_key",
                "send an API key in the header `Authorization: Bearer …`".into(),
            ),
            Self::WrongKey => (
                StatusCode::UNAUTHORIZED,
                "invalid_request_error",
                "invalid_api_key",
                "this API key is not known".into(),
            ),
            Self::TooLarge => (
                StatusCode::PAYLOAD_TOO_LARGE,
                "invalid_request_error",
                "request_too_large",
                "the request is too large".into(),
            ),
            Self::TooSlow => (
                StatusCode::REQUEST_TIMEOUT,
                "invalid_request_error",
                "request_timeout",
                "the request took too long to arrive".into(),
            ),
            Self::Method => (
                StatusCode::METHOD_NOT_ALLOWED,
                "invalid_request_error",
                "method_not_allowed",
                "use another method".into(),
            ),
            Self::Model(model) => (
                StatusCode::NOT_FOUND,
                "invalid_request_error",
                "model_not_found",
                format!(
                    "there is no model {model:?}; a model is the name of an agent that this key may ask, or \"default\""
                ),
            ),
            Self::NotFound(what) => {
                (StatusCode::NOT_FOUND, "invalid_request_error", "not_found", format!("there is no such thing: {what}"))
            }
            Self::Invalid { message, .. } => {
                (StatusCode::BAD_REQUEST, "invalid_request_error", "invalid_request", message.clone())
            }
            Self::Forbidden(message) => (StatusCode::FORBIDDEN, "permission_error", "forbidden", (*message).into()),
            Self::KeyReused => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid_request_error",
                "idempotency_key_reused",
                "a request with this Idempotency-Key was taken before".into(),
            ),
            Self::Taken => (
                StatusCode::UNPROCESSABLE_ENTITY,
                "invalid_request_error",
                "conversation_taken",
                "a person has taken this conversation over; no agent answers until it is handed back".into(),
            ),
            Self::Unavailable { .. } => (
                StatusCode::SERVICE_UNAVAILABLE,
                "server_error",
                "unavailable",
                "no answer can be given right now; try again later".into(),
            ),
            Self::Upstream => (
                StatusCode::BAD_GATEWAY,
                "server_error",
                "upstream_error",
                "the model's server refused the request".into(),
            ),
        }
    }

    /// The body, which a stream that has begun sends as its last event.
    pub(super) fn body(&self) -> serde_json::Value {
        let (_, kind, code, message) = self.parts();
        let param = match self {
            Self::Invalid { param, .. } => param.clone(),
            _ => None,
        };
        json!({ "error": { "message": message, "type": kind, "param": param, "code": code } })
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let mut response = super::answer::json(&self.body());
        *response.status_mut() = self.parts().0;
        if let Self::Unavailable { retry_after } = self {
            let seconds = retry_after.map_or(5, |wait| wait.as_secs().max(1));
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }
}

impl From<AskError> for ApiError {
    fn from(error: AskError) -> Self {
        match error {
            AskError::OutOfReach => Self::Forbidden("this API key may not use that session"),
            AskError::Unavailable { retry_after } => Self::Unavailable { retry_after: Some(retry_after) },
            AskError::Duplicate => Self::KeyReused,
            AskError::Taken => Self::Taken,
        }
    }
}

impl From<provider::Error> for ApiError {
    /// What the provider said stays in our log: it may name models, hosts and accounts of the operator.
    fn from(error: provider::Error) -> Self {
        tracing::warn!(%error, "a stateless request failed");
        match error.kind {
            ErrorKind::Transient { after } => Self::Unavailable { retry_after: after },
            ErrorKind::Misconfigured | ErrorKind::Permanent => Self::Upstream,
            ErrorKind::TooLong => Self::invalid("the messages are too long for the model", "messages"),
        }
    }
}
