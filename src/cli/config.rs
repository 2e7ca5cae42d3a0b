//! `config check|show`.

use std::collections::BTreeMap;
use std::path::PathBuf;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::output::{self, line, printable};
use super::{Context, Failure, client};
use crate::admin::problem_json;
use crate::config::{self, Error, Loaded};

#[derive(Debug, Subcommand)]
pub(super) enum Config {
    /// Say whether the configuration can be used, without starting anything
    Check(Check),
    /// Print what the configuration says, one value a line
    Show(Show),
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// Mask secrets; there is no way to print them
    #[arg(long, required = true)]
    redacted: bool,
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
        Config::Show(show) => self::show(context, &show),
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
