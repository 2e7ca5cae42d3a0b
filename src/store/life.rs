//! How a conversation ends, and how it comes back.

use crate::clock::Timestamp;
use crate::id::FileName;

use super::record::{Delivery, NewDelivery, Restored};
use super::scope::Scope;
use super::tables::{self, Change, Changes, Tables};
use super::versioned::Versioned;
use super::writer::Operation;
use super::{Error, disk, episodes, taking, turn};

/// See `SessionStore::archive`.
#[derive(Debug)]
pub(super) struct Archive {
    pub(super) scope: Scope,
    pub(super) at: Timestamp,
}

impl Operation for Archive {
    /// Was there anything to archive?
    type Outcome = bool;

    fn plan(self, tables: &Tables<'_>) -> Result<(bool, Changes), Error> {
        let Self { scope, at } = self;
        let Some(session) = episodes::live(tables, &scope)? else { return Ok((false, Changes::None)) };
        let waits = episodes::waits(tables, &scope)?;
        if waits && !episodes::has_contents(tables, &scope, &session)? {
            return Ok((false, Changes::None));
        }
        let from = Some(session.last_active_at);
        // What waits keeps its place; it is the beginning of the next one.
        let to = waits.then(|| disk::Session { last_active_at: session.last_active_at, ..session.next(at) });
        let mut changes = vec![episodes::archive(session, at, false), Change::Session { from, to }];
        // What comes next is another conversation, which nobody has taken.
        changes.extend(taking::end(tables, &scope)?);
        Ok((true, Changes::Session(scope, changes)))
    }
}

/// See `SessionStore::begin_anew`.
#[derive(Debug)]
pub(super) struct BeginAnew {
    pub(super) scope: Scope,
    pub(super) seq: u64,
    pub(super) rest: Option<String>,
    pub(super) reply: NewDelivery,
    pub(super) at: Timestamp,
}

impl Operation for BeginAnew {
    type Outcome = Vec<Delivery>;

    fn plan(self, tables: &Tables<'_>) -> Result<(Vec<Delivery>, Changes), Error> {
        let Self { scope, seq, rest, reply, at } = self;
        let mut session = turn::session(tables, &scope)?;
        taking::check_worker(tables, &scope)?;
        let was_active_at = session.last_active_at;
        let mut changes = Vec::new();
        for (seq, mut waiting) in turn::waiting(tables, &scope, vec![seq])? {
            let kept = match &rest {
                Some(rest) => {
                    waiting.inbound.text.clone_from(rest);
                    Some(waiting.encode()?)
                }
                None => None,
            };
            changes.push(Change::Waiting(seq, kept));
        }
        if episodes::has_contents(tables, &scope, &session)? {
            let next = session.next(at);
            changes.push(episodes::archive(session, at, false));
            session = next;
        }
        (session.is_news, session.last_active_at) = (false, at.0);
        let deliveries = turn::send(tables, &scope, [reply], (session.n_lines, None), at, &mut changes)?;
        changes.push(Change::Session { from: Some(was_active_at), to: Some(session) });
        Ok((deliveries, Changes::Session(scope, changes)))
    }
}

/// See `SessionStore::restore`.
#[derive(Debug)]
pub(super) struct Restore {
    pub(super) scope: Scope,
    /// The last one that was archived, if none is named.
    pub(super) episode: Option<u64>,
    pub(super) at: Timestamp,
}

impl Operation for Restore {
    type Outcome = Restored;

