//! The core: what happens is routed to the sessions with the broker that it is about.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use millrace_raft::{FetchResponse, Message, Peer as RemotePeer};
use millrace_types::{BrokerId, DirectoryId, Instant, Now, Random, TopicPartition};

use super::silence::Silence;
use super::{News, PeersEffect, PeersEvent};
use crate::core::Core;
use crate::directory::Directory;
use crate::peer::{
    LinkId, LocalBroker, Lost, Outgoing, Peer, PeerEffect, PeerEvent, PeerFrame, PeerMessage, PeerSettings, PeerStatus,
    Refusal, Remembered, decode, refused_frame,
};
use crate::wire::Frame;

/// The sessions with one broker.
#[derive(Debug)]
struct Sessions {
    core: Peer,
    /// Who is heard.
    up: Option<RemotePeer>,
    /// When it asked to be called.
    timer: Instant,
}

/// The sessions with all other brokers of the cluster.
#[derive(Debug)]
pub struct Peers {
    sessions: BTreeMap<BrokerId, Sessions>,
    /// The data directory that replicas here are on.
    me: DirectoryId,
    directory: Arc<Directory>,
    hosted: BTreeSet<TopicPartition>,
    silence: Silence,
    /// When the host was last asked to call.
    timer: Instant,
    /// Kept between steps, so that each needs no allocation.
    effects: Vec<PeerEffect>,
}

impl Peers {
    /// The sessions of `local` with `brokers`. `seen` is what the write-ahead store remembers of directories, `seed` a number drawn at
    /// random.
    #[must_use]
    pub fn new(
        local: &LocalBroker,
        brokers: impl IntoIterator<Item = BrokerId>,
        seen: &[Remembered],
        settings: &PeerSettings,
        directory: Arc<Directory>,
        seed: u64,
    ) -> Self {
        let others = brokers.into_iter().filter(|broker| *broker != local.broker);
        let session = |broker: BrokerId| {
            let seen = seen.iter().copied().filter(move |seen| seen.broker == broker);
            let seed = Random::seed(&[seed, u64::from(broker.0.cast_unsigned())]);
            let core = Peer::new(local.clone(), broker, seen, settings.clone(), seed);
            (broker, Sessions { core, up: None, timer: Instant::NEVER })
        };
        Self {
            sessions: others.map(session).collect(),
            me: local.directory,
            directory,
            hosted: BTreeSet::new(),
            silence: Silence::default(),
            timer: Instant::NEVER,
            effects: Vec::new(),
        }
    }

    /// Whether there is no other broker.
    #[must_use]
    pub fn is_alone(&self) -> bool {
        self.sessions.is_empty()
    }

