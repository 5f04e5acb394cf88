//! The state of one broker's log, and the one way in.

use std::collections::VecDeque;
use std::sync::Arc;

use millrace_types::{BrokerId, Instant, Random};

use crate::broker::Broker;
use crate::chain::ChainHash;
use crate::command::Command;
use crate::identity::{Acceptor, Proposer};
use crate::image::Image;
use crate::topic_ids::TopicIds;

use super::ballot::{Cell, Value};
use super::batch::{Batch, Origin, Owed, Unit, storage_failed, timed_out};
use super::catch_up::CatchUp;
use super::disk::Disk;
use super::event::{Effect, Event, Halt};
use super::members::Members;
use super::message::Message;
use super::proposer::{Round, Stage};
use super::sessions::Sessions;
use super::settings::Settings;
use super::tail::Tail;

/// What a journal holds.
#[derive(Debug, Clone)]
pub struct Restored {
    /// The state after the last entry.
    pub image: Image,
    /// The entries behind the snapshot, as they were written, with the hash chain after each.
    pub tail: Vec<(Value, ChainHash)>,
    /// What this acceptor has promised and accepted for the open slot.
    pub cell: Option<Cell>,
    /// Records and bytes behind the snapshot.
    pub unsnapshotted: (usize, usize),
}

/// What a log is made with.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Identity of the cluster to found if there is none.
    pub cluster_id: String,
    /// This broker, as it registers itself.
    pub broker: Broker,
    /// The brokers of the cluster.
    pub members: Members,
    /// Times and bounds.
    pub settings: Settings,
    /// 128 random bits, drawn at each start: identities of topics and the spread of delays come from them.
    pub seed: u128,
}

/// One broker's copy of the metadata log: acceptor, proposer and learner.
#[derive(Debug)]
pub struct Log {
    pub(super) me: Proposer,
    pub(super) cluster_id: String,
    pub(super) registration: Broker,
    pub(super) members: Members,
    pub(super) settings: Settings,
    pub(super) random: Random,
    pub(super) ids: TopicIds,
    /// The state after the last entry that is chosen, or that this broker, deciding alone, is writing.
    pub(super) head: Image,
    /// The state after the last entry that is durable; what everybody reads.
    pub(super) durable: Image,
    pub(super) tail: Tail,
    /// Of the slot behind the head.
    pub(super) cell: Option<Cell>,
    pub(super) disk: Disk,
    pub(super) sessions: Sessions,
    pub(super) queue: VecDeque<Unit>,
    pub(super) batch: Option<Batch>,
    pub(super) round: Round,
    /// The last slot in which this process has used a ballot, and the greatest number there.
    pub(super) used: Option<(u64, u64)>,
    pub(super) owed: VecDeque<Owed>,
    pub(super) catch_up: CatchUp,
    /// Number of the last proposal, question or request of this process.
    pub(super) number: u64,
    pub(super) registering: bool,
    pub(super) register_at: Instant,
    pub(super) found_at: Option<Instant>,
    pub(super) status_at: Instant,
    /// A full disk is not asked again before.
    pub(super) full_until: Instant,
    pub(super) halted: Option<Halt>,
    /// The acceptors of the slot before; only a broken rule looks at them.
    pub(super) earlier_acceptors: Option<Arc<[Acceptor]>>,
    started: bool,
    /// Messages of this broker's proposer to its acceptor, and back.
    loopback: VecDeque<Message>,
    pub(super) out: Vec<Effect>,
    pub(super) now: Instant,
}

