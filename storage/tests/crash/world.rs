//! One seed: random work, crashes, recoveries.

use std::path::Path;
use std::sync::Arc;

use millrace_storage::{
    AppendError, BatchLimits, CrashKind, Disk, DiskError, FaultPlan, Log, LogConfig, LogError, OpenSegments, QRecord,
    Recovery, SimDisk, ValidBatches,
};
use millrace_types::{Instant, Now, Offset, TopicId, TopicPartition};
use uuid::Uuid;

use crate::batches::{Shape, Stored, produced, stored};
use crate::model::Model;
use crate::store::Store;

/// Rules outside the log that a test breaks.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Break {
    /// The write-ahead store does not let `Trunc` void earlier epochs.
    pub(crate) ignore_truncations: bool,
}

const DIR: &str = "topics/log-0";
const WALL: i64 = 1_700_000_000_000;
const LIVES: u64 = 6;

/// Splitmix64.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn one_in(&mut self, of: u64) -> bool {
        self.below(of) == 0
    }
}

struct World {
    chance: Chance,
    broken: Break,
    disk: SimDisk,
    store: Store,
    model: Model,
    now: Now,
    config: LogConfig,
    /// Follows another leader in this life: epochs are not bumped, batches come with theirs.
    follows: bool,
    retention: bool,
}

/// A step could not be done because the disk failed: time for a crash. Or a rule is broken.
enum Stop {
    Disk,
    Wrong(String),
}

impl Stop {
    /// A check that met the end of the power supply has found nothing wrong.
    fn of(why: String) -> Self {
        if why.contains("the power is off") { Self::Disk } else { Self::Wrong(why) }
    }
}

impl From<DiskError> for Stop {
    fn from(_: DiskError) -> Self {
        Self::Disk
    }
}

impl From<LogError> for Stop {
    fn from(error: LogError) -> Self {
        match error {
            LogError::Disk(error) => error.into(),
            other => Self::Wrong(other.to_string()),
        }
    }
}

fn partition() -> TopicPartition {
    TopicPartition::new(TopicId(Uuid::from_u128(7)), 0)
}

/// Runs one seed.
pub(crate) fn run_seed(seed: u64, broken: Break) -> Result<(), String> {
    let mut chance = Chance(seed);
    let config = LogConfig {
        segment_bytes: 6_000 + chance.below(4) * 9_000,
        initial_segment_bytes: 4096,
        index_interval_bytes: 600,
        retention_ms: -1,
        retention_bytes: if chance.one_in(3) { 20_000 } else { -1 },
        file_delete_delay_ms: 0,
        open_segments: OpenSegments::new(2),
        ..LogConfig::default()
    };
    let plan = FaultPlan { write_back_percent: 20, ..FaultPlan::default() };
    let mut world = World {
        retention: config.retention_bytes >= 0,
        disk: SimDisk::new(seed, plan),
        store: Store::default(),
        model: Model::default(),
        now: Now { instant: Instant::from_micros(1), wall: WALL },
        follows: false,
        config,
        chance,
        broken,
    };
    for _ in 0..LIVES {
        world.live()?;
    }
    Ok(())
}

impl World {
    /// One life of the process: open, work, and the crash that ends it.
    fn live(&mut self) -> Result<(), String> {
        let keep_cache = self.chance.one_in(3);
        let kind = if keep_cache { CrashKind::Process } else { CrashKind::Power };
        let mut clean = self.crash(kind);
        let mut log = loop {
            if kind == CrashKind::Power && self.chance.one_in(3) {
                let after = self.chance.below(12);
                self.disk.set_power_off_after(Some(after));
            }
            match self.open(clean) {
                Ok(log) => break log,
                Err(Stop::Wrong(why)) => return Err(why),
                Err(Stop::Disk) => clean = self.crash(CrashKind::Power),
            }
        };
        if self.chance.one_in(2) {
            let after = self.chance.below(120);
            self.disk.set_power_off_after(Some(after));
        } else {
            self.disk.set_power_off_after(None);
        }
        let failing_flush = self.chance.one_in(4);
        for _ in 0..self.chance.below(70) {
            self.now.instant = Instant::from_micros(self.now.instant.as_micros() + 2_000_000);
            if failing_flush && self.chance.one_in(20) {
                self.disk.inject(millrace_storage::Fault::new(millrace_storage::Operation::Flush, 1).on(".log"));
            }
            match self.step(&mut log) {
                Ok(()) if log.is_poisoned() => break,
                Ok(()) => {}
                Err(Stop::Disk) => break,
                Err(Stop::Wrong(why)) => return Err(why),
            }
        }
        Ok(())
    }

