//! The journal: what was committed since the database was last synced, in a file of its own.
//!
//! redb writes a page of every table and of every branch above it for each durable commit. So a batch is made durable
//! here, by one write behind the last one and one sync, and the database is synced when the journal is full (a
//! *checkpoint*) or closed. After a crash the database is as it was at its last checkpoint, and the journal brings it up.
//!
//! The file has a fixed length and is written with zeros when it is made, so that a sync changes nothing but data. It is
//! a row of blocks of 4096 bytes. A record is one batch; it begins a block, and zeros fill its last one: a block that was
//! synced is not written again before the next checkpoint, whatever a power cut does to the block that is being written.
//!
//! A record is a digest of what follows (16 bytes of SHA-256), the digest of the record before it or zeros, the epoch, the
//! number of the record in it from 1, the number of the last record known to be synced when it was written, the length
//! of the batch (each eight bytes, little-endian), and the batch as `log` writes it. The database knows the epoch whose
//! records it has yet to see: a checkpoint takes in those of one and begins the next, so records that are left from
//! before count for nothing. Nor does one that was written behind a record which a power cut has taken.
//!
//! The database also says from which epoch on the journal has a record, if it needs one: then a journal that was removed,
//! emptied or exchanged is missed. A database that was closed needs none, and may be moved without it.

use std::io;

use aws_lc_rs::digest;
use redb::StorageBackend;

use super::log::Log;

/// What a disk writes at once, or a multiple of it.
const BLOCK_BYTES: usize = 4096;
const DIGEST_BYTES: usize = 16;
const HEAD_BYTES: usize = 2 * DIGEST_BYTES + 4 * 8;

type Digest = [u8; DIGEST_BYTES];

/// Epochs that are fewer apart than this are of one store: the first one of each is random.
const MAX_EPOCHS_AHEAD: u64 = 1 << 32;

/// What a database says about its journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Expected {
    /// It waits for the records of this epoch.
    pub(super) epoch: u64,
    /// The journal has a record of this epoch or of a later one; 0: it need not be there.
    pub(super) needed: u64,
}

/// The open journal.
pub(super) struct Journal {
    file: Box<dyn StorageBackend>,
    n_bytes: usize,
    epoch: u64,
    /// What the database says, see [`Expected::needed`].
    needed: u64,
    /// Number of the next record.
    next: u64,
    /// Of the record before it.
    last: Digest,
    /// Where it will begin.
    at: usize,
    /// Up to and including this record everything is on the disk.
    n_synced: u64,
    /// Up to here there may be something else than zeros.
    n_used: usize,
    is_broken: bool,
    /// Is there more than [`Self::mark`] wrote?
    has_batches: bool,
    /// Kept for its memory.
    block: Vec<u8>,
}

/// Why a journal cannot be used.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unusable {
    #[error(transparent)]
    Io(#[from] io::Error),
    /// Records that were synced cannot be read, and later ones can.
    #[error("what was written last is damaged: record {record} of the journal cannot be read, later ones can")]
    Damaged { record: u64 },
    /// The database was put back.
    #[error("the journal belongs to a later state of the store: the store's file was replaced by an older one")]
    Later,
    /// The database needs one.
    #[error(
        "the store was not closed when it was last used, and the journal that belongs to it is gone, cut off, empty or \
         another store's: messages and answers that were acknowledged last may be missing; put the journal back beside \
         it, or accept the loss with `frontdesk store repair`"
    )]
    Missing,
}

