//! What is known of a business: what it is called, where and when it is open. A worker is told, so that it can say so.
//!
//! Pure: it reads its section of the configuration, and says of a moment whether the business is open. Not here: who is
//! told which facts, which is the gateway's; a business hears nothing of another one.

mod config;
mod facts;
mod hours;
mod persona;

pub use config::{Business, Kind, Zone};
pub use hours::{Days, Hours, Span, State, WEEK};
pub use persona::{is_persona, persona};
