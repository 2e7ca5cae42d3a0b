//! Makes a home out of a backup, where no gateway runs.
//!
//! The store is made beside its place and every row of it read and counted before anything that is there is touched. What
//! is there stays, as `<name>.before-restore`, and only if whoever asks agreed to it.
//!
//! From then on a mark in the home names every path that changes, and whether something was there. What fails is undone by
//! it at once. A power cut leaves it there: no gateway starts then, and the next restore undoes this one first.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, chown};
use std::path::{Component, Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::backup::is_config;
use super::device_key::{self, DeviceKey, Sources};
use super::home::{RESTORING, store_at};
use crate::backup::{Chain, Error, HomeFile, Manifest};
use crate::document::{read_at_most, sync_directory, write_first, write_whole};
use crate::store::{self, Existing, Filled, Store, WasThere};

const CACHE_BYTES: usize = 4 * 1024 * 1024;
/// The mark names few paths; those of many agents' personas are among them.
const MAX_MARK_BYTES: usize = 1024 * 1024;

/// Why nothing was restored.
#[derive(Debug, thiserror::Error)]
#[expect(missing_docs, reason = "the messages say what the fields are")]
pub enum RestoreError {
    /// The backup.
    #[error(transparent)]
    Backup(#[from] Error),
    /// There is a home already.
    #[error(
        "{path} is there already; restore into another home, or have it kept beside, as .before-restore, with --replace"
    )]
    Occupied { path: String },
    /// A former restore left it.
    #[error("{path} is there already, from a former restore; move it away first")]
    OccupiedBeside { path: String },
    /// What is restored cannot be sealed.
    #[error(transparent)]
    DeviceKey(#[from] device_key::Error),
    /// What is restored cannot be written.
    #[error("a new store cannot be made: {0}; see that the disk has room, and restore again")]
    Store(#[source] store::Error),
    /// A gateway runs there.
    #[error("a gateway is running in this home; stop it first")]
    Running,
    /// A file cannot be read, written or moved.
    #[error(
        "{path} cannot be used: {source}; see that this user may write it and that the disk has room, and restore again"
    )]
    File { path: String, source: io::Error },
}

impl From<store::Error> for RestoreError {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Locked { .. } => Self::Running,
            store::Error::Occupied { path } if path.contains(BESIDE) => Self::OccupiedBeside { path },
            store::Error::Occupied { path } => Self::Occupied { path },
            error => match Error::of_rows(error) {
                Error::Store(error) => Self::Store(error),
                damaged => Self::Backup(damaged),
            },
        }
    }
}

const BESIDE: &str = ".before-restore";

/// What is there now.
#[derive(Debug)]
pub struct Restored {
    /// What the backup says of itself.
    pub manifest: Manifest,
    /// The store.
    pub store: PathBuf,
    /// The device key, if there was none.
    pub new_key: Option<PathBuf>,
    /// Rows of it.
    pub n_rows: u64,
    /// Files that were written.
    pub written: Vec<PathBuf>,
    /// Files outside of the home that were there already and are as they were.
    pub left: Vec<PathBuf>,
}

/// Restores into `home`. `user_home` is what `~/` means; the device key is looked for in the home and in `sources`, and made if
/// there is none. A restore that was cut short is undone first.
///
/// # Errors
/// [`RestoreError`]. What was in the home is at its place.
pub fn restore(
    chain: Chain<'_>,
    home: &Path,
    user_home: Option<&str>,
    sources: &Sources,
    existing: Existing,
) -> Result<Restored, RestoreError> {
    restore_by(chain, home, user_home, sources, existing, &mut || Ok(()))
}

/// Called between any two steps that change the home.
type Step<'s> = &'s mut dyn FnMut() -> Result<(), RestoreError>;

