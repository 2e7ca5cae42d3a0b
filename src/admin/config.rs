//! The configuration as the admin API shows it. The commands show the same where no gateway runs.

use std::collections::BTreeMap;
use std::path::Path;

use serde::{Deserialize, Serialize};
use similar::TextDiff;
use utoipa::{IntoParams, ToSchema};

use super::change;
use super::error::Error as Refused;
use super::json::{Problem, Rekeyed, time};
use super::operation::{Body, MANAGE, Number, Operation, Query, Sent};
use super::reach::Reached;
use crate::clock::Timestamp;
use crate::config::{self, Error, Revision, RevisionError, Revisions, Syntax};
use crate::document::Variables;
use crate::gateway;

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

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::post("/api/v1/reload", MANAGE, "Reads the configuration again and uses it", reload),
        Operation::get("/api/v1/config", MANAGE, "The configuration that is there now", show),
        Operation::put("/api/v1/config", MANAGE, "Takes the place of the configuration and is used", put),
        Operation::get("/api/v1/config/revisions", MANAGE, "What the configuration was, newest first", list),
        Operation::get("/api/v1/config/revisions/{number}", MANAGE, "What the configuration was once", one),
        Operation::get(
            "/api/v1/config/revisions/{number}/difference",
            MANAGE,
            "How the configuration differs from what it was",
            since,
        ),
        Operation::post("/api/v1/config/undo", MANAGE, "Goes back to what the configuration was", undo),
    ]
}

/// What a reload did.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Reloaded {
    /// The file that was read; null: there is none.
    pub(crate) config: Option<String>,
    /// Channel entries that were started, by id.
    pub(crate) started: Vec<String>,
    /// Channel entries that were stopped, by id.
    pub(crate) stopped: Vec<String>,
    /// Channel entries that kept their connections, by id.
    pub(crate) kept: Vec<String>,
    /// About the file.
    pub(crate) warnings: Vec<Problem>,
    /// Conversations that lie under old keys now, if how they are named has changed.
    pub(crate) rekey: Option<Rekeyed>,
}

/// What going back did.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Undone {
    #[serde(flatten)]
    pub(crate) reloaded: Reloaded,
    /// Which one was gone back to.
    pub(crate) revision: Option<u32>,
}

impl Reloaded {
    pub(super) fn of(reloaded: &gateway::Reloaded) -> Self {
        Self {
            config: reloaded.file.as_ref().map(|file| file.display().to_string()),
            started: reloaded.started.clone(),
            stopped: reloaded.stopped.clone(),
            kept: reloaded.kept.clone(),
            warnings: reloaded.warnings.iter().map(Problem::of).collect(),
            rekey: reloaded.rekeyed.as_ref().map(Rekeyed::of),
        }
    }
}

pub(crate) async fn reload(reached: Reached, (): ()) -> Result<Reloaded, Refused> {
    let reloaded = reached.whole(MANAGE)?.reload().await?;
    reached.note_name("reload configuration", "");
    Ok(Reloaded::of(&reloaded))
}

pub(crate) async fn show(reached: Reached, (): ()) -> Result<Current, Refused> {
    let gateway = reached.whole(MANAGE)?;
    Ok(current(gateway.home(), gateway.variables())?)
}

/// What the configuration shall be.
#[derive(Deserialize, ToSchema)]
pub(crate) struct NewConfig {
    /// Marks of hidden values, as `/api/v1/config/text` gives them, may stand in it.
    pub(crate) text: String,
    /// Digest of the text that the editor started from; absent: there was no file.
    pub(crate) base: Option<String>,
    /// `toml` or `yaml`; absent: as the file that is there.
    pub(crate) syntax: Option<String>,
}

impl Sent for NewConfig {
    const MAX_BYTES: usize = 2 * 1024 * 1024;
}

pub(crate) async fn put(reached: Reached, Body(new): Body<NewConfig>) -> Result<Reloaded, Refused> {
    change::put(&reached, new.base.as_deref(), new.text, named(new.syntax.as_deref())?).await
}

/// A syntax by its name.
pub(super) fn named(syntax: Option<&str>) -> Result<Option<Syntax>, Refused> {
    match syntax {
        None => Ok(None),
        Some("toml") => Ok(Some(Syntax::Toml)),
        Some("yaml") => Ok(Some(Syntax::Yaml)),
        Some(_) => Err(Refused::Query("syntax must be toml or yaml".to_owned())),
    }
}

pub(crate) async fn list(reached: Reached, (): ()) -> Result<RevisionList, Refused> {
    let gateway = reached.whole(MANAGE)?;
    Ok(revisions(gateway.home(), gateway.variables(), gateway.config_digest().as_deref())?)
}

pub(crate) async fn one(reached: Reached, Number(number): Number) -> Result<ShownRevision, Refused> {
    let gateway = reached.whole(MANAGE)?;
    Ok(revision(gateway.home(), gateway.variables(), number)?)
}

pub(crate) async fn since(reached: Reached, Number(number): Number) -> Result<Difference, Refused> {
    let gateway = reached.whole(MANAGE)?;
    Ok(difference(gateway.home(), gateway.variables(), number)?)
}

#[derive(Debug, Default, Deserialize, IntoParams)]
pub(crate) struct Undo {
    /// Which one; absent: the last good one that says something else.
    pub(crate) revision: Option<u32>,
}

