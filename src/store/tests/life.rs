//! How conversations end, come back, move and go.

use super::disk::Disk;
use super::*;
use crate::store::{Conversations, Error, Expired, Filed, Filter, Found, Hit, Search, SearchCursor};

const HOUR: u64 = 60 * 60 * 1000;
const A_DAY: Life = Life { ttl_ms: Some(24 * HOUR), says_new: true };

fn owners(store: &Store, key_text: &str) -> SessionStore {
    store.tenant(None).session(&key(key_text))
}

async fn file(store: &Store, key_text: &str, message_id: &str, at: u64, life: Life) {
    let filed = store.tenant(None).file(&key(key_text), &inbound("", "u", message_id, at), life).await.unwrap();
    assert_eq!(filed, Filed::New);
}

/// A message and its answer, `message_id` and `re message_id`.
async fn say(store: &Store, key_text: &str, message_id: &str, at: u64) {
    file(store, key_text, message_id, at, FOR_EVER).await;
    answer(store, key_text, message_id, at).await;
}

async fn answer(store: &Store, key_text: &str, message_id: &str, at: u64) {
    let session = owners(store, key_text);
    let SessionRow { episode, first_line, .. } = session.row().unwrap().unwrap();
    let waiting = session.waiting(1).unwrap();
    let turn = Turn { episode, first_line, ..turn(vec![waiting[0].seq], &format!("re {message_id}"), vec![], at) };
    session.commit_turn(turn).await.unwrap();
}

/// Texts of the live conversation, then of each archived one with its number.
fn told(store: &Store, key_text: &str) -> (Vec<String>, Vec<(u64, Vec<String>)>) {
    let session = owners(store, key_text);
    let texts = |lines: Vec<Line>| lines.into_iter().map(|line| line.text.replace("text of ", "")).collect::<Vec<_>>();
    let live = texts(session.lines_after(0, 99).unwrap());
    assert_eq!(texts(session.recent(99, usize::MAX).unwrap()), live);
    let row = session.row().unwrap();
    assert_eq!(row.as_ref().map_or(0, |row| row.n_messages), live.len() as u64);
    let archived = session.archives().unwrap().into_iter().map(|row| {
        let episode = session.episode(row.session.episode).unwrap().unwrap();
        assert_eq!(*episode.row(), row);
        let texts = texts(episode.lines_after(0, 99).unwrap());
        assert_eq!(row.session.n_messages, texts.len() as u64);
        (row.session.episode, texts)
    });
    (live, archived.collect())
}

fn check(store: &Store, key_text: &str, live: &[&str], archived: &[(u64, &[&str])]) {
    let (found_live, found_archived) = told(store, key_text);
    assert_eq!(found_live, live, "{key_text}: live");
    let found: Vec<(u64, Vec<&str>)> =
        found_archived.iter().map(|(n, texts)| (*n, texts.iter().map(String::as_str).collect())).collect();
    assert_eq!(
        found,
        archived.iter().map(|(n, texts)| (*n, texts.to_vec())).collect::<Vec<_>>(),
        "{key_text}: archive"
    );
}

fn is_news(store: &Store) -> bool {
    owners(store, "a").row().unwrap().unwrap().is_news
}

#[tokio::test]
async fn a_message_after_the_time_to_live_begins_another_conversation() {
    let store = Disk::default().open().unwrap();
    say(&store, "a", "m1", HOUR).await;
    file(&store, "a", "m2", 25 * HOUR, A_DAY).await;
    assert!(!is_news(&store), "a day is not over when it is full");
    answer(&store, "a", "m2", 25 * HOUR).await;
    file(&store, "a", "m3", 49 * HOUR + 1, A_DAY).await;
    assert!(is_news(&store));
    check(&store, "a", &[], &[(1, &["m1", "re m1", "m2", "re m2"])]);
    let row = owners(&store, "a").row().unwrap().unwrap();
    assert_eq!((row.episode, row.first_line, row.last_line, row.created_at), (2, 5, 4, Timestamp(49 * HOUR + 1)));
    answer(&store, "a", "m3", 50 * HOUR).await;
    assert!(!is_news(&store), "told with the first answer");
    check(&store, "a", &["m3", "re m3"], &[(1, &["m1", "re m1", "m2", "re m2"])]);
    assert_eq!(store.counts().unwrap().archived, 1);
}

#[tokio::test]
async fn what_waits_keeps_a_conversation_alive() {
    let store = Disk::default().open().unwrap();
    file(&store, "a", "m1", HOUR, A_DAY).await;
    file(&store, "a", "m2", 100 * HOUR, A_DAY).await;
    let expired = store.expire(Timestamp(200 * HOUR), Timestamp(300 * HOUR), None).await.unwrap();
    assert_eq!(expired.n_archived, 0);
    let row = owners(&store, "a").row().unwrap().unwrap();
    assert_eq!((row.episode, owners(&store, "a").waiting(9).unwrap().len()), (1, 2));
}

