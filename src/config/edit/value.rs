//! What a change puts in, and how it takes the place of what is there.

use toml_edit::{Array, ArrayOfTables, Item, Key, Table, TableLike, Value as Written};

use super::layout::{self, Left};
use super::{Kind, list, spelled};
use crate::document::same_key;

/// A value of a configuration. Texts are as they stand in the file: `${NAME}` is a variable.
#[derive(Debug, Clone, PartialEq)]
pub enum Value {
    /// True or false.
    Flag(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number.
    Number(f64),
    /// A text.
    Text(String),
    /// A list.
    List(Vec<Value>),
    /// A table, in the order in which it is written.
    Table(Vec<(String, Value)>),
}

impl Value {
    /// A text that means itself, also when there is a `${` in it.
    #[must_use]
    pub fn literal(text: &str) -> Self {
        Self::Text(text.replace("${", "$${"))
    }

    /// A table of these keys, without those that have no value.
    pub fn table<K: Into<String>>(entries: impl IntoIterator<Item = (K, Option<Self>)>) -> Self {
        let entries = entries.into_iter();
        Self::Table(entries.filter_map(|(key, value)| Some((key.into(), value?))).collect())
    }

    pub(super) fn is_table(&self) -> bool {
        matches!(self, Self::Table(_))
    }

