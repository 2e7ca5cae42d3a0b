//! TOML to the tree.

use toml_edit::{Document, InlineTable, Item, Key, TableLike};

use super::problem::Fault;
use super::tree::{Entry, MAX_DEPTH, Node, Position, Table, Value};

/// Parses a whole file.
pub(super) fn parse(text: &str) -> Result<Table, Vec<Fault>> {
    let mut reader = Reader { text, cursor: Cursor::new(text), faults: Vec::new() };
    let document = match Document::parse(text) {
        Ok(document) => document,
        Err(error) => return Err(vec![reader.syntax_error(&error)]),
    };
    let table = reader.table(document.as_table(), 1);
    if reader.faults.is_empty() { Ok(table) } else { Err(reader.faults) }
}

struct Reader<'t> {
    text: &'t str,
    cursor: Cursor<'t>,
    faults: Vec<Fault>,
}

impl Reader<'_> {
    fn syntax_error(&mut self, error: &toml_edit::TomlError) -> Fault {
        let offset = error.span().map_or(0, |span| span.start);
        let message = error.message().trim().replace('\n', ", ");
        Fault::new(self.cursor.position(offset), message, None)
    }

    fn table(&mut self, table: &dyn TableLike, depth: usize) -> Table {
        let mut entries = Vec::new();
        for (name, item) in table.iter() {
            let key_offset = table.key(name).and_then(Key::span).map(|span| span.start);
            let item_offset = item.span().map(|span| span.start);
            let key_position = self.cursor.position(key_offset.or(item_offset).unwrap_or(0));
            // A table made by a dotted key has no text of its own.
            let position = item_offset.map_or(key_position, |offset| self.cursor.position(offset));
            if let Some(value) = self.item(item, position, depth) {
                entries.push(Entry { key: name.to_owned(), key_position, node: Node { position, value } });
            }
        }
        Table { entries }
    }

    fn item(&mut self, item: &Item, position: Position, depth: usize) -> Option<Value> {
        match item {
            Item::None => None,
            Item::Value(value) => self.value(value, position, depth),
            Item::Table(table) => {
                self.may_nest(position, depth).then(|| self.table(table, depth + 1)).map(Value::Table)
            }
            Item::ArrayOfTables(tables) => self.may_nest(position, depth).then(|| {
                let mut nodes = Vec::new();
                for table in tables {
                    let position = self.cursor.position(table.span().map_or(0, |span| span.start));
                    if self.may_nest(position, depth + 1) {
                        nodes.push(Node { position, value: Value::Table(self.table(table, depth + 2)) });
                    }
                }
                Value::List(nodes)
            }),
        }
    }

    fn value(&mut self, value: &toml_edit::Value, position: Position, depth: usize) -> Option<Value> {
        let written = || value.span().and_then(|span| self.text.get(span)).unwrap_or_default().to_owned();
        Some(match value {
            toml_edit::Value::String(text) => Value::Text(text.value().clone()),
            toml_edit::Value::Integer(n) => Value::Integer { value: i128::from(*n.value()), written: written() },
            toml_edit::Value::Float(n) => Value::Float { value: *n.value(), written: written() },
            toml_edit::Value::Boolean(b) => Value::Bool(*b.value()),
            toml_edit::Value::Datetime(_) => Value::Date(written()),
            toml_edit::Value::Array(array) => {
                if !self.may_nest(position, depth) {
                    return None;
                }
                let mut nodes = Vec::new();
                for element in array {
                    let position = self.cursor.position(element.span().map_or(0, |span| span.start));
                    if let Some(value) = self.value(element, position, depth + 1) {
                        nodes.push(Node { position, value });
                    }
                }
                Value::List(nodes)
            }
            toml_edit::Value::InlineTable(table) => return self.inline_table(table, position, depth),
        })
    }

    fn inline_table(&mut self, table: &InlineTable, position: Position, depth: usize) -> Option<Value> {
        self.may_nest(position, depth).then(|| self.table(table, depth + 1)).map(Value::Table)
    }

    /// May a list or table begin inside of `depth` others?
    fn may_nest(&mut self, position: Position, depth: usize) -> bool {
        let may_nest = depth < MAX_DEPTH;
        if !may_nest {
            self.faults.push(Fault::new(
                position,
                format!("lists and tables are nested more than {MAX_DEPTH} deep"),
                None,
            ));
        }
        may_nest
    }
}

