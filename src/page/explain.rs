//! Why a message goes to the worker it goes to, step by step.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::answer::{self, Problem};
use super::layout::{self, Place};
use super::visit::Visit;
use super::words::{Words, fill, words};
use super::{EXPLAIN, WORKERS, query, refused};
use crate::admin::routes::{self, AdmissionWord, Explanation, Question, RuleRow, Said};
use crate::admin::{Body, Reached};
use crate::gateway::Gateway;

/// An address that somebody typed, or a message of a conversation.
#[derive(Debug, Deserialize)]
pub(super) struct Asked {
    address: Option<String>,
    kind: Option<String>,
    key: Option<String>,
    tenant: Option<String>,
    episode: Option<u64>,
    line: Option<u64>,
}

pub(super) async fn show(State(gateway): State<Gateway>, visit: Visit, Query(asked): Query<Asked>) -> Response {
    let words = ExplainWords::of(visit.words);
    let reached = Reached::new(gateway, visit.who().clone());
    let typed = asked.address.as_deref().map(str::trim).filter(|address| !address.is_empty()).map(str::to_owned);
    let kind = asked.kind.filter(|kind| !kind.is_empty());
    let (question, back) = match asked.key {
        Some(key) => {
            let back = format!(
                "{}?tenant={}&key={}{}",
                super::CONVERSATION,
                query(asked.tenant.as_deref().unwrap_or_default()),
                query(&key),
                asked.episode.map(|episode| format!("&episode={episode}")).unwrap_or_default()
            );
            let said = Said { key, tenant: asked.tenant, episode: asked.episode, line: asked.line };
            (Question { conversation: Some(said), ..Question::default() }, Some(back))
        }
        None => {
            let kind = kind.clone();
            (Question { address: Some(typed.clone().unwrap_or_default()), kind, ..Question::default() }, None)
        }
    };
    let (status, found) = match (&typed, &back) {
        (None, None) => (StatusCode::OK, None),
        _ => match routes::explain(reached, Body(question)).await {
            Ok(explanation) => (StatusCode::OK, Some(Ok(explanation))),
            // Whoever typed an address can mend it.
            Err(error) if back.is_none() => {
                let (status, why) = refused::said(&visit, error);
                (status, Some(Err(why)))
            }
            Err(error) => return Problem::from(error).respond(&visit),
        },
    };
    let content = html! {
        p {
            @match &back {
                Some(back) => a href=(back) { (words.back_to_conversation) },
                None => a href=(WORKERS) { (words.back_to_workers) },
            }
        }
        h1 { (words.explain_title) }
        @match &found {
            Some(Ok(explanation)) => (steps(words, explanation)),
            Some(Err(why)) => (layout::notice("bad", &format!("{} {why}", words.explain_failed))),
            None => {},
        }
        @if back.is_none() {
            section class="card" {
                h2 { (words.explain_another) }
                (form(words, typed.as_deref().unwrap_or_default(), kind.as_deref()))
            }
        }
    };
    answer::html(status, layout::page(&visit, Place::Workers, words.explain_title, &content))
}

/// Where an address is tried.
pub(super) fn form(words: &Words, address: &str, kind: Option<&str>) -> Markup {
    let words = ExplainWords::of(words);
    html! {
        form class="filter" method="get" action=(EXPLAIN) {
            div class="wide" {
                label for="address" { (words.address) }
                input id="address" name="address" value=(address) required autocomplete="off" spellcheck="false"
                    placeholder="webchat:anon_9d2f1c" aria-describedby="address-hint";
            }
            div {
                label for="kind" { (words.kind) }
                select id="kind" name="kind" {
                    option value="" selected[kind.is_none()] { (words.kind_guess) }
                    option value="direct" selected[kind == Some("direct")] { (words.kind_direct) }
                    option value="group" selected[kind == Some("group")] { (words.kind_group) }
                    option value="thread" selected[kind == Some("thread")] { (words.kind_thread) }
                }
            }
            button { (words.explain_submit) }
        }
        p class="hint" id="address-hint" { (words.address_hint) }
    }
}

fn steps(words: &ExplainWords, explanation: &Explanation) -> Markup {
    html! {
        section class="card" {
            p class="key" { (explanation.address) }
            ol class="steps" {
                li {
                    h2 { (words.step_conversation) }
                    @match &explanation.session_key {
                        Some(key) => {
                            p class="key" { (key) }
                            p class="muted" { (rule(words, explanation.rule.as_deref().unwrap_or_default())) }
                        },
                        None => p { (words.no_conversation) " " (explanation.error.as_deref().unwrap_or_default()) },
                    }
                }
                li {
                    h2 { (words.step_admission) }
                    @let (tag, text) = admission(words, explanation.admission.verdict);
                    p { span class={ "tag " (tag) } { (text) } }
                    @if let Some(reason) = explanation.admission.reason { p class="muted" lang="en" { (reason) } }
                }
                li {
                    h2 { (words.step_worker) }
                    p { strong dir="auto" { (explanation.agent) } }
                    @match &explanation.route {
                        Some(route) => p class="muted" { (decided(words, route)) " " code { (route.pattern) } },
                        None => p class="muted" { (words.no_rule) },
                    }
                }
            }
            @if !explanation.later.is_empty() {
                h2 { (words.later) }
                ul class="rules" {
                    @for route in &explanation.later {
                        li { code { (route.pattern) } " → " bdi { (route.agent) } }
                    }
                }
            }
        }
    }
}

