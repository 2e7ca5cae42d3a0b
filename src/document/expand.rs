//! `${NAME}` in a text: replaced from the variables; `$${` is a literal `${`.

use std::collections::BTreeMap;

/// A text with its variables replaced.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Expanded {
    pub(super) text: String,
    /// What came from variables, and must therefore not be shown.
    pub(super) values: Vec<String>,
}

/// Why a text cannot be expanded.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Refusal {
    /// A `${` without `}`.
    Unclosed,
    /// What stands between the braces is no name.
    NotAName(String),
    /// There is no such variable.
    Missing(String),
}

/// The values that a reading has seen, each with the name of its variable.
#[derive(Debug, Default)]
pub(super) struct Origins(BTreeMap<String, String>);

impl Origins {
    pub(super) fn add(&mut self, value: &str, name: &str) {
        if value.chars().count() >= MIN_VALUE_CHARS {
            self.0.insert(value.to_owned(), name.to_owned());
        }
    }

    /// `text` with the names of variables where it repeats what they stand for.
    ///
    /// Checks across sections see values without knowing where they came from. A short value is left as it is: as
    /// likely it is a word of the message itself.
    pub(super) fn name_in(&self, text: String) -> String {
        let mut named = text;
        for (value, name) in self.0.iter().rev() {
            let escaped = value.escape_debug().to_string();
            for shown in [value, &escaped] {
                if named.contains(shown.as_str()) {
                    named = named.replace(shown.as_str(), &format!("${{{name}}}"));
                }
            }
        }
        let mut values = self.0.keys();
        match values.any(|value| has_piece(&named, value, MIN_VALUE_CHARS)) {
            true => "what a variable stands for is not usable here".to_owned(),
            false => named,
        }
    }
}

/// Replaces all variables at once; values are not looked at again. Refusals come in the order of the text.
pub(super) fn expand(written: &str, mut look_up: impl FnMut(&str) -> Option<String>) -> Result<Expanded, Vec<Refusal>> {
    let mut text = String::with_capacity(written.len());
    let mut values = Vec::new();
    let mut refusals = Vec::new();
    let mut rest = written;
    while let Some((before, after)) = rest.split_once("${") {
        if let Some(before) = before.strip_suffix('$') {
            text.push_str(before);
            text.push_str("${");
            rest = after;
            continue;
        }
        text.push_str(before);
        let Some((name, after)) = after.split_once('}') else {
            refusals.push(Refusal::Unclosed);
            rest = "";
            break;
        };
        if is_name(name) {
            match look_up(name) {
                Some(value) => {
                    text.push_str(&value);
                    values.push(value);
                }
                None => refusals.push(Refusal::Missing(name.to_owned())),
            }
        } else {
            refusals.push(Refusal::NotAName(name.to_owned()));
        }
        rest = after;
    }
    text.push_str(rest);
    if refusals.is_empty() { Ok(Expanded { text, values }) } else { Err(refusals) }
}

/// `[A-Za-z_][A-Za-z0-9_]*`: never a path.
#[must_use]
pub fn is_name(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// The names of the variables in a text.
pub(super) fn names(written: &str) -> Vec<String> {
    let mut names = Vec::new();
    let _refused = expand(written, |name| {
        names.push(name.to_owned());
        Some(String::new())
    });
    names
}

/// Is the text one `${NAME}` and nothing else?
pub(super) fn is_reference(text: &str) -> bool {
    text.strip_prefix("${").and_then(|rest| rest.strip_suffix('}')).is_some_and(is_name)
}

/// Shortest piece of a value that counts as showing it, in Unicode scalar values.
const MIN_PIECE_CHARS: usize = 4;
/// Shortest value, or piece of one, that is looked for where it need not have come from, in Unicode scalar values.
const MIN_VALUE_CHARS: usize = 8;

/// Does `message` repeat one of the `values`, or a piece of it?
pub(super) fn discloses(message: &str, values: &[String]) -> bool {
    values.iter().any(|value| has_piece(message, value, MIN_PIECE_CHARS))
}

fn has_piece(message: &str, value: &str, max_chars: usize) -> bool {
    let chars: Vec<char> = value.chars().collect();
    let size = chars.len().clamp(1, max_chars);
    chars.windows(size).any(|piece| message.contains(&String::from_iter(piece)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_up(name: &str) -> Option<String> {
        match name {
            "A" => Some("one".into()),
            "_b2" => Some("${A}".into()),
            "EMPTY" => Some(String::new()),
            _ => None,
        }
    }

    fn check(written: &str, expected: Result<&str, Vec<Refusal>>) {
        let expanded = expand(written, look_up).map(|expanded| expanded.text);
        assert_eq!(expanded, expected.map(str::to_owned), "{written:?}");
    }

    #[test]
    fn variables_are_replaced_once() {
        check("", Ok(""));
        check("a $ b } c", Ok("a $ b } c"));
        check("${A}", Ok("one"));
        check("x${A}y${A}${EMPTY}", Ok("xoneyone"));
        check("${_b2}", Ok("${A}"));
        check("{tenant_id}-$A", Ok("{tenant_id}-$A"));
    }

    #[test]
    fn a_second_dollar_makes_it_literal() {
        check("$${A}", Ok("${A}"));
        check("$$${A}", Ok("$${A}"));
        check("$${", Ok("${"));
        check("$${A} ${A}", Ok("${A} one"));
    }

    #[test]
    fn what_cannot_be_replaced_is_refused_all_at_once() {
        check("${NOPE}${A}${NADA}", Err(vec![Refusal::Missing("NOPE".into()), Refusal::Missing("NADA".into())]));
        check("${A", Err(vec![Refusal::Unclosed]));
        check("${}${a-b}", Err(vec![Refusal::NotAName(String::new()), Refusal::NotAName("a-b".into())]));
        check("${../A}", Err(vec![Refusal::NotAName("../A".into())]));
        check("${A:-x}", Err(vec![Refusal::NotAName("A:-x".into())]));
    }

    #[test]
    fn a_piece_of_a_value_is_a_disclosure() {
        let values = ["hunter2!".to_owned(), "ab".to_owned(), String::new()];
        for message in ["no hunter2! here", "no nter here", "cabin"] {
            assert!(discloses(message, &values), "{message}");
        }
        assert!(!discloses("no hun ter here", &values));
    }

    #[test]
    fn a_value_is_shown_by_the_name_of_its_variable() {
        let mut origins = Origins::default();
        for (value, name) in
            [("hunter2-hunter2", "A"), ("hunter2-hunter2-more", "B"), ("say \"please\"", "C"), ("main", "D")]
        {
            origins.add(value, name);
        }
        let check = |text: &str, expected: &str| assert_eq!(origins.name_in(text.to_owned()), expected);
        check("there is no agent \"hunter2-hunter2\"", "there is no agent \"${A}\"");
        check("hunter2-hunter2-more, hunter2-hunter2", "${B}, ${A}");
        check("\"say \\\"please\\\"\"", "\"${C}\"");
        check("\"main\" is a short word", "\"main\" is a short word");
        check("not hunter2-hunt", "what a variable stands for is not usable here");
    }
}
