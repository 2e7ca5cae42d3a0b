//! `bindings` → `routing`. OpenClaw takes the closest match, we take the first: so the closest come first.

use serde_json::Value;

use super::source::{Source, id, list, text};
use super::{Agent, Making, name_of};
use crate::channel::registry;
use crate::id::SessionKey;
use crate::import::place::{written_peer, written_room, written_server};

/// How close a binding is: a peer, a server, a whole channel.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Tier {
    Peer,
    Server,
    Channel,
}

pub(super) fn read(source: &Source, agents: &[Agent], making: &mut Making<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for binding in list(source.at(&["bindings"])) {
        let agent = text(binding, "agentId").map(|agent| name_of(&agent.to_lowercase()));
        let agent = agent.filter(|name| agents.iter().any(|agent| agent.name.as_str() == name));
        let matched = binding.get("match").unwrap_or(&Value::Null);
        let pattern = match text(binding, "type") {
            Some("route") | None => pattern(source, matched),
            Some(_) => Err("it is none of a conversation"),
        };
        match (agent, pattern) {
            (Some(agent), Ok((tier, pattern))) => {
                let tenant = making.tenant.map(|tenant| format!("tenant-{}-", escape(tenant))).unwrap_or_default();
                found.push((tier, format!("{tenant}{pattern} -> {agent}")));
            }
            (None, _) => making.report.left("a binding is not carried: its agent is not in the list"),
            (_, Err(why)) => making.report.left(format!("a binding is not carried: {why}")),
        }
        if binding.pointer("/session").is_some() {
            making.report.left("scopes of single bindings are not carried: there is one dm_scope here");
        }
    }
    // Stable: within a tier the order of the file counts, there as here.
    found.sort_by_key(|(tier, _)| *tier);
    let mut routes: Vec<String> = Vec::new();
    for (_, route) in found {
        let pattern = |route: &str| route.rsplit_once(" -> ").map(|(pattern, _)| pattern.to_owned());
        if !routes.iter().any(|earlier| pattern(earlier) == pattern(&route)) {
            making.report.carried(format!("binding as route {route:?}"));
            routes.push(route);
        }
    }
    routes
}

fn pattern(source: &Source, matched: &Value) -> Result<(Tier, String), &'static str> {
    let channel = text(matched, "channel").ok_or("it names no channel")?;
    let accounts = source.at(&["channels", channel, "accounts"]).as_object().map_or(0, serde_json::Map::len);
    match text(matched, "accountId") {
        None | Some("*") => {}
        Some(_) if accounts <= 1 => {}
        Some(_) => {
            return Err("routes here do not tell accounts apart; give each account a tenant_id, or one agent for both");
        }
    }
    if matched.get("roles").is_some() {
        return Err("routes here do not know roles");
    }
    let tag = escape(registry::key_tag(channel));
    let server = text(matched, "teamId").or_else(|| text(matched, "guildId"));
    let server = server.map(|server| segment(&written_server(channel, server)));
    let Some(peer) = matched.get("peer") else {
        return Ok(match server {
            Some(server) => (Tier::Server, format!("{tag}:{server}:*")),
            None => (Tier::Channel, format!("{tag}:*")),
        });
    };
    let peer_id = peer
        .get("id")
        .and_then(id)
        .filter(|id| id != "*")
        .ok_or("it is for a kind of chat; routes here are for places")?;
    let front = match (&server, has_servers(channel)) {
        (Some(server), _) => format!("{tag}:{server}"),
        (None, true) => format!("{tag}:*"),
        (None, false) => tag,
    };
    match text(peer, "kind") {
        Some("direct" | "dm") => {
            let peer = written_peer(channel, &peer_id).ok_or("it names no peer")?;
            let middle = if has_servers(channel) && server.is_some() { "*:" } else { "" };
            Ok((Tier::Peer, format!("{front}:{middle}{}", segment(&peer))))
        }
        Some("group" | "channel") => {
            let (room, topic) = match peer_id.rsplit_once(":topic:") {
                Some((room, topic)) => (room, Some(topic)),
                None => (peer_id.as_str(), None),
            };
            let topic = topic.map(|topic| format!("{}:", segment(topic))).unwrap_or_default();
            Ok((Tier::Peer, format!("{front}:{}:{topic}*", segment(&written_room(channel, room)))))
        }
        _ => Err("it is for a kind of chat that is not known"),
    }
}

/// Do addresses there have something between the channel and the room?
fn has_servers(channel: &str) -> bool {
    matches!(channel, "slack" | "discord" | "matrix")
}

/// An id as addresses write it, at a place of its own.
fn segment(id: &str) -> String {
    match id.split_once(':') {
        Some((local, server)) if id.starts_with(['@', '!']) => format!("{}:{}", escape(local), escape(server)),
        _ => escape(id),
    }
}

fn escape(id: &str) -> String {
    let mut escaped = String::with_capacity(id.len());
    for byte in id.bytes() {
        if SessionKey::is_safe(byte) {
            escaped.push(char::from(byte));
        } else {
            escaped.push_str(&format!("%{byte:02X}"));
        }
    }
    escaped
}
