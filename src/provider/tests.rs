//! The dialects against recorded conditions: each folder below `tests/data/provider/<kind>/` holds the
//! responses of a server in their order, and what [`complete`] makes of them.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use proptest::prelude::*;
use serde_json::Value;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

use super::anthropic::Anthropic;
use super::config::{Api, ApiVersion};
use super::openai::OpenAi;
use super::retry::{Completion, Policy, Progress, complete};
use super::*;
use crate::document::Secret;

/// A server that gives one response to each connection and keeps what it was asked.
struct Server {
    base_url: reqwest::Url,
    requests: JoinHandle<Vec<String>>,
}

impl Server {
    async fn start(responses: Vec<Vec<u8>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let base_url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
        #[expect(clippy::disallowed_methods, reason = "the test ends before its peer must")]
        let requests = tokio::spawn(async move {
            let mut requests = Vec::new();
            for response in responses {
                let (mut socket, _) = listener.accept().await.unwrap();
                requests.push(read_request(&mut socket).await);
                // In small pieces, so that events and characters arrive cut.
                for piece in response.chunks(7) {
                    socket.write_all(piece).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
            requests
        });
        Self { base_url, requests }
    }

    fn api(&self) -> Api {
        Api { key: Some(Secret::new("sk-test-key")), model: "m".into(), ..Api::new(self.base_url.clone()) }
    }
}

async fn read_request(socket: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    loop {
        let text = String::from_utf8_lossy(&bytes).into_owned();
        if let Some((head, body)) = text.split_once("\r\n\r\n") {
            let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap();
            if body.len() >= length.parse().unwrap() {
                return text;
            }
        }
        assert_ne!(socket.read_buf(&mut bytes).await.unwrap(), 0, "the request was cut off: {text}");
    }
}

/// A response as it travels: the file has plain line ends in its head.
fn response(path: &Path) -> Vec<u8> {
    let text = fs::read_to_string(path).unwrap();
    let (head, body) = text.split_once("\n\n").unwrap();
    format!("{}\r\nconnection: close\r\n\r\n{body}", head.replace('\n', "\r\n")).into_bytes()
}

fn responses(condition: &Path) -> Vec<Vec<u8>> {
    let paths = (1..).map(|n| condition.join(format!("{n}.http"))).take_while(|path| path.exists());
    paths.map(|path| response(&path)).collect()
}

fn conditions(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/provider").join(kind);
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(!paths.is_empty());
    paths
}

fn http() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap()
}

fn question() -> Request {
    Request { messages: vec![Message::text(Role::User, "my tooth hurts very much")], ..Request::default() }
}

/// What came of it, a line for each thing.
async fn trace(provider: &dyn Provider, n_retries: u32) -> String {
    let policy = Policy { n_retries, first_wait: Duration::ZERO, ..Policy::default() };
    let mut trace = String::new();
    let mut on_progress = |progress: Progress<'_>| {
        match progress {
            Progress::Text(text) => writeln!(trace, "text {text:?}"),
            Progress::Reset => writeln!(trace, "reset"),
            Progress::Attempted { .. } => Ok(()),
        }
        .unwrap();
    };
    let result = complete(provider, &question(), &policy, &mut on_progress).await;
    match result {
        Ok(completion) => trace.push_str(&print(&completion)),
        Err(error) => {
            let kind = match error.kind {
                ErrorKind::Transient { after: Some(after) } => format!("Transient after {after:?}"),
                ErrorKind::Transient { after: None } => "Transient".to_owned(),
                kind => format!("{kind:?}"),
            };
            // How the HTTP client words a broken connection is its own affair.
            let message = match error.message.split_once("decoding response body: ") {
                Some((before, _)) => format!("{before}decoding response body: …"),
                None => error.message,
            };
            writeln!(trace, "error {kind} {message}").unwrap();
        }
    }
    trace
}

fn print(completion: &Completion) -> String {
    let mut lines: Vec<String> = completion
        .content
        .iter()
        .map(|content| match content {
            Content::Text(text) => format!("answer text {text:?}"),
            Content::ToolUse { id, name, input } => format!("answer tool {id} {name} {input}"),
            Content::ToolResult { .. } => panic!("a model has no results"),
        })
        .collect();
    let Usage { input_tokens, cached_tokens, output_tokens } = completion.usage;
    lines.push(format!("usage {input_tokens} {cached_tokens} {output_tokens}"));
    lines.push(format!("stop {:?}\n", completion.stop));
    lines.join("\n")
}

