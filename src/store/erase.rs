//! Removes a conversation, and all that it left elsewhere.

use std::collections::BTreeSet;

use redb::ReadableTable;

use super::record::Erased;
use super::scope::Scope;
use super::tables::{self, Change, Changes, Number, Tables};
use super::writer::Operation;
use super::{Error, access, disk, episodes, life, taking};

/// See `SessionStore::erase`.
#[derive(Debug)]
pub(super) struct Erase {
    pub(super) scope: Scope,
    /// All of them, and what waits, if none is named.
    pub(super) episode: Option<u64>,
}

impl Operation for Erase {
    type Outcome = Erased;

    fn plan(self, tables: &Tables<'_>) -> Result<(Erased, Changes), Error> {
        let Self { scope, episode } = self;
        let archived = episodes::archived(tables, &scope, 0)?;
        let live = episodes::live(tables, &scope)?;
        let is_last = match episode {
            None => true,
            Some(episode) => live.is_none() && archived.iter().all(|row| row.session.episode == episode),
        };
        let last = live.as_ref().or(archived.last().map(|row| &row.session)).cloned();
        let is_meant = |row: &&disk::Archived| episode.is_none_or(|episode| row.session.episode == episode);
        let (gone, stays): (Vec<_>, Vec<_>) = archived.iter().partition(is_meant);
        let stays = stays.into_iter().map(|row| row.session.clone()).chain(live.clone().filter(|_| episode.is_some()));
        let stays = stays.collect();
        let mut found = Found { tables, stays, scope: &scope, erased: Erased::default(), changes: Vec::new() };
        for row in &gone {
            found.episode(&row.session)?;
            found.changes.push(Change::Archived(row.session.episode, None));
            found.erased.n_archives += 1;
        }
        if let (None, Some(live)) = (episode, &live) {
            found.episode(live)?;
            found.changes.push(Change::Session { from: Some(live.last_active_at), to: None });
        }
        if episode.is_none() || is_last {
            found.changes.extend(taking::end(tables, &scope)?);
        }
        if is_last {
            found.rest()?;
        } else if !gone.is_empty() {
            found.forget_silent_peers()?;
        }
        let Found { erased, changes, .. } = found;
        // Also of one of which nothing was left before: somebody may have looked at it while it went.
        let forgotten = if is_last { access::forget_key(tables, &scope)? } else { None };
        if changes.is_empty() && forgotten.is_none() {
            return Ok((erased, Changes::None));
        }
        let n_erasures = episodes::number(tables, Number::Erasures)?;
        let mut all = vec![Changes::Session(scope, changes), Changes::Number(Number::Erasures, n_erasures + 1)];
        all.extend(forgotten);
        // Whatever worked on the erased must never take what comes next under this key for it.
        if let Some(last) = last.filter(|_| is_last || live.is_none()) {
            all.extend(episodes::used(tables, &last)?);
        }
        Ok((erased, Changes::All(all)))
    }
}

/// What has a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Kind {
    Line,
    Parked,
}

/// Which one a change removes.
fn position(change: &Change) -> Option<(Kind, u64)> {
    match change {
        Change::Line(seq, None) => Some((Kind::Line, *seq)),
        Change::Parked(position, None) => Some((Kind::Parked, *position)),
        _ => None,
    }
}

fn reply(change: &Change) -> Option<u128> {
    if let Change::Delivery(id, None) = change { Some(*id) } else { None }
}

/// What is to go.
struct Found<'t> {
    tables: &'t Tables<'t>,
    /// Rows of conversations that stay.
    stays: Vec<disk::Session>,
    scope: &'t Scope,
    erased: Erased,
    changes: Vec<Change>,
}

