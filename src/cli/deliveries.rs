//! `deliveries list|retry|drop`.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::output::{self, field, line, paragraph, table};
use super::{Context, Exit, Failure, client};

#[derive(Debug, Subcommand)]
pub(super) enum Deliveries {
    /// List replies that wait to be sent, and messages and replies that were set aside
    List(List),
    /// Put back what was set aside: a reply is sent, a message is answered
    Retry(Retry),
    /// Remove what was set aside, or a reply that waits, for good
    Drop(Drop),
}

#[derive(Debug, Args)]
pub(super) struct List {
    /// Only those of this tenant; "" is the owner's own
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// Only those of this conversation
    #[arg(long, value_name = "KEY")]
    session: Option<String>,
    /// Only what was set aside
    #[arg(long, conflicts_with = "waiting")]
    parked: bool,
    /// Only replies that wait to be sent
    #[arg(long)]
    waiting: bool,
    /// With what was written; whoever looks is in the log
    #[arg(long)]
    text: bool,
    /// At most this many
    #[arg(long, value_name = "N")]
    limit: Option<usize>,
}

/// Whose it is.
#[derive(Debug, Args)]
pub(super) struct Owner {
    /// Session key, as `deliveries list` prints it
    #[arg(long, value_name = "KEY")]
    session: String,
    /// Whose, where several tenants have this key; "" is the owner's own
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Retry {
    /// As `deliveries list` prints it
    id: String,
    #[command(flatten)]
    owner: Owner,
    /// Also when it may have been sent before and the channel cannot tell: the peer may get it twice
    #[arg(long)]
    anyway: bool,
}

#[derive(Debug, Args)]
pub(super) struct Drop {
    /// As `deliveries list` prints it
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    id: Option<String>,
    #[command(flatten)]
    owner: Owner,
    /// All that was set aside in this conversation; replies that wait stay
    #[arg(long)]
    all: bool,
    /// Do not ask, with --all
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(context: &Context, command: Deliveries) -> Result<(), Failure> {
    match command {
        Deliveries::List(command) => list(context, &command),
        Deliveries::Retry(command) => retry(context, &command),
        Deliveries::Drop(command) => forget(context, &command),
    }
}

/// Page by page, so that the gateway never holds more than one.
fn list(context: &Context, list: &List) -> Result<(), Failure> {
    let state = if list.parked { Some("parked") } else { list.waiting.then_some("waiting") };
    let (mut after, mut rows): (Option<String>, Vec<Value>) = (None, Vec::new());
    loop {
        let n_left = list.limit.map(|limit| limit.saturating_sub(rows.len()));
        if n_left == Some(0) {
            break;
        }
        let limit = n_left.map(|n| n.to_string());
        let query = client::query(&[
            ("tenant", list.tenant.as_deref()),
            ("key", list.session.as_deref()),
            ("state", state),
            ("text", list.text.then_some("true")),
            ("after", after.as_deref()),
            ("limit", limit.as_deref()),
        ]);
        let page = client::ask(context, Method::GET, &format!("/api/v1/deliveries{query}"))?.success()?;
        rows.extend(page.get("deliveries").and_then(Value::as_array).into_iter().flatten().cloned());
        after = page.get("next").and_then(Value::as_str).map(str::to_owned);
        if after.is_none() {
            break;
        }
    }
    if context.json {
        output::json(&json!({ "deliveries": rows }));
    } else if rows.is_empty() {
        line("nothing waits to be sent, and nothing was set aside");
    } else if list.text {
        rows.iter().for_each(print_text);
    } else {
        print_table(&rows);
    }
    Ok(())
}

fn print_table(rows: &[Value]) {
    let has_tenant = rows.iter().any(|row| row.get("tenant").is_some_and(Value::is_string));
    let mut columns = vec!["id", "key", "what", "channel", "since"];
    if has_tenant {
        columns.insert(1, "tenant");
    }
    let cells = |row: &Value| columns.iter().map(|name| field(row, name)).chain([because(row)]).collect();
    let cells: Vec<Vec<String>> = rows.iter().map(cells).collect();
    columns.push("why");
    table(&columns, &cells);
}

fn print_text(row: &Value) {
    let [id, key, what, channel, since] = ["id", "key", "what", "channel", "since"].map(|name| field(row, name));
    line(&format!("{id}  {key}  {what} on {channel} since {since}: {}", because(row)));
    line(&format!("    {}", paragraph(row.get("text").unwrap_or(&Value::Null))));
}

/// Why it is where it is, on one line.
fn because(row: &Value) -> String {
    let is = |name: &str| row.get(name).and_then(Value::as_bool).unwrap_or(false);
    if field(row, "state") == "parked" {
        let perhaps = if is("ambiguous") { "; may have been sent" } else { "" };
        return format!("set aside: {}{perhaps}", field(row, "reason"));
    }
    let started = if is("started") { ", one is under way" } else { "" };
    format!("waits: {} tries since the start{started}", field(row, "tries"))
}

fn retry(context: &Context, retry: &Retry) -> Result<(), Failure> {
    let more = [("id", Some(retry.id.as_str())), ("anyway", retry.anyway.then_some("true"))];
    let path = format!("/api/v1/deliveries/retry{}", retry.owner.query(&more));
    let done = client::ask(context, Method::POST, &path)?.success()?;
    if context.json {
        output::json(&done);
        return Ok(());
    }
    let next = if field(&done, "what") == "message" { "waits for an answer again" } else { "is being sent again" };
    line(&format!("put back: {} of {} {next}", field(&done, "id"), field(&done, "key")));
    Ok(())
}

fn forget(context: &Context, drop: &Drop) -> Result<(), Failure> {
    if drop.all && !drop.yes {
        let what = format!("all that was set aside in {}", drop.owner.session);
        let question = format!("Drop {what}? It cannot be brought back. Type \"yes\":");
        match output::ask(&question) {
            None => return Err(Exit::Usage.say(format!("this would drop {what}, for good; add --yes to do it"))),
            Some(answer) if answer == "yes" => {}
            Some(_) => return Err(Exit::Usage.say("nothing was dropped")),
        }
    }
    let more = [("id", drop.id.as_deref()), ("all", drop.all.then_some("true"))];
    let path = format!("/api/v1/deliveries/drop{}", drop.owner.query(&more));
    let done = client::ask(context, Method::POST, &path)?.success()?;
    if context.json {
        output::json(&done);
    } else {
        line(&format!("dropped from {}: {}", field(&done, "key"), field(&done, "dropped")));
    }
    Ok(())
}

impl Owner {
    fn query(&self, more: &[(&str, Option<&str>)]) -> String {
        let named = [("key", Some(self.session.as_str())), ("tenant", self.tenant.as_deref())];
        client::query(&[&named, more].concat())
    }
}
