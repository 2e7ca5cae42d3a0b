//! `update`: what there is, what is installed and how that went. Needs no gateway: the updater is a program of its own, run
//! by whoever may replace what is installed.
//!
//! Trust is never taken from the home of a gateway that is another user: with `$FRONTDESK_UPDATE_STATE`, all that is believed lies
//! there.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use aws_lc_rs::rand;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::output::{self, line, printable};
use super::{Context, Exit, Failure, client, log};
use crate::clock::{Clock as _, SystemClock};
use crate::document::{read_at_most, write_first};
use crate::gateway;
use crate::store;
use crate::update::{
    self, BUILT_IN_REPOSITORY, BUILT_IN_ROOT, Board, Boot, Cause, Choice, Done, Installation, Limits, Machine, Next,
    Order, Place, Report, Repository, SdBoot, Service, Severity, Slot, SystemDisk, UbootScript, Updater, Version, Why,
    Wishes,
};

/// No root is longer.
const MAX_ROOT_BYTES: usize = 1 << 20;
/// A list of the files of a package is no longer.
const MAX_LIST_BYTES: usize = 1 << 20;
/// Longest time until a new version is healthy, in seconds.
const PATIENCE_SECONDS: u64 = 180;
/// By itself it comes no faster: somebody is talking over the same line.
const BYTES_PER_SECOND: u64 = 2_000_000;
const BOOT_PARTITION: &str = "/boot";
const SLOTS: &str = "/dev/disk/by-partlabel";
/// What the root of the appliance says of itself.
const SYSTEM: &str = "/etc/os-release";

#[derive(Debug, Subcommand)]
pub(super) enum Update {
    /// Say which release this device would get, without installing it; exit 75 when the repository is not to be believed
    Check(From),
    /// Install the newest release for this device, or this one, now; exit 75 when it was not installed, and why
    Install(Install),
    /// Say what runs, what there is, and how the last updates went
    Status,
    /// Bring the version back that ran before
    Rollback,
    /// What the timer and the page start: does what the settings say and what somebody asked for
    Run(From),
    /// At every start, before the gateway: finish or undo what was cut off
    Recover,
    /// What runs on trial is healthy: keep it
    Confirm,
    /// What runs on trial is not healthy, and why: restart, until the version before runs
    GiveUp(GiveUp),
}

#[derive(Debug, Args)]
pub(super) struct From {
    /// Where releases are: https://…, http://… or file:///… for a stick [default: updates.repository, else what the program was
    /// built with]
    #[arg(long, value_name = "ADDRESS")]
    repository: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Install {
    /// As 1.2.3
    version: Option<Version>,
    #[command(flatten)]
    from: From,
}

#[derive(Debug, Args)]
pub(super) struct GiveUp {
    /// In a few words
    why: String,
}

pub(super) fn run(context: &Context, command: &Update) -> Result<(), Failure> {
    match command {
        Update::Check(from) => check(context, from),
        Update::Install(install) => {
            act(context, install.from.repository.as_deref(), true, Act::Order(Order::Install(install.version)))
        }
        Update::Status => {
            status(context);
            Ok(())
        }
        Update::Rollback => act(context, None, true, Act::Order(Order::Rollback)),
        Update::Run(from) => {
            log::start(context)?;
            act(context, from.repository.as_deref(), false, Act::Run)
        }
        Update::Recover => {
            log::start(context)?;
            act(context, None, false, Act::Recover)
        }
        Update::Confirm => {
            log::start(context)?;
            act(context, None, false, Act::Confirm)
        }
        Update::GiveUp(give_up) => {
            log::start(context)?;
            act(context, None, false, Act::GiveUp(&give_up.why))
        }
    }
}

/// What is asked of the updater.
#[derive(Debug, Clone, Copy)]
enum Act<'a> {
    Order(Order),
    Run,
    Recover,
    Confirm,
    GiveUp(&'a str),
}

fn state(context: &Context) -> PathBuf {
    update::state_directory(&context.home, context.environment.get("FRONTDESK_UPDATE_STATE").map(String::as_str))
}

/// Must the gateway of this program work on a copy of what is stored?
pub(super) fn is_on_copy(context: &Context) -> bool {
    Report::read(&state(context)).is_on_copy(running(context))
}

/// What runs: of the appliance the version of its root, which the program in it is a part of.
fn running(context: &Context) -> Version {
    let is_appliance = named(context, "FRONTDESK_APPLIANCE").is_some();
    let system = is_appliance.then(|| read_at_most(Path::new(SYSTEM), MAX_LIST_BYTES).ok()).flatten();
    let system = system.and_then(|bytes| String::from_utf8(bytes).ok()).unwrap_or_default();
    image_version(&system).unwrap_or_else(Version::of_program)
}

/// Out of an `os-release`.
fn image_version(system: &str) -> Option<Version> {
    let value = system.lines().find_map(|line| line.strip_prefix("IMAGE_VERSION="))?;
    value.trim_matches(['"', '\'']).parse().ok()
}

fn named<'c>(context: &'c Context, name: &str) -> Option<&'c str> {
    context.environment.get(name).map(String::as_str).filter(|value| !value.is_empty())
}

