//! Backups of stores that are made here, read back in every state that they can be in.

use std::io::{Cursor, Read};

use proptest::prelude::*;

use super::*;
use crate::document::Secret;
use crate::id::SessionKey;
use crate::store::{Existing, OwnedRow, Store};
use crate::testing::inbound;

const CACHE_BYTES: usize = 1024 * 1024;
/// Of the device.
const KEY: [u8; 32] = [7; 32];

fn passphrase() -> (SealWith, OpenWith) {
    let secret = Secret::new("correct horse battery");
    (SealWith::Passphrase(secret.clone()), OpenWith::Passphrase(secret))
}

fn identity() -> (SealWith, OpenWith) {
    use age::secrecy::ExposeSecret as _;
    let identity = age::x25519::Identity::generate();
    let text = format!("# created: today\n{}\n", identity.to_string().expose_secret());
    (SealWith::Recipients(vec![identity.to_public().to_string()]), OpenWith::Identities(Secret::new(text)))
}

/// A store with conversations of these people, who each said these things.
fn store(home: &tempfile::TempDir, said: &[(&str, &[&str])]) -> Store {
    let store = Store::open(&home.path().join("a.redb"), CACHE_BYTES, &KEY).unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    for (user, texts) in said {
        for text in *texts {
            let message = inbound("hook", user, text);
            let key = SessionKey::parse(&format!("webhook:{user}")).unwrap();
            runtime.block_on(store.load(vec![(key, message)])).unwrap();
        }
    }
    store
}

fn rows(store: &Store) -> Vec<OwnedRow> {
    let mut rows = Vec::new();
    let kept = store.snapshot().unwrap().rows(|row| {
        rows.push(OwnedRow { table: row.table, key: row.key.to_vec(), value: row.value.to_vec() });
        Ok::<_, Error>(())
    });
    kept.unwrap();
    rows
}

/// A store with exactly these rows.
fn filled(home: &tempfile::TempDir, name: &str, mut all: Vec<OwnedRow>) -> Store {
    let path = home.path().join(name);
    all.sort_by(|one, other| (one.table, &one.key).cmp(&(other.table, &other.key)));
    all.dedup_by(|one, other| (one.table, &one.key) == (other.table, &other.key));
    let filled = Store::fill::<Error>(&path, CACHE_BYTES, Existing::Refuse, || Ok(KEY), all.into_iter().map(Ok));
    assert!(!filled.unwrap().put().unwrap());
    Store::open(&path, CACHE_BYTES, &KEY).unwrap()
}

fn file(path: &str, bytes: &[u8]) -> HomeFile {
    HomeFile { path: path.to_owned(), mode: 0o600, bytes: bytes.to_vec() }
}

fn made(store: &Store, key: &SealWith, id: &Id, base: Option<&Id>, against: Against) -> (Vec<u8>, Made) {
    let manifest = Manifest::new(id.clone(), base.cloned(), 1_700_000_000_000, None);
    let files = [file("config.toml", b"[gateway]\n"), file("secrets/KEY", b"hush")];
    let snapshot = store.snapshot().unwrap();
    make(Vec::new(), key, &manifest, &files, &snapshot, against, &Progress::default()).unwrap()
}

fn full(store: &Store, key: &SealWith) -> Vec<u8> {
    made(store, key, &Id::random().unwrap(), None, Against::Nothing).0
}

fn open(bytes: &[u8], key: &OpenWith) -> Result<Chain<'static>, Error> {
    Chain::open(Box::new(Cursor::new(bytes.to_vec())), None, key)
}

fn verify(bytes: &[u8], key: &OpenWith) -> Result<Report, Error> {
    open(bytes, key)?.verify()
}

