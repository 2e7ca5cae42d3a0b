//! Settings and channels on the local page: who may change what, and what is shown before anything changes.

use std::fs;

use axum::http::{Method, StatusCode, header};
use frontdesk::account::{Reach, Role};
use frontdesk::document::Secret;
use frontdesk::id::TenantId;

use crate::page::{Browser, Desk, PASSWORD};

/// A browser, what its forms prove themselves with, and the desk behind it.
struct Page {
    desk: Desk,
    browser: Browser,
    csrf: String,
}

impl Page {
    async fn open() -> Self {
        let desk = Desk::open().await;
        let browser = desk.browser().await;
        let csrf = browser.csrf().await;
        Self { desk, browser, csrf }
    }

    fn file(&self) -> String {
        fs::read_to_string(self.desk.gateway.home().join("config.toml")).unwrap()
    }

    fn digest(&self) -> String {
        frontdesk::config::digest(self.file().as_bytes())
    }

    /// Sends a form made for the file as it is now. Where it leads, or the page that comes.
    async fn send(&self, path: &str, fields: &[(&str, &str)]) -> (StatusCode, String) {
        let digest = self.digest();
        self.send_for(&digest, path, fields).await
    }

    async fn send_for(&self, base: &str, path: &str, fields: &[(&str, &str)]) -> (StatusCode, String) {
        let mut all = vec![("csrf", self.csrf.as_str()), ("base", base)];
        all.extend(fields);
        let response = self.browser.post(path, &all).await;
        let to = response.headers().get(header::LOCATION).map(|to| to.to_str().unwrap().to_owned());
        (response.status(), to.unwrap_or(response.text().await.unwrap()))
    }
}

#[tokio::test]
async fn a_setting_is_shown_before_it_is_used_and_can_be_taken_back() {
    let page = Page::open().await;
    let before = page.file();
    let (status, shown) = page.browser.get("/admin/settings").await;
    assert!(status == StatusCode::OK && shown.contains("name=\"session.ttl_days\""), "{shown}");
    let fields = [("session.ttl_days", "7"), ("session.dm_scope", "per-channel-peer"), ("session.owners", "")];
    let (status, review) = page.send("/admin/settings/review", &fields).await;
    assert!(status == StatusCode::OK && review.contains("<ins>ttl_days = 7</ins>"), "{review}");
    assert_eq!(page.file(), before, "nothing has changed yet");
    let (status, to) = page.send("/admin/settings/save", &fields).await;
    assert_eq!((status, to.as_str()), (StatusCode::SEE_OTHER, "/admin/settings?done=saved"));
    assert!(page.file().contains("ttl_days = 7"));
    let (_, shown) = page.browser.get("/admin/settings").await;
    assert!(shown.contains("<td dir=\"auto\">Ada</td>"), "it says who did it: {shown}");
    let (_, revision) = page.browser.get("/admin/settings/revision?number=1").await;
    assert!(revision.contains("<ins>session.ttl_days = 7</ins>"), "{revision}");
    let (status, _) = page.send("/admin/settings/undo", &[("revision", "1")]).await;
    assert_eq!((status, page.file()), (StatusCode::SEE_OTHER, before));
    let (_, to) = page.send("/admin/settings/review", &[("session.dm_scope", "per-channel-peer")]).await;
    assert_eq!(to, "/admin/settings?done=same");
    let (status, _) = page.send("/admin/settings/review", &[("session.dm_scope", "all")]).await;
    assert_eq!(status, StatusCode::BAD_REQUEST);
}

#[tokio::test]
async fn a_text_with_a_mistake_is_not_used_and_not_lost() {
    let page = Page::open().await;
    let before = page.file();
    let text = before.replace("dm_scope", "dm_scop");
    let (_, review) = page.send("/admin/settings/review", &[("text", &text)]).await;
    assert!(
        review.contains("session.dm_scop") && review.contains("line 4") && !review.contains("settings/save"),
        "{review}"
    );
    let (status, _) = page.send("/admin/settings/save", &[("text", &text)]).await;
    assert_eq!((status, page.file()), (StatusCode::OK, before.clone()), "it is shown once more");
    let (_, review) = page.send_for("0", "/admin/settings/save", &[("session.ttl_days", "9")]).await;
    assert!(review.contains("Somebody else") && review.contains("ttl_days = 9"), "{review}");
    assert_eq!(page.file(), before);
}

