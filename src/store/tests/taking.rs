//! Conversations that people answer.

use super::*;
use crate::store::{Error, Speaker, Speech, Spoken, Taking};

const A_MINUTE: Life = Life { ttl_ms: Some(60_000), says_new: true };

async fn filed(store: &Store, message_ids: &[&str]) -> SessionStore {
    for message_id in message_ids {
        store.tenant(None).file(&key("a"), &inbound("", "u", message_id, 1), FOR_EVER).await.unwrap();
    }
    store.tenant(None).session(&key("a"))
}

async fn take(session: &SessionStore, by: &str, from_others: bool, at: u64) -> Taking {
    session.take(by.to_owned(), from_others, Timestamp(at)).await.unwrap()
}

fn speech(by: &str, answered: &[u64], text: &str, at: u64) -> Speech {
    Speech {
        by: by.to_owned(),
        answered: answered.to_vec(),
        text: text.to_owned(),
        deliveries: vec![reply("m1", text)],
        once: None,
        at: Timestamp(at),
    }
}

#[tokio::test]
async fn what_a_person_says_is_in_transcript_and_outbox_and_takes_what_it_answers_along() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let session = filed(&store, &["m1", "m2"]).await;
    take(&session, "Ada", false, 2).await;
    let Spoken::New(deliveries) = session.speak(speech("Ada", &[1], "It is me.", 3)).await.unwrap() else {
        panic!("nothing was said")
    };
    assert_eq!(session.undelivered().unwrap(), deliveries);
    let lines = session.lines_after(0, 9).unwrap();
    assert_eq!(lines.iter().map(|line| line.text.as_str()).collect::<Vec<_>>(), ["text of m1", "It is me."]);
    assert_eq!(lines[1].speaker, Speaker::Person("Ada".to_owned()));
    assert_eq!(session.waiting(9).unwrap().iter().map(|waiting| waiting.seq).collect::<Vec<_>>(), [2]);
    assert_eq!(session.taken().unwrap().unwrap().spoke_at, Timestamp(3));
    let words = session.recent_words(9, usize::MAX, |words| (words.by_agent, words.text.to_owned())).unwrap();
    assert_eq!(words[1], (true, "It is me.".to_owned()), "the model hears it as said by the business");
}

#[tokio::test]
async fn the_worker_is_silent_while_a_person_has_the_conversation() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let session = filed(&store, &["m1"]).await;
    take(&session, "Ada", false, 2).await;
    let refused = [
        session.commit_turn(turn(vec![1], "hi", vec![reply("m1", "hi")], 3)).await.map(drop),
        session.tell(vec![1], reply("m1", "wait"), Timestamp(3)).await.map(drop),
        session.postpone(vec![1], None, Timestamp(3)).await.map(drop),
        session.park(vec![1], "why".to_owned(), None, Timestamp(3)).await.map(drop),
        session.begin_anew(1, None, reply("m1", "new"), Timestamp(3)).await.map(drop),
    ];
    for refused in refused {
        assert!(matches!(refused, Err(Error::Gone { .. })), "{refused:?}");
    }
    assert_eq!((session.undelivered().unwrap().len(), session.waiting(9).unwrap().len()), (0, 1));
    assert!(session.hand_back(None).await.unwrap());
    assert!(!session.hand_back(None).await.unwrap());
    session.commit_turn(turn(vec![1], "hi", vec![reply("m1", "hi")], 4)).await.unwrap();
}

