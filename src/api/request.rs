//! What a client asks, read out of its JSON.

use axum::http::HeaderMap;
use serde_json::{Map, Value};

use super::Conversation;
use super::error::ApiError;
use crate::id::{OpaqueId, SessionKey};
use crate::provider::{Content, Message, Request, Role, Tool};

/// Headers that name a conversation; the second is what OpenClaw calls it.
const SESSION_HEADERS: [&str; 2] = ["x-frontdesk-session-key", "x-openclaw-session-key"];

/// Longest `Idempotency-Key`, in bytes.
const MAX_IDEMPOTENCY_KEY_BYTES: usize = 255;

/// Fields whose work nobody would do: an answer without it would be a wrong one.
const UNSUPPORTED: [&str; 3] = ["functions", "function_call", "audio"];

/// How the answer should look.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Shape {
    pub(super) id: String,
    /// The model as the client named it: answers repeat it.
    pub(super) model: String,
    pub(super) is_streamed: bool,
    pub(super) includes_usage: bool,
}

/// A message for a conversation.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) conversation: Conversation,
    pub(super) text: String,
    pub(super) idempotency_key: Option<OpaqueId>,
}

/// A checked request.
#[derive(Debug)]
pub(super) struct ChatRequest {
    pub(super) model: String,
    pub(super) shape: Shape,
    /// `None`: stateless.
    pub(super) session: Option<Session>,
    /// For a stateless answer; `system` holds the client's own instructions.
    pub(super) request: Request,
}

impl ChatRequest {
    pub(super) fn parse(body: &[u8], headers: &HeaderMap) -> Result<Self, ApiError> {
        let body: Value = serde_json::from_slice(body)
            .map_err(|error| ApiError::Invalid { message: format!("the body is not JSON: {error}"), param: None })?;
        let Value::Object(body) = body else {
            return Err(ApiError::Invalid { message: "the body is not a JSON object".to_owned(), param: None });
        };
        let body = Body(body);
        let model = body.text("model")?.ok_or_else(|| ApiError::invalid("model is missing", "model"))?;
        if body.number("n")?.is_some_and(|n| n != 1.0) {
            return Err(ApiError::invalid("only one answer can be given: n must be 1", "n"));
        }
        body.refuse_what_cannot_be_done()?;
        let request = body.request()?;
        let id = crate::id::random().ok_or(ApiError::Unavailable { retry_after: None })?;
        let session = session(&body, headers, &request)?;
        let includes_usage = match body.get("stream_options") {
            Some(Value::Object(options)) => options.get("include_usage") == Some(&Value::Bool(true)),
            _ => false,
        };
        let shape = Shape {
            id: format!("chatcmpl-{id}"),
            model: model.clone(),
            is_streamed: body.flag("stream")?.unwrap_or(false),
            includes_usage,
        };
        Ok(Self { model, shape, session, request })
    }
}

