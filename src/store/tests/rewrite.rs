//! What was erased is not in the file, and everything else is.

use std::path::Path;

use proptest::prelude::*;
use proptest::sample::select;

use super::disk::{Disk, Fault};
use super::*;
use crate::id::FileName;
use crate::store::{Erased, Error, FileChange, NoteChange, Rewritten, SessionRow};

/// They name groups, which are to be forgotten too.
pub(super) const KEYS: [&str; 4] = ["canary900001x", "canary900002x", "canary900003x", "canary900004x"];

#[derive(Debug, Clone)]
pub(super) enum Op {
    /// Messages that are answered in one turn, of so many bytes each.
    Say {
        key: &'static str,
        n_messages: usize,
        n_bytes: usize,
    },
    File {
        key: &'static str,
        n_bytes: usize,
    },
    Park {
        key: &'static str,
    },
    Deliver {
        key: &'static str,
    },
    Archive {
        key: &'static str,
    },
    Restore {
        key: &'static str,
    },
    Move {
        from: &'static str,
        to: &'static str,
    },
    /// Everything, or the first archived conversation.
    Erase {
        key: &'static str,
        is_all: bool,
    },
    Reopen,
}

pub(super) fn any_op() -> impl Strategy<Value = Op> {
    let key = || select(&KEYS[..]);
    let n_bytes = || prop_oneof![4 => 0..400_usize, 1 => 3000..20_000_usize];
    prop_oneof![
        8 => (key(), 1..6_usize, n_bytes()).prop_map(|(key, n_messages, n_bytes)| Op::Say { key, n_messages, n_bytes }),
        3 => (key(), n_bytes()).prop_map(|(key, n_bytes)| Op::File { key, n_bytes }),
        2 => key().prop_map(|key| Op::Park { key }),
        2 => key().prop_map(|key| Op::Deliver { key }),
        3 => key().prop_map(|key| Op::Archive { key }),
        1 => key().prop_map(|key| Op::Restore { key }),
        1 => (key(), key()).prop_map(|(from, to)| Op::Move { from, to }),
        3 => (key(), any::<bool>()).prop_map(|(key, is_all)| Op::Erase { key, is_all }),
        1 => Just(Op::Reopen),
    ]
}

/// A word that stands nowhere else.
fn canary(n: &mut usize) -> String {
    *n += 1;
    format!("canary{n:06}x")
}

/// One in the middle of as many bytes.
fn words(n: &mut usize, n_bytes: usize) -> String {
    format!("{}{}{}", ".".repeat(n_bytes / 2), canary(n), ".".repeat(n_bytes / 2))
}

/// A message with one in everything that says who, where or what.
fn message(n: &mut usize, n_bytes: usize) -> Inbound {
    let mut inbound = inbound("", &canary(n), &canary(n), *n as u64);
    inbound.identity.room = Some(id(&canary(n)));
    inbound.user_name = Some(canary(n));
    Inbound { text: words(n, n_bytes), ..inbound }
}

/// Those that are there, sorted. A branch of a table may hold the beginning of one only.
fn canaries(bytes: &[u8]) -> Vec<String> {
    let mut found = Vec::new();
    for (at, _) in bytes.windows(6).enumerate().filter(|(_, window)| window == b"canary") {
        let rest = &bytes[at + 6..];
        let n_digits = rest.iter().take(6).take_while(|byte| byte.is_ascii_digit()).count();
        let is_whole = n_digits == 6 && rest.get(6) == Some(&b'x');
        found.push(String::from_utf8(bytes[at..at + 6 + n_digits + usize::from(is_whole)].to_vec()).unwrap());
    }
    found.sort();
    found.dedup();
    found
}

/// The canaries of all that can still be read.
fn kept(store: &Store) -> Vec<String> {
    let conversations = store.tenant(None);
    let mut text = String::new();
    for key_text in KEYS {
        let session = conversations.session(&key(key_text));
        // Names and ids that no handle shows lie in rows beside these.
        text += &format!("{:?} {:?}", view(store, "", key_text), conversations.peers_of(&key(key_text), 999).unwrap());
        for row in session.archives().unwrap() {
            let context = session.episode(row.session.episode).unwrap().unwrap().context();
            let files = context.files().unwrap();
            let texts: Vec<_> = files.iter().map(|row| context.file(&row.name).unwrap().unwrap()).collect();
            text += &format!("{files:?} {texts:?} {:?}", context.notes().unwrap());
        }
    }
    canaries(text.as_bytes())
}

/// The canaries in the bytes of the file.
fn in_file(path: &Path) -> Vec<String> {
    canaries(&std::fs::read(path).unwrap())
}

