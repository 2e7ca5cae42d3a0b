//! What only the whole file can show: names that nobody has, and entries that would meet.

use std::collections::BTreeSet;

use super::entry::Entry;
use super::settings::{ApiKey, Tenant};
use crate::agent;
use crate::document::{Document, Place, Section, Severity};
use crate::id::{API_ENTRY, AgentId, ChannelType};
use crate::identity::Access;
use crate::provider;
use crate::route::Route;
use crate::session::{self, Address, DmScope, Field};

/// Beginnings of addresses that a help names at most.
const MAX_FRONTS: usize = 5;

/// Every agent that something names exists, and so does every provider that an agent names.
#[expect(clippy::too_many_arguments, reason = "one check over all sections that name agents")]
pub(super) fn agents(
    document: &Document,
    root: &Section<'_>,
    agents: &[(agent::Config, Place)],
    providers: &[provider::Config],
    default_agent: Option<&AgentId>,
    routes: &[Route],
    tenants: &[Tenant],
    api_keys: &[ApiKey],
) {
    let mut known: Vec<&str> = agents.iter().map(|(agent, _)| agent.name.as_str()).collect();
    if known.is_empty() {
        known.push("default");
    }
    let check = |place: &Place, agent: &AgentId| {
        if !known.contains(&agent.as_str()) {
            let help = format!("the agents are {}; add it under agents, or name one of these", known.join(", "));
            document.note(place, Severity::Error, format!("there is no agent {:?}", agent.as_str()), Some(help));
        }
    };
    for (n, route) in routes.iter().enumerate() {
        check(&root.place_in_list("routing", n), route.agent());
    }
    if let Some(agent) = default_agent {
        check(&root.place("default_agent"), agent);
    }
    for tenant in tenants {
        tenant.default_agent.iter().for_each(|agent| check(&tenant.place, agent));
    }
    for key in api_keys {
        key.agent.iter().for_each(|agent| check(&key.place, agent));
    }
    for (n, provider) in providers.iter().enumerate() {
        if providers.iter().take(n).any(|other| other.name == provider.name) {
            let help = Some("give each provider a name of its own".to_owned());
            document.note(
                &root.place("providers"),
                Severity::Error,
                format!("there are two providers {:?}", provider.name),
                help,
            );
        }
    }
    for (n, (agent, place)) in agents.iter().enumerate() {
        if agents.iter().take(n).any(|(other, _)| other.name == agent.name) {
            document.note(
                place,
                Severity::Error,
                format!("there are two agents {:?}", agent.name.as_str()),
                Some("give each agent a name of its own".to_owned()),
            );
        }
        if let Some(name) = &agent.provider
            && !providers.iter().any(|provider| provider.name == *name)
        {
            let names: Vec<&str> = providers.iter().map(|provider| provider.name.as_str()).collect();
            let help = match names.is_empty() {
                true => "add it under providers, or leave `provider` out to use the demo worker".to_owned(),
                false => format!("the providers are {}", names.join(", ")),
            };
            document.note(place, Severity::Error, format!("there is no provider {name:?}"), Some(help));
        }
    }
}

