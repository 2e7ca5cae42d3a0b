//! What the gateway tells about itself: figures, metrics, its log.

use std::time::Duration;

use axum::http::{Method, StatusCode};
use frontdesk::account::{Reach, Role, Who};
use frontdesk::id::TenantId;
use frontdesk::log::{self, Filter, Keep};
use http_body_util::BodyExt as _;
use serde_json::{Value, json};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::peers::{Hook, Model, TestGateway, direct, soon};

const PRICES: &str = "input_price = 2.5\noutput_price = 10\ncurrency = \"EUR\"\n";

/// A channel of tenant 42 and one of the owner's own.
async fn desk() -> (TestGateway, Model, [Hook; 2]) {
    let (model, hooks) = (Model::start().await, [Hook::start("hook").await, Hook::start("own").await]);
    let entries = format!("{}tenant_id = \"42\"\n{}", hooks[0].entry(), hooks[1].entry());
    let session = "[session]\ndm_scope = \"per-channel-peer\"\n";
    let gateway = TestGateway::start(&[session, &model.provider("m"), PRICES, &entries].concat()).await;
    (gateway, model, hooks)
}

async fn usage(gateway: &TestGateway, query: &str) -> Value {
    let (status, usage) = gateway.admin(Method::GET, &format!("/api/v1/usage{query}")).await;
    assert_eq!(status, StatusCode::OK, "{usage}");
    usage
}

/// The samples of a text in the format of OpenMetrics, with their labels.
fn samples(text: &str) -> Vec<(String, f64)> {
    assert!(text.ends_with("# EOF\n"), "{text}");
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| line.rsplit_once(' ').unwrap())
        .map(|(name, value)| (name.into(), value.parse().unwrap()))
        .collect()
}

fn sample(text: &str, name: &str) -> Option<f64> {
    samples(text).into_iter().find(|(found, _)| found == name).map(|(_, value)| value)
}

#[tokio::test]
async fn what_is_said_and_what_it_costs_is_counted_by_tenant_and_kept_over_a_restart() {
    let (mut gateway, mut model, [mut hook, mut own]) = desk().await;
    hook.accepted(&gateway, &direct("u1", "a question")).await;
    let first = model.asked().await;
    gateway.advance_ms(40_000);
    first.fail(StatusCode::SERVICE_UNAVAILABLE);
    model.asked().await.answer_for("an answer", 1_000, 200);
    hook.hears("an answer", &["a question"]).await;
    own.accepted(&gateway, &direct("u2", "another")).await;
    model.asked().await.answer_for("the other answer", 100_000, 0);
    own.hears("the other answer", &["another"]).await;

    let check = |usage: &Value| {
        let pieces = usage["usage"].as_array().unwrap();
        let [own, other] = &pieces[..] else { panic!("{usage}") };
        assert_eq!((&own["tenant"], &other["tenant"]), (&Value::Null, &json!("42")));
        assert_eq!((&other["messages"], &other["answers"], &other["model_errors"]), (&json!(1), &json!(1), &json!(1)));
        assert_eq!(other["tokens"], json!({ "input": 1_000, "output": 200 }));
        assert_eq!(other["costs"], json!([{ "currency": "EUR", "amount": "0.0045" }]));
        assert_eq!(own["costs"], json!([{ "currency": "EUR", "amount": "0.2500" }]));
        let latency = &other["latency_ms"];
        assert!(latency["max"].as_u64().unwrap() >= 40_000, "{latency}");
        assert!(latency["p50"].as_u64().unwrap() > 30_000 && latency["p95"].as_u64() <= latency["max"].as_u64());
        assert!(own["latency_ms"]["max"].as_u64().unwrap() < 40_000);
    };
    check(&usage(&gateway, "?days=2&by=day").await);
    let metrics = gateway.admin_text("/api/v1/metrics").await;
    for (name, expected) in [
        ("frontdesk_messages_total{tenant=\"42\"}", 1.0),
        ("frontdesk_answers_total{tenant=\"\"}", 1.0),
        ("frontdesk_tokens_input_total{tenant=\"\"}", 100_000.0),
        ("frontdesk_model_errors_total{tenant=\"42\"}", 1.0),
        ("frontdesk_provider_errors_total{provider=\"test\"}", 1.0),
        ("frontdesk_cost_total{tenant=\"\",currency=\"EUR\"}", 0.25),
        ("frontdesk_answer_latency_seconds_count{tenant=\"42\"}", 1.0),
        ("frontdesk_answer_latency_seconds_bucket{le=\"30.0\",tenant=\"42\"}", 0.0),
        ("frontdesk_answer_latency_seconds_bucket{le=\"+Inf\",tenant=\"42\"}", 1.0),
        ("frontdesk_conversations_active", 2.0),
        ("frontdesk_messages_waiting", 0.0),
    ] {
        assert_eq!(sample(&metrics, name), Some(expected), "{name} in {metrics}");
    }
    for word in ["u1", "u2", "webhook:", "question", "answer\""] {
        assert!(samples(&metrics).iter().all(|(name, _)| !name.contains(word)), "{word} in {metrics}");
    }

    gateway.stop().await;
    gateway.power_off().await;
    gateway.power_on().await;
    check(&usage(&gateway, "?days=2&by=day").await);
    assert_eq!(sample(&gateway.admin_text("/api/v1/metrics").await, "frontdesk_messages_total{tenant=\"42\"}"), None);
    let (code, said) = gateway.command(&["usage", "--tenant", "42", "--days", "1"]).await;
    assert!(code == 0 && said.contains("0.0045 EUR") && !said.contains("0.2500"), "{said}");
}

