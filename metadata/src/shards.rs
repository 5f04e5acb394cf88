//! An ordered set in parts that clones of it share until one of them changes a part.
//!
//! Every change of the metadata makes a new image while readers go on with the old one. With one tree, creating the
//! n-th topic would copy n entries; in parts it copies `n / SHARDS`, and clones the rest by reference.

use std::borrow::Borrow;
use std::collections::BTreeSet;
use std::sync::Arc;

/// Number of parts. Cloning a set costs as many reference counts.
const SHARDS: usize = 64;

/// A set of which every element lives in the part that its hash names. Who asks gives the hash along; it must be the
/// same for equal elements.
#[derive(Debug, Clone)]
pub(crate) struct Shards<T> {
    parts: Vec<Arc<BTreeSet<T>>>,
    len: usize,
}

impl<T: Ord + Clone> Shards<T> {
    /// The empty set.
    pub(crate) fn new() -> Self {
        Self { parts: vec![Arc::default(); SHARDS], len: 0 }
    }

    /// The number of elements.
    pub(crate) const fn len(&self) -> usize {
        self.len
    }

    /// The element equal to `key`.
    pub(crate) fn get<Q: Ord + ?Sized>(&self, hash: u64, key: &Q) -> Option<&T>
    where
        T: Borrow<Q>,
    {
        self.parts.get(part(hash))?.get(key)
    }

    /// Puts an element in place of the one equal to it, or beside the others.
    pub(crate) fn replace(&mut self, hash: u64, element: T) {
        if let Some(shard) = self.parts.get_mut(part(hash)) {
            let replaced = Arc::make_mut(shard).replace(element);
            self.len += usize::from(replaced.is_none());
        }
    }

    /// Takes the element equal to `key` out.
    pub(crate) fn take<Q: Ord + ?Sized>(&mut self, hash: u64, key: &Q) -> Option<T>
    where
        T: Borrow<Q>,
    {
        let shard = self.parts.get_mut(part(hash)).filter(|shard| shard.contains(key))?;
        let taken = Arc::make_mut(shard).take(key);
        self.len -= usize::from(taken.is_some());
        taken
    }

    /// Every element, part by part.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &T> {
        self.parts.iter().flat_map(|shard| shard.iter())
    }
}

/// FNV-1a: the same on every machine and in every release.
pub(crate) fn hash(bytes: impl Iterator<Item = u8>) -> u64 {
    bytes.fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

fn part(hash: u64) -> usize {
    // FNV-1a leaves its middle bits nearly equal for short inputs: a multiplication brings all bits to the top.
    let mixed = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 32;
    usize::try_from(mixed % SHARDS as u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(number: u16) -> u64 {
        hash(number.to_be_bytes().into_iter())
    }

    proptest! {
        #[test]
        fn it_is_a_set(operations in proptest::collection::vec((any::<bool>(), 0..300_u16), 0..400)) {
            let mut shards = Shards::new();
            let mut model = BTreeSet::new();
            let mut kept = Vec::new();
            for (put, number) in operations {
                if put {
                    shards.replace(of(number), number);
                    model.insert(number);
                } else {
                    prop_assert_eq!(shards.take(of(number), &number), model.take(&number));
                }
                prop_assert_eq!(shards.len(), model.len());
                prop_assert_eq!(shards.get(of(number), &number), model.get(&number));
                kept.push((shards.clone(), model.clone()));
            }
            for (shards, model) in kept {
                let elements: BTreeSet<u16> = shards.iter().copied().collect();
                prop_assert_eq!(elements, model, "a clone does not see later changes");
            }
        }
    }

    #[test]
    fn elements_are_spread() {
        let mut shards = Shards::new();
        for number in 0..10_000 {
            shards.replace(of(number), number);
        }
        let largest = shards.parts.iter().map(|part| part.len()).max().unwrap();
        assert!(largest < 2 * 10_000 / SHARDS, "{largest}");
    }
}
