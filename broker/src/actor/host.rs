//! The actix actor that hosts a core: mailbox, step, effects, in the order the core's contract asks for.
//!
//! One turn takes what waits in the actor's [`Mail`], up to a budget, steps the core once for each event, carries the
//! effects out in the order they were pushed, and then lets everything that was batched leave at once: responses to the
//! socket, parcels to other arbiters.

use std::rc::Rc;

use actix::{Actor, ActorContext, Context, Handler};
use millrace_node::Core;

use super::arbiter::Local;
use super::mail::{Mail, Wake};
use super::timers::Fire;

/// Events of one turn. An actor that has more yields, so that timers and sockets of its arbiter get their share.
const EVENTS_PER_TURN: usize = 128;

/// Whether an actor goes on after a turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum After {
    /// It waits for its next event.
    Wait,
    /// There is more to do, after others had their turn.
    Again,
    /// It ends.
    Stop,
}

/// What the effects of a core mean: the part of a host that differs from core to core.
pub(crate) trait Ports<C: Core>: 'static {
    /// The next event that comes from elsewhere than the mail, asked for when the mail is empty.
    fn pull(&mut self, _core: &C) -> Option<C::Event> {
        None
    }

    /// The core is about to take `event`.
    fn took(&mut self, _event: &C::Event) {}

    /// The event that ends a turn, whatever else waits.
    fn last(&mut self) -> Option<C::Event> {
        None
    }

    /// Carries out one effect. What cannot be carried out goes back to the core through `mail` as the event that says
    /// so.
    fn carry_out(&mut self, effect: C::Effect, mail: &Rc<Mail<C::Event>>);

    /// The events at hand are handled: what was batched leaves.
    fn end_turn(&mut self, core: &C) -> After;

    /// An event that the actor, which has ended, will not take: a call is answered that it went nowhere.
    fn discard(&mut self, _event: C::Event) {}
}

/// The actor of one core.
pub(crate) struct Host<C: Core, P> {
    core: C,
    ports: P,
    mail: Rc<Mail<C::Event>>,
    local: Rc<Local>,
    effects: Vec<C::Effect>,
}

impl<C, P> Host<C, P>
where
    C: Core + Unpin + 'static,
    C::Event: 'static,
    C::Effect: Unpin + 'static,
    P: Ports<C> + Unpin,
{
    /// Starts the actor on the arbiter of the calling thread.
    pub(crate) fn start(core: C, ports: P, mail: Rc<Mail<C::Event>>, local: Rc<Local>) {
        let bound = Rc::clone(&mail);
        let address = Self { core, ports, mail, local, effects: Vec::new() }.start();
        bound.bind(address.recipient());
    }

    fn turn(&mut self) -> After {
        let now = self.local.shared.clock.now();
        let mut budget = EVENTS_PER_TURN;
        while budget > 0 {
            let Some(event) = self.mail.pop().or_else(|| self.ports.pull(&self.core)) else { break };
            self.ports.took(&event);
            self.core.step(now, event, &mut self.effects);
            for effect in self.effects.drain(..) {
                self.ports.carry_out(effect, &self.mail);
            }
            budget -= 1;
        }
        if let Some(event) = self.ports.last() {
            self.core.step(now, event, &mut self.effects);
            for effect in self.effects.drain(..) {
                self.ports.carry_out(effect, &self.mail);
            }
        }
        let mut after = self.ports.end_turn(&self.core);
        if after == After::Stop {
            while let Some(event) = self.mail.pop() {
                self.ports.discard(event);
            }
        } else if budget == 0 || self.mail.len() > 0 {
            after = After::Again;
        }
        self.local.send_outbox();
        after
    }
}

impl<C, P> Actor for Host<C, P>
where
    C: Core + Unpin + 'static,
    C::Event: 'static,
    C::Effect: Unpin + 'static,
    P: Ports<C> + Unpin,
{
    type Context = Context<Self>;
}

impl<C, P> Handler<Wake> for Host<C, P>
where
    C: Core + Unpin + 'static,
    C::Event: 'static,
    C::Effect: Unpin + 'static,
    P: Ports<C> + Unpin,
{
    type Result = ();

    fn handle(&mut self, _: Wake, context: &mut Self::Context) {
        self.mail.woken();
        match self.turn() {
            After::Wait => self.mail.shrink(),
            After::Again => {
                // A wake-up sent from here would be handled before anything else of the arbiter gets its turn.
                let mail = Rc::clone(&self.mail);
                actix_rt::spawn(async move {
                    tokio::task::yield_now().await;
                    mail.schedule();
                });
            }
            After::Stop => {
                self.local.timers.forget(self.mail.slot());
                context.stop();
            }
        }
    }
}
