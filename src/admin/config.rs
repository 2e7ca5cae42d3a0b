//! The configuration as the admin API shows it. The commands show the same where no gateway runs.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Value, json};
use similar::TextDiff;

use super::json::{problem, time};
use crate::clock::Timestamp;
use crate::config::{self, Error, Revision, RevisionError, Revisions, Syntax};
use crate::document::Variables;

/// Paths that a summary names at most.
const MAX_PATHS: usize = 3;

/// What the configuration of a home was and is.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ShowError {
    /// There is no such revision, or it cannot be read.
    #[error(transparent)]
    Revision(#[from] RevisionError),
    /// A text that cannot be read is not shown: a secret may stand anywhere in it.
    #[error(transparent)]
    Config(#[from] Error),
}

/// All revisions, the newest first. `in_use` is the digest of the text that the running gateway uses.
pub(crate) fn revisions(home: &Path, variables: &dyn Variables, in_use: Option<&str>) -> Result<Value, RevisionError> {
    let list = Revisions::of(home).list()?;
    let in_file = config::locate(home).ok().flatten().and_then(|located| located.read().ok());
    let in_file = in_file.map(|text| config::digest(text.as_bytes()));
    let (mut rows, mut before) = (Vec::new(), None);
    // Several may have the same text; the newest is the one that is meant.
    let newest_with = |digest: Option<&str>| {
        let digest = digest?;
        list.iter().rfind(|revision| revision.digest().is_ok_and(|own| own == digest)).map(|revision| revision.number)
    };
    let (in_use, in_file) = (newest_with(in_use), newest_with(in_file.as_deref()));
    for revision in &list {
        let values = revision.redacted(home, variables).ok();
        rows.push(json!({
            "number": revision.number,
            "at": at(revision),
            "bytes": revision.size_bytes,
            "syntax": syntax(revision.syntax),
            "good": revision.is_good,
            "in_use": in_use == Some(revision.number),
            "in_file": in_file == Some(revision.number),
            "summary": summary(before.as_ref(), values.as_deref()),
        }));
        before = Some(values.unwrap_or_default());
    }
    rows.reverse();
    Ok(json!({ "revisions": rows }))
}

/// What a revision says, without its secrets.
pub(crate) fn revision(home: &Path, variables: &dyn Variables, number: u32) -> Result<Value, ShowError> {
    let revision = Revisions::of(home).get(number)?;
    let values = revision.redacted(home, variables)?;
    Ok(json!({ "number": number, "at": at(&revision), "good": revision.is_good, "values": values }))
}

/// From a revision to the file that is there now, as a unified difference of what both say without secrets.
pub(crate) fn difference(home: &Path, variables: &dyn Variables, number: u32) -> Result<Value, ShowError> {
    let old = Revisions::of(home).get(number)?.redacted(home, variables)?;
    let located = config::locate(home).map_err(Error::from)?;
    let new = located.as_ref().map(|located| config::redacted(located, home, variables)).transpose()?;
    let name = located.as_ref().and_then(|located| located.path.file_name());
    let name = name.map_or("no file".into(), |name| name.to_string_lossy());
    let (old, new) = (text(&old), text(&new.unwrap_or_default()));
    let diff = TextDiff::from_lines(&old, &new);
    let diff = diff.unified_diff().header(&format!("revision {number}"), &name).to_string();
    Ok(json!({ "number": number, "difference": diff }))
}

/// The file that is there now: its name, its digest for a later change, and what it says without its secrets.
pub(crate) fn current(home: &Path, variables: &dyn Variables) -> Result<Value, Error> {
    let Some(located) = config::locate(home)? else {
        return Ok(json!({ "file": Value::Null, "digest": Value::Null, "values": [] }));
    };
    let digest = config::digest(located.read()?.as_bytes());
    let values = config::redacted(&located, home, variables);
    let problems = match &values {
        Err(Error::Invalid(problems)) => problems.iter().map(problem).collect(),
        _ => Vec::new(),
    };
    Ok(json!({
        "file": located.path.display().to_string(),
        "syntax": syntax(located.syntax),
        "digest": digest,
        "values": values.unwrap_or_default(),
        "problems": problems,
    }))
}

/// Why something was not done, with the problems of the text if it is about one.
pub(crate) fn error_json(error: &Error, message: &str) -> Value {
    let problems = match error {
        Error::Invalid(problems) => problems.iter().map(problem).collect(),
        Error::File(_) => Vec::new(),
    };
    json!({ "error": message, "problems": problems })
}

fn at(revision: &Revision) -> String {
    let elapsed = revision.kept_at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    time(Timestamp(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)))
}

fn syntax(syntax: Syntax) -> &'static str {
    match syntax {
        Syntax::Toml => "toml",
        Syntax::Yaml => "yaml",
    }
}

fn text(lines: &[String]) -> String {
    lines.iter().map(|line| format!("{line}\n")).collect()
}

/// What changed from one revision to the next, in one line.
fn summary(before: Option<&Vec<String>>, now: Option<&[String]>) -> String {
    let Some(now) = now else { return "cannot be read: errors of syntax".to_owned() };
    let Some(before) = before else { return "the first".to_owned() };
    let by_path = |lines: &[String]| -> BTreeMap<String, String> {
        let split = |line: &String| line.split_once(" = ").map(|(path, value)| (path.to_owned(), value.to_owned()));
        lines.iter().filter_map(split).collect()
    };
    let (old, new) = (by_path(before), by_path(now));
    let changed = new.iter().filter_map(|(path, value)| match old.get(path) {
        None => Some(format!("+{path}")),
        Some(other) if other != value => Some(format!("~{path}")),
        Some(_) => None,
    });
    let removed = old.keys().filter(|path| !new.contains_key(*path)).map(|path| format!("-{path}"));
    let changes: Vec<String> = changed.chain(removed).collect();
    let named = changes.iter().take(MAX_PATHS).cloned().collect::<Vec<_>>().join(" ");
    match changes.len() {
        0 => "the same but for secrets, comments or order".to_owned(),
        n if n > MAX_PATHS => format!("{named} and {} more", n - MAX_PATHS),
        _ => named,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_summary_names_what_changed() {
        let lines = |text: &str| -> Vec<String> { text.lines().map(str::to_owned).collect() };
        let check = |before: &str, now: &str, expected: &str| {
            assert_eq!(summary(Some(&lines(before)), Some(&lines(now))), expected);
        };
        check("a = 1\nb = 2", "a = 1\nb = 3\nc = 4", "~b +c");
        check("a = 1\nb = 2", "b = 2", "-a");
        check("k = \"…\"", "k = \"…\"", "the same but for secrets, comments or order");
        check("", "a = 1\nb = 1\nc = 1\nd = 1\ne = 1", "+a +b +c and 2 more");
        assert_eq!(summary(None, Some(&[])), "the first");
        assert_eq!(summary(None, None), "cannot be read: errors of syntax");
    }
}
