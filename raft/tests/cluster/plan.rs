//! What a seed stands for: every tunable of a run, drawn from it and printed when the run fails.

use std::time::Duration;

use millrace_raft::{AckPolicy, FlushMode, Settings, UncleanRecovery};

use crate::dice::Dice;

/// What is done to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Nothing: no epoch may end (I13).
    Calm,
    /// Every fault, moderately.
    Mixed,
    /// Short cuts of links and much loss: many elections, few crashes.
    Storm,
    /// Crashes with lost memory, much and often.
    Crashes,
    /// Acknowledgements from the page cache, and power losses.
    PageCache,
    /// Two data replicas and a witness.
    Witness,
    /// Members come and go.
    Members,
    /// Retention follows the high watermark closely.
    Retention,
    /// Few records, many short leaderships and crashes, slow disks: what figure 8 of the Raft paper is about.
    Figure8,
    /// Members change all the time, disks are slow.
    Churn,
    /// As `PageCache`, and at times all machines lose power at once.
    Blackout,
    /// Members change while memory is lost.
    MembersPageCache,
    /// Members change beside a witness, which comes and goes too.
    MembersWitness,
    /// A disk is wiped and its broker comes back.
    Wipe,
}

impl Profile {
    pub(crate) const ALL: [Self; 14] = [
        Self::Calm,
        Self::Mixed,
        Self::Storm,
        Self::Crashes,
        Self::PageCache,
        Self::Witness,
        Self::Members,
        Self::Retention,
        Self::Wipe,
        Self::Figure8,
        Self::Churn,
        Self::Blackout,
        Self::MembersPageCache,
        Self::MembersWitness,
    ];
}

/// Options of a run. Chances are per thousand.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) profile: Profile,
    pub(crate) voters: usize,
    pub(crate) spares: usize,
    pub(crate) witness: bool,
    pub(crate) settings: Settings,
    /// Length of the phase with faults, in microseconds.
    pub(crate) faults_until: u64,
    pub(crate) delay: (u64, u64),
    pub(crate) put: (u64, u64),
    pub(crate) flush: (u64, u64),
    pub(crate) loss: u64,
    pub(crate) duplicates: u64,
    /// Mean time between faults, in microseconds.
    pub(crate) fault_every: u64,
    pub(crate) produce_every: u64,
    pub(crate) cuts: u64,
    pub(crate) crashes: u64,
    pub(crate) power: u64,
    pub(crate) blackouts: u64,
    pub(crate) pauses: u64,
    pub(crate) transfers: u64,
    pub(crate) changes: u64,
    pub(crate) retention: u64,
    pub(crate) wipes: u64,
    pub(crate) rot: u64,
    pub(crate) stalls: u64,
    pub(crate) refusals: u64,
}

impl Plan {
    /// Draws the options of `seed`; the profile follows from the seed unless it is given.
    pub(crate) fn draw(seed: u64, profile: Option<Profile>) -> Self {
        let mut dice = Dice::new(seed);
        let profile = profile.unwrap_or(Profile::ALL[(seed % Profile::ALL.len() as u64) as usize]);
        let mut plan = Self::base(seed, profile, &mut dice);
        match profile {
            Profile::Calm => plan.calm(),
            Profile::Mixed => {
                plan.voters = dice.pick(&[3, 3, 4, 5]);
                plan.witness = plan.voters == 4;
                plan.settings.flush = dice.pick(&[FlushMode::Durable, FlushMode::Durable, FlushMode::PageCache]);
                (plan.transfers, plan.retention, plan.stalls, plan.refusals) = (60, 60, 30, 20);
            }
            Profile::Storm => {
                (plan.cuts, plan.crashes, plan.power, plan.loss) = (800, 60, 500, dice.between(0, 200));
                plan.fault_every = 60_000;
                plan.produce_every = 40_000;
            }
            Profile::Crashes => {
                (plan.cuts, plan.crashes, plan.power) = (300, 600, 800);
                plan.fault_every = 60_000;
                plan.put = (100, dice.pick(&[2_000, 30_000]));
                plan.flush = (100, dice.pick(&[2_000, 60_000]));
            }
            Profile::PageCache => {
                plan.settings.flush = FlushMode::PageCache;
                (plan.cuts, plan.crashes, plan.power) = (300, 500, 700);
                plan.fault_every = 60_000;
            }
            Profile::Witness => {
                (plan.voters, plan.witness) = (3, true);
                plan.settings.min_in_sync = 1;
                (plan.cuts, plan.crashes, plan.power) = (400, 400, 500);
            }
            Profile::Members => {
                (plan.spares, plan.rot) = (2, 0);
                (plan.changes, plan.cuts, plan.crashes) = (500, 300, 150);
                plan.fault_every = 30_000;
            }
            Profile::Retention => (plan.retention, plan.cuts, plan.crashes) = (400, 300, 200),
            Profile::Figure8 => {
                (plan.cuts, plan.crashes, plan.power, plan.rot) = (700, 500, 500, 0);
                (plan.fault_every, plan.produce_every) = (40_000, dice.pick(&[30_000, 150_000]));
                (plan.put, plan.flush) = ((100, dice.pick(&[3_000, 20_000])), (100, dice.pick(&[3_000, 40_000])));
                plan.faults_until = 12_000_000;
            }
            Profile::Churn => {
                (plan.voters, plan.spares, plan.rot, plan.changes) = (5, 1, 0, 950);
                (plan.cuts, plan.crashes, plan.loss) = (60, 60, 0);
                (plan.fault_every, plan.flush) = (4_000, (100, 100_000));
                plan.settings.ack_policy = AckPolicy::Quorum;
                plan.settings.min_in_sync = 1;
                plan.faults_until = 1_500_000;
            }
            _ => plan.narrow(),
        }
        plan
    }

