//! Cuts of a follower's log: noted, carried out, noted as done, and only then anything is appended (duty 5, rule T1).

use millrace_raft::{EpochStart, Record};
use millrace_storage::{CutDone, LogError, QRecord, Truncation};
use millrace_types::{ErrorCode, Now};

use super::puts::Purpose;
use super::{Replica, ReplicaEffect};

/// A cut on its way.
#[derive(Debug)]
pub(super) enum Cut {
    /// There is none.
    None,
    /// Its note becomes durable.
    Noted(Truncation),
    /// A storage thread cuts the log.
    Running,
    /// The log is cut, and the note of that becomes durable.
    Done,
}

impl Cut {
    /// Whether nothing may be appended or flushed.
    pub(super) const fn is_under_way(&self) -> bool {
        !matches!(self, Self::None)
    }

    /// Whether a storage thread has the segments: nobody else may change which there are.
    pub(super) const fn is_running(&self) -> bool {
        matches!(self, Self::Running)
    }
}

impl Replica {
    /// What the write-ahead store is to note before the log is cut.
    pub(super) fn note_cut(&mut self, record: &Record, out: &mut Vec<ReplicaEffect>) -> Vec<QRecord> {
        let decided = match record {
            Record::Trunc { to, epoch } => {
                tracing::info!(partition = %self.partition, to, epoch, end = self.log.log_end(), "the leader's log differs");
                self.log.truncate_to_epoch(*to, *epoch)
            }
            Record::Reset { start, below } => {
                tracing::warn!(partition = %self.partition, start, end = self.log.log_end(), "begins anew");
                self.log.reset_to(*start, below.map(|EpochStart { epoch, start }| (epoch, start)))
            }
            _ => return Vec::new(),
        };
        match decided {
            Ok(truncation) => {
                let records = truncation.records.clone();
                self.cut = Cut::Noted(truncation);
                records
            }
            Err(error) => {
                self.cut_failed(&error, out);
                Vec::new()
            }
        }
    }

    /// The note is durable: has the log cut.
    pub(super) fn carry_out_cut(&mut self, out: &mut Vec<ReplicaEffect>) {
        let Cut::Noted(truncation) = std::mem::replace(&mut self.cut, Cut::Done) else {
            debug_assert!(self.log.is_poisoned(), "a cut is noted first");
            return;
        };
        self.cut = Cut::Running;
        out.push(ReplicaEffect::Cut(self.log.begin_cut(truncation)));
    }

    /// The log is cut, or could not be. That it is done is durable before anything is appended.
    pub(super) fn cut_applied(&mut self, now: Now, done: CutDone, out: &mut Vec<ReplicaEffect>) {
        if !self.cut.is_running() {
            return;
        }
        self.cut = Cut::Done;
        match self.log.finish_cut(done) {
            Ok(done) => {
                self.puts.put(vec![done], Purpose::CutDone { end: self.log.log_end() }, out);
                if let Some(start) = self.start_after_cut.take() {
                    self.raise_start(now, start, out);
                }
            }
            Err(error) => self.cut_failed(&error, out),
        }
    }

    fn cut_failed(&mut self, error: &LogError, out: &mut Vec<ReplicaEffect>) {
        self.cut = Cut::Done;
        match error {
            LogError::Disk(disk) => self.fail(disk, out),
            error => {
                tracing::error!(partition = %self.partition, %error, "the log cannot be cut");
                debug_assert!(error.error_code() == ErrorCode::KafkaStorageError, "the consensus cuts within the log");
                self.give_up(out);
            }
        }
    }
}
