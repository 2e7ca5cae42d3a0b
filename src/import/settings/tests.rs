use std::collections::BTreeSet;

use super::*;
use crate::config;
use crate::document::Variables;

/// A workspace with a persona, and these variables.
struct Here(BTreeSet<&'static str>);

impl Around for Here {
    fn soul(&self, workspace: &str) -> Option<String> {
        (workspace != "~/empty").then(|| "Be kind.".to_owned())
    }

    fn has_memory(&self, workspace: &str) -> bool {
        workspace == "~/memory"
    }

    fn paired(&self, channel: &str) -> Vec<String> {
        if channel == "slack" { vec!["U9".to_owned()] } else { Vec::new() }
    }

    fn has_variable(&self, name: &str) -> bool {
        self.0.contains(name)
    }
}

struct Given<'p>(&'p Plan);

impl Variables for Given<'_> {
    fn get(&self, name: &str) -> Option<String> {
        let secret = self.0.secrets.get(name).map(|secret| secret.expose().to_owned());
        secret.or_else(|| (name == "GIVEN").then(|| "xapp-given".to_owned()))
    }
}

/// The plan, and the settings that its text makes.
fn planned(text: &str, tenant: Option<&str>) -> (Plan, config::Loaded) {
    let plan = Plan::read(text, tenant, &Here(BTreeSet::from(["GIVEN"]))).unwrap();
    let home = tempfile::tempdir().unwrap();
    for soul in &plan.souls {
        let file = home.path().join(&soul.file);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, &soul.text).unwrap();
    }
    let file = home.path().join("config.toml");
    std::fs::write(&file, &plan.toml).unwrap();
    let loaded = config::load_file(&file, home.path(), &Given(&plan));
    let loaded = loaded.unwrap_or_else(|error| panic!("{error}\n{}", plan.toml));
    (plan, loaded)
}

/// Lines of the configuration that are on.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let plan = planned(text, None).0;
    let lines: Vec<&str> = plan.toml.lines().map(str::trim).collect();
    for line in expected {
        assert!(lines.contains(line), "{line} is not in\n{}", plan.toml);
    }
}

#[test]
fn an_empty_configuration_opens_no_door() {
    let (plan, loaded) = planned("{}", None);
    assert_eq!(loaded.settings.channels.len(), 0);
    assert_eq!(loaded.settings.default_agent.as_str(), "main");
    assert_eq!(plan.souls.len(), 1);
    check(
        "// only words\n{ agents: { list: [{ id: 'A B' }, { id: 'second', default: true }] } }",
        &["default_agent = \"second\"", "name = \"a-b\"", "name = \"second\""],
    );
}

#[test]
fn what_is_no_configuration_is_refused() {
    for text in ["", "[]", "{", "{a: }", &format!("{}{}", "[".repeat(100_000), "]".repeat(100_000))] {
        assert!(Plan::read(text, None, &Here(BTreeSet::new())).is_err());
    }
}

#[test]
fn scopes_keep_their_meaning() {
    let scoped = |scope: &str, more: &str| format!("{{ session: {{ dmScope: '{scope}' }}{more} }}");
    check(&scoped("main", ""), &["dm_scope = \"main\""]);
    check(&scoped("per-peer", ""), &["dm_scope = \"per-peer\""]);
    check(&scoped("per-account-channel-peer", ""), &["dm_scope = \"per-channel-peer\""]);
    let two = ", channels: { telegram: { accounts: { default: {}, second: {} } } }";
    check(
        &scoped("per-account-channel-peer", two),
        &["key_format = \"{channel}:{account}:{server_id}:{channel_id}:{user_id}\""],
    );
    check("{}", &["dm_scope = \"main\""]);
    let links = "{ session: { dmScope: 'per-peer', identityLinks: { 'Al ice': ['telegram:5', 'whatsapp:+1', '7'] } } }";
    check(links, &["\"Al ice\" = [", "\"telegram:chat_5\",", "\"wa:+1\","]);
}

const SLACK: &str = "{
  agents: { list: [{ id: 'reception' }, { id: 'sales' }] },
  channels: { slack: {
    botToken: 'xoxb-1\"\\n', appToken: '${GIVEN}', dmPolicy: 'allowlist', allowFrom: ['slack:U1', 'user:U2', 'U1'],
    groupPolicy: 'open',
  } },
  bindings: [
    { agentId: 'sales', match: { channel: 'slack' } },
    { agentId: 'sales', match: { channel: 'slack', teamId: 'T1' } },
    { agentId: 'sales', match: { channel: 'slack', peer: { kind: 'channel', id: 'C1' } } },
    { agentId: 'reception', match: { channel: 'slack', peer: { kind: 'direct', id: 'U1' } } },
    { agentId: 'nobody', match: { channel: 'slack' } },
    { agentId: 'sales', match: { channel: 'matrix', peer: { kind: 'channel', id: '!r:example.org' } } },
    { agentId: 'sales', match: { channel: 'telegram', peer: { kind: 'group', id: '-100:topic:4' } } },
  ],
}";

#[test]
fn a_channel_that_is_known_here_is_on() {
    let (plan, loaded) = planned(SLACK, None);
    let entry = loaded.settings.channels.first().unwrap();
    assert_eq!(entry.id.as_str(), "slack");
    assert_eq!(plan.secrets.keys().collect::<Vec<_>>(), ["SLACK_BOT_TOKEN"]);
    assert!(!plan.toml.contains("xoxb"), "no secret stands in the configuration");
    check(
        SLACK,
        &[
            "bot_token = \"${SLACK_BOT_TOKEN}\"",
            "app_token = \"${GIVEN}\"",
            "dm_policy = \"allowlist\"",
            "group_policy = \"open\"",
            "allow = [\"U1\", \"U2\"]",
        ],
    );
}

