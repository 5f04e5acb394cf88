//! Appends, counts acknowledgements, and moves the high watermark.

use std::collections::BTreeMap;

use millrace_types::{Incarnation, Instant, Offset};

use super::Role;
use crate::configuration::ConfigurationId;
use crate::effect::{Effect, Record};
use crate::identity::{Peer, ReplicaKey};
use crate::in_sync::InSync;
use crate::message::{BeginEpoch, Message};
use crate::mutation::{Mutation, broken};
use crate::position::EpochStart;
use crate::progress::Progress;
use crate::puts::After;
use crate::quorum;
use crate::raft::Raft;
use crate::tally::End;

/// What a leader knows.
#[derive(Debug, Clone)]
pub(crate) struct Leader {
    /// Where its epoch begins.
    pub(crate) start: Offset,
    /// When it began to lead.
    pub(crate) since: Instant,
    /// The largest offset that a majority was seen to hold in this epoch.
    pub(crate) commit: Option<Offset>,
    /// The replicas that have fetched in this epoch.
    pub(crate) progress: BTreeMap<ReplicaKey, Progress>,
    /// The members that have joined in this epoch, each with the configuration that names it first. What such a replica holds
    /// counts when it has told that it knows of that: before, it may have been a member that has thrown away its log since.
    pub(crate) joined: BTreeMap<ReplicaKey, ConfigurationId>,
    /// The data voters that were none before this epoch, each with the configuration that gives it its vote. Until such a replica
    /// knows of that it could not take the leader's place.
    pub(crate) promoted: BTreeMap<ReplicaKey, ConfigurationId>,
    pub(crate) in_sync: InSync,
    /// The greatest offset that a witness was told in this epoch.
    pub(crate) witness_told: Option<Offset>,
    /// After a unanimous election, which starts of the voters took part in it; else empty.
    pub(crate) electors: BTreeMap<ReplicaKey, Incarnation>,
    pub(crate) transfer: Option<Transfer>,
    /// When it tells again who leads to those who do not fetch.
    pub(crate) announce_at: Instant,
}

/// A leadership that is being handed over.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Transfer {
    pub(crate) to: ReplicaKey,
    pub(crate) until: Instant,
}

impl Leader {
    /// Whether this start of the replica voted in a unanimous election: what it had lost before is no longer missed. What a
    /// later start has lost may have been acknowledged in this epoch, and is.
    pub(crate) fn was_elected_by(&self, peer: Peer) -> bool {
        let known = self.electors.get(&peer.key).copied();
        known == Some(peer.incarnation) || (known.is_some() && broken(Mutation::UnanimousCuresLater))
    }

    /// Whether what the replica says that it holds counts, if its configuration is `known`.
    pub(crate) fn counts(&self, key: ReplicaKey, known: ConfigurationId) -> bool {
        self.joined.get(&key).is_none_or(|joined| known >= *joined) || broken(Mutation::CountBeforeJoining)
    }

    /// Whether the replica knows that it votes, if its configuration is `known`.
    pub(crate) fn knows_its_vote(&self, key: ReplicaKey, known: ConfigurationId) -> bool {
        self.promoted.get(&key).is_none_or(|promoted| known >= *promoted) || broken(Mutation::JoinUnaware)
    }

    /// In-sync replicas but `me`, those that hold most first.
    pub(crate) fn successors(&self, me: ReplicaKey) -> Vec<ReplicaKey> {
        let held = |key: &ReplicaKey| self.progress.get(key).and_then(|progress| progress.matched);
        let mut successors: Vec<ReplicaKey> = self.in_sync.members().filter(|key| *key != me).collect();
        successors.sort_by_key(|key| std::cmp::Reverse(held(key)));
        successors
    }
}

impl Raft {
    /// Leads the epoch: it begins where the log ends, without a record (rule R2), and the configuration is taken over
    /// into it (rule R15).
    pub(crate) fn become_leader(
        &mut self,
        now: Instant,
        electors: BTreeMap<ReplicaKey, Incarnation>,
        out: &mut Vec<Effect>,
    ) {
        let marker = EpochStart { epoch: self.epoch, start: self.log.end };
        self.log.cache.push(marker);
        let mut configuration = self.configuration.clone();
        configuration.id.epoch = self.epoch;
        self.adopting = Some(configuration.id);
        let records = vec![Record::Epoch(marker), Record::Configuration(configuration.clone())];
        let after = vec![After::Markers(self.epoch), After::Configure(configuration)];
        self.puts.put(records, after, out);
        let live = self.configuration.data_voters().filter(|key| self.sessions.is_up(*key));
        let provisional = live.filter(|_| !broken(Mutation::NoProvisional)).collect();
        let in_sync = InSync::new(self.me.key, provisional, now.after(self.settings.provisional));
        self.tally.elections_won += 1;
        if !electors.is_empty() {
            self.tally.unclean_recoveries += 1;
            self.tally.recovered = Some((self.high_watermark, marker.start));
        }
        if self.recovering && !electors.is_empty() {
            self.recovering = false;
            out.push(Effect::Recovered);
        }
        self.transition(Role::Leader(Box::new(Leader {
            start: marker.start,
            since: now,
            commit: None,
            progress: BTreeMap::new(),
            joined: BTreeMap::new(),
            promoted: BTreeMap::new(),
            in_sync,
            witness_told: None,
            electors,
            transfer: None,
            announce_at: now,
        })));
        self.settle_leader(now, out);
    }

