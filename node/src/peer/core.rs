//! The core of the sessions with one broker: what happens, and to whom it matters.

use bytes::BytesMut;
use millrace_raft::{Message, Peer as RemotePeer, ReplicaKey};
use millrace_types::{BrokerId, DirectoryId, Instant, Now, TopicPartition};

use super::answers::question;
use super::link::{Link, LinkState};
use super::memory::Memory;
use super::mutation::{Mutation, broken};
use super::pace::{Health, Jitter, Quota};
use super::queue::is_response;
use super::shard::{CONTROL, MAX_SHARDS, shard_of};
use super::{
    LocalBroker, MAX_FRAME, MAX_MESSAGES, Outgoing, PeerEffect, PeerEvent, PeerSettings, PlaneMessage, Remembered,
    Start,
};
use crate::core::Core;

/// Who is at the other end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Remote {
    pub(crate) directory: DirectoryId,
    pub(crate) start: Start,
}

/// What metrics tell about the sessions with a broker. Counters count from the start of the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PeerStatus {
    /// The broker's replica and incarnation while a session is up.
    pub session: Option<RemotePeer>,
    /// Connections that carry messages.
    pub open: usize,
    /// Messages that wait for a connection.
    pub queued_messages: usize,
    /// Their bytes, records included.
    pub queued_bytes: usize,
    /// Sessions that have begun.
    pub sessions: u64,
    /// Connections that carried messages and were lost or given up.
    pub resets: u64,
    /// Messages that were given up, with a connection or for want of a session.
    pub dropped: u64,
    /// Answers that were not sent because one to the same question was on its way.
    pub repeated: u64,
    /// Hellos that were not accepted, by either broker.
    pub refused: u64,
    /// Times a queue was full.
    pub overflows: u64,
}

/// The sessions with one broker. A process has one such core for each, for as long as it runs: numbers of dials must not
/// begin anew.
#[derive(Debug)]
pub struct Peer {
    pub(crate) local: LocalBroker,
    pub(crate) broker: BrokerId,
    pub(crate) settings: PeerSettings,
    pub(crate) memory: Memory,
    /// The control shard, the shards that carry partitions, and the catch-up shard.
    pub(crate) links: Vec<Link>,
    /// Whose hello was last accepted.
    pub(crate) remote: Option<Remote>,
    /// Whether replicas were told that the broker is heard.
    pub(crate) up: bool,
    /// When the last bytes of the session came.
    pub(crate) heard: Instant,
    /// The last metadata epoch applied here, and there.
    pub(crate) applied: (u64, u64),
    pub(crate) jitter: Jitter,
    pub(crate) health: Health,
    pub(crate) quota: Quota,
    pub(crate) counters: PeerStatus,
    pub(crate) scratch: BytesMut,
    /// When the host was last asked to call.
    timer: Instant,
}

impl Peer {
    /// The sessions of `local` with `broker`. `seen` is what the write-ahead store remembers of directories, `seed` a
    /// number drawn at random, which spreads the pauses between dials.
    #[must_use]
    pub fn new(
        mut local: LocalBroker,
        broker: BrokerId,
        seen: impl IntoIterator<Item = Remembered>,
        mut settings: PeerSettings,
        seed: u64,
    ) -> Self {
        settings.shards = settings.shards.clamp(1, MAX_SHARDS);
        settings.frame_messages = settings.frame_messages.min(MAX_MESSAGES);
        tell_what_is_remembered(&mut local, broker);
        let mut peer = Self {
            memory: Memory::new(broker, seen),
            local,
            broker,
            links: Vec::new(),
            remote: None,
            up: false,
            heard: Instant::ZERO,
            applied: (0, 0),
            jitter: Jitter::new(seed),
            health: Health::default(),
            quota: Quota::default(),
            counters: PeerStatus::default(),
            scratch: BytesMut::new(),
            timer: Instant::NEVER,
            settings,
        };
        peer.resize(peer.settings.shards);
        peer
    }

    /// Whether this broker dials and the other accepts: the one with the smaller id dials.
    #[must_use]
    pub fn dials(&self) -> bool {
        self.local.broker < self.broker
    }

    /// Bytes of records that a fetch response to this broker may bring now: more would only wait. A single batch may
    /// always be sent when this is not 0.
    #[must_use]
    pub fn room(&self, partition: TopicPartition, catch_up: bool) -> usize {
        let shard = if catch_up { self.catch_up_shard() } else { shard_of(partition, self.shards()) };
        let queued = self.links.get(usize::from(shard)).map_or(0, |link| link.queue.memory());
        self.settings.queue_bytes.saturating_sub(queued).min(MAX_FRAME / 2)
    }

