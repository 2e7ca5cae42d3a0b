//! `POST /api/v1/import/session`: one conversation that was held elsewhere.

use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::error::Error;
use super::operation::{Body, MANAGE, Operation, Sent};
use super::parsed;
use super::reach::Reached;
use crate::clock::Timestamp;
use crate::gateway::Import;
use crate::id::{AgentId, ChannelType, EntryId, OpaqueId, TenantId};
use crate::message::{ChatKind, Identity};
use crate::store::{Imported, ImportedLine, Speaker};

pub(super) fn operations() -> Vec<Operation> {
    vec![Operation::post("/api/v1/import/session", MANAGE, "Files a conversation that was held elsewhere", session)]
}

/// Longest request: a conversation is filed in one transaction.
const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// A conversation that was held elsewhere.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionToImport {
    /// Id of the channel entry.
    entry: String,
    /// Type of the channel.
    channel: String,
    account: Option<String>,
    tenant_id: Option<String>,
    /// `direct`, `group` or `thread`.
    kind: String,
    /// Of a thread: what it is in.
    parent_kind: Option<String>,
    server_id: Option<String>,
    channel_id: Option<String>,
    thread_id: Option<String>,
    user_id: Option<String>,
    user_name: Option<String>,
    agent: Option<String>,
    /// Do several peers share it?
    #[serde(default)]
    shared: bool,
    /// Oldest first.
    lines: Vec<LineToImport>,
}

impl Sent for SessionToImport {
    const MAX_BYTES: usize = MAX_BODY_BYTES;
}

/// A line; with an agent it is that agent's.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct LineToImport {
    /// Milliseconds since 1970.
    at_ms: u64,
    agent: Option<String>,
    user_id: Option<String>,
    user_name: Option<String>,
    message_id: Option<String>,
    text: String,
}

/// What became of a conversation.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct ImportedSession {
    pub(crate) key: String,
    /// `imported`, `exists` or `empty`.
    pub(crate) outcome: &'static str,
}

pub(crate) async fn session(reached: Reached, Body(session): Body<SessionToImport>) -> Result<ImportedSession, Error> {
    let gateway = reached.whole(MANAGE)?;
    let (key, imported) = gateway.import(import(session)?).await?;
    let outcome = match imported {
        Imported::New => "imported",
        Imported::Exists => "exists",
        Imported::Empty => "empty",
    };
    Ok(ImportedSession { key: key.to_string(), outcome })
}

fn import(session: SessionToImport) -> Result<Import, Error> {
    let id = |field: &str, text: Option<String>| parsed(field, text.map(OpaqueId::new).transpose());
    let agent = |text: Option<String>| parsed("agent", text.map(AgentId::new).transpose());
    let kind = |text: &str| {
        let found = ChatKind::ALL.into_iter().find(|kind| kind.as_str() == text);
        found.ok_or_else(|| Error::Query(format!("kind: {text:?} is not one of direct, group, thread")))
    };
    let stated = kind(&session.kind)?;
    let identity = Identity {
        entry: parsed("entry", EntryId::new(session.entry))?,
        channel: parsed("channel", ChannelType::new(session.channel))?,
        account: id("account", session.account)?,
        tenant: parsed("tenant_id", session.tenant_id.map(TenantId::new).transpose())?,
        workspace: None,
        server: id("server_id", session.server_id)?,
        room: id("channel_id", session.channel_id)?,
        thread: id("thread_id", session.thread_id)?,
        user: id("user_id", session.user_id)?,
        kind: stated,
        parent: match (stated, session.parent_kind) {
            (ChatKind::Thread, Some(parent)) => kind(&parent)?,
            (ChatKind::Thread, None) => ChatKind::Group,
            (ChatKind::Direct | ChatKind::Group, _) => stated,
        },
    };
    let line = |(n, line): (usize, LineToImport)| {
        let speaker = match agent(line.agent)? {
            Some(agent) => Speaker::Agent(agent),
            None => Speaker::Peer {
                user: id("user_id", line.user_id)?,
                name: line.user_name,
                message_id: match id("message_id", line.message_id)? {
                    Some(message_id) => message_id,
                    None => parsed("message_id", OpaqueId::new(format!("imported-{n}")))?,
                },
            },
        };
        Ok(ImportedLine { at: Timestamp(line.at_ms), speaker, text: line.text })
    };
    Ok(Import {
        identity,
        is_shared: session.shared,
        user_name: session.user_name,
        agent: agent(session.agent)?,
        lines: session.lines.into_iter().enumerate().map(line).collect::<Result<_, Error>>()?,
    })
}
