//! Channels: how they are, whether they work, and which of them rest.

use serde::Serialize;
use utoipa::ToSchema;

use super::change;
use super::error::Error;
use super::json::Channel;
use super::operation::{CHANGE, MANAGE, Name, Operation, READ};
use super::reach::Reached;
use crate::channel::registry;
use crate::config::edit::{self, Value};
use crate::config::{Change, EditError};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/api/v1/channels", READ, "Channels, and when something last went through", list),
        Operation::post(
            "/api/v1/channels/{name}/test",
            CHANGE,
            "Tries whether a channel works, without a message to anybody",
            test,
        ),
        Operation::post(
            "/api/v1/channels/{name}/pause",
            MANAGE,
            "Has a channel take and send nothing until it is resumed; what waits is kept",
            pause,
        ),
        Operation::post("/api/v1/channels/{name}/resume", MANAGE, "Lets a paused channel go on", resume),
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

pub(crate) async fn pause(reached: Reached, Name(id): Name) -> Result<Channel, Error> {
    set_paused(&reached, &id, true).await
}

pub(crate) async fn resume(reached: Reached, Name(id): Name) -> Result<Channel, Error> {
    set_paused(&reached, &id, false).await
}

/// It is a key of the entry in the configuration, so it holds over restarts and can be undone there.
async fn set_paused(reached: &Reached, id: &str, is_paused: bool) -> Result<Channel, Error> {
    let gateway = reached.whole(MANAGE)?;
    let find = || -> Result<_, Error> {
        let found = reached.channels()?.into_iter().find(|channel| channel.id == id);
        found.ok_or_else(|| {
            Error::NotFound(format!("there is no channel {id:?}; `channels list` shows those there are"))
        })
    };
    let channel = find()?;
    if channel.is_paused != is_paused {
        let (text, base) = gateway.config_text()?.map(|(_, text, base)| (text, base)).unzip();
        let text = text.unwrap_or_default();
        let path = format!("channels[id={}]", edit::quoted(id));
        let key = format!("{path}.enabled");
        let is_written = edit::read(&text, &path).is_some();
        let change = match (is_written, is_paused) {
            (true, true) => Change::set(key, false),
            (true, false) => Change::remove(key),
            // The web chat that is on because the file names no channel.
            (false, _) if edit::read(&text, "channels").is_none() => embedded(&channel.channel, id)?,
            (false, _) => return Err(EditError::NoSuch { path }.into()),
        };
        change::change(reached, base.as_deref(), &[change]).await?;
        reached.note_name(if is_paused { "pause channel" } else { "resume channel" }, id);
    }
    Ok(Channel::of(&find()?))
}

/// That entry as a file names it, paused.
fn embedded(channel: &str, id: &str) -> Result<Change, Error> {
    let of = registry::find(channel).ok_or_else(|| Error::NotFound(format!("there is no channel {id:?}")))?;
    Ok(Change::append(
        "channels",
        Value::table([
            ("type", Some(Value::from(of.descriptor.type_name))),
            ("id", Some(id.into())),
            ("dm_policy", Some("open".into())),
            ("enabled", Some(Value::Flag(false))),
        ]),
    ))
}
