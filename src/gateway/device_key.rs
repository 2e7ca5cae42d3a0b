//! The key of this device: 32 random bytes that everything kept here is sealed and signed with.
//!
//! It is looked for in this order, and the first place that has one counts, readable or not:
//!
//! 1. `$CREDENTIALS_DIRECTORY/frontdesk.device-key`, a credential of systemd (systemd.exec(5)), which the image binds
//!    to the machine;
//! 2. `<home>/device.key`, mode 600. It is made at the very first start, before there is a store. A store without its
//!    key is never given a new one: nothing in it could be read.
//!
//! A passphrase may lie over either. It is taken from `$CREDENTIALS_DIRECTORY/frontdesk.passphrase`, then from
//! `FRONTDESK_PASSPHRASE`, then from whoever sits at the terminal. See `key_file` for what is written.

mod key_file;

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use aws_lc_rs::{hmac, rand};
use zeroize::Zeroizing;

use crate::document::{Secret, read_at_most, write_first, write_whole};

pub use key_file::Kdf;
use key_file::KeyFile;

/// The file in the home.
pub const FILE: &str = "device.key";
const CREDENTIAL: &str = "frontdesk.device-key";
const PASSPHRASE_CREDENTIAL: &str = "frontdesk.passphrase";
/// The environment variable with the passphrase.
pub const PASSPHRASE_VARIABLE: &str = "FRONTDESK_PASSPHRASE";
/// Larger than any key file.
const MAX_BYTES: usize = 4096;
/// How often somebody at the terminal may mistype.
const MAX_TRIES: u32 = 3;
/// Characters of a new passphrase. Whoever has the file can try for years.
const MIN_PASSPHRASE: usize = 12;

type Bytes = Zeroizing<[u8; 32]>;

/// The opened key. It does not print.
pub struct DeviceKey(Bytes);

impl std::fmt::Debug for DeviceKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DeviceKey(…)")
    }
}

/// Where, besides the home, the key and its passphrase are looked for. By default nowhere.
#[derive(Debug, Clone, Default)]
pub struct Sources {
    /// Systemd's directory of credentials.
    pub credentials: Option<PathBuf>,
    /// What the environment says.
    pub passphrase: Option<Secret>,
    /// Shows a line and reads a passphrase, if somebody sits at a terminal.
    pub ask: Option<fn(&str) -> io::Result<Secret>>,
}

/// Where the key of a home is and how it lies there, as far as it can be seen without opening it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The file or the credential.
    pub path: PathBuf,
    /// Is it a credential of systemd?
    pub is_credential: bool,
    /// What a passphrase is made into a key with, if one lies over it.
    pub protection: Option<Kdf>,
}

