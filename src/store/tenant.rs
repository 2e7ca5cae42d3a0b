//! The conversations of one tenant.

use std::ops::Bound;
use std::sync::Arc;

use redb::AccessGuard;

use crate::id::{ChannelType, OpaqueId, SessionKey, TenantId};
use crate::message::Inbound;

use super::filing::File;
use super::record::{Filed, Filter, SessionRow};
use super::scope::{Scope, tenant_part};
use super::session::SessionStore;
use super::tables::{self, Bytes, SESSIONS, USERS};
use super::versioned::Versioned;
use super::writer::Writer;
use super::{Error, Shared, disk};

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
    /// `(entry, message id)`, the session row (made if absent) and the index of who wrote where.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Storage`], [`Error::Closed`]; [`Error::OtherTenant`] when the message
    /// names another tenant, [`Error::Value`]. On an error nothing is filed.
    pub async fn file(&self, key: &SessionKey, inbound: &Inbound) -> Result<Filed, Error> {
        if inbound.identity.tenant != self.tenant {
            return Err(Error::OtherTenant);
        }
        self.shared.writer.try_write(File { scope: self.scope(key), inbound: inbound.clone() }).await
    }

    /// Is there such a conversation?
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn has_session(&self, key: &SessionKey) -> Result<bool, Error> {
        let sessions = self.shared.database.read()?.open_table(SESSIONS)?;
        Ok(sessions.get((self.part(), key.as_str()))?.is_some())
    }

    /// A page of this tenant's conversations in key order.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn sessions(&self, filter: &Filter) -> Result<Vec<SessionRow>, Error> {
        let sessions = self.shared.database.read()?.open_table(SESSIONS)?;
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
            let row = restore(Scope::restore(tenant, key)?, &row)?;
            if filter.admits(&row) {
                rows.push(row);
            }
        }
        Ok(rows)
    }

    /// The conversations in which `user` of `channel` wrote, by an index; at most a thousand.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn find(&self, channel: &ChannelType, user: &OpaqueId) -> Result<Vec<SessionRow>, Error> {
        let transaction = self.shared.database.read()?;
        let users = transaction.open_table(USERS)?;
        let sessions = transaction.open_table(SESSIONS)?;
        let (tenant, channel) = (self.part(), channel.as_str());
        let next_user = tables::after(user.as_str());
        let mut rows = Vec::new();
        for entry in
            users.range((tenant, channel, user.as_str(), "")..(tenant, channel, &*next_user, ""))?.take(MAX_FOUND)
        {
            let (entry, _) = entry?;
            let (_, _, _, key) = entry.value();
            if let Some(row) = sessions.get((tenant, key))? {
                rows.push(restore(Scope::restore(tenant, key)?, &row)?);
            }
        }
        Ok(rows)
    }

    /// Who wrote in one conversation, channel type and user, at most `limit`. Visits all who wrote to this
    /// tenant: for status, not for messages.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn peers_of(&self, key: &SessionKey, limit: usize) -> Result<Vec<(ChannelType, OpaqueId)>, Error> {
        let transaction = self.shared.database.read()?;
        let users = transaction.open_table(USERS)?;
        let mut peers = Vec::new();
        let next_tenant = tables::after(self.part());
        for entry in users.range((self.part(), "", "", "")..(&*next_tenant, "", "", ""))? {
            let (entry, _) = entry?;
            let (_, channel, user, in_key) = entry.value();
            if in_key == key.as_str() && peers.len() < limit {
                let peer = ChannelType::new(channel).and_then(|channel| Ok((channel, OpaqueId::new(user)?)));
                peers.push(peer.map_err(|_error| Error::Value { what: "user" })?);
            }
        }
        Ok(peers)
    }

    /// One conversation.
    #[must_use]
    pub fn session(&self, key: &SessionKey) -> SessionStore {
        SessionStore::new(Arc::clone(&self.shared), self.scope(key))
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

    fn part(&self) -> &str {
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
pub(super) fn restore(scope: Scope, row: &AccessGuard<'_, Bytes>) -> Result<SessionRow, Error> {
    disk::Session::decode(row.value())?.restore(scope).or(Err(Error::Value { what: disk::Session::WHAT }))
}
