//! How conversations end, come back and are erased, through the real gateway.

use std::sync::Arc;

use axum::http::{Method, StatusCode};
use frontdesk::account::{NewToken, Reach, Role};
use frontdesk::agent::{BEGUN, NEWS};
use frontdesk::clock::{ManualClock, Timestamp};
use frontdesk::id::SessionKey;
use frontdesk::store::Life;
use frontdesk::testing::inbound;
use http_body_util::BodyExt as _;
use serde_json::{Value, json};

use crate::peers::{Hook, Model, TestGateway, direct, group, http, question, soon};

const DAY_MS: u64 = 24 * 60 * 60 * 1000;
const START: Timestamp = Timestamp(1_700_000_000_000);

/// A gateway with one entry, a model, and a clock that the test moves. `session` follows in its section.
struct Desk {
    gateway: TestGateway,
    model: Model,
    hook: Hook,
    clock: Arc<ManualClock>,
}

impl Desk {
    async fn open(session: &str) -> Self {
        let (model, hook) = (Model::start().await, Hook::start("hook").await);
        let clock = Arc::new(ManualClock::at(START));
        let gateway = TestGateway::start_at(&config(session, &model, &hook), clock.clone()).await;
        Self { gateway, model, hook, clock }
    }

    /// `u1` says something and hears the answer; returns what the model was told.
    async fn exchange(&mut self, text: &str) -> Vec<String> {
        self.hook.accepted(&self.gateway, &direct("u1", text)).await;
        let question = self.model.asked().await;
        let said = question.said.clone();
        let answer = format!("to {text}");
        question.answer(&answer);
        self.hook.hears(&answer, &[text]).await;
        self.gateway.settled().await;
        said
    }

    /// Another gateway over the same home, so many days later.
    async fn restart_after(&mut self, days: u64) {
        self.gateway.power_off().await;
        self.clock.advance_ms(days * DAY_MS);
        self.gateway.power_on().await;
    }

    async fn set(&self, session: &str) {
        self.gateway.configure(&config(session, &self.model, &self.hook));
        self.gateway.reload().await.unwrap();
    }

    async fn post(&self, path: &str) -> Value {
        let (status, body) = self.gateway.admin(Method::POST, &format!("/api/v1/sessions/{path}")).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body
    }

    async fn news(&mut self) {
        let news = self.hook.reply().await.body;
        assert_eq!((&news["text"], &news["answers"]), (&json!(NEWS), &json!([])), "it answers nothing");
    }
}

fn config(session: &str, model: &Model, hook: &Hook) -> String {
    let scope = if session.contains("dm_scope") { "" } else { "dm_scope = \"per-channel-peer\"\n" };
    format!("[session]\n{scope}{session}{}{}", model.provider("m"), hook.entry())
}

#[tokio::test]
async fn after_its_time_a_conversation_is_over_and_the_peer_is_told_once() {
    let mut desk = Desk::open("").await;
    desk.exchange("one").await;
    desk.clock.advance_ms(29 * DAY_MS);
    assert_eq!(desk.exchange("two").await, ["user: one", "assistant: to one", "user: two"]);
    desk.clock.advance_ms(31 * DAY_MS);
    desk.hook.accepted(&desk.gateway, &direct("u1", "three")).await;
    let question = desk.model.asked().await;
    assert_eq!(question.said, ["user: three"]);
    question.answer("to three");
    desk.news().await;
    desk.hook.hears("to three", &["three"]).await;
    assert_eq!(desk.exchange("four").await, ["user: three", "assistant: to three", "user: four"]);
    assert_eq!(desk.gateway.archived(1).await, ["webhook:u1"]);
}

#[tokio::test]
async fn the_news_can_be_switched_off_and_a_time_of_zero_is_for_ever() {
    let mut desk = Desk::open("says_new = false\n").await;
    desk.exchange("one").await;
    desk.clock.advance_ms(31 * DAY_MS);
    assert_eq!(desk.exchange("two").await, ["user: two"]);
    desk.set("ttl_days = 0\n").await;
    desk.clock.advance_ms(3_000 * DAY_MS);
    assert_eq!(desk.exchange("three").await, ["user: two", "assistant: to two", "user: three"]);
}

