//! Agents: one turn from waiting messages to an answer.
//!
//! A turn is pure in, pure out: it is given the persona, the history and the messages, and returns
//! what to say. It cannot reach the store, a channel or another conversation: notes and working files come
//! to it in a [`Context`] that the caller made for this one. Whoever calls it commits the result. Persona and knowledge
//! are the agent's own, the same in every conversation: [`Files`]. Called by `gateway/`; knows
//! `provider`, `document` and the plain values of a message.

mod config;
mod context;
mod files;
mod prompt;
mod tools;
mod turn;

pub use config::{Agent, Config};
pub use context::{Changes, Context, ReadFile};
pub use files::{
    Earlier, File, FileError, Files, Knowledge, KnownFile, MAX_FILE_BYTES, MAX_KNOWLEDGE_BYTES, MAX_SOUL_BYTES, SOUL,
};
pub use prompt::{HISTORY_BYTES, HISTORY_LINES, Said, prompt};
pub use tools::Toolset;
pub use turn::{BEGUN, Failure, NEWS, NOTICE, PATIENCE, Progress, run};