#[tokio::test]
async fn peers_are_told_of_a_new_conversation_only_when_time_ended_the_old_one() {
    for (life, is_swept, expected) in [
        (A_DAY, false, true),
        (A_DAY, true, true),
        (Life { says_new: false, ..A_DAY }, false, false),
        (Life { says_new: false, ..A_DAY }, true, false),
    ] {
        let store = Disk::default().open().unwrap();
        say(&store, "a", "m1", HOUR).await;
        if is_swept {
            assert_eq!(store.expire(Timestamp(2 * HOUR), Timestamp(99 * HOUR), None).await.unwrap().n_archived, 1);
            assert_eq!(owners(&store, "a").row().unwrap(), None);
        }
        file(&store, "a", "m2", 100 * HOUR, life).await;
        assert_eq!(is_news(&store), expected, "{life:?} {is_swept}");
        assert_eq!(owners(&store, "a").row().unwrap().unwrap().episode, 2);
    }
    let store = Disk::default().open().unwrap();
    say(&store, "a", "m1", HOUR).await;
    assert!(owners(&store, "a").archive(Timestamp(2 * HOUR)).await.unwrap());
    file(&store, "a", "m2", 100 * HOUR, A_DAY).await;
    assert!(!is_news(&store), "an order of the operator is not news");
}

#[tokio::test]
async fn archiving_leaves_what_waits_to_a_new_conversation() {
    let store = Disk::default().open().unwrap();
    let session = owners(&store, "a");
    assert!(!session.archive(Timestamp(1)).await.unwrap());
    say(&store, "a", "m1", 1).await;
    file(&store, "a", "m2", 2, FOR_EVER).await;
    assert!(session.archive(Timestamp(3)).await.unwrap());
    assert!(!session.archive(Timestamp(4)).await.unwrap(), "nothing was said since");
    check(&store, "a", &[], &[(1, &["m1", "re m1"])]);
    let row = session.row().unwrap().unwrap();
    assert_eq!((row.episode, row.first_line, row.is_news), (2, 3, false));
    answer(&store, "a", "m2", 5).await;
    check(&store, "a", &["m2", "re m2"], &[(1, &["m1", "re m1"])]);
    assert!(session.archive(Timestamp(6)).await.unwrap());
    assert_eq!(session.row().unwrap(), None);
    assert_eq!(session.archives().unwrap()[1].archived_at, Timestamp(6));
    let conversations = store.tenant(None);
    assert!(!conversations.has_session(&key("a")).unwrap());
    assert_eq!(store.tenants().unwrap(), [None], "a tenant with nothing but an archive is one");
}

#[tokio::test]
async fn an_answer_to_a_conversation_that_ended_meanwhile_is_not_committed() {
    let store = Disk::default().open().unwrap();
    say(&store, "a", "m1", 1).await;
    file(&store, "a", "m2", 2, FOR_EVER).await;
    let session = owners(&store, "a");
    let late = turn(vec![2], "re m2", vec![reply("m2", "re m2")], 4);
    session.archive(Timestamp(3)).await.unwrap();
    assert!(matches!(session.commit_turn(late.clone()).await, Err(Error::Gone { what: "conversation" })));
    check(&store, "a", &[], &[(1, &["m1", "re m1"])]);
    assert_eq!(session.tell(vec![2], reply("m2", "wait"), Timestamp(5)).await.unwrap().len(), 1);
    session.postpone(vec![2], None, Timestamp(6)).await.unwrap();
    session.commit_turn(Turn { episode: 2, first_line: 3, ..late }).await.unwrap();
    check(&store, "a", &["m2", "re m2"], &[(1, &["m1", "re m1"])]);
}

#[tokio::test]
async fn an_answer_that_knows_nothing_of_what_came_back_meanwhile_is_not_committed() {
    let store = Disk::default().open().unwrap();
    say(&store, "a", "m1", 1).await;
    let session = owners(&store, "a");
    session.archive(Timestamp(2)).await.unwrap();
    file(&store, "a", "m2", 3, FOR_EVER).await;
    let late = Turn { episode: 2, first_line: 3, ..turn(vec![2], "re m2", vec![], 5) };
    session.restore(None, Timestamp(4)).await.unwrap();
    assert!(matches!(session.commit_turn(late.clone()).await, Err(Error::Gone { what: "conversation" })));
    session.commit_turn(Turn { first_line: 1, ..late }).await.unwrap();
    check(&store, "a", &["m1", "re m1", "m2", "re m2"], &[]);
}

