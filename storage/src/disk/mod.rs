//! The disk as storage sees it: a few operations whose durability is stated, with a real and a simulated implementation.
//!
//! # What is durable when
//!
//! | operation | in the page cache, survives `kill -9` | survives a power loss after |
//! |---|---|---|
//! | `write_at`, `zero` | at once | `flush` of the file, or `sync_all` |
//! | `create`, `allocate`, `truncate` (the length) | at once | `flush` of the file, or `sync_all` |
//! | `create`, `rename`, `remove_file`, `create_dir`, `remove_dir_all` (the name) | at once | `sync_dir` of the parent, or `sync_all` |
//!
//! Before that a power loss may keep any part of it: any subset of 4 KiB pages, torn at 512 bytes, in any order.
//! A failed flush leaves the pages clean in the cache and in any state on the disk; a later flush reports success. Only
//! the lengths, which are the filesystem's own data, are made durable by that later flush.

mod contract;
mod error;
mod mmap;
mod overlay;
mod real;
mod real_file;
mod sim;

pub use contract::{DirEntry, Disk, File, FileRef, Space};
pub use error::DiskError;
pub use mmap::mapped_count;
pub use overlay::OverlayDisk;
pub use real::RealDisk;
pub use sim::{CrashKind, Fault, FaultPlan, Operation, SimDisk};
