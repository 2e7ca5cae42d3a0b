//! Asking for the box to be as it was delivered. It is done at the next start, by `factory_reset`.

use std::io;

use super::Gateway;
use crate::document::write_whole;
use crate::factory_reset::REQUEST;

/// Is there on an appliance, and names how it starts.
const APPLIANCE: &str = "FRONTDESK_APPLIANCE";

impl Gateway {
    /// Is the whole machine ours?
    #[must_use]
    pub fn is_appliance(&self) -> bool {
        self.0.variables.get(APPLIANCE).is_some_and(|name| !name.is_empty())
    }

    /// Leaves the request; the system sees it and starts the machine again.
    ///
    /// # Errors
    /// When the disk does not take it.
    pub fn ask_for_factory_reset(&self, by: &str) -> io::Result<()> {
        tracing::warn!(user.name = by, "somebody wants the box as it was delivered: everything goes at the next start");
        write_whole(&self.home().join(REQUEST), b"", 0o600)
    }
}
