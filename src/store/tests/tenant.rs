//! What is sealed, for whom, and how a tenant ends.

use std::fs;

use super::disk::{Disk, Fault, Survivors};
use super::*;
use crate::id::FileName;
use crate::store::erase_tenant::BeginErasing;
use crate::store::{Error, FileChange, Filed, KeptTenant, NoteChange};

/// Words that stand nowhere but in what somebody said, or a model chose.
pub(super) const WORDS: [&str; 7] = ["canaryq", "canarya", "canaryn", "canaryf", "canaryt", "canaryw", "canaryv"];

/// A conversation with something in every table: answered, waiting, set aside, archived.
pub(super) async fn fill(store: &Store, tenant_id: &str, key_text: &str) {
    let conversations = store.tenant(tenant(tenant_id).as_ref());
    let session = conversations.session(&key(key_text));
    let message = |message_id: &str, at| {
        let inbound = inbound(tenant_id, "u", &format!("{tenant_id}{key_text}{message_id}"), at);
        Inbound { text: "canaryq?".to_owned(), user_name: Some("canaryw".to_owned()), ..inbound }
    };
    for n in 1..=4 {
        conversations.file(&key(key_text), &message(&n.to_string(), n), FOR_EVER).await.unwrap();
    }
    let notes = vec![NoteChange { number: 1, was: None, text: Some("canaryn".to_owned()) }];
    let name = FileName::new("canaryf.txt").unwrap();
    let files = vec![FileChange { name, text: Some("canaryt".to_owned()) }];
    let replies = vec![reply("m", "canarya"), reply("m", "canarya")];
    let SessionRow { episode, first_line, .. } = session.row().unwrap().unwrap();
    let seqs: Vec<u64> = session.waiting(2).unwrap().into_iter().map(|waiting| waiting.seq).collect();
    let first = Turn { episode, first_line, notes, files, ..turn(vec![seqs[0]], "canarya", replies, 5) };
    session.commit_turn(first).await.unwrap();
    session.park(vec![seqs[1]], "canaryv".to_owned(), None, Timestamp(6)).await.unwrap();
    session.archive(Timestamp(7)).await.unwrap();
    conversations.file(&key(key_text), &message("5", 8), FOR_EVER).await.unwrap();
}

fn kept(store: &Store) -> Vec<KeptTenant> {
    store.kept_tenants().unwrap()
}

fn tenants(store: &Store) -> Vec<Option<TenantId>> {
    kept(store).into_iter().map(|kept| kept.tenant).collect()
}

#[tokio::test]
async fn words_and_names_are_sealed_on_the_disk_and_come_back_with_the_same_key_only() {
    let (sealed, plain) = (Disk::default(), Disk::default());
    let mut views = Vec::new();
    for store in [sealed.open_sealed().unwrap(), plain.open().unwrap()] {
        fill(&store, "", "slack:a").await;
        fill(&store, "practice", "tenant-practice-slack:a").await;
        views.push([view(&store, "", "slack:a"), view(&store, "practice", "tenant-practice-slack:a")]);
    }
    for words in WORDS {
        assert!(plain.holds(words), "{words} can be found");
        assert!(!sealed.holds(words), "{words}");
    }
    assert!(sealed.holds("tenant-practice-slack:a"), "keys are not sealed");
    assert_eq!(views[0], views[1]);
    let again = sealed.open_sealed().unwrap();
    assert_eq!([view(&again, "", "slack:a"), view(&again, "practice", "tenant-practice-slack:a")], views[0]);
    drop(again);
    let other = Keyring::new(&[8; 32]).unwrap();
    assert!(matches!(sealed.open_with(other), Err(Error::DataKey)));
}

