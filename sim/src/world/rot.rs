//! Rot while no process runs: beyond the end of a log, where it must not matter, or among what was flushed, where it must be
//! reported. Where several replicas hold a partition one of them may rot in sealed segments, which are scrubbed: a flipped bit, a
//! range of zeros, or an end that is gone. Then nothing may be lost, and it must be repaired.

use std::path::{Path, PathBuf};

use millrace_storage::{BatchHeader, Disk, QSTATE_DIR, QState, TOPICS_DIR, parse_partition_dir};
use millrace_types::TopicPartition;

use super::verdict::read_all;
use super::{Phase, World};
use crate::history::Part;

/// The parts of a log file: where flushed batches end, and where all batches end.
struct Extent {
    flushed: u64,
    used: u64,
    len: u64,
}

impl World {
    /// Flips a bit, perhaps.
    pub(super) fn rot(&mut self, at: usize) {
        let percent = self.options.faults.rot_percent;
        if self.phase != Phase::Safety || !self.fault_dice.chance(percent) {
            return;
        }
        if self.options.is_cluster() {
            // Few of a disk's files are such as may rot.
            let _none_found = (0..20).find(|_| self.rot_one_of_several(at));
            return;
        }
        let Some((partition, path, first, last)) = self.draw_log_file(at) else { return };
        let Some(part) = self.names.get(&partition).cloned() else { return };
        let Some(extent) = self.extent(at, partition, &path, first) else { return };
        let bit = u8::try_from(self.fault_dice.below(8)).unwrap_or(0);
        let deep = self.fault_dice.chance(50) && extent.flushed > 0;
        let position = if deep {
            self.fault_dice.below(extent.flushed)
        } else if last && extent.used < extent.len {
            // Beyond the batches nothing is written, so a bit there is no more than the torn end of something.
            extent.used + self.fault_dice.below(extent.len - extent.used)
        } else {
            return;
        };
        self.trace.line(self.micros(), format_args!("rot {} at {position} deep={deep}", path.display()));
        if self.brokers[at].disk.flip_bit(&path, position, bit).is_ok() && deep {
            self.damage(&part);
        }
    }

    /// Spoils a sealed segment on the one machine that rots, of a partition that loses nothing by it; whether one was found.
    fn rot_one_of_several(&mut self, at: usize) -> bool {
        let Some((partition, path, first, last)) = self.draw_log_file(at) else { return false };
        let Some(part) = self.names.get(&partition).cloned() else { return false };
        let survives = self.is_durable(partition) && self.options.replicas_of(&part.topic) >= 3;
        if self.options.cluster.rotting != Some(at) || !survives || last {
            return false;
        }
        let extent = self.extent(at, partition, &path, first);
        let Some(extent) = extent.filter(|extent| extent.flushed > 0) else { return false };
        // What is not flushed yet is another matter: a crash may have taken it.
        if extent.flushed < extent.used {
            return false;
        }
        let (kind, from) = (self.fault_dice.below(3), self.fault_dice.below(extent.flushed));
        let length = 1 + self.fault_dice.below(extent.flushed - from);
        let bit = u8::try_from(self.fault_dice.below(8)).unwrap_or(0);
        let disk = self.brokers[at].disk.clone();
        let spoil = || match kind {
            0 => disk.flip_bit(&path, from, bit),
            1 => disk.open(&path, 0).and_then(|file| file.zero(from..from + length).and_then(|()| file.flush())),
            _ => disk.open(&path, 0).and_then(|file| file.truncate(from).and_then(|()| file.flush())),
        };
        let spoiled = spoil();
        self.trace.line(
            self.micros(),
            format_args!("rot {kind} of {} at {from}, {length} bytes: {}", path.display(), spoiled.is_ok()),
        );
        self.brokers[at].rotten.insert(partition);
        if let Some(known) = self.history.parts.get_mut(&part) {
            known.rotten = true;
        }
        true
    }

    /// What has rotted and is not repaired yet.
    pub(super) fn rotten(&self) -> Option<String> {
        self.brokers.iter().find_map(|machine| {
            machine.rotten.iter().find_map(|partition| {
                let view = machine.process.as_deref()?.view(*partition)?;
                let why = read_all(view).err()?;
                Some(format!("{partition} on {} is rotten: {why}", machine.broker))
            })
        })
    }

    fn damage(&mut self, part: &Part) {
        if let Some(known) = self.history.parts.get_mut(part) {
            known.damaged = true;
        }
    }

    /// A log file of a partition: its path, base offset, and whether it is the last one.
    fn draw_log_file(&mut self, at: usize) -> Option<(TopicPartition, PathBuf, i64, bool)> {
        let disk = self.brokers[at].disk.clone();
        let dirs = disk.list(Path::new(TOPICS_DIR)).ok()?;
        let chosen = usize::try_from(self.fault_dice.below(dirs.len() as u64)).ok()?;
        let dir = dirs.get(chosen)?;
        let partition = parse_partition_dir(&dir.name)?;
        let path = Path::new(TOPICS_DIR).join(&dir.name);
        let files = disk.list(&path).ok()?;
        let logs: Vec<&str> = files.iter().filter_map(|file| file.name.strip_suffix(".log")).collect();
        let chosen = usize::try_from(self.fault_dice.below(logs.len() as u64)).ok()?;
        let base = logs.get(chosen)?;
        Some((partition, path.join(format!("{base}.log")), base.parse().ok()?, chosen + 1 == logs.len()))
    }

    fn extent(&self, at: usize, partition: TopicPartition, path: &Path, first: i64) -> Option<Extent> {
        let disk = &self.brokers[at].disk;
        let contents = QState::inspect(disk, Path::new(QSTATE_DIR)).ok()?;
        let known = contents.partitions.get(&partition).and_then(|state| state.flushed).unwrap_or(0);
        let file = disk.open(path, 0).ok()?;
        let bytes = file.read(0, usize::try_from(file.len()).ok()?).ok()?;
        let (mut position, mut flushed, mut next) = (0_usize, 0, first);
        while let Some(header) = bytes.get(position..).and_then(|rest| BatchHeader::parse(rest).ok()) {
            if header.base_offset != next || position + header.size() > bytes.len() {
                break;
            }
            position += header.size();
            next = header.last_offset() + 1;
            if next <= known {
                flushed = position;
            }
        }
        Some(Extent { flushed: flushed as u64, used: position as u64, len: file.len() })
    }
}
