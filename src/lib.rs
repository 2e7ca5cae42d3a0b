//! Frontdesk: the AI worker of a small business. The modules in the order in which a message flows.

pub mod channel;
pub mod identity;
pub mod session;
pub mod route;
// A turn.
pub mod agent;
pub mod provider;
// The one place that keeps anything, and the one where everything meets.
pub mod store;
pub mod gateway;
// Beside the flow.
pub mod account;
pub mod admin;
pub mod alert;
pub mod api;
pub mod backup;
pub mod business;
pub mod cli;
pub mod config;
pub mod doctor;
pub mod factory_reset;
pub mod first_boot;
pub mod health;
pub mod import;
pub mod mdns;
pub mod page;
pub mod tls;
pub mod update;
// Under everything.
pub mod browser;
pub mod clock;
pub mod document;
pub mod id;
pub mod log;
pub mod message;
pub mod service;
pub mod telemetry;
pub mod usage;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
