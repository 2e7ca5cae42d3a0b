//! The configuration of a gateway: assembles the sections that the components own.
//!
//! A file is read whole, checked whole and used whole, or not at all. Nothing here opens a connection, and
//! only `revisions` writes: what the configuration was, and the file itself when somebody ordered it.
//! Called by `gateway/`, `admin/` and `cli/`.

mod check;
pub mod edit;
mod entry;
mod file;
mod hidden;
mod revisions;
mod secrets;
mod settings;

pub use edit::{Change, EditError, edit};
pub use entry::Entry;
pub use file::{Located, Syntax, locate};
pub use hidden::{Hidden, MARK, RestoreError};
pub use revisions::{Candidate, Revision, RevisionError, Revisions, digest};
pub use secrets::{SecretError, Secrets};
pub use settings::{ApiKey, Gateway, Salvaged, SessionScope, Settings, Tenant, Updates};

use std::path::{Path, PathBuf};

use crate::agent;
use crate::business::Business;
use crate::document::{Problem, Secret, Severity, Variables};

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The files themselves: two of them, not readable, too large.
    #[error(transparent)]
    File(#[from] file::Error),
    /// What they say. At least one of the problems is an error.
    #[error("{}", list(.0))]
    Invalid(Vec<Problem>),
}

fn list(problems: &[Problem]) -> String {
    let lines: Vec<String> = problems.iter().map(ToString::to_string).collect();
    lines.join("\n")
}

/// Settings, where they came from, and what is odd about them.
#[derive(Debug)]
pub struct Loaded {
    /// The settings.
    pub settings: Settings,
    /// The file; `None`: there is none, and these are the embedded defaults.
    pub file: Option<PathBuf>,
    /// Warnings, in the order of the file.
    pub warnings: Vec<Problem>,
    /// What the file says, one value a line, without its secrets.
    pub redacted: Vec<String>,
    /// Paths of secrets that stand in the file itself.
    pub clear_secrets: Vec<String>,
    /// The text of the file. Hidden, as there may be secrets in it.
    pub text: Option<Secret>,
    /// What it says that must not be shown.
    pub secrets: Vec<Secret>,
}

impl Loaded {
    /// Of a gateway without a file. Its agent has the files that the home has for it.
    fn embedded(home: &Path) -> Self {
        let mut settings = Settings::embedded();
        match agent::Config::embedded_in(home) {
            Ok(agent) => settings.agents = vec![agent],
            Err(error) => tracing::error!(error, "the agent has the persona that comes with the program"),
        }
        Self {
            settings,
            file: None,
            warnings: Vec::new(),
            redacted: Vec::new(),
            clear_secrets: Vec::new(),
            text: None,
            secrets: Vec::new(),
        }
    }
}

/// Reads the configuration file of a home, or takes the embedded defaults if there is none.
///
/// # Errors
/// When there is a file and it cannot be used as it is.
pub fn load(home: &Path, variables: &dyn Variables) -> Result<Loaded, Error> {
    match locate(home)? {
        Some(located) => load_located(&located, home, variables),
        None => Ok(Loaded::embedded(home)),
    }
}

/// The embedded defaults, as [`load`] takes them where there is no file.
#[must_use]
pub fn embedded(home: &Path) -> Loaded {
    Loaded::embedded(home)
}

/// Reads this file, whatever else lies beside it.
///
/// # Errors
/// When it cannot be used as it is.
pub fn load_file(file: &Path, home: &Path, variables: &dyn Variables) -> Result<Loaded, Error> {
    load_located(&Located::at(file)?, home, variables)
}

/// What safe mode needs out of a file that is wrong elsewhere: it should be found at the usual address and
/// keep the usual store.
///
/// Out of a file that cannot be read, has errors of syntax or lies beside a second one, nothing can be known:
/// then what the last good revision says counts, and without one the embedded address and store, as a log line says.
#[must_use]
pub fn salvage(home: &Path, variables: &dyn Variables) -> Salvaged {
    let located = locate(home).ok().flatten();
    let document = located.as_ref().and_then(|located| located.parse(&located.read().ok()?).ok());
    let document = document.or_else(|| Revisions::of(home).last_good());
    let salvaged = match document {
        Some(document) => Salvaged::read(&document, variables),
        None => {
            let salvaged = Salvaged::default();
            let (bind, port) = (salvaged.gateway.bind, salvaged.gateway.port);
            tracing::warn!(
                "what [gateway] and [session] say cannot be known: safe mode listens on {bind} port {port} and opens \
                 the store of a home without a configuration"
            );
            salvaged
        }
    };
    Salvaged { file: located.map(|located| located.path), ..salvaged }
}

