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
use super::{Replica, ReplicaEffect};

/// How soon a step that did not fit the moment is tried again.
const RETRY: Duration = Duration::from_millis(500);

/// The members that there shall be, and the step towards them.
#[derive(Debug)]
pub(super) struct Target {
    /// Who shall vote; nobody while that is not known.
    voters: Vec<Voter>,
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
    /// A learner has to catch up first.
    Wait,
    /// This.
    Take(Change),
}

impl Default for Target {
    fn default() -> Self {
        Self { voters: Vec::new(), tried: None, again: Instant::NEVER }
    }
}

impl Target {
    pub(super) fn set(&mut self, voters: Vec<Voter>) {
        *self = Self { voters, ..Self::default() };
    }

    /// The next step from `members`; `None` when they are who they shall be, or a learner has not caught up.
    fn step(&self, members: &Configuration, has_caught_up: impl Fn(ReplicaKey) -> bool) -> Step {
        let shall = |role| move |voter: &&Voter| voter.role == role;
        let data = || self.voters.iter().filter(shall(VoterRole::Data));
        let is_meant = |learner: ReplicaKey| data().any(|voter| voter.key == learner);
        if self.voters.is_empty() {
            return Step::None;
        }
        let stray = members.learners.iter().find(|learner| !is_meant(**learner));
        if let Some(stray) = stray.filter(|_| !broken(Mutation::KeepStrayLearner)) {
            return Step::Take(Change::RemoveLearner(*stray));
        }
        let gone = |voter: &&Voter| !self.voters.contains(voter);
        if let Some(key) = members.learners.first().copied() {
            // Who had the place before is gone with its disk, and would only be missing among one more.
            let before = members.voters.iter().filter(gone).find(|voter| voter.key.broker == key.broker);
            let before = before.filter(|_| !broken(Mutation::GrowFirst));
            let joins = Change::AddVoter(Voter { key, role: VoterRole::Data });
            let next = before.map_or(joins, |before| Change::RemoveVoter(before.key));
            let is_ready = has_caught_up(key) || broken(Mutation::VacateEarly);
            return if is_ready { Step::Take(next) } else { Step::Wait };
        }
        if let Some(missing) = data().find(|voter| !members.is_data_voter(voter.key)) {
            return Step::Take(Change::AddLearner(missing.key));
        }
        let witness = self.voters.iter().find(shall(VoterRole::Witness));
        let witness = witness.filter(|witness| members.voter(witness.key).is_none());
        let gone = members.voters.iter().find(gone);
        match (gone, witness) {
            (Some(gone), None) => Step::Take(Change::RemoveVoter(gone.key)),
            (Some(gone), Some(_)) if !broken(Mutation::TwoWitnesses) => Step::Take(Change::RemoveVoter(gone.key)),
            (_, Some(witness)) => Step::Take(Change::AddVoter(*witness)),
            (None, None) => Step::None,
        }
    }
}

impl Replica {
    /// Takes the next step to the members that there shall be, if this replica leads and the moment allows it.
    pub(super) fn change_members(&mut self, now: Now, out: &mut Vec<ReplicaEffect>) {
        let members = self.raft.configuration();
        let (id, is_leader) = (members.id, self.leads && self.phase == Phase::Running);
        let step = if is_leader { self.target.step(members, |key| self.raft.has_caught_up(key)) } else { Step::None };
        let step = match step {
            Step::None => {
                self.target.again = Instant::NEVER;
                return;
            }
            Step::Take(step) if self.raft.change_blocked().is_none() => step,
            // What is waited for comes with a message, and the step follows from it; the time is for what does not.
            Step::Take(_) | Step::Wait => {
                if self.target.again <= now.instant || self.target.again == Instant::NEVER {
                    self.target.again = now.instant.after(RETRY);
                }
                return;
            }
        };
        if self.target.tried == Some(id) && self.target.again > now.instant {
            return;
        }
        (self.target.tried, self.target.again) = (Some(id), now.instant.after(RETRY));
        tracing::debug!(partition = %self.partition, ?step, "a step to the members that there shall be");
        self.tell(now, Event::Change(step), out);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replica::mutation::with_broken;
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
        let mut target = Target::default();
        target.set(to);
        let (mut members, mut steps) = (Configuration::first(from), Vec::new());
        while let Step::Take(step) = target.step(&members, |_| true) {
            members = members.after(step).expect("a step that applies");
            steps.push((step, members.voters.len()));
            assert!(steps.len() < 20, "{steps:?}");
        }
        let sorted = |mut voters: Vec<Voter>| {
            voters.sort_unstable();
            voters
        };
        assert_eq!(sorted(members.voters), sorted(target.voters));
        assert!(members.learners.is_empty());
        steps
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
        assert_eq!(
            target.step(&Configuration::first(voters(&[(1, 1)], None)), |_| true),
            Step::None,
            "nothing is known"
        );
        target.set(voters(&[(1, 1)], None));
        let mut members = Configuration::first(voters(&[(1, 1)], None));
        members.learners.push(key(2, 2));
        assert_eq!(target.step(&members, |_| true), Step::Take(Change::RemoveLearner(key(2, 2))));
        target.set(voters(&[(1, 1), (2, 2)], None));
        assert_eq!(target.step(&members, |_| false), Step::Wait, "it has not caught up");
    }

    #[test]
    fn a_broken_rule_of_members_is_noticed() {
        type Story = fn();
        let stories: [(Mutation, Story); 4] = [
            (Mutation::KeepStrayLearner, a_learner_that_shall_be_none_goes_first),
            (Mutation::VacateEarly, a_learner_that_shall_be_none_goes_first),
            (Mutation::GrowFirst, a_directory_takes_the_place_of_the_one_that_is_gone),
            (Mutation::TwoWitnesses, there_are_never_two_witnesses_and_never_two_steps_in_one),
        ];
        for (mutation, story) in stories {
            let noticed = with_broken(Some(mutation), || std::panic::catch_unwind(story));
            assert!(noticed.is_err(), "{mutation:?} goes unnoticed");
            println!("noticed {mutation:?}: a_broken_rule_of_members_is_noticed");
        }
    }
}
