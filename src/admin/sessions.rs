//! Conversations: lists, one of them, and what support does to it.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::context::{FileRow, Note, files, notes};
use super::error::Error;
use super::json::{Erased, Hit, Line, Row, SetAside, WaitingMessage, WaitingReply};
use super::operation::{CHANGE, Operation, Query, READ};
use super::place::{Episode, Named};
use super::reach::{OfTenant, Reached, Stop};
use super::taking::Taken;
use super::{channel_type, cursor, lines, parsed};
use crate::id::{AgentId, OpaqueId, SessionKey, TenantId};
use crate::store::{self, Filter, Search, SearchCursor};

/// Rows of a page unless the caller wants fewer, and at most.
const MAX_ROWS: usize = 1_000;
/// Lines of a conversation unless the caller wants fewer.
const MAX_LINES: usize = 200;
/// Lines that a search finds in one page unless the caller wants fewer, and at most.
const MAX_HITS: usize = 100;

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/api/v1/sessions", READ, "A page of conversations", list),
        Operation::get("/api/v1/sessions/find", READ, "Where somebody wrote", find),
        Operation::get("/api/v1/sessions/show", READ, "A conversation: its row, lines, and what waits", show),
        Operation::get("/api/v1/sessions/search", READ, "A page of lines that hold words", search),
        Operation::get("/api/v1/sessions/export", READ, "A conversation as a file", lines::export),
        Operation::get(
            "/api/v1/sessions/tail",
            READ,
            "The last lines of a conversation, also those to come",
            lines::tail,
        ),
        Operation::post("/api/v1/sessions/archive", CHANGE, "Ends a conversation", archive),
        Operation::post("/api/v1/sessions/restore", CHANGE, "Takes an archived conversation up again", restore),
        Operation::post("/api/v1/sessions/erase", CHANGE, "Removes a conversation for good", erase),
    ]
}

#[derive(Debug, Default, Deserialize, IntoParams)]
pub(crate) struct Page {
    /// Whose; empty: the owner's own. Absent: of all.
    pub(crate) tenant: Option<String>,
    /// Type of the channel.
    pub(crate) channel: Option<String>,
    /// The agent that answered last.
    pub(crate) agent: Option<String>,
    /// Those that are over, instead of those that live.
    #[serde(default)]
    pub(crate) archived: bool,
    /// `next` of the page before.
    pub(crate) after: Option<String>,
    /// Rows of the page at most.
    pub(crate) limit: Option<usize>,
}

/// A page of conversations.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Sessions {
    pub(crate) sessions: Vec<Row>,
    /// For `after` of the next page; null: this is the last.
    pub(crate) next: Option<String>,
}

pub(crate) async fn list(reached: Reached, Query(page): Query<Page>) -> Result<Sessions, Error> {
    let limit = page.limit.unwrap_or(MAX_ROWS).clamp(1, MAX_ROWS);
    let after = page.after.as_deref().map(cursor::<Stop>).transpose()?;
    let filter = Filter {
        channel: page.channel.as_deref().map(channel_type).transpose()?,
        agent: page.agent.map(|name| parsed("agent", AgentId::new(name))).transpose()?,
        limit,
        ..Filter::default()
    };
    let tenant = page.tenant.as_deref();
    let (rows, next) = if page.archived {
        let (rows, has_more) = reached.walk(tenant, after.as_ref(), &filter, |store, filter| store.archived(filter))?;
        let last = rows.last().filter(|_| has_more).map(|row| Stop::at(&row.session));
        (rows.iter().map(Row::archived).collect(), last)
    } else {
        let (rows, has_more) = reached.walk(tenant, after.as_ref(), &filter, |store, filter| store.sessions(filter))?;
        let last = rows.last().filter(|_| has_more).map(Stop::at);
        (rows.iter().map(Row::of).collect(), last)
    };
    let next = next.map(|stop| stop.text());
    Ok(Sessions { sessions: rows, next })
}

