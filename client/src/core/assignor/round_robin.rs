//! Round-robin: one partition after the other goes to the next member that wants its topic.

use super::{Assignment, Member, PartitionCounts, empty, partitions_of};

pub(super) fn assign(members: &[&Member], counts: &PartitionCounts) -> Assignment {
    let mut assignment = empty(members);
    let mut next = 0;
    for (topic, count) in counts {
        for partition in partitions_of(topic, *count) {
            let wanting = (0..members.len())
                .map(|step| (next + step) % members.len())
                .find(|at| members.get(*at).is_some_and(|member| member.wants(topic)));
            let Some(at) = wanting else { break };
            if let Some(assigned) = members.get(at).and_then(|member| assignment.get_mut(&member.id)) {
                assigned.push(partition);
            }
            next = at + 1;
        }
    }
    assignment
}
