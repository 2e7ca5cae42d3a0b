//! Updates: which version runs, what there is, and what the owner wants of it. The updater is another program; here it is shown
//! and asked.

use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::UPDATES;
use super::answer::{self, Problem};
use super::format::{ago, bytes, time};
use super::layout::{self, Place};
use super::settings::Sent;
use super::visit::Visit;
use super::words::{fill, words};
use crate::account::{Reach, Role};
use crate::admin::{self, Reached, change, updates};
use crate::clock::Timestamp;
use crate::config::Change;
use crate::gateway::Gateway;
use crate::update::{
    Cause, Doing, Event, Installation, Known, Offered, Outcome, Progress, Severity, Version, Want, Why,
};

/// When updates are usual.
const USUAL_WINDOW: &str = "03:00-05:00";
/// An updater that is there has answered by then.
const PATIENCE_MS: u64 = 2 * 60 * 1000;

#[derive(Debug, Deserialize)]
pub(super) struct Shown {
    done: Option<String>,
}

pub(super) async fn show(State(gateway): State<Gateway>, visit: Visit, Query(shown): Query<Shown>) -> Response {
    let words = UpdateWords::of(visit.words);
    let done = shown.done.as_deref().and_then(|done| match done {
        "check" => Some(words.check_done),
        "install" => Some(words.install_done),
        "rollback" => Some(words.rollback_done),
        "saved" => Some(words.saved),
        _ => None,
    });
    match page(&gateway, &visit, done.map(|done| ("good", done.to_owned()))).await {
        Ok(content) => answer::html(StatusCode::OK, content),
        Err(problem) => problem.respond(&visit),
    }
}

/// To ask the updater is for whoever runs the gateway.
fn may_manage(visit: &Visit) -> bool {
    visit.who().role == Role::Admin && visit.who().reach == Reach::All
}

async fn page(gateway: &Gateway, visit: &Visit, notice: Option<(&str, String)>) -> Result<Markup, Problem> {
    let words = UpdateWords::of(visit.words);
    let reached = Reached::new(gateway.clone(), visit.who().clone());
    let known = updates::known(&reached)?;
    let now = gateway.now();
    let is_live = known.report.is_busy() || known.unanswered.is_some();
    let content = html! {
        h1 { (words.updates) }
        @if let Some((kind, text)) = &notice { (layout::notice(kind, text)) }
        div data-refresh=(if is_live { "2" } else { "30" }) {
            (state(words, visit, &known, now))
            @if known.is_set_up { (history(words, &known.report.outcomes)) }
        }
        @if may_manage(visit) { (settings(words, visit, gateway, change::base(&reached)?)) }
        (what_happens(words, &known))
    };
    Ok(layout::page(visit, Place::Updates, words.updates, &content))
}

fn state(words: &UpdateWords, visit: &Visit, known: &Known, now: Timestamp) -> Markup {
    let report = &known.report;
    html! {
        section class="card" {
            @if known.is_set_up {
                div role="status" { h2 { (sentence(words, &report.state)) } }
                @if let Doing::Downloading { have, of, .. } = report.state {
                    progress max=(of) value=(have) aria-label=(words.download) {}
                }
                @if let Doing::Failed { why, .. } = &report.state { (reason(words, why)) }
                @if let Doing::Trial { on_copy: true, .. } = report.state { p { (words.on_copy) } }
            } @else {
                (layout::empty(words.nobody, words.nobody_lead))
            }
            (asked(words, known, now))
            dl class="facts" {
                div { dt { (words.running) } dd { (env!("CARGO_PKG_VERSION")) } }
                @if let Some(since) = updates::since(known) {
                    div { dt { (words.since) } dd { time datetime=(since) { (time(words, since)) } } }
                }
                @if known.is_set_up {
                    div { dt { (words.looked) } dd {
                        @match &report.checked {
                            None => span class="muted" { (words.never) },
                            Some(checked) => {
                                @let at = Timestamp(checked.at_ms);
                                time datetime=(at) title=(time(words, at)) { (ago(words, at, now)) }
                                @if checked.problem.is_some() { " " span class="tag warn" { (words.in_vain) } }
                            }
                        }
                    } }
                }
                @if let Some(version) = report.way_back {
                    div { dt { (words.way_back) } dd { (version) } }
                }
            }
            @if let Some(offer) = report.offer.as_ref().filter(|_| known.is_set_up) { (offered(words, offer)) }
            @if known.is_set_up && may_manage(visit) { (buttons(words, visit, known)) }
            @if is_live(known) { noscript { p { a class="button quiet" href=(UPDATES) { (words.reload) } } } }
        }
    }
}

