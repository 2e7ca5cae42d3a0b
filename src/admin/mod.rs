//! The admin API (SPEC §7.5), served on the local socket.
//!
//! | path | what |
//! |---|---|
//! | `GET /api/v1/status` | how the gateway is |
//! | `GET /api/v1/doctor` | what is wrong, worst first, each with the fix |
//! | `POST /api/v1/reload` | reads the configuration again; 422 with the problems if it cannot be used |
//! | `GET /api/v1/config` | the file that is there now: its digest, and what it says without secrets |
//! | `PUT /api/v1/config` | `{"text","base"[,"syntax"]}`: takes its place and is used; 409 if `base` is not its digest, 422 with the problems |
//! | `GET /api/v1/config/revisions` | what it was, the newest first |
//! | `GET /api/v1/config/revisions/{n}[/difference]` | one of them without secrets; how the file differs from it |
//! | `POST /api/v1/config/undo[?revision]` | goes back to one |
//! | `GET /api/v1/sessions?tenant&channel&agent&archived&after&limit` | a page of conversations |
//! | `GET /api/v1/sessions/find?channel&user[&tenant]` | where somebody wrote |
//! | `GET /api/v1/sessions/show?key[&tenant][&episode]&lines` | one conversation: its row, lines, and what waits |
//! | `GET /api/v1/sessions/search?words[&tenant][&in]&after&limit` | a page of lines that hold words |
//! | `GET /api/v1/sessions/export?key[&tenant]&format[&episode][&all]` | a conversation as a file, streamed |
//! | `GET /api/v1/sessions/tail?key[&tenant]&lines&follow` | its lines, one JSON object each, also those to come |
//! | `POST /api/v1/sessions/archive?key[&tenant]` | ends it |
//! | `POST /api/v1/sessions/restore?key[&tenant][&episode]` | takes an archived one up again |
//! | `POST /api/v1/sessions/erase?key[&tenant][&episode]` | removes it, and writes the store anew without it |
//! | `GET`, `POST /api/v1/sessions/rekey?after` | a page of those under old keys; `POST` moves them |
//! | `GET /api/v1/sessions/rekey/count?dm_scope&key_format&identity_links` | how many other settings would rename |
//! | `GET /api/v1/sessions/memory?key[&tenant&episode]` | notes and names of working files of a conversation |
//! | `GET /api/v1/sessions/file?key&name[&tenant&episode]` | one working file |
//! | `GET`, `DELETE /api/v1/sessions/unresolved?channel&words` | messages without a conversation |
//! | `GET /api/v1/deliveries?tenant&key&state&text&after&limit` | a page of replies that wait and of what was set aside |
//! | `POST /api/v1/deliveries/retry?key&id[&tenant][&anyway]` | puts back what was set aside |
//! | `POST /api/v1/deliveries/drop?key[&tenant]&(id\|all)` | removes one of them, or all that was set aside under a key |
//! | `GET /api/v1/pairing?channel`, `GET /api/v1/pairing/allowed?channel` | strangers who wait, and who was approved |
//! | `POST /api/v1/pairing/approve`, `POST /api/v1/pairing/reject` | body `{"channel","code"}`; 429 when codes are guessed |
//! | `POST /api/v1/pairing/revoke` | body `{"channel","subject"}` |
//! | `GET /api/v1/tenants` | of whom something is kept |
//! | `POST /api/v1/tenants/erase?tenant` | removes all that is kept of a tenant, and its key |
//! | `GET /api/v1/backup` | how backups go |
//! | `POST /api/v1/backup?to&incremental` | makes one; body empty or `{"passphrase"}`; one JSON object a line: how far it is, then what was made or why not |
//! | `GET`, `POST /api/v1/users` | accounts; body `{"name","role","password"[,"tenant"]}` adds one |
//! | `DELETE /api/v1/users/{name}`, `POST /api/v1/users/{name}/password` | removes one; body `{"password"}` |
//! | `POST /api/v1/users/reset` | ends the sessions of administrators and makes a claim code |
//! | `GET /api/v1/users/sessions`, `DELETE /api/v1/users/sessions/{id}` | who is logged in, and the end of it |
//! | `GET`, `POST /api/v1/tokens` | of programs; body `{"name","role"[,"tenant"][,"days"]}` makes one, which is shown once |
//! | `DELETE /api/v1/tokens/{name}` | ends one |
//! | `POST /api/v1/import/session` | files a conversation that was held elsewhere |
//!
//! Every path wants the admin token; without it there is nothing to learn, not even which paths exist. A key that
//! several tenants have is answered with 409 until one of them is named; `tenant=` is the owner's own. Whoever reads
//! or changes a conversation is in the log, the words are not.

mod access;
mod backup;
pub(crate) mod config;
mod context;
mod deliveries;
mod export;
mod import;
mod json;
mod lines;
mod pairing;
mod place;
mod rekey;
mod sessions;
mod tenants;
mod unresolved;
mod users;

pub(crate) use json::{findings as findings_json, problem as problem_json};

