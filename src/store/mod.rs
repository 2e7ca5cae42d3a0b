//! The store: the only place that knows redb.
//!
//! Conversations are reached through a tenant and a key: [`Store::tenant`], then
//! [`TenantStore::session`]. There is no handle that reads more than its own. What crosses tenants is the
//! gateway's own work: what to take up again after a start ([`Store::resume`]) and numbers ([`Store::counts`]).
//!
//! Reads are synchronous and short. Writes go to one writer, which puts what waits into one
//! transaction and syncs once; a write returns when it is on the disk. Values carry a version and old
//! versions stay readable (`versioned`).
//!
//! Called by `gateway/`. Knows `id`, `clock` and `message`.

mod context;
mod database;
mod delivery_id;
mod disk;
mod episode;
mod episodes;
mod erase;
mod entry;
mod error;
mod expire;
mod filing;
mod import;
mod life;
mod moving;
mod outbox;
mod pairing;
mod place;
mod portable;
mod record;
mod redate;
mod rewrite;
mod scope;
mod search;
mod session;
mod snapshot;
mod tables;
mod tenant;
#[cfg(feature = "testing")]
mod testing;
mod turn;
mod unresolved;
mod versioned;
mod writer;

#[cfg(test)]
mod tests;

pub use context::ContextStore;
pub use entry::EntryStore;
pub use episode::EpisodeStore;
pub use error::Error;
pub use import::{Imported, ImportedLine, ImportedSession};
pub use record::{
    Approval, ArchivedRow, Conversations, Counts, Delivery, Erased, Expired, FileChange, FileRow, Filed, Filter, Found,
    Hit, Life, Line, Moved, NewDelivery, Note, NoteChange, Offer, Offered, Parked, ParkedItem, Pending, Restored,
    Resume, Rewritten, Search, SearchCursor, SessionRow, Speaker, Turn, Waiting,
};
pub use session::SessionStore;
pub use snapshot::{Contents, Existing, Filled, OwnedRow, Row, Snapshot, examine, table_name};
pub use tenant::TenantStore;

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use redb::ReadableTableMetadata;

use crate::clock::Timestamp;
use crate::id::{SessionKey, TenantId};

use database::Database;
use expire::Expire;
use filing::PruneMarks;
use place::InDirectory;
use redate::Redate;
use scope::Scope;
use tables::{ARCHIVE, INBOX, NUMBERS, Number, OUTBOX, PARKED, SESSIONS};
use writer::Writer;

/// The open store file. Clones share it; dropping the last clone, and the last handle made from one,
/// finishes what waits to be written, blocking for it, and closes the file.
#[derive(Debug, Clone)]
pub struct Store {
    shared: Arc<Shared>,
}

/// What all handles share. The writer comes first: it must be gone when the database is dropped.
#[derive(Debug)]
struct Shared {
    writer: Writer,
    database: Arc<Database>,
}

impl Store {
    /// Opens or creates the file and starts its writer. `cache_bytes` bounds redb's cache.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Open`], [`Error::TooNew`], [`Error::Storage`].
    pub fn open(path: &Path, cache_bytes: usize) -> Result<Self, Error> {
        Self::start(Database::open(InDirectory::new(path), cache_bytes)?)
    }

    /// Like [`Self::open`], where a test has it in its hands.
    #[cfg(test)]
    fn open_at(place: impl place::Place + 'static) -> Result<Self, Error> {
        Self::start(Database::open(place, 1024 * 1024)?)
    }

    fn start(database: Database) -> Result<Self, Error> {
        let database = Arc::new(database);
        let writer = Writer::start(Arc::clone(&database)).map_err(|source| Error::Storage(Box::new(source)))?;
        Ok(Self { shared: Arc::new(Shared { writer, database }) })
    }

    /// The conversations of one tenant; `None` is the owner's own, of entries without a tenant.
    #[must_use]
    pub fn tenant(&self, tenant: Option<&TenantId>) -> TenantStore {
        TenantStore::new(Arc::clone(&self.shared), tenant.cloned())
    }

