//! What was not delivered or not answered, and what the operator does about it, through the real gateway.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use aws_lc_rs::hmac;
use axum::Router;
use axum::extract::{Path, State};
use axum::http::{Method, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use frontdesk::agent::NOTICE;
use frontdesk::clock::Timestamp;
use frontdesk::id::{SessionKey, TenantId};
use frontdesk::store::Life;
use frontdesk::testing::inbound;
use serde_json::{Value, json};
use tokio::sync::mpsc;

use crate::peers::{Hook, Model, TestGateway, direct, http, serve, soon};

const PER_PEER: &str = "[session]\ndm_scope = \"per-channel-peer\"\n";
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

/// One entry named `hook`, and a model.
async fn desk() -> (TestGateway, Model, Hook) {
    let (model, hook) = (Model::start().await, Hook::start("hook").await);
    let gateway = TestGateway::start(&[PER_PEER, &model.provider("m"), &hook.entry()].concat()).await;
    (gateway, model, hook)
}

/// All rows of a list.
async fn list(gateway: &TestGateway, query: &str) -> Vec<Value> {
    let (status, page) = gateway.admin(Method::GET, &format!("/api/v1/deliveries?{query}")).await;
    assert_eq!((status, &page["next"]), (StatusCode::OK, &json!(null)), "{page}");
    page["deliveries"].as_array().unwrap().clone()
}

/// The only row of a list.
async fn only(gateway: &TestGateway, query: &str) -> Value {
    let rows = list(gateway, query).await;
    assert_eq!(rows.len(), 1, "{rows:?}");
    rows[0].clone()
}

/// `retry` or `drop` of a row.
async fn decide(gateway: &TestGateway, what: &str, row: &Value, more: &str) -> (StatusCode, Value) {
    let (key, id) = (row["key"].as_str().unwrap(), row["id"].as_str().unwrap());
    gateway.admin(Method::POST, &format!("/api/v1/deliveries/{what}?key={key}&id={id}{more}")).await
}

async fn put_back(gateway: &TestGateway, row: &Value) {
    let (status, done) = decide(gateway, "retry", row, "").await;
    assert_eq!((status, &done["what"]), (StatusCode::OK, &row["what"]), "{done}");
}

/// Slack, as far as the bot speaks there.
struct Slack {
    url: String,
    status: Arc<AtomicU16>,
    posted: mpsc::UnboundedReceiver<String>,
}

impl Slack {
    async fn start() -> Self {
        let (sender, posted) = mpsc::unbounded_channel();
        let status = Arc::new(AtomicU16::new(200));
        let state = (Arc::clone(&status), sender);
        Self { url: serve(Router::new().route("/{method}", post(call)).with_state(state)).await, status, posted }
    }

    fn entry(&self) -> String {
        let url = &self.url;
        format!(
            "[[channels]]\ntype = \"slack\"\nbot_token = \"xoxb-1\"\nsigning_secret = \"signing\"\nbase_url = \"{url}\"\n"
        )
    }

    async fn hears(&mut self, text: &str) {
        assert_eq!(soon("a post in Slack", self.posted.recv()).await.as_deref(), Some(text));
    }

    /// `U1` writes to the bot.
    async fn says(&self, gateway: &TestGateway, ts: &str) {
        let event = json!({
            "type": "message", "channel": "D1", "channel_type": "im", "user": "U1", "ts": ts, "text": "hello",
        });
        let body = json!({ "type": "event_callback", "team_id": "T1", "api_app_id": "A1", "event": event }).to_string();
        let now = gateway.now().as_secs().to_string();
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"signing"), format!("v0:{now}:{body}").as_bytes());
        let tag: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
        let request = http()
            .post(gateway.url("/hooks/slack"))
            .header("x-slack-request-timestamp", now)
            .header("x-slack-signature", format!("v0={tag}"));
        let response = soon("an answer to Slack", request.body(body).send()).await.unwrap();
        assert_eq!(response.status(), StatusCode::OK);
    }
}

async fn call(
    State((status, posted)): State<(Arc<AtomicU16>, mpsc::UnboundedSender<String>)>,
    Path(method): Path<String>,
    body: String,
) -> Response {
    let body: Value = serde_json::from_str(&body).unwrap();
    let mut answer = json!({ "ok": true, "user_id": "UBOT", "bot_id": "BBOT" });
    let mut code = StatusCode::OK;
    if method == "chat.postMessage" {
        posted.send(body["text"].as_str().unwrap().to_owned()).unwrap();
        code = StatusCode::from_u16(status.load(Ordering::SeqCst)).unwrap();
    }
    if code == StatusCode::GONE {
        (code, answer) = (StatusCode::OK, json!({ "ok": false, "error": "channel_not_found" }));
    }
    (code, [(header::CONTENT_TYPE, "application/json")], answer.to_string()).into_response()
}

