//! What every message goes through: identity, incarnation, epoch (rules R12, R17, R20).

use millrace_types::{BrokerId, Instant, LeaderEpoch};

use crate::effect::Effect;
use crate::identity::{Peer, ReplicaKey};
use crate::message::{Envelope, Fenced, Message};
use crate::mutation::{Mutation, broken};
use crate::puts::After;
use crate::raft::Raft;
use crate::role::Role;
use crate::sessions::Fence;

impl Raft {
    pub(crate) fn receive(&mut self, now: Instant, envelope: Envelope, out: &mut Vec<Effect>) {
        let Envelope { mut from, mut to, message } = envelope;
        if broken(Mutation::IgnoreDirectory) {
            (from.key, to) = (self.of_same_broker(from.key), self.of_same_broker(to));
            to = if to.broker == self.me.key.broker { self.me.key } else { to };
        }
        if to != self.me.key || !self.observe_incarnation(from) || !self.takes_part() {
            return;
        }
        let is_vote = matches!(&message, Message::Vote(request) if !request.pre);
        let epoch = message.epoch();
        if epoch > self.epoch && !is_vote {
            if self.as_leader().is_some() && broken(Mutation::IgnoreLaterEpoch) {
                return;
            }
            self.enter_epoch(epoch, None, out);
            self.become_unattached(None);
        }
        match message {
            Message::Vote(request) => self.on_vote(now, from, &request, out),
            Message::VoteResponse(response) => self.on_vote_response(now, from, response, out),
            Message::BeginEpoch(begin) if begin.epoch == self.epoch => self.follow(from.key, out),
            Message::BeginEpoch(_) => {
                let fenced = Fenced { epoch: self.epoch, leader: self.leader() };
                self.send(from.key, Message::Fenced(fenced), out);
            }
            Message::Fenced(fenced) => {
                let is_news = fenced.epoch == self.epoch && self.leader().is_none();
                if let Some(leader) = fenced.leader.filter(|_| is_news) {
                    self.follow(leader, out);
                }
            }
            Message::EndEpoch(end) => self.on_end_epoch(now, from, &end, out),
            Message::Fetch(request) => self.on_fetch(from, request, out),
            Message::FetchResponse(response) => self.on_fetch_response(from, response, out),
            Message::Ack(ack) => self.on_ack(from, &ack),
            // What a host asks of another one.
            Message::Repair(_) | Message::RepairResponse(_) => {}
        }
    }

    /// The member with the same broker id: what a system would believe that does not tell directories apart.
    fn of_same_broker(&self, key: ReplicaKey) -> ReplicaKey {
        self.configuration.members().find(|member| member.broker == key.broker).unwrap_or(key)
    }

    /// Whether the incarnation may speak. A later one than known voids what the earlier has acknowledged.
    fn observe_incarnation(&mut self, from: Peer) -> bool {
        if broken(Mutation::CountOldIncarnation) {
            return true;
        }
        match self.sessions.observe(from) {
            Fence::Stale => false,
            Fence::Known | Fence::First => true,
            Fence::Newer => {
                self.void_progress(from);
                self.leave_leader(from.key);
                true
            }
        }
    }

    /// The process of the leader has started again, or its broker has another disk: it leads no longer.
    fn leave_leader(&mut self, key: ReplicaKey) {
        match &mut self.role {
            Role::Follower(follower) if follower.leader == key => self.become_unattached(None),
            Role::Unattached(unattached) if unattached.hint == Some(key) => unattached.hint = None,
            Role::Unattached(_)
            | Role::Follower(_)
            | Role::Prospective(_)
            | Role::Candidate(_)
            | Role::Leader(_)
            | Role::Resigned(_) => {}
        }
    }

    pub(crate) fn session_up(&mut self, peer: Peer, out: &mut Vec<Effect>) {
        if !self.observe_incarnation(peer) {
            return;
        }
        let was_heard = self.sessions.is_up(peer.key);
        self.sessions.up(peer);
        if !was_heard {
            self.reconsider_first(peer.key.broker);
        }
        if let Role::Follower(follower) = &self.role
            && follower.leader.broker == peer.key.broker
            && follower.leader != peer.key
        {
            let leader = follower.leader;
            self.leave_leader(leader);
        }
        match &mut self.role {
            Role::Unattached(unattached) if unattached.hint == Some(peer.key) => self.follow(peer.key, out),
            Role::Follower(follower) if follower.leader == peer.key => follower.waiting = false,
            Role::Leader(_) => self.announce_to(peer.key, out),
            Role::Prospective(_) | Role::Candidate(_) => self.ask_voter(peer.key, out),
            Role::Unattached(_) | Role::Follower(_) | Role::Resigned(_) => {}
        }
    }

    pub(crate) fn session_down(&mut self, now: Instant, broker: BrokerId, heard: Instant) {
        if !self.sessions.down(broker, heard.min(now)) {
            return;
        }
        if let Role::Follower(follower) = &self.role
            && follower.leader.broker == broker
        {
            let hint = Some(follower.leader);
            self.become_unattached(hint);
        }
        self.reconsider_first(broker);
    }

    /// Someone says who leads `epoch`.
    pub(crate) fn hint(&mut self, leader: ReplicaKey, epoch: LeaderEpoch, out: &mut Vec<Effect>) {
        if !self.takes_part() || leader == self.me.key || epoch < self.epoch {
            return;
        }
        if epoch > self.epoch {
            self.enter_epoch(epoch, None, out);
            self.become_unattached(None);
        }
        self.follow(leader, out);
    }

    /// Everything up to `token` is durable.
    pub(crate) fn put_done(&mut self, now: Instant, token: u64, out: &mut Vec<Effect>) {
        for after in self.puts.done(token) {
            match after {
                After::Start => self.started = true,
                After::Send { to, message } => self.send(to, message, out),
                After::SelfVote(epoch) => self.self_vote(now, epoch, out),
                After::Markers(epoch) => self.log.cache.mark_durable(epoch),
                After::Configure(configuration) => self.configured(configuration, out),
                After::Cut => self.cut_noted(out),
                After::Volatile(set) => self.volatile_noted(set),
                After::WitnessEnd(end) => self.log.flushed(end),
            }
        }
    }

    /// Sends, unless the disk has failed: then nothing that was promised may leave.
    pub(crate) fn send(&self, to: ReplicaKey, message: Message, out: &mut Vec<Effect>) {
        if !self.poisoned {
            out.push(Effect::Send { to, message });
        }
    }

    /// Sends when everything put so far is durable.
    pub(crate) fn send_when_durable(&mut self, to: ReplicaKey, message: Message, out: &mut Vec<Effect>) {
        let after = After::Send { to, message };
        if let After::Send { to, message } = after.clone()
            && (broken(Mutation::VoteBeforePut) || !self.puts.when_durable(after))
        {
            self.send(to, message, out);
        }
    }
}

impl Message {
    /// The epoch that the message shows to exist.
    const fn epoch(&self) -> LeaderEpoch {
        match self {
            Self::Vote(request) => request.epoch,
            Self::VoteResponse(response) => response.epoch,
            Self::BeginEpoch(begin) => begin.epoch,
            Self::EndEpoch(end) => end.epoch,
            Self::Fenced(fenced) => fenced.epoch,
            Self::Fetch(request) => request.epoch,
            Self::FetchResponse(response) => response.epoch,
            Self::Ack(ack) => ack.epoch,
            Self::Repair(_) | Self::RepairResponse(_) => 0,
        }
    }
}
