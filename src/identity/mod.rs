//! Admission: may this message start anything? Pure.
//!
//! Decided once, here, for every channel; adapters cannot decide it. Pairing will join these policies.
//! Called by `gateway/`; knows `message`, `session` and `document`.

use crate::document::Section;
use crate::id::OpaqueId;
use crate::message::{Author, ChatKind, Inbound};
use crate::session::DmScope;

/// Who may write direct messages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DmPolicy {
    /// Everybody.
    Open,
    /// Owners and those on the entry's `allow` list.
    Allowlist,
    /// Nobody.
    Off,
}

/// When the bot answers in groups.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GroupPolicy {
    /// When it is mentioned, and in threads where it has spoken.
    Mention,
    /// Always.
    Always,
    /// Never.
    Off,
}

/// The policies of a channel entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Direct messages.
    pub dm: DmPolicy,
    /// Groups and their threads.
    pub group: GroupPolicy,
    /// User ids that `allowlist` lets in, as the vendor writes them.
    pub allow: Vec<OpaqueId>,
}

impl Policy {
    /// Takes an entry's keys. Under `main` every direct message shares one conversation, so strangers stay out
    /// unless the entry lets them in by name.
    pub fn read(section: &mut Section<'_>, scope: DmScope) -> Self {
        let dm = [("open", DmPolicy::Open), ("allowlist", DmPolicy::Allowlist), ("off", DmPolicy::Off)];
        let group = [("mention", GroupPolicy::Mention), ("always", GroupPolicy::Always), ("off", GroupPolicy::Off)];
        Self {
            dm: section.take_choice("dm_policy", &dm).unwrap_or(Self::embedded(scope).dm),
            group: section.take_choice("group_policy", &group).unwrap_or(GroupPolicy::Mention),
            allow: section.take_parsed_list("allow", |id: &str| OpaqueId::new(id)),
        }
    }

    /// What holds without those keys.
    #[must_use]
    pub fn embedded(scope: DmScope) -> Self {
        let dm = if scope == DmScope::Main { DmPolicy::Allowlist } else { DmPolicy::Open };
        Self { dm, group: GroupPolicy::Mention, allow: Vec::new() }
    }
}

/// May the message in?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Admit,
    /// It is not for the bot. Nothing is wrong.
    Ignore(&'static str),
    /// The policy keeps this peer out.
    Refuse(&'static str),
}

/// Decides over a message. `owners` are `type:id`; `is_known_thread` says that the bot has spoken in its thread.
#[must_use]
pub fn admit(policy: &Policy, owners: &[String], inbound: &Inbound, is_known_thread: bool) -> Verdict {
    match inbound.author {
        Author::Own => return Verdict::Ignore("it is our own"),
        Author::Bot => return Verdict::Ignore("another bot wrote it"),
        Author::Peer => {}
    }
    if inbound.text.trim().is_empty() && inbound.attachments.is_empty() {
        return Verdict::Ignore("it is empty");
    }
    match inbound.identity.parent {
        ChatKind::Direct => match policy.dm {
            DmPolicy::Open => Verdict::Admit,
            DmPolicy::Allowlist if is_allowed(policy, owners, inbound) => Verdict::Admit,
            DmPolicy::Allowlist => Verdict::Refuse("this peer is not on the list of those who may write"),
            DmPolicy::Off => Verdict::Refuse("direct messages are switched off"),
        },
        ChatKind::Group | ChatKind::Thread => match policy.group {
            GroupPolicy::Always => Verdict::Admit,
            GroupPolicy::Mention if inbound.mentions_bot || is_known_thread => Verdict::Admit,
            GroupPolicy::Mention => Verdict::Ignore("the bot is not mentioned"),
            GroupPolicy::Off => Verdict::Refuse("groups are switched off"),
        },
    }
}

fn is_allowed(policy: &Policy, owners: &[String], inbound: &Inbound) -> bool {
    let Some(user) = &inbound.identity.user else { return false };
    let qualified = format!("{}:{user}", inbound.identity.channel);
    policy.allow.contains(user) || owners.contains(&qualified)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::inbound;

    fn check(change: impl FnOnce(&mut Policy, &mut Inbound), is_known_thread: bool, expected: Verdict) {
        let (mut policy, mut inbound) = (Policy::embedded(DmScope::PerChannelPeer), inbound("hook", "u1", "hello"));
        change(&mut policy, &mut inbound);
        assert_eq!(admit(&policy, &["webhook:boss".to_owned()], &inbound, is_known_thread), expected);
    }

    fn user(id: &str) -> Option<OpaqueId> {
        OpaqueId::new(id).ok()
    }

    #[test]
    fn peers_may_write() {
        check(|_, _| {}, false, Verdict::Admit);
    }

    #[test]
    fn echoes_bots_and_silence_are_not_answered() {
        check(|_, i| i.author = Author::Own, false, Verdict::Ignore("it is our own"));
        check(|_, i| i.author = Author::Bot, false, Verdict::Ignore("another bot wrote it"));
        check(|_, i| i.text = " \n".into(), false, Verdict::Ignore("it is empty"));
    }

    #[test]
    fn an_allowlist_lets_in_who_is_on_it_and_owners() {
        let refused = Verdict::Refuse("this peer is not on the list of those who may write");
        check(|p, _| p.dm = DmPolicy::Allowlist, false, refused);
        check(|p, i| (p.dm, i.identity.user) = (DmPolicy::Allowlist, user("boss")), false, Verdict::Admit);
        check(|p, _| (p.dm, p.allow) = (DmPolicy::Allowlist, user("u1").into_iter().collect()), false, Verdict::Admit);
        check(|p, i| (p.dm, i.identity.user) = (DmPolicy::Allowlist, None), false, refused);
    }

    #[test]
    fn under_main_strangers_stay_out() {
        assert_eq!(Policy::embedded(DmScope::Main).dm, DmPolicy::Allowlist);
    }

    #[test]
    fn a_group_is_answered_when_the_bot_is_mentioned_or_has_spoken_in_the_thread() {
        let group = |i: &mut Inbound, mentions| (i.identity.parent, i.mentions_bot) = (ChatKind::Group, mentions);
        check(|_, i| group(i, true), false, Verdict::Admit);
        check(|_, i| group(i, false), false, Verdict::Ignore("the bot is not mentioned"));
        check(|_, i| group(i, false), true, Verdict::Admit);
        check(|p, i| (p.group, _) = (GroupPolicy::Always, group(i, false)), false, Verdict::Admit);
        check(
            |p, i| (p.group, _) = (GroupPolicy::Off, group(i, true)),
            false,
            Verdict::Refuse("groups are switched off"),
        );
    }
}
