//! `usage`.

use clap::{Args, ValueEnum};
use http::Method;
use serde_json::Value;

use super::output::{self, field, line, table};
use super::{Context, Failure, client};

/// Say how much was asked and answered, and what it cost
#[derive(Debug, Args)]
pub(super) struct Usage {
    /// Only of this tenant; "" is the owner's own
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// How many days back, at most 400
    #[arg(long, value_name = "N", default_value_t = 7)]
    days: u64,
    /// How long a line is [default: what suits the number of days]
    #[arg(long, value_enum)]
    by: Option<By>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum By {
    Hour,
    Day,
    Month,
}

pub(super) fn run(context: &Context, command: &Usage) -> Result<(), Failure> {
    let (tenant, days) = (command.tenant.as_deref(), command.days.to_string());
    let by = command.by.map(|by| match by {
        By::Hour => "hour",
        By::Day => "day",
        By::Month => "month",
    });
    let query = client::query(&[("tenant", tenant), ("days", Some(&days)), ("by", by)]);
    let usage = client::ask(context, Method::GET, &format!("/api/v1/usage{query}"))?.success()?;
    if context.json {
        output::json(&usage);
        return Ok(());
    }
    let pieces = usage.get("usage").and_then(Value::as_array).cloned().unwrap_or_default();
    if pieces.is_empty() {
        line("nothing was counted");
        return Ok(());
    }
    let rows: Vec<Vec<String>> = pieces.iter().map(row).collect();
    table(&["from", "tenant", "messages", "answers", "p50", "p95", "tokens in", "tokens out", "errors", "cost"], &rows);
    Ok(())
}

fn row(piece: &Value) -> Vec<String> {
    let (latency, tokens) = (&piece["latency_ms"], &piece["tokens"]);
    let seconds = |name: &str| {
        let ms = latency.get(name).and_then(Value::as_u64);
        ms.map_or_else(|| "-".to_owned(), |ms| format!("{}.{} s", ms / 1_000, ms % 1_000 / 100))
    };
    let costs = piece.get("costs").and_then(Value::as_array).into_iter().flatten();
    let costs: Vec<String> =
        costs.map(|cost| format!("{} {}", field(cost, "amount"), field(cost, "currency"))).collect();
    vec![
        field(piece, "at"),
        field(piece, "tenant"),
        field(piece, "messages"),
        field(piece, "answers"),
        seconds("p50"),
        seconds("p95"),
        field(tokens, "input"),
        field(tokens, "output"),
        field(piece, "model_errors"),
        if costs.is_empty() { "-".to_owned() } else { costs.join(", ") },
    ]
}