/// What the file of a home says of updates, and of the business by whose clock they go. A file that is wrong elsewhere says it
/// all the same; one that cannot be read says that nothing is installed by itself.
#[must_use]
pub fn updates(home: &Path, variables: &dyn Variables) -> (Updates, Business) {
    let located = locate(home).ok().flatten();
    let document = located.and_then(|located| located.parse(&located.read().ok()?).ok());
    document.map(|document| settings::updates(&document, variables)).unwrap_or_default()
}

fn load_located(located: &Located, home: &Path, variables: &dyn Variables) -> Result<Loaded, Error> {
    load_text(located, &located.read()?, home, variables)
}

/// Reads `text` as what this file has, or would have.
///
/// # Errors
/// When it cannot be used as it is.
pub fn load_text(located: &Located, text: &str, home: &Path, variables: &dyn Variables) -> Result<Loaded, Error> {
    let document = located.parse(text).map_err(Error::Invalid)?;
    let settings = Settings::read(&document, home, variables);
    let problems = document.problems();
    match settings {
        Some(settings) if problems.iter().all(|problem| problem.severity == Severity::Warning) => Ok(Loaded {
            settings,
            file: Some(located.path.clone()),
            warnings: problems,
            redacted: document.redacted(),
            clear_secrets: document.clear_secrets(),
            text: Some(Secret::new(text.to_owned())),
            secrets: document.hidden(),
        }),
        _ => Err(Error::Invalid(problems)),
    }
}

/// What a file says, one value a line, without its secrets; it may be wrong in any way but its syntax.
///
/// # Errors
/// When it cannot be read.
pub fn redacted(located: &Located, home: &Path, variables: &dyn Variables) -> Result<Vec<String>, Error> {
    let document = located.parse(&located.read()?).map_err(Error::Invalid)?;
    let _settings = Settings::read(&document, home, variables);
    Ok(document.redacted())
}

/// Every `${NAME}` of the configuration of a home, with the paths where it stands. Nothing for a file that is not
/// there or cannot be read.
#[must_use]
pub fn references(home: &Path) -> Vec<(String, String)> {
    let located = locate(home).ok().flatten();
    let document = located.and_then(|located| located.parse(&located.read().ok()?).ok());
    document.map(|document| document.references()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::NoVariables;
    use crate::identity::Access;

    fn load_text(text: &str) -> Loaded {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("config.toml"), text).unwrap();
        load(home.path(), &NoVariables).unwrap()
    }

    #[test]
    fn a_file_without_channels_still_shows_something_that_works() {
        let loaded = load_text("[gateway]\nport = 18790\n");
        let entries: Vec<_> = loaded.settings.channels.iter().map(|e| (e.id.as_str(), e.policy.dm)).collect();
        assert_eq!(entries, [("webchat", Access::Open)]);
        assert_eq!(loaded.warnings, []);
    }

    #[test]
    fn a_format_that_names_the_tenant_does_not_ask_one_of_the_entry_that_is_in_no_file() {
        let format = "key_format = \"tenant-{tenant_id}-{channel}:{user_id}\"";
        assert_eq!(load_text(&format!("[session]\ndm_scope = \"per-channel-peer\"\n{format}\n")).warnings, []);
    }

    #[test]
    fn what_a_variable_stands_for_is_in_no_problem() {
        struct Same;
        impl Variables for Same {
            fn get(&self, _name: &str) -> Option<String> {
                Some("hunter2-hunter2".to_owned())
            }
        }
        let check = |text: &str, expected: &str| {
            let located = Located::at(Path::new("config.toml")).unwrap();
            let error = super::load_text(&located, text, Path::new("/nonexistent"), &Same).unwrap_err().to_string();
            assert!(!error.contains("hunter2") && error.contains(expected), "{error}");
        };
        check("default_agent = \"${A}\"", "there is no agent \"${A}\"");
        check("routing = [\"* -> ${A}\"]", "there is no agent \"${A}\"");
        check("[[agents]]\nname = \"a\"\nsoul = \"${A}\"", "write the persona into /nonexistent/${A}");
        check("[session]\ndm_scope = \"per-peer\"\nidentity_links.a = [\"${A}\"]", "\"${A}\" has no channel type");
    }
}
