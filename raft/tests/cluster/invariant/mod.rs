//! What must hold in every run, one file per invariant, and the memory that this takes.
//!
//! | file | invariant | source |
//! | --- | --- | --- |
//! | `election.rs` | I1: one leader per epoch | Raft 5.2 |
//! | `matching.rs` | I2: an offset and an epoch name one record and everything before it | Raft 5.3 |
//! | `completeness.rs` | I3: what is committed is in the log of every later leader, and never changes | Raft 5.4 |
//! | `markers.rs` | I4: after recovery no epoch begins above the log's end | rule R8 |
//! | `acked.rs` | I5, I8: what the high watermark has passed is in the log of every later leader | KIP-101, KIP-966 |
//! | `latest.rs` | I6: the latest offset never falls | KIP-207 |
//! | `unclean.rs` | I7: nothing that a recovering replica says is counted | KIP-966 |
//! | `incarnation.rs` | I9: incarnations grow | rule R12 |
//! | `watermark.rs` | I10, I11: the high watermark stays below the majority's offset, and enough data voters hold what it passes | rule R9 |
//! | `witness.rs` | I12: no in-sync replica is behind the witness | rule R14 |
//! | `calm.rs` | I13: without faults no epoch ends | KIP-996 |
//! | `network.rs` (one folder up) | I18: a fenced incarnation changes nothing | rule R12 |
//! | `configurations.rs` | I19: two configurations that can elect have a common voter in all majorities | Raft thesis 4.1 |

mod acked;
mod calm;
mod completeness;
mod configurations;
mod election;
mod incarnation;
mod latest;
mod markers;
mod matching;
mod unclean;
mod watermark;
mod witness;

use std::collections::BTreeMap;

use millrace_raft::{Effect, ReplicaKey, Restored, RoleKind};
use millrace_types::{LeaderEpoch, Offset};

use crate::store::Rec;
use crate::world::World;

/// What is remembered of a run.
#[derive(Debug, Default)]
pub(crate) struct Ghost {
    /// Who led each epoch.
    pub(crate) leaders: BTreeMap<LeaderEpoch, ReplicaKey>,
    /// For each record its value and the epoch of the record before.
    records: BTreeMap<(Offset, LeaderEpoch), (u64, LeaderEpoch)>,
    starts: BTreeMap<LeaderEpoch, Offset>,
    /// What was committed, and in which epoch first.
    pub(crate) committed: BTreeMap<Offset, (Rec, LeaderEpoch)>,
    /// How far each epoch's leader has committed.
    commits: BTreeMap<LeaderEpoch, Offset>,
    /// What the high watermark has passed, and in which epoch first.
    pub(crate) acked: BTreeMap<Offset, (Rec, LeaderEpoch)>,
    high_watermarks: BTreeMap<LeaderEpoch, Offset>,
    incarnations: BTreeMap<ReplicaKey, u64>,
}

type Checked = Result<(), String>;

impl World {
    fn judge(&mut self, invariant: &'static str, checked: Checked) {
        if let Err(text) = checked {
            self.violated(invariant, text);
        }
    }

    /// After a step of `at`, before its effects.
    pub(crate) fn check_step(&mut self, at: usize, out: &[Effect]) {
        let Some(raft) = &self.hosts[at].raft else { return };
        let status = raft.status();
        if status.role == RoleKind::Leader {
            if self.ghost.leaders.get(&status.epoch) != Some(&self.hosts[at].key) {
                let one = election::check(&mut self.ghost, self.hosts[at].key, status.epoch);
                self.judge("I1", one);
                let complete = completeness::check_leader(self, at, status.epoch);
                self.judge("I3", complete);
                let acked = acked::check_leader(self, at, status.epoch);
                self.judge("I5", acked);
            }
            let committed = completeness::check_commit(self, at, &status);
            self.judge("I3", committed);
            if out.iter().any(|effect| matches!(effect, Effect::HighWatermark(_))) {
                let below = watermark::check(self, at, &status);
                self.judge("I10/I11", below);
                let acked = acked::check_passed(self, at, &status);
                self.judge("I5", acked);
            }
            let unclean = unclean::check(self, at, &status);
            self.judge("I7", unclean);
            let latest = latest::check(self, at, &status);
            self.judge("I6", latest);
        }
        if self.plan.witness {
            let behind = witness::check(self);
            self.judge("I12", behind);
        }
    }

    /// After an append to the log of `at`.
    pub(crate) fn check_append(&mut self, at: usize, from: Offset, end: Offset) {
        let matching = matching::check(&mut self.ghost, &self.hosts[at], from, end);
        self.judge("I2", matching);
    }

    /// What a start of `at` has found.
    pub(crate) fn check_boot(&mut self, at: usize, restored: &Restored) {
        self.judge("I4", markers::check(restored));
        let grows = incarnation::check(&mut self.ghost, &self.hosts[at]);
        self.judge("I9", grows);
    }

    pub(crate) fn check_configurations(&mut self) {
        let meet = configurations::check(self);
        self.judge("I19", meet);
    }

    pub(crate) fn check_calm(&mut self) {
        let calm = calm::check(self);
        self.judge("I13", calm);
    }

    /// At the end: what was acknowledged is in the log of the leader, each record once.
    pub(crate) fn check_end(&mut self) {
        if let Some(leader) = self.leaders().pop() {
            let whole = acked::check_leader(self, leader, LeaderEpoch::MAX);
            self.judge("I8", whole);
        }
    }
}
