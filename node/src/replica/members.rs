//! Who shall vote: a leader takes the members, one step at a time, to those that the metadata log names.
//!
//! The log names brokers with the directories that they have registered. A broker whose disk was wiped has another one: the
//! replica there is no member. It becomes a learner and catches up; then the one that is gone loses its vote, and it gets its
//! own. No step is remembered: each leader finds the next one by comparing the members with what they shall be
//! (consensus rules, 8.3).

use std::time::Duration;

use millrace_raft::{Change, Configuration, ConfigurationId, Event, ReplicaKey, Voter, VoterRole};
use millrace_types::{Instant, Now};

use super::core::Phase;
use super::mutation::{Mutation, broken};
use super::{Replica, ReplicaEffect, TargetVoters};

/// How soon a step that did not fit the moment is tried again, and that the target is reached is told again.
const RETRY: Duration = Duration::from_millis(500);

/// The members that there shall be, and the step towards them.
#[derive(Debug)]
pub(super) struct Target {
    /// Who shall vote.
    shall: TargetVoters,
    /// The members that the last step was tried on.
    tried: Option<ConfigurationId>,
    /// When a step is tried again.
    pub(super) again: Instant,
}

/// What follows from the members and who they shall be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// They are who they shall be.
    None,
    /// Somebody has to catch up first.
    Wait,
    /// This.
    Take(Change),
    /// Lead no longer: who leads cannot take its own vote away.
    HandOver(ReplicaKey),
}

/// What a leader knows of the members.
struct Known<'a> {
    members: &'a Configuration,
    me: ReplicaKey,
    /// In-sync replicas that could lead.
    successors: Vec<ReplicaKey>,
    is_heard: &'a dyn Fn(ReplicaKey) -> bool,
    has_caught_up: &'a dyn Fn(ReplicaKey) -> bool,
}

impl Default for Target {
    fn default() -> Self {
        Self { shall: TargetVoters::default(), tried: None, again: Instant::NEVER }
    }
}

impl Target {
    pub(super) fn set(&mut self, shall: TargetVoters) {
        if self.shall != shall {
            *self = Self { shall, ..Self::default() };
        }
    }