    /// Is it a list of tables, and not empty?
    pub(super) fn is_tables(&self) -> bool {
        matches!(self, Self::List(values) if !values.is_empty() && values.iter().all(Self::is_table))
    }
}

impl From<bool> for Value {
    fn from(flag: bool) -> Self {
        Self::Flag(flag)
    }
}

impl From<i64> for Value {
    fn from(n: i64) -> Self {
        Self::Integer(n)
    }
}

impl From<u32> for Value {
    fn from(n: u32) -> Self {
        Self::Integer(i64::from(n))
    }
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<String> for Value {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<Vec<String>> for Value {
    fn from(texts: Vec<String>) -> Self {
        Self::List(texts.into_iter().map(Self::Text).collect())
    }
}

impl From<Vec<Value>> for Value {
    fn from(values: Vec<Value>) -> Self {
        Self::List(values)
    }
}

/// Written in one line.
pub(super) fn inline(value: &Value) -> Written {
    match value {
        Value::Flag(flag) => Written::from(*flag),
        Value::Integer(n) => Written::from(*n),
        Value::Number(n) => Written::from(*n),
        Value::Text(text) => one_line(text),
        Value::List(values) => Written::Array(values.iter().map(inline).collect::<Array>()),
        Value::Table(entries) => {
            Written::InlineTable(entries.iter().map(|(key, value)| (Key::new(key), inline(value))).collect())
        }
    }
}

/// A text with line ends in it stays on one line, as the file's line ends are not its.
fn one_line(text: &str) -> Written {
    let written = Written::from(text);
    if !written.to_string().contains('\n') {
        return written;
    }
    let escaped = serde_json::Value::from(text).to_string().replace('\u{7f}', "\\u007F");
    escaped.parse().unwrap_or(written)
}

/// A table under a header of its own.
pub(super) fn table(entries: &[(String, Value)]) -> Table {
    let mut made = Table::new();
    set_table(&mut made, Kind::Header, entries, &mut Vec::new());
    made
}

/// A key says this from now on.
pub(super) fn set_key(table: &mut dyn TableLike, kind: Kind, key: &str, new: &Value, end: isize, left: &mut Vec<Left>) {
    let has_headers = matches!(kind, Kind::Root | Kind::Header);
    match (table.get_mut(key), new) {
        (None, _) => {}
        (Some(Item::Table(below)), Value::Table(entries)) => {
            let kind = if below.is_dotted() { Kind::Dotted } else { Kind::Header };
            // Dotted keys cannot say that there is nothing below them.
            if kind == Kind::Header || !entries.is_empty() {
                below.set_implicit(false);
                return set_table(below, kind, entries, left);
            }
        }
        (Some(Item::ArrayOfTables(tables)), Value::List(values)) if new.is_tables() => {
            return set_tables(tables, values, left);
        }
        (Some(Item::Value(Written::Array(array))), _) if array.is_empty() && new.is_tables() && has_headers => {}
        (Some(Item::Value(old)), _) => return set(old, new),
        _ => {}
    }
    if let Some(removed) = table.remove(key) {
        layout::collect_left_of(&removed, left);
    }
    let position = (kind == Kind::Root).then_some(end);
    let item = match new {
        Value::Table(entries) if has_headers => {
            let mut made = self::table(entries);
            made.set_position(position);
            Item::Table(made)
        }
        Value::Table(entries) if kind == Kind::Dotted && !entries.is_empty() => {
            let mut made = Table::new();
            made.set_dotted(true);
            set_table(&mut made, Kind::Dotted, entries, left);
            Item::Table(made)
        }
        Value::List(values) if new.is_tables() && has_headers => {
            let mut made = ArrayOfTables::new();
            set_tables(&mut made, values, left);
            made.iter_mut().for_each(|table| table.set_position(position));
            Item::ArrayOfTables(made)
        }
        _ => Item::Value(inline(new)),
    };
    let indent = layout::indent(table);
    table.insert(key, item);
    if let (Some(indent), Some(mut key)) = (indent, table.key_mut(key)) {
        key.leaf_decor_mut().set_prefix(indent);
    }
}

/// A value takes the place of another; what is written around it stays.
pub(super) fn set(old: &mut Written, new: &Value) {
    if says(old, new) {
        return;
    }
    match (old, new) {
        (Written::Array(array), Value::List(values)) => list::set(array, values),
        (Written::InlineTable(below), Value::Table(entries)) => {
            set_table(below, Kind::Inline, entries, &mut Vec::new());
        }
        (old, new) => {
            let decor = old.decor().clone();
            *old = inline(new);
            *old.decor_mut() = decor;
        }
    }
}

/// A table has these keys from now on, and no others.
pub(super) fn set_table(table: &mut dyn TableLike, kind: Kind, entries: &[(String, Value)], left: &mut Vec<Left>) {
    let is_kept = |written: &str| entries.iter().any(|(key, _)| same_key(key, written));
    let gone: Vec<String> = table.iter().map(|(key, _)| key.to_owned()).filter(|written| !is_kept(written)).collect();
    for key in gone {
        let detached = table.key(&key).map(layout::detached_of).unwrap_or_default();
        layout::hand_on(table, &key, &detached);
        if let Some(item) = table.remove(&key) {
            layout::collect_left_of(&item, left);
        }
    }
    // Under a header, what has a header of its own comes last.
    let (last, first): (Vec<_>, Vec<_>) = entries.iter().partition(|(_, value)| value.is_table() || value.is_tables());
    for (key, value) in first.into_iter().chain(last) {
        let found = spelled(table, &super::Key { name: key.clone(), is_exact: false });
        set_key(table, kind, found.as_deref().unwrap_or(key), value, 0, left);
    }
}

fn set_tables(tables: &mut ArrayOfTables, values: &[Value], left: &mut Vec<Left>) {
    let entries = |value: &Value| match value {
        Value::Table(entries) => entries.clone(),
        _ => Vec::new(),
    };
    for (table, value) in tables.iter_mut().zip(values) {
        set_table(table, Kind::Header, &entries(value), left);
    }
    while tables.len() > values.len() {
        let last = tables.len() - 1;
        tables.get(last).into_iter().for_each(|table| layout::collect_left(table, left));
        tables.remove(last);
    }
    for value in values.iter().skip(tables.len()) {
        tables.push(table(&entries(value)));
    }
}

/// Does it say this already?
pub(super) fn says(written: &Written, value: &Value) -> bool {
    match (written, value) {
        (Written::Boolean(old), Value::Flag(new)) => old.value() == new,
        (Written::Integer(old), Value::Integer(new)) => old.value() == new,
        (Written::Float(old), Value::Number(new)) => old.value().to_bits() == new.to_bits(),
        (Written::String(old), Value::Text(new)) => old.value() == new,
        (Written::Array(old), Value::List(new)) => {
            old.len() == new.len() && old.iter().zip(new).all(|(old, new)| says(old, new))
        }
        (Written::InlineTable(old), Value::Table(new)) => {
            let is_same = |(key, value): &(String, Value)| old.get(key).is_some_and(|old| says(old, value));
            old.len() == new.len() && new.iter().all(is_same)
        }
        _ => false,
    }
}

/// What a value says.
pub(super) fn read(written: &Written) -> Value {
    match written {
        Written::Boolean(flag) => Value::Flag(*flag.value()),
        Written::Integer(n) => Value::Integer(*n.value()),
        Written::Float(n) => Value::Number(*n.value()),
        Written::String(text) => Value::Text(text.value().clone()),
        Written::Datetime(date) => Value::Text(date.value().to_string()),
        Written::Array(array) => Value::List(array.iter().map(read).collect()),
        Written::InlineTable(table) => {
            Value::Table(table.iter().map(|(key, value)| (key.to_owned(), read(value))).collect())
        }
    }
}

/// What stands at a key.
pub(super) fn read_item(item: &Item) -> Option<Value> {
    let of_table = |table: &Table| {
        Value::Table(table.iter().filter_map(|(key, item)| Some((key.to_owned(), read_item(item)?))).collect())
    };
    match item {
        Item::None => None,
        Item::Value(value) => Some(read(value)),
        Item::Table(table) => Some(of_table(table)),
        Item::ArrayOfTables(tables) => Some(Value::List(tables.iter().map(of_table).collect())),
    }
}
