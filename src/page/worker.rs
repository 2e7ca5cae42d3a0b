//! One worker: its model, its persona and what it knows.

use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::answer::{self, Problem};
use super::format::{ago, bytes, time};
use super::layout::{self, Place};
use super::refused::said;
use super::visit::Visit;
use super::words::{fill, words};
use super::workers::{address, may_manage, state};
use super::{WORKER, WORKERS, query};
use crate::admin::agents::{self, AgentShown, KnownFile, MAX_FILE_BYTES, NewText, PERSONA, Text, Which};
use crate::admin::{self, Body, Name, NameAndFile, Reached, arrange};
use crate::clock::Timestamp;
use crate::gateway::Gateway;

#[derive(Debug, Deserialize)]
pub(super) struct Shown {
    name: String,
    /// What was just done, and to which file.
    done: Option<String>,
    file: Option<String>,
}

pub(super) async fn show(State(gateway): State<Gateway>, visit: Visit, Query(shown): Query<Shown>) -> Response {
    let words = WorkerWords::of(visit.words);
    let now = gateway.now();
    let reached = Reached::new(gateway, visit.who().clone());
    let agent = match agents::show(reached, Name(shown.name)).await {
        Ok(agent) => agent,
        Err(error) => return Problem::from(error).respond(&visit),
    };
    let file = shown.file.as_deref().unwrap_or_default();
    let notice = match shown.done.as_deref() {
        Some("saved") => Some(fill(words.file_saved, &[("file", file)])),
        Some("removed") => Some(fill(words.file_removed, &[("file", file)])),
        _ => None,
    };
    let may_change = may_manage(&visit);
    let content = html! {
        p { a href=(WORKERS) { (words.back_to_workers) } }
        @if let Some(notice) = &notice {
            (layout::notice("good", notice))
            @if shown.done.as_deref() == Some("removed") {
                p { a href=(file_address(&agent.name, file, None)) { (words.see_earlier) } }
            }
        }
        section class="card" {
            div class="head" { h1 dir="auto" { (agent.name) } (state(words, &agent)) }
            (facts(words, &agent, now))
        }
        section class="card" {
            h2 { (words.persona) }
            p class="muted" { (if agent.has_own_persona { words.persona_own } else { words.persona_built_in }) }
            p {
                a class="button" href=(file_address(&agent.name, PERSONA, None)) {
                    (if may_change { words.edit_persona } else { words.view_persona })
                }
            }
        }
        (knowledge(words, &agent, may_change))
        @if may_change { (remove_worker(&visit, &agent)) }
    };
    answer::html(StatusCode::OK, layout::page(&visit, Place::Workers, &agent.name, &content))
}

fn facts(words: &WorkerWords, agent: &AgentShown, now: Timestamp) -> Markup {
    let state = &agent.model_state;
    html! {
        dl class="facts" {
            div { dt { (words.model) } dd { (agent.model.as_deref().unwrap_or(words.demo_model)) } }
            div { dt { (words.provider) } dd { (agent.provider) } }
            div {
                dt { (words.last_answer) }
                dd {
                    @match (state.answered_at, state.answer_ms) {
                        (Some(at), Some(ms)) => { (ago(words, at, now)) ", " (fill(words.took, &[("s", &seconds(words, ms))])) },
                        _ => (words.never_asked),
                    }
                }
            }
            @if let (Some(at), Some(why)) = (state.failed_at, &state.failure) {
                div { dt { (words.last_failure) } dd { (ago(words, at, now)) ": " span lang="en" { (why) } } }
            }
            @if !agent.tenants.is_empty() {
                div { dt { (words.may_answer) } dd { (names(&agent.tenants)) } }
            }
            @if !agent.tools.is_empty() { div { dt { (words.tools) } dd { (agent.tools.join(", ")) } } }
        }
    }
}

fn remove_worker(visit: &Visit, agent: &AgentShown) -> Markup {
    let words = WorkerWords::of(visit.words);
    html! {
        section class="card" {
            h2 { (words.remove_worker) }
            p class="muted" { (words.remove_worker_lead) }
            form method="post" action=(format!("{WORKER}/dismiss")) {
                (layout::csrf(visit))
                input type="hidden" name="name" value=(agent.name);
                input type="hidden" name="file" value="";
                button { (words.remove_worker_submit) }
            }
        }
    }
}

