//! Messages through the real gateway: a peer says something, the model answers, the peer gets it.

use axum::http::{Method, StatusCode};
use frontdesk::agent::NOTICE;
use frontdesk::config;
use frontdesk::gateway::ReloadError;
use serde_json::json;

use crate::peers::{Hook, Model, TestGateway, direct, group, thread};

/// Conversations kept apart, the usual choice.
const PER_PEER: &str = "[session]\ndm_scope = \"per-channel-peer\"\n";

/// One entry named `hook`, and a model.
async fn desk() -> (TestGateway, Model, Hook) {
    let (model, hook) = (Model::start().await, Hook::start("hook").await);
    let gateway = TestGateway::start(&[PER_PEER, &model.provider("m"), &hook.entry()].concat()).await;
    (gateway, model, hook)
}

#[tokio::test]
async fn second_message_waits_for_the_running_turn_and_is_collected() {
    let (gateway, mut model, mut hook) = desk().await;
    assert_eq!(hook.accepted(&gateway, &direct("u1", "one")).await, "webhook:u1");
    let first = model.asked().await;
    assert_eq!(first.said, ["user: one"]);
    hook.accepted(&gateway, &direct("u1", "two")).await;
    hook.accepted(&gateway, &direct("u1", "three")).await;
    assert!(model.is_idle(), "one turn at a time");
    first.answer("to one");
    hook.hears("to one", &["one"]).await;
    let second = model.asked().await;
    assert_eq!(second.said, ["user: one", "assistant: to one", "user: two\n\nthree"]);
    second.answer("to both");
    hook.hears("to both", &["two", "three"]).await;
}

#[tokio::test]
async fn sessions_run_in_parallel() {
    let (gateway, mut model, mut hook) = desk().await;
    hook.accepted(&gateway, &direct("u1", "one")).await;
    let first = model.asked().await;
    hook.accepted(&gateway, &direct("u2", "two")).await;
    let second = model.asked().await;
    assert_eq!(second.said, ["user: two"], "another conversation, and nothing of the first");
    second.answer("to two");
    hook.hears("to two", &["two"]).await;
    first.answer("to one");
    hook.hears("to one", &["one"]).await;
}

#[tokio::test]
async fn the_same_message_twice_is_one() {
    let (gateway, mut model, mut hook) = desk().await;
    hook.accepted(&gateway, &direct("u1", "one")).await;
    let again = hook.say(&gateway, &direct("u1", "one")).await;
    assert_eq!(again, (StatusCode::OK, json!({ "duplicate": true })));
    model.asked().await.answer("to one");
    hook.hears("to one", &["one"]).await;
    assert!(model.is_idle());
}

#[tokio::test]
async fn reload_keeps_unchanged_channels_and_running_turn_ends_on_old_settings() {
    let (gateway, mut model, mut hook) = desk().await;
    let other = Hook::start("other").await;
    hook.accepted(&gateway, &direct("u1", "one")).await;
    let running = model.asked().await;
    gateway.configure(&[PER_PEER, &model.provider("m2"), &hook.entry(), &other.entry(), "account = \"2\"\n"].concat());
    assert!(gateway.reload().await.is_err(), "two entries that would share keys");
    gateway
        .configure(&[PER_PEER, &model.provider("m2"), &hook.entry(), &other.entry(), "tenant_id = \"42\"\n"].concat());
    let reloaded = gateway.reload().await.unwrap();
    assert_eq!(
        (reloaded.kept, reloaded.started, reloaded.stopped),
        (vec!["hook".to_owned()], vec!["other".to_owned()], vec![])
    );
    // The provider's second attempt belongs to the same turn.
    running.fail(StatusCode::SERVICE_UNAVAILABLE);
    let again = model.asked().await;
    assert_eq!(again.model, "m");
    again.answer("to one");
    hook.hears("to one", &["one"]).await;
    hook.accepted(&gateway, &direct("u1", "two")).await;
    let next = model.asked().await;
    assert_eq!(next.model, "m2");
    next.answer("to two");
    hook.hears("to two", &["two"]).await;
    assert_eq!(other.accepted(&gateway, &direct("u1", "three")).await, "tenant-42-webhook:u1");
}

