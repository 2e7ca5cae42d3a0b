//! Tells somebody when something is wrong: looks by the clock, keeps what was told, sends.

use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Gateway;
use crate::alert::{self, Book, Failed, Letter, Message, Target, Trouble};
use crate::browser::Language;
use crate::business::Business;
use crate::document::{read_at_most, write_whole};

/// What was told, in the home.
const STATE: &str = "alerts.json";
/// Largest file of it, in bytes.
const MAX_STATE_BYTES: usize = 1 << 20;
/// How often it is looked.
const LOOK: Duration = Duration::from_secs(30);

/// What was told.
#[derive(Debug)]
pub(super) struct Alerts {
    file: PathBuf,
    book: Mutex<Book>,
}

/// How alerts go.
#[derive(Debug, Clone)]
pub struct AlertStatus {
    /// Who gets e-mails.
    pub email: Vec<String>,
    /// The host of the program that is told.
    pub webhook: Option<String>,
    /// What was told and is not over.
    pub told: Vec<Trouble>,
    /// What did not go through yet.
    pub n_waiting: usize,
    /// The last attempt by each way, if it failed.
    pub failed: Vec<(Target, Failed)>,
}

impl Alerts {
    pub(super) fn of(home: &Path) -> Self {
        let file = home.join(STATE);
        // What cannot be read is as good as none: somebody is told once more.
        let book = read_at_most(&file, MAX_STATE_BYTES).ok().and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Self { file, book: Mutex::new(book.unwrap_or_default()) }
    }

    fn book(&self) -> Book {
        self.book.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn change<T>(&self, change: impl FnOnce(&mut Book) -> T) -> T {
        let mut book = self.book.lock().unwrap_or_else(PoisonError::into_inner);
        let was_quiet = book.is_quiet();
        let before = serde_json::to_vec(&*book).unwrap_or_default();
        let changed = change(&mut book);
        let bytes = serde_json::to_vec(&*book).unwrap_or_default();
        // Most looks find what the one before found, and a card does not live for ever.
        if bytes != before
            && !(was_quiet && book.is_quiet())
            && let Err(error) = write_whole(&self.file, &bytes, 0o600)
        {
            tracing::warn!(%error, "what was told could not be kept; after a restart it is told once more");
        }
        changed
    }
}

impl Gateway {
    /// Has `look` look for what is wrong, every half minute until the gateway stops, and tells it to whom the
    /// configuration names. `look` may read files.
    pub fn watch(&self, look: fn(&Self) -> Vec<Trouble>) {
        let gateway = self.clone();
        self.spawn(async move {
            let mut often = tokio::time::interval(LOOK);
            often.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
            loop {
                tokio::select! {
                    () = gateway.0.stop.cancelled() => return,
                    _ = often.tick() => {}
                }
                let looking = gateway.clone();
                // A look that panicked found nothing, and nothing is over by it.
                if let Ok(troubles) = tokio::task::spawn_blocking(move || look(&looking)).await {
                    tokio::select! {
                        () = gateway.0.stop.cancelled() => return,
                        () = gateway.tell(&troubles) => {}
                    }
                }
            }
        });
    }

    /// Tells what is wrong now, and tries again what did not go through.
    pub(super) async fn tell(&self, troubles: &[Trouble]) {
        let config = self.0.live.load().settings.alerts.clone();
        let now = self.now();
        self.0.alerts.change(|book| book.look(troubles, &config.targets(), config.per_day, now));
        for letter in self.0.alerts.book().due(now) {
            let went = self.send_letter(&letter).await;
            if let Err(error) = &went {
                tracing::warn!(%error, target = ?letter.target, "an alert did not go through");
            }
            let went = went.map_err(|error| (error.reason, error.is_lasting));
            self.0.alerts.change(|book| book.tried(&letter, went, self.now()));
        }
    }

    async fn send_letter(&self, letter: &Letter) -> Result<(), alert::SendError> {
        self.send_alert(letter.target, &letter.message).await
    }

    async fn send_alert(&self, target: Target, message: &Message) -> Result<(), alert::SendError> {
        let live = self.0.live.load_full();
        let business = live.settings.business.as_ref();
        let whose = (
            business.and_then(|business| business.name.as_deref()),
            business.map_or(Language::English, Business::language),
        );
        alert::send(&live.settings.alerts, target, message, whose, &self.0.http, self.now()).await
    }

    /// Sends a test by every way, once. Empty: nobody is told anything.
    pub async fn test_alerts(&self) -> Vec<(Target, Result<(), alert::SendError>)> {
        let targets = self.0.live.load().settings.alerts.targets();
        let now = self.now();
        let id = format!("test_{}", now.0);
        let message = Message { id, at_ms: now.0, new: Vec::new(), over: Vec::new(), is_last: false };
        let mut went = Vec::new();
        for target in targets {
            let sent = self.send_alert(target, &message).await;
            if sent.is_ok() {
                self.0.alerts.change(|book| book.try_again(target));
            }
            went.push((target, sent));
        }
        went
    }

    /// How alerts go.
    #[must_use]
    pub fn alert_status(&self) -> AlertStatus {
        let (config, book) = (self.0.live.load().settings.alerts.clone(), self.0.alerts.book());
        AlertStatus {
            email: config.email.iter().flat_map(|email| &email.to).map(ToString::to_string).collect(),
            webhook: config.post.and_then(|post| post.url.host_str().map(str::to_owned)),
            told: book.told().cloned().collect(),
            n_waiting: book.n_waiting(),
            failed: book.failed().iter().map(|(target, failed)| (*target, failed.clone())).collect(),
        }
    }

    /// What the operator should do about alerts that do not arrive. It is no error, so that nobody is to be told of it.
    pub(super) fn alert_trouble(&self) -> Vec<String> {
        let warn = |(target, failed): (&Target, &Failed)| {
            let way = match target {
                Target::Email => "e-mail",
                Target::Webhook => "webhook",
            };
            format!("alerts by {way} do not go through: {}; mend [alerts] and send a test", failed.reason)
        };
        self.0.alerts.book().failed().iter().map(warn).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Timestamp;

    #[test]
    fn what_was_told_is_known_after_a_restart() {
        let home = tempfile::tempdir().unwrap();
        let trouble = Trouble { id: "a".into(), what: "b".into(), fix: "c".into(), told: None };
        let alerts = Alerts::of(home.path());
        for at in [1_000_000, 1_030_000] {
            alerts.change(|book| book.look(std::slice::from_ref(&trouble), &[Target::Webhook], 9, Timestamp(at)));
        }
        let again = Alerts::of(home.path());
        assert_eq!(again.book().told().collect::<Vec<_>>(), [&trouble]);
        assert_eq!(again.book().due(Timestamp(1_030_000)).len(), 1);
        std::fs::write(home.path().join(STATE), "{").unwrap();
        assert_eq!(Alerts::of(home.path()).book(), Book::default());
    }
}
