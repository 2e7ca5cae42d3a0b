//! Configurations that are changed in place, and the secrets in them, under a running gateway.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use axum::http::{Method, StatusCode};
use frontdesk::config;
use serde_json::{Value, json};

use crate::peers::TestGateway;

const TEXT: &str = "# The desk of Pine Street\n[session]\ndm_scope = \"per-channel-peer\" # kept apart\n\n\
    [[channels]]\ntype = \"webchat\" # ours\n\n[[api_keys]]\nname = \"crm\"\nkey = \"swordfish-9-swordfish-9-swordfish\"\n";

struct Desk(TestGateway);

impl Desk {
    /// The gateway of the tests listens at any port, so its own lines stand in front.
    async fn start() -> Self {
        Self(TestGateway::start(TEXT).await)
    }

    fn file(&self) -> String {
        fs::read_to_string(self.0.home().join("config.toml")).unwrap()
    }

    fn digest(&self) -> String {
        config::digest(self.file().as_bytes())
    }

    async fn patch(&self, changes: Value) -> (StatusCode, Value) {
        let body = json!({ "base": self.digest(), "changes": changes });
        self.0.admin_send(Method::PATCH, "/api/v1/config", &body).await
    }

    async fn check(&self, body: Value) -> Value {
        let mut body = body;
        body["base"] = json!(self.digest());
        let (status, checked) = self.0.admin_send(Method::POST, "/api/v1/config/check", &body).await;
        assert_eq!(status, StatusCode::OK, "{checked}");
        checked
    }

    async fn refused(&self, changes: Value) -> (u16, String) {
        let before = self.file();
        let (status, body) = self.patch(changes).await;
        assert_eq!(self.file(), before, "nothing has changed");
        (status.as_u16(), body["error"].as_str().unwrap().to_owned())
    }

    async fn set_secret(&self, name: &str, value: &str) -> (StatusCode, Value) {
        let body = json!({ "value": value });
        self.0.admin_send(Method::PUT, &format!("/api/v1/secrets/{name}"), &body).await
    }
}

#[tokio::test]
async fn a_change_is_used_at_once_and_every_other_line_stays() {
    let desk = Desk::start().await;
    let before = desk.file();
    let hook = json!({ "type": "webhook", "id": "hook42", "secret": "whsec-0123456789", "reply_url": "https://example.com/r" });
    let changes = json!([
        { "path": "session.ttl_days", "set": 7 },
        { "path": "channels", "append": hook },
        { "path": "channels[id=webchat].title", "set": "Pine Street" },
    ]);
    let (status, body) = desk.patch(changes).await;
    assert_eq!((status, &body["started"]), (StatusCode::OK, &json!(["hook42", "webchat"])), "{body}");
    let expected = before
        .replace("# kept apart\n", "# kept apart\nttl_days = 7\n")
        .replace("# ours\n", "# ours\ntitle = \"Pine Street\"\n\n[[channels]]\nid = \"hook42\"\nreply_url = \"https://example.com/r\"\nsecret = \"whsec-0123456789\"\ntype = \"webhook\"\n");
    assert_eq!(desk.file(), expected);
    let (_, undone) = desk.0.admin(Method::POST, "/api/v1/config/undo").await;
    assert_eq!((&undone["stopped"], desk.file()), (&json!(["hook42", "webchat"]), before));
}

#[tokio::test]
async fn what_cannot_be_made_or_used_changes_nothing() {
    let desk = Desk::start().await;
    let check = async |changes: Value, status: u16, expected: &str| {
        let (found, error) = desk.refused(changes).await;
        assert!(found == status && error.contains(expected), "{found} {error}");
    };
    check(
        json!([{ "path": "session.ttl_days", "set": 7 }, { "path": "session.dm_scope", "set": "x" }]),
        422,
        "per-peer",
    )
    .await;
    check(json!([{ "path": "channels[id=other].title", "set": "x" }]), 404, "channels[id=other].title").await;
    check(json!([{ "path": "session[", "set": 1 }]), 400, "not a path").await;
    check(json!([{ "path": "session", "append": 1 }]), 422, "a list").await;
    check(json!([{ "path": "session.ttl_days" }]), 400, "exactly one").await;
    check(json!([{ "path": "session.ttl_days", "set": null }]), 400, "exactly one").await;
    let (status, body) = {
        let body = json!({ "base": "0", "changes": [{ "path": "session.ttl_days", "set": 7 }] });
        desk.0.admin_send(Method::PATCH, "/api/v1/config", &body).await
    };
    assert_eq!(status, StatusCode::CONFLICT, "{body}");
}

