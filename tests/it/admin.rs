//! Who may ask the admin API for what, and of whom they hear: through the real router, for every operation there is.

use std::collections::BTreeSet;
use std::sync::Arc;

use axum::http::{HeaderMap, Method, StatusCode, header};
use frontdesk::account::{Reach, Role, Who};
use frontdesk::admin::{self, Listed, Scope};
use frontdesk::clock::{ManualClock, Timestamp};
use frontdesk::id::{EntryId, OpaqueId, SessionKey, TenantId};
use frontdesk::store::{Imported, ImportedLine, ImportedSession, Life, Speaker};
use frontdesk::testing::inbound;
use serde_json::{Value, json};

use crate::peers::{Hook, TestGateway, direct};

/// As [`inbound`] has it: what was said long ago would be archived.
const START: Timestamp = Timestamp(1_700_000_000_000);

fn tenant(id: &str) -> TenantId {
    TenantId::new(id).unwrap()
}

fn somebody(name: &str, role: Role, reach: Reach) -> Who {
    Who { name: name.to_owned(), role, reach, from: None }
}

/// One of each kind besides the console; each one's name is their token.
fn callers() -> Vec<Who> {
    vec![
        somebody("admin", Role::Admin, Reach::All),
        somebody("support", Role::Support, Reach::All),
        somebody("tenant-admin", Role::Admin, Reach::Tenant(tenant("a"))),
        somebody("tenant-support", Role::Support, Reach::Tenant(tenant("a"))),
    ]
}

/// With a number where the path leaves one open.
fn path(listed: &Listed) -> String {
    listed.path.replace("{number}", "7")
}

fn check_json(headers: &HeaderMap, body: &[u8]) -> Value {
    assert_eq!(headers[header::CONTENT_TYPE], "application/json");
    serde_json::from_slice(body).unwrap()
}

#[tokio::test]
async fn every_operation_is_for_those_of_its_rule_and_for_nobody_else() {
    let gateway = TestGateway::start("").await;
    gateway.let_in(callers());
    let console = std::fs::read_to_string(gateway.home().join("admin.token")).unwrap();
    let mut known: Vec<(String, Who)> = callers().into_iter().map(|who| (who.name.clone(), who)).collect();
    known.push((console, Who::console()));
    let table = admin::table();
    assert!(table.len() > 30, "only {} operations were found", table.len());
    for listed in &table {
        let (method, path) = (listed.method.clone(), path(listed));
        for token in [None, Some("wrong"), Some("")] {
            let (status, headers, body) = gateway.admin_raw(token, method.clone(), &path, "").await;
            assert_eq!(status, StatusCode::UNAUTHORIZED, "{method} {path} {token:?}");
            assert_eq!(headers[header::WWW_AUTHENTICATE], "Bearer");
            assert!(check_json(&headers, &body)["error"].is_string());
        }
        for (token, who) in &known {
            let is_admitted =
                who.role >= listed.rule.role && (listed.rule.scope == Scope::Tenants || who.reach == Reach::All);
            let (status, _, body) = gateway.admin_raw(Some(token), method.clone(), &path, "").await;
            let said = String::from_utf8_lossy(&body);
            if is_admitted {
                let is_refused = [401, 403, 405].contains(&status.as_u16()) || status.is_server_error();
                assert!(!is_refused && !said.contains("no such path"), "{method} {path} {}: {status} {said}", who.name);
            } else {
                assert_eq!(status, StatusCode::FORBIDDEN, "{method} {path} {}: {said}", who.name);
            }
        }
    }
}

#[test]
fn what_changes_something_is_for_admins_and_what_is_about_the_gateway_for_its_operators() {
    let is_about_gateway = |path: &str| {
        [
            "reload",
            "config",
            "backup",
            "import",
            "doctor",
            "health",
            "factory_reset",
            "tenants/erase",
            "tenants/show",
            "tenants/add",
            "tenants/remove",
            "sessions/rekey",
            "users",
            "tokens",
            "agents",
            "api_keys",
            "secrets",
            "providers",
            "alerts",
            "setup",
            "logs",
            "updates",
            // Entries of the configuration.
            "channels/{name}/pause",
            "channels/{name}/resume",
        ]
        .iter()
        .any(|name| path.trim_start_matches("/api/v1/").starts_with(name))
    };
    // What is asked has no room in an address.
    let is_question = |path: &str| path == "/api/v1/routes/explain";
    // Whoever has an account has its passkeys, and shows its password.
    let is_own = |path: &str| path.starts_with("/api/v1/passkeys");
    let is_secret = |path: &str| {
        path == "/api/v1/pairing"
            || path == "/api/v1/access"
            || ["/api_keys", "/config", "/backup", "/users", "/tokens", "/secrets", "/setup", "/logs"]
                .iter()
                .any(|name| path.contains(name))
    };
    for Listed { method, path, rule } in admin::table() {
        let is_change = method != Method::GET && !is_question(path) && !is_own(path);
        assert_eq!(rule.role == Role::Admin, is_change || is_secret(path), "{method} {path}");
        assert_eq!(rule.scope == Scope::Gateway, is_about_gateway(path), "{method} {path}");
    }
}

