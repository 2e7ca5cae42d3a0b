//! Admission: may this message start anything? Pure.
//!
//! Decided once, here, for every channel; adapters cannot decide it. A policy lets in a *subject*: the peer of a
//! direct chat, or a group with everybody in it. Neither gives rights to the other, and whoever was let in by a
//! pairing code is no owner. Threads follow what they hang on.
//! Called by `gateway/`; knows `message`, `session` and `document`.

mod pairing;

pub use pairing::{APPROVED, MAX_PENDING, PAIRING_MS, PairingCode, TOO_FAST};

use std::num::NonZeroU32;

use crate::document::Section;
use crate::id::OpaqueId;
use crate::message::{Author, ChatKind, Identity, Inbound, Subject};
use crate::session::{self, DmScope};

/// Messages a minute from one peer, unless the operator says otherwise: faster than people type.
pub const USUAL_PER_MINUTE: Option<NonZeroU32> = NonZeroU32::new(30);
const MAX_PER_MINUTE: u64 = 100_000;

/// Who is let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Access {
    /// Everybody.
    Open,
    /// Those on the entry's list; to others a code is offered, which the operator can approve.
    Pairing,
    /// Those on the entry's list.
    Allowlist,
    /// Nobody.
    Off,
}

impl Access {
    const CHOICES: [(&'static str, Self); 4] =
        [("open", Self::Open), ("pairing", Self::Pairing), ("allowlist", Self::Allowlist), ("off", Self::Off)];
}

/// The policies of a channel entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Policy {
    /// Direct messages.
    pub dm: Access,
    /// Groups and their threads.
    pub group: Access,
    /// In groups: must the bot be mentioned? In threads where it has spoken it need not.
    pub requires_mention: bool,
    /// User ids that are let in, as the vendor writes them.
    pub allow: Vec<OpaqueId>,
    /// Groups that are let in, as addresses write them: `room`, or `server:room`.
    pub allow_groups: Vec<String>,
    /// Messages a minute from one peer. `None`: any number.
    pub per_minute: Option<NonZeroU32>,
}

impl Policy {
    /// The keys that it is read from: no adapter has one of them.
    pub const KEYS: [&str; 6] =
        ["dm_policy", "group_policy", "require_mention", "allow", "allow_groups", "messages_per_minute"];

    /// Takes an entry's keys. Under `main` every direct message shares one conversation, so strangers stay out
    /// unless the entry lets them in. `per_minute` is the usual limit of such a channel.
    pub fn read(section: &mut Section<'_>, scope: DmScope, per_minute: Option<NonZeroU32>) -> Self {
        // When the bot answers in groups is a question of its own.
        let helps = [
            ("mention", "write group_policy = \"open\" and require_mention = true"),
            ("always", "write group_policy = \"open\" and require_mention = false"),
        ];
        let embedded = Self::embedded(scope);
        Self {
            dm: section.take_choice("dm_policy", &Access::CHOICES).unwrap_or(embedded.dm),
            group: section.take_choice_or_help("group_policy", &Access::CHOICES, &helps).unwrap_or(embedded.group),
            requires_mention: section.take_bool("require_mention").unwrap_or(embedded.requires_mention),
            allow: section.take_parsed_list("allow", |id: &str| OpaqueId::new(id)),
            allow_groups: section.take_parsed_list("allow_groups", group),
            per_minute: take_limit(section, "messages_per_minute", per_minute),
        }
    }

    /// What holds without those keys.
    #[must_use]
    pub fn embedded(scope: DmScope) -> Self {
        let dm = if scope == DmScope::Main { Access::Pairing } else { Access::Open };
        Self {
            dm,
            group: Access::Open,
            requires_mention: true,
            allow: Vec::new(),
            allow_groups: Vec::new(),
            per_minute: None,
        }
    }

    /// Whose approval counts for a message from here; `None`: nobody's does.
    #[must_use]
    pub fn asks_approval(&self, identity: &Identity) -> Option<Subject> {
        let access = if identity.parent == ChatKind::Direct { self.dm } else { self.group };
        if access == Access::Pairing { subject(identity) } else { None }
    }

