//! The list of conversations, and the search in them.

use std::collections::BTreeMap;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde::{Deserialize, Serialize};

use super::answer::{self, Problem};
use super::format::{ago, number, time};
use super::layout::{self, Place};
use super::visit::Visit;
use super::words::{Words, fill, words};
use super::{CONVERSATIONS, conversation_address, query};
use crate::admin::{self, Named, Reached, Stop};
use crate::clock::Timestamp;
use crate::gateway::Gateway;
use crate::id::{SessionKey, TenantId};
use crate::message::ChatKind;
use crate::store::{self, Filter, RecentCursor, SessionRow};

/// Rows of a page.
const ROWS: usize = 50;
/// Lines that a search shows.
const HITS: usize = 50;
/// Conversations whose names a search looks at, the newest first.
const MAX_NAMES: usize = 5_000;

/// What the form above the list says.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Wanted {
    words: Option<String>,
    tenant: Option<String>,
    /// `archived`, else those that are live.
    which: Option<String>,
    before: Option<String>,
    /// What was just done.
    done: Option<String>,
}

/// Where the next page begins.
#[derive(Debug, Serialize, Deserialize)]
enum Cursor {
    /// Time, tenant, key.
    Live(u64, Option<String>, String),
    Archived(Stop),
}

/// One line of the list.
struct Row {
    session: SessionRow,
    is_archived: bool,
    /// What was said, where that is why it is here.
    said: Option<String>,
}

pub(super) async fn list(State(gateway): State<Gateway>, visit: Visit, Query(wanted): Query<Wanted>) -> Response {
    let reached = Reached::new(gateway.clone(), visit.who().clone());
    match found(&reached, &wanted).await {
        Ok((rows, next)) => {
            let content = view(&visit, &reached, &wanted, &rows, next.as_deref(), gateway.now());
            let title = ListWords::of(visit.words).conversations;
            answer::html(StatusCode::OK, layout::page(&visit, Place::Conversations, title, &content))
        }
        Err(problem) => problem.respond(&visit),
    }
}

async fn found(reached: &Reached, wanted: &Wanted) -> Result<(Vec<Row>, Option<String>), Problem> {
    let words = wanted.words.as_deref().map(str::trim).filter(|words| !words.is_empty());
    if let Some(words) = words {
        return search(reached, wanted, words, is_archived(wanted)).await;
    }
    let (own, query) = (reached.clone(), wanted.clone());
    let list = if is_archived(wanted) { archived } else { live };
    // It may read thousands of rows: not where messages are answered.
    tokio::task::spawn_blocking(move || list(&own, &query)).await.unwrap_or(Err(store::Error::Closed.into()))
}

fn is_archived(wanted: &Wanted) -> bool {
    wanted.which.as_deref() == Some("archived")
}

fn live(reached: &Reached, wanted: &Wanted) -> Result<(Vec<Row>, Option<String>), Problem> {
    let before = match cursor(wanted) {
        Some(Cursor::Live(at, tenant, key)) => {
            let (tenant, key) = (tenant.map(TenantId::new).transpose(), SessionKey::parse(&key));
            let (Ok(tenant), Ok(key)) = (tenant, key) else { return Err(Problem::NotFound) };
            Some(RecentCursor { at: Timestamp(at), tenant, key })
        }
        _ => None,
    };
    let page = reached.recent(tenant(wanted), before.as_ref(), ROWS)?;
    let next = page
        .next
        .map(|next| Cursor::Live(next.at.0, next.tenant.map(|tenant| tenant.to_string()), next.key.to_string()));
    let row = |session| Row { session, is_archived: false, said: None };
    Ok((page.rows.into_iter().map(row).collect(), next.and_then(|next| serde_json::to_string(&next).ok())))
}

fn archived(reached: &Reached, wanted: &Wanted) -> Result<(Vec<Row>, Option<String>), Problem> {
    let after = match cursor(wanted) {
        Some(Cursor::Archived(stop)) => Some(stop),
        _ => None,
    };
    let filter = Filter { limit: ROWS, ..Filter::default() };
    let (rows, has_more) =
        reached.walk(tenant(wanted), after.as_ref(), &filter, |store, filter| store.archived(filter))?;
    let next = rows.last().filter(|_| has_more).map(|row| Cursor::Archived(Stop::at(&row.session)));
    let row = |session| Row { session, is_archived: true, said: None };
    let rows = rows.into_iter().map(|archived| row(archived.session)).collect();
    Ok((rows, next.and_then(|next| serde_json::to_string(&next).ok())))
}

