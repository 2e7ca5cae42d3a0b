//! Moves a conversation to another key.

use std::collections::BTreeMap;

use redb::ReadableTable;

use crate::clock::Timestamp;

use super::record::Moved;
use super::scope::Scope;
use super::tables::{self, Change, Changes, Tables};
use super::versioned::Versioned;
use super::writer::Operation;
use super::{Error, disk, episodes, life, taking};

/// See `TenantStore::move_session`.
#[derive(Debug)]
pub(super) struct MoveSession {
    pub(super) from: Scope,
    pub(super) to: Scope,
    pub(super) at: Timestamp,
}

impl Operation for MoveSession {
    type Outcome = Moved;

    fn plan(self, tables: &Tables<'_>) -> Result<(Moved, Changes), Error> {
        let Self { from, to, at } = self;
        let is_busy = |scope: &Scope| {
            let replies = tables.outbox.keys(tables::deliveries(scope))?.next().transpose()?;
            Ok::<_, Error>(replies.is_some() || episodes::waits(tables, scope)?)
        };
        if from == to || is_busy(&from)? {
            return Err(Error::InUse);
        }
        let (there, here) = (Key::read(tables, &from)?, Key::read(tables, &to)?);
        let Some(last) = there.last().cloned() else { return Err(Error::Gone { what: "conversation" }) };

        let stays = match (&here.live, &there.live) {
            (Some(here), Some(there)) => is_busy(&to)? || here.last_active_at >= there.last_active_at,
            (Some(_), None) => true,
            (None, _) => false,
        };
        let begin = here.last().cloned();
        let mut mover =
            Mover { tables, from: &from, to: &to, next: begin, out: Vec::new(), into: Vec::new(), n_lines: 0 };
        let n_episodes = there.archived.len() + usize::from(there.live.is_some());
        let was_active_at = here.live.as_ref().map(|live| live.last_active_at);

        if let (Some(live), false) = (&here.live, stays) {
            mover.into.push(episodes::archive(live.clone(), at, false));
        }
        for disk::Archived { at, is_expired, session } in there.archived {
            mover.out.push(Change::Archived(session.episode, None));
            let session = mover.take(&from, &session)?;
            mover.into.push(Change::Archived(session.episode, Some(disk::Archived { at, is_expired, session })));
        }
        let mut live = None;
        if let Some(session) = there.live {
            mover.out.push(Change::Session { from: Some(session.last_active_at), to: None });
            let session = mover.take(&from, &session)?;
            match stays {
                true => mover.into.push(episodes::archive(session, at, false)),
                false => live = Some(session),
            }
        }
        let n_lines = mover.n_lines;
        if let (Some(session), true) = (&here.live, stays) {
            // Its lines must stay the last ones: what is said next follows them.
            live = Some(mover.take(&to, session)?);
        }
        if live.is_some() || was_active_at.is_some() {
            mover.into.push(Change::Session { from: was_active_at, to: live });
        }
        // Whoever has the one that stays live keeps it.
        if !stays {
            mover.into.extend(taking::end(tables, &to)?);
        }
        if let Some(row) = tables.taken.get(from.parts())? {
            mover.out.push(Change::Taken(None));
            if !stays {
                mover.into.push(Change::Taken(Some(row.encode()?)));
            }
        }
        mover.peers()?;
        let Mover { out, into, .. } = mover;
        let mut changes = vec![Changes::Session(from, out), Changes::Session(to, into)];
        changes.extend(episodes::used(tables, &last)?);
        let n_episodes = u64::try_from(n_episodes).unwrap_or(u64::MAX);
        Ok((Moved { n_episodes, n_lines }, Changes::All(changes)))
    }
}

/// The conversations under one key.
struct Key {
    live: Option<disk::Session>,
    archived: Vec<disk::Archived>,
}

impl Key {
    fn read(tables: &Tables<'_>, scope: &Scope) -> Result<Self, Error> {
        Ok(Self { live: episodes::live(tables, scope)?, archived: episodes::archived(tables, scope, 0)? })
    }