fn session(body: &Body, headers: &HeaderMap, request: &Request) -> Result<Option<Session>, ApiError> {
    let header = SESSION_HEADERS.into_iter().find_map(|name| Some((name, headers.get(name)?)));
    let conversation = match (header, body.text("user")?) {
        (Some((name, value)), _) => {
            let key = value.to_str().ok().and_then(|text| SessionKey::parse(text).ok());
            Conversation::Key(key.ok_or_else(|| ApiError::invalid("the header is not a session key", name))?)
        }
        (None, Some(user)) => {
            let user = OpaqueId::new(format!("user_{user}"));
            Conversation::User(user.map_err(|error| ApiError::invalid(error.to_string(), "user"))?)
        }
        (None, None) => return Ok(None),
    };
    // The history is ours: what the client repeats of it is left out, what it would add to it is refused.
    if !request.system.is_empty() {
        let message = "a conversation has the persona of its agent; leave system messages out, or leave `user` out";
        return Err(ApiError::invalid(message, "messages"));
    }
    if !request.tools.is_empty() {
        return Err(ApiError::invalid("tools work without `user` only", "tools"));
    }
    if !request.stop.is_empty() {
        return Err(ApiError::invalid("stop works without `user` only", "stop"));
    }
    let new = request.messages.iter().rev().take_while(|message| message.role == Role::User);
    let mut texts: Vec<&str> = new.flat_map(|message| message.content.iter().rev()).filter_map(text_of).collect();
    texts.reverse();
    let text = texts.join("\n");
    if text.trim().is_empty() {
        return Err(ApiError::invalid("the last message must be the user's, with a text", "messages"));
    }
    Ok(Some(Session { conversation, text, idempotency_key: idempotency_key(headers)? }))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<OpaqueId>, ApiError> {
    let Some(value) = headers.get("idempotency-key") else { return Ok(None) };
    let text = value.to_str().ok().filter(|text| text.len() <= MAX_IDEMPOTENCY_KEY_BYTES);
    let key = text.and_then(|text| OpaqueId::new(text).ok());
    key.map(Some).ok_or_else(|| {
        let message = format!("the header must hold 1 to {MAX_IDEMPOTENCY_KEY_BYTES} visible ASCII characters");
        ApiError::invalid(message, "idempotency-key")
    })
}

fn text_of(content: &Content) -> Option<&str> {
    match content {
        Content::Text(text) => Some(text),
        Content::ToolUse { .. } | Content::ToolResult { .. } => None,
    }
}

struct Body(Map<String, Value>);

impl Body {
    fn get(&self, field: &str) -> Option<&Value> {
        self.0.get(field).filter(|value| !value.is_null())
    }

    fn text(&self, field: &str) -> Result<Option<String>, ApiError> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::String(text)) if !text.is_empty() => Ok(Some(text.clone())),
            Some(_) => Err(ApiError::invalid(format!("{field} must be a text"), field)),
        }
    }

    fn flag(&self, field: &str) -> Result<Option<bool>, ApiError> {
        match self.get(field) {
            None => Ok(None),
            Some(Value::Bool(flag)) => Ok(Some(*flag)),
            Some(_) => Err(ApiError::invalid(format!("{field} must be true or false"), field)),
        }
    }

    fn number(&self, field: &str) -> Result<Option<f64>, ApiError> {
        match self.get(field) {
            None => Ok(None),
            Some(value) => {
                let number = value.as_f64();
                number.map(Some).ok_or_else(|| ApiError::invalid(format!("{field} must be a number"), field))
            }
        }
    }

    fn list(&self, field: &str) -> Result<&[Value], ApiError> {
        match self.get(field) {
            None => Ok(&[]),
            Some(Value::Array(list)) => Ok(list),
            Some(_) => Err(ApiError::invalid(format!("{field} must be a list"), field)),
        }
    }

    fn refuse_what_cannot_be_done(&self) -> Result<(), ApiError> {
        if let Some(field) = UNSUPPORTED.into_iter().find(|field| self.get(field).is_some()) {
            return Err(ApiError::invalid(format!("{field} is not supported"), field));
        }
        if self.flag("logprobs")? == Some(true) {
            return Err(ApiError::invalid("logprobs are not supported", "logprobs"));
        }
        match self.get("response_format") {
            Some(format) if format.get("type").and_then(Value::as_str) != Some("text") => {
                Err(ApiError::invalid("only {\"type\": \"text\"} is supported", "response_format"))
            }
            _ => Ok(()),
        }
    }

    fn tools(&self) -> Result<Vec<Tool>, ApiError> {
        let tools = self.list("tools")?.iter().map(tool).collect::<Option<Vec<_>>>();
        let tools = tools.ok_or_else(|| ApiError::invalid("tools must be functions with a name", "tools"))?;
        match self.get("tool_choice").map(Value::as_str) {
            None | Some(Some("auto")) => Ok(tools),
            Some(Some("none")) => Ok(Vec::new()),
            Some(_) => Err(ApiError::invalid("only \"auto\" and \"none\" are supported", "tool_choice")),
        }
    }

    fn request(&self) -> Result<Request, ApiError> {
        let mut request = Request::default();
        for (n, message) in self.list("messages")?.iter().enumerate() {
            add_message(&mut request, message)
                .map_err(|reason| ApiError::invalid(format!("messages[{n}]: {reason}"), "messages"))?;
        }
        if request.messages.is_empty() {
            return Err(ApiError::invalid("messages must hold at least one message of the user", "messages"));
        }
        if request.messages.last().is_some_and(|last| last.role == Role::Assistant) {
            return Err(ApiError::invalid("the last message must be the user's or a tool's", "messages"));
        }
        request.stop = match self.get("stop") {
            None => Vec::new(),
            Some(stop) => texts_of_stop(stop).ok_or_else(|| ApiError::invalid("stop must be up to 4 texts", "stop"))?,
        };
        request.tools = self.tools()?;
        let max_tokens = self.number("max_completion_tokens")?.or(self.number("max_tokens")?);
        request.max_tokens = match max_tokens {
            None => None,
            // A cast of a float saturates, and the range is checked.
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "within the range of u32")]
            Some(n) if (1.0..=f64::from(u32::MAX)).contains(&n) => Some(n as u32),
            Some(_) => return Err(ApiError::invalid("max_tokens must be at least 1", "max_tokens")),
        };
        request.temperature = match self.number("temperature")? {
            None => None,
            #[expect(clippy::cast_possible_truncation, reason = "a temperature needs no more digits")]
            Some(t) if (0.0..=2.0).contains(&t) => Some(t as f32),
            Some(_) => return Err(ApiError::invalid("temperature must be between 0 and 2", "temperature")),
        };
        Ok(request)
    }
}

