//! Back to how the box was delivered, at its next start.

use serde::{Deserialize, Serialize};
use std::net::{IpAddr, Ipv4Addr};
use utoipa::ToSchema;

use super::error::Error;
use super::operation::{Body, MANAGE, Operation, Sent};
use super::reach::Reached;
use crate::document::Secret;

pub(super) fn operations() -> Vec<Operation> {
    let summary = "Has everything on an appliance removed: it starts again, as it was delivered";
    vec![Operation::post("/api/v1/factory_reset", MANAGE, summary, order)]
}

/// By whom.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ResetOrder {
    /// The password of the one who asks, once more. The commands on the machine itself need none.
    pub(crate) password: Option<String>,
}

impl Sent for ResetOrder {}

/// What happens now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ResetOrdered {
    /// The machine is started again, and everything goes then.
    pub(crate) restarts: bool,
}

pub(crate) async fn order(reached: Reached, Body(order): Body<ResetOrder>) -> Result<ResetOrdered, Error> {
    let gateway = reached.whole(MANAGE)?;
    if !gateway.is_appliance() {
        let text = "this is no appliance; stop Frontdesk and remove its home instead".to_owned();
        return Err(Error::Conflict(text));
    }
    let who = reached.who();
    if who.is_console() && who.from.is_some() {
        return Err(Error::Forbidden(
            "this token resets nothing from afar; log in as somebody, or use the machine itself",
        ));
    }
    if !who.is_console() {
        let password = Secret::new(order.password.unwrap_or_default());
        let from = who.from.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        gateway.accounts().confirm(&who.name, &password, from).await?;
    }
    gateway.ask_for_factory_reset(&who.name).map_err(|error| {
        Error::Unavailable(format!(
            "the disk does not take the request: {error}; put a file factory-reset on the boot partition"
        ))
    })?;
    Ok(ResetOrdered { restarts: true })
}
