//! Messages that no conversation could be named for: kept where the operator sees them.

use redb::ReadableTable;

use crate::id::{EntryId, TenantId};
use crate::message::Inbound;

use super::entry::EntryScope;
use super::scope::restore_tenant;
use super::tables::{self, Change, Changes, EntryChange, Tables, UNRESOLVED};
use super::versioned::Versioned;
use super::writer::Operation;
use super::{Error, Store, disk};

/// Messages that one entry keeps; the oldest go.
pub(super) const MAX_UNRESOLVED: u64 = 1000;

/// See `EntryStore::park`.
#[derive(Debug)]
pub(super) struct ParkUnresolved {
    pub(super) scope: EntryScope,
    pub(super) inbound: Inbound,
    pub(super) reason: String,
}

impl Operation for ParkUnresolved {
    /// Was it new?
    type Outcome = bool;

    fn is_new(&self) -> bool {
        true
    }

    fn plan(self, tables: &Tables<'_>) -> Result<(bool, Changes), Error> {
        let Self { scope, inbound, reason } = self;
        let (tenant, entry) = scope.parts();
        // Not a mark of its own name: filed is what it may still be, once the configuration is mended.
        let mark = format!("{entry}/unresolved");
        if tables.marks.get((tenant, mark.as_str(), inbound.message_id.as_str()))?.is_some() {
            return Ok((false, Changes::None));
        }
        let at = inbound.received_at.0;
        let parked = disk::Parked { at, reason, what: disk::ParkedItem::Message(Box::new((&inbound).into())) };
        let mut rows = tables.unresolved.keys(scope.positions())?;
        let first = rows.next().transpose()?.map(|key| key.value().2);
        let last = rows.next_back().transpose()?.map(|key| key.value().2).or(first);
        let next = last.map_or(1, |last| last.saturating_add(1));
        let mut changes = vec![
            EntryChange::Unresolved(next, Some(parked.encode()?)),
            EntryChange::Beside(Box::new(Change::Mark { entry: mark, message_id: inbound.message_id.to_string(), at })),
        ];
        // Positions have no gaps.
        if let Some(first) = first.filter(|first| next - first >= MAX_UNRESOLVED) {
            changes.push(EntryChange::Unresolved(first, None));
        }
        Ok((true, Changes::Entry(scope, changes)))
    }
}

/// See `EntryStore::drop_unresolved`.
#[derive(Debug)]
pub(super) struct DropUnresolved {
    pub(super) scope: EntryScope,
}

impl Operation for DropUnresolved {
    /// How many.
    type Outcome = usize;

    fn plan(self, tables: &Tables<'_>) -> Result<(usize, Changes), Error> {
        let mut changes = Vec::new();
        for key in tables.unresolved.keys(self.scope.positions())? {
            changes.push(EntryChange::Unresolved(key?.value().2, None));
        }
        let n_dropped = changes.len();
        let changes = if changes.is_empty() { Changes::None } else { Changes::Entry(self.scope, changes) };
        Ok((n_dropped, changes))
    }
}

impl Store {
    /// Messages without a conversation, over all tenants.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn n_unresolved(&self) -> Result<u64, Error> {
        let view = self.shared.database.read()?;
        view.values(&UNRESOLVED)?.len()
    }

    /// The entries that have such messages, with their tenants; one seek for each.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn unresolved_entries(&self) -> Result<Vec<(Option<TenantId>, EntryId)>, Error> {
        let view = self.shared.database.read()?;
        let unresolved = view.values(&UNRESOLVED)?;
        let mut found = Vec::new();
        let mut first = unresolved.keys::<(&str, &str, u64)>(..)?.next();
        while let Some(key) = first {
            let key = key?;
            let (tenant, entry, _) = key.value();
            let id = EntryId::new(entry).or(Err(Error::Value { what: "channel id" }))?;
            found.push((restore_tenant(tenant)?, id));
            first = unresolved.keys((tenant, &*tables::after(entry), 0)..)?.next();
        }
        Ok(found)
    }
}
