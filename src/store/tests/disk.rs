//! A disk in memory that can lose power.

use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};

use redb::StorageBackend;

use super::Store;

/// Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub(super) struct Disk {
    state: Arc<Mutex<State>>,
    released: Arc<Condvar>,
}

#[derive(Debug, Default)]
struct State {
    /// What a reader sees.
    bytes: Vec<u8>,
    /// What was there at the last sync.
    synced: Vec<u8>,
    /// Since the last sync.
    writes: Vec<Write>,
    n_syncs: usize,
    fault: Fault,
    /// Power is out: everything fails.
    is_dead: bool,
    /// Syncs do not return.
    is_held: bool,
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

    pub(super) fn open(&self) -> Result<Store, crate::store::Error> {
        let disk = self.clone();
        Store::open_backend(move || Ok(disk.clone()))
    }

    /// The disk after power came back.
    pub(super) fn after_power_cut(&self, survivors: Survivors) -> Self {
        let state = self.state();
        let mut bytes = state.synced.clone();
        for (n, write) in state.writes.iter().enumerate() {
            match (write, survivors) {
                (_, Survivors::None) => {}
                (Write::Length(len), _) => bytes.resize(*len, 0),
                (Write::Sector(..), Survivors::Third(remainder)) if n % 3 != remainder => {}
                (Write::Sector(at, sector), _) => bytes[*at..at + sector.len()].copy_from_slice(sector),
            }
        }
        let after = Self::default();
        after.state().synced.clone_from(&bytes);
        after.state().bytes = bytes;
        after
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

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }

    fn alive(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.state();
        if state.is_dead { Err(io::Error::other("no power")) } else { Ok(state) }
    }
}

impl StorageBackend for Disk {
    fn len(&self) -> io::Result<u64> {
        Ok(self.alive()?.bytes.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        let state = self.alive()?;
        let bytes = state.bytes.get(at..at + out.len()).ok_or(io::ErrorKind::UnexpectedEof)?;
        out.copy_from_slice(bytes);
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        let len = usize::try_from(len).unwrap();
        let mut state = self.alive()?;
        state.bytes.resize(len, 0);
        state.writes.push(Write::Length(len));
        Ok(())
    }

    fn sync_data(&self) -> io::Result<()> {
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
            Fault::None | Fault::PowerCutAt(_) => {}
        }
        state.synced = state.bytes.clone();
        state.writes.clear();
        Ok(())
    }

    fn write(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let at = usize::try_from(offset).unwrap();
        let mut state = self.alive()?;
        state.bytes.get_mut(at..at + data.len()).ok_or(io::ErrorKind::UnexpectedEof)?.copy_from_slice(data);
        for (n, sector) in data.chunks(SECTOR_BYTES).enumerate() {
            state.writes.push(Write::Sector(at + n * SECTOR_BYTES, sector.to_vec()));
        }
        Ok(())
    }
}