/// Why there is no key. Every message says what to do.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It is there and cannot be read, or cannot be written.
    #[error("the device key {} cannot be used: {source}", path.display())]
    Disk {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// There is a store, and its key is gone.
    #[error(
        "the device key {} is missing, and the store {} cannot be read without it; put the file back from a copy, or \
         restore a backup. To begin anew without these conversations, move the store away",
        path.display(), store.display()
    )]
    Missing {
        /// Where it was.
        path: PathBuf,
        /// What it opens.
        store: PathBuf,
    },
    /// Others may read it.
    #[error(
        "others than its owner may use the device key {} (mode {mode:o}); run `chmod 600 {}`, and remember that who \
         could read it can read the conversations",
        path.display(), path.display()
    )]
    Open {
        /// The file.
        path: PathBuf,
        /// Its lower nine bits.
        mode: u32,
    },
    /// It is somebody else's.
    #[error(
        "the device key {} belongs to user {owner} and the home to user {home}; run `chown {home} {}` as root",
        path.display(), path.display()
    )]
    OtherOwner {
        /// The file.
        path: PathBuf,
        /// Whose it is.
        owner: u32,
        /// Whose the home is.
        home: u32,
    },
    /// It is not what was written.
    #[error("the device key {} is damaged; put it back from a copy, or restore a backup", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
    },
    /// It is protected, and nobody says with what.
    #[error(
        "the device key {} is protected by a passphrase; give it as the systemd credential frontdesk.passphrase, in \
         the environment as FRONTDESK_PASSPHRASE, or start in a terminal",
        path.display()
    )]
    NoPassphrase {
        /// The file.
        path: PathBuf,
    },
    /// The file is sound, so it is the passphrase.
    #[error("this is not the passphrase of the device key {}; the file itself is not damaged", path.display())]
    WrongPassphrase {
        /// The file.
        path: PathBuf,
    },
    /// Too easy to guess.
    #[error("a passphrase needs at least {MIN_PASSPHRASE} characters")]
    ShortPassphrase,
    /// The passphrase cannot be read.
    #[error("the passphrase cannot be read: {0}")]
    Passphrase(#[source] io::Error),
    /// Systemd keeps it, not we.
    #[error("the device key is a credential of systemd; protect it there, with `systemd-creds encrypt`")]
    Credential,
    /// Nothing to change.
    #[error("the device key {} has no passphrase", path.display())]
    NotProtected {
        /// The file.
        path: PathBuf,
    },
    /// The passphrase cannot be made into a key.
    #[error("a key cannot be made from the passphrase: {0}")]
    Kdf(String),
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

impl DeviceKey {
    /// Finds the key of `home` and opens it. Makes one if there is neither a key nor `store`, the file that would be
    /// lost without its own.
    ///
    /// # Errors
    /// [`Error`]; nothing was changed.
    pub fn load(home: &Path, sources: &Sources, store: &Path) -> Result<Self, Error> {
        match Found::look(home, sources)? {
            Some(found) => Ok(Self(found.open(sources)?)),
            None => {
                refuse_without_key(home, store)?;
                Self::create(home, sources, home.join(FILE))
            }
        }
    }

    /// On the disk before anything can be sealed with it.
    fn create(home: &Path, sources: &Sources, path: PathBuf) -> Result<Self, Error> {
        let key = Zeroizing::new(random()?);
        match write_first(&path, KeyFile::Clear(key.clone()).print().as_bytes(), 0o600) {
            Ok(()) => Ok(Self(key)),
            // Another process, in the same moment: there is one key only, and it has a store by now or will have one.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => match Found::look(home, sources)? {
                Some(found) => Ok(Self(found.open(sources)?)),
                None => Err(Error::Disk { path, source: error }),
            },
            Err(source) => Err(Error::Disk { path, source }),
        }
    }

    /// What the data keys in the store are wrapped with.
    #[must_use]
    pub fn wrapping_key(&self) -> [u8; 32] {
        self.key_for("data keys")
    }

    /// A key for one purpose; the same at every start.
    #[must_use]
    pub fn key_for(&self, purpose: &str) -> [u8; 32] {
        let mut key = [0; 32];
        let tag = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &*self.0), purpose.as_bytes());
        key.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
        key
    }
}

/// With another key nothing in a store that is there could be read.
fn refuse_without_key(home: &Path, store: &Path) -> Result<(), Error> {
    match store.symlink_metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        Err(source) => Err(Error::Disk { path: store.to_owned(), source }),
        Ok(_) => Err(Error::Missing { path: home.join(FILE), store: store.to_owned() }),
    }
}

/// How the key of `home` lies there; `None` when there is none yet, nor the `store` that would need it.
///
/// # Errors
/// As [`DeviceKey::load`], but for those of passphrases.
pub fn status(home: &Path, sources: &Sources, store: &Path) -> Result<Option<Status>, Error> {
    let status = |found: Found| {
        let protection = match found.content {
            KeyFile::Clear(_) => None,
            KeyFile::Protected(protected) => Some(protected.kdf),
        };
        Status { path: found.path, is_credential: found.is_credential, protection }
    };
    match Found::look(home, sources)? {
        Some(found) => Ok(Some(status(found))),
        None => refuse_without_key(home, store).map(|()| None),
    }
}

