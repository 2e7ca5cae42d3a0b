//! A disk in memory that can lose power.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use redb::backends::InMemoryBackend;
use redb::{Builder, DatabaseError, StorageBackend};

use super::Store;
use crate::store::place::{Place, Room, empty_if_unfinished};
use crate::store::seal::Keyring;

/// Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    state: Arc<Mutex<State>>,
    released: Arc<Condvar>,
}

#[derive(Debug, Default)]
struct State {
    /// All that ever were; a directory names them by their place in here.
    files: Vec<Contents>,
    directory: Directory,
    /// As it was at its last sync.
    synced_directory: Directory,
    n_syncs: usize,
    n_looks: usize,
    fault: Fault,
    /// Power is out: everything fails.
    is_dead: bool,
    /// Syncs do not return.
    is_held: bool,
}

#[derive(Debug, Clone, Copy, Default, PartialEq)]
struct Directory {
    store: Option<usize>,
    new: Option<usize>,
    journal: Option<usize>,
    kept: Option<usize>,
}

#[derive(Debug, Default)]
struct Contents {
    /// What a reader sees.
    bytes: Vec<u8>,
    /// What was there at the last sync.
    synced: Vec<u8>,
    /// Since the last sync.
    writes: Vec<Write>,
}

/// An open file of a disk.
#[derive(Debug)]
struct DiskFile {
    disk: Disk,
    n: usize,
}

#[derive(Debug)]
enum Write {
    Length(usize),
    Sector(usize, Vec<u8>),
}

/// What is to go wrong.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) enum Fault {
    #[default]
    None,
    /// Power goes out in this sync, counted from 1.
    PowerCutAt(usize),
    /// The next sync fails, and only that one.
    NextSync,
    /// No room for anything beside the store.
    NoRoom,
    /// The next sync of the directory fails, and only that one.
    NextDirectorySync,
    /// Less is free than is kept for what is not new.
    Reserve,
    /// Nothing can be written.
    ReadOnly,
}

/// Which of the writes since the last sync reached the disk before power went out.
#[derive(Debug, Clone, Copy)]
pub(super) enum Survivors {
    None,
    All,
    /// Sectors whose number in order of writing leaves this remainder, divided by three.
    Third(usize),
}

const SECTOR_BYTES: usize = 512;

impl Disk {
    pub(super) fn with_fault(fault: Fault) -> Self {
        let disk = Self::default();
        disk.state().fault = fault;
        disk
    }

    /// With values as they are, so that words can be looked for in what is written.
    #[cfg(test)]
    pub(super) fn open(&self) -> Result<Store, crate::store::Error> {
        self.open_with(Keyring::plain())
    }

    /// As a gateway does.
    pub(super) fn open_sealed(&self) -> Result<Store, crate::store::Error> {
        self.open_with(Keyring::new(&[7; 32])?)
    }

    pub(super) fn open_with(&self, keyring: Keyring) -> Result<Store, crate::store::Error> {
        Store::open_at(self.clone(), keyring)
    }

    /// With this as the store's file.
    pub(super) fn holding(bytes: &[u8]) -> Self {
        let disk = Self::default();
        {
            let mut state = disk.state();
            state.files.push(Contents { bytes: bytes.to_vec(), synced: bytes.to_vec(), writes: vec![] });
            let directory = Directory { store: Some(0), ..Directory::default() };
            (state.directory, state.synced_directory) = (directory, directory);
        }
        disk
    }

    /// The disk after power came back.
    pub(super) fn after_power_cut(&self, survivors: Survivors) -> Self {
        let state = self.state();
        let survived = |contents: &Contents| {
            let mut bytes = contents.synced.clone();
            for (n, write) in contents.writes.iter().enumerate() {
                match (write, survivors) {
                    (_, Survivors::None) => {}
                    (Write::Length(len), _) => bytes.resize(*len, 0),
                    (Write::Sector(..), Survivors::Third(remainder)) if n % 3 != remainder => {}
                    (Write::Sector(at, sector), _) => bytes[*at..at + sector.len()].copy_from_slice(sector),
                }
            }
            Contents { synced: bytes.clone(), bytes, writes: vec![] }
        };
        let directory = match survivors {
            Survivors::None | Survivors::Third(1..) => state.synced_directory,
            Survivors::All | Survivors::Third(0) => state.directory,
        };
        let after = Self::default();
        {
            let mut there = after.state();
            there.files = state.files.iter().map(survived).collect();
            (there.directory, there.synced_directory) = (directory, directory);
        }
        after
    }

