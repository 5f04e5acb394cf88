//! The clients and their turns.

use millrace_client::core::NetOutput;
use millrace_types::Instant;

use super::{Phase, World};
use crate::broker::Happening;
use crate::queue::Micros;
use crate::workload::{Admin, Client, CommittedOffsets, Consumer, Context, GROUP, Member, Probe, Producer};

/// Rounds of one turn: a client that does not come to rest is called again soon.
const ROUNDS: usize = 1_000;

/// When a client that wants something looks again whether it can be done.
const LOOK_AGAIN: std::time::Duration = std::time::Duration::from_millis(5);

/// A client and when it wakes up.
pub(super) struct Seat {
    pub(super) client: Option<Box<dyn Client>>,
    wake: Micros,
}

impl World {
    fn seat(&mut self, client: Box<dyn Client>) {
        let seat = self.seats.len();
        self.seats.push(Seat { client: Some(client), wake: Micros::MAX });
        let first = self.dice.below(1_000);
        self.wake_at(seat, self.micros() + first);
    }

    fn wake_at(&mut self, seat: usize, at: Micros) {
        if let Some(known) = self.seats.get_mut(seat) {
            known.wake = at;
            self.queue.push(at, Happening::Client(seat));
        }
    }

    pub(super) fn seat_admin(&mut self) {
        let admin = Admin::new(&self.options, self.dice.split());
        self.seat(Box::new(admin));
    }

    /// Seats the clients that work while the faults last.
    pub(super) fn seat_workers(&mut self) {
        let topics = self.options.topics.clone();
        let [idempotent, plain, consumers, members] = self.options.clients;
        for topic in &topics {
            for number in 0..idempotent + plain {
                let name = format!("producer-{}-{number}", topic.name);
                let dice = self.dice.split();
                let producer = Producer::new(&name, topic, number < idempotent, &self.options, dice);
                self.seat_made(producer);
            }
            for number in 0..consumers {
                let name = format!("consumer-{}-{number}", topic.name);
                let dice = self.dice.split();
                let consumer = Consumer::new(self.now, &name, topic, number == 0, &self.options, dice);
                self.seat_made(consumer);
            }
        }
        for _ in 0..members {
            let dice = self.dice.split();
            if let Some(topic) = topics.first() {
                let member = Member::new(self.now, GROUP, topic, &self.options, dice);
                self.seat_made(member);
            }
        }
        if let Some(topic) = topics.first().filter(|_| members > 0) {
            let dice = self.dice.split();
            self.seat_made(CommittedOffsets::watching(GROUP, topic, &self.options, dice));
        }
        let dice = self.dice.split();
        self.seat_made(Probe::new(&self.options, dice));
    }

    /// Seats the clients that look at the outcome.
    pub(super) fn seat_readers(&mut self) {
        for topic in self.options.topics.clone() {
            let dice = self.dice.split();
            self.seat_made(Consumer::new(self.now, "reader", &topic, true, &self.options, dice));
        }
        if let Some(topic) = self.options.topics.first().cloned().filter(|_| self.options.clients[3] > 0) {
            let dice = self.dice.split();
            self.seat_made(CommittedOffsets::new(GROUP, &topic, &self.options, dice));
        }
    }

    fn seat_made<C: Client + 'static, E: std::fmt::Display>(&mut self, made: Result<C, E>) {
        match made {
            Ok(client) => self.seat(Box::new(client)),
            Err(error) => self.history.violated("simulator", format!("a client cannot be made: {error}")),
        }
    }

    pub(super) fn client_wakes(&mut self, seat: usize) {
        if self.seats.get(seat).is_some_and(|known| known.wake == self.micros()) {
            self.trace.line(self.micros(), format_args!("client {seat} wakes"));
            self.with_client(seat, |_| {});
        }
    }

    /// Tells a client something, then lets it work until it waits.
    pub(super) fn with_client(&mut self, seat: usize, tell: impl FnOnce(&mut dyn Client)) {
        let Some(mut client) = self.seats.get_mut(seat).and_then(|known| known.client.take()) else { return };
        tell(client.as_mut());
        for _ in 0..ROUNDS {
            client.wire().advance(self.now);
            let mut cx = Context {
                now: self.now,
                history: &mut self.history,
                options: &self.options,
                calm: matches!(self.phase, Phase::Healing | Phase::Asking),
                coordinated: self.hears.and_then(|at| self.brokers.get(at)).map_or(&[], |machine| &machine.coordinated),
            };
            let mut busy = client.work(&mut cx);
            if client.take_remade() {
                self.hang_up_all(seat);
            }
            while let Some(output) = client.wire().output() {
                busy = true;
                match output {
                    NetOutput::Open { connection, host, .. } => self.connect(seat, connection, &host),
                    NetOutput::Write { connection, frame } => self.write(seat, connection, &frame),
                    NetOutput::Close { connection } => self.hang_up(seat, connection),
                }
            }
            if !busy {
                break;
            }
        }
        let deadline = client.wire().deadline(self.now);
        // A client that cannot do yet what it wants to looks again soon, or when it hears something.
        let soon = self.now.instant.after(LOOK_AGAIN);
        let wake = match client.wake() {
            wake if wake <= self.now.instant => soon,
            wake => wake,
        };
        let wake = wake.min(deadline);
        if let Some(known) = self.seats.get_mut(seat) {
            known.client = Some(client);
        }
        if wake != Instant::NEVER {
            let at = wake.as_micros().max(self.micros() + 1);
            if self.seats.get(seat).is_some_and(|known| known.wake != at) {
                self.wake_at(seat, at);
            }
        }
    }
}
