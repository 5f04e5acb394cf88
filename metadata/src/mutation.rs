//! Rules of the placement and of the metadata's commands that a test can break on purpose, to prove that the tests would notice.

/// A rule that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mutation {
    /// Replicas are placed on brokers that hold witnesses alone.
    ReplicaOnWitness,
    /// An odd number of replicas gets a witness too.
    WitnessBesideOdd,
    /// An even number of replicas gets no witness.
    NoWitness,
    /// A witness stands where one of the replicas does.
    WitnessOnReplica,
    /// A broker that holds data holds witnesses, whatever `witness.placement` says.
    WitnessOnAnyBroker,
    /// Brokers that hold witnesses alone are passed over where others may hold them.
    PassOverDedicated,
    /// A witness stands in a rack that one of the replicas is in.
    WitnessInAnyRack,
    /// All witnesses stand on the first broker that there is for them.
    WitnessOnFirst,
    /// A target is taken for reached although an earlier one was (consensus rules, 8.3).
    BelieveLateTarget,
}

millrace_types::mutation_switch!(Mutation);
