//! The core: the log of decisions, hosted, and this broker following it.
//!
//! The image is published and answers leave when what they tell of is durable here. An answer then waits, for a bounded
//! time, until the other brokers have it too and the partitions it created have leaders: a client asks for them next.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use bytes::Bytes;
use millrace_metadata::config::BrokerConfig;
use millrace_metadata::log::{Effect, Event, Log, LogOptions, Members, Message, Settings};
use millrace_metadata::{
    Broker, Command, CommandResult, Entry, FinishReassignment, Image, Local, Proposer, Replay, ReplayError,
};
use millrace_storage::DiskError;
use millrace_types::{BrokerId, Instant, Now, TopicId, TopicPartition};

use super::event::{MetadataEffect, MetadataEvent};
use super::leaders::Awaited;
use super::replicas::{self, Part};
use super::retiring::Retiring;
use super::spread::Spread;
use crate::call::ReplyTo;
use crate::core::Core;
use crate::replica::mutation::{Mutation, broken};

/// The most commands that wait to be decided; further ones are answered `REQUEST_TIMED_OUT`, which clients retry.
pub const MAX_QUEUED: usize = 4_096;

/// Entries after which a snapshot is due.
pub(super) const SNAPSHOT_ENTRIES: usize = 256;

/// What a store is made with.
#[derive(Debug)]
pub struct StoreOptions {
    /// Identity of the cluster to found if the journal is empty.
    pub cluster_id: String,
    /// This broker, as it registers itself.
    pub broker: Broker,
    /// The brokers of the cluster.
    pub members: Members,
    /// The configuration its process started with.
    pub config: BrokerConfig,
    /// 128 random bits, drawn at each start; topic identities come from them.
    pub seed: u128,
}

/// One broker's metadata: the log, and what waits for it.
#[derive(Debug)]
pub struct MetadataStore {
    log: Log,
    broker: BrokerId,
    /// Whether there is no other broker.
    alone: bool,
    /// The durable state; what everybody reads.
    image: Arc<Image>,
    /// Who waits for the answer to which command.
    asked: BTreeMap<u64, ReplyTo>,
    next_ticket: u64,
    /// Whether the host knows that this process is registered.
    registered: bool,
    /// Whether the replicas of the start have been created.
    serving: bool,
    spread: Spread,
    awaited: Awaited,
    /// New replicas that have no leader yet, and for which nobody waits.
    fresh: BTreeSet<TopicPartition>,
    /// What this broker has of partitions and shall not have any more.
    retiring: Retiring,
    /// The partitions of which it is proposed that they have reached their target, by ticket.
    finishing: BTreeMap<u64, TopicPartition>,
    /// The time of the latest `Timer` effect.
    timer: Instant,
}

impl MetadataStore {
    /// The store whose journal holds `records`, the snapshot first.
    ///
    /// # Errors
    /// When the journal cannot be replayed; the broker must not start then.
    pub fn new(options: StoreOptions, records: &[Bytes]) -> Result<Self, ReplayError> {
        let StoreOptions { cluster_id, broker, members, config, seed } = options;
        let mut replay = Replay::new(Local { broker: Some(broker.id), config });
        for record in records {
            replay.feed(record)?;
        }
        let restored = replay.restore_for(&cluster_id, &broker)?;
        let settings = Settings { max_queued: MAX_QUEUED, snapshot_entries: SNAPSHOT_ENTRIES, ..Settings::default() };
        Ok(Self {
            broker: broker.id,
            alone: members.is_alone(),
            image: Arc::new(restored.image.clone()),
            log: Log::new(LogOptions { cluster_id, broker, members, settings, seed }, restored),
            asked: BTreeMap::new(),
            next_ticket: 0,
            registered: false,
            serving: false,
            spread: Spread::default(),
            awaited: Awaited::default(),
            fresh: BTreeSet::new(),
            retiring: Retiring::default(),
            finishing: BTreeMap::new(),
            timer: Instant::NEVER,
        })
    }

