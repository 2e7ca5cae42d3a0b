//! Claiming the box, logging in and out.

use axum::Form;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use maud::{Markup, html};
use serde::Deserialize;

use super::visit::{self, At, From, Visit};
use super::words::{Words, fill, words};
use super::{CLAIM, HOME, LOGIN, answer, layout, passkeys, refused};
use crate::account::{self, ClaimError, LoginError, Site, Weakness, Who};
use crate::admin::{self, Reached};
use crate::browser::Scheme;
use crate::document::Secret;
use crate::gateway::Gateway;

/// Where to go afterwards.
#[derive(Debug, Deserialize)]
pub(super) struct Next {
    pub(super) next: Option<String>,
}

impl Next {
    /// A page of ours, and nothing else.
    pub(super) fn address(&self) -> &str {
        let is_ours = |next: &&str| {
            next.starts_with(HOME)
                && !next.contains("//")
                && next.bytes().all(|byte| byte.is_ascii_graphic() && byte != b'\\')
        };
        self.next.as_deref().filter(is_ours).unwrap_or(HOME)
    }
}

pub(super) async fn login_page(
    State(gateway): State<Gateway>,
    from: From,
    At(site): At,
    Query(next): Query<Next>,
    headers: HeaderMap,
) -> Response {
    if !gateway.accounts().is_claimed() && gateway.accounts().why_shut().is_none() {
        return Redirect::to(CLAIM).into_response();
    }
    let words = DoorWords::of(visit::words(&headers));
    answer::html(StatusCode::OK, login_form(&gateway, words, from, site.as_ref(), &next, "", None))
}

pub(super) fn login_form(
    gateway: &Gateway,
    words: &DoorWords,
    from: From,
    site: Option<&Site>,
    next: &Next,
    name: &str,
    problem: Option<&str>,
) -> Markup {
    // What is wrong with the box is told to those who are near it.
    let shut = gateway.accounts().why_shut().map(|why| match from.is_near {
        true => fill(words.accounts_shut, &[("why", &why)]),
        false => words.accounts_shut_far.to_owned(),
    });
    let content = html! {
        section class="card" {
            h1 { (words.login_title) }
            @if let Some(shut) = &shut { (layout::notice("bad", shut)) }
            @if let Some(problem) = problem { p class="notice bad" role="alert" id="problem" { (problem) } }
            form method="post" action=(LOGIN) {
                input type="hidden" name="next" value=(next.address());
                label for="name" { (words.name) }
                input id="name" name="name" value=(name) required autocomplete="username" autocapitalize="none"
                    spellcheck="false" autofocus[name.is_empty()];
                label for="password" { (words.password) }
                input id="password" name="password" type="password" required autocomplete="current-password"
                    autofocus[!name.is_empty()] aria-describedby=[problem.map(|_| "problem")];
                button class="primary" { (words.login_submit) }
            }
            (passkeys::way_in(gateway, words, site, next))
            @if gateway.accounts().is_claimable() {
                p class="small" { a href=(CLAIM) { (words.login_with_code) } }
            } @else {
                p class="muted small" { (words.login_forgot) }
            }
            (chat_link(gateway, words))
        }
    };
    layout::door(words, words.login_title, &content)
}

/// A customer who came to the wrong door. With several chats, nobody should learn here which businesses there are.
fn chat_link(gateway: &Gateway, words: &DoorWords) -> Markup {
    match gateway.chat_pages().as_slice() {
        [page] => html! { p class="small" { a href=(page) { (words.open_chat) } } },
        _ => html! {},
    }
}

/// Not to be printed.
#[derive(Deserialize)]
pub(super) struct Login {
    name: String,
    password: String,
    next: Option<String>,
}

pub(super) async fn login(
    State(gateway): State<Gateway>,
    from: From,
    At(site): At,
    headers: HeaderMap,
    Form(form): Form<Login>,
) -> Response {
    let words = DoorWords::of(visit::words(&headers));
    let next = Next { next: form.next };
    let password = Secret::new(form.password);
    let (status, problem) = match gateway.accounts().log_in(&form.name, &password, from.address).await {
        Ok(session) => {
            note(&gateway, from, session.session.who, "log in");
            return enter(from.scheme, &session.token, next.address());
        }
        Err(LoginError::PasskeyWanted { attempt }) => {
            gateway.note_password_alone(&form.name, from.address);
            let address = format!("{}?next={}", passkeys::SECOND, super::query(next.address()));
            let mut response = answer::done(&address);
            let cookie = visit::attempt_cookie(from.scheme, Some(&attempt));
            response.headers_mut().insert(header::SET_COOKIE, cookie);
            return response;
        }
        Err(LoginError::Wrong) => {
            gateway.note_wrong_password(&form.name, from.address);
            (StatusCode::UNAUTHORIZED, words.login_wrong.to_owned())
        }
        Err(LoginError::TooMany { retry_after }) => {
            let seconds = retry_after.as_secs().max(1).to_string();
            (StatusCode::TOO_MANY_REQUESTS, fill(words.too_many, &[("n", &seconds)]))
        }
        Err(LoginError::Account(error)) => refused(words, error),
    };
    answer::html(status, login_form(&gateway, words, from, site.as_ref(), &next, &form.name, Some(&problem)))
}