#[tokio::test]
async fn an_erased_tenant_leaves_no_figures_and_the_memory_is_nobodys() {
    let (mut gateway, mut model, [mut hook, mut own]) = desk().await;
    for (hook, user) in [(&mut hook, "u1"), (&mut own, "u2")] {
        hook.accepted(&gateway, &direct(user, "a question")).await;
        model.asked().await.answer("an answer");
        hook.hears("an answer", &["a question"]).await;
    }
    // Some is kept, some waits to be.
    gateway.stop().await;
    gateway.power_off().await;
    gateway.power_on().await;
    hook.accepted(&gateway, &direct("u1", "one more")).await;
    model.asked().await.answer("a word");
    hook.hears("a word", &["one more"]).await;
    assert_eq!(usage(&gateway, "?tenant=42&days=2&by=day").await["usage"][0]["messages"], json!(2));

    let (status, _) = gateway.admin(Method::POST, "/api/v1/tenants/erase?tenant=42").await;
    assert_eq!(status, StatusCode::OK);
    let left = usage(&gateway, "?days=2&by=day").await;
    assert_eq!(left["usage"].as_array().unwrap().len(), 1, "{left}");
    gateway.stop().await;
    gateway.power_off().await;
    gateway.power_on().await;
    let left = usage(&gateway, "?days=2&by=day").await;
    assert_eq!((&left["usage"][0]["tenant"], left["usage"].as_array().unwrap().len()), (&Value::Null, 1));
    assert!(left["memory"][0]["bytes"].as_u64().unwrap() > 0, "{left}");
    let (_, tenants) = gateway.admin(Method::GET, "/api/v1/tenants").await;
    assert!(!tenants.to_string().contains("42"), "{tenants}");
}

#[tokio::test]
async fn whoever_is_bound_to_a_tenant_gets_that_tenants_figures_alone() {
    let (gateway, mut model, [mut hook, mut own]) = desk().await;
    for (hook, user) in [(&mut hook, "u1"), (&mut own, "u2")] {
        hook.accepted(&gateway, &direct(user, "a question")).await;
        model.asked().await.answer("an answer");
        hook.hears("an answer", &["a question"]).await;
    }
    let bound = Reach::Tenant(TenantId::new("42").unwrap());
    gateway.let_in(vec![Who { name: "bound".to_owned(), role: Role::Support, reach: bound, from: None }]);
    let (status, headers, text) = gateway.admin_raw(Some("bound"), Method::GET, "/api/v1/metrics", "").await;
    assert_eq!(status, StatusCode::OK);
    assert!(headers["content-type"].to_str().unwrap().starts_with("application/openmetrics-text"));
    let text = String::from_utf8(text.to_vec()).unwrap();
    assert_eq!(sample(&text, "frontdesk_messages_total{tenant=\"42\"}"), Some(1.0));
    for name in ["tenant=\"\"", "own", "provider", "store", "disk", "memory", "http", "uptime"] {
        assert!(samples(&text).iter().all(|(found, _)| !found.contains(name)), "{name} in {text}");
    }
    let (_, seen) = gateway.admin_with("bound", Method::GET, "/api/v1/usage?days=2&by=day").await;
    assert_eq!((seen["usage"].as_array().unwrap().len(), &seen["memory"]), (1, &Value::Null));
    let (_, other) = gateway.admin_with("bound", Method::GET, "/api/v1/usage?tenant=").await;
    assert_eq!(other["usage"], json!([]));
    for path in ["/api/v1/logs", "/api/v1/logs?follow=true"] {
        assert_eq!(gateway.admin_raw(Some("bound"), Method::GET, path, "").await.0, StatusCode::FORBIDDEN);
    }
}

