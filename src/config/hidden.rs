//! The text of a configuration as people may see and change it: what must not be shown stands there as a mark, and is put
//! back when the text returns.

use std::collections::BTreeMap;
use std::path::Path;

use toml_edit::{Document as Toml, Item, Value};

use super::{Error, Located, Settings, Syntax};
use crate::document::Variables;

/// How a mark begins. In the text it is in quotes, so that the text stays one that can be read.
pub const MARK: &str = "‹hidden ";
/// What keys are called whose values nobody should see, also when they stand in a comment.
const SECRET_ENDS: [&str; 9] =
    ["key", "keys", "token", "tokens", "secret", "secrets", "passphrase", "password", "passwords"];
/// A shorter value is likely to be a word of the text itself, in bytes.
const MIN_LOOKED_FOR: usize = 6;

/// The values that marks stand for, the first one for the mark 1.
#[derive(Default, PartialEq, Eq)]
pub struct Hidden {
    /// As they are written.
    values: Vec<String>,
}

/// Without the values.
impl std::fmt::Debug for Hidden {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Hidden").field("n", &self.values.len()).finish_non_exhaustive()
    }
}

/// Why a text with marks is not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    /// A mark that was not given out, or is not whole.
    #[error(
        "line {line} has a mark of a hidden value that does not belong to this text; write the value itself, or ${{NAME}}"
    )]
    Unknown {
        /// From 1.
        line: usize,
    },
    /// It would be shown next time.
    #[error("a hidden value would stand where everybody can see it; move its mark back, or write the value itself")]
    Shown,
}

impl Hidden {
    /// Does any mark stand for something?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// The text with marks in place of what must not be shown. Values that were hidden before keep their marks. `None`: it
    /// cannot be shown at all, as only of TOML it is known where a value ends.
    ///
    /// # Errors
    /// When the text cannot be read: then a secret may stand anywhere in it.
    pub fn hide(
        &mut self,
        located: &Located,
        text: &str,
        home: &Path,
        variables: &dyn Variables,
    ) -> Result<Option<String>, Error> {
        let document = located.parse(text).map_err(Error::Invalid)?;
        let _settings = Settings::read(&document, home, variables);
        let places = document.hidden_places();
        let mut ranges = BTreeMap::new();
        if !places.is_empty() {
            if located.syntax == Syntax::Yaml {
                return Ok(None);
            }
            let ends = ends(text);
            for place in places {
                let start = offset(text, place.line_and_column());
                // One that is not found is not hidden, so nothing is shown.
                let Some(end) = start.and_then(|start| ends.get(&start).copied()) else { return Ok(None) };
                ranges.extend(start.map(|start| (start, end)));
            }
        }
        ranges.extend(in_comments(text));
        let (mut hidden, mut from) = (String::with_capacity(text.len()), 0);
        for (start, end) in ranges {
            let (Some(before), Some(value)) = (text.get(from..start), text.get(start..end)) else { continue };
            hidden.push_str(before);
            hidden.push_str(&self.mark(value));
            from = end;
        }
        hidden.push_str(text.get(from..).unwrap_or_default());
        Ok(Some(hidden))
    }

    fn mark(&mut self, value: &str) -> String {
        let known = self.values.iter().position(|other| other == value);
        let n = known.unwrap_or_else(|| {
            self.values.push(value.to_owned());
            self.values.len() - 1
        });
        mark(n)
    }

    /// The text with what the marks stand for.
    ///
    /// # Errors
    /// When a mark is none of these.
    pub fn restore(&self, text: &str) -> Result<String, RestoreError> {
        let mut restored = text.to_owned();
        for (n, value) in self.values.iter().enumerate() {
            restored = restored.replace(&mark(n), value);
        }
        match restored.find(MARK).and_then(|at| restored.get(..at)) {
            Some(before) => Err(RestoreError::Unknown { line: before.matches('\n').count() + 1 }),
            None => Ok(restored),
        }
    }

    /// Does a text that may be shown repeat what must not be? So somebody could read what was hidden by moving its mark.
    #[must_use]
    pub fn is_shown_in(&self, shown: &str) -> bool {
        let bare = self.values.iter().map(|value| value.trim_matches(['"', '\'', '\n']));
        bare.filter(|value| value.len() >= MIN_LOOKED_FOR).any(|value| shown.contains(value))
    }
}

fn mark(n: usize) -> String {
    format!("\"{MARK}{}›\"", n + 1)
}

/// Where each value ends that begins at an offset, both in bytes.
fn ends(text: &str) -> BTreeMap<usize, usize> {
    fn of_value(value: &Value, ends: &mut BTreeMap<usize, usize>) {
        match value {
            Value::Array(array) => array.iter().for_each(|value| of_value(value, ends)),
            Value::InlineTable(table) => table.iter().for_each(|(_, value)| of_value(value, ends)),
            value => ends.extend(value.span().map(|span| (span.start, span.end))),
        }
    }
    fn of_item(item: &Item, ends: &mut BTreeMap<usize, usize>) {
        match item {
            Item::None => {}
            Item::Value(value) => of_value(value, ends),
            Item::Table(table) => table.iter().for_each(|(_, item)| of_item(item, ends)),
            Item::ArrayOfTables(tables) => {
                tables.iter().flat_map(|table| table.iter()).for_each(|(_, item)| of_item(item, ends));
            }
        }
    }
    let mut ends = BTreeMap::new();
    if let Ok(document) = Toml::parse(text) {
        document.iter().for_each(|(_, item)| of_item(item, &mut ends));
    }
    ends
}