    /// Does what the state of a leader calls for.
    pub(crate) fn settle_leader(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if self.check_quorum_deadline() <= now && !broken(Mutation::NoCheckQuorum) {
            return self.resign(now, End::NoMajority, &[], out);
        }
        self.update_commit();
        if self.cannot_commit() {
            return self.resign(now, End::TooManyRecover, &[], out);
        }
        self.update_in_sync(now);
        self.update_high_watermark();
        // Whom the high watermark was waited for may join now.
        self.update_in_sync(now);
        self.update_high_watermark();
        self.follow_deletions(out);
        self.serve(out);
        self.announce(now, out);
        self.settle_transfer(now, out);
    }

    /// Deletes what a follower has deleted: an earlier leader had it do so, when that was committed. A leader need not have heard
    /// of it, since elections compare the ends of logs; what was deleted would come back with it.
    fn follow_deletions(&mut self, out: &mut Vec<Effect>) {
        if self.latest().is_none() || broken(Mutation::LeadUndeleted) {
            return;
        }
        let Some(leader) = self.as_leader() else { return };
        let deleted = leader.progress.values().map(|progress| progress.log_start).max().unwrap_or(0);
        let start = deleted.min(self.high_watermark);
        if start > self.log.start {
            self.log.raise_start(start);
            out.push(Effect::RaiseLogStart { start });
        }
    }

    /// Whether too many voters recover for the epoch's start to be committed: they would wait for the leader, and it for them.
    /// An election by all ends that (rule R13).
    fn cannot_commit(&self) -> bool {
        let Some(leader) = self.as_leader().filter(|leader| leader.commit.is_none()) else {
            return false;
        };
        let recovers = |key| {
            let peer = |incarnation| Peer { key, incarnation };
            let progress = leader.progress.get(&key).filter(|progress| progress.recovering);
            progress.is_some_and(|progress| !leader.was_elected_by(peer(progress.incarnation)))
        };
        let voters = &self.configuration.voters;
        let clean = voters.iter().filter(|voter| !recovers(voter.key)).count();
        clean < self.configuration.majority() && !broken(Mutation::StayUncommittable)
    }

    /// Tells those who do not fetch who leads: at first, and again whenever one has not fetched for a session timeout.
    fn announce(&mut self, now: Instant, out: &mut Vec<Effect>) {
        let epoch = self.epoch;
        let again = now.after(self.settings.session_timeout);
        let Some(leader) = self.as_leader() else { return };
        let is_due = leader.announce_at <= now;
        let waits = |key: &ReplicaKey| leader.progress.get(key).is_some_and(|progress| progress.parked.is_some());
        let absent = |key: &ReplicaKey| *key != self.me.key && !waits(key);
        let absent: Vec<ReplicaKey> = self.configuration.members().filter(absent).collect();
        let has_fetched = |key| leader.progress.get(&key).is_some_and(|progress| progress.has_fetched);
        for key in absent.iter().copied().filter(|key| is_due && !has_fetched(*key)) {
            self.send(key, Message::BeginEpoch(BeginEpoch { epoch }), out);
        }
        let any_heard = absent.iter().any(|key| self.sessions.is_up(*key));
        let Some(leader) = self.as_leader_mut() else { return };
        if is_due {
            leader.progress.values_mut().for_each(|progress| progress.has_fetched = false);
        }
        leader.announce_at = match leader.announce_at {
            _ if !any_heard => Instant::NEVER,
            at if is_due || at == Instant::NEVER => again,
            at => at,
        };
    }

    /// Tells a member whose session is new who leads.
    pub(crate) fn announce_to(&self, key: ReplicaKey, out: &mut Vec<Effect>) {
        if self.configuration.members().any(|member| member == key) {
            self.send(key, Message::BeginEpoch(BeginEpoch { epoch: self.epoch }), out);
        }
    }

    /// A new incarnation of a replica speaks: what the last one acknowledged is void (rule R12).
    pub(crate) fn void_progress(&mut self, peer: Peer) {
        let Some(leader) = self.as_leader_mut() else { return };
        if leader.progress.get(&peer.key).is_some_and(|progress| progress.incarnation < peer.incarnation) {
            leader.progress.remove(&peer.key);
            leader.in_sync.leave(peer.key);
        }
    }

    /// A leader that has not heard a majority of its voters for this long does not lead (Raft thesis 6.2).
    pub(crate) fn check_quorum_deadline(&self) -> Instant {
        let Some(leader) = self.as_leader() else { return Instant::NEVER };
        let heard = |key| match self.sessions.silent_since(key) {
            _ if self.is_heard(key) => Instant::NEVER,
            since => since.map_or(leader.since, |since| since.max(leader.since)),
        };
        let mut heard: Vec<Instant> = self.configuration.voters.iter().map(|voter| heard(voter.key)).collect();
        heard.sort_unstable();
        let majority = quorum::majority(heard.len());
        let quorum_heard = heard.len().checked_sub(majority).and_then(|at| heard.get(at).copied());
        quorum_heard.map_or(Instant::NEVER, |at| at.after(self.settings.session_timeout * 3 / 2))
    }

    pub(crate) fn leader_deadline(&self, leader: &Leader) -> Instant {
        let transfer = leader.transfer.map_or(Instant::NEVER, |transfer| transfer.until);
        let lags = leader.in_sync.members().filter_map(|key| leader.progress.get(&key));
        let lag = lags.map(|progress| progress.lag_deadline(self.settings.lag_max)).min().unwrap_or(Instant::NEVER);
        let check_quorum = if broken(Mutation::NoCheckQuorum) { Instant::NEVER } else { self.check_quorum_deadline() };
        let provisional = leader.in_sync.provisional_deadline();
        check_quorum.min(transfer).min(lag).min(provisional).min(leader.announce_at)
    }
}
