//! The process's bound on open files.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises the soft bound on open files to the hard one: the soft default of 1,024 is for programs that use `select`.
pub(crate) fn raise_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current == limit.maximum {
        return;
    }
    match setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit }) {
        Ok(()) => tracing::debug!(from = ?limit.current, to = ?limit.maximum, "the bound on open files is raised"),
        Err(error) => tracing::warn!(%error, bound = ?limit.current, "the bound on open files stays as it was"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_soft_bound_becomes_the_hard_one() {
        let before = getrlimit(Resource::Nofile);
        let low = before.current.map(|current| current / 2);
        setrlimit(Resource::Nofile, Rlimit { current: low, ..before }).unwrap();
        raise_limit();
        assert_eq!(getrlimit(Resource::Nofile).current, before.maximum);
    }
}
