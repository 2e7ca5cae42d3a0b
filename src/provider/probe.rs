//! Finds out what stands at an address, and whether a model there answers.
//!
//! Given a host, a host and a port, or an address of the web, it looks for a list of models where such servers have it, and asks one
//! model for a word. What it tells is chosen here: never what a server says that is no model's server, as the address may lead
//! anywhere in the network. Sizes and times are bounded, and redirects are not followed.

use std::fmt;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::future::join_all;
use reqwest::header::HeaderMap;
use reqwest::{StatusCode, Url};
use serde_json::Value;
use tokio::time::Instant;

use super::config::{Api, ApiVersion, DEFAULT_TIMEOUT};
use super::{Chunk, Error, ErrorKind, Message, Provider, Request, Role, anthropic, openai};
use crate::document::Secret;

/// Where servers of models usually listen: llama.cpp, Ollama, LM Studio, vLLM.
const USUAL_PORTS: [u16; 4] = [8080, 11434, 1234, 8000];
/// How long a list of models may take.
const LIST_TIMEOUT: Duration = Duration::from_secs(5);
/// How long the first word may take: a small machine loads the model for it.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(90);
/// A first word that comes later is slow.
const SLOW: Duration = Duration::from_secs(15);
/// Who failed in this time is asked once more.
const ONCE_MORE: Duration = Duration::from_secs(5);
/// Largest list of models, in bytes.
const MAX_LIST_BYTES: usize = 1 << 20;
/// Models that are told at most.
const MAX_MODELS: usize = 200;
/// Longest name of a model, in characters.
const MAX_NAME_CHARS: usize = 200;
/// Longest answer that is asked for, in tokens: some models think before they say a word, and it is not waited for that.
const MAX_TOKENS: u32 = 16;
/// Models whose names have one of these in them do something else than chat.
const NOT_CHAT: [&str; 14] = [
    "embed",
    "whisper",
    "tts",
    "transcribe",
    "audio",
    "realtime",
    "image",
    "dall-e",
    "moderation",
    "rerank",
    "instruct",
    "search",
    "sora",
    "davinci",
];

/// What to look for.
#[derive(Debug, Clone)]
pub struct Ask {
    /// A host, a host and a port, or an address of the web.
    pub address: String,
    /// How the server speaks; `None`: as the address says.
    pub dialect: Option<Dialect>,
    /// What it wants to see.
    pub key: Option<Secret>,
    /// The model to ask; `None`: the first that chats.
    pub model: Option<String>,
}

/// How a server speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dialect {
    /// Chat Completions.
    OpenAi,
    /// Messages.
    Anthropic,
}

impl Dialect {
    /// As `kind` has it in the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::OpenAi => "openai",
            Self::Anthropic => "anthropic",
        }
    }
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// How it went.
    pub verdict: Verdict,
    /// How the server speaks.
    pub dialect: Dialect,
    /// What belongs into `base_url`, if there is a server of models.
    pub base_url: Option<String>,
    /// Its models that chat, in its order.
    pub models: Vec<String>,
    /// The one that was asked.
    pub model: Option<String>,
    /// Until the first word.
    pub waited: Option<Duration>,
}

/// How it went.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// The model answers.
    Works,
    /// It answers, and it takes long.
    Slow,
    /// This is no address.
    NoAddress,
    /// Nobody knows the name.
    UnknownName,
    /// The machine is there, and nothing listens; or a wall is between.
    Refused,
    /// Nothing came back.
    Silent,
    /// The way there is not protected as it should be.
    Tls,
    /// A key is wanted, and there is none.
    KeyMissing,
    /// The key is wrong.
    KeyWrong,
    /// Something answers, and it is no server of models.
    OtherServer,
    /// There is no model that chats.
    NoModel,
    /// It has not got the model that was named.
    UnknownModel,
    /// It lists models, and does not answer. What the server said.
    NoAnswer(String),
    /// It takes no more questions for now, or wants money. What the server said.
    Limited(String),
}

