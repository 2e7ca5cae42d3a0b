//! A copy of the store, for a version that is being tried and stores in another shape: the original stays as it is.

use std::fs;
use std::io;
use std::path::Path;

use super::place::{InDirectory, beside, journal_of, remove};
use super::{Error, Store};

/// Behind the name of the store.
const END: &str = ".trial";

impl Store {
    /// Opens a copy of what lies at `path`, as [`Self::open`] opens that, which nobody else may have open meanwhile. It takes as
    /// much room again, and as much once more when its format is an earlier one.
    ///
    /// # Errors
    /// As [`Self::open`]; the original is not touched.
    pub fn open_copy(path: &Path, cache_bytes: usize, wrapping_key: &[u8; 32]) -> Result<Self, Error> {
        Self::forget_copy(path)?;
        let copy = beside(path, END);
        InDirectory::new(path).copy_to(&copy, &journal_of(&copy))?;
        Self::open(&copy, cache_bytes, wrapping_key)
    }

    /// Removes what [`Self::open_copy`] made.
    ///
    /// # Errors
    /// [`Error::Storage`].
    pub fn forget_copy(path: &Path) -> Result<(), Error> {
        let copy = beside(path, END);
        let (Some(directory), Some(name)) = (copy.parent(), copy.file_name()) else { return Ok(()) };
        let directory = if directory.as_os_str().is_empty() { Path::new(".") } else { directory };
        let entries = match fs::read_dir(directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            entries => entries?,
        };
        for entry in entries {
            let entry = entry?;
            if entry.file_name().as_encoded_bytes().starts_with(name.as_encoded_bytes()) {
                remove(&entry.path())?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::SHAPE;

    const KEY: [u8; 32] = [7; 32];
    const CACHE_BYTES: usize = 1024 * 1024;

    fn names(directory: &Path) -> Vec<String> {
        let mut names: Vec<String> =
            fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn what_is_written_into_a_copy_is_not_in_the_original() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("frontdesk.redb");
        let seen = |n| crate::clock::Timestamp(n);
        let store = Store::open(&path, CACHE_BYTES, &KEY).unwrap();
        store.expire(seen(0), seen(5), None).await.unwrap();
        assert!(matches!(Store::open_copy(&path, CACHE_BYTES, &KEY), Err(Error::Locked { .. })));
        drop(store);
        let before = (fs::read(&path).unwrap(), fs::read(journal_of(&path)).unwrap(), names(directory.path()));
        let copy = Store::open_copy(&path, CACHE_BYTES, &KEY).unwrap();
        assert_eq!(copy.latest_seen().unwrap(), Some(seen(5)));
        copy.expire(seen(0), seen(9), None).await.unwrap();
        drop(copy);
        // One that was left there does not count.
        let copy = Store::open_copy(&path, CACHE_BYTES, &KEY).unwrap();
        assert_eq!(copy.latest_seen().unwrap(), Some(seen(5)));
        drop(copy);
        Store::forget_copy(&path).unwrap();
        assert_eq!((fs::read(&path).unwrap(), fs::read(journal_of(&path)).unwrap(), names(directory.path())), before);
    }

    #[test]
    fn the_shape_is_larger_than_that_of_earlier_formats() {
        const { assert!(SHAPE > 3_000) };
    }
}