#[tokio::test]
async fn yaml_is_not_changed_in_place_and_no_file_is_begun_as_toml() {
    let desk = Desk::start().await;
    desk.0.remove_config();
    fs::write(desk.0.home().join("config.yml"), "session:\n  dmScope: per-channel-peer\n").unwrap();
    let base = config::digest(b"session:\n  dmScope: per-channel-peer\n");
    let ask = async |base: Option<&str>| {
        let body = json!({ "base": base, "changes": [{ "path": "session.ttl_days", "set": 7 }] });
        desk.0.admin_send(Method::PATCH, "/api/v1/config", &body).await
    };
    let (status, body) = ask(Some(&base)).await;
    assert!(status == StatusCode::CONFLICT && body["error"].as_str().unwrap().contains(".yml"), "{body}");
    fs::remove_file(desk.0.home().join("config.yml")).unwrap();
    let check = json!({ "changes": [{ "path": "session.dm_scope", "set": "per-peer" }] });
    let (_, checked) = desk.0.admin_send(Method::POST, "/api/v1/config/check", &check).await;
    assert_eq!(
        checked["difference"],
        json!("--- now\n+++ then\n@@ -0,0 +1,2 @@\n+[session]\n+dm_scope = \"per-peer\"\n")
    );
}

#[tokio::test]
async fn a_check_shows_what_would_change_and_no_secret_and_does_nothing() {
    let desk = Desk::start().await;
    let before = desk.file();
    let checked = desk.check(json!({ "changes": [{ "path": "session.dm_scope", "set": "per-peer" }] })).await;
    assert_eq!(checked["usable"], json!(true), "{checked}");
    let difference = checked["difference"].as_str().unwrap();
    assert!(
        difference.contains("\n-dm_scope = \"per-channel-peer\" # kept apart\n+dm_scope = \"per-peer\" # kept apart\n"),
        "{difference}"
    );
    let checked = desk
        .check(json!({ "changes": [{ "path": "api_keys[name=crm].key", "set": "another-secret-of-ours-0123456789" }] }))
        .await;
    let difference = checked["difference"].as_str().unwrap();
    assert!(difference.contains("-key = \"‹hidden 1›\"\n+key = \"‹hidden 2›\"\n"), "{difference}");
    assert!(!checked.to_string().contains("swordfish") && !checked.to_string().contains("another-secret"));
    let checked = desk.check(json!({ "text": "[sesion]\n" })).await;
    assert_eq!((&checked["usable"], &checked["problems"][0]["line"]), (&json!(false), &json!(1)), "{checked}");
    let checked = desk.check(json!({ "text": "a = \"b" })).await;
    assert_eq!((&checked["usable"], &checked["difference"]), (&json!(false), &Value::Null), "{checked}");
    assert_eq!(desk.file(), before);
}

