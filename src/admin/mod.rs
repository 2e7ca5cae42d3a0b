//! The admin API (SPEC §7.5), served on the local socket.
//!
//! | path | what |
//! |---|---|
//! | `GET /api/v1/status` | how the gateway is |
//! | `POST /api/v1/reload` | reads the configuration again; 422 with the problems if it cannot be used |
//! | `GET /api/v1/sessions?tenant&channel&agent&after&limit` | a page of conversations |
//! | `GET /api/v1/sessions/find?channel&user[&tenant]` | where somebody wrote |
//! | `GET /api/v1/sessions/show?key[&tenant]&lines` | one conversation: its row, lines, and what waits |
//!
//! Every path wants the admin token; without it there is nothing to learn, not even which paths exist.

mod json;

pub(crate) use json::problem as problem_json;

use axum::Router;
use axum::extract::{Query, Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use crate::channel::registry;
use crate::document::Secret;
use crate::gateway::{Gateway, ReloadError, StartError};
use crate::id::{AgentId, ChannelType, OpaqueId, SessionKey, TenantId};
use crate::store::{self, Filter, SessionRow};

/// Rows of a page unless the caller wants fewer, and at most.
const MAX_ROWS: usize = 1_000;
/// Lines of a conversation unless the caller wants fewer.
const MAX_LINES: usize = 200;

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
        .route("/api/v1/sessions", get(sessions))
        .route("/api/v1/sessions/find", get(find))
        .route("/api/v1/sessions/show", get(show))
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

#[derive(Debug, Deserialize)]
struct Page {
    tenant: Option<String>,
    channel: Option<String>,
    agent: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

async fn sessions(State(gateway): State<Gateway>, Query(page): Query<Page>) -> Result<Response, Error> {
    let limit = page.limit.unwrap_or(MAX_ROWS).clamp(1, MAX_ROWS);
    // The place to go on from: a tenant (none: the owner's own) and a key of it.
    let after = page.after.as_deref().map(cursor).transpose()?;
    let filter = Filter {
        channel: page.channel.as_deref().map(channel_type).transpose()?,
        agent: page.agent.map(|name| parsed("agent", AgentId::new(name))).transpose()?,
        limit,
        ..Filter::default()
    };
    let mut rows: Vec<SessionRow> = Vec::new();
    for tenant in tenants(&gateway, page.tenant)? {
        let after = match &after {
            Some((at, _)) if tenant < *at => continue,
            Some((at, key)) if tenant == *at => Some(key.clone()),
            _ => None,
        };
        let filter = Filter { after, limit: limit + 1 - rows.len(), ..filter.clone() };
        rows.extend(gateway.store().tenant(tenant.as_ref()).sessions(&filter)?);
        if rows.len() > limit {
            break;
        }
    }
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| has_more).map(json::cursor);
    let rows: Vec<Value> = rows.iter().map(json::row).collect();
    Ok(answer(StatusCode::OK, &json!({ "sessions": rows, "next": next })))
}

#[derive(Debug, Deserialize)]
struct Somebody {
    channel: String,
    user: String,
    tenant: Option<String>,
}

async fn find(State(gateway): State<Gateway>, Query(query): Query<Somebody>) -> Result<Response, Error> {
    let channel = channel_type(&query.channel)?;
    let user = parsed("user", OpaqueId::new(query.user))?;
    let mut rows = Vec::new();
    for tenant in tenants(&gateway, query.tenant)? {
        rows.extend(gateway.store().tenant(tenant.as_ref()).find(&channel, &user)?.live);
    }
    let rows: Vec<Value> = rows.iter().map(json::row).collect();
    Ok(answer(StatusCode::OK, &json!({ "sessions": rows })))
}

#[derive(Debug, Deserialize)]
struct Show {
    key: String,
    tenant: Option<String>,
    lines: Option<usize>,
}

async fn show(State(gateway): State<Gateway>, Query(query): Query<Show>) -> Result<Response, Error> {
    let key = parsed("key", SessionKey::parse(&query.key))?;
    for tenant in tenants(&gateway, query.tenant)? {
        let session = gateway.store().tenant(tenant.as_ref()).session(&key);
        if let Some(row) = session.row()? {
            let n_lines = query.lines.unwrap_or(MAX_LINES).clamp(1, MAX_LINES);
            let shown = json!({
                "session": json::row(&row),
                "lines": session.recent(n_lines, usize::MAX)?.iter().map(json::line).collect::<Vec<_>>(),
                "waiting": session.waiting(MAX_LINES)?.iter().map(json::waiting).collect::<Vec<_>>(),
                "undelivered": session.undelivered()?.iter().map(json::delivery).collect::<Vec<_>>(),
                "parked": session.parked(MAX_LINES)?.iter().map(json::parked).collect::<Vec<_>>(),
            });
            return Ok(answer(StatusCode::OK, &shown));
        }
    }
    Err(Error::NotFound(format!("there is no session {key}; `sessions list` shows those there are")))
}

/// The tenants to look at: the one that was named, or all that have conversations.
fn tenants(gateway: &Gateway, named: Option<String>) -> Result<Vec<Option<TenantId>>, Error> {
    match named {
        Some(tenant) => Ok(vec![Some(parsed("tenant", TenantId::new(tenant))?)]),
        None => Ok(gateway.store().tenants()?),
    }
}

fn channel_type(name: &str) -> Result<ChannelType, Error> {
    parsed("channel", ChannelType::new(registry::key_tag(name)))
}

fn cursor(text: &str) -> Result<(Option<TenantId>, SessionKey), Error> {
    json::parse_cursor(text).ok_or_else(|| Error::Query("after is not what a page gave as next".to_owned()))
}

fn parsed<T, E: std::fmt::Display>(field: &str, result: Result<T, E>) -> Result<T, Error> {
    result.map_err(|error| Error::Query(format!("{field}: {error}")))
}
