//! The values for `${NAME}` that people give to the gateway: `<home>/secrets/NAME`, mode 600. Written here, read by
//! [`crate::document::SystemVariables`]; nothing hands one out to people.

use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, lchown};
use std::path::{Path, PathBuf};

use crate::document::{MAX_SECRET_BYTES, Secret, is_variable_name, sync_directory, write_whole};

/// Longest name: file systems have a limit.
const MAX_NAME_BYTES: usize = 100;

/// Why a secret is not kept or removed. Each says what to do.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// It would not be found as a variable.
    #[error(
        "{0:?} cannot be the name of a secret; use letters, digits and `_`, at most {MAX_NAME_BYTES}, and no digit at the beginning"
    )]
    Name(String),
    /// Nothing in it counts as no value.
    #[error("the value is empty; to remove a secret, say so")]
    Empty,
    /// Larger than what is read.
    #[error("the value is longer than {MAX_SECRET_BYTES} bytes; is it the right one?")]
    TooLong,
    /// The disk or the directory refuses.
    #[error("cannot use {}: {source}; see that this user may write there and that the disk is not full", path.display())]
    Disk {
        /// File or directory.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
}

/// The secrets of a home.
#[derive(Debug)]
pub struct Secrets {
    home: PathBuf,
    directory: PathBuf,
}

impl Secrets {
    /// Those of this home. Nothing is read yet.
    #[must_use]
    pub fn of(home: &Path) -> Self {
        Self { home: home.to_owned(), directory: home.join("secrets") }
    }

    /// Their names, in order.
    ///
    /// # Errors
    /// When the directory is there and cannot be read.
    pub fn names(&self) -> Result<Vec<String>, SecretError> {
        let entries = match fs::read_dir(&self.directory) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(self.disk(source)),
        };
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        let mut names: Vec<String> = names.filter(|name| is_name(name)).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// Keeps a value under a name, in the place of the one that was there. Line ends at its end are not part of it.
    ///
    /// # Errors
    /// When it is none, or cannot be written; then the former one is there.
    pub fn set(&self, name: &str, value: &Secret) -> Result<(), SecretError> {
        let path = self.path(name)?;
        let value = value.expose().trim_end_matches(['\r', '\n']);
        if value.is_empty() {
            return Err(SecretError::Empty);
        }
        if value.len() >= MAX_SECRET_BYTES {
            return Err(SecretError::TooLong);
        }
        self.make_directory().map_err(|source| self.disk(source))?;
        // Whoever reads it takes one line end away.
        write_whole(&path, format!("{value}\n").as_bytes(), 0o600).map_err(|source| SecretError::Disk { path, source })
    }

    /// Removes one; false if there is none.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn remove(&self, name: &str) -> Result<bool, SecretError> {
        let path = self.path(name)?;
        match fs::remove_file(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
            removed => removed.map_err(|source| SecretError::Disk { path, source })?,
        }
        sync_directory(&self.directory).map_err(|source| self.disk(source))?;
        Ok(true)
    }

    fn path(&self, name: &str) -> Result<PathBuf, SecretError> {
        if is_name(name) { Ok(self.directory.join(name)) } else { Err(SecretError::Name(name.to_owned())) }
    }

    fn make_directory(&self) -> io::Result<()> {
        match DirBuilder::new().mode(0o700).create(&self.directory) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => return Ok(()),
            made => made?,
        }
        let owner = fs::metadata(&self.home)?;
        if fs::metadata(&self.directory)?.uid() != owner.uid() {
            lchown(&self.directory, Some(owner.uid()), Some(owner.gid()))?;
        }
        sync_directory(&self.home)
    }

    fn disk(&self, source: io::Error) -> SecretError {
        SecretError::Disk { path: self.directory.clone(), source }
    }
}

fn is_name(name: &str) -> bool {
    name.len() <= MAX_NAME_BYTES && is_variable_name(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;
    use crate::document::{Source, SystemVariables, Variables as _};

    #[test]
    fn what_is_kept_is_what_the_variable_stands_for_and_for_nobody_else_to_read() {
        let home = tempfile::tempdir().unwrap();
        let secrets = Secrets::of(home.path());
        assert_eq!(secrets.names().unwrap(), Vec::<String>::new());
        for value in ["one", " two\nlines ", "ends\r\n", "x"] {
            secrets.set("HOOK", &Secret::new(value)).unwrap();
            let variables = SystemVariables::new([], home.path());
            assert_eq!(variables.get("HOOK").as_deref(), Some(value.trim_end_matches(['\r', '\n'])));
            assert_eq!(variables.source("HOOK"), Some(Source::Secrets));
        }
        let mode = |name: &str| fs::metadata(home.path().join(name)).unwrap().permissions().mode() & 0o777;
        assert_eq!((mode("secrets"), mode("secrets/HOOK")), (0o700, 0o600));
        assert_eq!(secrets.names().unwrap(), ["HOOK"]);
        assert!(secrets.remove("HOOK").unwrap() && !secrets.remove("HOOK").unwrap());
    }

    #[test]
    fn what_is_no_name_or_no_value_is_refused() {
        let home = tempfile::tempdir().unwrap();
        let secrets = Secrets::of(home.path());
        for name in ["", "../A", "a/b", "1A", "A.b", "A\0", &"A".repeat(101)] {
            assert!(matches!(secrets.set(name, &Secret::new("x")), Err(SecretError::Name(_))), "{name}");
            assert!(matches!(secrets.remove(name), Err(SecretError::Name(_))), "{name}");
        }
        assert!(matches!(secrets.set("A", &Secret::new("\n")), Err(SecretError::Empty)));
        assert!(matches!(secrets.set("A", &Secret::new("x".repeat(70_000))), Err(SecretError::TooLong)));
        assert!(!home.path().join("secrets").exists());
    }
}
