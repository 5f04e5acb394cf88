//! Where the replicas of a topic's partitions go when the client leaves it to the cluster.

use millrace_types::BrokerId;

use crate::image::Image;
use crate::topic::Assignment;

/// What is to be placed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Placement {
    /// Number of the first partition.
    pub first: i32,
    /// Number of partitions.
    pub partitions: i32,
    /// Replicas of each; at most the number of brokers.
    pub replication_factor: i16,
    /// Spreads the first replicas of different topics over the brokers.
    pub seed: u64,
}

/// Places partitions on the brokers of `image`: the first replica goes round the brokers, the further ones to the
/// brokers that follow, with a shift that grows with each round, racks alternating. The result is a function of the
/// arguments alone.
#[must_use]
pub fn place(image: &Image, placement: Placement) -> Vec<Assignment> {
    let order = by_alternating_racks(image);
    let brokers = order.len();
    let replicas = usize::try_from(placement.replication_factor).unwrap_or(0).min(brokers);
    let first = usize::try_from(placement.first).unwrap_or(0);
    let count = usize::try_from(placement.partitions).unwrap_or(0);
    let start = usize::try_from(placement.seed % u64::try_from(brokers.max(1)).unwrap_or(1)).unwrap_or(0);
    let assignment = |number: usize| {
        let leader = (start + number) % brokers;
        let shift = start + number / brokers;
        let mut chosen = vec![order[leader].0];
        while chosen.len() < replicas {
            chosen.push(follower(&order, leader, shift, &chosen));
        }
        Assignment::new(chosen)
    };
    if brokers == 0 || replicas == 0 {
        return Vec::new();
    }
    (first..first + count).map(assignment).collect()
}

type Racked<'a> = (BrokerId, Option<&'a str>);

/// The next replica: the first broker after the leader, shifted, that is not chosen and, if there is one, on a rack
/// that is not chosen either.
fn follower(order: &[Racked<'_>], leader: usize, shift: usize, chosen: &[BrokerId]) -> BrokerId {
    let brokers = order.len();
    // The followers' ring has no leader in it, so that every shift gives another broker.
    let ring = (0..brokers - 1).map(|step| order[(leader + 1 + (shift + step) % (brokers - 1)) % brokers]);
    let racks: Vec<Option<&str>> = order.iter().filter(|(id, _)| chosen.contains(id)).map(|(_, rack)| *rack).collect();
    let free: Vec<Racked<'_>> = ring.filter(|(id, _)| !chosen.contains(id)).collect();
    let fresh = free.iter().find(|(_, rack)| rack.is_none() || !racks.contains(rack));
    fresh.or_else(|| free.first()).map_or(order[leader].0, |(id, _)| *id)
}

/// The brokers so that neighbours are on different racks as far as that is possible.
fn by_alternating_racks(image: &Image) -> Vec<Racked<'_>> {
    let mut racks: std::collections::BTreeMap<Option<&str>, Vec<BrokerId>> = std::collections::BTreeMap::new();
    for broker in image.brokers().values() {
        racks.entry(broker.rack.as_deref()).or_default().push(broker.id);
    }
    let longest = racks.values().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(|at| racks.iter().filter_map(move |(rack, ids)| ids.get(at).map(|id| (*id, *rack)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::{Change, Entry};
    use crate::image::tests::{broker, image};
    use std::collections::{BTreeMap, BTreeSet};

    #[test]
    fn replicas_are_distinct_and_leaders_even() {
        for brokers in 1..=7_i32 {
            let image = image(brokers, &[]);
            for factor in 1..=i16::try_from(brokers).unwrap() {
                let wanted = Placement { first: 3, partitions: 42, replication_factor: factor, seed: 11 };
                let placed = place(&image, wanted);
                assert_eq!(placed.len(), 42);
                let mut leads: BTreeMap<BrokerId, i32> = BTreeMap::new();
                for assignment in &placed {
                    let distinct: BTreeSet<_> = assignment.replicas.iter().collect();
                    assert_eq!(distinct.len(), usize::try_from(factor).unwrap());
                    *leads.entry(assignment.replicas[0]).or_default() += 1;
                }
                let (low, high) = (leads.values().min().unwrap(), leads.values().max().unwrap());
                assert!(high - low <= 1, "{leads:?}");
                assert_eq!(leads.len(), usize::try_from(brokers).unwrap());
            }
        }
    }

    #[test]
    fn replicas_are_on_different_racks() {
        let mut image = image(0, &[]);
        let racked = |id: i32| {
            let mut broker = broker(id);
            broker.rack = Some(format!("r{}", (id - 1) / 2));
            Change::RegisterBroker(broker)
        };
        crate::apply(&mut image, &Entry::new((1..=6).map(racked).collect())).unwrap();
        for assignment in place(&image, Placement { first: 0, partitions: 60, replication_factor: 3, seed: 5 }) {
            let racks: BTreeSet<_> = assignment.replicas.iter().map(|id| (id.0 - 1) / 2).collect();
            assert_eq!(racks.len(), 3, "{assignment:?}");
        }
    }

    #[test]
    fn without_brokers_nothing_is_placed() {
        let image = image(0, &[]);
        assert_eq!(place(&image, Placement { first: 0, partitions: 3, replication_factor: 1, seed: 0 }), []);
    }
}
