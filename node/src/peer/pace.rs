//! Times that are computed: pauses between dials, the catch-up shard's rate, and how long silence may last.

use std::time::Duration;

use millrace_types::{Instant, Random};

use super::PeerSettings;

/// Pauses that differ from broker to broker, from a seed that the host draws.
#[derive(Debug)]
pub(crate) struct Jitter(Random);

impl Jitter {
    pub(crate) const fn new(seed: u64) -> Self {
        Self(Random::new(seed))
    }

    /// A time from half of `limit` up to it.
    fn spread(&mut self, limit: Duration) -> Duration {
        let half = limit / 2;
        half + self.0.delay_below(half)
    }

    /// The pause before the next dial, after so many failures in a row.
    pub(crate) fn pause(&mut self, settings: &PeerSettings, failures: u32) -> Duration {
        let doubled = settings.backoff_min.saturating_mul(1_u32.checked_shl(failures.min(16)).unwrap_or(u32::MAX));
        self.spread(doubled.min(settings.backoff_max))
    }

    /// The pause after a refusal.
    pub(crate) fn refused(&mut self, settings: &PeerSettings) -> Duration {
        self.spread(settings.refused_pause)
    }
}

/// How far a connection may be ahead of its rate: what a timer that comes late would cost otherwise.
const BURST: Duration = Duration::from_millis(100);

/// A rate in bytes per second. Invariant: bytes sent in any interval of t seconds <= rate x (t + burst) + one frame.
#[derive(Debug, Default)]
pub(crate) struct Quota {
    /// When everything sent so far is paid for.
    paid: Instant,
}

impl Quota {
    /// When something may be sent.
    pub(crate) fn ready(&self) -> Instant {
        Instant::from_micros(self.paid.as_micros().saturating_sub(micros(BURST)))
    }

    pub(crate) fn spend(&mut self, now: Instant, bytes: usize, rate: u64) {
        let cost = u128::from(bytes as u64) * 1_000_000 / u128::from(rate.max(1));
        let cost = Duration::from_micros(u64::try_from(cost).unwrap_or(u64::MAX));
        self.paid = self.paid.max(now).after(cost);
    }
}

/// How late this broker itself is: a loop that lags sees others later than they speak (Lifeguard's local health).
#[derive(Debug, Default)]
pub(crate) struct Health {
    lag: Duration,
}

impl Health {
    /// At most so many timeouts are waited for.
    const SCALE_MAX: u32 = 4;

    /// Takes a measure; one that is past counts half as much with each that follows.
    pub(crate) fn observe(&mut self, lag: Duration) {
        self.lag = lag.max(self.lag / 2);
    }

    /// How long a connection may be silent: the timeout, and once more for each keepalive interval of lag.
    pub(crate) fn timeout(&self, settings: &PeerSettings) -> Duration {
        let (timeout, interval) = (settings.session_timeout, micros(settings.keepalive).max(1));
        let extra = u128::from(micros(timeout)) * u128::from(micros(self.lag)) / u128::from(interval);
        let extra = Duration::from_micros(u64::try_from(extra).unwrap_or(u64::MAX));
        timeout.saturating_add(extra).min(timeout * Self::SCALE_MAX)
    }
}

fn micros(time: Duration) -> u64 {
    u64::try_from(time.as_micros()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_their_bound_and_differ() {
        let settings = PeerSettings::default();
        let mut jitter = Jitter::new(1);
        let pauses: Vec<u128> = (0..9).map(|failures| jitter.pause(&settings, failures).as_millis()).collect();
        let bounds = [10, 20, 40, 80, 160, 250, 250, 250, 250];
        assert!(pauses.iter().zip(bounds).all(|(pause, bound)| (bound / 2..bound).contains(pause)), "{pauses:?}");
        assert!(jitter.pause(&settings, u32::MAX) <= settings.backoff_max);
        assert_ne!(jitter.pause(&settings, 9), jitter.pause(&settings, 9));
    }

    #[test]
    fn a_rate_is_kept_over_any_second() {
        let (mut quota, rate, frame) = (Quota::default(), 1_000_000, 64_000);
        let mut sent = 0;
        for now in (1_000_000..4_000_000).step_by(500).map(Instant::from_micros) {
            while quota.ready() <= now {
                quota.spend(now, frame, rate);
                sent += frame;
            }
        }
        assert!((3_000_000..3_300_000).contains(&sent), "{sent} in three seconds");
    }

    #[test]
    fn a_loop_that_lags_waits_longer_and_not_for_ever() {
        let (settings, mut health) = (PeerSettings::default(), Health::default());
        assert_eq!(health.timeout(&settings).as_millis(), 400);
        health.observe(Duration::from_millis(50));
        assert_eq!(health.timeout(&settings).as_millis(), 600);
        health.observe(Duration::from_secs(9));
        assert_eq!(health.timeout(&settings).as_millis(), 1_600);
        (0..12).for_each(|_| health.observe(Duration::ZERO));
        assert!(health.timeout(&settings).as_millis() < 420, "a stall is forgotten");
    }
}
