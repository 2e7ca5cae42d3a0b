//! The access log: who read or changed what.

use serde::{Deserialize, Serialize};
use serde_json::json;
use utoipa::{IntoParams, ToSchema};

use super::error::Error;
use super::json::time;
use super::operation::{CHANGE, Operation, Query};
use super::reach::Reached;
use super::{cursor, parsed};
use crate::id::{SessionKey, TenantId};
use crate::store::{About, Access, AccessFilter};

/// Records of a page unless the caller wants fewer, and at most.
const MAX_ROWS: usize = 200;

pub(super) fn operations() -> Vec<Operation> {
    // Not for those who only look: it is about them too.
    vec![Operation::get("/api/v1/access", CHANGE, "A page of the access log, newest first", list)]
}

#[derive(Debug, Default, Deserialize, IntoParams)]
pub(crate) struct Wanted {
    /// Whose conversations, and whose accounts; empty: the gateway's and the owner's own. Absent: all, one after the other.
    pub(crate) tenant: Option<String>,
    /// Name of the account or token.
    pub(crate) who: Option<String>,
    /// What was done.
    pub(crate) what: Option<String>,
    /// Session key; also finds what was done before that conversation was erased.
    pub(crate) key: Option<String>,
    /// `next` of the page before.
    pub(crate) after: Option<String>,
    /// Records of the page at most.
    pub(crate) limit: Option<usize>,
}

/// A page of the access log. A page may hold none and not be the last.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Log {
    pub(crate) access: Vec<Record>,
    /// For `after` of the next page; null: this is the last.
    pub(crate) next: Option<String>,
}

/// What somebody did.
#[derive(Debug, Clone, Serialize, ToSchema)]
pub(crate) struct Record {
    pub(crate) at: String,
    /// In whose log it is; null: the gateway's and the owner's own.
    pub(crate) tenant: Option<String>,
    /// Name of the account or token, or `console`.
    pub(crate) who: String,
    /// Address; null: from this machine, or by itself.
    pub(crate) from: Option<String>,
    pub(crate) what: String,
    /// With which conversation.
    pub(crate) key: Option<String>,
    /// Stands for the key of a conversation that was erased since.
    pub(crate) erased: Option<String>,
    /// An account, a channel entry, a file.
    pub(crate) name: Option<String>,
}

impl Record {
    fn of(tenant: Option<&TenantId>, record: Access) -> Self {
        let access = record.access;
        let (key, erased, name) = match access.about {
            About::Nothing => (None, None, None),
            About::Key(key) => (Some(key.to_string()), None, None),
            About::Erased(digest) => (None, Some(digest), None),
            About::Name(name) => (None, None, Some(name)),
        };
        Self {
            at: time(access.at),
            tenant: tenant.map(ToString::to_string),
            who: access.who,
            from: access.from.map(|from| from.to_string()),
            what: access.what.into_owned(),
            key,
            erased,
            name,
        }
    }
}

/// Where a page ends: tenant, and before which position of its log; without one, at the beginning of that log.
type LogCursor = (Option<String>, Option<u64>);

pub(crate) async fn list(reached: Reached, Query(wanted): Query<Wanted>) -> Result<Log, Error> {
    let limit = wanted.limit.unwrap_or(MAX_ROWS).clamp(1, MAX_ROWS);
    let (at, mut before) = match wanted.after.as_deref().map(cursor::<LogCursor>).transpose()? {
        None => (None, None),
        Some((tenant, before)) => (parsed("after", tenant.map(TenantId::new).transpose())?, before),
    };
    let mut filter = AccessFilter {
        who: wanted.who.filter(|who| !who.is_empty()),
        what: wanted.what.filter(|what| !what.is_empty()),
        key: wanted.key.filter(|key| !key.is_empty()).map(|key| parsed("key", SessionKey::parse(&key))).transpose()?,
        before: None,
        limit: 0,
    };
    let tenants = reached.with_access(wanted.tenant.as_deref())?;
    let tenants: Vec<_> = tenants.into_iter().filter(|of| of.id() >= at.as_ref()).collect();
    let mut access = Vec::new();
    for (n, of) in tenants.iter().enumerate() {
        filter.before = before.take().filter(|_| of.id() == at.as_ref());
        filter.limit = limit - access.len();
        let (filter, store) = (filter.clone(), of.store());
        // It may read thousands of records: not where messages are answered.
        let found = tokio::task::spawn_blocking(move || store.access(&filter)).await;
        let (found, more) = found.unwrap_or(Err(crate::store::Error::Closed))?;
        access.extend(found.into_iter().map(|record| Record::of(of.id(), record)));
        let next: Option<LogCursor> = match more {
            Some(before) => Some((of.name(), Some(before))),
            None => tenants.get(n + 1).filter(|_| access.len() == limit).map(|next| (next.name(), None)),
        };
        if let Some(next) = next {
            return Ok(Log { access, next: Some(json!(next).to_string()) });
        }
    }
    Ok(Log { access, next: None })
}
