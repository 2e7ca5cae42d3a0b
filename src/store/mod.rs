//! The store: the only place that knows redb.
//!
//! Conversations are reached through a tenant and a key: [`Store::tenant`], then
//! [`TenantStore::session`]. There is no handle that reads more than its own. What crosses tenants is the
//! gateway's own work on [`Store`]: what to take up again after a start, the life of conversations, numbers, backups;
//! none of it shows what was said.
//!
//! Reads are synchronous and short. Writes go to one writer, which puts what waits into one batch: one record of the
//! `journal`, one sync, then redb. A write returns when it is on the disk; what need not be there yet says so. Values carry
//! a version, and old versions stay readable (`versioned`); each is sealed with the key of its tenant (`seal`).
//!
//! Called by `gateway/`, and by `cli/` for what is done without one. Knows `id`, `clock`, `message` and `usage`.

mod access;
mod check;
mod context;
mod copy;
mod database;
mod delivery_id;
mod disk;
mod episode;
mod episodes;
mod erase;
mod erase_tenant;
mod entry;
mod error;
mod expire;
mod filing;
mod glance;
mod import;
mod journal;
mod life;
mod log;
mod moving;
mod outbox;
mod overlay;
mod pages;
mod pairing;
mod place;
mod portable;
mod recent;
mod record;
mod redate;
mod repair;
mod rewrite;
mod salvage;
mod scope;
mod seal;
mod search;
mod session;
mod snapshot;
mod tables;
mod taking;
mod tenant;
#[cfg(feature = "testing")]
mod testing;
mod turn;
mod unpark;
mod unresolved;
mod usage;
mod values;
mod versioned;
mod writer;

#[cfg(any(test, feature = "testing"))]
mod tests;

pub use check::{Checked, check};
pub use context::ContextStore;
pub use entry::EntryStore;
pub use episode::EpisodeStore;
pub use error::Error;
pub use glance::{Glance, glance, room};
pub use import::{Imported, ImportedLine, ImportedSession};
pub use place::Room;
pub use record::{
    About, Access, AccessFilter, Addressed, Approval, ArchivedRow, Conversations, Counts, Delivery, DeliveryName,
    Erased, Expired, FileChange, FileRow, Filed, Filter, Found, Hit, KeptTenant, Life, Line, Moved, NewAccess,
    NewDelivery, Note, NoteChange, Offer, Offered, Parked, ParkedItem, Pending, Recent, RecentCursor, Restored, Resume,
    Rewritten, Search, SearchCursor, SessionRow, Speaker, Speech, Spoken, Taken, Taking, Turn, Unparked, Waiting,
    Words,
};
pub use repair::{Repaired, repair};
pub use session::SessionStore;
pub use snapshot::{Contents, Existing, Filled, OwnedRow, ROWS_FORMAT, Row, Snapshot, WasThere, examine, table_name};
pub use tenant::TenantStore;
#[cfg(feature = "testing")]
pub use testing::Sealing;
#[cfg(feature = "testing")]
pub use tests::compare_with_maps;
pub use usage::Counted;

/// What this version stores, as a number: whoever has a lower one cannot read it. It is the `--store-format` of a release.
pub const SHAPE: u64 = tables::SHAPE;

use std::ops::Bound;
use std::path::Path;
use std::sync::Arc;

use redb::ReadableTable;

use crate::clock::Timestamp;
use crate::id::{SessionKey, TenantId};

use database::{Database, View};
use erase_tenant::{BeginErasing, Left, RemoveRows};
use expire::Expire;
use filing::PruneMarks;
use place::InDirectory;
use redate::Redate;
use scope::{Scope, restore_tenant};
use seal::Keyring;
use tables::{ARCHIVE, ERASING, INBOX, KEYS, NUMBERS, Number, OUTBOX, PARKED, SESSIONS, TAKEN};
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
    /// Tenants are erased one after the other.
    erasing: tokio::sync::Mutex<()>,
}