/// Puts `passphrase` over the key of `home`, in place of the one in `sources` if there was one before. The key stays the
/// same, so this may be done while the gateway runs.
///
/// # Errors
/// [`Error`]; the file is as it was.
pub fn protect(home: &Path, sources: &Sources, passphrase: &Secret) -> Result<(), Error> {
    protect_with(home, sources, passphrase, Kdf::default())
}

fn protect_with(home: &Path, sources: &Sources, passphrase: &Secret, kdf: Kdf) -> Result<(), Error> {
    if passphrase.expose().chars().count() < MIN_PASSPHRASE {
        return Err(Error::ShortPassphrase);
    }
    let found = Found::in_home(home, sources)?;
    let key = found.open(sources)?;
    let protected = key_file::Protected::seal(&key, passphrase.expose(), kdf, random()?)?;
    write(&found.path, &KeyFile::Protected(protected))
}

/// Takes the passphrase away. As [`protect`].
///
/// # Errors
/// [`Error`]; the file is as it was.
pub fn unprotect(home: &Path, sources: &Sources) -> Result<(), Error> {
    let found = Found::in_home(home, sources)?;
    if matches!(found.content, KeyFile::Clear(_)) {
        return Err(Error::NotProtected { path: found.path });
    }
    write(&found.path, &KeyFile::Clear(found.open(sources)?))
}

/// A key that may still have to be opened.
struct Found {
    path: PathBuf,
    is_credential: bool,
    content: KeyFile,
}

impl Found {
    fn look(home: &Path, sources: &Sources) -> Result<Option<Self>, Error> {
        if let Some(directory) = &sources.credentials {
            // Systemd sees to who may read it; it belongs to root.
            if let Some(found) = Self::read(directory.join(CREDENTIAL), true)? {
                return Ok(Some(found));
            }
        }
        let path = home.join(FILE);
        let metadata = match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && path.symlink_metadata().is_err() => {
                return Ok(None);
            }
            result => result.map_err(|source| Error::Disk { path: path.clone(), source })?,
        };
        let owner = fs::metadata(home).map_err(|source| Error::Disk { path: home.to_owned(), source })?.uid();
        check_access(&path, metadata.mode() & 0o777, metadata.uid(), owner)?;
        Self::read(path, false)
    }

    fn in_home(home: &Path, sources: &Sources) -> Result<Self, Error> {
        match Self::look(home, sources)? {
            Some(found) if found.is_credential => Err(Error::Credential),
            Some(found) => Ok(found),
            None => {
                let source = io::Error::new(io::ErrorKind::NotFound, "it is not there; it is made at the first start");
                Err(Error::Disk { path: home.join(FILE), source })
            }
        }
    }

    fn read(path: PathBuf, is_credential: bool) -> Result<Option<Self>, Error> {
        let bytes = match read_at_most(&path, MAX_BYTES) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Disk { path, source }),
            Ok(bytes) => Zeroizing::new(bytes),
        };
        match KeyFile::parse(&bytes) {
            Some(content) => Ok(Some(Self { path, is_credential, content })),
            None => Err(Error::Damaged { path }),
        }
    }

    fn open(&self, sources: &Sources) -> Result<Bytes, Error> {
        let protected = match &self.content {
            KeyFile::Clear(key) => return Ok(key.clone()),
            KeyFile::Protected(protected) => protected,
        };
        let path = || self.path.clone();
        if let Some(passphrase) = given(sources)? {
            return protected.open(passphrase.expose())?.ok_or_else(|| Error::WrongPassphrase { path: path() });
        }
        let ask = sources.ask.ok_or_else(|| Error::NoPassphrase { path: path() })?;
        for _ in 0..MAX_TRIES {
            let passphrase = ask("passphrase of the device key: ").map_err(Error::Passphrase)?;
            if let Some(key) = protected.open(passphrase.expose())? {
                return Ok(key);
            }
        }
        Err(Error::WrongPassphrase { path: path() })
    }
}

