//! The pages of workers, businesses and programs through the real gateway: who sees them, and what hostile texts become.

use axum::http::{Method, StatusCode};
use frontdesk::account::{Reach, Role};
use frontdesk::document::Secret;
use frontdesk::id::TenantId;

use crate::page::{Browser, Desk, PASSWORD};

const HOSTILE: &str = "</textarea><script>alert(1)</script>\u{202e}\"'&{{7*7}}";

/// An owner, somebody who looks, and an administrator of one business.
async fn visitors(desk: &Desk) -> [Browser; 3] {
    let accounts = desk.gateway.accounts();
    let password = Secret::new(PASSWORD);
    accounts.add_user("Support", Role::Support, Reach::All, &password).await.unwrap();
    let own = Reach::Tenant(TenantId::new("riverside").unwrap());
    accounts.add_user("Bound", Role::Admin, own, &password).await.unwrap();
    let [mut support, mut bound] = [Browser::of(&desk.gateway), Browser::of(&desk.gateway)];
    support.log_in("Support", PASSWORD).await;
    bound.log_in("Bound", PASSWORD).await;
    [desk.browser().await, support, bound]
}

async fn send(browser: &Browser, path: &str, fields: &[(&str, &str)]) -> (StatusCode, String) {
    let csrf = browser.csrf().await;
    let fields: Vec<(&str, &str)> = [("csrf", csrf.as_str())].into_iter().chain(fields.iter().copied()).collect();
    let response = browser.post(path, &fields).await;
    (response.status(), response.text().await.unwrap())
}

const FORMS: &[(&str, &[(&str, &str)])] = &[
    ("/admin/worker/save", &[("name", "default"), ("file", "SOUL.md"), ("text", "mine"), ("base", "")]),
    ("/admin/worker/remove", &[("name", "default"), ("file", "SOUL.md")]),
    ("/admin/worker/dismiss", &[("name", "default"), ("file", "")]),
    ("/admin/workers/add", &[("agent", "mine")]),
    ("/admin/workers/add-rule", &[("pattern", "*"), ("agent", "default")]),
    ("/admin/workers/rule", &[("number", "0"), ("step", "remove")]),
    ("/admin/workers/default", &[("agent", "default")]),
    ("/admin/tenants/add", &[("id", "mine")]),
    ("/admin/tenant/erase", &[("id", "riverside"), ("typed", "riverside"), ("config", "yes")]),
    ("/admin/programs/key", &[("name", "mine")]),
    ("/admin/programs/key-end", &[("name", "mine")]),
    ("/admin/programs/token", &[("name", "mine"), ("role", "admin"), ("tenant", "*")]),
    ("/admin/programs/token-end", &[("name", "mine")]),
];

#[tokio::test]
async fn whoever_may_not_change_it_changes_nothing_of_workers_and_businesses() {
    let desk = Desk::open().await;
    let [owner, support, bound] = visitors(&desk).await;
    let config = || std::fs::read_to_string(desk.gateway.home().join("config.toml")).unwrap();
    let before = config();
    for (path, fields) in FORMS {
        for (browser, name) in [(&support, "support"), (&bound, "bound")] {
            let (status, _) = send(browser, path, fields).await;
            assert!([StatusCode::FORBIDDEN, StatusCode::NOT_FOUND].contains(&status), "{path} {name}: {status}");
        }
        let stale = owner.post(path, &[&[("csrf", "wrong")][..], fields].concat()).await;
        assert_eq!(stale.status(), StatusCode::FORBIDDEN, "{path} with a form of nobody's");
        let elsewhere = owner.request(Method::POST, path).header("origin", "https://evil.example");
        assert!(!elsewhere.send().await.unwrap().status().is_success(), "{path} from elsewhere");
    }
    assert_eq!(config(), before);
    assert!(!desk.gateway.home().join("agents").exists());
}

