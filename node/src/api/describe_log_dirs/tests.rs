//! DescribeLogDirs over the wire, at every version.

use kafka_protocol::messages::describe_log_dirs_request::DescribableLogDirTopic;

use super::*;
use crate::api::metadata_call::testing::{Admin, topic};

fn some(topics: &[(&str, &[i32])]) -> DescribeLogDirsRequest {
    let topics = topics
        .iter()
        .map(|(name, numbers)| {
            DescribableLogDirTopic::default().with_topic(topic(name)).with_partitions(numbers.to_vec())
        })
        .collect();
    DescribeLogDirsRequest::default().with_topics(Some(topics))
}

fn shown(response: &DescribeLogDirsResponse) -> Vec<(String, Vec<i32>)> {
    let numbers = |topic: &DescribeLogDirsTopic| topic.partitions.iter().map(|one| one.partition_index).collect();
    response.results[0].topics.iter().map(|topic| (topic.name.to_string(), numbers(topic))).collect()
}

#[test]
fn every_version_lists_every_partition() {
    let mut admin = Admin::new(&[]);
    admin.world.topic("a", 2, &[]);
    admin.world.topic("b", 1, &[]);
    for version in API.min..=API.max {
        let response = admin.request(version, &DescribeLogDirsRequest::default().with_topics(None));
        assert_eq!(shown(&response), [("a".to_owned(), vec![0, 1]), ("b".to_owned(), vec![0])]);
        assert_eq!((response.error_code, response.results[0].error_code), (0, 0));
        assert_eq!(response.results[0].log_dir.as_str(), "/data");
        assert_eq!(response.results[0].total_bytes, -1, "unknown until the host has asked the disk");
    }
}

#[test]
fn named_partitions_are_listed_once() {
    let mut admin = Admin::new(&[]);
    admin.world.topic("a", 3, &[]);
    let request = some(&[("a", &[2, 0, 2, 9]), ("nope", &[0]), ("a", &[0])]);
    assert_eq!(shown(&admin.request(4, &request)), [("a".to_owned(), vec![0, 2])]);
    assert!(shown(&admin.request(4, &some(&[]))).is_empty());
}

#[test]
fn the_disks_space_is_shown_from_version_4_on() {
    let mut admin = Admin::new(&[]);
    admin.world.shared.settings.space.refresh(1_000, 400);
    let response = admin.request(4, &DescribeLogDirsRequest::default());
    assert_eq!((response.results[0].total_bytes, response.results[0].usable_bytes), (1_000, 400));
    admin.world.shared.settings.space.refresh(1_000, 0);
    let response = admin.request(4, &DescribeLogDirsRequest::default());
    assert_eq!((response.results[0].total_bytes, response.results[0].usable_bytes), (1_000, 0));
}
