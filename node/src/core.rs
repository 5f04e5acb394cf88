//! What a core is, and what its host owes it.
//!
//! A core is a deterministic state machine: it owns its state, has no clock, thread, socket, file handle or random
//! source, and answers one call. The actix actors of the broker and the simulator are its two hosts.
//!
//! # The host's duties, in order
//!
//! After each [`Core::step`] the host carries out the effects **in the order they were pushed**:
//!
//! 1. *Persist.* `Put` records go to the write-ahead store and `Flush` work to the storage threads; both complete
//!    later, as events. A core never pushes an effect that promises what is not yet durable: it keeps the answer until
//!    the completion comes back.
//! 2. *Answer and call.* `Answer`, `Call` and `Send` leave in the order pushed; two calls to one callee arrive in that
//!    order.
//! 3. *Timer.* The latest `Timer` replaces the earlier one. A core tolerates a timer that fires early or twice.
//!
//! An effect that cannot be carried out (a full queue, a callee that is gone) comes back as the event that reports its
//! failure; it is never dropped silently.

use millrace_types::Now;

/// A deterministic state machine, hosted by an actor or by the simulator.
pub trait Core {
    /// Everything that can happen to the core.
    type Event;
    /// Everything the core can ask its host for.
    type Effect;

    /// Takes one event at the time `now` and pushes what shall follow onto `out`.
    fn step(&mut self, now: Now, event: Self::Event, out: &mut Vec<Self::Effect>);
}
