//! Putting back and dropping what was set aside.

use super::disk::{Disk, Survivors};
use super::*;
use crate::store::{Counts, Error, Filed, Unparked};

const LIFE: Life = Life { ttl_ms: Some(100), says_new: true };

async fn file(store: &Store, message_id: &str, at: u64) -> Filed {
    store.tenant(None).file(&key("a"), &inbound("", "u", message_id, at), LIFE).await.unwrap()
}

fn texts(session: &SessionStore) -> Vec<String> {
    session.waiting(9).unwrap().into_iter().map(|waiting| waiting.inbound.text).collect()
}

fn ids(session: &SessionStore) -> Vec<String> {
    session.parked(9).unwrap().iter().map(Parked::id).collect()
}

fn positions(session: &SessionStore) -> Vec<u64> {
    session.parked_positions(9).unwrap()
}

#[tokio::test]
async fn a_message_that_is_put_back_waits_behind_the_others_and_is_still_known() {
    let store = Disk::default().open().unwrap();
    let session = store.tenant(None).session(&key("a"));
    for (message_id, at) in [("m1", 1), ("m2", 2), ("m3", 3)] {
        file(&store, message_id, at).await;
    }
    session.postpone(vec![1], None, Timestamp(4)).await.unwrap();
    session.park(vec![1, 2], "why".into(), None, Timestamp(5)).await.unwrap();
    assert_eq!(positions(&session), [1, 2]);
    let names = ids(&session);

    assert_eq!(session.unpark(1, LIFE, Timestamp(9)).await.unwrap(), Unparked::Message);

    let waiting = session.waiting(9).unwrap();
    let all: Vec<_> = waiting.iter().map(|w| (w.seq, &*w.inbound.text, w.n_tries, w.unparked_at)).collect();
    assert_eq!(all, [(3, "text of m3", 0, None), (4, "text of m1", 0, Some(Timestamp(9)))]);
    assert_eq!(waiting[1].inbound.received_at, Timestamp(1), "when it was said is not forgotten");
    assert_eq!(session.row().unwrap().unwrap().last_active_at, Timestamp(9));
    assert_eq!(file(&store, "m1", 10).await, Filed::Duplicate);
    let again = session.unpark(1, LIFE, Timestamp(10)).await;
    assert!(matches!(again, Err(Error::Gone { .. })), "{again:?}");
    session.park(vec![4], "again".into(), None, Timestamp(11)).await.unwrap();
    assert_eq!(positions(&session), [2, 3], "no position is used twice");
    assert_eq!(ids(&session), [names[1].as_str(), &names[0]], "it has the name that it had");
    let since: Vec<_> = session.parked(9).unwrap().iter().map(|parked| (parked.since(), parked.at)).collect();
    assert_eq!(since, [(Timestamp(2), Timestamp(5)), (Timestamp(1), Timestamp(11))], "it has waited all the time");
}

#[tokio::test]
async fn a_message_that_is_put_back_after_the_end_of_its_conversation_begins_the_next() {
    for is_swept in [true, false] {
        let store = Disk::default().open().unwrap();
        let session = store.tenant(None).session(&key("a"));
        file(&store, "m1", 1).await;
        file(&store, "m2", 2).await;
        session.park(vec![1], "why".into(), None, Timestamp(3)).await.unwrap();
        session.commit_turn(turn(vec![2], "hi", vec![], 4)).await.unwrap();
        if is_swept {
            assert_eq!(store.expire(Timestamp(50), Timestamp(200), None).await.unwrap().n_archived, 1);
            assert_eq!(session.row().unwrap(), None);
        }

        session.unpark(1, LIFE, Timestamp(200)).await.unwrap();

        let row = session.row().unwrap().unwrap();
        assert_eq!((row.episode, row.first_line, row.n_messages, row.is_news), (2, 3, 0, true), "{is_swept}");
        assert_eq!((row.created_at, row.last_active_at), (Timestamp(200), Timestamp(200)));
        assert_eq!(row.user_name.as_deref(), Some("Name of u"));
        assert_eq!(session.archives().unwrap().len(), 1);
        let answer = Turn { episode: 2, first_line: 3, ..turn(vec![3], "late", vec![], 201) };
        session.commit_turn(answer).await.unwrap();
        let lines: Vec<_> = session.lines_after(0, 9).unwrap().into_iter().map(|line| line.text).collect();
        assert_eq!(lines, ["text of m1", "late"]);
    }
}

#[tokio::test]
async fn a_message_that_is_put_back_into_an_archived_place_does_not_bring_back_an_old_position() {
    let store = Disk::default().open().unwrap();
    let session = store.tenant(None).session(&key("a"));
    file(&store, "m1", 1).await;
    session.park(vec![1], "why".into(), None, Timestamp(2)).await.unwrap();
    assert!(session.archive(Timestamp(3)).await.unwrap());
    session.unpark(1, LIFE, Timestamp(4)).await.unwrap();
    assert_eq!(session.waiting(9).unwrap()[0].seq, 2);
    session.park(vec![2], "again".into(), None, Timestamp(5)).await.unwrap();
    assert_eq!(positions(&session), [2]);
    // It belongs to the new one: erasing the old one leaves it.
    session.erase(Some(1)).await.unwrap();
    assert_eq!(positions(&session), [2]);
    session.unpark(2, LIFE, Timestamp(6)).await.unwrap();
    assert_eq!(texts(&session), ["text of m1"]);
    session.erase(None).await.unwrap();
    assert_eq!(store.counts().unwrap(), Counts::default());
    assert_eq!(file(&store, "m1", 7).await, Filed::New, "nothing of it is left, not even its mark");
}

