//! Who writes where: two hundred people with ids that were chosen to be taken for one another.

use std::fmt::Write as _;

/// Tenants of every gateway: each begins like another, or like a key.
pub(crate) const TENANTS: [&str; 3] = ["42", "42-webhook", "4 2:%"];

/// People. Each has the same id in every tenant and on every channel.
pub(crate) const N_PEERS: usize = 200;

/// The doors through which they come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Kind {
    HookDirect,
    HookGroup,
    HookThread,
    Slack,
    Chat,
    Api,
}

impl Kind {
    pub(crate) const ALL: [Self; 6] =
        [Self::HookDirect, Self::HookGroup, Self::HookThread, Self::Slack, Self::Chat, Self::Api];
}

/// Where one person writes, as the test knows it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Place {
    pub(crate) kind: Kind,
    /// Of [`TENANTS`].
    pub(crate) tenant: usize,
    /// Of the channel, or the name of an API key.
    pub(crate) entry: String,
    pub(crate) is_group: bool,
    pub(crate) server: Option<String>,
    pub(crate) room: Option<String>,
    pub(crate) thread: Option<String>,
    pub(crate) user: String,
}

/// The ids of all people, all different.
pub(crate) fn ids() -> Vec<String> {
    let odd = [
        "u",
        "u1",
        "U1",
        "u1:",
        ":u1",
        "u1%",
        "u1%3A",
        "u1-",
        "-u1",
        "u1=",
        "u1/../u1",
        "%",
        "%%",
        "-",
        ":",
        "::",
        "a:b",
        "a%b",
        "a-b",
        "a b",
        " a",
        "a ",
        "\u{0}",
        "a\u{0}",
        "\u{1F600}",
        "\u{1F600}1",
        "\u{E4}\u{F6}",
        "\u{C4}\u{D6}",
        "a\u{308}\u{F6}",
        "main",
        "tenant-42-main",
        "42",
        "webhook",
        "webhook:u1",
        "slack:u1",
        "peer:u1",
        "group",
        "u1:group",
        "thread=1",
        "u1:thread=1",
        "user_u1",
        "anon_u1",
        "{user_id}",
        "null",
        "undefined",
        "$(id)",
        "'; drop",
        "<b>",
        "\n",
    ];
    let mut ids: Vec<String> = odd.into_iter().map(str::to_owned).collect();
    // What differs far behind, and what begins like another.
    ids.extend(["1", "2"].map(|end| format!("{}{end}", "k".repeat(10_000))));
    let mut prefix = String::new();
    for n in 0..20 {
        write!(prefix, "{}", n % 10).unwrap();
        ids.push(prefix.clone());
    }
    // Upper and lower case.
    for n in 0.. {
        if ids.len() >= N_PEERS {
            break;
        }
        ids.push(format!("Peer{n}"));
        ids.push(format!("peer{n}"));
    }
    ids.truncate(N_PEERS);
    ids
}

/// Where a person writes on one kind of channel. `way` is one of the places that they have there.
pub(crate) fn place(ids: &[String], tenant: usize, kind: Kind, peer: usize, way: usize) -> Place {
    let user = ids[peer].clone();
    // Five people each.
    let room = ids[peer / 5 * 5 % N_PEERS].clone();
    let servers = [None, Some("a".to_owned()), Some("a:b".to_owned())];
    let server = servers[(peer / 5 + way) % servers.len()].clone();
    let thread = Some(ids[(peer / 5 + way) % 7].clone());
    let at = |entry: &str, is_group, server, room, thread| {
        let (entry, user) = (entry.to_owned(), user.clone());
        Place { kind, tenant, entry, is_group, server, room, thread, user }
    };
    let (hook, app) = (format!("hook{tenant}"), if (peer + way).is_multiple_of(2) { "a" } else { "b" });
    let (slack, team) = (format!("slack{tenant}{app}"), Some(format!("T{app}")));
    match kind {
        Kind::HookDirect => match (peer + way) % 3 {
            0 => at(&hook, false, None, None, None),
            1 => at(&hook, false, None, Some(room), None),
            _ => at(&hook, false, server, Some(room), None),
        },
        Kind::HookGroup => at(&hook, true, server, Some(room), None),
        Kind::HookThread => at(&hook, true, server, Some(room), thread),
        Kind::Slack => match peer / 2 % 4 {
            0 => at(&slack, false, team, Some(format!("D{user}")), None),
            1 => at(&slack, false, team, Some(format!("D{user}")), Some(format!("1600000000.{:06}", peer % 3))),
            2 => at(&slack, true, team, Some(format!("C{room}")), None),
            _ => at(&slack, true, team, Some(format!("C{room}")), Some(format!("1600000000.{:06}", peer % 3))),
        },
        Kind::Chat => {
            Place { user: format!("visitor {peer}"), ..at(&format!("chat{tenant}"), false, None, None, None) }
        }
        Kind::Api => at(&format!("crm{tenant}"), false, None, None, None),
    }
}
