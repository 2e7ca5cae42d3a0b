//! `update check`: what releases there are for this device, by the metadata that it trusts. Needs no gateway and installs nothing.

use std::io;

use aws_lc_rs::rand;
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::output::{self, line, printable};
use super::{Context, Exit, Failure, client};
use crate::clock::{Clock as _, SystemClock};
use crate::document::{read_at_most, write_first};
use crate::store;
use crate::update::{
    self, BUILT_IN_REPOSITORY, BUILT_IN_ROOT, Board, Choice, Device, Limits, Repository, Severity, Version,
};

/// No root is longer.
const MAX_ROOT_BYTES: usize = 1 << 20;

#[derive(Debug, Subcommand)]
pub(super) enum Update {
    /// Say which release this device would get, without installing it; exit 75 when the repository is not to be believed
    Check(Check),
}

#[derive(Debug, Args)]
pub(super) struct Check {
    /// Where releases are: https://…, http://… or file:///… for a stick [default: what the program was built with]
    #[arg(long, value_name = "ADDRESS")]
    repository: Option<String>,
}

pub(super) fn run(context: &Context, command: &Update) -> Result<(), Failure> {
    match command {
        Update::Check(check) => self::check(context, check),
    }
}

fn check(context: &Context, check: &Check) -> Result<(), Failure> {
    let address = check.repository.as_deref().or(BUILT_IN_REPOSITORY).ok_or_else(|| {
        Exit::Usage.say("this program was built without a repository; name one with --repository ADDRESS")
    })?;
    let board = Board::of_program().ok_or_else(|| {
        Exit::Usage.say(format!("there are no releases for {}; build the program yourself", std::env::consts::ARCH))
    })?;
    let device = Device {
        board,
        running: Version::of_program(),
        is_appliance: false,
        store_format: u64::from(store::ROWS_FORMAT),
        id: id(context)?,
        given_up: None,
    };
    let http = reqwest::Client::builder()
        // Metadata says what is right, not a server that sends somebody elsewhere.
        .redirect(reqwest::redirect::Policy::none())
        .user_agent(concat!("frontdesk/", env!("CARGO_PKG_VERSION")))
        .build()
        .map_err(anyhow::Error::from)?;
    let trusted = context.home.join("updates").join("trusted");
    let repository = Repository::new(address, anchor(context)?, &trusted, http, Limits::default());
    let repository = repository.map_err(|error| Exit::Usage.because(error))?;
    let verified = client::runtime()?.block_on(repository.load()).map_err(|error| Exit::TryAgain.because(error))?;
    let choice = update::choose(&verified.offers, &device, SystemClock.now());
    said(context, device.running, &choice.map_err(|error| Exit::TryAgain.because(error))?);
    Ok(())
}

/// The root that this device was given: the one in the home, or the one of the program.
fn anchor(context: &Context) -> Result<Vec<u8>, Failure> {
    let path = context.home.join("updates").join("root.json");
    match read_at_most(&path, MAX_ROOT_BYTES) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            BUILT_IN_ROOT.map(|root| root.as_bytes().to_vec()).ok_or_else(|| {
                Exit::Config.say(format!(
                    "this program was built without keys that it trusts; put the root.json of the repository into {}",
                    path.display()
                ))
            })
        }
        Err(error) => Err(Exit::Config.say(format!("cannot read {}: {error}", path.display()))),
    }
}

/// The place of this device in the waves, made once.
fn id(context: &Context) -> Result<[u8; 16], Failure> {
    let path = context.home.join("updates").join("device.id");
    let read = || read_at_most(&path, 64).ok().and_then(|bytes| <[u8; 16]>::try_from(bytes).ok());
    if let Some(id) = read() {
        return Ok(id);
    }
    let made = || {
        let mut id = [0; 16];
        rand::fill(&mut id).map_err(io::Error::other)?;
        std::fs::create_dir_all(path.parent().unwrap_or(&context.home))?;
        match write_first(&path, &id, 0o600) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => read().ok_or(error),
            written => written.map(|()| id),
        }
    };
    made().map_err(|error: io::Error| Exit::TryAgain.say(format!("cannot write {}: {error}", path.display())))
}

fn said(context: &Context, running: Version, choice: &Choice) {
    let (sentence, found) = match choice {
        Choice::UpToDate => (
            format!("version {running} runs, and there is nothing newer for this device"),
            json!({ "state": "up_to_date" }),
        ),
        Choice::Later { version, from } => (
            format!("version {running} runs; {version} is being handed out, and it is this device's turn at {from}"),
            json!({ "state": "later", "version": version.to_string(), "from": from.to_string() }),
        ),
        Choice::Update(bundle) => {
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
    if let Choice::Update(bundle) = choice
        && !bundle.about.notes.is_empty()
    {
        line(&printable(&bundle.about.notes));
    }
}
