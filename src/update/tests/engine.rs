//! Whole runs of the updater, with a system that only notes what it is asked for.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use serde_json::json;
use tempfile::TempDir;

use super::attacks::{ROOTS, usual_root};
use super::signed::{Content, LATER};
use crate::clock::{ManualClock, Timestamp};
use crate::update::boot::Fake;
use crate::update::{
    Board, Cause, Choice, Doing, Done, Event, Installation, Limits, Next, Order, Place, Progress, Report, Repository,
    Request, System, SystemDisk, Updater, Version, Want, Why, Wishes,
};

const ONE: Version = Version::new(1, 0, 0);
const TWO: Version = Version::new(1, 1, 0);
const NOW_MS: u64 = 1_800_000_000_000;
const FORMAT: u64 = 3;

/// What the system was asked for, and whether new versions are healthy.
#[derive(Debug, Default)]
struct Noted {
    asked: Mutex<Vec<String>>,
    /// Of the health checks to come, the first one first; without any all is well.
    unhealthy: Mutex<Vec<Option<Why>>>,
    state: PathBuf,
}

impl Noted {
    fn note(&self, what: String) {
        self.asked.lock().unwrap().push(what);
    }

    fn asked(&self) -> Vec<String> {
        std::mem::take(&mut *self.asked.lock().unwrap())
    }
}

#[async_trait::async_trait]
impl System for Noted {
    fn can_restart_gateway(&self) -> Result<(), Why> {
        Ok(())
    }

    async fn restart_gateway(&self) -> Result<(), Why> {
        let on_copy =
            Report::read(&self.state).on_copy.map_or_else(String::new, |version| format!(", {version} on a copy"));
        self.note(format!("gateway{on_copy}"));
        Ok(())
    }

    async fn restart_machine(&self) -> Result<(), Why> {
        self.note("machine".to_owned());
        Ok(())
    }

    async fn try_program(&self, _program: &Path, _version: Version) -> Result<(), Why> {
        Ok(())
    }

    async fn remember(&self, _program: &Path) {}

    async fn health(&self, _program: &Path, version: Version, on_copy: bool) -> Result<(), Why> {
        self.note(format!("health of {version}{}", if on_copy { " on a copy" } else { "" }));
        let mut unhealthy = self.unhealthy.lock().unwrap();
        if unhealthy.is_empty() { Ok(()) } else { unhealthy.remove(0).map_or(Ok(()), Err) }
    }
}

/// A machine with a repository beside it.
struct World {
    directory: TempDir,
    system: Noted,
    boot: Fake,
    clock: Arc<ManualClock>,
    wishes: Wishes,
}

fn about(kind: &str, format: u64) -> serde_json::Value {
    json!({ "version": "1.1.0", "board": "x86_64", "kind": kind, "store_format": format })
}

