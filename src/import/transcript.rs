//! What was said: from the events of a session to lines. Pure.
//!
//! An event is one line of a JSONL file, or one row of `transcript_events`; both hold the same JSON. Events
//! form a tree by `parentId`; what counts is the way from the last one back to the first. What a model did
//! beside speaking (tools, thinking, summaries) is counted and left out.

use std::collections::{BTreeMap, HashMap};

use serde::Deserialize;

use super::Report;
use crate::clock::Timestamp;

/// Longest event that is read, in bytes; longer ones hold files, not words.
pub(super) const MAX_EVENT_BYTES: usize = 4 * 1024 * 1024;
/// Most text of one session, in bytes: it is filed in one transaction. The newest lines are kept.
const MAX_TEXT_BYTES: usize = 8 * 1024 * 1024;
/// Most lines of one session.
const MAX_LINES: usize = 50_000;
/// Text that is held while a session is read: more than is kept, because some of it lies on abandoned branches.
const MAX_HELD_BYTES: usize = 4 * MAX_TEXT_BYTES;
/// Most events of one session.
const MAX_EVENTS: usize = 500_000;
/// Said of both.
const LONG: &str = "the oldest lines of a very long session are not carried";

/// Who said a line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Said {
    /// A peer; the id is the vendor's, where it was noted.
    Peer {
        /// As the vendor writes it.
        user: Option<String>,
        /// For display.
        name: Option<String>,
    },
    /// The agent.
    Agent,
}

/// One line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// When.
    pub at: Timestamp,
    /// Who.
    pub said: Said,
    /// The vendor's id of the message where it was noted, else the id of the event.
    pub message_id: String,
    /// What.
    pub text: String,
}

/// A session's lines.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Transcript {
    /// Oldest first.
    pub lines: Vec<Line>,
    /// What was left out of them.
    pub report: Report,
}

/// Collects the events of one session, in the order of the file.
#[derive(Debug, Default)]
pub(super) struct Reader {
    events: Vec<Kept>,
    /// Where the event of an id stands.
    places: HashMap<String, usize>,
    /// Of the lines that are held.
    n_bytes: usize,
    /// Events at the front whose lines were let go.
    n_let_go: usize,
    left: BTreeMap<&'static str, u64>,
}

/// An event, as much of it as is needed.
#[derive(Debug)]
struct Kept {
    parent: Option<String>,
    /// `None`: nothing was said.
    line: Option<Line>,
    /// What it is besides.
    left: Vec<&'static str>,
}

impl Reader {
    /// Takes an event. What cannot be read is counted: a file may have been cut off, or damaged in the middle.
    pub(super) fn push(&mut self, json: &[u8]) {
        if json.iter().all(u8::is_ascii_whitespace) {
            return;
        }
        if self.events.len() >= MAX_EVENTS {
            return self.leave("events after the first half million are not carried");
        }
        if json.len() > MAX_EVENT_BYTES {
            return self.leave("events of more than 4 MiB are not carried");
        }
        match serde_json::from_slice::<Event>(json) {
            Ok(event) => self.take(event),
            Err(_) => self.leave("events that cannot be read are not carried"),
        }
    }

    /// Counts an event that was too long to be read at all.
    pub(super) fn leave(&mut self, what: &'static str) {
        *self.left.entry(what).or_default() += 1;
    }

    fn take(&mut self, event: Event) {
        let at = event.message.as_ref().and_then(|message| time(message.timestamp.as_ref()));
        let at = at.or_else(|| time(event.timestamp.as_ref())).unwrap_or(Timestamp(0));
        let mut left = Vec::new();
        let line = match (event.kind.as_str(), event.message) {
            ("message", Some(message)) => message.line(at, event.id.as_deref(), &mut left),
            ("compaction" | "branch_summary", _) => {
                left.push("summaries (compaction) are not carried: the words they summarise are");
                None
            }
            _ => None,
        };
        self.n_bytes = self.n_bytes.saturating_add(line.as_ref().map_or(0, |line| line.text.len()));
        if let Some(id) = event.id {
            self.places.insert(id, self.events.len());
        }
        self.events.push(Kept { parent: event.parent_id, line, left });
        while self.n_bytes > MAX_HELD_BYTES {
            let Some(oldest) = self.events.get_mut(self.n_let_go) else { break };
            self.n_let_go += 1;
            if let Some(line) = oldest.line.take() {
                self.n_bytes -= line.text.len();
                self.leave(LONG);
            }
        }
    }

