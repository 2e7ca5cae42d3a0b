//! Passkeys through the page and the API of a real gateway, with an authenticator in software.

use axum::http::{Method, StatusCode, header};
use frontdesk::account::{Reach, Role};
use frontdesk::document::Secret;
use frontdesk::id::TenantId;
use frontdesk::testing::{Answer, Authenticator};
use reqwest::Response;
use serde_json::{Value, json};

use crate::page::{Browser, Desk, PASSWORD};
use crate::peers::soon;

const OTHER: &str = "amber lantern orchard 12";

/// Somebody at a name that leads here, with a passkey that is not added yet.
async fn at_desk(desk: &Desk) -> (Browser, Authenticator) {
    let mut browser = Browser::at_name(&desk.gateway);
    assert_eq!(browser.log_in("Ada", PASSWORD).await, StatusCode::SEE_OTHER);
    let device = Authenticator::new(browser.origin(), "localhost");
    (browser, device)
}

async fn json_of(response: Response) -> (StatusCode, Value) {
    (response.status(), serde_json::from_str(&response.text().await.unwrap()).unwrap())
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap_or_else(|| panic!("{value}"))
}

async fn begin(browser: &Browser, password: &str) -> (StatusCode, Value) {
    let csrf = browser.csrf().await;
    let fields = [("csrf", csrf.as_str()), ("name", "Phone"), ("password", password)];
    json_of(browser.post("/admin/people/passkeys/begin", &fields).await).await
}

async fn finish(browser: &Browser, made: &Answer) -> Response {
    let csrf = browser.csrf().await;
    let fields =
        [("csrf", csrf.as_str()), ("client_data", &made.client_data), ("authenticator_data", &made.authenticator_data)];
    browser.post("/admin/people/passkeys/add", &fields).await
}

async fn add(browser: &Browser, device: &mut Authenticator, password: &str) {
    let (status, asked) = begin(browser, password).await;
    assert_eq!(status, StatusCode::OK, "{asked}");
    assert_eq!((text(&asked["rp"]["id"]), text(&asked["attestation"])), ("localhost", "none"));
    let made = device.make(text(&asked["challenge"]), text(&asked["user"]["id"]));
    assert_eq!(finish(browser, &made).await.status(), StatusCode::SEE_OTHER);
}

async fn ask(browser: &mut Browser) -> Value {
    let response = browser.post("/admin/login/passkey/begin", &[]).await;
    browser.take_cookie(&response);
    let (status, asked) = json_of(response).await;
    assert_eq!(status, StatusCode::OK, "{asked}");
    asked
}

async fn send(browser: &mut Browser, used: &Answer) -> Response {
    let fields = [
        ("next", "/admin/activity"),
        ("credential", used.credential.as_str()),
        ("handle", &used.handle),
        ("client_data", &used.client_data),
        ("authenticator_data", &used.authenticator_data),
        ("signature", &used.signature),
    ];
    let response = browser.post("/admin/login/passkey", &fields).await;
    browser.take_cookie(&response);
    response
}

/// Logs in without a name and a password.
async fn enter(desk: &Desk, device: &mut Authenticator) -> (Browser, StatusCode) {
    desk.gateway.advance_ms(60 * 60 * 1000);
    let mut browser = Browser::at_name(&desk.gateway);
    let asked = ask(&mut browser).await;
    assert_eq!((&asked["userVerification"], &asked["allowCredentials"]), (&json!("required"), &json!([])));
    let used = device.used(text(&asked["challenge"]));
    let status = send(&mut browser, &used).await.status();
    (browser, status)
}

/// Waits until the access log has all of these.
async fn check_log(desk: &Desk, expected: &[&str]) {
    let recorded = async {
        loop {
            let (_, found) = desk.gateway.admin(Method::GET, "/api/v1/access?limit=50").await;
            let records = found["access"].as_array().unwrap_or_else(|| panic!("{found}"));
            if expected.iter().all(|what| records.iter().any(|record| record["what"] == *what)) {
                return;
            }
        }
    };
    soon("records", recorded).await;
}

