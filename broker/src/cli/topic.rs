//! `millrace topic`: create, list, describe, alter and delete topics.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use millrace_client::admin::{ConfigChange, ConfigEntry, NewTopic, Resource, TopicDescription};
use millrace_client::{Admin, ClientError, OffsetSpec, TopicPartition};
use millrace_types::ErrorCode;
use serde_json::json;

use super::CliResult;
use super::connect::{CliError, Connect, block_on, key_value, settle, table};

/// Flags of `millrace topic`.
#[derive(Debug, Args)]
pub struct TopicArgs {
    #[command(flatten)]
    connect: Connect,
    #[command(subcommand)]
    command: TopicCommand,
}

#[derive(Debug, Subcommand)]
enum TopicCommand {
    /// Create topics.
    Create {
        /// Names of the topics.
        #[arg(required = true)]
        topics: Vec<String>,
        /// Number of partitions; the broker's default without it.
        #[arg(short, long, value_parser = clap::value_parser!(i32).range(1..))]
        partitions: Option<i32>,
        /// Number of replicas; the broker's default without it.
        #[arg(short, long, value_parser = clap::value_parser!(i16).range(1..))]
        replication_factor: Option<i16>,
        /// Configuration of the topic, by Kafka's keys.
        #[arg(short, long = "config", value_name = "KEY=VALUE", value_parser = key_value)]
        configs: Vec<(String, String)>,
        /// Accept topics that are there already.
        #[arg(long)]
        if_not_exists: bool,
        /// Check, and change nothing.
        #[arg(long)]
        validate_only: bool,
    },
    /// List the topics.
    List {
        /// Show the cluster's own topics too.
        #[arg(long)]
        internal: bool,
    },
    /// Show partitions, offsets and configuration of topics.
    Describe {
        /// Names of the topics.
        #[arg(required = true)]
        topics: Vec<String>,
    },
    /// Change configuration or number of partitions of a topic.
    Alter {
        /// Name of the topic.
        topic: String,
        /// Set a configuration key.
        #[arg(short, long, value_name = "KEY=VALUE", value_parser = key_value)]
        set: Vec<(String, String)>,
        /// Return a configuration key to its default.
        #[arg(short, long, value_name = "KEY")]
        delete: Vec<String>,
        /// Number of partitions afterwards.
        #[arg(short, long, value_parser = clap::value_parser!(i32).range(1..))]
        partitions: Option<i32>,
    },
    /// Delete topics with all their records.
    Delete {
        /// Names of the topics.
        #[arg(required = true)]
        topics: Vec<String>,
    },
}

/// Runs the command.
///
/// # Errors
/// What the cluster refused, or why it could not be asked.
pub(super) fn run(args: &TopicArgs) -> CliResult {
    block_on(async {
        let admin = args.connect.admin().await?;
        let result = dispatch(&args.connect, &admin, &args.command).await;
        admin.close().await;
        result
    })
}

async fn dispatch(connect: &Connect, admin: &Admin, command: &TopicCommand) -> Result<(), CliError> {
    match command {
        TopicCommand::Create { topics, partitions, replication_factor, configs, if_not_exists, validate_only } => {
            let topic = |name: &String| {
                let mut topic = NewTopic::new(name, partitions.unwrap_or(-1));
                topic.replication_factor = replication_factor.unwrap_or(-1);
                topic.configs = configs.iter().cloned().collect();
                topic
            };
            let topics: Vec<NewTopic> = topics.iter().map(topic).collect();
            let mut outcomes = admin.create_topics(&topics, *validate_only).await?;
            if *if_not_exists {
                let exists = |error: &ClientError| error.code() == Some(ErrorCode::TopicAlreadyExists);
                outcomes.retain(|(_, outcome)| !outcome.as_ref().is_err_and(exists));
            }
            settle(connect, if *validate_only { "valid" } else { "created" }, outcomes)
        }
        TopicCommand::List { internal } => list(connect, admin, *internal).await,
        TopicCommand::Describe { topics } => describe(connect, admin, topics).await,
        TopicCommand::Alter { topic, set, delete, partitions } => {
            alter(connect, admin, topic, (set, delete, *partitions)).await
        }
        TopicCommand::Delete { topics } => {
            let names: Vec<&str> = topics.iter().map(String::as_str).collect();
            settle(connect, "deleted", admin.delete_topics(&names).await?)
        }
    }
}

async fn list(connect: &Connect, admin: &Admin, internal: bool) -> Result<(), CliError> {
    let topics: Vec<TopicDescription> =
        admin.list_topics().await?.into_iter().filter(|topic| internal || !topic.internal).collect();
    if connect.json {
        return topics.iter().try_for_each(|topic| connect.print(&topic_json(topic), String::new));
    }
    let mut rows = vec![vec!["TOPIC".to_owned(), "PARTITIONS".to_owned(), "REPLICAS".to_owned()]];
    rows.extend(topics.iter().map(|topic| {
        let replicas = topic.partitions.first().map_or(0, |partition| partition.replicas.len());
        vec![topic.name.clone(), topic.partitions.len().to_string(), replicas.to_string()]
    }));
    connect.print(&json!(null), || table(&rows))
}

