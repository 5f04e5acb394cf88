//! Rules of sessions that a test can break on purpose, to prove that the tests would notice.

/// A rule that is broken. The rules are those of `docs/peer_protocol.md`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mutation {
    /// A start is accepted although a later one is known.
    AcceptStale,
    /// A hello need not tell the start that is remembered.
    IgnoreHistory,
    /// A session begins before the start of the other broker is remembered durably.
    UpBeforeDurable,
    /// A connection that was dialed earlier replaces a later one.
    AcceptOldConnection,
    /// Messages are lost with a connection, and nobody is told.
    ForgetQueued,
    /// Fetch responses leave before votes and acknowledgements.
    StarveControl,
    /// A silent connection is kept.
    KeepSilent,
    /// What waits is not bounded.
    QueueWithoutBound,
    /// The catch-up shard has no rate.
    IgnoreQuota,
}

impl Mutation {
    /// Every mutation.
    pub const ALL: &'static [Self] = &[
        Self::AcceptStale,
        Self::IgnoreHistory,
        Self::UpBeforeDurable,
        Self::AcceptOldConnection,
        Self::ForgetQueued,
        Self::StarveControl,
        Self::KeepSilent,
        Self::QueueWithoutBound,
        Self::IgnoreQuota,
    ];
}

#[cfg(any(test, feature = "mutations"))]
thread_local! {
    static BROKEN: std::cell::Cell<Option<Mutation>> = const { std::cell::Cell::new(None) };
}

/// Breaks `mutation` on this thread while `body` runs.
#[cfg(any(test, feature = "mutations"))]
pub fn with_broken<T>(mutation: Option<Mutation>, body: impl FnOnce() -> T) -> T {
    BROKEN.set(mutation);
    let result = body();
    BROKEN.set(None);
    result
}

/// Whether `mutation` is broken on this thread.
#[cfg(any(test, feature = "mutations"))]
pub(crate) fn broken(mutation: Mutation) -> bool {
    BROKEN.get() == Some(mutation)
}

/// Whether `mutation` is broken: never outside tests.
#[cfg(not(any(test, feature = "mutations")))]
pub(crate) const fn broken(_mutation: Mutation) -> bool {
    false
}
