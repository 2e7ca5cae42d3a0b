//! From an identity bundle to a message that waits for its turn.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::Gateway;
use super::live::LiveEntry;
use crate::channel::Admitted;
use crate::id::SessionKey;
use crate::identity::{self, Verdict};
use crate::message::{ChatKind, Identity, Inbound};
use crate::store::{self, Filed};

/// When to send a message again that the store could not take.
const RETRY_AFTER: Duration = Duration::from_secs(5);

impl Gateway {
    /// Admits a message of a channel entry: policy, key, store, lane, in this order.
    pub(super) async fn admit(&self, entry: &LiveEntry, inbound: Inbound) -> Admitted {
        if self.0.stop.is_cancelled() {
            return Admitted::Unavailable { retry_after: RETRY_AFTER };
        }
        let live = self.0.live.load_full();
        let resolved = match live.resolver.resolve(&inbound.identity) {
            Ok(resolved) => resolved,
            Err(error) => {
                tracing::warn!(channel.name = %entry.id, %error, "a message has no session key and was not filed");
                entry.health.trouble(format!("a message could not be filed: {error}"));
                return Admitted::Unresolvable(error.to_string());
            }
        };
        tracing::debug!(channel.name = %entry.id, session.key = %resolved.session_key, rule = %resolved.rule, "session resolved");
        // A mentioned bot stays in the thread: its members need not call it every time.
        let is_known_thread = inbound.identity.kind == ChatKind::Thread
            && self.0.store.tenant(entry.tenant.as_ref()).has_session(&resolved.session_key).unwrap_or(false);
        match identity::admit(&entry.policy, &live.settings.session.owners, &inbound, is_known_thread) {
            Verdict::Admit => {}
            Verdict::Ignore(reason) => {
                tracing::debug!(channel.name = %entry.id, reason, "message ignored");
                return Admitted::Ignored(reason);
            }
            Verdict::Refuse(reason) => {
                tracing::info!(channel.name = %entry.id, reason, "message refused");
                entry.health.message_refused();
                return Admitted::Refused(reason);
            }
        }
        let filed = self.file(&resolved.session_key, inbound).await;
        if matches!(filed, Admitted::Accepted { .. }) {
            entry.health.message_in(self.now());
        }
        filed
    }

    /// Files a message under its key and wakes the lane. What is accepted here is on the disk.
    pub(super) async fn file(&self, session_key: &SessionKey, inbound: Inbound) -> Admitted {
        let (gateway, session_key) = (self.clone(), session_key.clone());
        // In a task of its own: a client that hangs up ends its request, and the message would be on the disk
        // with nobody to answer it.
        let filed = self.0.tasks.spawn(async move { gateway.file_and_wake(session_key, inbound).await }).await;
        filed.unwrap_or(Admitted::Unavailable { retry_after: RETRY_AFTER })
    }

    async fn file_and_wake(&self, session_key: SessionKey, inbound: Inbound) -> Admitted {
        let tenant = inbound.identity.tenant.clone();
        let life = self.life(tenant.as_ref(), &session_key);
        match self.0.store.tenant(tenant.as_ref()).file(&session_key, &inbound, life).await {
            Ok(Filed::New) => {
                self.note_store(None);
                self.warn_of_main(&session_key, &inbound.identity);
                let accepted = Admitted::Accepted { session_key: session_key.to_string() };
                self.wake((tenant, session_key));
                accepted
            }
            Ok(Filed::Duplicate) => {
                // A commit whose sync failed may be on the disk all the same; then nobody was told to work on it.
                self.wake((tenant, session_key));
                Admitted::Duplicate
            }
            Err(store::Error::Busy) => Admitted::Unavailable { retry_after: RETRY_AFTER },
            Err(error) => {
                self.note_store(Some(&error));
                Admitted::Unavailable { retry_after: RETRY_AFTER }
            }
        }
    }

    /// Under `main` all who write directly share one conversation: said once, when the second one is admitted.
    fn warn_of_main(&self, session_key: &SessionKey, identity: &Identity) {
        let (live, tenant) = (self.0.live.load(), identity.tenant.as_ref());
        let is_main = live.resolver.main_key(tenant).is_some_and(|main| main == *session_key);
        if !is_main || self.0.warned_of_main.load(Ordering::Relaxed) {
            return;
        }
        // Looking who shares it visits all who wrote to this tenant, so not for the one who began it.
        let began = self.0.store.tenant(tenant).session(session_key).row().ok().flatten();
        if began.is_some_and(|row| row.channel == identity.channel && row.user == identity.user) {
            return;
        }
        for warning in self.shared_main(&live).unwrap_or_default() {
            self.0.warned_of_main.store(true, Ordering::Relaxed);
            tracing::warn!("{warning}");
        }
    }
}
