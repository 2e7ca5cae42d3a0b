//! What the updater asks of the system around it: to start things again, and to try programs.

use std::ffi::OsString;
use std::fmt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use tokio::time::{Instant, sleep};

use super::{Cause, Version, Why};

/// How often somebody looks whether a command has ended, or the gateway is ready.
const LOOK: Duration = Duration::from_millis(200);
/// A program that does not say its version in this time is none.
const TO_SAY_VERSION: Duration = Duration::from_secs(30);
/// Longest time to have something started again.
const TO_RESTART: Duration = Duration::from_secs(120);
/// The slowest board takes so many times the usual time.
const SLOWEST: u32 = 10;
/// An exit code of our programs: there is no such command.
const EX_USAGE: i32 = 64;

/// The system, so that tests can stand in for it.
#[async_trait::async_trait]
pub trait System: fmt::Debug + Send + Sync {
    /// Could the gateway be restarted, as far as is known?
    ///
    /// # Errors
    /// [`Cause::NoService`].
    fn can_restart_gateway(&self) -> Result<(), Why>;

    /// Ends the gateway and starts it again, from the program that lies at its place now.
    ///
    /// # Errors
    /// Why it could not.
    async fn restart_gateway(&self) -> Result<(), Why>;

    /// Restarts the machine, in order.
    ///
    /// # Errors
    /// Why it could not.
    async fn restart_machine(&self) -> Result<(), Why>;

    /// Does this program run here, is it that version, and does it take the configuration that is there?
    ///
    /// # Errors
    /// [`Cause::NotThatProgram`], [`Cause::Configuration`].
    async fn try_program(&self, program: &Path, version: Version) -> Result<(), Why>;

    /// Has the program note how the gateway is, to compare it with later.
    async fn remember(&self, program: &Path);

    /// Waits until the gateway that runs is healthy and of this version, as its own program says; `on_copy`: it has no
    /// channels yet.
    ///
    /// # Errors
    /// [`Cause::DidNotStart`], [`Cause::NotHealthy`].
    async fn health(&self, program: &Path, version: Version, on_copy: bool) -> Result<(), Why>;
}

/// How the gateway is restarted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Service {
    /// Nobody said how.
    None,
    /// A unit of systemd.
    Unit(String),
    /// A program that does it and returns.
    Program(PathBuf),
}

/// The system that this runs on.
#[derive(Debug)]
pub struct Machine {
    /// Of the gateway.
    pub home: PathBuf,
    /// How the gateway is restarted.
    pub service: Service,
    /// Where [`System::remember`] has it noted.
    pub snapshot: PathBuf,
    /// Longest time until a new version is healthy.
    pub patience: Duration,
}

/// How a command ended.
struct Ended {
    /// `None`: by a signal.
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ended {
    /// The first thing that its health check found wrong, else the last line of what it complained of.
    fn said(&self) -> String {
        if let Some(wrong) = self.stdout.lines().find_map(|line| line.strip_prefix("WRONG: ")) {
            return wrong.to_owned();
        }
        let mut lines = self.stderr.lines().chain(self.stdout.lines().filter(|_| self.stderr.trim().is_empty()));
        let line = lines.rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing").trim();
        line.strip_prefix("frontdesk: ").unwrap_or(line).to_owned()
    }
}

impl Machine {
    /// Runs a command to its end, and kills it when that takes too long.
    async fn run(program: &Path, arguments: &[OsString], limit: Duration) -> Result<Ended, String> {
        // Into files: nobody need read them meanwhile, and whoever inherits them does not keep us waiting.
        let (out, err) = (scratch()?, scratch()?);
        let stdio = |file: &std::fs::File| file.try_clone().map(Stdio::from).map_err(|error| error.to_string());
        let mut command = Command::new(program);
        command.args(arguments).stdin(Stdio::null()).stdout(stdio(&out)?).stderr(stdio(&err)?);
        let mut child = command.spawn().map_err(|error| error.to_string())?;
        let until = Instant::now() + limit;
        loop {
            match child.try_wait() {
                Ok(Some(status)) => {
                    return Ok(Ended { code: status.code(), stdout: text_of(out), stderr: text_of(err) });
                }
                Ok(None) if Instant::now() < until => sleep(LOOK).await,
                Ok(None) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    return Err(format!("it did not end in {} s", limit.as_secs()));
                }
                Err(error) => return Err(error.to_string()),
            }
        }
    }

