//! The last lines of the log, as they come.

use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use jiff::tz::TimeZone;
use maud::{Markup, html};
use tracing::Level;

use super::LOGS;
use super::answer::{self, Problem};
use super::layout::{self, Place};
use super::visit::Visit;
use super::words::words;
use crate::admin::Reached;
use crate::admin::logs::{Asked, look};
use crate::clock::Timestamp;
use crate::gateway::Gateway;
use crate::log::Line;

/// Lines of a page.
const LINES: usize = 200;

const LEVELS: [&str; 4] = ["error", "warn", "info", "debug"];

pub(super) async fn show(State(gateway): State<Gateway>, visit: Visit, Query(asked): Query<Asked>) -> Response {
    let reached = Reached::new(gateway, visit.who().clone());
    let lines = asked.filter().and_then(|filter| look(&reached, &filter, LINES));
    match lines {
        Ok(lines) => {
            let words = LogWords::of(visit.words);
            let content = view(words, &asked, &lines);
            answer::html(StatusCode::OK, layout::page(&visit, Place::Logs, words.logs, &content))
        }
        Err(error) => Problem::from(error).respond(&visit),
    }
}

fn view(words: &LogWords, asked: &Asked, lines: &[Arc<Line>]) -> Markup {
    let level = asked.level.as_deref().unwrap_or("");
    html! {
        h1 { (words.logs) }
        p class="muted" { (words.lead) }
        form class="filter" method="get" action=(LOGS) {
            div class="wide" {
                label for="words" { (words.search) }
                input id="words" name="words" type="search" value=(asked.words.as_deref().unwrap_or_default()) autocomplete="off";
            }
            div {
                label for="level" { (words.level) }
                select id="level" name="level" {
                    option value="" selected[level.is_empty()] { (words.all) }
                    @for one in LEVELS { option value=(one) selected[level == one] { (level_name(words, one)) } }
                }
            }
            button { (words.show) }
        }
        section class="card" {
            div data-refresh="3" {
                @if lines.is_empty() { (layout::empty(words.nothing, words.nothing_lead)) }
                @else {
                    div class="log" role="log" tabindex="0" aria-label=(words.logs) {
                        ol class="lines" { @for line in lines { (log_line(words, line)) } }
                    }
                }
            }
        }
    }
}

fn level_name(words: &LogWords, level: &str) -> &'static str {
    match level {
        "error" => words.errors,
        "warn" => words.warnings,
        "info" => words.infos,
        _ => words.debugs,
    }
}

fn log_line(words: &LogWords, line: &Line) -> Markup {
    let (kind, name) = match line.level {
        Level::ERROR => ("bad", words.error),
        Level::WARN => ("warn", words.warning),
        Level::INFO => ("", words.info),
        Level::DEBUG | Level::TRACE => ("", words.debug),
    };
    html! {
        li {
            span class="meta" { time datetime=(line.at) { (clock(line.at)) } " " span class={ "tag " (kind) } { (name) } " " (line.target) }
            span class="text" dir="auto" { (line.message) }
            @if !line.fields.is_empty() {
                span class="fields" { @for (name, value) in &line.fields { span { (name) "=" bdi { (value) } } " " } }
            }
        }
    }
}

/// The time of the day, on the clock of this machine, with the date.
fn clock(at: Timestamp) -> String {
    let time = i64::try_from(at.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    time.map(|time| time.to_zoned(TimeZone::system()).strftime("%Y-%m-%d %H:%M:%S").to_string()).unwrap_or_default()
}

words! {
    /// What the page of the log says.
    LogWords;
    lead: "What the program noted since it was started, newest last. Passwords and keys are not shown.",
        "Was das Programm seit dem Start vermerkt hat, Neuestes zuletzt. Passwörter und Schlüssel werden nicht gezeigt.";
    search: "Words", "Wörter";
    level: "How important", "Wie wichtig";
    all: "Everything", "Alles";
    errors: "Errors", "Fehler";
    warnings: "Warnings and errors", "Warnungen und Fehler";
    infos: "Without details", "Ohne Einzelheiten";
    debugs: "With details", "Mit Einzelheiten";
    error: "Error", "Fehler";
    warning: "Warning", "Warnung";
    info: "Note", "Hinweis";
    debug: "Detail", "Einzelheit";
    show: "Show", "Anzeigen";
    nothing: "Nothing was noted", "Nichts vermerkt";
    nothing_lead: "No line of the log is like this. That is usually good news.",
        "Keine Zeile des Protokolls ist so. Das ist meist eine gute Nachricht.";
}
