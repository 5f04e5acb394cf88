//! Checkpoints bound the coordinator's log: the live state is written again, then the log before it is deleted.
//!
//! A checkpoint is due when the log has outgrown what it has to say: `log > max(MIN, 2 * live)`. Its records go the way
//! of all others, a piece per batch, between the records of requests; the shard's own page says why what lies behind
//! the first of them is the whole state. Only when the last of them is committed is the log before the first deleted.
//! So a crash leaves either the whole log, the whole log and a part of a checkpoint, or the checkpoint and what
//! follows it, and each of them replays to the same state. A failed append drops the checkpoint; the next begins from
//! the start.

use std::ops::Range;

use millrace_coordinator::{CheckpointCursor, GroupShard, Record};
use millrace_types::Offset;

/// A log below this is not worth a checkpoint; it is replayed within milliseconds.
const MIN_LOG_BYTES: u64 = 4 << 20;

/// Bytes of live state that one batch takes up.
const PIECE_BYTES: usize = 256 << 10;

/// How long the log has become, and the checkpoint in progress.
#[derive(Debug)]
pub(super) struct Checkpoint {
    /// Bytes of log since the start of the last checkpoint.
    log_bytes: u64,
    /// Number of records committed, and the offset that the next one gets.
    committed: u64,
    next_offset: Offset,
    run: Option<Run>,
}

/// A checkpoint in progress.
#[derive(Debug)]
struct Run {
    /// Number and offset of its first record.
    first: u64,
    first_offset: Option<Offset>,
    /// Where the walk over the state goes on; `None` when it has come to the end.
    cursor: Option<CheckpointCursor>,
    /// Number of the record behind its last.
    end: u64,
    /// Bytes of log before it.
    log_bytes_before: u64,
    /// Token of the deletion that completes it.
    deletion: Option<u64>,
}

impl Checkpoint {
    /// Begins with a log of `log_bytes` that ends at `log_end`.
    pub(super) fn new(log_bytes: u64, log_end: Offset) -> Self {
        Self { log_bytes, committed: 0, next_offset: log_end, run: None }
    }

    /// Adds the next piece of a checkpoint that is in progress or due; `yielded` records come before it.
    pub(super) fn add_piece(&mut self, shard: &GroupShard, yielded: u64, records: &mut Vec<Record>) {
        if self.run.is_none() && self.log_bytes > MIN_LOG_BYTES.max(2 * shard.live_bytes() as u64) {
            self.run = Some(Run {
                first: yielded,
                first_offset: (yielded == self.committed).then_some(self.next_offset),
                cursor: Some(CheckpointCursor::default()),
                end: yielded,
                log_bytes_before: self.log_bytes,
                deletion: None,
            });
        }
        if let Some(run) = &mut self.run
            && let Some(cursor) = run.cursor.take()
        {
            run.cursor = shard.checkpoint(&cursor, PIECE_BYTES, records);
            run.end = yielded + records.len() as u64;
        }
    }

    /// A batch of `bytes` has been sent to the log.
    pub(super) fn note_appended(&mut self, bytes: usize) {
        self.log_bytes += bytes as u64;
    }

    /// The records with these numbers are committed, the first of them at `base_offset`.
    pub(super) fn note_committed(&mut self, records: Range<u64>, base_offset: Offset) {
        let offset_of = |number: u64| base_offset.saturating_add_unsigned(number - records.start);
        if let Some(run) = &mut self.run
            && run.first_offset.is_none()
            && (records.start..=records.end).contains(&run.first)
        {
            run.first_offset = Some(offset_of(run.first));
        }
        self.committed = records.end;
        self.next_offset = offset_of(records.end);
    }

    /// The offset below which the log is to be deleted, as soon as the checkpoint is committed as a whole; `token` is
    /// that of the deletion.
    pub(super) fn begin_deletion(&mut self, token: u64) -> Option<Offset> {
        let run = self.run.as_mut()?;
        let is_complete = run.cursor.is_none() && run.end <= self.committed && run.deletion.is_none();
        let before = run.first_offset.filter(|_| is_complete)?;
        run.deletion = Some(token);
        Some(before)
    }

    /// The deletion has an answer; false when `token` is not its. A deletion that failed is made up for by the next
    /// checkpoint, so both answers are taken alike.
    pub(super) fn end_deletion(&mut self, token: u64) -> bool {
        let Some(run) = self.run.take_if(|run| run.deletion == Some(token)) else { return false };
        self.log_bytes = self.log_bytes.saturating_sub(run.log_bytes_before);
        true
    }
}