    /// Says what the write-ahead store holds of partitions beside, or instead of, what the replayed image names here: it runs
    /// until it may go.
    #[must_use]
    pub fn with_left_behind(mut self, left: impl IntoIterator<Item = (TopicPartition, Part)>) -> Self {
        self.retiring = Retiring::left_behind(left);
        self
    }

    /// The durable state.
    #[must_use]
    pub const fn image(&self) -> &Arc<Image> {
        &self.image
    }

    /// Whether the log has stopped until the process restarts.
    #[must_use]
    pub const fn is_poisoned(&self) -> bool {
        self.log.halted().is_some()
    }

    /// The commands that wait to be decided; [`MAX_QUEUED`] bounds them.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.log.queued()
    }

    /// One event of the log, and what it leads to.
    fn run(&mut self, now: Now, event: Event, out: &mut Vec<MetadataEffect>) {
        let mut effects = Vec::new();
        self.log.step(now.instant, event, &mut effects);
        let mut early = Vec::new();
        for effect in effects {
            match effect {
                Effect::Persist { token, records, snapshot } => {
                    early.push(token);
                    out.push(MetadataEffect::Persist { token, records: bytes(records), snapshot: snapshot.map(bytes) });
                }
                Effect::Replace { token, snapshot } => {
                    out.push(MetadataEffect::Replace { token, snapshot: bytes(snapshot) });
                }
                Effect::Send { to, message } => {
                    out.push(MetadataEffect::SendPeer { to, bytes: Bytes::from(message.encode()) });
                }
                Effect::Applied { image, entries } => self.applied(image, Some(&entries), out),
                Effect::Replaced { image } => self.applied(image, None, out),
                Effect::Answer { ticket, epoch, result } => self.answered(now, ticket, epoch, result, out),
                Effect::Halted(reason) => tracing::error!(%reason, "no further metadata change is taken"),
            }
        }
        if broken(Mutation::AnswerMetadataBeforeDurable) {
            for token in early {
                self.run(now, Event::Persisted { token }, out);
            }
        }
    }

    /// Publishes the durable state and creates every replica, once.
    fn serve(&mut self, out: &mut Vec<MetadataEffect>) {
        out.push(MetadataEffect::Publish(Arc::clone(&self.image)));
        if !std::mem::replace(&mut self.serving, true) {
            let mut created = Vec::new();
            replicas::create_all(&self.image, self.broker, &mut created);
            self.retiring.start(&self.image, self.broker, out);
            self.retiring.filter(&self.image, created, self.broker, out);
        }
    }

    /// Partitions that are known need neither a registration nor a majority: they are served from the state there is. A
    /// broker alone waits for its registration, which costs it one write.
    fn start(&mut self, now: Now, out: &mut Vec<MetadataEffect>) {
        let known = !self.alone && !self.image.cluster_id().is_empty() && self.is_known_directory();
        if self.log.is_member() || known {
            self.serve(out);
        }
        self.run(now, Event::Start, out);
    }

    /// Whether the state knows this broker with this directory; with another one the replicas are not here.
    fn is_known_directory(&self) -> bool {
        self.log.is_registered_directory()
    }

    /// The state goes on: everybody sees it, and the replicas follow it.
    fn applied(&mut self, image: Image, entries: Option<&[Entry]>, out: &mut Vec<MetadataEffect>) {
        let before = std::mem::replace(&mut self.image, Arc::new(image));
        if !self.serving {
            if self.log.is_member() {
                self.serve(out);
            }
            return;
        }
        out.push(MetadataEffect::Publish(Arc::clone(&self.image)));
        let mut changes = Vec::new();
        match entries {
            Some(entries) => replicas::follow(&before, &self.image, entries, self.broker, &mut changes),
            None => replicas::follow_snapshot(&before, &self.image, self.broker, &mut changes),
        }
        let mut allowed = Vec::new();
        self.retiring.filter(&before, changes, self.broker, &mut allowed);
        self.retiring.forget_deleted(&self.image, &mut allowed);
        self.follow(allowed, out);
    }

    fn follow(&mut self, changes: Vec<MetadataEffect>, out: &mut Vec<MetadataEffect>) {
        for change in changes {
            let gone = match &change {
                MetadataEffect::CreateReplica { partition, .. } => {
                    self.fresh.insert(*partition);
                    None
                }
                MetadataEffect::DeleteReplica { partition }
                | MetadataEffect::RetireReplica { partition, retire: true } => Some(*partition),
                _ => None,
            };
            out.push(change);
            // Nobody waits any longer for the leader of a partition that is gone.
            if let Some(partition) = gone {
                self.led(partition, out);
            }
        }
    }

    /// What retired is gone: if the broker shall have something of the partition by now, it begins.
    fn retired(&mut self, partition: TopicPartition, out: &mut Vec<MetadataEffect>) {
        self.retiring.done(partition);
        if let Some(part) = replicas::part(&self.image, partition, self.broker).filter(|_| self.serving) {
            let mut created = Vec::new();
            replicas::create_one(&self.image, partition, part, &mut created);
            self.follow(created, out);
        }
    }

    /// A leader here says that its partition is where it shall be: that is proposed, once at a time.
    fn reached(&mut self, now: Now, request: FinishReassignment, out: &mut Vec<MetadataEffect>) {
        let partition = TopicPartition::new(request.topic, request.partition);
        if self.finishing.values().any(|known| *known == partition) {
            return;
        }
        self.next_ticket += 1;
        self.finishing.insert(self.next_ticket, partition);
        let command = Command::FinishReassignment(request);
        self.run(now, Event::Commit { ticket: self.next_ticket, command }, out);
    }

    fn note_registration(&mut self, out: &mut Vec<MetadataEffect>) {
        if !self.registered
            && self.log.is_member()
            && let Some(start) = self.image.start_of(self.broker)
        {
            self.registered = true;
            out.push(MetadataEffect::Registered { start });
        }
    }

    fn led(&mut self, partition: TopicPartition, out: &mut Vec<MetadataEffect>) {
        self.fresh.remove(&partition);
        self.awaited.led(partition, out);
    }

    fn command(&mut self, now: Now, from: ReplyTo, command: Command, out: &mut Vec<MetadataEffect>) {
        self.next_ticket += 1;
        self.asked.insert(self.next_ticket, from);
        self.run(now, Event::Commit { ticket: self.next_ticket, command }, out);
    }

    fn answered(&mut self, now: Now, ticket: u64, epoch: u64, result: CommandResult, out: &mut Vec<MetadataEffect>) {
        if let Some(partition) = self.finishing.remove(&ticket) {
            // The leader says it again, as long as that is so.
            tracing::debug!(%partition, ?result, "the target of a partition is reached");
        }
        let Some(to) = self.asked.remove(&ticket) else { return };
        if matches!(result, CommandResult::Failed(_)) || epoch <= self.log.applied_everywhere() {
            self.await_leaders(now, to, result, out);
        } else {
            self.spread.hold(now, epoch, to, result);
        }
    }

    /// Sends an answer, at once or when the partitions of this broker that it created have leaders.
    fn await_leaders(&mut self, now: Now, to: ReplyTo, result: CommandResult, out: &mut Vec<MetadataEffect>) {
        let created: Vec<TopicPartition> = topics(&self.image, &result)
            .into_iter()
            .flat_map(|topic| self.fresh.range(TopicPartition::new(topic, 0)..=TopicPartition::new(topic, i32::MAX)))
            .copied()
            .collect();
        if created.is_empty() {
            out.push(MetadataEffect::Answer { to, result });
        } else {
            for partition in &created {
                self.fresh.remove(partition);
            }
            self.awaited.hold(now, (to, result), created);
        }
    }

    fn persisted(&mut self, now: Now, token: u64, result: Result<(), DiskError>, out: &mut Vec<MetadataEffect>) {
        let Err(error) = result else { return self.run(now, Event::Persisted { token }, out) };
        // A full disk refused the records before any of them was written. After any other failure it is not known what
        // the journal holds: a later entry could follow one that nobody was told about.
        tracing::error!(%error, full = error.is_full(), "metadata entries could not be made durable");
        let event = if error.is_full() { Event::Refused { token } } else { Event::Poisoned };
        self.run(now, event, out);
        if !self.serving && !self.image.cluster_id().is_empty() {
            self.serve(out);
        }
    }

    fn peer_message(&mut self, now: Now, from: Proposer, bytes: &[u8], out: &mut Vec<MetadataEffect>) {
        match Message::decode(bytes) {
            Ok(message) => self.run(now, Event::Receive { from, message }, out),
            Err(error) => tracing::warn!(%from, %error, "a message of the metadata log cannot be read"),
        }
    }

    fn timer(&mut self, now: Now, out: &mut Vec<MetadataEffect>) {
        // The host has forgotten the timer that fired.
        self.timer = Instant::NEVER;
        self.awaited.expire(now, out);
        self.run(now, Event::Timer, out);
    }
}

