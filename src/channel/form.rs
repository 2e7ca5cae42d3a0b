//! How somebody adds a channel of a type: what to do at the vendor's, and what to fill in. Declared beside each adapter, so that
//! pages and commands know no type by its name.

use crate::browser::Language;

/// The same in every language of the pages: English, German.
#[derive(Debug, Clone, Copy)]
pub struct Say(pub &'static str, pub &'static str);

impl Say {
    /// In this one.
    #[must_use]
    pub fn r#in(self, language: Language) -> &'static str {
        match language {
            Language::English => self.0,
            Language::German => self.1,
        }
    }
}

/// How a channel of a type is added.
#[derive(Debug)]
pub struct Form {
    /// As the vendor writes it.
    pub name: Say,
    /// What it is, in one line.
    pub lead: Say,
    /// What to do, one step after the other.
    pub steps: &'static [Say],
    /// Texts to take along. `{url}` is where vendors reach the gateway, `{id}` the id of the channel.
    pub copies: &'static [(Say, &'static str)],
    /// What to fill in.
    pub fields: &'static [Field],
}

/// One of the type's own keys.
#[derive(Debug)]
pub struct Field {
    /// Key of the configuration.
    pub key: &'static str,
    /// What it is.
    pub label: Say,
    /// Where it is found, or what it does.
    pub hint: Say,
    /// What is filled in.
    pub kind: Kind,
    /// Does nothing work without it?
    pub is_required: bool,
}

/// What is filled in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A value that is never shown again.
    Secret,
    /// The same; one is made where nobody has one yet, and shown once. While it changes, the key with an `s` at its end has both.
    MadeSecret,
    /// A text.
    Text,
    /// Texts, one a line.
    Lines,
}

/// What a test of a channel found, one thing after the other.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Probe {
    /// What was tried.
    pub what: &'static str,
    /// What was found, or what went wrong; no secret.
    pub outcome: Result<String, String>,
}
