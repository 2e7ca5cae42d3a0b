//! `config check|show`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::output::{self, line};
use super::{Context, Failure};
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
    if context.json {
        let problems: Vec<_> = loaded.warnings.iter().map(problem_json).collect();
        output::json(&json!({ "ok": true, "problems": problems, "notes": loaded.settings.notes }));
        return Ok(());
    }
    loaded.warnings.iter().for_each(|warning| line(&warning.to_string()));
    loaded.settings.notes.iter().for_each(|note| line(&format!("note: {note}")));
    let file = loaded.file.as_ref().map(|file| file.display().to_string());
    line(&format!("{} can be used", file.as_deref().unwrap_or("there is no file; the embedded defaults")));
    Ok(())
}

/// Reads the named file, or the one in the home.
pub(super) fn load(context: &Context, file: Option<&std::path::Path>) -> Result<Loaded, Error> {
    match file {
        Some(file) => config::load_file(file, &context.home, &context.variables()),
        None => config::load(&context.home, &context.variables()),
    }
}
