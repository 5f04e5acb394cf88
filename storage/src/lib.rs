//! One log on one disk: mapped segments, indexes, recovery, retention, the broker's write-ahead store and group flush.
//!
//! Everything that touches a file goes through the [`Disk`] trait, so that the simulator can lose power in the middle
//! of it. The only threads are those of [`StorageThreads`]; the only unsafe code is in `disk/mmap.rs`.

#![deny(unsafe_code)]

mod builder;
mod check;
mod compress;
mod disk;
mod epoch_cache;
mod flusher;
mod index;
mod journal;
mod layout;
mod log;
pub mod mutation;
mod poison;
mod producer_state;
mod qstate;
mod record_batch;
mod recovery;
mod segment;
mod upkeep;
mod view;

pub use builder::BatchBuilder;
pub use check::{Finding, LogCheck, Severity, check_log};
pub use compress::{Codec, CodecError, Levels};
pub use disk::{CrashKind, Fault, FaultPlan, Operation, OverlayDisk, RealDisk, SimDisk, mapped_count};
pub use disk::{DirEntry, Disk, DiskError, File, FileRef, Space};
pub use epoch_cache::EpochCache;
pub use flusher::{Done, FlushJob, FlushWork, QueueFull, StorageHandle, StorageJob, StorageOptions, StorageStats};
pub use flusher::{StatsSnapshot, StorageThreads};
pub use journal::{Journal, JournalError, JournalFlush, JournalOptions, JournalReport};
pub use layout::{DataDir, DataDirError, Identity, METADATA_DIR, NewIdentity, QSTATE_DIR, TOPICS_DIR};
pub use layout::{parse_partition_dir, partition_dir, remove_partition_dir};
pub use log::{AppendError, Appended, Log, LogConfig, LogError, Maintenance, PrepareJob, Prepared};
pub use log::{CutDone, CutJob, Look, Truncation};
pub use poison::Poison;
pub use producer_state::ProducerSummary;
pub use qstate::{
    BootRecord, BootState, Configuration, DecodeError, NewBoot, PartitionState, QRecord, QState, SeenStart, ToldStart,
};
pub use qstate::{QStateContents, QStateError, Voter, VoterRole};
pub use record_batch::{BatchError, BatchHeader, BatchLimits, HeaderError, Record, RecordError, RecordIter};
pub use record_batch::{TimestampType, ValidBatches};
pub use recovery::{Cut, Known, Recovery, Rot};
pub use segment::OpenSegments;
pub use upkeep::{Cause, Damage, Mend, Upkeep, UpkeepJob, UpkeepSnapshot, Upkept, Where, intact_prefix};
pub use view::{ByTime, LogView, ReadError, Slice, WarmJob};
