//! The businesses that this gateway works for: for those who see all of them.

use axum::Form;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::answer::{self, Problem};
use super::format::{ago, number};
use super::layout::{self, Place};
use super::refused::said;
use super::visit::Visit;
use super::words::{fill, words};
use super::workers::{self, may_manage};
use super::{CONVERSATIONS, TENANT, TENANTS, query};
use crate::account::Reach;
use crate::admin::arrange::{self, NewTenant};
use crate::admin::tenants::{self, Overview, TenantRow, TenantShown, Wanted, Which};
use crate::admin::{self, Body, Reached};
use crate::clock::Timestamp;
use crate::gateway::Gateway;

#[derive(Debug, Default, Deserialize)]
pub(super) struct Shown {
    words: Option<String>,
    after: Option<String>,
    done: Option<String>,
}

pub(super) async fn list(State(gateway): State<Gateway>, visit: Visit, Query(shown): Query<Shown>) -> Response {
    let words = TenantWords::of(visit.words);
    let notice = match shown.done.as_deref() {
        Some("erased") => Some(("good", words.erased.to_owned())),
        _ => None,
    };
    page(gateway, &visit, StatusCode::OK, shown, notice, &Typed::default()).await
}

/// What somebody wrote into the form for a new one.
#[derive(Debug, Default)]
struct Typed {
    id: String,
    name: String,
    agent: String,
    is_open: bool,
}

async fn page(
    gateway: Gateway,
    visit: &Visit,
    status: StatusCode,
    shown: Shown,
    notice: Option<(&str, String)>,
    typed: &Typed,
) -> Response {
    // Who is bound to one does not learn that there is such a page.
    if visit.who().reach != Reach::All {
        return Problem::NotFound.respond(visit);
    }
    let words = TenantWords::of(visit.words);
    let now = gateway.now();
    let agents: Vec<String> = gateway.agents().iter().map(|agent| agent.config.name.to_string()).collect();
    let reached = Reached::new(gateway, visit.who().clone());
    let wanted = Wanted { words: shown.words.clone(), after: shown.after.clone(), limit: None };
    let found = match tenants::overview(reached, admin::Query(wanted)).await {
        Ok(found) => found,
        Err(error) => return Problem::from(error).respond(visit),
    };
    let searched = shown.words.as_deref().unwrap_or_default();
    let content = html! {
        h1 { (words.tenants) }
        @if let Some((kind, text)) = &notice { (layout::notice(kind, text)) }
        section class="card" {
            form class="filter" method="get" action=(TENANTS) role="search" {
                div class="wide" {
                    label for="words" { (words.search_label) }
                    input id="words" name="words" type="search" value=(searched);
                }
                button { (words.search) }
            }
            p class="muted small" { (fill(words.total, &[("n", &number(words, u64::try_from(found.total).unwrap_or(u64::MAX)))])) }
            (rows(words, &found, searched, now))
        }
        @if may_manage(visit) { (add_form(visit, &agents, typed)) }
    };
    answer::html(status, layout::page(visit, Place::Tenants, words.tenants, &content))
}

fn rows(words: &TenantWords, found: &Overview, searched: &str, now: Timestamp) -> Markup {
    if found.tenants.is_empty() {
        return match searched.is_empty() {
            true => layout::empty(words.none, words.none_lead),
            false => layout::empty(words.none_found, words.none_found_lead),
        };
    }
    html! {
        div class="scroll" tabindex="0" role="group" aria-label=(words.tenants) {
            table {
                thead { tr {
                    th scope="col" { (words.business) }
                    th scope="col" class="number" { (words.conversations) }
                    th scope="col" class="number" { (words.waiting) }
                    th scope="col" class="number" { (words.channels) }
                    th scope="col" { (words.last_active) }
                } }
                tbody { @for row in &found.tenants { (one_row(words, row, now)) } }
            }
        }
        @if let Some(next) = &found.next {
            p { a class="button" href=(format!("{TENANTS}?words={}&after={}", query(searched), query(next))) { (words.more) } }
        }
    }
}