    /// What metrics tell of the sessions with each broker.
    pub fn status(&self) -> impl Iterator<Item = (BrokerId, PeerStatus)> + '_ {
        self.sessions.iter().map(|(broker, sessions)| (*broker, sessions.core.status()))
    }

    /// Replicas that wait to be told that their leader is silent.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.silence.waiting()
    }

    fn tell(partitions: Vec<TopicPartition>, news: News, out: &mut Vec<PeersEffect>) {
        if !partitions.is_empty() {
            out.push(PeersEffect::Tell { partitions, news });
        }
    }

    /// An event for the sessions with `broker`.
    fn peer(&mut self, now: Now, broker: BrokerId, event: PeerEvent, out: &mut Vec<PeersEffect>) {
        let Some(sessions) = self.sessions.get_mut(&broker) else {
            tracing::debug!(%broker, "there is no such broker");
            return;
        };
        let mut effects = std::mem::take(&mut self.effects);
        sessions.core.step(now, event, &mut effects);
        for effect in effects.drain(..) {
            self.carry_out(now, broker, effect, out);
        }
        self.effects = effects;
    }

    fn carry_out(&mut self, now: Now, broker: BrokerId, effect: PeerEffect, out: &mut Vec<PeersEffect>) {
        match effect {
            PeerEffect::Dial { shard, attempt } => out.push(PeersEffect::Dial { broker, shard, attempt }),
            PeerEffect::Write { connection, frame } => out.push(PeersEffect::Write { connection, frame }),
            PeerEffect::Keepalives { connection, every } => out.push(PeersEffect::Keepalives { connection, every }),
            PeerEffect::Close { connection, why } => out.push(PeersEffect::Close { connection, why }),
            PeerEffect::Remember { token, seen } => out.push(PeersEffect::Remember { token, seen }),
            PeerEffect::SessionUp(peer) => self.up(now, peer, out),
            PeerEffect::SessionDown { heard, .. } => self.down(now, broker, heard, out),
            PeerEffect::Deliver { from, messages } => self.arrived(now, from, messages, out),
            PeerEffect::Plane { from, message } => out.push(PeersEffect::Plane { from, message }),
            PeerEffect::Refetch(lost) => self.refetch(broker, lost, out),
            PeerEffect::Told(start) => out.push(PeersEffect::Told { broker, start }),
            PeerEffect::Ahead { epoch, .. } => out.push(PeersEffect::Ahead { broker, epoch }),
            PeerEffect::Refused { by_remote, reason } => out.push(PeersEffect::Refused { broker, by_remote, reason }),
            PeerEffect::Timer(at) => {
                if let Some(sessions) = self.sessions.get_mut(&broker) {
                    sessions.timer = at;
                }
            }
        }
    }

    /// Messages came. Who asks for records of a replica that is not here is told that it does not lead: the session lives, so
    /// nothing else would tell.
    fn arrived(&mut self, now: Now, from: RemotePeer, messages: Vec<PeerMessage>, out: &mut Vec<PeersEffect>) {
        let broker = from.key.broker;
        let mut refusals = Vec::new();
        for asked in messages.iter().filter(|asked| asked.to == self.me && !self.hosted.contains(&asked.partition)) {
            if let Message::Fetch(request) = &asked.message {
                let message = Message::FetchResponse(FetchResponse::refusing(request, from));
                let (partition, to, records) = (asked.partition, from.key.directory, Frame::new());
                let message = PeerMessage { partition, to, message, records };
                refusals.push(Outgoing { message, catch_up: false });
            }
        }
        out.push(PeersEffect::Deliver { from, messages });
        if !refusals.is_empty() {
            self.peer(now, broker, PeerEvent::Send(refusals), out);
            self.peer(now, broker, PeerEvent::Flush, out);
        }
    }

    fn up(&mut self, now: Now, peer: RemotePeer, out: &mut Vec<PeersEffect>) {
        let broker = peer.key.broker;
        // Who has not heard of the silence hears of it first: what was promised before it may be gone.
        for (partitions, news) in self.silence.end(broker) {
            Self::tell(partitions, news, out);
        }
        if let Some(sessions) = self.sessions.get_mut(&broker) {
            sessions.up = Some(peer);
        }
        out.push(PeersEffect::Heard(peer));
        Self::tell(self.hosted.iter().copied().collect(), News::Up(peer), out);
        self.campaign(now, out);
    }

    fn down(&mut self, now: Now, broker: BrokerId, heard: Instant, out: &mut Vec<PeersEffect>) {
        if let Some(sessions) = self.sessions.get_mut(&broker) {
            sessions.up = None;
        }
        let (mut led, others): (Vec<_>, Vec<_>) =
            self.hosted.iter().copied().partition(|partition| self.leader(*partition) == Some(broker));
        Self::tell(others, News::Down { broker, heard }, out);
        let image = self.directory.image();
        let is_internal = |partition: &TopicPartition| {
            image.topic_by_id(partition.topic).is_some_and(|topic| millrace_metadata::is_internal(&topic.name))
        };
        // Groups and transactions wait for internal topics.
        led.sort_by_key(|partition| (!is_internal(partition), *partition));
        self.silence.begin(broker, heard, led);
        out.push(PeersEffect::Silent(broker));
        self.campaign(now, out);
    }

    /// Tells as many replicas as may campaign now that their leader is silent.
    fn campaign(&mut self, now: Now, out: &mut Vec<PeersEffect>) {
        for (partitions, news) in self.silence.next(now.instant) {
            Self::tell(partitions, news, out);
        }
    }

    /// The leader of a partition as its replica here knows it.
    fn leader(&self, partition: TopicPartition) -> Option<BrokerId> {
        let view = self.directory.partition(&partition)?;
        view.leader().map(|(broker, _epoch)| broker)
    }

    /// Has those fetch again whose leader was asked in vain. What a witness follows nobody but itself knows; it fetches once
    /// too often.
    fn refetch(&self, broker: BrokerId, lost: Lost, out: &mut Vec<PeersEffect>) {
        let follows = |partition: &TopicPartition| match self.directory.partition(partition) {
            Some(view) => view.leader().is_some_and(|(leader, _epoch)| leader == broker),
            None => true,
        };
        let concerned = |partition: &TopicPartition| lost.covers(*partition) && follows(partition);
        Self::tell(self.hosted.iter().copied().filter(concerned).collect(), News::Refetch, out);
    }

    fn accepted(&mut self, now: Now, connection: LinkId, frame: Bytes, out: &mut Vec<PeersEffect>) {
        match decode(frame) {
            Ok(PeerFrame::Hello(hello)) if self.sessions.contains_key(&hello.broker) => {
                self.peer(now, hello.broker, PeerEvent::Accepted { connection, hello }, out);
            }
            Ok(PeerFrame::Hello(hello)) => {
                tracing::warn!(broker = %hello.broker, cluster = hello.cluster_id, "a hello of a broker that is not of the cluster");
                out.push(PeersEffect::Write { connection, frame: refused_frame(Refusal::Broker).into() });
                out.push(PeersEffect::Close { connection, why: "not a broker of the cluster" });
            }
            Ok(_) => out.push(PeersEffect::Close { connection, why: "the first frame is no hello" }),
            Err(error) => {
                tracing::warn!(%error, "the first frame of a connection is not taken");
                out.push(PeersEffect::Close { connection, why: "a malformed frame" });
            }
        }
    }

    fn hosted(&mut self, partition: TopicPartition, out: &mut Vec<PeersEffect>) {
        self.hosted.insert(partition);
        for peer in self.sessions.values().filter_map(|sessions| sessions.up) {
            Self::tell(vec![partition], News::Up(peer), out);
        }
    }

    fn leader_changed(&mut self, now: Now, partition: TopicPartition, out: &mut Vec<PeersEffect>) {
        if self.leader(partition).is_none() {
            return;
        }
        if let Some(news) = self.silence.done(partition) {
            Self::tell(vec![partition], news, out);
        }
        self.campaign(now, out);
    }

    /// Wakes the sessions that asked for it.
    fn wake(&mut self, now: Now, out: &mut Vec<PeersEffect>) {
        let is_due = |(broker, sessions): (&BrokerId, &Sessions)| (sessions.timer <= now.instant).then_some(*broker);
        let due: Vec<BrokerId> = self.sessions.iter().filter_map(is_due).collect();
        for broker in due {
            if let Some(sessions) = self.sessions.get_mut(&broker) {
                sessions.timer = Instant::NEVER;
            }
            self.peer(now, broker, PeerEvent::Timer, out);
        }
        self.campaign(now, out);
    }

    fn each(&mut self, now: Now, event: &PeerEvent, out: &mut Vec<PeersEffect>) {
        let brokers: Vec<BrokerId> = self.sessions.keys().copied().collect();
        for broker in brokers {
            self.peer(now, broker, event.clone(), out);
        }
    }

    fn schedule(&mut self, out: &mut Vec<PeersEffect>) {
        let sessions = self.sessions.values().map(|sessions| sessions.timer).min().unwrap_or(Instant::NEVER);
        let deadline = sessions.min(self.silence.deadline());
        if deadline < self.timer {
            self.timer = deadline;
            out.push(PeersEffect::Timer(deadline));
        }
    }
}

