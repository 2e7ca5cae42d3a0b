//! Channels: how they are, who may write, and what somebody does to add, change or end one.
//!
//! Which fields a type has, and what to do at its vendor's, is declared beside the adapter; no type has a name here.

use std::net::IpAddr;

use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use maud::{Markup, html};
use serde::Deserialize;

use super::answer::{self, Problem};
use super::format::ago;
use super::layout::{self, Place};
use super::settings::Sent;
use super::visit::Visit;
use super::words::{fill, words};
use super::{CHANNELS, query, refused};
use crate::account::{Reach, Role};
use crate::admin::channels::{self, ChannelTested};
use crate::admin::pairing::{self, Decision, OnChannel, Revocation};
use crate::admin::{self, Body, Name, Query as Asked, Reached, change, secrets};
use crate::channel::form::{Field, Form as Declared, Kind};
use crate::channel::registry::{self, Type};
use crate::clock::Timestamp;
use crate::config::edit::{self, Value};
use crate::config::{Change, Secrets};
use crate::document::Secret;
use crate::gateway::{ChannelStatus, Gateway};

/// Who may write, as every entry has it.
const POLICIES: [&str; 4] = ["open", "pairing", "allowlist", "off"];
/// Bytes of a secret that is made here.
const MADE_BYTES: usize = 32;

#[derive(Debug, Deserialize)]
pub(super) struct Shown {
    done: Option<String>,
}

/// Channels are entries of the configuration, so whoever changes them changes the gateway.
fn may_manage(visit: &Visit) -> bool {
    visit.who().role == Role::Admin && visit.who().reach == Reach::All
}

fn reached(gateway: &Gateway, visit: &Visit) -> Reached {
    Reached::new(gateway.clone(), visit.who().clone())
}

pub(super) async fn show(State(gateway): State<Gateway>, visit: Visit, Query(shown): Query<Shown>) -> Response {
    let words = ChannelWords::of(visit.words);
    let done = shown.done.as_deref().and_then(|done| done_words(words, done));
    match list(&gateway, &visit, done).await {
        Ok(content) => answer::html(StatusCode::OK, content),
        Err(problem) => problem.respond(&visit),
    }
}

fn done_words(words: &ChannelWords, done: &str) -> Option<&'static str> {
    match done {
        "added" => Some(words.added),
        "saved" => Some(words.saved),
        "removed" => Some(words.removed),
        "approved" => Some(words.approved),
        "rejected" => Some(words.rejected),
        "revoked" => Some(words.revoked),
        "resting" => Some(words.pause_done),
        "going" => Some(words.resumed),
        "same" => Some(words.same),
        _ => None,
    }
}

