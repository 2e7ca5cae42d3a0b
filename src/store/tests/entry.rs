//! What is kept for channel entries outside of conversations.

use super::disk::Disk;
use super::*;
use crate::message::Subject;
use crate::store::{Counts, EntryStore, Error, Offer, Offered};

const HOUR: u64 = 3_600_000;
const STAMP: u64 = 7;

fn kept(store: &Store, tenant_id: &str, entry: &str) -> EntryStore {
    store.tenant(tenant(tenant_id).as_ref()).entry(&EntryId::new(entry).unwrap())
}

fn peer(id: &str) -> Subject {
    Subject::Peer(id.to_owned())
}

fn group(id: &str) -> Subject {
    Subject::Group(id.to_owned())
}

fn offer(subject: Subject, code: &str, at: u64) -> Offer {
    let line = NewDelivery { answers: Vec::new(), ..reply("m1", &format!("your code is {code}")) };
    let code = code.to_owned();
    Offer { subject, name: Some("Ada".into()), code, expires_at: Timestamp(at + HOUR), max_pending: 3, line }
}

/// What became of an offer, in a word.
async fn offered(entry: &EntryStore, subject: Subject, code: &str, at: u64) -> &'static str {
    match entry.offer(offer(subject, code, at), Timestamp(at)).await.unwrap() {
        Offered::New(deliveries) => {
            assert_eq!(deliveries.len(), 1);
            assert!(deliveries[0].content.text.contains(code));
            "new"
        }
        Offered::Known => "known",
        Offered::Full => "full",
    }
}

fn codes(entry: &EntryStore, now: u64) -> Vec<String> {
    entry.pending(STAMP, Timestamp(now)).unwrap().into_iter().map(|pending| pending.code).collect()
}

#[tokio::test]
async fn a_stranger_has_one_code_and_is_told_it_once() {
    let store = Disk::default().open().unwrap();
    let entry = kept(&store, "t", "hook");
    assert_eq!(offered(&entry, peer("u"), "AAAA", 5).await, "new");
    assert_eq!(offered(&entry, peer("u"), "BBBB", 6).await, "known");
    assert_eq!(offered(&entry, group("u"), "CCCC", 6).await, "new", "a group is another, whatever its id");
    assert_eq!(codes(&entry, 6), ["AAAA", "CCCC"]);
    assert_eq!(store.counts().unwrap(), Counts { undelivered: 2, ..Counts::default() }, "there is no conversation");
    assert!(store.tenants().unwrap().is_empty());
}

#[tokio::test]
async fn three_may_wait_until_one_has_expired_or_was_decided() {
    let store = Disk::default().open().unwrap();
    let entry = kept(&store, "", "hook");
    for (n, user) in ["a", "b", "c"].into_iter().enumerate() {
        assert_eq!(offered(&entry, peer(user), &format!("CODE{n}"), 5 + n as u64).await, "new");
    }
    assert_eq!(offered(&entry, peer("d"), "CODE9", 9).await, "full");
    assert_eq!(offered(&kept(&store, "", "other"), peer("d"), "CODE9", 9).await, "new", "of each entry");
    assert_eq!(offered(&kept(&store, "t", "hook"), peer("d"), "CODE9", 9).await, "new", "of each tenant");

    assert_eq!(codes(&entry, 5 + HOUR), ["CODE1", "CODE2"], "an hour is over");
    assert_eq!(offered(&entry, peer("d"), "CODE9", 5 + HOUR).await, "new");
    assert_eq!(codes(&entry, 5 + HOUR), ["CODE1", "CODE2", "CODE9"]);
    let pending = entry.pending(STAMP, Timestamp(9)).unwrap();
    entry.reject(STAMP, &pending[0], Timestamp(9)).await.unwrap();
    assert_eq!(codes(&entry, 9), ["CODE2", "CODE9"]);
}

