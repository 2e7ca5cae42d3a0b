//! Who may use the admin API, through the real gateway and the commands.

use std::fs;
use std::net::IpAddr;

use axum::http::{Method, StatusCode};
use frontdesk::account::{self, ClaimError};
use frontdesk::document::Secret;
use serde_json::{Value, json};

use crate::peers::TestGateway;

const PASSWORD: &str = "correct horse battery";
const USERS: &str = "/api/v1/users";
const TOKENS: &str = "/api/v1/tokens";

fn near() -> IpAddr {
    [192, 168, 1, 20].into()
}

/// With an administrator called Ada.
async fn claimed() -> TestGateway {
    let gateway = TestGateway::start("").await;
    let code = gateway.accounts().claim_code().unwrap();
    gateway.accounts().claim(&code, "Ada", &Secret::new(PASSWORD), near()).await.unwrap();
    gateway
}

async fn post(gateway: &TestGateway, path: &str, body: &Value, expected: StatusCode) -> Value {
    let (status, answer) = gateway.admin_send(Method::POST, path, body).await;
    assert_eq!(status, expected, "{path} {answer}");
    answer
}

async fn delete(gateway: &TestGateway, path: &str, expected: StatusCode) -> Value {
    let (status, answer) = gateway.admin(Method::DELETE, path).await;
    assert_eq!(status, expected, "{path} {answer}");
    answer
}

