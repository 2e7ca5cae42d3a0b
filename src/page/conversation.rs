//! One conversation: reading along, answering instead of the worker, and what support does to it.

use std::collections::VecDeque;

use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::answer::{self, Problem};
use super::explain;
use super::format::{number, time};
use super::layout::{self, Place};
use super::visit::Visit;
use super::words::{fill, words};
use super::{CONVERSATION, CONVERSATIONS, ERASE, conversation_address, conversations, place_query, refused};
use crate::account::Role;
use crate::admin::{Conversation, Episode, Named, Reached};
use crate::gateway::{Gateway, PersonsWords, is_of_channel};
use crate::id::{self, TenantId};
use crate::store::{ArchivedRow, Line, SessionRow, Speaker, Taken, Waiting};

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
    visit: Visit,
    Query(named): Query<Named>,
    Query(shown): Query<Shown>,
) -> Response {
    let reached = Reached::new(gateway, visit.who().clone());
    let done = shown.done.as_deref().and_then(|done| done_words(ConversationWords::of(visit.words), done));
    page(&reached, &visit, &named, shown.before, StatusCode::OK, done.map(|done| ("good", done.to_owned())), "")
}

/// `draft` is what somebody wanted to say.
fn page(
    reached: &Reached,
    visit: &Visit,
    named: &Named,
    before: Option<u64>,
    status: StatusCode,
    notice: Option<(&str, String)>,
    draft: &str,
) -> Response {
    match view(reached, visit, named, before, notice, draft) {
        Ok((title, content)) => answer::html(status, layout::page(visit, Place::Conversations, &title, &content)),
        Err(problem) => problem.respond(visit),
    }
}

