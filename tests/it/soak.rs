//! Two hundred people on six kinds of channel of three tenants, under every scope, while the gateway is reloaded,
//! loses its power, and days pass: nobody hears a word of another's conversation, no answer goes astray.
//!
//! Every message holds a word of its own, and the model says every word that it sees. So whatever crosses is seen: in
//! a prompt, in a reply, on a page, in an admin view, in the log. All of them are checked, none is a sample. Who may
//! hear whom is decided here once more (`oracle`), without the product's resolver.
//!
//! `FRONTDESK_SOAK_SEED` repeats a run as far as the threads allow, `FRONTDESK_SOAK_MESSAGES` makes it longer: so many
//! messages under each scope.

mod config;
mod ledger;
mod log;
mod oracle;
mod page;
mod place;
mod random;
mod senders;
mod vendors;
mod world;

use oracle::Scope;
use world::World;

/// The seed of runs that name none.
const SEED: u64 = 20_261_122;
/// Messages under one scope: everybody writes on every channel of every tenant once, and some of them again.
const N_MESSAGES: usize = 4_000;

#[tokio::test]
async fn nobody_hears_another_tenant_or_group_under_main() {
    soak(Scope::Main).await;
}

#[tokio::test]
async fn nobody_hears_another_under_per_peer() {
    soak(Scope::PerPeer).await;
}

#[tokio::test]
async fn nobody_hears_another_under_per_channel_peer() {
    soak(Scope::PerChannelPeer).await;
}

#[expect(clippy::print_stderr, reason = "how to repeat the run")]
async fn soak(scope: Scope) {
    let seed = number("FRONTDESK_SOAK_SEED").unwrap_or(SEED);
    let n_messages = number("FRONTDESK_SOAK_MESSAGES").and_then(|n| usize::try_from(n).ok()).unwrap_or(N_MESSAGES);
    eprintln!("FRONTDESK_SOAK_SEED={seed} FRONTDESK_SOAK_MESSAGES={n_messages}");
    log::capture();
    let mut world = World::start(scope, seed).await;
    world.everybody_writes().await;
    // A conversation that is quiet for two of these is over.
    let mut days = [20, 12].into_iter().cycle();
    while world.n_written() < n_messages {
        world.days_pass(days.next().unwrap()).await;
        let n_left = n_messages - world.n_written();
        world.some_write(n_left.min(n_messages / 12)).await;
    }
    let (wrong, report) = world.close().await;
    eprintln!("{report}");
    assert!(wrong.is_empty(), "{report}\n{}", wrong.join("\n"));
    let (n_lines, with_words) = log::captured();
    assert!(n_lines > n_messages, "the log was not captured");
    assert!(with_words.is_empty(), "the log holds what was said:\n{}", with_words.concat());
}

#[expect(clippy::disallowed_methods, reason = "whoever runs the tests says how long")]
fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}
