//! An update, with the power cut at every operation of every step.

use std::path::Path;

use proptest::prelude::*;

use super::model::{Dice, ModelDisk};
use crate::clock::Timestamp;
use crate::update::boot::Fake;
use crate::update::{
    Boot, Cause, Disk as _, Error, Event, Installer, Next, Payload, Release, SdBoot, Sha256, Slot, Status, UbootScript,
    Version, Why,
};

const ONE: Version = Version::new(1, 0, 0);
const TWO: Version = Version::new(1, 1, 0);
const RECORD: &str = "/data/update.json";
const NOW: Timestamp = Timestamp(1_700_000_000_000);
const TRIES: usize = 3;

/// Content that no other version has, of some pieces and not a whole number of sectors.
fn content(version: Version, what: &str, n_bytes: usize) -> Vec<u8> {
    format!("{what} of {version}; ").into_bytes().into_iter().cycle().take(n_bytes).collect()
}

fn kernel(version: Version) -> Vec<u8> {
    content(version, "kernel", 2_100)
}

fn root(version: Version) -> Vec<u8> {
    content(version, "root", 5_300)
}

fn payload(bytes: &[u8]) -> Payload {
    Payload { bytes: u64::try_from(bytes.len()).unwrap(), sha256: Sha256::of(bytes) }
}

fn release(version: Version) -> Release {
    Release { version, kernel: payload(&kernel(version)), root: payload(&root(version)), store_format: 3 }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Loader {
    /// systemd-boot.
    Names,
    /// systemd-boot on a disk that tears its renames, too. A version that panics is started for ever then, see `sd_boot`.
    TornNames,
    /// U-Boot with its script.
    Record,
}

/// How the new version behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum New {
    Healthy,
    /// It starts, and its health check is not content.
    Unhealthy,
    /// Its kernel panics.
    Panics,
}

fn root_path(slot: Slot) -> String {
    format!("/dev/root-{slot}")
}

/// A machine with a loader, two slots and a data partition.
struct Machine {
    disk: ModelDisk,
    loader: Loader,
    dice: Dice,
    /// What was started.
    running: Version,
    slot: Slot,
}

impl Machine {
    /// The first version runs from the first slot, and an older one lies in the other.
    fn new(loader: Loader, seed: u64) -> Self {
        let disk = ModelDisk::default();
        let old = Version::new(0, 9, 0);
        disk.put(&root_path(Slot::A), &[root(ONE), vec![0; 900]].concat());
        disk.put(&root_path(Slot::B), &[root(old), vec![0; 900]].concat());
        match loader {
            Loader::Names | Loader::TornNames => {
                disk.put("/boot/EFI/Linux/gw_1.0.0.efi", &kernel(ONE));
                disk.put("/boot/EFI/Linux/gw_0.9.0.efi", &kernel(old));
            }
            Loader::Record => {
                disk.put("/boot/slot-a.efi", &kernel(ONE));
                disk.put("/boot/slot-a.version", b"1.0.0");
                disk.put("/boot/slot-b.efi", &kernel(old));
                disk.put("/boot/slot-b.version", b"0.9.0");
            }
        }
        let mut machine = Self { disk, loader, dice: Dice::new(seed), running: ONE, slot: Slot::A };
        // The first start writes what is missing.
        assert_eq!(machine.with(|installer| installer.start(NOW)).unwrap(), Next::Nothing);
        machine.disk.shut_down();
        machine.power_on(New::Healthy);
        machine
    }