fn view(
    reached: &Reached,
    visit: &Visit,
    named: &Named,
    before: Option<u64>,
    notice: Option<(&str, String)>,
    draft: &str,
) -> Result<(String, Markup), Problem> {
    let words = ConversationWords::of(visit.words);
    let place = named.place(reached)?;
    let episode = place.episode(named.episode)?;
    place.of.note_look("show", Some(&place.key));
    let row = episode.row().clone();
    let (lines, has_earlier) = lines(&episode, &row, before)?;
    // What waits, and who answers, belongs to the key and not to something that is over.
    let (waiting, taken) = match &episode {
        Episode::Live(session, _) if before.is_none() => (session.waiting(WAITING)?, session.taken()?),
        Episode::Live(session, _) => (Vec::new(), session.taken()?),
        Episode::Archived(_) => (Vec::new(), None),
    };
    let is_theirs = taken.as_ref().is_some_and(|taken| taken.by == visit.who().name);
    let archives = place.session.archives()?;
    let is_live = matches!(episode, Episode::Live(..));
    let title = conversations::name(words, &row);
    let content = html! {
        p { a href=(CONVERSATIONS) { (words.back_to_list) } }
        @if let Some((kind, text)) = &notice { (layout::notice(kind, text)) }
        section class="card" {
            div class="head" {
                h1 dir="auto" { (title) }
                p class="key" { (row.key) }
                (facts(words, &row, is_live))
            }
            div data-refresh=[(is_live && before.is_none()).then_some("4")] {
                @if let Some(taken) = &taken { (in_hands(words, taken, is_theirs)) }
                @if has_earlier {
                    @let before = lines.first().map_or(row.first_line, |line| line.seq);
                    p { a class="button" href=(with_before(&row, named.episode, before)) { (words.earlier) } }
                }
                (log(words, &place_query(row.tenant.as_ref(), &row.key, named.episode), &lines, &waiting))
                @if is_theirs && before.is_none() {
                    (answers_to(words, &waiting))
                }
            }
            @if visit.who().role == Role::Admin && is_live && before.is_none() {
                (hands(visit, &row, taken.as_ref(), is_theirs, draft))
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
        "say" => Some(words.say_done),
        "hand-back" => Some(words.hand_back_done),
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

/// Who answers instead of the worker.
fn in_hands(words: &ConversationWords, taken: &Taken, is_theirs: bool) -> Markup {
    html! {
        p class="hands" {
            @if is_theirs { (words.taken_by_you) } @else { bdi { (fill(words.taken_by, &[("name", &taken.by)])) } }
            " " span class="muted small" {
                (words.since) " " time datetime=(taken.since) { (time(words, taken.since)) }
            }
        }
    }
}

/// Beside what is shown, as it changes with it: what an answer of theirs answers, and to whom it goes.
fn answers_to(words: &ConversationWords, waiting: &[Waiting]) -> Markup {
    // Whoever asked over the HTTP API waits for the worker.
    let last = waiting.iter().map(|waiting| &waiting.inbound).rfind(|inbound| is_of_channel(&inbound.reply_to));
    let name =
        last.and_then(|last| last.user_name.clone().or_else(|| last.identity.user.as_ref().map(ToString::to_string)));
    html! {
        input type="hidden" form="say" name="seen" value=(waiting.last().map_or(0, |last| last.seq));
        p class="hint" id="answers-to" {
            @match (last, name) {
                (None, _) => (words.answers_nothing),
                (Some(_), None) => (words.answers_last),
                (Some(_), Some(name)) => bdi { (fill(words.answers_to, &[("name", &name)])) },
            }
        }
    }
}

/// Taking it over, speaking in it, handing it back.
fn hands(visit: &Visit, row: &SessionRow, taken: Option<&Taken>, is_theirs: bool, draft: &str) -> Markup {
    let words = ConversationWords::of(visit.words);
    let order = |action: &str, content: &Markup| {
        html! {
            form class="inline" method="post" action=(format!("{CONVERSATION}/{action}")) {
                (layout::csrf(visit))
                (place_fields(row, None))
                (content)
            }
        }
    };
    html! {
        @match taken {
            None => (order("take", &html! { button { (words.take) } span class="hint" { (words.take_hint) } })),
            Some(other) if !is_theirs => (order("take", &html! {
                input type="hidden" name="from_others" value="yes";
                button { bdi { (fill(words.take_from, &[("name", &other.by)])) } }
            })),
            Some(_) => {
                form id="say" class="say" method="post" action=(format!("{CONVERSATION}/say")) {
                    (layout::csrf(visit))
                    (place_fields(row, None))
                    input type="hidden" name="once" value=(id::random().unwrap_or_default());
                    label for="text" { (words.say_label) }
                    textarea id="text" name="text" rows="4" required maxlength="8000" dir="auto" aria-describedby="answers-to" { "\n" (draft) }
                    div class="inline" { button class="primary" { (words.say_submit) } }
                }
                (order("hand-back", &html! { button { (words.hand_back) } span class="hint" { (words.hand_back_hint) } }))
            }
        }
    }
}

fn log(words: &ConversationWords, place: &str, lines: &[Line], waiting: &[Waiting]) -> Markup {
    if lines.is_empty() && waiting.is_empty() {
        return html! { p class="muted" { (words.nothing_said) } };
    }
    html! {
        div class="log" role="log" tabindex="0" aria-label=(words.transcript) {
            @for line in lines {
                @let (kind, name) = match &line.speaker {
                    Speaker::Agent(agent) => ("agent", agent.to_string()),
                    Speaker::Person(name) => ("person", name.clone()),
                    Speaker::Peer { user, name, .. } => {
                        let id = || user.as_ref().map(|user| user.as_str().to_owned()).unwrap_or_default();
                        ("peer", name.clone().unwrap_or_else(id))
                    }
                };
                div class=(kind) {
                    span class="meta" {
                        bdi { (name) }
                        @if kind == "person" { " · " (words.person) }
                        " · " time datetime=(line.at) { (time(words, line.at)) }
                        @if kind == "peer" { " · " a href=(explain::address_of(place, line.seq)) { (words.why_this_worker) } }
                    }
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

/// What a form about a conversation says. Not to be printed.
#[derive(Deserialize)]
pub(super) struct Order {
    csrf: String,
    key: String,
    tenant: String,
    episode: Option<u64>,
    /// Take it also from somebody else.
    from_others: Option<String>,
    /// What to say, up to which waiting message it was read, and a mark that only this form has.
    text: Option<String>,
    seen: Option<u64>,
    once: Option<String>,
}

pub(super) async fn change(
    State(gateway): State<Gateway>,
    visit: Visit,
    Path(action): Path<String>,
    Form(order): Form<Order>,
) -> Response {
    let draft = order.text.clone().unwrap_or_default();
    let named = Named { key: order.key.clone(), tenant: Some(order.tenant.clone()), episode: None };
    match (obey(&gateway, &visit, &action, order).await, &*action) {
        (Ok(address), _) => answer::done(&address),
        // Nobody loses what they have written, and whoever was too late sees who has it.
        (Err(Problem::Refused(error)), "say" | "take" | "hand-back") => {
            let (status, why) = refused::said(&visit, error);
            let reached = Reached::new(gateway, visit.who().clone());
            page(&reached, &visit, &named, None, status, Some(("bad", why)), &draft)
        }
        (Err(problem), _) => problem.respond(&visit),
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
        "take" => {
            of.take(&key, order.from_others.is_some()).await?;
            of.note("take", Some(&key));
            Ok(format!("{}#text", conversation_address(of.id(), &key, None)))
        }
        "say" => {
            // Browsers send lines as they would in a mail.
            let text = order.text.unwrap_or_default().replace("\r\n", "\n");
            let said = of.say(&key, PersonsWords { text, seen: order.seen, once: order.once }).await?;
            if !said.is_repeat {
                of.note("say", Some(&key));
            }
            Ok(shown("say"))
        }
        "hand-back" => {
            of.hand_back(&key).await?;
            of.note("hand back", Some(&key));
            Ok(shown("hand-back"))
        }
        "erase" => {
            // Before: what comes later would keep the key.
            of.note("erase", Some(&key));
            of.erase(&key, None).await?;
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
    why_this_worker: "Why this worker?", "Warum dieser Mitarbeiter?";
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
    person: "Person", "Person";
    taken_by_you: "You answer here. The worker stays silent until you hand the conversation back.",
        "Hier antworten Sie. Der Mitarbeiter schweigt, bis Sie das Gespräch zurückgeben.";
    taken_by: "{name} answers here. The worker stays silent until the conversation is handed back.",
        "Hier antwortet {name}. Der Mitarbeiter schweigt, bis das Gespräch zurückgegeben wird.";
    since: "Since", "Seit";
    take: "Answer yourself", "Selbst antworten";
    take_hint: "The worker stops at once and stays silent here.", "Der Mitarbeiter hört sofort auf und schweigt hier.";
    take_from: "Take over from {name}", "Von {name} übernehmen";
    say_label: "Your answer", "Ihre Antwort";
    say_submit: "Send", "Senden";
    say_done: "Sent.", "Gesendet.";
    answers_to: "This answers what {name} wrote.", "Das beantwortet, was {name} geschrieben hat.";
    answers_last: "This answers the last message.", "Das beantwortet die letzte Nachricht.";
    answers_nothing: "No message waits. What you write goes to where the last one came from.",
        "Keine Nachricht wartet. Was Sie schreiben, geht dorthin, woher die letzte kam.";
    hand_back: "Hand back to the worker", "An den Mitarbeiter zurückgeben";
    hand_back_hint: "It answers what nobody has answered.", "Er beantwortet, was niemand beantwortet hat.";
    hand_back_done: "The worker answers again.", "Der Mitarbeiter antwortet wieder.";
    live_now: "Live", "Laufend";
    nothing_said: "Nothing was said yet.", "Noch wurde nichts gesagt.";
}
