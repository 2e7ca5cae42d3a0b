//! The HTTP API through the real gateway: what a key reaches, and whose answer a client gets.

use axum::http::{Method, StatusCode};
use frontdesk::config;
use frontdesk::gateway::ReloadError;
use serde_json::{Value, json};

use crate::peers::{Hook, Model, TestGateway, direct, question};

fn api_key(name: &str, more: &str) -> String {
    format!("[[api_keys]]\nname = \"{name}\"\nkey = \"key of {name}\"\n{more}")
}

fn of_user(user: &str, text: &str) -> Value {
    let mut body = question(text);
    body["user"] = json!(user);
    body
}

fn content(answer: &(StatusCode, Value)) -> &Value {
    &answer.1["choices"][0]["message"]["content"]
}

#[tokio::test]
async fn two_callers_with_one_idempotency_key_get_their_own_answers() {
    let mut model = Model::start().await;
    let keys = [api_key("a", "tenant_id = \"41\"\n"), api_key("a:b", "tenant_id = \"42\"\n")].concat();
    let gateway = TestGateway::start(&[model.provider("m"), keys].concat()).await;
    let (of_a, of_b, ()) = tokio::join!(
        async { gateway.chat("key of a", &[("idempotency-key", "b:c")], &of_user("u", "one")).await },
        async { gateway.chat("key of a:b", &[("idempotency-key", "c")], &of_user("u", "two")).await },
        async {
            for _question in 0..2 {
                let question = model.asked().await;
                let answer = format!("to {}", question.said[0]);
                question.answer(&answer);
            }
        }
    );
    assert_eq!((content(&of_a), content(&of_b)), (&json!("to user: one"), &json!("to user: two")));
}

#[tokio::test]
async fn repeated_idempotency_key_is_refused_so_that_no_client_tries_again() {
    let mut model = Model::start().await;
    let gateway = TestGateway::start(&[model.provider("m"), api_key("crm", "")].concat()).await;
    let ask = |user: &'static str| {
        let gateway = &gateway;
        async move { gateway.chat("key of crm", &[("idempotency-key", "k")], &of_user(user, "one")).await }
    };
    let (first, ()) = tokio::join!(ask("u"), async { model.asked().await.answer("to one") });
    assert_eq!(content(&first), &json!("to one"));
    let (status, body) = ask("u").await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("idempotency_key_reused")));
    assert!(model.is_idle());
}

#[tokio::test]
async fn agents_of_other_tenants_are_unknown() {
    let model = Model::start().await;
    let agents = ["reception", "shop", "shared"].map(|name| format!("[[agents]]\nname = \"{name}\"\n"));
    let tenants = "[[tenants]]\nid = \"43\"\ndefault_agent = \"shop\"\n";
    let keys = [api_key("crm", "tenant_id = \"42\"\n"), api_key("shop", "tenant_id = \"43\"\n"), api_key("own", "")];
    let config = [model.provider("m"), agents.concat(), tenants.to_owned(), keys.concat()].concat();
    let gateway = TestGateway::start(&config).await;
    assert_eq!(gateway.models("key of crm").await, ["default", "reception", "shared"]);
    assert_eq!(gateway.models("key of shop").await, ["default", "reception", "shared", "shop"]);
    assert_eq!(gateway.models("key of own").await, ["default", "reception", "shared", "shop"]);
    let mut body = question("hello");
    body["model"] = json!("shop");
    let (status, body) = gateway.chat("key of crm", &[], &body).await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::NOT_FOUND, &json!("model_not_found")));
}

#[tokio::test]
async fn chat_whose_key_reads_like_one_of_the_api_is_out_of_reach() {
    let (mut model, mut hook) = (Model::start().await, Hook::start("hook").await);
    let session = "[session]\ndm_scope = \"per-channel-peer\"\nkey_format = \"{user_id}:{channel_id}\"\n";
    let config = [session, &model.provider("m"), &hook.entry(), &api_key("crm", "")].concat();
    let gateway = TestGateway::start(&config).await;
    let mut message = direct("api", "my word is heron");
    message["channel_id"] = json!("user_bob");
    let key = hook.accepted(&gateway, &message).await;
    assert_eq!(key, "api:user_bob");
    model.asked().await.answer("noted");
    hook.hears("noted", &["my word is heron"]).await;
    let (status, _) = gateway.ask("key of crm", &key, "which word?").await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    let (status, _) = gateway.chat("key of crm", &[], &of_user("bob", "which word?")).await;
    assert_eq!(status, StatusCode::FORBIDDEN);
    assert!(model.is_idle());
}

#[tokio::test]
async fn stateless_request_takes_the_place_of_a_turn() {
    let (mut model, mut hook) = (Model::start().await, Hook::start("hook").await);
    let session = "[gateway]\nmax_turns = 1\n[session]\ndm_scope = \"per-channel-peer\"\n";
    let config = [session, &model.provider("m"), &hook.entry(), &api_key("crm", "")].concat();
    let gateway = TestGateway::start(&config).await;
    let body = question("one");
    let (answer, ()) = tokio::join!(gateway.chat("key of crm", &[], &body), async {
        let stateless = model.asked().await;
        hook.accepted(&gateway, &direct("u1", "two")).await;
        // Answers of the gateway's one thread: a turn that could begin has begun by then.
        for _moment in 0..20 {
            gateway.admin(Method::GET, "/api/v1/status").await;
        }
        assert!(model.is_idle(), "one at a time");
        stateless.answer("to one");
        let turn = model.asked().await;
        assert_eq!(turn.said, ["user: two"]);
        turn.answer("to two");
        hook.hears("to two", &["two"]).await;
    });
    assert_eq!(content(&answer), &json!("to one"));
}

#[tokio::test]
async fn two_keys_of_one_name_are_refused() {
    let model = Model::start().await;
    let gateway = TestGateway::start(&[model.provider("m"), api_key("crm", "")].concat()).await;
    let twin = "[[api_keys]]\nname = \"crm\"\nkey = \"another\"\ntenant_id = \"42\"\n";
    gateway.configure(&[&model.provider("m"), &api_key("crm", ""), twin].concat());
    let Err(ReloadError::Config(config::Error::Invalid(problems))) = gateway.reload().await else {
        panic!("logs would not tell the keys apart")
    };
    assert!(problems.iter().any(|problem| problem.path == "api_keys[1]"), "{problems:?}");
}
