//! Stories: the failure that a rule prevents, step by step. Each tells what was violated.

use millrace_metadata::{Broker, Command};
use millrace_types::DirectoryId;

use crate::plan::Plan;
use crate::world::World;

/// Tells whether everything held.
pub(crate) type Story = fn() -> Result<(), String>;

/// A founded cluster at rest; one second has passed.
fn cluster(brokers: usize) -> World {
    let mut world = World::new(Plan::scripted(brokers));
    world.keeps_trace = true;
    world.run_until(2_000_000);
    assert_eq!(world.violation.as_ref().map(|one| one.text.clone()), None);
    world
}

impl World {
    fn pass(&mut self, micros: u64) {
        self.run_until(self.now + micros);
    }

    fn lose(&mut self, links: &[(usize, usize)]) {
        for (from, to) in links {
            self.cuts.insert((from - 1, to - 1), self.now);
        }
    }

    /// Everything is whole again, and all must agree.
    fn end(mut self) -> Result<(), String> {
        self.end_faults();
        self.pass(5_000_000);
        self.check_end();
        match self.violation {
            Some(violated) => Err(format!("{violated:?}\n{}", self.trace.join("\n"))),
            None => Ok(()),
        }
    }
}

/// Hole 16: the owner of a slot sends its entry without a promise, dies, and comes back: it owns the slot no more.
pub(crate) fn owner_restarts() -> Result<(), String> {
    let mut world = cluster(4);
    world.create(3, "t1");
    world.pass(100_000);
    // Broker 4 owns the slot. Brokers 1 and 2 accept its entry, and broker 3 alone learns it.
    world.create(3, "t2");
    world.pass(1_500);
    world.lose(&[(4, 1), (4, 2), (3, 1), (3, 2)]);
    world.pass(2_000);
    // Nothing of what it is writing reaches its own disk.
    world.hosts[3].writing = None;
    world.crash(3);
    world.pass(20_000);
    world.cuts.clear();
    world.lose(&[(3, 1), (3, 2), (3, 4), (1, 3), (2, 3), (4, 3)]);
    world.start(3);
    world.pass(2_000_000);
    world.end()
}

/// The same, with a disk that is wiped in between: its first process has the number that the owner had.
pub(crate) fn owner_is_wiped() -> Result<(), String> {
    let mut world = cluster(3);
    world.create(2, "t3");
    world.pass(100_000);
    // Broker 3 owns the slot. Its entry is chosen by brokers 1 and 3, and told to nobody.
    world.lose(&[(3, 2)]);
    world.create(2, "t4");
    world.pass(1_500);
    world.lose(&[(3, 1)]);
    world.pass(20_000);
    world.wipe(2);
    world.cuts.clear();
    world.start(2);
    world.pass(2_000_000);
    world.end()
}

/// Hole 18: what a wiped disk has accepted is gone, so the broker that comes back with it decides nothing.
pub(crate) fn acceptor_is_wiped() -> Result<(), String> {
    let mut world = cluster(3);
    // The entry of broker 1 is chosen by brokers 1 and 2, and told to nobody.
    world.create(0, "t5");
    world.pass(100_000);
    world.lose(&[(1, 3), (3, 1)]);
    world.create(0, "t6");
    world.pass(1_500);
    world.lose(&[(1, 2)]);
    world.pass(20_000);
    world.lose(&[(2, 1)]);
    world.wipe(1);
    world.start(1);
    world.pass(200_000);
    world.create(2, "t7");
    world.pass(2_000_000);
    world.end()
}

/// A broker that is heard with the directory that it has registered keeps it: two processes with one id are a mistake.
pub(crate) fn old_directory_lives() -> Result<(), String> {
    let mut world = cluster(3);
    let known = world.history.state(world.history.last()).and_then(|state| state.broker(world.hosts[1].id).cloned());
    let twin = Broker { directory: DirectoryId::from_u128(9), ..known.ok_or("it is not registered")? };
    let ticket = world.history.next_ticket();
    let command = Command::RegisterBroker(twin.clone());
    world.ask(0, ticket, String::new(), command);
    world.pass(1_000_000);
    for epoch in 1..=world.history.last() {
        if world.history.state(epoch).and_then(|state| state.broker(twin.id)) == Some(&twin) {
            return Err(format!("epoch {epoch} has taken the place of a living broker's directory"));
        }
    }
    world.end()
}
