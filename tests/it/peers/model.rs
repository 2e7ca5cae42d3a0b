//! A server that speaks Chat Completions, and says what the test tells it to.

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use axum::routing::post;
use serde_json::{Value, json};
use tokio::sync::{mpsc, oneshot};

use super::{serve, soon};

/// The server. Every request waits until the test has answered it.
#[derive(Debug)]
pub(crate) struct Model {
    url: String,
    questions: mpsc::UnboundedReceiver<Question>,
}

/// A request that waits for its answer. Kept, it hangs; dropped, it fails.
#[derive(Debug)]
pub(crate) struct Question {
    /// The model that was asked for.
    pub(crate) model: String,
    /// `role: text` of every message but the system's, in order.
    pub(crate) said: Vec<String>,
    /// What the system's message says.
    pub(crate) system: String,
    /// Names of the tools on offer, when they may be asked for.
    pub(crate) tools: Vec<String>,
    answer: oneshot::Sender<Response>,
}

impl Model {
    pub(crate) async fn start() -> Self {
        let (sender, questions) = mpsc::unbounded_channel();
        let router = Router::new().route("/v1/chat/completions", post(complete)).with_state(sender);
        Self { url: serve(router).await, questions }
    }

    /// A `[[providers]]` entry that leads here and asks for `model`.
    pub(crate) fn provider(&self, model: &str) -> String {
        format!(
            "[[providers]]\nname = \"test\"\nkind = \"openai\"\nbase_url = \"{}/v1\"\nmodel = \"{model}\"\n",
            self.url
        )
    }

    /// The next request.
    pub(crate) async fn asked(&mut self) -> Question {
        soon("a question to the model", self.questions.recv()).await.unwrap()
    }

    /// Is there no request that the test has not seen?
    pub(crate) fn is_idle(&mut self) -> bool {
        self.questions.is_empty()
    }
}

impl Question {
    /// Says `text`, in two pieces.
    pub(crate) fn answer(self, text: &str) {
        self.respond(completion(text, None));
    }

    /// The same, and says what it cost.
    pub(crate) fn answer_for(self, text: &str, input_tokens: u64, output_tokens: u64) {
        let usage = json!({ "prompt_tokens": input_tokens, "completion_tokens": output_tokens });
        self.respond(completion(text, Some(usage)));
    }

    /// Asks for these tools, each call's arguments in two pieces.
    pub(crate) fn call(self, calls: &[(&str, Value)]) {
        let mut body = String::new();
        let mut chunk = |delta: Value, finish: Value| {
            let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
            body.push_str(&format!("data: {}\n\n", json!({ "choices": [choice] })));
        };
        chunk(json!({ "role": "assistant", "content": null }), Value::Null);
        for (n, (name, arguments)) in calls.iter().enumerate() {
            let arguments = arguments.to_string();
            let (head, tail) = arguments.split_at(arguments.len() / 2);
            let function = json!({ "name": name, "arguments": head });
            let begin = json!({ "index": n, "id": format!("call_{n}"), "type": "function", "function": function });
            chunk(json!({ "tool_calls": [begin] }), Value::Null);
            let more = json!({ "index": n, "function": { "arguments": tail } });
            chunk(json!({ "tool_calls": [more] }), Value::Null);
        }
        chunk(json!({}), json!("tool_calls"));
        body.push_str("data: [DONE]\n\n");
        self.respond(([(header::CONTENT_TYPE, "text/event-stream")], body).into_response());
    }

    /// Answers with an error.
    pub(crate) fn fail(self, status: StatusCode) {
        self.fail_saying(status, "the test says no");
    }

    /// The same in these words.
    pub(crate) fn fail_saying(self, status: StatusCode, message: &str) {
        let body = json!({ "error": { "message": message, "type": "test_error" } });
        self.respond((status, [(header::CONTENT_TYPE, "application/json")], body.to_string()).into_response());
    }

    fn respond(self, response: Response) {
        // Whoever asked may have gone.
        let _ = self.answer.send(response);
    }
}

/// `text` as a stream of two pieces.
pub(crate) fn completion(text: &str, usage: Option<Value>) -> Response {
    let (head, tail) = text.split_at(text.len() / 2);
    let chunk = |delta: Value, finish: Value| {
        let choice = json!({ "index": 0, "delta": delta, "finish_reason": finish });
        format!("data: {}\n\n", json!({ "object": "chat.completion.chunk", "choices": [choice] }))
    };
    let body = [
        chunk(json!({ "role": "assistant", "content": head }), Value::Null),
        chunk(json!({ "content": tail }), Value::Null),
        chunk(json!({}), json!("stop")),
        usage.map(|usage| format!("data: {}\n\n", json!({ "choices": [], "usage": usage }))).unwrap_or_default(),
        "data: [DONE]\n\n".to_owned(),
    ];
    ([(header::CONTENT_TYPE, "text/event-stream")], body.concat()).into_response()
}

async fn complete(State(questions): State<mpsc::UnboundedSender<Question>>, body: String) -> Response {
    let body: Value = serde_json::from_str(&body).unwrap();
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let messages = body["messages"].as_array().unwrap();
    let (system, messages): (Vec<_>, Vec<_>) = messages.iter().partition(|message| message["role"] == "system");
    let said = messages
        .into_iter()
        .map(|message| format!("{}: {}", text(&message["role"]), text(&message["content"])))
        .collect();
    let (answer, answered) = oneshot::channel();
    let system = system.into_iter().map(|message| text(&message["content"])).collect();
    let tools = body["tools"].as_array().into_iter().flatten().filter(|_| body["tool_choice"] != "none");
    let tools = tools.map(|tool| text(&tool["function"]["name"])).collect();
    let question = Question { model: text(&body["model"]), said, system, tools, answer };
    match questions.send(question) {
        Ok(()) => answered.await.unwrap_or_else(|_dropped| StatusCode::INTERNAL_SERVER_ERROR.into_response()),
        Err(_) => StatusCode::GONE.into_response(),
    }
}
