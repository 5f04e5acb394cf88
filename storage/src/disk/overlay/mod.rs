//! A disk over another one: reads pass through, changes stay in memory. It shows what a program would do to the disk
//! below without doing it.
//!
//! Files that are changed keep only their changes in memory, as ranges; a range of zeros takes no room. A write of the
//! bytes that are there already changes nothing. Nothing is ever durable here, so flushes do nothing.

mod content;
mod file;
mod tree;

pub use tree::OverlayDisk;
