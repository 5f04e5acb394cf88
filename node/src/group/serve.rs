//! Serving: requests go into the shard, its records into the log, its replies out when the records are committed.
//!
//! Records are numbered from 0 in the order in which the shard yields them: `committed <= appended <= yielded`. One
//! batch is under way at a time; what the shard yields meanwhile becomes the next, so a burst of commits costs one
//! flush. A reply carries the number of records yielded before it and leaves when `committed` has reached it.

use std::collections::{BTreeMap, VecDeque};

use millrace_coordinator::{GroupRequest, GroupResponse, GroupShard, Outcome, Record};
use millrace_storage::{BatchBuilder, BatchError, BatchLimits, Codec, RecordError, ValidBatches};
use millrace_types::{ErrorCode, Now, Offset};

use super::checkpoint::Checkpoint;
use super::event::GroupEffect;
use crate::call::ReplyTo;
use crate::replica::mutation::{Mutation, broken};

/// Bytes of one batch. It stays below what any Kafka tool reads at once.
pub(super) const MAX_BATCH_BYTES: usize = 1 << 20;

/// What a record's frame adds to its key and value, at most.
pub(super) const FRAME_BYTES: usize = 64;

/// Requests that wait in the shard or for their records. Members and connections have bounds of their own; this one
/// holds when they are set too high.
const MAX_WAITING: usize = 200_000;

/// Bytes of records that wait for the log; with more the disk is far behind, and further requests are turned away.
const MAX_QUEUED_BYTES: usize = 64 << 20;

/// A loaded shard and everything that is under way.
#[derive(Debug)]
pub(super) struct Serve {
    pub(super) shard: GroupShard,
    /// Requests that the shard has not answered, by its token.
    waiting: BTreeMap<u64, ReplyTo>,
    next_token: u64,
    /// Replies that wait for their records, with the number that `committed` must reach.
    held: VecDeque<(u64, ReplyTo, GroupResponse)>,
    queue: VecDeque<Record>,
    queued_bytes: usize,
    yielded: u64,
    appended: u64,
    committed: u64,
    /// Token of the append under way.
    pub(super) appending: Option<u64>,
    pub(super) checkpoint: Checkpoint,
}

impl Serve {
    /// Serves what has been loaded from `log_bytes` of log up to `log_end`.
    pub(super) fn new(shard: GroupShard, log_bytes: u64, log_end: Offset) -> Self {
        Self {
            shard,
            waiting: BTreeMap::new(),
            next_token: 0,
            held: VecDeque::new(),
            queue: VecDeque::new(),
            queued_bytes: 0,
            yielded: 0,
            appended: 0,
            committed: 0,
            appending: None,
            checkpoint: Checkpoint::new(log_bytes, log_end),
        }
    }

    /// Requests not answered yet.
    pub(super) fn waiting(&self) -> usize {
        self.waiting.len() + self.held.len()
    }

    /// Bytes of records that wait for the log.
    pub(super) fn queued_bytes(&self) -> usize {
        self.queued_bytes
    }

    pub(super) fn request(&mut self, now: Now, from: ReplyTo, request: GroupRequest, out: &mut Vec<GroupEffect>) {
        if self.waiting() >= MAX_WAITING || self.queued_bytes >= MAX_QUEUED_BYTES {
            let response = GroupResponse::Failed(ErrorCode::CoordinatorNotAvailable);
            out.push(GroupEffect::Answer { to: from, response });
            return;
        }
        let token = self.next_token;
        self.next_token += 1;
        self.waiting.insert(token, from);
        let mut outcome = Outcome::default();
        self.shard.handle(now, token, request, &mut outcome);
        self.take(outcome, out);
    }

    /// The shard's deadlines that have come.
    pub(super) fn timer(&mut self, now: Now, out: &mut Vec<GroupEffect>) {
        let mut outcome = Outcome::default();
        self.shard.on_timer(now, &mut outcome);
        self.take(outcome, out);
    }