/// Turns byte offsets into lines and columns. Fast when the offsets mostly grow, also in one endless line.
struct Cursor<'t> {
    text: &'t str,
    line_starts: Vec<usize>,
    /// Where the last question ended: byte offset of the line, byte offset in the text, column.
    last: (usize, usize, usize),
}

impl<'t> Cursor<'t> {
    fn new(text: &'t str) -> Self {
        let line_starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1)).collect();
        Self { text, line_starts, last: (0, 0, 1) }
    }

    fn position(&mut self, offset: usize) -> Position {
        let offset = offset.min(self.text.len());
        let line = self.line_starts.partition_point(|start| *start <= offset);
        let line_start = line.checked_sub(1).and_then(|index| self.line_starts.get(index)).copied().unwrap_or(0);
        let (from, column) = match self.last {
            (last_start, last_offset, last_column) if last_start == line_start && last_offset <= offset => {
                (last_offset, last_column)
            }
            _ => (line_start, 1),
        };
        let column = column + self.text.get(from..offset).map_or(0, |piece| piece.chars().count());
        self.last = (line_start, offset, column);
        Position { line: line.max(1), column }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn positions(text: &str) -> Vec<String> {
        fn walk(prefix: &str, table: &Table, into: &mut Vec<String>) {
            for entry in &table.entries {
                let Position { line, column } = entry.key_position;
                let path = format!("{prefix}{}", entry.key);
                into.push(format!(
                    "{path} {line}:{column} {}:{}",
                    entry.node.position.line, entry.node.position.column
                ));
                let items = match &entry.node.value {
                    Value::List(items) => items.iter().collect(),
                    _ => vec![&entry.node],
                };
                for item in items {
                    if let Value::Table(table) = &item.value {
                        walk(&format!("{path}@{}:{}.", item.position.line, item.position.column), table, into);
                    }
                }
            }
        }
        let mut found = Vec::new();
        walk("", &parse(text).unwrap(), &mut found);
        found
    }

    #[test]
    fn keys_and_values_know_where_they_are_written() {
        assert_eq!(positions("a = 1\n  b = \"é\"\n"), ["a 1:1 1:5", "b 2:3 2:7"]);
        assert_eq!(positions("e = { \"ü\" = 1, c = 2 }"), ["e 1:1 1:5", "e@1:5.ü 1:7 1:13", "e@1:5.c 1:16 1:20"]);
        assert_eq!(positions("\n[a]\nb = 1"), ["a 2:2 2:1", "a@2:1.b 3:1 3:5"]);
        assert_eq!(positions("[[c]]\nb = 1\n[[c]]\nb = 2"), ["c 1:3 1:1", "c@1:1.b 2:1 2:5", "c@3:1.b 4:1 4:5"]);
        assert_eq!(positions("a.b = 1"), ["a 1:1 1:1", "a@1:1.b 1:3 1:7"]);
        assert_eq!(positions("[a.b]\nc = 1"), ["a 1:2 1:2", "a@1:2.b 1:4 1:1", "a@1:2.b@1:1.c 2:1 2:5"]);
    }

    #[test]
    fn the_cursor_answers_in_any_order() {
        let mut cursor = Cursor::new("ab\ncé d");
        for (offset, line, column) in [(7, 2, 4), (6, 2, 3), (0, 1, 1), (2, 1, 3), (3, 2, 1), (8, 2, 5), (99, 2, 5)] {
            assert_eq!(cursor.position(offset), Position { line, column }, "{offset}");
        }
    }

    #[test]
    fn what_is_no_toml_is_refused_with_its_place() {
        for (text, line, column) in
            [("a = ", 1, 5), ("a = 1\nb = [1", 2, 7), ("a = 1\na = 2", 2, 1), ("a: 1", 1, 4), ("[a]\n[a]", 2, 2)]
        {
            let faults = parse(text).unwrap_err();
            let positions: Vec<_> = faults.iter().map(|fault| (fault.position.line, fault.position.column)).collect();
            assert_eq!(positions, [(line, column)], "{text:?}: {faults:?}");
        }
    }

    #[test]
    fn nesting_has_a_limit() {
        let list = |depth: usize| format!("a = {}{}", "[".repeat(depth), "]".repeat(depth));
        assert!(parse(&list(MAX_DEPTH - 1)).is_ok());
        assert!(parse(&list(MAX_DEPTH)).unwrap_err()[0].message.contains("32 deep"));
        assert!(parse(&list(100_000)).is_err());
        assert!(parse(&format!("[{}b]", "a.".repeat(40))).is_err());
        assert!(parse(&format!("{}b = 1", "a.".repeat(40))).is_err());
    }
}
