//! The sessions with the other brokers: what their core asks for, and the way between it and the replicas.
//!
//! What a replica says in a step is handed over as one turn, with the delay of any message between cores.

use millrace_metadata::Proposer;
use millrace_node::leaders::{LeadersEffect, LeadersEvent};
use millrace_node::metadata_store::MetadataEvent;
use millrace_node::peer::{LinkId, Plane};
use millrace_node::peers::{PeersEffect, PeersEvent, replica_event};
use millrace_node::replica::ReplicaEvent;
use millrace_node::{Answer, Core};
use millrace_raft::Peer;
use millrace_storage::{SeenStart, ToldStart};
use millrace_types::TopicPartition;

use super::port::{Event, Port, Who};
use super::process::Process;
use super::{Notice, Sent};
use crate::invariant::fence;

/// The process of a broker, as the metadata log names it.
const fn proposer(peer: Peer) -> Proposer {
    Proposer { broker: peer.key.broker, directory: peer.key.directory, incarnation: peer.incarnation }
}

impl Process {
    /// Tells the sessions something that came from the network.
    pub fn tell_peers(&mut self, port: &mut Port<'_>, event: PeersEvent) {
        self.peers(port, vec![event]);
    }

    /// Ends the turn of a core: what it had to say leaves together.
    pub(super) fn end_turn(&mut self, port: &mut Port<'_>, from: Who, mut turn: Vec<PeersEvent>) {
        if !turn.is_empty() && !self.peers.is_alone() {
            turn.push(PeersEvent::Flush);
            port.mail(from, Who::Peers, Event::Peers(turn));
        }
    }

    /// Steps of the sessions.
    pub(super) fn peers(&mut self, port: &mut Port<'_>, events: Vec<PeersEvent>) {
        let mut effects = Vec::new();
        for event in events {
            if let PeersEvent::Send { to, records, .. } = &event {
                self.room.arrive(to.broker, records.len());
            }
            self.peers.step(port.now, event, &mut effects);
        }
        for (broker, status) in self.peers.status() {
            self.room.set_queued(broker, status.queued_bytes);
        }
        for effect in effects {
            self.carry_out(port, effect);
        }
    }

    fn carry_out(&mut self, port: &mut Port<'_>, effect: PeersEffect) {
        match effect {
            PeersEffect::Dial { broker, shard, attempt } => self.sent.push(Sent::Dial { broker, shard, attempt }),
            PeersEffect::Write { connection, frame } => {
                self.sent.push(Sent::Write(connection, frame.to_bytes().slice(4..)));
            }
            PeersEffect::Keepalives { connection, every } => self.sent.push(Sent::Keepalives(connection, every)),
            PeersEffect::Close { connection, why } => {
                port.note(format_args!("closes {connection}: {why}"));
                self.close(connection);
            }
            PeersEffect::Remember { token, seen } => {
                let (incarnation, nonce) = (seen.start.incarnation, seen.start.nonce);
                let seen = SeenStart { broker: seen.broker, directory: seen.directory, incarnation, nonce };
                self.threads.remember(token, seen);
            }
            PeersEffect::Told { broker, start } => {
                let (incarnation, nonce) = (start.incarnation, start.nonce);
                self.threads.told(ToldStart { broker, incarnation, nonce });
            }
            PeersEffect::Tell { partitions, news } => {
                for partition in partitions {
                    self.to_replica(port, partition, ReplicaEvent::from(news));
                }
            }
            PeersEffect::Deliver { from, messages } => {
                if let Err(what) = fence::check(&from, self.broker(), &self.heard) {
                    port.notices.push(Notice::Stray { what });
                }
                for message in messages {
                    let (partition, event) = replica_event(from, self.broker(), message);
                    self.to_replica(port, partition, event);
                }
            }
            PeersEffect::Heard(peer) => {
                let broker = self.broker();
                port.note(format_args!("hears {} {}", peer.key.broker, peer.incarnation));
                port.notices.push(Notice::Heard { peer: peer.key.broker, by: broker });
                self.heard.insert(peer.key.broker, peer);
                port.mail(Who::Peers, Who::Leaders, Event::Leaders(LeadersEvent::Heard(peer)));
                port.mail(Who::Peers, Who::Metadata, Event::Metadata(MetadataEvent::BrokerUp(proposer(peer))));
            }
            PeersEffect::Silent(broker) => {
                port.note(format_args!("hears {broker} no longer"));
                self.heard.remove(&broker);
                port.mail(Who::Peers, Who::Leaders, Event::Leaders(LeadersEvent::Silent(broker)));
                port.mail(Who::Peers, Who::Metadata, Event::Metadata(MetadataEvent::BrokerDown(broker)));
            }
            PeersEffect::Refused { broker, by_remote, reason } => {
                port.note(format_args!("{broker}: refused, {reason:?} by_remote={by_remote}"));
            }
            PeersEffect::Timer(at) => self.set_timer(port, Who::Peers, at),
            PeersEffect::Plane { from, message } if message.plane == Plane::Leaders => {
                let event = LeadersEvent::Plane { from, body: message.body };
                port.mail(Who::Peers, Who::Leaders, Event::Leaders(event));
            }
            PeersEffect::Plane { from, message } => {
                let event = MetadataEvent::PeerMessage { from: proposer(from), bytes: message.body };
                port.mail(Who::Peers, Who::Metadata, Event::Metadata(event));
            }
            // The metadata log asks by itself.
            PeersEffect::Ahead { .. } => {}
        }
    }

    /// A step of the table of leaders.
    pub(super) fn leaders(&mut self, port: &mut Port<'_>, event: LeadersEvent) {
        let mut effects = Vec::new();
        self.leaders.step(port.now, event, &mut effects);
        let mut turn = Vec::new();
        for effect in effects {
            match effect {
                LeadersEffect::Send { to, message } => turn.push(PeersEvent::SendPlane { to, message }),
                LeadersEffect::Hint { partition, leader, epoch } => {
                    let event = Event::Replica(partition, ReplicaEvent::Hint { leader, epoch });
                    port.mail(Who::Leaders, Who::Replica(partition), event);
                }
                LeadersEffect::Transfer { partition, to } => {
                    let event = Event::Replica(partition, ReplicaEvent::Transfer { to });
                    port.mail(Who::Leaders, Who::Replica(partition), event);
                }
                LeadersEffect::Elected { to, error } => self.answer(port, Who::Leaders, to, Answer::Elected(error)),
                LeadersEffect::Timer(at) => self.set_timer(port, Who::Leaders, at),
            }
        }
        self.end_turn(port, Who::Leaders, turn);
    }

    fn close(&mut self, connection: LinkId) {
        self.sent.push(Sent::Close(connection));
    }

    #[expect(clippy::unused_self, reason = "one process, one way")]
    fn to_replica(&self, port: &mut Port<'_>, partition: TopicPartition, event: ReplicaEvent) {
        port.mail(Who::Peers, Who::Replica(partition), Event::Replica(partition, event));
    }
}