#[tokio::test]
async fn a_passkey_is_added_logs_in_and_opens_nothing_once_it_is_removed() {
    let desk = Desk::open().await;
    let (browser, mut phone) = at_desk(&desk).await;
    let (_, door) = Browser::at_name(&desk.gateway).get("/admin/login").await;
    assert!(!door.contains("data-passkey"), "nobody has one yet");
    add(&browser, &mut phone, PASSWORD).await;
    let (_, page) = browser.get("/admin/people").await;
    assert!(page.contains("Phone") && page.contains("not used yet"), "{page}");
    assert!(Browser::at_name(&desk.gateway).get("/admin/login").await.1.contains("data-passkey=\"get\""));

    let (entered, status) = enter(&desk, &mut phone).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    assert_eq!(entered.get("/admin/people").await.0, StatusCode::OK);

    let id = desk.gateway.accounts().passkeys("Ada").unwrap().remove(0).id;
    let csrf = browser.csrf().await;
    let remove = async |csrf: &str, password: &str| {
        let fields = [("csrf", csrf), ("id", &id), ("password", password)];
        browser.post("/admin/people/passkeys/remove", &fields).await.status()
    };
    assert_eq!(remove("wrong", PASSWORD).await, StatusCode::FORBIDDEN);
    assert_eq!(remove(&csrf, OTHER).await, StatusCode::UNAUTHORIZED);
    desk.gateway.advance_ms(60_000);
    assert_eq!(remove(&csrf, PASSWORD).await, StatusCode::SEE_OTHER);
    assert_eq!(entered.get("/admin/people").await.0, StatusCode::SEE_OTHER, "what began with it has ended");
    assert_eq!(enter(&desk, &mut phone).await.1, StatusCode::UNAUTHORIZED);
    check_log(&desk, &["add passkey", "log in with a passkey", "remove passkey", "wrong passkey"]).await;
}

#[tokio::test]
async fn a_passkey_is_asked_for_after_the_password_of_the_browser_that_knew_it() {
    let desk = Desk::open().await;
    let (browser, mut phone) = at_desk(&desk).await;
    add(&browser, &mut phone, PASSWORD).await;
    let csrf = browser.csrf().await;
    let asks = async |password: &str| {
        browser.post("/admin/people/passkeys/ask", &[("csrf", &csrf), ("password", password)]).await.status()
    };
    assert_eq!(asks(OTHER).await, StatusCode::UNAUTHORIZED);
    desk.gateway.advance_ms(60_000);
    assert_eq!(asks(PASSWORD).await, StatusCode::SEE_OTHER);

    let mut new = Browser::at_name(&desk.gateway);
    assert_eq!(new.get("/admin/login/passkey").await.0, StatusCode::SEE_OTHER, "nobody has shown a password");
    assert_eq!(new.log_in("Ada", PASSWORD).await, StatusCode::SEE_OTHER);
    assert_eq!(new.get("/admin/people").await.0, StatusCode::SEE_OTHER, "the password is not enough");
    let (status, page) = new.get("/admin/login/passkey").await;
    assert!(status == StatusCode::OK && page.contains("data-passkey=\"get\"") && page.contains("<noscript>"), "{page}");
    let asked = ask(&mut new).await;
    assert_eq!(asked["userVerification"], "discouraged");
    assert_eq!(asked["allowCredentials"].as_array().unwrap().len(), 1);

    // Another browser with the answer of this one.
    let used = phone.used(text(&asked["challenge"]));
    let mut thief = Browser::at_name(&desk.gateway);
    assert_eq!(send(&mut thief, &used).await.status(), StatusCode::UNAUTHORIZED);
    ask(&mut thief).await;
    desk.gateway.advance_ms(2000);
    assert_eq!(send(&mut thief, &used).await.status(), StatusCode::UNAUTHORIZED);
    desk.gateway.advance_ms(10_000);
    let entered = send(&mut new, &used).await;
    assert_eq!(
        (entered.status(), &entered.headers()[header::LOCATION]),
        (StatusCode::SEE_OTHER, &"/admin/activity".parse().unwrap())
    );
    assert_eq!(new.get("/admin/people").await.0, StatusCode::OK);

    // At an address where it cannot work, the page says where it does.
    let mut numbers = Browser::of(&desk.gateway);
    assert_eq!(numbers.log_in("Ada", PASSWORD).await, StatusCode::SEE_OTHER);
    let (_, page) = numbers.get("/admin/login/passkey").await;
    assert!(page.contains("<li>localhost</li>") && !page.contains("data-passkey"), "{page}");
}

