//! A journal that is not there, a file that ends too early, and how little is asked of a disk that is sound.

use std::fs;
use std::path::Path;

use super::disk::{Disk, Fault};
use super::*;
use crate::store::place::journal_of;
use crate::store::{Error, check, repair};

const KEY: [u8; 32] = [7; 32];

async fn file(store: &Store, message_id: &str) -> Result<(), Error> {
    store.tenant(None).file(&key("a"), &inbound("", "u", message_id, 1), FOR_EVER).await.map(drop)
}

fn n_waiting(store: &Store) -> usize {
    store.tenant(None).session(&key("a")).waiting(99).unwrap().len()
}

fn path_in(home: &tempfile::TempDir) -> std::path::PathBuf {
    home.path().join("store.redb")
}

/// The files of a store with messages, as the end of the process leaves them.
async fn killed() -> tempfile::TempDir {
    let (home, copy) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(&home);
    for n in 0..5 {
        file(&store, &format!("m{n}")).await.unwrap();
    }
    for path in [path_in(&home), journal_of(&path_in(&home))] {
        fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

/// Content of the store's file and of its journal.
fn bytes(path: &Path) -> [Option<Vec<u8>>; 2] {
    [path, &journal_of(path)].map(|path| fs::read(path).ok())
}

/// It cannot be opened, and stays as it is; the words that say why.
fn refused(path: &Path) -> String {
    let before = bytes(path);
    let mut said = String::new();
    for _ in 0..2 {
        let error = Store::open(path, CACHE_BYTES, &KEY).map(drop).unwrap_err();
        let Error::Open { source, .. } = error else { panic!("{error}") };
        said = source.to_string();
        assert!(bytes(path) == before, "it is left alone: {said}");
    }
    said
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_that_is_missing_after_a_kill_is_noticed_and_repair_accepts_the_loss() {
    type Harm = fn(&Path);
    let others: Harm = |journal| {
        let home = tempfile::tempdir().unwrap();
        let store = open(&home);
        tokio::task::block_in_place(|| {
            tokio::runtime::Handle::current().block_on(async { file(&store, "other").await.unwrap() });
        });
        fs::copy(journal_of(&path_in(&home)), journal).unwrap();
    };
    let harms: [(&str, Harm); 5] = [
        ("removed", |journal| fs::remove_file(journal).unwrap()),
        ("emptied", |journal| fs::write(journal, "").unwrap()),
        ("zeros", |journal| fs::write(journal, vec![0; fs::read(journal).unwrap().len()]).unwrap()),
        ("cut off", |journal| fs::write(journal, &fs::read(journal).unwrap()[..8192]).unwrap()),
        ("of another store", others),
    ];
    for (what, harm) in harms {
        let home = killed().await;
        let path = path_in(&home);
        let whole = tempfile::tempdir().unwrap();
        for path in [path.clone(), journal_of(&path)] {
            fs::copy(&path, whole.path().join(path.file_name().unwrap())).unwrap();
        }
        assert_eq!(n_waiting(&Store::open(&path_in(&whole), CACHE_BYTES, &KEY).unwrap()), 5);

        harm(&journal_of(&path));
        let said = refused(&path);
        assert!(said.contains("may be missing") && said.contains("journal"), "{what}: {said}");
        assert!(check(&path, CACHE_BYTES, &KEY).unwrap().n_problems > 0, "{what}");
        let repaired = repair(&path, CACHE_BYTES, &KEY).unwrap();
        assert!(!repaired.kept.is_empty());
        let store = Store::open(&path, CACHE_BYTES, &KEY).unwrap();
        assert!(n_waiting(&store) < 5, "{what}: there is a loss to be accepted");
        file(&store, "after").await.unwrap();
    }
}

#[tokio::test]
async fn a_store_that_was_closed_is_whole_without_its_journal() {
    let home = tempfile::tempdir().unwrap();
    for n in 1..4 {
        let store = open(&home);
        assert_eq!(n_waiting(&store), n - 1);
        file(&store, &format!("m{n}")).await.unwrap();
        drop(store);
        fs::remove_file(journal_of(&path_in(&home))).unwrap();
    }
}

#[tokio::test]
async fn after_a_rewrite_the_journal_is_still_missed() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    file(&store, "m1").await.unwrap();
    let session = store.tenant(None).session(&key("a"));
    let seq = session.waiting(1).unwrap()[0].seq;
    session.commit_turn(turn(vec![seq], "hi", vec![], 2)).await.unwrap();
    session.erase(None).await.unwrap();
    store.rewrite().await.unwrap();
    file(&store, "m2").await.unwrap();
    let copy = tempfile::tempdir().unwrap();
    fs::copy(path_in(&home), path_in(&copy)).unwrap();
    refused(&path_in(&copy));
    fs::copy(journal_of(&path_in(&home)), journal_of(&path_in(&copy))).unwrap();
    assert_eq!(n_waiting(&open(&copy)), 1);
}

#[tokio::test]
async fn a_file_that_ends_too_early_stays_as_it_is() {
    let home = killed().await;
    let whole = fs::read(path_in(&home)).unwrap();
    for len in [0, 1, 9, 4096, whole.len() / 3, whole.len() / 2, whole.len() - 4096] {
        fs::write(path_in(&home), &whole[..len]).unwrap();
        refused(&path_in(&home));
    }
    fs::write(path_in(&home), vec![0; whole.len()]).unwrap();
    refused(&path_in(&home));
    fs::remove_file(path_in(&home)).unwrap();
    refused(&path_in(&home));
    fs::write(path_in(&home), &whole).unwrap();
    assert_eq!(n_waiting(&open(&home)), 5);
}

#[tokio::test]
async fn what_is_wrong_is_said_in_words_for_people() {
    let home = killed().await;
    let mut damaged = fs::read(path_in(&home)).unwrap();
    // Both commits in redb's first page.
    damaged[64..400].iter_mut().for_each(|byte| *byte ^= 0x55);
    fs::write(path_in(&home), damaged).unwrap();
    let said = refused(&path_in(&home));
    for inside in ["2-phase", "slot", "DB ", "corrupted", "checksum", "panic", "redb"] {
        assert!(!said.contains(inside), "{said}");
    }
    assert!(said.contains("damaged"), "{said}");
}

#[tokio::test]
async fn a_checkpoint_that_fails_in_a_rewrite_keeps_nobody_from_reading() {
    let disk = Disk::default();
    let store = disk.open().unwrap();
    for n in 0..20 {
        let key = key(&format!("k{n}"));
        let message = Inbound { text: "word ".repeat(40_000), ..inbound("", "u", &format!("m{n}"), 1) };
        store.tenant(None).file(&key, &message, FOR_EVER).await.unwrap();
    }
    file(&store, "m").await.unwrap();
    let session = store.tenant(None).session(&key("a"));
    session.commit_turn(turn(vec![1], "hi", vec![], 2)).await.unwrap();
    session.erase(None).await.unwrap();
    disk.set_fault(Fault::NextSync);
    assert!(matches!(store.rewrite().await, Err(Error::NotOverwritten(_))));
    for n in 0..20 {
        let key = key(&format!("k{n}"));
        assert_eq!(store.tenant(None).session(&key).waiting(9).unwrap().len(), 1);
    }
    store.rewrite().await.unwrap();
}

#[tokio::test]
async fn the_disk_is_not_asked_for_its_room_with_every_batch() {
    let disk = Disk::default();
    let store = disk.open().unwrap();
    file(&store, "first").await.unwrap();
    let before = disk.n_looks();
    for n in 0..200 {
        file(&store, &format!("m{n}")).await.unwrap();
    }
    let n_looks = disk.n_looks() - before;
    assert!(n_looks < 50, "{n_looks} times for 200 messages");
}

#[tokio::test]
async fn however_fast_messages_come_the_reserve_is_not_used_for_them() {
    let disk = Disk::default();
    let store = disk.open().unwrap();
    file(&store, "first").await.unwrap();
    disk.set_fault(Fault::Reserve);
    let mut n_bytes = 0;
    for n in 0.. {
        let message = Inbound { text: "x".repeat(10_000), ..inbound("", "u", &format!("m{n}"), 1) };
        match store.tenant(None).file(&key("a"), &message, FOR_EVER).await {
            Ok(_) => n_bytes += 10_000,
            Err(error) => {
                assert!(matches!(error, Error::Full { .. }), "{error}");
                break;
            }
        }
        // A quarter of what is kept for what is not new.
        assert!(n_bytes < store.room().unwrap().reserve_bytes() / 4);
    }
}
