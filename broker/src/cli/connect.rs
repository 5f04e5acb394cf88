//! What the commands that talk to a cluster have in common: where it is, how to print, and how to fail.

use std::collections::BTreeMap;
use std::future::Future;
use std::io::Write;
use std::time::Duration;

use clap::Args;
use millrace_client::{Admin, ClientConfig, ClientError, TopicPartition};
use millrace_types::ErrorCode;

use super::CliResult;

/// Exit code for a cluster that cannot be reached.
pub(super) const EXIT_UNREACHABLE: u8 = 3;
/// Exit code for a topic, partition or group that does not exist.
pub(super) const EXIT_MISSING: u8 = 4;
/// Exit code for what the cluster refused for any other reason.
pub(super) const EXIT_REFUSED: u8 = 5;

/// Where the cluster is, and how to print.
#[derive(Debug, Clone, Args)]
pub(super) struct Connect {
    /// Addresses of the cluster, separated by commas.
    #[arg(long, env = "MILLRACE_BOOTSTRAP", default_value = "127.0.0.1:9092", global = true)]
    pub(super) bootstrap: String,
    /// Print JSON, one document per line.
    #[arg(long, global = true)]
    pub(super) json: bool,
    /// Seconds until a command gives up.
    #[arg(long, default_value_t = 15, value_parser = clap::value_parser!(u64).range(1..=86_400), global = true)]
    pub(super) timeout: u64,
}

impl Connect {
    /// The settings of a client.
    #[must_use]
    pub(super) fn client(&self) -> ClientConfig {
        let mut config = ClientConfig::new(&self.bootstrap);
        config.client_id = "millrace-cli".to_owned();
        config.api_timeout = Duration::from_secs(self.timeout);
        config.request_timeout = config.request_timeout.min(config.api_timeout);
        config
    }

    /// An administrative client.
    ///
    /// # Errors
    /// The addresses are none.
    pub(super) async fn admin(&self) -> Result<Admin, CliError> {
        Ok(Admin::connect(self.client()).await?)
    }

    /// Prints one document as JSON, or what `text` makes of it.
    ///
    /// # Errors
    /// The output is closed.
    pub(super) fn print(&self, json: &serde_json::Value, text: impl FnOnce() -> String) -> Result<(), CliError> {
        print(self.json, json, text)
    }
}

/// Prints one document as JSON where that is wanted, else what `text` makes of it.
///
/// # Errors
/// The output is closed.
pub(super) fn print(as_json: bool, json: &serde_json::Value, text: impl FnOnce() -> String) -> Result<(), CliError> {
    let mut out = std::io::stdout().lock();
    let written = if as_json { writeln!(out, "{json}") } else { writeln!(out, "{}", text()) };
    written.map_err(CliError::from)
}

/// Why a command failed, with the process's exit code.
#[derive(Debug, thiserror::Error)]
#[error("{message}")]
pub(super) struct CliError {
    /// The exit code: 1 for a failure of this side, 3 to 5 for what the cluster or the way to it is the reason of.
    /// `millrace check` has codes of its own.
    pub(super) code: u8,
    message: String,
}

impl CliError {
    /// A failure of this side.
    #[must_use]
    pub(super) fn new(message: impl Into<String>) -> Self {
        Self { code: 1, message: message.into() }
    }

    /// A failure with an exit code of its own.
    #[must_use]
    pub(super) fn with_code(code: u8, message: impl Into<String>) -> Self {
        Self { code, message: message.into() }
    }

    /// Something that does not exist.
    #[must_use]
    pub(super) fn missing(message: impl Into<String>) -> Self {
        Self { code: EXIT_MISSING, message: message.into() }
    }

    /// What went wrong with one of several things.
    #[must_use]
    pub(super) fn about(what: &str, error: &ClientError) -> Self {
        let (code, hint) = advice(error);
        let hint = if hint.is_empty() { String::new() } else { format!("\n  {hint}") };
        Self { code, message: format!("{what}: {error}{hint}") }
    }
}

impl From<ClientError> for CliError {
    fn from(error: ClientError) -> Self {
        let (code, hint) = advice(&error);
        let hint = if hint.is_empty() { String::new() } else { format!("\n  {hint}") };
        Self { code, message: format!("{error}{hint}") }
    }
}

impl From<std::io::Error> for CliError {
    fn from(error: std::io::Error) -> Self {
        // A reader that has seen enough, such as `head`, is no failure.
        let code = u8::from(error.kind() != std::io::ErrorKind::BrokenPipe);
        Self { code, message: error.to_string() }
    }
}

