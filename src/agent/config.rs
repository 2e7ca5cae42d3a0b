//! An `[[agents]]` entry and the agent it becomes.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::files::{BUILT_IN, FileError, Knowledge, MAX_SOUL_BYTES, known_paths, own_soul, read_text};
use super::tools::Toolset;
use crate::document::{Section, Severity};
use crate::id::AgentId;
use crate::provider::Provider;

/// An `[[agents]]` entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How routes and API requests call it.
    pub name: AgentId,
    /// The name of its provider; `None`: the first one.
    pub provider: Option<String>,
    /// Its persona.
    pub soul: Arc<str>,
    /// The file it came from, as the entry names it.
    pub soul_file: Option<String>,
    /// Does it have a persona of its own, and not the one of the program?
    pub has_own_soul: bool,
    /// What it knows besides.
    pub knowledge: Knowledge,
    /// Is it the one of a configuration that names none?
    pub is_embedded: bool,
    /// What it may use. None, unless the operator says so: small models without a template for tools fail on them.
    pub tools: Vec<Toolset>,
}

impl Config {
    /// Takes an entry's keys and reads the persona's file, relative to `home`, and what it knows.
    pub fn read(section: &mut Section<'_>, home: &Path) -> Option<Self> {
        let name = section.take_parsed("name", |text: &str| AgentId::new(text));
        let provider = section.take_string("provider");
        let soul_file = section.take_string("soul");
        let mut tools = section.take_parsed_list("tools", toolset);
        tools.dedup();
        if name.is_none() {
            section.missing("name", "name = \"reception\"");
        }
        let soul = match (&soul_file, &name) {
            (None, None) => None,
            (None, Some(name)) => match read_own_soul(home, name) {
                Ok(soul) => soul,
                Err((path, reason)) => {
                    let help = format!("mend {path} in the home, or remove it");
                    section.problem(Severity::Error, "", format!("its persona {reason}"), Some(help));
                    return None;
                }
            },
            (Some(path), _) => match read_soul(&home.join(path)) {
                Ok(soul) => Some(soul),
                Err(reason) => {
                    let file = home.join(path);
                    let help = format!("write the persona into {}, or leave `soul` out", file.display());
                    section.problem(Severity::Error, "soul", format!("{path:?} {reason}"), Some(help));
                    return None;
                }
            },
        };
        let name = name?;
        let knowledge = Knowledge::read(home, &name).unwrap_or_else(|error| {
            section.problem(Severity::Warning, "", format!("what it knows cannot be read: {error}"), None);
            Knowledge::default()
        });
        let unread =
            knowledge.files.iter().filter_map(|file| Some(format!("{}: {}", file.name, file.problem.as_ref()?)));
        for problem in knowledge.ignored.iter().cloned().chain(unread) {
            let help = Some(format!("mend or remove it in agents/{name}/knowledge"));
            section.problem(Severity::Warning, "", format!("of what it knows, a file is not told: {problem}"), help);
        }
        let has_own_soul = soul.is_some();
        let soul = soul.unwrap_or_else(|| BUILT_IN.to_owned()).into();
        Some(Self { name, provider, soul, soul_file, has_own_soul, knowledge, is_embedded: false, tools })
    }

    /// The agent of a gateway that configures none.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a constant")]
    pub fn embedded() -> Self {
        Self {
            name: AgentId::new("default").expect("a name"),
            provider: None,
            soul: BUILT_IN.into(),
            soul_file: None,
            has_own_soul: false,
            knowledge: Knowledge::default(),
            is_embedded: true,
            tools: Vec::new(),
        }
    }

