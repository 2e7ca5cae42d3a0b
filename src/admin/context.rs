//! Notes and working files of a conversation, for support work: nothing here changes them.

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Error, answer, parsed, tenants};
use crate::gateway::Gateway;
use crate::id::{FileName, SessionKey};
use crate::store::{self, ContextStore};

pub(super) fn routes() -> Router<Gateway> {
    Router::new().route("/api/v1/sessions/memory", get(memory)).route("/api/v1/sessions/file", get(file))
}

/// One conversation: the one that lives, or else the one that was archived last, unless an episode is named.
#[derive(Debug, Deserialize)]
struct Which {
    key: String,
    tenant: Option<String>,
    episode: Option<u64>,
}

impl Which {
    fn find(self, gateway: &Gateway) -> Result<(SessionKey, u64, ContextStore), Error> {
        let key = parsed("key", SessionKey::parse(&self.key))?;
        for tenant in tenants(gateway, self.tenant)? {
            let session = gateway.store().tenant(tenant.as_ref()).session(&key);
            let live = session.row()?.map(|row| row.episode);
            let archived = session.archives()?.into_iter().rev().map(|row| row.session.episode);
            let episode = live.into_iter().chain(archived).find(|n| self.episode.is_none_or(|episode| episode == *n));
            if let Some(episode) = episode {
                return Ok((key, episode, session.context(episode)));
            }
        }
        Err(Error::NotFound(format!("there is no session {key}; `sessions list` shows those there are")))
    }
}

async fn memory(State(gateway): State<Gateway>, Query(which): Query<Which>) -> Result<Response, Error> {
    let (key, episode, context) = which.find(&gateway)?;
    let shown =
        json!({ "key": key.as_str(), "episode": episode, "notes": notes(&context)?, "files": files(&context)? });
    Ok(answer(StatusCode::OK, &shown))
}

#[derive(Debug, Deserialize)]
struct WhichFile {
    name: String,
    key: String,
    tenant: Option<String>,
    episode: Option<u64>,
}

async fn file(State(gateway): State<Gateway>, Query(query): Query<WhichFile>) -> Result<Response, Error> {
    let WhichFile { name, key, tenant, episode } = query;
    let name = parsed("name", FileName::new(&name))?;
    let (key, episode, context) = Which { key, tenant, episode }.find(&gateway)?;
    let Some(text) = context.file(&name)? else {
        return Err(Error::NotFound(format!("{key} has no file {name}; `sessions files {key}` lists those it has")));
    };
    let shown =
        json!({ "key": key.as_str(), "episode": episode, "name": name.as_str(), "bytes": text.len(), "text": text });
    Ok(answer(StatusCode::OK, &shown))
}

pub(super) fn notes(context: &ContextStore) -> Result<Vec<Value>, store::Error> {
    let note = |note: store::Note| json!({ "number": note.number, "at": note.at.to_string(), "text": note.text });
    Ok(context.notes()?.into_iter().map(note).collect())
}

pub(super) fn files(context: &ContextStore) -> Result<Vec<Value>, store::Error> {
    let file = |file: store::FileRow| json!({ "name": file.name.as_str(), "at": file.at.to_string(), "bytes": file.size_bytes });
    Ok(context.files()?.into_iter().map(file).collect())
}
