//! What a turn costs on the disk: `cargo bench --bench store`.
//!
//! A turn is what the gateway does for one message: file it, commit its answer, settle the delivery.
//! Each of the three returns only when it is on the disk. The file lies under `target/`; put that on
//! the medium that is to be measured.
#![expect(clippy::print_stdout, reason = "the table is the point")]
#![expect(clippy::expect_used, reason = "a benchmark that cannot go on should stop")]

use std::path::Path;
use std::time::{Duration, Instant};

use frontdesk::clock::Timestamp;
use frontdesk::id::{AgentId, ChannelType, EntryId, OpaqueId, SessionKey};
use frontdesk::message::{Author, ChatKind, Identity, Inbound, ReplyAddress};
use frontdesk::store::{Life, NewDelivery, Store, Turn};

const CACHE_BYTES: usize = 8 * 1024 * 1024;
const ROW_TIME: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() {
    println!("{:>8}  {:>8}  {:>10}  {:>12}", "sessions", "turns/s", "syncs/turn", "KiB/turn");
    for n_sessions in [1, 16, 64] {
        measure(n_sessions).await;
    }
}

async fn measure(n_sessions: u64) {
    let home = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).expect("a directory under target/");
    let store = Store::open(&home.path().join("store.redb"), CACHE_BYTES, &[7; 32]).expect("a new store");
    let (n_syncs, written_bytes, started) = (store.n_syncs(), written_bytes(), Instant::now());

    let mut sessions = tokio::task::JoinSet::new();
    for n in 0..n_sessions {
        sessions.spawn(talk(store.clone(), n, started));
    }
    let n_turns = count(sessions.join_all().await.into_iter().sum());

    let per_second = n_turns / started.elapsed().as_secs_f64();
    let syncs = count(store.n_syncs() - n_syncs) / n_turns;
    let kib = count(self::written_bytes() - written_bytes) / 1024.0 / n_turns;
    println!("{n_sessions:>8}  {per_second:>8.0}  {syncs:>10.2}  {kib:>12.1}");
}

/// One turn after the other, for the time of a row. Returns how many.
async fn talk(store: Store, session: u64, started: Instant) -> u64 {
    let conversations = store.tenant(None);
    let key = SessionKey::parse(&format!("webhook:room_{session}:user_{session}")).expect("a key");
    let session_store = conversations.session(&key);
    let mut n_turns = 0;
    while started.elapsed() < ROW_TIME {
        n_turns += 1;
        let inbound = inbound(session, n_turns);
        conversations.file(&key, &inbound, Life::default()).await.expect("room in the queue");
        for delivery in session_store.commit_turn(answer(&inbound, n_turns)).await.expect("a turn") {
            session_store.settle_delivery(&delivery.id).await.expect("a delivery");
        }
    }
    n_turns
}

fn inbound(session: u64, n: u64) -> Inbound {
    let entry = EntryId::new("webhook").expect("a name");
    let user = OpaqueId::new(format!("user_{session}")).ok();
    let identity = Identity {
        entry: entry.clone(),
        channel: ChannelType::new("webhook").expect("a name"),
        account: None,
        tenant: None,
        workspace: None,
        server: None,
        room: OpaqueId::new(format!("room_{session}")).ok(),
        thread: None,
        user,
        kind: ChatKind::Direct,
        parent: ChatKind::Direct,
    };
    Inbound {
        identity,
        user_name: Some("A customer".to_owned()),
        agent: None,
        envelope_id: None,
        author: Author::Peer,
        mentions_bot: true,
        message_id: OpaqueId::new(format!("msg_{session}_{n}")).expect("an id"),
        received_at: Timestamp(n),
        text: "Do you have an appointment on Thursday afternoon? ".repeat(4),
        attachments: Vec::new(),
        reply_to: ReplyAddress::new(entry, 0, format!("room_{session}")),
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

/// What this process has sent to disks, `proc_pid_io(5)`; zero where the system does not say.
fn written_bytes() -> u64 {
    let io = std::fs::read_to_string(Path::new("/proc/self/io")).unwrap_or_default();
    let field = io.lines().find_map(|line| line.strip_prefix("write_bytes: "));
    field.and_then(|number| number.parse().ok()).unwrap_or_default()
}

#[expect(clippy::cast_precision_loss, reason = "counts of a two-second run")]
fn count(number: u64) -> f64 {
    number as f64
}
