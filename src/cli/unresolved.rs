//! `sessions unresolved`.

use clap::Args;
use http::Method;
use serde_json::Value;

use super::output::{self, field, line, paragraph};
use super::{Context, Failure, client};

/// Look at messages that belong to no conversation, or forget them
#[derive(Debug, Args)]
pub(super) struct Unresolved {
    /// Only those of the channel with this id
    #[arg(value_name = "CHANNEL")]
    channel: Option<String>,
    /// With what was written
    #[arg(long)]
    show: bool,
    /// Forget them
    #[arg(long, conflicts_with = "show")]
    drop: bool,
}

pub(super) fn run(context: &Context, command: &Unresolved) -> Result<(), Failure> {
    let words = command.show.then_some("true");
    let query = client::query(&[("channel", command.channel.as_deref()), ("words", words)]);
    let method = if command.drop { Method::DELETE } else { Method::GET };
    let answer = client::ask(context, method, &format!("/api/v1/sessions/unresolved{query}"))?.success()?;
    if context.json {
        output::json(&answer);
        return Ok(());
    }
    if command.drop {
        line(&format!("{} forgotten", field(&answer, "dropped")));
        return Ok(());
    }
    let messages = answer.get("unresolved").and_then(Value::as_array).cloned().unwrap_or_default();
    if messages.is_empty() {
        line("every message belongs to a conversation");
    }
    for message in messages {
        let head = format!("{}  {}: {}", field(&message, "at"), field(&message, "channel"), field(&message, "reason"));
        match message.get("text") {
            Some(text) => line(&format!("{head}\n    {}", paragraph(text))),
            None => line(&head),
        }
    }
    Ok(())
}
