//! What a turn costs through the built program, from a signed request to the signed reply: `cargo bench --bench gateway`,
//! or with another number of seconds a row behind `--`.
//!
//! The webhook channel over the loopback, both ways, and the demo model, which answers at once. Each session writes, waits
//! for its reply and writes again. Costs are those of the gateway's process; what the peer needs is in a column of its own.
//! The second table is about a store that holds many conversations. The home lies under `target/`; put that on the
//! medium that is to be measured.
#![expect(clippy::print_stdout, reason = "the table is the point")]
#![expect(clippy::expect_used, reason = "a benchmark that cannot go on should stop")]
#![expect(clippy::disallowed_methods, reason = "connections end with the benchmark")]

mod proc;
mod sample;
mod scattered;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use frontdesk::clock::{Clock as _, SystemClock, Timestamp};
use frontdesk::gateway::Home;
use frontdesk::gateway::device_key::Sources;
use frontdesk::id::SessionKey;
use frontdesk::message::Inbound;
use frontdesk::store::Store;
use http_body_util::{BodyExt as _, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::SendRequest;
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinSet;

use proc::{Measured, Times, size};
use scattered::scattered;

/// Long enough for what is done now and then to be in it.
const ROW_SECS: u64 = 10;
/// As the gateway opens its store.
const CACHE_BYTES: usize = 4 * 1024 * 1024;
/// Conversations of one transaction of the loader.
const N_TOGETHER: u64 = 5000;
/// Turns in conversations of a large store.
const N_TURNS: u64 = 2000;
/// Of the signatures.
const SECRET: &str = "for this benchmark alone";

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let row_secs = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(ROW_SECS);
    let peer = Peer::start().await;
    println!(
        "| sessions | `max_turns` | disk alone, syncs/s | turns/s | KiB/turn | KiB/turn, disk | CPU ms/turn \
         | CPU ms/turn, peer | acknowledged, p50 / p99 ms | acknowledged to reply | resident MiB |\n|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    );
    for (n_sessions, max_turns) in [(1, 16), (16, 16), (64, 16), (64, 64)] {
        throughput(&peer, n_sessions, max_turns, Duration::from_secs(row_secs)).await;
    }
    println!(
        "\n| conversations | file MiB | start ms | start after a kill ms | resident MiB | after {N_TURNS} turns \
         |\n|---:|---:|---:|---:|---:|---:|"
    );
    for n_conversations in [10_000, 1_000_000] {
        many(&peer, n_conversations).await;
    }
}

async fn throughput(peer: &Peer, n_sessions: u64, max_turns: usize, row_time: Duration) {
    let mut gateway = Gateway::new(peer, max_turns);
    let disk_alone = proc::syncs_per_sec(gateway.home.path()).expect("a disk");
    gateway.start().await;
    let (measured, own) = (gateway.measured(), Measured::new(std::process::id(), gateway.home.path()));
    let (before, own_before, started) = (measured.done(), own.done(), Instant::now());
    let mut sessions = JoinSet::new();
    for n in 0..n_sessions {
        let mut session = peer.session(&gateway).await;
        sessions.spawn(async move {
            while started.elapsed() < row_time {
                session.turn(n).await;
            }
            session.times
        });
    }
    let mut times = (Times::default(), Times::default());
    for (acknowledged, replied) in sessions.join_all().await {
        times.0.append(acknowledged);
        times.1.append(replied);
    }
    let elapsed = started.elapsed().as_secs_f64();
    let resident = gateway.resident_mib();
    let (cost, own_cost) = (measured.done().since(before), own.done().since(own_before));
    times.0.sort();
    times.1.sort();
    let n_turns = times.1.n();
    println!(
        "| {n_sessions} | {max_turns} | {disk_alone:.0} | {:.0} | {:.1} | {:.1} | {:.2} | {:.2} | {} | {} | {resident:.1} |",
        size(n_turns) / elapsed,
        cost.kib_each(n_turns),
        cost.device_kib_each(n_turns),
        cost.cpu_ms_each(n_turns),
        own_cost.cpu_ms_each(n_turns),
        times.0,
        times.1,
    );
}

async fn many(peer: &Peer, n_conversations: u64) {
    let mut gateway = Gateway::new(peer, 16);
    let path = gateway.home.path().join("frontdesk.redb");
    {
        let keys = Home::open(gateway.home.path().to_owned(), &Sources::default(), &path).expect("a new home");
        let store = Store::open(&path, CACHE_BYTES, &keys.wrapping_key()).expect("a new store");
        for first in (0..n_conversations).step_by(usize::try_from(N_TOGETHER).expect("it fits")) {
            let messages = (first..n_conversations.min(first + N_TOGETHER)).map(conversation).collect();
            store.load(messages).await.expect("room on the disk");
        }
    }
    let clean = gateway.start().await;
    let resident = gateway.resident_mib();
    let mut session = peer.session(&gateway).await;
    for n in 0..N_TURNS {
        session.turn(scattered(n) % n_conversations).await;
    }
    let used = gateway.resident_mib();
    gateway.kill();
    let killed = gateway.start().await;
    let mib =
        size(usize::try_from(std::fs::metadata(&path).expect("it is there").len() >> 10).expect("it fits")) / 1024.0;
    println!("| {n_conversations} | {mib:.0} | {clean:.0} | {killed:.0} | {resident:.1} | {used:.1} |");
}

/// The built program in a home of its own; killed when it is dropped.
#[derive(Debug)]
struct Gateway {
    home: tempfile::TempDir,
    address: SocketAddr,
    process: Option<Child>,
}

impl Gateway {
    fn new(peer: &Peer, max_turns: usize) -> Self {
        let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory under target/");
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
        let address = free.expect("a free port");
        let config = format!(
            "[gateway]\nport = {}\nbind = \"127.0.0.1\"\nmax_turns = {max_turns}\n[session]\ndm_scope = \
             \"per-channel-peer\"\n[[providers]]\nname = \"demo\"\nkind = \"demo\"\n[[channels]]\nid = \"hook\"\ntype = \
             \"webhook\"\nsecret = \"{SECRET}\"\nreply_url = \"http://{}/replies\"\n",
            address.port(),
            peer.address
        );
        std::fs::write(home.path().join("config.toml"), config).expect("room on the disk");
        Self { home, address, process: None }
    }

    /// Returns when it is ready: how many milliseconds that took.
    async fn start(&mut self) -> f64 {
        let started = Instant::now();
        let log = std::fs::File::create(self.home.path().join("log")).expect("room on the disk");
        let mut command = Command::new(program());
        command.env_clear().arg("--home").arg(self.home.path()).args(["gateway", "run"]);
        command.stdin(Stdio::null()).stderr(log).stdout(Stdio::null());
        self.process = Some(command.spawn().expect("the program"));
        loop {
            if let Ok(mut sender) = connect(self.address).await {
                let request = Request::get("/readyz").header("host", "bench").body(Full::default()).expect("a request");
                let answer = sender.send_request(request).await;
                if answer.is_ok_and(|answer| answer.status() == StatusCode::OK) {
                    return started.elapsed().as_secs_f64() * 1000.0;
                }
            }
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    }

    fn measured(&self) -> Measured {
        Measured::new(self.pid(), self.home.path())
    }

    fn resident_mib(&self) -> f64 {
        proc::count(proc::field(&proc::process(self.pid()).join("status"), "VmRSS:")) / 1024.0
    }

    fn pid(&self) -> u32 {
        self.process.as_ref().map(Child::id).expect("it runs")
    }

    fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let killed = process.kill().and_then(|()| process.wait());
            killed.expect("it ran");
        }
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
    }
}

