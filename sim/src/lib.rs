//! Deterministic simulation of brokers, one or a cluster: the real cores and the real storage code, a simulated disk, network and clock,
//! the client library's cores as clients, faults drawn from a seed, and checkers of everything that was promised.
//!
//! One seed is one run: the same seed gives the same trace, byte by byte.

#![forbid(unsafe_code)]

pub mod broker;
pub mod dice;
pub mod ghost;
pub mod history;
pub mod invariant;
pub mod mutation;
pub mod options;
pub mod queue;
pub mod sweep;
pub mod trace;
pub mod workload;
pub mod world;

pub use world::{Counts, Report, run};
