//! Sessions: which conversation a message belongs to, and who may work on it when.
//!
//! `key` names the conversation, `format` is how the operator wants names to look, `parse` reads them
//! back, `rekey` names a stored conversation anew, `command` is what peers order, `lane` lets one turn at
//! a time work on each. All but the lanes are pure functions: the runtime, `route explain` and every page
//! and command call the same [`Resolver`].
//!
//! Called by `gateway/`. Knows `id`, `message` and `document` (its own section).

mod address;
mod command;
mod config;
mod encode;
mod format;
mod key;
pub mod lane;
mod parse;
mod rekey;
#[cfg(test)]
mod tests;

pub use address::Address;
pub use command::Command;
pub use config::{Config, DmScope, IdentityLink, Storage};
pub use format::{Field, FormatError, KeyFormat};
pub use key::{ResolveError, Resolved, Resolver, Rule};
pub use parse::{Body, Chat, ParseError, Parsed};
pub use rekey::{Rekey, Writers};
