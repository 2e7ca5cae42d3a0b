//! Turns: one worker per lane takes what waits, asks the agent, and commits the answer.

use std::panic::AssertUnwindSafe;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;

use super::Gateway;
use super::live::{Live, Model};
use crate::agent::{self, Failure, Said};
use crate::channel::{Descriptor, Preview};
use crate::clock::Timestamp;
use crate::id::{AgentId, ChannelType, FileName, OpaqueId, TenantId};
use crate::message::{ChatKind, ReplyAddress};
use crate::provider::{Usage, retry};
use crate::session::lane::LaneId;
use crate::session::{Address, Command};
use crate::store::{
    self, ContextStore, Delivery, FileChange, NewDelivery, NoteChange, SessionStore, Turn, Waiting, Words,
};
use crate::telemetry::{self, Attempt, Tracer};

/// Messages that one turn answers at most.
const MAX_COLLECTED: usize = 20;
/// Bytes of text that one turn answers at most, unless one message alone is longer.
const MAX_COLLECTED_BYTES: usize = 16 * 1024;
/// Messages among which those of programs are looked for when a person has the conversation.
const MAX_LOOKED: usize = 1_000;
/// Failed turns after which messages are set aside for the operator: at the waits below, about half an hour.
const MAX_TRIES: u32 = 12;
/// Failed turns after which messages that make the program panic are set aside.
const MAX_PANICS: u32 = 2;
/// Wait after the first failed turn; it doubles every time.
const FIRST_WAIT: Duration = Duration::from_secs(1);
/// Longest wait between two turns.
const LONGEST_WAIT: Duration = Duration::from_secs(300);
/// Nothing from yesterday is answered today without asking.
const MAX_AGE_MS: u64 = 24 * 60 * 60 * 1000;
/// Longest wait between two turns that a provider may ask for.
const LONGEST_ASKED_WAIT: Duration = Duration::from_secs(60 * 60);
/// Silence of the model after which the peer is asked for patience.
const SILENCE: Duration = Duration::from_secs(30);
/// Wait after the store failed.
const STORE_WAIT: Duration = Duration::from_secs(5);

/// What a worker does next.
enum Next {
    /// Nothing waits.
    Idle,
    /// Look for more at once.
    Again,
    /// Look again after this long.
    After(Duration),
}

impl Gateway {
    /// Something waits in this conversation: makes sure that a worker is at it.
    pub(super) fn wake(&self, lane: LaneId) {
        if !self.0.stop.is_cancelled() && self.0.lanes.wake(&lane) {
            let gateway = self.clone();
            self.spawn(async move { gateway.work(lane).await });
        }
    }

    async fn work(&self, lane: LaneId) {
        let mut store_wait = STORE_WAIT;
        loop {
            let turn = tokio::select! {
                () = self.0.stop.cancelled() => return,
                permit = self.0.turns.clone().acquire_owned() => permit,
            };
            let Ok(turn) = turn else { return };
            let next = AssertUnwindSafe(self.take_turn(&lane)).catch_unwind().await;
            let next = match next {
                Ok(next) => next,
                Err(_panic) => {
                    let after = AssertUnwindSafe(self.after_panic(&lane)).catch_unwind().await;
                    after.unwrap_or(Ok(Next::After(LONGEST_WAIT)))
                }
            };
            drop(turn);
            match next {
                Ok(Next::Again) => store_wait = STORE_WAIT,
                Ok(Next::Idle) => {
                    if !self.0.lanes.finish(&lane) {
                        return;
                    }
                }
                Ok(Next::After(wait)) => self.rest(wait).await,
                // Erased or archived while the turn ran: what is there now is looked at anew.
                Err(store::Error::Gone { .. }) => {}
                Err(error) => {
                    tracing::error!(session.key = %lane.1, %error, "the store failed in a turn");
                    self.rest(store_wait).await;
                    store_wait = (store_wait * 2).min(LONGEST_WAIT);
                    // What failed may be on the disk all the same, and nobody sends what only the disk knows.
                    let session = self.0.store.tenant(lane.0.as_ref()).session(&lane.1);
                    for name in session.undelivered_names().unwrap_or_default() {
                        self.deliver(name);
                    }
                }
            }
        }
    }

