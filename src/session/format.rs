//! `session.keyFormat`: how the operator wants keys to look.

use std::fmt;

use super::encode::{GROUP, Reserved};
use crate::id::{API_ENTRY, SessionKey};

/// A placeholder of a key format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Field {
    /// `{tenant_id}`
    Tenant,
    /// `{workspace_id}`
    Workspace,
    /// `{channel}`: the type.
    Channel,
    /// `{account}`
    Account,
    /// `{server_id}`
    Server,
    /// `{channel_id}`
    Room,
    /// `{thread_id}`
    Thread,
    /// `{user_id}`
    User,
}

impl Field {
    /// Every placeholder, in the order of the documents.
    pub const ALL: [Self; 8] = [
        Self::Tenant,
        Self::Workspace,
        Self::Channel,
        Self::Account,
        Self::Server,
        Self::Room,
        Self::Thread,
        Self::User,
    ];

    /// The name between the braces.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Tenant => "tenant_id",
            Self::Workspace => "workspace_id",
            Self::Channel => "channel",
            Self::Account => "account",
            Self::Server => "server_id",
            Self::Room => "channel_id",
            Self::Thread => "thread_id",
            Self::User => "user_id",
        }
    }

    fn parse(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|field| field.name() == name)
    }
}

/// Why a text is not a key format. Each says what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// A name that is no placeholder.
    #[error("{{{}}} is not a placeholder; did you mean {{{nearest}}}? There are {}", name.escape_debug(), Placeholders)]
    UnknownPlaceholder {
        /// As written.
        name: String,
        /// The most similar one.
        nearest: &'static str,
    },
    /// A brace without its partner.
    #[error("a `{{` or `}}` without its partner; placeholders look like {{user_id}}")]
    Brace,
    /// Two placeholders touch: nobody could tell where one id ends.
    #[error(
        "{{{0}}} and {{{1}}} have nothing between them, so two conversations could get the same key; write `:` between them"
    )]
    Touching(&'static str, &'static str),
    /// What stands between two placeholders could be part of an id.
    #[error("the text {0:?} between two placeholders must begin with one of : - _ . ~ + ! @")]
    Separator(String),
    /// A character that keys cannot hold.
    #[error("{0:?} cannot stand in a key; letters, digits and : - _ . ~ + ! @ can")]
    Character(char),
    /// A text that keys use for something else.
    #[error("the text {0:?} means something else in keys; choose another")]
    ReservedWord(&'static str),
    /// The same placeholder twice.
    #[error("{{{0}}} stands there twice")]
    Repeated(&'static str),
    /// No placeholder at all: every conversation would be one.
    #[error(
        "there is no placeholder in it, so all direct messages would share one conversation; set dm_scope = \"main\" if that is what you want"
    )]
    NoPlaceholder,
}

struct Placeholders;

impl fmt::Display for Placeholders {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, field) in Field::ALL.into_iter().enumerate() {
            let comma = if n == 0 { "" } else { ", " };
            write!(f, "{comma}{{{}}}", field.name())?;
        }
        Ok(())
    }
}

/// A placeholder and the text between it and the one before.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Slot {
    /// Empty for the first placeholder.
    pub(super) separator: Box<str>,
    /// Which id stands here.
    pub(super) field: Field,
}

/// A checked key format.
///
/// A `tenant-{tenant_id}-` in front is what every tenant's key begins with anyway, so it is taken off;
/// `{thread_id}` is taken out, because a thread is always the key of its parent plus a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyFormat {
    text: Box<str>,
    /// In front of the first placeholder.
    pub(super) prefix: Box<str>,
    pub(super) slots: Vec<Slot>,
    /// Behind the last placeholder.
    pub(super) suffix: Box<str>,
    /// The first bytes of all separators.
    pub(super) reserved: Reserved,
    names_tenant: bool,
}

impl KeyFormat {
    /// What keys look like unless the operator says otherwise.
    pub const DEFAULT: &'static str = "{channel}:{server_id}:{channel_id}:{user_id}";