#[tokio::test]
async fn without_a_caller_there_is_nothing_to_learn_but_the_description() {
    let gateway = TestGateway::start("").await;
    gateway.let_in(callers());
    let ask = |token: Option<&'static str>, method: Method, path: &'static str| {
        let gateway = &gateway;
        async move { gateway.admin_raw(token, method, path, "").await }
    };
    let (_, _, refused) = ask(None, Method::GET, "/api/v1/status").await;
    for path in ["/api/v1/nothing", "/api/v1", "/api/v1/", "/api/v1/status/", "/api/v1//status", "/api/v1/%2e%2e/x"] {
        let (status, _, body) = ask(None, Method::GET, path).await;
        assert_eq!((status, &body), (StatusCode::UNAUTHORIZED, &refused), "{path}");
        let (status, headers, body) = ask(Some("support"), Method::GET, path).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert!(check_json(&headers, &body)["error"].is_string());
    }
    assert_eq!(ask(None, Method::PATCH, "/api/v1/status").await.0, StatusCode::UNAUTHORIZED);
    let (status, headers, body) = ask(Some("support"), Method::PATCH, "/api/v1/status").await;
    assert_eq!((status, &headers[header::ALLOW]), (StatusCode::METHOD_NOT_ALLOWED, &"GET,HEAD".parse().unwrap()));
    assert!(check_json(&headers, &body)["error"].is_string());
    let (status, headers, described) = ask(None, Method::GET, "/api/v1/openapi.json").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(check_json(&headers, &described), serde_json::from_str::<Value>(&admin::description()).unwrap());
}

#[test]
fn the_description_names_every_operation_with_its_rule() {
    let described: Value = serde_json::from_str(&admin::description()).unwrap();
    let mut n_described = 0;
    for Listed { method, path, rule } in admin::table() {
        let operation = &described["paths"][path][method.as_str().to_lowercase()];
        let role = if rule.role == Role::Admin { "admin" } else { "support" };
        let scope = if rule.scope == Scope::Gateway { "gateway" } else { "tenants" };
        assert_eq!((&operation["x-role"], &operation["x-scope"]), (&json!(role), &json!(scope)), "{method} {path}");
        n_described += 1;
    }
    let paths = described["paths"].as_object().unwrap().values();
    assert_eq!(paths.map(|item| item.as_object().unwrap().len()).sum::<usize>(), n_described);
}

#[tokio::test]
async fn a_parameter_that_nobody_reads_is_refused_by_name_and_so_is_a_body_without_end() {
    let gateway = TestGateway::start("").await;
    let check = |method: Method, path: &'static str, expected: &'static str| {
        let gateway = &gateway;
        async move {
            let (status, body) = gateway.admin(method, path).await;
            assert_eq!(status, StatusCode::BAD_REQUEST, "{path}");
            assert!(body["error"].as_str().unwrap().contains(expected), "{body}");
        }
    };
    check(Method::GET, "/api/v1/sessions?tennant=a", "\"tennant\"").await;
    check(Method::GET, "/api/v1/status?x", "takes none").await;
    check(Method::POST, "/api/v1/deliveries/retry?key=webhook:u1&all=true", "\"all\"").await;
    check(Method::GET, "/api/v1/sessions?limit=x", "limit").await;
    check(Method::GET, "/api/v1/sessions?limit=1&limit=2", "limit").await;
    let long = json!({ "channel": "x".repeat(70_000), "code": "x" });
    let (status, body) = gateway.admin_send(Method::POST, "/api/v1/pairing/approve", &long).await;
    assert_eq!(status, StatusCode::PAYLOAD_TOO_LARGE, "{body}");
}

