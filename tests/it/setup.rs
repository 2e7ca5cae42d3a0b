//! The setup and what its answers mean: for the worker's prompt, for models that are looked for, for whoever is told.

use std::fs;

use axum::Router;
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::{get, post};
use frontdesk::account::{Reach, Role};
use frontdesk::channel::SigningKeys;
use frontdesk::clock::Timestamp;
use frontdesk::document::Secret;
use frontdesk::id::TenantId;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::page::{Browser, PASSWORD};
use crate::peers::model::completion;
use crate::peers::{Hook, Model, TestGateway, direct, serve, soon};

const BUSINESS: &str = "\n[business]\nname = \"Dr. Lind\"\ntype = \"dental_practice\"\ntime_zone = \"Europe/Berlin\"\n\
                        hours = { monday = [\"00:00-24:00\"], tuesday = [\"00:00-24:00\"] }\n";

/// What a worker is told who answers an entry with these keys, under this configuration.
async fn told(keys: &str, config: &str) -> String {
    let (mut model, hook) = (Model::start().await, Hook::start("hook").await);
    let entry = format!("{}{keys}dm_policy = \"open\"\n", hook.entry());
    let gateway = TestGateway::start(&format!("{}{entry}{config}", model.provider("m"))).await;
    hook.accepted(&gateway, &direct("u1", "hello")).await;
    let question = model.asked().await;
    let system = question.system.clone();
    question.answer("hi");
    system
}

#[tokio::test]
async fn a_worker_is_told_of_the_business_that_it_works_for_and_of_no_other() {
    let own = told("", BUSINESS).await;
    assert!(own.contains("- Name: Dr. Lind (dental practice)"), "{own}");
    assert!(own.contains("(Europe/Berlin)") && own.contains("- At this moment: the business is"), "{own}");
    assert!(own.find("front desk").unwrap() < own.find("Dr. Lind").unwrap(), "behind the persona: {own}");
    let of_tenant = told("tenant_id = \"42\"\n", BUSINESS).await;
    assert!(!of_tenant.contains("Lind") && !of_tenant.contains("business that you work for"), "{of_tenant}");
    let tenant = "\n[[tenants]]\nid = \"42\"\n[tenants.business]\nname = \"Pine Homes\"\ntype = \"estate_agency\"\n";
    let with_own = told("tenant_id = \"42\"\n", &format!("{BUSINESS}{tenant}")).await;
    assert!(with_own.contains("Pine Homes (estate agency)") && !with_own.contains("Lind"), "{with_own}");
}

fn sent(value: &Value) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], value.to_string()).into_response()
}

/// Servers of all kinds under one address.
async fn servers() -> String {
    let list = |ids: &[&str]| {
        let data: Vec<Value> = ids.iter().map(|id| json!({ "id": id })).collect();
        json!({ "object": "list", "data": data })
    };
    let good = list(&["a-embedder", "a-talker"]);
    let locked = async |headers: HeaderMap| match headers.get(header::AUTHORIZATION).map(|key| key.to_str().unwrap()) {
        Some("Bearer right") => sent(&json!({ "data": [{ "id": "m" }] })),
        _ => (StatusCode::UNAUTHORIZED, "no").into_response(),
    };
    let broken = async || {
        let body = json!({ "error": { "message": "the model does not fit into memory", "type": "server_error" } });
        (StatusCode::BAD_REQUEST, sent(&body))
    };
    let mute = list(&["m"]);
    let router = Router::new()
        .route("/good/models", get(async move || sent(&good)))
        .route("/good/chat/completions", post(async || completion("OK.", None)))
        .route("/locked/models", get(locked))
        .route("/locked/chat/completions", post(async || completion("OK.", None)))
        .route("/empty/models", get(async || sent(&json!({ "data": [] }))))
        .route("/broken/models", get(async move || sent(&mute)))
        .route("/broken/chat/completions", post(broken))
        .route("/router/models", get(async || "<title>the router's secret page</title>"))
        .route("/json/models", get(async || sent(&json!({ "secret": "of another server" }))))
        .route("/away/models", get(async || Redirect::to("/good/models")))
        .route("/gone/models", get(async || (StatusCode::NOT_FOUND, "the secret of a 404")));
    serve(router).await
}

