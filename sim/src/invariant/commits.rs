//! A group's committed offset is that of the last acknowledged commit, or of one whose outcome nobody knows.
//!
//! A coordinator that does not know of its successor yet answers from what it knows, for as long as rule R17 lets it: it owes what
//! its own epoch or an earlier one has acknowledged. Commits take no such exception: one is acknowledged when it is in the log, so
//! that every coordinator of a later epoch finds it.

use millrace_types::{LeaderEpoch, Offset};

use super::violation;
use crate::history::{Commit, Part, Tick, Violation};

/// Checks what a group that asked at `asked` finds as its committed offset, by the coordinator of `epoch`; -1 is none.
///
/// # Errors
/// No order of the commits explains it.
pub fn check(
    group: &str,
    part: &Part,
    commits: &[Commit],
    epoch: LeaderEpoch,
    (asked, found): (Tick, Offset),
) -> Result<(), Violation> {
    let last_begun = commits
        .iter()
        .filter(|commit| commit.epoch <= epoch && commit.acked.is_some_and(|acked| acked < asked))
        .map(|commit| commit.invoked)
        .max();
    let explains = |commit: &Commit| match (commit.acked, last_begun) {
        // A commit that was over before another acknowledged one began was overwritten by it.
        (Some(acked), Some(begun)) => acked >= begun || commit.invoked == begun,
        _ => true,
    };
    let none_is_fine = last_begun.is_none() && found < 0;
    if none_is_fine || commits.iter().any(|commit| commit.offset == found && explains(commit)) {
        return Ok(());
    }
    let text =
        format!("group {group} finds {found} committed for {part} in epoch {epoch}; its commits were {commits:?}");
    violation("commits", text)
}
