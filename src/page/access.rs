//! Who read or changed what.

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use maud::{Markup, html};
use serde::Deserialize;

use super::answer::{self, Problem};
use super::format::time;
use super::layout::{self, Place};
use super::visit::Visit;
use super::words::words;
use super::{ACCESS, conversation_address, query};
use crate::account::Role;
use crate::admin::access::{Log, Record, Wanted, list};
use crate::admin::{self, Reached};
use crate::clock::Timestamp;
use crate::gateway::Gateway;
use crate::id::{SessionKey, TenantId};

/// Records of a page.
const ROWS: usize = 100;

/// What the form above the log says.
#[derive(Debug, Clone, Default, Deserialize)]
pub(super) struct Filter {
    tenant: Option<String>,
    who: Option<String>,
    what: Option<String>,
    key: Option<String>,
    after: Option<String>,
}

pub(super) async fn show(State(gateway): State<Gateway>, visit: Visit, Query(filter): Query<Filter>) -> Response {
    let reached = Reached::new(gateway, visit.who().clone());
    let words = AccessWords::of(visit.words);
    match found(&reached, &visit, &filter).await {
        Ok((log, tenants)) => {
            let content = view(words, &filter, &tenants, &log);
            answer::html(StatusCode::OK, layout::page(&visit, Place::Access, words.access, &content))
        }
        Err(problem) => problem.respond(&visit),
    }
}

/// A page of the log, and whose logs there are.
async fn found(reached: &Reached, visit: &Visit, filter: &Filter) -> Result<(Log, Vec<Option<String>>), Problem> {
    if visit.who().role != Role::Admin {
        return Err(Problem::NotAllowed);
    }
    let tenants: Vec<_> = reached.with_access(None)?.iter().map(|of| of.name()).collect();
    // A key that is none finds nothing.
    let typed =
        |text: &Option<String>| text.as_deref().map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned);
    let key = typed(&filter.key);
    if key.as_deref().is_some_and(|key| SessionKey::parse(key).is_err()) {
        return Ok((Log { access: Vec::new(), next: None }, tenants));
    }
    let wanted = Wanted {
        tenant: filter.tenant.clone().filter(|tenant| tenant != "*"),
        who: typed(&filter.who),
        what: typed(&filter.what),
        key,
        after: filter.after.clone(),
        limit: Some(ROWS),
    };
    Ok((list(reached.clone(), admin::Query(wanted)).await?, tenants))
}

fn view(words: &AccessWords, filter: &Filter, tenants: &[Option<String>], log: &Log) -> Markup {
    let is_filtered =
        [&filter.who, &filter.what, &filter.key].into_iter().flatten().any(|text| !text.trim().is_empty());
    html! {
        h1 { (words.access) }
        p class="muted" { (words.access_lead) }
        (form(words, filter, tenants))
        section class="card" {
            @match (log.access.is_empty(), is_filtered || filter.after.is_some()) {
                (true, true) => p class="muted" { (if log.next.is_some() { words.nothing_so_far } else { words.nothing_found }) },
                (true, false) => (layout::empty(words.nothing_yet, words.nothing_yet_lead)),
                (false, _) => (table(words, &log.access, tenants.len() > 1)),
            }
        }
        @if log.next.is_some() || filter.after.is_some() {
            p class="inline" {
                @if filter.after.is_some() { a class="button" href=(address(filter, None)) { (words.newest) } }
                @if let Some(next) = &log.next { a class="button" rel="next" href=(address(filter, Some(next))) { (words.older) } }
            }
        }
    }
}

fn address(filter: &Filter, after: Option<&str>) -> String {
    let fields = [
        ("tenant", filter.tenant.as_deref()),
        ("who", filter.who.as_deref()),
        ("what", filter.what.as_deref()),
        ("key", filter.key.as_deref()),
        ("after", after),
    ];
    let fields: Vec<String> =
        fields.into_iter().filter_map(|(name, value)| Some(format!("{name}={}", query(value?)))).collect();
    format!("{ACCESS}?{}", fields.join("&"))
}

fn form(words: &AccessWords, filter: &Filter, tenants: &[Option<String>]) -> Markup {
    html! {
        form class="filter" method="get" action=(ACCESS) role="search" {
            div {
                label for="who" { (words.who) }
                input id="who" name="who" value=[filter.who.as_deref()] maxlength="64" autocomplete="off";
            }
            div {
                label for="what" { (words.what) }
                select id="what" name="what" {
                    option value="" { (words.anything) }
                    @for (what, name) in deeds(words) {
                        option value=(what) selected[filter.what.as_deref() == Some(what)] { (name) }
                    }
                }
            }
            div class="wide" {
                label for="key" { (words.conversation_key) }
                input id="key" name="key" value=[filter.key.as_deref()] autocomplete="off" spellcheck="false" aria-describedby="key-hint";
                p class="hint" id="key-hint" { (words.key_hint) }
            }
            @if tenants.len() > 1 {
                div {
                    label for="tenant" { (words.whose) }
                    select id="tenant" name="tenant" {
                        option value="*" { (words.all) }
                        @for tenant in tenants {
                            @let name = tenant.as_deref().unwrap_or_default();
                            option value=(name) selected[filter.tenant.as_deref() == Some(name)] {
                                (tenant.as_deref().unwrap_or(words.own))
                            }
                        }
                    }
                }
            }
            button { (words.show) }
        }
    }
}