#[tokio::test]
async fn a_peer_begins_anew() {
    let store = Disk::default().open().unwrap();
    let session = owners(&store, "a");
    file(&store, "a", "new", 1, FOR_EVER).await;
    let said = session.begin_anew(1, None, reply("new", "a new conversation"), Timestamp(2)).await.unwrap();
    assert_eq!((said.len(), session.undelivered().unwrap()), (1, said));
    check(&store, "a", &[], &[]);
    assert_eq!(session.row().unwrap().unwrap().episode, 1, "nothing was said before");

    say(&store, "a", "m1", 3).await;
    file(&store, "a", "new 2", 4, FOR_EVER).await;
    session.begin_anew(3, Some("the rest".into()), reply("new 2", "a new conversation"), Timestamp(5)).await.unwrap();
    check(&store, "a", &[], &[(1, &["m1", "re m1"])]);
    let waiting = session.waiting(9).unwrap();
    assert_eq!((waiting.len(), waiting[0].seq, &*waiting[0].inbound.text), (1, 3, "the rest"));
    answer(&store, "a", "new 2", 6).await;
    check(&store, "a", &["the rest", "re new 2"], &[(1, &["m1", "re m1"])]);
    assert_eq!(session.undelivered().unwrap().len(), 2);

    let again = session.begin_anew(3, None, reply("m", ""), Timestamp(7)).await;
    assert!(matches!(again, Err(Error::Gone { what: "message" })));
}

#[tokio::test]
async fn an_archived_conversation_comes_back_with_those_after_it() {
    for (episode, is_live, expected_live, expected_archived) in [
        (None, true, vec!["3", "re 3", "4", "re 4"], vec![(1, vec!["1", "re 1"]), (2, vec!["2", "re 2"])]),
        (Some(2), true, vec!["2", "re 2", "3", "re 3", "4", "re 4"], vec![(1, vec!["1", "re 1"])]),
        (Some(1), true, vec!["1", "re 1", "2", "re 2", "3", "re 3", "4", "re 4"], vec![]),
        (None, false, vec!["3", "re 3"], vec![(1, vec!["1", "re 1"]), (2, vec!["2", "re 2"])]),
        (Some(2), false, vec!["2", "re 2", "3", "re 3"], vec![(1, vec!["1", "re 1"])]),
    ] {
        let store = Disk::default().open().unwrap();
        let session = owners(&store, "a");
        for n in 1..=3 {
            say(&store, "a", &n.to_string(), n).await;
            session.archive(Timestamp(n)).await.unwrap();
        }
        if is_live {
            say(&store, "a", "4", 4).await;
        }
        let restored = session.restore(episode, Timestamp(50 * HOUR)).await.unwrap();
        let archived: Vec<(u64, &[&str])> = expected_archived.iter().map(|(n, texts)| (*n, texts.as_slice())).collect();
        check(&store, "a", &expected_live, &archived);
        assert_eq!(Some(&restored.row), session.row().unwrap().as_ref());
        assert_eq!(restored.n_episodes, 3 - archived.len() as u64);
        assert_eq!(restored.row.last_active_at, Timestamp(50 * HOUR));
        let expired = store.expire(Timestamp(50 * HOUR), Timestamp(51 * HOUR), None).await.unwrap();
        assert_eq!(expired.n_archived, 0, "it is not archived again at once");
        assert!(matches!(session.restore(Some(3), Timestamp(9)).await, Err(Error::Gone { .. })));
    }
}

#[tokio::test]
async fn what_was_erased_is_not_counted_when_its_neighbours_come_back() {
    let store = Disk::default().open().unwrap();
    let session = owners(&store, "a");
    for n in 1..=3 {
        say(&store, "a", &n.to_string(), n).await;
        session.archive(Timestamp(n)).await.unwrap();
    }
    let erased = session.erase(Some(2)).await.unwrap();
    assert_eq!((erased.n_lines, erased.n_archives), (2, 1));
    session.restore(Some(1), Timestamp(4)).await.unwrap();
    check(&store, "a", &["1", "re 1", "3", "re 3"], &[]);
    say(&store, "a", "5", 5).await;
    check(&store, "a", &["1", "re 1", "3", "re 3", "5", "re 5"], &[]);
}

