//! Passkeys: where somebody logs in with one, and where they add and remove theirs.
//!
//! A browser makes and uses them in two steps: it asks what for, which begins a ceremony, and sends a form with its answer.

use axum::Form;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;
use serde_json::{Value, json};

use super::answer::{self, Problem};
use super::door::{self, DoorWords, Next};
use super::format::{ago, time};
use super::layout;
use super::people::{self, may_manage};
use super::visit::{self, At, From, Visit};
use super::words::{Words, fill, words};
use super::{LOGIN, PEOPLE};
use crate::account::{
    CHALLENGE_MS, LoginError, NewPasskey, PasskeyError, PasskeyRow, Site, ToMake, ToUse, UsedPasskey,
};
use crate::admin::{self, Reached};
use crate::clock::Timestamp;
use crate::document::Secret;
use crate::gateway::Gateway;

/// Where a passkey is asked for after the password.
pub(super) const SECOND: &str = "/admin/login/passkey";
const BEGIN_LOGIN: &str = "/admin/login/passkey/begin";
const OWN: &str = "/admin/people/passkeys";
/// What a form in a page has before a passkey is there.
const SCRIPT: &str = "/admin/passkeys.js";

/// ECDSA on P-256, and RSA for computers that have no other, as COSE numbers them.
const ALGORITHMS: [i32; 2] = [-7, -257];

/// On the log-in page: the way in without a password. Nothing, where nobody has a passkey.
pub(super) fn way_in(gateway: &Gateway, words: &Words, site: Option<&Site>, next: &Next) -> Markup {
    let words = PasskeyWords::of(words);
    if !gateway.accounts().has_passkeys() {
        return html! {};
    }
    html! {
        @if site.is_some() {
            div data-with-passkeys hidden { (use_form(words, next, "quiet", words.log_in)) }
            p class="muted small" data-without-passkeys hidden { (words.only_there) }
            script src=(SCRIPT) type="module" {}
        } @else {
            p class="muted small" { (words.only_there) }
        }
    }
}

fn use_form(words: &PasskeyWords, next: &Next, class: &str, button: &str) -> Markup {
    html! {
        form method="post" action=(SECOND) data-passkey="get" data-begin=(BEGIN_LOGIN) data-failed=(words.not_used) {
            input type="hidden" name="next" value=(next.address());
            button class=(class) { (button) }
            (problem())
        }
    }
}

/// Filled by the script.
fn problem() -> Markup {
    html! { p class="notice bad" role="alert" hidden {} }
}

/// Asks whoever knew the password for their passkey.
pub(super) async fn second_page(
    State(gateway): State<Gateway>,
    from: From,
    At(site): At,
    next: axum::extract::Query<Next>,
    headers: HeaderMap,
) -> Response {
    let words = PasskeyWords::of(visit::words(&headers));
    let sites = visit::attempt(from.scheme, &headers).and_then(|attempt| gateway.accounts().sites_of_attempt(attempt));
    let Some(sites) = sites else { return Redirect::to(LOGIN).into_response() };
    let is_here = site.as_ref().is_some_and(|site| sites.iter().any(|name| name == site.name()));
    let content = html! {
        section class="card" {
            h1 { (words.second_title) }
            @if is_here {
                div data-with-passkeys hidden {
                    p { (words.second_lead) }
                    (use_form(words, &next, "primary", words.go_on))
                }
                p data-without-passkeys hidden { (words.only_there) }
                noscript { p { (words.needs_script) } }
                script src=(SCRIPT) type="module" {}
            } @else {
                p { (words.belongs_elsewhere) }
                ul { @for name in &sites { li { (name) } } }
            }
            p class="muted small" { (words.lost) }
            p class="small" { a href=(LOGIN) { (words.back) } }
        }
    };
    answer::html(StatusCode::OK, layout::door(words, words.second_title, &content))
}