impl Store {
    /// Opens or creates the file and starts its writer. `cache_bytes` bounds redb's cache. What is kept in it is
    /// sealed: only whoever has the same `wrapping_key` can open it again. What is there already and cannot be opened
    /// stays as it is. Where nothing can be written, what is there can be read, and is written to once it can be.
    ///
    /// # Errors
    /// [`Error::Locked`], [`Error::Open`], [`Error::TooNew`], [`Error::DataKey`], [`Error::Storage`].
    pub fn open(path: &Path, cache_bytes: usize, wrapping_key: &[u8; 32]) -> Result<Self, Error> {
        let keyring = Keyring::new(wrapping_key)?;
        // What a damaged page does to redb is not always an error.
        let opened = salvage::caught(|| Database::open(InDirectory::new(path), cache_bytes, keyring));
        Self::start(opened.map_err(|panic| database::damaged(&path.display().to_string(), &panic))??)
    }

    /// In the place of one that cannot be opened, so that a gateway can say why: it answers [`Error::Unusable`] to
    /// everything, and what lies at the path is not touched.
    ///
    /// # Errors
    /// [`Error::Storage`] when the cipher cannot be used.
    pub fn unusable(path: &Path, why: &str, wrapping_key: &[u8; 32]) -> Result<Self, Error> {
        let (place, keyring) = (InDirectory::new(path), Keyring::new(wrapping_key)?);
        let database = Arc::new(Database::unusable(place, 0, keyring, why.to_owned()));
        let writer = Writer::unusable(why.to_owned());
        Ok(Self { shared: Arc::new(Shared { writer, database, erasing: tokio::sync::Mutex::default() }) })
    }

    /// The same as [`Self::unusable`] until it can be opened, as by [`Self::open`], which is tried every few seconds: for
    /// what goes away by itself.
    ///
    /// # Errors
    /// [`Error::Storage`] when the cipher cannot be used, or no thread can be started.
    pub fn awaited(path: &Path, cache_bytes: usize, why: &str, wrapping_key: &[u8; 32]) -> Result<Self, Error> {
        let (place, keyring) = (InDirectory::new(path), Keyring::new(wrapping_key)?);
        Self::start(Database::unusable(place, cache_bytes, keyring, why.to_owned()))
    }

    /// Why nothing of it can be read or written, if it is [`Self::unusable`], or still [`Self::awaited`].
    #[must_use]
    pub fn why_unusable(&self) -> Option<String> {
        self.shared.database.why_unusable()
    }

    /// Is the whole file being read or written at this moment, so that writes wait for long?
    #[must_use]
    pub fn is_at_file(&self) -> bool {
        self.shared.writer.is_at_file()
    }

    /// Like [`Self::open`], where a test has it in its hands.
    #[cfg(any(test, feature = "testing"))]
    fn open_at(place: impl place::Place + 'static, keyring: Keyring) -> Result<Self, Error> {
        Self::start(Database::open(place, 1024 * 1024, keyring)?)
    }

    /// Everything that was written is on the disk when this returns.
    #[cfg(any(test, feature = "testing"))]
    fn sync(&self) -> Result<(), Error> {
        self.shared.database.sync()
    }

    fn start(database: Database) -> Result<Self, Error> {
        let database = Arc::new(database);
        let writer = Writer::start(Arc::clone(&database)).map_err(|source| Error::Storage(Box::new(source)))?;
        Ok(Self { shared: Arc::new(Shared { writer, database, erasing: tokio::sync::Mutex::default() }) })
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
        let (sessions, archive) = (transaction.values(&SESSIONS)?, transaction.values(&ARCHIVE)?);
        let mut found: Vec<Option<TenantId>> = Vec::new();
        let mut from = String::new();
        loop {
            let live = sessions.keys((from.as_str(), "")..)?.next().transpose()?;
            let archived = archive.keys((from.as_str(), "", 0)..)?.next().transpose()?;
            let live = live.map(|key| key.value().0.to_owned());
            let archived = archived.map(|key| key.value().0.to_owned());
            let Some(tenant) = live.into_iter().chain(archived).min() else { return Ok(found) };
            from = tables::after(&tenant);
            let tenant = if tenant.is_empty() { None } else { Some(TenantId::new(tenant)) };
            found.push(tenant.transpose().map_err(|_source| Error::Value { what: "tenant" })?);
        }
    }

