//! How far the setup is. What was answered is in the configuration; here is only what was asked.

use std::collections::BTreeSet;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use serde::{Deserialize, Serialize};

use super::Gateway;
use crate::config::Settings;
use crate::document::{read_at_most, write_whole};

/// What was asked, in the home.
const STATE: &str = "setup.json";
/// Largest file of it, in bytes.
const MAX_STATE_BYTES: usize = 256 * 1024;

/// A question of the setup, in the order in which they are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Question {
    /// What the business is called, and what it does.
    Business,
    /// Whose clock it goes by, and when it is open.
    Hours,
    /// What thinks.
    Model,
    /// Where people write.
    Channel,
    /// Who is told when something is wrong.
    Alerts,
    /// May updates be installed.
    Updates,
}

impl Question {
    /// All of them, in order, by the words of addresses.
    pub const ALL: [(&'static str, Self); 6] = [
        ("business", Self::Business),
        ("hours", Self::Hours),
        ("model", Self::Model),
        ("channel", Self::Channel),
        ("alerts", Self::Alerts),
        ("updates", Self::Updates),
    ];

    /// In a word.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        Self::ALL.iter().find(|(_, question)| *question == self).map_or("", |(word, _)| word)
    }
}

/// How far the setup is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetupState {
    /// Answered, or skipped.
    pub asked: BTreeSet<Question>,
    /// Somebody said that it is done, or will be later.
    pub is_over: bool,
    /// The models that the server had when it was looked.
    pub models: Vec<String>,
}

/// The file of it.
#[derive(Debug)]
pub(super) struct Setup {
    file: PathBuf,
    /// `None`: nobody has begun.
    state: Mutex<Option<SetupState>>,
}

impl Setup {
    pub(super) fn of(home: &Path) -> Self {
        let file = home.join(STATE);
        let state = read_at_most(&file, MAX_STATE_BYTES).ok();
        // One that cannot be read was begun once: nobody is sent there again.
        let over = || SetupState { is_over: true, ..SetupState::default() };
        let state = state.map(|bytes| serde_json::from_slice(&bytes).unwrap_or_else(|_error| over()));
        Self { file, state: Mutex::new(state) }
    }
}

impl Gateway {
    /// How far the setup is; `None`: nobody has begun.
    #[must_use]
    pub fn setup(&self) -> Option<SetupState> {
        self.0.setup.state.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Notes how far the setup is.
    ///
    /// # Errors
    /// When the disk refuses; then nothing has changed.
    pub fn change_setup(&self, change: impl FnOnce(&mut SetupState)) -> io::Result<()> {
        let mut state = self.0.setup.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut next = state.clone().unwrap_or_default();
        change(&mut next);
        write_whole(&self.0.setup.file, &serde_json::to_vec(&next).unwrap_or_default(), 0o600)?;
        *state = Some(next);
        Ok(())
    }

    /// Should whoever comes first be asked? A box that somebody has set up otherwise is not new.
    #[must_use]
    pub fn wants_setup(&self) -> bool {
        let live = self.0.live.load();
        match self.setup() {
            Some(state) => !state.is_over,
            None => live.settings.is_bare && live.safe_mode.is_none(),
        }
    }

    /// Looks at the settings in use. Channel entries are not among them: see [`Gateway::channels`].
    pub fn settings<T>(&self, look: impl FnOnce(&Settings) -> T) -> T {
        look(&self.0.live.load().settings)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_asked_is_known_after_a_restart() {
        let home = tempfile::tempdir().unwrap();
        assert_eq!(*Setup::of(home.path()).state.lock().unwrap(), None);
        let asked = [Question::Business, Question::Model].into();
        let state = SetupState { asked, is_over: false, models: vec!["qwen".into()] };
        std::fs::write(home.path().join(STATE), serde_json::to_vec(&state).unwrap()).unwrap();
        assert_eq!(*Setup::of(home.path()).state.lock().unwrap(), Some(state));
        std::fs::write(home.path().join(STATE), "{").unwrap();
        assert!(Setup::of(home.path()).state.lock().unwrap().as_ref().unwrap().is_over);
    }

    #[test]
    fn a_question_has_a_word_of_its_own() {
        for (word, question) in Question::ALL {
            assert_eq!(question.as_str(), word);
            assert_eq!(serde_json::to_value(question).unwrap(), word);
        }
    }
}