fn restore_by(
    mut chain: Chain<'_>,
    home: &Path,
    user_home: Option<&str>,
    sources: &Sources,
    existing: Existing,
    step: Step<'_>,
) -> Result<Restored, RestoreError> {
    make_directory(home)?;
    if let Some(changes) = Changes::read(home)? {
        changes.undo(home, step)?;
    }
    let (manifest, files) = (chain.manifest().clone(), chain.files().to_vec());
    let store_path = store_at(home, manifest.storage_path.as_deref(), user_home);
    if let Some(directory) = store_path.parent() {
        make_directory(directory)?;
    }
    let changes = Changes::to_come(home, &store_path, &files)?;
    if let (Existing::Refuse, Some(first)) = (existing, changes.old(home).next()) {
        return Err(RestoreError::Occupied { path: first.display().to_string() });
    }
    if let Some(there) = changes.old(home).map(|path| beside(&path)).find(|path| is_there(path)) {
        return Err(RestoreError::OccupiedBeside { path: there.display().to_string() });
    }
    let key_file = home.join(device_key::FILE);
    let had_key = is_there(&key_file);
    let wrapping_key = || {
        // What is there goes aside, also when its key is lost.
        let opens = if existing == Existing::KeepBeside { beside(&store_path) } else { store_path.clone() };
        let key = DeviceKey::load(home, sources, &opens).map_err(RestoreError::from)?;
        own(&key_file, home);
        Ok(key.wrapping_key())
    };
    let rows = chain.by_ref().map(|row| Ok(row?));
    let filled = Store::fill::<FillError>(&store_path, CACHE_BYTES, existing, wrapping_key, rows)?;
    let n_rows = filled.n_rows();
    // From here on the backup is known to be whole.
    changes.note(home)?;
    let (written, left) = match changes.make(home, &store_path, &files, filled, step) {
        Ok(files) => files,
        Err(error) => {
            let undone = match &error {
                // A gateway began here in this moment: nothing of ours is in place, and what is there is its own.
                RestoreError::Running | RestoreError::Occupied { .. } | RestoreError::OccupiedBeside { .. } => {
                    forget(home)
                }
                _ => changes.undo(home, &mut || Ok(())),
            };
            if let Err(error) = undone {
                tracing::error!(%error, "a restore that failed could not be undone; restore again");
            }
            return Err(error);
        }
    };
    let new_key = Some(key_file).filter(|path| !had_key && path.exists());
    Ok(Restored { manifest, store: store_path, new_key, n_rows, written, left })
}

/// What a restore changes, which is what the mark holds: paths as seen from the home, and whether something is there before.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Changes {
    store: PathBuf,
    was_there: WasThere,
    /// Configuration, revisions, secrets, and files that the configuration names, as far as they lie in the home.
    others: BTreeMap<PathBuf, bool>,
}

impl Changes {
    /// Of a restore that was cut short.
    fn read(home: &Path) -> Result<Option<Self>, RestoreError> {
        let mark = home.join(RESTORING);
        match read_at_most(&mark, MAX_MARK_BYTES) {
            Ok(bytes) => serde_json::from_slice(&bytes).map(Some).map_err(|error| file(&mark, error.into())),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(file(&mark, source)),
        }
    }

    fn to_come(home: &Path, store: &Path, files: &[HomeFile]) -> Result<Self, RestoreError> {
        let mut others = BTreeMap::new();
        for entry in fs::read_dir(home).map_err(|source| file(home, source))? {
            let name = entry.map_err(|source| file(home, source))?.file_name();
            if name.to_str().is_some_and(|name| is_config(name) || is_kept_whole(Path::new(name))) {
                others.insert(PathBuf::from(name), true);
            }
        }
        for restored in files.iter().filter(|restored| is_inside(&restored.path)) {
            let path = Path::new(&restored.path);
            let whole = path.components().next().map(|first| Path::new(first.as_os_str()));
            let path = whole.filter(|first| is_kept_whole(first)).unwrap_or(path);
            others.insert(path.to_owned(), is_there(&home.join(path)));
        }
        let was_there = WasThere::look(store);
        Ok(Self { store: store.strip_prefix(home).unwrap_or(store).to_owned(), was_there, others })
    }

    /// What would be mixed with what is restored. The store looks after itself.
    fn old(&self, home: &Path) -> impl Iterator<Item = PathBuf> {
        self.others.iter().filter(|(_, was_there)| **was_there).map(|(path, _)| home.join(path))
    }

