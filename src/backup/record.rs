//! What is in a backup, once it is decrypted and decompressed.
//!
//! ```text
//! "frontdesk-backup 1\n"
//! record …                kind (1 byte), length (4 bytes, the most significant first), body
//!   m   manifest          JSON, once, first
//!   f   file of the home  postcard: path, mode, bytes
//!   r   row               table (1), length of the key (4), key, value
//!   d   row that is gone  table (1), key; only in an incremental one
//!   e   end               JSON, once, last: counts, and the digest of all bytes before it
//! ```
//!
//! Rows come as a snapshot gives them: by table, then by key. The numbers of tables are the store's; 0 are the data keys of
//! tenants, in clear like everything here: id (16), key (32).

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read, Write};

use aws_lc_rs::digest::{Context, SHA256};
use aws_lc_rs::rand;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::Error;
use crate::store::{OwnedRow, ROWS_FORMAT, Row};

/// The version of all this, but for what rows are.
const FORMAT: u32 = 1;
const MAGIC: &[u8] = b"frontdesk-backup 1\n";
const MAGIC_OF_ANY: &[u8] = b"frontdesk-backup ";
/// No body is longer.
const MAX_BODY_BYTES: u32 = 64 * 1024 * 1024;

/// Names a backup.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Id(String);

impl Id {
    /// A new one.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn random() -> Result<Self, Error> {
        let mut bytes = [0; 16];
        rand::fill(&mut bytes).map_err(|_unspecified| io::Error::other("the system gives no random numbers"))?;
        Ok(Self(hex(&bytes)))
    }

    pub(super) fn unknown() -> Self {
        Self(String::new())
    }

    /// As it was written: 32 digits.
    pub(super) fn parse(text: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(text).ok().filter(|text| text.len() == 32)?;
        text.bytes().all(|byte| byte.is_ascii_hexdigit()).then(|| Self(text.to_owned()))
    }

    /// As many digits as a name has of it.
    #[must_use]
    pub fn short(&self) -> &str {
        self.0.get(..8).unwrap_or(&self.0)
    }

    /// All of it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What a backup says of itself.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    format: u32,
    /// The store's, of its tables and keys.
    rows: u32,
    /// Version of the program that made it.
    pub program: String,
    /// Its id.
    pub id: Id,
    /// Id of the full one that it completes; `None`: it is a full one.
    pub base: Option<Id>,
    /// When the store was as it is in it, in milliseconds since 1970.
    pub at_ms: u64,
    /// Where the configuration keeps the store, if it says so.
    pub storage_path: Option<String>,
    /// Names of the tables, by their numbers, for people.
    tables: BTreeMap<u8, String>,
}

impl Manifest {
    /// Of one that is to be made now, by this program.
    #[must_use]
    pub fn new(id: Id, base: Option<Id>, at_ms: u64, storage_path: Option<String>) -> Self {
        let tables = (0..=u8::MAX).filter_map(|number| Some((number, crate::store::table_name(number)?))).collect();
        Self {
            format: FORMAT,
            rows: ROWS_FORMAT,
            program: env!("CARGO_PKG_VERSION").to_owned(),
            id,
            base,
            at_ms,
            storage_path,
            tables,
        }
    }
}

/// A file of the home, or one that its configuration names.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct HomeFile {
    /// Relative to the home; absolute if it lies elsewhere.
    pub path: String,
    /// Its mode, as of `chmod`.
    pub mode: u32,
    /// What is in it.
    pub bytes: Vec<u8>,
}

/// Without the bytes: among them are secrets.
impl fmt::Debug for HomeFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HomeFile").field("path", &self.path).finish_non_exhaustive()
    }
}

/// What the end of a backup says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct End {
    files: u64,
    /// Rows in this file, by table.
    rows: BTreeMap<u8, u64>,
    removed: u64,
    /// All rows of the store, whichever file they are in.
    pub(super) whole: Whole,
    /// Of all bytes before.
    digest: String,
}

/// All rows of a store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Whole {
    rows: u64,
    digest: String,
}

/// Counts and digests all rows of a store.
pub(super) struct Counting {
    digest: Context,
    n_rows: u64,
}

impl Counting {
    pub(super) fn new() -> Self {
        Self { digest: Context::new(&SHA256), n_rows: 0 }
    }

    pub(super) fn row(&mut self, row: Row<'_>) {
        self.n_rows += 1;
        self.digest.update(&[row.table]);
        for bytes in [row.key, row.value] {
            self.digest.update(&(bytes.len() as u64).to_be_bytes());
            self.digest.update(bytes);
        }
    }

