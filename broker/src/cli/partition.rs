//! `millrace partition`: what each broker holds of a partition, and giving up a majority that is lost for good.

use std::time::Duration;

use clap::{Args, Subcommand};
use serde_json::{Value, json};

use super::CliResult;
use super::connect::{CliError, EXIT_MISSING, EXIT_REFUSED, print, table};
use super::http::ask;

/// Flags of `millrace partition`.
#[derive(Debug, Args)]
pub struct PartitionArgs {
    /// Print JSON, one document per line.
    #[arg(long, global = true)]
    json: bool,
    /// Seconds until a command gives up.
    #[arg(long, default_value_t = 40, value_parser = clap::value_parser!(u64).range(1..=86_400), global = true)]
    timeout: u64,
    #[command(subcommand)]
    command: PartitionCommand,
}

#[derive(Debug, Subcommand)]
enum PartitionCommand {
    /// Show what the replica of each broker that is asked holds: where its log ends, and in which leader epoch.
    Describe {
        /// Name of the topic.
        topic: String,
        /// Number of the partition.
        #[arg(value_parser = clap::value_parser!(i32).range(0..))]
        partition: i32,
        /// Admin addresses of the brokers, separated by commas. A broker listens on its machine's loopback address alone.
        #[arg(long, value_delimiter = ',', default_value = "127.0.0.1:9644")]
        admin: Vec<String>,
    },
    /// Have brokers go on without those whose replicas are lost for good. Acknowledged records that only these had are lost.
    Force {
        /// Name of the topic.
        topic: String,
        /// Number of the partition.
        #[arg(value_parser = clap::value_parser!(i32).range(0..))]
        partition: i32,
        /// Numbers of the brokers whose replicas survive, separated by commas; who of them holds most leads.
        #[arg(long, required = true, value_delimiter = ',')]
        voters: Vec<i32>,
        /// Accept that records are lost.
        #[arg(long)]
        accept_loss: bool,
        /// Admin address of one of these brokers.
        #[arg(long, default_value = "127.0.0.1:9644")]
        admin: String,
    },
}

/// Runs the command.
///
/// # Errors
/// What the broker refused, or why it could not be asked.
pub(super) fn run(args: &PartitionArgs) -> CliResult {
    let timeout = Duration::from_secs(args.timeout);
    match &args.command {
        PartitionCommand::Describe { topic, partition, admin } => {
            describe(args.json, (topic, *partition), admin, timeout)?;
        }
        PartitionCommand::Force { topic, partition, voters, accept_loss, admin } => {
            if !accept_loss {
                let text = "records that only the lost replicas hold are given up for good, acknowledged ones too; \
                            say so with --accept-loss";
                return Err(CliError::with_code(EXIT_REFUSED, text).into());
            }
            let path = format!("/api/v1/topics/{topic}/partitions/{partition}/force-configuration");
            let body = json!({"voters": voters, "accept_loss": true});
            let forced = ask(admin, "POST", &path, Some(&body), timeout)?;
            print(args.json, &forced, || text_of(&forced))?;
        }
    }
    Ok(())
}

/// Asks every broker; those that cannot be asked are told of, and the others shown.
fn describe(json: bool, (topic, number): (&str, i32), admin: &[String], timeout: Duration) -> Result<(), CliError> {
    let heads = ["BROKER", "LEADER", "REPLICAS", "START", "HIGH-WATERMARK", "END", "END-EPOCH"];
    let mut rows: Vec<Vec<String>> = vec![heads.iter().map(ToString::to_string).collect()];
    let mut failed = None;
    for address in admin {
        match one(address, topic, number, timeout) {
            Ok(document) if json => print(true, &document, String::new)?,
            Ok(document) => rows.push(row(&document)),
            Err(error) => {
                eprintln!("millrace: {error}");
                failed = Some(error);
            }
        }
    }
    if rows.len() > 1 {
        print(false, &Value::Null, || table(&rows))?;
    }
    failed.map_or(Ok(()), Err)
}

fn one(address: &str, topic: &str, number: i32, timeout: Duration) -> Result<Value, CliError> {
    let cluster = ask(address, "GET", "/api/v1/cluster", None, timeout)?;
    let partitions = ask(address, "GET", &format!("/api/v1/topics/{topic}/partitions"), None, timeout)?;
    let found = partitions.as_array().into_iter().flatten().find(|partition| partition["partition"] == number);
    let missing = || CliError::with_code(EXIT_MISSING, format!("{topic} has no partition {number}"));
    let mut document = found.ok_or_else(missing)?.clone();
    document["broker"] = cluster["broker_id"].clone();
    Ok(document)
}

fn row(document: &Value) -> Vec<String> {
    let text = |value: &Value| if value.is_null() { "-".to_owned() } else { value.to_string() };
    let replicas = document["replicas"].as_array().map_or(&[][..], Vec::as_slice);
    let replicas = replicas.iter().map(text).collect::<Vec<_>>().join(",");
    let own = &document["replica"];
    vec![
        text(&document["broker"]),
        text(&document["leader"]),
        replicas,
        text(&own["log_start_offset"]),
        text(&own["high_watermark"]),
        text(&own["log_end_offset"]),
        text(&own["log_end_epoch"]),
    ]
}

fn text_of(forced: &Value) -> String {
    format!(
        "forced generation {} of {}-{}: brokers {} vote; the broker that answers keeps offsets {} to {}, up to leader epoch {}",
        forced["generation"],
        forced["topic"].as_str().unwrap_or_default(),
        forced["partition"],
        forced["voters"],
        forced["log_start_offset"],
        forced["log_end_offset"],
        forced["log_end_epoch"],
    )
}
