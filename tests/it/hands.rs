//! Conversations that people answer, and the log of who did what, through the real gateway.

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use frontdesk::account::{Reach, Role, Who};
use frontdesk::clock::{ManualClock, Timestamp};
use frontdesk::id::TenantId;
use serde_json::{Value, json};

use crate::peers::{Hook, Model, TestGateway, direct, soon};

const HOUR_MS: u64 = 60 * 60 * 1000;
const KEY: &str = "webhook:u1";

struct Desk {
    gateway: TestGateway,
    model: Model,
    hook: Hook,
    clock: Arc<ManualClock>,
}

impl Desk {
    async fn open(more: &str) -> Self {
        let (model, hook) = (Model::start().await, Hook::start("hook").await);
        let clock = Arc::new(ManualClock::at(Timestamp(1_700_000_000_000)));
        let session = "[session]\ndm_scope = \"per-channel-peer\"\n";
        let config = [session, &model.provider("m"), &hook.entry(), more].concat();
        let gateway = TestGateway::start_at(&config, clock.clone()).await;
        Self { gateway, model, hook, clock }
    }

    async fn write(&self, text: &str) {
        assert_eq!(self.hook.accepted(&self.gateway, &direct("u1", text)).await, KEY);
    }

    async fn post(&self, what: &str, body: &Value, expected: StatusCode) -> Value {
        self.post_as(None, what, body, expected).await
    }

    async fn post_as(&self, who: Option<&str>, what: &str, body: &Value, expected: StatusCode) -> Value {
        let separator = if what.contains('?') { '&' } else { '?' };
        let path = format!("/api/v1/sessions/{what}{separator}key={KEY}");
        let (status, answer) = match who {
            None => self.gateway.admin_send(Method::POST, &path, body).await,
            Some(token) => {
                let (status, _, answer) =
                    self.gateway.admin_raw(Some(token), Method::POST, &path, &body.to_string()).await;
                (status, serde_json::from_slice(&answer).unwrap())
            }
        };
        assert_eq!(status, expected, "{what}: {answer}");
        answer
    }

    async fn take(&self) {
        self.post("take", &Value::Null, StatusCode::OK).await;
    }

    async fn show(&self) -> Value {
        self.gateway.admin(Method::GET, &format!("/api/v1/sessions/show?key={KEY}")).await.1
    }

    /// What was recorded, newest first, as far as it is on its way to the store.
    async fn recorded(&self, query: &str, n: usize) -> Vec<Value> {
        let recorded = async {
            loop {
                let (status, log) = self.gateway.admin(Method::GET, &format!("/api/v1/access{query}")).await;
                assert_eq!(status, StatusCode::OK, "{log}");
                let records = log["access"].as_array().unwrap();
                if records.len() >= n {
                    return records.clone();
                }
            }
        };
        soon("records of the access log", recorded).await
    }
}

