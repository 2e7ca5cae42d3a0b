//! Live conversations, the newest first, by the index of activity.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::clock::Timestamp;
use crate::id::{SessionKey, TenantId};

use super::database::View;
use super::record::{Recent, RecentCursor, SessionRow};
use super::scope::{Scope, tenant_part};
use super::tables::{self, ACTIVITY, SESSIONS, hour};
use super::{Error, tenant};

/// Up to so many tenants, the rows of each are looked up; of more, the whole hour is read.
const FEW: usize = 4;

/// A page of the conversations of these tenants. The index knows hours; within one, rows are read and sorted, of which no
/// more than two pages are held at once.
pub(super) fn recent(
    view: &View<'_>,
    tenants: &[Option<TenantId>],
    before: Option<&RecentCursor>,
    limit: usize,
) -> Result<Recent, Error> {
    let activity = view.rows(&ACTIVITY)?;
    let sessions = view.values(&SESSIONS)?;
    let parts: BTreeSet<&str> = tenants.iter().map(|tenant| tenant_part(tenant.as_ref())).collect();
    let max_held = limit.saturating_add(1).saturating_mul(2);
    let mut rows: Vec<SessionRow> = Vec::new();
    let mut end = before.map_or(u64::MAX, |before| hour(before.at.0).saturating_add(1));
    while rows.len() <= limit && !parts.is_empty() {
        let Some(last) = activity.range(..(end, "", ""))?.next_back() else { break };
        end = last?.0.value().0;
        let mut of_hour: Vec<SessionRow> = Vec::new();
        let mut take = |part: &str, key: &str| {
            let Some(session) = sessions.get((part, key))? else { return Ok(()) };
            let row = tenant::restore(Scope::restore(part, key)?, session)?;
            if before.is_none_or(|before| place(&row) > place_of(before)) {
                of_hour.push(row);
            }
            if of_hour.len() >= max_held {
                of_hour.sort_by(|one, other| place(one).cmp(&place(other)));
                of_hour.truncate(limit.saturating_add(1));
            }
            Ok::<_, Error>(())
        };
        if parts.len() > FEW {
            for row in activity.range((end, "", "")..(end.saturating_add(1), "", ""))? {
                let (id, _) = row?;
                let (_, part, key) = id.value();
                if parts.contains(part) {
                    take(part, key)?;
                }
            }
        } else {
            for part in &parts {
                for row in activity.range((end, *part, "")..(end, &*tables::after(part), ""))? {
                    let (id, _) = row?;
                    let (_, part, key) = id.value();
                    take(part, key)?;
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