    fn last(&self) -> Option<&disk::Session> {
        self.live.as_ref().or(self.archived.last().map(|row| &row.session))
    }
}

struct Mover<'m> {
    tables: &'m Tables<'m>,
    from: &'m Scope,
    to: &'m Scope,
    /// The last row under the new key, after which positions go on; `None` keeps those that are.
    next: Option<disk::Session>,
    /// Under the old key.
    out: Vec<Change>,
    /// Under the new one.
    into: Vec<Change>,
    n_lines: u64,
}

impl Mover<'_> {
    /// Puts the contents of an episode of `scope` behind all that is under the new key. Returns its row there.
    fn take(&mut self, scope: &Scope, old: &disk::Session) -> Result<disk::Session, Error> {
        let mut new = match &self.next {
            None => disk::Session { n_lines: old.first_line - 1, n_parked: old.first_parked - 1, ..old.clone() },
            Some(last) => disk::Session { n_filed: last.n_filed.max(old.n_filed), ..old.clone().following(last) },
        };
        let keeps = self.next.is_none();
        let (tenant, key) = scope.parts();
        let mut positions = BTreeMap::new();
        let mut gone = Vec::new();

        for row in self.tables.transcript.range(life::lines_of(scope, old))? {
            let (id, line) = row?;
            let seq = id.value().2;
            new.n_lines = if keeps { seq } else { new.n_lines + 1 };
            positions.insert(seq, new.n_lines);
            gone.push(Change::Line(seq, None));
            self.into.push(Change::Line(new.n_lines, Some(line.encode()?)));
            self.n_lines += 1;
        }
        for row in self.tables.parked.range(tables::between(scope, old.first_parked, old.n_parked))? {
            let (id, mut parked) = row?;
            if let disk::ParkedItem::Delivery(_, delivery) = &mut parked.what {
                delivery.line = positions.get(&delivery.line).copied().unwrap_or(delivery.line);
            }
            new.n_parked = if keeps { id.value().2 } else { new.n_parked + 1 };
            gone.push(Change::Parked(id.value().2, None));
            self.into.push(Change::Parked(new.n_parked, Some(parked.encode()?)));
        }
        if keeps {
            (new.n_lines, new.n_parked) = (old.n_lines, old.n_parked);
        } else {
            new.n_missing = 0;
        }
        let (episode, after) = (old.episode, old.episode.saturating_add(1));
        for row in self.tables.notes.range((tenant, key, episode, 0)..=(tenant, key, episode, u64::MAX))? {
            let (id, note) = row?;
            gone.push(Change::Note((episode, id.value().3), None));
            self.into.push(Change::Note((new.episode, id.value().3), Some(note.encode()?)));
        }
        for row in self.tables.files.range((tenant, key, episode, "")..(tenant, key, after, ""))? {
            let (id, file) = row?;
            gone.push(Change::File((episode, id.value().3.to_owned()), None));
            let tag = self.tables.file_tag(self.to, &file.name)?;
            self.into.push(Change::File((new.episode, tag), Some(file.encode()?)));
        }
        for row in self.tables.outbox.range(tables::deliveries(scope))? {
            let (id, mut delivery) = row?;
            if let Some(line) = positions.get(&delivery.line) {
                delivery.line = *line;
                self.into.push(Change::Delivery(id.value().2, Some(delivery.encode()?)));
            }
        }
        // Positions only grow, so under one key nothing new is where something old was.
        if scope == self.to {
            self.into.append(&mut gone);
        } else {
            self.out.append(&mut gone);
        }
        if !keeps {
            self.next = Some(new.clone());
        }
        Ok(new)
    }

    /// Who wrote there wrote here.
    fn peers(&mut self) -> Result<(), Error> {
        let (tenant, key) = self.from.parts();
        for row in self.tables.peers.range((tenant, key, "", "")..(tenant, &*tables::after(key), "", ""))? {
            let (id, _) = row?;
            let (_, _, channel, user) = id.value();
            let user = |is_known| Change::User { channel: channel.to_owned(), user: user.to_owned(), is_known };
            self.out.push(user(false));
            self.into.push(user(true));
        }
        Ok(())
    }
}
