//! Reading a file that somebody named.

use std::fs::{self, File};
use std::io::{self, Read as _};
use std::path::Path;

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

#[cfg(test)]
mod tests {
    use super::*;

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