impl Log {
    /// The log that a journal holds.
    #[must_use]
    pub fn new(options: LogOptions, restored: Restored) -> Self {
        let LogOptions { cluster_id, broker, members, settings, seed } = options;
        let Restored { image, tail: entries, cell, unsnapshotted } = restored;
        let me = Proposer { broker: broker.id, directory: broker.directory, incarnation: broker.incarnation };
        let mut tail = Tail::behind(image.epoch().saturating_sub(entries.len() as u64));
        for (value, hash) in entries {
            tail.push(value, hash, &settings);
        }
        let [high, low] = [seed >> 64, seed].map(|half| u64::try_from(half & u128::from(u64::MAX)).unwrap_or(0));
        Self {
            me,
            cluster_id,
            registration: broker,
            members,
            settings,
            random: Random::new(high ^ low),
            ids: TopicIds::new(seed),
            head: image.clone(),
            durable: image,
            tail,
            disk: Disk::new(cell.clone(), unsnapshotted),
            cell,
            sessions: Sessions::default(),
            queue: VecDeque::new(),
            batch: None,
            round: Round::default(),
            used: None,
            owed: VecDeque::new(),
            catch_up: CatchUp::default(),
            number: 0,
            registering: false,
            register_at: Instant::ZERO,
            found_at: None,
            status_at: Instant::NEVER,
            full_until: Instant::ZERO,
            halted: None,
            earlier_acceptors: None,
            started: false,
            loopback: VecDeque::new(),
            out: Vec::new(),
            now: Instant::ZERO,
        }
    }

    /// The state that is durable.
    #[must_use]
    pub const fn image(&self) -> &Image {
        &self.durable
    }

    /// Why the log has stopped, if it has.
    #[must_use]
    pub const fn halted(&self) -> Option<&Halt> {
        self.halted.as_ref()
    }

    /// Whether this process is registered, durably.
    #[must_use]
    pub fn is_member(&self) -> bool {
        self.is_registered()
    }

    /// Whether the state knows this broker with this directory, from whatever start of it.
    #[must_use]
    pub fn is_registered_directory(&self) -> bool {
        self.durable.broker(self.me.broker).is_some_and(|broker| broker.directory == self.me.directory)
    }

    /// The commands that wait; [`Settings::max_queued`] bounds them.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    /// The epoch that every broker that is heard has applied durably, this one included.
    #[must_use]
    pub fn applied_everywhere(&self) -> u64 {
        let own = self.durable.epoch();
        self.sessions.least_applied().map_or(own, |least| least.min(own))
    }

    /// Takes one event; effects are pushed in the order in which they are to be carried out.
    pub fn step(&mut self, now: Instant, event: Event, out: &mut Vec<Effect>) {
        self.now = now;
        std::mem::swap(&mut self.out, out);
        self.take(event);
        self.settle();
        std::mem::swap(&mut self.out, out);
    }

    fn take(&mut self, event: Event) {
        if self.halted.is_some() {
            if let Event::Commit { ticket, .. } = event {
                self.deliver_failure(Origin::Local(ticket), &storage_failed());
            }
            return;
        }
        match event {
            Event::Start => {
                self.started = true;
                if !self.members.is_alone() {
                    self.status_at = self.now.after(self.settings.status);
                }
            }
            Event::Commit { ticket, command } => self.commit(ticket, command),
            Event::Receive { from, message } => {
                if self.sessions.of(from).is_some() {
                    self.receive(from, message);
                }
            }
            Event::Persisted { token } => self.persisted(token),
            Event::Refused { token } => self.refused(token),
            Event::Poisoned => self.poisoned(),
            Event::SessionUp(peer) => self.session_up(peer),
            Event::SessionDown(broker) => self.session_down(broker),
            Event::Timer => self.timer(),
        }
    }

    fn commit(&mut self, ticket: u64, command: Command) {
        if self.queue.len() >= self.settings.max_queued {
            self.deliver_failure(Origin::Local(ticket), &timed_out());
            return;
        }
        let deadline = self.now.after(self.settings.commit_timeout);
        self.queue.push_back(Unit { origin: Origin::Local(ticket), commands: vec![command], deadline });
    }

