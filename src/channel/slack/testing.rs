//! A host that remembers, and an adapter that reaches nobody.

use std::collections::VecDeque;
use std::sync::Mutex;

use async_trait::async_trait;

use super::Slack;
use super::settings::SlackSettings;
use crate::channel::registry::Setup;
use crate::channel::{Admitted, Event, History, Host};
use crate::clock::Timestamp;
use crate::document::Secret;
use crate::id::EntryId;

/// What requests in the fixtures are signed with.
pub(super) const SIGNING_SECRET: &str = "8f742231b10e8888abcd99yyyzzz85a5";

/// An adapter for both transports. Nothing listens at its base address.
pub(super) fn slack() -> Slack {
    open(Some(Secret::new("xapp-test")))
}

/// An adapter without Socket Mode.
pub(super) fn slack_over_http() -> Slack {
    open(None)
}

fn open(app_token: Option<Secret>) -> Slack {
    let settings = SlackSettings {
        bot_token: Secret::new("xoxb-test"),
        signing_secret: Some(Secret::new(SIGNING_SECRET)),
        app_token,
        base_url: "http://127.0.0.1:1/api".parse().unwrap(),
    };
    let entry = EntryId::new("slack").unwrap();
    Slack::new(settings, Setup { entry, signing_key: [0; 32], http: reqwest::Client::new() })
}

#[derive(Debug)]
pub(super) struct TestHost {
    entry: EntryId,
    outcomes: Mutex<VecDeque<Admitted>>,
    admitted: Mutex<Vec<String>>,
    health: Mutex<Vec<Result<(), String>>>,
}

impl TestHost {
    /// Admits with these outcomes, in order, and ignores everything after them.
    pub(super) fn answering(outcomes: impl Into<VecDeque<Admitted>>) -> Self {
        Self {
            entry: EntryId::new("slack").unwrap(),
            outcomes: Mutex::new(outcomes.into()),
            admitted: Mutex::default(),
            health: Mutex::default(),
        }
    }

    /// Message ids in the order they were offered.
    pub(super) fn admitted(&self) -> Vec<String> {
        self.admitted.lock().unwrap().clone()
    }

    pub(super) fn health(&self) -> Vec<Result<(), String>> {
        self.health.lock().unwrap().clone()
    }
}

#[async_trait]
impl Host for TestHost {
    fn entry(&self) -> &EntryId {
        &self.entry
    }

    async fn admit(&self, event: Event) -> Admitted {
        self.admitted.lock().unwrap().push(event.message_id.as_str().to_owned());
        self.outcomes.lock().unwrap().pop_front().unwrap_or(Admitted::Ignored("nothing more is expected"))
    }

    async fn history(&self, _event: &Event, _after_seq: Option<u64>, _limit: usize) -> History {
        History::default()
    }

    fn report(&self, health: Result<(), String>) {
        self.health.lock().unwrap().push(health);
    }

    fn now(&self) -> Timestamp {
        Timestamp(0)
    }
}
