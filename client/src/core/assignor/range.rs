//! Range: neighbouring partitions of each topic, by the order of the members.

use super::{Assignment, Member, PartitionCounts, empty, partitions_of};

pub(super) fn assign(members: &[&Member], counts: &PartitionCounts) -> Assignment {
    let mut assignment = empty(members);
    for (topic, count) in counts {
        let wanting: Vec<&&Member> = members.iter().filter(|member| member.wants(topic)).collect();
        if wanting.is_empty() {
            continue;
        }
        // The first `count % n` members get one partition more than the others.
        let (share, more) = (count / wanting.len(), count % wanting.len());
        let mut partitions = partitions_of(topic, *count);
        for (at, member) in wanting.into_iter().enumerate() {
            if let Some(assigned) = assignment.get_mut(&member.id) {
                assigned.extend(partitions.by_ref().take(share + usize::from(at < more)));
            }
        }
    }
    assignment
}