#[tokio::test]
async fn what_was_over_while_the_power_was_off_is_archived_at_the_start() {
    let mut desk = Desk::open("").await;
    desk.exchange("one").await;
    desk.restart_after(31).await;
    assert_eq!(desk.gateway.archived(1).await, ["webhook:u1"]);
    assert_eq!(desk.gateway.session_keys(None).await, [""; 0]);
    desk.hook.accepted(&desk.gateway, &direct("u1", "two")).await;
    let question = desk.model.asked().await;
    assert_eq!(question.said, ["user: two"]);
    question.answer("to two");
    desk.news().await;
    desk.hook.hears("to two", &["two"]).await;
}

#[tokio::test]
async fn a_reload_with_a_shorter_time_counts_at_once() {
    let mut desk = Desk::open("ttl_days = 0\n").await;
    desk.exchange("one").await;
    desk.clock.advance_ms(2 * DAY_MS);
    desk.set("ttlDays = 1\n").await;
    assert_eq!(desk.gateway.archived(1).await, ["webhook:u1"]);
}

#[tokio::test]
async fn a_clock_that_is_set_while_the_gateway_runs_ends_no_conversation() {
    let mut desk = Desk::open("").await;
    desk.exchange("one").await;
    desk.clock.set(START.plus_ms(700 * DAY_MS));
    desk.set("ttl_days = 30\n").await;
    assert_eq!(desk.exchange("two").await, ["user: one", "assistant: to one", "user: two"]);
    desk.clock.set(Timestamp(START.0 - 60 * DAY_MS));
    let said = desk.exchange("three").await;
    assert_eq!(said.len(), 5, "{said:?}");
    assert_eq!(desk.gateway.archived(0).await, [""; 0]);
}

#[tokio::test]
async fn a_clock_that_is_set_ends_no_conversation_at_the_next_start_either() {
    let mut desk = Desk::open("").await;
    desk.exchange("one").await;
    desk.gateway.settled().await;
    desk.clock.set(START.plus_ms(40 * DAY_MS));
    desk.gateway.stop().await;
    desk.gateway.power_off().await;
    desk.gateway.power_on().await;
    assert_eq!(desk.exchange("two").await, ["user: one", "assistant: to one", "user: two"]);
    desk.clock.advance_ms(31 * DAY_MS);
    desk.set("ttl_days = 30\n").await;
    assert_eq!(desk.gateway.archived(1).await, ["webhook:u1"]);
}

#[tokio::test]
async fn what_is_said_after_the_clock_was_set_is_over_in_its_time() {
    let mut desk = Desk::open("").await;
    desk.exchange("one").await;
    desk.clock.advance_ms(DAY_MS);
    desk.clock.set(START.plus_ms(701 * DAY_MS));
    assert_eq!(desk.exchange("two").await.len(), 3);
    desk.clock.advance_ms(39 * DAY_MS);
    desk.hook.accepted(&desk.gateway, &direct("u1", "three")).await;
    let question = desk.model.asked().await;
    assert_eq!(question.said, ["user: three"]);
    question.answer("to three");
    desk.news().await;
    desk.hook.hears("to three", &["three"]).await;
    desk.gateway.settled().await;
    desk.clock.advance_ms(39 * DAY_MS);
    desk.set("ttl_days = 30\n").await;
    assert_eq!(desk.gateway.archived(2).await, ["webhook:u1"; 2]);
}

