//! Backups: how they go, those there are, and what it takes to come back from one.

use axum::Form;
use axum::extract::{Path, Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::answer::{self, Problem};
use super::format::{ago, bytes, number, time};
use super::layout::{self, Place};
use super::visit::Visit;
use super::words::{fill, words};
use super::{BACKUPS, query, refused};
use crate::account::{Reach, Role};
use crate::admin::{Body, Error, Reached, backup, factory_reset};
use crate::backup::Schedule;
use crate::clock::Timestamp;
use crate::gateway::{BackupKey, BackupStatus, Gateway, KeptBackup};

/// Backups that the page lists.
const ROWS: usize = 100;
/// Where the schedule is set.
const SETTINGS: &str = "/admin/settings#backup";

#[derive(Debug, Deserialize)]
pub(super) struct Shown {
    /// What was just done.
    done: Option<String>,
}

/// Backups are the gateway's, and hold what all tenants have.
fn may_see(visit: &Visit) -> bool {
    visit.who().role == Role::Admin && visit.who().reach == Reach::All
}

pub(super) async fn show(State(gateway): State<Gateway>, visit: Visit, Query(shown): Query<Shown>) -> Response {
    let done = shown.done.as_deref().and_then(|done| done_words(BackupsWords::of(visit.words), done));
    page(&gateway, &visit, StatusCode::OK, done.map(|done| ("good", done.to_owned()))).await
}

async fn page(gateway: &Gateway, visit: &Visit, status: StatusCode, notice: Option<(&str, String)>) -> Response {
    if !may_see(visit) {
        return Problem::NotAllowed.respond(visit);
    }
    let words = BackupsWords::of(visit.words);
    let reached = Reached::new(gateway.clone(), visit.who().clone());
    let how = gateway.backup_status();
    let kept = match how.to {
        Some(_) => Some(backup::kept(&reached).await.map_err(|error| refused::said(visit, error).1)),
        None => None,
    };
    let content = html! {
        h1 { (words.backups) }
        @if let Some((kind, text)) = &notice { (layout::notice(kind, text)) }
        div data-refresh=(if how.is_running || how.is_checking { "2" } else { "15" }) {
            (state(words, &how, gateway.now()))
            (list(words, visit, &how, kept.as_ref(), gateway.now()))
        }
        (now(words, visit, &how))
        (passphrase(words, visit, &how))
        (back(words, &how))
        @if gateway.is_appliance() { (start_over(words, visit)) }
    };
    answer::html(status, layout::page(visit, Place::Backups, words.backups, &content))
}

fn done_words(words: &BackupsWords, done: &str) -> Option<&'static str> {
    match done {
        "now" => Some(words.now_done),
        "check" => Some(words.check_done),
        "passphrase" => Some(words.passphrase_done),
        "reset" => Some(words.reset_done),
        _ => None,
    }
}

fn moment(words: &BackupsWords, at: Timestamp, now: Timestamp) -> Markup {
    html! { time datetime=(at) title=(time(words, at)) { (ago(words, at, now)) } }
}

fn state(words: &BackupsWords, how: &BackupStatus, now: Timestamp) -> Markup {
    html! {
        section class="card" {
            h2 { (words.how) }
            dl class="facts" {
                div { dt { (words.last) } dd {
                    @match &how.last {
                        Some(last) => {
                            (moment(words, Timestamp(last.at_ms), now)) " · " (bytes(words, last.n_bytes))
                        }
                        None => span class="muted" { (words.never) },
                    }
                } }
                @if let Some(failed) = &how.failed {
                    div { dt { (words.failed) } dd {
                        span class="tag bad" { (moment(words, Timestamp(failed.at_ms), now)) } " " (failed.reason)
                    } }
                }
                @if how.is_running {
                    div { dt { (words.running) } dd role="status" {
                        @if let Some((rows, n_bytes)) = how.progress {
                            (fill(words.progress, &[("rows", &number(words, rows)), ("bytes", &bytes(words, n_bytes))]))
                        }
                    } }
                }
                div { dt { (words.plan) } dd {
                    (plan(words, how)) " " a href=(SETTINGS) { (words.change_plan) }
                } }
                div { dt { (words.place) } dd { @match &how.to {
                    Some(to) => span class="key" { (to) },
                    None => span class="muted" { (words.no_place) },
                } } }
            }
            @if how.is_beside_store { p class="notice bad" { (words.beside) } }
            @if how.schedule.is_none() { p class="notice bad" { (words.no_plan) } }
        }
    }
}

