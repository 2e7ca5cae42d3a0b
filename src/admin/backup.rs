//! Backups, ordered and looked at.

use std::io::{self, Read};
use std::sync::atomic::Ordering;
use std::time::Duration;

use axum::body::{Body as HttpBody, Bytes};
use axum::http::StatusCode;
use futures_util::{Stream, stream};
use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;
use tokio::time::Interval;
use utoipa::{IntoParams, ToSchema};

use super::error::{Error, of_backup as refusal};
use super::json::{Backup, time};
use super::operation::{Body, Lines, MANAGE, Operation, OptionalBody, Query, SealedFile, Sent};
use super::reach::Reached;
use crate::backup;
use crate::clock::Timestamp;
use crate::document::Secret;
use crate::gateway::{BackedUp, BackupError, BackupOrder, Checked, KeptBackup, RunningBackup};

/// How often it is said how far it is.
const SAY: Duration = Duration::from_secs(1);

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/api/v1/backup", MANAGE, "How backups go", status),
        Operation::post("/api/v1/backup", MANAGE, "Makes a backup, and says meanwhile how far it is", create),
        Operation::get("/api/v1/backup/list", MANAGE, "The backups that are there, newest first", list),
        Operation::post("/api/v1/backup/check", MANAGE, "Reads a backup to its last byte", check),
        Operation::get("/api/v1/backup/file", MANAGE, "A backup as it is there, sealed", file),
        Operation::post(
            "/api/v1/backup/passphrase",
            MANAGE,
            "Says whether this is the passphrase of the backups, to be sure that one has it",
            prove,
        ),
    ]
}

pub(crate) async fn status(reached: Reached, (): ()) -> Result<Backup, Error> {
    Ok(Backup::of(&reached.whole(MANAGE)?.backup_status()))
}

/// Backups.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Backups {
    pub(crate) backups: Vec<OneBackup>,
}

/// A backup that is there.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct OneBackup {
    pub(crate) name: String,
    /// When it was made, by its name.
    pub(crate) at: Option<String>,
    pub(crate) bytes: u64,
    /// Does it need the full one before it?
    pub(crate) incremental: bool,
    /// The full one that it needs; null also when that is gone.
    pub(crate) needs: Option<String>,
    /// Did this box make it?
    pub(crate) own: bool,
    /// How the last look at it went; null: nobody has looked.
    pub(crate) checked: Option<CheckedBackup>,
}

/// How a look at a backup went.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct CheckedBackup {
    pub(crate) at: String,
    /// Was it opened and read row by row? Otherwise it was compared with what had been written.
    pub(crate) opened: bool,
    /// What is wrong with it.
    pub(crate) problem: Option<String>,
}

impl CheckedBackup {
    fn of(checked: &Checked) -> Self {
        let Checked { at_ms, is_opened, problem } = checked.clone();
        Self { at: time(Timestamp(at_ms)), opened: is_opened, problem }
    }
}

pub(crate) async fn kept(reached: &Reached) -> Result<Vec<KeptBackup>, Error> {
    let gateway = reached.whole(MANAGE)?.clone();
    // It asks a disk or a bucket.
    let kept = tokio::task::spawn_blocking(move || gateway.kept_backups()).await;
    Ok(kept.unwrap_or(Err(backup::Error::Stopped.into()))?)
}

pub(crate) async fn list(reached: Reached, (): ()) -> Result<Backups, Error> {
    let one = |kept: KeptBackup| OneBackup {
        at: kept.at.map(time),
        bytes: kept.n_bytes,
        incremental: kept.is_incremental,
        needs: kept.needs,
        own: kept.is_own,
        checked: kept.checked.as_ref().map(CheckedBackup::of),
        name: kept.name,
    };
    Ok(Backups { backups: kept(&reached).await?.into_iter().map(one).collect() })
}

#[derive(Debug, Deserialize, IntoParams)]
pub(crate) struct Called {
    /// What the list calls it.
    pub(crate) name: String,
}

