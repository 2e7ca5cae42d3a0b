//! The one writer: a thread that takes what waits, writes it in one transaction and syncs once.
//!
//! An operation first reads and decides ([`Operation::plan`]), then its changes are applied. What it
//! refuses while it plans, a repeat or a reply that is settled, concerns nobody else in the batch; what
//! fails later is the disk, and then the whole batch is given up. So nothing is ever half-applied.
//!
//! An operation that was handed in is carried out even when its caller no longer waits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::database::{Database, Durable, Failed};
use super::record::Rewritten;
use super::tables::{Changes, Tables};
use super::{Error, rewrite};

/// Operations that may wait. Bounds the memory that a burst of messages takes.
pub(super) const MAX_WAITING: usize = 1024;
/// Operations in one transaction. Bounds how long the first of them waits for the last.
const MAX_BATCH: usize = 256;
/// Opening reads the whole file; a disk that stays broken must not keep us at it.
pub(super) const REOPEN_PAUSE: Duration = Duration::from_secs(5);
/// What is not urgent is synced after this when nothing urgent takes it along.
const LONGEST_UNSYNCED: Duration = Duration::from_secs(1);

/// One change of the store.
pub(super) trait Operation: Send + 'static {
    /// What the caller learns when it is on the disk.
    type Outcome: Send + 'static;

    /// Reads what it needs and decides; sees what operations before it in the batch did.
    fn plan(self, tables: &Tables<'_>) -> Result<(Self::Outcome, Changes), Error>;

    /// Must it be on the disk before its caller learns of it? Otherwise a power cut may undo it within
    /// [`LONGEST_UNSYNCED`], though the end of the process does not.
    fn is_urgent(&self) -> bool {
        true
    }

    /// Is it something new, which may wait outside while there is little room on the disk?
    fn is_new(&self) -> bool {
        false
    }
}

/// Hands operations to the thread. Dropping it finishes what waits and closes the file.
#[derive(Debug)]
pub(super) struct Writer {
    /// `None` while it is dropped, and where nothing can be written.
    queue: Option<mpsc::Sender<Work>>,
    thread: Option<JoinHandle<()>>,
    why_unusable: Option<String>,
    is_at_file: Arc<AtomicBool>,
}

impl Writer {
    pub(super) fn start(database: Arc<Database>) -> std::io::Result<Self> {
        let (queue, jobs) = mpsc::channel(MAX_WAITING);
        let clock = tokio::runtime::Builder::new_current_thread().enable_time().build()?;
        let is_at_file = Arc::new(AtomicBool::new(false));
        let batches =
            Batches { database, jobs, state: State::Sound, unsynced: None, is_at_file: Arc::clone(&is_at_file) };
        let run = move || clock.block_on(batches.run());
        let thread = thread::Builder::new().name("store".to_owned()).spawn(run)?;
        Ok(Self { queue: Some(queue), thread: Some(thread), why_unusable: None, is_at_file })
    }

    /// One that takes nothing.
    pub(super) fn unusable(why: String) -> Self {
        Self { queue: None, thread: None, why_unusable: Some(why), is_at_file: Arc::default() }
    }

    /// Writes, after waiting for its turn however long the queue is.
    pub(super) async fn write<O: Operation>(&self, operation: O) -> Result<O::Outcome, Error> {
        let (job, answer) = Pending::new(operation);
        self.queue()?.send(Work::Write(Box::new(job))).await.or(Err(Error::Closed))?;
        answer.await.unwrap_or(Err(Error::Closed))
    }

    /// Writes, or says that too much waits already.
    pub(super) async fn try_write<O: Operation>(&self, operation: O) -> Result<O::Outcome, Error> {
        let (job, answer) = Pending::new(operation);
        self.queue()?.try_send(Work::Write(Box::new(job))).map_err(|error| match error {
            mpsc::error::TrySendError::Full(_) => Error::Busy,
            mpsc::error::TrySendError::Closed(_) => Error::Closed,
        })?;
        answer.await.unwrap_or(Err(Error::Closed))
    }

    /// Rewrites the file, if something was erased: after all that waits to be written, and before what comes later.
    pub(super) async fn rewrite(&self) -> Result<Rewritten, Error> {
        let (asked, answer) = oneshot::channel();
        self.queue()?.send(Work::Rewrite(asked)).await.or(Err(Error::Closed))?;
        answer.await.unwrap_or(Err(Error::Closed))
    }

    /// Does it read or write the whole file at this moment? Nothing else is answered meanwhile, however long it takes.
    pub(super) fn is_at_file(&self) -> bool {
        self.is_at_file.load(Ordering::Relaxed)
    }

    fn queue(&self) -> Result<&mpsc::Sender<Work>, Error> {
        self.queue.as_ref().ok_or_else(|| match &self.why_unusable {
            Some(why) => Error::Unusable { why: why.clone() },
            None => Error::Closed,
        })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.queue = None;
        // So that whoever drops the last handle can open the file again. What waits is a few batches at most.
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("the store's writer panicked");
        }
    }
}

