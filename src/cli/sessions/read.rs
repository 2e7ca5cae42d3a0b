//! `sessions search|export|tail`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, IsTerminal as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use http::Method;
use serde_json::{Value, json};

use super::{Which, print_line};
use crate::cli::client::End;
use crate::cli::output::{self, field, line};
use crate::cli::{Context, Exit, Failure, client};

#[derive(Debug, Args)]
pub(in crate::cli) struct Search {
    /// A line must hold all of them, in any order, in upper or lower case
    #[arg(required = true)]
    words: Vec<String>,
    /// Only in this tenant; "" is the owner's own
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// Only in conversations that are not archived
    #[arg(long, conflicts_with = "archived")]
    active: bool,
    /// Only in archived ones
    #[arg(long)]
    archived: bool,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Format {
    /// One JSON object for each line, with everything that is known of it
    Jsonl,
    /// Markdown
    Md,
    /// One page that needs no other file
    Html,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Export {
    #[command(flatten)]
    which: Which,
    /// How it is written
    #[arg(long, value_enum)]
    format: Format,
    /// Which conversation under this key [default: the live one, else the last one]
    #[arg(long, value_name = "N", conflicts_with = "all")]
    episode: Option<u64>,
    /// All under this key, oldest first
    #[arg(long)]
    all: bool,
    /// Where to [default: standard output]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

#[derive(Debug, Args)]
pub(in crate::cli) struct Tail {
    #[command(flatten)]
    which: Which,
    /// Begin with this many of the last lines
    #[arg(long, value_name = "N", default_value_t = 10)]
    lines: usize,
    /// Go on with those that come, until Ctrl-C
    #[arg(long)]
    follow: bool,
}

/// Page by page; what was found is printed while the next page is looked for.
pub(super) fn search(context: &Context, search: &Search) -> Result<(), Failure> {
    let words = search.words.join(" ");
    let place = if search.active { Some("active") } else { search.archived.then_some("archived") };
    let (mut after, mut all): (Option<String>, Vec<Value>) = (None, Vec::new());
    let mut n_found = 0;
    loop {
        let query = client::query(&[
            ("words", Some(&words)),
            ("tenant", search.tenant.as_deref()),
            ("in", place),
            ("after", after.as_deref()),
        ]);
        let page = client::ask(context, Method::GET, &format!("/api/v1/sessions/search{query}"))?.success()?;
        for hit in page.get("hits").and_then(Value::as_array).into_iter().flatten() {
            n_found += 1;
            if context.json {
                all.push(hit.clone());
                continue;
            }
            let who = if hit.get("name").is_some_and(Value::is_string) { "name" } else { "user_id" };
            let over = if hit.get("is_archived") == Some(&Value::Bool(true)) { ", archived" } else { "" };
            let [key, episode, at, who, excerpt] =
                ["key", "episode", "at", who, "excerpt"].map(|name| field(hit, name));
            line(&format!("{key} (episode {episode}{over})  {at}  {who}: {excerpt}"));
        }
        after = page.get("next").and_then(Value::as_str).map(str::to_owned);
        if after.is_none() {
            break;
        }
    }
    if context.json {
        output::json(&json!({ "hits": all }));
    } else if n_found == 0 {
        line("nothing was found");
    }
    Ok(())
}

pub(super) fn export(context: &Context, export: &Export) -> Result<(), Failure> {
    let format = match export.format {
        Format::Jsonl => "jsonl",
        Format::Md => "md",
        Format::Html => "html",
    };
    let episode = export.episode.map(|n| n.to_string());
    let query = export.which.query(&[
        ("format", Some(format)),
        ("episode", episode.as_deref()),
        ("all", export.all.then_some("true")),
    ]);
    let path = format!("/api/v1/sessions/export{query}");
    match &export.out {
        Some(file) => export_to(context, &path, file),
        None if io::stdout().is_terminal() => {
            let mut lines = Lines::default();
            client::stream(context, &path, |piece| {
                lines.read(piece, line);
                Ok(true)
            })?;
            Ok(())
        }
        None => whole(client::stream(context, &path, |piece| Ok(output::bytes(piece)))?),
    }
}

/// Written beside and moved into place: a file by this name is always whole.
fn export_to(context: &Context, path: &str, file: &Path) -> Result<(), Failure> {
    let name = file.file_name().map(|name| format!("{}.part", name.to_string_lossy()));
    let name = name.ok_or_else(|| Exit::Usage.say(format!("{} is no file name; write --out FILE", file.display())))?;
    let beside = file.with_file_name(name);
    let failed = |error: io::Error| {
        Exit::Usage.because(anyhow::Error::from(error).context(format!("{} cannot be written", file.display())))
    };
    // What peers said is for the operator alone.
    let opened = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&beside);
    let mut out = opened.map_err(failed)?;
    let written = client::stream(context, path, |piece| out.write_all(piece).map(|()| true).map_err(failed));
    let written = written.and_then(whole).and_then(|()| finish(out, &beside, file).map_err(failed));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written?;
    if context.json {
        output::json(&json!({ "file": file }));
    } else {
        line(&format!("written: {}", file.display()));
    }
    Ok(())
}

fn finish(out: File, beside: &Path, file: &Path) -> io::Result<()> {
    out.sync_all()?;
    fs::rename(beside, file)
}

fn whole(end: End) -> Result<(), Failure> {
    match end {
        End::Whole => Ok(()),
        End::Stopped => Err(Exit::TryAgain.say("the export was stopped; what was written is not all of it")),
    }
}

pub(super) fn tail(context: &Context, tail: &Tail) -> Result<(), Failure> {
    let n_lines = tail.lines.to_string();
    let query = tail.which.query(&[("lines", Some(&n_lines)), ("follow", tail.follow.then_some("true"))]);
    let mut lines = Lines::default();
    let mut is_readable = Ok(());
    let end = client::stream(context, &format!("/api/v1/sessions/tail{query}"), |piece| {
        lines.read(piece, |text| match serde_json::from_str::<Value>(text) {
            Ok(said) if context.json => output::json_line(&said),
            Ok(said) => print_line(&said),
            Err(_) if text.is_empty() => {}
            Err(error) => is_readable = Err(error),
        });
        Ok(output::is_heard())
    })?;
    is_readable.context("the gateway said something else than lines").map_err(Failure::from)?;
    match end {
        End::Whole if tail.follow => Err(Exit::TryAgain.say("the gateway stopped; start it with `gateway run`")),
        End::Whole | End::Stopped => Ok(()),
    }
}

/// Puts the pieces of a text together to lines.
#[derive(Debug, Default)]
struct Lines(Vec<u8>);

impl Lines {
    fn read(&mut self, piece: &[u8], mut on_line: impl FnMut(&str)) {
        self.0.extend_from_slice(piece);
        let Some(end) = self.0.iter().rposition(|byte| *byte == b'\n') else { return };
        let rest = self.0.split_off(end + 1);
        let whole = std::mem::replace(&mut self.0, rest);
        String::from_utf8_lossy(&whole).lines().for_each(&mut on_line);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_put_together_whatever_the_pieces_are() {
        let text = "grüß\n\nשלום 👨‍👩\nend";
        for size in 1..text.len() {
            let (mut lines, mut found) = (Lines::default(), Vec::new());
            text.as_bytes().chunks(size).for_each(|piece| lines.read(piece, |line| found.push(line.to_owned())));
            assert_eq!(
                (found, lines.0),
                (vec!["grüß".to_owned(), String::new(), "שלום 👨‍👩".to_owned()], b"end".to_vec())
            );
        }
    }
}
