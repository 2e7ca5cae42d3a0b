//! One `[[providers]]` entry.

use std::net::IpAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use reqwest::Url;
use reqwest::header::{HeaderMap, HeaderValue};

use super::anthropic::Anthropic;
use super::openai::OpenAi;
use super::probe::{self, Ask};
use super::refusal::Vocabulary;
use super::transport::Endpoint;
use super::{Demo, Provider};
use crate::document::{Secret, Section, Severity};
use crate::usage::{Currency, Price};

/// Longest silence on the wire unless the operator says otherwise. A small machine reads a long prompt for minutes.
pub(super) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(120);
/// What an operator may choose, in seconds. Not longer than [`Policy::idle`](super::retry::Policy::idle).
const TIMEOUT_SECONDS: std::ops::RangeInclusive<u64> = 1..=300;

/// A provider as the operator wants it.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// How agents refer to it.
    pub name: String,
    /// What its tokens cost, if the operator says so.
    pub price: Option<Price>,
    dialect: Dialect,
}

#[derive(Debug, Clone, PartialEq)]
enum Dialect {
    OpenAi(Api),
    Anthropic(Api, ApiVersion),
    Demo,
}

/// The `kind` in the configuration.
#[derive(Debug, Clone, Copy)]
enum Kind {
    OpenAi,
    Anthropic,
    Demo,
}

/// How a server is reached and what is asked of it, whatever its dialect.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Api {
    pub(super) base_url: Url,
    /// Local servers often want none.
    pub(super) key: Option<Secret>,
    pub(super) model: String,
    pub(super) max_tokens: Option<u32>,
    pub(super) temperature: Option<f32>,
    pub(super) timeout: Duration,
}

impl Config {
    /// The demo worker, for a gateway without any provider.
    #[must_use]
    pub fn demo() -> Self {
        Self { name: "demo".into(), price: None, dialect: Dialect::Demo }
    }

    /// Takes the keys of one entry. `None`: a problem was noted.
    ///
    /// The demo worker lets all keys of the others stand, so that an operator can switch to it for a while.
    pub fn read(section: &mut Section<'_>) -> Option<Self> {
        let name = section.take_string("name");
        let kinds = [("openai", Kind::OpenAi), ("anthropic", Kind::Anthropic), ("demo", Kind::Demo)];
        let kind = section.take_choice("kind", &kinds);
        section.missing("name", "write a name that agents can refer to, like name = \"local\"");
        section.missing("kind", "write kind = \"openai\", \"anthropic\" or \"demo\"");
        let version = match kind {
            Some(Kind::OpenAi) => None,
            Some(Kind::Anthropic | Kind::Demo) | None => section.take_parsed("version", ApiVersion::from_str),
        };
        let base_url = match kind {
            Some(Kind::Anthropic) => "https://api.anthropic.com",
            Some(Kind::OpenAi | Kind::Demo) | None => "https://api.openai.com/v1",
        };
        let api = Api::read(section, base_url);
        let price = read_price(section);
        if matches!(kind, Some(Kind::OpenAi | Kind::Anthropic)) {
            section.missing("model", "write the model's name as the provider knows it");
        }
        let dialect = match kind? {
            Kind::OpenAi => Dialect::OpenAi(api?),
            Kind::Anthropic => Dialect::Anthropic(api?, version.unwrap_or_default()),
            Kind::Demo => Dialect::Demo,
        };
        Some(Self { name: name?, price, dialect })
    }

    /// The model that it asks; `None` for the demo worker.
    #[must_use]
    pub fn model(&self) -> Option<&str> {
        match &self.dialect {
            Dialect::OpenAi(api) | Dialect::Anthropic(api, _) => Some(&api.model),
            Dialect::Demo => None,
        }
    }

    /// What looks whether it answers, with this model or its own; `None`: the demo worker always does.
    #[must_use]
    pub fn ask(&self, model: Option<String>) -> Option<Ask> {
        let (api, dialect) = match &self.dialect {
            Dialect::OpenAi(api) => (api, probe::Dialect::OpenAi),
            Dialect::Anthropic(api, _) => (api, probe::Dialect::Anthropic),
            Dialect::Demo => return None,
        };
        let model = model.or_else(|| Some(api.model.clone()));
        Some(Ask { address: api.base_url.to_string(), dialect: Some(dialect), key: api.key.clone(), model })
    }

