//! Where the replicas of a topic's partitions go when the client leaves it to the cluster.

use millrace_types::BrokerId;

use crate::broker::Broker;
use crate::config::WitnessPlacement;
use crate::image::Image;
use crate::mutation::{Mutation, broken};
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

/// Places partitions on the brokers of `image` that hold data: the first replica goes round the brokers, the further ones to
/// the brokers that follow, with a shift that grows with each round, racks alternating. An even number of replicas gets a
/// witness where there is a broker for it. The result is a function of the arguments alone.
#[must_use]
pub fn place(image: &Image, placement: Placement) -> Vec<Assignment> {
    let order = by_alternating_racks(replica_brokers(image));
    let witnesses = Witnesses::of(image);
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
        witnesses.beside(chosen, start + number)
    };
    if brokers == 0 || replicas == 0 {
        return Vec::new();
    }
    (first..first + count).map(assignment).collect()
}

/// The brokers that replicas may be placed on.
fn replica_brokers(image: &Image) -> impl Iterator<Item = &Broker> {
    let hold = |broker: &&Broker| broker.holds_data() || broken(Mutation::ReplicaOnWitness);
    image.brokers().values().filter(hold)
}

type Racked<'a> = (BrokerId, Option<&'a str>);

/// The brokers that can hold witnesses, and the rack of each broker.
#[derive(Debug)]
pub(crate) struct Witnesses<'a> {
    image: &'a Image,
    /// Those that hold nothing else come first; of the others there are some only where they may be taken.
    dedicated: Vec<Racked<'a>>,
    others: Vec<Racked<'a>>,
}

impl<'a> Witnesses<'a> {
    /// Those of `image`.
    pub(crate) fn of(image: &'a Image) -> Self {
        let dedicated = by_alternating_racks(image.brokers().values().filter(|broker| !broker.holds_data()));
        let others = match image.defaults().witness_placement {
            WitnessPlacement::Dedicated if !broken(Mutation::WitnessOnAnyBroker) => Vec::new(),
            WitnessPlacement::Dedicated | WitnessPlacement::Any => by_alternating_racks(image.data_brokers()),
        };
        let dedicated = if broken(Mutation::PassOverDedicated) { Vec::new() } else { dedicated };
        Self { image, dedicated, others }
    }

    /// Replicas on these brokers, with a witness beside an even number of them: half of the voters could else be lost to
    /// the loss of one broker. `turn` spreads witnesses over the brokers; a rack that has no replica is preferred.
    pub(crate) fn beside(&self, replicas: Vec<BrokerId>, turn: usize) -> Assignment {
        let witness = self.choose(&replicas, &replicas, turn);
        Assignment { witness, ..Assignment::new(replicas) }
    }

