//! The page and the widget: two templates, filled with the entry's settings in the visitor's language.
//!
//! Settings and words reach the scripts as JSON in a data block, which is not code: the policy allows
//! no script and no style but our own files.

use axum::http::{HeaderName, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use serde_json::json;

use super::config::Config;
use super::theme::Theme;
use super::wire::MAX_TEXT_BYTES;
use crate::browser::{Asset, Language};
use crate::id::EntryId;

const WORDS: &str = include_str!("page/words.json");

/// Both documents of one entry, ready to send.
#[derive(Debug)]
pub(super) struct Page {
    english: Documents,
    german: Documents,
    policy: HeaderValue,
}

#[derive(Debug)]
struct Documents {
    page: String,
    widget: Asset,
}

impl Page {
    pub(super) fn new(config: &Config, entry: &EntryId, theme: &Theme) -> Self {
        Self {
            english: documents(Language::English, config, entry, theme),
            german: documents(Language::German, config, entry, theme),
            policy: policy(config),
        }
    }

    /// The page, without a cookie yet.
    pub(super) fn respond(&self, language: Language) -> Response {
        let headers = [
            (header::CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8")),
            // The cookie in the same response is one visitor's.
            (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
            (header::CONTENT_SECURITY_POLICY, self.policy.clone()),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
            (
                HeaderName::from_static("permissions-policy"),
                HeaderValue::from_static("camera=(), microphone=(), geolocation=(), payment=()"),
            ),
        ];
        (headers, self.documents(language).page.clone()).into_response()
    }

    /// The launcher for other sites.
    pub(super) fn widget(&self, language: Language) -> &Asset {
        &self.documents(language).widget
    }

    fn documents(&self, language: Language) -> &Documents {
        match language {
            Language::English => &self.english,
            Language::German => &self.german,
        }
    }
}

fn documents(language: Language, config: &Config, entry: &EntryId, theme: &Theme) -> Documents {
    let all: serde_json::Value = serde_json::from_str(WORDS).unwrap_or_default();
    let words = all.get(language.code()).cloned().unwrap_or_default();
    let word = |key: &str| words.get(key).and_then(serde_json::Value::as_str).unwrap_or_default().to_owned();
    let title = config.title.clone().unwrap_or_else(|| word("title"));
    let greeting = config.greeting.clone().unwrap_or_else(|| word("greeting"));
    let initial = title.chars().find(|c| c.is_alphanumeric()).unwrap_or('?').to_uppercase().to_string();
    let base = format!("/chat/{entry}");
    let settings = json!({ "base": base, "title": title, "maxTextBytes": MAX_TEXT_BYTES, "words": words });
    let page = fill(
        include_str!("page/chat.html"),
        &[
            ("language", language.code()),
            ("base", &base),
            ("title", &escape_html(&title)),
            ("greeting", &escape_html(&greeting)),
            ("initial", &escape_html(&initial)),
            ("message", &escape_html(&word("message"))),
            ("placeholder", &escape_html(&word("placeholder"))),
            ("send", &escape_html(&word("send"))),
            ("close", &escape_html(&word("close"))),
            ("latest", &escape_html(&word("latest"))),
            ("conversation", &escape_html(&word("conversation"))),
            ("connecting", &escape_html(&word("connecting"))),
            ("hint", &escape_html(&word("hint"))),
            ("noscript", &escape_html(&word("noscript"))),
            ("settings", &escape_script(&settings.to_string())),
        ],
    );
    let launcher = json!({
        "base": base,
        "title": title,
        "accent": theme.accent.to_string(),
        "onAccent": theme.on_accent.to_string(),
        "open": word("open"),
        "close": word("close"),
        "unread": word("unread"),
    });
    let widget = fill(include_str!("page/widget.js"), &[("settings", &launcher.to_string())]);
    Documents { page, widget: Asset::new("widget.js", "text/javascript; charset=utf-8", widget) }
}

/// `frame-ancestors` is what keeps other sites from showing the page, so it is always said.
fn policy(config: &Config) -> HeaderValue {
    let ancestors = if config.embed_origins.is_empty() {
        "*".to_owned()
    } else {
        config.embed_origins.iter().fold("'self'".to_owned(), |list, origin| format!("{list} {origin}"))
    };
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'; trusted-types 'none'; \
         frame-ancestors {ancestors}"
    );
    // An origin has no character that a header could not hold; if it had, nobody may frame the page.
    HeaderValue::try_from(policy).unwrap_or(HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'"))
}

/// Puts values in the place of `{{name}}`, in one pass: a value is never read as a template.
fn fill(template: &str, values: &[(&str, &str)]) -> String {
    let mut parts = template.split("{{");
    let mut filled = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (name, rest) = part.split_once("}}").unwrap_or(("", part));
        filled.push_str(values.iter().find(|(known, _)| *known == name).map_or("", |(_, value)| *value));
        filled.push_str(rest);
    }
    filled
}

fn escape_html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&#39;")
}

/// JSON that cannot end the element it stands in.
fn escape_script(json: &str) -> String {
    json.replace('<', "\\u003c")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::browser::Origin;

    fn page(config: &Config) -> Page {
        Page::new(config, &EntryId::new("webchat").unwrap(), &Theme::new(None))
    }

    #[test]
    fn both_languages_have_the_same_words_and_leave_no_gap() {
        let words: serde_json::Value = serde_json::from_str(WORDS).unwrap();
        let keys = |code| words[code].as_object().unwrap().keys().cloned().collect::<Vec<_>>();
        assert_eq!(keys("en"), keys("de"));
        for documents in [page(&Config::default()).english, page(&Config::default()).german] {
            assert!(!documents.page.contains("{{"));
            assert!(!documents.page.contains("\"\""), "an empty attribute: a word is missing");
        }
    }

    #[test]
    fn settings_cannot_leave_their_place() {
        let text = "</script><script>alert(1)</script>\"'{{settings}}";
        let config = Config { title: Some(text.into()), greeting: Some(text.into()), ..Config::default() };
        let page = page(&config).english.page;
        assert!(!page.contains("<script>"), "{page}");
        assert_eq!(page.matches("</script>").count(), 2, "{page}");
    }

    #[test]
    fn only_listed_sites_may_frame_the_page() {
        let check = |origins: &[&str], expected: &str| {
            let embed_origins = origins.iter().map(|o| Origin::parse(o).unwrap()).collect();
            let policy = policy(&Config { embed_origins, ..Config::default() });
            let ancestors = policy.to_str().unwrap().rsplit_once("frame-ancestors ").unwrap().1;
            assert_eq!(ancestors, expected);
        };
        check(&[], "*");
        check(&["https://a.example", "http://b.example:8080"], "'self' https://a.example http://b.example:8080");
    }
}
