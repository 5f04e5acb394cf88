//! Deadlines from the milliseconds of a request.

use std::time::Duration;

use millrace_types::{Instant, Now};

/// The moment `ms` milliseconds from `now`; a negative time-out has passed at once, as in Kafka.
pub(crate) fn after_ms(now: Now, ms: i32) -> Instant {
    now.instant.after(Duration::from_millis(u64::try_from(ms).unwrap_or(0)))
}

/// The moment `ms` milliseconds from `now`, [`Instant::NEVER`] for the values by which Kafka's keys say never:
/// `i64::MAX` and negative ones.
pub(crate) fn after_long_ms(now: Now, ms: i64) -> Instant {
    match u64::try_from(ms) {
        Ok(ms) if ms < i64::MAX.unsigned_abs() => now.instant.after(Duration::from_millis(ms)),
        _ => Instant::NEVER,
    }
}
