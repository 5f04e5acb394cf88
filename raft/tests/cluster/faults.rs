//! What is done to a cluster, and how it is left in peace.

use millrace_raft::{Change, Event, RoleKind, Voter, VoterRole};
use millrace_types::Offset;

use crate::host::key;
use crate::store::{Disk, Records, Store};
use crate::world::{Happening, World};

/// Something that is done to a replica, or with it.
type Fault = fn(&mut World, usize);

impl World {
    /// One fault, drawn from the plan's chances.
    pub(crate) fn fault(&mut self) {
        if self.now >= self.plan.faults_until {
            return;
        }
        let pause = self.dice.between(1_000, self.plan.fault_every * 2);
        self.at(self.now + pause, Happening::Fault);
        let at = self.dice.below(self.hosts.len());
        let plan = self.plan.clone();
        let faults: [(u64, Fault); 10] = [
            (plan.cuts, Self::cut_links),
            (plan.crashes, Self::crash_somehow),
            (plan.blackouts, Self::black_out),
            (plan.pauses, Self::pause),
            (plan.transfers, Self::transfer),
            (plan.changes, Self::change_members),
            (plan.retention, Self::retain),
            (plan.wipes, Self::wipe),
            (plan.stalls, Self::stall),
            (20, Self::hint),
        ];
        for (chance, fault) in faults {
            if self.dice.chance(chance) {
                fault(self, at);
            }
        }
    }

    fn cut_links(&mut self, at: usize) {
        let others: Vec<usize> = (0..self.hosts.len()).filter(|other| *other != at).collect();
        let all = self.dice.chance(400);
        let (inwards, outwards) = self.dice.pick(&[(true, true), (true, true), (true, false), (false, true)]);
        let chosen = self.dice.pick(&others);
        let until = self.now + self.dice.between(5_000, 600_000);
        for other in others.into_iter().filter(|other| all || *other == chosen) {
            for (from, to) in [(other, at), (at, other)] {
                if (to == at && inwards) || (from == at && outwards) {
                    self.blocked.insert((from, to));
                    self.at(until, Happening::Unblock { from, to });
                }
            }
        }
        self.note(format!("links of {} are cut, in {inwards} out {outwards} all {all}", at + 1));
    }

    /// Whether a replica may lose what it has acknowledged: everything committed has another copy, and no other has lost.
    fn may_lose(&self, at: usize) -> bool {
        let witnesses = usize::from(self.plan.witness);
        let copies = (self.plan.voters / 2 + 1 - witnesses).max(self.plan.settings.min_in_sync.min(2));
        let data_voters = |host: &crate::host::Host| host.store.configuration.data_voters().count();
        let shared = self.hosts.iter().map(data_voters).all(|voters| voters == 0 || voters >= 2);
        copies >= 2 && shared && self.lossy.is_none_or(|lossy| lossy == at) && !self.hosts[at].witness
    }

    fn crash_somehow(&mut self, at: usize) {
        if self.hosts[at].raft.is_none() {
            return;
        }
        let power = self.dice.chance(self.plan.power);
        let puts_kept = self.dice.below(self.hosts[at].puts.len() + 1);
        let (flushed, end) = (self.hosts[at].disk.flushed, self.hosts[at].log.end());
        let page_cache = self.plan.settings.flush == millrace_raft::FlushMode::PageCache;
        let loses = power && (!page_cache || self.may_lose(at));
        let kept = if loses { self.dice.between(flushed as u64, end as u64) as Offset } else { end };
        if page_cache && kept < end {
            self.lossy = Some(at);
        }
        self.note(format!("{} crashes{}", at + 1, if power { ", its machine too" } else { "" }));
        self.crash(at, power, kept, puts_kept);
        let rots = power && !page_cache && self.may_lose(at) && self.dice.chance(self.plan.rot);
        if rots && self.hosts[at].store.flushed > self.hosts[at].log.start {
            let host = &mut self.hosts[at];
            let to = self.dice.between(host.log.start as u64, host.store.flushed as u64 - 1) as Offset;
            host.log.cut(to);
            self.lossy = Some(at);
            self.note(format!("{} has rotted from {to} on", at + 1));
        }
        if self.dice.chance(500) {
            self.reset_connections(at);
        }
        for other in &mut self.hearing[at] {
            other.up = None;
        }
        let back = self.now + self.dice.between(1_000, 400_000);
        self.at(back, Happening::Restart { at });
    }

    /// All machines lose power; one of them what it has not flushed.
    fn black_out(&mut self, at: usize) {
        let chosen = self.lossy.unwrap_or(at);
        for at in 0..self.hosts.len() {
            let (flushed, end) = (self.hosts[at].disk.flushed, self.hosts[at].log.end());
            let loses = at == chosen && self.may_lose(at) && self.hosts[at].raft.is_some();
            let kept = if loses { self.dice.between(flushed as u64, end as u64) as Offset } else { end };
            if kept < end {
                self.lossy = Some(at);
            }
            let puts_kept = self.dice.below(self.hosts[at].puts.len() + 1);
            self.crash(at, true, kept, puts_kept);
            for other in &mut self.hearing[at] {
                other.up = None;
            }
            let back = self.now + self.dice.between(1_000, 100_000);
            self.at(back, Happening::Restart { at });
        }
        self.note("all machines lose power".to_owned());
    }

    fn pause(&mut self, at: usize) {
        self.hosts[at].paused_until = self.now + self.dice.between(10_000, 500_000);
    }

    fn transfer(&mut self, _at: usize) {
        let to = self.dice.below(self.plan.voters);
        if let Some(leader) = self.leaders().pop() {
            self.step(leader, Event::Transfer { to: self.hosts[to].key });
        }
    }

