//! What is wrong with a configuration, and how a person reads it.

use std::fmt;

use super::tree::Position;

/// One thing wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// File as the operator named it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column in Unicode scalar values, from 1.
    pub column: usize,
    /// `channels[1].bot_token`, each key as the operator wrote it; empty for the whole file.
    pub path: String,
    /// What is wrong.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// A warning does not stop the file from being used.
    pub severity: Severity,
}

/// Does a problem stop the file from being used?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// It does.
    Error,
    /// It does not.
    Warning,
}

impl Problem {
    /// An error at a place that has no path, such as a syntax error.
    pub(super) fn syntax(file: &str, fault: Fault) -> Self {
        Self {
            file: file.to_owned(),
            line: fault.position.line,
            column: fault.position.column,
            path: String::new(),
            message: fault.message,
            help: fault.help,
            severity: Severity::Error,
        }
    }
}

/// `config.toml:12:5: session.dm_scope: "x" is not one of main, per-peer; did you mean "main"?`, one line.
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.file, self.line, self.column)?;
        if self.severity == Severity::Warning {
            f.write_str("warning: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)?;
        match &self.help {
            Some(help) => write!(f, "; {help}"),
            None => Ok(()),
        }
    }
}

/// What a parser found, before it is known which file it read.
#[derive(Debug)]
pub(super) struct Fault {
    pub(super) position: Position,
    pub(super) message: String,
    pub(super) help: Option<String>,
}

impl Fault {
    pub(super) fn new(position: Position, message: impl Into<String>, help: Option<&str>) -> Self {
        Self { position, message: message.into(), help: help.map(str::to_owned) }
    }
}

/// Longest piece of the operator's own text that a problem repeats, in Unicode scalar values.
const MAX_SHOWN_CHARS: usize = 80;

/// The operator's text in quotes, escaped and cut to a length that fits a line.
pub(super) fn quoted(text: &str) -> String {
    match text.char_indices().nth(MAX_SHOWN_CHARS) {
        Some((end, _)) => format!("{:?}…", text.get(..end).unwrap_or_default()),
        None => format!("{text:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(path: &str, help: Option<&str>, severity: Severity) -> Problem {
        Problem {
            file: "config.toml".into(),
            line: 12,
            column: 5,
            path: path.into(),
            message: "\"per-user\" is not one of main, per-peer".into(),
            help: help.map(str::to_owned),
            severity,
        }
    }

    #[test]
    fn a_problem_prints_as_one_line_that_editors_can_jump_to() {
        assert_eq!(
            problem("session.dm_scope", Some("did you mean \"per-peer\"?"), Severity::Error).to_string(),
            "config.toml:12:5: session.dm_scope: \"per-user\" is not one of main, per-peer; did you mean \"per-peer\"?"
        );
        assert_eq!(
            problem("", None, Severity::Warning).to_string(),
            "config.toml:12:5: warning: \"per-user\" is not one of main, per-peer"
        );
    }

    #[test]
    fn long_and_strange_texts_are_cut_and_escaped() {
        assert_eq!(quoted("a\u{1b}[31m\n"), r#""a\u{1b}[31m\n""#);
        assert_eq!(quoted(&"é".repeat(200)), format!("\"{}\"…", "é".repeat(80)));
    }
}
