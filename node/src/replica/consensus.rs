//! The host of the consensus: what happens is told to it, and what it asks for is carried out.
//!
//! The duties are listed in the documentation of `millrace_raft`; the comments here name them.

use std::collections::VecDeque;

use millrace_raft::{Effect, Event, FlushMode, Peer, Record, Settings};
use millrace_storage::{LogConfig, QRecord};
use millrace_types::{Now, Offset, Random, TopicPartition};

use super::core::Phase;
use super::mutation::{Mutation, broken};
use super::promises;
use super::puts::Purpose;
use super::{Replica, ReplicaEffect};
use crate::settings::Replication;

/// The settings of the consensus of a topic's partition.
pub(super) fn settings(log: &LogConfig, replication: Replication, timing: &Settings) -> Settings {
    let flush = if log.flush_messages <= 1 { FlushMode::Durable } else { FlushMode::PageCache };
    let Replication { min_in_sync, ack_policy, unclean_recovery, lag_max } = replication;
    Settings { ack_policy, min_in_sync, flush, unclean_recovery, lag_max, ..*timing }
}

/// What spreads the delays of a replica: they must not be those of its peers, nor those of its other partitions. Two candidates whose
/// delays are one sequence take each other's votes for ever, once they have come to the same place in it.
pub(crate) fn seed(partition: TopicPartition, me: Peer) -> u64 {
    let (high, low) = partition.topic.0.as_u64_pair();
    let (number, broker) = (u64::from(partition.partition.cast_unsigned()), u64::from(me.key.broker.0.cast_unsigned()));
    if broken(Mutation::DrawAlike) {
        // A multiple of the step of the sequence.
        return (high ^ low).wrapping_add(broker).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
    Random::seed(&[high, low, number, broker, me.incarnation])
}

impl Replica {
    /// As [`Replica::tell`], unless the replica does not take part or will not again.
    pub(super) fn tell_running(&mut self, now: Now, event: Event, out: &mut Vec<ReplicaEffect>) {
        if self.is_running() {
            self.tell(now, event, out);
        }
    }

    /// As [`Replica::tell_running`]; a replica that is about to start must know who is heard, too.
    pub(super) fn tell_of_session(&mut self, now: Now, event: Event, out: &mut Vec<ReplicaEffect>) {
        if self.phase == Phase::Opened || self.is_running() {
            self.tell(now, event, out);
        }
    }

    /// Tells the consensus what has happened, and carries out what it asks for, in the order it asks.
    pub(super) fn tell(&mut self, now: Now, event: Event, out: &mut Vec<ReplicaEffect>) {
        let mut events = VecDeque::from([event]);
        let mut effects = Vec::new();
        while let Some(event) = events.pop_front() {
            self.raft.step(now.instant, event, &mut effects);
            for effect in effects.drain(..) {
                // What follows from an effect is told when the others are carried out.
                events.extend(self.carry_out(now, effect, out));
            }
        }
    }

    /// Carries out one effect; the event that follows from it at once is returned.
    fn carry_out(&mut self, now: Now, effect: Effect, out: &mut Vec<ReplicaEffect>) -> Option<Event> {
        match effect {
            Effect::Put { token, records } => return self.persist(token, &records, out),
            Effect::Send { to, message } => {
                out.push(ReplicaEffect::Send { to, message, records: bytes::Bytes::new(), catch_up: false });
            }
            Effect::Serve { to, response } => self.serve(now, to, response, out),
            Effect::Append { upto, .. } => return Some(self.append_incoming(now, upto, out)),
            Effect::Truncate { .. } | Effect::Reset { .. } => self.carry_out_cut(out),
            Effect::RaiseLogStart { start } => self.follow_log_start(now, start, out),
            Effect::HighWatermark(high_watermark) => self.publish_high_watermark(high_watermark),
            Effect::InSync(in_sync) => {
                self.view.set_in_sync(in_sync.iter().map(|replica| replica.broker).collect());
                self.refuse_without_enough_replicas(out);
            }
            Effect::Recovered => self.recovered(),
            Effect::Configured(members) => {
                tracing::debug!(partition = %self.partition, version = members.id.version, "the members have changed");
                self.note_configured(&members, out);
            }
            Effect::TransferRefused { to } => {
                tracing::debug!(partition = %self.partition, %to, "leadership is not handed over");
                // A replica that stops does not wait for a better successor.
                return (self.phase == Phase::Stopping).then_some(Event::Resign);
            }
            Effect::ChangeRefused(change) => {
                tracing::debug!(partition = %self.partition, ?change, "the members are not changed now");
            }
            // Who leads is published when the step settles.
            Effect::Leadership { .. } => {}
        }
        None
    }

    /// Duty 2: puts become durable in their order. One that notes a cut waits for the flush that is under way, so that no
    /// flushed offset above the cut is noted behind it.
    fn persist(&mut self, token: u64, records: &[Record], out: &mut Vec<ReplicaEffect>) -> Option<Event> {
        let mut stored: Vec<QRecord> = Vec::with_capacity(records.len());
        for record in records {
            match record {
                // A cut that opening the log has made is done.
                Record::Trunc { to, epoch } if self.phase == Phase::Opened => {
                    stored.push(QRecord::Trunc { tp: self.partition, to: *to, epoch: *epoch });
                }
                Record::Trunc { .. } | Record::Reset { .. } => stored.extend(self.note_cut(record, out)),
                Record::Epoch(marker) => {
                    self.log.push_epoch(marker.epoch, marker.start);
                    stored.extend(promises::record(self.partition, record));
                }
                _ => stored.extend(promises::record(self.partition, record)),
            }
        }
        let hold = self.cut.is_under_way() && self.flushing;
        let has_epochs = records.iter().any(|record| matches!(record, Record::Epoch(_)));
        self.puts.put_or_hold(stored, Purpose::Consensus { token, has_epochs }, hold, out);
        let volatile = matches!(records, [Record::Volatile(true)]);
        let early = broken(Mutation::LeadBeforeDurable) || (volatile && broken(Mutation::CommitBeforeVolatile));
        early.then_some(Event::PutDone { token })
    }

    /// Duty 10: the high watermark releases what waits for it.
    fn publish_high_watermark(&self, high_watermark: Offset) {
        // It falls only when a cut takes away what was never committed; readers have not seen it as a leader's.
        let to = if self.cut.is_under_way() { high_watermark } else { high_watermark.max(self.high_watermark()) };
        // A log that begins anew above its end takes its high watermark along when it does.
        self.view.log.set_high_watermark(to.min(self.log.log_end()));
    }

    /// The log ends elsewhere: the consensus is told.
    pub(super) fn appended(&mut self, now: Now, out: &mut Vec<ReplicaEffect>) {
        let end = self.log.log_end();
        self.tell(now, Event::Appended { end }, out);
        if broken(Mutation::CommitBeforeFlush) {
            self.tell(now, Event::Flushed { upto: end }, out);
        }
    }

    /// Lets the consensus do what is due.
    pub(super) fn tick(&mut self, now: Now, out: &mut Vec<ReplicaEffect>) {
        if self.is_running() && self.refetch_at <= now.instant {
            self.refetch_at = millrace_types::Instant::NEVER;
            self.tell(now, Event::Refetch, out);
        }
        if self.warming.deadline() <= now.instant {
            self.serve_crowded(now, out);
        }
        if self.is_running() && self.raft.deadline() <= now.instant {
            self.tell(now, Event::Timer, out);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use millrace_raft::ReplicaKey;
    use millrace_types::{BrokerId, DirectoryId, TopicId};
    use uuid::Uuid;

    use super::*;
    use crate::replica::mutation::assert_noticed;

    /// What the first replicas of the first partitions of a topic draw, of which nothing comes twice.
    fn no_two_replicas_draw_alike() {
        let draws = |partition: i32, broker: i32| {
            let partition = TopicPartition::new(TopicId(Uuid::from_u128(0x7 << 64 | 0x70)), partition);
            let key = ReplicaKey { broker: BrokerId(broker), directory: DirectoryId::from_u128(1) };
            let mut random = Random::new(seed(partition, Peer { key, incarnation: 1 }));
            (0..64).map(|_| random.number()).collect::<Vec<_>>()
        };
        let replicas = (0..3).flat_map(|partition| (1..=9).map(move |broker| (partition, broker)));
        let drawn: BTreeSet<u64> = replicas.flat_map(|(partition, broker)| draws(partition, broker)).collect();
        assert_eq!(drawn.len(), 3 * 9 * 64, "one sequence, begun at different places");
    }

    #[test]
    fn the_delays_of_replicas_have_nothing_in_common() {
        no_two_replicas_draw_alike();
        assert_noticed(
            "the_delays_of_replicas_have_nothing_in_common",
            &[(Mutation::DrawAlike, no_two_replicas_draw_alike)],
        );
    }
}
