//! Notes and working files of a conversation, for support work: nothing here changes them.

use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};

use super::error::Error;
use super::operation::{Operation, Query, READ};
use super::parsed;
use super::place::Named;
use super::reach::Reached;
use crate::id::{FileName, SessionKey};
use crate::store::{self, ContextStore};

pub(super) fn operations() -> Vec<Operation> {
    vec![
        Operation::get("/api/v1/sessions/memory", READ, "Notes and names of working files of a conversation", memory),
        Operation::get("/api/v1/sessions/file", READ, "A working file of a conversation", file),
    ]
}

/// What the conversation keeps beside its lines.
fn open(reached: &Reached, named: &Named, what: &'static str) -> Result<(SessionKey, u64, ContextStore), Error> {
    let place = named.place(reached)?;
    let episode = place.episode(named.episode)?.row().episode;
    place.of.note_look(what, Some(&place.key));
    Ok((place.key, episode, place.session.context(episode)))
}

/// What a conversation remembers.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Memory {
    pub(crate) key: String,
    pub(crate) episode: u64,
    pub(crate) notes: Vec<Note>,
    /// Working files.
    pub(crate) files: Vec<FileRow>,
}

/// A note.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct Note {
    pub(crate) number: u64,
    pub(crate) at: String,
    pub(crate) text: String,
}

/// A working file, without what is in it.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct FileRow {
    pub(crate) name: String,
    pub(crate) at: String,
    pub(crate) bytes: usize,
}

pub(crate) async fn memory(reached: Reached, Query(named): Query<Named>) -> Result<Memory, Error> {
    let (key, episode, context) = open(&reached, &named, "memory")?;
    Ok(Memory { key: key.to_string(), episode, notes: notes(&context)?, files: files(&context)? })
}

#[derive(Debug, Deserialize, IntoParams)]
pub(crate) struct WhichFile {
    /// As the list of files names it.
    pub(crate) name: String,
}

/// A working file.
#[derive(Debug, Serialize, ToSchema)]
pub(crate) struct File {
    pub(crate) key: String,
    pub(crate) episode: u64,
    pub(crate) name: String,
    pub(crate) bytes: usize,
    pub(crate) text: String,
}

pub(crate) async fn file(
    reached: Reached,
    (Query(named), Query(query)): (Query<Named>, Query<WhichFile>),
) -> Result<File, Error> {
    let name = parsed("name", FileName::new(&query.name))?;
    let (key, episode, context) = open(&reached, &named, "file")?;
    let Some(text) = context.file(&name)? else {
        return Err(Error::NotFound(format!("{key} has no file {name}; `sessions files {key}` lists those it has")));
    };
    Ok(File { key: key.to_string(), episode, name: name.as_str().to_owned(), bytes: text.len(), text })
}

pub(super) fn notes(context: &ContextStore) -> Result<Vec<Note>, store::Error> {
    let note = |note: store::Note| Note { number: note.number, at: note.at.to_string(), text: note.text };
    Ok(context.notes()?.into_iter().map(note).collect())
}

pub(super) fn files(context: &ContextStore) -> Result<Vec<FileRow>, store::Error> {
    let file = |file: store::FileRow| FileRow {
        name: file.name.as_str().to_owned(),
        at: file.at.to_string(),
        bytes: file.size_bytes,
    };
    Ok(context.files()?.into_iter().map(file).collect())
}
