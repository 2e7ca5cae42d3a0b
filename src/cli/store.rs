//! `store check|repair`: what lies on the disk, while no gateway has it open. Exit 0 when it is sound, 75 when it is not.

use std::panic;

use clap::Subcommand;
use serde_json::json;

use super::output::{self, line, with_causes};
use super::{Context, Exit, Failure, keys};
use crate::gateway;
use crate::store::{self, Checked, Error, Repaired};

/// What redb may keep in memory of the file.
const CACHE_BYTES: usize = 16 * 1024 * 1024;

#[derive(Debug, Subcommand)]
pub(super) enum Store {
    /// Read every page and every row and say what is wrong; changes nothing. Stop the gateway first
    Check,
    /// If something is wrong, make a new store of what can be read; the damaged files are kept. Stop the gateway first
    Repair,
    /// Print the number of what this version stores, the --store-format of its release: whoever has a lower one cannot read it
    Format,
}

pub(super) fn run(context: &Context, command: &Store) -> Result<(), Failure> {
    if matches!(command, Store::Format) {
        let format = store::SHAPE;
        if context.json {
            output::json(&json!({ "format": format }));
        } else {
            line(&format.to_string());
        }
        return Ok(());
    }
    let path = gateway::find_store(&context.home, &context.variables());
    if !path.exists() {
        return Err(Exit::Usage.say(format!("there is no store {}; it is made at the first start", path.display())));
    }
    let key = gateway::device_key::DeviceKey::load(&context.home, &keys::sources(context), &path)?;
    // What a damaged file does to redb becomes a sentence of ours; a line of redb's own would not help anybody.
    let hook = panic::take_hook();
    panic::set_hook(Box::new(|_| {}));
    let found = match command {
        Store::Check | Store::Format => {
            store::check(&path, CACHE_BYTES, &key.wrapping_key()).map(|checked| (checked, None))
        }
        Store::Repair => store::repair(&path, CACHE_BYTES, &key.wrapping_key())
            .map(|repaired| (repaired.checked.clone(), Some(repaired))),
    };
    panic::set_hook(hook);
    match found.map_err(failure)? {
        (checked, None) => said(context, &checked),
        (checked, Some(repaired)) if repaired.checked.n_problems == 0 => said(context, &checked),
        (_, Some(repaired)) => {
            done(context, &repaired);
            Ok(())
        }
    }
}

fn said(context: &Context, checked: &Checked) -> Result<(), Failure> {
    let Checked { format, rows, n_batches, problems, n_problems } = checked;
    let table = |(name, n): &(String, u64)| (name.clone(), json!(n));
    let found = json!({
        "format": format,
        "rows": rows.iter().map(table).collect::<serde_json::Map<_, _>>(),
        "journal_batches": n_batches,
        "problems": problems,
        "n_problems": n_problems,
    });
    if !context.json {
        print_rows("", rows);
        if *n_batches > 0 {
            line(&format!("in the journal: {n_batches} batches, which the next start takes in"));
        }
        problems.iter().for_each(|problem| line(&format!("wrong: {problem}")));
        if *n_problems > problems.len() as u64 {
            line(&format!("wrong: {} more like these", n_problems - problems.len() as u64));
        }
    }
    match (n_problems, context.json) {
        (0, true) => output::json(&found),
        (0, false) => line("nothing is wrong"),
        (n, _) => {
            let sentence = format!(
                "{n} {} wrong with the store; stop the gateway and run `frontdesk store repair`, which keeps what can \
                 be read, or `frontdesk backup restore`",
                if *n == 1 { "thing is" } else { "things are" }
            );
            return Err(Failure { json: Some(found), ..Exit::TryAgain.say(sentence) });
        }
    }
    Ok(())
}

fn done(context: &Context, repaired: &Repaired) {
    let Repaired { checked, rows, lost, n_orphans, kept } = repaired;
    let kept: Vec<String> = kept.iter().map(|path| path.display().to_string()).collect();
    if context.json {
        let by_table = |rows: &[(String, u64)]| -> serde_json::Map<_, _> {
            rows.iter().map(|(name, n)| (name.clone(), json!(n))).collect()
        };
        return output::json(&json!({
            "problems": checked.problems,
            "rows": by_table(rows),
            "lost": by_table(lost),
            "orphans": n_orphans,
            "kept": kept,
        }));
    }
    checked.problems.iter().for_each(|problem| line(&format!("was wrong: {problem}")));
    print_rows("taken over: ", rows);
    print_rows("lost, at least: ", lost);
    if *n_orphans > 0 {
        line(&format!("left out: {n_orphans} rows of conversations of which too little was left"));
    }
    kept.iter().for_each(|path| line(&format!("the damaged file is kept: {path}")));
    line(
        "the store is repaired; remove the damaged files when nothing is missed, words that were erased may be in them",
    );
}

fn print_rows(before: &str, rows: &[(String, u64)]) {
    for (name, n) in rows.iter().filter(|(_, n)| *n > 0) {
        line(&format!("{before}{name}: {n}"));
    }
}

fn failure(error: Error) -> Failure {
    let (exit, help) = match &error {
        Error::Locked { .. } => (Exit::TryAgain, "stop the gateway first"),
        Error::TooNew { .. } => (Exit::Config, "use that version"),
        Error::DataKey => (Exit::Config, "put the device key back with which it was written"),
        Error::Open { .. } => (Exit::Config, "see that it is a store of Frontdesk and that this user may read it"),
        _ => (Exit::Internal, "see that the disk can be read, and that it has room for a copy"),
    };
    exit.say(format!("{}; {help}", with_causes(&error)))
}
