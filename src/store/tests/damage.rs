//! Files with wrong bits, and files that end too early.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use redb::{Key, TableHandle as _, Value};

use super::*;
use crate::id::FileName;
use crate::message::Subject;
use crate::store::portable::PortableKey;
use crate::store::salvage::{Damaged, Row, read_all};
use crate::store::tables::{self, Visitor};
use crate::store::values::{PlainTable, RowKey, ValueTable};
use crate::store::versioned::Versioned;
use crate::store::{Checked, Error, FileChange, NoteChange, Offer, Repaired, check, repair};

/// The name of the store in its directory, and its journal's.
const FILES: [&str; 2] = ["store.redb", "store.redb.journal"];

const KEY: [u8; 32] = [7; 32];

/// Something in every table.
async fn fill(store: &Store) {
    let conversations = store.tenant(tenant("t").as_ref());
    for key_text in ["a", "b"] {
        let (key, session) = (key(key_text), conversations.session(&key(key_text)));
        for n in 0..6 {
            let message = inbound("t", &format!("u{n}"), &format!("{key_text}{n}"), n);
            conversations.file(&key, &message, FOR_EVER).await.unwrap();
        }
        let notes = vec![NoteChange { number: 1, was: None, text: Some("Has a dog.".to_owned()) }];
        let files = vec![FileChange { name: FileName::new("a.txt").unwrap(), text: Some("dog ".repeat(900)) }];
        let replies = vec![reply("m1", "one"), reply("m1", "two")];
        session.commit_turn(Turn { notes, files, ..turn(vec![1, 2], "one two", replies, 8) }).await.unwrap();
        session.park(vec![3], "no answer".into(), None, Timestamp(9)).await.unwrap();
    }
    let session = conversations.session(&key("b"));
    session.park(vec![4, 5, 6], "no answer".into(), None, Timestamp(9)).await.unwrap();
    for delivery in session.undelivered().unwrap() {
        session.settle_delivery(&delivery.id).await.unwrap();
    }
    session.archive(Timestamp(10)).await.unwrap();
    conversations.file(&key("b"), &inbound("t", "u1", "b7", 11), FOR_EVER).await.unwrap();
    let kept = conversations.entry(&EntryId::new("slack-2").unwrap());
    let offer = Offer {
        subject: Subject::Peer("U9".into()),
        name: None,
        code: "ABCD2345".into(),
        expires_at: Timestamp(99_999),
        max_pending: 9,
        line: reply("m9", "your code"),
    };
    kept.offer(offer, Timestamp(12)).await.unwrap();
    store.expire(Timestamp(0), Timestamp(13), None).await.unwrap();
}

async fn filled() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    fill(&open(&home)).await;
    home
}

fn copied(home: &tempfile::TempDir) -> tempfile::TempDir {
    let copy = tempfile::tempdir().unwrap();
    for name in FILES {
        fs::copy(home.path().join(name), copy.path().join(name)).unwrap();
    }
    copy
}

fn bytes(home: &tempfile::TempDir) -> Vec<Vec<u8>> {
    FILES.iter().map(|name| fs::read(home.path().join(name)).unwrap_or_default()).collect()
}

fn store_of(home: &tempfile::TempDir) -> std::path::PathBuf {
    home.path().join(FILES[0])
}

fn checked(home: &tempfile::TempDir) -> Result<Checked, Error> {
    check(&store_of(home), CACHE_BYTES, &KEY)
}

/// All rows as they lie on the disk.
type Rows = BTreeMap<(String, Vec<u8>), Vec<u8>>;

struct Reader(Damaged, Rows);

impl Reader {
    fn read<K: Key + 'static, V: Value + 'static>(&mut self, table: redb::TableDefinition<'_, K, V>) {
        let Self(damaged, rows) = self;
        let each = |key: &[u8], value: &[u8]| {
            rows.insert((table.name().to_owned(), key.to_owned()), value.to_owned());
            Ok(Row::Good)
        };
        read_all(&damaged.transaction().unwrap(), table, each).unwrap();
    }
}

impl Visitor for Reader {
    type Error = Error;