impl Found<'_> {
    /// Lines, notes, files, what was set aside, replies.
    fn episode(&mut self, session: &disk::Session) -> Result<(), Error> {
        let (tenant, key) = self.scope.parts();
        let (episode, next) = (session.episode, session.episode.saturating_add(1));
        for row in self.tables.transcript.range(life::lines_of(self.scope, session))? {
            let (id, line) = row?;
            if let disk::Speaker::Peer { message_id, .. } = line.speaker {
                self.changes.push(Change::Unmark { entry: line.address.entry, message_id });
            }
            self.changes.push(Change::Line(id.value().2, None));
            self.erased.n_lines += 1;
        }
        for id in self.tables.notes.keys((tenant, key, episode, 0)..=(tenant, key, episode, u64::MAX))? {
            self.changes.push(Change::Note((episode, id?.value().3), None));
            self.erased.n_notes += 1;
        }
        for id in self.tables.files.keys((tenant, key, episode, "")..(tenant, key, next, ""))? {
            self.changes.push(Change::File((episode, id?.value().3.to_owned()), None));
            self.erased.n_files += 1;
        }
        let is_of_it = |line: u64, answers: &[String], created_at: u64| {
            (session.first_line..=session.n_lines).contains(&line)
                // A notice after the end names the last line before it. The clock may have been set back since an answer.
                && (!answers.is_empty() || created_at <= session.last_active_at)
        };
        for row in self.tables.outbox.range(tables::deliveries(self.scope))? {
            let (id, reply) = row?;
            if is_of_it(reply.line, &reply.answers, reply.created_at) {
                self.changes.push(Change::Delivery(id.value().2, None));
                self.erased.n_replies += 1;
            }
        }
        for row in self.tables.parked.range(tables::positions(self.scope))? {
            let (id, parked) = row?;
            let position = id.value().2;
            let is_in_range = (session.first_parked..=session.n_parked).contains(&position);
            match parked.what {
                disk::ParkedItem::Message(inbound) if is_in_range => self.parked_message(position, *inbound),
                disk::ParkedItem::Delivery(_, reply) if is_of_it(reply.line, &reply.answers, reply.created_at) => {
                    self.parked_reply(position);
                }
                disk::ParkedItem::Message(_) | disk::ParkedItem::Delivery(..) => {}
            }
        }
        Ok(())
    }

    fn parked_message(&mut self, position: u64, inbound: disk::Inbound) {
        let disk::Inbound { identity, message_id, .. } = inbound;
        self.changes.push(Change::Unmark { entry: identity.entry, message_id });
        self.changes.push(Change::Parked(position, None));
        self.erased.n_messages += 1;
    }

    fn parked_reply(&mut self, position: u64) {
        self.changes.push(Change::Parked(position, None));
        self.erased.n_replies += 1;
    }

    /// What belongs to no episode: nothing of the key stays.
    fn rest(&mut self) -> Result<(), Error> {
        let (tenant, key) = self.scope.parts();
        for row in self.tables.inbox.range(tables::positions(self.scope))? {
            let (id, waiting) = row?;
            let disk::Inbound { identity, message_id, .. } = waiting.inbound;
            self.changes.push(Change::Unmark { entry: identity.entry, message_id });
            self.changes.push(Change::Waiting(id.value().2, None));
            self.erased.n_messages += 1;
        }
        let gone: BTreeSet<(Kind, u64)> = self.changes.iter().filter_map(position).collect();
        let replies: BTreeSet<u128> = self.changes.iter().filter_map(reply).collect();
        for id in self.tables.outbox.keys(tables::deliveries(self.scope))? {
            let id = id?.value().2;
            if !replies.contains(&id) {
                self.changes.push(Change::Delivery(id, None));
                self.erased.n_replies += 1;
            }
        }
        for row in self.tables.parked.range(tables::positions(self.scope))? {
            let (id, parked) = row?;
            let position = id.value().2;
            if !gone.contains(&(Kind::Parked, position)) {
                match parked.what {
                    disk::ParkedItem::Message(inbound) => self.parked_message(position, *inbound),
                    disk::ParkedItem::Delivery(..) => self.parked_reply(position),
                }
            }
        }
        for row in self.tables.peers.range((tenant, key, "", "")..(tenant, &*tables::after(key), "", ""))? {
            let (id, _) = row?;
            let (_, _, channel, user) = id.value();
            self.changes.push(Change::User { channel: channel.to_owned(), user: user.to_owned(), is_known: false });
        }
        Ok(())
    }

    /// Those who said nothing in what stays.
    fn forget_silent_peers(&mut self) -> Result<(), Error> {
        let (tenant, key) = self.scope.parts();
        let gone: BTreeSet<(Kind, u64)> = self.changes.iter().filter_map(position).collect();
        let mut speak: BTreeSet<String> = self.stays.iter().filter_map(|row| row.user.clone()).collect();
        for row in self.tables.transcript.range(tables::positions(self.scope))? {
            let (id, line) = row?;
            if !gone.contains(&(Kind::Line, id.value().2))
                && let disk::Speaker::Peer { user: Some(user), .. } = line.speaker
            {
                speak.insert(user);
            }
        }
        for row in self.tables.inbox.range(tables::positions(self.scope))? {
            speak.extend(row?.1.inbound.identity.user);
        }
        for row in self.tables.parked.range(tables::positions(self.scope))? {
            let (id, parked) = row?;
            if !gone.contains(&(Kind::Parked, id.value().2))
                && let disk::ParkedItem::Message(inbound) = parked.what
            {
                speak.extend(inbound.identity.user);
            }
        }
        for row in self.tables.peers.range((tenant, key, "", "")..(tenant, &*tables::after(key), "", ""))? {
            let (id, _) = row?;
            let (_, _, channel, user) = id.value();
            if !speak.contains(user) {
                self.changes.push(Change::User { channel: channel.to_owned(), user: user.to_owned(), is_known: false });
            }
        }
        Ok(())
    }
}
