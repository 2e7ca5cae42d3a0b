//! Writing TOML that people read.

use toml_edit::{Key, Value};

/// Lines of a configuration.
#[derive(Default)]
pub(super) struct Writer(String);

impl Writer {
    pub(super) fn line(&mut self, text: &str) {
        self.0.push_str(text);
        self.0.push('\n');
    }

    /// Comments of one line; what would end it is taken out.
    pub(super) fn comment(&mut self, text: &str) {
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        self.line(&format!("# {text}"));
    }

    pub(super) fn blank(&mut self) {
        self.0.push('\n');
    }

    /// A list, an item a line; nothing for an empty one.
    pub(super) fn list(&mut self, key: &str, items: &[String]) {
        if items.is_empty() {
            return;
        }
        self.line(&format!("{key} = ["));
        items.iter().for_each(|item| self.line(&format!("    {},", quoted(item))));
        self.line("]");
    }

    pub(super) fn finish(self) -> String {
        self.0
    }
}

/// A text on one line. A `${NAME}` of OpenClaw stays one: it means the same here.
pub(super) fn quoted(text: &str) -> String {
    let quoted = Value::from(text).to_string();
    if quoted.contains('\n') { serde_json::Value::from(text).to_string() } else { quoted }
}

/// A key, quoted where it must be.
pub(super) fn key(name: &str) -> String {
    Key::new(name).to_string()
}
