//! `POST /api/v1/import/session`: one conversation that was held elsewhere.

use axum::body::Bytes;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use serde::Deserialize;
use serde_json::json;

use super::{Error, answer, parsed};
use crate::clock::Timestamp;
use crate::gateway::{Gateway, Import, ImportError};
use crate::id::{AgentId, ChannelType, EntryId, OpaqueId, TenantId};
use crate::message::{ChatKind, Identity};
use crate::store::{Imported, ImportedLine, Speaker};

/// Longest request: a conversation is filed in one transaction.
pub(super) const MAX_BODY_BYTES: usize = 16 * 1024 * 1024;

/// The request.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Session {
    entry: String,
    channel: String,
    account: Option<String>,
    tenant_id: Option<String>,
    kind: String,
    parent_kind: Option<String>,
    server_id: Option<String>,
    channel_id: Option<String>,
    thread_id: Option<String>,
    user_id: Option<String>,
    user_name: Option<String>,
    agent: Option<String>,
    #[serde(default)]
    shared: bool,
    lines: Vec<Line>,
}

/// A line; with an agent it is that agent's.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Line {
    at_ms: u64,
    agent: Option<String>,
    user_id: Option<String>,
    user_name: Option<String>,
    message_id: Option<String>,
    text: String,
}

pub(super) async fn session(State(gateway): State<Gateway>, body: Bytes) -> Result<Response, Error> {
    let session: Session = serde_json::from_slice(&body).map_err(|error| unreadable(&error))?;
    drop(body);
    match gateway.import(import(session)?).await {
        Ok((key, imported)) => {
            let outcome = match imported {
                Imported::New => "imported",
                Imported::Exists => "exists",
                Imported::Empty => "empty",
            };
            Ok(answer(StatusCode::OK, &json!({ "key": key.as_str(), "outcome": outcome })))
        }
        Err(ImportError::Store(error)) => Err(error.into()),
        Err(error) => Ok(answer(StatusCode::UNPROCESSABLE_ENTITY, &json!({ "error": error.to_string() }))),
    }
}

/// Where it is wrong. The parser's own words may repeat what peers wrote.
fn unreadable(error: &serde_json::Error) -> Error {
    Error::Query(format!("the body is not such a conversation; see line {}, column {}", error.line(), error.column()))
}

fn import(session: Session) -> Result<Import, Error> {
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
    let line = |(n, line): (usize, Line)| {
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