/// Says what a browser is to answer with a passkey.
pub(super) async fn begin_login(
    State(gateway): State<Gateway>,
    from: From,
    At(site): At,
    headers: HeaderMap,
) -> Response {
    let words = PasskeyWords::of(visit::words(&headers));
    let Some(site) = site else { return said(StatusCode::CONFLICT, words.only_there) };
    let attempt = visit::attempt(from.scheme, &headers);
    let asked = match gateway.accounts().ask_for_passkey(attempt, &site, from.address) {
        Ok(asked) => asked,
        Err(error) => {
            let (status, text) = door::refused(words, error);
            return said(status, &text);
        }
    };
    let ToUse { attempt, challenge, credentials, is_alone } = asked;
    let asked = json!({
        "challenge": challenge,
        "rpId": site.name(),
        "timeout": CHALLENGE_MS,
        "allowCredentials": credentials,
        "userVerification": if is_alone { "required" } else { "discouraged" },
    });
    let mut response = to_script(StatusCode::OK, &asked);
    if let Some(attempt) = attempt {
        response.headers_mut().insert(header::SET_COOKIE, visit::attempt_cookie(from.scheme, Some(&attempt)));
    }
    response
}

fn said(status: StatusCode, text: &str) -> Response {
    to_script(status, &json!({ "error": text }))
}

fn to_script(status: StatusCode, value: &Value) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

/// Not to be printed.
#[derive(Deserialize)]
pub(super) struct Used {
    next: Option<String>,
    credential: String,
    handle: Option<String>,
    client_data: String,
    authenticator_data: String,
    signature: String,
}

pub(super) async fn login(
    State(gateway): State<Gateway>,
    from: From,
    At(site): At,
    headers: HeaderMap,
    Form(form): Form<Used>,
) -> Response {
    let words = visit::words(&headers);
    let Used { next, credential, handle, client_data, authenticator_data, signature } = form;
    let used = UsedPasskey { credential, handle, client_data, authenticator_data, signature };
    let attempt = visit::attempt(from.scheme, &headers).unwrap_or_default();
    let entered = match &site {
        Some(site) => gateway.accounts().log_in_with_passkey(attempt, site, &used, from.address).await,
        None => Err(PasskeyError::Over),
    };
    let next = Next { next };
    match entered {
        Ok(session) => {
            door::note(&gateway, from, session.session.who, "log in with a passkey");
            let mut response = door::enter(from.scheme, &session.token, next.address());
            response.headers_mut().append(header::SET_COOKIE, visit::attempt_cookie(from.scheme, None));
            response
        }
        Err(error) => {
            if let PasskeyError::Refused { user, .. } = &error {
                gateway.note_wrong_passkey(user.as_deref().unwrap_or_default(), from.address);
            }
            if let PasskeyError::Copied { user } = &error {
                gateway.note_wrong_passkey(user, from.address);
            }
            let (status, problem) = told(words, error);
            let form = door::login_form(&gateway, DoorWords::of(words), from, site.as_ref(), &next, "", Some(&problem));
            answer::html(status, form)
        }
    }
}

/// In words, for whoever used it.
fn told(words: &Words, error: PasskeyError) -> (StatusCode, String) {
    let words = PasskeyWords::of(words);
    match error {
        PasskeyError::Over => (StatusCode::UNAUTHORIZED, words.over.to_owned()),
        PasskeyError::Refused { .. } => (StatusCode::UNAUTHORIZED, words.refused.to_owned()),
        PasskeyError::Copied { .. } => (StatusCode::UNAUTHORIZED, words.copied.to_owned()),
        PasskeyError::Known => (StatusCode::CONFLICT, words.known.to_owned()),
        PasskeyError::TooMany { retry_after } => {
            let seconds = retry_after.as_secs().max(1).to_string();
            (StatusCode::TOO_MANY_REQUESTS, fill(words.too_many, &[("n", &seconds)]))
        }
        PasskeyError::Account(error) => door::refused(words, error),
    }
}

