//! The event queue: what happens next, in virtual time.
//!
//! Events of one moment are ordered by a number drawn from the seed, so that no order of arrival is taken for granted
//! that the real hosts do not promise. What must keep its order gets distinct moments.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::dice::Dice;

/// A moment in microseconds of virtual time.
pub type Micros = u64;

/// Events in the order of (moment, drawn number, arrival).
#[derive(Debug)]
pub struct Queue<E> {
    /// Moment, drawn number, arrival, and the place of the event: events are large, and the heap moves what it holds.
    heap: BinaryHeap<Reverse<(Micros, u64, u64, usize)>>,
    events: Vec<Option<E>>,
    /// Places that are free.
    free: Vec<usize>,
    arrivals: u64,
    dice: Dice,
}

impl<E> Queue<E> {
    /// A queue without events that breaks ties by `dice`.
    #[must_use]
    pub fn new(dice: Dice) -> Self {
        Self { heap: BinaryHeap::new(), events: Vec::new(), free: Vec::new(), arrivals: 0, dice }
    }

    /// Lets `event` happen at `at`.
    pub fn push(&mut self, at: Micros, event: E) {
        self.arrivals += 1;
        let tie = self.dice.number();
        let place = self.free.pop().unwrap_or_else(|| {
            self.events.push(None);
            self.events.len() - 1
        });
        self.events[place] = Some(event);
        self.heap.push(Reverse((at, tie, self.arrivals, place)));
    }

    /// The next event and its moment.
    pub fn pop(&mut self) -> Option<(Micros, E)> {
        let Reverse((at, _, _, place)) = self.heap.pop()?;
        self.free.push(place);
        Some((at, self.events.get_mut(place)?.take()?))
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
