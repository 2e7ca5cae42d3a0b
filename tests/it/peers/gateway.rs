//! A real gateway in a home of its own.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use axum::http::request::Parts;
use axum::http::{HeaderMap, Method, Request, Response, StatusCode, header};
use frontdesk::account::{Accounts, Who};
use frontdesk::admin::AdminToken;
use frontdesk::clock::{Clock, ManualClock, SystemClock, Timestamp};
use frontdesk::document::SystemVariables;
use frontdesk::gateway::device_key::{DeviceKey, Sources};
use frontdesk::gateway::{Gateway, Options, ReloadError, Reloaded, socket};
use frontdesk::store::Store;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Runtime};

use super::{http, soon};

/// A gateway and its home. It has a runtime of its own, so that it can be cut off in the middle of anything.
#[derive(Debug)]
pub(crate) struct TestGateway {
    home: TempDir,
    clock: Arc<dyn Clock>,
    /// How far a test has moved the usual clock.
    shift: Arc<ShiftedClock>,
    running: Option<Running>,
}

/// The time of the system, moved on by the test.
#[derive(Debug, Default)]
struct ShiftedClock(ManualClock);

impl Clock for ShiftedClock {
    fn now(&self) -> Timestamp {
        SystemClock.now().plus_ms(self.0.now().0)
    }

    fn elapsed_ms(&self) -> u64 {
        SystemClock.elapsed_ms().saturating_add(self.0.now().0)
    }
}

#[derive(Debug)]
struct Running {
    gateway: Gateway,
    runtime: Runtime,
}

impl TestGateway {
    /// Starts with this text as `config.toml`; `[gateway]` is put in front of its first table unless it has one.
    pub(crate) async fn start(config: &str) -> Self {
        let shift = Arc::<ShiftedClock>::default();
        Self::with(config, shift.clone(), shift).await
    }

    /// The same, with a clock of the test's own.
    pub(crate) async fn start_at(config: &str, clock: Arc<dyn Clock>) -> Self {
        Self::with(config, clock, Arc::default()).await
    }

    async fn with(config: &str, clock: Arc<dyn Clock>, shift: Arc<ShiftedClock>) -> Self {
        let mut gateway = Self { home: tempfile::tempdir().unwrap(), clock, shift, running: None };
        gateway.configure(config);
        gateway.power_on().await;
        gateway
    }

    /// Writes another configuration. Nobody reads it yet.
    pub(crate) fn configure(&self, config: &str) {
        let text = match config.split_once("[gateway]\n") {
            Some((before, own)) => format!("{before}[gateway]\nport = 0\n{own}"),
            None => {
                let top: String = config.split_inclusive('\n').take_while(|line| !line.starts_with('[')).collect();
                let rest = config.strip_prefix(&top).unwrap();
                format!("{top}[gateway]\nport = 0\n{rest}")
            }
        };
        fs::write(self.home.path().join("config.toml"), text).unwrap();
    }

    /// Where it keeps everything.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    /// Runs a command over the same home; returns its exit code and what it printed, errors behind.
    pub(crate) async fn command(&self, arguments: &[&str]) -> (i32, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_frontdesk"));
        command.env_clear().arg("--home").arg(self.home.path()).args(arguments);
        let output = tokio::task::spawn_blocking(move || command.output().unwrap());
        let output = soon("the end of a command", output).await.unwrap();
        let said = [output.stdout, output.stderr].concat();
        (output.status.code().unwrap(), String::from_utf8(said).unwrap())
    }

    /// Its store.
    pub(crate) fn store(&self) -> &Store {
        self.running().gateway.store()
    }

    /// Who may use its admin API.
    pub(crate) fn accounts(&self) -> &Accounts {
        self.running().gateway.accounts()
    }

    /// As an editor does for a moment.
    pub(crate) fn remove_config(&self) {
        fs::remove_file(self.home.path().join("config.toml")).unwrap();
    }

    /// Moves its usual clock on.
    pub(crate) fn advance_ms(&self, ms: u64) {
        self.shift.0.advance_ms(ms);
    }

    /// What its clock says.
    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What opens its store.
    pub(crate) fn wrapping_key(&self) -> [u8; 32] {
        let store = self.home.path().join("frontdesk.redb");
        DeviceKey::load(self.home.path(), &Sources::default(), &store).unwrap().wrapping_key()
    }