/// Notes in the access log that somebody came or went.
pub(super) fn note(gateway: &Gateway, from: From, who: Who, what: &'static str) {
    Reached::new(gateway.clone(), who.at(Some(from.address))).note_itself(what);
}

/// Goes to a page with a session that has just begun.
pub(super) fn enter(scheme: Scheme, token: &Secret, address: &str) -> Response {
    let mut response = answer::done(address);
    response.headers_mut().insert(header::SET_COOKIE, visit::cookie(scheme, Some(token)));
    response
}

#[derive(Debug, Deserialize)]
pub(super) struct Made {
    csrf: String,
}

pub(super) async fn logout(
    State(gateway): State<Gateway>,
    visit: Visit,
    from: From,
    headers: HeaderMap,
    Form(made): Form<Made>,
) -> Response {
    if !visit.session.is_csrf(&made.csrf) {
        return answer::Problem::Stale.respond(&visit);
    }
    if let Some(token) = visit::token(from.scheme, &headers)
        && let Err(error) = gateway.accounts().log_out(token).await
    {
        return answer::Problem::from(error).respond(&visit);
    }
    Reached::new(gateway, visit.who().clone()).note_itself("log out");
    let mut response = answer::done(LOGIN);
    response.headers_mut().insert(header::SET_COOKIE, visit::cookie(from.scheme, None));
    response
}

pub(super) async fn claim_page(State(gateway): State<Gateway>, from: From, headers: HeaderMap) -> Response {
    let words = DoorWords::of(visit::words(&headers));
    if gateway.accounts().is_claimed() && !gateway.accounts().is_claimable() {
        return Redirect::to(LOGIN).into_response();
    }
    if !from.is_near {
        return answer::plain(words, StatusCode::FORBIDDEN, words.claim_title, words.claim_elsewhere);
    }
    answer::html(StatusCode::OK, claim_form(&gateway, words, "", None))
}

fn claim_form(gateway: &Gateway, words: &DoorWords, name: &str, problem: Option<&str>) -> Markup {
    let content = html! {
        section class="card" {
            h1 { (words.claim_title) }
            p { (words.claim_lead) }
            @if let Some(problem) = problem { p class="notice bad" role="alert" id="problem" { (problem) } }
            form method="post" action=(CLAIM) {
                label for="code" { (words.claim_code) }
                input id="code" name="code" required autocomplete="off" autocapitalize="characters"
                    spellcheck="false" aria-describedby="code-hint" autofocus;
                p class="hint" id="code-hint" { (words.claim_code_hint) }
                label for="name" { (words.your_name) }
                input id="name" name="name" value=(name) required maxlength="64" autocomplete="username";
                (layout::new_password(words, "password", words.password))
                button class="primary" { (words.claim_submit) }
            }
            (chat_link(gateway, words))
        }
    };
    layout::door(words, words.claim_title, &content)
}

/// Not to be printed.
#[derive(Deserialize)]
pub(super) struct Claim {
    code: String,
    name: String,
    password: String,
}

pub(super) async fn claim(
    State(gateway): State<Gateway>,
    from: From,
    headers: HeaderMap,
    Form(form): Form<Claim>,
) -> Response {
    let words = DoorWords::of(visit::words(&headers));
    let (code, password) = (Secret::new(form.code), Secret::new(form.password));
    let claimed = match from.is_near {
        true => gateway.accounts().claim(&code, &form.name, &password, from.address).await,
        false => Err(ClaimError::NotLocal),
    };
    let (status, problem) = match claimed {
        Ok(session) => {
            note(&gateway, from, session.session.who, "claim");
            return enter(from.scheme, &session.token, HOME);
        }
        Err(ClaimError::Claimed) => return Redirect::to(LOGIN).into_response(),
        Err(ClaimError::NotLocal) => (StatusCode::FORBIDDEN, words.claim_elsewhere.to_owned()),
        Err(ClaimError::Wrong) => (StatusCode::UNAUTHORIZED, words.claim_wrong.to_owned()),
        Err(ClaimError::TooMany { retry_after }) => {
            let seconds = retry_after.as_secs().max(1).to_string();
            (StatusCode::TOO_MANY_REQUESTS, fill(words.too_many, &[("n", &seconds)]))
        }
        Err(ClaimError::Account(error)) => refused(words, error),
    };
    answer::html(status, claim_form(&gateway, words, &form.name, Some(&problem)))
}

