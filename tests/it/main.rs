//! The crate from outside: its shape, its documents, and a running gateway between real peers.

#![expect(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    reason = "in a test they are the failure, with its place"
)]

mod access;
mod admin;
mod admission;
mod allocations;
mod api;
mod context;
mod architecture;
mod change;
mod config;
mod deliveries;
mod factory_reset;
mod documents;
mod gateway;
mod health;
mod hands;
mod import;
mod life;
mod page;
mod page_hands;
mod page_passkeys;
mod page_workers;
mod page_config;
mod page_updates;
mod peers;
mod setup;
mod soak;
mod source;
mod usage;
mod workers;
mod tls;