async fn describe(connect: &Connect, admin: &Admin, topics: &[String]) -> Result<(), CliError> {
    let names: Vec<&str> = topics.iter().map(String::as_str).collect();
    for (name, described) in admin.describe_topics(&names).await? {
        let described = described.map_err(|error| CliError::about(&name, &error))?;
        let configs = admin.describe_configs(&[Resource::Topic(name.clone())]).await?;
        let configs = configs.into_iter().next().map_or(Ok(Vec::new()), |(_, configs)| configs)?;
        let ends = offsets(admin, &described, OffsetSpec::Latest).await?;
        let starts = offsets(admin, &described, OffsetSpec::Earliest).await?;
        let mut document = topic_json(&described);
        document["configs"] = configs.iter().map(config_json).collect();
        document["offsets"] = described
            .partitions
            .iter()
            .map(
                |p| json!({"partition": p.partition, "start": starts.get(&p.partition), "end": ends.get(&p.partition)}),
            )
            .collect();
        connect.print(&document, || describe_text(&described, &configs, &starts, &ends))?;
    }
    Ok(())
}

/// The offsets of partitions that have a leader; asking for the others would wait for one.
async fn offsets(admin: &Admin, topic: &TopicDescription, spec: OffsetSpec) -> Result<BTreeMap<i32, i64>, CliError> {
    let led = topic.partitions.iter().filter(|partition| partition.leader >= 0);
    let specs = led.map(|partition| (TopicPartition::new(topic.name.as_str(), partition.partition), spec)).collect();
    let mut offsets = BTreeMap::new();
    for (partition, found) in admin.offsets(&specs).await? {
        offsets.insert(partition.partition, found?.offset);
    }
    Ok(offsets)
}

fn describe_text(
    topic: &TopicDescription,
    configs: &[ConfigEntry],
    starts: &BTreeMap<i32, i64>,
    ends: &BTreeMap<i32, i64>,
) -> String {
    let offset = |offsets: &BTreeMap<i32, i64>, partition: i32| {
        offsets.get(&partition).map_or_else(|| "-".to_owned(), ToString::to_string)
    };
    let heads = ["PARTITION", "LEADER", "EPOCH", "REPLICAS", "IN-SYNC", "START", "END"];
    let mut rows = vec![heads.iter().map(ToString::to_string).collect()];
    rows.extend(topic.partitions.iter().map(|p| {
        vec![
            p.partition.to_string(),
            p.leader.to_string(),
            p.leader_epoch.to_string(),
            numbers(&p.replicas),
            numbers(&p.in_sync),
            offset(starts, p.partition),
            offset(ends, p.partition),
        ]
    }));
    let set = configs.iter().filter(|config| !config.is_default);
    let set: Vec<String> =
        set.map(|config| format!("  {}={}", config.name, config.value.as_deref().unwrap_or(""))).collect();
    let id = topic.id.as_deref().unwrap_or("-");
    let head = format!("topic {}  id {id}\n{}", topic.name, table(&rows));
    if set.is_empty() { head } else { format!("{head}\nconfiguration set for this topic:\n{}", set.join("\n")) }
}

async fn alter(
    connect: &Connect,
    admin: &Admin,
    topic: &str,
    (set, delete, partitions): (&[(String, String)], &[String], Option<i32>),
) -> Result<(), CliError> {
    if set.is_empty() && delete.is_empty() && partitions.is_none() {
        return Err(CliError::new("nothing to alter; use --set, --delete or --partitions"));
    }
    let mut changes: Vec<ConfigChange> =
        set.iter().map(|(key, value)| ConfigChange::Set(key.clone(), value.clone())).collect();
    changes.extend(delete.iter().map(|key| ConfigChange::Delete(key.clone())));
    if !changes.is_empty() {
        let resource = Resource::Topic(topic.to_owned());
        let outcomes = admin.alter_configs(&[(resource, changes)], false).await?;
        settle(connect, "altered", outcomes.into_iter().map(|(_, outcome)| (topic.to_owned(), outcome)))?;
    }
    if let Some(count) = partitions {
        settle(connect, "extended", admin.create_partitions(&[(topic, count)], false).await?)?;
    }
    Ok(())
}

fn numbers(ids: &[i32]) -> String {
    ids.iter().map(ToString::to_string).collect::<Vec<_>>().join(",")
}

fn topic_json(topic: &TopicDescription) -> serde_json::Value {
    let partition = |p: &millrace_client::PartitionDescription| {
        json!({
            "partition": p.partition,
            "leader": p.leader,
            "leader_epoch": p.leader_epoch,
            "replicas": p.replicas,
            "in_sync": p.in_sync,
        })
    };
    let partitions: Vec<serde_json::Value> = topic.partitions.iter().map(partition).collect();
    json!({"topic": topic.name, "id": topic.id, "internal": topic.internal, "partitions": partitions})
}

fn config_json(config: &ConfigEntry) -> serde_json::Value {
    json!({"name": config.name, "value": config.value, "default": config.is_default, "read_only": config.read_only})
}