/// A program whose owner runs the gateway himself has no unit that does it: what was cut off while it was tried is taken back,
/// and then that is started.
pub(super) fn before_gateway(context: &Context) {
    let state = state(context);
    let is_left = state == context.home.join("updates") && state.join("update.json").exists();
    // Who holds the lock tries this very program.
    let Some(_lock) = is_left.then(|| update::lock(&state).ok()).flatten() else { return };
    let recovered = with_updater(context, None, false, |updater, _| {
        Ok(match &updater.place {
            Place::Program(path) => (updater.recover().map_err(|error| Exit::TryAgain.because(error))?, path.clone()),
            Place::Slots { .. } | Place::Package => (Next::Nothing, PathBuf::new()),
        })
    });
    match recovered {
        Ok((Next::Restart, program)) => {
            let error = Command::new(&program).args(std::env::args_os().skip(1)).exec();
            tracing::error!(%error, program = %program.display(), "the version before cannot be started");
        }
        Ok(_) => {}
        Err(failure) => tracing::error!(error = %failure.error, "an update that was cut off is left as it is"),
    }
}

fn act(context: &Context, repository: Option<&str>, by_hand: bool, act: Act<'_>) -> Result<(), Failure> {
    let _lock = match update::lock(&state(context)) {
        // The clock comes again.
        Err(why) if matches!(act, Act::Run) && why.code == Cause::Busy => return Ok(()),
        lock => lock.map_err(|why| Exit::TryAgain.say(sentence(&why)))?,
    };
    let done = with_updater(context, repository, by_hand, |updater, runtime| {
        let refused = |why: Why| {
            let exit = match why.code {
                Cause::NoRepository | Cause::NoRoot | Cause::NoService | Cause::Package => Exit::Config,
                Cause::NoSuchRelease | Cause::NoWayBack | Cause::StoreMovedOn => Exit::Usage,
                _ => Exit::TryAgain,
            };
            exit.say(sentence(&why))
        };
        match act {
            Act::Order(order) => runtime.block_on(updater.carry_out(order)).map_err(refused).map(Some),
            // The report says it, and the clock comes again: a unit that failed would only say it twice.
            Act::Run => Ok(runtime
                .block_on(updater.run())
                .inspect_err(|why| tracing::warn!(%why, "the updater did not go on"))
                .ok()),
            Act::Recover => updater.recover().map(|_| None).map_err(|error| Exit::TryAgain.because(error)),
            Act::Confirm => {
                runtime.block_on(updater.confirm()).map(|()| None).map_err(|error| Exit::TryAgain.because(error))
            }
            Act::GiveUp(why) => runtime.block_on(updater.give_up(why)).map(|_| None).map_err(refused),
        }
    })?;
    if let Some(done) = done {
        said(context, &done);
    }
    Ok(())
}

