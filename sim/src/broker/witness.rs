//! The witnesses of the process: their cores between the write-ahead store and the other brokers.
//!
//! A witness takes the events of a replica and stands in the same place; it has no log, and nothing to publish.

use millrace_node::Core;
use millrace_node::metadata_store::Part;
use millrace_node::peers::PeersEvent;
use millrace_node::replica::{Promises, ReplicaEffect, ReplicaEvent};
use millrace_node::witness::Witness;
use millrace_node::{Answer, PartitionAnswer};
use millrace_raft::{Configuration, Voter};
use millrace_types::TopicPartition;

use super::cores::note;
use super::port::{Event, Port, Who};
use super::process::{End, Process};

impl Process {
    /// Starts a witness: there is nothing to open.
    pub(super) fn create_witness(&mut self, port: &mut Port<'_>, partition: TopicPartition, voters: Vec<Voter>) {
        // The next start makes what came too late.
        if self.end != End::Serving {
            return;
        }
        self.expect_nothing(port, partition);
        let promises = self.remembered.remove(&partition).unwrap_or_default().promises;
        port.note(format_args!("{partition} witnessed from {:?}", promises.witness_end));
        let first = Configuration::first(voters);
        let timeout = self.shared.settings.peer_session_timeout;
        self.witnesses.insert(partition, Witness::new(partition, self.me, &promises, first, timeout));
        let start = Event::Replica(partition, ReplicaEvent::Start);
        port.mail(Who::Metadata, Who::Replica(partition), start);
        self.retire_unless(port, partition, Part::Witness);
    }

    /// A step of a witness.
    pub(super) fn witness(&mut self, port: &mut Port<'_>, partition: TopicPartition, event: ReplicaEvent) {
        let from = Who::Replica(partition);
        let Some(core) = self.witnesses.get_mut(&partition) else { return };
        let (mut effects, mut turn, mut stopped) = (Vec::new(), Vec::new(), false);
        if matches!(event, ReplicaEvent::Start) {
            turn.push(PeersEvent::Hosted(partition));
        }
        note(port, partition, &event);
        core.step(port.now, event, &mut effects);
        for effect in effects {
            match effect {
                ReplicaEffect::Put { token, records } => self.threads.put(partition, token, records),
                ReplicaEffect::Answer { to, answer } => {
                    debug_assert!(matches!(answer, PartitionAnswer::Failed(_)), "a witness serves nothing");
                    self.answer(port, from, to, Answer::Partition(answer));
                }
                ReplicaEffect::Send { to, message, records, catch_up } => {
                    turn.push(PeersEvent::Send { partition, to, message, records, catch_up });
                }
                ReplicaEffect::Timer(at) => self.set_timer(port, from, at),
                ReplicaEffect::Stopped => stopped = true,
                ReplicaEffect::Flush(_)
                | ReplicaEffect::Prepare(_)
                | ReplicaEffect::Upkeep(_)
                | ReplicaEffect::Run(_)
                | ReplicaEffect::Cut(_)
                | ReplicaEffect::TargetReached { .. }
                | ReplicaEffect::Forced { .. }
                | ReplicaEffect::Warm { .. } => debug_assert!(false, "a witness has no log and never leads"),
            }
        }
        if stopped {
            turn.push(PeersEvent::Unhosted(partition));
            self.timers.remove(&from);
            let retired = self.witnesses.remove(&partition).filter(Witness::is_retired);
            if self.deleting.contains(&partition) {
                self.remove(port, partition);
            } else if let Some(core) = retired {
                self.forget_retired(port, partition, Part::Witness, Promises::of_retired(core.consensus()));
            }
        }
        self.end_turn(port, from, turn);
    }
}