#[tokio::test]
async fn what_waits_while_the_clock_is_set_is_answered_and_sent() {
    let mut desk = Desk::open("").await;
    desk.hook.answer_replies_with(StatusCode::SERVICE_UNAVAILABLE);
    desk.hook.accepted(&desk.gateway, &direct("u1", "one")).await;
    let first = desk.model.asked().await;
    desk.hook.accepted(&desk.gateway, &direct("u1", "two")).await;
    first.answer("to one");
    let second = desk.model.asked().await;
    desk.hook.accepted(&desk.gateway, &direct("u1", "three")).await;
    desk.hook.hears("to one", &["one"]).await;
    desk.clock.set(START.plus_ms(700 * DAY_MS));
    desk.hook.forget_replies();
    desk.hook.answer_replies_with(StatusCode::OK);
    // The next attempt need not wait for its timer.
    desk.gateway.reload().await.unwrap();
    desk.hook.hears("to one", &["one"]).await;
    second.answer("to two");
    desk.hook.hears("to two", &["two"]).await;
    desk.model.asked().await.answer("to three");
    desk.hook.hears("to three", &["three"]).await;
}

#[tokio::test]
async fn an_order_for_a_new_conversation_waits_for_what_came_before_it() {
    let mut desk = Desk::open("").await;
    desk.hook.accepted(&desk.gateway, &direct("u1", "one")).await;
    let first = desk.model.asked().await;
    for text in ["two", "/new", "three"] {
        desk.hook.accepted(&desk.gateway, &direct("u1", text)).await;
    }
    first.answer("to one");
    desk.hook.hears("to one", &["one"]).await;
    let second = desk.model.asked().await;
    assert_eq!(second.said, ["user: one", "assistant: to one", "user: two"]);
    second.answer("to two");
    desk.hook.hears("to two", &["two"]).await;
    desk.hook.hears(BEGUN, &["/new"]).await;
    let third = desk.model.asked().await;
    assert_eq!(third.said, ["user: three"], "nothing from before, and not the order");
    third.answer("to three");
    desk.hook.hears("to three", &["three"]).await;
    assert_eq!(desk.gateway.archived(1).await, ["webhook:u1"]);
}

#[tokio::test]
async fn words_behind_the_order_are_the_first_message_also_in_a_group() {
    let mut desk = Desk::open("").await;
    for (message, said) in [
        (direct("u1", "/NEW what do you cost?"), "user: what do you cost?"),
        (group("c1", "u2", "@desk /reset who is there?", true), "user: u2: who is there?"),
    ] {
        let key = desk.hook.accepted(&desk.gateway, &message).await;
        let begun = desk.hook.reply().await.body;
        assert_eq!((&begun["text"], &begun["answers"]), (&json!(BEGUN), &json!([])), "{key}");
        let question = desk.model.asked().await;
        assert_eq!(question.said, [said]);
        question.answer("so");
        desk.hook.hears("so", &[message["text"].as_str().unwrap()]).await;
    }
}

#[tokio::test]
async fn a_conversation_of_the_http_api_begins_anew_too_and_hears_one_answer() {
    let (mut model, key) = (Model::start().await, "[[api_keys]]\nname = \"crm\"\nkey = \"key of crm\"\n");
    let gateway = TestGateway::start(&[&model.provider("m"), key].concat()).await;
    let ask = async |text: &str| {
        let mut body = question(text);
        body["user"] = json!("bob");
        let (status, body) = gateway.chat("key of crm", &[], &body).await;
        assert_eq!(status, StatusCode::OK, "{body}");
        body["choices"][0]["message"]["content"].as_str().unwrap().to_owned()
    };
    let (heard, ()) = tokio::join!(ask("one"), async { model.asked().await.answer("to one") });
    assert_eq!(heard, "to one");
    assert_eq!(ask("/new").await, BEGUN);
    let (heard, ()) = tokio::join!(ask("/new two"), async {
        let question = model.asked().await;
        assert_eq!(question.said, ["user: two"]);
        question.answer("to two");
    });
    assert_eq!(heard, "to two");
}

