//! What only a cluster has: its brokers and their roles, the sessions between them, and disks that are replaced.

use std::time::Duration;

use millrace_node::peer::PeerSettings;
use millrace_raft::Settings;

use super::{Options, Profile};
use crate::dice::Dice;

/// How much the clocks of machines drift.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drift(pub u64);

impl Drift {
    /// The drift of one machine, in microseconds per second.
    #[must_use]
    pub fn draw(self, dice: &mut Dice) -> i64 {
        if self.0 == 0 {
            return 0;
        }
        i64::try_from(dice.between(0, 2 * self.0)).unwrap_or(0) - i64::try_from(self.0).unwrap_or(0)
    }
}

/// What only a cluster has.
#[derive(Debug, Clone)]
pub struct ClusterOptions {
    /// Whether the brokers were founded together.
    pub founded: bool,
    /// Number of brokers.
    pub brokers: usize,
    /// The places of those of them that hold witnesses alone.
    pub witnesses: Vec<usize>,
    /// `offsets.topic.replication.factor`.
    pub offsets_replicas: usize,
    /// How much clocks drift.
    pub drift: Drift,
    /// Between brokers: shortest and longest delay in microseconds.
    pub wire_delay: (u64, u64),
    /// Bytes per second of each connection between brokers and each direction; 0 for no bound.
    pub bandwidth: u64,
    /// Whether sockets take what leaves for a way that is cut.
    pub sockets_take: bool,
    /// The lag that sessions are told of after a pause.
    pub lag_told: Duration,
    /// What the sessions between brokers are tuned by.
    pub sessions: PeerSettings,
    /// Bytes queued for a broker above which its followers that are far behind wait.
    pub room: usize,
    /// The timers of the consensus.
    pub timing: Settings,
    /// Whether the disk of one machine is replaced.
    pub replaced: Option<Replaced>,
    /// The place of the one machine whose disk rots, where several replicas hold what is on it.
    pub rotting: Option<usize>,
    /// `log.scrub.bytes.per.second`.
    pub scrub: u64,
    /// The administrator moves partitions, once in so many milliseconds on average; 0 for never.
    pub moves_ms: u64,
    /// Whether brokers that hold data may hold witnesses (`witness.placement`).
    pub witness_any: bool,
    /// Racks that the brokers stand in, and from whose replicas consumers read (KIP-392); 0 for none.
    pub racks: u64,
    /// For how long a preferred leader is in sync before it asks to lead; `None` for as long as a broker waits by itself.
    pub patience: Option<Duration>,
}

/// How the disk of one machine is replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replaced {
    /// First by what it was before, then by an empty one.
    pub set_back: bool,
}

impl Default for ClusterOptions {
    fn default() -> Self {
        Self {
            founded: false,
            brokers: 1,
            witnesses: Vec::new(),
            offsets_replicas: 1,
            drift: Drift(0),
            wire_delay: (0, 0),
            bandwidth: 0,
            sockets_take: false,
            lag_told: Duration::ZERO,
            sessions: PeerSettings::default(),
            room: 64 << 20,
            timing: Settings::default(),
            replaced: None,
            rotting: None,
            scrub: 0,
            moves_ms: 0,
            witness_any: false,
            racks: 0,
            patience: None,
        }
    }
}

impl ClusterOptions {
    pub(super) fn draw(dice: &mut Dice, profile: Profile) -> Self {
        let brokers = match profile {
            Profile::Single => return Self::default(),
            Profile::Drawn => usize::try_from(dice.pick(&[1, 2, 3, 3, 3, 4, 5, 5])).unwrap_or(3),
            Profile::Brokers(brokers) | Profile::Moving(brokers) => brokers,
        };
        let size = |dice: &mut Dice, choices: &[u64]| usize::try_from(dice.pick(choices)).unwrap_or(1);
        let session = dice.pick(&[200, 400, 400, 1_000]);
        let sessions = PeerSettings {
            shards: u8::try_from(dice.between(1, 3)).unwrap_or(2),
            session_timeout: Duration::from_millis(session),
            keepalive: Duration::from_millis(session / dice.between(3, 5)),
            handshake_timeout: Duration::from_millis(dice.pick(&[500, 2_000])),
            backoff_max: Duration::from_millis(dice.pick(&[50, 250])),
            refused_pause: Duration::from_millis(dice.pick(&[100, 1_000])),
            catch_up_rate: dice.pick(&[200_000, 1 << 20, 100 << 20]),
            window: size(dice, &[1, 4_096, 1 << 20]),
            frame_bytes: size(dice, &[1, 1_000, 1 << 20]),
            frame_messages: size(dice, &[1, 3, 4_096]),
            backoff_min: Duration::from_millis(dice.pick(&[1, 10, 50])),
            queue_bytes: size(dice, &[40_000, 256 << 20]),
        };
        Self {
            founded: true,
            brokers: brokers.clamp(1, 9),
            witnesses: Vec::new(),
            offsets_replicas: brokers.clamp(1, 3),
            drift: Drift(dice.pick(&[0, 200, 20_000])),
            wire_delay: dice.pick(&[(20, 100), (50, 1_000), (500, 10_000)]),
            sockets_take: dice.chance(50),
            lag_told: Duration::from_millis(dice.pick(&[0, 100, 5_000])),
            sessions,
            room: size(dice, &[10_000, 1 << 20, 64 << 20]),
            timing: timing(dice),
            replaced: None,
            rotting: None,
            scrub: 0,
            moves_ms: 0,
            witness_any: false,
            racks: 0,
            patience: None,
            bandwidth: 0,
        }
    }
}

