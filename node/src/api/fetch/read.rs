//! One partition's part of a fetch.

use bytes::Bytes;
use kafka_protocol::protocol::StrBytes;
use millrace_metadata::Image;
use millrace_storage::{ReadError, WarmJob};
use millrace_types::{BrokerId, ErrorCode, LeaderEpoch, Offset, TopicPartition};

use super::Target;
use crate::api::{Context, lookup};
use crate::directory::PartitionView;
use crate::fetch_session::TopicKey;

/// The most cold ranges one fetch has read in: each is a job for a storage thread.
const MAX_COLD: usize = 8;

/// What was found in a partition.
#[derive(Debug)]
pub(super) struct Outcome {
    /// The partition; `None` when what the client named does not exist here.
    pub(super) partition: Option<TopicPartition>,
    pub(super) error: ErrorCode,
    pub(super) high_watermark: Offset,
    pub(super) last_stable: Offset,
    pub(super) log_start: Offset,
    pub(super) records: Bytes,
    /// Whether there was nothing to read at the offset; else empty records only say that the fetch had no room left.
    pub(super) caught_up: bool,
    /// Set when the records have to be read in from the disk first; `records` is empty until then.
    pub(super) cold: Option<WarmJob>,
    /// The replica that the consumer does better to read from (KIP-392).
    pub(super) preferred: Option<BrokerId>,
    /// Where the consumer's log and this one part: the greatest common epoch, and its end (KIP-320).
    pub(super) diverging: Option<(LeaderEpoch, Offset)>,
    /// The leader epoch that the client knows.
    pub(super) known_epoch: LeaderEpoch,
}

/// What a fetch asks of every partition.
#[derive(Debug, Clone)]
pub(super) struct Consumer {
    /// Whether it reads committed transactions alone.
    pub(super) committed_only: bool,
    /// Whether it may read from a follower (KIP-392).
    pub(super) any_replica: bool,
    /// Where it stands; empty when it does not say.
    pub(super) rack: StrBytes,
}

/// What a fetch may still return.
#[derive(Debug)]
pub(super) struct Budget {
    /// Bytes left of the request's limit.
    pub(super) left: usize,
    /// Whether the next batch is returned even if it is larger: no batch has been found yet (KIP-74).
    pub(super) at_least_one: bool,
    /// Cold ranges found so far.
    pub(super) cold: usize,
}

impl Outcome {
    pub(super) fn failed(partition: Option<TopicPartition>, error: ErrorCode) -> Self {
        Self {
            partition,
            error,
            high_watermark: -1,
            last_stable: -1,
            log_start: -1,
            records: Bytes::new(),
            caught_up: false,
            cold: None,
            preferred: None,
            diverging: None,
            known_epoch: -1,
        }
    }

    /// Without records, from what the partition's view says.
    fn of(view: &PartitionView) -> Self {
        Self {
            high_watermark: view.log.high_watermark(),
            last_stable: view.log.last_stable_offset(),
            log_start: view.log.log_start(),
            ..Self::failed(Some(view.partition), ErrorCode::None)
        }
    }

    /// Whether there is nothing to tell: neither records, nor an error, nor a better place to read from.
    pub(super) fn is_idle(&self) -> bool {
        self.records.is_empty() && !self.is_final()
    }

    /// Whether waiting would not change what is told.
    pub(super) fn is_final(&self) -> bool {
        self.error != ErrorCode::None || self.preferred.is_some() || self.diverging.is_some()
    }
}

/// Reads one partition and takes what it returns from the budget.
pub(super) fn read(
    cx: &Context<'_>,
    image: &Image,
    target: &Target,
    consumer: &Consumer,
    budget: &mut Budget,
) -> Outcome {
    let topic = match &target.key.topic {
        TopicKey::Name(name) => lookup::topic_by_name(image, name),
        TopicKey::Id(id) => lookup::topic_by_id(image, *id),
    };
    let topic = match topic {
        Ok(topic) => topic,
        Err(error) => return Outcome::failed(None, error),
    };
    let partition = TopicPartition::new(topic.id, target.key.partition);
    let view = match lookup::hosted(cx.directory, topic, target.key.partition) {
        Ok(view) => view,
        Err(error) => return Outcome::failed(Some(partition), error),
    };
    let known_epoch = target.wanted.leader_epoch;
    let found = match serves(cx, &view, known_epoch, consumer) {
        Err(error) => Err(error),
        Ok(()) => match nearer(cx, image, &view, target, consumer) {
            Some(broker) => Ok(Outcome { preferred: Some(broker), ..Outcome::of(&view) }),
            None => slice(&view, target, consumer.committed_only, budget),
        },
    };
    Outcome { known_epoch, ..found.unwrap_or_else(|error| Outcome::failed(Some(partition), error)) }
}