#[tokio::test]
async fn an_archive_in_the_middle_of_a_turn_runs_it_again_in_the_next_conversation() {
    let mut desk = Desk::open("").await;
    desk.exchange("one").await;
    desk.hook.accepted(&desk.gateway, &direct("u1", "two")).await;
    let cut_off = desk.model.asked().await;
    assert_eq!(desk.post("archive?key=webhook:u1").await["session"]["messages"], json!(2));
    let again = desk.model.asked().await;
    assert_eq!(again.said, ["user: two"]);
    cut_off.answer("nobody hears this");
    again.answer("to two");
    desk.hook.hears("to two", &["two"]).await;

    let restored = desk.post("restore?key=webhook:u1").await;
    assert_eq!((&restored["session"]["messages"], &restored["episodes"]), (&json!(4), &json!(1)));
    let said = desk.exchange("three").await;
    assert_eq!(said, ["user: one", "assistant: to one", "user: two", "assistant: to two", "user: three"]);
}

#[tokio::test]
async fn a_turn_in_whose_middle_an_old_conversation_comes_back_is_run_again_with_it() {
    let mut desk = Desk::open("").await;
    desk.exchange("one").await;
    desk.post("archive?key=webhook:u1").await;
    desk.hook.accepted(&desk.gateway, &direct("u1", "two")).await;
    let cut_off = desk.model.asked().await;
    assert_eq!(cut_off.said, ["user: two"]);
    desk.post("restore?key=webhook:u1").await;
    let again = desk.model.asked().await;
    assert_eq!(again.said, ["user: one", "assistant: to one", "user: two"]);
    cut_off.answer("nobody hears this");
    again.answer("to two");
    desk.hook.hears("to two", &["two"]).await;
}