/// A channel of tenant `a`, and where `with_other`, one of tenant `b`; what lies there has equal keys and words.
async fn two_tenants(hooks: &[Hook; 2], with_other: bool) -> TestGateway {
    let entry = |(hook, id): (&Hook, &str)| format!("{}tenant_id = \"{id}\"\ndm_policy = \"pairing\"\n", hook.entry());
    let tenants = if with_other { &["a", "b"][..] } else { &["a"] };
    let entries: String = hooks.iter().zip(tenants.iter().copied()).map(entry).collect();
    let others = if with_other { ", \"tenant-b-* -> default\", \"tenant-b-webhook:u0 -> default\"" } else { "" };
    let routing = format!("routing = [\"tenant-a-webhook:u0 -> default\"{others}, \"webhook:* -> default\"]\n");
    let config = [&routing, "[session]\ndm_scope = \"per-channel-peer\"\n", &entries].concat();
    let gateway = TestGateway::start_at(&config, Arc::new(ManualClock::at(START))).await;
    for (n, id) in tenants.iter().enumerate() {
        fill(&gateway, id, n + 1).await;
    }
    // Something that came in on an entry that is now, if it is there, of the other tenant.
    let (store, key) = (gateway.store().tenant(Some(&tenant("a"))), SessionKey::parse("webhook:old").unwrap());
    let mut message = inbound("hook-b", "old", "it came in elsewhere");
    message.identity.tenant = Some(tenant("a"));
    store.file(&key, &message, Life::default()).await.unwrap();
    store.session(&key).park(vec![1], "it failed".to_owned(), None, START).await.unwrap();
    if with_other {
        let (status, _) = hooks[1].say(&gateway, &direct("stranger", "let me in")).await;
        assert_eq!(status, StatusCode::FORBIDDEN);
    }
    gateway.let_in(callers());
    gateway
}

/// So many conversations, the first of each kind under the same key with the same words.
async fn fill(gateway: &TestGateway, id: &str, n_conversations: usize) {
    let store = gateway.store().tenant(Some(&tenant(id)));
    for n in 0..n_conversations {
        let filed = |user: &str, text: &str| {
            let mut message = inbound(&format!("hook-{id}"), user, text);
            message.identity.tenant = Some(tenant(id));
            message
        };
        let user = format!("u{n}");
        let line = |n: u64, text: &str| ImportedLine {
            at: START,
            speaker: Speaker::Peer {
                user: OpaqueId::new(user.clone()).ok(),
                name: None,
                message_id: OpaqueId::new(format!("m{n}")).unwrap(),
            },
            text: text.to_owned(),
        };
        let key = |user: &str| SessionKey::parse(&format!("webhook:{user}")).unwrap();
        let session = ImportedSession {
            key: key(&user),
            identity: filed(&user, "").identity,
            user_name: None,
            agent: None,
            lines: vec![line(1, "the blue word"), line(2, "and another")],
        };
        assert_eq!(store.import(session).await.unwrap(), Imported::New);
        for (user, text) in [(format!("w{n}"), "it waits"), (format!("p{n}"), "it is poisoned")] {
            store.file(&key(&user), &filed(&user, text), Life::default()).await.unwrap();
        }
        store.session(&key(&format!("p{n}"))).park(vec![1], "it failed".to_owned(), None, START).await.unwrap();
        let entry = EntryId::new(format!("hook-{id}")).unwrap();
        store.entry(&entry).park(filed("x", "for nobody"), "no key".to_owned()).await.unwrap();
    }
    let (status, _) =
        gateway.admin(Method::POST, &format!("/api/v1/sessions/archive?tenant={id}&key=webhook:u0")).await;
    assert_eq!(status, StatusCode::OK);
}

