//! The admin API (SPEC §7.5), served on the local socket.
//!
//! | path | what |
//! |---|---|
//! | `GET /api/v1/status` | how the gateway is |
//! | `POST /api/v1/reload` | reads the configuration again; 422 with the problems if it cannot be used |
//! | `GET /api/v1/sessions?tenant&channel&agent&archived&after&limit` | a page of conversations |
//! | `GET /api/v1/sessions/find?channel&user[&tenant]` | where somebody wrote |
//! | `GET /api/v1/sessions/show?key[&tenant][&episode]&lines` | one conversation: its row, lines, and what waits |
//! | `GET /api/v1/sessions/search?words[&tenant][&in]&after&limit` | a page of lines that hold words |
//! | `GET /api/v1/sessions/export?key[&tenant]&format[&episode][&all]` | a conversation as a file, streamed |
//! | `GET /api/v1/sessions/tail?key[&tenant]&lines&follow` | its lines, one JSON object each, also those to come |
//! | `POST /api/v1/sessions/archive?key[&tenant]` | ends it |
//! | `POST /api/v1/sessions/restore?key[&tenant][&episode]` | takes an archived one up again |
//! | `POST /api/v1/sessions/erase?key[&tenant][&episode]` | removes it, and overwrites its words |
//! | `GET`, `POST /api/v1/sessions/rekey?after` | a page of those under old keys; `POST` moves them |
//! | `GET /api/v1/sessions/rekey/count?dm_scope&key_format&identity_links` | how many other settings would rename |
//!
//! Every path wants the admin token; without it there is nothing to learn, not even which paths exist. A key that
//! several tenants have is answered with 409 until one of them is named; `tenant=` is the owner's own. Whoever reads
//! or changes a conversation is in the log, the words are not.

mod access;
mod export;
mod json;
mod lines;
mod place;
mod rekey;
mod sessions;

pub(crate) use json::problem as problem_json;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use crate::channel::registry;
use crate::document::Secret;
use crate::gateway::{Gateway, ReloadError, StartError};
use crate::id::{ChannelType, TenantId};
use crate::store;

/// Serves the admin API on the gateway's local socket.
///
/// # Errors
/// When the socket cannot be made.
pub fn listen(gateway: &Gateway) -> Result<(), StartError> {
    gateway.listen_local(router(gateway.clone()))
}

fn router(gateway: Gateway) -> Router {
    let token = gateway.admin_token().clone();
    Router::new()
        .route("/api/v1/status", get(status))
        .route("/api/v1/reload", post(reload))
        .route("/api/v1/sessions", get(sessions::list))
        .route("/api/v1/sessions/find", get(sessions::find))
        .route("/api/v1/sessions/show", get(sessions::show))
        .route("/api/v1/sessions/search", get(sessions::search))
        .route("/api/v1/sessions/export", get(lines::export))
        .route("/api/v1/sessions/tail", get(lines::tail))
        .route("/api/v1/sessions/archive", post(sessions::archive))
        .route("/api/v1/sessions/restore", post(sessions::restore))
        .route("/api/v1/sessions/erase", post(sessions::erase))
        .route("/api/v1/sessions/rekey", get(rekey::list).post(rekey::apply))
        .route("/api/v1/sessions/rekey/count", get(rekey::count))
        .layer(middleware::from_fn_with_state(token, authorize))
        .with_state(gateway)
}

async fn authorize(State(token): State<Secret>, request: Request, next: Next) -> Response {
    let given = request.headers().get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let given = given.and_then(|value| value.strip_prefix("Bearer ")).unwrap_or_default();
    let is_right =
        aws_lc_rs::constant_time::verify_slices_are_equal(given.as_bytes(), token.expose().as_bytes()).is_ok();
    if is_right { next.run(request).await } else { Error::Token.into_response() }
}

/// Why a request was not answered.
#[derive(Debug)]
enum Error {
    Token,
    Query(String),
    NotFound(String),
    Ambiguous(String),
    Store(store::Error),
}

impl From<store::Error> for Error {
    fn from(error: store::Error) -> Self {
        Self::Store(error)
    }
}

impl IntoResponse for Error {
    fn into_response(self) -> Response {
        let (status, message) = match self {
            Self::Token => (StatusCode::UNAUTHORIZED, "the admin token is missing or wrong".to_owned()),
            Self::Query(message) => (StatusCode::BAD_REQUEST, message),
            Self::NotFound(message) => (StatusCode::NOT_FOUND, message),
            Self::Ambiguous(message) => (StatusCode::CONFLICT, message),
            Self::Store(error @ store::Error::Gone { .. }) => (StatusCode::NOT_FOUND, error.to_string()),
            Self::Store(error) => {
                tracing::error!(%error, "an admin request failed");
                (StatusCode::INTERNAL_SERVER_ERROR, error.to_string())
            }
        };
        answer(status, &json!({ "error": message }))
    }
}

fn answer(status: StatusCode, value: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

async fn status(State(gateway): State<Gateway>) -> Result<Response, Error> {
    Ok(answer(StatusCode::OK, &json::status(&gateway.status()?)))
}

async fn reload(State(gateway): State<Gateway>) -> Response {
    match gateway.reload().await {
        Ok(reloaded) => answer(StatusCode::OK, &json::reloaded(&reloaded)),
        Err(error) => {
            let problems = match &error {
                ReloadError::Config(crate::config::Error::Invalid(problems)) => {
                    problems.iter().map(json::problem).collect()
                }
                _ => Vec::new(),
            };
            let body = json!({ "error": error.to_string(), "problems": problems });
            answer(StatusCode::UNPROCESSABLE_ENTITY, &body)
        }
    }
}

/// The tenants to look at: the one that was named, or all that have conversations. The owner's own is named by nothing.
fn tenants(gateway: &Gateway, named: Option<String>) -> Result<Vec<Option<TenantId>>, Error> {
    match named {
        Some(tenant) if tenant.is_empty() => Ok(vec![None]),
        Some(tenant) => Ok(vec![Some(parsed("tenant", TenantId::new(tenant))?)]),
        None => Ok(gateway.store().tenants()?),
    }
}

/// Where a page goes on, in the caller's hands meanwhile.
fn cursor<T: serde::de::DeserializeOwned>(text: &str) -> Result<T, Error> {
    serde_json::from_str(text).map_err(|_error| Error::Query("after is not what a page gave as next".to_owned()))
}

fn channel_type(name: &str) -> Result<ChannelType, Error> {
    parsed("channel", ChannelType::new(registry::key_tag(name)))
}

fn parsed<T, E: std::fmt::Display>(field: &str, result: Result<T, E>) -> Result<T, Error> {
    result.map_err(|error| Error::Query(format!("{field}: {error}")))
}
