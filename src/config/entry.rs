//! One `[[channels]]` entry.

use crate::channel::Sender;
use crate::channel::registry::{self, Settings as ChannelSettings, Type};
use crate::document::{Document, NoVariables, Place, Section, Severity};
use crate::id::{ChannelType, EntryId, OpaqueId, TenantId};
use crate::identity::{self, Access, Policy};
use crate::session::DmScope;

/// A channel entry: what every entry has, and the settings of its type.
#[derive(Debug)]
pub struct Entry {
    /// Its id: as configured, or the type, numbered when it repeats.
    pub id: EntryId,
    /// What is true of its type.
    pub channel_type: &'static Type,
    /// How session keys call the type.
    pub channel: ChannelType,
    /// The bot's account, where the operator tells several apart.
    pub account: Option<OpaqueId>,
    /// Whose it is.
    pub tenant: Option<TenantId>,
    /// One more segment in its session keys.
    pub workspace: Option<OpaqueId>,
    /// Does it take and send nothing for now?
    pub is_paused: bool,
    /// Who may write.
    pub policy: Policy,
    /// The settings of its type.
    pub settings: Box<dyn ChannelSettings>,
    /// Equal for entries that are equal but for their policy: their connections survive a reload.
    pub fingerprint: [u8; 32],
    pub(super) place: Option<Place>,
}

impl Entry {
    /// Takes an entry's keys. `others` are the entries before it.
    pub(super) fn read(section: &mut Section<'_>, scope: DmScope, others: &[Self]) -> Option<Self> {
        let channel_type = read_type(section)?;
        let channel = ChannelType::new(channel_type.descriptor.key_tag).ok()?;
        let id = section.take_parsed("id", |text: &str| EntryId::new(text));
        let account = section.take_parsed("account", |text: &str| OpaqueId::new(text));
        let tenant = section.take_parsed("tenant_id", |text: &str| TenantId::new(text));
        let workspace = section.take_parsed("workspace_id", |text: &str| OpaqueId::new(text));
        let per_minute = match channel_type.descriptor.sender {
            Sender::Vendor | Sender::Page => identity::USUAL_PER_MINUTE,
            // It speaks for as many as it likes.
            Sender::Program => None,
        };
        let is_paused = section.take_bool("enabled") == Some(false);
        let policy = Policy::read(section, scope, per_minute);
        let settings = (channel_type.read)(section);
        let id = match id {
            Some(id) => id,
            None => numbered(channel_type.descriptor.type_name, others)?,
        };
        if id.as_str() == crate::id::API_ENTRY || others.iter().any(|other| other.id == id) {
            let message = format!("the id {:?} is taken", id.as_str());
            section.problem(Severity::Error, "id", message, Some("give each channel an id of its own".to_owned()));
        }
        let fingerprint = section.fingerprint_without(&Policy::KEYS);
        let place = Some(section.place(""));
        Some(Self {
            id,
            channel_type,
            channel,
            account,
            tenant,
            workspace,
            is_paused,
            policy,
            settings: settings?,
            fingerprint,
            place,
        })
    }

    /// Is it the one that no file names?
    #[must_use]
    pub fn is_embedded(&self) -> bool {
        self.place.is_none()
    }

    /// The entry of a gateway that configures none: a web chat that shows that something works.
    pub(super) fn embedded(scope: DmScope) -> Option<Self> {
        let document = Document::parse_toml("embedded", "type = \"webchat\"").ok()?;
        let entry = Self::read(&mut document.root(&NoVariables), scope, &[])?;
        // A first start must show something that works, so it is open under `main` too. It is in no file: nothing
        // about it can be mended there.
        let policy = Policy { dm: Access::Open, ..entry.policy };
        Some(Self { place: None, policy, ..entry })
    }
}

fn read_type(section: &mut Section<'_>) -> Option<&'static Type> {
    let known = || registry::TYPES.iter().map(|t| t.descriptor.type_name).collect::<Vec<_>>().join(", ");
    let channel_type = section.take_parsed("type", |name: &str| {
        registry::find(name).ok_or_else(|| format!("{name:?} is not a channel type; there are {}", known()))
    });
    if channel_type.is_none() {
        section.missing("type", &format!("write one of {}", known()));
    }
    channel_type
}

fn numbered(type_name: &str, others: &[Entry]) -> Option<EntryId> {
    let is_free = |id: &str| others.iter().all(|other| other.id.as_str() != id);
    EntryId::new(default_id(type_name, is_free)?).ok()
}

/// The id of an entry that names none: its type, numbered when it repeats.
pub(super) fn default_id(type_name: &str, is_free: impl Fn(&str) -> bool) -> Option<String> {
    let names = (2..).map(|n| format!("{type_name}-{n}"));
    std::iter::once(type_name.to_owned()).chain(names).find(|name| is_free(name))
}