    /// Starts over what is in the home.
    pub(crate) async fn power_on(&mut self) {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let (home, clock) = (self.home.path().to_owned(), Arc::clone(&self.clock));
        let started = runtime.spawn(async move {
            let variables = Arc::new(SystemVariables::new([], &home));
            let device_key = Sources::default();
            let pages = frontdesk::page::router;
            let options = Options { home, variables, clock, device_key, pages, on_copy: false };
            let gateway = Gateway::start(options).await.unwrap();
            frontdesk::admin::listen(&gateway).unwrap();
            gateway
        });
        let gateway = soon("the start", started).await.unwrap();
        self.running = Some(Running { gateway, runtime });
    }

    /// Ends everything at once: no task gets another turn, nothing is said to anybody.
    pub(crate) async fn power_off(&mut self) {
        let Running { gateway, runtime } = self.running.take().unwrap();
        let ended = tokio::task::spawn_blocking(move || {
            runtime.shutdown_timeout(Duration::from_secs(30));
            // The last handle of the store: its file is closed now.
            drop(gateway);
        });
        soon("the end", ended).await.unwrap();
    }

    /// Asks it to end, as the system does.
    pub(crate) async fn stop(&self) {
        let Running { gateway, runtime } = self.running();
        let gateway = gateway.clone();
        soon("the end", runtime.spawn(async move { gateway.shut_down().await })).await.unwrap();
    }

    /// Reads the configuration again.
    pub(crate) async fn reload(&self) -> Result<Reloaded, ReloadError> {
        let Running { gateway, runtime } = self.running();
        let gateway = gateway.clone();
        soon("the reload", runtime.spawn(async move { gateway.reload().await })).await.unwrap()
    }

