//! One conversation: reading along, and what support does to it.

use std::collections::VecDeque;
use std::sync::Arc;

use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::{Extension, Form};
use maud::{Markup, html};
use serde::Deserialize;

use super::answer::{self, Problem};
use super::format::{number, time};
use super::layout::{self, Place};
use super::looked::Looked;
use super::visit::Visit;
use super::words::words;
use super::{CONVERSATION, CONVERSATIONS, ERASE, conversation_address, conversations, place_query};
use crate::account::Role;
use crate::admin::{Conversation, Episode, Named, Reached};
use crate::gateway::Gateway;
use crate::id::TenantId;
use crate::store::{ArchivedRow, Line, SessionRow, Speaker, Waiting};

/// Lines of a page.
const LINES: usize = 100;
/// Lines that are read at once.
const STEP: u64 = 10;
/// Text of a page, and of one line; the rest of a longer one is in the export.
const MAX_BYTES: usize = 256 * 1024;
const MAX_TEXT_BYTES: usize = 32 * 1024;
/// Messages that wait, as far as they are shown.
const WAITING: usize = 50;

#[derive(Debug, Deserialize)]
pub(super) struct Shown {
    /// Lines before this one; the last ones otherwise.
    before: Option<u64>,
    /// What was just done.
    done: Option<String>,
}

pub(super) async fn show(
    State(gateway): State<Gateway>,
    Extension(looked): Extension<Arc<Looked>>,
    visit: Visit,
    Query(named): Query<Named>,
    Query(shown): Query<Shown>,
) -> Response {
    let reached = Reached::new(gateway, visit.who().clone());
    match view(&reached, &visit, &looked, &named, &shown) {
        Ok((title, content)) => {
            answer::html(StatusCode::OK, layout::page(&visit, Place::Conversations, &title, &content))
        }
        Err(problem) => problem.respond(&visit),
    }
}

fn view(
    reached: &Reached,
    visit: &Visit,
    looked: &Looked,
    named: &Named,
    shown: &Shown,
) -> Result<(String, Markup), Problem> {
    let words = ConversationWords::of(visit.words);
    let place = named.place(reached)?;
    let episode = place.episode(named.episode)?;
    if looked.is_new(&visit.session.id, place.of.id(), &place.key) {
        place.of.note("show", Some(&place.key));
    }
    let row = episode.row().clone();
    let (lines, has_earlier) = lines(&episode, &row, shown.before)?;
    // What waits belongs to the key and not to something that is over.
    let waiting = match &episode {
        Episode::Live(session, _) if shown.before.is_none() => session.waiting(WAITING)?,
        _ => Vec::new(),
    };
    let archives = place.session.archives()?;
    let is_live = matches!(episode, Episode::Live(..));
    let title = conversations::name(words, &row);
    let content = html! {
        p { a href=(CONVERSATIONS) { (words.back_to_list) } }
        @if let Some(done) = shown.done.as_deref().and_then(|done| done_words(words, done)) { (layout::notice("good", done)) }
        section class="card" {
            div class="head" {
                h1 dir="auto" { (title) }
                p class="key" { (row.key) }
                (facts(words, &row, is_live))
            }
            div data-refresh=[(is_live && shown.before.is_none()).then_some("4")] {
                @if has_earlier {
                    @let before = lines.first().map_or(row.first_line, |line| line.seq);
                    p { a class="button" href=(with_before(&row, named.episode, before)) { (words.earlier) } }
                }
                (log(words, &lines, &waiting))
            }
            @if visit.who().role == Role::Admin { (actions(visit, &row, is_live)) }
            p { a class="button" download href=(export_address(&row, (!is_live).then_some(row.episode))) { (words.export) } }
        }
        @if !archives.is_empty() { (others(words, &row, &archives, is_live)) }
    };
    Ok((title, content))
}

/// A page of lines, oldest first, and whether there are earlier ones: not more than [`LINES`], and not more than
/// [`MAX_BYTES`] of text unless one line alone is longer.
fn lines(episode: &Episode, row: &SessionRow, before: Option<u64>) -> Result<(Vec<Line>, bool), Problem> {
    let behind = row.last_line.saturating_add(1);
    let mut end = before.unwrap_or(behind).min(behind);
    let (mut lines, mut n_bytes): (VecDeque<Line>, usize) = (VecDeque::new(), 0);
    while end > row.first_line && lines.len() < LINES {
        // A few at a time: each may be long.
        let first = end.saturating_sub(STEP).max(row.first_line);
        let limit = usize::try_from(end.saturating_sub(first)).unwrap_or(0);
        let read = episode.lines_after(first.saturating_sub(1), limit)?;
        if read.is_empty() {
            end = first;
        }
        for line in read.into_iter().rev() {
            n_bytes = n_bytes.saturating_add(line.text.len().min(MAX_TEXT_BYTES));
            if n_bytes > MAX_BYTES && !lines.is_empty() {
                return Ok((lines.into(), true));
            }
            end = line.seq;
            lines.push_front(line);
        }
    }
    Ok((lines.into(), end > row.first_line))
}