impl Verdict {
    /// Does a model answer?
    #[must_use]
    pub fn works(&self) -> bool {
        matches!(self, Self::Works | Self::Slow)
    }

    /// In a word that stays the same.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Slow => "slow",
            Self::NoAddress => "no_address",
            Self::UnknownName => "unknown_name",
            Self::Refused => "refused",
            Self::Silent => "silent",
            Self::Tls => "tls",
            Self::KeyMissing => "key_missing",
            Self::KeyWrong => "key_wrong",
            Self::OtherServer => "other_server",
            Self::NoModel => "no_model",
            Self::UnknownModel => "unknown_model",
            Self::NoAnswer(_) => "no_answer",
            Self::Limited(_) => "limited",
        }
    }

    /// The more it says, the higher.
    fn weight(&self) -> u8 {
        match self {
            Self::NoAddress => 0,
            Self::UnknownName => 1,
            Self::Refused => 2,
            Self::Silent => 3,
            Self::Tls => 4,
            Self::OtherServer => 5,
            Self::KeyMissing | Self::KeyWrong | Self::Limited(_) => 6,
            Self::NoModel | Self::UnknownModel | Self::NoAnswer(_) => 7,
            Self::Works | Self::Slow => 8,
        }
    }
}

/// What happened and what to do, in a sentence.
impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Works => "the model answers",
            Self::Slow => "the model answers, and takes long; a smaller one, or a stronger machine, would be quicker",
            Self::NoAddress => "this is no address; write a host as in 192.168.1.20, with a port if you know it",
            Self::UnknownName => "nobody knows this name; see that it is spelled right, or write the IP address",
            Self::Refused => "nothing listens there; start the server and see that it listens for the network, not for its own machine alone",
            Self::Silent => "nothing answers there; see that the machine is on and that no firewall is between",
            Self::Tls => "the connection cannot be protected: the certificate is not valid, or the server speaks http",
            Self::KeyMissing => "the server is there and wants a key",
            Self::KeyWrong => "the server does not take this key; see that all of it was copied, and that it is still valid",
            Self::OtherServer => "something answers there, and it is no server of models; see the port",
            Self::NoModel => "the server is there and has no model that chats; load one",
            Self::UnknownModel => "the server is there and does not have this model",
            Self::NoAnswer(said) => return write!(f, "the server lists models, and this one does not answer: {said}"),
            Self::Limited(said) => return write!(f, "the server takes no questions now; see limits and payment there: {said}"),
        })
    }
}

/// Looks. `http` should follow no redirects.
pub async fn probe(ask: &Ask, http: &reqwest::Client) -> Found {
    let dialect = ask.dialect.unwrap_or_else(|| match ask.address.contains("anthropic.com") {
        true => Dialect::Anthropic,
        false => Dialect::OpenAi,
    });
    let looks = candidates(&ask.address, dialect).into_iter().map(|url| async {
        let api = api(url, ask.key.clone(), String::new());
        let listed = tokio::time::timeout(LIST_TIMEOUT, list(&api, dialect, http)).await;
        (api, listed.unwrap_or(Err(Verdict::Silent)))
    });
    let mut looks = join_all(looks).await;
    let found = looks.iter().position(|(_, listed)| listed.is_ok());
    let nothing = |verdict| Found { verdict, dialect, base_url: None, models: Vec::new(), model: None, waited: None };
    let Some(found) = found else {
        let verdicts = looks.into_iter().filter_map(|(api, listed)| Some((api, listed.err()?)));
        let Some((api, verdict)) = verdicts.max_by_key(|(_, verdict)| verdict.weight()) else {
            return nothing(Verdict::NoAddress);
        };
        let is_there = verdict.weight() > Verdict::OtherServer.weight();
        return Found { base_url: is_there.then(|| base_url(&api)), ..nothing(verdict) };
    };
    let (mut api, listed) = looks.swap_remove(found);
    let models: Vec<String> = listed.unwrap_or_default();
    let base_url = Some(base_url(&api));
    let model = match &ask.model {
        // A name may be an alias that no list has: the server says whether it knows it.
        Some(model) => Some(model.clone()),
        None => models.first().cloned(),
    };
    let Some(model) = model else { return Found { base_url, ..nothing(Verdict::NoModel) } };
    api.model.clone_from(&model);
    let began = Instant::now();
    let mut verdict = answer(&api, dialect, http).await;
    // A connection that the server gave up at that moment says nothing about the model.
    if matches!(verdict, Err(Verdict::NoAnswer(_))) && models.contains(&model) && began.elapsed() < ONCE_MORE {
        verdict = answer(&api, dialect, http).await;
    }
    let waited = verdict.is_ok().then(|| began.elapsed());
    let verdict = match verdict {
        Ok(()) if began.elapsed() > SLOW => Verdict::Slow,
        Ok(()) => Verdict::Works,
        Err(Verdict::NoAnswer(_)) if !models.contains(&model) => Verdict::UnknownModel,
        Err(verdict) => verdict,
    };
    Found { verdict, dialect, base_url, models, model: Some(model), waited }
}