#[test]
fn what_is_in_a_backup_is_what_was_in_the_store_and_the_home() {
    let home = tempfile::tempdir().unwrap();
    let store = store(&home, &[("U1", &["good morning"]), ("U2", &["heron"])]);
    for (seal, open_with) in [passphrase(), identity()] {
        let bytes = full(&store, &seal);
        let chain = open(&bytes, &open_with).unwrap();
        assert_eq!(chain.files(), [file("config.toml", b"[gateway]\n"), file("secrets/KEY", b"hush")]);
        let found: Vec<OwnedRow> = chain.map(Result::unwrap).collect();
        assert_eq!(found, rows(&store));
        let report = verify(&bytes, &open_with).unwrap();
        assert_eq!(report.contents.count("sessions"), 2);
        assert_eq!(report.files, ["config.toml", "secrets/KEY"]);
        for word in [&b"heron"[..], b"hush", b"webhook:U1", b"config.toml"] {
            assert!(!bytes.windows(word.len()).any(|window| window == word), "a word stands in clear");
        }
    }
}

#[test]
fn another_key_opens_nothing() {
    let home = tempfile::tempdir().unwrap();
    let bytes = full(&store(&home, &[("U1", &["heron"])]), &passphrase().0);
    let other = OpenWith::Passphrase(Secret::new("another horse"));
    assert!(matches!(verify(&bytes, &other), Err(Error::Open(_))));
    assert!(matches!(verify(&bytes, &identity().1), Err(Error::Open(_))));
    assert!(matches!(verify(&bytes, &OpenWith::Identities(Secret::new("none"))), Err(Error::Identity)));
    let for_one = full(&Store::open(&home.path().join("b.redb"), CACHE_BYTES, &KEY).unwrap(), &identity().0);
    assert!(matches!(verify(&for_one, &identity().1), Err(Error::Open(_))));
}

/// Every file that is no backup is named so, with what to do, and it is never said to be a fault of the program.
#[test]
fn what_cannot_be_read_is_said_with_what_to_do() {
    let home = tempfile::tempdir().unwrap();
    let (seal, open_with) = passphrase();
    let store = store(&home, &[("U1", &["heron"])]);
    let (id, whole, index) = indexed(&home, &store, &seal);
    let incremental = made(&store, &seal, &Id::random().unwrap(), Some(&id), against(&index).unwrap()).0;
    let other = full(&store, &seal);
    let check = |what: &str, files: &[&[u8]], key: &OpenWith, words: &str| {
        let mut paths = Vec::new();
        for (n, bytes) in files.iter().enumerate() {
            let path = home.path().join(n.to_string());
            std::fs::write(&path, bytes).unwrap();
            paths.push(path.display().to_string());
        }
        said_of(what, &paths, key, words);
    };
    let wrong = OpenWith::Passphrase(Secret::new("another horse"));
    check("empty", &[b""], &open_with, "name another backup");
    check("a text", &[b"dear diary, today nothing happened, and nothing will"], &open_with, "`backup create`");
    check("something that age wrote", &[&sealed(b"dear diary", &seal)], &open_with, "use another one");
    check("an unpacked one", &[&seal_only(b"dear diary", &seal)], &open_with, "use another one");
    check("another passphrase", &[&whole], &wrong, "name the one that it was made with");
    check("an identity", &[&whole], &identity().1, "name the one that it was made with");
    check("no full one", &[&incremental], &open_with, "name the full one");
    check("another full one", &[&other, &incremental], &open_with, "its name ends with -on-");
    check("twice a full one", &[&whole, &whole], &open_with, "its name ends with -on-");
    for len in [1, 30, 150, whole.len() / 2, whole.len() - 1] {
        check("cut", &[&whole[..len]], &open_with, "; ");
    }
    check("an empty incremental one", &[&whole, b""], &open_with, "name another backup");
    let path = |name: &str| home.path().join(name).display().to_string();
    said_of("a directory", &[path("")], &open_with, "names no file");
    std::fs::create_dir(home.path().join("directory")).unwrap();
    said_of("a directory", &[path("directory")], &open_with, "name a backup in it");
    said_of("nothing", &[path("missing")], &open_with, "is not there");
    said_of("nothing in a file", &[path("0/missing")], &open_with, "is not there");
    assert!(
        SealWith::passphrase(Secret::new("eleven char")).is_err()
            && SealWith::passphrase(Secret::new("zwölf Zeichn")).is_ok()
    );
}