    fn lists(&self, owners: &[String], identity: &Identity) -> bool {
        if identity.parent == ChatKind::Direct {
            let Some(peer) = session::peer(identity) else { return false };
            return self.allow.contains(peer) || owners.contains(&format!("{}:{peer}", identity.channel));
        }
        let Some(room) = &identity.room else { return false };
        let names = [session::room_name(room), session::group_name(identity.server.as_ref(), room)];
        names.iter().any(|name| self.allow_groups.contains(name))
    }
}

/// Takes a limit in messages a minute; 0 is none.
pub fn take_limit(section: &mut Section<'_>, key: &str, absent: Option<NonZeroU32>) -> Option<NonZeroU32> {
    match section.take_integer(key, 0..=MAX_PER_MINUTE) {
        Some(limit) => u32::try_from(limit).ok().and_then(NonZeroU32::new),
        None => absent,
    }
}

fn group(text: &str) -> Result<String, String> {
    if text.contains('*') {
        return Err(format!("{text:?}: a group is named exactly; `*` has no meaning here"));
    }
    Ok(session::as_typed(text))
}

/// Who would be let in with this message.
#[must_use]
pub fn subject(identity: &Identity) -> Option<Subject> {
    match identity.parent {
        ChatKind::Direct => session::peer(identity).map(|peer| Subject::Peer(peer.to_string())),
        ChatKind::Group | ChatKind::Thread => {
            let room = identity.room.as_ref()?;
            Some(Subject::Group(session::group_name(identity.server.as_ref(), room)))
        }
    }
}

/// What is known of a message besides itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Known {
    /// The bot has spoken in its thread.
    pub thread: bool,
    /// The operator has approved its subject.
    pub approval: bool,
}