#[tokio::test]
async fn a_look_at_an_address_says_in_a_word_what_is_there() {
    let gateway = TestGateway::start("").await;
    let at = servers().await;
    let look = async |body: Value| gateway.admin_send(Method::POST, "/api/v1/providers/probe", &body).await.1;
    let check = async |path: &str, verdict: &str| {
        let found = look(json!({ "address": format!("{at}{path}") })).await;
        assert_eq!(found["verdict"], verdict, "{path}: {found}");
        assert!(!found.to_string().contains("secret"), "what stands there is nobody's to see: {found}");
        assert_eq!(found["works"], verdict == "works", "{found}");
        found
    };
    let good = check("/good", "works").await;
    assert_eq!((&good["models"], &good["model"]), (&json!(["a-talker"]), &json!("a-talker")));
    assert_eq!(good["base_url"], format!("{at}/good"));
    check("/locked", "key_missing").await;
    check("/empty", "no_model").await;
    check("/broken", "no_answer").await;
    for path in ["/router", "/json", "/away", "/gone", ""] {
        assert_eq!(check(path, "other_server").await["base_url"], Value::Null);
    }
    let keyed = async |key: &str| look(json!({ "address": format!("{at}/locked"), "key": key })).await;
    assert_eq!(keyed("right").await["verdict"], "works");
    let wrong = keyed("wrong").await;
    assert!(wrong["verdict"] == "key_wrong" && !wrong.to_string().contains("\"wrong\""), "{wrong}");
    let named = look(json!({ "address": format!("{at}/broken"), "model": "other" })).await;
    assert_eq!(named["verdict"], "unknown_model");
    for (address, verdict) in
        [("127.0.0.1:1", "refused"), ("ftp://x", "no_address"), ("nobody.invalid", "unknown_name")]
    {
        assert_eq!(look(json!({ "address": address })).await["verdict"], verdict, "{address}");
    }
    let tls = at.replace("http://", "https://");
    assert_eq!(look(json!({ "address": tls })).await["verdict"], "tls");
    assert_eq!(
        gateway.admin_send(Method::POST, "/api/v1/providers/probe", &json!({})).await.0,
        StatusCode::BAD_REQUEST
    );
}

#[tokio::test]
async fn six_answers_are_a_configuration_that_works() {
    let gateway = TestGateway::start("").await;
    let at = servers().await;
    let answer = async |what: &str, body: Value| {
        let (status, answered) = gateway.admin_send(Method::PUT, &format!("/api/v1/setup/{what}"), &body).await;
        assert_eq!(status, StatusCode::OK, "{what}: {answered}");
        answered
    };
    let setup = async || gateway.admin(Method::GET, "/api/v1/setup").await.1;
    assert_eq!((&setup().await["wanted"], &setup().await["next"]), (&json!(true), &json!("business")));
    answer("business", json!({ "name": "${HOME} & Co.", "type": "estate_agency", "language": "de" })).await;
    let soul = fs::read_to_string(gateway.home().join("agents/default/SOUL.md")).unwrap();
    assert!(soul.contains("Immobilienbüro"), "{soul}");
    assert_eq!(setup().await["business"]["name"], "${HOME} & Co.", "it means itself");
    let mut week = vec![json!([]); 7];
    week[0] = json!(["08:00-12:00", "14:00-18:00"]);
    answer("hours", json!({ "time_zone": "Europe/Berlin", "week": week, "closed": ["2026-12-24"] })).await;
    let refused = json!({ "source": "server", "address": format!("{at}/locked"), "key": "wrong" });
    assert_eq!(answer("model", refused).await["kept"], false);
    assert_eq!(setup().await["next"], "model", "what does not answer is not kept");
    assert!(!gateway.home().join("secrets/MODEL_KEY").exists());
    let locked = json!({ "source": "server", "address": format!("{at}/locked"), "key": "right" });
    assert_eq!(answer("model", locked).await["kept"], true);
    let shown = setup().await;
    assert_eq!((&shown["model"]["model"], &shown["model"]["has_key"]), (&json!("m"), &json!(true)));
    assert!(!shown.to_string().contains("right"), "a key does not come back");
    // The key of one server goes to no other one, and a server without a key needs none.
    let good = json!({ "source": "server", "address": format!("{at}/good") });
    assert_eq!(answer("model", good).await["kept"], true);
    assert_eq!(setup().await["model"]["has_key"], false);
    answer("channel", json!({ "title": "Pine" })).await;
    let mail = json!({ "email": "ada@pine.example", "server": "127.0.0.1", "port": 1, "security": "none", "password": "pw-of-ada" });
    answer("alerts", mail).await;
    let updates = answer("updates", json!({ "auto": true, "window": "03:00-05:00" })).await;
    assert_eq!(updates["next"], Value::Null);

    let text = fs::read_to_string(gateway.home().join("config.toml")).unwrap();
    for line in [
        "dm_scope = \"per-channel-peer\"",
        "monday = [\"08:00-12:00\", \"14:00-18:00\"]",
        "title = \"Pine\"",
        "auto = true",
    ] {
        assert!(text.contains(line), "{line}: {text}");
    }
    assert!(!text.contains("right") && !text.contains("pw-of-ada"), "{text}");
    assert_eq!(gateway.admin(Method::GET, "/api/v1/setup").await.1["wanted"], true);
    let over = gateway.admin_send(Method::POST, "/api/v1/setup/over", &json!({ "over": true })).await;
    assert_eq!((over.0, &setup().await["wanted"]), (StatusCode::OK, &json!(false)));
    let (_, tested) = gateway.admin_send(Method::POST, "/api/v1/alerts/test", &json!({})).await;
    assert!(tested["sent"][0]["ok"] == false && tested["sent"][0]["way"] == "email", "{tested}");

    // What somebody wrote is not overwritten.
    fs::write(gateway.home().join("agents/default/SOUL.md"), "We are kind.").unwrap();
    answer("business", json!({ "name": "Pine", "type": "dental_practice" })).await;
    assert_eq!(fs::read_to_string(gateway.home().join("agents/default/SOUL.md")).unwrap(), "We are kind.");
    answer("model", json!({ "source": "demo" })).await;
    assert_eq!(setup().await["model"]["source"], "demo");
}

