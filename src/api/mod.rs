//! The HTTP API for programs (SPEC §7.2): Chat Completions as OpenAI's clients speak it.
//!
//! | path | what |
//! |---|---|
//! | `POST /v1/chat/completions` | an answer, whole or streamed |
//! | `GET /v1/models`, `GET /v1/models/<name>` | the agents that this key may ask, and `default` |
//!
//! A key belongs to a tenant and reaches no other. Without `user` a request is stateless: the messages are
//! its own, nothing is kept. With `user`, or the header `x-frontdesk-session-key` (also
//! `x-openclaw-session-key`), it is one message in a conversation of the gateway: the history is the
//! gateway's, only what follows the client's last assistant message is new, and `system` messages, `tools`
//! and `stop` are refused.
//!
//! What would change the answer and cannot be done is refused: `n` other than 1, `response_format` other
//! than text, `tool_choice` other than `auto` and `none`, `functions`, `logprobs`, `audio`. Hints are
//! accepted and go no further: `top_p`, `seed`, penalties, `metadata`, `store` and whatever else is not known; in a
//! conversation also `temperature` and `max_tokens`, which many clients always send.
//!
//! In a conversation the header `Idempotency-Key` makes two requests one message. The second is refused
//! with 422 `idempotency_key_reused`, also when the first failed: the official clients repeat 408, 409, 429
//! and 5xx by themselves, and that request could not be answered however often it comes.
//!
//! The key is checked before the body is read, and the number of bodies in memory is bounded.
//! Knows nothing of the gateway but the [`Desk`] it is given.

mod answer;
mod error;
mod request;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Path, Request, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::json;
use tokio::sync::{Semaphore, SemaphorePermit, mpsc};
use tokio::time::timeout;

use crate::clock::Timestamp;
use crate::id::{AgentId, OpaqueId, SessionKey};
use crate::provider;

use error::ApiError;
use request::{ChatRequest, Session};

/// Longest request, in bytes.
const MAX_REQUEST_BYTES: usize = 1024 * 1024;
/// Requests in memory at the same time: from the first byte until the message is filed or the model answers.
const MAX_REQUESTS: usize = 32;
/// How long a client may take to send its request, and how long it waits until it may.
const READ_TIMEOUT: Duration = Duration::from_secs(15);

/// News of an answer in a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    /// More words.
    Delta(String),
    /// The words so far do not count.
    Reset,
    /// The whole answer: the end.
    Answer(String),
    /// There will be no answer: the end.
    Failed {
        /// The same request may work after this long.
        retry_after: Option<Duration>,
    },
}

/// Why a question was not taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AskError {
    /// The key may not name this conversation.
    OutOfReach,
    /// The store cannot take it now.
    Unavailable {
        /// When to try again.
        retry_after: Duration,
    },
    /// The same `Idempotency-Key` was used before.
    Duplicate,
    /// A person has taken the conversation over.
    Taken,
}

/// Which conversation a question belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Conversation {
    /// The one of this user of the API: `api:user_<user>`.
    User(OpaqueId),
    /// The one with this key.
    Key(SessionKey),
}

/// A message for a conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// Where it belongs.
    pub conversation: Conversation,
    /// Who should answer; `None`: the routes decide.
    pub agent: Option<AgentId>,
    /// What is asked.
    pub text: String,
    /// The same twice from one API key is one message.
    pub idempotency_key: Option<OpaqueId>,
}

/// What the gateway offers to one API key: nothing of another tenant can be reached through it.
#[async_trait]
pub trait Caller: Send + Sync {
    /// The agents it may ask.
    fn agents(&self) -> Vec<AgentId>;

    /// The agent that answers a stateless request.
    fn default_agent(&self) -> AgentId;

    /// Asks an agent without a conversation. The persona is added; nothing is kept.
    async fn complete(&self, agent: &AgentId, request: provider::Request) -> Result<provider::Answer, provider::Error>;

    /// Files a question in a conversation and returns news of its answer.
    async fn ask(&self, question: Question) -> Result<mpsc::Receiver<Part>, AskError>;
}

/// What the API asks of the gateway.
pub trait Desk: Send + Sync {
    /// The caller whose key this is. Takes the same time for every wrong key.
    fn caller(&self, key: &str) -> Option<Box<dyn Caller>>;

    /// The time.
    fn now(&self) -> Timestamp;
}

