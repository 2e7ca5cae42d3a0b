//! The log of this process: its last lines, in memory, and the secrets that no line may show.
//!
//! The log is one for the process, as `tracing`'s subscriber is, so this is too. Where lines go besides is `cli`'s. Nothing
//! here is written to the disk, and nothing outlives the process.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::io;
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError, RwLock};

use tokio::sync::watch;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::Context;

use crate::clock::{Clock as _, SystemClock, Timestamp};
use crate::document::Secret;

/// What the lines that are kept may take together, in bytes.
const MAX_BYTES: usize = 512 * 1024;
/// Longest text of a line or of one of its fields, in bytes.
const MAX_TEXT_BYTES: usize = 4 * 1024;
/// What a line costs besides its texts, about.
const LINE_BYTES: usize = 160;
/// Shorter secrets would make holes in everything. Nothing that keeps somebody out is that short.
const MIN_SECRET_BYTES: usize = 6;
/// Secrets that are known at most. Old ones stay known, and a configuration has few.
const MAX_SECRETS: usize = 10_000;
/// Stands for a secret.
const MASK: &str = "[secret]";

/// A line of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line {
    /// Its number since the start, from 1.
    pub number: u64,
    /// When.
    pub at: Timestamp,
    /// How bad.
    pub level: Level,
    /// Which part of the program.
    pub target: String,
    /// The sentence.
    pub message: String,
    /// Names and values.
    pub fields: Vec<(&'static str, String)>,
}

/// Which lines.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// This bad or worse; `None`: all.
    pub level: Option<Level>,
    /// All of these words are in it, in upper or lower case.
    pub words: String,
    /// Behind this number.
    pub after: u64,
}

impl Filter {
    fn admits(&self, line: &Line) -> bool {
        if line.number <= self.after || self.level.is_some_and(|level| line.level > level) {
            return false;
        }
        let mut words = self.words.split_whitespace().peekable();
        if words.peek().is_none() {
            return true;
        }
        let text = line.to_string().to_lowercase();
        words.all(|word| text.contains(&word.to_lowercase()))
    }
}

impl fmt::Display for Line {
    /// As it stands on a terminal, without time and number.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>5} {}: {}", self.level, self.target, self.message)?;
        self.fields.iter().try_for_each(|(name, value)| write!(f, " {name}={value}"))
    }
}

impl Line {
    fn n_bytes(&self) -> usize {
        let fields: usize = self.fields.iter().map(|(name, value)| name.len() + value.len() + LINE_BYTES / 2).sum();
        LINE_BYTES + self.target.len() + self.message.len() + fields
    }
}

/// The last lines.
#[derive(Debug)]
struct Ring {
    lines: VecDeque<Arc<Line>>,
    n_bytes: usize,
    last: u64,
}

impl Ring {
    const fn new() -> Self {
        Self { lines: VecDeque::new(), n_bytes: 0, last: 0 }
    }

    fn push(&mut self, mut line: Line) {
        self.last += 1;
        line.number = self.last;
        self.n_bytes += line.n_bytes();
        self.lines.push_back(Arc::new(line));
        while self.n_bytes > MAX_BYTES
            && let Some(oldest) = self.lines.pop_front()
        {
            self.n_bytes -= oldest.n_bytes();
        }
    }

    /// The newest that the filter admits, at most so many, oldest first.
    fn last(&self, filter: &Filter, limit: usize) -> Vec<Arc<Line>> {
        let newest = self.lines.iter().rev().take_while(|line| line.number > filter.after);
        let mut found: Vec<_> = newest.filter(|line| filter.admits(line)).take(limit).cloned().collect();
        found.reverse();
        found
    }
}

static RING: Mutex<Ring> = Mutex::new(Ring::new());
static NEWS: LazyLock<watch::Sender<u64>> = LazyLock::new(|| watch::Sender::new(0));
static SECRETS: RwLock<Vec<String>> = RwLock::new(Vec::new());

fn ring() -> MutexGuard<'static, Ring> {
    RING.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The newest lines that the filter admits, at most `limit`, oldest first.
