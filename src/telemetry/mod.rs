//! Spans of turns, for whoever collects them with OpenTelemetry. Off unless the configuration names a collector.
//!
//! A span says when, for which tenant and agent, with which provider, and how many tokens: no word of a message, no key of a
//! conversation, no peer. A program that was built without the feature `otlp` says so when a collector is named.

#[cfg(feature = "otlp")]
mod export;

use std::sync::Arc;

use reqwest::Url;

use crate::clock::Timestamp;
use crate::document::{Secret, Section, Severity};

#[cfg(feature = "otlp")]
pub use export::Tracer;

/// The `[telemetry]` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    endpoint: Url,
    /// Sent with every request.
    headers: Vec<(String, Secret)>,
}

impl Config {
    /// Takes the section's keys. `None`: nothing is collected, or a problem was noted.
    pub fn read(section: &mut Section<'_>) -> Option<Self> {
        let endpoint = section.take_parsed("otlp_endpoint", endpoint);
        let headers = section.take_secrets("otlp_headers");
        let pair = |header: &Secret| {
            let (name, value) = header.expose().split_once('=')?;
            let name = name.trim();
            let is_name = !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
            let is_value = value.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic());
            (is_name && is_value).then(|| (name.to_ascii_lowercase(), Secret::new(value.trim())))
        };
        let headers: Option<Vec<_>> = headers.iter().map(pair).collect();
        let Some(headers) = headers else {
            let help = "write each as \"name=value\", like otlp_headers = [\"authorization=${OTLP_TOKEN}\"]";
            section.problem(Severity::Error, "otlp_headers", "one of them is no header", Some(help.to_owned()));
            return None;
        };
        if endpoint.is_some() && !cfg!(feature = "otlp") {
            let message = "this program was built without OpenTelemetry, so nothing is sent";
            let help = "use one that was built with `--features otlp`, or remove the key";
            section.problem(Severity::Warning, "otlp_endpoint", message, Some(help.to_owned()));
        }
        Some(Self { endpoint: endpoint?, headers })
    }
}

fn endpoint(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("this is no web address: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("the address must begin with http:// or https://".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the address holds a user or password; it belongs into otlp_headers".into());
    }
    Ok(url)
}

/// A turn that is over.
#[derive(Debug)]
pub struct Turn<'t> {
    /// When it began.
    pub start: Timestamp,
    /// When it was over.
    pub end: Timestamp,
    /// Whose; `None`: the owner's own.
    pub tenant: Option<&'t str>,
    /// Who answered.
    pub agent: &'t str,
    /// Type of the channel.
    pub channel: &'t str,
    /// Messages that it took up.
    pub n_messages: usize,
    /// Was an answer given?
    pub is_answered: bool,
    /// What it asked of models, in order.
    pub attempts: &'t [Attempt],
}

/// An attempt at an answer.
#[derive(Debug, Clone)]
pub struct Attempt {
    /// When it began, or the one before it was over.
    pub start: Timestamp,
    /// When it was over.
    pub end: Timestamp,
    /// Name of the provider.
    pub provider: Arc<str>,
    /// Tokens read.
    pub input_tokens: u64,
    /// Tokens written.
    pub output_tokens: u64,
    /// Is there no answer of it?
    pub failed: bool,
}

/// Nobody is told anything.
#[cfg(not(feature = "otlp"))]
#[derive(Debug)]
pub struct Tracer(std::convert::Infallible);

#[cfg(not(feature = "otlp"))]
impl Tracer {
    /// There is none in this program.
    #[must_use]
    pub fn open(_config: &Config, _http: &reqwest::Client) -> Option<Self> {
        None
    }

    /// Never called.
    pub fn turn(&self, _turn: &Turn<'_>) {
        match self.0 {}
    }

    /// Never called.
    pub fn close(&self) {
        match self.0 {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Document, NoVariables};

    fn read(toml: &str) -> (Option<Config>, Vec<String>) {
        let document = Document::parse_toml("t", toml).unwrap();
        let mut section = document.root(&NoVariables);
        let config = Config::read(&mut section);
        section.finish();
        let problems = document.problems().iter().map(|problem| problem.message.clone()).collect();
        (config, problems)
    }

    #[test]
    fn a_collector_has_an_address_and_perhaps_headers() {
        let toml = "otlp_endpoint = 'http://127.0.0.1:4318/v1/traces'\notlp_headers = ['X-Token = a=b ']";
        let (config, _) = read(toml);
        assert_eq!(config.unwrap().headers, [("x-token".to_owned(), Secret::new("a=b"))]);
        assert_eq!(read(""), (None, Vec::new()));
        for wrong in ["'collector:4318'", "'ftp://a.example'", "'http://u:p@a.example'"] {
            let (config, problems) = read(&format!("otlp_endpoint = {wrong}"));
            assert!(config.is_none() && problems.len() == 1, "{wrong}: {problems:?}");
        }
        let (config, problems) = read("otlp_endpoint = 'http://a.example'\notlp_headers = ['a b=c']");
        assert!(config.is_none() && problems.contains(&"one of them is no header".to_owned()), "{problems:?}");
    }
}
