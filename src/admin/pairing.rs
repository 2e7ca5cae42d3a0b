//! Strangers: who waits, who was let in, and the operator's word on it.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde::Deserialize;
use serde_json::{Value, json};

use super::json::time;
use super::{Error, answer};
use crate::gateway::{Gateway, PairingError};
use crate::message::Subject;
use crate::store::{Approval, Pending};

pub(super) fn routes() -> Router<Gateway> {
    Router::new()
        .route("/api/v1/pairing", get(list))
        .route("/api/v1/pairing/allowed", get(allowed))
        .route("/api/v1/pairing/approve", post(approve))
        .route("/api/v1/pairing/reject", post(reject))
        .route("/api/v1/pairing/revoke", post(revoke))
}

#[derive(Debug, Deserialize)]
struct Channel {
    channel: Option<String>,
}

/// In the body: a code has no business in an address.
#[derive(Deserialize)]
struct Decision {
    channel: String,
    code: String,
}

#[derive(Deserialize)]
struct Revocation {
    channel: String,
    subject: String,
}

async fn list(State(gateway): State<Gateway>, Query(query): Query<Channel>) -> Result<Response, Error> {
    let pairings = gateway.pairings(query.channel.as_deref())?;
    let shown: Vec<Value> = pairings.iter().map(|(channel, one)| pending(channel, one)).collect();
    Ok(answer(StatusCode::OK, &json!({ "pairings": shown })))
}

async fn allowed(State(gateway): State<Gateway>, Query(query): Query<Channel>) -> Result<Response, Error> {
    let approvals = gateway.approvals(query.channel.as_deref())?;
    let shown: Vec<Value> = approvals.iter().map(|(channel, one)| approval(channel, one)).collect();
    Ok(answer(StatusCode::OK, &json!({ "allowed": shown })))
}

async fn approve(State(gateway): State<Gateway>, body: Bytes) -> Result<Response, Error> {
    let Decision { channel, code } = read(&body)?;
    let (channel, approved) = gateway.approve(&channel, &code).await?;
    Ok(answer(StatusCode::OK, &json!({ "approved": subject(&channel, &approved.subject) })))
}

async fn reject(State(gateway): State<Gateway>, body: Bytes) -> Result<Response, Error> {
    let Decision { channel, code } = read(&body)?;
    let (channel, rejected) = gateway.reject(&channel, &code).await?;
    Ok(answer(StatusCode::OK, &json!({ "rejected": subject(&channel, &rejected.subject) })))
}

async fn revoke(State(gateway): State<Gateway>, body: Bytes) -> Result<Response, Error> {
    let Revocation { channel, subject: id } = read(&body)?;
    let (channel, revoked) = gateway.revoke(&channel, &id).await?;
    let revoked: Vec<Value> = revoked.iter().map(|one| subject(&channel, one)).collect();
    Ok(answer(StatusCode::OK, &json!({ "revoked": revoked })))
}

impl From<PairingError> for Error {
    fn from(error: PairingError) -> Self {
        match error {
            PairingError::NoChannel { .. } | PairingError::NoCode { .. } | PairingError::NotApproved { .. } => {
                Self::NotFound(error.to_string())
            }
            PairingError::TooManyTries { retry_after, .. } => Self::TooMany(error.to_string(), retry_after),
            PairingError::Store(error) => Self::Store(error),
        }
    }
}

fn read<'b, T: Deserialize<'b>>(body: &'b [u8]) -> Result<T, Error> {
    // The parser's own words may repeat a code.
    serde_json::from_slice(body)
        .map_err(|_error| Error::Query("the body is not the JSON object that this wants".to_owned()))
}

fn subject(channel: &str, subject: &Subject) -> Value {
    json!({ "channel": channel, "kind": subject.kind(), "subject": subject.id() })
}

fn pending(channel: &str, pending: &Pending) -> Value {
    json!({
        "channel": channel,
        "kind": pending.subject.kind(),
        "subject": pending.subject.id(),
        "name": pending.name,
        "code": pending.code,
        "expires": time(pending.expires_at),
    })
}

fn approval(channel: &str, approval: &Approval) -> Value {
    json!({
        "channel": channel,
        "kind": approval.subject.kind(),
        "subject": approval.subject.id(),
        "name": approval.name,
        "since": time(approval.at),
    })
}