#[must_use]
pub fn last(filter: &Filter, limit: usize) -> Vec<Arc<Line>> {
    ring().last(filter, limit)
}

/// Number of the newest line, and later of each that comes.
#[must_use]
pub fn news() -> watch::Receiver<u64> {
    NEWS.subscribe()
}

/// From now on no line shows these. Those that are shorter than six bytes cannot be told from other text.
pub fn hide<'s>(secrets: impl IntoIterator<Item = &'s Secret>) {
    let mut known = SECRETS.write().unwrap_or_else(PoisonError::into_inner);
    for secret in secrets {
        for text in shapes(secret.expose()) {
            if text.len() >= MIN_SECRET_BYTES && known.len() < MAX_SECRETS && !known.contains(&text) {
                known.push(text);
            }
        }
    }
    // One may be a part of another.
    known.sort_by(|one, other| other.len().cmp(&one.len()).then_with(|| one.cmp(other)));
}

/// How a text may stand in a line: as it is, in quotes of Rust or JSON, in an address.
fn shapes(text: &str) -> Vec<String> {
    let mut in_address = String::new();
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => in_address.push(char::from(byte)),
            byte => drop(write!(in_address, "%{byte:02X}")),
        }
    }
    let debug = format!("{text:?}");
    let json = serde_json::Value::from(text).to_string();
    let inner = |quoted: &str| quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default().to_owned();
    let mut shapes = vec![text.to_owned(), inner(&debug), inner(&json), in_address];
    // Several lines may be logged one by one.
    shapes.extend(text.lines().filter(|_| text.contains('\n')).map(str::to_owned));
    shapes
}

/// The text without what [`hide`] was told.
#[must_use]
pub fn masked(text: &str) -> Cow<'_, str> {
    let known = SECRETS.read().unwrap_or_else(PoisonError::into_inner);
    let mut masked = Cow::Borrowed(text);
    for secret in &*known {
        if masked.contains(secret.as_str()) {
            masked = Cow::Owned(masked.replace(secret.as_str(), MASK));
        }
    }
    masked
}

/// Writes lines without the secrets that [`hide`] was told. Each call of `write` must have whole lines.
#[derive(Debug, Clone, Copy)]
pub struct Masked<W>(pub W);

impl<W: io::Write> io::Write for Masked<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let text = String::from_utf8_lossy(bytes);
        self.0.write_all(masked(&text).as_bytes())?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Keeps every event as a line, and hands it to whoever else wants it.
pub struct Keep {
    also: Option<Box<Also>>,
}

type Also = dyn Fn(&Line) + Send + Sync;

impl Keep {
    /// Keeps them and does nothing else.
    #[must_use]
    pub fn alone() -> Self {
        Self { also: None }
    }

    /// Hands each line on.
    #[must_use]
    pub fn and(also: impl Fn(&Line) + Send + Sync + 'static) -> Self {
        Self { also: Some(Box::new(also)) }
    }
}

impl fmt::Debug for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keep").finish_non_exhaustive()
    }
}

impl<S: Subscriber> tracing_subscriber::Layer<S> for Keep {
    fn on_event(&self, event: &Event<'_>, _context: Context<'_, S>) {
        let (mut fields, metadata) = (Fields::default(), event.metadata());
        event.record(&mut fields);
        let line = Line {
            number: 0,
            at: SystemClock.now(),
            level: *metadata.level(),
            target: metadata.target().to_owned(),
            message: clean(&fields.message),
            fields: fields.others.into_iter().map(|(name, value)| (name, clean(&value))).collect(),
        };
        if let Some(also) = &self.also {
            also(&line);
        }
        let last = {
            let mut ring = ring();
            ring.push(line);
            ring.last
        };
        // Lines may come here in another order than they got their numbers in.
        NEWS.send_if_modified(|news| {
            let is_newer = last > *news;
            *news = last.max(*news);
            is_newer
        });
    }
}

/// Without secrets, and not longer than a line may be.
fn clean(text: &str) -> String {
    let masked = masked(text);
    if masked.len() <= MAX_TEXT_BYTES {
        return masked.into_owned();
    }
    let end = masked.floor_char_boundary(MAX_TEXT_BYTES);
    format!("{}…", masked.get(..end).unwrap_or_default())
}