fn plan(words: &BackupsWords, how: &BackupStatus) -> String {
    match how.schedule {
        None => words.by_hand.to_owned(),
        Some(Schedule::EveryHours(hours)) => fill(words.every_hours, &[("n", &hours.to_string())]),
        Some(Schedule::DailyAt(at)) => fill(words.daily, &[("at", &at.strftime("%H:%M").to_string())]),
    }
}

fn list(
    words: &BackupsWords,
    visit: &Visit,
    how: &BackupStatus,
    kept: Option<&Result<Vec<KeptBackup>, String>>,
    now: Timestamp,
) -> Markup {
    html! {
        section class="card" {
            h2 { (words.those) }
            @match kept {
                None => p class="muted" { (words.no_place) },
                Some(Err(why)) => p class="notice bad" { (why) },
                Some(Ok(kept)) if kept.is_empty() => (layout::empty(words.none_yet, words.none_yet_lead)),
                Some(Ok(kept)) => (table(words, visit, how, kept, now)),
            }
        }
    }
}

fn table(words: &BackupsWords, visit: &Visit, how: &BackupStatus, kept: &[KeptBackup], now: Timestamp) -> Markup {
    html! {
        div class="scroll" tabindex="0" role="group" aria-label=(words.those) {
            table {
                thead { tr {
                    th scope="col" { (words.made) }
                    th scope="col" { (words.size) }
                    th scope="col" { (words.kind) }
                    th scope="col" { (words.checked) }
                    th { span class="unseen" { (words.do_something) } }
                } }
                tbody {
                    @for one in kept.iter().take(ROWS) {
                        tr {
                            th scope="row" {
                                @match one.at { Some(at) => (moment(words, at, now)), None => (one.name) }
                                @if !one.is_own { " " span class="muted" { (words.other_box) } }
                            }
                            td { (bytes(words, one.n_bytes)) }
                            td {
                                @match (one.is_incremental, &one.needs) {
                                    (false, _) => (words.full),
                                    (true, Some(_)) => (words.incremental),
                                    (true, None) => span class="tag bad" { (words.needs_gone) },
                                }
                            }
                            td { (checked(words, one, now)) }
                            td {
                                form class="inline" method="post" action=(format!("{BACKUPS}/check")) {
                                    (layout::csrf(visit))
                                    input type="hidden" name="name" value=(one.name);
                                    button class="quiet" disabled[how.is_checking || !matches!(how.key, BackupKey::Passphrase { .. })]
                                        aria-label=(format!("{}: {}", words.check, one.name)) { (words.check) }
                                    a class="button quiet" download href=(format!("/api/v1/backup/file?name={}", query(&one.name)))
                                        aria-label=(format!("{}: {}", words.download, one.name)) { (words.download) }
                                }
                            }
                        }
                    }
                }
            }
        }
        p class="muted small" {
            @if how.is_checking { span role="status" { (words.checking) } " " }
            (words.download_hint)
        }
    }
}

fn checked(words: &BackupsWords, one: &KeptBackup, now: Timestamp) -> Markup {
    html! {
        @match &one.checked {
            None => span class="muted" { (words.unchecked) },
            Some(checked) => {
                @match (&checked.problem, checked.is_opened) {
                    (Some(problem), _) => { span class="tag bad" { (words.broken) } " " (problem) }
                    (None, true) => { span class="tag good" { (words.whole) } " " (moment(words, Timestamp(checked.at_ms), now)) }
                    (None, false) => { (words.read_back) }
                }
            }
        }
    }
}

fn now(words: &BackupsWords, visit: &Visit, how: &BackupStatus) -> Markup {
    let can = how.to.is_some() && how.key != BackupKey::None;
    html! {
        @if can {
            form class="inline" method="post" action=(format!("{BACKUPS}/now")) {
                (layout::csrf(visit))
                button class="primary" { (words.back_up_now) }
            }
        }
    }
}

