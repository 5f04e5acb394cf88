//! Settings of a partition's consensus, and the topic's settings that it obeys.

use std::time::Duration;

/// When the high watermark passes a record, beside the majority that every record needs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AckPolicy {
    /// All in-sync replicas hold it (`ack.policy=isr`), as in Kafka.
    InSync,
    /// As many replicas hold it as `min.insync.replicas` asks for (`ack.policy=quorum`).
    Quorum,
}

/// What makes appended data count.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FlushMode {
    /// It counts when it is flushed (`flush.messages=1`).
    Durable,
    /// It counts when it is in the page cache. A crash of the machine may take it away: see rule R11.
    PageCache,
}

/// What is done when too many replicas may have lost acknowledged data for an ordinary election
/// (`unclean.recovery.strategy`, KIP-966).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum UncleanRecovery {
    /// Wait until every voter answers; the one with the greatest position leads.
    Unanimous,
    /// Wait for the operator.
    Manual,
}

/// Settings of one partition's consensus.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// See [`AckPolicy`].
    pub ack_policy: AckPolicy,
    /// `min.insync.replicas`, 1 or more. With fewer data voters, all of them.
    pub min_in_sync: usize,
    /// See [`FlushMode`].
    pub flush: FlushMode,
    /// See [`UncleanRecovery`].
    pub unclean_recovery: UncleanRecovery,
    /// Silence after which the host reports a session as down; here the unit of check-quorum and of announcements.
    pub session_timeout: Duration,
    /// How long a candidate waits for votes, and the base of its pause after a failure.
    pub election_timeout: Duration,
    /// Added to the wait before an election for each live voter that comes first.
    pub rank_delay: Duration,
    /// Upper bound of the random part of that wait.
    pub jitter: Duration,
    /// How long a new leader counts live voters as in sync that it has not heard of yet.
    pub provisional: Duration,
    /// `replica.lag.time.max.ms`: how long an in-sync replica may be behind.
    pub lag_max: Duration,
    /// How long a leader that hands over refuses appends before it gives up.
    pub transfer_timeout: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ack_policy: AckPolicy::InSync,
            min_in_sync: 1,
            flush: FlushMode::Durable,
            unclean_recovery: UncleanRecovery::Unanimous,
            session_timeout: Duration::from_millis(400),
            election_timeout: Duration::from_millis(300),
            rank_delay: Duration::from_millis(60),
            jitter: Duration::from_millis(20),
            provisional: Duration::from_millis(500),
            lag_max: Duration::from_secs(10),
            transfer_timeout: Duration::from_secs(1),
        }
    }
}
