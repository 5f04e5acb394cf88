//! What waits for one actor: its events, in order, and the one wake-up that is on its way.
//!
//! The mailbox that actix gives an actor carries nothing but [`Wake`]. Its bound does not fit what cores promise each
//! other: every clone of an address adds a slot, and a completion of the storage threads must never be refused. Here a
//! call is refused above a bound ([`Mail::offer`]), while what the actor itself asked for ([`Mail::push`]) is always
//! taken: there is at most one completion for each piece of work the core has under way and one answer for each call
//! it made, so that what it holds back bounds the queue.

use std::cell::{Cell, OnceCell, RefCell};
use std::collections::VecDeque;

use actix::{Message, Recipient};
use millrace_types::Instant;

use super::timers::{Fire, TimerSlot};

/// Tells an actor that its [`Mail`] is not empty. At most one is on its way to an actor.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Wake;

/// Capacity that an empty queue keeps; a burst of calls shall not stay with each of ten thousand partitions.
const KEPT_CAPACITY: usize = 64;

/// The events that wait for one actor. It stays on the arbiter of its actor.
pub(crate) struct Mail<E> {
    queue: RefCell<VecDeque<E>>,
    scheduled: Cell<bool>,
    actor: OnceCell<Recipient<Wake>>,
    timer: TimerSlot,
    timer_event: fn() -> E,
}

impl<E> Mail<E> {
    /// An empty queue; `timer_event` makes the event that says that the actor's timer has fired.
    pub(crate) fn new(timer: TimerSlot, timer_event: fn() -> E) -> Self {
        let queue = RefCell::new(VecDeque::new());
        Self { queue, scheduled: Cell::new(false), actor: OnceCell::new(), timer, timer_event }
    }

    /// Names the actor. What was pushed before wakes it.
    pub(crate) fn bind(&self, actor: Recipient<Wake>) {
        let bound_before = self.actor.set(actor).is_err();
        debug_assert!(!bound_before, "a queue has one actor");
        if !self.queue.borrow().is_empty() {
            self.schedule();
        }
    }

    /// Takes what the actor's own core has under way: a completion, an answer, an order.
    pub(crate) fn push(&self, event: E) {
        self.queue.borrow_mut().push_back(event);
        self.schedule();
    }

    /// Takes a call, or gives it back when `bound` events wait already.
    pub(crate) fn offer(&self, event: E, bound: usize) -> Result<(), E> {
        if self.queue.borrow().len() >= bound {
            return Err(event);
        }
        self.push(event);
        Ok(())
    }

    /// The next event.
    pub(crate) fn pop(&self) -> Option<E> {
        self.queue.borrow_mut().pop_front()
    }

    /// Number of events that wait.
    pub(crate) fn len(&self) -> usize {
        self.queue.borrow().len()
    }

    /// The actor has seen its wake-up.
    pub(crate) fn woken(&self) {
        self.scheduled.set(false);
    }

    /// Gives back the memory of a burst.
    pub(crate) fn shrink(&self) {
        let mut queue = self.queue.borrow_mut();
        if queue.is_empty() && queue.capacity() > KEPT_CAPACITY {
            queue.shrink_to(KEPT_CAPACITY);
        }
    }

    /// Wakes the actor unless a wake-up is on its way.
    pub(crate) fn schedule(&self) {
        let Some(actor) = self.actor.get() else { return };
        if !self.scheduled.replace(true) && actor.try_send(Wake).is_err() {
            // The mailbox cannot be full, since it holds at most this one message: the actor is gone.
            self.scheduled.set(false);
            self.queue.borrow_mut().clear();
        }
    }
}

impl<E> Fire for Mail<E> {
    fn slot(&self) -> &TimerSlot {
        &self.timer
    }

    fn fire(&self, _at: Instant) {
        self.push((self.timer_event)());
    }
}
