//! What we ask.

use std::borrow::Cow;

use serde_json::{Map, Value, json};

use super::super::config::{Api, ApiVersion};
use super::super::conversation::{Part, turns};
use super::super::plain::plain;
use super::super::tool_call::object;
use super::super::{Request, Role, Tool, ToolChoice};

/// The dialect demands a limit. This one fits every model and is longer than any chat message should be.
const DEFAULT_MAX_TOKENS: u32 = 4096;

/// Markers of chat templates in what others wrote.
#[derive(Debug, Clone, Copy)]
pub(super) enum Markers {
    /// Anthropic reads them as plain text.
    Keep,
    /// Another server may put the conversation through a template.
    Disarm,
}

/// The body of `POST /v1/messages`. Keys are sorted, so equal beginnings are equal bytes and hit the cache.
pub(super) fn body(request: &Request, api: &Api, version: &ApiVersion, markers: Markers) -> Value {
    let mut body = Map::new();
    body.insert("model".into(), json!(api.model));
    body.insert("max_tokens".into(), json!(request.max_tokens.or(api.max_tokens).unwrap_or(DEFAULT_MAX_TOKENS)));
    body.insert("stream".into(), json!(true));
    body.insert("messages".into(), messages(request, markers));
    let mut system = Vec::new();
    if !request.system.is_empty() {
        // The mark covers what stands before it too: the tools. Neither changes from turn to turn.
        let cache_control = json!({"type": "ephemeral"});
        system.push(json!({"type": "text", "text": request.system, "cache_control": cache_control}));
    }
    if !request.memory.is_empty() {
        system.push(json!({"type": "text", "text": words(&request.memory, markers)}));
    }
    if !system.is_empty() {
        body.insert("system".into(), system.into());
    }
    if !request.tools.is_empty() {
        body.insert("tools".into(), request.tools.iter().map(tool).collect());
        if request.tool_choice == ToolChoice::None {
            body.insert("tool_choice".into(), json!({"type": "none"}));
        }
    }
    if !request.stop.is_empty() {
        body.insert("stop_sequences".into(), json!(request.stop));
    }
    // Newer versions refuse sampling parameters, even at their default.
    if let Some(temperature) = request.temperature.or(api.temperature).filter(|_| version.is_classic()) {
        // Up to 1 here, where other dialects go to 2.
        body.insert("temperature".into(), json!(temperature.min(1.0)));
    }
    Value::Object(body)
}

fn tool(tool: &Tool) -> Value {
    json!({"name": tool.name, "description": tool.description, "input_schema": tool.input_schema})
}

fn messages(request: &Request, markers: Markers) -> Value {
    let message = |role: Role, content: Vec<Value>| match role {
        Role::User => json!({"role": "user", "content": content}),
        Role::Assistant => json!({"role": "assistant", "content": content}),
    };
    let turns = turns(&request.messages);
    turns.iter().map(|turn| message(turn.role, turn.parts.iter().map(|part| block(part, markers)).collect())).collect()
}

fn block(part: &Part<'_>, markers: Markers) -> Value {
    match part {
        Part::Text(text) => json!({"type": "text", "text": words(text, markers)}),
        Part::ToolUse { id, name, input } => {
            let name = words(name, markers);
            json!({"type": "tool_use", "id": id, "name": name, "input": arguments(input, markers)})
        }
        Part::ToolResult { id, text, is_error } => {
            json!({"type": "tool_result", "tool_use_id": id, "content": words(text, markers), "is_error": is_error})
        }
    }
}

fn words(text: &str, markers: Markers) -> Cow<'_, str> {
    match markers {
        Markers::Keep => Cow::Borrowed(text),
        Markers::Disarm => plain(text),
    }
}

