//! A person answers instead of the worker: takes a conversation over, speaks in it, hands it back.
//!
//! A turn that runs when somebody takes the conversation is interrupted: from then on the peer hears that person alone. What
//! waits stays in the inbox until the person answers it, or hands it back; then the worker answers what nobody has answered.

use std::time::Duration;

use super::Gateway;
use super::turns::split;
use crate::clock::Timestamp;
use crate::config;
use crate::id::{API_ENTRY, EntryId, OpaqueId, SessionKey, TenantId};
use crate::message::ReplyAddress;
use crate::session::lane::LaneId;
use crate::store::{
    self, About, Line, NewAccess, NewDelivery, ParkedItem, SessionStore, Speaker, Speech, Spoken, Taken, Taking,
    Waiting,
};

/// Messages that one answer of a person may take along.
const MAX_ANSWERED: usize = 1_000;
/// Lines, and items that were set aside, among which the last message is looked for when none waits.
const MAX_LOOKED: usize = 1_000;
/// Longest text of a person, in bytes.
const MAX_SAID_BYTES: usize = 32 * 1024;
/// How often forgotten ones are looked for.
const LOOK: Duration = Duration::from_secs(60);
const HOUR_MS: u64 = 60 * 60 * 1000;

/// What a person wants to say.
#[derive(Debug, Clone)]
pub struct Words {
    /// What.
    pub text: String,
    /// Up to which waiting message they have read, by its position: what came later is not answered. `None`: all.
    pub seen: Option<u64>,
    /// The same twice is said once.
    pub once: Option<String>,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// Messages that it answers; none: it answers nothing, or was said before.
    pub n_answered: usize,
    /// Was it said before?
    pub is_repeat: bool,
}

/// Why a person does not have a conversation, or cannot speak in it.
#[derive(Debug, thiserror::Error)]
pub enum TakeError {
    /// There is none that lives.
    #[error("{0} is over; take it up again first with `frontdesk sessions restore {0}`")]
    NotLive(SessionKey),
    /// Somebody else has it.
    #[error("{by} has taken this conversation; ask them to hand it back, or take it from them with --from-others")]
    Others {
        /// Name of the account.
        by: String,
    },
    /// Nobody has it.
    #[error("nobody has taken {0}, so the worker answers there; take it first with `frontdesk sessions take {0}`")]
    NotTaken(SessionKey),
    /// There is nothing to say.
    #[error("there are no words to send")]
    Empty,
    /// There is too much.
    #[error("that is longer than {} bytes; send it in pieces", MAX_SAID_BYTES)]
    TooLong,
    /// Nobody is there.
    #[error("nobody can be written to in {0}: no message came in by a channel")]
    NoAddress(SessionKey),
    /// It could go nowhere.
    #[error("the channel entry {0} is not configured, or is another one by now, so nothing can be sent there")]
    NoEntry(EntryId),
    /// Nobody knows what the operator wants.
    #[error("the gateway is in safe mode; mend the configuration first")]
    SafeMode,
    /// What was to be answered has gone.
    #[error("the conversation has changed meanwhile; look at it again")]
    Changed,
    /// The store does not take it.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Gateway {
    /// A person takes the live conversation under a key over, or says that they still want it. A turn that runs is
    /// interrupted. Who has it keeps it unless `from_others`.
    ///
    /// # Errors
    /// [`TakeError::NotLive`], [`TakeError::Others`], [`TakeError::Store`].
    pub async fn take(
        &self,
        tenant: Option<&TenantId>,
        session_key: &SessionKey,
        by: &str,
        from_others: bool,
    ) -> Result<Taken, TakeError> {
        let lane: LaneId = (tenant.cloned(), session_key.clone());
        let (gateway, by) = (self.clone(), by.to_owned());
        let taking = async move {
            let session = gateway.0.store.tenant(lane.0.as_ref()).session(&lane.1);
            let taking = session.take(by, from_others, gateway.now()).await?;
            if matches!(taking, Taking::Theirs(_)) {
                gateway.interrupt(lane);
                gateway.note_said();
            }
            Ok(taking)
        };
        match self.to_its_end(taking).await {
            Ok(Taking::Theirs(taken)) => {
                tracing::info!(session.key = %session_key, "a person answers this conversation");
                Ok(taken)
            }
            Ok(Taking::Others(taken)) => Err(TakeError::Others { by: taken.by }),
            Err(store::Error::Gone { .. }) => Err(TakeError::NotLive(session_key.clone())),
            Err(error) => Err(error.into()),
        }
    }