fn is_live(known: &Known) -> bool {
    known.report.is_busy() || known.unanswered.is_some()
}

/// What it does or waits for.
fn sentence(words: &UpdateWords, state: &Doing) -> String {
    let of = |template: &str, version: &Version| fill(template, &[("version", &version.to_string())]);
    match state {
        Doing::Unknown => words.unknown.to_owned(),
        Doing::UpToDate => words.up_to_date.to_owned(),
        Doing::Checking => words.checking.to_owned(),
        Doing::Available { version } => of(words.available, version),
        Doing::Later { version, from_ms } => {
            let at = time(words, Timestamp(*from_ms));
            fill(words.later, &[("version", &version.to_string()), ("at", &at)])
        }
        Doing::WaitingForWindow { version, window } => {
            fill(words.waiting, &[("version", &version.to_string()), ("window", window)])
        }
        Doing::Downloading { version, have, of } => {
            let (have, of) = (bytes(words, *have), bytes(words, *of));
            fill(words.downloading, &[("version", &version.to_string()), ("have", &have), ("of", &of)])
        }
        Doing::Installing { version } => of(words.installing, version),
        Doing::RestartPending { version } => of(words.restart_pending, version),
        Doing::Trial { version, from, .. } => {
            fill(words.trial, &[("version", &version.to_string()), ("from", &from.to_string())])
        }
        Doing::GoingBack { version } => of(words.going_back, version),
        Doing::Failed { version: Some(version), .. } => of(words.failed_version, version),
        Doing::Failed { version: None, .. } => words.failed_check.to_owned(),
        Doing::Other { said } => fill(words.other, &[("said", said)]),
    }
}

/// Why, in a sentence, and what the updater noted of it.
fn reason(words: &UpdateWords, why: &Why) -> Markup {
    html! {
        p { (cause(words, &why.code)) }
        @if !why.detail.is_empty() { p class="muted small" lang="en" dir="auto" { (why.detail) } }
    }
}

fn cause(words: &UpdateWords, cause: &Cause) -> String {
    let said = match cause {
        Cause::NotHealthy => words.not_healthy,
        Cause::DidNotStart | Cause::NotLoaded => words.did_not_start,
        Cause::NotThatProgram => words.not_that_program,
        Cause::Configuration => words.configuration,
        Cause::Migration => words.migration,
        Cause::Disk => words.disk_failed,
        Cause::NoRoom => words.no_room,
        Cause::Unreachable => words.unreachable,
        Cause::Refused => words.refused,
        Cause::Payload => words.payload,
        Cause::NothingForBoard => words.nothing_for_board,
        Cause::NoRepository => words.no_repository,
        Cause::NoRoot => words.no_root,
        Cause::NoService => words.no_service,
        Cause::NoSuchRelease => words.no_such_release,
        Cause::NoWayBack => words.no_way_back,
        Cause::StoreMovedOn => words.store_moved_on,
        Cause::TrialPending | Cause::Busy => words.busy,
        Cause::Package => words.package_brings,
        Cause::ByHand => words.by_hand,
        Cause::TooLate => words.too_late,
        Cause::Other(said) => return fill(words.other, &[("said", said)]),
    };
    said.to_owned()
}

/// What became of what was asked for, as long as it is news.
fn asked(words: &UpdateWords, known: &Known, now: Timestamp) -> Markup {
    let refused = known.report.request.as_ref().filter(|answer| answer.state == Progress::Refused);
    html! {
        @match (&known.unanswered, refused) {
            (Some(request), _) if now.since_ms(Timestamp(request.at_ms)) > PATIENCE_MS => {
                p class="notice bad" { (words.unanswered) " " code { "systemctl enable --now frontdesk-update.path frontdesk-update.timer" } }
            }
            (Some(_), _) => p class="notice" role="status" { (words.asked) },
            (None, Some(answer)) => {
                div class="notice bad" {
                    p { (match answer.want { Want::Check => words.check_refused, Want::Install => words.install_refused, Want::Rollback => words.rollback_refused }) }
                    @if let Some(why) = &answer.why { (reason(words, why)) }
                }
            }
            (None, None) => {}
        }
    }
}

