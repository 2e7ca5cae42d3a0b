//! What is on its way out, for the operator: lists of the outbox and of what was set aside, and putting back or dropping
//! the latter.

use std::ops::Bound;

use crate::clock::Timestamp;
use crate::id::{SessionKey, TenantId};

use super::record::{Delivery, Life, Parked, ParkedItem, Unparked};
use super::scope::{Scope, restore_tenant};
use super::session::SessionStore;
use super::tables::{self, Change, Changes, OUTBOX, PARKED, TRANSCRIPT, Tables};
use super::tenant::TenantStore;
use super::versioned::Versioned;
use super::writer::Operation;
use super::{Error, Store, delivery_id, disk, filing, session};

/// See `SessionStore::unpark`.
#[derive(Debug)]
pub(super) struct Unpark {
    pub(super) scope: Scope,
    pub(super) position: u64,
    pub(super) life: Life,
    pub(super) at: Timestamp,
}

impl Operation for Unpark {
    type Outcome = Unparked;

    fn plan(self, tables: &Tables<'_>) -> Result<(Unparked, Changes), Error> {
        let Self { scope, position, life, at } = self;
        let (tenant, key) = scope.parts();
        let parked = tables.parked.get((tenant, key, position))?.ok_or(Error::Gone { what: "item" })?;
        let mut changes = vec![Change::Parked(position, None)];
        let unparked = match restore(&scope, position, parked)?.what {
            // Its mark stays: a vendor that repeats it is still told that it is known.
            ParkedItem::Message(inbound) => {
                changes.extend(filing::put(tables, &scope, &inbound, Some(at), life)?);
                Unparked::Message
            }
            ParkedItem::Delivery(delivery) => {
                let id = delivery_id::parse(&delivery.id).ok_or(Error::Gone { what: "reply" })?;
                let again = disk::Outgoing {
                    unparked_at: Some(at.0),
                    ..disk::Outgoing::new(&delivery.content, delivery.seq, delivery.created_at, None)
                };
                changes.push(Change::Delivery(id, Some(again.encode()?)));
                Unparked::Delivery(delivery.into())
            }
        };
        Ok((unparked, Changes::Session(scope, changes)))
    }
}

/// See `SessionStore::drop_parked`.
#[derive(Debug)]
pub(super) struct DropParked {
    pub(super) scope: Scope,
    pub(super) positions: Vec<u64>,
}

impl Operation for DropParked {
    /// How many were there.
    type Outcome = usize;

    fn plan(self, tables: &Tables<'_>) -> Result<(usize, Changes), Error> {
        let Self { scope, mut positions } = self;
        positions.sort_unstable();
        positions.dedup();
        let (tenant, key) = scope.parts();
        let mut changes = Vec::new();
        for position in positions {
            // A value that cannot be read can still be dropped.
            if tables.parked.has((tenant, key, position))? {
                changes.push(Change::Parked(position, None));
            }
        }
        let n_dropped = changes.len();
        Ok((n_dropped, if changes.is_empty() { Changes::None } else { Changes::Session(scope, changes) }))
    }
}

