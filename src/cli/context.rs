//! `sessions memory|files`.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use clap::Args;
use http::Method;
use serde_json::Value;

use super::output::{self, field, line, paragraph, table};
use super::{Context, Exit, Failure, client};

/// Which conversation.
#[derive(Debug, Args)]
struct Which {
    /// Session key, as `sessions list` prints it
    key: String,
    /// Only in this tenant
    #[arg(long, value_name = "ID")]
    tenant: Option<String>,
    /// An archived one, by its number; otherwise the latest
    #[arg(long, value_name = "N")]
    episode: Option<u64>,
}

#[derive(Debug, Args)]
pub(super) struct Memory {
    #[command(flatten)]
    which: Which,
}

#[derive(Debug, Args)]
pub(super) struct Files {
    #[command(flatten)]
    which: Which,
    /// Show this file
    #[arg(long, value_name = "NAME")]
    get: Option<String>,
    /// Write it here instead; nothing is overwritten
    #[arg(long, value_name = "PATH", requires = "get")]
    out: Option<PathBuf>,
}

pub(super) fn memory(context: &Context, command: &Memory) -> Result<(), Failure> {
    let shown = ask(context, "memory", &command.which, None)?;
    if context.json {
        output::json(&shown);
    } else if !print_notes(&shown) {
        line("no notes");
    }
    Ok(())
}

pub(super) fn files(context: &Context, command: &Files) -> Result<(), Failure> {
    let Some(name) = &command.get else {
        let shown = ask(context, "memory", &command.which, None)?;
        if context.json {
            output::json(&shown);
        } else if !print_files(&shown) {
            line("no files");
        }
        return Ok(());
    };
    let file = ask(context, "file", &command.which, Some(name))?;
    let text = file.get("text").and_then(Value::as_str).unwrap_or_default();
    match &command.out {
        Some(path) => {
            write(path, text)?;
            line(&format!("wrote {} bytes to {}", text.len(), path.display()));
        }
        None if context.json => output::json(&file),
        None => line(text),
    }
    Ok(())
}

/// What `sessions show` says of both.
pub(super) fn print(shown: &Value) {
    print_notes(shown);
    print_files(shown);
}

fn ask(context: &Context, what: &str, which: &Which, name: Option<&str>) -> Result<Value, Failure> {
    let episode = which.episode.map(|episode| episode.to_string());
    let query = client::query(&[
        ("key", Some(&which.key)),
        ("tenant", which.tenant.as_deref()),
        ("episode", episode.as_deref()),
        ("name", name),
    ]);
    client::ask(context, Method::GET, &format!("/api/v1/sessions/{what}{query}"))?.success()
}

fn print_notes(shown: &Value) -> bool {
    let notes = list(shown, "notes");
    for note in notes {
        let text = paragraph(note.get("text").unwrap_or(&Value::Null));
        line(&format!("{}  (note {}) {text}", field(note, "at"), field(note, "number")));
    }
    !notes.is_empty()
}

fn print_files(shown: &Value) -> bool {
    let files = list(shown, "files");
    let columns = ["name", "bytes", "at"];
    let rows: Vec<Vec<String>> =
        files.iter().map(|file| columns.iter().map(|name| field(file, name)).collect()).collect();
    if !rows.is_empty() {
        table(&["file", "bytes", "written"], &rows);
    }
    !rows.is_empty()
}

fn list<'v>(shown: &'v Value, name: &str) -> &'v [Value] {
    shown.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

/// For its owner's eyes: it is what a peer said.
fn write(path: &Path, text: &str) -> Result<(), Failure> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|error| Exit::Usage.say(format!("{} cannot be written: {error}; name another path", path.display())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_written_once_and_for_its_owner_only() {
        use std::os::unix::fs::PermissionsExt as _;
        let home = tempfile::tempdir().unwrap();
        let path = home.path().join("out.txt");
        assert!(write(&path, "words").is_ok());
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert!(write(&path, "others").is_err());
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "words");
    }
}
