//! Web chat: a chat page that the gateway serves itself, and a widget that puts it on any site.
//!
//! A visitor is a random id in a signed cookie ([`visitor`]); nothing that the page, its address or
//! a request's body says can name another. The transcript is the mailbox: an answer is pushed to the
//! tabs that are open ([`hub`]) and is found in the history by those that open later.
//!
//! Not here: who may write, what the key is, what the answer is. Called by `gateway/` through
//! [`Channel`]. Makes no request of its own.
//!
//! # Addresses, below `/chat/<entry id>`
//!
//! | path | what |
//! |---|---|
//! | (none) | the page; sets the visitor's cookie |
//! | `/widget.js` | a launcher for other sites, which opens the page in a frame |
//! | `/chat.js` …, `/chat.css`, `/theme.css`, `/icon.svg` | what the page needs, with `ETag`s |
//! | `/socket` | a WebSocket, the usual transport |
//! | `/events?after=N` | the same events as a stream (`text/event-stream`), where sockets are blocked |
//! | `/history?after=N` | the same start as JSON, for polling where streams are buffered too |
//! | `POST /messages` | one message, for both of these |
//!
//! Everything from `/socket` down wants the cookie (401) and our own `Origin` (403).
//!
//! # Protocol
//!
//! JSON objects with a `type`. The page speaks first on a socket, within ten seconds:
//!
//! ```text
//! → {"type":"hello","after":12}                   `last` of the last history; null or absent: none
//! ← {"type":"history","lines":[…],"last":14,"fresh":false,"draft":"…"|null}
//! → {"type":"message","id":"<random>","text":"…"}
//! ← {"type":"accepted","id":"…","text":"…","at":1700000000000}    to all tabs of the visitor
//! ← {"type":"refused","id":"…","reason":"unavailable","retry_after_ms":2000}
//! ← {"type":"typing"} {"type":"delta","text":"…"} {"type":"reset"}
//! ← {"type":"message","seq":14,"delivery":"…","answers":["…"],"text":"…"}
//! ← {"type":"beat"}                               the line is alive
//! ```
//!
//! A line of the history is `{"seq":13|null,"from":"agent"|"you","id":"…"|null,"at":ms,"text":"…"}`.
//! A page repeats a message, with the same id, until it hears `accepted`; the id is the message's id
//! for the gateway, which files it once. An agent's line is known by its number *and* text, since a
//! notice carries the number of the line before it; `delivery` names one send, whatever it says. An answer may overtake the `accepted` of
//! what it `answers`; the page shows it below.
//! A page that has nothing is shown the live conversation; one that asks from a line on gets everything since, also what
//! was archived in the meantime. `fresh` means that what it has was erased.
//! `POST /messages` takes `{"id","text"}` and answers with `accepted` or `refused` and a fitting status.

mod assets;
mod config;
mod form;
mod hub;
mod intake;
mod page;
mod rate;
mod routes;
mod socket;
mod stream;
mod theme;
mod visitor;
mod wire;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;
use axum::extract::Request;
use axum::response::Response;
use tokio_util::sync::CancellationToken;

use config::Config;

use super::form::Probe;
use super::registry::{Settings, Setup, Type};
use super::{Channel, Descriptor, Host, Preview, Reply, Sender, Sent};

/// What is true of every web chat.
static DESCRIPTOR: Descriptor = Descriptor {
    type_name: "webchat",
    key_tag: "webchat",
    max_text_chars: None,
    has_page: true,
    is_inline: false,
    // A page shows each line once, however often it is sent.
    send_is_idempotent: true,
    sender: Sender::Page,
    // A visitor's id is 128 random bits, signed for one entry.
    ids_are_global: true,
};

/// How long our own page may take from outside.
const TEST_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(10);

/// For the registry.
pub(super) static TYPE: Type = Type { descriptor: &DESCRIPTOR, read: config::read, form: &form::FORM };

impl Settings for Config {
    fn open(&self, setup: Setup) -> Arc<dyn Channel> {
        let public = self.public_url.as_ref().map(|url| format!("{url}/chat/{}", setup.entry));
        Arc::new(WebChat { site: Arc::new(routes::Site::new(self, &setup)), public, http: setup.http.clone() })
    }

    fn title(&self) -> Option<&str> {
        self.title.as_deref()
    }
}

/// The adapter of one entry.
#[derive(Debug)]
struct WebChat {
    site: Arc<routes::Site>,
    /// Where visitors find the page from outside.
    public: Option<String>,
    http: reqwest::Client,
}

#[async_trait]
impl Channel for WebChat {
    fn descriptor(&self) -> &'static Descriptor {
        &DESCRIPTOR
    }

    async fn run(&self, host: Arc<dyn Host>, shutdown: CancellationToken) {
        // There is no vendor that could be out of reach.
        host.report(Ok(()));
        shutdown.cancelled().await;
        self.site.hub.close();
    }

    async fn serve(&self, path: &str, request: Request, host: Arc<dyn Host>) -> Response {
        routes::serve(&self.site, path, request, host).await
    }

    /// Always delivered: the line is in the transcript already, which is the visitor's mailbox. Tabs
    /// that are open get it now; all others find it in the history when they come back.
    async fn send(&self, reply: &Reply) -> Sent {
        self.site.hub.finish(&reply.target, &wire::ToPage::message(reply));
        Sent::Delivered
    }

    async fn test(&self) -> Vec<Probe> {
        let mut probes = vec![Probe { what: "page", outcome: Ok("it is served here".to_owned()) }];
        if let Some(url) = &self.public {
            let outcome = match self.http.get(url).timeout(TEST_TIMEOUT).send().await {
                Ok(answer) if answer.status().is_success() => Ok(format!("{url} answers")),
                Ok(answer) => Err(format!("{url} answers {}; see that it leads here", answer.status().as_u16())),
                Err(error) => Err(format!("{url} cannot be reached from here: {}", error.without_url())),
            };
            probes.push(Probe { what: "public_url", outcome });
        }
        probes
    }

    fn preview(&self, target: &str, preview: Preview) {
        self.site.hub.preview(target, preview);
    }
}

impl Drop for WebChat {
    /// Connections hold the site, not the adapter. When changed settings replace the adapter, the tabs
    /// must leave with it, or they would wait on a hub that no answer reaches.
    fn drop(&mut self) {
        self.site.hub.close();
    }
}