#[tokio::test]
async fn a_working_file_of_an_earlier_format_is_found_under_its_name_which_is_in_no_key_any_more() {
    const FILES: redb::TableDefinition<(&str, &str, u64, &str), &[u8]> = redb::TableDefinition::new("files");
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("store.redb");
    fs::copy("tests/data/store/format-1.redb", &path).unwrap();
    let database = redb::Database::open(&path).unwrap();
    let transaction = database.begin_write().unwrap();
    let row = b"\x01\xac\x02\x07canaryt";
    transaction.open_table(FILES).unwrap().insert(("", "slack:T1:C1", 1, "canaryf.txt"), &row[..]).unwrap();
    transaction.commit().unwrap();
    drop(database);
    let holds = |words: &str| {
        let bytes = fs::read(&path).unwrap();
        bytes.windows(words.len()).any(|window| window == words.as_bytes())
    };
    assert!(holds("canaryf") && holds("canaryt") && holds("text of u1"));
    for _ in 0..2 {
        let found = view(&open(&home), "", "slack:T1:C1").files;
        assert_eq!(found, [("canaryf.txt".to_owned(), "canaryt".to_owned())]);
    }
    assert!(!holds("canaryf") && !holds("canaryt") && !holds("text of u1"));
}

#[tokio::test]
async fn an_erased_tenant_leaves_nothing_and_the_others_stay() {
    let disk = Disk::default();
    let store = disk.open().unwrap();
    for tenant_id in ["", "practice", "agency"] {
        fill(&store, tenant_id, "slack:a").await;
        fill(&store, tenant_id, "slack:b").await;
    }
    let before = [view(&store, "", "slack:a"), view(&store, "agency", "slack:b")];
    let highest = view(&store, "practice", "slack:a").row.unwrap();
    let mut is_begun = false;
    assert_eq!(store.erase_tenant(tenant("practice").as_ref(), || is_begun = true).await.unwrap(), Some(4));
    assert!(is_begun);
    assert_eq!(view(&store, "practice", "slack:a"), View::default());
    assert_eq!([view(&store, "", "slack:a"), view(&store, "agency", "slack:b")], before);
    assert_eq!(tenants(&store), [None, tenant("agency")]);
    assert!(store.must_rewrite().unwrap());
    store.rewrite().await.unwrap();
    // The tenant is in every key of its rows, and messages of it have it in their ids.
    assert!(!disk.holds("practice") && disk.holds("agency"));
    assert_eq!(store.erase_tenant(tenant("practice").as_ref(), || panic!("nothing is begun")).await.unwrap(), None);

    // The same message again is a new one, and nobody takes it for one of before.
    fill(&store, "practice", "slack:a").await;
    let row = view(&store, "practice", "slack:a").row.unwrap();
    assert!(row.episode > highest.episode && row.first_line > highest.first_line, "{row:?}");
    assert_eq!(store.erase_tenant(None, || ()).await.unwrap(), Some(4));
    assert_eq!(tenants(&store), [tenant("agency"), tenant("practice")]);
    drop(store);
    let store = disk.open().unwrap();
    assert_eq!(tenants(&store), [tenant("agency"), tenant("practice")]);
    assert_eq!(view(&store, "agency", "slack:b"), before[1]);
}

#[tokio::test]
async fn what_begins_to_be_erased_is_out_of_reach_and_takes_nothing_until_it_is_gone() {
    let disk = Disk::default();
    let store = disk.open_sealed().unwrap();
    fill(&store, "practice", "slack:a").await;
    fill(&store, "agency", "slack:a").await;
    let conversations = store.tenant(tenant("practice").as_ref());
    let file = |message_id: &'static str| {
        let (conversations, inbound) = (conversations.clone(), inbound("practice", "u", message_id, 9));
        async move { conversations.file(&key("slack:a"), &inbound, FOR_EVER).await }
    };
    store.shared.writer.write(BeginErasing(tenant("practice"))).await.unwrap();
    let is_out_of_reach = |store: &Store| {
        let session = store.tenant(tenant("practice").as_ref()).session(&key("slack:a"));
        assert!(matches!(session.row(), Err(Error::Busy)));
        assert!(session.lines_after(0, usize::MAX).unwrap_or_default().is_empty());
    };
    is_out_of_reach(&store);
    assert!(matches!(file("new").await, Err(Error::Busy)));
    // Others do not notice, and neither does what concerns all.
    assert!(store.tenant(tenant("agency").as_ref()).has_session(&key("slack:a")).unwrap());
    assert_eq!(store.expire(Timestamp(5), Timestamp(100), None).await.unwrap().n_archived, 0);
    let is_erasing: Vec<bool> = kept(&store).iter().map(|kept| kept.is_erasing).collect();
    assert_eq!(is_erasing, [false, true]);
    drop((conversations, store));

    let store = disk.open_sealed().unwrap();
    is_out_of_reach(&store);
    store.finish_erasing().await.unwrap();
    assert_eq!(tenants(&store), [tenant("agency")]);
    let conversations = store.tenant(tenant("practice").as_ref());
    let filed = conversations.file(&key("slack:a"), &inbound("practice", "u", "new", 9), FOR_EVER).await.unwrap();
    assert_eq!(filed, Filed::New);
    assert_eq!(view(&store, "practice", "slack:a").waiting.len(), 1);
}

