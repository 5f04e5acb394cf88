//! One partition as it is read: position, fetched batches, and the records they become.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use millrace_types::{Instant, LeaderEpoch, Offset, ProducerId};

use crate::config::{ClientConfig, ConsumerConfig, Isolation};
use crate::core::Random;
use crate::core::backoff::Backoff;
use crate::core::cluster::RequestId;
use crate::core::lookup::LookupId;
use crate::error::{ClientError, Result};
use crate::model::{ConsumerRecord, OffsetSpec, TopicPartition};
use crate::record::{Batch, Batches, RecordError, Records};

/// Where a reader gets its position from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Stage {
    /// The group's committed offset is to be asked for.
    Committed,
    /// The offset this stands for is to be looked up, or is (with the lookup).
    Reset(OffsetSpec, Option<LookupId>),
    /// The end of the position's leader epoch is being looked up, because the leader changed (KIP-320).
    Validating(LookupId),
    /// Records can be fetched.
    Reading,
    /// The application has to be told, and then to decide.
    Failed(ClientError),
}

/// One answer's worth of batches.
#[derive(Debug)]
struct Chunk {
    batches: VecDeque<Batch>,
    bytes: usize,
    /// Transactions aborted in this range that have not begun yet, by their first offsets.
    aborted: VecDeque<(Offset, ProducerId)>,
    /// Producers whose transaction at this place is an aborted one.
    open_aborted: BTreeSet<ProducerId>,
}

/// One partition as it is read.
#[derive(Debug)]
pub(super) struct Reader {
    pub(super) stage: Stage,
    /// Offset of the next record to return.
    pub(super) position: Offset,
    /// Leader epoch of the record before the position, -1 when unknown.
    pub(super) leader_epoch: LeaderEpoch,
    /// The position when the application last came back for more: everything before it is done.
    pub(super) processed: Option<(Offset, LeaderEpoch)>,
    /// Offset of the next record to fetch: at or behind the position.
    pub(super) next_fetch: Offset,
    /// The leader epoch under which the position was found good.
    pub(super) checked_epoch: LeaderEpoch,
    pub(super) paused: bool,
    pub(super) fetching: Option<RequestId>,
    pub(super) retry_at: Instant,
    /// The follower that the leader has sent this consumer to, and until when it stays there (KIP-392).
    pub(super) preferred: Option<(i32, Instant)>,
    /// Version of the metadata that named a wrong leader: nothing is fetched before there is another.
    pub(super) wrong_metadata: Option<u64>,
    pub(super) failures: u32,
    /// Where a batch was found corrupt when it was opened: what is fetched there again is no success yet.
    corrupt_at: Option<Offset>,
    /// Whether a pause has to come before the next fetch.
    stumbled: bool,
    pub(super) high_watermark: Offset,
    /// Bytes of the chunks that wait.
    pub(super) buffered: usize,
    chunks: VecDeque<Chunk>,
    records: Option<(Records, LeaderEpoch, Offset)>,
}

impl Reader {
    pub(super) fn new(stage: Stage) -> Self {
        Self {
            stage,
            position: 0,
            leader_epoch: -1,
            processed: None,
            next_fetch: 0,
            checked_epoch: -1,
            paused: false,
            fetching: None,
            retry_at: Instant::ZERO,
            preferred: None,
            wrong_metadata: None,
            failures: 0,
            corrupt_at: None,
            stumbled: false,
            high_watermark: -1,
            buffered: 0,
            chunks: VecDeque::new(),
            records: None,
        }
    }

    /// Reads on at `offset`; what was fetched for another place is dropped.
    pub(super) fn start_at(&mut self, offset: Offset, leader_epoch: LeaderEpoch) {
        self.clear();
        self.stage = Stage::Reading;
        self.position = offset;
        self.leader_epoch = leader_epoch;
        self.next_fetch = offset;
        self.processed = Some((offset, leader_epoch));
    }

    /// Looks for another position.
    pub(super) fn find(&mut self, stage: Stage) {
        self.clear();
        self.stage = stage;
    }

