//! What was counted, hour by hour, and for how long it is kept.

use std::collections::BTreeMap;

use redb::ReadableTable;

use crate::id::TenantId;
use crate::usage::{Figures, Hour};

use super::scope::{restore_tenant, tenant_part};
use super::tables::{self, Changes, MEMORY, Tables, USAGE};
use super::versioned::Versioned;
use super::writer::Operation;
use super::{Error, Store, TenantStore, disk};

/// Rows that one step of pruning removes.
const MAX_PRUNED: usize = 1_000;

/// What was counted and is not kept yet.
#[derive(Debug, Clone, Default)]
pub struct Counted {
    /// Of each tenant in each hour; added to what is kept.
    pub figures: BTreeMap<(Option<TenantId>, Hour), Figures>,
    /// The hour, and bytes of memory that the process holds; the most of an hour is kept.
    pub memory: Option<(Hour, u64)>,
}

/// See [`Store::count`].
#[derive(Debug)]
struct Count(Counted);

impl Operation for Count {
    type Outcome = ();

    /// Figures are not worth a sync of their own.
    fn is_urgent(&self) -> bool {
        false
    }

    fn plan(self, tables: &Tables<'_>) -> Result<((), Changes), Error> {
        let mut changes = Vec::new();
        for ((tenant, hour), mut figures) in self.0.figures {
            let tenant = tenant_part(tenant.as_ref());
            // Of one that is being erased nothing is written, and nothing of before should be.
            if tables.erasing.get(tenant)?.is_some() {
                continue;
            }
            match tables.usage.get((tenant, hour.0)).and_then(|kept| kept.map(disk::Usage::restore).transpose()) {
                Ok(kept) => kept.iter().for_each(|kept| figures.add(kept)),
                Err(error @ Error::Value { .. }) => tracing::warn!(%error, "figures of an hour begin again"),
                Err(error) => return Err(error),
            }
            let row = disk::Usage::from(&figures).encode()?;
            changes.push(Changes::Usage(tenant.to_owned(), hour.0, Some(row)));
        }
        if let Some((hour, bytes)) = self.0.memory {
            let kept = tables.memory.get(hour.0)?.map_or(0, |kept| kept.value());
            if bytes > kept {
                changes.push(Changes::Memory(hour.0, Some(bytes)));
            }
        }
        Ok(((), if changes.is_empty() { Changes::None } else { Changes::All(changes) }))
    }
}

/// See [`Store::prune_usage`].
#[derive(Debug)]
struct Prune(Hour);

impl Operation for Prune {
    /// Are more left?
    type Outcome = bool;

    fn is_urgent(&self) -> bool {
        false
    }

    fn plan(self, tables: &Tables<'_>) -> Result<(bool, Changes), Error> {
        let Self(Hour(before)) = self;
        let mut changes = Vec::new();
        let mut from = String::new();
        while let Some(first) = tables.usage.keys((from.as_str(), 0)..)?.next() {
            let tenant = first?.value().0.to_owned();
            for key in tables.usage.keys((tenant.as_str(), 0)..(tenant.as_str(), before))? {
                if changes.len() == MAX_PRUNED {
                    return Ok((true, Changes::All(changes)));
                }
                changes.push(Changes::Usage(tenant.clone(), key?.value().1, None));
            }
            from = tables::after(&tenant);
        }
        for row in tables.memory.range(..before)? {
            if changes.len() == MAX_PRUNED {
                return Ok((true, Changes::All(changes)));
            }
            changes.push(Changes::Memory(row?.0.value(), None));
        }
        Ok((false, if changes.is_empty() { Changes::None } else { Changes::All(changes) }))
    }
}

impl Store {
    /// Adds to what is kept of hours. Of tenants that are being erased nothing is. A power cut may
    /// undo it within a second.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Closed`]; then nothing was added.
    pub async fn count(&self, counted: Counted) -> Result<(), Error> {
        self.shared.writer.write(Count(counted)).await
    }

    /// Forgets figures of hours before this one, a bounded number per call. True when more are left.
    ///
    /// # Errors
    /// As [`Self::count`].
    pub async fn prune_usage(&self, before: Hour) -> Result<bool, Error> {
        self.shared.writer.write(Prune(before)).await
    }

    /// The tenants of whom figures are kept; one seek for each.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn tenants_with_usage(&self) -> Result<Vec<Option<TenantId>>, Error> {
        let view = self.shared.database.read()?;
        let usage = view.values(&USAGE)?;
        let (mut found, mut from) = (Vec::new(), String::new());
        while let Some(first) = usage.keys((from.as_str(), 0)..)?.next() {
            let tenant = first?.value().0.to_owned();
            from = tables::after(&tenant);
            found.push(restore_tenant(&tenant)?);
        }
        Ok(found)
    }

    /// Bytes of memory that the process held at most in each hour from this one on, as far as somebody looked.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn memory(&self, from: Hour) -> Result<BTreeMap<Hour, u64>, Error> {
        let view = self.shared.database.read()?;
        let rows = view.rows(&MEMORY)?;
        let row = |row: redb::Result<(redb::AccessGuard<'_, u64>, redb::AccessGuard<'_, u64>), redb::StorageError>| {
            let (hour, bytes) = row?;
            Ok((Hour(hour.value()), bytes.value()))
        };
        rows.range(from.0..)?.map(row).collect()
    }
}

impl TenantStore {
    /// What is kept of each hour from this one on.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn usage(&self, from: Hour) -> Result<BTreeMap<Hour, Figures>, Error> {
        let view = self.shared().database.read()?;
        let usage = view.values(&USAGE)?;
        let mut found = BTreeMap::new();
        for row in usage.range((self.part(), from.0)..=(self.part(), u64::MAX))? {
            let (key, row) = row?;
            found.insert(Hour(key.value().1), row.restore()?);
        }
        Ok(found)
    }
}
