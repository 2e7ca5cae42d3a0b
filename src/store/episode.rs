//! One conversation that is over.

use std::sync::Arc;

use crate::id;

use super::context::ContextStore;
use super::record::{ArchivedRow, Line};
use super::scope::Scope;
use super::tables::{self, TRANSCRIPT};
use super::{Error, Shared, session};

/// An archived conversation. It reads only what belongs to that one.
#[derive(Debug, Clone)]
pub struct EpisodeStore {
    shared: Arc<Shared>,
    scope: Scope,
    row: ArchivedRow,
}

impl EpisodeStore {
    pub(super) fn new(shared: Arc<Shared>, scope: Scope, row: ArchivedRow) -> Self {
        Self { shared, scope, row }
    }

    /// Its row, as it was when the handle was made.
    #[must_use]
    pub fn row(&self) -> &ArchivedRow {
        &self.row
    }

    /// Its name.
    #[must_use]
    pub fn key(&self) -> &id::SessionKey {
        &self.scope.key
    }

    /// Its notes and working files.
    #[must_use]
    pub fn context(&self) -> ContextStore {
        ContextStore::new(Arc::clone(&self.shared), self.scope.clone(), self.row.session.episode)
    }

    /// Lines after `after_seq`, oldest first, at most `limit`.
    ///
    /// # Errors
    /// [`Error::Storage`], [`Error::Value`].
    pub fn lines_after(&self, after_seq: u64, limit: usize) -> Result<Vec<Line>, Error> {
        let view = self.shared.database.read()?;
        let transcript = view.values(&TRANSCRIPT)?;
        let row = &self.row.session;
        let first = after_seq.saturating_add(1).max(row.first_line);
        transcript.range(tables::between(&self.scope, first, row.last_line))?.take(limit).map(session::line).collect()
    }
}
