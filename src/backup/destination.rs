//! Where backups go and come from: a directory, or a bucket.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::s3::{Bucket, Client};
use super::{Error, Name, S3};
use crate::document::sync_directory;

/// What is being written. Without [`Self::finish`] nothing of it stays.
pub trait Sink: Write {
    /// It is complete: gives it its name, on the disk or in the bucket when this returns.
    ///
    /// # Errors
    /// When it is not there.
    fn finish(self: Box<Self>) -> Result<(), Error>;
}

/// Where backups go.
#[derive(Debug, Clone)]
pub enum Destination {
    /// A directory, which must be there: a stick that is not plugged in is not made up for by the card.
    Directory(PathBuf),
    /// A bucket, and the beginning of names in it.
    Bucket(Box<Bucket>),
}

impl Destination {
    /// A path, relative to `home`, or `s3://bucket/prefix`.
    ///
    /// # Errors
    /// [`Error::Place`].
    pub fn parse(text: &str, home: &Path, s3: Option<&S3>, client: &Client) -> Result<Self, Error> {
        match text.strip_prefix("s3://") {
            None => Ok(Self::Directory(home.join(text))),
            Some(rest) => {
                let (bucket, prefix) = rest.split_once('/').unwrap_or((rest, ""));
                let s3 = s3.ok_or_else(|| {
                    Error::Place(
                        "where the bucket is, is not known; set backup.s3_endpoint, s3_access_key and s3_secret_key"
                            .to_owned(),
                    )
                })?;
                Ok(Self::Bucket(Box::new(client.bucket(bucket, prefix, s3)?)))
            }
        }
    }

    /// Begins to write one.
    ///
    /// # Errors
    /// When it cannot be made, or is there already.
    pub fn create(&self, name: &str) -> Result<Box<dyn Sink>, Error> {
        match self {
            Self::Directory(directory) => Ok(Box::new(InDirectory::create(directory, name)?)),
            Self::Bucket(bucket) => Ok(Box::new(bucket.create(name))),
        }
    }

    /// Reads one.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    pub fn read(&self, name: &str) -> Result<Box<dyn Read + Send>, Error> {
        match self {
            Self::Directory(directory) => {
                let path = directory.join(name);
                let shown = path.display().to_string();
                // Asked before it is opened: a pipe would wait for somebody to write into it.
                match fs::metadata(&path) {
                    Err(error) if is_missing(&error) => Err(Error::NotThere { path: shown }),
                    Ok(data) if !data.is_file() => Err(Error::NotAFile { path: shown }),
                    _ => Ok(Box::new(File::open(&path).map_err(|source| disk(&path, source))?)),
                }
            }
            Self::Bucket(bucket) => Ok(Box::new(bucket.read(name)?)),
        }
    }

    /// The backups that are there.
    ///
    /// # Errors
    /// When it cannot be looked at.
    pub fn list(&self) -> Result<Vec<Name>, Error> {
        Ok(self.list_sized()?.into_iter().map(|(name, _)| name).collect())
    }

    /// The same with their bytes.
    ///
    /// # Errors
    /// As [`Self::list`].
    pub fn list_sized(&self) -> Result<Vec<(Name, u64)>, Error> {
        match self {
            Self::Directory(directory) => {
                let error = |source| disk(directory, source);
                let mut names = Vec::new();
                for entry in fs::read_dir(directory).map_err(error)? {
                    let entry = entry.map_err(error)?;
                    let name = entry.file_name().to_str().and_then(Name::parse);
                    // One that goes meanwhile has no size any more.
                    names.extend(name.map(|name| (name, entry.metadata().map_or(0, |data| data.len()))));
                }
                Ok(names)
            }
            Self::Bucket(bucket) => bucket.list(),
        }
    }

    /// Removes one.
    ///
    /// # Errors
    /// When it cannot be removed.
    pub fn remove(&self, name: &Name) -> Result<(), Error> {
        match self {
            Self::Directory(directory) => {
                let path = directory.join(name.to_string());
                fs::remove_file(&path).map_err(|source| disk(&path, source))
            }
            Self::Bucket(bucket) => bucket.remove(&name.to_string()),
        }
    }

    /// Removes what this box began to write here and never finished. Nobody else may write for it.
    ///
    /// # Errors
    /// When it cannot be looked at or removed.
    pub fn remove_unfinished(&self, device: &str) -> Result<(), Error> {
        // A bucket shows nothing that was not finished; its owner lets such pieces expire.
        let Self::Directory(directory) = self else { return Ok(()) };
        let error = |source| disk(directory, source);
        for entry in fs::read_dir(directory).map_err(error)? {
            let name = entry.map_err(error)?.file_name();
            let own = name.to_str().and_then(|name| name.strip_suffix(PARTIAL)).and_then(Name::parse);
            if own.is_some_and(|own| own.device == device) {
                fs::remove_file(directory.join(name)).map_err(error)?;
            }
        }
        Ok(())
    }

    /// The directory, if it is one.
    #[must_use]
    pub fn directory(&self) -> Option<&Path> {
        match self {
            Self::Directory(directory) => Some(directory),
            Self::Bucket(_) => None,
        }
    }

    /// For people: where a backup of this name is.
    #[must_use]
    pub fn show(&self, name: &str) -> String {
        match self {
            Self::Directory(directory) => directory.join(name).display().to_string(),
            Self::Bucket(bucket) => bucket.show(name),
        }
    }
}

