//! Providers: the adapters between one internal turn model and the wire of a model's API.
//!
//! A provider knows nothing of channels, sessions or tenants: it gets a [`Request`] and streams an
//! answer. Wire types stay in the file of their dialect. Unknown fields and events are kept out of
//! the way, never fatal.
//!
//! Called by `agent/`. Knows `document` (its own section) and an HTTP client.

mod anthropic;
mod config;
mod conversation;
mod demo;
mod openai;
mod plain;
pub mod probe;
mod refusal;
pub mod retry;
mod sse;
#[cfg(test)]
mod tests;
mod tool_call;
mod transport;

pub use config::Config;
pub use demo::Demo;

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::stream::BoxStream;

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The peer, or the result of a tool.
    User,
    /// The model.
    Assistant,
}

/// One part of what was said.
#[derive(Debug, Clone, PartialEq)]
pub enum Content {
    /// Words.
    Text(String),
    /// The model asks for a tool.
    ToolUse {
        /// Names the call; the result carries it again.
        id: String,
        /// Which tool.
        name: String,
        /// Its arguments: an object, or what the model wrote in its place, as a text.
        input: serde_json::Value,
    },
    /// What the tool said.
    ToolResult {
        /// The call that it answers.
        id: String,
        /// The result as text.
        text: String,
        /// Did the tool fail?
        is_error: bool,
    },
}

/// One message of the conversation.
#[derive(Debug, Clone, PartialEq)]
pub struct Message {
    /// Who.
    pub role: Role,
    /// What; never empty.
    pub content: Vec<Content>,
}

impl Message {
    /// A message of words alone.
    #[must_use]
    pub fn text(role: Role, text: impl Into<String>) -> Self {
        Self { role, content: vec![Content::Text(text.into())] }
    }
}

/// A tool that the model may ask for.
#[derive(Debug, Clone, PartialEq)]
pub struct Tool {
    /// Name.
    pub name: String,
    /// What it does, for the model.
    pub description: String,
    /// JSON Schema of its arguments.
    pub input_schema: serde_json::Value,
}

/// May the model ask for the tools on offer?
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ToolChoice {
    /// As it likes.
    #[default]
    Auto,
    /// No: it must answer. The tools stay listed, because calls in the conversation name them.
    None,
}

/// Everything a model is told for one answer.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Request {
    /// Persona and rules. Trusted text.
    pub system: String,
    /// What is known beside the conversation; follows `system`. Untrusted text.
    pub memory: String,
    /// The conversation, oldest first. Untrusted text. The last message is the peer's.
    pub messages: Vec<Message>,
    /// Tools on offer.
    pub tools: Vec<Tool>,
    /// May they be asked for?
    pub tool_choice: ToolChoice,
    /// Longest answer, in tokens; `None`: the provider's default.
    pub max_tokens: Option<u32>,
    /// Texts at which the model stops; they are not part of the answer.
    pub stop: Vec<String>,
    /// 0 to 2, where the dialect takes it; `None`: the model's default.
    pub temperature: Option<f32>,
}

/// Why the model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StopReason {
    /// It had said everything.
    EndTurn,
    /// It reached the token limit.
    MaxTokens,
    /// It waits for tools.
    ToolUse,
    /// It or a filter declined.
    Refusal,
}

/// What an answer cost.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Usage {
    /// Tokens read, cached ones included.
    pub input_tokens: u64,
    /// Of these, read from a cache.
    pub cached_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
}

/// One step of a streamed answer. A stream that ends without [`Chunk::Stop`] was cut off.
#[derive(Debug, Clone, PartialEq)]
pub enum Chunk {
    /// More words.
    Text(String),
    /// A complete request for a tool.
    ToolUse {
        /// Names the call.
        id: String,
        /// Which tool.
        name: String,
        /// Its arguments: an object, or what the model wrote in its place, as a text.
        input: serde_json::Value,
    },
    /// What it cost so far; the last one counts.
    Usage(Usage),
    /// The end, exactly once and last.
    Stop(StopReason),
}

/// What a caller should do about an [`Error`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ErrorKind {
    /// The same request may work later; wait at least `after` if the provider asked for it.
    Transient {
        /// From `Retry-After` and its like.
        after: Option<Duration>,
    },
    /// Every request will fail until the operator changes something: key, model name, address, money.
    Misconfigured,
    /// The same request will fail again, another may not.
    Permanent,
    /// The conversation does not fit; a shorter one may.
    TooLong,
}

/// A failed call. The message names the provider and what it said, and holds no key and no words of a conversation.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What to do about it.
    pub kind: ErrorKind,
    /// What happened, for the operator.
    pub message: String,
}

/// A streamed answer.
pub type Answer = BoxStream<'static, Result<Chunk, Error>>;

/// A model's API.
#[async_trait]
pub trait Provider: Send + Sync + fmt::Debug {
    /// Asks for an answer. One attempt: [`retry`] decides over more.
    async fn stream(&self, request: &Request) -> Result<Answer, Error>;
}

/// `text` in at most `max_chars` characters, the last one an ellipsis if something is missing.
fn shortened(text: &str, max_chars: usize) -> String {
    if text.chars().count() <= max_chars {
        return text.to_owned();
    }
    text.chars().take(max_chars.saturating_sub(1)).chain(['…']).collect()
}