/// Whether the replica may be read from by this consumer: it leads, or follows a leader that is heard, and the consumer
/// knows of followers. A replica that is cut off from its leader would have the consumer wait for ever.
fn serves(
    cx: &Context<'_>,
    view: &PartitionView,
    known_epoch: LeaderEpoch,
    consumer: &Consumer,
) -> Result<(), ErrorCode> {
    lookup::known(view, known_epoch)?;
    let follows = || view.leader().is_some_and(|(leader, _)| cx.directory.is_heard(leader));
    let serves = view.leader_epoch().is_some() || (consumer.any_replica && follows());
    if serves { Ok(()) } else { Err(ErrorCode::NotLeaderOrFollower) }
}

/// The follower that a leader sends the consumer to: one that is in sync and heard, and stands in the consumer's rack,
/// where the leader does not. What is below the high watermark every such replica has. Several of them share the
/// partitions of a topic.
fn nearer(
    cx: &Context<'_>,
    image: &Image,
    view: &PartitionView,
    target: &Target,
    consumer: &Consumer,
) -> Option<BrokerId> {
    let is_asked_for = cx.settings.rack_aware_reads && consumer.any_replica && !consumer.rack.is_empty();
    let is_readable = (view.log.log_start()..=view.log.high_watermark()).contains(&target.wanted.offset);
    if !is_asked_for || !is_readable || view.leader_epoch().is_none() {
        return None;
    }
    let listener = &cx.session.origin.listener;
    let in_rack = |id: BrokerId| {
        let broker = image.broker(id).filter(|broker| broker.rack.as_deref() == Some(&*consumer.rack));
        broker.is_some_and(|broker| broker.endpoint(listener).is_some())
    };
    if in_rack(cx.settings.broker_id) {
        return None;
    }
    let in_sync = view.in_sync_brokers();
    let near: Vec<BrokerId> = in_sync.iter().copied().filter(|id| in_rack(*id) && cx.directory.is_heard(*id)).collect();
    let turn = usize::try_from(target.key.partition).unwrap_or(0);
    near.get(turn.checked_rem(near.len())?).copied()
}

/// Compares what the consumer has read last with this log (KIP-320).
fn diverging(view: &PartitionView, target: &Target) -> Result<Option<(LeaderEpoch, Offset)>, ErrorCode> {
    let (last, from) = (target.wanted.last_epoch, target.wanted.offset);
    if last < 0 {
        return Ok(None);
    }
    let (epoch, end) = view.log.epoch_end_offset(last);
    if epoch < 0 || end < 0 || from < view.log.log_start() {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    let parts = epoch < last || end < from;
    if parts && view.hides(end) { Err(ErrorCode::KafkaStorageError) } else { Ok(parts.then_some((epoch, end))) }
}

fn slice(
    view: &PartitionView,
    target: &Target,
    committed_only: bool,
    budget: &mut Budget,
) -> Result<Outcome, ErrorCode> {
    if let Some(parts) = diverging(view, target)? {
        return Ok(Outcome { diverging: Some(parts), ..Outcome::of(view) });
    }
    let log = &view.log;
    let (high_watermark, last_stable) = (log.high_watermark(), log.last_stable_offset());
    let end = if committed_only { last_stable } else { high_watermark };
    let (from, log_start) = (target.wanted.offset, log.log_start());
    let readable = view.readable_end();
    if (readable..Offset::MAX).contains(&from) && (from != end || view.hides(from)) {
        return Err(ErrorCode::KafkaStorageError);
    }
    if from > log.log_end().max(end) && view.leader_epoch().is_none() {
        // The leader has told of more than this follower has; it is on its way.
        return Err(ErrorCode::OffsetNotAvailable);
    }
    if from < log_start || from > log.log_end().max(end) {
        return Err(ErrorCode::OffsetOutOfRange);
    }
    let mut outcome = Outcome { high_watermark, last_stable, log_start, caught_up: from >= end, ..Outcome::of(view) };
    let max_bytes = target.wanted.max_bytes.min(budget.left);
    let spent = max_bytes == 0 && !budget.at_least_one;
    if from < end && !spent && budget.cold < MAX_COLD {
        let slice = log.read(from, end.min(readable), max_bytes, budget.at_least_one).map_err(read_error)?;
        budget.take(slice.bytes.len(), slice.cold.is_some());
        outcome.records = slice.bytes;
        outcome.cold = slice.cold;
    }
    Ok(outcome)
}

impl Budget {
    fn take(&mut self, bytes: usize, cold: bool) {
        self.left = self.left.saturating_sub(bytes);
        self.at_least_one &= bytes == 0;
        self.cold += usize::from(cold);
    }
}

fn read_error(error: ReadError) -> ErrorCode {
    let code = error.error_code();
    if code == ErrorCode::KafkaStorageError {
        tracing::error!(%error, "a segment cannot be read");
    }
    code
}