#[tokio::test]
async fn of_what_is_erased_in_the_middle_of_a_turn_nobody_hears() {
    let mut desk = Desk::open("").await;
    desk.exchange("one").await;
    desk.hook.accepted(&desk.gateway, &direct("u1", "two")).await;
    let cut_off = desk.model.asked().await;
    let erased = desk.post("erase?key=webhook:u1").await;
    assert_eq!((&erased["erased"]["lines"], &erased["erased"]["messages"]), (&json!(2), &json!(1)));
    cut_off.answer("nobody hears this");
    assert_eq!(desk.exchange("three").await, ["user: three"]);
    assert_eq!(desk.gateway.archived(0).await, [""; 0]);
    let (status, _) = desk.gateway.admin(Method::POST, "/api/v1/sessions/erase?key=webhook:u2").await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn a_reply_that_waits_to_be_sent_is_erased_with_its_conversation() {
    let mut desk = Desk::open("").await;
    desk.hook.answer_replies_with(StatusCode::SERVICE_UNAVAILABLE);
    for text in ["one", "two"] {
        desk.hook.accepted(&desk.gateway, &direct("u1", text)).await;
        desk.model.asked().await.answer(&format!("to {text}"));
    }
    desk.hook.hears("to one", &["one"]).await;
    let wait_for_both = async {
        while desk.gateway.admin(Method::GET, "/api/v1/status").await.1["queue"]["undelivered"] != json!(2) {}
    };
    soon("both replies", wait_for_both).await;
    assert_eq!(desk.post("erase?key=webhook:u1").await["erased"]["replies"], json!(2));
    desk.hook.forget_replies();
    desk.hook.answer_replies_with(StatusCode::OK);
    // The next attempt need not wait for its timer.
    desk.gateway.reload().await.unwrap();
    desk.exchange("three").await;
}

#[tokio::test]
async fn words_that_stay_in_the_file_for_want_of_room_are_told_of_and_go_with_the_next_start() {
    let mut desk = Desk::open("").await;
    // What is said is sealed; whose conversation it is can be looked for.
    desk.hook.accepted(&desk.gateway, &direct("pelican", "one")).await;
    desk.model.asked().await.answer("to one");
    desk.hook.hears("to one", &["one"]).await;
    desk.gateway.settled().await;
    let store = desk.gateway.home().join("frontdesk.redb");
    let holds = || std::fs::read(&store).unwrap().windows(7).any(|window| window == b"pelican");
    // Where the copy would lie no file can be made.
    let new = desk.gateway.home().join("frontdesk.redb.new");
    std::fs::create_dir(&new).unwrap();
    let (status, body) = desk.gateway.admin(Method::POST, "/api/v1/sessions/erase?key=webhook:pelican").await;
    assert_eq!(status, StatusCode::INTERNAL_SERVER_ERROR);
    assert!(body["error"].as_str().unwrap().contains("out of reach"), "{body}");
    let (_, status) = desk.gateway.admin(Method::GET, "/api/v1/status").await;
    assert!(status["warnings"].to_string().contains("erased words"), "{status}");
    assert!(holds());
    assert_eq!(desk.exchange("heron").await, ["user: heron"]);

    std::fs::remove_dir(&new).unwrap();
    desk.restart_after(0).await;
    let is_done = async { while desk.gateway.admin(Method::GET, "/api/v1/status").await.1["warnings"] != json!([]) {} };
    soon("the copy", is_done).await;
    assert!(!holds());
    assert_eq!(desk.exchange("otter").await, ["user: heron", "assistant: to heron", "user: otter"]);
}

#[tokio::test]
async fn an_export_is_whole_in_every_format_and_a_search_finds_live_and_archived() {
    let mut desk = Desk::open("").await;
    desk.exchange("<b>heron</b>").await;
    desk.post("archive?key=webhook:u1").await;
    desk.exchange("otter").await;
    let export =
        async |more: &str| desk.gateway.admin_text(&format!("/api/v1/sessions/export?key=webhook:u1{more}")).await;
    let texts = |jsonl: &str| -> Vec<String> {
        let line = |line: &str| serde_json::from_str::<Value>(line).unwrap()["text"].as_str().unwrap().to_owned();
        jsonl.lines().map(line).collect()
    };
    assert_eq!(texts(&export("&format=jsonl").await), ["otter", "to otter"]);
    assert_eq!(texts(&export("&format=jsonl&episode=1").await), ["<b>heron</b>", "to <b>heron</b>"]);
    assert_eq!(texts(&export("&format=jsonl&all=true").await).len(), 4);
    let html = export("&format=html&all=true").await;
    assert_eq!((html.matches("<article").count(), html.matches("<b>").count()), (4, 0));
    assert!(html.starts_with("<!doctype html>") && html.ends_with("</html>\n"));
    assert_eq!(export("&format=md&all=true").await.matches("\n## Episode").count(), 2);

    let search = async |query: &str| -> Vec<(u64, bool)> {
        let (_, page) = desk.gateway.admin(Method::GET, &format!("/api/v1/sessions/search?{query}")).await;
        let hit = |hit: &Value| (hit["episode"].as_u64().unwrap(), hit["is_archived"].as_bool().unwrap());
        page["hits"].as_array().unwrap_or_else(|| panic!("{page}")).iter().map(hit).collect()
    };
    assert_eq!(search("words=HERON").await, [(1, true), (1, true)]);
    assert_eq!(search("words=otter&in=active").await, [(2, false), (2, false)]);
    assert_eq!(search("words=otter&in=archived").await, []);
    assert_eq!(search("words=otter&tenant=42").await, []);
}

#[tokio::test]
async fn lists_and_searches_go_on_where_a_page_ended() {
    let mut desk = Desk::open("").await;
    for text in ["heron one", "heron two", "heron three"] {
        desk.exchange(text).await;
        desk.post("archive?key=webhook:u1").await;
    }
    let mut other = direct("u2", "heron four");
    other["message_id"] = json!("m4");
    desk.hook.accepted(&desk.gateway, &other).await;
    desk.model.asked().await.answer("heron");
    desk.hook.hears("heron", &["m4"]).await;
    desk.post("archive?key=webhook:u2").await;
    for (path, list, n_expected) in
        [("?archived=true&limit=1", "sessions", 4), ("/search?words=heron&limit=3", "hits", 8)]
    {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let (_, page) = desk.gateway.admin(Method::GET, &format!("/api/v1/sessions{path}{after}")).await;
            found.extend(page[list].as_array().unwrap_or_else(|| panic!("{page}")).clone());
            let Some(next) = page["next"].as_str() else { break };
            let next: String = next.bytes().map(|byte| format!("%{byte:02X}")).collect();
            after = format!("&after={next}");
        }
        let place = |row: &Value| (row["key"].to_string(), row["episode"].as_u64(), row["seq"].as_u64());
        let places: std::collections::BTreeSet<_> = found.iter().map(place).collect();
        assert_eq!((found.len(), places.len()), (n_expected, n_expected), "{path}: {found:?}");
    }
}

