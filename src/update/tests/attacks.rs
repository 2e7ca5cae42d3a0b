//! What a device refuses, each named by what is wrong with it; and what it accepts all the same.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::signed::{Content, Key, LATER, LONG_AGO, ONLINE, root};
use crate::clock::Timestamp;
use crate::update::{Board, Bundle, Choice, Device, Error, Limits, Refusal, Repository, Verified, Version, choose};

pub(super) const ROOTS: [u8; 3] = [1, 2, 3];

fn online() -> [Key; 3] {
    ONLINE.map(Key::new)
}

/// A root with the usual keys that `signers` sign.
pub(super) fn usual_root(version: u64, expires: &str, signers: &[u8]) -> Vec<u8> {
    let (roots, others) = (ROOTS.map(Key::new), online());
    let signers: Vec<Key> = signers.iter().copied().map(Key::new).collect();
    root(version, expires, &roots.each_ref(), others.each_ref(), &signers.iter().collect::<Vec<_>>())
}

/// A device and a directory with a repository in it, whose name has a blank.
struct Place {
    directory: TempDir,
    anchor: Vec<u8>,
}

impl Place {
    fn new() -> Self {
        let place = Self { directory: tempfile::tempdir().unwrap(), anchor: usual_root(1, LATER, &ROOTS[..2]) };
        fs::create_dir_all(place.metadata()).unwrap();
        place
    }

    fn repository_directory(&self) -> PathBuf {
        self.directory.path().join("USB STICK")
    }

    fn metadata(&self) -> PathBuf {
        self.repository_directory().join("metadata")
    }

    fn downloads(&self) -> PathBuf {
        self.directory.path().join("downloads")
    }

    fn root(&self, version: u64, bytes: &[u8]) {
        fs::write(self.metadata().join(format!("{version}.root.json")), bytes).unwrap();
    }

    fn repository(&self) -> Repository {
        self.repository_at(&format!("file://{}", self.repository_directory().display()), Limits::default())
    }

    fn repository_at(&self, address: &str, limits: Limits) -> Repository {
        let trusted = self.directory.path().join("trusted");
        Repository::new(address, self.anchor.clone(), &trusted, reqwest::Client::new(), limits).unwrap()
    }

    async fn load(&self) -> Result<Verified, Error> {
        self.repository().load().await
    }

    async fn accept(&self, content: &Content) -> Verified {
        content.write(&self.repository_directory());
        self.load().await.unwrap()
    }

    async fn refuse(&self, expected: Refusal) {
        let loaded = self.load().await;
        assert!(matches!(&loaded, Err(Error::Refused(refusal)) if *refusal == expected), "{loaded:?}");
    }
}

fn device() -> Device {
    Device {
        board: Board::X86,
        running: Version::new(1, 0, 0),
        is_appliance: false,
        store_format: 3,
        id: [0; 16],
        given_up: None,
    }
}

fn chosen(verified: &Verified) -> Bundle {
    match choose(&verified.offers, &device(), Timestamp(1)).unwrap() {
        Choice::Update(bundle) => *bundle,
        other => panic!("{other:?}"),
    }
}

fn program() -> Vec<u8> {
    (0..150_000u32).flat_map(u32::to_le_bytes).collect()
}

fn content() -> Content {
    Content::program("1.1.0", &program())
}

#[tokio::test]
async fn a_signed_release_is_found_and_downloaded() {
    let place = Place::new();
    let bundle = chosen(&place.accept(&content()).await);
    assert_eq!(bundle.version, Version::new(1, 1, 0));
    fs::create_dir_all(place.downloads()).unwrap();
    fs::write(place.downloads().join("of-another-release.part"), "half").unwrap();
    let files = place.repository().download(&bundle, &place.downloads()).await.unwrap();
    assert_eq!(fs::read(&files[0]).unwrap(), program());
    assert_eq!(fs::read_dir(place.downloads()).unwrap().count(), 1);
    // Once more, without anything new: nothing is refused.
    place.load().await.unwrap();
}

#[tokio::test]
async fn wrong_signature() {
    for n in 0..3 {
        let place = Place::new();
        let mut signers = ONLINE;
        signers[n] = 99;
        Content { signers, ..content() }.write(&place.repository_directory());
        place.refuse(Refusal::Signature).await;
    }
}