    fn note(&self, home: &Path) -> Result<(), RestoreError> {
        let mark = home.join(RESTORING);
        let bytes = serde_json::to_vec(self).map_err(|error| file(&mark, error.into()))?;
        write_whole(&mark, &bytes, 0o600).map_err(|source| file(&mark, source))
    }

    /// Paths that were written, and those that were left as they are.
    fn make(
        &self,
        home: &Path,
        store: &Path,
        files: &[HomeFile],
        filled: Filled,
        step: Step<'_>,
    ) -> Result<(Vec<PathBuf>, Vec<PathBuf>), RestoreError> {
        step()?;
        filled.put()?;
        own(store, home);
        step()?;
        for path in self.old(home) {
            fs::rename(&path, beside(&path)).map_err(|source| file(&path, source))?;
            sync(path.parent())?;
            step()?;
        }
        let (mut written, mut left) = (Vec::new(), Vec::new());
        for HomeFile { path, mode, bytes } in files {
            let (is_inside, path) = (is_inside(path), home.join(path));
            if let Some(directory) = path.parent() {
                make_directory(directory)?;
                if is_inside {
                    own(directory, home);
                }
            }
            // One that lies elsewhere may be somebody else's too.
            let write = if is_inside { write_whole } else { write_first };
            match write(&path, bytes, *mode) {
                Ok(()) => written.push(path),
                Err(error) if !is_inside && error.kind() == io::ErrorKind::AlreadyExists => left.push(path),
                Err(source) => return Err(file(&path, source)),
            }
            step()?;
        }
        // A file that was written is on the disk when the names of all directories above it are.
        let inside = written.iter().filter(|path| path.starts_with(home));
        let above: BTreeSet<&Path> = inside.flat_map(|path| path.ancestors().skip(1)).collect();
        above.into_iter().filter(|above| above.starts_with(home)).try_for_each(|above| sync(Some(above)))?;
        sync(home.parent())?;
        step()?;
        forget(home)?;
        Ok((written, left))
    }

    /// Puts back what was there. Whatever of it is done already, it may be done again.
    fn undo(&self, home: &Path, step: Step<'_>) -> Result<(), RestoreError> {
        for (path, was_there) in &self.others {
            let path = home.join(path);
            let beside = beside(&path);
            if !was_there {
                remove(&path)?;
            } else if is_there(&beside) {
                remove(&path)?;
                step()?;
                fs::rename(&beside, &path).map_err(|source| file(&beside, source))?;
            }
            if path.parent().is_some_and(Path::exists) {
                sync(path.parent())?;
            }
            step()?;
        }
        Store::take_back(&home.join(&self.store), self.was_there)?;
        step()?;
        forget(home)
    }
}

/// It is done, or undone.
fn forget(home: &Path) -> Result<(), RestoreError> {
    remove(&home.join(RESTORING))?;
    sync(Some(home))
}

fn is_there(path: &Path) -> bool {
    path.symlink_metadata().is_ok()
}

/// Is it a directory all of which is restored?
fn is_kept_whole(path: &Path) -> bool {
    matches!(path.to_str(), Some("agents" | "revisions" | "secrets" | "accounts.json"))
}

fn make_directory(path: &Path) -> Result<(), RestoreError> {
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(|source| file(path, source))
}

/// A file, or a directory with all that is in it, if it is there.
fn remove(path: &Path) -> Result<(), RestoreError> {
    let is_directory = path.symlink_metadata().is_ok_and(|data| data.is_dir());
    match if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) } {
        Err(error) if !matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
            Err(file(path, error))
        }
        _ => Ok(()),
    }
}

fn sync(directory: Option<&Path>) -> Result<(), RestoreError> {
    let directory = directory.filter(|directory| !directory.as_os_str().is_empty());
    directory.map_or(Ok(()), |directory| sync_directory(directory).map_err(|source| file(directory, source)))
}

fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(BESIDE);
    name.into()
}

/// Does it lie in the home?
fn is_inside(path: &str) -> bool {
    Path::new(path).components().all(|component| matches!(component, Component::Normal(_)))
}

