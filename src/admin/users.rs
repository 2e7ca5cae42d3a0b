//! Accounts, their sessions, and tokens. For administrators of everything, and the console.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{delete, get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::json::time;
use super::{Error, answer, parsed};
use crate::account::{self, NewToken, Reach, Role, SessionRow, TokenRow, UserRow};
use crate::document::Secret;
use crate::gateway::Gateway;
use crate::id::TenantId;

const DAY_MS: u64 = 24 * 60 * 60 * 1000;

pub(super) fn routes() -> Router<Gateway> {
    Router::new()
        .route("/api/v1/users", get(list).post(add))
        .route("/api/v1/users/reset", post(reset))
        .route("/api/v1/users/sessions", get(sessions))
        .route("/api/v1/users/sessions/{id}", delete(revoke_session))
        .route("/api/v1/users/{name}", delete(remove))
        .route("/api/v1/users/{name}/password", post(set_password))
        .route("/api/v1/tokens", get(tokens).post(create_token))
        .route("/api/v1/tokens/{name}", delete(revoke_token))
}

/// Passwords are in bodies only: addresses get into logs.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct NewUser {
    name: String,
    role: String,
    /// Absent: all of them.
    tenant: Option<String>,
    password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Password {
    password: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct WantedToken {
    name: String,
    role: String,
    /// Absent: all of them.
    tenant: Option<String>,
    /// Absent: until it is revoked.
    days: Option<u32>,
}

async fn list(State(gateway): State<Gateway>) -> Response {
    let users: Vec<Value> = gateway.accounts().users().iter().map(user).collect();
    answer(StatusCode::OK, &json!({ "users": users }))
}

async fn add(State(gateway): State<Gateway>, body: Bytes) -> Result<Response, Error> {
    let NewUser { name, role: word, tenant, password } = read(&body)?;
    let (role, reach) = (role(&word)?, reach(tenant)?);
    let added = gateway.accounts().add_user(&name, role, reach, &Secret::new(password)).await;
    Ok(done(added, "an account was added", || json!({ "added": name })))
}

async fn remove(State(gateway): State<Gateway>, Path(name): Path<String>) -> Response {
    let removed = gateway.accounts().remove_user(&name).await;
    done(removed, "an account was removed", || json!({ "removed": name }))
}

async fn set_password(
    State(gateway): State<Gateway>,
    Path(name): Path<String>,
    body: Bytes,
) -> Result<Response, Error> {
    let Password { password } = read(&body)?;
    let set = gateway.accounts().set_password(&name, &Secret::new(password), None).await;
    Ok(done(set, "an account got another password", || json!({ "changed": name })))
}

async fn reset(State(gateway): State<Gateway>) -> Response {
    let code = gateway.accounts().recover().await;
    code.map_or_else(
        |error| refused(&error),
        |code| {
            done(
                Ok(()),
                "administrators were logged out, and a claim code was made",
                || json!({ "claim_code": code.expose() }),
            )
        },
    )
}

async fn sessions(State(gateway): State<Gateway>) -> Response {
    let sessions: Vec<Value> = gateway.accounts().sessions().iter().map(session).collect();
    answer(StatusCode::OK, &json!({ "sessions": sessions }))
}

async fn revoke_session(State(gateway): State<Gateway>, Path(id): Path<String>) -> Response {
    let revoked = gateway.accounts().revoke_session(&id).await;
    done(revoked, "a session was ended", || json!({ "revoked": id }))
}

async fn tokens(State(gateway): State<Gateway>) -> Response {
    let tokens: Vec<Value> = gateway.accounts().tokens().iter().map(token).collect();
    answer(StatusCode::OK, &json!({ "tokens": tokens }))
}

async fn create_token(State(gateway): State<Gateway>, body: Bytes) -> Result<Response, Error> {
    let WantedToken { name, role: word, tenant, days } = read(&body)?;
    let expires_at = days.map(|days| gateway.now().plus_ms(u64::from(days).saturating_mul(DAY_MS)));
    let new = NewToken { name: name.clone(), role: role(&word)?, reach: reach(tenant)?, expires_at };
    Ok(match gateway.accounts().create_token(new).await {
        Ok(text) => {
            let expires = expires_at.map(time);
            let shown = || json!({ "created": name, "token": text.expose(), "expires": expires });
            done(Ok(()), "a token was made", shown)
        }
        Err(error) => refused(&error),
    })
}

async fn revoke_token(State(gateway): State<Gateway>, Path(name): Path<String>) -> Response {
    let revoked = gateway.accounts().revoke_token(&name).await;
    done(revoked, "a token was revoked", || json!({ "revoked": name }))
}

fn read<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, Error> {
    // The parser's own words may repeat a password.
    serde_json::from_slice(body)
        .map_err(|_words| Error::Query("the body is not the JSON object that this wants".to_owned()))
}

fn role(word: &str) -> Result<Role, Error> {
    Role::parse(word).ok_or_else(|| Error::Query("role must be admin or support".to_owned()))
}

fn reach(tenant: Option<String>) -> Result<Reach, Error> {
    tenant.map_or(Ok(Reach::All), |tenant| parsed("tenant", TenantId::new(tenant)).map(Reach::Tenant))
}

/// What was done is in the log, under the name of what it was done to; the rest of the answer is not.
fn done(outcome: Result<(), account::Error>, what: &'static str, shown: impl FnOnce() -> Value) -> Response {
    match outcome {
        Ok(()) => {
            let shown = shown();
            let names = ["added", "removed", "changed", "revoked", "created"];
            let name = names.iter().find_map(|name| shown.get(name)).and_then(Value::as_str).unwrap_or_default();
            tracing::info!(access.name = name, "{what}");
            answer(StatusCode::OK, &shown)
        }
        Err(error) => refused(&error),
    }
}

fn refused(error: &account::Error) -> Response {
    let status = match error {
        account::Error::Name(_) => StatusCode::BAD_REQUEST,
        account::Error::Weak(weakness) => {
            let body = json!({ "error": error.to_string(), "weakness": weakness.as_str() });
            return answer(StatusCode::BAD_REQUEST, &body);
        }
        account::Error::Unknown { .. } => return Error::NotFound(error.to_string()).into_response(),
        account::Error::Taken | account::Error::LastAdmin | account::Error::Unclaimed | account::Error::TooMany(_) => {
            StatusCode::CONFLICT
        }
        account::Error::Busy
        | account::Error::Shut(_)
        | account::Error::File { .. }
        | account::Error::Damaged { .. }
        | account::Error::TooNew { .. } => StatusCode::SERVICE_UNAVAILABLE,
        account::Error::Random | account::Error::Interrupted => StatusCode::INTERNAL_SERVER_ERROR,
    };
    answer(status, &json!({ "error": error.to_string() }))
}

fn tenant(reach: &Reach) -> Option<&str> {
    match reach {
        Reach::All => None,
        Reach::Tenant(tenant) => Some(tenant.as_str()),
    }
}

fn user(row: &UserRow) -> Value {
    json!({
        "name": row.name,
        "role": row.role.as_str(),
        "tenant": tenant(&row.reach),
        "created": time(row.created_at),
        "sessions": row.n_sessions,
    })
}

fn session(row: &SessionRow) -> Value {
    json!({
        "id": row.id,
        "user": row.user,
        "from": row.from.to_string(),
        "created": time(row.created_at),
        "used": time(row.used_at),
        "expires": time(row.expires_at),
    })
}

fn token(row: &TokenRow) -> Value {
    json!({
        "name": row.name,
        "role": row.role.as_str(),
        "tenant": tenant(&row.reach),
        "created": time(row.created_at),
        "used": row.used_at.map(time),
        "expires": row.expires_at.map(time),
        "expired": row.is_over,
    })
}
