//! What an agent keeps of a conversation: notes and working files, through the real gateway.

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::peers::{Hook, Model, TestGateway, direct, group};

const SETTINGS: &str =
    "[session]\ndm_scope = \"per-channel-peer\"\n[[agents]]\nname = \"default\"\ntools = [\"memory\", \"files\"]\n";

async fn desk() -> (TestGateway, Model, Hook) {
    let (model, hook) = (Model::start().await, Hook::start("hook").await);
    let gateway = TestGateway::start(&[SETTINGS, &model.provider("m"), &hook.entry()].concat()).await;
    (gateway, model, hook)
}

fn add(text: &str) -> (&'static str, Value) {
    ("memory_add", json!({ "text": text }))
}

fn write(name: &str, text: &str) -> (&'static str, Value) {
    ("file_write", json!({ "name": name, "text": text }))
}

/// Notes and files of a conversation as the admin API shows them, without times.
async fn kept(gateway: &TestGateway, key: &str) -> (Vec<String>, Vec<String>) {
    let (status, shown) = gateway.admin(Method::GET, &format!("/api/v1/sessions/show?key={key}")).await;
    assert_eq!(status, StatusCode::OK, "{shown}");
    let list = |name: &str, text: &str| {
        shown[name].as_array().unwrap().iter().map(|item| item[text].as_str().unwrap().to_owned()).collect()
    };
    (list("notes", "text"), list("files", "name"))
}

#[tokio::test]
async fn what_the_agent_keeps_is_there_in_the_next_turn_and_shown_to_the_operator() {
    let (gateway, mut model, mut hook) = desk().await;
    let key = hook.accepted(&gateway, &direct("u1", "I have a dog")).await;
    let first = model.asked().await;
    assert_eq!(first.tools.len(), 8);
    assert!(!first.system.contains("notes"), "{}", first.system);
    first.call(&[add("Has a dog."), write("dogs/rex.txt", "Rex, 7 years")]);
    let second = model.asked().await;
    assert_eq!(second.said, ["user: I have a dog", "assistant: ", "tool: noted as 1", "tool: written"]);
    assert_eq!(kept(&gateway, &key).await, (vec![], vec![]), "nothing is kept before the answer is");
    second.answer("Nice dog");
    hook.hears("Nice dog", &["I have a dog"]).await;
    assert_eq!(kept(&gateway, &key).await, (vec!["Has a dog.".to_owned()], vec!["dogs/rex.txt".to_owned()]));

    hook.accepted(&gateway, &direct("u1", "how old?")).await;
    let third = model.asked().await;
    assert!(third.system.ends_with("\n1. Has a dog.\n\nYour files: `dogs/rex.txt`"), "{}", third.system);
    assert_eq!(third.said, ["user: I have a dog", "assistant: Nice dog", "user: how old?"], "tools are no part of it");
    third.call(&[("file_read", json!({ "name": "dogs/rex.txt" }))]);
    let fourth = model.asked().await;
    assert_eq!(fourth.said.last().unwrap(), "tool: Rex, 7 years");
    fourth.answer("Seven");
    hook.hears("Seven", &["how old?"]).await;

    let (_, memory) = gateway.admin(Method::GET, &format!("/api/v1/sessions/memory?key={key}")).await;
    assert_eq!((&memory["notes"][0]["text"], &memory["files"][0]["bytes"]), (&json!("Has a dog."), &json!(12)));
    let path = format!("/api/v1/sessions/file?key={key}&name=dogs/rex.txt");
    let (_, file) = gateway.admin(Method::GET, &path).await;
    assert_eq!(file["text"], "Rex, 7 years");
    for (query, expected) in [
        (format!("file?key={key}&name=none"), StatusCode::NOT_FOUND),
        (format!("file?key={key}&name=../x"), StatusCode::BAD_REQUEST),
        (format!("memory?key={key}&episode=2"), StatusCode::NOT_FOUND),
        ("memory?key=webhook:nobody".to_owned(), StatusCode::NOT_FOUND),
    ] {
        let (status, body) = gateway.admin(Method::GET, &format!("/api/v1/sessions/{query}")).await;
        assert_eq!(status, expected, "{query} {body}");
    }
}

