//! The pages on which people answer, see who did what, and look after backups: through the real gateway.

use axum::http::{Method, StatusCode, header};
use frontdesk::account::{Reach, Role};
use frontdesk::document::Secret;
use frontdesk::id::TenantId;
use reqwest::{RequestBuilder, Response};

use crate::peers::{Hook, Model, Question, TestGateway, direct, soon};

const PASSWORD: &str = "violet kettle harbour 17";
const PASSPHRASE: &str = "four quiet words here";

struct Desk {
    gateway: TestGateway,
    model: Model,
    hook: Hook,
    place: tempfile::TempDir,
}

struct Browser {
    http: reqwest::Client,
    origin: String,
    cookie: String,
}

impl Desk {
    async fn open() -> Self {
        let (model, hook, place) = (Model::start().await, Hook::start("hook").await, tempfile::tempdir().unwrap());
        let config = format!(
            "[session]\ndm_scope = \"per-channel-peer\"\n[backup]\nto = \"{}\"\npassphrase = \"{PASSPHRASE}\"\n{}{}dm_policy = \
             \"open\"\ntenant_id = \"riverside\"\n",
            place.path().display(),
            model.provider("m"),
            hook.entry()
        );
        let gateway = TestGateway::start(&config).await;
        let (accounts, near) = (gateway.accounts(), "127.0.0.1".parse().unwrap());
        let (code, password) = (accounts.claim_code().unwrap(), Secret::new(PASSWORD));
        accounts.claim(&code, "Ada", &password, near).await.unwrap();
        let of = |id: &str| Reach::Tenant(TenantId::new(id).unwrap());
        accounts.add_user("Rita", Role::Admin, of("riverside"), &password).await.unwrap();
        accounts.add_user("Otto", Role::Admin, of("other"), &password).await.unwrap();
        accounts.add_user("Sue", Role::Support, Reach::All, &password).await.unwrap();
        Self { gateway, model, hook, place }
    }

    async fn browser(&self, name: &str) -> Browser {
        let http = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
        let mut browser = Browser { http, origin: self.gateway.url(""), cookie: String::new() };
        let response = browser.post("/admin/login", &[("name", name), ("password", PASSWORD)]).await;
        let cookie = response.headers()[header::SET_COOKIE].to_str().unwrap();
        browser.cookie = cookie.split(';').next().unwrap().to_owned();
        browser
    }

    /// Somebody says something to the worker, who is still thinking. The address of the conversation's page.
    async fn asked(&mut self, text: &str) -> (String, String, Question) {
        let key = self.hook.accepted(&self.gateway, &direct("u1", text)).await;
        let question = self.model.asked().await;
        (format!("/admin/conversation?tenant=riverside&key={key}"), key, question)
    }
}

impl Browser {
    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.origin)).header(header::COOKIE, &self.cookie)
    }

    async fn get(&self, path: &str) -> (StatusCode, String) {
        let response = self.request(Method::GET, path).send().await.unwrap();
        (response.status(), response.text().await.unwrap())
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)]) -> Response {
        let encode = |text: &str| text.bytes().map(|byte| format!("%{byte:02X}")).collect::<String>();
        let pairs: Vec<String> = fields.iter().map(|(name, value)| format!("{name}={}", encode(value))).collect();
        let request = self.request(Method::POST, path).header(header::ORIGIN, &self.origin);
        let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        request.body(pairs.join("&")).send().await.unwrap()
    }

    async fn csrf(&self) -> String {
        let (_, page) = self.get("/admin/people").await;
        field(&page, "csrf")
    }

    /// An order about a conversation.
    async fn order(&self, action: &str, key: &str, more: &[(&str, &str)]) -> Response {
        let csrf = self.csrf().await;
        let fields = [&[("csrf", &*csrf), ("key", key), ("tenant", "riverside")], more].concat();
        self.post(&format!("/admin/conversation/{action}"), &fields).await
    }
}

/// What a hidden field of a page holds.
fn field(page: &str, name: &str) -> String {
    let (_, rest) = page.split_once(&format!("name=\"{name}\" value=\"")).unwrap();
    rest.split('"').next().unwrap().to_owned()
}

