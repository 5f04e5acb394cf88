//! Sockets: listeners and their limits, and the cutting of bytes into frames.

pub(crate) mod address;
pub(crate) mod cuts;
pub(crate) mod frame;
pub(crate) mod limits;
pub(crate) mod listener;
pub(crate) mod socket;
