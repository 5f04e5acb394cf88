//! The actor of the table of leaders: its core between the sessions with other brokers, the replicas and the connections.

use std::rc::Rc;
use std::sync::Arc;

use millrace_node::leaders::{Leaders, LeadersEffect, LeadersEvent};
use millrace_node::peers::PeersEvent;
use millrace_node::replica::ReplicaEvent;
use millrace_node::{Answer, ReplyTo};
use millrace_types::{BrokerId, ErrorCode, Instant, TopicPartition};

use super::arbiter::{CALL_BOUND, Local};
use super::host::{After, Host, Ports};
use super::mail::Mail;
use super::parcel::Parcel;
use super::timers::Fire;

/// Starts the table on the calling thread's arbiter, where the sessions with other brokers are.
pub(super) fn start(local: &Rc<Local>) {
    let node = &local.shared.node;
    let core = Leaders::new(node.settings.broker_id, Arc::clone(&node.directory));
    let mail = Rc::new(Mail::new(local.timers.slot(), || LeadersEvent::Timer));
    let already = local.leaders.set(Rc::clone(&mail)).is_err();
    debug_assert!(!already, "a broker has one table of leaders");
    Host::start(core, LeadersPorts { local: Rc::clone(local) }, mail, Rc::clone(local));
}

/// Takes the call to have leadership handed over; gives back why not.
pub(super) fn elect(
    local: &Local,
    from: ReplyTo,
    partition: TopicPartition,
    (to, deadline): (BrokerId, Instant),
) -> Option<ErrorCode> {
    // Without other brokers nobody else could lead.
    let Some(mail) = local.leaders.get() else { return Some(ErrorCode::PreferredLeaderNotAvailable) };
    let event = LeadersEvent::Elect { from, partition, to, deadline };
    mail.offer(event, CALL_BOUND).err().map(|_| ErrorCode::RequestTimedOut)
}

/// The effects of the table.
struct LeadersPorts {
    local: Rc<Local>,
}

impl LeadersPorts {
    fn for_replica(&self, partition: TopicPartition, event: ReplicaEvent) {
        let arbiter = self.local.shared.placement.partition(&partition);
        if arbiter == self.local.number {
            self.local.deliver_to_replicas(vec![(partition, event)]);
        } else {
            self.local.post(arbiter, Parcel::Replicas(vec![(partition, event)]));
        }
    }
}

impl Ports<Leaders> for LeadersPorts {
    fn carry_out(&mut self, effect: LeadersEffect, mail: &Rc<Mail<LeadersEvent>>) {
        match effect {
            LeadersEffect::Send { to, message } => self.local.tell_peers(PeersEvent::SendPlane { to, message }),
            LeadersEffect::Hint { partition, leader, epoch } => {
                self.for_replica(partition, ReplicaEvent::Hint { leader, epoch });
            }
            LeadersEffect::Transfer { partition, to } => self.for_replica(partition, ReplicaEvent::Transfer { to }),
            LeadersEffect::Elected { to, error } => self.local.answer(to, Answer::Elected(error)),
            LeadersEffect::Timer(at) => {
                let timer: Rc<dyn Fire> = Rc::<Mail<LeadersEvent>>::clone(mail);
                self.local.timers.set(&timer, at);
            }
        }
    }

    fn end_turn(&mut self, _core: &Leaders) -> After {
        After::Wait
    }
}
