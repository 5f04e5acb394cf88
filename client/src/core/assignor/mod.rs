//! The classic assignors: pure functions of the members' subscriptions and the topics' partitions.

pub mod protocol;
mod range;
mod round_robin;
mod sticky;

use std::collections::BTreeMap;
use std::sync::Arc;

use self::protocol::Subscription;
use crate::config::Assignor;
use crate::model::TopicPartition;

/// A member as the leader of its group sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The id that the coordinator gave.
    pub id: String,
    /// The static instance id, if it has one.
    pub instance_id: Option<String>,
    /// What it told.
    pub subscription: Subscription,
}

impl Member {
    /// What members are ordered by: static ones first, by their instance ids, for these do not change at a restart.
    fn rank(&self) -> (bool, &str) {
        self.instance_id.as_deref().map_or((true, self.id.as_str()), |instance| (false, instance))
    }

    fn wants(&self, topic: &str) -> bool {
        self.subscription.topics.iter().any(|wanted| **wanted == *topic)
    }
}

/// The partitions of each member, by member id; every member has an entry.
pub type Assignment = BTreeMap<String, Vec<TopicPartition>>;

/// Number of partitions per topic; a topic that does not exist is missing.
pub type PartitionCounts = BTreeMap<Arc<str>, usize>;

/// Spreads the partitions over the members.
#[must_use]
pub fn assign(assignor: Assignor, members: &[Member], counts: &PartitionCounts) -> Assignment {
    let mut ordered: Vec<&Member> = members.iter().collect();
    ordered.sort_by(|a, b| a.rank().cmp(&b.rank()));
    let mut assignment = match assignor {
        Assignor::Range => range::assign(&ordered, counts),
        Assignor::RoundRobin => round_robin::assign(&ordered, counts),
        Assignor::CooperativeSticky => sticky::assign(&ordered, counts),
    };
    assignment.values_mut().for_each(|partitions| partitions.sort());
    assignment
}

/// The name under which an assignor takes part in JoinGroup.
#[must_use]
pub const fn name(assignor: Assignor) -> &'static str {
    match assignor {
        Assignor::Range => "range",
        Assignor::RoundRobin => "roundrobin",
        Assignor::CooperativeSticky => "cooperative-sticky",
    }
}

/// The assignor of this name.
#[must_use]
pub fn by_name(text: &str) -> Option<Assignor> {
    [Assignor::Range, Assignor::RoundRobin, Assignor::CooperativeSticky].into_iter().find(|a| name(*a) == text)
}

fn empty(members: &[&Member]) -> Assignment {
    members.iter().map(|member| (member.id.clone(), Vec::new())).collect()
}

fn partitions_of(topic: &Arc<str>, count: usize) -> impl Iterator<Item = TopicPartition> + use<> {
    let topic = Arc::clone(topic);
    (0..i32::try_from(count).unwrap_or(i32::MAX))
        .map(move |partition| TopicPartition::new(Arc::clone(&topic), partition))
}

#[cfg(test)]
mod tests;