    fn plan(self, tables: &Tables<'_>) -> Result<(Restored, Changes), Error> {
        let Self { scope, episode, at } = self;
        let gone = || Error::Gone { what: "archived conversation" };
        let from_episode = match episode {
            Some(episode) => episode,
            None => episodes::last_archived(tables, &scope)?.ok_or_else(gone)?.session.episode,
        };
        let archived = episodes::archived(tables, &scope, from_episode)?;
        let first = archived.first().map(|first| first.session.clone());
        let first = first.filter(|first| first.episode == from_episode).ok_or_else(gone)?;
        let live = episodes::live(tables, &scope)?;
        let from = live.as_ref().map(|live| live.last_active_at);

        // Those between come with it, and the last of them takes in the others.
        let joined: Vec<disk::Session> = archived.into_iter().map(|row| row.session).chain(live).collect();
        let n_said: u64 = joined.iter().map(disk::Session::n_said).sum();
        let agent = joined.iter().rev().find_map(|session| session.agent.clone());
        let last = joined.last().ok_or_else(gone)?.clone();
        let mut to = disk::Session {
            first_line: first.first_line,
            first_parked: first.first_parked,
            is_news: false,
            agent,
            created_at: first.created_at,
            last_active_at: at.0,
            ..last
        };
        to.n_missing = 0;
        to.n_missing = to.n_said().saturating_sub(n_said);

        let gone_rows = joined.iter().filter(|row| from.is_none() || row.episode != to.episode);
        let mut changes: Vec<Change> = gone_rows.map(|row| Change::Archived(row.episode, None)).collect();
        let n_episodes = u64::try_from(changes.len()).unwrap_or(u64::MAX);
        changes.extend(join_memory(tables, &scope, first.episode, to.episode)?);
        changes.push(Change::Session { from, to: Some(to.clone()) });
        let row = to.restore(scope.clone()).or(Err(Error::Value { what: disk::Session::WHAT }))?;
        Ok((Restored { row, n_episodes }, Changes::Session(scope, changes)))
    }
}

/// Notes and files of the episodes `first..=last` become those of `last`: notes numbered anew in their order, and of
/// two files with one name the older gets another.
fn join_memory(tables: &Tables<'_>, scope: &Scope, first: u64, last: u64) -> Result<Vec<Change>, Error> {
    let (tenant, key) = scope.parts();
    let (mut gone, mut kept) = (Vec::new(), Vec::new());
    for (number, row) in (1..).zip(tables.notes.range((tenant, key, first, 0)..=(tenant, key, last, u64::MAX))?) {
        let (id, note) = row?;
        let (_, _, episode, old) = id.value();
        if (episode, old) != (last, number) {
            gone.push(Change::Note((episode, old), None));
            kept.push(Change::Note((last, number), Some(note.encode()?)));
        }
    }
    let Some(after) = last.checked_add(1) else { return Err(Error::Value { what: disk::Session::WHAT }) };
    let mut names: Vec<FileName> = Vec::new();
    let rows = tables.files.range((tenant, key, first, "")..(tenant, key, after, ""))?;
    let mut files: Vec<(u64, String, disk::File)> = rows
        .map(|row| row.map(|(id, file)| (id.value().2, id.value().3.to_owned(), file)))
        .collect::<Result<_, Error>>()?;
    // Newest first, so that the newest keeps its name.
    files.sort_unstable_by(|(one, _, file), (other, _, beside)| (other, &beside.name).cmp(&(one, &file.name)));
    for (episode, tag, file) in files {
        let kept_name = FileName::new(&file.name).or(Err(Error::Value { what: "file name" }))?;
        let is_free = |free: &FileName| !names.iter().any(|other| other.clashes_with(free));
        let free = std::iter::once(kept_name.clone()).chain((2..).map(|n| kept_name.numbered(n))).find(is_free);
        let free = if episode == last { kept_name } else { free.ok_or(Error::Value { what: "file name" })? };
        if episode != last {
            gone.push(Change::File((episode, tag), None));
            let file = disk::File { name: free.to_string(), ..file };
            kept.push(Change::File((last, tables.file_tag(scope, &file.name)?), Some(file.encode()?)));
        }
        names.push(free);
    }
    gone.append(&mut kept);
    Ok(gone)
}

/// All positions of one episode in the transcript.
pub(super) fn lines_of<'s>(
    scope: &'s Scope,
    session: &disk::Session,
) -> std::ops::RangeInclusive<(&'s str, &'s str, u64)> {
    tables::between(scope, session.first_line, session.n_lines)
}