fn offered(words: &UpdateWords, offer: &Offered) -> Markup {
    html! {
        section class="offer" {
            h3 { (fill(words.new_in, &[("version", &offer.version.to_string())])) }
            p {
                @if offer.severity == Severity::Security { span class="tag bad" { (words.security) } " " }
                span class="muted" { (fill(words.size, &[("bytes", &bytes(words, offer.bytes))])) }
            }
            @if offer.notes.is_empty() { p class="muted" { (words.no_notes) } }
            @else { p class="notes" dir="auto" { (offer.notes) } }
        }
    }
}

fn buttons(words: &UpdateWords, visit: &Visit, known: &Known) -> Markup {
    let report = &known.report;
    let is_package = report.installation == Installation::Package;
    let (may_install, is_busy) = (report.offer.as_ref().filter(|_| !is_package), report.is_busy());
    html! {
        div class="buttons" {
            @if let Some(offer) = may_install {
                form method="post" action=(format!("{UPDATES}/install")) {
                    (layout::csrf(visit))
                    input type="hidden" name="version" value=(offer.version);
                    button class="primary" disabled[is_busy] { (fill(words.install, &[("version", &offer.version.to_string())])) }
                }
            }
            form method="post" action=(format!("{UPDATES}/check")) {
                (layout::csrf(visit))
                button disabled[is_busy] { (words.check) }
            }
        }
        @if let Some(version) = report.way_back.filter(|_| !is_package) {
            details {
                summary { (fill(words.go_back, &[("version", &version.to_string())])) }
                p { (words.go_back_lead) }
                form method="post" action=(format!("{UPDATES}/rollback")) {
                    (layout::csrf(visit))
                    label { input type="checkbox" name="sure" value="yes" required; " " (words.go_back_sure) }
                    button class="danger" disabled[is_busy] { (fill(words.go_back, &[("version", &version.to_string())])) }
                }
            }
        }
    }
}

fn history(words: &UpdateWords, outcomes: &[Outcome]) -> Markup {
    html! {
        section class="card" {
            h2 { (words.history) }
            @if outcomes.is_empty() { p class="muted" { (words.no_history) } } @else {
                ul class="history" {
                    @for outcome in outcomes {
                        li {
                            time datetime=(Timestamp(outcome.at_ms)) { (time(words, Timestamp(outcome.at_ms))) }
                            " " (event(words, &outcome.event))
                        }
                    }
                }
            }
        }
    }
}

fn event(words: &UpdateWords, event: &Event) -> Markup {
    let of = |template: &str, from: &Version, to: &Version| {
        fill(template, &[("from", &from.to_string()), ("to", &to.to_string())])
    };
    let to = |template: &str, to: &Version| fill(template, &[("to", &to.to_string())]);
    html! {
        @match event {
            Event::Installed { from, to } => { span class="tag good" { (words.went_well) } " " (of(words.installed, from, to)) }
            Event::FellBack { from, to, why } => {
                span class="tag bad" { (words.went_wrong) } " " (of(words.fell_back, from, to)) " " (cause(words, &why.code))
                @if !why.detail.is_empty() { " " span class="muted small" lang="en" dir="auto" { (why.detail) } }
            }
            Event::Interrupted { to: version } => (to(words.interrupted, version)),
            Event::NotInstalled { to: version, why } => {
                span class="tag bad" { (words.went_wrong) } " " (to(words.not_installed, version)) " " (cause(words, &why.code))
                @if !why.detail.is_empty() { " " span class="muted small" lang="en" dir="auto" { (why.detail) } }
            }
            Event::WentBack { from, to } => (of(words.went_back, from, to)),
            Event::Other { said } => (fill(words.other, &[("said", said)])),
        }
    }
}

