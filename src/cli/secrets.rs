//! `secrets list|set|remove`.
//!
//! A value comes from a prompt or from the standard input, never from the command line, which other users of the machine see.

use std::io::{self, IsTerminal as _, Read as _};

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::output::{self, field, line, table};
use super::{Context, Exit, Failure, client};
use crate::document::{MAX_SECRET_BYTES, Secret};

#[derive(Debug, Subcommand)]
pub(super) enum Secrets {
    /// List names, and where the configuration uses them; values are never shown
    List,
    /// Keep a value, which is asked for or read from the standard input
    Set(Name),
    /// Remove a value that the configuration does not use
    Remove(Name),
}

#[derive(Debug, Args)]
pub(super) struct Name {
    /// As it stands in ${NAME}
    #[arg(value_name = "NAME")]
    name: String,
}

pub(super) fn run(context: &Context, command: Secrets) -> Result<(), Failure> {
    match command {
        Secrets::List => list(context),
        Secrets::Set(Name { name }) => {
            let value = read(&name)?;
            let body = json!({ "value": value.expose() });
            let done = client::ask_with(context, Method::PUT, &path(&name), Some(&body))?.success()?;
            let is = |key: &str| done.get(key).and_then(Value::as_bool).unwrap_or(false);
            let text = match done.get("note").and_then(Value::as_str) {
                Some(note) => format!("kept: {name}, and not in use: {note}"),
                None if is("in_use") => format!("kept: {name}, in use now"),
                None => format!("kept: {name}; write \"${{{name}}}\" where the configuration needs it"),
            };
            say(context, &done, &text);
            Ok(())
        }
        Secrets::Remove(Name { name }) => {
            let done = client::ask(context, Method::DELETE, &path(&name))?.success()?;
            say(context, &done, &format!("removed: {name}"));
            Ok(())
        }
    }
}

fn list(context: &Context) -> Result<(), Failure> {
    let found = client::ask(context, Method::GET, "/api/v1/secrets")?.success()?;
    if context.json {
        output::json(&found);
        return Ok(());
    }
    let rows = found.get("secrets").and_then(Value::as_array).cloned().unwrap_or_default();
    if rows.is_empty() {
        line("no secrets: the configuration names none and none is kept");
        return Ok(());
    }
    let paths = |row: &Value| {
        let paths = row.get("used_in").and_then(Value::as_array).into_iter().flatten();
        paths.filter_map(Value::as_str).collect::<Vec<_>>().join(", ")
    };
    let state = |row: &Value| match row.get("source").and_then(Value::as_str) {
        Some("secrets") => "kept here".to_owned(),
        Some(source) => format!("from the {source}"),
        None => "missing".to_owned(),
    };
    let rows: Vec<Vec<String>> = rows.iter().map(|row| vec![field(row, "name"), state(row), paths(row)]).collect();
    table(&["name", "value", "used in"], &rows);
    Ok(())
}

fn say(context: &Context, done: &Value, text: &str) {
    if context.json { output::json(done) } else { line(text) }
}

fn path(name: &str) -> String {
    format!("/api/v1/secrets/{}", client::encoded(name))
}

fn read(name: &str) -> Result<Secret, Failure> {
    if io::stdin().is_terminal() {
        return Ok(output::ask_hidden(&format!("Value of {name}: ")).map_err(anyhow::Error::from)?);
    }
    let mut text = String::new();
    let limit = u64::try_from(MAX_SECRET_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let read = io::stdin().lock().take(limit).read_to_string(&mut text);
    read.map_err(|_error| Exit::Usage.say("the value is not text; write it as UTF-8"))?;
    Ok(Secret::new(text))
}
