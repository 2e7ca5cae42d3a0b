//! `backup create|verify|restore|schedule`. Making one is the running gateway's work; looking at one and coming back from one
//! need none.

use std::io::Read;
use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use http::{Method, StatusCode};
use serde_json::{Value, json};

use super::output::{self, field, line, printable};
use super::{Context, Exit, Failure, client, keys};
use crate::backup::{self, Chain, Client, Kind, OpenWith, Place, Report, S3};
use crate::clock::Timestamp;
use crate::config;
use crate::document::{Secret, read_at_most};
use crate::gateway::{RestoreError, Restored, restore};
use crate::store::Existing;

/// No file with a passphrase or with identities is longer.
const MAX_KEY_BYTES: usize = 64 * 1024;

#[derive(Debug, Subcommand)]
pub(super) enum Backup {
    /// Make one, while the gateway runs
    Create(Create),
    /// Read one to its last byte and say what is in it
    Verify(Verify),
    /// Make a home out of one, where no gateway runs
    Restore(Restore),
    /// Say when the next one is due and how the last one went
    Schedule,
}

#[derive(Debug, Args)]
pub(super) struct Create {
    /// A file, a directory or `s3://bucket/prefix` [default: backup.to of the configuration]
    #[arg(long, value_name = "PLACE")]
    to: Option<String>,
    /// Only what has changed since the last full one
    #[arg(long)]
    incremental: bool,
    /// A file with the passphrase, of at least 12 characters, instead of what the configuration says
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Key {
    /// A file with the passphrase [default: backup.passphrase of the configuration; else it is asked for]
    #[arg(long, value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// A file with an identity of age, for a backup that was made for recipients
    #[arg(long, value_name = "FILE", conflicts_with = "passphrase_file")]
    identity: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Which {
    /// The backup: a file, or `s3://bucket/name`
    file: String,
    /// An incremental one that completes it
    incremental: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Verify {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    key: Key,
}

#[derive(Debug, Args)]
pub(super) struct Restore {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    key: Key,
    /// The home to make [default: the home of this command]
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// Keep what is there as <name>.before-restore
    #[arg(long)]
    replace: bool,
}

pub(super) fn run(context: &Context, command: Backup) -> Result<(), Failure> {
    match command {
        Backup::Create(create) => self::create(context, &create),
        Backup::Verify(verify) => self::verify(context, &verify),
        Backup::Restore(restore) => restored(context, &restore),
        Backup::Schedule => schedule(context),
    }
}

fn create(context: &Context, create: &Create) -> Result<(), Failure> {
    let to = create.to.as_deref().map(absolute).transpose()?;
    let passphrase = create.passphrase_file.as_deref().map(read_key).transpose()?;
    let body = passphrase.map(|passphrase| json!({ "passphrase": passphrase.expose() }));
    let query = client::query(&[
        ("to", to.as_deref()),
        ("incremental", Some(if create.incremental { "true" } else { "false" })),
    ]);
    let (mut unread, mut last) = (Vec::new(), Value::Null);
    client::stream_of(context, Method::POST, &format!("/api/v1/backup{query}"), body.as_ref(), |piece| {
        unread.extend_from_slice(piece);
        while let Some(end) = unread.iter().position(|byte| *byte == b'\n') {
            let said: Vec<u8> = unread.drain(..=end).collect();
            last = serde_json::from_slice(&said).unwrap_or(Value::Null);
            if let Some(rows) = last.get("rows").and_then(Value::as_u64) {
                output::progress(&format!(
                    "{rows} rows, {} KiB",
                    field(&last, "bytes").parse().unwrap_or(0_u64) / 1024
                ));
            }
        }
        Ok(true)
    })?;
    output::progress("");
    let Some(done) = last.get("done") else {
        let reason = last.get("error").and_then(Value::as_str);
        return Err(match reason {
            Some(reason) => {
                let status = last.get("status").and_then(Value::as_u64).and_then(|status| u16::try_from(status).ok());
                let status = status.and_then(|status| StatusCode::from_u16(status).ok()).unwrap_or_default();
                client::exit(status).say(format!("no backup was made: {reason}"))
            }
            // Ctrl-C, or the gateway is gone.
            None => Exit::TryAgain.say("it is not known whether the backup was made; see `backup schedule`"),
        });
    };
    if context.json {
        output::json(done);
        return Ok(());
    }
    let number = |name: &str| done.get(name).and_then(Value::as_u64).unwrap_or(0);
    line(&field(done, "place"));
    line(&format!(
        "{} rows of the store, {} of them in it, {} files, {} KiB{}; it was read back",
        number("rows"),
        number("written"),
        number("files"),
        number("bytes").div_ceil(1024),
        if done.get("incremental") == Some(&Value::Bool(true)) { "; it needs the full one before it" } else { "" },
    ));
    for old in done.get("removed").and_then(Value::as_array).into_iter().flatten() {
        line(&format!("removed: {}", printable(old.as_str().unwrap_or("-"))));
    }
    Ok(())
}

/// The gateway runs elsewhere.
fn absolute(to: &str) -> Result<String, Failure> {
    if to.starts_with("s3://") {
        return Ok(to.to_owned());
    }
    let path = std::path::absolute(to).map_err(|error| Exit::Usage.say(format!("{to:?} is no path: {error}")))?;
    path.into_os_string().into_string().map_err(|_path| Exit::Usage.say("the path is not UTF-8; choose another"))
}

fn verify(context: &Context, verify: &Verify) -> Result<(), Failure> {
    let from = From::of(context)?;
    let report = from.open(context, &verify.which, &verify.key)?.verify().map_err(failure)?;
    let Report { manifest, files, contents } = &report;
    let rows: serde_json::Map<String, Value> =
        contents.rows.iter().map(|(table, n_rows)| (table.clone(), json!(n_rows))).collect();
    let said = contents.said.map(|(first, last)| json!({ "first": first.to_string(), "last": last.to_string() }));
    let found = json!({
        "ok": true,
        "id": manifest.id.as_str(),
        "at": Timestamp(manifest.at_ms).to_string(),
        "program": manifest.program,
        "incremental": manifest.base.is_some(),
        "conversations": contents.count("sessions"),
        "archived": contents.count("archive"),
        "messages": contents.count("transcript"),
        "waiting": contents.count("inbox"),
        "undelivered": contents.count("outbox"),
        "said": said,
        "files": files,
        "rows": rows,
    });
    if context.json {
        output::json(&found);
        return Ok(());
    }
    line(&format!("whole: made {} by version {}", field(&found, "at"), field(&found, "program")));
    let [conversations, archived, messages] = ["conversations", "archived", "messages"].map(|name| field(&found, name));
    line(&format!("{conversations} conversations, {archived} archived ones, {messages} lines"));
    if let Some(said) = found.get("said").filter(|said| said.is_object()) {
        line(&format!("said between {} and {}", field(said, "first"), field(said, "last")));
    }
    line(&format!(
        "{} messages wait, {} replies are not delivered",
        field(&found, "waiting"),
        field(&found, "undelivered")
    ));
    files.iter().for_each(|file| line(&format!("file: {}", printable(file))));
    Ok(())
}

fn restored(context: &Context, command: &Restore) -> Result<(), Failure> {
    let home = command.into.clone().unwrap_or_else(|| context.home.clone());
    let there = Context { home: home.clone(), environment: context.environment.clone(), json: context.json };
    if client::try_ask(&there, Method::GET, "/api/v1/backup")?.is_some() {
        return Err(RestoreError::Running.into());
    }
    let from = From::of(context)?;
    let chain = from.open(context, &command.which, &command.key)?;
    let existing = if command.replace { Existing::KeepBeside } else { Existing::Refuse };
    let user_home = context.environment.get("HOME").map(String::as_str);
    let restored = restore(chain, &home, user_home, &keys::sources(context), existing)?;
    let Restored { manifest, store, new_key, n_rows, written, left } = restored;
    let at = Timestamp(manifest.at_ms).to_string();
    let shown = |paths: &[PathBuf]| paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>();
    if context.json {
        output::json(&json!({
            "home": home, "at": at, "store": store, "new_device_key": new_key, "rows": n_rows, "written": shown(&written), "left": shown(&left),
        }));
        return Ok(());
    }
    line(&format!("restored into {}: {n_rows} rows and {} files, as of {at}", home.display(), written.len()));
    shown(&left).iter().for_each(|path| line(&format!("left as it is: {path}")));
    if let Some(key) = new_key {
        line(&format!("made the device key {}; keep a copy of it elsewhere", key.display()));
    }
    line("conversations that were erased since are back; erase them again");
    line("start it with `gateway run`: what waited then is answered, unless it is too old");
    Ok(())
}

fn schedule(context: &Context) -> Result<(), Failure> {
    let status = client::ask(context, Method::GET, "/api/v1/backup")?.success()?;
    if context.json {
        output::json(&status);
        return Ok(());
    }
    match status.get("scheduled") {
        Some(Value::Bool(true)) => {
            let often =
                match (status.get("at").and_then(Value::as_str), status.get("time_zone").and_then(Value::as_str)) {
                    (None, _) => format!("every {} hours", field(&status, "every_hours")),
                    (Some(at), None) => format!("every day at {at}, local time,"),
                    (Some(at), Some(zone)) => format!("every day at {at} ({})", printable(zone)),
                };
            line(&format!("{often} to {}; the next one {}", field(&status, "to"), field(&status, "next")));
        }
        _ => line("no backup is made by the clock; set backup.at and backup.to"),
    }
    line(&sentence(&status).unwrap_or_else(|| "none was made yet".to_owned()));
    Ok(())
}

/// How the last one went; `None`: there was none, and none is due.
pub(super) fn sentence(status: &Value) -> Option<String> {
    let mut parts = Vec::new();
    if let Some(last) = status.get("last").filter(|last| last.is_object()) {
        let kib = last.get("bytes").and_then(Value::as_u64).unwrap_or(0).div_ceil(1024);
        parts.push(format!("the last one {} ({}, {kib} KiB)", field(last, "at"), field(last, "name")));
    }
    if let Some(failed) = status.get("failed").filter(|failed| failed.is_object()) {
        parts.push(format!("failed {}: {}", field(failed, "at"), field(failed, "reason")));
    }
    if status.get("running") == Some(&Value::Bool(true)) {
        parts.push("one is being made".to_owned());
    }
    if parts.is_empty() && status.get("scheduled") == Some(&Value::Bool(true)) {
        parts.push("none was made yet".to_owned());
    }
    (!parts.is_empty()).then(|| parts.join("; "))
}

/// How backups are reached and opened from here.
struct From {
    client: Client,
    s3: Option<S3>,
    passphrase: Option<Secret>,
    /// Drives what goes to buckets.
    _runtime: tokio::runtime::Runtime,
}

impl From {
    /// The configuration of the home, if there is one that can be used; for buckets else what programs for S3 look for in
    /// the environment.
    fn of(context: &Context) -> Result<Self, Failure> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.map_err(anyhow::Error::from)?;
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none()).build();
        let client = Client::new(http.map_err(anyhow::Error::from)?, runtime.handle().clone());
        let config = config::load(&context.home, &context.variables()).ok().map(|loaded| loaded.settings.backup);
        let passphrase = config.as_ref().and_then(|config| match &config.key {
            Some(backup::SealWith::Passphrase(passphrase)) => Some(passphrase.clone()),
            _ => None,
        });
        let set = |name: &str| context.environment.get(name).filter(|value| !value.is_empty()).cloned();
        let from_environment = || {
            Some(S3 {
                endpoint: set("AWS_ENDPOINT_URL_S3").or_else(|| set("AWS_ENDPOINT_URL"))?,
                region: set("AWS_REGION").unwrap_or_else(|| "us-east-1".to_owned()),
                access_key: Secret::new(set("AWS_ACCESS_KEY_ID")?),
                secret_key: Secret::new(set("AWS_SECRET_ACCESS_KEY")?),
            })
        };
        let s3 = config.and_then(|config| config.s3).or_else(from_environment);
        Ok(Self { client, s3, passphrase, _runtime: runtime })
    }

    fn open<'i>(&self, context: &Context, which: &Which, key: &Key) -> Result<Chain<'i>, Failure> {
        let read = |text: &str| -> Result<Box<dyn Read>, Failure> {
            let place = Place::parse(text, self.s3.as_ref(), &self.client).map_err(failure)?;
            let input: Box<dyn Read> = place.read().map_err(failure)?;
            Ok(input)
        };
        let full = read(&which.file)?;
        let incremental = which.incremental.as_deref().map(read).transpose()?;
        Chain::open(full, incremental, &self.key(context, key)?).map_err(failure)
    }

    fn key(&self, context: &Context, key: &Key) -> Result<OpenWith, Failure> {
        if let Some(file) = &key.identity {
            return Ok(OpenWith::Identities(read_key(file)?));
        }
        if let Some(file) = &key.passphrase_file {
            return Ok(OpenWith::Passphrase(read_key(file)?));
        }
        if let Some(passphrase) = &self.passphrase {
            return Ok(OpenWith::Passphrase(passphrase.clone()));
        }
        let ask = keys::sources(context).ask.filter(|_| !context.json);
        let asked = ask.and_then(|ask| ask("passphrase of the backup: ").ok());
        asked.filter(|passphrase| !passphrase.expose().is_empty()).map(OpenWith::Passphrase).ok_or_else(|| {
            Exit::Usage
                .say("the backup is encrypted; name what opens it with --passphrase-file FILE or --identity FILE")
        })
    }
}

/// What is in a file, without the end of its last line.
pub(super) fn read_key(file: &Path) -> Result<Secret, Failure> {
    let bytes = read_at_most(file, MAX_KEY_BYTES)
        .map_err(|error| Exit::Usage.say(format!("{} cannot be read: {error}; name another file", file.display())))?;
    let text = String::from_utf8(bytes).unwrap_or_default();
    let text = text.strip_suffix('\n').unwrap_or(&text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(Exit::Usage.say(format!("{} is empty, or no text; name another file", file.display())));
    }
    Ok(Secret::new(text))
}

fn failure(error: backup::Error) -> Failure {
    let exit = match error.kind() {
        Kind::Order => Exit::Usage,
        Kind::Config => Exit::Config,
        Kind::Later => Exit::TryAgain,
        Kind::Internal => Exit::Internal,
    };
    exit.because(error)
}

impl std::convert::From<RestoreError> for Failure {
    fn from(error: RestoreError) -> Self {
        match error {
            RestoreError::Backup(error) => failure(error),
            RestoreError::DeviceKey(error) => error.into(),
            RestoreError::Running | RestoreError::Store(_) | RestoreError::File { .. } => Exit::TryAgain.because(error),
            RestoreError::Occupied { .. } | RestoreError::OccupiedBeside { .. } => Exit::Usage.because(error),
        }
    }
}
