//! The actor of a group coordinator: its core beside the replica of the partition that keeps its state.

use std::rc::Rc;
use std::sync::Arc;

use millrace_node::group::{GroupCoordinator, GroupCoordinatorStats, GroupEffect, GroupEvent};
use millrace_node::{Answer, Caller, PartitionView, ReplyTo};
use millrace_types::ErrorCode;

use super::arbiter::Local;
use super::countdown::Countdown;
use super::host::{After, Host, Ports};
use super::mail::Mail;
use super::timers::Fire;
use crate::metrics::figure;

/// Starts the coordinator that keeps its state in the partition of `view`, on the calling thread's arbiter. One of an earlier
/// replica of the partition ends first.
pub(super) fn start(local: &Rc<Local>, view: &Arc<PartitionView>) {
    let partition = view.partition.partition;
    if local.groups.borrow().contains_key(&partition) {
        local.next_groups.borrow_mut().insert(partition, Arc::clone(view));
        return;
    }
    let core = GroupCoordinator::new(Arc::clone(view), &local.shared.node.settings, crate::random::seed());
    let mail = Rc::new(Mail::new(local.timers.slot(), || GroupEvent::Timer));
    local.groups.borrow_mut().insert(partition, Rc::clone(&mail));
    mail.push(GroupEvent::Start);
    let ports =
        GroupPorts { partition, local: Rc::clone(local), stopped: false, shown: GroupCoordinatorStats::default() };
    Host::start(core, ports, mail, Rc::clone(local));
}

/// Stops the coordinator of a partition whose replica goes.
pub(super) fn stop(local: &Local, partition: i32) {
    local.next_groups.borrow_mut().remove(&partition);
    if let Some(mail) = local.groups.borrow().get(&partition) {
        mail.push(GroupEvent::Stop);
    }
}

/// Stops the coordinators of the arbiter; `countdown` is dropped when all have stopped.
pub(super) fn stop_all(local: &Local, countdown: Countdown) {
    local.next_groups.borrow_mut().clear();
    for mail in local.groups.borrow().values() {
        mail.push(GroupEvent::Stop);
    }
    *local.stopping_groups.borrow_mut() = Some(countdown);
    local.drop_countdowns_if_done();
}

/// The effects of a coordinator.
struct GroupPorts {
    partition: i32,
    local: Rc<Local>,
    stopped: bool,
    /// What of the coordinator is in the gauges.
    shown: GroupCoordinatorStats,
}

impl GroupPorts {
    fn show(&mut self, stats: GroupCoordinatorStats) {
        if stats == self.shown {
            return;
        }
        let meters = &self.local.shared.meters;
        for (gauge, before, after) in [
            (&meters.groups, self.shown.groups, stats.groups),
            (&meters.group_members, self.shown.members, stats.members),
            (&meters.group_offsets, self.shown.offsets, stats.offsets),
            (&meters.group_waiting, self.shown.waiting_requests, stats.waiting_requests),
            (&meters.group_queued_bytes, self.shown.queued_bytes, stats.queued_bytes),
        ] {
            gauge.increment(figure(after) - figure(before));
        }
        self.shown = stats;
    }
}

impl Ports<GroupCoordinator> for GroupPorts {
    fn carry_out(&mut self, effect: GroupEffect, mail: &Rc<Mail<GroupEvent>>) {
        let caller = Caller::GroupCoordinator(self.partition);
        match effect {
            GroupEffect::Answer { to, response } => self.local.answer(to, Answer::Group(response)),
            GroupEffect::Call { token, call } => self.local.call(ReplyTo { caller, token }, call),
            GroupEffect::Warm { token, job } => self.local.storage.warm(caller, token, job),
            GroupEffect::Timer(at) => {
                let timer: Rc<dyn Fire> = Rc::<Mail<GroupEvent>>::clone(mail);
                self.local.timers.set(&timer, at);
            }
            GroupEffect::Stopped => self.stopped = true,
        }
    }

    fn end_turn(&mut self, core: &GroupCoordinator) -> After {
        self.show(core.stats());
        if !self.stopped {
            return After::Wait;
        }
        self.local.groups.borrow_mut().remove(&self.partition);
        let next = self.local.next_groups.borrow_mut().remove(&self.partition);
        if let Some(view) = next {
            start(&self.local, &view);
        }
        self.local.drop_countdowns_if_done();
        After::Stop
    }

    fn discard(&mut self, event: GroupEvent) {
        if let GroupEvent::Request { from, .. } = event {
            self.local.answer(from, Answer::Gone(ErrorCode::NotCoordinator));
        }
    }
}
