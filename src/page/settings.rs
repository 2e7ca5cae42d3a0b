//! What owners change of the configuration, the file behind it, what it was, and its secrets.
//!
//! Whatever somebody changes is shown first: the difference, what is wrong, what it means for conversations. Only then there
//! is a button that uses it.

use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::SETTINGS;
use super::answer::{self, Problem};
use super::layout::{self, Place};
use super::visit::Visit;
use super::words::{fill, words};
use crate::admin::change::{self, ConfigChecked, ConfigText};
use crate::admin::config::{self as shown, RevisionRow, Undo};
use crate::admin::operation::{Name, Number};
use crate::admin::secrets::{self, SecretRow};
use crate::admin::{self, Query as Asked, Reached};
use crate::config::Change;
use crate::config::edit::{self, Value};
use crate::document::Secret;
use crate::gateway::Gateway;

/// One setting, as the form asks for it.
struct Field {
    /// Where it stands.
    path: &'static str,
    label: Word,
    hint: Word,
    kind: Kind,
    /// What counts when the file says nothing.
    absent: &'static str,
}

/// One of the words of this page.
type Word = fn(&SettingsWords) -> &'static str;

/// What may be written there.
enum Kind {
    /// One of these words.
    Choice(&'static [(&'static str, Word)]),
    /// A whole number from … to ….
    Number(i64, i64),
    /// A text.
    Text,
    /// Texts, one a line.
    Lines,
}

/// Settings that belong together.
struct Group {
    title: Word,
    fields: &'static [Field],
}

const YES_NO: Kind = Kind::Choice(&[("true", |words| words.yes), ("false", |words| words.no)]);

static GROUPS: [Group; 3] = [
    Group {
        title: |words| words.talks,
        fields: &[
            Field {
                path: "session.dm_scope",
                label: |words| words.scope,
                hint: |words| words.scope_hint,
                kind: Kind::Choice(&[
                    ("per-channel-peer", |words| words.scope_channel),
                    ("per-peer", |words| words.scope_peer),
                    ("main", |words| words.scope_main),
                ]),
                absent: "main",
            },
            Field {
                path: "session.ttl_days",
                label: |words| words.ttl,
                hint: |words| words.ttl_hint,
                kind: Kind::Number(0, 36_500),
                absent: "30",
            },
            Field {
                path: "session.says_new",
                label: |words| words.says_new,
                hint: |words| words.says_new_hint,
                kind: YES_NO,
                absent: "true",
            },
            Field {
                path: "session.owners",
                label: |words| words.owners,
                hint: |words| words.owners_hint,
                kind: Kind::Lines,
                absent: "",
            },
        ],
    },
    Group {
        title: |words| words.limits,
        fields: &[
            Field {
                path: "gateway.tenant_messages_per_minute",
                label: |words| words.per_minute,
                hint: |words| words.per_minute_hint,
                kind: Kind::Number(0, 100_000),
                absent: "0",
            },
            Field {
                path: "gateway.max_turns",
                label: |words| words.max_turns,
                hint: |words| words.max_turns_hint,
                kind: Kind::Number(1, 1_024),
                absent: "16",
            },
            Field {
                path: "gateway.page_hosts",
                label: |words| words.hosts,
                hint: |words| words.hosts_hint,
                kind: Kind::Lines,
                absent: "",
            },
        ],
    },
    Group {
        title: |words| words.backups,
        fields: &[
            Field {
                path: "backup.to",
                label: |words| words.backup_to,
                hint: |words| words.backup_to_hint,
                kind: Kind::Text,
                absent: "",
            },
            Field {
                path: "backup.at",
                label: |words| words.backup_at,
                hint: |words| words.backup_at_hint,
                kind: Kind::Text,
                absent: "",
            },
            Field {
                path: "backup.keep",
                label: |words| words.backup_keep,
                hint: |words| words.backup_keep_hint,
                kind: Kind::Number(1, 1_000),
                absent: "7",
            },
            Field {
                path: "backup.passphrase",
                label: |words| words.backup_secret,
                hint: |words| words.backup_secret_hint,
                kind: Kind::Text,
                absent: "",
            },
        ],
    },
];

impl Field {
    /// What the form shows. `None`: it is a value that must not be shown, or is written in another way.
    fn shown(&self, text: &str) -> Option<String> {
        match edit::read(text, self.path) {
            None => Some(self.absent.to_owned()),
            Some(Value::Text(said)) if said.contains(change::MARK) => None,
            Some(Value::Text(said)) => Some(said),
            Some(Value::Integer(n)) => Some(n.to_string()),
            Some(Value::Flag(flag)) => Some(flag.to_string()),
            Some(Value::List(values)) => {
                let text = |value: &Value| match value {
                    Value::Text(text) => Some(text.clone()),
                    _ => None,
                };
                values.iter().map(text).collect::<Option<Vec<_>>>().map(|lines| lines.join("\n"))
            }
            Some(Value::Number(_) | Value::Table(_)) => None,
        }
    }

