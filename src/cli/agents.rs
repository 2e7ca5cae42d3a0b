//! `agents list|show|read|write|remove`: workers and the texts that they are told.

use std::io::Read as _;
use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::output::{self, field, line, table};
use super::{Context, Exit, Failure, client};
use crate::document::read_at_most;

/// Longer than any text that is taken: the gateway says so.
const MAX_BYTES: usize = 1024 * 1024;

#[derive(Debug, Subcommand)]
pub(super) enum Agents {
    /// List the workers, and how their models do
    List,
    /// Show a worker and what it knows
    Show(Name),
    /// Print a text of a worker: SOUL.md is its persona, others it knows
    Read(File),
    /// Change a text of a worker; its next answer uses it
    Write(Write),
    /// Remove a text of a worker; what it said is kept
    Remove(File),
}

#[derive(Debug, Args)]
pub(super) struct Name {
    /// The worker, as the configuration names it
    #[arg(value_name = "NAME")]
    name: String,
}

#[derive(Debug, Args)]
pub(super) struct File {
    #[command(flatten)]
    agent: Name,
    /// SOUL.md, or a name that ends in .md or .txt
    #[arg(value_name = "FILE")]
    file: String,
}

#[derive(Debug, Args)]
pub(super) struct Write {
    #[command(flatten)]
    file: File,
    /// Where the text is; `-` reads standard input
    #[arg(long, value_name = "PATH")]
    from: PathBuf,
}

pub(super) fn run(context: &Context, command: Agents) -> Result<(), Failure> {
    match command {
        Agents::List => list(context),
        Agents::Show(Name { name }) => show(context, &name),
        Agents::Read(file) => {
            let found = client::ask(context, Method::GET, &path(&file))?.success()?;
            if context.json {
                output::json(&found);
            } else {
                field(&found, "text").lines().for_each(line);
            }
            Ok(())
        }
        Agents::Write(write) => {
            let text = text(&write.from)?;
            let done = client::ask_with(context, Method::PUT, &path(&write.file), Some(&json!({ "text": text })))?
                .success()?;
            said(context, &done, "is saved; the next message is answered with it");
            Ok(())
        }
        Agents::Remove(file) => {
            let done = client::ask(context, Method::DELETE, &path(&file))?.success()?;
            said(context, &done, "is removed; what it said is kept beside");
            Ok(())
        }
    }
}

fn list(context: &Context) -> Result<(), Failure> {
    let found = client::ask(context, Method::GET, "/api/v1/agents")?.success()?;
    if context.json {
        output::json(&found);
        return Ok(());
    }
    let rows = found.get("agents").and_then(Value::as_array).into_iter().flatten();
    let row = |agent: &Value| {
        let model = agent.get("model").and_then(Value::as_str).unwrap_or("(demo)").to_owned();
        let state = agent.get("model_state");
        let is_failing = state.and_then(|state| state.get("failing")).and_then(Value::as_bool) == Some(true);
        let last = state.map(|state| field(state, if is_failing { "failure" } else { "answered" })).unwrap_or_default();
        let knows = agent.get("knowledge").map(|known| field(known, "told_bytes")).unwrap_or_default();
        vec![field(agent, "name"), model, knows, if is_failing { format!("fails: {last}") } else { last }]
    };
    table(&["agent", "model", "knows (bytes)", "last answer"], &rows.map(row).collect::<Vec<_>>());
    Ok(())
}

fn show(context: &Context, name: &str) -> Result<(), Failure> {
    let path = format!("/api/v1/agents/{}", client::encoded(name));
    let agent = client::ask(context, Method::GET, &path)?.success()?;
    if context.json {
        output::json(&agent);
        return Ok(());
    }
    line(&format!("{}: provider {}", field(&agent, "name"), field(&agent, "provider")));
    line(&format!("persona: {} bytes", field(&agent, "persona_bytes")));
    let Some(known) = agent.get("knowledge") else { return Ok(()) };
    let files = known.get("files").and_then(Value::as_array).into_iter().flatten();
    let rows: Vec<Vec<String>> =
        files.map(|file| vec![field(file, "name"), field(file, "bytes"), field(file, "told_bytes")]).collect();
    if rows.is_empty() {
        line("it knows nothing yet; add a text with `agents write NAME FILE --from PATH`");
    } else {
        table(&["file", "bytes", "told"], &rows);
        let (told, max) = (field(known, "told_bytes"), field(known, "max_told_bytes"));
        line(&format!("{told} of at most {max} bytes are told with every message"));
    }
    Ok(())
}

fn path(file: &File) -> String {
    format!("/api/v1/agents/{}/files/{}", client::encoded(&file.agent.name), client::encoded(&file.file))
}

fn text(from: &PathBuf) -> Result<String, Failure> {
    let cannot = || format!("{} cannot be read", from.display());
    let bytes = if from.as_os_str() == "-" {
        let mut bytes = Vec::new();
        let limit = u64::try_from(MAX_BYTES).unwrap_or(u64::MAX);
        std::io::stdin().lock().take(limit).read_to_end(&mut bytes).map(|_| bytes)
    } else {
        read_at_most(from, MAX_BYTES)
    };
    let bytes = bytes.with_context(cannot).map_err(|error| Exit::Usage.because(error))?;
    String::from_utf8(bytes).with_context(cannot).map_err(|error| Exit::Usage.because(error))
}

fn said(context: &Context, done: &Value, what: &str) {
    if context.json {
        output::json(done);
    } else {
        line(&format!("{} of {} {what}", field(done, "file"), field(done, "agent")));
    }
}
