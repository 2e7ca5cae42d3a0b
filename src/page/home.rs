//! Is it working?

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};

use super::format::{ago, bytes, duration, number, time};
use super::layout::{self, Place};
use super::visit::Visit;
use super::words::{Words, fill, words};
use super::{SETUP, activity, answer, findings, updates};
use crate::account::{Reach, Role};
use crate::admin::{self, Reached, Seen};
use crate::clock::Timestamp;
use crate::doctor::{self, Finding, Severity};
use crate::gateway::device_key::Sources;
use crate::gateway::machine::{self, Machine};
use crate::gateway::{ChannelStatus, Gateway, Question, Status};
use crate::store::Counts;
use crate::update::Known;

pub(super) async fn show(State(gateway): State<Gateway>, visit: Visit) -> Response {
    let is_for_all = visit.who().role == Role::Admin && visit.who().reach == Reach::All;
    // Whoever is new is asked first.
    if is_for_all && gateway.wants_setup() {
        return answer::done(SETUP);
    }
    let reached = Reached::new(gateway.clone(), visit.who().clone());
    // It looks at files: not where messages are answered.
    let words = visit.words;
    let is_unfinished = is_for_all && gateway.setup().is_some_and(|setup| setup.asked.len() < Question::ALL.len());
    let seen = tokio::task::spawn_blocking(move || look(words, &gateway, &reached)).await;
    match seen.unwrap_or(Err(crate::store::Error::Closed.into())) {
        Ok(seen) => answer::html(
            StatusCode::OK,
            layout::page(
                &visit,
                Place::Home,
                HomeWords::of(visit.words).home,
                &html! {
                    @if is_unfinished { (unfinished(HomeWords::of(visit.words))) }
                    (view(HomeWords::of(visit.words), &seen))
                },
            ),
        ),
        Err(error) => answer::Problem::from(error).respond(&visit),
    }
}

/// The way back to a setup that was put off.
fn unfinished(words: &HomeWords) -> Markup {
    html! { p class="notice" { (words.setup_unfinished) " " a href=(SETUP) { (words.setup_go_on) } } }
}

/// What a page shows.
struct Looked {
    now: Timestamp,
    seen: Seen,
    /// What is wrong with the box, and how full it is: for whoever sees all of it.
    findings: Vec<Finding>,
    machine: Machine,
    updates: Option<Known>,
    /// How much was asked and answered.
    activity: Markup,
}

fn look(words: &Words, gateway: &Gateway, reached: &Reached) -> Result<Looked, admin::Error> {
    let seen = reached.status()?;
    let findings = match &seen {
        Seen::Whole(status) => examine(gateway, status),
        Seen::Share { .. } => Vec::new(),
    };
    let activity = activity::last_day(words, reached)?;
    let updates = matches!(seen, Seen::Whole(_)).then(|| admin::updates::known(reached)).transpose()?;
    Ok(Looked { now: gateway.now(), seen, findings, machine: machine::look(gateway.home()), updates, activity })
}

fn view(words: &HomeWords, looked: &Looked) -> Markup {
    let Looked { now, seen, findings, machine, updates, activity } = looked;
    let (channels, counts) = match seen {
        Seen::Whole(status) => (&status.channels, &status.counts),
        Seen::Share { channels, counts, .. } => (channels, counts),
    };
    html! {
        div data-refresh="15" {
            (verdict(words, findings, channels))
            (channel_cards(words, channels, *now))
            (activity)
            div class="pair" {
                (queue_card(words, counts))
                @if let Seen::Whole(status) = seen { (machine_card(words, machine, updates.as_ref(), status, *now)) }
            }
            @if let Seen::Whole(status) = seen { (reach_card(words, status)) }
        }
    }
}

fn examine(gateway: &Gateway, status: &Status) -> Vec<Finding> {
    let in_use = gateway.config_digest();
    let running = doctor::Running { status, config_digest: in_use.as_deref() };
    doctor::examine(gateway.home(), gateway.variables(), Some(&running), &Sources::default(), gateway.now())
}