fn whats(records: &[Value]) -> Vec<&str> {
    records.iter().map(|record| record["what"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn a_person_answers_and_hands_back_and_the_model_hears_what_was_said() {
    let mut desk = Desk::open("").await;
    desk.write("one").await;
    desk.model.asked().await.answer("to one");
    desk.hook.hears("to one", &["one"]).await;
    desk.gateway.settled().await;

    desk.take().await;
    desk.write("two").await;
    desk.write("three").await;
    let shown = desk.show().await;
    assert_eq!((&shown["taken"]["by"], shown["waiting"].as_array().unwrap().len()), (&json!("console"), 2));
    let (_, status) = desk.gateway.admin(Method::GET, "/api/v1/status").await;
    assert_eq!((&status["sessions"]["taken"], &status["queue"]["for_people"]), (&json!(1), &json!(2)));
    assert_eq!(status["queue"]["waiting"], 0, "nothing waits for the worker");

    let said = desk.post("say", &json!({ "text": "It is me." }), StatusCode::OK).await;
    assert_eq!(said["answers"], 2);
    desk.hook.hears("It is me.", &["two", "three"]).await;
    desk.write("four").await;
    let back = desk.post("hand-back", &Value::Null, StatusCode::OK).await;
    assert_eq!(back["waiting"], 1);
    let question = desk.model.asked().await;
    let [one, to_one, asked, said, four] = &question.said[..] else { panic!("{:?}", question.said) };
    assert_eq!([one, to_one, said, four], ["user: one", "assistant: to one", "assistant: It is me.", "user: four"]);
    assert!(asked.contains("two") && asked.contains("three"), "{asked}");
    question.answer("to four");
    desk.hook.hears("to four", &["four"]).await;
    let lines = desk.show().await["lines"].clone();
    let roles: Vec<_> = lines.as_array().unwrap().iter().map(|line| line["role"].as_str().unwrap()).collect();
    assert_eq!(roles, ["peer", "agent", "peer", "peer", "person", "peer", "agent"]);
}

#[tokio::test]
async fn a_turn_that_runs_when_somebody_takes_over_says_nothing() {
    let mut desk = Desk::open("").await;
    desk.write("one").await;
    let question = desk.model.asked().await;
    desk.take().await;
    question.answer("too late");
    desk.post("say", &json!({ "text": "I am here." }), StatusCode::OK).await;
    desk.hook.hears("I am here.", &["one"]).await;
    desk.post("hand-back", &Value::Null, StatusCode::OK).await;
    desk.write("two").await;
    let question = desk.model.asked().await;
    assert_eq!(question.said, ["user: one", "assistant: I am here.", "user: two"]);
    question.answer("to two");
    desk.hook.hears("to two", &["two"]).await;
}

#[tokio::test]
async fn power_may_fail_while_a_person_has_a_conversation() {
    let mut desk = Desk::open("").await;
    desk.write("one").await;
    let _hangs = desk.model.asked().await;
    desk.take().await;
    desk.gateway.power_off().await;
    desk.clock.advance_ms(11 * HOUR_MS);
    desk.gateway.power_on().await;
    assert_eq!(desk.show().await["taken"]["by"], "console");
    desk.post("say", &json!({ "text": "Still here." }), StatusCode::OK).await;
    desk.hook.hears("Still here.", &["one"]).await;
    desk.write("two").await;
    assert!(desk.model.is_idle());

    // Twelve hours after their last word nobody is expected to come back.
    desk.gateway.power_off().await;
    desk.clock.advance_ms(12 * HOUR_MS);
    desk.gateway.power_on().await;
    desk.model.asked().await.answer("to two");
    desk.hook.hears("to two", &["two"]).await;
    assert_eq!(desk.show().await["taken"], Value::Null);
    let records = desk.recorded("?what=handed%20back%20by%20itself", 1).await;
    assert_eq!((&records[0]["who"], &records[0]["key"]), (&json!("console"), &json!(KEY)));
}

#[tokio::test]
async fn what_is_said_without_a_question_goes_to_where_the_last_message_came_from() {
    let mut desk = Desk::open("").await;
    desk.write("one").await;
    desk.model.asked().await.answer("to one");
    desk.hook.hears("to one", &["one"]).await;
    desk.gateway.settled().await;
    desk.post("say", &json!({ "text": "hello" }), StatusCode::CONFLICT).await;
    desk.take().await;
    desk.post("say", &json!({ "text": " \n" }), StatusCode::BAD_REQUEST).await;
    let once = json!({ "text": "Your glasses are ready.", "once": "a1" });
    assert_eq!(desk.post("say", &once, StatusCode::OK).await["answers"], 0);
    assert_eq!(desk.post("say", &once, StatusCode::OK).await["repeat"], true);
    let reply = desk.hook.reply().await.body;
    assert_eq!((&reply["text"], &reply["answers"]), (&json!("Your glasses are ready."), &json!([])));
    assert_eq!(reply["in_reply_to"], "one");
    // What they have not seen is not answered by it.
    desk.write("two").await;
    let unseen = json!({ "text": "Come by.", "seen": 0 });
    assert_eq!(desk.post("say", &unseen, StatusCode::OK).await["answers"], 0);
    assert_eq!(desk.hook.reply().await.body["answers"], json!([]));
    assert_eq!(desk.show().await["waiting"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_program_is_refused_where_a_person_answers() {
    let mut desk = Desk::open("[[api_keys]]\nname = \"crm\"\nkey = \"k\"\n").await;
    let key = "api:user_key_crm";
    let (answer, ()) = tokio::join!(desk.gateway.ask("k", key, "one"), async {
        desk.model.asked().await.answer("to one");
    });
    assert_eq!(answer.0, StatusCode::OK, "{answer:?}");
    let path = |what: &str| format!("/api/v1/sessions/{what}?key={key}");
    assert_eq!(desk.gateway.admin(Method::POST, &path("take")).await.0, StatusCode::OK);
    let (status, body) = desk.gateway.ask("k", key, "two").await;
    assert_eq!((status, &body["error"]["code"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("conversation_taken")));
    let (status, _) = desk.gateway.admin_send(Method::POST, &path("say"), &json!({ "text": "hi" })).await;
    assert_eq!(status, StatusCode::CONFLICT, "nobody waits there");
    assert_eq!(desk.gateway.admin(Method::POST, &path("hand-back")).await.0, StatusCode::OK);

    // One that waits already hears that there will be no answer.
    let (answer, ()) = tokio::join!(desk.gateway.ask("k", key, "three"), async {
        let _hangs = desk.model.asked().await;
        assert_eq!(desk.gateway.admin(Method::POST, &path("take")).await.0, StatusCode::OK);
    });
    assert!(answer.0.is_server_error(), "{answer:?}");
}

#[tokio::test]
async fn one_has_it_and_only_they_speak() {
    let mut desk = Desk::open("").await;
    let somebody = |name: &str, role| Who { name: name.to_owned(), role, reach: Reach::All, from: None };
    desk.gateway.let_in(vec![
        somebody("Ada", Role::Admin),
        somebody("Bob", Role::Admin),
        somebody("Sue", Role::Support),
    ]);
    desk.write("one").await;
    let _hangs = desk.model.asked().await;
    desk.post_as(Some("Sue"), "take", &Value::Null, StatusCode::FORBIDDEN).await;
    desk.post_as(Some("Ada"), "take", &Value::Null, StatusCode::OK).await;
    desk.post_as(Some("Ada"), "take", &Value::Null, StatusCode::OK).await;
    let refused = desk.post_as(Some("Bob"), "take", &Value::Null, StatusCode::CONFLICT).await;
    assert!(refused["error"].as_str().unwrap().contains("Ada"), "{refused}");
    desk.post_as(Some("Bob"), "say", &json!({ "text": "hi" }), StatusCode::CONFLICT).await;
    desk.post_as(Some("Bob"), "take?from_others=true", &Value::Null, StatusCode::OK).await;
    desk.post_as(Some("Ada"), "say", &json!({ "text": "hi" }), StatusCode::CONFLICT).await;
    desk.post_as(Some("Bob"), "say", &json!({ "text": "hi" }), StatusCode::OK).await;
    desk.hook.hears("hi", &["one"]).await;
    desk.post_as(Some("Sue"), "hand-back", &Value::Null, StatusCode::FORBIDDEN).await;
    desk.post_as(Some("Ada"), "hand-back", &Value::Null, StatusCode::OK).await;
    desk.post_as(Some("Ada"), "hand-back", &Value::Null, StatusCode::CONFLICT).await;
    let records = desk.recorded("", 5).await;
    assert_eq!(whats(&records), ["hand back", "say", "take", "take", "take"]);
}

#[tokio::test]
async fn who_did_what_is_kept_for_those_who_may_know_and_an_erased_key_is_not() {
    let mut desk = Desk::open("").await;
    let of = |id: &str| Reach::Tenant(TenantId::new(id).unwrap());
    let admin = |name: &str, reach| Who { name: name.to_owned(), role: Role::Admin, reach, from: None };
    desk.gateway.let_in(vec![admin("Ada", Reach::All), admin("Tom", of("42"))]);
    desk.write("one").await;
    desk.model.asked().await.answer("to one");
    desk.hook.hears("to one", &["one"]).await;
    desk.gateway.settled().await;
    for _look in 0..3 {
        desk.show().await;
    }
    desk.gateway.admin_text(&format!("/api/v1/sessions/export?format=md&key={KEY}")).await;
    let records = desk.recorded("", 2).await;
    assert_eq!(whats(&records), ["export", "show"], "one look is one record");
    assert_eq!((&records[0]["key"], &records[0]["who"]), (&json!(KEY), &json!("console")));
    assert!(!records.iter().any(|record| record.to_string().contains("to one")), "no word of it");
    let (status, theirs) = desk.gateway.admin_with("Tom", Method::GET, "/api/v1/access").await;
    assert_eq!((status, &theirs["access"]), (StatusCode::OK, &json!([])));
    let (status, theirs) = desk.gateway.admin_with("Tom", Method::GET, "/api/v1/access?tenant=").await;
    assert_eq!((status, &theirs["access"]), (StatusCode::OK, &json!([])));

    desk.post("erase", &Value::Null, StatusCode::OK).await;
    let records = desk.recorded("", 3).await;
    assert_eq!(whats(&records), ["erase", "export", "show"]);
    assert!(records.iter().all(|record| record["key"].is_null() && record["erased"].is_string()), "{records:?}");
    let found = desk.recorded(&format!("?key={KEY}"), 3).await;
    assert_eq!(found, records, "who knows the key finds what was done");
    let (code, said) = desk.gateway.command(&["access", "--key", KEY, "--what", "erase"]).await;
    assert!(code == 0 && said.contains("console") && !said.contains(KEY), "{said}");

    desk.gateway.power_off().await;
    desk.gateway.power_on().await;
    assert_eq!(desk.recorded("", 3).await, records);
}

#[tokio::test]
async fn the_commands_take_speak_and_hand_back() {
    let mut desk = Desk::open("").await;
    desk.write("one").await;
    let _hangs = desk.model.asked().await;
    let run = async |arguments: &[&str]| {
        let (code, said) = desk.gateway.command(&[&["sessions"], arguments].concat()).await;
        assert_eq!(code, 0, "{said}");
        said
    };
    assert!(run(&["take", KEY]).await.contains("silent"));
    assert!(run(&["show", KEY]).await.contains("console answers here"));
    assert!(run(&["say", KEY, "I", "am", "here."]).await.contains("answers one message"));
    assert!(run(&["hand-back", KEY]).await.contains("answers again"));
    desk.hook.hears("I am here.", &["one"]).await;
}