#[tokio::test]
async fn a_secret_in_the_file_is_never_shown_and_moves_with_one_click() {
    let page = Page::open().await;
    let text = format!("{}\n[[api_keys]]\nname = \"crm\"\nkey = \"swordfish-9-swordfish-9-swordfish\"\n", page.file());
    let (status, to) = page.send("/admin/settings/save", &[("text", &text)]).await;
    assert_eq!((status, to.as_str()), (StatusCode::SEE_OTHER, "/admin/settings?done=saved"));
    let (_, shown) = page.browser.get("/admin/settings").await;
    assert!(!shown.contains("swordfish") && shown.contains("api_keys[0].key"), "{shown}");
    let (_, to) = page.send("/admin/settings/hide", &[("path", "api_keys[0].key")]).await;
    assert_eq!(to, "/admin/settings?done=moved");
    assert!(page.file().contains("key = \"${CRM_KEY}\"") && !page.file().contains("swordfish"));
    assert!(!page.desk.gateway.models("swordfish-9-swordfish-9-swordfish").await.is_empty(), "it is the same secret");
    let (_, to) = page.send("/admin/settings/keep", &[("name", "OTHER"), ("value", "hunter2-hunter2")]).await;
    assert_eq!(to, "/admin/settings?done=kept");
    let (_, shown) = page.browser.get("/admin/settings").await;
    assert!(shown.contains("OTHER") && !shown.contains("hunter2"), "{shown}");
}

#[tokio::test]
async fn a_channel_is_added_tested_changed_and_removed() {
    let page = Page::open().await;
    let (status, shown) = page.browser.get("/admin/channels/new?type=webhook").await;
    assert!(status == StatusCode::OK && shown.contains("name=\"reply_url\""), "{shown}");
    let fields = [("type", "webhook"), ("id", "crm"), ("reply_url", "http://127.0.0.1:9/replies"), ("secret", "")];
    let (status, shown) = page.send("/admin/channels/add", &fields).await;
    let (_, made) = shown.split_once("whsec_").unwrap();
    let made = format!("whsec_{}", made.split('<').next().unwrap());
    assert_eq!(status, StatusCode::OK);
    assert!(page.file().contains("id = \"crm\"\nreply_url") && page.file().contains("secret = \"${CRM_SECRET}\""));
    let kept = fs::read_to_string(page.desk.gateway.home().join("secrets/CRM_SECRET")).unwrap();
    assert_eq!(kept.trim_end(), made);
    let (_, shown) = page.browser.get("/admin/channels/entry?id=crm").await;
    assert!(!shown.contains("whsec_"), "it is shown once");
    let (_, tested) = page.send("/admin/channels/test", &[("id", "crm")]).await;
    assert!(tested.contains("reply_url: ") && tested.contains("trouble"), "nobody is there: {tested}");
    let (_, rotated) = page.send("/admin/channels/rotate", &[("id", "crm")]).await;
    assert!(rotated.contains("whsec_") && !rotated.contains(&made), "{rotated}");
    assert!(page.file().contains("secrets = [\"${CRM_SECRET_2}\", \"${CRM_SECRET}\"]"), "{}", page.file());
    page.send("/admin/channels/rotate", &[("id", "crm")]).await;
    assert!(page.file().contains("secret = \"${CRM_SECRET_2}\"") && !page.file().contains("secrets ="));
    let (_, to) = page
        .send("/admin/channels/save", &[("id", "crm"), ("dm_policy", "allowlist"), ("allow", "u1\r\nu2\r\n")])
        .await;
    assert_eq!(to, "/admin/channels/entry?id=crm&done=saved");
    assert!(page.file().contains("dm_policy = \"allowlist\"") && page.file().contains("allow = [\"u1\", \"u2\"]"));
    let (_, shown) = page.send("/admin/channels/save", &[("id", "crm"), ("reply_url", "nowhere")]).await;
    assert!(shown.contains("is not an address"), "{shown}");
    let (_, to) = page.send("/admin/channels/pause", &[("id", "crm")]).await;
    assert_eq!(to, "/admin/channels/entry?id=crm&done=resting");
    assert!(page.file().contains("enabled = false"));
    for (path, word) in [("/admin/channels/entry?id=crm", "Let it go on"), ("/admin/", "Paused")] {
        let (_, shown) = page.browser.get(path).await;
        assert!(shown.contains(word), "{path}: {shown}");
    }
    let (_, to) = page.send("/admin/channels/resume", &[("id", "crm")]).await;
    assert_eq!(to, "/admin/channels/entry?id=crm&done=going");
    assert!(!page.file().contains("enabled"));
    let (_, to) = page.send("/admin/channels/remove", &[("id", "crm"), ("sure", "yes")]).await;
    assert_eq!(to, "/admin/channels?done=removed");
    assert!(!page.file().contains("crm"));
}

