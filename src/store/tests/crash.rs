//! Power goes out in every sync of a short life, with different parts of what was written surviving.

use super::disk::{Disk, Fault, Survivors};
use super::*;
use crate::id::FileName;
use crate::store::{Error, FileChange, Filed, NoteChange, Speech};

/// One acknowledged change after the other.
#[derive(Debug, Clone, Copy)]
enum Step {
    File { key: &'static str, message_id: &'static str },
    Turn { key: &'static str, seqs: &'static [u64] },
    Postpone { key: &'static str, seq: u64 },
    Park { key: &'static str, seq: u64 },
    StartFirst { key: &'static str },
    SettleFirst { key: &'static str },
    ParkFirst { key: &'static str },
    Unpark { key: &'static str, position: u64 },
    DropParked { key: &'static str, position: u64 },
    PruneAll,
    Archive { key: &'static str },
    BeginAnew { key: &'static str, seq: u64 },
    Restore { key: &'static str },
    Expire,
    Move { from: &'static str, to: &'static str },
    Erase { key: &'static str },
    Take { key: &'static str },
    HandBack { key: &'static str },
    Speak { key: &'static str, seqs: &'static [u64] },
}

const STEPS: &[Step] = &[
    Step::File { key: "a", message_id: "m1" },
    Step::File { key: "a", message_id: "m2" },
    Step::File { key: "b", message_id: "m3" },
    Step::Postpone { key: "a", seq: 1 },
    Step::Turn { key: "a", seqs: &[1, 2] },
    Step::StartFirst { key: "a" },
    Step::SettleFirst { key: "a" },
    Step::Park { key: "b", seq: 1 },
    Step::ParkFirst { key: "a" },
    Step::Unpark { key: "a", position: 1 },
    Step::ParkFirst { key: "a" },
    Step::PruneAll,
    Step::File { key: "b", message_id: "m4" },
    Step::Turn { key: "b", seqs: &[2] },
    Step::Unpark { key: "b", position: 1 },
    Step::Park { key: "b", seq: 3 },
    Step::Archive { key: "a" },
    Step::DropParked { key: "a", position: 2 },
    Step::File { key: "a", message_id: "m5" },
    Step::Turn { key: "a", seqs: &[3] },
    Step::Take { key: "b" },
    Step::Speak { key: "b", seqs: &[] },
    Step::File { key: "c", message_id: "m8" },
    Step::Take { key: "c" },
    Step::Speak { key: "c", seqs: &[1] },
    Step::HandBack { key: "c" },
    Step::Erase { key: "c" },
    Step::File { key: "a", message_id: "m6" },
    Step::BeginAnew { key: "a", seq: 4 },
    Step::Restore { key: "a" },
    Step::Expire,
    Step::SettleFirst { key: "b" },
    Step::SettleFirst { key: "b" },
    Step::SettleFirst { key: "b" },
    Step::Move { from: "b", to: "a" },
    Step::Erase { key: "a" },
    Step::File { key: "a", message_id: "m7" },
];

/// An operation that was cut off may have reached the disk; its repetition then says so.
fn is_repeat(error: &Error) -> bool {
    matches!(error, Error::Gone { .. })
}

async fn run(store: &Store, step: Step) -> Result<(), Error> {
    let conversations = store.tenant(tenant("t").as_ref());
    let session = |text| conversations.session(&key(text));
    let first = |text| {
        let undelivered = session(text).undelivered()?;
        Ok::<_, Error>(undelivered.first().map(|delivery| delivery.id.clone()).unwrap_or_default())
    };
    match step {
        Step::File { key: text, message_id } => {
            conversations.file(&key(text), &inbound("t", "u", message_id, 3), FOR_EVER).await.map(|_: Filed| ())
        }
        Step::Turn { key, seqs } => {
            let replies = vec![reply("m1", "one"), reply("m1", "two")];
            let (session, number) = (session(key), seqs[0]);
            let (episode, first_line) = session.row()?.map_or((0, 0), |row| (row.episode, row.first_line));
            let was = session.context(episode).notes()?.into_iter().find(|note| note.number == number);
            let text = Some("Has a dog.".to_owned());
            let notes = vec![NoteChange { number, was: was.map(|note| note.text), text }];
            let files = vec![FileChange { name: FileName::new("a.txt").unwrap(), text: Some("dog".repeat(3000)) }];
            let answer = Turn { episode, first_line, notes, files, ..turn(seqs.to_vec(), "one two", replies, 8) };
            session.commit_turn(answer).await.map(drop)
        }
        Step::Postpone { key, seq } => {
            session(key).postpone(vec![seq], Some(reply("m1", "wait")), Timestamp(5)).await.map(drop)
        }
        Step::Park { key, seq } => session(key).park(vec![seq], "no answer".into(), None, Timestamp(6)).await.map(drop),
        Step::StartFirst { key } => session(key).start_delivery(&first(key)?).await,
        Step::SettleFirst { key } => session(key).settle_delivery(&first(key)?).await,
        Step::ParkFirst { key } => session(key).park_delivery(&first(key)?, "unclear".into(), Timestamp(9)).await,
        Step::Unpark { key, position } => session(key).unpark(position, FOR_EVER, Timestamp(10)).await.map(drop),
        Step::DropParked { key, position } => session(key).drop_parked(vec![position]).await.map(drop),
        Step::Archive { key } => session(key).archive(Timestamp(20)).await.map(drop),
        Step::BeginAnew { key, seq } => {
            session(key).begin_anew(seq, None, reply("m", "new"), Timestamp(21)).await.map(drop)
        }
        Step::Restore { key } => session(key).restore(None, Timestamp(22)).await.map(drop),
        Step::Expire => store.expire(Timestamp(9), Timestamp(23), None).await.map(drop),
        Step::Move { from, to } => conversations.move_session(&key(from), &key(to), Timestamp(24)).await.map(drop),
        Step::Erase { key } => {
            session(key).erase(None).await?;
            store.rewrite().await.map(drop)
        }
        Step::Take { key } => session(key).take("Ada".to_owned(), false, Timestamp(11)).await.map(drop),
        Step::HandBack { key } => session(key).hand_back(None).await.map(drop),
        Step::Speak { key, seqs } => {
            let (by, text, at) = ("Ada".to_owned(), "It is Ada.".to_owned(), Timestamp(12));
            let (answered, deliveries, once) =
                (seqs.to_vec(), vec![reply("m", "It is Ada.")], Some(format!("of {key}")));
            session(key).speak(Speech { by, answered, text, deliveries, once, at }).await.map(drop)
        }
        Step::PruneAll => store.prune_marks(Timestamp(4), None).await.map(drop),
    }
}

fn views(store: &Store) -> [View; 3] {
    assert_sound(store);
    ["a", "b", "c"].map(|key| view(store, "t", key))
}

/// Runs the steps until one fails. Returns how many were acknowledged.
async fn live(disk: &Disk) -> usize {
    let Ok(store) = disk.open() else { return 0 };
    for (n_done, step) in STEPS.iter().enumerate() {
        if run(&store, *step).await.is_err() {
            return n_done;
        }
    }
    STEPS.len()
}

/// What is to be seen after no step, one step, and so on.
async fn expected() -> Vec<[View; 3]> {
    let store = Disk::default().open().unwrap();
    let mut expected = vec![views(&store)];
    for step in STEPS {
        run(&store, *step).await.unwrap();
        expected.push(views(&store));
    }
    expected
}

fn is_urgent(step: Step) -> bool {
    !matches!(step, Step::SettleFirst { .. })
}

/// Of so many that were acknowledged. What is not urgent may be lost, but not by the end of the process.
fn n_durable(n_done: usize, survivors: Survivors) -> usize {
    match survivors {
        Survivors::All => n_done,
        Survivors::None | Survivors::Third(_) => {
            STEPS[..n_done].iter().rposition(|step| is_urgent(*step)).map_or(0, |last| last + 1)
        }
    }
}

/// `n_again`: power goes out again in one of the first so many syncs of the start after it.
async fn check(survivors: Survivors, n_again: usize) {
    let expected = expected().await;
    for n_sync in 1.. {
        let disk = Disk::with_fault(Fault::PowerCutAt(n_sync));
        let n_done = live(&disk).await;
        if !disk.has_lost_power() {
            assert_eq!(n_done, STEPS.len());
            assert!(n_sync > STEPS.iter().filter(|step| is_urgent(**step)).count(), "every urgent step syncs");
            return;
        }

        let mut disk = disk.after_power_cut(survivors);
        if n_again > 0 {
            disk.set_fault(Fault::PowerCutAt(1 + n_sync % n_again));
            drop(disk.open());
            disk = disk.after_power_cut(survivors);
        }
        let store = disk.open().unwrap();
        assert!(!disk.has_new(), "sync {n_sync}, {survivors:?}: a copy was left");
        let found = views(&store);
        let reached = &expected[n_durable(n_done, survivors)..STEPS.len().min(n_done + 1) + 1];
        let reached = reached.iter().rposition(|views| *views == found).map(|n| n + n_durable(n_done, survivors));
        let Some(n_reached) = reached else {
            panic!("sync {n_sync}, {survivors:?}: after {n_done} acknowledged steps there was {found:#?}");
        };

        // As every start does.
        store.rewrite().await.unwrap();
        assert!(!store.must_rewrite().unwrap());
        for step in &STEPS[n_reached..] {
            run(&store, *step).await.unwrap();
        }
        assert_eq!(views(&store), expected[STEPS.len()], "sync {n_sync}, {survivors:?}: the rest of the life");
        for words in ["text of m1", "text of m6", "text of m8", "Has a dog.", "one two"] {
            assert!(!disk.holds(words), "sync {n_sync}, {survivors:?}: {words} was left");
        }
    }
}

#[tokio::test]
async fn a_power_cut_that_loses_all_unsynced_writes_keeps_what_was_acknowledged() {
    check(Survivors::None, 0).await;
}

#[tokio::test]
async fn a_power_cut_after_all_writes_keeps_what_was_acknowledged() {
    check(Survivors::All, 0).await;
}

#[tokio::test]
async fn a_power_cut_that_tears_writes_keeps_what_was_acknowledged() {
    for remainder in 0..3 {
        check(Survivors::Third(remainder), 0).await;
    }
}

#[tokio::test]
async fn a_power_cut_in_the_start_after_a_power_cut_keeps_what_was_acknowledged() {
    for survivors in [Survivors::None, Survivors::All, Survivors::Third(1)] {
        check(survivors, 5).await;
    }
}

#[tokio::test]
async fn a_disk_that_failed_once_is_used_again() {
    let disk = Disk::default();
    let store = disk.open().unwrap();
    let conversations = store.tenant(None);
    conversations.file(&key("a"), &inbound("", "u", "m1", 1), FOR_EVER).await.unwrap();

    disk.set_fault(Fault::NextSync);
    let second = inbound("", "u", "m2", 2);
    assert!(matches!(conversations.file(&key("a"), &second, FOR_EVER).await, Err(Error::Storage(_))));

    conversations.file(&key("a"), &second, FOR_EVER).await.unwrap();
    assert_eq!(conversations.session(&key("a")).waiting(9).unwrap().len(), 2);
}

#[tokio::test]
async fn a_turn_that_was_cut_off_is_not_committed_twice() {
    let disk = Disk::default();
    let store = disk.open().unwrap();
    let conversations = store.tenant(None);
    let session = conversations.session(&key("a"));
    conversations.file(&key("a"), &inbound("", "u", "m1", 1), FOR_EVER).await.unwrap();

    disk.set_fault(Fault::NextSync);
    let answer = turn(vec![1], "hi", vec![reply("m1", "hi")], 2);
    assert!(session.commit_turn(answer.clone()).await.is_err());
    if let Err(error) = session.commit_turn(answer).await {
        assert!(is_repeat(&error), "{error}");
    }

    assert_eq!(session.lines_after(0, 9).unwrap().len(), 2);
    assert_eq!(session.undelivered().unwrap().len(), 1);
}

#[tokio::test]
async fn while_nothing_can_be_written_everything_can_be_read_and_later_it_goes_on() {
    let disk = Disk::default();
    let store = disk.open().unwrap();
    let conversations = store.tenant(None);
    let session = conversations.session(&key("a"));
    conversations.file(&key("a"), &inbound("", "u", "m1", 1), FOR_EVER).await.unwrap();
    let before = view(&store, "", "a");

    disk.set_fault(Fault::ReadOnly);
    for _ in 0..2 {
        let refused = session.commit_turn(turn(vec![1], "hi", vec![], 2)).await;
        assert!(matches!(refused, Err(Error::Storage(_))), "{refused:?}");
        assert_eq!(view(&store, "", "a"), before);
    }
    assert!(store.room().unwrap().is_read_only);

    disk.set_fault(Fault::None);
    tokio::time::sleep(crate::store::writer::REOPEN_PAUSE).await;
    session.commit_turn(turn(vec![1], "hi", vec![], 2)).await.unwrap();
    drop((store, conversations, session));
    let store = disk.after_power_cut(Survivors::None).open().unwrap();
    assert_eq!(view(&store, "", "a").lines.len(), 2);
}

#[tokio::test]
async fn with_little_room_nothing_new_is_taken_and_what_was_is_answered() {
    let disk = Disk::default();
    let store = disk.open().unwrap();
    let conversations = store.tenant(None);
    let session = conversations.session(&key("a"));
    conversations.file(&key("a"), &inbound("", "u", "m1", 1), FOR_EVER).await.unwrap();

    disk.set_fault(Fault::Reserve);
    // Whoever asks sees it at once, and so does the writer then.
    assert!(store.room().unwrap().is_full());
    let refused = conversations.file(&key("a"), &inbound("", "u", "m2", 2), FOR_EVER).await;
    assert!(matches!(refused, Err(Error::Full { .. })), "{refused:?}");
    session.commit_turn(turn(vec![1], "hi", vec![reply("m1", "hi")], 2)).await.unwrap();
    let reply = session.undelivered().unwrap().remove(0);
    session.settle_delivery(&reply.id).await.unwrap();
    session.erase(None).await.unwrap();

    disk.set_fault(Fault::None);
    conversations.file(&key("a"), &inbound("", "u", "m2", 2), FOR_EVER).await.unwrap();
}
