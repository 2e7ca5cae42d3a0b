//! The workers, and the rules that say who answers what.

use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::answer::{self, Problem};
use super::explain;
use super::format::bytes;
use super::layout::{self, Place};
use super::visit::Visit;
use super::words::{fill, words};
use super::{WORKER, WORKERS, query, refused};
use crate::account::{Reach, Role};
use crate::admin::agents::{self, AgentShown, Agents};
use crate::admin::arrange::{self, NewAgent, NewRules};
use crate::admin::routes::{self, Rules};
use crate::admin::{self, Body, Reached};
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
    let providers = gateway.shape().providers;
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
        @if may_manage(visit) { (add_worker(words, visit, &providers)) }
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
        _ => {
            let size = bytes(words, u64::try_from(agent.knowledge.bytes).unwrap_or(u64::MAX));
            fill(words.knows, &[("size", &size)])
        }
    }
}

fn rule_table(words: &WorkersWords, visit: &Visit, agents: Option<&Agents>, rules: &Rules) -> Markup {
    let agents = agents.filter(|_| may_manage(visit));
    let n_rules = rules.routes.len();
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
                            @if agents.is_some() { th { span class="unseen" { (words.change_rule) } } }
                        } }
                        tbody {
                            @for (n, rule) in rules.routes.iter().enumerate() {
                                tr {
                                    th scope="row" {
                                        code { (rule.pattern) }
                                        @if let Some(why) = &rule.idle {
                                            " " span class="tag warn" { (words.never) } " " span class="hint" lang="en" { (why) }
                                        }
                                    }
                                    td dir="auto" { (rule.agent) }
                                    @if agents.is_some() { td { (order_buttons(words, visit, rules, n, n_rules)) } }
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
            @if let Some(agents) = agents { (rule_forms(words, visit, agents, rules)) }
        }
    }
}

fn base(rules: &Rules) -> Markup {
    html! { input type="hidden" name="base" value=(rules.base.as_deref().unwrap_or_default()); }
}

fn order_buttons(words: &WorkersWords, visit: &Visit, rules: &Rules, n: usize, n_rules: usize) -> Markup {
    let of = |what: &str| format!("{what}: {}", n.saturating_add(1));
    html! {
        form class="order" method="post" action=(format!("{WORKERS}/rule")) {
            (layout::csrf(visit))
            (base(rules))
            input type="hidden" name="number" value=(n);
            button class="quiet" name="step" value="up" aria-label=(of(words.up)) disabled[n == 0] { "↑" }
            button class="quiet" name="step" value="down" aria-label=(of(words.down)) disabled[n + 1 == n_rules] { "↓" }
            button class="quiet" name="step" value="remove" aria-label=(of(words.remove)) { (words.remove) }
        }
    }
}

fn agent_options(agents: &Agents, chosen: &str) -> Markup {
    html! {
        @for agent in &agents.agents { option value=(agent.name) selected[agent.name == chosen] { (agent.name) } }
    }
}

fn rule_forms(words: &WorkersWords, visit: &Visit, agents: &Agents, rules: &Rules) -> Markup {
    html! {
        details {
            summary { h2 { (words.add_rule) } }
            form method="post" action=(format!("{WORKERS}/add-rule")) {
                (layout::csrf(visit))
                (base(rules))
                label for="pattern" { (words.messages_like) }
                input id="pattern" name="pattern" required maxlength="500" autocomplete="off" spellcheck="false"
                    placeholder="webchat:*" aria-describedby="pattern-hint";
                p class="hint" id="pattern-hint" { (words.pattern_hint) }
                label for="rule-agent" { (words.answered_by) }
                select id="rule-agent" name="agent" { (agent_options(agents, &rules.default_agent)) }
                label for="rule-place" { (words.place) }
                select id="rule-place" name="place" {
                    option value="first" { (words.place_first) }
                    option value="last" { (words.place_last) }
                }
                button class="primary" { (words.add_rule_submit) }
            }
        }
        @if agents.agents.len() > 1 {
            form class="filter" method="post" action=(format!("{WORKERS}/default")) {
                (layout::csrf(visit))
                (base(rules))
                div {
                    label for="default-agent" { (words.default_label) }
                    select id="default-agent" name="agent" { (agent_options(agents, &rules.default_agent)) }
                }
                button { (words.save) }
            }
        }
    }
}

