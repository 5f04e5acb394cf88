//! The server: actors that host the cores, listeners, HTTP admin, configuration, metrics and the command line.

#![forbid(unsafe_code)]

mod actor;
mod banner;
pub mod cli;
mod clock;
mod cluster;
pub mod config;
mod descriptors;
mod error;
mod http;
mod janitor;
mod local;
mod logging;
pub mod metrics;
mod net;
mod orphans;
mod peer;
mod pulse;
mod quorum;
mod random;
mod replication;
mod serve;
mod shared;
mod shutdown;

pub use error::StartError;
