//! The local page through the real gateway: who gets in, and what cannot be done from elsewhere.

use axum::http::{Method, StatusCode, header};
use frontdesk::account::{Reach, Role};
use frontdesk::document::Secret;
use frontdesk::id::TenantId;
use frontdesk::log::Keep;
use reqwest::{RequestBuilder, Response};
use serde_json::json;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::peers::{Hook, Model, TestGateway, direct, http};

pub(crate) const PASSWORD: &str = "violet kettle harbour 17";

/// A gateway whose page somebody has claimed, and a browser.
pub(crate) struct Desk {
    pub(crate) gateway: TestGateway,
    model: Model,
    hook: Hook,
}

/// What a browser keeps.
#[derive(Clone)]
pub(crate) struct Browser {
    http: reqwest::Client,
    origin: String,
    cookie: Option<String>,
}

impl Browser {
    pub(crate) fn of(gateway: &TestGateway) -> Self {
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        Self { http, origin: gateway.url(""), cookie: None }
    }

    /// The same, at a name that leads to this machine.
    pub(crate) fn at_name(gateway: &TestGateway) -> Self {
        let mut browser = Self::of(gateway);
        browser.origin = browser.origin.replace("127.0.0.1", "localhost");
        browser
    }

    pub(crate) fn origin(&self) -> &str {
        &self.origin
    }

    pub(crate) fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.origin));
        match &self.cookie {
            Some(cookie) => request.header(header::COOKIE, cookie),
            None => request,
        }
    }

    pub(crate) async fn get(&self, path: &str) -> (StatusCode, String) {
        let response = self.request(Method::GET, path).send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    }

    /// A form of a page of ours.
    pub(crate) async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        self.form(path, fields).send().await.unwrap()
    }

    /// The same, not sent yet.
    pub(crate) fn form(&self, path: &str, fields: &[(&str, &str)]) -> RequestBuilder {
        form(self.request(Method::POST, path).header(header::ORIGIN, &self.origin), fields)
    }

    /// Logs in, and shows the session from then on.
    pub(crate) async fn log_in(&mut self, name: &str, password: &str) -> StatusCode {
        let response = self.post("/admin/login", &[("name", name), ("password", password)]).await;
        self.take_cookie(&response);
        response.status()
    }

    /// Those that are new take the place of those with their names.
    pub(crate) fn take_cookie(&mut self, response: &Response) {
        for new in response.headers().get_all(header::SET_COOKIE) {
            let new = new.to_str().unwrap();
            let pair = new.split(';').next().unwrap();
            let name = pair.split_once('=').unwrap().0;
            let kept = self.cookie.iter().flat_map(|cookies| cookies.split("; "));
            let kept = kept.filter(|cookie| cookie.split_once('=').unwrap().0 != name).map(str::to_owned);
            let all: Vec<String> = kept.chain((!new.contains("Max-Age=0")).then(|| pair.to_owned())).collect();
            self.cookie = (!all.is_empty()).then(|| all.join("; "));
        }
    }

    pub(crate) async fn csrf(&self) -> String {
        let (_, page) = self.get("/admin/people").await;
        let (_, rest) = page.split_once("name=\"csrf\" value=\"").unwrap();
        rest.split('"').next().unwrap().to_owned()
    }
}

fn form(request: RequestBuilder, fields: &[(&str, &str)]) -> RequestBuilder {
    let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
    request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(pairs.join("&"))
}

impl Desk {
    pub(crate) async fn open() -> Self {
        let (model, hook) = (Model::start().await, Hook::start("hook").await);
        let tenant = "tenant_id = \"riverside\"\n";
        let config = format!(
            "[session]\ndm_scope = \"per-channel-peer\"\n{}{}dm_policy = \"open\"\n{tenant}",
            model.provider("m"),
            hook.entry()
        );
        let gateway = TestGateway::start(&config).await;
        let accounts = gateway.accounts();
        let code = accounts.claim_code().unwrap();
        accounts.claim(&code, "Ada", &Secret::new(PASSWORD), "127.0.0.1".parse().unwrap()).await.unwrap();
        Self { gateway, model, hook }
    }

    pub(crate) async fn browser(&self) -> Browser {
        let mut browser = Browser::of(&self.gateway);
        assert_eq!(browser.log_in("Ada", PASSWORD).await, StatusCode::SEE_OTHER);
        browser
    }