pub(crate) async fn undo(reached: Reached, Query(undo): Query<Undo>) -> Result<Undone, Refused> {
    let (reloaded, revision) = reached.whole(MANAGE)?.undo_config(undo.revision).await?;
    reached.note_name("undo configuration", &revision.map(|number| number.to_string()).unwrap_or_default());
    Ok(Undone { reloaded: Reloaded::of(&reloaded), revision })
}

impl From<RevisionError> for Refused {
    fn from(error: RevisionError) -> Self {
        gateway::ReloadError::from(error).into()
    }
}

impl From<Error> for Refused {
    fn from(error: Error) -> Self {
        gateway::ReloadError::from(error).into()
    }
}

impl From<ShowError> for Refused {
    fn from(error: ShowError) -> Self {
        match error {
            ShowError::Revision(error) => error.into(),
            ShowError::Config(error) => error.into(),
        }
    }
}

/// What the configuration was, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RevisionList {
    pub(crate) revisions: Vec<RevisionRow>,
}

/// What the configuration was once.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct RevisionRow {
    pub(crate) number: u32,
    /// When it was kept.
    pub(crate) at: String,
    pub(crate) bytes: u64,
    /// `toml` or `yaml`.
    pub(crate) syntax: &'static str,
    /// Was it ever used?
    pub(crate) good: bool,
    pub(crate) in_use: bool,
    pub(crate) in_file: bool,
    /// Who made it; null: somebody at the file.
    pub(crate) by: Option<String>,
    /// What changed since the one before, in a line.
    pub(crate) summary: String,
}

/// All revisions, the newest first. `in_use` is the digest of the text that the running gateway uses.
pub(crate) fn revisions(
    home: &Path,
    variables: &dyn Variables,
    in_use: Option<&str>,
) -> Result<RevisionList, RevisionError> {
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
        rows.push(RevisionRow {
            number: revision.number,
            at: at(revision),
            bytes: revision.size_bytes,
            syntax: syntax(revision.syntax),
            good: revision.is_good,
            in_use: in_use == Some(revision.number),
            in_file: in_file == Some(revision.number),
            by: revision.by.clone(),
            summary: summary(before.as_ref(), values.as_deref()),
        });
        before = Some(values.unwrap_or_default());
    }
    rows.reverse();
    Ok(RevisionList { revisions: rows })
}

/// What the configuration said once, without its secrets.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ShownRevision {
    pub(crate) number: u32,
    /// When it was kept.
    pub(crate) at: String,
    /// Was it ever used?
    pub(crate) good: bool,
    /// `path = value`.
    pub(crate) values: Vec<String>,
}

/// What a revision says, without its secrets.
pub(crate) fn revision(home: &Path, variables: &dyn Variables, number: u32) -> Result<ShownRevision, ShowError> {
    let revision = Revisions::of(home).get(number)?;
    let values = revision.redacted(home, variables)?;
    Ok(ShownRevision { number, at: at(&revision), good: revision.is_good, values })
}

/// How the configuration differs from what it was.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Difference {
    pub(crate) number: u32,
    /// A unified difference of what both say without secrets.
    pub(crate) difference: String,
}

/// From a revision to the file that is there now, as a unified difference of what both say without secrets.
pub(crate) fn difference(home: &Path, variables: &dyn Variables, number: u32) -> Result<Difference, ShowError> {
    let old = Revisions::of(home).get(number)?.redacted(home, variables)?;
    let located = config::locate(home).map_err(Error::from)?;
    let new = located.as_ref().map(|located| config::redacted(located, home, variables)).transpose()?;
    let name = located.as_ref().and_then(|located| located.path.file_name());
    let name = name.map_or("no file".into(), |name| name.to_string_lossy());
    let (old, new) = (text(&old), text(&new.unwrap_or_default()));
    let diff = TextDiff::from_lines(&old, &new);
    let difference = diff.unified_diff().header(&format!("revision {number}"), &name).to_string();
    Ok(Difference { number, difference })
}

/// The configuration that is there now.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Current {
    /// Null: there is none.
    pub(crate) file: Option<String>,
    /// `toml` or `yaml`.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) syntax: Option<&'static str>,
    /// For `base` of a change.
    pub(crate) digest: Option<String>,
    /// `path = value`, without secrets.
    pub(crate) values: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pub(crate) problems: Option<Vec<Problem>>,
}

/// The file that is there now: its name, its digest for a later change, and what it says without its secrets.
fn current(home: &Path, variables: &dyn Variables) -> Result<Current, Error> {
    let Some(located) = config::locate(home)? else {
        return Ok(Current { file: None, syntax: None, digest: None, values: Vec::new(), problems: None });
    };
    let digest = config::digest(located.read()?.as_bytes());
    let values = config::redacted(&located, home, variables);
    let problems = match &values {
        Err(Error::Invalid(problems)) => problems.iter().map(Problem::of).collect(),
        _ => Vec::new(),
    };
    Ok(Current {
        file: Some(located.path.display().to_string()),
        syntax: Some(syntax(located.syntax)),
        digest: Some(digest),
        values: values.unwrap_or_default(),
        problems: Some(problems),
    })
}

fn at(revision: &Revision) -> String {
    let elapsed = revision.kept_at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    time(Timestamp(u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX)))
}

pub(super) fn syntax(syntax: Syntax) -> &'static str {
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