/// One backup, wherever it is.
#[derive(Debug, Clone)]
pub struct Place {
    /// What it lies in.
    pub destination: Destination,
    /// Its name there.
    pub name: String,
}

impl Place {
    /// The path of a file, or `s3://bucket/name`.
    ///
    /// # Errors
    /// [`Error::Place`].
    pub fn parse(text: &str, s3: Option<&S3>, client: &Client) -> Result<Self, Error> {
        let (directory, name) = text.rsplit_once('/').unwrap_or((".", text));
        if name.is_empty() {
            return Err(Error::Place(format!(
                "{text:?} names no file; write the path of a backup, or s3://bucket/name"
            )));
        }
        let directory = if directory.is_empty() { "/" } else { directory };
        let destination = Destination::parse(directory, Path::new("."), s3, client)?;
        Ok(Self { destination, name: name.to_owned() })
    }

    /// Reads it.
    ///
    /// # Errors
    /// When it is not there or cannot be read.
    pub fn read(&self) -> Result<Box<dyn Read + Send>, Error> {
        self.destination.read(&self.name)
    }
}

/// Is there nothing of this name?
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

pub(super) fn disk(path: &Path, source: io::Error) -> Error {
    Error::Disk { path: path.display().to_string(), source }
}

const PARTIAL: &str = ".partial";

/// A file that gets its name when it is complete.
struct InDirectory {
    file: File,
    partial: PathBuf,
    path: PathBuf,
}

impl InDirectory {
    fn create(directory: &Path, name: &str) -> Result<Self, Error> {
        let (path, partial) = (directory.join(name), directory.join(format!("{name}{PARTIAL}")));
        if path.symlink_metadata().is_ok() {
            return Err(Error::Taken { path: path.display().to_string() });
        }
        let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&partial);
        let file = file.map_err(|source| disk(&partial, source))?;
        Ok(Self { file, partial, path })
    }
}

impl Write for InDirectory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl Sink for InDirectory {
    fn finish(self: Box<Self>) -> Result<(), Error> {
        let error = |source| disk(&self.path, source);
        self.file.sync_all().map_err(error)?;
        fs::rename(&self.partial, &self.path).map_err(error)?;
        self.path.parent().map_or(Ok(()), sync_directory).map_err(error)
    }
}

impl Drop for InDirectory {
    fn drop(&mut self) {
        // What was finished has another name by now.
        let _ = fs::remove_file(&self.partial);
    }
}
