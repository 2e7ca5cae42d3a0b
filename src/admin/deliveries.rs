//! What is on its way out or was set aside, and the operator's word on it.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::error::Error;
use super::json::time;
use super::operation::{CHANGE, Operation, Query, READ};
use super::reach::{OfTenant, Reached};
use super::{cursor, parsed, place};
use crate::gateway::Repeat;
use crate::id::{SessionKey, TenantId};
use crate::message::ReplyAddress;
use crate::store::{Delivery, Parked, ParkedItem, Unparked};

/// Rows of a page unless the caller wants fewer, and at most: each is read with its text.
const MAX_ROWS: usize = 200;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/api/v1/deliveries", READ, "A page of replies that wait and of what was set aside", list),
        Operation::post("/api/v1/deliveries/retry", CHANGE, "Puts back what was set aside", retry),
        Operation::post("/api/v1/deliveries/drop", CHANGE, "Removes what waits or was set aside", forget),
    ]
}

/// Does it wait to be sent, or was it set aside?
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Kept {
    Waiting,
    Parked,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
pub(crate) struct Page {
    /// Whose; empty: the owner's own. Absent: of all.
    pub(crate) tenant: Option<String>,
    /// Session key; absent: of all.
    pub(crate) key: Option<String>,
    /// Both, if absent: first what waits.
    #[param(inline)]
    pub(crate) state: Option<Kept>,
    /// With what was written.
    #[serde(default)]
    pub(crate) text: bool,
    /// `next` of the page before.
    pub(crate) after: Option<String>,
    /// Rows of the page at most.
    pub(crate) limit: Option<usize>,
}

/// A page of what waits and of what was set aside.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Deliveries {
    pub(crate) deliveries: Vec<Row>,
    /// For `after` of the next page; null: this is the last.
    pub(crate) next: Option<String>,
}

/// Something that waits or was set aside.
#[derive(Debug, Serialize, ToSchema)]
#[schema(as = DeliveryRow)]
pub(crate) struct Row {
    pub(crate) id: String,
    #[schema(inline)]
    pub(crate) state: Kept,
    /// Null: the owner's own.
    pub(crate) tenant: Option<String>,
    /// Session key.
    pub(crate) key: String,
    /// Id of the channel entry.
    pub(crate) channel: String,
    /// `message` or `reply`.
    pub(crate) what: &'static str,
    /// When it came about.
    pub(crate) since: String,
    /// When it was set aside.
    pub(crate) set_aside: Option<String>,
    /// Why it was set aside.
    pub(crate) reason: Option<String>,
    /// Attempts so far at a reply that waits.
    pub(crate) tries: Option<u32>,
    /// Was an attempt begun at a reply that waits?
    pub(crate) started: Option<bool>,
    /// May it have been sent already?
    pub(crate) ambiguous: bool,
    /// Only with `text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) text: Option<String>,
}

/// Where a page ends: state, tenant, key; then the id of a reply that waits, or the position of what was set aside.
type Cursor = (Kept, Option<String>, String, String);

