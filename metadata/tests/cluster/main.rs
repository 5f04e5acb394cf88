//! Clusters of real logs over a simulated network and simulated journals: seeded, and with rules broken.
//!
//! | command | runs |
//! | --- | --- |
//! | `cargo test -p millrace-metadata --test cluster` | 400 seeds, and the stories, each with the rule broken that it is about |
//! | `MILLRACE_SEEDS=0..100000 cargo test --release -p millrace-metadata --test cluster seeds` | more seeds |
//! | `cargo test --release -p millrace-metadata --test cluster -- --ignored --nocapture` | every mutation, with the seed that finds it |

#![allow(clippy::unwrap_used, clippy::expect_used)]

mod dice;
mod faults;
mod history;
mod host;
mod mutations;
mod plan;
mod seeds;
mod stories;
mod world;

/// A setting of a run, from the environment.
pub(crate) fn setting(name: &str) -> Option<String> {
    std::env::var_os(name)?.into_string().ok()
}
