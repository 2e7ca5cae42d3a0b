//! `channels list|test`.

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
    let rows: Vec<Vec<String>> = rows.iter().map(|row| columns.iter().map(|name| field(row, name)).collect()).collect();
    table(&["id", "type", "tenant", "last in", "last out", "problem"], &rows);
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
