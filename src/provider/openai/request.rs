//! What we ask.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::super::config::Api;
use super::super::conversation::{Part, Turn, turns};
use super::super::plain::plain;
use super::super::tool_call::object;
use super::super::{Request, Role, ToolChoice};

/// How the longest answer is named.
#[derive(Debug, Clone, Copy)]
pub(super) enum LimitKey {
    MaxTokens,
    MaxCompletionTokens,
}

/// The body of `POST /v1/chat/completions`. Keys are sorted, so equal beginnings are equal bytes.
pub(super) fn body(request: &Request, api: &Api, limit_key: LimitKey) -> Value {
    let mut body = Map::new();
    body.insert("model".into(), json!(api.model));
    body.insert("messages".into(), messages(request).into());
    body.insert("stream".into(), json!(true));
    body.insert("stream_options".into(), json!({"include_usage": true}));
    if !request.tools.is_empty() {
        body.insert("tools".into(), request.tools.iter().map(tool).collect());
        if request.tool_choice == ToolChoice::None {
            body.insert("tool_choice".into(), json!("none"));
        }
    }
    if let Some(max_tokens) = request.max_tokens.or(api.max_tokens) {
        let key = match limit_key {
            LimitKey::MaxTokens => "max_tokens",
            LimitKey::MaxCompletionTokens => "max_completion_tokens",
        };
        body.insert(key.into(), json!(max_tokens));
    }
    if !request.stop.is_empty() {
        body.insert("stop".into(), json!(request.stop));
    }
    if let Some(temperature) = request.temperature.or(api.temperature) {
        body.insert("temperature".into(), json!(temperature));
    }
    Value::Object(body)
}

fn tool(tool: &super::super::Tool) -> Value {
    let function = json!({"name": tool.name, "description": tool.description, "parameters": tool.input_schema});
    json!({"type": "function", "function": function})
}

fn messages(request: &Request) -> Vec<Value> {
    let mut messages = Vec::new();
    // One message, because templates of local models want no second one.
    let system: Vec<Cow<'_, str>> = vec![Cow::Borrowed(&*request.system), plain(&request.memory)];
    let system: Vec<&str> = system.iter().map(|text| &**text).filter(|text| !text.is_empty()).collect();
    if !system.is_empty() {
        messages.push(json!({"role": "system", "content": system.join("\n\n")}));
    }
    for turn in turns(&request.messages) {
        match turn.role {
            Role::User => push_user(&turn, &mut messages),
            Role::Assistant => messages.push(assistant(&turn)),
        }
    }
    messages
}

/// Results of tools are messages of their own in this dialect, and nothing marks a failed one but its words.
fn push_user(turn: &Turn<'_>, messages: &mut Vec<Value>) {
    for part in &turn.parts {
        if let Part::ToolResult { id, text, is_error } = part {
            let prefix = if *is_error { "Error: " } else { "" };
            messages.push(json!({"role": "tool", "tool_call_id": id, "content": format!("{prefix}{}", plain(text))}));
        }
    }
    let text = turn.text();
    if !text.is_empty() {
        messages.push(json!({"role": "user", "content": plain(&text)}));
    }
}

/// What the model said is as untrusted as what it read: it may have been talked into repeating a marker.
fn assistant(turn: &Turn<'_>) -> Value {
    let calls: Vec<Value> = turn
        .parts
        .iter()
        .filter_map(|part| match part {
            Part::ToolUse { id, name, input } => {
                let arguments = object(input).to_string();
                let function = json!({"name": plain(name), "arguments": plain(&arguments)});
                Some(json!({"id": id, "type": "function", "function": function}))
            }
            Part::Text(_) | Part::ToolResult { .. } => None,
        })
        .collect();
    let text = turn.text();
    let mut message = Map::new();
    message.insert("role".into(), json!("assistant"));
    // Beside calls the words may be missing, and an empty text is not liked everywhere.
    if !text.is_empty() || calls.is_empty() {
        message.insert("content".into(), json!(plain(&text)));
    }
    if !calls.is_empty() {
        message.insert("tool_calls".into(), calls.into());
    }
    Value::Object(message)
}

#[cfg(test)]
mod tests {
    use super::super::super::{Content, Message, Tool};
    use super::*;

    fn api() -> Api {
        Api { model: "qwen".into(), ..Api::new("http://127.0.0.1:8080/v1".parse().unwrap()) }
    }

    fn check(messages: Vec<Message>, expected: Value) {
        let request = Request { messages, ..Request::default() };
        let body = body(&request, &api(), LimitKey::MaxTokens);
        assert_eq!(body["messages"], expected);
    }

    #[test]
    fn a_plain_question_carries_only_what_was_set() {
        let request = Request {
            system: "Be kind.".into(),
            messages: vec![Message::text(Role::User, "Hi")],
            ..Request::default()
        };
        let expected = json!({
            "model": "qwen",
            "messages": [{"role": "system", "content": "Be kind."}, {"role": "user", "content": "Hi"}],
            "stream": true,
            "stream_options": {"include_usage": true},
        });
        assert_eq!(body(&request, &api(), LimitKey::MaxTokens), expected);
    }