/// The one to measure.
fn program() -> PathBuf {
    let other = std::env::var_os("FRONTDESK_BIN").map(PathBuf::from);
    other.unwrap_or_else(|| Path::new(env!("CARGO_BIN_EXE_frontdesk")).to_owned())
}

/// Whoever writes through the webhook entry, and hears the replies.
#[derive(Debug)]
struct Peer {
    address: SocketAddr,
    waiting: Waiting,
}

/// By message id, who waits for a reply.
type Waiting = Arc<Mutex<HashMap<String, oneshot::Sender<Instant>>>>;

impl Peer {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("an address");
        let waiting = Waiting::default();
        let peer = Self { address, waiting: Arc::clone(&waiting) };
        tokio::spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let waiting = Arc::clone(&waiting);
                let hear = hyper::service::service_fn(move |request| hear(Arc::clone(&waiting), request));
                tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), hear));
            }
        });
        peer
    }

    async fn session(&self, gateway: &Gateway) -> Session {
        let sender = connect(gateway.address).await.expect("a connection");
        Session { sender, waiting: Arc::clone(&self.waiting), key: key(), times: Default::default() }
    }
}

async fn hear(waiting: Waiting, request: Request<Incoming>) -> Result<Response<Full<Bytes>>, hyper::Error> {
    let at = Instant::now();
    let body = request.into_body().collect().await?.to_bytes();
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let answers = body.get("answers").and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_str);
    for message_id in answers {
        if let Some(waits) = waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(message_id) {
            // Whoever waited may have gone.
            let _ = waits.send(at);
        }
    }
    Ok(Response::new(Full::default()))
}