async fn check(kind: &str, open: impl Fn(&Api) -> Box<dyn Provider>) {
    for condition in conditions(kind) {
        let responses = responses(&condition);
        let n_retries = u32::try_from(responses.len()).unwrap() - 1;
        let server = Server::start(responses).await;
        let trace = trace(&*open(&server.api()), n_retries).await;
        let expected = fs::read_to_string(condition.join("expected.txt")).unwrap();
        assert_eq!(trace, expected, "{}", condition.display());
        assert_eq!(server.requests.await.unwrap().len(), n_retries as usize + 1, "{}", condition.display());
    }
}

#[tokio::test]
async fn chat_completions_under_every_condition() {
    check("openai", |api| Box::new(OpenAi::new("test", api, http()))).await;
}

#[tokio::test]
async fn messages_under_every_condition() {
    check("anthropic", |api| Box::new(Anthropic::new("test", api, &ApiVersion::default(), http()))).await;
}

/// The head of the one request that `open`'s provider sends.
async fn head(kind: &str, open: impl Fn(&Api) -> Box<dyn Provider>) -> String {
    let text = conditions(kind).into_iter().find(|path| path.ends_with("text")).unwrap();
    let server = Server::start(responses(&text)).await;
    trace(&*open(&server.api()), 0).await;
    let requests = server.requests.await.unwrap();
    requests[0].split("\r\n\r\n").next().unwrap().to_owned()
}

fn check_head(head: &str, present: &[&str], absent: &[&str]) {
    for line in present {
        assert!(head.lines().any(|other| other == *line), "{line} is missing in {head}");
    }
    for part in absent {
        assert!(!head.contains(part), "{part} is in {head}");
    }
}

#[tokio::test]
async fn chat_completions_are_asked_with_a_bearer_key() {
    let head = head("openai", |api| Box::new(OpenAi::new("test", api, http()))).await;
    let json = "content-type: application/json";
    check_head(
        &head,
        &["POST /v1/chat/completions HTTP/1.1", "authorization: Bearer sk-test-key", json],
        &["x-api-key"],
    );
}

#[tokio::test]
async fn chat_completions_without_a_key_are_asked_without_credentials() {
    let head = head("openai", |api| Box::new(OpenAi::new("test", &Api { key: None, ..api.clone() }, http()))).await;
    check_head(&head, &[], &["authorization"]);
}

#[tokio::test]
async fn messages_are_asked_with_the_credentials_of_their_version() {
    let open = |version: &'static str| {
        move |api: &Api| -> Box<dyn Provider> {
            Box::new(Anthropic::new("test", api, &version.parse().unwrap(), http()))
        }
    };
    let bearer = "authorization: Bearer sk-test-key";
    let newest = head("anthropic", open("2026-10-21")).await;
    check_head(&newest, &["POST /v1/messages HTTP/1.1", "anthropic-version: 2026-10-21", bearer], &["x-api-key"]);
    let classic = head("anthropic", open("2023-06-01")).await;
    check_head(&classic, &["anthropic-version: 2023-06-01", "x-api-key: sk-test-key"], &["authorization"]);
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_transient_error() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    drop(listener);
    let api = Api::new(base_url);
    let trace = trace(&OpenAi::new("test", &api, http()), 0).await;
    assert!(trace.starts_with("error Transient provider test: error sending request"), "{trace}");
    assert!(!trace.contains("127.0.0.1"), "{trace}");
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_is_given_up() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let base_url = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    let api = Api { timeout: Duration::from_millis(1), ..Api::new(base_url) };
    assert_eq!(trace(&OpenAi::new("test", &api, http()), 0).await, "error Transient provider test: silent for 0 s\n");
}

/// JSON of any shape, with these keys and these texts in random places.
pub(super) fn json_of(
    key: impl Strategy<Value = &'static str> + Clone + 'static,
    word: impl Strategy<Value = Value> + 'static,
) -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), any::<u64>().prop_map(Value::from), word];
    leaf.prop_recursive(5, 40, 4, move |inner| {
        let object = prop::collection::vec((key.clone(), inner.clone()), 0..5);
        let object = object.prop_map(|pairs| pairs.into_iter().map(|(key, value)| (key.to_owned(), value)).collect());
        prop_oneof![object, prop::collection::vec(inner, 0..3).prop_map(Value::Array)]
    })
}
