//! What a store with very many conversations costs: `cargo bench --bench life`, or with another number of them behind `--`.
//!
//! They were last used at random hours of a year; ten thousand of a million are due. The file lies under `target/`.
#![expect(clippy::print_stdout, reason = "the table is the point")]
#![expect(clippy::expect_used, reason = "a benchmark that cannot go on should stop")]

mod sample;
mod scattered;

use std::path::Path;
use std::time::Instant;

use frontdesk::clock::Timestamp;
use frontdesk::id::{ChannelType, OpaqueId, SessionKey};
use frontdesk::message::Inbound;
use frontdesk::store::{Filter, Life, Search, Store};
use scattered::scattered;

/// As the gateway opens it.
const CACHE_BYTES: usize = 8 * 1024 * 1024;
const N_SESSIONS: u64 = 1_000_000;
/// Conversations of one transaction of the loader.
const N_TOGETHER: u64 = 5000;
const YEAR_HOURS: u64 = 365 * 24;
const HOUR_MS: u64 = 60 * 60 * 1000;
const FOR_EVER: Life = Life { ttl_ms: None, says_new: true };

#[tokio::main]
async fn main() {
    let n_sessions = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(N_SESSIONS);
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory under target/");
    let path = home.path().join("store.redb");
    {
        let store = Store::open(&path, CACHE_BYTES, &[7; 32]).expect("a new store");
        for first in (0..n_sessions).step_by(usize::try_from(N_TOGETHER).expect("it fits")) {
            let messages = (first..n_sessions.min(first + N_TOGETHER)).map(message).collect();
            store.load(messages).await.expect("room on the disk");
        }
    }
    let empty = home.path().join("empty.redb");
    drop(Store::open(&empty, CACHE_BYTES, &[7; 32]).expect("a new store"));

    print("conversations", n_sessions);
    print("file, MiB", std::fs::metadata(&path).expect("it is there").len() >> 20);
    let started = Instant::now();
    drop(Store::open(&empty, CACHE_BYTES, &[7; 32]).expect("an empty store"));
    print_time("open an empty store, ms", started);
    // What the loader used is no part of it.
    let before = resident_kib();
    let started = Instant::now();
    let store = Store::open(&path, CACHE_BYTES, &[7; 32]).expect("a store");
    print_time("open this one, ms", started);

    let owners = store.tenant(None);
    let page = Filter { limit: 100, ..Filter::default() };
    timed("first page of 100, ms", || owners.sessions(&page).expect("rows").len());
    let (channel, user) = (
        ChannelType::new("webhook").expect("a name"),
        OpaqueId::new(format!("user_{}", n_sessions / 2)).expect("an id"),
    );
    timed("find a user, ms", || owners.find(&channel, &user).expect("rows").live.len());
    timed("tenants, ms", || store.tenants().expect("rows").len());
    timed("counts, ms", || usize::try_from(store.counts().expect("rows").sessions).expect("it fits"));
    timed("peers of a key, ms", || owners.peers_of(&key(7), 9).expect("rows").len());
    let search = Search { words: "nowhere".to_owned(), in_live: true, in_archived: true, after: None, limit: 9 };
    timed("search, ms", || owners.search(&search).expect("rows").hits.len());

    let due = Timestamp(YEAR_HOURS / 100 * HOUR_MS);
    let (mut n_archived, mut n_read, mut longest) = (0, 0, 0);
    let started = Instant::now();
    loop {
        let step = Instant::now();
        let expired = store.expire(due, Timestamp(YEAR_HOURS * HOUR_MS), None).await.expect("room on the disk");
        longest = longest.max(step.elapsed().as_millis());
        (n_archived, n_read) = (n_archived + expired.n_archived, n_read + expired.n_read);
        if !expired.has_more {
            break;
        }
    }
    print_time("expiry, ms", started);
    println!("{:>28}  {longest}", "longest step of it, ms");
    print("archived", n_archived);
    print("rows read for it", n_read);

    let message = message(n_sessions + 1).1;
    let started = Instant::now();
    owners.file(&key(n_sessions + 1), &message, FOR_EVER).await.expect("room in the queue");
    print_time("file a message, ms", started);
    print("resident before, KiB", before);
    print("resident now, KiB", resident_kib());
    let started = Instant::now();
    owners.session(&key(n_sessions + 1)).erase(None).await.expect("room on the disk");
    print_time("erase a conversation, ms", started);
    let started = Instant::now();
    store.rewrite().await.expect("room on the disk");
    print_time("write the file anew, ms", started);
    print("resident then, KiB", resident_kib());
    print("file, MiB", std::fs::metadata(&path).expect("it is there").len() >> 20);
}

fn timed(what: &str, run: impl FnOnce() -> usize) {
    let started = Instant::now();
    let n = run();
    print_time(&format!("({n}) {what}"), started);
}

fn print_time(what: &str, started: Instant) {
    println!("{what:>28}  {:.1}", started.elapsed().as_secs_f64() * 1000.0);
}

fn print(what: &str, number: u64) {
    println!("{what:>28}  {number}");
}

fn key(n: u64) -> SessionKey {
    SessionKey::parse(&format!("webhook:room_{}:user_{n}", scattered(n) % 1000)).expect("a key")
}

fn message(n: u64) -> (SessionKey, Inbound) {
    let received_at = Timestamp(scattered(n + 1) % (YEAR_HOURS * HOUR_MS));
    (key(n), Inbound { received_at, ..sample::message("webhook", Some(scattered(n) % 1000), n) })
}

/// Memory of this process, `proc_pid_status(5)`; zero where the system does not say.
fn resident_kib() -> u64 {
    let status = std::fs::read_to_string(Path::new("/proc/self/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|number| number.trim().trim_end_matches(" kB").parse().ok()).unwrap_or_default()
}
