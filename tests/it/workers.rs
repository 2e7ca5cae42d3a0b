//! Workers through the running gateway: what they are told, who changes it, and why a message is theirs.

use axum::http::{Method, StatusCode};
use frontdesk::account::{Reach, Role, Who};
use frontdesk::id::TenantId;
use serde_json::{Value, json};

use crate::peers::{Hook, Model, TestGateway, direct, group};

/// Two workers, one of them for a tenant; a hook of that tenant and one of nobody's.
struct Desk {
    gateway: TestGateway,
    model: Model,
    hook: Hook,
    own: Hook,
    n_said: usize,
}

impl Desk {
    async fn open() -> Self {
        let (model, hook, own) = (Model::start().await, Hook::start("hook").await, Hook::start("own").await);
        let config = format!(
            "routing = [\"tenant-a-webhook:vip -> sales\", \"webhook:* -> desk\", \"webhook:never -> sales\"]\n\
             default_agent = \"desk\"\n[session]\ndm_scope = \"per-channel-peer\"\n{}\
             [[agents]]\nname = \"desk\"\n[[agents]]\nname = \"sales\"\nsoul = \"sales.md\"\n{}tenant_id = \"a\"\n{}",
            model.provider("m"),
            hook.entry(),
            own.entry(),
        );
        let gateway = TestGateway::start("").await;
        std::fs::write(gateway.home().join("sales.md"), "Sell nothing.").unwrap();
        gateway.configure(&config);
        gateway.reload().await.unwrap();
        Self { gateway, model, hook, own, n_said: 0 }
    }

    async fn get(&self, path: &str) -> Value {
        let (status, body) = self.gateway.admin(Method::GET, &format!("/api/v1/{path}")).await;
        assert_eq!(status, StatusCode::OK, "{path}: {body}");
        body
    }

    async fn put(&self, path: &str, body: &Value) -> (StatusCode, Value) {
        self.gateway.admin_send(Method::PUT, &format!("/api/v1/{path}"), body).await
    }

    async fn explain(&self, question: &Value) -> Value {
        let (status, body) = self.gateway.admin_send(Method::POST, "/api/v1/routes/explain", question).await;
        assert_eq!(status, StatusCode::OK, "{question}: {body}");
        body
    }

    /// What the model is told with the next message.
    async fn told(&mut self, user: &str) -> String {
        self.n_said += 1;
        self.hook.accepted(&self.gateway, &direct(user, &format!("hello {}", self.n_said))).await;
        let question = self.model.asked().await;
        let system = question.system.clone();
        question.answer("hello");
        self.gateway.settled().await;
        system
    }
}

#[tokio::test]
async fn what_is_saved_is_told_with_the_next_message_and_to_no_other_worker() {
    let mut desk = Desk::open().await;
    let built_in = desk.told("u1").await;
    let (status, _) = desk.put("agents/desk/files/SOUL.md", &json!({ "text": "You are Pat." })).await;
    assert_eq!(status, StatusCode::OK);
    let (status, _) = desk.put("agents/desk/files/prices.md", &json!({ "text": "A cleaning is 90." })).await;
    assert_eq!(status, StatusCode::OK);
    let told = desk.told("u1").await;
    assert!(told.starts_with("You are Pat.") && told.ends_with("## prices.md\n\nA cleaning is 90."), "{told}");
    let other = desk.told("vip").await;
    assert_eq!(other, "Sell nothing.", "another worker's words are not its own");
    let (status, _) = desk.gateway.admin(Method::DELETE, "/api/v1/agents/desk/files/SOUL.md").await;
    assert_eq!(status, StatusCode::OK);
    let (status, _) = desk.gateway.admin(Method::DELETE, "/api/v1/agents/desk/files/prices.md").await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(desk.told("u1").await, built_in);
}

#[tokio::test]
async fn the_persona_that_the_configuration_names_is_changed_where_it_is_and_what_it_said_is_kept() {
    let desk = Desk::open().await;
    let file = "agents/sales/files/SOUL.md";
    let now = desk.get(file).await;
    assert_eq!(now["text"], json!("Sell nothing."));
    let new = json!({ "text": "Sell it all.", "base": now["digest"] });
    assert_eq!(desk.put(file, &new).await.0, StatusCode::OK);
    assert_eq!(std::fs::read_to_string(desk.gateway.home().join("sales.md")).unwrap(), "Sell it all.");
    assert_eq!(desk.put(file, &new).await.0, StatusCode::CONFLICT, "somebody else has changed it since");
    let shown = desk.get(file).await;
    assert_eq!(shown["earlier"][0]["number"], json!(1));
    assert_eq!(desk.get(&format!("{file}?earlier=1")).await["text"], json!("Sell nothing."));
    let (status, _) = desk.gateway.admin(Method::DELETE, &format!("/api/v1/{file}")).await;
    assert_eq!(status, StatusCode::CONFLICT, "the configuration would name a file that is not there");
    let agents = desk.get("agents").await;
    assert_eq!(agents["agents"][1]["tenants"], json!(["a"]));
    assert_eq!(agents["agents"][1]["persona_bytes"], json!(12));
}

