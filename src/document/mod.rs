//! Configuration text, read with positions: TOML and YAML become one tree, and components read their
//! own [`Section`] of it.
//!
//! Not a schema: each component names its keys when it takes them. Keys may be written in `snake_case`
//! or `camelCase` in either syntax. `${NAME}` inside a string is replaced from [`Variables`]; `$${` is a
//! literal `${`. Every problem is collected with file, line and path, so that a person sees all of
//! them at once. Called by `config/` and by every component that has settings. Knows nothing of them.

mod convert;
mod expand;
mod file;
mod fingerprint;
mod problem;
mod section;
mod shown;
mod slot;
mod spelling;
mod toml;
mod tree;
mod variables;
mod yaml;

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::fmt;

use expand::Origins;
use problem::Fault;
use tree::{Position, Table};

/// Longest value of a variable that comes from a file, in bytes.
pub const MAX_SECRET_BYTES: usize = 64 * 1024;

pub use convert::{Converted, toml_of_yaml};
pub use expand::is_name as is_variable_name;
pub use file::{read_at_most, sync_directory, write_first, write_whole};
pub use problem::{Problem, Severity};
pub use section::{Place, Section};
pub use spelling::same_key;
pub use tree::MAX_BYTES;
pub use variables::{Absence, NoVariables, Source, SystemVariables, Variables};

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

/// A parsed file. Read it through [`Document::root`], then ask for [`Document::problems`].
pub struct Document {
    file: String,
    table: Table,
    problems: RefCell<Vec<Problem>>,
    /// Where values stand that a component read as secrets.
    secrets: RefCell<BTreeSet<Position>>,
    /// Where values stand that a component read as anything else.
    shown: RefCell<BTreeSet<Position>>,
    origins: RefCell<Origins>,
    /// What was read as secrets.
    hidden: RefCell<Vec<Secret>>,
}

impl Document {
    /// Parses TOML. `file` is how problems name it.
    ///
    /// # Errors
    /// The syntax errors, with positions.
    pub fn parse_toml(file: &str, text: &str) -> Result<Self, Vec<Problem>> {
        Self::parse(file, text, toml::parse)
    }

    /// Parses YAML 1.2.
    ///
    /// # Errors
    /// The syntax errors, with positions.
    pub fn parse_yaml(file: &str, text: &str) -> Result<Self, Vec<Problem>> {
        Self::parse(file, text, yaml::parse)
    }

    fn parse(
        file: &str,
        text: &str,
        parse: impl FnOnce(&str) -> Result<Table, Vec<Fault>>,
    ) -> Result<Self, Vec<Problem>> {
        let table = if text.len() > MAX_BYTES {
            let message = format!("the file is {} bytes long; at most {MAX_BYTES} are read", text.len());
            Err(vec![Fault::new(Position::START, message, None)])
        } else {
            parse(text)
        };
        match table {
            Ok(table) => {
                let (problems, secrets, shown, origins, hidden) = Default::default();
                Ok(Self { file: file.to_owned(), table, problems, secrets, shown, origins, hidden })
            }
            Err(faults) => {
                let mut problems: Vec<_> = faults.into_iter().map(|fault| Problem::syntax(file, fault)).collect();
                sort(&mut problems);
                Err(problems)
            }
        }
    }

    /// The whole file as a section. Each reading has its own: variables are looked up once in each.
    #[must_use]
    pub fn root<'d>(&'d self, variables: &'d dyn Variables) -> Section<'d> {
        Section::root(self, variables)
    }

    /// Notes a problem that was found when the sections had been read.
    pub fn note(&self, place: &Place, severity: Severity, message: impl Into<String>, help: Option<String>) {
        self.note_at(place.position, &place.path, severity, message.into(), help);
    }

    /// What is wrong so far, in the order of the file. Complete when all sections are finished.
    #[must_use]
    pub fn problems(&self) -> Vec<Problem> {
        let mut problems = self.problems.borrow().clone();
        sort(&mut problems);
        problems
    }

    /// What the file says, one `path = value` a line; variables stand there by their names. Secrets are `"…"`,
    /// and so is what no component asked for or could use: it could be anything.
    #[must_use]
    pub fn redacted(&self) -> Vec<String> {
        let shown = self.shown.borrow();
        let mut lines = Vec::new();
        shown::table(&self.table, "", &|at| shown.contains(&at) && !self.is_faulty(at), &mut lines);
        lines
    }

    /// Paths of secrets that stand in the file itself, not in a variable.
    #[must_use]
    pub fn clear_secrets(&self) -> Vec<String> {
        let mut paths = Vec::new();
        shown::clear(&self.table, "", &self.secrets.borrow(), &mut paths);
        paths
    }

    /// Where values stand that nobody may see: see [`Document::redacted`]. In the order of the file.
    #[must_use]
    pub fn hidden_places(&self) -> Vec<Place> {
        let shown = self.shown.borrow();
        let mut places = Vec::new();
        shown::hidden(&self.table, "", &|at| shown.contains(&at) && !self.is_faulty(at), &mut places);
        places.sort_by_key(|place| place.position);
        places
    }

    /// Every `${NAME}` that the file has, and the path of the value that it stands in.
    #[must_use]
    pub fn references(&self) -> Vec<(String, String)> {
        let mut references = Vec::new();
        shown::references(&self.table, "", &mut references);
        references
    }

    fn is_faulty(&self, at: Position) -> bool {
        let problems = self.problems.borrow();
        let mut errors = problems.iter().filter(|problem| problem.severity == Severity::Error);
        errors.any(|problem| (problem.line, problem.column) == (at.line, at.column))
    }

    /// What components read as secrets, so that nobody shows it by mistake.
    #[must_use]
    pub fn hidden(&self) -> Vec<Secret> {
        self.hidden.borrow().clone()
    }

    fn hide_value(&self, text: &str) {
        self.hidden.borrow_mut().push(Secret::new(text));
    }

    fn hide(&self, position: Position) {
        self.secrets.borrow_mut().insert(position);
    }

    fn show(&self, position: Position) {
        self.shown.borrow_mut().insert(position);
    }

    fn table(&self) -> &Table {
        &self.table
    }

    fn came_from(&self, value: &str, name: &str) {
        self.origins.borrow_mut().add(value, name);
    }

    fn note_at(&self, position: Position, path: &str, severity: Severity, message: String, help: Option<String>) {
        let origins = self.origins.borrow();
        let message = origins.name_in(message);
        let help = help.map(|help| origins.name_in(help));
        self.problems.borrow_mut().push(Problem {
            file: self.file.clone(),
            line: position.line,
            column: position.column,
            path: path.to_owned(),
            message,
            help,
            severity,
        });
    }
}

/// Without the values: among them are secrets.
impl fmt::Debug for Document {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Document").field("file", &self.file).finish_non_exhaustive()
    }
}

/// By place; what was noted twice is said once.
fn sort(problems: &mut Vec<Problem>) {
    problems.sort_by_key(|problem| (problem.line, problem.column));
    problems.dedup();
}

#[cfg(test)]
mod tests;
