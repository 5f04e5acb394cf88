//! The event queue: what happens next, in virtual time.
//!
//! Events of one moment are ordered by a number drawn from the seed, so that no order of arrival is taken for granted
//! that the real hosts do not promise. What must keep its order gets distinct moments.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use crate::dice::Dice;

/// A moment in microseconds of virtual time.
pub type Micros = u64;

/// Events in the order of (moment, drawn number, arrival).
#[derive(Debug)]
pub struct Queue<E> {
    heap: BinaryHeap<Entry<E>>,
    arrivals: u64,
    dice: Dice,
}

#[derive(Debug)]
struct Entry<E> {
    at: Micros,
    tie: u64,
    arrival: u64,
    event: E,
}

impl<E> Entry<E> {
    const fn key(&self) -> (Micros, u64, u64) {
        (self.at, self.tie, self.arrival)
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.key() == other.key()
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    /// Reversed: the heap gives the greatest, the queue wants the earliest.
    fn cmp(&self, other: &Self) -> Ordering {
        other.key().cmp(&self.key())
    }
}

impl<E> Queue<E> {
    /// A queue without events that breaks ties by `dice`.
    #[must_use]
    pub fn new(dice: Dice) -> Self {
        Self { heap: BinaryHeap::new(), arrivals: 0, dice }
    }

    /// Lets `event` happen at `at`.
    pub fn push(&mut self, at: Micros, event: E) {
        self.arrivals += 1;
        let tie = self.dice.number();
        self.heap.push(Entry { at, tie, arrival: self.arrivals, event });
    }

    /// The next event and its moment.
    pub fn pop(&mut self) -> Option<(Micros, E)> {
        self.heap.pop().map(|entry| (entry.at, entry.event))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(seed: u64) -> Vec<(Micros, u32)> {
        let mut queue = Queue::new(Dice::new(seed));
        for number in 0..20 {
            queue.push(u64::from(number % 2), number);
        }
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn time_comes_first_and_the_seed_breaks_ties() {
        assert!(order(1).is_sorted_by_key(|(at, _)| *at));
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
    }
}
