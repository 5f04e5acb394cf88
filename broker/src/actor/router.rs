//! The actor that empties an arbiter's inbox and hands everything to the actors it is for.

use std::rc::Rc;
use std::sync::Arc;

use actix::{Actor, Context, StreamHandler};
use millrace_node::connection::ConnectionEvent;
use millrace_node::group::GroupEvent;
use millrace_node::metadata_store::MetadataEvent;
use millrace_node::replica::ReplicaEvent;
use millrace_node::{Caller, Replication};

use super::arbiter::Local;
use super::inbox::Arrivals;
use super::parcel::{Completion, Order, Parcel};
use super::{connection, forcing, group_coordinator, local_connection, partition, peers, supervisor, witness};
use crate::pulse::BEAT;

/// Completions handled before parcels get their turn.
const COMPLETIONS_PER_TURN: usize = 1_024;

/// Hands out what comes into one arbiter's inbox.
pub(crate) struct Router {
    local: Rc<Local>,
    batch: Vec<Parcel>,
}

impl Router {
    /// Starts the router, the timers and the sweeps of the calling thread's arbiter.
    pub(crate) fn start(local: Rc<Local>) {
        let timers = Rc::clone(&local);
        actix_rt::spawn(async move { timers.timers.run(timers.shared.clock).await });
        actix_rt::spawn(sweep(Rc::clone(&local)));
        actix_rt::spawn(beat(Rc::clone(&local)));
        let _address = Self { local, batch: Vec::new() }.start();
    }

    fn completions(&self) -> bool {
        for _ in 0..COMPLETIONS_PER_TURN {
            match self.local.shared.inbox(self.local.number).take_completion() {
                Some(completion) => self.completed(completion),
                None => return false,
            }
        }
        true
    }

    fn completed(&self, completion: Completion) {
        let local = &self.local;
        let replica = |partition, event| {
            // A replica that has ended waits for nothing.
            if let Some(mail) = local.replica(&partition) {
                mail.push(event);
            }
        };
        match completion {
            Completion::Flushed { partition, upto, epoch, result } => {
                replica(partition, ReplicaEvent::Flushed { upto, epoch, result });
            }
            Completion::Put { partition, token, result } => replica(partition, ReplicaEvent::PutDone { token, result }),
            Completion::Prepared { partition, prepared } => replica(partition, ReplicaEvent::Prepared(prepared)),
            Completion::Upkept { partition, upkept } => replica(partition, ReplicaEvent::Upkept(*upkept)),
            Completion::Warmed { caller: Caller::Connection(id), token } => {
                if let Some(mail) = local.connections.mail(id) {
                    mail.push(ConnectionEvent::Warmed { token });
                }
            }
            Completion::Warmed { caller: Caller::GroupCoordinator(partition), token } => {
                if let Some(mail) = local.groups.borrow().get(&partition) {
                    mail.push(GroupEvent::Warmed { token });
                }
            }
            Completion::Warmed { caller: Caller::Metadata, .. } => {}
            Completion::CutApplied { partition, done } => replica(partition, ReplicaEvent::CutApplied(*done)),
            Completion::ReplicaWarmed { partition, token } => replica(partition, ReplicaEvent::Warmed { token }),
            Completion::Remembered { token, seen, result } => peers::remembered(local, token, seen, result),
            Completion::Persisted { token, result } => {
                if let Some(mail) = local.metadata.get() {
                    mail.push(MetadataEvent::Persisted { token, result });
                }
            }
            Completion::Retired { partition, promises } => {
                if let Some(mail) = local.metadata.get() {
                    mail.push(MetadataEvent::ReplicaRetired { partition, promises });
                }
            }
            Completion::Opened(opened) => supervisor::opened(local, opened),
        }
    }

