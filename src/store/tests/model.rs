//! Random lives of a store, compared with maps in memory.

use std::collections::{BTreeMap, BTreeSet};

use super::disk::{Disk, Survivors};
use super::*;
use crate::store::{Counts, Error, Filed, Filter, Speaker, Speech, Spoken, Taken, Taking, Unparked};

const TENANTS: [&str; 3] = ["", "a", "a-b"];
const KEYS: [&str; 3] = ["a", "a:b", "aa"];

/// Tenant, key.
type Place = (&'static str, &'static str);

/// Positions count from the first message that waits there, which is 1.
#[derive(Debug, Clone)]
enum Op {
    File {
        place: Place,
        user: &'static str,
        message_id: u8,
        at: u64,
        ttl_ms: Option<u64>,
    },
    Turn {
        place: Place,
        seqs: Vec<u64>,
        n_replies: usize,
        at: u64,
    },
    Postpone {
        place: Place,
        seqs: Vec<u64>,
        notices: bool,
        at: u64,
    },
    Park {
        place: Place,
        seqs: Vec<u64>,
        notices: bool,
        at: u64,
    },
    /// Of the delivery with this number among those that wait at `from`, said at `place`.
    Progress {
        place: Place,
        from: Place,
        n: usize,
        step: Step,
    },
    /// The item with this number among those that were set aside at `from`, said at `place`.
    Unpark {
        place: Place,
        from: Place,
        n: usize,
        at: u64,
        ttl_ms: Option<u64>,
    },
    DropParked {
        place: Place,
        from: Place,
        n: usize,
    },
    Prune {
        before: u64,
    },
    Archive {
        place: Place,
        at: u64,
    },
    BeginAnew {
        place: Place,
        seq: u64,
        keeps_rest: bool,
        at: u64,
    },
    Restore {
        place: Place,
        episode: Option<u64>,
        at: u64,
    },
    Expire {
        before: u64,
        seen: u64,
        spare: Option<(u64, u64)>,
    },
    Erase {
        place: Place,
    },
    Take {
        place: Place,
        by: &'static str,
        from_others: bool,
        at: u64,
    },
    HandBack {
        place: Place,
        unless_since: Option<u64>,
    },
    Speak {
        place: Place,
        by: &'static str,
        seqs: Vec<u64>,
        once: Option<u8>,
        at: u64,
    },
    /// To another key of the tenant; the model knows it only for keys where nothing is.
    Move {
        tenant: &'static str,
        from: &'static str,
        to: &'static str,
    },
    /// After a power cut.
    Reopen {
        survivors: Survivors,
    },
}

#[derive(Debug, Clone, Copy)]
enum Step {
    Start,
    Unstart,
    Settle,
    Park,
}

