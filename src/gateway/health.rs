//! Is the gateway healthy? What an update asks before it is kept.
//!
//! A message of its own goes the whole way, from the HTTP API through store, lane, agent and back, in a gateway that is made
//! for it: in a home of its own inside the home, with the demo worker and no channel, gone afterwards. So it costs no token, and
//! there is nothing of it in any conversation, in what is counted, or in the access log.

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use tracing::instrument::WithSubscriber as _;
use tracing::subscriber::NoSubscriber;

use super::status::Probe;
use super::{Gateway, Options, device_key};
use crate::api::{Conversation, Desk as _, Part, Question};
use crate::document::NoVariables;
use crate::health::{Channels, Check};
use crate::id::{self, OpaqueId};

/// Where that gateway lives, in the home.
const DIRECTORY: &str = "health.check";
/// How long its message may take, on the slowest board.
const LONGEST: Duration = Duration::from_secs(90);

/// What was found.
#[derive(Debug, Clone)]
pub struct Health {
    /// What was looked at.
    pub checks: Vec<Check>,
    /// How the channels are.
    pub channels: Channels,
    /// Milliseconds since it started: two answers of one process are told from those of two.
    pub uptime_ms: u64,
}

impl Gateway {
    /// Looks whether messages are taken and answered. Without `with_message` none is tried.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub async fn health(&self, with_message: bool) -> Result<Health, crate::store::Error> {
        let status = self.status()?;
        let mut checks = vec![
            match self.readiness(&Probe::default()).await {
                Ok(()) => Check::good("gateway", "the gateway takes and answers messages"),
                Err(why) => Check::bad("gateway", format!("the gateway takes no messages: {why}")),
            },
            match self.0.store.why_unusable() {
                None => Check::good("store", "the store is open and of the newest format"),
                Some(why) => Check::bad("store", format!("the store cannot be used: {why}")),
            },
        ];
        if with_message {
            checks.push(match self.answer_itself().await {
                Ok(()) => Check::good("message", "a message of its own was answered"),
                Err(why) => Check::bad("message", format!("a message of its own was not answered: {why}")),
            });
        }
        let channels = status.channels.iter().map(|channel| (channel.id.clone(), channel.problem.is_none())).collect();
        Ok(Health { checks, channels, uptime_ms: status.uptime_ms })
    }

    async fn answer_itself(&self) -> Result<(), String> {
        // One at a time: they have one directory.
        let Ok(_only) = self.0.answering_itself.try_lock() else { return Err("another check is at it".to_owned()) };
        let home = self.home().join(DIRECTORY);
        // What it says of itself would be taken for the gateway's; what is wrong is in the answer.
        let answered = self.answer_in(home.clone()).with_subscriber(NoSubscriber::new()).await;
        remove(home).await?;
        answered
    }

    async fn answer_in(&self, home: PathBuf) -> Result<(), String> {
        remove(home.clone()).await?;
        let random = || id::random().ok_or("the system gives no random numbers");
        let (key, words) = (random()?, random()?);
        write(&home, &key).map_err(|error| format!("the disk does not take it: {error}"))?;
        let options = Options {
            home,
            variables: Arc::new(NoVariables),
            clock: self.0.clock.clone(),
            device_key: device_key::Sources::default(),
            pages: |_| axum::Router::new(),
            on_copy: false,
        };
        // Boxed: a start within what a start has made.
        let gateway = Box::pin(Self::start(options)).await.map_err(|error| error.to_string())?;
        let answered = tokio::time::timeout(LONGEST, ask(&gateway, &key, &words)).await;
        let answered = answered.unwrap_or_else(|_elapsed| Err(format!("not in {} seconds", LONGEST.as_secs())));
        gateway.shut_down().await;
        // The last handle closes the file, and waits for the disk.
        drop(tokio::task::spawn_blocking(move || drop(gateway)).await);
        answered
    }
}

async fn ask(gateway: &Gateway, key: &str, words: &str) -> Result<(), String> {
    let caller = gateway.caller(key).ok_or("its settings are not used")?;
    let user = OpaqueId::new("health").map_err(|error| error.to_string())?;
    let question =
        Question { conversation: Conversation::User(user), agent: None, text: words.to_owned(), idempotency_key: None };
    let mut parts = caller.ask(question).await.map_err(|error| format!("it was not taken: {error:?}"))?;
    while let Some(part) = parts.recv().await {
        match part {
            Part::Answer(text) if text.contains(words) => return Ok(()),
            Part::Answer(_) => return Err("the answer is to something else".to_owned()),
            Part::Failed { .. } => return Err("the worker failed".to_owned()),
            Part::Delta(_) | Part::Reset => {}
        }
    }
    Err("nobody answered".to_owned())
}

/// The home with its settings.
fn write(home: &Path, key: &str) -> std::io::Result<()> {
    // Only the owner may look in, as into every home.
    DirBuilder::new().mode(0o700).create(home)?;
    let settings = format!(
        "[gateway]\nbind = \"127.0.0.1\"\nport = 0\n\n[[providers]]\nname = \"demo\"\nkind = \"demo\"\n\n\
         [[api_keys]]\nname = \"health\"\nkey = \"{key}\"\n"
    );
    crate::document::write_whole(&home.join("config.toml"), settings.as_bytes(), 0o600)
}

async fn remove(home: PathBuf) -> Result<(), String> {
    let removed = tokio::task::spawn_blocking(move || match std::fs::remove_dir_all(home) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    });
    let removed = removed.await.map_err(|error| error.to_string())?;
    removed.map_err(|error| format!("what an earlier check left cannot be removed: {error}"))
}
