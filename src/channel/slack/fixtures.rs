//! Requests as Slack sends them, under `tests/data/channel/slack/<condition>/`.
//!
//! `headers.json` and `body.json` are the request — its signature was made over the bytes of the body,
//! by other means than this crate's — and `expected.json` what the adapter makes of it. All arrive at [`NOW`].

use std::path::Path;

use http::{HeaderMap, HeaderName, HeaderValue, Method};
use serde_json::{Value, json};

use super::testing::slack;
use crate::channel::{Admitted, Channel as _, Event, Handled, HookRequest};
use crate::clock::Timestamp;
use crate::message::Author;

const NOW: Timestamp = Timestamp(1_700_000_060_000);

#[test]
fn every_request_in_the_fixtures_is_read_as_expected() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/channel/slack");
    let mut n_checked = 0;
    for folder in std::fs::read_dir(&root).unwrap() {
        let folder = folder.unwrap().path();
        let read = |name: &str| std::fs::read(folder.join(name)).unwrap();
        let parsed = |name: &str| serde_json::from_slice::<Value>(&read(name)).unwrap();
        let expected = parsed("expected.json");
        let actual = handle(&headers(&parsed("headers.json")), &read("body.json"));
        assert_eq!(actual, expected, "{}: got {actual:#}", folder.display());
        n_checked += 1;
    }
    assert!(n_checked >= 20, "only {n_checked} fixtures were found");
}

#[test]
fn slack_is_answered_as_the_message_was_admitted() {
    let check = |outcome: Admitted, status: u16, retry_after_secs: Option<u64>| {
        let response = slack().hook_response(&outcome);
        let waits = response.retry_after.map(|wait| wait.as_secs());
        assert_eq!((response.status.as_u16(), waits), (status, retry_after_secs), "{outcome:?}");
    };
    check(Admitted::Accepted { session_key: "slack:T1:C1".to_owned() }, 200, None);
    check(Admitted::Duplicate, 200, None);
    check(Admitted::Ignored("echo"), 200, None);
    // Slack would only repeat it; the peer is told by the gateway.
    check(Admitted::Limited { retry_after: std::time::Duration::from_secs(7) }, 200, None);
    check(Admitted::Unavailable { retry_after: std::time::Duration::from_secs(7) }, 503, Some(7));
}

fn headers(json: &Value) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in json.as_object().unwrap() {
        let name: HeaderName = name.parse().unwrap();
        headers.append(name, HeaderValue::from_str(value.as_str().unwrap()).unwrap());
    }
    headers
}

fn handle(headers: &HeaderMap, body: &[u8]) -> Value {
    let request = HookRequest { method: &Method::POST, query: "", headers, body, now: NOW };
    match slack().handle_http(&request) {
        Handled::Respond(response) => json!({ "status": response.status.as_u16(), "body": response.body }),
        Handled::Admit(events) => json!({ "admit": events.iter().map(print).collect::<Vec<_>>() }),
    }
}

fn print(event: &Event) -> Value {
    let author = match event.author {
        Author::Peer => "peer",
        Author::Own => "own",
        Author::Bot => "bot",
    };
    let attachments = event.attachments.iter();
    let mut printed = json!({
        "kind": event.kind.as_str(),
        "parent": event.parent.as_str(),
        "server": event.server.as_ref().map(|id| id.as_str()),
        "room": event.room.as_ref().map(|id| id.as_str()),
        "thread": event.thread.as_ref().map(|id| id.as_str()),
        "user": event.user.as_ref().map(|id| id.as_str()),
        "user_name": event.user_name,
        "author": author,
        "mentions_bot": event.mentions_bot,
        "message_id": event.message_id.as_str(),
        "text": event.text,
        "lacks": event.lacks,
        "attachments": attachments.map(|a| json!({"url": a.url, "mime": a.mime, "name": a.name})).collect::<Vec<_>>(),
        "reply_target": serde_json::from_str::<Value>(&event.reply_target).unwrap(),
    });
    // What a message does not have is left out.
    printed.as_object_mut().unwrap().retain(|_, value| !value.is_null() && *value != json!([]));
    printed
}
