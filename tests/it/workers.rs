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

#[tokio::test]
async fn rules_workers_businesses_and_keys_are_arranged_in_the_file_and_used_at_once() {
    let mut desk = Desk::open().await;
    let send = async |desk: &Desk, method: Method, path: &str, body: Value| {
        desk.gateway.admin_send(method, &format!("/api/v1/{path}"), &body).await
    };
    let base = desk.get("routes").await["base"].clone();
    let rules = json!({ "routing": ["webhook:* -> sales"], "base": base });
    let (status, body) = send(&desk, Method::PUT, "config/routing", rules.clone()).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(desk.told("u1").await, "Sell nothing.");
    assert_eq!(send(&desk, Method::PUT, "config/routing", rules).await.0, StatusCode::CONFLICT, "it was changed since");

    let nobody = json!({ "routing": ["* -> nobody"], "base": desk.get("routes").await["base"] });
    let (status, body) = send(&desk, Method::PUT, "config/routing", nobody).await;
    assert_eq!((status, &body["problems"][0]["path"]), (StatusCode::UNPROCESSABLE_ENTITY, &json!("routing[0]")));

    let (status, _) = send(&desk, Method::POST, "agents", json!({ "name": "night", "provider": "test" })).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(
        send(&desk, Method::POST, "agents", json!({ "name": "night" })).await.0,
        StatusCode::UNPROCESSABLE_ENTITY
    );
    assert_eq!(send(&desk, Method::PUT, "agents/night", json!({ "default": true })).await.0, StatusCode::OK);
    assert_eq!(desk.get("routes").await["default_agent"], json!("night"));
    let (status, body) = desk.gateway.admin(Method::DELETE, "/api/v1/agents/night").await;
    assert_eq!(status, StatusCode::UNPROCESSABLE_ENTITY, "the default is not removed: {body}");
    assert_eq!(send(&desk, Method::PUT, "agents/desk", json!({ "default": true })).await.0, StatusCode::OK);
    assert_eq!(desk.gateway.admin(Method::DELETE, "/api/v1/agents/night").await.0, StatusCode::OK);

    let (status, made) = send(&desk, Method::POST, "api_keys", json!({ "name": "crm", "tenant": "a" })).await;
    assert_eq!(status, StatusCode::OK, "{made}");
    let key = made["key"].as_str().unwrap();
    assert!(!std::fs::read_to_string(desk.gateway.home().join("config.toml")).unwrap().contains(key));
    let listed = desk.get("api_keys").await;
    assert!(listed["api_keys"][0]["name"] == json!("crm") && !listed.to_string().contains(key));
    assert!(desk.gateway.models(key).await.contains(&"sales".to_owned()));
    let again = send(&desk, Method::POST, "api_keys", json!({ "name": "crm" })).await;
    assert_eq!(again.0, StatusCode::CONFLICT);
    assert_eq!(desk.gateway.admin(Method::DELETE, "/api/v1/api_keys/crm").await.0, StatusCode::OK);
    assert_eq!(desk.get("api_keys").await["api_keys"], json!([]));
    assert!(!desk.gateway.home().join("secrets/API_KEY_CRM").exists(), "nothing opens anything any more");
}

#[tokio::test]
async fn a_business_is_added_with_a_chat_and_a_worker_and_taken_out_whole() {
    let desk = Desk::open().await;
    let send =
        async |path: &str, body: Value| desk.gateway.admin_send(Method::POST, &format!("/api/v1/{path}"), &body).await;
    let new = json!({ "id": "42", "name": "Pine \"Street\" ${HOME}", "agent": "pine" });
    let (status, added) = send("tenants/add", new.clone()).await;
    assert_eq!(status, StatusCode::OK, "{added}");
    assert_eq!((&added["channel"], &added["agent"]), (&json!("webchat-42"), &json!("pine")));
    assert_eq!(send("tenants/add", new).await.0, StatusCode::CONFLICT);
    let shown = desk.get("tenants/show?tenant=42").await;
    assert_eq!(shown["name"], json!("Pine \"Street\" ${HOME}"), "what somebody typed is no variable");
    assert_eq!((&shown["entries"][0]["id"], &shown["people"]), (&json!("webchat-42"), &json!([])));
    let explained = desk.explain(&json!({ "address": "tenant-42-webchat:anon_1" })).await;
    assert_eq!((&explained["agent"], &explained["admission"]["verdict"]), (&json!("pine"), &json!("admitted")));
    let (status, page) = desk.gateway.get("/chat/webchat-42").await;
    assert!(status == StatusCode::OK && page.contains("Pine"), "{page}");
    let overview = desk.get("tenants/overview?words=pine").await;
    assert_eq!((&overview["total"], &overview["tenants"][0]["tenant"]), (&json!(1), &json!("42")));

    // A rule that would take its messages first has its own put in front.
    let base = desk.get("routes").await["base"].clone();
    let rules = json!({ "routing": ["webchat:* -> desk"], "base": base });
    assert_eq!(desk.put("config/routing", &rules).await.0, StatusCode::OK);
    assert_eq!(send("tenants/add", json!({ "id": "Ü 7", "agent": "sales" })).await.0, StatusCode::OK);
    let explained = desk.explain(&json!({ "address": "tenant-%C3%9C%207-webchat:anon_1" })).await;
    assert_eq!(explained["agent"], json!("sales"));

    let before = desk.get("tenants/overview").await["total"].clone();
    assert_eq!(before, json!(4), "the owner, a, 42 and the one with a name of its own");
    for id in ["42", "%C3%9C%207", "a"] {
        let (status, body) = desk.gateway.admin(Method::POST, &format!("/api/v1/tenants/remove?tenant={id}")).await;
        assert_eq!(status, StatusCode::OK, "{id}: {body}");
        let (status, _) = desk.gateway.admin(Method::POST, &format!("/api/v1/tenants/remove?tenant={id}")).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{id}");
    }
    assert_eq!(desk.get("routes").await["routes"].as_array().unwrap().len(), 1);
    assert_eq!(desk.get("tenants/overview").await["total"], json!(1));
}