    #[test]
    fn limits_and_tools_are_sent_under_the_names_of_the_server() {
        let tool = Tool { name: "book".into(), description: "Books.".into(), input_schema: json!({"type": "object"}) };
        let request = Request { tools: vec![tool], max_tokens: Some(5), temperature: Some(0.5), ..Request::default() };
        let compatible = body(&request, &api(), LimitKey::MaxTokens);
        assert_eq!((&compatible["max_tokens"], &compatible["temperature"]), (&json!(5), &json!(0.5)));
        let function = json!({"name": "book", "description": "Books.", "parameters": {"type": "object"}});
        assert_eq!(compatible["tools"], json!([{"type": "function", "function": function}]));
        let openai = body(&request, &api(), LimitKey::MaxCompletionTokens);
        assert_eq!((&openai["max_completion_tokens"], openai.get("max_tokens")), (&json!(5), None));
    }

    #[test]
    fn the_request_overrules_the_settings() {
        let api = Api { max_tokens: Some(9), temperature: Some(1.0), ..api() };
        let limit = |max_tokens| {
            body(&Request { max_tokens, ..Request::default() }, &api, LimitKey::MaxTokens)["max_tokens"].clone()
        };
        assert_eq!((limit(None), limit(Some(5))), (json!(9), json!(5)));
    }

    #[test]
    fn a_round_of_tools_becomes_call_and_tool_messages() {
        let call = |id: &str| Content::ToolUse { id: id.into(), name: "book".into(), input: json!({"slot": "9am"}) };
        let result = |id: &str, is_error| Content::ToolResult { id: id.into(), text: "done".into(), is_error };
        check(
            vec![
                Message::text(Role::User, "9am?"),
                Message { role: Role::Assistant, content: vec![call("a"), call("b")] },
                Message { role: Role::User, content: vec![result("a", false), result("b", true)] },
                Message::text(Role::User, "and?"),
            ],
            json!([
                {"role": "user", "content": "9am?"},
                {"role": "assistant", "tool_calls": [
                    {"id": "a", "type": "function", "function": {"name": "book", "arguments": "{\"slot\":\"9am\"}"}},
                    {"id": "b", "type": "function", "function": {"name": "book", "arguments": "{\"slot\":\"9am\"}"}},
                ]},
                {"role": "tool", "tool_call_id": "a", "content": "done"},
                {"role": "tool", "tool_call_id": "b", "content": "Error: done"},
                {"role": "user", "content": "and?"},
            ]),
        );
    }

    #[test]
    fn markers_of_templates_lose_their_power_wherever_others_wrote() {
        let marker = "<|im_start|>";
        let call = Content::ToolUse { id: "a".into(), name: "book".into(), input: json!({"slot": marker}) };
        let result = Content::ToolResult { id: "a".into(), text: marker.into(), is_error: false };
        let messages = vec![
            Message::text(Role::User, marker),
            Message { role: Role::Assistant, content: vec![Content::Text(marker.into()), call] },
            Message { role: Role::User, content: vec![result] },
        ];
        let request = Request { messages, system: marker.into(), memory: marker.into(), ..Request::default() };
        let body = body(&request, &api(), LimitKey::MaxTokens).to_string();
        assert_eq!((body.matches(marker).count(), body.matches("< |im_start|>").count()), (1, 5), "{body}");
    }

    #[test]
    fn memory_follows_the_persona() {
        let check = |system: &str, memory: &str, expected: Value| {
            let request = Request { system: system.into(), memory: memory.into(), ..Request::default() };
            let body = body(&request, &api(), LimitKey::MaxTokens);
            assert_eq!(body["messages"][0], expected);
        };
        check("Be kind.", "1. A dog.", json!({"role": "system", "content": "Be kind.\n\n1. A dog."}));
        check("", "1. A dog.", json!({"role": "system", "content": "1. A dog."}));
        check("Be kind.", "", json!({"role": "system", "content": "Be kind."}));
    }

    #[test]
    fn tools_that_may_not_be_asked_for_stay_listed() {
        let tool = Tool { name: "book".into(), description: "Books.".into(), input_schema: json!({"type": "object"}) };
        let request = Request { tools: vec![tool], tool_choice: ToolChoice::None, ..Request::default() };
        let none = body(&request, &api(), LimitKey::MaxTokens);
        assert_eq!((none["tools"].as_array().unwrap().len(), &none["tool_choice"]), (1, &json!("none")));
        let auto = body(&Request { tool_choice: ToolChoice::Auto, ..request }, &api(), LimitKey::MaxTokens);
        assert_eq!(auto.get("tool_choice"), None);
        let bare = Request { tool_choice: ToolChoice::None, ..Request::default() };
        assert_eq!(body(&bare, &api(), LimitKey::MaxTokens).get("tool_choice"), None);
    }

    #[test]
    fn arguments_that_were_no_object_are_sent_back_as_an_empty_one() {
        let call = Content::ToolUse { id: "a".into(), name: "book".into(), input: json!("{\"slot") };
        let messages = vec![Message::text(Role::User, "9am?"), Message { role: Role::Assistant, content: vec![call] }];
        let body = body(&Request { messages, ..Request::default() }, &api(), LimitKey::MaxTokens);
        assert_eq!(body["messages"][1]["tool_calls"][0]["function"]["arguments"], "{}");
    }
}
