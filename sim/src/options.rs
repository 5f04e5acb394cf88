//! What a seed stands for: every tunable and every fault of a run, drawn once and printed.

mod cluster;

pub(crate) use cluster::rack_name;
pub use cluster::{ClusterOptions, Drift, Replaced};

use std::fmt;

use crate::dice::Dice;

/// How many brokers a run has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Profile {
    /// One, which makes its topics itself.
    #[default]
    Single,
    /// One to five, drawn.
    Drawn,
    /// So many, founded together.
    Brokers(usize),
    /// The same, and partitions move in every run.
    Moving(usize),
}

/// Which kinds of faults a run may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Kinds {
    /// All that are drawn.
    #[default]
    All,
    /// Of processes and machines: they end, and come back.
    Crash,
    /// Of the network.
    Network,
    /// Of disks, with the power losses that show them.
    Disk,
    /// None.
    None,
}

/// One topic that lives through the whole run.
#[derive(Debug, Clone)]
pub struct TopicOptions {
    /// Its name.
    pub name: &'static str,
    /// Number of partitions.
    pub partitions: i32,
    /// `flush.messages`: 1 acknowledges after the flush.
    pub flush_messages: u64,
    /// `flush.ms`.
    pub flush_ms: u64,
    /// `segment.bytes`.
    pub segment_bytes: u64,
    /// `index.interval.bytes`.
    pub index_interval_bytes: u64,
    /// Whether records of it are deleted while the run lasts.
    pub trimmed: bool,
    /// Number of replicas.
    pub replicas: usize,
    /// `min.insync.replicas`.
    pub min_in_sync: u64,
    /// Whether `ack.policy` is `quorum`.
    pub quorum: bool,
    /// Whether `unclean.recovery.strategy` is `manual`.
    pub manual: bool,
}

impl TopicOptions {
    /// Whether acknowledged means flushed.
    #[must_use]
    pub const fn is_durable(&self) -> bool {
        self.flush_messages == 1
    }
}

/// How often a fault comes; 0 for never. Each is a mean time between two of them in milliseconds.
#[derive(Debug, Clone, Copy)]
pub struct FaultOptions {
    /// The process is killed.
    pub kill_ms: u64,
    /// The machine loses power.
    pub power_ms: u64,
    /// The process is stopped cleanly.
    pub stop_ms: u64,
    /// A flush fails.
    pub flush_ms: u64,
    /// The disk is full for a while.
    pub full_ms: u64,
    /// A connection is reset.
    pub reset_ms: u64,
    /// The wall clock jumps.
    pub clock_ms: u64,
    /// Percentage of restarts at which a bit flips in a log, beyond its end or among what is flushed.
    pub rot_percent: u64,
    /// Percentage of starts that lose power again before they are through.
    pub start_power_percent: u64,
    /// A connection between brokers is reset.
    pub wire_ms: u64,
    /// Ways between machines are cut.
    pub cut_ms: u64,
    /// A process is paused.
    pub pause_ms: u64,
    /// Several machines lose power, or all.
    pub blackout_ms: u64,
    /// Leadership is handed over.
    pub transfer_ms: u64,
    /// The disk of a machine is replaced, or the next step of that is taken.
    pub replace_ms: u64,
    /// The disk of a machine hangs for a while.
    pub hang_ms: u64,
}

