//! The access log: who read or changed what, by tenant.
//!
//! Records are numbered from 1 under each tenant, without gaps; the oldest go. They are written soon and not at once: a
//! look costs no sync of its own, and what a power cut takes of them is less than a second. When a conversation is erased,
//! digests take the places of its key, in the same transaction: that it was erased, and by whom, stays.

use crate::clock::Timestamp;
use crate::id::{SessionKey, TenantId};

use super::database::View;
use super::record::{About, Access, AccessFilter, NewAccess};
use super::scope::{Scope, tenant_part};
use super::tables::{ACCESS, Changes, Tables};
use super::tenant::TenantStore;
use super::versioned::Versioned;
use super::writer::Operation;
use super::{Error, Store, disk};

/// Records that are kept of one tenant.
pub(super) const MAX_KEPT: u64 = 50_000;
/// Records that one step removes.
const MAX_PRUNED: usize = 1_000;
/// Records that one page looks at.
const MAX_LOOKED: usize = 10_000;
/// What digests are made of besides the key; no working file is called that.
const TAG: &str = "\0erased";

impl TenantStore {
    /// Adds records. Those that are too many push out the oldest. Returns before they are on the disk, where they are
    /// within a second.
    ///
    /// # Errors
    /// [`Error::Busy`], [`Error::Storage`], [`Error::Closed`].
    pub async fn record_access(&self, records: Vec<NewAccess>) -> Result<(), Error> {
        let record = Record { tenant: self.part().to_owned(), records, max_kept: MAX_KEPT };
        self.writer().write(record).await
    }

    /// Records of this tenant that `filter` wants, newest first, and where the next page begins: before this position.
    /// One page looks at a bounded number of them and may hold none.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn access(&self, filter: &AccessFilter) -> Result<(Vec<Access>, Option<u64>), Error> {
        let view = self.shared().database.read()?;
        let erased = filter.key.as_ref().and_then(|key| view.keyring().name_tag(self.part(), key.as_str(), TAG));
        let access = view.values(&ACCESS)?;
        let end = filter.before.unwrap_or(u64::MAX);
        let mut found = Vec::new();
        for (n_looked, row) in access.range((self.part(), 0)..(self.part(), end))?.rev().enumerate() {
            let (id, row) = row?;
            let position = id.value().1;
            if found.len() == filter.limit || n_looked == MAX_LOOKED {
                return Ok((found, Some(position.saturating_add(1))));
            }
            let record = row.restore(position)?;
            if filter.admits(&record.access, erased.as_deref()) {
                found.push(record);
            }
        }
        Ok((found, None))
    }

    /// What stands for this key in records once its conversation was erased; `None`: nothing is kept of the tenant.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn erased_as(&self, key: &SessionKey) -> Result<Option<String>, Error> {
        let view = self.shared().database.read()?;
        Ok(view.keyring().name_tag(self.part(), key.as_str(), TAG))
    }
}

impl Store {
    /// Removes records that were made before `before`, a bounded number of each tenant. True when more are left.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Closed`].
    pub async fn prune_access(&self, before: Timestamp) -> Result<bool, Error> {
        let mut has_more = false;
        for tenant in self.with_access()? {
            let prune = Prune { tenant: tenant_part(tenant.as_ref()).to_owned(), before };
            has_more |= self.shared.writer.write(prune).await?;
        }
        Ok(has_more)
    }

    /// Tenants that have records, in the order of their ids.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn with_access(&self) -> Result<Vec<Option<TenantId>>, Error> {
        let view = self.shared.database.read()?;
        tenants(&view)
    }
}

fn tenants(view: &View<'_>) -> Result<Vec<Option<TenantId>>, Error> {
    let access = view.values(&ACCESS)?;
    let mut found = Vec::new();
    let mut first = access.keys::<(&str, u64)>(..)?.next().transpose()?;
    while let Some(key) = first {
        let (tenant, _) = key.value();
        found.push(super::scope::restore_tenant(tenant)?);
        first = access.keys((&*super::tables::after(tenant), 0)..)?.next().transpose()?;
    }
    Ok(found)
}

impl AccessFilter {
    fn admits(&self, access: &NewAccess, erased: Option<&str>) -> bool {
        let is_about = |key: &SessionKey| match &access.about {
            About::Key(of) => of == key,
            About::Erased(digest) => erased == Some(digest),
            About::Nothing | About::Name(_) => false,
        };
        self.who.as_ref().is_none_or(|who| *who == access.who)
            && self.what.as_ref().is_none_or(|what| *what == access.what)
            && self.key.as_ref().is_none_or(is_about)
    }
}

