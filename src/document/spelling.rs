//! The two spellings of a key, and what somebody may have meant.

/// `dm_scope` as `dmScope`.
pub(super) fn camel_case(name: &str) -> String {
    let mut words = name.split('_');
    let mut camel = words.next().unwrap_or_default().to_owned();
    for word in words {
        let mut chars = word.chars();
        camel.extend(chars.next().map(|first| first.to_ascii_uppercase()));
        camel.push_str(chars.as_str());
    }
    camel
}

/// `dmScope` as `dm_scope`; what is in `snake_case` already stays.
pub(super) fn snake_case(key: &str) -> String {
    let mut snake = String::with_capacity(key.len() + 4);
    for c in key.chars() {
        if c.is_ascii_uppercase() {
            snake.push('_');
        }
        snake.push(c.to_ascii_lowercase());
    }
    snake
}

/// Are these two spellings of one key?
#[must_use]
pub fn same_key(one: &str, other: &str) -> bool {
    snake_case(one) == snake_case(other)
}

/// Longest text that is compared: a typing error is shorter.
const MAX_COMPARED_BYTES: usize = 64;

/// The candidate that `written` is probably a typing error of. The first of several equally near ones.
pub(super) fn nearest<'c>(written: &str, candidates: impl IntoIterator<Item = &'c str>) -> Option<&'c str> {
    if written.len() > MAX_COMPARED_BYTES {
        return None;
    }
    let folded = fold(written);
    let max_distance = (folded.chars().count() / 3).max(1);
    candidates
        .into_iter()
        .map(|candidate| {
            // The case and the underscores decide only between candidates that are equally near without them.
            let distance = strsim::damerau_levenshtein(&folded, &fold(candidate));
            (distance, strsim::damerau_levenshtein(written, candidate), candidate)
        })
        .filter(|(distance, _, _)| *distance <= max_distance)
        .min_by_key(|(distance, exact, _)| (*distance, *exact))
        .map(|(_, _, candidate)| candidate)
}

fn fold(text: &str) -> String {
    text.chars().filter(|c| !matches!(c, '_' | '-' | ' ')).flat_map(char::to_lowercase).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_spellings_name_one_key() {
        for (snake, camel) in [("dm_scope", "dmScope"), ("type", "type"), ("a_b_c", "aBC"), ("ttl_days", "ttlDays")] {
            assert_eq!(camel_case(snake), camel);
            assert_eq!(snake_case(camel), snake);
            assert_eq!(snake_case(snake), snake);
        }
    }

    #[test]
    fn a_typing_error_finds_what_was_meant() {
        let candidates = ["dm_scope", "dmScope", "ttl_days", "ttlDays", "id"];
        let check = |written: &str, expected: Option<&str>| {
            assert_eq!(nearest(written, candidates), expected, "{written}");
        };
        check("dm_scpoe", Some("dm_scope"));
        check("dmScop", Some("dmScope"));
        check("DmScope", Some("dmScope"));
        check("dm-scope", Some("dm_scope"));
        check("ttl", None);
        check("ttlDay", Some("ttlDays"));
        check("ids", Some("id"));
        check("storage", None);
        check("", None);
        check(&"dm_scope".repeat(100), None);
    }
}
