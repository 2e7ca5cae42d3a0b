//! `config check|show|revisions|diff|undo|convert`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use http::Method;
use serde::Serialize;
use serde_json::{Value, json};

use super::output::{self, field, line, printable, table};
use super::{Context, Exit, Failure, client};
use crate::admin::config::{self as shown, ShowError};
use crate::admin::problem_json;
use crate::config::{self, Candidate, Error, Loaded, RevisionError, Syntax};
use crate::document::toml_of_yaml;

#[derive(Debug, Subcommand)]
pub(super) enum Config {
    /// Say whether the configuration can be used, without starting anything
    Check(Check),
    /// Print what the configuration says, one value a line
    Show(Show),
    /// List what the configuration was
    Revisions,
    /// Say how the file differs from what it was
    Diff {
        /// Number of the revision, as `config revisions` prints it
        number: u32,
    },
    /// Turn config.yml into config.toml with the same values and comments, and use it; undo brings the file back
    Convert {
        /// Only print what it would say
        #[arg(long)]
        check: bool,
    },
    /// Go back to what the configuration was, and use it
    Undo {
        /// Number of the revision [default: the last good one that differs from the file]
        number: Option<u32>,
    },
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// Mask secrets; there is no way to print them
    #[arg(long, required_unless_present = "revision")]
    redacted: bool,
    /// What it was, by the number that `config revisions` prints; secrets are masked
    #[arg(long, value_name = "N", conflicts_with = "file")]
    revision: Option<u32>,
    /// The file [default: the one in the home]
    file: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(super) struct Check {
    /// The file [default: the one in the home]
    file: Option<PathBuf>,
}

pub(super) fn run(context: &Context, command: Config) -> Result<(), Failure> {
    match command {
        Config::Check(check) => self::check(context, &check),
        Config::Show(Show { revision: Some(number), .. }) => show_revision(context, number),
        Config::Show(show) => self::show(context, &show),
        Config::Revisions => revisions(context),
        Config::Diff { number } => diff(context, number),
        Config::Undo { number } => undo(context, number),
        Config::Convert { check } => convert(context, check),
    }
}

/// What the running gateway says; without one, what this program finds itself.
fn ask_or<T: Serialize, E: Into<Failure>>(
    context: &Context,
    path: &str,
    find: impl FnOnce() -> Result<T, E>,
) -> Result<Value, Failure> {
    match client::try_ask(context, Method::GET, path)? {
        Some(answer) => answer.success(),
        None => find().map(|found| json!(found)).map_err(Into::into),
    }
}

fn show_revision(context: &Context, number: u32) -> Result<(), Failure> {
    let find = || shown::revision(&context.home, &context.variables(), number);
    let found = ask_or(context, &format!("/api/v1/config/revisions/{number}"), find)?;
    if context.json {
        output::json(&found);
    } else {
        strings(&found, "values").iter().for_each(|value| line(value));
    }
    Ok(())
}

fn revisions(context: &Context) -> Result<(), Failure> {
    let find = || shown::revisions(&context.home, &context.variables(), None);
    let found = ask_or(context, "/api/v1/config/revisions", find)?;
    if context.json {
        output::json(&found);
        return Ok(());
    }
    let rows = found.get("revisions").and_then(Value::as_array).cloned().unwrap_or_default();
    if rows.is_empty() {
        line("no revisions: they are kept from the first start with a configuration file");
        return Ok(());
    }
    let is = |row: &Value, name: &str| row.get(name).and_then(Value::as_bool).unwrap_or(false);
    let state = |row: &Value| match (is(row, "in_use"), is(row, "in_file"), is(row, "good")) {
        (true, ..) => "in use",
        (_, true, _) => "in the file",
        (.., true) => "good",
        (.., false) => "never used",
    };
    let cells = |row: &Value| {
        let [number, at, bytes, summary] = ["number", "at", "bytes", "summary"].map(|name| field(row, name));
        vec![number, at, bytes, state(row).to_owned(), summary]
    };
    table(&["number", "kept", "bytes", "state", "change"], &rows.iter().map(cells).collect::<Vec<_>>());
    Ok(())
}

fn diff(context: &Context, number: u32) -> Result<(), Failure> {
    let find = || shown::difference(&context.home, &context.variables(), number);
    let found = ask_or(context, &format!("/api/v1/config/revisions/{number}/difference"), find)?;
    let difference = found.get("difference").and_then(Value::as_str).unwrap_or_default();
    match difference.trim_end() {
        _ if context.json => output::json(&found),
        "" => line("no difference, but for secrets, comments and order"),
        difference => difference.lines().for_each(line),
    }
    Ok(())
}

fn undo(context: &Context, number: Option<u32>) -> Result<(), Failure> {
    let query = client::query(&[("revision", number.map(|number| number.to_string()).as_deref())]);
    let Some(answer) = client::try_ask(context, Method::POST, &format!("/api/v1/config/undo{query}"))? else {
        return undo_file(context, number);
    };
    let body = answer.body.clone();
    let undone = answer.success().map_err(|failure| {
        let error = failure.error.context("the running settings stay");
        Failure { error, json: Some(body), ..failure }
    })?;
    if context.json {
        output::json(&undone);
    } else {
        line(&format!("revision {} is in {} and in use", field(&undone, "revision"), field(&undone, "config")));
    }
    Ok(())
}

/// Without a gateway it is a matter of files; the next start uses what is there then.
fn undo_file(context: &Context, number: Option<u32>) -> Result<(), Failure> {
    let candidate = Candidate::revision(&context.home, number)?;
    candidate.put(&context.home)?;
    let number = candidate.revision.as_ref().map(|revision| revision.number);
    // The gateway may have variables that this shell has not, so this is said and decides nothing.
    candidate.check(&context.home, &context.variables()).map_err(|error| {
        let said = format!("revision {} is in the file, and no gateway is running here", number.unwrap_or_default());
        Exit::Config.because(anyhow::Error::from(error).context(said))
    })?;
    if context.json {
        output::json(&json!({ "revision": number, "config": candidate.file(), "running": false }));
    } else {
        let (number, file) = (number.unwrap_or_default(), candidate.file().display());
        line(&format!("revision {number} is in {file}; no gateway is running here, so the next start uses it"));
    }
    Ok(())
}

fn convert(context: &Context, is_check: bool) -> Result<(), Failure> {
    let Some(now) = client::try_ask(context, Method::GET, "/api/v1/config/text")? else {
        return convert_file(context, is_check);
    };
    let base = now.success()?.get("digest").cloned().unwrap_or_default();
    let body = json!({ "base": base, "check": is_check });
    let converted = client::ask_with(context, Method::POST, "/api/v1/config/convert", Some(&body))?;
    let body = converted.body.clone();
    let converted = converted.success().map_err(|failure| Failure { json: Some(body), ..failure })?;
    if context.json {
        output::json(&converted);
        return Ok(());
    }
    strings(&converted, "lost").iter().for_each(|lost| line(&format!("not taken over: {lost}")));
    match (is_check, converted.get("text").and_then(Value::as_str)) {
        (true, Some(text)) => text.lines().for_each(line),
        (true, None) => line("it can be used; what it says cannot be shown"),
        (false, _) => line("config.toml says the same now, and is in use; `config undo` brings config.yml back"),
    }
    Ok(())
}

/// Without a gateway it is a matter of files.
fn convert_file(context: &Context, is_check: bool) -> Result<(), Failure> {
    let located = config::locate(&context.home).map_err(Error::from)?;
    let located = located.filter(|located| located.syntax == Syntax::Yaml);
    let located = located.ok_or_else(|| Exit::Usage.say("there is no config.yml to turn into config.toml"))?;
    let file = located.path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let text = located.read().map_err(Error::from)?;
    let converted = toml_of_yaml(&file, &text).map_err(Error::Invalid)?;
    let candidate = Candidate::text(&context.home, converted.text, Some(Syntax::Toml))?;
    let loaded = candidate.check(&context.home, &context.variables())?;
    if !is_check {
        candidate.put(&context.home)?;
    }
    if context.json {
        output::json(&json!({ "lost": converted.lost, "values": loaded.redacted, "running": false }));
        return Ok(());
    }
    converted.lost.iter().for_each(|lost| line(&format!("not taken over: {lost}")));
    match is_check {
        true => loaded.redacted.iter().for_each(|value| line(value)),
        false => line("config.toml says the same now; no gateway is running here, so the next start uses it"),
    }
    Ok(())
}

fn strings(value: &Value, name: &str) -> Vec<String> {
    let list = value.get(name).and_then(Value::as_array).into_iter().flatten();
    list.filter_map(Value::as_str).map(str::to_owned).collect()
}

impl From<RevisionError> for Failure {
    fn from(error: RevisionError) -> Self {
        match error {
            RevisionError::Unknown(_) | RevisionError::NoneOther => Exit::Usage.because(error),
            RevisionError::Present(_) => Exit::Config.because(error),
            RevisionError::Disk { .. } => Exit::TryAgain.because(error),
        }
    }
}

impl From<ShowError> for Failure {
    fn from(error: ShowError) -> Self {
        match error {
            ShowError::Revision(error) => error.into(),
            ShowError::Config(error) => error.into(),
        }
    }
}

fn show(context: &Context, show: &Show) -> Result<(), Failure> {
    let loaded = load(context, show.file.as_deref())?;
    if context.json {
        output::json(&json!({ "file": loaded.file, "values": loaded.redacted }));
    } else if loaded.file.is_none() {
        line("# there is no file; the embedded defaults are used");
    } else {
        loaded.redacted.iter().for_each(|value| line(value));
    }
    Ok(())
}

fn check(context: &Context, check: &Check) -> Result<(), Failure> {
    let loaded = load(context, check.file.as_deref()).map_err(|error| {
        let problems = match &error {
            Error::Invalid(problems) => problems.iter().map(problem_json).collect(),
            Error::File(error) => vec![json!({ "severity": "error", "message": error.to_string() })],
        };
        Failure { json: Some(json!({ "ok": false, "problems": problems })), ..error.into() }
    })?;
    let (rekey, note) = match old_keys(context, &loaded) {
        Ok(None) => (None, None),
        Ok(Some(counted)) => {
            let text = counted.get("text").and_then(Value::as_str).unwrap_or_default();
            let note = format!("{text}; they would stay readable under their old keys");
            let n = |name: &str| counted.get(name).and_then(Value::as_u64).unwrap_or(0);
            let changes = n("moves") + n("shared") + n("unresolvable") > 0;
            (Some(counted), changes.then_some(note))
        }
        Err(failure) => {
            (None, Some(format!("how many conversations would get new keys cannot be counted: {:#}", failure.error)))
        }
    };
    let notes: Vec<&String> = loaded.settings.notes.iter().chain(&note).collect();
    if context.json {
        let problems: Vec<_> = loaded.warnings.iter().map(problem_json).collect();
        output::json(&json!({ "ok": true, "problems": problems, "notes": notes, "rekey": rekey }));
        return Ok(());
    }
    loaded.warnings.iter().for_each(|warning| line(&warning.to_string()));
    notes.iter().for_each(|note| line(&format!("note: {}", printable(note))));
    let file = loaded.file.as_ref().map(|file| file.display().to_string());
    line(&format!("{} can be used", file.as_deref().unwrap_or("there is no file; the embedded defaults")));
    Ok(())
}

/// Asks the gateway of this home how many of its conversations these settings would name differently. `None`: none
/// ever ran here.
fn old_keys(context: &Context, loaded: &Loaded) -> Result<Option<Value>, Failure> {
    if !context.home.join("admin.token").exists() {
        return Ok(None);
    }
    let session = &loaded.settings.session;
    let links: BTreeMap<&str, &[String]> =
        session.identity_links.iter().map(|link| (link.name.as_str(), link.ids.as_slice())).collect();
    let query = client::query(&[
        ("dm_scope", Some(session.dm_scope.as_str())),
        ("key_format", Some(session.key_format.as_str())),
        ("identity_links", Some(&json!(links).to_string())),
    ]);
    client::ask(context, Method::GET, &format!("/api/v1/sessions/rekey/count{query}"))?.success().map(Some)
}

/// Reads the named file, or the one in the home.
pub(super) fn load(context: &Context, file: Option<&std::path::Path>) -> Result<Loaded, Error> {
    match file {
        Some(file) => config::load_file(file, &context.home, &context.variables()),
        None => config::load(&context.home, &context.variables()),
    }
}