    fn parcels(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        self.local.shared.inbox(self.local.number).take_parcels(&mut batch);
        for parcel in batch.drain(..) {
            match parcel {
                Parcel::Call { from, call } => self.local.deliver(from, call),
                Parcel::Cancel { from, partition } => self.local.cancel(from, partition),
                Parcel::Answer { to, answer } => self.local.deliver_answer(to, answer),
                Parcel::Peers(events) => events.into_iter().for_each(|event| self.local.tell_peers(event)),
                Parcel::Replicas(events) => self.local.deliver_to_replicas(events),
                Parcel::Order(order) => self.obey(order),
            }
        }
        self.batch = batch;
    }

    fn obey(&self, order: Order) {
        let local = &self.local;
        match order {
            Order::StartReplica(opened) => partition::start(local, *opened),
            Order::StartWitness(new) => witness::start(local, *new),
            Order::ReplicaLed(partition) => {
                if let Some(mail) = local.metadata.get() {
                    mail.push(MetadataEvent::ReplicaLed { partition });
                }
            }
            Order::Metadata(event) => local.tell_metadata(*event),
            Order::DeleteReplica(partition) => partition::delete(local, partition),
            Order::RetireReplica(partition, retire) => {
                if let Some(mail) = local.replica(&partition) {
                    partition::retire(local, partition, retire, &mail);
                }
            }
            Order::RetargetReplica(partition) => {
                if let Some(mail) = local.replica(&partition) {
                    partition::retarget(local, partition, &mail);
                }
            }
            Order::Force(request) => forcing::serve(local, *request),
            Order::ConfigureReplica(partition, config) => {
                if let Some(mail) = local.replica(&partition) {
                    let image = local.shared.node.directory.image();
                    // Without its topic it is about to be stopped.
                    if let Some(topic) = image.topic_by_id(partition.topic) {
                        let replication = Replication::of(&topic.settings, &image);
                        mail.push(ReplicaEvent::Configure { log: config, replication });
                    }
                }
            }
            Order::Accept(accepted) => connection::serve(local, *accepted),
            Order::Local(request) => local_connection::serve(local, *request),
            Order::Sample(countdown) => {
                local.count();
                drop(countdown);
            }
            Order::DrainPeers(countdown) => {
                if let Some(desk) = local.peers.get() {
                    desk.drain(countdown);
                }
            }
            Order::StopConnections(countdown) => local.connections.stop(countdown),
            Order::KillConnections => local.connections.kill(),
            Order::StopGroups(countdown) => group_coordinator::stop_all(local, countdown),
            Order::StopReplicas(countdown) => partition::stop_all(local, countdown),
        }
    }
}

impl Actor for Router {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let inbox = Arc::clone(self.local.shared.inbox(self.local.number));
        let _stream = Self::add_stream(Arrivals(inbox), context);
    }
}

impl StreamHandler<()> for Router {
    fn handle(&mut self, (): (), _context: &mut Self::Context) {
        let more = self.completions();
        self.parcels();
        self.local.take_arrivals();
        self.local.send_outbox();
        if more {
            self.local.shared.inbox(self.local.number).wake();
        }
    }

    fn finished(&mut self, _context: &mut Self::Context) {
        // The stream of arrivals never ends.
    }
}

/// Lets the connections of an arbiter look at themselves from time to time; never returns.
async fn sweep(local: Rc<Local>) {
    loop {
        tokio::time::sleep(local.connections.sweep_interval()).await;
        local.connections.sweep();
    }
}

/// Says that the arbiter lives, and tells its replicas when another does not; never returns.
async fn beat(local: Rc<Local>) {
    loop {
        let pulse = &local.shared.pulse;
        pulse.beat(local.number);
        let unwell = pulse.is_silent();
        if local.unwell.replace(unwell) != unwell {
            let mails: Vec<_> = local.replicas.borrow().values().map(Rc::clone).collect();
            mails.iter().for_each(|mail| mail.push(ReplicaEvent::Unwell(unwell)));
        }
        tokio::time::sleep(BEAT).await;
    }
}
