//! Two brokers, or copies of them, on a simulated link: by seed, and as stories.

mod faults;
mod fuzz;
mod invariant;
mod network;
mod plan;
mod process;
mod seeds;
mod stories;
mod world;