    fn clear(&mut self) {
        self.chunks.clear();
        self.records = None;
        self.buffered = 0;
        // The answer to a fetch under way is told apart by its request and dropped.
        self.fetching = None;
        self.retry_at = Instant::ZERO;
        self.corrupt_at = None;
        self.stumbled = false;
    }

    /// A fetch was answered with bytes that could be taken in.
    pub(super) fn fetch_succeeded(&mut self) {
        self.corrupt_at = self.corrupt_at.filter(|at| self.position <= *at);
        if self.corrupt_at.is_none() {
            self.failures = 0;
        }
    }

    /// Counts a failure: the next fetch waits, ever longer.
    pub(super) fn pause(&mut self, now: Instant, config: &ClientConfig, random: &mut Random) {
        let pause = random.backoff(config.retry_backoff, config.retry_backoff_max, self.failures);
        self.failures = self.failures.saturating_add(1);
        self.retry_at = now.after(pause);
    }

    /// Whether a corrupt batch was found since the last call.
    pub(super) fn take_stumble(&mut self) -> bool {
        std::mem::take(&mut self.stumbled)
    }

    /// Whether a fetch may be sent for it.
    pub(super) fn wants_fetch(&self, now: Instant, config: &ConsumerConfig) -> bool {
        let half = usize::try_from(config.max_partition_fetch_bytes).unwrap_or(0) / 2;
        self.stage == Stage::Reading
            && !self.paused
            && self.fetching.is_none()
            && self.retry_at <= now
            && self.buffered <= half
    }

    pub(super) fn has_records(&self) -> bool {
        !self.paused && self.stage == Stage::Reading && (self.records.is_some() || !self.chunks.is_empty())
    }

    /// Takes fetched bytes in.
    ///
    /// # Errors
    /// They begin with something that is no record batch of this place, or hold nothing but what lies behind it.
    pub(super) fn fetched(
        &mut self,
        records: Bytes,
        mut aborted: Vec<(Offset, ProducerId)>,
    ) -> std::result::Result<(), RecordError> {
        let bytes = records.len();
        let mut batches = VecDeque::new();
        let mut rest = Batches::new(records);
        let mut bad = None;
        let mut behind = false;
        for batch in rest.by_ref() {
            let batch = match batch.and_then(|batch| self.in_place(batch)) {
                Ok(batch) => batch,
                Err(error) => {
                    bad = Some(error);
                    break;
                }
            };
            // A fetch from the middle of a batch brings the whole batch.
            if batch.header.last_offset() >= self.next_fetch {
                self.next_fetch = batch.header.last_offset().saturating_add(1);
                batches.push_back(batch);
            } else {
                behind = true;
            }
        }
        if batches.is_empty() {
            let cut_short = (rest.remaining() > 0).then_some(RecordError::Truncated("record batch"));
            // The next fetch would bring the same, at once and for ever.
            let behind = behind.then_some(RecordError::Invalid("offset"));
            return bad.or(cut_short).or(behind).map_or(Ok(()), Err);
        }
        // What comes before a bad batch is good; the next fetch begins with the bad one, and says so.
        aborted.sort_unstable();
        self.buffered += bytes;
        self.chunks.push_back(Chunk { batches, bytes, aborted: aborted.into(), open_aborted: BTreeSet::new() });
        Ok(())
    }

    /// Refuses a batch whose offsets cannot be what they say: the checksum does not cover them. No partition serves
    /// records from its high watermark on; to believe such an offset would be to skip all the records up to there.
    fn in_place(&self, batch: Batch) -> std::result::Result<Batch, RecordError> {
        let last = batch.header.last_offset();
        let beyond = self.high_watermark >= 0 && last >= self.high_watermark;
        if beyond || batch.header.base_offset > last { Err(RecordError::Invalid("offset")) } else { Ok(batch) }
    }