    /// The same, with the persona and the knowledge that it has in this home. A persona that cannot be read is not
    /// stood in for by another one.
    ///
    /// # Errors
    /// Says which file cannot be used, and why.
    pub fn embedded_in(home: &Path) -> Result<Self, String> {
        let embedded = Self::embedded();
        let soul = read_own_soul(home, &embedded.name).map_err(|(path, reason)| format!("{path} {reason}"))?;
        let knowledge = Knowledge::read(home, &embedded.name).map_err(|error| error.to_string())?;
        let has_own_soul = soul.is_some();
        Ok(Self { soul: soul.map_or(embedded.soul, Into::into), has_own_soul, knowledge, ..embedded })
    }

    /// Everything that is told to its model before a conversation: its persona and what it knows.
    #[must_use]
    pub fn instructions(&self) -> String {
        self.knowledge.behind(&self.soul)
    }

    /// All files that it is told from now, as the entry names them or relative to the home.
    #[must_use]
    pub fn paths(&self, home: &Path) -> Vec<String> {
        let own = || own_soul(&self.name).filter(|path| home.join(path).exists());
        let soul = self.soul_file.clone().or_else(own);
        soul.into_iter().chain(known_paths(home, &self.name)).collect()
    }
}

/// The persona of an agent whose entry names none; `None`: it has no file.
fn read_own_soul(home: &Path, agent: &AgentId) -> Result<Option<String>, (String, String)> {
    let Some(path) = own_soul(agent).filter(|path| home.join(path).exists()) else { return Ok(None) };
    read_soul(&home.join(&path)).map(Some).map_err(|reason| (path, reason))
}

fn toolset(word: &str) -> Result<Toolset, String> {
    let known = Toolset::ALL.iter().find(|(name, _)| *name == word).map(|(_, set)| *set);
    let names: Vec<&str> = Toolset::ALL.iter().map(|(name, _)| *name).collect();
    known.ok_or_else(|| format!("{word:?} is not one of {}", names.join(", ")))
}

fn read_soul(file: &Path) -> Result<String, String> {
    read_text(file, MAX_SOUL_BYTES).map_err(|error| match error {
        FileError::Disk { source, .. } => format!("cannot be read: {source}"),
        FileError::TooLong(max) => format!("is longer than {max} bytes, and it is sent with every message"),
        error => format!("cannot be read: {error}"),
    })
}

/// An agent that can answer.
#[derive(Clone)]
pub struct Agent {
    /// Its name.
    pub name: AgentId,
    /// Its persona and what it knows: [`Config::instructions`].
    pub soul: Arc<str>,
    /// What it may use.
    pub tools: Vec<Toolset>,
    /// What it thinks with.
    pub provider: Arc<dyn Provider>,
}

impl fmt::Debug for Agent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Agent").field("name", &self.name).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_persona_is_a_text_of_bounded_length() {
        let home = tempfile::tempdir().unwrap();
        let check = |content: &[u8], expected: Result<&str, &str>| {
            let file = home.path().join("SOUL.md");
            std::fs::write(&file, content).unwrap();
            assert_eq!(read_soul(&file).as_deref().map_err(String::as_str), expected);
        };
        check("Grüezi\n".as_bytes(), Ok("Grüezi\n"));
        check(&[b'a'; MAX_SOUL_BYTES], Ok(&"a".repeat(MAX_SOUL_BYTES)));
        check(&[b'a'; MAX_SOUL_BYTES + 1], Err("is longer than 65536 bytes, and it is sent with every message"));
        let shown = home.path().join("SOUL.md");
        check(b"a\xff", Err(&format!("cannot be read: {} is not a text in UTF-8", shown.display())));
    }

    #[test]
    fn tools_are_named() {
        assert_eq!(toolset("memory"), Ok(Toolset::Memory));
        assert_eq!(toolset("files"), Ok(Toolset::Files));
        assert_eq!(toolset("shell"), Err("\"shell\" is not one of memory, files".to_owned()));
    }

    #[test]
    fn what_is_no_file_is_no_persona() {
        for path in ["/dev/null", "/"] {
            assert_eq!(read_soul(Path::new(path)), Err("cannot be read: it is not a file".to_owned()), "{path}");
        }
    }
}
