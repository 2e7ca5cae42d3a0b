//! systemd-boot: the state is in the names of the kernels.
//!
//! `EFI/Linux/gw_V+L-D.efi` has L tries left and D behind it; the loader renames it before each start. `gw_V.efi` is
//! confirmed. The highest version that has tries left is started. See the Boot Loader Specification, "Boot counting".
//!
//! A rename on FAT is two writes: what a power cut leaves of it is an empty file under the new name, which the loader
//! skips and `clean` removes, or both names for one content. Then removing one of them would free blocks that the
//! other still has, and something else would be written there later. So a kernel comes as `EFI/new_V.tmp`, which says whose it is, and
//! names of one version are removed all together, those that can be started first, or not at all.
//!
//! The loader's own rename is as good as the firmware's. All names of `EFI/Linux` fit into one sector, so it is torn only where
//! a sector is. Were both names left then, the loader could not rename the one that it takes first, would start it
//! all the same, and would never count: `count_running` ends that for a version that runs, and a person at the loader's menu for
//! one that does not.

use std::io::Read;
use std::path::{Path, PathBuf};

use super::{Boot, State, TRIES, Trial};
use crate::update::disk::{Disk, Mode, remove_if_there, write_checked};
use crate::update::{Error, Payload, Version};

/// systemd-boot, with its partition mounted.
#[derive(Debug)]
pub struct SdBoot<'a> {
    disk: &'a dyn Disk,
    /// `EFI`
    outside: PathBuf,
    /// `EFI/Linux`
    kernels: PathBuf,
    running: Version,
}

/// A name that the loader knows.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Name {
    version: Version,
    /// `None`: confirmed.
    left: Option<u8>,
    text: String,
}

impl Name {
    /// `gw_1.2.3.efi`, `gw_1.2.3+3.efi`, `gw_1.2.3+2-1.efi`
    fn parse(text: &str) -> Option<Self> {
        let inside = text.strip_prefix("gw_")?.strip_suffix(".efi")?;
        let (version, counter) = match inside.split_once('+') {
            None => (inside, None),
            Some((version, counter)) => (version, Some(counter)),
        };
        let left = match counter {
            None => None,
            Some(counter) => {
                let (left, done) = counter.split_once('-').unwrap_or((counter, "0"));
                done.parse::<u8>().ok()?;
                Some(left.parse::<u8>().ok()?)
            }
        };
        Some(Self { version: version.parse().ok()?, left, text: text.to_owned() })
    }
}

impl<'a> SdBoot<'a> {
    /// With the boot partition mounted at `partition`; `running` is what was started.
    #[must_use]
    pub fn new(disk: &'a dyn Disk, partition: &Path, running: Version) -> Self {
        let outside = partition.join("EFI");
        let kernels = outside.join("Linux");
        Self { disk, outside, kernels, running }
    }

    fn list(&self) -> Result<Vec<(String, u64)>, Error> {
        self.disk.list(&self.kernels).map_err(Error::disk("read", &self.kernels))
    }

    fn names(&self) -> Result<Vec<Name>, Error> {
        let kernels = self.list()?;
        Ok(kernels.into_iter().filter(|(_, size)| *size > 0).filter_map(|(name, _)| Name::parse(&name)).collect())
    }

    /// What the kernel of a version is called until it can be started.
    fn new_file(&self, version: Version) -> PathBuf {
        self.outside.join(format!("new_{version}.tmp"))
    }

    /// Those that are there, with their versions and sizes.
    fn new_files(&self) -> Result<Vec<(Version, u64)>, Error> {
        let files = self.disk.list(&self.outside).map_err(Error::disk("read", &self.outside))?;
        let version = |name: &str| name.strip_prefix("new_")?.strip_suffix(".tmp")?.parse().ok();
        Ok(files.into_iter().filter_map(|(name, size)| Some((version(&name)?, size))).collect())
    }

    fn remove(&self, name: &str) -> Result<(), Error> {
        remove_if_there(self.disk, &self.kernels.join(name))
    }

    fn sync(&self, directory: &Path) -> Result<(), Error> {
        self.disk.sync_directory(directory).map_err(Error::disk("write", directory))
    }
}