/// Everything drawn for a run.
#[derive(Debug, Clone)]
pub struct Options {
    /// Virtual milliseconds with faults.
    pub safety_ms: u64,
    /// The topics.
    pub topics: Vec<TopicOptions>,
    /// Clients by kind: idempotent producers, plain producers, consumers, group members.
    pub clients: [u64; 4],
    /// Records each producer sends at most.
    pub records: u64,
    /// Largest padding of a value in bytes.
    pub padding: u64,
    /// `batch.size` of producers.
    pub batch_bytes: u64,
    /// Microseconds between two sends of a producer at most.
    pub send_gap: u64,
    /// Codec number of the producers.
    pub codec: u64,
    /// Fetch: bytes of one answer.
    pub fetch_bytes: u64,
    /// Network: shortest and longest delay in microseconds.
    pub delay: (u64, u64),
    /// Messages between cores: longest delay in microseconds.
    pub mail_delay: u64,
    /// Shortest and longest duration of a flush in microseconds.
    pub flush_delay: (u64, u64),
    /// Files above which a group is flushed by one `syncfs`.
    pub sync_all_above: usize,
    /// Percentage of writes after which the kernel writes a page back by itself.
    pub write_back_percent: u8,
    /// Bytes of a journal's room.
    pub journal_room: u64,
    /// `log.segment.initial.bytes`.
    pub initial_segment_bytes: u64,
    /// By how much segments are smaller than any topic may ask for.
    pub segment_divisor: u64,
    /// Partitions of `__consumer_offsets`.
    pub offsets_partitions: u64,
    /// `log.retention.check.interval.ms`.
    pub check_interval_ms: u64,
    /// `connection.max.in.flight.requests`.
    pub max_in_flight: u64,
    /// `max.incremental.fetch.session.cache.slots`.
    pub fetch_sessions: u64,
    /// The faults.
    pub faults: FaultOptions,
    /// What only a cluster has.
    pub cluster: ClusterOptions,
}

impl Options {
    /// What `seed` stands for.
    #[must_use]
    pub fn draw(dice: &mut Dice, profile: Profile, kinds: Kinds) -> Self {
        let mut options = Self::draw_single(dice);
        options.cluster = ClusterOptions::draw(dice, profile);
        if options.cluster.founded {
            options.cluster(dice);
            options.slow_a_network(dice);
        }
        options.faults.keep(kinds);
        if options.cluster.founded {
            options.draw_moves(dice, profile);
            options.draw_policies(dice);
        }
        options
    }

    fn draw_single(dice: &mut Dice) -> Self {
        let segment = |dice: &mut Dice| dice.pick(&[4_096, 8_192, 32_768, 1 << 20]);
        let topic = |dice: &mut Dice, name, durable: bool, trimmed| TopicOptions {
            name,
            partitions: i32::try_from(dice.between(1, 3)).unwrap_or(1),
            flush_messages: if durable { 1 } else { dice.pick(&[2, 10, 100, 1_000_000]) },
            flush_ms: dice.pick(&[5, 50, 500, 1_000_000]),
            segment_bytes: segment(dice),
            index_interval_bytes: dice.pick(&[0, 100, 4_096]),
            trimmed,
            replicas: 1,
            min_in_sync: 1,
            quorum: false,
            manual: false,
        };
        let topics = vec![
            topic(dice, "orders", true, false),
            topic(dice, "clicks", false, false),
            topic(dice, "trimmed", true, true),
        ];
        let delay = dice.pick(&[(50, 200), (100, 2_000), (1_000, 20_000)]);
        let flush_delay = dice.pick(&[(20, 100), (500, 3_000), (2_000, 30_000)]);
        Self {
            safety_ms: dice.between(500, 3_000),
            topics,
            clients: [dice.pick(&[1, 1, 2, 3]), dice.pick(&[0, 0, 1, 2]), dice.pick(&[1, 1, 2]), dice.between(0, 2)],
            records: dice.between(20, 150),
            padding: dice.pick(&[0, 50, 400, 3_000]),
            batch_bytes: dice.pick(&[100, 1_000, 16_384]),
            send_gap: dice.pick(&[500, 5_000, 40_000]),
            codec: dice.pick(&[0, 0, 0, 0, 1, 2, 3, 4]),
            fetch_bytes: dice.pick(&[1, 500, 10_000, 1 << 20]),
            delay,
            mail_delay: dice.pick(&[0, 20, 500]),
            flush_delay,
            sync_all_above: usize::try_from(dice.pick(&[0, 2, 1_000])).unwrap_or(2),
            write_back_percent: u8::try_from(dice.pick(&[0, 10, 60])).unwrap_or(10),
            journal_room: dice.pick(&[2_048, 8_192, 65_536]),
            initial_segment_bytes: dice.pick(&[4_096, 65_536]),
            segment_divisor: dice.pick(&[1, 1, 4, 16]),
            offsets_partitions: dice.between(1, 3),
            check_interval_ms: dice.pick(&[200, 1_000, 300_000]),
            max_in_flight: dice.pick(&[1, 2, 5, 100]),
            fetch_sessions: dice.pick(&[0, 1, 1_000]),
            faults: FaultOptions::draw(dice),
            cluster: ClusterOptions::default(),
        }
    }