#[tokio::test]
async fn signed_by_the_key_of_another_role() {
    let place = Place::new();
    Content { signers: [ONLINE[2], ONLINE[1], ONLINE[2]], ..content() }.write(&place.repository_directory());
    place.refuse(Refusal::Signature).await;
}

#[tokio::test]
async fn a_byte_changed_behind_the_signature() {
    let place = Place::new();
    content().write(&place.repository_directory());
    let path = place.metadata().join("timestamp.json");
    let changed = fs::read_to_string(&path).unwrap().replace("\"version\":1", "\"version\":2");
    fs::write(&path, changed).unwrap();
    place.refuse(Refusal::Signature).await;
}

#[tokio::test]
async fn expired() {
    for n in 0..3 {
        let place = Place::new();
        let mut expires = [LATER; 3];
        expires[n] = LONG_AGO;
        Content { expires, ..content() }.write(&place.repository_directory());
        place.refuse(Refusal::Expired).await;
    }
}

#[tokio::test]
async fn expired_root() {
    let place = Place { anchor: usual_root(1, LONG_AGO, &ROOTS[..2]), ..Place::new() };
    content().write(&place.repository_directory());
    place.refuse(Refusal::Expired).await;
    // A newer one makes it good.
    place.root(2, &usual_root(2, LATER, &ROOTS[..2]));
    place.load().await.unwrap();
}

#[tokio::test]
async fn frozen() {
    // An old copy of everything, shown after its timestamp has run out.
    let place = Place::new();
    place.accept(&content()).await;
    Content { expires: [LATER, LATER, LONG_AGO], ..content() }.write(&place.repository_directory());
    place.refuse(Refusal::Expired).await;
}

#[tokio::test]
async fn rolled_back() {
    let place = Place::new();
    place.accept(&Content::program("1.2.0", b"new").at(2)).await;
    content().at(1).write(&place.repository_directory());
    place.refuse(Refusal::Rollback).await;
}

#[tokio::test]
async fn rolled_back_snapshot_under_a_new_timestamp() {
    let place = Place::new();
    place.accept(&content().at(2)).await;
    Content { versions: [2, 1, 3], ..content() }.write(&place.repository_directory());
    place.refuse(Refusal::Rollback).await;
}

#[tokio::test]
async fn rolled_back_targets_under_a_new_snapshot() {
    let place = Place::new();
    place.accept(&content().at(2)).await;
    Content { versions: [1, 3, 3], ..content() }.write(&place.repository_directory());
    place.refuse(Refusal::Rollback).await;
}

#[tokio::test]
async fn a_refused_repository_changes_nothing_of_what_is_trusted() {
    let place = Place::new();
    place.accept(&content().at(2)).await;
    let trusted = place.directory.path().join("trusted");
    let before = fs::read(trusted.join("timestamp.json")).unwrap();
    let mut wrong = content().at(3);
    wrong.signers[0] = 99;
    wrong.write(&place.repository_directory());
    place.refuse(Refusal::Signature).await;
    assert_eq!(fs::read(trusted.join("timestamp.json")).unwrap(), before);
    assert!(!trusted.join("scratch").exists());
}

#[tokio::test]
async fn mixed() {
    let place = Place::new();
    let other = tempfile::tempdir().unwrap();
    content().write(&place.repository_directory());
    // Both are signed; they were never published together.
    Content::program("1.0.5", b"other").write(other.path());
    fs::copy(other.path().join("metadata/1.targets.json"), place.metadata().join("1.targets.json")).unwrap();
    place.refuse(Refusal::Mixed).await;
}

#[tokio::test]
async fn truncated() {
    for (name, expected) in [
        ("timestamp.json", Refusal::Malformed),
        ("1.snapshot.json", Refusal::Mixed),
        ("1.targets.json", Refusal::Mixed),
    ] {
        let place = Place::new();
        content().write(&place.repository_directory());
        let path = place.metadata().join(name);
        let bytes = fs::read(&path).unwrap();
        fs::write(&path, &bytes[..bytes.len() - 10]).unwrap();
        place.refuse(expected).await;
    }
}

#[tokio::test]
async fn too_large() {
    for name in ["timestamp.json", "1.snapshot.json", "2.root.json"] {
        let place = Place::new();
        content().write(&place.repository_directory());
        fs::write(place.metadata().join(name), vec![b' '; 2 << 20]).unwrap();
        place.refuse(Refusal::TooLarge).await;
    }
}