async fn connect(address: SocketAddr) -> Result<SendRequest<Full<Bytes>>, Box<dyn std::error::Error>> {
    let stream = TcpStream::connect(address).await?;
    stream.set_nodelay(true)?;
    let (sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    tokio::spawn(connection);
    Ok(sender)
}

/// One who writes one message after the other.
#[derive(Debug)]
struct Session {
    sender: SendRequest<Full<Bytes>>,
    waiting: Waiting,
    key: hmac::Key,
    /// From the request to its acknowledgement, and from there to the reply.
    times: (Times, Times),
}

impl Session {
    /// A message of this user, until its reply is there.
    async fn turn(&mut self, user: u64) {
        let message_id = format!("m_{user}_{}", self.times.1.n());
        let text = "Do you have an appointment on Thursday afternoon? ".repeat(4);
        let message =
            json!({ "kind": "direct", "user_id": format!("user_{user}"), "message_id": message_id, "text": text });
        let (body, at) = (message.to_string(), SystemClock.now().as_secs());
        let tag = hmac::sign(&self.key, format!("{message_id}.{at}.{body}").as_bytes());
        let request = Request::post("/hooks/hook")
            .header("host", "bench")
            .header("content-type", "application/json")
            .header("webhook-id", &message_id)
            .header("webhook-timestamp", at)
            .header("webhook-signature", format!("v1,{}", STANDARD.encode(tag)))
            .body(Full::from(body))
            .expect("a request");
        let (waits, replied) = oneshot::channel();
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner).insert(message_id, waits);
        let started = Instant::now();
        self.sender.ready().await.expect("a connection");
        let response = self.sender.send_request(request).await.expect("a connection");
        assert_eq!(response.status(), StatusCode::ACCEPTED, "the message");
        response.into_body().collect().await.expect("a body");
        let acknowledged = Instant::now();
        let replied = replied.await.expect("a reply");
        self.times.0.note(acknowledged.duration_since(started));
        self.times.1.note(replied.saturating_duration_since(acknowledged));
    }
}

fn key() -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, SECRET.as_bytes())
}

/// One that began with a message of this user, a while ago.
fn conversation(user: u64) -> (SessionKey, Inbound) {
    let day_ms = 24 * 60 * 60 * 1000;
    // Not so long that the sweep has something to do.
    let received_at = Timestamp(SystemClock.now().0 - scattered(user) % (20 * day_ms));
    let inbound = Inbound { received_at, ..sample::message("hook", None, user) };
    (SessionKey::parse(&format!("webhook:user_{user}")).expect("a key"), inbound)
}