fn said_of(what: &str, paths: &[String], key: &OpenWith, words: &str) {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let client = Client::new(reqwest::Client::new(), runtime.handle().clone());
    let read = |path: &String| Place::parse(path, None, &client)?.read();
    let found = (|| {
        let incremental = paths.get(1).map(read).transpose()?.map(|input| input as Box<dyn Read>);
        Chain::open(read(&paths[0])?, incremental, key)?.verify()
    })();
    let error = found.expect_err(what);
    assert_eq!(error.kind(), Kind::Order, "{what}: {error}");
    assert!(error.to_string().contains(words) && error.to_string().contains("; "), "{what}: {error}");
}

/// A disk that fails is no damaged backup.
#[test]
fn a_disk_that_fails_is_not_taken_for_a_damaged_backup() {
    struct Failing(Cursor<Vec<u8>>);
    impl Read for Failing {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            match self.0.read(buffer)? {
                0 => Err(std::io::ErrorKind::InvalidData.into()),
                n => Ok(n),
            }
        }
    }
    let home = tempfile::tempdir().unwrap();
    let (seal, open_with) = passphrase();
    let bytes = full(&store(&home, &[("U1", &["heron"])]), &seal);
    for len in [0, 30, 150, bytes.len() / 2, bytes.len() - 1] {
        let found = Chain::open(Box::new(Failing(Cursor::new(bytes[..len].to_vec()))), None, &open_with);
        let error = found.and_then(Chain::verify).expect_err("it cannot be read");
        assert_eq!(error.kind(), Kind::Later, "{len}: {error}");
    }
}

#[test]
fn what_was_cut_off_or_added_to_anywhere_is_no_backup() {
    let home = tempfile::tempdir().unwrap();
    let (seal, open_with) = identity();
    let bytes = full(&store(&home, &[("U1", &["heron"])]), &seal);
    for len in 0..bytes.len() {
        assert!(verify(&bytes[..len], &open_with).is_err(), "cut off at {len} of {}", bytes.len());
    }
    assert!(verify(&[&bytes[..], b"\0"].concat(), &open_with).is_err());
    assert!(verify(&[&bytes[..], &bytes[..]].concat(), &open_with).is_err());
    assert!(verify(&bytes, &open_with).is_ok());
}

