//! HTTPS through the real gateway.

use std::fs;
use std::net::SocketAddr;

use axum::http::{Method, StatusCode, header};
use frontdesk::document::Secret;
use reqwest::Certificate;

use crate::peers::TestGateway;

const PASSWORD: &str = "violet kettle harbour 17";
const DAY_MS: u64 = 24 * 60 * 60 * 1000;

fn pem(gateway: &TestGateway) -> String {
    fs::read_to_string(gateway.home().join("tls.pem")).unwrap()
}

fn address(gateway: &TestGateway) -> SocketAddr {
    gateway.url("").strip_prefix("http://").unwrap().parse().unwrap()
}

/// A client that trusts the certificate of the box and no other, and finds the box under every name.
fn client(gateway: &TestGateway, name: &str) -> reqwest::Client {
    let pem = pem(gateway);
    let (_, certificate) = pem.split_at(pem.find("-----BEGIN CERTIFICATE").unwrap());
    let certificate = Certificate::from_pem(certificate.as_bytes()).unwrap();
    let client = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none());
    client.tls_certs_only([certificate]).resolve(name, address(gateway)).build().unwrap()
}

async fn reached(gateway: &TestGateway, name: &str) -> Result<StatusCode, reqwest::Error> {
    let url = format!("https://{name}:{}/admin/login", address(gateway).port());
    client(gateway, name).get(url).send().await.map(|response| response.status())
}

async fn fingerprint(gateway: &TestGateway) -> String {
    let (_, status) = gateway.admin(Method::GET, "/api/v1/status").await;
    status["https"]["fingerprint"].as_str().unwrap().to_owned()
}

#[tokio::test]
async fn the_page_opens_over_https_and_its_session_stays_there() {
    let gateway = TestGateway::start("[[providers]]\nname = \"demo\"\nkind = \"demo\"\n").await;
    let code = gateway.accounts().claim_code().unwrap();
    gateway.accounts().claim(&code, "Ada", &Secret::new(PASSWORD), "127.0.0.1".parse().unwrap()).await.unwrap();
    let name = "frontdesk.local";
    let (client, port) = (client(&gateway, name), address(&gateway).port());
    let origin = format!("https://{name}:{port}");
    let post = |path: &str| client.post(format!("{origin}{path}")).header(header::ORIGIN, &origin);
    let form = "name=Ada&password=violet%20kettle%20harbour%2017";
    let login = post("/admin/login").header(header::CONTENT_TYPE, "application/x-www-form-urlencoded").body(form);
    let login = login.send().await.unwrap();
    assert_eq!(login.status(), StatusCode::SEE_OTHER);
    let cookie = login.headers()[header::SET_COOKIE].to_str().unwrap();
    assert!(cookie.starts_with("__Host-frontdesk_session=") && cookie.ends_with("; Secure"), "{cookie}");
    let cookie = cookie.split(';').next().unwrap();
    let home = client.get(format!("{origin}/admin/")).header(header::COOKIE, cookie).send().await.unwrap();
    assert_eq!(home.status(), StatusCode::OK);
    assert!(home.text().await.unwrap().replace("<wbr>", "").contains(&fingerprint(&gateway).await));
    // What a browser would never send over HTTP is no session there.
    let plain = reqwest::Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().unwrap();
    let plain = plain.get(gateway.url("/admin/")).header(header::COOKIE, cookie).send().await.unwrap();
    assert_eq!(plain.headers()[header::LOCATION], "/admin/login");
    // Names that somebody else's server gives our address are refused over TLS as well.
    let other = client.get(format!("{origin}/admin/")).header(header::HOST, "evil.example").send().await.unwrap();
    assert_eq!(other.status(), StatusCode::MISDIRECTED_REQUEST);
}

#[tokio::test]
async fn a_box_is_claimed_over_https_from_near_and_not_through_a_proxy() {
    let gateway = TestGateway::start("").await;
    let code = gateway.accounts().claim_code().unwrap();
    let (client, origin) = (client(&gateway, "localhost"), format!("https://localhost:{}", address(&gateway).port()));
    let claim = |forwarded: Option<&'static str>| {
        let form = format!("code={}&name=Ada&password=violet%20kettle%20harbour%2017", code.expose());
        let request = client.post(format!("{origin}/admin/claim")).header(header::ORIGIN, &origin).body(form);
        let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        forwarded.iter().fold(request, |request, from| request.header("x-forwarded-for", *from)).send()
    };
    assert_eq!(claim(Some("192.168.1.2")).await.unwrap().status(), StatusCode::FORBIDDEN);
    let claimed = claim(None).await.unwrap();
    assert_eq!(claimed.status(), StatusCode::SEE_OTHER);
    assert!(claimed.headers()[header::SET_COOKIE].to_str().unwrap().contains("; Secure"));
}

#[tokio::test]
async fn a_name_that_is_added_is_in_the_certificate_after_the_reload() {
    let gateway = TestGateway::start("").await;
    assert!(reached(&gateway, "desk.example.com").await.is_err());
    let (first, key) = (fingerprint(&gateway).await, pem(&gateway));
    gateway.configure("[gateway]\npage_hosts = [\"desk.example.com\"]\n");
    gateway.reload().await.unwrap();
    assert_eq!(reached(&gateway, "desk.example.com").await.unwrap(), StatusCode::SEE_OTHER);
    let (key, _) = key.split_at(key.find("-----BEGIN CERTIFICATE").unwrap());
    assert!(pem(&gateway).starts_with(key), "the key stays");
    let second = fingerprint(&gateway).await;
    assert_ne!(first, second);
    gateway.configure("");
    gateway.reload().await.unwrap();
    assert_eq!(fingerprint(&gateway).await, second, "a name too many is no reason to make people compare again");
}

#[tokio::test]
async fn the_certificate_outlives_a_restart_and_is_renewed_in_time() {
    let mut gateway = TestGateway::start("").await;
    let first = fingerprint(&gateway).await;
    gateway.advance_ms(700 * DAY_MS);
    gateway.power_off().await;
    gateway.power_on().await;
    assert_eq!(fingerprint(&gateway).await, first);
    gateway.advance_ms(80 * DAY_MS);
    gateway.power_off().await;
    gateway.power_on().await;
    assert_ne!(fingerprint(&gateway).await, first);
}
