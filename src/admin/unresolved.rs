//! Messages that belong to no conversation.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::Error;
use super::json::time;
use super::operation::{CHANGE, Operation, Query, READ};
use super::reach::Reached;
use crate::store::ParkedItem;

/// Messages of one entry that are shown: all that it keeps.
const MAX_SHOWN: usize = 1000;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/api/v1/sessions/unresolved", READ, "Messages that belong to no conversation", show),
        Operation::delete("/api/v1/sessions/unresolved", CHANGE, "Forgets them", forget),
    ]
}

#[derive(Debug, Default, Deserialize, IntoParams)]
pub(crate) struct OfChannel {
    /// Id of the channel entry; absent: of all.
    pub(crate) channel: Option<String>,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
pub(crate) struct WithWords {
    /// With what was written.
    #[serde(default)]
    pub(crate) words: bool,
}

/// Messages that belong to no conversation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Unresolved {
    pub(crate) unresolved: Vec<UnresolvedMessage>,
}

/// A message that belongs to no conversation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct UnresolvedMessage {
    /// Id of the channel entry.
    pub(crate) channel: String,
    /// Null: the owner's own.
    pub(crate) tenant: Option<String>,
    pub(crate) at: String,
    pub(crate) reason: String,
    /// Only with `words`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) text: Option<String>,
}

pub(crate) async fn show(
    reached: Reached,
    (Query(of), Query(with)): (Query<OfChannel>, Query<WithWords>),
) -> Result<Unresolved, Error> {
    let mut shown = Vec::new();
    for (tenant, entry) in reached.unresolved_entries()? {
        if of.channel.as_deref().is_none_or(|channel| channel == entry.as_str()) {
            if with.words {
                tenant.note_look("unresolved", None);
            }
            for parked in tenant.store().entry(&entry).unresolved(MAX_SHOWN)? {
                let text = match parked.what {
                    ParkedItem::Message(inbound) if with.words => Some(inbound.text),
                    _ => None,
                };
                let (channel, at) = (entry.to_string(), time(parked.at));
                shown.push(UnresolvedMessage { channel, tenant: tenant.name(), at, reason: parked.reason, text });
            }
        }
    }
    Ok(Unresolved { unresolved: shown })
}

/// How many were forgotten.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Forgotten {
    pub(crate) dropped: usize,
}

pub(crate) async fn forget(reached: Reached, Query(of): Query<OfChannel>) -> Result<Forgotten, Error> {
    let mut dropped = 0;
    for (tenant, entry) in reached.unresolved_entries()? {
        if of.channel.as_deref().is_none_or(|channel| channel == entry.as_str()) {
            tenant.note("drop unresolved", None);
            dropped += tenant.drop_unresolved(&entry).await?;
        }
    }
    Ok(Forgotten { dropped })
}