/// The first few, and how many more.
fn names(all: &[String]) -> String {
    const SHOWN: usize = 12;
    let shown: Vec<&str> = all.iter().take(SHOWN).map(String::as_str).collect();
    let more = all.len().saturating_sub(SHOWN);
    if more == 0 { shown.join(", ") } else { format!("{} (+{more})", shown.join(", ")) }
}

fn seconds(words: &WorkerWords, ms: u64) -> String {
    let text = format!("{}.{}", ms / 1000, ms % 1000 / 100);
    match words.language {
        crate::browser::Language::English => text,
        crate::browser::Language::German => text.replace('.', ","),
    }
}

fn size(words: &WorkerWords, n: usize) -> String {
    bytes(words, u64::try_from(n).unwrap_or(u64::MAX))
}

fn knowledge(words: &WorkerWords, agent: &AgentShown, may_change: bool) -> Markup {
    let known = &agent.knowledge;
    let told = [("told", size(words, known.told_bytes)), ("max", size(words, known.max_told_bytes))];
    let told: Vec<(&str, &str)> = told.iter().map(|(name, value)| (*name, value.as_str())).collect();
    html! {
        section class="card" {
            h2 { (words.knowledge) }
            p class="muted" { (words.knowledge_lead) }
            @if agent.tenants.len() > 1 { (layout::notice("warn", words.shared_knowledge)) }
            @if known.files.is_empty() {
                (layout::empty(words.no_knowledge, words.no_knowledge_lead))
            } @else {
                div class="scroll" tabindex="0" role="group" aria-label=(words.knowledge) {
                    table {
                        thead { tr {
                            th scope="col" { (words.file) }
                            th scope="col" class="number" { (words.size) }
                            th scope="col" { (words.told) }
                        } }
                        tbody {
                            @for file in &known.files {
                                tr {
                                    th scope="row" { a href=(file_address(&agent.name, &file.name, None)) { bdi { (file.name) } } }
                                    td class="number" { (size(words, file.bytes)) }
                                    td { (told_of(words, file)) }
                                }
                            }
                        }
                    }
                }
                label for="told" { (fill(words.told_sum, &told)) }
                meter id="told" min="0" max=(known.max_told_bytes) value=(known.told_bytes) {}
            }
            @for name in &known.ignored { p class="hint" lang="en" { (words.ignored) " " (name) } }
            @if may_change {
                p { a class="button" href=(format!("{WORKER}/file?name={}", query(&agent.name))) { (words.add_file) } }
            }
        }
    }
}

fn told_of(words: &WorkerWords, file: &KnownFile) -> Markup {
    let (kind, text) = match (&file.problem, file.told_bytes) {
        (Some(_), _) => ("bad", words.told_problem.to_owned()),
        (None, told) if told >= file.bytes => ("good", words.told_all.to_owned()),
        (None, 0) => ("warn", words.told_none.to_owned()),
        (None, told) => ("warn", fill(words.told_part, &[("size", &size(words, told))])),
    };
    html! { span class={ "tag " (kind) } { (text) } @if let Some(why) = &file.problem { " " span class="hint" lang="en" { (why) } } }
}

#[derive(Debug, Deserialize)]
pub(super) struct Wanted {
    name: String,
    /// Absent: a new one.
    file: Option<String>,
    earlier: Option<u32>,
}

/// One file, to be read or changed.
pub(super) async fn file(State(gateway): State<Gateway>, visit: Visit, Query(wanted): Query<Wanted>) -> Response {
    let reached = Reached::new(gateway, visit.who().clone());
    let found = async {
        match wanted.file {
            None => {
                let agent = agents::show(reached, Name(wanted.name)).await?;
                if !may_manage(&visit) {
                    return Err(Problem::NotAllowed);
                }
                Ok(Editing { name: agent.name, ..Editing::default() })
            }
            Some(file) => {
                let which = NameAndFile(wanted.name.clone(), file.clone());
                let text = agents::read(reached, (which, admin::Query(Which { earlier: wanted.earlier }))).await?;
                Ok(Editing::of(text, wanted.earlier))
            }
        }
    };
    match found.await {
        Ok(editing) => editor(&visit, StatusCode::OK, &editing, None),
        Err(problem) => problem.respond(&visit),
    }
}

