//! Opens backups: a full one, or a full one and an incremental one on it, as one stream of rows.

use std::cmp::Ordering;
use std::io::{BufRead as _, BufReader, Read};

use super::record::{Counting, Entry, Raw, Reader, Record, damage};
use super::{Error, HomeFile, Manifest, OpenWith};
use crate::store::{self, Contents, OwnedRow};

/// Most memory for the window of a compressed stream, as the exponent of two. What makes them uses less.
const MAX_WINDOW: u32 = 24;

type Input<'i> =
    Reader<BufReader<zstd::Decoder<'i, BufReader<age::stream::StreamReader<BufReader<Raw<Box<dyn Read>>>>>>>>;

/// What a backup holds, all of which was read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Of the newest file.
    pub manifest: Manifest,
    /// Paths of the files.
    pub files: Vec<String>,
    /// Rows.
    pub contents: Contents,
}

/// Backups that were opened.
pub struct Chain<'i> {
    manifest: Manifest,
    files: Vec<HomeFile>,
    full: Part<'i>,
    incremental: Option<Part<'i>>,
    /// `None` when the end was compared, or something failed.
    counting: Option<Counting>,
}

impl Chain<'_> {
    /// Reads the beginnings. The first is a full backup, the second, if there is one, an incremental one on it.
    ///
    /// # Errors
    /// When they cannot be opened with `key`, are no backups or do not belong together.
    pub fn open(full: Box<dyn Read>, incremental: Option<Box<dyn Read>>, key: &OpenWith) -> Result<Self, Error> {
        let (full, full_manifest, full_files) = Part::open(full, key)?;
        if full_manifest.base.is_some() {
            return Err(Error::Chain(
                "it is an incremental backup; name the full one that it completes first, and it behind that",
            ));
        }
        let (manifest, files, incremental) = match incremental {
            None => (full_manifest, full_files, None),
            Some(input) => {
                let (incremental, manifest, files) = Part::open(input, key)?;
                if manifest.base.as_ref() != Some(&full_manifest.id) {
                    return Err(Error::Chain(
                        "the second backup does not complete the first one; its name ends with -on- and the id in the name \
                         of the one that it completes",
                    ));
                }
                (manifest, files, Some(incremental))
            }
        };
        Ok(Self { manifest, files, full, incremental, counting: Some(Counting::new()) })
    }

    /// Of the newest file.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The files of the home, of the newest file.
    #[must_use]
    pub fn files(&self) -> &[HomeFile] {
        &self.files
    }

    /// Reads everything to the last byte, and every row as the store would.
    ///
    /// # Errors
    /// When any of it is not what was written.
    pub fn verify(mut self) -> Result<Report, Error> {
        let rows = self.by_ref().map(|row| row.map_err(RowError));
        let contents = store::examine(rows).map_err(|RowError(error)| error)?;
        let files = self.files.into_iter().map(|file| file.path).collect();
        Ok(Report { manifest: self.manifest, files, contents })
    }

    fn step(&mut self) -> Result<Option<OwnedRow>, Error> {
        loop {
            let order = match (&self.full.next, self.incremental.as_ref().and_then(|part| part.next.as_ref())) {
                (None, None) => return Ok(None),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(one), Some(other)) => one.place().cmp(&other.place()),
            };
            let then = if order.is_le() { self.full.step()? } else { None };
            let changed = match &mut self.incremental {
                Some(part) if order.is_ge() => part.step()?,
                _ => None,
            };
            match (then, changed) {
                (_, Some(Entry::Row(row))) | (Some(Entry::Row(row)), None) => return Ok(Some(row)),
                (Some(_), Some(Entry::Removed { .. })) => {}
                _ => return Err(Error::Damaged("a row is said to be gone that was not there")),
            }
        }
    }

    /// Is it all of the store that it was made from?
    fn compare(&mut self) -> Result<(), Error> {
        let newest = self.incremental.as_ref().unwrap_or(&self.full);
        let whole = newest.reader.end().map(|end| &end.whole);
        let found = self.counting.take().map(Counting::end);
        if whole == found.as_ref() { Ok(()) } else { Err(Error::Damaged("it is not the store that it was made from")) }
    }
}

impl Iterator for Chain<'_> {
    type Item = Result<OwnedRow, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.counting.as_ref()?;
        match self.step() {
            Ok(Some(row)) => {
                if let Some(counting) = &mut self.counting {
                    counting.row(row.as_row());
                }
                Some(Ok(row))
            }
            Ok(None) => self.compare().err().map(Err),
            Err(error) => {
                self.counting = None;
                Some(Err(error))
            }
        }
    }
}

impl std::fmt::Debug for Chain<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Chain").field("manifest", &self.manifest).finish_non_exhaustive()
    }
}

/// What is wrong with a row, whoever found it.
struct RowError(Error);

impl From<store::Error> for RowError {
    fn from(error: store::Error) -> Self {
        Self(Error::of_rows(error))
    }
}

/// One file of it.
struct Part<'i> {
    reader: Input<'i>,
    next: Option<Entry>,
}

impl Part<'_> {
    fn open(input: Box<dyn Read>, key: &OpenWith) -> Result<(Self, Manifest, Vec<HomeFile>), Error> {
        let mut input = BufReader::new(Raw(input));
        if input.fill_buf().map_err(damage)?.is_empty() {
            return Err(Error::Empty);
        }
        let mut unpacked = zstd::Decoder::new(key.open(input)?)?;
        unpacked.window_log_max(MAX_WINDOW)?;
        let (mut reader, manifest) = Reader::new(BufReader::new(unpacked))?;
        let mut files = Vec::new();
        let next = loop {
            match reader.next()? {
                Some(Record::File(file)) => files.push(file),
                Some(Record::Entry(entry)) => break Some(entry),
                None => break None,
            }
        };
        Ok((Self { reader, next }, manifest, files))
    }

    /// The entry that comes next, after the one behind it was read.
    fn step(&mut self) -> Result<Option<Entry>, Error> {
        let after = match self.reader.next()? {
            Some(Record::Entry(entry)) => Some(entry),
            Some(Record::File(_)) => return Err(Error::Damaged("a file comes after a row")),
            None => None,
        };
        let is_rising = match (&self.next, &after) {
            (Some(one), Some(other)) => one.place() < other.place(),
            _ => true,
        };
        let entry = std::mem::replace(&mut self.next, after);
        if is_rising { Ok(entry) } else { Err(Error::Damaged("its rows are in no order")) }
    }
}