#[tokio::test]
async fn what_programs_ask_without_a_conversation_is_counted_too() {
    let mut model = Model::start().await;
    let key = "[[api_keys]]\nname = \"crm\"\nkey = \"k-crm-long\"\ntenant_id = \"42\"\n";
    let gateway = TestGateway::start(&[&model.provider("m"), PRICES, key].concat()).await;
    let body = json!({ "model": "default", "messages": [{ "role": "user", "content": "a question" }] });
    let (answered, ()) = tokio::join!(gateway.chat("k-crm-long", &[], &body), async {
        model.asked().await.answer_for("an answer", 10, 3);
    });
    assert_eq!(answered.0, StatusCode::OK, "{}", answered.1);
    // The program may have its answer a moment before it is counted.
    let counted = async {
        loop {
            let piece = usage(&gateway, "?tenant=42").await["usage"][0].clone();
            if piece["answers"] == json!(1) {
                return piece;
            }
        }
    };
    let piece = soon("the figures", counted).await;
    assert_eq!((&piece["messages"], &piece["tokens"]), (&json!(1), &json!({ "input": 10, "output": 3 })));
    assert_eq!(gateway.chat("wrong", &[], &body).await.0, StatusCode::UNAUTHORIZED);
    let metrics = gateway.admin_text("/api/v1/metrics").await;
    assert_eq!(sample(&metrics, "frontdesk_http_refusals_total{status=\"401\"}"), Some(1.0), "{metrics}");
}

/// All secrets that a configuration can have, in a file of which every part is used.
const SECRETS: [&str; 11] = [
    "sk-of-the-first-provider",
    "sk-of-the-second \\ provider",
    "xoxb-of-slack",
    "xapp-1-of-slack",
    "signing-of-slack",
    "whsec_MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAx",
    "whsec_MDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAy",
    "key-of-the-crm",
    "correct horse battery staple",
    "s3-access-key",
    "s3-secret/key+with=signs",
];

fn configuration(model: &str) -> String {
    let [first, second, bot, app, signing, hook, next, crm, passphrase, access, s3] = SECRETS;
    let second = second.replace('\\', "\\\\");
    format!(
        r#"
[session]
dm_scope = "per-channel-peer"
[backup]
to = "s3://bucket/box"
s3_endpoint = "https://127.0.0.1:1"
s3_region = "eu"
s3_access_key = "{access}"
s3_secret_key = "{s3}"
passphrase = "{passphrase}"
{model}api_key = "{first}"
[[providers]]
name = "other"
kind = "anthropic"
base_url = "http://127.0.0.1:1"
model = "m"
api_key = "{second}"
[[channels]]
id = "slack"
type = "slack"
bot_token = "{bot}"
app_token = "{app}"
signing_secret = "{signing}"
base_url = "http://127.0.0.1:1/api"
[[channels]]
id = "next"
type = "webhook"
tenant_id = "7"
secret = "{hook}"
secrets = ["{next}"]
reply_url = "http://127.0.0.1:1/replies"
[[api_keys]]
name = "crm"
key = "{crm}"
"#
    )
}

