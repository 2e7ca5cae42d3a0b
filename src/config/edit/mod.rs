//! Changes `config.toml` in place: what somebody wrote around a value, and every other line, stays as it is.
//!
//! A function of texts. It knows how lists and tables are written and no key but two: elements of `channels` that have
//! no `id` are found by the one that they get ([`super::entry`]). Whether the result can be used, `config` says.
//!
//! A comment belongs to the line that it stands on, or to what stands right below it. What is removed takes
//! the comments that belong to it along; all others stay.

mod layout;
mod list;
mod path;
mod value;

pub use path::quoted;
pub use value::Value;

use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Table, TableLike, Value as Written};

use crate::document::same_key;
use layout::Left;
use path::{Key, Pick, Step};

/// Why a text cannot be changed so. Each says what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EditError {
    /// Something that cannot be read cannot be changed in place.
    #[error("line {line} of the configuration cannot be read ({message}); mend it in the file first")]
    Syntax {
        /// From 1.
        line: usize,
        /// What the parser said.
        message: String,
    },
    /// Comments of YAML cannot be kept.
    #[error(
        "the configuration is a .yml file, which is not changed in place; turn it into config.toml with `config convert`, or change its text"
    )]
    Yaml,
    /// The path cannot be read.
    #[error("{path:?} is not a path; write it like session.dm_scope or channels[id=hook42].secret")]
    Path {
        /// As it was given.
        path: String,
    },
    /// There is no such element.
    #[error("there is no {path} in the configuration; look at what it says now")]
    NoSuch {
        /// As it was given.
        path: String,
    },
    /// More than one element is meant.
    #[error("{path} stands for more than one element of the configuration; name it by its number, as in channels[0]")]
    Several {
        /// As it was given.
        path: String,
    },
    /// It is there and is something else.
    #[error("{path} does not lead to {expected} in the configuration; change the text of the file")]
    Other {
        /// As it was given.
        path: String,
        /// What it should lead to.
        expected: &'static str,
    },
}

/// One change.
#[derive(Debug, Clone, PartialEq)]
pub struct Change {
    /// `session.dm_scope`, `channels[id=hook42].secret`, `routing[0]`, `session.identity_links."alice"`. Keys are found in
    /// either spelling; one in quotes is the operator's own and is taken letter by letter.
    pub path: String,
    /// What happens there.
    pub act: Act,
}

/// What happens at a path.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// It says this from now on. Tables on the way are made; elements of lists must be there.
    Set(Value),
    /// One more at the end of the list, which is made if it is not there.
    Append(Value),
    /// It is gone. A key that is not there is no error, an element is one.
    Remove,
}

impl Change {
    /// Something says this from now on.
    #[must_use]
    pub fn set(path: impl Into<String>, value: impl Into<Value>) -> Self {
        Self { path: path.into(), act: Act::Set(value.into()) }
    }

    /// One more at the end of a list.
    #[must_use]
    pub fn append(path: impl Into<String>, value: impl Into<Value>) -> Self {
        Self { path: path.into(), act: Act::Append(value.into()) }
    }

    /// Something is gone.
    #[must_use]
    pub fn remove(path: impl Into<String>) -> Self {
        Self { path: path.into(), act: Act::Remove }
    }
}

/// The text of a `config.toml` with these changes, one after the other.
///
/// # Errors
/// [`EditError`]: none of them is made.
pub fn edit(text: &str, changes: &[Change]) -> Result<String, EditError> {
    // Written with the line ends of the file; the parser keeps neither these nor a mark at the beginning.
    let (mark, text) = text.strip_prefix('\u{feff}').map_or(("", text), |rest| ("\u{feff}", rest));
    let has_crlf = text.contains('\n') && text.matches('\n').count() == text.matches("\r\n").count();
    let text = if has_crlf { text.replace("\r\n", "\n") } else { text.to_owned() };
    let mut document: DocumentMut = text.parse().map_err(|error: toml_edit::TomlError| syntax(&text, &error))?;
    for change in changes {
        let steps = path::parse(&change.path)?;
        let had_values = layout::has_values(&document);
        let end = layout::last_position(&document).saturating_add(1);
        let mut editing = Editing { path: &change.path, act: &change.act, end, left: Vec::new() };
        editing.within(document.as_table_mut(), Kind::Root, &steps)?;
        let left = editing.left;
        layout::settle(&mut document, had_values, left);
    }
    let edited = document.to_string();
    let edited = if has_crlf { edited.replace('\n', "\r\n") } else { edited };
    Ok(format!("{mark}{edited}"))
}

/// What a `config.toml` says at a path, as it is written there. `None`: nothing, or the text or the path cannot be read.
#[must_use]
pub fn read(text: &str, path: &str) -> Option<Value> {
    let document: DocumentMut = text.parse().ok()?;
    let mut value = value::read_item(document.as_item())?;
    for step in path::parse(path).ok()? {
        let key = step.key;
        let Value::Table(entries) = value else { return None };
        let found = entries.iter().position(|(written, _)| *written == key.name);
        let found = found.or(entries.iter().position(|(written, _)| !key.is_exact && same_key(written, &key.name)))?;
        let (name, below) = entries.into_iter().nth(found)?;
        value = match step.pick {
            None => below,
            Some(pick) => {
                let Value::List(elements) = below else { return None };
                let n = element(&name, &pick, &elements)?;
                elements.into_iter().nth(n)?
            }
        };
    }
    Some(value)
}