#[tokio::test]
async fn a_tenant_whose_power_goes_out_while_it_is_erased_is_there_or_gone() {
    let n_syncs = {
        let disk = Disk::default();
        let store = disk.open_sealed().unwrap();
        fill(&store, "practice", "slack:a").await;
        fill(&store, "agency", "slack:a").await;
        let before = disk.n_syncs();
        store.erase_tenant(tenant("practice").as_ref(), || ()).await.unwrap();
        store.rewrite().await.unwrap();
        before + 1..=disk.n_syncs()
    };
    let (mut n_there, mut n_gone) = (0, 0);
    for n in n_syncs {
        for survivors in [Survivors::None, Survivors::All, Survivors::Third(0), Survivors::Third(1)] {
            let disk = Disk::with_fault(Fault::PowerCutAt(n));
            let store = disk.open_sealed().unwrap();
            fill(&store, "practice", "slack:a").await;
            fill(&store, "agency", "slack:a").await;
            let (of_practice, of_agency) = (view(&store, "practice", "slack:a"), view(&store, "agency", "slack:a"));
            let erased = store.erase_tenant(tenant("practice").as_ref(), || ()).await.is_ok();
            drop(store.rewrite().await);
            drop(store);

            let store = disk.after_power_cut(survivors).open_sealed().unwrap();
            store.finish_erasing().await.unwrap();
            assert_eq!(view(&store, "agency", "slack:a"), of_agency, "sync {n}, {survivors:?}");
            let left = view(&store, "practice", "slack:a");
            if left == View::default() {
                n_gone += 1;
                assert_eq!(tenants(&store), [tenant("agency")], "sync {n}, {survivors:?}");
            } else {
                n_there += 1;
                assert_eq!(left, of_practice, "sync {n}, {survivors:?}");
                assert!(!erased, "it was said to be gone; sync {n}, {survivors:?}");
            }
        }
    }
    assert!(n_there > 0 && n_gone > 0, "{n_there} {n_gone}");
}

#[tokio::test]
async fn a_key_that_could_not_be_stored_or_removed_is_what_the_store_says() {
    let disk = Disk::default();
    let store = disk.open_sealed().unwrap();
    fill(&store, "agency", "slack:a").await;
    let before = view(&store, "agency", "slack:a");
    let practice = store.tenant(tenant("practice").as_ref());
    let file = |message_id: &'static str| {
        let (practice, inbound) = (practice.clone(), inbound("practice", "u", message_id, 9));
        async move { practice.file(&key("slack:a"), &inbound, FOR_EVER).await }
    };
    disk.set_fault(Fault::NextSync);
    file("one").await.unwrap_err();
    file("two").await.unwrap();
    disk.set_fault(Fault::NextSync);
    store.erase_tenant(tenant("agency").as_ref(), || panic!("it is not begun")).await.unwrap_err();
    drop((practice, store));
    let store = disk.after_power_cut(Survivors::None).open_sealed().unwrap();
    let texts: Vec<_> = view(&store, "practice", "slack:a").waiting.into_iter().map(|w| w.inbound.text).collect();
    assert_eq!(texts, ["text of two"]);
    assert_eq!(view(&store, "agency", "slack:a"), before);
}