    pub(super) async fn rest(&self, wait: Duration) {
        tokio::select! {
            () = self.0.stop.cancelled() => {}
            () = self.0.try_again.notified() => {}
            () = tokio::time::sleep(wait) => {}
        }
    }

    async fn take_turn(&self, lane: &LaneId) -> Result<Next, store::Error> {
        let (tenant, session_key) = lane;
        let session = self.0.store.tenant(tenant.as_ref()).session(session_key);
        let interruption = self.0.lanes.begin_turn(lane);
        // Read first: whatever ends the conversation between the two reads makes the commit fail.
        let Some(row) = session.row()? else { return Ok(Next::Idle) };
        if session.taken()?.is_some() {
            return self.leave_to_person(&session).await;
        }
        let Some(batch) = Batch::of(session.waiting(MAX_COLLECTED)?) else { return Ok(Next::Idle) };
        let last = batch.last();
        if self.age_ms(last.unparked_at.unwrap_or(last.inbound.received_at)) > MAX_AGE_MS {
            let reason = "it waited for more than a day".to_owned();
            session.park(batch.seqs(), reason, None, self.now()).await?;
            return Ok(Next::Again);
        }
        if let Some(Command::New { first }) = Command::of(&last.inbound) {
            return self.begin_anew(&session, &batch, first).await;
        }
        // The turn keeps this configuration whatever is reloaded meanwhile.
        let live = self.0.live.load_full();
        let target = Target::new(self, &live, &last.inbound.reply_to);
        let address = Address::of(&last.inbound.identity);
        let (agent, route) = choose(&live, &address, last);
        tracing::debug!(session.key = %session_key, agent = %agent, rule = route.unwrap_or("default agent"), "routing matched");
        let Some(agent) = live.agents.get(&agent) else {
            // Routes name agents that exist; a program may have asked for one that has gone since.
            let failure = Failure::Park { reason: format!("the agent {agent} is not there any more") };
            return self.fail(&session, &batch, failure, &target).await;
        };
        let agent = &live.informed(agent, tenant.as_ref(), self.now());
        target.preview(Preview::Typing);
        let context = session.context(row.episode);
        let spans = Spans::begin(live.tracer.clone(), self.now(), &batch, &agent.name);
        let asked = |usage, failed| {
            if let Some(model) = live.models.get(&agent.name) {
                self.0.usage.asked(tenant.as_ref(), self.now(), model, usage, failed);
                spans.attempted(self.now(), model, usage, failed);
            }
        };
        let mut asking = pin!(self.ask(agent, &session, &context, &batch, &target, &asked));
        let asking = async {
            tokio::select! {
                biased;
                answer = &mut asking => answer,
                () = tokio::time::sleep(SILENCE) => {
                    if let Err(error) = self.ask_for_patience(&session, &batch, &target).await {
                        tracing::warn!(session.key = %session_key, %error, "a peer could not be asked for patience");
                    }
                    asking.await
                }
            }
        };
        let answer = tokio::select! {
            biased;
            () = interruption.cancelled() => return self.take_back(&session, &batch, &target),
            answer = asking => answer?,
        };
        spans.end(self.now(), tenant.as_ref(), answer.is_ok());
        match answer {
            Ok((text, changes)) => {
                let answers = split(&text, target.descriptor.and_then(|d| d.max_text_chars));
                let news = row.is_news && !target.is_inline();
                let news = news.then(|| batch.notice(agent::NEWS));
                let deliveries = news.into_iter().chain(answers.into_iter().map(|text| batch.delivery(text))).collect();
                let (answered, agent) = (batch.seqs(), agent.name.clone());
                let (notes, files) = kept(changes);
                let (episode, first_line, at) = (row.episode, row.first_line, self.now());
                let turn = Turn { episode, first_line, answered, agent, text, deliveries, notes, files, at };
                match self.commit(&session, turn).await? {
                    Some(deliveries) => {
                        let first = &batch.first;
                        let since = first.unparked_at.unwrap_or(first.inbound.received_at);
                        self.0.usage.answer(tenant.as_ref(), self.now(), self.age_ms(since));
                        self.deliver_all(deliveries);
                    }
                    None => {
                        let left = session.undelivered()?;
                        let is_answered = left.iter().any(|reply| batch.is_answered_by(&reply.content));
                        self.deliver_all(left);
                        if !is_answered {
                            return self.take_back(&session, &batch, &target);
                        }
                    }
                }
                Ok(Next::Again)
            }
            Err(failure) => self.fail(&session, &batch, failure, &target).await,
        }
    }

