//! Replies on their way out: in order for each address, each settled or set aside.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use super::Gateway;
use crate::channel::{Reply, Sent};
use crate::id::{EntryId, TenantId};
use crate::message::ReplyAddress;
use crate::session::lane::LaneId;
use crate::store::{self, Delivery, SessionStore};
use futures_util::FutureExt as _;

/// Wait after the first failed attempt; it doubles every time.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Longest wait of our own choice.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// Nothing from yesterday is sent today without asking.
const MAX_AGE_MS: u64 = 24 * 60 * 60 * 1000;
/// What is said outside of a conversation is stale sooner: a pairing code ends after this.
const MAX_NOTICE_AGE_MS: u64 = 60 * 60 * 1000;

/// Replies on their way, for each address with a worker.
#[derive(Debug, Default)]
pub(super) struct Outbox(Mutex<HashMap<ReplyAddress, Queue>>);

/// Replies to one address: the one that a worker sends, and those behind it.
#[derive(Debug, Default)]
struct Queue {
    sending: String,
    behind: VecDeque<Delivery>,
}

impl Outbox {
    /// True: the caller must start a worker for this address. A reply that is on its way stays there once.
    fn push(&self, delivery: Delivery) -> bool {
        match self.lock().entry(delivery.content.address.clone()) {
            Entry::Occupied(mut queue) => {
                let Queue { sending, behind } = queue.get_mut();
                if *sending != delivery.id && behind.iter().all(|other| other.id != delivery.id) {
                    behind.push_back(delivery);
                }
                false
            }
            Entry::Vacant(queue) => {
                queue.insert(Queue { sending: String::new(), behind: VecDeque::from([delivery]) });
                true
            }
        }
    }

    /// Drops replies of a conversation that was erased. One that is on its way is not looked for: it sees for itself.
    pub(super) fn forget(&self, (tenant, session_key): &LaneId) {
        for queue in self.lock().values_mut() {
            queue.behind.retain(|delivery| delivery.tenant != *tenant || delivery.key != *session_key);
        }
    }

    /// The same of all conversations of a tenant.
    pub(super) fn forget_tenant(&self, tenant: Option<&TenantId>) {
        for queue in self.lock().values_mut() {
            queue.behind.retain(|delivery| delivery.tenant.as_ref() != tenant);
        }
    }

    /// Through which entries replies are on their way.
    pub(super) fn entries(&self) -> BTreeSet<EntryId> {
        self.lock().keys().map(|address| address.entry().clone()).collect()
    }

