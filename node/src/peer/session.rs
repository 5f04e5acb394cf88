//! The session: which connections there are, when the broker is heard, and what is said of losses.

use bytes::Bytes;
use millrace_types::Instant;

use super::answers::Answers;
use super::codec::{PeerFrame, decode};
use super::core::Peer;
use super::link::LinkState;
use super::mutation::{Mutation, broken};
use super::shard::CONTROL;
use super::{LinkId, Lost, Messages, PeerEffect};

impl Peer {
    /// Begins what may begin: dials, answers to hellos, and connections that carry messages.
    pub(crate) fn proceed(&mut self, now: Instant, out: &mut Vec<PeerEffect>) {
        for shard in 0..=self.catch_up_shard() {
            let Some(link) = self.links.get(usize::from(shard)) else { continue };
            match link.state {
                LinkState::Idle { again } if self.due(shard, again) <= now => self.dial(now, shard, out),
                LinkState::Waiting { connection, until } if self.may_answer(shard) => {
                    if self.dials() {
                        self.open(now, shard, connection, out);
                    } else {
                        if let Some(link) = self.link(shard) {
                            link.state = LinkState::Confirming { connection, until };
                        }
                        self.say_hello(shard, out);
                    }
                }
                _ => {}
            }
        }
    }

    /// Whether the other's start is remembered, and a session there to join.
    fn may_answer(&self, shard: u8) -> bool {
        let durable = |remote: super::core::Remote| self.memory.is_durable(remote.directory, remote.start);
        self.remote.is_some_and(durable) && (shard == CONTROL || self.up)
    }

    fn dial(&mut self, now: Instant, shard: u8, out: &mut Vec<PeerEffect>) {
        let until = now.after(self.settings.handshake_timeout);
        let Some(link) = self.link(shard) else { return };
        link.attempt += 1;
        (link.unwritten, link.answers) = (0, Answers::default());
        link.state = LinkState::Dialing { until };
        out.push(PeerEffect::Dial { shard, attempt: link.attempt });
    }

    /// The handshake is over.
    fn open(&mut self, now: Instant, shard: u8, connection: LinkId, out: &mut Vec<PeerEffect>) {
        let every = self.settings.keepalive;
        let lost = Lost { shard, shards: self.shards() };
        let Some(link) = self.link(shard) else { return };
        link.state = LinkState::Open { connection };
        (link.heard, link.failures, link.missing_since) = (now, 0, Instant::NEVER);
        let asks = std::mem::take(&mut link.lost);
        out.push(PeerEffect::Keepalives { connection, every });
        if shard == CONTROL {
            self.begin_session(now, out);
        }
        // Who is told that the session is up asks without being told so.
        if asks && shard != CONTROL && !broken(Mutation::ForgetQueued) {
            out.push(PeerEffect::Refetch(lost));
        }
        self.flush(now, shard, out);
    }

    /// A session that is up says that either side remembers the other's start: the next hello has to tell it.
    fn note_told(&mut self, out: &mut Vec<PeerEffect>) {
        let Some(start) = self.local.starts.last().copied() else { return };
        if self.local.told.insert(self.broker, start) != Some(start) {
            out.push(PeerEffect::Told(start));
        }
    }

    fn begin_session(&mut self, now: Instant, out: &mut Vec<PeerEffect>) {
        let Some(remote) = self.remote else { return };
        (self.up, self.heard) = (true, now);
        self.counters.sessions += 1;
        for link in self.links.iter_mut().skip(1) {
            link.missing_since = now;
            if let LinkState::Idle { again } = &mut link.state {
                *again = (*again).min(now);
            }
        }
        out.push(PeerEffect::SessionUp(self.replica(remote)));
        self.note_told(out);
    }

    /// A connection is gone, or is given up (`close`). What waited for it is lost, in order, and control's loss ends the session.
    pub(crate) fn lose(&mut self, now: Instant, shard: u8, why: &'static str, close: bool, out: &mut Vec<PeerEffect>) {
        let dials = self.dials();
        let Some(link) = self.links.get_mut(usize::from(shard)) else { return };
        if let Some(connection) = link.connection().filter(|_| close) {
            out.push(PeerEffect::Close { connection, why });
        }
        (link.unwritten, link.answers) = (0, Answers::default());
        // Before the first frame nothing was sent from here, but what the other has sent may be on its way.
        link.lost |= matches!(link.state, LinkState::Open { .. } | LinkState::Confirming { .. });
        if link.open().is_some() {
            self.counters.resets += 1;
            self.counters.dropped += link.queue.clear() as u64;
            link.missing_since = now;
        }
        if !matches!(link.state, LinkState::Idle { .. }) {
            let pause = self.jitter.pause(&self.settings, link.failures);
            link.failures = link.failures.saturating_add(1);
            link.state = LinkState::Idle { again: if dials { now.after(pause) } else { Instant::NEVER } };
        }
        if shard == CONTROL && self.up {
            self.end_session(now, why, None, out);
        }
    }

