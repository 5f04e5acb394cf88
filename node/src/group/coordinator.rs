//! The core: phases, events and what follows from each.

use std::sync::Arc;
use std::time::Duration;

use millrace_coordinator::{GroupConfig, GroupRequest, GroupResponse, GroupShard, Outcome};
use millrace_types::{ErrorCode, Instant, LeaderEpoch, Now};

use super::event::{GroupEffect, GroupEvent};
use super::load::{Load, Progress};
use super::serve::{self, Serve};
use super::stats::GroupCoordinatorStats;
use crate::call::{Acks, Answer, Call, PartitionAnswer, PartitionOp, ReplyTo};
use crate::core::Core;
use crate::directory::PartitionView;
use crate::settings::Settings;

/// How long to wait for this broker to lead the partition before looking again: at first, and at most. Within
/// milliseconds after a start it does, or another broker leads; then [`GroupEvent::View`] says when that changes.
const LEADER_POLL: Duration = Duration::from_millis(10);
const LEADER_POLL_MAX: Duration = Duration::from_secs(1);

/// The core of one group coordinator.
#[derive(Debug)]
pub struct GroupCoordinator {
    view: Arc<PartitionView>,
    config: GroupConfig,
    commit_timeout: Duration,
    seed: u64,
    /// Whether this broker has led the partition since its start.
    has_led: bool,
    phase: Phase,
    next_token: u64,
    /// The timer last asked for.
    timer: Instant,
}

#[derive(Debug)]
enum Phase {
    /// This broker does not lead the partition.
    Waiting { look_again: Instant, pause: Duration },
    /// It leads this epoch, and the log is being read.
    Loading(LeaderEpoch, Box<Load>),
    /// It leads this epoch, and the log is read.
    Serving(LeaderEpoch, Box<Serve>),
    /// No request is taken any more; the append under way is waited for.
    Stopping(Box<Serve>),
    /// Nothing is under way.
    Stopped,
}

impl GroupCoordinator {
    /// The coordinator of the partition `view`; it does nothing before [`GroupEvent::Start`]. `seed` is drawn by the
    /// host from its random source: member ids come from it.
    #[must_use]
    pub fn new(view: Arc<PartitionView>, settings: &Settings, seed: u64) -> Self {
        let config = GroupConfig {
            min_session_timeout: settings.group.min_session_timeout,
            max_session_timeout: settings.group.max_session_timeout,
            initial_rebalance_delay: settings.group.initial_rebalance_delay,
            max_group_size: settings.group.max_size,
            offset_metadata_max_bytes: settings.offsets.metadata_max_bytes,
            offsets_retention: settings.offsets.retention,
            offsets_retention_check_interval: settings.offsets.retention_check_interval,
            max_record_bytes: serve::MAX_BATCH_BYTES - serve::FRAME_BYTES,
            ..GroupConfig::default()
        };
        Self {
            view,
            config,
            commit_timeout: settings.offsets.commit_timeout,
            seed,
            has_led: false,
            phase: Phase::Stopped,
            next_token: 0,
            timer: Instant::NEVER,
        }
    }

    /// Figures about the coordinator.
    #[must_use]
    pub fn stats(&self) -> GroupCoordinatorStats {
        match &self.phase {
            Phase::Waiting { .. } | Phase::Loading(..) => {
                GroupCoordinatorStats { loading: !self.is_elsewhere(), ..GroupCoordinatorStats::default() }
            }
            Phase::Serving(_, serve) | Phase::Stopping(serve) => GroupCoordinatorStats {
                groups: serve.shard.len(),
                members: serve.shard.members(),
                offsets: serve.shard.offsets(),
                waiting_requests: serve.waiting(),
                queued_bytes: serve.queued_bytes(),
                loading: false,
            },
            Phase::Stopped => GroupCoordinatorStats::default(),
        }
    }

    fn token(&mut self) -> u64 {
        self.next_token += 1;
        self.next_token
    }

    /// Whether another broker coordinates these groups, or this one has until it lost its epoch.
    fn is_elsewhere(&self) -> bool {
        self.view.leader_epoch().is_none() && (self.has_led || self.view.leader().is_some())
    }

    /// Begins to load, or waits until this broker leads. No append of ours is under way in this epoch: the log's end
    /// stands still.
    fn begin_load(&mut self, now: Now) {
        let Some(epoch) = self.view.leader_epoch() else {
            let pause = match self.phase {
                Phase::Waiting { pause, .. } => LEADER_POLL_MAX.min(2 * pause),
                _ => LEADER_POLL,
            };
            self.phase = Phase::Waiting { look_again: now.instant.after(pause), pause };
            return;
        };
        self.has_led = true;
        // Each load draws other member ids: those of an earlier one may still be in use.
        self.seed = self.seed.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        let shard = GroupShard::new(self.config.clone(), self.seed);
        self.phase = Phase::Loading(epoch, Box::new(Load::new(shard, &self.view)));
    }

