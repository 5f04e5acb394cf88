//! The actor of a witness: its core between the write-ahead store and the other brokers.
//!
//! It stands among the replicas of its arbiter, for it takes the same events; it has no log, and nothing to publish.

use std::rc::Rc;

use millrace_node::Answer;
use millrace_node::metadata_store::Part;
use millrace_node::peers::PeersEvent;
use millrace_node::replica::{ForceRefusal, Promises, ReplicaEffect, ReplicaEvent};
use millrace_node::witness::Witness;
use millrace_raft::{Configuration, Voter};
use millrace_types::{ErrorCode, TopicPartition};

use super::arbiter::Local;
use super::host::{After, Host, Ports};
use super::mail::Mail;
use super::partition;
use super::timers::Fire;

/// A witness to start.
#[derive(Debug)]
pub(crate) struct NewWitness {
    /// The partition.
    pub(crate) partition: TopicPartition,
    /// What the write-ahead store knows that the witness has promised.
    pub(crate) promises: Promises,
    /// Who votes at first.
    pub(crate) voters: Vec<Voter>,
}

/// Starts a witness on the calling thread's arbiter. A broker that is started without the others of its cluster hosts none:
/// nobody would ask it.
pub(super) fn start(local: &Rc<Local>, witness: NewWitness) {
    let NewWitness { partition, promises, voters } = witness;
    if local.shared.members.is_none() {
        return tracing::error!(%partition, "a witness needs other brokers, and `cluster.file` names none");
    }
    if local.connections.is_stopping() {
        return;
    }
    if local.replicas.borrow().contains_key(&partition) {
        return tracing::error!(%partition, "the witness runs already");
    }
    let first = Configuration::first(voters);
    let session_timeout = local.shared.node.settings.peer_session_timeout;
    let core = Witness::new(partition, local.shared.me(), &promises, first, session_timeout);
    let mail = Rc::new(Mail::new(local.timers.slot(), || ReplicaEvent::Timer));
    local.replicas.borrow_mut().insert(partition, Rc::clone(&mail));
    local.shared.meters.witnesses.increment(1);
    local.tell_peers(PeersEvent::Hosted(partition));
    mail.push(ReplicaEvent::Start);
    partition::retire_unless(local, partition, Part::Witness, &mail);
    let ports = WitnessPorts { partition, local: Rc::clone(local), stopped: false };
    Host::start(core, ports, mail, Rc::clone(local));
}

/// The effects of a witness.
struct WitnessPorts {
    partition: TopicPartition,
    local: Rc<Local>,
    stopped: bool,
}

impl Ports<Witness> for WitnessPorts {
    fn carry_out(&mut self, effect: ReplicaEffect, mail: &Rc<Mail<ReplicaEvent>>) {
        let (local, partition) = (&self.local, self.partition);
        match effect {
            ReplicaEffect::Put { token, records } => local.storage.put(partition, token, records),
            ReplicaEffect::Answer { to, answer } => local.answer(to, Answer::Partition(answer)),
            ReplicaEffect::Send { to, message, records, catch_up } => {
                local.send(partition, to, message, records, catch_up);
            }
            ReplicaEffect::Timer(at) => {
                let timer: Rc<dyn Fire> = Rc::<Mail<ReplicaEvent>>::clone(mail);
                local.timers.set(&timer, at);
            }
            ReplicaEffect::Forced { token, result } => local.forcing.answer(token, result),
            ReplicaEffect::Stopped => self.stopped = true,
            ReplicaEffect::Flush(_)
            | ReplicaEffect::Prepare(_)
            | ReplicaEffect::Upkeep(_)
            | ReplicaEffect::Run(_)
            | ReplicaEffect::Cut(_)
            | ReplicaEffect::TargetReached { .. }
            | ReplicaEffect::Warm { .. } => debug_assert!(false, "a witness has no log, and never leads"),
        }
    }

    fn end_turn(&mut self, core: &Witness) -> After {
        if !self.stopped {
            return After::Wait;
        }
        self.local.replicas.borrow_mut().remove(&self.partition);
        self.local.shared.meters.witnesses.decrement(1);
        self.local.tell_peers(PeersEvent::Unhosted(self.partition));
        if self.local.deleting.borrow().contains(&self.partition) {
            partition::remove(&self.local, self.partition);
        } else if core.is_retired() {
            partition::forget(&self.local, self.partition, Promises::of_retired(core.consensus()));
        }
        self.local.drop_countdowns_if_done();
        After::Stop
    }

    fn discard(&mut self, event: ReplicaEvent) {
        match event {
            ReplicaEvent::Call { from, .. } => self.local.answer(from, Answer::Gone(ErrorCode::NotLeaderOrFollower)),
            ReplicaEvent::Force { token, .. } => self.local.forcing.answer(token, Err(ForceRefusal::NotHere)),
            _ => {}
        }
    }
}
