//! `tenants list|erase`.

use std::time::Duration;

use clap::{Args, Subcommand};
use http::Method;
use serde_json::Value;

use super::output::{self, field, line, table};
use super::{Context, Exit, Failure, client};

/// A large file is written anew before an erasure is answered.
const ERASE_TIMEOUT: Duration = Duration::from_secs(60 * 60);

#[derive(Debug, Subcommand)]
pub(super) enum Tenants {
    /// List the tenants of whom something is kept; asks the gateway that runs
    List,
    /// Have the gateway that runs remove everything kept of a tenant, and the key it is sealed with, for good
    Erase(Erase),
}

#[derive(Debug, Args)]
#[command(override_usage = "frontdesk tenants erase [OPTIONS] <ID|--owner>")]
pub(super) struct Erase {
    /// The tenant, as `tenants list` names it
    #[arg(value_name = "ID", required_unless_present = "owner", conflicts_with = "owner")]
    tenant: Option<String>,
    /// Instead of a tenant: the owner's own conversations, of entries without a tenant
    #[arg(long)]
    owner: bool,
    /// Do not ask
    #[arg(long)]
    yes: bool,
}

pub(super) fn run(context: &Context, command: Tenants) -> Result<(), Failure> {
    match command {
        Tenants::List => list(context),
        Tenants::Erase(erase) => self::erase(context, &erase),
    }
}

fn list(context: &Context) -> Result<(), Failure> {
    let found = client::ask(context, Method::GET, "/api/v1/tenants")?.success()?;
    if context.json {
        output::json(&found);
        return Ok(());
    }
    let name = |row: &Value| match row.get("tenant").and_then(Value::as_str) {
        Some(tenant) => tenant.to_owned(),
        None => "(the owner)".to_owned(),
    };
    let state = |row: &Value| match row.get("erasing").and_then(Value::as_bool) {
        Some(true) => "is being erased".to_owned(),
        _ => String::new(),
    };
    let rows = found.get("tenants").and_then(Value::as_array).into_iter().flatten();
    let rows: Vec<Vec<String>> =
        rows.map(|row| vec![name(row), field(row, "active"), field(row, "archived"), state(row)]).collect();
    if rows.is_empty() {
        line("nothing is kept of anybody");
    } else {
        table(&["tenant", "active", "archived", ""], &rows);
    }
    Ok(())
}

fn erase(context: &Context, erase: &Erase) -> Result<(), Failure> {
    let tenant = erase.tenant.as_deref().unwrap_or_default();
    if tenant.is_empty() && !erase.owner {
        return Err(Exit::Usage.say("a tenant's id is not empty; the owner's own conversations are --owner"));
    }
    let what = match tenant {
        "" => "the owner's own conversations, with all that is kept beside them".to_owned(),
        tenant => format!("all conversations of the tenant {tenant}, with all that is kept beside them"),
    };
    if !erase.yes {
        output::confirm_erasing(&what)?;
    }
    let path = format!("/api/v1/tenants/erase{}", client::query(&[("tenant", Some(tenant))]));
    let done = client::ask_within(context, ERASE_TIMEOUT, Method::POST, &path)?.success()?;
    if context.json {
        output::json(&done);
        return Ok(());
    }
    line(&format!(
        "erased: {what} ({} conversations); their key is gone, and the store's file was written anew without them",
        field(&done, "conversations")
    ));
    Ok(())
}
