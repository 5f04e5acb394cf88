//! Rules of durability that a test can break on purpose, to prove that the crash tests would notice.

/// A rule that is broken (consensus rules, 2.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mutation {
    /// What is appended is committed, flushed or not.
    CommitBeforeFlush,
    /// The epoch is published before it is durable.
    LeadBeforeDurable,
    /// Records are acknowledged from the page cache before the write-ahead store says so.
    CommitBeforeVolatile,
    /// A flush that failed counts as done.
    TrustFailedFlush,
    /// A duplicate is acknowledged although the batch it repeats is not committed.
    AcknowledgeDuplicateAtOnce,
    /// A metadata command is answered, and its image published, before its entry is durable.
    AnswerMetadataBeforeDurable,
    /// A group coordinator answers before its record is committed.
    AnswerGroupBeforeCommit,
}

#[cfg(any(test, feature = "mutations"))]
thread_local! {
    static BROKEN: std::cell::Cell<Option<Mutation>> = const { std::cell::Cell::new(None) };
}

/// Breaks `mutation` on this thread until the next call.
#[cfg(any(test, feature = "mutations"))]
pub(crate) fn set_broken(mutation: Option<Mutation>) {
    BROKEN.set(mutation);
}

/// Breaks `mutation` on this thread while `body` runs.
#[cfg(feature = "mutations")]
pub fn with_broken<T>(mutation: Option<Mutation>, body: impl FnOnce() -> T) -> T {
    set_broken(mutation);
    let result = body();
    set_broken(None);
    result
}

/// Whether `mutation` is broken on this thread.
#[cfg(any(test, feature = "mutations"))]
pub(crate) fn broken(mutation: Mutation) -> bool {
    BROKEN.get() == Some(mutation)
}

/// Whether any rule is broken on this thread: then the state may well break its invariants.
#[cfg(any(test, feature = "mutations"))]
pub(crate) fn any_broken() -> bool {
    BROKEN.get().is_some()
}

/// Whether any rule is broken: never outside tests.
#[cfg(not(any(test, feature = "mutations")))]
pub(crate) const fn any_broken() -> bool {
    false
}

/// Whether `mutation` is broken: never outside tests.
#[cfg(not(any(test, feature = "mutations")))]
pub(crate) const fn broken(_mutation: Mutation) -> bool {
    false
}