    /// The data voters that there shall be.
    fn data(&self) -> impl Iterator<Item = Voter> + '_ {
        self.shall.voters.iter().copied().filter(|voter| voter.role == VoterRole::Data)
    }

    /// The next step from what is known: one replica after the other, each as a learner first, and never more voters than one
    /// above what there shall be.
    fn step(&self, known: &Known<'_>) -> Step {
        let Known { members, is_heard, .. } = known;
        let is_meant = |learner: &ReplicaKey| self.data().any(|voter| voter.key == *learner);
        if self.shall.voters.is_empty() {
            return Step::None;
        }
        let stray = members.learners.iter().find(|learner| !is_meant(learner));
        if let Some(stray) = stray.filter(|_| !broken(Mutation::KeepStrayLearner)) {
            return Step::Take(Change::RemoveLearner(*stray));
        }
        if let Some(becomes) = self.data().find(|voter| members.is_witness(voter.key)) {
            // What it has promised as a witness must not count any more when it begins with an empty log.
            return Step::Take(Change::RemoveVoter(becomes.key));
        }
        let gone: Vec<Voter> =
            members.voters.iter().filter(|voter| !self.shall.voters.contains(voter)).copied().collect();
        if let Some(key) =
            members.learners.iter().copied().find(|key| (known.has_caught_up)(*key) || broken(Mutation::VacateEarly))
        {
            return Step::Take(Self::joins(key, &gone, known));
        }
        let gone_data = || gone.iter().copied().filter(|voter| voter.role == VoterRole::Data);
        if members.data_voters().count() > self.data().count() && gone_data().next().is_some() {
            return self.leaves(gone_data().collect(), known);
        }
        let missing = || self.data().filter(|voter| !members.is_data_voter(voter.key)).map(|voter| voter.key);
        // One after the other; but who is not heard holds up none that is.
        if !members.learners.iter().any(|key| is_heard(*key)) {
            let absent = || missing().filter(|key| !members.learners.contains(key));
            let first = || absent().next().filter(|_| members.learners.is_empty());
            if let Some(next) = absent().find(|key| is_heard(*key)).or_else(first) {
                return Step::Take(Change::AddLearner(next));
            }
        }
        if missing().next().is_some() {
            return Step::Wait;
        }
        let witness = self.shall.voters.iter().find(|voter| voter.role == VoterRole::Witness);
        let missing = witness.filter(|witness| members.voter(witness.key).is_none());
        if !(gone.is_empty() || missing.is_some() && broken(Mutation::TwoWitnesses)) {
            return self.leaves(gone, known);
        }
        missing.map_or(Step::None, |witness| Step::Take(Change::AddVoter(*witness)))
    }

    /// The step by which a learner that has caught up becomes a voter. Who had its place and is gone, with its disk or without
    /// a word, would only be missing among one more: it goes first.
    fn joins(key: ReplicaKey, gone: &[Voter], known: &Known<'_>) -> Change {
        let replaced = gone.iter().find(|voter| voter.key.broker == key.broker && voter.key != known.me);
        let replaced = replaced.filter(|_| !broken(Mutation::GrowFirst));
        let silent = || gone.iter().find(|voter| voter.role == VoterRole::Data && !(known.is_heard)(voter.key));
        let joins = Change::AddVoter(Voter { key, role: VoterRole::Data });
        replaced.or_else(silent).map_or(joins, |before| Change::RemoveVoter(before.key))
    }

    /// The step by which one of these loses its vote: who is not heard first, the leader last and by handing over to one that
    /// stays.
    fn leaves(&self, gone: Vec<Voter>, known: &Known<'_>) -> Step {
        let (silent, heard): (Vec<Voter>, Vec<Voter>) =
            gone.into_iter().partition(|voter| !(known.is_heard)(voter.key));
        let is_me = |voter: &&Voter| voter.key == known.me && !broken(Mutation::LeaveWithoutHandingOver);
        let others = heard.iter().rev().find(|voter| !is_me(voter));
        if let Some(leaves) = silent.first().or(others) {
            return Step::Take(Change::RemoveVoter(leaves.key));
        }
        let stays = |key: &&ReplicaKey| self.data().any(|voter| voter.key == **key);
        known.successors.iter().find(stays).map_or(Step::Wait, |to| Step::HandOver(*to))
    }
}

