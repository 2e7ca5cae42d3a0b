//! The setup: six questions and a first conversation, one page each.
//!
//! What is answered is kept at once, so whoever leaves comes back to the next question. Nothing here knows what is valid:
//! the operations of the admin API say so.

mod forms;
mod sent;
mod words;

use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::answer::{self, Problem};
use super::layout;
use super::visit::Visit;
use super::words::fill;
use super::{HOME, SETUP, refused};
use crate::admin::alerts;
use crate::admin::operation::{Body, Name};
use crate::admin::setup::{self, SetupOver, SetupShown};
use crate::admin::{self, Reached, updates};
use crate::gateway::{Gateway, Question};
use sent::Sent;
use words::SetupWords;

/// The last page: talk to the worker.
const TRY: &str = "try";

#[derive(Debug, Deserialize)]
pub(super) struct Shown {
    done: Option<String>,
}

/// Goes on where somebody stopped.
pub(super) async fn begin(State(gateway): State<Gateway>, visit: Visit) -> Response {
    let reached = Reached::new(gateway, visit.who().clone());
    match setup::show(reached, ()).await {
        Ok(shown) => answer::done(&address(shown.next.unwrap_or(TRY))),
        Err(error) => Problem::from(error).respond(&visit),
    }
}

pub(super) async fn show(
    State(gateway): State<Gateway>,
    visit: Visit,
    Path(step): Path<String>,
    Query(shown): Query<Shown>,
) -> Response {
    let words = SetupWords::of(visit.words);
    let notice = match shown.done.as_deref() {
        Some("works") => Some(Notice::good(words.model_works)),
        Some("slow") => Some(Notice::good(words.verdict_slow)),
        Some("sent") => Some(Notice::good(words.alert_sent)),
        _ => None,
    };
    page(&gateway, &visit, &step, StatusCode::OK, notice, &Sent::default()).await
}

/// A line above a form.
#[derive(Debug, Clone)]
struct Notice {
    is_good: bool,
    text: String,
}

impl Notice {
    fn good(text: &str) -> Self {
        Self { is_good: true, text: text.to_owned() }
    }

    fn bad(text: impl Into<String>) -> Self {
        Self { is_good: false, text: text.into() }
    }
}

fn address(step: &str) -> String {
    format!("{SETUP}/{step}")
}

async fn page(
    gateway: &Gateway,
    visit: &Visit,
    step: &str,
    status: StatusCode,
    notice: Option<Notice>,
    sent: &Sent,
) -> Response {
    let reached = Reached::new(gateway.clone(), visit.who().clone());
    let known = Question::ALL.iter().position(|(word, _)| *word == step);
    let n_before = match known {
        Some(n) => n,
        None if step == TRY => Question::ALL.len(),
        None => return Problem::NotFound.respond(visit),
    };
    let has_updater = updates::known(&reached);
    let shown = match setup::show(reached, ()).await {
        Ok(shown) => shown,
        Err(error) => return Problem::from(error).respond(visit),
    };
    let words = SetupWords::of(visit.words);
    let question = Question::ALL.get(n_before).map(|(_, question)| *question);
    let has_updater = has_updater.is_ok_and(|known| known.is_set_up);
    let view = View { visit, words, shown: &shown, sent, has_updater };
    let (title, lead) = words.head(question);
    let count = fill(words.count, &[("n", &(n_before + 1).to_string()), ("of", &Question::ALL.len().to_string())]);
    let content = html! {
        (progress(&view, step))
        section class="card question" {
            div {
                @if question.is_some() { p class="muted small" { (count) } }
                h1 { (title) }
                p { (lead) }
            }
            @if let Some(notice) = &notice {
                @if notice.is_good { (layout::notice("good", &notice.text)) }
                @else { p class="notice bad" role="alert" id="problem" { (notice.text) } }
            }
            @match question {
                Some(question) => (forms::question(&view, question, before(n_before))),
                None => (forms::try_it(&view, before(n_before))),
            }
        }
        @if question.is_some() {
            form class="later" method="post" action=(address(step)) {
                (layout::csrf(visit))
                button class="quiet" name="do" value="later" { (words.later) }
            }
        }
    };
    answer::html(status, layout::alone(visit, title, &content))
}

/// What a page is made from.
struct View<'v> {
    visit: &'v Visit,
    words: &'static SetupWords,
    shown: &'v SetupShown,
    /// What was typed and not kept.
    sent: &'v Sent,
    /// Is there something that installs updates?
    has_updater: bool,
}

fn before(n: usize) -> Option<String> {
    let (word, _) = Question::ALL.get(n.checked_sub(1)?)?;
    Some(address(word))
}

