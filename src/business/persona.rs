//! The personas that come with the program, one for each kind of business and language.

use super::Kind;
use crate::browser::Language;

/// The persona of a worker in such a business, in the words that the owner may go on with.
#[must_use]
pub fn persona(kind: Kind, language: Language) -> &'static str {
    match (kind, language) {
        (Kind::Blank, Language::English) => include_str!("persona/blank.en.md"),
        (Kind::Blank, Language::German) => include_str!("persona/blank.de.md"),
        (Kind::DentalPractice, Language::English) => include_str!("persona/dental_practice.en.md"),
        (Kind::DentalPractice, Language::German) => include_str!("persona/dental_practice.de.md"),
        (Kind::EstateAgency, Language::English) => include_str!("persona/estate_agency.en.md"),
        (Kind::EstateAgency, Language::German) => include_str!("persona/estate_agency.de.md"),
    }
}

/// Is this one of them, to the letter? Then nobody has written in it, and another may take its place.
#[must_use]
pub fn is_persona(text: &str) -> bool {
    let all = Kind::ALL.iter().flat_map(|(_, kind)| Language::ALL.map(|language| persona(*kind, language)));
    all.into_iter().any(|persona| persona == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_has_a_persona_of_its_own_in_every_language() {
        let mut texts: Vec<&str> =
            Kind::ALL.iter().flat_map(|(_, kind)| Language::ALL.map(|language| persona(*kind, language))).collect();
        let n_texts = texts.len();
        texts.sort_unstable();
        texts.dedup();
        assert_eq!(texts.len(), n_texts);
        for text in texts {
            assert!(is_persona(text) && !is_persona(&format!("{text}\nWe have a cat.")));
            assert!(text.len() < 8 * 1024, "every message pays for it: {} bytes", text.len());
            // What nobody may be without: where help is when life is in danger.
            assert!(text.contains("112"), "{text}");
        }
    }
}
