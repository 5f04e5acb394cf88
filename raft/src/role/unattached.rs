//! No leader of the epoch is known, or the known one is silent: wait for one, and at last ask for votes.

use std::time::Duration;

use millrace_types::{BrokerId, Instant};

use super::{Role, RoleKind};
use crate::effect::Effect;
use crate::identity::ReplicaKey;
use crate::message::Message;
use crate::mutation::{Mutation, broken};
use crate::raft::Raft;
use crate::settings::UncleanRecovery;

/// The longest that patience grows to, unless an election may take longer from the first.
const PATIENCE_MAX: Duration = Duration::from_secs(1);
/// Elections lost beyond this many make no difference.
const LOST_ELECTIONS_MAX: u32 = 10;

/// What an unattached replica knows.
#[derive(Debug, Clone, Default)]
pub(crate) struct Unattached {
    /// Who is said to lead the epoch, or led it when it was last heard.
    pub(crate) hint: Option<ReplicaKey>,
    /// When it asks for votes, if it may then.
    pub(crate) campaign_at: Option<Instant>,
}

impl Raft {
    /// Leads nothing and follows nobody; the delay before an election begins when it may take part in one.
    pub(crate) fn become_unattached(&mut self, hint: Option<ReplicaKey>) {
        self.transition(Role::Unattached(Unattached { hint, campaign_at: None }));
    }

    /// How long an election may take. It grows with those that nobody has won: where every voter must agree (rule R13) one
    /// more candidate is one too many, and votes that are slow to become durable may take longer than was provided for.
    pub(crate) fn patience(&self) -> Duration {
        let base = self.settings.election_timeout;
        let lost = self.epoch.saturating_sub(self.led_epoch.saturating_add(1));
        let lost = if broken(Mutation::NoPatience) { 0 } else { u32::try_from(lost).unwrap_or(0) };
        base.saturating_mul(1 << lost.min(LOST_ELECTIONS_MAX)).min(base.max(PATIENCE_MAX))
    }

    /// Whether this replica has given its vote, to itself or another, in an election that may still be won.
    pub(crate) fn awaits_election(&self) -> bool {
        self.epoch > self.led_epoch && self.voted_for.is_some()
    }

    /// As [`Raft::become_unattached`] after a failed election: the pause has a random part, so that two candidates do
    /// not meet again (Raft 5.2), which grows with the elections that were lost (KIP-595, `quorum.election.backoff.max.ms`).
    pub(crate) fn back_off(&mut self, now: Instant, hint: Option<ReplicaKey>) {
        let patience = self.patience();
        let pause = self.settings.election_timeout / 2 + self.random.delay_below(patience);
        self.transition(Role::Unattached(Unattached { hint, campaign_at: Some(now.after(pause)) }));
    }

    pub(crate) fn settle_unattached(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let may_campaign = self.may_campaign();
        let is_alone = self.configuration.voters.len() == 1;
        let delay = if may_campaign && !is_alone { self.election_delay() } else { Duration::ZERO };
        let Role::Unattached(unattached) = &mut self.role else { return };
        if !may_campaign {
            unattached.campaign_at = None;
            return;
        }
        let is_new = unattached.campaign_at.is_none();
        let campaign_at = *unattached.campaign_at.get_or_insert_with(|| now.after(delay));
        if campaign_at <= now {
            self.campaign(now, None, out);
        } else if is_new {
            self.wake_first(out);
        }
    }

    /// Shows the voter that is waited for at the first election that this one is there: what it has asked before is lost, if this
    /// replica was created after it.
    fn wake_first(&self, out: &mut Vec<Effect>) {
        if let Some(first) = self.first_before_me().filter(|first| self.is_heard(*first)) {
            self.send(first, Message::Vote(self.vote_request(true, None)), out);
        }
    }

    /// Whether the partition is new as far as this replica knows: it has met no epoch, and no operator has forced its members.
    pub(crate) const fn is_first_election(&self) -> bool {
        self.epoch == 0 && self.configuration.id.generation == 0
    }