#[tokio::test]
async fn wrong_board() {
    let place = Place::new();
    let mut arm = content();
    arm.files[0].2["board"] = json!("arm64");
    let verified = place.accept(&arm).await;
    let choice = choose(&verified.offers, &device(), Timestamp(1));
    assert!(matches!(choice, Err(Error::NothingForBoard(Board::X86))), "{choice:?}");
}

#[tokio::test]
async fn truncated_file() {
    let place = Place::new();
    let bundle = chosen(&place.accept(&content()).await);
    let path = place.repository_directory().join("targets").join(&bundle.offers[0].file);
    fs::write(&path, &program()[..1_000]).unwrap();
    let downloaded = place.repository().download(&bundle, &place.downloads()).await;
    assert!(matches!(downloaded, Err(Error::Unreachable { .. })), "{downloaded:?}");
    // What came is gone on with when the rest is there.
    fs::write(&path, program()).unwrap();
    place.repository().download(&bundle, &place.downloads()).await.unwrap();
}

#[tokio::test]
async fn exchanged_file() {
    let place = Place::new();
    let bundle = chosen(&place.accept(&content()).await);
    let path = place.repository_directory().join("targets").join(&bundle.offers[0].file);
    let mut other = program();
    other[70_000] ^= 1;
    fs::write(&path, other).unwrap();
    let downloaded = place.repository().download(&bundle, &place.downloads()).await;
    assert!(matches!(downloaded, Err(Error::Payload { .. })), "{downloaded:?}");
    assert_eq!(fs::read_dir(place.downloads()).unwrap().count(), 0);
}

