//! Backups, ordered and looked at.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::{Query, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::Interval;

use super::json::backup as shown;
use super::{Error, answer};
use crate::backup::Kind;
use crate::document::Secret;
use crate::gateway::{BackedUp, BackupError, BackupOrder, Gateway, RunningBackup};

/// How often it is said how far it is.
const SAY: Duration = Duration::from_secs(1);

pub(super) async fn status(State(gateway): State<Gateway>) -> Response {
    answer(StatusCode::OK, &shown(&gateway.backup_status()))
}

#[derive(Debug, Deserialize)]
pub(super) struct Order {
    to: Option<String>,
    #[serde(default)]
    incremental: bool,
}

#[derive(Deserialize)]
struct Given {
    passphrase: String,
}

pub(super) async fn create(
    State(gateway): State<Gateway>,
    Query(order): Query<Order>,
    body: Bytes,
) -> Result<Response, Error> {
    let passphrase = match &*body {
        [] => None,
        // The parser's words may repeat a piece of it.
        body => {
            let given: Given = serde_json::from_slice(body)
                .map_err(|_error| Error::Query("the body must be JSON: {\"passphrase\"}".to_owned()))?;
            Some(Secret::new(given.passphrase))
        }
    };
    tracing::info!(to = order.to, is_incremental = order.incremental, "an operator ordered a backup");
    let order = BackupOrder { to: order.to, is_incremental: order.incremental, passphrase };
    let running = match gateway.back_up(order) {
        Ok(running) => running,
        Err(error) => return Ok(answer(refusal(&error), &json!({ "error": error.to_string() }))),
    };
    let said = Said { running: Some(running), often: tokio::time::interval(SAY) };
    let lines = stream::unfold(said, |mut said| async move {
        let line = said.next().await?;
        Some((Ok::<_, std::convert::Infallible>(format!("{line}\n")), said))
    });
    let head = [(header::CONTENT_TYPE, "application/x-ndjson")];
    Ok((StatusCode::OK, head, Body::from_stream(lines)).into_response())
}

fn refusal(error: &BackupError) -> StatusCode {
    match error {
        BackupError::Running => StatusCode::SERVICE_UNAVAILABLE,
        BackupError::Order(_) => StatusCode::BAD_REQUEST,
        BackupError::Backup(error) => match error.kind() {
            Kind::Order => StatusCode::BAD_REQUEST,
            Kind::Config => StatusCode::UNPROCESSABLE_ENTITY,
            Kind::Later => StatusCode::SERVICE_UNAVAILABLE,
            Kind::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        },
    }
}

/// What is said while one is made.
struct Said {
    /// `None`: the last word was said.
    running: Option<RunningBackup>,
    often: Interval,
}

impl Said {
    async fn next(&mut self) -> Option<Value> {
        let running = self.running.as_mut()?;
        tokio::select! {
            _ = self.often.tick() => {
                let (rows, bytes) = (&running.progress.n_rows, &running.progress.n_bytes);
                Some(json!({ "rows": rows.load(Ordering::Relaxed), "bytes": bytes.load(Ordering::Relaxed) }))
            }
            outcome = &mut running.outcome => {
                self.running = None;
                Some(match outcome {
                    Ok(Ok(made)) => done(&made),
                    Ok(Err(error)) => failed(refusal(&error), &error.to_string()),
                    Err(_closed) => {
                        let reason = "the gateway stopped; nothing is left of the backup, make another one";
                        failed(StatusCode::SERVICE_UNAVAILABLE, reason)
                    }
                })
            }
        }
    }
}

/// With the status that it would have had, had it been known before the answer began.
fn failed(status: StatusCode, reason: &str) -> Value {
    json!({ "error": reason, "status": status.as_u16() })
}

fn done(made: &BackedUp) -> Value {
    json!({
        "done": {
            "place": made.place,
            "incremental": made.is_incremental,
            "bytes": made.n_bytes,
            "rows": made.n_rows,
            "written": made.n_written,
            "files": made.n_files,
            "removed": made.removed,
        }
    })
}
