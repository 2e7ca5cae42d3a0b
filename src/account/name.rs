//! What accounts and tokens are called.

use icu_normalizer::ComposingNormalizerBorrowed;

use super::CONSOLE;

/// Longest name, in characters.
const MAX_CHARS: usize = 64;

/// Why a text is no name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// Nothing but spaces.
    #[error("a name is not empty")]
    Empty,
    /// Longer than lists and logs show.
    #[error("a name has at most {MAX_CHARS} characters")]
    TooLong,
    /// It would look like another, or like a line of its own.
    #[error("a name has no line breaks and no invisible characters")]
    Character,
    /// The access log calls the commands on this machine so, or an address of the API ends like this.
    #[error("`console`, `reset` and `sessions` mean something else; choose another name")]
    Reserved,
}

/// A name: 1 to 64 characters in NFC, without spaces around it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    /// As it was typed.
    pub(super) shown: String,
    /// The same for all that differ in case only.
    pub(super) folded: String,
}

impl Name {
    pub(super) fn parse(text: &str) -> Result<Self, NameError> {
        let text = text.trim();
        // Nothing becomes shorter by more than this, and what is longer is not worth the work.
        if text.len() > MAX_CHARS * 32 {
            return Err(NameError::TooLong);
        }
        let shown = nfc(text);
        match shown.chars().count() {
            0 => return Err(NameError::Empty),
            1..=MAX_CHARS => {}
            _ => return Err(NameError::TooLong),
        }
        if shown.chars().any(is_hidden) {
            return Err(NameError::Character);
        }
        // One by one, so that no letter depends on those around it.
        let upper: String = shown.chars().flat_map(char::to_uppercase).collect();
        let folded = nfc(&upper.chars().flat_map(char::to_lowercase).collect::<String>());
        if [CONSOLE, "reset", "sessions"].contains(&folded.as_str()) {
            return Err(NameError::Reserved);
        }
        Ok(Self { shown, folded })
    }
}

/// Keyboards write the same letter in different ways.
pub(super) fn nfc(text: &str) -> String {
    ComposingNormalizerBorrowed::new_nfc().normalize(text).into_owned()
}

/// Controls, spaces but the usual one, and what is there without being seen.
fn is_hidden(c: char) -> bool {
    c.is_control()
        || (c.is_whitespace() && c != ' ')
        || matches!(
            c,
            '\u{ad}' | '\u{34f}' | '\u{61c}' | '\u{115f}' | '\u{1160}' | '\u{17b4}' | '\u{17b5}' | '\u{180b}'..='\u{180f}'
            | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{3164}' | '\u{feff}'
            | '\u{fe00}'..='\u{fe0f}' | '\u{ffa0}' | '\u{fff0}'..='\u{fffb}' | '\u{e0000}'..='\u{e0fff}'
        )
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_name_is_trimmed_composed_and_folded() {
        let check = |text: &str, expected: Result<(&str, &str), NameError>| {
            let found = Name::parse(text);
            assert_eq!(
                found.as_ref().map(|n| (n.shown.as_str(), n.folded.as_str())).map_err(|e| *e),
                expected,
                "{text:?}"
            );
        };
        check("  Ada Lovelace\n", Ok(("Ada Lovelace", "ada lovelace")));
        check("Zoe\u{308}", Ok(("Zo\u{eb}", "zo\u{eb}")));
        check("ZO\u{cb}", Ok(("ZO\u{cb}", "zo\u{eb}")));
        check("Weiß", Ok(("Weiß", "weiss")));
        check(" \t", Err(NameError::Empty));
        check(&"ä".repeat(64), Ok((&"ä".repeat(64), &"ä".repeat(64))));
        check(&"a".repeat(65), Err(NameError::TooLong));
        check(&"a".repeat(1 << 20), Err(NameError::TooLong));
        for hidden in ["a\nb", "a\u{202e}b", "a\u{200b}b", "a\u{a0}b", "a\u{0}", "\u{feff}a", "a\u{e0041}"] {
            check(hidden, Err(NameError::Character));
        }
        check("Console", Err(NameError::Reserved));
    }

    proptest! {
        #[test]
        fn what_was_a_name_stays_the_same_name(text in "\\PC{0,80}") {
            if let Ok(name) = Name::parse(&text) {
                prop_assert_eq!(Name::parse(&name.shown), Ok(name.clone()));
                prop_assert_eq!(Name::parse(&format!(" {} ", name.shown)), Ok(name.clone()));
                prop_assert!((1..=64).contains(&name.shown.chars().count()));
            }
        }

        #[test]
        fn case_makes_no_other_name(text in "[a-zäöüßéñçøåœσςωабвжџ ]{1,30}") {
            let folded = |text: &str| Name::parse(text).map(|name| name.folded);
            prop_assert_eq!(folded(&text.to_uppercase()), folded(&text));
        }
    }
}
