//! One behaviour at a time.

use futures_util::FutureExt;
use futures_util::future::join_all;

use super::disk::Disk;
use super::*;
use crate::store::writer::MAX_WAITING;
use crate::store::{Counts, DeliveryName, Error, Filed, Filter, Speaker};

async fn file(store: &Store, key_text: &str, message_id: &str) -> Filed {
    store.tenant(None).file(&key(key_text), &inbound("", "u", message_id, 1), FOR_EVER).await.unwrap()
}

fn is_gone(result: Result<Vec<Delivery>, Error>) -> bool {
    matches!(result, Err(Error::Gone { .. }))
}

#[tokio::test]
async fn a_message_becomes_a_line_and_its_answer_waits_to_be_sent() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    let conversations = store.tenant(None);
    let session = conversations.session(&key("a"));
    let message = inbound("", "u", "m1", 5);
    assert_eq!(conversations.file(&key("a"), &message, FOR_EVER).await.unwrap(), Filed::New);
    let waiting = session.waiting(9).unwrap();
    assert_eq!(waiting.len(), 1);
    assert_eq!((waiting[0].seq, &waiting[0].inbound, waiting[0].n_tries, waiting[0].is_told), (1, &message, 0, false));

    let replies = vec![reply("m1", "one"), reply("m1", "two"), reply("m1", "three")];
    let deliveries = session.commit_turn(turn(vec![1], "one two three", replies.clone(), 7)).await.unwrap();

    assert!(deliveries.is_sorted_by(|one, other| one.id < other.id));
    assert_eq!(deliveries.iter().map(|d| d.content.clone()).collect::<Vec<_>>(), replies);
    assert!(deliveries.iter().all(|d| d.seq == 2 && d.created_at == Timestamp(7) && !d.is_started));
    assert_eq!(session.undelivered().unwrap(), deliveries);
    assert_eq!(session.waiting(9).unwrap(), []);
    let lines = session.lines_after(0, 9).unwrap();
    let peer = Speaker::Peer { user: Some(id("u")), name: message.user_name.clone(), message_id: id("m1") };
    assert_eq!(
        lines.iter().map(|l| (l.seq, l.at.0, &*l.text)).collect::<Vec<_>>(),
        [(1, 5, "text of m1"), (2, 7, "one two three")]
    );
    assert_eq!(lines[0].speaker, peer);
    assert_eq!(lines[0].address, message.reply_to);
    assert_eq!(lines[1].speaker, Speaker::Agent(AgentId::new("reception").unwrap()));

    let row = session.row().unwrap().unwrap();
    assert_eq!((row.n_messages, row.created_at.0, row.last_active_at.0), (2, 5, 7));
    assert_eq!(
        (row.kind, row.user, row.user_name, row.thread),
        (ChatKind::Thread, Some(id("u")), message.user_name, Some(id("17.5")))
    );
    assert_eq!(row.agent.unwrap().as_str(), "reception");
}

#[tokio::test]
async fn a_message_is_filed_once_however_often_it_comes() {
    let store = Disk::default().open().unwrap();
    assert_eq!(file(&store, "a", "m1").await, Filed::New);
    assert_eq!(file(&store, "a", "m1").await, Filed::Duplicate);
    // The key may change with the configuration; the message is the same one.
    assert_eq!(file(&store, "b", "m1").await, Filed::Duplicate);

    let at_once = join_all([0; 5].map(|_| file(&store, "c", "m2"))).await;
    assert_eq!(at_once.iter().filter(|filed| **filed == Filed::New).count(), 1);
    assert_eq!(
        store.counts().unwrap(),
        Counts { sessions: 2, archived: 0, waiting: 2, undelivered: 0, parked: 0, ..Counts::default() }
    );
}

