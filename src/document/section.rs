//! How a component reads its own keys.

use std::fmt;
use std::ops::RangeInclusive;
use std::rc::Rc;

use super::fingerprint::fingerprint;
use super::problem::quoted;
use super::slot::{Echo, Reading, Slot, Text};
use super::spelling::{camel_case, nearest};
use super::tree::{Entry, Position, Table, Value};
use super::{Document, Secret, Severity, Variables};

/// One table of the file, while a component reads it.
///
/// Keys are asked for in `snake_case`; the operator may have written them in `camelCase`. Every `take_…`
/// answers `None` when the key is absent *or* wrong; the second case has been noted as a problem. A key
/// that nobody asked for is a problem of its own when the section is finished or dropped; whoever gives
/// up early, because the rest cannot be understood, calls [`Section::abandon`].
pub struct Section<'d> {
    reading: Rc<Reading<'d>>,
    table: &'d Table,
    position: Position,
    path: String,
    asked: Vec<Name>,
    is_abandoned: bool,
}

/// A place in the file for problems that are found after the sections have been read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    pub(super) position: Position,
    pub(super) path: String,
}

impl Place {
    /// As in `channels[1].botToken`; empty for the whole file.
    #[must_use]
    pub fn path(&self) -> &str {
        &self.path
    }

    /// Line and column, both from 1; the column in Unicode scalar values.
    #[must_use]
    pub fn line_and_column(&self) -> (usize, usize) {
        (self.position.line, self.position.column)
    }
}

/// How many unknown keys of one table are compared with the known ones: more is another file by mistake.
const MAX_UNKNOWN_KEYS: usize = 100;

/// A key that was asked for, in both spellings.
struct Name {
    snake: String,
    camel: String,
}

impl Name {
    fn new(snake: &str) -> Self {
        Self { snake: snake.to_owned(), camel: camel_case(snake) }
    }

    fn is(&self, key: &str) -> bool {
        self.snake == key || self.camel == key
    }
}

impl<'d> Section<'d> {
    pub(super) fn root(document: &'d Document, variables: &'d dyn Variables) -> Self {
        let reading = Rc::new(Reading::new(document, variables));
        Self::new(reading, document.table(), Position::START, String::new())
    }

    fn new(reading: Rc<Reading<'d>>, table: &'d Table, position: Position, path: String) -> Self {
        Self { reading, table, position, path, asked: Vec::new(), is_abandoned: false }
    }

    /// A text, `${NAME}` replaced. An empty text is a problem.
    pub fn take_string(&mut self, key: &str) -> Option<String> {
        self.take_text(key, Echo::Shown).map(|(_, text)| text.into_string())
    }

    /// A text that must not be shown. An empty text is a problem.
    pub fn take_secret(&mut self, key: &str) -> Option<Secret> {
        self.take_text(key, Echo::Hidden).map(|(_, text)| Secret::new(text.into_string()))
    }

    /// A list of texts that must not be shown. Absent: empty.
    pub fn take_secrets(&mut self, key: &str) -> Vec<Secret> {
        let texts = self.find(key).map(|slot| self.texts(&slot, Echo::Hidden)).unwrap_or_default();
        texts.into_iter().map(|(_, text)| Secret::new(text.into_string())).collect()
    }

    /// A text through `parse`; its error becomes the problem's message.
    ///
    /// Not for secrets: the error may repeat the text. What a variable added is never shown.
    pub fn take_parsed<T, E: fmt::Display>(
        &mut self,
        key: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Option<T> {
        let (slot, text) = self.take_text(key, Echo::Shown)?;
        self.parsed(&slot, &text, parse(text.as_str()))
    }

    /// One of the listed words; any other is a problem that lists them and names the nearest.
    pub fn take_choice<T: Copy>(&mut self, key: &str, choices: &[(&str, T)]) -> Option<T> {
        self.take_choice_or_help(key, choices, &[])
    }

    /// The same, with the help that some other words get.
    pub fn take_choice_or_help<T: Copy>(
        &mut self,
        key: &str,
        choices: &[(&str, T)],
        helps: &[(&str, &str)],
    ) -> Option<T> {
        let (slot, text) = self.take_text(key, Echo::Shown)?;
        let words = || choices.iter().map(|(word, _)| *word);
        let choice = choices.iter().find(|(word, _)| *word == text.as_str()).map(|(_, choice)| *choice);
        if choice.is_none() {
            let message = format!("{} is not one of {}", text.quoted(), words().collect::<Vec<_>>().join(", "));
            let help = helps.iter().find(|(word, _)| *word == text.as_str()).map(|(_, help)| (*help).to_owned());
            let meant = || if text.has_variables() { None } else { nearest(text.as_str(), words()) };
            slot.error(&self.reading, message, help.or_else(|| meant().map(did_you_mean)));
        }
        choice
    }

    /// True or false, or a text with a `${NAME}` that stands for it.
    pub fn take_bool(&mut self, key: &str) -> Option<bool> {
        self.find(key)?.bool(&self.reading)
    }

    /// A whole number within `range`, or a text with a `${NAME}` that stands for it.
    pub fn take_integer(&mut self, key: &str, range: RangeInclusive<u64>) -> Option<u64> {
        self.find(key)?.integer(&self.reading, &range)
    }

    /// A number within `range`, whole or not, or a text with a `${NAME}` that stands for it.
    pub fn take_number(&mut self, key: &str, range: RangeInclusive<f64>) -> Option<f64> {
        self.find(key)?.number(&self.reading, &range)
    }

    /// A list of texts. Absent: empty.
    pub fn take_strings(&mut self, key: &str) -> Vec<String> {
        self.take_texts(key).into_iter().map(|(_, text)| text.into_string()).collect()
    }

    /// A list of texts, each through `parse`; problems name the index.
    pub fn take_parsed_list<T, E: fmt::Display>(
        &mut self,
        key: &str,
        mut parse: impl FnMut(&str) -> Result<T, E>,
    ) -> Vec<T> {
        let texts = self.take_texts(key);
        texts.iter().filter_map(|(slot, text)| self.parsed(slot, text, parse(text.as_str()))).collect()
    }

    /// A table below this one.
    pub fn take_section(&mut self, key: &str) -> Option<Section<'d>> {
        let slot = self.find(key)?;
        self.section(slot)
    }

