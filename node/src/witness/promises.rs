//! What the write-ahead store knows of a witness: all that it has promised.

use millrace_raft::{Configuration, EpochStart, Record, Restored};
use millrace_storage::QRecord;
use millrace_types::TopicPartition;

use crate::replica::mutation::{Mutation, broken};
use crate::replica::{Promises, stored_record};

/// What the consensus starts with. An epoch that begins above the end was not told of yet.
pub(super) fn restored(promises: &Promises, first: Configuration) -> Restored {
    let end = promises.witness_end.filter(|_| !broken(Mutation::ForgetWitnessEnd)).unwrap_or(0);
    let known = promises.epochs.iter().filter(|(epoch, start)| *epoch > 0 && *start <= end);
    let epochs: Vec<EpochStart> = known.map(|(epoch, start)| EpochStart { epoch: *epoch, start: *start }).collect();
    Restored {
        epoch: promises.term,
        voted_for: promises.voted_for,
        configuration: promises.configuration.clone().unwrap_or(first),
        witness: true,
        log_start: promises.log_start.min(end),
        log_end: end,
        flushed: end,
        cut: epochs.len() < promises.epochs.len(),
        epochs,
        high_watermark: 0,
        volatile: false,
        recovering: promises.recovering,
    }
}

/// The records of the write-ahead store for one of the consensus.
pub(super) fn stored(tp: TopicPartition, record: &Record) -> Vec<QRecord> {
    match record {
        Record::Trunc { to, epoch } => vec![QRecord::Trunc { tp, to: *to, epoch: *epoch }],
        Record::Reset { start, below } => {
            let (to, offset) = (*start, *start);
            let begins = [QRecord::Trunc { tp, to: 0, epoch: 0 }, QRecord::Start { tp, offset }];
            let below = below.map(|EpochStart { epoch, start }| QRecord::Epoch { tp, epoch, start });
            begins.into_iter().chain(below).chain([QRecord::WitnessEnd { tp, end: to }]).collect()
        }
        Record::WitnessEnd(end) => vec![QRecord::WitnessEnd { tp, end: *end }],
        record => stored_record(tp, record).into_iter().collect(),
    }
}
