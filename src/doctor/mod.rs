//! What is wrong, worst first, and how to mend it; the security audit is part of it.
//!
//! [`findings`] decides, and is pure; [`examine`] looks at the disk for it. Inside a running gateway it also
//! has the gateway's own view; without one it checks what it can. Whether two people share a conversation is asked
//! of the resolver that names conversations, never concluded a second way. Nothing here changes anything.

mod audit;
mod disk;
mod told;
mod updates;
mod watch;
#[cfg(test)]
mod tests;

use std::path::Path;

use crate::clock::Timestamp;
use crate::config::{self, Error, Loaded};
use crate::document::{Severity as ProblemSeverity, Variables};
use crate::gateway::device_key::Sources;
use crate::gateway::{Offline, Status, find_store};
use crate::update::{Known, STATE_VARIABLE};

pub use told::{Told, told};
pub use watch::watch;

use disk::Disk;

/// The id of findings that say that the configuration cannot be used.
pub const CONFIG: &str = "config";

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Messages are not answered, or others can read what they must not.
    Error,
    /// It will be an error some day, or is more open than most want.
    Warning,
    /// Nothing is wrong; somebody may want to know.
    Hint,
}

impl Severity {
    /// In one word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
            Self::Hint => "hint",
        }
    }
}

/// One thing, and what to do about it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// How bad it is.
    pub severity: Severity,
    /// The same for the same kind of thing.
    pub id: &'static str,
    /// What is so. No secret, no word of a conversation.
    pub what: String,
    /// What to do.
    pub fix: String,
}

impl Finding {
    fn new(severity: Severity, id: &'static str, what: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { severity, id, what: what.into(), fix: fix.into() }
    }
}

/// A gateway that runs.
#[derive(Debug)]
pub struct Running<'g> {
    /// How it is.
    pub status: &'g Status,
    /// Of the text of its configuration.
    pub config_digest: Option<&'g str>,
}

/// Looks at a home and says what is wrong. Without a gateway that runs, the device key is looked for where `sources` say,
/// and the store is opened and not changed.
#[must_use]
pub fn examine(
    home: &Path,
    variables: &dyn Variables,
    running: Option<&Running<'_>>,
    sources: &Sources,
    now: Timestamp,
) -> Vec<Finding> {
    let loaded = config::load(home, variables);
    let store = running.map_or_else(|| find_store(home, variables), |running| running.status.store.clone().into());
    let offline = match running {
        Some(_) => Offline::default(),
        None => Offline::look(home, &store, sources),
    };
    let updates = Known::look(home, variables.get(STATE_VARIABLE).as_deref());
    findings(&loaded, running, &Disk { offline, updates, ..Disk::look(home, &store) }, now)
}

/// What is wrong, worst first.
fn findings(
    loaded: &Result<Loaded, Error>,
    running: Option<&Running<'_>>,
    disk: &Disk,
    now: Timestamp,
) -> Vec<Finding> {
    let mut findings = match loaded {
        Ok(loaded) => audit::settings(&loaded.settings, &loaded.clear_secrets),
        Err(error) => unusable(error),
    };
    match running {
        Some(running) => findings.extend(runtime(running, loaded)),
        None => {
            let warnings = loaded.iter().flat_map(|loaded| &loaded.warnings);
            findings.extend(warnings.map(|warning| sentence(Severity::Warning, "configuration", &warning.to_string())));
            let notes = loaded.iter().flat_map(|loaded| &loaded.settings.notes);
            findings.extend(notes.map(|note| sentence(Severity::Hint, "note", note)));
            let what = "no gateway is running here; what only it knows was not checked, and of the store only what a start \
                        reads first";
            let fix = "start it with `gateway run`; `store check` reads all of the store";
            findings.push(Finding::new(Severity::Hint, "not-running", what, fix));
        }
    }
    let is_auto = loaded.as_ref().is_ok_and(|loaded| loaded.settings.updates.auto);
    findings.extend(updates::findings(&disk.updates, is_auto, now));
    findings.extend(disk.findings(now));
    findings.sort_by_key(|finding| finding.severity);
    findings
}

fn unusable(error: &Error) -> Vec<Finding> {
    const UNDO: &str = "mend the file, or go back with `config undo`";
    match error {
        Error::File(error) => vec![Finding::new(Severity::Error, CONFIG, error.to_string(), UNDO)],
        Error::Invalid(problems) => problems
            .iter()
            .filter(|problem| problem.severity == ProblemSeverity::Error)
            .map(|problem| {
                let (what, fix) = split(&problem.to_string(), UNDO);
                Finding::new(Severity::Error, CONFIG, what, fix)
            })
            .collect(),
    }
}

fn runtime(running: &Running<'_>, loaded: &Result<Loaded, Error>) -> Vec<Finding> {
    let status = running.status;
    let mut findings: Vec<Finding> =
        status.errors.iter().map(|error| sentence(Severity::Error, "gateway", error)).collect();
    findings.extend(status.warnings.iter().map(|warning| sentence(Severity::Warning, kind(status, warning), warning)));
    findings.extend(status.notes.iter().map(|note| sentence(Severity::Hint, "note", note)));
    let in_file = loaded.as_ref().ok().and_then(|loaded| loaded.text.as_ref());
    let in_file = in_file.map(|text| config::digest(text.expose().as_bytes()));
    if in_file.is_some() && in_file.as_deref() != running.config_digest {
        let what = "the configuration file has changed since it was read";
        findings.push(Finding::new(Severity::Hint, "not-reloaded", what, "use it with `gateway reload`"));
    }
    for channel in &status.channels {
        let id = &channel.id;
        if channel.is_paused {
            let what = format!("the channel {id} is paused; it takes and sends nothing, and what waits for it waits");
            findings.push(Finding::new(
                Severity::Hint,
                "paused",
                what,
                format!("let it go on with `channels resume {id}`"),
            ));
        } else if channel.last_in.is_some() && channel.last_out.is_none() {
            let what = format!("channel {id} took messages, and no reply has gone through since the start");
            let fix = "see `gateway status` and the log; a reply that is new may still be on its way";
            findings.push(Finding::new(Severity::Warning, "never-delivered", what, fix));
        } else if channel.last_in.is_none() && channel.last_out.is_none() {
            let what = format!("nothing has gone through the channel {id} since the start");
            findings.push(Finding::new(Severity::Hint, "never-used", what, "write to it and see whether it answers"));
        }
    }
    findings
}

/// What a warning of the gateway is about, where it can be told.
fn kind(status: &Status, warning: &str) -> &'static str {
    let certificate = status.https.acme.as_ref().and_then(|acme| acme.problem.as_deref());
    match Some(warning) {
        warning if warning == certificate => "certificate",
        warning if warning == status.local.problem.as_deref() => "local-name",
        _ => "gateway",
    }
}

/// A sentence that says what, and behind the first `; ` what to do.
fn sentence(severity: Severity, id: &'static str, text: &str) -> Finding {
    let (what, fix) = split(text, "see `gateway status` and docs/configuration.md");
    Finding::new(severity, id, what, fix)
}

fn split(text: &str, otherwise: &str) -> (String, String) {
    let (what, fix) = text.split_once("; ").unwrap_or((text, otherwise));
    (what.to_owned(), fix.to_owned())
}