    fn next(&self, address: &ReplyAddress) -> Option<Delivery> {
        let mut queues = self.lock();
        let queue = queues.get_mut(address)?;
        match queue.behind.pop_front() {
            Some(next) => {
                queue.sending.clone_from(&next.id);
                Some(next)
            }
            None => {
                queues.remove(address);
                None
            }
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<ReplyAddress, Queue>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// How one attempt ended.
enum Attempt {
    /// It is out of the outbox.
    Done,
    /// It stays; try again after this long.
    Later(Option<Duration>),
    /// A bug.
    Panicked,
}

impl Gateway {
    pub(super) fn deliver_all(&self, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            self.deliver(delivery);
        }
    }

    /// Sends a committed reply, behind those that are on their way to the same address.
    pub(super) fn deliver(&self, delivery: Delivery) {
        let address = delivery.content.address.clone();
        if self.0.outbox.push(delivery) {
            let gateway = self.clone();
            self.spawn(async move {
                while let Some(delivery) = gateway.0.outbox.next(&address) {
                    if gateway.send(delivery).await.is_none() {
                        return;
                    }
                }
            });
        }
    }

    /// Sends one reply until it is settled or set aside. `None`: the gateway stops.
    async fn send(&self, mut delivery: Delivery) -> Option<()> {
        let session = self.0.store.tenant(delivery.tenant.as_ref()).session(&delivery.key);
        let mut wait = FIRST_WAIT;
        loop {
            if self.0.stop.is_cancelled() {
                return None;
            }
            // An attempt that began may end: cutting it off would leave it unclear.
            let attempt = AssertUnwindSafe(self.attempt(&session, &mut delivery)).catch_unwind().await;
            let asked = match attempt.unwrap_or(Ok(Attempt::Panicked)) {
                Ok(Attempt::Done) => return Some(()),
                Ok(Attempt::Later(asked)) => asked,
                // A bug of an adapter must not hold up what waits behind this one.
                Ok(Attempt::Panicked) => {
                    let reason = "the program failed while it sent this; please report the log".to_owned();
                    match self.set_aside(&session, &delivery, reason).await {
                        Ok(_) => return Some(()),
                        Err(_error) => None,
                    }
                }
                Err(store::Error::Gone { .. }) => return Some(()),
                Err(error) => {
                    tracing::error!(delivery.id = %delivery.id, %error, "the store failed while a reply was sent");
                    None
                }
            };
            // Whatever a vendor asks for, after a day the reply is set aside and the next one has its turn.
            let left = max_age_ms(&delivery).saturating_sub(self.age_ms(delivery.created_at)) + 1;
            let pause = jitter(wait).max(asked.unwrap_or_default()).min(Duration::from_millis(left));
            wait = (wait * 2).min(LONGEST_WAIT);
            tokio::select! {
                () = self.0.stop.cancelled() => return None,
                () = tokio::time::sleep(pause) => {}
                // Not when the vendor named a time.
                () = self.0.try_again.notified(), if asked.is_none() => {}
            }
        }
    }

    async fn attempt(&self, session: &SessionStore, delivery: &mut Delivery) -> Result<Attempt, store::Error> {
        let address = &delivery.content.address;
        // Erased meanwhile: nobody may hear it.
        if !session.has_delivery(&delivery.id)? {
            return Ok(Attempt::Done);
        }
        if self.age_ms(delivery.created_at) > max_age_ms(delivery) {
            return self.set_aside(session, delivery, "it could not be delivered in time".to_owned()).await;
        }
        if address.entry().as_str() == crate::id::API_ENTRY {
            // Whoever asked either reads this now or has gone; the answer is in the transcript. A notice is none.
            if !delivery.content.answers.is_empty() {
                self.0.api.answer(address.target(), &delivery.content.text);
            }
            session.settle_delivery(&delivery.id).await?;
            return Ok(Attempt::Done);
        }
        let Some(entry) = self.0.live.load().entries.get(address.entry()).cloned() else {
            return Ok(Attempt::Later(None));
        };
        if entry.stamp != address.stamp() {
            let reason = format!("the channel entry {} is another channel, or another tenant's, by now", entry.id);
            return self.set_aside(session, delivery, reason).await;
        }
        let is_idempotent = entry.descriptor().send_is_idempotent;
        if !is_idempotent {
            if delivery.is_started {
                let reason = "it may have been sent before the gateway stopped; the channel cannot tell".to_owned();
                return self.set_aside(session, delivery, reason).await;
            }
            session.start_delivery(&delivery.id).await?;
            delivery.is_started = true;
        }
        match entry.channel.send(&reply(delivery)).await {
            Sent::Delivered => {
                entry.health.message_out(self.now());
                session.settle_delivery(&delivery.id).await?;
                Ok(Attempt::Done)
            }
            Sent::NotYet { retry_after, reason } => {
                tracing::info!(channel.name = %entry.id, delivery.id = %delivery.id, reason, "a reply was not taken yet");
                entry.health.trouble(reason);
                if !is_idempotent {
                    session.unstart_delivery(&delivery.id).await?;
                    delivery.is_started = false;
                }
                Ok(Attempt::Later(retry_after))
            }
            Sent::Unclear { reason } if is_idempotent => {
                entry.health.trouble(reason);
                Ok(Attempt::Later(None))
            }
            Sent::Unclear { reason } => {
                entry.health.trouble(reason.clone());
                self.set_aside(session, delivery, format!("nobody can tell whether it was sent: {reason}")).await
            }
            Sent::Never { reason } => {
                entry.health.trouble(reason.clone());
                self.set_aside(session, delivery, reason).await
            }
        }
    }

    async fn set_aside(
        &self,
        session: &SessionStore,
        delivery: &Delivery,
        reason: String,
    ) -> Result<Attempt, store::Error> {
        tracing::warn!(delivery.id = %delivery.id, reason, "a reply was set aside");
        session.park_delivery(&delivery.id, reason, self.now()).await?;
        Ok(Attempt::Done)
    }
}

fn max_age_ms(delivery: &Delivery) -> u64 {
    if delivery.key.is_of_notices() { MAX_NOTICE_AGE_MS } else { MAX_AGE_MS }
}

fn reply(delivery: &Delivery) -> Reply {
    Reply {
        delivery_id: delivery.id.clone(),
        target: delivery.content.address.target().to_owned(),
        session_key: (!delivery.key.is_of_notices()).then(|| delivery.key.to_string()),
        in_reply_to: delivery.content.in_reply_to.clone(),
        answers: delivery.content.answers.clone(),
        text: delivery.content.text.clone(),
        seq: delivery.seq,
    }
}

/// Up to a quarter longer, so that many do not come at once.
fn jitter(wait: Duration) -> Duration {
    let mut byte = [0_u8];
    // Without random numbers the wait is as it is.
    let _ = aws_lc_rs::rand::fill(&mut byte);
    wait + wait.mul_f64(f64::from(byte.first().copied().unwrap_or(0)) / 1024.0)
}
