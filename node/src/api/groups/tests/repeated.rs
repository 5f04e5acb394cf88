//! A request that repeats itself is answered as if it did not: its response must not outgrow it.

use super::*;

#[test]
fn a_group_is_described_once() {
    let mut desk = Desk::with_offsets_topic();
    become_member(&mut desk, 9, 5);
    let groups = ["g", "none", "g", "g"].map(group).to_vec();
    let described = desk.ask(5, &DescribeGroupsRequest::default().with_groups(groups));
    let seen: Vec<_> = described.groups.iter().map(|group| &**group.group_id).collect();
    assert_eq!(seen, ["g", "none"]);
}

#[test]
fn an_offset_is_fetched_once() {
    let mut desk = Desk::with_offsets_topic();
    desk.ask(9, &commit(9, &string(""), -1, &[("t", 1)]));
    let again = |name: &str, partitions: &[i32]| {
        OffsetFetchRequestTopic::default().with_name(topic(name)).with_partition_indexes(partitions.to_vec())
    };
    let topics = vec![again("t", &[1, 0, 1]), again("u", &[0]), again("t", &[1, 2])];
    for version in 1..=7 {
        let request = OffsetFetchRequest::default().with_group_id(group("g")).with_topics(Some(topics.clone()));
        let fetched = desk.ask(version, &request);
        let partitions =
            fetched.topics.iter().map(|topic| topic.partitions.iter().map(|p| p.partition_index).collect());
        assert_eq!(partitions.collect::<Vec<Vec<i32>>>(), [vec![1, 0], vec![0], vec![2]]);
    }
    for version in 8..=9 {
        let fetched = desk.ask(version, &fetch_new(&["g", "none", "g"], None));
        let seen: Vec<_> = fetched.groups.iter().map(|group| (&**group.group_id, group.topics.len())).collect();
        assert_eq!(seen, [("g", 1), ("none", 0)]);
    }
}
