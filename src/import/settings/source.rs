//! OpenClaw's configuration as it stands: JSON5, read leniently.

use serde_json::Value;

use super::Error;

/// No configuration nests deeper; a parser must not be led down further.
const MAX_DEPTH: usize = 64;

static ABSENT: Value = Value::Null;

/// The whole file.
pub(super) struct Source(Value);

impl Source {
    pub(super) fn parse(text: &str) -> Result<Self, Error> {
        let mut depth = 0_usize;
        for c in text.chars() {
            match c {
                '{' | '[' => depth += 1,
                '}' | ']' => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth > MAX_DEPTH {
                return Err(Error::Syntax("it nests too deeply".to_owned()));
            }
        }
        let value: Value = json5::from_str(text).map_err(|error| Error::Syntax(error.to_string()))?;
        if value.is_object() { Ok(Self(value)) } else { Err(Error::Syntax("it is no object".to_owned())) }
    }

    /// What stands at a path, `null` where nothing does.
    pub(super) fn at(&self, path: &[&str]) -> &Value {
        path.iter().try_fold(&self.0, |value, name| value.get(name)).unwrap_or(&ABSENT)
    }

    /// Names at the top.
    pub(super) fn sections(&self) -> impl Iterator<Item = &str> {
        self.0.as_object().into_iter().flatten().map(|(name, _)| name.as_str())
    }
}

/// A text of a table.
pub(super) fn text<'v>(value: &'v Value, name: &str) -> Option<&'v str> {
    value.get(name).and_then(Value::as_str).filter(|text| !text.is_empty())
}

/// Items of a list.
pub(super) fn list(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

/// An id: people write numbers as they are.
pub(super) fn id(value: &Value) -> Option<String> {
    match value {
        Value::String(text) if !text.trim().is_empty() => Some(text.trim().to_owned()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

/// Is it switched off?
pub(super) fn is_off(value: &Value) -> bool {
    value.get("enabled").and_then(Value::as_bool) == Some(false)
}

/// The name in a text that is one `${NAME}`.
pub(super) fn variable(text: &str) -> Option<&str> {
    text.strip_prefix("${")?.strip_suffix('}').filter(|name| is_variable(name))
}

/// May a variable be called that?
pub(super) fn is_variable(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// A name for a variable out of words.
pub(super) fn variable_name(words: &[&str]) -> String {
    let upper = |c: char| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' };
    let joined = words.join("_").chars().map(upper).collect::<String>();
    if joined.starts_with(|c: char| c.is_ascii_digit()) { format!("_{joined}") } else { joined }
}
