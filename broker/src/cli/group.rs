//! `millrace group`: list, describe and delete consumer groups, and reset their offsets.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use millrace_client::admin::{GroupDescription, MemberDescription};
use millrace_client::{Admin, OffsetAndMetadata, OffsetSpec, TopicPartition};
use serde_json::json;

use super::CliResult;
use super::connect::{CliError, Connect, block_on, partitions_of, settle, table};

/// Flags of `millrace group`.
#[derive(Debug, Args)]
pub struct GroupArgs {
    #[command(flatten)]
    connect: Connect,
    #[command(subcommand)]
    command: GroupCommand,
}

#[derive(Debug, Subcommand)]
enum GroupCommand {
    /// List the groups.
    List,
    /// Show members, committed offsets and lag of groups.
    Describe {
        /// Ids of the groups.
        #[arg(required = true)]
        groups: Vec<String>,
    },
    /// Delete groups that have no members.
    Delete {
        /// Ids of the groups.
        #[arg(required = true)]
        groups: Vec<String>,
    },
    /// Move the committed offsets of a group that has no members.
    ResetOffsets(ResetArgs),
}

#[derive(Debug, Args)]
struct ResetArgs {
    /// Id of the group.
    group: String,
    /// Topic whose offsets are moved; all the group has committed for without it.
    #[arg(long)]
    topic: Option<String>,
    /// Partitions of the topic; all without it.
    #[arg(long, requires = "topic")]
    partition: Vec<i32>,
    #[command(flatten)]
    to: ResetTo,
    /// Show what would be done, and do nothing.
    #[arg(long)]
    dry_run: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct ResetTo {
    /// To the log start offsets.
    #[arg(long)]
    to_earliest: bool,
    /// To the log end offsets.
    #[arg(long)]
    to_latest: bool,
    /// To this offset.
    #[arg(long, value_name = "OFFSET")]
    to_offset: Option<i64>,
    /// To the first records of this time, in milliseconds since the Unix epoch, or later.
    #[arg(long, value_name = "MILLISECONDS")]
    to_timestamp: Option<i64>,
    /// By so many records forwards, or backwards when negative.
    #[arg(long, value_name = "RECORDS", allow_negative_numbers = true)]
    shift_by: Option<i64>,
}

/// Runs the command.
///
/// # Errors
/// What the cluster refused, or why it could not be asked.
pub(super) fn run(args: &GroupArgs) -> CliResult {
    block_on(async {
        let admin = args.connect.admin().await?;
        let result = dispatch(&args.connect, &admin, &args.command).await;
        admin.close().await;
        result
    })
}

async fn dispatch(connect: &Connect, admin: &Admin, command: &GroupCommand) -> Result<(), CliError> {
    match command {
        GroupCommand::List => list(connect, admin).await,
        GroupCommand::Describe { groups } => {
            for group in groups {
                describe(connect, admin, group).await?;
            }
            Ok(())
        }
        GroupCommand::Delete { groups } => {
            let names: Vec<&str> = groups.iter().map(String::as_str).collect();
            settle(connect, "deleted", admin.delete_groups(&names).await?)
        }
        GroupCommand::ResetOffsets(args) => reset(connect, admin, args).await,
    }
}

async fn list(connect: &Connect, admin: &Admin) -> Result<(), CliError> {
    let groups = admin.list_groups().await?;
    if connect.json {
        return groups.iter().try_for_each(|group| {
            let document = json!({"group": group.group, "protocol_type": group.protocol_type, "state": group.state});
            connect.print(&document, String::new)
        });
    }
    let mut rows = vec![vec!["GROUP".to_owned(), "STATE".to_owned(), "TYPE".to_owned()]];
    rows.extend(groups.into_iter().map(|group| vec![group.group, group.state, group.protocol_type]));
    connect.print(&json!(null), || table(&rows))
}

/// One partition of a group.
struct Row {
    partition: TopicPartition,
    committed: Option<i64>,
    end: i64,
    member: Option<String>,
}

impl Row {
    fn lag(&self) -> Option<i64> {
        self.committed.map(|committed| (self.end - committed).max(0))
    }
}

async fn describe(connect: &Connect, admin: &Admin, group: &str) -> Result<(), CliError> {
    let described = admin.describe_groups(&[group]).await?.into_iter().next();
    let missing = || CliError::missing(format!("there is no group {group}; `millrace group list` shows what there is"));
    let (_, described) = described.ok_or_else(missing)?;
    let described = described.map_err(|error| CliError::about(group, &error))?;
    let committed = admin.group_offsets(group).await?;
    if described.state == "Dead" && committed.is_empty() {
        return Err(missing());
    }
    let rows = rows(admin, &described, &committed).await?;
    let document = json!({
        "group": group,
        "state": described.state,
        "assignor": described.assignor,
        "coordinator": described.coordinator,
        "members": described.members.iter().map(member_json).collect::<Vec<_>>(),
        "partitions": rows.iter().map(|row| json!({
            "topic": &*row.partition.topic,
            "partition": row.partition.partition,
            "committed": row.committed,
            "end": row.end,
            "lag": row.lag(),
            "member": row.member,
        })).collect::<Vec<_>>(),
    });
    connect.print(&document, || describe_text(&described, &rows))
}

/// The partitions a group has committed for or is assigned, with their ends.
async fn rows(
    admin: &Admin,
    group: &GroupDescription,
    committed: &BTreeMap<TopicPartition, OffsetAndMetadata>,
) -> Result<Vec<Row>, CliError> {
    let mut members: BTreeMap<TopicPartition, Option<String>> =
        committed.keys().map(|partition| (partition.clone(), None)).collect();
    for member in &group.members {
        members.extend(member.assignment.iter().map(|partition| (partition.clone(), Some(member.member_id.clone()))));
    }
    let specs = members.keys().map(|partition| (partition.clone(), OffsetSpec::Latest)).collect();
    let mut rows = Vec::with_capacity(members.len());
    for (partition, end) in admin.offsets(&specs).await? {
        // Offsets may be left from topics that are gone.
        let end = end.map_or(-1, |found| found.offset);
        let member = members.get(&partition).cloned().flatten();
        let committed = committed.get(&partition).map(|committed| committed.offset);
        rows.push(Row { partition, committed, end, member });
    }
    Ok(rows)
}

fn describe_text(group: &GroupDescription, rows: &[Row]) -> String {
    let heads = ["TOPIC", "PARTITION", "COMMITTED", "END", "LAG", "MEMBER"];
    let mut cells: Vec<Vec<String>> = vec![heads.iter().map(ToString::to_string).collect()];
    let number = |value: Option<i64>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    cells.extend(rows.iter().map(|row| {
        vec![
            row.partition.topic.to_string(),
            row.partition.partition.to_string(),
            number(row.committed),
            number(Some(row.end).filter(|end| *end >= 0)),
            number(row.lag()),
            row.member.clone().unwrap_or_else(|| "-".to_owned()),
        ]
    }));
    let members = group.members.len();
    let head =
        format!("group {}  state {}  members {members}  coordinator {}", group.group, group.state, group.coordinator);
    format!("{head}\n{}", table(&cells))
}

fn member_json(member: &MemberDescription) -> serde_json::Value {
    json!({
        "member_id": member.member_id,
        "instance_id": member.instance_id,
        "client_id": member.client_id,
        "host": member.host,
        "partitions": member.assignment.iter().map(ToString::to_string).collect::<Vec<_>>(),
    })
}

async fn reset(connect: &Connect, admin: &Admin, args: &ResetArgs) -> Result<(), CliError> {
    let described = admin.describe_groups(&[&args.group]).await?.into_iter().next();
    if let Some((_, Ok(group))) = &described
        && !group.members.is_empty()
    {
        let count = group.members.len();
        return Err(CliError::new(format!(
            "group {} has {count} members; stop them first, they would overwrite the offsets",
            args.group
        )));
    }
    let committed = admin.group_offsets(&args.group).await?;
    let partitions = match &args.topic {
        Some(topic) => partitions_of(admin, topic, &args.partition).await?,
        None => committed.keys().cloned().collect(),
    };
    if partitions.is_empty() {
        let hint = "name a --topic to give it some";
        return Err(CliError::missing(format!("group {} has no committed offsets; {hint}", args.group)));
    }
    let targets = targets(admin, &args.to, &partitions, &committed).await?;
    for (partition, offset) in &targets {
        let before = committed.get(partition).map(|committed| committed.offset);
        let document = json!({
            "topic": &*partition.topic,
            "partition": partition.partition,
            "before": before,
            "after": offset,
            "dry_run": args.dry_run,
        });
        let before = before.map_or_else(|| "none".to_owned(), |offset| offset.to_string());
        connect.print(&document, || format!("{partition}: {before} -> {offset}"))?;
    }
    if args.dry_run {
        return Ok(());
    }
    let offsets = targets.into_iter().map(|(partition, offset)| (partition, OffsetAndMetadata::from(offset))).collect();
    for (partition, outcome) in admin.alter_group_offsets(&args.group, &offsets).await? {
        outcome.map_err(|error| CliError::about(&partition.to_string(), &error))?;
    }
    Ok(())
}

/// The offsets to commit, kept within what each log holds.
async fn targets(
    admin: &Admin,
    to: &ResetTo,
    partitions: &[TopicPartition],
    committed: &BTreeMap<TopicPartition, OffsetAndMetadata>,
) -> Result<BTreeMap<TopicPartition, i64>, CliError> {
    let starts = find(admin, partitions, OffsetSpec::Earliest).await?;
    let ends = find(admin, partitions, OffsetSpec::Latest).await?;
    let by_time = match to.to_timestamp {
        Some(timestamp) => find(admin, partitions, OffsetSpec::Timestamp(timestamp)).await?,
        None => BTreeMap::new(),
    };
    let target = |partition: &TopicPartition| {
        let (start, end) = (starts.get(partition).copied()?, ends.get(partition).copied()?);
        let wanted = if to.to_earliest {
            start
        } else if let Some(offset) = to.to_offset {
            offset
        } else if let Some(shift) = to.shift_by {
            let from = committed.get(partition).map_or(start, |committed| committed.offset);
            from.saturating_add(shift)
        } else {
            // No record of that time or later: the end.
            by_time.get(partition).copied().filter(|offset| *offset >= 0).unwrap_or(end)
        };
        Some((partition.clone(), wanted.clamp(start, end.max(start))))
    };
    Ok(partitions.iter().filter_map(target).collect())
}

async fn find(
    admin: &Admin,
    partitions: &[TopicPartition],
    spec: OffsetSpec,
) -> Result<BTreeMap<TopicPartition, i64>, CliError> {
    let specs = partitions.iter().map(|partition| (partition.clone(), spec)).collect();
    let found = admin.offsets(&specs).await?.into_iter();
    found
        .map(|(partition, found)| match found {
            Ok(found) => Ok((partition, found.offset)),
            Err(error) => Err(CliError::about(&partition.to_string(), &error)),
        })
        .collect()
}
