//! What a provider says when it does not answer, and what to make of it.

use std::time::Duration;

use reqwest::StatusCode;
use reqwest::header::{DATE, HeaderMap, RETRY_AFTER};
use serde_json::Value;

use super::{Content, ErrorKind, Request, shortened};

/// Longest text of the vendor that goes into our messages, in characters.
const MAX_VENDOR_CHARS: usize = 200;
/// Two texts that share this many characters in a row are taken for the same words.
const ECHO_CHARS: usize = 16;
/// A shorter text of the conversation is not looked for: "ok" is in many sentences.
const MIN_ECHO_CHARS: usize = 4;

/// The words of a dialect that mean more than the status they come with.
#[derive(Debug, Clone, Copy)]
pub(super) struct Vocabulary {
    /// Types and codes: the conversation does not fit.
    pub(super) too_long: &'static [&'static str],
    /// Part of a message, where the vendor has no code for a conversation that does not fit.
    pub(super) too_long_phrase: &'static str,
    /// Types and codes: no money; waiting for the next minute is of no use.
    pub(super) no_money: &'static [&'static str],
    /// Types that say, in a stream that had begun well, that the same request will fail again.
    pub(super) permanent: &'static [&'static str],
}

/// The body of a refusal, or an `error` in the middle of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Refusal {
    /// `error.type`.
    kind: Option<String>,
    /// `error.code`, or Anthropic's `error.details.error_code`.
    code: Option<String>,
    /// `error.message`. May repeat what was sent: see [`Refusal::describe`].
    message: Option<String>,
}

impl Refusal {
    /// Reads a whole body; one that is no JSON leaves nothing to say.
    pub(super) fn parse(body: &[u8]) -> Self {
        serde_json::from_slice(body)
            .map(|value: Value| Self::new(value.get("error").unwrap_or(&value)))
            .unwrap_or_default()
    }

    /// Reads the `error`: an object in most dialects, a sentence in Ollama's.
    pub(super) fn new(error: &Value) -> Self {
        let text = |pointer: &str| match error.pointer(pointer) {
            Some(Value::String(text)) => Some(text.clone()),
            Some(Value::Number(number)) => Some(number.to_string()),
            _ => None,
        };
        Self {
            kind: text("/type"),
            code: text("/details/error_code").or_else(|| text("/code")),
            message: error.as_str().map(str::to_owned).or_else(|| text("/message")),
        }
    }

    /// What to do about a refusal that came with a status.
    pub(super) fn kind(&self, status: StatusCode, headers: &HeaderMap, vocabulary: &Vocabulary) -> ErrorKind {
        let advice = headers.get("x-should-retry").and_then(|value| value.to_str().ok());
        match status.as_u16() {
            _ if self.is_too_long(vocabulary) => ErrorKind::TooLong,
            _ if self.says(vocabulary.no_money) => ErrorKind::Misconfigured,
            401..=405 => ErrorKind::Misconfigured,
            413 => ErrorKind::TooLong,
            _ if advice == Some("false") => ErrorKind::Permanent,
            408 | 409 | 425 | 429 | 500.. => ErrorKind::Transient { after: retry_after(headers) },
            _ if advice == Some("true") => ErrorKind::Transient { after: retry_after(headers) },
            _ => ErrorKind::Permanent,
        }
    }

    /// What to do about a refusal in a stream that had begun well.
    pub(super) fn kind_in_stream(&self, vocabulary: &Vocabulary) -> ErrorKind {
        let is_client_error =
            self.code.as_deref().and_then(|code| code.parse().ok()).is_some_and(|code: u16| matches!(code, 400..=407));
        if self.is_too_long(vocabulary) {
            ErrorKind::TooLong
        } else if self.says(vocabulary.no_money) {
            ErrorKind::Misconfigured
        } else if is_client_error || self.says(vocabulary.permanent) {
            ErrorKind::Permanent
        } else {
            ErrorKind::Transient { after: None }
        }
    }

