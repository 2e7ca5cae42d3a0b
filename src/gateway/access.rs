//! The access log, as it is written: a queue, so that nobody waits for it.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::Gateway;
use crate::account::{Reach, Who};
use crate::id::{SessionKey, TenantId};
use crate::store::{About, Error, NewAccess};

/// Records that may wait to be written.
const MAX_QUEUED: usize = 4_096;
/// Records that one write takes.
const MAX_WRITTEN: usize = 256;
/// Looking again after this long is another look.
const ONE_LOOK: Duration = Duration::from_secs(600);
/// Looks that are remembered.
const MAX_LOOKS: usize = 1_024;
/// Longest text of a field, in characters.
const MAX_FIELD_CHARS: usize = 120;
/// How long a busy store is left alone, and how often.
const BUSY: Duration = Duration::from_millis(500);
const MAX_BUSY: usize = 10;
/// What a wrong password is called.
const WRONG_PASSWORD: &str = "wrong password";
/// What a passkey that was not accepted is called.
const WRONG_PASSKEY: &str = "wrong passkey";
const PASSWORD_ALONE: &str = "password, without a passkey yet";
/// How long records are kept, in milliseconds.
const KEPT_MS: u64 = 400 * 24 * 60 * 60 * 1000;

/// What waits to be written.
#[derive(Debug)]
pub(super) enum Queued {
    Record(Option<TenantId>, Box<NewAccess>),
    /// Tell when all that came before is written.
    Flush(oneshot::Sender<()>),
}