    /// The lines, oldest first.
    pub(super) fn finish(self) -> Transcript {
        let Self { mut events, places, mut left, n_bytes: _, n_let_go: _ } = self;
        let is_active = active(&events, &places);
        let mut lines = Vec::new();
        for (event, is_active) in events.iter_mut().zip(is_active) {
            if is_active {
                event.left.iter().for_each(|what| *left.entry(what).or_default() += 1);
                lines.extend(event.line.take());
            } else if event.line.is_some() {
                *left.entry("lines of abandoned branches are not carried").or_default() += 1;
            }
        }
        // Without a time of its own, a line was said when the one before was.
        let mut before = Timestamp(0);
        for line in &mut lines {
            if line.at == Timestamp(0) {
                line.at = before;
            }
            before = line.at;
        }
        let mut n_bytes = 0_usize;
        let is_kept = |line: &Line| {
            n_bytes = n_bytes.saturating_add(line.text.len());
            n_bytes <= MAX_TEXT_BYTES
        };
        let n_kept = lines.iter().rev().take(MAX_LINES).map(is_kept).take_while(|is_kept| *is_kept).count();
        let n_dropped = lines.len().saturating_sub(n_kept);
        lines.drain(..n_dropped);
        let mut report = Report::default();
        left.into_iter().for_each(|(what, n)| report.left_times(what, n));
        let n_dropped = u64::try_from(n_dropped).unwrap_or(u64::MAX);
        report.left_times(LONG, n_dropped);
        Transcript { lines, report }
    }
}

/// Which events lie on the way from the last one back. Where it breaks off, everything before counts.
fn active(events: &[Kept], places: &HashMap<String, usize>) -> Vec<bool> {
    let mut is_active = vec![false; events.len()];
    let mut at = events.len().checked_sub(1);
    while let Some(n) = at {
        let Some(slot) = is_active.get_mut(n) else { break };
        *slot = true;
        let parent = events.get(n).and_then(|event| event.parent.as_ref());
        at = match parent.and_then(|parent| places.get(parent)) {
            // A parent lies in front of its child; anything else is no tree, and could go round for ever.
            Some(place) if *place < n => Some(*place),
            _ => n.checked_sub(1),
        };
    }
    is_active
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Event {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default, deserialize_with = "lenient")]
    id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    parent_id: Option<String>,
    timestamp: Option<serde_json::Value>,
    message: Option<Message>,
}

#[derive(Debug, Deserialize)]
struct Message {
    #[serde(default)]
    role: String,
    #[serde(default)]
    content: Content,
    timestamp: Option<serde_json::Value>,
    #[serde(rename = "__openclaw", default)]
    noted: Noted,
}