/// Where one is, and the way to what was asked before.
fn progress(view: &View<'_>, step: &str) -> Markup {
    let words = view.words;
    let steps = Question::ALL.into_iter().map(|(word, question)| (word, words.name(Some(question))));
    let steps = steps.chain([(TRY, words.name(None))]);
    html! {
        nav class="progress" aria-label=(words.progress) {
            ol {
                @for (word, name) in steps {
                    @let is_asked = view.shown.asked.contains(&word);
                    li class=[is_asked.then_some("asked")] {
                        a href=(address(word)) aria-current=[(word == step).then_some("step")] {
                            span { (name) }
                            @if is_asked { span class="unseen" { " (" (words.asked) ")" } }
                        }
                    }
                }
            }
        }
    }
}

pub(super) async fn change(
    State(gateway): State<Gateway>,
    visit: Visit,
    Path(step): Path<String>,
    Form(sent): Form<Vec<(String, String)>>,
) -> Response {
    let sent = Sent::new(sent);
    if !visit.session.is_csrf(sent.text("csrf")) {
        return Problem::Stale.respond(&visit);
    }
    let reached = Reached::new(gateway.clone(), visit.who().clone());
    match obey(&reached, &visit, &step, &sent).await {
        Ok(Went::To(address)) => answer::done(&address),
        Ok(Went::Not(notice)) => {
            page(&gateway, &visit, &step, StatusCode::UNPROCESSABLE_ENTITY, Some(notice), &sent).await
        }
        Err(error @ admin::Error::Forbidden(_)) => Problem::from(error).respond(&visit),
        Err(error) => {
            let (status, text) = refused::said(&visit, error);
            page(&gateway, &visit, &step, status, Some(Notice::bad(text)), &sent).await
        }
    }
}

/// What came of an answer.
enum Went {
    To(String),
    /// It was not kept.
    Not(Notice),
}

async fn obey(reached: &Reached, visit: &Visit, step: &str, sent: &Sent) -> Result<Went, admin::Error> {
    let words = SetupWords::of(visit.words);
    let own = || reached.clone();
    let on = |next: Option<&str>| Went::To(address(next.unwrap_or(TRY)));
    match sent.text("do") {
        "skip" => {
            setup::skip(own(), Name(step.to_owned())).await?;
            return Ok(on(after(step)));
        }
        "later" | "finish" => {
            setup::over(own(), Body(SetupOver { over: true })).await?;
            return Ok(Went::To(HOME.to_owned()));
        }
        _ => {}
    }
    let question = Question::ALL.into_iter().find(|(word, _)| *word == step).map(|(_, question)| question);
    match question {
        Some(Question::Business) => {
            setup::business(own(), Body(sent.business())).await?;
        }
        Some(Question::Hours) => {
            let hours = match sent.hours() {
                Ok(hours) => hours,
                Err(sent::BadHours) => return Ok(Went::Not(Notice::bad(words.bad_hours))),
            };
            setup::hours(own(), Body(hours)).await?;
        }
        Some(Question::Model) => {
            let Some(answer) = sent.model() else { return Ok(Went::Not(Notice::bad(words.choose_model))) };
            let answered = setup::model(own(), Body(answer)).await?;
            return Ok(match answered.found {
                None => on(after(step)),
                Some(found) if answered.kept => Went::To(format!("{}?done={}", address(step), found.verdict)),
                Some(found) => Went::Not(Notice::bad(words.verdict(&found))),
            });
        }
        Some(Question::Channel) => {
            setup::channel(own(), Body(sent.channel())).await?;
        }
        Some(Question::Alerts) => {
            setup::alerts(own(), Body(sent.alerts())).await?;
            if sent.text("do") == "test" {
                let tested = alerts::test(own(), ()).await?;
                if tested.sent.is_empty() {
                    return Ok(Went::Not(Notice::bad(words.alert_nobody)));
                }
                let failed = tested.sent.into_iter().find(|sent| !sent.ok);
                return Ok(match failed {
                    Some(failed) => {
                        let why = failed.reason.unwrap_or_default();
                        Went::Not(Notice::bad(fill(words.alert_failed, &[("why", &why)])))
                    }
                    None => Went::To(format!("{}?done=sent", address(step))),
                });
            }
        }
        Some(Question::Updates) => {
            setup::updates(own(), Body(sent.updates())).await?;
        }
        None => return Err(admin::Error::NotFound("there is no such question".to_owned())),
    }
    Ok(on(after(step)))
}

/// The question behind this one.
fn after(step: &str) -> Option<&'static str> {
    let n = Question::ALL.iter().position(|(word, _)| *word == step)?;
    Question::ALL.get(n + 1).map(|(word, _)| *word)
}