#[tokio::test]
async fn passkeys_are_offered_where_browsers_have_them_and_nowhere_else() {
    let desk = Desk::open().await;
    let (browser, mut phone) = at_desk(&desk).await;
    add(&browser, &mut phone, PASSWORD).await;
    let numbers = desk.browser().await;
    for path in ["/admin/login", "/admin/people"] {
        let (_, page) = numbers.get(path).await;
        assert!(page.contains("an address in numbers") && !page.contains("data-passkey="), "{page}");
    }
    assert_eq!(begin(&numbers, PASSWORD).await.0, StatusCode::CONFLICT);
    assert_eq!(numbers.post("/admin/login/passkey/begin", &[]).await.status(), StatusCode::CONFLICT);
    // Another site's page, or one at a name that another server gave our address.
    let foreign =
        browser.request(Method::POST, "/admin/login/passkey/begin").header(header::ORIGIN, "https://evil.example");
    assert_eq!(foreign.send().await.unwrap().status(), StatusCode::FORBIDDEN);
    let rebound = browser.request(Method::POST, "/admin/login/passkey/begin").header(header::HOST, "evil.example");
    let rebound = rebound.header(header::ORIGIN, "http://evil.example").send().await.unwrap();
    assert_eq!(rebound.status(), StatusCode::MISDIRECTED_REQUEST);
    assert_eq!(browser.get("/admin/passkeys.js").await.0, StatusCode::OK);
}

#[tokio::test]
async fn a_bent_answer_is_refused_in_words_of_the_page() {
    let desk = Desk::open().await;
    let (browser, mut phone) = at_desk(&desk).await;
    add(&browser, &mut phone, PASSWORD).await;
    let origin = browser.origin().to_owned();
    let bends: [&dyn Fn(&mut Authenticator); 4] = [
        &|one| one.origin = "https://evil.example".to_owned(),
        &|one| one.origin = "http://localhost:1".to_owned(),
        &|one| one.site = "evil.example".to_owned(),
        &|one| one.flags = 0b001,
    ];
    for bend in bends {
        bend(&mut phone);
        assert_eq!(enter(&desk, &mut phone).await.1, StatusCode::UNAUTHORIZED);
        (phone.origin, phone.site, phone.flags) = (origin.clone(), "localhost".to_owned(), 0b101);
    }
    // What was answered once is answered.
    desk.gateway.advance_ms(60 * 60 * 1000);
    let mut one = Browser::at_name(&desk.gateway);
    let asked = ask(&mut one).await;
    let used = phone.used(text(&asked["challenge"]));
    let mut replay = one.clone();
    assert_eq!(send(&mut one, &used).await.status(), StatusCode::SEE_OTHER);
    let again = send(&mut replay, &used).await;
    assert_eq!(again.status(), StatusCode::UNAUTHORIZED);
    assert!(again.text().await.unwrap().contains("used already"));
    phone.count = 3;
    assert_eq!(enter(&desk, &mut phone).await.1, StatusCode::SEE_OTHER);
    phone.count = 2;
    desk.gateway.advance_ms(60_000);
    let mut copy = Browser::at_name(&desk.gateway);
    let asked = ask(&mut copy).await;
    let used = phone.used(text(&asked["challenge"]));
    let copied = send(&mut copy, &used).await;
    assert_eq!(copied.status(), StatusCode::UNAUTHORIZED);
    assert!(copied.text().await.unwrap().contains("counted back"));
}

