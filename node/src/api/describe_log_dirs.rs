//! `DescribeLogDirs` (key 35): the bytes each partition uses in this broker's data directory (KIP-113).

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use kafka_protocol::messages::describe_log_dirs_response::{
    DescribeLogDirsPartition, DescribeLogDirsResult, DescribeLogDirsTopic,
};
use kafka_protocol::messages::{ApiKey, DescribeLogDirsRequest, DescribeLogDirsResponse, TopicName};
use kafka_protocol::protocol::StrBytes;
use millrace_metadata::{Image, Topic};
use millrace_types::TopicPartition;

use super::{Api, Context, Step};
use crate::wire::{self, WireError};

/// The API `DescribeLogDirs`.
pub(super) const API: Api = Api { key: ApiKey::DescribeLogDirs, min: 1, advertised_min: 1, max: 4, handle };

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let request: DescribeLogDirsRequest = wire::decode(body, cx.version)?;
    let image = cx.directory.image();
    let topics = match &request.topics {
        None => image.topics().filter_map(|topic| described(cx, topic, None)).collect(),
        Some(_) => wanted(&request, &image)
            .into_values()
            .filter_map(|(topic, numbers)| described(cx, topic, Some(&numbers)))
            .collect(),
    };
    let space = &cx.settings.space;
    let bytes = |figure: Option<u64>| figure.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX));
    let result = DescribeLogDirsResult::default()
        .with_log_dir(StrBytes::from_string(cx.settings.log_dir.clone()))
        .with_topics(topics)
        .with_total_bytes(bytes(space.total()))
        .with_usable_bytes(bytes(space.free()));
    cx.reply(&DescribeLogDirsResponse::default().with_results(vec![result]))
}

/// The topics and partitions the request names, each once.
fn wanted<'a>(request: &DescribeLogDirsRequest, image: &'a Image) -> BTreeMap<&'a str, (&'a Topic, BTreeSet<i32>)> {
    let mut wanted: BTreeMap<&str, (&Topic, BTreeSet<i32>)> = BTreeMap::new();
    for asked in request.topics.iter().flatten() {
        if let Some(topic) = image.topic(&asked.topic) {
            let (_, numbers) = wanted.entry(&topic.name).or_insert_with(|| (topic, BTreeSet::new()));
            numbers.extend(&asked.partitions);
        }
    }
    wanted
}

/// The partitions of `topic` that this broker holds; `None` when it holds none of those asked for.
fn described(cx: &Context<'_>, topic: &Topic, numbers: Option<&BTreeSet<i32>>) -> Option<DescribeLogDirsTopic> {
    let partition = |at: TopicPartition| {
        if numbers.is_some_and(|numbers| !numbers.contains(&at.partition)) {
            return None;
        }
        let view = cx.directory.partition(&at)?;
        let size = i64::try_from(view.log.size_bytes()).unwrap_or(i64::MAX);
        Some(DescribeLogDirsPartition::default().with_partition_index(at.partition).with_partition_size(size))
    };
    let partitions: Vec<_> = topic.partitions_on(cx.settings.broker_id).filter_map(partition).collect();
    let name = || TopicName(StrBytes::from_string(topic.name.to_string()));
    (!partitions.is_empty()).then(|| DescribeLogDirsTopic::default().with_name(name()).with_partitions(partitions))
}

#[cfg(test)]
mod tests;
