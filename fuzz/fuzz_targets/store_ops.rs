//! Eats the life of a store, eight bytes for an operation, power cuts among them, and compares it with maps in memory.

#![no_main]

use frontdesk::store::compare_with_maps;
use libfuzzer_sys::fuzz_target;

/// A life that is longer shows nothing that a short one does not, and later.
const MAX_BYTES: usize = 8 * 256;

fuzz_target!(|data: &[u8]| {
    if data.len() <= MAX_BYTES {
        compare_with_maps(data);
    }
});
