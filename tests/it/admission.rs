//! Who is let in, how fast they may write, and what becomes of messages that nobody can place.

use aws_lc_rs::hmac;
use axum::http::{Method, StatusCode};
use frontdesk::identity::{APPROVED, TOO_FAST};
use frontdesk::store::Store;
use frontdesk::testing::inbound;
use serde_json::{Value, json};

use crate::peers::{Hook, Model, TestGateway, direct, group, http, soon, thread};

const PER_PEER: &str = "[session]\ndm_scope = \"per-channel-peer\"\n";
const HOUR_MS: u64 = 60 * 60 * 1000;

/// One entry named `hook` with these keys, and a model.
async fn desk(keys: &str) -> (TestGateway, Model, Hook) {
    let (model, hook) = (Model::start().await, Hook::start("hook").await);
    let gateway = TestGateway::start(&config(&model, &hook, keys)).await;
    (gateway, model, hook)
}

fn config(model: &Model, hook: &Hook, keys: &str) -> String {
    [PER_PEER, &model.provider("m"), &hook.entry(), keys].concat()
}

/// Says something as a stranger, who must be kept out; returns the code that the stranger is told.
async fn code_for(hook: &mut Hook, gateway: &TestGateway, message: &Value) -> String {
    let (status, body) = hook.say(gateway, message).await;
    assert_eq!(status, StatusCode::FORBIDDEN, "{body}");
    let told = hook.reply().await.body;
    assert_eq!((&told["session_key"], &told["answers"]), (&Value::Null, &json!([])), "it is no conversation");
    assert_eq!(told["user_id"], message["user_id"], "to where the stranger wrote");
    told["text"].as_str().unwrap().rsplit(' ').next().unwrap().to_owned()
}

async fn decide(gateway: &TestGateway, what: &str, channel: &str, code: &str) -> (StatusCode, Value) {
    gateway
        .admin_send(Method::POST, &format!("/api/v1/pairing/{what}"), &json!({ "channel": channel, "code": code }))
        .await
}

async fn approve(gateway: &TestGateway, code: &str) {
    let (status, body) = decide(gateway, "approve", "hook", code).await;
    assert_eq!(status, StatusCode::OK, "{body}");
}

async fn pairings(gateway: &TestGateway) -> Vec<Value> {
    let (status, body) = gateway.admin(Method::GET, "/api/v1/pairing").await;
    assert_eq!(status, StatusCode::OK, "{body}");
    body["pairings"].as_array().unwrap().clone()
}

async fn channel_status(gateway: &TestGateway) -> Value {
    gateway.admin(Method::GET, "/api/v1/status").await.1["channels"][0].clone()
}

#[tokio::test]
async fn a_stranger_is_answered_once_the_code_is_approved() {
    let (gateway, mut model, mut hook) = desk("dm_policy = \"pairing\"\n").await;
    let code = code_for(&mut hook, &gateway, &direct("u1", "one")).await;
    assert_eq!(hook.say(&gateway, &direct("u1", "two")).await.0, StatusCode::FORBIDDEN);
    assert_eq!(gateway.session_keys(None).await, [""; 0], "nothing was kept of it");
    let listed = pairings(&gateway).await;
    assert_eq!(listed.len(), 1);
    assert_eq!(
        (&listed[0]["channel"], &listed[0]["kind"], &listed[0]["subject"], &listed[0]["code"]),
        (&json!("hook"), &json!("direct"), &json!("u1"), &json!(code))
    );
    assert_eq!(channel_status(&gateway).await["pairing"], json!({ "pending": 1, "turned_away": 0 }));

    approve(&gateway, &code.to_lowercase()).await;
    assert_eq!(hook.reply().await.body["text"], json!(APPROVED), "the code was told once");
    assert!(pairings(&gateway).await.is_empty());
    assert_eq!(hook.accepted(&gateway, &direct("u1", "three")).await, "webhook:u1");
    let question = model.asked().await;
    assert_eq!(question.said, ["user: three"], "what was said before is not kept");
    question.answer("to three");
    hook.hears("to three", &["three"]).await;
    assert_eq!(hook.say(&gateway, &direct("u2", "x")).await.0, StatusCode::FORBIDDEN, "for nobody else");
}