/// What the handlers share.
#[derive(Clone)]
struct Api {
    desk: Arc<dyn Desk>,
    /// One permit for each request in memory.
    requests: Arc<Semaphore>,
}

/// The routes, to be nested under `/v1`.
pub fn router(desk: Arc<dyn Desk>) -> Router {
    Router::new()
        .route("/chat/completions", post(complete))
        .route("/models", get(models))
        .route("/models/{name}", get(model))
        .fallback(|| async { ApiError::NotFound("this path".to_owned()).into_response() })
        .method_not_allowed_fallback(|| async { ApiError::Method.into_response() })
        .with_state(Api::new(desk))
}

async fn complete(State(api): State<Api>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let answer = async {
        let caller = api.caller(&head.headers)?;
        let (body, in_memory) = api.read(body).await?;
        let request = ChatRequest::parse(&body, &head.headers)?;
        drop(body);
        let agent = choose(&*caller, &request.model)?;
        match request.session {
            None => {
                let agent = agent.unwrap_or_else(|| caller.default_agent());
                let answer = caller.complete(&agent, request.request).await?;
                drop(in_memory);
                answer::stateless(answer, &request.shape, api.desk.now()).await
            }
            Some(Session { conversation, text, idempotency_key }) => {
                let parts = caller.ask(Question { conversation, agent, text, idempotency_key }).await?;
                drop((request.request, in_memory));
                answer::in_conversation(parts, &request.shape, api.desk.now()).await
            }
        }
    };
    answer.await.unwrap_or_else(IntoResponse::into_response)
}

async fn models(State(api): State<Api>, headers: HeaderMap) -> Response {
    match api.caller(&headers) {
        Ok(caller) => {
            let names = caller.agents();
            let names =
                std::iter::once("default").chain(names.iter().map(AgentId::as_str).filter(|name| *name != "default"));
            let data: Vec<_> = names.map(|name| model_json(name, api.desk.now())).collect();
            answer::json(&json!({ "object": "list", "data": data }))
        }
        Err(error) => error.into_response(),
    }
}

async fn model(State(api): State<Api>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let found = api.caller(&headers).and_then(|caller| choose(&*caller, &name));
    match found {
        Ok(_) => answer::json(&model_json(&name, api.desk.now())),
        Err(error) => error.into_response(),
    }
}

impl Api {
    fn new(desk: Arc<dyn Desk>) -> Self {
        Self { desk, requests: Arc::new(Semaphore::new(MAX_REQUESTS)) }
    }

    fn caller(&self, headers: &HeaderMap) -> Result<Box<dyn Caller>, ApiError> {
        let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
        let key = value.and_then(bearer).ok_or(ApiError::NoKey)?;
        self.desk.caller(key.trim()).ok_or(ApiError::WrongKey)
    }

    /// The body, and its place in memory, to be kept while the request is.
    async fn read(&self, body: Body) -> Result<(Bytes, SemaphorePermit<'_>), ApiError> {
        let in_memory = timeout(READ_TIMEOUT, self.requests.acquire()).await;
        let Ok(Ok(in_memory)) = in_memory else { return Err(ApiError::Unavailable { retry_after: None }) };
        match timeout(READ_TIMEOUT, Limited::new(body, MAX_REQUEST_BYTES).collect()).await {
            Ok(Ok(body)) => Ok((body.to_bytes(), in_memory)),
            Ok(Err(error)) if error.is::<LengthLimitError>() => Err(ApiError::TooLarge),
            Ok(Err(_error)) => {
                Err(ApiError::Invalid { message: "the body did not arrive whole".to_owned(), param: None })
            }
            Err(_elapsed) => Err(ApiError::TooSlow),
        }
    }
}

fn model_json(name: &str, now: Timestamp) -> serde_json::Value {
    json!({ "id": name, "object": "model", "created": now.as_secs(), "owned_by": "frontdesk" })
}

/// The agent that the request names; `None` for `default`.
fn choose(caller: &dyn Caller, model: &str) -> Result<Option<AgentId>, ApiError> {
    if model == "default" {
        return Ok(None);
    }
    let found = caller.agents().into_iter().find(|agent| agent.as_str() == model);
    found.map(Some).ok_or_else(|| ApiError::Model(model.to_owned()))
}

/// The name of a scheme has no case (RFC 9110 §11.1).
fn bearer(value: &str) -> Option<&str> {
    let (scheme, key) = value.split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then_some(key)
}

#[cfg(test)]
mod tests;
