//! U-Boot with a boot script: the state is a record of 512 bytes, written twice.
//!
//! `gwstate0.env` and `gwstate1.env` hold `gw_good` (the slot that is started), `gw_try` (a slot that is tried, or `none`) and
//! `gw_left` (its tries), in the form of `env export -c`: CRC-32 of what follows, little endian, then `name=value` with a zero
//! byte behind each, one more at the end, and zeros. The script takes the first one whose CRC is right, and counts down only
//! while a slot is tried. Kernels are `slot-a.efi` and `slot-b.efi`; `slot-a.version` beside one says what it is.
//!
//! One record is synced before the other is written, so one of them is always whole. The script must look at the second
//! one when the CRC of the first is wrong, not only when the first is missing.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use super::{Boot, Slot, State, TRIES, Trial};
use crate::update::disk::{Disk, Mode, read_small, remove_if_there, write_checked};
use crate::update::{Error, Payload, Version};

const RECORD_BYTES: usize = 512;
const RECORDS: [&str; 2] = ["gwstate0.env", "gwstate1.env"];
/// Of a kernel whose version was not written down.
const UNKNOWN: Version = Version::new(0, 0, 0);

/// U-Boot, with its partition mounted.
#[derive(Debug)]
pub struct UbootScript<'a> {
    disk: &'a dyn Disk,
    partition: PathBuf,
    running: Version,
    slot: Slot,
}

/// What the script reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Record {
    good: Slot,
    tried: Option<Slot>,
    left: u8,
}

impl Record {
    fn parse(bytes: &[u8]) -> Option<Self> {
        let (crc, data) = bytes.get(..RECORD_BYTES)?.split_at_checked(4)?;
        if crc != crc32(data).to_le_bytes() {
            return None;
        }
        let text = std::str::from_utf8(data).ok()?;
        let variables: BTreeMap<&str, &str> =
            text.split('\0').take_while(|line| !line.is_empty()).filter_map(|line| line.split_once('=')).collect();
        let slot = |name: &str| match variables.get(name).copied() {
            Some("a") => Some(Slot::A),
            Some("b") => Some(Slot::B),
            _ => None,
        };
        // What the script cannot count with is no try left for it either.
        let left = variables.get("gw_left").and_then(|left| left.parse().ok()).unwrap_or(0);
        Some(Self { good: slot("gw_good")?, tried: slot("gw_try"), left })
    }

    fn print(self) -> Vec<u8> {
        let tried = self.tried.map_or_else(|| "none".to_owned(), |slot| slot.to_string());
        // U-Boot exports them in the order of their names.
        let mut data = format!("gw_good={}\0gw_left={}\0gw_try={tried}\0\0", self.good, self.left).into_bytes();
        data.resize(RECORD_BYTES - 4, 0);
        [crc32(&data).to_le_bytes().as_slice(), &data].concat()
    }
}

/// As Ethernet has it, and U-Boot.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32, _| if crc & 1 == 1 { (crc >> 1) ^ 0xEDB8_8320 } else { crc >> 1 };
    !bytes.iter().fold(!0, |crc, byte| (0..8).fold(crc ^ u32::from(*byte), step))
}

impl<'a> UbootScript<'a> {
    /// With the boot partition mounted at `partition`; `running` was started from `slot`.
    #[must_use]
    pub fn new(disk: &'a dyn Disk, partition: &Path, running: Version, slot: Slot) -> Self {
        Self { disk, partition: partition.to_owned(), running, slot }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.partition.join(name)
    }

