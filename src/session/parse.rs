//! Reads a session key back into the ids it was made of.

use super::config::DmScope;
use super::encode::{GROUP, decode, names_a_user};
use super::format::{Field, KeyFormat, Slot};
use super::key::{NAMED, Resolver, short_name};
use crate::id::SessionKey;

/// A key that was taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parsed {
    /// Whose.
    pub tenant: Option<String>,
    /// Workspace of the channel entry.
    pub workspace: Option<String>,
    /// What it names.
    pub body: Body,
    /// Set for a thread.
    pub thread: Option<String>,
}

/// What a key names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// All direct messages.
    Main,
    /// A linked person.
    Peer(String),
    /// A chat.
    Chat(Chat),
}

/// The ids in a key, as far as its format shows them.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Chat {
    /// A group, not a direct chat.
    pub is_group: bool,
    ids: Vec<(Field, String)>,
}

impl Chat {
    #[cfg(test)]
    pub(super) fn of(is_group: bool, ids: impl Iterator<Item = (Field, String)>) -> Self {
        Self { is_group, ids: ids.collect() }
    }

    #[cfg(test)]
    pub(super) fn without(mut self, field: Field) -> Self {
        self.ids.retain(|(f, _)| *f != field);
        self
    }

    /// The id of a field, if the key shows it.
    #[must_use]
    pub fn id(&self, field: Field) -> Option<&str> {
        self.ids.iter().find(|(f, _)| *f == field).map(|(_, id)| id.as_str())
    }
}

/// The key was not made under this configuration.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0} is not a key of the current key format")]
pub struct ParseError(SessionKey);

impl Resolver {
    /// Takes a key apart that this resolver has made.
    ///
    /// # Errors
    /// When it was made under another `keyFormat` or `dmScope`.
    pub fn parse(&self, session_key: &SessionKey) -> Result<Parsed, ParseError> {
        let parsed = if session_key.is_of_notices() { None } else { self.try_parse(session_key.as_str()) };
        parsed.ok_or_else(|| ParseError(session_key.clone()))
    }

    fn try_parse(&self, key: &str) -> Option<Parsed> {
        let (tenant, rest) = self.split_tenant(key)?;
        let (workspace, rest) = match rest.strip_prefix("workspace=") {
            Some(rest) => {
                let (workspace, rest) = rest.split_once(':')?;
                (Some(decode(workspace)?), rest)
            }
            None => (None, rest),
        };
        let (rest, thread) = match rest.split_once(":thread=") {
            Some((rest, thread)) => (rest, Some(decode(thread)?)),
            None => (rest, None),
        };
        let body = if rest == "main" {
            Body::Main
        } else if let Some(name) = rest.strip_prefix("peer:") {
            Body::Peer(decode(name)?)
        } else {
            Body::Chat(self.parse_chat(rest)?)
        };
        Some(Parsed { tenant, workspace, body, thread })
    }

    fn split_tenant<'k>(&self, key: &'k str) -> Option<(Option<String>, &'k str)> {
        let Some(rest) = key.strip_prefix("tenant-") else { return Some((None, key)) };
        let head = rest.split_once(':').map_or(rest, |(head, _)| head);
        let at = match head.find("-workspace=") {
            Some(at) => at,
            None if self.format.is_tag_first() => head.rfind('-')?,
            None => head.find('-')?,
        };
        Some((Some(decode(rest.get(..at)?)?), rest.get(at + 1..)?))
    }

    fn parse_chat(&self, text: &str) -> Option<Chat> {
        let (mut text, mut named) = (text, Vec::new());
        while let Some((front, segment)) = text.rsplit_once(':')
            && let Some((name, id)) = segment.split_once('=')
        {
            let field = NAMED.into_iter().find(|field| short_name(*field) == name)?;
            named.push((field, decode(id)?));
            text = front;
        }
        let group = text.strip_suffix(GROUP).and_then(|front| front.strip_suffix(':'));
        let (text, is_group) = (group.unwrap_or(text), group.is_some());
        // A peer's key has no named ids, and one separator; that of a group has more.
        let peer = || match_format(&self.per_peer, text, false);
        let (is_group, mut ids) = match (is_group, self.scope) {
            (true, _) => (true, match_format(&self.format, text, true)?),
            (false, DmScope::PerPeer)
                if named.is_empty()
                    && let Some(ids) = peer() =>
            {
                (false, ids)
            }
            (false, _) => match self.match_plain_group(text) {
                Some(ids) => (true, ids),
                None => (false, match_format(&self.format, text, false)?),
            },
        };
        ids.append(&mut named);
        ids.sort_by_key(|(field, _)| *field as u8);
        Some(Chat { is_group, ids })
    }
}

impl Resolver {
    /// A group without a mark: all ids are there, and the last is no user's.
    fn match_plain_group(&self, text: &str) -> Option<Vec<(Field, String)>> {
        self.format.n_plain_group()?;
        let (_user, slots) = self.format.slots.split_last()?;
        let slots: Vec<&Slot> = slots.iter().collect();
        let ids = match_slots(&self.format, text, &slots, 0)?;
        ids.last().is_some_and(|(_, last)| !names_a_user(last)).then_some(ids)
    }
}

/// Matches what is in place in a key that says whether it is a group's; any first fields may be absent.
fn match_format(format: &KeyFormat, text: &str, is_group: bool) -> Option<Vec<(Field, String)>> {
    let slots: Vec<&Slot> = format.slots.iter().filter(|slot| !(is_group && slot.field == Field::User)).collect();
    (0..=slots.len()).find_map(|n_dropped| match_slots(format, text, &slots, n_dropped))
}

/// Matches `text` under the assumption that the first `n_dropped` fields are not in their places, unless they always are.
fn match_slots(format: &KeyFormat, text: &str, slots: &[&Slot], n_dropped: usize) -> Option<Vec<(Field, String)>> {
    let is_here = |(n, slot): &(usize, &&Slot)| *n >= n_dropped || matches!(slot.field, Field::Channel | Field::Tenant);
    let here: Vec<&&Slot> = slots.iter().enumerate().filter(is_here).map(|(_, slot)| slot).collect();
    let mut rest = text.strip_prefix(&*format.prefix)?.strip_suffix(&*format.suffix)?;
    let mut ids = Vec::new();
    for (n, slot) in here.iter().enumerate() {
        if n > 0 {
            rest = rest.strip_prefix(&*slot.separator)?;
        }
        let is_federated = format.reserved.allows_federated() && rest.starts_with(['@', '!']);
        let from = if is_federated { rest.find(':')? + 1 } else { 0 };
        let is_end = |c: char| u8::try_from(c).is_ok_and(|byte| format.reserved.has(byte));
        let end = match here.get(n + 1) {
            Some(_) => from + rest.get(from..)?.find(is_end)?,
            None => rest.len(),
        };
        let id = rest.get(..end).filter(|id| !id.is_empty())?;
        if here.get(n + 1).is_none() && rest.get(from..)?.contains(is_end) {
            return None;
        }
        ids.push((slot.field, decode(id)?));
        rest = rest.get(end..)?;
    }
    rest.is_empty().then_some(ids)
}