    /// Somebody says something, and is answered.
    pub(crate) async fn exchange(&mut self, user: &str, text: &str, answer: &str) -> String {
        let key = self.hook.accepted(&self.gateway, &direct(user, text)).await;
        self.model.asked().await.answer(answer);
        self.gateway.settled().await;
        key
    }
}

#[tokio::test]
async fn a_box_is_claimed_with_the_code_and_once() {
    let gateway = TestGateway::start("").await;
    let mut browser = Browser::of(&gateway);
    let response = browser.request(Method::GET, "/admin/").send().await.unwrap();
    assert_eq!(response.headers()[header::LOCATION], "/admin/login");
    let response = browser.request(Method::GET, "/admin/login").send().await.unwrap();
    assert_eq!(response.headers()[header::LOCATION], "/admin/claim");
    let code = gateway.accounts().claim_code().unwrap();
    let (status, page) = browser.get("/admin/claim").await;
    assert!(status == StatusCode::OK && !page.contains(code.expose()), "the page does not tell the code");

    let claim = async |browser: &Browser, code: &str, password: &str| {
        let fields = [("code", code), ("name", "Ada"), ("password", password)];
        browser.post("/admin/claim", &fields).await
    };
    assert_eq!(claim(&browser, "AAAA-AAAA-AA", PASSWORD).await.status(), StatusCode::UNAUTHORIZED);
    gateway.advance_ms(60_000);
    assert_eq!(claim(&browser, code.expose(), "password12").await.status(), StatusCode::BAD_REQUEST);
    // Through a proxy nobody knows who is near.
    let fields = [("code", code.expose()), ("name", "Ada"), ("password", PASSWORD)];
    let proxied = browser.request(Method::POST, "/admin/claim").header(header::ORIGIN, &browser.origin);
    let proxied = form(proxied.header("x-forwarded-for", "192.168.1.2"), &fields).send().await.unwrap();
    assert_eq!(proxied.status(), StatusCode::FORBIDDEN);

    let claimed = claim(&browser, code.expose(), PASSWORD).await;
    assert_eq!(
        (claimed.status(), &claimed.headers()[header::LOCATION]),
        (StatusCode::SEE_OTHER, &"/admin/".parse().unwrap())
    );
    browser.take_cookie(&claimed);
    assert_eq!(browser.get("/admin/people").await.0, StatusCode::OK);
    // A new box asks its questions first.
    let home = browser.request(Method::GET, "/admin/").send().await.unwrap();
    assert_eq!(home.headers()[header::LOCATION], "/admin/setup");
    let again = claim(&Browser::of(&gateway), code.expose(), PASSWORD).await;
    assert_eq!(again.headers()[header::LOCATION], "/admin/login");
}

#[tokio::test]
async fn pages_are_shown_to_those_who_are_logged_in() {
    let mut desk = Desk::open().await;
    let key = desk.exchange("u1", "a question", "an answer").await;
    let stranger = Browser::of(&desk.gateway);
    let conversation = format!("/admin/conversation?tenant=riverside&key={key}");
    for path in [
        "/admin/",
        "/admin/conversations",
        &conversation,
        "/admin/activity",
        "/admin/logs",
        "/admin/people",
        "/admin/erase",
    ] {
        let response = stranger.request(Method::GET, path).send().await.unwrap();
        let to = response.headers()[header::LOCATION].to_str().unwrap();
        assert!(response.status() == StatusCode::SEE_OTHER && to.starts_with("/admin/login"), "{path}: {to}");
    }
    let browser = desk.browser().await;
    let (status, list) = browser.get("/admin/conversations").await;
    assert!(status == StatusCode::OK && list.contains("u1"), "{list}");
    let (_, found) = browser.get("/admin/conversations?words=question").await;
    assert!(found.contains("a question"), "{found}");
    let (_, page) = browser.get(&conversation).await;
    assert!(page.contains("a question") && page.contains("an answer"), "{page}");
    assert_eq!(browser.get("/admin/conversation?tenant=riverside&key=webhook:nobody").await.0, StatusCode::NOT_FOUND);
    assert_eq!(stranger.get("/admin/nothing").await.0, StatusCode::NOT_FOUND);

    let csrf = browser.csrf().await;
    assert_eq!(browser.post("/admin/logout", &[("csrf", &csrf)]).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(browser.get("/admin/").await.0, StatusCode::SEE_OTHER, "the session is over, whoever kept the cookie");
}

#[tokio::test]
async fn every_page_says_what_a_browser_may_do_with_it() {
    let desk = Desk::open().await;
    let (browser, stranger) = (desk.browser().await, Browser::of(&desk.gateway));
    for (who, path) in [
        (&browser, "/admin/"),
        (&browser, "/admin/conversations"),
        (&browser, "/admin/people"),
        (&browser, "/admin/activity"),
        (&browser, "/admin/logs"),
        (&stranger, "/admin/login"),
        (&stranger, "/admin/page.js"),
        (&stranger, "/api/v1/openapi.json"),
        (&stranger, "/api/v1/status"),
    ] {
        let response = who.request(Method::GET, path).send().await.unwrap();
        let value = |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap()).unwrap_or_default();
        assert!(value("content-security-policy").contains("default-src 'none'"), "{path}");
        assert!(value("content-security-policy").contains("frame-ancestors 'none'"), "{path}");
        let others = ["x-content-type-options", "x-frame-options", "cross-origin-opener-policy"].map(value);
        assert_eq!(others, ["nosniff", "DENY", "same-origin"], "{path}");
        assert!(matches!(value("cache-control"), "no-store" | "no-cache"), "{path}: {}", value("cache-control"));
    }
}