#[tokio::test]
async fn bad_reload_leaves_everything_in_place() {
    let (gateway, mut model, mut hook) = desk().await;
    let bad = [PER_PEER, "[[chanels]]\n", &model.provider("m2"), &hook.entry()].concat();
    gateway.configure(&bad);
    let Err(ReloadError::Config(config::Error::Invalid(problems))) = gateway.reload().await else {
        panic!("a misspelt section was taken")
    };
    assert_eq!(
        problems.iter().map(|problem| (problem.line, problem.path.as_str())).collect::<Vec<_>>(),
        [(5, "chanels")]
    );
    let (status, body) = gateway.admin(Method::POST, "/api/v1/reload").await;
    assert_eq!((status, &body["problems"][0]["path"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("chanels")));
    hook.accepted(&gateway, &direct("u1", "one")).await;
    let question = model.asked().await;
    assert_eq!(question.model, "m");
    question.answer("to one");
    hook.hears("to one", &["one"]).await;
}

#[tokio::test]
async fn restart_answers_what_was_waiting_exactly_once() {
    let (mut gateway, mut model, mut hook) = desk().await;
    hook.accepted(&gateway, &direct("u1", "one")).await;
    let lost = model.asked().await;
    hook.accepted(&gateway, &direct("u1", "two")).await;
    gateway.power_off().await;
    lost.answer("nobody hears this");
    gateway.power_on().await;
    let question = model.asked().await;
    assert_eq!(question.said, ["user: one\n\ntwo"]);
    question.answer("to both");
    hook.hears("to both", &["one", "two"]).await;
    for text in ["one", "two"] {
        let again = hook.say(&gateway, &direct("u1", text)).await;
        assert_eq!(again, (StatusCode::OK, json!({ "duplicate": true })));
    }
    gateway.settled().await;
    gateway.power_off().await;
    gateway.power_on().await;
    hook.accepted(&gateway, &direct("u1", "three")).await;
    let question = model.asked().await;
    assert_eq!(question.said, ["user: one\n\ntwo", "assistant: to both", "user: three"]);
    question.answer("to three");
    hook.hears("to three", &["three"]).await;
}

#[tokio::test]
async fn restart_sends_a_reply_that_was_not_taken_under_the_same_id() {
    let (mut gateway, mut model, mut hook) = desk().await;
    hook.answer_replies_with(StatusCode::SERVICE_UNAVAILABLE);
    hook.accepted(&gateway, &direct("u1", "one")).await;
    model.asked().await.answer("to one");
    let refused = hook.hears("to one", &["one"]).await;
    gateway.power_off().await;
    hook.forget_replies();
    hook.answer_replies_with(StatusCode::OK);
    gateway.power_on().await;
    let taken = hook.hears("to one", &["one"]).await;
    assert_eq!(taken.delivery_id, refused.delivery_id);
    hook.accepted(&gateway, &direct("u1", "two")).await;
    model.asked().await.answer("to two");
    assert_ne!(hook.hears("to two", &["two"]).await.delivery_id, refused.delivery_id);
}

#[tokio::test]
async fn provider_failure_tells_once_and_answers_later() {
    let (gateway, mut model, mut hook) = desk().await;
    hook.accepted(&gateway, &direct("u1", "one")).await;
    let notice = loop {
        tokio::select! {
            question = model.asked() => question.fail(StatusCode::SERVICE_UNAVAILABLE),
            notice = hook.reply() => break notice,
        }
    };
    assert_eq!(notice.body["text"], json!(NOTICE));
    // The next turn fails too, with all attempts of the provider; nothing more is said about it.
    for _attempt in 0..3 {
        model.asked().await.fail(StatusCode::SERVICE_UNAVAILABLE);
    }
    let question = model.asked().await;
    assert_eq!(question.said, ["user: one"], "neither the message nor the notice is told twice");
    question.answer("to one");
    hook.hears("to one", &["one"]).await;
}

#[tokio::test]
async fn permanent_failure_parks_and_next_message_is_answered() {
    let (gateway, mut model, mut hook) = desk().await;
    let key = hook.accepted(&gateway, &direct("u1", "one")).await;
    model.asked().await.fail(StatusCode::BAD_REQUEST);
    let notice = hook.reply().await;
    assert_eq!((&notice.body["text"], &notice.body["answers"]), (&json!(NOTICE), &json!([])), "it answers nothing");
    hook.accepted(&gateway, &direct("u1", "two")).await;
    let question = model.asked().await;
    assert_eq!(question.said, ["user: two"]);
    question.answer("to two");
    hook.hears("to two", &["two"]).await;
    let (_, shown) = gateway.admin(Method::GET, &format!("/api/v1/sessions/show?key={key}")).await;
    assert_eq!(shown["parked"].as_array().unwrap().len(), 1, "{shown}");
    let (_, status) = gateway.admin(Method::GET, "/api/v1/status").await;
    assert_eq!(status["queue"]["parked"], json!(1));
}

#[tokio::test]
async fn reply_goes_to_the_address_that_asked_under_main_scope() {
    let (mut model, mut a, mut b) = (Model::start().await, Hook::start("a").await, Hook::start("b").await);
    let session = "[session]\ndm_scope = \"main\"\nowners = [\"webhook:boss\"]\n";
    let entries = [&a.entry(), "account = \"1\"\n", &b.entry(), "account = \"2\"\n"].concat();
    let gateway = TestGateway::start(&[session, &model.provider("m"), &entries].concat()).await;
    assert_eq!(a.accepted(&gateway, &direct("boss", "one")).await, "main");
    let first = model.asked().await;
    assert_eq!(b.accepted(&gateway, &direct("boss", "two")).await, "main");
    a.accepted(&gateway, &direct("boss", "three")).await;
    first.answer("to one");
    a.hears("to one", &["one"]).await;
    let second = model.asked().await;
    assert_eq!(second.said, ["user: one", "assistant: to one", "user: two"], "a turn answers one address");
    second.answer("to two");
    b.hears("to two", &["two"]).await;
    model.asked().await.answer("to three");
    a.hears("to three", &["three"]).await;
}

#[tokio::test]
async fn not_admitted_under_main_without_owner() {
    let (mut model, hook) = (Model::start().await, Hook::start("hook").await);
    let session = "[session]\ndm_scope = \"main\"\nowners = [\"webhook:boss\"]\n";
    let gateway = TestGateway::start(&[session, &model.provider("m"), &hook.entry()].concat()).await;
    let (status, _) = hook.say(&gateway, &direct("stranger", "one")).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert_eq!(gateway.session_keys(None).await, [""; 0], "nothing was filed");
    hook.accepted(&gateway, &direct("boss", "two")).await;
    assert_eq!(model.asked().await.said, ["user: two"]);
}

#[tokio::test]
async fn group_without_mention_ignored() {
    let (gateway, mut model, mut hook) = desk().await;
    let (status, body) = hook.say(&gateway, &group("c1", "u1", "one", false)).await;
    assert_eq!((status, &body["accepted"]), (StatusCode::OK, &json!(false)));
    assert_eq!(gateway.session_keys(None).await, [""; 0]);
    let key = hook.accepted(&gateway, &group("c1", "u1", "two", true)).await;
    let question = model.asked().await;
    assert_eq!(question.said, ["user: u1: two"], "in a group the model is told who speaks");
    question.answer("to two");
    assert_eq!(hook.hears("to two", &["two"]).await.body["channel_id"], json!("c1"));
    assert_eq!(hook.accepted(&gateway, &group("c1", "u2", "three", true)).await, key, "its members share it");
    let question = model.asked().await;
    assert_eq!(question.said, ["user: u1: two", "assistant: to two", "user: u2: three"]);
    question.answer("to three");
    hook.hears("to three", &["three"]).await;
}

#[tokio::test]
async fn thread_continues_without_mention() {
    let (gateway, mut model, mut hook) = desk().await;
    let (_, unknown) = hook.say(&gateway, &thread("c1", "t1", "u1", "zero", false)).await;
    assert_eq!(unknown["accepted"], json!(false));
    let key = hook.accepted(&gateway, &thread("c1", "t1", "u1", "one", true)).await;
    model.asked().await.answer("to one");
    assert_eq!(hook.hears("to one", &["one"]).await.body["thread_id"], json!("t1"));
    assert_eq!(hook.accepted(&gateway, &thread("c1", "t1", "u2", "two", false)).await, key);
    model.asked().await.answer("to two");
    hook.hears("to two", &["two"]).await;
    let (_, elsewhere) = hook.say(&gateway, &thread("c1", "t2", "u1", "three", false)).await;
    assert_eq!(elsewhere["accepted"], json!(false));
}

#[tokio::test]
async fn tenant_of_one_entry_cannot_see_other() {
    let (mut model, mut a, mut b) = (Model::start().await, Hook::start("a").await, Hook::start("b").await);
    let entries = [&a.entry(), "tenant_id = \"41\"\n", &b.entry(), "tenant_id = \"42\"\n"].concat();
    let api_key = "[[api_keys]]\nname = \"crm\"\nkey = \"key of 41\"\ntenant_id = \"41\"\nscope = \"tenant\"\n";
    let gateway = TestGateway::start(&[PER_PEER, &model.provider("m"), &entries, api_key].concat()).await;
    // The same peer of the same channel type writes to both businesses.
    let of_a = a.accepted(&gateway, &direct("u1", "for a")).await;
    model.asked().await.answer("from a");
    a.hears("from a", &["for a"]).await;
    let of_b = b.accepted(&gateway, &direct("u1", "for b")).await;
    let question = model.asked().await;
    assert_eq!(question.said, ["user: for b"]);
    question.answer("from b");
    b.hears("from b", &["for b"]).await;
    assert_eq!((of_a.as_str(), of_b.as_str()), ("tenant-41-webhook:u1", "tenant-42-webhook:u1"));

    let (status, _) = a.post(&gateway, "b", &direct("u1", "forged")).await;
    assert_eq!(status, StatusCode::UNAUTHORIZED, "the secret of one entry opens no other");

    let (status, body) = gateway.ask("key of 41", &of_b, "what did they say?").await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::FORBIDDEN, &json!("forbidden")));
    let (status, _) = gateway.ask("key of 42", &of_b, "what did they say?").await;
    assert_eq!(status, StatusCode::UNAUTHORIZED);
    let (own, ()) = tokio::join!(gateway.ask("key of 41", &of_a, "and?"), async {
        let question = model.asked().await;
        assert_eq!(question.said, ["user: for a", "assistant: from a", "user: and?"]);
        question.answer("nothing more");
    });
    assert_eq!(own.1["choices"][0]["message"]["content"], json!("nothing more"));

    assert_eq!(gateway.session_keys(Some("41")).await, [of_a.as_str()]);
    assert_eq!(gateway.session_keys(None).await, [of_a.as_str(), of_b.as_str()]);
    let show = |tenant: &str| format!("/api/v1/sessions/show?key={of_b}&tenant={tenant}");
    assert_eq!(gateway.admin(Method::GET, &show("41")).await.0, StatusCode::NOT_FOUND);
    assert_eq!(gateway.admin(Method::GET, &show("42")).await.0, StatusCode::OK);
    assert_eq!(gateway.admin_with("key of 41", Method::GET, &show("42")).await.0, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn safe_mode_start_then_reload() {
    let (mut model, mut hook) = (Model::start().await, Hook::start("hook").await);
    let good = [PER_PEER, &model.provider("m"), &hook.entry()].concat();
    let gateway = TestGateway::start(&format!("colour = \"red\"\n{good}")).await;
    let unready = (StatusCode::SERVICE_UNAVAILABLE, "safe mode: see `gateway status`\n".to_owned());
    assert_eq!(gateway.get("/readyz").await, unready, "nothing of the configuration for anybody");
    assert_eq!(gateway.get("/healthz").await.0, StatusCode::OK);
    let (status, _) = hook.say(&gateway, &direct("u1", "one")).await;
    assert_eq!(status, StatusCode::SERVICE_UNAVAILABLE, "whoever sends it keeps it");
    let (_, shown) = gateway.admin(Method::GET, "/api/v1/status").await;
    assert!(shown["safe_mode"].as_str().unwrap().contains("colour"), "{shown}");

    gateway.configure(&good);
    assert_eq!(gateway.reload().await.unwrap().started, ["hook"]);
    assert_eq!(gateway.get("/readyz").await, (StatusCode::OK, "ready\n".to_owned()));
    hook.accepted(&gateway, &direct("u1", "one")).await;
    model.asked().await.answer("to one");
    hook.hears("to one", &["one"]).await;
}

#[tokio::test]
async fn in_a_direct_chat_nobody_is_named() {
    let (gateway, mut model, mut hook) = desk().await;
    let named = |text: &str| {
        let mut message = direct("u1", text);
        message["user_name"] = json!("Ada");
        message
    };
    hook.accepted(&gateway, &named("one")).await;
    model.asked().await.answer("to one");
    hook.hears("to one", &["one"]).await;
    hook.accepted(&gateway, &named("two")).await;
    assert_eq!(model.asked().await.said, ["user: one", "assistant: to one", "user: two"]);
}

/// An entry's id is free again when the entry is gone; the replies that still wait for it are not.
#[tokio::test]
async fn a_pending_reply_does_not_leave_through_another_tenants_entry() {
    let (mut model, mut first, mut second) =
        (Model::start().await, Hook::start("hook").await, Hook::start("hook").await);
    first.answer_replies_with(StatusCode::SERVICE_UNAVAILABLE);
    let config = |hook: &Hook, tenant: &str| {
        format!("{PER_PEER}{}{}tenant_id = \"{tenant}\"\n", model.provider("m"), hook.entry())
    };
    let (clinic, estate) = (config(&first, "clinic"), config(&second, "estate"));
    let gateway = TestGateway::start(&clinic).await;
    first.accepted(&gateway, &direct("u1", "one")).await;
    model.asked().await.answer("for the clinic");
    first.reply().await;
    gateway.configure(&estate);
    gateway.reload().await.unwrap();
    second.accepted(&gateway, &direct("u2", "two")).await;
    model.asked().await.answer("for the estate");
    second.hears("for the estate", &["two"]).await;
    gateway.settled().await;
    let (_, status) = gateway.admin(Method::GET, "/api/v1/status").await;
    assert_eq!(status["queue"]["parked"], json!(1), "the clinic's reply is set aside");
}

#[tokio::test]
async fn a_webhook_body_cannot_choose_the_account_of_another_entry() {
    let (mut model, hook) = (Model::start().await, Hook::start("hook").await);
    let format = "key_format = \"{channel}:{account}:{user_id}\"\n";
    let config = format!("{PER_PEER}{format}{}{}account = \"A\"\n", model.provider("m"), hook.entry());
    let gateway = TestGateway::start(&config).await;
    let mut message = direct("u1", "one");
    message["account"] = json!("B");
    assert_eq!(hook.accepted(&gateway, &message).await, "webhook:A:u1");
    model.asked().await.answer("to one");
}

#[tokio::test]
async fn a_key_that_the_operator_can_renew_parks_nothing() {
    let (gateway, mut model, mut hook) = desk().await;
    hook.accepted(&gateway, &direct("u1", "one")).await;
    model.asked().await.fail(StatusCode::UNAUTHORIZED);
    assert_eq!(hook.reply().await.body["text"], json!(NOTICE));
    // Saved again, as one does with a new key.
    gateway.reload().await.unwrap();
    model.asked().await.answer("to one");
    hook.hears("to one", &["one"]).await;
}

#[tokio::test]
async fn a_file_that_vanishes_does_not_turn_the_box_into_the_demo() {
    let (gateway, _model, hook) = desk().await;
    gateway.remove_config();
    assert!(matches!(gateway.reload().await, Err(ReloadError::FileGone(_))));
    hook.accepted(&gateway, &direct("u1", "one")).await;
}