fn settings(words: &UpdateWords, visit: &Visit, gateway: &Gateway, base: Option<String>) -> Markup {
    let (is_auto, window) = gateway.settings(|settings| (settings.updates.auto, settings.updates.window));
    let window =
        window.map_or_else(|| if is_auto { String::new() } else { USUAL_WINDOW.to_owned() }, |w| w.to_string());
    html! {
        section class="card" {
            h2 { (words.settings_of) }
            form method="post" action=(format!("{UPDATES}/save")) {
                (layout::csrf(visit))
                input type="hidden" name="base" value=[base];
                fieldset {
                    legend class="unseen" { (words.settings_of) }
                    label class="choice" {
                        input type="radio" name="auto" value="yes" checked[is_auto];
                        span { strong { (words.auto_yes) } span class="hint" { (words.auto_yes_lead) } }
                    }
                    label class="choice" {
                        input type="radio" name="auto" value="no" checked[!is_auto];
                        span { strong { (words.auto_no) } span class="hint" { (words.auto_no_lead) } }
                    }
                }
                label for="window" { (words.window) }
                input id="window" name="window" value=(window) autocomplete="off" aria-describedby="window-hint";
                p class="hint" id="window-hint" { (words.window_hint) }
                button class="primary" { (words.save) }
            }
        }
    }
}

fn what_happens(words: &UpdateWords, known: &Known) -> Markup {
    let how = match known.report.installation {
        _ if !known.is_set_up => words.how_none,
        Installation::SdBoot | Installation::Uboot => words.how_slots,
        Installation::Program => words.how_program,
        Installation::Package => words.how_package,
        Installation::Other(_) => words.how_other,
    };
    html! {
        section class="card" {
            h2 { (words.what_happens) }
            @if known.is_set_up && known.report.installation != Installation::Package {
                ol class="steps" {
                    li { (words.step_load) }
                    li { (words.step_put) }
                    li { (words.step_try) }
                    li { (words.step_keep) }
                }
            }
            p { (how) }
            @if !known.is_set_up {
                pre class="code" tabindex="0" { "systemctl enable --now frontdesk-update.path frontdesk-update.timer" }
                p class="hint" { (words.how_else) " " code { "frontdesk update run" } }
            }
        }
    }
}

/// The line on the first page.
pub(super) fn line(words: &super::words::Words, known: &Known) -> Markup {
    let words = UpdateWords::of(words);
    let report = &known.report;
    let is_hole = report.offer.as_ref().is_some_and(|offer| offer.severity == Severity::Security);
    html! {
        div { dt { (words.updates) } dd {
            a href=(UPDATES) {
                @match &report.state {
                    _ if !known.is_set_up => (words.nobody),
                    Doing::Available { .. } if is_hole => span class="tag bad" { (sentence(words, &report.state)) },
                    Doing::Failed { .. } => span class="tag warn" { (sentence(words, &report.state)) },
                    state => (sentence(words, state)),
                }
            }
        } }
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
        Ok(done) => answer::done(&format!("{UPDATES}?done={done}")),
        // As things are it cannot be done: the page says how they are.
        Err(Problem::Refused(admin::Error::Conflict(_))) => {
            let why = UpdateWords::of(visit.words).not_now.to_owned();
            match page(&gateway, &visit, Some(("bad", why))).await {
                Ok(content) => answer::html(StatusCode::CONFLICT, content),
                Err(problem) => problem.respond(&visit),
            }
        }
        Err(Problem::Said(status, why)) => match page(&gateway, &visit, Some(("bad", why))).await {
            Ok(content) => answer::html(status, content),
            Err(problem) => problem.respond(&visit),
        },
        Err(problem) => problem.respond(&visit),
    }
}

async fn obey(gateway: &Gateway, visit: &Visit, action: &str, sent: &Sent) -> Result<&'static str, Problem> {
    let reached = Reached::new(gateway.clone(), visit.who().clone());
    match action {
        "check" => {
            updates::check(reached, ()).await?;
            Ok("check")
        }
        "install" => {
            let version = sent.get("version").and_then(|version| version.parse().ok()).ok_or(Problem::NotFound)?;
            updates::install_version(reached, version).await?;
            Ok("install")
        }
        "rollback" if sent.get("sure") == Some("yes") => {
            updates::rollback(reached, ()).await?;
            Ok("rollback")
        }
        "save" => save(&reached, visit, sent).await,
        _ => Err(Problem::NotFound),
    }
}

