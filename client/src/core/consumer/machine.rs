//! The consumer itself: its state, the calls of the application, and its turn in the host's loop.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;

use millrace_types::{Instant, Now, Offset};

use super::fetcher::Fetch;
use super::group::Group;
use super::offsets::Asked;
use super::reader::{Reader, Stage};
use super::{ConsumerEvent, Polled, Purpose, Selection};
use crate::config::ConsumerConfig;
use crate::core::call::{CallId, Calls};
use crate::core::cluster::RequestId;
use crate::core::lookup::{Ask, LookupId, Lookups};
use crate::core::{Cluster, Machine, Random};
use crate::error::{ClientError, Result};
use crate::model::{OffsetSpec, TopicPartition};

/// The consumer.
#[derive(Debug)]
pub struct ConsumerCore {
    pub(super) config: ConsumerConfig,
    pub(super) cluster: Cluster,
    pub(super) calls: Calls,
    pub(super) lookups: Lookups,
    pub(super) selection: Selection,
    pub(super) readers: BTreeMap<TopicPartition, Reader>,
    pub(super) fetches: BTreeMap<RequestId, Fetch>,
    pub(super) purposes: BTreeMap<LookupId, Purpose>,
    pub(super) committed_call: Option<(CallId, Vec<TopicPartition>)>,
    pub(super) group: Option<Group>,
    pub(super) errors: VecDeque<ClientError>,
    /// Commits of the application under way, and which of its questions are for committed offsets.
    pub(super) asked: BTreeMap<CallId, Asked>,
    pub(super) next_commit: Instant,
    /// The partition that the last poll ended with.
    pub(super) turn: Option<TopicPartition>,
    pub(super) metadata_version: u64,
    pub(super) changed: bool,
    pub(super) closed: bool,
    pub(super) events: VecDeque<ConsumerEvent>,
}

impl ConsumerCore {
    /// A consumer with this configuration.
    ///
    /// # Errors
    /// The configuration contradicts itself.
    pub fn new(config: ConsumerConfig, random: Random) -> Result<Self> {
        config.validate()?;
        let group = config.group_id.as_deref().map(|id| Group::new(Arc::from(id)));
        let mut cluster = Cluster::new(config.client.clone(), random, 100, config.allow_auto_create_topics);
        cluster.metadata.keep_idle = true;
        Ok(Self {
            cluster,
            calls: Calls::default(),
            lookups: Lookups::default(),
            selection: Selection::Nothing,
            readers: BTreeMap::new(),
            fetches: BTreeMap::new(),
            purposes: BTreeMap::new(),
            committed_call: None,
            group,
            errors: VecDeque::new(),
            asked: BTreeMap::new(),
            next_commit: Instant::NEVER,
            turn: None,
            metadata_version: 0,
            changed: false,
            closed: false,
            events: VecDeque::new(),
            config,
        })
    }

    /// Reads these partitions, without a group's assignment.
    ///
    /// # Errors
    /// The consumer is subscribed.
    pub fn assign(&mut self, now: Now, partitions: &[TopicPartition]) -> Result<()> {
        if matches!(self.selection, Selection::Topics(_)) {
            return Err(ClientError::State { reason: "unsubscribe before partitions are assigned" });
        }
        self.selection = Selection::Partitions;
        self.readers.retain(|partition, _| partitions.contains(partition));
        for partition in partitions {
            self.readers.entry(partition.clone()).or_insert_with(|| Reader::new(Stage::Committed));
        }
        self.next_commit = now.instant.after(self.config.auto_commit_interval);
        self.cluster.metadata.want_only(now.instant, partitions.iter().map(|partition| Arc::clone(&partition.topic)));
        Ok(())
    }