/// A route behind one that takes all its messages never wins, nor does one for messages that nobody sends.
pub(super) fn routes(
    document: &Document,
    root: &Section<'_>,
    routes: &[Route],
    entries: &[Entry],
    api_keys: &[ApiKey],
) {
    let mut fronts: Vec<Address> =
        entries.iter().map(|entry| Address::front(entry.tenant.as_ref(), &entry.channel)).collect();
    if let Ok(api) = ChannelType::new(API_ENTRY) {
        fronts.extend(api_keys.iter().map(|key| Address::front(key.tenant.as_ref(), &api)));
    }
    for (n, route) in routes.iter().enumerate() {
        if !fronts.iter().any(|front| route.is_open_to(front)) {
            let mut begins: Vec<String> = fronts.iter().map(|front| format!("{}:", front.qualified())).collect();
            begins.sort_unstable();
            begins.dedup();
            let n_more = begins.len().saturating_sub(MAX_FRONTS);
            begins.truncate(MAX_FRONTS);
            let more = if n_more > 0 { format!(" and {n_more} more") } else { String::new() };
            let message = "it can never match: no channel entry has such a type and tenant";
            let help = match begins.is_empty() {
                true => "there is no channel entry; add one under channels".to_owned(),
                false => format!("here addresses begin with {}{more}", begins.join(", ")),
            };
            document.note(&root.place_in_list("routing", n), Severity::Warning, message, Some(help));
        }
    }
    for (n, route) in routes.iter().enumerate() {
        if let Some(wider) = routes.iter().take(n).find(|earlier| earlier.shadows(route)) {
            let message = format!("it can never match: {:?} takes all its messages", wider.as_str());
            let help = Some("put the narrower route first".to_owned());
            document.note(&root.place_in_list("routing", n), Severity::Warning, message, help);
        }
    }
}

/// Of two settings for one tenant one would not count; those of a tenant that nothing belongs to never do.
pub(super) fn tenants(document: &Document, tenants: &[Tenant], entries: &[Entry], api_keys: &[ApiKey]) {
    for (n, tenant) in tenants.iter().enumerate() {
        let id = tenant.id.as_str();
        if tenants.iter().take(n).any(|other| other.id == tenant.id) {
            let help = Some("keep one of them".to_owned());
            document.note(&tenant.entry, Severity::Error, format!("there are two tenants {id:?}"), help);
        }
        let mut owners = entries.iter().map(|entry| &entry.tenant).chain(api_keys.iter().map(|key| &key.tenant));
        if !owners.any(|owner| owner.as_ref() == Some(&tenant.id)) {
            let message = format!("no channel entry and no API key belongs to the tenant {id:?}");
            let help = format!("write tenant_id = {id:?} into its channel entries");
            document.note(&tenant.entry, Severity::Warning, message, Some(help));
        }
    }
}

/// Two entries that would give two peers one key are refused, and so is a key format that needs a tenant nobody named.
pub(super) fn entries(document: &Document, session: &session::Config, entries: &[Entry]) {
    for (n, entry) in entries.iter().enumerate() {
        let Some(place) = &entry.place else { continue };
        if session.key_format.has(Field::Tenant) && entry.tenant.is_none() {
            let message = "session.key_format names {tenant_id}, and this entry has none";
            let help = "add tenant_id, or leave {tenant_id} out: keys of tenants have the prefix anyway";
            document.note(place, Severity::Error, message, Some(help.to_owned()));
        }
        if let Some(other) = entries.iter().take(n).find(|other| share_keys(session, entry, other)) {
            let message = format!(
                "{:?} and {:?} would give two peers with the same id one conversation",
                other.id.as_str(),
                entry.id.as_str()
            );
            let help = match entry.channel == other.channel {
                true => {
                    "give them different tenant_id or workspace_id, or an account each and {account} in session.key_format"
                }
                false => "put {channel} into session.key_format, or give them different tenant_id or workspace_id",
            };
            document.note(place, Severity::Error, message, Some(help.to_owned()));
        }
    }
}

