//! OpenClaw's own files, made by running it (`tests/data/openclaw`), through the command and a real gateway.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use serde_json::Value;
use tempfile::TempDir;

use crate::peers::{Hook, TestGateway};
use crate::source::project;

const PER_CHANNEL_PEER: &str = "[session]\ndm_scope = \"per-channel-peer\"\n";

fn fixture(version: &str) -> PathBuf {
    project().join("tests/data/openclaw").join(version)
}

fn frontdesk(home: &Path, arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_frontdesk"));
    command.env_clear().env("HOME", "/nonexistent").env("SECOND_BOT_TOKEN", "t");
    command.arg("--home").arg(home).args(arguments).output().unwrap()
}

fn import(home: &Path, state: &Path, more: &[&str]) -> Output {
    let state = state.to_str().unwrap();
    frontdesk(home, &[&["import", "openclaw", state], more].concat())
}

fn json(output: &Output) -> Value {
    let text = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&text).unwrap_or_else(|_| panic!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// Everything below a directory, with its content.
fn files(root: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let mut found = Vec::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            if entry.is_dir() {
                folders.push(entry);
            } else {
                found.push((entry.clone(), fs::read(&entry).unwrap_or_default()));
            }
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    for (path, content) in files(from) {
        let target = to.join(path.strip_prefix(from).unwrap());
        fs::create_dir_all(target.parent().unwrap()).unwrap();
        fs::write(target, content).unwrap();
    }
}

/// Key of ours, for each session that is carried.
fn carried(report: &Value) -> Vec<(String, String, String)> {
    let rows = report["sessions"].as_array().unwrap().iter().filter(|row| row["reason"].is_null());
    let text = |row: &Value, name: &str| row[name].as_str().unwrap().to_owned();
    let mut rows: Vec<_> = rows.map(|row| (text(row, "from"), text(row, "key"), text(row, "outcome"))).collect();
    rows.sort();
    rows
}

/// Lines of a conversation as `sessions show` prints them.
fn shown(home: &Path, key: &str) -> Vec<String> {
    let shown = json(&frontdesk(home, &["--json", "sessions", "show", key]));
    let line = |line: &Value| {
        let text = |name: &str| line[name].as_str().unwrap_or("-").to_owned();
        format!("{} {} {} {}: {}", text("at"), text("role"), text("user_id"), text("name"), text("text"))
    };
    shown["lines"].as_array().unwrap_or_else(|| panic!("{shown}")).iter().map(line).collect()
}

const KEYS: [(&str, &str); 10] = [
    (
        "agent:reception:discord:channel:998100000000000001",
        "discord:guild_742000000000000001:channel_998100000000000001",
    ),
    ("agent:reception:matrix:default:direct:@eve:example.org", "matrix:!Dm1:example.org:@Eve:example.org"),
    ("agent:reception:openai-user:crm", "api:user_crm"),
    ("agent:reception:telegram:default:direct:alice", "telegram:chat_5839201"),
    ("agent:reception:telegram:group:-4001", "telegram:chat_-4001:group:account=default"),
    ("agent:reception:whatsapp:default:direct:alice", "wa:+15551234567"),
    ("agent:sales:slack:channel:c04xyz789", "slack:T09ABC123:C04XYZ789"),
    (
        "agent:sales:slack:channel:c04xyz789:thread:1761036200.000400",
        "slack:T09ABC123:C04XYZ789:thread=1761036200.000400",
    ),
    ("agent:sales:slack:default:direct:u07def456", "slack:T09ABC123:D04XYZ789:U07DEF456"),
    (
        "agent:sales:telegram:group:-1001234567890:topic:42",
        "telegram:chat_-1001234567890:group:account=default:thread=42",
    ),
];

#[tokio::test]
async fn conversations_of_2026_4_15_keep_their_words_times_and_order() {
    let gateway = TestGateway::start(PER_CHANNEL_PEER).await;
    let report = json(&import(gateway.home(), &fixture("2026.4.15"), &["--json"]));
    let carried = carried(&report);
    for (from, key) in KEYS {
        let expected = (from.to_owned(), key.to_owned(), "imported".to_owned());
        assert!(carried.contains(&expected), "{from} is not {key} in {carried:#?}");
    }
    assert_eq!(
        shown(gateway.home(), "telegram:chat_5839201"),
        [
            "2026-11-22T12:58:45Z peer chat_5839201 Alice: Good morning, is Friday free?",
            "2026-11-22T12:58:45Z agent - reception: You said: Good morning, is Friday free?",
            "2026-11-22T12:58:49Z peer chat_5839201 Alice: And please read the file",
            "2026-11-22T12:58:49Z agent - reception: You said: And please read the file",
        ]
    );
    let group = shown(gateway.home(), "telegram:chat_-4001:group:account=default");
    assert_eq!(group[0], "2026-11-22T12:58:51Z peer user_42 Bob 😀: hello all");
    assert!(group[2].ends_with("peer user_5839201 Alice: hello Bob"), "{group:?}");
    // Two sessions of Bob have this key; the one of an earlier scope was changed last.
    assert_eq!(
        shown(gateway.home(), "telegram:chat_42"),
        [
            "2026-11-22T12:59:42Z peer chat_42 -: An earlier scope",
            "2026-11-22T12:59:42Z agent - reception: You said: An earlier scope",
        ]
    );
    let listed = json(&frontdesk(gateway.home(), &["--json", "sessions", "list", "--agent", "sales"]));
    assert_eq!(listed["sessions"].as_array().unwrap().len(), 4);
    let found = frontdesk(gateway.home(), &["--json", "sessions", "find", "--channel", "slack", "--user", "U07DEF456"]);
    assert_eq!(json(&found)["sessions"][0]["key"], "slack:T09ABC123:D04XYZ789:U07DEF456");
}

#[tokio::test]
async fn conversations_of_2026_9_6_come_out_of_sqlite() {
    let gateway = TestGateway::start(PER_CHANNEL_PEER).await;
    let report = json(&import(gateway.home(), &fixture("2026.9.6"), &["--json"]));
    let carried = carried(&report);
    for (from, key) in KEYS {
        let expected = (from.to_owned(), key.to_owned(), "imported".to_owned());
        assert!(carried.contains(&expected), "{from} is not {key} in {carried:#?}");
    }
    let alice = shown(gateway.home(), "telegram:chat_5839201");
    assert_eq!(alice[0], "2026-11-22T12:58:45Z peer chat_5839201 Alice: Good morning, is Friday free?");
    assert!(alice[4].ends_with("peer chat_5839201 Alice: Good morning again, is Friday free?"), "{alice:?}");
    let bob = shown(gateway.home(), "telegram:chat_42");
    assert_eq!(bob[0], "2026-11-22T12:58:50Z peer chat_42 Bob 😀: Grüezi 👋\nsecond line");
    let group = shown(gateway.home(), "telegram:chat_-4001:group:account=default");
    assert!(group[4].ends_with("peer user_42 Bob 😀: hello all again"), "{group:?}");
}

#[tokio::test]
async fn what_openclaw_shared_or_ran_by_itself_becomes_nobodys() {
    let gateway = TestGateway::start(PER_CHANNEL_PEER).await;
    let report = json(&import(gateway.home(), &fixture("2026.4.15"), &["--json"]));
    let rows = report["sessions"].as_array().unwrap();
    let reason = |from: &str| {
        let row = rows.iter().find(|row| row["from"] == from).unwrap();
        row["reason"].as_str().unwrap().to_owned()
    };
    assert!(reason("agent:reception:main").contains("shared by everybody"));
    assert!(reason("agent:reception:cron:nightly").contains("cron"));
    assert!(reason("agent:reception:hook:gmail:1").contains("hooks"));
    assert!(reason("agent:reception:direct:alice").contains("unknown channel"));
}

#[tokio::test]
async fn under_main_only_the_shared_session_is_carried() {
    let hook = Hook::start("hook").await;
    let gateway = TestGateway::start(&["[session]\ndm_scope = \"main\"\n", &hook.entry()].concat()).await;
    let report = json(&import(gateway.home(), &fixture("2026.9.6"), &["--json"]));
    let direct: Vec<_> = carried(&report).into_iter().filter(|(_, key, _)| key == "main").collect();
    assert_eq!(direct.len(), 1, "{direct:?}");
    assert_eq!(direct[0].0, "agent:reception:main");
    let lines = shown(gateway.home(), "main");
    assert!(lines[0].ends_with(": To the main session"), "{lines:?}");
    // It was compressed in the file.
    assert!(lines.iter().any(|line| line.contains("A long one word word")), "{lines:?}");
}

#[tokio::test]
async fn importing_again_changes_nothing() {
    let gateway = TestGateway::start(PER_CHANNEL_PEER).await;
    import(gateway.home(), &fixture("2026.4.15"), &[]);
    let before = shown(gateway.home(), "telegram:chat_42");
    // The later release has the same conversations with more lines: two pasts are not merged.
    let report = json(&import(gateway.home(), &fixture("2026.9.6"), &["--json"]));
    assert!(carried(&report).iter().all(|(_, _, outcome)| outcome == "exists"), "{report:#}");
    assert_eq!(shown(gateway.home(), "telegram:chat_42"), before);
}

#[tokio::test]
async fn a_tenants_import_is_that_tenants() {
    let gateway = TestGateway::start(PER_CHANNEL_PEER).await;
    import(gateway.home(), &fixture("2026.4.15"), &["--tenant", "42"]);
    assert!(gateway.session_keys(None).await.iter().all(|key| key.starts_with("tenant-42-")));
    assert_eq!(gateway.session_keys(Some("42")).await.len(), KEYS.len() + 3);
}

#[test]
fn without_a_gateway_the_configuration_is_written_and_the_rest_waits() {
    for version in ["2026.4.15", "2026.9.6"] {
        let home = TempDir::new().unwrap();
        let output = import(home.path(), &fixture(version), &[]);
        let error = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(75), "{error}");
        assert!(error.contains("gateway run"), "{error}");
        let check = frontdesk(home.path(), &["config", "check"]);
        assert!(check.status.success(), "{}", String::from_utf8_lossy(&check.stderr));
        let config = fs::read_to_string(home.path().join("config.toml")).unwrap();
        for (what, is_there) in
            [("fixture", false), ("fake-echo", true), ("reception/SOUL.md", true), ("telegram", true)]
        {
            assert_eq!(config.contains(what), is_there, "{what} in\n{config}");
        }
        let secret = home.path().join("secrets/FAKE_API_KEY");
        assert_eq!(fs::read_to_string(&secret).unwrap(), "sk-model-key-of-the-fixture");
        let mode = std::os::unix::fs::PermissionsExt::mode(&fs::metadata(&secret).unwrap().permissions());
        assert_eq!(mode & 0o777, 0o600);
        let soul = fs::read_to_string(home.path().join("sales/SOUL.md")).unwrap();
        assert_eq!(soul, "You are the sales of Pine Street.\n");
    }
}