    /// A person answers here. Programs that wait for an answer are told that there will be none.
    async fn leave_to_person(&self, session: &SessionStore) -> Result<Next, store::Error> {
        let waiting = session.waiting(MAX_LOOKED)?.into_iter();
        let of_programs: Vec<_> =
            waiting.filter(|waiting| waiting.inbound.reply_to.entry().as_str() == crate::id::API_ENTRY).collect();
        if of_programs.is_empty() {
            return Ok(Next::Idle);
        }
        let seqs = of_programs.iter().map(|waiting| waiting.seq).collect();
        let reason = "a person took the conversation over while a program waited for the answer".to_owned();
        session.park_taken(seqs, reason, self.now()).await?;
        let live = self.0.live.load_full();
        for waiting in of_programs {
            let target = Target::new(self, &live, &waiting.inbound.reply_to);
            target.preview(Preview::Failed { retry_after: None });
        }
        Ok(Next::Again)
    }

    /// Obeys the one message of this batch: what was said so far is archived.
    async fn begin_anew(
        &self,
        session: &SessionStore,
        batch: &Batch,
        first: Option<&str>,
    ) -> Result<Next, store::Error> {
        let reply = match first {
            None => batch.delivery(agent::BEGUN.to_owned()),
            // The message is still to be answered.
            Some(_) => batch.notice(agent::BEGUN),
        };
        let first = first.map(str::to_owned);
        let deliveries = session.begin_anew(batch.last().seq, first, reply, self.now()).await?;
        tracing::debug!(session.key = %session.key(), "a peer began a new conversation");
        self.deliver_all(deliveries);
        self.note_said();
        Ok(Next::Again)
    }

    /// The conversation ended while it was answered. What was shown of the answer is taken back; what still waits is
    /// answered in the next turn.
    fn take_back(&self, session: &SessionStore, batch: &Batch, target: &Target) -> Result<Next, store::Error> {
        let waits = session.waiting(MAX_COLLECTED)?.iter().any(|waiting| batch.has(waiting.seq));
        let is_over = target.is_inline() && !waits;
        target.preview(if is_over { Preview::Failed { retry_after: None } } else { Preview::Reset });
        Ok(Next::Again)
    }

    /// Keeps an answer that was made, however long the disk takes to be mended: asking the model again costs.
    /// `None`: what it answers does not wait any more, or the commit that failed was on the disk after all.
    async fn commit(&self, session: &SessionStore, turn: Turn) -> Result<Option<Vec<Delivery>>, store::Error> {
        let mut wait = STORE_WAIT;
        loop {
            match session.commit_turn(turn.clone()).await {
                Err(error @ store::Error::Storage(_)) if !self.0.stop.is_cancelled() => {
                    tracing::error!(%error, "an answer could not be stored and is kept in memory");
                    self.rest(wait).await;
                    wait = (wait * 2).min(LONGEST_WAIT);
                }
                Err(store::Error::Gone { .. }) => return Ok(None),
                Err(error) => return Err(error),
                Ok(deliveries) => {
                    self.note_said();
                    return Ok(Some(deliveries));
                }
            }
        }
    }

    /// The model has been silent for long: says so to the peer, once.
    async fn ask_for_patience(
        &self,
        session: &SessionStore,
        batch: &Batch,
        target: &Target,
    ) -> Result<(), store::Error> {
        let is_inline = target.is_inline();
        let is_told = batch.waiting().any(|waiting| waiting.is_told);
        if is_inline || is_told || target.has_words.load(Ordering::Relaxed) {
            return Ok(());
        }
        let (gateway, session, seqs) = (self.clone(), session.clone(), batch.seqs());
        let notice = batch.notice(agent::PATIENCE);
        let telling = async move {
            gateway.deliver_all(session.tell(seqs, notice, gateway.now()).await?);
            Ok(())
        };
        self.to_its_end(telling).await
    }

