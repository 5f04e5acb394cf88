//! Times and bounds of the log.

use std::time::Duration;

/// Times and bounds of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Settings {
    /// The least time to step back after another proposer's ballot; it doubles with each try.
    pub backoff_min: Duration,
    /// The most.
    pub backoff_max: Duration,
    /// After this time without an answer a question is asked again; it doubles up to `backoff_max`.
    pub resend: Duration,
    /// How often a broker tells the others how far it is, when nothing else does.
    pub status: Duration,
    /// How long a command may wait for its decision.
    pub commit_timeout: Duration,
    /// How long the answer to forwarded commands is waited for.
    pub forward_timeout: Duration,
    /// How long a peer may take to answer when entries are missing.
    pub fetch_timeout: Duration,
    /// How long a failed registration waits before it is tried again.
    pub register_retry: Duration,
    /// Commands that wait; further ones are answered `REQUEST_TIMED_OUT`, which clients retry.
    pub max_queued: usize,
    /// Commands of one batch.
    pub max_batch_commands: usize,
    /// Bytes of entries after which a batch takes no further command.
    pub max_batch_bytes: usize,
    /// Bytes of the largest entry that one broker decides alone; what is proposed to others fits into a message.
    pub max_entry_bytes: usize,
    /// Bytes of entries or of a snapshot in one message.
    pub message_bytes: usize,
    /// Entries after which a snapshot is due.
    pub snapshot_entries: usize,
    /// Bytes of records after which a snapshot is due.
    pub snapshot_bytes: usize,
    /// Entries that are kept for those who are behind; further back they get a snapshot.
    pub tail_entries: usize,
    /// Bytes of them.
    pub tail_bytes: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            backoff_min: Duration::from_millis(5),
            backoff_max: Duration::from_millis(400),
            resend: Duration::from_millis(100),
            status: Duration::from_millis(500),
            commit_timeout: Duration::from_secs(10),
            forward_timeout: Duration::from_secs(2),
            fetch_timeout: Duration::from_millis(500),
            register_retry: Duration::from_secs(1),
            max_queued: 4_096,
            max_batch_commands: 1_000,
            max_batch_bytes: 1024 * 1024,
            max_entry_bytes: 7 * 1024 * 1024,
            message_bytes: 1024 * 1024 - 2048,
            snapshot_entries: 256,
            snapshot_bytes: 1024 * 1024,
            tail_entries: 1_024,
            tail_bytes: 16 * 1024 * 1024,
        }
    }
}
