//! The channel types there are. A new one is one line in [`TYPES`].

use super::form::Form;
use super::{Channel, Descriptor, slack, webchat, webhook};
use crate::document::Section;
use crate::id::EntryId;
use std::fmt;
use std::sync::Arc;

/// One channel type: what is true of it, and how its part of a `[[channels]]` entry is read.
#[derive(Debug)]
pub struct Type {
    /// What is true of the type.
    pub descriptor: &'static Descriptor,
    /// Takes the type's own keys. `None`: a problem was noted.
    pub read: fn(&mut Section<'_>) -> Option<Box<dyn Settings>>,
    /// How somebody adds one.
    pub form: &'static Form,
}

/// What an adapter gets from the gateway besides its own settings.
#[derive(Debug)]
pub struct Setup {
    /// The entry that it serves.
    pub entry: EntryId,
    /// A key of this device for this entry, the same after every restart: for cookies and the like.
    pub signing_key: [u8; 32],
    /// For outgoing requests. Has a connect timeout; set a request's own timeout where it is made.
    pub http: reqwest::Client,
}

/// The settings of one entry, ready to become an adapter.
pub trait Settings: Send + Sync + fmt::Debug {
    /// Makes the adapter. Opens nothing yet.
    fn open(&self, setup: Setup) -> Arc<dyn Channel>;

    /// What the operator calls it where its peers read that: often the business.
    fn title(&self) -> Option<&str> {
        None
    }
}

/// All channel types, in the order of the documents.
pub static TYPES: &[&Type] = &[&webchat::TYPE, &slack::TYPE, &webhook::TYPE];

/// The type that the configuration calls `name`, by its name or its key tag.
#[must_use]
pub fn find(name: &str) -> Option<&'static Type> {
    TYPES.iter().copied().find(|t| t.descriptor.type_name == name || t.descriptor.key_tag == name)
}

/// How session keys call a type, whether or not this build has an adapter for it.
#[must_use]
pub fn key_tag(type_name: &str) -> &str {
    match find(type_name) {
        Some(found) => found.descriptor.key_tag,
        // Customary in keys before there is an adapter here.
        None if type_name == "whatsapp" => "wa",
        None => type_name,
    }
}