#[derive(Debug, Default)]
struct Model {
    sessions: BTreeMap<Place, Session>,
    /// Tenant, message id → time. There is one entry.
    marks: BTreeMap<(&'static str, u8), u64>,
    /// Tenant, mark of what a person said → time.
    said: BTreeMap<(&'static str, u8), u64>,
    users: BTreeSet<(&'static str, &'static str, &'static str)>,
    latest_seen: u64,
    /// Positions and episodes that were used where nothing is left.
    used: (u64, u64),
}

#[derive(Debug, Default)]
struct Session {
    view: View,
    n_filed: u64,
    n_parked: u64,
    /// Of those in the archive, did time end them?
    is_expired: Vec<bool>,
    /// Of `view.undelivered`.
    ids: Vec<String>,
    /// Of replies in `view.parked`, by their position.
    parked_ids: BTreeMap<u64, String>,
}

impl Model {
    fn file(&mut self, place: Place, message: &Inbound, user: &'static str, message_id: u8, life: Life) -> Filed {
        let at = message.received_at;
        if self.marks.contains_key(&(place.0, message_id)) {
            return Filed::Duplicate;
        }
        self.marks.insert((place.0, message_id), at.0);
        self.put(place, message, user, None, life);
        Filed::New
    }

    fn put(&mut self, place: Place, message: &Inbound, user: &'static str, unparked_at: Option<Timestamp>, life: Life) {
        let at = unparked_at.unwrap_or(message.received_at);
        self.users.insert((place.0, user, place.1));
        let used = self.used;
        let session = self.sessions.entry(place).or_default();
        let last = session.view.row.clone();
        if let Some(row) = &last
            && session.view.waiting.is_empty()
            && session.view.taken.is_none()
            && life.ttl_ms.is_some_and(|ttl| at.0.saturating_sub(row.last_active_at.0) > ttl)
        {
            session.end(at, true);
        }
        let (mut episode, mut last_line, mut is_news) = (0, 0, false);
        if let Some((over, _)) = session.view.archived.last() {
            (episode, last_line) = (over.session.episode, over.session.last_line);
            is_news = session.is_expired.last() == Some(&true) && life.says_new;
        }
        if last.is_none() {
            (last_line, episode) = (last_line.max(used.0), episode.max(used.1));
            (session.n_filed, session.n_parked) = (session.n_filed.max(used.0), session.n_parked.max(used.0));
        }
        session.n_filed += 1;
        let (seq, inbound) = (session.n_filed, message.clone());
        let waiting = Waiting { seq, inbound, n_tries: 0, is_told: false, unparked_at };
        session.view.waiting.push(waiting);
        let identity = message.identity.clone();
        let row = session.view.row.get_or_insert_with(|| SessionRow {
            tenant: identity.tenant,
            key: key(place.1),
            kind: identity.kind,
            parent: identity.parent,
            entry: identity.entry,
            channel: identity.channel,
            account: identity.account,
            workspace: identity.workspace,
            server: identity.server,
            room: identity.room,
            thread: identity.thread,
            user: identity.user,
            user_name: None,
            agent: None,
            episode: episode + 1,
            first_line: last_line + 1,
            last_line,
            n_messages: 0,
            is_news,
            created_at: at,
            last_active_at: at,
        });
        row.last_active_at = row.last_active_at.max(at);
        if unparked_at.is_none() || row.user_name.is_none() {
            row.user_name = message.user_name.clone();
        }
    }

    /// The positions that an operation means.
    fn positions(&self, place: Place, numbers: &[u64]) -> Vec<u64> {
        let waiting = self.sessions.get(&place).and_then(|session| session.view.waiting.first());
        let before = waiting.map_or(0, |first| first.seq - 1);
        numbers.iter().map(|n| before + n).collect()
    }

    /// The same, for a turn of the worker.
    fn unless_taken(&mut self, place: Place, seqs: &[u64]) -> Option<&mut Session> {
        self.waiting(place, seqs).filter(|known| known.view.taken.is_none())
    }

    /// The conversation, when all of these wait in it.
    fn waiting(&mut self, place: Place, seqs: &[u64]) -> Option<&mut Session> {
        let session = self.sessions.get_mut(&place).filter(|session| session.view.row.is_some())?;
        let waits = |seq: &u64| session.view.waiting.iter().any(|waiting| waiting.seq == *seq);
        seqs.iter().all(waits).then_some(session)
    }

    fn is_parked(&self, place: Place, position: u64) -> bool {
        let known = self.sessions.get(&place);
        known.is_some_and(|known| known.view.parked.iter().any(|parked| parked.position == position))
    }

    fn counts(&self) -> Counts {
        let sum = |len: fn(&View) -> usize| self.sessions.values().map(|session| len(&session.view) as u64).sum();
        Counts {
            sessions: self.sessions.values().filter(|session| session.view.row.is_some()).count() as u64,
            archived: sum(|view| view.archived.len()),
            waiting: sum(|view| view.waiting.len()),
            undelivered: sum(|view| view.undelivered.len()),
            parked: sum(|view| view.parked.len()),
            taken: sum(|view| usize::from(view.taken.is_some())),
            for_people: sum(|view| if view.taken.is_some() { view.waiting.len() } else { 0 }),
        }
    }
}

impl Session {
    fn take(&mut self, seqs: &[u64]) -> Vec<Waiting> {
        self.view.waiting.extract_if(.., |waiting| seqs.contains(&waiting.seq)).collect()
    }

    /// Archives the live conversation.
    fn end(&mut self, at: Timestamp, is_expired: bool) {
        let session = self.view.row.take().unwrap();
        self.view.archived.push((ArchivedRow { session, archived_at: at }, std::mem::take(&mut self.view.lines)));
        self.is_expired.push(is_expired);
        self.view.taken = None;
    }

    /// The one after it, in the same place.
    fn next(&mut self, at: u64, last_active_at: u64) {
        let row = self.view.archived.last().unwrap().0.session.clone();
        self.view.row = Some(SessionRow {
            agent: None,
            episode: row.episode + 1,
            first_line: row.last_line + 1,
            n_messages: 0,
            is_news: false,
            created_at: Timestamp(at),
            last_active_at: Timestamp(last_active_at),
            ..row
        });
    }

    fn say(&mut self, at: Timestamp, speaker: Speaker, text: String, address: ReplyAddress) {
        let row = self.view.row.as_mut().unwrap();
        row.n_messages += 1;
        row.last_line += 1;
        self.view.lines.push(Line { seq: row.last_line, at, speaker, text, address });
    }

    fn set_aside(&mut self, at: u64, reason: &str, what: ParkedItem) {
        self.n_parked += 1;
        let (position, at) = (self.n_parked, Timestamp(at));
        self.view.parked.push(Parked { position, at, reason: reason.to_owned(), what });
    }

    /// The store made these deliveries for these replies.
    fn sent(&mut self, place: Place, deliveries: Vec<Delivery>, contents: Vec<NewDelivery>, at: u64) {
        assert_eq!(deliveries.len(), contents.len());
        for (delivery, content) in deliveries.into_iter().zip(contents) {
            assert!(self.ids.last().is_none_or(|newest| *newest < delivery.id));
            self.ids.push(delivery.id);
            self.view.undelivered.push(Delivery {
                id: String::new(),
                tenant: tenant(place.0),
                key: key(place.1),
                seq: self.view.row.as_ref().unwrap().last_line,
                created_at: Timestamp(at),
                unparked_at: None,
                is_started: false,
                content,
            });
        }
    }
}

async fn run(store: &Store, model: &mut Model, op: Op) {
    let session = |place: Place| store.tenant(tenant(place.0).as_ref()).session(&key(place.1));
    match op {
        Op::File { place, user, message_id, at, ttl_ms } => {
            let life = Life { ttl_ms, says_new: true };
            let message = inbound(place.0, user, &message_id.to_string(), at);
            let filed = store.tenant(tenant(place.0).as_ref()).file(&key(place.1), &message, life).await.unwrap();
            assert_eq!(filed, model.file(place, &message, user, message_id, life));
        }
        Op::Turn { place, seqs, n_replies, at } => {
            let seqs = model.positions(place, &seqs);
            // Some say what the line says.
            let text = |n: usize| {
                if (usize::try_from(at).unwrap() + n).is_multiple_of(2) { "answer".to_owned() } else { n.to_string() }
            };
            let replies: Vec<_> = (0..n_replies).map(|n| reply("m", &text(n))).collect();
            let row = session(place).row().unwrap();
            let (episode, first_line) = row.map_or((0, 0), |row| (row.episode, row.first_line));
            let answer = Turn { episode, first_line, ..turn(seqs.clone(), "answer", replies.clone(), at) };
            let committed = session(place).commit_turn(answer).await;
            let Some(known) = model.unless_taken(place, &seqs).filter(|_| !seqs.is_empty()) else {
                return assert!(matches!(committed, Err(Error::Gone { .. })), "{committed:?}");
            };
            let mut address = None;
            for Waiting { inbound, .. } in known.take(&seqs) {
                let Inbound { identity, user_name: name, message_id, received_at, text, reply_to, .. } = inbound;
                address = Some(reply_to.clone());
                known.say(received_at, Speaker::Peer { user: identity.user, name, message_id }, text, reply_to);
            }
            let address = replies.first().map(|reply| reply.address.clone()).or(address).unwrap();
            let agent = AgentId::new("reception").unwrap();
            known.say(Timestamp(at), Speaker::Agent(agent.clone()), "answer".into(), address);
            let row = known.view.row.as_mut().unwrap();
            (row.agent, row.last_active_at, row.is_news) = (Some(agent), row.last_active_at.max(Timestamp(at)), false);
            known.sent(place, committed.unwrap(), replies, at);
        }
        Op::Postpone { place, seqs, notices, at } => {
            let seqs = model.positions(place, &seqs);
            let notice = notices.then(|| reply("m", "wait"));
            let postponed = session(place).postpone(seqs.clone(), notice.clone(), Timestamp(at)).await;
            let Some(known) = model.unless_taken(place, &seqs) else {
                return assert!(matches!(postponed, Err(Error::Gone { .. })), "{postponed:?}");
            };
            for waiting in known.view.waiting.iter_mut().filter(|waiting| seqs.contains(&waiting.seq)) {
                waiting.n_tries += 1;
                waiting.is_told |= notices;
            }
            known.sent(place, postponed.unwrap(), notice.into_iter().collect(), at);
        }
        Op::Park { place, seqs, notices, at } => {
            let seqs = model.positions(place, &seqs);
            let notice = notices.then(|| reply("m", "sorry"));
            let parked = session(place).park(seqs.clone(), "why".into(), notice.clone(), Timestamp(at)).await;
            let Some(known) = model.unless_taken(place, &seqs) else {
                return assert!(matches!(parked, Err(Error::Gone { .. })), "{parked:?}");
            };
            for Waiting { inbound, .. } in known.take(&seqs) {
                let what = ParkedItem::Message(inbound);
                known.set_aside(at, "why", what);
            }
            known.sent(place, parked.unwrap(), notice.into_iter().collect(), at);
        }
        Op::Progress { place, from, n, step } => {
            let id = model.sessions.get(&from).and_then(|known| known.ids.get(n).cloned()).unwrap_or_default();
            let result = match step {
                Step::Start => session(place).start_delivery(&id).await,
                Step::Unstart => session(place).unstart_delivery(&id).await,
                Step::Settle => session(place).settle_delivery(&id).await,
                Step::Park => session(place).park_delivery(&id, "unclear".into(), Timestamp(7)).await,
            };
            let Some(known) = model.sessions.get_mut(&from).filter(|_| place == from && !id.is_empty()) else {
                return assert!(matches!(result, Err(Error::Gone { .. })), "{result:?}");
            };
            result.unwrap();
            match step {
                Step::Start | Step::Unstart => {
                    known.view.undelivered[n].is_started = matches!(step, Step::Start);
                }
                Step::Settle | Step::Park => {
                    let id = known.ids.remove(n);
                    let delivery = known.view.undelivered.remove(n);
                    if matches!(step, Step::Park) {
                        let what = ParkedItem::Delivery(delivery);
                        known.set_aside(7, "unclear", what);
                        known.parked_ids.insert(known.n_parked, id);
                    }
                }
            }
        }
        Op::Unpark { place, from, n, at, ttl_ms } => {
            let life = Life { ttl_ms, says_new: true };
            let parked = model.sessions.get(&from).and_then(|known| known.view.parked.get(n)).cloned();
            // Of another key, only when nothing has this position there.
            let position = parked.as_ref().map_or(0, |parked| parked.position);
            if place != from && model.is_parked(place, position) {
                return;
            }
            let unparked = session(place).unpark(position, life, Timestamp(at)).await;
            let Some(parked) = parked.filter(|_| place == from) else {
                return assert!(matches!(unparked, Err(Error::Gone { .. })), "{unparked:?}");
            };
            let known = model.sessions.get_mut(&place).unwrap();
            known.view.parked.remove(n);
            match parked.what {
                ParkedItem::Message(message) => {
                    assert_eq!(unparked.unwrap(), Unparked::Message);
                    let user = message.identity.user.as_ref().map(OpaqueId::as_str);
                    let user = ["u", "v"].into_iter().find(|known| user == Some(known)).unwrap();
                    model.put(place, &message, user, Some(Timestamp(at)), life);
                }
                ParkedItem::Delivery(delivery) => {
                    let id = known.parked_ids.remove(&position).unwrap();
                    let Ok(Unparked::Delivery(name)) = unparked else { panic!("{unparked:?}") };
                    assert_eq!((&name.id, &name.address), (&id, &delivery.content.address));
                    let n = known.ids.partition_point(|other| *other < id);
                    known.ids.insert(n, id);
                    let unparked_at = Some(Timestamp(at));
                    known.view.undelivered.insert(n, Delivery { unparked_at, is_started: false, ..delivery });
                }
            }
        }
        Op::DropParked { place, from, n } => {
            let parked = model.sessions.get(&from).and_then(|known| known.view.parked.get(n));
            let position = parked.map_or(0, |parked| parked.position);
            let is_there = model.is_parked(place, position);
            let n_dropped = session(place).drop_parked(vec![position, position]).await.unwrap();
            assert_eq!(n_dropped, usize::from(is_there));
            if let Some(known) = model.sessions.get_mut(&place) {
                known.view.parked.retain(|parked| parked.position != position);
                known.parked_ids.remove(&position);
            }
        }
        Op::Prune { before } => {
            assert!(!store.prune_marks(Timestamp(before), None).await.unwrap());
            model.marks.retain(|_, at| *at >= before);
            model.said.retain(|_, at| *at >= before);
        }
        Op::Archive { place, at } => {
            let archived = session(place).archive(Timestamp(at)).await.unwrap();
            let Some(known) = model.sessions.get_mut(&place) else { return assert!(!archived) };
            let (waits, is_empty) = (!known.view.waiting.is_empty(), known.view.lines.is_empty());
            let expected = known.view.row.is_some() && !(waits && is_empty);
            assert_eq!(archived, expected);
            if expected {
                let last_active_at = known.view.row.as_ref().unwrap().last_active_at;
                known.end(Timestamp(at), false);
                if waits {
                    known.next(at, last_active_at.0);
                }
            }
        }
        Op::BeginAnew { place, seq, keeps_rest, at } => {
            let seq = model.positions(place, &[seq])[0];
            let (rest, notice) = (keeps_rest.then(|| "rest".to_owned()), reply("m", "new"));
            let said = session(place).begin_anew(seq, rest, notice.clone(), Timestamp(at)).await;
            let Some(known) = model.unless_taken(place, &[seq]) else {
                return assert!(matches!(said, Err(Error::Gone { .. })), "{said:?}");
            };
            match keeps_rest {
                true => {
                    let waiting = known.view.waiting.iter_mut().find(|waiting| waiting.seq == seq).unwrap();
                    waiting.inbound.text = "rest".to_owned();
                }
                false => drop(known.take(&[seq])),
            }
            if !known.view.lines.is_empty() {
                known.end(Timestamp(at), false);
                known.next(at, at);
            }
            let row = known.view.row.as_mut().unwrap();
            (row.is_news, row.last_active_at) = (false, Timestamp(at));
            known.sent(place, said.unwrap(), vec![notice], at);
        }
        Op::Restore { place, episode, at } => {
            let restored = session(place).restore(episode, Timestamp(at)).await;
            let known = model.sessions.entry(place).or_default();
            let episodes: Vec<u64> = known.view.archived.iter().map(|(row, _)| row.session.episode).collect();
            let first =
                episode.or(episodes.last().copied()).and_then(|e| episodes.iter().position(|known| *known == e));
            let Some(first) = first else {
                return assert!(matches!(restored, Err(Error::Gone { .. })), "{restored:?}");
            };
            known.is_expired.truncate(first);
            let joined = known.view.archived.split_off(first);
            let first = joined[0].0.session.clone();
            let rows = joined.iter().map(|(row, _)| row.session.clone()).chain(known.view.row.clone());
            let rows: Vec<SessionRow> = rows.collect();
            let lines = joined.into_iter().flat_map(|(_, lines)| lines);
            known.view.lines = lines.chain(std::mem::take(&mut known.view.lines)).collect();
            let agent = rows.iter().rev().find_map(|row| row.agent.clone());
            known.view.row = rows.last().cloned().map(|last| SessionRow {
                first_line: first.first_line,
                n_messages: known.view.lines.len() as u64,
                is_news: false,
                agent,
                created_at: first.created_at,
                last_active_at: Timestamp(at),
                ..last
            });
            assert_eq!(Some(restored.unwrap().row), known.view.row);
        }
        Op::Expire { before, seen, spare } => {
            let times = spare.map(|(first, last)| (Timestamp(first), Timestamp(last)));
            let expired = store.expire(Timestamp(before), Timestamp(seen), times).await.unwrap();
            let is_over = |at: u64| at < before && spare.is_none_or(|(first, last)| at < first || at > last);
            let is_due = |session: &&mut Session| {
                session.view.waiting.is_empty()
                    && session.view.taken.is_none()
                    && session.view.row.as_ref().is_some_and(|row| is_over(row.last_active_at.0))
            };
            let due = model.sessions.values_mut().filter(is_due).map(|session| session.end(Timestamp(seen), true));
            assert_eq!(expired.n_archived, due.count() as u64);
            model.latest_seen = model.latest_seen.max(seen);
            assert_eq!(store.latest_seen().unwrap().unwrap_or_default(), Timestamp(model.latest_seen));
        }
        Op::Erase { place } => {
            let erased = session(place).erase(None).await.unwrap();
            let gone = model.sessions.remove(&place).unwrap_or_default();
            let View { row, waiting, lines, undelivered, parked, archived, taken: _, notes: _, files: _ } = gone.view;
            let is_message = |parked: &&Parked| matches!(parked.what, ParkedItem::Message(_));
            let n_parked_messages = parked.iter().filter(is_message).count();
            let n_lines = lines.len() + archived.iter().map(|(_, lines)| lines.len()).sum::<usize>();
            assert_eq!((erased.n_lines, erased.n_archives), (n_lines as u64, archived.len() as u64));
            assert_eq!(erased.n_messages, (waiting.len() + n_parked_messages) as u64);
            assert_eq!(erased.n_replies, (undelivered.len() + parked.len() - n_parked_messages) as u64);
            model.users.retain(|(of, _, key)| (*of, *key) != place);
            let messages = waiting.iter().map(|waiting| waiting.inbound.message_id.to_string());
            let said = lines.iter().chain(archived.iter().flat_map(|(_, lines)| lines)).filter_map(|line| match &line
                .speaker
            {
                Speaker::Peer { message_id, .. } => Some(message_id.to_string()),
                Speaker::Agent(_) | Speaker::Person(_) => None,
            });
            let set_aside = parked.iter().filter_map(|parked| match &parked.what {
                ParkedItem::Message(inbound) => Some(inbound.message_id.to_string()),
                ParkedItem::Delivery(_) => None,
            });
            let forgotten: BTreeSet<String> = messages.chain(said).chain(set_aside).collect();
            model.marks.retain(|(of, message_id), _| *of != place.0 || !forgotten.contains(&message_id.to_string()));
            if let Some(last) = row.or(archived.last().map(|(row, _)| row.session.clone())) {
                let position = last.last_line.max(gone.n_filed).max(gone.n_parked);
                model.used = (model.used.0.max(position), model.used.1.max(last.episode));
            }
        }
        Op::Take { place, by, from_others, at } => {
            let taking = session(place).take(by.to_owned(), from_others, Timestamp(at)).await;
            let Some(known) = model.sessions.get_mut(&place).filter(|known| known.view.row.is_some()) else {
                return assert!(matches!(taking, Err(Error::Gone { .. })), "{taking:?}");
            };
            let taken = match known.view.taken.take() {
                Some(other) if other.by != by && !from_others => {
                    known.view.taken = Some(other.clone());
                    return assert_eq!(taking.unwrap(), Taking::Others(other));
                }
                Some(own) if own.by == by => Taken { spoke_at: Timestamp(at), ..own },
                _ => Taken { by: by.to_owned(), since: Timestamp(at), spoke_at: Timestamp(at) },
            };
            known.view.taken = Some(taken.clone());
            assert_eq!(taking.unwrap(), Taking::Theirs(taken));
        }
        Op::HandBack { place, unless_since } => {
            let handed_back = session(place).hand_back(unless_since.map(Timestamp)).await.unwrap();
            let known = model.sessions.get_mut(&place);
            let taken = known.and_then(|known| {
                known.view.taken.take_if(|taken| unless_since.is_none_or(|since| taken.spoke_at.0 <= since))
            });
            assert_eq!(handed_back, taken.is_some());
        }
        Op::Speak { place, by, seqs, once, at } => {
            let seqs = model.positions(place, &seqs);
            let replies = vec![reply("m", "hello"), NewDelivery { answers: vec![], ..reply("m", "here") }];
            let speech = Speech {
                by: by.to_owned(),
                answered: seqs.clone(),
                text: "hello".to_owned(),
                deliveries: replies.clone(),
                once: once.map(|once| once.to_string()),
                at: Timestamp(at),
            };
            let spoken = session(place).speak(speech).await;
            let is_repeat = once.is_some_and(|once| model.said.contains_key(&(place.0, once)));
            let Some(known) = model.sessions.get_mut(&place).filter(|known| known.view.row.is_some()) else {
                return assert!(matches!(spoken, Err(Error::Gone { .. })), "{spoken:?}");
            };
            if known.view.taken.as_ref().is_none_or(|taken| taken.by != by) {
                return assert_eq!(spoken.unwrap(), Spoken::NotTheirs(known.view.taken.clone()));
            }
            if is_repeat {
                return assert_eq!(spoken.unwrap(), Spoken::Repeat);
            }
            let Some(known) = model.waiting(place, &seqs) else {
                return assert!(matches!(spoken, Err(Error::Gone { .. })), "{spoken:?}");
            };
            for Waiting { inbound, .. } in known.take(&seqs) {
                let Inbound { identity, user_name: name, message_id, received_at, text, reply_to, .. } = inbound;
                known.say(received_at, Speaker::Peer { user: identity.user, name, message_id }, text, reply_to);
            }
            let address = replies[0].address.clone();
            known.say(Timestamp(at), Speaker::Person(by.to_owned()), "hello".into(), address);
            let row = known.view.row.as_mut().unwrap();
            (row.last_active_at, row.is_news) = (row.last_active_at.max(Timestamp(at)), false);
            let taken = known.view.taken.as_mut().unwrap();
            taken.spoke_at = taken.spoke_at.max(Timestamp(at));
            let Spoken::New(deliveries) = spoken.unwrap() else { panic!("nothing was said") };
            known.sent(place, deliveries, replies, at);
            model.said.extend(once.map(|once| ((place.0, once), at)));
        }
        Op::Move { tenant: of, from, to } => {
            let is_there = |place: Place| {
                model
                    .sessions
                    .get(&place)
                    .is_some_and(|known| known.view.row.is_some() || !known.view.archived.is_empty())
            };
            if is_there((of, to)) {
                return;
            }
            let conversations = store.tenant(tenant(of).as_ref());
            let moved = conversations.move_session(&key(from), &key(to), Timestamp(9)).await;
            let known = model.sessions.get(&(of, from));
            let is_busy = |known: &Session| !known.view.waiting.is_empty() || !known.view.undelivered.is_empty();
            if from == to || known.is_some_and(is_busy) {
                return assert!(matches!(moved, Err(Error::InUse)), "{moved:?}");
            }
            if !is_there((of, from)) {
                return assert!(matches!(moved, Err(Error::Gone { .. })), "{moved:?}");
            }
            moved.unwrap();
            let mut known = model.sessions.remove(&(of, from)).unwrap();
            let rows = known.view.archived.iter_mut().map(|(row, _)| &mut row.session).chain(&mut known.view.row);
            let mut last = (0, 0);
            for row in rows {
                row.key = key(to);
                last = (row.last_line, row.episode);
            }
            let position = last.0.max(known.n_filed).max(known.n_parked);
            model.used = (model.used.0.max(position), model.used.1.max(last.1));
            for parked in &mut known.view.parked {
                if let ParkedItem::Delivery(delivery) = &mut parked.what {
                    delivery.key = key(to);
                }
            }
            let users: Vec<_> = model.users.extract_if(.., |(t, _, key)| (*t, *key) == (of, from)).collect();
            model.users.extend(users.into_iter().map(|(of, user, _)| (of, user, to)));
            model.sessions.insert((of, to), known);
        }
        Op::Reopen { .. } => unreachable!("it was done before"),
    }
}

fn compare(store: &Store, model: &Model) {
    assert_sound(store);
    for tenant_id in TENANTS {
        let conversations = store.tenant(tenant(tenant_id).as_ref());
        for key_text in KEYS {
            let known = model.sessions.get(&(tenant_id, key_text)).map(|session| session.view.clone());
            assert_eq!(view(store, tenant_id, key_text), known.unwrap_or_default(), "{tenant_id:?} {key_text}");
        }
        let rows = conversations.sessions(&Filter { limit: 99, ..Filter::default() }).unwrap();
        let known = model.sessions.iter().filter(|((of, _), _)| *of == tenant_id);
        assert_eq!(rows, known.filter_map(|(_, session)| session.view.row.clone()).collect::<Vec<_>>());
        for user in ["u", "v"] {
            let found = conversations.find(&ChannelType::new("slack").unwrap(), &id(user)).unwrap();
            let known = model.users.iter().filter(|(of, who, _)| *of == tenant_id && *who == user);
            let known: Vec<_> = known.map(|(_, _, key)| *key).collect();
            let is_live = |key: &&&str| model.sessions[&(tenant_id, **key)].view.row.is_some();
            let live: Vec<&str> = known.iter().filter(is_live).copied().collect();
            assert_eq!(found.live.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), live);
            let archived = known.iter().flat_map(|key| &model.sessions[&(tenant_id, *key)].view.archived);
            assert_eq!(found.archived, archived.map(|(row, _)| row.clone()).collect::<Vec<_>>());
        }
    }
    for tenant_id in TENANTS {
        let of = store.tenant(tenant(tenant_id).as_ref());
        let (mut waits, mut aside) = (Vec::<(SessionKey, String)>::new(), Vec::<(SessionKey, u64)>::new());
        // In pages of two, to their end.
        loop {
            let page = of.undelivered(None, waits.last().map(|(key, id)| (key, &**id)), 2).unwrap();
            waits.extend(page.iter().map(|delivery| (delivery.key.clone(), delivery.id.clone())));
            if page.is_empty() {
                break;
            }
        }
        loop {
            let page = of.parked(None, aside.last().map(|(key, position)| (key, *position)), 2).unwrap();
            aside.extend(page.iter().map(|(key, parked)| (key.clone(), parked.position)));
            if page.is_empty() {
                break;
            }
        }
        let known = || model.sessions.iter().filter(|((of, _), _)| *of == tenant_id);
        let ids = known().flat_map(|((_, k), known)| known.ids.iter().map(|id| (key(k), id.clone())));
        assert_eq!(waits, ids.collect::<Vec<_>>());
        let positions =
            known().flat_map(|((_, k), known)| known.view.parked.iter().map(|item| (key(k), item.position)));
        assert_eq!(aside, positions.collect::<Vec<_>>());
        let is_named = store.tenants_with_deliveries().unwrap().contains(&tenant(tenant_id));
        assert_eq!(is_named, !waits.is_empty() || !aside.is_empty());
    }
    assert_eq!(store.counts().unwrap(), model.counts());
    let taken = model
        .sessions
        .iter()
        .filter_map(|((of, k), known)| known.view.taken.clone().map(|taken| (tenant(of), key(k), taken)));
    assert_eq!(store.taken().unwrap(), taken.collect::<Vec<_>>());
    let resume = store.resume().unwrap();
    let known = model.sessions.iter().filter(|(_, session)| !session.view.waiting.is_empty());
    assert_eq!(resume.waiting, known.map(|((t, k), _)| (tenant(t), key(k))).collect::<Vec<_>>());
    let ids: BTreeSet<_> = model.sessions.values().flat_map(|session| &session.ids).collect();
    assert_eq!(
        resume.deliveries.iter().map(|delivery| &delivery.id).collect::<Vec<_>>(),
        ids.into_iter().collect::<Vec<_>>()
    );
}

impl Op {
    /// What eight bytes stand for: any bytes do.
    fn of([kind, tenant, key, a, b, c, d, e]: [u8; 8]) -> Self {
        let pick = |byte: u8, n: u8| usize::from(byte % n);
        let place = (TENANTS[pick(tenant, 3)], KEYS[pick(key, 3)]);
        let other = (TENANTS[pick(tenant / 3, 3)], KEYS[pick(key / 3, 3)]);
        let number = |byte: u8, n: u8| u64::from(byte % n);
        let at = number(a, 20);
        let seqs = match b % 4 {
            0 => [c, d, e].map(|byte| 1 + number(byte, 4))[..pick(b / 4, 4)].to_vec(),
            n => (1..=u64::from(n)).collect(),
        };
        match kind % 40 {
            0..=7 => {
                let ttl_ms = (c % 2 == 1).then(|| 1 + number(c / 2, 8));
                Self::File { place, user: ["u", "v"][pick(d, 2)], message_id: b % 24, at, ttl_ms }
            }
            8..=12 => Self::Turn { place, seqs, n_replies: pick(key / 9, 3), at },
            13..=14 => Self::Postpone { place, seqs, notices: key / 9 % 2 == 1, at },
            15..=16 => Self::Park { place, seqs, notices: key / 9 % 2 == 1, at },
            17..=21 => {
                let step = [Step::Start, Step::Unstart, Step::Settle, Step::Park][pick(c, 4)];
                let from = if d % 4 == 1 { other } else { place };
                Self::Progress { place, from, n: pick(b, 2), step }
            }
            22 => Self::Prune { before: at },
            23..=24 => Self::Archive { place, at },
            25 => Self::BeginAnew { place, seq: 1 + number(b, 2), keeps_rest: c % 2 == 1, at },
            26..=27 => Self::Restore { place, episode: (b % 2 == 1).then(|| 1 + number(b / 2, 3)), at },
            28 => {
                let spare = (d % 2 == 1).then(|| (number(c, 20), number(e, 20)));
                Self::Expire { before: at, seen: number(b, 20), spare }
            }
            29 => Self::Erase { place },
            30 => Self::Move { tenant: place.0, from: place.1, to: other.1 },
            31 => {
                let survivors = [Survivors::None, Survivors::All, Survivors::Third(pick(b, 3))];
                Self::Reopen { survivors: survivors[pick(a, 3)] }
            }
            32..=36 => {
                let ttl_ms = (c % 2 == 1).then(|| 1 + number(c / 2, 8));
                Self::Unpark { place, from: if d % 4 == 1 { other } else { place }, n: pick(b, 2), at, ttl_ms }
            }
            37 => Self::DropParked { place, from: if d % 4 == 1 { other } else { place }, n: pick(b, 2) },
            38 if c % 4 == 0 => Self::HandBack { place, unless_since: (d % 2 == 1).then(|| number(e, 20)) },
            38 => Self::Take { place, by: ["Ada", "Bob"][pick(d, 2)], from_others: e % 4 == 1, at },
            _ => {
                let once = (key / 9 % 2 == 1).then_some(d % 8);
                Self::Speak { place, by: ["Ada", "Bob"][usize::from(e % 8 == 1)], seqs, once, at }
            }
        }
    }
}

async fn live(ops: impl IntoIterator<Item = Op>) {
    let mut disk = Disk::default();
    let mut store = disk.open_sealed().unwrap();
    let mut model = Model::default();
    for op in ops {
        if let Op::Reopen { survivors } = op {
            compare(&store, &model);
            if !matches!(survivors, Survivors::All) {
                // What is not urgent may be lost; the crash tests look at that.
                store.sync().unwrap();
            }
            disk = disk.after_power_cut(survivors);
            store = disk.open_sealed().unwrap();
            compare(&store, &model);
        } else {
            run(&store, &mut model, op).await;
        }
    }
    compare(&store, &model);
}

/// Reads a life of a store from bytes, eight for an operation, and lives it beside maps in memory.
///
/// # Panics
/// When the store does what the maps do not do.
pub fn compare_with_maps(bytes: &[u8]) {
    let (ops, _rest) = bytes.as_chunks();
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    runtime.block_on(live(ops.iter().copied().map(Op::of)));
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

        #[test]
        fn the_store_does_what_maps_would_do(
            ops in proptest::collection::vec(any::<[u8; 8]>().prop_map(Op::of), 1..60)
        ) {
            let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
            runtime.block_on(live(ops));
        }
    }

    #[test]
    fn the_lives_that_the_fuzz_target_begins_with_are_like_those_of_maps() {
        let seeds = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/store_ops");
        let seeds: Vec<_> = fs::read_dir(seeds).unwrap().map(|seed| fs::read(seed.unwrap().path()).unwrap()).collect();
        assert!(!seeds.is_empty());
        seeds.iter().for_each(|seed| compare_with_maps(seed));
    }
}
