//! A document as people may see it.

use std::collections::BTreeSet;

use super::expand::is_reference;
use super::problem::quoted;
use super::tree::{Node, Position, Table, Value};

/// Writes a table, one value a line.
pub(super) fn table(table: &Table, path: &str, secrets: &BTreeSet<Position>, lines: &mut Vec<String>) {
    for entry in &table.entries {
        let path = if path.is_empty() { entry.key.clone() } else { format!("{path}.{}", entry.key) };
        node(&entry.node, &path, secrets, lines);
    }
}

fn node(node: &Node, path: &str, secrets: &BTreeSet<Position>, lines: &mut Vec<String>) {
    let value = match &node.value {
        Value::Table(below) => return table(below, path, secrets, lines),
        Value::List(nodes) => {
            let numbered = nodes.iter().enumerate();
            return numbered.for_each(|(n, below)| self::node(below, &format!("{path}[{n}]"), secrets, lines));
        }
        // The name of a variable gives nothing away, and is what people look for.
        Value::Text(text) if secrets.contains(&node.position) && !is_reference(text) => "\"…\"".to_owned(),
        Value::Text(text) => quoted(text),
        Value::Null => "nothing".to_owned(),
        Value::Bool(flag) => flag.to_string(),
        Value::Integer { written, .. } | Value::Float { written, .. } | Value::Date(written) => written.clone(),
    };
    lines.push(format!("{path} = {value}"));
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
}