pub(super) async fn run(store: &Store, op: Op, n: &mut usize) {
    let conversations = store.tenant(None);
    let at = Timestamp(*n as u64);
    match op {
        Op::Say { key: key_text, n_messages, n_bytes } => {
            let (session, key) = (conversations.session(&key(key_text)), key(key_text));
            let messages: Vec<_> = (0..n_messages).map(|_| message(n, n_bytes)).collect();
            // At once, so that rows come and go in one transaction.
            futures_util::future::join_all(messages.iter().map(|m| conversations.file(&key, m, FOR_EVER))).await;
            let seqs = session.waiting(99).unwrap().into_iter().map(|waiting| waiting.seq).collect();
            let text = words(n, n_bytes);
            let SessionRow { episode, first_line, .. } = session.row().unwrap().unwrap();
            // A note more, a file more, and one written anew.
            let number = session.context(episode).notes().unwrap().last().map_or(0, |note| note.number) + 1;
            let notes = vec![NoteChange { number, was: None, text: Some(words(n, n_bytes)) }];
            let mut file = |name: String| {
                let name = FileName::new(&format!("{name}.txt")).unwrap();
                FileChange { name, text: Some(words(n, n_bytes)) }
            };
            let files = vec![file("same".to_owned()), file(format!("canary{:06}x", 800_000 + at.0))];
            let reply = reply(messages[0].message_id.as_str(), &text);
            let said = Turn { episode, first_line, notes, files, ..turn(seqs, &text, vec![reply], at.0) };
            session.commit_turn(said).await.unwrap();
        }
        Op::File { key: key_text, n_bytes } => {
            conversations.file(&key(key_text), &message(n, n_bytes), FOR_EVER).await.unwrap();
        }
        Op::Park { key: key_text } => {
            let session = conversations.session(&key(key_text));
            let seqs: Vec<u64> = session.waiting(99).unwrap().into_iter().map(|waiting| waiting.seq).collect();
            if !seqs.is_empty() {
                session.park(seqs, "why".into(), None, at).await.unwrap();
            }
        }
        Op::Deliver { key: key_text } => {
            let session = conversations.session(&key(key_text));
            let deliveries = session.undelivered().unwrap();
            futures_util::future::join_all(deliveries.iter().map(|d| session.settle_delivery(&d.id))).await;
        }
        Op::Archive { key: key_text } => drop(conversations.session(&key(key_text)).archive(at).await.unwrap()),
        Op::Restore { key: key_text } => drop(conversations.session(&key(key_text)).restore(None, at).await),
        Op::Move { from, to } => drop(conversations.move_session(&key(from), &key(to), at).await),
        Op::Erase { .. } | Op::Reopen => unreachable!("the test erases and reopens"),
    }
}

/// Erases and looks: what can be read is in the file, what was erased is not.
async fn erase(store: &Store, path: &Path, key_text: &str, is_all: bool) {
    let session = store.tenant(None).session(&key(key_text));
    let first = session.archives().unwrap().first().map(|row| row.session.episode);
    let erased = match (is_all, first) {
        (true, _) => session.erase(None).await.unwrap(),
        (false, Some(first)) => session.erase(Some(first)).await.unwrap(),
        (false, None) => return,
    };
    if erased == Erased::default() {
        return;
    }
    let before = kept(store);
    store.rewrite().await.unwrap();
    assert_eq!(kept(store), before);
    let (whole, parts): (Vec<_>, Vec<_>) = in_file(path).into_iter().partition(|canary| canary.ends_with('x'));
    assert_eq!(whole, before, "in the file and kept, after {key_text} was erased");
    assert!(parts.iter().all(|part| before.iter().any(|canary| canary.starts_with(part))), "{parts:?}");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(16) })]

    #[test]
    fn erased_words_are_not_in_the_file_and_others_are(ops in proptest::collection::vec(any_op(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let home = tempfile::tempdir().unwrap();
            let path = home.path().join("store.redb");
            let mut store = open_plain(&home);
            let n_bytes_new = std::fs::metadata(&path).unwrap().len();
            let mut n = 0;
            for op in ops {
                match op {
                    Op::Reopen => {
                        drop(store);
                        store = open_plain(&home);
                    }
                    Op::Erase { key, is_all } => erase(&store, &path, key, is_all).await,
                    op => run(&store, op, &mut n).await,
                }
            }
            for key in KEYS {
                erase(&store, &path, key, true).await;
            }
            drop(store);
            drop(open_plain(&home));
            assert_eq!(in_file(&path), Vec::<String>::new());
            let left = std::fs::metadata(&path).unwrap().len();
            assert!(left <= n_bytes_new, "an empty store has {n_bytes_new} bytes, this one {left}");
        });
    }
}