fn add_worker(words: &WorkersWords, visit: &Visit, providers: &[String]) -> Markup {
    html! {
        section class="card" {
            details {
                summary { h2 { (words.add_worker) } }
                form method="post" action=(format!("{WORKERS}/add")) {
                    (layout::csrf(visit))
                    label for="worker-name" { (words.name) }
                    input id="worker-name" name="agent" required maxlength="64" autocomplete="off" pattern="[A-Za-z0-9_][A-Za-z0-9_.\\-]*"
                        placeholder="reception" aria-describedby="worker-name-hint";
                    p class="hint" id="worker-name-hint" { (words.worker_name_hint) }
                    @if providers.len() > 1 {
                        label for="worker-provider" { (words.provider) }
                        select id="worker-provider" name="provider" {
                            @for provider in providers { option value=(provider) { (provider) } }
                        }
                    }
                    button class="primary" { (words.add_worker_submit) }
                }
            }
        }
    }
}

/// What a form about rules or workers says.
#[derive(Debug, Deserialize)]
pub(super) struct Order {
    csrf: String,
    agent: Option<String>,
    provider: Option<String>,
    pattern: Option<String>,
    place: Option<String>,
    number: Option<usize>,
    step: Option<String>,
    base: Option<String>,
}

pub(super) async fn change(
    State(gateway): State<Gateway>,
    visit: Visit,
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
        Ok(Some(done)) => answer::done(&format!("{WORKERS}?done={done}")),
        Ok(None) => Problem::NotFound.respond(&visit),
        Err(error) => {
            let words = WorkersWords::of(visit.words);
            let (status, why) = refused::said(&visit, error);
            page(gateway, &visit, status, Some(("bad", format!("{} {why}", words.not_saved)))).await
        }
    }
}

/// `None`: no page of ours says such a thing.
async fn obey(reached: Reached, action: &str, order: Order) -> Result<Option<&'static str>, admin::Error> {
    let base = order.base.filter(|base| !base.is_empty());
    let agent = order.agent.map(|agent| agent.trim().to_owned());
    if action == "add" {
        let Some(name) = agent else { return Ok(None) };
        let provider = order.provider.filter(|provider| !provider.is_empty());
        arrange::add_agent(reached, Body(NewAgent { name, provider })).await?;
        return Ok(Some("added"));
    }
    let rules = routes::list(reached.clone(), ()).await?;
    let mut routing: Vec<String> = rules.routes.into_iter().map(|rule| rule.route).collect();
    let mut default_agent = None;
    match (action, order.number, order.step.as_deref()) {
        ("rule", Some(n), Some("up")) if n > 0 && n < routing.len() => routing.swap(n, n - 1),
        ("rule", Some(n), Some("down")) if n.saturating_add(1) < routing.len() => routing.swap(n, n + 1),
        ("rule", Some(n), Some("remove")) if n < routing.len() => drop(routing.remove(n)),
        ("add-rule", ..) => {
            let (Some(pattern), Some(agent)) = (order.pattern, agent) else { return Ok(None) };
            let rule = format!("{} -> {agent}", pattern.trim());
            match order.place.as_deref() {
                Some("first") => routing.insert(0, rule),
                _ => routing.push(rule),
            }
        }
        ("default", ..) => default_agent = agent,
        _ => return Ok(None),
    }
    arrange::put_rules(reached, Body(NewRules { routing, default_agent, base })).await?;
    Ok(Some("rules"))
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
    knows: "knowledge: {size}", "Wissen: {size}";
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
    change_rule: "Change", "Ändern";
    up: "Move up", "Nach oben";
    down: "Move down", "Nach unten";
    remove: "Remove", "Entfernen";
    add_rule: "Add a rule", "Regel hinzufügen";
    add_rule_submit: "Add rule", "Regel hinzufügen";
    pattern_hint: "An address with * for what may be anything: webchat:* is every web chat, tenant-42-* everything of the business 42.",
        "Eine Adresse mit * für Beliebiges: webchat:* ist jeder Web-Chat, tenant-42-* alles des Unternehmens 42.";
    place: "Where", "Wo";
    place_first: "Before all others", "Vor allen anderen";
    place_last: "After all others", "Nach allen anderen";
    default_label: "Who answers everything else", "Wer alles andere beantwortet";
    save: "Save", "Speichern";
    add_worker: "Add a worker", "Mitarbeiter hinzufügen";
    add_worker_submit: "Add worker", "Mitarbeiter hinzufügen";
    worker_name_hint: "Letters, digits, - and _. Rules and programs call it by this name.",
        "Buchstaben, Ziffern, - und _. Regeln und Programme nennen ihn so.";
    provider: "Model", "Modell";
    not_saved: "Nothing was changed.", "Es wurde nichts geändert.";
    rules_saved: "The rules are saved and hold for the next message.", "Die Regeln sind gespeichert und gelten ab der nächsten Nachricht.";
    worker_added: "The worker is there. Give it a persona and what it should know.",
        "Der Mitarbeiter ist da. Geben Sie ihm eine Persona und was er wissen soll.";
    worker_removed: "The worker is gone. Its files stay on the box.", "Der Mitarbeiter ist weg. Seine Dateien bleiben auf der Box.";
}
