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
//! gateway's, only what follows the client's last assistant message is new, and `system` messages are
//! refused. Knows nothing of the gateway but the [`Desk`] it is given.

mod answer;
mod error;
mod request;

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, Path, State};
use axum::http::{HeaderMap, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::json;
use tokio::sync::mpsc;

use crate::clock::Timestamp;
use crate::id::{AgentId, OpaqueId, SessionKey};
use crate::provider;

use error::ApiError;
use request::{ChatRequest, Session};

/// Longest request, in bytes.
const MAX_REQUEST_BYTES: usize = 1024 * 1024;

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
    /// The same twice is one message.
    pub message_id: OpaqueId,
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

/// The routes, to be nested under `/v1`.
pub fn router(desk: Arc<dyn Desk>) -> Router {
    Router::new()
        .route("/chat/completions", post(complete))
        .route("/models", get(models))
        .route("/models/{name}", get(model))
        .fallback(|| async { ApiError::NotFound("this path".to_owned()).into_response() })
        .method_not_allowed_fallback(|| async { ApiError::Method.into_response() })
        .layer(DefaultBodyLimit::max(MAX_REQUEST_BYTES))
        .with_state(desk)
}

async fn complete(
    State(desk): State<Arc<dyn Desk>>,
    headers: HeaderMap,
    body: Result<Bytes, axum::extract::rejection::BytesRejection>,
) -> Response {
    let answer = async {
        let caller = authenticate(&*desk, &headers)?;
        let body = body.map_err(|_rejection| ApiError::TooLarge)?;
        let request = ChatRequest::parse(&body, &headers)?;
        let agent = choose(&*caller, &request.model)?;
        match request.session {
            None => answer::stateless(&*caller, agent, request, desk.now()).await,
            Some(Session { conversation, text, message_id }) => {
                let question = Question { conversation, agent, text, message_id };
                let parts = caller.ask(question).await?;
                answer::in_conversation(parts, &request.shape, desk.now()).await
            }
        }
    };
    answer.await.unwrap_or_else(IntoResponse::into_response)
}

async fn models(State(desk): State<Arc<dyn Desk>>, headers: HeaderMap) -> Response {
    match authenticate(&*desk, &headers) {
        Ok(caller) => {
            let names = caller.agents();
            let names =
                std::iter::once("default").chain(names.iter().map(AgentId::as_str).filter(|name| *name != "default"));
            let data: Vec<_> = names.map(|name| model_json(name, desk.now())).collect();
            answer::json(&json!({ "object": "list", "data": data }))
        }
        Err(error) => error.into_response(),
    }
}

async fn model(State(desk): State<Arc<dyn Desk>>, Path(name): Path<String>, headers: HeaderMap) -> Response {
    let found = authenticate(&*desk, &headers).and_then(|caller| choose(&*caller, &name));
    match found {
        Ok(_) => answer::json(&model_json(&name, desk.now())),
        Err(error) => error.into_response(),
    }
}

fn model_json(name: &str, now: Timestamp) -> serde_json::Value {
    json!({ "id": name, "object": "model", "created": now.as_secs(), "owned_by": "frontdesk" })
}

fn authenticate(desk: &dyn Desk, headers: &HeaderMap) -> Result<Box<dyn Caller>, ApiError> {
    let value = headers.get(header::AUTHORIZATION).and_then(|value| value.to_str().ok());
    let key = value.and_then(|value| value.strip_prefix("Bearer ")).ok_or(ApiError::NoKey)?;
    desk.caller(key.trim()).ok_or(ApiError::WrongKey)
}

/// The agent that the request names; `None` for `default`.
fn choose(caller: &dyn Caller, model: &str) -> Result<Option<AgentId>, ApiError> {
    if model == "default" {
        return Ok(None);
    }
    let found = caller.agents().into_iter().find(|agent| agent.as_str() == model);
    found.map(Some).ok_or_else(|| ApiError::Model(model.to_owned()))
}