    /// A bug of ours must not end the lane: its messages count a failed try and are set aside after some.
    /// Nothing was committed, so nothing is half done.
    async fn after_panic(&self, (tenant, session_key): &LaneId) -> Result<Next, store::Error> {
        let session = self.0.store.tenant(tenant.as_ref()).session(session_key);
        let Some(batch) = Batch::of(session.waiting(MAX_COLLECTED)?) else { return Ok(Next::Idle) };
        let target = Target::new(self, &self.0.live.load_full(), &batch.last().inbound.reply_to);
        let reason = "the program failed while it worked on this; please report the log".to_owned();
        let failure = match batch.waiting().any(|waiting| waiting.n_tries >= MAX_PANICS) {
            true => Failure::Park { reason },
            false => Failure::Later { after: None, reason },
        };
        self.fail(&session, &batch, failure, &target).await
    }

    /// Asks the agent, with less history if the conversation is too long for the model.
    async fn ask(
        &self,
        agent: &agent::Agent,
        session: &SessionStore,
        kept: &ContextStore,
        batch: &Batch,
        target: &Target,
        asked: &(dyn Fn(Usage, bool) + Sync),
    ) -> Result<Result<(String, agent::Changes), Failure>, store::Error> {
        let mut max_bytes = agent::HISTORY_BYTES;
        loop {
            let is_group = batch.last().inbound.identity.parent == ChatKind::Group;
            let before = session.recent_words(agent::HISTORY_LINES, max_bytes, |words| said_before(words, is_group))?;
            let is_last_try = before.is_empty();
            let request = agent::prompt(&agent.soul, before.into_iter().chain(batch.waiting().map(said_now)));
            let mut on_progress = |progress: agent::Progress<'_>| {
                target.preview(match progress {
                    agent::Progress::Text(text) => Preview::Delta(text.to_owned()),
                    agent::Progress::Reset => Preview::Reset,
                    agent::Progress::Attempted { usage, failed } => return asked(usage, failed),
                });
            };
            // Anew for every try: what one changed before it failed is forgotten.
            let mut context = context(agent, kept)?;
            let asked_at = tokio::time::Instant::now();
            let answer = agent::run(agent, request, &mut context, &retry::Policy::default(), &mut on_progress).await;
            match &answer {
                Ok(_) => self.0.models.answered(&agent.name, self.now(), asked_at.elapsed()),
                Err(Failure::Later { reason, .. } | Failure::Park { reason } | Failure::TooLong { reason }) => {
                    self.0.models.failed(&agent.name, self.now(), reason);
                }
            }
            match answer {
                Err(Failure::TooLong { .. }) if !is_last_try => {
                    max_bytes = if max_bytes > 1024 { max_bytes / 4 } else { 0 }
                }
                answer => return Ok(answer.map(|text| (text, context.into_changes()))),
            }
        }
    }

    async fn fail(
        &self,
        session: &SessionStore,
        batch: &Batch,
        failure: Failure,
        target: &Target,
    ) -> Result<Next, store::Error> {
        // Read again: the peer may have been told while the turn ran.
        let is_told = session.waiting(MAX_COLLECTED)?.iter().any(|waiting| waiting.is_told && batch.has(waiting.seq));
        let is_inline = target.is_inline();
        let notice = (!is_told && !is_inline).then(|| batch.notice(agent::NOTICE));
        let (reason, after, max_tries) = match failure {
            Failure::Later { after, reason } => (reason, after, if is_inline { 1 } else { MAX_TRIES }),
            Failure::Park { reason } | Failure::TooLong { reason } => (reason, None, 1),
        };
        target.preview(if is_inline { Preview::Failed { retry_after: after } } else { Preview::Reset });
        // Each message has tries of its own: one that joined late is not set aside with those before it.
        let (spent, left): (Vec<&Waiting>, Vec<&Waiting>) =
            batch.waiting().partition(|waiting| waiting.n_tries + 1 >= max_tries);
        let seqs = |waiting: &[&Waiting]| waiting.iter().map(|waiting| waiting.seq).collect::<Vec<u64>>();
        let n_tries = batch.waiting().map(|waiting| waiting.n_tries).max().unwrap_or(0) + 1;
        let wait = FIRST_WAIT.saturating_mul(1 << (n_tries - 1).min(16)).min(LONGEST_WAIT);
        let wait = wait.max(after.unwrap_or_default().min(LONGEST_ASKED_WAIT));
        let session_key = session.key();
        tracing::warn!(session.key = %session_key, n_tries, n_set_aside = spent.len(), reason, "a turn failed");
        let now = self.now();
        // Whoever writes first tells the peer.
        let mut notice = notice;
        if !spent.is_empty() {
            self.deliver_all(session.park(seqs(&spent), reason, notice.take(), now).await?);
        }
        if left.is_empty() {
            return Ok(Next::Again);
        }
        self.deliver_all(session.postpone(seqs(&left), notice, now).await?);
        Ok(Next::After(wait))
    }
}

