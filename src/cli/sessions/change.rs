//! `sessions archive|restore|erase`.

use std::time::Duration;

use clap::Args;
use http::Method;
use serde_json::Value;

use super::Which;
use crate::cli::output::{self, field, line};
use crate::cli::{Context, Failure, client};

/// A large file is written anew before an erasure is answered.
const ERASE_TIMEOUT: Duration = Duration::from_secs(60 * 60);

#[derive(Debug, Args)]
pub(in crate::cli) struct Restore {
    #[command(flatten)]
    which: Which,
    /// Which one, with all that came after it [default: the last one]
    #[arg(long, value_name = "N")]
    episode: Option<u64>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Erase {
    #[command(flatten)]
    which: Which,
    /// Only this archived one [default: everything under the key]
    #[arg(long, value_name = "N")]
    episode: Option<u64>,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(super) fn archive(context: &Context, which: &Which) -> Result<(), Failure> {
    let path = format!("/api/v1/sessions/archive{}", which.query(&[]));
    let done = client::ask(context, Method::POST, &path)?.success()?;
    if context.json {
        output::json(&done);
        return Ok(());
    }
    let session = done.get("session").unwrap_or(&Value::Null);
    line(&format!("archived: {}, episode {}", field(session, "key"), field(session, "episode")));
    Ok(())
}

pub(super) fn restore(context: &Context, restore: &Restore) -> Result<(), Failure> {
    let episode = restore.episode.map(|n| n.to_string());
    let path = format!("/api/v1/sessions/restore{}", restore.which.query(&[("episode", episode.as_deref())]));
    let done = client::ask(context, Method::POST, &path)?.success()?;
    if context.json {
        output::json(&done);
        return Ok(());
    }
    let session = done.get("session").unwrap_or(&Value::Null);
    line(&format!("restored: {}, {} messages are live again", field(session, "key"), field(session, "messages")));
    Ok(())
}

pub(super) fn erase(context: &Context, erase: &Erase) -> Result<(), Failure> {
    let key = &erase.which.key;
    let what = match erase.episode {
        Some(episode) => format!("episode {episode} of {key}"),
        None => format!("{key} and all its archived conversations"),
    };
    if !erase.yes {
        output::confirm_erasing(&what)?;
    }
    let episode = erase.episode.map(|n| n.to_string());
    let path = format!("/api/v1/sessions/erase{}", erase.which.query(&[("episode", episode.as_deref())]));
    let done = client::ask_within(context, ERASE_TIMEOUT, Method::POST, &path)?.success()?;
    if context.json {
        output::json(&done);
        return Ok(());
    }
    let erased = done.get("erased").unwrap_or(&Value::Null);
    let counts = ["lines", "messages", "replies", "notes", "files", "archives"];
    let counts = counts.map(|name| format!("{} {name}", field(erased, name)));
    line(&format!(
        "erased: {} ({}); the store's file was written anew without them",
        field(&done, "key"),
        counts.join(", ")
    ));
    Ok(())
}
