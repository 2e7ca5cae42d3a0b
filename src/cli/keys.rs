//! `keys status|protect|unprotect`: the device key of a home. They change its file and need no gateway; one that runs is
//! not disturbed, because the key in it stays the same.
//!
//! A passphrase comes from a prompt or a file, never from the command line, which other users of the machine see.

use std::io::IsTerminal as _;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::output::{self, line};
use super::{Context, Exit, Failure};
use crate::document::Secret;
use crate::gateway::device_key::{self, Error, PASSPHRASE_VARIABLE, Sources, Status};
use crate::gateway::{self, Offline};

#[derive(Debug, Subcommand)]
pub(super) enum Keys {
    /// Say where the device key is, whether it is the store's, and whether a passphrase protects it
    Status,
    /// Put a passphrase over the device key, or another one in the place of the one it has
    Protect(Passphrase),
    /// Take away the passphrase over the device key
    Unprotect(Current),
}

#[derive(Debug, Args)]
pub(super) struct Passphrase {
    /// Read the new passphrase from a file instead of asking for it
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// Read the passphrase that it has now from a file; otherwise from `FRONTDESK_PASSPHRASE`, or it is asked for
    #[arg(long, value_name = "FILE")]
    current_passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Current {
    /// Read the passphrase that it has now from a file; otherwise from `FRONTDESK_PASSPHRASE`, or it is asked for
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

pub(super) fn run(context: &Context, command: Keys) -> Result<(), Failure> {
    match command {
        Keys::Status => status(context),
        Keys::Protect(Passphrase { passphrase_file, current_passphrase_file }) => {
            let sources = with_file(sources(context), current_passphrase_file)?;
            let passphrase = match passphrase_file {
                Some(file) => device_key::read_passphrase(&file)?,
                None => new_passphrase(&sources)?,
            };
            device_key::protect(&context.home, &sources, &passphrase)?;
            done(context, "protected");
            if !context.json {
                line(
                    "note: without the passphrase nobody reads what is kept here, nor do you; what was copied from the \
                     disk before is not protected by it",
                );
            }
            Ok(())
        }
        Keys::Unprotect(Current { passphrase_file }) => {
            device_key::unprotect(&context.home, &with_file(sources(context), passphrase_file)?)?;
            done(context, "not protected");
            Ok(())
        }
    }
}

/// Where a command and the gateway look for the device key and its passphrase.
pub(super) fn sources(context: &Context) -> Sources {
    let set = |name: &str| context.environment.get(name).filter(|value| !value.is_empty());
    Sources {
        credentials: set("CREDENTIALS_DIRECTORY").map(PathBuf::from),
        passphrase: set(PASSPHRASE_VARIABLE).map(|passphrase| Secret::new(passphrase.as_str())),
        ask: std::io::stdin().is_terminal().then_some(output::ask_hidden),
    }
}

/// With the passphrase in `file` instead of the environment's.
fn with_file(sources: Sources, file: Option<PathBuf>) -> Result<Sources, Error> {
    let Some(file) = file else { return Ok(sources) };
    Ok(Sources { passphrase: Some(device_key::read_passphrase(&file)?), ..sources })
}

fn new_passphrase(sources: &Sources) -> Result<Secret, Failure> {
    let ask = sources.ask.ok_or_else(|| {
        Exit::Usage.say("there is no terminal to ask for the new passphrase; name a file with --passphrase-file FILE")
    })?;
    let passphrase = ask("new passphrase: ").map_err(Error::Passphrase)?;
    if ask("the same again: ").map_err(Error::Passphrase)? != passphrase {
        return Err(Exit::Usage.say("the two passphrases differ; nothing was changed"));
    }
    Ok(passphrase)
}

fn status(context: &Context) -> Result<(), Failure> {
    let store = gateway::find_store(&context.home, &context.variables());
    let found = device_key::status(&context.home, &sources(context), &store).ok().flatten();
    let trouble = Offline::look(&context.home, &store, &sources(context)).device_key;
    let json = found.as_ref().map_or(json!({ "path": null }), |Status { path, is_credential, protection }| {
        json!({
            "path": path.display().to_string(),
            "credential": is_credential,
            "protected": protection.is_some(),
            "kdf": protection.map(|kdf| format!("argon2id {kdf}")),
        })
    });
    let json = match (&trouble, json) {
        (Some(trouble), Value::Object(mut json)) => {
            json.insert("problem".to_owned(), json!(trouble));
            Value::Object(json)
        }
        (_, json) => json,
    };
    if !context.json {
        print_status(found, trouble.is_some());
    }
    match trouble {
        Some(trouble) => Err(Failure { json: Some(json), ..Exit::Config.say(trouble) }),
        None if context.json => {
            output::json(&json);
            Ok(())
        }
        None => Ok(()),
    }
}

fn print_status(found: Option<Status>, is_wrong: bool) {
    let Some(Status { path, is_credential, protection }) = found else {
        if !is_wrong {
            line("there is no device key yet; it is made at the first start, unless systemd gives one");
        }
        return;
    };
    let place = if is_credential { "credential" } else { "file" };
    line(&format!("device key: {place} {}", path.display()));
    match protection {
        Some(kdf) => line(&format!("protected by a passphrase (argon2id, {kdf})")),
        None if is_credential => line("not protected by a passphrase of ours; systemd may keep it encrypted"),
        None => line("not protected: whoever has the disk reads what is kept here; see `keys protect`"),
    }
}

fn done(context: &Context, state: &str) {
    if context.json {
        output::json(&json!({ "device_key": state }));
    } else {
        line(&format!("the device key is {state} now"));
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let exit = match &error {
            Error::ShortPassphrase | Error::NotProtected { .. } | Error::Credential | Error::Passphrase(_) => {
                Exit::Usage
            }
            Error::Disk { .. }
            | Error::Missing { .. }
            | Error::Open { .. }
            | Error::OtherOwner { .. }
            | Error::Damaged { .. }
            | Error::NoPassphrase { .. }
            | Error::WrongPassphrase { .. } => Exit::Config,
            Error::Kdf(_) | Error::Random => Exit::Internal,
        };
        exit.because(error)
    }
}
