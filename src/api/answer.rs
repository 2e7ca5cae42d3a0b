//! Answers in the shape that OpenAI's clients read: one object, or a stream of chunks.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::stream::{self, BoxStream, Stream, StreamExt as _};
use serde_json::{Value, json};
use tokio::sync::mpsc;

use super::Part;
use super::error::ApiError;
use super::request::Shape;
use crate::clock::Timestamp;
use crate::provider::{Answer, Chunk, StopReason, Usage};

/// A comment in a silent stream, so that nobody in between closes it.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

/// One step of an answer, wherever it comes from.
enum Step {
    Chunk(Chunk),
    Failed(ApiError),
}

pub(super) fn json(value: &Value) -> Response {
    let mut response = value.to_string().into_response();
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

/// Answers with what a model says.
pub(super) async fn stateless(answer: Answer, shape: &Shape, now: Timestamp) -> Result<Response, ApiError> {
    let steps = answer.map(|chunk| match chunk {
        Ok(chunk) => Step::Chunk(chunk),
        Err(error) => Step::Failed(error.into()),
    });
    respond(steps.boxed(), shape, now).await
}

/// Answers with what a conversation gives.
pub(super) async fn in_conversation(
    parts: mpsc::Receiver<Part>,
    shape: &Shape,
    now: Timestamp,
) -> Result<Response, ApiError> {
    let steps = if shape.is_streamed { steps(parts).boxed() } else { stream::iter(ending(parts).await?).boxed() };
    respond(steps, shape, now).await
}

/// The answer alone. Whoever reads it whole need not hear of tries that failed before.
async fn ending(mut parts: mpsc::Receiver<Part>) -> Result<[Step; 2], ApiError> {
    loop {
        match parts.recv().await {
            Some(Part::Delta(_) | Part::Reset) => {}
            Some(Part::Answer(text)) => {
                return Ok([Step::Chunk(Chunk::Text(text)), Step::Chunk(Chunk::Stop(StopReason::EndTurn))]);
            }
            Some(Part::Failed { retry_after }) => return Err(ApiError::Unavailable { retry_after }),
            None => return Err(ApiError::Unavailable { retry_after: None }),
        }
    }
}

/// What has been said so far, and what comes.
fn steps(parts: mpsc::Receiver<Part>) -> impl Stream<Item = Step> {
    stream::unfold((parts, String::new(), false), |(mut parts, said, is_over)| async move {
        if is_over {
            return None;
        }
        let failed =
            |retry_after| Some((vec![Step::Failed(ApiError::Unavailable { retry_after })], true, String::new()));
        let next = match parts.recv().await {
            Some(Part::Delta(text)) => {
                let said = said + &text;
                Some((vec![Step::Chunk(Chunk::Text(text))], false, said))
            }
            // Words that were sent cannot be taken back; a client that was promised others must hear of it.
            Some(Part::Reset) if !said.is_empty() => failed(None),
            Some(Part::Reset) => Some((Vec::new(), false, said)),
            Some(Part::Answer(text)) => {
                // The commit trims the words; what was streamed is the same but for that.
                let rest = text.strip_prefix(said.trim_start()).unwrap_or(if said.is_empty() { &text } else { "" });
                let rest = Step::Chunk(Chunk::Text(rest.to_owned()));
                Some((vec![rest, Step::Chunk(Chunk::Stop(StopReason::EndTurn))], true, String::new()))
            }
            Some(Part::Failed { retry_after }) => failed(retry_after),
            None => failed(None),
        };
        let (steps, is_over, said) = next?;
        Some((stream::iter(steps), (parts, said, is_over)))
    })
    .flatten()
}

async fn respond(steps: BoxStream<'static, Step>, shape: &Shape, now: Timestamp) -> Result<Response, ApiError> {
    if shape.is_streamed { streamed(steps, shape.clone(), now).await } else { whole(steps, shape, now).await }
}

async fn whole(mut steps: BoxStream<'static, Step>, shape: &Shape, now: Timestamp) -> Result<Response, ApiError> {
    let (mut text, mut calls, mut usage) = (String::new(), Vec::new(), Usage::default());
    while let Some(step) = steps.next().await {
        match step {
            Step::Failed(error) => return Err(error),
            Step::Chunk(Chunk::Text(more)) => text.push_str(&more),
            Step::Chunk(Chunk::ToolUse { id, name, input }) => calls.push(call_json(&id, &name, &input)),
            Step::Chunk(Chunk::Usage(spent)) => usage = spent,
            Step::Chunk(Chunk::Stop(stop)) => {
                let message = json!({ "role": "assistant", "content": text, "refusal": null });
                let message = if calls.is_empty() { message } else { with(message, "tool_calls", calls.into()) };
                return Ok(json(&json!({
                    "id": shape.id,
                    "object": "chat.completion",
                    "created": now.as_secs(),
                    "model": shape.model,
                    "choices": [{ "index": 0, "message": message, "logprobs": null, "finish_reason": finish_reason(stop) }],
                    "usage": usage_json(usage),
                })));
            }
        }
    }
    Err(ApiError::Unavailable { retry_after: None })
}

async fn streamed(mut steps: BoxStream<'static, Step>, shape: Shape, now: Timestamp) -> Result<Response, ApiError> {
    // The first step decides between an error with a status and a stream.
    let first = match steps.next().await {
        Some(Step::Failed(error)) => return Err(error),
        Some(step) => step,
        None => return Err(ApiError::Unavailable { retry_after: None }),
    };
    let mut writer = Writer { shape, now, n_calls: 0, usage: Usage::default(), is_over: false };
    let head = writer.event(&json!({ "role": "assistant", "content": "" }), None);
    let steps = stream::once(async move { first }).chain(steps);
    let events = steps.map(move |step| writer.write(step));
    // A stream that ends without a stop was cut off: no `[DONE]`, so that clients see it.
    let events = with_keep_alive(stream::once(async move { head }).chain(events).boxed());
    let mut response = Response::new(Body::from_stream(events.map(Ok::<_, Infallible>)));
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, no-transform"));
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

fn with_keep_alive(events: BoxStream<'static, String>) -> impl Stream<Item = String> {
    stream::unfold(events, |mut events| async move {
        match tokio::time::timeout(KEEP_ALIVE, events.next()).await {
            Ok(event) => Some((event?, events)),
            Err(_elapsed) => Some((": still working\n\n".to_owned(), events)),
        }
    })
}

/// Writes steps as server-sent events.
struct Writer {
    shape: Shape,
    now: Timestamp,
    n_calls: usize,
    usage: Usage,
    is_over: bool,
}

impl Writer {
    fn write(&mut self, step: Step) -> String {
        if self.is_over {
            return String::new();
        }
        match step {
            Step::Chunk(Chunk::Text(text)) if text.is_empty() => String::new(),
            Step::Chunk(Chunk::Text(text)) => self.event(&json!({ "content": text }), None),
            Step::Chunk(Chunk::ToolUse { id, name, input }) => {
                let call = with(call_json(&id, &name, &input), "index", self.n_calls.into());
                self.n_calls += 1;
                self.event(&json!({ "tool_calls": [call] }), None)
            }
            Step::Chunk(Chunk::Usage(usage)) => {
                self.usage = usage;
                String::new()
            }
            Step::Chunk(Chunk::Stop(stop)) => {
                self.is_over = true;
                let mut end = self.event(&json!({}), Some(finish_reason(stop)));
                if self.shape.includes_usage {
                    let chunk = with(with(self.chunk(), "choices", json!([])), "usage", usage_json(self.usage));
                    end.push_str(&format!("data: {chunk}\n\n"));
                }
                end + "data: [DONE]\n\n"
            }
            Step::Failed(error) => {
                self.is_over = true;
                format!("data: {}\n\n", error.body())
            }
        }
    }

    fn event(&self, delta: &Value, finish_reason: Option<&str>) -> String {
        let choice = json!({ "index": 0, "delta": delta, "logprobs": null, "finish_reason": finish_reason });
        let chunk = with(self.chunk(), "choices", json!([choice]));
        format!("data: {chunk}\n\n")
    }

    fn chunk(&self) -> Value {
        let chunk = json!({
            "id": self.shape.id,
            "object": "chat.completion.chunk",
            "created": self.now.as_secs(),
            "model": self.shape.model,
        });
        // Every chunk but the last has it empty then.
        if self.shape.includes_usage { with(chunk, "usage", Value::Null) } else { chunk }
    }
}

/// The object with one more member.
fn with(mut object: Value, name: &str, value: Value) -> Value {
    if let Some(object) = object.as_object_mut() {
        object.insert(name.to_owned(), value);
    }
    object
}

fn call_json(id: &str, name: &str, input: &Value) -> Value {
    // Arguments that are no object go to the client as the model wrote them.
    let arguments = input.as_str().map_or_else(|| input.to_string(), str::to_owned);
    json!({ "id": id, "type": "function", "function": { "name": name, "arguments": arguments } })
}

fn finish_reason(stop: StopReason) -> &'static str {
    match stop {
        StopReason::EndTurn => "stop",
        StopReason::MaxTokens => "length",
        StopReason::ToolUse => "tool_calls",
        StopReason::Refusal => "content_filter",
    }
}

fn usage_json(usage: Usage) -> Value {
    json!({
        "prompt_tokens": usage.input_tokens,
        "completion_tokens": usage.output_tokens,
        "total_tokens": usage.input_tokens + usage.output_tokens,
        "prompt_tokens_details": { "cached_tokens": usage.cached_tokens },
    })
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt as _;

    use super::*;

    /// What a client gets for these news: the words of the answer or of the stream, or why there are none.
    async fn heard(is_streamed: bool, news: &[Part]) -> Result<String, ApiError> {
        let (sender, parts) = mpsc::channel(news.len() + 1);
        for part in news {
            sender.try_send(part.clone()).unwrap();
        }
        drop(sender);
        let shape = Shape { id: "1".into(), model: "m".into(), is_streamed, includes_usage: false };
        let response = in_conversation(parts, &shape, Timestamp(0)).await?;
        let body = response.into_body().collect().await.unwrap().to_bytes();
        let body = std::str::from_utf8(&body).unwrap();
        if !is_streamed {
            let body: Value = serde_json::from_str(body).unwrap();
            return Ok(body["choices"][0]["message"]["content"].as_str().unwrap().to_owned());
        }
        let events =
            body.split("\n\n").filter_map(|event| serde_json::from_str::<Value>(event.strip_prefix("data: ")?).ok());
        let words = events.map(|event| match event.get("error") {
            Some(error) => format!("<{}>", error["code"].as_str().unwrap()),
            None => event["choices"][0]["delta"]["content"].as_str().unwrap_or_default().to_owned(),
        });
        Ok(words.collect())
    }

    fn delta(text: &str) -> Part {
        Part::Delta(text.to_owned())
    }

    fn answer(text: &str) -> Part {
        Part::Answer(text.to_owned())
    }

    const UNAVAILABLE: ApiError = ApiError::Unavailable { retry_after: None };

    #[tokio::test]
    async fn whole_answer_is_what_was_committed() {
        let check = async |news: &[Part], expected: Result<&str, ApiError>| {
            assert_eq!(heard(false, news).await, expected.map(str::to_owned), "{news:?}");
        };
        check(&[answer("hello")], Ok("hello")).await;
        check(&[delta("he"), delta("llo "), answer("hello")], Ok("hello")).await;
        check(&[delta("good"), Part::Reset, delta("hel"), answer("hello")], Ok("hello")).await;
        check(&[delta("good"), Part::Failed { retry_after: None }], Err(UNAVAILABLE)).await;
        check(&[delta("good"), Part::Reset], Err(UNAVAILABLE)).await;
    }

    #[tokio::test]
    async fn streamed_answer_cannot_take_words_back() {
        let check = async |news: &[Part], expected: Result<&str, ApiError>| {
            assert_eq!(heard(true, news).await, expected.map(str::to_owned), "{news:?}");
        };
        check(&[answer("hello")], Ok("hello")).await;
        check(&[delta("he"), delta("ll"), answer("hello")], Ok("hello")).await;
        check(&[Part::Reset, delta("hel"), answer("hello")], Ok("hello")).await;
        check(&[delta("good"), Part::Reset, delta("hel"), answer("hello")], Ok("good<unavailable>")).await;
        check(&[Part::Failed { retry_after: None }], Err(UNAVAILABLE)).await;
    }
}
