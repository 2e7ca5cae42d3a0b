//! The directory in which a gateway keeps everything.
//!
//! ```text
//! config.toml or config.yml   written by the operator, and by the gateway only when told to
//! revisions/NNNN.toml|yml     the last ten texts of it
//! frontdesk.redb              conversations
//! device.key                  what conversations are sealed and cookies signed with, see `device_key`
//! admin.token                 what the commands prove themselves with
//! tls.pem                     key and certificate of HTTPS, see `tls`
//! acme.json, acme.pem         account and certificate of an authority, see `tls`
//! accounts.json               who may use the admin page, see `account`
//! claim.code                  with what the box is claimed, until it is
//! reset-access                put there by whoever wants in again; gone at the next start
//! frontdesk.sock              where the commands reach the gateway
//! health.check/               a gateway of its own, while a health check runs, see `health`
//! secrets/NAME                values for ${NAME}
//! backup.json                 how the last backup went
//! backup.index                what the last full one held, to tell what has changed
//! restore.unfinished          what a restore that was cut short has to undo, see `restore`
//! ```

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{self, Read as _};
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::{DirBuilderExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use aws_lc_rs::{digest, rand};

use crate::config;
use crate::document::{Secret, Variables, write_whole};
use crate::session::{self, Storage};

use super::device_key::{self, DeviceKey, Sources};

/// Why a directory cannot be a home.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// It cannot be made, or is no directory.
    #[error("the home {path} cannot be used: {source}")]
    Directory {
        /// The directory.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file in it cannot be read or made.
    #[error("the file {path} cannot be used: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// A file in it is not what was written.
    #[error("the file {path} is damaged; move it away and start again to make a new one")]
    Damaged {
        /// The file.
        path: String,
    },
    /// Without its key nothing here can be read.
    #[error(transparent)]
    DeviceKey(#[from] device_key::Error),
    /// A part of it is from before, another part from a backup.
    #[error("a restore into the home {path} was cut short; run `frontdesk backup restore` again, and it is made good")]
    HalfRestored {
        /// The directory.
        path: String,
    },
    /// The system gives no random numbers.
    #[error("the system gives no random numbers")]
    Random,
}

/// Is there while a restore changes the home.
pub(super) const RESTORING: &str = "restore.unfinished";

/// An open home.
#[derive(Debug)]
pub struct Home {
    path: PathBuf,
    device_key: DeviceKey,
    token: Secret,
}

impl Home {
    /// Opens a directory that [`make`] made, and makes its keys if they are not there. `store` is the file that cannot
    /// be read without the device key.
    ///
    /// # Errors
    /// When it or one of its files cannot be used.
    pub fn open(path: PathBuf, sources: &Sources, store: &Path) -> Result<Self, Error> {
        let device_key = DeviceKey::load(&path, sources, store)?;
        let token_file = path.join("admin.token");
        let token = read_or_make(&token_file)?;
        let token = String::from_utf8(token).ok().filter(|token| token.len() == 64);
        let token = token.ok_or_else(|| Error::Damaged { path: token_file.display().to_string() })?;
        Ok(Self { path, device_key, token: Secret::new(token) })
    }

    /// The directory.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What the commands must show.
    #[must_use]
    pub fn token(&self) -> &Secret {
        &self.token
    }

    /// What opens its store.
    #[must_use]
    pub fn wrapping_key(&self) -> [u8; 32] {
        self.device_key.wrapping_key()
    }

    /// A key for one purpose; the same at every start.
    #[must_use]
    pub fn key_for(&self, purpose: &str) -> [u8; 32] {
        self.device_key.key_for(purpose)
    }

    pub(super) fn socket(&self) -> PathBuf {
        socket(&self.path)
    }
}

/// Makes the directory, if it is not there, and says where it is.
///
/// # Errors
/// When it cannot be used, or a restore into it was cut short.
pub(super) fn make(path: &Path) -> Result<PathBuf, Error> {
    let directory = |source| Error::Directory { path: path.display().to_string(), source };
    // Only the owner may look in: transcripts and tokens lie here.
    DirBuilder::new().recursive(true).mode(0o700).create(path).map_err(directory)?;
    let path = fs::canonicalize(path).map_err(directory)?;
    if path.join(RESTORING).symlink_metadata().is_ok() {
        return Err(Error::HalfRestored { path: path.display().to_string() });
    }
    // A directory that we did not make may be shared on purpose, so its mode is the operator's.
    if let Some(mode) = open_to_others(&fs::metadata(&path).map_err(directory)?) {
        let home = path.display();
        tracing::warn!("others than the owner may look into the home {home} (mode {mode:o}); run `chmod 700 {home}`");
    }
    Ok(path)
}

/// The store's file. A path in the configuration counts only if it names our kind of store; it is relative to the home,
/// and `~/` is the user's own directory.
pub(super) fn store_file(home: &Path, session: Option<&session::Config>, user_home: Option<&str>) -> PathBuf {
    store_at(home, session.and_then(storage_path), user_home)
}

/// Where these settings want the store, if they say so.
pub(super) fn storage_path(session: &session::Config) -> Option<&str> {
    session.storage_path.as_deref().filter(|_| session.storage == Storage::Redb)
}

/// The store's file of a home whose configuration says this about it.
pub(super) fn store_at(home: &Path, storage_path: Option<&str>, user_home: Option<&str>) -> PathBuf {
    match storage_path {
        None => home.join("frontdesk.redb"),
        Some(path) => match (path.strip_prefix("~/"), user_home) {
            (Some(below), Some(user_home)) => Path::new(user_home).join(below),
            _ => home.join(path),
        },
    }
}

/// Where the store of a home is, whether or not its configuration can be used.
#[must_use]
pub fn find_store(home: &Path, variables: &dyn Variables) -> PathBuf {
    let session = match config::load(home, variables) {
        Ok(loaded) => loaded.settings.session,
        Err(_) => config::salvage(home, variables).session,
    };
    store_file(home, Some(&session), variables.get("HOME").as_deref())
}

/// Where the commands reach the gateway of a home.
#[must_use]
pub fn socket(home: &Path) -> PathBuf {
    home.join("frontdesk.sock")
}

/// Where they do when nothing can be made in the home: in the directory of its user for sockets and the like, the value of
/// `XDG_RUNTIME_DIR`, if there is one.
#[must_use]
pub fn socket_elsewhere(home: &Path, runtime: Option<&str>) -> Option<PathBuf> {
    let runtime = Path::new(runtime?);
    let home = fs::canonicalize(home).ok()?;
    let digest = digest::digest(&digest::SHA256, home.as_os_str().as_bytes());
    let name = hex(digest.as_ref().first_chunk::<8>()?);
    runtime.is_absolute().then(|| runtime.join(format!("frontdesk-{name}.sock")))
}

fn read_or_make(path: &Path) -> Result<Vec<u8>, Error> {
    let file_error = |source| Error::File { path: path.display().to_string(), source };
    let mut bytes = Vec::new();
    match File::open(path) {
        Ok(file) => {
            // A copy or a backup may have left it so.
            if let Some(mode) = file.metadata().ok().as_ref().and_then(open_to_others) {
                let is_closed = file.set_permissions(Permissions::from_mode(0o600)).is_ok();
                tracing::warn!(is_closed, "others than the owner could read {} (mode {mode:o})", path.display());
            }
            file.take(1024).read_to_end(&mut bytes).map_err(file_error)?;
            Ok(bytes)
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let mut random = [0; 32];
            rand::fill(&mut random).map_err(|_unspecified| Error::Random)?;
            let bytes = hex(&random).into_bytes();
            write_whole(path, &bytes, 0o600).map_err(file_error)?;
            Ok(bytes)
        }
        Err(error) => Err(file_error(error)),
    }
}

/// The mode of what others than its owner may use.
fn open_to_others(metadata: &fs::Metadata) -> Option<u32> {
    let mode = metadata.permissions().mode() & 0o777;
    (mode & 0o077 != 0).then_some(mode)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn open(path: &Path) -> Result<Home, Error> {
        let path = make(path)?;
        let store = store_file(&path, None, None);
        Home::open(path, &Sources::default(), &store)
    }

    #[test]
    fn keys_are_the_same_at_every_start_and_only_the_owners() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a/b");
        let (first, second) = (open(&path).unwrap(), open(&path).unwrap());
        assert_eq!(first.key_for("x"), second.key_for("x"));
        assert_ne!(first.key_for("x"), first.key_for("y"));
        assert_eq!(first.token(), second.token());
        for file in ["device.key", "admin.token"] {
            let mode = fs::metadata(path.join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
    }

    #[test]
    fn a_token_that_others_may_read_is_closed_and_the_directory_stays() {
        let directory = tempfile::tempdir().unwrap();
        let set_mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let (token, leftover) = (directory.path().join("admin.token"), directory.path().join(".admin.token.new"));
        open(directory.path()).unwrap();
        set_mode(&token, 0o644);
        open(directory.path()).unwrap();
        assert_eq!(mode(&token), 0o600);
        fs::remove_file(&token).unwrap();
        fs::write(&leftover, "").unwrap();
        set_mode(&leftover, 0o666);
        set_mode(directory.path(), 0o755);
        open(directory.path()).unwrap();
        assert_eq!([mode(&token), mode(directory.path())], [0o600, 0o755]);
    }

    #[test]
    fn a_file_is_no_home() {
        let file = tempfile::NamedTempFile::new().unwrap();
        assert!(matches!(open(file.path()), Err(Error::Directory { .. })));
    }

    #[test]
    fn a_damaged_token_is_not_used() {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("admin.token"), b"short").unwrap();
        assert!(matches!(open(directory.path()), Err(Error::Damaged { .. })));
    }
}