    fn receive(&mut self, from: Proposer, message: Message) {
        match message {
            Message::Prepare { slot, ballot } => self.prepare(from, slot, ballot),
            Message::Promise { slot, ballot, accepted } => self.promise(from, slot, ballot, accepted),
            Message::Nack { slot, ballot, promised } => self.nack(from, slot, ballot, promised),
            Message::Accept { slot, ballot, value } => self.accept(from, slot, ballot, value),
            Message::Accepted { slot, ballot } => self.accepted(from, slot, ballot),
            Message::Chosen { first, values, hash } => self.chosen(from, first, values, hash),
            Message::Behind { applied, .. } => {
                if applied < self.head.epoch() {
                    self.serve(from.broker, applied);
                    self.ask(from.broker);
                }
            }
            // Its state, or ours, is another: the next status says whose.
            Message::NotAcceptor { .. } => {}
            Message::Status { applied, hash } => self.status(from, applied, hash),
            Message::Query { id, slot } => self.query(from, id, slot),
            Message::Head { id, applied, undecided } => self.head_told(from, id, applied, undecided),
            Message::Fetch { after, snapshot } => self.fetch(from, after, snapshot),
            Message::Snapshot { epoch, total, offset, bytes } => {
                self.snapshot_part(from, (epoch, total, offset), &bytes);
            }
            Message::Forward { id, slot, number, commands } => self.forward(from, id, (slot, number), commands),
            Message::Forwarded { id, outcome } => self.forwarded(from, id, outcome),
        }
    }

    /// Does what the state calls for, whatever the event was.
    fn settle(&mut self) {
        loop {
            while let Some(message) = self.loopback.pop_front() {
                if self.halted.is_none() {
                    self.receive(self.me, message);
                }
            }
            if self.halted.is_some() || !self.started || !self.advance() && self.loopback.is_empty() {
                break;
            }
        }
        if self.halted.is_none() && self.started {
            self.catch_up();
            self.write();
        }
    }

    /// Begins what can begin; returns whether something was done.
    fn advance(&mut self) -> bool {
        if self.is_writing_entries() || self.learn_own_cell() {
            return false;
        }
        if !matches!(self.round.stage, Stage::Idle) {
            return false;
        }
        if self.head.epoch() == 0 {
            return self.sessions.ahead_of(0).is_none() && self.found();
        }
        self.register();
        let may = self.is_registered() || self.registering;
        let behind = self.catch_up.is_under_way() || self.sessions.ahead_of(self.head.epoch()).is_some();
        if !may || behind || self.batch.is_some() || self.queue.is_empty() {
            return false;
        }
        self.begin_batch()
    }

    fn session_up(&mut self, peer: Proposer) {
        self.lose(peer.broker);
        self.sessions.up(peer);
        let (applied, hash) = (self.durable.epoch(), self.durable.hash());
        self.send(peer.broker, Message::Status { applied, hash });
        if self.voters().contains(&peer.broker) {
            self.ask(peer.broker);
        }
    }

    fn session_down(&mut self, broker: BrokerId) {
        self.lose(broker);
        self.sessions.down(broker);
    }

    /// What was asked of a broker is not answered any more.
    fn lose(&mut self, broker: BrokerId) {
        if matches!(&self.round.stage, Stage::Forwarded { to, .. } if to.broker == broker) {
            self.forward_lost();
        }
        if self.catch_up.asked.is_some_and(|(peer, _)| peer == broker) {
            self.catch_up.asked = None;
        }
    }

    /// Sends a message, to this broker itself as well.
    pub(super) fn send(&mut self, to: BrokerId, message: Message) {
        if to == self.me.broker {
            self.loopback.push_back(message);
        } else if self.sessions.get(to).is_some() {
            self.out.push(Effect::Send { to, message });
        }
    }

    /// Stops for good. Answers that wait are not known.
    pub(super) fn halt(&mut self, reason: Halt) {
        if self.halted.is_some() {
            return;
        }
        self.halted = Some(reason.clone());
        self.out.push(Effect::Halted(reason));
        self.default_owed(&storage_failed());
        self.requeue();
        for unit in std::mem::take(&mut self.queue) {
            self.deliver_failure(unit.origin, &storage_failed());
        }
        self.loopback.clear();
    }
}
