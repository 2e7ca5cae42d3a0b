//! Has the gateway look at itself, so that somebody is told when something is wrong.

use super::{Running, Severity, examine};
use crate::alert::Trouble;
use crate::gateway::Gateway;
use crate::gateway::device_key::Sources;

/// From now on, until the gateway stops, errors are told to whom the configuration names.
pub fn watch(gateway: &Gateway) {
    gateway.watch(troubles);
}

/// The errors of this moment. It looks at files.
fn troubles(gateway: &Gateway) -> Vec<Trouble> {
    // A store that cannot be read is an error of the status that says so.
    let Ok(status) = gateway.status() else { return Vec::new() };
    let in_use = gateway.config_digest();
    let running = Running { status: &status, config_digest: in_use.as_deref() };
    let found = examine(gateway.home(), gateway.variables(), Some(&running), &Sources::default(), gateway.now());
    let errors = found.into_iter().filter(|finding| finding.severity == Severity::Error);
    errors.map(|finding| Trouble { id: finding.id.to_owned(), what: finding.what, fix: finding.fix }).collect()
}
