//! Clusters of real cores over a simulated network and simulated disks: scripted, seeded, and with rules broken.
//!
//! | command | runs |
//! | --- | --- |
//! | `cargo test -p millrace-raft --test cluster` | the scripts of `raft/tests/golden/`, 1,000 seeds, the mutations that a script shows |
//! | `MILLRACE_SEEDS=0..100000 cargo test --release -p millrace-raft --test cluster seeds` | more seeds |
//! | `MILLRACE_BLESS=1 cargo test -p millrace-raft --test cluster golden` | writes the outcomes of the scripts anew, for review |
//! | `cargo test --release -p millrace-raft --test cluster -- --ignored --nocapture` | every mutation against its seeds |

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod dice;
mod faults;
mod golden;
mod host;
mod invariant;
mod mutations;
mod network;
mod plan;
mod print;
mod script;
mod seeds;
mod store;
mod tally;
mod world;

/// A setting of a run, from the environment.
pub(crate) fn setting(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok()
}