/// Whoever owns the home runs the gateway, also where root restored it.
fn own(path: &Path, home: &Path) {
    let owner = |path: &Path| fs::metadata(path).ok().map(|data| (data.uid(), data.gid()));
    if let (Some(owner), Some(now)) = (owner(home), owner(path))
        && owner != now
        && let Err(error) = chown(path, Some(owner.0), Some(owner.1))
    {
        tracing::warn!(%error, "{} does not belong to the owner of the home", path.display());
    }
}

fn file(path: &Path, source: io::Error) -> RestoreError {
    RestoreError::File { path: path.display().to_string(), source }
}

/// What goes wrong while the store is filled.
struct FillError(RestoreError);

impl From<RestoreError> for FillError {
    fn from(error: RestoreError) -> Self {
        Self(error)
    }
}

impl From<store::Error> for FillError {
    fn from(error: store::Error) -> Self {
        Self(error.into())
    }
}

impl From<Error> for FillError {
    fn from(error: Error) -> Self {
        Self(error.into())
    }
}

impl From<FillError> for RestoreError {
    fn from(error: FillError) -> Self {
        error.0
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use super::super::home;
    use super::*;
    use crate::backup::{Against, Id, OpenWith, Progress, SealWith, make};
    use crate::document::Secret;
    use crate::id::SessionKey;
    use crate::testing::inbound;

    const PASSPHRASE: &str = "correct horse battery";

    /// Opens the store of a home and has these people say something.
    fn said(home: &Path, users: &[&str]) -> Store {
        let path = home.join("frontdesk.redb");
        let key = DeviceKey::load(home, &Sources::default(), &path).unwrap();
        let store = Store::open(&path, CACHE_BYTES, &key.wrapping_key()).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        for user in users {
            let key = SessionKey::parse(&format!("webhook:{user}")).unwrap();
            runtime.block_on(store.load(vec![(key, inbound("hook", user, "hello"))])).unwrap();
        }
        store
    }

    fn write(home: &Path, path: &str, text: &str) {
        let path = home.join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    const OLD: [(&str, &str); 4] =
        [("config.yml", "old"), ("secrets/ONE", "old"), ("revisions/0001.yml", "old"), ("souls/a.md", "old")];
    const NEW: [(&str, &str); 4] =
        [("config.toml", "new"), ("secrets/TWO", "new"), ("souls/a.md", "new"), ("souls/deep/b.md", "new")];

    /// A backup of three conversations.
    fn backup(outside: &Path) -> Vec<u8> {
        let home = tempfile::tempdir().unwrap();
        let store = said(home.path(), &["U1", "U2", "U3"]);
        let file = |(path, text): (&str, &str)| HomeFile { path: path.into(), mode: 0o600, bytes: text.into() };
        let outside = outside.to_str().unwrap();
        let files: Vec<HomeFile> = NEW.into_iter().chain([(outside, "new")]).map(file).collect();
        let manifest = Manifest::new(Id::random().unwrap(), None, 1_700_000_000_000, None);
        let seal = SealWith::Passphrase(Secret::new(PASSPHRASE));
        let snapshot = store.snapshot().unwrap();
        make(Vec::new(), &seal, &manifest, &files, &snapshot, Against::Nothing, &Progress::default()).unwrap().0
    }

    fn restored(home: &Path, bytes: &[u8], step: Step<'_>) -> Result<Restored, RestoreError> {
        let key = OpenWith::Passphrase(Secret::new(PASSPHRASE));
        let chain = Chain::open(Box::new(Cursor::new(bytes.to_vec())), None, &key).unwrap();
        restore_by(chain, home, None, &Sources::default(), Existing::KeepBeside, step)
    }

    /// All files but the device key, which may come first.
    fn files(directory: &Path) -> BTreeMap<PathBuf, Vec<u8>> {
        let mut found = BTreeMap::new();
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                found.extend(files(&path));
            } else if path.file_name().unwrap() != device_key::FILE {
                found.insert(path.clone(), fs::read(&path).unwrap());
            }
        }
        found
    }