    fn values<K: RowKey, T: Versioned>(&mut self, table: &ValueTable<K, T>) -> Result<(), Error> {
        self.read(table.definition);
        Ok(())
    }

    fn rows<K: PortableKey, V: Value + 'static>(&mut self, table: &PlainTable<K, V>) -> Result<(), Error> {
        // It counts checkpoints.
        if table.definition.name() != "numbers" {
            self.read(table.definition);
        }
        Ok(())
    }
}

fn rows(path: &Path) -> Rows {
    let mut reader = Reader(Damaged::open(path, CACHE_BYTES, &KEY).unwrap(), Rows::new());
    tables::show(&mut reader).unwrap();
    reader.1
}

/// All rows of a sound store after a start.
fn rows_after_start(home: &tempfile::TempDir) -> Result<Rows, Error> {
    drop(Store::open(&store_of(home), CACHE_BYTES, &KEY)?);
    Ok(rows(&store_of(home)))
}

/// Rows that are missing or other than they were, and rows that are new.
fn n_changed(before: &Rows, after: &Rows) -> (usize, usize) {
    let n_lost = before.iter().filter(|(key, value)| after.get(*key) != Some(*value)).count();
    (n_lost, after.keys().filter(|key| !before.contains_key(*key)).count())
}

#[tokio::test]
async fn a_sound_store_is_found_to_be_sound_and_not_a_byte_changes() {
    let home = filled().await;
    let before = bytes(&home);
    let found = checked(&home).unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
    assert_eq!((found.format, found.n_batches, found.n_problems), (Some(tables::FORMAT), 0, 0));
    assert!(
        found.rows.iter().all(|(name, n)| *n > 0 || ["approvals", "unresolved", "erasing"].contains(&&**name)),
        "{found:?}"
    );
    assert!(bytes(&home) == before);
    assert_eq!(repair(&store_of(&home), CACHE_BYTES, &KEY).unwrap().kept, Vec::<std::path::PathBuf>::new());
    assert!(bytes(&home) == before);
}

#[tokio::test]
async fn what_the_journal_holds_is_checked_too() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    fill(&store).await;
    // As a power cut leaves it.
    let cut = copied(&home);
    drop(store);
    let before = bytes(&cut);
    let found = checked(&cut).unwrap();
    assert_eq!(found.problems, Vec::<String>::new());
    assert!(found.n_batches > 10);
    assert_eq!(found.rows, checked(&home).unwrap().rows);
    assert!(bytes(&cut) == before);
}

#[tokio::test]
async fn a_store_that_is_in_use_is_neither_checked_nor_repaired() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    assert!(matches!(checked(&home), Err(Error::Locked { .. })));
    assert!(matches!(repair(&store_of(&home), CACHE_BYTES, &KEY), Err(Error::Locked { .. })));
    drop(store);
    checked(&home).unwrap();
}

#[test]
fn what_is_no_store_is_not_checked() {
    let home = tempfile::tempdir().unwrap();
    assert!(matches!(checked(&home), Err(Error::Open { .. })));
    assert!(!store_of(&home).exists());
}

/// What a gateway sees: exactly what was there, or an error.
fn start(home: &tempfile::TempDir, before: &Rows, what: &str) {
    match Store::open(&store_of(home), CACHE_BYTES, &KEY) {
        Err(error) => {
            assert!(matches!(error, Error::Open { .. } | Error::Storage(_) | Error::DataKey), "{what}: {error}");
        }
        Ok(store) => {
            drop(store);
            assert_eq!(n_changed(before, &rows(&store_of(home))), (0, 0), "{what}: it was opened");
        }
    }
}