    /// A list of tables. Absent: empty.
    pub fn take_sections(&mut self, key: &str) -> Vec<Section<'d>> {
        let Some(slot) = self.find(key) else { return Vec::new() };
        slot.list(&self.reading, "tables").into_iter().filter_map(|slot| self.section(slot)).collect()
    }

    /// A table whose keys the operator chose, each with a list of texts (`identityLinks`): the keys as written.
    pub fn take_lists_by_name(&mut self, key: &str) -> Vec<(String, Vec<String>)> {
        let Some(slot) = self.find(key) else { return Vec::new() };
        let Some(table) = slot.table(&self.reading) else { return Vec::new() };
        self.reading.keys_are_own(table);
        let lists = table.entries.iter().map(|entry| {
            let slot = Slot { node: &entry.node, path: join(&slot.path, &entry.key) };
            let texts = self.texts(&slot, Echo::Shown);
            (entry.key.clone(), texts.into_iter().map(|(_, text)| text.into_string()).collect())
        });
        lists.collect()
    }

    /// Is the key written, rightly or wrongly? The key counts as asked for.
    pub fn has(&mut self, key: &str) -> bool {
        self.find(key).is_some()
    }

    /// Notes that `key`, which this section cannot do without, is absent. `help` says what to write.
    /// Does nothing if the key is there: what is wrong with it has been noted.
    pub fn missing(&mut self, key: &str, help: &str) {
        if self.find(key).is_none() {
            let message = format!("{} is missing", quoted(key));
            self.note(self.position, &self.path, Severity::Error, message, Some(help.to_owned()));
        }
    }

    /// Notes a problem at `key` (present or not), or at the section itself when `key` is empty.
    pub fn problem(&mut self, severity: Severity, key: &str, message: impl Into<String>, help: Option<String>) {
        let place = self.place(key);
        self.reading.document.note(&place, severity, message, help);
    }

    /// Where `key` is, or would be; the section itself when `key` is empty.
    #[must_use]
    pub fn place(&self, key: &str) -> Place {
        if key.is_empty() {
            return Place { position: self.position, path: self.path.clone() };
        }
        match self.entry(key) {
            Some(entry) => Place { position: entry.node.position, path: join(&self.path, &entry.key) },
            None => Place { position: self.position, path: join(&self.path, key) },
        }
    }

    /// Where an element of the list at `key` is; the list itself when there is no such element.
    #[must_use]
    pub fn place_in_list(&self, key: &str, index: usize) -> Place {
        let node = self.entry(key).and_then(|entry| match &entry.node.value {
            Value::List(nodes) => nodes.get(index),
            _ => None,
        });
        let list = self.place(key);
        match node {
            Some(node) => Place { position: node.position, path: format!("{}[{index}]", list.path) },
            None => list,
        }
    }

    /// A digest of all that this section says, variables replaced: equal digests mean nothing changed.
    /// Syntax, order and spelling of the keys do not count. Ask for it after the section has been read:
    /// only then are the names of [`Section::take_lists_by_name`] known to be the operator's own.
    #[must_use]
    pub fn fingerprint(&self) -> [u8; 32] {
        self.fingerprint_without(&[])
    }

    /// The same without what these keys say, given in snake case.
    #[must_use]
    pub fn fingerprint_without(&self, keys: &[&str]) -> [u8; 32] {
        fingerprint(self.table, keys, &*self.reading)
    }

    /// Ends reading: every key that nobody took is a problem that names the nearest key somebody asked for.
    pub fn finish(self) {}

    /// Ends reading without a word about the keys that nobody took, but for those that look misspelt.
    pub fn abandon(mut self) {
        self.is_abandoned = true;
    }

    fn take_text(&mut self, key: &str, echo: Echo) -> Option<(Slot<'d>, Text<'d>)> {
        let slot = self.find(key)?;
        let text = slot.text(&self.reading, echo)?;
        Some((slot, text))
    }

    fn take_texts(&mut self, key: &str) -> Vec<(Slot<'d>, Text<'d>)> {
        self.find(key).map(|slot| self.texts(&slot, Echo::Shown)).unwrap_or_default()
    }

    fn texts(&self, slot: &Slot<'d>, echo: Echo) -> Vec<(Slot<'d>, Text<'d>)> {
        let slots = slot.list(&self.reading, "texts").into_iter();
        slots.filter_map(|slot| slot.text(&self.reading, echo).map(|text| (slot, text))).collect()
    }

    fn parsed<T, E: fmt::Display>(&self, slot: &Slot<'d>, text: &Text<'d>, result: Result<T, E>) -> Option<T> {
        match result {
            Ok(value) => Some(value),
            Err(error) => {
                slot.error(&self.reading, text.without_values(error.to_string()), None);
                None
            }
        }
    }

    fn section(&self, slot: Slot<'d>) -> Option<Section<'d>> {
        let table = slot.table(&self.reading)?;
        Some(Section::new(Rc::clone(&self.reading), table, slot.node.position, slot.path))
    }

    /// The value of `key` in either spelling; from now on the key is known.
    fn find(&mut self, key: &str) -> Option<Slot<'d>> {
        let name = Name::new(key);
        let mut entries = self.table.entries.iter().filter(|entry| name.is(&entry.key));
        let first = entries.next();
        if let (Some(first), Some(second)) = (first, entries.next()) {
            let message = format!("given twice; also as {} on line {}", quoted(&first.key), first.key_position.line);
            let path = join(&self.path, &second.key);
            self.note(second.key_position, &path, Severity::Error, message, Some("remove one of them".to_owned()));
        }
        if !self.asked.iter().any(|asked| asked.snake == key) {
            self.asked.push(name);
        }
        first.map(|entry| Slot { node: &entry.node, path: join(&self.path, &entry.key) })
    }

    fn entry(&self, key: &str) -> Option<&'d Entry> {
        let name = Name::new(key);
        self.table.entries.iter().find(|entry| name.is(&entry.key))
    }

    fn note_unknown_keys(&self) {
        let is_known = |entry: &Entry| self.asked.iter().any(|name| name.is(&entry.key));
        // A reader that gave up has not asked for all keys: then only what looks like one of them is misspelt.
        let spellings = || self.asked.iter().flat_map(|name| [name.snake.as_str(), name.camel.as_str()]);
        let is_misspelt = |entry: &Entry| nearest(&entry.key, spellings()).is_some();
        let is_unknown = |entry: &&Entry| !is_known(entry) && (!self.is_abandoned || is_misspelt(entry));
        for (index, entry) in self.table.entries.iter().filter(is_unknown).enumerate() {
            let path = join(&self.path, &entry.key);
            let (message, help) = match index {
                MAX_UNKNOWN_KEYS => ("unknown key, as are others below", None),
                _ => ("unknown key", self.help_for_unknown(&entry.key)),
            };
            self.note(entry.key_position, &path, Severity::Error, message.to_owned(), help);
            if index == MAX_UNKNOWN_KEYS {
                break;
            }
        }
    }

    fn help_for_unknown(&self, key: &str) -> Option<String> {
        let spellings = self.asked.iter().flat_map(|name| [name.snake.as_str(), name.camel.as_str()]);
        match nearest(key, spellings) {
            Some(key) => Some(did_you_mean(key)),
            None if self.asked.is_empty() => None,
            None => {
                let mut known: Vec<_> = self.asked.iter().map(|name| name.snake.as_str()).collect();
                known.sort_unstable();
                Some(format!("the keys here are {}", known.join(", ")))
            }
        }
    }

    fn note(&self, position: Position, path: &str, severity: Severity, message: String, help: Option<String>) {
        self.reading.document.note_at(position, path, severity, message, help);
    }
}

impl Drop for Section<'_> {
    fn drop(&mut self) {
        self.note_unknown_keys();
    }
}

/// Without the values: among them are secrets.
impl fmt::Debug for Section<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Section").field("path", &self.path).finish_non_exhaustive()
    }
}

fn did_you_mean(word: &str) -> String {
    format!("did you mean \"{word}\"?")
}

/// `channels[1]` and `botToken`: `channels[1].botToken`. Keys that would be hard to read are in quotes.
fn join(path: &str, key: &str) -> String {
    let is_plain = !key.is_empty() && key.len() <= 80 && key.chars().all(|c| c.is_alphanumeric() || "_-".contains(c));
    let key = if is_plain { key.to_owned() } else { quoted(key) };
    if path.is_empty() { key } else { format!("{path}.{key}") }
}

#[cfg(test)]
mod tests;
