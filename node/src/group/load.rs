//! Loading: the log is read from its start to the end it had when loading began, a slice per call.
//!
//! The end may lie above the high watermark. The coordinator waits until everything below it is committed: were it to
//! serve earlier, an answer could show a record that a later leader does not have (consensus rules, section 9).

use std::cmp::min;
use std::time::Duration;

use bytes::Bytes;
use millrace_coordinator::GroupShard;
use millrace_storage::{ReadError, Record, RecordError, RecordIter};
use millrace_types::{Instant, Now, Offset};

use super::event::GroupEffect;
use super::serve::Serve;
use crate::call::{Call, PartitionOp};
use crate::directory::PartitionView;

/// Bytes of log replayed in one call, so that others on the arbiter get their turn.
const SLICE_BYTES: usize = 1 << 20;

/// How long to wait before looking again whether the epoch's start is committed.
const LOOK_AGAIN: Duration = Duration::from_millis(10);

/// How long to wait before a read that failed is tried again.
const RETRY: Duration = Duration::from_secs(1);

/// A shard that is being filled.
#[derive(Debug)]
pub(super) struct Load {
    shard: GroupShard,
    /// The next offset to replay.
    next: Offset,
    /// The log end offset when loading began.
    end: Offset,
    /// Bytes of batches read.
    bytes: u64,
    /// Token of the warm-up or of the watch that is waited for.
    awaited: Option<u64>,
    retry_at: Option<Instant>,
    /// Whether the log says already that loading does not go on.
    complained: bool,
}

/// What comes of a step.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Everything is replayed.
    Done,
    /// Go on as soon as others have had their turn.
    Yield,
    /// Go on with the event that is waited for, or when the retry is due.
    Wait,
}

impl Load {
    pub(super) fn new(shard: GroupShard, view: &PartitionView) -> Self {
        Self {
            shard,
            next: view.log.log_start(),
            end: view.log.log_end(),
            bytes: 0,
            awaited: None,
            retry_at: None,
            complained: false,
        }
    }

    /// When to go on without an event.
    pub(super) fn wakes_at(&self, now: Now) -> Instant {
        match (self.retry_at, self.awaited) {
            (Some(at), _) => at,
            (None, Some(_)) => Instant::NEVER,
            (None, None) => now.instant,
        }
    }

    /// Serves what has been loaded.
    pub(super) fn into_serve(self) -> Serve {
        Serve::new(self.shard, self.bytes, self.end)
    }

    /// What was waited for under `token` has come; false when it is something else.
    pub(super) fn resume(&mut self, token: u64) -> bool {
        self.awaited.take_if(|awaited| *awaited == token).is_some()
    }

    /// The awaited call has failed: try again later.
    pub(super) fn pause(&mut self, now: Now) {
        self.retry_at = Some(now.instant.after(RETRY));
    }

    /// Replays the next slice. `token` is used up if an effect is pushed.
    pub(super) fn step(&mut self, now: Now, view: &PartitionView, token: u64, out: &mut Vec<GroupEffect>) -> Progress {
        if self.awaited.is_some() || self.retry_at.is_some_and(|at| at > now.instant) {
            return Progress::Wait;
        }
        self.retry_at = None;
        if view.hides(self.end) {
            return self.stumble(now, view, "acknowledged records have rotted away");
        }
        if self.next >= self.end {
            if view.tells_latest() {
                return Progress::Done;
            }
            // Everything is read, and the epoch's start is not committed: an earlier coordinator may have answered more.
            self.retry_at = Some(now.instant.after(LOOK_AGAIN));
            return Progress::Wait;
        }
        let high_watermark = view.log.high_watermark();
        let upto = min(high_watermark, self.end);
        if self.next >= upto {
            self.awaited = Some(token);
            let op = PartitionOp::Watch { beyond: high_watermark };
            out.push(GroupEffect::Call { token, call: Call::Partition(view.partition, op) });
            return Progress::Wait;
        }
        match view.log.read(self.next, upto, SLICE_BYTES, true) {
            Ok(slice) => match slice.cold {
                Some(job) => {
                    self.awaited = Some(token);
                    out.push(GroupEffect::Warm { token, job });
                    Progress::Wait
                }
                None if slice.next > self.next => {
                    self.replay(&slice.bytes);
                    self.next = slice.next;
                    Progress::Yield
                }
                None => self.stumble(now, view, "the log has no batch where one must be"),
            },
            // A deletion asked for earlier has moved the log's start meanwhile.
            Err(ReadError::OutOfRange { start, .. }) if start > self.next => {
                self.next = start;
                Progress::Yield
            }
            Err(error) => self.stumble(now, view, &error.to_string()),
        }
    }

    fn stumble(&mut self, now: Now, view: &PartitionView, why: &str) -> Progress {
        if !std::mem::replace(&mut self.complained, true) {
            let offset = self.next;
            tracing::error!(partition = %view.partition, offset, why, "a group coordinator cannot load; its groups wait");
        }
        self.pause(now);
        Progress::Wait
    }

    /// Replays whole batches. A record that is none of ours is skipped: the groups it might have told of are worse off
    /// than if it could be read, all others are not.
    fn replay(&mut self, batches: &Bytes) {
        self.bytes += batches.len() as u64;
        let mut rest = batches.clone();
        while !rest.is_empty() {
            let records = match RecordIter::new(&rest) {
                Ok(records) => records,
                Err(error) => {
                    tracing::error!(offset = self.next, %error, "a batch of __consumer_offsets cannot be read");
                    return;
                }
            };
            let size = records.header().size();
            let is_control = records.header().is_control();
            for record in records.filter(|_| !is_control) {
                self.replay_record(record);
            }
            if size == 0 || size > rest.len() {
                return;
            }
            drop(rest.split_to(size));
        }
    }

    fn replay_record(&mut self, record: Result<Record, RecordError>) {
        match record {
            // The batch in which the log starts may begin below the start.
            Ok(record) if record.offset < self.next => {}
            Ok(record) => {
                let key = record.key.as_deref().unwrap_or_default();
                if let Err(error) = self.shard.replay(key, record.value.as_deref()) {
                    tracing::warn!(offset = record.offset, %error, "a record of __consumer_offsets is skipped");
                }
            }
            Err(error) => tracing::error!(%error, "a record of __consumer_offsets cannot be read"),
        }
    }
}
