//! A short look at a store that nobody has open: does it look as if a start could use it? Not a byte changes, and of the
//! rows only a few are read; all of them is what `check` reads.

use std::io;
use std::path::Path;

use redb::TableHandle as _;
use redb::backends::InMemoryBackend;

use super::Error;
use super::journal::{Expected, Journal};
use super::log;
use super::overlay::Original;
use super::pages::{Commit, Pages};
use super::place::{self, InDirectory, Place as _, Room};
use super::salvage::{format_in, number_in, text};
use super::seal::Keyring;
use super::tables::{FORMAT, KEYS, Number};

/// What [`glance`] saw.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Glance {
    /// Of its keys and tables. A start brings an earlier one to this version's.
    pub format: u32,
    /// Is that this version's?
    pub is_current: bool,
    /// Is there a journal beside it? Where none is and none is needed, a start makes it.
    pub has_journal: bool,
}

/// Looks at the store at `path`; `None`: there is none yet. With a `wrapping_key` it says whether that is the store's.
///
/// # Errors
/// [`Error::Locked`] while a gateway has it open; [`Error::Open`] when it cannot be read, is damaged where this looks, or is no
/// store; [`Error::TooNew`]; [`Error::DataKey`]; [`Error::Storage`].
pub fn glance(path: &Path, wrapping_key: Option<&[u8; 32]>) -> Result<Option<Glance>, Error> {
    let cannot =
        |source: Box<dyn std::error::Error + Send + Sync>| Error::Open { path: path.display().to_string(), source };
    let journal = Original::read(&place::journal_of(path)).map_err(|source| cannot(source.into()))?;
    let journal = journal.map(|journal| journal.overlay()).transpose()?;
    let begin_anew = || match journal.as_ref().map(|journal| Journal::is_used(journal)).transpose()? {
        Some(true) => Err(cannot("it is empty or gone, and its journal is not: it was cut off or removed".into())),
        _ => Ok(None),
    };
    if path.symlink_metadata().is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return begin_anew();
    }
    let original = Original::lock(path)?;
    if original.n_bytes()? == 0 || place::empty_if_unfinished(&original.overlay()?).is_ok() {
        return begin_anew();
    }
    let pages = Pages::last(&original).filter(|pages| pages.commit == Commit::Last && !pages.is_cut());
    let pages = pages.ok_or_else(|| cannot("it is damaged, or no store of Frontdesk".into()))?;
    let Some(format) = format_in(&pages) else {
        return if pages.is_new() { begin_anew() } else { Err(cannot("it is damaged, or of another program".into())) };
    };
    if format > FORMAT {
        return Err(Error::TooNew { path: path.display().to_string(), found: format, known: FORMAT });
    }
    let (mut batches, is_current) = (Vec::new(), format == FORMAT);
    if let Some(epoch) = number_in(&pages, Number::Epoch) {
        let expected = Expected { epoch, needed: number_in(&pages, Number::Journal).unwrap_or(0) };
        let (found, unusable) = match &journal {
            Some(journal) => Journal::salvage(journal, expected, place::JOURNAL_BYTES)?,
            None => Journal::salvage(&InMemoryBackend::new(), expected, place::JOURNAL_BYTES)?,
        };
        unusable.map_or(Ok(()), |unusable| Err(cannot(unusable.into())))?;
        batches = found;
    }
    if let Some(key) = wrapping_key.filter(|_| is_current) {
        see_key(&pages, &batches, &Keyring::new(key)?)?;
    }
    Ok(Some(Glance { format, is_current, has_journal: journal.is_some() }))
}

/// Of several data keys one that opens is enough, as for a start.
fn see_key(pages: &Pages, batches: &[Vec<u8>], keyring: &Keyring) -> Result<(), Error> {
    let (mut n_keys, mut n_opened) = (0_u64, 0_u64);
    let mut note = |tenant: &[u8], key: &[u8]| {
        n_keys += 1;
        n_opened += u64::from(keyring.opens(&text(tenant), key));
    };
    pages.read(KEYS.definition.name(), |tenant, key, _| {
        note(tenant, key);
        Ok(())
    })?;
    for row in batches.iter().flat_map(|batch| log::rows(batch)).flatten().filter(|row| row.table == KEYS.number) {
        row.value.into_iter().for_each(|key| note(row.key, key));
    }
    if n_keys > 0 && n_opened == 0 { Err(Error::DataKey) } else { Ok(()) }
}

/// What is left of the disk where the store at `path` lies.
///
/// # Errors
/// [`Error::Storage`].
pub fn room(path: &Path) -> Result<Room, Error> {
    Ok(InDirectory::new(path).room()?)
}
