//! A witness of a partition: a voter that remembers how far the log goes, and holds no record of it (rule R14).
//!
//! It lets a partition of an even number of replicas lose half of them: the vote that it adds goes to whoever holds what it
//! was told of. It hosts the same consensus as a replica, takes the same events and asks for the same effects, but for those that
//! are about a log. It never leads, so no client turns to it.

mod core;
mod promises;
#[cfg(test)]
mod tests;

pub use self::core::Witness;
