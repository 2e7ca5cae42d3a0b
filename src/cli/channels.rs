//! `channels list|test|pause|resume`.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::Value;

use super::output::{self, field, line, table};
use super::{Context, Exit, Failure, client};

#[derive(Debug, Subcommand)]
pub(super) enum Channels {
    /// List channels, and when a message last really went through
    List,
    /// Try whether a channel works, without a message to anybody; exit 75: it does not
    Test(Id),
    /// Have a channel take and send nothing until `resume`; what waits is kept, also over a restart
    Pause(Id),
    /// Let a paused channel go on
    Resume(Id),
}

#[derive(Debug, Args)]
pub(super) struct Id {
    /// As `channels list` prints it
    #[arg(value_name = "ID")]
    id: String,
}

pub(super) fn run(context: &Context, command: Channels) -> Result<(), Failure> {
    match command {
        Channels::List => list(context),
        Channels::Test(Id { id }) => test(context, &id),
        Channels::Pause(Id { id }) => switch(context, &id, "pause", "paused"),
        Channels::Resume(Id { id }) => switch(context, &id, "resume", "goes on"),
    }
}

fn rows(found: &Value, name: &str) -> Vec<Value> {
    found.get(name).and_then(Value::as_array).cloned().unwrap_or_default()
}

fn list(context: &Context) -> Result<(), Failure> {
    let found = client::ask(context, Method::GET, "/api/v1/channels")?.success()?;
    if context.json {
        output::json(&found);
        return Ok(());
    }
    let rows = rows(&found, "channels");
    if rows.is_empty() {
        line("no channels");
        return Ok(());
    }
    let columns = ["id", "type", "tenant", "last_in", "last_out", "problem"];
    let rows: Vec<Vec<String>> = rows.iter().map(|row| columns.iter().map(|name| cell(row, name)).collect()).collect();
    table(&["id", "type", "tenant", "last in", "last out", "problem"], &rows);
    Ok(())
}

/// What a table of channels shows: a pause is the owner's wish, and stands where else trouble does.
pub(super) fn cell(channel: &Value, name: &str) -> String {
    match (name, channel.get("paused").and_then(Value::as_bool)) {
        ("problem", Some(true)) => "paused".to_owned(),
        _ => field(channel, name),
    }
}

fn switch(context: &Context, id: &str, action: &str, done: &str) -> Result<(), Failure> {
    let path = format!("/api/v1/channels/{}/{action}", client::encoded(id));
    let found = client::ask(context, Method::POST, &path)?.success()?;
    match context.json {
        true => output::json(&found),
        false => line(&format!("channel {}: {done}", field(&found, "id"))),
    }
    Ok(())
}

fn test(context: &Context, id: &str) -> Result<(), Failure> {
    let path = format!("/api/v1/channels/{}/test", client::encoded(id));
    let found = client::ask(context, Method::POST, &path)?.success()?;
    let works = found.get("works").and_then(Value::as_bool).unwrap_or(false);
    if context.json {
        output::json(&found);
    } else {
        for one in rows(&found, "tried") {
            let mark = if one.get("works").and_then(Value::as_bool).unwrap_or(false) { "ok" } else { "failed" };
            line(&format!("{mark}: {}: {}", field(&one, "what"), field(&one, "found")));
        }
    }
    match works {
        true => Ok(()),
        false => Err(Exit::TryAgain.say(format!("channel {id} does not work; see above"))),
    }
}
