//! `sessions …`: conversations, and what support does to them.

mod change;
mod hands;
mod read;
mod rekey;

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
    /// Look for words
    Search(read::Search),
    /// Write a conversation to a file
    Export(read::Export),
    /// Print the last lines of a conversation, and those that come
    Tail(read::Tail),
    /// Take a conversation over: the worker does not answer until it is handed back
    Take(hands::Take),
    /// Say something in a conversation that was taken over
    Say(hands::Say),
    /// Have the worker answer a conversation again
    HandBack(Which),
    /// End a conversation; its next message begins another
    Archive(Which),
    /// Take an archived conversation up again
    Restore(change::Restore),
    /// Remove a conversation and everything kept of it, for good
    Erase(change::Erase),
    /// List or move conversations that lie under keys of earlier settings
    Rekey(rekey::Rekey),
}

/// A conversation, by its name.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// Session key, as `sessions list` prints it
    key: String,
    /// Whose, where several tenants have this key; "" is the owner's own
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
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
    /// Those that are not archived [default]
    #[arg(long)]
    active: bool,
    /// Those that are archived; with --active, both
    #[arg(long)]
    archived: bool,
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
    #[command(flatten)]
    which: Which,
    /// Which conversation under this key [default: the live one, else the last one]
    #[arg(long, value_name = "N")]
    episode: Option<u64>,
    /// At most this many of the last lines
    #[arg(long, value_name = "N", default_value_t = 50)]
    lines: usize,
}

pub(super) fn run(context: &Context, command: Sessions) -> Result<(), Failure> {
    match command {
        Sessions::List(list) => {
            let mut rows = Vec::new();
            if list.active || !list.archived {
                all_rows(context, &list, false, &mut rows)?;
            }
            if list.archived {
                all_rows(context, &list, true, &mut rows)?;
            }
            print_rows(context, &rows);
        }
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
            let (lines, episode) = (show.lines.to_string(), show.episode.map(|n| n.to_string()));
            let query = show.which.query(&[("lines", Some(&lines)), ("episode", episode.as_deref())]);
            let shown = client::ask(context, Method::GET, &format!("/api/v1/sessions/show{query}"))?.success()?;
            print_session(context, &shown);
        }
        Sessions::Unresolved(command) => unresolved::run(context, &command)?,
        Sessions::Search(search) => read::search(context, &search)?,
        Sessions::Export(export) => read::export(context, &export)?,
        Sessions::Tail(tail) => read::tail(context, &tail)?,
        Sessions::Take(take) => hands::take(context, &take)?,
        Sessions::Say(say) => hands::say(context, &say)?,
        Sessions::HandBack(which) => hands::hand_back(context, &which)?,
        Sessions::Archive(which) => change::archive(context, &which)?,
        Sessions::Restore(restore) => change::restore(context, &restore)?,
        Sessions::Erase(erase) => change::erase(context, &erase)?,
        Sessions::Rekey(rekey) => rekey::run(context, &rekey)?,
    }
    Ok(())
}

impl Which {
    fn query(&self, more: &[(&str, Option<&str>)]) -> String {
        let named = [("key", Some(self.key.as_str())), ("tenant", self.tenant.as_deref())];
        client::query(&[&named, more].concat())
    }
}

/// Page by page, so that neither side holds more than it must.
fn all_rows(context: &Context, list: &List, archived: bool, rows: &mut Vec<Value>) -> Result<(), Failure> {
    let mut after: Option<String> = None;
    loop {
        let n_left = list.limit.map(|limit| limit.saturating_sub(rows.len()));
        if n_left == Some(0) {
            return Ok(());
        }
        let limit = n_left.map(|n| n.to_string());
        let query = client::query(&[
            ("tenant", list.tenant.as_deref()),
            ("channel", list.channel.as_deref()),
            ("agent", list.agent.as_deref()),
            ("archived", archived.then_some("true")),
            ("after", after.as_deref()),
            ("limit", limit.as_deref()),
        ]);
        let page = client::ask(context, Method::GET, &format!("/api/v1/sessions{query}"))?.success()?;
        rows.extend(page.get("sessions").and_then(Value::as_array).into_iter().flatten().cloned());
        after = page.get("next").and_then(Value::as_str).map(str::to_owned);
        if after.is_none() {
            return Ok(());
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
    let mut columns = vec!["key", "agent", "channel", "peer", "messages", "last_active"];
    if rows.iter().any(is_archived) {
        columns.extend(["episode", "archived"]);
    }
    let rows: Vec<Vec<String>> = rows.iter().map(|row| columns.iter().map(|name| field(row, name)).collect()).collect();
    let headings: Vec<String> = columns.iter().map(|name| name.replace('_', " ")).collect();
    table(&headings.iter().map(String::as_str).collect::<Vec<_>>(), &rows);
}

fn is_archived(row: &Value) -> bool {
    row.get("archived").is_some_and(|at| !at.is_null())
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
            "episode",
            "messages",
            "created",
            "last_active",
            "archived",
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
    let over = if is_archived(session) { format!(", archived {}", field(session, "archived")) } else { String::new() };
    line(&format!(
        "{} ({}, {} messages{over})",
        field(session, "key"),
        field(session, "channel"),
        field(session, "messages")
    ));
    if let Some(taken) = shown.get("taken").filter(|taken| taken.is_object()) {
        let [by, since] = ["by", "since"].map(|name| field(taken, name));
        line(&format!("{by} answers here since {since}; the worker is silent"));
    }
    for archived in list("archives").iter().filter(|archived| archived.get("episode") != session.get("episode")) {
        let [episode, at, messages] = ["episode", "archived", "messages"].map(|name| field(archived, name));
        line(&format!("--episode {episode}: {messages} messages, archived {at}"));
    }
    list("lines").iter().for_each(print_line);
    context::print(shown);
    for (name, label) in [("waiting", "waits for an answer"), ("undelivered", "not delivered yet")] {
        for item in list(name) {
            line(&format!("{}  ({label}) {}", field(&item, "at"), text(&item)));
        }
    }
    for item in list("parked") {
        line(&format!(
            "{}  ({} {} set aside: {}) {}",
            field(&item, "at"),
            field(&item, "id"),
            field(&item, "what"),
            field(&item, "reason"),
            text(&item)
        ));
    }
}

fn print_line(said: &Value) {
    let who = match said.get("name").and_then(Value::as_str) {
        Some(name) => printable(name),
        None => field(said, "user_id"),
    };
    line(&format!("{}  {who}: {}", field(said, "at"), paragraph(said.get("text").unwrap_or(&Value::Null))));
}