fn api(base_url: Url, key: Option<Secret>, model: String) -> Api {
    Api { base_url, key, model, max_tokens: None, temperature: None, timeout: DEFAULT_TIMEOUT }
}

/// Without a slash at the end, as people write it.
fn base_url(api: &Api) -> String {
    api.base_url.as_str().trim_end_matches('/').to_owned()
}

/// Where the server may be, the likeliest first. Empty: this is no address.
fn candidates(address: &str, dialect: Dialect) -> Vec<Url> {
    let address = address.trim();
    let is_usable = |url: &Url| {
        let is_plain = url.username().is_empty() && url.password().is_none();
        matches!(url.scheme(), "http" | "https") && is_plain && url.host_str().is_some_and(|host| !host.is_empty())
    };
    let parse = |text: String| Url::parse(&text).ok().filter(&is_usable);
    if address.is_empty() || address.contains(char::is_whitespace) {
        return Vec::new();
    }
    if address.contains("://") {
        return parse(address.to_owned()).map(with_version(dialect)).into_iter().collect();
    }
    let address = match address.parse() {
        Ok(std::net::IpAddr::V6(ip)) => format!("[{ip}]"),
        _ => address.to_owned(),
    };
    let Some(plain) = parse(format!("http://{address}")) else { return Vec::new() };
    let has_port = plain.port().is_some() || address.trim_end_matches('/').ends_with(":80");
    let with_port = |port: u16| {
        let mut url = plain.clone();
        url.set_port(Some(port)).ok().map(|()| url)
    };
    let mut urls: Vec<Url> = match has_port {
        true => vec![plain.clone()],
        false => USUAL_PORTS.into_iter().filter_map(with_port).collect(),
    };
    // Behind a proxy, or with a port that speaks TLS.
    urls.extend(parse(format!("https://{address}")));
    if !has_port {
        urls.push(plain);
    }
    urls.into_iter().map(with_version(dialect)).collect()
}

/// The bare host becomes the base that people copy around, `…/v1`.
fn with_version(dialect: Dialect) -> impl Fn(Url) -> Url {
    move |mut url| {
        url.set_query(None);
        url.set_fragment(None);
        if url.path() == "/" && dialect == Dialect::OpenAi {
            url.set_path("/v1");
        }
        url
    }
}

