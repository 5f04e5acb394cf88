//! The core: commands in, one entry per command, answers when the entries are durable.
//!
//! While a `Persist` is under way commands wait; what has come by its end becomes the next `Persist`, so a burst of
//! commands costs one flush. A command is checked against the state with all entries before it, durable or not, and
//! nobody sees that state before it is durable: the image is published and the answers leave after `Persisted` alone.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use millrace_metadata::config::BrokerConfig;
use millrace_metadata::{
    Broker, Change, Command, CommandResult, Entry, Image, ItemError, Local, Planned, Replay, ReplayError, TopicIds,
    plan, snapshot_records,
};
use millrace_storage::DiskError;
use millrace_types::{BrokerId, ErrorCode, Instant, Now};

use super::batch::{AddError, Batch, Held};
use super::event::{MetadataEffect, MetadataEvent};
use super::leaders::Awaited;
use super::replicas;
use crate::call::ReplyTo;
use crate::core::Core;
use crate::replica::mutation::{Mutation, broken};

/// The most commands that wait for the disk; further ones are answered `REQUEST_TIMED_OUT`, which clients retry.
pub const MAX_QUEUED: usize = 4_096;

/// Commands of one `Persist`.
const MAX_BATCH_COMMANDS: usize = 1_000;

/// Bytes of records after which a `Persist` takes no further command.
const MAX_BATCH_BYTES: usize = 1024 * 1024;

/// Entries after which a snapshot is due.
pub(super) const SNAPSHOT_ENTRIES: usize = 256;

/// Bytes of records after which a snapshot is due.
const SNAPSHOT_BYTES: usize = 1024 * 1024;

/// How long a start that found the disk full waits before it tries again.
const RETRY: Duration = Duration::from_secs(1);

/// What a store is made with.
#[derive(Debug)]
pub struct StoreOptions {
    /// Identity of the cluster to found if the journal is empty.
    pub cluster_id: String,
    /// This broker, as it registers itself.
    pub broker: Broker,
    /// The configuration its process started with.
    pub config: BrokerConfig,
    /// 128 random bits, drawn at each start; topic identities come from them.
    pub seed: u128,
}

/// One broker's metadata: the state, the commands that wait, and what is being made durable.
#[derive(Debug)]
pub struct MetadataStore {
    cluster_id: String,
    broker: Broker,
    ids: TopicIds,
    /// The durable state; what everybody reads.
    image: Arc<Image>,
    queue: VecDeque<(ReplyTo, Command)>,
    in_flight: Option<Batch>,
    next_token: u64,
    /// Entries and bytes in the journal behind its snapshot.
    unsnapshotted: (usize, usize),
    /// Set when it is not known what the journal holds; the store takes no further command.
    poisoned: bool,
    /// When this broker's registration is tried again; [`Instant::NEVER`] while it is durable or under way.
    retry: Instant,
    /// Whether the replicas of the start have been created.
    serving: bool,
    awaited: Awaited,
    /// The time of the latest `Timer` effect.
    timer: Instant,
}

impl MetadataStore {
    /// The store whose journal holds `records`, the snapshot first.
    ///
    /// # Errors
    /// When the journal cannot be replayed; the broker must not start then.
    pub fn new(options: StoreOptions, records: &[Bytes]) -> Result<Self, ReplayError> {
        let StoreOptions { cluster_id, broker, config, seed } = options;
        let mut replay = Replay::new(Local { broker: Some(broker.id), config });
        for record in records {
            replay.feed(record)?;
        }
        // Snapshot and entries are not told apart here: at worst one snapshot comes early.
        let unsnapshotted = (records.len(), records.iter().map(Bytes::len).sum());
        Ok(Self {
            ids: TopicIds::new(seed),
            image: Arc::new(replay.finish_for(&cluster_id, &broker)?),
            cluster_id,
            broker,
            queue: VecDeque::new(),
            in_flight: None,
            next_token: 0,
            unsnapshotted,
            poisoned: false,
            retry: Instant::NEVER,
            serving: false,
            awaited: Awaited::default(),
            timer: Instant::NEVER,
        })
    }

    /// The durable state.
    #[must_use]
    pub fn image(&self) -> &Arc<Image> {
        &self.image
    }

    /// Whether a failed flush has ended the store's work until the process restarts.
    #[must_use]
    pub const fn is_poisoned(&self) -> bool {
        self.poisoned
    }

    /// The commands that wait for the disk; [`MAX_QUEUED`] bounds them.
    #[must_use]
    pub fn queued(&self) -> usize {
        self.queue.len()
    }

    const fn id(&self) -> BrokerId {
        self.broker.id
    }

