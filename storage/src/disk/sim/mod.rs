//! A disk in memory that can lose power, fail, run full and rot, deterministically by its seed.
//!
//! It keeps apart what the page cache shows and what the disk holds, page by page of 4 KiB, and which changes of names
//! have been made durable. A crash image is another disk: the original can be crashed again, differently.
//! What a power loss may do is the weakest promise POSIX and Linux make, not what one filesystem happens to do:
//! any subset of dirty pages arrives, torn at 512 bytes; of the lengths a file was given some prefix; of the unsynced
//! changes of names any subset in which each finds what it builds upon.

mod device;
mod fault;
mod file;
mod inode;
mod namespace;
mod random;
mod state;
#[cfg(test)]
mod tests;

pub use device::{CrashKind, SimDisk};
pub use fault::{Fault, FaultPlan, Operation};
