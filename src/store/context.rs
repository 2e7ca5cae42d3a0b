//! What a conversation keeps besides its transcript: notes and working files. They belong to an episode.

use std::sync::Arc;

use crate::clock::Timestamp;
use crate::id::FileName;

use super::record::{FileChange, FileRow, Note, NoteChange};
use super::scope::Scope;
use super::tables::{Change, FILES, NOTES, Tables};
use super::versioned::Versioned;
use super::{Error, Shared, disk};

/// Notes and working files of one conversation, to be read. There is no way to name another one: a file's name is
/// the last part of a key of which the handle holds all others.
#[derive(Debug, Clone)]
pub struct ContextStore {
    shared: Arc<Shared>,
    scope: Scope,
    episode: u64,
}

impl ContextStore {
    pub(super) fn new(shared: Arc<Shared>, scope: Scope, episode: u64) -> Self {
        Self { shared, scope, episode }
    }

    /// The notes, by number.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn notes(&self) -> Result<Vec<Note>, Error> {
        let view = self.shared.database.read()?;
        let notes = view.values(&NOTES)?;
        let (tenant, key) = self.scope.parts();
        let mut found = Vec::new();
        for row in notes.range((tenant, key, self.episode, 0)..=(tenant, key, self.episode, u64::MAX))? {
            let (id, disk::Note { at, text }) = row?;
            found.push(Note { number: id.value().3, at: Timestamp(at), text });
        }
        Ok(found)
    }

    /// The working files, by name, without what is in them.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn files(&self) -> Result<Vec<FileRow>, Error> {
        let view = self.shared.database.read()?;
        let files = view.values(&FILES)?;
        let (tenant, key) = self.scope.parts();
        let next = self.episode.checked_add(1).ok_or(Error::Value { what: "episode" })?;
        let mut found = Vec::new();
        for row in files.range((tenant, key, self.episode, "")..(tenant, key, next, ""))? {
            let (_, disk::File { at, name, bytes }) = row?;
            let name = FileName::new(&name).or(Err(Error::Value { what: "file name" }))?;
            found.push(FileRow { name, at: Timestamp(at), size_bytes: bytes.len() });
        }
        found.sort_unstable_by(|one, other| one.name.as_str().cmp(other.name.as_str()));
        Ok(found)
    }

    /// What is in a working file.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn file(&self, name: &FileName) -> Result<Option<String>, Error> {
        let view = self.shared.database.read()?;
        let files = view.values(&FILES)?;
        let (tenant, key) = self.scope.parts();
        let Some(tag) = view.keyring().name_tag(tenant, key, name.as_str()) else { return Ok(None) };
        let Some(file) = files.get((tenant, key, self.episode, tag.as_str()))? else { return Ok(None) };
        String::from_utf8(file.bytes).map(Some).or(Err(Error::Value { what: disk::File::WHAT }))
    }
}

/// What a turn changes in them. A note that is not any more what the turn saw spoils the whole turn: numbers mean
/// other notes by now.
pub(super) fn changes(
    tables: &Tables<'_>,
    scope: &Scope,
    episode: u64,
    notes: Vec<NoteChange>,
    files: Vec<FileChange>,
    at: Timestamp,
) -> Result<Vec<Change>, Error> {
    let (tenant, key) = scope.parts();
    let mut changes = Vec::new();
    for NoteChange { number, was, text } in notes {
        let found = tables.notes.get((tenant, key, episode, number))?;
        if found.map(|note| note.text) != was {
            return Err(Error::Gone { what: "note" });
        }
        let note = text.map(|text| disk::Note { at: at.0, text }.encode()).transpose()?;
        changes.push(Change::Note((episode, number), note));
    }
    for FileChange { name, text } in files {
        let file = |text: String| disk::File { at: at.0, name: name.to_string(), bytes: text.into_bytes() }.encode();
        let file = text.map(file).transpose()?;
        changes.push(Change::File((episode, tables.file_tag(scope, name.as_str())?), file));
    }
    Ok(changes)
}
