//! Where the database lies, and how another one is put there.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use redb::backends::{FileBackend, InMemoryBackend};
use redb::{Builder, DatabaseError, StorageBackend, StorageError};
use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

use super::Error;
use super::overlay::Original;
use super::snapshot::Existing;

/// At least two thousand batches. What they change in the database is in memory, as far as its cache goes, until the
/// journal is full.
pub(super) const JOURNAL_BYTES: usize = 8 * 1024 * 1024;
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

    /// Opens what lies there to read it, locked as by [`Self::open`]: what is written to it stays in memory.
    fn open_aside(&self, redb: &Builder) -> Result<redb::Database, DatabaseError>;

    /// How long what lies there is; 0 when nothing does.
    fn n_bytes(&self) -> io::Result<u64>;

    /// Does what [`Self::open`] opened last still lie there?
    fn is_in_place(&self) -> io::Result<bool>;

    /// Empties what lies there if it never became a database; refuses anything else.
    fn empty_if_unfinished(&self) -> io::Result<()>;

    /// Makes a new one beside it, instead of what was left there.
    fn begin(&self, redb: &Builder) -> Result<redb::Database, DatabaseError>;

    /// Opens the new one again.
    fn open_new(&self, redb: &Builder) -> Result<redb::Database, DatabaseError>;

    /// Keeps the old one, of this format, under another name too.
    fn keep(&self, format: u32) -> io::Result<()>;

    /// Removes what [`Self::keep`] kept before this time, in milliseconds since 1970.
    fn forget_kept(&self, before: u64) -> io::Result<()>;

    /// Opens the journal beside it; makes an empty one when there is none.
    fn journal(&self) -> io::Result<Box<dyn StorageBackend>>;

    /// The same as [`Self::open_aside`] for the journal; an empty one when there is none.
    fn journal_aside(&self) -> io::Result<Box<dyn StorageBackend>>;

    /// How long a journal should be.
    fn journal_bytes(&self) -> usize;

    /// What is left where it lies.
    fn room(&self) -> io::Result<Room>;

    /// Puts the new one in the place of the old one. Whether a power cut undoes it is open until [`Self::sync`].
    fn replace(&self) -> io::Result<()>;

    /// Removes what lies beside it, if something does.
    fn discard(&self) -> io::Result<()>;

    /// Returns when the disk knows what lies where.
    fn sync(&self) -> io::Result<()>;
}

/// What is left of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Free for this process, in bytes.
    pub available_bytes: u64,
    /// Of the whole file system, in bytes.
    pub total_bytes: u64,
    /// Can nothing be written?
    pub is_read_only: bool,
}

/// Kept free of new messages, or a sixteenth of a small file system.
const MAX_RESERVE_BYTES: u64 = 16 * 1024 * 1024;

impl Room {
    /// So much is kept for answers to what was accepted, for erasing and for the end: new messages are refused when less
    /// is left.
    #[must_use]
    pub fn reserve_bytes(&self) -> u64 {
        MAX_RESERVE_BYTES.min(self.total_bytes / 16)
    }

    /// Must new messages wait?
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.available_bytes < self.reserve_bytes()
    }

    /// Why nothing new is taken, if it is for the disk, and what to do.
    #[must_use]
    pub fn trouble(self) -> Option<String> {
        if self.is_read_only {
            return Some(
                "the disk has become read-only: messages are refused and answers wait, what is there can be read; see \
                 the system's log for why, and mount it read-write again"
                    .to_owned(),
            );
        }
        let (left, reserve) = (self.available_bytes / 1_000_000, self.reserve_bytes().div_ceil(1_000_000));
        self.is_full().then(|| {
            format!(
                "the disk is full: {left} MB are left, and messages are refused below {reserve} MB; make room on it"
            )
        })
    }

    pub(super) fn full(self) -> Error {
        Error::Full { available_bytes: self.available_bytes, reserve_bytes: self.reserve_bytes() }
    }
}

/// In a directory. The others have its name and `.new`, `.journal` or `.format-` and a number behind it.
#[derive(Debug)]
pub(super) struct InDirectory {
    path: PathBuf,
    /// Device and number of the file that was opened last.
    opened: Mutex<Option<(u64, u64)>>,
}

