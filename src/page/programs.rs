//! What programs get in with: tokens of the admin API, and keys of the API that talks to workers. Each is shown once.

use axum::Form;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::answer::{self, Problem};
use super::format::{ago, time};
use super::layout::{self, Place};
use super::refused::said;
use super::visit::{At, Visit};
use super::words::words;
use super::workers::may_manage;
use super::{PEOPLE, PROGRAMS, people};
use crate::admin::arrange::{self, NewKey};
use crate::admin::users::{self, Role, Token, WantedToken};
use crate::admin::{self, Body, Name, Reached, api_keys};
use crate::clock::Timestamp;
use crate::gateway::Gateway;

/// The sections of the page of people, for those who may manage everything.
pub(super) async fn sections(gateway: &Gateway, visit: &Visit, tenants: &[String]) -> Result<Markup, Problem> {
    let words = ProgramWords::of(visit.words);
    let reached = Reached::new(gateway.clone(), visit.who().clone());
    let tokens = users::tokens(reached.clone(), ()).await?;
    let keys = api_keys::list(reached, ()).await?;
    let agents: Vec<String> = gateway.agents().iter().map(|agent| agent.config.name.to_string()).collect();
    let now = gateway.now();
    Ok(html! {
        section class="card" id="keys" {
            h2 { (words.keys) }
            p class="muted" { (words.keys_lead) }
            @if keys.api_keys.is_empty() {
                p { (words.no_keys) }
            } @else {
                div class="scroll" tabindex="0" role="group" aria-label=(words.keys) {
                    table {
                        thead { tr {
                            th scope="col" { (words.name) }
                            th scope="col" { (words.business) }
                            th scope="col" { (words.worker) }
                            th { span class="unseen" { (words.end) } }
                        } }
                        tbody {
                            @for key in &keys.api_keys {
                                tr {
                                    th scope="row" dir="auto" { (key.name) }
                                    td dir="auto" { (key.tenant.as_deref().unwrap_or(words.own)) }
                                    td dir="auto" { (key.agent.as_deref().unwrap_or(words.every_worker)) }
                                    td { (end(visit, "key-end", &key.name)) }
                                }
                            }
                        }
                    }
                }
            }
            details {
                summary { h2 { (words.add_key) } }
                form method="post" action=(format!("{PROGRAMS}/key")) {
                    (layout::csrf(visit))
                    label for="key-name" { (words.name) }
                    input id="key-name" name="name" required maxlength="64" autocomplete="off" placeholder="crm";
                    label for="key-tenant" { (words.business) }
                    select id="key-tenant" name="tenant" {
                        option value="" { (words.own) }
                        @for tenant in tenants { option value=(tenant) { (tenant) } }
                    }
                    label for="key-agent" { (words.worker) }
                    select id="key-agent" name="agent" {
                        option value="" { (words.every_worker) }
                        @for agent in &agents { option value=(agent) { (agent) } }
                    }
                    button class="primary" { (words.make_key) }
                }
            }
        }
        section class="card" id="tokens" {
            h2 { (words.tokens) }
            p class="muted" { (words.tokens_lead) }
            @if tokens.tokens.is_empty() {
                p { (words.no_tokens) }
            } @else {
                (token_table(words, visit, &tokens.tokens, now))
            }
            details {
                summary { h2 { (words.add_token) } }
                form method="post" action=(format!("{PROGRAMS}/token")) {
                    (layout::csrf(visit))
                    label for="token-name" { (words.name) }
                    input id="token-name" name="name" required maxlength="64" autocomplete="off" placeholder="monitor";
                    label for="token-role" { (words.may) }
                    select id="token-role" name="role" {
                        option value="support" { (words.may_look) }
                        option value="admin" { (words.may_all) }
                    }
                    label for="token-tenant" { (words.business) }
                    select id="token-tenant" name="tenant" {
                        option value="*" { (words.all) }
                        @for tenant in tenants { option value=(tenant) { (tenant) } }
                    }
                    label for="token-days" { (words.days) }
                    input id="token-days" name="days" type="number" min="1" max="3650" value="365" aria-describedby="token-days-hint";
                    p class="hint" id="token-days-hint" { (words.days_hint) }
                    button class="primary" { (words.make_token) }
                }
            }
        }
    })
}

fn token_table(words: &ProgramWords, visit: &Visit, tokens: &[Token], now: Timestamp) -> Markup {
    html! {
        div class="scroll" tabindex="0" role="group" aria-label=(words.tokens) {
            table {
                thead { tr {
                    th scope="col" { (words.name) }
                    th scope="col" { (words.may) }
                    th scope="col" { (words.business) }
                    th scope="col" { (words.last_used) }
                    th scope="col" { (words.ends) }
                    th { span class="unseen" { (words.end) } }
                } }
                tbody {
                    @for token in tokens {
                        tr {
                            th scope="row" dir="auto" { (token.name) }
                            td { (match token.role { Role::Admin => words.may_all, Role::Support => words.may_look }) }
                            td dir="auto" { (token.tenant.as_deref().unwrap_or(words.all)) }
                            td { (token.used_at.map_or(words.never.to_owned(), |at| ago(words, at, now))) }
                            td {
                                @if token.expired { span class="tag warn" { (words.ended) } }
                                @else { (token.expires_at.map_or(words.until_revoked.to_owned(), |at| time(words, at))) }
                            }
                            td { (end(visit, "token-end", &token.name)) }
                        }
                    }
                }
            }
        }
    }
}

