//! A store's rows make the same store elsewhere, and nothing takes the place of what is there unasked.

use std::path::Path;

use proptest::prelude::*;

use super::disk::{Disk, Fault};
use super::rewrite::{KEYS, Op, any_op, run};
use super::tenant::{self, WORDS};
use super::*;
use crate::store::erase_tenant::BeginErasing;
use crate::store::tables::{KEYS as KEYS_TABLE, NUMBERS, SESSIONS, USERS};
use crate::store::{Error, Existing, Filled, OwnedRow, WasThere, check, examine, table_name};

/// Of the device that restores.
const OTHER: [u8; 32] = [8; 32];

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
    Store::fill(path, CACHE_BYTES, existing, || Ok(OTHER), rows.into_iter().map(Ok))
}

fn holds(path: &Path, words: &str) -> bool {
    std::fs::read(path).unwrap().windows(words.len()).any(|window| window == words.as_bytes())
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
            let has_keys = before.iter().any(|row| row.table == 0);
            let opened = Store::open(&path, CACHE_BYTES, &[7; 32]).map(drop);
            assert_eq!(opened.is_err(), has_keys, "it is of the other device");
            let other = Store::open(&path, CACHE_BYTES, &OTHER).unwrap();
            for key_text in KEYS {
                assert_eq!(view(&other, "", key_text), view(&store, "", key_text));
                let ids = |store: &Store| store.tenant(None).session(&key(key_text)).undelivered().unwrap();
                assert_eq!(ids(&other), ids(&store), "with the ids of deliveries");
            }
            let after = rows(&other);
            assert!(before.iter().filter(|row| row.table != NUMBERS.number).all(|row| after.contains(row)));
            let changed: Vec<_> = after.into_iter().filter(|row| !before.contains(row)).collect();
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
    let store = disk.open_sealed().unwrap();
    said(&store, "one").await;
    let snapshot = store.snapshot().unwrap();
    disk.set_fault(Fault::NextSync);
    let message = inbound("", "U1", "two", 1);
    assert!(store.tenant(None).file(&key("slack:U1"), &message, FOR_EVER).await.is_err());
    // The journal failed, and not what is read.
    assert!(snapshot.rows(|_row| Ok::<_, Error>(())).is_ok());
    store.shared.database.reopen().unwrap();
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
    let kept = ["store.redb", "store.redb.before-restore", "store.redb.before-restore.journal"];
    assert_eq!(names(&home), kept);
    assert_eq!(std::fs::read(home.path().join("store.redb.before-restore")).unwrap(), bytes);
    let again = fill(&path, Existing::KeepBeside, rows.clone());
    assert!(matches!(again, Err(Error::Occupied { .. })), "what was first there is not overwritten");
    assert_eq!(names(&home), kept);

    // Somebody was faster.
    let other = home.path().join("other.redb");
    let filled = fill(&other, Existing::Refuse, rows).unwrap();
    drop(Store::open(&other, CACHE_BYTES, &OTHER).unwrap());
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
        assert_eq!(names(&home), ["store.redb", "store.redb.journal"], "nothing is left");
    };
    check(|rows| rows.reverse());
    check(|rows| rows[1].table = 200);
    check(|rows| rows.insert(0, rows[0].clone()));
    check(|rows| rows[0].key.push(0));
    check(|rows| rows[0].value.push(0));
    check(|rows| drop(rows.remove(0)));
    check(|rows| rows[0].value.truncate(47));
    check(|rows| rows.iter_mut().find(|row| row.table == SESSIONS.number).unwrap().value.push(0));
    check(|rows| rows.iter_mut().find(|row| row.table == SESSIONS.number).unwrap().value[0] = 0);
    check(|rows| rows.iter_mut().find(|row| row.table == USERS.number).unwrap().value.push(0));
    check(|rows| rows[0].table = KEYS_TABLE.number);
    let failing = good.iter().cloned().map(Ok).chain([Err(Error::Closed)]);
    let filled = Store::fill(&path, CACHE_BYTES, Existing::Refuse, || Ok(OTHER), failing);
    assert!(matches!(filled, Err(Error::Closed)));
    let keyless = Store::fill(&path, CACHE_BYTES, Existing::Refuse, || Err(Error::Closed), good.into_iter().map(Ok));
    assert!(matches!(keyless, Err(Error::Closed)));
    assert_eq!(names(&home), ["store.redb", "store.redb.journal"]);
}

