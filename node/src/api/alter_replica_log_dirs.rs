//! `AlterReplicaLogDirs` (key 34): moving replicas between a broker's data directories (KIP-113).
//!
//! A broker has one data directory, so a replica that is here is where it can be: moving it there is done at once, and
//! any other place is `LOG_DIR_NOT_FOUND`.

use std::collections::BTreeMap;

use bytes::Bytes;
use kafka_protocol::messages::alter_replica_log_dirs_response::{
    AlterReplicaLogDirPartitionResult, AlterReplicaLogDirTopicResult,
};
use kafka_protocol::messages::{AlterReplicaLogDirsRequest, AlterReplicaLogDirsResponse, ApiKey, TopicName};
use millrace_metadata::Image;
use millrace_types::ErrorCode;

use super::{Api, Context, Step, lookup};
use crate::wire::{self, WireError};

/// The API `AlterReplicaLogDirs`.
pub(super) const API: Api = Api { key: ApiKey::AlterReplicaLogDirs, min: 1, advertised_min: 1, max: 2, handle };

fn handle(cx: &mut Context<'_>, body: Bytes) -> Result<Step, WireError> {
    let request: AlterReplicaLogDirsRequest = wire::decode(body, cx.version)?;
    let image = cx.directory.image();
    // A replica that is named more than once is answered once; what is said last holds, as in Kafka.
    let mut results: BTreeMap<TopicName, BTreeMap<i32, ErrorCode>> = BTreeMap::new();
    for dir in request.dirs {
        let known = dir.path.as_str() == cx.settings.log_dir;
        for topic in dir.topics {
            let partitions = results.entry(topic.name.clone()).or_default();
            for partition in topic.partitions {
                let error = if known { placed(cx, &image, &topic.name, partition) } else { ErrorCode::LogDirNotFound };
                partitions.insert(partition, error);
            }
        }
    }
    let results = results.into_iter().map(|(name, partitions)| result(name, partitions)).collect();
    cx.reply(&AlterReplicaLogDirsResponse::default().with_results(results))
}

/// Whether the replica of this partition is in the broker's directory.
fn placed(cx: &Context<'_>, image: &Image, topic: &str, partition: i32) -> ErrorCode {
    let found = lookup::topic_by_name(image, topic).and_then(|topic| lookup::hosted(cx.directory, topic, partition));
    match found {
        Ok(_) => ErrorCode::None,
        // Kafka keeps this code for clients older than the other one.
        Err(ErrorCode::NotLeaderOrFollower) => ErrorCode::ReplicaNotAvailable,
        Err(error) => error,
    }
}

fn result(name: TopicName, partitions: BTreeMap<i32, ErrorCode>) -> AlterReplicaLogDirTopicResult {
    let partition = |(number, error): (i32, ErrorCode)| {
        AlterReplicaLogDirPartitionResult::default().with_partition_index(number).with_error_code(error.code())
    };
    AlterReplicaLogDirTopicResult::default()
        .with_topic_name(name)
        .with_partitions(partitions.into_iter().map(partition).collect())
}

#[cfg(test)]
mod tests {
    use kafka_protocol::messages::alter_replica_log_dirs_request::{AlterReplicaLogDir, AlterReplicaLogDirTopic};
    use millrace_types::{BrokerId, TopicPartition};

    use super::*;
    use crate::api::metadata_call::testing::{Admin, text, topic};

    fn to(path: &str, name: &str, partitions: &[i32]) -> AlterReplicaLogDir {
        let topic = AlterReplicaLogDirTopic::default().with_name(topic(name)).with_partitions(partitions.to_vec());
        AlterReplicaLogDir::default().with_path(text(path)).with_topics(vec![topic])
    }

    fn codes(admin: &mut Admin, version: i16, dirs: Vec<AlterReplicaLogDir>) -> Vec<(String, i32, i16)> {
        let response = admin.request(version, &AlterReplicaLogDirsRequest::default().with_dirs(dirs));
        let rows = response.results.iter().flat_map(|topic| {
            let name = topic.topic_name.to_string();
            topic.partitions.iter().map(move |one| (name.clone(), one.partition_index, one.error_code))
        });
        rows.collect()
    }

    #[test]
    fn every_version_leaves_a_replica_where_it_is() {
        let mut admin = Admin::new(&[]);
        admin.world.topic("a", 2, &[]);
        let unknown = ErrorCode::UnknownTopicOrPartition.code();
        for version in API.min..=API.max {
            let dirs = vec![to("/data", "a", &[1, 0, 2, -1]), to("/data", "b", &[0])];
            let expected = [("a", -1, unknown), ("a", 0, 0), ("a", 1, 0), ("a", 2, unknown), ("b", 0, unknown)];
            let expected = expected.map(|(name, number, code)| (name.to_owned(), number, code));
            assert_eq!(codes(&mut admin, version, dirs), expected);
        }
    }

    #[test]
    fn there_is_one_directory() {
        let mut admin = Admin::new(&[]);
        admin.world.topic("a", 1, &[]);
        let missing = ErrorCode::LogDirNotFound.code();
        let dirs = vec![to("/other", "a", &[0]), to("/data/", "b", &[0])];
        let expected = [("a".to_owned(), 0, missing), ("b".to_owned(), 0, missing)];
        assert_eq!(codes(&mut admin, 2, dirs), expected, "the directory is looked at before the partition");
        let dirs = vec![to("/other", "a", &[0]), to("/data", "a", &[0, 0])];
        assert_eq!(codes(&mut admin, 2, dirs), [("a".to_owned(), 0, 0)], "the last word holds");
        assert_eq!(codes(&mut admin, 2, Vec::new()), []);
    }

    #[test]
    fn a_replica_that_is_not_here_cannot_be_moved() {
        let mut admin = Admin::new(&[]);
        let id = admin.world.topic("a", 1, &[]);
        assert_eq!(admin.image().topic("a").unwrap().partitions[0].replicas, [BrokerId(1)]);
        admin.world.shared.directory.withdraw(&TopicPartition::new(id, 0));
        let gone = ErrorCode::ReplicaNotAvailable.code();
        assert_eq!(codes(&mut admin, 2, vec![to("/data", "a", &[0])]), [("a".to_owned(), 0, gone)]);
    }
}
