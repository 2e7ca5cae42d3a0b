//! The health check through the real gateway: what it finds, and that it leaves nothing.

use std::fs;

use axum::http::{Method, StatusCode};
use serde_json::{Value, json};

use crate::peers::{Hook, TestGateway, http};

const DEMO: &str = "[[providers]]\nname = \"demo\"\nkind = \"demo\"\n";

fn checks(found: &Value) -> Vec<(String, bool)> {
    let checks = found["checks"].as_array().unwrap().iter();
    checks.map(|check| (check["id"].as_str().unwrap().to_owned(), check["ok"].as_bool().unwrap())).collect()
}

#[tokio::test]
async fn a_healthy_gateway_answers_itself_and_nothing_of_it_is_kept() {
    let hook = Hook::start("hook").await;
    let gateway = TestGateway::start(&[DEMO, &hook.entry()].concat()).await;
    let everything = ["sessions", "usage", "access", "deliveries", "tenants", "sessions/unresolved"];
    let kept = async || {
        let mut kept = Vec::new();
        for name in everything {
            let (status, mut found) = gateway.admin(Method::GET, &format!("/api/v1/{name}")).await;
            // How much memory the process takes is noted whatever it does.
            found.as_object_mut().unwrap().remove("memory");
            kept.push((status, found));
        }
        let (_, status) = gateway.admin(Method::GET, "/api/v1/status").await;
        kept.push((StatusCode::OK, json!([status["sessions"], status["queue"]])));
        kept
    };
    let before = kept().await;
    for _ in 0..2 {
        let (status, found) = gateway.admin(Method::POST, "/api/v1/health").await;
        assert_eq!(status, StatusCode::OK, "{found}");
        let all = ["gateway", "store", "message"].map(|id| (id.to_owned(), true));
        assert_eq!((checks(&found), &found["healthy"]), (all.to_vec(), &json!(true)), "{found}");
        assert_eq!(found["channels"], json!([{ "id": "hook", "works": true }]));
    }
    assert_eq!(kept().await, before);
    assert!(before.iter().all(|(status, _)| *status == StatusCode::OK), "{before:?}");
    let left: Vec<_> = fs::read_dir(gateway.home()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().starts_with("health")), "{left:?}");
}

#[tokio::test]
async fn a_gateway_in_safe_mode_is_not_healthy_and_its_message_still_goes_its_way() {
    let gateway = TestGateway::start("nonsense = 1\n").await;
    let (_, found) = gateway.admin(Method::POST, "/api/v1/health").await;
    assert_eq!(found["healthy"], json!(false));
    let expected = [("gateway", false), ("store", true), ("message", true)].map(|(id, ok)| (id.to_owned(), ok));
    assert_eq!(checks(&found), expected);
    let (code, said) = gateway.command(&["health"]).await;
    assert_eq!(code, 75, "{said}");
    assert!(said.contains("WRONG: the gateway takes no messages: safe mode"), "{said}");
}

#[tokio::test]
async fn what_cannot_be_made_in_the_home_is_no_answer() {
    let gateway = TestGateway::start(DEMO).await;
    // What is in the way is a file, and no directory can take its place.
    fs::write(gateway.home().join("health.check"), "").unwrap();
    let (_, found) = gateway.admin(Method::POST, "/api/v1/health").await;
    assert_eq!(checks(&found).last(), Some(&("message".to_owned(), false)), "{found}");
}

#[tokio::test]
async fn nobody_asks_for_it_from_outside() {
    let gateway = TestGateway::start(DEMO).await;
    let token = fs::read_to_string(gateway.home().join("admin.token")).unwrap();
    let asked = http().post(gateway.url("/api/v1/health")).bearer_auth(token.trim()).send().await.unwrap();
    assert!([StatusCode::FORBIDDEN, StatusCode::UNAUTHORIZED].contains(&asked.status()), "{}", asked.status());
}

#[tokio::test]
async fn the_command_remembers_how_channels_were_and_compares() {
    let hook = Hook::start("hook").await;
    let mut gateway = TestGateway::start(&[DEMO, &hook.entry()].concat()).await;
    let file = gateway.home().join("noted.json");
    let file = file.to_str().unwrap();
    let (code, said) = gateway.command(&["health", "--remember", file, "--compare", file]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.ends_with("healthy\n") && !said.contains("channels"), "nothing to compare with yet: {said}");
    let (code, said) = gateway.command(&["health", "--compare", file, "--wait", "1", "--json"]).await;
    let found: Value = serde_json::from_str(&said).unwrap();
    assert_eq!((code, &found["healthy"]), (0, &json!(true)), "{said}");
    assert_eq!(checks(&found).iter().filter(|(id, _)| id == "channels").count(), 1);
    gateway.power_off().await;
    let (code, said) = gateway.command(&["health", "--compare", file]).await;
    assert_eq!(code, 75);
    assert!(said.contains("no gateway is running"), "{said}");
}