#[tokio::test]
async fn a_business_that_goes_takes_its_own_channels_along_and_no_others() {
    let entry = |tenant: &str| format!("[[channels]]\ntype = \"webchat\"\ntenant_id = \"{tenant}\"\n");
    let config = |tenants: &[&str]| {
        let entries: String = tenants.iter().map(|tenant| entry(tenant)).collect();
        format!("[session]\ndm_scope = \"per-channel-peer\"\n{entries}")
    };
    for (tenants, left) in [
        (["a", "a", "b"], vec![("webchat-3", "b")]),
        (["a", "b", "a"], vec![("webchat-2", "b")]),
        (["b", "a", "b"], vec![("webchat", "b"), ("webchat-3", "b")]),
    ] {
        let gateway = TestGateway::start(&config(&tenants)).await;
        let (status, body) = gateway.admin(Method::POST, "/api/v1/tenants/remove?tenant=a").await;
        assert_eq!(status, StatusCode::OK, "{tenants:?}: {body}");
        let (_, shown) = gateway.admin(Method::GET, "/api/v1/channels").await;
        let of =
            |entry: &Value| (entry["id"].as_str().unwrap().to_owned(), entry["tenant"].as_str().unwrap().to_owned());
        let shown: Vec<_> = shown["channels"].as_array().unwrap().iter().map(of).collect();
        let left: Vec<_> = left.into_iter().map(|(id, tenant)| (id.to_owned(), tenant.to_owned())).collect();
        assert_eq!(shown, left, "{tenants:?}");
    }
}

#[tokio::test]
async fn a_box_without_a_file_keeps_its_worker_and_its_chat_when_it_gets_one() {
    let gateway = TestGateway::start("").await;
    gateway.remove_config();
    let mut gateway = gateway;
    gateway.power_off().await;
    std::fs::create_dir_all(gateway.home().join("agents/default")).unwrap();
    std::fs::write(gateway.home().join("agents/default/SOUL.md"), "You are Pat.").unwrap();
    std::fs::write(
        gateway.home().join("config.toml"),
        "[gateway]\nport = 0\n[session]\ndm_scope = \"per-channel-peer\"\n",
    )
    .unwrap();
    gateway.power_on().await;
    let (_, agents) = gateway.admin(Method::GET, "/api/v1/agents").await;
    assert_eq!(agents["agents"][0]["has_own_persona"], json!(true));
    let new = json!({ "id": "42", "agent": "pine" });
    let (status, body) = gateway.admin_send(Method::POST, "/api/v1/tenants/add", &new).await;
    assert_eq!(status, StatusCode::OK, "{body}");
    let (_, agents) = gateway.admin(Method::GET, "/api/v1/agents").await;
    let names: Vec<&Value> = agents["agents"].as_array().unwrap().iter().map(|agent| &agent["name"]).collect();
    assert_eq!(names, [&json!("default"), &json!("pine")]);
    assert_eq!(
        (&agents["agents"][0]["default"], &agents["agents"][0]["has_own_persona"]),
        (&json!(true), &json!(true))
    );
    let (_, status) = gateway.admin(Method::GET, "/api/v1/status").await;
    let ids: Vec<&Value> = status["channels"].as_array().unwrap().iter().map(|entry| &entry["id"]).collect();
    assert_eq!(ids, [&json!("webchat"), &json!("webchat-42")]);
}