#[tokio::test]
async fn who_is_approved_is_told_once_where_they_wrote() {
    let store = Disk::default().open().unwrap();
    let entry = kept(&store, "t", "hook");
    offered(&entry, peer("u"), "AAAA", 5).await;
    let pending = entry.pending(STAMP, Timestamp(6)).unwrap().remove(0);
    assert!(!entry.is_approved(&peer("u"), STAMP).unwrap());

    let told = entry.approve(STAMP, &pending, "welcome", Timestamp(6)).await.unwrap();
    assert_eq!(
        told.iter().map(|d| (&*d.content.text, d.content.address.target())).collect::<Vec<_>>(),
        [("welcome", "target of u")]
    );
    assert!(entry.is_approved(&peer("u"), STAMP).unwrap());
    assert_eq!(codes(&entry, 6), [""; 0]);
    let again = entry.approve(STAMP, &pending, "welcome", Timestamp(6)).await;
    assert!(matches!(again, Err(Error::Gone { .. })), "{again:?}");
    let approvals = entry.approvals(STAMP, 9).unwrap();
    assert_eq!(approvals.iter().map(|a| (&a.subject, a.at.0)).collect::<Vec<_>>(), [(&peer("u"), 6)]);
}

#[tokio::test]
async fn an_approval_counts_for_exactly_what_was_approved() {
    let store = Disk::default().open().unwrap();
    let entry = kept(&store, "t", "hook");
    offered(&entry, peer("u"), "AAAA", 5).await;
    let pending = entry.pending(STAMP, Timestamp(6)).unwrap().remove(0);
    entry.approve(STAMP, &pending, "welcome", Timestamp(6)).await.unwrap();
    for (store, subject, stamp) in [
        (kept(&store, "t", "hook"), group("u"), STAMP),
        (kept(&store, "t", "hook"), peer("uu"), STAMP),
        (kept(&store, "t", "hook"), peer("u"), STAMP + 1),
        (kept(&store, "t", "hook2"), peer("u"), STAMP),
        (kept(&store, "", "hook"), peer("u"), STAMP),
        (kept(&store, "t2", "hook"), peer("u"), STAMP),
    ] {
        assert!(!store.is_approved(&subject, stamp).unwrap(), "{subject:?} {stamp}");
        assert!(!store.approvals(stamp, 9).unwrap().iter().any(|approval| approval.subject == subject));
    }
}

#[tokio::test]
async fn a_code_of_another_channel_or_past_its_hour_approves_nobody() {
    let store = Disk::default().open().unwrap();
    let entry = kept(&store, "t", "hook");
    offered(&entry, peer("u"), "AAAA", 5).await;
    let pending = entry.pending(STAMP, Timestamp(6)).unwrap().remove(0);
    assert!(entry.pending(STAMP + 1, Timestamp(6)).unwrap().is_empty(), "the entry has become another channel");
    for (entry, stamp, at) in [
        (kept(&store, "t", "hook"), STAMP + 1, 6),
        (kept(&store, "t", "hook"), STAMP, 5 + HOUR),
        (kept(&store, "t", "other"), STAMP, 6),
        (kept(&store, "", "hook"), STAMP, 6),
    ] {
        let approved = entry.approve(stamp, &pending, "welcome", Timestamp(at)).await;
        assert!(matches!(approved, Err(Error::Gone { .. })), "{stamp} {at}");
    }
    assert!(!entry.is_approved(&peer("u"), STAMP).unwrap());
}

#[tokio::test]
async fn an_approval_is_taken_back_by_its_id() {
    let store = Disk::default().open().unwrap();
    let entry = kept(&store, "t", "hook");
    for subject in [peer("u"), group("u"), peer("v")] {
        offered(&entry, subject, "AAAA", 5).await;
        let pending = entry.pending(STAMP, Timestamp(6)).unwrap().remove(0);
        entry.approve(STAMP, &pending, "welcome", Timestamp(6)).await.unwrap();
    }
    assert_eq!(entry.revoke("u").await.unwrap(), [peer("u"), group("u")]);
    assert_eq!(entry.revoke("u").await.unwrap(), []);
    assert!(!entry.is_approved(&peer("u"), STAMP).unwrap() && entry.is_approved(&peer("v"), STAMP).unwrap());
}