use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::channel::registry;
use crate::config::{RevisionError, Syntax};
use crate::doctor;
use crate::document::Secret;
use crate::gateway::device_key::Sources;
use crate::gateway::{Gateway, ReloadError, Reloaded, StartError};
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
        .route("/api/v1/doctor", get(examine))
        .route("/api/v1/config", get(show_config).put(put_config))
        .route("/api/v1/config/revisions", get(revisions))
        .route("/api/v1/config/revisions/{number}", get(revision))
        .route("/api/v1/config/revisions/{number}/difference", get(difference))
        .route("/api/v1/config/undo", post(undo))
        .merge(pairing::routes())
        .merge(unresolved::routes())
        .merge(deliveries::routes())
        .route("/api/v1/import/session", post(import::session).layer(DefaultBodyLimit::max(import::MAX_BODY_BYTES)))
        .merge(context::routes())
        .merge(tenants::routes())
        .merge(users::routes())
        .route("/api/v1/backup", get(backup::status).post(backup::create))
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
    TooMany(String, Duration),
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
            Self::TooMany(message, wait) => {
                let retry_after = [(header::RETRY_AFTER, wait.as_secs().max(1).to_string())];
                let refused = answer(StatusCode::TOO_MANY_REQUESTS, &json!({ "error": message }));
                return (retry_after, refused).into_response();
            }
            Self::Ambiguous(message) => (StatusCode::CONFLICT, message),
            Self::Store(error @ store::Error::Gone { .. }) => (StatusCode::NOT_FOUND, error.to_string()),
            Self::Store(error @ store::Error::Unusable { .. }) => (StatusCode::SERVICE_UNAVAILABLE, error.to_string()),
            Self::Store(error) if error.is_for_the_disk() => {
                let what = "the disk is full or cannot be written; see `gateway status`, and try again when it can";
                tracing::warn!(%error, "an admin request could not be carried out");
                (StatusCode::SERVICE_UNAVAILABLE, format!("{error}: {what}"))
            }
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

async fn examine(State(gateway): State<Gateway>) -> Result<Response, Error> {
    let (status, in_use) = (gateway.status()?, gateway.config_digest());
    let running = doctor::Running { status: &status, config_digest: in_use.as_deref() };
    let found =
        doctor::examine(gateway.home(), gateway.variables(), Some(&running), &Sources::default(), gateway.now());
    Ok(answer(StatusCode::OK, &json::findings(&found, true)))
}

async fn reload(State(gateway): State<Gateway>) -> Response {
    gateway.reload().await.map_or_else(|error| refused(&error), |reloaded| done(&reloaded))
}

fn done(reloaded: &Reloaded) -> Response {
    answer(StatusCode::OK, &json::reloaded(reloaded))
}

fn refused(error: &ReloadError) -> Response {
    let status = match error {
        ReloadError::Changed => StatusCode::CONFLICT,
        ReloadError::Revision(RevisionError::Unknown(_) | RevisionError::NoneOther) => StatusCode::NOT_FOUND,
        ReloadError::Revision(_) => StatusCode::SERVICE_UNAVAILABLE,
        _ => StatusCode::UNPROCESSABLE_ENTITY,
    };
    let body = match error {
        ReloadError::Config(source) | ReloadError::StillBad { source, .. } => {
            config::error_json(source, &error.to_string())
        }
        _ => json!({ "error": error.to_string(), "problems": [] }),
    };
    answer(status, &body)
}

async fn show_config(State(gateway): State<Gateway>) -> Response {
    match config::current(gateway.home(), gateway.variables()) {
        Ok(current) => answer(StatusCode::OK, &current),
        Err(error) => answer(StatusCode::UNPROCESSABLE_ENTITY, &config::error_json(&error, &error.to_string())),
    }
}

#[derive(Debug, Deserialize)]
struct NewConfig {
    text: String,
    /// Digest of the text that the editor started from; absent: there was no file.
    base: Option<String>,
    syntax: Option<String>,
}

async fn put_config(State(gateway): State<Gateway>, body: Bytes) -> Result<Response, Error> {
    // The parser's words may repeat a piece of the text, and with it a secret.
    let new: NewConfig = serde_json::from_slice(&body)
        .map_err(|_error| Error::Query("the body must be JSON: {\"text\",\"base\"[,\"syntax\"]}".to_owned()))?;
    let syntax = match new.syntax.as_deref() {
        None => None,
        Some("toml") => Some(Syntax::Toml),
        Some("yaml") => Some(Syntax::Yaml),
        Some(_) => return Err(Error::Query("syntax must be toml or yaml".to_owned())),
    };
    let put = gateway.put_config(new.text, syntax, new.base.as_deref()).await;
    Ok(put.map_or_else(|error| refused(&error), |reloaded| done(&reloaded)))
}

async fn revisions(State(gateway): State<Gateway>) -> Response {
    let in_use = gateway.config_digest();
    match config::revisions(gateway.home(), gateway.variables(), in_use.as_deref()) {
        Ok(revisions) => answer(StatusCode::OK, &revisions),
        Err(error) => refused(&error.into()),
    }
}

async fn revision(State(gateway): State<Gateway>, Path(number): Path<u32>) -> Response {
    shown(config::revision(gateway.home(), gateway.variables(), number))
}

async fn difference(State(gateway): State<Gateway>, Path(number): Path<u32>) -> Response {
    shown(config::difference(gateway.home(), gateway.variables(), number))
}

fn shown(shown: Result<Value, config::ShowError>) -> Response {
    match shown {
        Ok(shown) => answer(StatusCode::OK, &shown),
        Err(config::ShowError::Revision(error)) => refused(&error.into()),
        Err(config::ShowError::Config(error)) => refused(&error.into()),
    }
}

#[derive(Debug, Deserialize)]
struct Undo {
    revision: Option<u32>,
}

async fn undo(State(gateway): State<Gateway>, Query(undo): Query<Undo>) -> Response {
    match gateway.undo_config(undo.revision).await {
        Ok((reloaded, revision)) => {
            let mut body = json::reloaded(&reloaded);
            if let Some(body) = body.as_object_mut() {
                body.insert("revision".to_owned(), json!(revision));
            }
            answer(StatusCode::OK, &body)
        }
        Err(error) => refused(&error),
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
