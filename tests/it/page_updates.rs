//! Updates on the local page and in the admin API: what is shown of the updater, and who may ask it for what.

use std::fs;

use axum::http::{Method, StatusCode, header};
use frontdesk::account::{Reach, Role};
use frontdesk::document::Secret;
use frontdesk::id::TenantId;
use frontdesk::update::{
    Answer, Cause, Doing, Event, Installation, Offered, Outcome, Progress, Report, Request, Severity, Version, Want,
    Why,
};
use serde_json::{Value, json};

use crate::page::{Browser, Desk, PASSWORD};

const ONE: Version = Version::new(9, 1, 0);
const TWO: Version = Version::new(9, 2, 0);

/// An updater that has found something, and what it says.
fn says(desk: &Desk, change: impl FnOnce(&mut Report)) {
    let state = desk.gateway.home().join("updates");
    fs::create_dir_all(&state).unwrap();
    let mut report = Report {
        running: Some(ONE),
        installation: Installation::SdBoot,
        state: Doing::Available { version: TWO },
        offer: Some(Offered {
            version: TWO,
            bytes: 12_000_000,
            severity: Severity::Security,
            notes: "A hole. <script>alert(1)</script>".to_owned(),
        }),
        way_back: Some(ONE),
        ..Report::default()
    };
    change(&mut report);
    report.write(&state).unwrap();
}

async fn send(browser: &Browser, action: &str, fields: &[(&str, &str)]) -> (StatusCode, String) {
    let csrf = browser.csrf().await;
    let mut all = vec![("csrf", csrf.as_str())];
    all.extend(fields);
    let response = browser.post(&format!("/admin/updates/{action}"), &all).await;
    let to = response.headers().get(header::LOCATION).map(|to| to.to_str().unwrap().to_owned());
    (response.status(), to.unwrap_or(response.text().await.unwrap()))
}

#[tokio::test]
async fn without_an_updater_that_is_said_and_nothing_can_be_asked_for() {
    let desk = Desk::open().await;
    let browser = desk.browser().await;
    let (status, page) = browser.get("/admin/updates").await;
    assert!(status == StatusCode::OK && page.contains("Nothing looks for updates here"), "{page}");
    assert!(!page.contains("/admin/updates/check") && page.contains("frontdesk-update.timer"), "{page}");
    let (status, page) = send(&browser, "check", &[]).await;
    assert!(status == StatusCode::CONFLICT && page.contains("cannot be done as things are"), "{page}");
    assert_eq!(Request::read(desk.gateway.home()), None);
    let (_, status) = desk.gateway.admin(Method::GET, "/api/v1/status").await;
    assert_eq!(status["updates"], Value::Null);
    let (status, shown) = desk.gateway.admin(Method::GET, "/api/v1/updates").await;
    assert_eq!(
        (status, &shown["set_up"], &shown["state"]),
        (StatusCode::OK, &json!(false), &json!("unknown")),
        "{shown}"
    );
    let (status, refused) = desk.gateway.admin(Method::POST, "/api/v1/updates/install").await;
    assert!(status == StatusCode::CONFLICT && refused["error"].as_str().unwrap().contains("docs/updates.md"));
}