impl World {
    /// The release stores in this format.
    fn new(format: u64) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let state = directory.path().join("state");
        let (repository, metadata) = (directory.path().join("releases"), directory.path().join("releases/metadata"));
        for made in [&state, &metadata, &directory.path().join("home"), &directory.path().join("bin")] {
            fs::create_dir_all(made).unwrap();
        }
        fs::write(metadata.join("1.root.json"), usual_root(1, LATER, &ROOTS[..2])).unwrap();
        fs::write(directory.path().join("root-b"), [0; 64]).unwrap();
        fs::write(directory.path().join("bin/frontdesk"), "old").unwrap();
        let mut content = Content::program("1.1.0", b"new");
        content.files = ["kernel", "root", "program"]
            .map(|kind| {
                (format!("frontdesk-1.1.0-x86_64.{kind}"), format!("new {kind}").into_bytes(), about(kind, format))
            })
            .to_vec();
        content.write(&repository);
        let system = Noted { state, ..Noted::default() };
        let wishes = Wishes { auto: true, window: Some("03:00-05:00".to_owned()), is_open: true };
        let clock = Arc::new(ManualClock::at(Timestamp(NOW_MS)));
        Self { directory, system, boot: Fake::new(ONE), clock, wishes }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn with<T>(&self, is_appliance: bool, running: Version, act: impl AsyncFnOnce(&Updater<'_>) -> T) -> T {
        let place = match is_appliance {
            true => {
                Place::Slots { boot: &self.boot, idle_root: self.path("root-b"), installation: Installation::SdBoot }
            }
            false => Place::Program(self.path("bin/frontdesk")),
        };
        let address = format!("file://{}", self.path("releases").display());
        let anchor = usual_root(1, LATER, &ROOTS[..2]);
        let http = reqwest::Client::new();
        let repository =
            Repository::new(&address, anchor, &self.path("state/trusted"), http, Limits::default()).unwrap();
        let updater = Updater {
            home: self.path("home"),
            state: self.path("state"),
            running,
            store_format: FORMAT,
            store_bytes: 0,
            board: Some(Board::X86),
            place,
            disk: &SystemDisk,
            system: &self.system,
            clock: &*self.clock,
            wishes: self.wishes.clone(),
            repository: Ok(repository),
            device: [0; 16],
        };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(act(&updater))
    }

    fn slots<T>(&self, running: Version, act: impl AsyncFnOnce(&Updater<'_>) -> T) -> T {
        self.with(true, running, act)
    }

    fn order(&self, is_appliance: bool, order: Order) -> Result<Done, Why> {
        self.with(is_appliance, ONE, async |updater| updater.carry_out(order).await)
    }

    fn report(&self) -> Report {
        Report::read(&self.path("state"))
    }

    fn last(&self) -> Event {
        self.report().outcomes[0].event.clone()
    }

    /// The loader counts and chooses, and the new start looks what there is.
    fn restart(&self, running: Version) -> Next {
        self.boot.restart();
        self.slots(running, async |updater| updater.recover()).unwrap()
    }
}

#[test]
fn a_slot_is_written_tried_and_kept() {
    for (format, on_copy) in [(FORMAT, false), (FORMAT + 1, true)] {
        let world = World::new(format);
        assert_eq!(world.order(true, Order::Clock), Ok(Done::Restarting(TWO)));
        assert_eq!(world.system.asked(), ["machine"]);
        assert_eq!(world.report().state, Doing::RestartPending { version: TWO });
        // Before anything looks at it, the new version knows that it must not touch what is stored.
        assert_eq!(world.report().is_on_copy(TWO), on_copy);
        assert!(!world.report().is_on_copy(ONE));
        assert_eq!(world.restart(TWO), Next::CheckHealth);
        assert_eq!(world.report().state, Doing::Trial { version: TWO, from: ONE, on_copy });
        assert_eq!(world.report().is_on_copy(TWO), on_copy);
        world.slots(TWO, async |updater| updater.confirm().await).unwrap();
        let restarted: &[&str] = if on_copy { &["gateway"] } else { &[] };
        assert_eq!(world.system.asked(), restarted, "it works on what is stored once it is kept");
        let report = world.report();
        assert_eq!((report.on_copy, report.running, report.offer), (None, Some(TWO), None));
        assert_eq!(world.last(), Event::Installed { from: ONE, to: TWO });
        assert!(!world.path("state/download").exists());
    }
}

#[test]
fn a_slot_that_is_not_healthy_is_given_up_and_not_taken_again() {
    let world = World::new(FORMAT);
    world.order(true, Order::Clock).unwrap();
    for _ in 0..3 {
        assert_eq!(world.restart(TWO), Next::CheckHealth);
        let given_up = world.slots(TWO, async |updater| updater.give_up("the page is dead").await);
        assert_eq!(given_up, Ok(Next::Restart));
    }
    assert_eq!(world.restart(ONE), Next::Nothing);
    let why = Why::new(Cause::NotHealthy, "the page is dead");
    assert_eq!(world.last(), Event::FellBack { from: ONE, to: TWO, why: why.clone() });
    assert_eq!(world.report().state, Doing::Failed { version: Some(TWO), why });
    world.system.asked();
    assert_eq!(world.order(true, Order::Check), Ok(Done::Looked(Choice::UpToDate)));
    assert_eq!(world.order(true, Order::Install(None)), Ok(Done::Restarting(TWO)), "who asks for it gets it");
}

#[test]
fn what_is_in_place_waits_for_the_window() {
    let mut world = World::new(FORMAT);
    world.order(true, Order::Clock).unwrap();
    world.wishes.is_open = false;
    world.system.asked();
    assert_eq!(world.order(true, Order::Clock), Ok(Done::Nothing));
    assert_eq!(world.system.asked(), [""; 0]);
    world.wishes.is_open = true;
    assert_eq!(world.order(true, Order::Clock), Ok(Done::Restarting(TWO)));
    assert_eq!(world.system.asked(), ["machine"]);
    assert_eq!(world.order(true, Order::Rollback).map_err(|why| why.code), Err(Cause::TrialPending));
}

#[test]
fn the_clock_does_what_the_owner_wishes() {
    let check = |auto, is_open, expected: &Doing| {
        let mut world = World::new(FORMAT);
        world.wishes = Wishes { auto, is_open, ..world.wishes };
        assert!(matches!(world.order(false, Order::Clock), Ok(Done::Looked(Choice::Update(_)))));
        assert_eq!(world.report().state, *expected);
        assert_eq!(fs::read(world.path("bin/frontdesk")).unwrap(), b"old");
    };
    check(false, true, &Doing::Available { version: TWO });
    check(false, false, &Doing::Available { version: TWO });
    check(true, false, &Doing::WaitingForWindow { version: TWO, window: "03:00-05:00".to_owned() });
}

#[test]
fn the_clock_asks_the_repository_now_and_then() {
    let mut world = World::new(FORMAT);
    world.wishes.auto = false;
    let asked = |world: &World| {
        world.order(false, Order::Clock).unwrap();
        world.report().checked.unwrap().at_ms
    };
    assert_eq!(asked(&world), NOW_MS);
    world.clock.advance_ms(60 * 60 * 1000);
    assert_eq!(asked(&world), NOW_MS);
    world.clock.advance_ms(5 * 60 * 60 * 1000);
    assert_eq!(asked(&world), NOW_MS + 6 * 60 * 60 * 1000);
}

#[test]
fn a_program_is_put_in_place_and_kept_when_it_is_healthy() {
    let world = World::new(FORMAT);
    assert_eq!(world.order(false, Order::Install(None)), Ok(Done::Installed(TWO)));
    assert_eq!(world.system.asked(), ["gateway", "health of 1.1.0"]);
    assert_eq!(fs::read(world.path("bin/frontdesk")).unwrap(), b"new program");
    let report = world.report();
    assert_eq!((report.running, report.way_back, report.state), (Some(TWO), Some(ONE), Doing::UpToDate));
    let went = world.with(false, TWO, async |updater| updater.carry_out(Order::Rollback).await);
    assert_eq!(went, Ok(Done::WentBack(ONE)));
    assert_eq!(fs::read(world.path("bin/frontdesk")).unwrap(), b"old");
    assert_eq!(world.report().running, Some(ONE));
}

#[test]
fn a_program_that_is_not_healthy_is_taken_back() {
    let world = World::new(FORMAT + 1);
    let why = Why::new(Cause::NotHealthy, "the page is dead");
    *world.system.unhealthy.lock().unwrap() = vec![Some(why.clone())];
    assert_eq!(world.order(false, Order::Install(None)), Err(why.clone()));
    assert_eq!(world.system.asked(), ["gateway, 1.1.0 on a copy", "health of 1.1.0 on a copy", "gateway"]);
    assert_eq!(fs::read(world.path("bin/frontdesk")).unwrap(), b"old");
    assert_eq!(world.last(), Event::FellBack { from: ONE, to: TWO, why: why.clone() });
    let report = world.report();
    assert_eq!((report.running, report.on_copy, report.way_back), (Some(ONE), None, None));
    assert_eq!(report.state, Doing::Failed { version: Some(TWO), why });
}

#[test]
fn a_program_that_was_let_at_what_is_stored_is_kept_whatever_comes() {
    let world = World::new(FORMAT + 1);
    *world.system.unhealthy.lock().unwrap() = vec![None, Some(Why::of(Cause::DidNotStart))];
    assert_eq!(world.order(false, Order::Install(None)), Ok(Done::Installed(TWO)));
    let asked = ["gateway, 1.1.0 on a copy", "health of 1.1.0 on a copy", "gateway", "health of 1.1.0"];
    assert_eq!(world.system.asked(), asked);
    assert_eq!(fs::read(world.path("bin/frontdesk")).unwrap(), b"new program");
    assert_eq!(world.report().way_back, None, "the old one could not read it");
}

#[test]
fn a_request_is_carried_out_once_and_answered() {
    let world = World::new(FORMAT);
    let request = |id: &str, want, at_ms| Request { id: id.to_owned(), want, version: None, by: String::new(), at_ms };
    let run = || {
        let _ = world.with(false, ONE, async |updater| updater.run().await);
        world.report().request.unwrap()
    };
    request("a", Want::Rollback, NOW_MS).write(&world.path("home")).unwrap();
    let answer = run();
    assert_eq!((answer.state, answer.why.map(|why| why.code)), (Progress::Refused, Some(Cause::NoWayBack)));
    request("b", Want::Install, NOW_MS - 25 * 60 * 60 * 1000).write(&world.path("home")).unwrap();
    let answer = run();
    assert_eq!((answer.id.as_str(), answer.why.map(|why| why.code)), ("b", Some(Cause::TooLate)));
    request("c", Want::Check, NOW_MS).write(&world.path("home")).unwrap();
    assert_eq!(run().state, Progress::Done);
    let before = world.report();
    assert_eq!(run().id, "c");
    assert_eq!(world.report().checked, before.checked, "once");
}

#[test]
fn a_repository_that_lies_is_said() {
    let world = World::new(FORMAT);
    fs::write(world.path("releases/metadata/timestamp.json"), "{}").unwrap();
    assert_eq!(world.order(false, Order::Clock).map_err(|why| why.code), Err(Cause::Refused));
    let report = world.report();
    assert!(matches!(report.state, Doing::Failed { version: None, ref why } if why.code == Cause::Refused));
    assert_eq!(report.checked.and_then(|checked| checked.problem).map(|why| why.code), Some(Cause::Refused));
}
