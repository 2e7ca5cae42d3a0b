//! What naming a conversation and finding its agent costs, for every message, with 100 routes: time and allocations.
//! That a key is the only allocation is held by `tests/it/allocations.rs`.
//!
//! `cargo bench --bench session_key`

#![expect(clippy::print_stdout, clippy::unwrap_used, clippy::indexing_slicing, reason = "a bench prints its table")]

use std::collections::HashMap;
use std::hint::black_box;
use std::time::Instant;

use frontdesk::id::{AgentId, ChannelType, EntryId, OpaqueId, SessionKey};
use frontdesk::message::{ChatKind, Identity};
use frontdesk::route::{Route, Router};
use frontdesk::session::{Address, Config, Resolver};

const ROUNDS: usize = 200;
const PER_ROUND: u32 = 2_000;

fn main() {
    let resolver = Resolver::new(&Config::embedded());
    let route = |n: usize| Route::parse(&format!("slack:T{n:03}*:* -> agent-{n}")).unwrap();
    let agent = AgentId::new("default").unwrap();
    let router = Router { routes: (0..100).map(route).collect(), tenants: HashMap::new(), default_agent: agent };
    let direct = identity(ChatKind::Direct, None);
    let thread = identity(ChatKind::Thread, Some("1712345678.123456"));
    let address = Address::of(&direct);
    let key: SessionKey = resolver.resolve(&direct).unwrap().session_key;

    println!("| what | median ns | allocations |\n|---|---:|---:|");
    row("key of a direct message", || resolver.resolve(black_box(&direct)).is_ok());
    row("key of a thread", || resolver.resolve(black_box(&thread)).is_ok());
    row("address", || Address::of(black_box(&direct)).plain().len());
    row("route, none of 100 matches", || router.route(black_box(&address), None).route.is_some());
    row("key, address and route", || {
        let key = resolver.resolve(black_box(&direct)).is_ok();
        key && router.route(&Address::of(&direct), None).route.is_some()
    });
    let winner = Address::of(&Identity { server: OpaqueId::new("T099ABC123").ok(), ..direct });
    row("route, the last of 100 matches", || router.route(black_box(&winner), None).route.is_some());
    row("reading a key back", || resolver.parse(black_box(&key)).is_ok());
}

fn identity(kind: ChatKind, thread: Option<&str>) -> Identity {
    let id = |text: &str| OpaqueId::new(text).ok();
    Identity {
        entry: EntryId::new("slack").unwrap(),
        channel: ChannelType::new("slack").unwrap(),
        account: None,
        tenant: None,
        workspace: None,
        server: id("T999ABC123"),
        room: id("C04XYZ789"),
        thread: thread.and_then(id),
        user: id("U07DEF456"),
        kind,
        parent: if kind == ChatKind::Direct { ChatKind::Direct } else { ChatKind::Group },
    }
}

/// Prints the median over the rounds of the mean of a round, and what one run allocates.
fn row<T>(what: &str, mut run: impl FnMut() -> T) {
    let n_allocations = allocation_counter::measure(|| drop(black_box(run()))).count_total;
    let mut nanos: Vec<f64> = (0..ROUNDS)
        .map(|_| {
            let begin = Instant::now();
            for _ in 0..PER_ROUND {
                black_box(run());
            }
            begin.elapsed().as_secs_f64() * 1e9 / f64::from(PER_ROUND)
        })
        .collect();
    nanos.sort_by(f64::total_cmp);
    println!("| {what} | {:.0} | {n_allocations} |", nanos[nanos.len() / 2]);
}
