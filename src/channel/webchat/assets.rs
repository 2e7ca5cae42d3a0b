//! The files of the page. They are part of the program; nothing is loaded from elsewhere.

use aws_lc_rs::digest;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

use super::theme::Theme;

const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";

/// All files but the page and the widget, which depend on who asks.
#[derive(Debug)]
pub(super) struct Assets([Asset; 8]);

/// One file.
#[derive(Debug)]
pub(super) struct Asset {
    name: &'static str,
    content_type: &'static str,
    body: axum::body::Bytes,
    etag: HeaderValue,
}

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
        self.0.iter().find(|asset| asset.name == name)
    }
}

impl Asset {
    pub(super) fn new(name: &'static str, content_type: &'static str, body: impl Into<axum::body::Bytes>) -> Self {
        let body = body.into();
        let digest = digest::digest(&digest::SHA256, &body);
        let hash: String = digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        // Hex digits between quotes are a header value.
        let etag = HeaderValue::try_from(format!("\"{hash}\"")).unwrap_or(HeaderValue::from_static("\"0\""));
        Self { name, content_type, body, etag }
    }

    /// The file, or 304 when the browser has it. Browsers ask each time, which costs one small
    /// request and never leaves a page with the script of yesterday.
    pub(super) fn respond(&self, request: &HeaderMap) -> Response {
        let known = request.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
        let is_known = known.flat_map(|value| value.split(',')).any(|tag| {
            let tag = tag.trim();
            tag.strip_prefix("W/").unwrap_or(tag).as_bytes() == self.etag.as_bytes()
        });
        let headers = [
            (header::ETAG, self.etag.clone()),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            (header::CONTENT_TYPE, HeaderValue::from_static(self.content_type)),
            (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
            // The widget is loaded by other sites, also by those that isolate themselves.
            (header::HeaderName::from_static("cross-origin-resource-policy"), HeaderValue::from_static("cross-origin")),
        ];
        if is_known {
            return (StatusCode::NOT_MODIFIED, headers).into_response();
        }
        (headers, Body::from(self.body.clone())).into_response()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_the_browser_has_is_not_sent_again() {
        let asset = Asset::new("a.js", SCRIPT, "1");
        let etag = asset.etag.to_str().unwrap();
        let check = |if_none_match: &str, expected| {
            let request = HeaderMap::from_iter([(header::IF_NONE_MATCH, if_none_match.parse().unwrap())]);
            assert_eq!(asset.respond(&request).status(), expected, "{if_none_match}");
        };
        check(etag, StatusCode::NOT_MODIFIED);
        check(&format!("\"x\", W/{etag}"), StatusCode::NOT_MODIFIED);
        check("\"x\"", StatusCode::OK);
        assert_ne!(asset.etag, Asset::new("a.js", SCRIPT, "2").etag);
    }

    #[test]
    fn no_file_asks_another_host_for_anything() {
        for asset in &Assets::new(&Theme::new(None)).0 {
            let text = std::str::from_utf8(&asset.body).unwrap();
            let n_addresses = text.matches("http://").count() + text.matches("https://").count();
            // The name space of SVG is a name, not an address.
            let n_names = text.matches("http://www.w3.org/2000/svg").count();
            assert_eq!(n_addresses, n_names, "{}", asset.name);
        }
    }
}
