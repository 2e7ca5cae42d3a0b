//! From an identity bundle to a message that waits for its turn.

use std::num::NonZeroU32;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Gateway;
use super::live::{Live, LiveEntry};
use super::rates::Holder;
use crate::channel::{Admitted, Sender};
use crate::id::{OpaqueId, SessionKey, TenantId};
use crate::identity::{self, Known, Policy, Verdict};
use crate::message::{ChatKind, Identity, Inbound};
use crate::store::{self, EntryStore, Filed, NewDelivery};

/// When to send a message again that the store could not take.
const RETRY_AFTER: Duration = Duration::from_secs(5);
/// The same while the entry is paused.
const PAUSED: Duration = Duration::from_secs(60);
/// What a stranger's message is answered with where the channel says it.
const NOT_APPROVED: &str = "this peer or group must be approved first; see `pairing list`";

impl Gateway {
    /// Admits a message of a channel entry: key, policy, limits, store, lane, in this order. What `lacks`
    /// something gets no key.
    pub(super) async fn admit(
        &self,
        entry: &Arc<LiveEntry>,
        inbound: Inbound,
        lacks: Option<&'static str>,
    ) -> Admitted {
        if self.0.stop.is_cancelled() {
            return Admitted::Unavailable { retry_after: RETRY_AFTER };
        }
        if entry.is_paused {
            return Admitted::Unavailable { retry_after: PAUSED };
        }
        let live = self.0.live.load_full();
        let resolved = match lacks {
            Some(what) => Err(format!("a message without {what}")),
            None => live.resolver.resolve(&inbound.identity).map_err(|error| error.to_string()),
        };
        if let Ok(resolved) = &resolved {
            tracing::debug!(channel.name = %entry.id, session.key = %resolved.session_key, rule = %resolved.rule, "session resolved");
        }
        // One policy for all that is asked of it: a reload may swap it meanwhile.
        let policy = entry.policy.load_full();
        let session_key = resolved.as_ref().ok().map(|resolved| &resolved.session_key);
        let known = match self.known(entry, &policy, &inbound.identity, session_key) {
            Ok(known) => known,
            Err(error) => return self.unavailable(&error),
        };
        match identity::admit(&policy, &live.settings.session.owners, &inbound, known) {
            Verdict::Admit => {}
            Verdict::Ignore(reason) => {
                tracing::debug!(channel.name = %entry.id, reason, "message ignored");
                return Admitted::Ignored(reason);
            }
            Verdict::Refuse(reason) => {
                tracing::debug!(channel.name = %entry.id, reason, "message refused");
                entry.health.message_refused();
                return Admitted::Refused(reason);
            }
            Verdict::Pair(subject) => {
                entry.health.message_refused();
                return match self.offer_pairing(entry, subject, &inbound).await {
                    Ok(()) => Admitted::Refused(NOT_APPROVED),
                    Err(error) => self.unavailable(&error),
                };
            }
        }
        let session_key = match resolved {
            Ok(resolved) => resolved.session_key,
            Err(error) => return self.set_unresolvable_aside(entry, inbound, error).await,
        };
        if let Some(retry_after) = self.limit(&live, entry, policy.per_minute, &inbound) {
            tracing::debug!(channel.name = %entry.id, "message over the limit");
            entry.health.message_limited();
            self.tell_limit(entry, &inbound).await;
            return Admitted::Limited { retry_after };
        }
        let filed = self.file(&session_key, inbound).await;
        if matches!(filed, Admitted::Accepted { .. }) {
            entry.health.message_in(self.now());
        }
        filed
    }

    /// What the store knows that the policy may ask.
    pub(super) fn known(
        &self,
        entry: &LiveEntry,
        policy: &Policy,
        identity: &Identity,
        session_key: Option<&SessionKey>,
    ) -> Result<Known, store::Error> {
        let conversations = self.0.store.tenant(entry.tenant.as_ref());
        // A mentioned bot stays in the thread: its members need not call it every time.
        let thread = match session_key {
            Some(key) if identity.kind == ChatKind::Thread => conversations.has_session(key)?,
            _ => false,
        };
        let approval = match policy.asks_approval(identity) {
            Some(subject) => conversations.entry(&entry.id).is_approved(&subject, entry.stamp)?,
            None => false,
        };
        Ok(Known { thread, approval })
    }