    /// What is otherwise when there are several brokers.
    fn cluster(&mut self, dice: &mut Dice) {
        let brokers = self.cluster.brokers;
        for topic in &mut self.topics {
            let all = dice.chance(50);
            topic.replicas = if all { brokers } else { usize::try_from(dice.between(1, brokers as u64)).unwrap_or(1) };
            topic.min_in_sync = dice.between(1, topic.replicas as u64);
        }
        self.journal_room = dice.pick(&[16_384, 65_536]);
        self.safety_ms = dice.between(1_000, 6_000);
        self.faults.draw_cluster(dice);
        match dice.below(100) {
            0..12 if brokers >= 3 => self.replace_a_disk(dice),
            12..24 if brokers >= 3 => {
                self.cluster.rotting = usize::try_from(dice.below(brokers as u64)).ok();
                self.faults.rot_percent = dice.pick(&[30, 80]);
                self.faults.kill_ms = dice.pick(&[200, 500]);
                self.segment_divisor = dice.pick(&[4, 16]);
            }
            _ => {}
        }
        let rots = self.cluster.rotting.is_some();
        self.cluster.scrub = if rots || dice.chance(20) { dice.pick(&[10_000_000, 100_000_000]) } else { 0 };
        if dice.chance(6) {
            self.faults = FaultOptions::none();
        }
        if brokers >= 3 && dice.chance(15) {
            self.add_witnesses(dice);
        }
        if !self.faults.is_calm() && dice.chance(20) {
            self.faults.hang_ms = dice.pick(&[500, 2_000]);
        }
    }

    /// One or two of the brokers hold witnesses alone, and most topics have an even number of replicas, to need one.
    fn add_witnesses(&mut self, dice: &mut Dice) {
        let brokers = self.cluster.brokers;
        let most = if self.cluster.replaced.is_some() { brokers.saturating_sub(3) } else { brokers - 2 };
        let count = usize::try_from(dice.between(1, 2)).unwrap_or(1).min(most);
        let first = usize::try_from(dice.below(brokers as u64)).unwrap_or(0);
        self.cluster.witnesses = (first..first + count).map(|at| at % brokers).collect();
        let data = self.data_brokers();
        let fewest = self.replicas_min();
        for topic in &mut self.topics {
            let even = dice.pick(&[2, 2, 4]).max(fewest + fewest % 2);
            let even = if even > data as u64 && fewest <= 2 { 2 } else { even };
            let wanted = if dice.chance(70) { even } else { topic.replicas as u64 };
            topic.replicas = usize::try_from(wanted).unwrap_or(2).min(data);
            topic.min_in_sync = dice.between(1, topic.replicas as u64);
        }
        self.cluster.offsets_replicas = usize::try_from(dice.between(2, 3).max(fewest)).unwrap_or(2).min(data);
    }

    /// Number of brokers that hold replicas.
    #[must_use]
    pub const fn data_brokers(&self) -> usize {
        self.cluster.brokers - self.cluster.witnesses.len()
    }

    /// Whether the brokers were founded together.
    #[must_use]
    pub const fn is_cluster(&self) -> bool {
        self.cluster.founded
    }

    /// Number of brokers.
    #[must_use]
    pub const fn copies(&self) -> usize {
        self.cluster.brokers
    }

    /// Number of replicas of the partitions of a topic that lives through the run.
    #[must_use]
    pub fn replicas_of(&self, topic: &str) -> usize {
        self.topics.iter().find(|known| known.name == topic).map_or(1, |known| known.replicas)
    }
}

