//! The directory that OpenClaw keeps its state in, read and nothing else.
//!
//! Names in its files lead nowhere: a transcript is looked for in the directory of its agent, by the last
//! part of its name. Links are not followed.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, BufRead, BufReader, Read as _};
use std::path::{Path, PathBuf};

use super::database::{self, Database};
use super::place::Entry;
use super::transcript::{MAX_EVENT_BYTES, Reader, Transcript};
use super::{Known, Place};
use crate::document::read_at_most;

/// Longest `openclaw.json` and `SOUL.md`, in bytes.
const MAX_TEXT_BYTES: usize = 4 * 1024 * 1024;
/// Longest `sessions.json`, in bytes: it holds prompts of skills besides.
const MAX_INDEX_BYTES: usize = 128 * 1024 * 1024;

/// Why something in it cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// There is no such directory, or no configuration in it.
    #[error("{} cannot be read: {source}; name OpenClaw's directory, usually ~/.openclaw, or its openclaw.json", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file of a later release.
    #[error("{} cannot be read: {reason}", path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// `sessions.json` is not what OpenClaw writes.
    #[error("{} is no list of sessions: {reason}", path.display())]
    Index {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
}

/// The directory.
#[derive(Debug)]
pub struct State {
    root: PathBuf,
    config: PathBuf,
}

/// The store of one agent.
#[derive(Debug)]
pub struct Agent {
    /// As OpenClaw calls it.
    pub name: String,
    directory: PathBuf,
    store: Store,
}

#[derive(Debug)]
enum Store {
    /// `sessions.json` and a file for each session.
    Files(BTreeMap<String, Entry>),
    /// One file.
    Database(Box<Database>, Vec<String>),
}

/// One session: where it was held.
#[derive(Debug)]
pub struct Session {
    /// As OpenClaw calls it.
    pub key: String,
    /// Where, or why nobody can tell.
    pub place: Result<Place, &'static str>,
    /// When it was last changed, in milliseconds since 1970.
    pub updated_at: u64,
    entry: Entry,
}

impl State {
    /// Finds `openclaw.json`: `path` is the file, or the directory with it.
    ///
    /// # Errors
    /// When there is none.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |source| Error::Read { path: path.to_owned(), source };
        let config =
            if fs::metadata(path).map_err(failed)?.is_dir() { path.join("openclaw.json") } else { path.to_owned() };
        fs::metadata(&config).map_err(|source| Error::Read { path: config.clone(), source })?;
        let root = config.parent().filter(|parent| !parent.as_os_str().is_empty()).unwrap_or(Path::new("."));
        Ok(Self { root: root.to_owned(), config })
    }

    /// Where the configuration stands.
    #[must_use]
    pub fn config_path(&self) -> &Path {
        &self.config
    }

    /// The text of the configuration.
    ///
    /// # Errors
    /// When it cannot be read or is no text.
    pub fn config(&self) -> Result<String, Error> {
        let failed = |source| Error::Read { path: self.config.clone(), source };
        let bytes = read_at_most(&self.config, MAX_TEXT_BYTES).map_err(failed)?;
        String::from_utf8(bytes).map_err(|_error| failed(io::Error::other("it is not UTF-8")))
    }

    /// A file of a workspace; `None` when there is none that can be used. Where the workspace was moved with
    /// the directory, it is looked for there first.
    #[must_use]
    pub fn workspace_file(&self, workspace: &str, name: &str, user_home: Option<&Path>) -> Option<Vec<u8>> {
        let path = match (workspace.strip_prefix("~/"), user_home) {
            (Some(rest), Some(home)) => home.join(rest),
            _ => PathBuf::from(workspace),
        };
        let moved = path.file_name().map(|folder| self.root.join(folder));
        let is_file = |file: &PathBuf| fs::symlink_metadata(file).is_ok_and(|file| file.is_file());
        let files = moved.into_iter().chain([path]).map(|folder| folder.join(name));
        let file = files.into_iter().find(is_file)?;
        read_at_most(&file, MAX_TEXT_BYTES).ok()
    }

    /// Who was let in by pairing on a channel, besides the lists of the configuration.
    #[must_use]
    pub fn paired(&self, channel: &str) -> Vec<String> {
        #[derive(serde::Deserialize)]
        #[serde(rename_all = "camelCase")]
        struct Paired {
            allow_from: Vec<String>,
        }
        let names = [format!("{channel}-allowFrom.json"), format!("{channel}-default-allowFrom.json")];
        let files = names.iter().filter_map(|name| plain_file(&self.root.join("credentials"), name));
        let read = |file: PathBuf| serde_json::from_slice::<Paired>(&read_at_most(&file, MAX_TEXT_BYTES).ok()?).ok();
        files.filter_map(read).flat_map(|paired| paired.allow_from).collect()
    }

    /// The agents that have sessions, by name.
    ///
    /// # Errors
    /// When a store is there and cannot be read.
    pub fn agents(&self) -> Result<Vec<String>, Error> {
        let folder = self.root.join("agents");
        let failed = |source| Error::Read { path: folder.clone(), source };
        match fs::symlink_metadata(&folder) {
            Ok(found) if found.is_dir() => {}
            Ok(_) => return Err(failed(io::Error::other("it is no directory of its own, and links are not followed"))),
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
            Err(source) => return Err(failed(source)),
        }
        let entries = fs::read_dir(&folder).map_err(failed)?;
        let is_folder = |entry: &fs::DirEntry| entry.file_type().is_ok_and(|kind| kind.is_dir());
        let mut names: Vec<String> =
            entries.flatten().filter(is_folder).filter_map(|entry| entry.file_name().into_string().ok()).collect();
        names.sort_unstable();
        Ok(names)
    }

    /// The store of an agent; `None` when it has none. The newer kind counts where both are there: OpenClaw
    /// took the older one over.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn agent(&self, name: &str) -> Result<Option<Agent>, Error> {
        let folder = self.root.join("agents").join(name);
        let directory = folder.join("sessions");
        let store = if let Some(path) = plain_file(&folder.join("agent"), "openclaw-agent.sqlite") {
            let failed = |error: database::Error| Error::Database { path: path.clone(), reason: with_cause(&error) };
            let database = Database::open(&path).map_err(failed)?;
            let keys = database.keys().map_err(failed)?;
            Store::Database(Box::new(database), keys)
        } else if let Some(path) = plain_file(&directory, "sessions.json") {
            let bytes = read_at_most(&path, MAX_INDEX_BYTES);
            let bytes = bytes.map_err(|source| Error::Read { path: path.clone(), source })?;
            let entries = serde_json::from_slice(&bytes);
            Store::Files(entries.map_err(|error| Error::Index { path, reason: error.to_string() })?)
        } else {
            return Ok(None);
        };
        Ok(Some(Agent { name: name.to_owned(), directory, store }))
    }
}