/// On the page of people: one's own.
pub(super) fn own(gateway: &Gateway, visit: &Visit, site: Option<&Site>) -> Markup {
    let words = PasskeyWords::of(visit.words);
    let passkeys = gateway.accounts().passkeys(&visit.who().name).unwrap_or_default();
    let is_asked_for = gateway.accounts().asks_for_passkey(&visit.who().name);
    let now = gateway.now();
    html! {
        section class="card" id="passkeys" {
            h2 { (words.title) }
            p class="muted" { (words.lead) }
            @if passkeys.is_empty() {
                p { (words.none) }
            } @else {
                ul class="plain" {
                    @for passkey in &passkeys { li { (one(words, visit, passkey, now)) } }
                }
                (asking(words, visit, is_asked_for))
            }
            @if site.is_some() {
                details data-with-passkeys hidden {
                    summary { h3 { (words.add) } }
                    form method="post" action=(format!("{OWN}/add")) data-passkey="create" data-begin=(format!("{OWN}/begin"))
                        data-known=(words.known) data-failed=(words.not_made) {
                        (layout::csrf(visit))
                        label for="passkey-name" { (words.what) }
                        input id="passkey-name" name="name" required maxlength="64" autocomplete="off"
                            aria-describedby="passkey-name-hint";
                        p class="hint" id="passkey-name-hint" { (words.what_hint) }
                        (password(words, "passkey-password"))
                        button class="primary" { (words.add) }
                        (problem())
                    }
                }
                p class="hint" data-without-passkeys hidden { (words.only_there) }
                noscript { p class="hint" { (words.needs_script) } }
                script src=(SCRIPT) type="module" {}
            } @else {
                p class="hint" { (words.only_there) }
            }
        }
    }
}

fn one(words: &PasskeyWords, visit: &Visit, passkey: &PasskeyRow, now: Timestamp) -> Markup {
    let when = |at: Timestamp| html! { time datetime=(at) title=(time(words, at)) { (ago(words, at, now)) } };
    let id = format!("remove-{}", passkey.id);
    html! {
        p {
            strong dir="auto" { (passkey.name) }
            " · " bdi { (passkey.site) }
            @if passkey.is_copied { " · " (words.synchronised) }
        }
        p class="muted small" {
            (words.added_when) " " (when(passkey.created_at)) " · "
            @match passkey.used_at {
                Some(at) => { (words.used_when) " " (when(at)) }
                None => (words.never_used)
            }
        }
        details {
            summary aria-label=(format!("{}: {}", words.remove, passkey.name)) { (words.remove) }
            form method="post" action=(format!("{OWN}/remove")) {
                (layout::csrf(visit))
                input type="hidden" name="id" value=(passkey.id);
                (password(words, &id))
                button class="danger" { (words.remove) }
            }
        }
    }
}

fn asking(words: &PasskeyWords, visit: &Visit, is_asked_for: bool) -> Markup {
    let (state, summary, action) = match is_asked_for {
        true => (words.is_asked_for, words.stop_asking, "stop-asking"),
        false => (words.is_not_asked_for, words.ask, "ask"),
    };
    html! {
        p { (state) }
        details {
            summary { (summary) }
            form method="post" action=(format!("{OWN}/{action}")) {
                (layout::csrf(visit))
                @if !is_asked_for { p class="hint" { (words.ask_hint) } }
                (password(words, "ask-password"))
                button { (summary) }
            }
        }
    }
}

fn password(words: &PasskeyWords, id: &str) -> Markup {
    html! {
        label for=(id) { (words.your_password) }
        input id=(id) name="password" type="password" required autocomplete="current-password";
    }
}