fn table(words: &AccessWords, records: &[Record], names_tenants: bool) -> Markup {
    html! {
        div class="scroll" tabindex="0" role="group" aria-label=(words.access) {
            table {
                thead { tr {
                    th scope="col" { (words.when) }
                    th scope="col" { (words.who) }
                    th scope="col" { (words.what) }
                    th scope="col" { (words.with_what) }
                    th scope="col" { (words.from) }
                } }
                tbody {
                    @for record in records {
                        tr {
                            td { (when(words, &record.at)) }
                            td dir="auto" { (if record.who.is_empty() { words.nobody_known } else { record.who.as_str() }) }
                            td { (deeds(words).find(|(what, _)| *what == record.what).map_or(record.what.as_str(), |(_, name)| name)) }
                            td {
                                (about(words, record))
                                @if names_tenants && let Some(tenant) = &record.tenant { " " span class="muted" { (tenant) } }
                            }
                            td class="muted" { (record.from.as_deref().unwrap_or(words.here)) }
                        }
                    }
                }
            }
        }
    }
}

fn when(words: &AccessWords, at: &str) -> Markup {
    let shown = at.parse::<jiff::Timestamp>().ok().and_then(|at| u64::try_from(at.as_millisecond()).ok());
    html! { time datetime=(at) { (shown.map_or_else(|| at.to_owned(), |at| time(words, Timestamp(at)))) } }
}

fn about(words: &AccessWords, record: &Record) -> Markup {
    let place = record.key.as_deref().and_then(|key| SessionKey::parse(key).ok());
    let tenant = record.tenant.clone().and_then(|tenant| TenantId::new(tenant).ok());
    html! {
        @if let Some(key) = &place { a class="key" href=(conversation_address(tenant.as_ref(), key, None)) { (key) } }
        @if let Some(digest) = &record.erased { span title=(digest) { (words.erased) } }
        @if let Some(name) = &record.name { bdi { (name) } }
    }
}

/// What is done, as records have it, and in words.
fn deeds(words: &AccessWords) -> impl Iterator<Item = (&'static str, &'static str)> {
    [
        ("show", words.did_show),
        ("search", words.did_search),
        ("export", words.did_export),
        ("tail", words.did_tail),
        ("take", words.did_take),
        ("say", words.did_say),
        ("hand back", words.did_hand_back),
        ("handed back by itself", words.did_forget),
        ("archive", words.did_archive),
        ("restore", words.did_restore),
        ("erase", words.did_erase),
        ("log in", words.did_log_in),
        ("log in with a passkey", words.did_passkey),
        ("log out", words.did_log_out),
        ("wrong password", words.did_fail),
        ("wrong passkey", words.did_fail_passkey),
        ("password, without a passkey yet", words.did_password_alone),
        ("claim", words.did_claim),
        ("add account", words.did_add),
        ("remove account", words.did_remove),
        ("set password", words.did_password),
        ("end session", words.did_end_session),
        ("add passkey", words.did_add_passkey),
        ("remove passkey", words.did_remove_passkey),
        ("ask for a passkey", words.did_ask_for_passkey),
        ("ask for no passkey", words.did_ask_for_none),
        ("make token", words.did_token),
        ("revoke token", words.did_revoke),
        ("change configuration", words.did_configure),
        ("undo configuration", words.did_undo),
        ("reload configuration", words.did_reload),
        ("back up", words.did_back_up),
        ("verify backup", words.did_verify),
        ("download backup", words.did_download),
        ("try backup passphrase", words.did_passphrase),
        ("erase tenant", words.did_erase_tenant),
        ("change a worker's file", words.did_worker),
        ("remove a worker's file", words.did_worker_remove),
        ("explain", words.did_explain),
        ("memory", words.did_memory),
        ("deliveries", words.did_deliveries),
        ("retry delivery", words.did_retry),
        ("drop delivery", words.did_drop),
        ("unresolved", words.did_unresolved),
        ("approve", words.did_approve),
        ("reject", words.did_reject),
        ("revoke approval", words.did_disapprove),
        ("make key", words.did_make_key),
        ("end key", words.did_end_key),
        ("test channel", words.did_test),
        ("pause channel", words.did_pause),
        ("resume channel", words.did_resume),
        ("check for updates", words.did_look),
        ("install update", words.did_install),
        ("roll back update", words.did_go_back),
    ]
    .into_iter()
}

