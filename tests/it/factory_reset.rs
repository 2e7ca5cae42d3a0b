//! Asking for the box as it was delivered: who may, and that a password is asked for once more.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use axum::http::{Method, StatusCode};
use serde_json::json;

use crate::page::{Desk, PASSWORD};

/// As the units of the appliance have it in their environment.
fn as_appliance(desk: &Desk) {
    let secrets = desk.gateway.home().join("secrets");
    fs::create_dir_all(&secrets).unwrap();
    let file = secrets.join("FRONTDESK_APPLIANCE");
    fs::write(&file, "sd-boot").unwrap();
    fs::set_permissions(file, fs::Permissions::from_mode(0o600)).unwrap();
}

#[tokio::test]
async fn whoever_runs_the_box_asks_for_it_with_a_password() {
    let desk = Desk::open().await;
    let request = desk.gateway.home().join("factory-reset");
    let ada = desk.browser().await;
    assert!(!ada.get("/admin/backups").await.1.contains("/admin/backups/reset"), "no appliance");
    as_appliance(&desk);
    let (status, page) = ada.get("/admin/backups").await;
    assert!(status == StatusCode::OK && page.contains("/admin/backups/reset"), "{page}");
    let csrf = ada.csrf().await;
    let post = async |csrf: &str, sure: &str, password: &str| {
        let fields = [("csrf", csrf), ("sure", sure), ("password", password)];
        ada.post("/admin/backups/reset", &fields).await.status()
    };
    assert_eq!(post("0", "yes", PASSWORD).await, StatusCode::FORBIDDEN);
    assert_eq!(post(&csrf, "no", PASSWORD).await, StatusCode::BAD_REQUEST);
    assert_eq!(post(&csrf, "yes", "another password").await, StatusCode::FORBIDDEN);
    assert!(!request.exists(), "nothing was asked for yet");
    // A wrong one has to be waited for.
    desk.gateway.advance_ms(60_000);
    assert_eq!(post(&csrf, "yes", PASSWORD).await, StatusCode::SEE_OTHER);
    assert!(request.is_file());
    let (_, page) = ada.get("/admin/backups?done=reset").await;
    assert!(page.contains("The box starts again"), "{page}");
}

#[tokio::test]
async fn the_command_line_needs_no_password_and_a_plain_program_is_not_wiped() {
    let desk = Desk::open().await;
    let ask = async || desk.gateway.admin_send(Method::POST, "/api/v1/factory_reset", &json!({})).await;
    assert_eq!(ask().await.0, StatusCode::CONFLICT);
    let request = desk.gateway.home().join("factory-reset");
    assert!(!request.exists());
    as_appliance(&desk);
    assert_eq!(ask().await, (StatusCode::OK, json!({ "restarts": true })));
    assert!(request.is_file());
}