#[tokio::test]
async fn an_erased_conversation_leaves_nothing_and_is_not_mistaken_for_the_next() {
    let disk = Disk::default();
    let store = disk.open().unwrap();
    let session = owners(&store, "a");
    say(&store, "a", "m1", 1).await;
    session.archive(Timestamp(2)).await.unwrap();
    say(&store, "a", "m2", 3).await;
    file(&store, "a", "m3", 4, FOR_EVER).await;
    session.park(vec![3], "why".into(), Some(reply("m3", "sorry")), Timestamp(5)).await.unwrap();
    file(&store, "a", "m4", 6, FOR_EVER).await;
    say(&store, "b", "kept", 7).await;
    let late = Turn { episode: 2, first_line: 3, ..turn(vec![4], "re m4", vec![], 8) };

    let erased = session.erase(None).await.unwrap();
    let counts = (erased.n_lines, erased.n_messages, erased.n_replies, erased.n_archives);
    assert_eq!(counts, (4, 2, 1, 1));
    assert_eq!(session.erase(None).await.unwrap(), crate::store::Erased::default());
    assert_eq!(view(&store, "", "a"), View::default());
    assert_eq!(session.archives().unwrap(), []);
    let slack = ChannelType::new("slack").unwrap();
    let found = store.tenant(None).find(&slack, &id("u")).unwrap();
    assert_eq!(found.live.iter().map(|row| row.key.as_str()).collect::<Vec<_>>(), ["b"]);
    check(&store, "b", &["kept", "re kept"], &[]);

    file(&store, "a", "m4", 9, FOR_EVER).await;
    assert!(matches!(session.commit_turn(late).await, Err(Error::Gone { .. })));
    assert!(matches!(session.park(vec![4], "why".into(), None, Timestamp(9)).await, Err(Error::Gone { .. })));
    assert!(session.row().unwrap().unwrap().episode > 2);
    answer(&store, "a", "m4", 10).await;
    check(&store, "a", &["m4", "re m4"], &[]);
}

#[tokio::test]
async fn an_answer_is_erased_with_its_conversation_although_the_clock_went_back() {
    let store = Disk::default().open().unwrap();
    let session = owners(&store, "a");
    file(&store, "a", "m1", 9, FOR_EVER).await;
    session.commit_turn(turn(vec![1], "re m1", vec![reply("m1", "re m1")], 9)).await.unwrap();
    say(&store, "a", "m2", 5).await;
    session.archive(Timestamp(6)).await.unwrap();
    say(&store, "a", "m3", 7).await;
    assert_eq!(session.erase(Some(1)).await.unwrap().n_replies, 1);
    assert_eq!(session.undelivered().unwrap(), []);
}

#[tokio::test]
async fn who_spoke_in_an_erased_episode_only_is_forgotten() {
    let store = Disk::default().open().unwrap();
    let (conversations, session) = (store.tenant(None), owners(&store, "a"));
    for (user, n) in [("u", 1), ("v", 2)] {
        conversations.file(&key("a"), &inbound("", user, user, n), FOR_EVER).await.unwrap();
        conversations.file(&key("a"), &inbound("", "w", &n.to_string(), n), FOR_EVER).await.unwrap();
        let seqs = session.waiting(9).unwrap().iter().map(|waiting| waiting.seq).collect();
        session.commit_turn(Turn { episode: n, first_line: 3 * n - 2, ..turn(seqs, "hi", vec![], n) }).await.unwrap();
        session.archive(Timestamp(n)).await.unwrap();
    }
    session.erase(Some(1)).await.unwrap();
    let slack = ChannelType::new("slack").unwrap();
    for (user, n_expected) in [("u", 0), ("v", 1), ("w", 1)] {
        let Conversations { live, archived } = conversations.find(&slack, &id(user)).unwrap();
        assert_eq!((live.len(), archived.len()), (0, n_expected), "{user}");
    }
    assert_eq!(conversations.peers_of(&key("a"), 9).unwrap(), [(slack.clone(), id("v")), (slack, id("w"))]);
}

#[tokio::test]
async fn expiry_reads_only_what_is_due() {
    let store = Disk::default().open().unwrap();
    for n in 0..40_u64 {
        say(&store, &format!("k{n}"), &n.to_string(), n * HOUR).await;
    }
    let expired = store.expire(Timestamp(3 * HOUR), Timestamp(40 * HOUR), None).await.unwrap();
    assert_eq!(expired, Expired { n_archived: 3, n_read: 4, has_more: false });
    let again = store.expire(Timestamp(3 * HOUR), Timestamp(40 * HOUR), None).await.unwrap();
    assert_eq!(again, Expired { n_archived: 0, n_read: 1, has_more: false });
    assert_eq!(store.counts().unwrap().archived, 3);

    let n_syncs = store.n_syncs();
    store.expire(Timestamp(3 * HOUR), Timestamp(40 * HOUR), None).await.unwrap();
    assert_eq!(store.n_syncs(), n_syncs, "nothing new, nothing written");
}