/// Looks at a store with something wrong in it: nothing panics, what is read differently is found, and a repaired one is
/// sound and holds all but what was damaged. Returns whether it was repaired.
fn look(home: &tempfile::TempDir, before: &Rows, what: &str) -> bool {
    let damaged = bytes(home);
    let found = checked(home).unwrap_or_else(|error| Checked {
        n_problems: 1,
        problems: vec![error.to_string()],
        ..Checked::default()
    });
    assert!(bytes(home) == damaged, "{what}: checking changed something");
    if found.n_problems == 0 {
        let after = rows_after_start(home).unwrap_or_else(|error| panic!("{what}: nothing was found, and {error}"));
        assert_eq!(n_changed(before, &after), (0, 0), "{what}: nothing was found");
        return false;
    }
    let Ok(Repaired { kept, rows: n_rows, .. }) = repair(&store_of(home), CACHE_BYTES, &KEY) else { return false };
    assert!(fs::read(&kept[0]).unwrap() == damaged[0], "{what}: the damaged file is kept");
    let found = checked(home).unwrap();
    assert_eq!(found.problems, Vec::<String>::new(), "{what}: after {n_rows:?}");
    rows_after_start(home).unwrap_or_else(|error| panic!("{what}: it was repaired, and {error}"));
    true
}

#[tokio::test]
async fn no_wrong_bit_in_the_file_goes_unnoticed_or_does_more_harm_than_it_must() {
    let home = filled().await;
    let before = rows_after_start(&home).unwrap();
    let file = fs::read(store_of(&home)).unwrap();
    let used: Vec<usize> = (0..file.len()).filter(|at| file[*at] != 0).collect();
    let mut n_repaired = 0;
    for n in (0..used.len()).step_by((used.len() / 150).max(1)) {
        let (at, bit) = (used[n], n % 8);
        let copy = copied(&home);
        let mut bytes = file.clone();
        bytes[at] ^= 1 << bit;
        fs::write(store_of(&copy), bytes).unwrap();
        let (what, other) = (format!("bit {bit} of byte {at}"), copied(&copy));
        n_repaired += usize::from(look(&copy, &before, &what));
        start(&other, &before, &what);
    }
    assert!(n_repaired > 10, "{n_repaired}");
}

#[tokio::test]
async fn no_file_that_ends_too_early_goes_unnoticed() {
    let home = filled().await;
    let before = rows_after_start(&home).unwrap();
    let file = fs::read(store_of(&home)).unwrap();
    for n in 1..40 {
        let len = file.len() * n / 40 - n % 3;
        let copy = copied(&home);
        fs::write(store_of(&copy), &file[..len]).unwrap();
        let (what, other) = (format!("{len} of {} bytes", file.len()), copied(&copy));
        look(&copy, &before, &what);
        start(&other, &before, &what);
    }
}

#[tokio::test]
async fn no_wrong_bit_in_the_journal_goes_unnoticed() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    fill(&store).await;
    let cut = copied(&home);
    drop(store);
    let before = rows_after_start(&home).unwrap();
    let journal = cut.path().join(FILES[1]);
    let original = fs::read(&journal).unwrap();
    let used: Vec<usize> = (0..original.len()).filter(|at| original[*at] != 0).collect();
    // What was written last cannot be told from what a power cut tore.
    let last_block = used.last().unwrap() / 4096 * 4096;
    let used: Vec<usize> = used.into_iter().filter(|at| *at < last_block).collect();
    for n in (0..used.len()).step_by((used.len() / 40).max(1)) {
        let (copy, mut bytes) = (copied(&cut), original.clone());
        bytes[used[n]] ^= 1 << (n % 8);
        fs::write(copy.path().join(FILES[1]), bytes).unwrap();
        let (what, other) = (format!("byte {} of the journal", used[n]), copied(&copy));
        look(&copy, &before, &what);
        start(&other, &before, &what);
    }
}

#[tokio::test]
async fn a_store_that_is_gone_is_not_begun_anew_while_its_journal_is_there() {
    for is_removed in [false, true] {
        let home = filled().await;
        match is_removed {
            true => fs::remove_file(store_of(&home)).unwrap(),
            false => fs::write(store_of(&home), "").unwrap(),
        }
        for _ in 0..2 {
            let error = Store::open(&store_of(&home), CACHE_BYTES, &KEY).map(drop).unwrap_err();
            assert!(matches!(error, Error::Open { .. }), "{error}");
        }
        fs::remove_file(home.path().join(FILES[1])).unwrap();
        Store::open(&store_of(&home), CACHE_BYTES, &KEY).map(drop).unwrap();
    }
}