    fn change_members(&mut self, at: usize) {
        let Some(leader) = self.leaders().pop() else { return };
        let key = self.hosts[at].key;
        let configuration = self.hosts[leader].raft.as_ref().expect("it leads").configuration().clone();
        let change = if configuration.learners.contains(&key) {
            if self.dice.chance(800) {
                Change::AddVoter(Voter { key, role: VoterRole::Data })
            } else {
                Change::RemoveLearner(key)
            }
        } else if configuration.voter(key).is_some() {
            // One copy may be lost, so there are two.
            let fewest = if self.plan.settings.flush == millrace_raft::FlushMode::PageCache { 2 } else { 1 };
            if configuration.voters.len() <= fewest {
                return;
            }
            Change::RemoveVoter(key)
        } else if self.hosts[at].witness {
            Change::AddVoter(Voter { key, role: VoterRole::Witness })
        } else {
            Change::AddLearner(key)
        };
        self.step(leader, Event::Change(change));
    }

    fn retain(&mut self, _at: usize) {
        let Some(leader) = self.leaders().pop() else { return };
        let raft = self.hosts[leader].raft.as_ref().expect("it leads");
        let Some(latest) = raft.latest() else { return };
        let start = self.dice.between(raft.status().log_start as u64, latest as u64) as Offset;
        self.raise_start(leader, start);
        self.step(leader, Event::LogStart { start });
    }

    /// A broker comes back with an empty disk, which has another directory id.
    fn wipe(&mut self, at: usize) {
        let whole = self.hosts.iter().all(|host| host.raft.as_ref().is_none_or(|raft| !raft.status().recovering));
        let wiped = self
            .hosts
            .iter()
            .any(|host| host.key.directory != key(self.index(host.key), self.index(host.key) as u128 + 1).directory);
        let may = self.lossy.is_none() && whole && !wiped && self.plan.voters >= 3;
        if !may || self.hosts[at].raft.is_none() {
            return;
        }
        self.note(format!("{} crashes and is wiped", at + 1));
        self.crash(at, true, 0, 0);
        self.lossy = Some(at);
        let host = &mut self.hosts[at];
        host.key = key(at, 100 + at as u128);
        (host.log, host.disk, host.store, host.unclean) =
            (Records::default(), Disk::default(), Store::default(), false);
        self.reset_connections(at);
        let back = self.now + self.dice.between(1_000, 200_000);
        self.at(back, Happening::Restart { at });
    }

    fn stall(&mut self, at: usize) {
        if self.hosts[at].raft.is_some() {
            self.hosts[at].stalled = true;
            self.step(at, Event::Stalled(true));
            let until = self.now + self.dice.between(10_000, 300_000);
            self.at(until, Happening::Unstall { at });
        }
    }

    /// Gossip, possibly late.
    fn hint(&mut self, at: usize) {
        let known: Vec<_> = self.ghost.leaders.iter().map(|(epoch, leader)| (*epoch, *leader)).collect();
        if !known.is_empty() {
            let (epoch, leader) = self.dice.pick(&known);
            self.step(at, Event::Hint { leader, epoch });
        }
    }

    /// Ends all faults.
    pub(crate) fn heal(&mut self) {
        self.note("healed".to_owned());
        self.healed = true;
        self.blocked.clear();
        for at in 0..self.hosts.len() {
            self.hosts[at].paused_until = 0;
            self.boot(at);
            self.step(at, Event::Stalled(false));
        }
    }

    /// The operator replaces a voter whose disk was wiped: out, in as a learner, in as a voter.
    pub(crate) fn replace_wiped(&mut self) {
        let Some(leader) = self.leaders().pop() else { return };
        let raft = self.hosts[leader].raft.as_ref().expect("it leads");
        let configuration = raft.configuration().clone();
        let is_gone = |voter: &&Voter| self.hosts.iter().all(|host| host.key != voter.key);
        let change = if let Some(gone) = configuration.voters.iter().find(is_gone) {
            Change::RemoveVoter(gone.key)
        } else if let Some(learner) = configuration.learners.first().filter(|_| self.plan.wipes > 0) {
            Change::AddVoter(Voter { key: *learner, role: VoterRole::Data })
        } else if let Some(missing) =
            self.hosts.iter().find(|host| self.plan.wipes > 0 && configuration.voter(host.key).is_none())
        {
            Change::AddLearner(missing.key)
        } else {
            return;
        };
        self.step(leader, Event::Change(change));
    }

    /// What is not as it should be once faults have ended; `None` when all is well.
    pub(crate) fn unhealed(&self) -> Option<String> {
        let leaders = self.leaders();
        let [leader] = leaders[..] else { return Some(format!("{} leaders", leaders.len())) };
        let raft = self.hosts[leader].raft.as_ref().expect("it leads");
        let status = raft.status();
        if raft.latest().is_none() {
            return Some(format!("the epoch of {} is not committed", leader + 1));
        }
        for voter in &raft.configuration().voters {
            let host = &self.hosts[self.index(voter.key)];
            let Some(follower) = host.raft.as_ref().map(millrace_raft::Raft::status) else { continue };
            if host.key != voter.key {
                return Some(format!("{} is a voter that is gone", voter.key));
            }
            if follower.leader != Some(self.hosts[leader].key) || follower.role == RoleKind::Unattached {
                return Some(format!("{} does not follow {}", voter.key, leader + 1));
            }
            if follower.recovering {
                return Some(format!("{} still recovers", voter.key));
            }
            if voter.role == VoterRole::Data && !status.in_sync.contains(&voter.key) {
                return Some(format!("{} is not in sync", voter.key));
            }
        }
        None
    }
}