#[tokio::test]
async fn everybody_has_their_own_and_administrators_of_everything_remove_those_of_all() {
    let desk = Desk::open().await;
    let accounts = desk.gateway.accounts();
    let riverside = Reach::Tenant(TenantId::new("riverside").unwrap());
    accounts.add_user("Bob", Role::Support, riverside, &Secret::new(OTHER)).await.unwrap();
    let (ada, mut phone) = at_desk(&desk).await;
    add(&ada, &mut phone, PASSWORD).await;
    let mut bob = Browser::at_name(&desk.gateway);
    assert_eq!(bob.log_in("Bob", OTHER).await, StatusCode::SEE_OTHER);
    let mut bobs = Authenticator::new(bob.origin(), "localhost");
    add(&bob, &mut bobs, OTHER).await;
    assert_eq!(enter(&desk, &mut bobs).await.1, StatusCode::SEE_OTHER);

    let call = async |browser: &Browser, method: Method, path: &str, body: Value| {
        let request = browser.request(method, path).header(header::ORIGIN, browser.origin()).body(body.to_string());
        json_of(request.send().await.unwrap()).await
    };
    let (_, own) = call(&bob, Method::GET, "/api/v1/passkeys", json!({})).await;
    assert_eq!(own["passkeys"].as_array().unwrap().len(), 1, "{own}");
    let adas = accounts.passkeys("Ada").unwrap().remove(0).id;
    let theirs = text(&own["passkeys"][0]["id"]).to_owned();
    // Not another's, not without the password, and not by whoever may not manage accounts.
    let of = |id: &str| format!("/api/v1/passkeys/{id}/remove");
    let right = json!({ "password": OTHER });
    assert_eq!(call(&bob, Method::POST, &of(&adas), right.clone()).await.0, StatusCode::NOT_FOUND);
    let asked = json!({ "asked_for": true, "password": OTHER });
    assert_eq!(call(&bob, Method::POST, "/api/v1/passkeys/asked_for", asked).await.0, StatusCode::OK);
    assert_eq!(call(&bob, Method::POST, &of(&theirs), json!({ "password": PASSWORD })).await.0, StatusCode::FORBIDDEN);
    for method in [Method::GET, Method::DELETE] {
        let path = if method == Method::GET {
            "/api/v1/users/Ada/passkeys".to_owned()
        } else {
            format!("/api/v1/users/Ada/passkeys/{adas}")
        };
        assert_eq!(call(&bob, method, &path, json!({})).await.0, StatusCode::FORBIDDEN);
    }
    let csrf = bob.csrf().await;
    let fields = [("csrf", csrf.as_str()), ("name", "Ada"), ("id", &adas)];
    assert_eq!(bob.post("/admin/people/passkeys/remove-of", &fields).await.status(), StatusCode::FORBIDDEN);
    assert!(!bob.get("/admin/people").await.1.contains("Ada"), "nothing is told of others");

    assert!(ada.get("/admin/people").await.1.contains("Passkeys of others"));
    let csrf = ada.csrf().await;
    let fields = [("csrf", csrf.as_str()), ("name", "Bob"), ("id", &theirs)];
    assert_eq!(ada.post("/admin/people/passkeys/remove-of", &fields).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(enter(&desk, &mut bobs).await.1, StatusCode::UNAUTHORIZED);
    let (status, gone) = desk.gateway.admin(Method::GET, "/api/v1/users/Bob/passkeys").await;
    assert_eq!((status, &gone), (StatusCode::OK, &json!({ "passkeys": [], "asked_for": false })));
    assert_eq!(desk.gateway.admin(Method::GET, "/api/v1/users/Eve/passkeys").await.0, StatusCode::NOT_FOUND);
    let (_, consoles) = desk.gateway.admin(Method::GET, "/api/v1/passkeys").await;
    assert_eq!(consoles["passkeys"], json!([]));
    let (status, removed) = desk.gateway.admin(Method::DELETE, &format!("/api/v1/users/ada/passkeys/{adas}")).await;
    assert_eq!((status, &removed["removed"]), (StatusCode::OK, &json!("Phone")));
}
