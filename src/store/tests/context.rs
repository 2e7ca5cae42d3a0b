//! Notes and working files: committed with the turn, and nobody else's.

use std::collections::BTreeMap;

use proptest::prelude::*;
use proptest::sample::select;

use super::disk::{Disk, Survivors};
use super::*;
use crate::id::FileName;
use crate::store::{ContextStore, Error, FileChange, NoteChange, SessionStore};

fn name(text: &str) -> FileName {
    FileName::new(text).unwrap()
}

fn note(number: u64, was: Option<&str>, text: Option<&str>) -> NoteChange {
    NoteChange { number, was: was.map(str::to_owned), text: text.map(str::to_owned) }
}

fn file(text: &str, content: Option<&str>) -> FileChange {
    FileChange { name: name(text), text: content.map(str::to_owned) }
}

fn session(store: &Store, tenant_id: &str, key_text: &str) -> SessionStore {
    store.tenant(tenant(tenant_id).as_ref()).session(&key(key_text))
}

/// Files a message and answers it with a turn that changes these.
async fn answer(
    store: &Store,
    (tenant_id, key_text): (&str, &str),
    at: u64,
    notes: Vec<NoteChange>,
    files: Vec<FileChange>,
) -> Result<Vec<Delivery>, Error> {
    let conversations = store.tenant(tenant(tenant_id).as_ref());
    let message = inbound(tenant_id, "u", &format!("{key_text} {at}"), at);
    conversations.file(&key(key_text), &message, FOR_EVER).await.unwrap();
    let session = session(store, tenant_id, key_text);
    let answered = session.waiting(9).unwrap().into_iter().map(|waiting| waiting.seq).collect();
    let SessionRow { episode, first_line, .. } = session.row().unwrap().unwrap();
    session.commit_turn(Turn { episode, first_line, notes, files, ..turn(answered, "hi", vec![], at) }).await
}

/// Notes by number, files by name.
type Kept = (BTreeMap<u64, String>, BTreeMap<String, String>);

fn kept(context: &ContextStore) -> Kept {
    let notes = context.notes().unwrap().into_iter().map(|note| (note.number, note.text)).collect();
    let files = context.files().unwrap().into_iter().map(|row| {
        let text = context.file(&row.name).unwrap().unwrap();
        assert_eq!(text.len(), row.size_bytes);
        (row.name.to_string(), text)
    });
    (notes, files.collect())
}

fn live(store: &Store, (tenant_id, key_text): (&str, &str)) -> Kept {
    let session = session(store, tenant_id, key_text);
    kept(&session.context(session.row().unwrap().unwrap().episode))
}

fn expected(notes: &[(u64, &str)], files: &[(&str, &str)]) -> Kept {
    let notes = notes.iter().map(|(number, text)| (*number, (*text).to_owned())).collect();
    (notes, files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect())
}

#[tokio::test]
async fn every_tenant_key_and_episode_keeps_its_own() {
    let store = Disk::default().open().unwrap();
    let places = ["", "a", "a-b"].into_iter().flat_map(|of| ["a", "a:b", "aa"].map(|key| (of, key)));
    let places: Vec<_> = places.collect();
    let words = |(of, key): (&str, &str), episode: u64| format!("canary of {of:?} {key} {episode}");
    for episode in 1..=2 {
        for place in &places {
            let words = words(*place, episode);
            let notes = vec![note(1, None, Some(&words))];
            answer(&store, *place, episode, notes, vec![file("secret", Some(&words))]).await.unwrap();
            if episode == 1 {
                session(&store, place.0, place.1).archive(Timestamp(5)).await.unwrap();
            }
        }
    }
    for place in &places {
        let session = session(&store, place.0, place.1);
        for episode in 1..=2 {
            let words = words(*place, episode);
            let own = expected(&[(1, &words)], &[("secret", &words)]);
            assert_eq!(kept(&session.context(episode)), own);
            for name in ["a/secret", "a:b", "secret2", "a/1/secret", "A-b/aa/secret"]
                .iter()
                .filter_map(|n| FileName::new(n).ok())
            {
                assert_eq!(session.context(episode).file(&name).unwrap(), None);
            }
        }
        assert_eq!(kept(&session.episode(1).unwrap().unwrap().context()), kept(&session.context(1)));
        for episode in [0, 3, u64::MAX - 1] {
            assert_eq!(kept(&session.context(episode)), Kept::default());
        }
        assert!(session.context(u64::MAX).files().is_err());
    }
}

#[tokio::test]
async fn a_turn_that_cannot_be_committed_changes_nothing() {
    let store = Disk::default().open().unwrap();
    let place = ("", "a");
    answer(&store, place, 1, vec![note(1, None, Some("Has a dog."))], vec![file("a", Some("x"))]).await.unwrap();
    let before = live(&store, place);
    for stale in [note(1, Some("Has a cat."), None), note(1, None, Some("x")), note(2, Some("x"), None)] {
        let changes = vec![note(3, None, Some("new")), stale];
        let refused = answer(&store, place, 2, changes, vec![file("a", None)]).await;
        assert!(matches!(refused, Err(Error::Gone { what: "note" })), "{refused:?}");
        assert_eq!(live(&store, place), before);
    }
    assert_eq!(session(&store, "", "a").waiting(9).unwrap().len(), 1, "the message still waits");
    let changes = vec![note(1, Some("Has a dog."), Some("Has a cat."))];
    answer(&store, place, 3, changes, vec![file("a", None), file("b", None)]).await.unwrap();
    assert_eq!(live(&store, place), expected(&[(1, "Has a cat.")], &[]));
}

