//! Which partition a record goes to: by its key as Java does, else sticky and by load (KIP-480, KIP-794).

use crate::core::Random;

/// Murmur2 with Java's seed, as Kafka's `Utils.murmur2` computes it.
#[must_use]
pub fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    const SEED: u32 = 0x9747_b28c;
    let mut hash = SEED ^ (data.len() as u32);
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut mixed = word.iter().rev().fold(0u32, |value, byte| (value << 8) | u32::from(*byte)).wrapping_mul(M);
        mixed ^= mixed >> 24;
        hash = hash.wrapping_mul(M) ^ mixed.wrapping_mul(M);
    }
    let rest = words.remainder();
    if !rest.is_empty() {
        hash ^= rest.iter().rev().fold(0u32, |value, byte| (value << 8) | u32::from(*byte));
        hash = hash.wrapping_mul(M);
    }
    hash ^= hash >> 13;
    hash = hash.wrapping_mul(M);
    hash ^ (hash >> 15)
}

/// The partition of `key` among `count`; 0 when there are none.
#[must_use]
pub fn partition_of_key(key: &[u8], count: usize) -> i32 {
    let positive = (murmur2(key) & 0x7fff_ffff) as usize;
    positive.checked_rem(count).and_then(|partition| i32::try_from(partition).ok()).unwrap_or(0)
}

/// The choice for records without a key: one partition until a batch's worth of bytes went there.
#[derive(Debug, Default)]
pub(super) struct Sticky {
    current: Option<i32>,
    bytes: usize,
}

impl Sticky {
    /// The partition to use. `queues` has, per partition that has a leader, the number of batches waiting there: with
    /// `adaptive`, a partition is chosen the more often the shorter its queue is.
    pub(super) fn choose(
        &mut self,
        random: &mut Random,
        batch_size: usize,
        adaptive: bool,
        queues: impl Fn() -> Vec<(i32, usize)>,
    ) -> i32 {
        if let Some(current) = self.current
            && self.bytes < batch_size
        {
            return current;
        }
        let queues = queues();
        let longest = queues.iter().map(|(_, length)| *length).max().unwrap_or(0);
        let weight = |length: usize| if adaptive { longest + 1 - length } else { 1 };
        let total: usize = queues.iter().map(|(_, length)| weight(*length)).sum();
        let mut drawn = random.below(total);
        let mut chosen = queues.first().map_or(0, |(partition, _)| *partition);
        for (partition, length) in &queues {
            chosen = *partition;
            let weight = weight(*length);
            if drawn < weight {
                break;
            }
            drawn -= weight;
        }
        self.current = Some(chosen);
        self.bytes = 0;
        chosen
    }

    /// So many bytes went to the chosen partition.
    pub(super) fn used(&mut self, bytes: usize) {
        self.bytes = self.bytes.saturating_add(bytes);
    }

    /// The chosen partition cannot be used: the next call chooses again.
    pub(super) fn forget(&mut self) {
        self.current = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn murmur2_is_that_of_java() {
        // The pairs of Apache Kafka's UtilsTest.testMurmur2.
        for (text, hash) in [
            ("21", -973_932_308i32),
            ("foobar", -790_332_482),
            ("a-little-bit-long-string", -985_981_536),
            ("a-little-bit-longer-string", -1_486_304_829),
            ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58_897_971),
            ("abc", 479_470_107),
        ] {
            assert_eq!(murmur2(text.as_bytes()) as i32, hash, "{text}");
        }
    }

    #[test]
    fn a_key_always_has_the_same_partition() {
        assert_eq!(partition_of_key(b"foobar", 3), ((-790_332_482i32 & 0x7fff_ffff) % 3));
        assert_eq!(partition_of_key(b"any", 0), 0);
    }

    #[test]
    fn keyless_records_stick_until_a_batch_is_full() {
        let mut random = Random::new(1);
        let mut sticky = Sticky::default();
        let queues = || vec![(0, 0), (1, 0), (2, 0)];
        let first = sticky.choose(&mut random, 100, true, queues);
        sticky.used(99);
        assert_eq!(sticky.choose(&mut random, 100, true, queues), first);
        sticky.used(1);
        let mut counts = [0u32; 3];
        for _ in 0..3000 {
            let chosen = sticky.choose(&mut random, 100, true, queues);
            counts[chosen as usize] += 1;
            sticky.used(100);
        }
        assert!(counts.iter().all(|count| (800..1200).contains(count)), "{counts:?}");
    }

    #[test]
    fn a_long_queue_gets_fewer_records() {
        let mut random = Random::new(1);
        let mut sticky = Sticky::default();
        let mut counts = [0u32; 2];
        for _ in 0..3000 {
            let chosen = sticky.choose(&mut random, 1, true, || vec![(0, 9), (1, 0)]);
            counts[chosen as usize] += 1;
            sticky.used(1);
        }
        assert!(counts[1] > 7 * counts[0], "{counts:?}: expected 10 to 1");
    }
}