#[tokio::test]
async fn the_same_message_id_of_another_entry_or_tenant_is_another_message() {
    let store = Disk::default().open().unwrap();
    assert_eq!(file(&store, "a", "m1").await, Filed::New);
    let mut other_entry = inbound("", "u", "m1", 1);
    other_entry.identity.entry = EntryId::new("slack-3").unwrap();
    assert_eq!(store.tenant(None).file(&key("a"), &other_entry, FOR_EVER).await.unwrap(), Filed::New);
    let other_tenant = store.tenant(tenant("t").as_ref());
    assert_eq!(other_tenant.file(&key("a"), &inbound("t", "u", "m1", 1), FOR_EVER).await.unwrap(), Filed::New);
}

#[tokio::test]
async fn a_message_of_another_tenant_is_refused() {
    let store = Disk::default().open().unwrap();
    for (handle, message) in [("", "t"), ("t", ""), ("t", "u")] {
        let conversations = store.tenant(tenant(handle).as_ref());
        let filed = conversations.file(&key("a"), &inbound(message, "u", "m1", 1), FOR_EVER).await;
        assert!(matches!(filed, Err(Error::OtherTenant)));
    }
    assert_eq!(store.counts().unwrap(), Counts::default());
}

#[tokio::test]
async fn tenants_and_keys_that_begin_alike_never_meet() {
    const TENANTS: [&str; 6] = ["", "a", "a-b", "a.b", "aa", "b"];
    const KEYS: [&str; 6] = ["a", "a:", "a:b", "aa", "a-b", "tenant-a-a"];
    let store = Disk::default().open().unwrap();
    let slack = ChannelType::new("slack").unwrap();
    for tenant_id in TENANTS {
        let conversations = store.tenant(tenant(tenant_id).as_ref());
        for key_text in KEYS {
            let name = format!("{tenant_id}/{key_text}");
            let message = inbound(tenant_id, key_text, &name, 1);
            conversations.file(&key(key_text), &message, FOR_EVER).await.unwrap();
            let answer = turn(vec![1], &name, vec![reply(&name, &name)], 2);
            conversations.session(&key(key_text)).commit_turn(answer).await.unwrap();
            conversations
                .file(&key(key_text), &inbound(tenant_id, key_text, &format!("{name}/2"), 3), FOR_EVER)
                .await
                .unwrap();
            conversations.session(&key(key_text)).park(vec![2], name.clone(), None, Timestamp(4)).await.unwrap();
            conversations
                .file(&key(key_text), &inbound(tenant_id, key_text, &format!("{name}/3"), 5), FOR_EVER)
                .await
                .unwrap();
        }
    }
    for tenant_id in TENANTS {
        let conversations = store.tenant(tenant(tenant_id).as_ref());
        let rows = conversations.sessions(&Filter { limit: 99, ..Filter::default() }).unwrap();
        let mut keys = KEYS;
        keys.sort_unstable();
        assert_eq!(rows.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), keys);
        assert!(rows.iter().all(|row| row.tenant == tenant(tenant_id)));
        for key_text in KEYS {
            let name = format!("{tenant_id}/{key_text}");
            let view = view(&store, tenant_id, key_text);
            let texts: Vec<_> = view.lines.iter().map(|line| &*line.text).collect();
            assert_eq!(texts, [&*format!("text of {name}"), &*name]);
            assert_eq!(
                view.waiting.iter().map(|w| w.inbound.message_id.as_str()).collect::<Vec<_>>(),
                [format!("{name}/3")]
            );
            assert_eq!(view.undelivered.iter().map(|d| &*d.content.text).collect::<Vec<_>>(), [&*name]);
            assert_eq!(view.parked.iter().map(|p| &*p.reason).collect::<Vec<_>>(), [&*name]);
            let found = conversations.find(&slack, &id(key_text)).unwrap().live;
            assert_eq!(found.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), [key_text]);
        }
    }
}