    /// Lets go of what was loaded in an epoch that is over: what the log holds in the next one is another's to say. Who
    /// waits is sent to look for the coordinator.
    fn follow_leadership(&mut self, now: Now, out: &mut Vec<GroupEffect>) {
        let leads = self.view.leader_epoch();
        match &self.phase {
            Phase::Loading(epoch, _) | Phase::Serving(epoch, _) if leads != Some(*epoch) => {}
            Phase::Waiting { .. } if leads.is_some() => {}
            _ => return,
        }
        if let Phase::Serving(epoch, serve) = std::mem::replace(&mut self.phase, Phase::Stopped) {
            tracing::info!(partition = %self.view.partition, epoch, "the groups have another coordinator");
            serve.abandon(ErrorCode::NotCoordinator, out);
        }
        self.begin_load(now);
    }

    fn request(&mut self, now: Now, from: ReplyTo, request: GroupRequest, out: &mut Vec<GroupEffect>) {
        let is_elsewhere = self.is_elsewhere();
        let error = match &mut self.phase {
            Phase::Serving(_, serve) => return serve.request(now, from, request, out),
            Phase::Waiting { .. } if is_elsewhere => ErrorCode::NotCoordinator,
            Phase::Waiting { .. } | Phase::Loading(..) => ErrorCode::CoordinatorLoadInProgress,
            Phase::Stopping(_) | Phase::Stopped => ErrorCode::NotCoordinator,
        };
        out.push(GroupEffect::Answer { to: from, response: GroupResponse::Failed(error) });
    }

    fn answer(&mut self, now: Now, token: u64, answer: Answer, out: &mut Vec<GroupEffect>) {
        match &mut self.phase {
            Phase::Loading(_, load) => {
                let watched = load.resume(token);
                if watched && !matches!(answer, Answer::Partition(PartitionAnswer::Advanced)) {
                    load.pause(now);
                }
            }
            Phase::Serving(_, serve) | Phase::Stopping(serve) if serve.appending == Some(token) => match answer {
                Answer::Partition(PartitionAnswer::Produced { base_offset, .. }) => serve.committed(base_offset, out),
                answer => self.fail(now, failure(&answer), out),
            },
            Phase::Serving(_, serve) => {
                let is_done = matches!(answer, Answer::Partition(PartitionAnswer::Deleted { .. }));
                if serve.checkpoint.end_deletion(token) && !is_done {
                    tracing::warn!(partition = %self.view.partition, ?answer, "the log before a checkpoint stays");
                }
            }
            Phase::Stopping(_) | Phase::Waiting { .. } | Phase::Stopped => {}
        }
    }

    /// What the log holds behind the last commit is not known: begin anew.
    fn fail(&mut self, now: Now, error: ErrorCode, out: &mut Vec<GroupEffect>) {
        tracing::warn!(partition = %self.view.partition, %error, "records of consumer groups could not be appended");
        match std::mem::replace(&mut self.phase, Phase::Stopped) {
            Phase::Serving(_, serve) => {
                serve.abandon(error, out);
                self.begin_load(now);
            }
            Phase::Stopping(serve) => {
                serve.abandon(error, out);
                out.push(GroupEffect::Stopped);
            }
            other => self.phase = other,
        }
    }

    fn stop(&mut self, out: &mut Vec<GroupEffect>) {
        match std::mem::replace(&mut self.phase, Phase::Stopped) {
            Phase::Serving(_, mut serve) => {
                serve.drain(ErrorCode::CoordinatorNotAvailable, out);
                self.phase = Phase::Stopping(serve);
            }
            Phase::Stopping(serve) => self.phase = Phase::Stopping(serve),
            Phase::Waiting { .. } | Phase::Loading(..) | Phase::Stopped => out.push(GroupEffect::Stopped),
        }
    }

    /// Goes on with whatever can go on.
    fn advance(&mut self, now: Now, out: &mut Vec<GroupEffect>) {
        match &mut self.phase {
            Phase::Waiting { look_again, .. } if *look_again <= now.instant => {
                self.begin_load(now);
                self.load(now, out);
            }
            Phase::Loading(..) => self.load(now, out),
            Phase::Serving(..) => {}
            Phase::Stopping(serve) if serve.appending.is_none() => {
                self.phase = Phase::Stopped;
                out.push(GroupEffect::Stopped);
            }
            Phase::Waiting { .. } | Phase::Stopping(_) | Phase::Stopped => {}
        }
        self.append(now, out);
        self.delete(out);
        self.set_timer(now, out);
    }

