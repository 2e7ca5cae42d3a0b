//! Frontdesk: the AI worker of a small business.

pub mod channel;
pub mod clock;
pub mod document;
pub mod id;
pub mod message;
pub mod provider;
pub mod session;
pub mod store;