#[tokio::test]
async fn expiry_reads_around_what_is_spared() {
    let store = Disk::default().open().unwrap();
    for n in 0..40_u64 {
        say(&store, &format!("k{n}"), &n.to_string(), n * HOUR).await;
    }
    let spare = Some((Timestamp(3 * HOUR), Timestamp(30 * HOUR)));
    let expired = store.expire(Timestamp(35 * HOUR), Timestamp(40 * HOUR), spare).await.unwrap();
    assert_eq!(expired, Expired { n_archived: 3 + 4, n_read: 4 + 6, has_more: false });
    assert_eq!(store.counts().unwrap().sessions, 33);
}

#[tokio::test]
async fn expiry_goes_on_where_a_step_ended() {
    let store = Disk::default().open().unwrap();
    for n in 0..250 {
        file(&store, &format!("k{n}"), &n.to_string(), 1, FOR_EVER).await;
        owners(&store, &format!("k{n}")).park(vec![1], "why".into(), None, Timestamp(1)).await.unwrap();
    }
    let step = || store.expire(Timestamp(9), Timestamp(9), None);
    assert_eq!(step().await.unwrap(), Expired { n_archived: 200, n_read: 200, has_more: true });
    assert_eq!(step().await.unwrap(), Expired { n_archived: 50, n_read: 50, has_more: false });
}

#[tokio::test]
async fn what_was_stamped_before_the_clock_was_set_is_moved_on_once() {
    let store = Disk::default().open().unwrap();
    for n in 0..250_u64 {
        file(&store, &format!("k{n}"), &n.to_string(), n, FOR_EVER).await;
    }
    for _ in 0..2 {
        store.redate(Timestamp(10), Timestamp(239), 500 * HOUR).await.unwrap();
    }
    // By less than the range is long: nobody could tell what was moved already.
    store.redate(Timestamp(0), Timestamp(9), 9).await.unwrap();
    for (n, expected) in [(9, 9), (10, 500 * HOUR + 10), (239, 500 * HOUR + 239), (240, 240)] {
        let row = owners(&store, &format!("k{n}")).row().unwrap().unwrap();
        assert_eq!(row.last_active_at, Timestamp(expected), "k{n}");
    }
    for n in 0..250 {
        owners(&store, &format!("k{n}")).park(vec![1], "why".into(), None, Timestamp(1)).await.unwrap();
    }
    let expired = store.expire(Timestamp(HOUR), Timestamp(501 * HOUR), None).await.unwrap();
    assert_eq!(expired, Expired { n_archived: 20, n_read: 20, has_more: false });
}

#[tokio::test]
async fn a_clock_that_is_wrong_archives_nothing() {
    let store = Disk::default().open().unwrap();
    say(&store, "a", "m1", HOUR).await;
    assert_eq!(store.latest_seen().unwrap(), None);
    let expired = store.expire(Timestamp(1), Timestamp(500 * HOUR), None).await.unwrap();
    assert_eq!((expired.n_archived, store.latest_seen().unwrap()), (0, Some(Timestamp(500 * HOUR))));
    for (before, seen, spare, expected) in [
        // Behind what was seen before.
        (100 * HOUR, 499 * HOUR, None, 0),
        // Ahead, but active since the process started.
        (900 * HOUR, 1000 * HOUR, Some((HOUR, HOUR)), 0),
        (900 * HOUR, 1000 * HOUR, Some((0, 50 * HOUR)), 0),
        (900 * HOUR, 1000 * HOUR, Some((HOUR + 1, 50 * HOUR)), 1),
    ] {
        let spare = spare.map(|(first, last)| (Timestamp(first), Timestamp(last)));
        let expired = store.expire(Timestamp(before), Timestamp(seen), spare).await.unwrap();
        assert_eq!(expired.n_archived, expected, "{before} {seen} {spare:?}");
    }
    assert_eq!(store.latest_seen().unwrap(), Some(Timestamp(1000 * HOUR)));
}

