//! Printing: the only file that writes to the terminal.
//!
//! What peers wrote must not steer the terminal, show itself in another order than it has, or look like a
//! line of ours. The first two hold for everything printed here; for the third there are [`printable`] and
//! [`paragraph`].

use std::io::{self, IsTerminal as _, Write as _};
use std::sync::atomic::{AtomicBool, Ordering};

use serde_json::Value;

use super::{Exit, Failure};
use crate::document::Secret;

/// Prints a line, or several. A reader that went away (`| head`) is no error.
pub(super) fn line(text: &str) {
    let text: String = text.chars().map(|c| if is_hidden(c) { REPLACED } else { c }).collect();
    if writeln!(io::stdout().lock(), "{text}").is_err() {
        IS_UNHEARD.store(true, Ordering::Relaxed);
    }
}

/// Did whoever reads this go away? Then what has no end should end.
pub(super) fn is_heard() -> bool {
    !IS_UNHEARD.load(Ordering::Relaxed)
}

static IS_UNHEARD: AtomicBool = AtomicBool::new(false);

/// Prints bytes as they are, for a file or a pipe. False: the reader went away.
pub(super) fn bytes(bytes: &[u8]) -> bool {
    let mut out = io::stdout().lock();
    out.write_all(bytes).and_then(|()| out.flush()).is_ok()
}

/// Asks on the terminal; `None`: there is none.
pub(super) fn ask(question: &str) -> Option<String> {
    if !(io::stdin().is_terminal() && io::stderr().is_terminal()) {
        return None;
    }
    let _ = write!(io::stderr().lock(), "{question} ");
    let mut answer = String::new();
    io::stdin().read_line(&mut answer).ok()?;
    Some(answer.trim().to_owned())
}

/// Asks whether this is really to be erased.
///
/// # Errors
/// Without a terminal, and unless the answer is yes.
pub(super) fn confirm_erasing(what: &str) -> Result<(), Failure> {
    match ask(&format!("Erase {what}? It cannot be brought back. Type \"yes\":")) {
        None => Err(Exit::Usage.say(format!("this would erase {what}, for good; add --yes to do it"))),
        Some(answer) if answer == "yes" => Ok(()),
        Some(_) => Err(Exit::Usage.say("nothing was erased")),
    }
}

/// Asks on the terminal for what must not be shown.
pub(super) fn ask_hidden(question: &str) -> io::Result<Secret> {
    rpassword::prompt_password(question).map(Secret::new)
}

/// Shows on the terminal how far something is, in one line that the next one replaces; an empty one removes it.
pub(super) fn progress(text: &str) {
    let mut out = io::stderr().lock();
    if io::stderr().is_terminal() {
        let _ = write!(out, "\r{text:<60}{}", if text.is_empty() { "\r" } else { "" });
        let _ = out.flush();
    }
}

/// Prints JSON, indented.
pub(super) fn json(value: &Value) {
    line(&escaped(&serde_json::to_string_pretty(value).unwrap_or_default()));
}

/// Prints JSON on one line.
pub(super) fn json_line(value: &Value) {
    line(&escaped(&value.to_string()));
}

/// Prints an error and its causes as one sentence each.
pub(super) fn error(error: &anyhow::Error) {
    let text = with_causes(error.as_ref());
    let text: String = text.chars().map(|c| if is_hidden(c) { REPLACED } else { c }).collect();
    let _ = writeln!(io::stderr().lock(), "frontdesk: {text}");
}

/// An error and its causes. Some errors repeat their source in their own words; those are not said twice.
pub(super) fn with_causes(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    for cause in std::iter::successors(error.source(), |cause| cause.source()).map(ToString::to_string) {
        if !text.contains(&cause) {
            text = format!("{text}: {cause}");
        }
    }
    text
}