/// What stands in the editor.
#[derive(Debug, Default)]
struct Editing {
    name: String,
    /// `None`: it has no name yet.
    file: Option<String>,
    text: String,
    base: String,
    shows: Option<u32>,
    earlier: Vec<(u32, Timestamp, u64)>,
}

impl Editing {
    fn of(text: Text, shows: Option<u32>) -> Self {
        let earlier = text.earlier.iter().map(|earlier| (earlier.number, earlier.kept_at, earlier.bytes)).collect();
        Self { name: text.agent, file: Some(text.file), text: text.text, base: text.digest, shows, earlier }
    }
}

fn editor(visit: &Visit, status: StatusCode, editing: &Editing, notice: Option<&str>) -> Response {
    let words = WorkerWords::of(visit.words);
    let is_persona = editing.file.as_deref() == Some(PERSONA);
    let title = match &editing.file {
        None => words.add_file.to_owned(),
        Some(_) if is_persona => words.persona.to_owned(),
        Some(file) => file.clone(),
    };
    let may_change = may_manage(visit);
    let content = html! {
        p { a href=(address(&editing.name)) { bdi { (fill(words.back_to_worker, &[("name", &editing.name)])) } } }
        @if let Some(notice) = notice { (layout::notice("bad", notice)) }
        @if let Some(number) = editing.shows { (layout::notice("warn", &fill(words.shows_earlier, &[("n", &number.to_string())]))) }
        section class="card" {
            h1 dir="auto" { (title) }
            p class="muted" { (if is_persona { words.persona_lead } else { words.file_lead }) }
            @if may_change {
            form method="post" action=(format!("{WORKER}/save")) {
                (layout::csrf(visit))
                input type="hidden" name="name" value=(editing.name);
                input type="hidden" name="base" value=(editing.base);
                @match &editing.file {
                    Some(file) => input type="hidden" name="file" value=(file);,
                    None => {
                        label for="file" { (words.file_name) }
                        input id="file" name="file" required maxlength="128" autocomplete="off" placeholder=(words.file_placeholder)
                            aria-describedby="file-hint";
                        p class="hint" id="file-hint" { (words.file_hint) }
                        div data-upload="text file" hidden {
                            label for="upload" { (words.upload) }
                            input id="upload" type="file" accept=".md,.txt,text/plain,text/markdown";
                        }
                    },
                }
                label for="text" { (words.text) }
                textarea id="text" name="text" rows="18" required dir="auto" { "\n" (editing.text) }
                button class="primary" { (words.save) }
            }
            } @else {
                pre class="text" tabindex="0" dir="auto" { (editing.text) }
            }
            @if may_change && !is_persona && !editing.base.is_empty() { (remove_form(visit, editing, words.remove)) }
            @if may_change && is_persona && !editing.base.is_empty() { (remove_form(visit, editing, words.use_built_in)) }
        }
        @if let (Some(file), false) = (&editing.file, editing.earlier.is_empty()) {
            section class="card" {
                h2 { (words.earlier_texts) }
                ul class="rows" {
                    @for (number, at, n_bytes) in &editing.earlier {
                        li {
                            a href=(file_address(&editing.name, file, Some(*number))) aria-current=[(editing.shows == Some(*number)).then_some("true")] {
                                strong { (fill(words.until, &[("time", &time(words, *at))])) }
                                span class="detail" { (bytes(words, *n_bytes)) }
                            }
                        }
                    }
                }
            }
        }
    };
    answer::html(status, layout::page(visit, Place::Workers, &title, &content))
}

fn remove_form(visit: &Visit, editing: &Editing, label: &str) -> Markup {
    html! {
        form method="post" action=(format!("{WORKER}/remove")) {
            (layout::csrf(visit))
            input type="hidden" name="name" value=(editing.name);
            input type="hidden" name="file" value=(editing.file.as_deref().unwrap_or_default());
            button class="quiet" { (label) }
        }
    }
}

fn file_address(name: &str, file: &str, earlier: Option<u32>) -> String {
    let earlier = earlier.map(|number| format!("&earlier={number}")).unwrap_or_default();
    format!("{WORKER}/file?name={}&file={}{earlier}", query(name), query(file))
}

/// What the form of a file says.
#[derive(Debug, Deserialize)]
pub(super) struct Order {
    csrf: String,
    name: String,
    file: String,
    text: Option<String>,
    base: Option<String>,
}

