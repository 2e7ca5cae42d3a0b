//! `route explain`: why this agent, without a running gateway.

use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::PathBuf;

use anyhow::{Context as _, anyhow};
use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::output::{self, line};
use super::{Context, Exit, Failure, config};
use crate::admin::routes::Message;
use crate::gateway::{ExplainError, Explained, Ground};
use crate::session::Address;

#[derive(Debug, Subcommand)]
pub(super) enum Route {
    /// Say which route wins for an address, or for messages, and which later ones match too
    Explain(Explain),
}

#[derive(Debug, Args)]
pub(super) struct Explain {
    /// `channel:server:room[:thread]:user`, with or without `tenant-<id>-` in front
    #[arg(required_unless_present = "message", conflicts_with = "message")]
    address: Option<String>,
    /// Identity bundles, one JSON object a line; `-` reads standard input. Prints one JSON object a line
    #[arg(long, value_name = "FILE")]
    message: Option<PathBuf>,
    /// What kind of message the address is of: direct, group or thread [default: thread with four ids, else direct]
    #[arg(long, conflicts_with = "message")]
    kind: Option<String>,
    /// The configuration [default: the one in the home]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

pub(super) fn run(context: &Context, command: Route) -> Result<(), Failure> {
    let Route::Explain(explain) = command;
    let ground = Ground::of(&config::load(context, explain.config.as_deref())?.settings);
    match (explain.address, explain.message) {
        (Some(address), _) => explain_address(context, &ground, &address, explain.kind),
        (None, Some(file)) => explain_messages(&ground, &file),
        (None, None) => Err(Exit::Usage.say("name an address, or a file with --message")),
    }
}

fn explain_address(context: &Context, ground: &Ground, text: &str, kind: Option<String>) -> Result<(), Failure> {
    let address = Address::parse(text).ok_or_else(|| Exit::Usage.say(ExplainError::Address(text.to_owned())))?;
    let bundle = ground.bundle(&address, kind);
    let kind = bundle.kind.clone();
    let explained = ground.explain_address(&address, ground.identity(bundle));
    let (agent, route, later) = (explained.agent, route(&explained), later(&explained));
    let resolved = &explained.resolved;
    if context.json {
        let key = resolved.as_ref().ok().map(|resolved| resolved.session_key.as_str());
        output::json(&json!({
            "kind": kind,
            "session_key": key,
            "rule": resolved.as_ref().ok().map(|resolved| resolved.rule.to_string()),
            "error": resolved.as_ref().err(),
            "agent": agent.as_str(),
            "route": route,
            "later": later,
        }));
        return Ok(());
    }
    match resolved {
        Ok(resolved) => {
            line(&format!("session key: {} (of a {kind} message)", resolved.session_key));
            line(&format!("rule: {}", resolved.rule));
        }
        Err(error) => line(&format!("session key: none of a {kind} message: {error}")),
    }
    line(&format!("agent: {agent}"));
    line(&format!("route: {}", route.unwrap_or("none matches; this is the default agent")));
    later.iter().for_each(|route| line(&format!("would match too: {route}")));
    Ok(())
}

fn route<'g>(explained: &Explained<'g>) -> Option<&'g str> {
    explained.route.map(|winner| winner.route.as_str())
}

fn later<'g>(explained: &Explained<'g>) -> Vec<&'g str> {
    explained.later.iter().map(|later| later.route.as_str()).collect()
}

fn explain_messages(ground: &Ground, file: &PathBuf) -> Result<(), Failure> {
    let reader: Box<dyn BufRead> = if file.as_os_str() == "-" {
        Box::new(io::stdin().lock())
    } else {
        let opened = File::open(file).with_context(|| format!("{} cannot be read", file.display()));
        Box::new(BufReader::new(opened.map_err(|error| Exit::Usage.because(error))?))
    };
    for text in reader.lines() {
        let text = text.map_err(|error| Exit::Usage.because(anyhow!(error).context("the messages cannot be read")))?;
        if !text.trim().is_empty() {
            let explained = explain_message(ground, &text);
            output::json_line(&explained.unwrap_or_else(|error| json!({ "error": format!("{error:#}") })));
        }
    }
    Ok(())
}

fn explain_message(ground: &Ground, text: &str) -> anyhow::Result<Value> {
    let message: Message = serde_json::from_str(text).context("this is no identity bundle")?;
    let explained = ground.explain(&ground.identity(message.into())?);
    let resolved = explained.resolved.as_ref().map_err(|error| anyhow!("{error}"))?;
    Ok(json!({
        "session_key": resolved.session_key.as_str(),
        "rule": resolved.rule.to_string(),
        "agent": explained.agent.as_str(),
        "route": route(&explained),
        "later": later(&explained),
    }))
}