    /// Joins the group for these topics at the next poll.
    ///
    /// # Errors
    /// There is no group id, or partitions were assigned.
    pub fn subscribe(&mut self, now: Now, topics: &[&str]) -> Result<()> {
        let Some(group) = &mut self.group else {
            return Err(ClientError::State { reason: "subscribing needs a group_id" });
        };
        if self.selection == Selection::Partitions && !self.readers.is_empty() {
            return Err(ClientError::State { reason: "give up the assigned partitions before subscribing" });
        }
        let mut topics: Vec<Arc<str>> = topics.iter().map(|topic| Arc::from(*topic)).collect();
        topics.sort();
        topics.dedup();
        group.want(now.instant);
        self.next_commit = now.instant.after(self.config.auto_commit_interval);
        self.cluster.metadata.want_only(now.instant, topics.iter().cloned());
        self.selection = Selection::Topics(topics);
        self.changed = true;
        Ok(())
    }

    /// The partitions being read, in order.
    #[must_use]
    pub fn assignment(&self) -> Vec<TopicPartition> {
        self.readers.keys().cloned().collect()
    }

    /// The application begins a poll: what it was given before is processed.
    pub fn poll_begun(&mut self, now: Now) {
        for reader in self.readers.values_mut().filter(|reader| reader.stage == Stage::Reading) {
            reader.processed = Some((reader.position, reader.leader_epoch));
        }
        self.group_polled(now.instant);
        self.auto_commit(now.instant);
    }

    /// What there is for the application. Partitions take turns.
    ///
    /// # Errors
    /// What the application has to know, one error at a time; reading goes on afterwards.
    pub fn poll(&mut self, max: usize) -> Result<Polled> {
        if self.closed {
            return Err(ClientError::Closed);
        }
        if let Some(rebalance) = self.pending_rebalance() {
            return Ok(Polled::Rebalance(rebalance));
        }
        if let Some(error) = self.group_fatal().or_else(|| self.errors.pop_front()) {
            return Err(error);
        }
        let failed = self.readers.values().find_map(|reader| match &reader.stage {
            Stage::Failed(error) => Some(error.clone()),
            _ => None,
        });
        if let Some(error) = failed {
            return Err(error);
        }
        if self.holds_records_back() {
            return Ok(Polled::Nothing);
        }
        let ready = |(partition, reader): (&TopicPartition, &Reader)| reader.has_records().then(|| partition.clone());
        let mut partitions: Vec<TopicPartition> = self.readers.iter().filter_map(ready).collect();
        if let Some(last) = &self.turn {
            let behind = partitions.partition_point(|partition| partition <= last).min(partitions.len());
            partitions.rotate_left(behind);
        }
        let mut records = Vec::new();
        for partition in partitions {
            if records.len() >= max {
                break;
            }
            let Some(reader) = self.readers.get_mut(&partition) else { continue };
            match reader.take(&partition, &self.config, max, &mut records) {
                Ok(()) => self.turn = Some(partition),
                Err(error) if records.is_empty() => return Err(error),
                // The records before the error come first.
                Err(error) => {
                    self.tell(error);
                    break;
                }
            }
        }
        if records.is_empty() {
            return Ok(Polled::Nothing);
        }
        self.group_gave();
        Ok(Polled::Records(records))
    }

    /// Continues at `offset`.
    ///
    /// # Errors
    /// The partition is not being read.
    pub fn seek(&mut self, partition: &TopicPartition, offset: Offset) -> Result<()> {
        self.reader(partition)?.start_at(offset.max(0), -1);
        Ok(())
    }

    /// Continues at the offset that `spec` names.
    ///
    /// # Errors
    /// The partition is not being read.
    pub fn seek_to(&mut self, partition: &TopicPartition, spec: OffsetSpec) -> Result<()> {
        self.reader(partition)?.find(Stage::Reset(spec, None));
        Ok(())
    }

    /// Stops or resumes the fetching of a partition.
    ///
    /// # Errors
    /// The partition is not being read.
    pub fn pause(&mut self, partition: &TopicPartition, paused: bool) -> Result<()> {
        self.reader(partition)?.paused = paused;
        self.changed = true;
        Ok(())
    }