#[tokio::test]
async fn a_reply_that_may_have_been_sent_is_sent_again_only_when_the_operator_insists() {
    let (mut model, mut slack) = (Model::start().await, Slack::start().await);
    let gateway = TestGateway::start(&[PER_PEER, &model.provider("m"), &slack.entry()].concat()).await;
    slack.status.store(500, Ordering::SeqCst);
    slack.says(&gateway, "1.1").await;
    model.asked().await.answer("to one");
    slack.hears("to one").await;
    gateway.settled().await;

    let row = only(&gateway, "").await;
    assert_eq!(
        (&row["state"], &row["what"], &row["channel"], &row["ambiguous"], row.get("text")),
        (&json!("parked"), &json!("reply"), &json!("slack"), &json!(true), None)
    );
    let reason = row["reason"].as_str().unwrap();
    assert!(reason.starts_with("nobody can tell whether it was sent"), "{reason}");
    let (status, refused) = decide(&gateway, "retry", &row, "").await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(refused["error"].as_str().unwrap().contains("--anyway"), "{refused}");
    assert_eq!(only(&gateway, "").await, row, "nothing has happened");

    slack.status.store(200, Ordering::SeqCst);
    let (status, _) = decide(&gateway, "retry", &row, "&anyway=true").await;
    assert_eq!(status, StatusCode::OK);
    slack.hears("to one").await;
    gateway.settled().await;
    assert_eq!(list(&gateway, "").await, [Value::Null; 0]);

    // What Slack certainly did not take may be put back without a word.
    slack.status.store(410, Ordering::SeqCst);
    slack.says(&gateway, "1.2").await;
    model.asked().await.answer("to two");
    slack.hears("to two").await;
    gateway.settled().await;
    let row = only(&gateway, "").await;
    assert_eq!(row["ambiguous"], json!(false));
    slack.status.store(200, Ordering::SeqCst);
    put_back(&gateway, &row).await;
    slack.hears("to two").await;
    gateway.settled().await;
    assert_eq!(list(&gateway, "").await, [Value::Null; 0]);
}

#[tokio::test]
async fn a_reply_is_put_back_under_its_id() {
    let (gateway, mut model, mut hook) = desk().await;
    hook.answer_replies_with(StatusCode::GONE);
    hook.accepted(&gateway, &direct("u1", "one")).await;
    model.asked().await.answer("to one");
    let refused = hook.hears("to one", &["one"]).await;
    gateway.settled().await;
    let row = only(&gateway, "").await;
    assert_eq!((&row["id"], &row["ambiguous"]), (&json!(refused.delivery_id), &json!(false)));
    hook.answer_replies_with(StatusCode::OK);
    put_back(&gateway, &row).await;
    assert_eq!(hook.hears("to one", &["one"]).await.delivery_id, refused.delivery_id);
    gateway.settled().await;
    let (status, gone) = decide(&gateway, "retry", &row, "").await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{gone}");
}

#[tokio::test]
async fn a_reply_of_yesterday_that_is_put_back_has_a_day_again_also_after_a_restart() {
    let (mut gateway, mut model, mut hook) = desk().await;
    hook.answer_replies_with(StatusCode::SERVICE_UNAVAILABLE);
    hook.accepted(&gateway, &direct("u1", "one")).await;
    model.asked().await.answer("to one");
    hook.hears("to one", &["one"]).await;
    gateway.power_off().await;
    gateway.advance_ms(2 * DAY_MS);
    gateway.power_on().await;
    gateway.settled().await;
    let row = only(&gateway, "").await;
    assert_eq!(row["reason"], json!("it could not be delivered in time"));
    hook.forget_replies();
    put_back(&gateway, &row).await;
    hook.hears("to one", &["one"]).await;
    gateway.power_off().await;
    hook.forget_replies();
    hook.answer_replies_with(StatusCode::OK);
    gateway.power_on().await;
    hook.hears("to one", &["one"]).await;
    gateway.settled().await;
    assert_eq!(list(&gateway, "").await, [Value::Null; 0]);
}