    /// What the vendor said, for the operator.
    ///
    /// The sentence is often the only thing that helps ("model `x` not found"), and some servers quote in
    /// it what they choked on. So it is shown unless it shares words with the conversation; the key is
    /// taken out wherever it stands.
    pub(super) fn describe(&self, request: &Request, key: Option<&str>) -> String {
        let message = self.message.as_deref().map(one_line).map(|message| match key {
            Some(key) if !key.is_empty() => message.replace(key, "…"),
            _ => message,
        });
        match message {
            Some(message) if echoes(&message, request) => {
                format!("{} (its words repeat the conversation)", self.labels())
            }
            Some(message) => format!("{}: {}", self.labels(), shortened(&message, MAX_VENDOR_CHARS)),
            None => self.labels(),
        }
        .trim_start_matches([':', ' '])
        .to_owned()
    }

    /// Type and code: words of the vendor's documentation, never of the conversation.
    pub(super) fn labels(&self) -> String {
        let labels: Vec<String> =
            [&self.kind, &self.code].into_iter().flatten().map(|label| shortened(&one_line(label), 60)).collect();
        labels.join(" ")
    }

    fn is_too_long(&self, vocabulary: &Vocabulary) -> bool {
        self.says(vocabulary.too_long)
            || self.message.as_deref().is_some_and(|message| message.contains(vocabulary.too_long_phrase))
    }

    fn says(&self, words: &[&str]) -> bool {
        [&self.kind, &self.code].into_iter().flatten().any(|said| words.contains(&said.as_str()))
    }
}

/// Control characters would let a vendor write lines of our log.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Does `message` quote the conversation?
fn echoes(message: &str, request: &Request) -> bool {
    let starts: Vec<usize> = message.char_indices().map(|(at, _)| at).chain([message.len()]).collect();
    let windows: Vec<&str> = starts
        .iter()
        .zip(starts.iter().skip(ECHO_CHARS))
        .filter_map(|(start, end)| message.get(*start..*end))
        .take(MAX_VENDOR_CHARS)
        .collect();
    let contents = request.messages.iter().flat_map(|message| &message.content).map(|content| match content {
        Content::Text(text) | Content::ToolResult { text, .. } => one_line(text.trim()),
        Content::ToolUse { input, .. } => input.to_string(),
    });
    contents.chain([one_line(&request.memory)]).any(|text| {
        let n_chars = text.chars().count();
        let is_quoted_whole = (MIN_ECHO_CHARS..ECHO_CHARS).contains(&n_chars) && message.contains(&text);
        is_quoted_whole || windows.iter().any(|window| text.contains(window))
    })
}

