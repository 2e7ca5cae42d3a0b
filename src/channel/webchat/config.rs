//! The keys of a `type = "webchat"` entry.

use super::theme::Colour;
use crate::browser::Origin;
use crate::channel::registry::Settings;
use crate::document::Section;

/// Settings of one web chat. Every key may be absent.
#[derive(Debug, Clone, Default)]
pub(super) struct Config {
    /// `public_url`: where visitors reach the gateway from outside, scheme and host only.
    pub public_url: Option<Origin>,
    /// `title`: the name above the conversation.
    pub title: Option<String>,
    /// `greeting`: what an empty conversation says.
    pub greeting: Option<String>,
    /// `accent`: the business's colour, `#rrggbb` or `#rgb`.
    pub accent: Option<Colour>,
    /// `embed_origins`: the sites that may show the page in a frame. Empty: any site.
    pub embed_origins: Vec<Origin>,
}

pub(super) fn read(section: &mut Section<'_>) -> Option<Box<dyn Settings>> {
    let config = Config {
        public_url: section.take_parsed("public_url", Origin::parse),
        title: section.take_string("title"),
        greeting: section.take_string("greeting"),
        accent: section.take_parsed("accent", Colour::parse),
        embed_origins: section.take_parsed_list("embed_origins", Origin::parse),
    };
    Some(Box::new(config))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Document, NoVariables};

    #[test]
    fn every_key_is_optional_and_a_wrong_one_is_named() {
        let check = |text: &str, expected: &[&str]| {
            let document = Document::parse_toml("config.toml", text).unwrap();
            let mut section = document.root(&NoVariables);
            assert!(read(&mut section).is_some(), "{text}");
            section.finish();
            let paths: Vec<_> = document.problems().into_iter().map(|problem| problem.path).collect();
            assert_eq!(paths, expected, "{text}");
        };
        check("", &[]);
        check(
            "publicUrl = \"https://chat.example.com\"\ntitle = \"Pine\"\ngreeting = \"Hello\"\naccent = \"#18f\"\n\
             embed_origins = [\"https://pine.example\", \"http://localhost:8080\"]",
            &[],
        );
        check("public_url = \"chat.example.com\"", &["public_url"]);
        check("public_url = \"https://example.com/chat/webchat\"", &["public_url"]);
        check("accent = \"red\"", &["accent"]);
        check("embed_origins = [\"https://pine.example\", \"*\"]", &["embed_origins[1]"]);
    }
}