/// Conversations whose names hold the words, then lines that do. A page looks at a bounded number of lines, so it may be
/// empty and not the last.
async fn search(
    reached: &Reached,
    wanted: &Wanted,
    words: &str,
    in_archived: bool,
) -> Result<(Vec<Row>, Option<String>), Problem> {
    let mut rows = Vec::new();
    if wanted.before.is_none() {
        let (own, of, folded) = (reached.clone(), tenant(wanted).map(str::to_owned), words.to_lowercase());
        let named = tokio::task::spawn_blocking(move || named(&own, of.as_deref(), &folded, in_archived));
        let named = named.await.unwrap_or(Err(store::Error::Closed.into()))?;
        rows.extend(named.into_iter().map(|session| Row { session, is_archived: in_archived, said: None }));
    }
    let query = admin::Words {
        words: words.to_owned(),
        tenant: tenant(wanted).map(str::to_owned),
        place: Some(if in_archived { "archived" } else { "active" }.to_owned()),
        after: wanted.before.clone(),
        limit: Some(HITS),
    };
    let found = admin::search(reached.clone(), admin::Query(query)).await?;
    for hit in found.hits {
        let named = Named { key: hit.key, tenant: Some(hit.tenant.unwrap_or_default()), episode: Some(hit.episode) };
        // What was archived or erased in the meantime is in its other list, or in none.
        let Ok(place) = named.place(reached) else { continue };
        let Ok(episode) = place.episode(named.episode) else { continue };
        rows.push(Row { session: episode.row().clone(), is_archived: hit.is_archived, said: Some(hit.excerpt) });
    }
    Ok((rows, found.next))
}

/// Those whose names hold the words, among so many that were active last, or that are archived.
fn named(
    reached: &Reached,
    tenant: Option<&str>,
    words: &str,
    in_archived: bool,
) -> Result<Vec<SessionRow>, admin::Error> {
    let mut rows = if in_archived {
        let filter = Filter { limit: MAX_NAMES, ..Filter::default() };
        let (archived, _) = reached.walk(tenant, None, &filter, |store, filter| store.archived(filter))?;
        archived.into_iter().map(|archived| archived.session).collect()
    } else {
        reached.recent(tenant, None, MAX_NAMES)?.rows
    };
    rows.retain(|session| is_named(session, words));
    rows.truncate(ROWS);
    Ok(rows)
}

/// `words` in lower case.
fn is_named(row: &SessionRow, words: &str) -> bool {
    let ids = [&row.user, &row.room, &row.thread, &row.server].into_iter().flatten().map(|id| id.as_str());
    let texts = ids.chain(row.user_name.as_deref()).chain([row.key.as_str(), row.channel.as_str()]);
    texts.into_iter().any(|text| text.to_lowercase().contains(words))
}

fn cursor(wanted: &Wanted) -> Option<Cursor> {
    serde_json::from_str(wanted.before.as_deref()?).ok()
}

/// As requests name one: nothing is all of them, empty is the owner's own.
fn tenant(wanted: &Wanted) -> Option<&str> {
    match wanted.tenant.as_deref() {
        None | Some("*") => None,
        named => named,
    }
}

fn view(visit: &Visit, reached: &Reached, wanted: &Wanted, rows: &[Row], next: Option<&str>, now: Timestamp) -> Markup {
    let words = ListWords::of(visit.words);
    let is_searched = wanted.words.as_deref().is_some_and(|words| !words.trim().is_empty());
    let taken: BTreeMap<_, _> =
        reached.taken().unwrap_or_default().into_iter().map(|(tenant, key, taken)| ((tenant, key), taken.by)).collect();
    let by = |row: &Row| {
        let place = (row.session.tenant.clone(), row.session.key.clone());
        if row.is_archived { None } else { taken.get(&place).map(String::as_str) }
    };
    html! {
        h1 { (words.conversations) }
        @if wanted.done.as_deref() == Some("erase") { (layout::notice("good", words.erase_done)) }
        (filter(words, reached, wanted))
        div data-refresh=[(wanted.before.is_none() && !is_searched).then_some("10")] {
            section class="card" {
                @match (rows.is_empty(), is_searched) {
                    (true, true) if next.is_some() => p class="muted" { (words.search_on_lead) },
                    (true, true) => (layout::empty(words.nothing_found, words.nothing_found_lead)),
                    (true, false) => (layout::empty(words.no_conversations, words.no_conversations_lead)),
                    (false, _) => ul class="rows" { @for row in rows { li { (line(words, row, by(row), now)) } } },
                }
            }
            @if next.is_some() || wanted.before.is_some() {
                p class="inline" {
                    @if wanted.before.is_some() { a class="button" href=(address(wanted, None)) { (words.newest) } }
                    @if let Some(next) = next { a class="button" rel="next" href=(address(wanted, Some(next))) {
                        (if is_searched { words.search_on } else { words.older })
                    } }
                }
            }
        }
    }
}

