//! Removes all that is kept of a tenant.
//!
//! The first step takes its data key away, so that nothing of it can be read from then on, and marks it: until the mark is
//! gone nothing of it is written. The rows follow, a bounded number in each step; the last step removes the mark. What a
//! power cut interrupts goes on at the next start. See docs/adr/0011-encryption-at-rest.md.

use std::ops::Bound;

use redb::{Key, ReadableTable, Value};

use crate::id::TenantId;

use super::scope::tenant_part;
use super::tables::{self, ACTIVITY, Changes, MARKS_BY_TIME, Number, Tables};
use super::writer::Operation;
use super::{Error, disk, episodes};

/// Rows that one step removes.
const MAX_REMOVED: usize = 2_000;
/// Rows that one step reads of an index that does not begin with the tenant.
const MAX_READ: usize = 50_000;

/// See `Store::erase_tenant`.
#[derive(Debug)]
pub(super) struct BeginErasing(pub(super) Option<TenantId>);

impl Operation for BeginErasing {
    /// Conversations, live and archived; `None` when nothing is kept of the tenant.
    type Outcome = Option<u64>;

    fn plan(self, tables: &Tables<'_>) -> Result<(Option<u64>, Changes), Error> {
        let tenant = tenant_part(self.0.as_ref());
        if tables.erasing.get(tenant)?.is_some() {
            return Ok((Some(0), Changes::None));
        }
        if tables.keys.get(tenant)?.is_none() && tables.rows_of(tenant, 1)?.is_empty() {
            return Ok((None, Changes::None));
        }
        let mut used = Used { n_rows: 0, position: 0, episode: 0 };
        let next = tables::after(tenant);
        for row in tables.sessions.range((tenant, "")..(&*next, ""))? {
            used.note(row.map(|(_, session)| session))?;
        }
        for row in tables.archive.range((tenant, "", 0)..(&*next, "", 0))? {
            used.note(row.map(|(_, archived)| archived.session))?;
        }
        // Whatever worked on the erased must never take what comes next under these keys for it.
        let raise =
            |which, value: u64| Ok::<_, Error>(Changes::Number(which, episodes::number(tables, which)?.max(value)));
        let erasures = Changes::Number(Number::Erasures, episodes::number(tables, Number::Erasures)? + 1);
        let (position, episode) =
            (raise(Number::LastPosition, used.position)?, raise(Number::LastEpisode, used.episode)?);
        let begin = Changes::BeginErasing(tenant.to_owned());
        Ok((Some(used.n_rows), Changes::All(vec![erasures, position, episode, begin])))
    }
}

/// What conversations used.
struct Used {
    n_rows: u64,
    position: u64,
    episode: u64,
}

impl Used {
    fn note(&mut self, session: Result<disk::Session, Error>) -> Result<(), Error> {
        self.n_rows += 1;
        match session {
            Ok(session) => {
                self.position = self.position.max(session.n_lines).max(session.n_filed).max(session.n_parked);
                self.episode = self.episode.max(session.episode);
                Ok(())
            }
            // Nobody works on what cannot be read, and it must not be kept for that.
            Err(error @ Error::Value { .. }) => {
                tracing::warn!(%error, "a conversation is erased unread");
                Ok(())
            }
            Err(error) => Err(error),
        }
    }
}

/// What may be left of a tenant.
#[derive(Debug, Clone, Default)]
pub(super) enum Left {
    /// Everything.
    #[default]
    Rows,
    /// What an index says of it, from behind this key.
    Activity(Option<Vec<u8>>),
    /// The same of another.
    Marks(Option<Vec<u8>>),
}

/// The next step, after [`BeginErasing`].
#[derive(Debug)]
pub(super) struct RemoveRows {
    pub(super) tenant: Option<TenantId>,
    pub(super) left: Left,
}

impl Operation for RemoveRows {
    /// What is left; `None` when nothing is.
    type Outcome = Option<Left>;

    fn plan(self, tables: &Tables<'_>) -> Result<(Option<Left>, Changes), Error> {
        let Self { tenant, left } = self;
        let tenant = tenant_part(tenant.as_ref());
        // It was not begun, or somebody else has ended it: what is there now is another's.
        if tables.erasing.get(tenant)?.is_none() {
            return Ok((None, Changes::None));
        }
        let mut rows = Vec::new();
        let left = match left {
            Left::Rows => {
                rows = tables.rows_of(tenant, MAX_REMOVED)?;
                if rows.is_empty() { Left::Activity(None) } else { Left::Rows }
            }
            Left::Activity(after) => {
                let is_its = |(_, of, _): &(u64, &str, &str)| *of == tenant;
                match look_through(&*tables.activity, ACTIVITY.number, after.as_deref(), is_its, &mut rows)? {
                    Some(after) => Left::Activity(Some(after)),
                    None => Left::Marks(None),
                }
            }
            Left::Marks(after) => {
                let is_its = |(_, of, _, _): &(u64, &str, &str, &str)| *of == tenant;
                match look_through(&*tables.marks_by_time, MARKS_BY_TIME.number, after.as_deref(), is_its, &mut rows)? {
                    Some(after) => Left::Marks(Some(after)),
                    None => {
                        // Another erasure may have had the file written anew since the first step.
                        let n_erasures = episodes::number(tables, Number::Erasures)?;
                        let end = vec![
                            Changes::RemoveRows(rows),
                            Changes::Number(Number::Erasures, n_erasures + 1),
                            Changes::EndErasing(tenant.to_owned()),
                        ];
                        return Ok((None, Changes::All(end)));
                    }
                }
            }
        };
        Ok((Some(left), Changes::RemoveRows(rows)))
    }
}

/// Finds rows in a bounded part of a table, from behind a key. Returns the key up to which it looked; `None`: to the end.
fn look_through<K: Key + 'static, V: Value + 'static>(
    table: &impl ReadableTable<K, V>,
    number: u8,
    after: Option<&[u8]>,
    is_wanted: impl for<'k> Fn(&K::SelfType<'k>) -> bool,
    found: &mut Vec<(u8, Vec<u8>)>,
) -> Result<Option<Vec<u8>>, Error> {
    let start = after.map_or(Bound::Unbounded, |after| Bound::Excluded(K::from_bytes(after)));
    for (n, row) in table.range::<K::SelfType<'_>>((start, Bound::Unbounded))?.enumerate() {
        let (key, _) = row?;
        let key = key.value();
        let bytes = || K::as_bytes(&key).as_ref().to_vec();
        if is_wanted(&key) {
            found.push((number, bytes()));
        }
        if n + 1 == MAX_READ || found.len() == MAX_REMOVED {
            return Ok(Some(bytes()));
        }
    }
    Ok(None)
}