#[tokio::test]
async fn an_answer_that_cannot_be_used_changes_nothing() {
    let gateway = TestGateway::start("").await;
    let file = gateway.home().join("config.toml");
    let before = fs::read_to_string(&file).unwrap();
    for (what, body) in [
        ("business", json!({ "name": "a\nb" })),
        ("business", json!({ "name": "a", "type": "circus" })),
        ("hours", json!({ "time_zone": "Europe/Berlln" })),
        ("hours", json!({ "week": [["08:00-12:00", "11:00-13:00"], [], [], [], [], [], []] })),
        ("hours", json!({ "week": [[]] })),
        ("alerts", json!({ "email": "nobody" })),
        ("updates", json!({ "auto": true, "window": "night" })),
    ] {
        let (status, said) = gateway.admin_send(Method::PUT, &format!("/api/v1/setup/{what}"), &body).await;
        assert!(status.is_client_error(), "{what} {body}: {said}");
        assert_eq!(fs::read_to_string(&file).unwrap(), before, "{what} {body}");
    }
    assert_eq!(gateway.admin(Method::GET, "/api/v1/setup").await.1["asked"], json!([]));
    assert_eq!(
        gateway.admin_send(Method::POST, "/api/v1/setup/skip/nothing", &json!({})).await.0,
        StatusCode::NOT_FOUND
    );
}

#[tokio::test]
async fn a_webhook_is_told_and_can_check_who_tells_it() {
    let (sender, mut posts) = mpsc::unbounded_channel();
    let receive = async move |headers: HeaderMap, body: String| sender.send((headers, body)).unwrap();
    let url = serve(Router::new().route("/alerts", post(receive))).await;
    let config = format!(
        "[alerts]\nwebhook_url = \"{url}/alerts\"\nwebhook_secret = \"s3cret\"\n\n[business]\nname = \"Pine\"\n"
    );
    let gateway = TestGateway::start(&config).await;
    let (_, tested) = gateway.admin_send(Method::POST, "/api/v1/alerts/test", &json!({})).await;
    assert_eq!(tested["sent"], json!([{ "way": "webhook", "ok": true, "reason": null }]));
    let (headers, body) = soon("the test", posts.recv()).await.unwrap();
    let text = |name: &str| headers[name].to_str().unwrap();
    let mut keys = SigningKeys::default();
    keys.add(&Secret::new("s3cret"));
    let at = Timestamp(text("webhook-timestamp").parse::<u64>().unwrap() * 1000);
    let signed = keys.sign(text("webhook-id"), at, body.as_bytes());
    assert!(signed.iter().any(|(name, value)| *name == "webhook-signature" && value == text("webhook-signature")));
    let body: Value = serde_json::from_str(&body).unwrap();
    assert_eq!((&body["type"], &body["data"]["business"]), (&json!("alert.test"), &json!("Pine")));
}