/// Where a turn shows its progress.
struct Target {
    descriptor: Option<&'static Descriptor>,
    show: Box<dyn Fn(Preview) + Send + Sync>,
    /// Has the model said anything?
    has_words: AtomicBool,
}

impl Target {
    fn new(gateway: &Gateway, live: &Live, address: &ReplyAddress) -> Self {
        let target = address.target().to_owned();
        if address.entry().as_str() == crate::id::API_ENTRY {
            let gateway = gateway.clone();
            let show = move |preview| gateway.0.api.preview(&target, preview);
            return Self::showing(Some(&super::api::DESCRIPTOR), show);
        }
        let Some(entry) =
            live.entries.get(address.entry()).filter(|entry| entry.stamp == address.stamp() && !entry.is_paused)
        else {
            return Self::showing(None, |_| {});
        };
        let entry = entry.clone();
        Self::showing(Some(entry.descriptor()), move |preview| entry.channel.preview(&target, preview))
    }

    fn showing(descriptor: Option<&'static Descriptor>, show: impl Fn(Preview) + Send + Sync + 'static) -> Self {
        Self { descriptor, show: Box::new(show), has_words: AtomicBool::new(false) }
    }

    fn is_inline(&self) -> bool {
        self.descriptor.is_some_and(|descriptor| descriptor.is_inline)
    }

    fn preview(&self, preview: Preview) {
        match preview {
            Preview::Delta(_) => self.has_words.store(true, Ordering::Relaxed),
            Preview::Reset => self.has_words.store(false, Ordering::Relaxed),
            Preview::Typing | Preview::Failed { .. } => {}
        }
        (self.show)(preview);
    }
}

fn choose<'l>(live: &'l Live, address: &Address, waiting: &Waiting) -> (AgentId, Option<&'l str>) {
    if let Some(agent) = &waiting.inbound.agent {
        return (agent.clone(), Some("asked for by name"));
    }
    let routed = live.router.route(address, waiting.inbound.identity.tenant.as_ref());
    (routed.agent.clone(), routed.route.map(crate::route::Route::as_str))
}

/// What a collector is told of a turn, if there is one. An interrupted turn is not told of.
struct Spans {
    tracer: Option<Arc<Tracer>>,
    start: Timestamp,
    agent: AgentId,
    channel: ChannelType,
    n_messages: usize,
    attempts: Mutex<Vec<Attempt>>,
}

impl Spans {
    fn begin(tracer: Option<Arc<Tracer>>, start: Timestamp, batch: &Batch, agent: &AgentId) -> Self {
        let (channel, n_messages) = (batch.last().inbound.identity.channel.clone(), batch.waiting().count());
        Self { tracer, start, agent: agent.clone(), channel, n_messages, attempts: Mutex::default() }
    }

    fn attempted(&self, end: Timestamp, model: &Model, usage: Usage, failed: bool) {
        if self.tracer.is_none() {
            return;
        }
        let (provider, Usage { input_tokens, output_tokens, .. }) = (model.provider.clone(), usage);
        let mut attempts = self.attempts.lock().unwrap_or_else(PoisonError::into_inner);
        let start = attempts.last().map_or(self.start, |last| last.end);
        attempts.push(Attempt { start, end, provider, input_tokens, output_tokens, failed });
    }

