//! Votes: who gets one, and when they are enough (rules R1, R3, R13, R16).

use std::collections::BTreeMap;
use std::time::Duration;

use millrace_types::{Incarnation, Instant};

use crate::effect::Effect;
use crate::identity::{Peer, ReplicaKey};
use crate::message::{Denial, EndEpoch, Message, VoteRequest, VoteResponse};
use crate::mutation::{Mutation, broken};
use crate::raft::Raft;
use crate::role::Role;

/// A vote, or the promise of one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grant {
    /// Whether the voter may have lost records that it had acknowledged.
    pub(crate) recovering: bool,
    /// The start of the voter's process that gave it.
    pub(crate) incarnation: Incarnation,
}

impl Raft {
    pub(crate) fn on_vote(&mut self, now: Instant, from: Peer, request: &VoteRequest, out: &mut Vec<Effect>) {
        let is_leader = matches!(&self.role, Role::Follower(follower) if follower.leader == from.key);
        if request.pre && request.epoch == self.epoch && is_leader {
            // Who asks whether it would be elected leads no longer in this epoch, whatever others say of it.
            self.become_unattached(None);
        }
        let vote = self.judge(from.key, request);
        if !request.pre {
            self.take_epoch(now, from.key, request, vote.is_ok(), out);
        }
        let leader = self.leader();
        let newer = self.configuration.id > request.configuration.id;
        let configuration = newer.then(|| self.configuration.clone());
        let recovering = self.recovering && !broken(Mutation::CleanVoteWhileRecovering);
        let (epoch, asked, pre) = (self.epoch, request.epoch, request.pre);
        let response = VoteResponse { epoch, asked, pre, vote, recovering, leader, configuration };
        if pre {
            self.send(from.key, Message::VoteResponse(response), out);
        } else {
            self.send_when_durable(from.key, Message::VoteResponse(response), out);
        }
        self.adopt(request.configuration.clone(), out);
        // Whoever was refused for its log need not ask again: this replica is the better candidate. So it is of a new partition that
        // it shall lead.
        if request.pre && (vote == Err(Denial::Position) || self.is_first_of_new()) {
            match self.role {
                Role::Unattached(_) if self.may_campaign() && !self.awaits_election() => self.campaign(now, None, out),
                Role::Prospective(_) => self.ask_voter(from.key, out),
                _ => {}
            }
        }
    }

    /// Enters the epoch of a candidate, with or without a vote for it, in one put.
    fn take_epoch(
        &mut self,
        now: Instant,
        candidate: ReplicaKey,
        request: &VoteRequest,
        granted: bool,
        out: &mut Vec<Effect>,
    ) {
        let later = request.epoch > self.epoch;
        if later && self.as_leader().is_some() && broken(Mutation::IgnoreLaterEpoch) {
            return;
        }
        if later || (granted && self.voted_for != Some(candidate)) {
            self.enter_epoch(request.epoch, granted.then_some(candidate), out);
        }
        if later || (granted && matches!(self.role, Role::Prospective(_))) {
            self.become_unattached(None);
        }
        if !granted || !matches!(self.role, Role::Unattached(_)) {
            return;
        }
        // Time for the candidate to win. Who has voted at one moment does not ask at one moment: where all must agree (rule R13), or
        // the voters are even, their votes would be split as the candidates' were, and so for ever.
        let patience = self.patience();
        let spread = if broken(Mutation::WaitAlike) { Duration::ZERO } else { self.random.delay_below(patience) };
        let until = now.after(patience + spread);
        if let Role::Unattached(unattached) = &mut self.role {
            unattached.campaign_at = Some(until);
        }
    }

    /// The rule by which votes are given.
    fn judge(&self, candidate: ReplicaKey, request: &VoteRequest) -> Result<(), Denial> {
        if request.epoch < self.epoch {
            return Err(Denial::Epoch);
        }
        if request.configuration.id < self.configuration.id && !broken(Mutation::VoteForOldConfiguration) {
            return Err(Denial::Configuration);
        }
        if request.epoch == self.epoch && self.has_live_leader() {
            let handed_over = request.pre && request.transfer.is_some() && request.transfer == self.leader();
            let allowed = handed_over || (request.pre && broken(Mutation::PreVoteAgainstLeader));
            if !allowed && (request.pre || !broken(Mutation::VoteTwice)) {
                return Err(Denial::Leader);
            }
        }
        let given = self.voted_for.is_some_and(|voted| voted != candidate) && request.epoch == self.epoch;
        if !request.pre && given && !broken(Mutation::VoteTwice) {
            return Err(Denial::Voted);
        }
        if request.position < self.log.vote_position() && !broken(Mutation::VoteForAnyPosition) {
            return Err(Denial::Position);
        }
        Ok(())
    }