impl FaultOptions {
    /// Whether nothing goes wrong.
    #[must_use]
    pub const fn is_calm(&self) -> bool {
        let one = self.kill_ms + self.power_ms + self.stop_ms + self.flush_ms + self.full_ms + self.reset_ms;
        let several = self.wire_ms
            + self.cut_ms
            + self.pause_ms
            + self.blackout_ms
            + self.transfer_ms
            + self.replace_ms
            + self.hang_ms;
        one + several + self.rot_percent + self.clock_ms + self.start_power_percent == 0
    }

    /// None at all.
    const fn none() -> Self {
        Self {
            kill_ms: 0,
            power_ms: 0,
            stop_ms: 0,
            flush_ms: 0,
            full_ms: 0,
            reset_ms: 0,
            clock_ms: 0,
            rot_percent: 0,
            start_power_percent: 0,
            wire_ms: 0,
            cut_ms: 0,
            pause_ms: 0,
            blackout_ms: 0,
            transfer_ms: 0,
            replace_ms: 0,
            hang_ms: 0,
        }
    }

    fn draw(dice: &mut Dice) -> Self {
        // Half of the kinds are left out of a run: faults that always come together hide each other.
        let mut mean = |percent, choices: &[u64]| if dice.chance(percent) { dice.pick(choices) } else { 0 };
        Self {
            kill_ms: mean(50, &[100, 400, 1_000]),
            power_ms: mean(60, &[100, 400, 1_000]),
            stop_ms: mean(20, &[400, 1_000]),
            flush_ms: mean(25, &[200, 700]),
            full_ms: mean(20, &[300, 1_000]),
            reset_ms: mean(40, &[50, 300]),
            clock_ms: mean(20, &[200, 500]),
            rot_percent: mean(15, &[20, 60]),
            start_power_percent: mean(30, &[10, 40]),
            wire_ms: 0,
            cut_ms: 0,
            pause_ms: 0,
            blackout_ms: 0,
            transfer_ms: 0,
            replace_ms: 0,
            hang_ms: 0,
        }
    }

    /// Leaves out all faults but those of some kinds.
    const fn keep(&mut self, kinds: Kinds) {
        let none = Self::none();
        *self = match kinds {
            Kinds::All => *self,
            Kinds::None => none,
            Kinds::Crash => {
                let Self { kill_ms, power_ms, stop_ms, start_power_percent, pause_ms, blackout_ms, .. } = *self;
                Self { kill_ms, power_ms, stop_ms, start_power_percent, pause_ms, blackout_ms, ..none }
            }
            Kinds::Network => {
                let Self { reset_ms, wire_ms, cut_ms, transfer_ms, .. } = *self;
                Self { reset_ms, wire_ms, cut_ms, transfer_ms, ..none }
            }
            Kinds::Disk => {
                let Self { power_ms, start_power_percent, flush_ms, full_ms, rot_percent, replace_ms, hang_ms, .. } =
                    *self;
                Self { power_ms, start_power_percent, flush_ms, full_ms, rot_percent, replace_ms, hang_ms, ..none }
            }
        };
    }

    fn draw_cluster(&mut self, dice: &mut Dice) {
        // What a machine seldom meets, one of several meets less seldom: whatever happens is to leave time for work.
        for mean in [&mut self.kill_ms, &mut self.power_ms, &mut self.stop_ms] {
            *mean *= 2;
        }
        self.rot_percent = 0;
        let mut mean = |percent, choices: &[u64]| if dice.chance(percent) { dice.pick(choices) } else { 0 };
        self.wire_ms = mean(50, &[50, 300]);
        self.cut_ms = mean(50, &[300, 1_000]);
        self.pause_ms = mean(40, &[300, 1_000]);
        self.blackout_ms = mean(25, &[1_000, 3_000]);
        self.transfer_ms = mean(30, &[50, 500]);
    }
}

impl fmt::Display for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:?}")
    }
}