#[tokio::test]
async fn only_whoever_runs_the_box_is_asked_and_only_by_its_own_pages() {
    let gateway = TestGateway::start("").await;
    let accounts = gateway.accounts();
    let code = accounts.claim_code().unwrap();
    accounts.claim(&code, "Ada", &Secret::new(PASSWORD), "127.0.0.1".parse().unwrap()).await.unwrap();
    let password = Secret::new(PASSWORD);
    accounts.add_user("Support", Role::Support, Reach::All, &password).await.unwrap();
    let tenant = Reach::Tenant(TenantId::new("7").unwrap());
    accounts.add_user("Tenant", Role::Admin, tenant, &password).await.unwrap();
    let as_whom = async |name: &str| {
        let mut browser = Browser::of(&gateway);
        assert_eq!(browser.log_in(name, PASSWORD).await, StatusCode::SEE_OTHER);
        browser
    };
    let steps = ["", "/business", "/hours", "/model", "/channel", "/alerts", "/updates", "/try"];
    for name in ["Support", "Tenant"] {
        let browser = as_whom(name).await;
        let csrf = browser.csrf().await;
        for step in steps {
            assert_eq!(browser.get(&format!("/admin/setup{step}")).await.0, StatusCode::FORBIDDEN, "{name} {step}");
            let fields = [("csrf", csrf.as_str()), ("do", "later"), ("name", "Evil")];
            let sent = browser.post(&format!("/admin/setup{step}"), &fields).await;
            assert!(sent.status().is_client_error(), "{name} {step}: {}", sent.status());
        }
        assert_eq!(browser.get("/admin/").await.0, StatusCode::OK, "{name} is not sent there");
    }
    let ada = as_whom("Ada").await;
    let home = ada.request(Method::GET, "/admin/").send().await.unwrap();
    assert_eq!(home.headers()[header::LOCATION], "/admin/setup");
    let csrf = ada.csrf().await;
    let hostile = "<script>alert(1)</script>\"'&{x}";
    let forged = ada.post("/admin/setup/business", &[("csrf", "0"), ("name", hostile)]).await;
    assert_eq!(forged.status(), StatusCode::FORBIDDEN);
    let fields = [("csrf", csrf.as_str()), ("do", "save"), ("name", hostile), ("type", "blank"), ("language", "en")];
    let saved = ada.post("/admin/setup/business", &fields).await;
    assert_eq!(saved.headers()[header::LOCATION], "/admin/setup/hours");
    for step in steps.iter().skip(1) {
        let (status, page) = ada.get(&format!("/admin/setup{step}")).await;
        assert_eq!(status, StatusCode::OK, "{step}");
        assert!(!page.contains("<script>alert"), "{step}: {page}");
    }
    assert_eq!(ada.get("/admin/setup/nothing").await.0, StatusCode::NOT_FOUND);
    let wrong = ada.post("/admin/setup/hours", &[("csrf", csrf.as_str()), ("from-0-0", "08:00"), ("to-0-0", "")]).await;
    assert_eq!(wrong.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let page = wrong.text().await.unwrap();
    assert!(page.contains("A time is missing") && page.contains("value=\"08:00\""), "what was typed stays: {page}");
    let key = [("csrf", csrf.as_str()), ("source", "server"), ("address", "127.0.0.1:1"), ("server-key", "k3y-typed")];
    let page = ada.post("/admin/setup/model", &key).await.text().await.unwrap();
    assert!(page.contains("Nothing listens there") && !page.contains("k3y-typed"), "a key does not come back: {page}");
    let later = ada.post("/admin/setup/hours", &[("csrf", csrf.as_str()), ("do", "later")]).await;
    assert_eq!(later.headers()[header::LOCATION], "/admin/");
    assert_eq!(ada.get("/admin/").await.0, StatusCode::OK);
}