#[tokio::test]
async fn archives_are_listed_by_pages_and_found_by_user() {
    let store = Disk::default().open().unwrap();
    for key_text in ["a", "b"] {
        for n in 1..=3 {
            say(&store, key_text, &format!("{key_text}{n}"), n).await;
            owners(&store, key_text).archive(Timestamp(n)).await.unwrap();
        }
    }
    say(&store, "b", "live", 9).await;
    let conversations = store.tenant(None);
    for (after, after_episode, limit, expected) in [
        (None, None, 2, vec![("a", 1), ("a", 2)]),
        (Some("a"), Some(2), 2, vec![("a", 3), ("b", 1)]),
        (Some("a"), None, 9, vec![("b", 1), ("b", 2), ("b", 3)]),
        (Some("b"), Some(3), 9, vec![]),
    ] {
        let filter = Filter { after: after.map(key), after_episode, limit, ..Filter::default() };
        let rows = conversations.archived(&filter).unwrap();
        let found: Vec<_> = rows.iter().map(|row| (row.session.key.as_str(), row.session.episode)).collect();
        assert_eq!(found, expected, "{filter:?}");
    }
    let found = conversations.find(&ChannelType::new("slack").unwrap(), &id("u")).unwrap();
    assert_eq!((found.live.len(), found.archived.len()), (1, 6));
    let other = store.tenant(tenant("t").as_ref());
    assert_eq!(other.archived(&Filter { limit: 9, ..Filter::default() }).unwrap(), []);
}

#[tokio::test]
async fn a_search_finds_words_in_any_case_and_goes_on_at_its_cursor() {
    let store = Disk::default().open().unwrap();
    say(&store, "a", "Grüße aus ÖSTERREICH", 1).await;
    owners(&store, "a").archive(Timestamp(2)).await.unwrap();
    say(&store, "a", "grüße again", 3).await;
    say(&store, "b", "nothing", 4).await;
    let mut foreign = inbound("t", "u", "x", 1);
    foreign.text = "grüße of another tenant".into();
    store.tenant(tenant("t").as_ref()).file(&key("a"), &foreign, FOR_EVER).await.unwrap();
    let session = store.tenant(tenant("t").as_ref()).session(&key("a"));
    session.commit_turn(turn(vec![1], "hi", vec![], 2)).await.unwrap();

    let conversations = store.tenant(None);
    let hit = |hit: &Hit| (hit.key.to_string(), hit.episode, hit.is_archived, hit.seq);
    let (one, two) = (("a".to_owned(), 1, true, 1), ("a".to_owned(), 1, true, 2));
    let (three, four) = (("a".to_owned(), 2, false, 3), ("a".to_owned(), 2, false, 4));
    for (words, in_live, in_archived, expected) in [
        ("GRÜSSE", true, true, vec![]),
        ("GRÜßE", true, true, vec![one.clone(), two.clone(), three.clone(), four.clone()]),
        ("österreich grüße", true, true, vec![one.clone(), two.clone()]),
        ("grüße", false, true, vec![one.clone(), two.clone()]),
        ("grüße", true, false, vec![three.clone(), four.clone()]),
        ("grüße österreich again", true, true, vec![]),
        ("", true, true, vec![]),
        ("  ", true, true, vec![]),
    ] {
        let search = Search { words: words.into(), in_live, in_archived, after: None, limit: 9 };
        let found = conversations.search(&search).unwrap();
        assert_eq!(found.hits.iter().map(hit).collect::<Vec<_>>(), expected, "{search:?}");
        assert_eq!(found.next, None);
    }
    let mut after = None;
    let mut found = Vec::new();
    loop {
        let search = Search { words: "grüße".into(), in_live: true, in_archived: true, after, limit: 1 };
        let Found { hits, next } = conversations.search(&search).unwrap();
        assert!(hits.len() <= 1);
        found.extend(hits.iter().map(hit));
        after = next;
        if after.is_none() {
            break;
        }
    }
    assert_eq!(found, [one, two, three, four]);
}

#[tokio::test]
async fn a_search_that_finds_nothing_looks_at_a_bounded_number_of_lines() {
    let store = Disk::default().open().unwrap();
    let conversations = store.tenant(None);
    let session = owners(&store, "a");
    let max_looked = u64::try_from(crate::store::search::MAX_LOOKED).unwrap();
    for n in 0..=max_looked / 251 {
        let filing = (0..250).map(|i| inbound("", "u", &format!("{n}-{i}"), 1)).collect::<Vec<_>>();
        let a = key("a");
        futures_util::future::join_all(filing.iter().map(|message| conversations.file(&a, message, FOR_EVER))).await;
        let seqs = session.waiting(usize::MAX).unwrap().iter().map(|waiting| waiting.seq).collect();
        session.commit_turn(turn(seqs, "hi", vec![], 2)).await.unwrap();
    }
    let search = |after| Search { words: "nowhere".into(), in_live: true, in_archived: true, after, limit: 9 };
    let found = conversations.search(&search(None)).unwrap();
    let next = Some(SearchCursor { key: key("a"), seq: max_looked });
    assert_eq!(found, Found { hits: vec![], next: next.clone() });
    assert_eq!(conversations.search(&search(next)).unwrap(), Found::default());
}

