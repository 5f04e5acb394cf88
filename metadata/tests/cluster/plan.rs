//! What a seed stands for: every tunable of a run, drawn from it and printed when the run fails.

use std::time::Duration;

use millrace_metadata::log::Settings;

use crate::dice::Dice;

/// What is done to the cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// Nothing but contention.
    Calm,
    /// Every fault, moderately.
    Mixed,
    /// Many commands at many brokers, and much loss.
    Duel,
    /// Crashes, and slow disks.
    Crashes,
    /// A disk is wiped and its broker comes back under its id.
    Wipe,
    /// Faults while the cluster is founded, wiped disks too.
    Founding,
    /// The acceptors change all the time.
    Acceptors,
    /// Two brokers, of which one decides.
    Pair,
    /// One broker.
    Alone,
}

impl Profile {
    pub(crate) const ALL: [Self; 9] = [
        Self::Calm,
        Self::Mixed,
        Self::Duel,
        Self::Crashes,
        Self::Wipe,
        Self::Founding,
        Self::Acceptors,
        Self::Pair,
        Self::Alone,
    ];
}

/// Options of a run. Times are in microseconds, chances per thousand.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    #[expect(dead_code, reason = "printed")]
    pub(crate) profile: Profile,
    pub(crate) brokers: usize,
    pub(crate) settings: Settings,
    pub(crate) faults_until: u64,
    pub(crate) delay: (u64, u64),
    pub(crate) disk: (u64, u64),
    pub(crate) session_timeout: u64,
    pub(crate) loss: u64,
    pub(crate) duplicates: u64,
    pub(crate) commands_every: u64,
    pub(crate) fault_every: u64,
    pub(crate) cuts: u64,
    pub(crate) crashes: u64,
    pub(crate) wipes: u64,
    pub(crate) refusals: u64,
    pub(crate) acceptors: u64,
}

impl Plan {
    pub(crate) fn draw(seed: u64, profile: Option<Profile>) -> Self {
        let mut dice = Dice::new(seed);
        let profile = profile.unwrap_or(Profile::ALL[(seed % Profile::ALL.len() as u64) as usize]);
        let mut plan = Self::base(seed, profile, &mut dice);
        match profile {
            Profile::Calm => {
                (plan.cuts, plan.crashes, plan.refusals, plan.loss) = (0, 0, 0, 0);
                plan.faults_until = 1_000_000;
            }
            Profile::Mixed => {}
            Profile::Duel => {
                (plan.cuts, plan.crashes, plan.loss) = (300, 50, dice.pick(&[0, 50, 200]));
                plan.commands_every = 5_000;
            }
            Profile::Crashes => {
                (plan.cuts, plan.crashes) = (200, 700);
                (plan.fault_every, plan.disk.1) = (40_000, dice.pick(&[5_000, 40_000]));
            }
            Profile::Wipe => (plan.cuts, plan.crashes, plan.wipes) = (200, 200, 400),
            Profile::Founding => {
                (plan.cuts, plan.crashes, plan.wipes, plan.fault_every) = (500, 400, 300, 30_000);
                plan.faults_until = 1_500_000;
            }
            Profile::Acceptors => {
                (plan.cuts, plan.crashes, plan.acceptors, plan.brokers) = (300, 300, 300, 5);
            }
            Profile::Pair => (plan.brokers, plan.crashes) = (2, 400),
            Profile::Alone => (plan.brokers, plan.crashes, plan.cuts) = (1, 500, 0),
        }
        plan
    }

    /// A run without chance, for stories: every message and every write takes one millisecond.
    pub(crate) fn scripted(brokers: usize) -> Self {
        let mut plan = Self::draw(0, Some(Profile::Calm));
        (plan.brokers, plan.settings, plan.faults_until) = (brokers, Settings::default(), 0);
        (plan.delay, plan.disk, plan.session_timeout) = ((1_000, 1_000), (1_000, 1_000), 60_000_000);
        plan
    }

    fn base(seed: u64, profile: Profile, dice: &mut Dice) -> Self {
        let ms = Duration::from_millis;
        let settings = Settings {
            backoff_min: ms(dice.pick(&[1, 5])),
            backoff_max: ms(dice.pick(&[100, 400])),
            resend: ms(dice.pick(&[20, 100])),
            status: ms(dice.pick(&[50, 300])),
            commit_timeout: ms(dice.pick(&[2_500, 4_000])),
            forward_timeout: ms(dice.pick(&[1_000, 2_000])),
            fetch_timeout: ms(dice.pick(&[50, 200])),
            register_retry: ms(100),
            max_batch_commands: dice.pick(&[1, 2, 1000]),
            message_bytes: dice.pick(&[8_000, 500_000]),
            max_batch_bytes: 2_000,
            snapshot_entries: dice.pick(&[1, 5, 256]),
            tail_entries: dice.pick(&[20, 64, 1024]),
            ..Settings::default()
        };
        Self {
            seed,
            profile,
            brokers: dice.pick(&[3, 3, 4, 5]),
            settings,
            faults_until: 3_000_000,
            delay: (100, dice.pick(&[1_000, 5_000, 30_000])),
            disk: (100, dice.pick(&[500, 3_000, 20_000])),
            session_timeout: dice.pick(&[50_000, 400_000]),
            loss: dice.pick(&[0, 10, 50]),
            duplicates: dice.pick(&[0, 10, 50]),
            commands_every: dice.pick(&[5_000, 20_000, 60_000]),
            fault_every: 80_000,
            cuts: 400,
            crashes: 250,
            wipes: 0,
            refusals: dice.pick(&[0, 0, 20]),
            acceptors: 0,
        }
    }
}
