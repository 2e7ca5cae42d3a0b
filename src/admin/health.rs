//! Is the gateway healthy? What an update asks before it is kept.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::Error;
use super::operation::{MANAGE, Operation, OptionalBody, Sent};
use super::reach::Reached;

pub(super) fn operations() -> Vec<Operation> {
    vec![Operation::post(
        "/api/v1/health",
        MANAGE,
        "Looks whether messages are taken and answered; from the machine itself only",
        check,
    )]
}

/// What to look at.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct WantedHealth {
    /// Is a message of its own to be tried? Yes, if nothing is said. It goes its way in a store of its own, and leaves nothing.
    pub(crate) message: Option<bool>,
}

impl Sent for WantedHealth {}

/// What was found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Health {
    /// Is all that was looked at as it should be?
    pub(crate) healthy: bool,
    pub(crate) checks: Vec<HealthCheck>,
    pub(crate) channels: Vec<HealthChannel>,
    /// Milliseconds since the gateway started.
    pub(crate) uptime_ms: u64,
}

/// One thing that was looked at.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HealthCheck {
    /// `gateway`, `store` or `message`.
    pub(crate) id: String,
    pub(crate) ok: bool,
    /// In one sentence.
    pub(crate) what: String,
}

/// How a channel entry is.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct HealthChannel {
    pub(crate) id: String,
    /// Is nothing wrong with it?
    pub(crate) works: bool,
}

pub(crate) async fn check(reached: Reached, OptionalBody(wanted): OptionalBody<WantedHealth>) -> Result<Health, Error> {
    // It makes a store and a gateway: nobody outside has a use for it.
    if reached.who().from.is_some() {
        return Err(Error::Forbidden("this is for the commands on the machine itself"));
    }
    let gateway = reached.whole(MANAGE)?;
    let found = gateway.health(wanted.and_then(|wanted| wanted.message).unwrap_or(true)).await?;
    Ok(Health {
        healthy: found.checks.iter().all(|check| check.ok),
        checks: found
            .checks
            .into_iter()
            .map(|check| HealthCheck { id: check.id, ok: check.ok, what: check.what })
            .collect(),
        channels: found.channels.into_iter().map(|(id, works)| HealthChannel { id, works }).collect(),
        uptime_ms: found.uptime_ms,
    })
}