#[tokio::test]
async fn somebody_answers_on_the_page_and_hands_back() {
    let mut desk = Desk::open().await;
    let (address, key, _hangs) = desk.asked("is anybody there?").await;
    let rita = desk.browser("Rita").await;
    let (_, page) = rita.get(&address).await;
    assert!(page.contains("Answer yourself") && !page.contains("<textarea"), "{page}");
    assert_eq!(rita.order("take", &key, &[]).await.status(), StatusCode::SEE_OTHER);
    let (_, page) = rita.get(&address).await;
    assert!(page.contains("You answer here.") && page.contains("<textarea"), "{page}");

    // What comes in after the page was made is not taken for answered.
    let (seen, once) = (field(&page, "seen"), field(&page, "once"));
    desk.hook.accepted(&desk.gateway, &direct("u1", "hello?")).await;
    let hostile = "<script>alert(1)</script>\r\n\u{202e}Yes.";
    let said = [("text", hostile), ("seen", &*seen), ("once", &*once)];
    for _click in 0..2 {
        let response = rita.order("say", &key, &said).await;
        assert_eq!(response.status(), StatusCode::SEE_OTHER);
    }
    desk.hook.hears(&hostile.replace('\r', ""), &["is anybody there?"]).await;
    let (_, page) = rita.get(&address).await;
    assert!(page.contains("hello?") && !page.contains("<script>alert"), "{page}");
    assert_eq!(page.matches("&lt;script&gt;alert").count(), 1, "two clicks are one answer");
    let (_, home) = rita.get("/admin/").await;
    assert!(home.contains("Conversations that people answer"), "{home}");
    let (_, list) = rita.get("/admin/conversations").await;
    assert!(list.contains("Rita answers"), "{list}");

    let ada = desk.browser("Ada").await;
    let refused = ada.order("say", &key, &[("text", "a draft that took an hour")]).await;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    let page = refused.text().await.unwrap();
    assert!(page.contains("Take over from Rita"), "{page}");
    assert_eq!(ada.order("take", &key, &[]).await.status(), StatusCode::CONFLICT);
    assert_eq!(ada.order("take", &key, &[("from_others", "yes")]).await.status(), StatusCode::SEE_OTHER);
    let refused = rita.order("say", &key, &[("text", "too late")]).await;
    assert_eq!(refused.status(), StatusCode::CONFLICT);
    assert_eq!(ada.order("hand-back", &key, &[]).await.status(), StatusCode::SEE_OTHER);
    desk.model.asked().await.answer("to hello?");
    desk.hook.hears("to hello?", &["hello?"]).await;
}

#[tokio::test]
async fn who_may_only_look_or_has_another_tenant_takes_nothing() {
    let mut desk = Desk::open().await;
    let (address, key, _hangs) = desk.asked("a secret").await;
    let (sue, otto) = (desk.browser("Sue").await, desk.browser("Otto").await);
    let (_, page) = sue.get(&address).await;
    assert!(page.contains("a secret") && !page.contains("Answer yourself"));
    assert_eq!(otto.get(&address).await.0, StatusCode::NOT_FOUND);
    for action in ["take", "say", "hand-back"] {
        assert_eq!(sue.order(action, &key, &[("text", "x")]).await.status(), StatusCode::FORBIDDEN, "{action}");
        assert_eq!(otto.order(action, &key, &[("text", "x")]).await.status(), StatusCode::NOT_FOUND, "{action}");
        let path = format!("/admin/conversation/{action}");
        let fields = [("csrf", "0"), ("key", &*key), ("tenant", "riverside"), ("text", "x")];
        let rita = desk.browser("Rita").await;
        assert_eq!(rita.post(&path, &fields).await.status(), StatusCode::FORBIDDEN, "{action}");
    }
    assert!(desk.gateway.store().taken().unwrap().is_empty());
}