#[tokio::test]
async fn users_that_begin_alike_are_not_found_for_each_other() {
    let store = Disk::default().open().unwrap();
    let users = ["u", "u\0", "u\0\0", "u:", "uu"];
    for (n, user) in users.into_iter().enumerate() {
        store.tenant(None).file(&key(&format!("k{n}")), &inbound("", user, user, 1), FOR_EVER).await.unwrap();
    }
    for user in users {
        let found = store.tenant(None).find(&ChannelType::new("slack").unwrap(), &id(user)).unwrap().live;
        assert_eq!(found.iter().map(|row| row.user.clone()).collect::<Vec<_>>(), [Some(id(user))], "{user:?}");
    }
    assert_eq!(store.tenant(None).find(&ChannelType::new("slac").unwrap(), &id("u")).unwrap().live, []);
}

#[tokio::test]
async fn a_delivery_cannot_be_settled_from_another_conversation() {
    let store = Disk::default().open().unwrap();
    file(&store, "a", "m1").await;
    file(&store, "b", "m2").await;
    let session = store.tenant(None).session(&key("a"));
    let deliveries = session.commit_turn(turn(vec![1], "hi", vec![reply("m1", "hi")], 2)).await.unwrap();
    let other = store.tenant(None).session(&key("b"));
    assert!(matches!(other.settle_delivery(&deliveries[0].id).await, Err(Error::Gone { .. })));
    assert!(matches!(other.settle_delivery("dlv_").await, Err(Error::Gone { .. })));
    assert_eq!(session.undelivered().unwrap(), deliveries);
}

#[tokio::test]
async fn a_turn_over_a_message_that_does_not_wait_changes_nothing() {
    let store = Disk::default().open().unwrap();
    file(&store, "a", "m1").await;
    file(&store, "a", "m2").await;
    let session = store.tenant(None).session(&key("a"));
    session.commit_turn(turn(vec![1], "hi", vec![reply("m1", "hi")], 2)).await.unwrap();
    let before = view(&store, "", "a");

    for answered in [vec![1], vec![1, 2], vec![2, 3], vec![]] {
        assert!(is_gone(session.commit_turn(turn(answered, "again", vec![reply("m1", "again")], 3)).await));
    }
    assert!(is_gone(session.postpone(vec![1, 2], None, Timestamp(3)).await));
    assert!(is_gone(session.park(vec![2, 1], String::new(), None, Timestamp(3)).await));
    let nobody = store.tenant(None).session(&key("nobody"));
    assert!(is_gone(nobody.commit_turn(turn(vec![1], "hi", vec![], 3)).await));

    assert_eq!(view(&store, "", "a"), before);
    assert_eq!(
        store.counts().unwrap(),
        Counts { sessions: 1, archived: 0, waiting: 1, undelivered: 1, parked: 0, ..Counts::default() }
    );
}

#[tokio::test]
async fn a_refused_operation_does_not_spoil_the_others_of_its_batch() {
    let disk = Disk::default();
    let store = disk.open().unwrap();
    file(&store, "a", "m1").await;
    let session = store.tenant(None).session(&key("a"));
    let answer = turn(vec![1], "hi", vec![reply("m1", "hi")], 2);

    let n_syncs = disk.n_syncs();
    disk.hold();
    let mut first = Box::pin(file(&store, "b", "m2"));
    assert!(first.as_mut().now_or_never().is_none());
    let mut rest = Box::pin(futures_util::future::join4(
        session.commit_turn(answer.clone()),
        session.commit_turn(answer),
        file(&store, "b", "m2"),
        file(&store, "b", "m3"),
    ));
    assert!(rest.as_mut().now_or_never().is_none());
    disk.release();
    let (committed, again, duplicate, new) = rest.await;

    assert_eq!(first.await, Filed::New);
    assert_eq!(committed.unwrap().len(), 1);
    assert!(is_gone(again));
    assert_eq!((duplicate, new), (Filed::Duplicate, Filed::New));
    assert!(disk.n_syncs() - n_syncs <= 2, "five operations, at most two batches");
}

#[tokio::test]
async fn a_write_syncs_once_and_a_repeat_not_at_all() {
    let disk = Disk::default();
    let store = disk.open().unwrap();
    // The first one after a start has the database know that it needs the journal.
    file(&store, "a", "m0").await;
    let mut before = (disk.n_syncs(), store.n_syncs());
    for (message_id, n_expected) in [("m1", 1), ("m1", 0), ("m2", 1)] {
        file(&store, "a", message_id).await;
        let after = (disk.n_syncs(), store.n_syncs());
        assert_eq!((after.0 - before.0, after.1 - before.1), (n_expected, n_expected as u64));
        before = after;
    }
}