    /// Do these bytes stand in a file that has a name?
    pub(super) fn holds(&self, words: &str) -> bool {
        let state = self.state();
        let Directory { store, new, journal, kept } = state.directory;
        let named = [store, new, journal, kept];
        let mut files = named.into_iter().flatten().map(|n| &state.files[n].bytes);
        files.any(|bytes| bytes.windows(words.len()).any(|window| window == words.as_bytes()))
    }

    pub(super) fn has_new(&self) -> bool {
        self.state().directory.new.is_some()
    }

    pub(super) fn has_lost_power(&self) -> bool {
        self.state().is_dead
    }

    pub(super) fn set_fault(&self, fault: Fault) {
        self.state().fault = fault;
    }

    /// Syncs wait until [`Self::release`].
    pub(super) fn hold(&self) {
        self.state().is_held = true;
    }

    pub(super) fn release(&self) {
        self.state().is_held = false;
        self.released.notify_all();
    }

    pub(super) fn n_syncs(&self) -> usize {
        self.state().n_syncs
    }

    /// How often it was asked for its room.
    #[cfg(test)]
    pub(super) fn n_looks(&self) -> usize {
        self.state().n_looks
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn alive(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state();
        if state.is_dead { Err(io::Error::other("no power")) } else { Ok(state) }
    }
}

impl Disk {
    fn file(&self, n: usize) -> DiskFile {
        DiskFile { disk: self.clone(), n }
    }

    fn store(&self) -> io::Result<DiskFile> {
        let mut state = self.alive()?;
        let n = state.directory.store.unwrap_or(state.files.len());
        if n == state.files.len() {
            state.files.push(Contents::default());
            state.directory.store = Some(n);
        }
        Ok(self.file(n))
    }

    /// Of a file, or of the directory.
    fn sync(&self, file: Option<usize>) -> io::Result<()> {
        let mut state = self.alive()?;
        while state.is_held {
            state = self.released.wait(state).unwrap();
        }
        state.n_syncs += 1;
        match state.fault {
            Fault::PowerCutAt(n) if n == state.n_syncs => {
                state.is_dead = true;
                return Err(io::Error::other("no power"));
            }
            Fault::NextSync => {
                state.fault = Fault::None;
                return Err(io::Error::other("the disk is full"));
            }
            Fault::NextDirectorySync if file.is_none() => {
                state.fault = Fault::None;
                return Err(io::Error::other("the disk failed"));
            }
            Fault::None
            | Fault::PowerCutAt(_)
            | Fault::NoRoom
            | Fault::NextDirectorySync
            | Fault::Reserve
            | Fault::ReadOnly => {}
        }
        match file {
            Some(n) => {
                let contents = &mut state.files[n];
                contents.synced = contents.bytes.clone();
                contents.writes.clear();
            }
            None => state.synced_directory = state.directory,
        }
        Ok(())
    }
}

impl Place for Disk {
    fn name(&self) -> String {
        "memory".to_owned()
    }

    fn open(&self, redb: &Builder) -> Result<redb::Database, DatabaseError> {
        redb.create_with_backend(self.store()?)
    }

    fn open_aside(&self, redb: &Builder) -> Result<redb::Database, DatabaseError> {
        let state = self.alive()?;
        redb.create_with_backend(in_memory(state.directory.store.map(|n| &*state.files[n].bytes))?)
    }

    fn journal_aside(&self) -> io::Result<Box<dyn StorageBackend>> {
        let state = self.alive()?;
        Ok(Box::new(in_memory(state.directory.journal.map(|n| &*state.files[n].bytes))?))
    }