pub(super) async fn change(
    State(gateway): State<Gateway>,
    visit: Visit,
    Path(action): Path<String>,
    Form(order): Form<Order>,
) -> Response {
    let words = WorkerWords::of(visit.words);
    if !visit.session.is_csrf(&order.csrf) {
        return Problem::Stale.respond(&visit);
    }
    if !may_manage(&visit) {
        return Problem::NotAllowed.respond(&visit);
    }
    let reached = Reached::new(gateway, visit.who().clone());
    let file = order.file.trim().to_owned();
    let which = NameAndFile(order.name.clone(), file.clone());
    let shown = |done: &str| format!("{}&done={done}&file={}", address(&order.name), query(&file));
    match action.as_str() {
        "dismiss" => match arrange::remove_agent(reached, Name(order.name)).await {
            Ok(_) => answer::done(&format!("{WORKERS}?done=removed")),
            Err(error) => {
                let (status, why) = said(&visit, error);
                Problem::Said(status, why).respond(&visit)
            }
        },
        "remove" => match agents::remove(reached, which).await {
            Ok(_) => answer::done(&shown("removed")),
            Err(error) => Problem::from(error).respond(&visit),
        },
        "save" => {
            // Browsers end lines as typewriters do.
            let text = order.text.unwrap_or_default().replace("\r\n", "\n");
            let base = order.base.unwrap_or_default();
            let new = NewText { text: text.clone(), base: Some(base.clone()) };
            let Err(error) = agents::put(reached.clone(), (which, Body(new))).await else {
                return answer::done(&shown("saved"));
            };
            let (status, why) = said(&visit, error);
            let now =
                agents::read(reached, (NameAndFile(order.name.clone(), file.clone()), admin::Query(Which::default())));
            let now = now.await.ok();
            let is_changed = now.as_ref().is_some_and(|now| now.digest != base);
            let notice = match status {
                StatusCode::CONFLICT if is_changed && base.is_empty() => fill(words.name_taken, &[("file", &file)]),
                StatusCode::CONFLICT if is_changed => words.changed_meanwhile.to_owned(),
                _ if text.trim().is_empty() => words.text_empty.to_owned(),
                _ if text.len() > MAX_FILE_BYTES => words.text_too_long.to_owned(),
                StatusCode::UNPROCESSABLE_ENTITY if base.is_empty() => format!("{} {why}", words.name_wrong),
                _ => format!("{} {why}", words.not_saved),
            };
            // What was typed is not lost, and saving once more is a choice.
            let is_new = base.is_empty() && file != PERSONA;
            let base = match &now {
                Some(now) if !is_new => now.digest.clone(),
                _ => base,
            };
            let file = (!is_new).then_some(file);
            editor(&visit, status, &Editing { name: order.name, file, text, base, ..Editing::default() }, Some(&notice))
        }
        _ => Problem::NotFound.respond(&visit),
    }
}

