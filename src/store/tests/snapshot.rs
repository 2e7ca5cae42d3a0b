//! A store's rows make the same store elsewhere, and nothing takes the place of what is there unasked.

use std::path::Path;

use proptest::prelude::*;

use super::disk::{Disk, Fault};
use super::rewrite::{KEYS, Op, any_op, run};
use super::*;
use crate::store::{Error, Existing, Filled, OwnedRow, examine, table_name};

fn rows(store: &Store) -> Vec<OwnedRow> {
    let mut rows = Vec::new();
    let read = store.snapshot().unwrap().rows(|row| {
        rows.push(OwnedRow { table: row.table, key: row.key.to_vec(), value: row.value.to_vec() });
        Ok::<_, Error>(())
    });
    read.unwrap();
    rows
}

fn fill(path: &Path, existing: Existing, rows: Vec<OwnedRow>) -> Result<Filled, Error> {
    Store::fill(path, CACHE_BYTES, existing, rows.into_iter().map(Ok))
}

fn names(home: &tempfile::TempDir) -> Vec<String> {
    let entries = std::fs::read_dir(home.path()).unwrap();
    let mut names: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// One message that waits.
async fn said(store: &Store, text: &str) {
    let message = inbound("", "U1", text, 1);
    store.tenant(None).file(&key("slack:U1"), &message, FOR_EVER).await.unwrap();
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn the_rows_of_a_store_make_the_same_store(ops in proptest::collection::vec(any_op(), 1..40)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let home = tempfile::tempdir().unwrap();
            let (store, mut n) = (open(&home), 0);
            for op in ops {
                if !matches!(op, Op::Erase { .. } | Op::Reopen) {
                    run(&store, op, &mut n).await;
                }
            }
            let before = rows(&store);
            let contents = examine::<Error>(before.iter().cloned().map(Ok)).unwrap();
            let counts = store.counts().unwrap();
            assert_eq!(
                ["sessions", "archive", "inbox", "outbox", "parked"].map(|table| contents.count(table)),
                [counts.sessions, counts.archived, counts.waiting, counts.undelivered, counts.parked]
            );
            let path = home.path().join("other.redb");
            let filled = fill(&path, Existing::Refuse, before.clone()).unwrap();
            assert_eq!(filled.n_rows(), before.len() as u64);
            assert!(!path.exists(), "nothing is there before it is put there");
            assert!(!filled.put().unwrap());
            let other = Store::open(&path, CACHE_BYTES).unwrap();
            for key_text in KEYS {
                assert_eq!(view(&other, "", key_text), view(&store, "", key_text));
                let ids = |store: &Store| store.tenant(None).session(&key(key_text)).undelivered().unwrap();
                assert_eq!(ids(&other), ids(&store), "with the ids of deliveries");
            }
            let changed: Vec<_> = rows(&other).into_iter().filter(|row| !before.contains(row)).collect();
            assert!(changed.iter().all(|row| table_name(row.table).as_deref() == Some("numbers")), "{changed:?}");
            assert!(!other.must_rewrite().unwrap());
        });
    }
}

#[tokio::test]
async fn a_snapshot_stays_what_it_was_and_keeps_nobody_from_writing() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    said(&store, "one").await;
    let (before, snapshot) = (rows(&store), store.snapshot().unwrap());
    said(&store, "two").await;
    store.tenant(None).session(&key("slack:U1")).erase(None).await.unwrap();
    store.rewrite().await.unwrap();
    said(&store, "three").await;
    let mut found = Vec::new();
    let read = snapshot.rows(|row| {
        found.push(OwnedRow { table: row.table, key: row.key.to_vec(), value: row.value.to_vec() });
        Ok::<_, Error>(())
    });
    read.unwrap();
    assert_eq!(found, before);
}

#[tokio::test]
async fn a_snapshot_ends_when_the_store_must_be_opened_again() {
    let disk = Disk::default();
    let store = disk.open().unwrap();
    said(&store, "one").await;
    let snapshot = store.snapshot().unwrap();
    disk.set_fault(Fault::NextSync);
    let message = inbound("", "U1", "two", 1);
    assert!(store.tenant(None).file(&key("slack:U1"), &message, FOR_EVER).await.is_err());
    // By now it was opened again.
    said(&store, "three").await;
    assert!(matches!(snapshot.rows(|_row| Ok::<_, Error>(())), Err(Error::Storage(_))));
}

#[tokio::test]
async fn nothing_takes_the_place_of_a_store_unasked() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("store.redb");
    let store = open(&home);
    said(&store, "one").await;
    let rows = rows(&store);
    for existing in [Existing::Refuse, Existing::KeepBeside] {
        assert!(matches!(fill(&path, existing, rows.clone()), Err(Error::Locked { .. })), "it is open");
    }
    drop(store);
    assert!(matches!(fill(&path, Existing::Refuse, rows.clone()), Err(Error::Occupied { .. })));
    let bytes = std::fs::read(&path).unwrap();
    let filled = fill(&path, Existing::KeepBeside, rows.clone()).unwrap();
    assert_eq!(std::fs::read(&path).unwrap(), bytes);
    assert!(filled.put().unwrap());
    assert_eq!(names(&home), ["store.redb", "store.redb.before-restore"]);
    assert_eq!(std::fs::read(home.path().join("store.redb.before-restore")).unwrap(), bytes);
    let again = fill(&path, Existing::KeepBeside, rows.clone()).unwrap().put();
    assert!(matches!(again, Err(Error::Occupied { .. })), "what was first there is not overwritten");
    assert_eq!(names(&home), ["store.redb", "store.redb.before-restore"]);

    // Somebody was faster.
    let other = home.path().join("other.redb");
    let filled = fill(&other, Existing::Refuse, rows).unwrap();
    drop(Store::open(&other, CACHE_BYTES).unwrap());
    let taken = std::fs::read(&other).unwrap();
    assert!(matches!(filled.put(), Err(Error::Occupied { .. })));
    assert_eq!(std::fs::read(&other).unwrap(), taken);
}

#[tokio::test]
async fn rows_that_no_store_has_make_none() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    said(&store, "one").await;
    let (path, good) = (home.path().join("new.redb"), rows(&store));
    let check = |change: fn(&mut Vec<OwnedRow>)| {
        let mut rows = good.clone();
        change(&mut rows);
        assert!(examine::<Error>(rows.iter().cloned().map(Ok)).is_err());
        assert!(fill(&path, Existing::Refuse, rows).is_err());
        assert_eq!(names(&home), ["store.redb"], "nothing is left");
    };
    check(|rows| rows.reverse());
    check(|rows| rows[1].table = 200);
    check(|rows| rows.insert(0, rows[0].clone()));
    check(|rows| rows[0].key.push(0));
    check(|rows| rows[0].value.push(0));
    check(|rows| rows.iter_mut().find(|row| row.table == 3).unwrap().value.push(0));
    let failing = good.iter().cloned().map(Ok).chain([Err(Error::Closed)]);
    let filled = Store::fill(&path, CACHE_BYTES, Existing::Refuse, failing);
    assert!(matches!(filled, Err(Error::Closed)));
    assert_eq!(names(&home), ["store.redb"]);
    // Of a format that is not known.
    let mut newer = good.clone();
    newer.iter_mut().find(|row| row.table == 1).unwrap().value = 99_u32.to_le_bytes().to_vec();
    assert!(matches!(fill(&path, Existing::Refuse, newer), Err(Error::TooNew { .. })));
    assert!(matches!(fill(&path, Existing::Refuse, Vec::new()), Err(Error::Open { .. })), "not a store at all");
    assert_eq!(names(&home), ["store.redb"]);
}