/// May the message in?
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// Yes.
    Admit,
    /// It is not for the bot. Nothing is wrong.
    Ignore(&'static str),
    /// The policy keeps this peer out.
    Refuse(&'static str),
    /// Not before the operator has approved this one.
    Pair(Subject),
}

/// Decides over a message. `owners` are `type:id`.
#[must_use]
pub fn admit(policy: &Policy, owners: &[String], inbound: &Inbound, known: Known) -> Verdict {
    let identity = &inbound.identity;
    match inbound.author {
        Author::Own => return Verdict::Ignore("it is our own"),
        Author::Bot => return Verdict::Ignore("another bot wrote it"),
        Author::Peer => {}
    }
    if inbound.text.trim().is_empty() && inbound.attachments.is_empty() {
        return Verdict::Ignore("it is empty");
    }
    let is_direct = identity.parent == ChatKind::Direct;
    if !is_direct && policy.requires_mention && !inbound.mentions_bot && !known.thread {
        return Verdict::Ignore("the bot is not mentioned");
    }
    match if is_direct { policy.dm } else { policy.group } {
        Access::Open => Verdict::Admit,
        Access::Pairing | Access::Allowlist if policy.lists(owners, identity) => Verdict::Admit,
        Access::Pairing if known.approval => Verdict::Admit,
        Access::Pairing if !is_direct && !inbound.mentions_bot => {
            Verdict::Ignore("the group is not let in, and the bot is not mentioned")
        }
        Access::Pairing => match subject(identity) {
            Some(subject) => Verdict::Pair(subject),
            None => Verdict::Refuse("nobody can tell who wrote it"),
        },
        Access::Allowlist if is_direct => Verdict::Refuse("this peer is not on the list of those who may write"),
        Access::Allowlist => Verdict::Refuse("this group is not on the list of those that are answered"),
        Access::Off if is_direct => Verdict::Refuse("direct messages are switched off"),
        Access::Off => Verdict::Refuse("groups are switched off"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::{Document, NoVariables};
    use crate::testing::inbound;

    fn check_known(change: impl FnOnce(&mut Policy, &mut Inbound), known: Known, expected: Verdict) {
        let (mut policy, mut inbound) = (Policy::embedded(DmScope::PerChannelPeer), inbound("hook", "u1", "hello"));
        change(&mut policy, &mut inbound);
        assert_eq!(admit(&policy, &["webhook:boss".to_owned()], &inbound, known), expected);
    }

    fn check(change: impl FnOnce(&mut Policy, &mut Inbound), expected: Verdict) {
        check_known(change, Known::default(), expected);
    }

    const APPROVED: Known = Known { thread: false, approval: true };
    const IN_THREAD: Known = Known { thread: true, approval: false };

    fn id(id: &str) -> Option<OpaqueId> {
        OpaqueId::new(id).ok()
    }

    fn peer(id: &str) -> Verdict {
        Verdict::Pair(Subject::Peer(id.to_owned()))
    }

    fn paired_group(id: &str) -> Verdict {
        Verdict::Pair(Subject::Group(id.to_owned()))
    }

    /// Makes it a message in a group.
    fn into_group(inbound: &mut Inbound, server: &str, room: &str, mentions_bot: bool) {
        let identity = &mut inbound.identity;
        (identity.kind, identity.parent) = (ChatKind::Group, ChatKind::Group);
        (identity.server, identity.room) = (id(server), id(room));
        inbound.mentions_bot = mentions_bot;
    }

    fn into_thread(inbound: &mut Inbound, parent: ChatKind) {
        (inbound.identity.kind, inbound.identity.parent) = (ChatKind::Thread, parent);
        inbound.identity.thread = id("t1");
    }

    #[test]
    fn peers_may_write() {
        check(|_, _| {}, Verdict::Admit);
    }

    #[test]
    fn echoes_bots_and_silence_are_not_answered() {
        check(|_, i| i.author = Author::Own, Verdict::Ignore("it is our own"));
        check(|_, i| i.author = Author::Bot, Verdict::Ignore("another bot wrote it"));
        check(|_, i| i.text = " \n".into(), Verdict::Ignore("it is empty"));
        check(|p, i| (p.dm, i.author) = (Access::Pairing, Author::Bot), Verdict::Ignore("another bot wrote it"));
    }

    #[test]
    fn an_allowlist_lets_in_who_is_on_it_and_owners() {
        let refused = Verdict::Refuse("this peer is not on the list of those who may write");
        check(|p, _| p.dm = Access::Allowlist, refused.clone());
        check(|p, i| (p.dm, i.identity.user) = (Access::Allowlist, id("boss")), Verdict::Admit);
        check(|p, _| (p.dm, p.allow) = (Access::Allowlist, id("u1").into_iter().collect()), Verdict::Admit);
        check(|p, _| (p.dm, p.allow) = (Access::Allowlist, id("U1").into_iter().collect()), refused.clone());
        check(|p, i| (p.dm, i.identity.user) = (Access::Allowlist, None), refused.clone());
        check_known(|p, _| p.dm = Access::Allowlist, APPROVED, refused);
    }

    #[test]
    fn pairing_lets_in_owners_those_on_the_list_and_those_who_were_approved() {
        check(|p, _| p.dm = Access::Pairing, peer("u1"));
        check(|p, i| (p.dm, i.identity.user) = (Access::Pairing, id("boss")), Verdict::Admit);
        check(|p, _| (p.dm, p.allow) = (Access::Pairing, id("u1").into_iter().collect()), Verdict::Admit);
        check_known(|p, _| p.dm = Access::Pairing, APPROVED, Verdict::Admit);
        check(
            |p, i| (p.dm, i.identity.user) = (Access::Pairing, None),
            Verdict::Refuse("nobody can tell who wrote it"),
        );
        check(|p, i| (p.dm, i.identity.user, i.identity.room) = (Access::Pairing, None, id("chat_7")), peer("chat_7"));
    }

    #[test]
    fn under_main_strangers_stay_out() {
        assert_eq!(Policy::embedded(DmScope::Main).dm, Access::Pairing);
        assert_eq!(Policy::embedded(DmScope::PerPeer).dm, Access::Open);
    }

    #[test]
    fn a_group_is_answered_when_the_bot_is_mentioned_or_has_spoken_in_the_thread() {
        let not_mentioned = Verdict::Ignore("the bot is not mentioned");
        check(|_, i| into_group(i, "s", "c", true), Verdict::Admit);
        check(|_, i| into_group(i, "s", "c", false), not_mentioned.clone());
        check_known(|_, i| into_group(i, "s", "c", false), IN_THREAD, Verdict::Admit);
        check(|p, i| (p.requires_mention, _) = (false, into_group(i, "s", "c", false)), Verdict::Admit);
        check(|p, i| (p.group, _) = (Access::Off, into_group(i, "s", "c", false)), not_mentioned);
        let off = Verdict::Refuse("groups are switched off");
        check(|p, i| (p.group, _) = (Access::Off, into_group(i, "s", "c", true)), off);
    }

    #[test]
    fn a_list_of_groups_names_rooms_or_servers_and_rooms() {
        let check_list = |listed: &str, server: &str, room: &str, is_admitted: bool| {
            let refused = Verdict::Refuse("this group is not on the list of those that are answered");
            check(
                |p, i| {
                    (p.group, p.allow_groups) = (Access::Allowlist, vec![group(listed).unwrap()]);
                    into_group(i, server, room, true);
                },
                if is_admitted { Verdict::Admit } else { refused },
            );
        };
        check_list("C1", "T1", "C1", true);
        check_list("C1", "", "C1", true);
        check_list("T1:C1", "T1", "C1", true);
        check_list("T1:C1", "T2", "C1", false);
        check_list("T1:C1", "", "C1", false);
        check_list("C1", "T1", "c1", false);
        check_list("T1", "T1", "C1", false);
        check_list("#general", "net", "#general", true);
        check_list("!abc:example.org", "", "!abc:example.org", true);
        // What looks alike is not the same.
        check_list("a:b", "", "a:b", false);
        check_list("a%3Ab", "", "a:b", true);
        check_list("a:b:c", "a", "b:c", false);
        check_list("!abc:example.org", "!abc", "example.org", false);
    }

    #[test]
    fn an_empty_list_admits_nobody_and_lists_of_peers_and_groups_do_not_mix() {
        let refused = Verdict::Refuse("this group is not on the list of those that are answered");
        check(|p, i| (p.group, _) = (Access::Allowlist, into_group(i, "s", "c", true)), refused.clone());
        check(
            |p, i| {
                (p.group, p.allow) = (Access::Allowlist, id("u1").into_iter().chain(id("c")).collect());
                into_group(i, "s", "c", true);
            },
            refused,
        );
        check(
            |p, _| (p.dm, p.allow_groups) = (Access::Allowlist, vec!["u1".to_owned()]),
            Verdict::Refuse("this peer is not on the list of those who may write"),
        );
    }

    #[test]
    fn an_owner_in_a_group_does_not_let_the_group_in() {
        check(
            |p, i| {
                (p.group, i.identity.user) = (Access::Pairing, id("boss"));
                into_group(i, "s", "c", true);
            },
            paired_group("s:c"),
        );
    }

    #[test]
    fn a_group_gets_a_code_when_it_addresses_the_bot() {
        let silent = Verdict::Ignore("the group is not let in, and the bot is not mentioned");
        check(|p, i| (p.group, _) = (Access::Pairing, into_group(i, "s", "c", true)), paired_group("s:c"));
        check(|p, i| (p.group, _) = (Access::Pairing, into_group(i, "", "c", true)), paired_group("c"));
        check(
            |p, i| {
                (p.group, p.requires_mention) = (Access::Pairing, false);
                into_group(i, "s", "c", false);
            },
            silent.clone(),
        );
        check_known(|p, i| (p.group, _) = (Access::Pairing, into_group(i, "s", "c", false)), IN_THREAD, silent);
        check_known(|p, i| (p.group, _) = (Access::Pairing, into_group(i, "s", "c", true)), APPROVED, Verdict::Admit);
    }

    #[test]
    fn a_thread_follows_what_it_hangs_on() {
        check(
            |p, i| {
                p.group = Access::Pairing;
                into_group(i, "s", "c", true);
                into_thread(i, ChatKind::Group);
            },
            paired_group("s:c"),
        );
        check(
            |p, i| {
                (p.dm, p.group) = (Access::Pairing, Access::Off);
                into_thread(i, ChatKind::Direct);
            },
            peer("u1"),
        );
    }

    fn read(toml: &str) -> Result<Policy, String> {
        let document = Document::parse_toml("t", toml).unwrap();
        let per_minute = NonZeroU32::new(30);
        let policy = Policy::read(&mut document.root(&NoVariables), DmScope::PerChannelPeer, per_minute);
        match document.problems().first() {
            None => Ok(policy),
            Some(problem) => Err(problem.help.clone().unwrap_or_else(|| problem.message.clone())),
        }
    }

    #[test]
    fn what_was_said_by_group_policy_is_said_by_require_mention() {
        let help = |mention| Err(format!("write group_policy = \"open\" and require_mention = {mention}"));
        assert_eq!(read("group_policy = \"mention\""), help(true));
        assert_eq!(read("groupPolicy = \"always\""), help(false));
        assert_eq!(read("group_policy = \"opne\""), Err("did you mean \"open\"?".to_owned()));
        assert_eq!(read("require_mention = false").map(|p| p.requires_mention), Ok(false));
    }

    #[test]
    fn a_limit_of_zero_is_none() {
        let check = |toml, expected| assert_eq!(read(toml).map(|p| p.per_minute), Ok(NonZeroU32::new(expected)));
        check("", 30);
        check("messages_per_minute = 0", 0);
        check("messages_per_minute = 5", 5);
    }

    #[test]
    fn a_pattern_is_no_group() {
        assert!(read("allow_groups = [\"T1:*\"]").unwrap_err().contains("`*` has no meaning"));
    }
}