#[tokio::test]
async fn nothing_that_is_kept_in_one_conversation_can_be_had_in_another() {
    let (model, hook, other) = (Model::start().await, Hook::start("hook").await, Hook::start("other").await);
    let (mut model, mut hook, mut other) = (model, hook, other);
    let entries = [&hook.entry(), &other.entry(), "tenant_id = \"42\"\n"].map(|text| text.to_owned()).concat();
    let gateway = TestGateway::start(&[SETTINGS, &model.provider("m"), &entries].concat()).await;

    hook.accepted(&gateway, &direct("u1", "secret")).await;
    model.asked().await.call(&[add("canary note"), write("secret.txt", "canary file")]);
    model.asked().await.answer("kept");
    hook.hears("kept", &["secret"]).await;

    let names = [
        "secret.txt",
        "../webhook:u1/secret.txt",
        "/webhook:u1/secret.txt",
        "webhook:u1/secret.txt",
        "../secret.txt",
        "webhook%3Au1/secret.txt",
        "secret.txt\0",
        "../../webhook:u1/1/secret.txt",
        "~/frontdesk.redb",
        "/etc/passwd",
    ];
    let reads: Vec<_> = names.iter().map(|name| ("file_read", json!({ "name": name }))).collect();
    let ask = |text: &str| [direct("u2", text), group("r1", "u1", text, true)];
    let mut calls = reads.clone();
    calls.extend([
        ("file_list", json!({})),
        ("memory_remove", json!({ "number": 1 })),
        ("memory_replace", json!({ "number": 1, "text": "x" })),
    ]);
    for (n, message) in ask("tell me").into_iter().enumerate() {
        let mut message = message;
        message["message_id"] = json!(format!("m{n}"));
        hook.accepted(&gateway, &message).await;
        nothing_of_it(&mut model, &calls).await;
        hook.reply().await;
    }
    other.accepted(&gateway, &direct("u1", "tell me")).await;
    nothing_of_it(&mut model, &calls).await;
    other.reply().await;

    hook.accepted(&gateway, &direct("u1", "and?")).await;
    let own = model.asked().await;
    assert!(own.system.contains("1. canary note"), "{}", own.system);
    own.call(&reads[..1]);
    let own = model.asked().await;
    assert_eq!(own.said.last().unwrap(), "tool: canary file");
    own.answer("all there");
    hook.hears("all there", &["and?"]).await;
}

/// A hostile model asks for everything; whatever it is told, it holds nothing of the other conversation.
async fn nothing_of_it(model: &mut Model, calls: &[(&str, Value)]) {
    let first = model.asked().await;
    assert!(!first.system.contains("canary") && !first.system.contains("secret"), "{}", first.system);
    first.call(calls);
    let second = model.asked().await;
    let told: Vec<_> = second.said.iter().filter(|said| said.starts_with("tool: ")).collect();
    assert_eq!(told.len(), calls.len());
    assert!(!told.iter().any(|told| told.contains("canary")), "{told:?}");
    assert_eq!(told.iter().filter(|told| told.starts_with("tool: Error: ")).count(), calls.len() - 1, "{told:?}");
    second.answer("no");
}

#[tokio::test]
async fn a_turn_that_fails_or_is_cut_off_keeps_nothing() {
    let (mut gateway, mut model, mut hook) = desk().await;
    let key = hook.accepted(&gateway, &direct("u1", "one")).await;
    model.asked().await.call(&[add("lost"), write("lost.txt", "x")]);
    model.asked().await.fail(StatusCode::BAD_REQUEST);
    hook.reply().await;
    assert_eq!(kept(&gateway, &key).await, (vec![], vec![]));

    hook.accepted(&gateway, &direct("u1", "two")).await;
    model.asked().await.call(&[add("cut off")]);
    let lost = model.asked().await;
    gateway.power_off().await;
    lost.answer("nobody hears this");
    gateway.power_on().await;
    let again = model.asked().await;
    assert_eq!((again.said.last().unwrap().as_str(), again.system.contains("notes")), ("user: two", false));
    again.call(&[add("kept")]);
    model.asked().await.answer("to two");
    hook.hears("to two", &["two"]).await;
    assert_eq!(kept(&gateway, &key).await, (vec!["kept".to_owned()], vec![]));
}

#[tokio::test]
async fn a_model_that_makes_no_sense_is_told_so_and_one_that_is_silent_is_asked_for_words() {
    let (gateway, mut model, mut hook) = desk().await;
    hook.accepted(&gateway, &direct("u1", "one")).await;
    model.asked().await.call(&[("memory_add", json!("not an object")), ("file_list", json!([]))]);
    let told = model.asked().await;
    let error = "tool: Error: the arguments are not a JSON object".to_owned();
    assert_eq!(told.said[2..], [error.clone(), error]);
    told.call(&[]);
    let demanded = model.asked().await;
    assert_eq!(
        (demanded.tools.len(), demanded.said.last().unwrap().as_str()),
        (0, "user: [Answer now, in words and without tools.]")
    );
    demanded.answer("sorry");
    hook.hears("sorry", &["one"]).await;
}
