//! Alerts: somebody is told when something is wrong with the box, and when it is over.
//!
//! [`Book`] decides, and is pure: what is told, once until it was gone, so many times a day, and when what did not go
//! through is tried again. [`send`] mails and posts. Not here: what is wrong, which `doctor` says; the clock and the
//! disk, which are `gateway`'s. No word of a conversation gets here.

mod book;
mod config;
mod send;
mod words;

pub use book::{Book, Failed, Letter, Message, Target, Told, Trouble};
pub use config::{Config, Email, Post, Security, server_of};
pub use send::{SendError, send};