#[tokio::test]
async fn a_conversation_that_is_restored_brings_its_memory_and_a_turn_over_the_old_numbers_is_run_again() {
    let store = Disk::default().open().unwrap();
    let place = ("t", "a");
    let session = session(&store, "t", "a");
    let long = "x".repeat(125);
    let files = [("Notes.txt", "old"), ("letters/may", "old"), ("a", "old"), (&*long, "old")];
    let files = files.map(|(name, text)| file(name, Some(text))).to_vec();
    answer(&store, place, 1, vec![note(1, None, Some("old one")), note(4, None, Some("old two"))], files)
        .await
        .unwrap();
    session.archive(Timestamp(2)).await.unwrap();
    let files = [("notes.TXT", "new"), ("letters", "new"), ("b", "new"), (&*long, "new")];
    let files = files.map(|(name, text)| file(name, Some(text))).to_vec();
    answer(&store, place, 3, vec![note(1, None, Some("new one"))], files).await.unwrap();
    assert_eq!(live(&store, place).0, expected(&[(1, "new one")], &[]).0, "a new conversation starts without notes");

    session.restore(None, Timestamp(4)).await.unwrap();
    let joined = expected(
        &[(1, "old one"), (2, "old two"), (3, "new one")],
        &[
            ("Notes (2).txt", "old"),
            ("a", "old"),
            ("b", "new"),
            ("letters", "new"),
            ("letters (2)/may", "old"),
            ("notes.TXT", "new"),
            ("restored (2)", "old"),
            (&long, "new"),
        ],
    );
    assert_eq!(live(&store, place), joined);
    assert_eq!(kept(&session.context(1)), Kept::default());

    let stale = answer(&store, place, 5, vec![note(1, Some("new one"), None)], vec![]).await;
    assert!(matches!(stale, Err(Error::Gone { .. })), "{stale:?}");
    assert_eq!(live(&store, place), joined);
}

#[tokio::test]
async fn what_is_erased_is_gone_with_its_memory_and_nothing_else_is() {
    let store = Disk::default().open().unwrap();
    for place in [("", "a"), ("", "a:b"), ("t", "a")] {
        answer(&store, place, 1, vec![note(1, None, Some("one"))], vec![file("f", Some("x"))]).await.unwrap();
    }
    let session_a = session(&store, "", "a");
    let erased = session_a.erase(None).await.unwrap();
    assert_eq!((erased.n_notes, erased.n_files), (1, 1));
    assert_eq!(kept(&session_a.context(1)), Kept::default());
    for place in [("", "a:b"), ("t", "a")] {
        assert_eq!(live(&store, place), expected(&[(1, "one")], &[("f", "x")]));
    }
}

#[derive(Debug, Clone)]
enum Op {
    /// A turn that sets or removes these; it fails when it saw another note than there is.
    Turn {
        place: (&'static str, &'static str),
        notes: BTreeMap<u64, Option<String>>,
        files: BTreeMap<&'static str, Option<String>>,
        is_stale: bool,
    },
    Reopen,
}

fn any_op() -> impl Strategy<Value = Op> {
    let place = (select(&["", "a"][..]), select(&["a", "a:b"][..]));
    let text = || proptest::option::weighted(0.7, "[a-z]{0,3}|x{3000}");
    let notes = proptest::collection::btree_map(1..4_u64, text(), 0..3);
    let files = proptest::collection::btree_map(select(&["f", "g", "f/g"][..]), text(), 0..3);
    prop_oneof![
        9 => (place, notes, files, proptest::bool::weighted(0.2))
            .prop_map(|(place, notes, files, is_stale)| Op::Turn { place, notes, files, is_stale }),
        1 => Just(Op::Reopen),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(32) })]

    #[test]
    fn notes_and_files_do_what_maps_would_do(ops in proptest::collection::vec(any_op(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
        runtime.block_on(async {
            let mut disk = Disk::default();
            let mut store = disk.open().unwrap();
            let mut model: BTreeMap<(&str, &str), Kept> = BTreeMap::new();
            for (at, op) in (1..).zip(ops) {
                match op {
                    Op::Reopen => {
                        drop(store);
                        disk = disk.after_power_cut(Survivors::None);
                        store = disk.open().unwrap();
                    }
                    Op::Turn { place, notes, files, is_stale } => {
                        let known = model.entry(place).or_default();
                        let mut changes: Vec<NoteChange> = notes
                            .iter()
                            .map(|(number, text)| note(*number, known.0.get(number).map(String::as_str), text.as_deref()))
                            .collect();
                        if is_stale {
                            changes.push(note(9, Some("never was"), None));
                        }
                        let file_changes = files.iter().map(|(name, text)| file(name, text.as_deref())).collect();
                        let done = answer(&store, place, at, changes, file_changes).await;
                        assert_eq!(done.is_ok(), !is_stale, "{done:?}");
                        if !is_stale {
                            for (number, text) in notes {
                                match text {
 Some(text) => known.0.insert(number, text),
 None => known.0.remove(&number),
 };
                            }
                            for (name, text) in files {
                                match text {
 Some(text) => known.1.insert(name.to_owned(), text),
 None => known.1.remove(name),
 };
                            }
                        }
                    }
                }
                for (place, known) in &model {
                    assert_eq!(&live(&store, *place), known);
                }
            }
        });
    }
}
