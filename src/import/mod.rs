//! Import from OpenClaw: what it keeps, read and turned into what Frontdesk keeps.
//!
//! `state` reads below one directory and nowhere else; `database` reads the SQLite file of later releases.
//! Everything else is pure: `settings` makes a configuration of ours out of `openclaw.json`, `key` says what
//! one of its session keys names, `place` where that is, `transcript` what was said there. Not here: keys of
//! ours, which the resolver of the running gateway gives, and writing, which the command and the store do.
//!
//! What always holds: nothing is guessed where a guess could put the words of one peer before another; what
//! is not carried is counted and said; no path that a file names leads out of the directory.
//!
//! Called by `cli/`. Knows `channel` (names of types), `document`, `id` and `message`.

mod database;
mod key;
mod place;
mod report;
mod settings;
mod state;
mod transcript;

pub use place::{Known, Place};
pub use report::Report;
pub use settings::{Around, Error as PlanError, Plan, Soul, agent_name, entry_id};
pub use state::{Agent, Error, Session, State};
pub use transcript::{Line, Said, Transcript};
