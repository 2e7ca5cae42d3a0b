//! Moves on what was stamped before the clock was set right.

use redb::ReadableTable;

use crate::clock::Timestamp;

use super::scope::Scope;
use super::tables::{Change, Changes, Tables, hour};
use super::writer::Operation;
use super::{Error, episodes};

/// Conversations that one step moves on.
const MAX_REDATED: usize = 200;

/// See `Store::redate`.
#[derive(Debug)]
pub(super) struct Redate {
    pub(super) first: Timestamp,
    pub(super) last: Timestamp,
    pub(super) by_ms: u64,
}

impl Operation for Redate {
    /// Are more left?
    type Outcome = bool;

    fn plan(self, tables: &Tables<'_>) -> Result<(bool, Changes), Error> {
        let Self { first, last, by_ms } = self;
        let mut changes = Vec::new();
        // Nothing may be moved twice: what was moved must lie behind the range.
        if by_ms <= last.since_ms(first) {
            return Ok((false, Changes::None));
        }
        for row in tables.activity.range((hour(first.0), "", "")..(hour(last.0) + 1, "", ""))? {
            if changes.len() == MAX_REDATED {
                return Ok((true, Changes::All(changes)));
            }
            let (id, _) = row?;
            let (_, tenant, key) = id.value();
            let scope = Scope::restore(tenant, key)?;
            if tables.keyring.is_erasing(tenant) {
                continue;
            }
            let session = match episodes::live(tables, &scope) {
                Err(Error::Value { .. }) => continue,
                found => found?,
            };
            let Some(mut session) = session else { continue };
            let from = session.last_active_at;
            if (first.0..=last.0).contains(&from) {
                session.last_active_at = from.saturating_add(by_ms);
                let change = Change::Session { from: Some(from), to: Some(session) };
                changes.push(Changes::Session(scope, vec![change]));
            }
        }
        Ok((false, if changes.is_empty() { Changes::None } else { Changes::All(changes) }))
    }
}