#[tokio::test]
async fn what_there_is_is_shown_and_installed_when_somebody_says_so() {
    let desk = Desk::open().await;
    says(&desk, |_| {});
    let browser = desk.browser().await;
    let (_, page) = browser.get("/admin/updates").await;
    for text in [
        "Version 9.2.0 is there.",
        "Closes a security hole",
        "12\u{a0}MB",
        "A hole. &lt;script&gt;",
        "Go back to 9.1.0",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
    let (_, home) = browser.get("/admin/").await;
    assert!(home.contains("Version 9.2.0 is there.") && home.contains("closes a security hole"), "{home}");
    let (status, to) = send(&browser, "install", &[("version", "9.2.0")]).await;
    assert_eq!((status, to.as_str()), (StatusCode::SEE_OTHER, "/admin/updates?done=install"));
    let asked = Request::read(desk.gateway.home()).unwrap();
    assert_eq!((asked.want, asked.version, asked.by.as_str()), (Want::Install, Some(TWO), "Ada"));
    let (_, page) = browser.get("/admin/updates").await;
    assert!(page.contains("The updater was asked. It answers"), "{page}");

    says(&desk, |report| {
        report.state = Doing::Downloading { version: TWO, have: 3_000_000, of: 12_000_000 };
        report.request = Some(Answer { id: asked.id.clone(), want: Want::Install, state: Progress::Taken, why: None });
    });
    let (_, page) = browser.get("/admin/updates").await;
    assert!(page.contains("<progress max=\"12000000\" value=\"3000000\""), "{page}");
    let (status, _) = send(&browser, "install", &[("version", "9.2.0")]).await;
    assert_eq!(status, StatusCode::CONFLICT, "one at a time");

    let why = || Why::new(Cause::NotHealthy, "the gateway <b>did</b> not answer");
    says(&desk, |report| {
        report.state = Doing::UpToDate;
        report.outcomes = vec![Outcome { at_ms: 5, event: Event::FellBack { from: ONE, to: TWO, why: why() } }];
        let state = Progress::Refused;
        report.request = Some(Answer { id: asked.id, want: Want::Install, state, why: Some(why()) });
    });
    let request = browser.request(Method::GET, "/admin/updates").header(header::ACCEPT_LANGUAGE, "de");
    let page = request.send().await.unwrap().text().await.unwrap();
    for text in [
        "Das Update wurde nicht installiert.",
        "Version 9.2.0 wurde erprobt und verworfen; 9.1.0 läuft.",
        "Sie hat nach dem Start nicht einwandfrei gearbeitet.",
        "the gateway &lt;b&gt;did",
    ] {
        assert!(page.contains(text), "{text}: {page}");
    }
}

#[tokio::test]
async fn going_back_is_asked_twice_and_settings_are_kept_in_the_file() {
    let desk = Desk::open().await;
    says(&desk, |_| {});
    let browser = desk.browser().await;
    assert_eq!(send(&browser, "rollback", &[]).await.0, StatusCode::NOT_FOUND);
    assert_eq!(Request::read(desk.gateway.home()), None);
    assert_eq!(send(&browser, "rollback", &[("sure", "yes")]).await.1, "/admin/updates?done=rollback");
    assert_eq!(Request::read(desk.gateway.home()).unwrap().want, Want::Rollback);

    let file = desk.gateway.home().join("config.toml");
    let base = || frontdesk::config::digest(&fs::read(&file).unwrap());
    let fields = |window| [("auto", "yes"), ("window", window)];
    let (status, page) = send(&browser, "save", &[&fields("at night")[..], &[("base", &base())]].concat()).await;
    assert!(status == StatusCode::UNPROCESSABLE_ENTITY && page.contains("03:00-05:00"), "{page}");
    let (_, to) = send(&browser, "save", &[&fields("02:00-04:00")[..], &[("base", &base())]].concat()).await;
    assert_eq!(to, "/admin/updates?done=saved");
    let (_, shown) = desk.gateway.admin(Method::GET, "/api/v1/updates").await;
    assert_eq!((&shown["auto"], &shown["window"]), (&json!(true), &json!("02:00-04:00")));
    let (status, _) = send(&browser, "save", &[&fields("")[..], &[("base", "of another file")]].concat()).await;
    assert_eq!(status, StatusCode::CONFLICT);
}

#[tokio::test]
async fn support_looks_and_whoever_has_one_business_does_not() {
    let desk = Desk::open().await;
    says(&desk, |_| {});
    let riverside = Reach::Tenant(TenantId::new("riverside").unwrap());
    for (name, role, reach) in [("Sam", Role::Support, Reach::All), ("Tess", Role::Admin, riverside)] {
        desk.gateway.accounts().add_user(name, role, reach, &Secret::new(PASSWORD)).await.unwrap();
        let mut browser = Browser::of(&desk.gateway);
        browser.log_in(name, PASSWORD).await;
        let (status, page) = browser.get("/admin/updates").await;
        let expected = if name == "Sam" { StatusCode::OK } else { StatusCode::FORBIDDEN };
        assert_eq!((status, page.contains("9.2.0")), (expected, name == "Sam"), "{name}");
        assert!(!page.contains("/admin/updates/install"), "{name}: {page}");
        let (_, home) = browser.get("/admin/").await;
        assert_eq!(home.contains("href=\"/admin/updates\""), name == "Sam", "{name}: {home}");
        for action in ["check", "install", "rollback", "save"] {
            let (status, _) = send(&browser, action, &[("version", "9.2.0"), ("sure", "yes"), ("auto", "yes")]).await;
            assert_eq!(status, StatusCode::FORBIDDEN, "{name} {action}");
        }
    }
    let stale = desk.browser().await.post("/admin/updates/check", &[("csrf", "x")]).await;
    assert_eq!(stale.status(), StatusCode::FORBIDDEN);
    assert_eq!(Request::read(desk.gateway.home()), None);
}
