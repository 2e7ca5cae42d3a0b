//! One request and its streamed answer, in whatever dialect.

use std::collections::VecDeque;
use std::time::Duration;

use futures_util::StreamExt as _;
use reqwest::Response;
use reqwest::header::{ACCEPT, CONTENT_TYPE, HeaderMap};
use serde_json::Value;

use super::refusal::{Refusal, Vocabulary};
use super::{Answer, Chunk, Error, ErrorKind, Request, shortened, sse};
use crate::document::Secret;

/// Largest answer, in bytes as sent: some hundred times what a long answer takes.
const MAX_ANSWER_BYTES: usize = 16 << 20;
/// Largest body that is read to learn why a request was refused, in bytes.
const MAX_REFUSAL_BYTES: usize = 64 << 10;
/// Longest error message, in characters.
const MAX_MESSAGE_CHARS: usize = 300;

/// Where requests go.
#[derive(Debug)]
pub(super) struct Endpoint {
    /// The provider's name in the configuration, for error messages.
    pub(super) name: String,
    pub(super) http: reqwest::Client,
    pub(super) url: reqwest::Url,
    /// Sent with every request; the credentials in them are marked as sensitive.
    pub(super) headers: HeaderMap,
    /// To be kept out of error messages.
    pub(super) key: Option<Secret>,
    /// Longest wait for the first byte, and between two.
    pub(super) timeout: Duration,
    pub(super) vocabulary: Vocabulary,
}

/// Makes chunks of a dialect's events.
pub(super) trait Decode: Send + 'static {
    /// Takes one event in and adds what it completes to `chunks`, also when a failure follows.
    fn event(&mut self, event: &sse::Event, chunks: &mut Vec<Chunk>) -> Result<(), Failure>;

    /// The server closed the stream, and no [`Chunk::Stop`] had come.
    fn end(&mut self, _chunks: &mut Vec<Chunk>) -> Result<(), Failure> {
        Ok(())
    }
}

/// Why a stream cannot go on.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// It is not what the dialect says. Names what is wrong.
    Malformed(&'static str),
    /// The server said so.
    Refused(Refusal),
}

impl Endpoint {
    /// Sends `body` and streams what `decode` makes of the answer.
    pub(super) async fn ask(&self, body: &Value, request: &Request, decode: impl Decode) -> Result<Answer, Error> {
        let call = self
            .http
            .post(self.url.clone())
            .headers(self.headers.clone())
            .header(ACCEPT, "text/event-stream, application/json");
        let response = match tokio::time::timeout(self.timeout, call.json(body).send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(transient(&self.name, &cause(error))),
            Err(_) => return Err(silent(&self.name, self.timeout)),
        };
        let status = response.status();
        let content_type = response.headers().get(CONTENT_TYPE).and_then(|value| value.to_str().ok()).unwrap_or("");
        // Many compatible servers are careless with the type of a stream; these two it certainly is not.
        let is_document = content_type.contains("json") || content_type.contains("html");
        if !status.is_success() || is_document {
            return Err(self.refusal(response, request).await);
        }
        let stream = Stream {
            name: self.name.clone(),
            timeout: self.timeout,
            vocabulary: self.vocabulary,
            n_bytes: 0,
            response: Some(response),
            parser: sse::Parser::default(),
            decode,
            ready: VecDeque::new(),
        };
        Ok(futures_util::stream::unfold(stream, Stream::step).boxed())
    }

