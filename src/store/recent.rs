//! Live conversations, the newest first, by the index of activity.

use std::cmp::Reverse;

use crate::clock::Timestamp;
use crate::id::{SessionKey, TenantId};

use super::database::View;
use super::record::{Recent, RecentCursor, SessionRow};
use super::scope::{Scope, tenant_part};
use super::tables::{ACTIVITY, SESSIONS, hour};
use super::{Error, tenant};

/// Conversations of one hour that are put into order. Where an hour has more, the rest of them comes by key.
const MAX_SORTED: usize = 2_000;

/// A page of the conversations of these tenants. The index knows hours; within one, rows are read and sorted.
pub(super) fn recent(
    view: &View<'_>,
    tenants: &[Option<TenantId>],
    before: Option<&RecentCursor>,
    limit: usize,
) -> Result<Recent, Error> {
    let activity = view.rows(&ACTIVITY)?;
    let sessions = view.values(&SESSIONS)?;
    let mut rows: Vec<SessionRow> = Vec::new();
    let mut end = before.map_or(u64::MAX, |before| hour(before.at.0).saturating_add(1));
    while rows.len() <= limit {
        let Some(last) = activity.range(..(end, "", ""))?.next_back() else { break };
        let this = last?.0.value().0;
        end = this;
        let mut of_hour = Vec::new();
        for tenant in tenants {
            let part = tenant_part(tenant.as_ref());
            let next = super::tables::after(part);
            for row in activity.range((this, part, "")..(this, &*next, ""))? {
                let (id, _) = row?;
                let (_, part, key) = id.value();
                let Some(session) = sessions.get((part, key))? else { continue };
                let row = tenant::restore(Scope::restore(part, key)?, session)?;
                if before.is_none_or(|before| place(&row) > place_of(before)) {
                    of_hour.push(row);
                }
                if of_hour.len() >= MAX_SORTED.max(limit) {
                    of_hour.sort_by(|one, other| place(one).cmp(&place(other)));
                    of_hour.truncate(limit.saturating_add(1));
                }
            }
        }
        of_hour.sort_by(|one, other| place(one).cmp(&place(other)));
        rows.append(&mut of_hour);
    }
    let has_more = rows.len() > limit;
    rows.truncate(limit);
    let next = rows.last().filter(|_| has_more).map(|row| RecentCursor {
        at: row.last_active_at,
        tenant: row.tenant.clone(),
        key: row.key.clone(),
    });
    Ok(Recent { rows, next })
}

/// Where a row stands in the list.
type ListPlace<'r> = (Reverse<Timestamp>, Option<&'r TenantId>, &'r str);

fn place(row: &SessionRow) -> ListPlace<'_> {
    (Reverse(row.last_active_at), row.tenant.as_ref(), SessionKey::as_str(&row.key))
}

fn place_of(cursor: &RecentCursor) -> ListPlace<'_> {
    (Reverse(cursor.at), cursor.tenant.as_ref(), SessionKey::as_str(&cursor.key))
}