fn element(list: &str, pick: &Pick, elements: &[Value]) -> Option<usize> {
    let says = |element: &Value, name: &str| match element {
        Value::Table(entries) => entries.iter().find_map(|(key, value)| match value {
            Value::Text(text) if same_key(key, name) => Some(text.clone()),
            _ => None,
        }),
        _ => None,
    };
    let all = |name: &str| elements.iter().map(|element| says(element, name)).collect::<Vec<_>>();
    match pick {
        Pick::Number(n) => Some(*n),
        Pick::With { key, text } => {
            let said = all(key);
            let said = if (list, key.as_str()) == ("channels", "id") { given_ids(&said, &all("type")) } else { said };
            said.iter().position(|said| said.as_deref() == Some(text))
        }
    }
}

fn syntax(text: &str, error: &toml_edit::TomlError) -> EditError {
    let start = error.span().map_or(0, |span| span.start);
    let line = text.bytes().take(start).filter(|byte| *byte == b'\n').count() + 1;
    // The parser's words repeat nothing of the text but the names of keys.
    EditError::Syntax { line, message: error.message().trim().replace('\n', ", ") }
}

/// How a table is written, and so what is made in it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    /// The file itself.
    Root,
    /// Under a `[header]`.
    Header,
    /// `a.b = 1`.
    Dotted,
    /// `{ b = 1 }`.
    Inline,
}

struct Editing<'c> {
    path: &'c str,
    act: &'c Act,
    /// Where a table goes that belongs behind all others.
    end: isize,
    /// Comments of removed tables that belong to nothing.
    left: Vec<Left>,
}