#[tokio::test]
async fn a_channel_that_cannot_be_added_leaves_nothing_behind() {
    let page = Page::open().await;
    let before = page.file();
    let fields = [("type", "webhook"), ("id", "crm"), ("reply_url", "not an address"), ("secret", "hunter2-hunter2")];
    let (status, shown) = page.send("/admin/channels/add", &fields).await;
    assert!(status == StatusCode::UNPROCESSABLE_ENTITY && shown.contains("not an address"), "{shown}");
    assert!(!shown.contains("hunter2") && page.file() == before);
    assert!(!page.desk.gateway.home().join("secrets/CRM_SECRET").exists());
}

#[tokio::test]
async fn whoever_may_only_look_or_has_one_business_changes_no_settings() {
    let page = Page::open().await;
    let (before, accounts) = (page.file(), page.desk.gateway.accounts());
    let riverside = Reach::Tenant(TenantId::new("riverside").unwrap());
    let other = Reach::Tenant(TenantId::new("other").unwrap());
    let people = [("Sam", Role::Support, Reach::All), ("Tess", Role::Admin, riverside), ("Tom", Role::Admin, other)];
    for (name, role, reach) in people {
        accounts.add_user(name, role, reach, &Secret::new(PASSWORD)).await.unwrap();
        let mut browser = Browser::of(&page.desk.gateway);
        assert_eq!(browser.log_in(name, PASSWORD).await, StatusCode::SEE_OTHER);
        let csrf = browser.csrf().await;
        for path in ["/admin/settings", "/admin/settings/revision?number=1", "/admin/channels/new?type=webhook"] {
            let (status, shown) = browser.get(path).await;
            assert!(status == StatusCode::FORBIDDEN && !shown.contains("reply_url"), "{name} {path}: {status}");
        }
        let digest = page.digest();
        let fields = [
            ("csrf", csrf.as_str()),
            ("base", digest.as_str()),
            ("session.ttl_days", "7"),
            ("text", "[session]\n"),
            ("revision", "1"),
            ("path", "x"),
            ("name", "OTHER"),
            ("value", "x"),
            ("type", "webhook"),
            ("id", "hook"),
            ("reply_url", "https://example.com"),
            ("secret", "x"),
            ("sure", "yes"),
            ("dm_policy", "off"),
        ];
        for action in [
            "settings/review",
            "settings/save",
            "settings/undo",
            "settings/hide",
            "settings/keep",
            "settings/forget",
            "channels/add",
            "channels/save",
            "channels/rotate",
            "channels/remove",
            "channels/pause",
            "channels/resume",
        ] {
            let response = browser.post(&format!("/admin/{action}"), &fields).await;
            assert_eq!(response.status(), StatusCode::FORBIDDEN, "{name} {action}");
        }
        let (_, list) = browser.get("/admin/channels").await;
        assert_eq!(list.contains("id=hook"), name != "Tom", "{name}: {list}");
        let (status, _) = browser.get("/admin/channels/entry?id=hook").await;
        assert_eq!(status == StatusCode::OK, name != "Tom", "{name}");
    }
    assert_eq!(page.file(), before);
    assert!(!page.desk.gateway.home().join("secrets").exists());
    let wrong = page.browser.post("/admin/settings/save", &[("csrf", "x"), ("text", "")]).await;
    assert_eq!(wrong.status(), StatusCode::FORBIDDEN, "a form of another session");
}