fn verdict(words: &HomeWords, findings: &[Finding], channels: &[ChannelStatus]) -> Markup {
    let has_trouble = channels.iter().any(|channel| channel.problem.is_some());
    let is_bad = has_trouble || findings.iter().any(|finding| finding.severity == Severity::Error);
    let (kind, title, lead) = match is_bad {
        true => ("bad", words.something_wrong, words.something_wrong_lead),
        false => ("good", words.all_well, words.all_well_lead),
    };
    let (now, later): (Vec<&Finding>, Vec<&Finding>) =
        findings.iter().partition(|finding| finding.severity == Severity::Error);
    html! {
        section class={ "verdict " (kind) } {
            h1 { (title) }
            p { (lead) }
            @if !now.is_empty() { (findings::list(words, &now)) }
        }
        @if !later.is_empty() {
            details class="card" {
                summary { h2 { (words.worth_a_look) " (" (number(words, later.len() as u64)) ")" } }
                (findings::list(words, &later))
            }
        }
    }
}

fn channel_cards(words: &HomeWords, channels: &[ChannelStatus], now: Timestamp) -> Markup {
    let when = |at: Option<Timestamp>| match at {
        Some(at) => html! { time datetime=(at) title=(time(words, at)) { (ago(words, at, now)) } },
        None => html! { span class="muted" { (words.no_message_yet) } },
    };
    html! {
        section class="card" {
            h2 { (words.channels) }
            @if channels.is_empty() { p class="muted" { (words.no_channels) } }
            @else {
                div class="scroll" tabindex="0" role="group" aria-label=(words.channels) {
                    table {
                        thead { tr {
                            th scope="col" { (words.channel) }
                            th scope="col" { (words.last_in) }
                            th scope="col" { (words.last_out) }
                            th scope="col" { (words.state) }
                        } }
                        tbody {
                            @for channel in channels {
                                tr {
                                    th scope="row" { (channel.id) @if let Some(tenant) = &channel.tenant { " " span class="muted" { (tenant) } } }
                                    td { (when(channel.last_in)) }
                                    td { (when(channel.last_out)) }
                                    td {
                                        @if channel.is_paused { span class="tag warn" { (words.paused) } }
                                        @else { @match &channel.problem {
                                            Some(problem) => span class="tag bad" { (problem) },
                                            None => span class="tag good" { (words.fine) },
                                        } }
                                    }
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}

fn queue_card(words: &HomeWords, counts: &Counts) -> Markup {
    let rows = [
        (words.waiting_messages, counts.waiting.saturating_sub(counts.for_people)),
        (words.in_hands, counts.taken),
        (words.for_people, counts.for_people),
        (words.undelivered, counts.undelivered),
        (words.set_aside, counts.parked),
        (words.active, counts.sessions),
        (words.archived_count, counts.archived),
    ];
    html! {
        section class="card" {
            h2 { (words.queue) }
            dl class="facts" { @for (name, n) in rows { div { dt { (name) } dd { (number(words, n)) } } } }
        }
    }
}

fn machine_card(
    words: &HomeWords,
    machine: &Machine,
    updates: Option<&Known>,
    status: &Status,
    now: Timestamp,
) -> Markup {
    let backup = &status.backup;
    html! {
        section class="card" {
            h2 { (words.machine) }
            dl class="facts" {
                div { dt { (words.running_for) } dd { (duration(words, status.uptime_ms)) } }
                @if let Some(disk) = machine.disk {
                    div { dt { (words.disk) } dd {
                        (fill(words.disk_free, &[("free", &bytes(words, disk.free)), ("total", &bytes(words, disk.total))]))
                    } }
                }
                @if let Some(resident) = machine.resident { div { dt { (words.memory) } dd { (bytes(words, resident)) } } }
                div { dt { (words.store) } dd { (bytes(words, status.store_bytes)) } }
                div { dt { (words.backup) } dd {
                    @match (&backup.failed, &backup.last) {
                        (Some(failed), _) => span class="tag bad" { (fill(words.backup_failed, &[("why", &failed.reason)])) },
                        (None, Some(last)) => time datetime=(Timestamp(last.at_ms)) title=(time(words, Timestamp(last.at_ms))) {
                            (ago(words, Timestamp(last.at_ms), now))
                        },
                        (None, None) => span class="muted" { (words.backup_never) },
                    }
                } }
                div { dt { (words.version) } dd { (env!("CARGO_PKG_VERSION")) } }
                @if let Some(known) = updates { (updates::line(words, known)) }
            }
        }
    }
}

/// Where it is, and what somebody compares before they tell their browser to trust it.
fn reach_card(words: &HomeWords, status: &Status) -> Markup {
    let port = status.port.unwrap_or_default();
    html! {
        @if let Some(certificate) = &status.https.certificate {
            section class="card" {
                h2 { (words.https) }
                p class="muted" { (words.https_lead) }
                dl class="facts" {
                    @if let Some(name) = &status.local.name {
                        div { dt { (words.local_name) } dd { code { "https://" (name) ":" (port) } } }
                    }
                    @if let Some(acme) = &status.https.acme {
                        div { dt { (words.domain) } dd {
                            @for domain in &acme.domains { code { "https://" (domain) } " " }
                            @match &acme.certificate {
                                Some(certificate) => span class="tag good" { (fill(words.trusted, &[("until", &time(words, certificate.ends))])) },
                                None => span class="tag warn" { (words.not_trusted_yet) },
                            }
                        } }
                    }
                    div { dt { (words.fingerprint) } dd { code { @for (n, byte) in certificate.fingerprint.split(':').enumerate() { @if n > 0 { ":" wbr; } (byte) } } } }
                    div { dt { (words.names) } dd { (certificate.names.join(", ")) } }
                    div { dt { (words.renewed_by) } dd { (time(words, certificate.ends)) } }
                }
            }
        }
    }
}

words! {
    /// What the first page says.
    HomeWords;
    setup_unfinished: "The setup is not finished.", "Die Einrichtung ist noch nicht fertig.";
    setup_go_on: "Go on with it", "Weitermachen";
    all_well: "Everything works", "Alles läuft";
    all_well_lead: "Messages come in and are answered.", "Nachrichten kommen an und werden beantwortet.";
    something_wrong: "Something needs you", "Hier werden Sie gebraucht";
    something_wrong_lead: "The worst comes first, each with what to do.", "Das Dringendste zuerst, jeweils mit dem, was zu tun ist.";
    worth_a_look: "Worth a look", "Einen Blick wert";
    channels: "Channels", "Kanäle";
    channel: "Channel", "Kanal";
    last_in: "Last message in", "Letzte Nachricht";
    last_out: "Last answer out", "Letzte Antwort";
    state: "State", "Zustand";
    paused: "Paused", "Angehalten";
    fine: "Fine", "In Ordnung";
    no_message_yet: "Nothing yet", "Noch nichts";
    no_channels: "No channel is set up yet.", "Noch ist kein Kanal eingerichtet.";
    queue: "Waiting", "In Arbeit";
    waiting_messages: "Messages that wait for an answer", "Nachrichten, die auf Antwort warten";
    in_hands: "Conversations that people answer", "Gespräche, die Personen beantworten";
    for_people: "Messages that wait for these people", "Nachrichten, die auf diese Personen warten";
    undelivered: "Answers on their way", "Antworten unterwegs";
    set_aside: "Set aside for you", "Für Sie zurückgelegt";
    active: "Conversations", "Gespräche";
    archived_count: "Archived", "Archiviert";
    machine: "This box", "Diese Box";
    running_for: "Running for", "Läuft seit";
    disk: "Disk", "Speicherplatz";
    disk_free: "{free} of {total} free", "{free} von {total} frei";
    memory: "Memory", "Arbeitsspeicher";
    store: "Conversations take up", "Gespräche belegen";
    version: "Version", "Version";
    backup: "Backup", "Sicherung";
    backup_never: "Never", "Noch nie";
    https: "Secure connection", "Sichere Verbindung";
    https_lead: "This page also opens at an address that begins with https://. The first time, the browser warns, because nobody \
        else vouches for this box. Look at the certificate there: with the same fingerprint, it is this box.",
        "Diese Seite öffnet sich auch unter einer Adresse, die mit https:// beginnt. Beim ersten Mal warnt der Browser, weil \
        niemand sonst für diese Box bürgt. Sehen Sie sich dort das Zertifikat an: Mit demselben Fingerabdruck ist es diese Box.";
    fingerprint: "Fingerprint (SHA-256)", "Fingerabdruck (SHA-256)";
    domain: "In the internet", "Im Internet";
    trusted: "Trusted by browsers until {until}", "Von Browsern anerkannt bis {until}";
    not_trusted_yet: "No certificate yet", "Noch kein Zertifikat";
    local_name: "In the local network", "Im lokalen Netz";
    names: "Made for", "Ausgestellt für";
    renewed_by: "Renewed before", "Wird erneuert vor";
    backup_failed: "The last one failed: {why}", "Die letzte ist fehlgeschlagen: {why}";
}
