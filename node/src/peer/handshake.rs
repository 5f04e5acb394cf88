//! Hellos: who is at the other end, and whether it may be.

use millrace_types::Instant;

use super::codec::{hello_frame, refused_frame};
use super::core::{Peer, Remote};
use super::link::LinkState;
use super::mutation::{Mutation, broken};
use super::shard::{CONTROL, MAX_SHARDS};
use super::{Hello, LinkId, PROTOCOL, PeerEffect, Refusal, Remembered};
use crate::wire::Frame;

impl Peer {
    /// A dial has come through: say hello.
    pub(crate) fn connected(
        &mut self,
        now: Instant,
        shard: u8,
        attempt: u64,
        connection: LinkId,
        out: &mut Vec<PeerEffect>,
    ) {
        let until = now.after(self.settings.handshake_timeout);
        match self.link(shard) {
            Some(link) if link.attempt == attempt && matches!(link.state, LinkState::Dialing { .. }) => {
                link.state = LinkState::Greeting { connection, until };
                self.say_hello(shard, out);
            }
            _ => out.push(PeerEffect::Close { connection, why: "the dial was given up" }),
        }
    }

    pub(crate) fn dial_failed(
        &mut self,
        now: Instant,
        shard: u8,
        attempt: u64,
        refused: bool,
        out: &mut Vec<PeerEffect>,
    ) {
        let Some(link) = self.link(shard) else { return };
        if link.attempt != attempt || !matches!(link.state, LinkState::Dialing { .. }) {
            return;
        }
        self.lose(now, shard, "the dial failed", false, out);
        if refused && self.up {
            self.lose(now, CONTROL, "nobody listens any more", true, out);
        }
    }

    /// The other broker has dialed and said hello.
    pub(crate) fn accepted(&mut self, now: Instant, connection: LinkId, hello: &Hello, out: &mut Vec<PeerEffect>) {
        let judged = if self.dials() { Err(Refusal::Malformed) } else { self.vet(hello) };
        let remote = match judged.and_then(|()| self.admit(now, hello, out)) {
            Ok(remote) => remote,
            Err(reason) => return self.refuse(now, connection, hello, reason, out),
        };
        if self.shards() != hello.shards {
            self.resize(hello.shards);
        }
        let until = now.after(self.settings.handshake_timeout);
        let newest = self.link(hello.shard).map_or(u64::MAX, |link| link.attempt);
        if hello.attempt <= newest && !broken(Mutation::AcceptOldConnection) {
            out.push(PeerEffect::Close { connection, why: "the shard has a later connection" });
            return;
        }
        self.lose(now, hello.shard, "replaced by a later connection", true, out);
        self.remember(remote, out);
        self.learn(hello.metadata_epoch, out);
        if let Some(link) = self.link(hello.shard) {
            link.attempt = hello.attempt;
            link.unwritten = 0;
            link.state = LinkState::Waiting { connection, until };
        }
    }

    /// The other broker answers the hello.
    pub(crate) fn answered(&mut self, now: Instant, shard: u8, hello: &Hello, out: &mut Vec<PeerEffect>) {
        let shards = self.shards();
        let Some(link) = self.links.get(usize::from(shard)) else { return };
        let LinkState::Greeting { connection, until } = link.state else { return };
        let ours = (hello.shard, hello.shards, hello.attempt) == (shard, shards, link.attempt);
        let judged = if ours { self.vet(hello) } else { Err(Refusal::Malformed) };
        match judged.and_then(|()| self.admit(now, hello, out)) {
            Ok(remote) => {
                self.remember(remote, out);
                self.learn(hello.metadata_epoch, out);
                // A new start of the other broker has ended the session, and with it this connection, but for control's.
                if let Some(link) = self.link(shard).filter(|link| link.connection() == Some(connection)) {
                    link.state = LinkState::Waiting { connection, until };
                }
            }
            Err(reason) => {
                out.push(PeerEffect::Write { connection, frame: Frame::from(refused_frame(reason)) });
                self.note_refusal(false, reason, out);
                self.lose(now, shard, "the answer to the hello is refused", true, out);
                self.end_cloned(now, hello, reason, out);
                self.pause(now, shard);
            }
        }
    }

