//! A start that finds damage while there are other replicas: the log is cut to the damage, and the rest fetched again.
//!
//! What lay above was acknowledged, and its acknowledgements may be what commits a record. So, before anything is cut, the
//! write-ahead store says that the replica recovers (rule R11): a crash in between must not leave a log that looks like one
//! that never held more. The start is another incarnation than the one that gave the acknowledgements, which is why nobody
//! counts those any more (rule R12).

use std::ops::Range;

use millrace_storage::{Cause, LogError, QRecord, Rot};
use millrace_types::{LeaderEpoch, Now, Offset};

use super::core::Phase;
use super::cut::Cut;
use super::mutation::{Mutation, broken};
use super::puts::Purpose;
use super::{Replica, ReplicaEffect};

/// What damage has taken away when the log was opened.
#[derive(Debug)]
pub(super) struct Lost {
    /// Offsets that were flushed.
    range: Range<Offset>,
    /// No record there was of a later epoch.
    epoch: LeaderEpoch,
    /// Bytes that are left.
    kept: u64,
}

impl Replica {
    /// Notes that the replica recovers and where its log is cut; the cut follows when both are durable.
    pub(super) fn salvage(&mut self, rot: &Rot, out: &mut Vec<ReplicaEffect>) {
        tracing::error!(
            partition = %self.partition,
            file = %rot.file.display(),
            position = rot.position,
            reason = rot.reason,
            from = rot.offset,
            to = rot.flushed,
            "the log is damaged; it is cut there, and other replicas are asked for the rest"
        );
        let Some(truncation) = self.log.truncate_to_damage() else {
            debug_assert!(false, "damage was found");
            return;
        };
        self.log.upkeep().found(Cause::Start, 0);
        let (range, epoch, kept) = (rot.offset..rot.flushed, self.raft.epoch(), self.log.size_bytes());
        self.lost = Some(Lost { range, epoch, kept });
        let recovering = QRecord::Recovering { tp: self.partition, recovering: true };
        let noted = (!broken(Mutation::CutBeforeRecovering)).then_some(recovering);
        let records = noted.into_iter().chain(truncation.records.iter().cloned()).collect();
        self.cut = Cut::Noted(truncation);
        self.puts.put(records, Purpose::Salvage, out);
    }

    /// Cuts the log and takes part. That the cut is done is what the consensus notes first (rule R8).
    pub(super) fn salvage_noted(&mut self, now: Now, out: &mut Vec<ReplicaEffect>) {
        if self.phase != Phase::Opened {
            // It stops, or has failed; the next start finishes the cut.
            return;
        }
        let Cut::Noted(truncation) = std::mem::replace(&mut self.cut, Cut::None) else {
            debug_assert!(false, "the cut was decided");
            return;
        };
        match self.log.apply_truncation(truncation) {
            Ok(_) => self.take_part(now, None, out),
            Err(LogError::Disk(error)) => self.fail(&error, out),
            Err(error) => {
                tracing::error!(partition = %self.partition, %error, "the damaged log cannot be cut");
                self.give_up(out);
            }
        }
    }

    /// What was lost, here or before an earlier start, is here again, if any replica had it.
    pub(super) fn recovered(&mut self) {
        let (partition, end) = (self.partition, self.log.log_end());
        match self.lost.take() {
            Some(lost) if self.same_upto(lost.epoch) < lost.range.end => {
                let (from, to) = (self.same_upto(lost.epoch).max(lost.range.start), lost.range.end);
                tracing::error!(
                    %partition,
                    from,
                    to,
                    end,
                    "damaged records are gone: no replica that could vote has them; those that were committed are lost"
                );
                self.log.upkeep().given_up(Cause::Start);
            }
            Some(lost) => {
                let Range { start: from, end: to } = lost.range;
                let bytes = self.log.size_bytes().saturating_sub(lost.kept);
                tracing::info!(%partition, from, to, end, bytes, "damage has been repaired from other replicas");
                self.log.upkeep().repaired(Cause::Start, bytes);
            }
            None => tracing::info!(%partition, end, "what was lost has been fetched again"),
        }
    }

    /// Up to where the log has no record of an epoch later than `epoch`.
    fn same_upto(&self, epoch: LeaderEpoch) -> Offset {
        let epochs = self.log.epoch_cache();
        let later = epochs.entries().iter().find(|known| known.0 > epoch);
        later.map_or(Offset::MAX, |known| known.1).min(self.log.log_end())
    }
}
