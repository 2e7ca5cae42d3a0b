//! An `[[agents]]` entry and the agent it becomes.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use super::tools::Toolset;
use crate::document::{Section, Severity, read_at_most};
use crate::id::AgentId;
use crate::provider::Provider;

/// The persona of an agent whose entry names no file.
const DEFAULT_SOUL: &str = include_str!("SOUL.md");

/// Longest persona, in bytes: every message pays for it.
const MAX_SOUL_BYTES: usize = 64 * 1024;

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
    /// What it may use. None, unless the operator says so: small models without a template for tools fail on them.
    pub tools: Vec<Toolset>,
}

impl Config {
    /// Takes an entry's keys and reads the persona's file, relative to `home`.
    pub fn read(section: &mut Section<'_>, home: &Path) -> Option<Self> {
        let name = section.take_parsed("name", |text: &str| AgentId::new(text));
        let provider = section.take_string("provider");
        let soul_file = section.take_string("soul");
        let soul = match soul_file.clone().map(|path| (home.join(&path), path)) {
            None => DEFAULT_SOUL.into(),
            Some((file, path)) => match read_soul(&file) {
                Ok(soul) => soul.into(),
                Err(reason) => {
                    let help = format!("write the persona into {}, or leave `soul` out", file.display());
                    section.problem(Severity::Error, "soul", format!("{path:?} {reason}"), Some(help));
                    return None;
                }
            },
        };
        let mut tools = section.take_parsed_list("tools", toolset);
        tools.dedup();
        if name.is_none() {
            section.missing("name", "name = \"reception\"");
        }
        Some(Self { name: name?, provider, soul, soul_file, tools })
    }

    /// The agent of a gateway that configures none.
    #[must_use]
    #[expect(clippy::expect_used, reason = "a constant")]
    pub fn embedded() -> Self {
        let name = AgentId::new("default").expect("a name");
        Self { name, provider: None, soul: DEFAULT_SOUL.into(), soul_file: None, tools: Vec::new() }
    }
}

fn toolset(word: &str) -> Result<Toolset, String> {
    let known = Toolset::ALL.iter().find(|(name, _)| *name == word).map(|(_, set)| *set);
    let names: Vec<&str> = Toolset::ALL.iter().map(|(name, _)| *name).collect();
    known.ok_or_else(|| format!("{word:?} is not one of {}", names.join(", ")))
}

fn read_soul(file: &Path) -> Result<String, String> {
    let bytes = read_at_most(file, MAX_SOUL_BYTES + 1).map_err(|error| format!("cannot be read: {error}"))?;
    if bytes.len() > MAX_SOUL_BYTES {
        return Err(format!("is longer than {MAX_SOUL_BYTES} bytes, and it is sent with every message"));
    }
    String::from_utf8(bytes).map_err(|error| format!("cannot be read: {}", error.utf8_error()))
}

/// An agent that can answer.
#[derive(Clone)]
pub struct Agent {
    /// Its name.
    pub name: AgentId,
    /// Its persona.
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
        check(b"a\xff", Err("cannot be read: invalid utf-8 sequence of 1 bytes from index 1"));
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
