//! The configuration of a gateway under test, and its changes.

use std::fmt::Write as _;

use serde_json::json;

use super::oracle::Scope;
use super::place::TENANTS;
use super::random::Random;
use crate::peers::hook::secret;

/// What a reload changes. The conversations must not notice.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Variant {
    other_default_agent: bool,
    fewer_turns: bool,
    one_more_entry: bool,
    /// A new title: the entry is opened again, and its pages come back.
    other_title: bool,
    /// The entry of a tenant is gone: its replies wait until it comes back.
    without_hook: Option<usize>,
}

impl Variant {
    pub(crate) fn any(random: &mut Random) -> Self {
        Self {
            other_default_agent: random.one_in(2),
            fewer_turns: random.one_in(2),
            one_more_entry: random.one_in(2),
            other_title: random.one_in(2),
            without_hook: random.one_in(3).then(|| random.below(TENANTS.len())),
        }
    }

    /// Is the entry of a tenant gone?
    pub(crate) fn is_without_hook(self) -> bool {
        self.without_hook.is_some()
    }
}

/// The file, without `[gateway]`. `vendors` is the address of the servers that it calls.
pub(crate) fn config(scope: Scope, vendors: &str, variant: Variant) -> String {
    let Variant { other_default_agent, fewer_turns, one_more_entry, other_title, without_hook } = variant;
    let (agent, title) = (if other_default_agent { "second" } else { "first" }, if other_title { "B" } else { "A" });
    let mut text = String::new();
    writeln!(text, "[gateway]\nmax_turns = {}", if fewer_turns { 4 } else { 16 }).unwrap();
    writeln!(text, "[session]\ndm_scope = \"{}\"\nttl_days = 30", scope.name()).unwrap();
    for (name, model) in [("first", "m1"), ("second", "m2")] {
        let provider = format!("kind = \"openai\"\nbase_url = \"{vendors}/v1\"\nmodel = \"{model}\"");
        writeln!(text, "[[providers]]\nname = \"{name}\"\n{provider}").unwrap();
        writeln!(text, "[[agents]]\nname = \"{name}\"\nprovider = \"{name}\"").unwrap();
    }
    for (n, id) in TENANTS.iter().enumerate() {
        let tenant_id = format!("tenant_id = {}\ndm_policy = \"open\"", json!(id));
        writeln!(text, "[[tenants]]\nid = {}\ndefault_agent = \"{agent}\"", json!(id)).unwrap();
        if without_hook != Some(n) {
            text += &hook(&format!("hook{n}"), vendors);
            writeln!(text, "{tenant_id}").unwrap();
        }
        for app in ["a", "b"] {
            let entry = format!("slack{n}{app}");
            writeln!(text, "[[channels]]\nid = \"{entry}\"\ntype = \"slack\"\nbase_url = \"{vendors}/slack\"").unwrap();
            writeln!(text, "bot_token = \"xoxb-{entry}\"\nsigning_secret = \"{}\"", slack_secret(&entry)).unwrap();
            writeln!(text, "{tenant_id}\nmessages_per_minute = 0").unwrap();
        }
        writeln!(text, "[[channels]]\nid = \"chat{n}\"\ntype = \"webchat\"\ntitle = \"{title}\"\n{tenant_id}").unwrap();
        text += "messages_per_minute = 0\n";
        writeln!(text, "[[api_keys]]\nname = \"crm{n}\"\nkey = \"{}\"\ntenant_id = {}", api_key(n), json!(id)).unwrap();
    }
    if one_more_entry {
        text += &hook("new", vendors);
        text += "tenant_id = \"new\"\n";
    }
    text
}

fn hook(entry: &str, vendors: &str) -> String {
    let reply_url = format!("{vendors}/replies/{entry}");
    let secret = secret(entry);
    format!("[[channels]]\nid = \"{entry}\"\ntype = \"webhook\"\nsecret = \"{secret}\"\nreply_url = \"{reply_url}\"\n")
}

/// What Slack signs the events of an entry with.
pub(crate) fn slack_secret(entry: &str) -> String {
    format!("signing secret of {entry}")
}

/// The key of the HTTP API for a tenant.
pub(crate) fn api_key(tenant: usize) -> String {
    format!("api key of crm{tenant}")
}
