//! Which backend is next, and which of them are up. Knows no HTTP but a probe's question.
//!
//! Entry point: [`Backends::next`]. Note: `notes/lb.md`.

// which backend is next: three policies
pub mod policy;
// the list, and who is down
mod backends;
// active checks
pub(super) mod health;

pub(super) use backends::{Backend, Backends};
