//! Lists of values, with the comments between them.
//!
//! The parser gives what stands between two elements to the second one; the end of the first one's line
//! belongs to the first.

use toml_edit::{Array, Value as Written};

use super::Value;
use super::value::{inline, says};

/// One more at the end, on a line of its own where the others have such.
pub(super) fn push(array: &mut Array, value: Written) {
    insert(array, array.len(), value);
}

/// An element before the one that is there now.
pub(super) fn insert(array: &mut Array, n: usize, mut value: Written) {
    let (behind_former, rest) = split(&before(array, n));
    let last_break = array.len().checked_sub(1).map(|last| before(array, last)).unwrap_or_default();
    let on_own_line = if n < array.len() { line_start(&rest) } else { line_start(&last_break) };
    let prefix = match &on_own_line {
        Some(start) => format!("{behind_former}{start}"),
        None if n == 0 => String::new(),
        None => " ".to_owned(),
    };
    value.decor_mut().set_prefix(prefix);
    value.decor_mut().set_suffix("");
    let is_last = n >= array.len();
    if !is_last {
        let rest = if rest.is_empty() { " ".to_owned() } else { rest };
        set_before(array, n, rest);
    } else if on_own_line.is_some() {
        // What stood behind the former last element moved before this one.
        set_before(array, n, if rest.contains('\n') { rest } else { "\n".to_owned() });
        array.set_trailing_comma(true);
    } else if let Some(last) = n.checked_sub(1).and_then(|last| array.get_mut(last)) {
        // `[ a ]`: the space belongs to the bracket.
        let suffix = text(last.decor().suffix());
        if !suffix.is_empty() {
            last.decor_mut().set_suffix("");
            value.decor_mut().set_suffix(suffix);
        }
    }
    array.insert_formatted(n, value);
}

/// Takes one out, with the comments above it and on its line.
pub(super) fn remove(array: &mut Array, n: usize) {
    let (behind_former, own) = split(&before(array, n));
    let (_, rest) = split(&before(array, n + 1));
    let was_last = n + 1 >= array.len();
    let suffix = array.get(n).map(|value| text(value.decor().suffix())).unwrap_or_default();
    array.remove(n);
    if array.is_empty() {
        array.set_trailing_comma(false);
    }
    let rest = if was_last || rest.contains('\n') || n > 0 { rest } else { own };
    set_before(array, n, format!("{behind_former}{rest}"));
    if was_last
        && !suffix.is_empty()
        && let Some(last) = n.checked_sub(1).and_then(|last| array.get_mut(last))
    {
        last.decor_mut().set_suffix(suffix);
    }
}

/// The list has these elements from now on; those that stay keep their lines.
pub(super) fn set(array: &mut Array, values: &[Value]) {
    let n_same = array.iter().zip(values).take_while(|(old, new)| says(old, new)).count();
    let most = array.len().min(values.len()) - n_same;
    let old = |n: usize| array.get(array.len().checked_sub(n + 1)?);
    let at_end = values.iter().rev().enumerate().take(most);
    let n_same_at_end = at_end.take_while(|(n, new)| old(*n).is_some_and(|old| says(old, new))).count();
    let n_old = array.len() - n_same - n_same_at_end;
    let n_new = values.len() - n_same - n_same_at_end;
    let both = n_old.min(n_new);
    for (n, value) in values.iter().enumerate().skip(n_same).take(both) {
        array.get_mut(n).into_iter().for_each(|old| super::value::set(old, value));
    }
    for _ in both..n_old {
        remove(array, n_same + both);
    }
    for (n, value) in values.iter().enumerate().skip(n_same + both).take(n_new - both) {
        insert(array, n, inline(value));
    }
}

/// What stands before an element, or before the bracket at the end.
fn before(array: &Array, n: usize) -> String {
    match array.get(n) {
        Some(value) => text(value.decor().prefix()),
        None => text(Some(array.trailing())),
    }
}

fn set_before(array: &mut Array, n: usize, text: String) {
    match array.get_mut(n) {
        Some(value) => value.decor_mut().set_prefix(text),
        None => array.set_trailing(text),
    }
}

fn text(raw: Option<&toml_edit::RawString>) -> String {
    raw.and_then(toml_edit::RawString::as_str).unwrap_or_default().to_owned()
}

/// What is left of the line that the former element is on, and the rest.
fn split(text: &str) -> (String, String) {
    match text.find('\n').and_then(|end| text.split_at_checked(end)) {
        Some((line, rest)) => (line.to_owned(), rest.to_owned()),
        None => (String::new(), text.to_owned()),
    }
}

/// How the line of an element begins, if it has one of its own.
fn line_start(before: &str) -> Option<String> {
    let (_, indent) = before.rsplit_once('\n')?;
    Some(format!("\n{}", indent.chars().take_while(|c| c.is_whitespace()).collect::<String>()))
}