#[tokio::test]
async fn whoever_reads_along_gets_every_line_once_until_the_gateway_stops() {
    let mut desk = Desk::open("").await;
    desk.exchange("one").await;
    let (status, mut body) = desk.gateway.read_along("/api/v1/sessions/tail?key=webhook:u1&lines=1&follow=true").await;
    assert_eq!(status, StatusCode::OK);
    desk.exchange("two").await;
    let mut said = String::new();
    while said.lines().count() < 3 {
        let frame = soon("a line", body.frame()).await.unwrap().unwrap();
        said.push_str(std::str::from_utf8(frame.data_ref().unwrap()).unwrap());
    }
    let text = |line: &str| serde_json::from_str::<Value>(line).unwrap()["text"].clone();
    assert_eq!(said.lines().map(text).collect::<Vec<_>>(), [json!("to one"), json!("two"), json!("to two")]);
    desk.gateway.stop().await;
    assert!(soon("the end", body.frame()).await.is_none(), "it ends whole");
}

#[tokio::test]
async fn whoever_is_shut_out_reads_along_no_further() {
    let mut desk = Desk::open("").await;
    desk.exchange("one").await;
    let accounts = desk.gateway.accounts().clone();
    let tail = async |name: &str, expires_at| {
        let new = NewToken { name: name.to_owned(), role: Role::Support, reach: Reach::All, expires_at };
        let token = accounts.create_token(new).await.unwrap();
        let url = desk.gateway.url("/api/v1/sessions/tail?key=webhook:u1&lines=1&follow=true");
        let mut tail = soon("an answer", http().get(url).bearer_auth(token.expose()).send()).await.unwrap();
        let first = soon("a line", tail.chunk()).await.unwrap().unwrap();
        assert!(std::str::from_utf8(&first).unwrap().contains("to one"), "{name}");
        tail
    };
    let mut stays = tail("stays", None).await;
    let revoked = tail("revoked", None).await;
    let expired = tail("expired", Some(START.plus_ms(1000))).await;
    accounts.revoke_token("revoked").await.unwrap();
    desk.clock.advance_ms(1000);
    desk.exchange("two").await;
    for mut tail in [revoked, expired] {
        assert_eq!(soon("the end", tail.chunk()).await.unwrap(), None, "it ends whole, and says no more");
    }
    let mut said = String::new();
    while !said.contains("to two") {
        let lines = soon("a line", stays.chunk()).await.unwrap().unwrap();
        said.push_str(std::str::from_utf8(&lines).unwrap());
    }
}

#[tokio::test]
async fn a_key_that_two_tenants_have_means_neither() {
    let (mut model, hook) = (Model::start().await, Hook::start("hook").await);
    let mut other = Hook::start("other").await;
    let session = "[session]\ndm_scope = \"per-channel-peer\"\n";
    let config = [session, &model.provider("m"), &hook.entry(), &other.entry(), "tenant_id = \"42\"\n"].concat();
    let gateway = TestGateway::start(&config).await;
    let key = other.accepted(&gateway, &direct("u1", "theirs")).await;
    model.asked().await.answer("to the client");
    other.hears("to the client", &["theirs"]).await;
    // The resolver gives no two tenants one key: the store alone can be made to hold such a thing.
    let own = SessionKey::parse(&key).unwrap();
    gateway.store().tenant(None).file(&own, &inbound("hook", "u2", "mine"), Life::default()).await.unwrap();
    for path in ["erase", "archive", "restore"] {
        let (status, body) = gateway.admin(Method::POST, &format!("/api/v1/sessions/{path}?key={key}")).await;
        assert_eq!(status, StatusCode::CONFLICT, "{body}");
        assert!(body["error"].as_str().unwrap().contains("42"), "{body}");
    }
    let (status, _) = gateway.admin(Method::POST, &format!("/api/v1/sessions/erase?key={key}&tenant=")).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(gateway.session_keys(Some("42")).await, [key.as_str()]);
    assert_eq!(gateway.session_keys(Some("")).await, [""; 0]);
}