#[tokio::test]
async fn a_message_that_is_put_back_is_answered_although_it_is_from_yesterday() {
    let (mut gateway, mut model, mut hook) = desk().await;
    hook.accepted(&gateway, &direct("u1", "one")).await;
    drop(model.asked().await);
    gateway.power_off().await;
    gateway.advance_ms(2 * DAY_MS);
    gateway.power_on().await;
    gateway.settled().await;
    let row = only(&gateway, "state=parked").await;
    assert_eq!((&row["what"], &row["reason"]), (&json!("message"), &json!("it waited for more than a day")));
    assert!(row["since"].as_str() < row["set_aside"].as_str(), "{row}");
    put_back(&gateway, &row).await;
    let again = model.asked().await;
    assert_eq!(again.said, ["user: one"]);
    again.answer("to one");
    hook.hears("to one", &["one"]).await;
    gateway.settled().await;
    assert_eq!(list(&gateway, "").await, [Value::Null; 0]);
    let repeat = hook.say(&gateway, &direct("u1", "one")).await;
    assert_eq!(repeat, (StatusCode::OK, json!({ "duplicate": true })));
}

#[tokio::test]
async fn a_poisoned_message_can_be_put_back_and_is_set_aside_again_without_blocking_others() {
    let (gateway, mut model, mut hook) = desk().await;
    let key = hook.accepted(&gateway, &direct("u1", "one")).await;
    model.asked().await.fail(StatusCode::BAD_REQUEST);
    assert_eq!(hook.reply().await.body["text"], json!(NOTICE));
    gateway.settled().await;
    let row = only(&gateway, &format!("key={key}")).await;
    gateway.advance_ms(DAY_MS / 2);
    put_back(&gateway, &row).await;
    model.asked().await.fail(StatusCode::BAD_REQUEST);
    assert_eq!(hook.reply().await.body["text"], json!(NOTICE));
    hook.accepted(&gateway, &direct("u1", "two")).await;
    let next = model.asked().await;
    assert_eq!(next.said, ["user: two"]);
    next.answer("to two");
    hook.hears("to two", &["two"]).await;
    gateway.settled().await;
    let again = only(&gateway, "").await;
    assert_eq!(
        (&again["id"], &again["since"]),
        (&row["id"], &row["since"]),
        "it is the same, and has waited all the time"
    );
    assert!(again["set_aside"].as_str() > row["set_aside"].as_str(), "{again}");
}

#[tokio::test]
async fn a_reply_that_waits_is_shown_and_can_be_dropped() {
    let (gateway, mut model, mut hook) = desk().await;
    hook.answer_replies_with(StatusCode::SERVICE_UNAVAILABLE);
    hook.accepted(&gateway, &direct("u1", "one")).await;
    model.asked().await.answer("to one");
    hook.hears("to one", &["one"]).await;
    hook.accepted(&gateway, &direct("u1", "two")).await;
    model.asked().await.answer("to two");
    let rows = async {
        loop {
            let rows = list(&gateway, "state=waiting").await;
            if rows.len() == 2 {
                return rows;
            }
        }
    };
    let rows = soon("both replies", rows).await;
    assert!(rows[0]["tries"].as_u64().unwrap() >= 1, "{rows:?}");
    assert_eq!((&rows[1]["tries"], &rows[1]["started"], rows[1].get("text")), (&json!(0), &json!(false), None));
    let read = list(&gateway, "state=waiting&text=true").await;
    assert_eq!((&read[0]["text"], &read[1]["text"]), (&json!("to one"), &json!("to two")));
    let (status, refused) = decide(&gateway, "retry", &rows[1], "").await;
    assert_eq!(status, StatusCode::CONFLICT, "{refused}");

    for (n_pages, row) in [(1, &rows[0]), (2, &rows[1])] {
        let after = (n_pages == 2).then(|| json!(["waiting", null, rows[0]["key"], rows[0]["id"]]).to_string());
        let after = after.map(|after| format!("&after={}", percent(&after))).unwrap_or_default();
        let (_, page) = gateway.admin(Method::GET, &format!("/api/v1/deliveries?limit=1{after}")).await;
        assert_eq!(page["deliveries"][0]["id"], row["id"], "{page}");
        assert_eq!(page["next"].is_null(), n_pages == 2, "{page}");
    }

    // The first is dropped while it waits for its next attempt: the second has its turn.
    let (status, dropped) = decide(&gateway, "drop", &rows[0], "").await;
    assert_eq!((status, &dropped["dropped"]), (StatusCode::OK, &json!(1)), "{dropped}");
    let (status, _) = decide(&gateway, "drop", &rows[0], "").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    hook.forget_replies();
    hook.answer_replies_with(StatusCode::OK);
    gateway.reload().await.unwrap();
    loop {
        // An attempt may have been under way.
        let reply = hook.reply().await;
        if reply.delivery_id == rows[1]["id"].as_str().unwrap() {
            break;
        }
    }
    gateway.settled().await;
    assert_eq!(list(&gateway, "").await, [Value::Null; 0]);
}