    /// The options of the profiles that look at two rules together, or at one that is rarely at work.
    fn narrow(&mut self) {
        let plan = self;
        match plan.profile {
            Profile::MembersPageCache => {
                plan.settings.flush = FlushMode::PageCache;
                (plan.spares, plan.changes, plan.cuts, plan.crashes) = (2, 300, 200, 250);
                (plan.power, plan.blackouts, plan.transfers, plan.retention) = (700, 10, 60, 30);
                plan.fault_every = 30_000;
            }
            Profile::MembersWitness => {
                (plan.voters, plan.witness, plan.spares, plan.rot) = (3, true, 2, 0);
                plan.settings.min_in_sync = 1;
                (plan.changes, plan.cuts, plan.crashes, plan.transfers) = (300, 300, 200, 40);
                plan.fault_every = 30_000;
            }
            Profile::Blackout => {
                plan.settings.flush = FlushMode::PageCache;
                (plan.cuts, plan.crashes, plan.power, plan.blackouts) = (100, 500, 900, 60);
                (plan.fault_every, plan.produce_every, plan.loss) = (200_000, 10_000, 0);
            }
            Profile::Wipe => (plan.spares, plan.wipes, plan.cuts, plan.crashes) = (0, 100, 400, 200),
            _ => {}
        }
    }

    fn base(seed: u64, profile: Profile, dice: &mut Dice) -> Self {
        let settings = Settings {
            ack_policy: dice.pick(&[AckPolicy::InSync, AckPolicy::Quorum]),
            min_in_sync: dice.pick(&[1, 2, 2, 3]),
            flush: FlushMode::Durable,
            unclean_recovery: UncleanRecovery::Unanimous,
            session_timeout: Duration::from_millis(dice.pick(&[100, 200])),
            election_timeout: Duration::from_millis(dice.pick(&[60, 150])),
            rank_delay: Duration::from_millis(dice.pick(&[0, 5, 20])),
            jitter: Duration::from_millis(dice.pick(&[1, 20])),
            provisional: Duration::from_millis(dice.pick(&[30, 200])),
            lag_max: Duration::from_millis(dice.pick(&[100, 1000])),
            transfer_timeout: Duration::from_millis(dice.pick(&[50, 300])),
        };
        Self {
            seed,
            profile,
            voters: 3,
            spares: 0,
            witness: false,
            settings,
            faults_until: 2_500_000,
            delay: (100, dice.pick(&[1_000, 5_000, 20_000])),
            put: (100, dice.pick(&[500, 3_000, 10_000])),
            flush: (100, dice.pick(&[500, 3_000, 20_000])),
            loss: dice.pick(&[0, 10, 50]),
            duplicates: dice.pick(&[0, 10, 50]),
            fault_every: 80_000,
            produce_every: dice.pick(&[10_000, 30_000]),
            cuts: 300,
            crashes: 200,
            power: 500,
            blackouts: 0,
            pauses: 50,
            transfers: 20,
            changes: 0,
            retention: 0,
            wipes: 0,
            rot: dice.pick(&[0, 100]),
            stalls: 0,
            refusals: 0,
        }
    }

    fn calm(&mut self) {
        (self.cuts, self.crashes, self.power, self.pauses, self.transfers, self.loss) = (0, 0, 0, 0, 0, 0);
        self.faults_until = 1_000_000;
        self.delay.1 = 1_000;
        self.rot = 0;
    }

    /// A run without chance, for scripts: everything takes one millisecond.
    pub(crate) fn scripted(voters: usize) -> Self {
        let mut plan = Self::draw(0, Some(Profile::Calm));
        let settings = Settings { jitter: Duration::ZERO, ..Settings::default() };
        (plan.voters, plan.settings, plan.faults_until) = (voters, settings, u64::MAX);
        (plan.delay, plan.put, plan.flush) = ((1_000, 1_000), (1_000, 1_000), (1_000, 1_000));
        (plan.loss, plan.duplicates, plan.produce_every) = (0, 0, u64::MAX);
        plan
    }
}
