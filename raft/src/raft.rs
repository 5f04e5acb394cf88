//! The core: its state, and which event leads where.

use millrace_types::{Instant, LeaderEpoch, Offset, Random};

use crate::configuration::{Configuration, ConfigurationId};
use crate::effect::{Effect, Record};
use crate::epoch_cache::EpochCache;
use crate::event::Event;
use crate::identity::{Peer, ReplicaKey};
use crate::log::{LogState, Volatile};
use crate::mutation::{self, Mutation, broken};
use crate::position::{Acknowledged, EpochStart, Position};
use crate::puts::{After, Puts};
use crate::role::Role;
use crate::sessions::Sessions;
use crate::settings::Settings;
use crate::tally::{End, Tally};

/// What a start finds: in the write-ahead store, and in the log after its recovery.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Restored {
    /// The epoch of the last vote or contact; 0 for none.
    pub epoch: LeaderEpoch,
    /// Whom the replica voted for in it.
    pub voted_for: Option<ReplicaKey>,
    /// The configuration; without voters for a replica that has not heard of one.
    pub configuration: Configuration,
    /// Whether the replica is a witness, which has no log.
    pub witness: bool,
    /// The log start offset.
    pub log_start: Offset,
    /// The log end offset; of a witness as it was put.
    pub log_end: Offset,
    /// Everything below is known to be durable. What recovery found beyond becomes so by a flush that the host reports.
    pub flushed: Offset,
    /// The epochs of the log, those without records included, none that begins above the log's end.
    pub epochs: Vec<EpochStart>,
    /// The high watermark, as last noted: a hint.
    pub high_watermark: Offset,
    /// Whether acknowledged records may exist that were never flushed.
    pub volatile: bool,
    /// Whether acknowledged records may be lost (rule R11): by this start's recovery, or still by an earlier one's.
    pub recovering: bool,
    /// Whether recovery has cut the log or dropped an epoch (rule R8).
    pub cut: bool,
}

/// The consensus of one replica of one partition.
#[derive(Debug, Clone)]
pub struct Raft {
    pub(crate) me: Peer,
    pub(crate) settings: Settings,
    pub(crate) witness: bool,
    pub(crate) epoch: LeaderEpoch,
    pub(crate) voted_for: Option<ReplicaKey>,
    /// The configuration in force, which is durable.
    pub(crate) configuration: Configuration,
    /// The configuration that is becoming durable.
    pub(crate) adopting: Option<ConfigurationId>,
    pub(crate) log: LogState,
    pub(crate) high_watermark: Offset,
    pub(crate) role: Role,
    pub(crate) puts: Puts,
    pub(crate) sessions: Sessions,
    /// The newest epoch whose leader was known here, or that a start found; each later one is an election that nobody has won.
    pub(crate) led_epoch: LeaderEpoch,
    pub(crate) random: Random,
    /// Whether what a start must note is durable.
    pub(crate) started: bool,
    /// What the start must note.
    start_records: Vec<Record>,
    pub(crate) stalled: bool,
    pub(crate) poisoned: bool,
    /// Whether acknowledged records may be lost and have not been fetched again.
    pub(crate) recovering: bool,
    /// Whether the write-ahead store says so.
    pub(crate) recovering_noted: bool,
    pub(crate) tally: Tally,
    published: Published,
}

/// What the host was last told.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Published {
    high_watermark: Offset,
    leadership: (LeaderEpoch, Option<ReplicaKey>, crate::role::RoleKind),
    in_sync: Vec<ReplicaKey>,
}

impl Raft {
    /// The consensus of `me`. `seed` spreads delays and decides nothing else.
    #[must_use]
    pub fn new(me: Peer, restored: Restored, settings: Settings, seed: u64) -> Self {
        let start_records = start_records(&restored);
        let log = LogState {
            start: restored.log_start,
            start_noted: restored.log_start,
            end: restored.log_end,
            flushed: restored.flushed.min(restored.log_end),
            cache: EpochCache::restored(&restored.epochs),
            volatile: if restored.volatile { Volatile::Set } else { Volatile::Clear },
            pending: None,
        };
        let high_watermark = restored.high_watermark.clamp(log.start, log.end);
        let epoch = restored.epoch.max(log.cache.latest());
        let role = Role::default();
        Self {
            me,
            settings,
            witness: restored.witness,
            epoch,
            voted_for: restored.voted_for.filter(|_| epoch == restored.epoch),
            configuration: restored.configuration,
            adopting: None,
            log,
            high_watermark,
            published: Published { high_watermark, leadership: (epoch, None, role.kind()), in_sync: Vec::new() },
            role,
            puts: Puts::default(),
            sessions: Sessions::default(),
            led_epoch: epoch,
            random: Random::new(seed),
            started: false,
            start_records,
            stalled: false,
            poisoned: false,
            recovering: restored.recovering,
            recovering_noted: restored.recovering,
            tally: Tally::default(),
        }
    }

