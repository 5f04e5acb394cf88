//! Figures about a group coordinator.

/// Figures about a coordinator, for metrics.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct GroupCoordinatorStats {
    /// Groups.
    pub groups: usize,
    /// Members of all groups.
    pub members: usize,
    /// Committed offsets of all groups.
    pub offsets: usize,
    /// Requests not answered yet.
    pub waiting_requests: usize,
    /// Bytes of records that wait for the log.
    pub queued_bytes: usize,
    /// Whether the log is still being read.
    pub loading: bool,
}