    /// What is in a restored home is what was in the backup, and what was there before lies beside.
    fn check_new(home: &Path, old: &BTreeMap<PathBuf, Vec<u8>>) {
        let mut found = files(home);
        assert!(found.remove(&home.join("frontdesk.redb")).is_some());
        for (path, text) in NEW {
            assert_eq!(found.remove(&home.join(path)).unwrap(), text.as_bytes(), "{path}");
        }
        let whole = |path: &Path| {
            ["secrets", "revisions"].map(|name| home.join(name)).into_iter().find(|w| path.starts_with(w))
        };
        for (path, bytes) in old {
            let kept = match whole(path) {
                Some(whole) => beside(&whole).join(path.strip_prefix(&whole).unwrap()),
                None if path.ends_with("frontdesk.redb.journal") => {
                    beside(&home.join("frontdesk.redb")).with_extension("before-restore.journal")
                }
                None => beside(path),
            };
            assert_eq!(found.remove(&kept).as_ref(), Some(bytes), "{}", kept.display());
        }
        assert_eq!(found, BTreeMap::new());
        assert_eq!(said(home, &[]).counts().unwrap().sessions, 3);
    }

    /// A restore is hit between any two of its steps, and once more when it is done again.
    fn check(has_old: bool, hit: fn() -> RestoreError) {
        let outside = tempfile::tempdir().unwrap();
        let outside = outside.path().join("soul.md");
        let bytes = backup(&outside);
        for place in 0.. {
            let directory = tempfile::tempdir().unwrap();
            let home = directory.path().join("home");
            fs::create_dir(&home).unwrap();
            if has_old {
                OLD.into_iter().for_each(|(path, text)| write(&home, path, text));
                drop(said(&home, &["U9"]));
            }
            let old = files(&home);
            let run = |bytes: &[u8], place: usize| {
                let mut n = 0;
                let mut step = || {
                    n += 1;
                    if n > place { Err(hit()) } else { Ok(()) }
                };
                catch_unwind(AssertUnwindSafe(|| restored(&home, bytes, &mut step)))
            };
            let start = || home::make(&home);
            if let Ok(Ok(done)) = run(&bytes, place) {
                assert!(place > NEW.len() && start().is_ok());
                assert_eq!(done.left.len() + done.written.len(), NEW.len() + 1);
                check_new(&home, &old);
                break;
            }
            let is_whole = |now: &BTreeMap<PathBuf, Vec<u8>>| match start() {
                Ok(_) => *now == old,
                Err(error) => error.to_string().contains("run `frontdesk backup restore` again"),
            };
            assert!(is_whole(&files(&home)), "step {place}");
            // Undoing and doing it again has more steps than doing it, so this one is hit too.
            assert!(!matches!(run(&bytes, place), Ok(Ok(_))), "step {place}");
            assert!(is_whole(&files(&home)), "step {place}, again");
            if let Some(changes) = Changes::read(&home).unwrap() {
                changes.undo(&home, &mut || Ok(())).unwrap();
            }
            assert!(start().is_ok());
            assert_eq!(files(&home), old, "step {place}");
            let done = run(&bytes, usize::MAX).unwrap().unwrap();
            assert!(start().is_ok() && done.n_rows > 0);
            check_new(&home, &old);
            assert_eq!(fs::read_to_string(&outside).unwrap(), "new");
        }
    }

    #[test]
    fn a_power_cut_leaves_a_whole_home_or_a_start_that_says_what_to_do() {
        for has_old in [false, true] {
            check(has_old, || panic!("the power is gone"));
        }
    }

    #[test]
    fn what_fails_is_undone() {
        for has_old in [false, true] {
            check(has_old, || file(Path::new("x"), io::ErrorKind::StorageFull.into()));
        }
    }

    #[test]
    fn what_the_configuration_names_is_not_overwritten_unasked() {
        let directory = tempfile::tempdir().unwrap();
        let home = directory.path();
        write(home, "souls/a.md", "mine");
        let bytes = backup(&home.join("outside.md"));
        let key = OpenWith::Passphrase(Secret::new(PASSPHRASE));
        let chain = Chain::open(Box::new(Cursor::new(bytes)), None, &key).unwrap();
        let refused = restore(chain, home, None, &Sources::default(), Existing::Refuse);
        assert!(matches!(refused, Err(RestoreError::Occupied { .. })), "{refused:?}");
        assert_eq!(files(home), [(home.join("souls/a.md"), b"mine".to_vec())].into());
    }
}
