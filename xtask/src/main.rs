//! The project's own commands: `cargo xtask ci` is the one gate, the others are its parts and their writing twins.

mod cargo;
mod ci;
mod docs;
mod licences;
mod mutations;
mod sim;
mod spdx;
mod tidy;
mod tree;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Gate, form checks and generated documents of Millrace.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Everything that must hold before a commit is taken; writes nothing but build output and fails at the first fault.
    Ci {
        /// Leave out `cargo test --workspace`, for a caller that runs it itself.
        #[arg(long)]
        skip_tests: bool,
    },
    /// Check the form of the sources: file heads, sizes, banned calls, dependency lists, paths named in documents.
    Tidy,
    /// Check licences, banned crates and sources of all dependencies against deny.toml.
    Licences,
    /// Write the generated parts of the documents.
    Docs {
        /// Write nothing, fail when a generated part is out of date.
        #[arg(long)]
        check: bool,
    },
    /// Simulate clusters, each by a seed; stops at the first violation and prints the line that repeats it.
    Sim {
        /// How many seeds.
        #[arg(long, default_value_t = 200)]
        seeds: u64,
        /// The first seed.
        #[arg(long, default_value_t = 0)]
        from: u64,
        /// Number of brokers; 0 to let the seed decide.
        #[arg(long, default_value_t = 5)]
        brokers: usize,
        /// Number of threads.
        #[arg(long, default_value_t = 2)]
        threads: usize,
    },
    /// Break every rule on purpose and print what notices; fails when one survives.
    Mutations,
    /// The writing twin of the gate: format the sources and write the generated documents.
    Fix,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let root = root();
    let result = match arguments.command {
        Command::Ci { skip_tests } => ci::run(&root, skip_tests),
        Command::Tidy => tidy::run(&root),
        Command::Licences => licences::run(&root),
        Command::Docs { check } => docs::run(&root, check),
        Command::Sim { seeds, from, brokers, threads } => sim::run(&root, (from, seeds), brokers, threads),
        Command::Mutations => mutations::run(&root),
        Command::Fix => ci::fix(&root),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(message) => {
            eprintln!("xtask: {message}");
            ExitCode::FAILURE
        }
    }
}

/// The workspace's folder: the parent of this crate's.
fn root() -> PathBuf {
    let manifest = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    manifest.parent().map_or_else(|| PathBuf::from("."), PathBuf::from)
}
