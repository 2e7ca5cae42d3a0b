//! `providers probe`.

use std::time::Duration;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::{Value, json};

use super::output::{self, field, line};
use super::{Context, Exit, Failure, client};

/// A small machine loads a model for its first word.
const PROBE_TIMEOUT: Duration = Duration::from_secs(120);

#[derive(Debug, Subcommand)]
pub(super) enum Providers {
    /// Have the gateway that runs look whether a model answers at an address; exit 75: none does
    Probe(Probe),
}

#[derive(Debug, Args)]
pub(super) struct Probe {
    /// A host as in 192.168.1.20, a host and a port, or an address as in `https://api.openai.com`
    #[arg(value_name = "ADDRESS")]
    address: String,
    /// How the server speaks: openai or anthropic [default: as the address says]
    #[arg(long, value_name = "KIND")]
    kind: Option<String>,
    /// The model to ask [default: the first that chats]
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// Ask for the key that the server wants to see, and do not show it
    #[arg(long)]
    key: bool,
}

pub(super) fn run(context: &Context, command: Providers) -> Result<(), Failure> {
    let Providers::Probe(Probe { address, kind, model, key }) = command;
    let key = match key {
        true => Some(output::ask_hidden("Key: ").map_err(anyhow::Error::from)?.expose().to_owned()),
        false => None,
    };
    let body = json!({ "address": address, "kind": kind, "model": model, "key": key });
    let path = "/api/v1/providers/probe";
    let found = client::ask_with_within(context, PROBE_TIMEOUT, Method::POST, path, &body)?.success()?;
    if !context.json {
        if let Some(base_url) = found.get("base_url").and_then(Value::as_str) {
            line(&format!("{} ({})", output::printable(base_url), field(&found, "kind")));
        }
        for model in found.get("models").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str) {
            line(&format!("  {}", output::printable(model)));
        }
    }
    let model = found.get("model").and_then(Value::as_str).map(|model| format!("{model}: ")).unwrap_or_default();
    let sentence = format!("{model}{}", field(&found, "message"));
    if found.get("works").and_then(Value::as_bool) != Some(true) {
        return Err(Failure { json: Some(found), ..Exit::TryAgain.say(output::printable(&sentence)) });
    }
    if context.json {
        output::json(&found);
    } else {
        let waited = found.get("waited_ms").and_then(Value::as_u64).unwrap_or_default();
        line(&format!("{} (first word after {waited} ms)", output::printable(&sentence)));
    }
    Ok(())
}