#[tokio::test]
async fn who_is_bound_to_a_business_does_not_see_that_there_are_others() {
    let desk = Desk::open().await;
    let [owner, support, bound] = visitors(&desk).await;
    let (status, _) =
        send(&owner, "/admin/tenants/add", &[("id", "elsewhere"), ("name", "Elsewhere"), ("agent", "other")]).await;
    assert_eq!(status, StatusCode::SEE_OTHER);
    for path in [
        "/admin/tenants",
        "/admin/tenant?id=riverside",
        "/admin/tenant?id=elsewhere",
        "/admin/tenant/erase?id=riverside",
    ] {
        assert_eq!(bound.get(path).await.0, StatusCode::NOT_FOUND, "{path}");
    }
    for path in
        ["/admin/worker?name=default", "/admin/worker?name=other", "/admin/worker/file?name=default&file=SOUL.md"]
    {
        assert_eq!(bound.get(path).await.0, StatusCode::FORBIDDEN, "{path}");
    }
    for path in ["/admin/", "/admin/workers", "/admin/people", "/admin/explain?address=webhook:u1"] {
        let (status, page) = bound.get(path).await;
        assert_eq!(status, StatusCode::OK, "{path}");
        assert!(!page.to_lowercase().contains("elsewhere") && !page.contains("/admin/tenants"), "{path}: {page}");
    }
    let (status, _) = bound.get("/admin/explain?address=tenant-elsewhere-webchat:x").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, page) = support.get("/admin/tenants").await;
    assert!(status == StatusCode::OK && page.contains("Elsewhere") && !page.contains("/admin/tenants/add"), "{page}");
    let (status, page) = support.get("/admin/worker/file?name=default&file=SOUL.md").await;
    assert!(
        status == StatusCode::OK && page.contains("class=\"text\"") && !page.contains("/admin/worker/save"),
        "{page}"
    );
}

#[tokio::test]
async fn what_people_write_about_workers_and_businesses_stays_text() {
    let mut desk = Desk::open().await;
    let owner = desk.browser().await;
    let base = [("name", "default"), ("file", "SOUL.md"), ("base", ""), ("text", HOSTILE)];
    assert_eq!(send(&owner, "/admin/worker/save", &base).await.0, StatusCode::SEE_OTHER);
    let known = [("name", "default"), ("file", "a'b.md"), ("base", ""), ("text", HOSTILE)];
    assert_eq!(send(&owner, "/admin/worker/save", &known).await.0, StatusCode::SEE_OTHER);
    let tenant = [("id", HOSTILE), ("name", HOSTILE), ("agent", "other")];
    assert_eq!(send(&owner, "/admin/tenants/add", &tenant).await.0, StatusCode::SEE_OTHER);
    let key = desk.exchange("u1", "hello", "hello").await;
    let pages = [
        "/admin/workers".to_owned(),
        "/admin/worker?name=default".to_owned(),
        "/admin/worker/file?name=default&file=SOUL.md".to_owned(),
        "/admin/worker/file?name=default&file=a'b.md".to_owned(),
        "/admin/tenants".to_owned(),
        "/admin/people".to_owned(),
        format!("/admin/tenants?words={}", encoded(HOSTILE)),
        format!("/admin/tenant?id={}", encoded(HOSTILE)),
        format!("/admin/tenant/erase?id={}", encoded(HOSTILE)),
        format!("/admin/explain?address={}", encoded(HOSTILE)),
        format!("/admin/explain?tenant=riverside&key={key}&line=1"),
    ];
    for path in pages {
        let (status, page) = owner.get(&path).await;
        assert!(!status.is_server_error() && status != StatusCode::NOT_FOUND, "{path}: {status}");
        assert!(!page.contains("<script>alert") && !page.contains("</textarea><script"), "{path}: {page}");
    }
}