    /// The witness beside these replicas, if there shall be one, on none of the brokers that are `taken`.
    pub(crate) fn choose(&self, replicas: &[BrokerId], taken: &[BrokerId], turn: usize) -> Option<BrokerId> {
        let racks: Vec<Option<&str>> =
            replicas.iter().filter_map(|id| self.image.broker(*id)).map(|broker| broker.rack.as_deref()).collect();
        let choose = |brokers: &[Racked<'_>]| {
            let is_free = |(id, _): &&Racked<'_>| !taken.contains(id) || broken(Mutation::WitnessOnReplica);
            let free: Vec<&Racked<'_>> = brokers.iter().filter(is_free).collect();
            let is_apart = |(_, rack): &Racked<'_>| rack.is_none() || !racks.contains(rack);
            let apart: Vec<&Racked<'_>> =
                free.iter().copied().filter(|one| is_apart(one) || broken(Mutation::WitnessInAnyRack)).collect();
            let from = if apart.is_empty() { free } else { apart };
            let turn = if broken(Mutation::WitnessOnFirst) { 0 } else { turn };
            from.get(turn % from.len().max(1)).map(|(id, _)| *id)
        };
        let is_even = replicas.len().is_multiple_of(2) || broken(Mutation::WitnessBesideOdd);
        let wants = is_even && !broken(Mutation::NoWitness);
        wants.then(|| choose(&self.dedicated).or_else(|| choose(&self.others))).flatten()
    }
}

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
fn by_alternating_racks<'a>(brokers: impl Iterator<Item = &'a Broker>) -> Vec<Racked<'a>> {
    let mut racks: std::collections::BTreeMap<Option<&str>, Vec<BrokerId>> = std::collections::BTreeMap::new();
    for broker in brokers {
        racks.entry(broker.rack.as_deref()).or_default().push(broker.id);
    }
    let longest = racks.values().map(Vec::len).max().unwrap_or(0);
    (0..longest).flat_map(|at| racks.iter().filter_map(move |(rack, ids)| ids.get(at).map(|id| (*id, *rack)))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BrokerRole;
    use crate::entry::{Change, Entry};
    use crate::image::tests::{broker, image};
    use crate::mutation::assert_noticed;
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

    /// An image of data brokers 1 to `data` and witnesses 101 to 100 + `witnesses`.
    fn with_witnesses(data: i32, witnesses: i32, config: &[(&str, &str)]) -> Image {
        let mut image = image(data, config);
        let witness = |id: i32| Change::RegisterBroker(Broker { role: BrokerRole::Witness, ..broker(100 + id) });
        crate::apply(&mut image, &Entry::new((1..=witnesses).map(witness).collect())).unwrap();
        image
    }

    fn placed(image: &Image, factor: i16) -> Vec<Assignment> {
        place(image, Placement { first: 0, partitions: 12, replication_factor: factor, seed: 5 })
    }

    #[test]
    fn an_even_number_of_replicas_has_a_witness_in_turn() {
        let image = with_witnesses(3, 2, &[]);
        for factor in 1..=3 {
            let mut held: BTreeMap<BrokerId, usize> = BTreeMap::new();
            for assignment in placed(&image, factor) {
                assert!(assignment.replicas.iter().all(|id| id.0 <= 3), "{assignment:?}");
                assert_eq!(assignment.witness.is_some(), factor == 2, "{assignment:?}");
                assignment.witness.into_iter().for_each(|id| *held.entry(id).or_default() += 1);
            }
            let each = if factor == 2 { vec![(BrokerId(101), 6), (BrokerId(102), 6)] } else { Vec::new() };
            assert_eq!(held.into_iter().collect::<Vec<_>>(), each);
        }
        assert_eq!(
            place(&image, Placement { first: 0, partitions: 1, replication_factor: 9, seed: 0 })[0].replicas.len(),
            3
        );
    }

    #[test]
    fn a_data_broker_holds_witnesses_only_where_that_is_set() {
        assert!(placed(&image(3, &[]), 2).iter().all(|assignment| assignment.witness.is_none()));
        let any = [("witness.placement", "any")];
        for assignment in placed(&image(3, &any), 2) {
            let distinct: BTreeSet<_> = assignment.hosts().collect();
            assert_eq!(distinct.len(), 3, "{assignment:?}");
        }
        assert!(placed(&image(2, &any), 2).iter().all(|assignment| assignment.witness.is_none()), "no broker is spare");
        let dedicated = placed(&with_witnesses(3, 1, &any), 2);
        assert!(dedicated.iter().all(|assignment| assignment.witness == Some(BrokerId(101))), "{dedicated:?}");
    }

    #[test]
    fn a_witness_stands_in_a_rack_of_its_own_where_there_is_one() {
        let mut image = image(0, &[]);
        let stands = |id: i32, rack: &str, role| {
            Change::RegisterBroker(Broker { rack: Some(rack.to_owned()), role, ..broker(id) })
        };
        let (data, witness) = (BrokerRole::Data, BrokerRole::Witness);
        let brokers =
            vec![stands(1, "a", data), stands(2, "b", data), stands(3, "a", witness), stands(4, "c", witness)];
        crate::apply(&mut image, &Entry::new(brokers)).unwrap();
        assert!(placed(&image, 2).iter().all(|assignment| assignment.witness == Some(BrokerId(4))));
    }

    #[test]
    fn a_broken_rule_of_placement_is_noticed() {
        assert_noticed(
            "a_broken_rule_of_placement_is_noticed",
            &[
                (Mutation::ReplicaOnWitness, an_even_number_of_replicas_has_a_witness_in_turn),
                (Mutation::WitnessBesideOdd, an_even_number_of_replicas_has_a_witness_in_turn),
                (Mutation::NoWitness, an_even_number_of_replicas_has_a_witness_in_turn),
                (Mutation::WitnessOnReplica, a_data_broker_holds_witnesses_only_where_that_is_set),
                (Mutation::WitnessOnAnyBroker, a_data_broker_holds_witnesses_only_where_that_is_set),
                (Mutation::PassOverDedicated, a_data_broker_holds_witnesses_only_where_that_is_set),
                (Mutation::WitnessInAnyRack, a_witness_stands_in_a_rack_of_its_own_where_there_is_one),
                (Mutation::WitnessOnFirst, an_even_number_of_replicas_has_a_witness_in_turn),
            ],
        );
    }

    #[test]
    fn without_brokers_nothing_is_placed() {
        let image = image(0, &[]);
        assert_eq!(place(&image, Placement { first: 0, partitions: 3, replication_factor: 1, seed: 0 }), []);
    }
}