#[tokio::test]
async fn what_could_go_nowhere_is_not_put_back() {
    let (gateway, mut model, mut hook) = desk().await;
    hook.answer_replies_with(StatusCode::GONE);
    hook.accepted(&gateway, &direct("u1", "one")).await;
    model.asked().await.answer("to one");
    hook.hears("to one", &["one"]).await;
    gateway.settled().await;
    let row = only(&gateway, "").await;
    let other = Hook::start("other").await;
    let without = [PER_PEER, &model.provider("m"), &other.entry()].concat();
    let of_another = [PER_PEER, &model.provider("m"), &hook.entry(), "tenant_id = \"t\"\n"].concat();
    for (config, expected) in [(without, "is not configured"), (of_another, "is another channel")] {
        gateway.configure(&config);
        gateway.reload().await.unwrap();
        let (status, refused) = decide(&gateway, "retry", &row, "&anyway=true").await;
        assert_eq!(status, StatusCode::CONFLICT);
        assert!(refused["error"].as_str().unwrap().contains(expected), "{refused}");
        assert_eq!(only(&gateway, "").await["state"], json!("parked"), "nothing has happened");
    }
    let (status, _) = decide(&gateway, "drop", &row, "").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(list(&gateway, "").await, [Value::Null; 0]);
}

#[tokio::test]
async fn one_tenants_items_are_reached_through_that_tenant_only() {
    let (gateway, _model, _hook) = desk().await;
    let key = SessionKey::parse("webhook:u1").unwrap();
    for tenant in ["41", "42"] {
        let mut message = inbound("hook", "u1", tenant);
        message.identity.tenant = Some(TenantId::new(tenant).unwrap());
        let store = gateway.store().tenant(message.identity.tenant.as_ref());
        store.file(&key, &message, Life::default()).await.unwrap();
        store.session(&key).park(vec![1], format!("of {tenant}"), None, Timestamp(9)).await.unwrap();
    }
    assert_eq!(list(&gateway, "key=webhook:u1").await.len(), 2);
    let row = only(&gateway, "tenant=42").await;
    assert_eq!((&row["tenant"], &row["reason"]), (&json!("42"), &json!("of 42")));
    for what in ["retry", "drop"] {
        let (status, refused) = decide(&gateway, what, &row, "").await;
        assert_eq!(status, StatusCode::CONFLICT, "{what}");
        assert!(refused["error"].as_str().unwrap().contains("41, 42"), "{refused}");
        let (status, _) = decide(&gateway, what, &row, "&tenant=43").await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{what}");
    }
    let (status, _) = decide(&gateway, "drop", &row, "&tenant=42").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(only(&gateway, "").await["tenant"], json!("41"));
}