#[test]
fn a_configuration_that_is_there_stays() {
    let home = TempDir::new().unwrap();
    fs::write(home.path().join("config.toml"), PER_CHANNEL_PEER).unwrap();
    import(home.path(), &fixture("2026.4.15"), &[]);
    assert_eq!(fs::read_to_string(home.path().join("config.toml")).unwrap(), PER_CHANNEL_PEER);
    assert!(fs::read_to_string(home.path().join("config.imported.toml")).unwrap().contains("[[agents]]"));
}

#[test]
fn a_dry_run_writes_nothing_anywhere() {
    for version in ["2026.4.15", "2026.9.6"] {
        let (home, state) = (TempDir::new().unwrap(), TempDir::new().unwrap());
        copy(&fixture(version), state.path());
        let before = files(state.path());
        let output = import(home.path(), state.path(), &["--dry-run", "--json"]);
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(carried(&json(&output)).len() >= KEYS.len());
        assert_eq!(files(home.path()), []);
        assert!(files(state.path()) == before, "OpenClaw's directory has changed");
    }
}

/// A state with one session, and what becomes of it.
fn lone(entry: &str, key: &str, prepare: impl FnOnce(&Path)) -> Value {
    let (home, state) = (TempDir::new().unwrap(), TempDir::new().unwrap());
    let sessions = state.path().join("agents/a/sessions");
    fs::create_dir_all(&sessions).unwrap();
    fs::write(state.path().join("openclaw.json"), "{ session: { dmScope: 'per-channel-peer' } }").unwrap();
    fs::write(sessions.join("sessions.json"), format!("{{ {}: {entry} }}", Value::from(key))).unwrap();
    prepare(&sessions);
    let output = import(home.path(), state.path(), &["--dry-run", "--json"]);
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    json(&output)["sessions"][0].clone()
}