#[tokio::test]
async fn a_yaml_file_is_turned_into_toml_after_a_look_and_comes_back() {
    let page = Page::open().await;
    let home = page.desk.gateway.home().to_owned();
    let yaml = "# ours\nsession:\n  dmScope: per-channel-peer # each their own\nbackup:\n";
    fs::write(home.join("config.yml"), yaml).unwrap();
    fs::remove_file(home.join("config.toml")).unwrap();
    page.desk.gateway.reload().await.unwrap();
    let base = frontdesk::config::digest(yaml.as_bytes());
    let (_, shown) = page.browser.get("/admin/settings").await;
    assert!(shown.contains("/admin/settings/convert") && !shown.contains("name=\"session.ttl_days\""), "{shown}");
    let (status, shown) = page.send_for(&base, "/admin/settings/convert", &[]).await;
    assert!(status == StatusCode::OK && shown.contains("# each their own") && shown.contains("backup"), "{shown}");
    assert!(!home.join("config.toml").exists(), "nothing has changed yet");
    let (status, _) = page.send_for("x", "/admin/settings/converted", &[]).await;
    assert_eq!(status, StatusCode::CONFLICT);
    let (_, to) = page.send_for(&base, "/admin/settings/converted", &[]).await;
    assert_eq!(to, "/admin/settings?done=converted");
    assert_eq!(page.file(), "# ours\n[session]\ndmScope = \"per-channel-peer\" # each their own\n");
    assert!(!home.join("config.yml").exists());
    let (code, said) = page.desk.gateway.command(&["config", "convert"]).await;
    assert!(code != 0 && said.contains("no config.yml"), "{code} {said}");
    let (_, list) = page.desk.gateway.admin(Method::GET, "/api/v1/config/revisions").await;
    let old = list["revisions"].as_array().unwrap().iter().find(|row| row["in_file"] == false).unwrap();
    let (code, said) = page.desk.gateway.command(&["config", "undo", &old["number"].to_string()]).await;
    assert_eq!(code, 0, "{said}");
}

#[tokio::test]
async fn what_is_refused_is_said_in_the_language_of_the_page() {
    let page = Page::open().await;
    let csrf = page.csrf.as_str();
    let german = |path: &'static str, fields: Vec<(&'static str, &'static str)>| {
        let mut all = vec![("csrf", csrf), ("base", "another")];
        all.extend(fields);
        let request = page.browser.form(path, &all).header(header::ACCEPT_LANGUAGE, "de");
        async move {
            let response = request.send().await.unwrap();
            (response.status(), response.text().await.unwrap())
        }
    };
    let (status, shown) = german("/admin/channels/save", vec![("id", "hook"), ("dm_policy", "off")]).await;
    assert!(status == StatusCode::CONFLICT && shown.contains("Jemand anderes hat inzwischen"), "{shown}");
    assert!(!shown.contains("read it again and repeat"), "{shown}");
    let (status, refused) = page
        .desk
        .gateway
        .admin_send(Method::PATCH, "/api/v1/config", &serde_json::json!({ "base": "x", "changes": [] }))
        .await;
    assert_eq!((status, &refused["code"]), (StatusCode::CONFLICT, &serde_json::json!("changed")), "{refused}");
}