async fn list(gateway: &Gateway, visit: &Visit, done: Option<&str>) -> Result<Markup, Problem> {
    let words = ChannelWords::of(visit.words);
    let all = reached(gateway, visit).channels()?;
    let content = html! {
        h1 { (words.channels) }
        @if let Some(done) = done { (layout::notice("good", done)) }
        section class="card" {
            @if all.is_empty() { (layout::empty(words.none, words.none_lead)) } @else {
                div class="scroll" tabindex="0" role="group" aria-label=(words.channels) {
                    table {
                        thead { tr {
                            th scope="col" { (words.channel) }
                            th scope="col" { (words.kind) }
                            th scope="col" { (words.last_in) }
                            th scope="col" { (words.last_out) }
                            th scope="col" { (words.state) }
                        } }
                        tbody { @for channel in &all { (row(gateway, visit, channel)) } }
                    }
                }
            }
        }
        (strangers(gateway, visit).await?)
        (approved(gateway, visit).await?)
        @if may_manage(visit) {
            section class="card" {
                h2 { (words.add) }
                ul class="choices" {
                    @for one in registry::TYPES {
                        li {
                            a href=(format!("{CHANNELS}/new?type={}", query(one.descriptor.type_name))) { (one.form.name.r#in(words.language)) }
                            p class="hint" { (one.form.lead.r#in(words.language)) }
                        }
                    }
                }
            }
        }
    };
    Ok(layout::page(visit, Place::Channels, words.channels, &content))
}

fn row(gateway: &Gateway, visit: &Visit, channel: &ChannelStatus) -> Markup {
    let words = ChannelWords::of(visit.words);
    let kind = registry::find(&channel.channel).map_or(channel.channel.as_str(), |t| t.form.name.r#in(words.language));
    let when = |at: Option<Timestamp>| match at {
        Some(at) => html! { time datetime=(at) { (ago(words, at, gateway.now())) } },
        None => html! { (words.never) },
    };
    html! {
        tr {
            th scope="row" {
                a href=(entry_address(&channel.id, None)) { bdi { (channel.id) } }
                @if let Some(tenant) = &channel.tenant { " " span class="tag" { bdi { (tenant) } } }
            }
            td { (kind) }
            td { (when(channel.last_in)) }
            td { (when(channel.last_out)) }
            td {
                @if channel.is_paused { span class="tag warn" { (words.paused) } }
                @else { @match (&channel.problem, channel.last_out.is_some()) {
                    (Some(problem), _) => { span class="tag bad" { (words.trouble) } " " span class="hint" lang="en" { (problem) } },
                    (None, true) => span class="tag good" { (words.works) },
                    (None, false) => span class="tag" { (words.unused) },
                } }
            }
        }
    }
}

async fn strangers(gateway: &Gateway, visit: &Visit) -> Result<Markup, Problem> {
    let words = ChannelWords::of(visit.words);
    // Whoever sees a code could let its stranger in elsewhere.
    if visit.who().role != Role::Admin {
        return Ok(html! {});
    }
    let waiting = pairing::list(reached(gateway, visit), Asked(OnChannel::default())).await?.pairings;
    Ok(html! {
        @if !waiting.is_empty() {
            section class="card" {
                h2 { (words.strangers) }
                p { (words.strangers_lead) }
                ul class="people" {
                    @for one in &waiting {
                        li {
                            strong dir="auto" { (one.name.as_deref().unwrap_or(&one.subject)) } " · " bdi { (one.channel) } " · " code { (one.code) }
                            form class="inline" method="post" action=(format!("{CHANNELS}/approve")) {
                                (layout::csrf(visit))
                                input type="hidden" name="channel" value=(one.channel);
                                input type="hidden" name="code" value=(one.code);
                                button class="primary" aria-label=(format!("{}: {}", words.approve, one.code)) { (words.approve) }
                                button class="quiet" formaction=(format!("{CHANNELS}/reject")) aria-label=(format!("{}: {}", words.reject, one.code)) { (words.reject) }
                            }
                        }
                    }
                }
            }
        }
    })
}

async fn approved(gateway: &Gateway, visit: &Visit) -> Result<Markup, Problem> {
    let words = ChannelWords::of(visit.words);
    let allowed = pairing::allowed(reached(gateway, visit), Asked(OnChannel::default())).await?.allowed;
    let may_revoke = visit.who().role == Role::Admin;
    Ok(html! {
        @if !allowed.is_empty() {
            section class="card" {
                h2 { (words.allowed) }
                ul class="people" {
                    @for one in &allowed {
                        li {
                            strong dir="auto" { (one.name.as_deref().unwrap_or(&one.subject)) } " · " bdi { (one.channel) } " · " bdi { (one.subject) }
                            @if may_revoke {
                                form class="inline" method="post" action=(format!("{CHANNELS}/revoke")) {
                                    (layout::csrf(visit))
                                    input type="hidden" name="channel" value=(one.channel);
                                    input type="hidden" name="subject" value=(one.subject);
                                    button class="quiet" aria-label=(format!("{}: {}", words.revoke, one.subject)) { (words.revoke) }
                                }
                            }
                        }
                    }
                }
            }
        }
    })
}

#[derive(Debug, Deserialize)]
pub(super) struct OfType {
    r#type: String,
}

pub(super) async fn new(State(gateway): State<Gateway>, visit: Visit, Query(of): Query<OfType>) -> Response {
    match registry::find(&of.r#type) {
        Some(found) if may_manage(&visit) => match new_page(&gateway, &visit, found, None, None) {
            Ok(content) => answer::html(StatusCode::OK, content),
            Err(problem) => problem.respond(&visit),
        },
        Some(_) => Problem::NotAllowed.respond(&visit),
        None => Problem::NotFound.respond(&visit),
    }
}

fn new_page(
    gateway: &Gateway,
    visit: &Visit,
    of: &Type,
    sent: Option<&Sent>,
    why: Option<&str>,
) -> Result<Markup, Problem> {
    let (words, form) = (ChannelWords::of(visit.words), of.form);
    let name = form.name.r#in(words.language);
    let base = change::base(&reached(gateway, visit))?;
    let given = |key: &str| sent.and_then(|sent| sent.get(key)).unwrap_or_default().to_owned();
    let title = fill(words.add_one, &[("name", name)]);
    let content = html! {
        p { a href=(CHANNELS) { (words.channels) } }
        h1 { (title) }
        @if let Some(why) = why { (layout::notice("bad", why)) }
        (steps(words, form))
        section class="card" {
            h2 { (words.fill_in) }
            form method="post" action=(format!("{CHANNELS}/add")) autocomplete="off" {
                (layout::csrf(visit))
                input type="hidden" name="base" value=[base];
                input type="hidden" name="type" value=(of.descriptor.type_name);
                label for="id" { (words.id) }
                input id="id" name="id" maxlength="64" pattern="[A-Za-z0-9_.\\-]+" value=(given("id")) placeholder=(of.descriptor.type_name) aria-describedby="id-hint";
                p class="hint" id="id-hint" { (words.id_hint) }
                @for field in form.fields { (field_form(words, field, &given(field.key), false)) }
                label for="tenant_id" { (words.tenant) }
                input id="tenant_id" name="tenant_id" maxlength="128" value=(given("tenant_id")) aria-describedby="tenant-hint";
                p class="hint" id="tenant-hint" { (words.tenant_hint) }
                (policy(words, "dm_policy", words.dm_policy, &given("dm_policy")))
                button class="primary" { (words.add_it) }
            }
        }
        (copies(gateway, words, form, of.descriptor.type_name, ""))
    };
    Ok(layout::page(visit, Place::Channels, &title, &content))
}

fn steps(words: &ChannelWords, form: &Declared) -> Markup {
    html! {
        section class="card" {
            h2 { (words.steps) }
            ol { @for step in form.steps { li { (step.r#in(words.language)) } } }
        }
    }
}

/// What somebody takes to the vendor, or puts into their site.
fn copies(gateway: &Gateway, words: &ChannelWords, form: &Declared, id: &str, public: &str) -> Markup {
    let (url, is_public) = match public {
        "" => outside(gateway),
        public => (public.trim_end_matches('/').to_owned(), true),
    };
    html! {
        section class="card" {
            h2 { (words.copies) }
            @if !is_public { p class="notice" { (words.only_near) } }
            @for (label, template) in form.copies {
                h3 { (label.r#in(words.language)) }
                // Braces of the text itself stay.
                pre class="code" tabindex="0" { (template.replace("{url}", &url).replace("{id}", id)) }
            }
        }
    }
}

/// Where the gateway is reached, as far as is known, and whether that is from everywhere: at its domain, under a name that a
/// proxy has for it, else in the local network.
fn outside(gateway: &Gateway) -> (String, bool) {
    let is_near = |host: &String| host.ends_with(".local") || host == "localhost" || host.parse::<IpAddr>().is_ok();
    let certified = gateway.tls().public().map(|certificate| certificate.names.to_vec()).unwrap_or_default();
    if let Some(host) =
        certified.into_iter().chain(gateway.page_hosts()).find(|host| !is_near(host) && !host.starts_with('*'))
    {
        return (format!("https://{host}"), true);
    }
    let address = gateway.reachable().or_else(|| gateway.address());
    let port = address.map(|address| address.port()).unwrap_or_default();
    let is_any = address.is_none_or(|address| address.ip().is_unspecified());
    match (gateway.local_name().name, address) {
        (Some(name), _) if port == 80 => (format!("http://{name}"), false),
        (Some(name), _) => (format!("http://{name}:{port}"), false),
        (None, Some(address)) if !is_any => (format!("http://{address}"), false),
        (None, _) => (format!("http://localhost:{port}"), false),
    }
}

fn field_form(words: &ChannelWords, field: &Field, value: &str, is_kept: bool) -> Markup {
    let (label, hint) = (field.label.r#in(words.language), field.hint.r#in(words.language));
    let hint_id = format!("{}-hint", field.key);
    html! {
        label for=(field.key) { (label) }
        @match field.kind {
            Kind::Secret | Kind::MadeSecret => {
                input id=(field.key) name=(field.key) type="password" autocomplete="off" required[field.is_required && !is_kept]
                    placeholder=[is_kept.then_some(words.kept)] aria-describedby=(hint_id);
            }
            Kind::Text => {
                input id=(field.key) name=(field.key) value=(value) required[field.is_required] aria-describedby=(hint_id);
            }
            Kind::Lines => { textarea id=(field.key) name=(field.key) rows="3" aria-describedby=(hint_id) { (value) } }
        }
        p class="hint" id=(hint_id) { (hint) }
    }
}

fn policy(words: &ChannelWords, name: &str, label: &str, value: &str) -> Markup {
    let said = [words.open, words.pairing, words.allowlist, words.off];
    html! {
        label for=(name) { (label) }
        select id=(name) name=(name) {
            option value="" selected[value.is_empty()] { (words.usual) }
            @for (word, name) in POLICIES.into_iter().zip(said) { option value=(word) selected[word == value] { (name) } }
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    id: String,
    done: Option<String>,
}

pub(super) async fn entry(State(gateway): State<Gateway>, visit: Visit, Query(which): Query<Which>) -> Response {
    let words = ChannelWords::of(visit.words);
    let done = which.done.as_deref().and_then(|done| done_words(words, done));
    match entry_page(&gateway, &visit, &which.id, done.map(|done| ("good", done.to_owned())), None, None).await {
        Ok(content) => answer::html(StatusCode::OK, content),
        Err(problem) => problem.respond(&visit),
    }
}

async fn entry_page(
    gateway: &Gateway,
    visit: &Visit,
    id: &str,
    notice: Option<(&str, String)>,
    tested: Option<&ChannelTested>,
    made: Option<&str>,
) -> Result<Markup, Problem> {
    let words = ChannelWords::of(visit.words);
    let all = reached(gateway, visit).channels()?;
    let channel = all.into_iter().find(|channel| channel.id == id).ok_or(Problem::NotFound)?;
    let of = registry::find(&channel.channel).ok_or(Problem::NotFound)?;
    let content = html! {
        p { a href=(CHANNELS) { (words.channels) } }
        h1 { bdi { (channel.id) } }
        @if let Some((kind, text)) = &notice { (layout::notice(kind, text)) }
        @if let Some(made) = made {
            section class="card warned" {
                h2 { (words.made) }
                p { (words.made_lead) }
                pre class="code" tabindex="0" { (made) }
            }
        }
        section class="card" {
            div class="scroll" tabindex="0" role="group" aria-label=(words.state) {
                table { tbody { (row(gateway, visit, &channel)) } }
            }
            @if visit.who().role == Role::Admin {
                form class="inline" method="post" action=(format!("{CHANNELS}/test")) {
                    (layout::csrf(visit))
                    input type="hidden" name="id" value=(channel.id);
                    button { (words.test) }
                }
                p class="hint" { (words.test_hint) }
            }
            @if let Some(tested) = tested {
                ul {
                    @for one in &tested.tried {
                        li {
                            span class={ "tag " (if one.works { "good" } else { "bad" }) } { (if one.works { words.fine } else { words.trouble }) }
                            " " span lang="en" { (one.what) ": " (one.found) }
                        }
                    }
                }
            }
        }
        @if may_manage(visit) {
            (pause_card(visit, &channel))
            (manage(gateway, visit, &channel, of).await?)
        }
    };
    Ok(layout::page(visit, Place::Channels, &channel.id, &content))
}

fn pause_card(visit: &Visit, channel: &ChannelStatus) -> Markup {
    let words = ChannelWords::of(visit.words);
    let (title, lead, action) = match channel.is_paused {
        false => (words.pause, words.pause_lead, "pause"),
        true => (words.resume, words.resume_lead, "resume"),
    };
    html! {
        section class={ "card" @if channel.is_paused { " warned" } } {
            h2 { (title) }
            p { (lead) }
            form method="post" action=(format!("{CHANNELS}/{action}")) {
                (layout::csrf(visit))
                input type="hidden" name="id" value=(channel.id);
                button { (title) }
            }
        }
    }
}

/// What the file says of an entry, where it can be changed in place.
async fn manage(gateway: &Gateway, visit: &Visit, channel: &ChannelStatus, of: &Type) -> Result<Markup, Problem> {
    let words = ChannelWords::of(visit.words);
    let now = change::text(reached(gateway, visit), ()).await?;
    let text = now.text.filter(|_| now.syntax == "toml").unwrap_or_default();
    let path = path_of(&channel.id);
    if edit::read(&text, &path).is_none() {
        return Ok(html! {
            section class="card" { p { (words.not_in_file) } }
            (copies(gateway, words, of.form, &channel.id, ""))
        });
    }
    let said = |key: &str| said(&text, &path, key);
    let is_rotating = edit::read(&text, &format!("{path}.secrets")).is_some();
    let can_rotate = of.form.fields.iter().any(|field| field.kind == Kind::MadeSecret);
    Ok(html! {
        section class="card" {
            h2 { (words.settings_of) }
            form method="post" action=(format!("{CHANNELS}/save")) autocomplete="off" {
                (layout::csrf(visit))
                input type="hidden" name="base" value=[now.digest.as_deref()];
                input type="hidden" name="id" value=(channel.id);
                @for field in of.form.fields {
                    @if field.kind != Kind::MadeSecret { (field_form(words, field, &said(field.key), !said(field.key).is_empty())) }
                }
                (policy(words, "dm_policy", words.dm_policy, &said("dm_policy")))
                (policy(words, "group_policy", words.group_policy, &said("group_policy")))
                label for="allow" { (words.allow) }
                textarea id="allow" name="allow" rows="3" aria-describedby="allow-hint" { (said("allow")) }
                p class="hint" id="allow-hint" { (words.allow_hint) }
                label for="allow_groups" { (words.allow_groups) }
                textarea id="allow_groups" name="allow_groups" rows="3" { (said("allow_groups")) }
                button class="primary" { (words.save) }
            }
        }
        @if can_rotate {
            section class="card" {
                h2 { (words.rotate) }
                p { (if is_rotating { words.rotating_lead } else { words.rotate_lead }) }
                form method="post" action=(format!("{CHANNELS}/rotate")) {
                    (layout::csrf(visit))
                    input type="hidden" name="base" value=[now.digest.as_deref()];
                    input type="hidden" name="id" value=(channel.id);
                    button { (if is_rotating { words.rotate_end } else { words.rotate_begin }) }
                }
            }
        }
        (copies(gateway, words, of.form, &channel.id, &said("public_url")))
        section class="card" {
            h2 { (words.remove) }
            p { (words.remove_lead) }
            form method="post" action=(format!("{CHANNELS}/remove")) {
                (layout::csrf(visit))
                input type="hidden" name="base" value=[now.digest.as_deref()];
                input type="hidden" name="id" value=(channel.id);
                label { input type="checkbox" name="sure" value="yes" required; " " (words.remove_sure) }
                button class="danger" { (words.remove) }
            }
        }
    })
}

fn path_of(id: &str) -> String {
    format!("channels[id={}]", edit::quoted(id))
}

fn entry_address(id: &str, done: Option<&str>) -> String {
    let done = done.map(|done| format!("&done={done}")).unwrap_or_default();
    format!("{CHANNELS}/entry?id={}{done}", query(id))
}

/// What an entry says at a key, as a form shows it.
fn said(text: &str, path: &str, key: &str) -> String {
    match edit::read(text, &format!("{path}.{key}")) {
        Some(Value::Text(said)) => said,
        Some(Value::List(values)) => {
            let texts = values.iter().filter_map(|value| match value {
                Value::Text(text) => Some(text.as_str()),
                _ => None,
            });
            texts.collect::<Vec<_>>().join("\n")
        }
        Some(Value::Flag(_) | Value::Integer(_) | Value::Number(_) | Value::Table(_)) | None => String::new(),
    }
}

pub(super) async fn change(
    State(gateway): State<Gateway>,
    visit: Visit,
    Path(action): Path<String>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let sent = Sent::of(fields);
    if !sent.get("csrf").is_some_and(|csrf| visit.session.is_csrf(csrf)) {
        return Problem::Stale.respond(&visit);
    }
    match obey(&gateway, &visit, &action, &sent).await {
        Ok(Done::Gone(to)) => answer::done(&to),
        Ok(Done::Shown(status, content)) => answer::html(status, content),
        Err(problem) => problem.respond(&visit),
    }
}

enum Done {
    Gone(String),
    Shown(StatusCode, Markup),
}

async fn obey(gateway: &Gateway, visit: &Visit, action: &str, sent: &Sent) -> Result<Done, Problem> {
    let reached = reached(gateway, visit);
    let given = |name: &str| sent.get(name).map(str::to_owned).ok_or(Problem::NotFound);
    let gone = |done: &str| Ok(Done::Gone(format!("{CHANNELS}?done={done}")));
    match action {
        "approve" => {
            let decision = Decision { channel: given("channel")?, code: given("code")? };
            pairing::approve(reached, Body(decision)).await?;
            gone("approved")
        }
        "reject" => {
            let decision = Decision { channel: given("channel")?, code: given("code")? };
            pairing::reject(reached, Body(decision)).await?;
            gone("rejected")
        }
        "revoke" => {
            let revocation = Revocation { channel: given("channel")?, subject: given("subject")? };
            pairing::revoke(reached, Body(revocation)).await?;
            gone("revoked")
        }
        "test" => {
            let id = given("id")?;
            let tested = channels::test(reached, Name(id.clone())).await?;
            Ok(Done::Shown(StatusCode::OK, entry_page(gateway, visit, &id, None, Some(&tested), None).await?))
        }
        "add" => add(gateway, visit, &reached, sent).await,
        "save" => save(&reached, gateway, visit, sent).await,
        "pause" => {
            channels::pause(reached.clone(), Name(given("id")?)).await?;
            Ok(Done::Gone(entry_address(&given("id")?, Some("resting"))))
        }
        "resume" => {
            channels::resume(reached.clone(), Name(given("id")?)).await?;
            Ok(Done::Gone(entry_address(&given("id")?, Some("going"))))
        }
        "rotate" => rotate(&reached, gateway, visit, sent).await,
        "remove" => {
            if sent.get("sure") != Some("yes") {
                return Err(Problem::NotFound);
            }
            let changes = removal(&reached, &given("id")?).await?;
            change::change(&reached, sent.base(), &changes).await?;
            gone("removed")
        }
        _ => Err(Problem::NotFound),
    }
}

/// Takes an entry out. Those behind it that have no id of their own keep the one that they had.
async fn removal(reached: &Reached, id: &str) -> Result<Vec<Change>, Problem> {
    let text = change::text(reached.clone(), ()).await?.text.unwrap_or_default();
    let ids: Vec<String> = reached.channels()?.into_iter().map(|channel| channel.id).collect();
    Ok(change::removal(&text, &ids, &[id]))
}

/// A secret of an entry: its name, and whether it was not there before.
struct Kept(Vec<String>);

impl Kept {
    async fn keep(&mut self, reached: &Reached, name: &str, value: &str) -> Result<Value, admin::Error> {
        secrets::keep(reached, name, &Secret::new(value)).await?;
        self.0.push(name.to_owned());
        Ok(Value::Text(format!("${{{name}}}")))
    }

    /// Nothing names them, as the change was refused.
    async fn forget(self, reached: &Reached) {
        for name in self.0 {
            let _still_used = secrets::remove(reached.clone(), Name(name)).await;
        }
    }
}

/// `hook-42` and `secret`: a name that no other secret has.
fn secret_name(gateway: &Gateway, id: &str, key: &str) -> String {
    let upper = |text: &str| -> String {
        text.chars().map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' }).collect()
    };
    let name = format!("{}_{}", upper(id), upper(key));
    let name = if name.starts_with(|c: char| c.is_ascii_digit()) { format!("CHANNEL_{name}") } else { name };
    let taken = Secrets::of(gateway.home()).names().unwrap_or_default();
    let is_free = |name: &String| !taken.contains(name) && gateway.variables().get(name).is_none();
    std::iter::once(name.clone()).chain((2..).map(|n| format!("{name}_{n}"))).find(is_free).unwrap_or(name)
}

fn made_secret() -> Result<String, Problem> {
    let mut bytes = [0; MADE_BYTES];
    let failed = |_unspecified| admin::Error::Unavailable("no secret can be made now; try again".to_owned());
    aws_lc_rs::rand::fill(&mut bytes).map_err(failed)?;
    Ok(format!("whsec_{}", STANDARD.encode(bytes)))
}

async fn add(gateway: &Gateway, visit: &Visit, reached: &Reached, sent: &Sent) -> Result<Done, Problem> {
    let of = sent.get("type").and_then(registry::find).ok_or(Problem::NotFound)?;
    if !may_manage(visit) {
        return Err(Problem::NotAllowed);
    }
    let given = |key: &str| sent.get(key).map(str::trim).filter(|value| !value.is_empty());
    let names = reached.channels()?;
    let type_name = of.descriptor.type_name;
    let is_free = |name: &String| !names.iter().any(|channel| channel.id == *name);
    let numbered = std::iter::once(type_name.to_owned()).chain((2..).map(|n| format!("{type_name}-{n}"))).find(is_free);
    let id = given("id").map(str::to_owned).or(numbered).ok_or(Problem::NotFound)?;
    let (mut kept, mut made) = (Kept(Vec::new()), None);
    let mut entry = vec![
        ("type".to_owned(), Some(Value::from(type_name))),
        ("id".to_owned(), Some(Value::from(id.as_str()))),
        ("tenant_id".to_owned(), given("tenant_id").map(Value::from)),
        ("dm_policy".to_owned(), given("dm_policy").map(Value::from)),
    ];
    for field in of.form.fields {
        let value = match (field.kind, given(field.key)) {
            (Kind::MadeSecret, None) => {
                let secret = made_secret()?;
                let value = kept.keep(reached, &secret_name(gateway, &id, field.key), &secret).await?;
                made = Some(secret);
                Some(value)
            }
            (Kind::Secret | Kind::MadeSecret, Some(secret)) => {
                Some(kept.keep(reached, &secret_name(gateway, &id, field.key), secret).await?)
            }
            (Kind::Text, Some(text)) => Some(Value::literal(text)),
            (Kind::Lines, Some(text)) => Some(lines(text)),
            (Kind::Secret | Kind::Text | Kind::Lines, None) => None,
        };
        entry.push((field.key.to_owned(), value));
    }
    // A web chat that is on because nothing is configured would go with the first entry.
    let text = change::text(reached.clone(), ()).await?.text.unwrap_or_default();
    let is_first = edit::read(&text, "channels").is_none();
    let unwritten = names.iter().filter(|_| is_first).filter_map(|channel| {
        let of = registry::find(&channel.channel)?;
        Some(Change::append(
            "channels",
            Value::table([
                ("type", Some(Value::from(of.descriptor.type_name))),
                ("id", Some(channel.id.as_str().into())),
                ("dm_policy", Some("open".into())),
            ]),
        ))
    });
    let changes: Vec<Change> = unwritten.chain([Change::append("channels", Value::table(entry))]).collect();
    match change::change(reached, sent.base(), &changes).await {
        Ok(_reloaded) => match made {
            Some(made) => {
                let notice = ("good", ChannelWords::of(visit.words).added.to_owned());
                let content = entry_page(gateway, visit, &id, Some(notice), None, Some(&made)).await?;
                Ok(Done::Shown(StatusCode::OK, content))
            }
            None => Ok(Done::Gone(entry_address(&id, Some("added")))),
        },
        Err(error) => {
            kept.forget(reached).await;
            let (status, why) = refused::said(visit, error);
            Ok(Done::Shown(status, new_page(gateway, visit, of, Some(sent), Some(&why))?))
        }
    }
}

fn lines(text: &str) -> Value {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    Value::List(lines.map(Value::literal).collect())
}

async fn save(reached: &Reached, gateway: &Gateway, visit: &Visit, sent: &Sent) -> Result<Done, Problem> {
    let id = sent.get("id").ok_or(Problem::NotFound)?;
    let now = change::text(reached.clone(), ()).await?;
    let (text, path) = (now.text.unwrap_or_default(), path_of(id));
    let of = match edit::read(&text, &format!("{path}.type")) {
        Some(Value::Text(name)) => registry::find(&name).ok_or(Problem::NotFound)?,
        _ => return Err(Problem::NotFound),
    };
    let mut kept = Kept(Vec::new());
    let mut changes = Vec::new();
    for field in of.form.fields.iter().filter(|field| field.kind == Kind::Secret) {
        if let Some(secret) = sent.get(field.key).map(str::trim).filter(|secret| !secret.is_empty()) {
            let value = kept.keep(reached, &secret_name(gateway, id, field.key), secret).await?;
            changes.push(Change::set(format!("{path}.{}", field.key), value));
        }
    }
    let texts = of.form.fields.iter().filter(|field| field.kind == Kind::Text).map(|field| field.key);
    for key in texts.chain(["dm_policy", "group_policy"]) {
        let Some(value) = sent.get(key).map(str::trim) else { continue };
        let at = format!("{path}.{key}");
        match (value == said(&text, &path, key), value.is_empty()) {
            (true, _) => {}
            (false, true) => changes.push(Change::remove(at)),
            (false, false) => changes.push(Change::set(at, value)),
        }
    }
    let lists = of.form.fields.iter().filter(|field| field.kind == Kind::Lines).map(|field| field.key);
    for key in lists.chain(["allow", "allow_groups"]) {
        let Some(value) = sent.get(key).map(|value| value.replace("\r\n", "\n")) else { continue };
        let at = format!("{path}.{key}");
        match (value.trim() == said(&text, &path, key), value.trim().is_empty()) {
            (true, _) => {}
            (false, true) => changes.push(Change::remove(at)),
            (false, false) => {
                let lines = value.lines().map(str::trim).filter(|line| !line.is_empty()).map(str::to_owned);
                changes.push(Change::set(at, lines.collect::<Vec<_>>()));
            }
        }
    }
    if changes.is_empty() {
        return Ok(Done::Gone(entry_address(id, Some("same"))));
    }
    match change::change(reached, sent.base(), &changes).await {
        Ok(_reloaded) => Ok(Done::Gone(entry_address(id, Some("saved")))),
        Err(error) => {
            kept.forget(reached).await;
            let (status, why) = refused::said(visit, error);
            let content = entry_page(gateway, visit, id, Some(("bad", why)), None, None).await?;
            Ok(Done::Shown(status, content))
        }
    }
}

/// The first time, a second secret comes in front of the one there is: both count. The next time, the older one goes.
async fn rotate(reached: &Reached, gateway: &Gateway, visit: &Visit, sent: &Sent) -> Result<Done, Problem> {
    let id = sent.get("id").ok_or(Problem::NotFound)?;
    if !may_manage(visit) {
        return Err(Problem::NotAllowed);
    }
    let now = change::text(reached.clone(), ()).await?;
    let (text, path) = (now.text.unwrap_or_default(), path_of(id));
    let (one, both) = (format!("{path}.secret"), format!("{path}.secrets"));
    let unclear = || Problem::Said(StatusCode::CONFLICT, ChannelWords::of(visit.words).not_in_file.to_owned());
    let reference = |value: &Value| matches!(value, Value::Text(text) if text.starts_with("${"));
    if let Some(Value::List(secrets)) = edit::read(&text, &both) {
        let newest = secrets.first().filter(|value| reference(value)).cloned().ok_or_else(unclear)?;
        change::change(reached, sent.base(), &[Change::remove(both), Change::set(one, newest)]).await?;
        return Ok(Done::Gone(entry_address(id, Some("saved"))));
    }
    let old = edit::read(&text, &one).filter(reference).ok_or_else(unclear)?;
    let mut kept = Kept(Vec::new());
    let secret = made_secret()?;
    let new = kept.keep(reached, &secret_name(gateway, id, "secret"), &secret).await?;
    let changes = [Change::remove(one), Change::set(both, vec![new, old])];
    match change::change(reached, sent.base(), &changes).await {
        Ok(_reloaded) => {
            Ok(Done::Shown(StatusCode::OK, entry_page(gateway, visit, id, None, None, Some(&secret)).await?))
        }
        Err(error) => {
            kept.forget(reached).await;
            Err(error.into())
        }
    }
}

words! {
    /// What the page of channels says.
    ChannelWords;
    channel: "Channel", "Kanal";
    kind: "Kind", "Art";
    last_in: "Last message", "Letzte Nachricht";
    last_out: "Last answer", "Letzte Antwort";
    state: "State", "Stand";
    never: "not yet", "noch nie";
    works: "works", "läuft";
    fine: "fine", "in Ordnung";
    unused: "not used yet", "noch nicht benutzt";
    trouble: "trouble", "Störung";
    paused: "paused", "angehalten";
    pause: "Pause this channel", "Kanal anhalten";
    pause_lead: "It takes and sends nothing until you let it go on, also after a restart. What it took already waits, and is then \
        sent. What people write meanwhile is refused: web chat tells them so, most vendors try again for about an hour.",
        "Er nimmt nichts an und sendet nichts, bis Sie ihn weiterlaufen lassen, auch nach einem Neustart. Was er schon angenommen \
        hat, wartet und wird dann gesendet. Was inzwischen geschrieben wird, wird abgewiesen: Der Web-Chat sagt das, die meisten \
        Anbieter versuchen es etwa eine Stunde lang erneut.";
    pause_done: "Paused. Nothing that waits is lost.", "Angehalten. Was wartet, geht nicht verloren.";
    resume: "Let it go on", "Weiterlaufen lassen";
    resume_lead: "This channel is paused. It takes and sends nothing; what waits is kept.",
        "Dieser Kanal ist angehalten. Er nimmt nichts an und sendet nichts; was wartet, bleibt erhalten.";
    resumed: "It goes on, and sends what waited.", "Er läuft weiter und sendet, was gewartet hat.";
    none: "No channels", "Keine Kanäle";
    none_lead: "Add one, and people can write.", "Fügen Sie einen hinzu, dann kann man schreiben.";
    strangers: "Who would like to write", "Wer schreiben möchte";
    strangers_lead: "They were told the code beside their name. Let in whoever tells you the same.",
        "Ihnen wurde der Code neben ihrem Namen genannt. Lassen Sie herein, wer Ihnen denselben sagt.";
    approve: "Let in", "Hereinlassen";
    reject: "Refuse", "Ablehnen";
    approved: "Let in, and told so.", "Hereingelassen und benachrichtigt.";
    rejected: "Refused.", "Abgelehnt.";
    allowed: "Who was let in", "Wer hereingelassen wurde";
    revoke: "Take it back", "Zurücknehmen";
    revoked: "Taken back.", "Zurückgenommen.";
    add: "Add a channel", "Kanal hinzufügen";
    add_one: "Add: {name}", "Hinzufügen: {name}";
    add_it: "Add", "Hinzufügen";
    added: "Added, and in use.", "Hinzugefügt und in Gebrauch.";
    saved: "Saved, and in use.", "Gespeichert und in Gebrauch.";
    same: "That is what it says already.", "Das steht bereits so da.";
    steps: "Step by step", "Schritt für Schritt";
    fill_in: "Fill in", "Ausfüllen";
    copies: "To copy", "Zum Kopieren";
    only_near: "This address is found in your own network only. For visitors and vendors outside, give the box a domain, or name the one that leads to it: gateway.acme and gateway.page_hosts in the settings.",
        "Diese Adresse gibt es nur in Ihrem eigenen Netzwerk. Für Besucher und Anbieter außerhalb geben Sie der Box eine Domain oder nennen Sie die, die zu ihr führt: gateway.acme und gateway.page_hosts in den Einstellungen.";
    id: "Short name", "Kurzname";
    id_hint: "Letters, digits, dots, - and _. It is in addresses and stays as it is.", "Buchstaben, Ziffern, Punkte, - und _. Er steht in Adressen und bleibt, wie er ist.";
    tenant: "Business", "Unternehmen";
    tenant_hint: "Only where one box serves several: the id of the business whose channel this is.", "Nur wenn ein Gerät mehrere bedient: die Kennung des Unternehmens, dem dieser Kanal gehört.";
    dm_policy: "Who may write directly", "Wer direkt schreiben darf";
    group_policy: "In which groups it answers", "In welchen Gruppen er antwortet";
    usual: "As usual", "Wie üblich";
    open: "Everybody", "Alle";
    pairing: "Whoever you let in", "Wen Sie hereinlassen";
    allowlist: "Only the list", "Nur die Liste";
    off: "Nobody", "Niemand";
    allow: "Always let in", "Immer hereinlassen";
    allow_hint: "Ids as the vendor writes them, one a line. They count where not everybody may write.", "Kennungen, wie der Anbieter sie schreibt, je eine Zeile. Sie zählen, wo nicht alle schreiben dürfen.";
    allow_groups: "Groups that are always let in", "Gruppen, die immer hereindürfen";
    kept: "kept; leave empty to keep it", "gesetzt; leer lassen, um es zu behalten";
    settings_of: "Settings of this channel", "Einstellungen dieses Kanals";
    save: "Save", "Speichern";
    not_in_file: "This channel cannot be changed here: it is on because no other is configured, or the file is written in another way. See Settings.",
        "Dieser Kanal lässt sich hier nicht ändern: Er ist an, weil kein anderer eingerichtet ist, oder die Datei ist anders geschrieben. Siehe Einstellungen.";
    test: "Test", "Prüfen";
    test_hint: "Nobody gets a message. What was last really sent and received stands above.", "Niemand bekommt eine Nachricht. Was zuletzt wirklich gesendet und empfangen wurde, steht oben.";
    made: "The secret", "Das Geheimnis";
    made_lead: "It is shown this once. Give it to your program.", "Es wird nur dieses eine Mal gezeigt. Geben Sie es Ihrem Programm.";
    rotate: "Another secret", "Anderes Geheimnis";
    rotate_lead: "A second secret is made. Both count until you end the old one, so nothing is lost meanwhile.",
        "Ein zweites Geheimnis wird erzeugt. Beide gelten, bis Sie das alte beenden; so geht währenddessen nichts verloren.";
    rotating_lead: "Two secrets count now. When your program uses the new one, end the old one.",
        "Jetzt gelten zwei Geheimnisse. Wenn Ihr Programm das neue benutzt, beenden Sie das alte.";
    rotate_begin: "Make another secret", "Anderes Geheimnis erzeugen";
    rotate_end: "End the old one", "Das alte beenden";
    remove: "Remove this channel", "Kanal entfernen";
    remove_lead: "Nobody can write here any more. Its conversations stay readable under Conversations until you erase them; answers that wait are set aside after a day.",
        "Hier kann niemand mehr schreiben. Die Gespräche bleiben unter Gespräche lesbar, bis Sie sie löschen; wartende Antworten werden nach einem Tag beiseitegelegt.";
    remove_sure: "Yes, remove it", "Ja, entfernen";
    removed: "Removed.", "Entfernt.";
}
