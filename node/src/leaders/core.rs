//! The core: what this broker leads is told to those it hears, and what they tell is published.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_raft::{Peer as RemotePeer, ReplicaKey};
use millrace_types::{BrokerId, ErrorCode, Instant, LeaderEpoch, Now, TopicPartition};

use super::balance::Balance;
use super::codec::{Entry, LeadersMessage};
use super::elections::Elections;
use super::event::{LeadersEffect, LeadersEvent};
use super::hints::Hint;
use super::owned::Owned;
use super::sender::Sender;
use crate::call::ReplyTo;
use crate::core::Core;
use crate::directory::Directory;

/// The most entries that are kept of one broker; beyond them it is not believed.
const MAX_REMOTE: usize = 1_000_000;

/// What one broker has told.
#[derive(Debug, Default)]
struct Remote {
    entries: BTreeMap<TopicPartition, (LeaderEpoch, Arc<[BrokerId]>)>,
    stream: u64,
    /// Entries of an earlier session that this one has not told again; `None` when it has told everything.
    unconfirmed: Option<BTreeSet<TopicPartition>>,
}

/// The table of leaders.
#[derive(Debug)]
pub struct Leaders {
    me: BrokerId,
    directory: Arc<Directory>,
    owned: Owned,
    remotes: BTreeMap<BrokerId, Remote>,
    /// The brokers that are heard.
    senders: BTreeMap<BrokerId, Sender>,
    next_stream: u64,
    elections: Elections,
    balance: Balance,
    timer: Instant,
}

impl Leaders {
    /// The table of broker `me`, which publishes to `directory`. After having been in sync for as long as `patience`, it asks to lead
    /// what it is the preferred leader of; never with `None`.
    #[must_use]
    pub fn new(me: BrokerId, directory: Arc<Directory>, patience: Option<Duration>) -> Self {
        Self {
            me,
            directory,
            owned: Owned::default(),
            remotes: BTreeMap::new(),
            senders: BTreeMap::new(),
            next_stream: 1,
            elections: Elections::default(),
            balance: Balance::new(me, patience),
            timer: Instant::NEVER,
        }
    }

    /// A replica's view has changed: its entry follows, if this broker leads or led the partition.
    fn view(&mut self, partition: TopicPartition, out: &mut Vec<LeadersEffect>) {
        let view = self.directory.partition(&partition);
        let led = view.as_ref().and_then(|view| view.leader_epoch().map(|epoch| (epoch, view.in_sync_brokers())));
        let entry = match led {
            Some((epoch, in_sync)) => {
                let in_sync = if in_sync.is_empty() { vec![self.me] } else { in_sync.to_vec() };
                Entry::Leads { epoch, in_sync }
            }
            None => match self.owned.get(partition) {
                Some(Entry::Leads { epoch, .. }) => Entry::Left { epoch: *epoch },
                Some(Entry::Left { .. }) | None => return self.settle_elections(partition, out),
            },
        };
        if self.owned.put(partition, entry) {
            self.tell(out);
            self.forget_left();
        }
        self.settle_elections(partition, out);
    }

    fn tell(&mut self, out: &mut Vec<LeadersEffect>) {
        for sender in self.senders.values_mut() {
            sender.advance(&self.owned, out);
        }
    }

    fn forget_left(&mut self) {
        let known = self.senders.values().map(Sender::known).min().unwrap_or(u64::MAX);
        self.owned.forget_left(known);
    }

    fn heard(&mut self, broker: BrokerId, out: &mut Vec<LeadersEffect>) {
        if broker == self.me {
            return;
        }
        let mut sender = Sender::new(broker, self.next_stream);
        self.next_stream += 1;
        sender.advance(&self.owned, out);
        self.senders.insert(broker, sender);
        self.directory.hints().set_heard(broker, true);
    }

    fn silent(&mut self, broker: BrokerId) {
        self.senders.remove(&broker);
        self.forget_left();
        self.directory.hints().set_heard(broker, false);
    }

    fn removed(&mut self, broker: BrokerId) {
        self.silent(broker);
        let Some(remote) = self.remotes.remove(&broker) else { return };
        for partition in remote.entries.into_keys() {
            self.publish(partition);
        }
    }

    fn message(&mut self, from: RemotePeer, body: Bytes, out: &mut Vec<LeadersEffect>) {
        let broker = from.key.broker;
        match LeadersMessage::decode(body) {
            Ok(LeadersMessage::Update { stream, number, complete, entries }) => {
                self.update(from.key, (stream, number), complete, entries, out);
                let taken = LeadersMessage::Taken { stream, number };
                out.push(LeadersEffect::Send { to: broker, message: taken.encode() });
            }
            Ok(LeadersMessage::Taken { stream, number }) => {
                if let Some(sender) = self.senders.get_mut(&broker) {
                    sender.taken(stream, number);
                    sender.advance(&self.owned, out);
                    self.forget_left();
                }
            }
            Ok(LeadersMessage::Transfer { partition, to }) => self.transfer(partition, to, out),
            Err(error) => tracing::warn!(%broker, %error, "what a broker says of leaders is not understood"),
        }
    }

