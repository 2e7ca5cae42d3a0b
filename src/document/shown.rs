//! A document as people may see it.

use std::collections::BTreeSet;

use super::Place;
use super::expand::{is_reference, names};
use super::problem::quoted;
use super::tree::{Node, Position, Table, Value};

/// Writes a table, one value a line. What `may_show` denies is `"…"`.
pub(super) fn table(table: &Table, path: &str, may_show: &dyn Fn(Position) -> bool, lines: &mut Vec<String>) {
    walk(table, path, &mut |path, node| {
        let value = match &node.value {
            Value::Null => "nothing".to_owned(),
            // The name of a variable gives nothing away, and is what people look for.
            Value::Text(text) if may_show(node.position) || is_reference(text) => quoted(text),
            Value::Bool(flag) if may_show(node.position) => flag.to_string(),
            Value::Integer { written, .. } | Value::Float { written, .. } | Value::Date(written)
                if may_show(node.position) =>
            {
                written.clone()
            }
            _ => "\"…\"".to_owned(),
        };
        lines.push(format!("{path} = {value}"));
    });
}

/// Places of values that [`table`] does not show.
pub(super) fn hidden(table: &Table, path: &str, may_show: &dyn Fn(Position) -> bool, places: &mut Vec<Place>) {
    walk(table, path, &mut |path, node| match &node.value {
        Value::Null => {}
        Value::Text(text) if is_reference(text) => {}
        _ if may_show(node.position) => {}
        _ => places.push(Place { position: node.position, path: path.to_owned() }),
    });
}

/// Names of variables, with the paths of the texts that they stand in.
pub(super) fn references(table: &Table, path: &str, references: &mut Vec<(String, String)>) {
    walk(table, path, &mut |path, node| {
        if let Value::Text(text) = &node.value {
            references.extend(names(text).into_iter().map(|name| (name, path.to_owned())));
        }
    });
}

/// Paths of texts at these positions that name no variable.
pub(super) fn clear(table: &Table, path: &str, secrets: &BTreeSet<Position>, paths: &mut Vec<String>) {
    walk(table, path, &mut |path, node| match &node.value {
        Value::Text(text) if secrets.contains(&node.position) && !text.contains("${") => paths.push(path.to_owned()),
        _ => {}
    });
}

/// Visits every value that is no table and no list.
fn walk(table: &Table, path: &str, visit: &mut dyn FnMut(&str, &Node)) {
    for entry in &table.entries {
        let path = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
        walk_node(&entry.node, &path, visit);
    }
}

fn walk_node(node: &Node, path: &str, visit: &mut dyn FnMut(&str, &Node)) {
    match &node.value {
        Value::Table(below) => walk(below, path, visit),
        Value::List(nodes) => {
            nodes.iter().enumerate().for_each(|(n, below)| walk_node(below, &format!("{path}[{n}]"), visit));
        }
        _ => visit(path, node),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::super::{Document, Variables};

    impl Variables for BTreeMap<&str, &str> {
        fn get(&self, name: &str) -> Option<String> {
            BTreeMap::get(self, name).map(|value| (*value).to_owned())
        }
    }

    #[test]
    fn secrets_are_masked_and_variables_keep_their_names() {
        let text = "name = \"n\"\nkey = \"hunter2\"\nkeys = [\"${A}\", \"x${A}\"]\n[below]\nport = 007\n";
        let text = text.replace("007", "7");
        let document = Document::parse_toml("config.toml", &text).unwrap();
        let variables = BTreeMap::from([("A", "swordfish")]);
        let mut root = document.root(&variables);
        root.take_string("name");
        root.take_secret("key");
        root.take_secrets("keys");
        root.take_section("below").unwrap().take_integer("port", 0..=9);
        root.finish();
        assert_eq!(document.problems(), []);
        let expected = ["name = \"n\"", "key = \"…\"", "keys[0] = \"${A}\"", "keys[1] = \"…\"", "below.port = 7"];
        assert_eq!(document.redacted(), expected);
    }

    #[test]
    fn what_nobody_asked_for_or_could_use_is_masked() {
        let text = "tokn = \"hunter2\"\nother = \"${A}\"\npin = 1234\nurl = \"http://u:p@host\"\nname = \"n\"\n[below]\nx = true\n";
        let document = Document::parse_toml("config.toml", text).unwrap();
        let variables = BTreeMap::new();
        let mut root = document.root(&variables);
        root.take_string("name");
        root.take_parsed("url", |_: &str| Err::<(), _>("no password in it"));
        root.finish();
        let expected =
            ["tokn = \"…\"", "other = \"${A}\"", "pin = \"…\"", "url = \"…\"", "name = \"n\"", "below.x = \"…\""];
        assert_eq!(document.redacted(), expected);
    }

    #[test]
    fn a_secret_in_the_file_itself_is_found() {
        let text = "key = \"hunter2\"\nkeys = [\"${A}\", \"x${A}\", \"plain\"]\nname = \"n\"\n";
        let document = Document::parse_toml("config.toml", text).unwrap();
        let variables = BTreeMap::from([("A", "swordfish")]);
        let mut root = document.root(&variables);
        root.take_secret("key");
        root.take_secrets("keys");
        root.take_string("name");
        root.finish();
        assert_eq!(document.clear_secrets(), ["key", "keys[2]"]);
    }
}
