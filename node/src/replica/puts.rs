//! Records on their way into the write-ahead store, and what follows when they are durable.

use std::collections::{BTreeMap, VecDeque};

use millrace_storage::QRecord;
use millrace_types::{Instant, Offset};

use super::ReplicaEffect;
use crate::call::ReplyTo;

/// What follows when records are durable.
#[derive(Debug)]
pub(super) enum Purpose {
    /// The consensus has asked for them.
    Consensus {
        /// The consensus's token.
        token: u64,
        /// Whether an epoch is among them.
        has_epochs: bool,
    },
    /// The log is cut and ends here: the consensus is told.
    CutDone { end: Offset },
    /// The log is damaged, is to be cut to the damage, and recovers.
    Salvage,
    /// The write-ahead store knows every epoch of the log.
    Epochs,
    /// A `DeleteRecords` moves the log start offset to `start`; its caller, until it has been answered, waits for it.
    Delete { from: Option<ReplyTo>, start: Offset, deadline: Instant },
    /// Retention moves the log start offset to `start`, here or at the leader.
    Retention { start: Offset },
}

/// The records that are not durable yet, by token.
#[derive(Debug, Default)]
pub(super) struct Puts {
    pending: BTreeMap<u64, Purpose>,
    /// Puts that wait for a flush to end, and those behind them: they become durable in their order.
    held: VecDeque<(u64, Vec<QRecord>)>,
    last_token: u64,
}

impl Puts {
    /// Asks for `records` to be made durable.
    pub(super) fn put(&mut self, records: Vec<QRecord>, purpose: Purpose, out: &mut Vec<ReplicaEffect>) {
        self.put_or_hold(records, purpose, false, out);
    }

    /// The same; with `hold` only after the next [`Puts::release`].
    pub(super) fn put_or_hold(
        &mut self,
        records: Vec<QRecord>,
        purpose: Purpose,
        hold: bool,
        out: &mut Vec<ReplicaEffect>,
    ) {
        self.last_token += 1;
        let token = self.last_token;
        self.pending.insert(token, purpose);
        if hold || !self.held.is_empty() {
            self.held.push_back((token, records));
        } else {
            out.push(ReplicaEffect::Put { token, records });
        }
    }

    /// Whether an epoch is being put.
    pub(super) fn epochs_are_pending(&self) -> bool {
        self.pending.values().any(|purpose| matches!(purpose, Purpose::Consensus { has_epochs: true, .. }))
    }

    /// Lets go what was held.
    pub(super) fn release(&mut self, out: &mut Vec<ReplicaEffect>) {
        out.extend(self.held.drain(..).map(|(token, records)| ReplicaEffect::Put { token, records }));
    }

    /// Forgets what was held: a write has failed, and nothing more is promised.
    pub(super) fn drop_held(&mut self) {
        for (token, _) in self.held.drain(..) {
            self.pending.remove(&token);
        }
    }

    /// The records put under `token` are durable, or could not be written.
    pub(super) fn done(&mut self, token: u64) -> Option<Purpose> {
        self.pending.remove(&token)
    }

    /// The put that has waited longest.
    pub(super) fn oldest(&self) -> Option<u64> {
        self.pending.first_key_value().map(|(token, _)| *token)
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