    pub(crate) fn on_vote_response(&mut self, now: Instant, from: Peer, response: VoteResponse, out: &mut Vec<Effect>) {
        if let Some(configuration) = response.configuration {
            self.adopt(configuration, out);
        }
        if response.asked != self.epoch {
            return;
        }
        let (granted, denied) = match &mut self.role {
            Role::Prospective(prospective) if response.pre => (&mut prospective.granted, &mut prospective.denied),
            Role::Candidate(candidate) if !response.pre => (&mut candidate.granted, &mut candidate.denied),
            _ => return,
        };
        match response.vote {
            Ok(()) => {
                granted.insert(from.key, Grant { recovering: response.recovering, incarnation: from.incarnation });
            }
            Err(_) => {
                denied.insert(from.key);
            }
        }
        if response.vote == Err(Denial::Leader)
            && let Some(leader) = response.leader
            && let Role::Prospective(prospective) = &mut self.role
        {
            prospective.hint = Some(leader);
            self.follow(leader, out);
        }
        self.count_votes(now, out);
    }

    /// Goes on when the votes are enough, and gives up when they cannot be.
    pub(crate) fn count_votes(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let (granted, denied) = match &self.role {
            Role::Prospective(prospective) => (&prospective.granted, &prospective.denied),
            Role::Candidate(candidate) => (&candidate.granted, &candidate.denied),
            _ => return,
        };
        let voters = self.configuration.voters.len();
        let votes = granted.iter().filter(|(key, _)| self.configuration.voter(**key).is_some());
        let (all, clean) =
            votes.fold((0, 0), |(all, clean), (_, grant)| (all + 1, clean + usize::from(!grant.recovering)));
        // A replica that may have lost what it acknowledged leads only when everybody agrees who may hold it (rule R13). As many
        // clean voters are asked for as acknowledgements commit, so that who wins by them can commit its epoch. A witness holds
        // no record, and remembers that there were some when all who held them have lost them.
        let enough_clean = clean >= self.configuration.majority() && !self.recovering;
        let agreed = self.configuration.data_voters().all(|key| granted.contains_key(&key))
            && !broken(Mutation::UnanimousAsksWitness);
        let unanimous = (agreed || all == voters) && !enough_clean;
        let majority = all >= self.configuration.majority();
        let wins = majority && (enough_clean || unanimous || broken(Mutation::UncleanMajority));
        let refused = denied.iter().filter(|key| self.configuration.voter(**key).is_some()).count();
        match &self.role {
            Role::Prospective(_) if wins => self.become_candidate(now, out),
            Role::Candidate(candidate) if wins => {
                let electors = candidate.granted.iter().map(|(key, grant)| (*key, grant.incarnation));
                let electors = if unanimous { electors.collect() } else { BTreeMap::new() };
                self.become_leader(now, electors, out);
            }
            Role::Prospective(prospective) if refused > voters - self.configuration.majority() => {
                let hint = prospective.hint;
                self.back_off(now, hint);
            }
            Role::Candidate(_) if refused > voters - self.configuration.majority() => self.back_off(now, None),
            _ => {}
        }
    }

    /// The leader has resigned: the first of its successors that lives asks for votes at once (KIP-595). The others give it
    /// the time of an election, however slowly it notes its own vote: a thousand partitions may be handed over together.
    pub(crate) fn on_end_epoch(&mut self, now: Instant, from: Peer, end: &EndEpoch, out: &mut Vec<Effect>) {
        let follows = match &self.role {
            Role::Follower(follower) => follower.leader == from.key,
            Role::Unattached(_) => true,
            Role::Prospective(_) | Role::Candidate(_) | Role::Leader(_) | Role::Resigned(_) => false,
        };
        if end.epoch != self.epoch || !follows {
            return;
        }
        self.become_unattached(None);
        if !self.may_campaign() {
            return;
        }
        let before = end.successors.iter().take_while(|key| **key != self.me.key);
        let Some(later) = before.filter(|key| self.is_heard(**key)).count().checked_sub(1) else {
            return self.campaign(now, Some(from.key), out);
        };
        let delay =
            self.settings.election_timeout + self.settings.rank_delay * u32::try_from(later).unwrap_or(u32::MAX);
        let campaign_at = now.after(delay + self.random.delay_below(self.settings.jitter));
        if let Role::Unattached(unattached) = &mut self.role {
            unattached.campaign_at = Some(campaign_at);
        }
    }
}