#[derive(Debug, Deserialize, IntoParams)]
pub(crate) struct Somebody {
    /// Type of the channel.
    pub(crate) channel: String,
    /// Their id there.
    pub(crate) user: String,
    /// Whose; empty: the owner's own. Absent: of all.
    pub(crate) tenant: Option<String>,
}

/// Conversations in which somebody wrote.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FoundSessions {
    pub(crate) sessions: Vec<Row>,
}

pub(crate) async fn find(reached: Reached, Query(query): Query<Somebody>) -> Result<FoundSessions, Error> {
    let channel = channel_type(&query.channel)?;
    let user = parsed("user", OpaqueId::new(query.user))?;
    let mut sessions: Vec<Row> = Vec::new();
    for of in reached.tenants(query.tenant.as_deref())? {
        let found = of.store().find(&channel, &user)?;
        sessions.extend(found.live.iter().map(Row::of));
        sessions.extend(found.archived.iter().map(Row::archived));
    }
    Ok(FoundSessions { sessions })
}

#[derive(Debug, Default, Deserialize, IntoParams)]
pub(crate) struct HowMany {
    /// The last ones, so many at most.
    pub(crate) lines: Option<usize>,
}

/// A conversation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Session {
    pub(crate) session: Row,
    /// Who answers instead of the worker; null: nobody.
    pub(crate) taken: Option<Taken>,
    /// The last ones, oldest first.
    pub(crate) lines: Vec<Line>,
    /// What is archived under the same key, oldest first.
    pub(crate) archives: Vec<Row>,
    /// Messages that wait for a turn.
    pub(crate) waiting: Vec<WaitingMessage>,
    /// Replies that are not yet delivered.
    pub(crate) undelivered: Vec<WaitingReply>,
    /// What was set aside.
    pub(crate) parked: Vec<SetAside>,
    pub(crate) notes: Vec<Note>,
    /// Working files.
    pub(crate) files: Vec<FileRow>,
}

pub(crate) async fn show(
    reached: Reached,
    (Query(named), Query(query)): (Query<Named>, Query<HowMany>),
) -> Result<Session, Error> {
    let place = named.place(&reached)?;
    let episode = place.episode(named.episode)?;
    place.of.note_look("show", Some(&place.key));
    let n_lines = query.lines.unwrap_or(MAX_LINES).clamp(1, MAX_LINES);
    let kept = place.session.context(episode.row().episode);
    let mut shown = Session {
        session: Row::of(episode.row()),
        taken: None,
        lines: episode.last_lines(n_lines)?.iter().map(Line::of).collect(),
        archives: place.session.archives()?.iter().map(Row::archived).collect(),
        waiting: Vec::new(),
        undelivered: Vec::new(),
        parked: Vec::new(),
        notes: notes(&kept)?,
        files: files(&kept)?,
    };
    match &episode {
        Episode::Live(session, _) => {
            let undelivered = place.of.store().undelivered(Some(&place.key), None, MAX_LINES)?;
            shown.taken = session.taken()?.as_ref().map(Taken::of);
            shown.waiting = session.waiting(MAX_LINES)?.iter().map(WaitingMessage::of).collect();
            shown.undelivered = undelivered.iter().map(WaitingReply::of).collect();
            shown.parked = session.parked(MAX_LINES)?.iter().map(SetAside::of).collect();
        }
        // What waits belongs to the key and not to something that is over.
        Episode::Archived(episode) => shown.session = Row::archived(episode.row()),
    }
    Ok(shown)
}

#[derive(Debug, Default, Deserialize, IntoParams)]
pub(crate) struct Words {
    /// What to look for; all of them must stand in a line.
    pub(crate) words: String,
    /// Whose; empty: the owner's own. Absent: of all.
    pub(crate) tenant: Option<String>,
    /// `active` or `archived`; both otherwise.
    #[serde(rename = "in")]
    pub(crate) place: Option<String>,
    /// `next` of the page before.
    pub(crate) after: Option<String>,
    /// Lines of the page at most.
    pub(crate) limit: Option<usize>,
}

