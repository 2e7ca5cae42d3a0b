//! Makes a home out of a backup, where no gateway runs.
//!
//! The store is made beside its place and every row of it read and counted before anything that is there is touched. What
//! is there stays, as `<name>.before-restore`, and only if whoever asks agreed to it.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _, chown};
use std::path::{Component, Path, PathBuf};

use super::backup::is_config;
use super::device_key::{self, DeviceKey, Sources};
use super::home::store_at;
use crate::backup::{Chain, Error, Manifest};
use crate::document::write_whole;
use crate::store::{self, Existing, Store};

const CACHE_BYTES: usize = 4 * 1024 * 1024;

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
    /// A gateway runs there.
    #[error("a gateway is running in this home; stop it first")]
    Running,
    /// A file cannot be written.
    #[error("{path}: {source}")]
    File { path: String, source: io::Error },
}

impl From<store::Error> for RestoreError {
    fn from(error: store::Error) -> Self {
        match error {
            store::Error::Locked { .. } => Self::Running,
            store::Error::Occupied { path } if path.contains(BESIDE) => Self::OccupiedBeside { path },
            store::Error::Occupied { path } => Self::Occupied { path },
            error => Self::Backup(error.into()),
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
/// there is none.
///
/// # Errors
/// [`RestoreError`]. What was in the home is there, at its place or beside.
pub fn restore(
    mut chain: Chain<'_>,
    home: &Path,
    user_home: Option<&str>,
    sources: &Sources,
    existing: Existing,
) -> Result<Restored, RestoreError> {
    DirBuilder::new().recursive(true).mode(0o700).create(home).map_err(|source| file(home, source))?;
    let (manifest, files) = (chain.manifest().clone(), chain.files().to_vec());
    let store_path = store_at(home, manifest.storage_path.as_deref(), user_home);
    if let Some(directory) = store_path.parent() {
        DirBuilder::new().recursive(true).mode(0o700).create(directory).map_err(|source| file(directory, source))?;
    }
    let old = occupied(home)?;
    if let (Existing::Refuse, Some(first)) = (existing, old.first()) {
        return Err(RestoreError::Occupied { path: first.display().to_string() });
    }
    if let Some(there) = old.iter().map(|path| beside(path)).find(|path| path.symlink_metadata().is_ok()) {
        return Err(RestoreError::OccupiedBeside { path: there.display().to_string() });
    }
    let key_file = home.join(device_key::FILE);
    let had_key = key_file.symlink_metadata().is_ok();
    let wrapping_key = || {
        // What is there goes aside, also when its key is lost.
        let opens = if existing == Existing::KeepBeside { beside(&store_path) } else { store_path.clone() };
        let key = DeviceKey::load(home, sources, &opens).map_err(RestoreError::from)?;
        own(&key_file, home);
        Ok(key.wrapping_key())
    };
    let rows = chain.by_ref().map(|row| Ok(row?));
    let filled = Store::fill::<FillError>(&store_path, CACHE_BYTES, existing, wrapping_key, rows)?;
    // From here on the backup is known to be whole.
    for path in &old {
        fs::rename(path, beside(path)).map_err(|source| file(path, source))?;
    }
    let (mut written, mut left) = (Vec::new(), Vec::new());
    for restored in &files {
        let path = home.join(&restored.path);
        if is_inside(&restored.path) {
            if let Some(directory) = path.parent() {
                DirBuilder::new()
                    .recursive(true)
                    .mode(0o700)
                    .create(directory)
                    .map_err(|source| file(directory, source))?;
                own(directory, home);
            }
            write_whole(&path, &restored.bytes, restored.mode).map_err(|source| file(&path, source))?;
        } else if !write_new(&path, &restored.bytes, restored.mode).map_err(|source| file(&path, source))? {
            left.push(path);
            continue;
        }
        written.push(path);
    }
    let n_rows = filled.n_rows();
    filled.put()?;
    own(&store_path, home);
    let new_key = Some(key_file).filter(|path| !had_key && path.exists());
    Ok(Restored { manifest, store: store_path, new_key, n_rows, written, left })
}

/// What would be mixed with what is restored.
fn occupied(home: &Path) -> Result<Vec<PathBuf>, RestoreError> {
    let mut paths = Vec::new();
    for entry in fs::read_dir(home).map_err(|source| file(home, source))? {
        let entry = entry.map_err(|source| file(home, source))?;
        if entry
            .file_name()
            .to_str()
            .is_some_and(|name| is_config(name) || matches!(name, "revisions" | "secrets" | "accounts.json"))
        {
            paths.push(entry.path());
        }
    }
    paths.sort();
    Ok(paths)
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

/// A file that may be somebody else's too: false when there is one.
fn write_new(path: &Path, bytes: &[u8], mode: u32) -> io::Result<bool> {
    if let Some(directory) = path.parent() {
        fs::create_dir_all(directory)?;
    }
    match OpenOptions::new().write(true).create_new(true).mode(mode).open(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
        Ok(mut file) => {
            file.write_all(bytes)?;
            file.sync_all()?;
            Ok(true)
        }
    }
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
