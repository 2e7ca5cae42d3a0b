//! YAML 1.2 with the core schema to the tree.
//!
//! Anchors, aliases and merge keys are refused: a value that stands somewhere else cannot be pointed at
//! when it is wrong, and without them a short text cannot become a large tree. The help says what people
//! mostly meant: a text that begins with `*` or `&` needs quotes.

mod scalar;

use std::borrow::Cow;
use std::collections::HashMap;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Span, StrInput, Tag};

use super::problem::{Fault, quoted};
use super::tree::{Entry, MAX_DEPTH, Node, Position, Table, Value};

const QUOTE_IT: &str = "if it is a text, put it in quotes";

/// Parses a whole file. A file with nothing but comments is an empty table.
pub(super) fn parse(text: &str) -> Result<Table, Vec<Fault>> {
    let mut reader = Reader { text, end: end(text), parser: Parser::new_from_str(text), faults: Vec::new() };
    let table = reader.stream();
    match table {
        Ok(table) if reader.faults.is_empty() => Ok(table),
        _ => Err(reader.faults),
    }
}

struct Reader<'t> {
    text: &'t str,
    end: Position,
    parser: Parser<'t, StrInput<'t>>,
    faults: Vec<Fault>,
}

/// Reading cannot go on; the reason is among the faults.
struct Stop;

impl<'t> Reader<'t> {
    fn stream(&mut self) -> Result<Table, Stop> {
        let mut root = None;
        loop {
            let (event, span) = self.next()?;
            match event {
                Event::StreamEnd => return Ok(root.unwrap_or_default()),
                Event::DocumentStart(_) if root.is_some() => {
                    let help = Some("remove the `---` line, or what follows it");
                    return self.stop(self.position(span.start), "a second YAML document begins here", help);
                }
                Event::DocumentStart(_) => root = Some(self.root()?),
                _ => {}
            }
        }
    }

    fn root(&mut self) -> Result<Table, Stop> {
        let (event, span) = self.next()?;
        let node = self.node(event, span, 1)?;
        match node.value {
            Value::Null => Ok(Table::default()),
            Value::Table(table) => Ok(table),
            other => {
                let message = format!("the file must consist of keys and values, and this is {}", other.kind());
                self.stop(node.position, message, Some("write `key: value`"))
            }
        }
    }

    /// `depth` is how many lists and tables there are with this one, if it is one.
    fn node(&mut self, event: Event<'t>, span: Span, depth: usize) -> Result<Node, Stop> {
        let position = self.position(span.start);
        let value = match event {
            Event::Scalar(text, style, anchor, tag) => {
                self.refuse_anchor(position, anchor);
                self.scalar(position, text, style, tag.as_deref())
            }
            Event::SequenceStart(anchor, tag) => {
                self.refuse_anchor(position, anchor);
                self.check_collection_tag(position, tag.as_deref(), "seq");
                self.check_depth(position, depth)?;
                Value::List(self.list(depth)?)
            }
            Event::MappingStart(anchor, tag) => {
                self.refuse_anchor(position, anchor);
                self.check_collection_tag(position, tag.as_deref(), "map");
                self.check_depth(position, depth)?;
                Value::Table(self.table(depth)?)
            }
            Event::Alias(_) => {
                self.fault(position, "`*` begins a YAML alias, and aliases are not supported", Some(QUOTE_IT));
                Value::Null
            }
            _ => return self.stop(position, "a value was expected here", None),
        };
        Ok(Node { position, value })
    }

    fn list(&mut self, depth: usize) -> Result<Vec<Node>, Stop> {
        let mut nodes = Vec::new();
        loop {
            match self.next()? {
                (Event::SequenceEnd, _) => return Ok(nodes),
                (event, span) => nodes.push(self.node(event, span, depth + 1)?),
            }
        }
    }

    fn table(&mut self, depth: usize) -> Result<Table, Stop> {
        let mut entries = Vec::new();
        let mut lines = HashMap::new();
        loop {
            let (event, span) = self.next()?;
            let key_position = self.position(span.start);
            let key = match event {
                Event::MappingEnd => return Ok(Table { entries }),
                Event::Scalar(text, style, anchor, tag) => {
                    self.refuse_anchor(key_position, anchor);
                    self.check_key(key_position, &text, style, tag.as_deref());
                    text.into_owned()
                }
                other => {
                    self.node(other, span, depth + 1)?;
                    self.fault(key_position, "a key must be a text", Some(QUOTE_IT));
                    String::new()
                }
            };
            let (event, span) = self.next()?;
            let mut node = self.node(event, span, depth + 1)?;
            let is_below = node.position.line != key_position.line;
            if node.value == Value::Null || (is_below && matches!(node.value, Value::List(_) | Value::Table(_))) {
                // What is not there the parser places at whatever comes next, and a person looks for a block at its key.
                node.position = key_position;
            }
            match lines.get(&key) {
                Some(first_line) => {
                    let message = format!("the key {} is given twice; first on line {first_line}", quoted(&key));
                    self.fault(key_position, message, Some("remove one of them"));
                }
                None => {
                    lines.insert(key.clone(), key_position.line);
                    entries.push(Entry { key, key_position, node });
                }
            }
        }
    }