impl Journal {
    /// Opens a journal, of `n_bytes` if it is new, for a database that expects this of it. Returns the batches that it
    /// must see, oldest first.
    pub(super) fn open(
        file: Box<dyn StorageBackend>,
        expected: Expected,
        n_bytes: usize,
    ) -> Result<(Self, Vec<Vec<u8>>), Unusable> {
        let Expected { epoch, needed } = expected;
        let bytes = read_all(&*file)?;
        let Scanned { batches, next, last, at, unusable } = scan(&bytes, expected, n_bytes);
        if let Some(unusable) = unusable {
            return Err(unusable);
        }
        let is_used = bytes.iter().any(|byte| *byte != 0);
        let n_bytes = if is_used { bytes.len() } else { n_bytes };
        let n_used = if is_used { n_bytes } else { 0 };
        let has_batches = batches.iter().any(|batch| !batch.is_empty());
        let (is_broken, block) = (false, Vec::new());
        let mut journal =
            Self { file, n_bytes, epoch, needed, next, last, at, n_synced: 0, n_used, is_broken, has_batches, block };
        let was = bytes.len();
        if was < n_bytes {
            journal.file.set_len(u64::try_from(n_bytes).map_err(io::Error::other)?)?;
            zero(&*journal.file, was, n_bytes)?;
        }
        // The process may have ended before it was synced.
        if was < n_bytes || !batches.is_empty() {
            journal.sync()?;
        }
        Ok((journal, batches))
    }

    /// Has anything ever been written to it?
    pub(super) fn is_used(file: &dyn StorageBackend) -> io::Result<bool> {
        Ok(records(&read_all(file)?).next().is_some())
    }

    /// The epoch of what it begins with; `None`: it holds nothing.
    pub(super) fn first_epoch(file: &dyn StorageBackend) -> io::Result<Option<u64>> {
        let bytes = read_all(file)?;
        Ok(Record::read(&bytes).filter(|record| record.number == 1).map(|record| record.epoch))
    }

    /// The batches up to where one that should have `n_bytes` cannot be used, and why it cannot. Nothing is changed.
    pub(super) fn salvage(
        file: &dyn StorageBackend,
        expected: Expected,
        n_bytes: usize,
    ) -> io::Result<(Vec<Vec<u8>>, Option<Unusable>)> {
        let Scanned { batches, unusable, .. } = scan(&read_all(file)?, expected, n_bytes);
        Ok((batches, unusable))
    }

    /// What the database is to expect after the next checkpoint, or after the last one before it is closed.
    pub(super) fn next(&self, is_last: bool) -> Expected {
        let needed = match self.n_synced {
            _ if is_last => 0,
            0 => self.needed,
            // The first record of this epoch is on the disk.
            1.. => self.epoch,
        };
        Expected { epoch: self.epoch.wrapping_add(1), needed }
    }

    /// Does the database know that it needs this journal? Otherwise nobody may be told of a batch that is only in here.
    pub(super) fn is_needed(&self) -> bool {
        self.needed != 0
    }

    /// Has anything been written since the last checkpoint?
    pub(super) fn is_empty(&self) -> bool {
        !self.has_batches
    }

    pub(super) fn is_synced(&self) -> bool {
        self.n_synced + 1 == self.next
    }

    /// Otherwise a checkpoint must take its place.
    pub(super) fn has_room_for(&self, log: &Log) -> bool {
        self.n_bytes.saturating_sub(self.at) >= blocks(HEAD_BYTES.saturating_add(log.bytes().len()))
    }

    /// Writes a batch. It survives the end of the process, and after [`Self::sync`] a power cut.
    pub(super) fn append(&mut self, log: &Log) -> io::Result<()> {
        let Self { epoch, next: number, last: before, n_synced, .. } = *self;
        let mut record = Record { digest: Digest::default(), before, epoch, number, n_synced, batch: log.bytes() };
        record.write(&mut self.block);
        let at = u64::try_from(self.at).map_err(io::Error::other)?;
        self.file.write(at, &self.block).inspect_err(|_| self.is_broken = true)?;
        self.last = record.digest;
        self.has_batches |= !log.is_empty();
        self.at += self.block.len();
        self.n_used = self.n_used.max(self.at);
        self.next += 1;
        // A long one was rare.
        self.block.truncate(0);
        self.block.shrink_to(16 * BLOCK_BYTES);
        Ok(())
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data().inspect_err(|_| self.is_broken = true)?;
        self.n_synced = self.next - 1;
        Ok(())
    }