/// What the account module does not take.
pub(super) fn refused(words: &Words, error: account::Error) -> (StatusCode, String) {
    let weakness = match &error {
        account::Error::Weak(weakness) => Some(*weakness),
        // Why is said near the box alone.
        account::Error::Shut(_)
        | account::Error::File { .. }
        | account::Error::Damaged { .. }
        | account::Error::TooNew { .. } => {
            return (StatusCode::SERVICE_UNAVAILABLE, DoorWords::of(words).accounts_shut_far.to_owned());
        }
        _ => None,
    };
    let (status, text) = refused::told(words, admin::Error::from(error));
    (status, weakness.map_or(text, |weakness| weak(DoorWords::of(words), weakness).to_owned()))
}

fn weak(words: &DoorWords, weakness: Weakness) -> &'static str {
    match weakness {
        Weakness::Short => words.weak_short,
        Weakness::Long => words.weak_long,
        Weakness::Common => words.weak_common,
        Weakness::Sequence => words.weak_sequence,
        Weakness::Repetition => words.weak_repetition,
        Weakness::Date => words.weak_date,
        Weakness::PersonName => words.weak_name,
        Weakness::Word => words.weak_word,
        Weakness::Guessable => words.weak_guessable,
    }
}

words! {
    /// What the doors say.
    DoorWords;
    claim_title: "Welcome", "Willkommen";
    claim_lead: "This box is new. Make it yours: type the claim code that is printed where it was started, and choose how you will log in.",
        "Diese Box ist neu. Machen Sie sie zu Ihrer: Geben Sie den Code ein, der beim Start angezeigt wird, und wählen Sie Ihre Anmeldung.";
    claim_code: "Claim code", "Code";
    claim_code_hint: "Ten letters and digits, as in K7QD-9M2X-4T. Capitals and dashes do not matter.",
        "Zehn Buchstaben und Ziffern, zum Beispiel K7QD-9M2X-4T. Großschreibung und Striche sind egal.";
    your_name: "Your name", "Ihr Name";
    claim_submit: "Make it mine", "Einrichten";
    claim_elsewhere: "This box can only be claimed from the network it stands in. Open this page on a device in the same network.",
        "Diese Box lässt sich nur aus ihrem eigenen Netzwerk einrichten. Öffnen Sie diese Seite auf einem Gerät im selben Netzwerk.";
    claim_wrong: "This is not the claim code. It is printed where the box was started, and stands in the file claim.code.",
        "Das ist nicht der Code. Er wird beim Start der Box angezeigt und steht in der Datei claim.code.";
    login_title: "Log in", "Anmelden";
    login_submit: "Log in", "Anmelden";
    login_forgot: "Forgotten? Make a new claim code on the box: frontdesk users reset",
        "Vergessen? Erzeugen Sie an der Box einen neuen Code: frontdesk users reset";
    open_chat: "Open the web chat", "Zum Web-Chat";
    accounts_shut: "Nobody can log in now: {why}", "Zurzeit kann sich niemand anmelden: {why}";
    accounts_shut_far: "Nobody can log in now. Open this page near the box to see why.",
        "Zurzeit kann sich niemand anmelden. Öffnen Sie diese Seite in der Nähe der Box, um zu sehen, warum.";
    login_with_code: "Use a claim code", "Mit einem Code anmelden";
    weak_short: "At least ten characters, please. A few words that do not belong together are easy to keep.",
        "Bitte mindestens zehn Zeichen. Ein paar Wörter, die nicht zusammengehören, merkt man sich leicht.";
    weak_long: "This password is too long.", "Dieses Passwort ist zu lang.";
    weak_common: "Many people have this password, or one like it.", "Dieses oder ein ähnliches Passwort haben viele.";
    weak_sequence: "Keys in a row and sequences are easy to guess.", "Tastenfolgen und Reihen sind leicht zu erraten.";
    weak_repetition: "Repetitions are easy to guess.", "Wiederholungen sind leicht zu erraten.";
    weak_date: "Dates and years are easy to guess.", "Tage und Jahre sind leicht zu erraten.";
    weak_name: "Names are easy to guess.", "Namen sind leicht zu erraten.";
    weak_word: "One word is easy to guess. Add others that do not belong to it.",
        "Ein einzelnes Wort ist leicht zu erraten. Fügen Sie andere hinzu, die nicht dazugehören.";
    weak_guessable: "This password is easy to guess. Add a word or two that do not belong to it.",
        "Dieses Passwort ist leicht zu erraten. Fügen Sie ein, zwei Wörter hinzu, die nicht dazugehören.";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_leads_to_pages_of_ours_only() {
        let check = |next: &str, expected: &str| {
            assert_eq!(Next { next: Some(next.to_owned()) }.address(), expected, "{next}");
        };
        check("/admin/conversations?key=a", "/admin/conversations?key=a");
        for next in ["https://evil.example/", "//evil.example", "/admin/\\evil", "/chat/x", "", "/admin//evil.example"]
        {
            check(next, HOME);
        }
    }
}
