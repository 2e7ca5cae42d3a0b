//! Configurations that come, go and come back, under a running gateway.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt as _;

use axum::http::{Method, StatusCode};
use frontdesk::config;
use frontdesk::gateway::ReloadError;
use serde_json::{Value, json};

use crate::peers::{Hook, Model, TestGateway, direct};

const PER_PEER: &str = "[session]\ndm_scope = \"per-channel-peer\"\n";
const BAD: &str = "[[chanels]]\nnote = \"swordfish\"\n";

struct Desk {
    gateway: TestGateway,
    model: Model,
    hook: Hook,
}

impl Desk {
    async fn start() -> Self {
        let (model, hook) = (Model::start().await, Hook::start("hook").await);
        let gateway = TestGateway::start(&good(&model, &hook, "m1")).await;
        Self { gateway, model, hook }
    }

    /// What `configure` takes for a gateway that asks for this model.
    fn good(&self, model: &str) -> String {
        good(&self.model, &self.hook, model)
    }

    /// Which model answers now?
    async fn check_model(&mut self, text: &str, expected: &str) {
        self.hook.accepted(&self.gateway, &direct("u1", text)).await;
        let question = self.model.asked().await;
        assert_eq!(question.model, expected);
        question.answer("yes");
        self.hook.hears("yes", &[text]).await;
    }

    async fn undo(&self, query: &str) -> (StatusCode, Value) {
        self.gateway.admin(Method::POST, &format!("/api/v1/config/undo{query}")).await
    }

    /// `number state` of each revision, the newest first.
    async fn revisions(&self) -> Vec<String> {
        let (_, body) = self.gateway.admin(Method::GET, "/api/v1/config/revisions").await;
        let state = |row: &Value| match (row["in_use"] == true, row["good"] == true) {
            (true, _) => "in use",
            (_, true) => "good",
            (_, false) => "bad",
        };
        body["revisions"].as_array().unwrap().iter().map(|row| format!("{} {}", row["number"], state(row))).collect()
    }

    fn file(&self) -> String {
        fs::read_to_string(self.gateway.home().join("config.toml")).unwrap()
    }
}

fn good(model: &Model, hook: &Hook, name: &str) -> String {
    [PER_PEER, &model.provider(name), &hook.entry()].concat()
}

#[tokio::test]
async fn undo_goes_back_to_the_last_good_configuration_and_uses_it() {
    let mut desk = Desk::start().await;
    desk.gateway.configure(&desk.good("m2"));
    desk.gateway.reload().await.unwrap();
    desk.check_model("one", "m2").await;
    assert_eq!(desk.revisions().await, ["2 in use", "1 good"]);
    let (status, body) = desk.undo("").await;
    assert_eq!((status, &body["revision"], &body["kept"]), (StatusCode::OK, &json!(1), &json!(["hook"])), "{body}");
    desk.check_model("two", "m1").await;
    assert_eq!(desk.revisions().await, ["3 in use", "2 good", "1 good"]);
    assert_eq!(desk.undo("").await.1["revision"], json!(2), "undo can be undone");
    desk.check_model("three", "m2").await;
}

