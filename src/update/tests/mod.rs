//! Updates in a machine whose power goes at every operation, and repositories that lie.

mod attacks;
mod engine;
mod model;
mod power;
mod program;
mod signed;
