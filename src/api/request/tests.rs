use axum::http::{HeaderName, HeaderValue};

use super::*;

fn parse(body: &str) -> Result<ChatRequest, ApiError> {
    ChatRequest::parse(body.as_bytes(), &HeaderMap::new())
}

fn check_error(body: &str, expected: &str) {
    match parse(body) {
        Err(ApiError::Invalid { param, .. }) => assert_eq!(param.as_deref().unwrap_or(""), expected, "{body}"),
        other => panic!("{body}: {other:?}"),
    }
}

#[test]
fn what_cannot_be_answered_names_the_field() {
    check_error("{", "");
    check_error(r#"{"messages":[{"role":"user","content":"hi"}]}"#, "model");
    check_error(r#"{"model":"m"}"#, "messages");
    check_error(r#"{"model":"m","n":2,"messages":[{"role":"user","content":"hi"}]}"#, "n");
    check_error(r#"{"model":"m","messages":[{"role":"user","content":[{"type":"image_url"}]}]}"#, "messages");
    check_error(r#"{"model":"m","messages":[{"role":"king","content":"hi"}]}"#, "messages");
    check_error(
        r#"{"model":"m","user":"u","messages":[{"role":"system","content":"obey"},{"role":"user","content":"hi"}]}"#,
        "messages",
    );
    check_error(r#"{"model":"m","user":"u","messages":[{"role":"assistant","content":"hi"}]}"#, "messages");
}

fn with(field: &str) -> String {
    format!(r#"{{"model":"m",{field},"messages":[{{"role":"user","content":"hi"}}]}}"#)
}

#[test]
fn what_would_be_missing_from_the_answer_is_refused() {
    check_error(&with(r#""response_format":{"type":"json_object"}"#), "response_format");
    check_error(&with(r#""response_format":{"type":"json_schema","json_schema":{}}"#), "response_format");
    check_error(&with(r#""response_format":"text""#), "response_format");
    check_error(&with(r#""tool_choice":"required""#), "tool_choice");
    check_error(&with(r#""tool_choice":{"type":"function","function":{"name":"f"}}"#), "tool_choice");
    check_error(&with(r#""functions":[{"name":"f"}]"#), "functions");
    check_error(&with(r#""logprobs":true"#), "logprobs");
    check_error(&with(r#""user":"u","stop":"x""#), "stop");
    check_error(&with(r#""user":"u","tools":[{"function":{"name":"f"}}]"#), "tools");
}

#[test]
fn hints_are_accepted() {
    for field in [
        r#""response_format":{"type":"text"}"#,
        r#""response_format":null"#,
        r#""tool_choice":"auto""#,
        r#""logprobs":false"#,
        r#""top_p":0.5,"seed":1,"presence_penalty":0.5,"metadata":{"a":"b"},"store":true,"stream_options":{}"#,
        r#""user":"u","temperature":1,"max_tokens":5,"top_p":1"#,
    ] {
        assert!(parse(&with(field)).is_ok(), "{field}");
    }
}

#[test]
fn tools_that_must_not_be_used_are_not_offered() {
    let tools = r#""tools":[{"type":"function","function":{"name":"f"}}]"#;
    assert_eq!(parse(&with(tools)).unwrap().request.tools.len(), 1);
    assert_eq!(parse(&with(&format!(r#"{tools},"tool_choice":"none""#))).unwrap().request.tools, []);
}

fn check_idempotency_key(value: &[u8], expected: Option<&str>) {
    let value = HeaderValue::from_bytes(value).unwrap();
    let headers = HeaderMap::from_iter([(HeaderName::from_static("idempotency-key"), value)]);
    let request = ChatRequest::parse(with(r#""user":"u""#).as_bytes(), &headers);
    let key = request.map(|request| request.session.unwrap().idempotency_key.unwrap().to_string());
    match (key, expected) {
        (Ok(key), Some(expected)) => assert_eq!(key, expected),
        (Err(ApiError::Invalid { param, .. }), None) => assert_eq!(param.as_deref(), Some("idempotency-key")),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_idempotency_key_is_taken_as_it_is_or_refused() {
    check_idempotency_key(b"a b:c", Some("a b:c"));
    check_idempotency_key(b"", None);
    check_idempotency_key("ä".as_bytes(), None);
    check_idempotency_key("x".repeat(256).as_bytes(), None);
}

#[test]
fn without_a_user_it_is_stateless() {
    let request =
        parse(r#"{"model":"m","messages":[{"role":"system","content":"a"},{"role":"user","content":"hi"}]}"#).unwrap();
    assert!(request.session.is_none());
    assert_eq!(request.request.system, "a");
    assert_eq!(request.request.messages, [Message::text(Role::User, "hi")]);
}

#[test]
fn with_a_user_only_what_is_new_counts() {
    let body = r#"{"model":"m","user":"bob","messages":[{"role":"user","content":"old"},
        {"role":"assistant","content":"answer"},{"role":"user","content":"new"},{"role":"user","content":[{"type":"text","text":"er"}]}]}"#;
    let session = parse(body).unwrap().session.unwrap();
    assert_eq!(session.text, "new\ner");
    assert_eq!(session.conversation, Conversation::User(OpaqueId::new("user_bob").unwrap()));
}

#[test]
fn a_round_of_tools_is_read_whole() {
    let body = r#"{"model":"m","messages":[{"role":"user","content":"book"},
        {"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"book","arguments":"{\"at\":9}"}}]},
        {"role":"tool","tool_call_id":"c1","content":"done"}]}"#;
    let messages = parse(body).unwrap().request.messages;
    let input = serde_json::json!({ "at": 9 });
    assert_eq!(messages[1].content, [Content::ToolUse { id: "c1".into(), name: "book".into(), input }]);
    assert_eq!(messages[2].content, [Content::ToolResult { id: "c1".into(), text: "done".into(), is_error: false }]);
}
