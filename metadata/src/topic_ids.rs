//! Topic identities drawn from a seed.

use millrace_types::TopicId;
use sha2::{Digest as _, Sha256};
use uuid::{Builder, Uuid};

/// A source of topic identities: random to everybody who does not know the seed, and the same for the same seed.
///
/// The host draws a seed of 128 random bits at each start, so that identities never repeat between starts.
#[derive(Debug, Clone)]
pub struct TopicIds {
    seed: u128,
    drawn: u64,
}

impl TopicIds {
    /// The identities of `seed`.
    #[must_use]
    pub const fn new(seed: u128) -> Self {
        Self { seed, drawn: 0 }
    }

    /// The next identity: a version 4 UUID that, written as Kafka writes it (base64url), does not begin with a dash,
    /// which command lines would take for an option.
    pub fn draw(&mut self) -> TopicId {
        loop {
            self.drawn += 1;
            let mut hasher = Sha256::new();
            hasher.update(self.seed.to_be_bytes());
            hasher.update(self.drawn.to_be_bytes());
            let digest: [u8; 32] = hasher.finalize().into();
            let mut bytes = [0; 16];
            bytes.copy_from_slice(&digest[..16]);
            let id: Uuid = Builder::from_random_bytes(bytes).into_uuid();
            if id.as_bytes()[0] >> 2 != BASE64_DASH {
                return TopicId(id);
            }
        }
    }
}

/// Value of the dash in the base64url alphabet.
const BASE64_DASH: u8 = 62;

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn identities_repeat_with_the_seed_alone() {
        let draw = |seed: u128| {
            let mut ids = TopicIds::new(seed);
            (0..1_000).map(|_| ids.draw()).collect::<BTreeSet<_>>()
        };
        assert_eq!(draw(1).len(), 1_000);
        assert_eq!(draw(1), draw(1));
        assert!(draw(1).is_disjoint(&draw(2)));
        assert!(draw(3).iter().all(|id| id.0.as_bytes()[0] >> 2 != 62));
    }
}