    pub(super) fn end(self) -> Whole {
        Whole { rows: self.n_rows, digest: hex(self.digest.finish().as_ref()) }
    }
}

/// Row or removal, in an incremental backup either.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Entry {
    Row(OwnedRow),
    Removed { table: u8, key: Vec<u8> },
}

impl Entry {
    pub(super) fn place(&self) -> (u8, &[u8]) {
        match self {
            Self::Row(row) => (row.table, &row.key),
            Self::Removed { table, key } => (*table, key),
        }
    }
}

/// What was written or read so far.
#[derive(Default)]
struct Counts {
    files: u64,
    rows: BTreeMap<u8, u64>,
    removed: u64,
}

/// Writes records.
pub(super) struct Writer<W> {
    out: W,
    digest: Context,
    counts: Counts,
}

impl<W: Write> Writer<W> {
    pub(super) fn new(out: W, manifest: &Manifest) -> Result<Self, Error> {
        let mut writer = Self { out, digest: Context::new(&SHA256), counts: Counts::default() };
        writer.write(MAGIC)?;
        writer.record(b'm', &[&json(manifest)?])?;
        Ok(writer)
    }

    pub(super) fn file(&mut self, file: &HomeFile) -> Result<(), Error> {
        self.counts.files += 1;
        let body = postcard::to_stdvec(file).map_err(|_error| Error::Damaged("a file cannot be written"))?;
        self.record(b'f', &[&body])
    }

    pub(super) fn row(&mut self, row: Row<'_>) -> Result<(), Error> {
        *self.counts.rows.entry(row.table).or_default() += 1;
        let key_len = u32::try_from(row.key.len()).map_err(|_error| Error::Damaged("a key is too long"))?;
        self.record(b'r', &[&[row.table], &key_len.to_be_bytes(), row.key, row.value])
    }

    pub(super) fn removed(&mut self, table: u8, key: &[u8]) -> Result<(), Error> {
        self.counts.removed += 1;
        self.record(b'd', &[&[table], key])
    }

    pub(super) fn end(mut self, whole: Whole) -> Result<W, Error> {
        let Counts { files, rows, removed } = std::mem::take(&mut self.counts);
        let end = End { files, rows, removed, whole, digest: hex(self.digest.clone().finish().as_ref()) };
        self.record(b'e', &[&json(&end)?])?;
        Ok(self.out)
    }

    fn record(&mut self, kind: u8, body: &[&[u8]]) -> Result<(), Error> {
        let len = body.iter().map(|piece| piece.len()).sum::<usize>();
        let len = u32::try_from(len).ok().filter(|len| *len <= MAX_BODY_BYTES);
        let len = len.ok_or(Error::Damaged("something in it is too long for a record"))?;
        self.write(&[kind])?;
        self.write(&len.to_be_bytes())?;
        body.iter().try_for_each(|piece| self.write(piece))
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), Error> {
        self.digest.update(bytes);
        Ok(self.out.write_all(bytes)?)
    }
}

fn json(value: &impl Serialize) -> Result<Vec<u8>, Error> {
    serde_json::to_vec(value).map_err(|error| Error::Stream(error.into()))
}

/// Reads records. What comes out of it counts only when the end has been read.
pub(super) struct Reader<R> {
    input: R,
    digest: Context,
    counts: Counts,
    end: Option<End>,
}

/// A record as it was read.
pub(super) enum Record {
    File(HomeFile),
    Entry(Entry),
}

impl<R: Read> Reader<R> {
    /// Reads the manifest.
    pub(super) fn new(input: R) -> Result<(Self, Manifest), Error> {
        let mut reader = Self { input, digest: Context::new(&SHA256), counts: Counts::default(), end: None };
        let magic = reader.exactly(MAGIC.len() as u64)?;
        if magic != MAGIC {
            return Err(match magic.strip_prefix(MAGIC_OF_ANY) {
                Some(format) => Error::TooNew(format!("format {}", String::from_utf8_lossy(format).trim())),
                None => Error::Damaged("it is no backup of Frontdesk"),
            });
        }
        let Some((b'm', body)) = reader.body()? else { return Err(Error::Damaged("it has no manifest")) };
        let manifest: Manifest = parse(&body)?;
        let is_known = |(number, name): (&u8, &String)| crate::store::table_name(*number).as_ref() == Some(name);
        if (manifest.format, manifest.rows) != (FORMAT, ROWS_FORMAT) || !manifest.tables.iter().all(is_known) {
            return Err(Error::TooNew(manifest.program));
        }
        Ok((reader, manifest))
    }