/// Why, as a sentence with what to do.
fn sentence(why: &Why) -> String {
    let to_do = match why.code {
        Cause::NoRepository => "; name one with --repository ADDRESS, or as updates.repository",
        Cause::NoService => {
            "; say it as FRONTDESK_UPDATE_RESTART, the path of a program that restarts the gateway, or run it as \
             frontdesk.service of systemd"
        }
        Cause::Package => "; install it as others of the system, for example with `apt-get install frontdesk`",
        Cause::Busy | Cause::Unreachable => "; try again later",
        Cause::NoRoom => "; make room",
        Cause::NoSuchRelease => "; `frontdesk update check` says what is there",
        Cause::StoreMovedOn => "; a backup of before brings everything back as it was then",
        Cause::NotHealthy | Cause::DidNotStart => "; the version before runs again",
        _ => "",
    };
    format!("{why}{to_do}")
}

/// Makes an updater of what this machine is, and lets it work.
fn with_updater<T>(
    context: &Context,
    repository: Option<&str>,
    by_hand: bool,
    work: impl FnOnce(&Updater<'_>, &tokio::runtime::Runtime) -> Result<T, Failure>,
) -> Result<T, Failure> {
    let (state, variables) = (state(context), context.variables());
    update::make_state_directory(&state).map_err(|error| Exit::TryAgain.because(error))?;
    let named = |name: &str| named(context, name);
    let runtime = client::runtime()?;
    let (wanted, business) = crate::config::updates(&context.home, &variables);
    let wishes = Wishes {
        auto: wanted.auto,
        window: wanted.window.map(|window| window.to_string()),
        is_open: wanted.is_open(&business, SystemClock.now()),
    };
    let address = repository.map(str::to_owned).or(wanted.repository);
    let (disk, running) = (SystemDisk, running(context));
    let boot: Option<(Box<dyn Boot>, PathBuf, Installation)> = match named("FRONTDESK_APPLIANCE") {
        None => None,
        Some("sd-boot") => {
            let boot = SdBoot::new(&disk, Path::new(BOOT_PARTITION), running);
            Some((Box::new(boot), slot_path(running_slot(named("FRONTDESK_SLOT"))?.other()), Installation::SdBoot))
        }
        Some("uboot") => {
            let slot = running_slot(named("FRONTDESK_SLOT"))?;
            let boot = UbootScript::new(&disk, Path::new(BOOT_PARTITION), running, slot);
            Some((Box::new(boot), slot_path(slot.other()), Installation::Uboot))
        }
        Some(other) => {
            return Err(Exit::Config.say(format!("FRONTDESK_APPLIANCE is {other:?}; it is sd-boot or uboot")));
        }
    };
    let place = match &boot {
        Some((boot, idle_root, installation)) => {
            Place::Slots { boot: &**boot, idle_root: idle_root.clone(), installation: installation.clone() }
        }
        None => program_place()?,
    };
    let service = match named("FRONTDESK_UPDATE_RESTART") {
        Some(program) => Service::Program(PathBuf::from(program)),
        None if Path::new("/run/systemd/system").exists() && is_root() => Service::Unit("frontdesk.service".to_owned()),
        None => Service::None,
    };
    let patience = named("FRONTDESK_UPDATE_PATIENCE").and_then(|seconds| seconds.parse().ok());
    let machine = Machine {
        home: context.home.clone(),
        service,
        snapshot: state.join("health.json"),
        patience: Duration::from_secs(patience.unwrap_or(PATIENCE_SECONDS)),
    };
    let updater = Updater {
        home: context.home.clone(),
        running,
        store_format: store::SHAPE,
        store_bytes: store_bytes(&gateway::find_store(&context.home, &variables)),
        board: Board::of_program(),
        place,
        disk: &disk,
        system: &machine,
        clock: &SystemClock,
        wishes,
        repository: open_repository(&state, address.as_deref(), by_hand)?,
        device: id(&state)?,
        state,
    };
    work(&updater, &runtime)
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

fn store_bytes(path: &Path) -> u64 {
    fs::metadata(path).map_or(0, |file| file.len())
}

/// The partition of a slot.
fn slot_path(slot: Slot) -> PathBuf {
    Path::new(SLOTS).join(format!("root-{slot}"))
}

/// As who started the system says; else what runs has its root on the device that a mapping was made of, or on the partition
/// itself.
fn running_slot(said: Option<&str>) -> Result<Slot, Failure> {
    match said {
        Some("a") => return Ok(Slot::A),
        Some("b") => return Ok(Slot::B),
        _ => {}
    }
    let cannot = |why: String| Exit::Config.say(format!("cannot tell which slot runs: {why}"));
    let root = fs::metadata("/").map_err(|error| cannot(error.to_string()))?;
    let is_root = |slot: Slot| -> io::Result<bool> {
        let device = fs::metadata(slot_path(slot))?.rdev();
        if device == root.dev() {
            return Ok(true);
        }
        let number = |device| format!("{}:{}", rustix::fs::major(device), rustix::fs::minor(device));
        let slaves = PathBuf::from(format!("/sys/dev/block/{}/slaves", number(root.dev())));
        for slave in fs::read_dir(slaves).into_iter().flatten() {
            if fs::read_to_string(slave?.path().join("dev"))?.trim() == number(device) {
                return Ok(true);
            }
        }
        Ok(false)
    };
    for slot in [Slot::A, Slot::B] {
        if is_root(slot).map_err(|error| cannot(format!("{}: {error}", slot_path(slot).display())))? {
            return Ok(slot);
        }
    }
    Err(cannot(format!("the root is on neither of {SLOTS}/root-a and root-b")))
}

/// Where this program lies, and whose it is.
fn program_place() -> Result<Place<'static>, Failure> {
    let path =
        std::env::current_exe().map_err(|error| Exit::Internal.say(format!("cannot find this program: {error}")))?;
    // What was replaced while it runs is called so by the system.
    let path = match path.to_str().and_then(|path| path.strip_suffix(" (deleted)")) {
        Some(path) => PathBuf::from(path),
        None => path,
    };
    let list = read_at_most(Path::new("/var/lib/dpkg/info/frontdesk.list"), MAX_LIST_BYTES).unwrap_or_default();
    let list = String::from_utf8_lossy(&list);
    let is_of_package = list.lines().any(|line| Path::new(line) == path);
    Ok(if is_of_package { Place::Package } else { Place::Program(path) })
}

/// What is asked for releases, or why nobody can be.
fn open_repository(state: &Path, address: Option<&str>, by_hand: bool) -> Result<Result<Repository, Why>, Failure> {
    let Some(address) = address.or(BUILT_IN_REPOSITORY) else { return Ok(Err(Why::of(Cause::NoRepository))) };
    let anchor = match anchor(state) {
        Ok(anchor) => anchor,
        Err(why) => return Ok(Err(why)),
    };
    let http = reqwest::Client::builder()
        // Metadata says what is right, not a server that sends somebody elsewhere.
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("frontdesk/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(anyhow::Error::from)?;
    let limits = Limits { bytes_per_second: (!by_hand).then_some(BYTES_PER_SECOND), ..Limits::default() };
    let repository = Repository::new(address, anchor, &state.join("trusted"), http, limits);
    Ok(repository.map_err(|error| Why::from(&error)))
}

/// The root that this device was given: its own, or the one of the program.
fn anchor(state: &Path) -> Result<Vec<u8>, Why> {
    let path = state.join("root.json");
    match read_at_most(&path, MAX_ROOT_BYTES) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            let say =
                || Why::new(Cause::NoRoot, &format!("put the root.json of the repository into {}", path.display()));
            BUILT_IN_ROOT.map(|root| root.as_bytes().to_vec()).ok_or_else(say)
        }
        Err(error) => Err(Why::new(Cause::NoRoot, &format!("cannot read {}: {error}", path.display()))),
    }
}

