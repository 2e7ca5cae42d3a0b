//! Frontdesk: the AI worker of a small business.

pub mod channel;
pub mod clock;
pub mod config;
pub mod document;
pub mod id;
pub mod message;
pub mod provider;
pub mod store;