#[tokio::test]
async fn of_two_who_want_it_one_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let session = filed(&store, &["m1"]).await;
    let (one, other) = tokio::join!(take(&session, "Ada", false, 2), take(&session, "Bob", false, 2));
    let theirs = [&one, &other].map(|taking| matches!(taking, Taking::Theirs(_)));
    assert_eq!(theirs.iter().filter(|is_theirs| **is_theirs).count(), 1, "{one:?} {other:?}");
    let owner = session.taken().unwrap().unwrap().by;
    let loser = if owner == "Ada" { "Bob" } else { "Ada" };
    assert!(matches!(session.speak(speech(loser, &[1], "hi", 3)).await.unwrap(), Spoken::NotTheirs(Some(_))));
    assert!(matches!(take(&session, loser, true, 4).await, Taking::Theirs(_)));
    assert!(matches!(session.speak(speech(&owner, &[1], "hi", 5)).await.unwrap(), Spoken::NotTheirs(Some(_))));
    session.speak(speech(loser, &[1], "hi", 5)).await.unwrap();
}

#[tokio::test]
async fn the_same_words_sent_twice_are_said_once() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let session = filed(&store, &["m1"]).await;
    take(&session, "Ada", false, 2).await;
    let speech = Speech { once: Some("x1".to_owned()), ..speech("Ada", &[1], "hi", 3) };
    assert!(matches!(session.speak(speech.clone()).await.unwrap(), Spoken::New(_)));
    assert_eq!(session.speak(speech.clone()).await.unwrap(), Spoken::Repeat);
    let again = Speech { once: Some("x2".to_owned()), answered: vec![], ..speech };
    assert!(matches!(session.speak(again).await.unwrap(), Spoken::New(_)));
    assert_eq!((session.undelivered().unwrap().len(), session.lines_after(0, 9).unwrap().len()), (2, 3));
}

#[tokio::test]
async fn time_does_not_end_what_a_person_has() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let session = filed(&store, &["m1"]).await;
    session.commit_turn(turn(vec![1], "hi", vec![], 2)).await.unwrap();
    take(&session, "Ada", false, 3).await;
    let late = Timestamp(10_000_000);
    assert_eq!(store.expire(late, late, None).await.unwrap().n_archived, 0);
    let message = inbound("", "u", "m2", late.0);
    store.tenant(None).file(&key("a"), &message, A_MINUTE).await.unwrap();
    assert_eq!(session.row().unwrap().unwrap().episode, 1);
    session.speak(speech("Ada", &[2], "still here", late.0)).await.unwrap();
    session.hand_back(Some(Timestamp(3))).await.unwrap();
    assert!(session.taken().unwrap().is_some(), "they have said something since");
    assert!(session.hand_back(Some(late)).await.unwrap());
}

#[tokio::test]
async fn who_archives_or_erases_a_conversation_ends_that_somebody_has_it() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let session = filed(&store, &["m1"]).await;
    take(&session, "Ada", false, 2).await;
    session.speak(speech("Ada", &[1], "hi", 3)).await.unwrap();
    filed(&store, &["m2"]).await;
    assert!(session.archive(Timestamp(4)).await.unwrap());
    assert_eq!((session.taken().unwrap(), session.waiting(9).unwrap().len()), (None, 1));
    take(&session, "Ada", false, 5).await;
    session.erase(None).await.unwrap();
    assert_eq!(view(&store, "", "a"), View::default());
    let gone = session.take("Ada".to_owned(), false, Timestamp(6)).await;
    assert!(matches!(gone, Err(Error::Gone { .. })), "{gone:?}");
    assert_sound(&store);
}

#[tokio::test]
async fn another_key_and_another_start_change_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let store = open(&directory);
    let session = filed(&store, &["m1"]).await;
    session.commit_turn(turn(vec![1], "hi", vec![], 2)).await.unwrap();
    take(&session, "Ada", false, 3).await;
    let taken = session.taken().unwrap();
    store.tenant(None).move_session(&key("a"), &key("b"), Timestamp(4)).await.unwrap();
    drop((session, store));
    let store = open(&directory);
    let moved = store.tenant(None).session(&key("b"));
    assert_eq!(moved.taken().unwrap(), taken);
    assert_eq!(store.tenant(None).session(&key("a")).taken().unwrap(), None);
    assert_eq!(store.taken().unwrap(), [(None, key("b"), taken.unwrap())]);
    assert_sound(&store);
}
