//! One value while it is read: its type is checked, its variables are replaced, its problems are noted.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::expand::{Expanded, Refusal, discloses, expand};
use super::fingerprint::Meaning;
use super::problem::quoted;
use super::tree::{EMPTY, Node, Table, Value};
use super::{Document, Severity, Variables};

/// What all sections of one reading share.
pub(super) struct Reading<'d> {
    pub(super) document: &'d Document,
    variables: &'d dyn Variables,
    /// Each variable is looked up once, so that a value and its fingerprint agree.
    looked_up: RefCell<BTreeMap<String, Option<String>>>,
    /// The tables whose keys the operator chose.
    own_keys: RefCell<Vec<&'d Table>>,
}

impl<'d> Reading<'d> {
    pub(super) fn new(document: &'d Document, variables: &'d dyn Variables) -> Self {
        Self { document, variables, looked_up: RefCell::default(), own_keys: RefCell::default() }
    }

    pub(super) fn keys_are_own(&self, table: &'d Table) {
        self.own_keys.borrow_mut().push(table);
    }

    fn expand(&self, written: &str) -> Result<Expanded, Vec<Refusal>> {
        let mut looked_up = self.looked_up.borrow_mut();
        expand(written, |name| {
            let value = looked_up.entry(name.to_owned()).or_insert_with(|| self.variables.get(name));
            value.iter().for_each(|value| self.document.came_from(value, name));
            value.clone()
        })
    }
}

impl Meaning for Reading<'_> {
    fn text(&self, written: &str) -> String {
        self.expand(written).map_or_else(|_| written.to_owned(), |expanded| expanded.text)
    }

    fn has_own_keys(&self, table: &Table) -> bool {
        self.own_keys.borrow().iter().any(|own| std::ptr::eq(*own, table))
    }
}

/// May problems repeat the value?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Echo {
    Shown,
    Hidden,
}

/// A text as it is used, and as it stands in the file.
pub(super) struct Text<'d> {
    written: &'d str,
    expanded: Expanded,
}

impl Text<'_> {
    pub(super) fn as_str(&self) -> &str {
        &self.expanded.text
    }

    pub(super) fn into_string(self) -> String {
        self.expanded.text
    }

    /// The text in quotes as the operator wrote it: what a variable added is not in it.
    pub(super) fn quoted(&self) -> String {
        quoted(self.written)
    }

    pub(super) fn has_variables(&self) -> bool {
        !self.expanded.values.is_empty()
    }

    /// `message` unless it repeats what a variable added.
    pub(super) fn without_values(&self, message: String) -> String {
        if discloses(&message, &self.expanded.values) {
            format!("what {} stands for is not usable here", self.quoted())
        } else {
            message
        }
    }
}

/// One value and its path.
pub(super) struct Slot<'d> {
    pub(super) node: &'d Node,
    pub(super) path: String,
}

impl<'d> Slot<'d> {
    pub(super) fn error(&self, reading: &Reading<'d>, message: impl Into<String>, help: Option<String>) {
        reading.document.note_at(self.node.position, &self.path, Severity::Error, message.into(), help);
    }

