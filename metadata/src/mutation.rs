//! Rules of the metadata's commands that a test can break on purpose, to prove that the tests would notice.

/// A rule that is broken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Mutation {
    /// A target is taken for reached although an earlier one was (consensus rules, 8.3).
    BelieveLateTarget,
}

millrace_types::mutation_switch!(Mutation);