#[tokio::test]
async fn codes_and_approvals_survive_a_restart() {
    let (mut gateway, mut model, mut hook) = desk("dm_policy = \"pairing\"\n").await;
    let first = code_for(&mut hook, &gateway, &direct("u1", "one")).await;
    let second = code_for(&mut hook, &gateway, &direct("u2", "two")).await;
    approve(&gateway, &first).await;
    hook.reply().await;
    gateway.settled().await;
    gateway.power_off().await;
    gateway.power_on().await;
    hook.accepted(&gateway, &direct("u1", "three")).await;
    model.asked().await.answer("to three");
    hook.hears("to three", &["three"]).await;
    assert_eq!(hook.say(&gateway, &direct("u2", "four")).await.0, StatusCode::FORBIDDEN);
    approve(&gateway, &second).await;
    assert_eq!(hook.reply().await.body["text"], json!(APPROVED), "and no second code");
}

#[tokio::test]
async fn a_code_that_was_not_taken_is_sent_after_a_restart() {
    let (mut gateway, _model, mut hook) = desk("dm_policy = \"pairing\"\n").await;
    hook.answer_replies_with(StatusCode::SERVICE_UNAVAILABLE);
    let code = code_for(&mut hook, &gateway, &direct("u1", "one")).await;
    gateway.power_off().await;
    hook.forget_replies();
    hook.answer_replies_with(StatusCode::OK);
    gateway.power_on().await;
    assert!(hook.reply().await.body["text"].as_str().unwrap().ends_with(&code));
    gateway.settled().await;
    assert_eq!(gateway.session_keys(None).await, [""; 0]);
}

#[tokio::test]
async fn a_code_ends_after_an_hour_and_the_stranger_gets_another() {
    let (gateway, _model, mut hook) = desk("dm_policy = \"pairing\"\n").await;
    let code = code_for(&mut hook, &gateway, &direct("u1", "one")).await;
    gateway.settled().await;
    gateway.advance_ms(HOUR_MS);
    let (status, body) = decide(&gateway, "approve", "hook", &code).await;
    assert_eq!(status, StatusCode::NOT_FOUND, "{body}");
    assert!(pairings(&gateway).await.is_empty());
    let next = code_for(&mut hook, &gateway, &direct("u1", "two")).await;
    assert_ne!(next, code);
    approve(&gateway, &next).await;
}

#[tokio::test]
async fn of_four_strangers_three_get_a_code() {
    let (gateway, mut model, mut hook) = desk("dm_policy = \"pairing\"\n").await;
    let mut codes = Vec::new();
    for user in ["u1", "u2", "u3"] {
        codes.push(code_for(&mut hook, &gateway, &direct(user, user)).await);
    }
    assert_eq!(hook.say(&gateway, &direct("u4", "four")).await.0, StatusCode::FORBIDDEN);
    assert_eq!(channel_status(&gateway).await["pairing"], json!({ "pending": 3, "turned_away": 1 }));
    let (status, _) = decide(&gateway, "reject", "webhook", &codes[0]).await;
    assert_eq!(status, StatusCode::OK, "by its type, as there is one channel of it");
    assert_eq!(decide(&gateway, "approve", "hook", &codes[0]).await.0, StatusCode::NOT_FOUND);
    let fourth = code_for(&mut hook, &gateway, &direct("u4", "five")).await;
    assert!(!codes.contains(&fourth), "and the fourth was told nothing before");
    assert!(model.is_idle());
}