    /// The first whole one, as the script takes it.
    fn record(&self) -> Result<Option<Record>, Error> {
        for name in RECORDS {
            let bytes = read_small(self.disk, &self.path(name))?;
            if let Some(record) = bytes.and_then(|bytes| Record::parse(&bytes)) {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    /// Without one, what runs is what is good.
    fn record_or_running(&self) -> Result<Record, Error> {
        Ok(self.record()?.unwrap_or(Record { good: self.slot, tried: None, left: 0 }))
    }

    fn write(&self, record: Record) -> Result<(), Error> {
        let bytes = record.print();
        for name in RECORDS {
            let path = self.path(name);
            let is_there = read_small(self.disk, &path)?.is_some_and(|old| old.len() == RECORD_BYTES);
            let mode = if is_there { Mode::InPlace } else { Mode::Anew };
            let written = self.disk.write(&path, mode).and_then(|mut sink| {
                sink.write_all(&bytes)?;
                sink.sync()
            });
            written.map_err(Error::disk("write", &path))?;
            if !is_there {
                self.sync()?;
            }
        }
        Ok(())
    }

    fn sync(&self) -> Result<(), Error> {
        self.disk.sync_directory(&self.partition).map_err(Error::disk("write", &self.partition))
    }

    fn version_of(&self, slot: Slot) -> Result<Version, Error> {
        let bytes = read_small(self.disk, &self.path(&format!("slot-{slot}.version")))?.unwrap_or_default();
        Ok(std::str::from_utf8(&bytes).ok().and_then(|text| text.trim().parse().ok()).unwrap_or(UNKNOWN))
    }

    fn kernel(&self, slot: Slot) -> PathBuf {
        self.path(&format!("slot-{slot}.efi"))
    }

    fn new_file(&self) -> PathBuf {
        self.path("new.tmp")
    }
}

impl Boot for UbootScript<'_> {
    fn running(&self) -> Version {
        self.running
    }

    fn clean(&self) -> Result<(), Error> {
        let mut records = Vec::new();
        for name in RECORDS {
            records.push(read_small(self.disk, &self.path(name))?.and_then(|bytes| Record::parse(&bytes)));
        }
        // The first whole one is what the script went by.
        let is_one = records.iter().all(Option::is_some) && records.windows(2).all(|pair| pair.first() == pair.last());
        if !is_one {
            self.write(self.record_or_running()?)?;
        }
        if read_small(self.disk, &self.new_file())?.is_none() {
            return Ok(());
        }
        let idle = self.slot.other();
        // The rename may be half done, and then both names have one content: neither may stay without the other.
        if self.record_or_running()?.good == self.slot && self.record_or_running()?.tried != Some(idle) {
            remove_if_there(self.disk, &self.kernel(idle))?;
            self.sync()?;
        }
        remove_if_there(self.disk, &self.new_file())
    }

    fn state(&self) -> Result<State, Error> {
        let mut state = State { running: self.running, trial: None, failed: None };
        let record = self.record_or_running()?;
        match record.tried {
            Some(slot) if slot == self.slot => {
                state.trial = Some(Trial { version: self.running, left: record.left });
            }
            Some(slot) if record.left > 0 => {
                state.trial = Some(Trial { version: self.version_of(slot)?, left: record.left });
            }
            Some(slot) => state.failed = Some(self.version_of(slot)?),
            None => {}
        }
        Ok(state)
    }

    fn clear_idle(&self) -> Result<(), Error> {
        let kernels = self.disk.list(&self.partition).map_err(Error::disk("read", &self.partition))?;
        let own = format!("slot-{}.efi", self.slot);
        let record = self.record_or_running()?;
        if record.good != self.slot || !kernels.iter().any(|(name, size)| *name == own && *size > 0) {
            return Err(Error::NoWayBack(self.running));
        }
        if record.tried.is_some() || self.record()?.is_none() {
            self.write(Record { good: self.slot, tried: None, left: 0 })?;
        }
        remove_if_there(self.disk, &self.kernel(self.slot.other()))?;
        self.sync()
    }

    fn stage(&self, version: Version, payload: &Payload, kernel: &mut dyn Read) -> Result<(), Error> {
        let (new_file, idle) = (self.new_file(), self.slot.other());
        let written = write_checked(self.disk, &new_file, Mode::Anew, payload, "kernel", kernel);
        if let Err(error) = written {
            let _ = self.disk.remove(&new_file);
            return Err(error);
        }
        let note = self.path(&format!("slot-{idle}.version"));
        let noted: io::Result<()> = self.disk.write(&note, Mode::Anew).and_then(|mut sink| {
            sink.write_all(version.to_string().as_bytes())?;
            sink.sync()
        });
        noted.map_err(Error::disk("write", &note))?;
        let to = self.kernel(idle);
        self.disk.rename(&new_file, &to).map_err(Error::disk("put in place", &to))?;
        self.sync()?;
        // The commit: the kernel has its name on the disk before the script is told of it.
        self.write(Record { good: self.slot, tried: Some(idle), left: TRIES })
    }

    fn previous(&self) -> Result<Option<Version>, Error> {
        let (record, other) = (self.record_or_running()?, self.slot.other());
        let kernels = self.disk.list(&self.partition).map_err(Error::disk("read", &self.partition))?;
        let name = format!("slot-{other}.efi");
        let is_there = kernels.iter().any(|(kernel, size)| *kernel == name && *size > 0);
        // One that used up its tries is none that was confirmed.
        if !is_there || record.good != self.slot || record.tried.is_some() {
            return Ok(None);
        }
        Ok(Some(self.version_of(other)?).filter(|version| *version != UNKNOWN))
    }

    fn go_back(&self) -> Result<(), Error> {
        self.previous()?.ok_or(Error::NoPrevious)?;
        self.write(Record { good: self.slot.other(), tried: None, left: 0 })
    }

    fn count_running(&self) -> Result<(), Error> {
        // The script counted before it started it.
        Ok(())
    }

    fn commit_running(&self) -> Result<(), Error> {
        let record = self.record_or_running()?;
        if record.good == self.slot && record.tried.is_none() {
            return Ok(());
        }
        self.write(Record { good: self.slot, tried: None, left: 0 })
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use proptest::prelude::*;

    use super::*;
    use crate::update::{Sha256, SystemDisk};

    #[test]
    fn the_checksum_is_that_of_ethernet() {
        assert_eq!(crc32(b"123456789"), 0xCBF4_3926);
    }

    #[test]
    fn a_record_is_laid_out_as_u_boot_exports_it() {
        let bytes = Record { good: Slot::A, tried: Some(Slot::B), left: 2 }.print();
        assert_eq!(bytes.len(), 512);
        assert_eq!(bytes[4..40], *b"gw_good=a\0gw_left=2\0gw_try=b\0\0\0\0\0\0\0\0");
        assert_eq!(bytes[..4], crc32(&bytes[4..]).to_le_bytes());
    }

    fn slot() -> impl Strategy<Value = Slot> {
        prop_oneof![Just(Slot::A), Just(Slot::B)]
    }

    proptest! {
        #[test]
        fn a_record_reads_as_it_prints(good in slot(), tried in proptest::option::of(slot()), left: u8) {
            let record = Record { good, tried, left };
            prop_assert_eq!(Record::parse(&record.print()), Some(record));
        }

        #[test]
        fn a_record_with_a_changed_byte_is_none(at in 0usize..512, change in 1u8..) {
            let mut bytes = Record { good: Slot::B, tried: None, left: 0 }.print();
            bytes[at] ^= change;
            prop_assert_eq!(Record::parse(&bytes), None);
        }
    }

    const ONE: Version = Version::new(1, 0, 0);
    const TWO: Version = Version::new(2, 0, 0);

    #[test]
    fn a_version_is_staged_tried_and_confirmed_on_real_files() {
        let partition = tempfile::tempdir().unwrap();
        let at = |name: &str| partition.path().join(name);
        fs::write(at("slot-b.efi"), "old").unwrap();
        let boot = UbootScript::new(&SystemDisk, partition.path(), ONE, Slot::B);
        boot.clean().unwrap();
        assert_eq!(Record::parse(&fs::read(at("gwstate0.env")).unwrap()), boot.record().unwrap());
        boot.clear_idle().unwrap();
        let payload = Payload { bytes: 6, sha256: Sha256::of(b"kernel") };
        boot.stage(TWO, &payload, &mut &b"kernel"[..]).unwrap();
        assert_eq!(boot.state().unwrap().trial, Some(Trial { version: TWO, left: 3 }));
        // What the script does.
        boot.write(Record { good: Slot::B, tried: Some(Slot::A), left: 0 }).unwrap();
        assert_eq!(boot.state().unwrap(), State { running: ONE, trial: None, failed: Some(TWO) });
        let tried = UbootScript::new(&SystemDisk, partition.path(), TWO, Slot::A);
        assert!(matches!(tried.clear_idle(), Err(Error::NoWayBack(TWO))));
        tried.commit_running().unwrap();
        assert_eq!(tried.state().unwrap(), State { running: TWO, trial: None, failed: None });
        assert_eq!(tried.record().unwrap(), Some(Record { good: Slot::A, tried: None, left: 0 }));
    }

    #[test]
    fn a_torn_record_is_written_again_from_the_whole_one() {
        let partition = tempfile::tempdir().unwrap();
        let at = |name: &str| partition.path().join(name);
        let whole = Record { good: Slot::B, tried: None, left: 0 };
        fs::write(at("gwstate0.env"), [0xff; 512]).unwrap();
        fs::write(at("gwstate1.env"), whole.print()).unwrap();
        UbootScript::new(&SystemDisk, partition.path(), ONE, Slot::B).clean().unwrap();
        assert_eq!(Record::parse(&fs::read(at("gwstate0.env")).unwrap()), Some(whole));
    }
}