#[tokio::test]
async fn a_name_that_another_server_gives_our_address_opens_nothing() {
    let desk = Desk::open().await;
    let browser = desk.browser().await;
    for host in ["evil.example", "evil.example:18789", "127.0.0.1.evil.example", "frontdesk.local.evil.example"] {
        for path in ["/admin/", "/admin/login", "/api/v1/status"] {
            let response = browser.request(Method::GET, path).header(header::HOST, host).send().await.unwrap();
            assert_eq!(response.status(), StatusCode::MISDIRECTED_REQUEST, "{host} {path}");
        }
    }
    let local = browser.request(Method::GET, "/admin/").header(header::HOST, "frontdesk.local").send().await.unwrap();
    assert_eq!(local.status(), StatusCode::OK);
}

#[tokio::test]
async fn another_site_cannot_make_a_browser_act() {
    let mut desk = Desk::open().await;
    let key = desk.exchange("u1", "hello", "hi").await;
    let browser = desk.browser().await;
    let csrf = browser.csrf().await;
    let fields = [("csrf", csrf.as_str()), ("key", key.as_str()), ("tenant", "riverside")];
    let archive = "/admin/conversation/archive";
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1"] {
        let response =
            form(browser.request(Method::POST, archive).header(header::ORIGIN, origin), &fields).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{origin}");
    }
    let without = form(browser.request(Method::POST, archive), &fields).send().await.unwrap();
    assert_eq!(without.status(), StatusCode::FORBIDDEN, "nothing says where it comes from");
    for csrf in ["", "0", csrf.trim_start_matches(char::is_alphanumeric), &csrf.to_uppercase()] {
        let response = browser.post(archive, &[("csrf", csrf), fields[1], fields[2]]).await;
        assert_eq!(response.status(), StatusCode::FORBIDDEN, "{csrf}");
    }
    // Of another session of the same person.
    let other = desk.browser().await.csrf().await;
    assert_eq!(browser.post(archive, &[("csrf", &other), fields[1], fields[2]]).await.status(), StatusCode::FORBIDDEN);
    assert!(browser.get(&format!("/admin/conversation?tenant=riverside&key={key}")).await.1.contains("Live"));
    let api = format!("/api/v1/sessions/archive?tenant=riverside&key={key}");
    let forged =
        browser.request(Method::POST, &api).header(header::ORIGIN, "http://evil.example").send().await.unwrap();
    assert_eq!(forged.status(), StatusCode::UNAUTHORIZED, "a cookie alone changes nothing");

    assert_eq!(browser.post(archive, &fields).await.status(), StatusCode::SEE_OTHER);
    assert!(browser.get(&format!("/admin/conversation?tenant=riverside&key={key}")).await.1.contains("Archived"));
}

