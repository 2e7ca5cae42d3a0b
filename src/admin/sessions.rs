//! Conversations: lists, one of them, and what support does to it.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::Value;

use super::place::{Episode, Named};
use super::{Error, access, answer, channel_type, context, cursor, json, parsed, tenants};
use crate::gateway::Gateway;
use crate::id::{AgentId, OpaqueId, SessionKey, TenantId};
use crate::store::{self, Filter, Search, SearchCursor};

/// Rows of a page unless the caller wants fewer, and at most.
const MAX_ROWS: usize = 1_000;
/// Lines of a conversation unless the caller wants fewer.
const MAX_LINES: usize = 200;
/// Lines that a search finds in one page unless the caller wants fewer, and at most.
const MAX_HITS: usize = 100;

#[derive(Debug, Deserialize)]
pub(super) struct Page {
    tenant: Option<String>,
    channel: Option<String>,
    agent: Option<String>,
    #[serde(default)]
    archived: bool,
    after: Option<String>,
    limit: Option<usize>,
}

/// Where a page of a list ends: tenant, key, episode. Each page is of live or of archived ones.
type ListCursor = (Option<String>, String, u64);

pub(super) async fn list(State(gateway): State<Gateway>, Query(page): Query<Page>) -> Result<Response, Error> {
    let limit = page.limit.unwrap_or(MAX_ROWS).clamp(1, MAX_ROWS);
    let after = page.after.as_deref().map(cursor::<ListCursor>).transpose()?;
    let after = after.map(|(tenant, key, episode)| {
        let tenant = tenant.map(TenantId::new).transpose();
        Ok::<_, Error>((parsed("after", tenant)?, parsed("after", SessionKey::parse(&key))?, episode))
    });
    let after = after.transpose()?;
    let filter = Filter {
        channel: page.channel.as_deref().map(channel_type).transpose()?,
        agent: page.agent.map(|name| parsed("agent", AgentId::new(name))).transpose()?,
        ..Filter::default()
    };
    let mut rows: Vec<(ListCursor, Value)> = Vec::new();
    for tenant in tenants(&gateway, page.tenant)? {
        let mut filter = Filter { limit: limit + 1 - rows.len(), ..filter.clone() };
        match &after {
            Some((at, ..)) if tenant < *at => continue,
            Some((at, key, episode)) if tenant == *at => {
                (filter.after, filter.after_episode) = (Some(key.clone()), Some(*episode));
            }
            _ => {}
        }
        let of_tenant = gateway.store().tenant(tenant.as_ref());
        let name = tenant.as_ref().map(ToString::to_string);
        if page.archived {
            let archived = of_tenant.archived(&filter)?.into_iter();
            rows.extend(
                archived.map(|row| {
                    ((name.clone(), row.session.key.to_string(), row.session.episode), json::archived(&row))
                }),
            );
        } else {
            let live = of_tenant.sessions(&filter)?.into_iter();
            rows.extend(live.map(|row| ((name.clone(), row.key.to_string(), row.episode), json::row(&row))));
        }
        if rows.len() > limit {
            break;
        }
    }
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| has_more).map(|(at, _)| json!(at).to_string());
    let rows: Vec<Value> = rows.into_iter().map(|(_, row)| row).collect();
    Ok(answer(StatusCode::OK, &json!({ "sessions": rows, "next": next })))
}

#[derive(Debug, Deserialize)]
pub(super) struct Somebody {
    channel: String,
    user: String,
    tenant: Option<String>,
}

pub(super) async fn find(State(gateway): State<Gateway>, Query(query): Query<Somebody>) -> Result<Response, Error> {
    let channel = channel_type(&query.channel)?;
    let user = parsed("user", OpaqueId::new(query.user))?;
    let mut rows: Vec<Value> = Vec::new();
    for tenant in tenants(&gateway, query.tenant)? {
        let found = gateway.store().tenant(tenant.as_ref()).find(&channel, &user)?;
        rows.extend(found.live.iter().map(json::row));
        rows.extend(found.archived.iter().map(json::archived));
    }
    Ok(answer(StatusCode::OK, &json!({ "sessions": rows })))
}

#[derive(Debug, Deserialize)]
pub(super) struct Show {
    lines: Option<usize>,
}

pub(super) async fn show(
    State(gateway): State<Gateway>,
    Query(named): Query<Named>,
    Query(query): Query<Show>,
) -> Result<Response, Error> {
    let place = named.place(&gateway)?;
    let episode = place.episode(named.episode)?;
    access::note("show", place.tenant.as_ref(), Some(&place.key));
    let n_lines = query.lines.unwrap_or(MAX_LINES).clamp(1, MAX_LINES);
    let lines: Vec<Value> = episode.last_lines(n_lines)?.iter().map(json::line).collect();
    let archives: Vec<Value> = place.session.archives()?.iter().map(json::archived).collect();
    // What waits belongs to the key and not to something that is over.
    let mut shown = json!({ "lines": lines, "archives": archives, "waiting": [], "undelivered": [], "parked": [] });
    let mut set =
        |name: &str, value: Value| drop(shown.as_object_mut().map(|shown| shown.insert(name.to_owned(), value)));
    match &episode {
        Episode::Live(session, row) => {
            set("session", json::row(row));
            set("waiting", session.waiting(MAX_LINES)?.iter().map(json::waiting).collect());
            let of_tenant = gateway.store().tenant(place.tenant.as_ref());
            let undelivered = of_tenant.undelivered(Some(&place.key), None, MAX_LINES)?;
            set("undelivered", undelivered.iter().map(json::delivery).collect());
            set("parked", session.parked(MAX_LINES)?.iter().map(json::parked).collect());
        }
        Episode::Archived(episode) => set("session", json::archived(episode.row())),
    }
    let kept = place.session.context(episode.row().episode);
    set("notes", context::notes(&kept)?.into());
    set("files", context::files(&kept)?.into());
    Ok(answer(StatusCode::OK, &shown))
}