/// The models of a server that chat.
async fn list(api: &Api, dialect: Dialect, http: &reqwest::Client) -> Result<Vec<String>, Verdict> {
    let headers = match dialect {
        Dialect::OpenAi => openai::headers(api),
        Dialect::Anthropic => anthropic::headers(api, &ApiVersion::default()),
    };
    let first = get(api.endpoint_url("models"), headers.clone(), http).await;
    let mut answer = first.map_err(|error| connection(&error))?;
    // Vendors that say 403 mean the key as well.
    match (answer.status(), api.key.is_some()) {
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, true) => return Err(Verdict::KeyWrong),
        (StatusCode::UNAUTHORIZED, false) => return Err(Verdict::KeyMissing),
        (StatusCode::TOO_MANY_REQUESTS | StatusCode::PAYMENT_REQUIRED, _) => {
            return Err(Verdict::Limited(format!("HTTP {}", answer.status().as_u16())));
        }
        (status, _) if !status.is_success() => return Err(Verdict::OtherServer),
        _ => {}
    }
    let mut body = Vec::new();
    while let Ok(Some(bytes)) = answer.chunk().await {
        if body.len() + bytes.len() > MAX_LIST_BYTES {
            return Err(Verdict::OtherServer);
        }
        body.extend_from_slice(&bytes);
    }
    models(&body).ok_or(Verdict::OtherServer)
}

async fn get(url: Url, headers: HeaderMap, http: &reqwest::Client) -> reqwest::Result<reqwest::Response> {
    http.get(url).headers(headers).header(http::header::ACCEPT, "application/json").send().await
}

/// `{"data": [{"id": …}]}`, as both dialects have it. `None`: it is something else.
fn models(body: &[u8]) -> Option<Vec<String>> {
    let body: Value = serde_json::from_slice(body).ok()?;
    let list = body.get("data")?.as_array()?;
    let names: Option<Vec<&str>> = list.iter().map(|model| model.get("id")?.as_str()).collect();
    let is_name =
        |name: &&str| !name.is_empty() && name.chars().count() <= MAX_NAME_CHARS && !name.chars().any(char::is_control);
    let chats = |name: &&str| {
        let name = name.to_ascii_lowercase();
        !NOT_CHAT.iter().any(|word| name.contains(word)) || name.contains("chat") || is_local(&name)
    };
    let names = names?.into_iter().filter(is_name).filter(chats);
    Some(names.take(MAX_MODELS).map(str::to_owned).collect())
}

/// `qwen2.5-7b-instruct` chats; `gpt-3.5-turbo-instruct` does not.
fn is_local(name: &str) -> bool {
    name.contains("instruct") && !name.starts_with("gpt-") && !name.contains("embed") && !name.contains("rerank")
}

/// Why there is no connection.
fn connection(error: &reqwest::Error) -> Verdict {
    let mut text = String::new();
    let mut source: Option<&dyn std::error::Error> = Some(error);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<std::io::Error>()
            && io.kind() == std::io::ErrorKind::ConnectionRefused
        {
            return Verdict::Refused;
        }
        text.push_str(&cause.to_string().to_lowercase());
        text.push(' ');
        source = cause.source();
    }
    let says = |words: &[&str]| words.iter().any(|word| text.contains(word));
    match () {
        () if says(&["dns error", "lookup address", "name or service", "name resolution"]) => Verdict::UnknownName,
        () if says(&["certificate", "tls", "handshake", "invalidcontenttype", "corrupt message", "record"]) => {
            Verdict::Tls
        }
        () if error.is_timeout() || says(&["timed out", "unreachable", "no route"]) => Verdict::Silent,
        () if error.is_connect() => Verdict::Refused,
        // It closed the connection, or speaks something else.
        () => Verdict::OtherServer,
    }
}

