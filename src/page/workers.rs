//! The workers, and the rules that say who answers what.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::answer::{self, Problem};
use super::explain;
use super::format::{bytes, number};
use super::layout::{self, Place};
use super::visit::Visit;
use super::words::{fill, words};
use super::{WORKER, query};
use crate::account::{Reach, Role};
use crate::admin::Reached;
use crate::admin::agents::{self, AgentShown, Agents};
use crate::admin::routes::{self, Rules};
use crate::gateway::Gateway;

#[derive(Debug, Deserialize)]
pub(super) struct Shown {
    /// What was just done.
    done: Option<String>,
}

pub(super) async fn list(State(gateway): State<Gateway>, visit: Visit, Query(shown): Query<Shown>) -> Response {
    let words = WorkersWords::of(visit.words);
    let notice = shown.done.as_deref().and_then(|done| done_words(words, done));
    page(gateway, &visit, StatusCode::OK, notice.map(|notice| ("good", notice.to_owned()))).await
}

/// The page, with a line above it.
pub(super) async fn page(
    gateway: Gateway,
    visit: &Visit,
    status: StatusCode,
    notice: Option<(&str, String)>,
) -> Response {
    let words = WorkersWords::of(visit.words);
    let reached = Reached::new(gateway, visit.who().clone());
    let seen = async {
        let is_whole = visit.who().reach == Reach::All;
        let agents = if is_whole { Some(agents::list(reached.clone(), ()).await?) } else { None };
        Ok::<_, Problem>((agents, routes::list(reached, ()).await?))
    };
    let (agents, rules) = match seen.await {
        Ok(seen) => seen,
        Err(problem) => return problem.respond(visit),
    };
    let content = html! {
        h1 { (words.workers) }
        @if let Some((kind, text)) = &notice { (layout::notice(kind, text)) }
        @if let Some(agents) = &agents { (cards(words, agents)) }
        (rule_table(words, visit, agents.as_ref(), &rules))
        section class="card" {
            h2 { (words.try_title) }
            p class="muted" { (words.try_lead) }
            (explain::form(words, "", None))
        }
    };
    answer::html(status, layout::page(visit, Place::Workers, words.workers, &content))
}

pub(super) fn may_manage(visit: &Visit) -> bool {
    visit.who().role == Role::Admin && visit.who().reach == Reach::All
}

fn done_words(words: &WorkersWords, done: &str) -> Option<&'static str> {
    match done {
        "rules" => Some(words.rules_saved),
        "added" => Some(words.worker_added),
        "removed" => Some(words.worker_removed),
        _ => None,
    }
}

fn cards(words: &WorkersWords, agents: &Agents) -> Markup {
    html! {
        section class="card" {
            ul class="rows" {
                @for agent in &agents.agents {
                    li {
                        a href=(address(&agent.name)) {
                            strong dir="auto" { (agent.name) }
                            (state(words, agent))
                            span class="detail" {
                                (agent.model.as_deref().unwrap_or(words.demo))
                                " · " (if agent.has_own_persona { words.own_persona } else { words.built_in_persona })
                                " · " (knows(words, agent))
                                @if agent.default { " · " (words.is_default) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// How its model does, in a word.
pub(super) fn state(words: &super::words::Words, agent: &AgentShown) -> Markup {
    let words = WorkersWords::of(words);
    let state = &agent.model_state;
    let (kind, text) = match (state.failing, &state.answered) {
        (true, _) => ("bad", words.state_failing),
        (false, Some(_)) => ("good", words.state_good),
        (false, None) => ("", words.state_new),
    };
    html! { span class={ "tag " (kind) } { (text) } }
}

fn knows(words: &WorkersWords, agent: &AgentShown) -> String {
    match agent.knowledge.files.len() {
        0 => words.knows_nothing.to_owned(),
        n => {
            let size = bytes(words, u64::try_from(agent.knowledge.bytes).unwrap_or(u64::MAX));
            fill(words.knows, &[("n", &number(words, u64::try_from(n).unwrap_or(u64::MAX))), ("size", &size)])
        }
    }
}

fn rule_table(words: &WorkersWords, _visit: &Visit, _agents: Option<&Agents>, rules: &Rules) -> Markup {
    html! {
        section class="card" {
            h2 { (words.rules) }
            p class="muted" { (words.rules_lead) }
            @if rules.routes.is_empty() {
                p { (fill(words.no_rules, &[("name", &rules.default_agent)])) }
            } @else {
                div class="scroll" tabindex="0" role="group" aria-label=(words.rules) {
                    table {
                        thead { tr {
                            th scope="col" { (words.messages_like) }
                            th scope="col" { (words.answered_by) }
                        } }
                        tbody {
                            @for rule in &rules.routes {
                                tr {
                                    th scope="row" {
                                        code { (rule.pattern) }
                                        @if let Some(why) = &rule.idle {
                                            " " span class="tag warn" { (words.never) } " " span class="hint" lang="en" { (why) }
                                        }
                                    }
                                    td dir="auto" { (rule.agent) }
                                }
                            }
                        }
                    }
                }
                p { (fill(words.otherwise, &[("name", &rules.default_agent)])) }
            }
            @for tenant in &rules.tenants {
                p class="muted" { (fill(words.otherwise_of, &[("tenant", &tenant.tenant), ("name", &tenant.agent)])) }
            }
        }
    }
}

/// Where a worker is.
pub(super) fn address(name: &str) -> String {
    format!("{WORKER}?name={}", query(name))
}

words! {
    /// What the page of workers says.
    WorkersWords;
    demo: "Demo, answers by fixed rules", "Demo, antwortet nach festen Regeln";
    own_persona: "own persona", "eigene Persona";
    built_in_persona: "built-in persona", "mitgelieferte Persona";
    knows: "knows {n} files, {size}", "kennt {n} Dateien, {size}";
    knows_nothing: "no knowledge yet", "noch kein Wissen";
    is_default: "answers by default", "antwortet, wenn nichts anderes gilt";
    state_good: "Working", "Arbeitet";
    state_failing: "Failing", "Gestört";
    state_new: "Not asked yet", "Noch nicht gefragt";
    rules: "Who answers", "Wer antwortet";
    rules_lead: "The first rule that matches a message decides. * stands for anything.",
        "Die erste Regel, die auf eine Nachricht passt, entscheidet. * steht für alles.";
    messages_like: "Messages like", "Nachrichten wie";
    answered_by: "Answered by", "Beantwortet";
    never: "never matches", "passt nie";
    no_rules: "There are no rules: {name} answers every message.", "Es gibt keine Regeln: {name} beantwortet jede Nachricht.";
    otherwise: "Everything else is answered by {name}.", "Alles andere beantwortet {name}.";
    otherwise_of: "Of {tenant}, everything else is answered by {name}.", "Von {tenant} beantwortet alles andere {name}.";
    try_title: "Try an address", "Adresse ausprobieren";
    try_lead: "See which conversation a message would belong to, whether it is let in and who would answer.",
        "Sehen Sie, zu welchem Gespräch eine Nachricht gehörte, ob sie angenommen würde und wer antwortete.";
    rules_saved: "The rules are saved and hold for the next message.", "Die Regeln sind gespeichert und gelten ab der nächsten Nachricht.";
    worker_added: "The worker is there. Give it a persona and what it should know.",
        "Der Mitarbeiter ist da. Geben Sie ihm eine Persona und was er wissen soll.";
    worker_removed: "The worker is gone. Its files stay on the box.", "Der Mitarbeiter ist weg. Seine Dateien bleiben auf der Box.";
}