async fn names(gateway: &TestGateway, path: &str, member: &str) -> Vec<String> {
    let (status, answer) = gateway.admin(Method::GET, path).await;
    assert_eq!(status, StatusCode::OK);
    answer[member].as_array().unwrap().iter().map(|row| row["name"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test]
async fn accounts_are_managed_over_the_admin_api() {
    let gateway = claimed().await;
    let bob = json!({ "name": "Bob Ä", "role": "support", "tenant": "42", "password": PASSWORD });
    assert_eq!(post(&gateway, USERS, &bob, StatusCode::OK).await, json!({ "added": "Bob Ä" }));
    post(&gateway, USERS, &bob, StatusCode::CONFLICT).await;
    let with = |name: &str, value: Value| {
        let mut body = bob.clone();
        body["name"] = json!("Cleo");
        body[name] = value;
        body
    };
    let weak = post(&gateway, USERS, &with("password", json!("password123")), StatusCode::BAD_REQUEST).await;
    assert_eq!(weak["weakness"], "common");
    for (name, value) in [
        ("role", json!("root")),
        ("role", json!(null)),
        ("tenant", json!("")),
        ("name", json!(" ")),
        ("name", json!("console")),
        ("tennant", json!("42")),
    ] {
        let said = post(&gateway, USERS, &with(name, value), StatusCode::BAD_REQUEST).await;
        assert!(!said.to_string().contains(PASSWORD), "{said}");
    }
    let (_, found) = gateway.admin(Method::GET, USERS).await;
    let mut rows = found["users"].as_array().unwrap().clone();
    rows.iter_mut().for_each(|row| assert!(row.as_object_mut().unwrap().remove("created").is_some()));
    assert_eq!(
        rows,
        [
            json!({ "name": "Ada", "role": "admin", "tenant": null, "sessions": 1, "passkeys": 0, "passkey_asked_for": false }),
            json!({ "name": "Bob Ä", "role": "support", "tenant": "42", "sessions": 0, "passkeys": 0, "passkey_asked_for": false }),
        ]
    );
    post(&gateway, "/api/v1/users/ada/password", &json!({ "password": "seven purple lighthouses" }), StatusCode::OK)
        .await;
    let login = gateway.accounts().log_in("Ada", &Secret::new("seven purple lighthouses"), near()).await.unwrap();
    let (_, sessions) = gateway.admin(Method::GET, "/api/v1/users/sessions").await;
    assert_eq!(sessions["sessions"].as_array().unwrap().len(), 1, "the one before has ended");
    assert_eq!(sessions["sessions"][0]["id"], login.session.id);
    let path = format!("/api/v1/users/sessions/{}", login.session.id);
    delete(&gateway, &path, StatusCode::OK).await;
    delete(&gateway, &path, StatusCode::NOT_FOUND).await;
    delete(&gateway, "/api/v1/users/ada", StatusCode::CONFLICT).await;
    delete(&gateway, "/api/v1/users/bob%20%C3%A4", StatusCode::OK).await;
    delete(&gateway, "/api/v1/users/bob%20%C3%A4", StatusCode::NOT_FOUND).await;
    assert_eq!(names(&gateway, USERS, "users").await, ["Ada"]);
}

#[tokio::test]
async fn a_token_is_shown_once() {
    let gateway = claimed().await;
    let body = json!({ "name": "reports", "role": "support", "tenant": "42", "days": 90 });
    let made = post(&gateway, TOKENS, &body, StatusCode::OK).await;
    let text = made["token"].as_str().unwrap();
    assert_eq!(gateway.accounts().token(text).await.unwrap().name, "reports");
    post(&gateway, TOKENS, &body, StatusCode::CONFLICT).await;
    let (_, listed) = gateway.admin(Method::GET, TOKENS).await;
    assert!(!listed.to_string().contains(text), "{listed}");
    assert_eq!(listed["tokens"][0]["expired"], false);
    gateway.advance_ms(90 * 24 * 60 * 60 * 1000);
    let (_, listed) = gateway.admin(Method::GET, TOKENS).await;
    assert_eq!(listed["tokens"][0]["expired"], true);
    delete(&gateway, "/api/v1/tokens/reports", StatusCode::OK).await;
    assert!(names(&gateway, TOKENS, "tokens").await.is_empty());
}

#[tokio::test]
async fn a_damaged_file_is_said_and_a_reset_begins_anew() {
    let mut gateway = claimed().await;
    gateway.power_off().await;
    fs::write(gateway.home().join("accounts.json"), "{").unwrap();
    gateway.power_on().await;
    let (_, status) = gateway.admin(Method::GET, "/api/v1/status").await;
    let says = |status: &Value| status["warnings"].to_string().contains("accounts.json is damaged");
    assert!(says(&status), "{status}");
    let new = json!({ "name": "Bob", "role": "admin", "password": PASSWORD });
    post(&gateway, USERS, &new, StatusCode::SERVICE_UNAVAILABLE).await;
    let reset = post(&gateway, "/api/v1/users/reset", &json!({}), StatusCode::OK).await;
    assert!(!says(&gateway.admin(Method::GET, "/api/v1/status").await.1));
    let code = Secret::new(reset["claim_code"].as_str().unwrap());
    gateway.accounts().claim(&code, "Ada", &Secret::new(PASSWORD), near()).await.unwrap();
    assert_eq!(names(&gateway, USERS, "users").await, ["Ada"]);
}

#[tokio::test]
async fn accounts_outlive_a_configuration_and_a_store_that_cannot_be_used() {
    let mut gateway = claimed().await;
    gateway.power_off().await;
    gateway.configure("chanels = 1\n");
    fs::write(gateway.home().join("frontdesk.redb"), "nor is this a store").unwrap();
    gateway.power_on().await;
    gateway.accounts().log_in("Ada", &Secret::new(PASSWORD), near()).await.unwrap();
}

#[tokio::test]
async fn commands_manage_accounts_and_take_no_password_as_an_argument() {
    let gateway = claimed().await;
    let file = gateway.home().join("password");
    fs::write(&file, format!("{PASSWORD}\n")).unwrap();
    let file = file.to_str().unwrap();
    let run = async |arguments: &[&str], expected: i32| {
        let (exit, said) = gateway.command(arguments).await;
        assert_eq!(exit, expected, "{arguments:?} {said}");
        said
    };
    run(&["users", "add", "Bob B", "--role", "support", "--password-file", file], 0).await;
    run(&["users", "add", "Bob B", "--role", "support", "--password-file", file], 64).await;
    run(&["users", "add", "Cleo", "--role", "support"], 64).await;
    run(&["users", "add", "Cleo", "--role", "root", "--password-file", file], 64).await;
    assert!(run(&["users", "list"], 0).await.contains("Bob B"));
    let listed: Value = serde_json::from_str(&run(&["users", "list", "--json"], 0).await).unwrap();
    assert_eq!(listed["users"][1]["role"], "support");
    assert!(run(&["users", "sessions"], 0).await.contains("192.168.1.20"));
    run(&["users", "password", "bob b", "--password-file", file], 0).await;
    run(&["users", "remove", "Bob B"], 0).await;
    run(&["users", "remove", "Ada"], 64).await;
    let made: Value =
        serde_json::from_str(&run(&["tokens", "create", "t", "--role", "admin", "--json"], 0).await).unwrap();
    assert!(gateway.accounts().token(made["token"].as_str().unwrap()).await.is_some());
    assert!(run(&["tokens", "list"], 0).await.contains("admin"));
    run(&["tokens", "revoke", "t"], 0).await;
    run(&["users", "reset"], 64).await;
    let said: Value = serde_json::from_str(&run(&["users", "reset", "--yes", "--json"], 0).await).unwrap();
    let code = gateway.accounts().claim_code().unwrap();
    assert_eq!(said["claim_code"], code.expose());
}

#[tokio::test]
async fn a_file_that_cannot_be_used_is_not_taken_for_no_accounts_and_no_token_ends_at_once() {
    let mut gateway = claimed().await;
    let wanted = json!({ "name": "reports", "role": "support", "days": 0 });
    post(&gateway, TOKENS, &wanted, StatusCode::BAD_REQUEST).await;
    gateway.power_off().await;
    fs::write(gateway.home().join("accounts.json"), "{").unwrap();
    gateway.power_on().await;
    for path in [USERS, TOKENS, "/api/v1/users/sessions"] {
        let (status, body) = gateway.admin(Method::GET, path).await;
        assert!(status == StatusCode::SERVICE_UNAVAILABLE && body["error"].to_string().contains("damaged"), "{body}");
    }
}

#[tokio::test]
async fn no_password_is_made_of_what_the_business_is_called() {
    let chat = |title: &str| format!("[[channels]]\ntype = \"webchat\"\ntitle = \"{title}\"\n");
    let gateway = TestGateway::start(&chat("Zahnarztpraxis Lindenhof")).await;
    let code = gateway.accounts().claim_code().unwrap();
    let claimed = gateway.accounts().claim(&code, "Ada", &Secret::new("zahnarztpraxis lindenhof"), near()).await;
    assert!(matches!(claimed, Err(ClaimError::Account(account::Error::Weak(_)))), "{claimed:?}");
    gateway.accounts().claim(&code, "Ada", &Secret::new(PASSWORD), near()).await.unwrap();
    let with = |name: &str, password: &str| json!({ "name": name, "role": "support", "password": password });
    post(&gateway, USERS, &with("Bob", "zahnarztpraxis lindenhof"), StatusCode::BAD_REQUEST).await;
    let tenant = "[[tenants]]\nid = \"42\"\nname = \"Maklerhaus Birkengrund\"\n";
    gateway.configure(&[tenant, &chat("Pine")].concat());
    gateway.reload().await.unwrap();
    post(&gateway, USERS, &with("Bob", "zahnarztpraxis lindenhof"), StatusCode::OK).await;
    post(&gateway, USERS, &with("Cleo", "birkengrund2024"), StatusCode::BAD_REQUEST).await;
}
