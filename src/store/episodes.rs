//! The conversations under one key: at most one that lives, and those before it, which are archived.
//!
//! An episode is a range of lines. Positions are never used twice under a key, so ending one writes a row
//! and removes a row, and rewrites no line.

use redb::ReadableTable;

use crate::clock::Timestamp;

use super::scope::Scope;
use super::tables::{self, Change, Changes, Number, Tables};
use super::{Error, disk};

/// The live conversation, if there is one.
pub(super) fn live(tables: &Tables<'_>, scope: &Scope) -> Result<Option<disk::Session>, Error> {
    tables.sessions.get(scope.parts())
}

/// The archived ones from `episode` on, oldest first.
pub(super) fn archived(tables: &Tables<'_>, scope: &Scope, episode: u64) -> Result<Vec<disk::Archived>, Error> {
    let (tenant, key) = scope.parts();
    let rows = tables.archive.range((tenant, key, episode)..=(tenant, key, u64::MAX))?;
    rows.map(|row| Ok(row?.1)).collect()
}

/// The one that was archived last.
pub(super) fn last_archived(tables: &Tables<'_>, scope: &Scope) -> Result<Option<disk::Archived>, Error> {
    Ok(tables.archive.range(tables::positions(scope))?.next_back().transpose()?.map(|(_, row)| row))
}

/// With the positions that come after all that were ever used under this key. Of what was erased nothing is known
/// any more, so they also come after all that were ever erased, under any key.
pub(super) fn begin(tables: &Tables<'_>, scope: &Scope, row: disk::Session) -> Result<disk::Session, Error> {
    let (position, episode) = (number(tables, Number::LastPosition)?, number(tables, Number::LastEpisode)?);
    let last = last_archived(tables, scope)?.map(|last| last.session);
    let used = |used: fn(&disk::Session) -> u64| last.as_ref().map_or(0, used);
    let last = disk::Session {
        episode: used(|last| last.episode).max(episode),
        n_lines: used(|last| last.n_lines).max(position),
        n_filed: used(|last| last.n_filed).max(position),
        n_parked: used(|last| last.n_parked).max(position),
        ..row.clone()
    };
    Ok(row.following(&last))
}

/// Does a message wait?
pub(super) fn waits(tables: &Tables<'_>, scope: &Scope) -> Result<bool, Error> {
    Ok(tables.inbox.keys(tables::positions(scope))?.next().transpose()?.is_some())
}

/// Archives the live conversation; its row is for the caller to remove or to replace.
pub(super) fn archive(session: disk::Session, at: Timestamp, is_expired: bool) -> Change {
    let archived = disk::Archived { at: at.0, is_expired, session };
    Change::Archived(archived.session.episode, Some(archived))
}

/// Where the next item is set aside, and the row that then knows of it.
pub(super) fn next_parked(tables: &Tables<'_>, scope: &Scope) -> Result<(u64, Change), Error> {
    if let Some(mut session) = live(tables, scope)? {
        session.n_parked += 1;
        return Ok((session.n_parked, Change::Session { from: Some(session.last_active_at), to: Some(session) }));
    }
    let mut last = last_archived(tables, scope)?.ok_or(Error::Gone { what: "conversation" })?;
    last.session.n_parked += 1;
    Ok((last.session.n_parked, Change::Archived(last.session.episode, Some(last))))
}

/// Was anything said or kept in it?
pub(super) fn has_contents(tables: &Tables<'_>, scope: &Scope, session: &disk::Session) -> Result<bool, Error> {
    let (tenant, key) = scope.parts();
    let (episode, next) = (session.episode, session.episode.saturating_add(1));
    let mut notes = tables.notes.keys((tenant, key, episode, 0)..=(tenant, key, episode, u64::MAX))?;
    let mut files = tables.files.keys((tenant, key, episode, "")..(tenant, key, next, ""))?;
    Ok(session.n_said() > 0 || notes.next().transpose()?.is_some() || files.next().transpose()?.is_some())
}

/// A number of the whole file; none is zero.
pub(super) fn number(tables: &Tables<'_>, number: Number) -> Result<u64, Error> {
    Ok(tables.numbers.get(number.name())?.map_or(0, |value| value.value()))
}

/// Keeps in mind that these positions were used, when the row that says so goes.
pub(super) fn used(tables: &Tables<'_>, last: &disk::Session) -> Result<[Changes; 2], Error> {
    let raise = |which, value: u64| Ok::<_, Error>(Changes::Number(which, number(tables, which)?.max(value)));
    let position = last.n_lines.max(last.n_filed).max(last.n_parked);
    Ok([raise(Number::LastPosition, position)?, raise(Number::LastEpisode, last.episode)?])
}