    /// Checks a format.
    ///
    /// # Errors
    /// When a placeholder is unknown or two conversations could get one key by accident.
    pub fn parse(text: &str) -> Result<Self, FormatError> {
        let (mut prefix, mut slots, suffix) = split(text)?;
        let names_tenant = slots.iter().any(|slot| slot.field == Field::Tenant);
        if &*prefix == "tenant-"
            && slots.first().is_some_and(|slot| slot.field == Field::Tenant)
            && let Some(rest) = slots.get(1).and_then(|slot| slot.separator.strip_prefix('-'))
        {
            prefix = rest.into();
            slots.remove(0);
        }
        slots.retain(|slot| slot.field != Field::Thread);
        if prefix.starts_with("tenant-") {
            return Err(FormatError::ReservedWord("tenant-"));
        }
        // So begin the conversations of the HTTP API, whatever the format of chats is.
        if prefix.split_once(':').is_some_and(|(first, _)| first == API_ENTRY) {
            return Err(FormatError::ReservedWord(API_ENTRY));
        }
        // All direct messages, and linked people.
        for word in ["main", "peer"] {
            if prefix.split(':').next() == Some(word) {
                return Err(FormatError::ReservedWord(word));
            }
        }
        if let Some(first) = slots.first_mut() {
            first.separator = Box::default();
        } else {
            return Err(FormatError::NoPlaceholder);
        }
        let mut reserved = Reserved::default();
        for first in slots.iter().filter_map(|slot| slot.separator.bytes().next()) {
            reserved.add(first);
        }
        Ok(Self { text: text.into(), prefix, slots, suffix, reserved, names_tenant })
    }

    /// What direct keys look like under `dmScope: per-peer` beside groups of this format.
    ///
    /// What separates ids there is escaped here: a group without a mark has two separators or more, a peer has one.
    #[expect(clippy::expect_used, reason = "a constant that a test parses")]
    pub(super) fn per_peer(&self) -> Self {
        let plain = Self::parse("{channel}:{user_id}").expect("the format of per-peer is a format");
        Self { reserved: plain.reserved.and(self.reserved), ..plain }
    }

    /// As the operator wrote it.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Does the format hold this placeholder, so that the key shows that id?
    #[must_use]
    pub fn has(&self, field: Field) -> bool {
        match field {
            Field::Tenant => self.names_tenant,
            _ => self.slots.iter().any(|slot| slot.field == field),
        }
    }

    /// How many ids a group shows when none is absent, if a group without a mark can be told from a direct chat.
    ///
    /// Without its user, `{channel}:{server_id}:{channel_id}:{user_id}` of a group reads like that of a direct
    /// chat without its server. With two ids or more, the last tells them apart: see `key`. Not where what stands
    /// between ids is longer than one character: the rest of it could be the beginning of an id, or make one a user's.
    pub(super) fn n_plain_group(&self) -> Option<usize> {
        let (last, others) = self.slots.split_last()?;
        let n = others.iter().filter(|slot| slot.field != Field::Channel && slot.field != Field::Tenant).count();
        let is_short = self.slots.iter().all(|slot| slot.separator.len() <= 1);
        (last.field == Field::User && n >= 2 && is_short).then_some(n)
    }

    /// Does a key begin with the channel's type, followed by `:` or nothing, whichever ids drop out between?
    ///
    /// A type shows no `-`, so the last `-` before it ends the tenant, who may then show its own.
    pub(super) fn is_tag_first(&self) -> bool {
        let is_apart = |text: &str| text.starts_with(':');
        self.prefix.is_empty()
            && self.slots.first().is_some_and(|slot| slot.field == Field::Channel)
            && self.slots.iter().skip(1).all(|slot| is_apart(&slot.separator))
            && (self.suffix.is_empty() || is_apart(&self.suffix))
    }
}

impl Default for KeyFormat {
    #[expect(clippy::expect_used, reason = "a constant that a test parses")]
    fn default() -> Self {
        Self::parse(Self::DEFAULT).expect("the default format is a format")
    }
}

type Parts = (Box<str>, Vec<Slot>, Box<str>);

fn split(text: &str) -> Result<Parts, FormatError> {
    let mut slots: Vec<Slot> = Vec::new();
    let (prefix, mut rest) = text.split_at(text.find('{').unwrap_or(text.len()));
    check_literal(prefix)?;
    let mut separator = "";
    while let Some(after) = rest.strip_prefix('{') {
        let (name, after) = after.split_once('}').ok_or(FormatError::Brace)?;
        let field = Field::parse(name).ok_or_else(|| unknown_placeholder(name))?;
        if slots.iter().any(|slot| slot.field == field) {
            return Err(FormatError::Repeated(field.name()));
        }
        if let Some(before) = slots.last() {
            check_separator(separator, before.field, field)?;
        }
        slots.push(Slot { separator: separator.into(), field });
        (separator, rest) = after.split_at(after.find('{').unwrap_or(after.len()));
        check_literal(separator)?;
    }
    Ok((prefix.into(), slots, separator.into()))
}