    /// The database has everything, and expects this now.
    pub(super) fn restart(&mut self, expected: Expected) {
        (self.epoch, self.needed) = (expected.epoch, expected.needed);
        (self.next, self.at, self.n_synced) = (1, 0, 0);
        (self.last, self.is_broken, self.has_batches) = (Digest::default(), false, false);
    }

    /// Notes that an epoch has begun whose first batch the database alone has, if nothing of it is noted. Should one of
    /// both be lost, it is known.
    pub(super) fn mark(&mut self) -> io::Result<()> {
        if self.next == 1 {
            self.append(&Log::default())?;
        }
        if self.is_synced() { Ok(()) } else { self.sync() }
    }

    /// Did a write or a sync fail since the last checkpoint? Then nobody knows what is on the disk, and a checkpoint
    /// must come before the next record.
    pub(super) fn is_broken(&self) -> bool {
        self.is_broken
    }

    /// Can it be written again?
    pub(super) fn probe(&self) -> io::Result<()> {
        zero(&*self.file, self.at, self.n_bytes.min(self.at + BLOCK_BYTES))?;
        self.file.sync_data()
    }

    /// Overwrites what is left from before the last checkpoint, but for what the database needs.
    pub(super) fn wipe(&mut self) -> io::Result<()> {
        if self.is_needed() {
            self.mark()?;
        }
        zero(&*self.file, self.at, self.n_used)?;
        self.file.sync_data()?;
        (self.n_used, self.n_synced) = (self.at, self.next - 1);
        Ok(())
    }
}

/// What the bytes of a journal hold for a database that waits for the records of an epoch.
struct Scanned {
    /// Oldest first.
    batches: Vec<Vec<u8>>,
    /// Number of the next record.
    next: u64,
    /// Digest of the last one.
    last: Digest,
    /// Where the next one will begin.
    at: usize,
    /// Why that is not the end.
    unusable: Option<Unusable>,
}

fn scan(bytes: &[u8], expected: Expected, n_bytes: usize) -> Scanned {
    let Expected { epoch, needed } = expected;
    let mut scanned = Scanned { batches: Vec::new(), next: 1, last: Digest::default(), at: 0, unusable: None };
    let is_there = || records(bytes).any(|record| is_ahead(record.epoch, needed));
    // A later version whose journals are longer must know how long this one's are.
    if needed != 0 && (bytes.len() < n_bytes || !is_there()) {
        scanned.unusable = Some(Unusable::Missing);
    }
    loop {
        let rest = bytes.get(scanned.at..).unwrap_or_default();
        match Record::read(rest) {
            Some(record) if record.follows(epoch, &scanned) => {
                scanned.batches.push(record.batch.to_owned());
                (scanned.last, scanned.next) = (record.digest, scanned.next + 1);
                scanned.at += record.n_bytes();
            }
            _ => {
                let behind = check_behind(rest, epoch, scanned.next).err();
                scanned.unusable = behind.or(scanned.unusable);
                return scanned;
            }
        }
    }
}

/// Whatever stands where record `number` should: was it ever synced?
fn check_behind(bytes: &[u8], epoch: u64, number: u64) -> Result<(), Unusable> {
    for record in records(bytes) {
        if record.epoch == epoch && record.n_synced >= number {
            return Err(Unusable::Damaged { record: number });
        }
        if number == 1 && record.epoch != epoch && is_ahead(record.epoch, epoch) {
            return Err(Unusable::Later);
        }
    }
    Ok(())
}

/// Is it this epoch, or a later one of the same store?
fn is_ahead(epoch: u64, of: u64) -> bool {
    epoch.wrapping_sub(of) < MAX_EPOCHS_AHEAD
}

/// All that are whole, whatever their epoch.
fn records(bytes: &[u8]) -> impl Iterator<Item = Record<'_>> {
    (0..bytes.len()).step_by(BLOCK_BYTES).filter_map(|at| bytes.get(at..).and_then(Record::read))
}

