//! `sessions list|find|show|unresolved`.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::output::{self, field, line, paragraph, printable, table};
use super::unresolved::{self, Unresolved};
use super::{Context, Failure, client, context};

#[derive(Debug, Subcommand)]
pub(super) enum Sessions {
    /// List conversations
    List(List),
    /// Find the conversations of somebody
    Find(Find),
    /// Show one conversation
    Show(Show),
    /// Show what the agent noted in a conversation
    Memory(context::Memory),
    /// List the working files of a conversation, or take one out
    Files(context::Files),
    Unresolved(Unresolved),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only those of this tenant
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// Only those of this channel type
    #[arg(long, value_name = "TYPE")]
    channel: Option<String>,
    /// Only those that this agent answered last
    #[arg(long, value_name = "NAME")]
    agent: Option<String>,
    /// Only those that are not archived
    #[arg(long)]
    active: bool,
    /// At most this many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

#[derive(Debug, Args)]
pub(super) struct Find {
    /// Channel type
    #[arg(long, value_name = "TYPE")]
    channel: String,
    /// The vendor's id of the user
    #[arg(long, value_name = "ID")]
    user: String,
    /// Only in this tenant
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Show {
    /// Session key, as `sessions list` prints it
    key: String,
    /// At most this many of the last lines
    #[arg(long, value_name = "N", default_value_t = 50)]
    lines: usize,
}

pub(super) fn run(context: &Context, command: Sessions) -> Result<(), Failure> {
    match command {
        Sessions::List(list) => print_rows(context, &all_rows(context, &list)?),
        Sessions::Find(find) => {
            let query = client::query(&[
                ("channel", Some(&find.channel)),
                ("user", Some(&find.user)),
                ("tenant", find.tenant.as_deref()),
            ]);
            let found = client::ask(context, Method::GET, &format!("/api/v1/sessions/find{query}"))?.success()?;
            let rows = found.get("sessions").and_then(Value::as_array).cloned().unwrap_or_default();
            print_found(context, &rows);
        }
        Sessions::Memory(memory) => context::memory(context, &memory)?,
        Sessions::Files(files) => context::files(context, &files)?,
        Sessions::Show(show) => {
            let query = client::query(&[("key", Some(&show.key)), ("lines", Some(&show.lines.to_string()))]);
            let shown = client::ask(context, Method::GET, &format!("/api/v1/sessions/show{query}"))?.success()?;
            print_session(context, &shown);
        }
        Sessions::Unresolved(command) => unresolved::run(context, &command)?,
    }
    Ok(())
}

/// Page by page, so that neither side holds more than it must. Every conversation is active until archives exist.
fn all_rows(context: &Context, list: &List) -> Result<Vec<Value>, Failure> {
    let mut rows: Vec<Value> = Vec::new();
    let mut after: Option<String> = None;
    loop {
        let n_left = list.limit.map(|limit| limit.saturating_sub(rows.len()));
        if n_left == Some(0) {
            return Ok(rows);
        }
        let limit = n_left.map(|n| n.to_string());
        let query = client::query(&[
            ("tenant", list.tenant.as_deref()),
            ("channel", list.channel.as_deref()),
            ("agent", list.agent.as_deref()),
            ("after", after.as_deref()),
            ("limit", limit.as_deref()),
        ]);
        let page = client::ask(context, Method::GET, &format!("/api/v1/sessions{query}"))?.success()?;
        rows.extend(page.get("sessions").and_then(Value::as_array).into_iter().flatten().cloned());
        after = page.get("next").and_then(Value::as_str).map(str::to_owned);
        if after.is_none() {
            return Ok(rows);
        }
    }
}

fn print_rows(context: &Context, rows: &[Value]) {
    if context.json {
        return output::json(&json!({ "sessions": rows }));
    }
    if rows.is_empty() {
        return line("no sessions");
    }
    let columns = ["key", "agent", "channel", "peer", "messages", "last_active"];
    let rows: Vec<Vec<String>> = rows.iter().map(|row| columns.iter().map(|name| field(row, name)).collect()).collect();
    table(&["key", "agent", "channel", "peer", "messages", "last active"], &rows);
}

fn print_found(context: &Context, rows: &[Value]) {
    if context.json || rows.is_empty() {
        return print_rows(context, rows);
    }
    for (n, row) in rows.iter().enumerate() {
        if n > 0 {
            line("");
        }
        line(&field(row, "key"));
        for name in [
            "tenant",
            "agent",
            "channel",
            "entry",
            "kind",
            "server_id",
            "channel_id",
            "thread_id",
            "user_id",
            "peer",
            "messages",
            "created",
            "last_active",
        ] {
            if row.get(name).is_some_and(|value| !value.is_null()) {
                line(&format!("  {name:<12} {}", field(row, name)));
            }
        }
    }
}

fn print_session(context: &Context, shown: &Value) {
    if context.json {
        return output::json(shown);
    }
    let list = |name: &str| shown.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |item: &Value| paragraph(item.get("text").unwrap_or(&Value::Null));
    let session = shown.get("session").unwrap_or(&Value::Null);
    line(&format!(
        "{} ({}, {} messages)",
        field(session, "key"),
        field(session, "channel"),
        field(session, "messages")
    ));
    for said in list("lines") {
        let who = match said.get("name").and_then(Value::as_str) {
            Some(name) => printable(name),
            None => field(&said, "user_id"),
        };
        line(&format!("{}  {who}: {}", field(&said, "at"), text(&said)));
    }
    context::print(shown);
    for (name, label) in [("waiting", "waits for an answer"), ("undelivered", "not delivered yet")] {
        for item in list(name) {
            line(&format!("{}  ({label}) {}", field(&item, "at"), text(&item)));
        }
    }
    for item in list("parked") {
        line(&format!(
            "{}  ({} set aside: {}) {}",
            field(&item, "at"),
            field(&item, "what"),
            field(&item, "reason"),
            text(&item)
        ));
    }
}