/// A page of lines.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Hits {
    pub(crate) hits: Vec<Hit>,
    /// For `after` of the next page, which may be empty and not the last; null: this is the last.
    pub(crate) next: Option<String>,
}

/// Tenants that one page of a search looks at.
const MAX_SEARCHED: usize = 20;

/// Where a page of a search ends: tenant, key, line; without a key, before the first of that tenant.
type HitCursor = (Option<String>, Option<(String, u64)>);

pub(crate) async fn search(reached: Reached, Query(query): Query<Words>) -> Result<Hits, Error> {
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
    let tenants = reached.tenants(query.tenant.as_deref())?.into_iter();
    let tenants: Vec<OfTenant> = tenants.filter(|of| of.id() >= at.as_ref()).collect();
    let (mut hits, mut next) = (Vec::new(), None);
    for (n, of) in tenants.iter().take(MAX_SEARCHED).enumerate() {
        of.note_look("search", None);
        let after = after.take().filter(|_| of.id() == at.as_ref());
        let search = Search { words: query.words.clone(), in_live, in_archived, after, limit };
        let store = of.store();
        // It reads thousands of lines: not where messages are answered.
        let found = tokio::task::spawn_blocking(move || store.search(&search)).await;
        let found = found.unwrap_or(Err(store::Error::Closed))?;
        hits.extend(found.hits.iter().map(|hit| Hit::of(of.id(), hit)));
        next = match found.next {
            Some(line) => Some((of.name(), Some((line.key.to_string(), line.seq)))),
            None => tenants.get(n + 1).map(|of| (of.name(), None::<(String, u64)>)),
        };
        // A page looks at a bounded number of lines, whatever it finds.
        if !hits.is_empty() || next.as_ref().is_some_and(|(_, line)| line.is_some()) {
            break;
        }
    }
    Ok(Hits { hits, next: next.map(|next| json!(next).to_string()) })
}

/// What was archived.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ArchivedSession {
    pub(crate) session: Option<Row>,
}

pub(crate) async fn archive(reached: Reached, Query(named): Query<Named>) -> Result<ArchivedSession, Error> {
    let place = named.place(&reached)?;
    place.of.note("archive", Some(&place.key));
    if !place.of.archive(&place.key).await? {
        return Err(Error::NotFound(format!("{} has nothing to archive", place.key)));
    }
    let last = place.session.archives()?.pop();
    Ok(ArchivedSession { session: last.as_ref().map(Row::archived) })
}

/// What lives again.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RestoredSession {
    pub(crate) session: Row,
    /// Archived episodes that went into it.
    pub(crate) episodes: u64,
}

pub(crate) async fn restore(reached: Reached, Query(named): Query<Named>) -> Result<RestoredSession, Error> {
    let place = named.place(&reached)?;
    place.of.note("restore", Some(&place.key));
    let archives = place.session.archives()?;
    if archives.iter().all(|row| named.episode.is_some_and(|episode| row.session.episode != episode)) {
        return Err(Error::NotFound(format!("{} has no such archived episode", place.key)));
    }
    let restored = place.of.restore(&place.key, named.episode).await?;
    Ok(RestoredSession { session: Row::of(&restored.row), episodes: restored.n_episodes })
}

/// What was removed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ErasedSession {
    pub(crate) key: String,
    pub(crate) erased: Erased,
}

pub(crate) async fn erase(reached: Reached, Query(named): Query<Named>) -> Result<ErasedSession, Error> {
    let place = named.place(&reached)?;
    place.of.note("erase", Some(&place.key));
    if let Some(episode) = named.episode
        && place.session.episode(episode)?.is_none()
    {
        return Err(Error::NotFound(format!(
            "{} has no such archived episode; archive the live one first, or erase all without --episode",
            place.key
        )));
    }
    let erased = place.of.erase(&place.key, named.episode).await?;
    Ok(ErasedSession { key: place.key.to_string(), erased: Erased::of(&erased) })
}