    fn keep(&self, _format: u32) -> io::Result<()> {
        let mut state = self.alive()?;
        state.directory.kept = state.directory.store;
        Ok(())
    }

    fn forget_kept(&self, _before: u64) -> io::Result<()> {
        self.alive()?.directory.kept = None;
        Ok(())
    }

    fn journal(&self) -> io::Result<Box<dyn StorageBackend>> {
        let mut state = self.alive()?;
        let n = state.directory.journal.unwrap_or(state.files.len());
        if n == state.files.len() {
            state.files.push(Contents::default());
            state.directory.journal = Some(n);
        }
        Ok(Box::new(self.file(n)))
    }

    fn room(&self) -> io::Result<Room> {
        let mut state = self.alive()?;
        state.n_looks += 1;
        let (available_bytes, is_read_only) = match state.fault {
            Fault::Reserve => (1_500_000, false),
            Fault::ReadOnly => (1_000_000_000, true),
            _ => (1_000_000_000, false),
        };
        Ok(Room { available_bytes, total_bytes: 32_000_000, is_read_only })
    }

    fn journal_bytes(&self) -> usize {
        64 * 1024
    }

    fn n_bytes(&self) -> io::Result<u64> {
        let state = self.alive()?;
        Ok(state.directory.store.map_or(0, |n| state.files[n].bytes.len() as u64))
    }

    fn is_in_place(&self) -> io::Result<bool> {
        Ok(true)
    }

    fn empty_if_unfinished(&self) -> io::Result<()> {
        empty_if_unfinished(&self.store()?)
    }

    fn begin(&self, redb: &Builder) -> Result<redb::Database, DatabaseError> {
        let mut state = self.alive()?;
        let n = state.files.len();
        state.files.push(Contents::default());
        state.directory.new = Some(n);
        drop(state);
        redb.create_with_backend(self.file(n))
    }

    fn open_new(&self, redb: &Builder) -> Result<redb::Database, DatabaseError> {
        let n = self.alive()?.directory.new.ok_or_else(|| io::Error::from(io::ErrorKind::NotFound))?;
        redb.create_with_backend(self.file(n))
    }

    fn replace(&self) -> io::Result<()> {
        let mut state = self.alive()?;
        state.directory = Directory { store: state.directory.new, new: None, ..state.directory };
        Ok(())
    }

    fn discard(&self) -> io::Result<()> {
        self.alive()?.directory.new = None;
        Ok(())
    }

    fn sync(&self) -> io::Result<()> {
        Self::sync(self, None)
    }
}

fn in_memory(bytes: Option<&[u8]>) -> io::Result<InMemoryBackend> {
    let (copy, bytes) = (InMemoryBackend::new(), bytes.unwrap_or_default());
    copy.set_len(bytes.len() as u64)?;
    copy.write(0, bytes)?;
    Ok(copy)
}

impl StorageBackend for DiskFile {
    fn len(&self) -> io::Result<u64> {
        Ok(self.disk.alive()?.files[self.n].bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        let state = self.disk.alive()?;
        let bytes = state.files[self.n].bytes.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).unwrap();
        let contents = &mut self.disk.alive()?.files[self.n];
        contents.bytes.resize(len, 0);
        contents.writes.push(Write::Length(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
        self.disk.sync(Some(self.n))
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        let mut state = self.disk.alive()?;
        if state.fault == Fault::NoRoom && state.directory.new == Some(self.n) {
            return Err(io::ErrorKind::StorageFull.into());
        }
        if state.fault == Fault::ReadOnly {
            return Err(io::ErrorKind::ReadOnlyFilesystem.into());
        }
        let contents = &mut state.files[self.n];
        contents.bytes.get_mut(at..at + data.len()).ok_or(io::ErrorKind::UnexpectedEof)?.copy_from_slice(data);
        for (n, sector) in data.chunks(SECTOR_BYTES).enumerate() {
            contents.writes.push(Write::Sector(at + n * SECTOR_BYTES, sector.to_vec()));
        }
        Ok(())
    }
}