#[test]
fn no_bit_of_a_backup_can_be_another_one() {
    let home = tempfile::tempdir().unwrap();
    let (seal, open_with) = identity();
    let mut bytes = full(&Store::open(&home.path().join("b.redb"), CACHE_BYTES, &KEY).unwrap(), &seal);
    for bit in 0..bytes.len() * 8 {
        bytes[bit / 8] ^= 1 << (bit % 8);
        assert!(verify(&bytes, &open_with).is_err(), "bit {bit} of {}", bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
    }
    assert!(verify(&bytes, &open_with).is_ok());
}

/// Encrypted and compressed as backups are, so that only what is inside is wrong.
fn sealed(plain: &[u8], seal: &SealWith) -> Vec<u8> {
    let packed = zstd::encode_all(plain, 1).unwrap();
    let mut out = seal.seal(Vec::new()).unwrap();
    std::io::Write::write_all(&mut out, &packed).unwrap();
    out.finish().unwrap()
}

/// Encrypted and not compressed.
fn seal_only(plain: &[u8], seal: &SealWith) -> Vec<u8> {
    let mut out = seal.seal(Vec::new()).unwrap();
    std::io::Write::write_all(&mut out, plain).unwrap();
    out.finish().unwrap()
}

fn unsealed(bytes: &[u8], open_with: &OpenWith) -> Vec<u8> {
    let mut plain = Vec::new();
    zstd::Decoder::new(open_with.open(bytes).unwrap()).unwrap().read_to_end(&mut plain).unwrap();
    plain
}

#[test]
fn what_is_wrong_inside_is_found_although_the_outside_is_right() {
    let home = tempfile::tempdir().unwrap();
    let (seal, open_with) = identity();
    let plain = unsealed(&full(&store(&home, &[("U1", &["heron"])]), &seal), &open_with);
    assert!(verify(&sealed(&plain, &seal), &open_with).is_ok());
    for len in 0..plain.len() {
        assert!(verify(&sealed(&plain[..len], &seal), &open_with).is_err(), "cut off at {len}");
    }
    for place in 0..plain.len() {
        let mut changed = plain.clone();
        changed[place] ^= 1;
        assert!(verify(&sealed(&changed, &seal), &open_with).is_err(), "changed at {place}");
    }
    assert!(verify(&sealed(&[&plain[..], b"x"].concat(), &seal), &open_with).is_err());
    assert!(verify(&sealed(b"", &seal), &open_with).is_err());
    let newer = [b"frontdesk-backup 2\n", &plain[19..]].concat();
    assert!(matches!(verify(&sealed(&newer, &seal), &open_with), Err(Error::TooNew(_))));
}

#[test]
fn a_backup_that_is_stopped_has_no_end() {
    let home = tempfile::tempdir().unwrap();
    let store = store(&home, &[("U1", &["heron"])]);
    let progress = Progress::default();
    progress.is_stopped.store(true, std::sync::atomic::Ordering::Relaxed);
    let manifest = Manifest::new(Id::random().unwrap(), None, 0, None);
    let stopped =
        make(Vec::new(), &passphrase().0, &manifest, &[], &store.snapshot().unwrap(), Against::Nothing, &progress);
    assert!(matches!(stopped, Err(Error::Stopped)));
}

const INDEX_KEY: [u8; 32] = [7; 32];

/// A full backup and its index.
fn indexed(home: &tempfile::TempDir, store: &Store, seal: &SealWith) -> (Id, Vec<u8>, Vec<u8>) {
    let (id, path) = (Id::random().unwrap(), home.path().join("index"));
    let index = IndexWriter::new(Box::new(std::fs::File::create(&path).unwrap()), &id, &INDEX_KEY).unwrap();
    let (bytes, made) = made(store, seal, &id, None, Against::Noting(index));
    assert!(made.is_noted);
    (id, bytes, std::fs::read(path).unwrap())
}

fn against(index: &[u8]) -> Result<Against, Error> {
    IndexReader::new(Box::new(Cursor::new(index.to_vec())), &INDEX_KEY).map(Against::Base)
}

fn two(full: &[u8], incremental: &[u8], key: &OpenWith) -> Result<Chain<'static>, Error> {
    Chain::open(Box::new(Cursor::new(full.to_vec())), Some(Box::new(Cursor::new(incremental.to_vec()))), key)
}

#[test]
fn backups_that_do_not_belong_together_are_refused() {
    let home = tempfile::tempdir().unwrap();
    let (seal, open_with) = passphrase();
    let store = store(&home, &[("U1", &["heron"])]);
    let (id, first, index) = indexed(&home, &store, &seal);
    let (_, second, _) = indexed(&home, &store, &seal);
    let incremental = made(&store, &seal, &Id::random().unwrap(), Some(&id), against(&index).unwrap()).0;
    assert!(two(&first, &incremental, &open_with).unwrap().verify().is_ok());
    assert!(matches!(two(&second, &incremental, &open_with), Err(Error::Chain(_))));
    assert!(matches!(two(&first, &second, &open_with), Err(Error::Chain(_))));
    assert!(matches!(open(&incremental, &open_with), Err(Error::Chain(_))));
    assert!(incremental.len() < first.len());
}