impl Editing<'_> {
    fn no_such(&self) -> EditError {
        EditError::NoSuch { path: self.path.to_owned() }
    }

    fn other(&self, expected: &'static str) -> EditError {
        EditError::Other { path: self.path.to_owned(), expected }
    }

    fn within(&mut self, table: &mut dyn TableLike, kind: Kind, steps: &[Step]) -> Result<(), EditError> {
        let Some((step, rest)) = steps.split_first() else { return Ok(()) };
        let key = spelled(table, &step.key).unwrap_or_else(|| step.key.name.clone());
        if let Some(pick) = &step.pick {
            self.in_list(table, &key, pick, rest)?;
            // No list of tables is written as one that is empty, not as one that is absent.
            if table.get(&key).is_some_and(|item| item.as_array_of_tables().is_some_and(ArrayOfTables::is_empty)) {
                table.insert(&key, Item::Value(Written::Array(Array::new())));
            }
            return Ok(());
        }
        if rest.is_empty() {
            return self.at(table, kind, &key);
        }
        if !table.contains_key(&key) {
            if *self.act == Act::Remove {
                return Ok(());
            }
            let made = self.empty_table(kind, rest.len() > 1 || self.makes_table());
            table.insert(&key, made);
        }
        match table.get_mut(&key) {
            Some(Item::Table(below)) => {
                let kind = if below.is_dotted() { Kind::Dotted } else { Kind::Header };
                self.within(below, kind, rest)
            }
            Some(Item::Value(Written::InlineTable(below))) => self.within(below, Kind::Inline, rest),
            _ => Err(self.other("a table")),
        }
    }

    /// Will what is made be a table with a header?
    fn makes_table(&self) -> bool {
        match self.act {
            Act::Set(value) => value.is_table() || value.is_tables(),
            Act::Append(value) => value.is_table(),
            Act::Remove => false,
        }
    }

    fn empty_table(&self, kind: Kind, is_for_tables: bool) -> Item {
        match kind {
            Kind::Inline => Item::Value(Written::InlineTable(InlineTable::new())),
            Kind::Dotted => {
                let mut made = Table::new();
                made.set_dotted(true);
                Item::Table(made)
            }
            Kind::Root | Kind::Header => {
                let mut made = Table::new();
                made.set_implicit(is_for_tables);
                made.set_position((kind == Kind::Root).then_some(self.end));
                Item::Table(made)
            }
        }
    }

    fn in_list(&mut self, table: &mut dyn TableLike, key: &str, pick: &Pick, rest: &[Step]) -> Result<(), EditError> {
        match table.get_mut(key) {
            None => Err(self.no_such()),
            Some(Item::ArrayOfTables(tables)) => {
                let all: Vec<&dyn TableLike> = tables.iter().map(|table| table as &dyn TableLike).collect();
                let n = self.find(key, pick, &all)?;
                let element = tables.get_mut(n).ok_or_else(|| self.no_such())?;
                match (rest, self.act) {
                    ([_, ..], _) => self.within(element, Kind::Header, rest),
                    ([], Act::Remove) => {
                        layout::collect_left(element, &mut self.left);
                        tables.remove(n);
                        Ok(())
                    }
                    ([], Act::Set(Value::Table(entries))) => {
                        value::set_table(element, Kind::Header, entries, &mut self.left);
                        Ok(())
                    }
                    ([], Act::Set(_)) => Err(self.other("a value")),
                    ([], Act::Append(_)) => Err(self.other("a list")),
                }
            }
            Some(Item::Value(Written::Array(array))) => {
                let empty = InlineTable::new();
                let all: Vec<&dyn TableLike> = array
                    .iter()
                    .map(|value| match value.as_inline_table() {
                        Some(table) => table as &dyn TableLike,
                        None => &empty as &dyn TableLike,
                    })
                    .collect();
                let n = self.find(key, pick, &all)?;
                match (rest, self.act) {
                    ([_, ..], _) => match array.get_mut(n) {
                        Some(Written::InlineTable(element)) => self.within(element, Kind::Inline, rest),
                        _ => Err(self.other("a table")),
                    },
                    ([], Act::Remove) => {
                        list::remove(array, n);
                        Ok(())
                    }
                    ([], Act::Set(new)) => {
                        array.get_mut(n).into_iter().for_each(|old| value::set(old, new));
                        Ok(())
                    }
                    ([], Act::Append(_)) => Err(self.other("a list")),
                }
            }
            Some(_) => Err(self.other("a list")),
        }
    }

    fn find(&self, key: &str, pick: &Pick, tables: &[&dyn TableLike]) -> Result<usize, EditError> {
        let (name, text) = match pick {
            Pick::Number(n) if *n < tables.len() => return Ok(*n),
            Pick::Number(_) => return Err(self.no_such()),
            Pick::With { key, text } => (Key { name: key.clone(), is_exact: false }, text),
        };
        let says = |table: &dyn TableLike, name: &Key| {
            let key = spelled(table, name)?;
            table.get(&key).and_then(Item::as_str).map(str::to_owned)
        };
        let written: Vec<Option<String>> = tables.iter().map(|table| says(*table, &name)).collect();
        let all = match (key, name.name.as_str()) {
            ("channels", "id") => {
                let type_name = Key { name: "type".to_owned(), is_exact: false };
                let types: Vec<Option<String>> = tables.iter().map(|table| says(*table, &type_name)).collect();
                given_ids(&written, &types)
            }
            _ => written,
        };
        let mut found = all.iter().enumerate().filter(|(_, said)| said.as_deref() == Some(text.as_str()));
        match (found.next(), found.next()) {
            (Some((n, _)), None) => Ok(n),
            (None, _) => Err(self.no_such()),
            (Some(_), Some(_)) => Err(EditError::Several { path: self.path.to_owned() }),
        }
    }

    /// The last step, at a key.
    fn at(&mut self, table: &mut dyn TableLike, kind: Kind, key: &str) -> Result<(), EditError> {
        match self.act {
            Act::Remove => {
                let removed = match table.key(key) {
                    Some(found) => layout::detached_of(found),
                    None => return Ok(()),
                };
                layout::hand_on(table, key, &removed);
                if let Some(item) = table.remove(key) {
                    layout::collect_left_of(&item, &mut self.left);
                }
            }
            Act::Set(new) => value::set_key(table, kind, key, new, self.end, &mut self.left),
            Act::Append(new) => match table.get_mut(key) {
                None => value::set_key(table, kind, key, &Value::List(vec![new.clone()]), self.end, &mut self.left),
                Some(Item::ArrayOfTables(tables)) => match new {
                    Value::Table(entries) => tables.push(value::table(entries)),
                    _ => return Err(self.other("a list of such values")),
                },
                Some(Item::Value(Written::Array(array))) => {
                    let is_header = matches!(kind, Kind::Root | Kind::Header);
                    if array.is_empty() && new.is_table() && is_header {
                        value::set_key(table, kind, key, &Value::List(vec![new.clone()]), self.end, &mut self.left);
                    } else {
                        list::push(array, value::inline(new));
                    }
                }
                Some(_) => return Err(self.other("a list")),
            },
        }
        Ok(())
    }
}

/// The key as it is written there, if it is there.
fn spelled(table: &dyn TableLike, key: &Key) -> Option<String> {
    if table.contains_key(&key.name) {
        return Some(key.name.clone());
    }
    let mut others = table.iter().map(|(written, _)| written);
    others.find(|written| !key.is_exact && same_key(written, &key.name)).map(str::to_owned)
}

/// The ids of channel entries: as they are written, else as entries get them.
fn given_ids(written: &[Option<String>], types: &[Option<String>]) -> Vec<Option<String>> {
    let mut ids: Vec<Option<String>> = Vec::new();
    for (id, type_name) in written.iter().zip(types) {
        let given = || {
            let is_free = |name: &str| !ids.iter().flatten().any(|taken| taken == name);
            super::entry::default_id(type_name.as_deref()?, is_free)
        };
        let id = id.clone().or_else(given);
        ids.push(id);
    }
    ids
}

#[cfg(test)]
mod tests;