/// See [`TenantStore::record_access`].
#[derive(Debug)]
struct Record {
    tenant: String,
    records: Vec<NewAccess>,
    max_kept: u64,
}

impl Operation for Record {
    type Outcome = ();

    fn is_urgent(&self) -> bool {
        false
    }

    fn plan(self, tables: &Tables<'_>) -> Result<((), Changes), Error> {
        let Self { tenant, records, max_kept } = self;
        let (first, last) = ends(tables, &tenant)?;
        let mut rows = Vec::new();
        let mut position = last;
        for record in &records {
            position = position.saturating_add(1);
            rows.push((position, Some(disk::Access::from(record).encode()?)));
        }
        // Positions have no gaps.
        let gone = first..position.saturating_add(1).saturating_sub(max_kept).max(first);
        rows.extend(gone.map(|position| (position, None)));
        Ok(((), if records.is_empty() { Changes::None } else { Changes::Access(tenant, rows) }))
    }
}

/// The first and the last position of a tenant; of none, 1 and 0.
fn ends(tables: &Tables<'_>, tenant: &str) -> Result<(u64, u64), Error> {
    let mut keys = tables.access.keys((tenant, 0)..=(tenant, u64::MAX))?;
    let first = keys.next().transpose()?.map(|key| key.value().1);
    let last = keys.next_back().transpose()?.map(|key| key.value().1).or(first);
    Ok((first.unwrap_or(1), last.unwrap_or(0)))
}

/// See [`Store::prune_access`].
#[derive(Debug)]
struct Prune {
    tenant: String,
    before: Timestamp,
}

impl Operation for Prune {
    /// Are more left?
    type Outcome = bool;

    fn plan(self, tables: &Tables<'_>) -> Result<(bool, Changes), Error> {
        let Self { tenant, before } = self;
        if tables.keyring.is_erasing(&tenant) {
            return Ok((false, Changes::None));
        }
        let mut rows = Vec::new();
        let mut has_more = false;
        for row in tables.access.range((tenant.as_str(), 0)..=(tenant.as_str(), u64::MAX))? {
            let (id, row) = row?;
            if row.at >= before.0 {
                break;
            }
            has_more = rows.len() == MAX_PRUNED;
            if has_more {
                break;
            }
            rows.push((id.value().1, None));
        }
        Ok((has_more, if rows.is_empty() { Changes::None } else { Changes::Access(tenant, rows) }))
    }
}

/// Puts digests in the places of the key of a conversation of which nothing is left.
pub(super) fn forget_key(tables: &Tables<'_>, scope: &Scope) -> Result<Option<Changes>, Error> {
    let (tenant, key) = scope.parts();
    let mut rows = Vec::new();
    for row in tables.access.range((tenant, 0)..=(tenant, u64::MAX))? {
        let (id, record) = match row {
            Ok(row) => row,
            // One that cannot be read names nobody.
            Err(Error::Value { .. }) => continue,
            Err(error) => return Err(error),
        };
        if matches!(&record.about, disk::About::Key(of) if of == key) {
            let about = disk::About::Erased(tables.keyring.new_name_tag(tenant, key, TAG)?);
            rows.push((id.value().1, Some(disk::Access { about, ..record }.encode()?)));
        }
    }
    Ok((!rows.is_empty()).then(|| Changes::Access(tenant.to_owned(), rows)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn too_many_records_push_out_the_oldest() {
        let directory = tempfile::tempdir().unwrap();
        let store = Store::open(&directory.path().join("s.redb"), 1024 * 1024, &[7; 32]).unwrap();
        let of = store.tenant(None);
        let write = |from: u64, n: u64| {
            let record = |at| NewAccess {
                at: Timestamp(at),
                who: "Ada".to_owned(),
                from: None,
                what: "show".into(),
                about: About::Nothing,
            };
            let records = (from..from + n).map(record).collect();
            of.writer().write(Record { tenant: String::new(), records, max_kept: 5 })
        };
        let kept = || {
            let (found, _) = of.access(&AccessFilter { limit: 99, ..AccessFilter::default() }).unwrap();
            found.into_iter().map(|record| record.access.at.0).collect::<Vec<_>>()
        };
        for n in [3, 1, 4] {
            write(kept().first().map_or(0, |last| last + 1), n).await.unwrap();
        }
        assert_eq!(kept(), [7, 6, 5, 4, 3]);
        write(100, 20).await.unwrap();
        assert_eq!(kept(), [119, 118, 117, 116, 115]);
    }
}
