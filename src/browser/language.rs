//! The language of a page.

use axum::http::{HeaderMap, header};

/// The languages that pages speak.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Language {
    /// English.
    English,
    /// German.
    German,
}

impl Language {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::English, Self::German];

    /// From `Accept-Language` (RFC 9110 §12.5.4): the one that the browser likes best, else English.
    #[must_use]
    pub fn of(headers: &HeaderMap) -> Self {
        let ranges = headers.get(header::ACCEPT_LANGUAGE).and_then(|value| value.to_str().ok()).unwrap_or_default();
        let mut best = (Self::English, 0.0);
        for range in ranges.split(',') {
            let (tag, weight) = range.split_once(';').unwrap_or((range, ""));
            let weight = weight.trim().strip_prefix("q=").and_then(|q| q.parse().ok()).unwrap_or(1.0);
            let primary = tag.trim().split('-').next().unwrap_or_default();
            let language = Self::ALL.into_iter().find(|l| primary.eq_ignore_ascii_case(l.code()));
            if let Some(language) = language.filter(|_| weight > best.1) {
                best = (language, weight);
            }
        }
        best.0
    }

    /// As in `lang=`.
    #[must_use]
    pub fn code(self) -> &'static str {
        match self {
            Self::English => "en",
            Self::German => "de",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_language_is_the_one_the_browser_likes_best() {
        let check = |text: &str, expected| {
            let headers = HeaderMap::from_iter([(header::ACCEPT_LANGUAGE, text.parse().unwrap())]);
            assert_eq!(Language::of(&headers), expected, "{text}");
        };
        check("de", Language::German);
        check("de-CH, en;q=0.9", Language::German);
        check("en-GB,en;q=0.9,de;q=0.8", Language::English);
        check("fr, de;q=0.5, en;q=0.4", Language::German);
        check("fr", Language::English);
        check("*", Language::English);
        check("de;q=0", Language::English);
        check(";;q=x,,", Language::English);
    }
}
