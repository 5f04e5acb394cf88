//! What has ever been in the replicas' logs, and what was committed: the memory of the checkers that look into replicas.

use std::collections::BTreeMap;

use millrace_node::PartitionView;
use millrace_raft::{Configuration, ReplicaKey, Status};
use millrace_storage::BatchHeader;
use millrace_types::{LeaderEpoch, Offset, TopicPartition};

/// Bytes of a log that are read at once.
const CHUNK: usize = 1 << 20;

/// One batch of a log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rec {
    /// Offset of its last record.
    pub last: Offset,
    /// The leader epoch in which it was appended.
    pub epoch: LeaderEpoch,
    /// Its checksum.
    pub crc: u32,
}

/// The log of one replica as it was after its last step.
#[derive(Debug, Clone, Default)]
pub struct Mirror {
    /// The batches by base offset.
    pub batches: BTreeMap<Offset, Rec>,
    /// The log start offset.
    pub start: Offset,
    /// The log end offset.
    pub end: Offset,
    /// The replica has said that it holds what lies below as durably as its topic asks, and has not cut it since.
    pub acknowledged: Offset,
}

impl Mirror {
    /// Follows the log; the base offsets of batches that are new are returned.
    ///
    /// # Errors
    /// What is in the log cannot be read.
    pub fn follow(&mut self, view: &PartitionView) -> Result<Vec<Offset>, String> {
        let (start, end) = (view.log.log_start(), view.log.log_end());
        if end < self.end || start > self.end {
            self.batches.retain(|_, batch| batch.last < end);
            self.end = end.min(self.end).max(start);
        }
        if start > self.start {
            self.batches.retain(|_, batch| batch.last >= start);
        }
        self.start = start;
        let mut added = Vec::new();
        while self.end < end {
            let slice = view.log.read(self.end.max(start), end, CHUNK, true).map_err(|error| error.to_string())?;
            if let Some(job) = slice.cold {
                job.run();
                continue;
            }
            let mut rest = slice.bytes;
            while let Ok(header) = BatchHeader::parse(&rest) {
                let rec = Rec { last: header.last_offset(), epoch: header.leader_epoch, crc: header.crc };
                self.batches.insert(header.base_offset, rec);
                added.push(header.base_offset);
                rest = rest.split_off(header.size().min(rest.len()));
            }
            if slice.next <= self.end {
                return Err(format!("nothing can be read at {}", self.end));
            }
            self.end = slice.next;
        }
        Ok(added)
    }

    /// The log was opened again: what is in it has to be looked at anew. Returns what was there before.
    pub fn reopen(&mut self) -> Self {
        let acknowledged = self.acknowledged;
        std::mem::replace(self, Self { acknowledged, ..Self::default() })
    }

    /// Takes in what the replica says that it holds; `end` is where the log ends once a cut under way is done.
    fn acknowledges(&mut self, upto: Offset, end: Offset) {
        self.acknowledged = self.acknowledged.max(upto).min(end);
    }

    /// The batch that holds `offset`.
    #[must_use]
    pub fn holding(&self, offset: Offset) -> Option<(Offset, Rec)> {
        let (base, batch) = self.batches.range(..=offset).next_back()?;
        (batch.last >= offset).then_some((*base, *batch))
    }
}

/// What is known of one partition.
#[derive(Debug, Default)]
pub struct Ghost {
    /// The process that led each epoch.
    pub leaders: BTreeMap<LeaderEpoch, u64>,
    /// Every batch that ever was in a log, with the epoch of the batch before it where that is known.
    pub batches: BTreeMap<(Offset, LeaderEpoch), (Rec, Option<LeaderEpoch>)>,
    /// Where each epoch begins.
    pub starts: BTreeMap<LeaderEpoch, Offset>,
    /// What was committed, and in which epoch first.
    pub committed: BTreeMap<Offset, (Rec, LeaderEpoch)>,
    /// How far each epoch's leader has committed.
    pub commits: BTreeMap<LeaderEpoch, Offset>,
    /// What the high watermark has passed, and in which epoch first.
    pub passed: BTreeMap<Offset, (Rec, LeaderEpoch)>,
    /// How far each epoch's high watermark has come.
    pub high_watermarks: BTreeMap<LeaderEpoch, Offset>,
    /// How much of the leader's log each replica has acknowledged in each epoch.
    pub words: BTreeMap<(LeaderEpoch, ReplicaKey), Offset>,
    /// The members as each replica holds them durably; one whose disk is another now holds nothing.
    pub held: BTreeMap<ReplicaKey, Configuration>,
    /// The newest of all members that any replica ever held.
    pub newest: Option<Configuration>,
}

impl Ghost {
    /// The replica `key` says what it holds. Its word counts when that reaches into its epoch (rule R4), and it has lost nothing.
    pub fn heard(&mut self, key: ReplicaKey, mirror: &mut Mirror, status: &Status) {
        let Status { epoch, acknowledged: held, .. } = status;
        mirror.acknowledges(held.offset, status.position.offset);
        if held.epoch == *epoch && !status.recovering {
            let upto = self.words.entry((*epoch, key)).or_default();
            *upto = held.offset.max(*upto);
        }
    }

    /// The replica `key` holds these members; whether that is news.
    pub fn holds(&mut self, key: ReplicaKey, configuration: &Configuration) -> bool {
        if self.held.get(&key).is_some_and(|held| held.id == configuration.id) {
            return false;
        }
        self.held.insert(key, configuration.clone());
        if self.newest.as_ref().is_none_or(|newest| newest.id < configuration.id) {
            self.newest = Some(configuration.clone());
        }
        true
    }

    /// What lies at `end` and above is lost, and everybody is told: it is owed no longer.
    pub fn lose(&mut self, end: Offset) {
        self.committed.retain(|_, (batch, _)| batch.last < end);
        self.passed.retain(|_, (batch, _)| batch.last < end);
        self.high_watermarks.values_mut().for_each(|told| *told = (*told).min(end));
        self.commits.values_mut().for_each(|known| *known = (*known).min(end));
    }
}

/// The ghosts of all partitions.
pub type Ghosts = BTreeMap<TopicPartition, Ghost>;