#[tokio::test]
async fn a_tenant_is_erased_in_the_middle_of_a_turn_and_begins_again() {
    let (mut model, mut own) = (Model::start().await, Hook::start("hook").await);
    let mut client = Hook::start("client").await;
    let session = "[session]\ndm_scope = \"per-channel-peer\"\n";
    let config = [session, &model.provider("m"), &own.entry(), &client.entry(), "tenant_id = \"42\"\n"].concat();
    let mut gateway = TestGateway::start(&config).await;
    for hook in [&mut own, &mut client] {
        hook.accepted(&gateway, &direct("u1", "one")).await;
        model.asked().await.answer("to one");
        hook.hears("to one", &["one"]).await;
    }
    gateway.settled().await;
    client.accepted(&gateway, &direct("u1", "two")).await;
    let cut_off = model.asked().await;
    let (status, body) = gateway.admin(Method::POST, "/api/v1/tenants/erase?tenant=42").await;
    assert_eq!((status, &body), (StatusCode::OK, &json!({ "tenant": "42", "conversations": 1 })));
    cut_off.answer("nobody hears this");
    let (_, listed) = gateway.admin(Method::GET, "/api/v1/tenants").await;
    let of_owner = json!({ "tenant": null, "active": 1, "archived": 0, "erasing": false });
    assert_eq!(listed, json!({ "tenants": [of_owner] }));

    client.accepted(&gateway, &direct("u1", "three")).await;
    let question = model.asked().await;
    assert_eq!(question.said, ["user: three"]);
    question.answer("to three");
    client.hears("to three", &["three"]).await;
    gateway.settled().await;
    gateway.power_off().await;
    gateway.power_on().await;
    for (hook, expected) in [
        (&mut own, ["user: one", "assistant: to one", "user: four"]),
        (&mut client, ["user: three", "assistant: to three", "user: four"]),
    ] {
        hook.accepted(&gateway, &direct("u1", "four")).await;
        let question = model.asked().await;
        assert_eq!(question.said, expected);
        question.answer("to four");
        hook.hears("to four", &["four"]).await;
    }
    gateway.settled().await;
    for (query, expected) in
        [("?tenant=", StatusCode::OK), ("?tenant=", StatusCode::NOT_FOUND), ("?tenant=43", StatusCode::NOT_FOUND)]
    {
        let (status, body) = gateway.admin(Method::POST, &format!("/api/v1/tenants/erase{query}")).await;
        assert_eq!(status, expected, "{query} {body}");
    }
    let (status, _) = gateway.admin(Method::POST, "/api/v1/tenants/erase").await;
    assert_eq!(status, StatusCode::BAD_REQUEST, "nobody is meant by default");
}

