//! The keys of a `type = "webchat"` entry.

use super::origin::Origin;
use super::theme::Colour;
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