fn decided(words: &ExplainWords, route: &RuleRow) -> String {
    match route.number {
        Some(number) => fill(words.rule_number, &[("n", &number.to_string())]),
        None => words.rule_decides.to_owned(),
    }
}

fn rule<'w>(words: &'w ExplainWords, rule: &str) -> &'w str {
    match rule {
        "thread" => words.rule_thread,
        "group" => words.rule_group,
        "direct:main" => words.rule_main,
        "direct:per-peer" => words.rule_per_peer,
        "direct:identity-link" => words.rule_link,
        _ => words.rule_per_channel_peer,
    }
}

fn admission(words: &ExplainWords, verdict: AdmissionWord) -> (&'static str, &'static str) {
    match verdict {
        AdmissionWord::Admitted => ("good", words.admitted),
        AdmissionWord::Ignored => ("warn", words.ignored),
        AdmissionWord::Refused => ("bad", words.refused),
        AdmissionWord::Pairing => ("warn", words.pairing),
        AdmissionWord::Unknown => ("warn", words.unknown_channel),
    }
}

/// Where a message of a conversation is explained.
pub(super) fn address_of(place: &str, line: u64) -> String {
    format!("{EXPLAIN}?{place}&line={line}")
}

words! {
    /// What the pages of explanations say.
    ExplainWords;
    explain_title: "Why this worker?", "Warum dieser Mitarbeiter?";
    explain_submit: "Explain", "Erklären";
    explain_another: "Try an address", "Adresse ausprobieren";
    explain_failed: "This address cannot be explained.", "Diese Adresse lässt sich nicht erklären.";
    back_to_conversation: "Back to the conversation", "Zurück zum Gespräch";
    back_to_workers: "Back to workers", "Zurück zu den Mitarbeitern";
    address: "Address of a message", "Adresse einer Nachricht";
    address_hint: "Channel, then the ids that belong to it, with colons between them. A conversation shows its own in grey.",
        "Kanal, dann die Kennungen dazu, mit Doppelpunkten dazwischen. Ein Gespräch zeigt die eigene in Grau.";
    kind: "Kind", "Art";
    kind_guess: "As it looks", "Wie sie aussieht";
    kind_direct: "Direct message", "Direktnachricht";
    kind_group: "Group", "Gruppe";
    kind_thread: "Thread", "Thread";
    step_conversation: "Its conversation", "Ihr Gespräch";
    step_admission: "Is it let in?", "Wird sie angenommen?";
    step_worker: "Who answers", "Wer antwortet";
    no_conversation: "It belongs to no conversation and is set aside.", "Sie gehört zu keinem Gespräch und wird zurückgelegt.";
    no_rule: "No rule matches, so the default worker answers.", "Keine Regel passt, also antwortet der Standard-Mitarbeiter.";
    rule_number: "Rule {n} is the first that matches:", "Regel {n} ist die erste, die passt:";
    rule_decides: "This rule is the first that matches:", "Diese Regel ist die erste, die passt:";
    later: "These rules match too, but come later", "Diese Regeln passen auch, kommen aber später";
    rule_thread: "A thread has a conversation of its own, shared by everybody in it.",
        "Ein Thread hat ein eigenes Gespräch, das alle darin teilen.";
    rule_group: "A group has one conversation, shared by everybody in it.", "Eine Gruppe hat ein Gespräch, das alle darin teilen.";
    rule_main: "All direct messages share one conversation (dm_scope is \"main\").",
        "Alle Direktnachrichten teilen ein Gespräch (dm_scope ist „main“).";
    rule_per_channel_peer: "Each person has a conversation of their own on each channel.",
        "Jede Person hat auf jedem Kanal ein eigenes Gespräch.";
    rule_per_peer: "Each person has one conversation on all channels of a kind.",
        "Jede Person hat ein Gespräch für alle Kanäle einer Art.";
    rule_link: "These ids are known to be one person.", "Diese Kennungen gehören bekanntlich einer Person.";
    admitted: "Yes", "Ja";
    ignored: "No, it is left unanswered", "Nein, sie bleibt unbeantwortet";
    refused: "No", "Nein";
    pairing: "Not before somebody approves the sender", "Erst wenn jemand den Absender freigibt";
    unknown_channel: "No channel takes such messages", "Kein Kanal nimmt solche Nachrichten an";
}
