//! `channels` → `[[channels]]`.

use serde_json::Value;

use super::source::{Source, id, is_off, list, text, variable_name};
use super::toml::{Writer, quoted};
use super::{Making, entry_id};
use crate::channel::registry;
use crate::import::Known;
use crate::import::place::written_peer;

/// Entries, on or off.
pub(super) struct Channels(Vec<Entry>);

struct Entry {
    /// Why it is off.
    why_off: Option<String>,
    lines: Vec<String>,
}

/// What an entry of a type that there is here takes from OpenClaw's: its key, ours, and is it needed?
const SECRETS: [(&str, &str, bool); 3] =
    [("botToken", "bot_token", true), ("appToken", "app_token", false), ("signingSecret", "signing_secret", false)];

impl Channels {
    pub(super) fn is_any_on(&self) -> bool {
        self.0.iter().any(|entry| entry.why_off.is_none())
    }

    pub(super) fn write(&self, out: &mut Writer) {
        for entry in &self.0 {
            out.blank();
            match &entry.why_off {
                None => entry.lines.iter().for_each(|line| out.line(line)),
                Some(why) => {
                    out.comment(&format!("Off: {why}"));
                    entry.lines.iter().for_each(|line| out.comment(line));
                }
            }
        }
    }
}

pub(super) fn read(source: &Source, known: &Known, making: &mut Making<'_>) -> Channels {
    let defaults = source.at(&["channels", "defaults"]);
    let mut entries = Vec::new();
    for (name, channel) in source.at(&["channels"]).as_object().into_iter().flatten() {
        if matches!(name.as_str(), "defaults" | "modelByChannel") || !channel.is_object() {
            continue;
        }
        let accounts = channel.get("accounts").and_then(Value::as_object);
        match accounts.filter(|accounts| !accounts.is_empty()) {
            None => entries.extend(entry(name, None, &[channel, defaults], known, making)),
            Some(accounts) => {
                for (account, own) in accounts {
                    entries.extend(entry(name, Some(account), &[own, channel, defaults], known, making));
                }
            }
        }
    }
    Channels(entries)
}

/// One entry. `layers`: the account, the channel, what holds for all.
fn entry(
    name: &str,
    account: Option<&str>,
    layers: &[&Value],
    known: &Known,
    making: &mut Making<'_>,
) -> Option<Entry> {
    let get = |key: &str| layers.iter().find_map(|layer| layer.get(key).filter(|value| !value.is_null()));
    let Some(entry_id) = entry_id(name, account) else {
        making.report.left("channels without a name are not carried");
        return None;
    };
    let mut lines = vec!["[[channels]]".to_owned()];
    let mut put = |key: &str, value: &str| lines.push(format!("{key} = {}", quoted(value)));
    put("id", entry_id.as_str());
    put("type", name);
    if let Some(account) = account.filter(|_| known.with_accounts.iter().any(|channel| channel == name)) {
        put("account", account);
    }
    if let Some(tenant) = making.tenant {
        put("tenant_id", tenant);
    }
    let mut why_off =
        layers.iter().take(2).any(|layer| is_off(layer)).then(|| "it is switched off in OpenClaw".to_owned());
    match registry::find(name) {
        None => {
            why_off = Some(format!("there is no channel of type {name:?} here yet; its sessions are carried"));
        }
        Some(_) => {
            let has_several = account.is_some_and(|account| account != "default");
            let secret_name = |key: &str| match account.filter(|_| has_several) {
                Some(account) => variable_name(&[name, account, key]),
                None => variable_name(&[name, key]),
            };
            let mut n_ways = 0;
            for (key, ours, is_needed) in SECRETS {
                // A secret of an entry that is off stays where it is.
                let value = if why_off.is_none() { making.secret(&secret_name(ours), get(key)) } else { None };
                n_ways += usize::from(value.is_some() && !is_needed);
                match value {
                    Some(value) => put(ours, &value),
                    None if is_needed && why_off.is_none() => {
                        why_off = Some(format!("{ours} has no value yet"));
                        put(ours, &format!("${{{}}}", secret_name(ours)));
                    }
                    None => {}
                }
            }
            if why_off.is_none() && n_ways == 0 {
                why_off = Some("it has neither app_token nor signing_secret".to_owned());
            }
        }
    }
    let (dm_policy, allow) = dm(name, &get, making);
    put("dm_policy", dm_policy);
    let groups = groups(name, &entry_id, &get, making);
    put("group_policy", groups.policy);
    if !groups.needs_mention {
        lines.push("require_mention = false".to_owned());
    }
    for (key, ids) in [("allow", &allow), ("allow_groups", &groups.allowed)] {
        if !ids.is_empty() {
            let ids: Vec<String> = ids.iter().map(|id| quoted(id)).collect();
            lines.push(format!("{key} = [{}]", ids.join(", ")));
        }
    }
    match &why_off {
        None => making.report.carried(format!("channel {:?}", entry_id.as_str())),
        Some(why) => {
            making.report.left(format!("channel {:?} is a comment in the configuration: {why}", entry_id.as_str()));
        }
    }
    Some(Entry { why_off, lines })
}

