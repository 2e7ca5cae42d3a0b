//! Notes and working files of a conversation, for support work: nothing here changes them.

use axum::Router;
use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::response::Response;
use axum::routing::get;
use serde::Deserialize;
use serde_json::{Value, json};

use super::place::Named;
use super::{Error, access, answer, parsed};
use crate::gateway::Gateway;
use crate::id::{FileName, SessionKey};
use crate::store::{self, ContextStore};

pub(super) fn routes() -> Router<Gateway> {
    Router::new().route("/api/v1/sessions/memory", get(memory)).route("/api/v1/sessions/file", get(file))
}

/// What the conversation keeps beside its lines.
fn open(gateway: &Gateway, named: &Named, what: &'static str) -> Result<(SessionKey, u64, ContextStore), Error> {
    let place = named.place(gateway)?;
    let episode = place.episode(named.episode)?.row().episode;
    access::note(what, place.tenant.as_ref(), Some(&place.key));
    Ok((place.key, episode, place.session.context(episode)))
}

async fn memory(State(gateway): State<Gateway>, Query(named): Query<Named>) -> Result<Response, Error> {
    let (key, episode, context) = open(&gateway, &named, "memory")?;
    let shown =
        json!({ "key": key.as_str(), "episode": episode, "notes": notes(&context)?, "files": files(&context)? });
    Ok(answer(StatusCode::OK, &shown))
}

#[derive(Debug, Deserialize)]
struct WhichFile {
    name: String,
}

async fn file(
    State(gateway): State<Gateway>,
    Query(named): Query<Named>,
    Query(query): Query<WhichFile>,
) -> Result<Response, Error> {
    let name = parsed("name", FileName::new(&query.name))?;
    let (key, episode, context) = open(&gateway, &named, "file")?;
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
