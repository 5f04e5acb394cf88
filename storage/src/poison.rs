//! The memory of a failed flush: once set it stays, and what it guards refuses every further write.
//!
//! After a failed `fdatasync` Linux marks the dirty pages clean, so that the next call reports success although the
//! bytes never reached the disk. A failure is therefore final until the process restarts (consensus rules, 2.2).

use std::path::Path;
use std::sync::{Arc, OnceLock};

use crate::disk::DiskError;

/// Shared by everyone who writes to, or flushes, one log or journal; clones share the state.
#[derive(Debug, Clone, Default)]
pub struct Poison(Arc<OnceLock<DiskError>>);

impl Poison {
    /// Records the first failure; later ones are ignored, the first is what the operator has to see.
    pub fn set(&self, cause: &DiskError) {
        self.0.get_or_init(|| cause.clone());
    }

    /// The first failure, if there was one.
    #[must_use]
    pub fn cause(&self) -> Option<&DiskError> {
        self.0.get()
    }

    /// Whether a flush has failed.
    #[must_use]
    pub fn is_set(&self) -> bool {
        self.0.get().is_some()
    }

    /// Refuses when a flush of `path` has failed before.
    ///
    /// # Errors
    /// [`DiskError::Poisoned`] with the first failure.
    pub fn check(&self, path: &Path) -> Result<(), DiskError> {
        match self.0.get() {
            None => Ok(()),
            Some(cause) => Err(DiskError::Poisoned { path: path.to_owned(), cause: Box::new(cause.clone()) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_failure_stays() {
        let poison = Poison::default();
        let shared = poison.clone();
        assert!(poison.check(Path::new("a")).is_ok());
        shared.set(&DiskError::Full { path: "first".into() });
        shared.set(&DiskError::Full { path: "second".into() });
        assert!(matches!(poison.cause(), Some(DiskError::Full { path }) if path == Path::new("first")));
        let error = poison.check(Path::new("a")).expect_err("a poisoned log refuses");
        assert!(matches!(error, DiskError::Poisoned { .. }));
        assert!(!error.is_full(), "a poisoned log is not merely full");
    }
}
