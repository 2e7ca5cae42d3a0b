//! Erased words are not in the file.

use std::path::Path;

use proptest::prelude::*;
use proptest::sample::select;

use super::*;
use crate::id::FileName;
use crate::store::{FileChange, NoteChange};

const KEYS: [&str; 4] = ["a", "b", "c", "d"];

#[derive(Debug, Clone)]
enum Op {
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

fn any_op() -> impl Strategy<Value = Op> {
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

/// A word that stands nowhere else, in the middle of as many bytes.
fn words(n: usize, n_bytes: usize) -> String {
    format!("{}canary{n:06}x{}", ".".repeat(n_bytes / 2), ".".repeat(n_bytes / 2))
}

fn canaries(text: &str) -> Vec<String> {
    text.match_indices("canary").map(|(at, _)| text.get(at..at + 13).unwrap().to_owned()).collect()
}

/// The canaries of all texts that can still be read.
fn kept(store: &Store) -> Vec<String> {
    let conversations = store.tenant(None);
    let mut texts = Vec::new();
    for key_text in KEYS {
        let session = conversations.session(&key(key_text));
        let view = view(store, "", key_text);
        texts.extend(view.lines.into_iter().map(|line| line.text));
        texts.extend(view.notes.into_iter().map(|note| note.text).chain(view.files.into_iter().map(|(_, text)| text)));
        texts.extend(view.waiting.into_iter().map(|waiting| waiting.inbound.text));
        texts.extend(view.undelivered.into_iter().map(|delivery| delivery.content.text));
        texts.extend(view.parked.into_iter().map(|parked| match parked.what {
            ParkedItem::Message(inbound) => inbound.text,
            ParkedItem::Delivery(delivery) => delivery.content.text,
        }));
        for row in session.archives().unwrap() {
            let episode = session.episode(row.session.episode).unwrap().unwrap();
            texts.extend(episode.lines_after(0, usize::MAX).unwrap().into_iter().map(|line| line.text));
            let context = episode.context();
            texts.extend(context.notes().unwrap().into_iter().map(|note| note.text));
            texts.extend(context.files().unwrap().iter().map(|row| context.file(&row.name).unwrap().unwrap()));
        }
    }
    let mut kept: Vec<String> = texts.iter().flat_map(|text| canaries(text)).collect();
    kept.sort();
    kept.dedup();
    kept
}

/// The canaries in the bytes of the file.
fn in_file(path: &Path) -> Vec<String> {
    let bytes = std::fs::read(path).unwrap();
    let mut found = Vec::new();
    for at in starts(&bytes) {
        found.push(String::from_utf8_lossy(&bytes[at..(at + 13).min(bytes.len())]).into_owned());
    }
    found.sort();
    found.dedup();
    found
}

fn starts(bytes: &[u8]) -> impl Iterator<Item = usize> {
    bytes.windows(6).enumerate().filter(|(_, window)| window == b"canary").map(|(at, _)| at)
}

async fn run(store: &Store, op: Op, n: &mut usize) {
    let conversations = store.tenant(None);
    let at = Timestamp(*n as u64);
    match op {
        Op::Say { key: key_text, n_messages, n_bytes } => {
            let (session, key) = (conversations.session(&key(key_text)), key(key_text));
            let mut messages = Vec::new();
            for _ in 0..n_messages {
                *n += 1;
                messages.push(Inbound { text: words(*n, n_bytes), ..inbound("", "u", &n.to_string(), at.0) });
            }
            // At once, so that rows come and go in one transaction.
            futures_util::future::join_all(messages.iter().map(|m| conversations.file(&key, m, FOR_EVER))).await;
            let seqs = session.waiting(99).unwrap().into_iter().map(|waiting| waiting.seq).collect();
            *n += 1;
            let text = words(*n, n_bytes);
            let SessionRow { episode, first_line, .. } = session.row().unwrap().unwrap();
            // A note more, and one of three files written anew.
            let number = session.context(episode).notes().unwrap().last().map_or(0, |note| note.number) + 1;
            let notes = vec![NoteChange { number, was: None, text: Some(words(*n + 1, n_bytes)) }];
            let name = FileName::new(&format!("{}.txt", *n % 3)).unwrap();
            let files = vec![FileChange { name, text: Some(words(*n + 2, n_bytes)) }];
            *n += 2;
            let said = Turn { episode, first_line, notes, files, ..turn(seqs, &text, vec![reply("m", &text)], at.0) };
            session.commit_turn(said).await.unwrap();
        }
        Op::File { key: key_text, n_bytes } => {
            *n += 1;
            let message = Inbound { text: words(*n, n_bytes), ..inbound("", "u", &n.to_string(), at.0) };
            conversations.file(&key(key_text), &message, FOR_EVER).await.unwrap();
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

/// Erases and looks: what can be read is in the file, what cannot is not.
async fn erase(store: &Store, path: &Path, key_text: &str, is_all: bool) {
    let session = store.tenant(None).session(&key(key_text));
    let first = session.archives().unwrap().first().map(|row| row.session.episode);
    let before = kept(store);
    let erased = match (is_all, first) {
        (true, _) => session.erase(None).await.unwrap(),
        (false, Some(first)) => session.erase(Some(first)).await.unwrap(),
        (false, None) => return,
    };
    if erased == crate::store::Erased::default() {
        return;
    }
    let after = kept(store);
    assert!(after.iter().all(|canary| before.contains(canary)));
    let gone: Vec<_> = before.into_iter().filter(|canary| !after.contains(canary)).collect();
    let found = in_file(path);
    let (lost, left): (Vec<_>, Vec<_>) = (
        after.into_iter().filter(|canary| !found.contains(canary)).collect(),
        gone.into_iter().filter(|canary| found.contains(canary)).collect(),
    );
    assert_eq!((lost, left), (vec![], vec![]), "lost, left in the file");
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(16) })]

    #[test]
    fn erased_words_are_not_in_the_file_and_others_are(ops in proptest::collection::vec(any_op(), 1..60)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let home = tempfile::tempdir().unwrap();
            let path = home.path().join("store.redb");
            let mut store = open(&home);
            let n_bytes_new = std::fs::metadata(&path).unwrap().len();
            let mut n = 0;
            for op in ops {
                match op {
                    Op::Reopen => {
                        drop(store);
                        store = open(&home);
                    }
                    Op::Erase { key, is_all } => erase(&store, &path, key, is_all).await,
                    op => run(&store, op, &mut n).await,
                }
            }
            let n_bytes = std::fs::metadata(&path).unwrap().len().max(n_bytes_new);
            for key in KEYS {
                erase(&store, &path, key, true).await;
            }
            drop(store);
            assert_eq!(in_file(&path), Vec::<String>::new());
            let left = std::fs::metadata(&path).unwrap().len();
            // Each table that is rebuilt takes room of its own in the smallest of files.
            assert!(left <= 2 * n_bytes.max(4 << 20), "the file grew from {n_bytes} to {left}");
            drop(open(&home));
        });
    }
}