fn done_words(words: &ConversationWords, done: &str) -> Option<&'static str> {
    match done {
        "archive" => Some(words.archive_done),
        "restore" => Some(words.restore_done),
        _ => None,
    }
}

fn facts(words: &ConversationWords, row: &SessionRow, is_live: bool) -> Markup {
    html! {
        p class="muted small" {
            (if is_live { words.live_now } else { words.archived })
            " · " (row.channel.as_str())
            @if let Some(tenant) = &row.tenant { " · " (tenant) }
            @if let Some(agent) = &row.agent { " · " (words.worker) " " (agent) }
            " · " (number(words, row.n_messages)) " " (words.messages)
            " · " (words.began) " " (time(words, row.created_at))
        }
    }
}

fn log(words: &ConversationWords, lines: &[Line], waiting: &[Waiting]) -> Markup {
    if lines.is_empty() && waiting.is_empty() {
        return html! { p class="muted" { (words.nothing_said) } };
    }
    html! {
        div class="log" role="log" tabindex="0" aria-label=(words.transcript) {
            @for line in lines {
                @let (kind, name) = match &line.speaker {
                    Speaker::Agent(agent) => ("agent", agent.to_string()),
                    Speaker::Peer { user, name, .. } => {
                        let id = || user.as_ref().map(|user| user.as_str().to_owned()).unwrap_or_default();
                        ("peer", name.clone().unwrap_or_else(id))
                    }
                };
                div class=(kind) {
                    span class="meta" { bdi { (name) } " · " time datetime=(line.at) { (time(words, line.at)) } }
                    (bubble(words, &line.text))
                }
            }
            @for waiting in waiting {
                @let inbound = &waiting.inbound;
                div class="peer waits" {
                    span class="meta" {
                        (words.waits_below) " · " time datetime=(inbound.received_at) { (time(words, inbound.received_at)) }
                    }
                    (bubble(words, &inbound.text))
                }
            }
        }
    }
}

fn bubble(words: &ConversationWords, text: &str) -> Markup {
    let shown = text.get(..text.floor_char_boundary(MAX_TEXT_BYTES)).unwrap_or_default();
    html! {
        div class="bubble" dir="auto" { (shown) }
        @if shown.len() < text.len() { span class="meta" { (words.cut) } }
    }
}

fn actions(visit: &Visit, row: &SessionRow, is_live: bool) -> Markup {
    let words = ConversationWords::of(visit.words);
    let (action, name) = if is_live { ("archive", words.archive) } else { ("restore", words.restore) };
    html! {
        form class="inline" method="post" action=(format!("{CONVERSATION}/{action}")) {
            (layout::csrf(visit))
            (place_fields(row, (!is_live).then_some(row.episode)))
            button { (name) }
            a class="button" href=(format!("{ERASE}?{}", place_query(row.tenant.as_ref(), &row.key, None))) { (words.erase) }
        }
    }
}

fn place_fields(row: &SessionRow, episode: Option<u64>) -> Markup {
    html! {
        input type="hidden" name="key" value=(row.key);
        input type="hidden" name="tenant" value=(row.tenant.as_ref().map(TenantId::as_str).unwrap_or_default());
        @if let Some(episode) = episode { input type="hidden" name="episode" value=(episode); }
    }
}

fn with_before(row: &SessionRow, episode: Option<u64>, before: u64) -> String {
    format!("{}&before={before}", conversation_address(row.tenant.as_ref(), &row.key, episode))
}

fn export_address(row: &SessionRow, episode: Option<u64>) -> String {
    format!("/api/v1/sessions/export?format=html&{}", place_query(row.tenant.as_ref(), &row.key, episode))
}

fn others(words: &ConversationWords, row: &SessionRow, archives: &[ArchivedRow], is_live: bool) -> Markup {
    html! {
        section class="card" {
            h2 { (words.earlier_conversations) }
            ul class="rows" {
                @if !is_live {
                    li { a href=(conversation_address(row.tenant.as_ref(), &row.key, None)) { strong { (words.newest) } } }
                }
                @for archived in archives.iter().rev() {
                    @let session = &archived.session;
                    li {
                        a href=(conversation_address(session.tenant.as_ref(), &session.key, Some(session.episode)))
                            aria-current=[(session.episode == row.episode).then_some("true")] {
                            strong { (time(words, session.created_at)) }
                            span class="detail" { (number(words, session.n_messages)) " " (words.messages) }
                        }
                    }
                }
            }
        }
    }
}