    /// Takes one event at the time `now` and pushes what shall follow onto `out`.
    ///
    /// # Panics
    /// In debug builds, when the state breaks an invariant ([`Raft::check`]).
    pub fn step(&mut self, now: Instant, event: Event, out: &mut Vec<Effect>) {
        match event {
            Event::Start => self.start(out),
            Event::Receive(envelope) => self.receive(now, envelope, out),
            Event::PutDone { token } => self.put_done(now, token, out),
            Event::Appended { end } => self.appended(end, out),
            Event::AppendRefused => self.append_refused(),
            Event::Flushed { upto } => self.log.flushed(upto),
            Event::CutDone { end } => self.cut_done(end),
            Event::LogStart { start } => self.log.note_start(start.min(self.high_watermark)),
            Event::SessionUp(peer) => self.session_up(peer, out),
            Event::SessionDown { broker, heard } => self.session_down(now, broker, heard),
            Event::Timer => {}
            Event::Refetch => self.refetch(),
            Event::Hint { leader, epoch } => self.hint(leader, epoch, out),
            Event::Transfer { to } => self.begin_transfer(now, to, out),
            Event::Change(change) => self.change(change, out),
            Event::Force(configuration) => self.force(configuration, out),
            Event::Configure(settings) => self.settings = settings,
            Event::Stalled(stalled) => {
                self.stalled = stalled;
                // The leader has to know whom it does not hand over to.
                self.refetch();
            }
            Event::Poisoned => self.poisoned = true,
            Event::Resign => self.resign(now, End::Stopped, &[], out),
        }
        self.settle(now, out);
        if cfg!(debug_assertions) && !mutation::any_broken() {
            let checked = self.check();
            debug_assert!(checked.is_ok(), "{checked:?}: {self:?}");
        }
    }

    fn start(&mut self, out: &mut Vec<Effect>) {
        let records = std::mem::take(&mut self.start_records);
        if records.is_empty() {
            self.started = true;
        } else {
            self.puts.put(records, vec![After::Start], out);
        }
    }

    /// Does what the state calls for, whatever event has led to it.
    fn settle(&mut self, now: Instant, out: &mut Vec<Effect>) {
        if self.stalled || self.poisoned {
            self.resign(now, End::Disk, &[], out);
        }
        if self.takes_part() {
            self.follow_flush_mode(out);
            // A change of role may call for more; no chain of them is longer than the roles are many.
            for _ in 0..6 {
                let before = self.role.kind();
                self.settle_role(now, out);
                if self.role.kind() == before {
                    break;
                }
            }
            self.note_recovered(out);
        }
        self.publish(out);
    }

    fn settle_role(&mut self, now: Instant, out: &mut Vec<Effect>) {
        match self.role {
            Role::Unattached(_) => self.settle_unattached(now, out),
            Role::Follower(_) => self.settle_follower(out),
            Role::Prospective(_) => self.settle_prospective(now),
            Role::Candidate(_) => self.settle_candidate(now),
            Role::Leader(_) => self.settle_leader(now, out),
            Role::Resigned(_) => self.settle_resigned(now),
        }
    }

    /// Tells the host what has changed.
    fn publish(&mut self, out: &mut Vec<Effect>) {
        let leadership = (self.epoch, self.leader(), self.role.kind());
        if leadership != self.published.leadership {
            self.published.leadership = leadership;
            out.push(Effect::Leadership { epoch: self.epoch, leader: self.leader() });
        }
        let in_sync = self.in_sync();
        if in_sync != self.published.in_sync {
            let before = &self.published.in_sync;
            // What a leadership begins and ends with is no news of a replica.
            if !before.is_empty() && !in_sync.is_empty() {
                self.tally.in_sync_shrinks += u64::from(before.iter().any(|key| !in_sync.contains(key)));
                self.tally.in_sync_expansions += u64::from(in_sync.iter().any(|key| !before.contains(key)));
            }
            self.published.in_sync.clone_from(&in_sync);
            out.push(Effect::InSync(in_sync));
        }
        if self.high_watermark != self.published.high_watermark {
            self.published.high_watermark = self.high_watermark;
            out.push(Effect::HighWatermark(self.high_watermark));
        }
    }

    /// Whether the replica promises anything at all.
    pub(crate) const fn takes_part(&self) -> bool {
        self.started && !self.poisoned
    }

    pub(crate) fn position(&self) -> Position {
        self.log.position()
    }

    pub(crate) fn acknowledged(&self) -> Acknowledged {
        self.log.acknowledged(self.settings.flush)
    }

    /// Whether the log or the configuration is changing: no fetch, no candidacy.
    pub(crate) const fn is_busy(&self) -> bool {
        self.log.pending.is_some() || self.adopting.is_some()
    }

    /// Enters an epoch, with a vote in it or without; both become durable.
    pub(crate) fn enter_epoch(&mut self, epoch: LeaderEpoch, voted_for: Option<ReplicaKey>, out: &mut Vec<Effect>) {
        self.put_term(epoch, voted_for, Vec::new(), out);
    }

    pub(crate) fn put_term(
        &mut self,
        epoch: LeaderEpoch,
        voted_for: Option<ReplicaKey>,
        after: Vec<After>,
        out: &mut Vec<Effect>,
    ) {
        debug_assert!(epoch >= self.epoch, "epochs never fall");
        (self.epoch, self.voted_for) = (epoch, voted_for);
        self.puts.put(vec![Record::Term { epoch, voted_for }], after, out);
    }
}

/// What a start notes before anything else (rules R8, R11). That the replica recovers comes first: when only a part
/// becomes durable, the cut must not hide it.
fn start_records(restored: &Restored) -> Vec<Record> {
    let epoch = restored.epochs.last().map_or(0, |last| last.epoch);
    let recovering = restored.recovering && !broken(Mutation::ForgetRecovering);
    let cut = restored.cut && !broken(Mutation::ForgetRecoveryCut);
    let mut records = Vec::new();
    records.extend(recovering.then_some(Record::Recovering(true)));
    records.extend(cut.then_some(Record::Trunc { to: restored.log_end, epoch }));
    records
}
