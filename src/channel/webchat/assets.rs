//! The files of the page. They are part of the program; nothing is loaded from elsewhere.

use super::theme::Theme;
use crate::browser::Asset;

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// All files but the page and the widget, which depend on who asks.
#[derive(Debug)]
pub(super) struct Assets([Asset; 8]);

impl Assets {
    pub(super) fn new(theme: &Theme) -> Self {
        let icon = include_str!("page/icon.svg")
            .replace("#accent", &theme.accent.to_string())
            .replace("#ink", &theme.on_accent.to_string());
        Self([
            Asset::new("chat.js", SCRIPT, include_str!("page/chat.js")),
            Asset::new("conversation.js", SCRIPT, include_str!("page/conversation.js")),
            Asset::new("outbox.js", SCRIPT, include_str!("page/outbox.js")),
            Asset::new("richtext.js", SCRIPT, include_str!("page/richtext.js")),
            Asset::new("transport.js", SCRIPT, include_str!("page/transport.js")),
            Asset::new("chat.css", STYLE, include_str!("page/chat.css")),
            Asset::new("theme.css", STYLE, theme.css()),
            Asset::new("icon.svg", "image/svg+xml", icon),
        ])
    }

    pub(super) fn get(&self, name: &str) -> Option<&Asset> {
        self.0.iter().find(|asset| asset.name() == name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_file_asks_another_host_for_anything() {
        for asset in &Assets::new(&Theme::new(None)).0 {
            let text = std::str::from_utf8(asset.body()).unwrap();
            let n_addresses = text.matches("http://").count() + text.matches("https://").count();
            // The name space of SVG is a name, not an address.
            let n_names = text.matches("http://www.w3.org/2000/svg").count();
            assert_eq!(n_addresses, n_names, "{}", asset.name());
        }
    }
}