impl InDirectory {
    pub(super) fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), opened: Mutex::new(None) }
    }

    fn beside(&self, end: &str) -> PathBuf {
        beside(&self.path, end)
    }

    fn directory(&self) -> &Path {
        let directory = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        directory.unwrap_or(Path::new("."))
    }

    /// Linux from 6.15 on makes ext4 refuse writes after an error, and says it nowhere else. The journal is asked: it has
    /// no lock that would go when it is closed.
    fn refuses_writes(&self) -> bool {
        let opened = OpenOptions::new().write(true).open(journal_of(&self.path));
        opened.is_err_and(|error| error.kind() == io::ErrorKind::ReadOnlyFilesystem)
    }

    fn new_one(&self) -> PathBuf {
        self.beside(".new")
    }

    fn backend(&self) -> io::Result<FileBackend> {
        let file = for_the_owner().create(true).truncate(false).open(&self.path)?;
        let data = file.metadata()?;
        *self.opened.lock().unwrap_or_else(PoisonError::into_inner) = Some((data.dev(), data.ino()));
        FileBackend::new(file).map_err(io::Error::other)
    }
}

/// What lies at a place, locked so that nobody opens it.
#[derive(Debug)]
pub(super) struct Held {
    store: Option<File>,
    journal: Option<File>,
}

impl Held {
    /// Does nothing lie there?
    pub(super) fn is_empty(&self) -> bool {
        self.store.is_none() && self.journal.is_none()
    }
}

impl InDirectory {
    /// Locks what lies there: a store, its journal.
    pub(super) fn hold(&self, existing: Existing) -> Result<Held, Error> {
        let journal = journal_of(&self.path);
        // Who has it open matters more than that it is there.
        let held = Held { store: self.lock(&self.path)?, journal: self.lock(&journal)? };
        let before = self.before_restore();
        let there = match existing {
            Existing::Refuse if held.store.is_some() => Some(self.path.clone()),
            Existing::Refuse => held.journal.is_some().then_some(journal),
            Existing::KeepBeside if held.is_empty() => None,
            Existing::KeepBeside => {
                [journal_of(&before), before].into_iter().find(|path| path.symlink_metadata().is_ok())
            }
        };
        there.map_or(Ok(held), |path| Err(Error::Occupied { path: path.display().to_string() }))
    }

    /// Copies what lies there, while nobody has it open: a store, its journal.
    pub(super) fn copy_to(&self, store: &Path, journal: &Path) -> Result<(), Error> {
        let held = Held { store: self.lock(&self.path)?, journal: self.lock(&journal_of(&self.path))? };
        for (from, to) in [(&held.store, store), (&held.journal, journal)] {
            if let Some(mut from) = from.as_ref() {
                io::copy(&mut from, &mut for_the_owner().create_new(true).open(to)?)?;
            }
        }
        Ok(())
    }

    /// As redb locks it; `None`: it is not there.
    fn lock(&self, path: &Path) -> Result<Option<File>, Error> {
        let cannot = |source: io::Error| Error::Open { path: path.display().to_string(), source: source.into() };
        let file = match OpenOptions::new().read(true).write(true).open(path) {
            Ok(file) => file,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(cannot(source)),
        };
        match file.try_lock() {
            Ok(()) => Ok(Some(file)),
            Err(TryLockError::WouldBlock) => Err(Error::Locked { path: self.name() }),
            Err(TryLockError::Error(source)) => Err(cannot(source)),
        }
    }

    fn before_restore(&self) -> PathBuf {
        self.beside(".before-restore")
    }

    /// Puts the new one there. What lies there and is held stays beside it, with its journal; anything else is not replaced.
    pub(super) fn put(&self, held: &Held) -> Result<(), Error> {
        let (before, journal) = (self.before_restore(), journal_of(&self.path));
        let mut kept = Vec::new();
        // Until the old journal is gone nobody opens the new one, and writes into it.
        let _new = self.lock(&self.new_one())?;
        let put = self.put_and_keep(held, &before, &mut kept);
        if put.is_err() {
            kept.iter().for_each(|path| drop(remove(path)));
        }
        put?;
        // The new one begins an epoch of its own, in which nothing that is left of the journal counts.
        if held.journal.is_some()
            && let Err(error) = self.sync().and_then(|()| remove(&journal))
        {
            tracing::warn!(%error, "the journal of the store that was there is still in its place");
        }
        Ok(())
    }

    fn put_and_keep(&self, held: &Held, before: &Path, kept: &mut Vec<PathBuf>) -> Result<(), Error> {
        let occupied = |path: &Path| Error::Occupied { path: path.display().to_string() };
        let explain = |path: &Path, source: io::Error| match source.kind() {
            io::ErrorKind::AlreadyExists => occupied(path),
            _ => source.into(),
        };
        if let Some(mut journal) = held.journal.as_ref() {
            let copy = journal_of(before);
            // A copy, because the name may still lead the new store to the file when power goes out now.
            let mut file = for_the_owner().create_new(true).open(&copy).map_err(|source| explain(&copy, source))?;
            kept.push(copy);
            io::copy(&mut journal, &mut file)?;
            file.sync_all()?;
        }
        if held.store.is_some() {
            fs::hard_link(&self.path, before).map_err(|source| explain(before, source))?;
            kept.push(before.to_owned());
        }
        self.sync()?;
        match held.store {
            Some(_) => Ok(self.replace()?),
            None => match renameat_with(CWD, self.new_one(), CWD, &self.path, RenameFlags::NOREPLACE) {
                Err(Errno::EXIST) => Err(occupied(&self.path)),
                result => result.map_err(|source| io::Error::from(source).into()),
            },
        }
    }
}

