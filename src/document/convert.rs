//! YAML as TOML: the same values under the same keys, and the comments beside them as far as TOML has a place there.
//!
//! A comment on a line of its own belongs to what follows it, one behind a value to that value. What is written comes out
//! checked: it is read again and must say what the YAML said.

use std::collections::VecDeque;

use saphyr_parser::{Event, Parser};
use toml_edit::{Array, ArrayOfTables, DocumentMut, InlineTable, Item, Value as Written};

use super::problem::{Fault, Problem};
use super::tree::{self, Node, Position, Value};
use super::{Document, toml};

/// A text in TOML that says what one in YAML said.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Converted {
    /// In TOML.
    pub text: String,
    /// What could not come along, a sentence each.
    pub lost: Vec<String>,
}

/// Writes a YAML text in TOML. `file` is how problems name it.
///
/// # Errors
/// What is wrong with the text.
pub fn toml_of_yaml(file: &str, text: &str) -> Result<Converted, Vec<Problem>> {
    // For its limits.
    let document = Document::parse_yaml(file, text)?;
    let mut writer = Writer { comments: comments(text), lost: Vec::new() };
    let table = writer.table(&document.table);
    let rest = writer.above(usize::MAX);
    let mut written = DocumentMut::from(table);
    written.set_trailing(rest);
    let text = written.to_string().trim_start_matches('\n').to_owned();
    let is_same = toml::parse(&text).is_ok_and(|read| is_same_table(&document.table, &read));
    if !is_same {
        let message =
            "this text cannot be written in TOML without a change of what it says; write config.toml yourself";
        return Err(vec![Problem::syntax(file, Fault::new(Position::START, message.to_owned(), None))]);
    }
    Ok(Converted { text, lost: writer.lost })
}

/// `# so`, and where it stands.
#[derive(Debug)]
struct Comment {
    line: usize,
    text: String,
}

/// All of them, in order: what begins with `#` behind a space or at the start of a line, and is in no text.
fn comments(text: &str) -> VecDeque<Comment> {
    let mut texts = Vec::new();
    let mut parser = Parser::new_from_str(text);
    while let Some(Ok((event, span))) = parser.next_event() {
        match event {
            Event::Scalar(..) => texts.push(span.start.index()..span.end.index()),
            Event::StreamEnd => break,
            _ => {}
        }
    }
    let (mut found, mut texts) = (VecDeque::new(), texts.into_iter().peekable());
    let (mut at, mut line) = (0, 1);
    for whole in text.split_inclusive('\n') {
        let mut before = ' ';
        for (n, c) in whole.chars().enumerate() {
            while texts.next_if(|range| range.end <= at + n).is_some() {}
            let is_in_text = texts.peek().is_some_and(|range| range.contains(&(at + n)));
            if c == '#' && before.is_whitespace() && !is_in_text {
                let text: String = whole.chars().skip(n).collect();
                // TOML has no place for other control characters.
                let text = text.trim_end().chars().filter(|c| !c.is_control() || *c == '\t').collect();
                found.push_back(Comment { line, text });
                break;
            }
            before = c;
        }
        at += whole.chars().count();
        line += 1;
    }
    found
}

struct Writer {
    /// Those that have no place yet.
    comments: VecDeque<Comment>,
    lost: Vec<String>,
}

impl Writer {
    /// Comments of lines before this one, one a line.
    fn above(&mut self, line: usize) -> String {
        let mut lines = String::new();
        while let Some(comment) = self.comments.pop_front_if(|comment| comment.line < line) {
            lines.push_str(&comment.text);
            lines.push('\n');
        }
        lines
    }

    /// The comment on this line, with a space before it.
    fn beside(&mut self, line: usize) -> String {
        let comment = self.comments.pop_front_if(|comment| comment.line == line);
        comment.map(|comment| format!(" {}", comment.text)).unwrap_or_default()
    }

    fn lose(&mut self, position: Position, what: &str) {
        self.lost.push(format!("line {}: {what}", position.line));
    }

