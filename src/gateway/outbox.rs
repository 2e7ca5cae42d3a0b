//! Replies on their way out: in order for each address, each settled or set aside.

use std::collections::hash_map::Entry;
use std::collections::{BTreeSet, HashMap, VecDeque};
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::Gateway;
use crate::channel::{Reply, Sent};
use crate::id::EntryId;
use crate::message::ReplyAddress;
use crate::session::lane::LaneId;
use crate::store::{self, Delivery, DeliveryName, SessionStore};
use futures_util::FutureExt as _;

/// Wait after the first failed attempt; it doubles every time.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Longest wait of our own choice.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// Nothing from yesterday is sent today without asking.
const MAX_AGE_MS: u64 = 24 * 60 * 60 * 1000;
/// What is said outside of a conversation is stale sooner: a pairing code ends after this.
const MAX_NOTICE_AGE_MS: u64 = 60 * 60 * 1000;

/// Replies on their way, for each address with a worker: only their names. What they say is in the store, and one that is
/// gone from there is passed over.
#[derive(Debug, Default)]
pub(super) struct Outbox(Mutex<HashMap<ReplyAddress, Queue>>);

/// Replies to one address: the one that a worker sends, and those behind it.
#[derive(Debug, Default)]
struct Queue {
    sending: Box<str>,
    /// Attempts at that one, in this process.
    n_tries: u32,
    behind: VecDeque<Name>,
}

/// A reply of one conversation. Replies to one address are mostly of one conversation, so they share its name.
#[derive(Debug, Clone)]
struct Name {
    lane: Arc<LaneId>,
    id: Box<str>,
}

impl Outbox {
    /// True: the caller must start a worker for this address.
    fn push(&self, DeliveryName { id, tenant, key, address }: DeliveryName) -> bool {
        let lane: LaneId = (tenant, key);
        match self.lock().entry(address) {
            Entry::Occupied(mut queue) => {
                let behind = &mut queue.get_mut().behind;
                // The one that is sent may have been set aside and put back a moment ago, so it may come again; if it
                // was not, it is settled by then.
                if behind.iter().all(|other| *other.id != *id) {
                    let lane = match behind.back() {
                        Some(last) if *last.lane == lane => Arc::clone(&last.lane),
                        _ => Arc::new(lane),
                    };
                    behind.push_back(Name { lane, id: id.into() });
                }
                false
            }
            Entry::Vacant(queue) => {
                let behind = VecDeque::from([Name { lane: Arc::new(lane), id: id.into() }]);
                queue.insert(Queue { behind, ..Queue::default() });
                true
            }
        }
    }

    /// Through which entries replies are on their way.
    pub(super) fn entries(&self) -> BTreeSet<EntryId> {
        self.lock().keys().map(|address| address.entry().clone()).collect()
    }

    /// Attempts at this reply in this process, if it is the one that is being sent to its address.
    pub(super) fn n_tries(&self, address: &ReplyAddress, id: &str) -> u32 {
        self.lock().get(address).filter(|queue| *queue.sending == *id).map_or(0, |queue| queue.n_tries)
    }

    fn note_try(&self, address: &ReplyAddress) {
        if let Some(queue) = self.lock().get_mut(address) {
            queue.n_tries = queue.n_tries.saturating_add(1);
        }
    }

