//! Random lives of a store, compared with maps in memory.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;
use proptest::sample::select;

use super::disk::{Disk, Survivors};
use super::*;
use crate::store::{Counts, Error, Filed, Filter, Speaker};

const TENANTS: [&str; 3] = ["", "a", "a-b"];
const KEYS: [&str; 3] = ["a", "a:b", "aa"];

/// Tenant, key.
type Place = (&'static str, &'static str);

#[derive(Debug, Clone)]
enum Op {
    File {
        place: Place,
        user: &'static str,
        message_id: u8,
        at: u64,
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
    Prune {
        before: u64,
    },
    Reopen,
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
    users: BTreeSet<(&'static str, &'static str, &'static str)>,
}

#[derive(Debug, Default)]
struct Session {
    view: View,
    n_filed: u64,
    /// Of `view.undelivered`.
    ids: Vec<String>,
}

impl Model {
    fn file(&mut self, place: Place, message: &Inbound, user: &'static str, message_id: u8) -> Filed {
        let at = message.received_at;
        if self.marks.contains_key(&(place.0, message_id)) {
            return Filed::Duplicate;
        }
        self.marks.insert((place.0, message_id), at.0);
        self.users.insert((place.0, user, place.1));
        let session = self.sessions.entry(place).or_default();
        session.n_filed += 1;
        let waiting = Waiting { seq: session.n_filed, inbound: message.clone(), n_tries: 0, is_told: false };
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
            episode: 1,
            first_line: 1,
            last_line: 0,
            n_messages: 0,
            is_news: false,
            created_at: at,
            last_active_at: at,
        });
        row.last_active_at = at;
        row.user_name = message.user_name.clone();
        Filed::New
    }

    /// The conversation, when all of these wait in it.
    fn waiting(&mut self, place: Place, seqs: &[u64]) -> Option<&mut Session> {
        let session = self.sessions.get_mut(&place)?;
        let waits = |seq: &u64| session.view.waiting.iter().any(|waiting| waiting.seq == *seq);
        seqs.iter().all(waits).then_some(session)
    }

    fn counts(&self) -> Counts {
        let sum = |len: fn(&View) -> usize| self.sessions.values().map(|session| len(&session.view) as u64).sum();
        Counts {
            sessions: self.sessions.len() as u64,
            archived: 0,
            waiting: sum(|view| view.waiting.len()),
            undelivered: sum(|view| view.undelivered.len()),
            parked: sum(|view| view.parked.len()),
        }
    }
}

impl Session {
    fn take(&mut self, seqs: &[u64]) -> Vec<Waiting> {
        self.view.waiting.extract_if(.., |waiting| seqs.contains(&waiting.seq)).collect()
    }

    fn say(&mut self, at: Timestamp, speaker: Speaker, text: String, address: ReplyAddress) {
        let row = self.view.row.as_mut().unwrap();
        row.n_messages += 1;
        row.last_line += 1;
        self.view.lines.push(Line { seq: row.last_line, at, speaker, text, address });
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
                is_started: false,
                content,
            });
        }
    }
}

async fn run(store: &Store, model: &mut Model, op: Op) {
    let session = |place: Place| store.tenant(tenant(place.0).as_ref()).session(&key(place.1));
    match op {
        Op::File { place, user, message_id, at } => {
            let message = inbound(place.0, user, &message_id.to_string(), at);
            let filed = store.tenant(tenant(place.0).as_ref()).file(&key(place.1), &message, FOR_EVER).await.unwrap();
            assert_eq!(filed, model.file(place, &message, user, message_id));
        }
        Op::Turn { place, seqs, n_replies, at } => {
            let replies: Vec<_> = (0..n_replies).map(|n| reply("m", &n.to_string())).collect();
            let answer = turn(seqs.clone(), "answer", replies.clone(), at);
            let committed = session(place).commit_turn(answer).await;
            let Some(known) = model.waiting(place, &seqs).filter(|_| !seqs.is_empty()) else {
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
            (row.agent, row.last_active_at) = (Some(agent), Timestamp(at));
            known.sent(place, committed.unwrap(), replies, at);
        }
        Op::Postpone { place, seqs, notices, at } => {
            let notice = notices.then(|| reply("m", "wait"));
            let postponed = session(place).postpone(seqs.clone(), notice.clone(), Timestamp(at)).await;
            let Some(known) = model.waiting(place, &seqs) else {
                return assert!(matches!(postponed, Err(Error::Gone { .. })), "{postponed:?}");
            };
            for waiting in known.view.waiting.iter_mut().filter(|waiting| seqs.contains(&waiting.seq)) {
                waiting.n_tries += 1;
                waiting.is_told |= notices;
            }
            known.sent(place, postponed.unwrap(), notice.into_iter().collect(), at);
        }
        Op::Park { place, seqs, notices, at } => {
            let notice = notices.then(|| reply("m", "sorry"));
            let parked = session(place).park(seqs.clone(), "why".into(), notice.clone(), Timestamp(at)).await;
            let Some(known) = model.waiting(place, &seqs) else {
                return assert!(matches!(parked, Err(Error::Gone { .. })), "{parked:?}");
            };
            for Waiting { inbound, .. } in known.take(&seqs) {
                let what = ParkedItem::Message(inbound);
                known.view.parked.push(Parked { at: Timestamp(at), reason: "why".into(), what });
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
                    known.ids.remove(n);
                    let delivery = known.view.undelivered.remove(n);
                    if matches!(step, Step::Park) {
                        let what = ParkedItem::Delivery(delivery);
                        known.view.parked.push(Parked { at: Timestamp(7), reason: "unclear".into(), what });
                    }
                }
            }
        }
        Op::Prune { before } => {
            assert!(!store.prune_marks(Timestamp(before)).await.unwrap());
            model.marks.retain(|_, at| *at >= before);
        }
        Op::Reopen => unreachable!("the test reopens"),
    }
}