    async fn refusal(&self, mut response: Response, request: &Request) -> Error {
        let mut body = Vec::new();
        // A body that breaks off or does not end still says what it said so far.
        while let Ok(Ok(Some(bytes))) = tokio::time::timeout(self.timeout, response.chunk()).await {
            let room = MAX_REFUSAL_BYTES.saturating_sub(body.len());
            body.extend(bytes.into_iter().take(room));
            if body.len() == MAX_REFUSAL_BYTES {
                break;
            }
        }
        let refusal = Refusal::parse(&body);
        let words = refusal.describe(request, self.key.as_ref().map(Secret::expose));
        let status = response.status();
        let (kind, said) = match (status.is_success(), words.is_empty()) {
            (false, _) => {
                let reason = status.canonical_reason().unwrap_or("");
                let kind = refusal.kind(status, response.headers(), &self.vocabulary);
                (kind, format!("HTTP {} {reason} {words}", status.as_str()).replace("  ", " "))
            }
            (true, false) => (refusal.kind_in_stream(&self.vocabulary), words),
            (true, true) => (ErrorKind::Misconfigured, "answered, but not with a stream: check base_url".to_owned()),
        };
        error(&self.name, kind, said.trim_end())
    }
}

/// An answer that arrives.
struct Stream<D> {
    name: String,
    timeout: Duration,
    vocabulary: Vocabulary,
    n_bytes: usize,
    /// `None` when nothing more is to be read.
    response: Option<Response>,
    parser: sse::Parser,
    decode: D,
    ready: VecDeque<Result<Chunk, Error>>,
}

impl<D: Decode> Stream<D> {
    async fn step(mut self) -> Option<(Result<Chunk, Error>, Self)> {
        loop {
            if let Some(item) = self.ready.pop_front() {
                return Some((item, self));
            }
            let response = self.response.as_mut()?;
            let mut chunks = Vec::new();
            let result = match tokio::time::timeout(self.timeout, response.chunk()).await {
                Ok(Ok(Some(bytes))) => self.take_in(&bytes, &mut chunks),
                Ok(Ok(None)) => {
                    self.response = None;
                    self.decode.end(&mut chunks).map_err(|failure| self.error(&failure))
                }
                Ok(Err(error)) => Err(transient(&self.name, &cause(error))),
                Err(_) => Err(silent(&self.name, self.timeout)),
            };
            if result.is_err() || matches!(chunks.last(), Some(Chunk::Stop(_))) {
                self.response = None;
            }
            self.ready.extend(chunks.into_iter().map(Ok));
            self.ready.extend(result.err().map(Err));
        }
    }

    fn take_in(&mut self, bytes: &[u8], chunks: &mut Vec<Chunk>) -> Result<(), Error> {
        self.n_bytes += bytes.len();
        let mut events = Vec::new();
        let parsed = self.parser.push(bytes, &mut events);
        for event in &events {
            self.decode.event(event, chunks).map_err(|failure| self.error(&failure))?;
            if matches!(chunks.last(), Some(Chunk::Stop(_))) {
                return Ok(());
            }
        }
        if parsed.is_err() || self.n_bytes > MAX_ANSWER_BYTES {
            // Asking again would cost the same again.
            return Err(error(&self.name, ErrorKind::Permanent, "answer larger than any we accept"));
        }
        Ok(())
    }

    fn error(&self, failure: &Failure) -> Error {
        match failure {
            Failure::Malformed(what) => transient(&self.name, &format!("malformed answer: {what}")),
            // The sentence is left out: the conversation is no longer at hand to compare it with.
            Failure::Refused(refusal) => {
                let said = format!("broke off with an error: {}", refusal.labels());
                error(&self.name, refusal.kind_in_stream(&self.vocabulary), &said)
            }
        }
    }
}

fn error(name: &str, kind: ErrorKind, said: &str) -> Error {
    Error { kind, message: shortened(&format!("provider {name}: {said}"), MAX_MESSAGE_CHARS) }
}

fn transient(name: &str, said: &str) -> Error {
    error(name, ErrorKind::Transient { after: None }, said)
}

fn silent(name: &str, timeout: Duration) -> Error {
    transient(name, &format!("silent for {} s", timeout.as_secs()))
}

/// The error and what is behind it ("error sending request: … connection refused"), without the address.
fn cause(error: reqwest::Error) -> String {
    let error = error.without_url();
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(error) = source {
        text = format!("{text}: {error}");
        source = error.source();
    }
    text
}
