//! Disks that forget what was not synced, when the power goes.
//!
//! There are two: `/boot` is FAT, where a name is an entry of its own, written whenever it suits, and a rename is two of them; what is on
//! `/data` has a journal, so names change in order and whole. Of content that was not synced, each piece is kept, lost, or
//! torn at a sector.

use std::collections::{BTreeMap, VecDeque};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::update::{Disk, Mode, Sink};

const SECTOR: usize = 512;
/// A write that is longer is cut into operations of this size.
const PIECE: usize = 1024;

/// Numbers that look random and come again.
#[derive(Debug)]
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0xD1B5_4A32_D192_ED03)
    }

    pub(super) fn below(&mut self, n: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 33).unwrap() % n
    }
}

#[derive(Debug, Clone, Default)]
struct Image {
    names: BTreeMap<PathBuf, u64>,
    files: BTreeMap<u64, Vec<u8>>,
}

impl Image {
    fn unlink(&mut self, path: &Path, frees: bool) {
        let Some(file) = self.names.remove(path) else { return };
        // On FAT the blocks are free for others, whoever else has them.
        if frees && self.names.values().any(|other| *other == file) {
            self.files.insert(file, vec![0xEE; 700]);
        }
    }

    fn apply(&mut self, op: &Op) {
        match op {
            Op::Write { file, at, bytes } => {
                let content = self.files.entry(*file).or_default();
                content.resize(content.len().max(at + bytes.len()), 0);
                content[*at..at + bytes.len()].copy_from_slice(bytes);
            }
            Op::Empty { file } => self.files.insert(*file, Vec::new()).map_or((), drop),
            Op::Link { path, file } => self.names.insert(path.clone(), *file).map_or((), drop),
            Op::Unlink { path, frees } => self.unlink(path, *frees),
            Op::Replace { from, to } => {
                if let Some(file) = self.names.remove(from) {
                    self.names.insert(to.clone(), file);
                }
            }
        }
    }
}

#[derive(Debug, Clone)]
enum Op {
    Write { file: u64, at: usize, bytes: Vec<u8> },
    Empty { file: u64 },
    Link { path: PathBuf, file: u64 },
    Unlink { path: PathBuf, frees: bool },
    Replace { from: PathBuf, to: PathBuf },
}

impl Op {
    fn is_of_file(&self, wanted: u64) -> bool {
        matches!(self, Self::Write { file, .. } | Self::Empty { file } if *file == wanted)
    }

    fn directory(&self) -> Option<&Path> {
        match self {
            Self::Link { path, .. } | Self::Unlink { path, .. } | Self::Replace { to: path, .. } => path.parent(),
            Self::Write { .. } | Self::Empty { .. } => None,
        }
    }

    fn has_journal(&self) -> bool {
        self.directory().is_some_and(|directory| directory.starts_with("/data"))
    }
}

#[derive(Debug, Default)]
struct Inside {
    /// What the running machine sees.
    seen: Image,
    /// What would be there without power.
    durable: Image,
    /// What is between the two.
    log: VecDeque<Op>,
    left: Option<u64>,
    n_operations: u64,
    n_files: u64,
}

impl Inside {
    fn tick(&mut self) -> io::Result<()> {
        match &mut self.left {
            Some(0) => return Err(io::Error::other("the power is off")),
            Some(left) => *left -= 1,
            None => {}
        }
        self.n_operations += 1;
        Ok(())
    }

    fn is_off(&self) -> bool {
        self.left == Some(0)
    }

    fn push(&mut self, op: Op) {
        self.log.push_back(op);
    }

    /// What `is_meant` holds for goes to the disk, in order.
    fn settle(&mut self, is_meant: impl Fn(&Op) -> bool) {
        for op in std::mem::take(&mut self.log) {
            if is_meant(&op) { self.durable.apply(&op) } else { self.log.push_back(op) }
        }
    }
}

/// All disks of a machine.
#[derive(Debug, Clone, Default)]
pub(super) struct ModelDisk(Arc<Mutex<Inside>>);

