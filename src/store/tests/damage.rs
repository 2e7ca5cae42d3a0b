//! Files with wrong bits, and files that end too early.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use redb::{TableHandle as _, Value};

use super::*;
use crate::id::FileName;
use crate::message::Subject;
use crate::store::portable::PortableKey;
use crate::store::salvage::{Damaged, Row};
use crate::store::tables::{self, Visitor};
use crate::store::values::{PlainTable, RowKey, ValueTable};
use crate::store::versioned::Versioned;
use crate::store::{
    About, Checked, Counted, Error, FileChange, Glance, NewAccess, NoteChange, Offer, Repaired, check, glance, repair,
};
use crate::usage::{Figures, Hour};

/// The name of the store in its directory, and its journal's.
const FILES: [&str; 2] = ["store.redb", "store.redb.journal"];

const KEY: [u8; 32] = [7; 32];

/// Something in every table.
async fn fill(store: &Store) {
    let conversations = store.tenant(tenant("t").as_ref());
    let figures = [((tenant("t"), Hour(1)), Figures { messages: 9, ..Figures::default() })].into();
    store.count(Counted { figures, memory: Some((Hour(1), 9)) }).await.unwrap();
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
    session.take("Ada".to_owned(), false, Timestamp(12)).await.unwrap();
    let at = Timestamp(13);
    let about = About::Key(key("b"));
    let record = NewAccess { at, who: "Ada".to_owned(), from: None, what: "take".into(), about };
    conversations.record_access(vec![record]).await.unwrap();
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

/// Table and key of a row.
type RowId = (String, Vec<u8>);
/// All rows as they lie on the disk.
type Rows = BTreeMap<RowId, Vec<u8>>;

struct Reader(Damaged, Rows);

impl Reader {
    fn read(&mut self, table: &str) {
        let Self(damaged, rows) = self;
        let each = |key: &[u8], value: &[u8], _| {
            rows.insert((table.to_owned(), key.to_owned()), value.to_owned());
            Ok(Row::Good)
        };
        damaged.read(table, each).unwrap();
    }
}

impl Visitor for Reader {
    type Error = Error;

    fn values<K: RowKey, T: Versioned>(&mut self, table: &ValueTable<K, T>) -> Result<(), Error> {
        self.read(table.definition.name());
        Ok(())
    }

    fn rows<K: PortableKey, V: Value + 'static>(&mut self, table: &PlainTable<K, V>) -> Result<(), Error> {
        // It counts checkpoints.
        if table.definition.name() != "numbers" {
            self.read(table.definition.name());
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

#[tokio::test]
async fn a_glance_sees_what_keeps_a_start_from_the_store_and_changes_nothing() {
    let home = tempfile::tempdir().unwrap();
    let see = |home: &tempfile::TempDir, key: &[u8; 32]| {
        let before = bytes(home);
        let seen = glance(&store_of(home), Some(key));
        assert!(bytes(home) == before);
        seen
    };
    assert_eq!(see(&home, &KEY).unwrap(), None);
    assert!(!store_of(&home).exists());
    let store = open(&home);
    fill(&store).await;
    assert!(matches!(see(&home, &KEY), Err(Error::Locked { .. })));
    let cut = copied(&home);
    drop(store);
    let sound = Some(Glance { format: tables::FORMAT, is_current: true, has_journal: true });
    for home in [&home, &cut] {
        assert_eq!(see(home, &KEY).unwrap(), sound);
        // In the journal alone, where it was cut.
        assert!(matches!(see(home, &[8; 32]), Err(Error::DataKey)));
    }
    let harmed = |harm: Harm| {
        let (copy, mut file) = (copied(&home), fs::read(store_of(&home)).unwrap());
        harm.do_to(&mut file, &mut Dice(3));
        fs::write(store_of(&copy), file).unwrap();
        copy
    };
    assert!(matches!(see(&harmed(Harm::Header), &KEY), Err(Error::Open { .. })));
    let empty = copied(&home);
    fs::write(store_of(&empty), "").unwrap();
    assert!(matches!(see(&empty, &KEY), Err(Error::Open { .. })));
    fs::remove_file(store_of(&empty)).unwrap();
    assert!(matches!(see(&empty, &KEY), Err(Error::Open { .. })));
    fs::remove_file(home.path().join(FILES[1])).unwrap();
    assert_eq!(see(&home, &KEY).unwrap(), sound.map(|seen| Glance { has_journal: false, ..seen }));
    fs::write(store_of(&empty), "a letter to grandmother").unwrap();
    fs::remove_file(empty.path().join(FILES[1])).unwrap();
    assert!(matches!(see(&empty, &KEY), Err(Error::Open { .. })));
}

/// Sixteen conversations of two tenants, written in three commits, as it was closed and as a power cut left it; its rows;
/// and all rows that were ever there.
async fn grown() -> ([tempfile::TempDir; 2], Rows, BTreeSet<(RowId, Vec<u8>)>) {
    let home = filled().await;
    let mut ever: BTreeSet<_> = rows(&store_of(&home)).into_iter().collect();
    let mut cut = None;
    for round in 1..4 {
        let store = open(&home);
        for n in 0..16 {
            let (of, key_text) = (["t", "v"][n % 2], format!("c{n}"));
            let (conversations, key) = (store.tenant(tenant(of).as_ref()), key(&key_text));
            for turn_in_round in 0..3 {
                let seq = (round - 1) * 3 + turn_in_round + 1;
                let message = inbound(of, &format!("u{n}"), &format!("{key_text}-{seq}"), 20 + seq);
                conversations.file(&key, &message, FOR_EVER).await.unwrap();
                if (round, turn_in_round) != (3, 2) {
                    let text = format!("{seq} ").repeat(120);
                    let turn = turn(vec![seq], &text, vec![reply("m1", "one")], 30 + seq);
                    conversations.session(&key).commit_turn(turn).await.unwrap();
                }
            }
        }
        if round == 3 {
            cut = Some(copied(&home));
        }
        drop(store);
        ever.extend(rows(&store_of(&home)));
    }
    let before = rows_after_start(&home).unwrap();
    ever.extend(before.clone());
    ([home, cut.unwrap()], before, ever)
}

/// Numbers that look random, the same in every run (`SplitMix64`).
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((bits ^ (bits >> 31)) % below as u64).unwrap()
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Harm {
    Bit,
    Zeros,
    Noise,
    OtherPage,
    ThreePages,
    Header,
    Cut,
}

impl Harm {
    const ALL: [Self; 7] =
        [Self::Bit, Self::Zeros, Self::Noise, Self::OtherPage, Self::ThreePages, Self::Header, Self::Cut];

    fn do_to(self, file: &mut Vec<u8>, dice: &mut Dice) {
        // Room that is not used cannot be damaged.
        let pages: Vec<usize> =
            (1..file.len() / 4096).filter(|n| file[n * 4096..][..4096].iter().any(|byte| *byte != 0)).collect();
        let page = pages[dice.roll(pages.len())] * 4096;
        match self {
            Self::Bit => file[page + dice.roll(4096)] ^= 1 << dice.roll(8),
            Self::Zeros => file[page..][..4096].fill(0),
            Self::Noise => file[page..][..4096].fill_with(|| u8::try_from(dice.roll(256)).unwrap()),
            Self::OtherPage => {
                let other = pages[dice.roll(pages.len())] * 4096;
                file.copy_within(other..other + 4096, page);
            }
            Self::ThreePages => (0..3).for_each(|_| Self::Noise.do_to(file, dice)),
            Self::Header => file[..4096].fill_with(|| u8::try_from(dice.roll(256)).unwrap()),
            Self::Cut => file.truncate(dice.roll(file.len())),
        }
    }
}

/// Tables whose rows are made again, or changed where something beside them is lost.
const MENDED: [&str; 6] = ["sessions", "archive", "activity", "peers", "marks_by_time", "keys"];

/// Tables with what was said and what it led to.
const SAID: [&str; 7] = ["archive", "transcript", "inbox", "outbox", "parked", "notes", "files"];

/// Repairs a damaged store. Returns the share of what was said that is still there.
fn save(home: &tempfile::TempDir, before: &Rows, ever: &BTreeSet<(RowId, Vec<u8>)>, what: &str) -> f64 {
    let damaged = bytes(home);
    let journal = fs::metadata(home.path().join(FILES[1])).unwrap().ino();
    if let Ok(Checked { n_problems: 0, .. }) = checked(home) {
        let after = rows_after_start(home).unwrap_or_else(|error| panic!("{what}: nothing was found, and {error}"));
        assert_eq!(n_changed(before, &after), (0, 0), "{what}: nothing was found");
        return 1.0;
    }
    let repaired = match repair(&store_of(home), CACHE_BYTES, &KEY) {
        Ok(repaired) => repaired,
        Err(error) => {
            assert!(matches!(error, Error::Open { .. }), "{what}: {error}");
            assert!(bytes(home) == damaged, "{what}: it was not repaired, and changed");
            return 0.0;
        }
    };
    let kept: Vec<_> = repaired.kept.iter().map(|path| fs::read(path).unwrap()).collect();
    assert!(kept == damaged, "{what}: what was damaged is kept");
    let kept_journal = fs::metadata(&repaired.kept[1]).unwrap().ino();
    assert_ne!(kept_journal, journal, "{what}: who still writes into the journal changes what is kept");
    assert_eq!(checked(home).unwrap().problems, Vec::<String>::new(), "{what}: after {repaired:?}");
    let after = rows_after_start(home).unwrap_or_else(|error| panic!("{what}: it was repaired, and {error}"));
    let ids: BTreeSet<&RowId> = ever.iter().map(|(id, _)| id).collect();
    for (id, value) in &after {
        let is_known = ever.contains(&(id.clone(), value.clone())) || MENDED.contains(&&*id.0) && ids.contains(id);
        assert!(is_known, "{what}: a row of {} that never was", id.0);
    }
    let n_said = |rows: &Rows| rows.keys().filter(|id| SAID.contains(&&*id.0)).count();
    let is_missing = before.keys().any(|id| SAID.contains(&&*id.0) && !after.contains_key(id));
    let says_so = !repaired.lost.is_empty() || repaired.n_orphans > 0;
    let is_earlier = repaired.checked.problems.iter().any(|problem| problem.contains("is taken"));
    assert!(!is_missing || says_so || is_earlier, "{what}: what is lost is not said");
    let is_there = |id: &&RowId| SAID.contains(&&*id.0) && after.contains_key(*id);
    before.keys().filter(is_there).count() as f64 / n_said(before) as f64
}

#[tokio::test]
async fn of_a_damaged_store_all_is_saved_that_is_not_in_what_was_damaged() {
    let (homes, before, ever) = grown().await;
    let (mut dice, mut shares) = (Dice(1), BTreeMap::<Harm, Vec<f64>>::new());
    for n in 0..4 * Harm::ALL.len() {
        let (harm, home) = (Harm::ALL[n % Harm::ALL.len()], &homes[n / Harm::ALL.len() % 2]);
        let (copy, mut file) = (copied(home), fs::read(store_of(home)).unwrap());
        harm.do_to(&mut file, &mut dice);
        fs::write(store_of(&copy), file).unwrap();
        shares.entry(harm).or_default().push(save(&copy, &before, &ever, &format!("damage {n}, {harm:?}")));
    }
    let mean = |harm: Harm| shares[&harm].iter().sum::<f64>() / shares[&harm].len() as f64;
    let means: Vec<_> = Harm::ALL.map(|harm| (harm, mean(harm))).into();
    let one_page = [Harm::Bit, Harm::Zeros, Harm::Noise, Harm::OtherPage].map(mean);
    assert!(one_page.iter().all(|share| *share > 0.8) && mean(Harm::Header) > 0.8, "{means:?}");
}