    /// Offset of the next record a poll returns, once it is known.
    ///
    /// # Errors
    /// The partition is not being read, or has no position and may not choose one.
    pub fn position(&mut self, partition: &TopicPartition) -> Result<Option<Offset>> {
        let reader = self.reader(partition)?;
        match &reader.stage {
            Stage::Reading | Stage::Validating(_) => Ok(Some(reader.position)),
            Stage::Failed(error) => Err(error.clone()),
            Stage::Committed | Stage::Reset(..) => Ok(None),
        }
    }

    /// The high watermarks that fetches have told.
    #[must_use]
    pub fn high_watermarks(&self) -> BTreeMap<TopicPartition, Offset> {
        let known = self.readers.iter().filter(|(_, reader)| reader.high_watermark >= 0);
        known.map(|(partition, reader)| (partition.clone(), reader.high_watermark)).collect()
    }

    /// Begins to look up offsets for the application.
    pub fn look_up_offsets(&mut self, now: Now, specs: &BTreeMap<TopicPartition, OffsetSpec>) -> LookupId {
        let asks = specs.iter().map(|(partition, spec)| (partition.clone(), Ask::Offset(spec.wire())));
        let deadline = now.instant.after(self.config.client.api_timeout);
        self.lookups.begin(&self.cluster, asks, self.config.isolation, deadline)
    }

    /// Closes the connections.
    pub fn close(&mut self, now: Now) {
        self.closed = true;
        self.changed = true;
        self.readers.clear();
        self.cluster.stop(now.instant);
    }

    fn reader(&mut self, partition: &TopicPartition) -> Result<&mut Reader> {
        self.readers.get_mut(partition).ok_or_else(|| ClientError::NotAssigned {
            topic: Arc::clone(&partition.topic),
            partition: partition.partition,
        })
    }
}

impl Machine for ConsumerCore {
    type Event = ConsumerEvent;

    fn cluster(&mut self) -> &mut Cluster {
        &mut self.cluster
    }

    fn advance(&mut self, now: Now) {
        let instant = now.instant;
        loop {
            self.cluster.advance(instant);
            self.lookups.advance(instant, &mut self.cluster);
            self.calls.advance(instant, &mut self.cluster);
            let Some(answer) = self.cluster.poll_answer() else { break };
            let id = answer.id;
            let Some(result) = self.calls.answered(instant, &mut self.cluster, id, answer.result) else { continue };
            let Some(result) = self.lookups.answered(instant, &mut self.cluster, id, result) else { continue };
            let Some(result) = self.group_answered(instant, id, result) else { continue };
            self.fetch_answered(instant, id, result);
        }
        while let Some((id, result)) = self.calls.poll() {
            if let Some(result) = self.own_call(instant, id, result) {
                self.asked_answered(instant, id, result);
            }
        }
        while let Some((id, told)) = self.lookups.poll() {
            match self.purposes.remove(&id) {
                Some(purpose) => self.looked_up(instant, id, purpose, told),
                None => self.events.push_back(ConsumerEvent::Found(id, told)),
            }
        }
        if self.cluster.metadata.version != self.metadata_version {
            self.metadata_version = self.cluster.metadata.version;
            self.check_topics();
        }
        self.abandon_moved();
        self.group_advance(instant);
        self.locate(instant);
        self.fetch(instant);
        self.calls.advance(instant, &mut self.cluster);
        self.lookups.advance(instant, &mut self.cluster);
        self.cluster.advance(instant);
        if std::mem::take(&mut self.changed) {
            self.events.push_back(ConsumerEvent::Changed);
        }
    }

    fn deadline(&self, now: Now) -> Instant {
        let readers = self.readers.values().map(|reader| reader.retry_at).filter(|at| *at > now.instant);
        let own = [self.calls.deadline(), self.lookups.deadline(now.instant), self.group_deadline()];
        readers.chain(own).fold(self.cluster.deadline(now.instant), Instant::min)
    }

    fn poll_event(&mut self) -> Option<ConsumerEvent> {
        self.events.pop_front()
    }
}
