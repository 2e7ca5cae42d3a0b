//! What a plain scalar means (YAML 1.2.2 §10.3.2, core schema): `42` is a number, `yes` is a text.

use saphyr_parser::Tag;

use crate::document::tree::Value;

/// The value of a scalar without quotes and without a tag.
pub(super) fn resolve(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    if let Some(value) = integer(text) {
        return Value::Integer { value, written: text.to_owned() };
    }
    match float(text) {
        Some(value) => Value::Float { value, written: text.to_owned() },
        None => Value::Text(text.to_owned()),
    }
}

/// The value of a scalar with a tag; `None` if the text is not of the type that the tag names.
pub(super) fn resolve_tagged(text: &str, tag: &Tag) -> Option<Value> {
    let is_non_specific = tag.handle.is_empty() && tag.suffix == "!";
    if is_non_specific {
        return Some(Value::Text(text.to_owned()));
    }
    if !tag.is_yaml_core_schema() {
        return None;
    }
    let value = resolve(text);
    match (tag.suffix.as_str(), &value) {
        ("str", _) => Some(Value::Text(text.to_owned())),
        ("null", Value::Null)
        | ("bool", Value::Bool(_))
        | ("int", Value::Integer { .. })
        | ("float", Value::Float { .. }) => Some(value),
        ("float", Value::Integer { written, .. }) => {
            let value = written.parse().ok()?;
            Some(Value::Float { value, written: written.clone() })
        }
        _ => None,
    }
}

/// `[-+]? [0-9]+`, `0o [0-7]+` or `0x [0-9a-fA-F]+`.
fn integer(text: &str) -> Option<i128> {
    let (digits, radix, is_negative) = match (text.strip_prefix("0o"), text.strip_prefix("0x")) {
        (Some(digits), _) => (digits, 8, false),
        (_, Some(digits)) => (digits, 16, false),
        _ => match text.strip_prefix('-') {
            Some(digits) => (digits, 10, true),
            None => (text.strip_prefix('+').unwrap_or(text), 10, false),
        },
    };
    if digits.is_empty() || !digits.chars().all(|c| c.is_digit(radix)) {
        return None;
    }
    let size = i128::from_str_radix(digits, radix).unwrap_or(i128::MAX);
    Some(if is_negative { -size } else { size })
}

/// `[-+]? ( \. [0-9]+ | [0-9]+ ( \. [0-9]* )? ) ( [eE] [-+]? [0-9]+ )?`, infinities, and not a number.
fn float(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let is_negative = text.starts_with('-');
    match unsigned {
        ".inf" | ".Inf" | ".INF" => return Some(if is_negative { f64::NEG_INFINITY } else { f64::INFINITY }),
        ".nan" | ".NaN" | ".NAN" if unsigned.len() == text.len() => return Some(f64::NAN),
        _ => {}
    }
    // Rust's own grammar is the same, but for the words.
    let is_numeric = unsigned.starts_with(|c: char| c.is_ascii_digit() || c == '.')
        && unsigned.chars().all(|c| c.is_ascii_digit() || matches!(c, '.' | 'e' | 'E' | '-' | '+'));
    if is_numeric { text.parse().ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: &str, texts: &[&str]) {
        for text in texts {
            assert_eq!(resolve(text).kind(), kind, "{text:?}");
        }
    }

    #[test]
    fn plain_scalars_follow_the_core_schema() {
        check("nothing", &["", "~", "null", "Null", "NULL"]);
        check("true or false", &["true", "True", "TRUE", "false", "False", "FALSE"]);
        check("a whole number", &["0", "42", "007", "-1", "+15551234567", "0o17", "0x1F", &"9".repeat(100)]);
        check("a decimal number", &["1.5", ".5", "5.", "-1e3", "1E+3", "12e03", ".inf", "-.INF", ".nan", "-.Inf"]);
        let texts = [
            "yes",
            "no",
            "on",
            "off",
            "y",
            "N",
            "nUll",
            "tRUE",
            "1_000",
            "0b1",
            "0o8",
            "0x",
            "-0x1",
            "1.2.3",
            ".",
            "-",
            "+",
            "e3",
            "1e",
            "--1",
            "inf",
            "nan",
            "NaN",
            "infinity",
            "-.nan",
            "12:30",
            "2026-01-01",
            "${PORT}",
            "1 2",
        ];
        check("a text", &texts);
    }

    #[test]
    fn numbers_have_their_value() {
        for (text, expected) in [("007", 7), ("-12", -12), ("+5", 5), ("0o17", 15), ("0xff", 255)] {
            assert_eq!(resolve(text), Value::Integer { value: expected, written: text.into() });
        }
    }
}
