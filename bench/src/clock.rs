//! The load generator's clock: nanoseconds since its first use, and waiting for a moment of it.

use std::sync::OnceLock;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

static START: OnceLock<Instant> = OnceLock::new();

/// Nanoseconds since the clock's start.
pub(crate) fn now_ns() -> u64 {
    let start = START.get_or_init(Instant::now);
    u64::try_from(start.elapsed().as_nanos()).unwrap_or(u64::MAX)
}

/// Sleeps until the clock shows `moment`; returns at once when it is past.
pub(crate) fn sleep_until(moment: u64) {
    let now = now_ns();
    if moment > now {
        std::thread::sleep(Duration::from_nanos(moment - now));
    }
}

/// Asks the kernel to end this thread's sleeps on time: by default it may add 50 us to each, which would show as latency.
/// Without effect where the kernel does not offer it.
pub(crate) fn sleep_precisely() {
    let thread = std::fs::read_link("/proc/thread-self").ok();
    let id = thread.as_ref().and_then(|path| path.file_name()).and_then(|id| id.to_str());
    if let Some(id) = id {
        let _ = std::fs::write(format!("/proc/{id}/timerslack_ns"), "1");
    }
}

/// Milliseconds since the Unix epoch.
pub(crate) fn unix_ms() -> i64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(since.as_millis()).unwrap_or(i64::MAX)
}

/// The part of a run that counts: from the end of the warm-up to the end, in nanoseconds of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Window {
    /// When the load starts.
    pub(crate) start: u64,
    /// When the warm-up is over.
    pub(crate) from: u64,
    /// When the load ends.
    pub(crate) until: u64,
}

impl Window {
    /// A window that starts at `start`.
    pub(crate) fn new(start: u64, warm_up: Duration, duration: Duration) -> Self {
        let from = start.saturating_add(nanos(warm_up));
        Self { start, from, until: from.saturating_add(nanos(duration)) }
    }

    /// Whether a moment counts.
    pub(crate) fn contains(&self, moment: u64) -> bool {
        (self.from..self.until).contains(&moment)
    }

    /// Length of the part that counts, in seconds.
    pub(crate) fn seconds(&self) -> f64 {
        (self.until - self.from) as f64 / 1e9
    }
}

fn nanos(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_window_excludes_the_warm_up_and_the_end() {
        let window = Window::new(100, Duration::from_nanos(50), Duration::from_nanos(200));
        assert_eq!((window.from, window.until), (150, 350));
        assert!(!window.contains(149) && window.contains(150) && window.contains(349) && !window.contains(350));
    }

    #[test]
    fn the_clock_does_not_run_backwards() {
        let first = now_ns();
        assert!(now_ns() >= first);
    }
}