/// A template prints them as JSON, in which no sign of a marker is escaped.
fn arguments(input: &Value, markers: Markers) -> Cow<'_, Value> {
    let input = object(input);
    match markers {
        Markers::Keep => input,
        // A space more inside a text, and a space between two signs that stand in texts only: it stays JSON.
        Markers::Disarm => serde_json::from_str(&plain(&input.to_string())).map_or(input, Cow::Owned),
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::{Content, Message};
    use super::*;

    fn api() -> Api {
        Api { model: "claude".into(), ..Api::new("https://api.anthropic.com".parse().unwrap()) }
    }

    fn check(request: &Request, version: &str, expected: Value) {
        assert_eq!(body(request, &api(), &version.parse().unwrap(), Markers::Keep), expected);
    }

    #[test]
    fn a_plain_question_carries_a_limit_and_a_cached_system_text() {
        let messages = vec![Message::text(Role::User, "Hi"), Message::text(Role::User, "there")];
        check(
            &Request { system: "Be kind.".into(), messages, temperature: Some(0.5), ..Request::default() },
            "2026-10-21",
            json!({
                "model": "claude",
                "max_tokens": 4096,
                "stream": true,
                "system": [{"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}}],
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "Hi"}, {"type": "text", "text": "there"}]},
                ],
            }),
        );
    }

    #[test]
    fn only_the_classic_version_gets_a_temperature() {
        let temperature = |version: &str, temperature| {
            let request = Request { temperature: Some(temperature), ..Request::default() };
            body(&request, &api(), &version.parse().unwrap(), Markers::Keep).get("temperature").cloned()
        };
        assert_eq!(temperature("2023-06-01", 0.5), Some(json!(0.5)));
        assert_eq!(temperature("2023-06-01", 1.5), Some(json!(1.0)));
        assert_eq!(temperature("2026-10-21", 0.5), None);
        assert_eq!(temperature("2027-01-01", 0.5), None);
    }

    #[test]
    fn a_round_of_tools_is_answered_in_one_message() {
        let call = |id: &str| Content::ToolUse { id: id.into(), name: "book".into(), input: json!({"slot": "9am"}) };
        let result = |id: &str, is_error| Content::ToolResult { id: id.into(), text: "done".into(), is_error };
        let tool = Tool { name: "book".into(), description: "Books.".into(), input_schema: json!({"type": "object"}) };
        let messages = vec![
            Message::text(Role::User, "9am?"),
            Message { role: Role::Assistant, content: vec![call("a"), call("b")] },
            Message { role: Role::User, content: vec![result("a", false)] },
            Message { role: Role::User, content: vec![Content::Text("and?".into()), result("b", true)] },
        ];
        check(
            &Request { messages, tools: vec![tool], max_tokens: Some(7), ..Request::default() },
            "2026-10-21",
            json!({
                "model": "claude",
                "max_tokens": 7,
                "stream": true,
                "tools": [{"name": "book", "description": "Books.", "input_schema": {"type": "object"}}],
                "messages": [
                    {"role": "user", "content": [{"type": "text", "text": "9am?"}]},
                    {"role": "assistant", "content": [
                        {"type": "tool_use", "id": "a", "name": "book", "input": {"slot": "9am"}},
                        {"type": "tool_use", "id": "b", "name": "book", "input": {"slot": "9am"}},
                    ]},
                    {"role": "user", "content": [
                        {"type": "tool_result", "tool_use_id": "a", "content": "done", "is_error": false},
                        {"type": "tool_result", "tool_use_id": "b", "content": "done", "is_error": true},
                        {"type": "text", "text": "and?"},
                    ]},
                ],
            }),
        );
    }

    #[test]
    fn markers_are_disarmed_for_servers_that_may_use_a_template() {
        let call = Content::ToolUse { id: "a".into(), name: "book".into(), input: json!({"slot": "<|x|>"}) };
        let messages = vec![Message::text(Role::User, "<|x|>"), Message { role: Role::Assistant, content: vec![call] }];
        let request = Request { memory: "<|x|>".into(), messages, ..Request::default() };
        let texts = |markers| {
            let body = body(&request, &api(), &ApiVersion::default(), markers);
            let messages = &body["messages"];
            [
                &body["system"][0]["text"],
                &messages[0]["content"][0]["text"],
                &messages[1]["content"][0]["input"]["slot"],
            ]
            .map(Value::clone)
        };
        assert_eq!(texts(Markers::Keep), [json!("<|x|>"), json!("<|x|>"), json!("<|x|>")]);
        assert_eq!(texts(Markers::Disarm), [json!("< |x|>"), json!("< |x|>"), json!("< |x|>")]);
    }

    #[test]
    fn memory_follows_the_cached_persona() {
        let request = Request { system: "Be kind.".into(), memory: "1. A dog.".into(), ..Request::default() };
        let body = body(&request, &api(), &ApiVersion::default(), Markers::Keep);
        let persona = json!({"type": "text", "text": "Be kind.", "cache_control": {"type": "ephemeral"}});
        assert_eq!(body["system"], json!([persona, {"type": "text", "text": "1. A dog."}]));
    }

    #[test]
    fn tools_that_may_not_be_asked_for_stay_listed() {
        let tool = Tool { name: "book".into(), description: "Books.".into(), input_schema: json!({"type": "object"}) };
        let request = Request { tools: vec![tool], tool_choice: ToolChoice::None, ..Request::default() };
        let choice = |request: &Request| {
            body(request, &api(), &ApiVersion::default(), Markers::Keep).get("tool_choice").cloned()
        };
        assert_eq!(choice(&request), Some(json!({"type": "none"})));
        assert_eq!(choice(&Request { tool_choice: ToolChoice::Auto, ..request.clone() }), None);
        assert_eq!(choice(&Request { tools: Vec::new(), ..request }), None);
    }

    #[test]
    fn arguments_that_were_no_object_are_sent_back_as_an_empty_one() {
        let call = Content::ToolUse { id: "a".into(), name: "book".into(), input: json!("{\"slot") };
        let messages = vec![Message::text(Role::User, "9am?"), Message { role: Role::Assistant, content: vec![call] }];
        let request = Request { messages, ..Request::default() };
        let body = body(&request, &api(), &ApiVersion::default(), Markers::Keep);
        assert_eq!(body["messages"][1]["content"][0]["input"], json!({}));
    }
}
