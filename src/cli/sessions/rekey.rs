//! `sessions rekey`: conversations under keys of earlier settings.

use std::time::Duration;

use clap::Args;
use http::Method;
use serde_json::{Value, json};

use crate::cli::output::{self, field, line};
use crate::cli::{Context, Failure, client};

/// A page may have hundreds of conversations to move.
const TIMEOUT: Duration = Duration::from_secs(10 * 60);

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
pub(in crate::cli) struct Rekey {
    /// List them and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Move those that belong to one new key; the others stay readable under their old ones
    #[arg(long)]
    apply: bool,
}

/// Page by page: what was moved before an interruption stays moved, and the same command goes on.
pub(super) fn run(context: &Context, rekey: &Rekey) -> Result<(), Failure> {
    let method = if rekey.apply { Method::POST } else { Method::GET };
    let mut after: Option<String> = None;
    let (mut all, mut n_to_move, mut n_stay) = (Vec::new(), 0_u64, 0_u64);
    loop {
        let path = format!("/api/v1/sessions/rekey{}", client::query(&[("after", after.as_deref())]));
        let page = client::ask_within(context, TIMEOUT, method.clone(), &path)?.success()?;
        for row in page.get("sessions").and_then(Value::as_array).into_iter().flatten() {
            let becomes = row.get("becomes").and_then(Value::as_str).unwrap_or_default();
            match becomes {
                "moves" | "joins" | "moved" => n_to_move += 1,
                _ => n_stay += 1,
            }
            if context.json {
                all.push(row.clone());
                continue;
            }
            let [key, new_key, reason] = ["key", "new_key", "reason"].map(|name| field(row, name));
            line(&match becomes {
                "moves" => format!("{key} -> {new_key}"),
                "joins" => format!("{key} -> {new_key}, behind what is there"),
                "moved" => format!("{key} -> {new_key}: moved"),
                _ => format!("{key} stays: {reason}"),
            });
        }
        after = page.get("next").and_then(Value::as_str).map(str::to_owned);
        if after.is_none() {
            break;
        }
    }
    if context.json {
        output::json(&json!({ "sessions": all }));
        return Ok(());
    }
    match (rekey.apply, n_to_move + n_stay) {
        (_, 0) => line("every conversation lies under the key that the settings give it"),
        (true, _) => line(&format!("{n_to_move} moved, {n_stay} stay")),
        (false, _) => line(&format!("{n_to_move} would be moved, {n_stay} stay; `sessions rekey --apply` moves them")),
    }
    Ok(())
}