/// Those of others, which somebody who may do everything takes from who has lost them.
pub(super) fn of_others(gateway: &Gateway, visit: &Visit) -> Markup {
    let words = PasskeyWords::of(visit.words);
    let users = gateway.accounts().users().into_iter();
    let others = users.filter(|user| user.n_passkeys > 0 && user.name != visit.who().name).collect::<Vec<_>>();
    if !may_manage(visit) || others.is_empty() {
        return html! {};
    }
    html! {
        details {
            summary { h2 { (words.of_others) } }
            p class="muted" { (words.of_others_lead) }
            div class="scroll" tabindex="0" role="group" aria-label=(words.of_others) {
                table {
                    thead { tr {
                        th scope="col" { (words.name) }
                        th scope="col" { (words.passkey) }
                        th { span class="unseen" { (words.remove) } }
                    } }
                    tbody {
                        @for user in &others {
                            @for passkey in gateway.accounts().passkeys(&user.name).unwrap_or_default() {
                                tr {
                                    th scope="row" dir="auto" { (user.name) }
                                    td dir="auto" { (passkey.name) }
                                    td {
                                        form class="inline" method="post" action=(format!("{OWN}/remove-of")) {
                                            (layout::csrf(visit))
                                            input type="hidden" name="name" value=(user.name);
                                            input type="hidden" name="id" value=(passkey.id);
                                            button class="quiet"
                                                aria-label=(format!("{}: {}, {}", words.remove, user.name, passkey.name)) { (words.remove) }
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
}

/// Not to be printed.
#[derive(Deserialize)]
pub(super) struct Order {
    csrf: String,
    name: Option<String>,
    id: Option<String>,
    password: Option<String>,
    client_data: Option<String>,
    authenticator_data: Option<String>,
}

/// Says what a browser is to make a passkey for.
pub(super) async fn begin(
    State(gateway): State<Gateway>,
    visit: Visit,
    from: From,
    At(site): At,
    Form(order): Form<Order>,
) -> Response {
    let words = PasskeyWords::of(visit.words);
    if !visit.session.is_csrf(&order.csrf) {
        return said(StatusCode::FORBIDDEN, words.stale_lead);
    }
    let Some(site) = site else { return said(StatusCode::CONFLICT, words.only_there) };
    let (label, password) = (order.name.unwrap_or_default(), Secret::new(order.password.unwrap_or_default()));
    let begun = gateway.accounts().begin_passkey(&visit.session, &label, &password, from.address).await;
    match begun {
        Ok(asked) => to_script(StatusCode::OK, &to_make(&site, &visit, asked)),
        Err(error) => {
            let (status, text) = people::refused_login(visit.words, error);
            said(status, &text)
        }
    }
}

fn to_make(site: &Site, visit: &Visit, asked: ToMake) -> Value {
    let ToMake { challenge, handle, known } = asked;
    let name = &visit.who().name;
    json!({
        "rp": { "id": site.name(), "name": "Frontdesk" },
        "user": { "id": handle, "name": name, "displayName": name },
        "challenge": challenge,
        "timeout": CHALLENGE_MS,
        "pubKeyCredParams": ALGORITHMS.map(|algorithm| json!({ "type": "public-key", "alg": algorithm })),
        "excludeCredentials": known,
        // So that it works without a name and a password.
        "authenticatorSelection": { "residentKey": "required", "requireResidentKey": true, "userVerification": "preferred" },
        "attestation": "none",
    })
}

pub(super) async fn change(
    State(gateway): State<Gateway>,
    visit: Visit,
    from: From,
    at: At,
    Path(action): Path<String>,
    Form(order): Form<Order>,
) -> Response {
    match obey(&gateway, &visit, from, &at, &action, order).await {
        Ok(done) => answer::done(&format!("{PEOPLE}?done={done}#passkeys")),
        Err(Problem::Said(status, text)) => people::page(&gateway, &visit, &at, status, Some(("bad", text))).await,
        Err(problem) => problem.respond(&visit),
    }
}

async fn obey(
    gateway: &Gateway,
    visit: &Visit,
    from: From,
    At(site): &At,
    action: &str,
    order: Order,
) -> Result<&'static str, Problem> {
    if !visit.session.is_csrf(&order.csrf) {
        return Err(Problem::Stale);
    }
    let (accounts, who) = (gateway.accounts(), visit.who());
    let reached = Reached::new(gateway.clone(), who.clone());
    let (id, password) = (order.id.unwrap_or_default(), Secret::new(order.password.unwrap_or_default()));
    let said = |error: LoginError| {
        let (status, text) = people::refused_login(visit.words, error);
        Problem::Said(status, text)
    };
    match action {
        "add" => {
            let site = site.as_ref().ok_or(Problem::NotFound)?;
            let answered = order.client_data.zip(order.authenticator_data).ok_or(Problem::NotFound)?;
            let new = NewPasskey { client_data: answered.0, authenticator_data: answered.1 };
            accounts.add_passkey(&visit.session, site, &new, from.address).await.map_err(|error| {
                let (status, text) = told(visit.words, error);
                Problem::Said(status, text)
            })?;
            admin::note_account(&reached, "add passkey", &who.name);
            Ok("passkey-added")
        }
        "remove" => {
            let keep = Some(visit.session.id.as_str());
            accounts.remove_own_passkey(who, &password, &id, keep, from.address).await.map_err(said)?;
            admin::note_account(&reached, "remove passkey", &who.name);
            Ok("passkey-removed")
        }
        "remove-of" => {
            let name = order.name.unwrap_or_default();
            admin::passkeys::remove_of(reached, admin::NameAndId(name, id)).await?;
            Ok("passkey-removed")
        }
        "ask" | "stop-asking" => {
            let asks = action == "ask";
            let keep = Some(visit.session.id.as_str());
            accounts.set_asks_for_passkey(who, &password, asks, keep, from.address).await.map_err(said)?;
            admin::note_account(&reached, admin::passkeys::asked(asks), &who.name);
            Ok(if asks { "passkey-asked-for" } else { "passkey-not-asked-for" })
        }
        _ => Err(Problem::NotFound),
    }
}

/// What was done, above the page of people.
pub(super) fn done_words(words: &Words, done: &str) -> Option<&'static str> {
    let words = PasskeyWords::of(words);
    match done {
        "passkey-added" => Some(words.was_added),
        "passkey-removed" => Some(words.was_removed),
        "passkey-asked-for" => Some(words.is_asked_for),
        "passkey-not-asked-for" => Some(words.is_not_asked_for),
        _ => None,
    }
}

words! {
    /// What is said of passkeys.
    PasskeyWords;
    log_in: "Log in with a passkey", "Mit einem Passkey anmelden";
    only_there: "Passkeys work where this page has a name and is opened over HTTPS, such as https://frontdesk.local with a certificate that your browser trusts, or your own domain. They do not work at an address in numbers.",
        "Passkeys funktionieren, wo diese Seite einen Namen hat und über HTTPS geöffnet wird, zum Beispiel https://frontdesk.local mit einem Zertifikat, dem Ihr Browser vertraut, oder Ihre eigene Domain. Unter einer Adresse aus Zahlen funktionieren sie nicht.";
    needs_script: "Passkeys need JavaScript, which this browser does not run.",
        "Passkeys brauchen JavaScript, das dieser Browser nicht ausführt.";
    second_title: "Now your passkey", "Jetzt Ihr Passkey";
    second_lead: "The password is right. This account asks for a passkey as well.",
        "Das Passwort stimmt. Dieses Konto verlangt zusätzlich einen Passkey.";
    go_on: "Use passkey", "Passkey verwenden";
    belongs_elsewhere: "The password is right. This account asks for a passkey as well, and its passkeys belong to other names of this page. Log in there:",
        "Das Passwort stimmt. Dieses Konto verlangt zusätzlich einen Passkey, und seine Passkeys gehören zu anderen Namen dieser Seite. Melden Sie sich dort an:";
    lost: "Lost it? Somebody who may do everything can remove it under People. Or make a new claim code on the box: frontdesk users reset",
        "Verloren? Wer alles darf, kann ihn unter Personen entfernen. Oder erzeugen Sie an der Box einen neuen Code: frontdesk users reset";
    back: "Back", "Zurück";
    not_used: "No passkey was used. Try again, or log in another way.",
        "Es wurde kein Passkey verwendet. Versuchen Sie es noch einmal, oder melden Sie sich anders an.";
    not_made: "No passkey was made. Try again, or on another device.",
        "Es wurde kein Passkey erstellt. Versuchen Sie es noch einmal oder auf einem anderen Gerät.";
    over: "That took too long, or was used already. Try again.", "Das hat zu lange gedauert oder wurde schon verwendet. Versuchen Sie es noch einmal.";
    refused: "This passkey is not accepted here.", "Dieser Passkey wird hier nicht angenommen.";
    copied: "This passkey has counted back, so somebody may have a copy of it. Log in another way, remove it, and make a new one.",
        "Dieser Passkey hat rückwärts gezählt, also hat vielleicht jemand eine Kopie davon. Melden Sie sich anders an, entfernen Sie ihn und erstellen Sie einen neuen.";
    known: "This device or key has a passkey of yours already.", "Auf diesem Gerät oder Schlüssel haben Sie schon einen Passkey.";
    title: "Your passkeys", "Ihre Passkeys";
    passkey: "Passkey", "Passkey";
    lead: "With a passkey you log in by fingerprint, face, PIN or a security key instead of a password. Nobody can make you type it into a false page.",
        "Mit einem Passkey melden Sie sich per Fingerabdruck, Gesicht, PIN oder Sicherheitsschlüssel an statt mit einem Passwort. Niemand kann ihn Ihnen auf einer falschen Seite entlocken.";
    none: "You have none yet.", "Sie haben noch keinen.";
    add: "Add a passkey", "Passkey hinzufügen";
    what: "What it is called", "Wie er heißt";
    what_hint: "So that you know it again: the phone, or the key on your ring.",
        "Damit Sie ihn wiedererkennen: das Telefon oder der Schlüssel am Bund.";
    your_password: "Your password", "Ihr Passwort";
    synchronised: "kept on several devices", "auf mehreren Geräten";
    added_when: "Added", "Hinzugefügt";
    used_when: "last used", "zuletzt benutzt";
    never_used: "not used yet", "noch nicht benutzt";
    remove: "Remove", "Entfernen";
    was_added: "The passkey is added.", "Der Passkey ist hinzugefügt.";
    was_removed: "The passkey is removed, and opens nothing any more. It may still be on the device; remove it there too.",
        "Der Passkey ist entfernt und öffnet nichts mehr. Auf dem Gerät ist er vielleicht noch; entfernen Sie ihn auch dort.";
    is_asked_for: "Your password alone is not enough: a passkey is asked for as well.",
        "Ihr Passwort allein genügt nicht: Zusätzlich wird ein Passkey verlangt.";
    is_not_asked_for: "Your password alone is enough to log in.", "Zum Anmelden genügt Ihr Passwort.";
    ask: "Ask for a passkey as well", "Zusätzlich einen Passkey verlangen";
    ask_hint: "Then you can log in only where one of your passkeys works. Have two, on different devices.",
        "Dann können Sie sich nur noch dort anmelden, wo einer Ihrer Passkeys funktioniert. Haben Sie besser zwei, auf verschiedenen Geräten.";
    stop_asking: "Let the password be enough", "Passwort genügen lassen";
    of_others: "Passkeys of others", "Passkeys der anderen";
    of_others_lead: "Remove one that somebody has lost. Without any left, their password is enough again.",
        "Entfernen Sie einen, den jemand verloren hat. Ist keiner mehr da, genügt wieder das Passwort.";
}
