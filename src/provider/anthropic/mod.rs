//! The Messages dialect: Anthropic, and servers that speak it too.
//!
//! <https://platform.claude.com/docs/en/api/messages>

mod answer;
mod request;

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName};

use super::config::{Api, ApiVersion};
use super::refusal::Vocabulary;
use super::transport::Endpoint;
use super::{Answer, Error, Provider, Request};
use answer::Decoder;
use request::{Markers, body};

/// What this dialect calls its failures.
const VOCABULARY: Vocabulary = Vocabulary {
    // The second is llama.cpp's, which speaks this dialect as well.
    too_long: &["request_too_large", "exceed_context_size_error"],
    // A prompt that does not fit is an `invalid_request_error` like any other.
    too_long_phrase: "prompt is too long",
    // A 429 without `retry-after`: paused until next month, not until next minute.
    no_money: &["enforced_spend_limit_reached", "billing_error"],
    permanent: &["invalid_request_error", "authentication_error", "permission_error", "not_found_error"],
};

/// A server that speaks Messages.
#[derive(Debug)]
pub(super) struct Anthropic {
    endpoint: Endpoint,
    api: Api,
    version: ApiVersion,
    markers: Markers,
}

impl Anthropic {
    pub(super) fn new(name: &str, api: &Api, version: &ApiVersion, http: reqwest::Client) -> Self {
        let headers = headers(api, version);
        let markers = match api.base_url.host_str() {
            Some("api.anthropic.com") => Markers::Keep,
            _ => Markers::Disarm,
        };
        let url = api.endpoint_url("messages");
        let endpoint = api.endpoint(name, http, url, headers, VOCABULARY);
        Self { endpoint, api: api.clone(), version: version.clone(), markers }
    }
}

/// What every request carries.
pub(super) fn headers(api: &Api, version: &ApiVersion) -> HeaderMap {
    let mut headers = HeaderMap::new();
    // The vendor takes both. Its libraries send `Authorization` since the version of October 2026, and
    // servers of that age read it; one that wants the old version pinned may know `x-api-key` only. Never
    // both at once: a proxy that puts in a key of its own for one of them would send two that differ.
    let key = match version.is_classic() {
        true => (HeaderName::from_static("x-api-key"), api.key_header("")),
        false => (AUTHORIZATION, api.key_header("Bearer ")),
    };
    headers.extend(key.1.map(|value| (key.0, value)));
    headers.insert("anthropic-version", version.header());
    headers
}

#[async_trait]
impl Provider for Anthropic {
    async fn stream(&self, request: &Request) -> Result<Answer, Error> {
        self.endpoint.ask(&body(request, &self.api, &self.version, self.markers), request, Decoder::default()).await
    }
}