/// Whether somebody could open them when the box is gone.
fn passphrase(words: &BackupsWords, visit: &Visit, how: &BackupStatus) -> Markup {
    html! {
        section class="card" {
            h2 { (words.key_title) }
            @match how.key {
                BackupKey::None => p class="notice bad" { (words.key_none) },
                BackupKey::Recipients => p { (words.key_recipients) },
                BackupKey::Passphrase { proven_at } => {
                    @match proven_at {
                        Some(at) => p { span class="tag good" { (words.known) } " " (fill(words.known_since, &[("at", &time(words, at))])) },
                        None => p class="notice bad" { (words.key_unknown) },
                    }
                    form method="post" action=(format!("{BACKUPS}/passphrase")) {
                        (layout::csrf(visit))
                        label for="passphrase" { (words.passphrase) }
                        input id="passphrase" name="passphrase" type="password" required autocomplete="off" aria-describedby="passphrase-hint";
                        p class="hint" id="passphrase-hint" { (words.passphrase_hint) }
                        button { (words.prove) }
                    }
                }
            }
        }
    }
}

/// In plain words, with the command.
fn back(words: &BackupsWords, how: &BackupStatus) -> Markup {
    let key = if how.key == BackupKey::Recipients { " --identity FILE" } else { "" };
    html! {
        section class="card" {
            h2 { (words.restore_title) }
            p { (words.restore_lead) }
            ol class="steps" {
                li { (words.restore_stop) }
                li { (words.restore_run) pre tabindex="0" { code { "frontdesk backup restore FILE" (key) " --replace" } } }
                li { (words.restore_start) }
            }
            p class="muted small" { (words.restore_incremental) }
        }
    }
}

/// Behind the backups, as one should be made before.
fn start_over(words: &BackupsWords, visit: &Visit) -> Markup {
    html! {
        section class="card" {
            h2 { (words.reset_title) }
            p { (words.reset_lead) }
            details {
                summary { (words.reset_open) }
                form method="post" action=(format!("{BACKUPS}/reset")) {
                    (layout::csrf(visit))
                    input type="hidden" name="name" value=(visit.who().name) autocomplete="username";
                    p { label {
                        input type="checkbox" name="sure" value="yes" required;
                        " " (words.reset_sure)
                    } }
                    label for="reset-password" { (words.reset_password) }
                    input id="reset-password" name="password" type="password" required autocomplete="current-password";
                    button class="danger" { (words.reset_now) }
                }
            }
        }
    }
}

/// Not to be printed.
#[derive(Deserialize)]
pub(super) struct Order {
    csrf: String,
    sure: Option<String>,
    password: Option<String>,
    name: Option<String>,
    passphrase: Option<String>,
}

pub(super) async fn change(
    State(gateway): State<Gateway>,
    visit: Visit,
    Path(action): Path<String>,
    Form(order): Form<Order>,
) -> Response {
    match obey(&gateway, &visit, &action, order).await {
        Ok(done) => answer::done(&format!("{BACKUPS}?done={done}")),
        Err(Problem::Refused(error)) => {
            let (status, text) = refused::said(&visit, error);
            page(&gateway, &visit, status, Some(("bad", text))).await
        }
        Err(Problem::Said(status, text)) => page(&gateway, &visit, status, Some(("bad", text))).await,
        Err(problem) => problem.respond(&visit),
    }
}

