//! A replica that starts again holds what it has acknowledged: all of it where acknowledged means flushed, else all of it unless
//! the power went off or a flush failed.

use crate::ghost::Mirror;

/// The log that was `before` has been opened again.
///
/// # Errors
/// Something is gone that it had acknowledged.
pub fn check(before: &Mirror, now: &Mirror) -> Result<(), String> {
    let owed = before.batches.range(now.start..).filter(|(_, batch)| batch.last < before.acknowledged);
    for (base, batch) in owed {
        let found = now.batches.get(base);
        if found != Some(batch) {
            return Err(format!(
                "{found:?} is at {base} after a start, where {batch:?} was acknowledged, as all below {}",
                before.acknowledged
            ));
        }
    }
    Ok(())
}
