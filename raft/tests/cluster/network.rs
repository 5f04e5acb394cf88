//! The simulated network: delay, loss, duplicates, links that carry one way only, and sessions on top.

use millrace_raft::{Envelope, Event, FetchBody, Message, Peer, ReplicaKey};
use millrace_types::Instant;

use crate::host::spans;
use crate::print;
use crate::store::Rec;
use crate::world::{Happening, World};

/// What one broker hears of another.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Hearing {
    pub(crate) last: u64,
    /// The incarnation whose session is up.
    pub(crate) up: Option<u64>,
}

impl World {
    pub(crate) fn send(&mut self, from: usize, to: ReplicaKey, message: Message, payload: Vec<Rec>) {
        let host = &self.hosts[from];
        let envelope = Envelope { from: Peer { key: host.key, incarnation: host.incarnation }, to, message };
        let times = 1 + u64::from(!self.healed && self.dice.chance(self.plan.duplicates));
        for _ in 0..times {
            let delay = self.dice.between(self.plan.delay.0, self.plan.delay.1);
            let lost = !self.healed && self.dice.chance(self.plan.loss);
            if !lost {
                let deliver = Happening::Deliver { envelope: Box::new(envelope.clone()), payload: payload.clone() };
                self.at(self.now + delay, deliver);
            }
        }
    }

    /// A message arrives, unless its link carries nothing now.
    pub(crate) fn deliver(&mut self, mut envelope: Envelope, payload: &[Rec]) {
        let (from, to) = (self.index(envelope.from.key), self.index(envelope.to));
        if self.blocked.contains(&(from, to)) || self.hosts[to].raft.is_none() {
            return;
        }
        if let Some(kept) = self.kept.get_mut(&(from, to)) {
            return kept.push((envelope, payload.to_vec()));
        }
        if self.talkative {
            self.note(print::message(&envelope));
        }
        if let Message::FetchResponse(response) = &mut envelope.message
            && let FetchBody::Records { spans: seen, .. } = &mut response.body
        {
            *seen = spans(response.position.offset, payload);
        }
        self.fenced_step(to, envelope, payload);
    }

    /// I18: a message of an incarnation that has a successor changes nothing.
    fn fenced_step(&mut self, at: usize, envelope: Envelope, payload: &[Rec]) {
        let from = envelope.from;
        let newest = self.hosts[at].heard.entry(from.key).or_insert(from.incarnation);
        let is_fenced = from.incarnation < *newest;
        *newest = from.incarnation.max(*newest);
        let mut twin = self.hosts[at].raft.clone().filter(|_| is_fenced);
        self.step_as(at, Event::Receive(envelope), false, payload);
        // But for what the time brings about.
        twin.iter_mut().for_each(|twin| twin.step(Instant::from_micros(self.now), Event::Timer, &mut Vec::new()));
        if twin.is_some() && format!("{twin:?}") != format!("{:?}", self.hosts[at].raft) {
            self.violated("I18", format!("{} took a message of a fenced start of {}", self.hosts[at].key, from.key));
        }
    }

    /// Frames flow every 20 ms on each link that carries; what is not heard for the session timeout is silent.
    pub(crate) fn hear(&mut self) {
        let timeout = self.plan.settings.session_timeout.as_micros() as u64;
        let count = self.hosts.len();
        for (a, b) in (0..count).flat_map(|a| (0..count).map(move |b| (a, b))).filter(|(a, b)| a != b) {
            let listens = self.hosts[a].raft.is_some() && self.hosts[a].paused_until <= self.now;
            if !listens {
                continue;
            }
            let speaks = self.hosts[b].raft.is_some() && self.hosts[b].paused_until <= self.now;
            let incarnation = self.hosts[b].incarnation;
            let hearing = &mut self.hearing[a][b];
            if speaks && !self.blocked.contains(&(b, a)) {
                hearing.last = self.now;
                if hearing.up != Some(incarnation) {
                    hearing.up = Some(incarnation);
                    let peer = Peer { key: self.hosts[b].key, incarnation };
                    self.hosts[a].heard.insert(peer.key, incarnation);
                    self.step(a, Event::SessionUp(peer));
                }
            } else if hearing.up.is_some() && self.now.saturating_sub(hearing.last) > timeout {
                let heard = Instant::from_micros(hearing.last);
                hearing.up = None;
                let broker = self.hosts[b].key.broker;
                self.step(a, Event::SessionDown { broker, heard });
            }
        }
    }

    /// The others notice at once that a process is gone: its connections are reset.
    pub(crate) fn reset_connections(&mut self, gone: usize) {
        for at in 0..self.hosts.len() {
            if at != gone && self.hearing[at][gone].up.is_some() {
                self.hearing[at][gone].up = None;
                let (broker, heard) = (self.hosts[gone].key.broker, Instant::from_micros(self.now));
                self.step(at, Event::SessionDown { broker, heard });
            }
            self.hearing[gone][at].up = None;
        }
    }

    /// Overdue answers are asked for again.
    pub(crate) fn refetch(&mut self) {
        for at in 0..self.hosts.len() {
            let paused = self.hosts[at].paused_until > self.now;
            if !paused && self.hosts[at].raft.as_ref().is_some_and(|raft| raft.fetch().is_some()) {
                self.step(at, Event::Refetch);
            }
        }
    }
}