/// What waits for the thread.
enum Work {
    Write(Box<dyn Job>),
    Rewrite(oneshot::Sender<Result<Rewritten, Error>>),
}

/// An operation whatever its outcome is.
trait Job: Send {
    /// Plans it and applies its changes. An error is the disk's: the transaction must be given up.
    fn run(&mut self, tables: &mut Tables<'_>) -> Result<(), Error>;

    /// See [`Operation::is_urgent`].
    fn is_urgent(&self) -> bool;

    /// See [`Operation::is_new`].
    fn is_new(&self) -> bool;

    /// Tells the caller.
    fn answer(self: Box<Self>, committed: Result<(), Error>);
}

struct Pending<O: Operation> {
    operation: Option<O>,
    outcome: Option<Result<O::Outcome, Error>>,
    answer: oneshot::Sender<Result<O::Outcome, Error>>,
}

impl<O: Operation> Pending<O> {
    fn new(operation: O) -> (Self, oneshot::Receiver<Result<O::Outcome, Error>>) {
        let (answer, receiver) = oneshot::channel();
        (Self { operation: Some(operation), outcome: None, answer }, receiver)
    }
}

impl<O: Operation> Job for Pending<O> {
    fn run(&mut self, tables: &mut Tables<'_>) -> Result<(), Error> {
        let Some(operation) = self.operation.take() else { return Ok(()) };
        let planned = operation.plan(tables).and_then(|(outcome, changes)| {
            tables.admit(&changes)?;
            Ok((outcome, changes))
        });
        match planned {
            Ok((outcome, changes)) => {
                tables.apply(changes)?;
                self.outcome = Some(Ok(outcome));
            }
            Err(error @ Error::Storage(_)) => return Err(error),
            Err(refused) => self.outcome = Some(Err(refused)),
        }
        Ok(())
    }

    fn is_urgent(&self) -> bool {
        self.operation.as_ref().is_none_or(Operation::is_urgent)
    }

    fn is_new(&self) -> bool {
        self.operation.as_ref().is_some_and(Operation::is_new)
    }

    fn answer(self: Box<Self>, committed: Result<(), Error>) {
        let outcome = match (self.outcome, committed) {
            (Some(Err(refused)), _) => Err(refused),
            (Some(Ok(outcome)), Ok(())) => Ok(outcome),
            (_, Err(error)) => Err(error),
            (None, Ok(())) => Err(Error::Closed),
        };
        // A caller that is gone does not need to know.
        drop(self.answer.send(outcome));
    }
}

/// The thread's side.
struct Batches {
    database: Arc<Database>,
    jobs: mpsc::Receiver<Work>,
    state: State,
    /// Since when something is written that is not synced.
    unsynced: Option<Instant>,
    /// Tells others that the whole file is being read or written.
    is_at_file: Arc<AtomicBool>,
}

/// Can it write?
#[derive(Debug, Clone, Copy)]
enum State {
    Sound,
    /// It failed at this time and was opened again.
    Recovered(Instant),
    /// It failed at this time and must be opened again first.
    Failed(Instant),
}

impl Batches {
    async fn run(mut self) {
        let (mut received, mut batch) = (Vec::new(), Vec::new());
        while self.receive(&mut received).await > 0 {
            for work in received.drain(..) {
                match work {
                    Work::Write(job) => batch.push(job),
                    Work::Rewrite(answer) => {
                        self.write(&mut batch);
                        // A caller that is gone does not need to know.
                        drop(answer.send(self.rewrite()));
                    }
                }
            }
            self.write(&mut batch);
        }
        // So that the next start need not read the journal.
        if let Err(error) = self.database.finish() {
            tracing::error!(error = %describe(&error), "the store was not brought up to its journal");
        }
    }

    /// What waits; none when all handles are gone.
    async fn receive(&mut self, received: &mut Vec<Work>) -> usize {
        if self.database.is_synced() {
            self.unsynced = None;
        } else {
            let since = *self.unsynced.get_or_insert_with(Instant::now);
            let left = LONGEST_UNSYNCED.saturating_sub(since.elapsed());
            if !left.is_zero() {
                let next = tokio::time::timeout(left, self.jobs.recv_many(received, MAX_BATCH)).await;
                if let Ok(n_received) = next {
                    return n_received;
                }
            }
            self.unsynced = None;
            if let Err(error) = self.database.sync() {
                tracing::error!(error = %describe(&error), "the store's journal could not be synced");
                self.recover(false);
            }
        }
        while !self.database.is_open_to_write() {
            match tokio::time::timeout(REOPEN_PAUSE, self.jobs.recv_many(received, MAX_BATCH)).await {
                Ok(n_received) => return n_received,
                Err(_elapsed) => self.try_again(),
            }
        }
        self.jobs.recv_many(received, MAX_BATCH).await
    }

    /// Several erasures that wait for it are served by the first.
    fn rewrite(&mut self) -> Result<Rewritten, Error> {
        self.ready()?;
        self.is_at_file.store(true, Ordering::Relaxed);
        let run = catch_unwind(AssertUnwindSafe(|| rewrite::if_pending(&self.database)));
        self.is_at_file.store(false, Ordering::Relaxed);
        run.unwrap_or_else(|_panic| Err(panicked())).map_err(|Failed { error, must_reopen }| {
            tracing::error!(error = %describe(&error), "the store's file was not written anew");
            if must_reopen {
                self.recover(true);
            }
            error
        })
    }