#[tokio::test]
async fn a_name_in_a_request_reaches_no_other_file() {
    let desk = Desk::open().await;
    let home = desk.gateway.home();
    let before = std::fs::read_dir(home).unwrap().count();
    let names = ["..%2Fx.md", "%2Fetc%2Fpasswd", "..%2F..%2Fdevice.key", "x%00.md", "%2e%2e%2fx.md", "x.sh", "soul.md"];
    for name in names {
        let (status, body) = desk.put(&format!("agents/desk/files/{name}"), &json!({ "text": "x" })).await;
        assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "{name}: {body}");
        let path = format!("/api/v1/agents/desk/files/{name}");
        assert_eq!(desk.gateway.admin(Method::GET, &path).await.0, StatusCode::UNPROCESSABLE_ENTITY, "{name}");
    }
    for agent in ["nobody", "..", "%2e%2e", "desk%2F..%2F..", "DESK"] {
        let (status, body) = desk.put(&format!("agents/{agent}/files/a.md"), &json!({ "text": "x" })).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{agent}: {body}");
    }
    assert_eq!(std::fs::read_dir(home).unwrap().count(), before, "nothing was made");
    let config = std::fs::read_to_string(home.join("config.toml")).unwrap();
    std::fs::write(home.join("config.toml"), config.replace("soul = \"sales.md\"", "soul = \"admin.token\"")).unwrap();
    desk.gateway.reload().await.unwrap();
    let (status, body) = desk.gateway.admin(Method::GET, "/api/v1/agents/sales/files/SOUL.md").await;
    assert_eq!(status, StatusCode::CONFLICT, "{body}");
    let token = std::fs::read_to_string(home.join("admin.token")).unwrap();
    assert!(!body.to_string().contains(&token));
}

#[tokio::test]
async fn a_change_of_the_file_on_the_disk_waits_for_its_reload() {
    let mut desk = Desk::open().await;
    desk.gateway.configure("this is no configuration");
    let (status, body) = desk.put("agents/desk/files/SOUL.md", &json!({ "text": "You are Pat." })).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(desk.told("u1").await, "You are Pat.");
}

#[tokio::test]
async fn a_message_is_explained_by_the_rules_that_decide_it() {
    let mut desk = Desk::open().await;
    let vip = desk.explain(&json!({ "address": "tenant-a-webhook:vip" })).await;
    assert_eq!((&vip["agent"], &vip["route"]["number"]), (&json!("sales"), &json!(1)));
    assert_eq!(vip["session_key"], json!("tenant-a-webhook:vip"));
    assert_eq!((&vip["rule"], &vip["admission"]["verdict"]), (&json!("direct:per-channel-peer"), &json!("admitted")));
    assert_eq!(vip["later"][0]["route"], json!("webhook:* -> desk"));
    assert_eq!(vip["later"].as_array().unwrap().len(), 1);

    let unknown = desk.explain(&json!({ "address": "slack:T1:C1:U1" })).await;
    assert_eq!((&unknown["agent"], &unknown["route"]), (&json!("desk"), &Value::Null));
    assert_eq!(unknown["admission"]["verdict"], json!("unknown"));
    let tried = json!({ "address": "slack:T1:C1:U1", "routing": ["slack:* -> sales"] });
    assert_eq!(desk.explain(&tried).await["agent"], json!("sales"), "rules that are not saved can be tried");

    let ignored = json!({ "entry": "hook", "kind": "group", "channel_id": "lobby", "user_id": "u1" });
    let ignored = desk.explain(&json!({ "message": ignored, "mentioned": false })).await;
    assert_eq!(ignored["admission"]["verdict"], json!("ignored"));

    desk.own.accepted(&desk.gateway, &group("lobby", "u1", "hello", true)).await;
    desk.model.asked().await.answer("hello");
    desk.gateway.settled().await;
    let key = desk.gateway.session_keys(None).await.into_iter().next().unwrap();
    let line = desk.explain(&json!({ "conversation": { "key": key, "line": 1 } })).await;
    assert_eq!((&line["session_key"], &line["agent"]), (&json!(key), &json!("desk")));
    assert_eq!(line["address"], json!("webhook:s1:lobby:u1"));
    for nonsense in
        [json!({}), json!({ "address": "a b" }), json!({ "address": "x:y", "message": { "kind": "direct" } })]
    {
        let (status, _) = desk.gateway.admin_send(Method::POST, "/api/v1/routes/explain", &nonsense).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "{nonsense}");
    }
}

#[tokio::test]
async fn a_tenants_own_see_the_rules_for_them_and_of_the_rest_what_matches_them() {
    let desk = Desk::open().await;
    let reach = || Reach::Tenant(TenantId::new("a").unwrap());
    desk.gateway.let_in(vec![Who { name: "bound".to_owned(), role: Role::Admin, reach: reach(), from: None }]);
    let (_, rules) = desk.gateway.admin_with("bound", Method::GET, "/api/v1/routes").await;
    assert_eq!(rules["routes"].as_array().unwrap().len(), 1);
    assert_eq!(rules["routes"][0]["route"], json!("tenant-a-webhook:vip -> sales"));
    assert_eq!(rules["routes"][0]["number"], Value::Null);
    let all = desk.get("routes").await;
    assert_eq!(all["routes"].as_array().unwrap().len(), 3);
    assert!(all["routes"][2]["idle"].as_str().unwrap().contains("never match"), "{all}");
    let ask = async |body: &Value| {
        let body = body.to_string();
        let (status, _, answer) =
            desk.gateway.admin_raw(Some("bound"), Method::POST, "/api/v1/routes/explain", &body).await;
        (status, serde_json::from_slice::<Value>(&answer).unwrap())
    };
    let (status, own) = ask(&json!({ "address": "webhook:u9" })).await;
    assert_eq!((status, &own["address"]), (StatusCode::OK, &json!("tenant-a-webhook:u9")));
    assert_eq!(own["agent"], json!("desk"));
    let (status, _) = ask(&json!({ "address": "tenant-b-webhook:u9" })).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
    let (status, _) = ask(&json!({ "message": { "entry": "own", "kind": "direct", "user_id": "u1" } })).await;
    assert_eq!(status, StatusCode::NOT_FOUND);
}