#[tokio::test]
async fn another_device_has_the_same_and_no_word_in_its_file() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    let conversations = [("", "slack:a"), ("practice", "tenant-practice-slack:a")];
    for (tenant_id, key_text) in conversations {
        tenant::fill(&store, tenant_id, key_text).await;
    }
    let rows = rows(&store);
    for words in WORDS {
        let is_in = |row: &OwnedRow| row.value.windows(words.len()).any(|window| window == words.as_bytes());
        assert!(rows.iter().any(is_in), "{words} is not sealed in a row");
    }
    let path = home.path().join("other.redb");
    fill(&path, Existing::Refuse, rows).unwrap().put().unwrap();
    WORDS.iter().for_each(|words| assert!(!holds(&path, words), "{words}"));
    let checked = check(&path, CACHE_BYTES, &OTHER).unwrap();
    assert_eq!(checked.problems, [""; 0]);
    let other = Store::open(&path, CACHE_BYTES, &OTHER).unwrap();
    for (tenant_id, key_text) in conversations {
        let restored = view(&other, tenant_id, key_text);
        assert_eq!(restored, view(&store, tenant_id, key_text));
        let session = other.tenant(tenant(tenant_id).as_ref()).session(&key(key_text));
        // The first conversation has the notes and files.
        assert_eq!(session.archives().unwrap().len(), 1);
        for episode in 1..=2 {
            let (there, here) = (session.context(episode), store.tenant(tenant(tenant_id).as_ref()));
            let here = here.session(&key(key_text));
            let here = here.context(episode);
            assert_eq!(there.notes().unwrap(), here.notes().unwrap());
            let files = there.files().unwrap();
            assert_eq!(files.len(), usize::from(episode == 1));
            assert_eq!(files, here.files().unwrap());
            // By its name, of which the row's key is made.
            files.iter().for_each(|file| assert_eq!(there.file(&file.name).unwrap().unwrap(), "canaryt"));
        }
    }
    // And goes on, sealed with the same data keys.
    tenant::fill(&other, "practice", "tenant-practice-slack:b").await;
    drop(other);
    assert_eq!(check(&path, CACHE_BYTES, &OTHER).unwrap().n_problems, 0);
    WORDS
        .iter()
        .for_each(|words| assert!(!holds(&path, words) && !holds(&home.path().join("other.redb.journal"), words)));
}

#[tokio::test]
async fn a_tenant_that_is_being_erased_leaves_no_words_in_a_snapshot_and_is_erased_to_the_end_elsewhere() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    tenant::fill(&store, "practice", "tenant-practice-slack:a").await;
    tenant::fill(&store, "", "slack:a").await;
    let whole = store.snapshot().unwrap();
    store.shared.writer.write(BeginErasing(tenant("practice"))).await.unwrap();
    let rows = rows(&store);
    assert!(!rows.iter().any(|row| row.table < 32 && row.key.starts_with(b"practice")));
    assert!(rows.iter().any(|row| row.key.starts_with(b"practice")), "it is known that it is being erased");
    let path = home.path().join("other.redb");
    fill(&path, Existing::Refuse, rows).unwrap().put().unwrap();
    let other = Store::open(&path, CACHE_BYTES, &OTHER).unwrap();
    other.finish_erasing().await.unwrap();
    assert_eq!(other.kept_tenants().unwrap().len(), 1);
    assert_eq!(view(&other, "", "slack:a"), view(&store, "", "slack:a"));
    // One from before it has everything.
    let mut n_rows = 0;
    let read = whole.rows(|row| {
        n_rows += u64::from(row.table < 32 && row.key.starts_with(b"practice"));
        Ok::<_, Error>(())
    });
    read.unwrap();
    assert!(n_rows > 0);
}