fn end(visit: &Visit, action: &str, name: &str) -> Markup {
    let words = ProgramWords::of(visit.words);
    html! {
        form class="inline" method="post" action=(format!("{PROGRAMS}/{action}")) {
            (layout::csrf(visit))
            input type="hidden" name="name" value=(name);
            button class="quiet" aria-label=(format!("{}: {name}", words.end)) { (words.end) }
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Order {
    csrf: String,
    name: String,
    role: Option<String>,
    tenant: Option<String>,
    agent: Option<String>,
    days: Option<String>,
}

pub(super) async fn change(
    State(gateway): State<Gateway>,
    visit: Visit,
    at: At,
    Path(action): Path<String>,
    Form(order): Form<Order>,
) -> Response {
    if !visit.session.is_csrf(&order.csrf) {
        return Problem::Stale.respond(&visit);
    }
    if !may_manage(&visit) {
        return Problem::NotAllowed.respond(&visit);
    }
    let reached = Reached::new(gateway.clone(), visit.who().clone());
    match obey(reached, &action, order).await {
        Ok(Done::Made(secret)) => made(&visit, &secret),
        Ok(Done::Ended) => answer::done(&format!("{PEOPLE}?done=program-ended")),
        Ok(Done::Unknown) => Problem::NotFound.respond(&visit),
        Err(error) => {
            let (status, why) = said(&visit, error);
            people::page(&gateway, &visit, &at, status, Some(("bad", why))).await
        }
    }
}

enum Done {
    Made(String),
    Ended,
    Unknown,
}

async fn obey(reached: Reached, action: &str, order: Order) -> Result<Done, admin::Error> {
    let chosen = |value: Option<String>| value.filter(|value| !value.is_empty());
    Ok(match action {
        "key" => {
            let (tenant, agent) = (chosen(order.tenant), chosen(order.agent));
            let new = NewKey { name: order.name, tenant, agent, whole_tenant: false };
            Done::Made(arrange::add_key(reached, Body(new)).await?.key)
        }
        "key-end" => {
            arrange::remove_key(reached, Name(order.name)).await?;
            Done::Ended
        }
        "token" => {
            let role = match order.role.as_deref() {
                Some("admin") => Role::Admin,
                Some("support") => Role::Support,
                _ => return Ok(Done::Unknown),
            };
            // Nothing is not everything.
            let tenant = match chosen(order.tenant) {
                None => return Ok(Done::Unknown),
                Some(all) if all == "*" => None,
                tenant => tenant,
            };
            let days = chosen(order.days).map(|days| days.parse()).transpose();
            let days = days.map_err(|_error| admin::Error::Unusable("days: a number".to_owned()))?;
            let wanted = WantedToken { name: order.name, role, tenant, days };
            Done::Made(users::create_token(reached, Body(wanted)).await?.token)
        }
        "token-end" => {
            users::revoke_token(reached, Name(order.name)).await?;
            Done::Ended
        }
        _ => Done::Unknown,
    })
}

/// Shown by the answer itself: it is in no address, and no page has it later.
fn made(visit: &Visit, secret: &str) -> Response {
    let words = ProgramWords::of(visit.words);
    let content = html! {
        section class="card" {
            h1 { (words.made) }
            p { (words.made_lead) }
            p class="key secret" tabindex="0" { (secret) }
            p { a class="button" href=(PEOPLE) { (words.kept) } }
        }
    };
    answer::html(StatusCode::OK, layout::page(visit, Place::People, words.made, &content))
}

words! {
    /// What the sections of programs say.
    ProgramWords;
    keys: "Programs that talk to workers", "Programme, die mit Mitarbeitern sprechen";
    keys_lead: "With such a key a program asks a worker as people do, for example from your website or your CRM.",
        "Mit so einem Schlüssel fragt ein Programm einen Mitarbeiter wie ein Mensch, etwa von Ihrer Webseite oder aus Ihrem CRM.";
    no_keys: "No program has a key.", "Kein Programm hat einen Schlüssel.";
    add_key: "Make a key", "Schlüssel anlegen";
    make_key: "Make key", "Schlüssel anlegen";
    business: "Business", "Unternehmen";
    own: "Your own", "Ihr eigenes";
    worker: "Worker", "Mitarbeiter";
    every_worker: "Every worker of it", "Jeder davon";
    tokens: "Programs that look after this box", "Programme, die sich um diese Box kümmern";
    tokens_lead: "With such a token a program uses the admin API, for example to watch whether everything works.",
        "Mit so einem Token benutzt ein Programm die Verwaltungs-API, etwa um zu beobachten, ob alles läuft.";
    no_tokens: "No program has a token.", "Kein Programm hat ein Token.";
    add_token: "Make a token", "Token anlegen";
    make_token: "Make token", "Token anlegen";
    may: "May", "Darf";
    may_look: "Look only", "Nur ansehen";
    may_all: "Everything", "Alles";
    all: "All businesses", "Alle Unternehmen";
    days: "Days until it ends", "Tage, bis es endet";
    days_hint: "Leave it empty for a token that holds until you end it.", "Leer lassen für ein Token, das gilt, bis Sie es beenden.";
    last_used: "Last used", "Zuletzt benutzt";
    never: "never", "nie";
    ends: "Ends", "Endet";
    ended: "ended", "beendet";
    until_revoked: "when you end it", "wenn Sie es beenden";
    end: "End", "Beenden";
    made: "Copy it now", "Jetzt kopieren";
    made_lead: "This is the only time it is shown. Whoever has it gets in, so keep it like a password.",
        "Es wird nur dieses eine Mal gezeigt. Wer es hat, kommt hinein; bewahren Sie es auf wie ein Passwort.";
    kept: "I have kept it", "Ich habe es aufbewahrt";
}
