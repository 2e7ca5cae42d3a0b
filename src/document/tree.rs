//! What both syntaxes become: values with the place where they are written.

/// A place in a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Position {
    /// From 1.
    pub(super) line: usize,
    /// From 1, in Unicode scalar values.
    pub(super) column: usize,
}

impl Position {
    pub(super) const START: Self = Self { line: 1, column: 1 };
}

/// One value.
#[derive(Debug, PartialEq)]
pub(super) struct Node {
    pub(super) position: Position,
    pub(super) value: Value,
}

/// Numbers and dates keep their text, because help says how to write it as a text: `"007"`, not `"7"`.
#[derive(Debug, PartialEq)]
pub(super) enum Value {
    /// YAML only: `key:` with nothing behind it, `~`, `null`.
    Null,
    Bool(bool),
    /// Beyond 128 bits it is the nearest that fits; no setting is that large.
    Integer {
        value: i128,
        written: String,
    },
    Float {
        value: f64,
        written: String,
    },
    /// TOML only.
    Date(String),
    Text(String),
    List(Vec<Node>),
    Table(Table),
}

impl Value {
    /// What it is, as problems call it.
    pub(super) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "nothing",
            Self::Bool(_) => "true or false",
            Self::Integer { .. } => "a whole number",
            Self::Float { .. } => "a decimal number",
            Self::Date(_) => "a date or time",
            Self::Text(_) => "a text",
            Self::List(_) => "a list",
            Self::Table(_) => "a table",
        }
    }
}

/// Keys and values in the order of the file; no key is there twice.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Table {
    pub(super) entries: Vec<Entry>,
}

/// One key and its value.
#[derive(Debug, PartialEq)]
pub(super) struct Entry {
    /// As the operator wrote it.
    pub(super) key: String,
    pub(super) key_position: Position,
    pub(super) node: Node,
}

/// A table without keys, for a YAML key that has nothing behind it.
pub(super) static EMPTY: Table = Table { entries: Vec::new() };

/// Longest file that is read, in bytes.
pub const MAX_BYTES: usize = 1024 * 1024;
/// Deepest nesting of lists and tables; the file itself is the first level.
pub(super) const MAX_DEPTH: usize = 32;