/// The exit code of an error and what to do about it.
fn advice(error: &ClientError) -> (u8, &'static str) {
    match error {
        ClientError::NoBroker { .. } | ClientError::Disconnected { .. } => (
            EXIT_UNREACHABLE,
            "Is a broker running there? Start one with `millrace serve`, or name another with --bootstrap.",
        ),
        ClientError::Timeout { cause: Some(cause), .. } | ClientError::NotDelivered { cause, .. } => advice(cause),
        ClientError::Timeout { cause: None, .. } => (EXIT_UNREACHABLE, "Try a longer --timeout."),
        ClientError::Config { .. } => (1, ""),
        ClientError::UnknownPartition { .. } => (EXIT_MISSING, "`millrace topic describe TOPIC` lists the partitions."),
        ClientError::Broker { code, .. } => match code {
            ErrorCode::UnknownTopicOrPartition => {
                (EXIT_MISSING, "`millrace topic list` shows what there is, `millrace topic create TOPIC` makes it.")
            }
            ErrorCode::TopicAlreadyExists => (EXIT_REFUSED, "Use --if-not-exists to accept a topic that is there."),
            ErrorCode::InvalidReplicationFactor => (EXIT_REFUSED, "There must be as many brokers as replicas."),
            ErrorCode::InvalidConfig => (EXIT_REFUSED, "`millrace topic describe TOPIC` lists the keys."),
            ErrorCode::NonEmptyGroup => {
                (EXIT_REFUSED, "Stop its members first; `millrace group describe GROUP` lists them.")
            }
            ErrorCode::GroupIdNotFound => (EXIT_MISSING, "`millrace group list` shows what there is."),
            ErrorCode::MessageTooLarge => (EXIT_REFUSED, "The topic's max.message.bytes is the limit."),
            _ => (EXIT_REFUSED, ""),
        },
        _ => (EXIT_REFUSED, ""),
    }
}

/// Runs a command to its end, or to Ctrl-C.
///
/// # Errors
/// What the command fails with.
pub(super) fn block_on(command: impl Future<Output = Result<(), CliError>>) -> CliResult {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let result = runtime.block_on(async {
        tokio::select! {
            result = command => result,
            _ = tokio::signal::ctrl_c() => Ok(()),
        }
    });
    // A thread that waits for standard input must not hold the process.
    runtime.shutdown_background();
    match result {
        Err(error) if error.code == 0 => Ok(()),
        result => Ok(result?),
    }
}

/// The outcomes of several items: all are printed, the first failure decides.
///
/// # Errors
/// The first item that failed.
pub(super) fn settle<T>(
    connect: &Connect,
    done: &'static str,
    outcomes: impl IntoIterator<Item = (String, Result<T, ClientError>)>,
) -> Result<(), CliError> {
    let mut first = None;
    for (name, outcome) in outcomes {
        match outcome {
            Ok(_) => connect.print(&serde_json::json!({"name": name, "result": done}), || format!("{done} {name}"))?,
            Err(error) => {
                let error = CliError::about(&name, &error);
                match &first {
                    None => first = Some(error),
                    Some(_) => eprintln!("millrace: {error}"),
                }
            }
        }
    }
    first.map_or(Ok(()), Err)
}

/// Splits `KEY=VALUE`.
///
/// # Errors
/// There is no `=`.
pub(super) fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("{text:?} is not KEY=VALUE"))?;
    Ok((key.to_owned(), value.to_owned()))
}

/// All partitions of `topic`, or those asked for.
///
/// # Errors
/// The topic, or one of the partitions, does not exist.
pub(super) async fn partitions_of(admin: &Admin, topic: &str, only: &[i32]) -> Result<Vec<TopicPartition>, CliError> {
    let described = admin.describe_topics(&[topic]).await?.into_iter().next();
    let (_, described) = described.ok_or_else(|| CliError::missing(format!("there is no topic {topic}")))?;
    let described = described.map_err(|error| CliError::about(topic, &error))?;
    let known: BTreeMap<i32, TopicPartition> =
        described.partitions.iter().map(|p| (p.partition, TopicPartition::new(topic, p.partition))).collect();
    if only.is_empty() {
        return Ok(known.into_values().collect());
    }
    let find = |partition: &i32| {
        let missing = || CliError::missing(format!("topic {topic} has no partition {partition}, only {}", known.len()));
        known.get(partition).cloned().ok_or_else(missing)
    };
    only.iter().map(find).collect()
}

/// Rows as columns of even width, the first row being the heads.
#[must_use]
pub(super) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<usize> = (0..columns).map(|column| width(column).unwrap_or(0)).collect();
    let line = |row: &Vec<String>| {
        let cells: Vec<String> = row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        cells.join("  ").trim_end().to_owned()
    };
    rows.iter().map(line).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_even() {
        let rows = [vec!["TOPIC".to_owned(), "N".to_owned()], vec!["a".to_owned(), "12".to_owned()]];
        assert_eq!(table(&rows), "TOPIC  N\na      12");
        assert_eq!(table(&[]), "");
    }

    #[test]
    fn exit_codes_tell_the_reason() {
        let missing = ClientError::Broker { api: "Metadata", code: ErrorCode::UnknownTopicOrPartition, message: None };
        assert_eq!(CliError::from(missing.clone()).code, EXIT_MISSING);
        let late = ClientError::Timeout { what: "x", cause: Some(Box::new(missing)) };
        assert_eq!(CliError::from(late).code, EXIT_MISSING, "the cause decides");
        let gone = ClientError::Disconnected { address: "b:1".into() };
        let error = CliError::from(gone);
        assert_eq!(error.code, EXIT_UNREACHABLE);
        assert!(error.to_string().contains("--bootstrap"), "{error}");
    }

    #[test]
    fn settings_are_split_at_the_first_sign() {
        assert_eq!(key_value("a=b=c"), Ok(("a".to_owned(), "b=c".to_owned())));
        assert!(key_value("a").is_err());
    }
}