#[tokio::test]
async fn undo_ends_safe_mode_and_keeps_the_broken_text() {
    let mut desk = Desk::start().await;
    let first = desk.file();
    desk.gateway.power_off().await;
    desk.gateway.configure(&[BAD, &desk.good("m2")].concat());
    let broken = desk.file();
    desk.gateway.power_on().await;
    let (_, status) = desk.gateway.admin(Method::GET, "/api/v1/status").await;
    assert!(status["safe_mode"].as_str().unwrap().contains("chanels"), "{status}");
    assert_eq!(desk.revisions().await, ["1 good"], "what starts safe mode was not used");
    let (code, said) = desk.gateway.command(&["config", "undo"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("revision 1 is in ") && said.contains("config.toml and in use"), "{said}");
    assert_eq!(desk.file(), first);
    desk.check_model("one", "m1").await;
    let (_, status) = desk.gateway.admin(Method::GET, "/api/v1/status").await;
    assert_eq!(status["safe_mode"], Value::Null);
    assert_eq!(desk.revisions().await, ["3 in use", "2 bad", "1 good"]);

    // Its author wants the text back. It is as wrong as before.
    let (status, body) = desk.undo("?revision=2").await;
    assert_eq!((status, &body["problems"][0]["path"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("chanels")), "{body}");
    assert_eq!(desk.file(), broken);
    desk.check_model("two", "m1").await;
}

#[tokio::test]
async fn a_revision_that_cannot_be_used_any_more_changes_nothing() {
    let desk = Desk::start().await;
    let soul = desk.gateway.home().join("SOUL.md");
    fs::write(&soul, "Be kind.").unwrap();
    desk.gateway.configure(&[&desk.good("m2"), "[[agents]]\nname = \"a\"\nsoul = \"SOUL.md\"\n"].concat());
    desk.gateway.reload().await.unwrap();
    desk.gateway.configure(&desk.good("m3"));
    desk.gateway.reload().await.unwrap();
    fs::remove_file(soul).unwrap();
    let before = desk.file();
    let (status, body) = desk.undo("?revision=2").await;
    assert_eq!((status, &body["problems"][0]["path"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("agents[0].soul")));
    assert_eq!(desk.file(), before);
    assert_eq!(desk.revisions().await, ["3 in use", "2 good", "1 good"]);
    assert_eq!(desk.undo("?revision=77").await.0, StatusCode::NOT_FOUND);
}

#[tokio::test]
async fn undo_changes_the_syntax_where_the_revision_has_another() {
    let desk = Desk::start().await;
    let home = desk.gateway.home();
    desk.gateway.remove_config();
    fs::write(home.join("config.yml"), "gateway:\n  port: 0\nsession:\n  dmScope: per-peer\n").unwrap();
    desk.gateway.reload().await.unwrap();
    assert_eq!(desk.undo("").await.0, StatusCode::OK);
    assert!(!home.join("config.yml").exists() && home.join("config.toml").exists());
    assert_eq!(desk.undo("").await.0, StatusCode::OK);
    assert!(home.join("config.yml").exists() && !home.join("config.toml").exists());
}

#[tokio::test]
async fn a_text_that_is_put_is_checked_whole_and_used() {
    let mut desk = Desk::start().await;
    let (_, current) = desk.gateway.admin(Method::GET, "/api/v1/config").await;
    let (base, before) = (current["digest"].clone(), desk.file());
    let put = async |text: &str, base: &Value| {
        let body = json!({ "text": format!("[gateway]\nport = 0\n{text}"), "base": base });
        desk.gateway.admin_send(Method::PUT, "/api/v1/config", &body).await
    };
    let (status, body) = put(&[BAD, &desk.good("m2")].concat(), &base).await;
    assert_eq!((status, &body["problems"][0]["line"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!(3)), "{body}");
    assert!(!body.to_string().contains("swordfish"), "{body}");
    assert_eq!(put(&desk.good("m2"), &json!("0000")).await.0, StatusCode::CONFLICT);
    assert_eq!(put(&desk.good("m2"), &Value::Null).await.0, StatusCode::CONFLICT);
    let moved = desk.good("m2").replace(PER_PEER, &format!("{PER_PEER}storage_path = \"other.redb\"\n"));
    assert_eq!(put(&moved, &base).await.0, StatusCode::UNPROCESSABLE_ENTITY, "it cannot be used while this runs");
    assert_eq!((desk.file(), desk.revisions().await), (before, vec!["1 in use".to_owned()]), "nothing has changed");
    assert_eq!(put(&desk.good("m2"), &base).await.0, StatusCode::OK);
    assert_eq!(put(&desk.good("m3"), &base).await.0, StatusCode::CONFLICT, "somebody was faster");
    assert_eq!(desk.revisions().await, ["2 in use", "1 good"]);
    assert!(desk.file().contains("m2"));
    desk.check_model("one", "m2").await;
}

#[tokio::test]
async fn a_disk_that_keeps_no_revision_stops_neither_start_nor_reload() {
    let (model, hook) = (Model::start().await, Hook::start("hook").await);
    let mut desk = Desk { gateway: TestGateway::start(&good(&model, &hook, "m1")).await, model, hook };
    let directory = desk.gateway.home().join("revisions");
    fs::remove_dir_all(&directory).unwrap();
    fs::write(&directory, "in the way").unwrap();
    desk.gateway.configure(&desk.good("m2"));
    desk.gateway.reload().await.unwrap();
    desk.check_model("one", "m2").await;
    desk.gateway.settled().await;
    desk.gateway.power_off().await;
    desk.gateway.power_on().await;
    desk.check_model("two", "m2").await;
    let (_, status) = desk.gateway.admin(Method::GET, "/api/v1/status").await;
    assert!(status["warnings"].to_string().contains("was not kept as a revision"), "{status}");
    assert_eq!(desk.undo("").await.0, StatusCode::SERVICE_UNAVAILABLE);
    fs::remove_file(directory).unwrap();
    desk.gateway.reload().await.unwrap();
    let (_, status) = desk.gateway.admin(Method::GET, "/api/v1/status").await;
    assert_eq!(status["warnings"], json!([]));
}

#[tokio::test]
async fn commands_show_what_it_was_without_a_secret() {
    let mut desk = Desk::start().await;
    let secret = desk.hook.entry().lines().find_map(|line| line.strip_prefix("secret = ").map(str::to_owned)).unwrap();
    let secret = secret.trim_matches('"').to_owned();
    desk.gateway.configure(&desk.good("m2"));
    desk.gateway.reload().await.unwrap();
    desk.gateway.configure(&[BAD, &desk.good("m3")].concat());
    for is_running in [true, false] {
        if !is_running {
            desk.gateway.power_off().await;
        }
        let (code, list) = desk.gateway.command(&["config", "revisions"]).await;
        assert_eq!(code, 0, "{list}");
        assert!(list.contains("~providers[0].model") && list.contains("the first"), "{list}");
        assert_eq!(list.contains("in use"), is_running, "{list}");
        let (code, shown) = desk.gateway.command(&["config", "show", "--revision", "1"]).await;
        assert_eq!(code, 0, "{shown}");
        assert!(shown.contains("providers[0].model = \"m1\"\n") && shown.contains("channels[0].secret = \"…\"\n"));
        let (code, diff) = desk.gateway.command(&["config", "diff", "2"]).await;
        assert_eq!(code, 0, "{diff}");
        assert!(diff.contains("--- revision 2\n+++ config.toml\n"), "{diff}");
        assert!(
            diff.contains("-providers[0].model = \"m2\"\n") && diff.contains("+chanels[0].note = \"…\"\n"),
            "{diff}"
        );
        for text in [list, shown, diff] {
            assert!(!text.contains(&secret) && !text.contains("swordfish"), "{text}");
        }
        let (code, _) = desk.gateway.command(&["config", "show", "--revision", "9"]).await;
        assert_eq!(code, 64);
    }
    let (code, said) = desk.gateway.command(&["config", "undo"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("no gateway is running here, so the next start uses it"), "{said}");
    desk.gateway.power_on().await;
    desk.check_model("one", "m2").await;
}

#[tokio::test]
async fn a_reload_to_a_taken_port_changes_nothing() {
    let mut desk = Desk::start().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let text = desk.file().replace("port = 0", &format!("port = {}", taken.local_addr().unwrap().port()));
    fs::write(desk.gateway.home().join("config.toml"), text.replace("\"m1\"", "\"m2\"")).unwrap();
    assert!(matches!(desk.gateway.reload().await, Err(ReloadError::Listen(_))));
    desk.check_model("one", "m1").await;
    assert_eq!(desk.revisions().await, ["1 in use"], "what could not be used is not kept");
}

#[tokio::test]
async fn a_reload_drops_no_conversation() {
    let mut desk = Desk::start().await;
    desk.check_model("one", "m1").await;
    desk.gateway.configure(&desk.good("m2"));
    assert_eq!(desk.gateway.reload().await.unwrap().kept, ["hook"]);
    desk.hook.accepted(&desk.gateway, &direct("u1", "two")).await;
    let question = desk.model.asked().await;
    assert_eq!(question.said, ["user: one", "assistant: yes", "user: two"]);
    question.answer("yes");
}

#[tokio::test]
async fn two_configurations_are_safe_mode_until_undo() {
    let mut desk = Desk::start().await;
    desk.gateway.power_off().await;
    fs::write(desk.gateway.home().join("config.yml"), "gateway:\n  port: 0\n").unwrap();
    desk.gateway.power_on().await;
    assert!(matches!(desk.gateway.reload().await, Err(ReloadError::Config(config::Error::File(_)))));
    assert_eq!(desk.undo("").await.0, StatusCode::OK);
    assert!(!desk.gateway.home().join("config.yml").exists());
    desk.check_model("one", "m1").await;
}

#[tokio::test]
async fn doctor_says_what_is_wrong_with_and_without_a_gateway() {
    let mut desk = Desk::start().await;
    desk.check_model("one", "m1").await;
    desk.gateway.settled().await;
    fs::set_permissions(desk.gateway.home(), fs::Permissions::from_mode(0o700)).unwrap();
    let (code, said) = desk.gateway.command(&["doctor"]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("[clear-secret]") && said.ends_with("nothing is wrong\n"), "{said}");
    desk.gateway.configure(&[BAD, &desk.good("m2")].concat());
    let (code, said) = desk.gateway.command(&["doctor"]).await;
    assert_eq!(code, 78, "{said}");
    assert!(said.starts_with("error: config.toml:3:") && !said.contains("swordfish"), "{said}");
    desk.gateway.configure(&[&desk.good("m1"), "require_mention = false\n"].concat());
    let (code, said) = desk.gateway.command(&["doctor"]).await;
    assert_eq!(code, 75, "{said}");
    assert!(said.starts_with("warning: ") && said.contains("[not-reloaded]"), "{said}");
    desk.gateway.power_off().await;
    let (code, said) = desk.gateway.command(&["doctor", "--json"]).await;
    assert_eq!(code, 75, "{said}");
    assert!(said.contains("\"running\": false") && said.contains("\"id\": \"answers-always\""), "{said}");
}

#[tokio::test]
async fn a_key_that_is_missing_or_another_is_said_before_a_start() {
    let mut desk = Desk::start().await;
    desk.check_model("one", "m1").await;
    desk.gateway.settled().await;
    let (code, said) = desk.gateway.command(&["keys", "status"]).await;
    assert_eq!(code, 0, "while it runs: {said}");
    desk.gateway.power_off().await;
    let (code, said) = desk.gateway.command(&["keys", "status"]).await;
    assert_eq!(code, 0, "{said}");
    let (_, said) = desk.gateway.command(&["doctor"]).await;
    assert!(!said.contains("[device-key]") && !said.contains("[store]"), "{said}");
    let key = desk.gateway.home().join("device.key");
    let kept = fs::read(&key).unwrap();
    fs::remove_file(&key).unwrap();
    for (wrong, sentence) in [(None, "is missing"), (Some([9; 32]), "is not the one with which")] {
        if let Some(other) = wrong {
            fs::write(&key, other).unwrap();
            fs::set_permissions(&key, fs::Permissions::from_mode(0o600)).unwrap();
        }
        let (code, said) = desk.gateway.command(&["keys", "status", "--json"]).await;
        assert!(code == 78 && said.contains(sentence) && said.contains("restore a backup"), "{code}: {said}");
        let (code, said) = desk.gateway.command(&["doctor"]).await;
        assert!(code == 75 && said.contains(sentence) && said.contains("[device-key]"), "{code}: {said}");
        assert_eq!(fs::read(&key).ok(), wrong.map(Vec::from), "nothing was made");
    }
    fs::write(&key, kept).unwrap();
    desk.gateway.power_on().await;
    desk.check_model("two", "m1").await;
}

#[tokio::test]
async fn route_explain_says_key_rule_agent_and_what_else_would_match() {
    let home = tempfile::tempdir().unwrap();
    let text = "routing = [\"tenant-42-webhook:* -> a\", \"webhook:* -> b\"]\n[session]\ndm_scope = \"per-channel-peer\"\n\
        [[agents]]\nname = \"a\"\n[[agents]]\nname = \"b\"\n[[channels]]\ntype = \"webhook\"\nsecret = \"s\"\n\
        reply_url = \"https://example.com/\"\ntenant_id = \"42\"\nworkspace_id = \"w\"\n";
    fs::write(home.path().join("config.toml"), text).unwrap();
    let explain = |arguments: &[&str]| {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_frontdesk"));
        command.env_clear().arg("--home").arg(home.path()).args(["route", "explain", "tenant-42-webhook:c1:u1"]);
        String::from_utf8(command.args(arguments).output().unwrap().stdout).unwrap()
    };
    let expected =
        "rule: direct:per-channel-peer\nagent: a\nroute: tenant-42-webhook:* -> a\nwould match too: webhook:* -> b\n";
    let said = explain(&[]);
    assert!(said.starts_with("session key: tenant-42-workspace=w:"), "the workspace of the only such entry: {said}");
    assert_eq!(said.split_once('\n').unwrap().1, expected);
    let json: Value = serde_json::from_str(&explain(&["--json", "--kind", "group"])).unwrap();
    assert_eq!(
        (&json["rule"], &json["agent"], &json["later"]),
        (&json!("group"), &json!("a"), &json!(["webhook:* -> b"]))
    );
}
