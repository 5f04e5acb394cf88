//! Moves of the partition: what the metadata stores of the brokers would do about it.

use millrace_raft::{Voter, VoterRole};

use super::Cluster;
use super::cluster::key;
use crate::replica::{Promises, ReplicaEvent, TargetVoters};

impl Cluster {
    /// Has these brokers be the replicas: those that have nothing yet begin, the others keep what they have.
    pub(crate) fn move_to(&mut self, to: &[usize], epoch: u64) {
        let voter = |at: &usize| Voter { key: self.nodes[*at].storage.me().key, role: VoterRole::Data };
        self.target = Some(TargetVoters { voters: to.iter().map(voter).collect(), epoch: Some(epoch) });
        for at in to {
            self.gone.remove(at);
            if !self.runs(*at) {
                self.start(*at);
            }
        }
        (0..self.nodes.len()).for_each(|at| self.tell_target(at));
    }

    /// The metadata say that the last target is reached: who is not named by it has to go.
    pub(crate) fn finish_move(&mut self) {
        let Some(target) = &mut self.target else { return };
        assert_eq!(self.reached.last().copied(), target.epoch, "somebody has said so");
        target.epoch = None;
        let stays = |at: &usize| target.voters.iter().any(|voter| voter.key.broker == key(*at).broker);
        self.gone = (0..self.nodes.len()).filter(|at| !stays(at)).collect();
        (0..self.nodes.len()).for_each(|at| self.tell_target(at));
    }

    /// Whether the members are exactly these brokers, and everybody who runs among them knows.
    pub(crate) fn are_members(&self, brokers: &[usize]) -> bool {
        brokers.iter().filter_map(|at| self.nodes[*at].replica.as_ref()).all(|replica| {
            let members = replica.consensus().configuration();
            members.learners.is_empty()
                && members.voters.len() == brokers.len()
                && brokers.iter().all(|at| members.is_data_voter(self.nodes[*at].storage.me().key))
        })
    }

    /// Whether a broker is a voter by what the leader knows.
    pub(crate) fn votes(&self, at: usize) -> bool {
        let leader = self.leader().and_then(|leader| self.nodes[leader].replica.as_ref());
        leader.is_some_and(|leader| leader.consensus().configuration().voter(self.nodes[at].storage.me().key).is_some())
    }

    /// Tells what a broker finds in its metadata.
    pub(super) fn tell_target(&mut self, at: usize) {
        if let Some(target) = self.target.clone() {
            self.step(at, ReplicaEvent::Target(target));
            let retires = self.gone.contains(&at);
            self.step(at, ReplicaEvent::Retire(retires));
            let leader = self.leader().filter(|leader| retires && *leader != at);
            if let Some(leader) = leader {
                let epoch = self.view(leader).epoch();
                let leader = self.nodes[leader].storage.me().key;
                self.step(at, ReplicaEvent::Hint { leader, epoch });
            }
        }
    }

    /// Removes what is left of a replica that has retired.
    pub(super) fn remove_retired(&mut self, at: usize) {
        let node = &mut self.nodes[at];
        let Some(replica) = node.replica.as_ref().filter(|replica| node.stopped && replica.is_retired()) else {
            return;
        };
        let promises = Promises::of_retired(replica.consensus());
        node.replica = None;
        node.retired = true;
        node.hears_nobody();
        node.storage.retire(self.partition, &promises);
        self.hear();
    }
}
