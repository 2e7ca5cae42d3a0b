//! Agents: one turn from waiting messages to an answer.
//!
//! A turn is pure in, pure out: it is given the persona, the history and the messages, and returns
//! what to say. It cannot reach the store, a channel or another conversation; whoever calls it commits
//! the result. Called by `gateway/`; knows `provider`, `document` and the plain values of a message.

mod config;
mod prompt;
mod turn;

pub use config::{Agent, Config};
pub use prompt::{HISTORY_BYTES, HISTORY_LINES, Said, prompt};
pub use turn::{BEGUN, Failure, NEWS, NOTICE, PATIENCE, Progress, run};
