//! Who is told when something is wrong, and whether it arrives.

use serde::Serialize;
use utoipa::ToSchema;

use super::error::Error;
use super::json::time;
use super::operation::{INSPECT, MANAGE, Operation};
use super::reach::Reached;
use crate::alert::Target;
use crate::clock::Timestamp;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/api/v1/alerts", INSPECT, "Who is told when something is wrong, and what was told", show),
        Operation::post("/api/v1/alerts/test", MANAGE, "Sends a test to whoever is told", test),
    ]
}

/// How alerts go.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Alerts {
    /// Who gets e-mails.
    pub(crate) email: Vec<String>,
    /// The host of the program that is told; null: none is.
    pub(crate) webhook: Option<String>,
    /// What was told and is not over.
    pub(crate) told: Vec<ToldTrouble>,
    /// Messages that did not go through yet.
    pub(crate) waiting: usize,
    /// The last attempt by each way, if it failed.
    pub(crate) failed: Vec<FailedAlert>,
}

/// Something that is wrong.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ToldTrouble {
    pub(crate) id: String,
    pub(crate) what: String,
    pub(crate) fix: String,
}

/// An attempt that failed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FailedAlert {
    /// `email` or `webhook`.
    pub(crate) way: &'static str,
    pub(crate) at: String,
    pub(crate) reason: String,
}

/// How tests went.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AlertTest {
    /// One for each way; empty: nobody is told anything.
    pub(crate) sent: Vec<SentTest>,
}

/// How a test went by one way.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct SentTest {
    /// `email` or `webhook`.
    pub(crate) way: &'static str,
    pub(crate) ok: bool,
    /// Why not.
    pub(crate) reason: Option<String>,
}

fn way(target: Target) -> &'static str {
    match target {
        Target::Email => "email",
        Target::Webhook => "webhook",
    }
}

pub(crate) async fn show(reached: Reached, (): ()) -> Result<Alerts, Error> {
    let status = reached.whole(INSPECT)?.alert_status();
    let told = status.told.into_iter().map(|told| ToldTrouble { id: told.id, what: told.what, fix: told.fix });
    let failed = status.failed.into_iter().map(|(target, failed)| FailedAlert {
        way: way(target),
        at: time(Timestamp(failed.at_ms)),
        reason: failed.reason,
    });
    Ok(Alerts {
        email: status.email,
        webhook: status.webhook,
        told: told.collect(),
        waiting: status.n_waiting,
        failed: failed.collect(),
    })
}

pub(crate) async fn test(reached: Reached, (): ()) -> Result<AlertTest, Error> {
    let gateway = reached.whole(MANAGE)?;
    tracing::info!(access.who = reached.who().name, "somebody sent a test of the alerts");
    let sent = gateway.test_alerts().await.into_iter().map(|(target, went)| SentTest {
        way: way(target),
        ok: went.is_ok(),
        reason: went.err().map(|error| error.reason),
    });
    Ok(AlertTest { sent: sent.collect() })
}
