//! Where in a configuration something stands.

use super::EditError;

/// `channels[id=hook42].secret`, one step after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) key: Key,
    /// Which element, when the key has a list.
    pub(super) pick: Option<Pick>,
}

/// The name of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) name: String,
    /// Written in quotes: one that the operator chose, so `a_b` and `aB` are two.
    pub(super) is_exact: bool,
}

/// One element of a list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Pick {
    /// From 0.
    Number(usize),
    /// The one table in which this key says this text.
    With { key: String, text: String },
}

/// Reads a path. Never empty.
pub(super) fn parse(path: &str) -> Result<Vec<Step>, EditError> {
    let wrong = || EditError::Path { path: path.to_owned() };
    let mut reader = Reader { rest: path };
    let mut steps = Vec::new();
    loop {
        let key = reader.key().ok_or_else(wrong)?;
        let pick = match reader.take('[') {
            true => Some(reader.pick().ok_or_else(wrong)?),
            false => None,
        };
        steps.push(Step { key, pick });
        if reader.rest.is_empty() {
            return Ok(steps);
        }
        if !reader.take('.') {
            return Err(wrong());
        }
    }
}

/// A text as it may stand in a path: as a key that somebody chose, or behind `=`.
#[must_use]
pub fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

struct Reader<'p> {
    rest: &'p str,
}

impl Reader<'_> {
    fn take(&mut self, expected: char) -> bool {
        match self.rest.strip_prefix(expected) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn take_while(&mut self, is_part: impl Fn(char) -> bool) -> String {
        let end = self.rest.find(|c| !is_part(c)).unwrap_or(self.rest.len());
        let (taken, rest) = self.rest.split_at_checked(end).unwrap_or((self.rest, ""));
        self.rest = rest;
        taken.to_owned()
    }

    fn key(&mut self) -> Option<Key> {
        if let Some(name) = self.quoted() {
            return Some(Key { name, is_exact: true });
        }
        let name = self.take_while(|c| c.is_ascii_alphanumeric() || matches!(c, '_' | '-'));
        (!name.is_empty()).then_some(Key { name, is_exact: false })
    }

    fn pick(&mut self) -> Option<Pick> {
        let key = self.key()?;
        let pick = if self.take('=') {
            let text = self.quoted().unwrap_or_else(|| self.take_while(|c| c != ']'));
            Pick::With { key: key.name, text }
        } else {
            Pick::Number(key.name.parse().ok()?)
        };
        self.take(']').then_some(pick)
    }

    fn quoted(&mut self) -> Option<String> {
        let mut chars = self.rest.strip_prefix('"')?.chars();
        let mut text = String::new();
        loop {
            match chars.next()? {
                '"' => break,
                '\\' => text.push(chars.next()?),
                c => text.push(c),
            }
        }
        self.rest = chars.as_str();
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn written(steps: &[Step]) -> String {
        let step = |step: &Step| {
            let key = if step.key.is_exact { quoted(&step.key.name) } else { step.key.name.clone() };
            match &step.pick {
                None => key,
                Some(Pick::Number(n)) => format!("{key}[{n}]"),
                Some(Pick::With { key: of, text }) => format!("{key}[{of}={}]", quoted(text)),
            }
        };
        steps.iter().map(step).collect::<Vec<_>>().join(".")
    }

    fn step() -> impl Strategy<Value = Step> {
        let key = prop_oneof![
            "[a-zA-Z0-9_-]{1,9}".prop_map(|name| Key { name, is_exact: false }),
            ".{0,9}".prop_map(|name| Key { name, is_exact: true }),
        ];
        let pick = prop_oneof![
            Just(None),
            (0_usize..9).prop_map(|n| Some(Pick::Number(n))),
            ("[a-z_]{1,9}", ".{0,9}").prop_map(|(key, text)| Some(Pick::With { key, text })),
        ];
        (key, pick).prop_map(|(key, pick)| Step { key, pick })
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(steps in proptest::collection::vec(step(), 1..5)) {
            prop_assert_eq!(parse(&written(&steps)).unwrap(), steps);
        }

        #[test]
        fn any_text_is_read_or_refused(text in ".{0,30}") {
            let _ = parse(&text);
        }
    }

    #[test]
    fn what_is_no_path_is_refused() {
        for path in ["", ".", "a.", ".a", "a[", "a[]", "a[x]", "a[1", "a b", "a[1]b", "\"a", "a[id=x"] {
            assert!(parse(path).is_err(), "{path}");
        }
        assert_eq!(written(&parse("channels[id=hook42].secret").unwrap()), "channels[id=\"hook42\"].secret");
    }
}
