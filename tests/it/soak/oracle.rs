//! Who may hear whom: the rules of the contract once more, without the product's resolver.

use super::place::{Kind, Place};

/// How direct messages are kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Scope {
    Main,
    PerPeer,
    PerChannelPeer,
}

impl Scope {
    /// As the configuration calls it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Main => "main",
            Self::PerPeer => "per-peer",
            Self::PerChannelPeer => "per-channel-peer",
        }
    }
}

/// Those who write here may hear one another.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Conversation {
    pub(crate) tenant: usize,
    ids: Vec<Option<String>>,
}

/// The conversation that a message at this place belongs to.
pub(crate) fn conversation(scope: Scope, place: &Place) -> Conversation {
    let id = |text: &str| Some(text.to_owned());
    let channel = id(match place.kind {
        Kind::HookDirect | Kind::HookGroup | Kind::HookThread => "webhook",
        Kind::Slack => "slack",
        Kind::Chat => "webchat",
        Kind::Api => "api",
    });
    let (server, room, thread) = (place.server.clone(), place.room.clone(), place.thread.clone());
    let user = id(&place.user);
    let ids = match scope {
        // Programs name their conversations themselves.
        _ if place.kind == Kind::Api => vec![channel, user],
        _ if place.is_group => vec![id("group"), channel, server, room, thread],
        Scope::Main => vec![id("main"), thread],
        Scope::PerPeer => vec![id("peer"), channel, user, thread],
        Scope::PerChannelPeer => vec![id("direct"), channel, server, room, user, thread],
    };
    Conversation { tenant: place.tenant, ids }
}

/// Where an answer to a message at this place must arrive: nowhere else.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Address(pub(crate) Vec<Option<String>>);

/// The address of message `n`.
pub(crate) fn address(place: &Place, n: usize) -> Address {
    let (server, room, thread) = (place.server.clone(), place.room.clone(), place.thread.clone());
    let (entry, user) = (Some(place.entry.clone()), Some(place.user.clone()));
    Address(match place.kind {
        Kind::HookDirect | Kind::HookGroup | Kind::HookThread => vec![entry, server, room, thread, user],
        Kind::Slack => vec![entry, room, thread],
        Kind::Chat => vec![entry, user],
        // Every request waits for its own.
        Kind::Api => vec![entry, user, Some(n.to_string())],
    })
}

/// The word that message `n` holds, and nothing else in the world.
pub(crate) fn word(n: usize) -> String {
    format!("zq{n:07}qz")
}

/// The messages whose words are in a text, in their order there, each once.
pub(crate) fn words(text: &str) -> Vec<usize> {
    let mut found = Vec::new();
    for (at, _) in text.match_indices("zq") {
        let rest = text.get(at + 2..at + 11).unwrap_or_default();
        let n: Option<usize> = rest.strip_suffix("qz").and_then(|digits| digits.parse().ok());
        found.extend(n);
    }
    let mut seen = std::collections::HashSet::new();
    found.retain(|n| seen.insert(*n));
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::soak::place::{N_PEERS, ids, place};

    #[test]
    fn words_are_found_wherever_they_stand() {
        let text = format!("x{}{}zq12qz zq{} é{}", word(7), word(0), word(7), word(1_234_567));
        assert_eq!(words(&text), [7, 0, 1_234_567]);
    }

    #[test]
    fn ids_differ() {
        let all: std::collections::HashSet<String> = ids().into_iter().collect();
        assert_eq!(all.len(), N_PEERS);
    }

    fn check(scope: Scope, a: (usize, Kind, usize, usize), b: (usize, Kind, usize, usize), expected: bool) {
        let ids = ids();
        let of = |(tenant, kind, peer, way)| conversation(scope, &place(&ids, tenant, kind, peer, way));
        assert_eq!(of(a) == of(b), expected, "{scope:?}: {a:?} and {b:?}");
    }

    #[test]
    fn scopes_say_who_shares() {
        use Kind::{Api, Chat, HookDirect, HookGroup, HookThread, Slack};
        use Scope::{Main, PerChannelPeer, PerPeer};
        for scope in [Main, PerPeer, PerChannelPeer] {
            check(scope, (0, HookDirect, 1, 0), (1, HookDirect, 1, 0), false);
            check(scope, (0, HookGroup, 0, 0), (0, HookGroup, 4, 0), true);
            check(scope, (0, HookGroup, 0, 0), (0, HookGroup, 5, 0), false);
            check(scope, (0, HookGroup, 0, 0), (0, HookThread, 0, 0), false);
            check(scope, (0, HookDirect, 1, 0), (0, Api, 1, 0), false);
        }
        check(Main, (0, HookDirect, 1, 0), (0, Chat, 2, 0), true);
        check(PerPeer, (0, HookDirect, 1, 0), (0, Chat, 2, 0), false);
        check(PerPeer, (0, HookDirect, 1, 0), (0, HookDirect, 1, 1), true);
        check(PerPeer, (0, Slack, 0, 0), (0, Slack, 0, 1), true);
        check(PerPeer, (0, Slack, 0, 0), (0, HookDirect, 0, 0), false);
        check(PerChannelPeer, (0, HookDirect, 1, 0), (0, HookDirect, 1, 1), false);
        check(PerChannelPeer, (0, Slack, 0, 0), (0, Slack, 0, 1), false);
    }
}