fn texts_of_stop(stop: &Value) -> Option<Vec<String>> {
    let text = |value: &Value| value.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
    match stop {
        Value::Array(list) if list.len() <= 4 => list.iter().map(text).collect(),
        stop => text(stop).map(|text| vec![text]),
    }
}

fn add_message(request: &mut Request, message: &Value) -> Result<(), String> {
    let role = message.get("role").and_then(Value::as_str).ok_or("the role is missing")?;
    let content = message.get("content").unwrap_or(&Value::Null);
    match role {
        "system" | "developer" => {
            let separator = if request.system.is_empty() { "" } else { "\n\n" };
            request.system = format!("{}{separator}{}", request.system, texts(content)?.join("\n"));
        }
        "user" => {
            let texts = texts(content)?;
            if texts.is_empty() {
                return Err("the content is missing".to_owned());
            }
            push(request, Role::User, texts.into_iter().map(Content::Text).collect());
        }
        "assistant" => {
            let mut parts: Vec<Content> = texts(content)?.into_iter().map(Content::Text).collect();
            for call in message.get("tool_calls").and_then(Value::as_array).into_iter().flatten() {
                parts.push(tool_call(call).ok_or("a tool call needs an id, a function name and arguments")?);
            }
            if parts.is_empty() {
                return Err("the content is missing".to_owned());
            }
            push(request, Role::Assistant, parts);
        }
        "tool" => {
            let id = message.get("tool_call_id").and_then(Value::as_str).ok_or("tool_call_id is missing")?;
            let text = texts(content)?.join("\n");
            push(request, Role::User, vec![Content::ToolResult { id: id.to_owned(), text, is_error: false }]);
        }
        other => return Err(format!("{other:?} is not a role")),
    }
    Ok(())
}

/// The results of one round of tools belong together.
fn push(request: &mut Request, role: Role, mut content: Vec<Content>) {
    let is_result = matches!(content.first(), Some(Content::ToolResult { .. }));
    match request.messages.last_mut() {
        Some(last) if is_result && matches!(last.content.first(), Some(Content::ToolResult { .. })) => {
            last.content.append(&mut content);
        }
        _ => request.messages.push(Message { role, content }),
    }
}

fn texts(content: &Value) -> Result<Vec<String>, String> {
    match content {
        Value::Null => Ok(Vec::new()),
        Value::String(text) => Ok(vec![text.clone()]),
        Value::Array(parts) => {
            let part = |part: &Value| match part.get("type").and_then(Value::as_str) {
                Some("text") => {
                    part.get("text").and_then(Value::as_str).map(str::to_owned).ok_or("a text is missing".to_owned())
                }
                Some(other) => Err(format!("content of type {other:?} is not supported")),
                None => Err("a part of the content has no type".to_owned()),
            };
            parts.iter().map(part).collect()
        }
        _ => Err("the content must be a text or a list".to_owned()),
    }
}

fn tool_call(call: &Value) -> Option<Content> {
    let function = call.get("function")?;
    let arguments = function.get("arguments").and_then(Value::as_str).unwrap_or("{}");
    Some(Content::ToolUse {
        id: call.get("id")?.as_str()?.to_owned(),
        name: function.get("name")?.as_str()?.to_owned(),
        input: serde_json::from_str(arguments).ok()?,
    })
}

fn tool(tool: &Value) -> Option<Tool> {
    let function = tool.get("function")?;
    let empty = || serde_json::json!({ "type": "object", "properties": {} });
    Some(Tool {
        name: function.get("name")?.as_str()?.to_owned(),
        description: function.get("description").and_then(Value::as_str).unwrap_or_default().to_owned(),
        input_schema: function.get("parameters").cloned().unwrap_or_else(empty),
    })
}

#[cfg(test)]
mod tests;