    /// Replaces the disk by its image after a crash; says whether the page cache survived.
    fn crash(&mut self, kind: CrashKind) -> bool {
        self.disk = self.disk.crash(kind);
        if kind == CrashKind::Power {
            let more = self.chance.below(self.store.volatile() as u64 + 1) as usize;
            self.store.lose_power(more);
        }
        kind == CrashKind::Process
    }

    fn open(&mut self, clean: bool) -> Result<Log, Stop> {
        if !clean && self.chance.one_in(3) {
            self.plant_stale_batch()?;
        }
        let known = self.store.known(clean, self.broken.ignore_truncations);
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let opened = Log::open(&disk, Path::new(DIR), partition(), self.config.clone(), &known, self.now)?;
        let (mut log, Recovery { records, flush, damaged, .. }) = opened;
        if let Some(rot) = damaged {
            return Err(Stop::Wrong(format!("taken for damage: {rot}")));
        }
        self.model.check_recovered(&log, &known).map_err(Stop::of)?;
        self.store.put(records);
        self.store.flush();
        if let Some(work) = flush {
            work.run()?;
            log.flushed(work.upto);
        }
        self.promise(&log);
        self.follows = self.chance.one_in(2) && log.epoch_cache().latest() > 0;
        if !self.follows {
            self.begin_epoch(&mut log);
        }
        Ok(log)
    }

    /// A write that went astray: a whole batch of an older epoch, or of another offset, behind the end of the log.
    fn plant_stale_batch(&mut self) -> Result<(), Stop> {
        let disk: Arc<dyn Disk> = Arc::new(self.disk.clone());
        let Ok(entries) = disk.list(Path::new(DIR)) else { return Ok(()) };
        let Some(last) = entries.iter().rev().find(|entry| entry.name.ends_with(".log")) else { return Ok(()) };
        let base: Offset = last.name.trim_end_matches(".log").parse().map_err(|_| Stop::Disk)?;
        let file = disk.open(&Path::new(DIR).join(&last.name), 0)?;
        // The simulated kernel may have kept any part of what was not flushed: place it behind all of that.
        let inside = self.model.batches.iter().filter(|batch| batch.base >= base);
        let used: u64 = inside.map(|batch| batch.bytes.len() as u64).sum();
        let whole = self.model.promised == self.model.end() && self.model.attempt.is_none();
        let (end, epoch) = (self.model.end(), self.model.batches.last().map_or(0, |batch| batch.epoch));
        let shape = Shape { records: 2, value_len: 30, fill: 99, producer: None };
        let (offset, epoch) = if self.chance.one_in(2) { (end, epoch - 1) } else { (end + 3, epoch) };
        let stale = stored(&produced(shape, WALL), shape, offset, epoch);
        if whole && used > 0 && used + stale.bytes.len() as u64 <= file.len() {
            file.write_at(used, &[&stale.bytes])?;
        }
        Ok(())
    }

    fn promise(&mut self, log: &Log) {
        self.model.promised = self.model.promised.max(log.flushed_offset());
        log.view().set_high_watermark(log.flushed_offset());
        self.store.put([QRecord::Flushed { tp: partition(), upto: log.flushed_offset() }]);
    }

    fn begin_epoch(&mut self, log: &mut Log) {
        let epoch = log.epoch_cache().latest() + 1;
        self.store.put([log.begin_epoch(epoch)]);
        self.store.flush();
        self.model.markers.push((epoch, log.log_end()));
    }

    fn step(&mut self, log: &mut Log) -> Result<(), Stop> {
        match self.chance.below(40) {
            0..=17 => self.append(log)?,
            18..=26 => self.flush(log)?,
            27..=30 => {
                if let Some(job) = log.prepare() {
                    log.prepared(job.run());
                }
            }
            31..=32 => self.maintain(log),
            33 => self.delete_records(log)?,
            34 if !self.follows => self.begin_epoch(log),
            35..=36 => self.truncate(log)?,
            37 => {
                // A clean stop writes the producer snapshot; the next life begins without a crash of the machine.
                if let Some(job) = log.clean_stop() {
                    job.run();
                }
            }
            _ => self.model.check(log).map_err(Stop::of)?,
        }
        Ok(())
    }