    /// A command of our own programs.
    async fn ask(&self, program: &Path, arguments: &[&str], limit: Duration) -> Result<Ended, String> {
        let home = [OsString::from("--home"), self.home.clone().into_os_string()];
        let arguments: Vec<OsString> = home.into_iter().chain(arguments.iter().map(OsString::from)).collect();
        Self::run(program, &arguments, limit).await
    }

    async fn systemctl(&self, arguments: &[&str]) -> Result<(), Why> {
        let arguments: Vec<OsString> = arguments.iter().map(OsString::from).collect();
        let ended = Self::run(Path::new("systemctl"), &arguments, TO_RESTART).await;
        ended_well(ended)
    }

    /// Until the program's own health check is content; `None`: it has none. Who works on a copy has no channels to compare.
    async fn checked(&self, program: &Path, on_copy: bool) -> Option<Result<(), Why>> {
        let (seconds, snapshot) = (self.patience.as_secs().to_string(), self.snapshot.display().to_string());
        let mut arguments = vec!["health", "--wait", &seconds];
        if !on_copy && self.snapshot.exists() {
            arguments.extend(["--compare", &snapshot]);
        }
        // It waits longer on a slow board.
        let limit = self.patience.saturating_mul(SLOWEST) + TO_SAY_VERSION;
        match self.ask(program, &arguments, limit).await {
            Ok(Ended { code: Some(0), .. }) => Some(Ok(())),
            Ok(Ended { code: Some(EX_USAGE), .. }) => None,
            Ok(ended) => Some(Err(Why::new(Cause::NotHealthy, &ended.said()))),
            Err(why) => Some(Err(Why::new(Cause::NotHealthy, &format!("its health check: {why}")))),
        }
    }
}

fn ended_well(ended: Result<Ended, String>) -> Result<(), Why> {
    match ended {
        Ok(Ended { code: Some(0), .. }) => Ok(()),
        Ok(ended) => Err(Why::new(Cause::NoService, &ended.said())),
        Err(why) => Err(Why::new(Cause::NoService, &why)),
    }
}

/// A file without a name.
fn scratch() -> Result<std::fs::File, String> {
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    rustix::fs::memfd_create("frontdesk", flags).map(std::fs::File::from).map_err(|error| error.to_string())
}

