//! Channels: how they are, and whether they work.

use serde::Serialize;
use utoipa::ToSchema;

use super::error::Error;
use super::json::Channel;
use super::operation::{CHANGE, Name, Operation, READ};
use super::reach::Reached;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/api/v1/channels", READ, "Channels, and when something last went through", list),
        Operation::post(
            "/api/v1/channels/{name}/test",
            CHANGE,
            "Tries whether a channel works, without a message to anybody",
            test,
        ),
    ]
}

/// Channels.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Channels {
    pub(crate) channels: Vec<Channel>,
}

pub(crate) async fn list(reached: Reached, (): ()) -> Result<Channels, Error> {
    Ok(Channels { channels: reached.channels()?.iter().map(Channel::of).collect() })
}

/// What a test found.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChannelTested {
    /// Id of the channel entry.
    pub(crate) channel: String,
    /// Did all of it work?
    pub(crate) works: bool,
    /// One after the other.
    pub(crate) tried: Vec<Tried>,
}

/// One thing that was tried.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Tried {
    pub(crate) what: &'static str,
    pub(crate) works: bool,
    /// What was found, or what went wrong.
    pub(crate) found: String,
}

pub(crate) async fn test(reached: Reached, Name(id): Name) -> Result<ChannelTested, Error> {
    let probes = reached.test_channel(&id).await?;
    let tried: Vec<Tried> = probes
        .into_iter()
        .map(|probe| match probe.outcome {
            Ok(found) => Tried { what: probe.what, works: true, found },
            Err(found) => Tried { what: probe.what, works: false, found },
        })
        .collect();
    reached.note_name("test channel", &id);
    Ok(ChannelTested { channel: id, works: tried.iter().all(|one| one.works), tried })
}