    /// Makes the provider. Opens nothing yet.
    ///
    /// `http` should have a connect timeout and follow no redirects: those would carry the conversation,
    /// and with some dialects the key, to wherever they point.
    #[must_use]
    pub fn open(&self, http: reqwest::Client) -> Arc<dyn Provider> {
        match &self.dialect {
            Dialect::OpenAi(api) => Arc::new(OpenAi::new(&self.name, api, http)),
            Dialect::Anthropic(api, version) => Arc::new(Anthropic::new(&self.name, api, version, http)),
            Dialect::Demo => Arc::new(Demo),
        }
    }
}

/// Highest price of a million tokens.
const MAX_PRICE: f64 = 1_000_000.0;

/// All three keys, or none of them.
fn read_price(section: &mut Section<'_>) -> Option<Price> {
    let keys = ["input_price", "output_price", "currency"];
    if !keys.map(|key| section.has(key)).contains(&true) {
        return None;
    }
    let input = section.take_number("input_price", 0.0..=MAX_PRICE);
    let output = section.take_number("output_price", 0.0..=MAX_PRICE);
    let currency = section.take_parsed("currency", Currency::from_str);
    section.missing("input_price", "write what a million tokens cost that the model reads, like input_price = 2.5");
    section.missing("output_price", "write what a million tokens cost that the model writes, like output_price = 10");
    section.missing("currency", "write the money of these prices, like currency = \"EUR\"");
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 10¹², and whole")]
    let micros = |price: f64| (price * 1_000_000.0).round() as u64;
    Some(Price { currency: currency?, input_micros: micros(input?), output_micros: micros(output?) })
}

impl Api {
    /// A server without key and model.
    #[cfg(test)]
    pub(super) fn new(base_url: Url) -> Self {
        Self {
            base_url,
            key: None,
            model: String::new(),
            max_tokens: None,
            temperature: None,
            timeout: DEFAULT_TIMEOUT,
        }
    }

    fn read(section: &mut Section<'_>, default_base_url: &str) -> Option<Self> {
        let base_url = section.take_parsed("base_url", base_url).or_else(|| base_url(default_base_url).ok());
        let key = section.take_secret("api_key");
        let model = section.take_string("model");
        let max_tokens = section.take_integer("max_tokens", 1..=u64::from(u32::MAX));
        let temperature = section.take_number("temperature", 0.0..=2.0);
        let timeout = section.take_integer("timeout_seconds", TIMEOUT_SECONDS);
        let base_url = base_url?;
        if key.is_some() && base_url.scheme() == "http" && !is_near(&base_url) {
            let help = "write https:// if the server knows it";
            let message = "the key and all conversations travel unencrypted";
            section.problem(Severity::Warning, "base_url", message, Some(help.to_owned()));
        }
        if key.as_ref().is_some_and(|key| HeaderValue::from_str(key.expose()).is_err()) {
            section.problem(Severity::Error, "api_key", "the key holds a line end or another control character", None);
            return None;
        }
        Some(Self {
            base_url,
            key,
            model: model?,
            max_tokens: max_tokens.and_then(|tokens| u32::try_from(tokens).ok()),
            #[expect(
                clippy::cast_possible_truncation,
                reason = "between 0 and 2, and no server cares for the ninth digit"
            )]
            temperature: temperature.map(|temperature| temperature as f32),
            timeout: timeout.map_or(DEFAULT_TIMEOUT, Duration::from_secs),
        })
    }

    /// The key behind `prefix`, hidden from whoever prints headers.
    pub(super) fn key_header(&self, prefix: &str) -> Option<HeaderValue> {
        let mut value = HeaderValue::from_str(&format!("{prefix}{}", self.key.as_ref()?.expose())).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    /// The address of `path`, like `chat/completions`.
    ///
    /// The base may be the bare host, the customary `…/v1`, another path that the operator knows better
    /// (`/api/v1`, `/openai`), or already the whole address.
    pub(super) fn endpoint_url(&self, path: &str) -> Url {
        let mut url = self.base_url.clone();
        let base = url.path().trim_end_matches('/');
        let joined = match base {
            _ if base.ends_with(path) => base.to_owned(),
            "" => format!("/v1/{path}"),
            _ => format!("{base}/{path}"),
        };
        url.set_path(&joined);
        url
    }

    pub(super) fn endpoint(
        &self,
        name: &str,
        http: reqwest::Client,
        url: Url,
        headers: HeaderMap,
        vocabulary: Vocabulary,
    ) -> Endpoint {
        Endpoint { name: name.to_owned(), http, url, headers, key: self.key.clone(), timeout: self.timeout, vocabulary }
    }
}

/// The `anthropic-version`: a date.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct ApiVersion(String);

