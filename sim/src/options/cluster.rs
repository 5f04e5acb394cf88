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
        }
    }
}

impl ClusterOptions {
    pub(super) fn draw(dice: &mut Dice, profile: Profile) -> Self {
        let brokers = match profile {
            Profile::Single => return Self::default(),
            Profile::Drawn => usize::try_from(dice.pick(&[1, 2, 3, 3, 3, 4, 5, 5])).unwrap_or(3),
            Profile::Brokers(brokers) => brokers,
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

    /// The fewest replicas of a partition.
    #[must_use]
    pub const fn replicas_min(&self) -> u64 {
        if self.cluster.replaced.is_some() { 3 } else { 1 }
    }
}
