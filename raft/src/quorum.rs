//! Arithmetic of majorities.

use millrace_types::Offset;

/// The smallest number of `voters` of which any two sets share a member.
pub(crate) const fn majority(voters: usize) -> usize {
    voters / 2 + 1
}

/// The `nth` largest of `acknowledged`, counted from 1: the offset that at least `nth` of them have reached. `None` is
/// below every offset.
pub(crate) fn nth_largest(mut acknowledged: Vec<Option<Offset>>, nth: usize) -> Option<Offset> {
    acknowledged.sort_unstable_by(|a, b| b.cmp(a));
    acknowledged.get(nth.checked_sub(1)?).copied().flatten()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn two_majorities_meet() {
        for voters in 1..9 {
            assert!(2 * majority(voters) > voters);
        }
    }

    #[test]
    fn the_nth_largest_is_reached_by_n() {
        let acknowledged = vec![Some(3), None, Some(7)];
        assert_eq!(nth_largest(acknowledged.clone(), 1), Some(7));
        assert_eq!(nth_largest(acknowledged.clone(), 2), Some(3));
        assert_eq!(nth_largest(acknowledged.clone(), 3), None);
        assert_eq!(nth_largest(acknowledged.clone(), 4), None);
        assert_eq!(nth_largest(acknowledged, 0), None);
    }
}