/// Asks for a word.
async fn answer(api: &Api, dialect: Dialect, http: &reqwest::Client) -> Result<(), Verdict> {
    let provider: Box<dyn Provider> = match dialect {
        Dialect::OpenAi => Box::new(openai::OpenAi::new("probe", api, http.clone())),
        Dialect::Anthropic => Box::new(anthropic::Anthropic::new("probe", api, &ApiVersion::default(), http.clone())),
    };
    let messages = vec![Message::text(Role::User, "Say OK.")];
    let request = Request { messages, max_tokens: Some(MAX_TOKENS), ..Request::default() };
    let asking = async {
        let mut answer = provider.stream(&request).await?;
        while let Some(chunk) = answer.next().await {
            match chunk? {
                // A model that thinks first and comes to the limit before it says a word has answered too.
                Chunk::Text(_) | Chunk::Stop(_) => return Ok(()),
                Chunk::ToolUse { .. } | Chunk::Usage(_) => {}
            }
        }
        Err(Error { kind: ErrorKind::Permanent, message: "the answer broke off".to_owned() })
    };
    let Ok(answered) = tokio::time::timeout(ANSWER_TIMEOUT, asking).await else {
        return Err(Verdict::NoAnswer(format!("no word within {} s", ANSWER_TIMEOUT.as_secs())));
    };
    answered.map_err(|error| {
        let said = error.message.trim_start_matches("provider probe: ").to_owned();
        match error.kind {
            ErrorKind::Transient { .. } if said.starts_with("HTTP 429") => Verdict::Limited(said),
            ErrorKind::Misconfigured
                if said.contains("quota") || said.contains("billing") || said.starts_with("HTTP 402") =>
            {
                Verdict::Limited(said)
            }
            _ if said.starts_with("HTTP 401") => Verdict::KeyWrong,
            _ => Verdict::NoAnswer(said),
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_looked_for_where_such_servers_are() {
        let check = |address: &str, expected: &[&str]| {
            let urls: Vec<String> = candidates(address, Dialect::OpenAi).iter().map(Url::to_string).collect();
            assert_eq!(urls, expected, "{address}");
        };
        check("http://box:9000/api/v1", &["http://box:9000/api/v1"]);
        check("https://api.example.com", &["https://api.example.com/v1"]);
        check("box:9000", &["http://box:9000/v1", "https://box:9000/v1"]);
        check(
            " 10.0.0.2 ",
            &[
                "http://10.0.0.2:8080/v1",
                "http://10.0.0.2:11434/v1",
                "http://10.0.0.2:1234/v1",
                "http://10.0.0.2:8000/v1",
                "https://10.0.0.2/v1",
                "http://10.0.0.2/v1",
            ],
        );
        assert_eq!(candidates("fd00::2", Dialect::OpenAi)[0].as_str(), "http://[fd00::2]:8080/v1");
        for address in ["", "a b", "ftp://box", "file:///etc/passwd", "http://user:pass@box", "http://", "://"] {
            check(address, &[]);
        }
        assert_eq!(
            candidates("https://api.anthropic.com", Dialect::Anthropic)[0].as_str(),
            "https://api.anthropic.com/"
        );
    }

    #[test]
    fn only_a_list_of_models_is_one() {
        let check = |body: &str, expected: Option<&[&str]>| {
            let expected = expected.map(|names| names.iter().map(|name| (*name).to_owned()).collect());
            assert_eq!(models(body.as_bytes()), expected, "{body}");
        };
        check(
            r#"{"data":[{"id":"qwen2.5-7b-instruct"},{"id":"nomic-embed-text"},{"id":"gpt-5-mini"}]}"#,
            Some(&["qwen2.5-7b-instruct", "gpt-5-mini"]),
        );
        check(r#"{"data":[]}"#, Some(&[]));
        check(r#"{"data":[{"id":"a\nb"}]}"#, Some(&[]));
        for other in
            ["", "<html>", "[]", "{}", r#"{"data":{}}"#, r#"{"data":[{"name":"secret"}]}"#, r#"{"data":["x"]}"#]
        {
            check(other, None);
        }
    }

    #[test]
    fn what_says_more_wins() {
        let ladder = [
            Verdict::NoAddress,
            Verdict::UnknownName,
            Verdict::Refused,
            Verdict::Tls,
            Verdict::KeyWrong,
            Verdict::Works,
        ];
        assert!(ladder.is_sorted_by(|one, next| one.weight() < next.weight()));
        assert!(Verdict::Works.works() && Verdict::Slow.works() && !Verdict::NoModel.works());
    }
}
