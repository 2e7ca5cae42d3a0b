use std::io;

use axum::http::StatusCode;
use futures_util::stream::{self, StreamExt as _};

use super::*;
use crate::provider::{Chunk, StopReason};

const QUESTION: &str = r#"{"model":"default","messages":[{"role":"user","content":"hi"}]}"#;

/// Knows one key and answers everything with `hello`.
struct FakeDesk;

impl Desk for FakeDesk {
    fn caller(&self, key: &str) -> Option<Box<dyn Caller>> {
        (key == "right").then(|| Box::new(FakeCaller) as Box<dyn Caller>)
    }

    fn now(&self) -> Timestamp {
        Timestamp(0)
    }
}

struct FakeCaller;

#[async_trait]
impl Caller for FakeCaller {
    fn agents(&self) -> Vec<AgentId> {
        vec![self.default_agent()]
    }

    fn default_agent(&self) -> AgentId {
        AgentId::new("reception").unwrap()
    }

    async fn complete(&self, _: &AgentId, _: provider::Request) -> Result<provider::Answer, provider::Error> {
        Ok(stream::iter([Ok(Chunk::Text("hello".to_owned())), Ok(Chunk::Stop(StopReason::EndTurn))]).boxed())
    }

    async fn ask(&self, _: Question) -> Result<mpsc::Receiver<Part>, AskError> {
        Err(AskError::Duplicate)
    }
}

fn never() -> Body {
    Body::from_stream(stream::pending::<io::Result<Bytes>>())
}

fn endless() -> Body {
    Body::from_stream(stream::repeat_with(|| Ok::<_, io::Error>(Bytes::from(vec![b' '; 64 * 1024]))))
}

fn post_with(key: &str, body: Body) -> Request {
    Request::post("/chat/completions").header(header::AUTHORIZATION, format!("Bearer {key}")).body(body).unwrap()
}

async fn check(api: &Api, key: &str, body: Body, expected: StatusCode) {
    assert_eq!(complete(State(api.clone()), post_with(key, body)).await.status(), expected);
}

#[tokio::test]
async fn nobody_without_a_key_has_a_body_read() {
    let api = Api::new(Arc::new(FakeDesk));
    // Nothing else would ever answer: this body never comes.
    check(&api, "wrong", never(), StatusCode::UNAUTHORIZED).await;
    check(&api, "wrong", endless(), StatusCode::UNAUTHORIZED).await;
}

#[tokio::test(start_paused = true)]
async fn body_that_is_long_or_late_is_refused() {
    let api = Api::new(Arc::new(FakeDesk));
    check(&api, "right", QUESTION.into(), StatusCode::OK).await;
    check(&api, "right", endless(), StatusCode::PAYLOAD_TOO_LARGE).await;
    check(&api, "right", never(), StatusCode::REQUEST_TIMEOUT).await;
}

#[tokio::test(start_paused = true)]
async fn bodies_in_memory_are_counted_until_they_are_answered() {
    let api = Api::new(Arc::new(FakeDesk));
    for _request in 0..MAX_REQUESTS * 2 {
        check(&api, "right", QUESTION.into(), StatusCode::OK).await;
        check(&api, "right", "{".into(), StatusCode::BAD_REQUEST).await;
    }
    let taken = api.requests.acquire_many(MAX_REQUESTS.try_into().unwrap()).await.unwrap();
    check(&api, "right", QUESTION.into(), StatusCode::SERVICE_UNAVAILABLE).await;
    drop(taken);
    check(&api, "right", QUESTION.into(), StatusCode::OK).await;
}
