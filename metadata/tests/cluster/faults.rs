//! What goes wrong, what is asked meanwhile, and what must hold when it is over.

use millrace_metadata::{
    Acceptor, Command, ConfigOperation, ConfigResource, CreateTopics, DeleteTopics, NewTopic, ResourceChange,
    SetConfigs, TopicRef,
};

use millrace_metadata::log::Event;
use millrace_types::DirectoryId;

use crate::world::World;

const NAMES: [&str; 3] = ["a", "b", "c"];

impl World {
    /// A client asks some broker for something.
    pub(crate) fn command(&mut self) {
        let host = self.dice.below(self.hosts.len());
        if self.hosts[host].log.is_some() {
            self.commit(host);
        }
    }

    pub(crate) fn commit(&mut self, host: usize) {
        let ticket = self.history.next_ticket();
        let name = self.dice.pick(&NAMES).to_owned();
        let mark = vec![("retention.ms".to_owned(), Some(ticket.to_string()))];
        let command = if self.dice.chance(self.plan.acceptors) {
            self.set_acceptors()
        } else {
            match self.dice.below(10) {
                0..5 => create(&name, ticket),
                5..8 => Command::DeleteTopics(DeleteTopics { topics: vec![TopicRef::Name(name.clone())] }),
                _ => {
                    let resource = ConfigResource::Topic(name.clone());
                    let change = ResourceChange { resource, operation: ConfigOperation::Replace(mark) };
                    Command::SetConfigs(SetConfigs { resources: vec![change], validate_only: false })
                }
            }
        };
        self.ask(host, ticket, name, command);
    }

    /// A client creates a topic.
    pub(crate) fn create(&mut self, host: usize, name: &str) {
        let ticket = self.history.next_ticket();
        self.ask(host, ticket, name.to_owned(), create(name, ticket));
    }

    pub(crate) fn ask(&mut self, host: usize, ticket: u64, name: String, command: Command) {
        self.say(|| format!("{} is asked {ticket}: {command:?}", host + 1));
        self.history.asked(self.now, ticket, host, name, command.clone());
        self.step(host, Event::Commit { ticket, command });
    }

    /// Any set of brokers as they are now.
    fn set_acceptors(&mut self) -> Command {
        let wanted = self.dice.pick(&[1, 3, 3, 3, 5]).min(self.hosts.len());
        let mut chosen: Vec<usize> = (0..self.hosts.len()).collect();
        while chosen.len() > wanted {
            let out = self.dice.below(chosen.len());
            chosen.remove(out);
        }
        let acceptor = |host: usize| Acceptor {
            broker: self.hosts[host].id,
            directory: DirectoryId::from_u128(self.hosts[host].directory),
        };
        Command::SetAcceptors { acceptors: chosen.into_iter().map(acceptor).collect() }
    }

    pub(crate) fn fault(&mut self) {
        let host = self.dice.below(self.hosts.len());
        if self.dice.chance(self.plan.cuts) {
            self.cut(host);
        }
        if self.dice.chance(self.plan.crashes) {
            self.crash(host);
        }
        if self.dice.chance(self.plan.wipes) && self.may_wipe(host) {
            self.wipe(host);
        }
    }

    /// Cuts one link in one direction, or a broker from some others.
    fn cut(&mut self, host: usize) {
        let both = self.dice.chance(500);
        for other in 0..self.hosts.len() {
            if other == host || !self.dice.chance(500) {
                continue;
            }
            let heal = self.dice.between(1_000, 600_000);
            let links = if both { vec![(host, other), (other, host)] } else { vec![(host, other)] };
            for link in links {
                self.cuts.entry(link).or_insert(self.now);
                self.heal_later(link, heal);
            }
            self.say(|| format!("cut {} -> {}, both ways: {both}", host + 1, other + 1));
        }
    }

    pub(crate) fn crash(&mut self, host: usize) {
        if self.hosts[host].log.is_none() {
            return;
        }
        let mut dice = self.dice.clone();
        self.hosts[host].crash(&mut dice);
        self.dice = dice;
        self.say(|| format!("{} crashes", host + 1));
        let after = self.dice.between(1_000, 300_000);
        self.start_later(host, after);
    }

    /// One disk may go as long as the others hold all that was decided: before the cluster is founded at most one, then
    /// no acceptor's before the last one has been replaced.
    fn may_wipe(&self, host: usize) -> bool {
        let epoch = self.history.last();
        if self.hosts.iter().any(|one| one.log.is_none()) {
            return false;
        }
        if epoch == 0 {
            return self.wipes == 0 && host < 3;
        }
        let state = self.history.state(epoch).expect("it was applied");
        let current = |acceptor: &Acceptor| self.hosts.iter().any(|one| one.process().acceptor() == *acceptor);
        let caught_up = self.hosts.iter().all(|one| one.log.as_ref().is_some_and(|log| log.image().epoch() == epoch));
        state.acceptors().len() >= 3 && state.acceptors().iter().all(current) && caught_up
    }

    pub(crate) fn wipe(&mut self, host: usize) {
        self.crash(host);
        self.hosts[host].wipe();
        self.wipes += 1;
        self.seen.insert("wiped");
        self.say(|| format!("the disk of {} is wiped", host + 1));
    }

    /// Everything works from here on.
    pub(crate) fn end_faults(&mut self) {
        self.say(|| "faults end".to_owned());
        self.cuts.clear();
        for host in 0..self.hosts.len() {
            self.start(host);
        }
    }

    /// Eight clients ask at once, all over the cluster.
    pub(crate) fn contend(&mut self) {
        self.history.begin_rest(self.now);
        for client in 0..8 {
            if self.violation.is_none() {
                self.commit(client % self.hosts.len());
            }
        }
    }

    /// L2: each commit is decided within two seconds.
    pub(crate) fn check_answered(&mut self) {
        if let Some(late) = self.history.late() {
            self.violate("L2", late);
        }
    }

    pub(crate) fn check_end(&mut self) {
        if self.violation.is_some() {
            return;
        }
        let heads: Vec<(u64, String)> = self
            .hosts
            .iter()
            .filter_map(|host| host.log.as_ref())
            .map(|log| (log.image().epoch(), log.image().hash().to_string()))
            .collect();
        if heads.iter().any(|head| *head != heads[0]) {
            self.violate("L3", format!("the brokers are at {heads:?}"));
        }
        if let Err(violated) = self.history.check() {
            self.violate(violated.invariant, violated.text);
        }
    }
}

/// Creates a topic that carries the number of the command, so that it is known what a command did.
fn create(name: &str, ticket: u64) -> Command {
    let configs = vec![("retention.ms".to_owned(), Some(ticket.to_string()))];
    let topic = NewTopic { partitions: 1, replication_factor: 1, configs, ..NewTopic::with_defaults(name) };
    Command::CreateTopics(CreateTopics { topics: vec![topic], validate_only: false })
}