    /// Address of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.running().gateway.address().unwrap())
    }

    /// `GET` as anybody.
    pub(crate) async fn get(&self, path: &str) -> (StatusCode, String) {
        let response = soon("an answer", http().get(self.url(path)).send()).await.unwrap();
        (response.status(), response.text().await.unwrap())
    }

    /// Asks in a conversation through the HTTP API.
    pub(crate) async fn ask(&self, api_key: &str, session_key: &str, text: &str) -> (StatusCode, Value) {
        self.chat(api_key, &[("x-frontdesk-session-key", session_key)], &question(text)).await
    }

    /// Posts to the HTTP API.
    pub(crate) async fn chat(&self, api_key: &str, headers: &[(&str, &str)], body: &Value) -> (StatusCode, Value) {
        let request = http().post(self.url("/v1/chat/completions")).bearer_auth(api_key).body(body.to_string());
        let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
        let response = soon("an answer of the API", request.send()).await.unwrap();
        (response.status(), response.json().await.unwrap())
    }

    /// The models that the HTTP API offers to a key.
    pub(crate) async fn models(&self, api_key: &str) -> Vec<String> {
        let request = http().get(self.url("/v1/models")).bearer_auth(api_key).send();
        let list: Value = soon("the models", request).await.unwrap().json().await.unwrap();
        list["data"].as_array().unwrap().iter().map(|model| model["id"].as_str().unwrap().to_owned()).collect()
    }

    /// Asks the admin API, as its owner.
    pub(crate) async fn admin(&self, method: Method, path: &str) -> (StatusCode, Value) {
        let token = fs::read_to_string(self.home.path().join("admin.token")).unwrap();
        self.admin_with(&token, method, path).await
    }

    /// Asks the admin API with any token.
    pub(crate) async fn admin_with(&self, token: &str, method: Method, path: &str) -> (StatusCode, Value) {
        self.admin_request(token, method, path, "").await
    }

    /// Sends a body to the admin API, as its owner.
    pub(crate) async fn admin_send(&self, method: Method, path: &str, body: &Value) -> (StatusCode, Value) {
        let token = fs::read_to_string(self.home.path().join("admin.token")).unwrap();
        self.admin_request(&token, method, path, &body.to_string()).await
    }

    async fn admin_request(&self, token: &str, method: Method, path: &str, body: &str) -> (StatusCode, Value) {
        let (status, body) = self.admin_stream(token, method, path, body).await;
        let body = soon("the whole answer", body.collect()).await.unwrap().to_bytes();
        (status, serde_json::from_slice(&body).unwrap())
    }

    /// Asks the admin API for a text.
    pub(crate) async fn admin_text(&self, path: &str) -> String {
        let (status, body) = self.read_along(path).await;
        assert_eq!(status, StatusCode::OK);
        let body = soon("the whole answer", body.collect()).await.unwrap().to_bytes();
        String::from_utf8(body.to_vec()).unwrap()
    }

    /// Asks the admin API for an answer that comes in pieces.
    pub(crate) async fn read_along(&self, path: &str) -> (StatusCode, Incoming) {
        let token = fs::read_to_string(self.home.path().join("admin.token")).unwrap();
        self.admin_stream(&token, Method::GET, path, "").await
    }

    /// From now on the admin API knows these besides the owner, each by their name for a token.
    pub(crate) fn let_in(&self, known: Vec<Who>) {
        let Running { gateway, runtime } = self.running();
        let owner = AdminToken::of(gateway);
        let doors = move |head: &Parts| {
            let token = frontdesk::admin::bearer(head)?;
            owner.shown_in(head).or_else(|| known.iter().find(|who| who.name == token).cloned())
        };
        let _tasks = runtime.enter();
        gateway.listen_local(frontdesk::admin::router(gateway, doors)).unwrap();
    }

    /// Asks the admin API; gives everything that comes back.
    pub(crate) async fn admin_raw(
        &self,
        token: Option<&str>,
        method: Method,
        path: &str,
        body: &str,
    ) -> (StatusCode, HeaderMap, Bytes) {
        let response = self.admin_response(token, method, path, body).await;
        let (head, body) = response.into_parts();
        let body = soon("the whole answer", body.collect()).await.unwrap().to_bytes();
        (head.status, head.headers, body)
    }

    async fn admin_stream(&self, token: &str, method: Method, path: &str, body: &str) -> (StatusCode, Incoming) {
        let response = self.admin_response(Some(token), method, path, body).await;
        (response.status(), response.into_body())
    }

    async fn admin_response(&self, token: Option<&str>, method: Method, path: &str, body: &str) -> Response<Incoming> {
        let stream = UnixStream::connect(socket(self.home.path())).await.unwrap();
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
        #[expect(clippy::disallowed_methods, reason = "it ends with the test")]
        tokio::spawn(connection);
        let request = Request::builder().method(method).uri(path).header(header::HOST, "frontdesk");
        let request = match token {
            Some(token) => request.header(header::AUTHORIZATION, format!("Bearer {token}")),
            None => request,
        };
        let request = request.body(Full::new(Bytes::from(body.to_owned()))).unwrap();
        soon("an answer of the admin API", sender.send_request(request)).await.unwrap()
    }

    /// Keys of the archived conversations, as soon as there are so many.
    pub(crate) async fn archived(&self, n_archived: usize) -> Vec<String> {
        let archived = async {
            loop {
                let (_, page) = self.admin(Method::GET, "/api/v1/sessions?archived=true").await;
                let rows = page["sessions"].as_array().unwrap();
                if rows.len() == n_archived {
                    return rows.iter().map(|row| row["key"].as_str().unwrap().to_owned()).collect();
                }
            }
        };
        soon("so many archived conversations", archived).await
    }

    /// Keys of the conversations that the store holds; of one tenant, if one is named.
    pub(crate) async fn session_keys(&self, tenant: Option<&str>) -> Vec<String> {
        let query = tenant.map(|tenant| format!("?tenant={tenant}")).unwrap_or_default();
        let (status, page) = self.admin(Method::GET, &format!("/api/v1/sessions{query}")).await;
        assert_eq!(status, StatusCode::OK, "{page}");
        let rows = page["sessions"].as_array().unwrap();
        rows.iter().map(|row| row["key"].as_str().unwrap().to_owned()).collect()
    }

    /// Comes back when no message waits and no reply is on its way.
    pub(crate) async fn settled(&self) {
        let settled = async {
            loop {
                let (_, status) = self.admin(Method::GET, "/api/v1/status").await;
                if status["queue"]["waiting"] == 0 && status["queue"]["undelivered"] == 0 {
                    return;
                }
            }
        };
        soon("the end of the queue", settled).await;
    }

    fn running(&self) -> &Running {
        self.running.as_ref().unwrap()
    }
}

impl Drop for TestGateway {
    /// A runtime may not be waited for inside another.
    fn drop(&mut self) {
        if let Some(Running { runtime, .. }) = self.running.take() {
            runtime.shutdown_background();
        }
    }
}

/// A stateless request to the default agent. With a `user` it is one message in a conversation.
pub(crate) fn question(text: &str) -> Value {
    serde_json::json!({ "model": "default", "messages": [{ "role": "user", "content": text }] })
}