const SAID: &str = r#"{"type":"message","id":"1","message":{"role":"user","content":"hello","timestamp":5}}"#;

#[test]
fn a_name_in_a_file_leads_nowhere() {
    let outside = TempDir::new().unwrap();
    let secret = outside.path().join("s.jsonl");
    fs::write(&secret, SAID).unwrap();
    let key = "agent:a:telegram:direct:1";
    for named in [secret.to_str().unwrap(), "../../../../s.jsonl", "..", "/etc/passwd", "s\u{0}.jsonl"] {
        let entry = serde_json::json!({ "sessionId": "s", "sessionFile": named }).to_string();
        assert_eq!(lone(&entry, key, |_| {})["lines"], 0, "{named}");
    }
    let entry = r#"{"sessionId":"s"}"#;
    let linked = lone(entry, key, |sessions| std::os::unix::fs::symlink(&secret, sessions.join("s.jsonl")).unwrap());
    assert_eq!(linked["lines"], 0, "a link is not followed");
    let traversal = r#"{"sessionId":"../../../s"}"#;
    assert_eq!(
        lone(traversal, key, |sessions| fs::write(sessions.join("../../../s.jsonl"), SAID).unwrap())["lines"],
        0
    );
    let plain = lone(entry, key, |sessions| fs::write(sessions.join("s.jsonl"), SAID).unwrap());
    assert_eq!(plain["lines"], 1);
}