async fn save(reached: &Reached, visit: &Visit, sent: &Sent) -> Result<&'static str, Problem> {
    let is_auto = sent.get("auto").ok_or(Problem::NotFound)? == "yes";
    let window = sent.get("window").map(str::trim).filter(|window| !window.is_empty());
    let changes = [
        Change::set("updates.auto", is_auto),
        match window {
            Some(window) => Change::set("updates.window", window),
            None => Change::remove("updates.window"),
        },
    ];
    match change::change(reached, sent.base(), &changes).await {
        Ok(_reloaded) => Ok("saved"),
        Err(admin::Error::Refused(StatusCode::UNPROCESSABLE_ENTITY, _)) => {
            let why = UpdateWords::of(visit.words).wrong_window.to_owned();
            Err(Problem::Said(StatusCode::UNPROCESSABLE_ENTITY, why))
        }
        Err(error) => Err(error.into()),
    }
}

words! {
    /// What the page of updates says.
    UpdateWords;
    unknown: "Nobody has looked for a newer version yet.", "Noch hat niemand nach einer neueren Version gesehen.";
    up_to_date: "This is the newest version for this box.", "Das ist die neueste Version für diese Box.";
    checking: "Looking for a newer version …", "Es wird nach einer neueren Version gesehen …";
    available: "Version {version} is there.", "Version {version} ist da.";
    later: "Version {version} is handed out step by step. It is this box's turn on {at}.",
        "Version {version} wird nach und nach verteilt. Diese Box ist am {at} an der Reihe.";
    waiting: "Version {version} is there and is installed between {window}.",
        "Version {version} ist da und wird in der Zeit {window} installiert.";
    downloading: "Version {version} is being downloaded: {have} of {of}.", "Version {version} wird geladen: {have} von {of}.";
    download: "Download", "Herunterladen";
    installing: "Version {version} is being put in place.", "Version {version} wird eingespielt.";
    restart_pending: "Version {version} is in place and starts with the next restart.",
        "Version {version} ist eingespielt und startet beim nächsten Neustart.";
    trial: "Version {version} is being tried. If it is not healthy, {from} comes back by itself.",
        "Version {version} wird erprobt. Läuft sie nicht einwandfrei, kommt {from} von selbst zurück.";
    on_copy: "Until it is kept it works on a copy, and no messages are taken. That is over in a moment.",
        "Bis sie behalten wird, arbeitet sie mit einer Kopie, und es werden keine Nachrichten angenommen. Das ist gleich vorbei.";
    going_back: "Version {version} is being brought back.", "Version {version} wird zurückgeholt.";
    failed_version: "Version {version} could not be installed. It is tried again by itself.",
        "Version {version} ließ sich nicht installieren. Es wird von selbst wieder versucht.";
    failed_check: "Whether there is a newer version is not known. It is tried again by itself.",
        "Ob es eine neuere Version gibt, ist nicht bekannt. Es wird von selbst wieder versucht.";
    other: "The updater says: {said}", "Das Update-Programm meldet: {said}";
    nobody: "Nothing looks for updates here", "Hier sucht nichts nach Updates";
    nobody_lead: "No updater is set up on this machine, so this version stays until somebody installs another one. Below is how to change that.",
        "Auf diesem Gerät ist kein Update-Programm eingerichtet. Diese Version bleibt, bis jemand eine andere installiert. Unten steht, wie sich das ändern lässt.";
    running: "Running now", "Läuft jetzt";
    since: "Since", "Seit";
    looked: "Last look for updates", "Zuletzt nach Updates gesehen";
    never: "Never", "Noch nie";
    in_vain: "It did not work", "Es hat nicht geklappt";
    way_back: "Version before", "Version davor";
    reload: "Look again", "Erneut ansehen";
    asked: "The updater was asked. It answers within a minute.", "Das Update-Programm ist beauftragt. Es antwortet innerhalb einer Minute.";
    unanswered: "The updater has not answered. Whoever looks after this machine can start it with",
        "Das Update-Programm antwortet nicht. Wer das Gerät betreut, startet es mit";
    check_refused: "It could not be looked for updates.", "Es konnte nicht nach Updates gesehen werden.";
    install_refused: "The update was not installed.", "Das Update wurde nicht installiert.";
    rollback_refused: "The previous version was not brought back.", "Die vorige Version wurde nicht zurückgeholt.";
    new_in: "New in {version}", "Neu in {version}";
    security: "Closes a security hole", "Schließt eine Sicherheitslücke";
    size: "{bytes} to download", "{bytes} zu laden";
    no_notes: "The release says nothing about it.", "Zu dieser Version ist nichts weiter vermerkt.";
    install: "Install {version} now", "{version} jetzt installieren";
    check: "Look for updates now", "Jetzt nach Updates sehen";
    go_back: "Go back to {version}", "Zurück zu {version}";
    go_back_lead: "For when something does not work since the last update. Conversations stay. The page is away for about a minute.",
        "Falls seit dem letzten Update etwas nicht geht. Gespräche bleiben erhalten. Die Seite ist etwa eine Minute lang nicht da.";
    go_back_sure: "Yes, go back", "Ja, zurück";
    check_done: "The updater was asked to look.", "Das Update-Programm sieht nach.";
    install_done: "The updater was asked to install it. You may leave this page.",
        "Das Update-Programm ist beauftragt. Sie können diese Seite verlassen.";
    rollback_done: "The updater was asked to bring the previous version back.", "Das Update-Programm holt die vorige Version zurück.";
    saved: "Saved.", "Gespeichert.";
    not_now: "That cannot be done as things are. Below is how they are.", "Das geht gerade nicht. Unten steht, wie es aussieht.";
    wrong_window: "Write the time like 03:00-05:00. It ends on the same day.", "Schreiben Sie die Zeit wie 03:00-05:00. Sie endet am selben Tag.";
    history: "What was done", "Was geschehen ist";
    no_history: "No update yet.", "Noch kein Update.";
    went_well: "Installed", "Installiert";
    went_wrong: "Not installed", "Nicht installiert";
    installed: "Version {to} took the place of {from}.", "Version {to} hat {from} abgelöst.";
    fell_back: "Version {to} was tried and given up; {from} runs.", "Version {to} wurde erprobt und verworfen; {from} läuft.";
    interrupted: "The update to {to} was cut off and begins anew by itself.", "Das Update auf {to} wurde unterbrochen und beginnt von selbst neu.";
    not_installed: "Version {to} was not installed.", "Version {to} wurde nicht installiert.";
    went_back: "Somebody brought {to} back, in place of {from}.", "Jemand hat {to} zurückgeholt, anstelle von {from}.";
    not_healthy: "It did not work as it should after it was started.", "Sie hat nach dem Start nicht einwandfrei gearbeitet.";
    did_not_start: "It did not start.", "Sie ist nicht gestartet.";
    not_that_program: "It does not run on this machine.", "Sie läuft auf diesem Gerät nicht.";
    configuration: "It does not take the settings as they are.", "Sie kommt mit den Einstellungen, wie sie sind, nicht zurecht.";
    migration: "It could not take over what is stored.", "Sie konnte nicht übernehmen, was gespeichert ist.";
    disk_failed: "The disk failed. Have it looked at.", "Der Datenträger hat versagt. Lassen Sie ihn prüfen.";
    no_room: "There is not enough room on the disk. Make some.", "Auf dem Datenträger ist zu wenig Platz. Schaffen Sie welchen.";
    unreachable: "The place where updates come from cannot be reached. Is the internet there?",
        "Die Quelle der Updates ist nicht erreichbar. Ist das Internet da?";
    refused: "What came is not signed as it must be, so none of it was used.",
        "Was ankam, ist nicht so unterschrieben, wie es sein muss; nichts davon wurde benutzt.";
    payload: "What was downloaded is not what was signed, so it was thrown away.",
        "Was geladen wurde, ist nicht, was unterschrieben wurde; es wurde verworfen.";
    nothing_for_board: "There are no updates for this kind of device.", "Für diese Art von Gerät gibt es keine Updates.";
    no_repository: "Nobody has set where updates come from: updates.repository in the settings.",
        "Niemand hat eingestellt, woher Updates kommen: updates.repository in den Einstellungen.";
    no_root: "Nobody has set whose updates are trusted: see docs/releases.md.",
        "Niemand hat eingestellt, wessen Updates vertraut wird: siehe docs/releases.md.";
    no_service: "Nobody has set how Frontdesk is restarted here.", "Niemand hat eingestellt, wie Frontdesk hier neu gestartet wird.";
    no_such_release: "That version is not there for this box any more, or not yet.",
        "Diese Version gibt es für diese Box nicht mehr oder noch nicht.";
    no_way_back: "There is no version before this one any more.", "Eine Version davor gibt es nicht mehr.";
    store_moved_on: "What is stored has a newer shape by now, which that version cannot read.",
        "Was gespeichert ist, hat inzwischen eine neuere Form, die jene Version nicht lesen kann.";
    busy: "Another update is under way.", "Ein anderes Update läuft noch.";
    package_brings: "The packages of the system bring new versions.", "Neue Versionen kommen mit den Paketen des Systems.";
    by_hand: "Somebody wanted it so.", "Jemand wollte es so.";
    too_late: "It was asked for long ago.", "Es wurde vor langer Zeit verlangt.";
    settings_of: "When updates are installed", "Wann Updates installiert werden";
    auto_yes: "By themselves", "Von selbst";
    auto_yes_lead: "Without asking, in the time below.", "Ohne Rückfrage, in der Zeit unten.";
    auto_no: "When I say so", "Wenn ich es sage";
    auto_no_lead: "You are told when one closes a security hole.", "Schließt eines eine Sicherheitslücke, erfahren Sie es.";
    window: "Between", "Zwischen";
    window_hint: "Like 03:00-05:00, on the clock of your business. Empty: at any time.",
        "Wie 03:00-05:00, nach der Uhr Ihres Unternehmens. Leer: jederzeit.";
    save: "Save", "Speichern";
    what_happens: "What happens during an update", "Was bei einem Update geschieht";
    step_load: "The new version is downloaded while everything goes on. It is used only if it is signed by whom this box trusts.",
        "Die neue Version wird geladen, während alles weiterläuft. Benutzt wird sie nur, wenn sie von denen unterschrieben ist, denen diese Box vertraut.";
    step_put: "It is put beside the one that runs, and that one stays.", "Sie wird neben die laufende gelegt, und die bleibt.";
    step_try: "Frontdesk is restarted. For about a minute nothing is answered; what people write waits and is answered then.",
        "Frontdesk startet neu. Etwa eine Minute lang wird nicht geantwortet; was geschrieben wird, wartet und wird danach beantwortet.";
    step_keep: "The new version checks itself. If something is wrong, the one from before comes back by itself, and you are told.",
        "Die neue Version prüft sich selbst. Stimmt etwas nicht, kommt die vorige von selbst zurück, und Sie erfahren es.";
    how_slots: "On this box the whole system is updated, in two places that take turns. A power cut in the middle does no harm.",
        "Auf dieser Box wird das ganze System erneuert, in zwei Bereichen, die sich abwechseln. Ein Stromausfall mittendrin schadet nicht.";
    how_program: "On this machine only Frontdesk itself is updated; the system around it is yours to keep up to date.",
        "Auf diesem Gerät wird nur Frontdesk selbst erneuert; das System darum herum halten Sie aktuell.";
    how_package: "Frontdesk was installed as a package of the system. New versions come with the updates of the system, and not from here.",
        "Frontdesk ist als Paket des Systems installiert. Neue Versionen kommen mit den Updates des Systems und nicht von hier.";
    how_other: "How this box is updated only a newer version of Frontdesk can say.",
        "Wie diese Box erneuert wird, kann nur eine neuere Version von Frontdesk sagen.";
    how_none: "With the units of Frontdesk, this sets the updater up:", "Mit den Diensten von Frontdesk richtet dies das Update-Programm ein:";
    how_else: "Without them, run this once a day, as the owner of the program:", "Ohne sie lassen Sie dies einmal am Tag laufen, als Besitzer des Programms:";
}
