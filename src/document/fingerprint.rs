//! A digest of what a table says, whatever the syntax, the order of keys and their spelling.

use aws_lc_rs::digest::{Context, SHA256};

use super::spelling::snake_case;
use super::tree::{Node, Table, Value};

/// What the digest needs to know besides the tree.
pub(super) trait Meaning {
    /// The text with its variables replaced; as written where that is not possible.
    fn text(&self, written: &str) -> String;
    /// Did the operator choose the keys of this very table, so that `aB` and `a_b` are two?
    fn has_own_keys(&self, table: &Table) -> bool;
}

/// SHA-256 over a prefix-free encoding: a tag byte per value, and lengths before everything that varies.
/// The keys of `without`, in snake case, do not count in this table.
pub(super) fn fingerprint(table: &Table, without: &[&str], meaning: &dyn Meaning) -> [u8; 32] {
    let mut digest = Digest { context: Context::new(&SHA256), meaning };
    digest.table(table, without);
    let mut bytes = [0; 32];
    bytes.iter_mut().zip(digest.context.finish().as_ref()).for_each(|(to, from)| *to = *from);
    bytes
}

struct Digest<'m> {
    context: Context,
    meaning: &'m dyn Meaning,
}

impl Digest<'_> {
    fn table(&mut self, table: &Table, without: &[&str]) {
        let has_own_keys = self.meaning.has_own_keys(table);
        let mut entries: Vec<(String, &Node)> = table
            .entries
            .iter()
            .map(|entry| (if has_own_keys { entry.key.clone() } else { snake_case(&entry.key) }, &entry.node))
            .filter(|(key, _)| !without.contains(&key.as_str()))
            .collect();
        entries.sort_by(|(left, _), (right, _)| left.cmp(right));
        self.tag(b't');
        self.length(entries.len());
        for (key, node) in entries {
            self.bytes(key.as_bytes());
            self.node(node);
        }
    }

    fn node(&mut self, node: &Node) {
        match &node.value {
            Value::Null => self.tag(b'n'),
            Value::Bool(b) => self.tag(if *b { b'+' } else { b'-' }),
            Value::Integer { value, .. } => {
                self.tag(b'i');
                self.context.update(&value.to_be_bytes());
            }
            Value::Float { value, .. } => {
                self.tag(b'f');
                self.context.update(&value.to_bits().to_be_bytes());
            }
            Value::Date(text) => {
                self.tag(b'd');
                self.bytes(text.as_bytes());
            }
            Value::Text(written) => {
                self.tag(b's');
                self.bytes(self.meaning.text(written).as_bytes());
            }
            Value::List(nodes) => {
                self.tag(b'l');
                self.length(nodes.len());
                nodes.iter().for_each(|node| self.node(node));
            }
            Value::Table(table) => self.table(table, &[]),
        }
    }

    fn tag(&mut self, tag: u8) {
        self.context.update(&[tag]);
    }

    fn length(&mut self, length: usize) {
        // A file has a length limit far below 2⁶⁴.
        self.context.update(&u64::try_from(length).unwrap_or(u64::MAX).to_be_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.length(bytes.len());
        self.context.update(bytes);
    }
}