/// Begins to read one.
pub(crate) fn begin_check(
    reached: &Reached,
    name: &str,
) -> Result<oneshot::Receiver<Result<Checked, BackupError>>, Error> {
    let outcome = reached.whole(MANAGE)?.check_backup(name)?;
    reached.note_name("verify backup", name);
    Ok(outcome)
}

pub(crate) async fn check(reached: Reached, Query(called): Query<Called>) -> Result<CheckedBackup, Error> {
    let outcome = begin_check(&reached, &called.name)?.await;
    let stopped = || Error::Unavailable("the gateway stopped; look at it again later".to_owned());
    Ok(CheckedBackup::of(&outcome.map_err(|_closed| stopped())??))
}

/// Read at a time, in bytes.
const PIECE_BYTES: usize = 64 * 1024;

pub(crate) async fn file(reached: Reached, Query(called): Query<Called>) -> Result<SealedFile, Error> {
    let gateway = reached.whole(MANAGE)?.clone();
    let client = gateway.client_for_backups();
    let name = called.name.clone();
    // Disks and buckets are waited for.
    let opened = tokio::task::spawn_blocking(move || gateway.open_backup(&name, &client)).await;
    let input = opened.unwrap_or(Err(backup::Error::Stopped.into()))?;
    reached.note_name("download backup", &called.name);
    Ok(SealedFile { name: called.name, body: HttpBody::from_stream(pieces(input)) })
}

/// A file, a piece at a time and only when somebody asks for the next: whoever does not read on holds no thread.
fn pieces(input: Box<dyn Read + Send>) -> impl Stream<Item = io::Result<Bytes>> + Send {
    stream::try_unfold(input, |mut input| async move {
        let reading = tokio::task::spawn_blocking(move || {
            let mut piece = Vec::with_capacity(PIECE_BYTES);
            input.by_ref().take(PIECE_BYTES as u64).read_to_end(&mut piece)?;
            Ok((!piece.is_empty()).then(|| (Bytes::from(piece), input)))
        });
        reading.await.unwrap_or_else(|stopped| Err(io::Error::other(stopped)))
    })
}

/// The passphrase, as somebody knows it.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Passphrase {
    pub(crate) passphrase: String,
}

impl Sent for Passphrase {}

/// Is it the one?
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Proved {
    pub(crate) right: bool,
}

pub(crate) fn is_passphrase(reached: &Reached, given: String) -> Result<bool, Error> {
    let right = reached.whole(MANAGE)?.prove_passphrase(&Secret::new(given))?;
    reached.note_name("try backup passphrase", if right { "right" } else { "wrong" });
    Ok(right)
}

pub(crate) async fn prove(reached: Reached, Body(given): Body<Passphrase>) -> Result<Proved, Error> {
    Ok(Proved { right: is_passphrase(&reached, given.passphrase)? })
}

/// Begins one where the configuration puts them.
pub(crate) fn begin(reached: &Reached) -> Result<RunningBackup, Error> {
    let running = reached.whole(MANAGE)?.back_up(BackupOrder::default())?;
    reached.note_name("back up", "");
    Ok(running)
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

#[cfg(test)]
mod tests {
    use futures_util::StreamExt as _;

    use super::*;

    #[test]
    fn a_download_that_nobody_reads_holds_no_thread_and_the_whole_file_comes() {
        let runtime = tokio::runtime::Builder::new_current_thread().max_blocking_threads(1).build().unwrap();
        runtime.block_on(async {
            let file: Vec<u8> = (0..6 * PIECE_BYTES + 7).map(|n| n.to_le_bytes()[0]).collect();
            let mut download = Box::pin(pieces(Box::new(io::Cursor::new(file.clone()))));
            let mut read = download.next().await.unwrap().unwrap().to_vec();
            // The only thread there is does something else.
            tokio::task::spawn_blocking(|| ()).await.unwrap();
            while let Some(piece) = download.next().await {
                read.extend_from_slice(&piece.unwrap());
            }
            assert!(read == file, "{} of {} bytes", read.len(), file.len());
        });
    }
}
