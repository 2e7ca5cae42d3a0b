//! Reading a file that somebody named, and writing one whole.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _, PermissionsExt as _, fchown};
use std::path::Path;

use rustix::fs::{CWD, RenameFlags, renameat_with};
use rustix::io::Errno;

/// The bytes of a regular file, and no more than `limit_bytes` of them: whoever refuses more asks for one more.
///
/// # Errors
/// When it cannot be read, or is a directory, a pipe or a device.
pub fn read_at_most(path: &Path, limit_bytes: usize) -> io::Result<Vec<u8>> {
    // Asked before it is opened: a pipe would wait for somebody to write into it.
    if !fs::metadata(path)?.is_file() {
        return Err(io::Error::other("it is not a file"));
    }
    let mut bytes = Vec::new();
    // A limit of this size fits every integer.
    File::open(path)?.take(u64::try_from(limit_bytes).unwrap_or(u64::MAX)).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Puts a file in place whole: whoever reads the name, also after a power cut, finds the old content or the new.
///
/// It belongs to whom the directory belongs to: what root repairs, the gateway must still be able to read.
///
/// # Errors
/// When it cannot be written; then the old one is untouched.
pub fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    write_beside(path, "new", bytes, mode, |beside| fs::rename(beside, path))
}

/// Like [`write_whole`], where nothing is yet: of several that do it at once, also in other processes, one does it.
///
/// # Errors
/// [`io::ErrorKind::AlreadyExists`] when something is there; when it cannot be written.
pub fn write_first(path: &Path, bytes: &[u8], mode: u32) -> io::Result<()> {
    let of_process = format!("{}.new", std::process::id());
    write_beside(path, &of_process, bytes, mode, |beside| {
        match renameat_with(CWD, beside, CWD, path, RenameFlags::NOREPLACE) {
            // Not every file system knows this; then whoever comes last wins.
            Err(Errno::INVAL | Errno::NOSYS | Errno::OPNOTSUPP) if !path.try_exists()? => fs::rename(beside, path),
            result => Ok(result?),
        }
    })
}

/// Writes a file beside `path`, with `suffix` at the end of its name, and has it put in place.
fn write_beside(
    path: &Path,
    suffix: &str,
    bytes: &[u8],
    mode: u32,
    put: impl FnOnce(&Path) -> io::Result<()>,
) -> io::Result<()> {
    let directory = path.parent().ok_or_else(|| io::Error::other("it has no directory"))?;
    let name = path.file_name().ok_or_else(|| io::Error::other("it has no name"))?;
    let beside = directory.join(format!(".{}.{suffix}", name.to_string_lossy()));
    // What an earlier try left there keeps its mode otherwise.
    match fs::remove_file(&beside) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
    let written = (|| {
        file.set_permissions(Permissions::from_mode(mode))?;
        let owner = fs::metadata(directory)?;
        if file.metadata()?.uid() != owner.uid() {
            fchown(&file, Some(owner.uid()), Some(owner.gid()))?;
        }
        file.write_all(bytes)?;
        file.sync_all()?;
        put(&beside)?;
        sync_directory(directory)
    })();
    if written.is_err() {
        // The disk is full: it need not hold half a file as well.
        let _ = fs::remove_file(&beside);
    }
    written
}

/// A new, moved or removed name is on the disk only once its directory is.
///
/// # Errors
/// When the disk does not take it.
pub fn sync_directory(directory: &Path) -> io::Result<()> {
    File::open(directory)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_whole_or_not_at_all() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.toml");
        write_whole(&path, b"one", 0o600).unwrap();
        fs::write(directory.path().join(".a.toml.new"), "left behind").unwrap();
        write_whole(&path, b"two", 0o640).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o640);
        fs::create_dir(directory.path().join("d")).unwrap();
        assert!(write_whole(&directory.path().join("d"), b"three", 0o600).is_err());
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 2, "nothing is left beside");
    }

    #[test]
    fn a_first_file_is_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a.key");
        write_first(&path, b"one", 0o600).unwrap();
        assert_eq!(write_first(&path, b"two", 0o600).unwrap_err().kind(), io::ErrorKind::AlreadyExists);
        assert_eq!(fs::read(&path).unwrap(), b"one");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "nothing is left beside");
    }

    #[test]
    fn a_regular_file_is_read_up_to_the_limit() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "text").unwrap();
        assert_eq!(read_at_most(file.path(), 5).unwrap(), b"text");
        assert_eq!(read_at_most(file.path(), 2).unwrap(), b"te");
    }

    #[test]
    fn anything_else_is_not_opened() {
        for path in [Path::new("/dev/zero"), Path::new("/")] {
            assert_eq!(read_at_most(path, 2).unwrap_err().to_string(), "it is not a file", "{}", path.display());
        }
        assert_eq!(read_at_most(Path::new("/nonexistent"), 2).unwrap_err().kind(), io::ErrorKind::NotFound);
    }
}