impl Place for InDirectory {
    fn name(&self) -> String {
        self.path.display().to_string()
    }

    fn open(&self, redb: &Builder) -> Result<redb::Database, DatabaseError> {
        redb.create_with_backend(self.backend()?)
    }

    fn open_aside(&self, redb: &Builder) -> Result<redb::Database, DatabaseError> {
        let original = Original::lock(&self.path).map_err(|error| match error {
            Error::Locked { .. } => DatabaseError::DatabaseAlreadyOpen,
            error => DatabaseError::Storage(StorageError::Io(into_io(error))),
        })?;
        redb.create_with_backend(original.overlay()?)
    }

    fn n_bytes(&self) -> io::Result<u64> {
        match fs::metadata(&self.path) {
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(0),
            found => Ok(found?.len()),
        }
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
        let file = for_the_owner().create_new(true).open(self.new_one())?;
        redb.create_with_backend(FileBackend::new(file)?)
    }

    fn open_new(&self, redb: &Builder) -> Result<redb::Database, DatabaseError> {
        redb.create_with_backend(FileBackend::new(for_the_owner().open(self.new_one())?)?)
    }

    fn keep(&self, format: u32) -> io::Result<()> {
        let kept = self.beside(&format!(".format-{format}"));
        remove(&kept)?;
        fs::hard_link(&self.path, kept)
    }

    fn forget_kept(&self, before: u64) -> io::Result<()> {
        let start = self.beside(".format-");
        let Some(start) = start.file_name() else { return Ok(()) };
        for entry in fs::read_dir(self.directory())? {
            let entry = entry?;
            let name = entry.file_name();
            let number = name.as_encoded_bytes().strip_prefix(start.as_encoded_bytes());
            let is_kept = number.is_some_and(|number| !number.is_empty() && number.iter().all(u8::is_ascii_digit));
            // Its contents are older; this is when it got the name.
            if is_kept && entry.metadata()?.ctime().saturating_mul(1000).cast_unsigned() < before {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }

    fn journal(&self) -> io::Result<Box<dyn StorageBackend>> {
        let file = for_the_owner().create(true).truncate(false).open(journal_of(&self.path))?;
        // It is read once. What is read ahead in large pieces would be written in such, by the system's count.
        rustix::fs::fadvise(&file, 0, None, rustix::fs::Advice::Random)?;
        Ok(Box::new(FileBackend::new(file).map_err(io::Error::other)?))
    }

    fn journal_aside(&self) -> io::Result<Box<dyn StorageBackend>> {
        Ok(match Original::read(&journal_of(&self.path))? {
            Some(journal) => Box::new(journal.overlay()?),
            None => Box::new(InMemoryBackend::new()),
        })
    }

    fn journal_bytes(&self) -> usize {
        JOURNAL_BYTES
    }

    fn room(&self) -> io::Result<Room> {
        let stat = rustix::fs::statvfs(self.directory())?;
        Ok(Room {
            available_bytes: stat.f_bavail.saturating_mul(stat.f_frsize),
            total_bytes: stat.f_blocks.saturating_mul(stat.f_frsize),
            is_read_only: stat.f_flag.contains(rustix::fs::StatVfsMountFlags::RDONLY) || self.refuses_writes(),
        })
    }

    fn replace(&self) -> io::Result<()> {
        fs::rename(self.new_one(), &self.path)
    }

    fn discard(&self) -> io::Result<()> {
        remove(&self.new_one())
    }

    fn sync(&self) -> io::Result<()> {
        File::open(self.directory())?.sync_all()
    }
}

/// What the system said.
fn into_io(error: Error) -> io::Error {
    match error {
        Error::Open { source, .. } => source.downcast().map_or_else(io::Error::other, |source| *source),
        error => io::Error::other(error),
    }
}

/// The path of a file that belongs to the store at this one.
pub(super) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

/// The journal of the store at this path.
pub(super) fn journal_of(path: &Path) -> PathBuf {
    beside(path, ".journal")
}

pub(super) fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(()),
        result => result,
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