/// The topics in which a command has created partitions, or may have.
fn topics(image: &Image, result: &CommandResult) -> Vec<TopicId> {
    match result {
        CommandResult::CreatedTopics(items) => {
            items.iter().filter_map(|(_, outcome)| outcome.as_ref().ok().map(|topic| topic.id)).collect()
        }
        CommandResult::CreatedPartitions(items) => {
            let grown = items.iter().filter(|(_, outcome)| outcome.is_ok());
            grown.filter_map(|(name, _)| image.topic(name).map(|topic| topic.id)).collect()
        }
        CommandResult::InternalTopic { id, .. } => vec![*id],
        CommandResult::DeletedTopics(_)
        | CommandResult::AlteredReassignments(_)
        | CommandResult::FinishedReassignment
        | CommandResult::SetConfigs(_)
        | CommandResult::Registered
        | CommandResult::AcceptorsSet
        | CommandResult::Failed(_) => Vec::new(),
    }
}

fn bytes(records: Vec<Vec<u8>>) -> Vec<Bytes> {
    records.into_iter().map(Bytes::from).collect()
}

impl Core for MetadataStore {
    type Event = MetadataEvent;
    type Effect = MetadataEffect;

    fn step(&mut self, now: Now, event: MetadataEvent, out: &mut Vec<MetadataEffect>) {
        match event {
            MetadataEvent::Start => self.start(now, out),
            MetadataEvent::Command { from, command } => self.command(now, from, command, out),
            MetadataEvent::Persisted { token, result } => self.persisted(now, token, result, out),
            MetadataEvent::PeerMessage { from, bytes } => self.peer_message(now, from, &bytes, out),
            MetadataEvent::BrokerUp(peer) => self.run(now, Event::SessionUp(peer), out),
            MetadataEvent::BrokerDown(broker) => self.run(now, Event::SessionDown(broker), out),
            MetadataEvent::ReplicaLed { partition } => self.led(partition, out),
            MetadataEvent::TargetReached { partition: TopicPartition { topic, partition }, epoch, voters } => {
                self.reached(now, FinishReassignment { topic, partition, epoch, voters }, out);
            }
            MetadataEvent::ReplicaRetired { partition, .. } => self.retired(partition, out),
            MetadataEvent::Timer => self.timer(now, out),
        }
        self.note_registration(out);
        for (to, result) in self.spread.release(now, self.log.applied_everywhere()) {
            self.await_leaders(now, to, result, out);
        }
        if self.serving {
            self.retiring.remind(now.instant, &self.image, self.broker, out);
        }
        let waits = self.awaited.deadline().min(self.spread.deadline()).min(self.retiring.deadline());
        let timer = waits.min(self.log.deadline());
        if timer != self.timer {
            self.timer = timer;
            out.push(MetadataEffect::Timer(timer));
        }
    }
}
