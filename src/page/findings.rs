//! What is wrong, in an owner's words. What the doctor says itself stands below, for whoever helps.

use maud::{Markup, html};

use super::words::{Words, words};
use crate::doctor::{self, Finding, Severity};

/// All of them, the worst first.
pub(super) fn list(words: &Words, findings: &[&Finding]) -> Markup {
    let words = FindingWords::of(words);
    html! { ul class="findings" { @for finding in findings { li { (line(words, finding)) } } } }
}

fn line(words: &FindingWords, finding: &Finding) -> Markup {
    let (kind, name) = match finding.severity {
        Severity::Error => ("bad", words.severity_error),
        Severity::Warning => ("warn", words.severity_warning),
        Severity::Hint => ("", words.severity_hint),
    };
    html! {
        span class={ "tag " (kind) } { (name) }
        @if let Some(told) = doctor::told(finding, words.language) {
            p { strong { (told.title) } }
            p { (told.lead) }
        }
        p class="muted small" lang="en" { (finding.what) " – " (finding.fix) }
    }
}

words! {
    /// What is wrong, for those who do not read logs.
    FindingWords;
    severity_error: "Error", "Fehler";
    severity_warning: "Warning", "Warnung";
    severity_hint: "Hint", "Hinweis";
}