/// What a form about a conversation says.
#[derive(Debug, Deserialize)]
pub(super) struct Order {
    csrf: String,
    key: String,
    tenant: String,
    episode: Option<u64>,
}

pub(super) async fn change(
    State(gateway): State<Gateway>,
    visit: Visit,
    Path(action): Path<String>,
    Form(order): Form<Order>,
) -> Response {
    match obey(&gateway, &visit, &action, order).await {
        Ok(address) => answer::done(&address),
        Err(problem) => problem.respond(&visit),
    }
}

async fn obey(gateway: &Gateway, visit: &Visit, action: &str, order: Order) -> Result<String, Problem> {
    if !visit.session.is_csrf(&order.csrf) {
        return Err(Problem::Stale);
    }
    let reached = Reached::new(gateway.clone(), visit.who().clone());
    let named = Named { key: order.key, tenant: Some(order.tenant), episode: order.episode };
    let Conversation { of, key, .. } = named.place(&reached)?;
    let shown = |done: &str| format!("{}&done={done}", conversation_address(of.id(), &key, None));
    match action {
        "archive" => {
            if !of.archive(&key).await? {
                return Err(Problem::NotFound);
            }
            of.note("archive", Some(&key));
            Ok(shown("archive"))
        }
        "restore" => {
            of.restore(&key, named.episode).await?;
            of.note("restore", Some(&key));
            Ok(shown("restore"))
        }
        "erase" => {
            of.erase(&key, None).await?;
            of.note("erase", Some(&key));
            Ok(format!("{CONVERSATIONS}?done=erase"))
        }
        _ => Err(Problem::NotFound),
    }
}

/// Asks once more: nobody can bring it back.
pub(super) async fn ask_to_erase(State(gateway): State<Gateway>, visit: Visit, Query(named): Query<Named>) -> Response {
    let reached = Reached::new(gateway, visit.who().clone());
    let asked = || -> Result<Markup, Problem> {
        if visit.who().role != Role::Admin {
            return Err(Problem::NotAllowed);
        }
        let place = named.place(&reached)?;
        let row = place.episode(None)?.row().clone();
        let words = ConversationWords::of(visit.words);
        Ok(html! {
            section class="card" {
                h1 { (words.erase_title) }
                p { strong dir="auto" { (conversations::name(words, &row)) } }
                p class="key" { (row.key) }
                p { (words.erase_lead) }
                form class="inline" method="post" action=(format!("{CONVERSATION}/erase")) {
                    (layout::csrf(&visit))
                    (place_fields(&row, None))
                    button class="danger" { (words.erase_submit) }
                    a class="button" href=(conversation_address(row.tenant.as_ref(), &row.key, None)) { (words.cancel) }
                }
            }
        })
    };
    match asked() {
        Ok(content) => answer::html(
            StatusCode::OK,
            layout::page(&visit, Place::Conversations, ConversationWords::of(visit.words).erase_title, &content),
        ),
        Err(problem) => problem.respond(&visit),
    }
}

words! {
    /// What one conversation's page says.
    ConversationWords;
    cut: "This message is long and cut here. The export has all of it.",
        "Diese Nachricht ist lang und hier gekürzt. Der Export enthält alles.";
    worker: "Worker", "Mitarbeiter";
    began: "Began", "Begonnen";
    back_to_list: "All conversations", "Alle Gespräche";
    transcript: "Conversation", "Gespräch";
    earlier: "Earlier messages", "Frühere Nachrichten";
    waits_below: "Not answered yet", "Noch nicht beantwortet";
    archive: "Archive", "Archivieren";
    archive_done: "Archived. The next message begins a new conversation.",
        "Archiviert. Die nächste Nachricht beginnt ein neues Gespräch.";
    restore: "Restore", "Wiederherstellen";
    restore_done: "It is live again.", "Es läuft wieder.";
    export: "Export", "Exportieren";
    erase: "Erase…", "Löschen …";
    erase_title: "Erase this conversation?", "Dieses Gespräch löschen?";
    erase_lead: "Every message, note and file under this key is removed for good, archived ones too. Nobody can bring them back; only older backups still hold them.",
        "Alle Nachrichten, Notizen und Dateien unter diesem Schlüssel werden endgültig gelöscht, auch archivierte. Niemand kann sie zurückholen; nur ältere Sicherungen enthalten sie noch.";
    erase_submit: "Erase for good", "Endgültig löschen";
    cancel: "Cancel", "Abbrechen";
    earlier_conversations: "Earlier conversations", "Frühere Gespräche";
    live_now: "Live", "Laufend";
    nothing_said: "Nothing was said yet.", "Noch wurde nichts gesagt.";
}