/// What somebody may try who is bound to tenant `a` and would know of `b`. The order is theirs: what changes comes last.
fn attempts() -> Vec<(Method, String, Value)> {
    let get = [
        "status",
        "sessions",
        "sessions?archived=true",
        "sessions?tenant=b",
        "sessions?tenant=",
        "sessions?tenant=nobody",
        "sessions?limit=1",
        "sessions?after=[\"b\",\"webhook:p0\",1]",
        "sessions/find?channel=webhook&user=u0",
        "sessions/find?channel=webhook&user=u1",
        "sessions/find?channel=webhook&user=u0&tenant=b",
        "sessions/show?key=webhook:u0",
        "sessions/show?key=webhook:w0",
        "sessions/show?key=webhook:p0",
        "sessions/show?key=webhook:w1",
        "sessions/show?key=webhook:u0&tenant=b",
        "sessions/show?key=webhook:u0&tenant=",
        "sessions/search?words=blue",
        "sessions/search?words=blue&limit=1",
        "sessions/search?words=blue&tenant=b",
        "sessions/search?words=blue&after=[\"b\",null]",
        "sessions/export?key=webhook:u0&format=jsonl",
        "sessions/export?key=webhook:u0&format=md&tenant=b",
        "sessions/tail?key=webhook:w0",
        "sessions/tail?key=webhook:w1",
        "sessions/memory?key=webhook:u0",
        "sessions/memory?key=webhook:u1",
        "sessions/file?key=webhook:u0&name=a.txt",
        "sessions/unresolved?words=true",
        "sessions/unresolved?channel=hook-b",
        "deliveries?text=true",
        "deliveries?limit=1",
        "deliveries?tenant=b",
        "deliveries?key=webhook:p1",
        "channels",
        "pairing",
        "pairing?channel=hook-b",
        "pairing?channel=webhook",
        "pairing/allowed",
        "pairing/allowed?channel=hook-b",
        "tenants",
        "access",
        "access?tenant=b",
        "access?who=Ada",
        "sessions/taken",
        "usage",
        "usage?tenant=b",
        "usage?tenant=&days=400",
        "metrics",
        "tenants/overview",
        "tenants/overview?words=b",
        "tenants/overview?after=a&limit=1",
        "routes",
        "passkeys",
    ];
    let post = [
        "channels/hook-b/test",
        "channels/hook-a/test",
        "sessions/archive?key=webhook:w0&tenant=b",
        "sessions/restore?key=webhook:u0&tenant=b",
        "sessions/erase?key=webhook:w1",
        "sessions/take?key=webhook:w1",
        "sessions/take?key=webhook:w0&tenant=b",
        "sessions/hand-back?key=webhook:w1",
        "sessions/hand-back?key=webhook:w0&tenant=b",
        "deliveries/retry?key=webhook:p1&id=msg_1",
        "deliveries/retry?key=webhook:p0&id=msg_1&tenant=b",
        "deliveries/drop?key=webhook:p0&all=true&tenant=b",
        "deliveries/drop?key=webhook:p1&all=true",
        // Their own, under keys that both have.
        "sessions/archive?key=webhook:w0",
        "sessions/restore?key=webhook:u0",
        "deliveries/retry?key=webhook:p0&id=msg_9",
        "deliveries/retry?key=webhook:old&id=msg_1&anyway=true",
        "deliveries/drop?key=webhook:p0&all=true",
        "sessions/erase?key=webhook:u0",
    ];
    let code = |channel: &str| json!({ "channel": channel, "code": "ABCDEFGH" });
    let subject = |channel: &str| json!({ "channel": channel, "subject": "stranger" });
    let pairing = [
        ("approve", code("hook-b")),
        ("approve", code("webhook")),
        ("reject", code("hook-b")),
        ("revoke", subject("hook-b")),
        ("revoke", subject("hook-a")),
    ];
    let explained = [
        json!({ "address": "webhook:u0" }),
        json!({ "address": "tenant-b-webhook:u0" }),
        json!({ "address": "tenant-nobody-webhook:u0" }),
        json!({ "message": { "entry": "hook-b", "kind": "direct", "user_id": "u0" } }),
        json!({ "message": { "entry": "hook-a", "kind": "direct", "user_id": "u0", "tenant_id": "b" } }),
        json!({ "message": { "channel": "webhook", "kind": "direct", "user_id": "u0", "tenant_id": "b" } }),
        json!({ "conversation": { "key": "webhook:w1", "line": 1 } }),
        json!({ "conversation": { "key": "webhook:w0", "tenant": "b" } }),
        json!({ "conversation": { "key": "webhook:w0" } }),
        json!({ "address": "webhook:u0", "routing": ["* -> default"] }),
    ];
    let path = |rest: &str| format!("/api/v1/{}", rest.replace('"', "%22").replace('[', "%5B").replace(']', "%5D"));
    let mut attempts: Vec<(Method, String, Value)> = Vec::new();
    attempts.extend(get.iter().map(|rest| (Method::GET, path(rest), Value::Null)));
    attempts.extend(post.iter().map(|rest| (Method::POST, path(rest), Value::Null)));
    for place in ["key=webhook:w1", "key=webhook:w0&tenant=b"] {
        attempts.push((Method::POST, path(&format!("sessions/say?{place}")), json!({ "text": "hello" })));
    }
    attempts.extend(explained.map(|body| (Method::POST, path("routes/explain"), body)));
    attempts.extend(pairing.map(|(rest, body)| (Method::POST, path(&format!("pairing/{rest}")), body)));
    // A program's token has no password and no passkeys.
    let asked = json!({ "asked_for": true, "password": "violet kettle harbour 17" });
    attempts.push((Method::POST, path("passkeys/asked_for"), asked));
    attempts.push((Method::POST, path("passkeys/hook-b/remove"), json!({ "password": "violet kettle harbour 17" })));
    attempts.push((Method::DELETE, path("sessions/unresolved?channel=hook-b"), Value::Null));
    attempts.push((Method::DELETE, path("sessions/unresolved"), Value::Null));
    attempts
}

