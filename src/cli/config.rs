//! `config check`.

use std::path::PathBuf;

use clap::{Args, Subcommand};
use serde_json::json;

use super::output::{self, line};
use super::{Context, Failure};
use crate::config::{self, Error, Loaded};
use crate::document::Problem;

#[derive(Debug, Subcommand)]
pub(super) enum Config {
    /// Say whether the configuration can be used, without starting anything
    Check(Check),
}

#[derive(Debug, Args)]
pub(super) struct Check {
    /// The file [default: the one in the home]
    file: Option<PathBuf>,
}

pub(super) fn run(context: &Context, command: Config) -> Result<(), Failure> {
    let Config::Check(check) = command;
    let loaded = load(context, check.file.as_deref());
    if context.json {
        let (ok, problems) = match &loaded {
            Ok(loaded) => (true, texts(&loaded.warnings)),
            Err(Error::Invalid(problems)) => (false, texts(problems)),
            Err(error) => (false, vec![error.to_string()]),
        };
        output::json(&json!({ "ok": ok, "problems": problems }));
    }
    let loaded = loaded?;
    if !context.json {
        loaded.warnings.iter().for_each(|warning| line(&warning.to_string()));
        loaded.settings.notes.iter().for_each(|note| line(&format!("note: {note}")));
        let file = loaded.file.as_ref().map(|file| file.display().to_string());
        line(&format!("{} can be used", file.as_deref().unwrap_or("there is no file; the embedded defaults")));
    }
    Ok(())
}

/// Reads the named file, or the one in the home.
pub(super) fn load(context: &Context, file: Option<&std::path::Path>) -> Result<Loaded, Error> {
    match file {
        Some(file) => config::load_file(file, &context.home, &context.variables()),
        None => config::load(&context.home, &context.variables()),
    }
}

fn texts(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}