    fn write(&mut self, batch: &mut Vec<Box<dyn Job>>) {
        if batch.is_empty() {
            return;
        }
        if let Err(error) = self.ready() {
            return answer_all(batch, error);
        }
        self.refuse_new(batch);
        if batch.is_empty() {
            return;
        }
        match write(&self.database, batch) {
            Ok(()) => batch.drain(..).for_each(|job| job.answer(Ok(()))),
            Err(Failed { error, must_reopen }) => {
                tracing::error!(error = %describe(&error), n_operations = batch.len(), "the store did not write");
                answer_all(batch, error);
                self.recover(must_reopen);
            }
        }
    }

    /// While there is little room, what is there comes first.
    fn refuse_new(&self, batch: &mut Vec<Box<dyn Job>>) {
        if !batch.iter().any(|job| job.is_new()) {
            return;
        }
        // Nobody knows: the write itself will tell.
        let Ok(room) = self.database.recent_room() else { return };
        if room.is_full() {
            batch.extract_if(.., |job| job.is_new()).for_each(|job| job.answer(Err(room.full())));
        }
    }

    /// After a failure, once the pause is over: is the file open again?
    fn ready(&mut self) -> Result<(), Error> {
        match self.state {
            State::Failed(at) if at.elapsed() < REOPEN_PAUSE => {
                Err(Error::Storage("the disk failed a moment ago".into()))
            }
            _ if self.database.is_open_to_write() => Ok(()),
            State::Failed(_) | State::Sound | State::Recovered(_) => {
                if let Some(why) = self.database.why_unusable() {
                    return Err(Error::Unusable { why });
                }
                if self.database.is_open() {
                    self.database.may_reopen()?;
                }
                self.reopen()?;
                match self.database.is_open_to_write() {
                    true => Ok(()),
                    false => Err(Error::Storage("the disk failed and the file can only be read".into())),
                }
            }
        }
    }

    /// While it cannot be written to, it is tried again from time to time, whether or not somebody wants to write.
    fn try_again(&mut self) {
        if !self.database.is_open() || self.database.may_reopen().is_ok() {
            // What went wrong is logged there.
            drop(self.reopen());
        }
    }

    /// The next write tries again, at once when it is the first failure for some time. The file is opened again if it
    /// must be: readers need it too.
    fn recover(&mut self, must_reopen: bool) {
        let is_repeated = matches!(self.state, State::Recovered(at) if at.elapsed() < REOPEN_PAUSE);
        self.state = if is_repeated { State::Failed(Instant::now()) } else { State::Recovered(Instant::now()) };
        if must_reopen {
            if is_repeated {
                self.database.close();
            } else {
                // What went wrong is logged there.
                drop(self.reopen());
            }
        }
    }

    fn reopen(&mut self) -> Result<(), Error> {
        self.is_at_file.store(true, Ordering::Relaxed);
        let reopened = caught(|| self.database.reopen());
        self.is_at_file.store(false, Ordering::Relaxed);
        self.state = match &reopened {
            Ok(()) => {
                tracing::info!(takes_messages = self.database.is_open_to_write(), "the store was opened again");
                State::Recovered(Instant::now())
            }
            Err(error) => {
                tracing::error!(error = %describe(error), "the store could not be opened again");
                State::Failed(Instant::now())
            }
        };
        reopened
    }
}

/// Tells every caller of the batch that the disk failed.
fn answer_all(batch: &mut Vec<Box<dyn Job>>, error: Error) {
    let cause: Arc<dyn std::error::Error + Send + Sync> = match error {
        Error::Unusable { why } => {
            return batch.drain(..).for_each(|job| job.answer(Err(Error::Unusable { why: why.clone() })));
        }
        Error::Storage(source) => source.into(),
        error => Arc::new(error),
    };
    batch.drain(..).for_each(|job| job.answer(Err(Error::Storage(Box::new(Arc::clone(&cause))))));
}

/// Runs the batch in one transaction.
fn write(database: &Database, batch: &mut [Box<dyn Job>]) -> Result<(), Failed> {
    let is_urgent = batch.iter().any(|job| job.is_urgent());
    let when = if is_urgent { Durable::Now } else { Durable::Soon };
    let write = || database.write(when, |tables| batch.iter_mut().try_for_each(|job| job.run(tables)));
    catch_unwind(AssertUnwindSafe(write)).unwrap_or_else(|_panic| Err(panicked()))
}

fn panicked() -> Failed {
    Failed { error: may_be_damaged(), must_reopen: true }
}

/// redb trusts what it reads: a damaged file can make it panic, and the one writer must go on.
fn caught<T>(work: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_panic| Err(may_be_damaged()))
}

fn may_be_damaged() -> Error {
    Error::Storage("the file may be damaged: see the log, and `store check`".into())
}

/// With its causes; they name files and systems, never what peers wrote.
fn describe(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
