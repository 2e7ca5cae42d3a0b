//! What goes over the wire, as the module's head describes it.

use std::time::Duration;

use aws_lc_rs::digest;
use axum::extract::ws::Utf8Bytes;
use serde::{Deserialize, Serialize};

use crate::channel::{History, HistoryLine, Reply};

/// Longest text of one message, in bytes of UTF-8.
pub(super) const MAX_TEXT_BYTES: usize = 16 * 1024;
/// Longest frame or body. JSON may write one byte of text as six.
pub(super) const MAX_FRAME_BYTES: usize = 6 * MAX_TEXT_BYTES + 1024;

/// A message of the visitor, as the page sends it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub(super) struct Draft {
    /// Random, chosen by the page.
    pub(super) id: String,
    pub(super) text: String,
}

/// One frame from the page.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum FromPage {
    /// The first frame: the last line that the page has.
    Hello {
        #[serde(default)]
        after: Option<u64>,
    },
    Message(Draft),
}

/// One event for the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ToPage {
    History {
        lines: Vec<Line>,
        /// Where to ask from the next time.
        last: u64,
        /// What the page has was erased.
        fresh: bool,
        /// What was streamed so far of an answer that is being made.
        draft: Option<String>,
    },
    Accepted {
        id: String,
        text: String,
        /// Milliseconds since 1970.
        at: u64,
    },
    Refused {
        id: String,
        reason: Refusal,
        #[serde(skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    Message {
        seq: u64,
        delivery: String,
        /// Ids of the messages that it answers.
        answers: Vec<String>,
        text: String,
    },
    Typing,
    Delta {
        text: String,
    },
    Reset,
    Beat,
}

/// Why a message was not taken. The page has the words for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Refusal {
    /// Nothing was written, or the id is none.
    Invalid,
    /// More than [`MAX_TEXT_BYTES`].
    TooLong,
    /// Too many in a short time; `retry_after_ms` says when the next one is welcome.
    TooFast,
    /// The gateway cannot take it now; `retry_after_ms` says when to try again.
    Unavailable,
    /// The gateway does not want it.
    Refused,
}

/// One line of the history.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub(super) struct Line {
    seq: Option<u64>,
    from: Speaker,
    id: Option<String>,
    at: u64,
    text: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum Speaker {
    Agent,
    You,
}

impl ToPage {
    pub(super) fn history(history: History, draft: Option<String>) -> Self {
        let History { lines, last, is_fresh: fresh } = history;
        Self::History { lines: lines.into_iter().map(Into::into).collect(), last, fresh, draft }
    }

    pub(super) fn message(reply: &Reply) -> Self {
        // A delivery's id may hold the session key, which is not the page's business.
        let digest = digest::digest(&digest::SHA256, reply.delivery_id.as_bytes());
        let delivery = digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        let answers = reply.answers.iter().map(|id| page_id(id.as_str().to_owned())).collect();
        Self::Message { seq: reply.seq, delivery, answers, text: reply.text.clone() }
    }

    pub(super) fn refused(id: String, reason: Refusal, retry_after: Option<Duration>) -> Self {
        let retry_after_ms = retry_after.map(|wait| u64::try_from(wait.as_millis()).unwrap_or(u64::MAX));
        Self::Refused { id, reason, retry_after_ms }
    }

    /// As it is sent. Cheap to clone, so one event is written once for all tabs.
    pub(super) fn encode(&self) -> Utf8Bytes {
        // Strings, numbers and options have no way to fail.
        serde_json::to_string(self).unwrap_or_default().into()
    }
}

impl From<HistoryLine> for Line {
    fn from(line: HistoryLine) -> Self {
        let from = if line.from_agent { Speaker::Agent } else { Speaker::You };
        Self { seq: line.seq, from, id: line.message_id.map(page_id), at: line.at.0, text: line.text }
    }
}

/// The id that the page chose: what follows the visitor's own.
fn page_id(message_id: String) -> String {
    match message_id.split_once('/') {
        Some((_, id)) => id.to_owned(),
        None => message_id,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;
    use crate::id::OpaqueId;

    #[test]
    fn events_are_written_as_documented() {
        let check = |event: ToPage, expected: &str| assert_eq!(event.encode().as_str(), expected);
        check(ToPage::Typing, r#"{"type":"typing"}"#);
        check(ToPage::Delta { text: "a\"<b>".into() }, r#"{"type":"delta","text":"a\"<b>"}"#);
        check(
            ToPage::refused("m1".into(), Refusal::TooFast, Some(Duration::from_secs(3))),
            r#"{"type":"refused","id":"m1","reason":"too_fast","retry_after_ms":3000}"#,
        );
        check(
            ToPage::refused("m1".into(), Refusal::TooLong, None),
            r#"{"type":"refused","id":"m1","reason":"too_long"}"#,
        );
        let line = HistoryLine {
            seq: None,
            from_agent: false,
            message_id: Some("m1".into()),
            at: Timestamp(5),
            text: "hi".into(),
        };
        check(
            ToPage::history(History { lines: vec![line], last: 4, is_fresh: false }, None),
            r#"{"type":"history","lines":[{"seq":null,"from":"you","id":"m1","at":5,"text":"hi"}],"last":4,"fresh":false,"draft":null}"#,
        );
    }

    #[test]
    fn a_reply_tells_the_page_its_number_what_it_answers_and_the_text() {
        let reply = Reply {
            delivery_id: "webchat:anon_1/7".into(),
            target: "anon_1".into(),
            session_key: Some("webchat:anon_1".into()),
            in_reply_to: OpaqueId::new("m1").unwrap(),
            answers: vec![OpaqueId::new("anon_1/m0").unwrap(), OpaqueId::new("anon_1/m1").unwrap()],
            text: "hello".into(),
            seq: 7,
        };
        let text = ToPage::message(&reply).encode();
        assert!(text.starts_with(r#"{"type":"message","seq":7,"delivery":""#), "{text}");
        assert!(text.ends_with(r#","answers":["m0","m1"],"text":"hello"}"#), "{text}");
        assert!(!text.contains("anon_1"), "{text}");
    }

    #[test]
    fn frames_of_the_page_are_read() {
        let check = |text, expected: Option<FromPage>| {
            assert_eq!(serde_json::from_str::<FromPage>(text).ok(), expected, "{text}");
        };
        check(r#"{"type":"hello"}"#, Some(FromPage::Hello { after: None }));
        check(r#"{"type":"hello","after":3}"#, Some(FromPage::Hello { after: Some(3) }));
        let message = FromPage::Message(Draft { id: "m".into(), text: "t".into() });
        check(r#"{"type":"message","id":"m","text":"t"}"#, Some(message));
        for text in [r#"{"type":"hello","after":-1}"#, r#"{"type":"admin"}"#, r#"{"type":"message","id":1}"#, "[]"] {
            check(text, None);
        }
    }
}