pub(crate) async fn list(reached: Reached, Query(page): Query<Page>) -> Result<Deliveries, Error> {
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
    let tenants = reached.with_deliveries(page.tenant.as_deref())?;
    let mut rows: Vec<(Cursor, Row)> = Vec::new();
    'full: for state in [Kept::Waiting, Kept::Parked] {
        if page.state.is_some_and(|wanted| wanted != state) {
            continue;
        }
        for of in &tenants {
            let here = (state, of.id());
            let after = match &after {
                Some((at_state, at_tenant, ..)) if here < (*at_state, at_tenant.as_ref()) => continue,
                Some((at_state, at_tenant, key, at)) if here == (*at_state, at_tenant.as_ref()) => Some((key, at)),
                _ => None,
            };
            let (of_tenant, name, left) = (of.store(), of.name(), limit + 1 - rows.len());
            if state == Kept::Waiting {
                let after = after.map(|(key, id)| (key, id.as_str()));
                for delivery in of_tenant.undelivered(key.as_ref(), after, left)? {
                    let at = (state, name.clone(), delivery.key.to_string(), delivery.id.clone());
                    rows.push((at, waiting(of, &delivery, page.text)));
                }
            } else {
                let position = after.map(|(key, at)| Ok::<_, Error>((key, parsed("after", at.parse::<u64>())?)));
                for (key, item) in of_tenant.parked(key.as_ref(), position.transpose()?, left)? {
                    let at = (state, name.clone(), key.to_string(), item.position.to_string());
                    rows.push((at, parked(of, &key, &item, page.text)));
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
        note_read(&reached, &rows)?;
    }
    let next = rows.last().filter(|_| has_more).map(|(at, _)| json!(at).to_string());
    Ok(Deliveries { deliveries: rows.into_iter().map(|(_, row)| row).collect(), next })
}

/// Once for each conversation of which something is read; its rows lie side by side.
fn note_read(reached: &Reached, rows: &[(Cursor, Row)]) -> Result<(), Error> {
    let mut places: Vec<(&Option<String>, &String)> =
        rows.iter().map(|((_, tenant, key, _), _)| (tenant, key)).collect();
    places.sort_unstable();
    places.dedup();
    for (tenant, key) in places {
        let tenant = parsed("tenant", tenant.clone().map(TenantId::new).transpose())?;
        reached.note_look("deliveries", tenant.as_ref(), Some(&parsed("key", SessionKey::parse(key))?));
    }
    Ok(())
}

/// Which item: of one conversation, never looked for in others.
#[derive(Debug, Deserialize, IntoParams)]
pub(crate) struct Item {
    /// Session key.
    pub(crate) key: String,
    /// Whose; empty: the owner's own. Needed where several tenants have something under the key.
    pub(crate) tenant: Option<String>,
    /// As the list names it.
    pub(crate) id: Option<String>,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
pub(crate) struct Insisting {
    /// Also what may have been sent before.
    #[serde(default)]
    pub(crate) anyway: bool,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
pub(crate) struct All {
    /// Everything that was set aside under the key.
    #[serde(default)]
    pub(crate) all: bool,
}

/// What was put back.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Retried {
    pub(crate) key: String,
    pub(crate) id: String,
    /// `message` or `reply`.
    pub(crate) what: &'static str,
}

pub(crate) async fn retry(
    reached: Reached,
    (Query(item), Query(insisting)): (Query<Item>, Query<Insisting>),
) -> Result<Retried, Error> {
    let Some(id) = &item.id else { return Err(Error::Query("id: say what to put back".to_owned())) };
    let (of, key) = item.place(&reached)?;
    of.note("retry delivery", Some(&key));
    let repeat = if insisting.anyway { Repeat::Anyway } else { Repeat::Never };
    let what = match of.retry(&key, id, repeat).await? {
        Unparked::Message => "message",
        Unparked::Delivery(_) => "reply",
    };
    Ok(Retried { key: key.to_string(), id: id.clone(), what })
}

/// How much was removed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Dropped {
    pub(crate) key: String,
    pub(crate) dropped: usize,
}

pub(crate) async fn forget(
    reached: Reached,
    (Query(item), Query(All { all })): (Query<Item>, Query<All>),
) -> Result<Dropped, Error> {
    let (of, key) = item.place(&reached)?;
    of.note("drop delivery", Some(&key));
    let dropped = match (&item.id, all) {
        (Some(id), false) => of.drop_item(&key, id).await.map(|()| 1)?,
        (None, true) => of.drop_parked(&key).await?,
        _ => return Err(Error::Query("say what to drop: either id, or all=true".to_owned())),
    };
    Ok(Dropped { key: key.to_string(), dropped })
}

impl Item {
    /// The one tenant that has something to send or set aside under the key, among those that are reached.
    fn place(&self, reached: &Reached) -> Result<(OfTenant, SessionKey), Error> {
        let key = parsed("key", SessionKey::parse(&self.key))?;
        let mut found = Vec::new();
        for of in reached.with_deliveries(self.tenant.as_deref())? {
            let of_tenant = of.store();
            let session = of_tenant.session(&key);
            if !session.parked_positions(1)?.is_empty() || !of_tenant.undelivered(Some(&key), None, 1)?.is_empty() {
                found.push((of, ()));
            }
        }
        let found = place::only(&key, found)?;
        let (of, ()) = found.ok_or_else(|| {
            Error::NotFound(format!(
                "nothing waits or was set aside in {key}; `frontdesk deliveries list` shows what there is"
            ))
        })?;
        Ok((of, key))
    }
}

fn waiting(of: &OfTenant, delivery: &Delivery, with_text: bool) -> Row {
    Row {
        state: Kept::Waiting,
        what: "reply",
        since: time(delivery.created_at),
        reason: None,
        tries: Some(of.n_tries(delivery)),
        started: Some(delivery.is_started),
        ambiguous: delivery.is_started,
        text: with_text.then(|| delivery.content.text.clone()),
        ..row(of, &delivery.key, delivery.id.clone(), &delivery.content.address)
    }
}

fn parked(of: &OfTenant, key: &SessionKey, item: &Parked, with_text: bool) -> Row {
    let (what, address, is_started, text) = match &item.what {
        ParkedItem::Message(inbound) => ("message", &inbound.reply_to, false, &inbound.text),
        ParkedItem::Delivery(delivery) => {
            ("reply", &delivery.content.address, delivery.is_started, &delivery.content.text)
        }
    };
    Row {
        what,
        since: time(item.since()),
        set_aside: Some(time(item.at)),
        reason: Some(item.reason.clone()),
        ambiguous: is_started,
        text: with_text.then(|| text.clone()),
        ..row(of, key, item.id(), address)
    }
}

fn row(of: &OfTenant, key: &SessionKey, id: String, address: &ReplyAddress) -> Row {
    Row {
        id,
        state: Kept::Parked,
        tenant: of.name(),
        key: key.to_string(),
        channel: address.entry().to_string(),
        what: "reply",
        since: String::new(),
        set_aside: None,
        reason: None,
        tries: None,
        started: None,
        ambiguous: false,
        text: None,
    }
}