impl SessionStore {
    /// What was set aside under this name, see [`Parked::id`].
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn find_parked(&self, id: &str) -> Result<Option<Parked>, Error> {
        let view = self.shared().database.read()?;
        let parked = view.values(&PARKED)?;
        for row in parked.range(tables::positions(self.scope()))? {
            let item = row.and_then(|(key, parked)| restore(self.scope(), key.value().2, parked));
            if let Some(found) = readable(item)?.filter(|found| found.id() == id) {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }

    /// Positions of what was set aside, lowest first, at most `limit`, without reading it.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn parked_positions(&self, limit: usize) -> Result<Vec<u64>, Error> {
        let view = self.shared().database.read()?;
        let parked = view.values(&PARKED)?;
        let keys = parked.keys(tables::positions(self.scope()))?.take(limit);
        keys.map(|key| Ok(key?.value().2)).collect()
    }

    /// Puts back what was set aside at this position. A reply waits to be sent again under the same id, as if no attempt
    /// had ever started; a message waits behind all others with no tries spent, in the conversation that lives or one that
    /// it begins (see `life`). Their age counts from `at`.
    ///
    /// # Errors
    /// As [`SessionStore::commit_turn`]; [`Error::Gone`] when nothing is there.
    pub async fn unpark(&self, position: u64, life: Life, at: Timestamp) -> Result<Unparked, Error> {
        self.shared().writer.write(Unpark { scope: self.scope().clone(), position, life, at }).await
    }

    /// Removes what was set aside at these positions, for good; says how many there were.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Closed`].
    pub async fn drop_parked(&self, positions: Vec<u64>) -> Result<usize, Error> {
        self.shared().writer.write(DropParked { scope: self.scope().clone(), positions }).await
    }
}

impl TenantStore {
    /// A page of the replies that are not settled, in the order of keys, then ids: of one key, if one is named, and behind
    /// the reply `after`. What cannot be read is said in the log.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn undelivered(
        &self,
        key: Option<&SessionKey>,
        after: Option<(&SessionKey, &str)>,
        limit: usize,
    ) -> Result<Vec<Delivery>, Error> {
        let view = self.shared().database.read()?;
        let (outbox, transcript) = (view.values(&OUTBOX)?, view.values(&TRANSCRIPT)?);
        let (first, next_tenant) = (key.map_or("", SessionKey::as_str), tables::after(self.part()));
        let start = match after {
            Some((key, id)) => {
                Bound::Excluded((self.part(), key.as_str(), delivery_id::parse(id).unwrap_or(u128::MAX)))
            }
            None => Bound::Included((self.part(), first, 0)),
        };
        let end = match key {
            Some(key) => Bound::Included((self.part(), key.as_str(), u128::MAX)),
            None => Bound::Excluded((next_tenant.as_str(), "", 0)),
        };
        let mut page = Vec::new();
        for row in outbox.range((start, end))? {
            if page.len() >= limit {
                break;
            }
            page.extend(readable(session::delivery(row, &transcript))?);
        }
        Ok(page)
    }

    /// A page of what was set aside, in the order of keys, then positions; as [`Self::undelivered`].
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn parked(
        &self,
        key: Option<&SessionKey>,
        after: Option<(&SessionKey, u64)>,
        limit: usize,
    ) -> Result<Vec<(SessionKey, Parked)>, Error> {
        let view = self.shared().database.read()?;
        let parked = view.values(&PARKED)?;
        let (first, next_tenant) = (key.map_or("", SessionKey::as_str), tables::after(self.part()));
        let start = match after {
            Some((key, position)) => Bound::Excluded((self.part(), key.as_str(), position)),
            None => Bound::Included((self.part(), first, 0)),
        };
        let end = match key {
            Some(key) => Bound::Included((self.part(), key.as_str(), u64::MAX)),
            None => Bound::Excluded((next_tenant.as_str(), "", 0)),
        };
        let mut page = Vec::new();
        for row in parked.range((start, end))? {
            if page.len() >= limit {
                break;
            }
            let item = row.and_then(|(id, parked)| {
                let (tenant, key, position) = id.value();
                let scope = Scope::restore(tenant, key)?;
                Ok((scope.key.clone(), restore(&scope, position, parked)?))
            });
            page.extend(readable(item)?);
        }
        Ok(page)
    }
}

impl Store {
    /// The tenants that have replies in the outbox, or something that was set aside; one seek for each.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn tenants_with_deliveries(&self) -> Result<Vec<Option<TenantId>>, Error> {
        let view = self.shared.database.read()?;
        let (outbox, parked) = (view.values(&OUTBOX)?, view.values(&PARKED)?);
        let mut found = Vec::new();
        let mut from = String::new();
        loop {
            let waits = outbox.keys((from.as_str(), "", 0)..)?.next().transpose()?;
            let aside = parked.keys((from.as_str(), "", 0)..)?.next().transpose()?;
            let waits = waits.map(|key| key.value().0.to_owned());
            let aside = aside.map(|key| key.value().0.to_owned());
            let Some(tenant) = waits.into_iter().chain(aside).min() else { return Ok(found) };
            from = tables::after(&tenant);
            found.push(restore_tenant(&tenant)?);
        }
    }
}

/// A list goes on behind a value that cannot be read.
fn readable<T>(item: Result<T, Error>) -> Result<Option<T>, Error> {
    match item {
        Ok(item) => Ok(Some(item)),
        Err(error @ Error::Value { .. }) => {
            tracing::error!(%error, "a list of deliveries leaves something out");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn restore(scope: &Scope, position: u64, parked: disk::Parked) -> Result<Parked, Error> {
    parked.restore(position, scope).or(Err(Error::Value { what: disk::Parked::WHAT }))
}
