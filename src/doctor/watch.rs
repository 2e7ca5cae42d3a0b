//! Has the gateway look at itself, so that somebody is told when something is wrong.

use super::{Finding, Running, Severity, examine, told};
use crate::alert::{Told, Trouble};
use crate::browser::Language;
use crate::business::Business;
use crate::gateway::Gateway;
use crate::gateway::device_key::Sources;

/// What is told although messages are answered: nobody may look at the page for months.
const TOLD: [&str; 2] = ["update-failed", "security-update"];

/// From now on, until the gateway stops, what needs somebody is told to whom the configuration names.
pub fn watch(gateway: &Gateway) {
    gateway.watch(troubles);
}

/// What needs somebody at this moment, also in the language of the business. It looks at files.
fn troubles(gateway: &Gateway) -> Vec<Trouble> {
    // A store that cannot be read is an error of the status that says so.
    let Ok(status) = gateway.status() else { return Vec::new() };
    let in_use = gateway.config_digest();
    let running = Running { status: &status, config_digest: in_use.as_deref() };
    let found = examine(gateway.home(), gateway.variables(), Some(&running), &Sources::default(), gateway.now());
    let language =
        gateway.settings(|settings| settings.business.as_ref().map_or(Language::English, Business::language));
    found.into_iter().filter(is_told).map(|finding| trouble(finding, language)).collect()
}

fn is_told(finding: &Finding) -> bool {
    finding.severity == Severity::Error || TOLD.contains(&finding.id)
}

fn trouble(finding: Finding, language: Language) -> Trouble {
    let told = told(&finding, language).map(|told| Told { title: told.title.to_owned(), lead: told.lead.to_owned() });
    Trouble { id: finding.id.to_owned(), what: finding.what, fix: finding.fix, told }
}
