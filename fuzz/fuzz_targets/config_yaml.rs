//! Eats the text of a `config.yml`.

#![no_main]

mod config;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| config::check("config.yml", data, "apiKeys:\n- name: fuzz\n  key: KEY\n"));