/// Under `main` all who write directly to a tenant share one conversation: right for one person.
pub(super) fn main_scope(document: &Document, root: &Section<'_>, session: &session::Config, entries: &[Entry]) {
    if session.dm_scope != DmScope::Main {
        return;
    }
    // The web chat that is on without a channel is in no file: nothing about it can be mended there.
    let own: Vec<(&Entry, &Place)> = entries.iter().filter_map(|entry| Some((entry, entry.place.as_ref()?))).collect();
    for (entry, place) in own.iter().filter(|(entry, _)| entry.policy.dm == Access::Open) {
        let message = format!(
            "dm_scope is \"main\" and everybody may write to {:?}: strangers share one conversation",
            entry.id.as_str()
        );
        let help = "set session.dm_scope = \"per-channel-peer\", or dm_policy = \"allowlist\"".to_owned();
        document.note(place, Severity::Warning, message, Some(help));
    }
    let tenants: BTreeSet<_> = own.iter().map(|(entry, _)| entry.tenant.as_ref()).collect();
    for tenant in tenants {
        let of_tenant = own.iter().filter(|(entry, _)| entry.tenant.as_ref() == tenant);
        let allowed =
            of_tenant.flat_map(|(entry, _)| entry.policy.allow.iter().map(|user| format!("{}:{user}", entry.channel)));
        // All ids on the owners' list are taken for one person.
        let others: BTreeSet<String> = allowed.filter(|id| !session.owners.contains(id)).collect();
        let n_people = others.len() + usize::from(!session.owners.is_empty());
        if n_people > 1 {
            let whose = tenant.map_or(String::new(), |tenant| format!(" of the tenant {:?}", tenant.as_str()));
            let message = format!(
                "dm_scope is \"main\" and {n_people} people are on the lists{whose}: they share one conversation"
            );
            let help = "set dm_scope = \"per-channel-peer\"; if all of them are you, list them in owners".to_owned();
            document.note(&root.place("session"), Severity::Warning, message, Some(help));
        }
    }
}

/// An empty list lets nobody in.
pub(super) fn lists(document: &Document, session: &session::Config, entries: &[Entry]) {
    for entry in entries {
        let Some(place) = &entry.place else { continue };
        let tag = format!("{}:", entry.channel);
        let has_owner = session.owners.iter().any(|owner| owner.starts_with(&tag));
        if entry.policy.dm == Access::Allowlist && entry.policy.allow.is_empty() && !has_owner {
            let message = "nobody may write direct messages: dm_policy is \"allowlist\", and nobody is on the list";
            let help = "list user ids in allow, or owners in session.owners; or set dm_policy = \"pairing\"";
            document.note(place, Severity::Warning, message, Some(help.to_owned()));
        }
        if entry.policy.group == Access::Allowlist && entry.policy.allow_groups.is_empty() {
            let message = "no group is answered: group_policy is \"allowlist\", and no group is on the list";
            let help = "list groups in allow_groups, or set group_policy = \"pairing\"";
            document.note(place, Severity::Warning, message, Some(help.to_owned()));
        }
    }
}

fn share_keys(session: &session::Config, a: &Entry, b: &Entry) -> bool {
    // Groups always show the account. Direct messages show it if the format does; the other scopes merge them on purpose.
    let shows_account = session.dm_scope != DmScope::PerChannelPeer || session.key_format.has(Field::Account);
    let has_two_accounts = matches!((&a.account, &b.account), (Some(a), Some(b)) if a != b);
    let is_apart = if has_two_accounts { shows_account } else { a.channel_type.descriptor.ids_are_global };
    // Telegram's 123 is not Discord's: where the type is not in the key, nothing else tells them apart.
    let shows_type = session.dm_scope != DmScope::PerChannelPeer || session.key_format.has(Field::Channel);
    let is_other_type = a.channel != b.channel && (shows_type || (has_two_accounts && shows_account));
    let is_apart = if a.channel == b.channel { is_apart } else { is_other_type };
    a.tenant == b.tenant && a.workspace == b.workspace && !is_apart
}

/// Two API keys with the same text could not be told apart, nor could two of one name in logs.
pub(super) fn api_keys(document: &Document, keys: &[ApiKey]) {
    for (n, key) in keys.iter().enumerate() {
        let mut earlier = keys.iter().take(n);
        if let Some(other) = earlier.clone().find(|other| other.key == key.key) {
            let message = format!("it has the same key as {:?}", other.name);
            let help = Some("make a key for each caller, for example with `openssl rand -hex 32`".to_owned());
            document.note(&key.place, Severity::Error, message, help);
        }
        if earlier.any(|other| other.name == key.name) {
            let message = format!("there are two API keys {:?}", key.name);
            let help = Some("give each a name of its own: logs tell callers apart by it".to_owned());
            document.note(&key.place, Severity::Error, message, help);
        }
    }
}

#[cfg(test)]
mod tests;
