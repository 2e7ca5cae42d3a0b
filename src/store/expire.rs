//! Archives what is over, by the index of activity.

use redb::ReadableTable;

use crate::clock::Timestamp;

use super::record::Expired;
use super::scope::Scope;
use super::tables::{Change, Changes, Number, Tables, around, hour};
use super::writer::Operation;
use super::{Error, episodes, taking};

/// Conversations that one step archives.
const MAX_ARCHIVED: u64 = 200;
/// Rows that one step reads: those that a waiting message keeps alive, and those of the hour in which the line falls.
const MAX_READ: u64 = 5000;
/// How far behind the latest time a clock may be and still be believed.
const MAX_BEHIND_MS: u64 = 60 * 1000;

/// See `Store::expire`.
#[derive(Debug)]
pub(super) struct Expire {
    pub(super) before: Timestamp,
    pub(super) seen: Timestamp,
    /// From, up to and including.
    pub(super) spare: Option<(Timestamp, Timestamp)>,
}

impl Operation for Expire {
    type Outcome = Expired;

    fn plan(self, tables: &Tables<'_>) -> Result<(Expired, Changes), Error> {
        let Self { before, seen, spare } = self;
        let latest = episodes::number(tables, Number::LatestSeen)?;
        let mut expired = Expired::default();
        if seen.0.saturating_add(MAX_BEHIND_MS) < latest {
            return Ok((expired, Changes::None));
        }
        let mut changes = Vec::new();
        // Hours that are spared whole are not read.
        let hours = spare.map(|(first, last)| hour(first.0) + 1..hour(last.0));
        let (older, newer) = around(hour(before.0) + 1, hours);
        let older = tables.activity.range(..(older.end, "", ""))?;
        for row in older.chain(tables.activity.range((newer.start, "", "")..(newer.end, "", ""))?) {
            if expired.n_archived == MAX_ARCHIVED {
                expired.has_more = true;
                break;
            }
            if expired.n_read == MAX_READ {
                expired.has_more = expired.n_archived > 0;
                break;
            }
            let (id, _) = row?;
            let (_, tenant, key) = id.value();
            let scope = Scope::restore(tenant, key)?;
            expired.n_read += 1;
            if tables.keyring.is_erasing(tenant) {
                continue;
            }
            let session = match episodes::live(tables, &scope) {
                // One that cannot be read keeps no other alive.
                Err(Error::Value { .. }) => continue,
                found => found?,
            };
            let Some(session) = session else { continue };
            let at = Timestamp(session.last_active_at);
            let is_spared = spare.is_some_and(|(first, last)| (first..=last).contains(&at));
            if at >= before || is_spared || episodes::waits(tables, &scope)? || taking::is_taken(tables, &scope)? {
                continue;
            }
            let from = Some(session.last_active_at);
            let end = vec![episodes::archive(session, seen, true), Change::Session { from, to: None }];
            changes.push(Changes::Session(scope, end));
            expired.n_archived += 1;
        }
        if seen.0 > latest {
            changes.push(Changes::Number(Number::LatestSeen, seen.0));
        }
        Ok((expired, if changes.is_empty() { Changes::None } else { Changes::All(changes) }))
    }
}