    /// Appends up to `max` records to `out`, advancing the position.
    ///
    /// # Errors
    /// A batch is corrupt: the position stays before it, and it will be fetched again after a pause.
    pub(super) fn take(
        &mut self,
        partition: &TopicPartition,
        config: &ConsumerConfig,
        max: usize,
        out: &mut Vec<ConsumerRecord>,
    ) -> Result<()> {
        while out.len() < max {
            if self.records.is_none() && !self.next_batch(partition, config)? {
                return Ok(());
            }
            let Some((records, leader_epoch, last_offset)) = &mut self.records else { return Ok(()) };
            let (leader_epoch, last_offset) = (*leader_epoch, *last_offset);
            match records.next() {
                Some(Ok(record)) if record.offset < self.position => {}
                Some(Ok(record)) => {
                    self.position = record.offset + 1;
                    self.leader_epoch = leader_epoch;
                    out.push(ConsumerRecord {
                        topic: Arc::clone(&partition.topic),
                        partition: partition.partition,
                        offset: record.offset,
                        leader_epoch,
                        timestamp: record.timestamp,
                        key: record.key,
                        value: record.value,
                        headers: record.headers,
                    });
                }
                Some(Err(error)) => return Err(self.corrupt(partition, &error)),
                None => {
                    self.records = None;
                    // Compaction may have removed the last records of a batch.
                    self.position = self.position.max(last_offset.saturating_add(1));
                    self.leader_epoch = leader_epoch;
                }
            }
        }
        Ok(())
    }

    /// Opens the next batch that the application may see; false when nothing is buffered.
    fn next_batch(&mut self, partition: &TopicPartition, config: &ConsumerConfig) -> Result<bool> {
        loop {
            let Some(chunk) = self.chunks.front_mut() else { return Ok(false) };
            let Some(batch) = chunk.batches.pop_front() else {
                self.buffered = self.buffered.saturating_sub(chunk.bytes);
                self.chunks.pop_front();
                continue;
            };
            match open(chunk, &batch, config) {
                Ok(Some(records)) => {
                    self.records = Some((records, batch.header.leader_epoch, batch.header.last_offset()));
                    return Ok(true);
                }
                Ok(None) => {
                    self.position = self.position.max(batch.header.last_offset().saturating_add(1));
                    self.leader_epoch = batch.header.leader_epoch;
                }
                Err(error) => return Err(self.corrupt(partition, &error)),
            }
        }
    }

    fn corrupt(&mut self, partition: &TopicPartition, error: &RecordError) -> ClientError {
        let position = self.position;
        self.clear();
        self.next_fetch = position;
        // Another replica may have it whole.
        self.preferred = None;
        (self.corrupt_at, self.stumbled) = (Some(position), true);
        corrupt(partition, position, error)
    }
}

/// The records of a batch, `None` for one that the application does not see.
fn open(
    chunk: &mut Chunk,
    batch: &Batch,
    config: &ConsumerConfig,
) -> std::result::Result<Option<Records>, RecordError> {
    if config.check_crcs {
        batch.verify()?;
    }
    let header = &batch.header;
    if config.isolation == Isolation::ReadCommitted {
        while chunk.aborted.front().is_some_and(|(first, _)| *first <= header.last_offset()) {
            chunk.open_aborted.extend(chunk.aborted.pop_front().map(|(_, producer)| producer));
        }
        let aborted = header.is_transactional() && chunk.open_aborted.contains(&header.producer_id);
        if aborted {
            if batch.marker()? == Some(false) {
                chunk.open_aborted.remove(&header.producer_id);
            }
            return Ok(None);
        }
    }
    if header.is_control() {
        return Ok(None);
    }
    batch.records(config.client.max_response_bytes).map(Some)
}

/// The error of a batch that cannot be read.
pub(super) fn corrupt(partition: &TopicPartition, offset: Offset, error: &RecordError) -> ClientError {
    ClientError::Corrupt {
        topic: Arc::clone(&partition.topic),
        partition: partition.partition,
        offset,
        reason: Arc::from(error.to_string()),
    }
}
