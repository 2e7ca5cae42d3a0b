//! What is on its way out or was set aside, and the operator's word on it.

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::json::time;
use super::{Error, access, answer, cursor, parsed, place};
use crate::gateway::{DeliveryError, Gateway, Repeat};
use crate::id::{SessionKey, TenantId};
use crate::message::ReplyAddress;
use crate::store::{Delivery, Parked, ParkedItem, SessionStore, Unparked};

/// Rows of a page unless the caller wants fewer, and at most: each is read with its text.
const MAX_ROWS: usize = 200;

pub(super) fn routes() -> Router<Gateway> {
    Router::new()
        .route("/api/v1/deliveries", get(list))
        .route("/api/v1/deliveries/retry", post(retry))
        .route("/api/v1/deliveries/drop", post(forget))
}

/// Does it wait to be sent, or was it set aside?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kept {
    Waiting,
    Parked,
}

#[derive(Debug, Deserialize)]
struct Page {
    tenant: Option<String>,
    key: Option<String>,
    /// Both, if absent: first what waits.
    state: Option<Kept>,
    /// With what was written?
    #[serde(default)]
    text: bool,
    after: Option<String>,
    limit: Option<usize>,
}

/// Where a page ends: state, tenant, key; then the id of a reply that waits, or the position of what was set aside.
type Cursor = (Kept, Option<String>, String, String);

async fn list(State(gateway): State<Gateway>, Query(page): Query<Page>) -> Result<Response, Error> {
    let limit = page.limit.unwrap_or(MAX_ROWS).clamp(1, MAX_ROWS);
    let key = page.key.as_deref().map(|key| parsed("key", SessionKey::parse(key))).transpose()?;
    let after = page.after.as_deref().map(cursor::<Cursor>).transpose()?;
    let after = after.map(|(state, tenant, at_key, at)| {
        let tenant = parsed("after", tenant.map(TenantId::new).transpose())?;
        let at_key = parsed("after", SessionKey::parse(&at_key))?;
        if key.as_ref().is_some_and(|key| *key != at_key) {
            return Err(Error::Query("after belongs to another session key than key".to_owned()));
        }
        Ok((state, tenant, at_key, at))
    });
    let after = after.transpose()?;
    let tenants = tenants(&gateway, page.tenant)?;
    let mut rows: Vec<(Cursor, Value)> = Vec::new();
    'full: for state in [Kept::Waiting, Kept::Parked] {
        if page.state.is_some_and(|wanted| wanted != state) {
            continue;
        }
        for tenant in &tenants {
            let after = match &after {
                Some((at_state, at_tenant, ..)) if (state, tenant) < (*at_state, at_tenant) => continue,
                Some((at_state, at_tenant, key, at)) if (state, tenant) == (*at_state, at_tenant) => Some((key, at)),
                _ => None,
            };
            let (of_tenant, left) = (gateway.store().tenant(tenant.as_ref()), limit + 1 - rows.len());
            let name = tenant.as_ref().map(ToString::to_string);
            if state == Kept::Waiting {
                let after = after.map(|(key, id)| (key, id.as_str()));
                for delivery in of_tenant.undelivered(key.as_ref(), after, left)? {
                    let at = (state, name.clone(), delivery.key.to_string(), delivery.id.clone());
                    rows.push((at, waiting(&gateway, &delivery, page.text)));
                }
            } else {
                let position = after.map(|(key, at)| Ok::<_, Error>((key, parsed("after", at.parse::<u64>())?)));
                for (key, item) in of_tenant.parked(key.as_ref(), position.transpose()?, left)? {
                    let at = (state, name.clone(), key.to_string(), item.position.to_string());
                    rows.push((at, parked(tenant.as_ref(), &key, &item, page.text)));
                }
            }
            if rows.len() > limit {
                break 'full;
            }
        }
    }
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    if page.text {
        note_read(&rows)?;
    }
    let next = rows.last().filter(|_| has_more).map(|(at, _)| json!(at).to_string());
    let rows: Vec<Value> = rows.into_iter().map(|(_, row)| row).collect();
    Ok(answer(StatusCode::OK, &json!({ "deliveries": rows, "next": next })))
}

/// Once for each conversation of which something is read; its rows lie side by side.
fn note_read(rows: &[(Cursor, Value)]) -> Result<(), Error> {
    let mut places: Vec<(&Option<String>, &String)> =
        rows.iter().map(|((_, tenant, key, _), _)| (tenant, key)).collect();
    places.sort_unstable();
    places.dedup();
    for (tenant, key) in places {
        let tenant = parsed("tenant", tenant.clone().map(TenantId::new).transpose())?;
        access::note("deliveries", tenant.as_ref(), Some(&parsed("key", SessionKey::parse(key))?));
    }
    Ok(())
}

/// Which item: of one conversation, never looked for in others.
#[derive(Debug, Deserialize)]
struct Item {
    key: String,
    tenant: Option<String>,
    id: Option<String>,
    /// Everything that was set aside under the key.
    #[serde(default)]
    all: bool,
    /// Also what may have been sent before.
    #[serde(default)]
    anyway: bool,
}