#[tokio::test]
async fn the_text_goes_out_without_secrets_and_comes_back_with_them() {
    let desk = Desk::start().await;
    let before = desk.file();
    let (_, shown) = desk.0.admin(Method::GET, "/api/v1/config/text").await;
    let text = shown["text"].as_str().unwrap();
    assert!(!shown.to_string().contains("swordfish") && text.contains("key = \"‹hidden 1›\""), "{text}");
    assert_eq!((&shown["digest"], &shown["clear_secrets"]), (&json!(desk.digest()), &json!(["api_keys[0].key"])));
    let put = async |text: &str| {
        let body = json!({ "base": desk.digest(), "text": text });
        desk.0.admin_send(Method::PUT, "/api/v1/config", &body).await
    };
    let (status, body) = put(&format!("{text}# the end\n")).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(desk.file(), format!("{before}# the end\n"));
    let moved = text.replace("type = \"webchat\"", "type = \"webchat\"\ntitle = \"‹hidden 1›\"");
    let (status, body) = put(&moved).await;
    assert!(
        status == StatusCode::UNPROCESSABLE_ENTITY && body["error"].as_str().unwrap().contains("everybody"),
        "{body}"
    );
    // Where few words are possible, what is wrong with one is said with its words.
    let refused = text.replace("dm_scope = \"per-channel-peer\"", "dm_scope = \"‹hidden 1›\"");
    assert_ne!(refused, text);
    for path in ["/api/v1/config", "/api/v1/config/check"] {
        let method = if path.ends_with("check") { Method::POST } else { Method::PUT };
        let body = json!({ "base": desk.digest(), "text": refused });
        let (status, body) = desk.0.admin_send(method, path, &body).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{path}: {body}");
        assert!(!body.to_string().contains("swordfish"), "{path}: {body}");
    }
    let (status, _) = put(&text.replace("hidden 1", "hidden 9")).await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(desk.file(), format!("{before}# the end\n"));
}

#[tokio::test]
async fn a_secret_goes_in_is_used_and_never_comes_out() {
    let desk = Desk::start().await;
    let (status, kept) = desk.set_secret("CRM_KEY", "hunter2-hunter2-hunter2-hunter2-12\n").await;
    assert_eq!((status, &kept["in_use"]), (StatusCode::OK, &json!(false)), "{kept}");
    let file = desk.0.home().join("secrets/CRM_KEY");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    let (status, body) = desk.patch(json!([{ "path": "api_keys[name=crm].key", "set": "${CRM_KEY}" }])).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert!(!desk.0.models("hunter2-hunter2-hunter2-hunter2-12").await.is_empty());
    let (_, kept) = desk.set_secret("CRM_KEY", "hunter3-hunter3-hunter3-hunter3-12").await;
    assert_eq!(kept["in_use"], json!(true), "{kept}");
    assert!(!desk.0.models("hunter3-hunter3-hunter3-hunter3-12").await.is_empty());
    let (_, list) = desk.0.admin(Method::GET, "/api/v1/secrets").await;
    assert_eq!(
        list,
        json!({ "secrets": [
        { "name": "CRM_KEY", "set": true, "source": "secrets", "kept": true, "used_in": ["api_keys[0].key"] },
    ] })
    );
    let (status, body) = desk.0.admin(Method::DELETE, "/api/v1/secrets/CRM_KEY").await;
    assert_eq!(status, StatusCode::CONFLICT, "{body}");
    desk.patch(json!([{ "path": "api_keys", "remove": true }])).await;
    assert_eq!(desk.0.admin(Method::DELETE, "/api/v1/secrets/CRM_KEY").await.0, StatusCode::OK);
    assert_eq!(desk.0.admin(Method::DELETE, "/api/v1/secrets/CRM_KEY").await.0, StatusCode::NOT_FOUND);
    assert!(!file.exists());
    for name in ["..%2Fadmin.token", "a%2Fb", "1A", "%20"] {
        let (status, body) = desk.set_secret(name, "x").await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{body}");
    }
    let (code, said) = desk.0.command(&["secrets", "list"]).await;
    assert!(code == 0 && said.contains("no secrets"), "{said}");
}

#[tokio::test]
async fn a_secret_that_was_missing_ends_safe_mode_when_it_is_kept() {
    let mut desk = Desk::start().await;
    desk.0.configure(&TEXT.replace("swordfish-9-swordfish-9-swordfish", "${CRM_KEY}"));
    desk.0.power_off().await;
    desk.0.power_on().await;
    let (_, status) = desk.0.admin(Method::GET, "/api/v1/status").await;
    assert_ne!(status["safe_mode"], Value::Null, "{status}");
    let (_, kept) = desk.set_secret("CRM_KEY", "hunter2-hunter2-hunter2-hunter2-12").await;
    assert_eq!(kept["in_use"], json!(true), "{kept}");
    let (_, status) = desk.0.admin(Method::GET, "/api/v1/status").await;
    assert_eq!(status["safe_mode"], Value::Null, "{status}");
}