#[tokio::test]
async fn the_operator_decides_on_the_command_line() {
    let (gateway, mut model, mut hook) = desk().await;
    let (code, said) = gateway.command(&["deliveries", "list"]).await;
    assert_eq!((code, said.as_str()), (0, "nothing waits to be sent, and nothing was set aside\n"));
    hook.answer_replies_with(StatusCode::GONE);
    for text in ["one", "two", "three"] {
        hook.accepted(&gateway, &direct("u1", text)).await;
        model.asked().await.answer(&format!("to {text}"));
        hook.hears(&format!("to {text}"), &[text]).await;
    }
    gateway.settled().await;
    let (code, status) = gateway.command(&["gateway", "status"]).await;
    assert_eq!(code, 0);
    assert!(status.contains("3 messages and replies set aside"), "{status}");
    let (_, found) = gateway.command(&["doctor", "--json"]).await;
    assert!(found.contains("see which and why with `frontdesk deliveries list`"), "{found}");

    let (code, shown) = gateway.command(&["deliveries", "list", "--parked"]).await;
    assert_eq!((code, shown.lines().count()), (0, 4), "{shown}");
    assert!(shown.contains("set aside: the peer answered 410") && !shown.contains("to one"), "{shown}");
    let (_, read) = gateway.command(&["deliveries", "list", "--text"]).await;
    assert!(["to one", "to two", "to three"].iter().all(|text| read.contains(text)), "{read}");
    let (_, json) = gateway.command(&["deliveries", "list", "--json"]).await;
    let json: Value = serde_json::from_str(&json).unwrap();
    let ids: Vec<&str> = json["deliveries"].as_array().unwrap().iter().map(|row| row["id"].as_str().unwrap()).collect();

    hook.answer_replies_with(StatusCode::OK);
    let session = ["--session", "webhook:u1"];
    let with = |command: &[&'static str], more: &[&str]| {
        command.iter().chain(&session).copied().chain(more.iter().copied()).map(str::to_owned).collect::<Vec<_>>()
    };
    let run =
        async |arguments: Vec<String>| gateway.command(&arguments.iter().map(String::as_str).collect::<Vec<_>>()).await;
    let (code, said) = run(with(&["deliveries", "retry"], &[ids[1]])).await;
    assert_eq!((code, said), (0, format!("put back: {} of webhook:u1 is being sent again\n", ids[1])));
    hook.hears("to two", &["two"]).await;
    let (code, said) = run(with(&["deliveries", "drop"], &[ids[0]])).await;
    assert_eq!((code, said.as_str()), (0, "dropped from webhook:u1: 1\n"));
    for (arguments, expected) in [
        (with(&["deliveries", "drop"], &[ids[0]]), "nothing named"),
        (with(&["deliveries", "retry"], &["msg_9"]), "nothing named"),
        (with(&["deliveries", "drop"], &["--all"]), "--yes"),
        (with(&["deliveries", "drop"], &[]), "required"),
        (vec!["deliveries".to_owned(), "retry".to_owned(), ids[2].to_owned()], "--session"),
    ] {
        let (code, said) = run(arguments).await;
        assert_eq!(code, 64, "{said}");
        assert!(said.contains(expected), "{said}");
    }
    let (code, said) = run(with(&["deliveries", "drop"], &["--all", "--yes"])).await;
    assert_eq!((code, said.as_str()), (0, "dropped from webhook:u1: 1\n"));
    gateway.settled().await;
    assert_eq!(list(&gateway, "").await, [Value::Null; 0]);
}

fn percent(text: &str) -> String {
    text.bytes().map(|byte| format!("%{byte:02X}")).collect()
}

#[tokio::test]
async fn what_waits_for_a_paused_channel_waits_for_days_and_over_a_restart_and_is_sent_when_it_goes_on() {
    let (mut gateway, mut model, mut hook) = desk().await;
    hook.accepted(&gateway, &direct("u1", "one")).await;
    let question = model.asked().await;
    let (status, paused) = gateway.admin(Method::POST, "/api/v1/channels/hook/pause").await;
    assert_eq!(
        (status, &paused["paused"], &paused["problem"]),
        (StatusCode::OK, &json!(true), &Value::Null),
        "{paused}"
    );
    question.answer("to one");
    let (status, _) = hook.say(&gateway, &direct("u1", "two")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "its program keeps it");

    gateway.power_off().await;
    gateway.advance_ms(2 * DAY_MS);
    gateway.power_on().await;
    let (code, said) = gateway.command(&["channels", "list"]).await;
    assert!(code == 0 && said.contains("paused"), "{said}");
    let tried = async { while only(&gateway, "").await["tries"].as_u64() < Some(1) {} };
    soon("an attempt", tried).await;
    let row = only(&gateway, "").await;
    assert_eq!((&row["state"], &row["what"]), (&json!("waiting"), &json!("reply")), "{row}");
    let (_, status) = gateway.admin(Method::GET, "/api/v1/status").await;
    assert_eq!(status["warnings"], json!([]), "it is the owner's wish");

    let (code, said) = gateway.command(&["channels", "resume", "hook"]).await;
    assert_eq!((code, said.trim()), (0, "channel hook: goes on"));
    hook.hears("to one", &["one"]).await;
    hook.accepted(&gateway, &direct("u1", "two")).await;
    model.asked().await.answer("to two");
    hook.hears("to two", &["two"]).await;
    gateway.settled().await;
    let config = std::fs::read_to_string(gateway.home().join("config.toml")).unwrap();
    assert!(!config.contains("enabled"), "{config}");
    let (status, _) = gateway.admin(Method::POST, "/api/v1/channels/nothing/pause").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn the_web_chat_that_no_file_names_can_be_paused_too() {
    let gateway = TestGateway::start(PER_PEER).await;
    for (action, is_paused) in [("pause", true), ("pause", true), ("resume", false), ("resume", false)] {
        let (status, channel) = gateway.admin(Method::POST, &format!("/api/v1/channels/webchat/{action}")).await;
        assert_eq!((status, &channel["paused"]), (StatusCode::OK, &json!(is_paused)), "{action}: {channel}");
        assert_eq!(gateway.get("/chat/webchat").await.0, StatusCode::OK, "its page is there");
    }
}
