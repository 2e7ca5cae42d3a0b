//! The security audit of settings: who can reach what, and who hears whom.

use super::{Finding, Severity};
use crate::config::{Entry, SessionScope, Settings};
use crate::id::{OpaqueId, SessionKey};
use crate::identity::Access;
use crate::message::{ChatKind, Identity};
use crate::session::Resolver;

/// A key that can be guessed is no key.
const MIN_KEY_CHARS: usize = 20;

/// What is wrong with settings that can be used. `clear_secrets` are paths of secrets in the file itself.
pub(super) fn settings(settings: &Settings, clear_secrets: &[String]) -> Vec<Finding> {
    let resolver = settings.resolver();
    let mut findings: Vec<Finding> =
        settings.channels.iter().flat_map(|entry| channel(entry, &resolver, settings)).collect();
    for key in &settings.api_keys {
        let name = &key.name;
        if key.key.expose().chars().count() < MIN_KEY_CHARS {
            let what = format!("the API key {name:?} is so short that it can be guessed");
            findings.push(Finding::new(Severity::Error, "weak-api-key", what, "make one with `openssl rand -hex 32`"));
        }
        if key.scope == SessionScope::Tenant {
            let (severity, whose) = match &key.tenant {
                Some(tenant) => (Severity::Hint, format!("of the tenant {:?}", tenant.as_str())),
                None => (Severity::Warning, "of the owner's own channels".to_owned()),
            };
            let what = format!("the API key {name:?} reaches every conversation {whose}");
            findings.push(Finding::new(severity, "wide-api-key", what, "set scope = \"api\" unless it needs them"));
        }
    }
    let bind = settings.gateway.bind;
    if !bind.is_loopback() {
        let what = format!(
            "it listens on {bind}, for HTTP and HTTPS: whoever is on that network can read along what comes by HTTP"
        );
        let fix = "open the page with https:// and compare the fingerprint, as docs/access.md says";
        findings.push(Finding::new(Severity::Hint, "no-tls", what, fix));
    }
    if !clear_secrets.is_empty() {
        let what = format!("secrets stand in the configuration file itself: {}", clear_secrets.join(", "));
        let fix = "write ${NAME} there, and the value into the file secrets/NAME of the home with mode 600";
        findings.push(Finding::new(Severity::Hint, "clear-secret", what, fix));
    }
    findings
}

fn channel(entry: &Entry, resolver: &Resolver, settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    let id = entry.id.as_str();
    let is_open = entry.policy.dm == Access::Open;
    if let (Some(one), Some(other)) = (probe(entry, resolver, "user_1"), probe(entry, resolver, "user_2"))
        && one == other
    {
        // All ids on the owners' list are taken for one person.
        let n_people = entry.policy.allow.len() + usize::from(!settings.session.owners.is_empty());
        let severity = match (is_open, n_people) {
            (true, _) => Severity::Error,
            (false, 0..=1) => Severity::Hint,
            (false, _) => Severity::Warning,
        };
        let who = if is_open { "everybody may write" } else { "those who may write" };
        let what = format!("on the channel {id}, {who} and all direct messages are one conversation, {one}");
        let fix = "set session.dm_scope = \"per-channel-peer\" with {user_id} in key_format";
        findings.push(Finding::new(severity, "shared-conversation", what, fix));
    }
    if entry.policy.group == Access::Open && !entry.policy.requires_mention {
        let what = format!("the channel {id} answers every message of every group that it is in");
        let fix = "set require_mention = true, so that it answers when it is called";
        findings.push(Finding::new(Severity::Warning, "answers-always", what, fix));
    }
    findings
}

/// Where a direct message of this user would be filed, by the same resolver that files it.
fn probe(entry: &Entry, resolver: &Resolver, user: &str) -> Option<SessionKey> {
    let identity = Identity {
        entry: entry.id.clone(),
        channel: entry.channel.clone(),
        account: entry.account.clone(),
        tenant: entry.tenant.clone(),
        workspace: entry.workspace.clone(),
        server: None,
        room: None,
        thread: None,
        user: OpaqueId::new(user).ok(),
        kind: ChatKind::Direct,
        parent: ChatKind::Direct,
    };
    resolver.resolve(&identity).ok().map(|resolved| resolved.session_key)
}
