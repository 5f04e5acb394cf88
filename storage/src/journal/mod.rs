//! A checked, append-only record file with snapshots, which goes on working on a full disk.
//!
//! A journal `name` is the file `name-<generation>.journal`: a header, a snapshot, and the records appended since.
//! A snapshot is a complete new file of the next generation: written, flushed, renamed into place and its directory
//! synced before the old file goes; the old file becomes `name.spare`, the room of the next snapshot, so that neither
//! records nor snapshots need a new block.
//!
//! Each record says up to which position the file was durable when it was written. That tells a torn tail, which
//! nobody was promised, from rot: a bad record below a position that a later record calls durable is never cut.
//! Records of another generation, or at another position, fail their checksum, so stale bytes are never records.

mod append;
mod error;
mod file;
mod frame;
mod recover;
#[cfg(test)]
mod tests;

pub use append::{Journal, JournalFlush};
pub use error::{JournalError, JournalOptions, JournalReport};