#[test]
fn a_damaged_index_makes_no_incremental_backup() {
    let home = tempfile::tempdir().unwrap();
    let (seal, _) = passphrase();
    let store = store(&home, &[("U1", &["heron"])]);
    let (id, _, index) = indexed(&home, &store, &seal);
    let manifest = Manifest::new(Id::random().unwrap(), Some(id), 0, None);
    let snapshot = store.snapshot().unwrap();
    let attempt = |index: &[u8]| {
        make(Vec::new(), &seal, &manifest, &[], &snapshot, against(index)?, &Progress::default()).map(drop)
    };
    assert!(attempt(&index).is_ok());
    for place in 0..index.len() {
        assert!(attempt(&index[..place]).is_err(), "cut off at {place}");
        let mut changed = index.clone();
        changed[place] ^= 1;
        assert!(attempt(&changed).is_err(), "changed at {place}");
    }
}

/// Rows of tables whose values are numbers or nothing, so that any keys will do.
fn any_rows() -> impl Strategy<Value = Vec<OwnedRow>> {
    let text = || prop_oneof!["[a-c\\x00]{0,3}", "\\PC{0,6}"];
    let key = |texts: &[String]| {
        let mut key = Vec::new();
        for text in texts {
            key.extend(text.bytes().flat_map(|byte| if byte == 0 { vec![0, 0xff] } else { vec![byte] }));
            key.extend([0, 0]);
        }
        key
    };
    let user = prop::collection::vec(text(), 4).prop_map(move |texts| OwnedRow {
        table: 34,
        key: key(&texts),
        value: Vec::new(),
    });
    let mark = (prop::collection::vec(text(), 3), 0..3_u64).prop_map(move |(texts, at)| OwnedRow {
        table: 36,
        key: key(&texts),
        value: at.to_le_bytes().to_vec(),
    });
    prop::collection::vec(prop_oneof![user, mark], 0..30)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn any_rows_come_back_from_a_full_backup_and_from_one_that_was_completed(one in any_rows(), other in any_rows(), n_common in 0..30_usize) {
        let home = tempfile::tempdir().unwrap();
        let (seal, open_with) = passphrase();
        let before = filled(&home, "before.redb", one.clone());
        let after = filled(&home, "after.redb", one.into_iter().take(n_common).chain(other).collect());
        let (id, full, index) = indexed(&home, &before, &seal);
        let found: Vec<OwnedRow> = open(&full, &open_with).unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(&found, &rows(&before));
        let (incremental, made) = made(&after, &seal, &Id::random().unwrap(), Some(&id), against(&index).unwrap());
        let found: Vec<OwnedRow> = two(&full, &incremental, &open_with).unwrap().map(Result::unwrap).collect();
        prop_assert_eq!(&found, &rows(&after));
        let report = two(&full, &incremental, &open_with).unwrap().verify().unwrap();
        prop_assert_eq!(report.contents.rows.iter().map(|(_, n)| n).sum::<u64>(), made.n_rows);
        // Nothing is written that is the same, and nothing that differs is left out.
        let differ = |ones: &[OwnedRow], others: &[OwnedRow]| ones.iter().filter(|row| !others.contains(row)).count();
        let (before, after) = (rows(&before), rows(&after));
        let gone = before.iter().filter(|row| !after.iter().any(|now| (now.table, &now.key) == (row.table, &row.key))).count();
        prop_assert_eq!(made.n_written, (differ(&after, &before) + gone) as u64);
    }

    #[test]
    fn no_bytes_at_all_are_taken_for_a_backup(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let (seal, open_with) = passphrase();
        prop_assert!(verify(&bytes, &open_with).is_err());
        prop_assert!(verify(&sealed(&bytes, &seal), &open_with).is_err());
        prop_assert!(verify(&sealed(&[b"frontdesk-backup 1\n", &bytes[..]].concat(), &seal), &open_with).is_err());
    }
}
