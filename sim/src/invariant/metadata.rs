//! An acknowledged creation of a topic survives, and so does a deletion.

use super::violation;
use crate::history::{History, Violation};

/// Checks whether the topic `name` may be there or not.
///
/// # Errors
/// It is gone although it was created, or there although it was deleted.
pub fn check(history: &History, name: &str, exists: bool) -> Result<(), Violation> {
    match history.churned.get(name) {
        Some(topic) if topic.created && !exists => {
            violation("metadata", format!("the topic {name} was created and is gone"))
        }
        Some(topic) if topic.deleted && exists => {
            violation("metadata", format!("the topic {name} was deleted and is there"))
        }
        _ => Ok(()),
    }
}
