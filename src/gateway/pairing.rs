//! Strangers: a code for them, and what the operator says to it.

use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Gateway;
use super::intake::notice;
use super::live::LiveEntry;
use super::rates::Holder;
use crate::account::Who;
use crate::identity::{APPROVED, MAX_PENDING, PAIRING_MS, PairingCode};
use crate::message::{Inbound, Subject};
use crate::store::{self, Approval, Offer, Offered, Pending};

/// Codes that may be tried in a minute on one channel: nobody finds one of a million million like this.
const GUESSES: NonZeroU32 = NonZeroU32::new(10).unwrap();
/// Approvals of one channel that are shown at most.
const MAX_APPROVALS: usize = 1000;

/// Why nothing was decided. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum PairingError {
    /// Neither an id nor a type of which there is one.
    #[error("there is no channel {name:?}; there are {known}")]
    NoChannel {
        /// As somebody typed it.
        name: String,
        /// Ids of those that there are.
        known: String,
    },
    /// No stranger has this code, or not any more.
    #[error("no peer waits with this code on {channel}; `pairing list` shows those that wait, codes end after an hour")]
    NoCode {
        /// Id of the entry.
        channel: String,
    },
    /// Nobody was let in under this id.
    #[error("nobody with this id was approved on {channel}; `pairing allowed` shows who was")]
    NotApproved {
        /// Id of the entry.
        channel: String,
    },
    /// Too many codes were tried.
    #[error("too many codes were tried on {channel}; try again in a minute")]
    TooManyTries {
        /// Id of the entry.
        channel: String,
        /// When.
        retry_after: Duration,
    },
    /// The store failed.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Gateway {
    /// Keeps a code for a stranger and tells it, once for each code. Whoever has one, or comes when too many
    /// wait, is told nothing.
    pub(super) async fn offer_pairing(
        &self,
        entry: &Arc<LiveEntry>,
        subject: Subject,
        inbound: &Inbound,
    ) -> Result<(), store::Error> {
        let (kept, now) = (self.kept(entry), self.now());
        // A stranger who writes on costs a read and no write.
        let pending = kept.pending(entry.stamp, now)?;
        if pending.iter().any(|pending| pending.subject == subject) {
            return Ok(());
        }
        if pending.len() >= MAX_PENDING {
            entry.health.stranger_turned_away();
            tracing::debug!(channel.name = %entry.id, "a stranger got no pairing code: too many wait");
            return Ok(());
        }
        let no_random = || store::Error::Storage("there are no random numbers".into());
        let code = PairingCode::random().ok_or_else(no_random)?;
        let offer = Offer {
            subject,
            name: inbound.user_name.clone(),
            code: code.as_str().to_owned(),
            expires_at: now.plus_ms(PAIRING_MS),
            max_pending: MAX_PENDING,
            line: notice(inbound, code.line()),
        };
        let (gateway, entry) = (self.clone(), entry.clone());
        let offering = async move {
            match kept.offer(offer, now).await? {
                Offered::New(deliveries) => {
                    tracing::info!(channel.name = %entry.id, "a stranger got a pairing code; see `pairing list`");
                    gateway.deliver_all(deliveries);
                }
                Offered::Known => {}
                Offered::Full => entry.health.stranger_turned_away(),
            }
            Ok(())
        };
        self.to_its_end(offering).await
    }

    /// Who waits for approval, by channel that `who` reaches; on one, if it is named.
    ///
    /// # Errors
    /// [`PairingError::NoChannel`], [`PairingError::Store`].
    pub fn pairings(&self, who: &Who, channel: Option<&str>) -> Result<Vec<(String, Pending)>, PairingError> {
        let now = self.now();
        self.of_entries(who, channel, |entry| self.kept(entry).pending(entry.stamp, now))
    }

    /// Who was approved, by channel that `who` reaches; on one, if it is named.
    ///
    /// # Errors
    /// As [`Self::pairings`].
    pub fn approvals(&self, who: &Who, channel: Option<&str>) -> Result<Vec<(String, Approval)>, PairingError> {
        self.of_entries(who, channel, |entry| self.kept(entry).approvals(entry.stamp, MAX_APPROVALS))
    }

    /// Lets the stranger with this code in, and says so to them. Not as an owner, and in no other chat.
    ///
    /// # Errors
    /// [`PairingError`], but for `NotApproved`.
    pub async fn approve(&self, who: &Who, channel: &str, code: &str) -> Result<(String, Pending), PairingError> {
        let (entry, pending) = self.with_code(who, channel, code)?;
        let (gateway, approving, stranger) = (self.clone(), entry.clone(), pending.clone());
        let approval = async move {
            let kept = gateway.kept(&approving);
            let told = kept.approve(approving.stamp, &stranger, APPROVED, gateway.now()).await?;
            gateway.deliver_all(told);
            Ok(())
        };
        self.to_its_end(approval).await.map_err(|error| decided(&entry, error))?;
        tracing::info!(access.who = who.name, channel.name = %entry.id, kind = pending.subject.kind(), "a stranger was approved");
        Ok((entry.id.to_string(), pending))
    }

    /// Forgets the stranger with this code.
    ///
    /// # Errors
    /// As [`Self::approve`].
    pub async fn reject(&self, who: &Who, channel: &str, code: &str) -> Result<(String, Pending), PairingError> {
        let (entry, pending) = self.with_code(who, channel, code)?;
        let rejected = self.kept(&entry).reject(entry.stamp, &pending, self.now()).await;
        rejected.map_err(|error| decided(&entry, error))?;
        tracing::info!(access.who = who.name, channel.name = %entry.id, "a stranger was rejected");
        Ok((entry.id.to_string(), pending))
    }

    /// Lets in no longer who was approved under this id; says which peer and group it was.
    ///
    /// # Errors
    /// [`PairingError::NoChannel`], [`PairingError::NotApproved`], [`PairingError::Store`].
    pub async fn revoke(
        &self,
        who: &Who,
        channel: &str,
        subject: &str,
    ) -> Result<(String, Vec<Subject>), PairingError> {
        let entry = self.entry(who, channel)?;
        let revoked = self.kept(&entry).revoke(subject).await?;
        let channel = entry.id.to_string();
        if revoked.is_empty() {
            return Err(PairingError::NotApproved { channel });
        }
        tracing::info!(access.who = who.name, channel.name = %entry.id, "an approval was revoked");
        Ok((channel, revoked))
    }

    fn with_code(&self, who: &Who, channel: &str, code: &str) -> Result<(Arc<LiveEntry>, Pending), PairingError> {
        let entry = self.entry(who, channel)?;
        let tries = self.0.guesses.take(Holder::of(&[Some(entry.id.as_str())]), GUESSES, Instant::now());
        let channel = entry.id.to_string();
        if let Err(retry_after) = tries {
            return Err(PairingError::TooManyTries { channel, retry_after });
        }
        let code = PairingCode::parse(code);
        let pending = self.kept(&entry).pending(entry.stamp, self.now())?;
        // All are compared, whichever it is.
        let is_it = |pending: &Pending| code.as_ref().is_some_and(|code| code.is(&pending.code));
        let (found, _): (Vec<Pending>, Vec<Pending>) = pending.into_iter().partition(is_it);
        Ok((entry, found.into_iter().next().ok_or(PairingError::NoCode { channel })?))
    }

    fn of_entries<T>(
        &self,
        who: &Who,
        channel: Option<&str>,
        read: impl Fn(&LiveEntry) -> Result<Vec<T>, store::Error>,
    ) -> Result<Vec<(String, T)>, PairingError> {
        let entries: Vec<Arc<LiveEntry>> = match channel {
            Some(channel) => vec![self.entry(who, channel)?],
            None => self.0.live.load().entries.values().filter(|entry| is_reached(who, entry)).cloned().collect(),
        };
        let mut found = Vec::new();
        for entry in entries {
            found.extend(read(&entry)?.into_iter().map(|one| (entry.id.to_string(), one)));
        }
        Ok(found)
    }

    /// A channel by its id, or by its type where there is one of it. Others than `who` reaches are not there for them.
    fn entry(&self, who: &Who, name: &str) -> Result<Arc<LiveEntry>, PairingError> {
        let live = self.0.live.load();
        let entries = || live.entries.values().filter(|entry| is_reached(who, entry));
        let by_id = entries().find(|entry| entry.id.as_str() == name);
        let mut by_type = entries().filter(|entry| entry.descriptor().type_name == name);
        let only = by_type.next().filter(|_| by_type.next().is_none());
        by_id.or(only).cloned().ok_or_else(|| {
            let known = entries().map(|entry| entry.id.to_string()).collect::<Vec<_>>().join(", ");
            PairingError::NoChannel { name: name.to_owned(), known }
        })
    }
}

fn is_reached(who: &Who, entry: &LiveEntry) -> bool {
    who.reaches(entry.tenant.as_ref())
}

/// Somebody else decided first, or the hour was over just now.
fn decided(entry: &LiveEntry, error: store::Error) -> PairingError {
    match error {
        store::Error::Gone { .. } => PairingError::NoCode { channel: entry.id.to_string() },
        error => PairingError::Store(error),
    }
}