    fn end(&self, end: Timestamp, tenant: Option<&TenantId>, is_answered: bool) {
        let Some(tracer) = &self.tracer else { return };
        tracer.turn(&telemetry::Turn {
            start: self.start,
            end,
            tenant: tenant.map(TenantId::as_str),
            agent: self.agent.as_str(),
            channel: self.channel.as_str(),
            n_messages: self.n_messages,
            is_answered,
            attempts: &self.attempts.lock().unwrap_or_else(PoisonError::into_inner),
        });
    }
}

/// The messages that one turn answers: as many from the front as have one reply address and ask for one agent. An
/// order is alone.
struct Batch {
    first: Waiting,
    more: Vec<Waiting>,
}

impl Batch {
    fn of(waiting: Vec<Waiting>) -> Option<Self> {
        let mut waiting = waiting.into_iter();
        let first = waiting.next()?;
        let mut n_bytes = first.inbound.text.len();
        let is_order = |waiting: &Waiting| Command::of(&waiting.inbound).is_some();
        let is_alone = is_order(&first);
        let more = waiting.take_while(|next| {
            if is_alone || is_order(next) {
                return false;
            }
            n_bytes += next.inbound.text.len();
            let (a, b) = (&first.inbound, &next.inbound);
            a.reply_to == b.reply_to && a.agent == b.agent && n_bytes <= MAX_COLLECTED_BYTES
        });
        let more = more.collect();
        Some(Self { first, more })
    }

    fn waiting(&self) -> impl Iterator<Item = &Waiting> {
        std::iter::once(&self.first).chain(&self.more)
    }

    fn last(&self) -> &Waiting {
        self.more.last().unwrap_or(&self.first)
    }

    fn has(&self, seq: u64) -> bool {
        self.waiting().any(|waiting| waiting.seq == seq)
    }

    fn seqs(&self) -> Vec<u64> {
        self.waiting().map(|waiting| waiting.seq).collect()
    }

    /// A notice names the message too, and answers nothing.
    fn is_answered_by(&self, reply: &NewDelivery) -> bool {
        reply.answers.contains(&self.last().inbound.message_id)
    }

    /// A word on the side: it answers none of the messages.
    fn notice(&self, text: &str) -> NewDelivery {
        NewDelivery { answers: Vec::new(), ..self.delivery(text.to_owned()) }
    }

    fn delivery(&self, text: String) -> NewDelivery {
        let last = &self.last().inbound;
        let answers = self.waiting().map(|waiting| waiting.inbound.message_id.clone()).collect();
        NewDelivery { address: last.reply_to.clone(), in_reply_to: last.message_id.clone(), answers, text }
    }
}

/// What the agent may read and change of this conversation.
fn context<'k>(agent: &agent::Agent, kept: &'k ContextStore) -> Result<agent::Context<'k>, store::Error> {
    let notes = kept.notes()?.into_iter().map(|note| (note.number, note.text));
    let files = if agent.tools.contains(&agent::Toolset::Files) { kept.files()? } else { Vec::new() };
    let files = files.into_iter().map(|file| (file.name, file.size_bytes));
    let read = move |name: &FileName| {
        kept.file(name).unwrap_or_else(|error| {
            tracing::error!(%error, "a working file cannot be read");
            None
        })
    };
    Ok(agent::Context::new(notes, files, Box::new(read)))
}

/// The agent's changes as the store takes them.
fn kept(changes: agent::Changes) -> (Vec<NoteChange>, Vec<FileChange>) {
    let notes = changes.notes.into_iter().map(|(number, was, text)| NoteChange { number, was, text });
    let files = changes.files.into_iter().map(|(name, text)| FileChange { name, text });
    (notes.collect(), files.collect())
}

/// Several people share a group, so the model is told who speaks: always by the same words.
fn speaker_name<'n>(is_group: bool, name: Option<&'n str>, user: Option<&'n str>) -> Option<&'n str> {
    name.or(user).filter(|_| is_group)
}

fn said_now(waiting: &Waiting) -> Said {
    let inbound = &waiting.inbound;
    let is_group = inbound.identity.parent == ChatKind::Group;
    let user = inbound.identity.user.as_ref().map(OpaqueId::as_str);
    Said::by_peer(speaker_name(is_group, inbound.user_name.as_deref(), user), &inbound.text, &inbound.attachments)
}

