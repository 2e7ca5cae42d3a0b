//! Messages that belong to no conversation.

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};

use super::json::time;
use super::{Error, access, answer};
use crate::gateway::Gateway;
use crate::id::TenantId;
use crate::store::{Parked, ParkedItem};

/// Messages of one entry that are shown: all that it keeps.
const MAX_SHOWN: usize = 1000;

pub(super) fn routes() -> Router<Gateway> {
    Router::new().route("/api/v1/sessions/unresolved", get(show).delete(forget))
}

#[derive(Debug, Deserialize)]
struct Which {
    channel: Option<String>,
    /// With what was written?
    words: Option<bool>,
}

async fn show(State(gateway): State<Gateway>, Query(which): Query<Which>) -> Result<Response, Error> {
    let mut shown = Vec::new();
    for (tenant, entry) in gateway.store().unresolved_entries()? {
        if which.channel.as_deref().is_none_or(|channel| channel == entry.as_str()) {
            if which.words.unwrap_or(false) {
                access::note("unresolved", tenant.as_ref(), None);
            }
            for parked in gateway.store().tenant(tenant.as_ref()).entry(&entry).unresolved(MAX_SHOWN)? {
                shown.push(message(entry.as_str(), tenant.as_ref(), &parked, which.words.unwrap_or(false)));
            }
        }
    }
    Ok(answer(StatusCode::OK, &json!({ "unresolved": shown })))
}

async fn forget(State(gateway): State<Gateway>, Query(which): Query<Which>) -> Result<Response, Error> {
    let mut n_dropped = 0;
    for (tenant, entry) in gateway.store().unresolved_entries()? {
        if which.channel.as_deref().is_none_or(|channel| channel == entry.as_str()) {
            access::note("drop unresolved", tenant.as_ref(), None);
            n_dropped += gateway.store().tenant(tenant.as_ref()).entry(&entry).drop_unresolved().await?;
        }
    }
    Ok(answer(StatusCode::OK, &json!({ "dropped": n_dropped })))
}

fn message(channel: &str, tenant: Option<&TenantId>, parked: &Parked, words: bool) -> Value {
    let mut shown = json!({
        "channel": channel,
        "tenant": tenant.map(TenantId::as_str),
        "at": time(parked.at),
        "reason": parked.reason,
    });
    if let (true, ParkedItem::Message(inbound), Value::Object(fields)) = (words, &parked.what, &mut shown) {
        fields.insert("text".to_owned(), inbound.text.as_str().into());
    }
    shown
}
