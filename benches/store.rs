//! What a turn costs on the disk: `cargo bench --bench store`, or with another number of seconds a row behind `--`.
//!
//! A turn is what the gateway does for one message: file it, commit its answer, settle the delivery.
//! Each of the three returns only when it is on the disk. The file lies under `target/`; put that on
//! the medium that is to be measured. A row ends when the store is closed and the disk has everything.
#![expect(clippy::print_stdout, reason = "the table is the point")]
#![expect(clippy::expect_used, reason = "a benchmark that cannot go on should stop")]

mod proc;
mod sample;

use std::time::{Duration, Instant};

use frontdesk::clock::Timestamp;
use frontdesk::id::{AgentId, OpaqueId, SessionKey};
use frontdesk::message::Inbound;
use frontdesk::store::{Life, NewDelivery, Store, Turn};
use proc::{Measured, Times, count, size};

const CACHE_BYTES: usize = 8 * 1024 * 1024;
/// Long enough for what is done now and then to be in it.
const ROW_SECS: u64 = 10;

#[tokio::main]
async fn main() {
    let row_secs = std::env::args().filter_map(|argument| argument.parse().ok()).next().unwrap_or(ROW_SECS);
    println!(
        "| sessions | disk alone, syncs/s | turns/s | syncs/s | turns/sync | KiB/turn | KiB/turn, disk | CPU ms/turn \
         | file, p50 / p99 ms | commit | settle |\n|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|"
    );
    for n_sessions in [1, 16, 64] {
        measure(n_sessions, Duration::from_secs(row_secs)).await;
    }
}

async fn measure(n_sessions: u64, row_time: Duration) {
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory under target/");
    let disk_alone = proc::syncs_per_sec(home.path()).expect("a disk");
    let store = Store::open(&home.path().join("store.redb"), CACHE_BYTES, &[7; 32]).expect("a new store");
    let measured = Measured::new(std::process::id(), home.path());
    let (syncs_before, before, started) = (store.n_syncs(), measured.done(), Instant::now());

    let mut sessions = tokio::task::JoinSet::new();
    for n in 0..n_sessions {
        sessions.spawn(talk(store.clone(), n, started, row_time));
    }
    let mut steps = Steps::default();
    for mut session in sessions.join_all().await {
        steps.0.iter_mut().zip(&mut session.0).for_each(|(all, of_session)| all.append(std::mem::take(of_session)));
    }
    let (elapsed, n_syncs) = (started.elapsed().as_secs_f64(), count(store.n_syncs() - syncs_before));
    drop(store);
    let cost = measured.done().since(before);

    steps.0.iter_mut().for_each(Times::sort);
    let [file, commit, settle] = &steps.0;
    let n_turns = settle.n();
    println!(
        "| {n_sessions} | {disk_alone:.0} | {:.0} | {:.0} | {:.1} | {:.1} | {:.1} | {:.2} | {file} | {commit} | {settle} |",
        size(n_turns) / elapsed,
        n_syncs / elapsed,
        size(n_turns) / n_syncs,
        cost.kib_each(n_turns),
        cost.device_kib_each(n_turns),
        cost.cpu_ms_each(n_turns),
    );
}

/// Of filing, committing, settling.
#[derive(Debug, Default)]
struct Steps([Times; 3]);

/// One turn after the other, for the time of a row.
async fn talk(store: Store, session: u64, started: Instant, row_time: Duration) -> Steps {
    let conversations = store.tenant(None);
    let key = SessionKey::parse(&format!("webhook:room_{session}:user_{session}")).expect("a key");
    let session_store = conversations.session(&key);
    let mut steps = Steps::default();
    let [file, commit, settle] = &mut steps.0;
    for n_turns in 1.. {
        if started.elapsed() >= row_time {
            break;
        }
        let inbound = inbound(session, n_turns);
        let step = Instant::now();
        conversations.file(&key, &inbound, Life::default()).await.expect("room in the queue");
        file.note(step.elapsed());
        let step = Instant::now();
        let deliveries = session_store.commit_turn(answer(&inbound, n_turns)).await.expect("a turn");
        commit.note(step.elapsed());
        for delivery in deliveries {
            let step = Instant::now();
            session_store.settle_delivery(&delivery.id).await.expect("a delivery");
            settle.note(step.elapsed());
        }
    }
    steps
}

fn inbound(session: u64, n: u64) -> Inbound {
    Inbound {
        message_id: OpaqueId::new(format!("msg_{session}_{n}")).expect("an id"),
        received_at: Timestamp(n),
        text: "Do you have an appointment on Thursday afternoon? ".repeat(4),
        ..sample::message("webhook", Some(session), session)
    }
}

fn answer(inbound: &Inbound, n: u64) -> Turn {
    let text = "We do: at two and at half past four. Which one shall I book? ".repeat(8);
    let delivery = NewDelivery {
        address: inbound.reply_to.clone(),
        in_reply_to: inbound.message_id.clone(),
        answers: vec![inbound.message_id.clone()],
        text: text.clone(),
    };
    let agent = AgentId::new("reception").expect("a name");
    let (deliveries, notes, files) = (vec![delivery], Vec::new(), Vec::new());
    Turn { episode: 1, first_line: 1, answered: vec![n], agent, text, deliveries, notes, files, at: Timestamp(n) }
}