    fn table(&mut self, table: &tree::Table) -> toml_edit::Table {
        let mut written = toml_edit::Table::new();
        for entry in &table.entries {
            let line = entry.key_position.line;
            if entry.node.value == Value::Null {
                self.lose(entry.key_position, &format!("{:?} has no value, and is left out", entry.key));
                continue;
            }
            let above = self.above(line);
            let item = match &entry.node.value {
                Value::Table(table) => {
                    let beside = self.beside(line);
                    let mut inner = self.table(table);
                    decorate(&mut inner, &above, &beside);
                    Item::Table(inner)
                }
                Value::List(nodes) if is_of_tables(nodes) => Item::ArrayOfTables(self.tables(nodes, above, line)),
                _ => {
                    let Some(mut value) = self.value(&entry.node) else { continue };
                    value.decor_mut().set_prefix(" ");
                    value.decor_mut().set_suffix(self.beside(line));
                    written.insert(&entry.key, Item::Value(value));
                    if let Some(mut key) = written.key_mut(&entry.key) {
                        key.leaf_decor_mut().set_prefix(above);
                    }
                    continue;
                }
            };
            written.insert(&entry.key, item);
        }
        written
    }

    fn tables(&mut self, nodes: &[Node], mut above: String, line: usize) -> ArrayOfTables {
        let mut beside = self.beside(line);
        let mut written = ArrayOfTables::new();
        for node in nodes {
            let Value::Table(table) = &node.value else { continue };
            above.push_str(&self.above(node.position.line));
            let mut inner = self.table(table);
            decorate(&mut inner, &above, &beside);
            (above, beside) = (String::new(), String::new());
            written.push(inner);
        }
        written
    }

    /// In one line, or a list with comments in several.
    fn value(&mut self, node: &Node) -> Option<Written> {
        Some(match &node.value {
            Value::Null => {
                self.lose(node.position, "an element has no value, and is left out");
                return None;
            }
            Value::Bool(flag) => (*flag).into(),
            Value::Integer { value, .. } => match i64::try_from(*value) {
                Ok(n) => n.into(),
                Err(_) => {
                    self.lose(node.position, "a number is too large, and is left out");
                    return None;
                }
            },
            Value::Float { value, .. } => (*value).into(),
            Value::Date(text) | Value::Text(text) => text.as_str().into(),
            Value::Table(table) => {
                let mut written = InlineTable::new();
                for entry in &table.entries {
                    if let Some(value) = self.value(&entry.node) {
                        written.insert(&entry.key, value);
                    }
                }
                written.into()
            }
            Value::List(nodes) => self.list(nodes, node.position.line),
        })
    }

    fn list(&mut self, nodes: &[Node], line: usize) -> Written {
        let mut written = Array::new();
        let mut has_comments = false;
        for node in nodes {
            // One behind an element goes above the next: TOML wants the comma first.
            let above = if node.position.line > line { self.above(node.position.line) } else { String::new() };
            let Some(mut value) = self.value(node) else { continue };
            has_comments |= !above.is_empty();
            let comments: String = above.lines().map(|comment| format!("\n    {comment}")).collect();
            value.decor_mut().set_prefix(comments);
            written.push_formatted(value);
        }
        if has_comments {
            for value in written.iter_mut() {
                let comments = value.decor().prefix().and_then(|prefix| prefix.as_str()).unwrap_or_default().to_owned();
                value.decor_mut().set_prefix(format!("{comments}\n    "));
            }
            written.set_trailing("\n");
            written.set_trailing_comma(true);
        } else {
            for value in written.iter_mut().skip(1) {
                value.decor_mut().set_prefix(" ");
            }
        }
        written.into()
    }
}

fn decorate(table: &mut toml_edit::Table, above: &str, beside: &str) {
    table.decor_mut().set_prefix(format!("\n{above}"));
    table.decor_mut().set_suffix(beside);
}

fn is_of_tables(nodes: &[Node]) -> bool {
    !nodes.is_empty() && nodes.iter().all(|node| matches!(node.value, Value::Table(_)))
}

/// Does it say the same? What says nothing need not be there, and in TOML tables come last.
fn is_same_table(yaml: &tree::Table, read: &tree::Table) -> bool {
    let said = |table: &tree::Table| table.entries.iter().filter(|entry| !is_nothing(&entry.node)).count();
    said(yaml) == said(read)
        && yaml.entries.iter().filter(|entry| !is_nothing(&entry.node)).all(|entry| {
            let own = read.entries.iter().find(|other| other.key == entry.key);
            own.is_some_and(|own| is_same(&entry.node.value, &own.node.value))
        })
}

fn is_nothing(node: &Node) -> bool {
    match &node.value {
        Value::Null => true,
        Value::Integer { value, .. } => i64::try_from(*value).is_err(),
        _ => false,
    }
}