    /// The voter that shall lead a new partition, where that is another one.
    pub(crate) fn first_before_me(&self) -> Option<ReplicaKey> {
        let first = self.configuration.data_voters().next().filter(|first| *first != self.me.key);
        first.filter(|_| self.is_first_election() && !broken(Mutation::HurryFirstElection))
    }

    /// Whether this replica shall lead a new partition.
    pub(crate) fn is_first_of_new(&self) -> bool {
        self.is_first_election() && self.configuration.data_voters().next() == Some(self.me.key)
    }

    /// Waits anew for the first election when the voter that is first begins to be heard, or ends.
    pub(crate) fn reconsider_first(&mut self, broker: BrokerId) {
        if self.first_before_me().is_some_and(|first| first.broker == broker)
            && let Role::Unattached(unattached) = &mut self.role
        {
            unattached.campaign_at = None;
        }
    }

    /// Whether the replica may ask for votes. Who hears no majority need not: it could not win.
    pub(crate) fn may_campaign(&self) -> bool {
        // A configuration that an operator has forced, and no leader has taken over yet, is the operator's word.
        let forced = self.configuration.id.generation > 0 && self.configuration.id.epoch == 0;
        let clean = !self.recovering || forced || self.settings.unclean_recovery == UncleanRecovery::Unanimous;
        let fit = self.takes_part() && !self.stalled && !self.is_busy() && clean;
        let heard = self.configuration.voters.iter().filter(|voter| self.is_heard(voter.key)).count();
        let inside = self.configuration.is_data_voter(self.me.key) || broken(Mutation::CampaignOutside);
        fit && inside && heard >= self.configuration.majority()
    }

    pub(crate) fn is_heard(&self, key: ReplicaKey) -> bool {
        key == self.me.key || self.sessions.is_up(key)
    }

    /// The wait before an election: the first live voter in the order of the configuration asks at once, the others
    /// later, so that few votes are split and the preferred leader tends to win. Of a new partition it shall: the brokers create their
    /// replicas at different moments, and hear of each other one by one, so the others leave the first the time for it.
    pub(crate) fn election_delay(&mut self) -> Duration {
        let (patience, waits) = match self.first_before_me() {
            Some(first) if self.is_heard(first) => (self.settings.election_timeout * 2, true),
            Some(_) => (self.settings.jitter, false),
            None => (Duration::ZERO, false),
        };
        let live = self.configuration.data_voters().filter(|key| waits || self.is_heard(*key));
        let rank = live.take_while(|key| *key != self.me.key).count();
        patience
            + self.settings.rank_delay * u32::try_from(rank).unwrap_or(u32::MAX)
            + self.random.delay_below(self.settings.jitter)
    }

    /// Follows `leader` in the present epoch, or remembers it until it is heard.
    pub(crate) fn follow(&mut self, leader: ReplicaKey, out: &mut Vec<Effect>) {
        if leader == self.me.key {
            return;
        }
        let is_heard = self.sessions.is_up(leader);
        match &mut self.role {
            // The leader has no fetch of this replica: what was under way is lost, unless this replica itself waits.
            Role::Follower(follower) if follower.leader == leader => follower.waiting = follower.refused,
            Role::Unattached(unattached) if !is_heard => unattached.hint = Some(leader),
            Role::Unattached(_) | Role::Prospective(_) if is_heard => self.become_follower(leader, out),
            Role::Candidate(_) => {
                self.become_unattached(Some(leader));
                self.follow(leader, out);
            }
            // Nobody else leads the epoch that this replica leads, or has led.
            Role::Follower(_) | Role::Prospective(_) | Role::Unattached(_) | Role::Leader(_) | Role::Resigned(_) => {}
        }
    }

    /// Whether this replica hears a leader of its epoch: then it gives no pre-vote (KIP-996).
    pub(crate) fn has_live_leader(&self) -> bool {
        matches!(self.role.kind(), RoleKind::Follower | RoleKind::Leader)
    }
}
