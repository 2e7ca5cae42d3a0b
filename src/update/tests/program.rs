//! A program that replaces itself, with the power cut at every operation.

use std::path::Path;

use proptest::prelude::*;

use super::model::{Dice, ModelDisk};
use crate::clock::Timestamp;
use crate::update::program::Pending;
use crate::update::{Cause, Error, Event, Payload, Program, Sha256, Version, Why};

const ONE: Version = Version::new(1, 0, 0);
const TWO: Version = Version::new(1, 1, 0);
const PROGRAM: &str = "/data/bin/frontdesk";
const RECORD: &str = "/data/state/update.json";
const NOW: Timestamp = Timestamp(1_700_000_000_000);

fn content(version: Version) -> Vec<u8> {
    format!("program {version}; ").into_bytes().into_iter().cycle().take(5_300).collect()
}

fn payload(version: Version) -> Payload {
    let bytes = content(version);
    Payload { bytes: u64::try_from(bytes.len()).unwrap(), sha256: Sha256::of(&bytes) }
}

fn why() -> Why {
    Why::new(Cause::NotHealthy, "the page is dead")
}

/// How the new version is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum New {
    Healthy,
    Unhealthy,
    /// It does not even say its version.
    Refused,
}

struct Machine {
    disk: ModelDisk,
    dice: Dice,
    formats: (u64, u64),
}

impl Machine {
    fn new(seed: u64, formats: (u64, u64)) -> Self {
        let disk = ModelDisk::default();
        disk.put(PROGRAM, &content(ONE));
        Self { disk, dice: Dice::new(seed), formats }
    }

    /// The version whose program lies there; whatever happens, one does, and it is whole.
    fn version(&self) -> Version {
        let bytes = self.disk.get(PROGRAM).expect("there is always a program");
        [ONE, TWO].into_iter().find(|version| bytes == content(*version)).expect("it is always whole")
    }

    fn program(&self) -> Program<'_> {
        let format = if self.version() == ONE { self.formats.0 } else { self.formats.1 };
        Program::new(&self.disk, Path::new(PROGRAM), self.version(), format, Path::new(RECORD))
    }

    fn install(&self, new: New) -> Result<(), Error> {
        let program = self.program();
        program.prepare(NOW, TWO, self.formats.1, &payload(TWO), &mut content(TWO).as_slice())?;
        assert_eq!(self.disk.get("/data/bin/frontdesk.new"), Some(content(TWO)));
        if new == New::Refused {
            program.refuse(NOW, Why::of(Cause::NotThatProgram));
            return Ok(());
        }
        program.swap()?;
        self.try_it(&program, new)
    }

    /// The updater, which still is the old program.
    fn try_it(&self, program: &Program<'_>, new: New) -> Result<(), Error> {
        if new == New::Unhealthy {
            return program.fall_back(NOW, why());
        }
        if self.formats.0 != self.formats.1 {
            program.open()?;
        }
        program.confirm(NOW)
    }

    /// As `update recover` does at every start: what was cut off while it was tried is taken back.
    fn recover(&self) -> Result<(), Error> {
        match self.program().recover(NOW)? {
            Pending::None => Ok(()),
            Pending::Trial { is_opened: true, .. } => self.program().confirm(NOW),
            Pending::Trial { unhealthy, .. } => {
                let why = unhealthy.unwrap_or_else(|| Why::of(Cause::DidNotStart));
                self.program().fall_back(NOW, why)
            }
        }
    }

    /// Operations of an update with all that comes after it.
    fn update(&mut self, new: New, cut: Option<u64>) -> u64 {
        let before = self.disk.n_operations();
        if let Some(cut) = cut {
            self.disk.cut_after(cut);
        }
        let mut went_on = self.install(new);
        loop {
            if self.disk.is_off() {
                self.disk.lose_power(&mut self.dice);
            } else {
                went_on.unwrap();
                break;
            }
            went_on = self.recover();
        }
        self.disk.keep_power();
        self.disk.shut_down();
        self.recover().unwrap();
        self.disk.n_operations() - before
    }
}

