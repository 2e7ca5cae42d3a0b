//! The `[session]` section.

use super::format::KeyFormat;
use crate::document::{Section, Severity};

/// How direct messages are kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DmScope {
    /// One conversation for all direct messages of a tenant: for one person's assistant.
    Main,
    /// One conversation for each channel and peer.
    PerChannelPeer,
    /// One conversation for each channel type and peer.
    PerPeer,
}

impl DmScope {
    /// The words of the configuration.
    pub const CHOICES: [(&'static str, Self); 3] =
        [("main", Self::Main), ("per-channel-peer", Self::PerChannelPeer), ("per-peer", Self::PerPeer)];

    /// The word of the configuration.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::PerChannelPeer => "per-channel-peer",
            Self::PerPeer => "per-peer",
        }
    }
}

/// What the operator asked the sessions to be kept in. There is one store; the word is accepted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storage {
    /// What is used.
    Redb,
    /// What OpenClaw's guides write.
    Sqlite,
}

/// One person's ids, each with its channel type in front.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IdentityLink {
    /// Name of the person in keys.
    pub name: String,
    /// `slack:U07DEF456`, `wa:+15551234567`.
    pub ids: Vec<String>,
}

/// The `[session]` section.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Config {
    /// How direct messages are kept apart.
    pub dm_scope: DmScope,
    /// What keys look like.
    pub key_format: KeyFormat,
    /// Days after the last message until a conversation is archived; 0: never.
    pub ttl_days: u64,
    /// Is a peer told, once, that their last conversation was archived?
    pub says_new: bool,
    /// Hours without a word of the person who has taken a conversation, until the worker answers it again; 0: never.
    pub take_over_hours: u64,
    /// What the file calls the store.
    pub storage: Storage,
    /// Where the file wants the store; used as it is only with `storage = "redb"`.
    pub storage_path: Option<String>,
    /// What the store may keep in memory of its file, in MiB.
    pub storage_cache_mb: u64,
    /// People with several ids, for `per-peer`.
    pub identity_links: Vec<IdentityLink>,
    /// Who is admitted under `main`: `slack:U07DEF456`. Channel entries may say otherwise.
    pub owners: Vec<String>,
}

impl Config {
    /// What a gateway without any configuration uses: the careful choice, as the setup page writes it.
    #[must_use]
    pub fn embedded() -> Self {
        Self {
            dm_scope: DmScope::PerChannelPeer,
            key_format: KeyFormat::default(),
            ttl_days: 30,
            says_new: true,
            take_over_hours: 12,
            storage: Storage::Redb,
            storage_path: None,
            storage_cache_mb: 4,
            identity_links: Vec::new(),
            owners: Vec::new(),
        }
    }

    /// What a file that does not mention sessions means: as OpenClaw's guides say, `main`.
    #[must_use]
    pub fn absent() -> Self {
        Self { dm_scope: DmScope::Main, ..Self::embedded() }
    }

    /// The same in bytes.
    #[must_use]
    pub fn cache_bytes(&self) -> usize {
        usize::try_from(self.storage_cache_mb).map_or(usize::MAX, |mb| mb.saturating_mul(1024 * 1024))
    }

    /// Do conversations have the same keys under both?
    #[must_use]
    pub fn names_alike(&self, other: &Self) -> bool {
        (self.dm_scope, &self.key_format, &self.identity_links)
            == (other.dm_scope, &other.key_format, &other.identity_links)
    }

    /// Takes the section's keys. Problems are noted there.
    pub fn read(section: &mut Section<'_>) -> Self {
        let absent = Self::absent();
        let config = Self {
            dm_scope: section.take_choice("dm_scope", &DmScope::CHOICES).unwrap_or(absent.dm_scope),
            key_format: section.take_parsed("key_format", KeyFormat::parse).unwrap_or_default(),
            ttl_days: section.take_integer("ttl_days", 0..=36_500).unwrap_or(absent.ttl_days),
            says_new: section.take_bool("says_new").unwrap_or(absent.says_new),
            take_over_hours: section.take_integer("take_over_hours", 0..=8_760).unwrap_or(absent.take_over_hours),
            storage: section
                .take_choice("storage", &[("redb", Storage::Redb), ("sqlite", Storage::Sqlite)])
                .unwrap_or(absent.storage),
            storage_path: section.take_string("storage_path"),
            storage_cache_mb: section.take_integer("storage_cache_mb", 1..=1024).unwrap_or(absent.storage_cache_mb),
            identity_links: read_links(section),
            owners: section.take_parsed_list("owners", qualified_id),
        };
        if !config.identity_links.is_empty() && config.dm_scope != DmScope::PerPeer {
            let message = format!("it has no effect under dm_scope {:?}", config.dm_scope.as_str());
            let help = "set dm_scope = \"per-peer\", or leave identity_links out".to_owned();
            section.problem(Severity::Warning, "identity_links", message, Some(help));
        }
        config
    }
}

fn read_links(section: &mut Section<'_>) -> Vec<IdentityLink> {
    let mut links: Vec<IdentityLink> = Vec::new();
    for (name, ids) in section.take_lists_by_name("identity_links") {
        let mut link = IdentityLink { name, ids: Vec::new() };
        for id in ids {
            let other = links.iter().find(|other| other.ids.contains(&id));
            match (qualified_id(&id), other) {
                (Err(message), _) => section.problem(Severity::Error, "identity_links", message, None),
                (Ok(_), Some(other)) => {
                    let message = format!("{id:?} is listed for {:?} and for {:?}", other.name, link.name);
                    let help = Some("one id is one person: leave it in one list".to_owned());
                    section.problem(Severity::Error, "identity_links", message, help);
                }
                (Ok(id), None) => link.ids.push(id),
            }
        }
        links.push(link);
    }
    links
}

/// An id with its channel type in front. A bare id would merge strangers: Telegram's 123 is not Discord's.
fn qualified_id(text: &str) -> Result<String, String> {
    match text.split_once(':') {
        Some((tag, id)) if !tag.is_empty() && !id.is_empty() => Ok(text.to_owned()),
        _ => Err(format!("{text:?} has no channel type in front; write it like \"slack:{text}\"")),
    }
}