async fn obey(gateway: &Gateway, visit: &Visit, action: &str, order: Order) -> Result<&'static str, Problem> {
    if !visit.session.is_csrf(&order.csrf) {
        return Err(Problem::Stale);
    }
    if !may_see(visit) {
        return Err(Problem::NotAllowed);
    }
    let reached = Reached::new(gateway.clone(), visit.who().clone());
    match action {
        "now" => {
            // It goes on by itself; the page shows how far it is.
            drop(backup::begin(&reached)?);
            Ok("now")
        }
        "check" => {
            drop(backup::begin_check(&reached, &order.name.unwrap_or_default())?);
            Ok("check")
        }
        "passphrase" => {
            if !backup::is_passphrase(&reached, order.passphrase.unwrap_or_default())? {
                let wrong = BackupsWords::of(visit.words).passphrase_wrong;
                return Err(Problem::Said(StatusCode::BAD_REQUEST, wrong.to_owned()));
            }
            Ok("passphrase")
        }
        "reset" => {
            if order.sure.as_deref() != Some("yes") {
                let unsure = BackupsWords::of(visit.words).reset_unsure;
                return Err(Problem::Said(StatusCode::BAD_REQUEST, unsure.to_owned()));
            }
            let order = Body(factory_reset::ResetOrder { password: order.password });
            match factory_reset::order(reached, order).await {
                Ok(_) => Ok("reset"),
                Err(Error::Forbidden(_)) => {
                    let wrong = BackupsWords::of(visit.words).reset_wrong;
                    Err(Problem::Said(StatusCode::FORBIDDEN, wrong.to_owned()))
                }
                Err(error) => Err(error.into()),
            }
        }
        _ => Err(Problem::NotFound),
    }
}