    /// Keeps a message that belongs to no conversation, where nobody else does: a vendor takes it for delivered.
    async fn set_unresolvable_aside(&self, entry: &Arc<LiveEntry>, inbound: Inbound, error: String) -> Admitted {
        tracing::warn!(channel.name = %entry.id, error, "a message has no session key and was not filed");
        entry.health.trouble(format!("a message could not be filed: {error}"));
        if entry.descriptor().sender == Sender::Vendor {
            let (kept, reason) = (self.kept(entry), error.clone());
            match self.to_its_end(async move { kept.park(inbound, reason).await }).await {
                Ok(_) => self.note_store(None),
                Err(error) => return self.unavailable(&error),
            }
        }
        Admitted::Unresolvable(error)
    }

    /// How long the peer or the tenant must wait; `None`: the message may be filed.
    fn limit(
        &self,
        live: &Live,
        entry: &LiveEntry,
        of_peer: Option<NonZeroU32>,
        inbound: &Inbound,
    ) -> Option<Duration> {
        let of_tenant = live.settings.tenant_limit(entry.tenant.as_ref());
        if of_peer.is_none() && of_tenant.is_none() {
            return None;
        }
        // A repeat is the vendor's doing and not the peer's. The store says so; here it must only get there.
        if self.kept(entry).is_filed(&inbound.message_id).unwrap_or(false) {
            return None;
        }
        let now = Instant::now();
        let peer = of_peer.and_then(|n| entry.rates.take(holder(&inbound.identity), n, now).err());
        peer.or_else(|| {
            let tenant = Holder::of(&[entry.tenant.as_ref().map(TenantId::as_str)]);
            of_tenant.and_then(|n| self.0.tenant_rates.take(tenant, n, now).err())
        })
    }

    /// One polite line for each burst, unless the page says it.
    async fn tell_limit(&self, entry: &Arc<LiveEntry>, inbound: &Inbound) {
        let is_news = entry.rates.refuse(holder(&inbound.identity), Instant::now());
        if !is_news || entry.descriptor().sender == Sender::Page {
            return;
        }
        let (gateway, kept, line) = (self.clone(), self.kept(entry), notice(inbound, identity::TOO_FAST));
        let telling = async move {
            gateway.deliver_all(kept.say(line, gateway.now()).await?);
            Ok(())
        };
        if let Err(error) = self.to_its_end(telling).await {
            tracing::warn!(channel.name = %entry.id, %error, "a peer could not be told of the limit");
        }
    }

    /// What is kept for an entry outside of conversations.
    pub(super) fn kept(&self, entry: &LiveEntry) -> EntryStore {
        self.0.store.tenant(entry.tenant.as_ref()).entry(&entry.id)
    }

    /// Whoever sent the message must send it again.
    fn unavailable(&self, error: &store::Error) -> Admitted {
        if !matches!(error, store::Error::Busy) {
            self.note_store(Some(error));
        }
        Admitted::Unavailable { retry_after: RETRY_AFTER }
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
                self.0.usage.message(tenant.as_ref(), self.now());
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
            Err(error) => self.unavailable(&error),
        }
    }

    /// Under `main` all who write directly share one conversation: said once, when the second one is admitted.
    fn warn_of_main(&self, session_key: &SessionKey, identity: &Identity) {
        let (live, tenant) = (self.0.live.load(), identity.tenant.as_ref());
        let main = live.resolver.main_key(tenant, identity.workspace.as_ref());
        let warned = || self.0.warned_of_main.lock().unwrap_or_else(PoisonError::into_inner);
        if main.as_ref() != Some(session_key) || warned().contains(session_key) {
            return;
        }
        // Looking who shares it visits all who wrote to it, so not for the one who began it.
        let began = self.0.store.tenant(tenant).session(session_key).row().ok().flatten();
        if began.is_some_and(|row| row.channel == identity.channel && row.user == identity.user) {
            return;
        }
        if let Ok(Some(warning)) = self.shared_main(&live, tenant, session_key)
            && warned().insert(session_key.clone())
        {
            tracing::warn!("{warning}");
        }
    }
}

/// Whose bucket a message is taken from: one for each who writes through an entry.
fn holder(identity: &Identity) -> Holder {
    let peer = identity.user.as_ref().or(identity.room.as_ref());
    Holder::of(&[identity.user.as_ref().map(|_| "user"), peer.map(OpaqueId::as_str)])
}