#[tokio::test]
async fn positions_are_never_used_again() {
    let store = Disk::default().open().unwrap();
    let session = store.tenant(None).session(&key("a"));
    for (n, message_id) in (1_u64..).zip(["m1", "m2", "m3"]) {
        file(&store, "a", message_id).await;
        assert_eq!(session.waiting(9).unwrap().iter().map(|w| w.seq).collect::<Vec<_>>(), [n]);
        session.commit_turn(turn(vec![n], "hi", vec![], n)).await.unwrap();
        assert_eq!(session.row().unwrap().unwrap().n_messages, 2 * n);
    }
    assert_eq!(session.lines_after(0, 99).unwrap().iter().map(|l| l.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5, 6]);
}

#[tokio::test]
async fn a_postponed_message_waits_on_and_its_peer_is_told_once() {
    let store = Disk::default().open().unwrap();
    file(&store, "a", "m1").await;
    let session = store.tenant(None).session(&key("a"));
    session.postpone(vec![1], None, Timestamp(2)).await.unwrap();
    let notices = session.postpone(vec![1], Some(reply("m1", "wait")), Timestamp(3)).await.unwrap();
    session.postpone(vec![1], None, Timestamp(4)).await.unwrap();

    let waiting = session.waiting(9).unwrap();
    assert_eq!((waiting[0].n_tries, waiting[0].is_told), (3, true));
    assert_eq!(session.undelivered().unwrap(), notices);
    assert_eq!((notices.len(), notices[0].seq), (1, 0));
    assert_eq!(session.row().unwrap().unwrap().last_active_at, Timestamp(1));
}

#[tokio::test]
async fn reads_keep_to_their_limits() {
    let store = Disk::default().open().unwrap();
    let session = store.tenant(None).session(&key("a"));
    for (n, message_id) in (1..).zip(["m1", "m2", "m3"]) {
        file(&store, "a", message_id).await;
        session.commit_turn(turn(vec![n], "four", vec![], n)).await.unwrap();
    }
    for message_id in ["m4", "m5", "m6"] {
        file(&store, "a", message_id).await;
    }
    let seqs = |lines: Vec<Line>| lines.iter().map(|line| line.seq).collect::<Vec<_>>();
    // Peer lines are 10 bytes long, the agent's 4.
    for (max_lines, max_bytes, expected) in [
        (0, 99, vec![]),
        (1, 0, vec![6]),
        (9, 3, vec![6]),
        (9, 14, vec![5, 6]),
        (9, 17, vec![5, 6]),
        (3, 99, vec![4, 5, 6]),
    ] {
        assert_eq!(seqs(session.recent(max_lines, max_bytes).unwrap()), expected, "{max_lines} {max_bytes}");
    }
    for (after, limit, expected) in [(0, 2, vec![1, 2]), (4, 9, vec![5, 6]), (6, 9, vec![]), (u64::MAX, 9, vec![])] {
        assert_eq!(seqs(session.lines_after(after, limit).unwrap()), expected, "{after} {limit}");
    }
    assert_eq!(session.waiting(2).unwrap().iter().map(|w| w.seq).collect::<Vec<_>>(), [4, 5]);
    session.park(vec![4, 5], "why".into(), None, Timestamp(9)).await.unwrap();
    assert_eq!(session.parked(1).unwrap().len(), 1);
}