    fn load(&mut self, now: Now, out: &mut Vec<GroupEffect>) {
        let token = self.token();
        let Phase::Loading(_, load) = &mut self.phase else { return };
        if load.step(now, &self.view, token, out) != Progress::Done {
            return;
        }
        let Phase::Loading(epoch, load) = std::mem::replace(&mut self.phase, Phase::Stopped) else { return };
        let mut serve = load.into_serve();
        let mut outcome = Outcome::default();
        serve.shard.loaded(now, &mut outcome);
        serve.take(outcome, out);
        self.phase = Phase::Serving(epoch, Box::new(serve));
    }

    /// Appends what waits, unless an append is under way.
    fn append(&mut self, now: Now, out: &mut Vec<GroupEffect>) {
        let token = self.token();
        let Phase::Serving(_, serve) = &mut self.phase else { return };
        match serve.next_batch(now) {
            None => {}
            Some(Ok(batches)) => {
                serve.appending = Some(token);
                let deadline = now.instant.after(self.commit_timeout);
                let op = PartitionOp::Produce { batches, acks: Acks::All, deadline };
                out.push(GroupEffect::Call { token, call: Call::Partition(self.view.partition, op) });
            }
            Some(Err(fault)) => {
                tracing::error!(partition = %self.view.partition, %fault, "a batch of group records is not valid");
                self.fail(now, ErrorCode::UnknownServerError, out);
            }
        }
    }

    /// Deletes the log before a checkpoint that is committed.
    fn delete(&mut self, out: &mut Vec<GroupEffect>) {
        let token = self.token();
        let Phase::Serving(_, serve) = &mut self.phase else { return };
        if let Some(before) = serve.checkpoint.begin_deletion(token) {
            let op = PartitionOp::DeleteRecords { before, deadline: Instant::NEVER };
            out.push(GroupEffect::Call { token, call: Call::Partition(self.view.partition, op) });
        }
    }

    fn set_timer(&mut self, now: Now, out: &mut Vec<GroupEffect>) {
        let at = match &self.phase {
            Phase::Waiting { look_again, .. } => *look_again,
            Phase::Loading(_, load) => load.wakes_at(now),
            Phase::Serving(_, serve) => serve.shard.next_deadline(),
            Phase::Stopping(_) | Phase::Stopped => Instant::NEVER,
        };
        if at != self.timer {
            self.timer = at;
            out.push(GroupEffect::Timer(at));
        }
    }
}

impl Core for GroupCoordinator {
    type Event = GroupEvent;
    type Effect = GroupEffect;

    fn step(&mut self, now: Now, event: GroupEvent, out: &mut Vec<GroupEffect>) {
        self.follow_leadership(now, out);
        match event {
            GroupEvent::Start => {
                if matches!(self.phase, Phase::Stopped) {
                    self.begin_load(now);
                }
            }
            GroupEvent::Request { from, request } => self.request(now, from, request, out),
            GroupEvent::Answer { token, answer } => self.answer(now, token, answer, out),
            GroupEvent::Warmed { token } => {
                if let Phase::Loading(_, load) = &mut self.phase {
                    load.resume(token);
                }
            }
            GroupEvent::View => {}
            GroupEvent::Timer => {
                self.timer = Instant::NEVER;
                if let Phase::Serving(_, serve) = &mut self.phase {
                    serve.timer(now, out);
                }
            }
            GroupEvent::Stop => self.stop(out),
        }
        self.advance(now, out);
    }
}

/// The code for requests whose records could not be appended, as Kafka's coordinator chooses it: a client looks for
/// the coordinator again where another broker might be it by now, and tries again where this one may recover.
fn failure(answer: &Answer) -> ErrorCode {
    let error = match answer {
        Answer::Partition(PartitionAnswer::Refused { error, .. }) => error.error_code(),
        Answer::Partition(PartitionAnswer::Failed(error)) | Answer::Gone(error) => *error,
        Answer::Partition(_) | Answer::Group(_) | Answer::Metadata(_) | Answer::Elected(_) => {
            ErrorCode::UnknownServerError
        }
    };
    match error {
        ErrorCode::NotLeaderOrFollower | ErrorCode::KafkaStorageError => ErrorCode::NotCoordinator,
        ErrorCode::MessageTooLarge | ErrorCode::RecordListTooLarge | ErrorCode::InvalidFetchSize => {
            ErrorCode::UnknownServerError
        }
        _ => ErrorCode::CoordinatorNotAvailable,
    }
}