/// Whoever could read the key can read everything: that is said, not mended.
fn check_access(path: &Path, mode: u32, owner: u32, home: u32) -> Result<(), Error> {
    let path = path.to_owned();
    match () {
        () if mode & 0o077 != 0 => Err(Error::Open { path, mode }),
        () if owner != home => Err(Error::OtherOwner { path, owner, home }),
        () => Ok(()),
    }
}

/// The passphrase, where nobody must be asked.
fn given(sources: &Sources) -> Result<Option<Secret>, Error> {
    if let Some(directory) = &sources.credentials {
        match read_passphrase(&directory.join(PASSPHRASE_CREDENTIAL)) {
            Err(Error::Passphrase(error)) if error.kind() == io::ErrorKind::NotFound => {}
            result => return result.map(Some),
        }
    }
    Ok(sources.passphrase.clone())
}

/// The passphrase in a file; one line end at its end is not part of it.
///
/// # Errors
/// [`Error::Passphrase`].
pub fn read_passphrase(path: &Path) -> Result<Secret, Error> {
    let bytes = Zeroizing::new(read_at_most(path, MAX_BYTES).map_err(Error::Passphrase)?);
    let text = str::from_utf8(&bytes).map_err(|source| Error::Passphrase(io::Error::other(source)))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    Ok(Secret::new(text.strip_suffix('\r').unwrap_or(text)))
}

fn write(path: &Path, content: &KeyFile) -> Result<(), Error> {
    let text = content.print();
    write_whole(path, text.as_bytes(), 0o600).map_err(|source| Error::Disk { path: path.to_owned(), source })
}