#[tokio::test]
async fn too_long_file() {
    let place = Place::new();
    let bundle = chosen(&place.accept(&content()).await);
    let path = place.repository_directory().join("targets").join(&bundle.offers[0].file);
    fs::write(&path, [program(), vec![0]].concat()).unwrap();
    let downloaded = place.repository().download(&bundle, &place.downloads()).await;
    assert!(matches!(downloaded, Err(Error::Endless { .. })), "{downloaded:?}");
    assert_eq!(fs::read_dir(place.downloads()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_file_that_would_fill_the_disk_is_not_begun() {
    let place = Place::new();
    let bundle = chosen(&place.accept(&content()).await);
    let address = format!("file://{}", place.repository_directory().display());
    let limits = Limits { spare_bytes: u64::MAX, ..Limits::default() };
    let downloaded = place.repository_at(&address, limits).download(&bundle, &place.downloads()).await;
    assert!(matches!(downloaded, Err(Error::NoRoom { .. })), "{downloaded:?}");
}

#[tokio::test]
async fn clock_set_back() {
    let place = Place::new();
    place.accept(&content()).await;
    let seen = place.directory.path().join("trusted/latest_known_time.json");
    fs::write(seen, "\"2998-01-01T00:00:00Z\"").unwrap();
    place.refuse(Refusal::Clock).await;
}

#[tokio::test]
async fn rotated_root() {
    let place = Place::new();
    place.accept(&content()).await;
    // One of the root keys and all others are new; two of the old ones and two of the new ones sign.
    let (roots, others) = ([2, 3, 4].map(Key::new), [21, 22, 23].map(Key::new));
    let signers = [2, 3].map(Key::new);
    place.root(2, &root(2, LATER, &roots.each_ref(), others.each_ref(), &signers.each_ref()));
    place.refuse(Refusal::Signature).await;
    let verified = place.accept(&Content { signers: [21, 22, 23], ..Content::program("1.3.0", b"new") }.at(2)).await;
    assert_eq!(chosen(&verified).version, Version::new(1, 3, 0));
    // What the old keys sign is worth nothing any more, also when nobody shows the new root.
    fs::remove_file(place.metadata().join("2.root.json")).unwrap();
    content().at(9).write(&place.repository_directory());
    place.refuse(Refusal::Signature).await;
}

#[tokio::test]
async fn root_without_threshold() {
    for signers in [&[1][..], &[1, 98], &[98, 99], &[]] {
        let place = Place::new();
        content().write(&place.repository_directory());
        place.root(2, &usual_root(2, LATER, signers));
        place.refuse(Refusal::Signature).await;
    }
}

#[tokio::test]
async fn root_that_only_the_new_keys_sign() {
    let place = Place::new();
    content().write(&place.repository_directory());
    let roots = [7, 8, 9].map(Key::new);
    place.root(2, &root(2, LATER, &roots.each_ref(), online().each_ref(), &roots.each_ref()));
    place.refuse(Refusal::Signature).await;
}

#[tokio::test]
async fn root_that_only_the_old_keys_sign() {
    let place = Place::new();
    content().write(&place.repository_directory());
    let (roots, signers) = ([7, 8, 9].map(Key::new), [1, 2].map(Key::new));
    place.root(2, &root(2, LATER, &roots.each_ref(), online().each_ref(), &signers.each_ref()));
    place.refuse(Refusal::Signature).await;
}

#[tokio::test]
async fn root_of_another_version() {
    let place = Place::new();
    content().write(&place.repository_directory());
    place.root(2, &usual_root(1, LATER, &ROOTS[..2]));
    place.refuse(Refusal::Rollback).await;
}

#[tokio::test]
async fn another_anchor_is_another_repository() {
    let mut place = Place::new();
    place.accept(&content().at(7)).await;
    // The agency's own, which is at its first version.
    let (roots, others) = ([31, 32, 33].map(Key::new), [41, 42, 43].map(Key::new));
    let signers = [31, 32].map(Key::new);
    place.anchor = root(1, LATER, &roots.each_ref(), others.each_ref(), &signers.each_ref());
    place.refuse(Refusal::Signature).await;
    place.accept(&Content { signers: [41, 42, 43], ..content() }).await;
}

/// What a server does with a request.
enum Answer {
    Whole(Vec<u8>),
    /// It names the whole length and sends so many bytes.
    Cut(Vec<u8>, usize),
    /// What is behind so many bytes.
    Rest(Vec<u8>, usize),
    Status(u16),
    Endless,
    Silent,
}

/// A server on loopback that answers by path and range.
async fn serve(tasks: &mut JoinSet<()>, answer: impl Fn(&str, Option<usize>) -> Answer + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    tasks.spawn(async move {
        let mut kept = Vec::new();
        while let Ok((mut stream, _)) = listener.accept().await {
            let head = head(&mut stream).await;
            let path = head.split(' ').nth(1).unwrap_or_default();
            let range = head.lines().find_map(|line| line.strip_prefix("range: bytes=")?.strip_suffix('-'));
            let reply = match answer(path, range.map(|range| range.parse().unwrap())) {
                Answer::Whole(body) => message(200, body.len(), "", &body),
                Answer::Cut(body, n) => message(200, body.len(), "", &body[..n]),
                Answer::Rest(body, from) => {
                    let range = format!("content-range: bytes {from}-{}/{}\r\n", body.len() - 1, body.len());
                    message(206, body.len() - from, &range, &body[from..])
                }
                Answer::Status(status) => message(status, 0, "", b""),
                Answer::Endless => {
                    let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n").await;
                    while stream.write_all(&[b' '; 8_192]).await.is_ok() {}
                    continue;
                }
                Answer::Silent => {
                    kept.push(stream);
                    continue;
                }
            };
            let _ = stream.write_all(&reply).await;
        }
    });
    address
}

async fn head(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(b"\r\n\r\n") {
        match stream.read_u8().await {
            Ok(byte) => bytes.push(byte),
            Err(_) => break,
        }
    }
    String::from_utf8(bytes).unwrap()
}

fn message(status: u16, length: usize, headers: &str, body: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 {status} X\r\ncontent-length: {length}\r\nconnection: close\r\n{headers}\r\n");
    [head.as_bytes(), body].concat()
}

/// What the files under `directory` answer.
fn file(directory: &Path, path: &str) -> Answer {
    fs::read(directory.join(path.trim_start_matches('/'))).map_or(Answer::Status(404), Answer::Whole)
}

fn short() -> Limits {
    Limits { idle: Duration::from_millis(300), ..Limits::default() }
}

#[tokio::test]
async fn endless_metadata() {
    let (place, mut tasks) = (Place::new(), JoinSet::new());
    content().write(&place.repository_directory());
    let address = serve(&mut tasks, |path, _| match path {
        "/metadata/timestamp.json" => Answer::Endless,
        _ => Answer::Status(404),
    })
    .await;
    let loaded = place.repository_at(&address, short()).load().await;
    assert!(matches!(loaded, Err(Error::Refused(Refusal::TooLarge))), "{loaded:?}");
}

#[tokio::test]
async fn silent_server() {
    let (place, mut tasks) = (Place::new(), JoinSet::new());
    let address = serve(&mut tasks, |_, _| Answer::Silent).await;
    let loaded = place.repository_at(&address, short()).load().await;
    assert!(matches!(loaded, Err(Error::Unreachable { .. })), "{loaded:?}");
}

#[tokio::test]
async fn a_server_that_hides_a_newer_root_behind_an_error() {
    let (place, mut tasks) = (Place::new(), JoinSet::new());
    content().write(&place.repository_directory());
    let directory = place.repository_directory();
    let address = serve(&mut tasks, move |path, _| match path {
        "/metadata/2.root.json" => Answer::Status(500),
        _ => file(&directory, path),
    })
    .await;
    let loaded = place.repository_at(&address, short()).load().await;
    assert!(matches!(loaded, Err(Error::Unreachable { .. })), "{loaded:?}");
}

#[tokio::test]
async fn a_download_that_was_cut_off_is_gone_on_with() {
    let (place, mut tasks) = (Place::new(), JoinSet::new());
    content().write(&place.repository_directory());
    let directory = place.repository_directory();
    let resumed_at = Arc::new(AtomicUsize::new(0));
    let noted = Arc::clone(&resumed_at);
    let address = serve(&mut tasks, move |path, range| match (path.starts_with("/targets/"), range) {
        (true, None) => Answer::Cut(program(), 400_000),
        (true, Some(from)) => {
            noted.store(from, Ordering::SeqCst);
            Answer::Rest(program(), from)
        }
        _ => file(&directory, path),
    })
    .await;
    let repository = place.repository_at(&address, short());
    let bundle = chosen(&repository.load().await.unwrap());
    let first = repository.download(&bundle, &place.downloads()).await;
    assert!(matches!(first, Err(Error::Unreachable { .. })), "{first:?}");
    let files = repository.download(&bundle, &place.downloads()).await.unwrap();
    assert_eq!(fs::read(&files[0]).unwrap(), program());
    assert!((1..=400_000).contains(&resumed_at.load(Ordering::SeqCst)));
}

#[tokio::test]
async fn a_server_without_ranges_sends_all_again() {
    let (place, mut tasks) = (Place::new(), JoinSet::new());
    content().write(&place.repository_directory());
    let directory = place.repository_directory();
    let address = serve(&mut tasks, move |path, range| match (path.starts_with("/targets/"), range) {
        (true, None) => Answer::Cut(program(), 400_000),
        (true, Some(_)) => Answer::Whole(program()),
        _ => file(&directory, path),
    })
    .await;
    let repository = place.repository_at(&address, short());
    let bundle = chosen(&repository.load().await.unwrap());
    assert!(repository.download(&bundle, &place.downloads()).await.is_err());
    let files = repository.download(&bundle, &place.downloads()).await.unwrap();
    assert_eq!(fs::read(&files[0]).unwrap(), program());
}

#[tokio::test]
async fn endless_file() {
    let (place, mut tasks) = (Place::new(), JoinSet::new());
    content().write(&place.repository_directory());
    let directory = place.repository_directory();
    let address = serve(&mut tasks, move |path, _| match path.starts_with("/targets/") {
        true => Answer::Endless,
        false => file(&directory, path),
    })
    .await;
    let repository = place.repository_at(&address, short());
    let bundle = chosen(&repository.load().await.unwrap());
    let downloaded = repository.download(&bundle, &place.downloads()).await;
    assert!(matches!(downloaded, Err(Error::Endless { .. })), "{downloaded:?}");
    assert_eq!(fs::read_dir(place.downloads()).unwrap().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_download_takes_no_more_of_the_line_than_it_may() {
    let place = Place::new();
    let bundle = chosen(&place.accept(&content()).await);
    let address = format!("file://{}", place.repository_directory().display());
    let limits = Limits { bytes_per_second: Some(10_000), ..Limits::default() };
    let began = Instant::now();
    place.repository_at(&address, limits).download(&bundle, &place.downloads()).await.unwrap();
    // Time that a test moves: 600,000 bytes at 10,000 in a second.
    assert!(began.elapsed() >= Duration::from_secs(60), "{:?}", began.elapsed());
}

#[test]
fn what_is_no_address_of_a_repository_is_refused() {
    for address in ["", "updates.example.com", "ftp://updates.example.com", "https://", "file://host/path", "data:,a"] {
        let trusted = Path::new("/nonexistent");
        let made = Repository::new(address, Vec::new(), trusted, reqwest::Client::new(), Limits::default());
        assert!(matches!(made, Err(Error::Address { .. })), "{address}");
    }
}