impl Agent {
    /// Its sessions, the one that was changed last first: where two become one, that one is carried.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn sessions(&self, known: &Known) -> Result<Vec<Session>, Error> {
        let mut sessions = Vec::new();
        match &self.store {
            Store::Files(entries) => {
                sessions.extend(entries.iter().map(|(key, entry)| Session::new(key, entry.clone(), known)));
            }
            Store::Database(database, keys) => {
                for key in keys {
                    let (json, session_id) = database.entry(key).map_err(|error| self.failed(&error))?;
                    let mut entry: Entry = serde_json::from_str(&json).unwrap_or_default();
                    entry.session_id = Some(session_id);
                    sessions.push(Session::new(key, entry, known));
                }
            }
        }
        sessions.sort_by(|one, other| other.updated_at.cmp(&one.updated_at).then_with(|| one.key.cmp(&other.key)));
        Ok(sessions)
    }

    /// What was said in a session. Without its file: nothing, and a word about it.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn transcript(&self, session: &Session) -> Result<Transcript, Error> {
        let Some(id) = session.entry.session_id.as_deref() else { return Ok(nothing()) };
        match &self.store {
            Store::Database(database, _) => database.transcript(id).map_err(|error| self.failed(&error)),
            Store::Files(_) => {
                let named = session.entry.session_file.as_deref();
                // Of a path only the name counts: the directory may have been moved, and must not be left.
                let named = named.and_then(|path| path.rsplit(['/', '\\']).next()).map(str::to_owned);
                let names = named.into_iter().chain([format!("{id}.jsonl")]);
                let file = names.filter(|name| is_transcript(name)).find_map(|name| plain_file(&self.directory, &name));
                match file {
                    Some(path) => read(&path).map_err(|source| Error::Read { path, source }),
                    None => Ok(nothing()),
                }
            }
        }
    }

    fn failed(&self, error: &database::Error) -> Error {
        let path = self.directory.with_file_name("agent").join("openclaw-agent.sqlite");
        Error::Database { path, reason: with_cause(error) }
    }
}

impl Session {
    fn new(key: &str, entry: Entry, known: &Known) -> Self {
        let place = Place::of(key, &entry, known);
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a float is cut to the range")]
        let updated_at = entry.updated_at.map_or(0, |at| at as u64);
        Self { key: key.to_owned(), place, updated_at, entry }
    }
}

fn nothing() -> Transcript {
    let mut transcript = Transcript::default();
    transcript.report.left("sessions without a transcript are not carried");
    transcript
}

fn is_transcript(name: &str) -> bool {
    name.ends_with(".jsonl") && !name.contains(['/', '\\', '\0'])
}

/// A regular file in a directory that is no link either.
fn plain_file(directory: &Path, name: &str) -> Option<PathBuf> {
    let is_plain = fs::symlink_metadata(directory).is_ok_and(|directory| directory.is_dir());
    let path = directory.join(name);
    (is_plain && fs::symlink_metadata(&path).is_ok_and(|file| file.is_file())).then_some(path)
}

/// Event by event, so that only one is in memory; one without an end is skipped.
fn read(path: &Path) -> io::Result<Transcript> {
    let mut file = BufReader::new(File::open(path)?);
    let mut reader = Reader::default();
    let mut line = Vec::new();
    let limit = u64::try_from(MAX_EVENT_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    loop {
        line.clear();
        let n_bytes = file.by_ref().take(limit).read_until(b'\n', &mut line)?;
        if n_bytes == 0 {
            return Ok(reader.finish());
        }
        reader.push(&line);
        if line.len() > MAX_EVENT_BYTES && line.last() != Some(&b'\n') {
            skip_line(&mut file)?;
        }
    }
}

fn skip_line(file: &mut impl BufRead) -> io::Result<()> {
    loop {
        let buffer = file.fill_buf()?;
        let (n_bytes, is_end) = match buffer.iter().position(|byte| *byte == b'\n') {
            Some(at) => (at + 1, true),
            None => (buffer.len(), buffer.is_empty()),
        };
        file.consume(n_bytes);
        if is_end {
            return Ok(());
        }
    }
}

fn with_cause(error: &dyn std::error::Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {source}"),
        None => error.to_string(),
    }
}
