//! Changing the members: one voter at a time, beside the log (rule R15; Raft thesis 4, logless reconfiguration).

use crate::configuration::{Change, Configuration, Voter, VoterRole};
use crate::effect::{Effect, Record};
use crate::identity::ReplicaKey;
use crate::mutation::{Mutation, broken};
use crate::puts::After;
use crate::raft::Raft;
use crate::role::Leader;

/// Why the members cannot be changed at this moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeBlocked {
    /// Only the leader changes them.
    NotLeader,
    /// The last change is not durable, or leadership is handed over.
    Busy,
    /// Something that was committed is not yet so among the present voters.
    Uncommitted,
    /// No majority is known to hold the present configuration and to be in the leader's epoch.
    Unknown,
    /// A voter that lives may have lost records.
    Recovering,
}

impl Raft {
    /// Why the leader would refuse a change; `None`: it would not.
    #[must_use]
    pub fn change_blocked(&self) -> Option<ChangeBlocked> {
        let Some(leader) = self.as_leader().filter(|_| self.takes_part()) else {
            return Some(ChangeBlocked::NotLeader);
        };
        if self.adopting.is_some() || leader.transfer.is_some() {
            return Some(ChangeBlocked::Busy);
        }
        // What the majority holds, not the high watermark: that may wait for ever for a voter that is to be replaced.
        let committed = leader.commit.is_some_and(|commit| self.held_by_majority() >= Some(commit));
        if !committed && !broken(Mutation::ChangeBeforeCommit) {
            return Some(ChangeBlocked::Uncommitted);
        }
        let known = self.configuration.voters.iter().filter(|voter| self.knows(leader, voter.key)).count();
        if known < self.configuration.majority() {
            return Some(ChangeBlocked::Unknown);
        }
        let recovers = |key| leader.progress.get(&key).is_some_and(|progress| progress.recovering);
        let any = self.configuration.voters.iter().any(|voter| self.sessions.is_up(voter.key) && recovers(voter.key));
        (any && !broken(Mutation::ChangeWhileRecovering)).then_some(ChangeBlocked::Recovering)
    }

    /// Whether the learner holds what is committed and is heard: the leader would give it a vote.
    #[must_use]
    pub fn has_caught_up(&self, learner: ReplicaKey) -> bool {
        self.fits(Change::AddVoter(Voter { key: learner, role: VoterRole::Data }))
    }

    /// Whether the voter durably holds this configuration, and the epoch: the marker proves the latter.
    fn knows(&self, leader: &Leader, key: ReplicaKey) -> bool {
        if key == self.me.key {
            return self.own_match().is_some();
        }
        let Some(progress) = leader.progress.get(&key) else { return broken(Mutation::ChangeBeforeEpoch) };
        let configuration =
            progress.configuration == self.configuration.id || broken(Mutation::ChangeBeforeConfiguration);
        configuration && (progress.matched.is_some() || broken(Mutation::ChangeBeforeEpoch))
    }

    pub(crate) fn change(&mut self, change: Change, out: &mut Vec<Effect>) {
        let next = self.configuration.after(change).filter(|next| self.fits(change) && self.keeps_copies(next));
        match next.filter(|_| self.change_blocked().is_none()) {
            Some(next) => self.adopt(next, out),
            None => out.push(Effect::ChangeRefused(change)),
        }
    }

    /// Whether the replica concerned is ready for the change: a data voter has caught up, and the leader stays.
    fn fits(&self, change: Change) -> bool {
        match change {
            Change::AddLearner(_) | Change::RemoveLearner(_) => true,
            Change::AddVoter(_) if broken(Mutation::PromoteBehind) => true,
            Change::AddVoter(voter) if voter.role == VoterRole::Data => {
                let commit = self.as_leader().and_then(|leader| leader.commit);
                self.match_of(voter.key).is_some_and(|matched| Some(matched) >= commit)
                    && self.sessions.is_up(voter.key)
                    && !self
                        .as_leader()
                        .and_then(|leader| leader.progress.get(&voter.key))
                        .is_some_and(|p| p.recovering)
            }
            Change::AddVoter(_) => true,
            Change::RemoveVoter(key) => key != self.me.key,
        }
    }

    /// Whether what is committed has as many copies after the change as a majority: else a replica could leave that holds
    /// one of the few.
    fn keeps_copies(&self, next: &Configuration) -> bool {
        let commit = self.as_leader().and_then(|leader| leader.commit);
        self.held_by_majority_of(next) >= commit || broken(Mutation::ChangeBeforeCommit)
    }

    /// Takes a newer configuration: it is in force when it is durable.
    pub(crate) fn adopt(&mut self, configuration: Configuration, out: &mut Vec<Effect>) {
        if configuration.id <= self.configuration.id.max(self.adopting.unwrap_or_default()) {
            return;
        }
        self.adopting = Some(configuration.id);
        let record = Record::Configuration(configuration.clone());
        self.puts.put(vec![record], vec![After::Configure(configuration)], out);
    }

    pub(crate) fn configured(&mut self, configuration: Configuration, out: &mut Vec<Effect>) {
        if self.adopting == Some(configuration.id) {
            self.adopting = None;
        }
        if configuration.id <= self.configuration.id {
            return;
        }
        let forced = configuration.id.generation > self.configuration.id.generation;
        out.push(Effect::Configured(configuration.clone()));
        let is_new = !configuration.members().eq(self.configuration.members());
        self.note_members(&configuration);
        self.configuration = configuration;
        if forced && self.as_leader().is_some() {
            self.become_unattached(None);
        }
        if let Some(leader) = self.as_leader_mut()
            && is_new
        {
            // New members learn who leads.
            leader.announce_at = millrace_types::Instant::ZERO;
        }
    }

    /// What those hold that leave, or join, is unknown: one that comes back may have thrown away its log in between, and its
    /// process need not have started again.
    fn note_members(&mut self, next: &Configuration) {
        let before: Vec<ReplicaKey> = self.configuration.members().collect();
        let voted: Vec<ReplicaKey> = self.configuration.data_voters().collect();
        let Some(leader) = self.as_leader_mut() else { return };
        leader.promoted.retain(|key, _| next.is_data_voter(*key));
        for promoted in next.data_voters().filter(|key| !voted.contains(key)) {
            leader.promoted.insert(promoted, next.id);
        }
        for joins in next.members().filter(|key| !before.contains(key)) {
            leader.joined.insert(joins, next.id);
            if let Some(progress) = leader.progress.get_mut(&joins).filter(|_| !broken(Mutation::CountBeforeJoining)) {
                progress.matched = None;
            }
        }
        for leaves in before.iter().filter(|key| next.members().all(|member| member != **key)) {
            leader.joined.remove(leaves);
        }
    }

    /// The operator gives up a lost majority: a greater generation overrules every configuration of lower ones.
    pub(crate) fn force(&mut self, configuration: Configuration, out: &mut Vec<Effect>) {
        if configuration.id.generation > self.configuration.id.generation {
            self.adopt(configuration, out);
        }
    }
}