/// The timers of the consensus, drawn apart from the session timeout, which the sessions share.
fn timing(dice: &mut Dice) -> Settings {
    let millis = |dice: &mut Dice, choices: &[u64]| Duration::from_millis(dice.pick(choices));
    Settings {
        election_timeout: millis(dice, &[50, 300, 300, 1_000]),
        rank_delay: millis(dice, &[0, 60, 60, 200]),
        jitter: millis(dice, &[1, 20, 20, 100]),
        provisional: millis(dice, &[1, 100, 500, 500, 3_000]),
        lag_max: millis(dice, &[100, 1_000, 10_000]),
        transfer_timeout: millis(dice, &[50, 1_000]),
        ..Settings::default()
    }
}

impl Options {
    /// Some clusters have a slow network between their brokers. Drawn last: what else a seed stands for is as it was before.
    pub(super) fn slow_a_network(&mut self, dice: &mut Dice) {
        self.cluster.bandwidth = dice.pick(&[0, 0, 0, 0, 0, 0, 20_000_000, 2_000_000, 200_000]);
    }

    /// The disk of one machine is replaced: nothing is to depend on it alone. Until the members have changed, one voter of each
    /// partition is gone for good, so no other may come to need the consent of all (rule R13).
    pub(super) fn replace_a_disk(&mut self, dice: &mut Dice) {
        self.cluster.replaced = Some(Replaced { set_back: dice.chance(40) });
        self.faults.replace_ms = dice.pick(&[300, 1_000]);
        self.faults.flush_ms = 0;
        for topic in &mut self.topics {
            topic.flush_messages = 1;
            topic.replicas = topic.replicas.max(3);
        }
    }

    /// Partitions move in some runs, or in this one, and in some runs preferred leaders soon come back. Drawn last: runs without either
    /// are what they would be without these lines.
    pub(super) fn draw_moves(&mut self, dice: &mut Dice, profile: Profile) {
        let moves = dice.chance(30) || matches!(profile, Profile::Moving(_));
        let mean = dice.pick(&[50, 200, 1_000]);
        if moves && self.data_brokers() > 1 {
            self.cluster.moves_ms = mean;
        }
        self.cluster.witness_any = dice.chance(30) && self.cluster.moves_ms > 0;
        let patience = Duration::from_millis(dice.pick(&[100, 1_000, 5_000]));
        self.cluster.patience = dice.chance(25).then_some(patience);
    }

    /// What acknowledges, what follows when too many replicas may have lost records, and who reads where. Drawn last, as moves are.
    pub(super) fn draw_policies(&mut self, dice: &mut Dice) {
        let (quorum, manual) = (dice.chance(25), dice.chance(25));
        // Nobody plays the operator here: `manual` must find a clean majority when all is healed.
        let loses = self.cluster.replaced.is_some() || self.cluster.rotting.is_some() || self.faults.flush_ms > 0;
        for topic in &mut self.topics {
            topic.quorum = quorum && dice.chance(50);
            topic.manual = manual && topic.is_durable() && !loses;
        }
        self.cluster.racks = if dice.chance(20) { dice.between(1, 3) } else { 0 };
    }

    /// The fewest replicas that a partition is moved to: what a disk that is replaced or rots has lost must be on two others.
    #[must_use]
    pub const fn moved_replicas_min(&self) -> u64 {
        if self.cluster.replaced.is_some() || self.cluster.rotting.is_some() { 3 } else { 1 }
    }

    /// Whether nothing but a fault makes a leader give up its epoch.
    #[must_use]
    pub const fn leaders_stay(&self) -> bool {
        self.faults.is_calm() && self.cluster.moves_ms == 0 && self.cluster.patience.is_none()
    }

    /// Whether the partitions of a topic that lives through the run have one replica all the time.
    #[must_use]
    pub fn is_alone(&self, topic: &str) -> bool {
        self.replicas_of(topic) == 1 && self.cluster.moves_ms == 0
    }

    /// The fewest replicas of a partition.
    #[must_use]
    pub const fn replicas_min(&self) -> u64 {
        if self.cluster.replaced.is_some() { 3 } else { 1 }
    }
}

/// The name of a rack.
pub(crate) fn rack_name(rack: u64) -> String {
    format!("rack-{rack}")
}