/// Who, what, tenant, key.
type Look = (String, &'static str, Option<TenantId>, Option<SessionKey>);

#[derive(Debug)]
pub(super) struct AccessLog {
    queue: mpsc::Sender<Queued>,
    looks: Mutex<HashMap<Look, Instant>>,
}

impl AccessLog {
    pub(super) fn new() -> (Self, mpsc::Receiver<Queued>) {
        let (queue, queued) = mpsc::channel(MAX_QUEUED);
        (Self { queue, looks: Mutex::default() }, queued)
    }

    /// Notes a look. Is it another one than those before it?
    fn is_new(&self, look: Look) -> bool {
        let now = Instant::now();
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        if looks.len() >= MAX_LOOKS {
            looks.retain(|_, at| now.duration_since(*at) < ONE_LOOK);
        }
        if looks.len() >= MAX_LOOKS {
            // Rather one record too many than one too few.
            looks.clear();
        }
        match looks.get(&look) {
            Some(at) if now.duration_since(*at) < ONE_LOOK => false,
            _ => {
                looks.insert(look, now);
                true
            }
        }
    }

    /// Who erased a conversation and looks at what comes next under its key looks anew; and the key is not kept here.
    fn forget(&self, tenant: Option<&TenantId>, key: &SessionKey) {
        let mut looks = self.looks.lock().unwrap_or_else(PoisonError::into_inner);
        looks.retain(|(_, _, of, looked), _| of.as_ref() != tenant || looked.as_ref() != Some(key));
    }
}

impl Gateway {
    /// Somebody did something. It is in the log at once, and in the access log of the tenant within a second.
    pub fn note_access(&self, who: &Who, tenant: Option<&TenantId>, what: &'static str, about: About) {
        let (at, what) = (self.now(), what.into());
        self.record_access(tenant, NewAccess { at, who: who.name.clone(), from: who.from, what, about });
    }

    /// Somebody looked at something: the same again within ten minutes is one look.
    pub fn note_look(&self, who: &Who, tenant: Option<&TenantId>, what: &'static str, key: Option<&SessionKey>) {
        if self.0.access.is_new((who.name.clone(), what, tenant.cloned(), key.cloned())) {
            self.note_access(who, tenant, what, key.cloned().map_or(About::Nothing, About::Key));
        }
    }

    /// A wrong password, from an address, for a name: the same again within ten minutes is one record. Of a name that no
    /// account has nothing is kept: it may be a password in the wrong field.
    pub fn note_wrong_password(&self, name: &str, from: IpAddr) {
        self.note_wrong(WRONG_PASSWORD, name, from);
    }

    /// A passkey that was not accepted, in the same way. Whose it is need not be known.
    pub fn note_wrong_passkey(&self, name: &str, from: IpAddr) {
        self.note_wrong(WRONG_PASSKEY, name, from);
    }

    /// A right password that a passkey is still asked for, in the same way: the owner may be somebody else.
    pub fn note_password_alone(&self, name: &str, from: IpAddr) {
        self.note_wrong(PASSWORD_ALONE, name, from);
    }

    fn note_wrong(&self, what: &'static str, name: &str, from: IpAddr) {
        let who =
            self.accounts().users().into_iter().find(|user| user.name.to_lowercase() == name.trim().to_lowercase());
        let (name, tenant) = match who {
            Some(user) => (
                user.name,
                match user.reach {
                    Reach::All => None,
                    Reach::Tenant(tenant) => Some(tenant),
                },
            ),
            None => (String::new(), None),
        };
        if self.0.access.is_new((format!("{name} {from}"), what, tenant.clone(), None)) {
            let (at, what) = (self.now(), what.into());
            let about = if name.is_empty() { About::Nothing } else { About::Name(name) };
            self.record_access(tenant.as_ref(), NewAccess { at, who: String::new(), from: Some(from), what, about });
        }
    }

    /// Adds a record. Fields are one line each.
    pub(super) fn record_access(&self, tenant: Option<&TenantId>, mut access: NewAccess) {
        access.who = one_line(&access.who);
        access.about = match access.about {
            About::Name(name) => About::Name(one_line(&name)),
            about => about,
        };
        say(tenant, &access);
        if self.0.access.queue.try_send(Queued::Record(tenant.cloned(), Box::new(access))).is_err() {
            tracing::warn!("a record of the access log is in this log alone: too many wait to be written");
        }
    }

    /// Returns when what was recorded before is handed to the store.
    pub(super) async fn access_is_written(&self) {
        let (written, done) = oneshot::channel();
        if self.0.access.queue.send(Queued::Flush(written)).await.is_ok() {
            // Gone with the task that would tell: the gateway stops.
            drop(done.await);
        }
    }

    /// Forgets that somebody looked at a conversation that is erased.
    pub(super) fn forget_looks(&self, tenant: Option<&TenantId>, key: &SessionKey) {
        self.0.access.forget(tenant, key);
    }

    /// Writes what is recorded, for as long as the gateway runs.
    pub(super) async fn keep_access(self, mut queued: mpsc::Receiver<Queued>) {
        let mut batch = Vec::new();
        loop {
            tokio::select! {
                biased;
                n = queued.recv_many(&mut batch, MAX_WRITTEN) => if n == 0 { return },
                () = self.0.stop.cancelled() => return,
            }
            let (mut records, mut flushed) = (BTreeMap::<_, Vec<NewAccess>>::new(), Vec::new());
            for item in batch.drain(..) {
                match item {
                    Queued::Record(tenant, access) => records.entry(tenant).or_default().push(*access),
                    Queued::Flush(done) => flushed.push(done),
                }
            }
            for (tenant, records) in records {
                if let Err(error) = self.write_access(tenant.as_ref(), records).await {
                    tracing::warn!(%error, "records of the access log are in this log alone");
                }
            }
            for done in flushed {
                // Who asked may be gone.
                let _is_heard = done.send(());
            }
        }
    }

    /// A store that has too much to do, or erases that tenant, is asked again a few times.
    async fn write_access(&self, tenant: Option<&TenantId>, records: Vec<NewAccess>) -> Result<(), Error> {
        let log = self.0.store.tenant(tenant);
        for _again in 0..MAX_BUSY {
            match log.record_access(records.clone()).await {
                Err(Error::Busy) => tokio::time::sleep(BUSY).await,
                done => return done,
            }
        }
        log.record_access(records).await
    }

    /// Removes old records.
    pub(super) async fn prune_access(&self) {
        let (before, set_forward) = self.older_than(KEPT_MS);
        // A clock that may be far ahead would take everything.
        if set_forward.is_some() {
            return;
        }
        while let Ok(true) = self.0.store.prune_access(before).await {}
    }
}

/// A line of the log, for whoever collects logs.
fn say(tenant: Option<&TenantId>, access: &NewAccess) {
    let tenant = tenant.map(TenantId::as_str).unwrap_or_default();
    let (key, name) = match &access.about {
        About::Key(key) => (key.as_str(), ""),
        About::Name(name) => ("", name.as_str()),
        About::Nothing | About::Erased(_) => ("", ""),
    };
    tracing::info!(
        access.who = access.who,
        access.from = access.from.map(tracing::field::display),
        access.what = &*access.what,
        access.name = name,
        tenant.id = tenant,
        session.key = key,
        "somebody used the admin side"
    );
}

/// Nobody can end a field and begin another, or show it backwards.
fn one_line(text: &str) -> String {
    let plain = |c: char| if c.is_control() || is_hidden(c) { ' ' } else { c };
    text.chars().map(plain).take(MAX_FIELD_CHARS).collect()
}

/// Marks that change the direction of text, or cannot be seen.
fn is_hidden(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{61c}' | '\u{feff}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn look(who: &str, tenant: Option<&str>, key: &str) -> Look {
        let tenant = tenant.map(|tenant| TenantId::new(tenant).unwrap());
        (who.to_owned(), "show", tenant, Some(SessionKey::parse(key).unwrap()))
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_stays_open_is_one_look_now_and_then() {
        let (log, _queued) = AccessLog::new();
        assert!(log.is_new(look("Ada", None, "webchat:a")));
        assert!(!log.is_new(look("Ada", None, "webchat:a")));
        assert!(log.is_new(look("Bob", None, "webchat:a")) && log.is_new(look("Ada", Some("42"), "webchat:a")));
        tokio::time::advance(ONE_LOOK / 2).await;
        assert!(!log.is_new(look("Ada", None, "webchat:a")), "looking does not put the next record off");
        tokio::time::advance(ONE_LOOK / 2).await;
        assert!(log.is_new(look("Ada", None, "webchat:a")));
        log.forget(None, &SessionKey::parse("webchat:a").unwrap());
        assert!(log.is_new(look("Ada", None, "webchat:a")));
    }

    proptest! {
        #[test]
        fn a_field_is_one_line_that_says_what_it_says(text in "\\PC*|[\\x00-\\x1f\u{202e}\u{2028}a-z]*") {
            let line = one_line(&text);
            prop_assert!(line.chars().count() <= MAX_FIELD_CHARS);
            prop_assert!(!line.chars().any(|c| c.is_control() || is_hidden(c)));
            prop_assert_eq!(one_line(&line), line);
        }
    }
}
