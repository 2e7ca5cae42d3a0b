//! Where the database lies, and how another one is put there.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use redb::backends::FileBackend;
use redb::{Builder, DatabaseError, StorageBackend};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::Error;
use super::snapshot::Existing;

/// redb starts its file with a page of its own and zeros elsewhere; it is this long then.
const MAX_UNFINISHED_BYTES: u64 = 16 * 1024 * 1024;
const PAGE_BYTES: usize = 4096;
/// redb writes its mark into the first bytes last.
const MARK_BYTES: usize = 9;

/// A file, and at times a new one beside it that is to take its place. A power cut leaves one or the other there.
pub(super) trait Place: Send + Sync {
    /// For people.
    fn name(&self) -> String;

    /// Opens what lies there; makes it when nothing does.
    fn open(&self, redb: &Builder) -> Result<redb::Database, DatabaseError>;

    /// Does what [`Self::open`] opened last still lie there?
    fn is_in_place(&self) -> io::Result<bool>;

    /// Empties what lies there if it never became a database; refuses anything else.
    fn empty_if_unfinished(&self) -> io::Result<()>;

    /// Makes a new one beside it, instead of what was left there.
    fn begin(&self, redb: &Builder) -> Result<redb::Database, DatabaseError>;

    /// Opens the new one again.
    fn open_new(&self, redb: &Builder) -> Result<redb::Database, DatabaseError>;

    /// Puts the new one in the place of the old one. Whether a power cut undoes it is open until [`Self::sync`].
    fn replace(&self) -> io::Result<()>;

    /// Removes what lies beside it, if something does.
    fn discard(&self) -> io::Result<()>;

    /// Returns when the disk knows what lies where.
    fn sync(&self) -> io::Result<()>;
}

/// In a directory. The new one has `.new` at the end of its name.
#[derive(Debug)]
pub(super) struct InDirectory {
    path: PathBuf,
    new: PathBuf,
    /// Device and number of the file that was opened last.
    opened: Mutex<Option<(u64, u64)>>,
}

impl InDirectory {
    pub(super) fn new(path: &Path) -> Self {
        let mut new = path.as_os_str().to_owned();
        new.push(".new");
        Self { path: path.to_owned(), new: new.into(), opened: Mutex::new(None) }
    }

    fn backend(&self) -> io::Result<FileBackend> {
        let file = for_the_owner().create(true).truncate(false).open(&self.path)?;
        let data = file.metadata()?;
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = Some((data.dev(), data.ino()));
        FileBackend::new(file).map_err(io::Error::other)
    }
}

impl InDirectory {
    /// What lies there, locked so that nobody opens it; `None`: nothing.
    pub(super) fn hold(&self, existing: Existing) -> Result<Option<File>, Error> {
        let path = self.name();
        let file = match OpenOptions::new().read(true).write(true).open(&self.path) {
            Ok(file) => file,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(Error::Open { path, source: source.into() }),
        };
        // As redb locks it. Who has it open matters more than that it is there.
        match (file.try_lock(), existing) {
            (Err(TryLockError::WouldBlock), _) => Err(Error::Locked { path }),
            (Err(TryLockError::Error(source)), _) => Err(Error::Open { path, source: source.into() }),
            (Ok(()), Existing::Refuse) => Err(Error::Occupied { path }),
            (Ok(()), Existing::KeepBeside) => Ok(Some(file)),
        }
    }

    /// Puts the new one there. What lies there and is held stays beside it; anything else is not replaced.
    pub(super) fn put(&self, held: Option<File>) -> Result<(), Error> {
        let put = match held {
            Some(_held) => {
                let mut beside = self.path.as_os_str().to_owned();
                beside.push(".before-restore");
                let path = Path::new(&beside).display().to_string();
                match fs::hard_link(&self.path, &beside) {
                    Ok(()) => self.replace(),
                    Err(source) if source.kind() == io::ErrorKind::AlreadyExists => {
                        return Err(Error::Occupied { path });
                    }
                    Err(source) => Err(source),
                }
            }
            None => match renameat_with(CWD, &self.new, CWD, &self.path, RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => return Err(Error::Occupied { path: self.name() }),
                result => result.map_err(io::Error::from),
            },
        };
        put.map_err(|source| Error::Storage(Box::new(source)))
    }
}

impl Place for InDirectory {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn open(&self, redb: &Builder) -> Result<redb::Database, DatabaseError> {
        redb.create_with_backend(self.backend()?)
    }

    fn is_in_place(&self) -> io::Result<bool> {
        let there = fs::metadata(&self.path)?;
        let opened = *self.opened.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(opened == Some((there.dev(), there.ino())))
    }

    fn empty_if_unfinished(&self) -> io::Result<()> {
        empty_if_unfinished(&self.backend()?)
    }

    fn begin(&self, redb: &Builder) -> Result<redb::Database, DatabaseError> {
        self.discard()?;
        let file = for_the_owner().create_new(true).open(&self.new)?;
        redb.create_with_backend(FileBackend::new(file)?)
    }

    fn open_new(&self, redb: &Builder) -> Result<redb::Database, DatabaseError> {
        redb.create_with_backend(FileBackend::new(for_the_owner().open(&self.new)?)?)
    }

    fn replace(&self) -> io::Result<()> {
        fs::rename(&self.new, &self.path)
    }

    fn discard(&self) -> io::Result<()> {
        match fs::remove_file(&self.new) {
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    fn sync(&self) -> io::Result<()> {
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        File::open(directory.unwrap_or(Path::new(".")))?.sync_all()
    }
}

fn for_the_owner() -> OpenOptions {
    let mut options = OpenOptions::new();
    options.read(true).write(true).mode(0o600);
    options
}

/// A power cut while redb lays out a new file leaves one that redb refuses for ever. It never held a
/// row, so it may be started again; any other file that redb refuses is left alone.
pub(super) fn empty_if_unfinished(backend: &impl StorageBackend) -> io::Result<()> {
    let not_ours = || io::Error::new(io::ErrorKind::InvalidData, "the file is not a store of Frontdesk");
    let len = backend.len()?;
    if len > MAX_UNFINISHED_BYTES {
        return Err(not_ours());
    }
    let mut bytes = vec![0; usize::try_from(len).map_err(io::Error::other)?];
    backend.read(0, &mut bytes)?;
    let is_zero = |bytes: &[u8]| bytes.iter().all(|byte| *byte == 0);
    match (bytes.get(..MARK_BYTES), bytes.get(PAGE_BYTES..)) {
        (Some(mark), Some(pages)) if is_zero(mark) && is_zero(pages) => backend.set_len(0),
        _ => Err(not_ours()),
    }
}