#[tokio::test]
async fn lists_are_filtered_while_they_are_paged() {
    let store = Disk::default().open().unwrap();
    let conversations = store.tenant(None);
    for (n, key_text) in ["a", "b", "c", "d"].into_iter().enumerate() {
        let mut message = inbound("", "u", key_text, 1);
        message.identity.channel = ChannelType::new(["slack", "webchat"][n % 2]).unwrap();
        conversations.file(&key(key_text), &message, FOR_EVER).await.unwrap();
    }
    conversations.session(&key("c")).commit_turn(turn(vec![1], "hi", vec![], 2)).await.unwrap();
    let webchat = ChannelType::new("webchat").ok();
    let reception = AgentId::new("reception").ok();
    let all = Filter { limit: 99, ..Filter::default() };
    for (filter, expected) in [
        (Filter::default(), vec![]),
        (all.clone(), vec!["a", "b", "c", "d"]),
        (Filter { limit: 2, ..Filter::default() }, vec!["a", "b"]),
        (Filter { after: Some(key("b")), limit: 1, ..Filter::default() }, vec!["c"]),
        (Filter { after: Some(key("d")), ..all.clone() }, vec![]),
        (Filter { channel: webchat.clone(), limit: 1, ..Filter::default() }, vec!["b"]),
        (Filter { channel: webchat, after: Some(key("b")), limit: 1, ..Filter::default() }, vec!["d"]),
        (Filter { agent: reception, ..all.clone() }, vec!["c"]),
        (Filter { agent: AgentId::new("other").ok(), ..all }, vec![]),
    ] {
        let rows = conversations.sessions(&filter).unwrap();
        assert_eq!(rows.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), expected, "{filter:?}");
    }
    assert!(conversations.has_session(&key("a")).unwrap());
    assert!(!conversations.has_session(&key("aa")).unwrap());
    assert!(!store.tenant(tenant("t").as_ref()).has_session(&key("a")).unwrap());
}

#[tokio::test]
async fn what_must_be_resumed_is_named_once_and_oldest_first() {
    let store = Disk::default().open().unwrap();
    let expected = [("", "b"), ("", "ba"), ("t", "a"), ("t", "b")];
    for (tenant_id, key_text) in expected {
        for n in 0..3 {
            let message = inbound(tenant_id, "u", &format!("{key_text}{n}"), 1);
            store.tenant(tenant(tenant_id).as_ref()).file(&key(key_text), &message, FOR_EVER).await.unwrap();
        }
    }
    for (tenant_id, key_text, at) in [("t", "a", 1000), ("", "b", 3000), ("", "ba", 2000)] {
        let session = store.tenant(tenant(tenant_id).as_ref()).session(&key(key_text));
        session.commit_turn(turn(vec![1], "hi", vec![reply("m", "1"), reply("m", "2")], at)).await.unwrap();
    }

    let resume = store.resume().unwrap();

    let waiting: Vec<_> = expected.iter().map(|(t, k)| (tenant(t), key(k))).collect();
    assert_eq!(resume.waiting, waiting);
    let claim = |name: &DeliveryName| {
        let delivery = store.tenant(name.tenant.as_ref()).session(&name.key).claim_delivery(&name.id).unwrap().unwrap();
        assert_eq!(DeliveryName::from(delivery.clone()), *name);
        (name.key.to_string(), delivery.created_at.0, delivery.content.text)
    };
    let order: Vec<_> = resume.deliveries.iter().map(claim).collect();
    let expected =
        [("a", 1000, "1"), ("a", 1000, "2"), ("ba", 2000, "1"), ("ba", 2000, "2"), ("b", 3000, "1"), ("b", 3000, "2")];
    assert_eq!(order, expected.map(|(key, at, text)| (key.to_owned(), at, text.to_owned())));
}

#[tokio::test]
async fn replies_keep_their_order_when_the_clock_is_set_back() {
    let store = Disk::default().open().unwrap();
    let session = store.tenant(None).session(&key("a"));
    for (n, at) in [(1, 9000), (2, 5000), (3, 7000)] {
        file(&store, "a", &n.to_string()).await;
        session.commit_turn(turn(vec![n], "hi", vec![reply("m", &n.to_string())], at)).await.unwrap();
    }
    let texts = |deliveries: Vec<Delivery>| deliveries.into_iter().map(|d| d.content.text).collect::<Vec<_>>();
    assert_eq!(texts(session.undelivered().unwrap()), ["1", "2", "3"]);
    let ids = session.undelivered().unwrap().into_iter().map(|d| d.id);
    assert_eq!(
        store.resume().unwrap().deliveries.into_iter().map(|d| d.id).collect::<Vec<_>>(),
        ids.collect::<Vec<_>>()
    );
}