    /// Queues an outcome's records and holds its replies until they are committed.
    pub(super) fn take(&mut self, outcome: Outcome, out: &mut Vec<GroupEffect>) {
        self.enqueue(outcome.records);
        for (token, response) in outcome.replies {
            match self.waiting.remove(&token) {
                Some(to) => self.held.push_back((self.yielded, to, response)),
                None => debug_assert!(false, "the shard answers each request once"),
            }
        }
        self.release(out);
    }

    fn enqueue(&mut self, records: Vec<Record>) {
        self.yielded += records.len() as u64;
        self.queued_bytes += records.iter().map(Record::size).sum::<usize>();
        self.queue.extend(records);
    }

    fn release(&mut self, out: &mut Vec<GroupEffect>) {
        debug_assert!(self.committed <= self.appended && self.appended <= self.yielded, "the numbers' order");
        let early = broken(Mutation::AnswerGroupBeforeCommit);
        while self.held.front().is_some_and(|(needed, _, _)| *needed <= self.committed || early) {
            if let Some((_, to, response)) = self.held.pop_front() {
                out.push(GroupEffect::Answer { to, response });
            }
        }
    }

    /// The next batch to append, unless one is under way; a checkpoint that is due adds its next piece.
    pub(super) fn next_batch(&mut self, now: Now) -> Option<Result<ValidBatches, AppendFault>> {
        if self.appending.is_some() {
            return None;
        }
        if self.queued_bytes < MAX_BATCH_BYTES {
            let mut records = Vec::new();
            self.checkpoint.add_piece(&self.shard, self.yielded, &mut records);
            self.enqueue(records);
        }
        if self.queue.is_empty() {
            return None;
        }
        let mut batch = BatchBuilder::new(now.wall, Codec::None);
        while let Some(record) = self.queue.front() {
            let size = record.size() + FRAME_BYTES;
            if batch.records() > 0 && batch.size() + size > MAX_BATCH_BYTES {
                break;
            }
            batch = batch.push(Some(&record.key), record.value.as_deref());
            self.queued_bytes -= record.size();
            self.appended += 1;
            self.queue.pop_front();
        }
        self.checkpoint.note_appended(batch.size());
        Some(finish(batch, now))
    }

    /// The batch under way is committed; its first record has `base_offset`.
    pub(super) fn committed(&mut self, base_offset: Offset, out: &mut Vec<GroupEffect>) {
        self.appending = None;
        self.checkpoint.note_committed(self.committed..self.appended, base_offset);
        self.committed = self.appended;
        self.release(out);
    }

    /// Everyone who waits, for a coordinator that cannot answer them any more.
    pub(super) fn abandon(self, error: ErrorCode, out: &mut Vec<GroupEffect>) {
        let held = self.held.into_iter().map(|(_, to, _)| to);
        for to in self.waiting.into_values().chain(held) {
            out.push(GroupEffect::Answer { to, response: GroupResponse::Failed(error) });
        }
    }

    /// Stops: requests that only the log keeps waiting are still answered, all others are not.
    pub(super) fn drain(&mut self, error: ErrorCode, out: &mut Vec<GroupEffect>) {
        let appended = self.appended;
        let (kept, dropped): (VecDeque<_>, VecDeque<_>) =
            std::mem::take(&mut self.held).into_iter().partition(|(needed, _, _)| *needed <= appended);
        self.held = kept;
        self.queue.clear();
        self.queued_bytes = 0;
        let dropped = dropped.into_iter().map(|(_, to, _)| to);
        for to in std::mem::take(&mut self.waiting).into_values().chain(dropped) {
            out.push(GroupEffect::Answer { to, response: GroupResponse::Failed(error) });
        }
    }
}

/// Why a batch could not even be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum AppendFault {
    #[error(transparent)]
    Build(#[from] RecordError),
    #[error(transparent)]
    Check(#[from] BatchError),
}

fn finish(batch: BatchBuilder, now: Now) -> Result<ValidBatches, AppendFault> {
    let limits = BatchLimits { max_message_bytes: 2 * MAX_BATCH_BYTES, require_key: true, ..BatchLimits::default() };
    Ok(ValidBatches::check(batch.build()?, &limits, now.wall)?)
}