    /// A page of the live conversations of these tenants, the newest first.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn recent(
        &self,
        tenants: &[Option<TenantId>],
        before: Option<&RecentCursor>,
        limit: usize,
    ) -> Result<Recent, Error> {
        recent::recent(&self.shared.database.read()?, tenants, before, limit)
    }

    /// What must be taken up again. A row that cannot be read is left where it is and said in the log: one
    /// bad value must not keep the box from starting.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn resume(&self) -> Result<Resume, Error> {
        let view = self.shared.database.read()?;
        let outbox = view.values(&OUTBOX)?;
        let mut deliveries = Vec::new();
        for row in outbox.range::<(&str, &str, u128)>(..)? {
            // What it says stays where it is until its time has come.
            match session::delivery_name(row) {
                Ok(name) => deliveries.push(name),
                Err(error @ (Error::Value { .. } | Error::Busy)) => {
                    tracing::error!(%error, "a reply is left in the outbox");
                }
                Err(error) => return Err(error),
            }
        }
        // Ids sort by time, and within a conversation as the replies were committed.
        deliveries.sort_by(|one, other| one.id.cmp(&other.id));
        Ok(Resume { waiting: waiting(&view)?, deliveries })
    }

    /// Numbers, without reading values.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn counts(&self) -> Result<Counts, Error> {
        let view = self.shared.database.read()?;
        Ok(Counts {
            sessions: view.values(&SESSIONS)?.len()?,
            archived: view.values(&ARCHIVE)?.len()?,
            waiting: view.values(&INBOX)?.len()?,
            undelivered: view.values(&OUTBOX)?.len()?,
            parked: view.values(&PARKED)?.len()?,
            taken: view.values(&TAKEN)?.len()?,
            for_people: self.tenants_in_hands(&view)?,
        })
    }

    /// Messages that wait for people.
    fn tenants_in_hands(&self, view: &View<'_>) -> Result<u64, Error> {
        let (taken, inbox) = (view.values(&TAKEN)?, view.values(&INBOX)?);
        let mut n_waiting = 0;
        for id in taken.keys::<(&str, &str)>(..)? {
            let id = id?;
            let (tenant, key) = id.value();
            for waiting in inbox.keys((tenant, key, 0)..=(tenant, key, u64::MAX))? {
                waiting?;
                n_waiting += 1;
            }
        }
        Ok(n_waiting)
    }

    /// All that is kept as it is now. It may be held while the store is written to.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Unusable`].
    pub fn snapshot(&self) -> Result<Snapshot, Error> {
        Snapshot::take(Arc::clone(&self.shared.database))
    }

    /// Makes a new store's file beside `path` from the rows of a [`Snapshot`], in their order, as [`Self::open`] opens it
    /// with the same wrapping key. `wrapping_key` is asked once it is known that the place is free. The store is put there
    /// by [`Filled::put`], and is gone if it never is.
    ///
    /// # Errors
    /// Those of `rows` and of `wrapping_key`; [`Error::Value`] for a row that no store has, [`Error::Locked`],
    /// [`Error::Occupied`], [`Error::Open`], [`Error::Storage`].
    pub fn fill<E: From<Error>>(
        path: &Path,
        cache_bytes: usize,
        existing: Existing,
        wrapping_key: impl FnOnce() -> Result<[u8; 32], E>,
        rows: impl Iterator<Item = Result<OwnedRow, E>>,
    ) -> Result<Filled, E> {
        Filled::fill(path, cache_bytes, existing, wrapping_key, rows)
    }

    /// Puts back what lay at `path` before [`Filled::put`], however far that came; nobody has opened what it put there. May
    /// be done again.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn take_back(path: &Path, was_there: WasThere) -> Result<(), Error> {
        was_there.take_back(path)
    }

    /// What is left where the file lies.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn room(&self) -> Result<Room, Error> {
        self.shared.database.room()
    }

    /// Syncs of the disk since the file was opened, each for all that waited for it.
    #[must_use]
    pub fn n_syncs(&self) -> u64 {
        self.shared.database.n_syncs()
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
        let numbers = view.rows(&NUMBERS)?;
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

    /// Removes all that is kept of a tenant, so that it may begin again. When this returns, what was kept is out of
    /// reach and its data key is gone; [`Self::rewrite`] removes the rest from the file. Returns how many conversations
    /// there were; `None`: nothing is kept of it. `begun` is called once nothing of it can be read any more.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Closed`]. What was begun is finished by [`Self::finish_erasing`].
    pub async fn erase_tenant(&self, tenant: Option<&TenantId>, begun: impl FnOnce()) -> Result<Option<u64>, Error> {
        let _one_at_a_time = self.shared.erasing.lock().await;
        let n_conversations = self.shared.writer.write(BeginErasing(tenant.cloned())).await?;
        if n_conversations.is_some() {
            begun();
            self.remove_rows(tenant.cloned()).await?;
        }
        Ok(n_conversations)
    }

    /// Ends what [`Self::erase_tenant`] began before the process ended; false: nothing.
    ///
    /// # Errors
    /// As [`Self::erase_tenant`].
    pub async fn finish_erasing(&self) -> Result<bool, Error> {
        let _one_at_a_time = self.shared.erasing.lock().await;
        let erasing = self.erasing()?;
        let is_any = !erasing.is_empty();
        for tenant in erasing {
            tracing::info!("a tenant that was being erased is erased to the end");
            self.remove_rows(tenant).await?;
        }
        Ok(is_any)
    }

    /// The tenants of whom something is kept, in the order of their ids.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn kept_tenants(&self) -> Result<Vec<KeptTenant>, Error> {
        let view = self.shared.database.read()?;
        let (keys, erasing) = (view.rows(&KEYS)?, view.rows(&ERASING)?);
        let stored = keys.iter()?.map(|row| Ok::<_, Error>((row?.0.value().to_owned(), false)));
        let begun = erasing.iter()?.map(|row| Ok((row?.0.value().to_owned(), true)));
        let mut kept = stored.chain(begun).collect::<Result<Vec<_>, _>>()?;
        kept.sort_unstable();
        kept.into_iter().map(|(tenant, is_erasing)| self.kept(&tenant, is_erasing)).collect()
    }

    /// The same of one tenant, without looking at others: nothing or one, or two while what is left of it is removed and
    /// it has begun again.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn kept_tenant(&self, tenant: Option<&TenantId>) -> Result<Vec<KeptTenant>, Error> {
        let view = self.shared.database.read()?;
        let part = scope::tenant_part(tenant);
        let stored = view.rows(&KEYS)?.get(part)?.map(|_| false);
        let begun = view.rows(&ERASING)?.get(part)?.map(|_| true);
        stored.into_iter().chain(begun).map(|is_erasing| self.kept(part, is_erasing)).collect()
    }

    fn kept(&self, tenant: &str, is_erasing: bool) -> Result<KeptTenant, Error> {
        let tenant = restore_tenant(tenant)?;
        let Counts { sessions, archived, .. } = self.tenant(tenant.as_ref()).conversations()?;
        Ok(KeptTenant { tenant, n_live: sessions, n_archived: archived, is_erasing })
    }

    /// The tenants that are being erased.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn erasing(&self) -> Result<Vec<Option<TenantId>>, Error> {
        let view = self.shared.database.read()?;
        view.rows(&ERASING)?.iter()?.map(|row| restore_tenant(row?.0.value())).collect()
    }

    async fn remove_rows(&self, tenant: Option<TenantId>) -> Result<(), Error> {
        let mut left = Some(Left::default());
        while let Some(rest) = left {
            left = self.shared.writer.write(RemoveRows { tenant: tenant.clone(), left: rest }).await?;
        }
        Ok(())
    }

    /// Removes the files of earlier formats that upgrades kept before this time. A rewrite removes all of them.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn forget_kept(&self, before: Timestamp) -> Result<(), Error> {
        self.shared.database.forget_kept(before.0)
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
fn waiting(view: &View<'_>) -> Result<Vec<(Option<TenantId>, SessionKey)>, Error> {
    let inbox = view.values(&INBOX)?;
    let mut found = Vec::new();
    let mut first = inbox.keys::<(&str, &str, u64)>(..)?.next();
    while let Some(key) = first {
        let key = key?;
        let (tenant, key, _) = key.value();
        let scope = Scope::restore(tenant, key);
        let past = Bound::Excluded((tenant, key, u64::MAX));
        first = inbox.keys((past, Bound::Unbounded))?.next();
        match scope {
            Ok(scope) => found.push((scope.tenant, scope.key)),
            Err(error) => tracing::error!(%error, "messages are left in the inbox"),
        }
    }
    Ok(found)
}
