//! Files that pages need.

use aws_lc_rs::digest;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};

/// A file of ours that a page needs: kept by browsers until its text changes.
#[derive(Debug)]
pub struct Asset {
    name: &'static str,
    content_type: &'static str,
    body: axum::body::Bytes,
    etag: HeaderValue,
}

impl Asset {
    /// `content_type` as the header has it.
    pub fn new(name: &'static str, content_type: &'static str, body: impl Into<axum::body::Bytes>) -> Self {
        let body = body.into();
        let digest = digest::digest(&digest::SHA256, &body);
        let hash: String = digest.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect();
        // Hex digits between quotes are a header value.
        let etag = HeaderValue::try_from(format!("\"{hash}\"")).unwrap_or(HeaderValue::from_static("\"0\""));
        Self { name, content_type, body, etag }
    }

    /// What addresses call it.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What is in it.
    #[must_use]
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The file, or 304 when the browser has it. Browsers ask each time, which costs one small
    /// request and never leaves a page with the script of yesterday.
    pub fn respond(&self, request: &HeaderMap) -> Response {
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
        let asset = Asset::new("a.js", "text/javascript", "1");
        let etag = asset.etag.to_str().unwrap();
        let check = |if_none_match: &str, expected| {
            let request = HeaderMap::from_iter([(header::IF_NONE_MATCH, if_none_match.parse().unwrap())]);
            assert_eq!(asset.respond(&request).status(), expected, "{if_none_match}");
        };
        check(etag, StatusCode::NOT_MODIFIED);
        check(&format!("\"x\", W/{etag}"), StatusCode::NOT_MODIFIED);
        check("\"x\"", StatusCode::OK);
        assert_ne!(asset.etag, Asset::new("a.js", "text/javascript", "2").etag);
    }
}
