//! A conversation that was held elsewhere: named by the resolver in use, filed whole, and nothing else.

use super::Gateway;
use crate::id::{API_ENTRY, AgentId, SessionKey};
use crate::message::Identity;
use crate::session::ResolveError;
use crate::store::{self, Imported, ImportedLine, ImportedSession};

/// A conversation, and where it was held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Import {
    /// Where; workspace and account are the entry's, if it is there.
    pub identity: Identity,
    /// Did everybody who wrote directly share it? Then it may be filed only where they do here too.
    pub is_shared: bool,
    /// The peer's name, for lists.
    pub user_name: Option<String>,
    /// Who answered last.
    pub agent: Option<AgentId>,
    /// What was said, oldest first.
    pub lines: Vec<ImportedLine>,
}

/// Why it was not filed.
#[derive(Debug, thiserror::Error)]
pub enum ImportError {
    /// There is no configuration that could name it.
    #[error("the gateway is in safe mode; mend its configuration first, `gateway status` says what is wrong")]
    SafeMode,
    /// The entry is another channel's, or another tenant's.
    #[error("the channel entry {0:?} belongs to another channel or tenant")]
    Entry(String),
    /// The identity has no key.
    #[error(transparent)]
    Unresolvable(#[from] ResolveError),
    /// One peer's words would be read by others, or the other way round.
    #[error("{0}")]
    Mixed(&'static str),
    /// The store did not take it.
    #[error(transparent)]
    Store(#[from] store::Error),
}

impl Gateway {
    /// Files a conversation under the key that its next message would have. Starts nothing and sends nothing.
    ///
    /// # Errors
    /// [`ImportError`]; nothing is filed then.
    pub async fn import(&self, import: Import) -> Result<(SessionKey, Imported), ImportError> {
        let live = self.0.live.load_full();
        if live.safe_mode.is_some() {
            return Err(ImportError::SafeMode);
        }
        let Import { mut identity, is_shared, user_name, agent, lines } = import;
        let is_api = identity.entry.as_str() == API_ENTRY;
        if let Some(entry) = live.entries.get(&identity.entry) {
            if entry.channel_type != identity.channel || entry.tenant != identity.tenant {
                return Err(ImportError::Entry(identity.entry.to_string()));
            }
            identity.workspace.clone_from(&entry.workspace);
            identity.account.clone_from(&entry.account);
        }
        let resolver = if is_api { &live.api_resolver } else { &live.resolver };
        let resolved = resolver.resolve(&identity)?;
        check_scope(is_shared, resolver.shares_peers(&identity))?;
        let key = resolved.session_key;
        let session = ImportedSession { key: key.clone(), identity: identity.clone(), user_name, agent, lines };
        let imported = self.0.store.tenant(identity.tenant.as_ref()).import(session).await?;
        tracing::info!(session.key = %key, outcome = ?imported, "conversation imported");
        Ok((key, imported))
    }
}

/// May a conversation that peers shared, or did not, become one that they share here, or do not? What one peer
/// said must not become what all share, nor the other way round.
///
/// # Errors
/// [`ImportError::Mixed`].
pub fn check_scope(was_shared: bool, is_shared: bool) -> Result<(), ImportError> {
    match (was_shared, is_shared) {
        (true, false) => Err(ImportError::Mixed(
            "it was shared by everybody who wrote directly; here that is so under dm_scope \"main\" only",
        )),
        (false, true) => Err(ImportError::Mixed(
            "it was one peer's own; under these settings everybody who writes directly there would share it",
        )),
        (true, true) | (false, false) => Ok(()),
    }
}