#[tokio::test]
async fn a_reply_that_is_put_back_keeps_its_id_and_is_as_if_never_tried() {
    let disk = Disk::default();
    let store = disk.open().unwrap();
    let session = store.tenant(None).session(&key("a"));
    file(&store, "m1", 1).await;
    let said = vec![reply("m1", "one"), reply("m1", "two")];
    let sent = session.commit_turn(turn(vec![1], "one two", said, 2)).await.unwrap();
    session.start_delivery(&sent[0].id).await.unwrap();
    session.park_delivery(&sent[0].id, "nobody knows".into(), Timestamp(3)).await.unwrap();
    let parked = session.find_parked(&sent[0].id).unwrap().unwrap();
    let ParkedItem::Delivery(aside) = &parked.what else { panic!("{parked:?}") };
    assert!(aside.is_started, "it may have been sent");
    assert_eq!(session.claim_delivery(&sent[0].id).unwrap(), None);

    let unparked = session.unpark(parked.position, LIFE, Timestamp(9)).await.unwrap();

    let Unparked::Delivery(name) = unparked else { panic!("{unparked:?}") };
    drop((store, session));
    let store = disk.after_power_cut(Survivors::None).open().unwrap();
    let left = store.resume().unwrap().deliveries;
    assert_eq!(left.iter().map(|name| &*name.id).collect::<Vec<_>>(), [&*sent[0].id, &*sent[1].id]);
    assert_eq!(left[0], name);
    let session = store.tenant(None).session(&key("a"));
    let claimed = session.claim_delivery(&name.id).unwrap().unwrap();
    assert_eq!(claimed, Delivery { unparked_at: Some(Timestamp(9)), ..sent[0].clone() });
    session.settle_delivery(&name.id).await.unwrap();
    assert_eq!((ids(&session), session.undelivered().unwrap().len()), (vec![], 1));
}

#[tokio::test]
async fn what_is_put_back_is_erased_with_its_conversation() {
    let store = Disk::default().open().unwrap();
    let session = store.tenant(None).session(&key("a"));
    file(&store, "m1", 1).await;
    let sent = session.commit_turn(turn(vec![1], "one", vec![reply("m1", "one")], 2)).await.unwrap();
    session.park_delivery(&sent[0].id, "why".into(), Timestamp(3)).await.unwrap();
    assert!(session.archive(Timestamp(4)).await.unwrap());
    session.unpark(1, LIFE, Timestamp(5)).await.unwrap();
    assert_eq!(session.undelivered().unwrap().len(), 1);
    assert_eq!(session.erase(Some(1)).await.unwrap().n_replies, 1);
    assert_eq!(store.counts().unwrap(), Counts::default());
}

#[tokio::test]
async fn what_is_dropped_is_gone_and_nothing_else() {
    let store = Disk::default().open().unwrap();
    let session = store.tenant(None).session(&key("a"));
    for (message_id, at) in [("m1", 1), ("m2", 2), ("m3", 3)] {
        file(&store, message_id, at).await;
    }
    session.park(vec![1, 2, 3], "why".into(), None, Timestamp(5)).await.unwrap();
    assert_eq!(session.parked_positions(2).unwrap(), [1, 2]);
    assert_eq!(session.drop_parked(vec![2, 2, 7]).await.unwrap(), 1);
    assert_eq!(positions(&session), [1, 3]);
    assert_eq!(file(&store, "m2", 6).await, Filed::Duplicate, "a vendor that repeats it does not bring it back");
    assert_eq!(session.drop_parked(vec![2]).await.unwrap(), 0);
    assert_eq!(store.tenant(None).session(&key("b")).drop_parked(vec![1]).await.unwrap(), 0);
}

#[tokio::test]
async fn names_find_what_they_name_and_only_in_their_conversation() {
    let store = Disk::default().open().unwrap();
    let session = store.tenant(None).session(&key("a"));
    file(&store, "m1", 1).await;
    file(&store, "m2", 1).await;
    let sent = session.commit_turn(turn(vec![1], "one", vec![reply("m1", "one")], 2)).await.unwrap();
    session.park(vec![2], "why".into(), None, Timestamp(3)).await.unwrap();
    session.park_delivery(&sent[0].id, "why".into(), Timestamp(3)).await.unwrap();
    let found = |session: &SessionStore, id: &str| session.find_parked(id).unwrap().map(|parked| parked.position);
    let name = ids(&session).remove(0);
    assert!(name.starts_with("msg_"), "{name}");
    assert_eq!((found(&session, &name), found(&session, &sent[0].id)), (Some(1), Some(2)));
    for id in [
        "msg_1",
        "msg_",
        name.trim_start_matches("msg_"),
        &name.to_uppercase(),
        "1",
        "",
        "dlv_00000000000000000000000000",
    ] {
        assert_eq!(found(&session, id), None, "{id}");
    }
    for other in [store.tenant(None).session(&key("b")), store.tenant(tenant("t").as_ref()).session(&key("a"))] {
        assert_eq!((found(&other, &name), found(&other, &sent[0].id)), (None, None));
    }
}
