//! The access log.

use super::*;
use crate::store::{About, Access, AccessFilter, NewAccess};

fn record(who: &str, what: &'static str, about: About, at: u64) -> NewAccess {
    NewAccess { at: Timestamp(at), who: who.to_owned(), from: "192.0.2.7".parse().ok(), what: what.into(), about }
}

fn about(text: &str) -> About {
    About::Key(key(text))
}

fn all(store: &Store, tenant_id: &str, filter: &AccessFilter) -> Vec<Access> {
    let of = store.tenant(tenant(tenant_id).as_ref());
    let (mut found, mut filter) = (Vec::new(), AccessFilter { limit: 2, ..filter.clone() });
    loop {
        let (page, before) = of.access(&filter).unwrap();
        assert!(page.len() <= 2);
        found.extend(page);
        match before {
            Some(before) => filter.before = Some(before),
            None => return found,
        }
    }
}

fn whats(store: &Store, tenant_id: &str, filter: &AccessFilter) -> Vec<String> {
    all(store, tenant_id, filter).into_iter().map(|record| record.access.what.into_owned()).collect()
}

#[tokio::test]
async fn records_come_newest_first_and_only_to_their_tenant() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let (own, a) = (store.tenant(None), store.tenant(tenant("a").as_ref()));
    own.record_access(vec![record("Ada", "show", about("k"), 1), record("Bob", "log in", About::Nothing, 2)])
        .await
        .unwrap();
    own.record_access(vec![record("Ada", "export", about("k2"), 3)]).await.unwrap();
    a.record_access(vec![record("Eve", "show", about("k"), 4)]).await.unwrap();
    let any = AccessFilter::default();
    assert_eq!(whats(&store, "", &any), ["export", "log in", "show"]);
    assert_eq!(whats(&store, "a", &any), ["show"]);
    assert_eq!(whats(&store, "a-b", &any), Vec::<String>::new());
    assert_eq!(whats(&store, "", &AccessFilter { who: Some("Ada".into()), ..any.clone() }), ["export", "show"]);
    assert_eq!(whats(&store, "", &AccessFilter { what: Some("show".into()), ..any.clone() }), ["show"]);
    assert_eq!(whats(&store, "", &AccessFilter { key: Some(key("k2")), ..any }), ["export"]);
    assert_eq!(store.with_access().unwrap(), [None, tenant("a")]);
}

#[tokio::test]
async fn records_cost_no_syncs_of_their_own_and_outlive_the_process() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let n_syncs = store.n_syncs();
    for at in 0..100 {
        store.tenant(None).record_access(vec![record("Ada", "show", about("k"), at)]).await.unwrap();
    }
    // Once a second at most, however slow this machine is.
    assert!(store.n_syncs() - n_syncs < 100);
    drop(store);
    assert_eq!(whats(&open(&directory), "", &AccessFilter::default()).len(), 100);
}

#[tokio::test]
async fn of_an_erased_conversation_the_log_keeps_a_digest_of_the_key() {
    let directory = tempfile::tempdir().unwrap();
    let store = open_plain(&directory);
    let conversations = store.tenant(None);
    for name in ["tel-4915551234", "tel-4915559999"] {
        conversations.file(&key(name), &inbound("", "u", name, 1), FOR_EVER).await.unwrap();
        conversations.record_access(vec![record("Ada", "show", about(name), 2)]).await.unwrap();
    }
    conversations.record_access(vec![record("Ada", "erase", about("tel-4915551234"), 3)]).await.unwrap();
    conversations.session(&key("tel-4915551234")).erase(None).await.unwrap();
    store.rewrite().await.unwrap();

    let records = all(&store, "", &AccessFilter::default());
    let digest = conversations.erased_as(&key("tel-4915551234")).unwrap().unwrap();
    let found: Vec<_> = records.iter().map(|record| record.access.about.clone()).collect();
    let erased = || About::Erased(digest.clone());
    assert_eq!(found, [erased(), about("tel-4915559999"), erased()]);
    let of_it = AccessFilter { key: Some(key("tel-4915551234")), ..AccessFilter::default() };
    assert_eq!(whats(&store, "", &of_it), ["erase", "show"], "whoever knows the key can prove it");
    assert_ne!(store.tenant(tenant("a").as_ref()).erased_as(&key("tel-4915551234")).unwrap(), Some(digest));
    drop((conversations, store));
    let file = std::fs::read(directory.path().join("store.redb")).unwrap();
    let holds = |words: &str| file.windows(words.len()).any(|window| window == words.as_bytes());
    assert!(holds("tel-4915559999") && !holds("tel-4915551234"));
}

#[tokio::test]
async fn one_of_several_episodes_that_is_erased_leaves_the_key() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let conversations = store.tenant(None);
    let session = conversations.session(&key("a"));
    for (message_id, at) in [("m1", 1), ("m2", 3)] {
        conversations.file(&key("a"), &inbound("", "u", message_id, at), FOR_EVER).await.unwrap();
        let row = session.row().unwrap().unwrap();
        let seq = session.waiting(1).unwrap()[0].seq;
        let answer = Turn { episode: row.episode, first_line: row.first_line, ..turn(vec![seq], "hi", vec![], at + 1) };
        session.commit_turn(answer).await.unwrap();
        session.archive(Timestamp(at + 1)).await.unwrap();
    }
    conversations.record_access(vec![record("Ada", "show", about("a"), 5)]).await.unwrap();
    session.erase(Some(1)).await.unwrap();
    assert_eq!(all(&store, "", &AccessFilter::default())[0].access.about, about("a"));
    session.erase(Some(2)).await.unwrap();
    assert!(matches!(all(&store, "", &AccessFilter::default())[0].access.about, About::Erased(_)));
}

#[tokio::test]
async fn what_is_old_goes() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let of = store.tenant(None);
    let records = (0..2_500).map(|at| record("Ada", "show", About::Nothing, at)).collect();
    of.record_access(records).await.unwrap();
    let mut n_steps = 0;
    while store.prune_access(Timestamp(2_400)).await.unwrap() {
        n_steps += 1;
    }
    assert!(n_steps >= 2, "no step is long");
    let left = all(&store, "", &AccessFilter::default());
    assert_eq!((left.len(), left.last().unwrap().access.at), (100, Timestamp(2_400)));
    of.record_access(vec![record("Ada", "show", About::Nothing, 3_000)]).await.unwrap();
    assert_eq!(all(&store, "", &AccessFilter::default()).len(), 101);
}

#[tokio::test]
async fn a_tenants_log_goes_with_the_tenant() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    for of in ["", "a"] {
        store.tenant(tenant(of).as_ref()).record_access(vec![record("Ada", "show", about("k"), 1)]).await.unwrap();
    }
    store.erase_tenant(tenant("a").as_ref(), || {}).await.unwrap();
    assert_eq!(store.with_access().unwrap(), [None]);
}