    fn next(&self, address: &ReplyAddress) -> Option<Name> {
        let mut queues = self.lock();
        let queue = queues.get_mut(address)?;
        match queue.behind.pop_front() {
            Some(next) => {
                (queue.sending, queue.n_tries) = (next.id.clone(), 0);
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
    /// It stays; try again.
    Later {
        /// After this long, if the vendor asked for it.
        asked: Option<Duration>,
        /// In so many milliseconds it is too old.
        left_ms: u64,
    },
    /// A bug.
    Panicked,
}

impl Gateway {
    pub(super) fn deliver_all(&self, deliveries: Vec<Delivery>) {
        for delivery in deliveries {
            self.deliver(delivery.into());
        }
    }

    /// Sends a committed reply, behind those that are on their way to the same address.
    pub(super) fn deliver(&self, name: DeliveryName) {
        let address = name.address.clone();
        if self.0.outbox.push(name) {
            let gateway = self.clone();
            self.spawn(async move {
                while let Some(name) = gateway.0.outbox.next(&address) {
                    if gateway.send(&address, &name).await.is_none() {
                        return;
                    }
                }
            });
        }
    }

    /// Sends one reply until it is settled or set aside. `None`: the gateway stops.
    async fn send(&self, address: &ReplyAddress, Name { lane, id }: &Name) -> Option<()> {
        let session = self.0.store.tenant(lane.0.as_ref()).session(&lane.1);
        let mut wait = FIRST_WAIT;
        loop {
            if self.0.stop.is_cancelled() {
                return None;
            }
            self.0.outbox.note_try(address);
            // An attempt that began may end: cutting it off would leave it unclear.
            let attempt = AssertUnwindSafe(self.attempt(&session, id)).catch_unwind().await;
            let (asked, left_ms) = match attempt.unwrap_or(Ok(Attempt::Panicked)) {
                Ok(Attempt::Done) => return Some(()),
                Ok(Attempt::Later { asked, left_ms }) => (asked, left_ms),
                // A bug of an adapter must not hold up what waits behind this one.
                Ok(Attempt::Panicked) => {
                    let reason = "the program failed while it sent this; please report the log".to_owned();
                    match self.set_aside(&session, id, reason).await {
                        Ok(_) => return Some(()),
                        Err(_error) => (None, MAX_AGE_MS),
                    }
                }
                Err(store::Error::Gone { .. }) => return Some(()),
                Err(error @ store::Error::Value { .. }) => {
                    tracing::error!(delivery.id = %id, %error, "a reply is left in the outbox");
                    return Some(());
                }
                Err(error) => {
                    tracing::error!(delivery.id = %id, %error, "the store failed while a reply was sent");
                    (None, MAX_AGE_MS)
                }
            };
            // Whatever a vendor asks for, after a day the reply is set aside and the next one has its turn.
            let left = Duration::from_millis(left_ms.saturating_add(1));
            let pause = jitter(wait).max(asked.unwrap_or_default()).min(left);
            wait = (wait * 2).min(LONGEST_WAIT);
            tokio::select! {
                () = self.0.stop.cancelled() => return None,
                () = tokio::time::sleep(pause) => {}
                // Not when the vendor named a time.
                () = self.0.try_again.notified(), if asked.is_none() => {}
            }
        }
    }

    /// What it says is in memory for the time of the attempt only.
    async fn attempt(&self, session: &SessionStore, id: &str) -> Result<Attempt, store::Error> {
        // Erased or dropped meanwhile: nobody may hear it.
        let Some(delivery) = session.claim_delivery(id)? else { return Ok(Attempt::Done) };
        let address = &delivery.content.address;
        let entry = self.0.live.load().entries.get(address.entry()).cloned();
        let own = entry.as_ref().filter(|entry| entry.stamp == address.stamp());
        if own.is_some_and(|entry| entry.is_paused) {
            // However long: it is the owner's wish, and no failure.
            return Ok(Attempt::Later { asked: None, left_ms: MAX_AGE_MS });
        }
        let since = delivery.unparked_at.unwrap_or(delivery.created_at);
        let age_ms = self.age_ms(own.and_then(|entry| entry.resumed_at).map_or(since, |resumed| resumed.max(since)));
        let left_ms = max_age_ms(&delivery).checked_sub(age_ms);
        let Some(left_ms) = left_ms else {
            return self.set_aside(session, id, "it could not be delivered in time".to_owned()).await;
        };
        let later = |asked| Ok(Attempt::Later { asked, left_ms });
        if address.entry().as_str() == crate::id::API_ENTRY {
            // Whoever asked either reads this now or has gone; the answer is in the transcript. A notice is none.
            if !delivery.content.answers.is_empty() {
                self.0.api.answer(address.target(), &delivery.content.text);
            }
            session.settle_delivery(id).await?;
            return Ok(Attempt::Done);
        }
        let Some(entry) = entry else { return later(None) };
        if entry.stamp != address.stamp() {
            let reason = format!("the channel entry {} is another channel, or another tenant's, by now", entry.id);
            return self.set_aside(session, id, reason).await;
        }
        let is_idempotent = entry.descriptor().send_is_idempotent;
        if !is_idempotent {
            if delivery.is_started {
                let reason = "it may have been sent before the gateway stopped; the channel cannot tell".to_owned();
                return self.set_aside(session, id, reason).await;
            }
            session.start_delivery(id).await?;
        }
        match entry.channel.send(&reply(&delivery)).await {
            Sent::Delivered => {
                entry.health.message_out(self.now());
                session.settle_delivery(id).await?;
                Ok(Attempt::Done)
            }
            Sent::NotYet { retry_after, reason } => {
                tracing::info!(channel.name = %entry.id, delivery.id = %id, reason, "a reply was not taken yet");
                entry.health.trouble(reason);
                if !is_idempotent {
                    self.unstart(session, id).await?;
                }
                later(retry_after)
            }
            Sent::Unclear { reason } if is_idempotent => {
                entry.health.trouble(reason);
                later(None)
            }
            Sent::Unclear { reason } => {
                entry.health.trouble(reason.clone());
                self.set_aside(session, id, format!("nobody can tell whether it was sent: {reason}")).await
            }
            Sent::Never { reason } => {
                entry.health.trouble(reason.clone());
                if !is_idempotent {
                    self.unstart(session, id).await?;
                }
                self.set_aside(session, id, reason).await
            }
        }
    }

    /// Notes that the vendor certainly does not have it: otherwise the next attempt takes it for one that may have been
    /// sent.
    async fn unstart(&self, session: &SessionStore, id: &str) -> Result<(), store::Error> {
        let rest = |wait| async move {
            self.rest(wait).await;
            !self.0.stop.is_cancelled()
        };
        insist(|| session.unstart_delivery(id), rest).await
    }

    async fn set_aside(&self, session: &SessionStore, id: &str, reason: String) -> Result<Attempt, store::Error> {
        tracing::warn!(delivery.id = %id, reason, "a reply was set aside");
        session.park_delivery(id, reason, self.now()).await?;
        Ok(Attempt::Done)
    }
}

/// Writes again while the disk fails or the tenant is being erased. Whatever else is wrong stays so. `rest` says whether to
/// go on.
async fn insist<W, R>(mut write: impl FnMut() -> W, mut rest: impl FnMut(Duration) -> R) -> Result<(), store::Error>
where
    W: Future<Output = Result<(), store::Error>>,
    R: Future<Output = bool>,
{
    let mut wait = FIRST_WAIT;
    loop {
        match write().await {
            Err(error @ (store::Error::Storage(_) | store::Error::Busy)) => {
                tracing::error!(%error, "that a reply was not sent could not be noted yet");
                if !rest(wait).await {
                    return Err(error);
                }
                wait = (wait * 2).min(LONGEST_WAIT);
            }
            settled => return settled,
        }
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

#[cfg(test)]
mod tests {
    use std::future::ready;

    use super::*;
    use crate::clock::Timestamp;
    use crate::id::{OpaqueId, SessionKey};
    use crate::store::NewDelivery;

    fn name(key: &str, id: &str) -> DeliveryName {
        let address = ReplyAddress::new(EntryId::new("hook").unwrap(), 0, "u");
        DeliveryName { id: id.to_owned(), tenant: None, key: SessionKey::parse(key).unwrap(), address }
    }

    /// Seconds that were waited until `outcomes`, one for each try, came to an end; whoever waits longer than `patience`
    /// does not go on.
    async fn insisted(outcomes: Vec<Result<(), store::Error>>, patience: u64) -> (Result<(), store::Error>, u64) {
        let (mut outcomes, mut waited) = (outcomes.into_iter(), 0);
        let write = || ready(outcomes.next().unwrap());
        let rest = |wait: Duration| {
            waited += wait.as_secs();
            ready(waited <= patience)
        };
        let settled = insist(write, rest).await;
        assert!(outcomes.next().is_none(), "tries that were not made");
        (settled, waited)
    }

    #[tokio::test]
    async fn that_a_reply_was_not_sent_is_noted_however_often_the_disk_fails() {
        let broken = || Err(store::Error::Storage("the disk failed".into()));
        let gone = || Err(store::Error::Gone { what: "reply" });
        assert!(matches!(insisted(vec![broken(), Err(store::Error::Busy), broken(), Ok(())], 99).await, (Ok(()), 7)));
        let (settled, waited) = insisted(vec![broken(), gone()], 99).await;
        assert!(matches!((settled, waited), (Err(store::Error::Gone { .. }), 1)));
        let (settled, waited) = insisted(vec![broken(), broken()], 2).await;
        assert!(matches!((settled, waited), (Err(store::Error::Storage(_)), 3)), "the gateway stops");
    }

    #[test]
    fn replies_to_one_address_have_one_worker_and_keep_their_order() {
        let outbox = Outbox::default();
        let address = name("a", "1").address;
        assert!(outbox.push(name("a", "1")), "a worker must be started");
        for (key, id) in [("a", "2"), ("b", "3"), ("a", "2"), ("a", "4")] {
            assert!(!outbox.push(name(key, id)));
        }
        let next = || outbox.next(&address).map(|name| name.id.to_string());
        assert_eq!([next(), next(), next(), next()].map(Option::unwrap_or_default), ["1", "2", "3", "4"]);
        outbox.note_try(&address);
        assert_eq!((outbox.n_tries(&address, "4"), outbox.n_tries(&address, "2")), (1, 0));
        assert_eq!(next(), None);
        assert!(outbox.push(name("a", "5")), "the worker has left");
    }

    #[test]
    fn what_waits_behind_a_dead_address_costs_its_name_and_nothing_of_what_it_says() {
        let text = "x".repeat(10_000);
        let delivery = |n: u64| Delivery {
            id: format!("dlv_{n:026}"),
            tenant: None,
            key: SessionKey::parse("webhook:a_peer_with_a_long_name").unwrap(),
            seq: n,
            created_at: Timestamp(n),
            unparked_at: None,
            is_started: false,
            content: NewDelivery {
                address: name("a", "1").address,
                in_reply_to: OpaqueId::new("m").unwrap(),
                answers: Vec::new(),
                text: text.clone(),
            },
        };
        let outbox = Outbox::default();
        let info = allocation_counter::measure(|| {
            (0..1000).for_each(|n| assert_eq!(outbox.push(delivery(n).into()), n == 0));
        });
        let each = info.bytes_current / 1000;
        assert!((30..=100).contains(&each), "{each} bytes for each of a thousand replies");
    }

    #[test]
    fn a_reply_that_is_put_back_before_its_worker_has_left_it_is_looked_at_again() {
        let outbox = Outbox::default();
        let address = name("a", "1").address;
        outbox.push(name("a", "1"));
        let next = || outbox.next(&address).map(|name| name.id.to_string());
        assert_eq!(next().as_deref(), Some("1"));
        assert!(!outbox.push(name("a", "1")));
        assert_eq!((next().as_deref(), next()), (Some("1"), None));
    }
}