#[tokio::test]
async fn a_line_outside_of_every_conversation_is_sent_as_others_are() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    let entry = kept(&store, "t", "hook");
    let said = |text: &str| NewDelivery { answers: Vec::new(), ..reply("m1", text) };
    for text in ["one", "two", "three"] {
        entry.say(said(text), Timestamp(5)).await.unwrap();
    }
    drop((store, entry));
    let store = open(&home);

    let left = store.resume().unwrap().deliveries;
    assert!(left.iter().all(|delivery| delivery.key.is_of_notices() && delivery.tenant == tenant("t")));
    let session = store.tenant(tenant("t").as_ref()).session(&left[0].key);
    let claimed = left.iter().map(|name| session.claim_delivery(&name.id).unwrap().unwrap());
    let texts: Vec<_> = claimed.map(|delivery| (delivery.content.text, delivery.is_started)).collect();
    assert_eq!(texts, ["one", "two", "three"].map(|text| (text.to_owned(), false)));
    session.start_delivery(&left[0].id).await.unwrap();
    session.unstart_delivery(&left[0].id).await.unwrap();
    session.start_delivery(&left[0].id).await.unwrap();
    session.settle_delivery(&left[0].id).await.unwrap();
    session.park_delivery(&left[1].id, "gone".into(), Timestamp(6)).await.unwrap();
    assert_eq!(session.undelivered().unwrap().len(), 1);
    assert_eq!(store.counts().unwrap(), Counts { undelivered: 1, ..Counts::default() });
}

#[tokio::test]
async fn a_message_without_a_conversation_is_kept_once_and_does_not_count_as_filed() {
    let store = Disk::default().open().unwrap();
    let entry = kept(&store, "t", "slack-2");
    let message = inbound("t", "u", "m1", 5);
    assert!(entry.park(message.clone(), "it needs a user_id".into()).await.unwrap());
    assert!(!entry.park(message.clone(), "it needs a user_id".into()).await.unwrap());
    let kept_rows = entry.unresolved(9).unwrap();
    assert_eq!(
        kept_rows,
        [Parked {
            position: 1,
            at: Timestamp(5),
            reason: "it needs a user_id".into(),
            what: ParkedItem::Message(message.clone())
        }]
    );
    assert!(!entry.is_filed(&message.message_id).unwrap());
    let filed = store.tenant(tenant("t").as_ref()).file(&key("a"), &message, FOR_EVER).await.unwrap();
    assert_eq!(filed, crate::store::Filed::New, "once the configuration is mended");
    assert!(entry.is_filed(&message.message_id).unwrap());
    let other = kept(&store, "", "slack-2").park(message, "why".into()).await;
    assert!(matches!(other, Err(Error::OtherTenant)));
}

#[tokio::test]
async fn of_a_thousand_messages_without_a_conversation_the_oldest_goes() {
    let store = Disk::default().open().unwrap();
    let entry = kept(&store, "", "slack-2");
    let park = |n: u64| entry.park(inbound("", "u", &format!("m{n}"), n), "why".into());
    futures_util::future::join_all((0..1001).map(park)).await;
    let times: Vec<u64> = entry.unresolved(9999).unwrap().iter().map(|parked| parked.at.0).collect();
    assert_eq!((times.len(), times[0], times[999]), (1000, 1, 1000));
    assert_eq!(store.n_unresolved().unwrap(), 1000);

    let other = kept(&store, "t", "slack-2");
    other.park(inbound("t", "u", "m1", 5), "why".into()).await.unwrap();
    let slack = EntryId::new("slack-2").unwrap();
    assert_eq!(store.unresolved_entries().unwrap(), [(None, slack.clone()), (tenant("t"), slack.clone())]);
    assert_eq!(entry.drop_unresolved().await.unwrap(), 1000);
    assert_eq!(entry.drop_unresolved().await.unwrap(), 0);
    assert_eq!(store.unresolved_entries().unwrap(), [(tenant("t"), slack)]);
}