#[tokio::test]
async fn an_approval_of_a_peer_is_none_of_a_group_and_the_other_way_round() {
    let keys = "dm_policy = \"pairing\"\ngroup_policy = \"pairing\"\n";
    let (gateway, mut model, mut hook) = desk(keys).await;
    let code = code_for(&mut hook, &gateway, &direct("u1", "one")).await;
    approve(&gateway, &code).await;
    hook.reply().await;
    let (_, silent) = hook.say(&gateway, &group("c1", "u1", "two", false)).await;
    assert_eq!(silent["accepted"], json!(false), "a group that does not address the bot gets no code");
    let code = code_for(&mut hook, &gateway, &group("c1", "u1", "three", true)).await;
    assert_eq!(pairings(&gateway).await[0]["subject"], json!("s1:c1"));
    approve(&gateway, &code).await;
    assert_eq!(hook.reply().await.body["channel_id"], json!("c1"), "the group is told");
    hook.accepted(&gateway, &group("c1", "u2", "four", true)).await;
    model.asked().await.answer("to four");
    hook.hears("to four", &["four"]).await;
    hook.accepted(&gateway, &thread("c1", "t1", "u3", "five", true)).await;
    model.asked().await.answer("to five");
    hook.hears("to five", &["five"]).await;
    assert_eq!(hook.say(&gateway, &direct("u2", "six")).await.0, StatusCode::FORBIDDEN);
    assert_eq!(hook.say(&gateway, &group("c2", "u2", "seven", true)).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_revoked_peer_is_a_stranger_again() {
    let (gateway, mut model, mut hook) = desk("dm_policy = \"pairing\"\n").await;
    let code = code_for(&mut hook, &gateway, &direct("u1", "one")).await;
    approve(&gateway, &code).await;
    hook.reply().await;
    let (_, allowed) = gateway.admin(Method::GET, "/api/v1/pairing/allowed?channel=hook").await;
    assert_eq!(allowed["allowed"][0]["subject"], json!("u1"));
    let revocation = json!({ "channel": "hook", "subject": "u1" });
    let (status, body) = gateway.admin_send(Method::POST, "/api/v1/pairing/revoke", &revocation).await;
    assert_eq!((status, &body["revoked"][0]["kind"]), (StatusCode::OK, &json!("direct")));
    let (status, _) = gateway.admin_send(Method::POST, "/api/v1/pairing/revoke", &revocation).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    code_for(&mut hook, &gateway, &direct("u1", "two")).await;
    assert!(model.is_idle());
}

#[tokio::test]
async fn an_approval_does_not_outlive_the_owner_of_its_entry() {
    let (model, mut hook) = (Model::start().await, Hook::start("hook").await);
    let of = |owner: &str| config(&model, &hook, &format!("dm_policy = \"pairing\"\n{owner}\n"));
    let (clinic, estate) = (of("tenant_id = \"clinic\""), of("tenant_id = \"estate\""));
    let account = of("tenant_id = \"clinic\"\naccount = \"2\"");
    let gateway = TestGateway::start(&clinic).await;
    let code = code_for(&mut hook, &gateway, &direct("u1", "one")).await;
    approve(&gateway, &code).await;
    hook.reply().await;
    hook.accepted(&gateway, &direct("u1", "two")).await;
    for (n, other) in [&estate, &account].into_iter().enumerate() {
        gateway.configure(other);
        gateway.reload().await.unwrap();
        code_for(&mut hook, &gateway, &direct("u1", &format!("other {n}"))).await;
    }
    gateway.configure(PER_PEER);
    gateway.reload().await.unwrap();
    gateway.configure(&clinic);
    gateway.reload().await.unwrap();
    hook.accepted(&gateway, &direct("u1", "the same channel of the same owner")).await;
}

#[tokio::test]
async fn codes_cannot_be_guessed() {
    let (gateway, _model, mut hook) = desk("dm_policy = \"pairing\"\n").await;
    let code = code_for(&mut hook, &gateway, &direct("u1", "one")).await;
    let mut last = StatusCode::OK;
    for _ in 0..11 {
        last = decide(&gateway, "approve", "hook", "AAAAAAAA").await.0;
    }
    assert_eq!(last, StatusCode::TOO_MANY_REQUESTS);
    assert_eq!(decide(&gateway, "approve", "hook", &code).await.0, StatusCode::TOO_MANY_REQUESTS);
    let token = "not the token";
    assert_eq!(gateway.admin_with(token, Method::GET, "/api/v1/pairing").await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn under_main_a_stranger_gets_a_code_and_a_second_peer_a_warning() {
    let (mut model, mut hook) = (Model::start().await, Hook::start("hook").await);
    let session = "[session]\ndm_scope = \"main\"\nowners = [\"webhook:boss\"]\n";
    let gateway = TestGateway::start(&[session, &model.provider("m"), &hook.entry()].concat()).await;
    hook.accepted(&gateway, &direct("boss", "one")).await;
    model.asked().await.answer("to one");
    hook.hears("to one", &["one"]).await;
    let code = code_for(&mut hook, &gateway, &direct("u1", "two")).await;
    let (_, shown) = gateway.admin(Method::GET, "/api/v1/sessions/show?key=main").await;
    assert_eq!(shown["undelivered"], json!([]), "a stranger's line is no part of the owner's conversation");
    approve(&gateway, &code).await;
    hook.reply().await;
    hook.accepted(&gateway, &direct("u1", "three")).await;
    let (_, status) = gateway.admin(Method::GET, "/api/v1/status").await;
    let warnings = status["warnings"].to_string();
    assert!(warnings.contains("2 peers share the conversation main"), "{warnings}");
}

#[tokio::test]
async fn a_policy_changes_without_its_channel() {
    let (gateway, mut model, hook) = desk("").await;
    hook.accepted(&gateway, &direct("u1", "one")).await;
    model.asked().await.answer("to one");
    let open = ["[session]\ndm_scope = \"main\"\n", &model.provider("m"), &hook.entry()].concat();
    let listed = "allow = [\"u1\"]\ndmPolicy = \"allowlist\"\n";
    for (text, keys, expected) in
        [("two", "dm_policy = \"off\"\n", StatusCode::FORBIDDEN), ("three", listed, StatusCode::ACCEPTED)]
    {
        gateway.configure(&config(&model, &hook, keys));
        let reloaded = gateway.reload().await.unwrap();
        assert_eq!((reloaded.kept, reloaded.started), (vec!["hook".to_owned()], vec![]), "{keys}");
        let (status, said) = hook.say(&gateway, &direct("u1", text)).await;
        assert_eq!(status, expected, "{said}");
    }
    // The scope alone makes another policy of an entry that names none.
    gateway.configure(&open);
    assert_eq!(gateway.reload().await.unwrap().kept, ["hook"]);
    assert_eq!(hook.say(&gateway, &direct("u2", "four")).await.0, StatusCode::FORBIDDEN);
}

#[tokio::test]
async fn a_workspace_whose_peers_share_main_gets_a_warning_too() {
    let (mut model, hook) = (Model::start().await, Hook::start("hook").await);
    let keys = "workspace_id = \"w\"\ndm_policy = \"open\"\n";
    let config = ["[session]\ndm_scope = \"main\"\n", &model.provider("m"), &hook.entry(), keys].concat();
    let gateway = TestGateway::start(&config).await;
    for user in ["u1", "u2"] {
        let key = hook.accepted(&gateway, &direct(user, user)).await;
        assert_eq!(key, "workspace=w:main");
        model.asked().await.answer("so");
    }
    let (_, status) = gateway.admin(Method::GET, "/api/v1/status").await;
    let warnings = status["warnings"].to_string();
    assert!(warnings.contains("2 peers share the conversation workspace=w:main"), "{warnings}");
}

#[tokio::test]
async fn whoever_writes_too_fast_is_told_once_and_heard_later() {
    let (gateway, mut model, mut hook) = desk("messages_per_minute = 3\n").await;
    for text in ["one", "two", "three"] {
        hook.accepted(&gateway, &direct("u1", text)).await;
    }
    assert_eq!(hook.say(&gateway, &direct("u1", "one")).await.0, StatusCode::OK, "a repeat does not count");
    for text in ["four", "five"] {
        let (status, _) = hook.say(&gateway, &direct("u1", text)).await;
        assert_eq!(status, StatusCode::TOO_MANY_REQUESTS);
    }
    assert_eq!(hook.say(&gateway, &direct("u1", "two")).await.0, StatusCode::OK, "nor is it refused");
    let told = hook.reply().await.body;
    assert_eq!((&told["text"], &told["session_key"]), (&json!(TOO_FAST), &Value::Null));
    hook.accepted(&gateway, &direct("u2", "of another")).await;
    let mut n_asked = 0;
    while n_asked < 2 {
        model.asked().await.answer("yes");
        assert_eq!(hook.reply().await.body["text"], json!("yes"), "told once");
        n_asked += 1;
    }
    assert_eq!(channel_status(&gateway).await["limited"], json!(2));
}

#[tokio::test]
async fn what_is_not_for_the_bot_does_not_count() {
    let (gateway, mut model, hook) = desk("messages_per_minute = 1\n").await;
    for n in 0..5 {
        let (status, _) = hook.say(&gateway, &group("c1", "u1", &format!("talk {n}"), false)).await;
        assert_eq!(status, StatusCode::OK);
    }
    hook.accepted(&gateway, &group("c1", "u1", "one", true)).await;
    model.asked().await.answer("to one");
    assert_eq!(hook.say(&gateway, &group("c1", "u1", "two", true)).await.0, StatusCode::TOO_MANY_REQUESTS);
}

#[tokio::test]
async fn one_tenants_limit_is_not_anothers() {
    let (model, mut a, b) = (Model::start().await, Hook::start("a").await, Hook::start("b").await);
    let entries = [&a.entry(), "tenant_id = \"41\"\n", &b.entry(), "tenant_id = \"42\"\n"].concat();
    let tenants = "[[tenants]]\nid = \"41\"\nmessages_per_minute = 2\n";
    let gateway = TestGateway::start(&[PER_PEER, &model.provider("m"), &entries, tenants].concat()).await;
    a.accepted(&gateway, &direct("u1", "one")).await;
    a.accepted(&gateway, &direct("u2", "two")).await;
    for user in ["u3", "u4"] {
        assert_eq!(a.say(&gateway, &direct(user, user)).await.0, StatusCode::TOO_MANY_REQUESTS);
        let told = a.reply().await.body;
        assert_eq!((&told["text"], &told["user_id"]), (&json!(TOO_FAST), &json!(user)), "each is told");
    }
    for n in 0..4 {
        b.accepted(&gateway, &direct("u1", &format!("{n}"))).await;
    }
}

#[tokio::test]
async fn a_program_hears_why_its_message_has_no_conversation_and_nothing_is_set_aside() {
    let (gateway, _model, hook) = desk("").await;
    let (status, body) = hook.say(&gateway, &json!({ "kind": "direct", "text": "hi" })).await;
    assert_eq!((status, &body["field"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("user_id")));
    let (_, shown) = gateway.admin(Method::GET, "/api/v1/sessions/unresolved").await;
    assert_eq!(shown, json!({ "unresolved": [] }));
}

#[tokio::test]
async fn a_message_without_a_conversation_is_shown_until_it_is_dropped() {
    let (mut gateway, _model, _hook) = desk("").await;
    gateway.power_off().await;
    let store = Store::open(&gateway.home().join("frontdesk.redb"), 1024 * 1024, &gateway.wrapping_key()).unwrap();
    for (entry, text) in [("hook", "who am I?"), ("hook", "and now?"), ("gone", "hello?")] {
        let message = inbound(entry, "u1", text);
        let entry = store.tenant(None).entry(&message.identity.entry);
        assert!(entry.park(message, "a direct message needs a user_id".to_owned()).await.unwrap());
    }
    drop(store);
    gateway.power_on().await;

    let unresolved = "/api/v1/sessions/unresolved";
    let (_, shown) = gateway.admin(Method::GET, unresolved).await;
    let shown = shown["unresolved"].as_array().unwrap();
    let channels: Vec<_> = shown.iter().map(|message| message["channel"].as_str().unwrap()).collect();
    assert_eq!(channels, ["gone", "hook", "hook"], "also of an entry that is gone");
    assert_eq!(
        (&shown[0]["reason"], &shown[0]["at"], &shown[0]["text"]),
        (&json!("a direct message needs a user_id"), &json!("2023-11-14T22:13:20Z"), &Value::Null)
    );
    let (_, shown) = gateway.admin(Method::GET, &format!("{unresolved}?words=true&channel=hook")).await;
    assert_eq!(shown["unresolved"][1]["text"], json!("and now?"));
    let (_, status) = gateway.admin(Method::GET, "/api/v1/status").await;
    assert_eq!(status["queue"]["unresolved"], json!(3));
    assert!(status["warnings"].to_string().contains("sessions unresolved"), "{status}");
    assert_eq!(gateway.session_keys(None).await, [""; 0]);

    let dropped = gateway.admin(Method::DELETE, &format!("{unresolved}?channel=hook")).await;
    assert_eq!(dropped, (StatusCode::OK, json!({ "dropped": 2 })));
    let dropped = gateway.admin(Method::DELETE, unresolved).await;
    assert_eq!(dropped, (StatusCode::OK, json!({ "dropped": 1 })));
    let (_, status) = gateway.admin(Method::GET, "/api/v1/status").await;
    assert_eq!(status["queue"]["unresolved"], json!(0));
}

/// A direct message without an author, as Slack might post it.
async fn slack_event(gateway: &TestGateway, ts: &str) -> StatusCode {
    let event = json!({ "type": "message", "channel": "D1", "channel_type": "im", "ts": ts, "text": "who am I?" });
    let body = json!({ "type": "event_callback", "team_id": "T1", "api_app_id": "A1", "event": event }).to_string();
    let now = gateway.now().as_secs().to_string();
    let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, b"signing"), format!("v0:{now}:{body}").as_bytes());
    let tag: String = tag.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    let request = http()
        .post(gateway.url("/hooks/slack"))
        .header("x-slack-request-timestamp", now)
        .header("x-slack-signature", format!("v0={tag}"));
    soon("an answer to Slack", request.body(body).send()).await.unwrap().status()
}

#[tokio::test]
async fn a_message_that_a_vendor_takes_for_delivered_is_kept() {
    let entry = "[[channels]]\ntype = \"slack\"\nbot_token = \"xoxb-1\"\nsigning_secret = \"signing\"\n\
                 base_url = \"http://127.0.0.1:1/api\"\n";
    let gateway = TestGateway::start(&[PER_PEER, entry].concat()).await;
    for ts in ["1.1", "1.1", "1.2"] {
        assert_eq!(slack_event(&gateway, ts).await, StatusCode::OK);
    }
    let (_, shown) = gateway.admin(Method::GET, "/api/v1/sessions/unresolved?words=true").await;
    let shown = shown["unresolved"].as_array().unwrap();
    assert_eq!(shown.len(), 2, "a repeat is one message");
    assert_eq!(
        (&shown[0]["channel"], &shown[0]["reason"], &shown[0]["text"]),
        (&json!("slack"), &json!("a message without an author"), &json!("who am I?"))
    );
    assert_eq!(gateway.session_keys(None).await, [""; 0]);
}
