//! What a browser says of itself: its language, and which site a request comes from; what it keeps of ours.
//!
//! Pure. Called by whatever serves pages.

mod asset;
mod language;
mod origin;

pub use asset::Asset;
pub use language::Language;
pub use origin::{Error as OriginError, Origin, Proof, Scheme, is_ours, is_secure};