fn is_same(yaml: &Value, read: &Value) -> bool {
    match (yaml, read) {
        (Value::Table(yaml), Value::Table(read)) => is_same_table(yaml, read),
        (Value::List(yaml), Value::List(read)) => {
            let yaml: Vec<&Node> = yaml.iter().filter(|node| !is_nothing(node)).collect();
            yaml.len() == read.len() && yaml.iter().zip(read).all(|(yaml, read)| is_same(&yaml.value, &read.value))
        }
        (Value::Integer { value: yaml, .. }, Value::Integer { value: read, .. }) => yaml == read,
        (Value::Float { value: yaml, .. }, Value::Float { value: read, .. }) => {
            yaml == read || (yaml.is_nan() && read.is_nan())
        }
        (yaml, read) => yaml == read,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::yaml;
    use super::*;

    fn check(yaml: &str, toml: &str) {
        let converted = toml_of_yaml("config.yml", yaml).unwrap();
        assert_eq!(converted.text, toml, "{yaml}");
        assert_eq!(converted.lost, Vec::<String>::new());
    }

    #[test]
    fn values_keep_their_keys_and_tables_come_last() {
        check("a: 1\nb: x\n", "a = 1\nb = \"x\"\n");
        check("session:\n  dmScope: main\nn: 1.5\n", "n = 1.5\n\n[session]\ndmScope = \"main\"\n");
        check(
            "channels:\n  - type: slack\n    id: \"1\"\n  - type: webchat\n",
            "[[channels]]\ntype = \"slack\"\nid = \"1\"\n\n[[channels]]\ntype = \"webchat\"\n",
        );
        check("allow: [a, b]\nyes: true\nempty: {}\n", "allow = [\"a\", \"b\"]\nyes = true\n\n[empty]\n");
        check("\"a b\": '#no'\n", "\"a b\" = \"#no\"\n");
        check("t: |\n  one\n  # two\n", "t = \"\"\"\none\n# two\n\"\"\"\n");
    }

    #[test]
    fn comments_come_along() {
        let yaml = "# head\n\n# of a\na: 1 # beside a\n# of s\nsession: # beside s\n  # of b\n  b: x#y\nlist:\n  # first\n  - u1 # second?\n  - u2\n# of channels\nchannels:\n  # of slack\n  - type: slack # beside\n# foot\n";
        let toml = "# head\n# of a\na = 1 # beside a\nlist = [\n    # first\n    \"u1\",\n    # second?\n    \"u2\",\n]\n\n# of s\n[session] # beside s\n# of b\nb = \"x#y\"\n\n# of channels\n# of slack\n[[channels]]\ntype = \"slack\" # beside\n# foot\n";
        check(yaml, toml);
    }

    #[test]
    fn what_does_not_come_along_is_said() {
        let converted = toml_of_yaml("config.yml", "a:\nb: 1\nc: 99999999999999999999\n").unwrap();
        assert_eq!(converted.text, "b = 1\n");
        let expected =
            ["line 1: \"a\" has no value, and is left out", "line 3: a number is too large, and is left out"];
        assert_eq!(converted.lost, expected);
        assert!(toml_of_yaml("config.yml", "a: &b 1\n").is_err());
    }

    #[test]
    fn the_example_says_the_same() {
        let yaml = include_str!("../../docs/example.yml");
        let converted = toml_of_yaml("example.yml", yaml).unwrap();
        assert_eq!(converted.lost, Vec::<String>::new());
        let count = |text: &str| text.lines().filter(|line| line.trim_start().starts_with('#')).count();
        assert!(count(yaml) > 3 && count(&converted.text) >= count(yaml), "{}", converted.text);
    }

    proptest! {
        /// Texts may hold anything; comments stand everywhere.
        #[test]
        fn whatever_a_text_says_it_says_the_same_afterwards(
            texts in proptest::collection::vec("[ -~\u{e4}\n\t\u{1f600}]{0,12}", 1..5),
            comment in "[ -~]{0,10}",
        ) {
            let mut yaml = String::new();
            for (n, text) in texts.iter().enumerate() {
                let quoted = serde_json::to_string(text).unwrap();
                yaml.push_str(&format!("# {comment}\nk{n}: {quoted} # {comment}\nl{n}:\n  - {quoted}\n  # {comment}\n  - x: {quoted}\n"));
            }
            let converted = toml_of_yaml("x.yml", &yaml).unwrap();
            prop_assert_eq!(converted.lost.len(), 0);
            prop_assert_eq!(converted.text.matches("# ").count() >= texts.len() * 3, true, "{}", converted.text);
            let read = toml::parse(&converted.text).unwrap();
            prop_assert!(is_same_table(&yaml::parse(&yaml).unwrap(), &read));
        }
    }
}
