//! What is known of updates from outside of the updater: its report, what it was asked for last, and whether there is one.

use std::path::Path;

use super::report::{Report, Request, state_directory};

/// The variable that says where the updater keeps its state, where it is another user than the gateway's.
pub const STATE_VARIABLE: &str = "FRONTDESK_UPDATE_STATE";

/// Updates, as the gateway sees them.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// What the updater said last.
    pub report: Report,
    /// Was it ever seen, or did whoever made this installation say where it is?
    pub is_set_up: bool,
    /// What it was asked for and has not answered.
    pub unanswered: Option<Request>,
}

impl Known {
    /// Of this home; `named` is the value of [`STATE_VARIABLE`]. Reads two small files.
    #[must_use]
    pub fn look(home: &Path, named: Option<&str>) -> Self {
        let report = Report::read(&state_directory(home, named));
        let answered = report.request.as_ref().map(|answer| answer.id.as_str());
        let unanswered = Request::read(home).filter(|request| answered != Some(request.id.as_str()));
        let is_named = named.is_some_and(|named| !named.is_empty());
        Self { is_set_up: is_named || report.running.is_some(), unanswered, report }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Version;
    use super::super::report::{Answer, Progress, Want};
    use super::*;

    #[test]
    fn an_updater_is_there_when_it_was_seen_or_named_and_a_request_waits_until_it_is_answered() {
        let home = tempfile::tempdir().unwrap();
        let state = home.path().join("elsewhere");
        std::fs::create_dir(&state).unwrap();
        let look = |named| Known::look(home.path(), named);
        assert!(!look(None).is_set_up && !look(Some("")).is_set_up);
        assert!(look(state.to_str()).is_set_up);
        let request = Request { id: "a".into(), want: Want::Check, version: None, by: "Ada".into(), at_ms: 1 };
        request.write(home.path()).unwrap();
        assert_eq!(look(None).unanswered, Some(request));
        let answer = Answer { id: "a".into(), want: Want::Check, state: Progress::Done, why: None };
        let report = Report { running: Some(Version::new(1, 0, 0)), request: Some(answer), ..Report::default() };
        report.write(&home.path().join("updates")).unwrap();
        assert_eq!(look(None), Known { report, is_set_up: true, unanswered: None });
    }
}
