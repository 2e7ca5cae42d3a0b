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
//! A record is a digest of what follows (16 bytes of SHA-256), the epoch, the number of the record in it from 1, the
//! number of the last record known to be synced when it was written, the length of the batch (each eight bytes,
//! little-endian), and the batch as `log` writes it. The database knows the epoch whose records it has yet to see: a
//! checkpoint takes in those of one and begins the next, so records that are left from before count for nothing.

use std::io;

use aws_lc_rs::digest;
use redb::StorageBackend;

use super::log::Log;

/// What a disk writes at once, or a multiple of it.
const BLOCK_BYTES: usize = 4096;
const DIGEST_BYTES: usize = 16;
const HEAD_BYTES: usize = DIGEST_BYTES + 4 * 8;
/// A database that is older than its journal by fewer checkpoints than this was put in the place of a later one.
const MAX_EPOCHS_AHEAD: u64 = 1 << 32;

/// The open journal.
pub(super) struct Journal {
    file: Box<dyn StorageBackend>,
    n_bytes: usize,
    epoch: u64,
    /// Number of the next record.
    next: u64,
    /// Where it will begin.
    at: usize,
    /// Up to and including this record everything is on the disk.
    n_synced: u64,
    /// Up to here there may be something else than zeros.
    n_used: usize,
    /// Kept for its memory.
    block: Vec<u8>,
}

/// What a journal is found to hold.
#[derive(Debug)]
pub(super) struct Found {
    /// Batches that the database has yet to see, oldest first.
    pub(super) batches: Vec<Vec<u8>>,
    /// Is there anything but zeros?
    is_used: bool,
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
}

impl Journal {
    /// Reads what the file holds for a database of this epoch. Nothing is changed: [`Self::restart`] comes next.
    pub(super) fn read(file: &dyn StorageBackend, epoch: u64) -> Result<Found, Unusable> {
        match Self::salvage(file, epoch)? {
            (_, Some(unusable)) => Err(unusable),
            (found, None) => Ok(found),
        }
    }

    /// The same up to where it cannot be used, and why it cannot.
    pub(super) fn salvage(file: &dyn StorageBackend, epoch: u64) -> io::Result<(Found, Option<Unusable>)> {
        let mut bytes = vec![0; usize::try_from(file.len()?).map_err(io::Error::other)?];
        file.read(0, &mut bytes)?;
        let (mut batches, mut rest, mut unusable) = (Vec::new(), &*bytes, None);
        for number in 1_u64.. {
            let Some(record) = Record::read(rest).filter(|record| (record.epoch, record.number) == (epoch, number))
            else {
                unusable = check_behind(rest, epoch, number).err();
                break;
            };
            batches.push(record.batch.to_owned());
            rest = rest.get(record.n_bytes()..).unwrap_or_default();
        }
        Ok((Found { batches, is_used: bytes.iter().any(|byte| *byte != 0) }, unusable))
    }

    /// A journal of `n_bytes` for a database that knows everything up to `epoch`.
    pub(super) fn start(file: Box<dyn StorageBackend>, found: &Found, n_bytes: usize, epoch: u64) -> io::Result<Self> {
        let was = usize::try_from(file.len()?).map_err(io::Error::other)?;
        if was != n_bytes {
            file.set_len(u64::try_from(n_bytes).map_err(io::Error::other)?)?;
            zero(&*file, was.min(n_bytes), n_bytes)?;
            file.sync_data()?;
        }
        let n_used = if found.is_used { n_bytes } else { 0 };
        Ok(Self { file, n_bytes, epoch, next: 1, at: 0, n_synced: 0, n_used, block: Vec::new() })
    }

    /// The epoch that the next checkpoint begins.
    pub(super) fn next_epoch(&self) -> u64 {
        self.epoch.wrapping_add(1)
    }

