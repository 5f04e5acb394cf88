//! Configurations that an operator forces: the way from the HTTP interface to a replica and back (`docs/operating/cluster.md`).

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::rc::Rc;

use millrace_node::replica::{ForceRefusal, Forced, ReplicaEvent};
use millrace_types::{BrokerId, TopicPartition};
use tokio::sync::oneshot;

use super::arbiter::Local;

/// What comes back.
pub(crate) type ForceAnswer = Result<Forced, ForceRefusal>;

/// A configuration to force.
#[derive(Debug)]
pub(crate) struct ForceRequest {
    /// The partition.
    pub(crate) partition: TopicPartition,
    /// Who votes from now on.
    pub(crate) voters: Vec<BrokerId>,
    /// Who waits; it is dropped where the replica stops.
    pub(crate) reply: oneshot::Sender<ForceAnswer>,
}

/// Who waits for replicas of one arbiter; as many at most as the HTTP interface has connections.
#[derive(Debug, Default)]
pub(crate) struct Forcing {
    last: Cell<u64>,
    waiting: RefCell<BTreeMap<u64, oneshot::Sender<ForceAnswer>>>,
}

impl Forcing {
    /// Answers the request that has this number.
    pub(super) fn answer(&self, token: u64, result: ForceAnswer) {
        if let Some(reply) = self.waiting.borrow_mut().remove(&token) {
            // Who has asked may have given up.
            let _gone = reply.send(result);
        }
    }

    fn add(&self, reply: oneshot::Sender<ForceAnswer>) -> u64 {
        let token = self.last.get() + 1;
        self.last.set(token);
        self.waiting.borrow_mut().insert(token, reply);
        token
    }
}

/// Takes a request to its replica.
pub(super) fn serve(local: &Rc<Local>, request: ForceRequest) {
    let ForceRequest { partition, voters, reply } = request;
    match local.replica(&partition) {
        Some(mail) => mail.push(ReplicaEvent::Force { token: local.forcing.add(reply), voters }),
        None => drop(reply.send(Err(ForceRefusal::NotHere))),
    }
}