#[test]
fn the_closest_binding_comes_first() {
    let (_, loaded) = planned(SLACK, None);
    let routes: Vec<&str> = loaded.settings.routes.iter().map(crate::route::Route::as_str).collect();
    assert_eq!(
        routes,
        [
            "slack:*:C1:* -> sales",
            "slack:*:U1 -> reception",
            "matrix:*:!r:example.org:* -> sales",
            "telegram:chat_-100:4:* -> sales",
            "slack:T1:* -> sales",
            "slack:* -> sales",
        ]
    );
}

#[test]
fn with_a_tenant_everything_is_that_tenants() {
    let (_, loaded) = planned(SLACK, Some("42"));
    assert!(loaded.settings.channels.iter().all(|entry| entry.tenant.as_ref().is_some_and(|t| t.as_str() == "42")));
    assert!(loaded.settings.routes.iter().all(|route| route.as_str().starts_with("tenant-42-")));
}

#[test]
fn what_lacks_a_value_is_a_comment() {
    let without = |slack: &str| format!("{{ channels: {{ slack: {{ {slack} }} }} }}");
    for slack in [
        "appToken: 'xapp-1'",
        "botToken: '${MISSING}', appToken: 'xapp-1'",
        "botToken: 'xoxb-1'",
        "botToken: { source: 'exec', id: 'x' }, appToken: 'xapp-1'",
        "botToken: { source: 'env', id: 'MISSING' }, appToken: 'xapp-1'",
        "enabled: false, botToken: 'xoxb-1', appToken: 'xapp-1'",
    ] {
        let (plan, loaded) = planned(&without(slack), None);
        assert!(loaded.settings.channels.is_empty(), "{slack}\n{}", plan.toml);
        assert!(plan.toml.contains("# [[channels]]"), "{slack}");
    }
    let reference = "botToken: 'xoxb-1', appToken: { source: 'env', provider: 'default', id: 'GIVEN' }";
    let (plan, loaded) = planned(&without(reference), None);
    assert_eq!(loaded.settings.channels.len(), 1);
    assert_eq!(plan.secrets.keys().collect::<Vec<_>>(), ["SLACK_BOT_TOKEN"]);
}

#[test]
fn what_is_unclear_lets_nobody_in() {
    let policy = |keys: &str| {
        let plan = planned(&format!("{{ channels: {{ irc: {{ {keys} }} }} }}"), None).0;
        let of = |name: &str| {
            plan.toml.lines().find_map(|line| line.strip_prefix(&format!("# {name} = "))).unwrap().to_owned()
        };
        [of("dm_policy"), of("group_policy")]
    };
    assert_eq!(policy(""), ["\"pairing\"", "\"off\""]);
    assert_eq!(policy("dmPolicy: 'open', groupPolicy: 'open'"), ["\"allowlist\"", "\"open\""]);
    assert_eq!(policy("dmPolicy: 'open', allowFrom: ['*']"), ["\"open\"", "\"off\""]);
    assert_eq!(
        policy("dmPolicy: 'disabled', groupPolicy: 'open', groups: { '*': { requireMention: false } }"),
        ["\"off\"", "\"open\""]
    );
    assert_eq!(policy("groupPolicy: 'allowlist', groups: { '-1': {} }"), ["\"pairing\"", "\"off\""]);
}

#[test]
fn groups_that_were_let_in_are_let_in() {
    let slack = |keys: &str| format!("{{ channels: {{ slack: {{ botToken: 'x', appToken: 'y', {keys} }} }} }}");
    check(
        &slack("groupPolicy: 'allowlist', channels: { C1: {}, '*': { requireMention: false } }"),
        &["group_policy = \"allowlist\"", "require_mention = false", "allow_groups = [\"C1\"]"],
    );
    check(&slack("groupPolicy: 'allowlist', channels: { '#general': {} }"), &["group_policy = \"off\""]);
}

#[test]
fn models_become_providers() {
    let (plan, loaded) = planned(
        "{ models: { providers: {
             mine: { baseUrl: 'http://127.0.0.1:8080/v1', apiKey: 'sk-1', api: 'openai-completions' },
             odd: { baseUrl: 'http://127.0.0.1:1', api: 'something-else' } } },
           agents: { defaults: { model: { primary: 'mine/qwen' } }, list: [
             { id: 'a' }, { id: 'b', model: 'anthropic/claude' }, { id: 'c', model: 'odd/x' }] } }",
        None,
    );
    let providers: Vec<&str> = loaded.settings.providers.iter().map(|provider| provider.name.as_str()).collect();
    assert_eq!(providers, ["mine-qwen", "anthropic-claude"]);
    assert_eq!(plan.secrets.keys().collect::<Vec<_>>(), ["MINE_API_KEY"]);
    assert!(plan.report.all_left().iter().any(|left| left.contains("odd/x")));
}

#[test]
fn what_is_not_carried_is_said() {
    let plan = Plan::read(
        "{ cron: {}, tools: {}, future: {}, gateway: { auth: { token: 'secret' }, bind: 'lan' }, channels: { slack: {} },
           agents: { list: [{ id: 'a', workspace: '~/memory' }] }, session: { reset: {} } }",
        None,
        &Here(BTreeSet::new()),
    )
    .unwrap();
    let left = plan.report.all_left().join("\n");
    for what in ["cron", "tools", "future", "gateway.auth", "gateway.bind", "MEMORY.md", "session.reset"] {
        assert!(left.contains(what), "{what} is not in\n{left}");
    }
    assert!(!left.contains("secret\""));
}