/// Prints rows under headings, in columns as wide as they need.
pub(super) fn table(headings: &[&str], rows: &[Vec<String>]) {
    let n_chars = |text: &str| text.chars().count();
    let width = |n: usize, heading: &str| {
        let cells = rows.iter().filter_map(|row| row.get(n)).map(|cell| n_chars(cell));
        cells.chain([n_chars(heading)]).max().unwrap_or(0)
    };
    let widths: Vec<usize> = headings.iter().enumerate().map(|(n, heading)| width(n, heading)).collect();
    let print = |cells: &[String]| {
        let padded = cells.iter().zip(&widths).map(|(cell, width)| format!("{cell:<width$}"));
        line(padded.collect::<Vec<_>>().join("  ").trim_end());
    };
    print(&headings.iter().map(|heading| heading.to_uppercase()).collect::<Vec<_>>());
    rows.iter().for_each(|row| print(row));
}

/// A member of a JSON object on one line: what is not there is `-`.
pub(super) fn field(value: &Value, name: &str) -> String {
    match value.get(name) {
        None | Some(Value::Null) => "-".to_owned(),
        Some(Value::String(text)) => printable(text),
        Some(other) => other.to_string(),
    }
}

/// A text on one line, fit for a cell: ends of lines and tabs are shown, not obeyed.
pub(super) fn printable(text: &str) -> String {
    let shown = |c| match c {
        '\n' => '⏎',
        '\t' => '⇥',
        c if is_hidden(c) => REPLACED,
        c => c,
    };
    text.chars().map(shown).collect()
}

/// A text of JSON with its lines: all but the first are indented, so that none looks like one of ours.
pub(super) fn paragraph(value: &Value) -> String {
    let text = value.as_str().unwrap_or("-");
    text.split('\n').map(printable).collect::<Vec<_>>().join("\n    ")
}

/// Shown in place of what is not shown.
const REPLACED: char = '\u{fffd}';

/// Controls of the terminal, of the direction of text, and ends of lines that are none for [`str::lines`].
fn is_hidden(c: char) -> bool {
    let is_layout = matches!(c, '\n' | '\t');
    let is_direction = matches!(
        c,
        '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
    );
    is_direction || matches!(c, '\u{2028}' | '\u{2029}') || (c.is_control() && !is_layout)
}

/// The same JSON, with `\u` escapes for what is not shown: a program reads what was there.
fn escaped(json: &str) -> String {
    let mut escaped = String::with_capacity(json.len());
    for c in json.chars() {
        if is_hidden(c) {
            escaped.push_str(&format!("\\u{:04x}", u32::from(c)));
        } else {
            escaped.push(c);
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_cell_has_one_line_and_steers_nothing() {
        let check = |text: &str, expected: &str| assert_eq!(printable(text), expected);
        check("one\ttwo\nthree", "one⇥two⏎three");
        check("\u{1b}[2J\r\u{9b}", "\u{fffd}[2J\u{fffd}\u{fffd}");
        check("abc\u{202e}fed\u{2066}\u{200f}\u{2028}", "abc\u{fffd}fed\u{fffd}\u{fffd}\u{fffd}");
        check("grüß שלום 👨‍👩", "grüß שלום 👨‍👩");
    }

    #[test]
    fn no_line_of_a_paragraph_looks_like_one_of_ours() {
        let said = json!("hello\n2026-01-01T00:00:00Z  assistant: sure\r\nbye");
        let expected = "hello\n    2026-01-01T00:00:00Z  assistant: sure\u{fffd}\n    bye";
        assert_eq!(paragraph(&said), expected);
        assert_eq!(paragraph(&Value::Null), "-");
    }

    #[test]
    fn json_keeps_its_meaning_without_showing_controls() {
        let value = json!({ "text": "a\u{202e}b\u{9b}c\u{1b}\n" });
        let text = escaped(&value.to_string());
        assert!(text.chars().all(|c| !is_hidden(c)), "{text}");
        assert_eq!(serde_json::from_str::<Value>(&text).unwrap(), value);
    }
}