#[derive(Debug, Deserialize)]
pub(super) struct Words {
    words: String,
    tenant: Option<String>,
    /// `active` or `archived`; both otherwise.
    #[serde(rename = "in")]
    place: Option<String>,
    after: Option<String>,
    limit: Option<usize>,
}

/// Tenants that one page of a search looks at.
const MAX_SEARCHED: usize = 20;

/// Where a page of a search ends: tenant, key, line; without a key, before the first of that tenant.
type HitCursor = (Option<String>, Option<(String, u64)>);

pub(super) async fn search(State(gateway): State<Gateway>, Query(query): Query<Words>) -> Result<Response, Error> {
    if query.words.trim().is_empty() {
        return Err(Error::Query("words: say what to look for".to_owned()));
    }
    let (in_live, in_archived) = match query.place.as_deref() {
        None => (true, true),
        Some("active") => (true, false),
        Some("archived") => (false, true),
        Some(other) => return Err(Error::Query(format!("in: {other:?} is not one of active, archived"))),
    };
    let (at, mut after) = match query.after.as_deref().map(cursor::<HitCursor>).transpose()? {
        None => (None, None),
        Some((tenant, line)) => {
            let line = line
                .map(|(key, seq)| Ok::<_, Error>(SearchCursor { key: parsed("after", SessionKey::parse(&key))?, seq }));
            (parsed("after", tenant.map(TenantId::new).transpose())?, line.transpose()?)
        }
    };
    let limit = query.limit.unwrap_or(MAX_HITS).clamp(1, MAX_HITS);
    let tenants: Vec<Option<TenantId>> =
        tenants(&gateway, query.tenant)?.into_iter().filter(|tenant| *tenant >= at).collect();
    let (mut hits, mut next) = (Vec::new(), None);
    for (n, tenant) in tenants.iter().take(MAX_SEARCHED).enumerate() {
        access::note("search", tenant.as_ref(), None);
        let after = after.take().filter(|_| *tenant == at);
        let search = Search { words: query.words.clone(), in_live, in_archived, after, limit };
        let store = gateway.store().tenant(tenant.as_ref());
        // It reads thousands of lines: not where messages are answered.
        let found = tokio::task::spawn_blocking(move || store.search(&search)).await;
        let found = found.unwrap_or(Err(store::Error::Closed))?;
        let name = |tenant: &Option<TenantId>| tenant.as_ref().map(ToString::to_string);
        hits.extend(found.hits.iter().map(|hit| json::hit(tenant.as_ref(), hit)));
        next = match found.next {
            Some(line) => Some((name(tenant), Some((line.key.to_string(), line.seq)))),
            None => tenants.get(n + 1).map(|tenant| (name(tenant), None::<(String, u64)>)),
        };
        // A page looks at a bounded number of lines, whatever it finds.
        if !hits.is_empty() || next.as_ref().is_some_and(|(_, line)| line.is_some()) {
            break;
        }
    }
    let next = next.map(|next| json!(next).to_string());
    Ok(answer(StatusCode::OK, &json!({ "hits": hits, "next": next })))
}

pub(super) async fn archive(State(gateway): State<Gateway>, Query(named): Query<Named>) -> Result<Response, Error> {
    let place = named.place(&gateway)?;
    access::note("archive", place.tenant.as_ref(), Some(&place.key));
    if !gateway.archive(place.tenant.as_ref(), &place.key).await? {
        return Err(Error::NotFound(format!("{} has nothing to archive", place.key)));
    }
    let last = place.session.archives()?.pop();
    Ok(answer(StatusCode::OK, &json!({ "session": last.as_ref().map(json::archived) })))
}

pub(super) async fn restore(State(gateway): State<Gateway>, Query(named): Query<Named>) -> Result<Response, Error> {
    let place = named.place(&gateway)?;
    access::note("restore", place.tenant.as_ref(), Some(&place.key));
    let archives = place.session.archives()?;
    if archives.iter().all(|row| named.episode.is_some_and(|episode| row.session.episode != episode)) {
        return Err(Error::NotFound(format!("{} has no such archived episode", place.key)));
    }
    let restored = gateway.restore(place.tenant.as_ref(), &place.key, named.episode).await?;
    Ok(answer(StatusCode::OK, &json!({ "session": json::row(&restored.row), "episodes": restored.n_episodes })))
}

pub(super) async fn erase(State(gateway): State<Gateway>, Query(named): Query<Named>) -> Result<Response, Error> {
    let place = named.place(&gateway)?;
    access::note("erase", place.tenant.as_ref(), Some(&place.key));
    if let Some(episode) = named.episode
        && place.session.episode(episode)?.is_none()
    {
        return Err(Error::NotFound(format!(
            "{} has no such archived episode; archive the live one first, or erase all without --episode",
            place.key
        )));
    }
    let erased = gateway.erase(place.tenant.as_ref(), &place.key, named.episode).await?;
    Ok(answer(StatusCode::OK, &json!({ "key": place.key.as_str(), "erased": json::erased(&erased) })))
}