#[tokio::test]
async fn a_session_that_somebody_brings_along_is_not_the_one_they_get() {
    let desk = Desk::open().await;
    let mut browser = Browser::of(&desk.gateway);
    browser.cookie = Some("frontdesk_session=chosen-by-somebody-else".to_owned());
    assert_eq!(browser.log_in("Ada", PASSWORD).await, StatusCode::SEE_OTHER);
    assert!(!browser.cookie.as_ref().unwrap().contains("chosen"));
    let first = browser.clone();
    assert_eq!(browser.log_in("Ada", PASSWORD).await, StatusCode::SEE_OTHER);
    assert_ne!(first.cookie, browser.cookie, "every login is a session of its own");
}

#[tokio::test]
async fn guessing_gets_slower_and_says_the_same_of_every_name() {
    let desk = Desk::open().await;
    let mut browser = Browser::of(&desk.gateway);
    let mut n_tried = 0;
    while browser.log_in("Ada", "a wrong password").await != StatusCode::TOO_MANY_REQUESTS {
        n_tried += 1;
        assert!(n_tried < 20, "nobody slows it down");
    }
    assert_eq!(browser.log_in("Ada", PASSWORD).await, StatusCode::TOO_MANY_REQUESTS, "not even with the right one");
    desk.gateway.advance_ms(60 * 60_000);
    let page = async |name: &str| {
        let response = browser.post("/admin/login", &[("name", name), ("password", "a wrong password")]).await;
        let status = response.status();
        (status, response.text().await.unwrap().replace(name, "NAME"))
    };
    let known = page("Ada").await;
    desk.gateway.advance_ms(60 * 60_000);
    assert_eq!(page("Nobody").await, known);
    assert_eq!(known.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn whoever_may_only_look_changes_nothing_and_a_tenants_own_see_no_other() {
    let mut desk = Desk::open().await;
    let key = desk.exchange("u1", "hello", "hi").await;
    let accounts = desk.gateway.accounts();
    let password = Secret::new(PASSWORD);
    accounts.add_user("Support", Role::Support, Reach::All, &password).await.unwrap();
    let other = Reach::Tenant(TenantId::new("7").unwrap());
    accounts.add_user("Other", Role::Admin, other, &password).await.unwrap();

    let mut support = Browser::of(&desk.gateway);
    support.log_in("Support", PASSWORD).await;
    let conversation = format!("/admin/conversation?tenant=riverside&key={key}");
    let (status, page) = support.get(&conversation).await;
    assert!(
        status == StatusCode::OK && page.contains("hello") && !page.contains("/admin/conversation/archive"),
        "{page}"
    );
    let csrf = support.csrf().await;
    let fields = [
        ("csrf", csrf.as_str()),
        ("key", key.as_str()),
        ("tenant", "riverside"),
        ("name", "Ada"),
        ("password", PASSWORD),
    ];
    for action in ["conversation/archive", "conversation/restore", "conversation/erase", "people/remove", "people/add"]
    {
        let refused = support.post(&format!("/admin/{action}"), &fields).await;
        assert_eq!(refused.status(), StatusCode::FORBIDDEN, "{action}");
    }
    assert_eq!(support.get(&format!("/admin/erase?tenant=riverside&key={key}")).await.0, StatusCode::FORBIDDEN);
    assert!(!support.get("/admin/people").await.1.contains("Ada"));

    let mut other = Browser::of(&desk.gateway);
    other.log_in("Other", PASSWORD).await;
    assert_eq!(other.get(&conversation).await.0, StatusCode::NOT_FOUND);
    for path in [
        "/admin/",
        "/admin/conversations",
        "/admin/conversations?words=hello",
        "/admin/people",
        "/admin/activity?range=year",
        "/admin/activity?tenant=riverside",
    ] {
        let (status, page) = other.get(path).await;
        assert!(status == StatusCode::OK && !page.contains("riverside") && !page.contains("u1"), "{path}: {page}");
    }
    let api = other.get("/api/v1/sessions").await;
    assert!(api.0 == StatusCode::OK && !api.1.contains("riverside"), "{}", api.1);
}

#[tokio::test]
async fn programs_use_the_admin_api_with_a_token() {
    let desk = Desk::open().await;
    let status = async |token: &str| {
        let request = http().get(desk.gateway.url("/api/v1/status")).bearer_auth(token);
        request.send().await.unwrap().status()
    };
    assert_eq!(status("fd_nothing").await, StatusCode::UNAUTHORIZED);
    let browser = desk.browser().await;
    let wanted = json!({ "name": "monitor", "role": "support" });
    let request = browser.request(Method::POST, "/api/v1/tokens").header(header::ORIGIN, &browser.origin);
    let made: serde_json::Value = request.json(&wanted).send().await.unwrap().json().await.unwrap();
    let token = made["token"].as_str().unwrap();
    assert_eq!(status(token).await, StatusCode::OK);
    let reload = http().post(desk.gateway.url("/api/v1/reload")).bearer_auth(token).send().await.unwrap();
    assert_eq!(reload.status(), StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn what_people_and_models_write_stays_text() {
    let mut desk = Desk::open().await;
    let hostile = "<script>alert(1)</script><img src=x onerror=alert(1)>{{7*7}}${7*7}\u{202e}gnp.exe ../../etc/passwd";
    let long = "w".repeat(100_000);
    let key = desk.exchange("<b>u1</b>", hostile, &format!("{hostile} {long}")).await;
    let browser = desk.browser().await;
    let (_, list) = browser.get("/admin/conversations").await;
    let (address, _) =
        list.split_once("\">").map(|(_, rest)| rest).and_then(|rest| rest.split_once("&lt;b&gt;u1")).unwrap();
    assert!(address.contains("/admin/conversation?"), "it is in the list, as text");
    let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
    let (status, page) = browser.get(&format!("/admin/conversation?tenant=riverside&key={}", encode(&key))).await;
    assert_eq!(status, StatusCode::OK, "{page}");
    for (text, page) in [("list", &list), ("conversation", &page)] {
        assert!(!page.contains("<script>alert") && !page.contains("<img") && !page.contains("<b>u1"), "{text}: {page}");
    }
    assert!(
        page.contains("&lt;script&gt;alert(1)")
            && page.contains("{{7*7}}${7*7}")
            && page.contains(&"w".repeat(20_000))
            && !page.contains(&long)
    );
    let (_, found) =
        browser.get(&format!("/admin/conversations?words={}", encode("\"><script>alert(2)</script>"))).await;
    assert!(!found.contains("<script>alert(2)"), "{found}");
}

#[tokio::test]
async fn whoever_lost_the_password_gets_in_with_a_new_code() {
    let desk = Desk::open().await;
    let browser = desk.browser().await;
    assert_eq!(browser.get("/admin/claim").await.0, StatusCode::SEE_OTHER, "there is no code");
    let code = desk.gateway.accounts().recover().await.unwrap();
    assert_eq!(browser.get("/admin/").await.0, StatusCode::SEE_OTHER, "administrators are logged out");
    let mut browser = Browser::of(&desk.gateway);
    assert!(browser.get("/admin/login").await.1.contains("/admin/claim"), "the way is shown");
    assert_eq!(browser.get("/admin/claim").await.0, StatusCode::OK);
    let fields = [("code", code.expose()), ("name", "Ada"), ("password", "another kettle meadow 5")];
    assert_eq!(browser.post("/admin/claim", &fields).await.status(), StatusCode::SEE_OTHER);
    assert_eq!(browser.log_in("Ada", "another kettle meadow 5").await, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn another_site_may_lead_here_and_not_have_a_page_as_part_of_its_own() {
    let desk = Desk::open().await;
    let browser = desk.browser().await;
    let ask = async |path: &str, site: &str, mode: &str| {
        let request = browser.request(Method::GET, path).header("sec-fetch-site", site).header("sec-fetch-mode", mode);
        request.send().await.unwrap().status()
    };
    assert_eq!(ask("/admin/people", "cross-site", "navigate").await, StatusCode::OK);
    for (site, mode) in [("cross-site", "no-cors"), ("same-site", "no-cors"), ("same-site", "cors")] {
        assert_eq!(ask("/admin/people", site, mode).await, StatusCode::FORBIDDEN, "{site} {mode}");
        assert_eq!(ask("/api/v1/sessions", site, mode).await, StatusCode::UNAUTHORIZED, "{site} {mode}");
    }
    assert_eq!(ask("/api/v1/sessions", "same-origin", "cors").await, StatusCode::OK);
}

#[tokio::test]
async fn a_long_conversation_is_shown_page_by_page() {
    let mut desk = Desk::open().await;
    let mut key = String::new();
    for n in 0..60 {
        key = desk.exchange("u1", &format!("question {n}."), &format!("answer {n}.")).await;
    }
    let browser = desk.browser().await;
    let address = format!("/admin/conversation?tenant=riverside&key={key}");
    let (_, page) = browser.get(&address).await;
    assert!(page.contains("answer 59.") && page.contains("question 10.") && !page.contains("answer 9."));
    let (_, earlier) = page.split_once("before=").unwrap();
    let before = earlier.split('"').next().unwrap();
    let (_, page) = browser.get(&format!("{address}&before={before}")).await;
    assert!(
        page.contains("answer 9.")
            && page.contains("question 0.")
            && !page.contains("before=")
            && !page.contains("question 10.")
    );
    for before in ["0", "1", "18446744073709551615"] {
        assert_eq!(browser.get(&format!("{address}&before={before}")).await.0, StatusCode::OK, "{before}");
    }
}

#[tokio::test]
async fn activity_is_for_everybody_as_far_as_they_reach_and_the_log_for_those_who_run_the_box() {
    let mut desk = Desk::open().await;
    let browser = desk.browser().await;
    let (_, nothing) = browser.get("/admin/activity").await;
    assert!(nothing.contains("Nothing happened in this time") && nothing.contains("id=\"memory-title\""), "{nothing}");
    desk.exchange("u1", "hello", "hi").await;
    for range in ["day", "week", "month", "year", "nonsense"] {
        let (status, page) = browser.get(&format!("/admin/activity?range={range}")).await;
        assert_eq!(status, StatusCode::OK);
        for part in ["id=\"messages-title\"", "id=\"latency-title\"", "id=\"tokens-title\"", ">riverside</th>"] {
            assert!(page.contains(part), "{part} in {page}");
        }
        assert!(page.contains("<svg") && !page.contains("style=") && !page.contains("onclick"), "{page}");
    }
    let (_, home) = browser.get("/admin/").await;
    assert!(home.contains("last 24 hours") && home.contains("Messages 1</title>"), "{home}");

    let accounts = desk.gateway.accounts();
    let password = Secret::new(PASSWORD);
    accounts.add_user("Support", Role::Support, Reach::All, &password).await.unwrap();
    let own = Reach::Tenant(TenantId::new("riverside").unwrap());
    accounts.add_user("Own", Role::Admin, own, &password).await.unwrap();
    for (name, sees_memory) in [("Support", true), ("Own", false)] {
        let mut visitor = Browser::of(&desk.gateway);
        visitor.log_in(name, PASSWORD).await;
        let (status, page) = visitor.get("/admin/activity").await;
        assert_eq!((status, page.contains("id=\"memory-title\"")), (StatusCode::OK, sees_memory), "{name}: {page}");
        assert!(page.contains("riverside") && !page.contains("/admin/logs"), "{name}: {page}");
        assert_eq!(visitor.get("/admin/logs").await.0, StatusCode::FORBIDDEN, "{name}");
        assert_eq!(visitor.get("/api/v1/logs").await.0, StatusCode::FORBIDDEN, "{name}");
    }
}

#[tokio::test]
async fn what_stands_in_the_log_stays_text_and_can_be_looked_through() {
    // Another test of this process may have done it.
    let _ = tracing_subscriber::registry().with(Keep::alone()).try_init();
    let desk = Desk::open().await;
    let browser = desk.browser().await;
    let hostile = "<script>alert(7)</script>\u{202e}gnp";
    tracing::warn!(name = hostile, "a peer is called {hostile}");
    tracing::info!("a line of the log page");
    let (status, page) = browser.get("/admin/logs?words=peer%20called").await;
    assert!(status == StatusCode::OK && page.contains("&lt;script&gt;alert(7)"), "{page}");
    assert!(!page.contains("<script>alert(7)") && !page.contains("a line of the log page"), "{page}");
    let (_, page) = browser.get("/admin/logs?words=%22%3E%3Cscript%3Ealert(8)&level=warn").await;
    assert!(!page.contains("<script>alert(8)") && page.contains("Nothing was noted"), "{page}");
    let (_, page) = browser.get("/admin/logs").await;
    assert!(page.contains("a line of the log page") && page.contains("data-refresh"), "{page}");
    assert_eq!(browser.get("/admin/logs?level=loud").await.0, StatusCode::NOT_FOUND);
}
