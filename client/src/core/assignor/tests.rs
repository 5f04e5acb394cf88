//! The assignors against known vectors and their promises.

use proptest::prelude::*;

use super::*;

fn member(id: &str, topics: &[&str]) -> Member {
    let topics = topics.iter().map(|topic| Arc::from(*topic)).collect();
    Member {
        id: id.to_owned(),
        instance_id: None,
        subscription: Subscription { topics, owned: Vec::new(), generation: -1 },
    }
}

fn counts(topics: &[(&str, usize)]) -> PartitionCounts {
    topics.iter().map(|(topic, count)| (Arc::from(*topic), *count)).collect()
}

fn show(assignment: &Assignment) -> Vec<String> {
    let list = |partitions: &[TopicPartition]| partitions.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ");
    assignment.iter().map(|(member, partitions)| format!("{member}: {}", list(partitions))).collect()
}

#[test]
fn range_gives_the_first_members_one_more() {
    // Vectors of the example in the documentation of Java's RangeAssignor.
    let members = [member("C1", &["t0", "t1"]), member("C0", &["t0", "t1"])];
    let assignment = assign(Assignor::Range, &members, &counts(&[("t0", 3), ("t1", 3)]));
    assert_eq!(show(&assignment), ["C0: t0-0 t0-1 t1-0 t1-1", "C1: t0-2 t1-2"]);
}

#[test]
fn range_puts_static_members_first() {
    let mut second = member("zzz", &["t"]);
    second.instance_id = Some("i1".to_owned());
    let members = [member("aaa", &["t"]), second];
    let assignment = assign(Assignor::Range, &members, &counts(&[("t", 3)]));
    assert_eq!(show(&assignment), ["aaa: t-2", "zzz: t-0 t-1"]);
}

#[test]
fn round_robin_goes_over_all_topics() {
    // Vectors of the two examples in the documentation of Java's RoundRobinAssignor.
    let members = [member("C0", &["t0", "t1"]), member("C1", &["t0", "t1"])];
    let assignment = assign(Assignor::RoundRobin, &members, &counts(&[("t0", 3), ("t1", 3)]));
    assert_eq!(show(&assignment), ["C0: t0-0 t0-2 t1-1", "C1: t0-1 t1-0 t1-2"]);
    let members = [member("C0", &["t0"]), member("C1", &["t0", "t1"]), member("C2", &["t0", "t1", "t2"])];
    let assignment = assign(Assignor::RoundRobin, &members, &counts(&[("t0", 1), ("t1", 2), ("t2", 3)]));
    assert_eq!(show(&assignment), ["C0: t0-0", "C1: t1-0", "C2: t1-1 t2-0 t2-1 t2-2"]);
}

#[test]
fn a_topic_nobody_wants_or_nobody_made_is_left_out() {
    for assignor in [Assignor::Range, Assignor::RoundRobin, Assignor::CooperativeSticky] {
        let members = [member("C0", &["missing", "t"])];
        let assignment = assign(assignor, &members, &counts(&[("t", 1), ("unwanted", 2)]));
        assert_eq!(show(&assignment), ["C0: t-0"], "{assignor:?}");
        assert!(assign(assignor, &[], &counts(&[("t", 1)])).is_empty());
    }
}

/// What the members own after `assignment`.
fn next_round(members: &[Member], assignment: &Assignment, generation: i32) -> Vec<Member> {
    let mut members = members.to_vec();
    for member in &mut members {
        member.subscription.owned = assignment.get(&member.id).cloned().unwrap_or_default();
        member.subscription.generation = generation;
    }
    members
}

#[test]
fn sticky_moves_in_two_phases_when_a_member_joins() {
    let counts = counts(&[("t", 6)]);
    let one = [member("A", &["t"])];
    let alone = assign(Assignor::CooperativeSticky, &one, &counts);
    assert_eq!(show(&alone), ["A: t-0 t-1 t-2 t-3 t-4 t-5"]);
    let mut two = next_round(&one, &alone, 1);
    two.push(member("B", &["t"]));
    let first = assign(Assignor::CooperativeSticky, &two, &counts);
    assert_eq!(show(&first), ["A: t-0 t-1 t-2", "B: "], "what moves belongs to nobody for a moment");
    let two = next_round(&two, &first, 2);
    let second = assign(Assignor::CooperativeSticky, &two, &counts);
    assert_eq!(show(&second), ["A: t-0 t-1 t-2", "B: t-3 t-4 t-5"]);
    let settled = next_round(&two, &second, 3);
    assert_eq!(assign(Assignor::CooperativeSticky, &settled, &counts), second, "and then it rests");
    let left = assign(Assignor::CooperativeSticky, &settled[1..], &counts);
    assert_eq!(show(&left), ["B: t-0 t-1 t-2 t-3 t-4 t-5"], "what a member leaves is taken over at once");
}

#[test]
fn sticky_believes_the_later_generation() {
    let owner = |id, generation| {
        let mut member = member(id, &["t"]);
        member.subscription.owned = vec![TopicPartition::new("t", 0)];
        member.subscription.generation = generation;
        member
    };
    let counts = counts(&[("t", 1)]);
    let assignment = assign(Assignor::CooperativeSticky, &[owner("A", 4), owner("B", 5)], &counts);
    assert_eq!(show(&assignment), ["A: ", "B: t-0"]);
}

proptest! {
    /// Subscriptions, earlier owners and numbers of partitions at random.
    #[test]
    fn sticky_becomes_complete_balanced_and_still(
        topics in proptest::collection::vec(0usize..7, 1..4),
        wants in proptest::collection::vec(1u8..15, 1..6),
        owners in proptest::collection::vec(0usize..6, 0..20),
    ) {
        let names = ["a", "b", "c", "d"];
        let counts: PartitionCounts = topics.iter().zip(names).map(|(count, name)| (Arc::from(name), *count)).collect();
        let mut members: Vec<Member> = wants
            .iter()
            .enumerate()
            .map(|(at, bits)| {
                let topics: Vec<&str> = (0..4).filter(|bit| bits & (1 << bit) != 0).map(|bit| names[bit]).collect();
                member(&format!("m{at}"), &topics)
            })
            .collect();
        let all: Vec<TopicPartition> = counts.iter().flat_map(|(topic, count)| partitions_of(topic, *count)).collect();
        for (partition, owner) in all.iter().zip(&owners) {
            let at = owner % members.len();
            members[at].subscription.owned.push(partition.clone());
        }
        let mut assignment = assign(Assignor::CooperativeSticky, &members, &counts);
        for (id, partitions) in &assignment {
            for partition in partitions {
                let taken = members.iter().any(|m| m.id != *id && m.subscription.owned.contains(partition));
                prop_assert!(!taken, "{partition} moved to {id} while another member owned it");
            }
        }
        for round in 0..4 {
            members = next_round(&members, &assignment, round);
            assignment = assign(Assignor::CooperativeSticky, &members, &counts);
        }
        members = next_round(&members, &assignment, 9);
        prop_assert_eq!(&assign(Assignor::CooperativeSticky, &members, &counts), &assignment, "it rests");
        for partition in &all {
            let wanted = members.iter().any(|member| member.wants(&partition.topic));
            let holders = assignment.values().filter(|held| held.contains(partition)).count();
            prop_assert_eq!(holders, usize::from(wanted), "{}", partition);
        }
        for rich in &members {
            for poor in &members {
                let movable = assignment[&rich.id].iter().any(|partition| poor.wants(&partition.topic));
                prop_assert!(!movable || assignment[&rich.id].len() < assignment[&poor.id].len() + 2);
            }
        }
    }
}