/// How long the vendor wants us to wait: `retry-after-ms`, or `retry-after` in seconds or as a date. A
/// date counts from the response's own `date`, so that the two clocks need not agree.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    let milliseconds = text("retry-after-ms").and_then(|ms| ms.parse::<f64>().ok()).map(|ms| ms / 1000.0);
    let retry_after = text(RETRY_AFTER.as_str());
    let seconds = milliseconds.or_else(|| retry_after.and_then(|seconds| seconds.parse().ok()));
    if let Some(seconds) = seconds {
        return Duration::try_from_secs_f64(seconds).ok();
    }
    let until = httpdate::parse_http_date(retry_after?).ok()?;
    let now = httpdate::parse_http_date(text(DATE.as_str())?).ok()?;
    Some(until.duration_since(now).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::provider::{Message, Role};

    const VOCABULARY: Vocabulary = Vocabulary {
        too_long: &["context_length_exceeded"],
        too_long_phrase: "prompt is too long",
        no_money: &["insufficient_quota"],
        permanent: &["authentication_error"],
    };
    const TRANSIENT: ErrorKind = ErrorKind::Transient { after: None };

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (name.parse().unwrap(), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_status_says_what_to_do_and_some_words_overrule_it() {
        let check = |status: u16, body: &str, expected: ErrorKind| {
            let status = StatusCode::from_u16(status).unwrap();
            let kind = Refusal::parse(body.as_bytes()).kind(status, &HeaderMap::new(), &VOCABULARY);
            assert_eq!(kind, expected, "{status} {body}");
        };
        check(400, "{}", ErrorKind::Permanent);
        check(401, "", ErrorKind::Misconfigured);
        check(402, "{}", ErrorKind::Misconfigured);
        check(404, "<html>", ErrorKind::Misconfigured);
        for status in [408, 409, 429, 500, 502, 503, 529] {
            check(status, "{}", TRANSIENT);
        }
        check(413, "{}", ErrorKind::TooLong);
        check(400, r#"{"error":{"code":"context_length_exceeded"}}"#, ErrorKind::TooLong);
        check(400, r#"{"error":{"message":"prompt is too long: 9 tokens"}}"#, ErrorKind::TooLong);
        check(429, r#"{"error":{"code":"insufficient_quota"}}"#, ErrorKind::Misconfigured);
        check(429, r#"{"error":{"details":{"error_code":"insufficient_quota"}}}"#, ErrorKind::Misconfigured);
    }

    #[test]
    fn the_server_may_overrule_its_own_status() {
        let check = |status: StatusCode, advice: &str, expected: ErrorKind| {
            let headers = headers(&[("x-should-retry", advice)]);
            assert_eq!(Refusal::default().kind(status, &headers, &VOCABULARY), expected);
        };
        check(StatusCode::INTERNAL_SERVER_ERROR, "false", ErrorKind::Permanent);
        check(StatusCode::BAD_REQUEST, "true", TRANSIENT);
    }

    #[test]
    fn errors_in_a_stream_are_transient_unless_they_name_a_lasting_cause() {
        let check = |error: Value, expected: ErrorKind| {
            assert_eq!(Refusal::new(&error).kind_in_stream(&VOCABULARY), expected, "{error}");
        };
        check(serde_json::json!({"type": "overloaded_error"}), TRANSIENT);
        check(serde_json::json!({"type": "server_error", "code": 500}), TRANSIENT);
        check(serde_json::json!("model runner has unexpectedly stopped"), TRANSIENT);
        check(serde_json::json!({"type": "authentication_error"}), ErrorKind::Permanent);
        check(serde_json::json!({"code": 400}), ErrorKind::Permanent);
        check(serde_json::json!({"code": "context_length_exceeded"}), ErrorKind::TooLong);
    }

    #[test]
    fn waits_are_read_as_milliseconds_seconds_or_dates() {
        let check = |pairs: &[(&'static str, &str)], expected: Option<f64>| {
            assert_eq!(retry_after(&headers(pairs)), expected.map(Duration::from_secs_f64), "{pairs:?}");
        };
        check(&[], None);
        check(&[("retry-after", "7")], Some(7.0));
        check(&[("retry-after", "1.5")], Some(1.5));
        check(&[("retry-after", "7"), ("retry-after-ms", "250")], Some(0.25));
        check(&[("retry-after", "-1")], None);
        check(&[("retry-after", "NaN")], None);
        check(&[("retry-after", "soon")], None);
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        check(&[("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT"), date], Some(30.0));
        check(&[("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT"), date], Some(0.0));
        check(&[("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT")], None);
    }

    #[test]
    fn the_vendors_words_are_shown_without_key_and_conversation() {
        let request = Request {
            messages: vec![
                Message::text(Role::User, "My tooth hurts since yesterday"),
                Message::text(Role::User, "1234"),
            ],
            ..Request::default()
        };
        let check = |error: Value, expected: &str| {
            assert_eq!(Refusal::new(&error).describe(&request, Some("sk-secret")), expected);
        };
        check(serde_json::json!({"type": "t", "code": 7, "message": "no model `x`"}), "t 7: no model `x`");
        check(serde_json::json!({"type": "t", "message": "bad key sk-secret\nreally"}), "t: bad key … really");
        check(serde_json::json!("loading model"), "loading model");
        check(serde_json::json!({"type": "t"}), "t");
        check(serde_json::json!({}), "");
        let withheld = "t (its words repeat the conversation)";
        check(serde_json::json!({"type": "t", "message": "cannot read 'tooth hurts since yest'"}), withheld);
        check(serde_json::json!({"type": "t", "message": "cannot read 1234"}), withheld);
        let long = Refusal::new(&serde_json::json!({"message": "ä".repeat(500)})).describe(&request, None);
        assert_eq!(long.chars().count(), MAX_VENDOR_CHARS);
    }
}