words! {
    /// What the pages of a worker say.
    WorkerWords;
    back_to_workers: "Back to workers", "Zurück zu den Mitarbeitern";
    back_to_worker: "Back to {name}", "Zurück zu {name}";
    model: "Model", "Modell";
    demo_model: "Demo, answers by fixed rules", "Demo, antwortet nach festen Regeln";
    provider: "Provider", "Anbieter";
    last_answer: "Last answer", "Letzte Antwort";
    took: "in {s} s", "in {s} s";
    never_asked: "not since the start", "seit dem Start keine";
    last_failure: "Last failure", "Letzte Störung";
    remove_worker: "Remove this worker", "Diesen Mitarbeiter entfernen";
    remove_worker_lead: "It answers nobody any more. Its persona and knowledge stay on the box, and are there again when a worker of this name is.",
        "Er antwortet niemandem mehr. Seine Persona und sein Wissen bleiben auf der Box und sind wieder da, wenn es einen Mitarbeiter dieses Namens gibt.";
    remove_worker_submit: "Remove worker", "Mitarbeiter entfernen";
    may_answer: "May answer for", "Darf antworten für";
    tools: "May use", "Darf benutzen";
    persona: "Persona", "Persona";
    persona_own: "Who it is and how it speaks is written in a text of its own.",
        "Wer er ist und wie er spricht, steht in einem eigenen Text.";
    persona_built_in: "It has the persona that comes with the program. Write one of its own, so that it speaks for your business.",
        "Er hat die Persona, die mitgeliefert wird. Schreiben Sie eine eigene, damit er für Ihr Unternehmen spricht.";
    persona_lead: "Who it is, how it speaks and what it must never do. It is told this with every message.",
        "Wer er ist, wie er spricht und was er nie tun darf. Das wird ihm mit jeder Nachricht gesagt.";
    edit_persona: "Edit persona", "Persona bearbeiten";
    view_persona: "View persona", "Persona ansehen";
    use_built_in: "Use the built-in persona", "Mitgelieferte Persona verwenden";
    knowledge: "Knowledge", "Wissen";
    knowledge_lead: "Texts that it answers from: opening hours, prices, frequent questions. It is told them with every message, in the order of their names.",
        "Texte, aus denen er antwortet: Öffnungszeiten, Preise, häufige Fragen. Sie werden ihm mit jeder Nachricht gesagt, in der Reihenfolge ihrer Namen.";
    shared_knowledge: "This worker answers for several businesses and tells all of them what it knows. Write nothing here that one of them must not learn of another.",
        "Dieser Mitarbeiter antwortet für mehrere Unternehmen und sagt allen, was er weiß. Schreiben Sie nichts hinein, was eines vom anderen nicht erfahren darf.";
    no_knowledge: "It knows nothing of your business yet", "Er weiß noch nichts über Ihr Unternehmen";
    no_knowledge_lead: "Begin with what people ask most: when you are open, where you are, what things cost.",
        "Beginnen Sie mit dem, was am häufigsten gefragt wird: wann Sie offen haben, wo Sie sind, was es kostet.";
    file: "File", "Datei";
    size: "Size", "Größe";
    told: "Told", "Gesagt";
    told_all: "all of it", "ganz";
    told_part: "the first {size}", "die ersten {size}";
    told_none: "not told", "nicht gesagt";
    told_problem: "cannot be read", "nicht lesbar";
    told_sum: "{told} of at most {max} are told with every message.", "{told} von höchstens {max} werden mit jeder Nachricht gesagt.";
    ignored: "Not used:", "Nicht verwendet:";
    add_file: "Add knowledge", "Wissen hinzufügen";
    file_lead: "Plain text or Markdown. What stands at the top is told first.",
        "Reiner Text oder Markdown. Was oben steht, wird zuerst gesagt.";
    file_name: "Name of the file", "Name der Datei";
    file_placeholder: "prices.md", "preise.md";
    file_hint: "It ends in .md or .txt.", "Er endet auf .md oder .txt.";
    upload: "Take the text from a file", "Text aus einer Datei übernehmen";
    text: "Text", "Text";
    save: "Save", "Speichern";
    remove: "Remove this file", "Diese Datei entfernen";
    file_saved: "{file} is saved. The next message is answered with it.", "{file} ist gespeichert. Die nächste Nachricht wird damit beantwortet.";
    file_removed: "{file} is removed.", "{file} ist entfernt.";
    see_earlier: "See what it said, or bring it back", "Ansehen, was darin stand, oder zurückholen";
    earlier_texts: "What it said before", "Was vorher darin stand";
    until: "Until {time}", "Bis {time}";
    shows_earlier: "This is an earlier text, number {n}. Save it to use it again.", "Das ist ein früherer Text, Nummer {n}. Speichern Sie ihn, um ihn wieder zu verwenden.";
    not_saved: "It is not saved.", "Es ist nicht gespeichert.";
    name_wrong: "Please choose another name, or look at the text.", "Bitte wählen Sie einen anderen Namen, oder sehen Sie sich den Text an.";
    name_taken: "There is a file {file} already. Open that one, or choose another name.",
        "Es gibt schon eine Datei {file}. Öffnen Sie diese, oder wählen Sie einen anderen Namen.";
    changed_meanwhile: "Somebody has changed this text since you opened it. Look at both; saving now replaces theirs, which is kept among the earlier ones.",
        "Jemand hat diesen Text geändert, seit Sie ihn geöffnet haben. Sehen Sie beide an; jetzt zu speichern ersetzt den anderen, der bei den früheren bleibt.";
    text_empty: "The text is empty.", "Der Text ist leer.";
    text_too_long: "The text is too long for one file. Divide it.", "Der Text ist zu lang für eine Datei. Teilen Sie ihn.";
}