fn encoded(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn what_was_typed_is_not_lost_when_it_is_not_saved() {
    let desk = Desk::open().await;
    let owner = desk.browser().await;
    let file =
        |name: &'static str| [("name", "default"), ("file", name), ("base", ""), ("text", "A cleaning is 90.\r\n")];
    let (status, page) = send(&owner, "/admin/worker/save", &file("prices.pdf")).await;
    assert!(status == StatusCode::UNPROCESSABLE_ENTITY && page.contains("A cleaning is 90."), "{page}");
    assert_eq!(send(&owner, "/admin/worker/save", &file("prices.md")).await.0, StatusCode::SEE_OTHER);
    let kept = std::fs::read_to_string(desk.gateway.home().join("agents/default/knowledge/prices.md")).unwrap();
    assert_eq!(kept, "A cleaning is 90.\n");
    let (status, page) = send(&owner, "/admin/worker/save", &file("prices.md")).await;
    assert!(status == StatusCode::CONFLICT && page.contains("There is a file prices.md already"), "{page}");
    assert_eq!(
        send(&owner, "/admin/worker/remove", &[("name", "default"), ("file", "prices.md")]).await.0,
        StatusCode::SEE_OTHER
    );
    let (status, page) = owner.get("/admin/worker/file?name=default&file=prices.md&earlier=1").await;
    assert!(status == StatusCode::OK && page.contains("A cleaning is 90."), "it can be had back: {page}");
}

#[tokio::test]
async fn a_secret_is_shown_once_and_opens_until_it_is_ended() {
    let desk = Desk::open().await;
    let owner = desk.browser().await;
    let token = [("name", "monitor"), ("role", "support"), ("tenant", "*"), ("days", "")];
    let (status, page) = send(&owner, "/admin/programs/token", &token).await;
    assert_eq!(status, StatusCode::OK);
    let (_, rest) = page.split_once("class=\"key secret\"").unwrap();
    let made = rest.split('>').nth(1).unwrap().split('<').next().unwrap().to_owned();
    let status = async || {
        let request = crate::peers::http().get(desk.gateway.url("/api/v1/status")).bearer_auth(&made);
        request.send().await.unwrap().status()
    };
    assert_eq!(status().await, StatusCode::OK);
    assert!(!owner.get("/admin/people").await.1.contains(&made));
    assert_eq!(send(&owner, "/admin/programs/token-end", &[("name", "monitor")]).await.0, StatusCode::SEE_OTHER);
    assert_eq!(status().await, StatusCode::UNAUTHORIZED);

    let key = [("name", "crm"), ("tenant", "riverside"), ("agent", "")];
    let (status, page) = send(&owner, "/admin/programs/key", &key).await;
    assert!(status == StatusCode::OK && page.contains("fdk_"), "{page}");
    let (_, people) = owner.get("/admin/people").await;
    assert!(people.contains("crm") && !people.contains("fdk_"), "{people}");
    assert_eq!(send(&owner, "/admin/programs/key-end", &[("name", "crm")]).await.0, StatusCode::SEE_OTHER);
}

#[tokio::test]
async fn a_business_is_erased_by_whoever_types_its_id() {
    let mut desk = Desk::open().await;
    desk.exchange("u1", "hello", "hello").await;
    let owner = desk.browser().await;
    let (_, page) = owner.get("/admin/tenant/erase?id=riverside").await;
    assert!(page.contains("All its conversations (1)"), "{page}");
    let wrong = [("id", "riverside"), ("typed", "river"), ("config", "yes")];
    assert_eq!(send(&owner, "/admin/tenant/erase", &wrong).await.0, StatusCode::UNPROCESSABLE_ENTITY);
    assert_eq!(desk.gateway.session_keys(Some("riverside")).await.len(), 1);
    let right = [("id", "riverside"), ("typed", "riverside"), ("config", "yes")];
    assert_eq!(send(&owner, "/admin/tenant/erase", &right).await.0, StatusCode::SEE_OTHER);
    assert_eq!(desk.gateway.session_keys(Some("riverside")).await.len(), 0);
    let (_, page) = owner.get("/admin/tenants").await;
    assert!(!page.contains("riverside"), "{page}");
    let config = std::fs::read_to_string(desk.gateway.home().join("config.toml")).unwrap();
    assert!(!config.contains("riverside"), "{config}");
}