    /// Ends the session and every connection, but that of the shard to `keep`. The broker is heard no longer.
    pub(crate) fn end_session(&mut self, now: Instant, why: &'static str, keep: Option<u8>, out: &mut Vec<PeerEffect>) {
        if std::mem::take(&mut self.up) {
            tracing::info!(broker = %self.broker, why, "the session is over");
            out.push(PeerEffect::SessionDown { broker: self.broker, heard: self.heard });
        }
        for shard in 0..=self.catch_up_shard() {
            let greets = |link: &super::link::Link| matches!(link.state, LinkState::Greeting { .. });
            if Some(shard) == keep && self.links.get(usize::from(shard)).is_some_and(greets) {
                continue;
            }
            self.lose(now, shard, why, true, out);
            if let Some(link) = self.link(shard) {
                // What was sent to the session goes with it; replicas are told when the next one begins.
                link.lost |= !link.queue.is_empty();
                link.answers = Answers::default();
                let dropped = link.queue.clear() as u64;
                self.counters.dropped += dropped;
            }
        }
    }

    /// A refusal is not over soon: wait longer than after a reset.
    pub(crate) fn pause(&mut self, now: Instant, shard: u8) {
        let pause = self.jitter.refused(&self.settings);
        if let Some(link) = self.link(shard)
            && let LinkState::Idle { again } = &mut link.state
            && *again != Instant::NEVER
        {
            *again = now.after(pause);
        }
    }

    /// The broker is said to live: no pause any more.
    pub(crate) fn nudge(&mut self, now: Instant) {
        for link in &mut self.links {
            if let LinkState::Idle { again } = &mut link.state
                && *again != Instant::NEVER
            {
                *again = now;
            }
        }
    }

    /// Bytes came that are no whole frame yet. A frame may be long, and the way slow: who speaks is not silent.
    pub(crate) fn progress(&mut self, now: Instant, connection: LinkId) {
        let Some(shard) = self.shard_of_connection(connection) else { return };
        if let Some(link) = self.link(shard).filter(|link| link.open().is_some())
            && !broken(Mutation::HearWholeFrames)
        {
            link.heard = now;
            self.heard = now;
        }
    }

    /// A frame came; one of a connection that was replaced or given up is nobody's.
    pub(crate) fn frame(&mut self, now: Instant, connection: LinkId, frame: Bytes, out: &mut Vec<PeerEffect>) {
        let Some(shard) = self.shard_of_connection(connection) else { return };
        let frame = match decode(frame) {
            Ok(frame) => frame,
            Err(error) => {
                tracing::warn!(broker = %self.broker, shard, %error, "a frame is not taken");
                return self.lose(now, shard, "a malformed frame", true, out);
            }
        };
        let Some(link) = self.link(shard) else { return };
        link.heard = now;
        match (link.state, frame) {
            (LinkState::Greeting { .. }, PeerFrame::Hello(hello)) => self.answered(now, shard, &hello, out),
            (_, PeerFrame::HelloRefused(reason)) => self.refused(now, shard, reason, out),
            (
                LinkState::Confirming { .. },
                frame @ (PeerFrame::Keepalive { .. } | PeerFrame::Messages(_) | PeerFrame::Plane(_)),
            ) => {
                self.open(now, shard, connection, out);
                self.taken(now, frame, out);
            }
            (
                LinkState::Open { .. },
                frame @ (PeerFrame::Keepalive { .. } | PeerFrame::Messages(_) | PeerFrame::Plane(_)),
            ) => {
                self.taken(now, frame, out);
            }
            _ => self.lose(now, shard, "a frame out of turn", true, out),
        }
    }

    /// A frame of the session.
    fn taken(&mut self, now: Instant, frame: PeerFrame, out: &mut Vec<PeerEffect>) {
        self.heard = now;
        let Some(from) = self.remote.map(|remote| self.replica(remote)) else { return };
        match frame {
            PeerFrame::Messages(Messages { metadata_epoch, messages }) => {
                self.learn(metadata_epoch, out);
                if !messages.is_empty() {
                    out.push(PeerEffect::Deliver { from, messages });
                }
            }
            PeerFrame::Plane(message) => out.push(PeerEffect::Plane { from, message }),
            PeerFrame::Hello(_) | PeerFrame::HelloRefused(_) | PeerFrame::Keepalive { .. } => {}
        }
    }

    /// The other broker says how far its metadata is.
    pub(crate) fn learn(&mut self, epoch: u64, out: &mut Vec<PeerEffect>) {
        if epoch > self.applied.1 {
            self.applied.1 = epoch;
            out.push(PeerEffect::Ahead { broker: self.broker, epoch });
        }
    }

    /// Gives up what has taken too long.
    pub(crate) fn expire(&mut self, now: Instant, out: &mut Vec<PeerEffect>) {
        let timeout = self.health.timeout(&self.settings);
        for shard in 0..=self.catch_up_shard() {
            let Some(link) = self.links.get(usize::from(shard)) else { continue };
            let silent = link.open().is_some() && link.heard.after(timeout) <= now;
            if silent && !broken(Mutation::KeepSilent) {
                self.lose(now, shard, "silent for too long", true, out);
            } else if link.until() <= now {
                self.lose(now, shard, "the handshake takes too long", true, out);
            }
            if self.missing_until(shard) <= now {
                self.lose(now, CONTROL, "a shard is missing for too long", true, out);
            }
        }
    }
}