#[tokio::test]
async fn a_hit_shows_what_stands_around_the_words() {
    let store = Disk::default().open().unwrap();
    let long = format!("{} İstanbul {}", "ä".repeat(100), "ö".repeat(300));
    for (message_id, text, words, expected) in [
        ("1", "short".to_owned(), "SHORT", "short".to_owned()),
        ("2", long.clone(), "i\u{307}stanbul", format!("…{} İstanbul {}…", "ä".repeat(39), "ö".repeat(111))),
    ] {
        let mut message = inbound("", "u", message_id, 1);
        message.text = text;
        store.tenant(None).file(&key("a"), &message, FOR_EVER).await.unwrap();
        answer(&store, "a", message_id, 1).await;
        let search = Search { words: words.into(), in_live: true, in_archived: true, after: None, limit: 9 };
        let found = store.tenant(None).search(&search).unwrap();
        assert_eq!(found.hits.iter().map(|hit| hit.excerpt.clone()).collect::<Vec<_>>(), [expected]);
    }
}

#[tokio::test]
async fn a_moved_conversation_keeps_its_positions_under_a_new_key() {
    let store = Disk::default().open().unwrap();
    say(&store, "a", "1", 1).await;
    owners(&store, "a").archive(Timestamp(1)).await.unwrap();
    say(&store, "a", "2", 2).await;
    let before: Vec<u64> = owners(&store, "a").lines_after(0, 9).unwrap().iter().map(|line| line.seq).collect();
    let conversations = store.tenant(None);
    let moved = conversations.move_session(&key("a"), &key("b"), Timestamp(3)).await.unwrap();
    assert_eq!((moved.n_episodes, moved.n_lines), (2, 4));
    check(&store, "a", &[], &[]);
    check(&store, "b", &["2", "re 2"], &[(1, &["1", "re 1"])]);
    let after: Vec<u64> = owners(&store, "b").lines_after(0, 9).unwrap().iter().map(|line| line.seq).collect();
    assert_eq!(before, after);
    let found = conversations.find(&ChannelType::new("slack").unwrap(), &id("u")).unwrap();
    assert_eq!((found.live.len(), found.archived.len()), (1, 1));
    assert!(matches!(conversations.move_session(&key("a"), &key("b"), Timestamp(3)).await, Err(Error::Gone { .. })));
}

