//! The command line: one file per command.

mod check;
mod completion;
mod connect;
mod consume;
mod docs;
mod group;
mod http;
mod partition;
mod produce;
mod serve;
mod topic;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub use serve::ServeArgs;

/// What a command comes to; the error is printed as one line and its causes.
pub type CliResult = Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// A partitioned, durable log that every Kafka client can use.
#[derive(Debug, Parser)]
#[command(name = "millrace", version, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// The command; `serve` when there is none.
    #[command(subcommand)]
    pub command: Option<Command>,
    /// Flags of `serve`, for a call without a command.
    #[command(flatten)]
    pub serve: ServeArgs,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run a broker.
    Serve(ServeArgs),
    /// Create, list, describe, alter and delete topics.
    Topic(topic::TopicArgs),
    /// Compare what brokers hold of a partition, and give up a majority of its replicas that is lost for good.
    Partition(partition::PartitionArgs),
    /// List, describe and delete consumer groups, and reset their offsets.
    Group(group::GroupArgs),
    /// Send the lines of standard input as records.
    Produce(produce::ProduceArgs),
    /// Print the records of a topic.
    Consume(consume::ConsumeArgs),
    /// Say what is in a data directory and what the next start would do about it, without changing anything.
    Check(check::CheckArgs),
    /// Print a completion script for a shell.
    Completion(completion::CompletionArgs),
    /// Print the tables that the documents are generated from.
    #[command(hide = true)]
    Docs(docs::DocsArgs),
}

/// Runs the command and says how the process ends.
#[must_use]
pub fn run(cli: Cli) -> ExitCode {
    let result = match cli.command {
        None => serve::run(&cli.serve),
        Some(Command::Serve(args)) => serve::run(&args),
        Some(Command::Topic(args)) => topic::run(&args),
        Some(Command::Partition(args)) => partition::run(&args),
        Some(Command::Group(args)) => group::run(&args),
        Some(Command::Produce(args)) => produce::run(&args),
        Some(Command::Consume(args)) => consume::run(&args),
        Some(Command::Check(args)) => check::run(&args),
        Some(Command::Completion(args)) => completion::run(&args),
        Some(Command::Docs(args)) => docs::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("millrace: {}", crate::error::chain(&*error));
            error.downcast_ref::<connect::CliError>().map_or(ExitCode::FAILURE, |error| ExitCode::from(error.code))
        }
    }
}
