//! Who may log in, and where they are.

use std::collections::BTreeSet;

use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::answer::{self, Problem};
use super::format::{ago, time};
use super::layout::{self, Place};
use super::visit::{At, From, Visit};
use super::words::{Words, fill, words};
use super::{PEOPLE, door, passkeys, programs};
use crate::account::{self, LoginError, Reach, Role, Who};
use crate::admin::{self, Reached};
use crate::clock::Timestamp;
use crate::document::Secret;
use crate::gateway::Gateway;
use crate::id::TenantId;

#[derive(Debug, Deserialize)]
pub(super) struct Shown {
    done: Option<String>,
}

pub(super) async fn show(State(gateway): State<Gateway>, visit: Visit, at: At, Query(shown): Query<Shown>) -> Response {
    let done = shown.done.as_deref().and_then(|done| done_words(PeopleWords::of(visit.words), done));
    page(&gateway, &visit, &at, StatusCode::OK, done.map(|done| ("good", done.to_owned()))).await
}

/// The page, with a line above it.
pub(super) async fn page(
    gateway: &Gateway,
    visit: &Visit,
    At(site): &At,
    status: StatusCode,
    notice: Option<(&str, String)>,
) -> Response {
    let words = PeopleWords::of(visit.words);
    let programs = match may_manage(visit) {
        true => {
            let tenants: Vec<String> = tenants(gateway).iter().map(ToString::to_string).collect();
            match programs::sections(gateway, visit, &tenants).await {
                Ok(sections) => Some(sections),
                Err(problem) => return problem.respond(visit),
            }
        }
        false => None,
    };
    let content = html! {
        h1 { (words.people) }
        @if let Some((kind, text)) = &notice { (layout::notice(kind, text)) }
        @if may_manage(visit) { (users(gateway, visit)) }
        (sessions(gateway, visit))
        (own_password(visit))
        (passkeys::own(gateway, visit, site.as_ref()))
        @if let Some(programs) = &programs { (programs) }
    };
    answer::html(status, layout::page(visit, Place::People, words.people, &content))
}

/// Accounts are the gateway's, not a tenant's.
pub(super) fn may_manage(visit: &Visit) -> bool {
    visit.who().role == Role::Admin && visit.who().reach == Reach::All
}

fn done_words(words: &PeopleWords, done: &str) -> Option<&'static str> {
    match done {
        "added" => Some(words.added),
        "removed" => Some(words.removed),
        "changed" => Some(words.changed),
        "ended" => Some(words.ended),
        "program-ended" => Some(words.program_ended),
        done => passkeys::done_words(words, done),
    }
}