#[tokio::test]
async fn pruned_marks_are_forgotten_and_others_kept() {
    let store = Disk::default().open().unwrap();
    let conversations = store.tenant(None);
    let messages: Vec<_> = (0..1500).map(|n| inbound("", "u", &format!("m{n}"), n)).collect();
    let (one, other) = messages.split_at(750);
    for part in [one, other] {
        let a = key("a");
        join_all(part.iter().map(|message| conversations.file(&a, message, FOR_EVER))).await;
    }
    assert!(store.prune_marks(Timestamp(1400), None).await.unwrap());
    assert!(!store.prune_marks(Timestamp(1400), None).await.unwrap());
    assert!(!store.prune_marks(Timestamp(1400), None).await.unwrap());
    assert_eq!(conversations.file(&key("a"), &messages[1400], FOR_EVER).await.unwrap(), Filed::Duplicate);
    assert_eq!(conversations.file(&key("a"), &messages[1399], FOR_EVER).await.unwrap(), Filed::New);
    let spare = Some((Timestamp(1410), Timestamp(1420)));
    assert!(!store.prune_marks(Timestamp(1450), spare).await.unwrap());
    for (n, expected) in [(1409, Filed::New), (1410, Filed::Duplicate), (1420, Filed::Duplicate), (1421, Filed::New)] {
        assert_eq!(conversations.file(&key("a"), &messages[n], FOR_EVER).await.unwrap(), expected, "{n}");
    }
}

#[tokio::test]
async fn a_full_queue_refuses_messages_and_makes_turns_wait() {
    let disk = Disk::default();
    let store = disk.open().unwrap();
    file(&store, "a", "m0").await;
    let session = store.tenant(None).session(&key("a"));
    disk.hold();

    let mut accepted = Vec::new();
    let is_busy = (1..10 * MAX_WAITING).any(|n| {
        let store = store.clone();
        let message = inbound("", "u", &format!("m{n}"), 1);
        let mut filing = Box::pin(async move { store.tenant(None).file(&key("a"), &message, FOR_EVER).await });
        match filing.as_mut().now_or_never() {
            Some(Err(Error::Busy)) => true,
            Some(other) => panic!("{other:?}"),
            None => {
                accepted.push(filing);
                false
            }
        }
    });
    let mut committing = Box::pin(session.commit_turn(turn(vec![1], "hi", vec![], 2)));
    let waits = committing.as_mut().now_or_never().is_none();
    disk.release();

    assert!(is_busy && waits && accepted.len() >= MAX_WAITING);
    committing.await.unwrap();
    for filed in join_all(accepted).await {
        assert_eq!(filed.unwrap(), Filed::New);
    }
}

#[tokio::test]
async fn a_reply_is_there_until_it_is_settled_and_under_its_key_only() {
    let store = Disk::default().open().unwrap();
    let conversations = store.tenant(None);
    let (a, b) = (conversations.session(&key("a")), conversations.session(&key("b")));
    conversations.file(&key("a"), &inbound("", "u", "m1", 1), FOR_EVER).await.unwrap();
    let replies = vec![reply("m1", "one"), reply("m1", "two")];
    let sent = a.commit_turn(turn(vec![1], "one two", replies, 2)).await.unwrap();
    let has = |session: &SessionStore, id: &str| session.claim_delivery(id).unwrap().is_some();
    assert_eq!((has(&a, &sent[0].id), has(&b, &sent[0].id), has(&a, "dlv_1")), (true, false, false));
    a.settle_delivery(&sent[0].id).await.unwrap();
    assert_eq!((has(&a, &sent[0].id), has(&a, &sent[1].id)), (false, true));
}