impl ModelDisk {
    fn inside(&self) -> MutexGuard<'_, Inside> {
        self.0.lock().unwrap()
    }

    /// Puts a file there, durably.
    pub(super) fn put(&self, path: &str, bytes: &[u8]) {
        let mut inside = self.inside();
        inside.n_files += 1;
        let file = inside.n_files;
        for op in [Op::Link { path: path.into(), file }, Op::Write { file, at: 0, bytes: bytes.to_vec() }] {
            inside.seen.apply(&op);
            inside.durable.apply(&op);
        }
    }

    /// What the running machine reads.
    pub(super) fn get(&self, path: &str) -> Option<Vec<u8>> {
        let inside = self.inside();
        inside.seen.names.get(Path::new(path)).map(|file| inside.seen.files.get(file).cloned().unwrap_or_default())
    }

    /// A rename whose two names lie in one sector: it happens whole or not at all.
    pub(super) fn rename_in_one_sector(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inside = self.inside();
        inside.tick()?;
        if inside.seen.names.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let op = Op::Replace { from: from.to_owned(), to: to.to_owned() };
        inside.seen.apply(&op);
        inside.push(op);
        Ok(())
    }

    /// What is where, for messages.
    pub(super) fn told(&self) -> String {
        let inside = self.inside();
        let name = |(path, file): (&PathBuf, &u64)| {
            let bytes = inside.seen.files.get(file).cloned().unwrap_or_default();
            let begin = String::from_utf8_lossy(&bytes[..bytes.len().min(60)]).replace('\0', " ");
            format!("{} (file {file}, {} bytes): {begin}\n", path.display(), bytes.len())
        };
        inside.seen.names.iter().map(name).collect()
    }

    pub(super) fn n_operations(&self) -> u64 {
        self.inside().n_operations
    }

    pub(super) fn cut_after(&self, n_operations: u64) {
        self.inside().left = Some(n_operations);
    }

    /// A cut that did not come does not come any more.
    pub(super) fn keep_power(&self) {
        self.inside().left = None;
    }

    pub(super) fn is_off(&self) -> bool {
        self.inside().is_off()
    }

    /// Shut down in order: everything is on the disk.
    pub(super) fn shut_down(&self) {
        self.inside().settle(|_| true);
    }

    /// The power went; now it is back, for good.
    pub(super) fn lose_power(&self, dice: &mut Dice) {
        let mut inside = self.inside();
        let log = std::mem::take(&mut inside.log);
        let n_journal = log.iter().filter(|op| op.has_journal()).count();
        let mut journal_left = dice.below(n_journal + 1);
        for op in log {
            if op.has_journal() {
                if journal_left > 0 {
                    journal_left -= 1;
                    inside.durable.apply(&op);
                }
                continue;
            }
            match (dice.below(3), &op) {
                (0, _) => inside.durable.apply(&op),
                (1, Op::Write { file, at, bytes }) => {
                    let kept = dice.below(bytes.len() / SECTOR + 1) * SECTOR;
                    let bytes = bytes[..kept.min(bytes.len())].to_vec();
                    inside.durable.apply(&Op::Write { file: *file, at: *at, bytes });
                }
                // A name without its first block.
                (1, Op::Link { path, .. }) => {
                    inside.n_files += 1;
                    let file = inside.n_files;
                    inside.durable.apply(&Op::Link { path: path.clone(), file });
                }
                _ => {}
            }
        }
        inside.seen = inside.durable.clone();
        inside.left = None;
    }
}

struct ModelSink {
    disk: ModelDisk,
    file: u64,
    at: usize,
}

impl Write for ModelSink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut inside = self.disk.inside();
        inside.tick()?;
        let bytes = bytes[..bytes.len().min(PIECE)].to_vec();
        let n_bytes = bytes.len();
        let op = Op::Write { file: self.file, at: self.at, bytes };
        inside.seen.apply(&op);
        inside.push(op);
        self.at += n_bytes;
        Ok(n_bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Sink for ModelSink {
    fn sync(&mut self) -> io::Result<()> {
        let mut inside = self.disk.inside();
        inside.tick()?;
        let file = self.file;
        inside.settle(|op| op.is_of_file(file));
        Ok(())
    }
}

impl Disk for ModelDisk {
    fn list(&self, directory: &Path) -> io::Result<Vec<(String, u64)>> {
        let inside = self.inside();
        if inside.is_off() {
            return Err(io::Error::other("the power is off"));
        }
        let names = inside.seen.names.iter().filter(|(path, _)| path.parent() == Some(directory));
        let size = |file| u64::try_from(inside.seen.files.get(file).map_or(0, Vec::len)).unwrap();
        Ok(names.map(|(path, file)| (path.file_name().unwrap().to_str().unwrap().to_owned(), size(file))).collect())
    }

    fn read(&self, path: &Path) -> io::Result<Box<dyn Read>> {
        if self.is_off() {
            return Err(io::Error::other("the power is off"));
        }
        let bytes = self.get(path.to_str().unwrap()).ok_or(io::ErrorKind::NotFound)?;
        Ok(Box::new(io::Cursor::new(bytes)))
    }

    fn write(&self, path: &Path, mode: Mode) -> io::Result<Box<dyn Sink>> {
        let mut inside = self.inside();
        inside.tick()?;
        let there = inside.seen.names.get(path).copied();
        let file = match (there, mode) {
            (Some(file), Mode::InPlace) => file,
            (None, Mode::InPlace) => return Err(io::ErrorKind::NotFound.into()),
            (Some(file), Mode::Anew | Mode::Program) => {
                let op = Op::Empty { file };
                inside.seen.apply(&op);
                inside.push(op);
                file
            }
            (None, Mode::Anew | Mode::Program) => {
                inside.n_files += 1;
                let file = inside.n_files;
                let op = Op::Link { path: path.to_owned(), file };
                inside.seen.apply(&op);
                inside.push(op);
                file
            }
        };
        drop(inside);
        Ok(Box::new(ModelSink { disk: self.clone(), file, at: 0 }))
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inside = self.inside();
        inside.tick()?;
        if inside.seen.names.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        let file = *inside.seen.names.get(from).ok_or(io::ErrorKind::NotFound)?;
        let ops = [Op::Link { path: to.to_owned(), file }, Op::Unlink { path: from.to_owned(), frees: false }];
        for op in ops {
            inside.seen.apply(&op);
            inside.push(op);
        }
        Ok(())
    }

    fn replace(&self, from: &Path, to: &Path) -> io::Result<()> {
        let mut inside = self.inside();
        inside.tick()?;
        assert!(to.starts_with("/data"), "FAT has no such step");
        let op = Op::Replace { from: from.to_owned(), to: to.to_owned() };
        inside.seen.apply(&op);
        inside.push(op);
        Ok(())
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        let mut inside = self.inside();
        inside.tick()?;
        if !inside.seen.names.contains_key(path) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let op = Op::Unlink { path: path.to_owned(), frees: true };
        inside.seen.apply(&op);
        inside.push(op);
        Ok(())
    }

    fn sync_directory(&self, directory: &Path) -> io::Result<()> {
        let mut inside = self.inside();
        inside.tick()?;
        inside.settle(|op| op.directory() == Some(directory));
        Ok(())
    }
}
