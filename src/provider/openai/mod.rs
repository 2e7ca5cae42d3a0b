//! The Chat Completions dialect: `OpenAI` itself, and llama.cpp, `vLLM`, Ollama and many more that speak it.
//!
//! <https://platform.openai.com/docs/api-reference/chat>

mod answer;
mod request;

use async_trait::async_trait;
use reqwest::header::{AUTHORIZATION, HeaderMap};

use super::config::Api;
use super::refusal::Vocabulary;
use super::transport::Endpoint;
use super::{Answer, Error, Provider, Request};
use answer::Decoder;
use request::{LimitKey, body};

/// What this dialect calls its failures.
const VOCABULARY: Vocabulary = Vocabulary {
    // The first is OpenAI's and vLLM's, the second llama.cpp's.
    too_long: &["context_length_exceeded", "exceed_context_size_error"],
    // Older servers have no code for it.
    too_long_phrase: "maximum context length",
    no_money: &["insufficient_quota", "billing_hard_limit_reached", "billing_not_active"],
    permanent: &["invalid_request_error", "authentication_error", "permission_error", "not_found_error"],
};

/// A server that speaks Chat Completions.
#[derive(Debug)]
pub(super) struct OpenAi {
    endpoint: Endpoint,
    api: Api,
    limit_key: LimitKey,
}

impl OpenAi {
    pub(super) fn new(name: &str, api: &Api, http: reqwest::Client) -> Self {
        let headers = headers(api);
        let limit_key = match api.base_url.host_str() {
            // The newer models refuse `max_tokens`; most compatible servers know nothing else.
            Some(host) if host == "api.openai.com" || host.ends_with(".api.openai.com") => {
                LimitKey::MaxCompletionTokens
            }
            _ => LimitKey::MaxTokens,
        };
        let url = api.endpoint_url("chat/completions");
        Self { endpoint: api.endpoint(name, http, url, headers, VOCABULARY), api: api.clone(), limit_key }
    }
}

/// What every request carries.
pub(super) fn headers(api: &Api) -> HeaderMap {
    api.key_header("Bearer ").map(|value| (AUTHORIZATION, value)).into_iter().collect()
}

#[async_trait]
impl Provider for OpenAi {
    async fn stream(&self, request: &Request) -> Result<Answer, Error> {
        self.endpoint.ask(&body(request, &self.api, self.limit_key), request, Decoder::default()).await
    }
}
