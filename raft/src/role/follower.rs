//! Fetches from the leader, and tells it what is durable.

use super::Role;
use crate::configuration::ConfigurationId;
use crate::effect::Effect;
use crate::identity::ReplicaKey;
use crate::message::{Ack, FetchRequest, Message};
use crate::mutation::{Mutation, broken};
use crate::position::{Acknowledged, EpochStart};
use crate::raft::Raft;

/// What a follower knows.
#[derive(Debug, Clone)]
pub(crate) struct Follower {
    /// The leader, which is heard.
    pub(crate) leader: ReplicaKey,
    /// Whether a fetch is under way.
    pub(crate) waiting: bool,
    /// Whether what came could not be appended: the next fetch is the host's to ask for.
    pub(crate) refused: bool,
    /// What the leader was last told.
    pub(crate) told: Option<(Acknowledged, bool)>,
    /// A recovering replica is whole when this much is durable (rule R12).
    pub(crate) recover_to: Option<i64>,
    /// Whether every voter has elected the leader (rule R13).
    pub(crate) unanimous: bool,
}

impl Raft {
    pub(crate) fn become_follower(&mut self, leader: ReplicaKey, out: &mut Vec<Effect>) {
        if broken(Mutation::AdoptEpochBeforeLog) {
            let marker = EpochStart { epoch: self.epoch, start: self.log.end };
            self.log.cache.push(marker);
            self.log.cache.mark_durable(self.epoch);
        }
        let follower =
            Follower { leader, waiting: false, refused: false, told: None, recover_to: None, unanimous: false };
        self.transition(Role::Follower(follower));
        self.settle_follower(out);
    }

    /// Asks again: the answer is overdue.
    pub(crate) const fn refetch(&mut self) {
        if let Role::Follower(follower) = &mut self.role {
            (follower.waiting, follower.refused) = (false, false);
        }
    }

    /// Fetches when nothing is under way, and acknowledges apart from that what has become durable. A fetch also says what is
    /// deleted here, and so waits until that is durable.
    pub(crate) fn settle_follower(&mut self, out: &mut Vec<Effect>) {
        self.recover_if_whole(out);
        if self.is_busy() || !self.takes_part() {
            return;
        }
        let (request, may_fetch) = (self.fetch_request(), self.log.is_start_noted());
        let has_word = !self.is_superseded();
        let told = Some((request.acknowledged, request.recovering));
        let Role::Follower(follower) = &mut self.role else { return };
        let leader = follower.leader;
        if !follower.waiting && may_fetch {
            (follower.waiting, follower.told) = (true, told);
            self.send(leader, Message::Fetch(request), out);
        } else if follower.told != told && has_word {
            follower.told = told;
            let FetchRequest { epoch, acknowledged, recovering, .. } = request;
            self.send(leader, Message::Ack(Ack { epoch, acknowledged, recovering }), out);
        }
    }

    pub(crate) fn fetch_request(&self) -> FetchRequest {
        // Who does not name the configuration that made it a member counts for nothing.
        let configuration = if self.is_superseded() { ConfigurationId::default() } else { self.configuration.id };
        FetchRequest {
            configuration,
            epoch: self.epoch,
            position: self.position(),
            acknowledged: self.acknowledged(),
            recovering: self.recovering,
            unfit: self.stalled,
            high_watermark: self.high_watermark,
            log_start: self.log.start,
        }
    }
}
