//! The one place that asks the machine for randomness.

use uuid::Uuid;

/// 122 random bits as an identifier (UUID version 4).
#[must_use]
pub(crate) fn uuid() -> Uuid {
    Uuid::new_v4()
}

/// 64 bits for seeds and nonces, of which 60 or more are random.
#[must_use]
pub(crate) fn seed() -> u64 {
    let (high, low) = uuid().as_u64_pair();
    // The fixed bits of a version 4 UUID lie in different places of its halves, so that each bit keeps a random part.
    high ^ low.rotate_left(32)
}

#[cfg(test)]
mod tests {
    #[test]
    fn seeds_differ() {
        assert_ne!(super::seed(), super::seed());
    }
}
