//! Eats the text of a `config.toml`.

#![no_main]

mod config;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| config::check("config.toml", data, "[[api_keys]]\nname = \"fuzz\"\nkey = \"KEY\"\n"));