#[tokio::test]
async fn a_change_of_scope_is_counted_listed_and_applied_once() {
    let mut desk = Desk::open("").await;
    let mut elsewhere = direct("u1", "two");
    elsewhere["channel_id"] = json!("D2");
    desk.exchange("one").await;
    desk.hook.accepted(&desk.gateway, &elsewhere).await;
    desk.model.asked().await.answer("to two");
    desk.hook.hears("to two", &["two"]).await;
    desk.hook.accepted(&desk.gateway, &group("c1", "u1", "three", true)).await;
    desk.model.asked().await.answer("to three");
    desk.hook.hears("to three", &["three"]).await;
    desk.gateway.settled().await;

    let count =
        "/api/v1/sessions/rekey/count?dm_scope=per-peer&key_format=%7Bchannel%7D:%7Buser_id%7D&identity_links=%7B%7D";
    let (_, counted) = desk.gateway.admin(Method::GET, count).await;
    assert_eq!((&counted["moves"], &counted["joins"]), (&json!(2), &json!(1)), "{counted}");
    desk.gateway.configure(&config("dm_scope = \"per-peer\"\n", &desk.model, &desk.hook));
    let rekeyed = desk.gateway.reload().await.unwrap().rekeyed.unwrap();
    assert_eq!((rekeyed.n_moves, rekeyed.n_joins, rekeyed.n_shared), (1, 1, 0));
    let notes = desk.gateway.admin(Method::GET, "/api/v1/status").await.1["notes"].to_string();
    assert!(notes.contains("1 conversation would get new keys"), "{notes}");

    let rekey = async |method: Method| -> Vec<(String, String, String)> {
        let (mut found, mut after) = (Vec::new(), String::new());
        loop {
            let (status, page) = desk.gateway.admin(method.clone(), &format!("/api/v1/sessions/rekey{after}")).await;
            assert_eq!(status, StatusCode::OK, "{page}");
            let text = |row: &Value, name: &str| row[name].as_str().unwrap_or_default().to_owned();
            let rows = page["sessions"].as_array().unwrap().iter();
            found.extend(rows.map(|row| (text(row, "key"), text(row, "becomes"), text(row, "new_key"))));
            let Some(next) = page["next"].as_str() else { return found };
            let next: String = next.bytes().map(|byte| format!("%{byte:02X}")).collect();
            after = format!("?after={next}");
        }
    };
    let key = desk.gateway.session_keys(None).await.into_iter().find(|key| key.contains("D2")).unwrap();
    let row = |becomes: &str| vec![(key.clone(), becomes.to_owned(), "webhook:u1".to_owned())];
    assert_eq!(rekey(Method::GET).await, row("joins"));
    assert_eq!(rekey(Method::POST).await, row("moved"));
    assert_eq!(rekey(Method::POST).await, [], "there is nothing left to move");
    let (_, status) = desk.gateway.admin(Method::GET, "/api/v1/status").await;
    assert!(!status["notes"].to_string().contains("new keys"), "{status}");
    let said = desk.exchange("four").await;
    assert_eq!(said.last().unwrap(), "user: four");
}

/// Under `main` one person may end a conversation while another's page is away.
#[tokio::test]
async fn a_page_that_comes_back_is_shown_the_answer_that_was_archived_in_the_meantime() {
    let mut desk =
        Desk::open("dm_scope = \"main\"\n[[channels]]\nid = \"page\"\ntype = \"webchat\"\ndm_policy = \"open\"\n")
            .await;
    let http = http();
    let page = desk.gateway.url("/chat/page");
    let response = http.get(&page).send().await.unwrap();
    let cookie = response.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap().to_owned();
    let history = async |after: Option<u64>| -> Value {
        let after = after.map(|after| format!("?after={after}")).unwrap_or_default();
        let request = http.get(format!("{page}/history{after}")).header("cookie", &cookie);
        request.send().await.unwrap().json().await.unwrap()
    };
    let opened = history(None).await;
    let (_, origin) = page.split_once("//").unwrap();
    let origin = format!("http://{}", origin.split('/').next().unwrap());
    let draft = json!({ "id": "d1", "text": "my question" });
    let request = http.post(format!("{page}/messages")).header("cookie", &cookie).header("origin", origin).json(&draft);
    assert_eq!(request.send().await.unwrap().status(), StatusCode::ACCEPTED);
    desk.model.asked().await.answer("my answer");
    desk.gateway.settled().await;
    let key = desk.gateway.session_keys(None).await.remove(0);
    desk.post(&format!("archive?key={key}")).await;
    let back = history(opened["last"].as_u64()).await;
    let texts: Vec<_> = back["lines"].as_array().unwrap().iter().map(|line| line["text"].as_str().unwrap()).collect();
    assert_eq!((texts, &back["fresh"]), (vec!["my question", "my answer"], &json!(false)));
    assert_eq!(history(None).await["lines"], json!([]), "a page that opens has only what is live");
}
