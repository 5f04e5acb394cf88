//! Member ids: the client's name, a dash, and a UUID drawn from a seeded generator.

use std::sync::Arc;

use uuid::Builder;

/// Longest part of a member id that comes from the client, so that the id fits a record whatever the client calls
/// itself.
const MAX_NAME_BYTES: usize = 1_024;

/// The dash and the UUID.
const DRAWN_BYTES: usize = 37;

/// Length of the id that is drawn for `name`, or a few bytes more.
pub(crate) fn drawn_len(name: &str) -> usize {
    name.len().min(MAX_NAME_BYTES) + DRAWN_BYTES
}

/// Draws member ids: `<client id or instance id>-<version 4 UUID>`, as Kafka's coordinator names members.
///
/// The same seed draws the same ids, so a seed must not be used by two starts of a shard: a member of the earlier
/// start would be taken for one of the later.
#[derive(Debug, Default)]
pub(crate) struct MemberIds {
    state: u64,
}

impl MemberIds {
    pub(crate) fn new(seed: u64) -> Self {
        Self { state: seed }
    }

    /// An id that starts with `name`, of which at most [`MAX_NAME_BYTES`] are taken.
    pub(crate) fn draw(&mut self, name: &str) -> Arc<str> {
        let name = &name[..name.floor_char_boundary(MAX_NAME_BYTES)];
        let mut bytes = [0; 16];
        let (high, low) = bytes.split_at_mut(8);
        high.copy_from_slice(&self.next().to_be_bytes());
        low.copy_from_slice(&self.next().to_be_bytes());
        let uuid = Builder::from_random_bytes(bytes).into_uuid();
        format!("{name}-{uuid}").into()
    }

    /// SplitMix64 (Steele, Lea, Flood: Fast splittable pseudorandom number generators, 2014).
    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn ids_are_distinct_and_repeat_with_the_seed() {
        let draw = |seed| {
            let mut ids = MemberIds::new(seed);
            (0..1_000).map(|_| ids.draw("app")).collect::<BTreeSet<_>>()
        };
        assert_eq!(draw(1).len(), 1_000);
        assert_eq!(draw(1), draw(1));
        assert!(draw(1).is_disjoint(&draw(2)));
    }

    #[test]
    fn an_id_is_the_name_and_a_uuid() {
        let id = MemberIds::new(7).draw("my-app");
        assert_eq!(id.len(), drawn_len("my-app"));
        assert_eq!(MemberIds::new(7).draw(&"x".repeat(9_000)).len(), drawn_len(&"x".repeat(9_000)));
        let uuid = id.strip_prefix("my-app-").unwrap();
        assert_eq!(uuid::Uuid::parse_str(uuid).unwrap().get_version_num(), 4);
    }
}