fn compare(store: &Store, model: &Model) {
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
            let found = conversations.find(&ChannelType::new("slack").unwrap(), &id(user)).unwrap().live;
            let known = model.users.iter().filter(|(of, who, _)| *of == tenant_id && *who == user);
            let known: Vec<_> = known.map(|(_, _, key)| *key).collect();
            assert_eq!(found.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), known);
        }
    }
    assert_eq!(store.counts().unwrap(), model.counts());
    let resume = store.resume().unwrap();
    let known = model.sessions.iter().filter(|(_, session)| !session.view.waiting.is_empty());
    assert_eq!(resume.waiting, known.map(|((t, k), _)| (tenant(t), key(k))).collect::<Vec<_>>());
    let ids: BTreeSet<_> = model.sessions.values().flat_map(|session| &session.ids).collect();
    assert_eq!(
        resume.deliveries.iter().map(|delivery| &delivery.id).collect::<Vec<_>>(),
        ids.into_iter().collect::<Vec<_>>()
    );
}

fn any_op() -> impl Strategy<Value = Op> {
    let place = || (select(&TENANTS[..]), select(&KEYS[..]));
    let at = || 0..20_u64;
    let seqs = || prop_oneof![3 => Just(vec![1]), 1 => proptest::collection::vec(1..5_u64, 0..4)];
    let step = select(&[Step::Start, Step::Unstart, Step::Settle, Step::Park][..]);
    prop_oneof![
        6 => (place(), select(&["u", "v"][..]), 0..12_u8, at())
            .prop_map(|(place, user, message_id, at)| Op::File { place, user, message_id, at }),
        4 => (place(), seqs(), 0..3_usize, at())
            .prop_map(|(place, seqs, n_replies, at)| Op::Turn { place, seqs, n_replies, at }),
        2 => (place(), seqs(), any::<bool>(), at())
            .prop_map(|(place, seqs, notices, at)| Op::Postpone { place, seqs, notices, at }),
        2 => (place(), seqs(), any::<bool>(), at())
            .prop_map(|(place, seqs, notices, at)| Op::Park { place, seqs, notices, at }),
        3 => (place(), 0..2_usize, step.clone()).prop_map(|(place, n, step)| Op::Progress { place, from: place, n, step }),
        1 => (place(), place(), 0..2_usize, step).prop_map(|(place, from, n, step)| Op::Progress { place, from, n, step }),
        1 => at().prop_map(|before| Op::Prune { before }),
        1 => Just(Op::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(48) })]

    #[test]
    fn the_store_does_what_maps_would_do(ops in proptest::collection::vec(any_op(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut disk = Disk::default();
            let mut store = disk.open().unwrap();
            let mut model = Model::default();
            for op in ops {
                if matches!(op, Op::Reopen) {
                    compare(&store, &model);
                    drop(store);
                    disk = disk.after_power_cut(Survivors::None);
                    store = disk.open().unwrap();
                    compare(&store, &model);
                } else {
                    run(&store, &mut model, op).await;
                }
            }
            compare(&store, &model);
        });
    }
}