/// The place of this device in the waves, made once.
fn id(state: &Path) -> Result<[u8; 16], Failure> {
    let path = state.join("device.id");
    let read = || read_at_most(&path, 64).ok().and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
    if let Some(id) = read() {
        return Ok(id);
    }
    let made = || {
        let mut id = [0; 16];
        rand::fill(&mut id).map_err(io::Error::other)?;
        match write_first(&path, &id, 0o600) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read().ok_or(error),
            written => written.map(|()| id),
        }
    };
    made().map_err(|error: io::Error| Exit::TryAgain.say(format!("cannot write {}: {error}", path.display())))
}

fn check(context: &Context, from: &From) -> Result<(), Failure> {
    act(context, from.repository.as_deref(), true, Act::Order(Order::Check))
}

fn status(context: &Context) {
    let report = Report::read(&state(context));
    if context.json {
        return output::json(&serde_json::to_value(&report).unwrap_or_default());
    }
    line(&report.to_string());
    if let Some(checked) = &report.checked {
        let at = crate::clock::Timestamp(checked.at_ms);
        match &checked.problem {
            None => line(&format!("The repository was last asked at {at}.")),
            Some(why) => {
                line(&format!("The repository was last asked at {at}, in vain: {}.", printable(&why.to_string())));
            }
        }
    }
    if let Some(version) = report.way_back {
        line(&format!("`frontdesk update rollback` brings {version} back."));
    }
    for outcome in &report.outcomes {
        line(&printable(&outcome.to_string()));
    }
}