impl Replica {
    /// Takes the next step to the members that there shall be, if this replica leads and the moment allows it, and tells when
    /// they are.
    pub(super) fn change_members(&mut self, now: Now, out: &mut Vec<ReplicaEffect>) {
        if !self.leads || self.phase != Phase::Running {
            self.target.again = Instant::NEVER;
            return;
        }
        let members = self.raft.configuration();
        let id = members.id;
        let step = self.target.step(&Known {
            members,
            me: self.raft.me().key,
            successors: self.raft.successors(),
            is_heard: &|key| self.raft.hears(key),
            has_caught_up: &|key| self.raft.has_caught_up(key),
        });
        if step == Step::None && self.target.shall.epoch.is_none() {
            self.target.again = Instant::NEVER;
            return;
        }
        if step == Step::Wait || self.raft.change_blocked().is_some() {
            // What is waited for comes with a message, and the step follows from it; the time is for what does not.
            if self.target.again <= now.instant || self.target.again == Instant::NEVER {
                self.target.again = now.instant.after(RETRY);
            }
            return;
        }
        if self.target.tried == Some(id) && self.target.again > now.instant {
            return;
        }
        (self.target.tried, self.target.again) = (Some(id), now.instant.after(RETRY));
        tracing::debug!(partition = %self.partition, ?step, "a step to the members that there shall be");
        match step {
            Step::Take(change) => self.tell(now, Event::Change(change), out),
            Step::HandOver(to) => self.tell(now, Event::Transfer { to }, out),
            Step::None => {
                let voters = self.raft.configuration().voters.iter();
                let voters = voters.map(|voter| (voter.key.broker, voter.key.directory)).collect();
                out.extend(self.target.shall.epoch.map(|epoch| ReplicaEffect::TargetReached { epoch, voters }));
            }
            Step::Wait => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::mutation::assert_noticed;
    use millrace_types::{BrokerId, DirectoryId};

    fn key(broker: i32, directory: u128) -> ReplicaKey {
        ReplicaKey { broker: BrokerId(broker), directory: DirectoryId::from_u128(directory) }
    }

    fn voters(data: &[(i32, u128)], witness: Option<(i32, u128)>) -> Vec<Voter> {
        let voter = |(broker, directory), role| Voter { key: key(broker, directory), role };
        let data = data.iter().map(|one| voter(*one, VoterRole::Data));
        data.chain(witness.map(|one| voter(one, VoterRole::Witness))).collect()
    }

    /// The steps that lead from the members to the target, and the members after each.
    fn steps(from: Vec<Voter>, to: Vec<Voter>) -> Vec<(Change, usize)> {
        walk(from, to, 1, &[])
    }

    /// The same, led by this broker at first and with these brokers silent; who is handed over to leads on.
    fn walk(from: Vec<Voter>, to: Vec<Voter>, leader: i32, silent: &[i32]) -> Vec<(Change, usize)> {
        let mut target = Target::default();
        target.set(to.into());
        let (mut members, mut steps) = (Configuration::first(from), Vec::new());
        let mut me = members.data_voters().find(|key| key.broker == BrokerId(leader)).expect("a voter");
        let is_heard = |key: ReplicaKey| !silent.contains(&key.broker.0);
        loop {
            let successors = members.data_voters().filter(|key| *key != me && is_heard(*key)).collect();
            let known =
                Known { members: &members, me, successors, is_heard: &is_heard, has_caught_up: &|key| is_heard(key) };
            match target.step(&known) {
                Step::Take(step) => {
                    assert_ne!(step, Change::RemoveVoter(me), "a leader cannot take its own vote");
                    members = members.after(step).expect("a step that applies");
                    steps.push((step, members.voters.len()));
                    assert!(steps.len() < 20, "{steps:?}");
                }
                Step::HandOver(to) => me = to,
                Step::Wait => {
                    assert!(!silent.is_empty(), "nobody is waited for: {steps:?}");
                    return steps;
                }
                Step::None => break,
            }
        }
        let sorted = |mut voters: Vec<Voter>| {
            voters.sort_unstable();
            voters
        };
        assert_eq!(sorted(members.voters), sorted(target.shall.voters));
        assert!(members.learners.is_empty());
        steps
    }

    /// The steps as text: learners and voters that come and go, by their brokers.
    fn told(steps: &[(Change, usize)]) -> String {
        let one = |(step, _): &(Change, usize)| match step {
            Change::AddLearner(key) => format!("+l{}", key.broker),
            Change::RemoveLearner(key) => format!("-l{}", key.broker),
            Change::AddVoter(voter) => format!("+{}", voter.key.broker),
            Change::RemoveVoter(key) => format!("-{}", key.broker),
        };
        steps.iter().map(one).collect::<Vec<_>>().join(" ")
    }

    fn on(brokers: &[i32]) -> Vec<Voter> {
        voters(&brokers.iter().map(|id| (*id, 1)).collect::<Vec<_>>(), None)
    }

    #[test]
    fn one_replica_after_the_other_and_the_leader_last() {
        let moved = walk(on(&[1, 2, 3]), on(&[4, 5, 6]), 1, &[]);
        assert_eq!(told(&moved), "+l4 +4 -3 +l5 +5 -2 +l6 +6 -1");
        assert!(moved.iter().all(|(_, voters)| (3..=4).contains(voters)));
        assert_eq!(told(&walk(on(&[1, 2, 3]), on(&[2, 3, 4]), 2, &[])), "+l4 +4 -1");
        assert_eq!(told(&walk(on(&[1]), on(&[2]), 1, &[])), "+l2 +2 -1");
        assert_eq!(told(&walk(on(&[1]), on(&[3, 1, 2]), 1, &[])), "+l3 +3 +l2 +2");
        assert_eq!(told(&walk(on(&[1, 2, 3]), on(&[3]), 1, &[])), "-2 -1");
    }

    #[test]
    fn who_is_not_heard_loses_its_vote_before_another_gets_one_and_holds_up_nobody() {
        assert_eq!(told(&walk(on(&[1, 2, 3]), on(&[1, 2, 4]), 1, &[3])), "+l4 -3 +4");
        assert_eq!(told(&walk(on(&[1, 2, 3]), on(&[4, 5, 6]), 1, &[4])), "+l5 +5 -3 +l6 +6 -2 +l4");
    }

    #[test]
    fn a_witness_gets_a_replica_as_a_learner_and_another_takes_its_place() {
        let from = voters(&[(1, 1), (2, 1)], Some((3, 1)));
        let to = voters(&[(1, 1), (3, 1)], Some((4, 1)));
        assert_eq!(told(&walk(from, to, 1, &[])), "-3 +l3 +3 -2 +4");
    }

    #[test]
    fn a_directory_takes_the_place_of_the_one_that_is_gone() {
        let new = Voter { key: key(3, 9), role: VoterRole::Data };
        assert_eq!(
            steps(voters(&[(1, 1), (2, 2), (3, 3)], None), voters(&[(1, 1), (2, 2), (3, 9)], None)),
            [(Change::AddLearner(new.key), 3), (Change::RemoveVoter(key(3, 3)), 2), (Change::AddVoter(new), 3)]
        );
    }

    #[test]
    fn there_are_never_two_witnesses_and_never_two_steps_in_one() {
        let witness = Voter { key: key(3, 9), role: VoterRole::Witness };
        assert_eq!(
            steps(voters(&[(1, 1), (2, 2)], Some((3, 3))), voters(&[(1, 1), (2, 2)], Some((3, 9)))),
            [(Change::RemoveVoter(key(3, 3)), 2), (Change::AddVoter(witness), 3)]
        );
        let several = steps(voters(&[(1, 1), (2, 2), (3, 3)], None), voters(&[(1, 7), (2, 8), (3, 3)], None));
        assert_eq!(several.len(), 6);
    }

    #[test]
    fn a_learner_that_shall_be_none_goes_first() {
        let mut target = Target::default();
        let mut members = Configuration::first(on(&[1]));
        let step = |target: &Target, members: &Configuration| {
            let (is_heard, has_caught_up) = (&|_| true, &|_| false);
            target.step(&Known { members, me: key(1, 1), successors: Vec::new(), is_heard, has_caught_up })
        };
        assert_eq!(step(&target, &members), Step::None, "nothing is known");
        target.set(on(&[1]).into());
        members.learners.push(key(2, 1));
        assert_eq!(step(&target, &members), Step::Take(Change::RemoveLearner(key(2, 1))));
        target.set(on(&[1, 2]).into());
        assert_eq!(step(&target, &members), Step::Wait, "it has not caught up");
    }

    #[test]
    fn a_broken_rule_of_members_is_noticed() {
        assert_noticed(
            "a_broken_rule_of_members_is_noticed",
            &[
                (Mutation::KeepStrayLearner, a_learner_that_shall_be_none_goes_first),
                (Mutation::VacateEarly, a_learner_that_shall_be_none_goes_first),
                (Mutation::GrowFirst, a_directory_takes_the_place_of_the_one_that_is_gone),
                (Mutation::TwoWitnesses, there_are_never_two_witnesses_and_never_two_steps_in_one),
            ],
        );
    }
}