words! {
    /// What the access log says.
    AccessWords;
    access_lead: "Who read or changed what, for 400 days. What was said is not in it.",
        "Wer was gelesen oder geändert hat, 400 Tage lang. Was gesagt wurde, steht nicht darin.";
    who: "Who", "Wer";
    what: "What", "Was";
    when: "When", "Wann";
    from: "From", "Von wo";
    with_what: "With what", "Womit";
    whose: "Business", "Unternehmen";
    all: "All", "Alle";
    own: "Our own", "Unser eigenes";
    anything: "Anything", "Alles";
    show: "Show", "Anzeigen";
    older: "Older", "Ältere";
    here: "This box", "Diese Box";
    nobody_known: "Nobody known", "Niemand Bekanntes";
    erased: "A conversation that was erased", "Ein gelöschtes Gespräch";
    conversation_key: "Conversation", "Gespräch";
    key_hint: "Its key. It also finds what was done before that conversation was erased.",
        "Sein Schlüssel. Findet auch, was vor dem Löschen dieses Gesprächs geschah.";
    nothing_found: "Nothing found.", "Nichts gefunden.";
    nothing_so_far: "Nothing found so far. There is more to look through.",
        "Bisher nichts gefunden. Es gibt noch mehr zu durchsuchen.";
    nothing_yet: "Nothing yet", "Noch nichts";
    nothing_yet_lead: "As soon as somebody logs in, reads a conversation or changes something, it shows up here.",
        "Sobald sich jemand anmeldet, ein Gespräch liest oder etwas ändert, erscheint es hier.";
    did_show: "Read a conversation", "Gespräch gelesen";
    did_search: "Searched conversations", "Gespräche durchsucht";
    did_export: "Exported a conversation", "Gespräch exportiert";
    did_tail: "Read along", "Mitgelesen";
    did_take: "Took a conversation over", "Gespräch übernommen";
    did_say: "Answered", "Geantwortet";
    did_hand_back: "Handed back", "Zurückgegeben";
    did_forget: "Handed back by itself", "Von selbst zurückgegeben";
    did_archive: "Archived", "Archiviert";
    did_restore: "Restored", "Wiederhergestellt";
    did_erase: "Erased", "Gelöscht";
    did_log_in: "Logged in", "Angemeldet";
    did_log_out: "Logged out", "Abgemeldet";
    did_fail: "Wrong password", "Falsches Passwort";
    did_passkey: "Logged in with a passkey", "Mit einem Passkey angemeldet";
    did_fail_passkey: "Passkey not accepted", "Passkey nicht angenommen";
    did_password_alone: "Right password; asked for a passkey", "Richtiges Passwort; nach einem Passkey gefragt";
    did_add_passkey: "Added a passkey", "Passkey hinzugefügt";
    did_remove_passkey: "Removed a passkey", "Passkey entfernt";
    did_ask_for_passkey: "Password needs a passkey as well", "Zum Passwort wird ein Passkey verlangt";
    did_ask_for_none: "Password is enough again", "Das Passwort genügt wieder";
    did_claim: "Claimed the box", "Box in Besitz genommen";
    did_add: "Added a person", "Person hinzugefügt";
    did_remove: "Removed a person", "Person entfernt";
    did_password: "Changed a password", "Passwort geändert";
    did_end_session: "Logged a device out", "Gerät abgemeldet";
    did_token: "Made a token", "Token erstellt";
    did_revoke: "Ended a token", "Token widerrufen";
    did_configure: "Changed the settings", "Einstellungen geändert";
    did_undo: "Undid a change of the settings", "Änderung der Einstellungen zurückgenommen";
    did_reload: "Read the settings again", "Einstellungen neu gelesen";
    did_back_up: "Made a backup", "Sicherung erstellt";
    did_verify: "Checked a backup", "Sicherung geprüft";
    did_download: "Downloaded a backup", "Sicherung heruntergeladen";
    did_erase_tenant: "Erased a business", "Unternehmen gelöscht";
    did_passphrase: "Typed the backups' passphrase", "Passphrase der Sicherungen eingegeben";
    did_worker: "Changed a worker", "Mitarbeiter geändert";
    did_worker_remove: "Removed a file of a worker", "Datei eines Mitarbeiters entfernt";
    did_explain: "Asked who answers", "Gefragt, wer antwortet";
    did_memory: "Read notes", "Notizen gelesen";
    did_deliveries: "Read what was set aside", "Zurückgelegtes gelesen";
    did_retry: "Sent again", "Erneut gesendet";
    did_drop: "Dropped what was set aside", "Zurückgelegtes verworfen";
    did_unresolved: "Read messages without a conversation", "Nachrichten ohne Gespräch gelesen";
    did_approve: "Let somebody write", "Jemanden zugelassen";
    did_reject: "Turned somebody away", "Jemanden abgelehnt";
    did_disapprove: "Lets somebody write no longer", "Zulassung entzogen";
    did_make_key: "Made a key for a program", "Schlüssel für ein Programm angelegt";
    did_end_key: "Ended a key of a program", "Schlüssel eines Programms beendet";
    did_test: "Tested a channel", "Kanal geprüft";
    did_pause: "Paused a channel", "Kanal angehalten";
    did_resume: "Let a channel go on", "Kanal weiterlaufen lassen";
    did_look: "Had it looked for updates", "Nach Updates sehen lassen";
    did_install: "Had an update installed", "Update installieren lassen";
    did_go_back: "Had the version before brought back", "Vorige Version zurückholen lassen";
}