    /// The worker answers again, first what nobody has answered.
    ///
    /// # Errors
    /// [`TakeError::NotTaken`], [`TakeError::Store`].
    pub async fn hand_back(&self, tenant: Option<&TenantId>, session_key: &SessionKey) -> Result<(), TakeError> {
        let lane: LaneId = (tenant.cloned(), session_key.clone());
        let is_handed_back = self.to_its_end(self.clone().hand_back_in(lane, None)).await?;
        if is_handed_back { Ok(()) } else { Err(TakeError::NotTaken(session_key.clone())) }
    }

    async fn hand_back_in(self, lane: LaneId, unless_since: Option<Timestamp>) -> Result<bool, store::Error> {
        let session = self.0.store.tenant(lane.0.as_ref()).session(&lane.1);
        let is_handed_back = session.hand_back(unless_since).await?;
        if is_handed_back {
            tracing::info!(session.key = %lane.1, "the worker answers this conversation again");
            self.wake(lane);
            self.note_said();
        }
        Ok(is_handed_back)
    }

    /// Hands back what people have forgotten, for as long as the gateway runs.
    pub(super) async fn hand_back_forgotten(self) {
        let mut look = tokio::time::interval(LOOK);
        loop {
            tokio::select! {
                () = self.0.stop.cancelled() => return,
                _ = look.tick() => {}
            }
            if let Err(error) = self.look_for_forgotten().await {
                tracing::error!(%error, "conversations that people have forgotten could not be handed back");
            }
        }
    }

    async fn look_for_forgotten(&self) -> Result<(), store::Error> {
        let live = self.0.live.load_full();
        let kept_ms = live.settings.session.take_over_hours.saturating_mul(HOUR_MS);
        // In safe mode nobody knows what the operator wants.
        if kept_ms == 0 || live.safe_mode.is_some() {
            return Ok(());
        }
        for (tenant, session_key, taken) in self.0.store.taken()? {
            if self.age_ms(taken.spoke_at) < kept_ms {
                continue;
            }
            let lane = (tenant.clone(), session_key.clone());
            if self.clone().hand_back_in(lane, Some(taken.spoke_at)).await? {
                let (at, about) = (self.now(), About::Key(session_key));
                let what = "handed back by itself".into();
                self.record_access(tenant.as_ref(), NewAccess { at, who: taken.by, from: None, what, about });
            }
        }
        Ok(())
    }

    /// What a person says in a conversation that they have taken. It goes to the reply address of the message that it
    /// answers: the last one that waits and that they have seen. Where none waits, it goes to where the last message came
    /// from, and answers nothing.
    ///
    /// # Errors
    /// [`TakeError`]; nothing was said.
    pub async fn say(
        &self,
        tenant: Option<&TenantId>,
        session_key: &SessionKey,
        by: &str,
        words: Words,
    ) -> Result<Said, TakeError> {
        let Words { text, seen, once } = words;
        let text = text.trim().to_owned();
        if text.is_empty() {
            return Err(TakeError::Empty);
        }
        if text.len() > MAX_SAID_BYTES {
            return Err(TakeError::TooLong);
        }
        let session = self.0.store.tenant(tenant).session(session_key);
        match session.taken()? {
            Some(taken) if taken.by == by => {}
            Some(taken) => return Err(TakeError::Others { by: taken.by }),
            None => return Err(TakeError::NotTaken(session_key.clone())),
        }
        let to = Answered::find(&session, seen)?.ok_or_else(|| TakeError::NoAddress(session_key.clone()))?;
        let max_chars = self.check_reach(&to.address)?;
        let n_answered = to.seqs.len();
        let deliveries = split(&text, max_chars).into_iter().map(|text| to.delivery(text)).collect();
        let (by, at) = (by.to_owned(), self.now());
        let once = once.filter(|once| !once.is_empty());
        // The same text, here: another one under the same mark is not the same.
        let once = once.map(|once| config::digest(format!("{session_key}\0{once}\0{text}").as_bytes()));
        let speech = Speech { by, answered: to.seqs, text, deliveries, once, at };
        let gateway = self.clone();
        let speaking = async move {
            let spoken = session.speak(speech).await?;
            if let Spoken::New(deliveries) = &spoken {
                gateway.deliver_all(deliveries.clone());
                gateway.note_said();
            }
            Ok(spoken)
        };
        match self.to_its_end(speaking).await {
            Ok(Spoken::New(_)) => Ok(Said { n_answered, is_repeat: false }),
            Ok(Spoken::Repeat) => Ok(Said { n_answered: 0, is_repeat: true }),
            Ok(Spoken::NotTheirs(Some(taken))) => Err(TakeError::Others { by: taken.by }),
            Ok(Spoken::NotTheirs(None)) => Err(TakeError::NotTaken(session_key.clone())),
            Err(store::Error::Gone { .. }) => Err(TakeError::Changed),
            Err(error) => Err(error.into()),
        }
    }

