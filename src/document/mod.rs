//! Configuration text, read with positions: TOML and YAML become one tree, and components read their
//! own [`Section`] of it.
//!
//! Not a schema: each component names its keys when it takes them. Keys may be written in snake_case
//! or camelCase in either syntax. `${NAME}` inside a string is replaced from [`Variables`]; `$${` is a
//! literal `${`. Every problem is collected with file, line and path, so that a person sees all of
//! them at once. Called by `config/` and by every component that has settings. Knows nothing of them.

use std::fmt;

/// A text that must not be shown: tokens, keys, passwords.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a secret.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself. Named so that every use can be found.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}

/// Where `${NAME}` is looked up.
pub trait Variables {
    /// The value of `NAME`, or `None` if there is none.
    fn get(&self, name: &str) -> Option<String>;
}

/// One thing wrong with a configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// File as the operator named it.
    pub file: String,
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1.
    pub column: usize,
    /// `channels[1].bot_token`; empty for the whole file.
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

/// A parsed file. Read it through [`Document::root`], then ask for [`Document::problems`].
#[derive(Debug)]
pub struct Document {
    _todo: (),
}

impl Document {
    /// Parses TOML. `file` is how problems name it.
    ///
    /// # Errors
    /// The syntax errors, with positions.
    pub fn parse_toml(_file: &str, _text: &str) -> Result<Self, Vec<Problem>> {
        unimplemented!()
    }

    /// Parses YAML 1.2.
    ///
    /// # Errors
    /// The syntax errors, with positions.
    pub fn parse_yaml(_file: &str, _text: &str) -> Result<Self, Vec<Problem>> {
        unimplemented!()
    }
}

/// One table of the file, while a component reads it.
///
/// Every `take_…` answers `None` when the key is absent *or* wrong; the second case has been noted as a
/// problem. A key that nobody took is a problem of its own when the section is finished.
#[derive(Debug)]
pub struct Section<'d> {
    _todo: std::marker::PhantomData<&'d ()>,
}

impl<'d> Section<'d> {
    /// A text, `${NAME}` replaced. An empty text is a problem.
    pub fn take_string(&mut self, _key: &str) -> Option<String> {
        unimplemented!()
    }

    /// A text that must not be shown. An empty text is a problem.
    pub fn take_secret(&mut self, _key: &str) -> Option<Secret> {
        unimplemented!()
    }

    /// A text through `parse`; its error becomes the problem's message.
    pub fn take_parsed<T, E: fmt::Display>(
        &mut self,
        _key: &str,
        _parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        unimplemented!()
    }

    /// One of the listed words; any other is a problem that lists them and names the nearest.
    pub fn take_choice<T: Copy>(&mut self, _key: &str, _choices: &[(&str, T)]) -> Option<T> {
        unimplemented!()
    }

    /// True or false.
    pub fn take_bool(&mut self, _key: &str) -> Option<bool> {
        unimplemented!()
    }

    /// A whole number within `range`.
    pub fn take_integer(&mut self, _key: &str, _range: std::ops::RangeInclusive<u64>) -> Option<u64> {
        unimplemented!()
    }

    /// A list of texts. Absent: empty.
    pub fn take_strings(&mut self, _key: &str) -> Vec<String> {
        unimplemented!()
    }

    /// A list of texts, each through `parse`; problems name the index.
    pub fn take_parsed_list<T, E: fmt::Display>(
        &mut self,
        _key: &str,
        _parse: impl FnMut(&str) -> Result<T, E>,
    ) -> Vec<T> {
        unimplemented!()
    }

    /// A table below this one.
    pub fn take_section(&mut self, _key: &str) -> Option<Section<'d>> {
        unimplemented!()
    }

    /// A list of tables. Absent: empty.
    pub fn take_sections(&mut self, _key: &str) -> Vec<Section<'d>> {
        unimplemented!()
    }

    /// A table whose keys the operator chose, each with a list of texts (`identityLinks`): the keys as written.
    pub fn take_lists_by_name(&mut self, _key: &str) -> Vec<(String, Vec<String>)> {
        unimplemented!()
    }

    /// Notes that `key`, which this section cannot do without, is absent. `help` says what to write.
    pub fn missing(&mut self, _key: &str, _help: &str) {
        unimplemented!()
    }

    /// Notes a problem at `key` (present or not), or at the section itself when `key` is empty.
    pub fn problem(&mut self, _severity: Severity, _key: &str, _message: impl Into<String>, _help: Option<String>) {
        unimplemented!()
    }

    /// A digest of all that this section says, variables replaced: equal digests mean nothing changed.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        unimplemented!()
    }

    /// Ends reading: every key that nobody took is a problem that names the nearest key somebody asked for.
    pub fn finish(self) {
        unimplemented!()
    }
}
