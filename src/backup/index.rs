//! What the last full backup held, so that an incremental one needs only what has changed.
//!
//! A file beside the configuration: the id of the full backup, then each row as its table, its key and sixteen bytes that
//! tell values apart, in the order of a snapshot. It is read along with one, a row at a time. Keys share their beginning
//! with the key before, and only the rest is written: some 25 bytes for a row. The sixteen bytes are keyed by the
//! device, so that they say nothing of what was said. A digest of all is at the end.
//!
//! ```text
//! "frontdesk-index 1\n" id (32)
//! row …   1 table (1) shared bytes (4) further bytes (4) the further bytes, mark (16)
//! end     0 digest of all before (32)
//! ```

use std::io::{BufReader, BufWriter, Read, Write};

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::hmac;

use super::{Error, Id};
use crate::store::Row;

const MAGIC: &[u8] = b"frontdesk-index 1\n";
const MAX_KEY_BYTES: u32 = 16 * 1024 * 1024;

/// Tells values apart.
type Mark = [u8; 16];

fn mark(key: &hmac::Key, value: &[u8]) -> Mark {
    let mut mark = [0; 16];
    let tag = hmac::sign(key, value);
    mark.iter_mut().zip(tag.as_ref()).for_each(|(to, from)| *to = *from);
    mark
}

/// Writes one, while a full backup is made.
pub struct IndexWriter {
    out: BufWriter<Box<dyn Write + Send>>,
    digest: Context,
    key: hmac::Key,
    before: Vec<u8>,
}

impl IndexWriter {
    /// Of the full backup with this id. `key` is the device's.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn new(out: Box<dyn Write + Send>, id: &Id, key: &[u8; 32]) -> Result<Self, Error> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let mut writer = Self { out: BufWriter::new(out), digest: Context::new(&SHA256), key, before: Vec::new() };
        writer.write(MAGIC)?;
        writer.write(id.as_str().as_bytes())?;
        Ok(writer)
    }

    pub(super) fn row(&mut self, row: Row<'_>) -> Result<(), Error> {
        let n_shared = self.before.iter().zip(row.key).take_while(|(one, other)| one == other).count();
        let further = row.key.get(n_shared..).unwrap_or_default();
        let number = |n: usize| u32::try_from(n).unwrap_or(u32::MAX).to_be_bytes();
        self.write(&[1, row.table])?;
        self.write(&number(n_shared))?;
        self.write(&number(further.len()))?;
        self.write(further)?;
        let mark = mark(&self.key, row.value);
        self.write(&mark)?;
        self.before.truncate(n_shared);
        self.before.extend_from_slice(further);
        Ok(())
    }

    pub(super) fn end(mut self) -> Result<(), Error> {
        self.write(&[0])?;
        let digest = self.digest.clone().finish();
        self.out.write_all(digest.as_ref())?;
        Ok(self.out.flush()?)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.digest.update(bytes);
        Ok(self.out.write_all(bytes)?)
    }
}

impl std::fmt::Debug for IndexWriter {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IndexWriter").finish_non_exhaustive()
    }
}

/// Reads one, while an incremental backup is made.
pub struct IndexReader {
    input: BufReader<Box<dyn Read + Send>>,
    digest: Context,
    key: hmac::Key,
    id: Id,
    /// What was read and not yet compared.
    current: Option<(u8, Vec<u8>, Mark)>,
    before: Vec<u8>,
}

/// A row compared with the one of the full backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compared {
    /// It is the same there.
    Same,
    /// It is not there, or has another value.
    Changed,
}

impl IndexReader {
    /// Reads its beginning.
    ///
    /// # Errors
    /// [`Error::NoBase`] when it is no index.
    pub fn new(input: Box<dyn Read + Send>, key: &[u8; 32]) -> Result<Self, Error> {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        let mut reader = Self {
            input: BufReader::new(input),
            digest: Context::new(&SHA256),
            key,
            id: Id::unknown(),
            current: None,
            before: Vec::new(),
        };
        let (magic, id) = (reader.bytes(MAGIC.len())?, reader.bytes(32)?);
        reader.id = Id::parse(&id).filter(|_| magic == MAGIC).ok_or(Error::NoBase)?;
        reader.step()?;
        Ok(reader)
    }

    /// Of the full backup.
    #[must_use]
    pub fn id(&self) -> &Id {
        &self.id
    }

    /// Compares the next row of a snapshot. Rows that come before it and are there no more go to `removed`.
    pub(super) fn compare(
        &mut self,
        row: Row<'_>,
        mut removed: impl FnMut(u8, &[u8]) -> Result<(), Error>,
    ) -> Result<Compared, Error> {
        while let Some((table, key, mark_then)) = &self.current {
            match (*table, &**key).cmp(&(row.table, row.key)) {
                std::cmp::Ordering::Less => removed(*table, key)?,
                std::cmp::Ordering::Greater => return Ok(Compared::Changed),
                std::cmp::Ordering::Equal => {
                    let is_same = *mark_then == mark(&self.key, row.value);
                    self.step()?;
                    return Ok(if is_same { Compared::Same } else { Compared::Changed });
                }
            }
            self.step()?;
        }
        Ok(Compared::Changed)
    }

    /// The rows behind the last one that was compared are there no more.
    pub(super) fn end(mut self, mut removed: impl FnMut(u8, &[u8]) -> Result<(), Error>) -> Result<(), Error> {
        while let Some((table, key, _)) = &self.current {
            removed(*table, key)?;
            self.step()?;
        }
        Ok(())
    }

    fn step(&mut self) -> Result<(), Error> {
        let digest = self.digest.clone();
        self.current = None;
        match *self.bytes(1)? {
            [1] => {}
            [0] => {
                let mut whole = digest;
                whole.update(&[0]);
                let is_whole = self.bytes(32)? == whole.finish().as_ref() && self.input.read(&mut [0])? == 0;
                return if is_whole { Ok(()) } else { Err(Error::NoBase) };
            }
            _ => return Err(Error::NoBase),
        }
        let [table] = *self.bytes(1)? else { return Err(Error::NoBase) };
        let (n_shared, n_further) = (self.number()?, self.number()?);
        let further = self.bytes(n_further)?;
        let mut key = self.before.get(..n_shared).ok_or(Error::NoBase)?.to_vec();
        key.extend(further);
        let mark = self.bytes(16)?.try_into().map_err(|_bytes| Error::NoBase)?;
        self.before.clone_from(&key);
        self.current = Some((table, key, mark));
        Ok(())
    }

    fn number(&mut self) -> Result<usize, Error> {
        let bytes = self.bytes(4)?.try_into().map_err(|_bytes| Error::NoBase)?;
        let number = Some(u32::from_be_bytes(bytes)).filter(|number| *number <= MAX_KEY_BYTES);
        number.and_then(|number| usize::try_from(number).ok()).ok_or(Error::NoBase)
    }

    fn bytes(&mut self, n: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.input.by_ref().take(n as u64).read_to_end(&mut bytes)?;
        if bytes.len() != n {
            return Err(Error::NoBase);
        }
        self.digest.update(&bytes);
        Ok(bytes)
    }
}

impl std::fmt::Debug for IndexReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("IndexReader").field("id", &self.id).finish_non_exhaustive()
    }
}