/// Who may write, and who besides. What is unclear lets nobody in.
fn dm<'v>(
    name: &str,
    get: &impl Fn(&str) -> Option<&'v Value>,
    making: &mut Making<'_>,
) -> (&'static str, Vec<String>) {
    let old = get("dm").unwrap_or(&Value::Null);
    let policy = get("dmPolicy").and_then(Value::as_str).or_else(|| text(old, "policy")).unwrap_or("pairing");
    let allowed = get("allowFrom").or_else(|| old.get("allowFrom")).unwrap_or(&Value::Null);
    let mut ids: Vec<String> = list(allowed).filter_map(id).collect();
    let is_everybody = ids.iter().any(|id| id == "*");
    if policy == "pairing" {
        // Those who were let in by a code need none again.
        ids.extend(making.around.paired(name));
    }
    let mut allow: Vec<String> = ids.iter().filter_map(|id| written_peer(name, id)).collect();
    allow.sort_unstable();
    allow.dedup();
    match policy {
        "open" if is_everybody => ("open", Vec::new()),
        "disabled" => ("off", Vec::new()),
        "pairing" => ("pairing", allow),
        _ => ("allowlist", allow),
    }
}

/// Which groups are answered, and when.
struct Groups {
    policy: &'static str,
    needs_mention: bool,
    allowed: Vec<String>,
}

fn groups<'v>(
    name: &str,
    entry_id: &crate::id::EntryId,
    get: &impl Fn(&str) -> Option<&'v Value>,
    making: &mut Making<'_>,
) -> Groups {
    let rooms = ["groups", "channels", "guilds"].into_iter().find_map(get).unwrap_or(&Value::Null);
    let everywhere = rooms.get("*").unwrap_or(&Value::Null);
    let needs_mention = [get("requireMention"), everywhere.get("requireMention")];
    let needs_mention = needs_mention.into_iter().flatten().find_map(Value::as_bool).unwrap_or(true);
    let policy = get("groupPolicy").and_then(Value::as_str).unwrap_or("allowlist");
    let named = rooms.as_object().into_iter().flat_map(|rooms| rooms.keys()).filter(|name| *name != "*");
    let named: Vec<String> = named.cloned().collect();
    // Ids that an adapter here would write; a name that people gave a room is no id.
    let is_carried = registry::find(name).is_some() && named.iter().all(|room| !room.starts_with('#'));
    match policy {
        "open" => Groups { policy: "open", needs_mention, allowed: Vec::new() },
        "allowlist" if is_carried && !named.is_empty() => Groups { policy: "allowlist", needs_mention, allowed: named },
        _ => {
            if policy != "disabled" && !named.is_empty() {
                making.report.left(format!(
                    "the list of groups of {:?} is not carried, so groups are off there: group_policy = \"open\" \
                     would answer in every group it is in",
                    entry_id.as_str()
                ));
            }
            Groups { policy: "off", needs_mention: true, allowed: Vec::new() }
        }
    }
}