    /// What metrics tell.
    #[must_use]
    pub fn status(&self) -> PeerStatus {
        PeerStatus {
            session: self.remote.filter(|_| self.up).map(|remote| self.replica(remote)),
            open: self.links.iter().filter(|link| link.open().is_some()).count(),
            queued_messages: self.links.iter().map(|link| link.queue.len()).sum(),
            queued_bytes: self.links.iter().map(|link| link.queue.bytes()).sum(),
            ..self.counters
        }
    }

    /// Shards that carry partitions.
    pub(crate) fn shards(&self) -> u8 {
        u8::try_from(self.links.len().saturating_sub(2)).unwrap_or(MAX_SHARDS)
    }

    /// The last shard.
    pub(crate) fn catch_up_shard(&self) -> u8 {
        self.shards() + 1
    }

    /// Makes a link for control, for each of `shards` shards, and for catching up.
    pub(crate) fn resize(&mut self, shards: u8) {
        let again = if self.dials() { Instant::ZERO } else { Instant::NEVER };
        self.links = (0..=shards + 1).map(|_| Link::new(again)).collect();
    }

    pub(crate) fn link(&mut self, shard: u8) -> Option<&mut Link> {
        self.links.get_mut(usize::from(shard))
    }

    /// The shard that the connection belongs to; none when it was replaced or given up.
    pub(crate) fn shard_of_connection(&self, connection: u64) -> Option<u8> {
        let at = self.links.iter().position(|link| link.connection() == Some(connection))?;
        u8::try_from(at).ok()
    }

    pub(crate) fn replica(&self, remote: Remote) -> RemotePeer {
        let key = ReplicaKey { broker: self.broker, directory: remote.directory };
        RemotePeer { key, incarnation: remote.start.incarnation }
    }

    fn send(&mut self, now: Instant, outgoing: Outgoing, out: &mut Vec<PeerEffect>) {
        let Outgoing { message, catch_up } = outgoing;
        if !self.up {
            self.counters.dropped += 1;
            return;
        }
        let response = is_response(&message.message);
        let partition = message.partition;
        // Nobody waits for a repair, and it may be long.
        let catch_up = catch_up || matches!(message.message, Message::RepairResponse(_));
        let shard = match response {
            true if catch_up => self.catch_up_shard(),
            false if !broken(Mutation::ShareControl) => CONTROL,
            _ => shard_of(partition, self.shards()),
        };
        let answer = question(&message);
        let Some(link) = self.links.get_mut(usize::from(shard)) else { return };
        link.answers.settle(now, link.unwritten, self.settings.session_timeout);
        if answer.is_some_and(|(asker, question)| link.answers.is_under_way(&asker, question)) {
            self.counters.repeated += 1;
            return;
        }
        link.answers.queued(answer);
        let encoded = super::codec::encode_message(&mut self.scratch, message);
        if link.queue.push(encoded, &self.settings).is_err() {
            self.overflow(now, shard, out);
        }
    }

    /// Sends what is not of a partition by the control connection.
    fn send_plane(&mut self, now: Instant, message: &PlaneMessage, out: &mut Vec<PeerEffect>) {
        let Some(link) = self.links.first_mut().filter(|_| self.up) else {
            self.counters.dropped += 1;
            return;
        };
        if link.queue.push_plane(message.frame(), &self.settings).is_err() {
            self.overflow(now, CONTROL, out);
        }
    }

    /// The queue of a shard is full: everything in it is given up, and said to be lost.
    fn overflow(&mut self, now: Instant, shard: u8, out: &mut Vec<PeerEffect>) {
        let Some(link) = self.links.get_mut(usize::from(shard)) else { return };
        tracing::warn!(broker = %self.broker, shard, "the queue is full: its messages are given up");
        self.counters.overflows += 1;
        self.counters.dropped += 1 + link.queue.clear() as u64;
        // The other end learns of the loss by the end of the shard's connection, or of the session if there is none.
        let has_way = matches!(link.state, LinkState::Open { .. } | LinkState::Confirming { .. });
        self.lose(now, if has_way { shard } else { CONTROL }, "the queue is full", true, out);
    }

    fn written(&mut self, now: Instant, connection: u64, bytes: usize, out: &mut Vec<PeerEffect>) {
        let Some(shard) = self.shard_of_connection(connection) else { return };
        let patience = self.settings.session_timeout;
        if let Some(link) = self.link(shard) {
            link.unwritten = link.unwritten.saturating_sub(bytes);
            link.answers.settle(now, link.unwritten, patience);
        }
        self.flush(now, shard, out);
    }

