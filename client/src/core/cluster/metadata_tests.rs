//! The cache believes the newest leader epoch and asks again when it must.

use super::*;

const PAUSE: Duration = Duration::from_millis(100);
const AGE: Duration = Duration::from_secs(300);

fn partition(leader: i32, epoch: i32) -> MetadataResponsePartition {
    MetadataResponsePartition::default().with_leader_id(leader.into()).with_leader_epoch(epoch)
}

fn response(id: u128, error: ErrorCode, partitions: Vec<MetadataResponsePartition>) -> MetadataResponse {
    MetadataResponse::default().with_topics(vec![
        MetadataResponseTopic::default()
            .with_name(Some(TopicName(text("t"))))
            .with_topic_id(Uuid::from_u128(id))
            .with_error_code(error.code())
            .with_partitions(partitions),
    ])
}

fn cache() -> Metadata {
    let mut cache = Metadata::new(true);
    cache.want(Instant::ZERO, &Arc::from("t"));
    cache.request(Instant::ZERO);
    cache
}

#[test]
fn an_older_leader_epoch_is_not_believed() {
    let mut cache = cache();
    cache.apply(Instant::ZERO, response(1, ErrorCode::None, vec![partition(1, 5)]), PAUSE, AGE);
    assert_eq!(cache.leader("t", 0), Some((1, 5)));
    cache.apply(Instant::ZERO, response(1, ErrorCode::None, vec![partition(2, 4)]), PAUSE, AGE);
    assert_eq!(cache.leader("t", 0), Some((1, 5)), "a broker lags behind");
    assert!(cache.moved.is_empty());
    cache.apply(Instant::ZERO, response(1, ErrorCode::None, vec![partition(2, 6)]), PAUSE, AGE);
    assert_eq!(cache.leader("t", 0), Some((2, 6)));
    assert_eq!(cache.moved, [TopicPartition::new("t", 0)]);
    cache.apply(Instant::ZERO, response(9, ErrorCode::None, vec![partition(3, 1)]), PAUSE, AGE);
    assert_eq!(cache.leader("t", 0), Some((3, 1)), "another topic of the same name starts over");
}

#[test]
fn a_hint_with_a_newer_epoch_moves_the_leader() {
    let mut cache = cache();
    cache.apply(Instant::ZERO, response(1, ErrorCode::None, vec![partition(1, 5)]), PAUSE, AGE);
    assert!(!cache.hint("t", 0, 2, 5) && !cache.hint("t", 3, 2, 9) && !cache.hint("u", 0, 2, 9));
    assert!(cache.hint("t", 0, 2, 6));
    assert_eq!(cache.leader("t", 0), Some((2, 6)));
}

#[test]
fn missing_topics_and_leaders_are_asked_for_again() {
    let mut cache = cache();
    assert!(!cache.is_due(Instant::ZERO), "just asked");
    cache.apply(Instant::ZERO, response(0, ErrorCode::LeaderNotAvailable, vec![]), PAUSE, AGE);
    assert!(cache.topic("t").is_none());
    assert!(!cache.is_due(Instant::ZERO) && cache.is_due(Instant::ZERO.after(PAUSE)));
    cache.request(Instant::ZERO);
    cache.apply(Instant::ZERO, response(1, ErrorCode::None, vec![partition(-1, 3)]), PAUSE, AGE);
    assert_eq!(cache.leader("t", 0), None);
    assert!(cache.is_due(Instant::ZERO.after(PAUSE)));
    cache.request(Instant::ZERO);
    cache.apply(Instant::ZERO, response(1, ErrorCode::None, vec![partition(1, 4)]), PAUSE, AGE);
    assert_eq!(cache.deadline(), Instant::ZERO.after(AGE));
}

#[test]
fn a_partition_without_a_leader_keeps_its_epoch() {
    let mut cache = cache();
    cache.apply(Instant::ZERO, response(1, ErrorCode::None, vec![partition(1, 5)]), PAUSE, AGE);
    let nobody = partition(-1, -1).with_error_code(ErrorCode::LeaderNotAvailable.code());
    cache.apply(Instant::ZERO, response(1, ErrorCode::None, vec![nobody]), PAUSE, AGE);
    assert_eq!(cache.leader("t", 0), None);
    assert!(cache.moved.is_empty() && cache.left.is_empty(), "nobody has taken over");
    assert!(cache.is_due(Instant::ZERO.after(PAUSE / 4)), "an election is soon over");
    cache.apply(Instant::ZERO, response(1, ErrorCode::None, vec![partition(3, 4)]), PAUSE, AGE);
    assert_eq!(cache.leader("t", 0), None, "a broker that lags behind names an old leader");
    cache.apply(Instant::ZERO, response(1, ErrorCode::None, vec![partition(2, 6)]), PAUSE, AGE);
    assert_eq!(cache.leader("t", 0), Some((2, 6)));
    assert_eq!(cache.moved, [TopicPartition::new("t", 0)]);
    assert_eq!(cache.left, BTreeSet::from([1]));
}

#[test]
fn an_absurd_partition_number_takes_no_memory() {
    let mut cache = cache();
    let far = partition(1, 1).with_partition_index(i32::MAX);
    cache.apply(Instant::ZERO, response(1, ErrorCode::None, vec![partition(1, 1), far]), PAUSE, AGE);
    assert_eq!(cache.topic("t").map(|topic| topic.partitions.len()), Some(1));
}