impl ApiVersion {
    /// The version before sampling parameters were taken away.
    pub(super) fn is_classic(&self) -> bool {
        self.0 == "2023-06-01"
    }

    pub(super) fn header(&self) -> HeaderValue {
        // Ten digits and hyphens, as `from_str` made sure.
        HeaderValue::from_str(&self.0).unwrap_or_else(|_invalid| HeaderValue::from_static("2026-10-21"))
    }
}

impl Default for ApiVersion {
    fn default() -> Self {
        Self("2026-10-21".into())
    }
}

impl FromStr for ApiVersion {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let is_date = text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok();
        is_date.then(|| Self(text.into())).ok_or_else(|| "a version is a date like 2026-10-21".into())
    }
}

fn base_url(text: &str) -> Result<Url, String> {
    let url = Url::parse(text).map_err(|error| format!("this is no web address: {error}"))?;
    if !matches!(url.scheme(), "http" | "https") {
        return Err("the address must begin with http:// or https://".into());
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("the address holds a user or password; the key belongs into api_key".into());
    }
    Ok(url)
}

/// Is the server on this machine or in a private network, as far as its address tells?
fn is_near(url: &Url) -> bool {
    let host = url.host_str().unwrap_or_default().trim_matches(['[', ']']);
    match host.parse() {
        Ok(IpAddr::V4(ip)) => ip.is_loopback() || ip.is_private() || ip.is_link_local(),
        Ok(IpAddr::V6(ip)) => ip.is_loopback() || ip.is_unique_local() || ip.is_unicast_link_local(),
        // A bare name is one of the local network or of a container's neighbours.
        Err(_) => {
            let last = host.rsplit('.').next().unwrap_or_default();
            !host.contains('.')
                || matches!(last, "localhost" | "local" | "lan" | "internal")
                || host.ends_with(".home.arpa")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Document, NoVariables};

    /// Reads one entry and expects these problems; warnings leave the entry usable, errors do not.
    fn read(toml: &str, expected: &[&str]) -> Option<Config> {
        let document = Document::parse_toml("t", toml).unwrap();
        let mut section = document.root(&NoVariables);
        let config = Config::read(&mut section);
        section.finish();
        let problems: Vec<_> = document.problems().iter().map(|problem| problem.message.clone()).collect();
        assert_eq!(problems, expected, "{toml}");
        config
    }

    fn check(toml: &str, expected: Dialect) {
        assert_eq!(read(toml, &[]), Some(Config { name: "a".into(), price: None, dialect: expected }), "{toml}");
    }

    fn openai(model: &str) -> Api {
        Api { model: model.into(), ..Api::new("https://api.openai.com/v1".parse().unwrap()) }
    }

    fn anthropic(model: &str) -> Api {
        Api { model: model.into(), ..Api::new("https://api.anthropic.com".parse().unwrap()) }
    }

    #[test]
    fn what_is_not_said_has_a_default() {
        check("name = 'a'\nkind = 'openai'\nmodel = 'm'", Dialect::OpenAi(openai("m")));
        let dialect = Dialect::Anthropic(anthropic("m"), ApiVersion::default());
        check("name = 'a'\nkind = 'anthropic'\nmodel = 'm'", dialect);
        check("name = 'a'\nkind = 'demo'", Dialect::Demo);
    }

    #[test]
    fn everything_can_be_said() {
        let text = "name = 'a'\nkind = 'anthropic'\nbaseUrl = 'http://10.0.0.2/v1'\napi_key = 'k'\nmodel = 'm'
            version = '2023-06-01'\nmax_tokens = 9\ntemperature = 0.5\ntimeout_seconds = 300";
        let api = Api {
            base_url: "http://10.0.0.2/v1".parse().unwrap(),
            key: Some(Secret::new("k")),
            model: "m".into(),
            max_tokens: Some(9),
            temperature: Some(0.5),
            timeout: Duration::from_secs(300),
        };
        check(text, Dialect::Anthropic(api, "2023-06-01".parse().unwrap()));
        check(&text.replace("anthropic", "demo"), Dialect::Demo);
    }

    #[test]
    fn what_is_wrong_is_said_once() {
        let check = |toml: &str, expected: &[&str]| assert_eq!(read(toml, expected), None);
        check("", &[r#""name" is missing"#, r#""kind" is missing"#]);
        check("name = 'a'\nkind = 'opnai'\nmodel = 'm'", &["\"opnai\" is not one of openai, anthropic, demo"]);
        check("name = 'a'\nkind = 'openai'", &[r#""model" is missing"#]);
        check("name = 'a'\nkind = 'openai'\nmodel = ''", &["the text is empty"]);
        let key = "the key holds a line end or another control character";
        check("name = 'a'\nkind = 'openai'\nmodel = 'm'\napi_key = \"a\\nb\"", &[key]);
    }

    #[test]
    fn a_price_is_whole_or_not_there() {
        let toml = |keys: &str| format!("name = 'a'\nkind = 'demo'\n{keys}");
        let price = Price { currency: "EUR".parse().unwrap(), input_micros: 37_500, output_micros: 10_000_000 };
        let whole = read(&toml("input_price = 0.0375\noutput_price = 10\ncurrency = 'EUR'"), &[]);
        assert_eq!(whole.unwrap().price, Some(price));
        read(&toml("input_price = 2.5"), &[r#""output_price" is missing"#, r#""currency" is missing"#]);
        let wrong = "input_price = 1\noutput_price = 1\ncurrency = 'euro'";
        read(&toml(wrong), &["a currency is three capital letters, like \"EUR\""]);
    }

    #[test]
    fn a_key_on_an_open_line_is_worth_a_warning() {
        let text = "name = 'a'\nkind = 'openai'\nmodel = 'm'\nbase_url = 'http://a.example/v1'\n";
        assert!(read(text, &[]).is_some());
        let warning = "the key and all conversations travel unencrypted";
        assert!(read(&format!("{text}api_key = 'k'"), &[warning]).is_some());
    }

    #[test]
    fn the_base_may_end_anywhere() {
        let check = |base: &str, expected: &str| {
            assert_eq!(Api::new(base.parse().unwrap()).endpoint_url("chat/completions").as_str(), expected);
        };
        check("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1/chat/completions");
        check("http://127.0.0.1:8080/v1/", "http://127.0.0.1:8080/v1/chat/completions");
        check("http://127.0.0.1:8080", "http://127.0.0.1:8080/v1/chat/completions");
        check("http://127.0.0.1:8080/", "http://127.0.0.1:8080/v1/chat/completions");
        check("https://a.example/api/v1", "https://a.example/api/v1/chat/completions");
        check("https://a.example/v1/chat/completions", "https://a.example/v1/chat/completions");
        check("https://a.example/openai?v=1", "https://a.example/openai/chat/completions?v=1");
        let messages = Api::new("https://api.anthropic.com".parse().unwrap()).endpoint_url("messages");
        assert_eq!(messages.as_str(), "https://api.anthropic.com/v1/messages");
    }

    #[test]
    fn only_web_addresses_without_credentials_are_bases() {
        let check = |text: &str, is_ok: bool| assert_eq!(base_url(text).is_ok(), is_ok, "{text}");
        check("https://api.openai.com/v1", true);
        check("http://127.0.0.1:8080/v1", true);
        check("ftp://a.example", false);
        check("127.0.0.1:8080", false);
        check("a.example/v1", false);
        check("", false);
        check("https://user@a.example", false);
        check("https://user:password@a.example", false);
    }

    #[test]
    fn near_servers_are_those_of_the_house() {
        let check = |url: &str, expected: bool| assert_eq!(is_near(&url.parse().unwrap()), expected, "{url}");
        for url in
            ["http://127.0.0.1:1", "http://[::1]:1", "http://10.1.2.3", "http://192.168.1.9", "http://172.16.0.1"]
        {
            check(url, true);
        }
        for url in ["http://localhost", "http://llama:8080", "http://box.local", "http://box.lan", "http://[fd00::1]"] {
            check(url, true);
        }
        for url in ["http://a.example", "http://8.8.8.8", "http://[2001:db8::1]", "http://local.example"] {
            check(url, false);
        }
    }

    #[test]
    fn versions_are_dates() {
        let check = |text: &str, is_ok: bool| assert_eq!(text.parse::<ApiVersion>().is_ok(), is_ok, "{text}");
        check("2023-06-01", true);
        check("2026-10-21", true);
        check("2026-13-21", false);
        check("latest", false);
        check("20261021", false);
        check(&ApiVersion::default().0, true);
    }

    #[test]
    fn the_key_stays_out_of_debug_output() {
        let api = Api { key: Some(Secret::new("sk-secret")), ..Api::new("https://a.example".parse().unwrap()) };
        let dialect = Dialect::Anthropic(api, ApiVersion::default());
        let config = Config { name: "a".into(), price: None, dialect };
        let provider = config.open(reqwest::Client::new());
        let printed = format!("{config:?} {provider:?}");
        assert!(!printed.contains("sk-secret"), "{printed}");
    }
}