    fn with<T>(&self, act: impl FnOnce(&Installer<'_>) -> T) -> T {
        let (sd_boot, script);
        let boot: &dyn Boot = match self.loader {
            Loader::Names | Loader::TornNames => {
                sd_boot = SdBoot::new(&self.disk, Path::new("/boot"), self.running);
                &sd_boot
            }
            Loader::Record => {
                script = UbootScript::new(&self.disk, Path::new("/boot"), self.running, self.slot);
                &script
            }
        };
        act(&Installer::new(boot, &self.disk, Path::new(&root_path(self.slot.other())), Path::new(RECORD), 3))
    }

    fn install(&self, version: Version) -> Result<(), Error> {
        self.with(|installer| {
            installer.install(NOW, &release(version), &mut kernel(version).as_slice(), &mut root(version).as_slice())
        })
    }

    fn status(&self) -> Status {
        self.with(|installer| installer.status()).unwrap()
    }

    /// Firmware, loader and first programs. A kernel that does not start resets the machine, as its watchdog would.
    fn power_on(&mut self, new: New) {
        for _ in 0..40 {
            let chosen = match self.loader {
                Loader::Names | Loader::TornNames => self.choose_by_name(),
                Loader::Record => self.choose_by_record(),
            };
            if self.disk.is_off() {
                self.disk.lose_power(&mut self.dice);
                continue;
            }
            let Some(bytes) = chosen else { continue };
            let Some(version) = [ONE, TWO].into_iter().find(|version| bytes == kernel(*version)) else { continue };
            let holds =
                |slot: &Slot| self.disk.get(&root_path(*slot)).is_some_and(|bytes| bytes.starts_with(&root(version)));
            let Some(slot) = [Slot::A, Slot::B].into_iter().find(holds) else { continue };
            if version == TWO && new == New::Panics {
                continue;
            }
            (self.running, self.slot) = (version, slot);
            return;
        }
        panic!("it does not start any more:\n{}", self.disk.told());
    }

    /// systemd-boot: the highest version with tries left, counted down before it starts; empty files are none.
    fn choose_by_name(&self) -> Option<Vec<u8>> {
        let linux = "/boot/EFI/Linux";
        let names = self.disk.list(Path::new(linux)).ok()?;
        let read = |name: &str| {
            let inside = name.strip_prefix("gw_")?.strip_suffix(".efi")?;
            let (version, counter) = inside.split_once('+').map_or((inside, None), |(a, b)| (a, Some(b)));
            let left = counter.map(|counter| counter.split('-').next().unwrap().parse::<u32>().unwrap());
            let done = counter.and_then(|counter| counter.split('-').nth(1)).map_or(0, |n| n.parse::<u32>().unwrap());
            Some((left != Some(0), version.parse::<Version>().unwrap(), left, done))
        };
        let known =
            names.iter().filter(|(_, size)| *size > 0).filter_map(|(name, _)| Some((read(name)?, name.clone())));
        let ((_, version, left, done), name) = known.max()?;
        let mut path = format!("{linux}/{name}");
        if let Some(left @ 1..) = left {
            let counted = format!("{linux}/gw_{version}+{}-{}.efi", left - 1, done + 1);
            let renamed = match self.loader {
                Loader::TornNames => self.disk.rename(Path::new(&path), Path::new(&counted)),
                _ => self.disk.rename_in_one_sector(Path::new(&path), Path::new(&counted)),
            };
            self.disk.sync_directory(Path::new(linux)).ok()?;
            // It says that it cannot count, and starts it.
            if renamed.is_ok() {
                path = counted;
            }
        }
        self.disk.get(&path)
    }

    /// The script, with the second record where the first is torn.
    fn choose_by_record(&self) -> Option<Vec<u8>> {
        let records = ["/boot/gwstate0.env", "/boot/gwstate1.env"];
        let whole = |path: &&str| {
            let bytes = self.disk.get(path).filter(|bytes| bytes.len() == 512)?;
            let mut crc = !0u32;
            for byte in &bytes[4..] {
                crc ^= u32::from(*byte);
                for _ in 0..8 {
                    crc = (crc >> 1) ^ (0xEDB8_8320 * (crc & 1));
                }
            }
            (bytes[..4] == (!crc).to_le_bytes()).then_some(bytes)
        };
        let record = records.iter().find_map(whole);
        let text = record.map_or_else(String::new, |bytes| String::from_utf8(bytes[4..].to_vec()).unwrap());
        let value = |name: &str| text.split('\0').find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        let mut slot = value("gw_good").unwrap_or("a").to_owned();
        let left: u32 = value("gw_left").unwrap_or("0").parse().unwrap();
        let tried = value("gw_try").unwrap_or("none");
        if tried != "none" && left > 0 {
            let mut data = format!("gw_good={slot}\0gw_left={}\0gw_try={tried}\0\0", left - 1).into_bytes();
            data.resize(508, 0);
            let mut crc = !0u32;
            for byte in &data {
                crc ^= u32::from(*byte);
                for _ in 0..8 {
                    crc = (crc >> 1) ^ (0xEDB8_8320 * (crc & 1));
                }
            }
            let bytes = [(!crc).to_le_bytes().as_slice(), &data].concat();
            for path in records {
                let mut sink = self.disk.write(Path::new(path), crate::update::Mode::InPlace).ok()?;
                sink.write_all(&bytes).ok()?;
                sink.sync().ok()?;
            }
            slot = tried.to_owned();
        }
        self.disk.get(&format!("/boot/slot-{slot}.efi"))
    }

    /// In order, or because the power went.
    fn restart(&mut self, new: New) {
        if self.disk.is_off() {
            self.disk.lose_power(&mut self.dice);
        } else {
            self.disk.shut_down();
        }
        self.power_on(new);
    }

    /// What the machine does by itself from here on, until there is nothing left to do. Every start is one with a
    /// version whose files are whole, or `power_on` would not have started it.
    fn live(&mut self, new: New) {
        for _ in 0..20 {
            let went_on = self.with(|installer| -> Result<Next, Error> {
                match installer.start(NOW)? {
                    Next::CheckHealth if self.running == TWO && new != New::Healthy => {
                        installer.give_up(Why::new(Cause::NotHealthy, "the gateway did not answer"))
                    }
                    Next::CheckHealth => installer.confirm(NOW).map(|()| Next::Nothing),
                    next => Ok(next),
                }
            });
            match went_on {
                Ok(Next::Nothing) => return,
                Ok(_) => self.restart(new),
                Err(error) => {
                    assert!(self.disk.is_off(), "{error}");
                    self.restart(new);
                }
            }
        }
        panic!("it never comes to rest:\n{}", self.disk.told());
    }

    /// Operations of a whole update.
    fn update(&mut self, new: New, cut: Option<u64>) -> u64 {
        let before = self.disk.n_operations();
        if let Some(cut) = cut {
            self.disk.cut_after(cut);
        }
        let installed = self.install(TWO);
        assert!(installed.is_ok() || self.disk.is_off(), "{installed:?}");
        self.restart(new);
        self.live(new);
        self.disk.keep_power();
        self.disk.n_operations() - before
    }
}

fn check(loader: Loader, new: New, cut: Option<u64>, seed: u64) {
    let mut machine = Machine::new(loader, seed);
    machine.update(new, cut);
    let what = format!("{loader:?}, {new:?}, cut {cut:?}, seed {seed}");
    let status = machine.status();
    let event = status.last.clone().map(|outcome| outcome.event);
    let expected = match new {
        New::Healthy => [Some(Event::Installed { from: ONE, to: TWO }), Some(Event::Interrupted { to: TWO })],
        New::Unhealthy | New::Panics => {
            let fell_back = |why: Why| Event::FellBack { from: ONE, to: TWO, why };
            let event = match &event {
                // The note is lost when the power goes while it is written.
                Some(Event::FellBack { why, .. }) if new == New::Unhealthy && why.detail.contains("gateway") => {
                    fell_back(Why::new(Cause::NotHealthy, "the gateway did not answer"))
                }
                _ => fell_back(Why::of(Cause::DidNotStart)),
            };
            [Some(event), Some(Event::Interrupted { to: TWO })]
        }
    };
    // Before anything was noted there was no update.
    let is_before = event.is_none() && cut.is_some() && machine.running == ONE;
    assert!(is_before || expected.contains(&event), "{what}: {event:?}");
    let is_installed = matches!(event, Some(Event::Installed { .. }));
    assert_eq!(machine.running, if is_installed { TWO } else { ONE }, "{what}: {status}");
    assert_eq!(status.boot.trial, None, "{what}");
    if cut.is_none() {
        assert_eq!(event.as_ref(), expected[0].as_ref(), "{what}");
    }
    // What is confirmed stays, however often it is started, and nothing is counted.
    let settled = machine.running;
    // What a torn rename left beside a confirmed name is the same content, so it does no harm to count that.
    let names = |machine: &Machine| {
        let mut names = machine.disk.list(Path::new("/boot/EFI/Linux")).unwrap();
        names.retain(|(name, _)| !name.starts_with(&format!("gw_{}+", machine.running)));
        names
    };
    let before = names(&machine);
    let record = machine.disk.get("/boot/gwstate0.env");
    for _ in 0..5 {
        machine.restart(new);
        assert_eq!(machine.running, settled, "{what}");
        assert_eq!(machine.with(|installer| installer.start(NOW)).unwrap(), Next::Nothing, "{what}");
    }
    assert_eq!(names(&machine), before, "{what}");
    assert_eq!(machine.disk.get("/boot/gwstate0.env"), record, "{what}");
    // And what was cut off can be done again.
    if settled == ONE {
        machine.update(New::Healthy, None);
        assert_eq!(machine.running, TWO, "{what}: {}", machine.status());
    }
}

/// Cuts at every operation, each with some fates of what was not synced.
fn check_all(loader: Loader, new: New) {
    check(loader, new, None, 0);
    let n_operations = Machine::new(loader, 0).update(new, None);
    assert!(n_operations > 20, "{n_operations}");
    for cut in 0..n_operations {
        for seed in 0..6 {
            check(loader, new, Some(cut), seed);
        }
    }
}

#[test]
fn systemd_boot_survives_a_cut_at_every_operation_of_a_good_update() {
    check_all(Loader::Names, New::Healthy);
}

#[test]
fn systemd_boot_survives_a_cut_at_every_operation_of_an_unhealthy_update() {
    check_all(Loader::Names, New::Unhealthy);
}

#[test]
fn systemd_boot_survives_a_cut_at_every_operation_of_an_update_that_panics() {
    check_all(Loader::Names, New::Panics);
}

#[test]
fn systemd_boot_whose_renames_are_torn_survives_a_cut_at_every_operation() {
    check_all(Loader::TornNames, New::Healthy);
    check_all(Loader::TornNames, New::Unhealthy);
}

#[test]
fn u_boot_survives_a_cut_at_every_operation_of_a_good_update() {
    check_all(Loader::Record, New::Healthy);
}

#[test]
fn u_boot_survives_a_cut_at_every_operation_of_an_unhealthy_update() {
    check_all(Loader::Record, New::Unhealthy);
}

#[test]
fn u_boot_survives_a_cut_at_every_operation_of_an_update_that_panics() {
    check_all(Loader::Record, New::Panics);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn any_cut_with_any_fate_of_what_was_not_synced_is_survived(
        cut in 0u64..160,
        seed: u64,
        is_script: bool,
        new in prop_oneof![Just(New::Healthy), Just(New::Unhealthy), Just(New::Panics)],
    ) {
        check(if is_script { Loader::Record } else { Loader::Names }, new, Some(cut), seed);
    }
}

#[test]
fn a_version_that_is_never_healthy_has_exactly_its_tries() {
    for loader in [Loader::Names, Loader::Record] {
        let mut machine = Machine::new(loader, 0);
        machine.install(TWO).unwrap();
        let mut n_starts = 0;
        loop {
            machine.restart(New::Unhealthy);
            if machine.running == ONE {
                break;
            }
            n_starts += 1;
            assert_eq!(machine.with(|installer| installer.start(NOW)).unwrap(), Next::CheckHealth);
            assert_eq!(
                machine.with(|installer| installer.give_up(Why::new(Cause::NotHealthy, "the page is dead"))).unwrap(),
                Next::Restart
            );
        }
        assert_eq!(n_starts, TRIES, "{loader:?}");
        machine.live(New::Unhealthy);
        let said = "Version 1.0.0 runs: 1.1.0 was tried and given up at 2023-11-14T22:13:20Z because it was not healthy (the page is dead).";
        assert_eq!(machine.status().to_string(), said, "{loader:?}");
    }
}

#[test]
fn a_version_that_rots_after_it_was_staged_is_given_up() {
    for loader in [Loader::Names, Loader::Record] {
        let mut machine = Machine::new(loader, 0);
        machine.install(TWO).unwrap();
        machine.disk.put(&root_path(Slot::B), &[0xFF; 6_000]);
        machine.restart(New::Healthy);
        machine.live(New::Healthy);
        assert_eq!(machine.running, ONE);
        assert!(machine.status().to_string().ends_with("because it did not start."), "{}", machine.status());
    }
}

#[test]
fn only_one_newer_version_is_installed_at_a_time() {
    for loader in [Loader::Names, Loader::Record] {
        let mut machine = Machine::new(loader, 0);
        assert!(matches!(machine.install(ONE), Err(Error::NotNewer { .. })));
        assert!(matches!(machine.install(Version::new(0, 9, 9)), Err(Error::NotNewer { .. })));
        machine.install(TWO).unwrap();
        assert!(matches!(machine.install(Version::new(1, 2, 0)), Err(Error::TrialPending(TWO))));
        machine.restart(New::Healthy);
        // While it is tried it would have no way back.
        assert!(matches!(machine.install(Version::new(1, 2, 0)), Err(Error::TrialPending(TWO))));
    }
}

#[test]
fn what_is_not_the_release_is_not_tried() {
    let (kernel, root) = (kernel(TWO), root(TWO));
    let longer = [root.clone(), vec![1]].concat();
    let changed: Vec<u8> = root.iter().map(|byte| byte ^ 1).collect();
    for loader in [Loader::Names, Loader::Record] {
        for wrong in [&root[..5_000], &longer, &changed, &[]] {
            let mut machine = Machine::new(loader, 0);
            let installed =
                machine.with(|installer| installer.install(NOW, &release(TWO), &mut kernel.as_slice(), &mut { wrong }));
            assert!(matches!(installed, Err(Error::Payload { what: "root" })), "{installed:?}");
            machine.restart(New::Healthy);
            machine.live(New::Healthy);
            assert_eq!(machine.running, ONE);
            let status = machine.status().to_string();
            assert!(status.contains("1.1.0 was not installed"), "{status}");
        }
    }
}

#[test]
fn a_loader_that_never_starts_the_new_version_is_not_waited_for_without_end() {
    let machine = Machine::new(Loader::Names, 0);
    machine.install(TWO).unwrap();
    // It always starts the old one, whatever we write.
    for _ in 0..TRIES {
        assert_eq!(machine.with(|installer| installer.start(NOW)).unwrap(), Next::Restart);
    }
    assert_eq!(machine.with(|installer| installer.start(NOW)).unwrap(), Next::Nothing);
    assert!(machine.status().to_string().ends_with("because the boot loader did not start it."));
}

#[test]
fn a_lost_note_changes_nothing_but_what_is_said() {
    for loader in [Loader::Names, Loader::Record] {
        for new in [New::Healthy, New::Unhealthy] {
            let mut machine = Machine::new(loader, 0);
            machine.install(TWO).unwrap();
            machine.disk.put(RECORD, b"{\"phase\":");
            machine.live(new);
            assert_eq!(machine.running, if new == New::Healthy { TWO } else { ONE }, "{loader:?}");
            assert_eq!(machine.status().boot.trial, None);
        }
    }
}

#[test]
fn the_fake_behaves_as_the_others_do() {
    for (is_healthy, n_cuts) in [(true, 40), (false, 40)] {
        for cut in 0..n_cuts {
            let (boot, disk) = (Fake::new(ONE), ModelDisk::default());
            disk.put("/dev/root-b", &[0; 6_000]);
            let installer = Installer::new(&boot, &disk, Path::new("/dev/root-b"), Path::new(RECORD), 3);
            boot.cut_after(cut);
            let mut went_on = installer
                .install(NOW, &release(TWO), &mut kernel(TWO).as_slice(), &mut root(TWO).as_slice())
                .map(|()| Next::Restart);
            while !matches!(went_on, Ok(Next::Nothing)) {
                boot.restart();
                went_on = installer.start(NOW).and_then(|next| match next {
                    Next::CheckHealth if is_healthy => installer.confirm(NOW).map(|()| Next::Nothing),
                    Next::CheckHealth => installer.give_up(Why::new(Cause::NotHealthy, "the gateway did not answer")),
                    next => Ok(next),
                });
                assert!(boot.n_operations() < 100);
            }
            let status = installer.status().unwrap();
            let is_installed = matches!(status.last, Some(ref last) if matches!(last.event, Event::Installed { .. }));
            assert_eq!(boot.running(), if is_installed { TWO } else { ONE });
            assert!(is_healthy || !is_installed);
            assert!(is_installed || !is_healthy || cut < 4, "{cut}: {status}");
        }
    }
}

#[test]
fn somebody_goes_back_and_the_power_may_go_at_any_moment() {
    for loader in [Loader::Names, Loader::TornNames, Loader::Record] {
        let mut n_back = 0;
        for (cut, seed) in (0..30).flat_map(|cut| (0..4).map(move |seed| (cut, seed))) {
            let mut machine = Machine::new(loader, seed);
            machine.update(New::Healthy, None);
            machine.disk.cut_after(cut);
            let went = machine.with(|installer| installer.go_back());
            machine.restart(New::Healthy);
            machine.live(New::Healthy);
            machine.disk.keep_power();
            let event = machine.status().last.unwrap().event;
            let is_back = event == Event::WentBack { from: TWO, to: ONE };
            assert_eq!(
                machine.running,
                if is_back { ONE } else { TWO },
                "{loader:?}, cut {cut}, seed {seed}: {event:?}"
            );
            assert!(is_back || went.is_err(), "{loader:?}, cut {cut}, seed {seed}: {event:?}");
            n_back += usize::from(is_back);
            if is_back {
                let again = machine.with(|installer| installer.go_back());
                assert!(matches!(again, Err(Error::NoPrevious)), "{again:?}");
                assert_eq!(machine.with(|installer| installer.given_up()).unwrap(), Some(TWO));
            }
        }
        assert!(n_back > 0, "{loader:?}");
    }
}
