//! Backups, ordered and looked at.

use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::Body as HttpBody;
use axum::http::StatusCode;
use futures_util::stream;
use serde::{Deserialize, Serialize};
use tokio::time::Interval;
use utoipa::{IntoParams, ToSchema};

use super::error::{Error, of_backup as refusal};
use super::json::Backup;
use super::operation::{Lines, MANAGE, Operation, OptionalBody, Query, Sent};
use super::reach::Reached;
use crate::document::Secret;
use crate::gateway::{BackedUp, BackupOrder, RunningBackup};

/// How often it is said how far it is.
const SAY: Duration = Duration::from_secs(1);

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/api/v1/backup", MANAGE, "How backups go", status),
        Operation::post("/api/v1/backup", MANAGE, "Makes a backup, and says meanwhile how far it is", create),
    ]
}

pub(crate) async fn status(reached: Reached, (): ()) -> Result<Backup, Error> {
    Ok(Backup::of(&reached.whole(MANAGE)?.backup_status()))
}

#[derive(Debug, Default, Deserialize, IntoParams)]
pub(crate) struct Order {
    /// Directory or bucket; absent: where the configuration puts them.
    pub(crate) to: Option<String>,
    /// Only what changed since the last one.
    #[serde(default)]
    pub(crate) incremental: bool,
}

/// What the backup is sealed with, instead of what the configuration says.
#[derive(Deserialize, ToSchema)]
pub(crate) struct Given {
    pub(crate) passphrase: String,
}

impl Sent for Given {}

/// One of the three: how far it is, what was made, why nothing was.
#[derive(Debug, Serialize, ToSchema)]
#[serde(untagged)]
pub(crate) enum BackupLine {
    Progress {
        rows: u64,
        bytes: u64,
    },
    Done {
        done: MadeBackup,
    },
    Failed {
        error: String,
        /// That it would have had, had it been known before the answer began.
        status: u16,
    },
}

/// A backup that was made.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct MadeBackup {
    /// Where it is.
    pub(crate) place: String,
    /// Does it need the full one before it?
    pub(crate) incremental: bool,
    pub(crate) bytes: u64,
    /// Rows of the store.
    pub(crate) rows: u64,
    /// Rows that are in it, or are said in it to be gone.
    pub(crate) written: u64,
    /// Files of the home in it.
    pub(crate) files: u64,
    /// Old ones that were removed.
    pub(crate) removed: Vec<String>,
}

pub(crate) async fn create(
    reached: Reached,
    (Query(order), OptionalBody(given)): (Query<Order>, OptionalBody<Given>),
) -> Result<Lines<BackupLine>, Error> {
    let gateway = reached.whole(MANAGE)?;
    let passphrase = given.map(|given| Secret::new(given.passphrase));
    tracing::info!(to = order.to, is_incremental = order.incremental, "an operator ordered a backup");
    reached.note_name("back up", order.to.as_deref().unwrap_or_default());
    let order = BackupOrder { to: order.to, is_incremental: order.incremental, passphrase };
    let running = gateway.back_up(order)?;
    let said = Said { running: Some(running), often: tokio::time::interval(SAY) };
    let lines = stream::unfold(said, |mut said| async move {
        let line = said.next().await?;
        Some((Ok::<_, std::convert::Infallible>(format!("{}\n", serde_json::json!(line))), said))
    });
    Ok(Lines::new(HttpBody::from_stream(lines)))
}

/// What is said while one is made.
struct Said {
    /// `None`: the last word was said.
    running: Option<RunningBackup>,
    often: Interval,
}

impl Said {
    async fn next(&mut self) -> Option<BackupLine> {
        let running = self.running.as_mut()?;
        tokio::select! {
            _ = self.often.tick() => {
                let (rows, bytes) = (&running.progress.n_rows, &running.progress.n_bytes);
                Some(BackupLine::Progress { rows: rows.load(Ordering::Relaxed), bytes: bytes.load(Ordering::Relaxed) })
            }
            outcome = &mut running.outcome => {
                self.running = None;
                Some(match outcome {
                    Ok(Ok(made)) => done(&made),
                    Ok(Err(error)) => {
                        BackupLine::Failed { error: error.to_string(), status: refusal(&error).as_u16() }
                    }
                    Err(_closed) => BackupLine::Failed {
                        error: "the gateway stopped; nothing is left of the backup, make another one".to_owned(),
                        status: StatusCode::SERVICE_UNAVAILABLE.as_u16(),
                    },
                })
            }
        }
    }
}

fn done(made: &BackedUp) -> BackupLine {
    let BackedUp { place, is_incremental, n_bytes, n_rows, n_written, n_files, removed } = made.clone();
    BackupLine::Done {
        done: MadeBackup {
            place,
            incremental: is_incremental,
            bytes: n_bytes,
            rows: n_rows,
            written: n_written,
            files: n_files,
            removed,
        },
    }
}