    /// What somebody wants it to be. `Ok(None)`: what it is.
    fn changed(&self, text: &str, given: &str) -> Result<Option<Change>, &'static str> {
        let given = given.replace("\r\n", "\n");
        let given = given.trim();
        if self.shown(text).is_none_or(|shown| shown.trim() == given) {
            return Ok(None);
        }
        if given.is_empty() {
            return Ok(Some(Change::remove(self.path)));
        }
        let value = match &self.kind {
            Kind::Number(least, most) => {
                // One may stand for it as well.
                let number = given.parse().ok().filter(|n| (*least..=*most).contains(n)).map(Value::Integer);
                number.or(given.starts_with("${").then(|| given.into())).ok_or(self.path)?
            }
            Kind::Choice(choices) if !choices.iter().any(|(word, _)| *word == given) => return Err(self.path),
            Kind::Choice(_) if matches!(given, "true" | "false") => Value::Flag(given == "true"),
            Kind::Choice(_) | Kind::Text => given.into(),
            Kind::Lines => {
                let lines = given.lines().map(str::trim).filter(|line| !line.is_empty());
                lines.map(str::to_owned).collect::<Vec<_>>().into()
            }
        };
        Ok(Some(Change::set(self.path, value)))
    }

    fn form(&self, words: &SettingsWords, text: &str) -> Markup {
        let (id, label, hint) = (self.path.replace('.', "-"), (self.label)(words), (self.hint)(words));
        let hint_id = format!("{id}-hint");
        let Some(value) = self.shown(text) else {
            return html! { div class="field" { p { strong { (label) } } p class="hint" { (words.in_file_only) } } };
        };
        html! {
            div class="field" {
                label for=(id) { (label) }
                @match &self.kind {
                    Kind::Choice(choices) => {
                        select id=(id) name=(self.path) aria-describedby=(hint_id) {
                            @for (word, name) in *choices {
                                option value=(word) selected[*word == value] { (name(words)) }
                            }
                        }
                    }
                    Kind::Number(least, most) => {
                        input id=(id) name=(self.path) type="number" min=(least) max=(most) value=(value) aria-describedby=(hint_id);
                    }
                    Kind::Text => {
                        input id=(id) name=(self.path) value=(value) autocomplete="off" aria-describedby=(hint_id);
                    }
                    Kind::Lines => {
                        textarea id=(id) name=(self.path) rows="3" aria-describedby=(hint_id) { (value) }
                    }
                }
                p class="hint" id=(hint_id) { (hint) }
            }
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Shown {
    done: Option<String>,
}

pub(super) async fn show(State(gateway): State<Gateway>, visit: Visit, Query(shown): Query<Shown>) -> Response {
    let words = SettingsWords::of(visit.words);
    let done = shown.done.as_deref().and_then(|done| match done {
        "saved" => Some(words.saved),
        "kept" => Some(words.secret_kept),
        "removed" => Some(words.secret_removed),
        "same" => Some(words.nothing_changed),
        "moved" => Some(words.secret_moved),
        "converted" => Some(words.converted),
        _ => None,
    });
    match page(&gateway, &visit, done.map(|done| ("good", done.to_owned()))).await {
        Ok(content) => answer::html(StatusCode::OK, content),
        Err(problem) => problem.respond(&visit),
    }
}

async fn page(gateway: &Gateway, visit: &Visit, notice: Option<(&str, String)>) -> Result<Markup, Problem> {
    let words = SettingsWords::of(visit.words);
    let reached = Reached::new(gateway.clone(), visit.who().clone());
    let now = change::text(reached.clone(), ()).await?;
    let revisions = shown::list(reached.clone(), ()).await?.revisions;
    let secrets = secrets::list(reached.clone(), ()).await?.secrets;
    let safe_mode = gateway.status()?.safe_mode;
    let content = html! {
        h1 { (words.settings) }
        @if let Some((kind, text)) = &notice { (layout::notice(kind, text)) }
        @if let Some(why) = &safe_mode { (unusable(visit, why, &revisions)) }
        @match (&now.text, now.syntax) {
            (Some(text), "toml") => (form(visit, &now, text)),
            (_, "yaml") => (yaml_card(visit, &now)),
            (Some(_), _) => {}
            (None, _) => {}
        }
        (file(visit, &now))
        (secret_list(visit, &secrets))
        (revision_list(visit, &revisions))
    };
    Ok(layout::page(visit, Place::Settings, words.settings, &content))
}

/// The way from YAML to what forms can change.
fn yaml_card(visit: &Visit, now: &ConfigText) -> Markup {
    let words = SettingsWords::of(visit.words);
    html! {
        section class="card" {
            h2 { (words.form) }
            p { (words.yaml) }
            form method="post" action=(format!("{SETTINGS}/convert")) {
                (layout::csrf(visit))
                input type="hidden" name="base" value=[now.digest.as_deref()];
                button class="primary" { (words.convert_look) }
            }
        }
    }
}

/// What `config.toml` would say, and the button that makes it so.
async fn convert(visit: &Visit, reached: &Reached, sent: &Sent) -> Result<Done, Problem> {
    let words = SettingsWords::of(visit.words);
    let converted = change::convert(reached, sent.base(), true).await?;
    let content = html! {
        p { a href=(SETTINGS) { (words.settings) } }
        h1 { (words.convert_title) }
        section class="card" {
            p { (words.convert_lead) }
            @if !converted.lost.is_empty() {
                h2 { (words.convert_lost) }
                ul class="problems" lang="en" { @for lost in &converted.lost { li { (lost) } } }
            }
            @match &converted.text {
                Some(text) => pre class="code" tabindex="0" { (text) },
                None => p { (words.no_preview) },
            }
            form method="post" action=(format!("{SETTINGS}/converted")) {
                (layout::csrf(visit))
                input type="hidden" name="base" value=[sent.base()];
                p class="buttons" {
                    button class="primary" { (words.convert_do) }
                    a class="button quiet" href=(SETTINGS) { (words.back_to_settings) }
                }
            }
        }
    };
    Ok(Done::Shown(StatusCode::OK, layout::page(visit, Place::Settings, words.convert_title, &content)))
}

/// The configuration could not be used when the gateway started.
fn unusable(visit: &Visit, why: &str, revisions: &[RevisionRow]) -> Markup {
    let words = SettingsWords::of(visit.words);
    let good = revisions.iter().find(|row| row.good && !row.in_file);
    html! {
        section class="card warned" {
            h2 { (words.safe_mode) }
            p { (words.safe_mode_lead) }
            pre class="code" tabindex="0" { (why) }
            @if let Some(good) = good {
                form method="post" action=(format!("{SETTINGS}/undo")) {
                    (layout::csrf(visit))
                    input type="hidden" name="revision" value=(good.number);
                    button class="primary" { (words.back_to_good) }
                }
            }
        }
    }
}

fn form(visit: &Visit, now: &ConfigText, text: &str) -> Markup {
    let words = SettingsWords::of(visit.words);
    html! {
        form method="post" action=(format!("{SETTINGS}/review")) {
            (layout::csrf(visit))
            input type="hidden" name="base" value=[now.digest.as_deref()];
            @for group in &GROUPS {
                section class="card" {
                    h2 { ((group.title)(words)) }
                    @for field in group.fields { (field.form(words, text)) }
                }
            }
            p class="buttons" { button class="primary" { (words.review) } }
        }
    }
}

fn file(visit: &Visit, now: &ConfigText) -> Markup {
    let words = SettingsWords::of(visit.words);
    html! {
        section class="card" id="file" {
            h2 { (words.file) }
            p { (words.file_lead) }
            @if let Some(name) = &now.file { p class="hint" { code { (name) } } }
            (problems(words, &now.problems))
            @for path in &now.clear_secrets {
                form class="inline" method="post" action=(format!("{SETTINGS}/hide")) {
                    (layout::csrf(visit))
                    input type="hidden" name="base" value=[now.digest.as_deref()];
                    input type="hidden" name="path" value=(path);
                    p { (fill(words.clear_secret, &[("path", path)])) " " button class="quiet" { (words.move_secret) } }
                }
            }
            @match &now.text {
                Some(text) => details open[now.problems.iter().any(|problem| problem.severity == "error")] {
                    summary { h3 { (words.edit_file) } }
                    form method="post" action=(format!("{SETTINGS}/review")) {
                        (layout::csrf(visit))
                        input type="hidden" name="base" value=[now.digest.as_deref()];
                        label for="text" { (words.text) }
                        // A browser takes away the first line end.
                        textarea class="code" id="text" name="text" spellcheck="false" autocapitalize="off" autocomplete="off" aria-describedby="text-hint" { "\n" (text) }
                        p class="hint" id="text-hint" { (words.text_hint) }
                        button class="primary" { (words.review) }
                    }
                },
                None => p { (words.file_hidden) },
            }
        }
    }
}

fn problems(words: &SettingsWords, problems: &[admin::json::Problem]) -> Markup {
    html! {
        @if !problems.is_empty() {
            ul class="problems" {
                @for problem in problems {
                    li {
                        strong { (if problem.severity == "error" { words.error } else { words.warning }) } ", "
                        (fill(words.line, &[("n", &problem.line.to_string())]))
                        @if !problem.path.is_empty() { ", " code { (problem.path) } }
                        ": " (problem.message)
                        @if let Some(help) = &problem.help { ". " (help) "." }
                    }
                }
            }
        }
    }
}

fn secret_list(visit: &Visit, secrets: &[SecretRow]) -> Markup {
    let words = SettingsWords::of(visit.words);
    html! {
        section class="card" id="secrets" {
            h2 { (words.secrets) }
            p { (words.secrets_lead) }
            @if secrets.is_empty() { p class="hint" { (words.no_secrets) } } @else {
                div class="scroll" tabindex="0" role="group" aria-label=(words.secrets) {
                    table {
                        thead { tr {
                            th scope="col" { (words.name) }
                            th scope="col" { (words.state) }
                            th scope="col" { (words.used_in) }
                            th { span class="unseen" { (words.remove) } }
                        } }
                        tbody {
                            @for secret in secrets {
                                tr {
                                    th scope="row" { code { (secret.name) } }
                                    td { (match secret.source { Some("secrets") => words.is_set, Some(_) => words.is_elsewhere, None => words.is_missing }) }
                                    td { (secret.used_in.join(", ")) }
                                    td {
                                        @if secret.kept && secret.used_in.is_empty() {
                                            form class="inline" method="post" action=(format!("{SETTINGS}/forget")) {
                                                (layout::csrf(visit))
                                                input type="hidden" name="name" value=(secret.name);
                                                button class="quiet" aria-label=(format!("{}: {}", words.remove, secret.name)) { (words.remove) }
                                            }
                                        }
                                    }
                                }
                            }
                        }
                    }
                }
            }
            details {
                summary { h3 { (words.set_secret) } }
                form method="post" action=(format!("{SETTINGS}/keep")) autocomplete="off" {
                    (layout::csrf(visit))
                    label for="secret-name" { (words.name) }
                    input id="secret-name" name="name" required maxlength="100" pattern="[A-Za-z_][A-Za-z0-9_]*" autocapitalize="characters" spellcheck="false" aria-describedby="secret-hint" list="secret-names";
                    datalist id="secret-names" { @for secret in secrets { option value=(secret.name) {} } }
                    p class="hint" id="secret-hint" { (words.secret_hint) }
                    label for="secret-value" { (words.value) }
                    input id="secret-value" name="value" type="password" required autocomplete="off";
                    button class="primary" { (words.keep) }
                }
            }
        }
    }
}

fn revision_list(visit: &Visit, revisions: &[RevisionRow]) -> Markup {
    let words = SettingsWords::of(visit.words);
    html! {
        section class="card" id="revisions" {
            h2 { (words.revisions) }
            p { (words.revisions_lead) }
            @if revisions.is_empty() { p class="hint" { (words.no_revisions) } } @else {
                div class="scroll" tabindex="0" role="group" aria-label=(words.revisions) {
                    table {
                        thead { tr {
                            th scope="col" { (words.when) }
                            th scope="col" { (words.by) }
                            th scope="col" { (words.what) }
                            th scope="col" { (words.state) }
                        } }
                        tbody {
                            @for row in revisions {
                                tr {
                                    th scope="row" {
                                        a href=(format!("{SETTINGS}/revision?number={}", row.number)) {
                                            time datetime=(row.at) { (row.at) }
                                        }
                                    }
                                    td dir="auto" { (row.by.as_deref().unwrap_or("–")) }
                                    td { (row.summary) }
                                    td { (match (row.in_use, row.good) { (true, _) => words.in_use, (_, true) => words.good, (_, false) => words.never_used }) }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

#[derive(Debug, Deserialize)]
pub(super) struct Which {
    number: u32,
}

/// How one differs from what is there now, and the way back to it.
pub(super) async fn revision(State(gateway): State<Gateway>, visit: Visit, Query(which): Query<Which>) -> Response {
    match one_revision(&gateway, &visit, which.number).await {
        Ok(content) => answer::html(StatusCode::OK, content),
        Err(problem) => problem.respond(&visit),
    }
}

async fn one_revision(gateway: &Gateway, visit: &Visit, number: u32) -> Result<Markup, Problem> {
    let words = SettingsWords::of(visit.words);
    let reached = Reached::new(gateway.clone(), visit.who().clone());
    let found = shown::since(reached, Number(number)).await?;
    let content = html! {
        p { a href=(SETTINGS) { (words.settings) } }
        h1 { (fill(words.revision, &[("n", &number.to_string())])) }
        section class="card" {
            h2 { (words.since) }
            @if found.difference.is_empty() { p { (words.no_difference) } } @else { (difference(&found.difference)) }
            form method="post" action=(format!("{SETTINGS}/undo")) {
                (layout::csrf(visit))
                input type="hidden" name="revision" value=(number);
                p class="hint" { (words.back_lead) }
                button class="primary" { (words.back) }
            }
        }
    };
    Ok(layout::page(visit, Place::Settings, words.settings, &content))
}

/// A unified difference. What was added and what was taken away is said without its colour too.
pub(super) fn difference(text: &str) -> Markup {
    html! {
        pre class="code" tabindex="0" {
            @for line in text.lines().filter(|line| !line.starts_with("---") && !line.starts_with("+++")) {
                @match line.split_at_checked(1) {
                    Some(("+", rest)) => ins { (rest) },
                    Some(("-", rest)) => del { (rest) },
                    Some(("@", _)) => span class="at" { (line) },
                    Some((_, rest)) => span { "  " (rest) },
                    None => span { "\u{a0}" },
                }
            }
        }
    }
}

/// What a form sends. Not to be printed: there may be a secret in it.
pub(super) struct Sent(Vec<(String, String)>);

impl Sent {
    pub(super) fn of(fields: Vec<(String, String)>) -> Self {
        Self(fields)
    }

    pub(super) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }

    pub(super) fn base(&self) -> Option<&str> {
        self.get("base").filter(|base| !base.is_empty())
    }
}

pub(super) async fn change(
    State(gateway): State<Gateway>,
    visit: Visit,
    Path(action): Path<String>,
    Form(fields): Form<Vec<(String, String)>>,
) -> Response {
    let sent = Sent::of(fields);
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
    if !sent.get("csrf").is_some_and(|csrf| visit.session.is_csrf(csrf)) {
        return Err(Problem::Stale);
    }
    let words = SettingsWords::of(visit.words);
    let reached = Reached::new(gateway.clone(), visit.who().clone());
    let gone = |done: &str| Ok(Done::Gone(format!("{SETTINGS}?done={done}")));
    match action {
        "review" => review(visit, &reached, sent).await,
        "save" => {
            let done = match sent.get("text") {
                Some(text) => change::put(&reached, sent.base(), own_lines(text), None).await,
                None => {
                    let changes = changes(&reached, words, sent).await?;
                    change::change(&reached, sent.base(), &changes).await
                }
            };
            match done {
                Ok(_reloaded) => gone("saved"),
                // Looked at once more: what is wrong now, or that somebody else was faster.
                Err(admin::Error::Refused(..)) => review(visit, &reached, sent).await,
                Err(error) => Err(error.into()),
            }
        }
        "convert" => convert(visit, &reached, sent).await,
        "converted" => {
            change::convert(&reached, sent.base(), false).await?;
            gone("converted")
        }
        "undo" => {
            let revision = sent.get("revision").and_then(|number| number.parse().ok());
            shown::undo(reached, Asked(Undo { revision })).await?;
            gone("saved")
        }
        "hide" => {
            let path = sent.get("path").ok_or(Problem::NotFound)?;
            change::hide(&reached, sent.base(), path).await?;
            gone("moved")
        }
        "keep" => {
            let name = sent.get("name").ok_or(Problem::NotFound)?.trim();
            let value = Secret::new(sent.get("value").unwrap_or_default());
            match secrets::keep(&reached, name, &value).await {
                Ok(_kept) => gone("kept"),
                Err(admin::Error::Query(why)) => Err(Problem::Said(StatusCode::BAD_REQUEST, why)),
                Err(error) => Err(error.into()),
            }
        }
        "forget" => {
            let name = sent.get("name").ok_or(Problem::NotFound)?.to_owned();
            secrets::remove(reached, Name(name)).await?;
            gone("removed")
        }
        _ => Err(Problem::NotFound),
    }
}

/// A browser sends every line end as two characters.
fn own_lines(text: &str) -> String {
    text.replace("\r\n", "\n")
}

/// What the fields of the form change.
async fn changes(reached: &Reached, words: &SettingsWords, sent: &Sent) -> Result<Vec<Change>, Problem> {
    let now = change::text(reached.clone(), ()).await?.text.unwrap_or_default();
    let given = GROUPS.iter().flat_map(|group| group.fields).filter_map(|field| Some((field, sent.get(field.path)?)));
    let mut changes = Vec::new();
    for (field, given) in given {
        let wrong = |_path| {
            let label = (field.label)(words);
            Problem::Said(StatusCode::BAD_REQUEST, fill(words.wrong_value, &[("name", label)]))
        };
        changes.extend(field.changed(&now, given).map_err(wrong)?);
    }
    Ok(changes)
}

/// Shows what would happen, and how to make it happen.
async fn review(visit: &Visit, reached: &Reached, sent: &Sent) -> Result<Done, Problem> {
    let words = SettingsWords::of(visit.words);
    let base = change::base(reached)?;
    let has_moved = base.as_deref() != sent.base();
    let text = sent.get("text").map(own_lines);
    // Marks stand for values of the text that they were made for.
    if let Some(text) = text.as_ref().filter(|text| has_moved && text.contains(change::MARK)) {
        let content = html! {
            h1 { (words.moved) }
            section class="card warned" {
                p { (words.moved_marks) }
                label for="text" { (words.your_text) }
                textarea class="code" id="text" readonly { "\n" (text) }
                p { a href=(SETTINGS) { (words.settings) } }
            }
        };
        return Ok(Done::Shown(StatusCode::CONFLICT, layout::page(visit, Place::Settings, words.moved, &content)));
    }
    let (checked, fields) = match text {
        Some(text) => {
            let checked = change::check_text(reached, base.as_deref(), text.clone(), None).await?;
            (checked, vec![("text".to_owned(), text)])
        }
        None => {
            let changes = changes(reached, words, sent).await?;
            if changes.is_empty() {
                return Ok(Done::Gone(format!("{SETTINGS}?done=same")));
            }
            let checked = change::check_change(reached, base.as_deref(), &changes).await?;
            let known = GROUPS.iter().flat_map(|group| group.fields);
            let given = known.filter_map(|field| Some((field.path.to_owned(), sent.get(field.path)?.to_owned())));
            (checked, given.collect())
        }
    };
    if checked.usable && checked.difference.as_deref() == Some("") {
        return Ok(Done::Gone(format!("{SETTINGS}?done=same")));
    }
    let status = if has_moved { StatusCode::CONFLICT } else { StatusCode::OK };
    let content = review_page(visit, &checked, has_moved, base.as_deref(), &fields);
    Ok(Done::Shown(status, layout::page(visit, Place::Settings, words.review_title, &content)))
}

fn review_page(
    visit: &Visit,
    checked: &ConfigChecked,
    has_moved: bool,
    base: Option<&str>,
    fields: &[(String, String)],
) -> Markup {
    let words = SettingsWords::of(visit.words);
    html! {
        p { a href=(SETTINGS) { (words.settings) } }
        h1 { (words.review_title) }
        @if has_moved { (layout::notice("bad", words.moved_fields)) }
        @if !checked.usable {
            section class="card warned" {
                h2 { (words.unusable) }
                @match (checked.problems.is_empty(), &checked.error) {
                    (true, Some(error)) => p { (error) },
                    _ => (problems(words, &checked.problems)),
                }
            }
        } @else if !checked.problems.is_empty() {
            section class="card" { h2 { (words.usable) } (problems(words, &checked.problems)) }
        }
        @if let Some(rekey) = &checked.rekey {
            section class="card warned" { h2 { (words.rekey) } p { (words.rekey_lead) } p { (rekey.text) } }
        }
        section class="card" {
            h2 { (words.what_changes) }
            @match &checked.difference {
                Some(text) => (difference(text)),
                None => p { (words.no_preview) },
            }
        }
        form method="post" action=(format!("{SETTINGS}/{}", if checked.usable { "save" } else { "review" })) {
            (layout::csrf(visit))
            input type="hidden" name="base" value=[base];
            @for (name, value) in fields {
                @if name == "text" {
                    @if checked.usable { textarea hidden name="text" { "\n" (value) } } @else {
                        label for="text" { (words.your_text) }
                        textarea class="code" id="text" name="text" spellcheck="false" { "\n" (value) }
                    }
                } @else { input type="hidden" name=(name) value=(value); }
            }
            p class="buttons" {
                @if checked.usable { button class="primary" { (words.save) } }
                @else if fields.iter().any(|(name, _)| name == "text") { button class="primary" { (words.review) } }
                a href=(SETTINGS) { (words.cancel) }
            }
        }
    }
}

words! {
    /// What the settings say.
    SettingsWords;
    form: "Settings", "Einstellungen";
    yaml: "This box is configured by a .yml file. The form changes a config.toml: the file can be turned into one, with all values and comments.",
        "Dieses Gerät wird durch eine .yml-Datei eingestellt. Das Formular ändert eine config.toml: Die Datei lässt sich in eine umwandeln, mit allen Werten und Kommentaren.";
    convert_look: "Show what it would become", "Zeigen, was daraus würde";
    convert_title: "Turn it into config.toml", "In config.toml umwandeln";
    convert_lead: "This says the same as the .yml file. That one is kept as a revision, so you can go back to it.",
        "Das sagt dasselbe wie die .yml-Datei. Diese bleibt als früherer Stand erhalten; Sie können zu ihr zurück.";
    convert_lost: "What does not come along", "Was nicht mitkommt";
    convert_do: "Turn it and use it", "Umwandeln und verwenden";
    back_to_settings: "Leave it", "So lassen";
    converted: "The settings are in config.toml now, and in use.", "Die Einstellungen stehen jetzt in config.toml und sind in Gebrauch.";
    talks: "Conversations", "Gespräche";
    scope: "Who shares a conversation", "Wer sich ein Gespräch teilt";
    scope_hint: "For a business, keep everybody apart. \"One conversation for all\" is for one person's own assistant: everybody who writes would see what others said. A change gives conversations new names; older ones stay readable.",
        "Für ein Unternehmen: alle getrennt halten. „Ein Gespräch für alle“ ist für den Assistenten einer einzelnen Person: Wer schreibt, erfährt, was andere gesagt haben. Eine Änderung gibt Gesprächen neue Namen; ältere bleiben lesbar.";
    scope_channel: "Everybody on their own, on every channel (recommended)", "Alle für sich, auf jedem Kanal (empfohlen)";
    scope_peer: "Everybody on their own, the same person once for each kind of channel", "Alle für sich, dieselbe Person einmal je Art von Kanal";
    scope_main: "One conversation for all", "Ein Gespräch für alle";
    ttl: "Days until a quiet conversation is archived", "Tage, bis ein ruhendes Gespräch archiviert wird";
    ttl_hint: "After so many days without a message the next one begins a new conversation. 0: never. Archived ones can be read and brought back.",
        "Nach so vielen Tagen ohne Nachricht beginnt mit der nächsten ein neues Gespräch. 0: nie. Archivierte bleiben lesbar und lassen sich zurückholen.";
    says_new: "Tell people when a new conversation begins", "Sagen, wenn ein neues Gespräch beginnt";
    says_new_hint: "One short line before the first answer.", "Eine kurze Zeile vor der ersten Antwort.";
    yes: "Yes", "Ja";
    no: "No", "Nein";
    owners: "Who is always let in", "Wer immer hereindarf";
    owners_hint: "One a line, with the kind of channel in front. Counts where a channel asks for approval or has a list.",
        "Je eine Zeile, mit der Art des Kanals davor. Zählt, wo ein Kanal nach Freigabe fragt oder eine Liste hat.";
    limits: "Limits and addresses", "Grenzen und Adressen";
    per_minute: "Messages a minute from all people of one business", "Nachrichten je Minute von allen Personen eines Unternehmens";
    per_minute_hint: "0: any number. More are turned away politely.", "0: beliebig viele. Weitere werden freundlich abgewiesen.";
    max_turns: "Answers that are made at the same time", "Antworten, die gleichzeitig entstehen";
    max_turns_hint: "More need more memory and a model that keeps up.", "Mehr brauchen mehr Speicher und ein Modell, das mithält.";
    hosts: "Names that this page may be opened by", "Namen, unter denen diese Seite geöffnet werden darf";
    hosts_hint: "Only behind a proxy, one a line, such as desk.example.com.", "Nur hinter einem Proxy, je eine Zeile, zum Beispiel desk.example.com.";
    backups: "Backups", "Sicherungen";
    backup_to: "Where they go", "Wohin";
    backup_to_hint: "A directory such as /media/backup, or s3://bucket/prefix.", "Ein Verzeichnis wie /media/backup oder s3://bucket/prefix.";
    backup_at: "Every day at", "Täglich um";
    backup_at_hint: "A time such as 03:00. Empty: only when somebody makes one.", "Eine Uhrzeit wie 03:00. Leer: nur wenn jemand eine macht.";
    backup_keep: "How many stay", "Wie viele bleiben";
    backup_keep_hint: "Older ones of this box are removed when a new one has been checked.", "Ältere dieses Geräts werden entfernt, wenn eine neue geprüft ist.";
    backup_secret: "Passphrase", "Passphrase";
    backup_secret_hint: "Write ${BACKUP_PASSPHRASE} here and keep the value under Secrets below. Keep a copy where the box is not.",
        "Schreiben Sie hier ${BACKUP_PASSPHRASE} und legen Sie den Wert unten bei den Geheimnissen ab. Bewahren Sie eine Kopie an einem anderen Ort auf.";
    in_file_only: "This is written in the file in a way that the form does not show.", "Das steht in der Datei auf eine Weise, die das Formular nicht zeigt.";
    wrong_value: "\"{name}\" cannot be that. Nothing was changed.", "„{name}“ kann das nicht sein. Es wurde nichts geändert.";
    review: "See what would change", "Ansehen, was sich ändert";
    review_title: "What would change", "Was sich ändern würde";
    what_changes: "In the file", "In der Datei";
    no_preview: "The change cannot be shown, because there are secrets in the file or it cannot be read.",
        "Die Änderung lässt sich nicht zeigen, weil Geheimnisse in der Datei stehen oder sie nicht lesbar ist.";
    unusable: "This cannot be used yet", "So ist es noch nicht verwendbar";
    usable: "This can be used, with warnings", "Das ist verwendbar, mit Warnungen";
    rekey: "Conversations get new names", "Gespräche bekommen neue Namen";
    rekey_lead: "What was said before stays readable under its old name, and new messages begin anew.",
        "Was bisher gesagt wurde, bleibt unter dem alten Namen lesbar; neue Nachrichten beginnen von vorn.";
    save: "Use it", "Verwenden";
    cancel: "Change nothing", "Nichts ändern";
    saved: "In use now.", "Jetzt in Gebrauch.";
    nothing_changed: "That is what it says already.", "Das steht bereits so da.";
    moved: "Somebody else changed the settings", "Jemand anders hat die Einstellungen geändert";
    moved_fields: "Somebody else has changed the settings since you opened this page. Below is what your change would do to what they say now.",
        "Jemand anders hat die Einstellungen geändert, seit Sie diese Seite geöffnet haben. Unten steht, was Ihre Änderung an dem jetzigen Stand täte.";
    moved_marks: "Nothing was changed. Your text is here; copy what you need into the text as it is now.",
        "Es wurde nichts geändert. Ihr Text steht hier; kopieren Sie, was Sie brauchen, in den jetzigen Text.";
    your_text: "Your text", "Ihr Text";
    file: "The file", "Die Datei";
    file_lead: "Everything that can be set is in this text. Comments and order stay as they are.",
        "Alles, was sich einstellen lässt, steht in diesem Text. Kommentare und Reihenfolge bleiben, wie sie sind.";
    edit_file: "Change the text", "Text ändern";
    text: "Text of the file", "Text der Datei";
    text_hint: "A mark like \"‹hidden 1›\" stands for a secret in the file; leave it where it is, and the secret stays.",
        "Eine Marke wie „‹hidden 1›“ steht für ein Geheimnis in der Datei; lassen Sie sie stehen, dann bleibt es.";
    file_hidden: "The text cannot be shown here: it cannot be read, or it is a .yml file with secrets in it. Go back to an earlier one below, or mend it on the box.",
        "Der Text lässt sich hier nicht zeigen: Er ist nicht lesbar, oder es ist eine .yml-Datei mit Geheimnissen. Gehen Sie unten zu einem früheren zurück oder ändern Sie ihn am Gerät.";
    clear_secret: "A secret stands in the file itself: {path}.", "In der Datei selbst steht ein Geheimnis: {path}.";
    move_secret: "Move it to the secrets", "Zu den Geheimnissen legen";
    secret_moved: "Moved. The file has its name only.", "Verschoben. In der Datei steht nur noch der Name.";
    error: "Error", "Fehler";
    warning: "Warning", "Warnung";
    line: "line {n}", "Zeile {n}";
    secrets: "Secrets", "Geheimnisse";
    secrets_lead: "Tokens and passwords, which the file calls by name. A value goes in and is never shown again.",
        "Schlüssel und Passwörter, die die Datei beim Namen nennt. Ein Wert geht hinein und wird nie wieder gezeigt.";
    no_secrets: "There are none yet.", "Es gibt noch keine.";
    set_secret: "Keep a secret", "Geheimnis ablegen";
    secret_hint: "Letters, digits and _, as in MAIL_PASSWORD. One of the same name is replaced.",
        "Buchstaben, Ziffern und _, wie in MAIL_PASSWORD. Eines mit demselben Namen wird ersetzt.";
    value: "Value", "Wert";
    keep: "Keep", "Ablegen";
    secret_kept: "Kept.", "Abgelegt.";
    secret_removed: "Removed.", "Entfernt.";
    remove: "Remove", "Entfernen";
    state: "State", "Stand";
    used_in: "Used in", "Verwendet in";
    is_set: "set", "gesetzt";
    is_elsewhere: "set outside of this page", "außerhalb dieser Seite gesetzt";
    is_missing: "missing", "fehlt";
    revisions: "What it was", "Was es war";
    revisions_lead: "The last ten texts. Going back is a change like any other, and can be undone.",
        "Die letzten zehn Texte. Zurückgehen ist eine Änderung wie jede andere und lässt sich rückgängig machen.";
    no_revisions: "There are none yet: they are kept from the first change on.", "Es gibt noch keine: Sie werden ab der ersten Änderung aufgehoben.";
    when: "When", "Wann";
    by: "By", "Von";
    what: "What changed", "Was sich änderte";
    in_use: "in use", "in Gebrauch";
    good: "was used", "war in Gebrauch";
    never_used: "never used", "nie in Gebrauch";
    revision: "Settings number {n}", "Einstellungen Nummer {n}";
    since: "What has changed since", "Was sich seitdem geändert hat";
    no_difference: "Nothing but secrets, comments or order.", "Nichts außer Geheimnissen, Kommentaren oder Reihenfolge.";
    back: "Go back to this one", "Zu diesem zurückgehen";
    back_lead: "It takes the place of what is there now, and is used at once.", "Es tritt an die Stelle des jetzigen und wird sofort verwendet.";
    safe_mode: "The settings could not be used", "Die Einstellungen waren nicht verwendbar";
    safe_mode_lead: "The channels are off until they can. Go back to the last ones that worked, or mend the file below.",
        "Die Kanäle sind aus, bis sie es sind. Gehen Sie zu den letzten zurück, die funktionierten, oder berichtigen Sie unten die Datei.";
    back_to_good: "Go back to the last ones that worked", "Zu den letzten zurückgehen, die funktionierten";
}
