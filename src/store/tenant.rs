//! The conversations of one tenant.

use std::ops::Bound;
use std::sync::Arc;

use redb::AccessGuard;

use crate::clock::Timestamp;
use crate::id::{ChannelType, EntryId, OpaqueId, SessionKey, TenantId};
use crate::message::Inbound;

use super::entry::EntryStore;
use super::filing::File;
use super::moving::MoveSession;
use super::record::{ArchivedRow, Conversations, Counts, Filed, Filter, Found, Life, Moved, Search, SessionRow};
use super::scope::{Scope, tenant_part};
use super::session::SessionStore;
use super::tables::{self, ARCHIVE, INBOX, OUTBOX, PARKED, PEERS, PeerIn, SESSIONS, UNRESOLVED, USERS};
use super::versioned::Versioned;
use super::writer::Writer;
use super::{Error, Shared, disk, search};

/// Rows that [`TenantStore::find`] gives at most.
const MAX_FOUND: usize = 1000;

/// The conversations of one tenant.
#[derive(Debug, Clone)]
pub struct TenantStore {
    shared: Arc<Shared>,
    tenant: Option<TenantId>,
}

impl TenantStore {
    pub(super) fn new(shared: Arc<Shared>, tenant: Option<TenantId>) -> Self {
        Self { shared, tenant }
    }

    /// Files a message under `key` in one transaction: the inbox entry, the dedupe mark of
    /// `(entry, message id)`, the session row (made if absent) and the index of who wrote where. A
    /// conversation whose `life` is over is archived, and the message begins another.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Storage`], [`Error::Closed`]; [`Error::OtherTenant`] when the message
    /// names another tenant, [`Error::Value`]. On an error nothing is filed.
    pub async fn file(&self, key: &SessionKey, inbound: &Inbound, life: Life) -> Result<Filed, Error> {
        if inbound.identity.tenant != self.tenant {
            return Err(Error::OtherTenant);
        }
        self.shared.writer.try_write(File { scope: self.scope(key), inbound: inbound.clone(), life }).await
    }

    /// Is there such a live conversation?
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn has_session(&self, key: &SessionKey) -> Result<bool, Error> {
        let view = self.shared.database.read()?;
        let sessions = view.values(&SESSIONS)?;
        Ok(sessions.get((self.part(), key.as_str()))?.is_some())
    }

