//! `alerts show|test`.

use std::time::Duration;

use clap::Subcommand;
use http::Method;
use serde_json::Value;

use super::output::{self, field, line};
use super::{Context, Exit, Failure, client};

/// Two ways, each with the time that a server may take.
const TEST_TIMEOUT: Duration = Duration::from_secs(90);

#[derive(Debug, Subcommand)]
pub(super) enum Alerts {
    /// Say who is told when something is wrong, and whether it arrives
    Show,
    /// Send a test to whoever is told; exit 75: it did not go through
    Test,
}

pub(super) fn run(context: &Context, command: &Alerts) -> Result<(), Failure> {
    match command {
        Alerts::Show => show(context),
        Alerts::Test => test(context),
    }
}

fn list<'v>(value: &'v Value, name: &str) -> impl Iterator<Item = &'v Value> {
    value.get(name).and_then(Value::as_array).into_iter().flatten()
}

fn show(context: &Context) -> Result<(), Failure> {
    let found = client::ask(context, Method::GET, "/api/v1/alerts")?.success()?;
    if context.json {
        output::json(&found);
        return Ok(());
    }
    let emails: Vec<&str> = list(&found, "email").filter_map(Value::as_str).collect();
    let webhook = found.get("webhook").and_then(Value::as_str);
    if emails.is_empty() && webhook.is_none() {
        line("nobody is told when something is wrong; say who under [alerts]");
    }
    if !emails.is_empty() {
        line(&format!("by e-mail: {}", emails.join(", ")));
    }
    webhook.iter().for_each(|host| line(&format!("by webhook: {host}")));
    for trouble in list(&found, "told") {
        line(&format!("told: {}", output::printable(&field(trouble, "what"))));
    }
    for failed in list(&found, "failed") {
        let (way, at, reason) = (field(failed, "way"), field(failed, "at"), field(failed, "reason"));
        line(&format!("failed: {way} at {at}: {}", output::printable(&reason)));
    }
    Ok(())
}

fn test(context: &Context) -> Result<(), Failure> {
    let found = client::ask_within(context, TEST_TIMEOUT, Method::POST, "/api/v1/alerts/test")?.success()?;
    if list(&found, "sent").next().is_none() {
        return Err(Exit::Usage.say("nobody is told when something is wrong; say who under [alerts]"));
    }
    let mut failed = Vec::new();
    for sent in list(&found, "sent") {
        match sent.get("ok").and_then(Value::as_bool) {
            Some(true) if !context.json => line(&format!("{}: sent", field(sent, "way"))),
            Some(true) => {}
            _ => failed.push(format!("{}: {}", field(sent, "way"), output::printable(&field(sent, "reason")))),
        }
    }
    if !failed.is_empty() {
        return Err(Failure { json: Some(found), ..Exit::TryAgain.say(failed.join("; ")) });
    }
    if context.json {
        output::json(&found);
    }
    Ok(())
}
