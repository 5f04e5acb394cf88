//! What a seed stands for: settings, times and faults, drawn before anything runs.

use std::time::Duration;

use crate::peer::PeerSettings;
use crate::testing::Dice;

/// Which faults a run is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Profile {
    /// None.
    Calm,
    /// Hellos come twice, and late.
    Doubles,
    /// Connections break, fall silent, come twice; processes and machines crash.
    Faults,
    /// Disks are copied, restored and wiped too; there need not be a session in the end.
    Disks,
}

/// A run.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) profile: Profile,
    pub(crate) settings: [PeerSettings; 2],
    /// Longest time a frame takes, in microseconds.
    pub(crate) delay: u64,
    /// Longest time a put takes, in microseconds.
    pub(crate) put: u64,
    /// Mean time between two faults, in microseconds.
    pub(crate) pause: u64,
    /// Longest records of a fetch response.
    pub(crate) records: u64,
    /// Most messages of a turn.
    pub(crate) messages: u64,
}

impl Plan {
    pub(crate) fn draw(seed: u64, profile: Option<Profile>) -> Self {
        let dice = &mut Dice::new(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x5eed);
        let (calm, doubles, faults, disks) = (Profile::Calm, Profile::Doubles, Profile::Faults, Profile::Disks);
        let profiles = [calm, doubles, faults, faults, disks, disks];
        let profile = profile.unwrap_or_else(|| profiles[usize::try_from(dice.roll(6)).expect("small")]);
        let settings = [settings(dice), settings(dice)];
        Self {
            seed,
            profile,
            settings,
            delay: 200 + dice.roll(15_000),
            put: 100 + dice.roll(30_000),
            pause: 60_000 + dice.roll(300_000),
            records: 1 + dice.roll(3_000),
            messages: 1 + dice.roll(6),
        }
    }
}

fn settings(dice: &mut Dice) -> PeerSettings {
    let timeout = Duration::from_millis(120 + dice.roll(300));
    let mut size = |least: u64, most: u64| usize::try_from(least + dice.roll(most - least)).expect("small");
    PeerSettings {
        window: size(1, 8_000),
        frame_bytes: size(1, 8_000),
        frame_messages: size(1, 20),
        queue_bytes: size(8_000, 100_000),
        shards: u8::try_from(1 + dice.roll(3)).expect("small"),
        session_timeout: timeout,
        keepalive: timeout / 4,
        handshake_timeout: Duration::from_millis(400 + dice.roll(800)),
        backoff_min: Duration::from_millis(1 + dice.roll(20)),
        backoff_max: Duration::from_millis(20 + dice.roll(200)),
        refused_pause: Duration::from_millis(50 + dice.roll(200)),
        catch_up_rate: if dice.roll(3) == 0 { 20_000 + dice.roll(40_000) } else { 1 << 20 },
    }
}