    /// The tenants that have conversations, in the order of their ids; one seek for each.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn tenants(&self) -> Result<Vec<Option<TenantId>>, Error> {
        let transaction = self.shared.database.read()?;
        let (sessions, archive) = (transaction.open_table(SESSIONS)?, transaction.open_table(ARCHIVE)?);
        let mut found: Vec<Option<TenantId>> = Vec::new();
        let mut from = String::new();
        loop {
            let live = sessions.range((from.as_str(), "")..)?.next().transpose()?;
            let archived = archive.range((from.as_str(), "", 0)..)?.next().transpose()?;
            let live = live.map(|(key, _)| key.value().0.to_owned());
            let archived = archived.map(|(key, _)| key.value().0.to_owned());
            let Some(tenant) = live.into_iter().chain(archived).min() else { return Ok(found) };
            from = tables::after(&tenant);
            let tenant = if tenant.is_empty() { None } else { Some(TenantId::new(tenant)) };
            found.push(tenant.transpose().map_err(|_source| Error::Value { what: "tenant" })?);
        }
    }

    /// What must be taken up again. A row that cannot be read is left where it is and said in the log: one
    /// bad value must not keep the box from starting.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn resume(&self) -> Result<Resume, Error> {
        let transaction = self.shared.database.read()?;
        let outbox = transaction.open_table(OUTBOX)?;
        let mut deliveries = Vec::new();
        for row in outbox.range::<(&str, &str, u128)>(..)? {
            match session::delivery(row) {
                Ok(delivery) => deliveries.push(delivery),
                Err(error @ Error::Value { .. }) => tracing::error!(%error, "a reply is left in the outbox"),
                Err(error) => return Err(error),
            }
        }
        // Ids sort by time, and within a conversation as the replies were committed.
        deliveries.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(Resume { waiting: waiting(&transaction)?, deliveries })
    }

    /// Numbers, without reading values.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn counts(&self) -> Result<Counts, Error> {
        let transaction = self.shared.database.read()?;
        Ok(Counts {
            sessions: transaction.open_table(SESSIONS)?.len()?,
            archived: transaction.open_table(ARCHIVE)?.len()?,
            waiting: transaction.open_table(INBOX)?.len()?,
            undelivered: transaction.open_table(OUTBOX)?.len()?,
            parked: transaction.open_table(PARKED)?.len()?,
        })
    }

    /// All that is kept as it is now. It may be held while the store is written to.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        Snapshot::take(Arc::clone(&self.shared.database))
    }

    /// Makes a new store's file beside `path` from the rows of a [`Snapshot`], in their order. It is put there by
    /// [`Filled::put`], and is gone if it never is.
    ///
    /// # Errors
    /// Those of `rows`; [`Error::Value`] for a row that no store has, [`Error::Locked`], [`Error::Occupied`], [`Error::Open`],
    /// [`Error::TooNew`], [`Error::Storage`].
    pub fn fill<E: From<Error>>(
        path: &Path,
        cache_bytes: usize,
        existing: Existing,
        rows: impl Iterator<Item = Result<OwnedRow, E>>,
    ) -> Result<Filled, E> {
        Filled::fill(path, cache_bytes, existing, rows)
    }

    /// Transactions committed since the file was opened, each with one sync of the disk.
    #[must_use]
    pub fn n_commits(&self) -> u64 {
        self.shared.database.n_commits()
    }

    /// One step of archiving the live conversations that were last active before `before`, by an index: a bounded
    /// number. Spares those that were last active from the first time of `spare` to its second, and those with a message
    /// that waits. Keeps `seen`, the time it is, as the latest one; when a later one was seen before, does nothing.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`], [`Error::Closed`].
    pub async fn expire(
        &self,
        before: Timestamp,
        seen: Timestamp,
        spare: Option<(Timestamp, Timestamp)>,
    ) -> Result<Expired, Error> {
        self.shared.writer.write(Expire { before, seen, spare }).await
    }

    /// Moves on, by `by_ms`, the last activity of live conversations that were last active from `first` to `last`: they
    /// were stamped before the clock was set forward. Does nothing unless all of them end up behind `last`.
    ///
    /// # Errors
    /// As [`Self::expire`].
    pub async fn redate(&self, first: Timestamp, last: Timestamp, by_ms: u64) -> Result<(), Error> {
        while self.shared.writer.write(Redate { first, last, by_ms }).await? {}
        Ok(())
    }

    /// The latest time that [`Self::expire`] was ever told.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn latest_seen(&self) -> Result<Option<Timestamp>, Error> {
        let view = self.shared.database.read()?;
        let numbers = view.open_table(NUMBERS)?;
        Ok(numbers.get(Number::LatestSeen.name())?.map(|at| Timestamp(at.value())))
    }

    /// Writes the file anew without what erased conversations left in it, if they left something. Reads go on
    /// meanwhile, other writes wait; it takes as much room again as what is there.
    ///
    /// # Errors
    /// [`Error::NotOverwritten`], [`Error::Storage`], [`Error::Closed`].
    pub async fn rewrite(&self) -> Result<Rewritten, Error> {
        self.shared.writer.rewrite().await
    }

    /// Are erased words still in the file?
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn must_rewrite(&self) -> Result<bool, Error> {
        rewrite::is_pending(&self.shared.database)
    }

    /// Forgets dedupe marks made before `before`, a bounded number per call, but none made from the first time of
    /// `spare` to its second. True when more are left.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Closed`].
    pub async fn prune_marks(&self, before: Timestamp, spare: Option<(Timestamp, Timestamp)>) -> Result<bool, Error> {
        self.shared.writer.write(PruneMarks { before, spare }).await
    }
}

/// The conversations that the inbox names: one seek for each, however many messages wait.
fn waiting(transaction: &redb::ReadTransaction) -> Result<Vec<(Option<TenantId>, SessionKey)>, Error> {
    let inbox = transaction.open_table(INBOX)?;
    let mut found = Vec::new();
    let mut first = inbox.range::<(&str, &str, u64)>(..)?.next();
    while let Some(row) = first {
        let (key, _) = row?;
        let (tenant, key, _) = key.value();
        let scope = Scope::restore(tenant, key);
        let past = Bound::Excluded((tenant, key, u64::MAX));
        first = inbox.range((past, Bound::Unbounded))?.next();
        match scope {
            Ok(scope) => found.push((scope.tenant, scope.key)),
            Err(error) => tracing::error!(%error, "messages are left in the inbox"),
        }
    }
    Ok(found)
}