impl Boot for SdBoot<'_> {
    fn running(&self) -> Version {
        self.running
    }

    fn clean(&self) -> Result<(), Error> {
        let mut is_changed = false;
        for (name, size) in self.list()? {
            if size == 0 || Name::parse(&name).is_none() {
                self.remove(&name)?;
                is_changed = true;
            }
        }
        if is_changed {
            self.sync(&self.kernels)?;
        }
        let names = self.names()?;
        for (version, size) in self.new_files()? {
            // Beside a name of the same version it may be the same content; it goes with that.
            if size == 0 || !names.iter().any(|name| name.version == version) {
                remove_if_there(self.disk, &self.new_file(version))?;
            }
        }
        Ok(())
    }

    fn state(&self) -> Result<State, Error> {
        let names = self.names()?;
        let is_confirmed = |version| names.iter().any(|name| name.version == version && name.left.is_none());
        let mut state = State { running: self.running, trial: None, failed: None };
        for name in &names {
            match name.left {
                // The last try runs with none left. Whoever is confirmed under another name is no trial.
                Some(left) if name.version == self.running && !is_confirmed(name.version) => {
                    state.trial = Some(Trial { version: name.version, left });
                }
                Some(left) if name.version > self.running && left > 0 => {
                    state.trial = Some(Trial { version: name.version, left });
                }
                Some(0) if name.version != self.running => state.failed = Some(name.version),
                _ => {}
            }
        }
        Ok(state)
    }

    fn clear_idle(&self) -> Result<(), Error> {
        let names = self.names()?;
        if !names.iter().any(|name| name.version == self.running && name.left.is_none()) {
            return Err(Error::NoWayBack(self.running));
        }
        for name in names.iter().filter(|name| name.version != self.running) {
            self.remove(&name.text)?;
        }
        self.sync(&self.kernels)?;
        for (version, _) in self.new_files()?.into_iter().filter(|(version, _)| *version != self.running) {
            remove_if_there(self.disk, &self.new_file(version))?;
        }
        self.sync(&self.outside)
    }

    fn stage(&self, version: Version, payload: &Payload, kernel: &mut dyn Read) -> Result<(), Error> {
        let (new_file, to) = (self.new_file(version), self.kernels.join(format!("gw_{version}+{TRIES}.efi")));
        let written = write_checked(self.disk, &new_file, Mode::Anew, payload, "kernel", kernel);
        if let Err(error) = written {
            // The partition is small: half a kernel need not stay on it.
            let _ = self.disk.remove(&new_file);
            return Err(error);
        }
        self.disk.rename(&new_file, &to).map_err(Error::disk("put in place", &to))?;
        self.sync(&self.kernels)?;
        self.sync(&self.outside)
    }

    fn count_running(&self) -> Result<(), Error> {
        let names: Vec<Name> = self.names()?.into_iter().filter(|name| name.version == self.running).collect();
        // The loader counted when it renamed the one there is.
        if names.len() < 2 || names.iter().any(|name| name.left.is_none()) {
            return Ok(());
        }
        for name in &names {
            self.remove(&name.text)?;
        }
        self.sync(&self.kernels)
    }

    fn commit_running(&self) -> Result<(), Error> {
        let names = self.names()?;
        let is_running = |name: &&Name| name.version == self.running;
        if names.iter().filter(is_running).any(|name| name.left.is_none()) {
            return Ok(());
        }
        let Some(name) = names.iter().find(is_running) else { return Err(Error::NoWayBack(self.running)) };
        let to = self.kernels.join(format!("gw_{}.efi", self.running));
        self.disk.rename(&self.kernels.join(&name.text), &to).map_err(Error::disk("put in place", &to))?;
        self.sync(&self.kernels)
    }

    fn previous(&self) -> Result<Option<Version>, Error> {
        let confirmed = self.names()?.into_iter().filter(|name| name.left.is_none() && name.version != self.running);
        Ok(confirmed.map(|name| name.version).max())
    }

    /// The loader takes the highest version, so the one that runs goes.
    fn go_back(&self) -> Result<(), Error> {
        self.previous()?.ok_or(Error::NoPrevious)?;
        for name in self.names()?.iter().filter(|name| name.version == self.running) {
            self.remove(&name.text)?;
        }
        self.sync(&self.kernels)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::update::{Sha256, SystemDisk};

    fn check(name: &str, expected: Option<(Version, Option<u8>)>) {
        assert_eq!(Name::parse(name).map(|name| (name.version, name.left)), expected, "{name}");
    }

    #[test]
    fn names_say_version_and_tries() {
        let version = Version::new(1, 2, 3);
        check("gw_1.2.3.efi", Some((version, None)));
        check("gw_1.2.3+3.efi", Some((version, Some(3))));
        check("gw_1.2.3+2-1.efi", Some((version, Some(2))));
        check("gw_1.2.3+0-3.efi", Some((version, Some(0))));
        for name in ["gw_1.2.efi", "gw_1.2.3+.efi", "gw_1.2.3+3-.efi", "gw_1.2.3+x.efi", "vmlinuz", "gw_1.2.3.efi.tmp"]
        {
            check(name, None);
        }
    }

    fn partition(names: &[(&str, &str)]) -> tempfile::TempDir {
        let partition = tempfile::tempdir().unwrap();
        fs::create_dir_all(partition.path().join("EFI/Linux")).unwrap();
        for (name, content) in names {
            fs::write(partition.path().join("EFI").join(name), content).unwrap();
        }
        partition
    }

    fn kernels(partition: &tempfile::TempDir) -> Vec<String> {
        SystemDisk.list(&partition.path().join("EFI/Linux")).unwrap().into_iter().map(|(name, _)| name).collect()
    }

    const ONE: Version = Version::new(1, 0, 0);
    const TWO: Version = Version::new(2, 0, 0);

    fn kernel() -> Payload {
        Payload { bytes: 6, sha256: Sha256::of(b"kernel") }
    }

    #[test]
    fn a_version_is_staged_tried_and_confirmed_on_real_files() {
        let partition = partition(&[("Linux/gw_1.0.0.efi", "old"), ("Linux/gw_0.9.0.efi", "older")]);
        let boot = SdBoot::new(&SystemDisk, partition.path(), ONE);
        boot.clean().unwrap();
        boot.clear_idle().unwrap();
        assert_eq!(kernels(&partition), ["gw_1.0.0.efi"]);
        boot.stage(TWO, &kernel(), &mut &b"kernel"[..]).unwrap();
        assert_eq!(kernels(&partition), ["gw_1.0.0.efi", "gw_2.0.0+3.efi"]);
        assert_eq!(boot.state().unwrap().trial, Some(Trial { version: TWO, left: 3 }));
        // What the loader does.
        let linux = partition.path().join("EFI/Linux");
        fs::rename(linux.join("gw_2.0.0+3.efi"), linux.join("gw_2.0.0+0-3.efi")).unwrap();
        assert_eq!(boot.state().unwrap(), State { running: ONE, trial: None, failed: Some(TWO) });
        let tried = SdBoot::new(&SystemDisk, partition.path(), TWO);
        assert_eq!(tried.state().unwrap().trial, Some(Trial { version: TWO, left: 0 }));
        assert!(matches!(tried.clear_idle(), Err(Error::NoWayBack(TWO))));
        tried.commit_running().unwrap();
        assert_eq!(kernels(&partition), ["gw_1.0.0.efi", "gw_2.0.0.efi"]);
        assert_eq!(tried.state().unwrap(), State { running: TWO, trial: None, failed: None });
    }

    #[test]
    fn what_a_torn_rename_left_and_what_nobody_knows_is_removed() {
        let partition = partition(&[
            ("Linux/gw_1.0.0.efi", "old"),
            ("Linux/gw_2.0.0+3.efi", ""),
            ("Linux/gw_2.0.0.efi", ""),
            ("Linux/FSCK0000.REC", "lost"),
            ("new_2.0.0.tmp", "half"),
            ("Linux/gw_3.0.0+3.efi", "the same"),
            ("new_3.0.0.tmp", "the same"),
        ]);
        SdBoot::new(&SystemDisk, partition.path(), ONE).clean().unwrap();
        let boot = SdBoot::new(&SystemDisk, partition.path(), ONE);
        assert_eq!(kernels(&partition), ["gw_1.0.0.efi", "gw_3.0.0+3.efi"]);
        // Which may be one file with two names.
        assert_eq!(boot.new_files().unwrap(), [(Version::new(3, 0, 0), 8)]);
        boot.clear_idle().unwrap();
        assert_eq!(boot.new_files().unwrap(), []);
        assert_eq!(kernels(&partition), ["gw_1.0.0.efi"]);
    }

    #[test]
    fn a_version_under_two_names_loses_both_when_it_is_not_healthy() {
        let partition =
            partition(&[("Linux/gw_1.0.0.efi", "old"), ("Linux/gw_2.0.0+3.efi", "a"), ("Linux/gw_2.0.0+2-1.efi", "a")]);
        SdBoot::new(&SystemDisk, partition.path(), ONE).count_running().unwrap();
        SdBoot::new(&SystemDisk, partition.path(), TWO).count_running().unwrap();
        assert_eq!(kernels(&partition), ["gw_1.0.0.efi"]);
    }

    #[test]
    fn a_kernel_that_is_not_the_one_that_was_named_gets_no_name() {
        let partition = partition(&[("Linux/gw_1.0.0.efi", "old")]);
        let boot = SdBoot::new(&SystemDisk, partition.path(), ONE);
        for wrong in [&b"kernem"[..], b"kerne", b"kernels", b""] {
            let staged = boot.stage(TWO, &kernel(), &mut &*wrong);
            assert!(matches!(staged, Err(Error::Payload { .. })), "{staged:?}");
        }
        assert_eq!(kernels(&partition), ["gw_1.0.0.efi"]);
        assert_eq!(boot.new_files().unwrap(), []);
    }

    #[test]
    fn nothing_is_renamed_over_a_live_name() {
        let partition = partition(&[("Linux/gw_1.0.0.efi", "old"), ("Linux/gw_2.0.0+3.efi", "live")]);
        let boot = SdBoot::new(&SystemDisk, partition.path(), ONE);
        assert!(boot.stage(TWO, &kernel(), &mut &b"kernel"[..]).is_err());
        assert_eq!(fs::read_to_string(partition.path().join("EFI/Linux/gw_2.0.0+3.efi")).unwrap(), "live");
    }
}