    /// Takes entries of `from` in. What an earlier session told and this one does not is over.
    fn update(
        &mut self,
        from: ReplicaKey,
        (stream, number): (u64, u64),
        complete: bool,
        entries: Vec<(TopicPartition, Entry)>,
        out: &mut Vec<LeadersEffect>,
    ) {
        let remote = self.remotes.entry(from.broker).or_default();
        if number == 0 {
            remote.stream = stream;
            remote.unconfirmed = Some(remote.entries.keys().copied().collect());
        } else if remote.stream != stream {
            return;
        }
        let mut touched = Vec::with_capacity(entries.len());
        for (partition, entry) in entries {
            if let Some(unconfirmed) = &mut remote.unconfirmed {
                unconfirmed.remove(&partition);
            }
            match entry {
                Entry::Leads { epoch, in_sync } => {
                    if remote.entries.len() >= MAX_REMOTE && !remote.entries.contains_key(&partition) {
                        continue;
                    }
                    remote.entries.insert(partition, (epoch, in_sync.into()));
                }
                Entry::Left { .. } => drop(remote.entries.remove(&partition)),
            }
            touched.push(partition);
        }
        if complete {
            for partition in remote.unconfirmed.take().unwrap_or_default() {
                remote.entries.remove(&partition);
                touched.push(partition);
            }
        }
        for partition in touched {
            if self.publish(partition) {
                self.hint_replica(partition, from, out);
                self.settle_elections(partition, out);
            }
        }
    }

    /// Publishes the entry of the greatest epoch; says whether it is another one.
    fn publish(&self, partition: TopicPartition) -> bool {
        let entry = |(broker, remote): (&BrokerId, &Remote)| {
            let (epoch, in_sync) = remote.entries.get(&partition)?;
            Some(Hint { leader: *broker, epoch: *epoch, in_sync: Arc::clone(in_sync) })
        };
        let best = self.remotes.iter().filter_map(entry).max_by_key(|hint| (hint.epoch, hint.leader));
        self.directory.hints().put(partition, best)
    }

    /// Tells the replica hosted here that `from` leads, unless it knows as much.
    fn hint_replica(&self, partition: TopicPartition, from: ReplicaKey, out: &mut Vec<LeadersEffect>) {
        let hint = self.directory.hints().get(&partition).filter(|hint| hint.leader == from.broker);
        let view = self.directory.partition(&partition);
        let (Some(hint), Some(view)) = (hint, view) else { return };
        if view.epoch() < hint.epoch || (view.epoch() == hint.epoch && view.leader().is_none()) {
            out.push(LeadersEffect::Hint { partition, leader: from, epoch: hint.epoch });
        }
    }

    /// Number of entries that are told to others.
    #[cfg(test)]
    pub(super) fn owned(&self) -> usize {
        self.owned.len()
    }

    fn settle_elections(&mut self, partition: TopicPartition, out: &mut Vec<LeadersEffect>) {
        if let Some(leader) = self.directory.leader(&partition) {
            self.elections.led(partition, leader.broker, out);
        }
    }

    /// Has the replica hosted here hand over, if it leads and the successor is in sync.
    fn transfer(&self, partition: TopicPartition, to: BrokerId, out: &mut Vec<LeadersEffect>) {
        let Some(view) = self.directory.partition(&partition).filter(|view| view.leader_epoch().is_some()) else {
            return;
        };
        let image = self.directory.image();
        if let Some(broker) = image.broker(to).filter(|_| view.in_sync_brokers().contains(&to)) {
            let to = ReplicaKey { broker: to, directory: broker.directory };
            out.push(LeadersEffect::Transfer { partition, to });
        }
    }

    fn elect(
        &mut self,
        (from, partition): (ReplyTo, TopicPartition),
        to: BrokerId,
        deadline: Instant,
        out: &mut Vec<LeadersEffect>,
    ) {
        let error = match self.directory.leader(&partition) {
            None => ErrorCode::LeaderNotAvailable,
            Some(leader) if leader.broker == to => ErrorCode::None,
            Some(leader) => {
                if !self.elections.wait(from, partition, to, deadline) {
                    out.push(LeadersEffect::Elected { to: from, error: ErrorCode::RequestTimedOut });
                    return;
                }
                if leader.broker == self.me {
                    return self.transfer(partition, to, out);
                }
                let message = LeadersMessage::Transfer { partition, to }.encode();
                out.push(LeadersEffect::Send { to: leader.broker, message });
                return;
            }
        };
        out.push(LeadersEffect::Elected { to: from, error });
    }

    fn schedule(&mut self, now: Instant, out: &mut Vec<LeadersEffect>) {
        let deadline = self.elections.deadline().min(self.balance.due(now));
        if deadline < self.timer {
            self.timer = deadline;
            out.push(LeadersEffect::Timer(deadline));
        }
    }
}

impl Core for Leaders {
    type Event = LeadersEvent;
    type Effect = LeadersEffect;

    fn step(&mut self, now: Now, event: LeadersEvent, out: &mut Vec<LeadersEffect>) {
        match event {
            LeadersEvent::View(partition) | LeadersEvent::Unhosted(partition) => self.view(partition, out),
            LeadersEvent::Heard(peer) => self.heard(peer.key.broker, out),
            LeadersEvent::Silent(broker) => self.silent(broker),
            LeadersEvent::Removed(broker) => self.removed(broker),
            LeadersEvent::Plane { from, body } => self.message(from, body, out),
            LeadersEvent::Elect { from, partition, to, deadline } => self.elect((from, partition), to, deadline, out),
            LeadersEvent::Timer => {
                self.timer = Instant::NEVER;
                self.elections.expire(now.instant, out);
                self.balance.look(now.instant, &self.directory, out);
            }
        }
        self.schedule(now.instant, out);
    }
}
