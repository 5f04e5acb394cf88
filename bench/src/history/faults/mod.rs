//! What is done to the cluster, when: drawn by a seed before the run.

pub(crate) mod damage;
pub(crate) mod inject;

use std::time::Duration;

use clap::ValueEnum;
use serde::Serialize;

use super::draw::Draw;
use super::network::Node;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum, Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Kind {
    /// SIGKILL, and a start some time later.
    Kill,
    /// SIGTERM, and a start some time later.
    Term,
    /// SIGSTOP, and SIGCONT some time later.
    Stop,
    /// Nothing arrives between a broker and others, in either direction.
    Partition,
    /// Nothing arrives in one direction.
    OneWay,
    /// What is sent arrives later.
    Delay,
    /// A part of what is sent does not arrive.
    Loss,
    /// One bit of a sealed segment flips, while the broker runs or while it does not.
    Rot,
    /// A segment is cut short while the broker is stopped.
    Truncate,
    /// A segment turns into zeros while the broker is stopped.
    Zero,
    /// The last bytes of a log turn into zeros while the broker is stopped, as if they had never been written.
    Tail,
}

impl Kind {
    /// Whether it is done to processes and their files. Such faults come one after another; those of the network meanwhile.
    pub(crate) const fn is_of_processes(self) -> bool {
        !matches!(self, Self::Partition | Self::OneWay | Self::Delay | Self::Loss)
    }

    /// How long it lasts, in milliseconds, at least and at most.
    const fn lasts(self) -> (u64, u64) {
        match self {
            Self::Kill | Self::Term => (100, 3_000),
            Self::Stop => (100, 4_000),
            Self::Partition | Self::OneWay => (200, 6_000),
            Self::Delay | Self::Loss => (1_000, 6_000),
            // Until it is repaired: this is what is allowed for it in the plan.
            Self::Rot | Self::Truncate | Self::Zero | Self::Tail => (3_000, 3_001),
        }
    }
}

/// Which broker, found when the fault is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Target {
    /// This one.
    Broker(Node),
    /// The leader of this partition.
    Leader(i32),
    /// The coordinator of the group.
    Coordinator,
}

/// A fault that is planned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Planned {
    /// Since the begin of the run; later where the one before lasts longer.
    pub(crate) at: Duration,
    /// What.
    pub(crate) kind: Kind,
    /// To whom.
    pub(crate) target: Target,
    /// How long.
    pub(crate) lasts: Duration,
    /// What else is to be chosen is chosen by these.
    pub(crate) bits: u64,
}

/// A shape of a run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    /// Brokers, numbered from 1.
    pub(crate) brokers: Node,
    /// Partitions under load.
    pub(crate) partitions: i32,
    /// When the last fault is over.
    pub(crate) length: Duration,
}

/// Before the first fault, and between two at least and at most.
const QUIET_MS: (u64, u64) = (500, 3_000);

/// The faults of a run, those of processes and those of the network. Each kind comes once before one comes again.
pub(crate) fn plan(seed: u64, kinds: &[Kind], shape: Shape) -> [Vec<Planned>; 2] {
    [true, false].map(|of_processes| {
        let kinds: Vec<Kind> = kinds.iter().copied().filter(|kind| kind.is_of_processes() == of_processes).collect();
        lane(Draw::new(seed, u64::from(of_processes)), &kinds, shape)
    })
}

fn lane(mut draw: Draw, kinds: &[Kind], shape: Shape) -> Vec<Planned> {
    let mut planned = Vec::new();
    let mut round: Vec<Kind> = Vec::new();
    let mut at = Duration::ZERO;
    loop {
        if round.is_empty() {
            round = kinds.to_vec();
            draw.shuffle(&mut round);
        }
        let Some(kind) = round.pop() else { return planned };
        at += Duration::from_millis(draw.between(QUIET_MS.0, QUIET_MS.1));
        let (least, most) = kind.lasts();
        let lasts = Duration::from_millis(draw.between(least, most));
        let target = target(&mut draw, shape);
        let bits = draw.bits();
        if at + lasts > shape.length {
            return planned;
        }
        planned.push(Planned { at, kind, target, lasts, bits });
        at += lasts;
    }
}

fn target(draw: &mut Draw, shape: Shape) -> Target {
    match draw.below(4) {
        0 => Target::Broker(1 + draw.below(u64::from(shape.brokers)) as Node),
        1 => Target::Coordinator,
        _ => Target::Leader(draw.below(shape.partitions.unsigned_abs().into()) as i32),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    const SHAPE: Shape = Shape { brokers: 3, partitions: 4, length: Duration::from_secs(180) };

    #[test]
    fn the_seed_decides() {
        let all = Kind::value_variants();
        assert_eq!(plan(1, all, SHAPE), plan(1, all, SHAPE));
        assert_ne!(plan(1, all, SHAPE), plan(2, all, SHAPE));
    }

    #[test]
    fn faults_of_a_lane_follow_each_other_and_end_in_time() {
        for seed in 0..50 {
            for lane in plan(seed, Kind::value_variants(), SHAPE) {
                assert!(lane.windows(2).all(|pair| pair[0].at + pair[0].lasts < pair[1].at), "seed {seed}");
                assert!(lane.iter().all(|fault| fault.at + fault.lasts <= SHAPE.length), "seed {seed}");
            }
        }
    }

    #[test]
    fn every_kind_comes_and_no_other() {
        let [processes, network] = plan(3, Kind::value_variants(), SHAPE);
        let kinds: BTreeSet<Kind> = processes.iter().chain(&network).map(|fault| fault.kind).collect();
        assert_eq!(kinds.len(), Kind::value_variants().len());
        assert!(processes.iter().all(|fault| fault.kind.is_of_processes()));
        let [kills, none] = plan(3, &[Kind::Kill], SHAPE);
        assert!(kills.iter().all(|fault| fault.kind == Kind::Kill) && !kills.is_empty() && none.is_empty());
    }
}