fn users(gateway: &Gateway, visit: &Visit) -> Markup {
    let words = PeopleWords::of(visit.words);
    let tenants = tenants(gateway);
    html! {
        section class="card" {
            h2 { (words.users) }
            div class="scroll" tabindex="0" role="group" aria-label=(words.users) {
                table {
                    thead { tr {
                        th scope="col" { (words.name) }
                        th scope="col" { (words.role) }
                        th scope="col" { (words.reach) }
                        th { span class="unseen" { (words.remove) } }
                    } }
                    tbody {
                        @for user in gateway.accounts().users() {
                            tr {
                                th scope="row" dir="auto" { (user.name) }
                                td { (match user.role { Role::Admin => words.role_admin, Role::Support => words.role_support }) }
                                td { (match &user.reach { Reach::All => words.reach_all, Reach::Tenant(tenant) => tenant.as_str() }) }
                                td {
                                    @if user.name != visit.who().name {
                                        form class="inline" method="post" action=(format!("{PEOPLE}/remove")) {
                                            (layout::csrf(visit))
                                            input type="hidden" name="name" value=(user.name);
                                            button class="quiet" aria-label=(format!("{}: {}", words.remove, user.name)) { (words.remove) }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
            (passkeys::of_others(gateway, visit))
            details {
                summary { h2 { (words.add_person) } }
                form method="post" action=(format!("{PEOPLE}/add")) {
                    (layout::csrf(visit))
                    label for="new-name" { (words.name) }
                    input id="new-name" name="name" required maxlength="64" autocomplete="off";
                    label for="new-role" { (words.role) }
                    select id="new-role" name="role" {
                        option value="support" { (words.role_support) }
                        option value="admin" { (words.role_admin) }
                    }
                    label for="new-reach" { (words.reach) }
                    select id="new-reach" name="tenant" {
                        option value="*" { (words.reach_all) }
                        @for tenant in &tenants { option value=(tenant) { (tenant) } }
                    }
                    (layout::new_password(words, "new-password", words.password))
                    button class="primary" { (words.add) }
                }
            }
        }
    }
}

/// Those that have channels or conversations.
fn tenants(gateway: &Gateway) -> BTreeSet<TenantId> {
    let kept = gateway.store().tenants().unwrap_or_default().into_iter().flatten();
    let entries = gateway.channels(&Who::console()).unwrap_or_default();
    kept.chain(entries.into_iter().filter_map(|entry| TenantId::new(entry.tenant?).ok())).collect()
}

fn sessions(gateway: &Gateway, visit: &Visit) -> Markup {
    let (words, now) = (PeopleWords::of(visit.words), gateway.now());
    let own = gateway.accounts().sessions();
    let when = |at: Timestamp| html! { time datetime=(at) title=(time(words, at)) { (ago(words, at, now)) } };
    html! {
        section class="card" {
            h2 { (words.your_sessions) }
            table {
                thead { tr { th scope="col" { (words.last_used) } th { span class="unseen" { (words.end_session) } } } }
                tbody {
                    @for session in own.iter().filter(|session| session.user == visit.who().name) {
                        tr {
                            td { (when(session.used_at)) @if session.id == visit.session.id { " · " (words.this_device) } }
                            td {
                                @if session.id != visit.session.id {
                                    form class="inline" method="post" action=(format!("{PEOPLE}/end")) {
                                        (layout::csrf(visit))
                                        input type="hidden" name="name" value=(session.id);
                                        button class="quiet" { (words.end_session) }
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

fn own_password(visit: &Visit) -> Markup {
    let words = PeopleWords::of(visit.words);
    html! {
        section class="card" {
            h2 { (words.change_password) }
            form method="post" action=(format!("{PEOPLE}/password")) {
                (layout::csrf(visit))
                input type="hidden" name="name" value=(visit.who().name) autocomplete="username";
                label for="current" { (words.current_password) }
                input id="current" name="current" type="password" required autocomplete="current-password";
                (layout::new_password(words, "password", words.new_password))
                button { (words.change) }
            }
        }
    }
}

/// Not to be printed.
#[derive(Deserialize)]
pub(super) struct Order {
    csrf: String,
    /// An account, or a session that ends.
    name: String,
    role: Option<String>,
    tenant: Option<String>,
    current: Option<String>,
    password: Option<String>,
}

pub(super) async fn change(
    State(gateway): State<Gateway>,
    visit: Visit,
    from: From,
    at: At,
    Path(action): Path<String>,
    Form(order): Form<Order>,
) -> Response {
    match obey(&gateway, &visit, from, &action, order).await {
        Ok(done) => answer::done(&format!("{PEOPLE}?done={done}")),
        Err(Problem::Said(status, text)) => page(&gateway, &visit, &at, status, Some(("bad", text))).await,
        Err(problem) => problem.respond(&visit),
    }
}

async fn obey(
    gateway: &Gateway,
    visit: &Visit,
    from: From,
    action: &str,
    order: Order,
) -> Result<&'static str, Problem> {
    let (words, accounts) = (PeopleWords::of(visit.words), gateway.accounts());
    let reached = Reached::new(gateway.clone(), visit.who().clone());
    let said = |error: account::Error| {
        let (status, text) = door::refused(words, error);
        Problem::Said(status, text)
    };
    if !visit.session.is_csrf(&order.csrf) {
        return Err(Problem::Stale);
    }
    if matches!(action, "add" | "remove") && !may_manage(visit) {
        return Err(Problem::NotAllowed);
    }
    let password = Secret::new(order.password.unwrap_or_default());
    match action {
        "add" => {
            let role = order.role.as_deref().and_then(Role::parse).ok_or(Problem::NotFound)?;
            // Nothing is not everything.
            let reach = match order.tenant.as_deref().ok_or(Problem::NotFound)? {
                "*" => Reach::All,
                tenant => Reach::Tenant(TenantId::new(tenant).map_err(|_not_one| Problem::NotFound)?),
            };
            accounts.add_user(&order.name, role, reach, &password).await.map_err(said)?;
            admin::note_account(&reached, "add account", &order.name);
            Ok("added")
        }
        "remove" => {
            accounts.remove_user(&order.name).await.map_err(said)?;
            admin::note_account(&reached, "remove account", &order.name);
            Ok("removed")
        }
        "end" => {
            let own = accounts.sessions();
            if !own.iter().any(|session| session.id == order.name && session.user == visit.who().name) {
                return Err(Problem::NotFound);
            }
            accounts.revoke_session(&order.name).await.map_err(said)?;
            admin::note_account(&reached, "end session", &order.name);
            Ok("ended")
        }
        "password" => {
            let current = Secret::new(order.current.unwrap_or_default());
            change_own(gateway, visit, from, &current, &password).await?;
            admin::note_account(&reached, "set password", &visit.who().name);
            Ok("changed")
        }
        _ => Err(Problem::NotFound),
    }
}

async fn change_own(
    gateway: &Gateway,
    visit: &Visit,
    from: From,
    current: &Secret,
    new: &Secret,
) -> Result<(), Problem> {
    let changed = gateway.accounts().change_password(&visit.session, current, new, from.address).await;
    changed.map_err(|error| {
        let (status, text) = refused_login(visit.words, error);
        Problem::Said(status, text)
    })
}

/// What is said of a password that somebody types once more.
pub(super) fn refused_login(words: &Words, error: LoginError) -> (StatusCode, String) {
    match error {
        LoginError::Wrong | LoginError::PasskeyWanted { .. } => {
            (StatusCode::UNAUTHORIZED, words.login_wrong.to_owned())
        }
        LoginError::TooMany { retry_after } => {
            let seconds = retry_after.as_secs().max(1).to_string();
            (StatusCode::TOO_MANY_REQUESTS, fill(words.too_many, &[("n", &seconds)]))
        }
        LoginError::Account(error) => door::refused(words, error),
    }
}

words! {
    /// What the page of people says.
    PeopleWords;
    program_ended: "It opens nothing any more.", "Damit kommt niemand mehr hinein.";
    users: "People who may log in", "Wer sich anmelden darf";
    role: "May", "Darf";
    role_admin: "Everything", "Alles";
    role_support: "Look only", "Nur ansehen";
    reach: "Sees", "Sieht";
    reach_all: "All businesses", "Alle Unternehmen";
    add_person: "Add a person", "Person hinzufügen";
    add: "Add", "Hinzufügen";
    remove: "Remove", "Entfernen";
    added: "Added.", "Hinzugefügt.";
    removed: "Removed.", "Entfernt.";
    your_sessions: "Where you are logged in", "Wo Sie angemeldet sind";
    this_device: "This device", "Dieses Gerät";
    last_used: "Last used", "Zuletzt benutzt";
    end_session: "Log out there", "Dort abmelden";
    ended: "Logged out there.", "Dort abgemeldet.";
    change_password: "Change your password", "Passwort ändern";
    new_password: "New password", "Neues Passwort";
    current_password: "Current password", "Jetziges Passwort";
    change: "Change", "Ändern";
    changed: "Changed. All other devices are logged out.", "Geändert. Alle anderen Geräte sind abgemeldet.";
}