words! {
    /// What the page of backups says.
    BackupsWords;
    how: "How they go", "Wie es läuft";
    last: "Last one", "Letzte";
    never: "None yet", "Noch keine";
    failed: "Failed", "Fehlgeschlagen";
    running: "Being made now", "Wird gerade erstellt";
    progress: "{rows} records, {bytes} written", "{rows} Einträge, {bytes} geschrieben";
    plan: "When", "Wann";
    change_plan: "Change", "Ändern";
    by_hand: "Only when somebody asks for one.", "Nur auf Anforderung.";
    every_hours: "Every {n} hours.", "Alle {n} Stunden.";
    daily: "Every day at {at}.", "Jeden Tag um {at}.";
    place: "Where", "Wohin";
    no_place: "No place is set yet.", "Noch kein Ort eingestellt.";
    beside: "Backups lie on the same disk as the conversations. A dead disk takes both: choose another place.",
        "Die Sicherungen liegen auf demselben Datenträger wie die Gespräche. Fällt er aus, ist beides weg: Wählen Sie einen anderen Ort.";
    no_plan: "No backup is made by itself. Set a time, so that nobody has to think of it.",
        "Es wird keine Sicherung von selbst erstellt. Stellen Sie eine Zeit ein, damit niemand daran denken muss.";
    those: "The backups", "Die Sicherungen";
    none_yet: "No backup yet", "Noch keine Sicherung";
    none_yet_lead: "The first one shows up here as soon as it is made.", "Die erste erscheint hier, sobald sie erstellt ist.";
    made: "Made", "Erstellt";
    size: "Size", "Größe";
    kind: "Kind", "Art";
    checked: "Checked", "Geprüft";
    do_something: "Check or download", "Prüfen oder herunterladen";
    other_box: "of another box", "von einer anderen Box";
    full: "Complete", "Vollständig";
    incremental: "Changes since the complete one", "Änderungen seit der vollständigen";
    needs_gone: "Of no use: the complete one is gone", "Unbrauchbar: Die vollständige fehlt";
    check: "Check", "Prüfen";
    check_done: "It is being read to its last byte. The result shows up in the list.",
        "Sie wird bis zum letzten Byte gelesen. Das Ergebnis erscheint in der Liste.";
    checking: "One is being checked.", "Eine wird gerade geprüft.";
    unchecked: "Not yet", "Noch nicht";
    whole: "Whole", "Unversehrt";
    broken: "Broken", "Beschädigt";
    read_back: "Read back when it was made", "Nach dem Erstellen zurückgelesen";
    download: "Download", "Herunterladen";
    download_hint: "What you download is encrypted. Keep a copy where this box is not.",
        "Was Sie herunterladen, ist verschlüsselt. Bewahren Sie eine Kopie dort auf, wo diese Box nicht steht.";
    back_up_now: "Back up now", "Jetzt sichern";
    now_done: "A backup is being made. You may leave this page.", "Eine Sicherung wird erstellt. Sie können diese Seite verlassen.";
    key_title: "Can you open them?", "Können Sie sie öffnen?";
    key_none: "No passphrase is set, so no backup can be made: nothing is written in clear.",
        "Es ist keine Passphrase eingestellt, daher kann keine Sicherung erstellt werden: Nichts wird unverschlüsselt geschrieben.";
    key_recipients: "They are made for recipients: whoever has the identity file opens them, and this box cannot. Keep that file where this box is not.",
        "Sie sind für Empfänger verschlüsselt: Wer die Identitätsdatei hat, öffnet sie; diese Box kann es nicht. Bewahren Sie die Datei dort auf, wo diese Box nicht steht.";
    key_unknown: "Nobody has shown yet that they know the passphrase. If only this box has it, no backup can be opened when the box is gone.",
        "Noch niemand hat gezeigt, dass er die Passphrase kennt. Hat nur diese Box sie, lässt sich keine Sicherung öffnen, wenn die Box weg ist.";
    known: "Known", "Bekannt";
    known_since: "Somebody typed the passphrase on {at}.", "Am {at} hat jemand die Passphrase eingegeben.";
    passphrase: "Passphrase of the backups", "Passphrase der Sicherungen";
    passphrase_hint: "Type it from where you keep it. It is compared and not kept.",
        "Geben Sie sie von dort ein, wo Sie sie aufbewahren. Sie wird verglichen und nicht gespeichert.";
    prove: "Compare", "Vergleichen";
    passphrase_done: "That is the one. Keep it where this box is not.", "Das ist sie. Bewahren Sie sie dort auf, wo diese Box nicht steht.";
    passphrase_wrong: "That is not the passphrase of the backups.", "Das ist nicht die Passphrase der Sicherungen.";
    reset_title: "Back to how it was delivered", "Auf Auslieferungszustand zurücksetzen";
    reset_lead: "Removes everything from this box: settings, conversations, accounts, keys and the Wi-Fi. Make a backup first, and download it, if anything should come back.",
        "Entfernt alles von dieser Box: Einstellungen, Gespräche, Konten, Schlüssel und das WLAN. Erstellen Sie vorher eine Sicherung und laden Sie sie herunter, wenn etwas davon wiederkommen soll.";
    reset_open: "Remove everything …", "Alles entfernen …";
    reset_sure: "I have a backup elsewhere, or need none.", "Ich habe anderswo eine Sicherung oder brauche keine.";
    reset_unsure: "Confirm that you have a backup, or need none.", "Bestätigen Sie, dass Sie eine Sicherung haben oder keine brauchen.";
    reset_password: "Your password", "Ihr Passwort";
    reset_wrong: "This is not your password. Nothing was done.", "Das ist nicht Ihr Passwort. Es wurde nichts getan.";
    reset_now: "Remove everything and restart", "Alles entfernen und neu starten";
    reset_done: "The box starts again and removes everything. When it is back, its screen shows a new claim code.",
        "Die Box startet neu und entfernt alles. Danach zeigt ihr Bildschirm einen neuen Einrichtungscode.";
    restore_title: "Coming back from a backup", "Aus einer Sicherung wiederherstellen";
    restore_lead: "On this box or on a new one. It takes a backup and its passphrase, nothing else.",
        "Auf dieser Box oder einer neuen. Nötig sind nur eine Sicherung und ihre Passphrase.";
    restore_stop: "Stop Frontdesk.", "Frontdesk anhalten.";
    restore_run: "Run this, with the backup's file for FILE. What was there is kept beside it.",
        "Dies ausführen, mit der Datei der Sicherung statt FILE. Was vorher da war, bleibt daneben erhalten.";
    restore_start: "Start Frontdesk again. What waited for an answer then is answered, unless it is too old.",
        "Frontdesk wieder starten. Was damals auf Antwort wartete, wird beantwortet, wenn es nicht zu alt ist.";
    restore_incremental: "For a backup of changes, name the complete one first and it behind that. Conversations that were erased since are back: erase them again.",
        "Bei einer Sicherung mit Änderungen zuerst die vollständige nennen, dahinter diese. Seitdem gelöschte Gespräche sind wieder da: Löschen Sie sie erneut.";
}
