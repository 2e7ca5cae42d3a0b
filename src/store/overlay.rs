//! A file that is read and never written: what is written over it stays in memory.
//!
//! redb repairs what it opens. Here it may, and the file has the same bytes afterwards.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::{self, File, TryLockError};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redb::StorageBackend;

use super::Error;

const PAGE_BYTES: u64 = 4096;

/// A file that nobody else has open, as long as this lives.
#[derive(Debug, Clone)]
pub(super) struct Original(Arc<File>);

impl Original {
    /// The store at this path.
    pub(super) fn lock(path: &Path) -> Result<Self, Error> {
        let name = || path.display().to_string();
        let cannot = |source: io::Error| Error::Open { path: name(), source: Box::new(source) };
        let file = File::open(path).map_err(cannot)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(Error::Locked { path: name() }),
            Err(TryLockError::Error(source)) => return Err(cannot(source)),
        }
        // Whoever put another one there, before this was locked, may have that one open.
        let (there, locked) = (fs::metadata(path).map_err(cannot)?, file.metadata().map_err(cannot)?);
        if (there.dev(), there.ino()) != (locked.dev(), locked.ino()) {
            return Err(Error::Locked { path: name() });
        }
        Ok(Self(Arc::new(file)))
    }

    /// A file beside it that belongs to it; `None`: there is none.
    pub(super) fn read(path: &Path) -> io::Result<Option<Self>> {
        match File::open(path) {
            Ok(file) => Ok(Some(Self(Arc::new(file)))),
            Err(source) if source.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(source) => Err(source),
        }
    }

    pub(super) fn n_bytes(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    /// What can be read of `len` bytes from `at` on, without what lies behind the end; `None`: nothing.
    pub(super) fn bytes(&self, at: u64, len: usize) -> Option<Vec<u8>> {
        let n_there = usize::try_from(self.n_bytes().ok()?.checked_sub(at)?).unwrap_or(usize::MAX).min(len);
        let mut bytes = vec![0; n_there];
        self.0.read_exact_at(&mut bytes, at).ok()?;
        (!bytes.is_empty()).then_some(bytes)
    }

    pub(super) fn overlay(&self) -> io::Result<Overlay> {
        let len = self.0.metadata()?.len();
        Ok(Overlay { file: self.0.clone(), state: Mutex::new(State { len, n_original: len, pages: BTreeMap::new() }) })
    }
}

/// See the module.
pub(super) struct Overlay {
    file: Arc<File>,
    state: Mutex<State>,
}

struct State {
    len: u64,
    /// Up to here the file counts.
    n_original: u64,
    /// What was written, by number of the page.
    pages: BTreeMap<u64, Box<[u8]>>,
}

impl Overlay {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// As it is in the file; zeros behind its end.
    fn original(&self, n_original: u64, at: u64, out: &mut [u8]) -> io::Result<()> {
        out.fill(0);
        let n_there = usize::try_from(n_original.saturating_sub(at)).unwrap_or(usize::MAX).min(out.len());
        match out.get_mut(..n_there) {
            Some(there) if n_there > 0 => self.file.read_exact_at(there, at),
            _ => Ok(()),
        }
    }
}

impl fmt::Debug for Overlay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overlay").finish_non_exhaustive()
    }
}

/// The pieces of `offset..offset + len` by pages: number of the page, where the piece begins in it, where in the whole, how
/// long it is.
fn pieces(offset: u64, len: usize) -> impl Iterator<Item = (u64, usize, usize, usize)> {
    let mut done = 0;
    std::iter::from_fn(move || {
        let at = offset + u64::try_from(done).ok()?;
        let within = at % PAGE_BYTES;
        let n = usize::try_from(PAGE_BYTES - within).ok()?.min(len - done);
        let piece = (at / PAGE_BYTES, usize::try_from(within).ok()?, done, n);
        done += n;
        (n > 0).then_some(piece)
    })
}

impl StorageBackend for Overlay {
    fn len(&self) -> io::Result<u64> {
        Ok(self.state().len)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        if offset.checked_add(out.len() as u64).is_none_or(|end| end > state.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (page, within, done, n) in pieces(offset, out.len()) {
            let Some(out) = out.get_mut(done..done + n) else { continue };
            match state.pages.get(&page).and_then(|page| page.get(within..within + n)) {
                Some(written) => out.copy_from_slice(written),
                None => self.original(state.n_original, page * PAGE_BYTES + within as u64, out)?,
            }
        }
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let mut state = self.state();
        (state.len, state.n_original) = (len, state.n_original.min(len));
        state.pages.retain(|page, _| page * PAGE_BYTES < len);
        if let Some(last) = state.pages.get_mut(&(len / PAGE_BYTES)) {
            let within = usize::try_from(len % PAGE_BYTES).map_err(io::Error::other)?;
            last.iter_mut().skip(within).for_each(|byte| *byte = 0);
        }
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let mut state = self.state();
        if offset.checked_add(data.len() as u64).is_none_or(|end| end > state.len) {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        for (page, within, done, n) in pieces(offset, data.len()) {
            if !state.pages.contains_key(&page) {
                let mut bytes = vec![0; usize::try_from(PAGE_BYTES).map_err(io::Error::other)?];
                self.original(state.n_original, page * PAGE_BYTES, &mut bytes)?;
                state.pages.insert(page, bytes.into());
            }
            let written = state.pages.get_mut(&page).and_then(|page| page.get_mut(within..within + n));
            if let (Some(to), Some(from)) = (written, data.get(done..done + n)) {
                to.copy_from_slice(from);
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn it_reads_what_was_written_over_the_file_which_stays_as_it_was(
            original in prop::collection::vec(any::<u8>(), 0..20_000),
            changes in prop::collection::vec((0..24_000_usize, prop::collection::vec(any::<u8>(), 0..9000), any::<bool>()), 0..8),
        ) {
            let mut file = tempfile::NamedTempFile::new().unwrap();
            file.write_all(&original).unwrap();
            let overlay = Original::lock(file.path()).unwrap().overlay().unwrap();
            let mut expected = original.clone();
            for (at, bytes, is_cut) in changes {
                if is_cut {
                    expected.resize(at, 0);
                    overlay.set_len(at as u64).unwrap();
                }
                let fits = at + bytes.len() <= expected.len();
                prop_assert_eq!(overlay.write(at as u64, &bytes).is_ok(), fits);
                if fits {
                    expected[at..at + bytes.len()].copy_from_slice(&bytes);
                }
                let mut found = vec![1; expected.len()];
                overlay.read(0, &mut found).unwrap();
                prop_assert!(found == expected);
                prop_assert!(overlay.read(1, &mut found).is_err() || found.is_empty());
            }
            prop_assert_eq!(fs::read(file.path()).unwrap(), original);
        }
    }
}
