//! The binary `millrace`: a broker, and the tools to talk to one.

use std::process::ExitCode;

use clap::Parser;
use millrace_broker::cli::{self, Cli};

/// Request frames of a megabyte cost twice the CPU with the system's allocator, which maps each of them anew.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    cli::run(Cli::parse())
}