    /// Has anything been written since the last checkpoint?
    pub(super) fn is_empty(&self) -> bool {
        self.at == 0
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
        Record { epoch: self.epoch, number: self.next, n_synced: self.n_synced, batch: log.bytes() }
            .write(&mut self.block);
        self.file.write(u64::try_from(self.at).map_err(io::Error::other)?, &self.block)?;
        self.at += self.block.len();
        self.n_used = self.n_used.max(self.at);
        self.next += 1;
        // A long one was rare.
        self.block.truncate(0);
        self.block.shrink_to(16 * BLOCK_BYTES);
        Ok(())
    }

    pub(super) fn sync(&mut self) -> io::Result<()> {
        self.file.sync_data()?;
        self.n_synced = self.next - 1;
        Ok(())
    }

    /// The database has everything, and knows it.
    pub(super) fn restart(&mut self) {
        (self.epoch, self.next, self.at, self.n_synced) = (self.next_epoch(), 1, 0, 0);
    }

    /// Overwrites what is left from before the last checkpoint.
    pub(super) fn wipe(&mut self) -> io::Result<()> {
        zero(&*self.file, self.at, self.n_used)?;
        self.file.sync_data()?;
        (self.n_used, self.n_synced) = (self.at, self.next - 1);
        Ok(())
    }
}

/// Whatever stands where record `number` should: was it ever synced?
fn check_behind(bytes: &[u8], epoch: u64, number: u64) -> Result<(), Unusable> {
    for block in (0..bytes.len()).step_by(BLOCK_BYTES) {
        let Some(record) = bytes.get(block..).and_then(Record::read) else { continue };
        if record.epoch == epoch && record.n_synced >= number {
            return Err(Unusable::Damaged { record: number });
        }
        if number == 1 && (1..MAX_EPOCHS_AHEAD).contains(&record.epoch.wrapping_sub(epoch)) {
            return Err(Unusable::Later);
        }
    }
    Ok(())
}

struct Record<'r> {
    epoch: u64,
    number: u64,
    n_synced: u64,
    batch: &'r [u8],
}

impl<'r> Record<'r> {
    fn read(bytes: &'r [u8]) -> Option<Self> {
        let (digest, signed) = bytes.split_first_chunk::<DIGEST_BYTES>()?;
        let (epoch, rest) = signed.split_first_chunk()?;
        let (number, rest) = rest.split_first_chunk()?;
        let (n_synced, rest) = rest.split_first_chunk()?;
        let (len, rest) = rest.split_first_chunk()?;
        let batch = rest.get(..usize::try_from(u64::from_le_bytes(*len)).ok()?)?;
        let signed = signed.get(..HEAD_BYTES - DIGEST_BYTES + batch.len())?;
        let [epoch, number, n_synced] = [epoch, number, n_synced].map(|bytes| u64::from_le_bytes(*bytes));
        (*digest == self::digest(signed)).then_some(Self { epoch, number, n_synced, batch })
    }

    /// With the zeros behind it.
    fn n_bytes(&self) -> usize {
        blocks(HEAD_BYTES + self.batch.len())
    }

    fn write(&self, block: &mut Vec<u8>) {
        block.clear();
        block.extend([0; DIGEST_BYTES]);
        let len = u64::try_from(self.batch.len()).unwrap_or(u64::MAX);
        for number in [self.epoch, self.number, self.n_synced, len] {
            block.extend(number.to_le_bytes());
        }
        block.extend(self.batch);
        if let Some((digest, signed)) = block.split_first_chunk_mut::<DIGEST_BYTES>() {
            *digest = self::digest(signed);
        }
        block.resize(self.n_bytes(), 0);
    }
}

