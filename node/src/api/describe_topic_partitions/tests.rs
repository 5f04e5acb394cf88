//! DescribeTopicPartitions over the wire.

use kafka_protocol::messages::describe_topic_partitions_request::{Cursor, TopicRequest};
use millrace_metadata::CONSUMER_OFFSETS;
use millrace_types::TopicPartition;

use super::*;
use crate::api::metadata_call::testing::{Admin, topic};

fn request(names: &[&str], limit: i32) -> DescribeTopicPartitionsRequest {
    let topics = names.iter().map(|name| TopicRequest::default().with_name(topic(name))).collect();
    DescribeTopicPartitionsRequest::default().with_topics(topics).with_response_partition_limit(limit).with_cursor(None)
}

fn at(name: &str, partition: i32) -> Option<Cursor> {
    Some(Cursor::default().with_topic_name(topic(name)).with_partition_index(partition))
}

/// Names, error codes and partitions of the topics.
fn rows(response: &DescribeTopicPartitionsResponse) -> Vec<(&str, i16, Vec<i32>)> {
    let row = |topic: &'_ DescribeTopicPartitionsResponseTopic| {
        (topic.error_code, topic.partitions.iter().map(|one| one.partition_index).collect::<Vec<_>>())
    };
    let names = response.topics.iter().map(|topic| topic.name.as_ref().map_or("", |name| name.as_str()));
    names.zip(response.topics.iter().map(row)).map(|(name, (code, numbers))| (name, code, numbers)).collect()
}

fn next(response: &DescribeTopicPartitionsResponse) -> Option<(&str, i32)> {
    response.next_cursor.as_ref().map(|cursor| (cursor.topic_name.as_str(), cursor.partition_index))
}

fn admin() -> Admin {
    let mut admin = Admin::new(&[]);
    admin.world.topic("b", 2, &[]);
    admin.world.topic("a", 3, &[]);
    admin
}

#[test]
fn a_topic_is_described() {
    let mut admin = admin();
    let id = admin.image().topic("a").unwrap().id.0;
    for version in API.min..=API.max {
        let response = admin.request(version, &request(&["a"], 100));
        assert_eq!((rows(&response), next(&response)), (vec![("a", 0, vec![0, 1, 2])], None));
        let topic = &response.topics[0];
        assert_eq!((topic.topic_id, topic.is_internal), (id, false));
        assert_eq!(topic.topic_authorized_operations, authorized::TOPIC);
        for partition in &topic.partitions {
            assert_eq!((partition.error_code, partition.leader_id.0), (0, 1));
            assert!(partition.leader_epoch >= 1);
            assert_eq!(partition.replica_nodes.iter().map(|id| id.0).collect::<Vec<_>>(), [1]);
            assert_eq!(partition.isr_nodes, partition.replica_nodes);
            assert!(partition.offline_replicas.is_empty());
            assert_eq!(partition.eligible_leader_replicas.as_deref(), Some(&[][..]));
        }
    }
}

#[test]
fn no_name_means_every_topic() {
    let response = admin().request(0, &request(&[], 100));
    assert_eq!(rows(&response), [("a", 0, vec![0, 1, 2]), ("b", 0, vec![0, 1])]);
}

#[test]
fn topics_that_do_not_exist_are_errors() {
    let response = admin().request(0, &request(&["nope", CONSUMER_OFFSETS, "b", "bad name", "b"], 100));
    let (unknown, invalid) = (ErrorCode::UnknownTopicOrPartition.code(), ErrorCode::InvalidTopicException.code());
    let expected = [
        (CONSUMER_OFFSETS, unknown, vec![]),
        ("b", 0, vec![0, 1]),
        ("bad name", invalid, vec![]),
        ("nope", unknown, vec![]),
    ];
    assert_eq!(rows(&response), expected);
    assert!(response.topics[0].is_internal && response.topics[3].topic_id.is_nil());
}