/// A line on the side, to where the message came from.
pub(super) fn notice(inbound: &Inbound, text: impl Into<String>) -> NewDelivery {
    NewDelivery {
        address: inbound.reply_to.clone(),
        in_reply_to: inbound.message_id.clone(),
        answers: Vec::new(),
        text: text.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::channel::{Event, Host as _};
    use crate::clock::SystemClock;
    use crate::document::NoVariables;
    use crate::gateway::host::Bound;
    use crate::gateway::{Options, device_key};
    use crate::id::EntryId;
    use crate::message::Author;
    use crate::store::ParkedItem;

    /// An entry of a vendor's, with these keys.
    async fn start(home: &std::path::Path, keys: &str) -> (Gateway, Arc<LiveEntry>) {
        let entry = "[[channels]]\nid = \"desk\"\ntype = \"slack\"\nbot_token = \"xoxb-1\"\nsigning_secret = \"s\"\n";
        let server = "[gateway]\nport = 0\n[session]\ndm_scope = \"per-peer\"\n";
        let config = format!("{server}{entry}base_url = \"http://127.0.0.1:1/api\"\n{keys}\n");
        std::fs::write(home.join("config.toml"), config).unwrap();
        let options = Options {
            home: home.to_owned(),
            variables: Arc::new(NoVariables),
            clock: Arc::new(SystemClock),
            device_key: device_key::Sources::default(),
            pages: |_| axum::Router::new(),
            on_copy: false,
        };
        let gateway = Gateway::start(options).await.unwrap();
        let entry = gateway.0.live.load().entries.get(&EntryId::new("desk").unwrap()).unwrap().clone();
        (gateway, entry)
    }

    fn event(user: Option<&str>, message_id: &str, author: Author) -> Event {
        let id = |text: &str| OpaqueId::new(text).unwrap();
        Event {
            kind: ChatKind::Direct,
            parent: ChatKind::Direct,
            account: None,
            server: Some(id("T1")),
            room: Some(id("D1")),
            thread: None,
            user: user.map(id),
            user_name: None,
            author,
            mentions_bot: true,
            message_id: id(message_id),
            envelope_id: None,
            text: "who am I?".to_owned(),
            attachments: Vec::new(),
            reply_target: "D1".to_owned(),
            lacks: None,
        }
    }

    #[tokio::test]
    async fn a_message_without_a_key_is_kept_where_its_sender_takes_it_for_delivered() {
        let home = tempfile::tempdir().unwrap();
        let (gateway, entry) = start(home.path(), "").await;
        let host = Bound::new(gateway.clone(), entry.clone());
        for message_id in ["m1", "m1", "m2"] {
            let admitted = host.admit(event(None, message_id, Author::Peer)).await;
            assert!(matches!(admitted, Admitted::Unresolvable(_)), "{admitted:?}");
        }
        let without = Event { lacks: Some("a team"), ..event(Some("U1"), "m4", Author::Peer) };
        assert_eq!(host.admit(without).await, Admitted::Unresolvable("a message without a team".to_owned()));
        assert!(matches!(host.admit(event(None, "m3", Author::Bot)).await, Admitted::Ignored(_)));
        let kept = gateway.kept(&entry).unresolved(9).unwrap();
        let ids = kept.iter().map(|parked| match &parked.what {
            ParkedItem::Message(inbound) => inbound.message_id.as_str(),
            ParkedItem::Delivery(_) => "a reply",
        });
        assert_eq!(ids.collect::<Vec<_>>(), ["m1", "m2", "m4"]);
        assert_eq!(gateway.0.store.counts().unwrap().sessions, 0);
        gateway.shut_down().await;
    }

    #[tokio::test]
    async fn a_stranger_without_a_key_is_not_kept() {
        let home = tempfile::tempdir().unwrap();
        let (gateway, entry) = start(home.path(), "dm_policy = \"allowlist\"\nallow = [\"U1\"]").await;
        let host = Bound::new(gateway.clone(), entry);
        assert!(matches!(host.admit(event(None, "m1", Author::Peer)).await, Admitted::Refused(_)));
        assert_eq!(gateway.0.store.n_unresolved().unwrap(), 0);
        gateway.shut_down().await;
    }

    #[tokio::test]
    async fn a_vendors_peer_has_the_usual_limit() {
        let home = tempfile::tempdir().unwrap();
        let (gateway, entry) = start(home.path(), "").await;
        let host = Bound::new(gateway.clone(), entry.clone());
        let mut n_accepted = 0;
        // It takes a while until one more is welcome; whoever does not stop runs into the limit.
        let limited = loop {
            match host.admit(event(Some("U1"), &format!("m{n_accepted}"), Author::Peer)).await {
                Admitted::Accepted { .. } => n_accepted += 1,
                admitted => break admitted,
            }
        };
        assert!(matches!(limited, Admitted::Limited { .. }), "{limited:?}");
        assert!(n_accepted >= 30, "{n_accepted}");
        gateway.shut_down().await;
    }
}