/// Says something in conversations `first..end`.
async fn say(store: &Store, first: usize, end: usize) {
    let conversations = store.tenant(None);
    for n in first..end {
        let key = key(&format!("k{n}"));
        conversations.file(&key, &inbound("", &format!("u{n}"), &format!("m{n}"), 1), FOR_EVER).await.unwrap();
        let session = conversations.session(&key);
        let SessionRow { episode, first_line, .. } = session.row().unwrap().unwrap();
        let seq = session.waiting(1).unwrap()[0].seq;
        let answer = turn(vec![seq], &"word ".repeat(500), vec![reply("m", "hi")], 2);
        session.commit_turn(Turn { episode, first_line, ..answer }).await.unwrap();
    }
}

#[tokio::test]
async fn a_file_written_anew_is_no_longer_than_one_that_never_held_what_was_erased() {
    let (home, other) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (store, fresh) = (open(&home), open(&other));
    say(&store, 0, 200).await;
    for n in 0..150 {
        store.tenant(None).session(&key(&format!("k{n}"))).erase(None).await.unwrap();
    }
    assert!(store.rewrite().await.unwrap().n_rows > 300);
    say(&fresh, 150, 200).await;
    // Closed, as it cuts off what is free at the end.
    drop(fresh);
    let n_bytes = |home: &tempfile::TempDir| std::fs::metadata(home.path().join("store.redb")).unwrap().len();
    let (anew, never) = (n_bytes(&home), n_bytes(&other));
    // Two rows of numbers are all that it holds more.
    assert!(anew <= never + 64 * 1024, "{anew} and {never} bytes");
}

#[tokio::test]
async fn every_table_is_copied_and_the_file_is_its_owners() {
    use std::os::unix::fs::PermissionsExt as _;
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("store.redb");
    let tables = || {
        let database = redb::Database::open(&path).unwrap();
        let read = redb::ReadableDatabase::begin_read(&database).unwrap();
        let mut names: Vec<_> = read.list_tables().unwrap().map(|t| redb::TableHandle::name(&t).to_owned()).collect();
        names.sort();
        names
    };
    let store = open(&home);
    say(&store, 0, 2).await;
    store.tenant(None).session(&key("k0")).erase(None).await.unwrap();
    drop(store);
    let before = tables();
    let store = open(&home);
    assert!(store.must_rewrite().unwrap(), "it is known after a restart");
    store.rewrite().await.unwrap();
    drop(store);
    assert_eq!(tables(), before);
    assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let mut files: Vec<_> = std::fs::read_dir(home.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["store.redb", "store.redb.journal"]);
}

#[tokio::test]
async fn a_copy_that_was_left_is_removed_by_whoever_has_the_store() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    let new = home.path().join("store.redb.new");
    std::fs::write(&new, "half of a copy").unwrap();
    let other = Store::open(&home.path().join("store.redb"), CACHE_BYTES, &[7; 32]);
    assert!(matches!(other, Err(Error::Locked { .. })));
    assert!(new.exists(), "the one who has it may be writing it");
    drop(store);
    drop(open(&home));
    assert!(!new.exists());
}

#[tokio::test]
async fn without_room_for_the_copy_the_store_works_on_and_tries_again() {
    let disk = Disk::default();
    let store = disk.open().unwrap();
    say(&store, 0, 2).await;
    disk.set_fault(Fault::NoRoom);
    store.tenant(None).session(&key("k0")).erase(None).await.unwrap();
    assert!(matches!(store.rewrite().await, Err(Error::NotOverwritten(_))));
    assert!(store.must_rewrite().unwrap() && disk.holds("text of m0") && !disk.has_new());
    say(&store, 2, 3).await;
    disk.set_fault(Fault::None);
    // Once for all that ask.
    let (first, second) = tokio::join!(store.rewrite(), store.rewrite());
    assert!(first.unwrap().n_rows > 0);
    assert_eq!(second.unwrap(), Rewritten::default());
    assert!(!store.must_rewrite().unwrap() && !disk.holds("text of m0") && disk.holds("text of m2"));
}

#[tokio::test]
async fn a_disk_that_fails_when_the_copy_takes_its_place_is_used_again() {
    let disk = Disk::default();
    let store = disk.open().unwrap();
    say(&store, 0, 2).await;
    store.tenant(None).session(&key("k0")).erase(None).await.unwrap();
    disk.set_fault(Fault::NextDirectorySync);
    assert!(matches!(store.rewrite().await, Err(Error::NotOverwritten(_))));
    say(&store, 2, 3).await;
    store.rewrite().await.unwrap();
    assert!(!disk.holds("text of m0") && disk.holds("text of m1") && disk.holds("text of m2"));
}