/// The first part of what was written into it.
fn text_of(mut file: std::fs::File) -> String {
    use std::io::{Read as _, Seek as _};
    let mut bytes = Vec::new();
    let read = file.rewind().and_then(|()| file.take(64 * 1024).read_to_end(&mut bytes));
    read.map(|_| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default()
}

#[async_trait::async_trait]
impl System for Machine {
    fn can_restart_gateway(&self) -> Result<(), Why> {
        if self.service == Service::None { Err(Why::of(Cause::NoService)) } else { Ok(()) }
    }

    async fn restart_gateway(&self) -> Result<(), Why> {
        match &self.service {
            Service::None => Err(Why::of(Cause::NoService)),
            Service::Unit(unit) => self.systemctl(&["restart", unit]).await,
            Service::Program(program) => ended_well(Self::run(program, &[], TO_RESTART).await),
        }
    }

    async fn restart_machine(&self) -> Result<(), Why> {
        self.systemctl(&["reboot"]).await
    }

    async fn try_program(&self, program: &Path, version: Version) -> Result<(), Why> {
        let not_that = |why: &str| Why::new(Cause::NotThatProgram, why);
        let ended = Self::run(program, &["--version".into()], TO_SAY_VERSION).await.map_err(|why| not_that(&why))?;
        let said = ended.stdout.trim();
        if ended.code != Some(0) || said != format!("frontdesk {version}") {
            return Err(not_that(&format!("it says {said:?}")));
        }
        let checked = self.ask(program, &["config", "check"], TO_SAY_VERSION).await;
        match checked {
            Ok(Ended { code: Some(0), .. }) => Ok(()),
            Ok(ended) => Err(Why::new(Cause::Configuration, &ended.said())),
            Err(why) => Err(Why::new(Cause::Configuration, &why)),
        }
    }

    async fn remember(&self, program: &Path) {
        let snapshot = self.snapshot.display().to_string();
        let _ = std::fs::remove_file(&self.snapshot);
        // A version without a health check, or a gateway that does not run, has nothing to compare with.
        if let Err(why) = self.ask(program, &["health", "--remember", &snapshot], TO_SAY_VERSION).await {
            tracing::debug!(why, "how the gateway is was not noted");
        }
    }

    async fn health(&self, program: &Path, version: Version, on_copy: bool) -> Result<(), Why> {
        let until = Instant::now() + self.patience;
        let version = version.to_string();
        let mut said;
        loop {
            let status = self.ask(program, &["gateway", "status", "--json"], TO_SAY_VERSION).await;
            said = match status {
                Ok(Ended { code: Some(0), stdout, .. }) => match is_up(&stdout, &version) {
                    Ok(()) => break,
                    Err(why) => Why::new(Cause::NotHealthy, &why),
                },
                Ok(ended) => Why::new(Cause::DidNotStart, &ended.said()),
                Err(why) => Why::new(Cause::DidNotStart, &why),
            };
            if Instant::now() >= until {
                return Err(said);
            }
            sleep(LOOK).await;
        }
        self.checked(program, on_copy).await.unwrap_or(Ok(()))
    }
}

/// Is this the status of a gateway of that version which takes messages, or would?
fn is_up(status: &str, version: &str) -> Result<(), String> {
    let status: serde_json::Value =
        serde_json::from_str(status).map_err(|_error| "its status is no JSON".to_owned())?;
    let text = |name: &str| status.get(name).and_then(serde_json::Value::as_str);
    match (text("version"), text("safe_mode")) {
        (Some(said), _) if said != version => Err(format!("version {said} runs")),
        (_, Some(why)) => Err(format!("safe mode: {why}")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    fn machine(home: &Path) -> Machine {
        Machine {
            home: home.to_owned(),
            service: Service::None,
            snapshot: home.join("health.json"),
            patience: Duration::from_secs(2),
        }
    }

    fn program(home: &Path, script: &str) -> PathBuf {
        let path = home.join("frontdesk.new");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        path
    }

    async fn check(script: &str, expected: Result<(), Cause>) {
        let home = tempfile::tempdir().unwrap();
        let program = program(home.path(), script);
        let tried = machine(home.path()).try_program(&program, Version::new(1, 2, 3)).await;
        assert_eq!(tried.map_err(|why| why.code), expected, "{script}");
    }

    #[tokio::test]
    async fn a_program_says_its_version_and_takes_the_configuration() {
        let says = "[ \"$1\" = --version ] && echo frontdesk 1.2.3 && exit 0";
        check(&format!("{says}; [ \"$3$4\" = configcheck ]"), Ok(())).await;
        check(&format!("{says}; echo 'frontdesk: no such key' >&2; exit 78"), Err(Cause::Configuration)).await;
        check("echo frontdesk 1.2.4", Err(Cause::NotThatProgram)).await;
        check("exit 1", Err(Cause::NotThatProgram)).await;
    }

    #[tokio::test]
    async fn what_is_no_program_is_said() {
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("frontdesk.new");
        fs::write(&path, b"\x7fELFno").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
        let tried = machine(home.path()).try_program(&path, Version::new(1, 2, 3)).await.unwrap_err();
        assert_eq!(tried.code, Cause::NotThatProgram, "{tried}");
    }

    #[test]
    fn a_status_says_whether_the_version_is_up() {
        assert_eq!(is_up(r#"{"version":"1.2.3","safe_mode":null}"#, "1.2.3"), Ok(()));
        assert!(is_up(r#"{"version":"1.2.2","safe_mode":null}"#, "1.2.3").unwrap_err().contains("1.2.2"));
        assert!(
            is_up(r#"{"version":"1.2.3","safe_mode":"no such key"}"#, "1.2.3").unwrap_err().contains("no such key")
        );
        assert!(is_up("", "1.2.3").is_err());
    }
}