fn said_before(Words { by_agent, user, name, text }: Words<'_>, is_group: bool) -> Said {
    match by_agent {
        true => Said { by_agent, name: None, text: text.to_owned() },
        false => Said::by_peer(speaker_name(is_group, name, user), text, &[]),
    }
}

/// Cuts a text into pieces of at most `max_chars`, at the end of a paragraph, a line or a word if there is one.
pub(super) fn split(text: &str, max_chars: Option<usize>) -> Vec<String> {
    let Some(max_chars) = max_chars else { return vec![text.to_owned()] };
    let mut pieces = Vec::new();
    let mut rest = text;
    while let Some((limit, _)) = rest.char_indices().nth(max_chars) {
        let head = rest.get(..limit).unwrap_or(rest);
        let cut =
            ["\n\n", "\n", " "].iter().find_map(|end| head.rfind(end).filter(|at| *at > limit / 2)).unwrap_or(limit);
        let (piece, after) = rest.split_at(cut);
        pieces.push(piece.trim_end().to_owned());
        rest = after.trim_start();
    }
    pieces.push(rest.to_owned());
    pieces.retain(|piece| !piece.is_empty());
    pieces
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::ReplyAddress;
    use crate::testing::inbound;

    fn waiting(seq: u64, user: &str, text: &str) -> Waiting {
        Waiting { seq, inbound: inbound("hook", user, text), n_tries: 0, is_told: false, unparked_at: None }
    }

    fn check_batch(waiting: Vec<Waiting>, expected: usize) {
        assert_eq!(Batch::of(waiting).map_or(0, |batch| batch.seqs().len()), expected);
    }

    #[test]
    fn a_turn_answers_one_reply_address() {
        check_batch(vec![], 0);
        check_batch(vec![waiting(1, "a", "x"), waiting(2, "a", "y")], 2);
        check_batch(vec![waiting(1, "a", "x"), waiting(2, "b", "y"), waiting(3, "a", "z")], 1);
        let mut elsewhere = waiting(2, "a", "y");
        elsewhere.inbound.reply_to = ReplyAddress::new(elsewhere.inbound.identity.entry.clone(), 0, "other");
        check_batch(vec![waiting(1, "a", "x"), elsewhere], 1);
    }

    #[test]
    fn what_comes_before_an_order_is_answered_first_and_the_order_is_alone() {
        check_batch(vec![waiting(1, "a", "x"), waiting(2, "a", "/new"), waiting(3, "a", "y")], 1);
        check_batch(vec![waiting(2, "a", "/new"), waiting(3, "a", "y")], 1);
        check_batch(vec![waiting(2, "a", "/newer"), waiting(3, "a", "y")], 2);
    }

    #[test]
    fn a_turn_does_not_grow_without_end() {
        let long = "x".repeat(MAX_COLLECTED_BYTES);
        check_batch(vec![waiting(1, "a", &long), waiting(2, "a", "y")], 1);
    }

    #[test]
    fn a_notice_is_no_answer() {
        let batch = Batch::of(vec![waiting(1, "a", "x"), waiting(2, "a", "y")]).unwrap();
        let other = Batch::of(vec![waiting(3, "a", "z")]).unwrap();
        let cases = [
            (batch.delivery("to y".to_owned()), true),
            (batch.notice(agent::PATIENCE), false),
            (batch.notice(agent::NEWS), false),
            (other.delivery("to z".to_owned()), false),
        ];
        for (reply, expected) in cases {
            assert_eq!(batch.is_answered_by(&reply), expected, "{}", reply.text);
        }
    }

    fn check_split(text: &str, max_chars: usize, expected: &[&str]) {
        assert_eq!(split(text, Some(max_chars)), expected);
    }

    #[test]
    fn a_long_text_is_cut_where_people_would() {
        check_split("short", 10, &["short"]);
        check_split("one two three", 8, &["one two", "three"]);
        check_split("para one\n\npara two", 12, &["para one", "para two"]);
        check_split("abcdefghij", 4, &["abcd", "efgh", "ij"]);
        check_split("äöüäöü", 4, &["äöüä", "öü"]);
    }
}
