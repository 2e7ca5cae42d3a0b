//! Opening files of all sorts.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use super::disk::{Disk, Fault, Survivors};
use super::*;
use crate::store::tables::{FORMAT, META};
use crate::store::{Counts, Error, Filed};

/// Opens what `prepare` leaves at the path; the names of the error and of its cause.
fn check(prepare: impl FnOnce(&Path), expected: Result<(), &str>) {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("store.redb");
    prepare(&path);
    let found = Store::open(&path, CACHE_BYTES, &[7; 32]).map(drop).map_err(|error| match &error {
        Error::Open { source, .. } => source.to_string(),
        _ => error.to_string().replace(&*path.to_string_lossy(), "PATH"),
    });
    assert_eq!(found.as_ref().map_err(String::as_str).copied(), expected);
}

#[test]
fn a_missing_or_empty_file_becomes_a_store() {
    check(|_| (), Ok(()));
    check(|path| fs::write(path, "").unwrap(), Ok(()));
}

#[test]
fn a_new_file_is_for_its_owner_only() {
    let home = tempfile::tempdir().unwrap();
    drop(open(&home));
    let mode = fs::metadata(home.path().join("store.redb")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
}

#[test]
fn a_file_whose_creation_was_cut_off_is_started_again() {
    check(|path| fs::write(path, vec![0; 64 * 1024]).unwrap(), Ok(()));
}

#[test]
fn foreign_files_are_refused_and_left_alone() {
    let refused = Err("the file is not a store of Frontdesk");
    for bytes in [b"{}".to_vec(), vec![0; 9], b"x".repeat(9000), [vec![0; 9000], b"x".to_vec()].concat()] {
        let home = tempfile::tempdir().unwrap();
        let copy = home.path().join("copy");
        check(
            |path| {
                fs::write(path, &bytes).unwrap();
                fs::hard_link(path, &copy).unwrap_or_default();
            },
            refused,
        );
        if copy.exists() {
            assert_eq!(fs::read(&copy).unwrap(), bytes);
        }
    }
}

#[test]
fn the_database_of_another_program_is_refused() {
    let other = redb::TableDefinition::<&str, &str>::new("notes");
    let prepare = |path: &Path| {
        let database = redb::Database::create(path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(other).unwrap();
        transaction.commit().unwrap();
    };
    check(prepare, Err("the file is a database of another program"));
}

#[test]
fn a_file_of_a_newer_version_is_refused() {
    let prepare = |path: &Path| {
        drop(Store::open(path, CACHE_BYTES, &[7; 32]).unwrap());
        let database = redb::Database::open(path).unwrap();
        let transaction = database.begin_write().unwrap();
        transaction.open_table(META).unwrap().insert("format", FORMAT + 1).unwrap();
        transaction.commit().unwrap();
    };
    check(prepare, Err("the store PATH was written by a newer version (format 4, this program knows 3)"));
}

#[tokio::test]
async fn a_file_of_the_first_format_is_read_and_its_conversations_can_end() {
    const HOUR: u64 = 60 * 60 * 1000;
    let home = tempfile::tempdir().unwrap();
    fs::copy("tests/data/store/format-1.redb", home.path().join("store.redb")).unwrap();
    for _ in 0..2 {
        let store = open(&home);
        let counts = Counts { sessions: 4, archived: 0, waiting: 2, undelivered: 2, parked: 1, ..Counts::default() };
        assert_eq!(store.counts().unwrap(), counts);
        assert_eq!(store.tenants().unwrap(), [None, tenant("t")]);
        let first = view(&store, "", "slack:T1:C1");
        let texts: Vec<_> = first.lines.iter().map(|line| &*line.text).collect();
        assert_eq!(texts, ["text of u1", "answer u1", "text of u2", "answer u2", "text of u3", "answer u3"]);
        assert_eq!(first.waiting.iter().map(|w| (w.seq, &*w.inbound.text)).collect::<Vec<_>>(), [(5, "text of waits")]);
        assert_eq!(first.undelivered.iter().map(|d| &*d.content.text).collect::<Vec<_>>(), ["answer u3"]);
        assert_eq!(first.parked.iter().map(|p| &*p.reason).collect::<Vec<_>>(), ["no answer"]);
        let row = first.row.unwrap();
        assert_eq!((row.episode, row.first_line, row.n_messages, row.is_news), (1, 1, 6, false));
        assert_eq!(view(&store, "t", "tenant-t-slack:w").waiting.len(), 1);
        let slack = ChannelType::new("slack").unwrap();
        let peers = store.tenant(None).peers_of(&key("slack:T1:C1"), 9).unwrap();
        assert_eq!(peers, [(slack.clone(), id("u")), (slack.clone(), id("v"))]);
        assert_eq!(store.tenant(None).find(&slack, &id("v")).unwrap().live.len(), 2);
    }
    let store = open(&home);
    let expired = store.expire(Timestamp(1003 * HOUR), Timestamp(1100 * HOUR), None).await.unwrap();
    assert_eq!((expired.n_archived, expired.n_read), (1, 1));
    assert_eq!(store.tenant(None).session(&key("slack:T1:C2")).archives().unwrap().len(), 1);
}

#[test]
fn a_directory_is_refused() {
    check(|path| fs::create_dir(path).unwrap(), Err("Is a directory (os error 21)"));
}

#[test]
fn a_missing_directory_is_an_error() {
    let home = tempfile::tempdir().unwrap();
    let error = Store::open(&home.path().join("none/store.redb"), CACHE_BYTES, &[7; 32]).unwrap_err();
    assert!(matches!(error, Error::Open { .. }), "{error}");
}

#[test]
fn an_open_file_is_locked_until_the_last_handle_is_gone() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("store.redb");
    let session = open(&home).tenant(None).session(&key("a"));
    assert!(matches!(Store::open(&path, CACHE_BYTES, &[7; 32]), Err(Error::Locked { .. })));
    drop(session);
    assert!(Store::open(&path, CACHE_BYTES, &[7; 32]).is_ok());
}

#[tokio::test]
async fn everything_is_there_after_a_restart() {
    let home = tempfile::tempdir().unwrap();
    let store = open(&home);
    let conversations = store.tenant(tenant("t").as_ref());
    let session = conversations.session(&key("a"));
    for (message_id, at) in [("m1", 1), ("m2", 2), ("m3", 3)] {
        conversations.file(&key("a"), &inbound("t", "u", message_id, at), FOR_EVER).await.unwrap();
    }
    session.commit_turn(turn(vec![1], "hi", vec![reply("m1", "hi"), reply("m1", "there")], 4)).await.unwrap();
    session.postpone(vec![2], Some(reply("m2", "wait")), Timestamp(5)).await.unwrap();
    session.park(vec![3], "no answer".into(), None, Timestamp(6)).await.unwrap();
    let deliveries = session.undelivered().unwrap();
    session.start_delivery(&deliveries[0].id).await.unwrap();
    session.park_delivery(&deliveries[1].id, "unclear".into(), Timestamp(7)).await.unwrap();
    let before = (view(&store, "t", "a"), store.counts().unwrap());
    drop((store, conversations, session));

    let store = open(&home);

    assert_eq!((view(&store, "t", "a"), store.counts().unwrap()), before);
    let conversations = store.tenant(tenant("t").as_ref());
    let session = conversations.session(&key("a"));
    let started: Vec<_> = session.undelivered().unwrap().into_iter().map(|d| (d.id, d.is_started)).collect();
    assert_eq!(started, [(deliveries[0].id.clone(), true), (deliveries[2].id.clone(), false)]);
    assert_eq!(conversations.file(&key("a"), &inbound("t", "u", "m3", 9), FOR_EVER).await.unwrap(), Filed::Duplicate);
    assert_eq!(conversations.find(&ChannelType::new("slack").unwrap(), &id("u")).unwrap().live.len(), 1);
    session.unstart_delivery(&deliveries[0].id).await.unwrap();
    assert!(!session.undelivered().unwrap()[0].is_started);
}

/// What the fixture of the second format holds, of the owner or of a tenant.
fn check_second_format(store: &Store, of: &str) {
    let prefix = if of.is_empty() { String::new() } else { format!("tenant-{of}-") };
    let (talk, ended) = (format!("{prefix}slack:T1:C1"), format!("{prefix}slack:T1:C2"));
    let found = view(store, of, &talk);
    let texts: Vec<_> = found.lines.iter().map(|line| line.text.clone()).collect();
    assert_eq!(texts, [format!("text of {of}m1"), format!("text of {of}m2"), "one two".to_owned()]);
    assert_eq!(
        found.waiting.iter().map(|w| (w.seq, w.inbound.text.clone())).collect::<Vec<_>>(),
        [(4, format!("text of {of}m4"))]
    );
    let replies: Vec<_> = found.undelivered.iter().map(|d| (&*d.content.text, d.is_started)).collect();
    assert_eq!(replies, [("one", true), ("two", false)]);
    assert_eq!(found.parked.iter().map(|p| &*p.reason).collect::<Vec<_>>(), ["no answer"]);
    assert_eq!(found.notes.iter().map(|note| &*note.text).collect::<Vec<_>>(), ["Has a dog."]);
    assert_eq!(found.files, [("list.txt".to_owned(), "bread, milk".to_owned())]);
    let found = view(store, of, &ended);
    assert_eq!(found.row, None);
    let [(row, lines)] = &found.archived[..] else { panic!("one is archived: {found:?}") };
    assert_eq!((row.session.episode, row.session.n_messages, lines.len()), (1, 2, 2));
    let conversations = store.tenant(tenant(of).as_ref());
    let entry = conversations.entry(&EntryId::new("slack-2").unwrap());
    assert_eq!(entry.approvals(7, 9).unwrap().len(), 1);
    assert_eq!(entry.pending(7, Timestamp(0)).unwrap().len(), 1);
    assert_eq!(entry.unresolved(9).unwrap().len(), 1);
    let slack = ChannelType::new("slack").unwrap();
    assert_eq!(conversations.find(&slack, &id("u1")).unwrap().live.len(), 1);
}

#[tokio::test]
async fn a_file_of_the_second_format_is_read_whole_and_kept_until_something_is_erased() {
    const HOUR: u64 = 60 * 60 * 1000;
    let home = tempfile::tempdir().unwrap();
    let (path, kept) = (home.path().join("store.redb"), home.path().join("store.redb.format-2"));
    let original = fs::read("tests/data/store/format-2.redb").unwrap();
    fs::write(&path, &original).unwrap();
    for _ in 0..2 {
        let store = open(&home);
        let counts = Counts { sessions: 2, archived: 2, waiting: 2, undelivered: 10, parked: 2, ..Counts::default() };
        assert_eq!(store.counts().unwrap(), counts);
        assert_eq!(store.latest_seen().unwrap(), Some(Timestamp(1013 * HOUR)));
        for of in ["", "t"] {
            check_second_format(&store, of);
        }
    }
    assert_eq!(crate::store::check(&path, CACHE_BYTES, &[7; 32]).unwrap().problems, Vec::<String>::new());
    assert!(fs::read(&kept).unwrap().len() == original.len());
    let store = open(&home);
    store.forget_kept(Timestamp(0)).unwrap();
    assert!(kept.exists(), "not kept since before then");
    store.rewrite().await.unwrap();
    assert!(kept.exists(), "nothing was erased");
    store.tenant(None).session(&key("slack:T1:C2")).erase(None).await.unwrap();
    store.rewrite().await.unwrap();
    assert!(!kept.exists());
    check_second_format(&store, "t");
}

#[tokio::test]
async fn a_file_of_an_earlier_format_is_kept_for_a_while() {
    let home = tempfile::tempdir().unwrap();
    fs::copy("tests/data/store/format-1.redb", home.path().join("store.redb")).unwrap();
    let other = home.path().join("store.redb.format-1.mine");
    fs::write(&other, "").unwrap();
    let store = open(&home);
    assert!(home.path().join("store.redb.format-1").exists());
    store.forget_kept(Timestamp(u64::MAX)).unwrap();
    assert!(!home.path().join("store.redb.format-1").exists() && other.exists());
}

#[tokio::test]
async fn an_upgrade_that_is_cut_off_or_finds_no_room_leaves_the_old_file() {
    for format in ["format-1", "format-2"] {
        let bytes = fs::read(format!("tests/data/store/{format}.redb")).unwrap();
        let disk = Disk::holding(&bytes);
        disk.set_fault(Fault::NoRoom);
        let error = disk.open().map(drop).unwrap_err();
        assert!(matches!(error, Error::NotUpgraded { .. }), "{error}");
        disk.set_fault(Fault::None);
        let counts = disk.open().unwrap().counts().unwrap();
        for n_sync in 1.. {
            let disk = Disk::holding(&bytes);
            disk.set_fault(Fault::PowerCutAt(n_sync));
            drop(disk.open());
            if !disk.has_lost_power() {
                assert!(n_sync > 3);
                break;
            }
            for survivors in [Survivors::None, Survivors::All, Survivors::Third(0), Survivors::Third(1)] {
                let after = disk.after_power_cut(survivors);
                let store =
                    after.open().unwrap_or_else(|error| panic!("{format}, sync {n_sync}, {survivors:?}: {error}"));
                assert_eq!(store.counts().unwrap(), counts, "{format}, sync {n_sync}, {survivors:?}");
            }
        }
    }
}