    pub(super) fn text(&self, reading: &Reading<'d>, echo: Echo) -> Option<Text<'d>> {
        match echo {
            Echo::Hidden => reading.document.hide(self.node.position),
            Echo::Shown => reading.document.show(self.node.position),
        }
        let Value::Text(written) = &self.node.value else {
            self.wrong_type(reading, "a text", self.help_for_text(echo));
            return None;
        };
        let text = self.expanded(reading, written, echo)?;
        if text.as_str().is_empty() {
            let message = if text.has_variables() {
                format!("what {} stands for is empty", text.quoted())
            } else {
                "the text is empty".to_owned()
            };
            self.error(reading, message, Some("write a value, or remove the key".to_owned()));
            return None;
        }
        if matches!(echo, Echo::Hidden) {
            reading.document.hide_value(text.as_str());
        }
        Some(text)
    }

    pub(super) fn bool(&self, reading: &Reading<'d>) -> Option<bool> {
        reading.document.show(self.node.position);
        match &self.node.value {
            Value::Bool(b) => Some(*b),
            Value::Text(written) => match self.variable(reading, written)?.map(|text| text.as_str().parse()) {
                Some(Ok(b)) => Some(b),
                Some(Err(_)) => {
                    self.error(reading, format!("what {} stands for is not true or false", quoted(written)), None);
                    None
                }
                None => {
                    let help = match written.to_lowercase().as_str() {
                        "true" | "yes" | "on" | "1" => Some("write true"),
                        "false" | "no" | "off" | "0" => Some("write false"),
                        _ => None,
                    };
                    self.wrong_text(reading, written, "true or false", help.map(str::to_owned));
                    None
                }
            },
            _ => {
                self.wrong_type(reading, "true or false", None);
                None
            }
        }
    }

    pub(super) fn integer(&self, reading: &Reading<'d>, range: &std::ops::RangeInclusive<u64>) -> Option<u64> {
        reading.document.show(self.node.position);
        let (value, shown) = match &self.node.value {
            Value::Integer { value, written } => (*value, written.clone()),
            Value::Text(written) => match self.variable(reading, written)?.map(|text| text.as_str().parse()) {
                Some(Ok(value)) => (value, format!("what {} stands for", quoted(written))),
                Some(Err(_)) => {
                    self.error(reading, format!("what {} stands for is not a whole number", quoted(written)), None);
                    return None;
                }
                None => {
                    let help = written.parse::<u64>().ok().map(|number| format!("write {number} without quotes"));
                    self.wrong_text(reading, written, "a whole number", help);
                    return None;
                }
            },
            _ => {
                self.wrong_type(reading, "a whole number", None);
                return None;
            }
        };
        let within = u64::try_from(value).ok().filter(|value| range.contains(value));
        if within.is_none() {
            self.error(reading, format!("{shown} is not between {} and {}", range.start(), range.end()), None);
        }
        within
    }

    pub(super) fn number(&self, reading: &Reading<'d>, range: &std::ops::RangeInclusive<f64>) -> Option<f64> {
        reading.document.show(self.node.position);
        let (value, shown) = match &self.node.value {
            Value::Float { value, written } => (*value, written.clone()),
            Value::Integer { value, written } => (*value as f64, written.clone()),
            Value::Text(written) => match self.variable(reading, written)?.map(|text| text.as_str().parse()) {
                Some(Ok(value)) => (value, format!("what {} stands for", quoted(written))),
                Some(Err(_)) => {
                    self.error(reading, format!("what {} stands for is not a number", quoted(written)), None);
                    return None;
                }
                None => {
                    let help = written.parse::<f64>().ok().map(|number| format!("write {number} without quotes"));
                    self.wrong_text(reading, written, "a number", help);
                    return None;
                }
            },
            _ => {
                self.wrong_type(reading, "a number", None);
                return None;
            }
        };
        let is_within = range.contains(&value);
        if !is_within {
            self.error(reading, format!("{shown} is not between {} and {}", range.start(), range.end()), None);
        }
        is_within.then_some(value)
    }

    /// The elements of a list. A YAML key with nothing behind it is an empty one.
    pub(super) fn list(&self, reading: &Reading<'d>, of: &str) -> Vec<Slot<'d>> {
        match &self.node.value {
            Value::List(nodes) => nodes
                .iter()
                .enumerate()
                .map(|(index, node)| Slot { node, path: format!("{}[{index}]", self.path) })
                .collect(),
            Value::Null => Vec::new(),
            other => {
                let help = match other {
                    Value::Text(_) => Some("write it in [ ]".to_owned()),
                    Value::Table(_) => Some("write [[ ]] around the name, or in YAML begin each with `- `".to_owned()),
                    _ => None,
                };
                self.wrong_type(reading, &format!("a list of {of}"), help);
                Vec::new()
            }
        }
    }

    /// A table. A YAML key with nothing behind it is an empty one.
    pub(super) fn table(&self, reading: &Reading<'d>) -> Option<&'d Table> {
        match &self.node.value {
            Value::Table(table) => Some(table),
            Value::Null => Some(&EMPTY),
            _ => {
                self.wrong_type(reading, "a table", None);
                None
            }
        }
    }

    /// Where a number or a truth value belongs: the text, if it has a variable in it; `Some(None)` if not.
    fn variable(&self, reading: &Reading<'d>, written: &'d str) -> Option<Option<Text<'d>>> {
        let text = self.expanded(reading, written, Echo::Shown)?;
        Some(text.has_variables().then_some(text))
    }

    fn expanded(&self, reading: &Reading<'d>, written: &'d str, echo: Echo) -> Option<Text<'d>> {
        let refusals = match reading.expand(written) {
            Ok(expanded) => return Some(Text { written, expanded }),
            Err(refusals) => refusals,
        };
        for refusal in refusals {
            let literal = || Some("write `$${` where `${` is meant to stay".to_owned());
            match refusal {
                Refusal::Unclosed => self.error(reading, "`${` without `}`", literal()),
                Refusal::NotAName(name) => {
                    let name = if echo == Echo::Shown { quoted(&name) } else { "what stands".to_owned() };
                    let message = format!("{name} in `${{…}}` is not the name of a variable");
                    self.error(reading, message, literal());
                }
                Refusal::Missing(name) => {
                    let absence = reading.variables.absence(&name);
                    self.error(reading, absence.reason, Some(absence.help));
                }
            }
        }
        None
    }

    fn help_for_text(&self, echo: Echo) -> Option<String> {
        let written = match &self.node.value {
            Value::Bool(b) => if *b { "true" } else { "false" }.to_owned(),
            Value::Integer { written, .. } | Value::Float { written, .. } | Value::Date(written) => written.clone(),
            Value::Null => return Some("write a value, or remove the key".to_owned()),
            Value::Text(_) | Value::List(_) | Value::Table(_) => return None,
        };
        Some(match echo {
            Echo::Shown => format!("write {}", quoted(&written)),
            Echo::Hidden => "put it in quotes".to_owned(),
        })
    }

    fn wrong_type(&self, reading: &Reading<'d>, expected: &str, help: Option<String>) {
        self.error(reading, format!("expected {expected}, found {}", self.node.value.kind()), help);
    }

    fn wrong_text(&self, reading: &Reading<'d>, written: &str, expected: &str, help: Option<String>) {
        self.error(reading, format!("expected {expected}, found the text {}", quoted(written)), help);
    }
}