#[tokio::test]
async fn the_access_log_shows_each_what_is_theirs() {
    let mut desk = Desk::open().await;
    let (address, key, question) = desk.asked("a question").await;
    question.answer("an answer");
    desk.gateway.settled().await;
    let (ada, rita, otto, sue) =
        (desk.browser("Ada").await, desk.browser("Rita").await, desk.browser("Otto").await, desk.browser("Sue").await);
    ada.post("/admin/login", &[("name", "Ada"), ("password", "wrong password 1")]).await;
    for _look in 0..3 {
        sue.get(&address).await;
    }
    let recorded = async {
        loop {
            let (_, page) = ada.get("/admin/access").await;
            let rows = page.split_once("<tbody>").map(|(_, rows)| rows).unwrap_or_default();
            if rows.contains("Read a conversation") && rows.contains("Wrong password") {
                return page;
            }
        }
    };
    let page = soon("records", recorded).await;
    let table = page.split_once("<tbody>").unwrap().1;
    assert_eq!(table.matches("Read a conversation").count(), 1, "{table}");
    assert!(table.contains(&key) && table.contains("127.0.0.1") && !page.contains("an answer"), "{table}");
    let (_, theirs) = rita.get("/admin/access").await;
    let theirs = theirs.split_once("<tbody>").unwrap().1;
    assert!(theirs.contains("Sue") && theirs.contains("Rita") && !theirs.contains("Ada") && !theirs.contains("Otto"));
    let (status, others) = otto.get(&format!("/admin/access?key={key}&tenant=riverside")).await;
    assert!(status == StatusCode::OK && !others.contains("Sue"), "{others}");
    assert_eq!(sue.get("/admin/access").await.0, StatusCode::FORBIDDEN);
    let (status, none) = ada.get("/admin/access?who=%3Cscript%3E&key=%00&what=x").await;
    assert!(status == StatusCode::OK && !none.contains("<script>"), "{none}");
}

#[tokio::test]
async fn backups_are_made_checked_and_taken_out_by_whoever_runs_the_box() {
    let desk = Desk::open().await;
    let (ada, rita, sue) = (desk.browser("Ada").await, desk.browser("Rita").await, desk.browser("Sue").await);
    for browser in [&rita, &sue] {
        assert_eq!(browser.get("/admin/backups").await.0, StatusCode::FORBIDDEN);
        let csrf = browser.csrf().await;
        assert_eq!(browser.post("/admin/backups/now", &[("csrf", &csrf)]).await.status(), StatusCode::FORBIDDEN);
        assert_eq!(browser.get("/api/v1/backup/file?name=x").await.0, StatusCode::FORBIDDEN);
    }
    let (_, page) = ada.get("/admin/backups").await;
    assert!(page.contains("No backup yet") && page.contains("Nobody has shown yet"), "{page}");
    let csrf = ada.csrf().await;
    assert_eq!(ada.post("/admin/backups/now", &[("csrf", "0")]).await.status(), StatusCode::FORBIDDEN);
    assert_eq!(ada.post("/admin/backups/now", &[("csrf", &csrf)]).await.status(), StatusCode::SEE_OTHER);
    let shows = async |what: &str| {
        let shown = async {
            loop {
                let (_, page) = ada.get("/admin/backups").await;
                if page.contains(what) {
                    return page;
                }
            }
        };
        soon("a backup", shown).await
    };
    let page = shows("Read back when it was made").await;
    let name = field(&page, "name");
    let (status, body) = ada.get(&format!("/api/v1/backup/file?name={name}")).await;
    assert!(status == StatusCode::OK && body.starts_with("age-encryption.org/v1"), "it is as it is there");
    for other in ["../config.toml", "config.toml", "", "frontdesk-00000000-20200101T000000Z-00000000.age"] {
        let (status, _) = ada.get(&format!("/api/v1/backup/file?name={other}")).await;
        assert!(status.is_client_error(), "{other}: {status}");
    }
    ada.post("/admin/backups/check", &[("csrf", &csrf), ("name", &name)]).await;
    shows("Whole").await;

    let wrong =
        ada.post("/admin/backups/passphrase", &[("csrf", &csrf), ("passphrase", "five other quiet words")]).await;
    assert_eq!(wrong.status(), StatusCode::BAD_REQUEST);
    ada.post("/admin/backups/passphrase", &[("csrf", &csrf), ("passphrase", PASSPHRASE)]).await;
    let page = shows("Somebody typed the passphrase").await;
    assert!(!page.contains(PASSPHRASE));
    let state = std::fs::read_to_string(desk.gateway.home().join("backup.json")).unwrap();
    assert!(!state.contains(PASSPHRASE));

    // A backup that is broken is found.
    let file = desk.place.path().join(&name);
    let mut bytes = std::fs::read(&file).unwrap();
    let last = bytes.len() - 20;
    bytes[last] ^= 1;
    std::fs::write(&file, bytes).unwrap();
    ada.post("/admin/backups/check", &[("csrf", &csrf), ("name", &name)]).await;
    shows("Broken").await;
}
