//! Whether a channel works, when somebody asks for it.

use std::time::Duration;

use super::Gateway;
use crate::account::Who;
use crate::channel::form::Probe;
use crate::id::EntryId;

/// Longest time for one test.
const TIMEOUT: Duration = Duration::from_secs(25);

/// Why a channel was not tested.
#[derive(Debug, thiserror::Error)]
pub enum ChannelTestError {
    /// None that is reached.
    #[error("there is no channel {0:?}; `channels list` shows those there are")]
    Unknown(String),
    /// Somebody does not answer.
    #[error("the test of {0} took too long; see that the vendor can be reached, and try again")]
    TooSlow(EntryId),
}

impl Gateway {
    /// Tries what can be tried of a channel without a message to anybody.
    ///
    /// # Errors
    /// When there is none that `who` reaches, or it takes too long.
    pub async fn test_channel(&self, who: &Who, id: &str) -> Result<Vec<Probe>, ChannelTestError> {
        let unknown = || ChannelTestError::Unknown(id.to_owned());
        let entry = EntryId::new(id).ok().and_then(|id| self.0.live.load().entries.get(&id).cloned());
        let entry = entry.filter(|entry| who.reaches(entry.tenant.as_ref())).ok_or_else(unknown)?;
        let tested = tokio::time::timeout(TIMEOUT, entry.channel.test()).await;
        tested.map_err(|_elapsed| ChannelTestError::TooSlow(entry.id.clone()))
    }
}
