//! A group's committed offset is that of the last acknowledged commit, or of one whose outcome nobody knows.

use millrace_types::Offset;

use super::violation;
use crate::history::{Commit, Part, Tick, Violation};

/// Checks what a group that asked at `asked` finds as its committed offset; -1 is none.
///
/// # Errors
/// No order of the commits explains it.
pub fn check(group: &str, part: &Part, commits: &[Commit], (asked, found): (Tick, Offset)) -> Result<(), Violation> {
    let last_begun = commits
        .iter()
        .filter(|commit| commit.acked.is_some_and(|acked| acked < asked))
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
    violation("commits", format!("group {group} finds {found} committed for {part}; its commits were {commits:?}"))
}
