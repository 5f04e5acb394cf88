//! Records on their way into the write-ahead store, and what follows when they are durable.

use std::collections::BTreeMap;

use millrace_storage::QRecord;
use millrace_types::{Instant, Offset};

use super::ReplicaEffect;
use crate::call::ReplyTo;

/// What follows when records are durable.
#[derive(Debug)]
pub(super) enum Purpose {
    /// The replica's epoch, and what its recovery decided.
    Epoch,
    /// Records may be acknowledged from the page cache.
    SetVolatile,
    /// Records are no longer acknowledged from the page cache, and all are flushed.
    ClearVolatile,
    /// A `DeleteRecords` moves the log start offset to `start`; its caller, until it has been answered, waits for it.
    Delete { from: Option<ReplyTo>, start: Offset, deadline: Instant },
    /// Retention moves the log start offset to `start`.
    Retention { start: Offset },
}

/// The records that are not durable yet, by token.
#[derive(Debug, Default)]
pub(super) struct Puts {
    pending: BTreeMap<u64, Purpose>,
    last_token: u64,
}

impl Puts {
    /// Asks for `records` to be made durable.
    pub(super) fn put(&mut self, records: Vec<QRecord>, purpose: Purpose, out: &mut Vec<ReplicaEffect>) {
        self.last_token += 1;
        self.pending.insert(self.last_token, purpose);
        out.push(ReplicaEffect::Put { token: self.last_token, records });
    }

    /// The records put under `token` are durable, or could not be written.
    pub(super) fn done(&mut self, token: u64) -> Option<Purpose> {
        self.pending.remove(&token)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.pending.is_empty()
    }

    /// Callers of `DeleteRecords` whose deadline has passed; their records go on.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<ReplyTo> {
        let expired = |purpose: &mut Purpose| match purpose {
            Purpose::Delete { from, deadline, .. } if *deadline <= now => from.take(),
            _ => None,
        };
        self.pending.values_mut().filter_map(expired).collect()
    }

    /// Callers that wait, all of them.
    pub(super) fn take_callers(&mut self) -> Vec<ReplyTo> {
        self.expire(Instant::NEVER)
    }

    /// The earliest deadline of a caller that waits.
    pub(super) fn deadline(&self) -> Instant {
        let deadlines = self.pending.values().filter_map(|purpose| match purpose {
            Purpose::Delete { from: Some(_), deadline, .. } => Some(*deadline),
            _ => None,
        });
        deadlines.min().unwrap_or(Instant::NEVER)
    }
}