fn offset(text: &str, (line, column): (usize, usize)) -> Option<usize> {
    let before: usize = text.split_inclusive('\n').take(line.checked_sub(1)?).map(str::len).sum();
    let rest = text.get(before..)?;
    Some(before + rest.char_indices().nth(column.checked_sub(1)?)?.0)
}

/// Values of settings that somebody put behind a `#`.
fn in_comments(text: &str) -> Vec<(usize, usize)> {
    let (mut found, mut at) = (Vec::new(), 0);
    for line in text.split_inclusive('\n') {
        let start = at;
        at += line.len();
        let Some((name, value)) = line.trim_start().strip_prefix('#').and_then(|rest| rest.split_once(['=', ':']))
        else {
            continue;
        };
        let name = name.trim_matches(|c: char| c.is_whitespace() || matches!(c, '#' | '-' | '"')).to_ascii_lowercase();
        let is_secret = !name.contains(' ') && SECRET_ENDS.iter().any(|end| name.ends_with(end));
        let value = value.trim();
        if is_secret
            && !value.is_empty()
            && !value.contains("${")
            && let Some(from) = line.rfind(value)
        {
            found.push((start + from, start + from + value.len()));
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::NoVariables;

    fn hide(hidden: &mut Hidden, text: &str) -> Option<String> {
        let located = Located::at(Path::new("config.toml")).unwrap();
        hidden.hide(&located, text, Path::new("/nonexistent"), &NoVariables).unwrap()
    }

    const TEXT: &str = "# api_key = \"sk-in-a-comment\"\n# the api key: ask Ada\n[[channels]] # é\ntype = \"webhook\"\n\
        secrets = [\"hunter2-hunter2\", \"${OTHER}\"] # ours\nreply_url = \"https://example.com\"\ntokn = '''swordfish-\n9'''\n";

    #[test]
    fn what_must_not_be_shown_is_marked_and_comes_back() {
        let mut hidden = Hidden::default();
        let shown = hide(&mut hidden, TEXT).unwrap();
        let expected = "# api_key = \"‹hidden 1›\"\n# the api key: ask Ada\n[[channels]] # é\ntype = \"webhook\"\n\
            secrets = [\"‹hidden 2›\", \"${OTHER}\"] # ours\nreply_url = \"https://example.com\"\ntokn = \"‹hidden 3›\"\n";
        assert_eq!(shown, expected);
        assert_eq!(hidden.restore(&shown).unwrap(), TEXT);
        let moved = shown.replace("type", "id = \"x\"\ntype");
        assert_eq!(hidden.restore(&moved).unwrap(), TEXT.replace("type", "id = \"x\"\ntype"));
        assert_eq!(hide(&mut hidden, TEXT).unwrap(), shown, "the same marks again");
        assert!(!hidden.is_shown_in(&shown) && !format!("{hidden:?}").contains("hunter2"));
    }

    #[test]
    fn a_mark_that_is_moved_to_where_it_would_be_read_is_noticed() {
        let mut hidden = Hidden::default();
        let shown = hide(&mut hidden, TEXT).unwrap();
        let moved = hidden.restore(&shown.replace("type", "id = \"‹hidden 2›\"\ntype")).unwrap();
        let shown_then = hide(&mut hidden, &moved).unwrap();
        assert!(hidden.is_shown_in(&shown_then), "{shown_then}");
    }

    #[test]
    fn a_mark_that_stands_for_nothing_is_refused() {
        let hidden = Hidden::default();
        assert_eq!(hidden.restore("a = 1\nb = \"‹hidden 1›\""), Err(RestoreError::Unknown { line: 2 }));
        let mut hidden = Hidden::default();
        let shown = hide(&mut hidden, TEXT).unwrap();
        let broken = shown.replace("\"‹hidden 2›\"", "'‹hidden 2›'");
        assert_eq!(hidden.restore(&broken), Err(RestoreError::Unknown { line: 5 }));
    }

    #[test]
    fn yaml_with_a_secret_in_it_is_not_shown() {
        let located = Located::at(Path::new("config.yml")).unwrap();
        let hide =
            |text: &str| Hidden::default().hide(&located, text, Path::new("/nonexistent"), &NoVariables).unwrap();
        assert_eq!(hide("channels:\n  - type: slack\n    botToken: xoxb-1234567\n"), None);
        let text = "channels:\n  - type: slack\n    botToken: ${BOT}\n";
        assert_eq!(hide(text).as_deref(), Some(text));
    }
}
