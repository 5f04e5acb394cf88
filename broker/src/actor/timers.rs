//! The timers of one arbiter: one queue for all its actors, and one task that sleeps until the first is due.
//!
//! An actor has one timer. Moving it to a later moment costs nothing: it fires early inside, sees that it was moved and
//! goes back into the queue. Deadlines of requests move all the time, and always to later moments.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use millrace_types::Instant;
use tokio::sync::Notify;

use crate::clock::Clock;

/// Something with a timer.
pub(crate) trait Fire {
    /// Its timer.
    fn slot(&self) -> &TimerSlot;
    /// The moment has come; `at` is the present.
    fn fire(&self, at: Instant);
}

/// One timer.
#[derive(Debug)]
pub(crate) struct TimerSlot {
    key: u64,
    /// When it is in the queue for; [`Instant::NEVER`] when it is not in the queue. Invariant: `queued <= wanted`.
    queued: Cell<Instant>,
    /// When it shall fire.
    wanted: Cell<Instant>,
}

/// The timers of one arbiter; one entry per actor at most.
pub(crate) struct Timers {
    queue: RefCell<BTreeMap<(Instant, u64), Rc<dyn Fire>>>,
    last_key: Cell<u64>,
    earlier: Notify,
}

impl Timers {
    /// No timer.
    pub(crate) fn new() -> Self {
        Self { queue: RefCell::default(), last_key: Cell::new(0), earlier: Notify::new() }
    }

    /// A timer that is not set.
    pub(crate) fn slot(&self) -> TimerSlot {
        self.last_key.set(self.last_key.get() + 1);
        TimerSlot { key: self.last_key.get(), queued: Cell::new(Instant::NEVER), wanted: Cell::new(Instant::NEVER) }
    }

    /// Sets the timer of `target` to `at`, in place of the moment set before; [`Instant::NEVER`] takes it back.
    pub(crate) fn set(&self, target: &Rc<dyn Fire>, at: Instant) {
        let slot = target.slot();
        slot.wanted.set(at);
        if at >= slot.queued.get() {
            return;
        }
        let mut queue = self.queue.borrow_mut();
        queue.remove(&(slot.queued.get(), slot.key));
        slot.queued.set(at);
        queue.insert((at, slot.key), Rc::clone(target));
        if queue.first_key_value().is_some_and(|(first, _)| *first == (at, slot.key)) {
            self.earlier.notify_one();
        }
    }

    /// Forgets the timer of an actor that ends.
    pub(crate) fn forget(&self, slot: &TimerSlot) {
        slot.wanted.set(Instant::NEVER);
        self.queue.borrow_mut().remove(&(slot.queued.replace(Instant::NEVER), slot.key));
    }

    /// Fires what is due at `now` and says when the next is.
    pub(crate) fn fire_due(&self, now: Instant) -> Instant {
        loop {
            let due = {
                let mut queue = self.queue.borrow_mut();
                let Some(first) = queue.first_entry() else { return Instant::NEVER };
                if first.key().0 > now {
                    return first.key().0;
                }
                first.remove()
            };
            let slot = due.slot();
            slot.queued.set(Instant::NEVER);
            let wanted = slot.wanted.get();
            if wanted > now {
                self.set(&due, wanted);
            } else {
                slot.wanted.set(Instant::NEVER);
                due.fire(now);
            }
        }
    }

    /// Number of timers that are set.
    pub(crate) fn len(&self) -> usize {
        self.queue.borrow().len()
    }

    /// Fires the timers as they come; never returns.
    pub(crate) async fn run(&self, clock: Clock) {
        loop {
            let next = self.fire_due(clock.instant());
            match clock.deadline(next) {
                Some(at) if next != Instant::NEVER => tokio::select! {
                    () = tokio::time::sleep_until(at.into()) => {}
                    () = self.earlier.notified() => {}
                },
                _ => self.earlier.notified().await,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Probe {
        slot: TimerSlot,
        fired: RefCell<Vec<Instant>>,
    }

    impl Fire for Probe {
        fn slot(&self) -> &TimerSlot {
            &self.slot
        }

        fn fire(&self, at: Instant) {
            self.fired.borrow_mut().push(at);
        }
    }

    fn probe(timers: &Timers) -> (Rc<Probe>, Rc<dyn Fire>) {
        let probe = Rc::new(Probe { slot: timers.slot(), fired: RefCell::default() });
        (Rc::clone(&probe), probe)
    }

    const fn at(micros: u64) -> Instant {
        Instant::from_micros(micros)
    }

    #[test]
    fn the_latest_moment_counts_whether_it_is_earlier_or_later() {
        let timers = Timers::new();
        let (probe, target) = probe(&timers);
        timers.set(&target, at(10));
        timers.set(&target, at(30));
        assert_eq!(timers.fire_due(at(20)), at(30), "moved to later: not due at 20");
        timers.set(&target, at(25));
        assert_eq!(timers.fire_due(at(26)), Instant::NEVER);
        assert_eq!(*probe.fired.borrow(), [at(26)], "fired once");
        assert_eq!(timers.len(), 0);
    }

    #[test]
    fn a_timer_taken_back_or_forgotten_does_not_fire() {
        let timers = Timers::new();
        let (first, target) = probe(&timers);
        timers.set(&target, at(10));
        timers.set(&target, Instant::NEVER);
        let (second, other) = probe(&timers);
        timers.set(&other, at(10));
        timers.forget(other.slot());
        assert_eq!(timers.fire_due(at(50)), Instant::NEVER);
        assert!(first.fired.borrow().is_empty() && second.fired.borrow().is_empty());
        assert_eq!(timers.len(), 0, "nothing keeps an actor alive that has ended");
    }

    #[test]
    fn timers_of_one_moment_all_fire_in_the_order_of_their_making() {
        let timers = Timers::new();
        let probes: Vec<_> = (0..3).map(|_| probe(&timers)).collect();
        for (_, target) in &probes {
            timers.set(target, at(7));
        }
        assert_eq!(timers.fire_due(at(7)), Instant::NEVER);
        assert!(probes.iter().all(|(probe, _)| probe.fired.borrow().len() == 1));
    }
}