#[tokio::test]
async fn conversations_that_meet_under_a_key_stay_apart() {
    type Archive = Vec<(u64, Vec<&'static str>)>;
    let cases: [(u64, u64, Vec<&str>, Archive); 2] = [
        (5, 9, vec!["b1", "re b1"], vec![(2, vec!["a1", "re a1"]), (3, vec!["a2", "re a2"])]),
        (9, 5, vec!["a2", "re a2"], vec![(1, vec!["b1", "re b1"]), (2, vec!["a1", "re a1"])]),
    ];
    for (a_at, b_at, live, archived) in cases {
        let store = Disk::default().open().unwrap();
        say(&store, "a", "a1", 1).await;
        owners(&store, "a").archive(Timestamp(1)).await.unwrap();
        say(&store, "a", "a2", a_at).await;
        say(&store, "b", "b1", b_at).await;
        let moved = store.tenant(None).move_session(&key("a"), &key("b"), Timestamp(10)).await.unwrap();
        assert_eq!((moved.n_episodes, moved.n_lines), (2, 4));
        let archived: Vec<(u64, &[&str])> = archived.iter().map(|(n, texts)| (*n, texts.as_slice())).collect();
        check(&store, "b", &live, &archived);
        check(&store, "a", &[], &[]);
        say(&store, "b", "next", 11).await;
        let live = [live.as_slice(), &["next", "re next"]].concat();
        check(&store, "b", &live, &archived);
    }
}

#[tokio::test]
async fn what_still_waits_is_not_moved() {
    let store = Disk::default().open().unwrap();
    let conversations = store.tenant(None);
    file(&store, "a", "m1", 1, FOR_EVER).await;
    let mv = || async { conversations.move_session(&key("a"), &key("b"), Timestamp(3)).await };
    assert!(matches!(mv().await, Err(Error::InUse)));
    let session = owners(&store, "a");
    let sent = session.commit_turn(turn(vec![1], "hi", vec![reply("m1", "hi")], 2)).await.unwrap();
    assert!(matches!(mv().await, Err(Error::InUse)));
    session.settle_delivery(&sent[0].id).await.unwrap();
    mv().await.unwrap();
    check(&store, "b", &["m1", "hi"], &[]);
}

#[tokio::test]
async fn a_reply_to_an_archived_conversation_is_still_settled_or_set_aside() {
    let store = Disk::default().open().unwrap();
    file(&store, "a", "m1", 1, FOR_EVER).await;
    let session = owners(&store, "a");
    let sent = session.commit_turn(turn(vec![1], "hi", vec![reply("m1", "one"), reply("m1", "two")], 2)).await.unwrap();
    session.archive(Timestamp(3)).await.unwrap();
    session.settle_delivery(&sent[0].id).await.unwrap();
    session.park_delivery(&sent[1].id, "unclear".into(), Timestamp(4)).await.unwrap();
    assert_eq!((session.undelivered().unwrap().len(), session.parked(9).unwrap().len()), (0, 1));
}

#[tokio::test]
async fn a_page_that_was_away_gets_what_was_archived_since_and_one_that_opens_does_not() {
    let store = Disk::default().open().unwrap();
    let session = owners(&store, "a");
    let check = |after: Option<u64>, texts: &[&str], last, is_known| {
        let found = session.lines_with(&inbound("", "u", "m", 0).reply_to, after, 9).unwrap();
        let found_texts: Vec<_> = found.lines.iter().map(|line| line.text.trim_start_matches("text of ")).collect();
        assert_eq!((found_texts, found.last, found.is_known), (texts.to_vec(), last, is_known), "after {after:?}");
    };
    check(None, &[], 0, true);
    check(Some(0), &[], 0, true);
    say(&store, "a", "m1", 1).await;
    session.archive(Timestamp(2)).await.unwrap();
    check(None, &[], 2, true);
    check(Some(0), &["m1", "re m1"], 2, true);
    check(Some(1), &["re m1"], 2, true);
    say(&store, "a", "m2", 3).await;
    say(&store, "a", "m3", 4).await;
    check(None, &["m2", "re m2", "m3", "re m3"], 6, true);
    check(Some(1), &["re m1", "m2", "re m2", "m3", "re m3"], 6, true);
    check(Some(6), &[], 6, true);
    let others = session.lines_with(&inbound("", "v", "m", 0).reply_to, Some(0), 9).unwrap();
    assert_eq!((others.lines, others.last), (vec![], 6), "what another said is not shown");
    assert_eq!(session.lines_with(&inbound("", "u", "m", 0).reply_to, Some(0), 1).unwrap().lines[0].text, "re m3");

    // What a page has is of an episode that is gone, or of a store that a backup took the place of.
    session.archive(Timestamp(5)).await.unwrap();
    say(&store, "a", "m4", 6).await;
    session.erase(Some(2)).await.unwrap();
    check(Some(2), &["m4", "re m4"], 8, true);
    check(Some(4), &["m4", "re m4"], 8, false);
    check(Some(99), &["m4", "re m4"], 8, false);
    session.erase(None).await.unwrap();
    check(Some(8), &[], 0, false);
    say(&store, "a", "m5", 7).await;
    check(Some(8), &["m5", "re m5"], 10, false);
}

#[tokio::test]
async fn the_newest_come_first_page_by_page_and_only_of_those_who_are_named() {
    let store = Disk::default().open().unwrap();
    let mut written = Vec::new();
    // Several in one hour, some at the same moment, and two tenants with the same keys.
    for n in 0..40_u64 {
        let (of, key_text) = (["", "t"][(n % 2) as usize], format!("k{}", n / 2 * 7 % 20));
        let at = n * 17 % 11 * HOUR + n % 3;
        let inbound = inbound(of, "u", &format!("m{n}"), at);
        let tenant_id = tenant(of);
        store.tenant(tenant_id.as_ref()).file(&key(&key_text), &inbound, FOR_EVER).await.unwrap();
        written.push((std::cmp::Reverse(at), tenant_id, key_text));
    }
    written.sort();
    let many: Vec<_> = ["", "a", "b", "s", "t", "z"].map(tenant).into();
    for (tenants, limit) in
        [(vec![None, tenant("t")], 7), (vec![tenant("t")], 3), (vec![None], 100), (vec![], 5), (many, 2)]
    {
        let expected: Vec<_> = written.iter().filter(|(_, of, _)| tenants.contains(of)).collect();
        let (mut found, mut before) = (Vec::new(), None);
        loop {
            let page = store.recent(&tenants, before.as_ref(), limit).unwrap();
            assert!(page.rows.len() <= limit);
            found.extend(
                page.rows
                    .into_iter()
                    .map(|row| (std::cmp::Reverse(row.last_active_at.0), row.tenant, row.key.as_str().to_owned())),
            );
            before = page.next;
            if before.is_none() {
                break;
            }
        }
        assert_eq!(found.iter().collect::<Vec<_>>(), expected, "{tenants:?}");
    }
}
