//! Which conversation a request means.

use serde::Deserialize;
use utoipa::IntoParams;

use super::error::Error;
use super::parsed;
use super::reach::{OfTenant, Reached};
use crate::id::SessionKey;
use crate::store::{EpisodeStore, Line, SessionRow, SessionStore};

/// How requests name a conversation.
#[derive(Debug, Deserialize, IntoParams)]
pub(crate) struct Named {
    /// Session key.
    pub(crate) key: String,
    /// Whose; empty: the owner's own. Needed where several tenants have the key.
    pub(crate) tenant: Option<String>,
    /// Which one under the key; otherwise the live one, or without one the last that was archived.
    pub(crate) episode: Option<u64>,
}

/// All that lies under one key of one tenant.
#[derive(Debug)]
pub(crate) struct Place {
    pub(crate) of: OfTenant,
    pub(crate) key: SessionKey,
    pub(crate) session: SessionStore,
}

/// One conversation, live or archived.
#[derive(Debug, Clone)]
pub(crate) enum Episode {
    Live(SessionStore, Box<SessionRow>),
    Archived(Box<EpisodeStore>),
}

impl Named {
    /// Finds the one tenant that has something under the key, among those that are reached.
    pub(crate) fn place(&self, reached: &Reached) -> Result<Place, Error> {
        let key = parsed("key", SessionKey::parse(&self.key))?;
        let mut found = Vec::new();
        for of in reached.tenants(self.tenant.as_deref())? {
            let session = of.store().session(&key);
            if session.row()?.is_some() || !session.archives()?.is_empty() {
                found.push((of, session));
            }
        }
        let (of, session) = only(&key, found)?.ok_or_else(|| {
            Error::NotFound(format!(
                "there is no session {key}; `sessions list` shows those there are, `sessions list --archived` those that are over"
            ))
        })?;
        Ok(Place { of, key, session })
    }
}

/// The one that was found; several must be told apart by the caller.
pub(crate) fn only<T>(key: &SessionKey, mut found: Vec<(OfTenant, T)>) -> Result<Option<(OfTenant, T)>, Error> {
    if found.len() > 1 {
        let names: Vec<String> =
            found.iter().map(|(of, _)| of.name().unwrap_or_else(|| "\"\" (the owner's own)".to_owned())).collect();
        let names = names.join(", ");
        return Err(Error::Conflict(format!(
            "several tenants have a session {key}: {names}; say which one with --tenant"
        )));
    }
    Ok(found.pop())
}

impl Place {
    /// The conversation that is meant.
    pub(crate) fn episode(&self, episode: Option<u64>) -> Result<Episode, Error> {
        let live = self.session.row()?.map(Box::new);
        if let Some(row) = live.filter(|row| episode.is_none_or(|episode| row.episode == episode)) {
            return Ok(Episode::Live(self.session.clone(), row));
        }
        let number = match episode {
            Some(number) => Some(number),
            None => self.session.archives()?.last().map(|row| row.session.episode),
        };
        let archived = number.map(|number| self.session.episode(number)).transpose()?.flatten();
        archived.map(Episode::archived).ok_or_else(|| {
            let key = &self.key;
            Error::NotFound(format!("{key} has no such episode; `sessions show {key}` lists those that are archived"))
        })
    }

    /// All of them, oldest first.
    pub(crate) fn episodes(&self) -> Result<Vec<Episode>, Error> {
        let mut all = Vec::new();
        for row in self.session.archives()? {
            all.extend(self.session.episode(row.session.episode)?.map(Episode::archived));
        }
        all.extend(self.session.row()?.map(|row| Episode::Live(self.session.clone(), Box::new(row))));
        Ok(all)
    }
}

impl Episode {
    fn archived(episode: EpisodeStore) -> Self {
        Self::Archived(Box::new(episode))
    }

    pub(crate) fn row(&self) -> &SessionRow {
        match self {
            Self::Live(_, row) => row,
            Self::Archived(episode) => &episode.row().session,
        }
    }

    /// Lines behind a position, oldest first.
    pub(crate) fn lines_after(&self, after: u64, limit: usize) -> Result<Vec<Line>, Error> {
        match self {
            Self::Live(session, row) => {
                let lines = session.lines_after(after, limit)?;
                // Looked at afterwards: the live one may be another by now.
                if session.row()?.is_some_and(|now| now.episode == row.episode) {
                    return Ok(lines);
                }
                let ended = session.episode(row.episode)?;
                let ended = ended.ok_or_else(|| Error::NotFound(format!("{} is not there any more", row.key)))?;
                Ok(ended.lines_after(after, limit)?)
            }
            Self::Archived(episode) => Ok(episode.lines_after(after, limit)?),
        }
    }

    /// The last lines, oldest first.
    pub(crate) fn last_lines(&self, limit: usize) -> Result<Vec<Line>, Error> {
        match self {
            Self::Live(session, _) => Ok(session.recent(limit, usize::MAX)?),
            Self::Archived(_) => {
                let n = u64::try_from(limit).unwrap_or(u64::MAX);
                self.lines_after(self.row().last_line.saturating_sub(n), limit)
            }
        }
    }
}