/// Whatever the limit, following the cursors gives every partition once.
#[test]
fn pages_add_up() {
    let mut admin = admin();
    for names in [&[][..], &["a", "b", "x"][..]] {
        for limit in 1..=6 {
            let (mut seen, mut cursor, mut pages) = (Vec::new(), None, 0);
            loop {
                let response = admin.request(0, &request(names, limit).with_cursor(cursor.clone()));
                let mut count = 0;
                for (name, _, numbers) in rows(&response) {
                    count += numbers.len();
                    seen.extend(numbers.into_iter().map(|number| (name.to_owned(), number)));
                }
                assert!(count <= usize::try_from(limit).unwrap(), "{limit}: {response:?}");
                pages += 1;
                let Some((name, partition)) = next(&response) else { break };
                cursor = at(name, partition);
                assert!(pages < 10, "the cursor moves on");
            }
            let expected = [("a", 0), ("a", 1), ("a", 2), ("b", 0), ("b", 1)];
            assert_eq!(seen, expected.map(|(name, number)| (name.to_owned(), number)), "{limit}");
        }
    }
}

#[test]
fn a_full_page_points_to_the_next() {
    let mut admin = admin();
    let within = admin.request(0, &request(&[], 2));
    assert_eq!((rows(&within), next(&within)), (vec![("a", 0, vec![0, 1])], Some(("a", 2))));
    let between = admin.request(0, &request(&[], 3));
    assert_eq!((rows(&between), next(&between)), (vec![("a", 0, vec![0, 1, 2])], Some(("b", 0))));
    let rest = admin.request(0, &request(&[], 9).with_cursor(at("a", 2)));
    assert_eq!((rows(&rest), next(&rest)), (vec![("a", 0, vec![2]), ("b", 0, vec![0, 1])], None));
    let beyond = admin.request(0, &request(&["a"], 9).with_cursor(at("a", i32::MAX)));
    assert_eq!((rows(&beyond), next(&beyond)), (vec![("a", 0, vec![])], None));
    let gone = admin.request(0, &request(&[], 9).with_cursor(at("aa", 7)));
    assert_eq!(rows(&gone), [("b", 0, vec![0, 1])], "the topic of the cursor was deleted");
}

#[test]
fn limits_have_limits() {
    let mut admin = Admin::new(&[("max.request.partition.size.limit", "2")]);
    admin.world.topic("a", 3, &[]);
    for limit in [i32::MIN, 0] {
        assert_eq!(rows(&admin.request(0, &request(&["a"], limit))), [("a", 0, vec![0])]);
    }
    assert_eq!(rows(&admin.request(0, &request(&["a"], i32::MAX))), [("a", 0, vec![0, 1])]);
}

#[test]
fn cursors_that_cannot_be_are_refused() {
    let mut admin = admin();
    let invalid = ErrorCode::InvalidRequest.code();
    let other = admin.request(0, &request(&["b"], 9).with_cursor(at("a", 0)));
    assert_eq!(rows(&other), [("b", invalid, vec![])]);
    let negative = admin.request(0, &request(&["a"], 9).with_cursor(at("a", -1)));
    assert_eq!(rows(&negative), [("a", invalid, vec![])]);
}

#[test]
fn a_partition_without_a_leader_says_so() {
    let mut admin = admin();
    let id = admin.image().topic("b").unwrap().id;
    admin.world.shared.directory.withdraw(&TopicPartition::new(id, 0));
    let response = admin.request(0, &request(&["b"], 9));
    let leaders: Vec<_> = response.topics[0].partitions.iter().map(|one| (one.error_code, one.leader_id.0)).collect();
    assert_eq!(leaders, [(0, -1), (0, 1)]);
    admin.listener = "OTHER";
    let response = admin.request(0, &request(&["b"], 9));
    let offline = response.topics[0].partitions.iter().map(|one| (one.leader_id.0, one.offline_replicas.len()));
    assert_eq!(offline.collect::<Vec<_>>(), [(-1, 1), (-1, 1)]);
}
