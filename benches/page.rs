//! How long the pages take with very many conversations: `cargo bench --bench page`, or with another number of them
//! behind `--`.
//!
//! The built program over the loopback, one request after the other, as an administrator who is logged in; times are what a
//! browser on the same machine waits. The home lies under `target/`.
#![expect(clippy::print_stdout, reason = "the table is the point")]
#![expect(clippy::expect_used, reason = "a benchmark that cannot go on should stop")]

#[expect(dead_code, reason = "turns and disks are measured elsewhere")]
mod proc;
mod sample;
mod scattered;

use std::fs::{self, File};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use frontdesk::clock::{Clock as _, SystemClock, Timestamp};
use frontdesk::gateway::Home;
use frontdesk::gateway::device_key::Sources;
use frontdesk::id::{SessionKey, TenantId};
use frontdesk::message::Inbound;
use frontdesk::store::Store;
use reqwest::{Client, StatusCode, header};

use proc::{Measured, Times};
use scattered::scattered;

const N_CONVERSATIONS: u64 = 100_000;
const N_TENANTS: u64 = 100;
/// Conversations of one transaction of the loader.
const N_TOGETHER: u64 = 5000;
/// Requests of one page.
const N_REQUESTS: usize = 500;
/// Before them: what is read from the disk once.
const N_WARM: usize = 20;
/// As the gateway opens its store.
const CACHE_BYTES: usize = 4 * 1024 * 1024;
const PASSWORD: &str = "violet kettle harbour 17";

/// What is measured, and where. `{key}` is a conversation in the middle.
const PAGES: &[(&str, &str)] = &[
    ("home", "/admin/"),
    ("conversations", "/admin/conversations"),
    ("conversations of a tenant", "/admin/conversations?tenant=t7"),
    ("one conversation", "/admin/conversation?tenant=t7&key=tenant-t7-webhook:user_50007"),
    ("people", "/admin/people"),
    ("API: status", "/api/v1/status"),
    ("API: list of conversations", "/api/v1/sessions?limit=50"),
    ("API: somebody", "/api/v1/sessions/find?channel=webhook&user=user_50007"),
];

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let n = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(N_CONVERSATIONS);
    let mut gateway = Gateway::new();
    gateway.load(n).await;
    gateway.start().await;
    let browser = gateway.log_in().await;
    println!("{n} conversations of {N_TENANTS} tenants\n");
    println!("| page | KiB | p50 / p95 / p99 ms | CPU ms |\n|---|---:|---:|---:|");
    for (name, path) in PAGES {
        let address = gateway.address(path);
        for _ in 0..N_WARM {
            fetch(&browser, &address).await;
        }
        let (mut times, mut n_bytes) = (Times::default(), 0);
        let (measured, before) = (gateway.measured(), gateway.measured().done());
        for _ in 0..N_REQUESTS {
            let started = Instant::now();
            n_bytes = fetch(&browser, &address).await;
            times.note(started.elapsed());
        }
        let cost = measured.done().since(before);
        times.sort();
        println!(
            "| {name} | {} | {:.2} / {:.2} / {:.2} | {:.2} |",
            n_bytes.div_ceil(1024),
            times.at(50),
            times.at(95),
            times.at(99),
            cost.cpu_ms_each(N_REQUESTS)
        );
    }
}

/// How many bytes came.
async fn fetch(browser: &Client, address: &str) -> usize {
    let response = browser.get(address).send().await.expect("an answer");
    assert_eq!(response.status(), StatusCode::OK, "{address}");
    response.bytes().await.expect("all of it").len()
}

/// The built program in a home of its own; killed when it is dropped.
#[derive(Debug)]
struct Gateway {
    home: tempfile::TempDir,
    address: SocketAddr,
    process: Option<Child>,
}

impl Gateway {
    fn new() -> Self {
        let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory under target/");
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.expect("a free port");
        let config = format!(
            "[gateway]\nport = {}\nbind = \"127.0.0.1\"\n[session]\ndm_scope = \"per-channel-peer\"\nttl_days = 0\n[[providers]]\n\
             name = \"demo\"\nkind = \"demo\"\n[[channels]]\nid = \"hook\"\ntype = \"webhook\"\ntenant_id = \"t7\"\nsecret = \
             \"for this benchmark alone\"\nreply_url = \"http://127.0.0.1:9/replies\"\n",
            address.port()
        );
        fs::write(home.path().join("config.toml"), config).expect("room on the disk");
        Self { home, address, process: None }
    }

    async fn load(&self, n: u64) {
        let path = self.home.path().join("frontdesk.redb");
        let keys = Home::open(self.home.path().to_owned(), &Sources::default(), &path).expect("a new home");
        let store = Store::open(&path, CACHE_BYTES, &keys.wrapping_key()).expect("a new store");
        for first in (0..n).step_by(usize::try_from(N_TOGETHER).expect("it fits")) {
            let messages = (first..n.min(first + N_TOGETHER)).map(conversation).collect();
            store.load(messages).await.expect("room on the disk");
        }
    }

    async fn start(&mut self) {
        let log = File::create(self.home.path().join("log")).expect("room on the disk");
        let mut command = Command::new(program());
        command.env_clear().arg("--home").arg(self.home.path()).args(["gateway", "run"]);
        command.stdin(Stdio::null()).stderr(log).stdout(Stdio::null());
        self.process = Some(command.spawn().expect("the program"));
        let ready = self.address("/readyz");
        while !reqwest::get(&ready).await.is_ok_and(|answer| answer.status() == StatusCode::OK) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    fn address(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Claims the box; what comes back shows the session with each request.
    async fn log_in(&self) -> Client {
        let code = fs::read_to_string(self.home.path().join("claim.code")).expect("a box that nobody has claimed");
        let body = format!("code={}&name=Ada&password={}", code.trim(), PASSWORD.replace(' ', "+"));
        let plain = Client::builder().no_proxy().redirect(reqwest::redirect::Policy::none()).build().expect("a client");
        let request = plain.post(self.address("/admin/claim")).header(header::ORIGIN, self.address("")).body(body);
        let request = request.header(header::CONTENT_TYPE, "application/x-www-form-urlencoded");
        let response = request.send().await.expect("an answer");
        let cookie = response.headers().get(header::SET_COOKIE).expect("a session").clone();
        let headers = header::HeaderMap::from_iter([(header::COOKIE, cookie)]);
        Client::builder().no_proxy().default_headers(headers).build().expect("a client")
    }

    fn measured(&self) -> Measured {
        Measured::new(self.process.as_ref().map(Child::id).expect("it runs"), self.home.path())
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        if let Some(mut process) = self.process.take() {
            let killed = process.kill().and_then(|()| process.wait());
            killed.expect("it ran");
        }
    }
}

/// The one to measure.
fn program() -> PathBuf {
    let other = std::env::var_os("FRONTDESK_BIN").map(PathBuf::from);
    other.unwrap_or_else(|| Path::new(env!("CARGO_BIN_EXE_frontdesk")).to_owned())
}

/// One that began with a message of this user, within the last month.
fn conversation(user: u64) -> (SessionKey, Inbound) {
    let month_ms = 30 * 24 * 60 * 60 * 1000;
    let received_at = Timestamp(SystemClock.now().0 - scattered(user) % month_ms);
    let tenant = format!("t{}", user % N_TENANTS);
    let mut inbound = Inbound { received_at, ..sample::message("hook", None, user) };
    inbound.identity.tenant = Some(TenantId::new(tenant.as_str()).expect("a name"));
    (SessionKey::parse(&format!("tenant-{tenant}-webhook:user_{user}")).expect("a key"), inbound)
}