    fn append(&mut self, log: &mut Log) -> Result<(), Stop> {
        let shape = Shape {
            records: 1 + self.chance.below(3) as i64,
            value_len: [40, 40, 500, 1500][self.chance.below(4) as usize],
            fill: self.chance.next() as u8,
            producer: self.producer(log),
        };
        let produced = produced(shape, WALL);
        let epoch = log.epoch_cache().latest().max(1);
        let batch = stored(&produced, shape, log.log_end(), epoch);
        let appended = if self.follows {
            log.append_replicated(&batch.bytes, self.now)
        } else {
            let valid = ValidBatches::check(produced, &BatchLimits::default(), WALL);
            log.append(valid.map_err(|error| Stop::Wrong(error.to_string()))?, epoch, self.now)
        };
        match appended {
            Ok(appended) if appended.base_offset == batch.base && appended.last_offset == batch.next - 1 => {
                self.note(batch);
                Ok(())
            }
            Ok(appended) => Err(Stop::Wrong(format!("{appended:?} where offset {} was due", batch.base))),
            Err(AppendError::Storage(_) | AppendError::Full(_) | AppendError::Poisoned(_)) => {
                self.model.attempt = Some(batch);
                Err(Stop::Disk)
            }
            Err(other) => Err(Stop::Wrong(other.to_string())),
        }
    }

    fn note(&mut self, batch: Stored) {
        self.model.batches.push(batch);
    }

    /// A producer with the sequence that is due, or none.
    fn producer(&mut self, log: &Log) -> Option<(i64, i32)> {
        let id = self.chance.below(4) as i64;
        let last = log.producers().find(|producer| producer.producer_id == id).map(|producer| producer.last_sequence);
        (id > 0).then(|| (id, last.map_or(0, |last| last + 1)))
    }

    fn flush(&mut self, log: &mut Log) -> Result<(), Stop> {
        let rolled = self.chance.one_in(4);
        let work = if rolled { log.take_rolled_flush() } else { log.take_flush() };
        let Some(work) = work else { return Ok(()) };
        // Appends go on while a flush is under way.
        if self.chance.one_in(4) {
            self.append(log)?;
        }
        match work.run() {
            Ok(()) => {
                log.flushed(work.upto);
                self.promise(log);
                if self.chance.one_in(2) {
                    self.store.flush();
                }
            }
            Err(error) => {
                log.poison(&error);
                self.store.put((!work.rewritten).then_some(QRecord::Suspect { tp: partition() }));
            }
        }
        Ok(())
    }

    fn maintain(&mut self, log: &mut Log) {
        let care = log.maintain(self.now, log.flushed_offset());
        if let Some((start, record)) = care.start {
            self.store.put([record]);
            self.store.flush();
            log.raise_start(start, self.now.instant);
        }
        for job in care.jobs {
            job.run();
        }
        if self.retention {
            self.model.start = log.log_start();
        }
    }

    fn delete_records(&mut self, log: &mut Log) -> Result<(), Stop> {
        let span = (log.flushed_offset() - log.log_start()).max(0) as u64;
        let before = log.log_start() + self.chance.below(span + 1) as Offset;
        let (low, record) = log.delete_records(before)?;
        self.store.put(record);
        self.store.flush();
        log.raise_start(low, self.now.instant);
        self.model.start = low;
        Ok(())
    }

    fn truncate(&mut self, log: &mut Log) -> Result<(), Stop> {
        let floor = log.log_start().max(log.log_end() - 12);
        let to = floor + self.chance.below((log.log_end() - floor) as u64 + 1) as Offset;
        let truncation = log.truncate_to(to)?;
        let to = truncation.to;
        self.store.put(truncation.records.iter().cloned());
        self.store.flush();
        self.model.promised = self.model.promised.min(to);
        log.view().set_high_watermark(log.view().high_watermark().min(to));
        let done = log.apply_truncation(truncation)?;
        self.store.put([done]);
        self.store.flush();
        self.model.cut(to);
        self.model.markers = log.epoch_cache().entries().to_vec();
        Ok(())
    }
}
