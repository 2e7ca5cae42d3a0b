//! Agents: what they are, how their models do, and the texts that they work from.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::Error;
use super::json::time;
use super::operation::{Body, INSPECT, MANAGE, Name, NameAndFile, Operation, Query, Sent};
use super::reach::Reached;
use crate::agent::{self, Earlier, File, FileError, MAX_KNOWLEDGE_BYTES, SOUL};
use crate::clock::Timestamp;
use crate::gateway::{AgentError, AgentRow, tool_name};

/// The name of the persona among the files of an agent.
pub(crate) const PERSONA: &str = SOUL;
/// Longest file of what an agent knows, in bytes.
pub(crate) const MAX_FILE_BYTES: usize = agent::MAX_FILE_BYTES;

pub(super) fn operations() -> Vec<Operation> {
    let file = "/api/v1/agents/{name}/files/{file}";
    vec![
        Operation::get("/api/v1/agents", INSPECT, "The agents, and how their models do", list),
        Operation::get("/api/v1/agents/{name}", INSPECT, "An agent and its files", show),
        Operation::get(file, INSPECT, "What a file of an agent says: SOUL.md is its persona, others it knows", read),
        Operation::put(file, MANAGE, "Changes a file of an agent; its next turn uses it", put),
        Operation::delete(
            file,
            MANAGE,
            "Removes a file of an agent; without SOUL.md it has the built-in persona",
            remove,
        ),
    ]
}

/// The agents.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Agents {
    pub(crate) agents: Vec<AgentShown>,
}

/// An agent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct AgentShown {
    pub(crate) name: String,
    /// Name of its provider.
    pub(crate) provider: String,
    /// Null: the demo, which follows rules.
    pub(crate) model: Option<String>,
    /// Does it answer what nobody else does?
    pub(crate) default: bool,
    /// Tenants whose default it is.
    pub(crate) default_of: Vec<String>,
    /// Tenants that it may answer. What it knows, it tells to all of them.
    pub(crate) tenants: Vec<String>,
    /// What it may use: `memory`, `files`.
    pub(crate) tools: Vec<&'static str>,
    pub(crate) model_state: ModelState,
    /// Bytes of its persona.
    pub(crate) persona_bytes: usize,
    /// Has it a persona of its own, or the one that comes with the program?
    pub(crate) has_own_persona: bool,
    pub(crate) knowledge: Knowledge,
}

/// How a model did since the start.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ModelState {
    /// When it last answered.
    pub(crate) answered: Option<String>,
    #[serde(skip)]
    pub(crate) answered_at: Option<Timestamp>,
    /// How long that answer took.
    pub(crate) answer_ms: Option<u64>,
    /// When it last failed.
    pub(crate) failed: Option<String>,
    #[serde(skip)]
    pub(crate) failed_at: Option<Timestamp>,
    pub(crate) failure: Option<String>,
    /// Did it fail the last time it was asked?
    pub(crate) failing: bool,
}

/// What an agent knows.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Knowledge {
    /// In the order in which they are told.
    pub(crate) files: Vec<KnownFile>,
    pub(crate) bytes: usize,
    /// As much of it as is told with every message.
    pub(crate) told_bytes: usize,
    /// As much as can be told.
    pub(crate) max_told_bytes: usize,
    /// What lies beside and is no such file.
    pub(crate) ignored: Vec<String>,
}

/// A file that an agent knows.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct KnownFile {
    pub(crate) name: String,
    pub(crate) bytes: usize,
    /// As much of it as is told with every message.
    pub(crate) told_bytes: usize,
    /// Why it is not told.
    pub(crate) problem: Option<String>,
}

/// A file of an agent.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Text {
    pub(crate) agent: String,
    pub(crate) file: String,
    pub(crate) text: String,
    /// For `base` of a change; empty: there is no file, and the text is the built-in persona.
    pub(crate) digest: String,
    /// What it said before, the latest first.
    pub(crate) earlier: Vec<EarlierText>,
}

/// What a file said before.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct EarlierText {
    pub(crate) number: u32,
    /// When it was replaced.
    pub(crate) at: String,
    #[serde(skip)]
    pub(crate) kept_at: Timestamp,
    pub(crate) bytes: u64,
}

#[derive(Debug, Default, Deserialize, IntoParams)]
pub(crate) struct Which {
    /// Instead of what it says now: an earlier text, by its number.
    pub(crate) earlier: Option<u32>,
}

/// A text to come.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct NewText {
    pub(crate) text: String,
    /// Digest of the text that the editor started from, empty: there was none. Absent: whatever is there.
    pub(crate) base: Option<String>,
}

impl Sent for NewText {
    // The longest file, with every character escaped.
    const MAX_BYTES: usize = 2 * 1024 * 1024;
}

/// A file that was changed or removed.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ChangedFile {
    pub(crate) agent: String,
    pub(crate) file: String,
}

pub(crate) async fn list(reached: Reached, (): ()) -> Result<Agents, Error> {
    let agents = reached.whole(INSPECT)?.agents();
    Ok(Agents { agents: agents.iter().map(shown).collect() })
}

pub(crate) async fn show(reached: Reached, Name(name): Name) -> Result<AgentShown, Error> {
    let agents = reached.whole(INSPECT)?.agents();
    let found = agents.iter().find(|row| row.config.name.as_str() == name);
    found.map(shown).ok_or_else(|| AgentError::Unknown(name).into())
}