fn random<const N: usize>() -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).map_err(|_unspecified| Error::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::cell::Cell;
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt as _, symlink};

    use tempfile::TempDir;

    use super::*;

    const FAST: Kdf = Kdf { memory_kib: 8, passes: 1, lanes: 1 };
    const PASSPHRASE: &str = "correct horse";

    /// A home, and a directory of credentials beside it.
    struct Place {
        home: TempDir,
        credentials: TempDir,
    }

    impl Place {
        fn new() -> Self {
            Self { home: tempfile::tempdir().unwrap(), credentials: tempfile::tempdir().unwrap() }
        }

        fn file(&self) -> PathBuf {
            self.home.path().join(FILE)
        }

        fn store(&self) -> PathBuf {
            self.home.path().join("frontdesk.redb")
        }

        fn sources(&self) -> Sources {
            Sources { credentials: Some(self.credentials.path().to_owned()), ..Sources::default() }
        }

        fn credential(&self, name: &str, content: impl AsRef<[u8]>) {
            fs::write(self.credentials.path().join(name), content).unwrap();
        }

        /// What signs for some purpose, which is the same for the same key only.
        fn load(&self, sources: &Sources) -> Result<[u8; 32], Error> {
            DeviceKey::load(self.home.path(), sources, &self.store()).map(|key| key.key_for("x"))
        }

        fn protect(&self, sources: &Sources, passphrase: &str) -> Result<(), Error> {
            protect_with(self.home.path(), sources, &Secret::new(passphrase), FAST)
        }
    }

    fn with(passphrase: &str) -> Sources {
        Sources { passphrase: Some(Secret::new(passphrase)), ..Sources::default() }
    }

    #[test]
    fn the_first_start_makes_a_key_that_stays() {
        let (place, other) = (Place::new(), Place::new());
        let key = place.load(&place.sources()).unwrap();
        assert_eq!(fs::metadata(place.file()).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(place.load(&place.sources()).unwrap(), key);
        assert_ne!(other.load(&other.sources()).unwrap(), key);
    }

    #[test]
    fn a_store_without_its_key_is_not_given_a_new_one() {
        let place = Place::new();
        let key = place.load(&Sources::default()).unwrap();
        fs::write(place.store(), "conversations").unwrap();
        assert_eq!(place.load(&Sources::default()).unwrap(), key);
        let kept = fs::read(place.file()).unwrap();
        fs::remove_file(place.file()).unwrap();
        assert!(matches!(place.load(&Sources::default()), Err(Error::Missing { .. })));
        let status = || status(place.home.path(), &Sources::default(), &place.store());
        assert!(matches!(status(), Err(Error::Missing { .. })));
        assert!(!place.file().exists());
        fs::write(place.file(), kept).unwrap();
        fs::set_permissions(place.file(), Permissions::from_mode(0o600)).unwrap();
        assert_eq!(place.load(&Sources::default()).unwrap(), key);
    }

    #[test]
    fn a_key_of_earlier_versions_signs_as_before() {
        let place = Place::new();
        write_whole(&place.file(), &[7; 32], 0o600).unwrap();
        let expected = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &[7; 32]), b"x");
        assert_eq!(place.load(&Sources::default()).unwrap(), expected.as_ref());
        assert_eq!(fs::read(place.file()).unwrap(), [7; 32]);
        place.protect(&Sources::default(), PASSPHRASE).unwrap();
        assert_eq!(place.load(&with(PASSPHRASE)).unwrap(), expected.as_ref());
    }

    #[test]
    fn a_key_that_others_may_read_or_own_is_refused() {
        let check = |mode, owner, expected: &str| {
            let checked = check_access(Path::new("/h/device.key"), mode, owner, 1000);
            assert_eq!(checked.err().map(|error| error.to_string()).unwrap_or_default(), expected);
        };
        check(0o600, 1000, "");
        check(0o400, 1000, "");
        check(
            0o640,
            1000,
            "others than its owner may use the device key /h/device.key (mode 640); run `chmod 600 /h/device.key`, and \
             remember that who could read it can read the conversations",
        );
        check(
            0o600,
            1001,
            "the device key /h/device.key belongs to user 1001 and the home to user 1000; run `chown 1000 \
             /h/device.key` as root",
        );
        let place = Place::new();
        place.load(&Sources::default()).unwrap();
        fs::set_permissions(place.file(), Permissions::from_mode(0o604)).unwrap();
        assert!(matches!(place.load(&Sources::default()), Err(Error::Open { mode: 0o604, .. })));
        assert!(matches!(place.protect(&Sources::default(), PASSPHRASE), Err(Error::Open { .. })));
    }

    #[test]
    fn what_is_no_key_is_neither_used_nor_replaced() {
        for content in ["", "short", "frontdesk-device-key 2 clear 00 00"] {
            let place = Place::new();
            write_whole(&place.file(), content.as_bytes(), 0o600).unwrap();
            assert!(matches!(place.load(&Sources::default()), Err(Error::Damaged { .. })), "{content:?}");
            assert_eq!(fs::read(place.file()).unwrap(), content.as_bytes());
        }
        let place = Place::new();
        symlink("/nonexistent/device.key", place.file()).unwrap();
        assert!(matches!(place.load(&Sources::default()), Err(Error::Disk { .. })));
    }

    #[test]
    fn a_credential_comes_before_the_file_and_an_unusable_one_is_not_passed_over() {
        let place = Place::new();
        let of_file = place.load(&place.sources()).unwrap();
        place.credential(CREDENTIAL, [7; 32]);
        let of_credential = place.load(&place.sources()).unwrap();
        assert_ne!(of_credential, of_file);
        assert!(matches!(place.protect(&place.sources(), PASSPHRASE), Err(Error::Credential)));
        assert!(status(place.home.path(), &place.sources(), &place.store()).unwrap().unwrap().is_credential);
        place.credential(CREDENTIAL, [7; 31]);
        assert!(matches!(place.load(&place.sources()), Err(Error::Damaged { .. })));
        fs::remove_file(place.credentials.path().join(CREDENTIAL)).unwrap();
        fs::create_dir(place.credentials.path().join(CREDENTIAL)).unwrap();
        assert!(matches!(place.load(&place.sources()), Err(Error::Disk { .. })));
    }

    #[test]
    fn with_a_credential_there_is_no_file() {
        let place = Place::new();
        place.credential(CREDENTIAL, [7; 32]);
        place.load(&place.sources()).unwrap();
        assert!(!place.file().exists());
    }

    #[test]
    fn a_passphrase_changes_the_file_and_not_the_key() {
        let place = Place::new();
        let key = place.load(&Sources::default()).unwrap();
        let protection = || status(place.home.path(), &Sources::default(), &place.store()).unwrap().unwrap().protection;
        assert_eq!(protection(), None);
        place.protect(&Sources::default(), PASSPHRASE).unwrap();
        assert_eq!(protection(), Some(FAST));
        assert_eq!(place.load(&with(PASSPHRASE)).unwrap(), key);
        place.protect(&with(PASSPHRASE), "battery staple").unwrap();
        assert!(matches!(place.load(&with(PASSPHRASE)), Err(Error::WrongPassphrase { .. })));
        assert_eq!(place.load(&with("battery staple")).unwrap(), key);
        unprotect(place.home.path(), &with("battery staple")).unwrap();
        assert_eq!(place.load(&Sources::default()).unwrap(), key);
        assert!(matches!(unprotect(place.home.path(), &Sources::default()), Err(Error::NotProtected { .. })));
    }

    #[test]
    fn a_refused_change_leaves_the_file_as_it_was() {
        let place = Place::new();
        assert!(place.protect(&Sources::default(), PASSPHRASE).is_err(), "there is no key");
        assert!(!place.file().exists());
        place.load(&Sources::default()).unwrap();
        let clear = fs::read(place.file()).unwrap();
        assert!(matches!(place.protect(&Sources::default(), "elevenchars"), Err(Error::ShortPassphrase)));
        assert_eq!(fs::read(place.file()).unwrap(), clear);
        place.protect(&Sources::default(), PASSPHRASE).unwrap();
        let protected = fs::read(place.file()).unwrap();
        assert!(unprotect(place.home.path(), &with("battery staple")).is_err());
        assert!(place.protect(&Sources::default(), "battery staple").is_err(), "nobody says the passphrase");
        assert_eq!(fs::read(place.file()).unwrap(), protected);
        assert_eq!(fs::read_dir(place.home.path()).unwrap().count(), 1);
    }

    thread_local! {
        static ASKED: Cell<u32> = const { Cell::new(0) };
    }

    /// Mistypes once.
    fn ask(_question: &str) -> io::Result<Secret> {
        ASKED.set(ASKED.get() + 1);
        Ok(Secret::new(if ASKED.get() == 2 { PASSPHRASE } else { "wrong" }))
    }

    #[test]
    fn the_passphrase_comes_from_a_credential_then_the_environment_then_a_person() {
        let place = Place::new();
        let key = place.load(&Sources::default()).unwrap();
        place.protect(&Sources::default(), PASSPHRASE).unwrap();
        assert!(matches!(place.load(&place.sources()), Err(Error::NoPassphrase { .. })));

        let asking = Sources { ask: Some(ask), ..place.sources() };
        assert_eq!(place.load(&asking).unwrap(), key);
        assert_eq!(ASKED.get(), 2);
        assert!(matches!(place.load(&asking), Err(Error::WrongPassphrase { .. })));
        assert_eq!(ASKED.get(), 5);

        let all = Sources { passphrase: Some(Secret::new(PASSPHRASE)), ..asking };
        assert_eq!(place.load(&all).unwrap(), key);
        place.credential(PASSPHRASE_CREDENTIAL, "wrong");
        assert!(matches!(place.load(&all), Err(Error::WrongPassphrase { .. })));
        place.credential(PASSPHRASE_CREDENTIAL, format!("{PASSPHRASE}\r\n"));
        assert_eq!(place.load(&Sources { passphrase: Some(Secret::new("wrong")), ..all }).unwrap(), key);
        assert_eq!(ASKED.get(), 5, "nobody is asked for what is known");
    }

    #[test]
    fn a_key_does_not_print() {
        let place = Place::new();
        let key = DeviceKey::load(place.home.path(), &Sources::default(), Path::new("/nonexistent/store")).unwrap();
        assert_eq!(format!("{key:?}"), "DeviceKey(…)");
    }
}
