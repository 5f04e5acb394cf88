//! The data directory: its lock, its identity, the clean-stop marker, and where things lie in it.
//!
//! ```text
//! LOCK             held by the running process (flock)
//! directory.json   identity and format version
//! clean            present after a clean stop only; consumed by the next start
//! qstate/          the write-ahead store
//! metadata/        the metadata journal
//! topics/<topic id>-<partition>/   the log of a partition
//! ```

mod data_dir;
mod identity;
mod names;
#[cfg(test)]
mod tests;

pub use data_dir::{DataDir, DataDirError};
pub use identity::{Identity, NewIdentity};
pub use names::{METADATA_DIR, QSTATE_DIR, TOPICS_DIR, parse_partition_dir, partition_dir, remove_partition_dir};