    fn scalar(&mut self, position: Position, text: Cow<'t, str>, style: ScalarStyle, tag: Option<&Tag>) -> Value {
        let Some(tag) = tag else {
            return match style {
                ScalarStyle::Plain => scalar::resolve(&text),
                _ => Value::Text(text.into_owned()),
            };
        };
        match scalar::resolve_tagged(&text, tag) {
            Some(value) => value,
            None => {
                let message = format!("the tag {} does not fit here", quoted(&tag.to_string()));
                self.fault(position, message, Some(QUOTE_IT));
                Value::Null
            }
        }
    }

    fn check_key(&mut self, position: Position, text: &str, style: ScalarStyle, tag: Option<&Tag>) {
        if tag.is_some() {
            self.fault(position, "a key cannot have a tag", Some("put it in quotes"));
        } else if style == ScalarStyle::Plain && text == "<<" {
            self.fault(position, "`<<` merges tables in YAML, which is not supported", Some("write the keys here"));
        } else if style == ScalarStyle::Plain && text.is_empty() {
            self.fault(position, "a key is missing before the `:`", None);
        }
    }

    fn check_collection_tag(&mut self, position: Position, tag: Option<&Tag>, own: &str) {
        if let Some(tag) = tag
            && !(tag.is_yaml_core_schema() && tag.suffix == own)
        {
            self.fault(position, format!("the tag {} does not fit here", quoted(&tag.to_string())), None);
        }
    }

    fn check_depth(&mut self, position: Position, depth: usize) -> Result<(), Stop> {
        if depth <= MAX_DEPTH {
            return Ok(());
        }
        self.stop(position, format!("lists and tables are nested more than {MAX_DEPTH} deep"), None)
    }

    fn refuse_anchor(&mut self, position: Position, anchor: usize) {
        if anchor != 0 {
            self.fault(position, "`&` begins a YAML anchor, and anchors are not supported", Some(QUOTE_IT));
        }
    }

    fn next(&mut self) -> Result<(Event<'t>, Span), Stop> {
        match self.parser.next_event() {
            Some(Ok(next)) => Ok(next),
            Some(Err(error)) => {
                let fault = self.syntax_error(&error);
                self.faults.push(fault);
                Err(Stop)
            }
            None => self.stop(Position::START, "the text ends too early", None),
        }
    }

    fn syntax_error(&self, error: &ScanError) -> Fault {
        let marker = error.marker();
        let line = self.text.lines().nth(marker.line().saturating_sub(1)).unwrap_or_default();
        let help = match line.chars().nth(marker.col()) {
            _ if line.trim_start_matches(' ').starts_with('\t') => Some("indent with spaces"),
            Some('"') => Some("close the quotes; and where `\\` is not an escape, use '…' instead"),
            Some('\'') => Some("close the quotes; a ' between them is written ''"),
            Some('*' | '&' | '@' | '`' | '%' | '!' | '{' | '[' | '|' | '>' | ':') => Some(QUOTE_IT),
            _ => None,
        };
        Fault::new(self.position(*marker), format!("this is not YAML: {}", error.info()), help)
    }

    /// The parser ends a last line that has no end, and is then on a line that the file does not have.
    fn position(&self, marker: Marker) -> Position {
        Position { line: marker.line().max(1), column: marker.col() + 1 }.min(self.end)
    }

    fn fault(&mut self, position: Position, message: impl Into<String>, help: Option<&str>) {
        self.faults.push(Fault::new(position, message, help));
    }

    fn stop<T>(&mut self, position: Position, message: impl Into<String>, help: Option<&str>) -> Result<T, Stop> {
        self.fault(position, message, help);
        Err(Stop)
    }
}

/// The place behind the last character.
fn end(text: &str) -> Position {
    let n_breaks = text.matches(['\n', '\r']).count() - text.matches("\r\n").count();
    let last = text.rsplit(['\n', '\r']).next().unwrap_or_default();
    Position { line: n_breaks + 1, column: last.chars().count() + 1 }
}

#[cfg(test)]
mod tests;