async fn retry(State(gateway): State<Gateway>, Query(item): Query<Item>) -> Result<Response, Error> {
    let Some(id) = &item.id else { return Err(Error::Query("id: say what to put back".to_owned())) };
    let (tenant, key) = item.place(&gateway)?;
    access::note("retry delivery", tenant.as_ref(), Some(&key));
    let repeat = if item.anyway { Repeat::Anyway } else { Repeat::Never };
    let unparked = gateway.retry(tenant.as_ref(), &key, id, repeat).await?;
    let what = match unparked {
        Unparked::Message => "message",
        Unparked::Delivery(_) => "reply",
    };
    Ok(answer(StatusCode::OK, &json!({ "key": key.as_str(), "id": id, "what": what })))
}

async fn forget(State(gateway): State<Gateway>, Query(item): Query<Item>) -> Result<Response, Error> {
    let (tenant, key) = item.place(&gateway)?;
    access::note("drop delivery", tenant.as_ref(), Some(&key));
    let n_dropped = match (&item.id, item.all) {
        (Some(id), false) => gateway.drop_item(tenant.as_ref(), &key, id).await.map(|()| 1)?,
        (None, true) => gateway.drop_parked(tenant.as_ref(), &key).await?,
        _ => return Err(Error::Query("say what to drop: either id, or all=true".to_owned())),
    };
    Ok(answer(StatusCode::OK, &json!({ "key": key.as_str(), "dropped": n_dropped })))
}

impl Item {
    /// The one tenant that has something to send or set aside under the key.
    fn place(&self, gateway: &Gateway) -> Result<(Option<TenantId>, SessionKey), Error> {
        let key = parsed("key", SessionKey::parse(&self.key))?;
        let mut found: Vec<(Option<TenantId>, SessionStore)> = Vec::new();
        for tenant in tenants(gateway, self.tenant.clone())? {
            let of_tenant = gateway.store().tenant(tenant.as_ref());
            let session = of_tenant.session(&key);
            if !session.parked_positions(1)?.is_empty() || !of_tenant.undelivered(Some(&key), None, 1)?.is_empty() {
                found.push((tenant, session));
            }
        }
        let found = place::only(&key, found)?;
        let (tenant, _) = found.ok_or_else(|| {
            Error::NotFound(format!(
                "nothing waits or was set aside in {key}; `frontdesk deliveries list` shows what there is"
            ))
        })?;
        Ok((tenant, key))
    }
}

/// The tenant that was named, or all that have something to send or set aside.
fn tenants(gateway: &Gateway, named: Option<String>) -> Result<Vec<Option<TenantId>>, Error> {
    match named {
        Some(_) => super::tenants(gateway, named),
        None => Ok(gateway.store().tenants_with_deliveries()?),
    }
}

impl From<DeliveryError> for Error {
    fn from(error: DeliveryError) -> Self {
        match error {
            DeliveryError::Unknown { .. } => Self::NotFound(error.to_string()),
            DeliveryError::Store(error) => Self::Store(error),
            _ => Self::Ambiguous(error.to_string()),
        }
    }
}

fn waiting(gateway: &Gateway, delivery: &Delivery, with_text: bool) -> Value {
    let mut row = row("waiting", delivery.tenant.as_ref(), &delivery.key, &delivery.id, &delivery.content.address);
    let more = json!({
        "what": "reply",
        "since": time(delivery.created_at),
        "set_aside": null,
        "reason": null,
        "tries": gateway.n_tries(delivery),
        "started": delivery.is_started,
        "ambiguous": delivery.is_started,
        "text": with_text.then_some(&delivery.content.text),
    });
    add(&mut row, more, with_text);
    row
}

fn parked(tenant: Option<&TenantId>, key: &SessionKey, item: &Parked, with_text: bool) -> Value {
    let (what, address, is_started, text) = match &item.what {
        ParkedItem::Message(inbound) => ("message", &inbound.reply_to, false, &inbound.text),
        ParkedItem::Delivery(delivery) => {
            ("reply", &delivery.content.address, delivery.is_started, &delivery.content.text)
        }
    };
    let mut row = row("parked", tenant, key, &item.id(), address);
    let more = json!({
        "what": what,
        "since": time(item.since()),
        "set_aside": time(item.at),
        "reason": item.reason,
        "tries": null,
        "started": null,
        "ambiguous": is_started,
        "text": with_text.then_some(text),
    });
    add(&mut row, more, with_text);
    row
}

fn row(state: &str, tenant: Option<&TenantId>, key: &SessionKey, id: &str, address: &ReplyAddress) -> Value {
    json!({
        "id": id,
        "state": state,
        "tenant": tenant.map(TenantId::as_str),
        "key": key.as_str(),
        "channel": address.entry().as_str(),
    })
}

fn add(row: &mut Value, more: Value, with_text: bool) {
    if let (Value::Object(row), Value::Object(more)) = (row, more) {
        row.extend(more.into_iter().filter(|(name, _)| with_text || name != "text"));
    }
}