fn digest(bytes: &[u8]) -> [u8; DIGEST_BYTES] {
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

    fn log(n: usize) -> Log {
        let mut log = Log::default();
        log.put(1, b"key", &vec![7; n]);
        log
    }

    /// A file with these batches; those whose flag is set were followed by a sync.
    fn journal(epoch: u64, batches: &[(usize, bool)]) -> (InMemoryBackend, Vec<u8>) {
        let file = InMemoryBackend::new();
        file.set_len(N_BYTES as u64).unwrap();
        let nothing = Found { batches: vec![], is_used: false };
        let mut journal = Journal::start(Box::new(file), &nothing, N_BYTES, epoch).unwrap();
        for (n, is_synced) in batches {
            assert!(journal.has_room_for(&log(*n)));
            journal.append(&log(*n)).unwrap();
            if *is_synced {
                journal.sync().unwrap();
            }
        }
        let mut bytes = vec![0; N_BYTES];
        journal.file.read(0, &mut bytes).unwrap();
        (InMemoryBackend::new(), bytes)
    }

    fn read(bytes: &[u8], epoch: u64) -> Result<Vec<Vec<u8>>, Unusable> {
        let file = InMemoryBackend::new();
        file.set_len(bytes.len() as u64).unwrap();
        file.write(0, bytes).unwrap();
        Journal::read(&file, epoch).map(|found| found.batches)
    }

    fn batches(sizes: &[usize]) -> Vec<Vec<u8>> {
        sizes.iter().map(|n| log(*n).bytes().to_owned()).collect()
    }

    #[test]
    fn batches_are_read_in_their_order() {
        let (_, bytes) = journal(7, &[(10, true), (9000, true), (0, true)]);
        assert_eq!(read(&bytes, 7).unwrap(), batches(&[10, 9000, 0]));
    }

    #[test]
    fn those_of_an_epoch_before_count_for_nothing() {
        let (_, bytes) = journal(7, &[(10, true)]);
        assert_eq!(read(&bytes, 8).unwrap(), batches(&[]));
        assert_eq!(read(&bytes, u64::MAX / 3).unwrap(), batches(&[]));
    }

    #[test]
    fn those_of_a_later_one_are_not_passed_over() {
        let (_, bytes) = journal(9, &[(10, true)]);
        assert!(matches!(read(&bytes, 8), Err(Unusable::Later)));
    }

    #[test]
    fn what_was_not_synced_may_be_missing_in_the_middle() {
        let (_, mut bytes) = journal(7, &[(10, true), (10, false), (10, false)]);
        bytes[BLOCK_BYTES..2 * BLOCK_BYTES].fill(0);
        assert_eq!(read(&bytes, 7).unwrap(), batches(&[10]));
    }

    #[test]
    fn what_was_synced_may_not() {
        let (_, mut bytes) = journal(7, &[(10, true), (10, true), (10, false)]);
        bytes[BLOCK_BYTES + 60] ^= 1;
        assert!(matches!(read(&bytes, 7), Err(Unusable::Damaged { record: 2 })));
    }

    #[test]
    fn it_is_full_when_the_next_one_does_not_fit() {
        let nothing = Found { batches: vec![], is_used: false };
        let mut journal = Journal::start(Box::new(InMemoryBackend::new()), &nothing, 3 * BLOCK_BYTES, 1).unwrap();
        journal.append(&log(BLOCK_BYTES)).unwrap();
        assert!(journal.has_room_for(&log(BLOCK_BYTES / 2)));
        assert!(!journal.has_room_for(&log(BLOCK_BYTES)));
        journal.restart();
        assert!(journal.is_empty() && journal.has_room_for(&log(BLOCK_BYTES)));
    }

    #[test]
    fn wiped_it_holds_nothing_of_before() {
        let nothing = Found { batches: vec![], is_used: false };
        let mut journal = Journal::start(Box::new(InMemoryBackend::new()), &nothing, N_BYTES, 1).unwrap();
        journal.append(&log(9000)).unwrap();
        journal.sync().unwrap();
        journal.restart();
        journal.append(&log(10)).unwrap();
        journal.wipe().unwrap();
        let mut bytes = vec![0; N_BYTES];
        journal.file.read(0, &mut bytes).unwrap();
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
            let (_, mut bytes) = journal(7, &written);
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