fn read_all(file: &dyn StorageBackend) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
    file.read(0, &mut bytes)?;
    Ok(bytes)
}

struct Record<'r> {
    digest: Digest,
    before: Digest,
    epoch: u64,
    number: u64,
    n_synced: u64,
    batch: &'r [u8],
}

impl<'r> Record<'r> {
    fn read(bytes: &'r [u8]) -> Option<Self> {
        let (digest, signed) = bytes.split_first_chunk()?;
        let (before, rest) = signed.split_first_chunk()?;
        let (epoch, rest) = rest.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (n_synced, rest) = rest.split_first_chunk()?;
        let (len, rest) = rest.split_first_chunk()?;
        let batch = rest.get(..usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
        let signed = signed.get(..HEAD_BYTES - DIGEST_BYTES + batch.len())?;
        let [epoch, number, n_synced] = [epoch, number, n_synced].map(|bytes| u64::from_le_bytes(*bytes));
        let record = Self { digest: *digest, before: *before, epoch, number, n_synced, batch };
        (*digest == self::digest(signed)).then_some(record)
    }

    /// Is it the next one of a journal of this epoch that was read so far?
    fn follows(&self, epoch: u64, scanned: &Scanned) -> bool {
        (self.epoch, self.number, self.before) == (epoch, scanned.next, scanned.last)
    }

    /// With the zeros behind it.
    fn n_bytes(&self) -> usize {
        blocks(HEAD_BYTES + self.batch.len())
    }

    fn write(&mut self, block: &mut Vec<u8>) {
        block.clear();
        block.extend(Digest::default());
        block.extend(self.before);
        let len = u64::try_from(self.batch.len()).unwrap_or(u64::MAX);
        for number in [self.epoch, self.number, self.n_synced, len] {
            block.extend(number.to_le_bytes());
        }
        block.extend(self.batch);
        if let Some((digest, signed)) = block.split_first_chunk_mut::<DIGEST_BYTES>() {
            self.digest = self::digest(signed);
            *digest = self.digest;
        }
        block.resize(self.n_bytes(), 0);
    }
}

fn digest(bytes: &[u8]) -> Digest {
    let whole = digest::digest(&digest::SHA256, bytes);
    whole.as_ref().first_chunk().copied().unwrap_or_default()
}

/// So many bytes and what fills the last block.
fn blocks(n_bytes: usize) -> usize {
    n_bytes.saturating_add(BLOCK_BYTES - 1) / BLOCK_BYTES * BLOCK_BYTES
}

fn zero(file: &dyn StorageBackend, from: usize, to: usize) -> io::Result<()> {
    // By the block: what is written at once the system may keep as one, and then counts as written as one.
    let zeros = [0; BLOCK_BYTES];
    let mut at = from;
    while at < to {
        let chunk = zeros.get(..zeros.len().min(to - at)).unwrap_or_default();
        file.write(u64::try_from(at).map_err(io::Error::other)?, chunk)?;
        at += chunk.len();
    }
    Ok(())
}

impl std::fmt::Debug for Journal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Journal").field("epoch", &self.epoch).field("next", &self.next).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use redb::backends::InMemoryBackend;

    use super::*;

    const N_BYTES: usize = 64 * BLOCK_BYTES;

    /// Of a database that needs no journal.
    fn waits_for(epoch: u64) -> Expected {
        Expected { epoch, needed: 0 }
    }

    fn log(n: usize) -> Log {
        let mut log = Log::default();
        log.put(1, b"key", &vec![7; n]);
        log
    }

    /// A file with these batches; those whose flag is set were followed by a sync.
    fn journal(epoch: u64, batches: &[(usize, bool)]) -> Vec<u8> {
        let file = InMemoryBackend::new();
        let mut journal = Journal::open(Box::new(file), waits_for(epoch), N_BYTES).unwrap().0;
        for (n, is_synced) in batches {
            assert!(journal.has_room_for(&log(*n)));
            journal.append(&log(*n)).unwrap();
            if *is_synced {
                journal.sync().unwrap();
            }
        }
        contents(&journal)
    }

