//! `pairing list|allowed|approve|reject|revoke`.

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::output::{self, field, line, table};
use super::{Context, Failure, client};

#[derive(Debug, Subcommand)]
pub(super) enum Pairing {
    /// List strangers who wait for approval, with their codes
    List(Channel),
    /// List who was approved
    Allowed(Channel),
    /// Let the stranger with this code write
    Approve(Decision),
    /// Forget the stranger with this code
    Reject(Decision),
    /// Take an approval back
    Revoke(Revocation),
}

#[derive(Debug, Args)]
pub(super) struct Channel {
    /// Only those of this channel
    #[arg(value_name = "CHANNEL")]
    channel: Option<String>,
}

#[derive(Debug, Args)]
pub(super) struct Decision {
    /// Id of the channel, or its type where there is one of it
    #[arg(value_name = "CHANNEL")]
    channel: String,
    /// What the stranger was told
    #[arg(value_name = "CODE")]
    code: String,
}

#[derive(Debug, Args)]
pub(super) struct Revocation {
    /// Id of the channel, or its type where there is one of it
    #[arg(value_name = "CHANNEL")]
    channel: String,
    /// The peer or group, as `pairing allowed` prints it
    #[arg(value_name = "SUBJECT", allow_hyphen_values = true)]
    subject: String,
}

pub(super) fn run(context: &Context, command: Pairing) -> Result<(), Failure> {
    match command {
        Pairing::List(channel) => {
            let found = get(context, "/api/v1/pairing", &channel)?;
            print(
                context,
                &found,
                "pairings",
                "nobody waits",
                &["code", "channel", "kind", "subject", "name", "expires"],
            );
        }
        Pairing::Allowed(channel) => {
            let found = get(context, "/api/v1/pairing/allowed", &channel)?;
            print(context, &found, "allowed", "nobody was approved", &["channel", "kind", "subject", "name", "since"]);
        }
        Pairing::Approve(Decision { channel, code }) => {
            post(context, "approve", "approved", &json!({ "channel": channel, "code": code }))?;
        }
        Pairing::Reject(Decision { channel, code }) => {
            post(context, "reject", "rejected", &json!({ "channel": channel, "code": code }))?;
        }
        Pairing::Revoke(Revocation { channel, subject }) => {
            post(context, "revoke", "revoked", &json!({ "channel": channel, "subject": subject }))?;
        }
    }
    Ok(())
}

fn get(context: &Context, path: &str, channel: &Channel) -> Result<Value, Failure> {
    let query = client::query(&[("channel", channel.channel.as_deref())]);
    client::ask(context, Method::GET, &format!("{path}{query}"))?.success()
}

fn print(context: &Context, found: &Value, name: &str, nobody: &str, columns: &[&str]) {
    if context.json {
        return output::json(found);
    }
    let rows = found.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    if rows.is_empty() {
        return line(nobody);
    }
    let rows: Vec<Vec<String>> = rows.iter().map(|row| columns.iter().map(|name| field(row, name)).collect()).collect();
    table(columns, &rows);
}

/// Says what the gateway decided, one line for each peer or group.
fn post(context: &Context, what: &str, done: &str, body: &Value) -> Result<(), Failure> {
    let path = format!("/api/v1/pairing/{what}");
    let answer = client::ask_with(context, Method::POST, &path, Some(body))?.success()?;
    if context.json {
        output::json(&answer);
        return Ok(());
    }
    let said = answer.get(done).cloned().unwrap_or_default();
    for one in said.as_array().cloned().unwrap_or_else(|| vec![said]) {
        let chat = if one.get("kind").and_then(Value::as_str) == Some("group") { "group" } else { "peer" };
        line(&format!("{done}: {chat} {} on {}", field(&one, "subject"), field(&one, "channel")));
    }
    Ok(())
}