#[derive(Default)]
struct Fields {
    message: String,
    others: Vec<(&'static str, String)>,
}

impl Fields {
    fn note(&mut self, field: &Field, value: String) {
        match field.name() {
            "message" => self.message = value,
            name => self.others.push((name, value)),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.note(field, format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.note(field, value.to_owned());
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;
    use tracing_subscriber::layer::SubscriberExt as _;

    use super::*;

    fn line(text: &str) -> Line {
        let (number, at, level) = (0, Timestamp(0), Level::INFO);
        Line { number, at, level, target: "t".into(), message: text.into(), fields: Vec::new() }
    }

    #[test]
    fn the_oldest_lines_go_and_numbers_go_on() {
        let mut ring = Ring::new();
        let n_lines = 3 * MAX_BYTES / 1_000;
        for _ in 0..n_lines {
            ring.push(line(&"x".repeat(1_000)));
            assert!(ring.n_bytes <= MAX_BYTES);
        }
        let kept = ring.last(&Filter::default(), usize::MAX);
        assert_eq!(kept.last().unwrap().number, n_lines as u64);
        assert!(kept.len() > 100 && kept.len() < n_lines);
        let behind = Filter { after: n_lines as u64 - 3, ..Filter::default() };
        assert_eq!(
            ring.last(&behind, 2).iter().map(|line| line.number).collect::<Vec<_>>(),
            [n_lines as u64 - 1, n_lines as u64]
        );
    }

    #[test]
    fn a_filter_asks_for_a_level_and_for_all_words() {
        let line = Line { level: Level::WARN, fields: vec![("channel.name", "desk".into())], ..line("A turn failed") };
        let line = Line { number: 1, ..line };
        let check = |level: Option<Level>, words: &str, expected: bool| {
            let filter = Filter { level, words: words.into(), after: 0 };
            assert_eq!(filter.admits(&line), expected, "{filter:?}");
        };
        check(None, "", true);
        check(Some(Level::WARN), "", true);
        check(Some(Level::ERROR), "", false);
        check(Some(Level::INFO), " TURN  desk ", true);
        check(None, "turn hall", false);
    }

    #[test]
    fn what_is_hidden_is_in_no_line_however_it_is_written() {
        let secrets =
            ["sk-\"quoted\"\\key", "p\u{e4}ss w/ord", "-----BEGIN\nlinetwo=\n", "sk-long-and-longer", "sk-long"];
        hide(&secrets.map(Secret::new));
        let subscriber = tracing_subscriber::registry().with(Keep::alone());
        let mut written = Vec::new();
        tracing::subscriber::with_default(subscriber, || {
            for secret in secrets {
                let address = shapes(secret).pop().unwrap();
                tracing::error!(plain = secret, debug = ?secret, json = %serde_json::Value::from(secret), address, "it said {secret}");
                let line = format!("{secret} {secret:?} {}\n", serde_json::Value::from(secret));
                Masked(&mut written).write_all(line.as_bytes()).unwrap();
            }
        });
        let lines = last(&Filter::default(), usize::MAX);
        assert_eq!(lines.len(), secrets.len());
        let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
        for text in [text, String::from_utf8(written).unwrap()] {
            for secret in secrets {
                assert!(shapes(secret).iter().all(|shape| !text.contains(&**shape)), "{secret}: {text}");
            }
            assert!(text.contains(MASK) && text.contains("it said") || text.starts_with(MASK), "{text}");
        }
        assert!(masked("a short text") == "a short text");
    }

    #[test]
    fn a_long_text_is_cut() {
        let text = clean(&"\u{e4}".repeat(MAX_TEXT_BYTES));
        assert!(text.len() <= MAX_TEXT_BYTES + '…'.len_utf8() && text.ends_with("ä…"), "{}", text.len());
    }

    proptest! {
        #[test]
        fn a_text_without_secrets_stays_as_it_is(text in "[a-z ]{0,80}") {
            prop_assert_eq!(&*masked(&text), text.as_str());
        }
    }
}