#[test]
fn a_line_of_a_hundred_megabytes_costs_only_itself() {
    let row = lone(r#"{"sessionId":"s"}"#, "agent:a:telegram:direct:1", |sessions| {
        let long = "x".repeat(100 * 1024 * 1024);
        fs::write(sessions.join("s.jsonl"), format!("{SAID}\n{long}\n{{broken\n{SAID}\n")).unwrap();
    });
    assert_eq!(row["lines"], 2, "{row}");
    assert_eq!(row["notes"].as_array().unwrap().len(), 2, "{row}");
}

#[test]
fn odd_ids_are_kept_apart() {
    let key_of = |peer: &str| {
        let entry = serde_json::json!({ "sessionId": "s", "lastTo": peer }).to_string();
        let key = format!("agent:a:irc:direct:{}", peer.to_lowercase());
        let row = lone(&entry, &key, |sessions| fs::write(sessions.join("s.jsonl"), SAID).unwrap());
        row["key"].as_str().unwrap().to_owned()
    };
    for (peer, expected) in [
        ("A:b", "irc:A%3Ab"),
        ("a%3Ab", "irc:a%253Ab"),
        ("😀", "irc:%F0%9F%98%80"),
        ("../x", "irc:..%2Fx"),
        ("group", "irc:%67roup"),
    ] {
        assert_eq!(key_of(peer), expected);
    }
}

#[test]
fn what_is_no_installation_says_what_to_name() {
    let home = TempDir::new().unwrap();
    let missing = import(home.path(), Path::new("/nonexistent"), &["--dry-run"]);
    assert_eq!(missing.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("~/.openclaw"));
    fs::write(home.path().join("openclaw.json"), "{ broken").unwrap();
    assert_eq!(import(home.path(), home.path(), &["--dry-run"]).status.code(), Some(78));
    fs::write(home.path().join("openclaw.json"), "{}").unwrap();
    fs::create_dir_all(home.path().join("agents/a/agent")).unwrap();
    fs::write(home.path().join("agents/a/agent/openclaw-agent.sqlite"), "no database").unwrap();
    let damaged = import(home.path(), home.path(), &["--dry-run"]);
    assert_eq!(damaged.status.code(), Some(64));
    assert!(String::from_utf8_lossy(&damaged.stderr).contains("openclaw-agent.sqlite"));
}
