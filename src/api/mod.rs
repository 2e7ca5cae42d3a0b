//! The HTTP API for programs (SPEC §7.2).

/// The entry id under which messages of the API are filed. No channel may have it.
pub const ENTRY: &str = "api";