    /// Can something be sent there now? How much at a time, if so.
    fn check_reach(&self, address: &ReplyAddress) -> Result<Option<usize>, TakeError> {
        let live = self.0.live.load();
        if live.safe_mode.is_some() {
            return Err(TakeError::SafeMode);
        }
        let entry = live.entries.get(address.entry()).filter(|entry| entry.stamp == address.stamp());
        let entry = entry.ok_or_else(|| TakeError::NoEntry(address.entry().clone()))?;
        Ok(entry.descriptor().max_text_chars)
    }
}

/// What a person answers, and where that goes.
struct Answered {
    address: ReplyAddress,
    in_reply_to: OpaqueId,
    answers: Vec<OpaqueId>,
    seqs: Vec<u64>,
}

impl Answered {
    /// Whoever asked over the HTTP API waits for a connection and not for a person.
    fn find(session: &SessionStore, seen: Option<u64>) -> Result<Option<Self>, store::Error> {
        let waiting = session.waiting(MAX_ANSWERED)?.into_iter();
        let is_seen = |waiting: &Waiting| seen.is_none_or(|seen| waiting.seq <= seen);
        let waiting: Vec<_> =
            waiting.filter(|waiting| is_seen(waiting) && is_of_channel(&waiting.inbound.reply_to)).collect();
        let Some(last) = waiting.last() else { return Self::last_said(session) };
        let (address, in_reply_to) = (last.inbound.reply_to.clone(), last.inbound.message_id.clone());
        // Others may share the conversation: they are answered where they are.
        let of_it = waiting.into_iter().filter(|waiting| waiting.inbound.reply_to == address);
        let (seqs, answers) = of_it.map(|waiting| (waiting.seq, waiting.inbound.message_id)).unzip();
        Ok(Some(Self { address, in_reply_to, answers, seqs }))
    }

    /// Where the last message came from, answered or set aside.
    fn last_said(session: &SessionStore) -> Result<Option<Self>, store::Error> {
        let of_peer = |line: Line| match line.speaker {
            Speaker::Peer { message_id, .. } => Some((line.at, line.address, message_id)),
            Speaker::Agent(_) | Speaker::Person(_) => None,
        };
        let said = session.recent(MAX_LOOKED, usize::MAX)?.into_iter().filter_map(of_peer);
        let aside = session.parked(MAX_LOOKED)?.into_iter().filter_map(|parked| match parked.what {
            ParkedItem::Message(inbound) => Some((inbound.received_at, inbound.reply_to, inbound.message_id)),
            ParkedItem::Delivery(_) => None,
        });
        let reached = said.chain(aside).filter(|(_, address, _)| is_of_channel(address));
        let last = reached.max_by_key(|(at, ..)| *at);
        Ok(last.map(|(_, address, in_reply_to)| Self { address, in_reply_to, answers: Vec::new(), seqs: Vec::new() }))
    }

    fn delivery(&self, text: String) -> NewDelivery {
        let (address, in_reply_to) = (self.address.clone(), self.in_reply_to.clone());
        NewDelivery { address, in_reply_to, answers: self.answers.clone(), text }
    }
}

/// What was imported has no address, and callers of the HTTP API have gone.
#[must_use]
pub fn is_of_channel(address: &ReplyAddress) -> bool {
    address.entry().as_str() != API_ENTRY && !address.target().is_empty()
}