    /// The next moment at which something is due without an event.
    fn deadline(&self, now: Instant) -> Instant {
        let timeout = self.health.timeout(&self.settings);
        let links = self.links.iter().zip(0_u8..).map(|(link, shard)| match link.state {
            LinkState::Open { .. } => {
                // What the rate allows already leaves with the end of the turn.
                let ready = Some(self.quota_ready(shard)).filter(|ready| *ready > now);
                link.heard.after(timeout).min(ready.unwrap_or(Instant::NEVER))
            }
            LinkState::Idle { again } => self.due(shard, again).min(self.missing_until(shard)),
            _ => link.until().min(self.missing_until(shard)),
        });
        links.min().unwrap_or(Instant::NEVER)
    }

    /// When the shard is to be dialed: other shards follow the control connection.
    pub(crate) fn due(&self, shard: u8, again: Instant) -> Instant {
        if self.dials() && (shard == CONTROL || self.up) { again } else { Instant::NEVER }
    }

    /// When a session that lacks this shard is given up.
    pub(crate) fn missing_until(&self, shard: u8) -> Instant {
        match self.links.get(usize::from(shard)) {
            Some(link) if self.up && link.open().is_none() => link.missing_since.after(self.settings.handshake_timeout),
            _ => Instant::NEVER,
        }
    }

    /// Asks for a timer when something is due before the one asked for.
    fn schedule(&mut self, now: Instant, out: &mut Vec<PeerEffect>) {
        let deadline = self.deadline(now);
        if deadline < self.timer {
            self.timer = deadline;
            out.push(PeerEffect::Timer(deadline));
        }
    }

    fn check(&self) {
        debug_assert!(self.links.len() >= 3, "control, a shard and the catch-up shard");
        let control = self.links.first().and_then(Link::open);
        debug_assert_eq!(self.up, control.is_some(), "the control connection stands for the session");
        debug_assert!(self.up || self.links.iter().all(|link| link.open().is_none() && link.queue.is_empty()));
        debug_assert!(self.remote.is_some() || self.links.iter().all(|link| !link.is_greeted()));
    }
}

/// Puts the start that `broker` is known to remember before the others, if they do not reach back to it: however often this
/// directory has been started since, the hello tells that start.
fn tell_what_is_remembered(local: &mut LocalBroker, broker: BrokerId) {
    let oldest = local.starts.first().map_or(0, |start| start.incarnation);
    let told = local.told.get(&broker).filter(|told| told.incarnation < oldest);
    local.starts.splice(..0, told.copied());
}

impl Core for Peer {
    type Event = PeerEvent;
    type Effect = PeerEffect;

    fn step(&mut self, now: Now, event: PeerEvent, out: &mut Vec<PeerEffect>) {
        let now = now.instant;
        match event {
            PeerEvent::Start => {}
            PeerEvent::Connected { shard, attempt, connection } => {
                self.connected(now, shard, attempt, connection, out);
            }
            PeerEvent::DialFailed { shard, attempt, refused } => self.dial_failed(now, shard, attempt, refused, out),
            PeerEvent::Accepted { connection, hello } => self.accepted(now, connection, &hello, out),
            PeerEvent::Frame { connection, frame } => self.frame(now, connection, frame, out),
            PeerEvent::Progress { connection } => self.progress(now, connection),
            PeerEvent::Written { connection, bytes } => self.written(now, connection, bytes, out),
            PeerEvent::Closed { connection } => {
                if let Some(shard) = self.shard_of_connection(connection) {
                    self.lose(now, shard, "closed by the other end", false, out);
                }
            }
            PeerEvent::Remembered { token } => self.memory.durable_up_to(token),
            PeerEvent::Send(messages) => messages.into_iter().for_each(|message| self.send(now, message, out)),
            PeerEvent::SendPlane(message) => self.send_plane(now, &message, out),
            PeerEvent::Flush => (0..=self.catch_up_shard()).for_each(|shard| self.flush(now, shard, out)),
            PeerEvent::Applied(epoch) => self.applied.0 = self.applied.0.max(epoch),
            PeerEvent::Lag(lag) => self.health.observe(lag),
            PeerEvent::Nudge => self.nudge(now),
            PeerEvent::Timer => {
                self.timer = Instant::NEVER;
                self.expire(now, out);
                self.flush(now, self.catch_up_shard(), out);
            }
        }
        self.proceed(now, out);
        self.schedule(now, out);
        self.check();
    }
}