/// What later releases note beside the words.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Noted {
    #[serde(deserialize_with = "lenient")]
    sender_id: Option<String>,
    #[serde(deserialize_with = "lenient")]
    sender_name: Option<String>,
    transport: Transport,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Transport {
    #[serde(deserialize_with = "lenient")]
    message_id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Content {
    Text(String),
    Blocks(Vec<Block>),
    Other(serde::de::IgnoredAny),
}

impl Default for Content {
    fn default() -> Self {
        Self::Text(String::new())
    }
}

#[derive(Debug, Deserialize)]
struct Block {
    #[serde(rename = "type", default)]
    kind: String,
    #[serde(default)]
    text: String,
}

/// A text, or a number as text; anything else is as good as absent.
pub(super) fn lenient<'de, D: serde::Deserializer<'de>>(value: D) -> Result<Option<String>, D::Error> {
    Ok(match serde_json::Value::deserialize(value)? {
        serde_json::Value::String(text) if !text.is_empty() => Some(text),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    })
}

fn time(value: Option<&serde_json::Value>) -> Option<Timestamp> {
    match value? {
        serde_json::Value::Number(ms) => ms.as_u64().map(Timestamp),
        serde_json::Value::String(text) => {
            let at: jiff::Timestamp = text.parse().ok()?;
            u64::try_from(at.as_millisecond()).ok().map(Timestamp)
        }
        _ => None,
    }
}

impl Message {
    fn line(self, at: Timestamp, id: Option<&str>, left: &mut Vec<&'static str>) -> Option<Line> {
        let text = self.content.text(left);
        let said = match self.role.as_str() {
            "user" => Said::Peer { user: None, name: None },
            "assistant" => Said::Agent,
            "toolResult" | "tool" => {
                left.push("results of tools are not carried");
                return None;
            }
            _ => return None,
        };
        let mut line = Line { at, said, message_id: id.unwrap_or("unknown").to_owned(), text };
        if self.role == "user" {
            let (sender, text) = strip_metadata(&line.text);
            let Noted { sender_id, sender_name, transport } = self.noted;
            line.said = Said::Peer { user: sender_id.or(sender.id), name: sender_name.or(sender.name) };
            line.message_id = transport.message_id.or(sender.message_id).unwrap_or(line.message_id);
            line.text = text.to_owned();
        } else if matches!(line.text.trim(), "NO_REPLY" | "HEARTBEAT_OK") {
            left.push("silent answers are not carried: nobody saw them");
            return None;
        }
        (!line.text.trim().is_empty()).then_some(line)
    }
}

impl Content {
    fn text(self, left: &mut Vec<&'static str>) -> String {
        let blocks = match self {
            Self::Text(text) => return text,
            Self::Blocks(blocks) => blocks,
            Self::Other(_) => return String::new(),
        };
        let mut texts = Vec::new();
        for block in blocks {
            match block.kind.as_str() {
                "text" => texts.push(block.text),
                "toolCall" | "tool_use" | "toolUse" => left.push("calls of tools are not carried"),
                "image" | "audio" | "file" | "document" => left.push("pictures and files are not carried"),
                // Thinking was never said.
                _ => {}
            }
        }
        texts.join("\n")
    }
}

/// Who wrote a message, as OpenClaw put it in front of the words.
#[derive(Debug, Default, PartialEq, Eq)]
struct Sender {
    id: Option<String>,
    name: Option<String>,
    message_id: Option<String>,
}

#[derive(Deserialize)]
struct Conversation {
    #[serde(default, deserialize_with = "lenient")]
    message_id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    sender_id: Option<String>,
    #[serde(default, deserialize_with = "lenient")]
    sender: Option<String>,
}

/// What releases up to the middle of 2026 put in front of a peer's words.
const TITLES: [&str; 6] = [
    "Conversation info (untrusted metadata):",
    "Sender (untrusted metadata):",
    "Thread starter (untrusted, for context):",
    "Replied message (untrusted, for context):",
    "Forwarded message context (untrusted metadata):",
    "Chat history since last reply (untrusted, for context):",
];
/// How later releases end such a title; `openclaw doctor` rewrites the older ones so.
const MARK: &str = ": \u{27e6}openclaw:ctx\u{27e7}";

/// Splits what OpenClaw put in front of the words from the words. A peer can write the same at the front of
/// their own: what OpenClaw wrote stands before it, and each block is taken once.
fn strip_metadata(text: &str) -> (Sender, &str) {
    let mut sender = Sender::default();
    let mut taken: Vec<&str> = Vec::new();
    let mut rest = text;
    while let Some((title, after)) = rest.split_once('\n') {
        let name = match title.strip_suffix(MARK) {
            Some(name) => name,
            None if TITLES.contains(&title) => title.split(" (").next().unwrap_or(title),
            None => break,
        };
        let Some((body, after)) = fenced(after).filter(|_| !taken.contains(&name)) else { break };
        taken.push(name);
        if name == "Conversation info"
            && let Ok(noted) = serde_json::from_str::<Conversation>(body)
        {
            sender = Sender { id: noted.sender_id, name: noted.sender, message_id: noted.message_id };
        }
        rest = after;
    }
    (sender, rest)
}

/// What stands in a fence at the front, and what follows it.
fn fenced(text: &str) -> Option<(&str, &str)> {
    let body = text.strip_prefix("```json\n")?;
    let (body, after) = body.split_once("\n```")?;
    Some((body, after.trim_start_matches('\n')))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(events: &[&str]) -> Transcript {
        let mut reader = Reader::default();
        events.iter().for_each(|event| reader.push(event.as_bytes()));
        reader.finish()
    }

    #[track_caller]
    fn check(events: &[&str], expected: &[&str], left: &[&str]) {
        let transcript = read(events);
        let said = |line: &Line| match &line.said {
            Said::Agent => format!("{} agent: {}", line.at.0, line.text),
            Said::Peer { user, .. } => format!("{} {}: {}", line.at.0, user.as_deref().unwrap_or("peer"), line.text),
        };
        assert_eq!(transcript.lines.iter().map(said).collect::<Vec<_>>(), expected);
        assert_eq!(transcript.report.all_left(), left);
    }

    const ONE: &str = r#"{"type":"message","id":"1","message":{"role":"user","content":"one","timestamp":10}}"#;
    const TWO: &str = r#"{"type":"message","id":"2","parentId":"1","timestamp":"1970-01-01T00:00:00.020Z","message":{"role":"assistant","content":[{"type":"thinking","thinking":"hm"},{"type":"text","text":"two"},{"type":"toolCall","id":"c"}]}}"#;

    #[test]
    fn words_are_carried_and_the_rest_is_counted() {
        let result = r#"{"type":"message","id":"3","parentId":"2","message":{"role":"toolResult","content":[{"type":"text","text":"x"}]}}"#;
        let summary = r#"{"type":"compaction","id":"4","parentId":"3","summary":"they spoke"}"#;
        check(
            &[r#"{"type":"session","version":3,"id":"s"}"#, ONE, TWO, result, summary],
            &["10 peer: one", "20 agent: two"],
            &[
                "calls of tools are not carried",
                "results of tools are not carried",
                "summaries (compaction) are not carried: the words they summarise are",
            ],
        );
    }

    #[test]
    fn what_is_broken_in_the_middle_costs_only_itself() {
        check(
            &[ONE, "{\"type\":\"mess", "\u{0}\u{1}", "null", "[]", "", TWO],
            &["10 peer: one", "20 agent: two"],
            &["calls of tools are not carried", "events that cannot be read are not carried (4 times)"],
        );
    }

    #[test]
    fn an_abandoned_branch_is_left_and_a_loop_ends() {
        let other = r#"{"type":"message","id":"3","parentId":"1","message":{"role":"assistant","content":"three","timestamp":30}}"#;
        check(
            &[ONE, TWO, other],
            &["10 peer: one", "30 agent: three"],
            &["lines of abandoned branches are not carried"],
        );
        let loops =
            r#"{"type":"message","id":"9","parentId":"9","message":{"role":"user","content":"x","timestamp":1}}"#;
        check(&[loops, loops], &["1 peer: x", "1 peer: x"], &[]);
    }

    #[test]
    fn endless_events_and_sessions_are_cut() {
        let long =
            format!(r#"{{"type":"message","message":{{"role":"user","content":"{}"}}}}"#, "x".repeat(MAX_EVENT_BYTES));
        check(&[&long, ONE], &["10 peer: one"], &["events of more than 4 MiB are not carried"]);
        let half = format!(
            r#"{{"type":"message","message":{{"role":"user","content":"{}"}}}}"#,
            "y".repeat(MAX_EVENT_BYTES - 100)
        );
        let transcript = read(&[ONE, &half, &half, &half, ONE]);
        assert_eq!(transcript.lines.len(), 3);
        assert_eq!(transcript.report.all_left(), [format!("{LONG} (2 times)")]);
    }

    #[test]
    fn a_line_without_a_time_has_that_of_the_one_before() {
        let bare = r#"{"type":"message","message":{"role":"user","content":"when","timestamp":"no time"}}"#;
        check(&[bare, ONE, bare], &["0 peer: when", "10 peer: one", "10 peer: when"], &[]);
    }

    #[test]
    fn silence_and_emptiness_are_no_lines() {
        let silent =
            r#"{"type":"message","message":{"role":"assistant","content":[{"type":"text","text":"NO_REPLY"}]}}"#;
        let empty = r#"{"type":"message","message":{"role":"user","content":[]}}"#;
        check(&[silent, empty], &[], &["silent answers are not carried: nobody saw them"]);
    }

    fn user(content: &str, noted: &str) -> Line {
        let content = serde_json::Value::from(content);
        let event = format!(
            r#"{{"type":"message","id":"e","message":{{"role":"user","content":{content},"timestamp":1{noted}}}}}"#
        );
        read(&[&event]).lines.remove(0)
    }

    #[test]
    fn the_sender_in_front_of_the_words_is_taken_off() {
        let info = "Conversation info (untrusted metadata):\n```json\n{\"message_id\": \"7\", \"sender_id\": \"42\", \"sender\": \"Bob 😀\"}\n```\n\n";
        let sender = "Sender (untrusted metadata):\n```json\n{\"id\": \"42\"}\n```\n\n";
        let line = user(&format!("{info}{sender}Grüezi\n\nsecond"), "");
        assert_eq!((line.text.as_str(), line.message_id.as_str()), ("Grüezi\n\nsecond", "7"));
        assert_eq!(line.said, Said::Peer { user: Some("42".into()), name: Some("Bob 😀".into()) });
        let later = format!("{info}{sender}hi").replace(" (untrusted metadata):", MARK);
        assert_eq!(user(&later, ""), Line { text: "hi".into(), ..line });
        // What the peer wrote themselves stays in their words.
        let forged = info.replace("42", "1");
        assert_eq!(user(&format!("{info}{forged}hi"), "").text, format!("{forged}hi"));
        assert_eq!(user("Sender (untrusted metadata):\nhi", "").text, "Sender (untrusted metadata):\nhi");
    }

    #[test]
    fn the_sender_that_later_releases_note_counts() {
        let noted = r#","__openclaw":{"senderId":42,"senderName":"Bob","transport":{"messageId":"503"}}"#;
        let line = user("hello", noted);
        assert_eq!(line.said, Said::Peer { user: Some("42".into()), name: Some("Bob".into()) });
        assert_eq!(line.message_id, "503");
    }
}
