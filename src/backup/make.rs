//! Makes a backup: rows in, one encrypted stream out.

use std::io::{self, BufWriter, Write};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use aws_lc_rs::digest::{Context, SHA256};

use super::index::Compared;
use super::record::{Counting, Writer};
use super::{Error, HomeFile, IndexReader, IndexWriter, Manifest, SealWith};
use crate::store::Snapshot;

/// At three, chats take a third of their size; more costs a small computer more time than it saves room.
const LEVEL: i32 = 3;

/// Which rows are written.
#[derive(Debug)]
pub enum Against {
    /// All of them.
    Nothing,
    /// All of them, and an index for incremental ones that may follow.
    Noting(IndexWriter),
    /// Those that are not as in the full backup of this index.
    Base(IndexReader),
}

/// How far it is, for those who wait; and a way to end it.
#[derive(Debug, Default)]
pub struct Progress {
    /// Rows that were looked at.
    pub n_rows: AtomicU64,
    /// Bytes that were written.
    pub n_bytes: AtomicU64,
    /// Ends it at the next row.
    pub is_stopped: AtomicBool,
}

/// What was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Made {
    /// Rows of the store.
    pub n_rows: u64,
    /// Rows that are in it, or are said in it to be gone.
    pub n_written: u64,
    /// Files of the home in it.
    pub n_files: u64,
    /// Bytes of it.
    pub n_bytes: u64,
    /// Of these bytes.
    pub digest: [u8; 32],
    /// Is there an index of it?
    pub is_noted: bool,
}

/// Writes a backup to `out`, which is to be finished by the caller.
///
/// # Errors
/// When something cannot be read or written, or somebody stopped it. What is in `out` then is no backup.
pub fn make<W: Write>(
    out: W,
    key: &SealWith,
    manifest: &Manifest,
    files: &[HomeFile],
    snapshot: &Snapshot,
    against: Against,
    progress: &Progress,
) -> Result<(W, Made), Error> {
    let out = Counted { out, digest: Context::new(&SHA256), n_bytes: 0, progress };
    let packed = zstd::Encoder::new(key.seal(out)?, LEVEL)?;
    let mut writer = Writer::new(BufWriter::with_capacity(64 * 1024, packed), manifest)?;
    files.iter().try_for_each(|file| writer.file(file))?;
    let (mut counting, mut n_written, mut against) = (Counting::new(), 0, against);
    snapshot.rows(|row| {
        if progress.is_stopped.load(Ordering::Relaxed) {
            return Err(Error::Stopped);
        }
        progress.n_rows.fetch_add(1, Ordering::Relaxed);
        counting.row(row);
        let compared = match &mut against {
            Against::Nothing => Compared::Changed,
            Against::Noting(index) => {
                // The home's disk may be full: one more reason for a backup.
                if let Err(error) = index.row(row) {
                    tracing::warn!(%error, "the next backup will be a full one: what is in this one cannot be noted");
                    against = Against::Nothing;
                }
                Compared::Changed
            }
            Against::Base(index) => index.compare(row, |table, key| {
                n_written += 1;
                writer.removed(table, key)
            })?,
        };
        if compared == Compared::Changed {
            n_written += 1;
            writer.row(row)?;
        }
        Ok::<_, Error>(())
    })?;
    let is_noted = match against {
        Against::Nothing => false,
        Against::Noting(index) => index.end().is_ok(),
        Against::Base(index) => {
            index.end(|table, key| {
                n_written += 1;
                writer.removed(table, key)
            })?;
            false
        }
    };
    let packed = writer.end(counting.end())?.into_inner().map_err(io::IntoInnerError::into_error)?;
    let Counted { out, digest, n_bytes, .. } = packed.finish()?.finish()?;
    let mut made = Made {
        n_rows: progress.n_rows.load(Ordering::Relaxed),
        n_written,
        n_files: files.len() as u64,
        n_bytes,
        digest: [0; 32],
        is_noted,
    };
    made.digest.iter_mut().zip(digest.finish().as_ref()).for_each(|(to, from)| *to = *from);
    Ok((out, made))
}

/// Counts and digests what goes through.
struct Counted<'p, W> {
    out: W,
    digest: Context,
    n_bytes: u64,
    progress: &'p Progress,
}

impl<W: Write> Write for Counted<'_, W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let n = self.out.write(bytes)?;
        self.digest.update(bytes.get(..n).unwrap_or_default());
        self.n_bytes += n as u64;
        self.progress.n_bytes.store(self.n_bytes, Ordering::Relaxed);
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