    /// The next one; `None` when all were read and the end says that they are all.
    pub(super) fn next(&mut self) -> Result<Option<Record>, Error> {
        if self.end.is_some() {
            return Ok(None);
        }
        let digest = self.digest.clone();
        let Some((kind, body)) = self.body()? else { return Err(Error::Damaged("it has no end")) };
        // It may be a data key.
        let body = Zeroizing::new(body);
        match kind {
            b'f' => {
                self.counts.files += 1;
                let file =
                    postcard::from_bytes(&body).map_err(|_error| Error::Damaged("a file in it cannot be read"))?;
                Ok(Some(Record::File(file)))
            }
            b'r' => {
                let row = row(&body).ok_or(Error::Damaged("a row in it cannot be read"))?;
                *self.counts.rows.entry(row.table).or_default() += 1;
                Ok(Some(Record::Entry(Entry::Row(row))))
            }
            b'd' => {
                self.counts.removed += 1;
                let (table, key) = body.split_first().ok_or(Error::Damaged("a row in it cannot be read"))?;
                Ok(Some(Record::Entry(Entry::Removed { table: *table, key: key.to_vec() })))
            }
            b'e' => {
                let end: End = parse(&body)?;
                let Counts { files, rows, removed } = &self.counts;
                let is_all = (end.files, &end.rows, end.removed) == (*files, rows, *removed);
                if !is_all || end.digest != hex(digest.finish().as_ref()) {
                    return Err(Error::Damaged("its end does not belong to what comes before"));
                }
                if self.input.read(&mut [0]).map_err(damage)? != 0 {
                    return Err(Error::Damaged("something follows its end"));
                }
                self.end = Some(end);
                Ok(None)
            }
            _ => Err(Error::Damaged("it has a record of an unknown kind")),
        }
    }

    /// What the end says, once it was read.
    pub(super) fn end(&self) -> Option<&End> {
        self.end.as_ref()
    }

    /// Kind and body of the next record; `None` where there is none.
    fn body(&mut self) -> Result<Option<(u8, Vec<u8>)>, Error> {
        let mut kind = [0];
        if self.input.read(&mut kind).map_err(damage)? == 0 {
            return Ok(None);
        }
        self.digest.update(&kind);
        let len = self.exactly(4)?;
        let len = len.try_into().map_or(0, u32::from_be_bytes);
        if len > MAX_BODY_BYTES {
            return Err(Error::Damaged("a record is too long"));
        }
        let [kind] = kind;
        Ok(Some((kind, self.exactly(u64::from(len))?)))
    }

    /// Reserves nothing for bytes that are not there.
    fn exactly(&mut self, n_bytes: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.input.by_ref().take(n_bytes).read_to_end(&mut bytes).map_err(damage)?;
        if bytes.len() as u64 != n_bytes {
            return Err(Error::Damaged("it ends in the middle"));
        }
        self.digest.update(&bytes);
        Ok(bytes)
    }
}

/// The bytes of a backup as they lie somewhere. Its errors are known again behind whatever decrypts and unpacks them.
pub(super) struct Raw<R>(pub(super) R);

impl<R: Read> Read for Raw<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|source| match source.kind() {
            io::ErrorKind::Interrupted => source,
            kind => io::Error::new(kind, Unreadable(source)),
        })
    }
}

#[derive(Debug, thiserror::Error)]
#[error(transparent)]
struct Unreadable(io::Error);

/// What can be read and does not decrypt or decompress was not written so.
pub(super) fn damage(source: io::Error) -> Error {
    match source.downcast::<Unreadable>() {
        Ok(Unreadable(source)) => Error::Stream(source),
        Err(_changed) => Error::Damaged("it was changed or cut off"),
    }
}

fn parse<T: for<'de> Deserialize<'de>>(body: &[u8]) -> Result<T, Error> {
    serde_json::from_slice(body).map_err(|_error| Error::Damaged("what it says of itself cannot be read"))
}

fn row(body: &[u8]) -> Option<OwnedRow> {
    let (table, body) = body.split_first()?;
    let (key_len, body) = body.split_first_chunk()?;
    let (key, value) = body.split_at_checked(usize::try_from(u32::from_be_bytes(*key_len)).ok()?)?;
    Some(OwnedRow { table: *table, key: key.to_vec(), value: value.to_vec() })
}
