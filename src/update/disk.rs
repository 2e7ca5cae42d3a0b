//! What the updater asks of files, so that tests can cut the power at every operation. Partitions are files, too.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

use rustix::fs::{Advice, fadvise};

use super::digest::{Hasher, Sha256};
use super::{Error, Payload};

/// So much is copied at a time.
const CHUNK_BYTES: usize = 256 * 1024;

/// How a file is opened for writing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// It is made, or emptied.
    Anew,
    /// The same, and it may be run as a program.
    Program,
    /// It is there and keeps its size: a partition, or a record that is rewritten where it lies.
    InPlace,
}

/// Somewhere to write to.
pub trait Sink: Write {
    /// Returns when the disk has everything that was written.
    ///
    /// # Errors
    /// When the disk does not take it.
    fn sync(&mut self) -> io::Result<()>;
}

/// Files. Names that were made, moved or removed are on the disk only after [`Disk::sync_directory`].
pub trait Disk: fmt::Debug + Send + Sync {
    /// Names and sizes, in bytes, of the files in a directory.
    ///
    /// # Errors
    /// When it cannot be read.
    fn list(&self, directory: &Path) -> io::Result<Vec<(String, u64)>>;

    /// Reads from the start, and what the disk has rather than what is remembered of it.
    ///
    /// # Errors
    /// When it is not there or cannot be opened.
    fn read(&self, path: &Path) -> io::Result<Box<dyn Read>>;

    /// Writes from the start.
    ///
    /// # Errors
    /// When it cannot be opened.
    fn write(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn Sink>>;

    /// Moves a file to a name where nothing is.
    ///
    /// # Errors
    /// [`io::ErrorKind::AlreadyExists`] when something is there; when the disk does not do it.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Moves a file over another one in one step. Not on FAT, which has no such step.
    ///
    /// # Errors
    /// When the disk does not do it.
    fn replace(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    ///
    /// # Errors
    /// When it is not there or the disk does not do it.
    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Returns when the names in it are on the disk.
    ///
    /// # Errors
    /// When the disk does not take them.
    fn sync_directory(&self, directory: &Path) -> io::Result<()>;
}

/// Writes exactly what `payload` names from `source`, and reads back that the disk has it.
pub(super) fn write_checked(
    disk: &dyn Disk,
    path: &Path,
    mode: Mode,
    payload: &Payload,
    what: &'static str,
    source: &mut dyn Read,
) -> Result<(), Error> {
    let mut sink = disk.write(path, mode).map_err(Error::disk("write", path))?;
    let mut hasher = Hasher::new();
    let mut left = payload.bytes;
    let mut chunk = vec![0; CHUNK_BYTES];
    while left > 0 {
        let n_bytes = source.read(&mut chunk).map_err(Error::disk("read the release for", path))?;
        let read = chunk.get(..n_bytes).unwrap_or_default();
        let n_read = u64::try_from(n_bytes).unwrap_or(u64::MAX);
        if n_read == 0 || n_read > left {
            return Err(Error::Payload { what });
        }
        left -= n_read;
        hasher.update(read);
        sink.write_all(read).map_err(Error::disk("write", path))?;
    }
    if hasher.finish() != payload.sha256 {
        return Err(Error::Payload { what });
    }
    sink.sync().map_err(Error::disk("write", path))?;
    drop(sink);
    let there = digest_of(disk, path, payload.bytes).map_err(Error::disk("read back", path))?;
    if there == Some(payload.sha256) { Ok(()) } else { Err(Error::ReadBack { path: path.to_owned() }) }
}

/// Of the first so many bytes; `None` when there are fewer.
fn digest_of(disk: &dyn Disk, path: &Path, n_bytes: u64) -> io::Result<Option<Sha256>> {
    let mut from = disk.read(path)?.take(n_bytes);
    let mut hasher = Hasher::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    let mut n_read = 0u64;
    loop {
        let n = from.read(&mut chunk)?;
        if n == 0 {
            break;
        }
        n_read = n_read.saturating_add(u64::try_from(n).unwrap_or(u64::MAX));
        hasher.update(chunk.get(..n).unwrap_or_default());
    }
    Ok((n_read == n_bytes).then(|| hasher.finish()))
}

/// Of a whole file, with its size; `None`: it is not there.
pub(super) fn payload_of(disk: &dyn Disk, path: &Path) -> Result<Option<Payload>, Error> {
    let mut from = match disk.read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        from => from.map_err(Error::disk("read", path))?,
    };
    let (mut hasher, mut bytes, mut chunk) = (Hasher::new(), 0u64, vec![0; CHUNK_BYTES]);
    loop {
        let n = from.read(&mut chunk).map_err(Error::disk("read", path))?;
        if n == 0 {
            return Ok(Some(Payload { bytes, sha256: hasher.finish() }));
        }
        bytes = bytes.saturating_add(u64::try_from(n).unwrap_or(u64::MAX));
        hasher.update(chunk.get(..n).unwrap_or_default());
    }
}

/// A small file whole; `None` when it is not there.
pub(super) fn read_small(disk: &dyn Disk, path: &Path) -> Result<Option<Vec<u8>>, Error> {
    const LIMIT_BYTES: u64 = 64 * 1024;
    let from = match disk.read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        from => from.map_err(Error::disk("read", path))?,
    };
    let mut bytes = Vec::new();
    from.take(LIMIT_BYTES).read_to_end(&mut bytes).map_err(Error::disk("read", path))?;
    Ok(Some(bytes))
}

/// Removes a file that may be gone already.
pub(super) fn remove_if_there(disk: &dyn Disk, path: &Path) -> Result<(), Error> {
    match disk.remove(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        removed => removed.map_err(Error::disk("remove", path)),
    }
}

/// The disk of the machine.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemDisk;

impl Disk for SystemDisk {
    fn list(&self, directory: &Path) -> io::Result<Vec<(String, u64)>> {
        let mut names = Vec::new();
        for entry in fs::read_dir(directory)? {
            let entry = entry?;
            let metadata = entry.metadata()?;
            // The loader does not start what has no name in Unicode either.
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                names.push((name, metadata.len()));
            }
        }
        names.sort();
        Ok(names)
    }

    fn read(&self, path: &Path) -> io::Result<Box<dyn Read>> {
        let file = File::open(path)?;
        // What was synced may be dropped from memory; then it comes from the disk.
        fadvise(&file, 0, None, Advice::DontNeed)?;
        Ok(Box::new(file))
    }

    fn write(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn Sink>> {
        let is_new = mode != Mode::InPlace;
        let file = OpenOptions::new().write(true).create(is_new).truncate(is_new).open(path)?;
        if mode == Mode::Program {
            file.set_permissions(fs::Permissions::from_mode(0o755))?;
        }
        Ok(Box::new(file))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        // Nobody else writes there, so looking first is enough.
        if to.try_exists()? {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        fs::rename(from, to)
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        File::open(directory)?.sync_all()
    }
}

impl Sink for File {
    fn sync(&mut self) -> io::Result<()> {
        self.sync_all()
    }
}
