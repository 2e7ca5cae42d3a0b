//! What a session key of OpenClaw names.
//!
//! ```text
//! agent:<agent>:main                                    the agent's own, or the configured mainKey
//! agent:<agent>:direct:<peer>                           dmScope per-peer
//! agent:<agent>:<channel>:direct:<peer>                 dmScope per-channel-peer; older releases write dm
//! agent:<agent>:<channel>:<account>:direct:<peer>       dmScope per-account-channel-peer
//! agent:<agent>:<channel>:group|channel:<room>          with :topic:<id> or :thread:<id> behind it
//! agent:<agent>:openai-user:<user>                      the HTTP API
//! agent:<agent>:cron:… hook:… subagent:… acp:… …        jobs, no conversation with a peer
//! ```
//!
//! Ids in it are lower-cased and not escaped, so that it cannot be read for certain: `place` looks at what
//! else was noted.

/// A session key, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key<'k> {
    /// Whose store it lies in, unless the key was written without.
    pub(super) agent: Option<&'k str>,
    pub(super) names: Names<'k>,
    pub(super) thread: Option<&'k str>,
}

/// What it names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Names<'k> {
    /// The conversation that direct messages share.
    Main,
    /// One peer.
    Direct { channel: Option<&'k str>, account: Option<&'k str>, peer: &'k str },
    /// A group, room or channel.
    Room { channel: &'k str, room: &'k str },
    /// A user of the HTTP API.
    Api { user: &'k str },
    /// Nothing that a peer takes part in; the sentence says what.
    Job(&'static str),
    /// Nobody knows.
    Unknown,
}

/// What stands in front of keys that are no conversation with a peer.
const JOBS: [(&str, &str); 14] = [
    ("cron", "jobs of the clock (cron) are not carried: there are none here yet"),
    ("hook", "runs of webhooks (hooks) are not carried: they are no conversation with a peer"),
    ("subagent", "work of subagents is not carried: it is no conversation with a peer"),
    ("acp", "sessions of coding harnesses (ACP) are not carried"),
    ("heartbeat", "heartbeats are not carried"),
    ("dreaming", "what memory plugins noted for themselves is not carried"),
    ("explicit", "sessions of the command line are not carried: they have no peer"),
    ("dashboard", "threads of the Control UI are not carried: they have no peer"),
    ("tui", "sessions of the terminal are not carried: they have no peer"),
    ("node", "sessions of nodes are not carried: they have no peer"),
    ("voice", "voice calls are not carried"),
    ("openai", "requests of programs without a user are not carried: each is its own"),
    ("openresponses", "requests of programs without a user are not carried: each is its own"),
    ("boot", "runs at the start are not carried"),
];

impl<'k> Key<'k> {
    /// Takes a key apart. `main_key` is the configured name of the main session.
    pub(super) fn parse(text: &'k str, main_key: &str) -> Self {
        let (agent, rest) = match text.strip_prefix("agent:").and_then(|rest| rest.split_once(':')) {
            Some((agent, rest)) => (Some(agent), rest),
            None => (None, text),
        };
        if rest == "main" || rest == main_key {
            return Self { agent, names: Names::Main, thread: None };
        }
        let head = rest.split([':', '-']).next().unwrap_or_default();
        if let Some(user) = rest.strip_prefix("openai-user:").or_else(|| rest.strip_prefix("openresponses-user:")) {
            return Self {
                agent,
                names: if user.is_empty() { Names::Unknown } else { Names::Api { user } },
                thread: None,
            };
        }
        if let Some((_, reason)) = JOBS.iter().find(|(job, _)| *job == head) {
            return Self { agent, names: Names::Job(reason), thread: None };
        }
        let (rest, thread) = split_last(rest, ":thread:");
        let names = names(rest).unwrap_or(Names::Unknown);
        match names {
            // Telegram puts the topic into the id of the group.
            Names::Room { channel, room } if thread.is_none() => {
                let (room, topic) = split_last(room, ":topic:");
                Self { agent, names: Names::Room { channel, room }, thread: topic }
            }
            _ => Self { agent, names, thread },
        }
    }
}

fn names(rest: &str) -> Option<Names<'_>> {
    let is_direct = |word: &str| matches!(word, "direct" | "dm");
    let (first, after) = rest.split_once(':')?;
    if is_direct(first) {
        return Some(Names::Direct { channel: None, account: None, peer: some(after)? });
    }
    let (second, last) = after.split_once(':')?;
    if is_direct(second) {
        return Some(Names::Direct { channel: Some(first), account: None, peer: some(last)? });
    }
    if matches!(second, "group" | "channel") {
        return Some(Names::Room { channel: first, room: some(last)? });
    }
    match last.split_once(':') {
        Some((third, peer)) if is_direct(third) => {
            Some(Names::Direct { channel: Some(first), account: Some(second), peer: some(peer)? })
        }
        _ => None,
    }
}

fn some(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// Cuts at the last `mark`, if something follows it.
fn split_last<'k>(text: &'k str, mark: &str) -> (&'k str, Option<&'k str>) {
    match text.rsplit_once(mark) {
        Some((before, after)) if !before.is_empty() && !after.is_empty() => (before, Some(after)),
        _ => (text, None),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, agent: Option<&str>, names: Names<'_>, thread: Option<&str>) {
        assert_eq!(Key::parse(text, "home"), Key { agent, names, thread }, "{text}");
    }

    fn direct<'k>(channel: Option<&'k str>, account: Option<&'k str>, peer: &'k str) -> Names<'k> {
        Names::Direct { channel, account, peer }
    }

    #[test]
    fn every_shape_that_openclaw_writes_is_read() {
        check("agent:main:main", Some("main"), Names::Main, None);
        check("agent:main:home", Some("main"), Names::Main, None);
        check("main", None, Names::Main, None);
        check("agent:a:direct:alice", Some("a"), direct(None, None, "alice"), None);
        check("agent:a:telegram:direct:42", Some("a"), direct(Some("telegram"), None, "42"), None);
        check("agent:a:telegram:dm:42", Some("a"), direct(Some("telegram"), None, "42"), None);
        check("agent:a:telegram:second:direct:42", Some("a"), direct(Some("telegram"), Some("second"), "42"), None);
        let room = |channel, room| Names::Room { channel, room };
        check("agent:a:whatsapp:group:1203@g.us", Some("a"), room("whatsapp", "1203@g.us"), None);
        check("agent:a:discord:channel:99:thread:77", Some("a"), room("discord", "99"), Some("77"));
        check("agent:a:slack:channel:c1:thread:17.5", Some("a"), room("slack", "c1"), Some("17.5"));
        check("agent:a:telegram:group:-100:topic:42", Some("a"), room("telegram", "-100"), Some("42"));
        check("agent:a:slack:direct:u1:thread:17.5", Some("a"), direct(Some("slack"), None, "u1"), Some("17.5"));
        check("agent:a:main:thread:17.5", Some("a"), Names::Unknown, Some("17.5"));
        check("agent:a:openai-user:crm", Some("a"), Names::Api { user: "crm" }, None);
    }

    #[test]
    fn jobs_are_no_conversations() {
        for key in ["cron:nightly", "cron:n:run:1", "hook:gmail:1", "subagent:1", "acp:x", "openai:1", "tui-1"] {
            let text = format!("agent:a:{key}");
            assert!(matches!(Key::parse(&text, "main").names, Names::Job(_)), "{key}");
        }
    }

    #[test]
    fn ids_with_separators_stay_whole() {
        let room = |channel, room| Names::Room { channel, room };
        check("agent:a:matrix:channel:!r:example.org", Some("a"), room("matrix", "!r:example.org"), None);
        check(
            "agent:a:matrix:direct:@eve:example.org",
            Some("a"),
            direct(Some("matrix"), None, "@eve:example.org"),
            None,
        );
        check("agent:a:x:direct:a:b%3A😀", Some("a"), direct(Some("x"), None, "a:b%3A😀"), None);
        check("agent:a:x:group:group:1", Some("a"), room("x", "group:1"), None);
    }

    #[test]
    fn what_nobody_knows_is_not_guessed() {
        for text in
            ["", "agent:", "agent:a:", "agent:a:x", "agent:a:telegram:direct:", "agent:a:x:group:", "global", "a:b:c:d"]
        {
            assert_eq!(Key::parse(text, "main").names, Names::Unknown, "{text:?}");
        }
    }
}
