//! A majority that is lost for good is given up by the operator (rule R15): what is asked is checked against what this replica
//! knows, and answered when the configuration is durable.
//!
//! Nothing can prove that the others are gone: that is the operator's word. What can be checked is that no election could still
//! help, and that every replica with records that is heard votes. With the second, two brokers that hear each other force the
//! same configuration when both are asked, and who holds most of what is left leads (`docs/adr/0101-the-operator-forces-at-a-survivor.md`).

use std::collections::BTreeSet;
use std::time::Duration;

use millrace_raft::{Configuration, ConfigurationId, Event, Voter};
use millrace_types::{BrokerId, Instant, LeaderEpoch, Now, Offset};
use thiserror::Error;

use super::core::Phase;
use super::{Replica, ReplicaEffect};

/// How long a partition has to be without a leader: elections that can succeed are over by then.
pub const FORCE_PATIENCE: Duration = Duration::from_secs(10);

/// What a forced configuration is, and what the replica that was asked holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Forced {
    /// Its generation: every configuration of a lower one is void.
    pub generation: u32,
    /// Who votes from now on.
    pub voters: Vec<BrokerId>,
    /// The first offset of this replica's log.
    pub log_start: Offset,
    /// Everything committed so far, as far as this replica knows.
    pub high_watermark: Offset,
    /// The end of this replica's log. Records acknowledged at or behind it are lost, unless another of the voters holds them.
    pub log_end: Offset,
    /// The leader epoch at that end.
    pub log_epoch: LeaderEpoch,
}

/// Why nothing is forced.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum ForceRefusal {
    /// There is no replica with records here that could take part.
    #[error("this broker has no replica of the partition that takes part; ask a broker that has one")]
    NotHere,
    /// The partition has a leader.
    #[error("broker {0} leads the partition: nothing is lost")]
    Led(BrokerId),
    /// It had one a moment ago.
    #[error("the partition has had no leader for {} ms only: an election may still help; ask again after {} s", .0.as_millis(), FORCE_PATIENCE.as_secs())]
    Recent(Duration),
    /// A broker is named that has no vote.
    #[error("broker {0} has no replica with a vote and records")]
    Unknown(BrokerId),
    /// The broker that is asked is not named.
    #[error("the voters do not name broker {0}, which is asked: ask one of those that shall go on")]
    NotNamed(BrokerId),
    /// A broker that is heard is not named.
    #[error("broker {0} is heard and holds records: name it too, or stop it if its replica shall be given up")]
    LeftOut(BrokerId),
    /// Another one is becoming durable.
    #[error("a configuration is being forced already")]
    UnderWay,
}

/// What a replica keeps about it.
#[derive(Debug, Default)]
pub(super) struct Force {
    /// Who is answered, and the generation that is becoming durable.
    asked: Option<(u64, u32)>,
    /// Since when this replica knows no leader that it hears.
    leaderless_since: Option<Instant>,
}

impl Replica {
    /// Forces a configuration in which `voters` vote, or says why not.
    pub(super) fn force(&mut self, now: Now, token: u64, voters: &[BrokerId], out: &mut Vec<ReplicaEffect>) {
        self.note_leader(now);
        match self.forced(now, voters) {
            Ok(configuration) => {
                self.force.asked = Some((token, configuration.id.generation));
                self.tell(now, Event::Force(configuration), out);
            }
            Err(refusal) => out.push(ReplicaEffect::Forced { token, result: Err(refusal) }),
        }
    }

    /// The configuration of the next generation.
    fn forced(&self, now: Now, voters: &[BrokerId]) -> Result<Configuration, ForceRefusal> {
        let present = self.raft.configuration();
        let me = self.raft.me().key;
        let named: BTreeSet<BrokerId> = voters.iter().copied().collect();
        if self.phase != Phase::Running || self.log.is_poisoned() || !present.is_data_voter(me) {
            return Err(ForceRefusal::NotHere);
        }
        if self.force.asked.is_some() {
            return Err(ForceRefusal::UnderWay);
        }
        if let Some(since) = self.force.leaderless_since {
            let leaderless = now.instant.since(since);
            if leaderless < FORCE_PATIENCE {
                return Err(ForceRefusal::Recent(leaderless));
            }
        } else if let Some(leader) = self.raft.leader() {
            return Err(ForceRefusal::Led(leader.broker));
        }
        if let Some(unknown) = named.iter().find(|broker| present.data_voters().all(|voter| voter.broker != **broker)) {
            return Err(ForceRefusal::Unknown(*unknown));
        }
        if !named.contains(&me.broker) {
            return Err(ForceRefusal::NotNamed(me.broker));
        }
        let mut left_out = present.data_voters().filter(|voter| !named.contains(&voter.broker));
        if let Some(heard) = left_out.find(|voter| self.raft.hears(*voter)) {
            return Err(ForceRefusal::LeftOut(heard.broker));
        }
        let stays = |voter: &&Voter| named.contains(&voter.key.broker) && present.is_data_voter(voter.key);
        let id = ConfigurationId { generation: present.id.generation + 1, epoch: 0, version: 1 };
        let voters = present.voters.iter().filter(stays).copied().collect();
        Ok(Configuration { id, voters, learners: Vec::new() })
    }

    /// A configuration is in force: who has asked for it is answered.
    pub(super) fn note_configured(&mut self, configuration: &Configuration, out: &mut Vec<ReplicaEffect>) {
        let Some((token, _)) = self.force.asked.take_if(|(_, asked)| configuration.id.generation >= *asked) else {
            return;
        };
        let forced = Forced {
            generation: configuration.id.generation,
            voters: configuration.voters.iter().map(|voter| voter.key.broker).collect(),
            log_start: self.log.log_start(),
            high_watermark: self.high_watermark(),
            log_end: self.log.log_end(),
            log_epoch: self.raft.status().position.epoch,
        };
        out.push(ReplicaEffect::Forced { token, result: Ok(forced) });
    }

    /// Notes since when no leader is heard, and gives up what can become durable no more.
    pub(super) fn settle_force(&mut self, now: Now, out: &mut Vec<ReplicaEffect>) {
        self.note_leader(now);
        if self.phase != Phase::Running
            && let Some((token, _)) = self.force.asked.take()
        {
            out.push(ReplicaEffect::Forced { token, result: Err(ForceRefusal::NotHere) });
        }
    }

    fn note_leader(&mut self, now: Now) {
        let leads = self.raft.leader().is_some_and(|leader| self.raft.hears(leader));
        let since = if leads { None } else { Some(self.force.leaderless_since.unwrap_or(now.instant)) };
        self.force.leaderless_since = since;
    }
}