fn one_row(words: &TenantWords, row: &TenantRow, now: Timestamp) -> Markup {
    let id = row.tenant.as_deref().unwrap_or_default();
    html! {
        tr {
            th scope="row" {
                a href=(address(id)) { bdi { (title(words, row)) } }
                @if row.name.is_some() { " " span class="hint" { bdi { (id) } } }
                @if row.erasing { " " span class="tag warn" { (words.erasing) } }
            }
            td class="number" { (number(words, row.active)) }
            td class="number" {
                @if row.parked > 0 { span class="tag bad" { (number(words, row.waiting + row.parked)) } }
                @else { (number(words, row.waiting)) }
            }
            td class="number" { (row.channels) }
            td { (row.last_at.map_or(words.never.to_owned(), |at| ago(words, at, now))) }
        }
    }
}

fn title<'r>(words: &'r TenantWords, row: &'r TenantRow) -> &'r str {
    row.name.as_deref().or(row.tenant.as_deref()).unwrap_or(words.owner)
}

fn add_form(visit: &Visit, agents: &[String], typed: &Typed) -> Markup {
    let words = TenantWords::of(visit.words);
    html! {
        section class="card" {
            details open[typed.is_open] {
                summary { h2 { (words.add) } }
                form method="post" action=(format!("{TENANTS}/add")) {
                    p class="muted" { (words.add_lead) }
                    (layout::csrf(visit))
                    label for="new-name" { (words.new_name) }
                    input id="new-name" name="name" value=(typed.name) maxlength="80" autocomplete="off";
                    label for="new-id" { (words.new_id) }
                    input id="new-id" name="id" value=(typed.id) required maxlength="64" autocomplete="off" aria-describedby="new-id-hint";
                    p class="hint" id="new-id-hint" { (words.new_id_hint) }
                    label for="new-agent" { (words.new_agent) }
                    input id="new-agent" name="agent" value=(typed.agent) maxlength="64" autocomplete="off" list="agents"
                        aria-describedby="new-agent-hint";
                    datalist id="agents" { @for agent in agents { option value=(agent) {} } }
                    p class="hint" id="new-agent-hint" { (words.new_agent_hint) }
                    button class="primary" { (words.add_submit) }
                }
            }
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct One {
    id: String,
    done: Option<String>,
}

pub(super) async fn show(State(gateway): State<Gateway>, visit: Visit, Query(one): Query<One>) -> Response {
    let words = TenantWords::of(visit.words);
    let now = gateway.now();
    let reached = Reached::new(gateway, visit.who().clone());
    if visit.who().reach != Reach::All {
        return Problem::NotFound.respond(&visit);
    }
    let tenant = match tenants::show(reached, admin::Query(Which { tenant: one.id.clone() })).await {
        Ok(tenant) => tenant,
        Err(error) => return Problem::from(error).respond(&visit),
    };
    let done = match one.done.as_deref() {
        Some("added") => Some(words.added),
        _ => None,
    };
    let content = html! {
        p { a href=(TENANTS) { (words.back) } }
        @if let Some(done) = done { (layout::notice("good", done)) }
        section class="card" {
            div class="head" {
                h1 dir="auto" { (title(words, &tenant.row)) }
                @if tenant.row.name.is_some() { p class="key" { (one.id) } }
            }
            (figures(words, &tenant, now))
            p { a class="button" href=(format!("{CONVERSATIONS}?tenant={}", query(&one.id))) { (words.see_conversations) } }
        }
        (channels(words, &tenant, now))
        (belongs(words, &tenant))
        @if may_manage(&visit) && !one.id.is_empty() {
            section class="card" {
                h2 { (words.erase_title) }
                p class="muted" { (words.erase_teaser) }
                p { a class="button" href=(format!("{TENANT}/erase?id={}", query(&one.id))) { (words.erase) } }
            }
        }
    };
    answer::html(StatusCode::OK, layout::page(&visit, Place::Tenants, title(words, &tenant.row), &content))
}

fn figures(words: &TenantWords, tenant: &TenantShown, now: Timestamp) -> Markup {
    let row = &tenant.row;
    html! {
        dl class="facts" {
            div { dt { (words.conversations) } dd { (number(words, row.active)) } }
            div { dt { (words.archived) } dd { (number(words, row.archived)) } }
            div { dt { (words.waiting) } dd { (number(words, row.waiting)) } }
            @if row.parked > 0 { div { dt { (words.parked) } dd { span class="tag bad" { (number(words, row.parked)) } } } }
            div { dt { (words.last_active) } dd { (row.last_at.map_or(words.never.to_owned(), |at| ago(words, at, now))) } }
        }
    }
}

fn channels(words: &TenantWords, tenant: &TenantShown, now: Timestamp) -> Markup {
    html! {
        section class="card" {
            h2 { (words.channels) }
            @if tenant.entries.is_empty() {
                p { (words.no_channels) }
            } @else {
                div class="scroll" tabindex="0" role="group" aria-label=(words.channels) {
                    table {
                        thead { tr {
                            th scope="col" { (words.name) }
                            th scope="col" { (words.kind) }
                            th scope="col" { (words.last_message) }
                        } }
                        tbody {
                            @for entry in &tenant.entries {
                                tr {
                                    th scope="row" {
                                        @if entry.path.starts_with("/chat/") { a href=(entry.path) { (entry.id) } }
                                        @else { (entry.id) }
                                    }
                                    td { (entry.channel) }
                                    td {
                                        (entry.last_in_at.map_or(words.never.to_owned(), |at| ago(words, at, now)))
                                        @if let Some(problem) = &entry.problem {
                                            " " span class="tag bad" lang="en" { (problem) }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn belongs(words: &TenantWords, tenant: &TenantShown) -> Markup {
    html! {
        section class="card" {
            h2 { (words.workers) }
            ul class="rows" {
                @for agent in &tenant.agents {
                    li { a href=(workers::address(agent)) {
                        strong dir="auto" { (agent) }
                        @if *agent == tenant.default_agent { span class="tag" { (words.is_default) } }
                    } }
                }
            }
            @if let Some(people) = &tenant.people {
                h2 { (words.people) }
                @if people.is_empty() { p { (words.no_people) } } @else { p dir="auto" { (people.join(", ")) } }
                h2 { (words.api_keys) }
                @if tenant.api_keys.is_empty() { p { (words.no_api_keys) } } @else { p dir="auto" { (tenant.api_keys.join(", ")) } }
            }
        }
    }
}

/// Asks once more, and says what cannot be brought back.
pub(super) async fn ask_to_erase(State(gateway): State<Gateway>, visit: Visit, Query(one): Query<One>) -> Response {
    confirm(gateway, &visit, StatusCode::OK, &one.id, None).await
}

async fn confirm(gateway: Gateway, visit: &Visit, status: StatusCode, id: &str, notice: Option<&str>) -> Response {
    let words = TenantWords::of(visit.words);
    if visit.who().reach != Reach::All || id.is_empty() {
        return Problem::NotFound.respond(visit);
    }
    if !may_manage(visit) {
        return Problem::NotAllowed.respond(visit);
    }
    let reached = Reached::new(gateway, visit.who().clone());
    let tenant = match tenants::show(reached, admin::Query(Which { tenant: id.to_owned() })).await {
        Ok(tenant) => tenant,
        Err(error) => return Problem::from(error).respond(visit),
    };
    let kept = number(words, tenant.row.active + tenant.row.archived);
    let content = html! {
        p { a href=(address(id)) { (words.cancel) } }
        @if let Some(notice) = notice { (layout::notice("bad", notice)) }
        section class="card" {
            h1 { (fill(words.erase_question, &[("name", title(words, &tenant.row))])) }
            p { (fill(words.erase_lead, &[("n", &kept)])) }
            p { (words.erase_key) }
            p class="muted" { (words.erase_time) }
            form method="post" action=(format!("{TENANT}/erase")) {
                (layout::csrf(visit))
                input type="hidden" name="id" value=(id);
                label for="typed" { (fill(words.erase_type, &[("id", id)])) }
                input id="typed" name="typed" required autocomplete="off" spellcheck="false";
                label class="check" { input type="checkbox" name="config" value="yes" checked; " " (words.erase_config) }
                button class="danger" { (words.erase_submit) }
            }
        }
    };
    answer::html(status, layout::page(visit, Place::Tenants, words.erase_title, &content))
}

#[derive(Debug, Deserialize)]
pub(super) struct Order {
    csrf: String,
    id: String,
    name: Option<String>,
    agent: Option<String>,
    typed: Option<String>,
    config: Option<String>,
}

fn check(visit: &Visit, csrf: &str) -> Result<(), Problem> {
    if !visit.session.is_csrf(csrf) {
        return Err(Problem::Stale);
    }
    match &visit.who().reach {
        Reach::Tenant(_) => Err(Problem::NotFound),
        Reach::All if !may_manage(visit) => Err(Problem::NotAllowed),
        Reach::All => Ok(()),
    }
}

pub(super) async fn add(State(gateway): State<Gateway>, visit: Visit, Form(order): Form<Order>) -> Response {
    let visit = &visit;
    if let Err(problem) = check(visit, &order.csrf) {
        return problem.respond(visit);
    }
    let given = |value: Option<String>| value.map(|value| value.trim().to_owned()).filter(|value| !value.is_empty());
    let (id, name, agent) = (order.id.trim().to_owned(), given(order.name), given(order.agent));
    let reached = Reached::new(gateway.clone(), visit.who().clone());
    let new = NewTenant { id: id.clone(), name: name.clone(), agent: agent.clone(), provider: None };
    match arrange::add_tenant(reached, Body(new)).await {
        Ok(_) => answer::done(&format!("{}&done=added", address(&id))),
        Err(error) => {
            let (status, why) = said(visit, error);
            let words = TenantWords::of(visit.words);
            let typed = Typed { id, name: name.unwrap_or_default(), agent: agent.unwrap_or_default(), is_open: true };
            let notice = Some(("bad", format!("{} {why}", words.not_added)));
            page(gateway, visit, status, Shown::default(), notice, &typed).await
        }
    }
}

pub(super) async fn erase(State(gateway): State<Gateway>, visit: Visit, Form(order): Form<Order>) -> Response {
    let visit = &visit;
    if let Err(problem) = check(visit, &order.csrf) {
        return problem.respond(visit);
    }
    let words = TenantWords::of(visit.words);
    if order.typed.as_deref().map(str::trim) != Some(order.id.trim()) {
        let status = StatusCode::UNPROCESSABLE_ENTITY;
        return confirm(gateway, visit, status, &order.id, Some(words.erase_mistyped)).await;
    }
    let reached = Reached::new(gateway.clone(), visit.who().clone());
    let which = || admin::Query(Which { tenant: order.id.clone() });
    // First nothing more comes in for it, then what is there goes.
    if order.config.is_some() {
        match arrange::remove_tenant(reached.clone(), which()).await {
            Ok(_) | Err(admin::Error::NotFound(_)) => {}
            Err(error) => {
                let (status, why) = said(visit, error);
                return confirm(gateway, visit, status, &order.id, Some(&format!("{} {why}", words.not_erased))).await;
            }
        }
    }
    match tenants::erase(reached, which()).await {
        // Nothing was kept of it yet.
        Ok(_) | Err(admin::Error::NotFound(_)) => answer::done(&format!("{TENANTS}?done=erased")),
        Err(error) => {
            let (status, why) = said(visit, error);
            confirm(gateway, visit, status, &order.id, Some(&format!("{} {why}", words.not_erased))).await
        }
    }
}

fn address(id: &str) -> String {
    format!("{TENANT}?id={}", query(id))
}

words! {
    /// What the pages of tenants say.
    TenantWords;
    business: "Business", "Unternehmen";
    owner: "Your own", "Ihr eigenes";
    waiting: "Waiting", "Warten";
    parked: "Set aside", "Zurückgelegt";
    channels: "Channels", "Kanäle";
    last_active: "Last message", "Letzte Nachricht";
    never: "never", "nie";
    erasing: "is being erased", "wird gelöscht";
    search_label: "Name or id", "Name oder Kennung";
    search: "Search", "Suchen";
    total: "{n} in all", "{n} insgesamt";
    more: "More", "Weitere";
    none: "No businesses yet", "Noch keine Unternehmen";
    none_lead: "Add one below, and it has a web chat that answers at once.",
        "Fügen Sie unten eines hinzu, und es hat einen Web-Chat, der sofort antwortet.";
    none_found: "Nothing found", "Nichts gefunden";
    none_found_lead: "No business has this in its name or id.", "Kein Unternehmen hat das im Namen oder in der Kennung.";
    add: "Add a business", "Unternehmen hinzufügen";
    add_lead: "It gets a web chat of its own, kept apart from every other business. You can add more channels afterwards.",
        "Es bekommt einen eigenen Web-Chat, getrennt von jedem anderen Unternehmen. Weitere Kanäle können Sie danach hinzufügen.";
    new_name: "Name", "Name";
    new_id: "Id", "Kennung";
    new_id_hint: "A number or a short word. It is part of every conversation's key and cannot be changed later.",
        "Eine Zahl oder ein kurzes Wort. Sie ist Teil jedes Gesprächsschlüssels und lässt sich später nicht ändern.";
    new_agent: "Worker", "Mitarbeiter";
    new_agent_hint: "One that is there, or a name for a new one. Leave it empty for the one that answers by default.",
        "Einer, den es gibt, oder ein Name für einen neuen. Leer lassen für den, der antwortet, wenn nichts anderes gilt.";
    add_submit: "Add", "Hinzufügen";
    added: "It is there. Try its web chat, and give its worker a persona.",
        "Es ist da. Probieren Sie seinen Web-Chat aus, und geben Sie seinem Mitarbeiter eine Persona.";
    not_added: "It is not added.", "Es ist nicht hinzugefügt.";
    back: "All businesses", "Alle Unternehmen";
    see_conversations: "See its conversations", "Seine Gespräche ansehen";
    kind: "Kind", "Art";
    last_message: "Last message in", "Letzte eingegangene";
    no_channels: "It has no channel: nobody can write to it.", "Es hat keinen Kanal: Niemand kann ihm schreiben.";
    is_default: "answers by default", "antwortet, wenn nichts anderes gilt";
    no_people: "Nobody's account is bound to this business.", "Kein Konto ist an dieses Unternehmen gebunden.";
    api_keys: "Keys of programs", "Schlüssel von Programmen";
    no_api_keys: "No program has a key for it.", "Kein Programm hat einen Schlüssel dafür.";
    erase: "Erase…", "Löschen …";
    erase_title: "Erase this business", "Dieses Unternehmen löschen";
    erase_teaser: "Removes every conversation of this business for good.",
        "Entfernt jedes Gespräch dieses Unternehmens endgültig.";
    erase_question: "Erase everything of {name}?", "Alles von {name} löschen?";
    erase_lead: "All its conversations ({n}) with their messages, notes and files are removed, and with them whatever still waits to be answered or sent.",
        "Alle Gespräche ({n}) mit ihren Nachrichten, Notizen und Dateien werden entfernt, und mit ihnen alles, was noch auf Antwort oder Versand wartet.";
    erase_key: "The key that they are sealed with is destroyed. Nobody can bring them back, neither you nor we. Only backups made before still hold them.",
        "Der Schlüssel, mit dem sie versiegelt sind, wird vernichtet. Niemand kann sie zurückholen, weder Sie noch wir. Nur ältere Sicherungen enthalten sie noch.";
    erase_time: "A large store is written anew; that may take minutes.", "Ein großer Speicher wird neu geschrieben; das kann Minuten dauern.";
    erase_type: "Type {id} to confirm", "Zur Bestätigung {id} eintippen";
    erase_config: "Also take its channels, rules and keys out of the configuration. Otherwise new messages may come in for it.",
        "Auch seine Kanäle, Regeln und Schlüssel aus der Konfiguration nehmen. Sonst können neue Nachrichten dafür eingehen.";
    erase_submit: "Erase for good", "Endgültig löschen";
    erase_mistyped: "What you typed is not the id. Nothing was erased.", "Was Sie getippt haben, ist nicht die Kennung. Es wurde nichts gelöscht.";
    not_erased: "It is not erased.", "Es ist nicht gelöscht.";
    erased: "Everything that was kept of it is gone.", "Alles, was davon aufbewahrt wurde, ist weg.";
    cancel: "Cancel", "Abbrechen";
}