#[tokio::test]
async fn no_secret_of_the_configuration_is_in_the_log_whatever_fails_and_repeats_it() {
    // Another test of this process may have done it.
    let _ = tracing_subscriber::registry().with(Keep::alone()).try_init();
    let (mut model, mut hook) = (Model::start().await, Hook::start("hook").await);
    let gateway = TestGateway::start(&[&configuration(&model.provider("m")), &*hook.entry()].concat()).await;
    let (_, config) = gateway.admin(Method::GET, "/api/v1/config").await;
    assert!(config.to_string().contains("whsec_") == false, "{config}");
    // A server that knows all of them and says so, in words, in quotes and in addresses.
    hook.accepted(&gateway, &direct("u1", "a question")).await;
    let all = SECRETS.join(" and ");
    let message =
        format!("no such key: {all}; {SECRETS:?}; https://a.example/?key={}", SECRETS[10].replace('/', "%2F"));
    for _ in 0..3 {
        model.asked().await.fail_saying(StatusCode::SERVICE_UNAVAILABLE, &message);
    }
    hook.reply().await;
    for secret in SECRETS {
        tracing::error!(error = secret, debug = ?secret, "it failed at {secret}");
        let json = json!({ "token": secret });
        tracing::warn!(%json, address = %format!("https://user:{secret}@a.example/"), "it said no");
    }
    let lines = log::last(&Filter::default(), usize::MAX);
    let logged = lines.iter().map(|line| line.to_string()).collect::<Vec<_>>().join("\n");
    assert!(logged.contains("the provider failed") && logged.contains("no such key"), "{logged}");
    let shown = gateway.admin_text("/api/v1/logs?lines=10000").await;
    assert!(shown.lines().count() >= 2 * SECRETS.len() && shown.contains("[secret]"), "{shown}");
    let token = std::fs::read_to_string(gateway.home().join("admin.token")).unwrap();
    for secret in SECRETS.into_iter().chain([token.trim()]) {
        let shapes = [secret.to_owned(), secret.escape_debug().to_string(), secret.replace('/', "%2F")];
        for shape in shapes {
            assert!(!logged.contains(&shape) && !shown.contains(&shape), "{shape} in {logged}");
        }
    }
}

#[tokio::test]
async fn the_log_can_be_read_along_and_filtered() {
    let _ = tracing_subscriber::registry().with(Keep::alone()).try_init();
    let gateway = TestGateway::start("").await;
    let mark = "a line of this very test";
    tracing::info!(number = 1, "{mark}");
    tracing::warn!(number = 2, "{mark}");
    tracing::error!(number = 3, "something else");
    let words = mark.replace(' ', "%20");
    let read = async |query: &str| -> Vec<Value> {
        let text = gateway.admin_text(&format!("/api/v1/logs?words={words}{query}")).await;
        text.lines().filter(|line| !line.is_empty()).map(|line| serde_json::from_str(line).unwrap()).collect()
    };
    let all = read("").await;
    let numbers: Vec<&str> = all.iter().map(|line| line["fields"]["number"].as_str().unwrap()).collect();
    assert_eq!(numbers, ["1", "2"]);
    assert_eq!((&all[1]["level"], &all[1]["message"]), (&json!("WARN"), &json!(mark)));
    assert_eq!(read("&level=warn").await.len(), 1);
    assert_eq!(read(&format!("&after={}", all[0]["number"])).await.len(), 1);
    assert_eq!(gateway.admin(Method::GET, "/api/v1/logs?level=loud").await.0, StatusCode::BAD_REQUEST);

    let (status, mut body) = gateway.read_along(&format!("/api/v1/logs?words={words}&follow=true")).await;
    assert_eq!(status, StatusCode::OK);
    let mut next = async || {
        let frame = soon("a piece of the log", body.frame()).await.unwrap().unwrap();
        String::from_utf8(frame.into_data().unwrap().to_vec()).unwrap()
    };
    assert_eq!(next().await.lines().count(), 2);
    tracing::info!(number = 4, "{mark}");
    let line: Value = serde_json::from_str(next().await.trim()).unwrap();
    assert_eq!(line["fields"]["number"], json!("4"));
    let (code, said) = gateway.command(&["logs", "very", "test", "--level", "warn"]).await;
    assert!(code == 0 && said.contains(mark) && said.contains("number=2") && !said.contains("number=1"), "{said}");
    assert!(soon("the end of a stop", gateway.stop()).await == ());
    assert!(tokio::time::timeout(Duration::from_secs(60), body.frame()).await.unwrap().is_none_or(|end| end.is_err()));
}