#[test]
fn every_operation_that_tenants_reach_is_among_the_attempts() {
    let tried: BTreeSet<(String, String)> = attempts()
        .into_iter()
        .map(|(method, path, _)| {
            (
                method.to_string(),
                path.split('?').next().unwrap().replace("/hook-a/", "/{name}/").replace("/hook-b/", "/{name}/"),
            )
        })
        .collect();
    let reached = admin::table().into_iter().filter(|listed| listed.rule.scope == Scope::Tenants);
    let reached: BTreeSet<(String, String)> =
        reached.map(|listed| (listed.method.to_string(), listed.path.to_owned())).collect();
    assert_eq!(tried, reached);
}

#[tokio::test]
async fn whoever_is_bound_to_a_tenant_learns_of_no_other_from_anything() {
    let hooks = [Hook::start("hook-a").await, Hook::start("hook-b").await];
    let (alone, together) = (two_tenants(&hooks, false).await, two_tenants(&hooks, true).await);
    let mut n_sessions = Vec::new();
    for gateway in [&alone, &together] {
        let (_, page) = gateway.admin(Method::GET, "/api/v1/sessions").await;
        n_sessions.push(page["sessions"].as_array().unwrap().len());
    }
    assert_eq!(n_sessions, [3, 8], "the other tenant is there");
    for token in ["tenant-support", "tenant-admin"] {
        for (method, path, body) in attempts() {
            let body = if body.is_null() { String::new() } else { body.to_string() };
            let (status, _, one) = alone.admin_raw(Some(token), method.clone(), &path, &body).await;
            let (other_status, _, other) = together.admin_raw(Some(token), method.clone(), &path, &body).await;
            let (one, other) = (String::from_utf8_lossy(&one), String::from_utf8_lossy(&other));
            assert_eq!((status, &one), (other_status, &other), "{token} {method} {path}");
            assert!(!status.is_server_error(), "{token} {method} {path}: {one}");
        }
    }
    let left = together.store().tenant(Some(&tenant("b"))).counts().unwrap();
    assert_eq!((left.sessions, left.archived, left.parked), (5, 1, 2), "what is another's is as it was");
}

#[tokio::test]
async fn what_a_tenant_sees_of_the_gateway_is_its_share() {
    let hooks = [Hook::start("hook-a").await, Hook::start("hook-b").await];
    let gateway = two_tenants(&hooks, true).await;
    let (_, status) = gateway.admin_with("tenant-support", Method::GET, "/api/v1/status").await;
    assert_eq!(status["sessions"], json!({ "active": 3, "archived": 1, "taken": 0 }));
    assert_eq!(status["queue"]["waiting"], json!(1));
    assert_eq!((&status["queue"]["parked"], &status["queue"]["unresolved"]), (&json!(2), &json!(1)));
    let channels: Vec<&Value> = status["channels"].as_array().unwrap().iter().map(|one| &one["id"]).collect();
    assert_eq!(channels, [&json!("hook-a")]);
    for name in ["port", "address", "config", "store", "backup", "safe_mode"] {
        assert_eq!(status[name], Value::Null, "{name}");
    }
    assert_eq!((&status["notes"], &status["warnings"]), (&json!([]), &json!([])));
    let (_, tenants) = gateway.admin_with("tenant-support", Method::GET, "/api/v1/tenants").await;
    assert_eq!(tenants["tenants"].as_array().unwrap().len(), 1);
    let (_, shown) = gateway.admin_with("tenant-support", Method::GET, "/api/v1/sessions/unresolved?words=true").await;
    assert_eq!(shown["unresolved"][0]["text"], json!("for nobody"));
    let (status, shown) =
        gateway.admin_with("tenant-support", Method::GET, "/api/v1/sessions/show?key=webhook:w0").await;
    assert_eq!((status, &shown["waiting"][0]["text"]), (StatusCode::OK, &json!("it waits")));
    let (status, _) = gateway.admin_with("support", Method::GET, "/api/v1/sessions/show?key=webhook:w0").await;
    assert_eq!(status, StatusCode::CONFLICT, "whoever reaches both must say which one");
}
