//! The configuration of a home: which file it is, and its text.
//!
//! Not the keys: each component reads its own [`crate::document::Section`]. Called by `gateway/`,
//! `admin/` and `cli/`. Nothing here writes the file.

mod file;

pub use file::{Error, Located, Syntax, locate};
