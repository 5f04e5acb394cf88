//! The rules that can be broken by name, each of which the checkers must notice.

/// Names of the rules of `storage` and `node` that can be broken.
#[must_use]
pub fn names() -> Vec<String> {
    #[cfg(feature = "mutations")]
    {
        let storage = table::STORAGE.iter().map(|mutation| format!("{mutation:?}"));
        storage.chain(table::NODE.iter().map(|mutation| format!("{mutation:?}"))).collect()
    }
    #[cfg(not(feature = "mutations"))]
    Vec::new()
}

/// Runs `body` with the rule `name` broken.
///
/// # Errors
/// There is no such rule, or this build cannot break any.
pub fn with_broken<T>(name: Option<&str>, body: impl FnOnce() -> T) -> Result<T, String> {
    let Some(name) = name else { return Ok(body()) };
    #[cfg(feature = "mutations")]
    {
        let storage = table::STORAGE.iter().find(|mutation| format!("{mutation:?}") == name);
        let node = table::NODE.iter().find(|mutation| format!("{mutation:?}") == name);
        if storage.is_none() && node.is_none() {
            return Err(format!("no rule {name}; there are: {}", names().join(", ")));
        }
        let run = || millrace_storage::mutation::with_broken(storage.copied(), body);
        Ok(millrace_node::replica::mutation::with_broken(node.copied(), run))
    }
    #[cfg(not(feature = "mutations"))]
    Err(format!("to break {name}, build with --features mutations"))
}

#[cfg(feature = "mutations")]
mod table {
    use millrace_node::replica::mutation::Mutation as Node;
    use millrace_storage::mutation::Mutation as Storage;

    pub(super) const STORAGE: &[Storage] = &[
        Storage::NoDurableCut,
        Storage::CutWithoutZeroing,
        Storage::NoFdatasyncAfterScan,
        Storage::NoTruncRecord,
        Storage::AcceptDecreasingEpoch,
        Storage::SkipChecksum,
        Storage::SkipOffsetCheck,
        Storage::RetryFailedFlush,
        Storage::NoDirectorySync,
        Storage::KeepSnapshotsAboveCut,
        Storage::JournalTailNotZeroed,
        Storage::JournalRotIsCut,
        Storage::SnapshotNotFlushed,
        Storage::SnapshotNameNotSynced,
        Storage::TruncVoidsNothing,
        Storage::IncarnationNotFlushed,
    ];

    pub(super) const NODE: &[Node] = &[
        Node::CommitBeforeFlush,
        Node::LeadBeforeDurable,
        Node::CommitBeforeVolatile,
        Node::TrustFailedFlush,
        Node::AcknowledgeDuplicateAtOnce,
        Node::AnswerMetadataBeforeDurable,
        Node::AnswerGroupBeforeCommit,
    ];
}