#[tokio::test]
async fn what_a_journal_adds_stays_with_the_store_that_is_kept_and_is_not_added_to_the_new_one() {
    let (home, crashed) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let store = open(&home);
    said(&store, "one").await;
    let rows = rows(&store);
    said(&store, "two").await;
    // As if power went out now.
    for name in ["store.redb", "store.redb.journal"] {
        std::fs::copy(home.path().join(name), crashed.path().join(name)).unwrap();
    }
    drop(store);
    let path = crashed.path().join("store.redb");
    let n_batches = |path: &Path| check(path, CACHE_BYTES, &[7; 32]).unwrap().n_batches;
    assert!(n_batches(&path) > 0);
    assert!(fill(&path, Existing::KeepBeside, rows.clone()).unwrap().put().unwrap());
    let before = crashed.path().join("store.redb.before-restore");
    assert!(n_batches(&before) > 0);
    assert_eq!(check(&path, CACHE_BYTES, &OTHER).unwrap().n_batches, 0);
    let n_waiting =
        |path: &Path, key: &[u8; 32]| Store::open(path, CACHE_BYTES, key).unwrap().counts().unwrap().waiting;
    assert_eq!(n_waiting(&path, &OTHER), 1);
    assert_eq!(n_waiting(&before, &[7; 32]), 2);

    // One without its store may be wanted too.
    let path = crashed.path().join("other.redb");
    let (journal, of_nobody) =
        (crashed.path().join("other.redb.journal"), std::fs::read(home.path().join("store.redb.journal")));
    std::fs::write(&journal, of_nobody.as_ref().unwrap()).unwrap();
    assert!(matches!(fill(&path, Existing::Refuse, rows.clone()), Err(Error::Occupied { .. })));
    assert!(fill(&path, Existing::KeepBeside, rows).unwrap().put().unwrap());
    assert_eq!(std::fs::read(crashed.path().join("other.redb.before-restore.journal")).unwrap(), of_nobody.unwrap());
    assert_eq!(n_waiting(&path, &OTHER), 1);
}

/// However far a new store has come to its place, what was there comes back.
#[tokio::test]
async fn what_was_there_is_taken_back_from_wherever_the_new_one_was() {
    let before = |name: &str| format!("store.redb.before-restore{name}");
    // What is done of `put`, or was undone again, when the power goes.
    let states: [(&str, &[&str]); 7] = [
        ("nothing", &[]),
        ("a part of the journal is copied", &["part"]),
        ("the journal is copied", &["copy"]),
        ("the store has two names", &["copy", "link"]),
        ("the new one is there", &["copy", "link", "replace"]),
        ("the old journal is gone", &["copy", "link", "replace", "remove"]),
        ("the old journal is back", &["copy", "link", "replace", "remove", "journal"]),
    ];
    for (what, done) in states {
        let home = tempfile::tempdir().unwrap();
        let path = |name: &str| home.path().join(name);
        let store = open(&home);
        said(&store, "one").await;
        drop(store);
        let bytes = || (std::fs::read(path("store.redb")).unwrap(), std::fs::read(path("store.redb.journal")).unwrap());
        let (old, was_there) = (bytes(), WasThere::look(&path("store.redb")));
        std::fs::write(path("store.redb.new"), "new").unwrap();
        for step in done {
            match *step {
                "part" => std::fs::write(path(&before(".journal")), &old.1[..9]).unwrap(),
                "copy" => std::fs::write(path(&before(".journal")), &old.1).unwrap(),
                "link" => std::fs::hard_link(path("store.redb"), path(&before(""))).unwrap(),
                "replace" => std::fs::rename(path("store.redb.new"), path("store.redb")).unwrap(),
                "remove" => std::fs::remove_file(path("store.redb.journal")).unwrap(),
                _ => std::fs::rename(path(&before(".journal")), path("store.redb.journal")).unwrap(),
            }
        }
        for _ in 0..2 {
            Store::take_back(&path("store.redb"), was_there).unwrap();
            assert_eq!(names(&home), ["store.redb", "store.redb.journal"], "{what}");
            assert!(bytes() == old, "{what}");
        }
    }
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("store.redb");
    let was_there = WasThere::look(&path);
    drop(Store::open(&path, CACHE_BYTES, &OTHER).unwrap());
    Store::take_back(&path, was_there).unwrap();
    assert!(names(&home).is_empty());
}