fn said(context: &Context, done: &Done) {
    let running = running(context);
    let (sentence, found) = match done {
        Done::Nothing => {
            (format!("version {running} runs, and nothing is to be done now"), json!({ "state": "nothing" }))
        }
        Done::Looked(Choice::UpToDate) => (
            format!("version {running} runs, and there is nothing newer for this device"),
            json!({ "state": "up_to_date" }),
        ),
        Done::Looked(Choice::Later { version, from }) => (
            format!("version {running} runs; {version} is being handed out, and it is this device's turn at {from}"),
            json!({ "state": "later", "version": version.to_string(), "from": from.to_string() }),
        ),
        Done::Looked(Choice::Update(bundle)) => {
            let closes = if bundle.about.severity == Severity::Security { "; it closes a hole" } else { "" };
            let n_bytes: u64 = bundle.offers.iter().map(|offer| offer.payload.bytes).sum();
            let version = bundle.version;
            (
                format!("version {running} runs; {version} is there, {n_bytes} bytes{closes}"),
                json!({
                    "state": "available", "version": version.to_string(), "bytes": n_bytes,
                    "severity": bundle.about.severity, "notes": bundle.about.notes,
                }),
            )
        }
        Done::Restarting(version) => (
            format!("version {version} is in place and is tried at the next start of the machine"),
            json!({ "state": "restarting", "version": version.to_string() }),
        ),
        Done::Installed(version) => (
            format!("version {version} runs, and is healthy"),
            json!({ "state": "installed", "version": version.to_string() }),
        ),
        Done::WentBack(version) => {
            (format!("version {version} runs again"), json!({ "state": "went_back", "version": version.to_string() }))
        }
    };
    if context.json {
        let mut found = found;
        if let Some(found) = found.as_object_mut() {
            found.insert("running".to_owned(), Value::String(running.to_string()));
        }
        output::json(&found);
        return;
    }
    line(&sentence);
    if let Done::Looked(Choice::Update(bundle)) = done
        && !bundle.about.notes.is_empty()
    {
        line(&printable(&bundle.about.notes));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_says_its_version() {
        let system = "NAME=Frontdesk\nIMAGE_VERSION=\"1.2.3\"\nVERSION_ID=13\n";
        assert_eq!(image_version(system), Some(Version::new(1, 2, 3)));
        assert_eq!(image_version("IMAGE_VERSION=1.2.3"), Some(Version::new(1, 2, 3)));
        for other in ["", "IMAGE_VERSION=", "VERSION=1.2.3", "IMAGE_VERSION=13"] {
            assert_eq!(image_version(other), None, "{other}");
        }
    }
}
