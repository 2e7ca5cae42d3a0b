//! What it costs that values are sealed on the disk: `cargo bench --bench seal`.
#![expect(clippy::print_stdout, reason = "the table is the point")]
#![expect(clippy::expect_used, reason = "a benchmark that cannot go on should stop")]

use std::hint::black_box;
use std::time::{Duration, Instant};

use frontdesk::store::Sealing;

const ROW_TIME: Duration = Duration::from_secs(1);
/// As long as the key of a line of a transcript.
const KEY: &[u8] = b"42\0\0tenant-42-slack:T09ABC123:C04XYZ789:U07DEF456\0\0\0\0\0\0\0\0\x01";

fn main() {
    let sealing = Sealing::new().expect("random numbers");
    println!("{:>8}  {:>8}  {:>8}  {:>8}", "bytes", "seal ns", "open ns", "more");
    for n_bytes in [200, 1024, 4096] {
        let plain: Vec<u8> = (0..=u8::MAX).cycle().take(n_bytes).collect();
        let stored = sealing.seal("42", KEY, &plain).expect("random numbers");
        let seal = time(|| sealing.seal("42", KEY, black_box(&plain)).expect("random numbers"));
        let open = time(|| sealing.open("42", KEY, black_box(&stored)).expect("the same value"));
        println!("{n_bytes:>8}  {seal:>8}  {open:>8}  {:>8}", stored.len() - plain.len());
    }
}

/// Nanoseconds for each, over a second.
fn time<T>(mut once: impl FnMut() -> T) -> u128 {
    let (mut n, started) = (0_u128, Instant::now());
    while started.elapsed() < ROW_TIME {
        for _ in 0..1000 {
            black_box(once());
        }
        n += 1000;
    }
    started.elapsed().as_nanos() / n
}