pub(crate) async fn read(
    reached: Reached,
    (NameAndFile(name, file), Query(which)): (NameAndFile, Query<Which>),
) -> Result<Text, Error> {
    let gateway = reached.whole(INSPECT)?;
    let file = parse(&file)?;
    let now = gateway.agent_file(&name, &file)?;
    let digest = now.digest().unwrap_or_default();
    let text = match which.earlier {
        Some(number) => gateway.earlier_agent_file(&name, &file, number)?,
        None => now.text.or(now.built_in).unwrap_or_default(),
    };
    let earlier = now.earlier.iter().map(earlier).collect();
    Ok(Text { agent: name, file: file.as_str().to_owned(), text, digest, earlier })
}

pub(crate) async fn put(
    reached: Reached,
    (NameAndFile(name, file), Body(new)): (NameAndFile, Body<NewText>),
) -> Result<ChangedFile, Error> {
    let base = new.base.as_deref().map(|base| Some(base).filter(|base| !base.is_empty()));
    change(&reached, name, &file, Some(&new.text), base, "change a worker's file").await
}

pub(crate) async fn remove(reached: Reached, NameAndFile(name, file): NameAndFile) -> Result<ChangedFile, Error> {
    change(&reached, name, &file, None, None, "remove a worker's file").await
}

async fn change(
    reached: &Reached,
    name: String,
    file: &str,
    text: Option<&str>,
    base: Option<Option<&str>>,
    what: &'static str,
) -> Result<ChangedFile, Error> {
    let gateway = reached.whole(MANAGE)?;
    let file = parse(file)?;
    gateway.put_agent_file(&name, &file, text, base).await?;
    let file = file.as_str().to_owned();
    reached.note_name(what, &format!("{name}/{file}"));
    Ok(ChangedFile { agent: name, file })
}

fn parse(file: &str) -> Result<File, Error> {
    File::parse(file).map_err(|error| AgentError::File(error).into())
}

fn shown(row: &AgentRow) -> AgentShown {
    let config = &row.config;
    let (state, known) = (&row.state, &config.knowledge);
    let sum = |bytes: fn(&KnownFile) -> usize, files: &[KnownFile]| files.iter().map(bytes).sum();
    let files: Vec<KnownFile> = known
        .files
        .iter()
        .map(|file| KnownFile {
            name: file.name.to_string(),
            bytes: file.size_bytes,
            told_bytes: file.told_bytes,
            problem: file.problem.clone(),
        })
        .collect();
    AgentShown {
        name: config.name.to_string(),
        provider: row.provider.clone(),
        model: row.model.clone(),
        default: row.is_default,
        default_of: row.default_of.iter().map(ToString::to_string).collect(),
        tenants: row.tenants.iter().map(ToString::to_string).collect(),
        tools: config.tools.iter().copied().map(tool_name).collect(),
        model_state: ModelState {
            answered: state.answered_at.map(time),
            answered_at: state.answered_at,
            answer_ms: state.took.map(|took| u64::try_from(took.as_millis()).unwrap_or(u64::MAX)),
            failed: state.failed_at.map(time),
            failed_at: state.failed_at,
            failure: state.failure.clone(),
            failing: state.failed_at > state.answered_at,
        },
        persona_bytes: config.soul.len(),
        has_own_persona: config.has_own_soul,
        knowledge: Knowledge {
            bytes: sum(|file| file.bytes, &files),
            told_bytes: sum(|file| file.told_bytes, &files),
            max_told_bytes: MAX_KNOWLEDGE_BYTES,
            files,
            ignored: known.ignored.clone(),
        },
    }
}

fn earlier(earlier: &Earlier) -> EarlierText {
    let since = earlier.kept_at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    let kept_at = Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX));
    EarlierText { number: earlier.number, at: time(kept_at), kept_at, bytes: earlier.size_bytes }
}

impl From<AgentError> for Error {
    fn from(error: AgentError) -> Self {
        let said = error.to_string();
        match error {
            AgentError::Unknown(_) => Self::NotFound(said),
            AgentError::Changed(_) => Self::Conflict(said),
            AgentError::SafeMode => Self::Unavailable(said),
            AgentError::NotUsed(error) => Self::from(error),
            AgentError::File(error) => match error {
                FileError::NoFile(_) | FileError::NoEarlier(..) => Self::NotFound(said),
                FileError::Name(_)
                | FileError::Kind
                | FileError::Empty
                | FileError::TooLong(_)
                | FileError::NoText(_) => Self::Unusable(said),
                FileError::Disk { .. } => Self::Unavailable(said),
                FileError::Similar(_)
                | FileError::Elsewhere(_)
                | FileError::Named(_)
                | FileError::NoDirectory(_)
                | FileError::TooMany => Self::Conflict(said),
            },
        }
    }
}

/// The persona that somebody wrote for a worker; `None`: it has the one of the program.
///
/// # Errors
/// When there is no such worker, or its file cannot be read.
pub(crate) fn persona_of(reached: &Reached, name: &str) -> Result<Option<String>, Error> {
    Ok(reached.whole(MANAGE)?.agent_file(name, &parse(PERSONA)?)?.text)
}

/// Gives a worker a persona.
///
/// # Errors
/// When there is no such worker, or its file cannot be written.
pub(crate) async fn put_persona(reached: &Reached, name: &str, text: &str) -> Result<(), Error> {
    change(reached, name.to_owned(), PERSONA, Some(text), None, "change a worker's file").await.map(drop)
}