fn check(new: New, formats: (u64, u64), cut: Option<u64>, seed: u64) {
    let mut machine = Machine::new(seed, formats);
    machine.update(new, cut);
    let what = format!("{new:?}, {formats:?}, cut {cut:?}, seed {seed}");
    let last = machine.program().last().unwrap().map(|outcome| outcome.event);
    let is_installed = matches!(last, Some(Event::Installed { .. }));
    assert_eq!(machine.version(), if is_installed { TWO } else { ONE }, "{what}: {last:?}");
    assert!(new == New::Healthy || !is_installed, "{what}");
    assert_eq!(machine.disk.get("/data/bin/frontdesk.new"), None, "{what}");
    match last {
        Some(Event::Installed { from: ONE, to: TWO }) => {
            let previous = machine.program().previous().unwrap().expect(&what);
            assert_eq!((previous.version, previous.store_format), (ONE, formats.0), "{what}");
        }
        Some(Event::FellBack { from: ONE, to: TWO, why: said }) => {
            let is_cut = cut.is_some() && said == Why::of(Cause::DidNotStart);
            assert!(is_cut || (new == New::Unhealthy && said == why()), "{what}: {said}");
        }
        Some(Event::NotInstalled { to: TWO, why }) => {
            assert_eq!((new, why.code), (New::Refused, Cause::NotThatProgram), "{what}");
        }
        Some(Event::Interrupted { to: TWO }) | None => assert!(cut.is_some(), "{what}"),
        other => panic!("{what}: {other:?}"),
    }
    // And what was cut off can be done again.
    if !is_installed {
        machine.update(New::Healthy, None);
        assert_eq!(machine.version(), TWO, "{what}");
    }
}

#[test]
fn a_program_survives_a_cut_at_every_operation() {
    for new in [New::Healthy, New::Unhealthy, New::Refused] {
        for formats in [(3, 3), (3, 4)] {
            check(new, formats, None, 0);
            let n_operations = Machine::new(0, formats).update(new, None);
            assert!(n_operations > 8, "{n_operations}");
            for cut in 0..n_operations {
                for seed in 0..6 {
                    check(new, formats, Some(cut), seed);
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn any_cut_is_survived(
        cut in 0u64..80,
        seed: u64,
        newer in 3u64..5,
        new in prop_oneof![Just(New::Healthy), Just(New::Unhealthy), Just(New::Refused)],
    ) {
        check(new, (3, newer), Some(cut), seed);
    }
}

#[test]
fn what_was_let_at_the_store_is_not_taken_back() {
    let machine = Machine::new(0, (3, 4));
    let program = machine.program();
    program.prepare(NOW, TWO, 4, &payload(TWO), &mut content(TWO).as_slice()).unwrap();
    program.swap().unwrap();
    program.open().unwrap();
    assert!(matches!(program.fall_back(NOW, why()), Err(Error::StoreMovedOn(ONE))));
    assert_eq!(machine.version(), TWO);
}

#[test]
fn somebody_brings_the_previous_one_back_where_it_can_read_what_is_stored() {
    for (formats, can) in [((3, 3), true), ((3, 4), false)] {
        let mut machine = Machine::new(0, formats);
        assert!(matches!(machine.program().go_back(NOW), Err(Error::NoPrevious)));
        machine.update(New::Healthy, None);
        let n_before = machine.disk.n_operations();
        let went = machine.program().go_back(NOW);
        if !can {
            assert!(matches!(went, Err(Error::StoreMovedOn(ONE))), "{went:?}");
            assert_eq!(machine.version(), TWO);
            continue;
        }
        assert_eq!(went.unwrap(), ONE);
        assert_eq!(machine.version(), ONE);
        assert_eq!(machine.program().given_up().unwrap(), Some(TWO));
        let last = machine.program().last().unwrap().unwrap().event;
        assert_eq!(last, Event::WentBack { from: TWO, to: ONE });
        for cut in 0..machine.disk.n_operations() - n_before {
            let mut machine = Machine::new(cut, formats);
            machine.update(New::Healthy, None);
            machine.disk.cut_after(cut);
            let _ = machine.program().go_back(NOW);
            machine.disk.lose_power(&mut machine.dice);
            machine.recover().unwrap();
            let went = machine.program().last().unwrap().unwrap().event == Event::WentBack { from: TWO, to: ONE };
            assert_eq!(machine.version(), if went { ONE } else { TWO }, "{cut}");
        }
    }
}

#[test]
fn what_is_not_the_program_that_was_signed_changes_nothing() {
    let machine = Machine::new(0, (3, 3));
    let wrong = machine.program().prepare(NOW, TWO, 3, &payload(TWO), &mut content(ONE).as_slice());
    assert!(matches!(wrong, Err(Error::Payload { what: "program" })), "{wrong:?}");
    let older = machine.program().prepare(NOW, ONE, 3, &payload(ONE), &mut content(ONE).as_slice());
    assert!(matches!(older, Err(Error::NotNewer { .. })), "{older:?}");
    assert_eq!(machine.version(), ONE);
    assert_eq!(machine.disk.get("/data/bin/frontdesk.new"), None);
}