fn address(wanted: &Wanted, before: Option<&str>) -> String {
    let fields = [
        ("words", wanted.words.as_deref()),
        ("tenant", wanted.tenant.as_deref()),
        ("which", wanted.which.as_deref()),
        ("before", before),
    ];
    let fields: Vec<String> =
        fields.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", query(value?)))).collect();
    format!("{CONVERSATIONS}?{}", fields.join("&"))
}

fn filter(words: &ListWords, reached: &Reached, wanted: &Wanted) -> Markup {
    let tenants: Vec<Option<String>> = reached.tenants(None).unwrap_or_default().iter().map(|of| of.name()).collect();
    let is_archived = is_archived(wanted);
    html! {
        form class="filter" method="get" action=(CONVERSATIONS) role="search" {
            div class="wide" {
                label for="words" { (words.search_label) }
                input id="words" name="words" type="search" value=[wanted.words.as_deref()];
            }
            @if tenants.len() > 1 {
                div {
                    label for="tenant" { (words.tenant) }
                    select id="tenant" name="tenant" {
                        option value="*" { (words.all_tenants) }
                        @for tenant in &tenants {
                            @let name = tenant.as_deref().unwrap_or_default();
                            option value=(name) selected[wanted.tenant.as_deref() == Some(name)] {
                                (tenant.as_deref().unwrap_or(words.own_tenant))
                            }
                        }
                    }
                }
            }
            div {
                label for="which" { (words.which) }
                select id="which" name="which" {
                    option value="live" selected[!is_archived] { (words.live) }
                    option value="archived" selected[is_archived] { (words.archived) }
                }
            }
            button { (words.show) }
        }
    }
}

fn line(words: &ListWords, row: &Row, by: Option<&str>, now: Timestamp) -> Markup {
    let session = &row.session;
    let episode = row.is_archived.then_some(session.episode);
    let at = session.last_active_at;
    html! {
        a href=(conversation_address(session.tenant.as_ref(), &session.key, episode)) {
            strong dir="auto" { (name(words, session)) }
            time datetime=(at) title=(time(words, at)) { (ago(words, at, now)) }
            @if let Some(said) = &row.said { span class="said" dir="auto" { (said) } }
            span class="detail" {
                (session.channel.as_str())
                @if let Some(tenant) = &session.tenant { " · " (tenant) }
                @if let Some(agent) = &session.agent { " · " (agent) }
                " · " (number(words, session.n_messages)) " " (words.messages)
                @if row.is_archived { " · " (words.archived) }
                @if let Some(by) = by { " · " bdi { (fill(words.taken_by, &[("name", by)])) } }
            }
        }
    }
}

/// Whom it is with.
pub(super) fn name(words: &Words, row: &SessionRow) -> String {
    let id = |id: &Option<crate::id::OpaqueId>| id.as_ref().map(|id| id.as_str().to_owned());
    match row.kind {
        ChatKind::Direct => row.user_name.clone().or_else(|| id(&row.user)).unwrap_or_else(|| row.key.to_string()),
        ChatKind::Group => format!("{} {}", words.group, id(&row.room).unwrap_or_default()),
        ChatKind::Thread => {
            format!("{} {} {}", words.thread, id(&row.room).unwrap_or_default(), id(&row.thread).unwrap_or_default())
        }
    }
}

words! {
    /// What the list says.
    ListWords;
    search_label: "Name, number or words", "Name, Nummer oder Wörter";
    tenant: "Business", "Unternehmen";
    all_tenants: "All", "Alle";
    own_tenant: "Our own", "Unser eigenes";
    live: "Live", "Laufend";
    which: "Which", "Welche";
    show: "Show", "Anzeigen";
    search_on: "Search on", "Weitersuchen";
    search_on_lead: "Nothing found so far. There is more to look through.",
        "Bisher nichts gefunden. Es gibt noch mehr zu durchsuchen.";
    older: "Older", "Ältere";
    no_conversations: "No conversation yet", "Noch kein Gespräch";
    no_conversations_lead: "As soon as somebody writes on one of your channels, it shows up here.",
        "Sobald jemand auf einem Ihrer Kanäle schreibt, erscheint es hier.";
    nothing_found: "Nothing found", "Nichts gefunden";
    nothing_found_lead: "Try fewer or other words.", "Versuchen Sie es mit weniger oder anderen Wörtern.";
    taken_by: "{name} answers", "{name} antwortet";
    erase_done: "Erased.", "Gelöscht.";
}
