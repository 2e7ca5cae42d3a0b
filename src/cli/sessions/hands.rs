//! `sessions take|say|hand-back`: a person answers instead of the worker.

use clap::Args;
use http::Method;
use serde_json::json;

use super::super::output::{self, field, line};
use super::super::{Context, Exit, Failure, client};
use super::Which;

#[derive(Debug, Args)]
pub(in crate::cli) struct Take {
    #[command(flatten)]
    which: Which,
    /// Also when somebody else has it
    #[arg(long)]
    from_others: bool,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Say {
    #[command(flatten)]
    which: Which,
    /// What to say: it answers what waits, or goes to where the last message came from
    #[arg(required = true)]
    text: Vec<String>,
}

pub(super) fn take(context: &Context, take: &Take) -> Result<(), Failure> {
    let query = take.which.query(&[("from_others", take.from_others.then_some("true"))]);
    let done = client::ask(context, Method::POST, &format!("/api/v1/sessions/take{query}"))?.success()?;
    if context.json {
        output::json(&done);
        return Ok(());
    }
    line(&format!(
        "{}: the worker is silent; answer with `sessions say`, and give it back with `sessions hand-back`",
        field(&done, "key")
    ));
    Ok(())
}

pub(super) fn say(context: &Context, say: &Say) -> Result<(), Failure> {
    let text = say.text.join(" ");
    if text.trim().is_empty() {
        return Err(Exit::Usage.say("there is nothing to say"));
    }
    let path = format!("/api/v1/sessions/say{}", say.which.query(&[]));
    let done = client::ask_with(context, Method::POST, &path, Some(&json!({ "text": text })))?.success()?;
    if context.json {
        output::json(&done);
        return Ok(());
    }
    match field(&done, "answers").as_str() {
        "0" => line("on its way; no message waited for an answer"),
        "1" => line("on its way; it answers one message"),
        n => line(&format!("on its way; it answers {n} messages")),
    }
    Ok(())
}

pub(super) fn hand_back(context: &Context, which: &Which) -> Result<(), Failure> {
    let path = format!("/api/v1/sessions/hand-back{}", which.query(&[]));
    let done = client::ask(context, Method::POST, &path)?.success()?;
    if context.json {
        output::json(&done);
        return Ok(());
    }
    let [key, waiting] = ["key", "waiting"].map(|name| field(&done, name));
    match waiting.as_str() {
        "0" => line(&format!("{key}: the worker answers again")),
        n => line(&format!("{key}: the worker answers again; messages that nobody has answered: {n}")),
    }
    Ok(())
}
