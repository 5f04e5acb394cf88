//! Upkeep of what is flushed: a scrub reads it over and over at a bounded rate, and what has rotted is replaced by what
//! another replica holds.
//!
//! A sealed segment never changes, and what it must hold is known apart from its bytes: its extent and its index from its
//! sidecar, the epochs of its records from the epoch cache. So a bad batch is told from a good one, and the batch behind
//! the damage is found although nothing in between can be read. The active segment is sealed when damage is found in it.

mod check;
mod handle;
mod job;
mod mend;
#[cfg(test)]
mod tests;

pub(crate) use check::STRETCH;
pub use check::{Damage, intact_prefix};
pub use handle::{Cause, Upkeep, UpkeepSnapshot};
pub(crate) use job::Cursor;
pub use job::{UpkeepJob, Upkept, Where};
pub use mend::Mend;