    /// Founds the cluster if there is none, and registers this broker. Other commands wait until that is durable.
    fn start(&mut self, out: &mut Vec<MetadataEffect>) {
        let mut batch = self.begin();
        batch.start = true;
        let mut records = Vec::new();
        let mut changes = Vec::new();
        if batch.after.cluster_id().is_empty() {
            changes.push(Change::Genesis { cluster_id: self.cluster_id.clone(), acceptors: Vec::new() });
        }
        if batch.after.broker(self.id()) != Some(&self.broker) {
            changes.push(Change::RegisterBroker(self.broker.clone()));
        }
        if changes.is_empty() {
            self.publish(batch, out);
            return;
        }
        if let Err(error) = batch.add(Entry::new(changes), &mut records) {
            tracing::error!(?error, "the registration of this broker does not apply to the metadata");
            self.poisoned = true;
            self.serve(out);
            return;
        }
        self.persist(batch, records, out);
    }

    /// The registration could not be made durable. The partitions need none: they serve from the state there is.
    fn start_failed(&mut self, now: Now, out: &mut Vec<MetadataEffect>) {
        if !self.poisoned {
            self.retry = now.instant.after(RETRY);
        }
        if !self.image.cluster_id().is_empty() {
            self.serve(out);
        }
    }

    /// Publishes the durable state and creates every replica, once.
    fn serve(&mut self, out: &mut Vec<MetadataEffect>) {
        out.push(MetadataEffect::Publish(Arc::clone(&self.image)));
        if !std::mem::replace(&mut self.serving, true) {
            replicas::create_all(&self.image, self.id(), out);
        }
    }

    fn command(&mut self, now: Now, from: ReplyTo, command: Command, out: &mut Vec<MetadataEffect>) {
        if self.poisoned {
            out.push(MetadataEffect::Answer { to: from, result: storage_failed() });
        } else if self.queue.len() >= MAX_QUEUED {
            let error = ItemError::new(ErrorCode::RequestTimedOut, "Too many metadata changes are waiting.");
            out.push(MetadataEffect::Answer { to: from, result: CommandResult::Failed(error) });
        } else {
            self.queue.push_back((from, command));
            self.advance(now, out);
        }
    }

    /// Takes what waits into the next batch, unless one is under way or this broker is not registered.
    fn advance(&mut self, now: Now, out: &mut Vec<MetadataEffect>) {
        loop {
            if self.poisoned {
                for (to, _) in self.queue.drain(..) {
                    out.push(MetadataEffect::Answer { to, result: storage_failed() });
                }
            }
            let ready = self.serving && self.in_flight.is_none() && self.retry == Instant::NEVER;
            if !ready || self.queue.is_empty() {
                return;
            }
            self.next_batch(now, out);
        }
    }

    fn next_batch(&mut self, now: Now, out: &mut Vec<MetadataEffect>) {
        let mut batch = self.begin();
        let mut records = Vec::new();
        let mut commands = 0;
        while commands < MAX_BATCH_COMMANDS && batch.size.1 < MAX_BATCH_BYTES {
            let Some((from, command)) = self.queue.pop_front() else { break };
            commands += 1;
            let Planned { entry, result } = plan(&batch.after, &mut self.ids, command);
            let created =
                entry.as_ref().map_or_else(Vec::new, |entry| replicas::created_by(entry, &batch.after, self.id()));
            match entry.map_or(Ok(()), |entry| batch.add(entry, &mut records)) {
                Ok(()) => batch.answers.push((from, result, created)),
                Err(AddError::TooLarge(bytes)) => batch.answers.push((from, too_large(bytes), Vec::new())),
                Err(AddError::Broken(error)) => {
                    // The plan and the state transition disagree: nothing of the batch may become durable.
                    tracing::error!(%error, "a planned metadata entry does not apply; no further change is taken");
                    self.poisoned = true;
                    out.push(MetadataEffect::Answer { to: from, result: storage_failed() });
                    self.fail(batch, out);
                    return;
                }
            }
        }
        if records.is_empty() {
            // Nothing changed: the answers tell about the durable state and leave at once.
            self.answer(now, batch.answers, out);
        } else {
            let token = batch.token;
            self.persist(batch, records, out);
            if broken(Mutation::AnswerMetadataBeforeDurable) {
                self.persisted(now, token, Ok(()), out);
            }
        }
    }

    fn begin(&mut self) -> Batch {
        self.next_token += 1;
        Batch::new(self.next_token, &self.image)
    }