    /// The other broker refuses the hello.
    pub(crate) fn refused(&mut self, now: Instant, shard: u8, reason: Refusal, out: &mut Vec<PeerEffect>) {
        self.note_refusal(true, reason, out);
        self.lose(now, shard, "the hello is refused", true, out);
        self.pause(now, shard);
    }

    /// Whether the hello is meant for this broker and can be understood.
    fn vet(&self, hello: &Hello) -> Result<(), Refusal> {
        if hello.cluster_id != self.local.cluster_id {
            return Err(Refusal::Cluster);
        }
        if hello.protocol < PROTOCOL {
            return Err(Refusal::Protocol);
        }
        if (hello.broker, hello.to) != (self.broker, self.local.broker) {
            return Err(Refusal::Broker);
        }
        if hello.generation != self.local.generation {
            return Err(Refusal::Generation);
        }
        if !hello.is_sound() || hello.shards > MAX_SHARDS {
            return Err(Refusal::Malformed);
        }
        Ok(())
    }

    /// Whether the sender may be who it says. A later start ends what an earlier one has begun.
    fn admit(&mut self, now: Instant, hello: &Hello, out: &mut Vec<PeerEffect>) -> Result<Remote, Refusal> {
        let remote = Remote { directory: hello.directory, start: self.memory.judge(hello)? };
        let busy = self.links.iter().any(super::link::Link::is_greeted);
        if let Some(known) = self.remote.filter(|known| *known != remote) {
            if busy && known.directory != remote.directory {
                return Err(Refusal::Taken);
            }
            // On the dialing side this is the connection that the hello came by: it stays, if it is control's.
            let keep = if self.dials() { Some(CONTROL) } else { None };
            self.end_session(now, "the other broker has started again", keep, out);
            if !self.dials() {
                self.links.iter_mut().for_each(|link| link.attempt = 0);
            }
        } else if busy && hello.shards != self.shards() {
            return Err(Refusal::Malformed);
        }
        self.remote = Some(remote);
        Ok(remote)
    }

    fn remember(&mut self, remote: Remote, out: &mut Vec<PeerEffect>) {
        if let Some(token) = self.memory.note(remote.directory, remote.start) {
            let seen = Remembered { broker: self.broker, directory: remote.directory, start: remote.start };
            out.push(PeerEffect::Remember { token, seen });
        }
    }

    fn refuse(&mut self, now: Instant, connection: LinkId, hello: &Hello, reason: Refusal, out: &mut Vec<PeerEffect>) {
        self.note_refusal(false, reason, out);
        out.push(PeerEffect::Write { connection, frame: Frame::from(refused_frame(reason)) });
        out.push(PeerEffect::Close { connection, why: "the hello is refused" });
        self.end_cloned(now, hello, reason, out);
    }

    /// Two processes claim to be one: neither is believed.
    fn end_cloned(&mut self, now: Instant, hello: &Hello, reason: Refusal, out: &mut Vec<PeerEffect>) {
        let same = self.remote.is_some_and(|remote| remote.directory == hello.directory);
        if reason == Refusal::Cloned && same {
            self.end_session(now, "the other broker's disk was copied", None, out);
        }
    }

    fn note_refusal(&mut self, by_remote: bool, reason: Refusal, out: &mut Vec<PeerEffect>) {
        tracing::warn!(broker = %self.broker, by_remote, ?reason, "a hello is refused");
        self.counters.refused += 1;
        out.push(PeerEffect::Refused { by_remote, reason });
    }

    /// Sends the hello of a shard: the first frame of its connection, or the answer.
    pub(crate) fn say_hello(&mut self, shard: u8, out: &mut Vec<PeerEffect>) {
        let Some(link) = self.links.get(usize::from(shard)) else { return };
        let Some(connection) = link.connection() else { return };
        let hello = Hello {
            cluster_id: self.local.cluster_id.clone(),
            protocol: PROTOCOL,
            broker: self.local.broker,
            to: self.broker,
            directory: self.local.directory,
            starts: self.local.starts.clone(),
            metadata_epoch: self.applied.0,
            generation: self.local.generation,
            shard,
            shards: self.shards(),
            attempt: link.attempt,
        };
        self.write(shard, connection, Frame::from(hello_frame(&hello)), out);
    }
}