    /// Numbers of this tenant alone, from the keys.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn counts(&self) -> Result<Counts, Error> {
        let view = self.shared.database.read()?;
        let (part, next) = (self.part(), tables::after(self.part()));
        let (taken, for_people) = self.in_hands(&view)?;
        Ok(Counts {
            taken,
            for_people,
            waiting: count(view.values(&INBOX)?.keys((part, "", 0)..(&*next, "", 0))?),
            undelivered: count(view.values(&OUTBOX)?.keys((part, "", 0)..(&*next, "", 0))?),
            parked: count(view.values(&PARKED)?.keys((part, "", 0)..(&*next, "", 0))?),
            ..self.conversations()?
        })
    }

    /// Of these numbers only those of conversations.
    pub(super) fn conversations(&self) -> Result<Counts, Error> {
        let view = self.shared.database.read()?;
        let (part, next) = (self.part(), tables::after(self.part()));
        Ok(Counts {
            sessions: count(view.values(&SESSIONS)?.keys((part, "")..(&*next, ""))?),
            archived: count(view.values(&ARCHIVE)?.keys((part, "", 0)..(&*next, "", 0))?),
            ..Counts::default()
        })
    }

    /// Messages of this tenant without a conversation.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn n_unresolved(&self) -> Result<u64, Error> {
        let view = self.shared.database.read()?;
        let (part, next) = (self.part(), tables::after(self.part()));
        Ok(count(view.values(&UNRESOLVED)?.keys((part, "", 0)..(&*next, "", 0))?))
    }

    /// A page of this tenant's live conversations in key order.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn sessions(&self, filter: &Filter) -> Result<Vec<SessionRow>, Error> {
        let view = self.shared.database.read()?;
        let sessions = view.values(&SESSIONS)?;
        let start = match &filter.after {
            Some(key) => Bound::Excluded((self.part(), key.as_str())),
            None => Bound::Included((self.part(), "")),
        };
        let next_tenant = tables::after(self.part());
        let mut rows = Vec::new();
        for row in sessions.range((start, Bound::Excluded((next_tenant.as_str(), ""))))? {
            if rows.len() >= filter.limit {
                break;
            }
            let (key, row) = row?;
            let (tenant, key) = key.value();
            let row = restore(Scope::restore(tenant, key)?, row)?;
            if filter.admits(&row) {
                rows.push(row);
            }
        }
        Ok(rows)
    }

    /// A page of this tenant's archived conversations in the order of keys, then episodes.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn archived(&self, filter: &Filter) -> Result<Vec<ArchivedRow>, Error> {
        let view = self.shared.database.read()?;
        let archive = view.values(&ARCHIVE)?;
        let start = match &filter.after {
            Some(key) => Bound::Excluded((self.part(), key.as_str(), filter.after_episode.unwrap_or(u64::MAX))),
            None => Bound::Included((self.part(), "", 0)),
        };
        let next_tenant = tables::after(self.part());
        let mut rows = Vec::new();
        for row in archive.range((start, Bound::Excluded((next_tenant.as_str(), "", 0))))? {
            if rows.len() >= filter.limit {
                break;
            }
            let (key, row) = row?;
            let (tenant, key, _) = key.value();
            let row = restore_archived(Scope::restore(tenant, key)?, row)?;
            if filter.admits(&row.session) {
                rows.push(row);
            }
        }
        Ok(rows)
    }

    /// Lines that hold words, live and archived. One call looks at a bounded number of lines; the cursor goes on.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn search(&self, search: &Search) -> Result<Found, Error> {
        let view = self.shared.database.read()?;
        search::search(&view, self.tenant.as_ref(), search)
    }

    /// Moves what is under `from`, live and archived, under `to`. If nothing is there, it keeps its positions. Otherwise
    /// it comes behind what is there, each conversation as one of its own; the one that was active last is the live one.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`], [`Error::Closed`]; [`Error::Gone`] when nothing is under `from`;
    /// [`Error::InUse`] while something under `from` waits in the inbox or the outbox, or both are one.
    pub async fn move_session(&self, from: &SessionKey, to: &SessionKey, at: Timestamp) -> Result<Moved, Error> {
        self.shared.writer.write(MoveSession { from: self.scope(from), to: self.scope(to), at }).await
    }

    /// The conversations in which `user` of `channel` wrote, by an index; of at most a thousand keys.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn find(&self, channel: &ChannelType, user: &OpaqueId) -> Result<Conversations, Error> {
        let transaction = self.shared.database.read()?;
        let users = transaction.rows(&USERS)?;
        let sessions = transaction.values(&SESSIONS)?;
        let archive = transaction.values(&ARCHIVE)?;
        let (tenant, channel) = (self.part(), channel.as_str());
        let next_user = tables::after(user.as_str());
        let mut found = Conversations::default();
        for entry in
            users.range((tenant, channel, user.as_str(), "")..(tenant, channel, &*next_user, ""))?.take(MAX_FOUND)
        {
            let (entry, _) = entry?;
            let (_, _, _, key) = entry.value();
            let scope = Scope::restore(tenant, key)?;
            for row in archive.range(tables::positions(&scope))? {
                found.archived.push(restore_archived(scope.clone(), row?.1)?);
            }
            if let Some(row) = sessions.get((tenant, key))? {
                found.live.push(restore(scope, row)?);
            }
        }
        Ok(found)
    }

    /// Who wrote under one key, channel type and user, at most `limit`.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn peers_of(&self, key: &SessionKey, limit: usize) -> Result<Vec<(ChannelType, OpaqueId)>, Error> {
        let view = self.shared.database.read()?;
        let peers = view.rows(&PEERS)?;
        let (tenant, next_key) = (self.part(), tables::after(key.as_str()));
        let restore = |entry: redb::Result<(AccessGuard<'_, PeerIn>, _)>| {
            let (entry, _) = entry?;
            let (_, _, channel, user) = entry.value();
            let peer = ChannelType::new(channel).and_then(|channel| Ok((channel, OpaqueId::new(user)?)));
            peer.or(Err(Error::Value { what: "user" }))
        };
        let range = peers.range((tenant, key.as_str(), "", "")..(tenant, &*next_key, "", ""))?;
        range.take(limit).map(restore).collect()
    }

    /// One conversation.
    #[must_use]
    pub fn session(&self, key: &SessionKey) -> SessionStore {
        SessionStore::new(Arc::clone(&self.shared), self.scope(key))
    }

    /// What is kept for one channel entry outside of conversations.
    #[must_use]
    pub fn entry(&self, entry: &EntryId) -> EntryStore {
        EntryStore::new(Arc::clone(&self.shared), self.tenant.clone(), entry.clone())
    }

    /// Whose they are.
    pub(super) fn tenant(&self) -> Option<&TenantId> {
        self.tenant.as_ref()
    }

    /// What writes them.
    pub(super) fn writer(&self) -> &Writer {
        &self.shared.writer
    }

    /// One of them.
    pub(super) fn scope(&self, key: &SessionKey) -> Scope {
        Scope { tenant: self.tenant.clone(), key: key.clone() }
    }

    /// What all handles share.
    pub(super) fn shared(&self) -> &Shared {
        &self.shared
    }

    pub(super) fn part(&self) -> &str {
        tenant_part(self.tenant.as_ref())
    }
}

impl Filter {
    fn admits(&self, row: &SessionRow) -> bool {
        self.channel.as_ref().is_none_or(|channel| *channel == row.channel)
            && self.agent.as_ref().is_none_or(|agent| row.agent.as_ref() == Some(agent))
    }
}

/// A row of the sessions table.
pub(super) fn restore(scope: Scope, row: disk::Session) -> Result<SessionRow, Error> {
    row.restore(scope).or(Err(Error::Value { what: disk::Session::WHAT }))
}

/// A row of the archive.
pub(super) fn restore_archived(scope: Scope, row: disk::Archived) -> Result<ArchivedRow, Error> {
    row.restore(scope).or(Err(Error::Value { what: disk::Archived::WHAT }))
}

fn count(rows: impl Iterator) -> u64 {
    u64::try_from(rows.count()).unwrap_or(u64::MAX)
}