    fn persist(&mut self, mut batch: Batch, records: Vec<Bytes>, out: &mut Vec<MetadataEffect>) {
        let entries = self.unsnapshotted.0 + batch.size.0;
        let bytes = self.unsnapshotted.1 + batch.size.1;
        let due = entries >= SNAPSHOT_ENTRIES || bytes >= SNAPSHOT_BYTES;
        let snapshot = if due { snapshot_records(&batch.after).ok() } else { None };
        let snapshot: Option<Vec<Bytes>> = snapshot.map(|parts| parts.into_iter().map(Bytes::from).collect());
        batch.snapshot = snapshot.is_some();
        out.push(MetadataEffect::Persist { token: batch.token, records, snapshot });
        self.in_flight = Some(batch);
    }

    fn persisted(&mut self, now: Now, token: u64, result: Result<(), DiskError>, out: &mut Vec<MetadataEffect>) {
        let Some(batch) = self.in_flight.take_if(|batch| batch.token == token) else { return };
        match result {
            Ok(()) => {
                let (entries, bytes) = self.unsnapshotted;
                self.unsnapshotted =
                    if batch.snapshot { (0, 0) } else { (entries + batch.size.0, bytes + batch.size.1) };
                let answers = self.publish(batch, out);
                self.answer(now, answers, out);
            }
            Err(error) => {
                // A full disk refused the records before any of them was written. After any other failure it is not
                // known what the journal holds: a later entry could follow one that nobody was told about.
                self.poisoned = !error.is_full();
                tracing::error!(%error, poisoned = self.poisoned, "metadata entries could not be made durable");
                if batch.start {
                    self.start_failed(now, out);
                }
                self.fail(batch, out);
            }
        }
        self.advance(now, out);
    }

    /// Makes the state of a durable batch the one that everybody reads, and the replicas follow it.
    fn publish(&mut self, batch: Batch, out: &mut Vec<MetadataEffect>) -> Vec<Held> {
        let Batch { after, entries, answers, start, .. } = batch;
        let before = std::mem::replace(&mut self.image, Arc::new(after));
        if start {
            self.serve(out);
            return answers;
        }
        out.push(MetadataEffect::Publish(Arc::clone(&self.image)));
        let mut changes = Vec::new();
        replicas::follow(&before, &self.image, &entries, self.id(), &mut changes);
        for change in changes {
            let deleted = match &change {
                MetadataEffect::DeleteReplica { partition } => Some(*partition),
                _ => None,
            };
            out.push(change);
            // Nobody waits any longer for the leader of a partition that is gone.
            if let Some(partition) = deleted {
                self.awaited.led(partition, out);
            }
        }
        answers
    }

    /// Sends the answers of a batch; those about new partitions wait for the leaders.
    fn answer(&mut self, now: Now, answers: Vec<Held>, out: &mut Vec<MetadataEffect>) {
        for (to, result, mut created) in answers {
            // A later command of the same batch may have deleted what this one created.
            created.retain(|partition| self.image.topic_by_id(partition.topic).is_some());
            if created.is_empty() {
                out.push(MetadataEffect::Answer { to, result });
            } else {
                self.awaited.hold(now, (to, result), created);
            }
        }
    }

    fn fail(&mut self, batch: Batch, out: &mut Vec<MetadataEffect>) {
        for (to, ..) in batch.answers {
            out.push(MetadataEffect::Answer { to, result: storage_failed() });
        }
    }
}

fn too_large(bytes: usize) -> CommandResult {
    let text = format!("The change takes {bytes} bytes of metadata, more than one entry may have; make it in parts.");
    CommandResult::Failed(ItemError::new(ErrorCode::InvalidRequest, text))
}

fn storage_failed() -> CommandResult {
    let text = "The metadata change could not be written to the disk.";
    CommandResult::Failed(ItemError::new(ErrorCode::KafkaStorageError, text))
}

impl Core for MetadataStore {
    type Event = MetadataEvent;
    type Effect = MetadataEffect;

    fn step(&mut self, now: Now, event: MetadataEvent, out: &mut Vec<MetadataEffect>) {
        match event {
            MetadataEvent::Start => self.start(out),
            MetadataEvent::Command { from, command } => self.command(now, from, command, out),
            MetadataEvent::Persisted { token, result } => self.persisted(now, token, result, out),
            MetadataEvent::ReplicaLed { partition } => self.awaited.led(partition, out),
            MetadataEvent::Timer => {
                // The host has forgotten the timer that fired.
                self.timer = Instant::NEVER;
                self.awaited.expire(now, out);
                if now.instant >= self.retry {
                    self.retry = Instant::NEVER;
                    self.start(out);
                }
            }
        }
        let timer = self.awaited.deadline().min(self.retry);
        if timer != self.timer {
            self.timer = timer;
            out.push(MetadataEffect::Timer(timer));
        }
    }
}