    fn contents(journal: &Journal) -> Vec<u8> {
        let mut bytes = vec![0; N_BYTES];
        journal.file.read(0, &mut bytes).unwrap();
        bytes
    }

    fn read(bytes: &[u8], epoch: u64) -> Result<Vec<Vec<u8>>, Unusable> {
        let file = InMemoryBackend::new();
        file.set_len(bytes.len() as u64).unwrap();
        file.write(0, bytes).unwrap();
        Journal::open(Box::new(file), waits_for(epoch), N_BYTES).map(|(_, batches)| batches)
    }

    fn batches(sizes: &[usize]) -> Vec<Vec<u8>> {
        sizes.iter().map(|n| log(*n).bytes().to_owned()).collect()
    }

    #[test]
    fn batches_are_read_in_their_order() {
        let bytes = journal(7, &[(10, true), (9000, true), (0, true)]);
        assert_eq!(read(&bytes, 7).unwrap(), batches(&[10, 9000, 0]));
    }

    #[test]
    fn those_of_an_epoch_before_count_for_nothing() {
        let bytes = journal(7, &[(10, true)]);
        assert_eq!(read(&bytes, 8).unwrap(), batches(&[]));
        assert_eq!(read(&bytes, u64::MAX / 3).unwrap(), batches(&[]));
    }

    #[test]
    fn those_of_a_later_one_are_not_passed_over() {
        let bytes = journal(9, &[(10, true)]);
        assert!(matches!(read(&bytes, 8), Err(Unusable::Later)));
    }

    #[test]
    fn what_was_not_synced_may_be_missing_in_the_middle() {
        let mut bytes = journal(7, &[(10, true), (10, false), (10, false)]);
        bytes[BLOCK_BYTES..2 * BLOCK_BYTES].fill(0);
        assert_eq!(read(&bytes, 7).unwrap(), batches(&[10]));
    }

    #[test]
    fn what_was_synced_may_not() {
        let mut bytes = journal(7, &[(10, true), (10, true), (10, false)]);
        bytes[BLOCK_BYTES + 60] ^= 1;
        assert!(matches!(read(&bytes, 7), Err(Unusable::Damaged { record: 2 })));
    }

    #[test]
    fn it_goes_on_where_it_ended_and_what_was_behind_a_lost_record_stays_lost() {
        // Records of one block each; the third is lost, and the fourth is not.
        let mut bytes = journal(7, &[(10, true), (20, true), (30, false), (40, false)]);
        bytes[2 * BLOCK_BYTES..3 * BLOCK_BYTES].fill(0);
        let file = InMemoryBackend::new();
        file.set_len(bytes.len() as u64).unwrap();
        file.write(0, &bytes).unwrap();
        let (mut journal, found) = Journal::open(Box::new(file), waits_for(7), N_BYTES).unwrap();
        assert_eq!(found, batches(&[10, 20]));
        journal.append(&log(50)).unwrap();
        assert_eq!(read(&contents(&journal), 7).unwrap(), batches(&[10, 20, 50]));
        journal.append(&log(60)).unwrap();
        journal.sync().unwrap();
        assert_eq!(read(&contents(&journal), 7).unwrap(), batches(&[10, 20, 50, 60]));
    }

    #[test]
    fn a_mark_is_no_batch_and_shows_that_the_epoch_has_begun() {
        let mut journal = Journal::open(Box::new(InMemoryBackend::new()), waits_for(6), N_BYTES).unwrap().0;
        journal.append(&log(10)).unwrap();
        journal.restart(journal.next(false));
        journal.mark().unwrap();
        assert!(journal.is_empty());
        assert_eq!(read(&contents(&journal), 7).unwrap(), [b""]);
        assert!(matches!(read(&contents(&journal), 6), Err(Unusable::Later)));
    }

