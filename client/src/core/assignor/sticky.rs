//! Cooperative-sticky: balanced, moving as few partitions as possible, and never from one member to another at once.
//!
//! 1. Each member keeps the partitions it owns and still wants; of two that claim one, the later generation has it,
//!    and of the same generation neither (one of them has lost it without knowing).
//! 2. What nobody has goes to the member with the fewest that wants it.
//! 3. While a member has at least two more than another that wants one of them, that one moves. Each move lowers the
//!    sum of the squares of the members' counts, so this ends.
//! 4. A partition that would change hands is left out: its owner gives it up, the group rebalances again, and step 2
//!    finds it free (KIP-429).

use std::collections::{BTreeMap, BTreeSet};

use super::{Assignment, Member, PartitionCounts, partitions_of};
use crate::model::TopicPartition;

/// The plan under construction: partitions by the place of their member.
struct Plan<'a> {
    members: &'a [&'a Member],
    holdings: Vec<BTreeSet<TopicPartition>>,
    wanted: Vec<BTreeSet<&'a str>>,
}

pub(super) fn assign(members: &[&Member], counts: &PartitionCounts) -> Assignment {
    let wanted = members.iter().map(|m| m.subscription.topics.iter().map(|topic| &**topic).collect()).collect();
    let mut plan = Plan { members, holdings: vec![BTreeSet::new(); members.len()], wanted };
    let claims = plan.keep_owned(counts);
    plan.give_out_free(counts);
    plan.balance();
    plan.without_transfers(&claims)
}

impl Plan<'_> {
    fn wants(&self, at: usize, partition: &TopicPartition) -> bool {
        self.wanted.get(at).is_some_and(|topics| topics.contains(&*partition.topic))
    }

    fn count(&self, at: usize) -> usize {
        self.holdings.get(at).map_or(0, BTreeSet::len)
    }

    /// Step 1. Returns who owns what at the moment, also where the plan takes it away.
    fn keep_owned(&mut self, counts: &PartitionCounts) -> BTreeMap<TopicPartition, usize> {
        let mut claims: BTreeMap<&TopicPartition, (i32, Option<usize>)> = BTreeMap::new();
        for (at, member) in self.members.iter().enumerate() {
            let generation = member.subscription.generation;
            for partition in &member.subscription.owned {
                let exists = counts
                    .get(&partition.topic)
                    .is_some_and(|count| usize::try_from(partition.partition).is_ok_and(|number| number < *count));
                if !exists {
                    continue;
                }
                match claims.get_mut(partition) {
                    None => {
                        claims.insert(partition, (generation, Some(at)));
                    }
                    Some(claim) if generation > claim.0 => *claim = (generation, Some(at)),
                    Some(claim) if generation == claim.0 => claim.1 = None,
                    Some(_) => {}
                }
            }
        }
        let mut owners = BTreeMap::new();
        for (partition, (_, owner)) in claims {
            let Some(at) = owner else { continue };
            owners.insert(partition.clone(), at);
            if self.wants(at, partition)
                && let Some(holding) = self.holdings.get_mut(at)
            {
                holding.insert(partition.clone());
            }
        }
        owners
    }

    /// Step 2.
    fn give_out_free(&mut self, counts: &PartitionCounts) {
        let held: BTreeSet<TopicPartition> = self.holdings.iter().flatten().cloned().collect();
        let all = counts.iter().flat_map(|(topic, count)| partitions_of(topic, *count));
        let mut free: Vec<(usize, TopicPartition)> = all
            .filter(|partition| !held.contains(partition))
            .map(|partition| ((0..self.members.len()).filter(|at| self.wants(*at, &partition)).count(), partition))
            .collect();
        // Those that few want come first, so that the rest evens out what they do to the balance.
        free.sort();
        for (_, partition) in free {
            let wanting = (0..self.members.len()).filter(|at| self.wants(*at, &partition));
            if let Some(at) = wanting.min_by_key(|at| self.count(*at))
                && let Some(holding) = self.holdings.get_mut(at)
            {
                holding.insert(partition);
            }
        }
    }

    /// Step 3.
    fn balance(&mut self) {
        while let Some((from, to, partition)) = self.next_move() {
            if let Some(holding) = self.holdings.get_mut(from) {
                holding.remove(&partition);
            }
            if let Some(holding) = self.holdings.get_mut(to) {
                holding.insert(partition);
            }
        }
    }

    /// A partition that a member with many can pass to one with at least two fewer.
    fn next_move(&self) -> Option<(usize, usize, TopicPartition)> {
        let mut by_count: Vec<usize> = (0..self.members.len()).collect();
        by_count.sort_by_key(|at| (self.count(*at), *at));
        for from in by_count.iter().rev() {
            for to in by_count.iter().take_while(|to| self.count(**to) + 2 <= self.count(*from)) {
                let holding = self.holdings.get(*from)?;
                if let Some(partition) = holding.iter().rev().find(|partition| self.wants(*to, partition)) {
                    return Some((*from, *to, partition.clone()));
                }
            }
        }
        None
    }

    /// Step 4.
    fn without_transfers(self, owners: &BTreeMap<TopicPartition, usize>) -> Assignment {
        let rows = self.members.iter().zip(self.holdings).enumerate().map(|(at, (member, holding))| {
            let free = |partition: &TopicPartition| owners.get(partition).is_none_or(|owner| *owner == at);
            (member.id.clone(), holding.into_iter().filter(free).collect())
        });
        rows.collect()
    }
}