fn unknown_placeholder(name: &str) -> FormatError {
    let similarity = |field: &Field| strsim::jaro_winkler(field.name(), name);
    let nearest = Field::ALL.into_iter().max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
    FormatError::UnknownPlaceholder { name: name.to_owned(), nearest: nearest.map_or("user_id", Field::name) }
}

fn check_separator(separator: &str, before: Field, after: Field) -> Result<(), FormatError> {
    if separator.is_empty() {
        return Err(FormatError::Touching(before.name(), after.name()));
    }
    if separator.starts_with(|c: char| c.is_ascii_alphanumeric()) {
        return Err(FormatError::Separator(separator.to_owned()));
    }
    Ok(())
}

fn check_literal(literal: &str) -> Result<(), FormatError> {
    if literal.contains('}') {
        return Err(FormatError::Brace);
    }
    let is_allowed = |c: char| u8::try_from(c).is_ok_and(|byte| byte == b':' || SessionKey::is_safe(byte));
    if let Some(c) = literal.chars().find(|c| !is_allowed(*c)) {
        return Err(FormatError::Character(c));
    }
    if literal.split(':').any(|segment| segment == GROUP) {
        return Err(FormatError::ReservedWord(GROUP));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(text: &str, expected: Result<(), FormatError>) {
        assert_eq!(KeyFormat::parse(text).map(|_| ()), expected, "{text}");
    }

    #[test]
    fn formats_of_the_guides_are_formats() {
        check(KeyFormat::DEFAULT, Ok(()));
        check("tenant-{tenant_id}-{channel}:{server_id}:{channel_id}:{user_id}", Ok(()));
        check("{channel}:{server_id}:{channel_id}", Ok(()));
        check("kyra-user-{user_id}", Ok(()));
    }

    #[test]
    fn a_tenant_in_front_is_what_keys_have_anyway() {
        let plain = KeyFormat::default();
        let tenant = KeyFormat::parse("tenant-{tenant_id}-{channel}:{server_id}:{channel_id}:{user_id}").unwrap();
        assert_eq!(tenant.slots, plain.slots);
        assert!(tenant.has(Field::Tenant) && !plain.has(Field::Tenant));
    }

    #[test]
    fn ambiguous_formats_are_refused() {
        check("{channel}{user_id}", Err(FormatError::Touching("channel", "user_id")));
        check("{channel}x{user_id}", Err(FormatError::Separator("x".into())));
        check("{channel}:{channel}", Err(FormatError::Repeated("channel")));
        check("everyone", Err(FormatError::NoPlaceholder));
        check("tenant-42-{channel}", Err(FormatError::ReservedWord("tenant-")));
        check("api:user_{user_id}", Err(FormatError::ReservedWord("api")));
        check("tenant-{tenant_id}-api:{channel}:{user_id}", Err(FormatError::ReservedWord("api")));
        check("api-{channel}:{user_id}", Ok(()));
        check("peer:{user_id}", Err(FormatError::ReservedWord("peer")));
        check("main:{channel}", Err(FormatError::ReservedWord("main")));
        check("main-{channel}", Ok(()));
        check("{channel}:group:{user_id}", Err(FormatError::ReservedWord("group")));
        check("{channel} {user_id}", Err(FormatError::Character(' ')));
        check("{channel}={user_id}", Err(FormatError::Character('=')));
        check("{channel", Err(FormatError::Brace));
        check("channel}", Err(FormatError::Brace));
    }

    #[test]
    fn an_unknown_placeholder_names_the_nearest() {
        let error = KeyFormat::parse("{channel}:{userid}").unwrap_err();
        assert!(error.to_string().contains("did you mean {user_id}?"), "{error}");
    }

    #[test]
    fn a_thread_placeholder_leaves_with_its_separator() {
        let with = KeyFormat::parse("{channel}:{channel_id}:{thread_id}").unwrap();
        assert_eq!(with.slots, KeyFormat::parse("{channel}:{channel_id}").unwrap().slots);
    }
}
