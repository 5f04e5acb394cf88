//! Requests that are repeated until they are answered: the retry rules of everything but produce and fetch.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use kafka_protocol::messages::{RequestKind, ResponseKind};
use millrace_types::{ErrorCode, Instant};

use super::backoff::Backoff;
use super::cluster::{Cluster, RequestId, Target};
use crate::error::{ClientError, Result, code_is_retriable};
use crate::wire::api_of;

/// Identity of a call within one client.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CallId(pub u64);

#[derive(Debug)]
struct Call {
    target: Target,
    request: RequestKind,
    deadline: Instant,
    /// Time a broker may take for one try.
    timeout: Duration,
    attempts: u32,
    retry_at: Instant,
    running: Option<RequestId>,
    last_error: Option<ClientError>,
}

/// Calls under way.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    calls: BTreeMap<CallId, Call>,
    running: BTreeMap<RequestId, CallId>,
    done: VecDeque<(CallId, Result<ResponseKind>)>,
    next_id: u64,
}

impl Calls {
    /// Begins a call that is repeated until `deadline`. Each try gets the configured request timeout, or `timeout`.
    pub(crate) fn begin(
        &mut self,
        cluster: &Cluster,
        target: Target,
        request: RequestKind,
        deadline: Instant,
        timeout: Option<Duration>,
    ) -> CallId {
        self.next_id += 1;
        let id = CallId(self.next_id);
        let call = Call {
            target,
            request,
            deadline,
            timeout: timeout.unwrap_or(cluster.config.request_timeout),
            attempts: 0,
            retry_at: Instant::ZERO,
            running: None,
            last_error: None,
        };
        self.calls.insert(id, call);
        id
    }

    /// Forgets a call; a late answer to it is ignored.
    pub(crate) fn cancel(&mut self, id: CallId) {
        if let Some(request) = self.calls.remove(&id).and_then(|call| call.running) {
            self.running.remove(&request);
        }
    }

    /// Takes an answer in; gives it back when it belongs to no call.
    pub(crate) fn answered(
        &mut self,
        now: Instant,
        cluster: &mut Cluster,
        request: RequestId,
        result: Result<ResponseKind>,
    ) -> Option<Result<ResponseKind>> {
        let Some(id) = self.running.remove(&request) else { return Some(result) };
        let call = self.calls.get_mut(&id)?;
        call.running = None;
        let name = api_of(&call.request).map_or("request", |(_, name)| name);
        let retry = match &result {
            Err(error) if error.is_retriable() => Some(error.clone()),
            Err(_) => None,
            Ok(response) => whole_error(response).map(|code| ClientError::broker(name, code)),
        };
        let Some(error) = retry else {
            self.calls.remove(&id);
            self.done.push_back((id, result));
            return None;
        };
        if let Target::Coordinator(group) = &call.target
            && coordinator_moved(&error)
        {
            cluster.forget_coordinator(group);
        }
        let (first, longest) = (cluster.config.retry_backoff, cluster.config.retry_backoff_max);
        call.retry_at = now.after(cluster.random.backoff(first, longest, call.attempts));
        call.attempts = call.attempts.saturating_add(1);
        call.last_error = Some(error);
        None
    }

    /// Sends what is due and gives up what is late.
    pub(crate) fn advance(&mut self, now: Instant, cluster: &mut Cluster) {
        let mut late = Vec::new();
        for (id, call) in &mut self.calls {
            if call.deadline <= now {
                late.push(*id);
            } else if call.running.is_none() && call.retry_at <= now {
                let left = call.deadline.since(now).min(call.timeout);
                let request = cluster.send(now, call.target.clone(), call.request.clone(), left);
                call.running = Some(request);
                self.running.insert(request, *id);
            }
        }
        for id in late {
            let Some(call) = self.calls.remove(&id) else { continue };
            if let Some(request) = call.running {
                self.running.remove(&request);
            }
            let name = api_of(&call.request).map_or("request", |(_, name)| name);
            // The broker's own last word says more than the time-out.
            let error = match call.last_error.or_else(|| cluster.trouble()) {
                Some(error @ ClientError::NoBroker { .. }) => error,
                cause => ClientError::timeout(name, cause),
            };
            self.done.push_back((id, Err(error)));
        }
    }

    /// The next call that ended.
    pub(crate) fn poll(&mut self) -> Option<(CallId, Result<ResponseKind>)> {
        self.done.pop_front()
    }

    pub(crate) fn deadline(&self) -> Instant {
        let times = self
            .calls
            .values()
            .map(|call| if call.running.is_some() { call.deadline } else { call.deadline.min(call.retry_at) });
        times.min().unwrap_or(Instant::NEVER)
    }
}

/// Whether a group's coordinator has to be looked up again.
pub(crate) fn coordinator_moved(error: &ClientError) -> bool {
    match error.code() {
        Some(code) => matches!(code, ErrorCode::NotCoordinator | ErrorCode::CoordinatorNotAvailable),
        None => true,
    }
}

/// The error of a response as a whole that asks for the same request again.
fn whole_error(response: &ResponseKind) -> Option<ErrorCode> {
    let first = |code: Option<i16>| code.unwrap_or(0);
    let code = match response {
        ResponseKind::InitProducerId(response) => response.error_code,
        ResponseKind::OffsetFetch(response) => {
            let partition = response.groups.iter().flat_map(|group| &group.topics).flat_map(|topic| &topic.partitions);
            let unstable = partition.map(|p| p.error_code).find(|code| *code == ErrorCode::UnstableOffsetCommit.code());
            let group = response.groups.first().map_or(response.error_code, |group| group.error_code);
            if group == 0 { first(unstable) } else { group }
        }
        ResponseKind::OffsetCommit(response) => first(uniform(
            response.topics.iter().flat_map(|topic| &topic.partitions).map(|partition| partition.error_code),
        )),
        ResponseKind::ListGroups(response) => response.error_code,
        ResponseKind::DescribeGroups(response) => first(uniform(response.groups.iter().map(|group| group.error_code))),
        ResponseKind::DeleteGroups(response) => first(uniform(response.results.iter().map(|group| group.error_code))),
        ResponseKind::OffsetDelete(response) => response.error_code,
        ResponseKind::CreateTopics(response) => first(uniform(response.topics.iter().map(|topic| topic.error_code))),
        ResponseKind::DeleteTopics(response) => {
            let codes = response.responses.iter().map(|topic| topic.error_code);
            // A topic that is gone stays gone: only the controller's move is worth another try.
            first(uniform(codes).filter(|code| *code == ErrorCode::NotController.code()))
        }
        ResponseKind::CreatePartitions(response) => first(
            uniform(response.results.iter().map(|topic| topic.error_code))
                .filter(|code| *code == ErrorCode::NotController.code()),
        ),
        _ => 0,
    };
    let code = ErrorCode::from_code(code);
    // A rebalance ends by joining, never by repeating a commit.
    (code != ErrorCode::None && code != ErrorCode::RebalanceInProgress && code_is_retriable(code)).then_some(code)
}

/// The code of all items, when they have one in common.
fn uniform(mut codes: impl Iterator<Item = i16>) -> Option<i16> {
    let first = codes.next()?;
    codes.all(|code| code == first).then_some(first)
}
