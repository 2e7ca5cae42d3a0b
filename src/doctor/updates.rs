//! What is wrong with updates.

use super::{Finding, Severity};
use crate::clock::Timestamp;
use crate::update::{Doing, Event, Known, Severity as Matters};

/// What failed longer ago is history.
const RECENT_MS: u64 = 30 * 24 * 60 * 60 * 1000;

/// `is_auto`: the owner wants updates to be installed by themselves.
pub(super) fn findings(known: &Known, is_auto: bool, now: Timestamp) -> Vec<Finding> {
    let report = &known.report;
    if !known.is_set_up {
        let what = "updates.auto is true, and no updater is set up here";
        let fix = "set one up as docs/updates.md says, or install new versions yourself";
        return is_auto.then(|| Finding::new(Severity::Warning, "no-updater", what, fix)).into_iter().collect();
    }
    let look = "see the page Updates, or `frontdesk update status`";
    let mut findings = Vec::new();
    let last = report.outcomes.first().filter(|outcome| now.since_ms(Timestamp(outcome.at_ms)) < RECENT_MS);
    match (&report.state, last.map(|last| (last, &last.event))) {
        (Doing::Failed { version: None, why }, _) => {
            let what = format!("whether there is a newer version is not known because {why}");
            findings.push(Finding::new(Severity::Hint, "update-check", what, look));
        }
        (Doing::Failed { version: Some(version), why }, _) => {
            let what = format!("version {version} was not installed because {why}");
            findings.push(Finding::new(Severity::Warning, "update-failed", what, look));
        }
        (_, Some((last, Event::FellBack { .. } | Event::NotInstalled { .. }))) => {
            let what = last.to_string();
            findings.push(Finding::new(Severity::Warning, "update-failed", what.trim_end_matches('.'), look));
        }
        _ => {}
    }
    // What is installed by itself needs nobody.
    let waits_for_somebody = matches!(report.state, Doing::Available { .. } | Doing::Failed { version: Some(_), .. });
    let hole = report.offer.as_ref().filter(|offer| offer.severity == Matters::Security && waits_for_somebody);
    if let Some(offer) = hole {
        let what = format!("version {} closes a security hole and is not installed", offer.version);
        let fix = "install it on the page Updates, or with `frontdesk update install`";
        findings.push(Finding::new(Severity::Warning, "security-update", what, fix));
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::update::{Cause, Offered, Outcome, Report, Version, Why};

    const NOW: Timestamp = Timestamp(1_800_000_000_000);

    fn check(report: Report, expected: &[&str]) {
        let known = Known { report, is_set_up: true, unanswered: None };
        let found = findings(&known, true, NOW);
        assert_eq!(found.iter().map(|finding| finding.id).collect::<Vec<_>>(), expected, "{found:?}");
    }

    #[test]
    fn what_failed_and_what_closes_a_hole_needs_somebody_and_what_goes_on_by_itself_does_not() {
        let (one, two) = (Version::new(1, 0, 0), Version::new(2, 0, 0));
        let why = || Why::of(Cause::NotHealthy);
        let offer = |severity| Some(Offered { version: two, bytes: 1, severity, notes: String::new() });
        let fell_back = |at_ms| vec![Outcome { at_ms, event: Event::FellBack { from: one, to: two, why: why() } }];
        let of = |state, offer, outcomes| Report { state, offer, outcomes, ..Report::default() };
        let available = || Doing::Available { version: two };
        check(Report::default(), &[]);
        check(of(available(), offer(Matters::Normal), vec![]), &[]);
        check(of(available(), offer(Matters::Security), vec![]), &["security-update"]);
        let window = Doing::WaitingForWindow { version: two, window: "03:00-05:00".into() };
        check(of(window, offer(Matters::Security), vec![]), &[]);
        check(of(Doing::UpToDate, None, fell_back(NOW.0)), &["update-failed"]);
        check(of(Doing::UpToDate, None, fell_back(NOW.0 - RECENT_MS)), &[]);
        check(of(Doing::Failed { version: Some(two), why: why() }, None, fell_back(NOW.0)), &["update-failed"]);
        check(of(Doing::Failed { version: None, why: why() }, None, vec![]), &["update-check"]);
        let installed = vec![Outcome { at_ms: NOW.0, event: Event::Installed { from: one, to: two } }];
        check(of(Doing::UpToDate, None, installed), &[]);
        let none = Known::default();
        assert_eq!(findings(&none, true, NOW).iter().map(|finding| finding.id).collect::<Vec<_>>(), ["no-updater"]);
        assert_eq!(findings(&none, false, NOW), []);
    }
}