    #[test]
    fn one_that_is_needed_is_missed() {
        let expects = |bytes: &[u8], needed| {
            let file = InMemoryBackend::new();
            file.set_len(bytes.len() as u64).unwrap();
            file.write(0, bytes).unwrap();
            Journal::open(Box::new(file), Expected { epoch: 9, needed }, N_BYTES).map(|(_, batches)| batches.len())
        };
        // As after a checkpoint whose mark was not written.
        let before = journal(8, &[(10, true)]);
        assert_eq!(expects(&before, 8).unwrap(), 0);
        assert_eq!(expects(&journal(9, &[(10, true)]), 8).unwrap(), 1);
        assert_eq!(expects(&[], 0).unwrap(), 0);
        for bytes in [&[][..], &vec![0; N_BYTES], &journal(7, &[(10, true)]), &journal(1 << 60, &[(10, true)])] {
            assert!(matches!(expects(bytes, 8), Err(Unusable::Missing)));
        }
        let cut_off = &journal(9, &[(10, true), (10, true)])[..BLOCK_BYTES];
        assert!(matches!(expects(cut_off, 8), Err(Unusable::Missing)));
    }

    #[test]
    fn wiped_it_is_still_there_for_a_database_that_needs_it() {
        let mut journal = Journal::open(Box::new(InMemoryBackend::new()), waits_for(7), N_BYTES).unwrap().0;
        assert!(!journal.is_needed());
        journal.mark().unwrap();
        for _ in 0..3 {
            journal.restart(journal.next(false));
            let expected = Expected { epoch: journal.epoch, needed: journal.epoch - 1 };
            assert!(journal.is_needed());
            journal.wipe().unwrap();
            let file = InMemoryBackend::new();
            file.set_len(N_BYTES as u64).unwrap();
            file.write(0, &contents(&journal)).unwrap();
            Journal::open(Box::new(file), expected, N_BYTES).unwrap();
        }
        journal.restart(journal.next(true));
        assert!(!journal.is_needed());
    }

    #[test]
    fn it_is_full_when_the_next_one_does_not_fit() {
        let mut journal = Journal::open(Box::new(InMemoryBackend::new()), waits_for(1), 3 * BLOCK_BYTES).unwrap().0;
        journal.append(&log(BLOCK_BYTES)).unwrap();
        assert!(journal.has_room_for(&log(BLOCK_BYTES / 2)));
        assert!(!journal.has_room_for(&log(BLOCK_BYTES)));
        journal.restart(journal.next(false));
        assert!(journal.is_empty() && journal.has_room_for(&log(BLOCK_BYTES)));
    }

    #[test]
    fn wiped_it_holds_nothing_of_before() {
        let mut journal = Journal::open(Box::new(InMemoryBackend::new()), waits_for(1), N_BYTES).unwrap().0;
        journal.append(&log(9000)).unwrap();
        journal.sync().unwrap();
        journal.restart(journal.next(false));
        journal.append(&log(10)).unwrap();
        journal.wipe().unwrap();
        let bytes = contents(&journal);
        assert!(bytes[BLOCK_BYTES..].iter().all(|byte| *byte == 0));
        assert_eq!(read(&bytes, 2).unwrap(), batches(&[10]));
    }

    proptest! {
        #[test]
        fn a_flipped_bit_never_makes_another_batch(
            sizes in prop::collection::vec(0..6000_usize, 1..6),
            at in any::<prop::sample::Index>(),
            bit in 0..8_u32,
        ) {
            let written: Vec<_> = sizes.iter().map(|n| (*n, true)).collect();
            let mut bytes = journal(7, &written);
            let at = at.index(bytes.len());
            bytes[at] ^= 1 << bit;
            if let Ok(found) = read(&bytes, 7) {
                let expected = batches(&sizes);
                prop_assert_eq!(&found[..], &expected[..found.len()]);
                // Only the last one may be taken for one that was cut off.
                prop_assert!(found.len() + 1 >= expected.len());
            }
        }
    }
}