impl Core for Peers {
    type Event = PeersEvent;
    type Effect = PeersEffect;

    fn step(&mut self, now: Now, event: PeersEvent, out: &mut Vec<PeersEffect>) {
        match event {
            PeersEvent::Start => self.each(now, &PeerEvent::Start, out),
            PeersEvent::Peer { broker, event } => self.peer(now, broker, event, out),
            PeersEvent::Accepted { connection, frame } => self.accepted(now, connection, frame, out),
            PeersEvent::Send { partition, to, message, records, catch_up } => {
                let message = PeerMessage { partition, to: to.directory, message, records: records.into() };
                self.peer(now, to.broker, PeerEvent::Send(vec![Outgoing { message, catch_up }]), out);
            }
            PeersEvent::SendPlane { to, message } => self.peer(now, to, PeerEvent::SendPlane(message), out),
            PeersEvent::Flush => self.each(now, &PeerEvent::Flush, out),
            PeersEvent::Hosted(partition) => self.hosted(partition, out),
            PeersEvent::Unhosted(partition) => {
                self.hosted.remove(&partition);
                // Nobody is left to be told.
                let _news = self.silence.done(partition);
                self.campaign(now, out);
            }
            PeersEvent::Leader(partition) => self.leader_changed(now, partition, out),
            PeersEvent::Applied(epoch) => self.each(now, &PeerEvent::Applied(epoch), out),
            PeersEvent::Lag(lag) => self.each(now, &PeerEvent::Lag(lag), out),
            PeersEvent::Timer => {
                self.timer = Instant::NEVER;
                self.wake(now, out);
            }
        }
        self.schedule(out);
    }
}
